//! A node on the operating system, driven by the loop of a program.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use log::Level;
use mio::Registry;

use super::transport::System;
use crate::error::StartError;
use crate::id::StreamId;
use crate::io::{Clock, Entrance, Stream};
use crate::node::Host;
use crate::node::engine::Engine;
use crate::node::transport::Transport as _;
use crate::time::Instant;

/// A queue of this length is sent from at once: what was just written is still in the processor's cache, also where other
/// programs use that (measured on a busy machine: from 512 KiB to this, a fifteenth less processor time for each line sent).
/// Each smaller write costs the peer's wake-up.
const EARLY: usize = 128 << 10;

/// The longest sleep at a time: pollers count in 32 bits of milliseconds. Who wants more sleeps again.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A node `H` on real sockets.
#[derive(Debug)]
pub(crate) struct Driver<H> {
    pub(crate) host: H,
    system: System,
    /// Refused for want of a file descriptor, and not told to the log yet.
    refused: u64,
    /// When the log may be told of them again.
    note_at: Instant,
}

impl<H: Host> Driver<H> {
    pub(crate) fn new(host: H, clock: Clock, dead_after: Duration) -> Result<Self, StartError> {
        let system = System::new(clock, dead_after).map_err(StartError::System)?;
        Ok(Self { host, system, refused: 0, note_at: Instant::ZERO })
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.system.now()
    }

    /// The node, and the clock to read while it is borrowed.
    #[inline]
    pub(crate) fn parts(&mut self) -> (&mut H, &Clock) {
        (&mut self.host, &self.system.clock)
    }

    pub(crate) fn registry(&self) -> io::Result<Registry> {
        self.system.sockets.registry()
    }

    pub(crate) fn listen(&mut self, entrance: Entrance) -> Result<SocketAddr, StartError> {
        self.system
            .sockets
            .listen(entrance)
            .map_err(|source| StartError::Listen { addr: entrance.addr(), source })
    }

    pub(crate) fn stop_listening(&mut self) {
        self.system.sockets.stop_listening();
    }

    /// Waits for the operating system, no longer than the node can, and accepts who waits to be accepted.
    pub(crate) fn collect(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Stream>> {
        let timeout = timeout.map(|timeout| timeout.min(LONGEST));
        let timeout = match timeout {
            Some(Duration::ZERO) => timeout,
            Some(timeout) => Some(self.next_wakeup().map_or(timeout, |wakeup| wakeup.min(timeout))),
            None => self.next_wakeup().map(|wakeup| wakeup.min(LONGEST)),
        };
        self.system.sockets.wait(timeout.map(whole_milliseconds))?;
        let refused = &mut self.refused;
        let streams = self.system.sockets.accept(|_| *refused += 1);
        self.note_refused();
        Ok(streams)
    }

    /// Offers the accepted connections to the node.
    pub(crate) fn admit(&mut self, streams: Vec<Stream>) {
        self.engine().admit(streams);
    }

    /// Moves what can be moved between the operating system and the node.
    pub(crate) fn service(&mut self) {
        self.engine().service();
    }

    /// Does what is due and sends what is queued. Returns what time it was.
    pub(crate) fn flush(&mut self) -> Instant {
        self.engine().flush()
    }

    /// Sends from a queue that has grown long before its walk ends: the memory is still in the processor's cache, and a
    /// program that sends much is not `Full` because of its own haste.
    #[inline]
    pub(crate) fn write_early(&mut self, id: StreamId, queued: usize) {
        if queued >= EARLY {
            self.engine().write(id.slot());
        }
    }

    /// How long nothing is to be done, as far as is known now; `None`: until something arrives.
    pub(crate) fn next_wakeup(&mut self) -> Option<Duration> {
        self.engine().next_wakeup()
    }

    #[inline]
    fn engine(&mut self) -> Engine<'_, H, System> {
        Engine { host: &mut self.host, transport: &mut self.system }
    }

    /// Tells the log of those for whom there was no file descriptor: of the first at once, then once a second.
    fn note_refused(&mut self) {
        if self.refused > 0 && self.now() >= self.note_at {
            self.note_at = self.now() + Duration::from_secs(1);
            let refused = std::mem::take(&mut self.refused);
            self.host
                .notes()
                .push(Level::Warn, || format!("out of file descriptors: refused {refused} connections"));
        }
    }
}

/// Pollers count in milliseconds; rounded down, a wait would end before its deadline and spin until it.
fn whole_milliseconds(timeout: Duration) -> Duration {
    let fraction = timeout.subsec_nanos() % 1_000_000;
    if fraction == 0 { timeout } else { timeout + Duration::from_nanos(u64::from(1_000_000 - fraction)) }
}
