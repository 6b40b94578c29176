//! What became of each rung.

use std::collections::VecDeque;
use std::time::Duration;

use crate::connect::{Rung, RungFault, Rungs, Tried};
use crate::time::Instant;

/// The rungs of one attempt, each in its own state.
#[derive(Debug)]
pub(super) struct Lanes {
    states: [State; Rung::ALL.len()],
    tried: Vec<Tried>,
    news: VecDeque<Result<Rung, Tried>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Trying(Instant),
    Over,
}

impl Lanes {
    pub(super) fn new(rungs: Rungs) -> Self {
        let mut lanes =
            Self { states: [State::Waiting; Rung::ALL.len()], tried: Vec::new(), news: VecDeque::new() };
        for rung in Rung::ALL.into_iter().filter(|&rung| !rungs.has(rung)) {
            lanes.states[rung as usize] = State::Over;
            lanes.tried.push(Tried { rung, why: RungFault::LeftOut, took: Duration::ZERO });
        }
        lanes
    }

    /// Whether it begins with this.
    pub(super) fn try_now(&mut self, rung: Rung, now: Instant) -> bool {
        let begins = self.is_waiting(rung);
        if begins {
            self.states[rung as usize] = State::Trying(now);
            self.news.push_back(Ok(rung));
        }
        begins
    }

    /// The first reason counts.
    pub(super) fn fail(&mut self, rung: Rung, why: RungFault, now: Instant) {
        let took = match self.states[rung as usize] {
            State::Over => return,
            State::Waiting => Duration::ZERO,
            State::Trying(since) => now - since,
        };
        let was_tried = matches!(self.states[rung as usize], State::Trying(_));
        self.states[rung as usize] = State::Over;
        let tried = Tried { rung, why, took };
        if was_tried {
            self.news.push_back(Err(tried.clone()));
        }
        self.tried.push(tried);
    }

    pub(super) fn is_waiting(&self, rung: Rung) -> bool {
        self.states[rung as usize] == State::Waiting
    }

    pub(super) fn is_trying(&self, rung: Rung) -> bool {
        matches!(self.states[rung as usize], State::Trying(_))
    }

    pub(super) fn is_over(&self, rung: Rung) -> bool {
        self.states[rung as usize] == State::Over
    }

    pub(super) fn are_over(&self) -> bool {
        self.states.iter().all(|&state| state == State::Over)
    }

    /// In the order of the rungs.
    pub(super) fn tried(&self) -> Vec<Tried> {
        let mut tried = self.tried.clone();
        tried.sort_by_key(|tried| tried.rung);
        tried
    }

    pub(super) fn poll_progress(&mut self) -> Option<Result<Rung, Tried>> {
        self.news.pop_front()
    }
}
