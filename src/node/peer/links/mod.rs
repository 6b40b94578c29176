//! Node links: connections on which both sides have proven who they are.
//!
//! Each concern has a file of its own: how both sides say who they are (`greeting`), which of two
//! connections stays (`rivals`), what becomes of it (`outcome`), what a link carries besides the application's lines
//! (`protocol`), and how it changes from a relay to a direct way (`migration`).

mod greeting;
mod migration;
mod outcome;
mod protocol;
mod rivals;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Node;
use super::connections::Connection;
use crate::connect::RelayLimits;
use crate::error::CloseReason;
use crate::id::{CallId, ConId, StreamId};
use crate::identity::{NodeId, PublicKey};
use crate::time::{Instant, soonest};
use crate::unl::Unl;
use crate::wire::escape::escape;
use crate::wire::line::Line;
pub(super) use greeting::{Errand, Greeting};
use migration::Moving;
use rivals::Deferred;

/// The links of a node, those to be and those that are.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Streams whose other side has not proven who it is.
    pub(super) greetings: BTreeMap<StreamId, Greeting>,
    links: BTreeMap<ConId, Link>,
    /// Those that go by way of a relay.
    pub(super) relayed: BTreeMap<ConId, Relayed>,
    moving: BTreeMap<ConId, Moving>,
    by_node: BTreeMap<NodeId, ConId>,
    temporary: BTreeMap<ConId, Temporary>,
    /// Failed dials of calls that are not told of yet.
    deferred: Vec<Deferred>,
    /// A greeting has ended for which others may have waited.
    has_ended: bool,
}

/// What is known of a link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PublicKey,
    /// The calls that it came about by: whatever else they still bring is left over.
    pub(super) calls: Vec<CallId>,
    pub(super) unl: Option<Unl>,
    /// From when on the peer must know of it.
    certain_at: Instant,
    /// The stream of its old path, once that has brought everything, as long as something is still on its way out there. The
    /// other side closes it when that has come.
    flushing: Option<StreamId>,
}

/// A link by way of a relay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relayed {
    pub(super) limits: RelayLimits,
}

/// A connection that closes itself.
#[derive(Clone, Copy, Debug)]
struct Temporary {
    idle: Duration,
    until: Instant,
    /// What had been sent and received when that began.
    bytes: u64,
}

impl Links {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let greetings = self.greetings.values().map(|greeting| Some(greeting.until));
        let temporary = self.temporary.values().map(|temporary| Some(temporary.until));
        let moving = self.moving.values().map(|moving| Some(moving.until));
        let deferred = self.deferred.iter().map(|deferred| Some(deferred.until));
        let at_once = [self.has_ended.then_some(Instant::ZERO)];
        greetings.chain(temporary).chain(moving).chain(deferred).chain(at_once).fold(None, soonest)
    }

    pub(super) fn link(&self, con: ConId) -> Option<&Link> {
        self.links.get(&con)
    }

    pub(super) fn link_mut(&mut self, con: ConId) -> Option<&mut Link> {
        self.links.get_mut(&con)
    }

    /// The link to this node.
    pub(super) fn to(&self, node: NodeId) -> Option<ConId> {
        self.by_node.get(&node).copied()
    }

    /// The connections that are being greeted for a call.
    pub(super) fn greetings_of(&self, call: CallId) -> Vec<StreamId> {
        let is_it = |greeting: &Greeting| greeting.call() == Some(call);
        self.greetings.iter().filter(|(_, greeting)| is_it(greeting)).map(|(&id, _)| id).collect()
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.links.len()
    }

    pub(super) fn is_relayed(&self, con: ConId) -> bool {
        self.relayed.contains_key(&con)
    }
}

/// What the facade asks.
impl Node {
    pub(crate) fn own_id(&self) -> Option<NodeId> {
        self.core.identity.id()
    }

    pub(crate) fn con_of(&self, id: NodeId) -> Option<ConId> {
        self.links.to(id).filter(|&con| self.is_shown(con))
    }

    pub(crate) fn node_id(&self, con: ConId) -> Option<NodeId> {
        self.links.link(con).map(|link| link.peer.id())
    }

    pub(crate) fn unl_of(&self, con: ConId) -> Option<Unl> {
        self.links.link(con).and_then(|link| link.unl.clone())
    }

    pub(crate) fn relay_limits(&self, con: ConId) -> Option<RelayLimits> {
        self.links.relayed.get(&con).map(|relayed| relayed.limits)
    }

    pub(crate) fn close_when_idle(&mut self, con: ConId, idle: Option<Duration>, now: Instant) {
        match idle.filter(|_| self.is_shown(con)) {
            Some(idle) => {
                let temporary = Temporary { idle, until: now + idle, bytes: self.bytes_through(con) };
                self.links.temporary.insert(con, temporary);
            }
            None => drop(self.links.temporary.remove(&con)),
        }
    }
}

impl Node {
    pub(super) fn advance_links(&mut self, now: Instant) {
        self.advance_greetings(now);
        self.take_up_waiting(now);
        self.tell_deferred(now);
        self.close_idle(now);
        self.close_stuck(now);
    }

    /// A connection of the application's is gone.
    pub(super) fn forget_link(&mut self, con: ConId, now: Instant) {
        self.links.temporary.remove(&con);
        self.end_relaying(con);
        self.links.moving.remove(&con);
        let stream = self.connections.get(con).map(|connection| connection.writing);
        if let Some(stream) = stream.filter(|stream| self.links.greetings.contains_key(stream)) {
            self.drop_greeting(stream);
        }
        self.close_old_paths(con, now);
        let Some(link) = self.links.links.remove(&con) else { return };
        if self.links.to(link.peer.id()) == Some(con) {
            self.links.by_node.remove(&link.peer.id());
        }
    }

    /// It goes by way of no relay any more.
    fn end_relaying(&mut self, con: ConId) {
        self.links.relayed.remove(&con);
        self.connector.handle_relaying_over(con);
    }

    /// The connection is a link to this node from now on.
    pub(super) fn make_link(&mut self, con: ConId, link: Link, before: VecDeque<Line>) {
        // As they would stand on the wire from here on: what is read is unescaped.
        let lines: Vec<u8> =
            before.iter().flat_map(|line| [&escape(line.as_bytes())[..], b"\r\n"].concat()).collect();
        if let Some(stream) = self.reading_end(con).filter(|_| !lines.is_empty()) {
            self.core.streams.put_back(stream, lines.into());
        }
        self.links.by_node.insert(link.peer.id(), con);
        self.links.links.insert(con, link);
    }

    /// Temporary connections on which nothing went through for long enough. What goes through is not noted each time; it is
    /// looked at when the time has come.
    fn close_idle(&mut self, now: Instant) {
        let due = |temporary: &Temporary| temporary.until <= now;
        let over: Vec<ConId> = self
            .links
            .temporary
            .iter()
            .filter(|(_, temporary)| due(temporary))
            .map(|(&con, _)| con)
            .collect();
        for con in over {
            let bytes = self.bytes_through(con);
            match self.links.temporary.get_mut(&con) {
                Some(temporary) if temporary.bytes != bytes => {
                    (temporary.bytes, temporary.until) = (bytes, now + temporary.idle);
                }
                _ => {
                    self.links.temporary.remove(&con);
                    self.close_for(con, CloseReason::Idle, now);
                }
            }
        }
    }

    /// What still goes through on its old path counts, too.
    fn bytes_through(&self, con: ConId) -> u64 {
        let counters = self.facts(con).map(|facts| facts.counters);
        counters.map_or(0, |counters| counters.bytes_received + counters.bytes_sent)
    }

    fn bytes_of(&self, stream: StreamId) -> u64 {
        let counters = self.core.streams.facts(stream).map(|facts| facts.counters);
        counters.map_or(0, |counters| counters.bytes_received + counters.bytes_sent)
    }

    /// Streams of a connection's old path that are still needed: the one that it reads, and the one that it has read.
    pub(super) fn old_paths(&self, con: ConId) -> [Option<StreamId>; 2] {
        let reading = self.connections.get(con).and_then(Connection::old_path);
        [reading, self.links.link(con).and_then(|link| link.flushing)]
    }

    /// Closes a connection of the application's for a reason of the node's own.
    pub(super) fn close_for(&mut self, con: ConId, why: CloseReason, now: Instant) {
        let Some(connection) = self.connections.get_mut(con) else { return };
        if !self.core.streams.close_for(connection.writing, why, now) {
            return;
        }
        connection.closed_by_us = true;
        self.close_old_paths(con, now);
    }
}
