//! What reaches what, and what becomes of connections when that changes.

use std::time::Duration;

use super::routers::Expiry;
use super::{ComputerId, EndId, Happening, Network, RouterId, State};
use crate::sim::nat::Flow;

/// What was held up by a partition is sent again so long after it has healed (RFC 6298: the timer has backed off).
const RETRANSMIT: Duration = Duration::from_millis(400);

/// Changes.
impl Network {
    /// Puts a computer on a side of a partition. Routers are on no side: they refuse whom they refuse.
    pub(in crate::sim) fn set_side(&mut self, id: ComputerId, side: u32) {
        self.topology.computer_mut(id).side = side;
        self.review_paths();
    }

    /// It loses its power, or has it again. Without it the programs on it are no more; nobody is told.
    pub(in crate::sim) fn set_power(&mut self, id: ComputerId, is_up: bool) {
        self.topology.computer_mut(id).is_up = is_up;
        if !is_up {
            for program in self.programs.on(id) {
                self.listeners.remove(program);
                for end in self.ends.of(program) {
                    if let Some(other) = self.ends[end].other {
                        self.ends[other].held.clear();
                    }
                    self.ends.retire(end);
                }
            }
        }
        self.review_paths();
    }

    /// It comes into another network: what was connected by the addresses that it loses stays so, in silence.
    pub(in crate::sim) fn set_ips(&mut self, id: ComputerId, ips: &[std::net::IpAddr]) {
        self.topology.readdress(id, ips);
        self.review_paths();
    }

    /// Connections that were idle for so long fall silent.
    pub(in crate::sim) fn set_expiry(&mut self, router: RouterId, after: Duration) {
        let nat = &mut self.topology.router_mut(router).nat;
        nat.expiry = Some(after);
        for flow in nat.flows() {
            self.plan_expiry(router, flow);
        }
    }

    pub(super) fn plan_expiry(&mut self, router: RouterId, flow: Flow) {
        if let Some(at) = self.topology.router(router).nat.expires_at(flow) {
            self.queue.plan(at, Happening::Expiry { router, flow });
        }
    }

    pub(super) fn expire(&mut self, router: RouterId, flow: Flow) {
        match self.topology.router_mut(router).expire(flow, self.queue.now()) {
            Expiry::Forgotten => self.review_paths(),
            Expiry::At(at) => self.queue.plan(at, Happening::Expiry { router, flow }),
            Expiry::Never => {}
        }
    }

    /// After a change of what reaches what.
    fn review_paths(&mut self) {
        for id in self.ends.ids() {
            self.review(id);
        }
    }

    fn review(&mut self, id: EndId) {
        let now = self.queue.now();
        let end = &self.ends[id];
        let Some(other) = end.other.filter(|_| end.state == State::Open) else { return };
        let (computer, peer) = (end.computer, self.ends[other].computer);
        let dead_after = self.programs.dead_after(end.program);
        let is_reachable = self.topology.is_reachable(computer, peer) && !self.is_cut(id);
        match (is_reachable, end.silent_since) {
            (false, None) => {
                self.ends[id].silent_since = Some(now);
                self.queue.plan(now + dead_after, Happening::Probe { end: id });
            }
            (true, Some(_)) => {
                self.ends[id].silent_since = None;
                let again = now + RETRANSMIT + self.topology.delay(computer, peer);
                self.queue.plan(again, Happening::Release { to: id });
                self.queue.plan(now + dead_after / 2, Happening::Probe { end: id });
            }
            _ => {}
        }
    }
}

/// Questions.
impl Network {
    /// Its local address is no more.
    pub(super) fn is_stranded(&self, id: EndId) -> bool {
        let end = &self.ends[id];
        !self.topology.computer(end.computer).is_at(end.local.ip())
    }

    /// A packet to this end is lost on its way, whatever becomes of the power: there is a partition, one of the two ends
    /// has moved, or a router has forgotten them.
    pub(super) fn is_cut(&self, id: EndId) -> bool {
        let end = &self.ends[id];
        let side = |id: EndId| self.topology.computer(self.ends[id].computer).side;
        self.is_stranded(id)
            || end.other.is_some_and(|other| side(other) != side(id) || self.is_stranded(other))
            || end.passages.iter().any(|passage| self.topology.is_forgotten(passage))
    }
}
