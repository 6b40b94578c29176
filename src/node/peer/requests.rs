//! What the application asks of a node, and which room it concerns.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Node, Role, unl};
use crate::connect::Connect;
use crate::error::ConnectError;
use crate::id::{AttemptId, StreamId};
use crate::proto::links::Origin;
use crate::reach::Reach;
use crate::time::Instant;
use crate::unl::Unl;
use crate::wire::address::HostPort;

impl Node {
    /// Begins an attempt of the application's.
    pub(crate) fn connect(&mut self, text: &str, now: Instant) -> Result<AttemptId, ConnectError> {
        if self.core.is_leaving() {
            return Err(ConnectError::Stopping);
        }
        let target = HostPort::parse(text).map_err(ConnectError::BadAddress)?;
        if !self.attempts.has_room(&self.core.config) {
            return Err(ConnectError::TooMany);
        }
        let counted = match target {
            HostPort::Address(addr) if self.network.peers.handle_dialling(addr, now) => Some(addr),
            _ => None,
        };
        let id = self.attempts.connect(&mut self.core, target, counted, now);
        self.route(now);
        Ok(id)
    }

    /// Begins an attempt to connect to a node by its UNL.
    pub(crate) fn connect_unl(&mut self, to: Connect, now: Instant) -> Result<AttemptId, ConnectError> {
        self.tell_calls(now, |calls, around| calls.check(&to.unl, &around.local))?;
        let attempt = self.attempts.next_id();
        let begun = self.tell_calls(now, |calls, around| calls.connect(to, attempt, around, now));
        self.route(now);
        begun.map(|()| attempt)
    }

    /// Gives up an attempt of the application's.
    pub(crate) fn cancel(&mut self, id: AttemptId, now: Instant) -> bool {
        let was_under_way = self.attempts.cancel(&mut self.core, id, now)
            || self.tell_calls(now, |calls, around| calls.cancel(id, around, now));
        self.route(now);
        was_under_way
    }

    /// Asks all servers for nodes now.
    pub(crate) fn bootstrap(&mut self, now: Instant) {
        self.servers.bootstrap(now);
    }

    /// Registers with all servers now.
    pub(crate) fn advertise(&mut self, now: Instant) {
        let adverts = self.adverts();
        self.servers.advertise(&self.core, &adverts, now);
    }

    pub(crate) fn unl(&self) -> Option<Unl> {
        self.core.identity.unl.clone()
    }

    pub(crate) fn unl_version2(&self) -> Option<Unl> {
        unl::version2(&self.core, &self.reach())
    }

    pub(crate) fn reach(&self) -> Arc<Reach> {
        self.reaching.picture()
    }

    pub(crate) fn refresh_reach(&mut self, now: Instant) {
        self.reaching.refresh(&mut self.core, now);
        self.route(now);
    }

    /// Whether this may be somebody else than a peer, so that the application is not to be asked about it yet.
    pub(crate) fn is_held_back(&self, peer: SocketAddr) -> bool {
        self.inbound.pending.is_held_back(peer.ip())
    }

    /// The next connection that was held back and turned out to be a peer, to be screened and then admitted or refused.
    pub(crate) fn poll_pending(&mut self) -> Option<(StreamId, SocketAddr)> {
        self.inbound.poll_peer(&self.core)
    }

    pub(crate) fn admit_pending(&mut self, stream: StreamId, wanted: bool, now: Instant) {
        let Some(&Role::Pending(ends)) = self.core.streams.tag(stream) else { return };
        if !wanted || !self.may_enter(ends.dialler, now) {
            self.core.streams.abandon(stream);
        } else if self.core.config.links.direct {
            self.shake_hands(stream, Origin::Accepted, ends, now);
        } else {
            let con = self.enter(stream, ends, now);
            self.core.streams.offer_unread(stream);
            self.handle_first_received(con, now);
        }
        self.route(now);
    }

    /// How many are relayed here.
    #[cfg(test)]
    pub(crate) fn relays(&self) -> usize {
        self.relay_desk.as_ref().map_or(0, |desk| desk.relays())
    }
}
