//! Randomness as a value.
//!
//! A machine is handed its generator. The operating system seeds it in `io`; the simulator seeds it with a number
//! that it prints, and the run can be repeated. In a process that was forked off, every generator goes on otherwise than in
//! the one that it comes from: nonces do not come twice.

use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

/// A cryptographic generator: what comes next can not be told from what came before.
#[derive(Debug)]
pub(crate) struct Random {
    generator: ChaCha12Rng,
    /// The process that it belongs to.
    process: u32,
}

impl Random {
    pub(crate) fn from_seed(seed: [u8; 32]) -> Self {
        Self { generator: ChaCha12Rng::from_seed(seed), process: std::process::id() }
    }

    /// For simulations and tests: a generator named by a number.
    #[cfg(test)]
    pub(crate) fn from_number(seed: u64) -> Self {
        Self { generator: ChaCha12Rng::seed_from_u64(seed), process: std::process::id() }
    }

    /// A generator of its own for another machine, so that one's use does not shift another's sequence.
    pub(crate) fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.generator(std::process::id()).fill_bytes(&mut seed);
        Self::from_seed(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.generator(std::process::id()).next_u64()
    }

    /// The generator as this process goes on with it. One that comes from another process, as a copy, starts anew from what
    /// comes next and the process's number: neither the other one nor any other copy has the same.
    fn generator(&mut self, process: u32) -> &mut ChaCha12Rng {
        if self.process != process {
            let mut seed = [0; 32];
            self.generator.fill_bytes(&mut seed);
            seed.iter_mut().zip(process.to_be_bytes()).for_each(|(seed, number)| *seed ^= number);
            (self.generator, self.process) = (ChaCha12Rng::from_seed(seed), process);
        }
        &mut self.generator
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
    fn a_copy_in_another_process_goes_on_otherwise() {
        let next = |process: u32| {
            let mut copy = Random::from_number(7);
            let numbers: Vec<u64> = (0..100).map(|_| copy.generator(process).next_u64()).collect();
            assert_eq!(copy.process, process);
            numbers
        };
        let own = std::process::id();
        let (parent, child, sibling) = (next(own), next(own ^ 1), next(own ^ 2));
        assert!(parent.iter().all(|number| !child.contains(number) && !sibling.contains(number)));
        assert!(child.iter().all(|number| !sibling.contains(number)));
        assert_eq!(child, next(own ^ 1), "the same process, the same numbers");
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
