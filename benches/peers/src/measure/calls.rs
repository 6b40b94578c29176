//! What single calls of a `Net` cost while something is going on, or hangs: whether they wait, and their processor time.
//!
//! Each state is set up in a process of its own, because what hangs leaves threads behind. There a `Net` is driven like
//! a game's, without ever letting it wait, and each call is looked at by itself.

mod states;
mod tally;

use super::P2POLL;
use crate::child::Child;
use crate::options::Options;
use crate::report::{Report, Table, short};
use crate::{Result, watchdog};
use p2poll::{Config, Event, Net};
use serde_json::Value;
use states::{STATES, Stage, State};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tally::{CALLS, Costliest, MAX, MEDIAN, TAIL, Tally, WAITED};

pub use states::serve;

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.contestant(P2POLL) {
        return Ok(());
    }
    let columns = ["", "calls", "waited", "median", "p99.9", "max", "costliest call", "its p99.9"];
    let title = "Calls of a Net that is driven without a wait: how many were waiting ones, and processor microseconds";
    let mut table = Table::new(title, &columns);
    let (mut waited, mut worst) = (0.0, 0.0_f64);
    for state in &STATES {
        let numbers = one(state, options)?;
        let number = |key: &str| numbers[key].as_f64().unwrap_or(f64::NAN);
        let costliest = Costliest::of(&numbers);
        for key in [CALLS, WAITED, MEDIAN, TAIL, MAX] {
            report.rounds(&format!("calls, {}", state.name), P2POLL, key, &[number(key)]);
        }
        report.rounds(&format!("calls, {}", state.name), P2POLL, "costliest p99.9, us", &[costliest.tail]);
        waited += number(WAITED);
        worst = worst.max(costliest.tail);
        table.row(vec![
            state.name.into(),
            short(number(CALLS)),
            format!("{:.0}", number(WAITED)),
            short(number(MEDIAN)),
            short(number(TAIL)),
            short(number(MAX)),
            costliest.name,
            short(costliest.tail),
        ]);
    }
    let control = control()?;
    table.note("A call waited when the system says that the thread gave up its processor in it (getrusage(2), ru_nvcsw).");
    table.note(format!(
        "Control: {CONTROL} calls of poll(1 ms) with nothing to do, of which {control} waited."
    ));
    table.note("The calls are: a walk, ready, events, reach, next_wakeup, broadcast, poll(ZERO), and where they apply start, drop,");
    table.note("stop, refresh_reach, connect_addr, bootstrap, advertise. Of one made less than 1000 times p99.9 is the maximum.");
    table.note("Loopback does the far end's share of a connection within connect(2) and send(2): here that is in the costs.");
    report.table(table);
    report.at_most("calls of Net that waited, in all states together", Some(waited), 0.0, "0");
    let milliseconds = Some(worst / 1000.0);
    report.below(
        "CPU ms of a call, p99.9, the costliest call in the worst state",
        milliseconds,
        1.0,
        "under 1",
    );
    Ok(())
}

fn one(state: &State, options: &Options) -> Result<Value> {
    let _guard = watchdog::guard(format!("calls, {}", state.name));
    let span = if options.quick { QUICK } else { state.span };
    let line = Child::of_ourselves(&["calls", state.name, &span.as_millis().to_string()])?.line();
    let line = line.map_err(|error| format!("calls, {}: {error}", state.name))?;
    Ok(serde_json::from_str(&line)?)
}

const QUICK: Duration = Duration::from_millis(300);

/// The process that measures one state: prints one line of JSON.
pub fn child(name: &str, span: &str) -> Result<()> {
    let state = STATES.iter().find(|state| state.name == name).ok_or("no such state")?;
    let numbers = measure((state.stage)()?, Duration::from_millis(span.parse()?))?;
    println!("{numbers}");
    Ok(())
}

/// Between two turns of the game, so that what is asked of others comes about.
const PAUSE: Duration = Duration::from_micros(500);

/// A state that does not come about within this is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Goes on until the time is up and what makes the state was seen.
fn measure(stage: Stage, span: Duration) -> Result<Value> {
    let mut tally = Tally::default();
    let (mut measured, mut seen) = (Duration::ZERO, false);
    let begin = Instant::now();
    while measured < span || !seen {
        if begin.elapsed() > span + PATIENCE {
            return Err("the state did not come about".into());
        }
        let config = stage.config.clone();
        let mut net = tally.call("start", || config.start())?;
        lead_up(&stage, &mut net)?;
        let from = Instant::now();
        (stage.enters)(&net, &mut tally);
        let mut next_habit = from;
        let mut stopped = false;
        while !stopped && (stage.lasts)(&net) && (measured + from.elapsed() < span || !seen) {
            if from.elapsed() > span + PATIENCE {
                return Err("what makes the state did not happen".into());
            }
            if Instant::now() >= next_habit {
                next_habit += stage.every;
                (stage.habit)(&net, &mut tally);
            }
            stopped = turn(&mut net, &mut tally)?;
            seen = seen || (stage.proof)(&net);
            std::thread::sleep(PAUSE);
        }
        measured += from.elapsed();
        tally.call("drop", || drop(net));
    }
    Ok(tally.numbers())
}

/// What comes before the state is not looked at.
fn lead_up(stage: &Stage, net: &mut Net) -> Result<()> {
    let begin = Instant::now();
    while !(stage.begins)(net) {
        if begin.elapsed() > PATIENCE {
            return Err(format!("the state did not begin: {}", net.reach()).into());
        }
        net.poll(Some(Duration::from_millis(1)))?;
    }
    Ok(())
}

/// A turn of a game. Returns whether the `Net` has said that it has stopped.
fn turn(net: &mut Net, tally: &mut Tally) -> Result<bool> {
    tally.call("connections", || {
        for con in net.connections() {
            for line in con.replies() {
                black_box(line);
            }
        }
    });
    tally.call("ready", || black_box(net.ready().count()));
    let stopped = tally.call("events", || {
        net.events().fold(false, |stopped, event| stopped | matches!(event, Event::Stopped))
    });
    tally.call("reach", || black_box(net.reach()));
    tally.call("next_wakeup", || black_box(net.next_wakeup()));
    tally.call("broadcast", || net.broadcast("news", None));
    tally.call("poll", || net.poll(Some(Duration::ZERO)))?;
    Ok(stopped)
}

const CONTROL: usize = 100;

/// How many of so many calls that wait are seen to: an instrument that shows none anywhere might be broken.
fn control() -> Result<u64> {
    let mut net = Config::new().bind(Ipv4Addr::LOCALHOST.into()).start()?;
    let mut tally = Tally::default();
    for _ in 0..CONTROL {
        tally.call("poll", || net.poll(Some(Duration::from_millis(1))))?;
    }
    match tally.waited() {
        0 => Err("calls that wait are not seen to: ru_nvcsw does not count here".into()),
        waited => Ok(waited),
    }
}
