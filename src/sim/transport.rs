//! The simulator's network as the transport of a node.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::network::{EndId, Network, ProgramId};
use super::worker::{Surroundings, Worker};
use crate::job::Job;
use crate::node::transport::{Transport, TransportEvent};
use crate::socket::{Accepted, Read, Write};
use crate::time::Instant;

/// A program's sockets and its worker.
#[derive(Debug)]
pub(super) struct Sockets {
    program: ProgramId,
    slots: Vec<Option<EndId>>,
    by_end: BTreeMap<EndId, usize>,
    events: VecDeque<TransportEvent>,
    readable: VecDeque<usize>,
    /// By slot: it stands in `readable`.
    listed: Vec<bool>,
    writable: Vec<usize>,
    /// Where the last read has put its bytes.
    read_into: Option<*const u8>,
    /// Bytes that were written from where they had been read.
    passed_through: u64,
    worker: Worker,
}

/// The same, where they are.
pub(super) struct Virtual<'a> {
    pub(super) sockets: &'a mut Sockets,
    pub(super) network: &'a mut Network,
    pub(super) around: &'a mut Surroundings,
}

impl Sockets {
    pub(super) fn new(program: ProgramId) -> Self {
        Self {
            program,
            slots: Vec::new(),
            by_end: BTreeMap::new(),
            events: VecDeque::new(),
            readable: VecDeque::new(),
            listed: Vec::new(),
            writable: Vec::new(),
            read_into: None,
            passed_through: 0,
            worker: Worker::new(),
        }
    }

    pub(super) fn passed_through(&self) -> u64 {
        self.passed_through
    }

    fn end(&self, slot: usize) -> Option<EndId> {
        self.slots.get(slot).copied().flatten()
    }

    fn put(&mut self, slot: usize, end: EndId) {
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
            self.listed.resize(slot + 1, false);
        }
        assert!(self.slots[slot].is_none(), "slot {slot} was not closed before it was used again");
        self.slots[slot] = Some(end);
        self.by_end.insert(end, slot);
        self.offer(slot);
    }

    fn offer(&mut self, slot: usize) {
        if self.listed.get_mut(slot).is_some_and(|listed| !std::mem::replace(listed, true)) {
            self.readable.push_back(slot);
        }
    }
}

impl Virtual<'_> {
    /// Those that wait to be accepted.
    pub(super) fn accept(&mut self) -> Vec<Accepted<EndId>> {
        let backlog = std::mem::take(&mut self.network.mailbox(self.sockets.program).backlog);
        let accepted =
            |end| Accepted { socket: end, peer: self.network.peer(end), local: self.network.local(end) };
        backlog.into_iter().map(accepted).collect()
    }

    /// Takes over what the network has to tell of sockets that have a slot.
    pub(super) fn collect(&mut self) {
        let Self { sockets, network, .. } = self;
        let mailbox = network.mailbox(sockets.program);
        for (end, outcome) in mailbox.connected.drain(..) {
            let Some(&slot) = sockets.by_end.get(&end) else { continue };
            sockets.events.push_back(match outcome {
                Ok(local) => TransportEvent::Connected { slot, local },
                Err(kind) => TransportEvent::Failed { slot, kind },
            });
            sockets.offer(slot);
            sockets.writable.push(slot);
        }
        sockets.events.extend(mailbox.reports.drain(..).map(TransportEvent::Report));
        let slots = &sockets.by_end;
        let hangups = mailbox.hangups.drain(..).filter_map(|end| slots.get(&end));
        sockets.events.extend(hangups.map(|&slot| TransportEvent::Hangup { slot }));
        sockets.writable.extend(mailbox.writable.drain(..).filter_map(|end| slots.get(&end)));
        for end in mailbox.readable.drain(..) {
            if let Some(&slot) = sockets.by_end.get(&end) {
                sockets.offer(slot);
            }
        }
    }
}

impl Transport for Virtual<'_> {
    type Socket = EndId;

    fn now(&self) -> Instant {
        self.network.now()
    }

    fn adopt(&mut self, slot: usize, accepted: Accepted<EndId>) -> Result<(), io::ErrorKind> {
        self.sockets.put(slot, accepted.socket);
        Ok(())
    }

    fn refuse(&mut self, accepted: Accepted<EndId>) {
        self.network.close(accepted.socket);
    }

    fn dial(&mut self, slot: usize, to: SocketAddr, from: Option<SocketAddr>) -> Result<(), io::ErrorKind> {
        let end = self.network.dial(self.sockets.program, to, from)?;
        self.sockets.put(slot, end);
        Ok(())
    }

    fn shutdown_write(&mut self, slot: usize) {
        if let Some(end) = self.sockets.end(slot) {
            self.network.shutdown_write(end);
        }
    }

    fn close(&mut self, slot: usize) {
        if let Some(end) = self.sockets.slots.get_mut(slot).and_then(Option::take) {
            self.sockets.by_end.remove(&end);
            self.network.close(end);
        }
    }

    fn begin(&mut self, job: Job) {
        let Self { sockets, network, around } = self;
        sockets.worker.begin(job, sockets.program, network, around);
    }

    fn poll_event(&mut self) -> Option<TransportEvent> {
        self.sockets.events.pop_front()
    }

    fn readable(&self) -> usize {
        self.sockets.readable.len()
    }

    fn poll_readable(&mut self) -> Option<usize> {
        let slot = self.sockets.readable.pop_front()?;
        self.sockets.listed[slot] = false;
        Some(slot)
    }

    fn poll_writable(&mut self) -> Option<usize> {
        self.sockets.writable.pop()
    }

    fn offer(&mut self, slot: usize) {
        self.sockets.offer(slot);
    }

    fn read(&mut self, slot: usize, space: &mut [u8]) -> Read {
        let Some(end) = self.sockets.end(slot) else { return Read::Blocked };
        self.sockets.read_into = Some(space.as_ptr());
        self.network.read(end, space)
    }

    fn write(&mut self, slot: usize, bytes: &[u8]) -> Write {
        let Some(end) = self.sockets.end(slot) else { return Write::Blocked };
        let written = self.network.write(end, bytes);
        match written {
            Write::Sent(len) if self.sockets.read_into == Some(bytes.as_ptr()) => {
                self.sockets.passed_through += len as u64;
            }
            // Its end is to be read.
            Write::Broken => self.sockets.offer(slot),
            Write::Sent(_) | Write::Blocked => {}
        }
        written
    }

    fn next_wakeup(&self) -> Option<Duration> {
        (!self.sockets.readable.is_empty()).then_some(Duration::ZERO)
    }
}
