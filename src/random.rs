//! Randomness as a value.
//!
//! A machine is handed its generator. The operating system seeds it in `io`; the simulator seeds it with a number
//! that it prints, and the run can be repeated.

use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

/// A cryptographic generator: what comes next can not be told from what came before.
#[derive(Debug)]
pub(crate) struct Random(ChaCha12Rng);

impl Random {
    pub(crate) fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// For simulations and tests: a generator named by a number.
    #[cfg(test)]
    pub(crate) fn from_number(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    /// A generator of its own for another machine, so that one's use does not shift another's sequence.
    pub(crate) fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        Self::from_seed(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    ///
    /// Multiply-shift (Lemire 2019, section 3) without its rejection step: the bias is below `bound / 2^64`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// `span`, shortened or lengthened by up to a quarter, so that many nodes that started together drift apart.
    pub(crate) fn jitter(&mut self, span: Duration) -> Duration {
        let quarter = span / 4;
        let nanos = usize::try_from(quarter.as_nanos() * 2).unwrap_or(usize::MAX);
        span - quarter + Duration::from_nanos(self.below(nanos) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_sequence() {
        let (mut a, mut b) = (Random::from_number(7), Random::from_number(7));
        assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
        assert_ne!(a.fork().next_u64(), a.next_u64());
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut random = Random::from_number(1);
        let mut seen = [0; 7];
        for _ in 0..7000 {
            seen[random.below(7)] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn jitter_keeps_within_a_quarter() {
        let mut random = Random::from_number(2);
        let span = Duration::from_secs(8);
        for _ in 0..1000 {
            let jittered = random.jitter(span);
            assert!((Duration::from_secs(6)..Duration::from_secs(10)).contains(&jittered));
        }
        assert_eq!(random.jitter(Duration::ZERO), Duration::ZERO);
    }
}
