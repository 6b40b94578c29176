//! The load on a relay: pairs of connections whose one end sends and whose other end throws away.

use super::Shape;
use crate::{Result, usage};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// Both ends of all relayed connections, at the side of those who use them.
pub struct Pairs {
    poll: Poll,
    events: Events,
    /// The ends of a pair are neighbours.
    ends: Vec<TcpStream>,
    pairs: Vec<Pair>,
    block: Vec<u8>,
    sink: Vec<MaybeUninit<u8>>,
    received: u64,
}

#[derive(Clone)]
struct Pair {
    /// The place of the end that sends: every second pair the other way round.
    sender: usize,
    writable: bool,
    /// What may still be sent.
    credit: usize,
    /// Sent, and not received yet.
    under_way: usize,
}

/// The steady state, measured.
#[derive(Clone, Copy)]
pub struct Sample {
    bytes: f64,
    time: Duration,
    /// The processor time of the relaying process.
    spent: Duration,
    /// Our own.
    own: Duration,
}

impl Sample {
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes / self.time.as_secs_f64()
    }

    pub fn bytes_per_cpu_second(&self) -> f64 {
        self.bytes / self.spent.as_secs_f64()
    }

    pub fn busy(&self) -> f64 {
        self.spent.as_secs_f64() / self.time.as_secs_f64()
    }

    /// The same of what makes the load.
    pub fn own_busy(&self) -> f64 {
        self.own.as_secs_f64() / self.time.as_secs_f64()
    }
}

const SINK: usize = 256 << 10;

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(10);

impl Pairs {
    /// Sees to it first that what one end says comes out of the other.
    pub fn new(streams: Vec<std::net::TcpStream>) -> Result<Self> {
        streams.chunks_exact(2).enumerate().try_for_each(|(number, pair)| check(number as u64, pair))?;
        let poll = Poll::new()?;
        let mut ends = Vec::new();
        for (place, stream) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let mut end = TcpStream::from_std(stream);
            poll.registry().register(&mut end, Token(place), Interest::READABLE | Interest::WRITABLE)?;
            ends.push(end);
        }
        let pair =
            |number: usize| Pair { sender: 2 * number + number % 2, writable: true, credit: 0, under_way: 0 };
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            pairs: (0..ends.len() / 2).map(pair).collect(),
            ends,
            block: Vec::new(),
            sink: vec![MaybeUninit::uninit(); SINK],
            received: 0,
        })
    }

    /// Keeps as much under way as the shape says, on all pairs; at the end nothing is.
    pub fn load(
        &mut self,
        shape: Shape,
        warm_up: Duration,
        measure: Duration,
        spent: impl Fn() -> Result<Duration>,
    ) -> Result<Sample> {
        self.block = vec![b'x'; shape.message];
        for number in 0..self.pairs.len() {
            self.pairs[number].credit = shape.window;
            self.send(number)?;
        }
        self.serve(warm_up, true)?;
        let (begin, received) = (Instant::now(), self.received);
        let (spent_before, own_before) = (spent()?, usage::thread_time());
        self.serve(measure, true)?;
        let (time, bytes) = (begin.elapsed(), self.received - received);
        let (spent, own) = (spent()? - spent_before, usage::thread_time() - own_before);
        let begin = Instant::now();
        while self.pairs.iter().any(|pair| pair.under_way > 0) {
            self.serve(Duration::from_millis(1), false)?;
            if begin.elapsed() > PATIENCE {
                return Err("what was sent does not arrive".into());
            }
        }
        Ok(Sample { bytes: bytes as f64, time, spent, own })
    }

    /// For so long. What arrives is replaced by new, if `goes_on`.
    fn serve(&mut self, span: Duration, goes_on: bool) -> Result<()> {
        let until = Instant::now() + span;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.poll.poll(&mut self.events, Some(left))?;
            let happened: Vec<_> = self
                .events
                .iter()
                .map(|event| (event.token().0, event.is_readable(), event.is_writable()))
                .collect();
            for (place, readable, writable) in happened {
                let number = place / 2;
                let sends = self.pairs[number].sender == place;
                if sends && writable {
                    self.pairs[number].writable = true;
                }
                if !sends && readable {
                    self.receive(number, place, goes_on)?;
                }
                if goes_on {
                    self.send(number)?;
                }
            }
        }
    }

    fn send(&mut self, number: usize) -> Result<()> {
        let pair = &mut self.pairs[number];
        while pair.writable && pair.credit > 0 {
            let most = pair.credit.min(self.block.len());
            match self.ends[pair.sender].write(&self.block[..most]) {
                Ok(count) => {
                    pair.credit -= count;
                    pair.under_way += count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => pair.writable = false,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, number: usize, place: usize, goes_on: bool) -> Result<()> {
        let pair = &mut self.pairs[number];
        let end = SockRef::from(&self.ends[place]);
        loop {
            // The system throws it away without a copy (tcp(7)): that leaves more of this core to send.
            match end.recv_with_flags(&mut self.sink, libc::MSG_TRUNC) {
                Ok(0) => return Err("the relay closed".into()),
                Ok(count) => {
                    pair.under_way = pair.under_way.checked_sub(count).ok_or("more came than was sent")?;
                    pair.credit += if goes_on { count } else { 0 };
                    self.received += count as u64;
                    if count < self.sink.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn check(number: u64, pair: &[std::net::TcpStream]) -> Result<()> {
    for (mut from, mut to) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
        from.write_all(&number.to_le_bytes())?;
        let mut came = [0; 8];
        to.read_exact(&mut came)?;
        if came != number.to_le_bytes() {
            return Err("what one end said did not come out of the other".into());
        }
    }
    Ok(())
}
