//! The nodes, at their own side: they ping, and send each other signals.

use crate::Result;
use crate::protocol::Link;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// The bytes of a signal's text: a call with a UNL of usual length.
pub const TEXT: usize = 300;

pub struct Crowd {
    poll: Poll,
    events: Events,
    nodes: Vec<Node>,
    buffer: Vec<u8>,
    /// The next to ping.
    next: usize,
    random: u64,
    text: String,
    pongs: u64,
    delivered: u64,
    answered: u64,
}

struct Node {
    stream: TcpStream,
    id: String,
    /// The beginning of a line.
    partial: Vec<u8>,
}

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often pings are sent: smoothly, as of nodes that know nothing of each other.
const BEAT: Duration = Duration::from_millis(10);

impl Crowd {
    pub fn new(links: Vec<Link>) -> Result<Self> {
        let poll = Poll::new()?;
        let mut nodes = Vec::with_capacity(links.len());
        for (place, Link { stream, node }) in links.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(place), Interest::READABLE)?;
            nodes.push(Node { stream, id: node.id, partial: Vec::new() });
        }
        // The server passes on signatures as they are; who gets a signal checks it.
        let text = format!("{{\"k\":\"call\",\"call\":\"{}\",\"unl\":\"", "0f".repeat(16));
        let text = format!("{} {text}{}\"}}", "A".repeat(86), "U".repeat(TEXT - text.len() - 2));
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            nodes,
            buffer: vec![0; 64 << 10],
            next: 0,
            random: 0x9E37_79B9_7F4A_7C15,
            text,
            pongs: 0,
            delivered: 0,
            answered: 0,
        })
    }

    /// For so long each node pings once in every span of this length, one after the other.
    pub fn ping(&mut self, span: Duration, every: Duration) -> Result<()> {
        let begin = Instant::now();
        let (mut pings, wanted) = (0, self.pongs);
        while begin.elapsed() < span {
            let due = (begin.elapsed().as_secs_f64() / every.as_secs_f64() * self.nodes.len() as f64) as u64;
            while pings < due {
                self.nodes[self.next].stream.write_all(b"PING 0123456789abcdef\r\n")?;
                self.next = (self.next + 1) % self.nodes.len();
                pings += 1;
            }
            std::thread::sleep(BEAT);
            self.hear(Duration::ZERO)?;
        }
        self.hear_until(|crowd| crowd.pongs == wanted + pings)
    }

    /// Keeps so many signals under way between random pairs for so long. Returns how many were delivered, which are all.
    pub fn signal(&mut self, under_way: usize, span: Duration) -> Result<u64> {
        let begin = Instant::now();
        let (delivered, answered, mut sent) = (self.delivered, self.answered, 0);
        while begin.elapsed() < span {
            while sent < self.delivered - delivered + under_way as u64 {
                self.send_one()?;
                sent += 1;
            }
            self.hear(PATIENCE)?;
        }
        self.hear_until(|crowd| crowd.delivered == delivered + sent && crowd.answered == answered + sent)?;
        Ok(sent)
    }

    fn send_one(&mut self) -> Result<()> {
        let (from, to) = (self.pick(), self.pick());
        let line = format!("SIGNAL {} - {}\r\n", self.nodes[to].id, self.text);
        Ok(self.nodes[from].stream.write_all(line.as_bytes())?)
    }

    /// One of the nodes, as a xorshift has it (Marsaglia 2003): the same in each run.
    fn pick(&mut self) -> usize {
        for shift in [13, -7, 17] {
            self.random ^= if shift > 0 { self.random << shift } else { self.random >> -shift };
        }
        (self.random % self.nodes.len() as u64) as usize
    }

    fn hear_until(&mut self, done: impl Fn(&Self) -> bool) -> Result<()> {
        let begin = Instant::now();
        while !done(self) {
            if begin.elapsed() > PATIENCE {
                return Err("answers or signals do not arrive".into());
            }
            self.hear(BEAT)?;
        }
        Ok(())
    }

    /// Reads what there is; waits for it, for so long at most.
    fn hear(&mut self, patience: Duration) -> Result<()> {
        self.poll.poll(&mut self.events, Some(patience))?;
        let places: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        places.into_iter().try_for_each(|place| self.read(place))
    }

    fn read(&mut self, place: usize) -> Result<()> {
        loop {
            let node = &mut self.nodes[place];
            let count = match node.stream.read(&mut self.buffer) {
                Ok(0) => return Err("the server closed".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            node.partial.extend_from_slice(&self.buffer[..count]);
            let mut arrived = std::mem::take(&mut node.partial);
            let whole = memchr::memrchr(b'\n', &arrived).map_or(0, |end| end + 1);
            for line in arrived[..whole].split_inclusive(|&byte| byte == b'\n') {
                self.line(line)?;
            }
            if whole < arrived.len() {
                self.nodes[place].partial = arrived.split_off(whole);
            }
            // A short read has emptied the socket (epoll(7)).
            if count < self.buffer.len() {
                return Ok(());
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        if line.starts_with(b"SIGNAL ") && line.trim_ascii_end().ends_with(&self.text.as_bytes()[87..]) {
            self.delivered += 1;
        } else if line.starts_with(b"SIGNALED ") && line.ends_with(b" DELIVERED\r\n") {
            self.answered += 1;
        } else if line.starts_with(b"PONG ") {
            self.pongs += 1;
        } else {
            return Err(format!("the server says {:?}", line.escape_ascii().to_string()).into());
        }
        Ok(())
    }
}
