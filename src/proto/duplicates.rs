//! Suppression of lines that come round again, for programs that forward what they hear.
//!
//! The rule: a line is a duplicate when the same bytes were heard or sent less than `window` ago, counted from the
//! first time. Hearing it again does not lengthen that time, so a line that somebody repeats every few seconds gets
//! through once in each window instead of never again. (pyp2p drops a message seen before and lets it through again
//! after 5 s: WIRE.md, "Lines between peers". The default window is the same.)

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use crate::time::Instant;

/// The lines of the last few seconds, by hash.
#[derive(Debug)]
pub(crate) struct Duplicates {
    capacity: usize,
    window: Duration,
    /// A hasher that has already absorbed the secret. Without one, a peer could search for two lines with the same
    /// hash at home and use one to silence the other.
    primed: DefaultHasher,
    /// In order of first sight, which is also the order in which they expire: `seen` holds exactly these.
    order: VecDeque<(Instant, u64)>,
    /// The keys are keyed hashes, so a fixed hasher can not be attacked here.
    seen: HashSet<u64, BuildHasherDefault<DefaultHasher>>,
}

impl Duplicates {
    pub(crate) fn new(capacity: usize, window: Duration, secret: [u8; 16]) -> Self {
        let mut primed = DefaultHasher::new();
        primed.write(&secret);
        Self { capacity, window, primed, order: VecDeque::new(), seen: HashSet::default() }
    }

    /// Whether this line, just received, is to be dropped. One that is not is remembered from now on.
    pub(crate) fn is_duplicate(&mut self, line: &[u8], now: Instant) -> bool {
        self.expire(now);
        !self.remember(self.hash(line), now)
    }

    /// Remembers a line that we send, so that it is dropped when a neighbour sends it back.
    pub(crate) fn mark(&mut self, line: &[u8], now: Instant) {
        self.expire(now);
        self.remember(self.hash(line), now);
    }

    /// Whether it is new.
    fn remember(&mut self, hash: u64, now: Instant) -> bool {
        if !self.seen.insert(hash) {
            return false;
        }
        self.order.push_back((now, hash));
        if self.order.len() > self.capacity {
            self.forget_oldest();
        }
        true
    }

    fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|&(first, _)| now - first >= self.window) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, hash)) = self.order.pop_front() {
            self.seen.remove(&hash);
        }
    }

    fn hash(&self, line: &[u8]) -> u64 {
        let mut hasher = self.primed.clone();
        hasher.write(line);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(5);
    use proptest::prelude::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn duplicates(capacity: usize) -> Duplicates {
        Duplicates::new(capacity, WINDOW, [7; 16])
    }

    #[test]
    fn a_line_heard_twice_within_the_window_is_a_duplicate() {
        let mut lines = duplicates(10);
        assert!(!lines.is_duplicate(b"news", at(0)));
        assert!(lines.is_duplicate(b"news", at(0)));
        assert!(!lines.is_duplicate(b"other news", at(1)));
        assert!(lines.is_duplicate(b"news", at(4999)));
        assert!(!lines.is_duplicate(b"news", at(5000)));
        assert!(lines.is_duplicate(b"news", at(5001)));
    }

    #[test]
    fn a_line_repeated_often_gets_through_once_in_each_window() {
        let mut lines = duplicates(10);
        let through = (0..60).filter(|&second| !lines.is_duplicate(b"ping", at(second * 1000))).count();
        assert_eq!(through, 12);
    }

    #[test]
    fn a_line_that_we_sent_is_dropped_when_it_comes_back() {
        let mut lines = duplicates(10);
        lines.mark(b"ours", at(0));
        lines.mark(b"ours", at(3000)); // does not lengthen the window
        assert!(lines.is_duplicate(b"ours", at(4999)));
        assert!(!lines.is_duplicate(b"ours", at(5000)));
    }

    #[test]
    fn the_oldest_gives_way_when_the_memory_is_full() {
        let mut lines = duplicates(2);
        for line in [b"a", b"b", b"c"] {
            assert!(!lines.is_duplicate(line, at(0)));
        }
        assert!(lines.is_duplicate(b"b", at(1)) && lines.is_duplicate(b"c", at(1)));
        assert!(!lines.is_duplicate(b"a", at(1)));
        assert_eq!((lines.order.len(), lines.seen.len()), (2, 2));
    }

    #[test]
    fn without_capacity_nothing_is_suppressed() {
        let mut lines = duplicates(0);
        assert!(!lines.is_duplicate(b"a", at(0)) && !lines.is_duplicate(b"a", at(0)));
    }

    #[test]
    fn the_hash_depends_on_the_secret() {
        let (a, b) = (duplicates(1), Duplicates::new(1, WINDOW, [8; 16]));
        assert_ne!(a.hash(b"line"), b.hash(b"line"));
    }

    proptest! {
        /// Against the obvious model: a list of (line, first seen).
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec((0u8..12, 0u64..3000, any::<bool>()), 0..200), capacity in 0usize..9) {
            let mut lines = duplicates(capacity);
            let mut list: Vec<(u8, Instant)> = Vec::new();
            let mut now = Instant::ZERO;
            for (line, pause, ours) in steps {
                now = now + Duration::from_millis(pause);
                list.retain(|&(_, first)| now - first < WINDOW);
                let known = list.iter().any(|&(other, _)| other == line);
                if !known {
                    list.push((line, now));
                    if list.len() > capacity {
                        list.remove(0);
                    }
                }
                if ours {
                    lines.mark(&[line], now);
                } else {
                    prop_assert_eq!(lines.is_duplicate(&[line], now), known);
                }
                prop_assert_eq!(lines.order.len(), list.len());
                prop_assert_eq!(lines.seen.len(), list.len());
            }
        }
    }
}
