//! One connection of the client to its server: which answers are still to come, and by when.
//!
//! Servers answer in order, so an answer is recognised by what stands first in the queue; whatever else comes is a
//! notice or nonsense.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::client::ServerKind;
use crate::time::Instant;
use crate::wire::rendezvous::{Features, Listed, Reply, Request, Token};

/// An answer that the server owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// To the `SOURCE` that every server answers: a `HELLO` either came before it or never comes.
    Greeting,
    Seen,
    /// To a registration: `LISTED` or `FULL`.
    Listed,
    /// To the `SOURCE` behind a registration that is not answered itself: so the server has read that too.
    Registered,
    Nodes,
    /// To a `SOURCE` of the user's.
    Source,
    /// To a `PING`.
    Pong(Token),
    /// To the `SOURCE` that stands for a `PING` where that is not known.
    Alive,
}

impl Answer {
    fn fits(self, reply: &Reply) -> bool {
        match self {
            Self::Greeting | Self::Registered | Self::Source | Self::Alive => {
                matches!(reply, Reply::Remote { .. })
            }
            Self::Seen => matches!(reply, Reply::Seen(_)),
            Self::Listed => matches!(reply, Reply::Listed { .. } | Reply::Full),
            Self::Nodes => matches!(reply, Reply::Nodes(_)),
            Self::Pong(token) => *reply == Reply::Pong(token),
        }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    local: SocketAddr,
    /// Known from the answer to the greeting on.
    pub(super) kind: Option<ServerKind>,
    pub(super) features: Features,
    /// Our address as the server sees it.
    pub(super) seen: Option<SocketAddr>,
    /// A candidate of ours is with the server until then.
    pub(super) punching: Option<Instant>,
    pub(super) ping_at: Instant,
    /// Lines that made no sense.
    pub(super) strikes: usize,
    awaited: VecDeque<(Answer, Instant)>,
}

impl Session {
    pub(super) fn new(local: SocketAddr, ping_at: Instant) -> Self {
        Self {
            local,
            kind: None,
            features: Features::NONE,
            seen: None,
            punching: None,
            ping_at,
            strikes: 0,
            awaited: VecDeque::new(),
        }
    }

    pub(super) fn ask(&mut self, request: &Request, answer: Answer, until: Instant, out: &mut Vec<u8>) {
        request.write(out);
        self.awaited.push_back((answer, until));
    }

    /// A question that every server answers.
    pub(super) fn ask_source(&mut self, answer: Answer, until: Instant, out: &mut Vec<u8>) {
        self.ask(&Request::Source { port: Some(self.local.port()) }, answer, until, out);
    }

    pub(super) fn ask_alive(&mut self, token: Token, until: Instant, out: &mut Vec<u8>) {
        if self.features.has(Features::PING) {
            self.ask(&Request::Ping(token), Answer::Pong(token), until, out);
        } else {
            self.ask_source(Answer::Alive, until, out);
        }
    }

    /// What the reply answers, if it is what comes next.
    pub(super) fn answered(&mut self, reply: &Reply) -> Option<Answer> {
        let (answer, _) = self.awaited.front().filter(|(answer, _)| answer.fits(reply))?;
        let answer = *answer;
        self.awaited.pop_front();
        Some(answer)
    }

    pub(super) fn awaits(&self, wanted: impl Fn(Answer) -> bool) -> bool {
        self.awaited.iter().any(|(answer, _)| wanted(*answer))
    }

    pub(super) fn owed(&self) -> usize {
        self.awaited.len()
    }

    /// When the server is too slow.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.awaited.iter().map(|(_, until)| *until).min()
    }

    /// How long to keep a connection to a server that is not kept otherwise.
    pub(super) fn punching(&mut self, now: Instant) {
        /// As long as the server keeps a candidate.
        const KEPT: Duration = Duration::from_secs(120);
        self.punching = Some(now + KEPT);
    }

    /// Whether a node that the server names can be one that we might dial.
    pub(super) fn plausible(&self, node: &Listed, own_port: Option<u16>) -> bool {
        let ip = node.addr.ip();
        let nowhere = ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::from([255; 4]);
        // A server elsewhere can not know what is on our loopback; it would aim us at ourselves.
        let foreign = ip.is_loopback() && !self.local.ip().to_canonical().is_loopback();
        let own = self.seen.is_some_and(|seen| seen.ip() == ip) && own_port == Some(node.addr.port());
        node.addr.port() != 0 && !nowhere && !foreign && !own
    }
}
