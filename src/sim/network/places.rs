//! Computers and routers, the networks in which they have addresses, and the ways between them.
//!
//! All of it is a tree: the middle of the internet, around it computers and routers, and around a router whatever is
//! behind it. The way between two of them goes up the one branch and down the other, and takes the time of its edges.

use std::iter::successors;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Computer, ComputerId, EndId, Happening, LOOPBACK_DELAY, Network, RETRANSMIT, State, WINDOW};
use crate::random::Random;
use crate::sim::nat::{Filter, Flow, Nat, NatBox};

/// From a computer to its router: between two of a house it is a millisecond.
const HOME_DELAY: Duration = Duration::from_micros(500);

/// From a router to its provider's.
const CARRIER_DELAY: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sim) struct RouterId(usize);

/// Who has an address in a network: a computer, or a router with its outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Computer(ComputerId),
    Router(RouterId),
}

/// An address realm (RFC 2663 section 2.1): the network behind a router, or `None`: the internet.
pub(super) type Realm = Option<RouterId>;

#[derive(Debug)]
pub(in crate::sim) struct Router {
    ip: IpAddr,
    realm: Realm,
    /// From here to the middle of the internet, or to the router that it is behind.
    pub(in crate::sim) delay: Duration,
    pub(in crate::sim) nat: NatBox,
}

/// A connection has been translated by a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) router: RouterId,
    pub(super) flow: Flow,
    /// The external port.
    pub(super) port: u16,
}

/// Computers.
impl Network {
    pub(in crate::sim) fn computer(&mut self, ips: &[IpAddr]) -> ComputerId {
        let delay = self.far();
        self.computer_in(None, ips, delay)
    }

    pub(in crate::sim) fn computer_behind(&mut self, router: RouterId, ips: &[IpAddr]) -> ComputerId {
        self.computer_in(Some(router), ips, HOME_DELAY)
    }

    fn computer_in(&mut self, realm: Realm, ips: &[IpAddr], delay: Duration) -> ComputerId {
        let id = ComputerId(self.computers.len());
        for &ip in ips {
            self.settle(realm, ip, Place::Computer(id));
        }
        let next_port = 32_768 + self.random.below(20_000) as u16;
        self.computers.push(Computer {
            realm,
            ips: ips.to_vec(),
            delay,
            bandwidth: None,
            window: WINDOW,
            is_up: true,
            is_closed: false,
            side: 0,
            next_port,
        });
        id
    }

    pub(in crate::sim) fn computer_mut(&mut self, id: ComputerId) -> &mut Computer {
        &mut self.computers[id.0]
    }

    /// Its first address.
    pub(in crate::sim) fn address(&self, id: ComputerId) -> IpAddr {
        self.computers[id.0].ips[0]
    }

    /// Puts a computer on a side of a partition.
    pub(in crate::sim) fn set_side(&mut self, id: ComputerId, side: u32) {
        self.computers[id.0].side = side;
        self.review_paths();
    }

    /// It loses its power, or has it again. Without it the programs on it are no more; nobody is told.
    pub(in crate::sim) fn set_power(&mut self, id: ComputerId, is_up: bool) {
        self.computers[id.0].is_up = is_up;
        if !is_up {
            self.listeners.retain(|listener| listener.computer != id);
            let lost: Vec<usize> = (0..self.ends.len()).filter(|&at| self.ends[at].computer == id).collect();
            for at in lost {
                self.retire(EndId(at));
                if let Some(EndId(other)) = self.ends[at].other {
                    self.ends[other].held.clear();
                }
            }
        }
        self.review_paths();
    }

    /// It comes into another network: what was connected by the addresses that it loses stays so, in silence.
    pub(in crate::sim) fn set_ips(&mut self, id: ComputerId, ips: &[IpAddr]) {
        let realm = self.computers[id.0].realm;
        self.places.retain(|_, at| *at != Place::Computer(id));
        for &ip in ips {
            self.settle(realm, ip, Place::Computer(id));
        }
        self.computers[id.0].ips = ips.to_vec();
        self.review_paths();
    }

    fn settle(&mut self, realm: Realm, ip: IpAddr, place: Place) {
        assert!(self.places.insert((realm, ip), place).is_none(), "{ip} is taken");
    }

    /// From the edge of the internet to its middle.
    fn far(&mut self) -> Duration {
        Duration::from_micros(5_000 + self.random.below(55_000) as u64)
    }
}

/// Routers.
impl Network {
    /// A router at the internet, or behind another router.
    pub(in crate::sim) fn router(
        &mut self,
        carrier: Option<RouterId>,
        ip: IpAddr,
        nat: Nat,
        filter: Filter,
    ) -> RouterId {
        let id = RouterId(self.routers.len());
        self.settle(carrier, ip, Place::Router(id));
        let delay = if carrier.is_some() { CARRIER_DELAY } else { self.far() };
        let random: Random = self.random.fork();
        self.routers.push(Router { ip, realm: carrier, delay, nat: NatBox::new(nat, filter, random) });
        id
    }

    pub(in crate::sim) fn router_mut(&mut self, id: RouterId) -> &mut Router {
        &mut self.routers[id.0]
    }

    /// Connections that were idle for so long fall silent.
    pub(in crate::sim) fn set_expiry(&mut self, router: RouterId, after: Duration) {
        let nat = &mut self.routers[router.0].nat;
        nat.expiry = Some(after);
        for flow in nat.flows() {
            self.plan_expiry(router, flow);
        }
    }

    fn plan_expiry(&mut self, router: RouterId, flow: Flow) {
        if let Some(at) = self.routers[router.0].nat.expires_at(flow) {
            self.plan(at, Happening::Expiry { router, flow });
        }
    }

    pub(super) fn expire(&mut self, router: RouterId, flow: Flow) {
        let nat = &mut self.routers[router.0].nat;
        match nat.expires_at(flow) {
            Some(at) if at <= self.now => {
                nat.forget(flow);
                self.review_paths();
            }
            // It was used meanwhile.
            _ => self.plan_expiry(router, flow),
        }
    }

    /// What a computer sends goes out through the routers before it, up to the network that has its destination.
    /// Which place that is, and whom it sees as the source; `None` where it is lost on the way.
    ///
    /// A router acts when something is sent and not half a millisecond later: it stands beside its computers.
    pub(super) fn leave(
        &mut self,
        from: ComputerId,
        mut source: SocketAddr,
        to: SocketAddr,
        passages: &mut Vec<Passage>,
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
            source = self.translate(id, Flow { inner: source, remote: to }, passages)?;
            realm = self.routers[id.0].realm;
        }
        Some((target, source))
    }

    /// Who has the address in this network, or in one that it is behind.
    fn target(&self, realm: Realm, ip: IpAddr) -> Option<Place> {
        let outward = successors(Some(realm), |realm| realm.map(|router| self.routers[router.0].realm));
        outward.filter_map(|realm| self.places.get(&(realm, ip))).next().copied()
    }

    fn translate(&mut self, id: RouterId, flow: Flow, passages: &mut Vec<Passage>) -> Option<SocketAddr> {
        let now = self.now;
        let router = &mut self.routers[id.0];
        if router.ip.is_ipv4() != flow.remote.is_ipv4() {
            return None;
        }
        let ip = router.ip;
        let is_new = router.nat.port_of(flow).is_none();
        let port = router.nat.leave(flow, now)?;
        passages.push(Passage { router: id, flow, port });
        if is_new {
            self.plan_expiry(id, flow);
        }
        Some(SocketAddr::new(ip, port))
    }

    /// Where inside a SYN to a router's outside is for, if it may come in.
    pub(super) fn enter(
        &mut self,
        id: RouterId,
        source: SocketAddr,
        port: u16,
        passages: &mut Vec<Passage>,
    ) -> Option<SocketAddr> {
        let now = self.now;
        let nat = &mut self.routers[id.0].nat;
        let inner = nat.enter(port, source, now)?;
        let flow = Flow { inner, remote: source };
        // Without a session it is a forwarded port, which is open for good.
        if nat.port_of(flow) == Some(port) {
            passages.push(Passage { router: id, flow, port });
        }
        Some(inner)
    }

    pub(super) fn is_behind(&self, router: RouterId, ip: IpAddr) -> Option<Place> {
        self.places.get(&(Some(router), ip)).copied()
    }

    /// Something goes through routers, and keeps their memory fresh.
    pub(super) fn touch(&mut self, id: EndId) {
        for at in 0..self.ends[id.0].passages.len() {
            let Passage { router, flow, .. } = self.ends[id.0].passages[at];
            self.routers[router.0].nat.touch(flow, self.now);
        }
    }
}

/// Ways.
impl Network {
    /// Packets from the one to the other take so much longer from now on.
    pub(in crate::sim) fn delay_between(&mut self, from: ComputerId, to: ComputerId, extra: Duration) {
        self.detours.insert((from, to), extra);
    }

    pub(super) fn delay(&self, from: ComputerId, to: ComputerId) -> Duration {
        if from == to { LOOPBACK_DELAY } else { self.way(Place::Computer(from), Place::Computer(to)) }
    }

    pub(super) fn way(&self, from: Place, to: Place) -> Duration {
        let met = self.upward(from).find_map(|(node, up)| {
            let (_, down) = self.upward(to).find(|&(other, _)| other == node)?;
            Some(up + down)
        });
        // All meet in the middle of the internet.
        met.unwrap_or_default() + self.detour(from, to)
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

    pub(super) fn is_reachable(&self, from: ComputerId, to: ComputerId) -> bool {
        let (a, b) = (&self.computers[from.0], &self.computers[to.0]);
        a.is_up && b.is_up && (from == to || a.side == b.side)
    }

    /// Its local address is no more.
    pub(super) fn is_stranded(&self, id: EndId) -> bool {
        let end = &self.ends[id.0];
        let ip = end.local.ip();
        !ip.is_loopback() && !self.computers[end.computer.0].ips.contains(&ip)
    }

    /// A packet to this end is lost on its way, whatever becomes of the power: there is a partition, one of the two ends
    /// has moved, or a router has forgotten them.
    pub(super) fn is_cut(&self, id: EndId) -> bool {
        let end = &self.ends[id.0];
        let side = |id: EndId| self.computers[self.ends[id.0].computer.0].side;
        let forgotten = |passage: &Passage| {
            self.routers[passage.router.0].nat.port_of(passage.flow) != Some(passage.port)
        };
        self.is_stranded(id)
            || end.other.is_some_and(|other| side(other) != side(id) || self.is_stranded(other))
            || end.passages.iter().any(forgotten)
    }

    /// After a change of what reaches what.
    fn review_paths(&mut self) {
        for at in 0..self.ends.len() {
            let (id, end) = (EndId(at), &self.ends[at]);
            let Some(EndId(other)) = end.other.filter(|_| end.state == State::Open) else { continue };
            let (computer, peer) = (end.computer, self.ends[other].computer);
            let dead_after = self.programs[end.program.0].dead_after;
            let reachable = self.is_reachable(computer, peer) && !self.is_cut(id);
            match (reachable, end.silent_since) {
                (false, None) => {
                    self.ends[at].silent_since = Some(self.now);
                    self.plan(self.now + dead_after, Happening::Probe { end: id });
                }
                (true, Some(_)) => {
                    self.ends[at].silent_since = None;
                    let again = self.now + RETRANSMIT + self.delay(computer, peer);
                    self.plan(again, Happening::Release { to: id });
                    self.plan(self.now + dead_after / 2, Happening::Probe { end: id });
                }
                _ => {}
            }
        }
    }
}
