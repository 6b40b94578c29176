//! Tends the fingers, and asks the dead whether they still are. Nothing here changes a list or a predecessor.
//!
//! A look-up for each finger each period, as in the paper, would be most of what a ring says. Instead the finger is asked who is
//! before it: if nobody there would be a better one it is right, and for all fingers up to it. If there is, that one is
//! asked in turn; only after a few steps, or when it is dead, it takes a look-up.

use std::collections::VecDeque;
use std::sync::Arc;

use super::fingers::Fingers;
use super::hands::Hands;
use super::questions::{Lane, Question, Questions};
use crate::time::{Instant, soonest};
use crate::wire::ring::{Found, List, MAX_HINTS, Member, Message, Number, Place};

/// So many members one goes back before one looks the finger up.
const STEPS: u8 = 4;

#[derive(Clone, Debug)]
pub(super) struct Tender {
    questions: Questions<Purpose>,
    /// When the next finger has its turn.
    period: Instant,
    /// Fingers of somebody else, to begin with.
    hints: VecDeque<Member>,
}

#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// Is that the finger? So many steps back may follow.
    Finger { bit: u8, steps: u8 },
    /// It did not answer before.
    Suspect,
    /// Which fingers does it have?
    Hints,
    /// Somebody has it for a finger.
    Hint,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tended {
    /// Nothing.
    On,
    /// Look that finger up.
    LookUp(u8),
}

impl Tender {
    pub(super) fn new(first_number: Number) -> Self {
        Self {
            questions: Questions::new(first_number, Lane::Tender),
            period: Instant::ZERO,
            hints: VecDeque::new(),
        }
    }

    /// A member from now on.
    pub(super) fn begin(&mut self, period: Instant) {
        self.questions.clear();
        self.hints = VecDeque::new();
        self.period = period;
    }

    /// A joiner takes the fingers of its successor, which are nearly its own, after each has answered.
    pub(super) fn ask_for_hints(&mut self, from: Member, hands: &mut Hands<'_>) {
        self.ask(from, Purpose::Hints, hands);
    }

    pub(super) fn handle_hints(
        &mut self,
        number: Number,
        by: Member,
        members: &Arc<[Member]>,
        hands: &mut Hands<'_>,
    ) {
        if let Some((_, took)) = self.questions.take(number, by, hands.now) {
            hands.contacts.answered(by.place, took);
            self.hints = members.iter().copied().take(MAX_HINTS).collect();
            self.try_hint(hands);
        }
    }

    pub(super) fn handle_alive(
        &mut self,
        (number, by): (Number, Member),
        predecessor: Option<Member>,
        fingers: &mut Fingers,
        hands: &mut Hands<'_>,
    ) -> Tended {
        let Some((question, took)) = self.questions.take(number, by, hands.now) else { return Tended::On };
        hands.contacts.answered(by.place, took);
        match question.purpose {
            Purpose::Finger { bit, steps } => {
                fingers.add(by);
                match predecessor.filter(|before| fingers.is_better(bit, before.place, by.place)) {
                    None => fingers.is_right(bit, by.place),
                    Some(_) if steps == 0 => return Tended::LookUp(bit),
                    // Dead as far as I know: it would be no finger.
                    Some(before) if hands.contacts.suspects.has(before.place) => {}
                    Some(before) => self.ask(before, Purpose::Finger { bit, steps: steps - 1 }, hands),
                }
            }
            Purpose::Hint => {
                fingers.add(by);
                self.try_hint(hands);
            }
            Purpose::Suspect | Purpose::Hints => {}
        }
        Tended::On
    }

    /// What a look-up for a finger has found: it is one when it has answered.
    pub(super) fn handle_found(
        &mut self,
        me: Place,
        bit: u8,
        found: Found,
        fingers: &mut Fingers,
        hands: &mut Hands<'_>,
    ) {
        if found.owner.place == me {
            // Nobody lies beyond.
            fingers.is_right(bit, me);
        } else if !self.questions.is_asked(found.owner.place) {
            self.ask(found.owner, Purpose::Finger { bit, steps: STEPS }, hands);
        }
    }

    pub(super) fn handle_gone(
        &mut self,
        number: Number,
        by: Place,
        fingers: &mut Fingers,
        hands: &mut Hands<'_>,
    ) -> Tended {
        match self.questions.refused(number, by) {
            Some(question) => self.failed(question, fingers, hands),
            None => Tended::On,
        }
    }

    pub(super) fn handle_down(
        &mut self,
        node: Place,
        fingers: &mut Fingers,
        hands: &mut Hands<'_>,
    ) -> Tended {
        match self.questions.failed(|to| to.place == node) {
            Some(question) => self.failed(question, fingers, hands),
            None => Tended::On,
        }
    }

    pub(super) fn handle_timeout(
        &mut self,
        list: &List,
        fingers: &mut Fingers,
        hands: &mut Hands<'_>,
    ) -> Tended {
        while let Some(question) = self.questions.expired(hands.now) {
            if question.was_asked_twice() {
                return self.failed(question, fingers, hands);
            }
            let (to, number, purpose) = (question.to, question.number, question.purpose);
            self.questions.ask_again(question, hands.now);
            hands.out.send(to, purpose.question().numbered(number));
        }
        while let Some(suspect) = hands.contacts.suspects.due(hands.now) {
            self.ask(suspect, Purpose::Suspect, hands);
        }
        if self.period <= hands.now {
            self.period = hands.period(hands.settings.finger_every);
            return self.tend(list, fingers, hands);
        }
        Tended::On
    }

    pub(super) fn weight(&self) -> usize {
        self.questions.len() + self.hints.len()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        soonest(Some(self.period), self.questions.poll_timeout())
    }

    /// The next finger. Those that begin within the successor list need none: the list is nearer.
    fn tend(&mut self, list: &List, fingers: &mut Fingers, hands: &mut Hands<'_>) -> Tended {
        let Some(bit) = fingers.turn(list.members().last().copied()) else { return Tended::On };
        match fingers.get(bit) {
            Some(finger) if !self.questions.is_asked(finger.place) => {
                self.ask(finger, Purpose::Finger { bit, steps: STEPS }, hands);
                Tended::On
            }
            Some(_) => Tended::On,
            None => Tended::LookUp(bit),
        }
    }

    fn try_hint(&mut self, hands: &mut Hands<'_>) {
        if let Some(hint) = self.hints.pop_front() {
            self.ask(hint, Purpose::Hint, hands);
        }
    }

    fn failed(
        &mut self,
        question: Question<Purpose>,
        fingers: &mut Fingers,
        hands: &mut Hands<'_>,
    ) -> Tended {
        let who = question.to;
        match question.purpose {
            Purpose::Finger { bit, .. } => {
                hands.silent(who);
                fingers.remove(who.place);
                return Tended::LookUp(bit);
            }
            Purpose::Suspect => {
                hands.contacts.still_silent(who, hands.now, hands.random);
                fingers.remove(who.place);
            }
            Purpose::Hint => self.try_hint(hands),
            Purpose::Hints => {}
        }
        Tended::On
    }

    fn ask(&mut self, to: Member, purpose: Purpose, hands: &mut Hands<'_>) {
        let wait = hands.contacts.wait_for_neighbour(to.place);
        let number = self.questions.ask(to, purpose, wait, hands.now);
        hands.out.send(to, purpose.question().numbered(number));
    }
}

impl Purpose {
    fn question(self) -> Message {
        match self {
            Self::Hints => Message::AskFingers { number: 0 },
            _ => Message::Probe { number: 0 },
        }
    }
}
