//! pyp2p's direct connections: the dialling side begins with a nonce, and nobody proves anything.

use super::Part;
use crate::connect::Rung;
use crate::event::Via;
use crate::id::{CallId, StreamId};
use crate::node::peer::{Ends, Node, Slot};
use crate::time::Instant;
use crate::wire::nonce::NO_NONCE;

impl Node {
    /// An address of a UNL of version 2 answers: that is all that can be known.
    pub(super) fn greet_pyp2p(&mut self, id: CallId, stream: StreamId, rung: Rung, ends: Ends, now: Instant) {
        // A fresh stream takes it.
        let _ = self.core.streams.queue_raw(stream, &NO_NONCE);
        let via = match rung {
            Rung::Lan => Via::Lan,
            Rung::Punch => Via::Punched,
            _ if self.calls.is_mapped(id) => Via::Mapped,
            _ => Via::Direct,
        };
        let connection = self.connection(stream, via, ends.dialled, ends, Slot::None);
        let con = self.name(connection);
        self.ends.insert_outbound(ends, con);
        let took = self.calls.open.get(&id).map(|call| now - call.began).unwrap_or_default();
        let waiters = match self.calls.open.get(&id).map(|call| &call.part) {
            Some(Part::Caller(caller)) => caller.attempts.clone(),
            _ => Vec::new(),
        };
        for waiter in waiters {
            self.tell_connected(con, waiter, took, now);
        }
        self.forget_call(id, now);
    }
}
