//! Finds other rings and makes one of two.
//!
//! Chord by itself never does: what a broken network has parted stays apart, each half in order. So each period one looks one's own
//! place up through a member that fell silent once. If the answer is not oneself, there is another ring: who would follow one
//! there is asked as in the second step of stabilise, and who would come before is told to do the same.

use super::hands::Hands;
use crate::time::Instant;
use crate::wire::ring::{Found, Member, Message, Place};

#[derive(Clone, Debug, Default)]
pub(super) struct Merger {
    period: Instant,
    /// Through whom I am looking.
    through: Option<Member>,
}

impl Merger {
    pub(super) fn begin(&mut self, period: Instant) {
        *self = Self { period, through: None };
    }

    /// Through whom to look for oneself now: somebody that none of one's lists has. `is_known` says who is in them.
    pub(super) fn handle_timeout(
        &mut self,
        is_known: impl Fn(Place) -> bool,
        hands: &mut Hands<'_>,
    ) -> Option<Member> {
        if self.period > hands.now {
            return None;
        }
        self.period = hands.period(hands.settings.merge_every);
        self.through = hands.contacts.remembered.any(hands.random).filter(|member| !is_known(member.place));
        // It may have come back in another life, which is as good.
        self.through.map(|member| Member { life: crate::wire::ring::Life::ANY, ..member })
    }

    /// Through that one, now: it has brought me back, and I do not know where I am.
    pub(super) fn look_through(&mut self, member: Member) {
        self.through = Some(member);
    }

    /// What came of it: the one of another ring that would follow me.
    pub(super) fn handle_found(
        &mut self,
        me: Place,
        found: Option<Found>,
        hands: &mut Hands<'_>,
    ) -> Option<Member> {
        let through = self.through.take()?;
        let found = found?;
        if found.owner.place == me {
            // It is in my ring.
            hands.contacts.remembered.remove(through.place);
            return None;
        }
        if let Some(predecessor) = found.predecessor.filter(|predecessor| predecessor.place != me) {
            hands.out.send(predecessor, Message::Meet);
        }
        Some(found.owner)
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.period
    }
}
