//! An iterative look-up: the origin asks each hop where it would look, and goes there itself. It sees each step, and can refuse
//! one that leads nowhere; but it has to be able to connect to every hop.

use crate::wire::ring::{Find, Found, MAX_DEAD, Member, Place, between, within};

/// So many candidates are kept for when the best is dead.
const KEPT: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct Walk {
    key: Place,
    /// Whom to ask next, the best first.
    candidates: Vec<Member>,
    /// From here on it goes back to the key.
    last: bool,
    /// Who has sent me further back last: the owner, if nobody there is alive.
    fallback: Option<Member>,
    dead: Vec<Place>,
    hops: u8,
    hops_left: u8,
    timeouts: u8,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask that one.
    Ask {
        who: Member,
        last: bool,
    },
    Found(Found),
    /// Nobody is left to ask.
    Nowhere,
}

impl Walk {
    /// From what I know myself.
    pub(super) fn new(key: Place, candidates: Vec<Member>, last: bool, hops_left: u8) -> Self {
        let dead = Vec::new();
        Self { key, candidates, last, fallback: None, dead, hops: 0, hops_left, timeouts: 0 }
    }

    /// Who does not answer, so that whoever is asked names others.
    pub(super) fn dead(&self) -> &[Place] {
        &self.dead
    }

    /// Whom to ask now.
    pub(super) fn next(&mut self) -> Step {
        while !self.candidates.is_empty() {
            let who = self.candidates.remove(0);
            if self.dead.contains(&who.place) {
                continue;
            }
            if self.hops_left == 0 {
                return Step::Nowhere;
            }
            self.hops_left -= 1;
            self.hops = self.hops.saturating_add(1);
            return Step::Ask { who, last: self.last };
        }
        // The one before it is dead, so that it owns what that one did.
        self.fallback.map_or(Step::Nowhere, |owner| {
            let (hops, timeouts) = (self.hops, self.timeouts);
            Step::Found(Found { owner, predecessor: None, hops, timeouts })
        })
    }

    /// `by` has named others. Each has to be nearer to the key than itself, on the same side.
    pub(super) fn pointed(&mut self, by: Member, members: &[Member], last: bool) -> Step {
        let key = self.key;
        let is_nearer = |member: &Member| match (self.last, last) {
            (true, _) => member.place == key || between(key, member.place, by.place),
            (false, false) => between(by.place, member.place, key),
            (false, true) => within(by.place, key, member.place),
        };
        let nearer: Vec<Member> = members.iter().copied().filter(is_nearer).collect();
        if self.last {
            self.fallback = Some(by);
            self.candidates.clear();
        }
        if last && !self.last && !nearer.is_empty() {
            self.last = true;
            self.candidates.clear();
        }
        self.candidates.splice(0..0, nearer);
        self.candidates.truncate(KEPT);
        self.next()
    }

    /// `by` says that the key is its own; for others nobody can say that.
    pub(super) fn found(&mut self, by: Member, found: Found) -> Step {
        let (hops, timeouts) = (self.hops, self.timeouts);
        let found = Found { hops, timeouts, ..found };
        if found.owner == by && found.fits(self.key, crate::wire::ring::Want::Owner) {
            return Step::Found(found);
        }
        self.failed(by.place, false)
    }

    /// It did not answer, or made no sense.
    pub(super) fn failed(&mut self, who: Place, is_timeout: bool) -> Step {
        if self.dead.len() < MAX_DEAD {
            self.dead.push(who);
        }
        self.hops = self.hops.saturating_sub(1);
        self.timeouts = self.timeouts.saturating_add(u8::from(is_timeout));
        self.next()
    }
}

/// What a hop is asked, as a look-up that it would pass on.
pub(super) fn question(key: Place, last: bool, origin: Member, dead: Vec<Place>) -> Find {
    Find {
        key,
        origin,
        query: 0,
        want: crate::wire::ring::Want::Owner,
        last,
        // Whoever walks can not be told that somebody is unsure.
        careful: true,
        hops: 0,
        hops_left: 1,
        timeouts: 0,
        left: std::time::Duration::ZERO,
        dead,
    }
}
