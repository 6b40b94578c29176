//! Who has which address in which network, the ways between them, and where a packet goes.
//!
//! All of it is a tree: the middle of the internet, around it computers and routers, and around a router whatever is
//! behind it. The way between two of them goes up the one branch and down the other, and takes the time of its edges.

use std::collections::BTreeMap;
use std::iter::successors;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::computers::{Computer, ComputerId};
use super::routers::{Passage, Router, RouterId};
use crate::sim::nat::Flow;
use crate::time::Instant;

/// Between two programs of one computer.
const LOOPBACK_DELAY: Duration = Duration::from_micros(50);

/// Who has an address in a network: a computer, or a router with its outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Computer(ComputerId),
    Router(RouterId),
}

/// An address realm (RFC 2663 section 2.1): the network behind a router, or `None`: the internet.
pub(super) type Realm = Option<RouterId>;

/// What becomes of a packet that a computer sends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Departure {
    /// Where it arrives, and whom that place sees as the source; `None` where it is lost on the way.
    pub(super) arrival: Option<(Place, SocketAddr)>,
    /// The routers that it went through.
    pub(super) passages: Vec<Passage>,
    /// Those of them for which the connection is new.
    pub(super) sessions: Vec<(RouterId, Flow)>,
}

/// What comes in through a router.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Who has that address inside, if anybody has.
    pub(super) at: Option<Place>,
    pub(super) to: SocketAddr,
    /// Without a session it is a forwarded port, which is open for good.
    pub(super) passage: Option<Passage>,
}

#[derive(Debug, Default)]
pub(super) struct Topology {
    computers: Vec<Computer>,
    routers: Vec<Router>,
    places: BTreeMap<(Realm, IpAddr), Place>,
    /// What packets from the one computer to the other take in addition.
    detours: BTreeMap<(ComputerId, ComputerId), Duration>,
}

/// Who is where.
impl Topology {
    pub(super) fn add_computer(&mut self, computer: Computer) -> ComputerId {
        let id = ComputerId(self.computers.len());
        for &ip in &computer.ips {
            self.settle(computer.realm, ip, Place::Computer(id));
        }
        self.computers.push(computer);
        id
    }

    pub(super) fn add_router(&mut self, router: Router) -> RouterId {
        let id = RouterId(self.routers.len());
        self.settle(router.realm, router.ip, Place::Router(id));
        self.routers.push(router);
        id
    }

    pub(super) fn computer(&self, id: ComputerId) -> &Computer {
        &self.computers[id.0]
    }

    pub(super) fn computer_mut(&mut self, id: ComputerId) -> &mut Computer {
        &mut self.computers[id.0]
    }

    pub(super) fn router(&self, id: RouterId) -> &Router {
        &self.routers[id.0]
    }

    pub(super) fn router_mut(&mut self, id: RouterId) -> &mut Router {
        &mut self.routers[id.0]
    }

    /// Gives a computer these addresses in place of those that it has.
    pub(super) fn readdress(&mut self, id: ComputerId, ips: &[IpAddr]) {
        let realm = self.computers[id.0].realm;
        self.places.retain(|_, at| *at != Place::Computer(id));
        for &ip in ips {
            self.settle(realm, ip, Place::Computer(id));
        }
        self.computers[id.0].ips = ips.to_vec();
    }

    fn settle(&mut self, realm: Realm, ip: IpAddr, place: Place) {
        assert!(self.places.insert((realm, ip), place).is_none(), "{ip} is taken");
    }
}

/// Ways, and the time that they take.
impl Topology {
    /// Packets from the one to the other take so much longer from now on.
    pub(super) fn set_detour(&mut self, from: ComputerId, to: ComputerId, extra: Duration) {
        self.detours.insert((from, to), extra);
    }

    pub(super) fn delay(&self, from: ComputerId, to: ComputerId) -> Duration {
        self.way(Place::Computer(from), Place::Computer(to))
    }

    pub(super) fn way(&self, from: Place, to: Place) -> Duration {
        if let Place::Computer(_) = from
            && from == to
        {
            return LOOPBACK_DELAY;
        }
        let met = self.upward(from).find_map(|(node, up)| {
            let (_, down) = self.upward(to).find(|&(other, _)| other == node)?;
            Some(up + down)
        });
        // All meet in the middle of the internet.
        met.unwrap_or_default() + self.detour(from, to)
    }

    /// The time that so many bytes take on the narrower of the two lines.
    pub(super) fn sending_time(&self, from: ComputerId, to: ComputerId, bytes: usize) -> Duration {
        let rates = [from, to].map(|id| self.computers[id.0].bandwidth);
        let rate = rates.into_iter().flatten().min().filter(|_| from != to);
        Duration::from_nanos(rate.map_or(0, |rate| bytes as u64 * 1_000_000_000 / rate.max(1)))
    }

    /// Both have power, and no partition is between them.
    pub(super) fn is_reachable(&self, from: ComputerId, to: ComputerId) -> bool {
        let (a, b) = (&self.computers[from.0], &self.computers[to.0]);
        a.is_up && b.is_up && (from == to || a.side == b.side)
    }

    /// A detour to a computer begins before its router: who is delayed comes late to the filter, too.
    fn detour(&self, from: Place, to: Place) -> Duration {
        let detours = self.detours.iter();
        let of = |&(&(a, b), _): &(&(ComputerId, ComputerId), &Duration)| {
            self.is_within(a, from) && self.is_within(b, to)
        };
        detours.filter(of).map(|(_, &extra)| extra).max().unwrap_or_default()
    }

    /// It is this computer, or behind this router.
    fn is_within(&self, computer: ComputerId, place: Place) -> bool {
        self.upward(Place::Computer(computer)).any(|(node, _)| node == Some(place))
    }

    /// The place, the routers before it, and the middle of the internet (`None`), with the way there.
    fn upward(&self, from: Place) -> impl Iterator<Item = (Option<Place>, Duration)> {
        successors(Some((Some(from), Duration::ZERO)), |&(node, way)| {
            let (realm, edge) = match node? {
                Place::Computer(id) => (self.computers[id.0].realm, self.computers[id.0].delay),
                Place::Router(id) => (self.routers[id.0].realm, self.routers[id.0].delay),
            };
            Some((realm.map(Place::Router), way + edge))
        })
    }
}

/// Where packets go, and what routers make of them.
impl Topology {
    /// What a computer sends goes out through the routers before it, up to the network that has its destination.
    ///
    /// A router acts when something is sent and not half a millisecond later: it stands beside its computers.
    pub(super) fn leave(
        &mut self,
        from: ComputerId,
        source: SocketAddr,
        to: SocketAddr,
        now: Instant,
    ) -> Departure {
        let mut departure = Departure::default();
        departure.arrival = if to.ip().is_loopback() {
            Some((Place::Computer(from), source))
        } else {
            self.go_out(from, source, to, now, &mut departure)
        };
        departure
    }

    fn go_out(
        &mut self,
        from: ComputerId,
        mut source: SocketAddr,
        to: SocketAddr,
        now: Instant,
        departure: &mut Departure,
    ) -> Option<(Place, SocketAddr)> {
        let mut realm = self.computers[from.0].realm;
        let target = self.target(realm, to.ip())?;
        if let Place::Router(router) = target
            && self.is_within(from, target)
            && !self.routers[router.0].nat.hairpin
        {
            return None;
        }
        while self.places.get(&(realm, to.ip())) != Some(&target) {
            let id = realm?;
            let router = &mut self.routers[id.0];
            let flow = Flow { inner: source, remote: to };
            let (port, is_new) = router.leave(flow, now)?;
            departure.passages.push(Passage { router: id, flow, port });
            departure.sessions.extend(is_new.then_some((id, flow)));
            source = SocketAddr::new(router.ip, port);
            realm = router.realm;
        }
        Some((target, source))
    }

    /// Who has the address in this network, or in one that it is behind.
    fn target(&self, realm: Realm, ip: IpAddr) -> Option<Place> {
        let outward = successors(Some(realm), |realm| realm.map(|router| self.routers[router.0].realm));
        outward.filter_map(|realm| self.places.get(&(realm, ip))).next().copied()
    }

    /// Where inside a SYN to a port of a router's outside is for, if it may come in.
    pub(super) fn enter(
        &mut self,
        id: RouterId,
        source: SocketAddr,
        port: u16,
        now: Instant,
    ) -> Option<Entry> {
        let nat = &mut self.routers[id.0].nat;
        let to = nat.enter(port, source, now)?;
        let flow = Flow { inner: to, remote: source };
        let passage = (nat.port_of(flow) == Some(port)).then_some(Passage { router: id, flow, port });
        let at = self.places.get(&(Some(id), to.ip())).copied();
        Some(Entry { at, to, passage })
    }

    /// Something goes through routers, and keeps their memory fresh.
    pub(super) fn touch(&mut self, passages: &[Passage], now: Instant) {
        for passage in passages {
            self.routers[passage.router.0].nat.touch(passage.flow, now);
        }
    }

    pub(super) fn is_forgotten(&self, passage: &Passage) -> bool {
        self.routers[passage.router.0].nat.port_of(passage.flow) != Some(passage.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::sim::nat::{Filter, Nat, NatBox};

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn computer(realm: Realm, ip: &str) -> Computer {
        Computer::new(realm, &[ip.parse().unwrap()], millis(10), 40_000)
    }

    /// A server at the internet, and two computers behind a router.
    fn town() -> (Topology, RouterId, [ComputerId; 3]) {
        let mut topology = Topology::default();
        let nat = NatBox::new(Nat::Preserving, Filter::Drop, Random::from_number(1));
        let ip = "203.0.113.1".parse().unwrap();
        let router = topology.add_router(Router { ip, realm: None, delay: millis(5), nat });
        let computers = [(None, "198.51.100.1"), (Some(router), "10.0.0.2"), (Some(router), "10.0.0.3")];
        let computers = computers.map(|(realm, ip)| topology.add_computer(computer(realm, ip)));
        (topology, router, computers)
    }

    #[test]
    fn a_way_goes_up_the_one_branch_and_down_the_other() {
        let (mut topology, router, [server, one, two]) = town();
        assert_eq!(topology.delay(one, server), millis(25));
        assert_eq!(topology.delay(one, two), millis(20), "by the router only");
        assert_eq!(topology.delay(one, one), LOOPBACK_DELAY);
        assert_eq!(topology.way(Place::Router(router), Place::Computer(one)), millis(10));
        topology.set_detour(server, one, millis(100));
        assert_eq!((topology.delay(server, one), topology.delay(one, server)), (millis(125), millis(25)));
        assert_eq!(topology.way(Place::Computer(server), Place::Router(router)), millis(115));
    }

    #[test]
    fn the_narrower_line_counts_between_two_computers() {
        let (mut topology, _, [server, one, _]) = town();
        assert_eq!(topology.sending_time(one, server, 1000), Duration::ZERO);
        topology.computer_mut(server).bandwidth = Some(1000);
        topology.computer_mut(one).bandwidth = Some(10_000);
        assert_eq!(topology.sending_time(one, server, 1000), Duration::from_secs(1));
        assert_eq!(topology.sending_time(one, one, 1000), Duration::ZERO);
    }

    #[test]
    fn what_goes_out_is_translated_and_its_answer_comes_in_until_it_is_forgotten() {
        let (mut topology, router, [server, one, two]) = town();
        let now = Instant::ZERO;
        let out = topology.leave(one, at("10.0.0.2:4000"), at("198.51.100.1:80"), now);
        assert_eq!(out.arrival, Some((Place::Computer(server), at("203.0.113.1:4000"))));
        let passage = out.passages[0];
        assert_eq!((out.passages.len(), out.sessions), (1, vec![(router, passage.flow)]));
        let again = topology.leave(one, at("10.0.0.2:4000"), at("198.51.100.1:80"), now);
        assert_eq!((again.passages, again.sessions), (vec![passage], vec![]));
        let entry = topology.enter(router, at("198.51.100.1:80"), 4000, now).unwrap();
        assert_eq!((entry.at, entry.to), (Some(Place::Computer(one)), at("10.0.0.2:4000")));
        assert_eq!(entry.passage, Some(passage));
        assert_eq!(topology.enter(router, at("198.51.100.1:81"), 4000, now), None, "it was not asked for");
        assert!(!topology.is_forgotten(&passage));
        topology.router_mut(router).nat.forget(passage.flow);
        assert!(topology.is_forgotten(&passage));
        let inside = topology.leave(one, at("10.0.0.2:4000"), at("10.0.0.3:80"), now);
        assert_eq!(inside.arrival, Some((Place::Computer(two), at("10.0.0.2:4000"))));
        assert!(inside.passages.is_empty());
    }

    #[test]
    fn packets_to_nobody_and_to_the_own_outside_are_lost_and_loopback_stays() {
        let (mut topology, router, [_, one, _]) = town();
        let from = at("10.0.0.2:4000");
        for to in ["192.0.2.9:80", "203.0.113.1:80", "10.0.0.9:80"] {
            assert_eq!(topology.leave(one, from, at(to), Instant::ZERO), Departure::default());
        }
        topology.router_mut(router).nat.hairpin = true;
        let hairpin = topology.leave(one, from, at("203.0.113.1:80"), Instant::ZERO);
        assert_eq!(hairpin.arrival, Some((Place::Router(router), at("203.0.113.1:4000"))));
        let here = topology.leave(one, at("127.0.0.1:4000"), at("127.0.0.1:80"), Instant::ZERO);
        assert_eq!(here.arrival, Some((Place::Computer(one), at("127.0.0.1:4000"))));
    }
}
