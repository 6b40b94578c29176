//! Whom one address stands for, where limits and bans count by address.
//!
//! A *household* is what one subscriber or one host has: an IPv4 address, or the /64 of an IPv6 address, since every host
//! can take as many addresses of its /64 as it likes (RFC 4291 section 2.5.1, RFC 6177, RFC 8981). Link-local addresses
//! are all of one /64 and count one by one.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

/// The first address of the household, which names it.
pub(crate) fn household(ip: IpAddr) -> IpAddr {
    *addresses(ip).start()
}

/// All addresses of the household.
pub(crate) fn addresses(ip: IpAddr) -> RangeInclusive<IpAddr> {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() && !ip.is_unicast_link_local() => {
            let first = ip.to_bits() >> 64 << 64;
            let last = first | u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(first))..=IpAddr::V6(Ipv6Addr::from_bits(last))
        }
        ip => ip..=ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_is_an_ipv4_address_or_an_ipv6_network() {
        let of = |text: &str| household(text.parse().expect("an address")).to_string();
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("fe80::1"), "fe80::1");
        assert_eq!(of("::1"), "::1");
        let all = addresses("2001:db8::1".parse().expect("an address"));
        assert!(all.contains(&"2001:db8::ffff:ffff:ffff:ffff".parse::<IpAddr>().expect("an address")));
        assert!(!all.contains(&"2001:db8:0:1::".parse::<IpAddr>().expect("an address")));
    }
}
