//! How calls end.

use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::{Call, Part};
use crate::connect::Tried;
use crate::error::FailReason;
use crate::event::{Event, Via};
use crate::id::{AttemptId, CallId, ConId, ServerId, StreamId};
use crate::identity::NodeId;
use crate::node::peer::{Node, Role};
use crate::proto::budget::Class;
use crate::time::Instant;
use crate::wire::signal::Body;

impl Node {
    /// There is a link to this node: our calls to it have come to their end, and the one that led to it. Others of the node
    /// go on until it is done with them: it may have lost this link already, and call anew. `news`: the way and the peer's
    /// end, where the application was not told of the connection yet.
    pub(in super::super) fn conclude_calls(
        &mut self,
        node: NodeId,
        con: ConId,
        by: Option<CallId>,
        news: Option<(Via, SocketAddr)>,
        now: Instant,
    ) {
        let mut told = false;
        let (ended, others): (Vec<CallId>, Vec<CallId>) =
            self.calls_with(node).into_iter().partition(|&id| self.calls.ends_with(id, by));
        self.end_other_greetings(node, &ended, &others);
        for id in ended {
            let Some(call) = self.calls.open.get(&id) else { continue };
            let took = now - call.began;
            if let Part::Caller(caller) = &call.part {
                for waiter in caller.attempts.clone() {
                    self.tell_connected(con, waiter, took, now);
                    told = true;
                }
            }
            if Some(id) != by {
                self.say_done(id, now);
            }
            self.forget_call(id, now);
        }
        let Some((via, peer)) = news else { return };
        // It is no third party: what was dialled there was dialled rightly.
        for class in [Class::Claimed, Class::Attested] {
            self.core.budget.give_back(peer, class, u32::MAX);
        }
        if !told {
            self.events.push(Event::Connected { con, via, peer, attempt: None, took: Duration::ZERO });
        }
    }

    /// A relayed link goes another way: over this stream, which is kept.
    pub(in super::super) fn conclude_upgrade(
        &mut self,
        con: ConId,
        stream: StreamId,
        call: Option<CallId>,
        now: Instant,
    ) {
        let node = self.node_id(con);
        let calls: Vec<CallId> = node.map(|node| self.calls_with(node)).unwrap_or_default();
        if let Some(node) = node {
            self.end_other_greetings(node, &calls, &[]);
        }
        for id in calls.into_iter().chain(call) {
            if self.calls.open.get(&id).is_some_and(|call| call.upgrade.is_some()) {
                self.end_punch(id, Some(stream));
                self.forget_call(id, now);
            }
        }
    }

    fn calls_with(&self, node: NodeId) -> Vec<CallId> {
        let of_node = |call: &Call| call.node() == Some(node);
        self.calls.open.iter().filter(|(_, call)| of_node(call)).map(|(&id, _)| id).collect()
    }

    /// No rung led to the node.
    pub(super) fn fail_call(&mut self, id: CallId, tried: Vec<Tried>, now: Instant) {
        let Some(caller) = self.calls.caller(id) else { return };
        let attempts = std::mem::take(&mut caller.attempts);
        for waiter in attempts {
            self.tell_failed(waiter.attempt, FailReason::NoWay(tried.clone()));
        }
        if let Some(con) = self.calls.open.get(&id).and_then(|call| call.upgrade) {
            self.calls.upgrades.postpone(con, now);
        }
        self.give_up_call(id, now);
    }

    pub(super) fn tell_failed(&mut self, attempt: AttemptId, why: FailReason) {
        self.core.notes.push(Level::Info, || format!("attempt {attempt} failed: {why}"));
        self.events.push(Event::Failed { attempt, why });
    }

    /// Through the server that both talk through; while that is not known, through all that have the call.
    pub(super) fn say_done(&mut self, id: CallId, now: Instant) {
        let Some(call) = self.calls.open.get(&id) else { return };
        let places: Vec<ServerId> = match (&call.part, call.server) {
            (_, Some(place)) => vec![place],
            (Part::Caller(caller), None) => {
                caller.servers.iter().filter(|server| server.called).map(|server| server.place).collect()
            }
            (Part::Callee(_) | Part::Host(_), None) => Vec::new(),
        };
        for place in places {
            self.signal(place, id, None, Body::Done, now);
        }
    }

    /// Drops all that belongs to a call.
    pub(super) fn forget_call(&mut self, id: CallId, now: Instant) {
        self.end_punch(id, None);
        self.end_observation(id);
        let Some(call) = self.calls.open.remove(&id) else { return };
        if let Part::Caller(_) = call.part {
            self.calls.remembered.end(id);
        }
        self.core.notes.push(Level::Debug, || format!("call {id} is over"));
        for stream in call.dials.into_keys().chain(call.relay.map(|relay| relay.dial_stream())) {
            self.drop_stream(stream);
        }
        // Those that were being greeted for it.
        for stream in self.links.greetings_of(id) {
            self.give_up_greeting(stream, now);
        }
        self.release_guests(now);
    }

    /// Nothing more is wanted of a stream that was dialled for a call.
    pub(super) fn drop_stream(&mut self, stream: StreamId) {
        if self.links.greetings.contains_key(&stream) {
            self.drop_greeting(stream);
        } else if !matches!(self.core.streams.tag(stream), Some(Role::Peer(_) | Role::OldPath(_))) {
            // It has not become a connection.
            self.core.streams.abandon(stream);
        }
    }

    /// A hello of this call came from this node: what is not even connected is given up. The hello proves nothing yet; but only
    /// the two of them, and the servers in between, know what the call is named.
    pub(in super::super) fn give_up_dials(&mut self, id: CallId, node: NodeId) {
        let Some(call) = self.calls.open.get_mut(&id).filter(|call| call.node() == Some(node)) else {
            return;
        };
        if let Part::Callee(_) = call.part {
            for stream in std::mem::take(&mut call.dials).into_keys() {
                self.core.streams.abandon(stream);
            }
        }
    }

    /// The node leaves: nothing will come of any call.
    pub(in super::super) fn leave_calls(&mut self, now: Instant) {
        self.calls.hosting.clear();
        for id in self.calls.ids() {
            let attempts = match self.calls.caller(id) {
                Some(caller) => std::mem::take(&mut caller.attempts),
                None => Vec::new(),
            };
            for waiter in attempts {
                self.tell_failed(waiter.attempt, FailReason::Cancelled);
            }
            self.give_up_call(id, now);
        }
    }
}
