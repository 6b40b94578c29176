//! The relays of a server: pairs of streams whose bytes go from one to the other, within limits.

use std::collections::{BTreeMap, BTreeSet};

use log::Level;

use super::{Role, ServerNode, client};
use crate::id::ConId;
use crate::proto::rendezvous::meter::Meter;
use crate::proto::rendezvous::server::ClientId;
use crate::time::Instant;
use crate::wire::relay::{RelayEnd, closing_line};

/// The relays, by number.
#[derive(Debug, Default)]
pub(super) struct Relays {
    last: u64,
    relays: BTreeMap<u64, Relay>,
    due: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Relay {
    ends: [ConId; 2],
    meter: Meter,
    /// The same as in `due`.
    due: Option<Instant>,
}

/// Which end of which relay a stream is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelayEndpoint {
    number: u64,
    direction: usize,
}

impl Relays {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A deadline that moves away is looked at when it comes: bytes that go through should not cost a search each.
    fn set_due(&mut self, number: u64) {
        let Some(relay) = self.relays.get_mut(&number) else { return };
        let wanted = relay.meter.poll_timeout();
        if relay.due.is_none_or(|due| wanted < due) {
            relay.due.map(|at| self.due.remove(&(at, number)));
            self.due.insert((wanted, number));
            relay.due = Some(wanted);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Relay> {
        let relay = self.relays.remove(&number)?;
        relay.due.map(|at| self.due.remove(&(at, number)));
        Some(relay)
    }
}

impl ServerNode {
    /// Two clients are to be one connection.
    pub(super) fn splice(&mut self, a: ClientId, b: ClientId, now: Instant) {
        let ends = [self.id_of(a), self.id_of(b)];
        let [Some(a), Some(b)] = ends else {
            // One of them is over, and the other one was told of a relay: its end tells the rest.
            return self.close_all(ends.into_iter().flatten(), now);
        };
        if !self.streams.splice(a, b) {
            return self.close_all([a, b], now);
        }
        self.relays.last += 1;
        let number = self.relays.last;
        for (direction, id) in [a, b].into_iter().enumerate() {
            if let Some(role) = self.streams.tag_mut(id) {
                *role = Role::Relay(RelayEndpoint { number, direction });
            }
        }
        let meter = Meter::new(self.relay_limits, self.relay_idle, now);
        self.relays.relays.insert(number, Relay { ends: [a, b], meter, due: None });
        self.notes.push(Level::Debug, || format!("clients {a} and {b} are relayed"));
        self.grant(number, now);
    }

    /// Something came from one end of a relay, and is on its way to the other.
    pub(super) fn handle_passed(&mut self, end: RelayEndpoint, len: usize, now: Instant) {
        let Some(relay) = self.relays.relays.get_mut(&end.number) else { return };
        relay.meter.handle_passed(end.direction, len, now);
        if self.are_relays_limited {
            self.grant(end.number, now);
        }
    }

    pub(super) fn handle_relay_timeouts(&mut self, now: Instant) {
        while let Some(&(at, number)) = self.relays.due.first()
            && at <= now
        {
            self.relays.due.pop_first();
            if let Some(relay) = self.relays.relays.get_mut(&number) {
                relay.due = None;
            }
            self.grant(number, now);
        }
    }

    /// One of its ends is over; the other one is on its way there.
    pub(super) fn handle_relay_dropped(&mut self, end: RelayEndpoint, id: ConId, now: Instant) {
        self.relays.remove(end.number);
        self.server.handle_closed(client(id), now);
    }

    fn close_all(&mut self, ids: impl IntoIterator<Item = ConId>, now: Instant) {
        for id in ids {
            self.streams.close(id, now);
        }
    }

    /// Lets both directions go on for as long as they may, or ends the relay.
    fn grant(&mut self, number: u64, now: Instant) {
        let Some(relay) = self.relays.relays.get_mut(&number) else { return };
        if let Some(why) = relay.meter.end(now) {
            return self.end_relay(number, why, now);
        }
        for (direction, id) in relay.ends.into_iter().enumerate() {
            let allowance = relay.meter.allowance(direction, now);
            self.streams.grant(id, allowance);
        }
        self.relays.set_due(number);
    }

    fn end_relay(&mut self, number: u64, why: RelayEnd, now: Instant) {
        let Some(Relay { ends: [a, b], .. }) = self.relays.remove(number) else { return };
        self.notes.push(Level::Debug, || format!("the relay of {a} and {b} ends: {why:?}"));
        self.streams.end_splice(a, &closing_line(why), now);
    }
}
