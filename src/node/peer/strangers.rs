//! Connections that may be a server's probe, or somebody's way to a relay, and are held back until that is known.
//!
//! A server that was asked whether it can connect to us comes like any peer. While that is awaited, whoever comes from
//! that server's address is held back until its first bytes, or a short time, show who it is: the probe is answered
//! and gone, without a slot and without the application's knowledge; anybody else is a peer like others. A node that relays
//! for others (see `relays`) holds everybody back, as these may come from anywhere.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use log::Level;

use super::ends::Ends;
use super::relays::is_relay_client;
use super::{Node, Role};
use crate::id::{ServerId, StreamId};
use crate::proto::household::household;
use crate::proto::reach::ProbeOutcome;
use crate::time::{Instant, soonest};
use crate::wire::probe::{self, Prompt};
use crate::wire::rendezvous::Token;

/// A server prompts as soon as it is connected: who has not done so after this is a peer that waits to be greeted.
const HOLD: Duration = Duration::from_secs(1);

/// So many connections are held back at once, far more than the servers that are asked would make: whoever comes
/// beyond it, from the address of a server and within a moment, is refused.
const MAX_HELD: usize = 64;

/// Who wants to be relayed says so as soon as it is connected; this is as long as a direct `Net` waits for a hello.
const RELAY_HOLD: Duration = Duration::from_secs(2);

/// So many connections are held back only because they may want a relay, and so many of one household, loopback excepted.
/// Whoever comes beyond it is taken for a peer: a flood takes the relay away, not the node's own connections, and leaves
/// room for probes.
const MAX_RELAY_HELD: usize = 48;
const MAX_RELAY_HELD_HERE: usize = 8;

/// What is awaited, and who is held back because of it.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    awaited: Vec<Awaited>,
    held: Vec<Held>,
    /// Those that turned out to be peers and wait to be screened.
    peers: VecDeque<StreamId>,
}

/// A probe that a server was asked for.
#[derive(Debug)]
struct Awaited {
    server: ServerId,
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
    id: StreamId,
    until: Instant,
    /// It is here only because it may want a relay; then that is whose.
    home: Option<IpAddr>,
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

    /// Whether one more of this household may be held back for the sake of a relay.
    fn has_relay_room(&self, home: IpAddr) -> bool {
        let homes = || self.held.iter().filter_map(|held| held.home);
        let here = homes().filter(|&other| other == home).count();
        homes().count() < MAX_RELAY_HELD && (home.is_loopback() || here < MAX_RELAY_HELD_HERE)
    }

    /// Forgets one that is held back; whether it was.
    fn forget(&mut self, id: StreamId) -> bool {
        let before = self.held.len();
        self.held.retain(|held| held.id != id);
        self.held.len() < before
    }
}

impl Node {
    /// Whether this may be somebody else than a peer, so that the application is not to be asked about it yet.
    pub(crate) fn is_held_back(&self, peer: SocketAddr) -> bool {
        self.strangers.awaits(peer.ip()) || self.relays_for_others()
    }

    /// Asks a server to connect to us.
    pub(super) fn ask_for_probe(&mut self, server: ServerId, port: u16, now: Instant) {
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
            None => {
                if let Some(own) = self.servers.place_of(server) {
                    self.reaching.finder_mut().handle_probed(own, port, ProbeOutcome::Unanswered, now);
                }
            }
        }
    }

    /// The server has said what came of it, or not in time: about this port, as another may be awaited by now. Whether it
    /// was met and answered all the same, so that a "no" says only that this program was not quick enough.
    pub(super) fn conclude_probe(&mut self, server: ServerId, port: u16, now: Instant) -> bool {
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
    pub(super) fn expect_no_probe(&mut self, server: ServerId, now: Instant) {
        for awaited in self.strangers.awaited.iter_mut().filter(|awaited| awaited.server == server) {
            awaited.until.get_or_insert(now + HOLD);
        }
    }

    pub(super) fn hold(&mut self, ends: Ends, now: Instant) -> Option<StreamId> {
        if !self.strangers.awaits(ends.dialler.ip()) {
            return Some(self.hold_for_relay(ends, now));
        }
        if self.strangers.held.len() + self.strangers.peers.len() >= MAX_HELD {
            return None;
        }
        let id = self.core.streams.accept(ends.dialler, ends.dialled, Role::Held(ends), now);
        self.strangers.held.push(Held { id, until: now + HOLD, home: None });
        Some(id)
    }

    /// Whether a connection with these ends is held back.
    pub(super) fn holds(&self, ends: Ends) -> bool {
        let is_it = |id| matches!(self.core.streams.tag(id), Some(&Role::Held(other)) if other == ends);
        self.strangers.held.iter().any(|held| is_it(held.id))
    }

    fn hold_for_relay(&mut self, ends: Ends, now: Instant) -> StreamId {
        let id = self.core.streams.accept(ends.dialler, ends.dialled, Role::Held(ends), now);
        let home = household(ends.dialler.ip());
        if self.strangers.has_relay_room(home) {
            self.strangers.held.push(Held { id, until: now + RELAY_HOLD, home: Some(home) });
        } else {
            // They are screened at the end of this turn, so there are no more than are accepted in one.
            self.strangers.peers.push_back(id);
        }
        id
    }

    pub(super) fn handle_held_received(&mut self, id: StreamId, now: Instant) {
        let relays = self.relays_for_others();
        let arrived = self.core.streams.arrived(id);
        let wants_relay = if relays { is_relay_client(arrived) } else { Some(false) };
        match (probe::read_prompt(arrived), wants_relay) {
            (Prompt::Whole, _) => self.answer_probe(id, now),
            (_, Some(true)) => self.release_to_relay(id, now),
            (Prompt::Begun, _) | (_, None) => {}
            (Prompt::None, Some(false)) => self.release(id),
        }
    }

    fn release_to_relay(&mut self, id: StreamId, now: Instant) {
        let Some(&Role::Held(ends)) = self.core.streams.tag(id) else { return };
        if self.strangers.forget(id) {
            self.let_in_relay_client(id, ends, now);
        }
    }

    /// It ended before it showed who it was.
    pub(super) fn handle_held_gone(&mut self, id: StreamId) {
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
        let over: Vec<StreamId> = held.filter(|held| held.until <= now).map(|held| held.id).collect();
        for id in over {
            self.release(id);
        }
    }

    /// The next one that turned out to be a peer, to be screened and then admitted or refused.
    pub(crate) fn poll_stranger(&mut self) -> Option<(StreamId, SocketAddr)> {
        let id = self.strangers.peers.pop_front()?;
        let peer = self.core.streams.facts(id)?.peer;
        Some((id, peer))
    }

    pub(crate) fn admit_stranger(&mut self, id: StreamId, wanted: bool, now: Instant) {
        let Some(&Role::Held(ends)) = self.core.streams.tag(id) else { return };
        if !wanted || !self.may_enter(ends.dialler, now) {
            self.core.streams.abandon(id);
            return;
        }
        if self.greets_all() {
            self.greet_stranger(id, ends, now);
        } else {
            let con = self.enter(id, ends, now);
            self.core.streams.offer_unread(id);
            self.handle_first_received(con, now);
        }
    }

    /// Whoever knows the nonce is us, so it goes to nobody but the server.
    fn answer_probe(&mut self, id: StreamId, now: Instant) {
        let peer = self.core.streams.facts(id).map(|facts| facts.peer.ip());
        let is_it = |awaited: &Awaited| Some(awaited.ip) == peer && !awaited.answered;
        let place = self.strangers.awaited.iter().position(is_it);
        let Some(place) = place else { return self.release(id) };
        let awaited = &mut self.strangers.awaited[place];
        awaited.answered = true;
        let (server, nonce, is_late) = (awaited.server, awaited.nonce, awaited.until.is_some());
        if is_late && let Some(server) = self.servers.place_of(server) {
            self.reaching.finder_mut().handle_late_probe(server, now);
        }
        // Nobody else is to read what was consumed here.
        while self.core.streams.next_line(id).is_some() {}
        // A fresh stream takes one line.
        let _ = self.core.streams.queue_raw(id, &probe::answer(&nonce));
        self.strangers.held.retain(|held| held.id != id);
        self.core.streams.close(id, now);
        self.core.notes.push(Level::Debug, || format!("answered the probe of {server}"));
        self.release_unsuspected();
    }

    /// Those that can not be a probe any more, as none is awaited from there.
    fn release_unsuspected(&mut self) {
        if self.relays_for_others() {
            return;
        }
        let ids: Vec<StreamId> = self.strangers.held.iter().map(|held| held.id).collect();
        for id in ids {
            let ip = self.core.streams.facts(id).map(|facts| facts.peer.ip());
            if !ip.is_some_and(|ip| self.strangers.awaits(ip)) {
                self.release(id);
            }
        }
    }

    fn release(&mut self, id: StreamId) {
        if self.strangers.forget(id) {
            self.strangers.peers.push_back(id);
        }
    }
}
