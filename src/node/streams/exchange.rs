//! A stream that takes the place of another: the one keeps its id and goes on over the other's socket.
//!
//! The sockets are the driver's, and change hands a moment later than the streams: neither is read in between, as what was
//! read would be taken for the other's.

use super::{SocketAction, Streams, mark_unsent};
use crate::id::ConId;

impl<T> Streams<T> {
    /// Two streams change places: all that is known of each but its id and its tag goes over to the other. The first keeps
    /// its sums, as the application goes on with it.
    pub(crate) fn exchange(&mut self, one: ConId, other: ConId) -> bool {
        let Some([first, second]) = self.table.pair_mut(one, other) else { return false };
        std::mem::swap(&mut first.link, &mut second.link);
        std::mem::swap(&mut first.peer, &mut second.peer);
        std::mem::swap(&mut first.local, &mut second.local);
        std::mem::swap(&mut first.connected, &mut second.connected);
        first.link.continue_from(&second.link);
        // Whoever waits for room has it, on the new way.
        self.relieved |= std::mem::take(&mut first.refused);
        self.actions.push_back(SocketAction::Exchange { one: one.slot(), other: other.slot() });
        for id in [one, other] {
            if let Some(entry) = self.table.get_mut(id) {
                entry.parked = false;
                entry.exchanging = true;
                mark_unsent(entry, id.slot(), &mut self.unsent);
            }
            // What the one had been told of its socket is not true of the other's.
            self.resumed.push(id.slot());
            self.touch(id.slot());
            self.offer_unread(id);
        }
        true
    }

    /// The driver has given them each other's sockets.
    pub(super) fn end_exchange(&mut self, slots: [usize; 2]) {
        for slot in slots {
            if let Some(entry) = self.table.at_mut(slot) {
                entry.exchanging = false;
            }
        }
    }

    /// Leaves alone what arrives: it is neither received nor shown. Or no more.
    pub(crate) fn hold(&mut self, id: ConId, held: bool) {
        let Some(entry) = self.table.get_mut(id) else { return };
        entry.link.hold(held);
        if !held {
            if std::mem::take(&mut entry.parked) {
                self.resumed.push(id.slot());
            }
            self.offer_unread(id);
            self.touch(id.slot());
        }
    }

    /// The peer may need all the time there is to come to the end of this stream, as there is another one.
    pub(crate) fn expect_late_end(&mut self, id: ConId) {
        if let Some(entry) = self.table.get_mut(id) {
            entry.link.expect_late_end();
        }
    }

    /// This stream does not end before another one has.
    pub(crate) fn await_other(&mut self, id: ConId) {
        if let Some(entry) = self.table.get_mut(id) {
            entry.link.await_other();
        }
    }

    /// It has; `unsaid`: before everything had gone out on it.
    pub(crate) fn end_await(&mut self, id: ConId, unsaid: bool) {
        if let Some(entry) = self.table.get_mut(id) {
            entry.link.end_await(unsaid);
            self.touch(id.slot());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::StreamLimits;
    use crate::error::SendError;
    use crate::time::Instant;

    fn two(limits: StreamLimits) -> (Streams<u8>, [ConId; 2]) {
        let addr = SocketAddr::from(([127, 0, 0, 1], 9));
        let mut streams = Streams::new(7, limits);
        let ids = [1, 2].map(|tag| streams.accept(addr, addr, tag, Instant::ZERO));
        (streams, ids)
    }

    #[test]
    fn streams_that_change_places_are_not_read_before_their_sockets_do() {
        let (mut streams, [one, other]) = two(StreamLimits::default());
        assert!(streams.exchange(one, other));
        assert!(streams.space(one.slot()).is_none() && streams.space(other.slot()).is_none());
        let exchange = SocketAction::Exchange { one: one.slot(), other: other.slot() };
        assert_eq!(streams.poll_action(), Some(exchange));
        assert!(streams.space(one.slot()).is_some() && streams.space(other.slot()).is_some());
        let mut resumed = [streams.poll_resumed(), streams.poll_resumed()];
        resumed.sort();
        assert_eq!(resumed, [Some(one.slot()), Some(other.slot())]);
    }

    #[test]
    fn a_full_stream_has_room_when_it_has_changed_places() {
        let (mut streams, [one, other]) = two(StreamLimits { max_queued: 10, ..StreamLimits::default() });
        streams.queue_line(one, b"12345678").expect("it fits");
        assert_eq!(streams.queue_line(one, b"123"), Err(SendError::Full));
        streams.exchange(one, other);
        assert!(streams.take_relieved());
        streams.queue_line(one, b"123").expect("there is room");
    }
}
