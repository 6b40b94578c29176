//! The signals between the two sides of a call.
//!
//! What a server says of a signal, that is who sent it and where it sees that node, is believed as far as the server is
//! one of our own choice; what the node says is signed by it. A signal that was forged, changed, or meant for somebody
//! else is dropped without an answer.

use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use crate::connect::Refusal;
use crate::id::{CallId, ServerId};
use crate::identity::{NodeId, PublicKey};
use crate::node::peer::Node;
use crate::proto::punch::Side;
use crate::time::Instant;
use crate::wire::rendezvous::{Incoming, Token};
use crate::wire::signal::{self, Body, Half, RefuseWhy, Signal};

/// A round trip that is longer is taken for this: nobody is to make us wait.
const LONGEST_TRIP: Duration = Duration::from_secs(2);

/// What a node said to our call, and where that was seen.
#[derive(Debug)]
pub(super) struct HeardAnswer {
    pub(super) place: ServerId,
    pub(super) seen: SocketAddr,
    pub(super) unl: String,
    pub(super) punch: bool,
    pub(super) halves: [Option<Half>; 2],
}

/// A call that came.
#[derive(Debug)]
pub(super) struct HeardCall {
    pub(super) place: ServerId,
    pub(super) from: PublicKey,
    pub(super) seen: SocketAddr,
    pub(super) unl: String,
    pub(super) reverse: bool,
    pub(super) punch: bool,
    pub(super) half: Option<Half>,
    pub(super) upgrade: bool,
}

impl Node {
    /// Sends a signal to the other side of a call; whether the server takes it.
    pub(super) fn signal(
        &mut self,
        place: ServerId,
        id: CallId,
        observed: Option<Token>,
        body: Body,
        now: Instant,
    ) -> bool {
        let to = self.calls.peer_of(id);
        to.is_some_and(|to| self.signal_to(to, place, id, observed, body, now))
    }

    pub(super) fn signal_to(
        &mut self,
        to: NodeId,
        place: ServerId,
        id: CallId,
        observed: Option<Token>,
        body: Body,
        now: Instant,
    ) -> bool {
        let Some(key) = &self.core.identity.key else { return false };
        let text = signal::print(&Signal { call: id, body });
        let signature = signal::sign(key, &to, &text);
        let sent = self.send_signal(place, to, observed, signature, &text, now);
        self.core.notes.push(Level::Debug, || format!("call {id}, to {to}, sent: {sent}: {text}"));
        sent
    }

    /// Something came from another node by way of a server.
    pub(in super::super) fn handle_signal(&mut self, place: ServerId, incoming: &Incoming, now: Instant) {
        let Some(own) = self.core.identity.id().filter(|_| !self.core.is_leaving()) else { return };
        let text = incoming.text.as_str();
        if !signal::is_signed(&incoming.from, &own, text, &incoming.signature) {
            let from = incoming.from.id();
            self.core.notes.push(Level::Warn, || format!("a signal that {from} has not signed for us"));
            return;
        }
        let Some(Signal { call: id, body }) = signal::parse(text) else { return };
        self.core.notes.push(Level::Debug, || format!("call {id}: {text}"));
        if let Body::Call { unl, reverse, punch, relay, upgrade } = body {
            let (from, seen) = (incoming.from, incoming.seen);
            let call = HeardCall { place, from, seen, unl, reverse, punch, half: relay, upgrade };
            self.handle_call(id, call, now);
        } else if self.calls.peer_of(id) == Some(incoming.from.id()) {
            self.handle_body(id, place, incoming, body, now);
        }
    }

    fn handle_body(&mut self, id: CallId, place: ServerId, incoming: &Incoming, body: Body, now: Instant) {
        let ours = self.calls.is_ours(id);
        match body {
            Body::Answer { unl, punch, relay, second } if ours => {
                let (seen, halves) = (incoming.seen, [relay, second]);
                let answer = HeardAnswer { place, seen, unl, punch, halves };
                self.handle_answer(id, answer, now);
            }
            Body::Refuse { why } if ours => {
                if let Some(ladder) = self.calls.ladder(id) {
                    ladder.handle_refused(refusal(why), now);
                }
                self.climb(id, now);
            }
            Body::Meet { round, port, kind, dial_in_us: _ } if ours => {
                // What one server has seen is believed as far as that one is: see `trusts`.
                let is_the_calls = self.calls.open.get(&id).is_some_and(|call| call.server == Some(place));
                let Some(seen) = incoming.observed.filter(|_| is_the_calls) else { return };
                if let Some(ladder) = self.calls.ladder(id) {
                    ladder.handle_meet(round, Side { seen, local_port: port, kind }, now);
                }
                self.climb(id, now);
            }
            Body::Ready { round, port, kind, rtt_us } if !ours => {
                let Some(seen) = incoming.observed else { return };
                let rtt = Duration::from_micros(rtt_us.into()).min(LONGEST_TRIP);
                self.handle_ready(id, place, round, Side { seen, local_port: port, kind }, rtt, now);
            }
            Body::Relay { half } if !ours => self.handle_called_to_relay(id, place, half, now),
            Body::Done if !ours => {
                self.forget_call(id, now);
                self.resume_call(incoming.from.id(), now);
            }
            _ => {}
        }
    }

    /// Our port was seen: the other side is to see its own.
    pub(super) fn send_ready(&mut self, id: CallId, round: u8, ours: Side, now: Instant) {
        let Some((place, token)) = self.seen_by(id, round) else { return };
        let rtt = self.servers.rtt_of(place).unwrap_or_default();
        let rtt_us = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
        let body = Body::Ready { round, port: ours.local_port, kind: ours.kind, rtt_us };
        self.signal(place, id, Some(token), body, now);
    }

    /// Both ports were seen, and it is known when we dial.
    pub(super) fn send_meet(&mut self, id: CallId, round: u8, ours: Side, dial_in: Duration, now: Instant) {
        let Some((place, token)) = self.seen_by(id, round) else { return };
        let dial_in_us = u32::try_from(dial_in.as_micros()).unwrap_or(u32::MAX);
        let body = Body::Meet { round, port: ours.local_port, kind: ours.kind, dial_in_us };
        self.signal(place, id, Some(token), body, now);
    }

    pub(super) fn refuse_call(&mut self, id: CallId, call: &HeardCall, why: RefuseWhy, now: Instant) {
        self.signal_to(call.from.id(), call.place, id, None, Body::Refuse { why }, now);
    }

    /// Whether what comes through this server is believed about addresses: we have chosen it.
    pub(super) fn trusts(&self, id: CallId) -> bool {
        let place = self.calls.open.get(&id).and_then(|call| call.server);
        place.is_some_and(|place| self.servers.is_own(place))
    }
}

fn refusal(why: RefuseWhy) -> Refusal {
    match why {
        RefuseWhy::Busy => Refusal::Busy,
        RefuseWhy::Full => Refusal::Full,
        RefuseWhy::Closing => Refusal::Closing,
        RefuseWhy::Unwilling => Refusal::Unwilling,
        RefuseWhy::UnknownCall => Refusal::Unknown,
    }
}
