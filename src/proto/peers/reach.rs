//! From how far away an address can be reached, and so who can know of it.

use std::net::IpAddr;

use super::Source;
use crate::address::is_carrier_grade;

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
            IpAddr::V4(ip) if ip.is_private() || is_carrier_grade(ip) => Self::Site,
            IpAddr::V6(ip) if ip.is_unique_local() => Self::Site,
            _ => Self::World,
        }
    }
}
