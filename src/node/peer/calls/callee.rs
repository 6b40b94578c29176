//! What the one who is called does: what it is asked, as far as it wants, and nothing to anybody else.
//!
//! **Nobody is aimed.** The caller has signed the call, and a server of our own choice has seen it prove its id. Addresses
//! that it claims get the few SYNs of [`Config::max_claimed_syns`](crate::Config::max_claimed_syns), and the connection has
//! to prove to lead to the caller, which answers its hello only while it has that very call under way. So pyp2p's question
//! back ("did you send this?") is asked on the connection itself, a round trip sooner, and a call that is played again
//! leads to nothing.

use std::time::Duration;

use log::Level;

use super::signals::HeardCall;
use super::{Call, Callee, Part};
use crate::connect::Rung;
use crate::id::{CallId, ServerId};
use crate::node::peer::Node;
use crate::proto::punch::{Side, is_hopeless};
use crate::reach::NodeType;
use crate::time::Instant;
use crate::unl::Unl;
use crate::wire::signal::{Body, RefuseWhy};

/// How long the caller is given to do something with it.
const PATIENCE: Duration = Duration::from_secs(20);

impl Node {
    pub(super) fn handle_call(&mut self, id: CallId, call: HeardCall, now: Instant) {
        // Only servers of our own choice may have us called; and one call is one, through however many servers.
        if !self.servers.is_own(call.place) {
            return;
        }
        // A call that is played again is none.
        if self.calls.open.contains_key(&id) || !self.calls.remembered.take(id) {
            self.answer_again(id, &call, now);
            return;
        }
        let node = call.from.id();
        let Some(unl) = call.unl.parse::<Unl>().ok().filter(|unl| unl.public_key() == Some(call.from)) else {
            self.core.notes.push(Level::Info, || format!("call {id}: no UNL of {node}"));
            return;
        };
        // A direct dial was faster than its call: the hello has named it already.
        let is_over = self.con_of(node).and_then(|con| self.links.link(con));
        if is_over.is_some_and(|link| link.calls.contains(&id)) {
            return;
        }
        if Some(node) == self.core.identity.id() || self.goes_before(node, &call, now) {
            return;
        }
        if let Some(why) = self.reason_to_refuse(&call, now) {
            self.core.notes.push(Level::Info, || format!("call {id} of {node} is refused: {why:?}"));
            self.refuse_call(id, &call, why, now);
            return;
        }
        self.take_call(id, &call, unl, now);
    }

    /// The caller did not hear the answer, as its server went down. Nothing else is done again.
    fn answer_again(&mut self, id: CallId, call: &HeardCall, now: Instant) {
        let Some(open) = self.calls.open.get(&id) else { return };
        let is_it = matches!(open.part, Part::Callee(_)) && open.peer == Some(call.from);
        if !is_it || open.server != Some(call.place) {
            return;
        }
        let punch = call.punch && !is_hopeless(self.reach().nat.kind(), open.unl.as_ref().and_then(Unl::nat));
        let [relay, second] = self.offer_relays(id, call, now);
        if let Some(own) = self.unl() {
            self.signal(
                call.place,
                id,
                None,
                Body::Answer { unl: own.to_string(), punch, relay, second },
                now,
            );
        }
    }

    /// Two that call each other need one call: the one of the larger id goes on, and the other one only dials.
    fn goes_before(&mut self, node: crate::identity::NodeId, call: &HeardCall, now: Instant) -> bool {
        let Some(own) = self.calls.to(node) else { return false };
        let is_upgrade = self.calls.open.get(&own).is_some_and(|call| call.upgrade.is_some());
        if is_upgrade != call.upgrade {
            return false;
        }
        let larger = self.core.identity.id() > Some(node);
        if let Some(caller) = self.calls.caller(own) {
            if larger {
                // If it has not been called yet, it is high time.
                caller.calling = true;
            } else {
                caller.yields = true;
            }
        }
        if larger {
            self.call_through_servers(own, now);
        }
        larger
    }

    fn reason_to_refuse(&mut self, call: &HeardCall, now: Instant) -> Option<RefuseWhy> {
        let node = call.from.id();
        let link = self.con_of(node);
        if call.upgrade && !link.is_some_and(|con| self.links.is_relayed(con)) {
            return Some(RefuseWhy::UnknownCall);
        }
        if self.calls.count(false) >= self.core.config.links.max_calls || !self.calls.rate.take(node, now) {
            return Some(RefuseWhy::Busy);
        }
        let full = link.is_none() && self.admission.check(call.seen.ip(), now).is_err();
        self.note_refusals();
        full.then_some(RefuseWhy::Full)
    }

    fn take_call(&mut self, id: CallId, call: &HeardCall, unl: Unl, now: Instant) {
        let callee = Callee { until: now + PATIENCE, ready: None, round: 0 };
        let mut open = Call::new(Part::Callee(callee), Some(call.from), Some(unl.clone()), now);
        open.server = Some(call.place);
        open.upgrade = call.upgrade.then(|| self.con_of(call.from.id())).flatten();
        self.calls.open.insert(id, open);
        let hopeless = is_hopeless(self.reach().nat.kind(), unl.nat());
        let punch = call.punch && !hopeless;
        let [relay, second] = self.offer_relays(id, call, now);
        let Some(own) = self.unl() else { return };
        let answer = Body::Answer { unl: own.to_string(), punch, relay, second };
        if !self.signal(call.place, id, None, answer, now) {
            self.forget_call(id, now);
            return;
        }
        if call.reverse {
            self.connect_back(id, call, &unl, now);
        }
        if punch {
            self.begin_observation(id, 1, call.place, now);
        }
    }

    /// Connects to the caller, where that is promising: in the same network, if the server sees both at one address, or
    /// at the port that it says is open.
    fn connect_back(&mut self, id: CallId, call: &HeardCall, unl: &Unl, now: Instant) {
        if self.is_same_network(call.place, call.seen) {
            self.dial_rung(id, Rung::Lan, now);
        } else if unl.node_type() == NodeType::Passive {
            self.dial_rung(id, Rung::Reverse, now);
        }
    }

    /// The caller's port was seen.
    pub(super) fn handle_ready(
        &mut self,
        id: CallId,
        place: ServerId,
        round: u8,
        theirs: Side,
        rtt: Duration,
        now: Instant,
    ) {
        // It need not be the one through which the call came first, but one of our own choice.
        if !self.servers.is_own(place) {
            return;
        }
        let Some(callee) = self.calls.callee(id) else { return };
        // Two rounds are enough for anybody.
        if round == 0
            || round > 3
            || round < callee.round
            || callee.ready.is_some_and(|(last, ..)| last >= round)
        {
            return;
        }
        callee.ready = Some((round, theirs, rtt));
        let begins = callee.round < round;
        if begins && round > 1 {
            self.begin_observation(id, round, place, now);
        }
        self.meet(id, now);
    }

    /// When both ports were seen: says so, and dials when the caller will, too.
    pub(super) fn meet(&mut self, id: CallId, now: Instant) {
        let Some(call) = self.calls.open.get(&id) else { return };
        let Part::Callee(Callee { ready: Some((round, theirs, rtt)), .. }) = &call.part else { return };
        let (round, theirs, rtt) = (*round, *theirs, *rtt);
        let Some(ours) = call.seen.filter(|seen| seen.round == round).map(|seen| seen.side) else { return };
        let Some((place, _)) = self.seen_by(id, round) else { return };
        if call.punch.as_ref().is_some_and(|punch| punch.round >= round) {
            return;
        }
        // What we send is with the caller after half of both trips to the server; it dials at once (the two sides agree by
        // round trips, as the clocks of two computers do not).
        let own = self.servers.rtt_of(place).unwrap_or_default();
        let dial_in = (own + rtt) / 2;
        self.send_meet(id, round, ours, dial_in, now);
        self.begin_punch(id, round, ours, theirs, now + dial_in, now);
    }
}
