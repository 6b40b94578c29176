//! Connections on which nothing happens: what they cost in memory, and in a turn of the loop.
//!
//! Each contestant is measured in a process of its own, so that memory is what its connections took; the far ends
//! of the connections live in yet another process.

use super::{LINE, P2POLL, SOME_ROUNDS, pick, round_robin};
use crate::child::Child;
use crate::contestants::{self, ALL, Contestant, Host};
use crate::options::Options;
use crate::report::{Report, Table, ratio, short};
use crate::statistics::Rounds;
use crate::{Result, usage};
use serde_json::{Value, json};
use std::hint::black_box;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const FEW: usize = 10;
const MANY: usize = 10_000;

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let wanted = if options.quick { MANY / 10 } else { MANY };
    let many = usage::room_for(wanted)?;
    let all = round_robin(options, "idle", SOME_ROUNDS, |contestant| one(contestant, many));
    let number = |name, key: &str| {
        all.get(name)
            .map(|samples: &Vec<Value>| pick(samples, |sample| sample[key].as_f64().unwrap_or(f64::NAN)))
    };
    let title = format!("Idle connections: {FEW} and {many} (memory: {many} against none)");
    let columns = [
        "",
        "bytes/connection",
        "min..max",
        "after a line",
        "tick with few, ns",
        "with many, ns",
        "ratio",
        "walk, ns/connection",
        "with replies().next()",
    ];
    let mut table = Table::new(title, &columns);
    for name in ALL.iter().map(|contestant| contestant.name()).filter(|name| all.contains_key(name)) {
        let get = |key| number(name, key).expect("the name is in the map");
        for key in KEYS {
            report.rounds(&format!("idle, {key}"), name, key, get(key).values());
        }
        let memory = get(MEMORY);
        table.row(vec![
            name.to_string(),
            short(memory.median()),
            format!("{}..{}", short(memory.min()), short(memory.max())),
            short(get(MEMORY_AFTER).median()),
            short(get(TICK_FEW).median()),
            short(get(TICK_MANY).median()),
            ratio(Some(get(TICK_MANY).median() / get(TICK_FEW).median())),
            short(get(WALK).median()),
            short(get(WALK_LINES).median()),
        ]);
    }
    table.note("A tick is a poll that does not wait; p2poll's is `ready()` and `poll(ZERO)`. The kernel's memory is not counted.");
    if many < wanted {
        table.note(format!(
            "Fewer connections than {wanted}: the limit of open files (ulimit -Hn) has no room."
        ));
    }
    report.table(table);
    let median = |key| number(P2POLL, key).map(|rounds| rounds.median());
    let ticks = median(TICK_MANY).zip(median(TICK_FEW)).map(|(many, few)| many / few);
    report.at_most("an idle tick with 10,000 connections against 10", ticks, 2.0, "at most 2.00");
    report.at_most("walking connections(), ns an idle connection", median(WALK), 20.0, "at most 20");
    report.at_most("memory of the process, bytes an idle connection", median(MEMORY), 650.0, "at most 650");
    report.at_most("the same of one that has received", median(MEMORY_AFTER), 1024.0, "at most 1024");
    Ok(())
}

const MEMORY: &str = "bytes per connection";
const MEMORY_AFTER: &str = "bytes per connection that has received";
const TICK_FEW: &str = "tick with few, ns";
const TICK_MANY: &str = "tick with many, ns";
const WALK: &str = "walk, ns per connection";
const WALK_LINES: &str = "walk asking for lines, ns per connection";
const KEYS: [&str; 6] = [MEMORY, MEMORY_AFTER, TICK_FEW, TICK_MANY, WALK, WALK_LINES];

fn one(contestant: &dyn Contestant, many: usize) -> Result<Value> {
    let mut child = Child::of_ourselves(&["idle", contestant.name(), &many.to_string()])?;
    Ok(serde_json::from_str(&child.line()?)?)
}

/// The process that holds the connections: prints one line of JSON.
pub fn child(name: &str, many: &str) -> Result<()> {
    let many: usize = many.parse()?;
    usage::room_for(many)?;
    let mut host = contestants::by_name(name)?.host()?;
    let mut dialler = Child::of_ourselves(&["dial", &host.address().to_string()])?;
    settle(&mut *host)?;
    let memory = usage::resident_memory()?;
    hold(&mut *host, &mut dialler, FEW)?;
    let few = tick(&mut *host)?;
    hold(&mut *host, &mut dialler, many)?;
    let each = |now: u64| now.saturating_sub(memory) as f64 / many as f64;
    let idle = each(usage::resident_memory()?);
    let mut numbers = json!({
        MEMORY: idle, TICK_FEW: few, TICK_MANY: tick(&mut *host)?,
        WALK: walk(&mut *host, |host| host.walk()), WALK_LINES: walk(&mut *host, |host| host.walk_lines()),
    });
    if hear(&mut *host, &mut dialler, many)? {
        numbers[MEMORY_AFTER] = each(usage::resident_memory()?).into();
    }
    println!("{numbers}");
    Ok(())
}

/// The process that holds the far ends: opens up to as many connections as each line of its input says, or says
/// something on all.
pub fn dial(to: &str) -> Result<()> {
    let to: SocketAddr = to.parse()?;
    let mut held = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        if line == SAY {
            held.iter()
                .try_for_each(|mut stream: &TcpStream| stream.write_all(format!("{LINE}\r\n").as_bytes()))?;
            println!("done");
            continue;
        }
        let wanted: usize = line.parse()?;
        usage::room_for(wanted)?;
        while held.len() < wanted {
            held.push(TcpStream::connect(to)?);
            if held.len() % AT_ONCE == 0 {
                std::thread::sleep(BREATH);
            }
        }
        println!("done");
    }
    Ok(())
}

/// Listeners have room for 128 that nobody has taken yet; who comes when there is no room tries again a second later.
const AT_ONCE: usize = 64;
const BREATH: Duration = Duration::from_millis(1);

/// Has the far ends say a line each.
const SAY: &str = "say";

const TURN: Duration = Duration::from_millis(5);
const DEADLINE: Duration = Duration::from_secs(60);

fn hold(host: &mut dyn Host, dialler: &mut Child, wanted: usize) -> Result<()> {
    let begin = Instant::now();
    dialler.tell(&wanted.to_string())?;
    loop {
        let held = host.serve(TURN)?;
        if held >= wanted {
            break;
        }
        if begin.elapsed() > DEADLINE {
            return Err(format!("{held} of {wanted} connections after {DEADLINE:?}").into());
        }
    }
    dialler.line()?;
    settle(host)
}

/// Has a line said on each connection, and takes it. `false`: the host is not asked to.
fn hear(host: &mut dyn Host, dialler: &mut Child, many: usize) -> Result<bool> {
    let begin = Instant::now();
    if host.hear(TURN)?.is_none() {
        return Ok(false);
    }
    dialler.tell(SAY)?;
    let mut heard = 0;
    while heard < many {
        heard += host.hear(TURN)?.unwrap_or_default();
        if begin.elapsed() > DEADLINE {
            return Err(format!("{heard} of {many} lines after {DEADLINE:?}").into());
        }
    }
    dialler.line()?;
    settle(host)?;
    Ok(true)
}

/// What is still going on after the last accept is not idle.
fn settle(host: &mut dyn Host) -> Result<()> {
    for _ in 0..20 {
        host.serve(TURN)?;
    }
    Ok(())
}

/// The median of many batches, in nanoseconds.
fn tick(host: &mut dyn Host) -> Result<Option<f64>> {
    const BATCHES: usize = 101;
    const BATCH: u32 = 200;
    let mut batches = Rounds::default();
    for _ in 0..BATCHES {
        let begin = Instant::now();
        for _ in 0..BATCH {
            if !host.tick()? {
                return Ok(None);
            }
        }
        batches.push(begin.elapsed().as_nanos() as f64 / f64::from(BATCH));
    }
    Ok(Some(batches.median()))
}

fn walk(host: &mut dyn Host, walk: impl Fn(&mut dyn Host) -> Option<usize>) -> Option<f64> {
    const WALKS: usize = 101;
    let mut walks = Rounds::default();
    for _ in 0..WALKS {
        let begin = Instant::now();
        let count = black_box(walk(host)?);
        walks.push(begin.elapsed().as_nanos() as f64 / count as f64);
    }
    Some(walks.median())
}
