//! An address in a UNL, and whether it can be true.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::address::is_carrier_grade;

/// One address of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct UnlAddress {
    /// From where it can be used.
    pub place: Place,
    /// The address. A node that does not listen has port 0.
    pub addr: SocketAddr,
}

impl UnlAddress {
    /// An IPv4 address is never written as an IPv6 one, and what only this computer understands (the number of an
    /// interface) is left out.
    pub(super) fn new(place: Place, addr: SocketAddr) -> Self {
        Self { place, addr: SocketAddr::new(addr.ip().to_canonical(), addr.port()) }
    }

    /// Why nobody can be reached there, as far as the address itself shows it. Call none that has one, unless you know
    /// better: a test on one computer uses loopback.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use p2poll::{NodeType, Oddity, Unl};
    ///
    /// let unl = Unl::builder(NodeType::Passive)
    ///     .wan("192.168.0.45:44444".parse()?)
    ///     .lan("192.168.0.45:44444".parse()?)
    ///     .sign(&p2poll::Key::generate()?)?;
    /// let oddities: Vec<_> = unl.addresses().map(|address| address.oddity()).collect();
    /// assert_eq!(oddities, [Some(Oddity::Private), None]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn oddity(&self) -> Option<Oddity> {
        let odd = oddity_of_ip(self.addr.ip());
        // Inside, an address of the inside is right.
        odd.filter(|&odd| odd != Oddity::Private || self.place == Place::Wan)
            .or((self.addr.port() == 0).then_some(Oddity::NoPort))
    }
}

impl fmt::Display for UnlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.addr, self.place)
    }
}

/// From where an address can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Place {
    /// From anywhere: it is the one that the outside sees.
    Wan,
    /// From the node's own network, or from its own computer.
    Lan,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wan => "WAN",
            Self::Lan => "LAN",
        })
    }
}

/// What makes an address one that can not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Oddity {
    /// The port is 0: nobody listens.
    NoPort,
    /// No host has it: unspecified, a group's, broadcast or reserved.
    NoHost,
    /// It is every computer's own.
    Loopback,
    /// It means nothing beyond one wire (link-local).
    LinkLocal,
    /// It is said to be one of the outside, but of an inner network: a private one (RFC 1918), unique local (RFC 4193), or
    /// behind a provider's NAT (RFC 6598).
    Private,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPort => "no port",
            Self::NoHost => "no host's address",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Private => "private, not one of the outside",
        })
    }
}

fn oddity_of_ip(ip: IpAddr) -> Option<Oddity> {
    match ip {
        IpAddr::V4(ip) => oddity_of_v4(ip),
        IpAddr::V6(ip) => oddity_of_v6(ip),
    }
}

fn oddity_of_v4(ip: Ipv4Addr) -> Option<Oddity> {
    let [first, ..] = ip.octets();
    match first {
        127 => Some(Oddity::Loopback),
        // "This network", groups, and what is reserved with the broadcast address (RFC 1122 section 3.2.1.3, RFC 1112).
        0 | 224.. => Some(Oddity::NoHost),
        _ if ip.is_link_local() => Some(Oddity::LinkLocal),
        _ if ip.is_private() || is_carrier_grade(ip) => Some(Oddity::Private),
        _ => None,
    }
}

fn oddity_of_v6(ip: Ipv6Addr) -> Option<Oddity> {
    let first = ip.segments()[0];
    match () {
        () if ip.is_loopback() => Some(Oddity::Loopback),
        () if ip.is_unspecified() || ip.is_multicast() => Some(Oddity::NoHost),
        // RFC 4291 section 2.5.6, RFC 4193 section 3.1.
        () if first & 0xffc0 == 0xfe80 => Some(Oddity::LinkLocal),
        () if first & 0xfe00 == 0xfc00 => Some(Oddity::Private),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oddity(place: Place, text: &str) -> Option<Oddity> {
        UnlAddress::new(place, text.parse().unwrap()).oddity()
    }

    #[test]
    fn what_can_not_be_called_is_odd_everywhere() {
        for place in [Place::Wan, Place::Lan] {
            for (text, expected) in [
                ("203.0.113.7:0", Oddity::NoPort),
                ("0.0.0.0:1", Oddity::NoHost),
                ("0.1.2.3:1", Oddity::NoHost),
                ("224.0.0.1:1", Oddity::NoHost),
                ("255.255.255.255:1", Oddity::NoHost),
                ("127.1.2.3:1", Oddity::Loopback),
                ("169.254.1.1:1", Oddity::LinkLocal),
                ("[::]:1", Oddity::NoHost),
                ("[ff02::1]:1", Oddity::NoHost),
                ("[::1]:1", Oddity::Loopback),
                ("[::ffff:127.0.0.1]:1", Oddity::Loopback),
                ("[fe80::1]:1", Oddity::LinkLocal),
            ] {
                assert_eq!(oddity(place, text), Some(expected), "{text}");
            }
        }
    }

    #[test]
    fn private_addresses_belong_inside() {
        for text in ["10.0.0.1:1", "172.16.0.1:1", "192.168.1.1:1", "100.64.0.1:1", "[fd00::1]:1"] {
            assert_eq!(oddity(Place::Wan, text), Some(Oddity::Private), "{text}");
            assert_eq!(oddity(Place::Lan, text), None, "{text}");
            let silent = text.replace(":1", ":0").replace("::0]", "::1]");
            assert_eq!(oddity(Place::Lan, &silent), Some(Oddity::NoPort), "{silent}");
        }
    }

    #[test]
    fn a_public_address_is_fine_anywhere() {
        for text in
            ["203.0.113.7:1", "100.63.255.255:1", "100.128.0.0:1", "223.255.255.255:1", "[2001:db8::1]:1"]
        {
            assert_eq!((oddity(Place::Wan, text), oddity(Place::Lan, text)), (None, None), "{text}");
        }
    }

    #[test]
    fn there_is_one_way_to_write_each() {
        let address = |text: &str| UnlAddress::new(Place::Lan, text.parse().unwrap());
        assert_eq!(address("[::ffff:192.0.2.1]:5"), address("192.0.2.1:5"));
        assert_eq!(address("[fe80::1%3]:5"), address("[fe80::1]:5"));
    }
}
