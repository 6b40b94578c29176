//! Pending inbound connections: accepted, but it is not known yet whose they are.
//!
//! A server that was asked whether it can connect to us comes like any peer. While that probe is awaited, whoever comes from
//! that server's address is held back until the first bytes, or a short time, show who it is: the probe is answered and gone,
//! without a slot and without the application's knowledge; anybody else is a peer like others. A node that relays for others
//! holds everybody back, as those who want a relay may come from anywhere.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::id::{ServerId, StreamId};
use crate::proto::household::household;
use crate::time::{Instant, soonest};
use crate::wire::probe::{self, Prompt};
use crate::wire::rendezvous::{GREETING, Token};

/// A server prompts as soon as it is connected: who has not done so after this is a peer that waits to be greeted.
const HOLD: Duration = Duration::from_secs(1);

/// So many connections are held back at once, far more than the servers that are asked would make: whoever comes
/// beyond it, from the address of a server and within a moment, is refused.
const MAX_HELD: usize = 64;

/// Who wants to be relayed says so as soon as it is connected; this is as long as a direct `Net` waits for a hello.
const RELAY_HOLD: Duration = Duration::from_secs(2);

/// So many connections are held back only because they may want a relay, and so many of one address prefix, loopback excepted.
/// Whoever comes beyond it is taken for a peer: a flood takes the relay away, not the node's own connections, and leaves
/// room for probes.
const MAX_RELAY_HELD: usize = 48;
const MAX_RELAY_HELD_HERE: usize = 8;

/// What is to be done with a connection that was held back, and is not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InboundAction {
    /// It is this server's probe: say the nonce to it, and close it. `is_late`: the server will not wait for that.
    Answer { stream: StreamId, server: ServerId, nonce: Token, is_late: bool },
    /// It wants to be relayed.
    Relay { stream: StreamId },
}

/// What is awaited, and who is held back because of it.
#[derive(Debug)]
pub(crate) struct PendingInbound {
    /// Others may want to be relayed here.
    relays: bool,
    /// One for each server at most.
    awaited: Vec<Awaited>,
    held: Vec<Held>,
    /// Those that turned out to be peers and wait to be screened.
    peers: VecDeque<(StreamId, SocketAddr)>,
    actions: VecDeque<InboundAction>,
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
    stream: StreamId,
    peer: SocketAddr,
    local: SocketAddr,
    until: Instant,
    /// It is here only because it may want a relay.
    for_relay: bool,
}

impl PendingInbound {
    /// `relays`: whether others may want to be relayed here.
    pub(crate) const fn new(relays: bool) -> Self {
        Self {
            relays,
            awaited: Vec::new(),
            held: Vec::new(),
            peers: VecDeque::new(),
            actions: VecDeque::new(),
        }
    }

    /// Nobody is relayed here any more.
    pub(crate) const fn stop_relaying(&mut self) {
        self.relays = false;
    }

    /// A server was asked to connect to this port of ours, and comes from this address.
    pub(crate) fn handle_asked(&mut self, server: ServerId, port: u16, ip: IpAddr, nonce: Token) {
        // What an earlier one left behind must not get the place of this one.
        self.awaited
            .retain(|awaited| awaited.server != server && !(awaited.ip == ip && awaited.until.is_some()));
        self.awaited.push(Awaited { server, port, ip, nonce, answered: false, until: None });
    }

    /// The server has said what came of it, or not in time: about this port, as another may be awaited by now. Whether it
    /// was met and answered all the same, so that a "no" says only that this program was not quick enough.
    pub(crate) fn handle_told(&mut self, server: ServerId, port: u16, now: Instant) -> bool {
        let is_it = |awaited: &Awaited| (awaited.server, awaited.port) == (server, port);
        let was_met = self.awaited.iter().any(|awaited| is_it(awaited) && awaited.answered);
        self.awaited.retain(|awaited| !(is_it(awaited) && awaited.answered));
        // Its connection may have come and wait to be read, when this program was busy in between.
        for awaited in self.awaited.iter_mut().filter(|awaited| is_it(awaited)) {
            awaited.until.get_or_insert(now + HOLD);
        }
        was_met
    }

    /// The connection to the server has ended. Its probe ends with it, or a moment later: it is no peer that comes and
    /// goes.
    pub(crate) fn handle_server_down(&mut self, server: ServerId, now: Instant) {
        for awaited in self.awaited.iter_mut().filter(|awaited| awaited.server == server) {
            awaited.until.get_or_insert(now + HOLD);
        }
    }

    /// Whether who comes from there may be somebody else than a peer.
    pub(crate) fn is_held_back(&self, ip: IpAddr) -> bool {
        self.awaits(ip) || self.relays
    }

    /// Whether there is room to hold back one more from there.
    pub(crate) fn has_room(&self, ip: IpAddr) -> bool {
        !self.awaits(ip) || self.held.len() + self.peers.len() < MAX_HELD
    }

    /// A connection was accepted that is held back.
    pub(crate) fn handle_accepted(
        &mut self,
        stream: StreamId,
        peer: SocketAddr,
        local: SocketAddr,
        now: Instant,
    ) {
        let for_relay = !self.awaits(peer.ip());
        if for_relay && !self.has_relay_room(household(peer.ip())) {
            // They are screened at the end of this turn, so there are no more than are accepted in one.
            self.peers.push_back((stream, peer));
            return;
        }
        let until = now + if for_relay { RELAY_HOLD } else { HOLD };
        self.held.push(Held { stream, peer, local, until, for_relay });
    }

    /// These are the first bytes that have come on a connection.
    pub(crate) fn handle_received(&mut self, stream: StreamId, arrived: &[u8]) {
        let wants_relay = if self.relays { is_relay_client(arrived) } else { Some(false) };
        match (probe::read_prompt(arrived), wants_relay) {
            (Prompt::Whole, _) => self.answer_probe(stream),
            (_, Some(true)) => {
                if self.take(stream).is_some() {
                    self.actions.push_back(InboundAction::Relay { stream });
                }
            }
            (Prompt::Begun, _) | (_, None) => {}
            (Prompt::None, Some(false)) => self.release(stream),
        }
    }

    /// It ended before it showed who it was.
    pub(crate) fn handle_gone(&mut self, stream: StreamId) {
        self.take(stream);
        self.peers.retain(|&(peer, _)| peer != stream);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let before = self.awaited.len();
        self.awaited.retain(|awaited| awaited.until.is_none_or(|until| until > now));
        if self.awaited.len() < before {
            self.release_unsuspected();
        }
        self.release_where(|held| held.until <= now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let held = self.held.iter().map(|held| Some(held.until));
        let awaited = self.awaited.iter().map(|awaited| awaited.until);
        held.chain(awaited).fold(None, soonest)
    }

    pub(crate) fn poll_action(&mut self) -> Option<InboundAction> {
        self.actions.pop_front()
    }

    /// The next one that turned out to be a peer, to be screened and then admitted or refused.
    pub(crate) fn poll_peer(&mut self) -> Option<(StreamId, SocketAddr)> {
        self.peers.pop_front()
    }

    pub(crate) fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    /// Whether a connection with these ends is held back.
    pub(crate) fn holds(&self, peer: SocketAddr, local: SocketAddr) -> bool {
        self.held.iter().any(|held| (held.peer, held.local) == (peer, local))
    }

    fn awaits(&self, ip: IpAddr) -> bool {
        self.awaited.iter().any(|awaited| awaited.ip == ip && !awaited.answered)
    }

    /// Whether one more of this prefix may be held back for the sake of a relay.
    fn has_relay_room(&self, prefix: IpAddr) -> bool {
        let prefixes =
            || self.held.iter().filter(|held| held.for_relay).map(|held| household(held.peer.ip()));
        let here = prefixes().filter(|&other| other == prefix).count();
        prefixes().count() < MAX_RELAY_HELD && (prefix.is_loopback() || here < MAX_RELAY_HELD_HERE)
    }

    /// Whoever knows the nonce is us, so it goes to nobody but the server.
    fn answer_probe(&mut self, stream: StreamId) {
        let Some(peer) = self.held.iter().find(|held| held.stream == stream).map(|held| held.peer) else {
            return;
        };
        let is_it = |awaited: &&mut Awaited| awaited.ip == peer.ip() && !awaited.answered;
        let Some(awaited) = self.awaited.iter_mut().find(is_it) else { return self.release(stream) };
        awaited.answered = true;
        let (server, nonce, is_late) = (awaited.server, awaited.nonce, awaited.until.is_some());
        self.actions.push_back(InboundAction::Answer { stream, server, nonce, is_late });
        self.take(stream);
        self.release_unsuspected();
    }

    /// Those that can not be a probe any more, as none is awaited from there.
    fn release_unsuspected(&mut self) {
        if !self.relays {
            let suspected: Vec<IpAddr> =
                self.awaited.iter().filter(|awaited| !awaited.answered).map(|awaited| awaited.ip).collect();
            self.release_where(|held| !suspected.contains(&held.peer.ip()));
        }
    }

    fn release_where(&mut self, is_peer: impl Fn(&Held) -> bool) {
        let over: Vec<StreamId> =
            self.held.iter().filter(|held| is_peer(held)).map(|held| held.stream).collect();
        for stream in over {
            self.release(stream);
        }
    }

    /// It is a peer like others.
    fn release(&mut self, stream: StreamId) {
        if let Some(held) = self.take(stream) {
            self.peers.push_back((stream, held.peer));
        }
    }

    fn take(&mut self, stream: StreamId) -> Option<Held> {
        let place = self.held.iter().position(|held| held.stream == stream)?;
        Some(self.held.remove(place))
    }
}

/// Whether these first bytes are of somebody who wants to be relayed; `None` while they may be.
fn is_relay_client(arrived: &[u8]) -> Option<bool> {
    if arrived.starts_with(GREETING) {
        return Some(true);
    }
    (!GREETING.starts_with(arrived)).then_some(false)
}

#[cfg(test)]
mod tests;
