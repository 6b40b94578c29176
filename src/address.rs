//! Addresses in the one form in which they are compared.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// The one form of an address that all comparisons use: an IPv4 address that came in IPv6 clothes is the IPv4 address
/// (RFC 4291 section 2.5.5.2), and flow labels do not tell peers apart.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match (address.ip().to_canonical(), address) {
        (IpAddr::V6(ip), SocketAddr::V6(v6)) => SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into(),
        (ip, _) => SocketAddr::new(ip, address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
