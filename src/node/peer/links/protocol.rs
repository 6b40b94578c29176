//! What a link carries besides the application's lines, and the last words of a relay.
//!
//! Protocol lines are handled as they come, whatever of the application's is unread before them.

use bytes::Bytes;

use super::super::Node;
use super::migration::MOVED;
use crate::error::CloseReason;
use crate::id::{ConId, StreamId};
use crate::time::Instant;
use crate::wire::line::{Found, Line};
use crate::wire::relay::{RelayEnd, relay_closed};

const PING: &[u8] = b"~ping";
const PONG: &[u8] = b"~pong";

impl Node {
    /// Something came on a connection that the application sees.
    #[inline]
    pub(in super::super) fn handle_link_received(&mut self, con: ConId, now: Instant) {
        while let Some(stream) = self.reading_end(con)
            && let Some(line) = self.core.streams.next_protocol(stream)
        {
            self.handle_protocol(con, stream, &line, now);
        }
    }

    fn handle_protocol(&mut self, con: ConId, stream: StreamId, line: &Bytes, now: Instant) {
        if line == MOVED {
            self.end_draining(con, now);
        } else if let Some(text) = line.strip_prefix(PING) {
            // On the path that is written to. Who asks and does not read the answers is closed for that.
            let answer = [PONG, text, b"\r\n"].concat();
            let writing = self.connections.get(con).map_or(stream, |connection| connection.writing);
            let _ = self.core.streams.queue_protocol(writing, &answer);
        }
        // What later versions say is passed over.
    }

    /// The next line of a connection that a relay passes on.
    #[cold]
    pub(in super::super) fn next_watched_line(&mut self, con: ConId, now: Instant) -> Option<Line> {
        let connection = self.connections.get(con)?;
        let line = self.core.streams.next_line(connection.reading).map(Found::to_line)?;
        match relay_closed(line.as_bytes()).filter(|_| connection.is_watched) {
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
