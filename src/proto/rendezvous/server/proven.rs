//! Clients that have proven who they are, what they say to each other, and how they are relayed.

use std::net::SocketAddr;
use std::time::Duration;

use super::action::{CloseWhy, ServerNews};
use super::addresses::Named;
use super::identities::{Claim, Claimant, Verdict};
use super::relays::{Joined, Session, Side};
use super::sender::Sender;
use super::{ClientId, Server, ServerAction};
use crate::address::canonical;
use crate::identity::{NodeId, PublicKey};
use crate::random::Random;
use crate::time::Instant;
use crate::wire::proof::{Denial, Proof, ProofRole, SignedTicket};
use crate::wire::relay::RelayRefusal;
use crate::wire::rendezvous::{Delivery, Features, Incarnation, Incoming, Outgoing, Reply, Token};

/// What a client's signals are counted over.
const WINDOW: Duration = Duration::from_secs(60);

/// The nonce of a connection. There is one for each, good for one proof, so that a proof can not be made beforehand,
/// nor shown twice; and so a connection costs one proof's arithmetic at most.
#[derive(Debug)]
pub(super) enum Nonce {
    Unsaid,
    Said(Token),
    Spent,
}

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) role: ProofRole,
    key: PublicKey,
    pub(super) id: NodeId,
    /// Its signals come here: there is no other process with the key that has them.
    holds: bool,
    /// Signals since then.
    signals: u32,
    since: Instant,
}

impl Nonce {
    /// What to say in answer to a `HELLO`.
    pub(super) fn say(&mut self, random: &mut Random) -> Option<Token> {
        if matches!(self, Self::Unsaid) {
            *self = Self::Said(Token::nonce(random));
        }
        match self {
            Self::Said(nonce) => Some(*nonce),
            Self::Unsaid | Self::Spent => None,
        }
    }

    fn spend(&mut self) -> Option<Token> {
        match std::mem::replace(self, Self::Spent) {
            Self::Said(nonce) => Some(nonce),
            Self::Unsaid | Self::Spent => None,
        }
    }
}

impl Proven {
    /// Whether one more signal is allowed in this minute.
    fn take_allowance(&mut self, limit: u32, now: Instant) -> bool {
        if self.since + WINDOW <= now {
            (self.since, self.signals) = (now, 0);
        }
        self.signals = self.signals.saturating_add(1);
        self.signals <= limit
    }
}

impl Server {
    pub(super) fn prove(&mut self, client: ClientId, proof: &Proof, now: Instant, reply: &mut Vec<u8>) {
        match self.check_proof(client, proof, now) {
            Ok(Some(id)) => {
                Reply::Proven(id).write(reply);
                if proof.role == ProofRole::Signal {
                    self.mailbox.collect(id, &self.limits, now, reply);
                }
            }
            Ok(None) => Reply::Pending.write(reply),
            Err(why) => Reply::Denied(why).write(reply),
        }
    }

    /// Who was asked whether it is still there is.
    pub(super) fn pong(&mut self, client: ClientId, token: Token) {
        let proven = self.clients.get(&client).and_then(|state| state.proven.as_ref());
        let id = proven.filter(|proven| proven.role == ProofRole::Signal).map(|proven| proven.id);
        if let Some(verdict) = id.and_then(|id| self.identities.handle_answer(id, client, token)) {
            self.judge(verdict);
        }
    }

    /// Those who were asked and are silent lose their ids.
    pub(super) fn replace_silent(&mut self, now: Instant) {
        while let Some(verdict) = self.identities.pop_silent(now) {
            let (id, winner) = (verdict.id, verdict.winner);
            self.judge(verdict);
            if let Some(winner) = winner {
                self.promote(id, winner, now);
            }
        }
    }

    /// A connection has the id from now on.
    pub(super) fn promote(&mut self, id: NodeId, client: ClientId, now: Instant) {
        self.set_holds(client, true);
        let mut text = Vec::new();
        Reply::Proven(id).write(&mut text);
        self.mailbox.collect(id, &self.limits, now, &mut text);
        self.send(client, text);
    }

    /// Tells who keeps the id, and those who have to wait.
    fn judge(&mut self, verdict: Verdict) {
        let Verdict { id, winner, refused } = verdict;
        let seen = |server: &Self, client| {
            server.clients.get(&client).map(|state| SocketAddr::new(state.ip, state.port))
        };
        let Some(owner) = winner.or_else(|| self.identities.connection(id)) else { return };
        for client in refused {
            self.set_holds(client, false);
            self.tell(client, &Reply::Denied(Denial::InUse));
            if let (Some(here), Some(there)) = (seen(self, owner), seen(self, client)) {
                self.tell(owner, &Reply::InUse(there));
                self.tell_host(ServerNews::KeyInUse { id, here, there });
            }
        }
    }

    fn set_holds(&mut self, client: ClientId, holds: bool) {
        let state = self.clients.get_mut(&client);
        if let Some(proven) = state.and_then(|state| state.proven.as_mut()) {
            proven.holds = holds;
        }
    }

    /// From where somebody asks is remembered under a name of his choice.
    pub(super) fn observe(&mut self, client: ClientId, token: Token, now: Instant, reply: &mut Vec<u8>) {
        let Some(state) = self.clients.get(&client) else { return };
        if self.limits.features.has(Features::OBSERVE) {
            let addr = SocketAddr::new(state.ip, state.port);
            self.observations.remember(token, addr, &self.limits, now);
            Reply::Seen(addr).write(reply);
        }
    }

    pub(super) fn signal(&mut self, client: ClientId, signal: Outgoing, now: Instant, reply: &mut Vec<u8>) {
        let to = signal.to;
        let outcome = self.pass_on(client, signal, now).unwrap_or(Delivery::Busy);
        match outcome {
            Delivery::Delivered | Delivery::Stored => self.signals.passed_on += 1,
            Delivery::Full | Delivery::Busy => self.signals.refused += 1,
        }
        Reply::Signaled { to, outcome }.write(reply);
    }

    pub(super) fn relay(
        &mut self,
        client: ClientId,
        signed: &SignedTicket,
        now: Instant,
        reply: &mut Vec<u8>,
    ) {
        match self.join(client, signed, now) {
            Ok(Joined::Waits) => {}
            Ok(Joined::With(other)) => self.splice(client, other, reply),
            Err(why) => Reply::Refused(why).write(reply),
        }
    }

    /// The connection's nonce is used up, whatever comes of it. `None`: another process has the key, and is asked.
    fn check_proof(
        &mut self,
        client: ClientId,
        proof: &Proof,
        now: Instant,
    ) -> Result<Option<NodeId>, Denial> {
        let state = self.clients.get_mut(&client).ok_or(Denial::Nonce)?;
        let nonce = state.nonce.spend().ok_or(Denial::Nonce)?;
        if !proof.holds(&nonce) {
            return Err(Denial::Signature);
        }
        if !self.is_here(client, proof.server) && !self.learns(client, proof.server, now) {
            return Err(Denial::Address);
        }
        let (role, key, id) = (proof.role, proof.key, proof.key.id());
        let claim = match role {
            ProofRole::Signal => self.claim(client, id, proof.incarnation, now)?,
            ProofRole::Relay => Claim::Held,
        };
        let holds = claim == Claim::Held;
        if let Some(state) = self.clients.get_mut(&client) {
            state.proven = Some(Box::new(Proven { role, key, id, holds, signals: 0, since: now }));
        }
        Ok(holds.then_some(id))
    }

    /// An older client does not understand that it may have to wait: it is as if it had not said which process it is.
    fn claim(
        &mut self,
        client: ClientId,
        id: NodeId,
        incarnation: Option<Incarnation>,
        now: Instant,
    ) -> Result<Claim, Denial> {
        let knows = self.clients.get(&client).is_some_and(|state| state.knows(Features::INCARNATION));
        let claimant = Claimant { client, incarnation: incarnation.filter(|_| knows) };
        let token = Token::from_number(self.random.next_u64());
        let claim = self.identities.claim(id, claimant, token, self.limits.identities, now);
        match claim {
            Claim::Full => return Err(Denial::Full),
            Claim::InUse => return Err(Denial::InUse),
            Claim::Held => {}
            Claim::Contested { ask } => {
                ask.into_iter().for_each(|owner| self.tell(owner, &Reply::Ping(token)));
            }
        }
        Ok(claim)
    }

    /// Whether this server is at the address that a client says it has dialled. Another server, which is shown something
    /// that was signed for itself, can not show it here.
    fn is_here(&self, client: ClientId, dialled: SocketAddr) -> bool {
        let same = |here: SocketAddr| {
            let (here, dialled) = (canonical(here), canonical(dialled));
            here.ip() == dialled.ip() && here.port() == dialled.port()
        };
        self.clients.get(&client).is_some_and(|state| same(state.local)) || self.own.knows(dialled)
    }

    /// A client has dialled, and proves so, what this server does not know as its own: whether it does now.
    fn learns(&mut self, client: ClientId, dialled: SocketAddr, now: Instant) -> bool {
        let Some(state) = self.clients.get(&client) else { return false };
        let named = self.own.handle_named(dialled, (client, state.ip), state.local.ip(), now);
        let learned = matches!(named, Named::Learned { .. });
        self.tell_host(match &named {
            Named::Foreign => ServerNews::Unbelieved { dialled },
            Named::Candidate { networks, needed } => {
                ServerNews::Unknown { dialled, networks: *networks, needed: *needed }
            }
            Named::Learned { .. } => ServerNews::Learned { dialled },
        });
        if let Named::Learned { denied } = named {
            for client in denied {
                let is_unproven = self.clients.get(&client).is_some_and(|state| state.proven.is_none());
                if is_unproven {
                    self.close(client, CloseWhy::Learned, now);
                }
            }
        }
        learned
    }

    /// `None` when the sender may not say anything now.
    fn pass_on(&mut self, client: ClientId, signal: Outgoing, now: Instant) -> Option<Delivery> {
        let state = self.clients.get_mut(&client)?;
        let proven =
            state.proven.as_mut().filter(|proven| proven.role == ProofRole::Signal && proven.holds)?;
        if !proven.take_allowance(self.limits.signals_a_minute, now) {
            return None;
        }
        let (from, sender) = (proven.key, Sender { id: proven.id, ip: state.ip });
        let seen = SocketAddr::new(state.ip, state.port);
        if !self.shares.take(signal.to, sender, &self.limits, now) {
            return None;
        }
        let Outgoing { to, observed, signature, text } = signal;
        let observed = observed.and_then(|token| self.observations.find(sender.ip, token, &self.limits, now));
        let mut line = Vec::new();
        Reply::Signal(Box::new(Incoming { from, seen, observed, signature, text })).write(&mut line);
        if let Some(recipient) = self.identities.connection(to) {
            return self.send(recipient, line).then_some(Delivery::Delivered);
        }
        let stored = self.mailbox.store(to, sender, line, &self.limits, now);
        Some(if stored { Delivery::Stored } else { Delivery::Full })
    }

    /// A connection has one try: its proof is used up, whatever comes of it, so that the arithmetic of two more
    /// signatures is all that it can cost.
    fn join(
        &mut self,
        client: ClientId,
        signed: &SignedTicket,
        now: Instant,
    ) -> Result<Joined, RelayRefusal> {
        let ticket = &signed.ticket;
        if !self.limits.features.has(Features::RELAY) {
            return Err(RelayRefusal::Off);
        }
        let state = self.clients.get_mut(&client).ok_or(RelayRefusal::Proof)?;
        let proven =
            state.proven.take_if(|proven| proven.role == ProofRole::Relay).ok_or(RelayRefusal::Proof)?;
        let side = match proven.key {
            key if key == ticket.caller => Side::Caller,
            key if key == ticket.callee => Side::Callee,
            _ => return Err(RelayRefusal::Proof),
        };
        let ip = state.ip;
        if !self.is_here(client, ticket.server) || !signed.holds() {
            return Err(RelayRefusal::Ticket);
        }
        // Two more actions follow a pair.
        if self.actions.len().saturating_add(2) > self.limits.actions {
            return Err(RelayRefusal::Full);
        }
        let session =
            Session { number: ticket.session, caller: ticket.caller.id(), callee: ticket.callee.id() };
        self.relays.join((client, ip), (session, side), &self.limits, now)
    }

    fn splice(&mut self, client: ClientId, other: ClientId, reply: &mut Vec<u8>) {
        let line = Reply::Relayed(self.limits.relay);
        self.tell(other, &line);
        line.write(reply);
        for half in [client, other] {
            if let Some(state) = self.clients.get_mut(&half) {
                state.is_spliced = true;
                self.idle.set(half, &mut state.due, None);
            }
        }
        self.actions.push_back(ServerAction::Splice { a: other, b: client });
    }
}
