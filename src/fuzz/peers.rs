//! The address book of the p2p network, and whoever fills it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::MANY;
use crate::proto::peers::{ClosedBy, Peers, PeersConfig, Source};
use crate::random::Random;
use crate::time::Instant;

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const BOOK: usize = 20;
const SLOTS: usize = 4;

/// Whatever servers list and however dials and connections end, the book and the slots keep their limits, nobody is dialled
/// twice at a time, and nothing spins. Each four bytes are something that happens: what, to whom (two), and how.
pub fn address_book(data: &[u8]) {
    let config = PeersConfig {
        book_limit: BOOK,
        max_outbound: SLOTS,
        known_limit: 5,
        retry_first: Duration::from_millis(10),
        retry_max: Duration::from_millis(100),
        ..PeersConfig::default()
    };
    let mut peers = Peers::new(config, Random::from_seed([1; 32]));
    let own = SocketAddr::from(([203, 0, 0, 1], 4000));
    peers.set_own(&[own], &[]);
    let mut now = Instant::ZERO;
    let mut linked: Vec<SocketAddr> = Vec::new();
    for step in data.chunks_exact(4) {
        let [what, host, port, how] = *step else { continue };
        let named = SocketAddr::from(([203, 0, host / 16, host % 16], 4000 + u16::from(port % 4)));
        match what % 9 {
            0 => peers.handle_learned(named, Source::Rendezvous { newer: how % 2 == 1, server: SERVER }, now),
            1 => peers.handle_learned(
                odd(host, port, how),
                Source::Rendezvous { newer: true, server: SERVER },
                now,
            ),
            2 => peers.handle_learned(named, Source::File, now),
            3 => now = now + Duration::from_millis(u64::from(how) * 40),
            4 => end(&mut peers, &mut linked, how, now),
            5 => peers.handle_inbound_opened(named, now),
            6 => peers.handle_inbound_closed(named, now),
            7 => peers.set_own(&[own], &[named]),
            _ => peers.handle_learned(own, Source::Rendezvous { newer: false, server: SERVER }, now),
        }
        peers.handle_timeout(now);
        take_dials(&mut peers, &mut linked, own);
        assert!(linked.len() <= SLOTS && peers.wanted() <= SLOTS && peers.known().count() <= 5);
        assert!(peers.poll_timeout().is_none_or(|at| at > now), "an endless loop of timeouts");
        // Whoever may be told of the file's change is told, and nothing more than its own book is in it.
        peers.take_changed();
    }
}

fn take_dials(peers: &mut Peers, linked: &mut Vec<SocketAddr>, own: SocketAddr) {
    for _ in 0..MANY {
        let Some(address) = peers.poll_dial() else { return };
        assert!(address != own && address.port() != 0 && !linked.contains(&address), "{address}");
        linked.push(address);
    }
    panic!("an endless queue of dials");
}

/// What came of one that was dialled.
fn end(peers: &mut Peers, linked: &mut Vec<SocketAddr>, how: u8, now: Instant) {
    if linked.is_empty() {
        return;
    }
    let address = linked.swap_remove(usize::from(how) % linked.len());
    match how / 64 {
        0 => peers.handle_dial_failed(address, now),
        by => {
            peers.handle_opened(address, now);
            peers.handle_closed(address, if by == 1 { ClosedBy::Us } else { ClosedBy::Them }, now);
        }
    }
}

/// Where nobody can be, or nobody but us.
fn odd(host: u8, port: u8, how: u8) -> SocketAddr {
    let ip: IpAddr = match host % 6 {
        0 => Ipv4Addr::UNSPECIFIED.into(),
        1 => Ipv4Addr::LOCALHOST.into(),
        2 => Ipv4Addr::new(224, 0, 0, how).into(),
        3 => Ipv4Addr::new(203, 0, 0, 1).to_ipv6_mapped().into(),
        4 => SERVER,
        _ => Ipv4Addr::new(203, 0, how / 16, how % 16).to_ipv6_mapped().into(),
    };
    SocketAddr::new(ip, u16::from(port) * 257)
}
