//! The calls of a socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::{ComputerId, End, EndId, Network, Packet, ProgramId, State};
use crate::socket::{Read, Write};

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
        if !self.listeners.insert(computer, ip, port, program) {
            return Err(io::ErrorKind::AddrInUse);
        }
        let any = IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED);
        Ok(SocketAddr::new(ip.unwrap_or(any), port))
    }

    pub(in crate::sim) fn stop_listening(&mut self, program: ProgramId) {
        self.listeners.remove(program);
        while let Some(end) = self.programs[program.0].mailbox.backlog.pop_front() {
            self.send(end, Packet::Reset);
            self.ends.retire(end);
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
        if self.ends.at((computer, local, to)).is_some() {
            return Err(io::ErrorKind::AddrNotAvailable);
        }
        let end = self.end(program, local, to, State::Connecting);
        self.send_syn(end, 0);
        Ok(end)
    }

    pub(in crate::sim) fn peer(&self, end: EndId) -> SocketAddr {
        self.ends[end].peer
    }

    pub(in crate::sim) fn local(&self, end: EndId) -> SocketAddr {
        self.ends[end].local
    }

    pub(in crate::sim) fn read(&mut self, id: EndId, space: &mut [u8]) -> Read {
        let Some(end) = self.ends.get_mut(id).filter(|end| end.state == State::Open && !end.told) else {
            return Read::Blocked;
        };
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
        let Some(end) = self.ends.get_mut(id).filter(|end| end.state == State::Open) else {
            return Write::Blocked;
        };
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
        let is_alive = |end: &End| end.state == State::Open && !end.goodbye && end.broken.is_none();
        if self.ends.get(id).is_some_and(is_alive) {
            self.send(id, Packet::Finished);
            self.ends[id].goodbye = true;
        }
    }

    /// Closes in order, or resets what is closed unread (RFC 2525 section 2.17).
    pub(in crate::sim) fn close(&mut self, id: EndId) {
        let is_unread = |end: &End| end.state == State::Open && end.broken.is_none() && !end.inbox.is_empty();
        if self.ends.get(id).is_some_and(is_unread) {
            self.send(id, Packet::Reset);
            self.ends[id].goodbye = true;
        }
        self.shutdown_write(id);
        self.ends.retire(id);
    }

    /// The programs at both ends of each open connection, the one that dialled first.
    pub(in crate::sim) fn connections(&self) -> impl Iterator<Item = (ProgramId, ProgramId)> {
        let open = |end: &End| end.state == State::Open && end.broken.is_none();
        self.ends.iter().filter_map(move |(id, end)| {
            let other = end.other?;
            let is_first = end.is_dialled && (!self.ends[other].is_dialled || id < other);
            let other = &self.ends[other];
            (open(end) && open(other) && is_first).then_some((end.program, other.program))
        })
    }

    /// Ends, their addresses and what programs have of them: how many of each there are.
    pub(in crate::sim) fn counts(&self) -> [usize; 3] {
        self.ends.counts()
    }

    pub(super) fn end(
        &mut self,
        program: ProgramId,
        local: SocketAddr,
        peer: SocketAddr,
        state: State,
    ) -> EndId {
        let computer = self.computer_of(program);
        let window = self.computers[computer.0].window;
        self.ends.insert(End::new(program, (computer, local, peer), state, window))
    }

    /// As operating systems do, it gives out no port at which somebody listens.
    fn next_port(&mut self, computer: ComputerId) -> u16 {
        loop {
            let next = &mut self.computers[computer.0].next_port;
            *next = if EPHEMERAL.contains(&(*next + 1)) { *next + 1 } else { *EPHEMERAL.start() };
            let port = *next;
            if !self.listeners.is_taken(computer, port) {
                return port;
            }
        }
    }
}
