//! Look-ups on their way through this member, its own first hops included.
//!
//! Recursive: each hop acknowledges and passes on, and the answer comes back along the way. A hop that does not acknowledge
//! in time is gone around; a way back that is broken is answered past, straight to the origin.

use std::time::Duration;

use super::event::LookUpFault;
use super::fingers::Fingers;
use super::hands::Hands;
use super::neighbours::Neighbours;
use super::questions::{Lane, Question, Questions};
use super::route::{Sight, Way};
use super::suspects::Suspects;
use super::walk;
use crate::time::Instant;
use crate::wire::ring::{Find, Found, Life, MAX_DEAD, Member, Message, Number, Place, QueryId, Want};

/// Nothing in a ring that works takes more hops, and nobody is made to pass on more.
pub(super) const MOST_HOPS: u8 = 128;

/// Where this member stands, for a look at the way on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standpoint<'a> {
    pub(super) me: Member,
    pub(super) neighbours: &'a Neighbours,
    pub(super) fingers: &'a Fingers,
}

#[derive(Clone, Debug)]
pub(super) struct Transits {
    questions: Questions<Purpose>,
    ended: Vec<Ended>,
}

/// So many candidates are named to somebody who goes there itself.
const CANDIDATES: usize = 4;

/// Where somebody would look.
#[derive(Clone, Debug)]
pub(super) enum Pointed {
    Here(Found),
    There { members: Vec<Member>, last: bool },
}

/// One of my own has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) query: QueryId,
    pub(super) outcome: Result<Found, LookUpFault>,
}

#[derive(Clone, Debug)]
enum Purpose {
    /// Somebody should acknowledge, and then answer.
    On(Box<Transit>),
    /// Somebody should acknowledge the answer.
    Back(Box<Answer>),
}

#[derive(Clone, Debug)]
struct Transit {
    find: Find,
    asker: Asker,
    until: Instant,
    /// Whoever asked has its acknowledgement.
    is_acknowledged: bool,
    /// This hop was slow and has been gone around. Should an answer come through it after all, it is as good.
    is_aside: bool,
    /// It goes through the one it was sent to, or not at all.
    is_bound: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Me,
    Other { member: Member, number: Number },
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    found: Found,
    origin: Member,
    query: QueryId,
}

impl Transits {
    pub(super) fn new(first_number: Number) -> Self {
        Self { questions: Questions::new(first_number, Lane::Transits), ended: Vec::new() }
    }

    /// One of my own. `first` is whom it is to go through, and nobody else; without it, it goes the best way.
    pub(super) fn start(
        &mut self,
        find: Find,
        first: Option<Member>,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        let until = hands.now + find.left;
        let transit = Box::new(Transit::new(find, Asker::Me, until));
        match first {
            // Nothing is known of that one, and there is no other way: time enough.
            Some(first) => {
                let wait = 2 * hands.settings.longest_wait;
                let transit = Box::new(Transit { is_bound: true, ..*transit });
                self.send_within(wait, transit, first, false, hands);
            }
            None => self.go_on(transit, from, hands),
        }
    }

    /// A hop: it is acknowledged and goes on, or is answered here.
    pub(super) fn handle_find(
        &mut self,
        by: Member,
        number: Number,
        mut find: Find,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        if self.is_here_already(&find) {
            return hands.out.send(by, Message::Ack { number });
        }
        if self.is_too_much(by, hands) || find.hops_left == 0 {
            return hands.out.send(by, Message::NotFound { number });
        }
        find.hops_left = find.hops_left.min(MOST_HOPS);
        find.left = find.left.min(hands.settings.look_up_within);
        find.dead.truncate(MAX_DEAD);
        let until = hands.now + find.left;
        let transit = Box::new(Transit::new(find, Asker::Other { member: by, number }, until));
        self.go_on(transit, from, hands);
    }

    pub(super) fn handle_ack(&mut self, number: Number, by: Member, hands: &mut Hands<'_>) {
        let took = match self.questions.purpose(number, by) {
            Some(Purpose::On(transit)) => {
                let until = transit.until;
                self.questions.heard(number, by, until, hands.now)
            }
            Some(Purpose::Back(_)) => self.questions.take(number, by, hands.now).and_then(|(_, took)| took),
            None => return,
        };
        hands.contacts.answered(by.place, took);
    }

    pub(super) fn handle_found(
        &mut self,
        (number, receipt): (Number, Number),
        by: Member,
        found: Found,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        hands.out.send(by, Message::Ack { number: receipt });
        let Some((question, took)) = self.questions.take(number, by, hands.now) else { return };
        hands.contacts.answered(by.place, took);
        let Purpose::On(transit) = question.purpose else { return };
        if found.fits(transit.find.key, transit.find.want) {
            self.give(*transit, found, hands);
        } else if !transit.is_aside {
            self.go_around(transit, by.place, from, hands);
        }
    }

    /// One of my own is answered past the way back, by somebody who has the secret of it.
    pub(super) fn handle_direct(&mut self, query: QueryId, found: Found, hands: &mut Hands<'_>) {
        let is_mine = |purpose: &Purpose| {
            matches!(purpose, Purpose::On(transit) if matches!(transit.asker, Asker::Me)
                && transit.find.query == query
                && found.fits(transit.find.key, transit.find.want))
        };
        if let Some(question) = self.questions.take_if(is_mine)
            && let Purpose::On(transit) = question.purpose
        {
            self.give(*transit, found, hands);
        }
    }

    /// The one who was asked can not see to it, or is not there.
    pub(super) fn handle_refusal(
        &mut self,
        number: Number,
        by: Place,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        if let Some(question) = self.questions.refused(number, by) {
            self.failed(question, from, hands);
        }
    }

    /// The one who should be the owner does not know. Whoever saw it from before the key looks again, more carefully.
    pub(super) fn handle_unsure(
        &mut self,
        number: Number,
        by: Member,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        let Some((question, took)) = self.questions.take(number, by, hands.now) else { return };
        hands.contacts.answered(by.place, took);
        let Purpose::On(mut transit) = question.purpose else { return };
        match transit.find {
            _ if transit.is_aside => {}
            Find { last: true, .. } => self.be_unsure(*transit, hands),
            // Once is enough.
            Find { careful: true, .. } => self.go_around(transit, by.place, from, hands),
            _ => {
                transit.find.careful = true;
                self.go_on(transit, from, hands);
            }
        }
    }

    /// There is no way to it any more.
    pub(super) fn handle_down(&mut self, node: Place, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        // As many as there are now: those that are sent on go elsewhere.
        for _ in 0..self.questions.len() {
            let Some(question) = self.questions.failed(|to| to.place == node) else { return };
            self.failed(question, from, hands);
        }
    }

    pub(super) fn handle_timeout(&mut self, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        while let Some(mut question) = self.questions.expired(hands.now) {
            match &mut question.purpose {
                Purpose::On(transit) if transit.is_aside => {}
                Purpose::On(transit) if transit.until <= hands.now => {
                    let transit = (**transit).clone();
                    self.end(transit, LookUpFault::TimedOut, hands);
                }
                Purpose::On(transit) if transit.is_bound => self.failed(question, from, hands),
                Purpose::On(transit) => {
                    hands.contacts.doubt(question.to, hands.now);
                    transit.find.timeouts = transit.find.timeouts.saturating_add(1);
                    let again = transit.clone();
                    let (dead, until) = (question.to.place, transit.until);
                    transit.is_aside = true;
                    self.questions.wait_on(question, until);
                    self.go_around(again, dead, from, hands);
                }
                Purpose::Back(_) => self.failed(question, from, hands),
            }
        }
    }

    /// One of my own that has ended.
    pub(super) fn poll_ended(&mut self) -> Option<Ended> {
        let ended = self.ended.pop();
        if ended.is_none() {
            self.ended = Vec::new(); // most of the time
        }
        ended
    }

    pub(super) fn weight(&self) -> usize {
        self.questions.len() + self.ended.len()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.questions.poll_timeout()
    }

    /// Where it goes from here.
    fn go_on(&mut self, transit: Box<Transit>, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        if transit.find.hops_left == 0 {
            return self.end(*transit, LookUpFault::Nowhere, hands);
        }
        match from.sight(&hands.contacts.suspects).way(&transit.find) {
            Way::Here => {
                let found = from.found(&transit.find, &hands.contacts.suspects);
                self.give(*transit, found, hands);
            }
            Way::First(next) => {
                let mut transit = transit;
                transit.find.careful = true;
                self.pass(transit, next, true, hands);
            }
            Way::Last(next) => self.pass(transit, next, true, hands),
            Way::Via(next) => self.pass(transit, next, false, hands),
            Way::Unsure => self.be_unsure(*transit, hands),
            Way::Nowhere => self.end(*transit, LookUpFault::Nowhere, hands),
        }
    }

    /// The same, but not by that one.
    fn go_around(
        &mut self,
        mut transit: Box<Transit>,
        dead: Place,
        from: Standpoint<'_>,
        hands: &mut Hands<'_>,
    ) {
        if transit.find.dead.len() >= MAX_DEAD {
            transit.find.dead.remove(0);
        }
        transit.find.dead.push(dead);
        if transit.until <= hands.now {
            return self.end(*transit, LookUpFault::TimedOut, hands);
        }
        if transit.is_bound {
            return self.end(*transit, LookUpFault::Nowhere, hands);
        }
        self.go_on(transit, from, hands);
    }

    /// Acknowledges, and sends it on.
    fn pass(&mut self, mut transit: Box<Transit>, next: Member, last: bool, hands: &mut Hands<'_>) {
        if let Asker::Other { member, number } = transit.asker
            && !transit.is_acknowledged
        {
            transit.is_acknowledged = true;
            hands.out.send(member, Message::Ack { number });
        }
        self.send(transit, next, last, hands);
    }

    fn send(&mut self, transit: Box<Transit>, next: Member, last: bool, hands: &mut Hands<'_>) {
        let wait = hands.contacts.wait_for(next.place);
        self.send_within(wait, transit, next, last, hands);
    }

    fn send_within(
        &mut self,
        wait: Duration,
        mut transit: Box<Transit>,
        next: Member,
        last: bool,
        hands: &mut Hands<'_>,
    ) {
        transit.find.left = transit.until - hands.now;
        let find = Find {
            last: last || transit.find.last,
            hops: transit.find.hops.saturating_add(1),
            hops_left: transit.find.hops_left.saturating_sub(1),
            ..transit.find.clone()
        };
        let wait = wait.min(find.left);
        let number = self.questions.ask(next, Purpose::On(transit), wait, hands.now);
        hands.out.send(next, Message::Find { number, find });
    }

    /// Found: to whoever asked.
    fn give(&mut self, transit: Transit, found: Found, hands: &mut Hands<'_>) {
        let Find { origin, query, .. } = transit.find;
        self.drop_branches(&transit);
        match transit.asker {
            Asker::Me => self.ended.push(Ended { query, outcome: Ok(found) }),
            Asker::Other { member, number } => {
                let wait = hands.contacts.wait_for(member.place);
                let purpose = Purpose::Back(Box::new(Answer { found, origin, query }));
                let receipt = self.questions.ask(member, purpose, wait, hands.now);
                hands.out.send(member, Message::Found { number, receipt, found });
            }
        }
    }

    fn be_unsure(&mut self, transit: Transit, hands: &mut Hands<'_>) {
        self.drop_branches(&transit);
        if let Asker::Other { member, number } = transit.asker {
            hands.out.send(member, Message::Unsure { number });
        } else {
            self.end(transit, LookUpFault::Nowhere, hands);
        }
    }

    /// Nothing comes of it.
    fn end(&mut self, transit: Transit, why: LookUpFault, hands: &mut Hands<'_>) {
        self.drop_branches(&transit);
        match transit.asker {
            Asker::Me => self.ended.push(Ended { query: transit.find.query, outcome: Err(why) }),
            Asker::Other { member, number } => hands.out.send(member, Message::NotFound { number }),
        }
    }

    fn failed(&mut self, question: Question<Purpose>, from: Standpoint<'_>, hands: &mut Hands<'_>) {
        match question.purpose {
            Purpose::On(transit) if transit.is_aside => {}
            Purpose::On(transit) => self.go_around(transit, question.to.place, from, hands),
            // The way back is broken: past it.
            Purpose::Back(answer) => {
                if answer.origin.place != question.to.place && answer.origin.life != Life::ANY {
                    let Answer { found, query, origin } = *answer;
                    hands.out.send(origin, Message::Direct { query, found });
                }
            }
        }
    }

    /// What other branches of it have to tell nobody waits for.
    fn drop_branches(&mut self, transit: &Transit) {
        let is_branch = |purpose: &Purpose| {
            matches!(purpose, Purpose::On(other) if other.asker == transit.asker
                && (other.find.query, other.find.origin) == (transit.find.query, transit.find.origin))
        };
        while self.questions.take_if(is_branch).is_some() {}
    }

    /// It came by another way before: a hop that was slow to acknowledge was gone around. One that comes back to me on the way
    /// back, or more carefully, is not the same.
    fn is_here_already(&self, find: &Find) -> bool {
        let on = self.questions.purposes().filter_map(|purpose| match purpose {
            Purpose::On(transit) => Some(&transit.find),
            Purpose::Back(_) => None,
        });
        let stage = |find: &Find| (find.query, find.origin, find.last, find.careful);
        on.into_iter().any(|other| stage(other) == stage(find))
    }

    fn is_too_much(&self, by: Member, hands: &Hands<'_>) -> bool {
        let of_others = self.questions.purposes().filter_map(Purpose::asked_by);
        let (mut all, mut of_this_one) = (0, 0);
        for member in of_others {
            all += 1;
            of_this_one += usize::from(member.place == by.place);
        }
        // Answers that were not acknowledged yet are held for others, too.
        all >= hands.settings.max_relayed
            || of_this_one >= hands.settings.max_relayed_for_one
            || self.questions.len() >= 2 * hands.settings.max_relayed
    }
}

impl Purpose {
    fn asked_by(&self) -> Option<Member> {
        match self {
            Self::On(transit) => match transit.asker {
                Asker::Other { member, .. } => Some(member),
                Asker::Me => None,
            },
            Self::Back(_) => None,
        }
    }
}

impl Transit {
    fn new(find: Find, asker: Asker, until: Instant) -> Self {
        Self { find, asker, until, is_acknowledged: false, is_aside: false, is_bound: false }
    }
}

impl Standpoint<'_> {
    /// What I tell somebody who goes to each hop itself: whom I would ask, the best first, and whether it should be the owner; or
    /// that it is me.
    pub(super) fn point(&self, (key, last): (Place, bool), dead: Vec<Place>, suspects: &Suspects) -> Pointed {
        let find = walk::question(key, last, self.me, dead);
        match self.sight(suspects).way(&find) {
            Way::Here => Pointed::Here(self.found(&find, suspects)),
            Way::First(next) | Way::Last(next) => {
                // If that one is dead, it is the next. Going back, there is only the one.
                let list = self.neighbours.list().members().iter().copied();
                let following = list.skip_while(|member| *member != next).skip(1).filter(|_| !last);
                let members = [next].into_iter().chain(following).take(CANDIDATES).collect();
                Pointed::There { members, last: true }
            }
            Way::Via(next) => {
                let mut members = self.sight(suspects).nearest(key, &find.dead, CANDIDATES);
                if !members.contains(&next) {
                    members.push(next);
                }
                Pointed::There { members, last: false }
            }
            Way::Unsure | Way::Nowhere => Pointed::There { members: Vec::new(), last },
        }
    }

    /// Two first hops for a look-up that is to go two ways, the best first; fewer where there are not two.
    pub(super) fn first_hops(&self, key: Place, suspects: &Suspects) -> Vec<Member> {
        let find = walk::question(key, false, self.me, Vec::new());
        let best = match self.sight(suspects).way(&find) {
            Way::First(next) | Way::Last(next) | Way::Via(next) => Some(next),
            _ => None,
        };
        let others = self.sight(suspects).nearest(key, &[], 2);
        let mut hops: Vec<Member> = best.into_iter().chain(others).collect();
        hops.dedup();
        hops.truncate(2);
        hops
    }

    fn sight<'a>(&'a self, suspects: &'a Suspects) -> Sight<'a> {
        let Self { me, neighbours, fingers } = *self;
        Sight { me: me.place, neighbours, fingers, suspects }
    }

    /// The answer of a look-up that ends here.
    fn found(&self, find: &Find, suspects: &Suspects) -> Found {
        let Find { hops, timeouts, .. } = *find;
        match find.want {
            Want::Owner => {
                let found =
                    Found { owner: self.me, predecessor: self.neighbours.predecessor(), hops, timeouts };
                // Of a dead predecessor one does not speak.
                if found.fits(find.key, find.want) { found } else { Found { predecessor: None, ..found } }
            }
            Want::Predecessor => {
                let list = self.neighbours.list().members().iter().copied();
                let mut alive = list.filter(|member| !find.dead.contains(&member.place));
                let first = alive.clone().find(|member| !suspects.has(member.place)).or_else(|| alive.next());
                let owner = first.unwrap_or(self.me);
                Found { owner, predecessor: Some(self.me), hops, timeouts }
            }
        }
    }
}
