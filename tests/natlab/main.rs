//! The laboratory of networks, and tests that it is what it says: every router translates and filters as it is
//! named, distances and losses are as they were set, and nothing is left behind, however a test ends.
//!
//! Needs Linux, root, and from Debian the packages iproute2 and nftables (util-linux and mount are there anyway). Some
//! tests need miniupnpd-nftables, miniupnpc, natpmpc, conntrack or netcat-openbsd as well. Where something is missing
//! tests are reported as ignored, with the reason. Where nothing may be missing set `P2POLL_NATLAB`: then they fail
//! instead. How often each kind of NAT is to be told rightly says `P2POLL_NATLAB_RUNS`.
//!
//! With `P2POLL_NATLAB_LONG` set there are more: those that wait for minutes.
//!
//! To look around in such a network: `cargo run --example natlab`.

// Tests are on the application's side of the loop: they wait for connections, and keep deadlines.
#![allow(clippy::disallowed_methods)]

#[cfg(target_os = "linux")]
#[path = "cases.rs"]
mod cases;
#[cfg(target_os = "linux")]
#[path = "connect.rs"]
mod connect;
#[cfg(target_os = "linux")]
#[path = "kinds.rs"]
mod kinds;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "each program takes the parts that it needs")]
mod lab;
#[cfg(target_os = "linux")]
#[path = "mapping.rs"]
mod mapping;
#[cfg(target_os = "linux")]
#[path = "node.rs"]
mod node;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "each program takes the parts that it needs")]
mod peer;
#[cfg(target_os = "linux")]
#[path = "pyp2p.rs"]
mod pyp2p;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "each program takes the parts that it needs")]
#[path = "../interop/driver.rs"]
mod python;
#[cfg(target_os = "linux")]
#[path = "tidiness.rs"]
mod tidiness;
#[cfg(target_os = "linux")]
#[path = "tools.rs"]
mod tools;

/// Set it to run what takes minutes, too.
#[cfg(target_os = "linux")]
const LONG: &str = "P2POLL_NATLAB_LONG";

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use std::sync::Arc;
    use std::time::Instant;

    use lab::{Means, Need};
    use libtest_mimic::{Arguments, Completion, Trial};
    use tools::Case;

    // Some tests need a process of their own, and start this program once more for that.
    if let Some(end) = tidiness::role().or_else(node::role).or_else(peer::role) {
        return end;
    }
    let mut arguments = Arguments::from_args();
    // They wait for answers nearly all of the time.
    arguments.test_threads.get_or_insert(6);
    // A mere listing looks for nothing.
    let means = (!arguments.list).then(Means::find).map(Arc::new);
    let long = if std::env::var_os(LONG).is_some() { mapping::LONG } else { &[] };
    let asks_routers = |case: &&'static Case| case.needs.contains(&Need::Program("miniupnpd"));
    let (routers, others): (Vec<_>, Vec<_>) = kinds::CASES.iter().partition(asks_routers);
    let asking = long.iter().chain(routers).chain(mapping::CASES).map(|case| (case, true));
    let others = others
        .into_iter()
        .chain(connect::CASES)
        .chain(cases::CASES)
        .chain(tidiness::CASES)
        .map(|case| (case, false));
    let pyp2p = pyp2p::trials(means.clone());
    let trials = asking.chain(others).map(|(case, asks_routers)| {
        let means = means.clone();
        Trial::ignorable_test(case.name, move || {
            if asks_routers && cfg!(not(feature = "gateway")) {
                return Ok(Completion::ignored_with("it asks routers, which takes the feature gateway"));
            }
            if let Some(Err(why)) = means.map(|means| means.meet(case.needs)) {
                return Ok(Completion::ignored_with(why));
            }
            let start = Instant::now();
            (case.run)();
            println!("{} took {:?}", case.name, start.elapsed());
            Ok(Completion::Completed)
        })
    });
    libtest_mimic::run(&arguments, trials.chain(pyp2p).collect()).exit_code()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    use libtest_mimic::{Arguments, Completion, Trial};

    let reason = "network namespaces are Linux's";
    let trial = Trial::ignorable_test("natlab", move || Ok(Completion::ignored_with(reason)));
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}
