//! By which addresses clients may have dialled this server, other than those at which it sees them arrive: those of a
//! one-to-one NAT or a forwarded port in front of it.
//!
//! A proof names the server as it was dialled, and is good nowhere else: so no server can show at another what it was shown
//! itself. A server that took any address for its own would undo that, and it can not find out by itself what stands in
//! front of it: whoever forwards connections to it looks from here as a NAT does. What it may learn from proofs is therefore
//! limited to this:
//!
//! 1. whoever runs it has given no address, and it sees clients arrive at one that is not public: a server that has a
//!    public address learns nothing;
//! 2. the dialled address is public;
//! 3. within a day, clients in three networks (IPv4 /16, IPv6 /32), their own addresses public and none of them in
//!    the network of what they have dialled, have shown good proofs that name it;
//! 4. of such addresses there are four at most, and none is ever given up for another.
//!
//! One client, one address or one network can not talk it into anything. Who has three can, and what that gives is to
//! take the signals of nodes that meet an evil server, at this one, while they are not connected here themselves. Who does
//! not want that says the address (`--public-address`), and then nothing is learned.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::ids::ClientId;
use crate::address::{canonical, is_public_address};
use crate::time::Instant;

const NETWORKS: usize = 3;
const DAY: Duration = Duration::from_secs(24 * 3600);
const LEARNED: usize = 4;

/// Addresses that some clients have named; more are not looked at until those are forgotten.
const CANDIDATES: usize = 16;

/// Clients that have named one and were denied.
const DENIED: usize = 64;

/// What came of a good proof that names an unknown address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// It can not be, or is not to be learned.
    Foreign,
    /// So many networks have named it, of so many that it takes.
    Candidate { networks: usize, needed: usize },
    /// From now on it is taken for this server's own. Those who were denied may come again.
    Learned { denied: Vec<ClientId> },
}

#[derive(Debug)]
pub(super) struct OwnAddresses {
    public: Vec<SocketAddr>,
    learns: bool,
    learned: Vec<SocketAddr>,
    candidates: BTreeMap<SocketAddr, Candidate>,
}

#[derive(Debug, Default)]
struct Candidate {
    /// The networks of those who have named it, and when they did so last.
    networks: BTreeMap<IpAddr, Instant>,
    denied: Vec<ClientId>,
}

impl OwnAddresses {
    pub(super) fn new(public: Vec<SocketAddr>, learns: bool) -> Self {
        let learns = learns && public.is_empty();
        Self { public, learns, learned: Vec::new(), candidates: BTreeMap::new() }
    }

    pub(super) fn set_public(&mut self, public: Vec<SocketAddr>) {
        *self = Self::new(public, self.learns);
    }

    /// Whether this is known as the server's own, whoever has dialled it.
    pub(super) fn knows(&self, dialled: SocketAddr) -> bool {
        let dialled = canonical(dialled);
        self.public.iter().chain(&self.learned).any(|own| canonical(*own) == dialled)
    }

    /// A client at `from`, which arrived at `local`, has shown a good proof that it has dialled an address that is not
    /// known.
    pub(super) fn handle_named(
        &mut self,
        dialled: SocketAddr,
        (client, from): (ClientId, IpAddr),
        local: IpAddr,
        now: Instant,
    ) -> Named {
        let dialled = canonical(dialled);
        let home = network(from);
        let possible = self.learns
            && is_public_address(dialled.ip())
            && is_public_address(from)
            && !is_public_address(local)
            && home != network(dialled.ip());
        self.candidates.retain(|_, candidate| {
            candidate.networks.retain(|_, since| *since + DAY > now);
            !candidate.networks.is_empty()
        });
        let room = self.candidates.len() < CANDIDATES || self.candidates.contains_key(&dialled);
        if !possible || !room || self.learned.len() >= LEARNED {
            return Named::Foreign;
        }
        let candidate = self.candidates.entry(dialled).or_default();
        candidate.networks.insert(home, now);
        let networks = candidate.networks.len();
        if networks < NETWORKS {
            if candidate.denied.len() < DENIED {
                candidate.denied.push(client);
            }
            return Named::Candidate { networks, needed: NETWORKS };
        }
        self.learned.push(dialled);
        let denied = self.candidates.remove(&dialled).map(|candidate| candidate.denied);
        Named::Learned { denied: denied.unwrap_or_default() }
    }
}

/// About what one provider has at a place: far more than one customer of his.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::from(std::net::Ipv4Addr::from_bits(ip.to_bits() >> 16 << 16)),
        IpAddr::V6(ip) => IpAddr::from(std::net::Ipv6Addr::from_bits(ip.to_bits() >> 96 << 96)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: [u8; 4] = [10, 0, 0, 5];

    fn at(hours: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(3600 * hours)
    }

    fn name(own: &mut OwnAddresses, dialled: &str, from: &str, hours: u64) -> Named {
        let who = (ClientId(from.len() as u64), from.parse().unwrap());
        own.handle_named(dialled.parse().unwrap(), who, LOCAL.into(), at(hours))
    }

    fn candidate(networks: usize) -> Named {
        Named::Candidate { networks, needed: 3 }
    }

    #[test]
    fn three_networks_within_a_day_teach_an_address() {
        let mut own = OwnAddresses::new(Vec::new(), true);
        let dialled = "11.0.0.1:8000";
        assert_eq!(name(&mut own, dialled, "12.0.0.1", 0), candidate(1));
        assert_eq!(name(&mut own, dialled, "12.0.9.9", 0), candidate(1), "of the same network");
        assert_eq!(name(&mut own, dialled, "13.0.0.1", 1), candidate(2));
        assert_eq!(name(&mut own, dialled, "14.0.0.1", 24), candidate(2), "the first was a day ago");
        assert!(!own.knows(dialled.parse().unwrap()));
        let Named::Learned { denied } = name(&mut own, dialled, "15.0.0.1", 24) else {
            panic!("not learned")
        };
        assert!(own.knows(dialled.parse().unwrap()) && !own.knows("11.0.0.1:8001".parse().unwrap()));
        assert_eq!(denied.len(), 4);
        assert!(own.candidates.is_empty());
    }

    #[test]
    fn what_can_not_be_is_not_learned() {
        let mut own = OwnAddresses::new(Vec::new(), true);
        for (dialled, from) in [
            ("11.0.0.1:8000", "11.0.77.1"),
            ("192.168.0.1:8000", "12.0.0.1"),
            ("127.0.0.1:8000", "12.0.0.1"),
            ("11.0.0.1:8000", "192.168.0.7"),
        ] {
            assert_eq!(name(&mut own, dialled, from, 0), Named::Foreign, "{dialled} {from}");
        }
        let with_public_address = own.handle_named(
            "11.0.0.1:1".parse().unwrap(),
            (ClientId(1), [12, 0, 0, 1].into()),
            [11, 0, 0, 9].into(),
            at(0),
        );
        assert_eq!(with_public_address, Named::Foreign);
        let mut told = OwnAddresses::new(vec!["11.0.0.2:8000".parse().unwrap()], true);
        assert_eq!(name(&mut told, "11.0.0.1:8000", "12.0.0.1", 0), Named::Foreign);
        assert!(told.knows("[::ffff:11.0.0.2]:8000".parse().unwrap()));
    }

    #[test]
    fn a_crowd_teaches_four_at_most_and_is_not_remembered_without_limit() {
        let mut own = OwnAddresses::new(Vec::new(), true);
        for dialled in 0..100u8 {
            for network in 1..=100u8 {
                name(
                    &mut own,
                    &format!("11.0.0.1:{}", 1 + u16::from(dialled)),
                    &format!("12.{network}.0.1"),
                    0,
                );
                assert!(own.candidates.len() <= CANDIDATES && own.learned.len() <= LEARNED);
            }
        }
        let mut own = OwnAddresses::new(Vec::new(), true);
        for host in 0..200 {
            name(&mut own, "11.0.0.1:1", &format!("12.0.0.{host}"), 0);
            name(&mut own, &format!("11.0.0.1:{}", 2 + host), "12.0.0.1", 0);
        }
        assert!(own.candidates.len() <= CANDIDATES);
        assert!(own.candidates.values().all(|candidate| candidate.denied.len() <= DENIED));
    }
}
