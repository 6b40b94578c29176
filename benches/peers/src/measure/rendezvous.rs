//! Answers to `BOOTSTRAP 10` per second with 50 nodes listed: p2poll's server, pyp2p's, and one that only pretends.
//!
//! Each server is a process of its own. The one that pretends counts the questions and sends an answer that it made
//! once: what the load generator gets from it is the most that it can measure.

use super::{P2POLL, SOME_ROUNDS, rounds};
use crate::child::Child;
use crate::options::Options;
use crate::report::{Report, Table, ratio, short};
use crate::statistics::Rounds;
use crate::{Result, load, watchdog};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const NODES: u8 = 50;
const CANNED: &str = "canned answer";
const PYP2P: &str = "pyp2p";

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let mut notes = vec![
        "The canned answer shows the load generator's own limit. pyp2p runs with its printing of every line off.".into(),
    ];
    let mut servers = start(options, &mut notes)?;
    let (warm_up, measure) = if options.quick { (50, 200) } else { (300, 700) };
    let (warm_up, measure) = (Duration::from_millis(warm_up), Duration::from_millis(measure));
    for _ in 0..rounds(options, SOME_ROUNDS) {
        for server in &mut servers {
            let _guard = watchdog::guard(format!("rendezvous, {}", server.name));
            let speed = load::answers_per_second(server.address, warm_up, measure);
            server.speed.push(speed.map_err(|error| format!("rendezvous, {}: {error}", server.name))?);
        }
    }
    let median = |name| servers.iter().find(|server| server.name == name).map(|server| server.speed.median());
    let title = format!("Rendezvous: answers to BOOTSTRAP 10 per second, pipelined, {NODES} nodes listed");
    let mut table = Table::new(title, &["", "answers/s", "min..max", "x pyp2p"]);
    for Server { name, speed, .. } in &servers {
        report.rounds("rendezvous", name, "answers per second", speed.values());
        table.row(vec![
            name.to_string(),
            short(speed.median()),
            format!("{}..{}", short(speed.min()), short(speed.max())),
            ratio(median(PYP2P).map(|theirs| speed.median() / theirs)),
        ]);
    }
    notes.into_iter().for_each(|note: String| table.note(note));
    report.table(table);
    let ours = median(P2POLL).zip(median(PYP2P)).map(|(ours, theirs)| ours / theirs);
    report.at_least("rendezvous answers, against pyp2p's server", ours, 5.0, "at least 5.00");
    Ok(())
}

struct Server {
    name: &'static str,
    address: SocketAddr,
    speed: Rounds,
    _process: Child,
}

impl Server {
    fn new(name: &'static str, mut process: Child) -> Result<Self> {
        let address = process.line()?.parse()?;
        Ok(Self { name, address, speed: Rounds::default(), _process: process })
    }
}

fn start(options: &Options, notes: &mut Vec<String>) -> Result<Vec<Server>> {
    let mut servers = vec![Server::new(CANNED, Child::of_ourselves(&["canned"])?)?];
    match pyp2p() {
        Ok(process) => servers.push(Server::new(PYP2P, process)?),
        Err(reason) => notes.push(format!("pyp2p is left out: {reason}.")),
    }
    if options.contestant(P2POLL) {
        servers.push(Server::new(P2POLL, Child::of_ourselves(&["rendezvous"])?)?);
    }
    for server in servers.iter().filter(|server| server.name != CANNED) {
        let listed = load::register(server.address, NODES);
        listed.map_err(|error| format!("rendezvous, {}: {error}", server.name))?;
    }
    Ok(servers)
}

fn pyp2p() -> Result<Child> {
    let python = std::env::var_os("P2POLL_PYTHON").unwrap_or_else(|| "python3".into());
    let mut check = Command::new(&python);
    check.args(["-c", "import pyp2p.rendezvous_server"]).current_dir(std::env::temp_dir());
    match check.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => {}
        Ok(_) => return Err(format!("{} has no pyp2p (see --help)", python.display()).into()),
        Err(error) => return Err(format!("{}: {error}", python.display()).into()),
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("start_pyp2p_server.py");
    // It writes an error.log where it stands.
    Child::start(Command::new(python).arg(script).current_dir(std::env::temp_dir()))
}

/// The process that hosts p2poll's server.
pub fn serve() -> Result<()> {
    let mut server = p2poll::RendezvousConfig::new().listen("127.0.0.1:0").start()?;
    println!("{}", server.local_addrs().first().ok_or("it listens nowhere")?);
    loop {
        server.poll(Some(Duration::from_secs(1)))?;
    }
}

/// The process that pretends: one connection after the other, one answer for each line end.
pub fn canned() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let entries = (1..=load::ASKED_FOR).map(|node| format!("p:127.0.1.{}:{} ", node + 30, 40_030 + node));
    let answer = format!("NODES {}\r\n", entries.collect::<String>());
    let mut questions = vec![0; 64 * 1024];
    let answers = answer.repeat(questions.len() / 8);
    loop {
        let (mut stream, _) = listener.accept()?;
        // Ends with an error when the generator has enough and closes on unread answers.
        while let Ok(count @ 1..) = stream.read(&mut questions) {
            let lines = memchr::memchr_iter(b'\n', &questions[..count]).count();
            if stream.write_all(&answers.as_bytes()[..lines * answer.len()]).is_err() {
                break;
            }
        }
    }
}
