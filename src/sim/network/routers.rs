//! Routers: what passes them on its way out and in, and when they forget.

use std::iter::successors;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::places::{Place, Realm};
use super::{ComputerId, EndId, Happening, Network};
use crate::sim::nat::{Filter, Flow, Nat, NatBox};

/// From a router to its provider's.
const CARRIER_DELAY: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sim) struct RouterId(pub(super) usize);

#[derive(Debug)]
pub(in crate::sim) struct Router {
    ip: IpAddr,
    pub(super) realm: Realm,
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
        let random = self.random.fork();
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

    /// Who has this address behind the router.
    pub(super) fn inside(&self, router: RouterId, ip: IpAddr) -> Option<Place> {
        self.places.get(&(Some(router), ip)).copied()
    }

    /// Something goes through routers, and keeps their memory fresh.
    pub(super) fn touch(&mut self, id: EndId) {
        for at in 0..self.ends[id].passages.len() {
            let Passage { router, flow, .. } = self.ends[id].passages[at];
            self.routers[router.0].nat.touch(flow, self.now);
        }
    }
}
