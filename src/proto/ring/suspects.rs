//! Who did not answer.
//!
//! Look-ups go around them. They are asked again after a minute, two, four and so on (MIT's Chord probes its dead after
//! 60 to 960 s), because whoever was only cut off for a while should not stay forgotten. Nothing else rests on this: the
//! ring's own steps ask whom they have to, and see for themselves.

use std::time::Duration;

use crate::time::Instant;
use crate::wire::ring::{Member, Place};

#[derive(Clone, Debug, Default)]
pub(super) struct Suspects {
    suspects: Vec<Suspect>,
    soonest: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    member: Member,
    /// When it is asked again.
    again: Instant,
    wait: Duration,
}

impl Suspects {
    pub(super) fn has(&self, place: Place) -> bool {
        self.suspects.iter().any(|suspect| suspect.member.place == place)
    }

    /// It did not answer: asked again after `first`, and each time after twice as long. After the wait of `last` it is
    /// forgotten.
    pub(super) fn add(&mut self, member: Member, first: Duration, last: Duration, most: usize, now: Instant) {
        // Several who waited for it at the same time count once.
        if self.find(member).is_none_or(|known| known.again <= now || known.wait < first) {
            self.put(Suspect { member, again: now + first, wait: first }, most);
        }
        self.drop_silent(last);
    }

    /// Perhaps it is dead: asked again at once.
    pub(super) fn doubt(&mut self, member: Member, last: Duration, most: usize, now: Instant) {
        if self.find(member).is_none() {
            self.put(Suspect { member, again: now, wait: Duration::ZERO }, most);
        }
        self.drop_silent(last);
    }

    /// It has spoken. Whether it was suspected.
    pub(super) fn clear(&mut self, place: Place) -> bool {
        let before = self.suspects.len();
        if before == 0 {
            return false;
        }
        self.suspects.retain(|suspect| suspect.member.place != place);
        let was_there = self.suspects.len() < before;
        if was_there {
            self.settle();
        }
        was_there
    }

    /// One to ask now. Until it has answered, or not, the next try waits as long again.
    pub(super) fn due(&mut self, now: Instant) -> Option<Member> {
        self.soonest.filter(|&soonest| soonest <= now)?;
        let due = self.suspects.iter_mut().find(|suspect| suspect.again <= now)?;
        due.again = now + Duration::from_secs(30);
        let member = due.member;
        self.settle();
        Some(member)
    }

    /// The one that was asked again is still silent.
    pub(super) fn still_silent(&mut self, member: Member, first: Duration, last: Duration, now: Instant) {
        if let Some(known) = self.suspects.iter_mut().find(|suspect| suspect.member == member) {
            known.wait = known.wait.saturating_mul(2).max(first);
            known.again = now + known.wait;
        }
        self.drop_silent(last);
    }

    pub(super) fn len(&self) -> usize {
        self.suspects.len()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.soonest
    }

    fn find(&self, member: Member) -> Option<&Suspect> {
        self.suspects.iter().find(|suspect| suspect.member == member)
    }

    fn put(&mut self, suspect: Suspect, most: usize) {
        // Another life of the same node is over, whichever it was.
        self.suspects.retain(|known| known.member.place != suspect.member.place);
        if self.suspects.len() >= most {
            // The one that has been silent for longest is the least likely to come back.
            let longest = (0..self.suspects.len()).max_by_key(|&position| self.suspects[position].wait);
            longest.map(|position| self.suspects.swap_remove(position));
        }
        self.suspects.push(suspect);
    }

    fn drop_silent(&mut self, last: Duration) {
        self.suspects.retain(|suspect| suspect.wait <= last);
        self.settle();
    }

    fn settle(&mut self) {
        self.soonest = self.suspects.iter().map(|suspect| suspect.again).min();
    }
}
