//! Whether what answered a search can be this network's router: anybody who hears the search can answer it, and would
//! be sent requests of ours at an address of its choice.

use std::net::{IpAddr, Ipv4Addr};

use if_addrs::IfAddr;

/// `named`: the router that the user named.
pub(super) fn is_sane(router: IpAddr, from: Ipv4Addr, named: Option<IpAddr>) -> bool {
    let IpAddr::V4(router) = router else { return false };
    if router.is_loopback() {
        return from.is_loopback();
    }
    !router.is_unspecified()
        && !router.is_multicast()
        && !router.is_broadcast()
        && (named == Some(router.into())
            || router.is_private()
            || router.is_link_local()
            || is_neighbour(router, from)
            || natpmp::get_default_gateway() == Ok(router))
}

/// The default gateway, where it is in our address's network.
pub(super) fn likely_router(from: Ipv4Addr) -> Option<IpAddr> {
    natpmp::get_default_gateway().ok().filter(|&router| is_neighbour(router, from)).map(IpAddr::V4)
}

/// Whether both are in the network of the interface that has our address.
fn is_neighbour(router: Ipv4Addr, from: Ipv4Addr) -> bool {
    if_addrs::get_if_addrs().unwrap_or_default().iter().any(|interface| match &interface.addr {
        IfAddr::V4(own) => own.ip == from && is_same_network(router, from, own.netmask),
        IfAddr::V6(_) => false,
    })
}

fn is_same_network(one: Ipv4Addr, other: Ipv4Addr, mask: Ipv4Addr) -> bool {
    let network = |ip: Ipv4Addr| ip.to_bits() & mask.to_bits();
    // Without a mask everything would be near.
    mask.to_bits() != 0 && network(one) == network(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_is_near() {
        let (home, loopback) = (Ipv4Addr::new(192, 168, 1, 7), Ipv4Addr::LOCALHOST);
        let sane = |router: &str, from| is_sane(router.parse().unwrap(), from, None);
        for router in ["192.168.1.1", "10.0.0.1", "172.16.0.1", "169.254.3.4"] {
            assert!(sane(router, home), "{router}");
        }
        assert!(sane("127.9.9.9", loopback));
        // The last ones are public, and the default gateway of nobody who runs this.
        for router in ["127.0.0.1", "0.0.0.0", "239.255.255.250", "255.255.255.255", "fd00::1", "192.0.0.10"]
        {
            assert!(!sane(router, home), "{router}");
        }
        let named = Some("203.0.113.254".parse().unwrap());
        assert!(is_sane("203.0.113.254".parse().unwrap(), home, named));
        assert!(!is_sane("203.0.113.253".parse().unwrap(), home, named));
    }

    #[test]
    fn networks() {
        let ip = |text: &str| text.parse().unwrap();
        let mask = Ipv4Addr::new(255, 255, 254, 0);
        assert!(is_same_network(ip("203.0.112.1"), ip("203.0.113.9"), mask));
        assert!(!is_same_network(ip("203.0.114.1"), ip("203.0.113.9"), mask));
        assert!(!is_same_network(ip("203.0.113.1"), ip("203.0.113.9"), Ipv4Addr::UNSPECIFIED));
    }
}
