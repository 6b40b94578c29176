//! What a link carries besides the application's lines.
//!
//! Lines are handled in the order in which they came: those of the protocol as soon as the application has read what came
//! before them.

use super::super::Node;
use super::migration::MOVED;
use crate::error::CloseReason;
use crate::id::{ConId, StreamId};
use crate::time::Instant;
use crate::wire::line::{Found, Line};
use crate::wire::relay::{RelayEnd, relay_closed};

impl Node {
    /// Something came on a connection that the application sees.
    #[inline]
    pub(in super::super) fn handle_link_received(&mut self, con: ConId, now: Instant) {
        if self.links.concern_reading() {
            self.handle_protocol(con, now);
        }
    }

    /// The next line of a connection that may be a link.
    #[cold]
    pub(in super::super) fn next_link_line(&mut self, con: ConId, now: Instant) -> Option<Line> {
        if let Some(line) = self.next_line_before(con) {
            return Some(line);
        }
        self.handle_protocol(con, now);
        let connection = self.connections.get(con)?;
        let (from, is_old) = (connection.reading, connection.old_path().is_some());
        let line = self.core.streams.next_line(from).map(Found::to_line)?;
        let is_relayed = self.links.is_relayed(con);
        match relay_closed(line.as_bytes()).filter(|_| is_relayed || is_old) {
            Some(end) => {
                self.end_relayed(con, end, now);
                None
            }
            None => Some(line),
        }
    }

    /// From where the next line of a connection comes.
    pub(super) fn reading_end(&self, con: ConId) -> Option<StreamId> {
        self.connections.get(con).map(|connection| connection.reading)
    }

    fn next_line_before(&mut self, con: ConId) -> Option<Line> {
        let before = self.links.before.get_mut(&con)?;
        let line = before.pop_front();
        if before.is_empty() {
            self.links.before.remove(&con);
        }
        line
    }

    /// Handles the lines of the protocol that stand first.
    fn handle_protocol(&mut self, con: ConId, now: Instant) {
        loop {
            let Some(connection) = self.connections.get(con) else { return };
            let (from, is_old) = (connection.reading, connection.old_path().is_some());
            if !self.core.streams.has_protocol_line(from) {
                return;
            }
            let Some(line) = self.core.streams.next_line(from) else { return };
            // What later versions say is passed over.
            if line.as_bytes() == MOVED && is_old {
                self.end_draining(con, now);
            }
        }
    }

    /// The relay has said why it ends the connection.
    fn end_relayed(&mut self, con: ConId, end: RelayEnd, now: Instant) {
        let why = match end {
            RelayEnd::Bytes => CloseReason::RelayBytes,
            RelayEnd::Time => CloseReason::RelayTime,
            RelayEnd::Idle => CloseReason::RelayIdle,
        };
        self.close_for(con, why, now);
    }
}
