//! The streams that a connection goes over: the one that it reads, the one that it writes to, and an old one on which something
//! is still on its way out.

use super::Role;
use super::connections::Connection;
use super::core::Core;
use super::ends::Ends;
use crate::error::CloseReason;
use crate::event::Via;
use crate::id::{ConId, StreamId};
use crate::node::streams::StreamFacts;
use crate::proto::stream::Counters;
use crate::time::Instant;

impl Core {
    /// The ends of a stream that somebody opened and that is nothing yet.
    pub(super) fn pending_ends(&self, stream: StreamId) -> Option<Ends> {
        if !matches!(self.streams.tag(stream)?, Role::Pending) {
            return None;
        }
        self.accepted_ends(stream)
    }

    /// The ends of a stream that somebody opened.
    pub(super) fn accepted_ends(&self, stream: StreamId) -> Option<Ends> {
        let facts = self.streams.facts(stream)?;
        Some(Ends { dialler: facts.peer, dialled: facts.local? })
    }

    /// What is known of the stream that a connection writes to, and what went through all of its streams.
    pub(super) fn facts(&self, con: ConId) -> Option<StreamFacts> {
        let connection = self.connections.get(con)?;
        let facts = self.streams.facts(connection.writing)?;
        Some(StreamFacts { counters: self.counters(connection), opened: connection.opened, ..facts })
    }

    fn counters(&self, connection: &Connection) -> Counters {
        let of_streams = connection.streams().filter_map(|stream| self.streams.facts(stream));
        of_streams.fold(connection.earlier(), |sum, facts| sum + facts.counters)
    }

    /// What went through a connection in bytes, both ways.
    pub(super) fn bytes_through(&self, con: ConId) -> u64 {
        let counters = self.connections.get(con).map(|connection| self.counters(connection));
        counters.map_or(0, |counters| counters.bytes_received + counters.bytes_sent)
    }

    /// The same of one stream.
    pub(super) fn bytes_of(&self, stream: StreamId) -> u64 {
        let counters = self.streams.facts(stream).map(|facts| facts.counters);
        counters.map_or(0, |counters| counters.bytes_received + counters.bytes_sent)
    }

    /// What was said before a link migrated counts as long as it waits on the old path.
    pub(super) fn queued(&self, con: ConId) -> usize {
        let streams = self.connections.get(con).into_iter().flat_map(Connection::streams);
        streams.map(|stream| self.streams.queued(stream)).sum()
    }

    pub(super) fn via(&self, con: ConId) -> Option<Via> {
        self.connections.get(con).map(|connection| connection.via)
    }

    /// Whether the id names a connection that the application sees and has not closed.
    pub(super) fn is_shown(&self, con: ConId) -> bool {
        self.connections.get(con).is_some_and(|connection| self.streams.is_open(connection.writing))
    }

    /// Closes a connection of the application's: what is queued still goes out.
    pub(super) fn close_for(&mut self, con: ConId, why: CloseReason, now: Instant) {
        let Some(connection) = self.connections.get_mut(con) else { return };
        if self.streams.close_for(connection.writing, why, now) {
            connection.closed_by_us = true;
            self.close_old_paths(con, now);
        }
    }

    /// What was said before a link migrated goes out as of any connection that is closed. The other side reads it before it
    /// comes to the end of the new path, which has no end here before the old one has.
    pub(super) fn close_old_paths(&mut self, con: ConId, now: Instant) {
        let Some(connection) = self.connections.get(con) else { return };
        for old in connection.old_paths() {
            self.streams.await_other(connection.writing);
            for late in [connection.writing, old] {
                self.streams.expect_late_end(late);
            }
            self.streams.close(old, now);
        }
    }
}
