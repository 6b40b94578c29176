//! Fingers: shortcuts for look-ups, and nothing else. They are outside of Zave's proof, so that no list and no predecessor
//! is ever taken from them.
//!
//! Finger i is the first member at or after the place 2^i further on (Stoica et al., section 4.3). Of the 160 only some
//! log2 N differ: what is kept is each run of equal ones, once.

use crate::wire::ring::{BITS, MAX_HINTS, Member, Place, within};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct Fingers {
    me: Place,
    /// In order, clockwise.
    runs: Vec<Member>,
    /// Which finger is looked after next.
    next: u8,
}

/// No more runs than bits. In a ring of a million there are 21; places that are no hashes could make them up to 160.
const MOST: usize = 64;

impl Fingers {
    pub(super) fn new(me: Place) -> Self {
        Self { me, runs: Vec::new(), next: 0 }
    }

    /// In order clockwise, each once.
    pub(crate) fn members(&self) -> &[Member] {
        &self.runs
    }

    /// What is handed to a joiner.
    pub(super) fn hints(&self) -> Arc<[Member]> {
        self.runs.iter().rev().take(MAX_HINTS).copied().collect()
    }

    /// Somebody who lives, and was contacted. It is kept if it is some finger as far as is known: the first at or after
    /// the place where a finger begins.
    pub(super) fn add(&mut self, member: Member) {
        let distance = self.me.distance(member.place);
        let position = self.runs.partition_point(|known| self.me.distance(known.place) < distance);
        if let Some(known) = self.runs.get_mut(position).filter(|known| known.place == member.place) {
            *known = member;
        } else if member.place != self.me && self.runs.len() < MOST {
            self.runs.insert(position, member);
            self.drop_superfluous(position);
        }
    }

    pub(super) fn has(&self, place: Place) -> bool {
        self.runs.iter().any(|known| known.place == place)
    }

    /// It is dead.
    pub(super) fn remove(&mut self, place: Place) {
        self.runs.retain(|known| known.place != place);
    }

    /// The finger of that number, as far as it is known.
    pub(super) fn get(&self, bit: u8) -> Option<Member> {
        let start = self.me.distance(self.me.plus_power(bit));
        let position = self.runs.partition_point(|known| self.me.distance(known.place) < start);
        self.runs.get(position).copied()
    }

    /// Which finger to look after now: each run once, those that the successor is all in one. `None` for one that is alone.
    pub(super) fn turn(&mut self, successor: Option<Member>) -> Option<u8> {
        let lowest = self.first_bit_beyond(successor?.place)?;
        let bit = if (lowest..BITS).contains(&self.next) { self.next } else { lowest };
        self.next = bit + 1;
        Some(bit)
    }

    /// This member is right for all fingers that begin between that of `bit` and it: one look answers for the whole run.
    pub(super) fn is_right(&mut self, bit: u8, member: Place) {
        if self.next == bit + 1 {
            self.next = self.first_bit_beyond(member).unwrap_or(BITS);
        }
    }

    /// Whether somebody before `member` would be the better finger.
    pub(super) fn is_better(&self, bit: u8, candidate: Place, than: Place) -> bool {
        let start = self.me.plus_power(bit);
        candidate == start || (candidate != than && within(start, candidate, than))
    }

    /// The first finger that begins beyond a place.
    fn first_bit_beyond(&self, place: Place) -> Option<u8> {
        let bit = self.me.distance(place).highest_bit()? + 1;
        (bit < BITS).then_some(bit)
    }

    /// A new run may have taken the beginnings of the one after it; and it is none itself if no finger begins in it.
    fn drop_superfluous(&mut self, position: usize) {
        for position in [position + 1, position] {
            let Some(member) = self.runs.get(position) else { continue };
            let before = position.checked_sub(1).map_or(self.me, |before| self.runs[before].place);
            let (from, to) = (self.me.distance(before), self.me.distance(member.place));
            // A finger begins in (from, to] when a power of two lies there.
            let begins_there = to.highest_bit() != from.highest_bit();
            if !begins_there {
                self.runs.remove(position);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::ring::Life;

    fn member(place: Place) -> Member {
        Member { place, life: Life(1) }
    }

    proptest! {
        /// However they come, what is kept is what the paper's table of 160 would hold, each once.
        #[test]
        fn runs_are_the_table(me: [u8; 20], others in prop::collection::vec(any::<[u8; 20]>(), 1..60)) {
            let me = Place::from_bytes(me);
            let others: Vec<Place> = others.into_iter().map(Place::from_bytes).filter(|&place| place != me).collect();
            let mut fingers = Fingers::new(me);
            others.iter().for_each(|&place| fingers.add(member(place)));
            let first = |bit: u8| {
                // The table does not wrap: beyond the last member comes oneself.
                let start = me.distance(me.plus_power(bit));
                others.iter().copied().filter(|&place| me.distance(place) >= start).min_by_key(|&place| me.distance(place))
            };
            let expected: BTreeSet<Place> = (0..BITS).filter_map(first).collect();
            let kept: BTreeSet<Place> = fingers.members().iter().map(|member| member.place).collect();
            prop_assert_eq!(&kept, &expected);
            prop_assert_eq!(kept.len(), fingers.members().len());
            for bit in 0..BITS {
                prop_assert_eq!(fingers.get(bit).map(|member| member.place), first(bit));
            }
        }

        /// One goes through all runs and begins again.
        #[test]
        fn each_run_has_its_turn(others in prop::collection::vec(any::<[u8; 20]>(), 1..60)) {
            let me = Place::ZERO;
            let mut fingers = Fingers::new(me);
            others.iter().for_each(|&place| fingers.add(member(Place::from_bytes(place))));
            let Some(&successor) = fingers.members().first() else { return Ok(()) };
            let mut seen = BTreeSet::new();
            for _ in 0..fingers.members().len() + 1 {
                let Some(bit) = fingers.turn(Some(successor)) else { return Ok(()) };
                if let Some(member) = fingers.get(bit) {
                    fingers.is_right(bit, member.place);
                    seen.insert(member.place);
                }
            }
            prop_assert_eq!(seen.len(), fingers.members().len() - 1);
        }
    }
}
