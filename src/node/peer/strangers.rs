//! Connections that may be a server's probe, and are held back until that is known.
//!
//! A server that was asked whether it can connect to us comes like any peer. While that is awaited, whoever comes from
//! that server's address is held back until its first bytes, or a short time, show who it is: the probe is answered
//! and gone, without a slot and without the application's knowledge; anybody else is a peer like others.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use log::Level;

use super::ends::Ends;
use super::{Node, Role};
use crate::id::ConId;
use crate::proto::reach::Verdict;
use crate::time::{Instant, soonest};
use crate::wire::probe::{self, Prompt};
use crate::wire::rendezvous::Token;

/// A server prompts as soon as it is connected: who has not done so after this is a peer that waits to be greeted.
const HOLD: Duration = Duration::from_secs(1);

/// So many connections are held back at once, far more than the servers that are asked would make: whoever comes
/// beyond it, from the address of a server and within a moment, is refused.
const MAX_HELD: usize = 64;

/// What is awaited, and who is held back because of it.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    awaited: Vec<Awaited>,
    held: Vec<Held>,
    /// Those that turned out to be peers and wait to be screened.
    peers: VecDeque<ConId>,
}

/// A probe that a server was asked for.
#[derive(Debug)]
struct Awaited {
    server: usize,
    port: u16,
    ip: IpAddr,
    nonce: Token,
    /// The prompt came and was answered; what the server says of it is still to come.
    answered: bool,
    /// The server is gone; what it has begun may still come, or end, until then.
    until: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    id: ConId,
    until: Instant,
}

impl Strangers {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let held = self.held.iter().map(|held| Some(held.until));
        let awaited = self.awaited.iter().map(|awaited| awaited.until);
        held.chain(awaited).fold(None, soonest)
    }

    pub(super) fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    fn awaits(&self, ip: IpAddr) -> bool {
        self.awaited.iter().any(|awaited| awaited.ip == ip && !awaited.answered)
    }
}

impl Node {
    /// Whether this may be a probe, so that nobody else is to be asked about it yet.
    pub(crate) fn may_be_probe(&self, peer: SocketAddr) -> bool {
        self.strangers.awaits(peer.ip())
    }

    /// Asks a server to connect to us.
    pub(super) fn ask_for_probe(&mut self, server: usize, port: u16, now: Instant) {
        let nonce = Token::nonce(&mut self.reaching.random);
        match self.ask_server_for_probe(server, port, nonce, now) {
            Some(ip) => {
                // What an earlier one left behind must not get the place of this one.
                self.strangers.awaited.retain(|awaited| {
                    awaited.server != server && !(awaited.ip == ip && awaited.until.is_some())
                });
                self.strangers.awaited.push(Awaited {
                    server,
                    port,
                    ip,
                    nonce,
                    answered: false,
                    until: None,
                });
            }
            None => self.reaching.finder_mut().handle_probed(server, port, Verdict::Unanswered, now),
        }
    }

    /// The server has said what came of it, or not in time: about this port, as another may be awaited by now. Whether it
    /// was met and answered all the same, so that a "no" says only that this program was not quick enough.
    pub(super) fn conclude_probe(&mut self, server: usize, port: u16, now: Instant) -> bool {
        let is_it = |awaited: &Awaited| (awaited.server, awaited.port) == (server, port);
        let was_met = self.strangers.awaited.iter().any(|awaited| is_it(awaited) && awaited.answered);
        self.strangers.awaited.retain(|awaited| !(is_it(awaited) && awaited.answered));
        // Its connection may have come and wait to be read, when this program was busy in between.
        for awaited in self.strangers.awaited.iter_mut().filter(|awaited| is_it(awaited)) {
            awaited.until.get_or_insert(now + HOLD);
        }
        was_met
    }

    /// The connection to the server has ended. Its probe ends with it, or a moment later: it is no peer that comes and
    /// goes.
    pub(super) fn expect_no_probe(&mut self, server: usize, now: Instant) {
        for awaited in self.strangers.awaited.iter_mut().filter(|awaited| awaited.server == server) {
            awaited.until.get_or_insert(now + HOLD);
        }
    }

    pub(super) fn hold(&mut self, ends: Ends, now: Instant) -> Option<ConId> {
        if self.strangers.held.len() + self.strangers.peers.len() >= MAX_HELD {
            return None;
        }
        let id = self.streams.accept_unnamed(ends.dialler, ends.dialled, Role::Held(ends), now);
        self.strangers.held.push(Held { id, until: now + HOLD });
        Some(id)
    }

    pub(super) fn handle_held_received(&mut self, id: ConId, now: Instant) {
        let arrived = self.streams.arrived(id);
        match probe::read_prompt(arrived) {
            Prompt::Whole => self.answer_probe(id, now),
            Prompt::Begun => {}
            Prompt::None => self.release(id),
        }
    }

    /// It ended before it showed who it was.
    pub(super) fn handle_held_gone(&mut self, id: ConId) {
        self.strangers.held.retain(|held| held.id != id);
        self.strangers.peers.retain(|&peer| peer != id);
    }

    pub(super) fn advance_strangers(&mut self, now: Instant) {
        let before = self.strangers.awaited.len();
        self.strangers.awaited.retain(|awaited| awaited.until.is_none_or(|until| until > now));
        if self.strangers.awaited.len() < before {
            self.release_unsuspected();
        }
        let held = self.strangers.held.iter();
        let over: Vec<ConId> = held.filter(|held| held.until <= now).map(|held| held.id).collect();
        for id in over {
            self.release(id);
        }
    }

    /// The next one that turned out to be a peer, to be screened and then admitted or refused.
    pub(crate) fn poll_stranger(&mut self) -> Option<(ConId, SocketAddr)> {
        let id = self.strangers.peers.pop_front()?;
        let peer = self.streams.facts(id)?.peer;
        Some((id, peer))
    }

    pub(crate) fn admit_stranger(&mut self, id: ConId, wanted: bool, now: Instant) {
        let Some(&Role::Held(ends)) = self.streams.tag(id) else { return };
        if !wanted || !self.may_enter(ends.dialler, now) {
            self.streams.abandon(id);
            return;
        }
        if self.greets_all() {
            self.greet_stranger(id, ends, now);
        } else if let Some(id) = self.streams.name(id) {
            self.enter(id, ends, now);
            self.handle_first_received(id, now);
        }
    }

    /// Whoever knows the nonce is us, so it goes to nobody but the server.
    fn answer_probe(&mut self, id: ConId, now: Instant) {
        let peer = self.streams.facts(id).map(|facts| facts.peer.ip());
        let is_it = |awaited: &Awaited| Some(awaited.ip) == peer && !awaited.answered;
        let place = self.strangers.awaited.iter().position(is_it);
        let Some(place) = place else { return self.release(id) };
        let awaited = &mut self.strangers.awaited[place];
        awaited.answered = true;
        let (server, nonce, is_late) = (awaited.server, awaited.nonce, awaited.until.is_some());
        if is_late {
            self.reaching.finder_mut().handle_late_probe(server, now);
        }
        // Nobody else is to read what was consumed here.
        while self.streams.next_line(id).is_some() {}
        // A fresh stream takes one line.
        let _ = self.streams.queue_raw(id, &probe::answer(&nonce));
        self.strangers.held.retain(|held| held.id != id);
        self.streams.close(id, now);
        self.notes.push(Level::Debug, || format!("answered the probe of server {server}"));
        self.release_unsuspected();
    }

    /// Those that can not be a probe any more, as none is awaited from there.
    fn release_unsuspected(&mut self) {
        let ids: Vec<ConId> = self.strangers.held.iter().map(|held| held.id).collect();
        for id in ids {
            let ip = self.streams.facts(id).map(|facts| facts.peer.ip());
            if !ip.is_some_and(|ip| self.strangers.awaits(ip)) {
                self.release(id);
            }
        }
    }

    fn release(&mut self, id: ConId) {
        let before = self.strangers.held.len();
        self.strangers.held.retain(|held| held.id != id);
        if self.strangers.held.len() < before {
            self.strangers.peers.push_back(id);
        }
    }
}
