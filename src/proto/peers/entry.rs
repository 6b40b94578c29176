//! One address in the book.

use std::cmp::Reverse;

use super::Source;
use crate::proto::backoff::Backoff;
use crate::time::Instant;

/// What we know about one address.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) origin: Origin,
    pub(super) state: State,
    /// A server said that it registered after us.
    pub(super) newer: bool,
    pub(super) learned: u64,
    /// Inbound connections with a smaller number are not from there.
    pub(super) not_before: u64,
    /// The latest dial was our decision, not the application's.
    pub(super) needed: bool,
    /// Not to be dialled before.
    pub(super) ready: Instant,
    pub(super) backoff: Backoff,
    /// In a row.
    pub(super) failures: u32,
    /// When it last opened.
    pub(super) worked: Option<u64>,
    /// Given up; kept until `ready`, so that listing it again does not start it over.
    pub(super) retired: bool,
}

/// In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// The application dialled it without our asking.
    Application,
    Rendezvous,
    File,
    Static,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    Dialling,
    /// With so many `more` connections to the same address, which only the application makes.
    Open {
        since: Instant,
        more: u32,
    },
}

/// What a place in the book is worth to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    Retired,
    Failed,
    Untried,
    Worked,
}

impl Entry {
    pub(super) fn new(origin: Origin, number: u64, now: Instant, backoff: Backoff) -> Self {
        Self {
            origin,
            state: State::Idle,
            newer: false,
            learned: number,
            not_before: 0,
            needed: true,
            ready: now,
            backoff,
            failures: 0,
            worked: None,
            retired: false,
        }
    }

    pub(super) fn rest(&mut self, until: Instant) {
        self.state = State::Idle;
        self.ready = until;
    }

    pub(super) fn retire(&mut self, until: Instant) {
        self.rest(until);
        self.retired = true;
    }

    pub(super) fn succeed(&mut self) {
        self.failures = 0;
        self.backoff.reset();
    }

    /// Another source names it too.
    pub(super) fn adopt(&mut self, origin: Origin, now: Instant) {
        if origin == Origin::Static && self.retired {
            self.retired = false;
            self.ready = now;
        }
        self.origin = self.origin.max(origin);
    }

    pub(super) fn may_be_inbound(&self) -> bool {
        self.state == State::Idle && self.origin != Origin::Static
    }

    /// The larger, the likelier is an inbound connection from its IP to be from there.
    ///
    /// A newer node dials when it registers, so the first to be listed was the first to dial. Of the others the last
    /// to be listed is the likeliest to have registered after us.
    pub(super) fn expectation(&self) -> (bool, bool, u64) {
        (self.newer, self.failures > 0, if self.newer { u64::MAX - self.learned } else { self.learned })
    }

    pub(super) fn worth(&self) -> Worth {
        match (self.retired, self.worked, self.failures) {
            (true, ..) => Worth::Retired,
            (_, Some(_), _) => Worth::Worked,
            (_, None, 0) => Worth::Untried,
            _ => Worth::Failed,
        }
    }

    /// The larger, the sooner it makes room; of equals the one that we have known for longest.
    pub(super) fn badness(&self) -> impl Ord + use<> {
        (Reverse(self.worth()), self.failures, Reverse(self.learned))
    }

    pub(super) fn is_known(&self) -> bool {
        !self.retired && (self.worked.is_some() || self.origin == Origin::File)
    }

    /// Sorts the known ones: those that are open now, those that worked in this run, those of the file in its order.
    pub(super) fn renown(&self) -> impl Ord + use<> {
        let open = matches!(self.state, State::Open { .. });
        (Reverse(open), Reverse(self.worked), self.learned)
    }
}

impl From<Source> for Origin {
    fn from(source: Source) -> Self {
        match source {
            Source::Static => Self::Static,
            Source::File => Self::File,
            Source::Rendezvous { .. } => Self::Rendezvous,
        }
    }
}
