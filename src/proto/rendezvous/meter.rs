//! What one relay may still carry: how many bytes, for how long, and how fast.

use std::time::Duration;

use crate::time::{Instant, soonest};
use crate::wire::relay::{RelayEnd, RelayLimits};

const SECOND: Duration = Duration::from_secs(1);

/// An account of a relay, whose two directions are numbered.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: RelayLimits,
    idle: Duration,
    since: Instant,
    /// When something went through.
    last: Instant,
    passed: u64,
    /// For each direction, when its bucket of tokens will be full again: a bucket holds what one second brings. (This
    /// is the virtual scheduling of the generic cell rate algorithm, ITU-T I.371, which needs no clockwork.)
    full_at: [Instant; 2],
    /// Which directions have used up what they had.
    dry: [bool; 2],
}

impl Meter {
    pub(crate) fn new(limits: RelayLimits, idle: Duration, now: Instant) -> Self {
        Self { limits, idle, since: now, last: now, passed: 0, full_at: [now; 2], dry: [false; 2] }
    }

    /// So many bytes went through.
    pub(crate) fn handle_passed(&mut self, direction: usize, len: usize, now: Instant) {
        self.last = now;
        self.passed = self.passed.saturating_add(len as u64);
        if let Some(full_at) = self.full_at.get_mut(direction)
            && self.limits.rate > 0
        {
            *full_at = (*full_at).max(now) + time_of(len as u64, self.limits.rate);
        }
    }

    /// How many more bytes may go through in a direction at once. Where that is little it is nothing, until it is
    /// worth the while: [`poll_timeout`](Self::poll_timeout) tells when.
    pub(crate) fn allowance(&mut self, direction: usize, now: Instant) -> u64 {
        let left = match self.limits.bytes {
            0 => u64::MAX,
            bytes => bytes.saturating_sub(self.passed),
        };
        let enough = self.rate_at(direction, now);
        if let Some(dry) = self.dry.get_mut(direction) {
            *dry = enough.is_none();
        }
        left.min(enough.unwrap_or(0))
    }

    /// Why it is over, if it is.
    pub(crate) fn end(&self, now: Instant) -> Option<RelayEnd> {
        if self.limits.bytes > 0 && self.passed >= self.limits.bytes {
            Some(RelayEnd::Bytes)
        } else if self.time_is_up_at().is_some_and(|at| at <= now) {
            Some(RelayEnd::Time)
        } else {
            (self.last + self.idle <= now).then_some(RelayEnd::Idle)
        }
    }

    /// When to ask again for the end and the allowances.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let filled = |direction: usize| {
            let dry = self.dry.get(direction).copied().unwrap_or_default();
            let full_at = self.full_at.get(direction).copied().unwrap_or_default();
            dry.then(|| earlier(full_at, SECOND.saturating_sub(self.least_wait())))
        };
        let refill = soonest(filled(0), filled(1));
        let silence = self.last + self.idle;
        soonest(self.time_is_up_at(), refill).map_or(silence, |at| at.min(silence))
    }

    fn time_is_up_at(&self) -> Option<Instant> {
        (self.limits.seconds > 0).then(|| self.since + Duration::from_secs(self.limits.seconds))
    }

    /// Tokens in a direction's bucket, if they are enough.
    fn rate_at(&self, direction: usize, now: Instant) -> Option<u64> {
        let rate = self.limits.rate;
        if rate == 0 {
            return Some(u64::MAX);
        }
        let wait = self.full_at.get(direction).copied().unwrap_or_default() - now;
        let filled = SECOND.saturating_sub(wait);
        (filled >= self.least_wait()).then(|| bytes_in(filled, rate)).filter(|tokens| *tokens > 0)
    }

    /// How long a bucket fills before it is used again: a sixteenth of a second, and longer where that is not a byte.
    fn least_wait(&self) -> Duration {
        time_of(1, self.limits.rate.max(1)).max(SECOND / 16).min(SECOND)
    }
}

/// How long so many bytes take, rounded up.
fn time_of(bytes: u64, rate: u64) -> Duration {
    let nanos = (u128::from(bytes) * SECOND.as_nanos()).div_ceil(u128::from(rate.max(1)));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn bytes_in(time: Duration, rate: u64) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(rate) / SECOND.as_nanos()).unwrap_or(u64::MAX)
}

fn earlier(at: Instant, by: Duration) -> Instant {
    Instant::ZERO + at.since_origin().saturating_sub(by)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDLE: Duration = Duration::from_secs(600);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn limits(bytes: u64, seconds: u64, rate: u64) -> RelayLimits {
        RelayLimits { bytes, seconds, rate }
    }

    #[test]
    fn without_limits_only_silence_ends_it() {
        let mut meter = Meter::new(limits(0, 0, 0), IDLE, at(0));
        assert_eq!(meter.allowance(0, at(0)), u64::MAX);
        meter.handle_passed(0, usize::MAX, at(1000));
        assert_eq!((meter.allowance(1, at(1000)), meter.end(at(600_999))), (u64::MAX, None));
        assert_eq!(meter.poll_timeout(), at(601_000));
        assert_eq!(meter.end(at(601_000)), Some(RelayEnd::Idle));
    }

    #[test]
    fn bytes_of_both_directions_count_and_the_last_one_may_go_through() {
        let mut meter = Meter::new(limits(100, 0, 0), IDLE, at(0));
        meter.handle_passed(0, 60, at(0));
        assert_eq!((meter.allowance(1, at(0)), meter.end(at(0))), (40, None));
        meter.handle_passed(1, 40, at(0));
        assert_eq!((meter.allowance(0, at(0)), meter.end(at(0))), (0, Some(RelayEnd::Bytes)));
    }

    #[test]
    fn time_ends_it_whatever_goes_through() {
        let mut meter = Meter::new(limits(0, 7200, 0), IDLE, at(500));
        meter.handle_passed(0, 1, at(7_200_400));
        assert_eq!(meter.end(at(7_200_499)), None);
        assert_eq!((meter.poll_timeout(), meter.end(at(7_200_500))), (at(7_200_500), Some(RelayEnd::Time)));
    }

    #[test]
    fn a_second_may_be_used_at_once_and_then_it_has_to_fill() {
        let mut meter = Meter::new(limits(0, 0, 1600), IDLE, at(0));
        assert_eq!(meter.allowance(0, at(0)), 1600);
        meter.handle_passed(0, 1600, at(0));
        assert_eq!((meter.allowance(0, at(0)), meter.allowance(1, at(0))), (0, 1600));
        assert_eq!(meter.poll_timeout(), at(0) + Duration::from_micros(62_500));
        assert_eq!((meter.allowance(0, at(62)), meter.allowance(0, at(63))), (0, 100));
        assert_eq!(meter.allowance(0, at(5000)), 1600, "it holds no more than a second's");
    }

    proptest! {
        /// Over any time a direction carries what the rate gives in it, a second's burst, and no more; and who waits
        /// until he is told to gets something.
        #[test]
        fn the_rate_holds_and_nobody_starves(rate in 1u64..5_000_000, sizes in prop::collection::vec(1u64..100_000, 1..60)) {
            let (mut meter, mut now, mut total) = (Meter::new(limits(0, 0, rate), IDLE, at(0)), at(0), 0);
            for size in sizes {
                let allowance = meter.allowance(0, now);
                if allowance == 0 {
                    let due = meter.poll_timeout();
                    prop_assert!(due > now && due - now <= SECOND, "{:?}", due - now);
                    now = due;
                    prop_assert!(meter.allowance(0, now) > 0);
                    continue;
                }
                let len = size.min(allowance);
                meter.handle_passed(0, len as usize, now);
                total += len;
                prop_assert!(total <= rate + bytes_in(now.since_origin(), rate) + 1);
            }
        }
    }
}
