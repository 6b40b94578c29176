//! The part of a member's state that the ring rests on: its successor list, its predecessor, and who has notified it.
//! Every rule that changes one of them is here, each as one step (Zave, "Reasoning about identifier spaces: how to make
//! Chord correct", TSE 43(12), 2017). They only look at what they are told; who asks whom and when is `repair`'s.

#[cfg(test)]
use super::variant::Variant;
#[cfg(test)]
use crate::wire::ring::LONGEST;
use crate::wire::ring::{List, Member, Place, between, within};

#[derive(Clone, Debug)]
pub(crate) struct Neighbours {
    me: Place,
    longest: usize,
    list: List,
    predecessor: Option<Member>,
    /// The closest of those that have notified me since I last rectified.
    notified: Option<Member>,
    #[cfg(test)]
    variant: Variant,
}

/// What is to be done about the one who has notified me.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rectify {
    /// It is my predecessor already, or has become it.
    Done,
    /// My predecessor is closer, if it is alive.
    Probe { predecessor: Member, candidate: Member },
}

impl Neighbours {
    /// The only member of a ring: r entries can not be had, and the empty list is complete.
    pub(super) fn alone(me: Place, longest: usize) -> Self {
        Self::new(me, longest, List::of_one(), None)
    }

    pub(super) fn new(me: Place, longest: usize, list: List, predecessor: Option<Member>) -> Self {
        Self {
            me,
            longest,
            list,
            predecessor,
            notified: None,
            #[cfg(test)]
            variant: Variant::Correct,
        }
    }

    /// With a rule broken, for the tests.
    #[cfg(test)]
    pub(super) fn broken(self, variant: Variant) -> Self {
        Self { variant, ..self }
    }

    /// The original join.
    #[cfg(test)]
    pub(super) fn broken_at_join(mut self) -> Self {
        if self.variant == Variant::JoinsWithOnePointer {
            self.list = List::taken(self.me, &self.list, 1);
        }
        self
    }

    #[cfg(test)]
    pub(super) fn variant(&self) -> Variant {
        self.variant
    }

    /// r.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    pub(crate) fn list(&self) -> &List {
        &self.list
    }

    pub(crate) fn predecessor(&self) -> Option<Member> {
        self.predecessor
    }

    /// The first of the list.
    pub(crate) fn successor(&self) -> Option<Member> {
        self.list.first()
    }

    /// Whether it is one of them.
    pub(super) fn has(&self, place: Place) -> bool {
        self.predecessor.is_some_and(|predecessor| predecessor.place == place)
            || self.list.members().iter().any(|member| member.place == place)
    }

    /// Nobody else is in the ring.
    pub(crate) fn is_alone(&self) -> bool {
        self.list.members().is_empty() && self.list.wraps()
    }

    /// Nobody of the list has answered, and there are others: the ring is lost.
    pub(super) fn is_lost(&self) -> bool {
        self.list.members().is_empty() && !self.list.wraps()
    }

    /// Whether a key is mine, as far as my predecessor goes.
    pub(super) fn owns(&self, key: Place) -> bool {
        match self.predecessor {
            Some(predecessor) => within(predecessor.place, key, self.me),
            None => self.is_alone(),
        }
    }

    /// Zave, join, at the joiner: the whole list of the one before it in one step, and that one as its predecessor.
    pub(super) fn joined(me: Place, longest: usize, given: &List, predecessor: Option<Member>) -> Self {
        // What the one at my own place was is over.
        let predecessor = predecessor.filter(|predecessor| predecessor.place != me);
        Self::new(me, longest, List::taken(me, given, longest), predecessor)
    }

    /// Zave, stabilise, the first did not answer: the next comes up in the same step.
    pub(super) fn first_failed(&mut self) {
        self.list = self.list.without_first();
    }

    /// Zave, stabilise, the first has answered: its list replaces mine, all at once. What comes back is the predecessor that
    /// it told, when that lies between us: the one to ask in the second step. It is not taken before it has answered.
    pub(super) fn first_answered(
        &mut self,
        first: Member,
        predecessor: Option<Member>,
        list: &List,
    ) -> Option<Member> {
        self.replace(first, list);
        let closer = predecessor.filter(|closer| between(self.me, closer.place, first.place));
        #[cfg(test)]
        if let (Variant::AdoptsUnchecked, Some(closer)) = (self.variant, closer) {
            self.list = List::default().replaced(self.me, closer, &self.list, self.longest);
            return None;
        }
        closer
    }

    /// Zave, stabilise, second step: the closer one has answered, and with its list it goes in front. Unless somebody closer
    /// still is there by now.
    pub(super) fn closer_answered(&mut self, closer: Member, list: &List) {
        if self.is_closer(closer) {
            self.replace(closer, list);
        }
    }

    /// Whether somebody would be the first of my list: the condition of the second step. Alone, it is anybody.
    pub(super) fn is_closer(&self, candidate: Member) -> bool {
        let end = self.successor().map_or(self.me, |first| first.place);
        between(self.me, candidate.place, end)
    }

    /// Zave, notify: the slot keeps the closest. If the last one counted, one that belongs further back could push
    /// the right one out each round, for ever.
    pub(super) fn notified(&mut self, by: Member) {
        if by.place == self.me {
            return;
        }
        // Another life at the same place is what is there now.
        let is_closest =
            self.notified.is_none_or(|kept| kept.place == by.place || between(kept.place, by.place, self.me));
        #[cfg(test)]
        let is_closest = is_closest || self.variant == Variant::LastNotifyWins;
        if is_closest {
            self.notified = Some(by);
        }
    }

    pub(super) fn has_notice(&self) -> bool {
        self.notified.is_some()
    }

    /// Zave, rectify: the one who has notified me is my predecessor if it is closer than the present one, or if that one is
    /// dead. It has just spoken; only the old one has to be probed.
    pub(super) fn rectify(&mut self) -> Rectify {
        let Some(candidate) = self.notified.take() else { return Rectify::Done };
        match self.predecessor {
            Some(predecessor) if predecessor == candidate => Rectify::Done,
            // The same place in another life is not closer: the old life is probed, and found to be over.
            Some(predecessor) if !between(predecessor.place, candidate.place, self.me) => {
                Rectify::Probe { predecessor, candidate }
            }
            _ => {
                self.predecessor = Some(candidate);
                Rectify::Done
            }
        }
    }

    /// Zave, rectify, the old predecessor did not answer.
    pub(super) fn predecessor_failed(&mut self, predecessor: Member, candidate: Member) {
        #[cfg(test)]
        if self.variant == Variant::KeepsDeadPredecessor {
            return;
        }
        // Somebody may have come in between while it was probed; but then it is not the one that was.
        if self.predecessor == Some(predecessor) {
            self.predecessor = Some(candidate);
        }
    }

    /// After all of my list have died: somebody who lives, wherever it is.
    pub(super) fn found_again(&mut self, somebody: Member, list: &List) {
        self.replace(somebody, list);
    }

    /// Everybody else is gone.
    pub(super) fn forget_predecessor(&mut self) {
        self.predecessor = None;
    }

    /// One that I have let in myself, in a ring of so few that all know all, is known to me from then on.
    pub(super) fn let_in(&mut self, member: Member) {
        if self.list.wraps() {
            self.list = self.list.with(self.me, member, self.longest);
        }
    }

    fn replace(&mut self, head: Member, rest: &List) {
        #[cfg(test)]
        match self.variant {
            Variant::MergesLists => {
                let both =
                    rest.members().iter().fold(self.list.with(self.me, head, LONGEST), |list, member| {
                        list.with(self.me, *member, LONGEST)
                    });
                return self.list = List::taken(self.me, &both, self.longest);
            }
            Variant::ChangesHeadOnly if self.successor().is_some_and(|first| first.place != head.place) => {
                return self.list =
                    List::default().replaced(self.me, head, &self.list.without_first(), self.longest);
            }
            _ => {}
        }
        self.list = self.list.replaced(self.me, head, rest, self.longest);
    }
}
