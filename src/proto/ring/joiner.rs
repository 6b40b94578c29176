//! The way into a ring.
//!
//! Zave, join: find the member m with between(m, j, m.succ\[0]), ask it for its list, and take all of that in one step. Until
//! then one is no member, and says so to whoever asks.

use std::time::Duration;

use super::hands::Hands;
use super::questions::{Lane, Questions};
use crate::proto::backoff::Backoff;
use crate::time::{Instant, soonest};
use crate::wire::ring::{Found, Life, List, Member, Message, Number, Place};

/// Between one try through a member and the next through another.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// When a host is busy with somebody else. A turn takes some four round trips.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// So often one is sent from one member to another before one looks again.
const REDIRECTS: u8 = 4;

#[derive(Clone, Debug)]
pub(super) struct Joiner {
    /// Through whom, in turn.
    seeds: Vec<Place>,
    next: usize,
    phase: Phase,
    questions: Questions<()>,
    pause: Backoff,
    wait: Backoff,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Until it is time to look for one's place.
    Pausing(Instant),
    Looking,
    /// Has one's place, and asks there.
    Asking(Asking),
    /// That one is busy, until then.
    Waiting(Asking, Instant),
}

#[derive(Clone, Copy, Debug)]
struct Asking {
    host: Member,
    /// Who could give a list, too.
    other: Option<Member>,
    without: Option<Place>,
    redirects: u8,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Joining {
    /// Nothing.
    On,
    /// Look for one's place through that member.
    Look(Place),
    /// Take this: one is in. `host` wants to hear when one is at home.
    In { host: Member, predecessor: Option<Member>, list: List },
}

impl Joiner {
    /// `seeds` are not empty.
    pub(super) fn new(seeds: Vec<Place>, first_number: Number, now: Instant) -> Self {
        Self {
            seeds,
            next: 0,
            phase: Phase::Pausing(now),
            questions: Questions::new(first_number, Lane::Joiner),
            pause: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            wait: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
        }
    }

    /// The look-up through a seed has ended.
    pub(super) fn handle_found(&mut self, me: Place, found: Option<Found>, hands: &mut Hands<'_>) -> Joining {
        if !matches!(self.phase, Phase::Looking) {
            return Joining::On;
        }
        let here = |member: &Member| member.place != me;
        let predecessor = found.and_then(|found| found.predecessor).filter(here);
        let owner = found.map(|found| found.owner).filter(here);
        match predecessor.or(owner) {
            Some(host) => {
                let other = owner.filter(|owner| *owner != host);
                self.ask(Asking { host, other, without: None, redirects: 0 }, hands)
            }
            None => self.pause(hands),
        }
    }

    pub(super) fn handle_welcome(
        &mut self,
        number: Number,
        by: Member,
        predecessor: Option<Member>,
        list: List,
        me: Place,
        hands: &mut Hands<'_>,
    ) -> Joining {
        if self.questions.purpose(number, by).is_none() {
            return Joining::On;
        }
        self.questions.clear();
        // The list begins with somebody, and is in order from me on. Who says anything else is no member.
        if list.members().is_empty() || !list.is_in_order(me) {
            return self.pause(hands);
        }
        Joining::In { host: by, predecessor, list }
    }

    pub(super) fn handle_elsewhere(
        &mut self,
        number: Number,
        by: Member,
        through: Option<Member>,
        me: Place,
        hands: &mut Hands<'_>,
    ) -> Joining {
        let Some(asking) = self.take(number, by, hands) else { return Joining::On };
        match through.filter(|through| through.place != me && asking.redirects < REDIRECTS) {
            Some(host) => {
                let other = Some(by);
                self.ask(Asking { host, other, redirects: asking.redirects + 1, ..asking }, hands)
            }
            None => self.pause(hands),
        }
    }

    pub(super) fn handle_busy(&mut self, number: Number, by: Member, hands: &mut Hands<'_>) -> Joining {
        if let Some(asking) = self.take(number, by, hands) {
            let wait = self.wait.next(hands.random);
            self.phase = Phase::Waiting(asking, hands.now + wait);
        }
        Joining::On
    }

    pub(super) fn handle_gone(&mut self, number: Number, by: Place, hands: &mut Hands<'_>) -> Joining {
        match self.questions.refused(number, by) {
            Some(_) => self.failed(hands),
            None => Joining::On,
        }
    }

    pub(super) fn handle_down(&mut self, node: Place, hands: &mut Hands<'_>) -> Joining {
        match self.questions.failed(|to| to.place == node) {
            Some(_) => self.failed(hands),
            None => Joining::On,
        }
    }

    pub(super) fn handle_timeout(&mut self, hands: &mut Hands<'_>) -> Joining {
        if let Some(question) = self.questions.expired(hands.now) {
            if question.was_asked_twice() {
                return self.failed(hands);
            }
            let (to, number) = (question.to, question.number);
            self.questions.ask_again(question, hands.now);
            if let Phase::Asking(Asking { without, .. }) = self.phase {
                hands.out.send(to, Message::Join { number, without });
            }
            return Joining::On;
        }
        match self.phase {
            Phase::Pausing(until) if until <= hands.now => {
                self.phase = Phase::Looking;
                let seed = self.seeds[self.next % self.seeds.len()]; // there is one
                self.next = (self.next + 1) % self.seeds.len();
                Joining::Look(seed)
            }
            Phase::Waiting(asking, until) if until <= hands.now => self.ask(asking, hands),
            _ => Joining::On,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let timer = match self.phase {
            Phase::Pausing(until) | Phase::Waiting(_, until) => Some(until),
            Phase::Looking | Phase::Asking(_) => None,
        };
        soonest(timer, self.questions.poll_timeout())
    }

    fn ask(&mut self, asking: Asking, hands: &mut Hands<'_>) -> Joining {
        let Asking { host, without, .. } = asking;
        self.phase = Phase::Asking(asking);
        let wait = hands.contacts.wait_for(host.place);
        let number = self.questions.ask(host, (), wait, hands.now);
        hands.out.send(host, Message::Join { number, without });
        Joining::On
    }

    fn take(&mut self, number: Number, by: Member, hands: &mut Hands<'_>) -> Option<Asking> {
        let (_, took) = self.questions.take(number, by, hands.now)?;
        hands.contacts.answered(by.place, took);
        match self.phase {
            Phase::Asking(asking) => Some(asking),
            _ => None,
        }
    }

    /// The host does not answer: whoever else is known, then another way.
    fn failed(&mut self, hands: &mut Hands<'_>) -> Joining {
        let Phase::Asking(asking) = self.phase else { return Joining::On };
        match asking.other {
            Some(other) => {
                let without = Some(asking.host.place);
                self.ask(Asking { host: other, other: None, without, ..asking }, hands)
            }
            None => self.pause(hands),
        }
    }

    fn pause(&mut self, hands: &mut Hands<'_>) -> Joining {
        let pause = self.pause.next(hands.random);
        self.phase = Phase::Pausing(hands.now + pause);
        Joining::On
    }
}

impl Joiner {
    /// Whoever the seeds are, only their ids are known.
    pub(super) fn seed(place: Place) -> Member {
        Member { place, life: Life::ANY }
    }
}

/// For the search through all orders.
#[cfg(test)]
impl Joiner {
    pub(super) fn ask_at(&mut self, host: Member, hands: &mut Hands<'_>) {
        self.questions.clear();
        self.ask(Asking { host, other: None, without: None, redirects: 0 }, hands);
    }

    pub(super) fn waits_for(&self) -> Option<(Member, Number)> {
        self.questions.first().map(|(to, number, ())| (to, number))
    }
}
