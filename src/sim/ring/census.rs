//! Who is a member and who was: what nobody in the ring knows, and every answer is measured by.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::queue::Index;
use crate::time::Instant;
use crate::wire::ring::{Member, Place, within};

/// Nobody looks further back than this.
const KEPT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Census {
    members: BTreeMap<Place, Present>,
    past: VecDeque<Past>,
}

#[derive(Clone, Copy, Debug)]
struct Present {
    member: Member,
    index: Index,
    since: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Past {
    member: Member,
    since: Instant,
    until: Instant,
}

impl Census {
    pub(crate) fn joined(&mut self, member: Member, index: Index, now: Instant) {
        self.left(member.place, now);
        self.members.insert(member.place, Present { member, index, since: now });
    }

    pub(crate) fn left(&mut self, place: Place, now: Instant) {
        while self.past.front().is_some_and(|past| past.until + KEPT < now) {
            self.past.pop_front();
        }
        if let Some(Present { member, since, .. }) = self.members.remove(&place) {
            self.past.push_back(Past { member, since, until: now });
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The owner of a key, now: the first member at or after it.
    pub(crate) fn owner(&self, key: Place) -> Option<Index> {
        self.owner_present(key).map(|present| present.index)
    }

    /// All, in order of their places.
    pub(crate) fn members(&self) -> impl Iterator<Item = (Member, Index)> {
        self.members.values().map(|present| (present.member, present.index))
    }

    /// Whether that member was the owner of the key at some instant between the two.
    pub(crate) fn was_owner(&self, key: Place, owner: Member, from: Instant, to: Instant) -> bool {
        // Most often it was and is.
        if let Some(present) = self.owner_present(key)
            && present.member == owner
            && present.since <= to
        {
            return true;
        }
        let Some((since, until)) = self.life_of(owner, to) else { return false };
        let (from, to) = (from.max(since), to.min(until));
        // While nobody was in between: that can only begin where somebody has gone, or it itself has come.
        let between = self.lives_between(key, owner.place, to);
        let is_free = |at: Instant| !between.iter().any(|&(since, until)| since <= at && at < until);
        let ends = between.iter().map(|&(_, until)| until).filter(|&until| from <= until && until <= to);
        from <= to && (is_free(from) || ends.clone().any(is_free))
    }

    fn owner_present(&self, key: Place) -> Option<&Present> {
        self.members.range(key..).next().or_else(|| self.members.iter().next()).map(|(_, present)| present)
    }

    fn life_of(&self, member: Member, now: Instant) -> Option<(Instant, Instant)> {
        let present = self.members.get(&member.place).filter(|present| present.member == member);
        let past = || self.past.iter().rev().find(|past| past.member == member);
        present.map(|present| (present.since, now)).or_else(|| past().map(|past| (past.since, past.until)))
    }

    /// When others had a place between the key and that one.
    fn lives_between(&self, key: Place, owner: Place, now: Instant) -> Vec<(Instant, Instant)> {
        let is_between = |place: Place| place != owner && (place == key || within(key, place, owner));
        let after = self.members.range(key..).chain(self.members.range(..key));
        let present = after.take_while(|(place, _)| is_between(**place));
        let present = present.map(|(_, present)| (present.since, now + Duration::from_nanos(1)));
        let past = self.past.iter().filter(|past| is_between(past.member.place));
        present.chain(past.map(|past| (past.since, past.until))).collect()
    }
}
