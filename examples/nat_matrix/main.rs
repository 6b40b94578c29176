//! Measures whether every pair of nodes that can be connected is, by which way and how fast: nodes behind NATs of every kind
//! connect to each other by UNL, in networks on this machine, and the outcome is a table.
//!
//! How it is asked is in `USAGE`, which `--help` prints. It needs Linux, root, iproute2 and nftables, and for the rows with
//! port mappings miniupnpd; where that is missing it says so and ends well.

// A program of its own, on the application's side of the loop.
#![allow(clippy::disallowed_methods)]

#[cfg(target_os = "linux")]
mod attempt;
#[cfg(target_os = "linux")]
mod cells;
#[cfg(target_os = "linux")]
mod gauge;
#[cfg(target_os = "linux")]
mod ground;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "each program takes the parts that it needs")]
#[path = "../../tests/natlab/lab/mod.rs"]
mod lab;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "each program takes the parts that it needs")]
#[path = "../../tests/natlab/peer/mod.rs"]
mod peer;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod run;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;

    // Nodes and servers are this program, started once more.
    if let Some(end) = peer::role() {
        return end;
    }
    match run::run(std::env::args().skip(1)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("nat_matrix: {why}");
            ExitCode::from(2)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("ignored: network namespaces are Linux's");
}
