//! A verified look-up: two ways that begin with different members, and the predecessor of whom they name has to confirm it.
//!
//! Whoever lies on one way can hide the owner, but not make another one nearer to the key; so of two answers the nearer one is
//! looked at first. This makes a lie harder, no more: who holds all ways, or grinds a key to a place of its choice, wins.

use std::time::Duration;

use crate::time::Instant;
use crate::wire::ring::{Found, List, Member, Place, QueryId};

#[derive(Clone, Debug)]
pub(super) struct Verify {
    key: Place,
    /// The ways that have not ended.
    open: Vec<QueryId>,
    /// What they have said, the nearest to the key first.
    answers: Vec<Found>,
    /// Two ways have named the same owner.
    is_agreed: bool,
    /// Whom I have asked to confirm the first of the answers.
    asked: Option<Member>,
    /// Who should have confirmed it and is dead.
    dead: Option<Place>,
    /// The look-up for whoever is before that.
    again: Option<QueryId>,
    since: Instant,
    /// The rest is not waited for any longer.
    until: Option<Instant>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Wait.
    On,
    /// Ask that one who follows it.
    Ask(Member),
    /// Look for the predecessor of the key under this number.
    Again(QueryId),
    Found(Found),
    Unconfirmed,
}

impl Verify {
    pub(super) fn new(key: Place, ways: Vec<QueryId>, now: Instant) -> Self {
        Self {
            key,
            open: ways,
            answers: Vec::new(),
            is_agreed: false,
            asked: None,
            dead: None,
            again: None,
            since: now,
            until: None,
        }
    }

    pub(super) fn has_way(&self, query: QueryId) -> bool {
        self.open.contains(&query) || self.again == Some(query)
    }

    /// One way has ended.
    pub(super) fn ended(&mut self, query: QueryId, found: Option<Found>, now: Instant) -> Check {
        if self.again == Some(query) {
            return self.found_again(found);
        }
        self.open.retain(|open| *open != query);
        if let Some(found) = found {
            if let Some(same) = self.answers.iter_mut().find(|known| known.owner == found.owner) {
                self.is_agreed = true;
                same.predecessor = same.predecessor.or(found.predecessor);
            } else {
                self.answers.push(found);
                self.answers.sort_unstable_by_key(|found| self.key.distance(found.owner.place));
            }
            // The other should take about as long; who drops it must not make us wait for ever.
            let took = now - self.since;
            self.until = Some(now + 2 * took + Duration::from_secs(1));
        }
        if self.open.is_empty() { self.confirm() } else { Check::On }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Check {
        if self.until.is_some_and(|until| until <= now) && self.asked.is_none() {
            self.until = None;
            self.open.clear();
            return self.confirm();
        }
        Check::On
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.until.filter(|_| self.asked.is_none())
    }

    /// Who should be just before the owner has said who follows it; `None` if it did not answer. `query` is a number for another
    /// look-up.
    pub(super) fn confirmed(&mut self, list: Option<&List>, query: QueryId) -> Check {
        let asked = self.asked.take();
        let Some(found) = self.answers.first().copied() else { return Check::Unconfirmed };
        let Some(list) = list else {
            // It may have died, and the one before it does not know yet: once more, to that one.
            if self.dead.is_none() {
                self.dead = asked.map(|asked| asked.place);
                self.again = Some(query);
                return Check::Again(query);
            }
            return self.refuse();
        };
        let first = list.members().iter().find(|member| Some(member.place) != self.dead);
        if first == Some(&found.owner) { Check::Found(found) } else { self.refuse() }
    }

    /// Whoever is before the key has been looked up.
    fn found_again(&mut self, before: Option<Found>) -> Check {
        self.again = None;
        match before.and_then(|before| before.predecessor) {
            Some(predecessor) if !self.answers.is_empty() => {
                self.asked = Some(predecessor);
                Check::Ask(predecessor)
            }
            _ => self.refuse(),
        }
    }

    /// That is not the owner: the next one is looked at.
    fn refuse(&mut self) -> Check {
        self.answers.drain(..self.answers.len().min(1));
        (self.is_agreed, self.dead) = (false, None);
        self.confirm()
    }

    fn confirm(&mut self) -> Check {
        match self.answers.first() {
            None => Check::Unconfirmed,
            Some(found) => match found.predecessor {
                Some(predecessor) => {
                    self.asked = Some(predecessor);
                    Check::Ask(predecessor)
                }
                // Its predecessor has just died: then both ways have to agree.
                None if self.is_agreed => Check::Found(*found),
                None => self.refuse(),
            },
        }
    }
}
