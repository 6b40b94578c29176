//! The look-ups that this member has begun.

use super::event::LookUpFault;
use super::hands::Hands;
use super::questions::{Lane, Questions};
use super::transits::Standpoint;
use super::verify::{Check, Verify};
use super::walk::{Step, Walk};
use crate::time::{Instant, soonest};
use crate::wire::ring::{Found, List, Member, Message, Number, Place, QueryId};

/// How the node wants a look-up done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// From hop to hop, over links that are there.
    Recursive,
    /// The origin asks each hop itself.
    Iterative,
    /// Two ways, and the owner's predecessor confirms.
    Verified,
}

/// Too many look-ups are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// For whom a look-up is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Node,
    /// My own place, on the way in.
    Joiner,
    /// My own place, in another ring.
    Merger,
    /// The finger of that number.
    Finger(u8),
}

#[derive(Clone, Debug)]
struct LookUp {
    query: QueryId,
    key: Place,
    whose: Whose,
    until: Instant,
    way: OnIts,
}

/// On its way.
#[derive(Clone, Debug)]
enum OnIts {
    /// The transits have it.
    Way,
    Walk(Box<Walk>),
    Ways(Box<Verify>),
}

/// Those that have not ended.
#[derive(Clone, Debug)]
pub(super) struct LookUps {
    open: Vec<LookUp>,
    /// What was asked for which of them.
    questions: Questions<QueryId>,
    ended: Vec<Ended>,
    /// Transits to start, for the predecessor of a key.
    wanted: Vec<(QueryId, Place)>,
}

/// One has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) query: QueryId,
    pub(super) key: Place,
    pub(super) whose: Whose,
    pub(super) outcome: Result<Found, LookUpFault>,
}

impl LookUps {
    pub(super) fn new(first_number: Number) -> Self {
        let questions = Questions::new(first_number, Lane::LookUps);
        Self { open: Vec::new(), questions, ended: Vec::new(), wanted: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// One that is one transit.
    pub(super) fn add(&mut self, query: QueryId, key: Place, whose: Whose, until: Instant) {
        self.open.push(LookUp { query, key, whose, until, way: OnIts::Way });
    }

    /// One that goes several ways, which are transits.
    pub(super) fn verify(
        &mut self,
        query: QueryId,
        key: Place,
        ways: Vec<QueryId>,
        until: Instant,
        now: Instant,
    ) {
        let way = OnIts::Ways(Box::new(Verify::new(key, ways, now)));
        self.open.push(LookUp { query, key, whose: Whose::Node, until, way });
    }

    /// One in which I ask each hop.
    pub(super) fn walk(
        &mut self,
        query: QueryId,
        key: Place,
        mut walk: Walk,
        until: Instant,
        hands: &mut Hands<'_>,
    ) {
        let step = walk.next();
        let way = OnIts::Walk(Box::new(walk));
        self.open.push(LookUp { query, key, whose: Whose::Node, until, way });
        self.take_step(query, step, hands);
    }

    /// A transit has ended.
    pub(super) fn handle_transit(
        &mut self,
        query: QueryId,
        outcome: Result<Found, LookUpFault>,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        let is_it = |open: &&mut LookUp| match &open.way {
            OnIts::Way => open.query == query,
            OnIts::Ways(verify) => verify.has_way(query),
            OnIts::Walk(_) => false,
        };
        let Some(open) = self.open.iter_mut().find(is_it) else { return };
        let whole = open.query;
        match &mut open.way {
            OnIts::Ways(verify) => {
                let check = verify.ended(query, outcome.ok(), hands.now);
                self.take_check(whole, check, from, hands);
            }
            _ => self.end(whole, outcome),
        }
    }

    pub(super) fn handle_pointed(
        &mut self,
        (number, by): (Number, Member),
        members: &[Member],
        last: bool,
        hands: &mut Hands<'_>,
    ) {
        self.step(number, by, hands, |walk| walk.pointed(by, members, last));
    }

    pub(super) fn handle_found(
        &mut self,
        (number, by): (Number, Member),
        found: Found,
        hands: &mut Hands<'_>,
    ) {
        self.step(number, by, hands, |walk| walk.found(by, found));
    }

    /// Somebody that should be just before an owner says who follows it.
    pub(super) fn handle_answer(
        &mut self,
        (number, by): (Number, Member),
        list: &List,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        let Some((question, took)) = self.questions.take(number, by, hands.now) else { return };
        hands.contacts.answered(by.place, took);
        self.confirm(question.purpose, Some(list), from, hands);
    }

    /// It is no member, or there is no way to it.
    pub(super) fn handle_gone(
        &mut self,
        number: Number,
        by: Place,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        if let Some(question) = self.questions.refused(number, by) {
            self.failed(question.purpose, by, false, from, hands);
        }
    }

    pub(super) fn handle_down(&mut self, node: Place, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        for _ in 0..self.questions.len() {
            let Some(question) = self.questions.failed(|to| to.place == node) else { return };
            self.failed(question.purpose, node, false, from, hands);
        }
    }

    pub(super) fn handle_timeout(&mut self, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        while let Some(question) = self.questions.expired(hands.now) {
            hands.contacts.doubt(question.to, hands.now);
            self.failed(question.purpose, question.to.place, true, from, hands);
        }
        let late = |open: &LookUp| open.until <= hands.now && !matches!(open.way, OnIts::Way);
        while let Some(query) = self.open.iter().find(|open| late(open)).map(|open| open.query) {
            self.end(query, Err(LookUpFault::TimedOut));
        }
        let mut checks = Vec::new();
        for open in &mut self.open {
            if let OnIts::Ways(verify) = &mut open.way {
                checks.push((open.query, verify.handle_timeout(hands.now)));
            }
        }
        for (query, check) in checks {
            self.take_check(query, check, from, hands);
        }
    }

    /// I am no member any more.
    pub(super) fn give_up(&mut self) {
        self.questions.clear();
        while let Some(query) = self.open.first().map(|open| open.query) {
            self.end(query, Err(LookUpFault::NoMember));
        }
    }

    pub(super) fn poll_ended(&mut self) -> Option<Ended> {
        self.ended.pop()
    }

    /// A transit to start, for the predecessor of that key.
    pub(super) fn poll_wanted(&mut self) -> Option<(QueryId, Place)> {
        self.wanted.pop()
    }

    pub(super) fn weight(&self) -> usize {
        self.open.len() + self.questions.len() + self.ended.len() + self.wanted.len()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let timers = self.open.iter().filter_map(|open| match &open.way {
            OnIts::Way => None,
            OnIts::Walk(_) => Some(open.until),
            OnIts::Ways(verify) => soonest(Some(open.until), verify.poll_timeout()),
        });
        soonest(timers.min(), self.questions.poll_timeout())
    }

    fn step(
        &mut self,
        number: Number,
        by: Member,
        hands: &mut Hands<'_>,
        step: impl FnOnce(&mut Walk) -> Step,
    ) {
        let Some((question, took)) = self.questions.take(number, by, hands.now) else { return };
        hands.contacts.answered(by.place, took);
        if let Some(OnIts::Walk(walk)) = self.way(question.purpose) {
            let step = step(walk);
            self.take_step(question.purpose, step, hands);
        }
    }

    fn failed(
        &mut self,
        query: QueryId,
        who: Place,
        is_timeout: bool,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        match self.way(query) {
            Some(OnIts::Walk(walk)) => {
                let step = walk.failed(who, is_timeout);
                self.take_step(query, step, hands);
            }
            Some(OnIts::Ways(_)) => self.confirm(query, None, from, hands),
            _ => {}
        }
    }

    fn confirm(&mut self, query: QueryId, list: Option<&List>, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        if let Some(OnIts::Ways(verify)) = self.way(query) {
            let query_again = hands.random.next_u64();
            let check = verify.confirmed(list, query_again);
            self.take_check(query, check, from, hands);
        }
    }

    fn take_step(&mut self, query: QueryId, step: Step, hands: &mut Hands<'_>) {
        match step {
            Step::Ask { who, last } => {
                let Some(open) = self.open.iter().find(|open| open.query == query) else { return };
                let OnIts::Walk(walk) = &open.way else { return };
                let (key, dead) = (open.key, walk.dead().to_vec());
                self.ask(query, who, Message::Point { number: 0, key, last, dead }, hands);
            }
            Step::Found(found) => self.end(query, Ok(found)),
            Step::Nowhere => self.end(query, Err(LookUpFault::Nowhere)),
        }
    }

    fn take_check(&mut self, query: QueryId, check: Check, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        match check {
            Check::On => {}
            // It is me: I know.
            Check::Ask(who) if who.place == from.me.place => {
                self.confirm(query, Some(from.neighbours.list()), from, hands);
            }
            Check::Ask(who) => self.ask(query, who, Message::Ask { number: 0, insists: true }, hands),
            Check::Again(way) => {
                let key = self.open.iter().find(|open| open.query == query).map(|open| open.key);
                self.wanted.extend(key.map(|key| (way, key)));
            }
            Check::Found(found) => self.end(query, Ok(found)),
            Check::Unconfirmed => self.end(query, Err(LookUpFault::Unconfirmed)),
        }
    }

    fn ask(&mut self, query: QueryId, who: Member, question: Message, hands: &mut Hands<'_>) {
        let wait = hands.contacts.wait_for(who.place);
        let number = self.questions.ask(who, query, wait, hands.now);
        hands.out.send(who, question.numbered(number));
    }

    fn way(&mut self, query: QueryId) -> Option<&mut OnIts> {
        self.open.iter_mut().find(|open| open.query == query).map(|open| &mut open.way)
    }

    fn end(&mut self, query: QueryId, outcome: Result<Found, LookUpFault>) {
        let Some(position) = self.open.iter().position(|open| open.query == query) else { return };
        let LookUp { key, whose, .. } = self.open.swap_remove(position);
        while self.questions.take_if(|asked| *asked == query).is_some() {}
        self.ended.push(Ended { query, key, whose, outcome });
    }
}
