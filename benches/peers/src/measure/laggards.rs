//! A server with all the clients that it can have, who ask for nodes and never read: what it holds for them, whether one who
//! reads is answered meanwhile, and what stays when they leave.

use super::P2POLL;
use crate::child::Child;
use crate::options::Options;
use crate::report::{Report, Table, short};
use crate::statistics::Rounds;
use crate::{Result, join, protocol, usage, watchdog};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// As many as a server takes by default.
const CLIENTS: usize = 25_000;

/// As many as an answer can name.
const NODES: u16 = 100;

/// What each asks at least: its answers are several times what the kernel takes.
const QUESTIONS: usize = 300;

/// From each address.
const AN_ADDRESS: usize = 1000;

/// Mebibytes for 25,000 of them.
const MOST: f64 = 1024.0;

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.contestant(P2POLL) {
        return Ok(());
    }
    let wanted = if options.quick { CLIENTS / 10 } else { CLIENTS };
    let many = usage::room_for(wanted)?;
    let mut process = Child::of_ourselves(&["unlimited", "0"])?;
    let server: SocketAddr = process.line()?.parse()?;
    let numbers = std::thread::scope(|scope| {
        join(scope.spawn(|| {
            usage::stay_on(usage::Core::Last)?;
            let _guard = watchdog::guard("clients that do not read".into());
            measure(server, process.id(), many)
        }))
    });
    let numbers = numbers.map_err(|error| format!("laggards: {error}"))?;
    tell(report, &numbers, many, wanted);
    Ok(())
}

struct Numbers {
    before: u64,
    with: u64,
    after: u64,
    /// Microseconds from a question to its answer.
    round_trips: Rounds,
}

fn measure(server: SocketAddr, process: u32, many: usize) -> Result<Numbers> {
    list_nodes(server)?;
    let mut reader = Reader::connect(server)?;
    reader.ask()?;
    let before = usage::resident_memory_of(process)?;
    let laggards = (0..many).map(|number| laggard(server, number)).collect::<Result<Vec<_>>>()?;
    let mut round_trips = Rounds::default();
    for _ in 0..300 {
        round_trips.push(reader.ask()?.as_secs_f64() * 1e6);
    }
    let with = usage::resident_memory_of(process)?;
    drop(laggards);
    // It has met all ends when what it holds does not change any more.
    let mut after = with;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        reader.ask()?;
        let now = usage::resident_memory_of(process)?;
        if std::mem::replace(&mut after, now) == now {
            return Ok(Numbers { before, with, after, round_trips });
        }
    }
}

/// pyp2p's registration outlives its connection.
fn list_nodes(server: SocketAddr) -> Result<()> {
    for port in 1..=NODES {
        let mut stream = TcpStream::connect(server)?;
        stream.write_all(format!("PASSIVE READY {port} 10\r\nSOURCE TCP\r\n").as_bytes())?;
        BufReader::new(stream).read_line(&mut String::new())?;
    }
    Ok(())
}

/// Asks for as much as it can.
fn laggard(server: SocketAddr, number: usize) -> Result<TcpStream> {
    let from = IpAddr::from(Ipv4Addr::new(127, 0, 3, 1 + (number / AN_ADDRESS) as u8));
    let protocol::Link { mut stream, .. } =
        protocol::Link::connect(server, from, protocol::Node::numbered(number))?;
    stream.set_nonblocking(true)?;
    match stream.write(&b"BOOTSTRAP 100\r\n".repeat(QUESTIONS)) {
        Ok(_) => Ok(stream),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(stream),
        Err(error) => Err(error.into()),
    }
}

/// A client that reads.
struct Reader(BufReader<TcpStream>);

impl Reader {
    fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    fn ask(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        self.0.get_mut().write_all(b"BOOTSTRAP 100\r\n")?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        if !answer.starts_with("NODES p:") {
            return Err(format!("the server says {answer:?}").into());
        }
        Ok(begin.elapsed())
    }
}

fn tell(report: &mut Report, numbers: &Numbers, many: usize, wanted: usize) {
    let Numbers { before, with, after, round_trips } = numbers;
    let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    let each = with.saturating_sub(*before) as f64 / many as f64;
    let all = mib(*before) + each * CLIENTS as f64 / (1 << 20) as f64;
    report.rounds("laggards", P2POLL, "bytes a client that does not read", &[each]);
    report.rounds("laggards", P2POLL, "MiB when they have left", &[mib(*after)]);
    report.rounds("laggards", P2POLL, "us from question to answer", round_trips.values());
    let title = format!("A server with {many} clients that ask for nodes and do not read");
    let mut table = Table::new(title, &["", "measured"]);
    let mut row = |what: &str, value: f64| table.row(vec![what.into(), short(value)]);
    row("memory of the process before, MiB", mib(*before));
    row("with them, MiB", mib(*with));
    row("bytes for each", each);
    row("when they have left, MiB", mib(*after));
    row("us from question to answer for one who reads, median", round_trips.median());
    row("the longest", round_trips.max());
    table.note("The kernel's memory is not counted.");
    if many < wanted {
        table.note(format!("Fewer than {wanted}: the limit of open files (ulimit -Hn) has no room."));
    }
    report.table(table);
    report.at_most(
        "MiB of a server's process with 25,000 clients that do not read",
        Some(all),
        MOST,
        "at most 1024",
    );
}
