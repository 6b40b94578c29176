//! The loop's body: carries out what a node asks for, and tells it what happened.

use std::time::Duration;

use super::streams::SocketAction;
use super::transport::{Transport, TransportEvent};
use super::{Action, Host};
use crate::job::Report;
use crate::proto::stream::End;
use crate::proto::stream::chunks::ONE_READ;
use crate::socket::{Accepted, Read, Write};
use crate::time::Instant;

/// Rounds of "act, then act on the consequences" in one tick. Two or three happen; the limit is there so that no
/// mistake in a node can turn a tick into an endless loop. What is left is done in the next tick.
const ROUNDS: usize = 16;

/// A node and what carries it, for a step of the loop of whoever has the two. It has no state of its own.
#[derive(Debug)]
pub(crate) struct Engine<'a, H, T> {
    pub(crate) host: &'a mut H,
    pub(crate) transport: &'a mut T,
}

impl<H: Host, T: Transport> Engine<'_, H, T> {
    /// Offers accepted connections to the node.
    pub(crate) fn admit(&mut self, accepted: Vec<Accepted<T::Socket>>) {
        if accepted.is_empty() {
            return;
        }
        let now = self.transport.now();
        for accepted in accepted {
            match self.host.handle_accepted(accepted.peer, accepted.local, now) {
                Some(id) => {
                    if let Err(kind) = self.transport.adopt(id.slot(), accepted) {
                        self.host.handle_end(id.slot(), End::Broken(kind), now);
                    }
                }
                None => self.transport.refuse(accepted),
            }
        }
    }

    /// Moves what can be moved: what the transport has, to the node; what the node wants, to the transport.
    pub(crate) fn service(&mut self) {
        let now = self.transport.now();
        self.host.streams().settle_ready();
        while let Some(event) = self.transport.poll_event() {
            self.handle_event(event, now);
        }
        for _ in 0..self.transport.readable() {
            if let Some(slot) = self.transport.poll_readable() {
                self.read(slot, now);
            }
        }
        self.flush_at(now);
    }

    /// Does what is due and sends what is queued. Returns what time it was.
    pub(crate) fn flush(&mut self) -> Instant {
        let now = self.transport.now();
        self.flush_at(now);
        now
    }

    /// Sends what is queued on a stream, as far as the network takes it now.
    pub(crate) fn write(&mut self, slot: usize) {
        while !self.host.streams().unsent(slot).is_empty() {
            match self.transport.write(slot, self.host.streams().unsent(slot)) {
                Write::Sent(len) => self.host.handle_sent(slot, len),
                Write::Blocked => return,
                Write::Broken => return self.host.handle_deaf(slot, self.transport.now()),
            }
        }
    }

    /// How long nothing is to be done, as far as is known now; `None`: until something arrives.
    pub(crate) fn next_wakeup(&mut self) -> Option<Duration> {
        let pause = self.transport.next_wakeup();
        if pause == Some(Duration::ZERO) || self.host.streams().is_busy() || self.host.has_work() {
            return Some(Duration::ZERO);
        }
        let due = self.host.poll_timeout().map(|at| at - self.transport.now());
        match (due, pause) {
            (Some(due), Some(pause)) => Some(due.min(pause)),
            (due, pause) => due.or(pause),
        }
    }

    fn flush_at(&mut self, now: Instant) {
        for _ in 0..ROUNDS {
            self.host.handle_timeout(now);
            while let Some(action) = self.host.poll_action() {
                self.act(action, now);
            }
            while let Some(slot) = self.host.poll_resumed() {
                self.transport.offer(slot);
            }
            while let Some(slot) = self.host.streams().poll_unsent() {
                self.write(slot);
            }
            while let Some(slot) = self.transport.poll_writable() {
                self.write(slot);
            }
            if !self.host.streams().is_busy() && self.host.poll_timeout().is_none_or(|at| at > now) {
                return;
            }
        }
    }

    fn read(&mut self, slot: usize, now: Instant) {
        let mut left = self.host.streams().limits().read_per_tick;
        loop {
            // No room: the node resumes the stream when there is some.
            let Some(space) = self.host.space(slot) else { return };
            let most = space.len().min(left.max(ONE_READ));
            match self.transport.read(slot, &mut space[..most]) {
                Read::Data(len) => {
                    self.pass_through(slot, len);
                    self.host.handle_received(slot, len, now);
                    left = left.saturating_sub(len);
                    if left == 0 {
                        return self.transport.offer(slot);
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
            && let Write::Sent(sent) = self.transport.write(other, bytes)
        {
            streams.handle_passed_through(sent);
        }
    }

    fn act(&mut self, action: Action, now: Instant) {
        match action {
            Action::Socket(SocketAction::Dial { slot, to, from }) => {
                if let Err(kind) = self.transport.dial(slot, to, from) {
                    self.host.handle_connect_failed(slot, kind, now);
                }
            }
            Action::Socket(SocketAction::ShutdownWrite { slot }) => self.transport.shutdown_write(slot),
            Action::Socket(SocketAction::Close { slot }) => self.transport.close(slot),
            Action::Job(job) => self.transport.begin(job),
        }
    }

    fn handle_event(&mut self, event: TransportEvent, now: Instant) {
        match event {
            TransportEvent::Connected { slot, local } => self.host.handle_connected(slot, local, now),
            TransportEvent::Failed { slot, kind } => self.host.handle_connect_failed(slot, kind, now),
            TransportEvent::Hangup { slot } => self.host.streams().handle_hangup(slot, now),
            TransportEvent::Report(report) => self.report(report, now),
        }
    }

    fn report(&mut self, report: Report, now: Instant) {
        match report {
            Report::Resolved(query, outcome) => self.host.handle_resolved(query, outcome, now),
            Report::Loaded(outcome) => self.host.handle_loaded(outcome, now),
            Report::Saved(outcome) => self.host.handle_saved(outcome, now),
            Report::Interfaces(outcome) => self.host.handle_interfaces(outcome, now),
            Report::Gateway(request, report) => self.host.handle_gateway(request, report, now),
        }
    }
}
