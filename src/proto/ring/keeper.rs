//! Keeps a member in the ring: asks and answers for its neighbours, in its periods and when it is kicked.

use super::hands::Hands;
use super::neighbours::Neighbours;
use super::questions::{Lane, Questions};
use super::repair::{Repair, Work};
use crate::time::{Instant, soonest};
use crate::wire::ring::{List, Member, Message, Number, Place};

#[derive(Clone, Debug)]
pub(super) struct Keeper {
    pub(super) neighbours: Neighbours,
    repair: Repair,
    questions: Questions<Asked>,
    /// When the period ends.
    period: Instant,
    /// Whom to ask again, and when: it was busy.
    later: Option<(Instant, Member)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    ForNeighbours,
    ForLife,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing to tell.
    On,
    /// A round of stabilise has ended: the successor has been notified.
    Round,
    /// No successor is left.
    Lost,
}

impl Keeper {
    pub(super) fn new(neighbours: Neighbours, first_number: Number) -> Self {
        Self {
            neighbours,
            repair: Repair::default(),
            questions: Questions::new(first_number, Lane::Keeper),
            period: Instant::ZERO,
            later: None,
        }
    }

    /// A member from now on: what was before is forgotten. The first round begins at once.
    pub(super) fn install(&mut self, neighbours: Neighbours, hands: &mut Hands<'_>) -> Kept {
        self.neighbours = neighbours;
        self.repair = Repair::default();
        self.questions.clear();
        self.later = None;
        self.stabilise(hands)
    }

    /// A member again, with what is left.
    pub(super) fn come_back(&mut self, through: Member, list: &List, hands: &mut Hands<'_>) -> Kept {
        let mut neighbours = self.neighbours.clone();
        neighbours.found_again(through, list);
        self.install(neighbours, hands)
    }

    /// As [`install`](Self::install), in the middle of a period.
    pub(super) fn place(&mut self, neighbours: Neighbours, period: Instant) {
        self.neighbours = neighbours;
        self.period = period;
    }

    /// The period is over, or somebody says that it should be.
    pub(super) fn stabilise(&mut self, hands: &mut Hands<'_>) -> Kept {
        self.period = hands.period(hands.settings.stabilise_every);
        let work = self.repair.stabilise(&self.neighbours);
        self.carry_out(work, hands)
    }

    /// Somebody new is there, or somebody is not there any more: a round begins now, or after this one.
    pub(super) fn kick(&mut self, hands: &mut Hands<'_>) -> Kept {
        let work = self.repair.stabilise(&self.neighbours);
        self.carry_out(work, hands)
    }

    /// Somebody of another ring lies between me and my successor.
    pub(super) fn meet(&mut self, other: Member, hands: &mut Hands<'_>) -> Kept {
        let work = self.repair.meet(&self.neighbours, other);
        self.carry_out(work, hands)
    }

    /// What I say to one that asks for my neighbours. Not in the middle of a step, unless it insists.
    pub(super) fn answer(&self, number: Number, insists: bool) -> Message {
        if self.repair.is_busy() && !insists {
            return Message::Busy { number };
        }
        let (predecessor, list) = (self.neighbours.predecessor(), self.neighbours.list().clone());
        Message::Answer { number, predecessor, list }
    }

    pub(super) fn handle_notify(&mut self, by: Member, hands: &mut Hands<'_>) -> Kept {
        self.neighbours.notified(by);
        self.carry_out(Work::Rest, hands)
    }

    pub(super) fn handle_answer(
        &mut self,
        number: Number,
        by: Member,
        predecessor: Option<Member>,
        list: &List,
        hands: &mut Hands<'_>,
    ) -> Kept {
        // Out of order, with itself in it or one twice, it is no answer, and who says such things is taken for dead.
        if !list.is_in_order(by.place) || !self.take(Asked::ForNeighbours, number, by, hands) {
            return Kept::On;
        }
        let work = self.repair.answered(&mut self.neighbours, by, predecessor, list);
        self.carry_out(work, hands)
    }

    pub(super) fn handle_alive(&mut self, number: Number, by: Member, hands: &mut Hands<'_>) -> Kept {
        if !self.take(Asked::ForLife, number, by, hands) {
            return Kept::On;
        }
        let work = self.repair.alive(by);
        self.carry_out(work, hands)
    }

    pub(super) fn handle_busy(&mut self, number: Number, by: Member, hands: &mut Hands<'_>) -> Kept {
        if !self.take(Asked::ForNeighbours, number, by, hands) {
            return Kept::On;
        }
        let work = self.repair.busy(by);
        self.carry_out(work, hands)
    }

    /// It is no member, or not the one that was asked: dead, and no need to wait.
    pub(super) fn handle_gone(&mut self, number: Number, by: Place, hands: &mut Hands<'_>) -> Option<Kept> {
        let question = self.questions.refused(number, by)?;
        Some(self.failed(question.to, hands))
    }

    /// It has left: dead, for all that counts.
    pub(super) fn handle_left(&mut self, who: Member, hands: &mut Hands<'_>) -> Kept {
        hands.contacts.left(who, hands.now);
        self.handle_down(who.place, hands)
    }

    /// There is no way to it any more.
    pub(super) fn handle_down(&mut self, node: Place, hands: &mut Hands<'_>) -> Kept {
        if let Some(question) = self.questions.failed(|to| to.place == node) {
            return self.failed(question.to, hands);
        }
        // Its predecessor mends it now: one round, no more (Rhea et al., USENIX ATC 2004, on repair that reacts).
        match self.neighbours.successor() {
            Some(first) if first.place == node => self.kick(hands),
            _ => Kept::On,
        }
    }

    pub(super) fn handle_timeout(&mut self, hands: &mut Hands<'_>) -> Kept {
        let mut kept = Kept::On;
        while let Some(question) = self.questions.expired(hands.now) {
            if question.was_asked_twice() {
                hands.silent(question.to);
                kept = kept.and(self.failed(question.to, hands));
            } else {
                // A second probe before anybody is suspected.
                let (to, number, asked) = (question.to, question.number, question.purpose);
                self.questions.ask_again(question, hands.now);
                hands.out.send(to, self.question(asked).numbered(number));
            }
        }
        if let Some((_, to)) = self.later.take_if(|later| later.0 <= hands.now) {
            kept = kept.and(self.carry_out(Work::Ask(to), hands));
        }
        if self.period <= hands.now {
            kept = kept.and(self.stabilise(hands));
        }
        kept
    }

    pub(super) fn weight(&self) -> usize {
        self.questions.len()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let timers = soonest(Some(self.period), self.later.map(|later| later.0));
        soonest(timers, self.questions.poll_timeout())
    }

    /// Whether that question of mine is answered. Something else than was asked for is no answer.
    fn take(&mut self, asked: Asked, number: Number, by: Member, hands: &mut Hands<'_>) -> bool {
        if self.questions.purpose(number, by) != Some(&asked) {
            return false;
        }
        let taken = self.questions.take(number, by, hands.now);
        if let Some((_, took)) = taken {
            hands.contacts.answered(by.place, took);
        }
        taken.is_some()
    }

    fn failed(&mut self, who: Member, hands: &mut Hands<'_>) -> Kept {
        let work = self.repair.failed(&mut self.neighbours, who);
        self.carry_out(work, hands)
    }

    fn carry_out(&mut self, mut work: Work, hands: &mut Hands<'_>) -> Kept {
        let mut kept = Kept::On;
        loop {
            match work {
                Work::Ask(to) => self.ask(to, Asked::ForNeighbours, hands),
                Work::Probe(to) => self.ask(to, Asked::ForLife, hands),
                Work::AskLater(to) => {
                    let wait = hands.contacts.wait_for(to.place);
                    self.later = Some((hands.now + hands.random.jitter(wait / 2), to));
                }
                Work::Notify(to) => {
                    hands.out.send(to, Message::Notify);
                    kept = Kept::Round;
                }
                Work::Lost => return Kept::Lost,
                Work::Rest => {}
            }
            // Ends with the first that waits for an answer: then nothing else is begun.
            work = self.repair.next(&mut self.neighbours);
            if work == Work::Rest {
                return kept;
            }
        }
    }

    fn ask(&mut self, to: Member, asked: Asked, hands: &mut Hands<'_>) {
        let wait = hands.contacts.wait_for_neighbour(to.place);
        let number = self.questions.ask(to, asked, wait, hands.now);
        hands.out.send(to, self.question(asked).numbered(number));
    }

    fn question(&self, asked: Asked) -> Message {
        match asked {
            Asked::ForNeighbours => Message::Ask { number: 0, insists: self.repair.insists() },
            Asked::ForLife => Message::Probe { number: 0 },
        }
    }
}

/// For the search through all orders.
#[cfg(test)]
impl Keeper {
    pub(super) fn ask_now(&mut self, hands: &mut Hands<'_>) -> Option<Kept> {
        let (_, to) = self.later.take()?;
        Some(self.carry_out(Work::Ask(to), hands))
    }

    pub(super) fn has_later(&self) -> bool {
        self.later.is_some()
    }

    pub(super) fn repeat(&mut self, hands: &mut Hands<'_>) {
        if let Some((to, number, asked)) = self.questions.first() {
            hands.out.send(to, self.question(asked).numbered(number));
        }
    }

    pub(super) fn waits_for(&self) -> Option<(Member, Number)> {
        self.questions.first().map(|(to, number, _)| (to, number))
    }

    pub(super) fn essence(&self) -> impl std::fmt::Debug + '_ {
        let later = self.later.map(|(_, who)| who);
        (&self.neighbours, &self.repair, later, self.waits_for().map(|(to, _)| to))
    }
}

impl Kept {
    /// What came of two things.
    pub(super) fn and(self, later: Self) -> Self {
        match (self, later) {
            (Self::Lost, _) | (_, Self::Lost) => Self::Lost,
            (Self::Round, _) | (_, Self::Round) => Self::Round,
            _ => Self::On,
        }
    }
}
