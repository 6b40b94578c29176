//! How many calls are taken in a minute.

use std::collections::VecDeque;
use std::time::Duration;

use crate::identity::NodeId;
use crate::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// The calls of the last minute. It holds no more than are taken in one.
#[derive(Debug)]
pub(crate) struct CallRate {
    limit: usize,
    /// One node's share: a tenth, but enough for a program that is started a few times in a row.
    share: usize,
    taken: VecDeque<(Instant, NodeId)>,
}

impl CallRate {
    pub(crate) fn new(limit: u32) -> Self {
        let limit = limit as usize;
        Self { limit, share: (limit / 10).max(6).min(limit), taken: VecDeque::new() }
    }

    /// Whether another one of this node is taken now.
    pub(crate) fn take(&mut self, node: NodeId, now: Instant) -> bool {
        while self.taken.front().is_some_and(|&(at, _)| at + MINUTE <= now) {
            self.taken.pop_front();
        }
        let of_node = self.taken.iter().filter(|&&(_, other)| other == node).count();
        let fine = self.taken.len() < self.limit && of_node < self.share;
        if fine {
            self.taken.push_back((now, node));
        }
        fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; NodeId::LENGTH])
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn one_node_has_its_share_and_all_have_the_limit() {
        let mut rate = CallRate::new(20);
        assert_eq!((0..10).filter(|_| rate.take(node(1), at(0))).count(), 6);
        assert_eq!((2..100).filter(|&n| rate.take(node(n), at(1))).count(), 14);
        assert!(!rate.take(node(200), at(59)));
        assert_eq!((0..10).filter(|_| rate.take(node(1), at(60))).count(), 6);
        assert!(rate.taken.len() <= 20);
    }

    #[test]
    fn no_limit_is_below_one_share() {
        let mut rate = CallRate::new(0);
        assert!(!rate.take(node(1), at(0)));
        let mut rate = CallRate::new(2);
        assert_eq!((0..10).filter(|_| rate.take(node(1), at(0))).count(), 2);
    }
}
