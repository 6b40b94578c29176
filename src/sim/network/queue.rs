//! The queue of what is to happen, and the virtual clock that goes from one happening to the next.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::time::Instant;

#[derive(Debug)]
pub(super) struct EventQueue<T> {
    now: Instant,
    due: BinaryHeap<Reverse<Due<T>>>,
    serials: u64,
}

#[derive(Debug)]
struct Due<T> {
    at: Instant,
    /// Of what happens at the same instant, the first to be planned is first.
    serial: u64,
    what: T,
}

impl<T> EventQueue<T> {
    pub(super) fn new() -> Self {
        Self { now: Instant::ZERO, due: BinaryHeap::new(), serials: 0 }
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Nothing happens in the past: what is late happens now.
    pub(super) fn plan(&mut self, at: Instant, what: T) {
        self.serials += 1;
        self.due.push(Reverse(Due { at: at.max(self.now), serial: self.serials, what }));
    }

    /// Goes on to the next happening until then, or to then when there is none.
    pub(super) fn advance(&mut self, until: Instant) -> Option<T> {
        let is_due = self.due.peek().is_some_and(|Reverse(due)| due.at <= until);
        if !is_due {
            self.now = self.now.max(until);
            return None;
        }
        let Reverse(due) = self.due.pop()?;
        self.now = due.at;
        Some(due.what)
    }
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_comes_by_its_time_then_by_its_turn_and_never_in_the_past() {
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        let mut queue = EventQueue::new();
        for (millis, what) in [(20, "later"), (10, "first"), (10, "second")] {
            queue.plan(at(millis), what);
        }
        assert_eq!((queue.advance(at(5)), queue.now()), (None, at(5)));
        assert_eq!((queue.advance(at(15)), queue.now()), (Some("first"), at(10)));
        queue.plan(at(1), "late");
        assert_eq!((queue.advance(at(15)), queue.now()), (Some("second"), at(10)));
        assert_eq!((queue.advance(at(15)), queue.now()), (Some("late"), at(10)));
        assert_eq!((queue.advance(at(15)), queue.now()), (None, at(15)));
        assert_eq!((queue.advance(at(3)), queue.now()), (None, at(15)), "the clock does not go back");
        assert_eq!((queue.advance(at(20)), queue.now()), (Some("later"), at(20)));
    }
}
