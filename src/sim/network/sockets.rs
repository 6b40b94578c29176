//! The calls of a socket.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::end::Packet;
use super::{End, EndId, Network, ProgramId, State};
use crate::socket::{Read, Write};

impl Network {
    /// Listens at an address of the program's computer, `None` for all; port 0 for any.
    pub(in crate::sim) fn listen(
        &mut self,
        program: ProgramId,
        ip: Option<IpAddr>,
        port: u16,
    ) -> Result<SocketAddr, io::ErrorKind> {
        let id = self.programs.computer_of(program);
        let computer = self.topology.computer_mut(id);
        if ip.is_some_and(|ip| !computer.is_at(ip)) {
            return Err(io::ErrorKind::AddrNotAvailable);
        }
        let is_taken = |port| self.listeners.is_taken(id, port);
        let port = if port == 0 { computer.next_port(is_taken) } else { port };
        if !self.listeners.insert(id, ip, port, program) {
            return Err(io::ErrorKind::AddrInUse);
        }
        Ok(SocketAddr::new(ip.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), port))
    }

    pub(in crate::sim) fn stop_listening(&mut self, program: ProgramId) {
        self.listeners.remove(program);
        for end in std::mem::take(&mut self.programs.mailbox(program).backlog) {
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
        let id = self.programs.computer_of(program);
        let computer = self.topology.computer_mut(id);
        let ip = computer.source(to, from.map(|from| from.ip()))?;
        let port = match from.map(|from| from.port()).filter(|&port| port != 0) {
            Some(port) => port,
            None => computer.next_port(|port| self.listeners.is_taken(id, port)),
        };
        let local = SocketAddr::new(ip, port);
        if self.ends.at((id, local, to)).is_some() {
            return Err(io::ErrorKind::AddrNotAvailable);
        }
        let end = End::new(program, (id, local, to), State::Connecting, computer.window);
        let end = self.ends.insert(end);
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
        let Some(end) = self.ends.get_mut(id) else { return Read::Blocked };
        let (read, packet) = end.read(space);
        self.send_some(id, packet);
        read
    }

    pub(in crate::sim) fn write(&mut self, id: EndId, bytes: &[u8]) -> Write {
        let Some(end) = self.ends.get_mut(id) else { return Write::Blocked };
        let (written, packet) = end.write(bytes);
        self.send_some(id, packet);
        written
    }

    pub(in crate::sim) fn shutdown_write(&mut self, id: EndId) {
        let packet = self.ends.get_mut(id).and_then(End::finish);
        self.send_some(id, packet);
    }

    pub(in crate::sim) fn close(&mut self, id: EndId) {
        let packet = self.ends.get_mut(id).and_then(End::close);
        self.send_some(id, packet);
        self.ends.retire(id);
    }

    /// The program crashed: its operating system resets what it had open.
    pub(in crate::sim) fn crash(&mut self, program: ProgramId) {
        self.stop_listening(program);
        for id in self.ends.of(program) {
            let packet = self.ends[id].abort();
            self.send_some(id, packet);
            self.ends.retire(id);
        }
    }

    /// The programs at both ends of each open connection, the one that dialled first.
    pub(in crate::sim) fn connections(&self) -> impl Iterator<Item = (ProgramId, ProgramId)> {
        self.ends.iter().filter_map(|(id, end)| {
            let other = end.other?;
            let is_first = end.is_dialled && (!self.ends[other].is_dialled || id < other);
            let other = &self.ends[other];
            (end.is_open() && other.is_open() && is_first).then_some((end.program, other.program))
        })
    }

    /// Ends, their addresses and where else they are listed: how many of each there are.
    pub(in crate::sim) fn counts(&self) -> [usize; 5] {
        self.ends.counts()
    }

    fn send_some(&mut self, id: EndId, packet: Option<Packet>) {
        if let Some(packet) = packet {
            self.send(id, packet);
        }
    }
}
