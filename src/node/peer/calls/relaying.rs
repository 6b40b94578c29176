//! Relays: both sides come to the server through which they talk, with a ticket that both have signed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::Part;
use super::caller::short;
use super::signals::HeardCall;
use crate::connect::{RelayLimits, RelayRefusal, Rung};
use crate::id::ConId;
use crate::node::peer::links::Errand;
use crate::node::peer::{Ends, Node, Role};
use crate::proto::rendezvous::relay_dial::{RelayDial, RelayFault};
use crate::time::Instant;
use crate::wire::hello::CallId;
use crate::wire::line::Found;
use crate::wire::proof::Ticket;
use crate::wire::relay;
use crate::wire::rendezvous::Token;
use crate::wire::signal::{Body, Half};

/// How long the way to the relay may take, the other side's included.
const RELAY_TIME: Duration = Duration::from_secs(8);

/// One side's way to the relay.
#[derive(Debug)]
pub(super) struct RelayRun {
    dial: RelayDial,
    stream: ConId,
    server: SocketAddr,
    local: Option<SocketAddr>,
    pub(super) until: Instant,
}

impl RelayRun {
    pub(super) fn dial_stream(&self) -> ConId {
        self.stream
    }
}

impl Node {
    /// What we sign so that the two of us are relayed at this server in this call.
    pub(super) fn sign_ticket(&self, id: CallId, server: SocketAddr) -> Option<Half> {
        let sig = self.ticket(id, server)?.sign(self.links.key.as_ref()?);
        Some(Half { server, sig })
    }

    /// The server of the ticket has to be the one through which we talk, as we have dialled it: nobody is to send us
    /// anywhere else.
    pub(super) fn accept_ticket(&self, id: CallId, call: &HeardCall) -> Option<Half> {
        let half = call.half.filter(|_| self.config.links.relay_used)?;
        let server = self.servers.addr_of(call.place).filter(|_| self.servers.relays(call.place))?;
        let ticket = self.ticket(id, server)?;
        let fine = half.server == server && ticket.is_signed_by(&call.from, &half.sig);
        self.sign_ticket(id, server).filter(|_| fine)
    }

    /// The caller's decision: the other side is to come, and so do we.
    pub(super) fn call_to_relay(&mut self, id: CallId, now: Instant) {
        let Some(place) = self.calls.open.get(&id).and_then(|call| call.server) else { return };
        let half = self.servers.addr_of(place).and_then(|server| self.sign_ticket(id, server));
        match half {
            Some(half) if self.signal(place, id, None, Body::Relay { half }, now) => {
                self.begin_relay(id, place, now);
            }
            _ => self.fail_relay(id, RelayRefusal::Unreachable, now),
        }
    }

    pub(super) fn handle_called_to_relay(&mut self, id: CallId, place: usize, half: Half, now: Instant) {
        let known = self.calls.open.get(&id).is_some_and(|call| {
            call.server == Some(place) && call.their_half == Some(half) && call.relay.is_none()
        });
        if known && self.config.links.relay_used {
            self.begin_relay(id, place, now);
        }
    }

    fn begin_relay(&mut self, id: CallId, place: usize, now: Instant) {
        let begun = self.relay_dial(id, place, now);
        let Some((dial, server)) = begun.filter(|(_, server)| self.may_visit(place, *server, now)) else {
            return self.fail_relay(id, RelayRefusal::Ticket, now);
        };
        let from = self.config.bind.map(|ip| SocketAddr::new(ip, 0));
        let stream = self.streams.dial(server, from, Role::Relaying(id), now);
        if let Some(call) = self.calls.open.get_mut(&id) {
            call.relay = Some(RelayRun { dial, stream, server, local: None, until: now + RELAY_TIME });
        }
    }

    fn relay_dial(&mut self, id: CallId, place: usize, now: Instant) -> Option<(RelayDial, SocketAddr)> {
        let server = self.servers.addr_of(place)?;
        let ticket = self.ticket(id, server)?;
        let own = self.sign_ticket(id, server)?.sig;
        let call = self.calls.open.get(&id)?;
        let theirs = call.their_half?;
        let peer = call.peer?;
        let ours = matches!(call.part, Part::Caller(_));
        if !ticket.is_signed_by(&peer, &theirs.sig) {
            return None;
        }
        let (caller, callee) = if ours { (own, theirs.sig) } else { (theirs.sig, own) };
        let key = self.links.key.as_ref()?;
        let nonce = Token::nonce(&mut self.calls.random);
        let signatures = (caller, callee);
        let key = Arc::new(key.clone());
        Some((RelayDial::new(key, &ticket, signatures, server, nonce, now + RELAY_TIME), server))
    }

    fn ticket(&self, id: CallId, server: SocketAddr) -> Option<Ticket> {
        let call = self.calls.open.get(&id)?;
        let (own, peer) = (self.links.key.as_ref()?.public(), call.peer?);
        let (caller, callee) = if matches!(call.part, Part::Caller(_)) { (own, peer) } else { (peer, own) };
        Some(Ticket { server, session: id, caller, callee })
    }

    pub(in super::super) fn handle_relay_connected(&mut self, id: CallId, stream: ConId, now: Instant) {
        let local = self.streams.facts(stream).and_then(|facts| facts.local);
        if let Some(place) = self.calls.open.get(&id).and_then(|call| call.server) {
            self.handle_visited(place);
        }
        let Some(run) = self.relay_run(id, stream) else { return };
        run.local = local;
        let bytes = run.dial.handle_connected();
        // A fresh stream takes a few lines.
        let _ = self.streams.queue_raw(stream, &bytes);
        self.advance_relay(id, now);
    }

    pub(in super::super) fn handle_relay_lines(&mut self, id: CallId, stream: ConId, now: Instant) {
        loop {
            let Some(run) = self.relay_run(id, stream) else { return };
            // What follows the last line of the server is the other side's.
            if run.dial.outcome().is_some() {
                return;
            }
            let Some(line) = self.streams.next_line(stream).map(Found::to_line) else { return };
            let Some(run) = self.relay_run(id, stream) else { return };
            run.dial.handle_line(line.as_bytes(), now);
            if let Some(bytes) = run.dial.poll_send() {
                let _ = self.streams.queue_raw(stream, &bytes);
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
                self.streams.close(stream, now);
                self.fail_relay(id, refusal(why), now);
            }
        }
    }

    /// The relay passes on: the caller is the dialling side of the hello.
    fn greet_relayed(&mut self, id: CallId, stream: ConId, limits: RelayLimits, ends: Ends, now: Instant) {
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

    pub(in super::super) fn handle_relay_gone(&mut self, id: CallId, stream: ConId, now: Instant) {
        if self.relay_run(id, stream).is_some() {
            self.fail_relay(id, RelayRefusal::Unreachable, now);
        }
    }

    pub(super) fn advance_relay(&mut self, id: CallId, now: Instant) {
        let Some(call) = self.calls.open.get(&id) else { return };
        let Some(run) = &call.relay else { return };
        if run.until <= now && !self.links.greetings.contains_key(&run.stream) {
            let stream = run.stream;
            self.streams.abandon(stream);
            self.fail_relay(id, RelayRefusal::Absent, now);
        }
    }

    pub(super) fn handle_relayed_in_vain(&mut self, id: CallId, now: Instant) {
        self.fail_relay(id, RelayRefusal::Absent, now);
    }

    fn fail_relay(&mut self, id: CallId, why: RelayRefusal, now: Instant) {
        self.notes.push(Level::Debug, || format!("call {}: no relay: {why}", short(&id)));
        if let Some(call) = self.calls.open.get_mut(&id) {
            call.relay = None;
        }
        if let Some(ladder) = self.calls.ladder(id) {
            ladder.handle_relay_failed(why, now);
            self.climb(id, now);
        }
    }

    fn relay_run(&mut self, id: CallId, stream: ConId) -> Option<&mut RelayRun> {
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
