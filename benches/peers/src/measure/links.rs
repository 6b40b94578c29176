//! Lines from one node to another, on a plain connection and on a node link, which is framed and has credit; and on a plain
//! one while there are node links beside it. Compared is processor time for each line, because reader and sender wait for
//! each other.

use super::{LINE, MANY_ROUNDS, P2POLL, pick, rounds, window};
use crate::meter::{Meter, Sample, Window};
use crate::options::Options;
use crate::report::{Report, Table, ratio, short};
use crate::{Result, join, usage, watchdog};
use p2poll::{ConId, Config, Event, Net, SendError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.contestant(P2POLL) {
        return Ok(());
    }
    let mut all: Vec<Vec<Both>> = KINDS.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds(options, MANY_ROUNDS) {
        for (kind, samples) in KINDS.iter().zip(&mut all) {
            let _guard = watchdog::guard(format!("links, {}", kind.name));
            samples
                .push(one(kind, window(options)).map_err(|error| format!("links, {}: {error}", kind.name))?);
        }
    }
    tell(report, &all);
    Ok(())
}

struct Kind {
    name: &'static str,
    is_link: bool,
    in_bulk: bool,
    /// Node links of the receiver on which nothing happens.
    others: usize,
}

const PLAIN: usize = 0;
const KINDS: [Kind; 5] = [
    Kind { name: "plain", is_link: false, in_bulk: false, others: 0 },
    Kind { name: "node link", is_link: true, in_bulk: false, others: 0 },
    Kind { name: "plain beside 100 node links", is_link: false, in_bulk: false, others: 100 },
    Kind { name: "plain, in bulk", is_link: false, in_bulk: true, others: 0 },
    Kind { name: "node link, in bulk", is_link: true, in_bulk: true, others: 0 },
];

/// What one round gave.
struct Both {
    receiver: Sample,
    /// Processor time of the sending thread.
    sender_ns: f64,
}

fn one(kind: &Kind, window: Window) -> Result<Both> {
    let stop = AtomicBool::new(false);
    let (mut from, mut to) = (start()?, start()?);
    let mut others = (0..kind.others).map(|_| start()).collect::<Result<Vec<_>>>()?;
    for other in &mut others {
        join_nodes(other, &mut to, true)?;
    }
    let (con, heard) = join_nodes(&mut from, &mut to, kind.is_link)?;
    let mut meter = Meter::new(window, &stop);
    let sender_ns = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = send(&mut from, con, kind.in_bulk, &stop);
            stop.store(true, Ordering::Relaxed);
            sent
        });
        let received = receive(&mut to, heard, kind.in_bulk, &mut meter);
        stop.store(true, Ordering::Relaxed);
        received.and(join(sender))
    })?;
    let receiver = meter.sample().ok_or("ended before the time was up")?;
    if receiver.bytes_per_line != LINE.len() as f64 {
        return Err(format!("the lines came {} bytes long", receiver.bytes_per_line).into());
    }
    Ok(Both { receiver, sender_ns })
}

fn start() -> Result<Net> {
    let config = Config::new().bind("127.0.0.1".parse()?).direct();
    Ok(config.max_inbound(1000).max_inbound_per_address(1000).start()?)
}

const PATIENCE: Duration = Duration::from_secs(10);

/// Connects one to the other; returns what each calls the connection.
fn join_nodes(from: &mut Net, to: &mut Net, as_link: bool) -> Result<(ConId, ConId)> {
    let before: Vec<ConId> = to.connections().map(|con| con.id()).collect();
    if as_link {
        from.connect(&to.unl().ok_or("it has a UNL")?)?;
    } else {
        from.connect_addr(to.local_addr().ok_or("it listens")?)?;
    }
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        for net in [&mut *from, &mut *to] {
            net.poll(Some(Duration::from_millis(1)))?;
        }
        for event in from.events() {
            if let Event::Failed { why, .. } = event {
                return Err(why.to_string().into());
            }
        }
        to.events().for_each(drop);
        // A plain connection is shown when it has said something.
        if !as_link {
            for con in from.connections() {
                let _ = con.send_line("hello");
            }
        }
        let ours = from.connections().find(|con| con.node_id().is_some() == as_link).map(|con| con.id());
        let theirs = to.connections().map(|con| con.id()).find(|id| !before.contains(id));
        if let Some(both) = ours.zip(theirs) {
            for con in to.connections() {
                con.replies().for_each(drop);
            }
            return Ok(both);
        }
    }
    Err("they do not come together".into())
}

/// Sends until nobody wants more; returns the processor time for each line.
fn send(net: &mut Net, id: ConId, in_bulk: bool, stop: &AtomicBool) -> Result<f64> {
    const MANY: usize = 128;
    let lines = [LINE; MANY];
    let (begin, mut sent) = (usage::thread_time(), 0u64);
    while !stop.load(Ordering::Relaxed) {
        for con in net.connections().filter(|con| con.id() == id) {
            'full: while !stop.load(Ordering::Relaxed) {
                if in_bulk {
                    match con.send_lines(&lines) {
                        Ok(()) => sent += MANY as u64,
                        Err(SendError::Full) => break 'full,
                        Err(error) => return Err(error.into()),
                    }
                    continue;
                }
                for _ in 0..MANY {
                    match con.send_line(LINE) {
                        Ok(()) => sent += 1,
                        Err(SendError::Full) => break 'full,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        net.poll(Some(Duration::from_millis(10)))?;
    }
    Ok((usage::thread_time() - begin).as_nanos() as f64 / sent as f64)
}

fn receive(net: &mut Net, id: ConId, in_bulk: bool, meter: &mut Meter<'_>) -> Result<()> {
    while meter.sample().is_none() {
        for con in net.connections().filter(|con| con.id() == id) {
            // The first words of a plain connection do not count.
            let wanted = |line: &[u8]| line.len() == LINE.len();
            if in_bulk {
                con.for_each_line(|line| {
                    if wanted(line.as_bytes()) {
                        meter.line(line.as_bytes());
                    }
                });
            } else {
                for line in con.replies() {
                    if wanted(line.as_bytes()) {
                        meter.line(line.as_bytes());
                    }
                }
            }
        }
        if net.con(id).is_none() {
            return Err("the connection is gone".into());
        }
        net.poll(Some(Duration::from_millis(10)))?;
    }
    Ok(())
}

fn tell(report: &mut Report, all: &[Vec<Both>]) {
    let columns = ["", "lines/s", "min..max", "x plain", "receiver CPU ns/line", "sender CPU ns/line"];
    let mut table = Table::new("From node to node: 64-byte lines, each node in a thread", &columns);
    let speed = |at: usize| pick(&all[at], |both| both.receiver.lines_per_second);
    let against = |at: usize, other: usize| Some(speed(at).median() / speed(other).median());
    for (at, (kind, samples)) in KINDS.iter().zip(all).enumerate() {
        let speed = speed(at);
        report.rounds("links", kind.name, "lines per second", speed.values());
        table.row(vec![
            kind.name.into(),
            short(speed.median()),
            format!("{}..{}", short(speed.min()), short(speed.max())),
            ratio(against(at, PLAIN)),
            short(pick(samples, |both| both.receiver.nanoseconds_per_line).median()),
            short(pick(samples, |both| both.sender_ns).median()),
        ]);
    }
    table.note("By send_line and replies; in bulk: by send_lines of 128, and for_each_line.");
    report.table(table);
    let received = |at: usize| pick(&all[at], |both| both.receiver.nanoseconds_per_line).median();
    let sent = |at: usize| pick(&all[at], |both| both.sender_ns).median();
    let mut row = |what, ratio: f64, least, wanted| report.at_least(what, Some(ratio), least, wanted);
    row("lines received over a node link, against plain", received(0) / received(1), 0.9, "at least 0.90");
    row("the same by for_each_line", received(3) / received(4), 0.9, "at least 0.90");
    row("lines sent over a node link, against plain", sent(0) / sent(1), 0.9, "at least 0.90");
    row("the same by send_lines", sent(3) / sent(4), 0.9, "at least 0.90");
    row("plain beside 100 node links, received, against alone", received(0) / received(2), 0.95, "no fewer");
    row("the same, sent", sent(0) / sent(2), 0.95, "no fewer");
}
