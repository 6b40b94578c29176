//! What was asked and is not answered yet.

use std::time::Duration;

use crate::time::{Instant, soonest};
use crate::wire::ring::{Member, Number, Place};

/// Questions under way, each for a purpose `P`. Few at a time, so that a walk is faster than a map.
#[derive(Clone, Debug)]
pub(super) struct Questions<P> {
    open: Vec<Question<P>>,
    next: Number,
    /// The earliest deadline, so that nobody walks to find it.
    soonest: Option<Instant>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Keeper,
    Tender,
    Transits,
    LookUps,
    Joiner,
    Comeback,
}

#[derive(Clone, Debug)]
pub(super) struct Question<P> {
    pub(super) number: Number,
    pub(super) to: Member,
    pub(super) purpose: P,
    asked: Instant,
    wait: Duration,
    deadline: Instant,
    asked_twice: bool,
    is_heard: bool,
}

impl<P> Questions<P> {
    /// Numbers begin anywhere, so that those of another life are others. Their last three bits tell whose they are: each part of
    /// the machine that asks has a lane of its own.
    pub(super) fn new(first: Number, lane: Lane) -> Self {
        Self { open: Vec::new(), next: first << 3 | lane as Number, soonest: None }
    }

    pub(super) fn ask(&mut self, to: Member, purpose: P, wait: Duration, now: Instant) -> Number {
        let number = self.next;
        self.next = self.next.wrapping_add(8);
        let deadline = now + wait;
        self.open.push(Question {
            number,
            to,
            purpose,
            asked: now,
            wait,
            deadline,
            asked_twice: false,
            is_heard: false,
        });
        self.soonest = soonest(self.soonest, Some(deadline));
        number
    }

    /// The question that `by` answers with that number, and how long it took, unless it had been acknowledged before. Nobody
    /// else can answer it. To a node of which only the id was known whichever life it is in may answer.
    ///
    /// The time counts from the first asking: nothing is lost on a link, so that is what is answered (and if the link was new
    /// the second time, one waits a little longer than one should; Karn's rule would never learn of a way that is slow).
    pub(super) fn take(
        &mut self,
        number: Number,
        by: Member,
        now: Instant,
    ) -> Option<(Question<P>, Option<Duration>)> {
        let position = self.position(number, by)?;
        let question = self.open.swap_remove(position);
        let took = (!question.is_heard).then(|| now - question.asked);
        self.settle();
        Some((question, took))
    }

    /// The question with that number to that node, whichever life of it was meant: it says that it is not in that one.
    pub(super) fn refused(&mut self, number: Number, by: Place) -> Option<Question<P>> {
        let position =
            self.open.iter().position(|question| question.number == number && question.to.place == by)?;
        let question = self.open.swap_remove(position);
        self.settle();
        Some(question)
    }

    /// The same, but it stays open, now until `deadline`: it has been heard.
    pub(super) fn heard(
        &mut self,
        number: Number,
        by: Member,
        deadline: Instant,
        now: Instant,
    ) -> Option<Duration> {
        let position = self.position(number, by)?;
        let question = &mut self.open[position];
        let took = (!question.is_heard).then(|| now - question.asked);
        question.deadline = deadline;
        question.is_heard = true;
        self.settle();
        took
    }

    /// What was asked with that number.
    pub(super) fn purpose(&self, number: Number, by: Member) -> Option<&P> {
        self.position(number, by).map(|position| &self.open[position].purpose)
    }

    /// One for such a purpose.
    pub(super) fn take_if(&mut self, is_it: impl Fn(&P) -> bool) -> Option<Question<P>> {
        let position = self.open.iter().position(|question| is_it(&question.purpose))?;
        let question = self.open.swap_remove(position);
        self.settle();
        Some(question)
    }

    /// It has expired, and may be answered until then all the same.
    pub(super) fn wait_on(&mut self, question: Question<P>, deadline: Instant) {
        self.open.push(Question { deadline, ..question });
        self.settle();
    }

    /// One whose time is over.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Question<P>> {
        self.soonest.filter(|&soonest| soonest <= now)?;
        let position = self.open.iter().position(|question| question.deadline <= now)?;
        let question = self.open.swap_remove(position);
        self.settle();
        Some(question)
    }

    /// Asks again, and waits twice as long: the first may have been held up.
    pub(super) fn ask_again(&mut self, question: Question<P>, now: Instant) {
        let wait = question.wait.saturating_mul(2);
        self.open.push(Question { wait, deadline: now + wait, asked_twice: true, ..question });
        self.settle();
    }

    /// One to that member: it is dead, and will not answer.
    pub(super) fn failed(&mut self, member: impl Fn(Member) -> bool) -> Option<Question<P>> {
        let position = self.open.iter().position(|question| member(question.to))?;
        let question = self.open.swap_remove(position);
        self.settle();
        Some(question)
    }

    pub(super) fn purposes(&self) -> impl Iterator<Item = &P> {
        self.open.iter().map(|question| &question.purpose)
    }

    pub(super) fn is_asked(&self, place: Place) -> bool {
        self.open.iter().any(|question| question.to.place == place)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn clear(&mut self) {
        self.open = Vec::new();
        self.soonest = None;
    }

    #[cfg(test)]
    pub(super) fn first(&self) -> Option<(Member, Number, P)>
    where
        P: Copy,
    {
        self.open.first().map(|question| (question.to, question.number, question.purpose))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.soonest
    }

    fn position(&self, number: Number, by: Member) -> Option<usize> {
        self.open.iter().position(|question| question.number == number && question.is_to(by))
    }

    fn settle(&mut self) {
        if self.open.is_empty() {
            self.open = Vec::new(); // most of the time nothing is open, in each of many machines
        }
        self.soonest = self.open.iter().map(|question| question.deadline).min();
    }
}

impl Lane {
    /// Whose question that number is.
    pub(super) fn of(number: Number) -> Self {
        match number & 7 {
            0 => Self::Keeper,
            1 => Self::Tender,
            2 => Self::Transits,
            3 => Self::LookUps,
            4 => Self::Joiner,
            _ => Self::Comeback,
        }
    }
}

impl<P> Question<P> {
    fn is_to(&self, member: Member) -> bool {
        let is_any = self.to.life == crate::wire::ring::Life::ANY;
        self.to == member || (is_any && self.to.place == member.place)
    }

    /// It expects no answer but the one that is under way.
    pub(super) fn was_asked_twice(&self) -> bool {
        self.asked_twice
    }
}
