//! The client of a node that has a key: it proves it in each session, and then signals go both ways.

use std::net::SocketAddr;
use std::time::Duration;

use super::event::{ClientEvent, DownWhy, Outcome};
use super::session::{Answer, Session, Standing};
use super::{Client, MAX_OUT, State};
use crate::identity::{NodeId, Signature};
use crate::time::Instant;
use crate::wire::proof::{self, Denial, ProofRole};
use crate::wire::rendezvous::{Features, Outgoing, Request, SignalText, Token};

/// Signals whose answers are awaited, at most: more than a node has attempts to connect at a time by default.
const MAX_SIGNALS: usize = 32;

impl Client {
    /// Sends a signal to a node, which [`ClientEvent::Signaled`] answers; `observed` names an
    /// [`Observe`](super::observe::Observe) of ours, whose address the recipient is told. False when that can
    /// not be done now: this session has not asked to be proven for signals, or was denied it; or too much is under
    /// way; or the text is none.
    pub(crate) fn signal(
        &mut self,
        to: NodeId,
        observed: Option<Token>,
        signature: Signature,
        text: &str,
        now: Instant,
    ) -> bool {
        let until = now + self.config.answer_within;
        if !self.takes_signals() {
            return false;
        }
        let State::Open(session) = &mut self.state else { return false };
        let Some(text) = SignalText::new(text) else { return false };
        let signal = Outgoing { to, observed, signature, text };
        session.ask(&Request::Signal(Box::new(signal)), Answer::Signaled(to), until, &mut self.out);
        true
    }

    /// Whether a signal can be sent now.
    pub(crate) fn takes_signals(&self) -> bool {
        let room = !self.leaving && self.out.len() <= MAX_OUT && self.config.role == ProofRole::Signal;
        self.session().is_some_and(|session| {
            let standing = matches!(session.standing, Standing::Asked | Standing::Proven);
            let known = session.features.has(Features::SIGNAL);
            room && standing && known && session.signals().count() < MAX_SIGNALS
        })
    }

    /// Whether the server knows in this session who we are.
    pub(crate) fn is_proven(&self) -> bool {
        self.session().is_some_and(|session| session.standing == Standing::Proven)
    }

    /// What both sides know in this session; nothing without one.
    pub(crate) fn agreed(&self) -> Features {
        self.session().map_or(Features::NONE, |session| session.features)
    }

    /// The shortest round trip in this session.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.session()?.rtt
    }

    /// The server's end of this session, as it was dialled.
    pub(crate) fn server_addr(&self) -> Option<SocketAddr> {
        self.session().map(Session::server)
    }

    /// What is said to be known with `HELLO`: what is of no use without a key only with one.
    pub(super) fn offered(&self) -> Features {
        let features = self.config.features;
        match (&self.config.key, self.config.incarnation) {
            (None, _) => features.without(Features::PROVEN),
            (Some(_), None) => features.without(Features::INCARNATION),
            (Some(_), Some(_)) => features,
        }
    }

    /// The server has agreed on its features, and given a nonce: proves the key, and waits for nothing.
    pub(super) fn prove(&mut self, server_nonce: Option<Token>, now: Instant) {
        let until = now + self.config.answer_within;
        let State::Open(session) = &mut self.state else { return };
        let Some((key, server_nonce)) = self.config.key.as_ref().zip(server_nonce) else { return };
        if !session.features.has(Features::ID) {
            return;
        }
        let nonce = Token::nonce(&mut self.random);
        let incarnation = self.config.incarnation.filter(|_| session.features.has(Features::INCARNATION));
        let (role, server) = (self.config.role, session.server());
        let request = proof::prove_as(key, role, incarnation, server, &server_nonce, &nonce);
        session.standing = Standing::Asked;
        session.ask(&request, Answer::Proof, until, &mut self.out);
    }

    pub(super) fn proven(&mut self, id: NodeId, now: Instant) {
        let own = self.config.key.as_ref().map(|key| key.id());
        if own != Some(id) {
            return self.fail(DownWhy::Nonsense, true, now);
        }
        if let State::Open(session) = &mut self.state {
            session.standing = Standing::Proven;
        }
        self.emit(ClientEvent::Proven);
    }

    /// Whether it is, will be told.
    pub(super) fn pending(&mut self) {
        if let State::Open(session) = &mut self.state {
            session.standing = Standing::Pending;
        }
    }

    /// The server wants to know whether this process is still there, because there is another one.
    pub(super) fn pong(&mut self, token: Token) {
        if self.out.len() <= MAX_OUT {
            Request::Pong(token).write(&mut self.out);
        }
    }

    /// The session is good for everything else.
    pub(super) fn denied(&mut self, why: Denial) {
        let State::Open(session) = &mut self.state else { return };
        session.standing = if why == Denial::InUse { Standing::Behind } else { Standing::Denied };
        let server = session.server();
        self.emit(ClientEvent::Denied { why, server });
    }

    /// The session ends: nobody will answer these any more.
    pub(super) fn lose_signals(&mut self) {
        let Some(session) = self.session() else { return };
        let lost: Vec<NodeId> = session.signals().collect();
        for to in lost {
            self.emit(ClientEvent::Signaled { to, outcome: Outcome::Lost });
        }
    }
}
