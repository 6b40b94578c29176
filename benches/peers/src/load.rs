//! Asks a rendezvous server for nodes as fast as it answers, on one blocking connection.

use crate::Result;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub const ASKED_FOR: usize = 10;
const QUESTION: &str = "BOOTSTRAP 10\r\n";
const ANSWER: &[u8] = b"NODES p:";

/// Questions in a block, and blocks under way at once: never idle, and never more than sockets hold.
const BLOCK: usize = 1024;
const BLOCKS_AHEAD: usize = 4;
const READ: usize = 256 * 1024;

/// Lists nodes of different addresses, then checks that an answer is full.
pub fn register(server: SocketAddr, nodes: u8) -> Result<()> {
    for node in 0..nodes {
        // pyp2p's server keeps one node for each address, and never lists 127.0.0.1 or the asker.
        let address = IpAddr::from(Ipv4Addr::new(127, 0, 1, node + 1));
        let mut stream = connect_from(address, server)?;
        let port = 40_000 + u16::from(node);
        // The second question has an answer: then the first is done.
        write!(stream, "PASSIVE READY {port} 10\r\nSOURCE TCP {port}\r\n")?;
        let answer = answer(&mut BufReader::new(stream))?;
        if !answer.starts_with("REMOTE TCP ") {
            return Err(format!("registering was answered by {answer:?}").into());
        }
    }
    let mut stream = connect(server)?;
    write!(stream, "BOOTSTRAP 100\r\nBOOTSTRAP {ASKED_FOR}\r\n")?;
    let mut stream = BufReader::new(stream);
    for expected in [usize::from(nodes), ASKED_FOR] {
        let answer = answer(&mut stream)?;
        if answer.matches(" p:").count() != expected {
            return Err(format!("{expected} nodes were to come, and this came: {answer:?}").into());
        }
    }
    Ok(())
}

/// Answers per second.
pub fn answers_per_second(server: SocketAddr, warm_up: Duration, measure: Duration) -> Result<f64> {
    let mut stream = connect(server)?;
    let block = QUESTION.repeat(BLOCK);
    let mut buffer = vec![0; READ];
    let mut answers = Answers::default();
    let (mut asked, mut begin) = (0, None);
    let start = Instant::now();
    loop {
        while asked < answers.count + BLOCK * BLOCKS_AHEAD {
            stream.write_all(block.as_bytes())?;
            asked += BLOCK;
        }
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err("the server closed".into());
        }
        answers.count(&buffer[..count])?;
        let now = Instant::now();
        match begin {
            None if now - start >= warm_up => begin = Some((now, answers.count)),
            Some((since, from)) if now - since >= measure => {
                return Ok((answers.count - from) as f64 / (now - since).as_secs_f64());
            }
            _ => {}
        }
    }
}

/// A long wait is a failure, not a hang.
const PATIENCE: Duration = Duration::from_secs(10);

fn connect(server: SocketAddr) -> Result<TcpStream> {
    connect_from(Ipv4Addr::LOCALHOST.into(), server)
}

pub fn connect_from(address: IpAddr, server: SocketAddr) -> Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(address, 0).into())?;
    socket.connect(&server.into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn answer(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Ok(line)
}

/// Counts answers, and sees to it that each begins as it must.
#[derive(Default)]
struct Answers {
    count: usize,
    /// What the answer that is not complete yet has shown of its beginning.
    seen: usize,
}

impl Answers {
    fn count(&mut self, mut bytes: &[u8]) -> Result<()> {
        loop {
            let wanted = &ANSWER[self.seen..];
            let shown = wanted.len().min(bytes.len());
            if bytes[..shown] != wanted[..shown] {
                return Err(format!(
                    "an answer went on with {:?}",
                    bytes[..shown].escape_ascii().to_string()
                )
                .into());
            }
            self.seen += shown;
            let Some(end) = memchr::memchr(b'\n', bytes) else { return Ok(()) };
            self.count += 1;
            self.seen = 0;
            bytes = &bytes[end + 1..];
            if bytes.is_empty() {
                return Ok(());
            }
        }
    }
}
