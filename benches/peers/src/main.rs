//! Measures p2poll beside its peers, in one run, on loopback: see `--help`, and the README for what it gave.
//!
//! `contestants/` holds who is measured, `measure/` what. Rounds of the contestants take turns, because no machine
//! is quiet; what is compared are medians of rounds of one run.

mod allocations;
mod child;
mod contestants;
mod load;
mod measure;
mod meter;
mod options;
mod protocol;
mod report;
mod statistics;
mod usage;
mod watchdog;

use options::Options;
use report::Report;
use std::process::ExitCode;
use std::thread::ScopedJoinHandle;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--child", ref task @ ..] => child(task),
        _ => parent(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parent(arguments: Vec<String>) -> Result<()> {
    let Some(options) = Options::parse(arguments.into_iter())? else {
        print!("{}", options::HELP);
        return Ok(());
    };
    watchdog::start();
    let mut report = Report::default();
    type Measurement = fn(&Options, &mut Report) -> Result<()>;
    let measurements: [(&str, Measurement); 10] = [
        ("receiving", measure::receiving::run),
        ("sending", measure::sending::run),
        ("links", measure::links::run),
        ("ping-pong", measure::ping_pong::run),
        ("idle", measure::idle::run),
        ("rendezvous", measure::rendezvous::run),
        ("relay", measure::relay::run),
        ("nodes", measure::nodes::run),
        ("laggards", measure::laggards::run),
        ("calls", measure::calls::run),
    ];
    for (name, measurement) in measurements {
        if options.measures(name) {
            measurement(&options, &mut report)?;
        }
    }
    report.finish(options.json.as_deref())
}

/// What this program does as a child of itself.
fn child(task: &[&str]) -> Result<()> {
    match task {
        ["idle", name, many] => measure::idle::child(name, many),
        ["dial", to] => measure::idle::dial(to),
        ["canned"] => measure::rendezvous::canned(),
        ["calls", state, span] => measure::calls::child(state, span),
        ["server", pace, probe] => measure::calls::serve(pace, probe),
        ["bare"] => measure::relay::bare(),
        ["unlimited", relay] => measure::relay::serve(relay),
        ["rendezvous"] => measure::rendezvous::serve(),
        _ => Err(format!("no such task: {task:?}").into()),
    }
}

/// The result of a thread; a panic in it becomes ours.
fn join<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
