//! What the application asks of a node, and which room it concerns.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::asking::Ask;
use super::effect::Effect;
use super::{Node, unl};
use crate::address::HostPort;
use crate::connect::{Connect, Rung, RungFault, Rungs, Target, Tried};
use crate::error::{ConnectError, FailReason};
use crate::event::Event;
use crate::id::{AttemptId, StreamId};
use crate::identity::NodeId;
use crate::proto::connect::Waiter;
use crate::proto::links::Origin;
use crate::reach::Reach;
use crate::time::Instant;
use crate::unl::Unl;

impl Node {
    /// Begins an attempt of the application's.
    pub(crate) fn connect(&mut self, text: &str, now: Instant) -> Result<AttemptId, ConnectError> {
        if self.core.is_leaving() {
            return Err(ConnectError::Stopping);
        }
        let target = HostPort::parse(text).map_err(ConnectError::BadAddress)?;
        self.check_room()?;
        let counted = match target {
            HostPort::Address(addr) if self.network.peers.handle_dialling(addr, now) => Some(addr),
            _ => None,
        };
        let id = self.attempts.connect(&mut self.core, target, counted, now);
        self.route(now);
        Ok(id)
    }

    /// Begins an attempt to connect to a node.
    pub(crate) fn connect_to(&mut self, to: Connect, now: Instant) -> Result<AttemptId, ConnectError> {
        let Connect { target, rungs, temporary } = to;
        let begun = match target {
            Target::Unl(unl) => self.connect_unl(unl, rungs, temporary, now),
            Target::Address { at, id } => {
                self.check_asking(id)?;
                Ok(self.ask(at, Ask { id, temporary, began: now }, rungs, now))
            }
        };
        self.route(now);
        begun
    }

    fn connect_unl(
        &mut self,
        unl: Unl,
        rungs: Rungs,
        temporary: Option<Duration>,
        now: Instant,
    ) -> Result<AttemptId, ConnectError> {
        self.tell_calls(now, |calls, around| calls.check(&unl, &around.local))?;
        let attempt = self.attempts.next_id();
        let waiter = Waiter { attempt, temporary };
        self.tell_calls(now, |calls, around| calls.connect(unl, rungs, waiter, around, now))?;
        Ok(attempt)
    }

    /// Whether there is anything to ask an address.
    fn check_asking(&self, id: Option<NodeId>) -> Result<(), ConnectError> {
        let Some(own) = self.core.identity.id() else { return Err(ConnectError::NoLinks) };
        if self.core.is_leaving() {
            return Err(ConnectError::Stopping);
        }
        if id == Some(own) { Err(ConnectError::Oneself) } else { self.check_room() }
    }

    /// Whether another attempt may begin that dials addresses.
    fn check_room(&self) -> Result<(), ConnectError> {
        let has_room = self.attempts.has_room(&self.core.config, self.asking.len());
        if has_room { Ok(()) } else { Err(ConnectError::TooMany) }
    }

    /// The user's own wish is no claim of somebody else's: it needs no budget, as little as a plain connection.
    fn ask(&mut self, at: HostPort, ask: Ask, rungs: Rungs, now: Instant) -> AttemptId {
        let existing = ask.id.filter(|_| rungs.has(Rung::Existing)).and_then(|id| self.con_of(id));
        if existing.is_none() && rungs.has(Rung::Direct) {
            return self.attempts.ask(&mut self.core, at, ask, now);
        }
        let attempt = self.attempts.next_id();
        match existing {
            Some(con) => {
                let waiter = Waiter { attempt, temporary: ask.temporary };
                self.tell_connected(con, waiter, Duration::ZERO, now);
            }
            None => {
                let tried = Tried { rung: Rung::Direct, why: RungFault::LeftOut, took: Duration::ZERO };
                let why = FailReason::NoWay(vec![tried]);
                self.core.effects.push(Effect::Tell(Event::Failed { attempt, why }));
            }
        }
        attempt
    }

    /// Gives up an attempt of the application's.
    pub(crate) fn cancel(&mut self, id: AttemptId, now: Instant) -> bool {
        let was_under_way = self.attempts.cancel(&mut self.core, id, now)
            || self.cancel_asking(id, now)
            || self.tell_calls(now, |calls, around| calls.cancel(id, around, now));
        self.route(now);
        was_under_way
    }

    fn cancel_asking(&mut self, id: AttemptId, now: Instant) -> bool {
        let stream = self.asking.of(id);
        if let Some(stream) = stream {
            self.stop_asking(stream, FailReason::Cancelled, now);
        }
        stream.is_some()
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
        let Some(ends) = self.core.pending_ends(stream) else { return };
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
