//! The calls of a socket.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::{ComputerId, End, EndId, Listener, Network, Packet, ProgramId, State};
use crate::socket::{Read, Write};
use crate::time::Instant;

/// The ports of those who ask for none, as Linux gives them out.
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

impl Network {
    /// Listens at an address of the program's computer, `None` for all; port 0 for any.
    pub(in crate::sim) fn listen(
        &mut self,
        program: ProgramId,
        ip: Option<IpAddr>,
        port: u16,
    ) -> Result<SocketAddr, io::ErrorKind> {
        let computer = self.computer_of(program);
        if ip.is_some_and(|ip| !ip.is_loopback() && !self.computers[computer.0].ips.contains(&ip)) {
            return Err(io::ErrorKind::AddrNotAvailable);
        }
        let port = if port == 0 { self.next_port(computer) } else { port };
        if self.listeners.iter().any(|other| other.computer == computer && other.port == port) {
            return Err(io::ErrorKind::AddrInUse);
        }
        self.listeners.push(Listener { computer, ip, port, program });
        let any = IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED);
        Ok(SocketAddr::new(ip.unwrap_or(any), port))
    }

    pub(in crate::sim) fn stop_listening(&mut self, program: ProgramId) {
        self.listeners.retain(|listener| listener.program != program);
        while let Some(end) = self.programs[program.0].mailbox.backlog.pop_front() {
            self.send(end, Packet::Reset);
            self.retire(end);
        }
    }

    /// From an address of the program's computer, or from any; others may be dialled from the same port.
    pub(in crate::sim) fn dial(
        &mut self,
        program: ProgramId,
        to: SocketAddr,
        from: Option<SocketAddr>,
    ) -> Result<EndId, io::ErrorKind> {
        let computer = self.computer_of(program);
        let ip = if to.ip().is_loopback() {
            to.ip()
        } else {
            let bound = from.map(|from| from.ip());
            let bound = bound.filter(|ip| ip.is_ipv4() == to.is_ipv4() && !ip.is_unspecified());
            let ips = &self.computers[computer.0].ips;
            if bound.is_some_and(|ip| !ips.contains(&ip)) {
                return Err(io::ErrorKind::AddrNotAvailable);
            }
            bound
                .or_else(|| ips.iter().copied().find(|ip| ip.is_ipv4() == to.is_ipv4()))
                .ok_or(io::ErrorKind::NetworkUnreachable)?
        };
        let port = match from.map(|from| from.port()).filter(|&port| port != 0) {
            Some(port) => port,
            None => self.next_port(computer),
        };
        let local = SocketAddr::new(ip, port);
        if self.tuples.contains_key(&(computer, local, to)) {
            return Err(io::ErrorKind::AddrNotAvailable);
        }
        let end = self.end(program, local, to, State::Connecting);
        self.send_syn(end, 0);
        Ok(end)
    }

    pub(in crate::sim) fn peer(&self, end: EndId) -> SocketAddr {
        self.ends[end.0].peer
    }

    pub(in crate::sim) fn local(&self, end: EndId) -> SocketAddr {
        self.ends[end.0].local
    }

    pub(in crate::sim) fn read(&mut self, id: EndId, space: &mut [u8]) -> Read {
        let end = &mut self.ends[id.0];
        if end.state != State::Open || end.told {
            return Read::Blocked;
        }
        let len = space.len().min(end.inbox.len());
        if len > 0 {
            let (first, second) = end.inbox.as_slices();
            let split = len.min(first.len());
            space[..split].copy_from_slice(&first[..split]);
            space[split..len].copy_from_slice(&second[..len - split]);
            end.inbox.drain(..len);
            end.unannounced += len;
            if end.unannounced >= end.window / 4 {
                let read = std::mem::take(&mut end.unannounced);
                self.send(id, Packet::Read(read));
            }
            return Read::Data(len);
        }
        end.told = end.finished || end.broken.is_some();
        match end.broken {
            Some(kind) => Read::Broken(kind),
            None if end.finished => Read::Finished,
            None => Read::Blocked,
        }
    }

    pub(in crate::sim) fn write(&mut self, id: EndId, bytes: &[u8]) -> Write {
        let end = &mut self.ends[id.0];
        if end.state != State::Open {
            return Write::Blocked;
        }
        if end.broken.is_some() || end.goodbye {
            return Write::Broken;
        }
        let len = bytes.len().min(end.credit);
        if len == 0 {
            end.blocked = true;
            return Write::Blocked;
        }
        end.credit -= len;
        self.send(id, Packet::Data(bytes[..len].to_vec()));
        Write::Sent(len)
    }

    pub(in crate::sim) fn shutdown_write(&mut self, id: EndId) {
        let end = &self.ends[id.0];
        if end.state == State::Open && !end.goodbye && end.broken.is_none() {
            self.send(id, Packet::Finished);
            self.ends[id.0].goodbye = true;
        }
    }

    /// Closes in order, or resets what is closed unread (RFC 2525 section 2.17).
    pub(in crate::sim) fn close(&mut self, id: EndId) {
        if self.ends[id.0].state == State::Open && self.ends[id.0].broken.is_none() {
            if !self.ends[id.0].inbox.is_empty() {
                self.send(id, Packet::Reset);
                self.ends[id.0].goodbye = true;
            }
            self.shutdown_write(id);
        }
        self.retire(id);
        self.ends[id.0].inbox = VecDeque::new();
    }

    /// The programs at both ends of each open connection, the one that dialled first.
    pub(in crate::sim) fn connections(&self) -> impl Iterator<Item = (ProgramId, ProgramId)> {
        let open = |end: &End| end.state == State::Open && end.broken.is_none();
        self.ends.iter().zip(0..).filter_map(move |(end, at)| {
            let other = end.other?;
            let is_first = end.is_dialled && (!self.ends[other.0].is_dialled || EndId(at) < other);
            let other = &self.ends[other.0];
            (open(end) && open(other) && is_first).then_some((end.program, other.program))
        })
    }

    pub(super) fn end(
        &mut self,
        program: ProgramId,
        local: SocketAddr,
        peer: SocketAddr,
        state: State,
    ) -> EndId {
        let id = EndId(self.ends.len());
        let computer = self.computer_of(program);
        self.ends.push(End {
            program,
            computer,
            local,
            peer,
            other: None,
            passages: Vec::new(),
            is_dialled: state == State::Connecting,
            state,
            inbox: VecDeque::new(),
            finished: false,
            broken: None,
            told: false,
            unannounced: 0,
            window: self.computers[computer.0].window,
            credit: 0,
            blocked: false,
            goodbye: false,
            line_free: Instant::ZERO,
            last_arrival: Instant::ZERO,
            held: Vec::new(),
            silent_since: None,
        });
        self.tuples.insert((computer, local, peer), id);
        id
    }

    /// Its program has it no more.
    pub(super) fn retire(&mut self, id: EndId) {
        self.ends[id.0].state = State::Gone;
        self.free_tuple(id);
    }

    /// Its operating system has it no more: another may have its addresses.
    pub(super) fn free_tuple(&mut self, id: EndId) {
        let end = &self.ends[id.0];
        let tuple = (end.computer, end.local, end.peer);
        if self.tuples.get(&tuple) == Some(&id) {
            self.tuples.remove(&tuple);
        }
    }

    /// As operating systems do, it gives out no port at which somebody listens.
    fn next_port(&mut self, computer: ComputerId) -> u16 {
        loop {
            let next = &mut self.computers[computer.0].next_port;
            *next = if EPHEMERAL.contains(&(*next + 1)) { *next + 1 } else { *EPHEMERAL.start() };
            let port = *next;
            let taken = |listener: &Listener| listener.computer == computer && listener.port == port;
            if !self.listeners.iter().any(taken) {
                return port;
            }
        }
    }
}
