//! What reaches what, and what becomes of connections when that changes.

use std::collections::BTreeSet;
use std::net::IpAddr;
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
        self.review_around(id);
    }

    /// It loses its power, or has it again. Without it the programs on it are no more; nobody is told.
    pub(in crate::sim) fn set_power(&mut self, id: ComputerId, is_up: bool) {
        self.topology.computer_mut(id).is_up = is_up;
        let touched = self.ends.around(id);
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
        self.review_all(touched);
    }

    /// It comes into another network: what was connected by the addresses that it loses stays so, in silence.
    pub(in crate::sim) fn set_ips(&mut self, id: ComputerId, ips: &[IpAddr]) {
        self.topology.readdress(id, ips);
        self.review_around(id);
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
            Expiry::Forgotten => self.review_session(router, flow),
            Expiry::At(at) => self.queue.plan(at, Happening::Expiry { router, flow }),
            Expiry::Never => {}
        }
    }

    /// After a change of what a session of a router lets through.
    pub(super) fn review_session(&mut self, router: RouterId, flow: Flow) {
        self.review_all(self.ends.through(router, flow));
    }

    fn review_around(&mut self, computer: ComputerId) {
        self.review_all(self.ends.around(computer));
    }

    fn review_all(&mut self, ends: BTreeSet<EndId>) {
        for id in ends {
            self.review(id);
        }
    }

    /// After a change of what reaches what: an end that is open falls silent, or hears the other side again.
    pub(super) fn review(&mut self, id: EndId) {
        let Some(is_heard) = self.is_heard(id) else { return };
        let now = self.queue.now();
        let end = &self.ends[id];
        let dead_after = self.programs.dead_after(end.program);
        match (is_heard, end.silent_since) {
            (false, None) => {
                self.ends[id].silent_since = Some(now);
                self.queue.plan(now + dead_after, Happening::Probe { end: id });
            }
            (true, Some(_)) => {
                let way = end.other.map(|other| self.topology.delay(end.computer, self.ends[other].computer));
                let again = now + RETRANSMIT + way.unwrap_or_default();
                self.ends[id].silent_since = None;
                self.queue.plan(again, Happening::Release { to: id });
                self.queue.plan(now + dead_after / 2, Happening::Probe { end: id });
            }
            _ => {}
        }
    }
}

/// Questions.
impl Network {
    /// Of each open end, whether the other side reaches it, and whether it was last seen to; the two are always the same.
    pub(in crate::sim) fn hearing(&self) -> impl Iterator<Item = (bool, bool)> {
        self.ends.iter().filter_map(|(id, end)| Some((self.is_heard(id)?, end.silent_since.is_none())))
    }

    /// Whether the other side of an open end reaches it; `None`: it is not open.
    fn is_heard(&self, id: EndId) -> Option<bool> {
        let end = self.ends.get(id).filter(|end| end.state == State::Open)?;
        let other = &self.ends[end.other?];
        Some(self.topology.is_reachable(end.computer, other.computer) && !self.is_cut(id))
    }

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
