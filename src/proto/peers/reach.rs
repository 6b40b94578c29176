//! From how far away an address can be reached, and so who can know of it.

use std::net::IpAddr;

use super::Source;

impl Source {
    /// A server can only list nodes that it could have seen: those of its own reach, or of a wider one.
    pub(crate) fn may_name(self, ip: IpAddr) -> bool {
        match self {
            Self::Static | Self::File => true,
            Self::Rendezvous { server, .. } => Reach::of(ip) >= Reach::of(server),
        }
    }
}

/// From how far away an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Machine,
    Link,
    Site,
    World,
}

impl Reach {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() => Self::Machine,
            IpAddr::V4(ip) if ip.is_link_local() => Self::Link,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Self::Link,
            IpAddr::V4(ip) if ip.is_private() || is_carrier_grade(ip.octets()) => Self::Site,
            IpAddr::V6(ip) if ip.is_unique_local() => Self::Site,
            _ => Self::World,
        }
    }
}

/// 100.64.0.0/10 (RFC 6598): inside a provider's NAT.
fn is_carrier_grade([first, second, ..]: [u8; 4]) -> bool {
    first == 100 && second & 0xc0 == 64
}
