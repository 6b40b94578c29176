//! Packets of connections: when they arrive, and who is told what they did.

use std::io;

use super::end::{Effect, Packet};
use super::{EndId, Happening, Network, ProgramId, State};
use crate::time::Instant;

/// On their way.
impl Network {
    pub(super) fn send(&mut self, from: EndId, packet: Packet) {
        let end = &self.ends[from];
        let Some(to) = end.other else { return };
        let now = self.queue.now();
        let (here, there) = (end.computer, self.ends[to].computer);
        let delay = self.topology.delay(here, there);
        let bytes = if let Packet::Data(bytes) = &packet { bytes.len() } else { 0 };
        let takes = self.topology.sending_time(here, there, bytes);
        let end = &mut self.ends[from];
        end.line_free = end.line_free.max(now) + takes;
        end.last_arrival = end.last_arrival.max(end.line_free + delay);
        self.queue.plan(end.last_arrival, Happening::Packet { to, packet });
        self.topology.touch(&end.passages, now);
    }

    pub(super) fn deliver(&mut self, to: EndId, packet: Packet) {
        let is_up = |computer| self.topology.computer(computer).is_up;
        let Some(end) = self.ends.get(to).filter(|end| is_up(end.computer)) else { return };
        if self.is_cut(to) || !end.held.is_empty() {
            self.ends[to].held.push(packet);
        } else {
            self.take(to, packet);
        }
    }

    /// What was held up arrives.
    pub(super) fn release(&mut self, to: EndId) {
        let is_heard = self.ends.get(to).is_some_and(|end| end.silent_since.is_none());
        if is_heard && !self.is_cut(to) {
            for packet in std::mem::take(&mut self.ends[to].held) {
                self.take(to, packet);
            }
        }
    }

    fn take(&mut self, to: EndId, packet: Packet) {
        self.trace.add(self.queue.now(), to.0, "packet", &packet);
        // Of several that were held up, an earlier one may have been the end of it.
        let Some(end) = self.ends.get_mut(to) else { return };
        let program = end.program;
        match end.take(packet, self.resets_destroy) {
            Effect::Nothing => {}
            Effect::Opened => self.open(to),
            Effect::Refused => self.fail_dial(to, io::ErrorKind::ConnectionRefused),
            Effect::Readable => self.mark_readable(to),
            Effect::Writable => {
                self.programs.mailbox(program).writable.push_back(to);
                self.wake(program, self.queue.now());
            }
            Effect::Finished => self.mark_done(to),
            Effect::Broken => self.break_end(to, io::ErrorKind::ConnectionReset),
            Effect::Answer(packet) => self.send(to, packet),
        }
    }
}

/// What programs are told.
impl Network {
    /// The program is to run in its first frame from then on.
    pub(in crate::sim) fn wake(&mut self, program: ProgramId, at: Instant) {
        if let Some(at) = self.programs.wake(program, at.max(self.queue.now())) {
            self.queue.plan(at, Happening::Run { program });
        }
    }

    pub(super) fn fail_dial(&mut self, id: EndId, kind: io::ErrorKind) {
        let program = self.ends[id].program;
        self.ends.retire(id);
        self.programs.mailbox(program).connected.push_back((id, Err(kind)));
        self.wake(program, self.queue.now());
    }

    pub(super) fn break_end(&mut self, id: EndId, kind: io::ErrorKind) {
        let end = &mut self.ends[id];
        let program = end.program;
        if end.break_off(kind) {
            self.programs.mailbox(program).writable.push_back(id);
        }
        self.ends.free_tuple(id);
        self.mark_done(id);
    }

    /// The keepalive of `net`: out of reach for `dead_after`, or not there any more.
    pub(super) fn probe(&mut self, id: EndId) {
        let Some(end) = self.ends.get(id).filter(|end| end.is_open()) else { return };
        let Some(other) = end.other else { return };
        match end.silent_since {
            Some(since) if self.queue.now() - since >= self.programs.dead_after(end.program) => {
                self.break_end(id, io::ErrorKind::TimedOut);
            }
            None if self.ends[other].state == State::Gone && !self.ends[other].goodbye => {
                self.break_end(id, io::ErrorKind::ConnectionReset);
            }
            _ => {}
        }
    }

    fn open(&mut self, id: EndId) {
        let end = &self.ends[id];
        let (program, local, other) = (end.program, end.local, end.other);
        // It has dialled, too, and its SYN may never have arrived.
        if other.is_some_and(|other| self.ends[other].state == State::Connecting) {
            self.send(id, Packet::Accepted);
        }
        self.review(id);
        self.programs.mailbox(program).connected.push_back((id, Ok(local)));
        self.wake(program, self.queue.now());
    }

    fn mark_done(&mut self, id: EndId) {
        let program = self.ends[id].program;
        self.programs.mailbox(program).hangups.push_back(id);
        self.mark_readable(id);
    }

    fn mark_readable(&mut self, id: EndId) {
        let program = self.ends[id].program;
        self.programs.mailbox(program).add_readable(id);
        self.wake(program, self.queue.now());
    }
}
