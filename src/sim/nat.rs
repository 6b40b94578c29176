//! What a router does to connections: it gives those from inside an address of its own, and lets in nothing but what
//! belongs to them.
//!
//! Mappings are those of pyp2p's four kinds; filtering is address- and port-dependent (RFC 4787 section 5, and RFC 5382
//! section 4.3 for TCP), which is the strictest there is: what gets in here gets in elsewhere. A connection's end frees
//! nothing; only idleness does, where a test wants it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::random::Random;
use crate::time::Instant;

/// The external ports that a router gives out.
const PORTS: RangeInclusive<u16> = 1024..=u16::MAX;

/// How a router chooses the external port of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nat {
    /// The internal one while it is free, otherwise the next that is; the same towards everybody.
    Preserving,
    /// A random one, the same towards everybody (endpoint-independent mapping, RFC 4787 section 4.1).
    Reuse,
    /// A new one for each internal port and destination: this far from the last one.
    Delta(i32),
    /// A new one for each internal port and destination, at random.
    Random,
}

/// What becomes of a SYN that nobody inside asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Drop,
    /// A rule of the firewall answers with a RST.
    Reject,
    /// There is no rule. It is for the router itself then, and as nothing listens there, its TCP answers with a RST.
    Open,
}

impl Filter {
    pub(super) fn is_silent(self) -> bool {
        self == Self::Drop
    }
}

/// The two ends of a connection as the inside of a router knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Flow {
    pub(super) inner: SocketAddr,
    pub(super) remote: SocketAddr,
}

#[derive(Debug)]
struct Session {
    /// The external port.
    port: u16,
    used: Instant,
}

/// A router's translation and filter.
#[derive(Debug)]
pub(super) struct NatBox {
    nat: Nat,
    pub(super) filter: Filter,
    /// Whether its inside can use its external addresses (RFC 5382 section 7.2).
    pub(super) hairpin: bool,
    /// Sessions that were idle for so long are forgotten.
    pub(super) expiry: Option<Duration>,
    sessions: BTreeMap<Flow, Session>,
    /// Whose session it is, by external port and remote end.
    inbound: BTreeMap<(u16, SocketAddr), SocketAddr>,
    forwards: BTreeMap<u16, SocketAddr>,
    /// External ports of traffic that is not simulated.
    foreign: BTreeSet<u16>,
    last: u16,
    random: Random,
}

impl NatBox {
    pub(super) fn new(nat: Nat, filter: Filter, mut random: Random) -> Self {
        let last = random_port(&mut random);
        Self {
            nat,
            filter,
            hairpin: false,
            expiry: None,
            sessions: BTreeMap::new(),
            inbound: BTreeMap::new(),
            forwards: BTreeMap::new(),
            foreign: BTreeSet::new(),
            last,
            random,
        }
    }

    /// Something goes out: its external port, or `None` when there is none left.
    pub(super) fn leave(&mut self, flow: Flow, now: Instant) -> Option<u16> {
        if self.port_of(flow).is_none() {
            let port = self.mapped(flow.inner).or_else(|| self.choose(Some(flow.inner)))?;
            self.inbound.insert((port, flow.remote), flow.inner);
            self.sessions.insert(flow, Session { port, used: now });
        }
        self.touch(flow, now);
        self.port_of(flow)
    }

    /// A SYN comes in: for whom it is inside.
    pub(super) fn enter(&mut self, port: u16, remote: SocketAddr, now: Instant) -> Option<SocketAddr> {
        let asked_for = self.inbound.get(&(port, remote)).copied();
        if let Some(inner) = asked_for {
            self.touch(Flow { inner, remote }, now);
        }
        asked_for.or_else(|| self.forwards.get(&port).copied())
    }

    /// The external port of a session that it still knows.
    pub(super) fn port_of(&self, flow: Flow) -> Option<u16> {
        self.sessions.get(&flow).map(|session| session.port)
    }

    /// Something went through.
    pub(super) fn touch(&mut self, flow: Flow, now: Instant) {
        if let Some(session) = self.sessions.get_mut(&flow) {
            session.used = session.used.max(now);
        }
    }

    /// When the session is forgotten, unless something goes through before.
    pub(super) fn expires_at(&self, flow: Flow) -> Option<Instant> {
        Some(self.sessions.get(&flow)?.used + self.expiry?)
    }

    pub(super) fn forget(&mut self, flow: Flow) {
        if let Some(session) = self.sessions.remove(&flow) {
            self.inbound.remove(&(session.port, flow.remote));
        }
    }

    pub(super) fn flows(&self) -> Vec<Flow> {
        self.sessions.keys().copied().collect()
    }

    /// Whoever comes to an external port is let in, to there.
    pub(super) fn forward(&mut self, port: u16, inner: SocketAddr) {
        self.forwards.insert(port, inner);
    }

    /// Other traffic takes so many ports.
    pub(super) fn take_ports(&mut self, count: usize) {
        for _ in 0..count {
            let port = self.choose(None);
            self.foreign.extend(port);
        }
    }
}

/// The choice of ports.
impl NatBox {
    /// The port that an inner one has already, towards whomever, where that matters.
    fn mapped(&self, inner: SocketAddr) -> Option<u16> {
        let lowest = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let mut later = self.sessions.range(Flow { inner, remote: lowest }..);
        let independent = matches!(self.nat, Nat::Preserving | Nat::Reuse);
        let (_, session) = later.next().filter(|(flow, _)| independent && flow.inner == inner)?;
        Some(session.port)
    }

    /// A free port for an inner one, or for traffic from elsewhere.
    fn choose(&mut self, inner: Option<SocketAddr>) -> Option<u16> {
        let mut port = match (self.nat, inner) {
            (Nat::Preserving, Some(inner)) if PORTS.contains(&inner.port()) => inner.port(),
            (Nat::Delta(step), _) => moved(self.last, step),
            _ => random_port(&mut self.random),
        };
        for _ in PORTS {
            if self.is_free(port, inner) {
                self.last = port;
                return Some(port);
            }
            port = match self.nat {
                Nat::Delta(step) => moved(port, step),
                _ => moved(port, 1),
            };
        }
        None
    }

    /// A forwarded port is free for whom it is forwarded to.
    fn is_free(&self, port: u16, inner: Option<SocketAddr>) -> bool {
        let lowest = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let mut later = self.inbound.range((port, lowest)..);
        let in_use = later.next().is_some_and(|((used, _), _)| *used == port);
        let forwarded = self.forwards.get(&port).is_some_and(|&to| Some(to) != inner);
        !in_use && !forwarded && !self.foreign.contains(&port)
    }
}

fn random_port(random: &mut Random) -> u16 {
    // Below the number of ports, of which there are fewer than 2^16.
    PORTS.start() + random.below(PORTS.len()) as u16
}

/// Round and round the range.
fn moved(port: u16, by: i32) -> u16 {
    let place = i32::from(port) - i32::from(*PORTS.start()) + by;
    PORTS.start() + place.rem_euclid(PORTS.len() as i32) as u16
}
