//! The way back for a member that has no live successor any more.
//!
//! That is outside of what Zave's proof allows: r members in a row have died, or it was cut off, or somebody lied to it. It is
//! no member now, and refuses look-ups; but if it told those before it that it is dead, their lists would lose their last live
//! entry, too, and the whole ring would fall like dominoes. So it still answers who insists, with an empty list, and takes the
//! first of all it ever knew that answers, the nearest clockwise first, for its successor. From there stabilise finds its way
//! back, predecessor by predecessor, and a look-up for its own place takes the short way.

use std::time::Duration;

use super::hands::Hands;
use super::questions::{Lane, Questions};
use crate::proto::backoff::Backoff;
use crate::time::{Instant, soonest};
use crate::wire::ring::{List, Member, Message, Number, Place};

/// Between one round of all and the next.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(super) struct Comeback {
    known: Vec<Member>,
    next: usize,
    questions: Questions<()>,
    pause: Backoff,
    /// When the next round begins.
    round: Option<Instant>,
}

impl Comeback {
    /// Through those, in the order in which they follow me.
    pub(super) fn new(me: Place, mut known: Vec<Member>, first_number: Number, now: Instant) -> Self {
        known.retain(|member| member.place != me);
        known.sort_by_key(|member| me.distance(member.place));
        known.dedup_by_key(|member| member.place);
        Self {
            known,
            next: 0,
            questions: Questions::new(first_number, Lane::Comeback),
            pause: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            round: Some(now),
        }
    }

    /// Somebody has answered. Whether it is a list to go on with.
    pub(super) fn handle_answer(&mut self, number: Number, by: Member, list: &List, now: Instant) -> bool {
        self.questions.take(number, by, now).is_some() && list.is_in_order(by.place)
    }

    pub(super) fn handle_gone(&mut self, number: Number, by: Place, hands: &mut Hands<'_>) {
        if self.questions.refused(number, by).is_some() {
            self.ask_next(hands);
        }
    }

    pub(super) fn handle_down(&mut self, node: Place, hands: &mut Hands<'_>) {
        if self.questions.failed(|to| to.place == node).is_some() {
            self.ask_next(hands);
        }
    }

    pub(super) fn handle_timeout(&mut self, hands: &mut Hands<'_>) {
        while self.questions.expired(hands.now).is_some() {
            self.ask_next(hands);
        }
        if self.round.take_if(|round| *round <= hands.now).is_some() {
            self.next = 0;
            self.ask_next(hands);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        soonest(self.round, self.questions.poll_timeout())
    }

    fn ask_next(&mut self, hands: &mut Hands<'_>) {
        let Some(&who) = self.known.get(self.next) else {
            self.round = Some(hands.now + self.pause.next(hands.random));
            return;
        };
        self.next += 1;
        // In whichever life it is by now.
        let who = Member { life: crate::wire::ring::Life::ANY, ..who };
        let wait = hands.contacts.wait_for(who.place);
        let number = self.questions.ask(who, (), wait, hands.now);
        hands.out.send(who, Message::Ask { number, insists: true });
    }
}

/// What one that is lost says to who asks for its neighbours: it has none, and whoever insists may hear that.
pub(super) fn answer(number: Number, insists: bool) -> Message {
    if !insists {
        return Message::Busy { number };
    }
    Message::Answer { number, predecessor: None, list: List::default() }
}
