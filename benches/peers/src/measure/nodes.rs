//! A server with 20,000 nodes that have proven their ids, are listed, and take signals: what they cost it in memory, in
//! processor time while nothing happens but their signs of life, and how many signals it passes on.

mod crowd;

use super::{P2POLL, SOME_ROUNDS, rounds};
use crate::child::Child;
use crate::options::Options;
use crate::report::{Report, Table, short};
use crate::statistics::Rounds;
use crate::{Result, join, protocol, usage, watchdog};
use crowd::Crowd;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

const NODES: usize = 20_000;

/// p2poll's nodes give a sign of life each minute.
const PING_EVERY: Duration = Duration::from_secs(60);

/// Signals under way at once: far fewer than nodes, and enough that the server is never idle.
const UNDER_WAY: usize = 256;

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.contestant(P2POLL) {
        return Ok(());
    }
    let wanted = if options.quick { NODES / 10 } else { NODES };
    let many = usage::room_for(wanted)?;
    let mut process = Child::of_ourselves(&["unlimited", "0"])?;
    let server: SocketAddr = process.line()?.parse()?;
    // A thread of its own: where it stays ends with it.
    let numbers = std::thread::scope(|scope| {
        join(scope.spawn(|| {
            usage::stay_on(usage::Core::Last)?;
            measure(options, server, process.id(), many)
        }))
    });
    let numbers = numbers.map_err(|error| format!("nodes: {error}"))?;
    tell(report, &numbers, many, wanted);
    Ok(())
}

#[derive(Default)]
struct Numbers {
    /// Of all, by the clock.
    registering: Duration,
    /// Of the server's processor, for each node.
    registering_us: f64,
    bytes: f64,
    /// The server's processor time in a second, in milliseconds.
    idle_ms: Rounds,
    signals: Rounds,
    signal_us: Rounds,
}

fn measure(options: &Options, server: SocketAddr, process: u32, many: usize) -> Result<Numbers> {
    let (seconds, measure) = if options.quick { (1, 300) } else { (3, 1000) };
    let (idle, measure) = (Duration::from_secs(seconds), Duration::from_millis(measure));
    let mut numbers = Numbers::default();
    let guard = watchdog::guard("nodes, registering".into());
    let mut spent = Spent::of(process)?;
    let memory = usage::resident_memory_of(process)?;
    let begin = Instant::now();
    let links = register(server, many)?;
    numbers.registering = begin.elapsed();
    numbers.registering_us = spent.next()?.as_secs_f64() * 1e6 / many as f64;
    numbers.bytes = usage::resident_memory_of(process)?.saturating_sub(memory) as f64 / many as f64;
    drop(guard);
    let mut crowd = Crowd::new(links)?;
    for _ in 0..rounds(options, SOME_ROUNDS) {
        let _guard = watchdog::guard("nodes, pings and signals".into());
        spent.next()?;
        crowd.ping(idle, PING_EVERY)?;
        numbers.idle_ms.push(spent.next()?.as_secs_f64() * 1e3 / idle.as_secs_f64());
        let begin = Instant::now();
        let delivered = crowd.signal(UNDER_WAY, measure)? as f64;
        numbers.signals.push(delivered / begin.elapsed().as_secs_f64());
        numbers.signal_us.push(spent.next()?.as_secs_f64() * 1e6 / delivered);
    }
    Ok(numbers)
}

/// From a few addresses, as each has only so many ports.
fn register(server: SocketAddr, many: usize) -> Result<Vec<protocol::Link>> {
    const AN_ADDRESS: usize = 1000;
    let mut links = Vec::with_capacity(many);
    while links.len() < many {
        let begin = links.len();
        let link = |number: usize| {
            let address = Ipv4Addr::new(127, 0, 2, 1 + (number / AN_ADDRESS) as u8);
            protocol::Link::connect(server, address.into(), protocol::Node::numbered(number))
        };
        let next = (begin..(begin + protocol::AT_ONCE).min(many)).map(link).collect::<Result<Vec<_>>>()?;
        protocol::register(server, &next)?;
        links.extend(next);
    }
    Ok(links)
}

fn tell(report: &mut Report, numbers: &Numbers, many: usize, wanted: usize) {
    let Numbers { registering, registering_us, bytes, idle_ms, signals, signal_us } = numbers;
    report.rounds("nodes", P2POLL, "CPU ms a second, pings only", idle_ms.values());
    report.rounds("nodes", P2POLL, "signals per second", signals.values());
    report.rounds("nodes", P2POLL, "CPU us a signal", signal_us.values());
    report.rounds("nodes", P2POLL, "bytes a node", &[*bytes]);
    report.rounds("nodes", P2POLL, "CPU us a registration", &[*registering_us]);
    let title = format!("A server with {many} nodes, proven, listed, and there for signals");
    let mut table = Table::new(title, &["", "measured", "min..max"]);
    let mut row = |what: &str, value: String, range: String| table.row(vec![what.into(), value, range]);
    let range = |rounds: &Rounds| format!("{}..{}", short(rounds.min()), short(rounds.max()));
    row("registering all, s", short(registering.as_secs_f64()), String::new());
    row("CPU us a registration", short(*registering_us), String::new());
    row("memory of the process, bytes a node", short(*bytes), String::new());
    row("CPU ms a second, with a ping of each a minute", short(idle_ms.median()), range(idle_ms));
    row("signals/s between random pairs", short(signals.median()), range(signals));
    row("CPU us a signal", short(signal_us.median()), range(signal_us));
    table.note(format!(
        "The server on one core, the nodes on another; {UNDER_WAY} signals of {} bytes under way.",
        crowd::TEXT
    ));
    table.note("The kernel's memory is not counted. A registration is a connection, HELLO, PASSIVE, and a proof to be checked.");
    if many < wanted {
        table.note(format!("Fewer than {wanted}: the limit of open files (ulimit -Hn) has no room."));
    }
    report.table(table);
    if wanted == NODES {
        let (measured, least) = (Some(many as f64), many as f64);
        report.at_least(
            "nodes registered at one server",
            measured,
            least,
            "20000, or what ulimit -Hn allows",
        );
    }
    report.at_most(
        "memory of a server's process, bytes a registered node",
        Some(*bytes),
        2048.0,
        "at most 2048",
    );
    let busy = Some(idle_ms.median() / 10.0);
    report.at_most("per cent of a core for 20,000 nodes that only ping", busy, 5.0, "at most 5.00");
    let signals_per_core = Some(1e6 / signal_us.median());
    report.at_least("signals a second of processor time", signals_per_core, 10_000.0, "at least 10000");
}

/// The processor time of a process between looks at it.
struct Spent {
    process: u32,
    before: Duration,
}

impl Spent {
    fn of(process: u32) -> Result<Self> {
        Ok(Self { process, before: usage::process_time(process)? })
    }

    /// Since the last look.
    fn next(&mut self) -> Result<Duration> {
        let now = usage::process_time(self.process)?;
        Ok(now - std::mem::replace(&mut self.before, now))
    }
}
