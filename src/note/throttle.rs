//! Lines of the log that strangers can cause, so that nobody fills it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::Instant;

/// How often a cause is told of.
const EVERY: Duration = Duration::from_secs(60);

/// Of each cause one line a minute is admitted, the first one at once; the others are counted, and how many they were is
/// told when the minute is over. `C` names the causes, of which there are to be few: it is no place for an address.
#[derive(Debug)]
pub(crate) struct Throttle<C>(BTreeMap<C, Cause>);

#[derive(Debug)]
struct Cause {
    until: Instant,
    left_out: u64,
}

impl<C: Copy + Ord> Throttle<C> {
    pub(crate) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether a line is to be written now.
    pub(crate) fn admit(&mut self, cause: C, now: Instant) -> bool {
        let known = self.0.get_mut(&cause).filter(|known| now < known.until || known.left_out > 0);
        if let Some(known) = known {
            known.left_out += 1;
            return false;
        }
        self.0.insert(cause, Cause { until: now + EVERY, left_out: 0 });
        true
    }

    /// The next cause whose minute is over and of which lines were left out, and how many.
    pub(crate) fn poll_left_out(&mut self, now: Instant) -> Option<(C, u64)> {
        self.0.retain(|_, cause| now < cause.until || cause.left_out > 0);
        let (name, cause) = self.0.iter_mut().find(|(_, cause)| cause.until <= now)?;
        // What was told of it just now was this line.
        cause.until = now + EVERY;
        Some((*name, std::mem::take(&mut cause.left_out)))
    }

    /// When there will be one.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().filter(|cause| cause.left_out > 0).map(|cause| cause.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_cause_has_two_lines_in_its_first_minute_and_one_in_each_other() {
        let mut throttle = Throttle::new();
        let mut told = Vec::new();
        for second in 0..180 {
            for _ in 0..100 {
                if throttle.admit('a', at(second)) {
                    told.push((second, 1));
                }
            }
            while let Some((cause, left_out)) = throttle.poll_left_out(at(second)) {
                assert_eq!(cause, 'a');
                told.push((second, left_out));
            }
        }
        assert_eq!(told, [(0, 1), (60, 6099), (120, 6000)]);
        assert_eq!(throttle.poll_timeout(), Some(at(180)));
        assert_eq!(throttle.poll_left_out(at(180)), Some(('a', 5900)));
        assert_eq!(throttle.poll_timeout(), None);
        // Nothing is lost: a line each, or a count.
        assert!(!throttle.admit('a', at(181)) && !throttle.admit('a', at(1000)));
        assert_eq!(throttle.poll_left_out(at(1000)), Some(('a', 2)));
    }

    #[test]
    fn causes_are_told_apart_and_quiet_ones_forgotten() {
        let mut throttle = Throttle::new();
        assert!(throttle.admit('a', at(0)) && throttle.admit('b', at(1)) && !throttle.admit('a', at(2)));
        assert_eq!((throttle.poll_left_out(at(59)), throttle.poll_left_out(at(60))), (None, Some(('a', 1))));
        assert_eq!(throttle.poll_left_out(at(200)), None);
        assert!(throttle.0.is_empty() && throttle.admit('a', at(201)));
    }
}
