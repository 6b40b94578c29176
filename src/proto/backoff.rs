//! How long to wait before the next try.

use std::time::Duration;

use crate::random::Random;

/// Waits that double from `first` up to `max`, each jittered by a quarter.
///
/// `max` bounds the wait before the jitter: bounding it afterwards would put half of all waiting nodes on the very
/// same instant, which is what the jitter is there to prevent.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    coming: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        let first = first.min(max);
        Self { first, max, coming: first }
    }

    /// The wait after one more failure.
    pub(crate) fn next(&mut self, random: &mut Random) -> Duration {
        let wait = self.coming;
        self.coming = wait.saturating_mul(2).min(self.max);
        random.jitter(wait)
    }

    /// It worked: the next failure starts over.
    pub(crate) fn reset(&mut self) {
        self.coming = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_maximum_and_start_over_after_success() {
        let mut random = Random::from_number(1);
        let mut backoff = Backoff::new(5 * SECOND, 60 * SECOND);
        for seconds in [5, 10, 20, 40, 60, 60] {
            let (wait, middle) = (backoff.next(&mut random), seconds * SECOND);
            assert!(middle * 3 / 4 <= wait && wait <= middle * 5 / 4, "{wait:?} around {middle:?}");
        }
        backoff.reset();
        assert!(backoff.next(&mut random) <= 5 * SECOND * 5 / 4);
    }

    #[test]
    fn a_first_wait_above_the_maximum_is_the_maximum() {
        let mut backoff = Backoff::new(9 * SECOND, 4 * SECOND);
        assert!(backoff.next(&mut Random::from_number(2)) <= 5 * SECOND);
    }

    proptest! {
        #[test]
        fn no_wait_leaves_the_bounds(seed: u64, first in 0u64..=u64::MAX, max in 0u64..=u64::MAX, tries in 1usize..80) {
            let (first, max) = (Duration::from_nanos(first), Duration::from_nanos(max));
            let mut random = Random::from_number(seed);
            let mut backoff = Backoff::new(first, max);
            for _ in 0..tries {
                let wait = backoff.next(&mut random);
                prop_assert!(wait >= first.min(max) / 4 * 3);
                prop_assert!(wait <= max + max / 4);
            }
        }
    }
}
