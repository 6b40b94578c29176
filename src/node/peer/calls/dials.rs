//! The dials of the rungs that are plain dials: addresses of the other side, all at once.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::Part;
use crate::connect::{Rung, RungFault};
use crate::id::{CallId, StreamId};
use crate::node::peer::links::Errand;
use crate::node::peer::{Ends, Node, Role};
use crate::proto::budget::Class;
use crate::proto::dial::{is_dialable, is_own};
use crate::time::Instant;
use crate::unl::{Place, Unl};

/// How long a dial may take. The kernel repeats a SYN after a second, and after another one at the earliest (RFC 6298
/// section 2; Linux since 6.5 begins with waits of the same length), so that three leave at most.
pub(super) const DIAL_TIME: Duration = Duration::from_millis(2500);

/// In one network nothing takes long; and where there are two that look alike, nobody answers.
const LAN_TIME: Duration = Duration::from_millis(900);

/// SYNs of one dial that is not answered.
pub(super) const SYNS: u32 = 3;

/// How long a dial may go on so that no more SYNs leave for it.
pub(in super::super) fn time_of(syns: u32) -> Duration {
    Duration::from_secs(syns.into()).saturating_sub(Duration::from_millis(100)).min(DIAL_TIME)
}

/// One address that is being dialled.
#[derive(Clone, Copy, Debug)]
pub(super) struct RungDial {
    rung: Rung,
    to: SocketAddr,
    pub(super) until: Instant,
    syns: u32,
}

impl Node {
    /// Dials the addresses of a rung.
    pub(super) fn dial_rung(&mut self, id: CallId, rung: Rung, now: Instant) {
        let Some(unl) = self.calls.open.get(&id).and_then(|call| call.unl.clone()) else { return };
        let addresses = if rung == Rung::Lan { self.lan_addresses(&unl) } else { self.wan_addresses(&unl) };
        let mut refused = 0;
        for to in addresses {
            let (time, syns) = if rung == Rung::Lan { (LAN_TIME, 1) } else { (DIAL_TIME, SYNS) };
            let syns = syns.min(self.core.config.links.max_claimed_syns);
            let time = time.min(time_of(syns));
            if self.core.budget.take(to, Class::Claimed, syns, now) {
                self.dial_address(id, rung, to, now + time, syns, now);
            } else {
                refused += 1;
            }
        }
        if refused > 0 {
            self.note_fault(id, rung, RungFault::Budget);
        }
        self.conclude_rung(id, rung, now);
    }

    fn dial_address(
        &mut self,
        id: CallId,
        rung: Rung,
        to: SocketAddr,
        until: Instant,
        syns: u32,
        now: Instant,
    ) {
        let from = self.core.any_port();
        let stream = self.core.streams.dial(to, from, Role::Climbing(id), now);
        if let Some(call) = self.calls.open.get_mut(&id) {
            call.dials.insert(stream, RungDial { rung, to, until, syns });
        }
    }

    pub(in super::super) fn handle_rung_connected(
        &mut self,
        id: CallId,
        stream: StreamId,
        local: SocketAddr,
        now: Instant,
    ) {
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        let Some(dial) = call.dials.remove(&stream) else { return };
        let (to, upgrade) = (call.node(), call.upgrade.is_some());
        // One was enough; should it turn out to be somebody else's, that one still counts.
        self.core.budget.give_back(dial.to, Class::Claimed, dial.syns.saturating_sub(1));
        let ends = Ends { dialler: local, dialled: dial.to };
        if to.is_none() {
            self.greet_pyp2p(id, stream, dial.rung, ends, now);
            return;
        }
        self.say_hello(stream, to, Errand::Call { call: id, rung: dial.rung, upgrade }, ends, now);
    }

    pub(in super::super) fn handle_rung_dial_failed(
        &mut self,
        id: CallId,
        stream: StreamId,
        kind: io::ErrorKind,
        now: Instant,
    ) {
        self.core.streams.abandon(stream);
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        let Some(dial) = call.dials.remove(&stream) else { return };
        if kind != io::ErrorKind::TimedOut {
            self.core.budget.give_back(dial.to, Class::Claimed, dial.syns.saturating_sub(1));
        }
        self.note_fault(id, dial.rung, RungFault::Unreachable(vec![(dial.to, kind)]));
        self.conclude_rung(id, dial.rung, now);
    }

    pub(super) fn advance_dials(&mut self, id: CallId, now: Instant) {
        let Some(call) = self.calls.open.get(&id) else { return };
        let over: Vec<StreamId> =
            call.dials.iter().filter(|(_, dial)| dial.until <= now).map(|(&stream, _)| stream).collect();
        for stream in over {
            self.handle_rung_dial_failed(id, stream, io::ErrorKind::TimedOut, now);
        }
    }

    /// A connection of a rung turned out not to be the node.
    pub(in super::super) fn handle_greeting_failed(
        &mut self,
        id: CallId,
        rung: Rung,
        stream: StreamId,
        why: RungFault,
        now: Instant,
    ) {
        match rung {
            Rung::Punch => self.handle_punched_in_vain(id, stream, now),
            Rung::Relay => self.handle_relayed_in_vain(id, stream, now),
            _ => {
                self.note_fault(id, rung, why);
                self.conclude_rung(id, rung, now);
            }
        }
    }

    fn note_fault(&mut self, id: CallId, rung: Rung, why: RungFault) {
        if let Some(call) = self.calls.open.get_mut(&id) {
            call.faults.push((rung, why));
        }
    }

    /// When none of its addresses is under way any more, the rung is over.
    fn conclude_rung(&mut self, id: CallId, rung: Rung, now: Instant) {
        let is_greeted = self.links.greetings.values().any(|greeting| {
            matches!(greeting.errand, Errand::Call { call, rung: of, .. } if call == id && of == rung)
        });
        let is_awaited = is_greeted || self.links.is_deferred(id, rung);
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        if is_awaited || call.dials.values().any(|dial| dial.rung == rung) {
            return;
        }
        let why = summary(call.faults.iter().filter(|(of, _)| *of == rung).map(|(_, why)| why));
        if let Part::Caller(caller) = &mut call.part {
            caller.ladder.handle_rung_failed(rung, why, now);
            self.climb(id, now);
        }
    }

    /// Where it can be reached in its own network.
    pub(super) fn lan_addresses(&self, unl: &Unl) -> Vec<SocketAddr> {
        self.addresses(unl, Place::Lan)
    }

    /// Where it can be reached from outside: what can not be outside is left alone.
    pub(super) fn wan_addresses(&self, unl: &Unl) -> Vec<SocketAddr> {
        self.addresses(unl, Place::Wan)
    }

    fn addresses(&self, unl: &Unl, place: Place) -> Vec<SocketAddr> {
        let bound = self.core.config.bind;
        let at_home = self.own_lan(&self.reach());
        let is_ours = |addr: SocketAddr| is_own(&self.core.own, addr) || is_own(&at_home, addr);
        let fits = |addr: &SocketAddr| bound.is_none_or(|bound| bound.is_ipv4() == addr.is_ipv4());
        unl.addresses()
            .filter(|address| address.place == place)
            .filter(|address| match place {
                Place::Wan => address.oddity().is_none(),
                // A node that listens on loopback only is one on this computer.
                Place::Lan => true,
            })
            .map(|address| address.addr)
            .filter(|&addr| is_dialable(addr) && !is_ours(addr))
            .filter(fits)
            .collect()
    }
}

/// What the addresses of a rung said together: who they are counts more than that they were not there.
fn summary<'a>(faults: impl Iterator<Item = &'a RungFault>) -> RungFault {
    let mut unreachable = Vec::new();
    let mut other = None;
    for fault in faults {
        match fault {
            RungFault::Unreachable(tried) => unreachable.extend(tried.iter().copied()),
            RungFault::WrongNode(_) => other = Some(fault.clone()),
            _ => other = other.or_else(|| Some(fault.clone())),
        }
    }
    other.unwrap_or(RungFault::Unreachable(unreachable))
}
