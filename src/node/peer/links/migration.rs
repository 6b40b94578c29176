//! How a link changes from a relay to a direct path without losing or reordering a line.
//!
//! Each side, once the new stream has proven to lead to the same node, says `~moved` as its last line on the old path, and
//! everything after it on the new one; and it reads the old path up to the other's `~moved` before it looks at what the
//! new one has brought. So the order is kept in each direction, and neither waits for the other.

use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::super::{Node, Role};
use crate::error::CloseReason;
use crate::event::{Event, Via};
use crate::id::{ConId, StreamId};
use crate::node::streams::Dropped;
use crate::time::Instant;

/// How long the other side may take to say that all has come on the old path, while nothing else comes. Half a minute is far
/// more than a relay's queue needs to empty at its slowest, as something comes then.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// The last line of the old path.
pub(super) const MOVED: &[u8] = b"~moved";

/// A link whose old path still brings something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moving {
    pub(super) until: Instant,
    /// What had come and gone there when that began.
    bytes: u64,
}

impl Node {
    /// The connection goes over this stream from now on: it is written to at once, and read when the old one has brought all.
    pub(in super::super) fn migrate(
        &mut self,
        con: ConId,
        stream: StreamId,
        via: Via,
        peer: SocketAddr,
        now: Instant,
    ) {
        let Some(old) = self.connections.get(con).map(|connection| connection.writing) else { return };
        // The other side may have moved already, so that nothing but an end of the link is a reason to stay.
        let streams = &mut self.core.streams;
        if !streams.hand_over_sending(old, stream, &[MOVED, b"\r\n"].concat()) {
            streams.close(stream, now);
            return;
        }
        streams.hold(stream, true);
        for (id, role) in [(old, Role::OldPath(con)), (stream, Role::Peer(con))] {
            if let Some(tag) = streams.tag_mut(id) {
                *tag = role;
            }
        }
        if let Some(connection) = self.connections.get_mut(con) {
            (connection.writing, connection.via, connection.peer) = (stream, via, peer);
        }
        self.end_relaying(con);
        let bytes = self.bytes_of(old);
        self.links.moving.insert(con, Moving { until: now + DRAIN_TIME, bytes });
        self.core.notes.push(Level::Info, || format!("{con} goes another way: {via} {peer}"));
        self.events.push(Event::Upgraded { con, via, peer });
        // It may have been said already.
        self.handle_link_received(con, now);
    }

    /// The old path has brought all: what of it was not read comes before what the new one brings.
    pub(super) fn end_draining(&mut self, con: ConId, now: Instant) {
        let Some(connection) = self.connections.get_mut(con) else { return };
        let Some(old) = connection.old_path() else { return };
        connection.reading = connection.writing;
        connection.is_watched = false;
        let current = connection.reading;
        self.links.moving.remove(&con);
        self.core.streams.hand_over_receiving(old, current);
        if self.core.streams.queued(old) == 0 {
            self.core.streams.close(old, now);
            self.count_path(con, old);
        } else {
            // However long a slow relay takes for that: to close it would set it a deadline.
            if let Some(link) = self.links.link_mut(con) {
                link.flushing = Some(old);
            }
            self.forget_old_lines(old);
        }
    }

    /// What went through a path that the connection has left counts as the connection's.
    fn count_path(&mut self, con: ConId, old: StreamId) {
        let counters = self.core.streams.facts(old).map(|facts| facts.counters).unwrap_or_default();
        if let Some(connection) = self.connections.get_mut(con) {
            connection.earlier = connection.earlier + counters;
        }
    }

    /// What was said before a link migrated goes out as of any connection that is closed. The other side reads it before it
    /// comes to the end of the new path, which has no end here before the old one has.
    pub(super) fn close_old_paths(&mut self, con: ConId, now: Instant) {
        let Some(current) = self.connections.get(con).map(|connection| connection.writing) else { return };
        for old in self.old_paths(con).into_iter().flatten() {
            self.core.streams.await_other(current);
            for late in [current, old] {
                self.core.streams.expect_late_end(late);
            }
            self.core.streams.close(old, now);
        }
    }

    /// Something came on the old path of a link.
    pub(in super::super) fn handle_old_path_received(&mut self, con: ConId, old: StreamId, now: Instant) {
        if self.links.link(con).is_some_and(|link| link.flushing == Some(old)) {
            self.forget_old_lines(old);
        } else {
            self.handle_link_received(con, now);
        }
    }

    /// The old path of a link ended.
    pub(in super::super) fn handle_old_path_gone(&mut self, con: ConId, ended: &Dropped<Role>, now: Instant) {
        let mut was_draining = false;
        let mut current = None;
        if let Some(connection) = self.connections.get_mut(con) {
            current = Some(connection.writing);
            if connection.old_path() == Some(ended.id) {
                was_draining = true;
                connection.reading = connection.writing;
                connection.is_watched = false;
                connection.earlier = connection.earlier + ended.counters;
            }
        }
        if let Some(link) = self.links.link_mut(con)
            && link.flushing.take_if(|old| *old == ended.id).is_some()
            && let Some(connection) = self.connections.get_mut(con)
        {
            connection.earlier = connection.earlier + ended.counters;
        }
        // Before all had come, or had gone out: something is missing, here or there.
        if (was_draining || ended.unsaid) && self.is_shown(con) {
            self.close_for(con, ended.why, now);
        }
        if let Some(current) = current {
            self.core.streams.end_await(current, ended.unsaid);
        }
    }

    /// Nothing is to come after `~moved`.
    fn forget_old_lines(&mut self, old: StreamId) {
        while self.core.streams.next_line(old).is_some() || self.core.streams.next_protocol(old).is_some() {}
    }

    /// Closes links whose old path says nothing more, not even that it is over: nobody is to be waited for in vain.
    pub(super) fn close_stuck(&mut self, now: Instant) {
        let due = |moving: &Moving| moving.until <= now;
        let over: Vec<ConId> =
            self.links.moving.iter().filter(|(_, moving)| due(moving)).map(|(&con, _)| con).collect();
        for con in over {
            let Some(old) = self.reading_end(con) else { continue };
            let bytes = self.bytes_of(old);
            match self.links.moving.get_mut(&con) {
                Some(moving) if moving.bytes != bytes => {
                    *moving = Moving { until: now + DRAIN_TIME, bytes };
                }
                _ => {
                    self.links.moving.remove(&con);
                    self.close_for(con, CloseReason::Protocol, now);
                }
            }
        }
    }
}
