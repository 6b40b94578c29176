//! A computer: its addresses, its firewall and its ports.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::topology::Realm;

/// What a sender may have under way and unread, unless a test says otherwise.
const WINDOW: usize = 64 << 10;

/// The ports of those who ask for none, as Linux gives them out.
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sim) struct ComputerId(pub(super) usize);

#[derive(Debug)]
pub(in crate::sim) struct Computer {
    pub(super) realm: Realm,
    pub(super) ips: Vec<IpAddr>,
    /// From here to the middle of the internet, or to its router.
    pub(in crate::sim) delay: Duration,
    /// Bytes in a second, for each connection and direction.
    pub(in crate::sim) bandwidth: Option<u64>,
    /// The window of connections that end here.
    pub(in crate::sim) window: usize,
    pub(super) is_up: bool,
    /// A firewall drops whoever dials it from another computer, and is not being dialled from it.
    pub(in crate::sim) is_closed: bool,
    /// Only computers of the same side of a partition reach each other.
    pub(super) side: u32,
    last_port: u16,
}

impl Computer {
    /// The port that it gives out next is the one after `last_port`.
    pub(super) fn new(realm: Realm, ips: &[IpAddr], delay: Duration, last_port: u16) -> Self {
        Self {
            realm,
            ips: ips.to_vec(),
            delay,
            bandwidth: None,
            window: WINDOW,
            is_up: true,
            is_closed: false,
            side: 0,
            last_port,
        }
    }

    /// Every computer is at the loopback addresses.
    pub(super) fn is_at(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.ips.contains(&ip)
    }

    /// The address from which it dials `to`: the one that was asked for, or any of the same family.
    pub(super) fn source(&self, to: SocketAddr, bound: Option<IpAddr>) -> Result<IpAddr, io::ErrorKind> {
        if to.ip().is_loopback() {
            return Ok(to.ip());
        }
        let bound = bound.filter(|ip| ip.is_ipv4() == to.is_ipv4() && !ip.is_unspecified());
        if bound.is_some_and(|ip| !self.ips.contains(&ip)) {
            return Err(io::ErrorKind::AddrNotAvailable);
        }
        bound
            .or_else(|| self.ips.iter().copied().find(|ip| ip.is_ipv4() == to.is_ipv4()))
            .ok_or(io::ErrorKind::NetworkUnreachable)
    }

    /// As operating systems do, it gives out no port at which somebody listens.
    pub(super) fn next_port(&mut self, is_taken: impl Fn(u16) -> bool) -> u16 {
        loop {
            let next = self.last_port + 1;
            self.last_port = if EPHEMERAL.contains(&next) { next } else { *EPHEMERAL.start() };
            if !is_taken(self.last_port) {
                return self.last_port;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_go_round_and_leave_out_what_is_taken() {
        let mut computer = Computer::new(None, &[], Duration::ZERO, 60_997);
        let is_taken = |port| port == 60_999 || port == 32_769;
        assert_eq!([(); 3].map(|()| computer.next_port(is_taken)), [60_998, 32_768, 32_770]);
    }

    #[test]
    fn a_dial_comes_from_an_address_of_the_computer_and_of_the_family() {
        let ips = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let computer = Computer::new(None, &ips, Duration::ZERO, 40_000);
        let source = |to: &str, bound: Option<&str>| {
            computer.source(to.parse().unwrap(), bound.map(|ip| ip.parse().unwrap()))
        };
        assert_eq!(source("198.51.100.1:1", None), Ok(ips[0]));
        assert_eq!(source("198.51.100.1:1", Some("192.0.2.2")), Ok(ips[1]));
        assert_eq!(source("[2001:db8::2]:1", Some("192.0.2.2")), Ok(ips[2]));
        assert_eq!(source("127.0.0.2:1", Some("192.0.2.2")), Ok("127.0.0.2".parse().unwrap()));
        assert_eq!(source("198.51.100.1:1", Some("192.0.2.3")), Err(io::ErrorKind::AddrNotAvailable));
        let bare = Computer::new(None, &ips[2..], Duration::ZERO, 40_000);
        let source = bare.source("198.51.100.1:1".parse().unwrap(), None);
        assert_eq!(source, Err(io::ErrorKind::NetworkUnreachable));
    }
}
