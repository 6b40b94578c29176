//! Packets of connections: how long they are on their way, and what they do where they arrive.

use std::io;
use std::time::Duration;

use super::{End, EndId, Happening, Network, Packet, State};

impl Network {
    pub(super) fn send(&mut self, from: EndId, packet: Packet) {
        let end = &self.ends[from];
        let Some(to) = end.other else { return };
        let (here, there) = (end.computer, self.ends[to].computer);
        let delay = self.delay(here, there);
        let rates = [self.computers[here.0].bandwidth, self.computers[there.0].bandwidth];
        let rate = rates.into_iter().flatten().min().filter(|_| here != there);
        let bytes = if let Packet::Data(bytes) = &packet { bytes.len() as u64 } else { 0 };
        let takes = Duration::from_nanos(rate.map_or(0, |rate| bytes * 1_000_000_000 / rate.max(1)));
        let now = self.now;
        let end = &mut self.ends[from];
        end.line_free = end.line_free.max(now) + takes;
        end.last_arrival = end.last_arrival.max(end.line_free + delay);
        let at = end.last_arrival;
        self.plan(at, Happening::Packet { to, packet });
        self.touch(from);
    }

    pub(super) fn deliver(&mut self, to: EndId, packet: Packet) {
        let Some(end) = self.ends.get(to).filter(|end| self.computers[end.computer.0].is_up) else { return };
        if self.is_cut(to) || !end.held.is_empty() {
            self.ends[to].held.push(packet);
        } else {
            self.take(to, packet);
        }
    }

    pub(super) fn release(&mut self, to: EndId) {
        let is_heard = self.ends.get(to).is_some_and(|end| end.silent_since.is_none());
        if is_heard && !self.is_cut(to) {
            for packet in std::mem::take(&mut self.ends[to].held) {
                self.take(to, packet);
            }
        }
    }

    fn take(&mut self, to: EndId, packet: Packet) {
        self.trace(to.0, "packet", &packet);
        let destroys = self.resets_destroy;
        // Of several that were held up, an earlier one may have been the end of it.
        let Some(end) = self.ends.get_mut(to) else { return };
        let program = end.program;
        match (end.state, packet) {
            (State::Connecting, Packet::Accepted) => {
                end.state = State::Open;
                let (local, other) = (end.local, end.other);
                // It has dialled, too, and its SYN may never have arrived.
                if other.is_some_and(|other| self.ends[other].state == State::Connecting) {
                    self.send(to, Packet::Accepted);
                }
                self.mailbox(program).connected.push_back((to, Ok(local)));
                self.wake(program, self.now);
            }
            // Not for this SYN-RECEIVED: the RST to our SYN is outside of the window by now.
            (State::Connecting, Packet::Refused) if end.other.is_some() => {}
            (State::Connecting, Packet::Refused | Packet::Reset) => {
                self.fail_dial(to, io::ErrorKind::ConnectionRefused);
            }
            // Nobody has this socket any more.
            (State::Gone, Packet::Data(_) | Packet::Accepted) => self.send(to, Packet::Reset),
            (State::Gone, Packet::Finished) if !end.goodbye => self.send(to, Packet::Reset),
            (State::Gone | State::Connecting, _) => {}
            (State::Open, _) if end.broken.is_some() => {}
            (State::Open, Packet::Data(bytes)) => {
                end.inbox.extend(&bytes);
                self.mark_readable(to);
            }
            (State::Open, Packet::Finished) => {
                end.finished = true;
                self.mark_done(to);
            }
            (State::Open, Packet::Reset) => {
                if destroys {
                    end.inbox.clear();
                }
                self.break_end(to, io::ErrorKind::ConnectionReset);
            }
            (State::Open, Packet::Read(len)) => {
                end.credit += len;
                if std::mem::take(&mut end.blocked) {
                    self.mailbox(program).writable.push_back(to);
                    self.wake(program, self.now);
                }
            }
            (State::Open, Packet::Accepted | Packet::Refused) => {}
        }
    }

    /// The keepalive of `net`: out of reach for `dead_after`, or not there any more.
    pub(super) fn probe(&mut self, id: EndId) {
        let is_alive = |end: &&End| end.state == State::Open && end.broken.is_none();
        let Some(end) = self.ends.get(id).filter(is_alive) else { return };
        let Some(other) = end.other else { return };
        match end.silent_since {
            Some(since) if self.now - since >= self.programs[end.program.0].dead_after => {
                self.break_end(id, io::ErrorKind::TimedOut);
            }
            None if self.ends[other].state == State::Gone && !self.ends[other].goodbye => {
                self.break_end(id, io::ErrorKind::ConnectionReset);
            }
            _ => {}
        }
    }

    pub(super) fn break_end(&mut self, id: EndId, kind: io::ErrorKind) {
        let end = &mut self.ends[id];
        end.broken = Some(kind);
        // Pollers tell it to who waits to write, too: the write fails then.
        if std::mem::take(&mut end.blocked) {
            let program = end.program;
            self.mailbox(program).writable.push_back(id);
        }
        self.ends.free_tuple(id);
        self.mark_done(id);
    }

    fn mark_done(&mut self, id: EndId) {
        let program = self.ends[id].program;
        self.mailbox(program).hangups.push_back(id);
        self.mark_readable(id);
    }

    fn mark_readable(&mut self, id: EndId) {
        let program = self.ends[id].program;
        let readable = &mut self.mailbox(program).readable;
        if !readable.contains(&id) {
            readable.push_back(id);
        }
        self.wake(program, self.now);
    }
}
