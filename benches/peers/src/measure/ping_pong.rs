//! One line there and back. Both ends are of the same kind, each on a thread of its own.

use super::{HAND_WRITTEN, LINE, P2POLL, pick, round_robin};
use crate::contestants::{ALL, Contestant};
use crate::meter::Laps;
use crate::options::Options;
use crate::report::{Report, Table, ratio, short};
use crate::statistics::Rounds;
use crate::{Result, join};
use std::sync::mpsc::channel;
use std::time::Duration;

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let laps = if options.quick { 1_000 } else { 10_000 };
    let all = round_robin(options, "ping-pong", |contestant| one(contestant, laps));
    let median = |name| all.get(name).map(|samples| pick(samples, |lap: &Lap| lap.median).median());
    let loops = median(HAND_WRITTEN);
    let columns = ["", "median", "min..max", "x hand-written", "p99", "min..max"];
    let mut table = Table::new("Ping-pong: one 64-byte line there and back, microseconds", &columns);
    for (name, samples) in ALL.iter().filter_map(|contestant| all.get_key_value(contestant.name())) {
        let (middle, tail) = (pick(samples, |lap| lap.median), pick(samples, |lap| lap.p99));
        report.rounds("ping-pong median", name, "microseconds", middle.values());
        report.rounds("ping-pong p99", name, "microseconds", tail.values());
        table.row(vec![
            name.to_string(),
            short(middle.median()),
            format!("{}..{}", short(middle.min()), short(middle.max())),
            ratio(loops.map(|loops| middle.median() / loops)),
            short(tail.median()),
            format!("{}..{}", short(tail.min()), short(tail.max())),
        ]);
    }
    table.note(
        "All switch Nagle's delay off but message-io, which offers no way to, and writes length and line apart.",
    );
    report.table(table);
    let ours = median(P2POLL).zip(loops).map(|(ours, loops)| ours / loops);
    report.at_most("ping-pong, median, against the hand-written loop", ours, 1.15, "at most 1.15");
    Ok(())
}

struct Lap {
    median: f64,
    p99: f64,
}

/// Some take 40 ms a lap: then it is fewer laps.
const LIMIT: Duration = Duration::from_secs(1);

fn one(contestant: &dyn Contestant, wanted: usize) -> Result<Lap> {
    let mut laps = Laps::new(wanted, wanted / 10, LIMIT);
    std::thread::scope(|scope| {
        let (announce, address) = channel();
        let echo = scope.spawn(move || contestant.echo(&announce));
        contestant.ask(address.recv()?, LINE, &mut laps)?;
        join(echo)
    })?;
    let mut times = Rounds::default();
    laps.times().iter().for_each(|&time| times.push(time));
    Ok(Lap { median: times.median(), p99: times.quantile(0.99) })
}
