//! The log of the SYNs that were sent, for tests that count them.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::Range;

use crate::time::Instant;

/// So many of the last SYNs to an address are known by their time; far more than any test sends to one it asks about.
const KEPT: usize = 4096;

/// By where to.
#[derive(Debug, Default)]
pub(super) struct SynLog {
    of: BTreeMap<IpAddr, Sent>,
}

#[derive(Debug, Default)]
struct Sent {
    /// The last ones, the oldest first.
    at: VecDeque<Instant>,
    /// The last one of which the time is forgotten.
    forgotten: Option<Instant>,
}

impl SynLog {
    pub(super) fn add(&mut self, to: IpAddr, now: Instant) {
        let sent = self.of.entry(to).or_default();
        if sent.at.len() == KEPT {
            sent.forgotten = sent.at.pop_front();
        }
        sent.at.push_back(now);
    }

    /// How many were sent to an address within a time.
    ///
    /// # Panics
    ///
    /// Panics when the log does not go back so far: a wrong number would let a test pass.
    pub(super) fn count(&self, to: IpAddr, within: Range<Instant>) -> usize {
        let Some(sent) = self.of.get(&to) else { return 0 };
        let is_known = sent.forgotten.is_none_or(|forgotten| forgotten < within.start);
        assert!(is_known, "only the last {KEPT} SYNs to {to} are known");
        sent.at.iter().filter(|at| within.contains(at)).count()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: usize) -> Instant {
        Instant::ZERO + Duration::from_millis(millis as u64)
    }

    fn filled() -> (SynLog, IpAddr) {
        let (mut log, to) = (SynLog::default(), "192.0.2.1".parse().unwrap());
        for n in 0..KEPT + 10 {
            log.add(to, at(n));
        }
        (log, to)
    }

    #[test]
    fn counts_are_of_one_address_and_one_time() {
        let (mut log, to) = filled();
        log.add("192.0.2.2".parse().unwrap(), at(20));
        assert_eq!(log.count(to, at(10)..at(KEPT + 10)), KEPT);
        assert_eq!(log.count(to, at(20)..at(30)), 10);
        assert_eq!(log.count("192.0.2.2".parse().unwrap(), at(0)..at(20)), 0);
        assert_eq!(log.count("192.0.2.2".parse().unwrap(), at(0)..at(21)), 1);
        assert_eq!(log.count("192.0.2.3".parse().unwrap(), at(0)..at(21)), 0);
        assert_eq!(log.of[&to].at.len(), KEPT, "it is bounded");
    }

    #[test]
    #[should_panic(expected = "only the last")]
    fn a_time_that_is_forgotten_is_not_counted() {
        let (log, to) = filled();
        log.count(to, at(9)..at(20));
    }
}
