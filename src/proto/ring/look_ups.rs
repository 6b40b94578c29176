//! The look-ups that this member has begun.

use super::event::LookUpFault;
use super::hands::Hands;
use super::questions::{Lane, Questions};
use super::size;
use super::transits::{self, MOST_HOPS, Pointed, Standpoint, Transits};
use super::verify::{Check, Verify};
use super::walk::{Step, Walk};
use crate::time::{Instant, soonest};
use crate::wire::ring::{Find, Found, List, MAX_DEAD, Member, Message, Number, Place, QueryId, Want};

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

/// Those that have not ended, and the transits that most of them are, together with those of others.
#[derive(Clone, Debug)]
pub(super) struct LookUps {
    transits: Transits,
    open: Vec<LookUp>,
    /// What was asked for which of them.
    questions: Questions<QueryId>,
    ended: Vec<Ended>,
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
        Self { transits: Transits::new(first_number), open: Vec::new(), questions, ended: Vec::new() }
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Begins one for the node.
    pub(super) fn look_up(
        &mut self,
        key: Place,
        how: How,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) -> QueryId {
        let query = hands.random.next_u64();
        match how {
            How::Recursive => self.add(query, key, Whose::Node, OnIts::Way, hands),
            How::Iterative => return self.walk(query, key, from, hands),
            How::Verified => return self.verify(query, key, from, hands),
        }
        self.start_transit(query, (key, Want::Owner), None, from, hands);
        self.collect(from, hands);
        query
    }

    /// Begins one for another part of the machine. `first` is whom it goes through, and nobody else.
    pub(super) fn start(
        &mut self,
        (key, want): (Place, Want),
        whose: Whose,
        first: Option<Member>,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        let query = hands.random.next_u64();
        self.add(query, key, whose, OnIts::Way, hands);
        self.start_transit(query, (key, want), first, from, hands);
        self.collect(from, hands);
    }

    /// One that goes two ways, which are transits.
    fn verify(&mut self, query: QueryId, key: Place, from: Standpoint<'_>, hands: &mut Hands<'_>) -> QueryId {
        let hops = from.first_hops(key, &hands.contacts.suspects);
        // It is mine, or nobody is there to ask: one way, which sees that.
        let firsts = if hops.is_empty() { vec![None] } else { hops.into_iter().map(Some).collect() };
        let ways: Vec<QueryId> = firsts.iter().map(|_| hands.random.next_u64()).collect();
        let way = OnIts::Ways(Box::new(Verify::new(key, ways.clone(), hands.now)));
        self.add(query, key, Whose::Node, way, hands);
        for (way, first) in ways.into_iter().zip(firsts) {
            self.start_transit(way, (key, Want::Owner), first, from, hands);
        }
        self.collect(from, hands);
        query
    }

    /// One in which I ask each hop.
    fn walk(&mut self, query: QueryId, key: Place, from: Standpoint<'_>, hands: &mut Hands<'_>) -> QueryId {
        match from.point((key, false), Vec::new(), &hands.contacts.suspects) {
            Pointed::Here(found) => {
                self.ended.push(Ended { query, key, whose: Whose::Node, outcome: Ok(found) });
            }
            Pointed::There { members, last } => {
                let mut walk = Walk::new(key, members, last, hop_limit(from));
                let step = walk.next();
                self.add(query, key, Whose::Node, OnIts::Walk(Box::new(walk)), hands);
                self.take_step(query, step, hands);
            }
        }
        query
    }

    fn add(&mut self, query: QueryId, key: Place, whose: Whose, way: OnIts, hands: &Hands<'_>) {
        let until = hands.now + hands.settings.look_up_within;
        self.open.push(LookUp { query, key, whose, until, way });
    }

    fn start_transit(
        &mut self,
        query: QueryId,
        (key, want): (Place, Want),
        first: Option<Member>,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        let find = Find {
            key,
            origin: from.me,
            query,
            want,
            last: false,
            careful: false,
            hops: 0,
            // Who goes through somebody may be in no ring, and does not know how large it is.
            hops_left: if first.is_some() { MOST_HOPS } else { hop_limit(from) },
            timeouts: 0,
            left: hands.settings.look_up_within,
            dead: Vec::new(),
        };
        self.transits.start(find, first, from, hands);
    }

    /// What is said about look-ups, mine and others'.
    pub(super) fn handle_message(
        &mut self,
        by: Member,
        message: Message,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        if message.answers().is_some_and(|number| Lane::of(number) == Lane::LookUps) {
            self.handle_mine(by, message, from, hands);
        } else {
            self.handle_transit_message(by, message, from, hands);
        }
        self.collect(from, hands);
    }

    fn handle_mine(&mut self, by: Member, message: Message, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        match message {
            Message::Pointed { number, members, last } => {
                self.step(number, by, hands, |walk| walk.pointed(by, &members, last));
            }
            Message::Found { number, found, .. } => {
                self.step(number, by, hands, |walk| walk.found(by, found));
            }
            Message::Answer { number, list, .. } => self.handle_answer((number, by), &list, from, hands),
            Message::Gone { number } => self.handle_gone(number, by.place, from, hands),
            _ => {}
        }
    }

    fn handle_transit_message(
        &mut self,
        by: Member,
        message: Message,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        let transits = &mut self.transits;
        match message {
            Message::Find { number, find } => transits.handle_find(by, number, find, from, hands),
            Message::Ack { number } => transits.handle_ack(number, by, hands),
            Message::Found { number, receipt, found } => {
                transits.handle_found((number, receipt), by, found, from, hands);
            }
            Message::NotFound { number } | Message::Gone { number } => {
                transits.handle_refusal(number, by.place, from, hands);
            }
            Message::Unsure { number } => transits.handle_unsure(number, by, from, hands),
            Message::Direct { query, found } => transits.handle_direct(query, found, hands),
            Message::Point { number, key, last, mut dead } => {
                dead.truncate(MAX_DEAD);
                let message = match from.point((key, last), dead, &hands.contacts.suspects) {
                    Pointed::Here(found) => Message::Found { number, receipt: number, found },
                    Pointed::There { members, last } => {
                        Message::Pointed { number, members: members.into(), last }
                    }
                };
                hands.out.send(by, message);
            }
            _ => {}
        }
    }

    /// The transits that have ended.
    fn collect(&mut self, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        while let Some(transits::Ended { query, outcome }) = self.transits.poll_ended() {
            self.handle_transit(query, outcome, from, hands);
        }
    }

    /// A transit has ended.
    fn handle_transit(
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

    /// Somebody that should be just before an owner says who follows it.
    fn handle_answer(
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
    fn handle_gone(&mut self, number: Number, by: Place, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        if let Some(question) = self.questions.refused(number, by) {
            self.failed(question.purpose, by, false, from, hands);
        }
    }

    /// There is no way to it any more.
    pub(super) fn handle_down(&mut self, node: Place, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        self.transits.handle_down(node, from, hands);
        self.fail_mine(node, from, hands);
        self.collect(from, hands);
    }

    fn fail_mine(&mut self, node: Place, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        for _ in 0..self.questions.len() {
            let Some(question) = self.questions.failed(|to| to.place == node) else { return };
            self.failed(question.purpose, node, false, from, hands);
        }
    }

    pub(super) fn handle_timeout(&mut self, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        self.transits.handle_timeout(from, hands);
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
        self.collect(from, hands);
    }

    /// I am no member any more.
    pub(super) fn give_up(&mut self) {
        self.questions.clear();
        while let Some(query) = self.open.first().map(|open| open.query) {
            self.end(query, Err(LookUpFault::NoMember));
        }
    }

    pub(super) fn poll_ended(&mut self) -> Option<Ended> {
        let ended = self.ended.pop();
        if ended.is_none() && self.open.is_empty() {
            (self.open, self.ended) = (Vec::new(), Vec::new()); // most of the time
        }
        ended
    }

    pub(super) fn weight(&self) -> usize {
        self.transits.weight() + self.open.len() + self.questions.len() + self.ended.len()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let timers = self.open.iter().filter_map(|open| match &open.way {
            OnIts::Way => None,
            OnIts::Walk(_) => Some(open.until),
            OnIts::Ways(verify) => soonest(Some(open.until), verify.poll_timeout()),
        });
        let questions = soonest(self.transits.poll_timeout(), self.questions.poll_timeout());
        soonest(timers.min(), questions)
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
                if let Some(key) = key {
                    self.start_transit(way, (key, Want::Predecessor), None, from, hands);
                }
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

/// Each hop halves the distance, and the last ones go along a list: twice log2 N and r are never needed in a ring that is in
/// order.
fn hop_limit(from: Standpoint<'_>) -> u8 {
    let list = from.neighbours.list();
    let hops = 2.0 * size::estimate(from.me.place, list).members.log2() + list.members().len() as f64 + 16.0;
    hops.min(f64::from(MOST_HOPS)) as u8
}
