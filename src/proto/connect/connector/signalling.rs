//! What comes by way of servers.
//!
//! What a server says of a signal, that is who sent it and where it sees that node, is believed as far as the server is
//! one of our own choice; what the node says is signed by it. A signal that was forged, changed, or meant for somebody
//! else is dropped without an answer.

use std::net::{IpAddr, SocketAddr};

use log::Level;

use super::Connector;
use crate::id::{CallId, ServerId};
use crate::identity::NodeId;
use crate::proto::connect::action::{ConnectAction, OutgoingSignal, Unsent};
use crate::proto::connect::call::{Call, Carried, OurPart};
use crate::proto::connect::callee::{Callee, HeardCall};
use crate::proto::connect::caller::{Caller, HOPELESS};
use crate::proto::connect::context::Context;
use crate::proto::connect::info::{CallEnd, CallInfo};
use crate::proto::connect::meeting::{Challenge, attend};
use crate::proto::connect::punch::Side;
use crate::proto::connect::surroundings::Surroundings;
use crate::proto::dial::is_dialable;
use crate::time::Instant;
use crate::unl::Unl;
use crate::wire::rendezvous::{Incoming, Ntp, Ports};
use crate::wire::signal::{self, Body, RefuseWhy, Signal};

/// Signals.
impl Connector {
    /// Something came from another node.
    pub(crate) fn handle_signal(
        &mut self,
        server: ServerId,
        incoming: &Incoming,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        let Some(own) = self.shared.own_id().filter(|_| !self.is_leaving) else { return };
        let (from, text) = (incoming.from, incoming.text.as_str());
        if !signal::is_signed(&from, &own, text, &incoming.signature) {
            let note = || format!("a signal that {} has not signed for us", from.id());
            return around.notes.push(Level::Warn, note);
        }
        let Some(Signal { call: id, body }) = signal::parse(text) else { return };
        around.notes.push(Level::Debug, || format!("call {id}: {text}"));
        if let Body::Call { unl, reverse, punch, relay: half, upgrade } = body {
            let seen = incoming.seen;
            let call = HeardCall { server, from, seen, unl, reverse, punch, half, upgrade };
            self.handle_call(id, &call, around, now);
        } else if self.calls.peer_of(id) == Some(from.id()) {
            let carried = Carried { server, seen: incoming.seen, observed: incoming.observed };
            let resumes = body == Body::Done && !self.calls.is_ours(id);
            self.with(id, around, now, |call, cx| call.handle_body(body, carried, cx));
            if resumes {
                self.resume(from.id(), around, now);
            }
        }
    }

    fn handle_call(&mut self, id: CallId, call: &HeardCall, around: &mut Surroundings<'_>, now: Instant) {
        // Only servers of our own choice may have us called; and one call is one, through however many servers.
        if !around.servers.is_own(call.server) {
            return;
        }
        // A call that is played again is none.
        if self.calls.get(id).is_some() || !self.remembered.take(id) {
            return self.with(id, around, now, |open, cx| open.answer_again(call, cx));
        }
        let node = call.from.id();
        let Some(unl) = call.unl.parse::<Unl>().ok().filter(|unl| unl.public_key() == Some(call.from)) else {
            return around.notes.push(Level::Info, || format!("call {id}: no UNL of {node}"));
        };
        // A direct dial was faster than its call: the hello has named it already.
        let is_over = around.links.link_to(node).is_some_and(|link| around.links.came_by(link, id));
        if is_over || Some(node) == self.shared.own_id() || self.goes_before(node, call, around, now) {
            return;
        }
        if let Some(why) = self.reason_to_refuse(call, around, now) {
            around.notes.push(Level::Info, || format!("call {id} of {node} is refused: {why:?}"));
            let mut cx = Context { shared: &mut self.shared, around, now };
            cx.signal(id, node, call.server, None, Body::Refuse { why }, Unsent::Lost);
            return;
        }
        self.take_call(id, call, unl, around, now);
    }

    /// Two that call each other need one call: the one of the larger id goes on, and the other one only dials.
    fn goes_before(
        &mut self,
        node: NodeId,
        call: &HeardCall,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) -> bool {
        let Some(own) = self.calls.to(node) else { return false };
        let is_upgrade = self.calls.get(own).is_some_and(|call| call.info.upgrade.is_some());
        if is_upgrade != call.upgrade {
            return false;
        }
        let larger = self.shared.own_id() > Some(node);
        self.with_caller(own, around, now, |info, caller, cx| {
            if larger {
                // If it has not been called yet, it is high time.
                caller.call_now(info, cx);
            } else {
                caller.yields = true;
            }
        });
        larger
    }

    fn reason_to_refuse(
        &mut self,
        call: &HeardCall,
        around: &Surroundings<'_>,
        now: Instant,
    ) -> Option<RefuseWhy> {
        let node = call.from.id();
        let link = around.links.link_to(node);
        if call.upgrade && !link.is_some_and(|link| around.links.is_relayed(link)) {
            return Some(RefuseWhy::UnknownCall);
        }
        if self.calls.count(false) >= self.shared.config.max_calls || !self.rate.take(node, now) {
            return Some(RefuseWhy::Busy);
        }
        let full = link.is_none() && !around.links.has_room(call.seen.ip());
        full.then_some(RefuseWhy::Full)
    }

    fn take_call(
        &mut self,
        id: CallId,
        call: &HeardCall,
        unl: Unl,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        let mut info = CallInfo::new(id, false, Some(call.from), Some(unl), now);
        info.server = Some(call.server);
        info.upgrade = call.upgrade.then(|| around.links.link_to(call.from.id())).flatten();
        self.calls.insert(Call::new(info, OurPart::Callee(Callee::new(now))));
        self.with(id, around, now, |open, cx| open.begin_answered(call, cx));
    }

    /// A server has not taken on what was to be said.
    pub(crate) fn handle_unsent(
        &mut self,
        signal: &OutgoingSignal,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        let (id, server) = (signal.call, signal.server);
        match signal.unsent {
            Unsent::Lost => {}
            Unsent::NotCalled => {
                self.with_caller(id, around, now, |_, caller, _| caller.handle_not_called(server));
            }
            Unsent::Unanswered => {
                self.with(id, around, now, |call, _| call.info.end = Some(CallEnd::Over));
            }
            Unsent::NoRelay(relay) => self.with(id, around, now, |Call { info, ways, part }, cx| {
                if let OurPart::Caller(caller) = part {
                    caller.handle_no_relay(info, ways, relay, cx);
                }
            }),
        }
    }

    fn with_caller(
        &mut self,
        id: CallId,
        around: &mut Surroundings<'_>,
        now: Instant,
        act: impl FnOnce(&CallInfo, &mut Caller, &mut Context<'_, '_>),
    ) {
        self.with(id, around, now, |Call { info, part, .. }, cx| {
            if let OurPart::Caller(caller) = part {
                act(info, caller, cx);
            }
        });
    }
}

/// Servers.
impl Connector {
    /// A server is there: what waits for one to be asked goes on.
    pub(crate) fn handle_server_met(&mut self, around: &mut Surroundings<'_>, now: Instant) {
        for id in
            self.calls.ids().into_iter().filter(|&id| self.calls.peer_of(id).is_none()).collect::<Vec<_>>()
        {
            self.observe_awaited(id, around, now);
        }
    }

    /// A server that a call may go through is there, or has proven to know us.
    pub(crate) fn handle_server_ready(
        &mut self,
        server: ServerId,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        for id in self.callers_through(server) {
            self.with_caller(id, around, now, |info, caller, cx| caller.call_through_servers(info, cx));
            self.observe_awaited(id, around, now);
        }
    }

    /// A server is gone, for now.
    pub(crate) fn handle_server_lost(
        &mut self,
        server: ServerId,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        for id in self.callers_through(server) {
            self.with_caller(id, around, now, |_, caller, _| caller.handle_server_lost(server, 1, now));
        }
    }

    /// No call gets through this server.
    pub(crate) fn handle_server_useless(
        &mut self,
        server: ServerId,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        for id in self.callers_through(server) {
            self.with_caller(id, around, now, |_, caller, _| {
                caller.handle_server_lost(server, HOPELESS, now);
            });
        }
    }

    /// A server tells whether the node is there that a signal was for; `None`: it takes no more of ours.
    pub(crate) fn handle_signaled(
        &mut self,
        server: ServerId,
        to: NodeId,
        there: Option<bool>,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        // There is room for one more by now.
        for id in self.calls.ids() {
            self.with_caller(id, around, now, |info, caller, cx| caller.call_through_servers(info, cx));
        }
        if let Some(id) = self.calls.to(to) {
            self.with_caller(id, around, now, |info, caller, cx| {
                caller.handle_signaled(info, server, there, cx);
            });
        }
    }

    fn callers_through(&self, server: ServerId) -> Vec<CallId> {
        let goes_through = |id: &CallId| {
            let caller = self.calls.get(*id).and_then(Call::caller);
            caller.is_some_and(|caller| caller.needs(server))
        };
        self.calls.ids().into_iter().filter(goes_through).collect()
    }

    fn observe_awaited(&mut self, id: CallId, around: &mut Surroundings<'_>, now: Instant) {
        self.with(id, around, now, |Call { info, ways, part }, cx| {
            if let OurPart::Caller(caller) = part {
                caller.observe_awaited(info, ways, cx);
            }
        });
    }
}

/// pyp2p's meetings.
impl Connector {
    /// A server has told one of those that we want to punch to; it does not say which.
    pub(crate) fn handle_announced(&mut self, server: ServerId, around: &mut Surroundings<'_>, now: Instant) {
        if around.servers.is_own(server) {
            for id in self.shared.announced.calls() {
                self.with_caller(id, around, now, |_, caller, _| caller.handle_announced());
            }
        }
    }

    /// A node to which a port of ours was announced accepts, and names the moment.
    pub(crate) fn handle_fight(
        &mut self,
        server: ServerId,
        (ip, ports, ntp): (IpAddr, &Ports, Ntp),
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        if !around.servers.is_own(server) {
            return;
        }
        let Some(announced) = self.shared.announced.take(ip) else { return };
        let wall = self.wall_at_origin.saturating_add(now.since_origin());
        let trip = around.servers.rtt_of(server).unwrap_or_default();
        let window = attend(ntp, wall, trip, self.shared.config.punch_time, now);
        let port = ports.first();
        let theirs = Side { seen: SocketAddr::new(ip, port), local_port: port, kind: None };
        self.with(announced.call, around, now, |call, cx| {
            call.handle_fight(server, announced.round, theirs, window, cx);
        });
    }

    /// A server says that somebody wants to punch to us, which we are ready for.
    pub(crate) fn handle_challenge(
        &mut self,
        server: ServerId,
        ip: IpAddr,
        ports: &Ports,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        let port = ports.first();
        let dialable = is_dialable(SocketAddr::new(ip, port));
        // Who is at our own address is in our network: hardly any router leads from there to there.
        let near = around.is_same_network(server, SocketAddr::new(ip, 0));
        if around.servers.is_own(server) && dialable && !near && !self.is_leaving {
            self.candidates.handle_challenge(Challenge { server, ip, port }, now);
            self.meet_candidates(around, now);
        }
    }

    /// The server is not there to hear that we accept a candidate.
    pub(crate) fn handle_unaccepted(&mut self, call: CallId, around: &mut Surroundings<'_>, now: Instant) {
        self.with(call, around, now, |call, _| call.info.end = Some(CallEnd::Over));
    }

    /// A server finds our registration too old to announce a candidate to us.
    pub(crate) fn handle_reconnect(&mut self, server: ServerId, around: &Surroundings<'_>, now: Instant) {
        if around.servers.is_own(server) && self.candidates.handle_reconnect(now) {
            self.shared.actions.push_back(ConnectAction::Register { server });
        }
    }
}
