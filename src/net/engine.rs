//! A node and its sockets: the driver that carries out what the node asks for.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use log::Level;
use mio::Registry;

use crate::error::StartError;
use crate::id::StreamId;
use crate::io::{
    Clock, Entrance, GatewayDesk, Progress, Read, Report, Sockets, Stream, Worker, Write, kind_of,
};
use crate::node::streams::SocketAction;
use crate::node::{Action, Host, Job};
use crate::proto::link::End;
use crate::time::Instant;

/// Rounds of "act, then act on the consequences" in one tick. Two or three happen; the limit is there so that no
/// mistake in a node can turn a tick into an endless loop. What is left is done in the next tick.
const ROUNDS: usize = 16;

/// A queue of this length is sent from at once. Half a cache of the second level: a longer one would be read from
/// slower memory, and each smaller write costs the peer's wake-up (measured: from 64 KiB to this, a third more lines).
const EARLY: usize = 512 << 10;

/// The longest sleep at a time: pollers count in 32 bits of milliseconds. Who wants more sleeps again.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A node `H` on real sockets.
#[derive(Debug)]
pub(crate) struct Engine<H> {
    pub(crate) host: H,
    clock: Clock,
    sockets: Sockets,
    worker: Worker,
    gateways: GatewayDesk,
    /// Refused for want of a file descriptor, and not told to the log yet.
    refused: u64,
    /// When the log may be told of them again.
    note_at: Instant,
}

impl<H: Host> Engine<H> {
    pub(crate) fn new(host: H, clock: Clock, dead_after: Duration) -> Result<Self, StartError> {
        let sockets = Sockets::new(dead_after).map_err(StartError::System)?;
        let worker = Worker::new(sockets.waker());
        let gateways = GatewayDesk::new(sockets.waker());
        Ok(Self { host, clock, sockets, worker, gateways, refused: 0, note_at: Instant::ZERO })
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The node, and the clock to read while it is borrowed.
    #[inline]
    pub(crate) fn parts(&mut self) -> (&mut H, &Clock) {
        (&mut self.host, &self.clock)
    }

    pub(crate) fn registry(&self) -> io::Result<Registry> {
        self.sockets.registry()
    }

    pub(crate) fn listen(&mut self, entrance: Entrance) -> Result<SocketAddr, StartError> {
        self.sockets.listen(entrance).map_err(|source| StartError::Listen { addr: entrance.addr(), source })
    }

    pub(crate) fn stop_listening(&mut self) {
        self.sockets.stop_listening();
    }

    /// Waits for the operating system, no longer than the node can, and accepts who waits to be accepted.
    pub(crate) fn collect(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Stream>> {
        let timeout = timeout.map(|timeout| timeout.min(LONGEST));
        let timeout = match timeout {
            Some(Duration::ZERO) => timeout,
            Some(timeout) => Some(self.next_wakeup().map_or(timeout, |wakeup| wakeup.min(timeout))),
            None => self.next_wakeup().map(|wakeup| wakeup.min(LONGEST)),
        };
        self.sockets.wait(timeout.map(whole_milliseconds))?;
        let refused = &mut self.refused;
        let streams = self.sockets.accept(|_| *refused += 1);
        self.note_refused();
        Ok(streams)
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

    /// Offers the accepted connections to the node.
    pub(crate) fn admit(&mut self, streams: Vec<Stream>) {
        if streams.is_empty() {
            return;
        }
        let now = self.now();
        for stream in streams {
            if let Some(id) = self.host.handle_accepted(stream.peer, stream.local, now)
                && let Err(error) = self.sockets.adopt(id.slot(), stream)
            {
                self.host.handle_end(id.slot(), End::Broken(error.kind()), now);
            }
        }
    }

    /// Moves what can be moved: what the operating system has, to the node; what the node wants, to the operating
    /// system.
    pub(crate) fn service(&mut self) {
        let now = self.now();
        self.host.streams().settle_ready();
        while let Some(progress) = self.sockets.poll_progress() {
            match progress {
                Progress::Connected(slot, local) | Progress::Torn(slot, local) => {
                    self.host.handle_connected(slot, local, now);
                }
                Progress::Failed(slot, kind) => self.host.handle_connect_failed(slot, kind, now),
            }
        }
        while let Some(report) = self.worker.poll_report() {
            self.report(report, now);
        }
        while let Some((request, report)) = self.gateways.poll_report() {
            self.host.handle_gateway(request, report, now);
        }
        while let Some(slot) = self.sockets.poll_hangup() {
            self.host.streams().handle_hangup(slot, now);
        }
        for _ in 0..self.sockets.readable() {
            if let Some(slot) = self.sockets.poll_readable() {
                self.read(slot, now);
            }
        }
        self.flush_at(now);
    }

    /// Does what is due and sends what is queued. Returns what time it was.
    pub(crate) fn flush(&mut self) -> Instant {
        let now = self.now();
        self.flush_at(now);
        now
    }

    fn flush_at(&mut self, now: Instant) {
        for _ in 0..ROUNDS {
            self.host.handle_timeout(now);
            while let Some(action) = self.host.poll_action() {
                self.act(action, now);
            }
            while let Some(slot) = self.host.streams().poll_resumed() {
                self.sockets.offer(slot);
            }
            while let Some(slot) = self.host.streams().poll_unsent() {
                self.write(slot);
            }
            while let Some(slot) = self.sockets.poll_writable() {
                self.write(slot);
            }
            if !self.host.streams().is_busy() && self.host.poll_timeout().is_none_or(|at| at > now) {
                return;
            }
        }
    }

    /// Sends from a queue that has grown long before its walk ends: the memory is still in the processor's cache, and a
    /// program that sends much is not `Full` because of its own haste.
    #[inline]
    pub(crate) fn write_early(&mut self, id: StreamId, queued: usize) {
        if queued >= EARLY {
            self.write(id.slot());
        }
    }

    /// How long nothing is to be done, as far as is known now; `None`: until something arrives.
    pub(crate) fn next_wakeup(&mut self) -> Option<Duration> {
        let busy = self.sockets.readable() > 0
            || self.sockets.has_acceptable()
            || self.sockets.has_more()
            || self.worker.has_failed()
            || self.gateways.has_failed()
            || self.host.streams().is_busy()
            || self.host.has_work();
        if busy {
            return Some(Duration::ZERO);
        }
        let due = self.host.poll_timeout().map(|at| at - self.now());
        match (due, self.sockets.accept_pause()) {
            (Some(due), Some(pause)) => Some(due.min(pause)),
            (due, pause) => due.or(pause),
        }
    }

    fn read(&mut self, slot: usize, now: Instant) {
        let mut left = self.host.streams().limits().read_per_tick;
        loop {
            // No room: the node resumes the stream when there is some.
            let Some(space) = self.host.streams().space(slot) else { return };
            match self.sockets.read(slot, space) {
                Read::Data(len) => {
                    self.pass_through(slot, len);
                    self.host.handle_received(slot, len, now);
                    left = left.saturating_sub(len);
                    if left == 0 {
                        return self.sockets.offer(slot);
                    }
                }
                Read::Blocked => return,
                Read::Finished => return self.host.handle_end(slot, End::Finished, now),
                Read::Broken(kind) => return self.host.handle_end(slot, End::Broken(kind), now),
            }
        }
    }

    /// What is another stream's is written from where it was read, as far as the network takes it now.
    #[inline]
    fn pass_through(&mut self, slot: usize, len: usize) {
        let streams = self.host.streams();
        if let Some((other, bytes)) = streams.passing(slot, len)
            && let Write::Sent(sent) = self.sockets.write(other, bytes)
        {
            streams.handle_passed_through(sent);
        }
    }

    fn write(&mut self, slot: usize) {
        let streams = self.host.streams();
        while !streams.unsent(slot).is_empty() {
            match self.sockets.write(slot, streams.unsent(slot)) {
                Write::Sent(len) => streams.handle_sent(slot, len),
                Write::Blocked => return,
                Write::Broken => return self.host.handle_deaf(slot, self.clock.now()),
            }
        }
    }

    fn act(&mut self, action: Action, now: Instant) {
        match action {
            Action::Socket(SocketAction::Dial { slot, to, from }) => {
                if let Err(error) = self.sockets.dial(slot, to, from) {
                    self.host.handle_connect_failed(slot, kind_of(&error), now);
                }
            }
            Action::Socket(SocketAction::ShutdownWrite { slot }) => self.sockets.shutdown_write(slot),
            Action::Socket(SocketAction::Close { slot }) => self.sockets.close(slot),
            Action::Job(Job::Resolve { query, host, port }) => self.worker.resolve(query, host, port),
            Action::Job(Job::Load { path }) => self.worker.load(path),
            Action::Job(Job::Save { path, text }) => self.worker.save(path, text),
            Action::Job(Job::Interfaces) => self.worker.interfaces(),
            Action::Job(Job::Gateway { request, order }) => self.gateways.order(request, order),
        }
    }

    fn report(&mut self, report: Report, now: Instant) {
        match report {
            Report::Resolved(query, outcome) => self.host.handle_resolved(query, outcome, now),
            Report::Loaded(outcome) => self.host.handle_loaded(outcome, now),
            Report::Saved(outcome) => self.host.handle_saved(outcome, now),
            Report::Interfaces(outcome) => self.host.handle_interfaces(outcome, now),
        }
    }
}

/// Pollers count in milliseconds; rounded down, a wait would end before its deadline and spin until it.
fn whole_milliseconds(timeout: Duration) -> Duration {
    let fraction = timeout.subsec_nanos() % 1_000_000;
    if fraction == 0 { timeout } else { timeout + Duration::from_nanos(u64::from(1_000_000 - fraction)) }
}
