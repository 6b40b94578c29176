//! What is measured, a file for each.

pub mod calls;
pub mod idle;
pub mod laggards;
pub mod links;
pub mod nodes;
pub mod ping_pong;
pub mod receiving;
pub mod relay;
pub mod rendezvous;
pub mod sending;

use crate::contestants::{ALL, Contestant};
use crate::meter::{Sample, Window};
use crate::options::Options;
use crate::report::{Report, Table, ratio, short};
use crate::statistics::Rounds;
use crate::{Result, watchdog};
use std::collections::BTreeMap;
use std::time::Duration;

/// 64 bytes, to which each framing adds its own.
const LINE: &str = "The quick brown fox jumps over the lazy dog; so do sixty-four b.";
const _: () = assert!(LINE.len() == 64);

const HAND_WRITTEN: &str = "hand-written";
const LINES_CODEC: &str = "LinesCodec";
const P2POLL: &str = "p2poll";
const IN_BULK: &str = "p2poll, in bulk";

/// Rounds of what takes a moment each, and of what takes long.
const MANY_ROUNDS: usize = 15;
const SOME_ROUNDS: usize = 5;

fn rounds(options: &Options, rounds: usize) -> usize {
    if options.quick { 3 } else { rounds }
}

fn window(options: &Options) -> Window {
    let milliseconds = if options.quick { (50, 100) } else { (100, 300) };
    Window { warm_up: Duration::from_millis(milliseconds.0), measure: Duration::from_millis(milliseconds.1) }
}

fn contestants(options: &Options) -> impl Iterator<Item = &'static dyn Contestant> {
    ALL.iter().copied().filter(|contestant| options.contestant(contestant.name()))
}

/// All contestants one after the other, again and again: what else the machine does meanwhile hits all of them.
/// Who fails is left out from there on, with the reason.
fn round_robin<T>(
    options: &Options,
    what: &'static str,
    most: usize,
    mut measure: impl FnMut(&'static dyn Contestant) -> Result<T>,
) -> BTreeMap<&'static str, Vec<T>> {
    let mut all = BTreeMap::<_, Vec<T>>::new();
    let mut taking_part: Vec<_> =
        contestants(options).filter(|contestant| contestant.takes_part(what)).collect();
    for _ in 0..rounds(options, most) {
        taking_part.retain(|contestant| {
            let name = contestant.name();
            let _guard = watchdog::guard(format!("{what}, {name}"));
            match measure(*contestant) {
                Ok(sample) => all.entry(name).or_default().push(sample),
                Err(error) => {
                    eprintln!("peers: {what}, {name}: {error}");
                    return false;
                }
            }
            true
        });
    }
    all
}

/// The numbers of one kind out of the samples.
fn pick<T>(samples: &[T], number: impl Fn(&T) -> f64) -> Rounds {
    let mut rounds = Rounds::default();
    samples.iter().for_each(|sample| rounds.push(number(sample)));
    rounds
}

/// What p2poll came to, against others.
struct Ratios {
    to_loop: Option<f64>,
    to_codec: Option<f64>,
    /// In bulk.
    bulk_to_loop: Option<f64>,
}

/// Receiving and sending look the same on paper.
fn throughput_table(
    report: &mut Report,
    title: &str,
    measurement: &str,
    all: &BTreeMap<&'static str, Vec<Sample>>,
    note: &str,
) -> Ratios {
    let median = |name| all.get(name).map(|samples| pick(samples, |sample| sample.lines_per_second).median());
    let against = |speed: f64, name| median(name).map(|other| speed / other);
    let columns =
        ["", "lines/s", "min..max", "x hand-written", "x LinesCodec", "CPU ns/line", "allocations/line"];
    let mut table = Table::new(title, &columns);
    for contestant in ALL.iter().filter_map(|contestant| all.get_key_value(contestant.name())) {
        let (name, samples) = contestant;
        let speed = pick(samples, |sample| sample.lines_per_second);
        report.rounds(measurement, name, "lines per second", speed.values());
        table.row(vec![
            name.to_string(),
            short(speed.median()),
            format!("{}..{}", short(speed.min()), short(speed.max())),
            ratio(against(speed.median(), HAND_WRITTEN)),
            ratio(against(speed.median(), LINES_CODEC)),
            short(pick(samples, |sample| sample.nanoseconds_per_line).median()),
            format!("{:.4}", pick(samples, |sample| sample.allocations_per_line).median()),
        ]);
    }
    table.note(note);
    report.table(table);
    let to = |ours, name| median(ours).and_then(|ours| against(ours, name));
    Ratios {
        to_loop: to(P2POLL, HAND_WRITTEN),
        to_codec: to(P2POLL, LINES_CODEC),
        bulk_to_loop: to(IN_BULK, HAND_WRITTEN),
    }
}
