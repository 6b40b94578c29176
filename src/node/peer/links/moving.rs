//! How a link changes from a relay to a direct way without losing or reordering a line.
//!
//! Each side, once the new connection has proven to lead to the same node, says `~moved` as its last line on the old way,
//! and everything after it on the new one; and it reads the old way up to the other's `~moved` before it looks at what the
//! new one has brought. So the order is kept in each direction, and neither waits for the other.

use std::net::SocketAddr;

use log::Level;

use super::super::{Node, Role};
use crate::event::{Event, Via};
use crate::id::ConId;
use crate::time::Instant;

/// The last line of the old way.
pub(super) const MOVED: &[u8] = b"~moved";

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
        let said = self.streams.queue_protocol(con, &[MOVED, b"\r\n"].concat()).is_ok();
        if !said || !self.streams.exchange(con, stream) {
            // It is ending, or its peer reads nothing: it stays as it is.
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
        self.streams.offer_unread(old);
        self.notes.push(Level::Info, || format!("{con} goes another way: {via} {peer}"));
        self.events.push(Event::Upgraded { con, via, peer });
        // It may have been said already.
        self.handle_link_received(con, now);
    }

    /// All that the old way had to bring was read.
    pub(super) fn end_draining(&mut self, con: ConId, now: Instant) {
        if let Some(link) = self.links.link_mut(con)
            && let Some(old) = link.draining.take()
        {
            self.streams.close(old, now);
            self.streams.hold(con, false);
        }
    }
}
