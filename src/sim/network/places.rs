//! Computers, the networks in which they and routers have addresses, and the ways between them.
//!
//! All of it is a tree: the middle of the internet, around it computers and routers, and around a router whatever is
//! behind it. The way between two of them goes up the one branch and down the other, and takes the time of its edges.

use std::iter::successors;
use std::net::IpAddr;
use std::time::Duration;

use super::routers::{Passage, RouterId};
use super::{Computer, ComputerId, EndId, Happening, LOOPBACK_DELAY, Network, RETRANSMIT, State, WINDOW};

/// From a computer to its router: between two of a house it is a millisecond.
const HOME_DELAY: Duration = Duration::from_micros(500);

/// Who has an address in a network: a computer, or a router with its outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Computer(ComputerId),
    Router(RouterId),
}

/// An address realm (RFC 2663 section 2.1): the network behind a router, or `None`: the internet.
pub(super) type Realm = Option<RouterId>;

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

    /// Puts a computer on a side of a partition. Routers are on no side: they refuse whom they refuse.
    pub(in crate::sim) fn set_side(&mut self, id: ComputerId, side: u32) {
        self.computers[id.0].side = side;
        self.review_paths();
    }

    /// It loses its power, or has it again. Without it the programs on it are no more; nobody is told.
    pub(in crate::sim) fn set_power(&mut self, id: ComputerId, is_up: bool) {
        self.computers[id.0].is_up = is_up;
        if !is_up {
            for program in self.programs_on(id) {
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
    pub(in crate::sim) fn set_ips(&mut self, id: ComputerId, ips: &[IpAddr]) {
        let realm = self.computers[id.0].realm;
        self.places.retain(|_, at| *at != Place::Computer(id));
        for &ip in ips {
            self.settle(realm, ip, Place::Computer(id));
        }
        self.computers[id.0].ips = ips.to_vec();
        self.review_paths();
    }

    /// Gives it an address.
    pub(super) fn settle(&mut self, realm: Realm, ip: IpAddr, place: Place) {
        assert!(self.places.insert((realm, ip), place).is_none(), "{ip} is taken");
    }

    /// From the edge of the internet to its middle.
    pub(super) fn far(&mut self) -> Duration {
        Duration::from_micros(5_000 + self.random.below(55_000) as u64)
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
    pub(super) fn is_within(&self, computer: ComputerId, place: Place) -> bool {
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
        let end = &self.ends[id];
        let ip = end.local.ip();
        !ip.is_loopback() && !self.computers[end.computer.0].ips.contains(&ip)
    }

    /// A packet to this end is lost on its way, whatever becomes of the power: there is a partition, one of the two ends
    /// has moved, or a router has forgotten them.
    pub(super) fn is_cut(&self, id: EndId) -> bool {
        let end = &self.ends[id];
        let side = |id: EndId| self.computers[self.ends[id].computer.0].side;
        let forgotten = |passage: &Passage| {
            self.routers[passage.router.0].nat.port_of(passage.flow) != Some(passage.port)
        };
        self.is_stranded(id)
            || end.other.is_some_and(|other| side(other) != side(id) || self.is_stranded(other))
            || end.passages.iter().any(forgotten)
    }

    /// After a change of what reaches what.
    pub(super) fn review_paths(&mut self) {
        for id in self.ends.ids() {
            let end = &self.ends[id];
            let Some(other) = end.other.filter(|_| end.state == State::Open) else { continue };
            let (computer, peer) = (end.computer, self.ends[other].computer);
            let dead_after = self.programs[end.program.0].dead_after;
            let reachable = self.is_reachable(computer, peer) && !self.is_cut(id);
            match (reachable, end.silent_since) {
                (false, None) => {
                    self.ends[id].silent_since = Some(self.now);
                    self.plan(self.now + dead_after, Happening::Probe { end: id });
                }
                (true, Some(_)) => {
                    self.ends[id].silent_since = None;
                    let again = self.now + RETRANSMIT + self.delay(computer, peer);
                    self.plan(again, Happening::Release { to: id });
                    self.plan(self.now + dead_after / 2, Happening::Probe { end: id });
                }
                _ => {}
            }
        }
    }
}
