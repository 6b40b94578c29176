//! Relays that run: pairs of streams whose bytes go from one to the other, within limits.
//!
//! A rendezvous server has them, and a peer that relays for others. Which two streams become a pair is decided elsewhere, by
//! the machine that knows the tickets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use log::Level;

use crate::id::StreamId;
use crate::node::streams::Streams;
use crate::note::Notes;
use crate::proto::rendezvous::meter::Meter;
use crate::time::Instant;
use crate::wire::relay::{RelayEnd, RelayLimits, closing_line};

/// The relays, by number. There are as many as whoever calls [`splice`](Self::splice) lets begin.
#[derive(Debug)]
pub(crate) struct Relays {
    limits: RelayLimits,
    idle: Duration,
    last: u64,
    relays: BTreeMap<u64, Relay>,
    due: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Relay {
    ends: [StreamId; 2],
    meter: Meter,
    /// The same as in `due`.
    due: Option<Instant>,
}

/// Where they run: the streams of a node, and what it tells the log.
#[derive(Debug)]
pub(crate) struct Place<'a, T> {
    pub(crate) streams: &'a mut Streams<T>,
    pub(crate) notes: &'a mut Notes,
}

/// Which end of which relay a stream is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelayEndpoint {
    number: u64,
    direction: usize,
}

impl Relays {
    /// Each of them carries so much, and ends when nothing went through for so long.
    pub(crate) fn new(limits: RelayLimits, idle: Duration) -> Self {
        Self { limits, idle, last: 0, relays: BTreeMap::new(), due: BTreeSet::new() }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Two streams are to be one connection; `role` tells what each is for from then on. Where one of them is over already
    /// the other one is closed: it was told of a relay, and its end tells the rest.
    pub(crate) fn splice<T>(
        &mut self,
        place: &mut Place<'_, T>,
        ends: [Option<StreamId>; 2],
        role: impl Fn(RelayEndpoint) -> T,
        now: Instant,
    ) {
        let both = match ends {
            [Some(a), Some(b)] if place.streams.splice(a, b) => [a, b],
            _ => {
                for id in ends.into_iter().flatten() {
                    place.streams.close(id, now);
                }
                return;
            }
        };
        self.last += 1;
        let number = self.last;
        for (direction, id) in both.into_iter().enumerate() {
            if let Some(tag) = place.streams.tag_mut(id) {
                *tag = role(RelayEndpoint { number, direction });
            }
        }
        let meter = Meter::new(self.limits, self.idle, now);
        self.relays.insert(number, Relay { ends: both, meter, due: None });
        place.notes.push(Level::Debug, || format!("clients {} and {} are relayed", both[0], both[1]));
        self.grant(place, number, now);
    }

    /// Something came from one end of a relay, and is on its way to the other.
    pub(crate) fn handle_passed<T>(
        &mut self,
        place: &mut Place<'_, T>,
        end: RelayEndpoint,
        len: usize,
        now: Instant,
    ) {
        let Some(relay) = self.relays.get_mut(&end.number) else { return };
        relay.meter.handle_passed(end.direction, len, now);
        if self.limits.bytes > 0 || self.limits.rate > 0 {
            self.grant(place, end.number, now);
        }
    }

    pub(crate) fn handle_timeout<T>(&mut self, place: &mut Place<'_, T>, now: Instant) {
        while let Some(&(at, number)) = self.due.first()
            && at <= now
        {
            self.due.pop_first();
            if let Some(relay) = self.relays.get_mut(&number) {
                relay.due = None;
            }
            self.grant(place, number, now);
        }
    }

    /// One of its ends is over; the other one is on its way there.
    pub(crate) fn handle_dropped(&mut self, end: RelayEndpoint) {
        self.remove(end.number);
    }

    /// Ends all of them, in order but without a reason: the place is left.
    pub(crate) fn end_all<T>(&mut self, place: &mut Place<'_, T>, now: Instant) {
        for relay in std::mem::take(&mut self.relays).into_values() {
            place.streams.end_splice(relay.ends[0], &[], now);
        }
        self.due.clear();
    }

    /// Lets both directions go on for as long as they may, or ends the relay.
    fn grant<T>(&mut self, place: &mut Place<'_, T>, number: u64, now: Instant) {
        let Some(relay) = self.relays.get_mut(&number) else { return };
        if let Some(why) = relay.meter.end(now) {
            return self.end(place, number, why, now);
        }
        for (direction, id) in relay.ends.into_iter().enumerate() {
            let allowance = relay.meter.allowance(direction, now);
            place.streams.grant(id, allowance);
        }
        self.set_due(number);
    }

    fn end<T>(&mut self, place: &mut Place<'_, T>, number: u64, why: RelayEnd, now: Instant) {
        let Some(Relay { ends: [a, b], .. }) = self.remove(number) else { return };
        place.notes.push(Level::Debug, || format!("the relay of {a} and {b} ends: {why:?}"));
        place.streams.end_splice(a, &closing_line(why), now);
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
