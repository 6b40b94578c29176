//! What the server carries as a relay, with its limits off or out of reach, beside a loop that only copies.
//!
//! Each is a process of its own on one core, and the load is made on another. The same 1,000 pairs of connections of
//! each are used in all rounds; at the server they came about by the real protocol.

mod bare;
mod pairs;

use super::{HAND_WRITTEN, P2POLL, SOME_ROUNDS, pick, rounds};
use crate::child::Child;
use crate::options::Options;
use crate::report::{Report, Table, ratio, short};
use crate::{Result, join, protocol, usage, watchdog};
use pairs::{Pairs, Sample};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub use bare::serve as bare;

const RELAYS: usize = 1000;

/// p2poll with limits for each relay, which are never reached: what it costs to count.
const COUNTED: &str = "p2poll, counting";

/// Bytes, in all and in a second.
const OUT_OF_REACH: &str = "1000000000000000";

/// What goes through.
#[derive(Clone, Copy)]
pub struct Shape {
    name: &'static str,
    /// The most that is written at once.
    message: usize,
    /// The most that is under way on each connection.
    window: usize,
}

const BULK: Shape =
    Shape { name: "as fast as it goes, 64 KiB under way", message: 64 << 10, window: 64 << 10 };
const LINES: Shape = Shape { name: "a message of 100 bytes under way", message: 100, window: 100 };

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let relays = if options.quick { RELAYS / 10 } else { RELAYS };
    usage::room_for(3 * 2 * relays)?;
    let mut contestants = start(options, relays)?;
    for shape in [BULK, LINES] {
        let mut samples = vec![Vec::new(); contestants.len()];
        for _ in 0..rounds(options, SOME_ROUNDS) {
            for (contestant, samples) in contestants.iter_mut().zip(&mut samples) {
                samples.push(one(contestant, shape, options)?);
            }
        }
        tell(
            report,
            relays,
            shape,
            contestants.iter().map(|contestant| contestant.name).zip(samples).collect(),
        );
    }
    Ok(())
}

struct Contestant {
    name: &'static str,
    pairs: Pairs,
    process: Child,
}

fn start(options: &Options, relays: usize) -> Result<Vec<Contestant>> {
    let mut contestants = Vec::new();
    if options.contestant(HAND_WRITTEN) {
        contestants.push(Contestant::new(HAND_WRITTEN, &["bare"], relays, |_, _| Ok(()))?);
    }
    if options.contestant(P2POLL) {
        contestants.push(Contestant::new(P2POLL, &["unlimited", "0"], relays, protocol::relay)?);
        contestants.push(Contestant::new(COUNTED, &["unlimited", OUT_OF_REACH], relays, protocol::relay)?);
    }
    Ok(contestants)
}

impl Contestant {
    /// `join` makes pairs of neighbouring connections.
    fn new(
        name: &'static str,
        task: &[&str],
        relays: usize,
        join: impl Fn(SocketAddr, &[protocol::Link]) -> Result<()>,
    ) -> Result<Self> {
        let _guard = watchdog::guard(format!("relay, {name}, connecting"));
        let mut process = Child::of_ourselves(task)?;
        let server: SocketAddr = process.line()?.parse()?;
        let mut streams = Vec::new();
        while streams.len() < 2 * relays {
            let begin = streams.len();
            let end = (begin + protocol::AT_ONCE).min(2 * relays);
            let link = |number| {
                protocol::Link::connect(server, Ipv4Addr::LOCALHOST.into(), protocol::Node::numbered(number))
            };
            let links = (begin..end).map(link).collect::<Result<Vec<_>>>()?;
            join(server, &links).map_err(|error| format!("relay, {name}: {error}"))?;
            streams.extend(links.into_iter().map(|link| link.stream));
        }
        let pairs = Pairs::new(streams).map_err(|error| format!("relay, {name}: {error}"))?;
        Ok(Self { name, pairs, process })
    }
}

fn one(contestant: &mut Contestant, shape: Shape, options: &Options) -> Result<Sample> {
    let Contestant { name, pairs, process } = contestant;
    let _guard = watchdog::guard(format!("relay, {name}"));
    let (warm_up, measure) = if options.quick { (50, 200) } else { (300, 1000) };
    let (warm_up, measure) = (Duration::from_millis(warm_up), Duration::from_millis(measure));
    let process = process.id();
    // A thread of its own: where it stays ends with it.
    let sample = std::thread::scope(|scope| {
        join(scope.spawn(move || {
            usage::stay_on(usage::Core::Last)?;
            pairs.load(shape, warm_up, measure, || usage::process_time(process))
        }))
    });
    sample.map_err(|error| format!("relay, {name}: {error}").into())
}

fn tell(report: &mut Report, relays: usize, shape: Shape, all: Vec<(&'static str, Vec<Sample>)>) {
    let title = format!("Relay: {relays} connections, {}; the relaying process on one core", shape.name);
    let columns = [
        "",
        "MB/s",
        "min..max",
        "messages/s",
        "busy",
        "load busy",
        "CPU ns/KiB",
        "MB/s of CPU",
        "x hand-written",
    ];
    let mut table = Table::new(title, &columns);
    let per_core = |samples: &[Sample]| pick(samples, Sample::bytes_per_cpu_second);
    let bare =
        all.iter().find(|(name, _)| *name == HAND_WRITTEN).map(|(_, samples)| per_core(samples).median());
    let against = |samples: &[Sample]| bare.map(|bare| per_core(samples).median() / bare);
    for (name, samples) in &all {
        let speed = pick(samples, |sample| sample.bytes_per_second() / 1e6);
        let cost = pick(samples, |sample| 1024e9 / sample.bytes_per_cpu_second());
        let what = format!("relay, {}", shape.name);
        report.rounds(&what, name, "MB per second", speed.values());
        report.rounds(&what, name, "CPU ns per KiB", cost.values());
        table.row(vec![
            name.to_string(),
            short(speed.median()),
            format!("{}..{}", short(speed.min()), short(speed.max())),
            short(speed.median() * 1e6 / shape.message as f64),
            format!("{:.0} %", 100.0 * pick(samples, Sample::busy).median()),
            format!("{:.0} %", 100.0 * pick(samples, Sample::own_busy).median()),
            short(cost.median()),
            short(per_core(samples).median() / 1e6),
            ratio(against(samples)),
        ]);
    }
    table.note("Busy: how much of its core the relaying process used, and the thread that makes the load. Where neither is near");
    table.note("100 %, others had the machine: what one core carries is what goes through in a second of processor time.");
    report.table(table);
    let ours = all.iter().find(|(name, _)| *name == P2POLL).and_then(|(_, samples)| against(samples));
    let what = if shape.message == BULK.message {
        "relayed bytes on one core, against a bare splice loop"
    } else {
        "relayed messages of 100 bytes on one core, against a bare splice loop"
    };
    report.at_least(what, ours, 0.5, "at least 0.50");
}

/// The process that hosts p2poll's server on one core: all that it holds has no limits but this one, 0: none, for the bytes
/// of each relay, in all and in a second.
pub fn serve(relay: &str) -> Result<()> {
    let relay = relay.parse()?;
    usage::room_for(usize::from(u16::MAX))?;
    usage::stay_on(usage::Core::First)?;
    let mut server = p2poll::RendezvousConfig::new()
        .listen("127.0.0.1:0")
        .relay_bytes(relay)
        .relay_rate(relay)
        .relay_time(Duration::ZERO)
        .max_relays(usize::from(u16::MAX))
        .max_signals_per_minute(u32::MAX)
        .start()?;
    println!("{}", server.local_addrs().first().ok_or("it listens nowhere")?);
    loop {
        server.poll(None)?;
    }
}
