//! One line there and back. Both ends are of the same kind, each on a thread of its own.

use super::{HAND_WRITTEN, LINE, MANY_ROUNDS, P2POLL, pick, round_robin};
use crate::contestants::{ALL, Contestant};
use crate::meter::Laps;
use crate::options::Options;
use crate::report::{Report, Table, ratio, short};
use crate::statistics::Rounds;
use crate::{Result, join, usage};
use std::sync::mpsc::channel;
use std::time::Duration;

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let anywhere = table(options, report, Cores::Any, "the threads where the system puts them");
    let together = table(
        options,
        report,
        Cores::One,
        "both threads on one core: no wake-up of another, so what it costs",
    );
    report.at_most("ping-pong, median, against the hand-written loop", anywhere, 1.15, "at most 1.15");
    report.at_most("the same with both ends on one core", together, 1.15, "at most 1.15");
    Ok(())
}

/// Returns p2poll's median against the hand-written loop's.
fn table(options: &Options, report: &mut Report, cores: Cores, title: &str) -> Option<f64> {
    let laps = if options.quick { 1_000 } else { 5_000 };
    let all = round_robin(options, "ping-pong", MANY_ROUNDS, |contestant| one(contestant, laps, cores));
    let median = |name| all.get(name).map(|samples| pick(samples, |lap: &Lap| lap.median).median());
    let loops = median(HAND_WRITTEN);
    let columns = ["", "median", "min..max", "x hand-written", "p99", "min..max", "allocations/lap"];
    let mut table =
        Table::new(format!("Ping-pong: one 64-byte line there and back, microseconds; {title}"), &columns);
    for (name, samples) in ALL.iter().filter_map(|contestant| all.get_key_value(contestant.name())) {
        let (middle, tail) = (pick(samples, |lap| lap.median), pick(samples, |lap| lap.p99));
        report.rounds(&format!("ping-pong median, {cores:?} core"), name, "microseconds", middle.values());
        report.rounds(&format!("ping-pong p99, {cores:?} core"), name, "microseconds", tail.values());
        table.row(vec![
            name.to_string(),
            short(middle.median()),
            format!("{}..{}", short(middle.min()), short(middle.max())),
            ratio(loops.map(|loops| middle.median() / loops)),
            short(tail.median()),
            format!("{}..{}", short(tail.min()), short(tail.max())),
            format!("{:.2}", pick(samples, |lap| lap.allocations).median()),
        ]);
    }
    table.note(
        "Nagle's delay is off but in message-io, which offers no way to and writes length and line apart.",
    );
    report.table(table);
    median(P2POLL).zip(loops).map(|(ours, loops)| ours / loops)
}

#[derive(Clone, Copy, Debug)]
enum Cores {
    Any,
    One,
}

impl Cores {
    fn settle(self) -> Result<()> {
        match self {
            Self::Any => Ok(()),
            Self::One => usage::stay_on(usage::Core::First),
        }
    }
}

struct Lap {
    median: f64,
    p99: f64,
    /// Of the asking end.
    allocations: f64,
}

/// Some take 40 ms a lap: then it is fewer laps.
const LIMIT: Duration = Duration::from_millis(500);

fn one(contestant: &dyn Contestant, wanted: usize, cores: Cores) -> Result<Lap> {
    let mut laps = Laps::new(wanted, wanted / 10, LIMIT);
    std::thread::scope(|scope| {
        let (announce, address) = channel();
        let echo = scope.spawn(move || cores.settle().and_then(|()| contestant.echo(&announce)));
        let laps = &mut laps;
        // A thread of its own too: where it stays ends with it.
        let ask =
            scope.spawn(move || cores.settle().and_then(|()| contestant.ask(address.recv()?, LINE, laps)));
        join(ask)?;
        join(echo)
    })?;
    let mut times = Rounds::default();
    laps.times().iter().for_each(|&time| times.push(time));
    Ok(Lap { median: times.median(), p99: times.quantile(0.99), allocations: laps.allocations_per_lap() })
}
