//! Relays: both sides come to one with a ticket that both have signed.
//!
//! **Where it is** the one who is called decides: it is the server through which the two talk, and a relay of its own
//! configuration when that server relays nothing, or nothing comes of it. It comes nowhere else. The caller goes where it is
//! told; what is neither that server nor a relay of its own is a place that is merely claimed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::Part;
use super::dials::{DIAL_TIME, SYNS, time_of};
use super::signals::HeardCall;
use crate::connect::{RelayLimits, RelayRefusal, Rung};
use crate::id::{CallId, ServerId, StreamId};
use crate::node::peer::links::Errand;
use crate::node::peer::{Ends, Node, Role};
use crate::proto::budget::Class;
use crate::proto::dial::{is_dialable, is_own};
use crate::proto::rendezvous::relay_dial::{RelayDial, RelayFault};
use crate::time::Instant;
use crate::unl::{Place, UnlAddress};
use crate::wire::line::Found;
use crate::wire::proof::Ticket;
use crate::wire::relay;
use crate::wire::rendezvous::Token;
use crate::wire::signal::{Body, Half};

/// How long the way to the relay may take, the other side's included.
const RELAY_TIME: Duration = Duration::from_secs(8);

/// How long, of that, until it is connected.
const CONNECT_TIME: Duration = DIAL_TIME;

/// So often the one who is called comes to a relay in one call: to two places, as often as the ladder tries.
const MAX_RUNS: u8 = 12;

/// One side's way to the relay.
#[derive(Debug)]
pub(super) struct RelayRun {
    dial: RelayDial,
    stream: StreamId,
    server: SocketAddr,
    /// Our end, once it is connected.
    local: Option<SocketAddr>,
    began: Instant,
    pub(super) until: Instant,
}

impl RelayRun {
    pub(super) fn dial_stream(&self) -> StreamId {
        self.stream
    }
}

impl Node {
    /// What we sign so that the two of us are relayed at this server in this call.
    pub(super) fn sign_ticket(&self, id: CallId, server: SocketAddr) -> Option<Half> {
        let sig = self.ticket(id, server)?.sign(self.core.identity.key.as_ref()?);
        Some(Half { server, sig })
    }

    /// Where we would come when the caller finds no other way: to the server through which we talk, as we have dialled it, and
    /// to a relay of our own. Nobody is to send us anywhere else.
    pub(super) fn offer_relays(&mut self, id: CallId, call: &HeardCall, now: Instant) -> [Option<Half>; 2] {
        if !self.core.config.links.relay_used || call.upgrade {
            return [None; 2];
        }
        let is_signed = |server: SocketAddr| {
            let half = call.half.filter(|half| half.server == server);
            half.is_some_and(|half| {
                self.ticket(id, server).is_some_and(|ticket| ticket.is_signed_by(&call.from, &half.sig))
            })
        };
        let of_server = self.servers.addr_of(call.place).filter(|_| self.servers.relays(call.place));
        let of_server = of_server.filter(|&server| is_signed(server));
        let own = self.own_relay(call.half.map(|half| half.server), now);
        let servers: Vec<SocketAddr> =
            of_server.into_iter().chain(own.filter(|_| own != of_server)).collect();
        let mut halves = servers.iter().map(|&server| self.sign_ticket(id, server));
        let halves = [halves.next().flatten(), halves.next().flatten()];
        if let Some(call) = self.calls.open.get_mut(&id) {
            call.relays_offered = servers;
        }
        halves
    }

    /// The caller's decision: the other side is to come to the next relay that it would come to, and so do we.
    pub(super) fn call_to_relay(&mut self, id: CallId, now: Instant) {
        let Some(call) = self.calls.open.get(&id) else { return };
        let (place, theirs) = (call.server, call.their_halves.front().copied());
        // What went before says more than that no other try is possible.
        let why = call.relay_refusal.unwrap_or(RelayRefusal::Ticket);
        let (Some(place), Some(theirs)) = (place, theirs) else {
            return self.fail_relay(id, None, why, now);
        };
        let server = theirs.server;
        let ours = self.sign_ticket(id, server);
        let dial = self.relay_dial(id, &theirs, now).filter(|_| self.may_come_to_relay(id, server, now));
        let (Some(half), Some(dial)) = (ours, dial) else {
            return self.fail_relay(id, Some(server), why, now);
        };
        if self.signal(place, id, None, Body::Relay { half }, now) {
            self.begin_relay(id, dial, server, now);
        } else {
            self.release_claim(id, server, 0);
            self.fail_relay(id, Some(server), RelayRefusal::Unreachable, now);
        }
    }

    /// We come to where we said that we would, and no more often than a caller can want it.
    pub(super) fn handle_called_to_relay(&mut self, id: CallId, place: ServerId, half: Half, now: Instant) {
        let Some(call) = self.calls.open.get_mut(&id).filter(|call| call.server == Some(place)) else {
            return;
        };
        let server = half.server;
        let is_there = call.relay.as_ref().is_some_and(|run| run.server == server);
        if !call.relays_offered.contains(&server) || is_there || call.relay_runs >= MAX_RUNS {
            return;
        }
        call.relay_runs += 1;
        // Nothing came of the other one.
        if let Some(stream) = call.relay.take().map(|run| run.stream) {
            self.drop_stream(stream);
        }
        match self.relay_dial(id, &half, now).filter(|_| self.may_come_to_relay(id, server, now)) {
            Some(dial) => self.begin_relay(id, dial, server, now),
            None => self.fail_relay(id, Some(server), RelayRefusal::Ticket, now),
        }
    }

    fn begin_relay(&mut self, id: CallId, dial: RelayDial, server: SocketAddr, now: Instant) {
        let from = self.core.any_port();
        let stream = self.core.streams.dial(server, from, Role::Relaying(id), now);
        let claimed = self.is_claimed(id, server).then(|| time_of(self.claimed_syns()));
        let until = now + claimed.unwrap_or(CONNECT_TIME);
        if let Some(call) = self.calls.open.get_mut(&id) {
            call.relay = Some(RelayRun { dial, stream, server, local: None, began: now, until });
        }
    }

    /// A place that the other side merely claims to be a relay's gets the SYNs of any claimed address; and one that means
    /// something in one network only is left alone, unless a server sees us both in it.
    fn may_come_to_relay(&mut self, id: CallId, server: SocketAddr, now: Instant) -> bool {
        if let Some(place) = self.signalling_place(id, server) {
            return self.may_visit(place, server, now);
        }
        if !self.is_claimed(id, server) {
            return true;
        }
        let is_near = self.calls.open.get(&id).is_some_and(|call| call.same_network);
        let is_outside = UnlAddress { place: Place::Wan, addr: server }.oddity().is_none();
        let syns = self.claimed_syns();
        (is_outside || is_near)
            && is_dialable(server)
            && !is_own(&self.core.own, server)
            && self.core.budget.take(server, Class::Claimed, syns, now)
    }

    /// Whether only the other side says that there is a relay.
    fn is_claimed(&self, id: CallId, server: SocketAddr) -> bool {
        self.signalling_place(id, server).is_none() && !self.own_relays.has(server)
    }

    /// Gives back what was taken for a claimed place, but for so many SYNs.
    fn release_claim(&mut self, id: CallId, server: SocketAddr, used: u32) {
        if self.is_claimed(id, server) {
            let syns = self.claimed_syns().saturating_sub(used);
            self.core.budget.give_back(server, Class::Claimed, syns);
        }
    }

    fn claimed_syns(&self) -> u32 {
        SYNS.min(self.core.config.links.max_claimed_syns)
    }

    /// The server through which the two of us talk, if that is it.
    fn signalling_place(&self, id: CallId, server: SocketAddr) -> Option<ServerId> {
        let place = self.calls.open.get(&id)?.server?;
        (self.servers.addr_of(place) == Some(server)).then_some(place)
    }

    fn relay_dial(&mut self, id: CallId, theirs: &Half, now: Instant) -> Option<RelayDial> {
        let server = theirs.server;
        let ticket = self.ticket(id, server)?;
        let own = self.sign_ticket(id, server)?.sig;
        let call = self.calls.open.get(&id)?;
        if !ticket.is_signed_by(&call.peer?, &theirs.sig) {
            return None;
        }
        let ours = matches!(call.part, Part::Caller(_));
        let signatures = if ours { (own, theirs.sig) } else { (theirs.sig, own) };
        let key = Arc::new(self.core.identity.key.as_ref()?.clone());
        let nonce = Token::nonce(&mut self.calls.random);
        Some(RelayDial::new(key, &ticket, signatures, server, nonce, now + RELAY_TIME))
    }

    fn ticket(&self, id: CallId, server: SocketAddr) -> Option<Ticket> {
        let call = self.calls.open.get(&id)?;
        let (own, peer) = (self.core.identity.key.as_ref()?.public(), call.peer?);
        let (caller, callee) = if matches!(call.part, Part::Caller(_)) { (own, peer) } else { (peer, own) };
        Some(Ticket { server, session: *id.as_bytes(), caller, callee })
    }

    pub(in super::super) fn handle_relay_connected(&mut self, id: CallId, stream: StreamId, now: Instant) {
        let local = self.core.streams.facts(stream).and_then(|facts| facts.local);
        let Some(run) = self.relay_run(id, stream) else { return };
        run.local = local.or(Some(run.server));
        run.until = run.began + RELAY_TIME;
        let server = run.server;
        match self.signalling_place(id, server) {
            Some(place) => self.handle_visited(place),
            // One was enough; should it turn out to be somebody else's, that one still counts.
            None => self.release_claim(id, server, 1),
        }
        let Some(run) = self.relay_run(id, stream) else { return };
        let bytes = run.dial.handle_connected();
        // A fresh stream takes a few lines.
        let _ = self.core.streams.queue_raw(stream, &bytes);
        self.advance_relay(id, now);
    }

    pub(in super::super) fn handle_relay_lines(&mut self, id: CallId, stream: StreamId, now: Instant) {
        loop {
            let Some(run) = self.relay_run(id, stream) else { return };
            // What follows the last line of the server is the other side's.
            if run.dial.outcome().is_some() {
                return;
            }
            let Some(line) = self.core.streams.next_line(stream).map(Found::to_line) else { return };
            let Some(run) = self.relay_run(id, stream) else { return };
            run.dial.handle_line(line.as_bytes(), now);
            let server = run.server;
            if let Some(bytes) = run.dial.poll_send() {
                let _ = self.core.streams.queue_raw(stream, &bytes);
                // Who knows how to relay is no third party.
                self.release_claim(id, server, 0);
            }
            self.conclude_relay(id, now);
        }
    }

    fn conclude_relay(&mut self, id: CallId, now: Instant) {
        let Some(run) = self.calls.open.get(&id).and_then(|call| call.relay.as_ref()) else { return };
        let (stream, server) = (run.stream, run.server);
        let ends = Ends { dialler: run.local.unwrap_or(server), dialled: server };
        match run.dial.outcome() {
            None => {}
            Some(Ok(limits)) => self.greet_relayed(id, stream, limits_of(&limits), ends, now),
            Some(Err(why)) => {
                self.core.streams.close(stream, now);
                self.fail_relay_run(id, refusal(why), now);
            }
        }
    }

    /// The relay passes on: the caller is the dialling side of the hello.
    fn greet_relayed(&mut self, id: CallId, stream: StreamId, limits: RelayLimits, ends: Ends, now: Instant) {
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        call.relay_limits = Some(limits);
        let node = call.node();
        let ours = matches!(call.part, Part::Caller(_));
        let errand = Errand::Call { call: id, rung: Rung::Relay, upgrade: false };
        if ours {
            self.say_hello(stream, node, errand, ends, now);
        } else {
            self.expect_hello(stream, errand, ends, now);
        }
    }

    pub(in super::super) fn handle_relay_gone(&mut self, id: CallId, stream: StreamId, now: Instant) {
        if let Some(run) = self.relay_run(id, stream) {
            run.dial.handle_disconnected();
            self.conclude_relay(id, now);
        }
    }

    pub(super) fn advance_relay(&mut self, id: CallId, now: Instant) {
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        let Some(run) = call.relay.as_mut().filter(|run| run.until <= now) else { return };
        // A hello has a deadline of its own.
        if let Some(greeting) = self.links.greetings.get(&run.stream) {
            run.until = greeting.until.max(now + Duration::from_millis(1));
            return;
        }
        let (stream, is_connected) = (run.stream, run.local.is_some());
        self.core.streams.abandon(stream);
        let why = if is_connected { RelayRefusal::Absent } else { RelayRefusal::Unreachable };
        self.fail_relay_run(id, why, now);
    }

    /// A relayed connection came to nothing, if it is still the one that is tried.
    pub(super) fn handle_relayed_in_vain(&mut self, id: CallId, stream: StreamId, now: Instant) {
        if self.relay_run(id, stream).is_some() {
            self.fail_relay_run(id, RelayRefusal::Absent, now);
        }
    }

    /// Nothing came of a relay, or there is none. One that refuses is not asked again, and the next one is, at once; what
    /// may pass is the ladder's to try again, with the next one first.
    fn fail_relay(&mut self, id: CallId, server: Option<SocketAddr>, why: RelayRefusal, now: Instant) {
        self.core.notes.push(Level::Debug, || format!("call {id}: no relay: {why}"));
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        call.relay = None;
        call.relay_refusal = Some(why);
        let passes = matches!(why, RelayRefusal::Unreachable | RelayRefusal::Absent);
        let halves = &mut call.their_halves;
        if let Some(at) = halves.iter().position(|half| Some(half.server) == server) {
            let half = halves.remove(at);
            halves.extend(half.filter(|_| passes));
        }
        if !passes && !halves.is_empty() {
            return self.call_to_relay(id, now);
        }
        if let Some(ladder) = self.calls.ladder(id) {
            ladder.handle_relay_failed(why, now);
            self.climb(id, now);
        }
    }

    /// The same of the relay that is under way.
    fn fail_relay_run(&mut self, id: CallId, why: RelayRefusal, now: Instant) {
        let run = self.calls.open.get(&id).and_then(|call| call.relay.as_ref());
        let server = run.map(|run| run.server);
        self.fail_relay(id, server, why, now);
    }

    fn relay_run(&mut self, id: CallId, stream: StreamId) -> Option<&mut RelayRun> {
        self.calls.open.get_mut(&id)?.relay.as_mut().filter(|run| run.stream == stream)
    }
}

/// 0 stands for no limit on the wire.
fn limits_of(limits: &relay::RelayLimits) -> RelayLimits {
    let some = |number: u64| (number > 0).then_some(number);
    RelayLimits {
        bytes: some(limits.bytes),
        time: some(limits.seconds).map(Duration::from_secs),
        rate: some(limits.rate),
    }
}

fn refusal(why: RelayFault) -> RelayRefusal {
    let why = match why {
        RelayFault::Refused(why) => why,
        RelayFault::Denied(_) => return RelayRefusal::Ticket,
        RelayFault::Unknown => return RelayRefusal::Off,
        RelayFault::Nonsense | RelayFault::Lost => return RelayRefusal::Unreachable,
        RelayFault::Slow => return RelayRefusal::Absent,
    };
    match why {
        relay::RelayRefusal::Off => RelayRefusal::Off,
        relay::RelayRefusal::Full => RelayRefusal::Full,
        relay::RelayRefusal::Node | relay::RelayRefusal::Address => RelayRefusal::Share,
        relay::RelayRefusal::Absent => RelayRefusal::Absent,
        relay::RelayRefusal::Ticket | relay::RelayRefusal::Proof | relay::RelayRefusal::Used => {
            RelayRefusal::Ticket
        }
        relay::RelayRefusal::Other => RelayRefusal::Unreachable,
    }
}
