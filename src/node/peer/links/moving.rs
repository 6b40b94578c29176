//! How a link changes from a relay to a direct way without losing or reordering a line.
//!
//! Each side, once the new connection has proven to lead to the same node, says `~moved` as its last line on the old way,
//! and everything after it on the new one; and it reads the old way up to the other's `~moved` before it looks at what the
//! new one has brought. So the order is kept in each direction, and neither waits for the other.

use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::super::{Node, Role};
use crate::error::CloseReason;
use crate::event::{Event, Via};
use crate::id::ConId;
use crate::time::Instant;

/// How long the other side may take to say that all has come on the old way, while nothing else comes. Half a minute is far
/// more than a relay's queue needs to empty at its slowest, as something comes then.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// The last line of the old way.
pub(super) const MOVED: &[u8] = b"~moved";

/// A link whose old way still brings something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moving {
    pub(super) until: Instant,
    /// What had come and gone there when that began.
    bytes: u64,
}

impl Node {
    /// The connection goes over this stream from now on.
    pub(in super::super) fn move_link(
        &mut self,
        con: ConId,
        stream: ConId,
        via: Via,
        peer: SocketAddr,
        now: Instant,
    ) {
        // The other side may have moved already, so that nothing but an end of the link is a reason to stay.
        let said = self.streams.is_open(stream) && self.streams.queue_last(con, &[MOVED, b"\r\n"].concat());
        if !said || !self.streams.exchange(con, stream) {
            self.streams.close(stream, now);
            return;
        }
        // What was the connection's stream has the other's id now.
        let old = stream;
        if let Some(tag) = self.streams.tag_mut(old) {
            *tag = Role::Draining(con);
        }
        if let Some(Role::Peer(role)) = self.streams.tag_mut(con) {
            (role.via, role.peer) = (via, peer);
        }
        self.streams.hold(con, true);
        self.links.relayed.remove(&con);
        if let Some(link) = self.links.link_mut(con) {
            link.draining = Some(old);
        }
        let bytes = self.bytes_of(old);
        self.links.moving.insert(con, Moving { until: now + DRAIN_TIME, bytes });
        self.streams.offer_unread(old);
        self.notes.push(Level::Info, || format!("{con} goes another way: {via} {peer}"));
        self.events.push(Event::Upgraded { con, via, peer });
        // It may have been said already.
        self.handle_link_received(con, now);
    }

    /// All that the old way had to bring was read.
    pub(super) fn end_draining(&mut self, con: ConId, now: Instant) {
        let Some(old) = self.links.link_mut(con).and_then(|link| link.draining.take()) else { return };
        self.links.moving.remove(&con);
        if self.streams.queued(old) == 0 {
            self.streams.close(old, now);
        } else {
            // However long a slow relay takes for that: to close it would set it a deadline.
            if let Some(link) = self.links.link_mut(con) {
                link.flushing = Some(old);
            }
            self.forget_old_lines(old);
        }
        self.streams.hold(con, false);
    }

    /// What was said before a link moved goes out as of any connection that is closed. The other side reads it before it
    /// comes to the end of the new way, which has no end here before the old one has.
    pub(super) fn close_old_ways(&mut self, con: ConId, now: Instant) {
        let Some(link) = self.links.link(con) else { return };
        for old in link.old_ways() {
            self.streams.await_other(con);
            for late in [con, old] {
                self.streams.expect_late_end(late);
            }
            self.streams.close(old, now);
        }
    }

    /// Something came on the old way of a link.
    pub(in super::super) fn handle_old_way_received(&mut self, con: ConId, old: ConId, now: Instant) {
        if self.links.link(con).is_some_and(|link| link.flushing == Some(old)) {
            self.forget_old_lines(old);
        } else {
            self.handle_link_received(con, now);
        }
    }

    /// Nothing is to come after `~moved`.
    fn forget_old_lines(&mut self, old: ConId) {
        while self.streams.next_line(old).is_some() {}
    }

    /// Closes links whose old way says nothing more, not even that it is over: nobody is to be waited for in vain.
    pub(super) fn close_stuck(&mut self, now: Instant) {
        let due = |moving: &Moving| moving.until <= now;
        let over: Vec<ConId> =
            self.links.moving.iter().filter(|(_, moving)| due(moving)).map(|(&con, _)| con).collect();
        for con in over {
            let old = self.reading_end(con);
            let bytes = self.bytes_of(old);
            // What has come and was not read is the application's to read, however long it takes.
            let goes_on = self.streams.has_lines(old);
            match self.links.moving.get_mut(&con) {
                Some(moving) if goes_on || moving.bytes != bytes => {
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
