//! One end's way into a relay: a connection to the server that says who it is, shows the ticket, and then is the peer's.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::identity::{Key, Signature};
use crate::time::Instant;
use crate::wire::proof::{self, Denial, ProofRole, Ticket};
use crate::wire::relay::{RelayLimits, RelayRefusal};
use crate::wire::rendezvous::{Features, Reply, Request, Token};

/// What a relay's end says before it may hear the peer.
const OFFERED: Features = Features::ID.or(Features::RELAY);

/// Why there is no relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RelayFault {
    /// The server's word.
    Refused(RelayRefusal),
    /// The server does not take the proof.
    Denied(Denial),
    /// The server does not know how to relay, or does not want to.
    Unknown,
    /// It said what it was not asked.
    Nonsense,
    /// The connection has ended.
    Lost,
    /// The deadline is over.
    Slow,
}

/// One end of a relay. Once [`outcome`](Self::outcome) is good, all that comes behind that line is the peer's;
/// before, nothing is to be sent but what this gives.
#[derive(Debug)]
pub(crate) struct RelayDial {
    key: Arc<Key>,
    ticket: Request,
    server: SocketAddr,
    nonce: Token,
    deadline: Instant,
    stage: Stage,
    out: Vec<u8>,
    outcome: Option<Result<RelayLimits, RelayFault>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// `HELLO` is sent, or will be.
    Greeting,
    /// `PROVE` and `RELAY` are sent.
    Proving,
    /// The server knows us; the other end is awaited.
    Waiting,
}

impl RelayDial {
    /// `server` as it is dialled, which is what the ticket has to say; `nonce`: one of our own.
    pub(crate) fn new(
        key: Arc<Key>,
        ticket: &Ticket,
        (caller_signature, callee_signature): (Signature, Signature),
        server: SocketAddr,
        nonce: Token,
        deadline: Instant,
    ) -> Self {
        let ticket = ticket.request(caller_signature, callee_signature);
        let (stage, out) = (Stage::Greeting, Vec::new());
        Self { key, ticket, server, nonce, deadline, stage, out, outcome: None }
    }

    /// It is connected: what to send first.
    pub(crate) fn handle_connected(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        Request::Hello(OFFERED).write(&mut text);
        text
    }

    /// A line came, without its end. To be called until there is an outcome, and not with what comes after.
    pub(crate) fn handle_line(&mut self, line: &[u8], now: Instant) {
        self.handle_timeout(now);
        if self.outcome.is_some() {
            return;
        }
        self.outcome = match (self.stage, Reply::parse(line)) {
            (Stage::Greeting, Some(Reply::Hello { features, nonce })) => self.greeted(features, nonce),
            (Stage::Proving, Some(Reply::Proven(id))) if id == self.key.id() => {
                self.stage = Stage::Waiting;
                None
            }
            (Stage::Proving, Some(Reply::Denied(why))) => Some(Err(RelayFault::Denied(why))),
            (Stage::Waiting, Some(Reply::Relayed(limits))) => Some(Ok(limits)),
            (Stage::Waiting, Some(Reply::Refused(why))) => Some(Err(RelayFault::Refused(why))),
            _ => Some(Err(RelayFault::Nonsense)),
        };
    }

    /// The connection has ended, or did not come about.
    pub(crate) fn handle_disconnected(&mut self) {
        self.outcome.get_or_insert(Err(RelayFault::Lost));
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.deadline <= now {
            self.outcome.get_or_insert(Err(RelayFault::Slow));
        }
    }

    #[cfg(test)]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.outcome.is_none().then_some(self.deadline)
    }

    /// What to send next.
    pub(crate) fn poll_send(&mut self) -> Option<Vec<u8>> {
        (!self.out.is_empty()).then(|| std::mem::take(&mut self.out))
    }

    pub(crate) fn outcome(&self) -> Option<Result<RelayLimits, RelayFault>> {
        self.outcome
    }

    /// Says all that there is to say: the server reads one after the other.
    fn greeted(
        &mut self,
        features: Features,
        nonce: Option<Token>,
    ) -> Option<Result<RelayLimits, RelayFault>> {
        let Some(server_nonce) = nonce.filter(|_| features.has(OFFERED)) else {
            return Some(Err(RelayFault::Unknown));
        };
        proof::prove(&self.key, ProofRole::Relay, self.server, &server_nonce, &self.nonce)
            .write(&mut self.out);
        self.ticket.write(&mut self.out);
        self.stage = Stage::Proving;
        None
    }
}
