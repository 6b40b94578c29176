//! What we may have left on routers: everything that was asked for and is not known to be gone.
//!
//! A router that is silent, or an answer that gets lost, does not mean that nothing was added. So an entry is made
//! before the question goes out, and stays until the router says no or has removed it. It does not end with the lease:
//! some routers take any lease for a permanent one.

use std::net::SocketAddrV4;
use std::time::Duration;

use crate::reach::MappingProtocol;
use crate::time::Instant;

/// More than ever accumulate with routers that answer; of others, the oldest entry is given up.
const MAX_ENTRIES: usize = 32;

/// How many times a removal is tried.
const TRIES: u8 = 3;

/// A mapping's place in a router's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) protocol: MappingProtocol,
    pub(super) external: u16,
    pub(super) internal: SocketAddrV4,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    /// An earlier question may have put it there, so that a "no" to the present one says nothing.
    stands: bool,
    /// The router has said that it added it.
    added: bool,
    failed_removals: u8,
    not_before: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Ledger(Vec<Entry>);

impl Ledger {
    /// The router is being asked for it.
    pub(super) fn asked(&mut self, place: Place) {
        let entry = self.entry(place);
        (entry.failed_removals, entry.not_before) = (0, Instant::ZERO);
    }

    /// The router says that it is there.
    pub(super) fn confirmed(&mut self, place: Place) {
        if place.protocol == MappingProtocol::NatPmp {
            // One internal port has one external port (RFC 6886 section 3.3): there is no other one any more.
            self.0.retain(|entry| {
                entry.place.protocol != place.protocol || entry.place.internal != place.internal
            });
        }
        let entry = self.entry(place);
        (entry.stands, entry.added) = (true, true);
    }

    /// It can not be known whether the router added it.
    pub(super) fn doubted(&mut self, place: Place) {
        for entry in self.0.iter_mut().filter(|entry| entry.place == place) {
            entry.stands = true;
        }
    }

    /// The router did not add it.
    pub(super) fn refused(&mut self, place: Place) {
        self.0.retain(|entry| entry.place != place || entry.stands);
    }

    pub(super) fn removed(&mut self, place: Place) {
        self.0.retain(|entry| entry.place != place);
    }

    /// The removal failed; it may be tried again after `pause`.
    pub(super) fn not_removed(&mut self, place: Place, now: Instant, pause: Duration) {
        for entry in self.0.iter_mut().filter(|entry| entry.place == place) {
            entry.failed_removals += 1;
            entry.not_before = now + pause;
        }
        self.0.retain(|entry| entry.failed_removals < TRIES);
    }

    /// Tries at once whatever was to be tried again later.
    pub(super) fn hurry(&mut self) {
        self.0.iter_mut().for_each(|entry| entry.not_before = Instant::ZERO);
    }

    /// Whether the router has said that it added it.
    pub(super) fn was_added(&self, place: Place) -> bool {
        self.0.iter().any(|entry| entry.place == place && entry.added)
    }

    /// The first removal to do by this protocol, and when: of all that is not to be kept.
    pub(super) fn next_removal(
        &self,
        protocol: MappingProtocol,
        keep: impl Fn(Place) -> bool,
    ) -> Option<(Instant, Place)> {
        let by_protocol =
            self.0.iter().filter(|entry| entry.place.protocol == protocol && !keep(entry.place));
        by_protocol.map(|entry| (entry.not_before, entry.place)).min_by_key(|(at, _)| *at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The entry, made if need be, and the last one from now on: what is given up is what was left alone for longest.
    fn entry(&mut self, place: Place) -> &mut Entry {
        let index = self.0.iter().position(|entry| entry.place == place);
        let entry = index.map_or_else(|| Entry::new(place), |index| self.0.remove(index));
        if self.0.len() == MAX_ENTRIES {
            self.0.remove(0);
        }
        let last = self.0.len();
        self.0.push(entry);
        &mut self.0[last]
    }
}

impl Entry {
    fn new(place: Place) -> Self {
        Self { place, stands: false, added: false, failed_removals: 0, not_before: Instant::ZERO }
    }
}
