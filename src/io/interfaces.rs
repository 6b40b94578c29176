//! The addresses of this computer's interfaces.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::reach::LanAddress;

/// A machine full of containers has hundreds of interfaces; what others are told is to stay short.
const MOST: usize = 256;

/// The addresses of all interfaces that are up, sorted; without loopback's, and without the link-local ones of IPv6,
/// which mean nothing without the interface.
pub(super) fn addresses() -> io::Result<Vec<LanAddress>> {
    let mut found: Vec<LanAddress> = if_addrs::get_if_addrs()?
        .into_iter()
        .filter(|interface| interface.is_oper_up() && is_of_use(interface.ip()))
        .map(|interface| LanAddress { address: interface.ip(), interface: Arc::from(interface.name) })
        .collect();
    found.sort();
    found.dedup();
    found.truncate(MOST);
    Ok(found)
}

fn is_of_use(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(_) => false,
        // RFC 4291 section 2.5.6: fe80::/10.
        IpAddr::V6(ip) => is_unicast_link_local(ip),
    };
    !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast() && !is_link_local
}

fn is_unicast_link_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_of_use_to_others() {
        let found = addresses().unwrap();
        assert!(found.len() <= MOST && found.is_sorted());
        assert!(found.iter().all(|address| is_of_use(address.address) && !address.interface.is_empty()));
    }

    #[test]
    fn loopback_and_link_local_are_not() {
        for ip in ["127.0.0.1", "::1", "fe80::1", "febf::1", "0.0.0.0", "::", "224.0.0.1"] {
            assert!(!is_of_use(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["192.168.1.2", "169.254.1.1", "2001:db8::1", "fd00::1", "100.64.0.1"] {
            assert!(is_of_use(ip.parse().unwrap()), "{ip}");
        }
    }
}
