//! What the application asks of a node, and which room it concerns.

use super::Node;
use crate::error::ConnectError;
use crate::id::AttemptId;
use crate::time::Instant;
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

    /// Gives up an attempt of the application's.
    pub(crate) fn cancel(&mut self, id: AttemptId, now: Instant) -> bool {
        let was_under_way = self.attempts.cancel(&mut self.core, id, now) || self.cancel_call(id, now);
        self.route(now);
        was_under_way
    }
}
