//! The addresses of this computer's interfaces.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;

use crate::reach::LanAddress;

/// A machine full of containers has hundreds of interfaces; what others are told is to stay short.
const MOST: usize = 256;

/// What software for containers and virtual machines calls the bridges that it makes for its own: nobody else is there.
const INNER: [&str; 10] =
    ["docker", "br-", "virbr", "veth", "cni", "flannel", "podman", "lxcbr", "lxdbr", "vboxnet"];

/// The addresses of all interfaces that are up, without loopback's, and without the link-local ones of IPv6, which mean
/// nothing without the interface. First come those from which the rest of the world is reached, last those of bridges to
/// this machine's own guests.
pub(super) fn addresses() -> io::Result<Vec<LanAddress>> {
    let mut found: Vec<LanAddress> = if_addrs::get_if_addrs()?
        .into_iter()
        .filter(|interface| interface.is_oper_up() && is_of_use(interface.ip()))
        .map(|interface| LanAddress { address: interface.ip(), interface: Arc::from(interface.name) })
        .collect();
    put_in_order(&mut found, &outward());
    found.dedup();
    found.truncate(MOST);
    Ok(found)
}

/// The address at the interface of that name; `None` where there is no such interface.
pub(crate) fn at_interface(ip: Ipv6Addr, interface: &str, port: u16) -> Option<SocketAddr> {
    // It knows the numbers of interfaces, and needs nobody for that: this is no name of the DNS.
    (format!("{ip}%{interface}").as_str(), port).to_socket_addrs().ok()?.next()
}

fn put_in_order(found: &mut [LanAddress], outward: &[IpAddr]) {
    found.sort_by_cached_key(|lan| {
        let is_inner = INNER.iter().any(|name| lan.interface.starts_with(name));
        (!outward.contains(&lan.address), is_inner, lan.clone())
    });
}

/// The addresses that the operating system chooses towards the rest of the world, where there is a way.
fn outward() -> Vec<IpAddr> {
    // Addresses of documentation (RFC 5737, RFC 3849): nothing is sent to them, they are only routed to.
    let worlds = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let chosen = |(any, world): (&str, &str)| -> io::Result<IpAddr> {
        let socket = UdpSocket::bind(any)?;
        socket.connect(world)?;
        socket.local_addr().map(|addr: SocketAddr| addr.ip())
    };
    worlds.into_iter().filter_map(|world| chosen(world).ok()).collect()
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
        assert!(found.len() <= MOST);
        assert!(found.iter().all(|address| is_of_use(address.address) && !address.interface.is_empty()));
    }

    #[test]
    fn the_way_out_comes_first_and_bridges_to_guests_last() {
        let lan = |(interface, address): (&str, &str)| LanAddress {
            interface: interface.into(),
            address: address.parse().unwrap(),
        };
        let mut found = [
            ("br-5f3c", "172.18.0.1"),
            ("docker0", "172.17.0.1"),
            ("enp2s0", "10.0.0.5"),
            ("eth0", "192.168.1.5"),
            ("eth0", "2001:db8::5"),
            ("virbr0", "192.168.122.1"),
        ]
        .map(lan);
        let order = |found: &[LanAddress]| -> Vec<String> {
            found.iter().map(|lan| lan.interface.to_string()).collect()
        };
        put_in_order(&mut found, &["192.168.1.5".parse().unwrap()]);
        assert_eq!(order(&found), ["eth0", "enp2s0", "eth0", "br-5f3c", "docker0", "virbr0"]);
        put_in_order(&mut found, &[]);
        assert_eq!(order(&found), ["enp2s0", "eth0", "eth0", "br-5f3c", "docker0", "virbr0"]);
        // Whoever has only such a way out has it.
        put_in_order(&mut found, &["172.18.0.1".parse().unwrap()]);
        assert_eq!(order(&found)[0], "br-5f3c");
    }

    #[test]
    fn interfaces_have_numbers() {
        let ip = "fe80::1".parse().unwrap();
        let some = if_addrs::get_if_addrs().unwrap().into_iter().next().unwrap();
        let Some(SocketAddr::V6(at)) = at_interface(ip, &some.name, 80) else { panic!("{some:?}") };
        assert_eq!((*at.ip(), at.port(), Some(at.scope_id())), (ip, 80, some.index));
        assert_eq!(at_interface(ip, "no such interface", 80), None);
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
