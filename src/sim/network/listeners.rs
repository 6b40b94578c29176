//! Who listens: by computer and port, and by the program that does.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::computers::ComputerId;
use super::programs::ProgramId;

#[derive(Debug)]
struct Listener {
    /// At one address of the computer, or at all.
    ip: Option<IpAddr>,
    program: ProgramId,
}

/// At most one for each port of a computer.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    listeners: BTreeMap<(ComputerId, u16), Listener>,
    of: BTreeMap<ProgramId, Vec<(ComputerId, u16)>>,
}

impl Listeners {
    /// Whether the port was free.
    pub(super) fn insert(
        &mut self,
        computer: ComputerId,
        ip: Option<IpAddr>,
        port: u16,
        program: ProgramId,
    ) -> bool {
        let is_free = !self.is_taken(computer, port);
        if is_free {
            self.listeners.insert((computer, port), Listener { ip, program });
            self.of.entry(program).or_default().push((computer, port));
        }
        is_free
    }

    pub(super) fn is_taken(&self, computer: ComputerId, port: u16) -> bool {
        self.listeners.contains_key(&(computer, port))
    }

    /// The program that listens at this address of a computer.
    pub(super) fn at(&self, computer: ComputerId, addr: SocketAddr) -> Option<ProgramId> {
        let listener = self.listeners.get(&(computer, addr.port()))?;
        listener.ip.is_none_or(|ip| ip == addr.ip()).then_some(listener.program)
    }

    /// The program listens no more.
    pub(super) fn remove(&mut self, program: ProgramId) {
        for place in self.of.remove(&program).into_iter().flatten() {
            self.listeners.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_computer_port_and_address_until_its_program_ends() {
        let mut listeners = Listeners::default();
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let place = |n: usize| (ComputerId(n / 30), 5000 + (n % 30) as u16);
        for n in 0..300 {
            let (computer, port) = place(n);
            assert!(listeners.insert(computer, (n % 2 == 0).then_some(one), port, ProgramId(n / 3)));
            assert!(!listeners.insert(computer, None, port, ProgramId(999)), "one for each port");
        }
        listeners.remove(ProgramId(7));
        for n in 0..300 {
            let (computer, port) = place(n);
            let program = Some(ProgramId(n / 3)).filter(|&id| id != ProgramId(7));
            let at = |ip: &str| listeners.at(computer, SocketAddr::new(ip.parse().unwrap(), port));
            assert_eq!(at("192.0.2.1"), program);
            assert_eq!(at("192.0.2.2"), program.filter(|_| n % 2 == 1));
            assert_eq!(listeners.is_taken(computer, port), program.is_some());
        }
        assert!(!listeners.is_taken(ComputerId(10), 5000));
    }
}
