//! The loop that one would write by hand for exactly this: mio, memchr, one buffer, nothing allocated, no limits but
//! the buffer's, no fairness, no back-pressure beyond the socket's. What it reaches is what the machine gives.

use super::{Contestant, Host, LOOPBACK, Stop};
use crate::Result;
use crate::meter::{Laps, Meter};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::time::Duration;

pub struct HandWritten;

impl Contestant for HandWritten {
    fn name(&self) -> &'static str {
        "hand-written"
    }

    fn receive(&self, announce: &Sender<SocketAddr>, meter: &mut Meter<'_>) -> Result<()> {
        let mut link = Link::accept(announce)?;
        while link.lines(|line| meter.line(line))? {}
        Ok(())
    }

    fn send(&self, to: SocketAddr, line: &str, stop: &Stop<'_>) -> Result<()> {
        let mut link = Link::connect(to)?;
        let mut output = Vec::with_capacity(BUFFER);
        while stop.wants_more() {
            for _ in 0..Stop::ASK_EVERY {
                if output.len() + line.len() + 2 > BUFFER {
                    link.write(&output)?;
                    output.clear();
                }
                put_line(&mut output, line.as_bytes());
            }
        }
        link.write(&output)
    }

    fn echo(&self, announce: &Sender<SocketAddr>) -> Result<()> {
        let mut link = Link::accept(announce)?;
        let mut answer = Vec::new();
        loop {
            let open = link.lines(|line| put_line(&mut answer, line))?;
            link.write(&answer)?;
            answer.clear();
            if !open {
                return Ok(());
            }
        }
    }

    fn ask(&self, to: SocketAddr, line: &str, laps: &mut Laps) -> Result<()> {
        let mut link = Link::connect(to)?;
        let mut question = Vec::new();
        put_line(&mut question, line.as_bytes());
        loop {
            laps.asked();
            link.write(&question)?;
            let mut answered = 0;
            while answered == 0 {
                if !link.lines(|_| answered += 1)? {
                    return Err("the echo closed".into());
                }
            }
            if !laps.answered() {
                return Ok(());
            }
        }
    }

    fn host(&self) -> Result<Box<dyn Host>> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(LOOPBACK.parse()?)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Box::new(Idle { poll, events: Events::with_capacity(1024), listener, streams: Vec::new() }))
    }
}

const BUFFER: usize = 64 * 1024;
const LISTENER: Token = Token(usize::MAX);

fn put_line(output: &mut Vec<u8>, line: &[u8]) {
    output.extend_from_slice(line);
    output.extend_from_slice(b"\r\n");
}

/// One connection and the loop around it.
struct Link {
    poll: Poll,
    events: Events,
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// Bytes at the front of the buffer that are the beginning of a line.
    held: usize,
    /// The socket may have more: an edge-triggered readiness that is not used up.
    readable: bool,
    /// The other side has closed: no edge will come after what is there already.
    closing: bool,
}

impl Link {
    fn accept(announce: &Sender<SocketAddr>) -> Result<Self> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(16);
        let mut listener = TcpListener::bind(LOOPBACK.parse()?)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        announce.send(listener.local_addr()?)?;
        loop {
            match listener.accept() {
                Ok((stream, _)) => return Self::new(poll, events, stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => poll.poll(&mut events, None)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn connect(to: SocketAddr) -> Result<Self> {
        let stream = std::net::TcpStream::connect(to)?;
        stream.set_nonblocking(true)?;
        Self::new(Poll::new()?, Events::with_capacity(16), TcpStream::from_std(stream))
    }

    fn new(poll: Poll, events: Events, mut stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        poll.registry().register(&mut stream, Token(0), Interest::READABLE | Interest::WRITABLE)?;
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Ok(Self { poll, events, stream, buffer, held: 0, readable: true, closing: false })
    }

    /// Waits if there is nothing, reads once, hands out the lines. `false`: the other side closed.
    fn lines(&mut self, mut on_line: impl FnMut(&[u8])) -> Result<bool> {
        if !self.readable {
            self.wait()?;
        }
        match self.stream.read(&mut self.buffer[self.held..]) {
            Ok(0) if self.held == self.buffer.len() => Err("a line longer than the buffer".into()),
            Ok(0) => Ok(false),
            Ok(count) => {
                let filled = self.held + count;
                // A stream that gave less than there was room for is used up: its next byte is a new edge.
                self.readable = self.closing || filled == self.buffer.len();
                self.split(filled, &mut on_line);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn split(&mut self, filled: usize, on_line: &mut impl FnMut(&[u8])) {
        let mut begin = 0;
        for found in memchr::memchr_iter(b'\n', &self.buffer[self.held..filled]) {
            let end = self.held + found;
            let line = &self.buffer[begin..end];
            on_line(line.strip_suffix(b"\r").unwrap_or(line));
            begin = end + 1;
        }
        self.buffer.copy_within(begin..filled, 0);
        self.held = filled - begin;
    }

    fn wait(&mut self) -> Result<()> {
        self.poll.poll(&mut self.events, None)?;
        self.closing |= self.events.iter().any(|event| event.is_read_closed());
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait()?;
                    // The wait may have eaten the edge of what came in meanwhile.
                    self.readable = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

struct Idle {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    streams: Vec<TcpStream>,
}

impl Idle {
    fn turn(&mut self, wait: Duration) -> Result<()> {
        self.poll.poll(&mut self.events, Some(wait))?;
        if self.events.iter().any(|event| event.token() == LISTENER) {
            self.accept()?;
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            match self.listener.accept() {
                Ok((mut stream, _)) => {
                    let token = Token(self.streams.len());
                    self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
                    self.streams.push(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Host for Idle {
    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound listener has an address")
    }

    fn serve(&mut self, wait: Duration) -> Result<usize> {
        self.turn(wait)?;
        Ok(self.streams.len())
    }

    fn tick(&mut self) -> Result<bool> {
        self.turn(Duration::ZERO)?;
        Ok(true)
    }
}
