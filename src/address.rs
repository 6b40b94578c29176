//! Addresses: how people write them, the one form in which they are compared, and which of them the whole Internet can reach.

mod host_port;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

pub(crate) use host_port::HostPort;

/// The one form of an address that all comparisons use: an IPv4 address that came in IPv6 clothes is the IPv4 address
/// (RFC 4291 section 2.5.5.2), and flow labels do not tell peers apart.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match (address.ip().to_canonical(), address) {
        (IpAddr::V6(ip), SocketAddr::V6(v6)) => SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into(),
        (ip, _) => SocketAddr::new(ip, address.port()),
    }
}

/// Whether the address is one of the public Internet: none that the IANA special-purpose address registry (RFC 6890)
/// calls not globally reachable, and no group's.
pub(crate) fn is_public(ip: Ipv4Addr) -> bool {
    !(is_no_host(ip)
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_documentation()
        || is_carrier_grade(ip)
        || is_for_protocols_or_benchmarks(ip.octets()))
}

/// The same of either family: of IPv6, global unicast but for the documentation's (RFC 4291 section 2.4, RFC 3849).
pub(crate) fn is_public_address(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public(ip),
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000 && ip.segments()[..2] != [0x2001, 0xdb8],
    }
}

/// Whether no host can have the address towards others: "this network" (0.0.0.0 is what a router says whose line is
/// down), loopback, groups, and what is reserved with the broadcast address (RFC 1122 section 3.2.1.3, RFC 1112).
pub(crate) fn is_no_host(ip: Ipv4Addr) -> bool {
    let [first, ..] = ip.octets();
    first == 0 || ip.is_loopback() || first >= 224
}

/// 100.64.0.0/10 (RFC 6598): inside a provider's NAT.
pub(crate) fn is_carrier_grade(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xc0 == 64
}

/// 192.0.0.0/24 (RFC 6890; a DS-Lite router's own address is in it) and 198.18.0.0/15 (RFC 2544).
fn is_for_protocols_or_benchmarks([first, second, third, _]: [u8; 4]) -> bool {
    matches!((first, second, third), (192, 0, 0) | (198, 18 | 19, _))
}

/// `[fe80::1%eth0]:8000` (RFC 4007 section 11): the address, the name of the interface, and the port. One with the
/// interface's number is an address.
pub(crate) fn zoned(text: &str) -> Option<(Ipv6Addr, &str, u16)> {
    let (host, port) = text.strip_prefix('[')?.split_once("]:")?;
    let (ip, zone) = host.split_once('%')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_name = (1..=LONGEST_ZONE).contains(&zone.len()) && zone.chars().all(plain);
    Some((ip.parse().ok()?, zone, port.parse().ok()?)).filter(|_| is_name)
}

/// No system gives interfaces longer names.
const LONGEST_ZONE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_have_names_and_numbers() {
        let ip: Ipv6Addr = "fe80::1".parse().unwrap();
        assert_eq!(zoned("[fe80::1%eth0.7]:8000"), Some((ip, "eth0.7", 8000)));
        assert_eq!(zoned("[fe80::1%3]:0"), Some((ip, "3", 0)));
        let long = format!("[fe80::1%{}]:8000", "x".repeat(65));
        for none in [
            "[fe80::1]:8000",
            "[fe80::1%]:8000",
            "[fe80::1%a b]:8000",
            "[fe80::1%eth0]",
            "fe80::1%eth0:1",
            &long,
        ] {
            assert_eq!(zoned(none), None, "{none}");
        }
    }

    #[test]
    fn one_address_has_one_form() {
        for (text, form) in [
            ("[::ffff:192.0.2.1]:7", "192.0.2.1:7"),
            ("192.0.2.1:7", "192.0.2.1:7"),
            ("[fe80::1%3]:7", "[fe80::1%3]:7"),
        ] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(canonical(address), form.parse().expect("an address"), "{text}");
        }
        let flow = SocketAddrV6::new("2001:db8::1".parse().expect("an address"), 7, 5, 0);
        assert_eq!(canonical(flow.into()), "[2001:db8::1]:7".parse().expect("an address"));
    }

    #[test]
    fn what_is_public() {
        let public = [
            "8.8.8.8",
            "1.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
        ];
        for text in public {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_not() {
        let others = [
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.168.1.1", false),
            ("100.64.0.0", false),
            ("100.127.255.255", false),
            ("169.254.7.7", false),
            ("192.0.0.2", false),
            ("192.0.2.1", false),
            ("198.51.100.1", false),
            ("203.0.113.1", false),
            ("198.19.0.1", false),
            ("0.0.0.0", true),
            ("0.1.2.3", true),
            ("127.0.0.1", true),
            ("224.0.0.1", true),
            ("239.255.255.250", true),
            ("240.0.0.1", true),
            ("255.255.255.255", true),
        ];
        for (text, no_host) in others {
            let ip = text.parse().unwrap();
            assert_eq!((is_public(ip), is_no_host(ip)), (false, no_host), "{text}");
        }
    }
}
