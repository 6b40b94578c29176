//! Successor lists.

use std::sync::Arc;

use super::member::Member;
use super::place::Place;

/// The longest list that a member may be configured to keep, and the longest that is read from anybody.
pub(crate) const LONGEST: usize = 64;

/// The members that follow one, in their order: never oneself, none twice. Cheap to copy: what is sent is the same
/// memory as what is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    members: Arc<[Member]>,
    wraps: bool,
}

impl List {
    /// `None` unless the members are in order clockwise from `from`, which is none of them.
    pub(crate) fn new(from: Place, members: &[Member], wraps: bool) -> Option<Self> {
        let list = Self { members: members.into(), wraps };
        list.is_in_order(from).then_some(list)
    }

    /// As somebody says it is, who has to be [looked at](Self::is_in_order) yet. At most [`LONGEST`] of them are taken.
    pub(crate) fn read(members: &[Member], wraps: bool) -> Self {
        Self { members: members.iter().take(LONGEST).copied().collect(), wraps }
    }

    /// The list of the only member of a ring: nobody follows, and that is all.
    pub(crate) fn of_one() -> Self {
        Self { members: Arc::default(), wraps: true }
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn first(&self) -> Option<Member> {
        self.members.first().copied()
    }

    /// Whether the list goes all around: the next after the last is its owner again, so these are all members that there
    /// are. In rings of up to r + 1 members it is so, and a short list is complete; a short list that does not wrap has
    /// lost members and has not been filled up yet.
    pub(crate) fn wraps(&self) -> bool {
        self.wraps
    }

    /// What is read from somebody is used only if it is: in order from `from`, which is not in it, none twice, not too long.
    pub(crate) fn is_in_order(&self, from: Place) -> bool {
        let mut last = Place::ZERO;
        self.members.len() <= LONGEST
            && self.members.iter().all(|member| {
                let distance = from.distance(member.place);
                let in_order = distance > last;
                last = distance;
                in_order
            })
    }

    /// Zave: the list of `me` after an answer of `head`, which is `head` and then `rest`, its list, cut at r entries, or
    /// where it comes around to me. All of it at once, and nothing of the old list stays.
    ///
    /// It is this list's own memory when nothing has changed.
    pub(crate) fn replaced(&self, me: Place, head: Member, rest: &Self, longest: usize) -> Self {
        // A list that wraps ends where it began.
        let end = rest.wraps.then_some(head);
        let members = [head].into_iter().chain(rest.members.iter().copied()).chain(end);
        self.gathered(me, members, longest)
    }

    /// The list of a joiner: what its predecessor, or its successor, has given it, cut in the same way.
    pub(crate) fn taken(me: Place, given: &Self, longest: usize) -> Self {
        let end = given.first().filter(|_| given.wraps);
        Self::default().gathered(me, given.members.iter().copied().chain(end), longest)
    }

    fn gathered(&self, me: Place, members: impl Iterator<Item = Member>, longest: usize) -> Self {
        let mut fresh = [Member::NOBODY; LONGEST];
        let mut length = 0;
        let mut wraps = false;
        let mut last = Place::ZERO;
        for member in members {
            let distance = me.distance(member.place);
            // Around, and at me or beyond.
            wraps = distance <= last;
            if wraps || length == longest.min(LONGEST) {
                break;
            }
            fresh[length] = member;
            length += 1;
            last = distance;
        }
        let fresh = &fresh[..length];
        if *self.members == *fresh {
            return Self { members: self.members.clone(), wraps };
        }
        Self { members: fresh.into(), wraps }
    }

    /// Zave: the first did not answer, the next comes up. The list stays short until that one has answered. (Her model
    /// fills it up with an invented last entry; the shorter list is as good, and has no ghosts in it.)
    pub(crate) fn without_first(&self) -> Self {
        Self { members: self.members.get(1..).unwrap_or_default().into(), wraps: self.wraps }
    }

    /// With a live member that was contacted put where it belongs. A list that skips nobody skips nobody more for it.
    pub(crate) fn with(&self, me: Place, member: Member, longest: usize) -> Self {
        let distance = me.distance(member.place);
        let position = self.members.partition_point(|known| me.distance(known.place) < distance);
        let is_there = self.members.get(position).is_some_and(|known| known.place == member.place);
        if is_there || member.place == me || self.members.len() >= longest {
            return self.clone();
        }
        let (before, after) = self.members.split_at(position);
        Self { members: [before, &[member], after].concat().into(), wraps: self.wraps }
    }

    /// The list of somebody between `me` and the first: this one, and at its end me, if it is complete.
    pub(crate) fn behind(&self, me: Member) -> Self {
        if !self.wraps || self.members.len() == LONGEST {
            return Self { members: self.members.clone(), wraps: false };
        }
        Self { members: [&self.members[..], &[me]].concat().into(), wraps: true }
    }

    /// The list of somebody just before `me`: me, and then this one.
    pub(crate) fn before(&self, me: Member) -> Self {
        let room = self.members.len().min(LONGEST - 1);
        let wraps = self.wraps && room == self.members.len();
        Self { members: [&[me], &self.members[..room]].concat().into(), wraps }
    }
}
