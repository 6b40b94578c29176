//! Time as a value.
//!
//! The machines never read a clock: whoever drives them says what time it is. So the same code runs under the
//! operating system's clock and under the simulator's, and a test can say "one day later".

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the driver's monotonic clock, in nanoseconds since that clock's origin.
///
/// Instants of different drivers can not be compared; nothing hands one across.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Instant(u64);

impl Instant {
    /// The clock's origin.
    pub(crate) const ZERO: Self = Self(0);

    /// The instant that lies `nanos` nanoseconds after the origin.
    #[cfg(test)]
    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Time since the origin.
    pub(crate) const fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// How long ago `earlier` was, and zero when it lies ahead.
    pub(crate) const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates: an absurd duration from a configuration means "never", not a panic.
    fn add(self, rhs: Duration) -> Self {
        let nanos = u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.saturating_since(rhs)
    }
}

/// The earlier of two deadlines, either of which may be absent.
pub(crate) fn soonest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let late = Instant::from_nanos(u64::MAX - 1);
        assert_eq!(late + Duration::MAX, Instant::from_nanos(u64::MAX));
        assert_eq!(Instant::ZERO - late, Duration::ZERO);
    }

    #[test]
    fn soonest_prefers_what_is_there() {
        let (a, b) = (Instant::from_nanos(1), Instant::from_nanos(2));
        assert_eq!(soonest(Some(b), Some(a)), Some(a));
        assert_eq!(soonest(None, Some(b)), Some(b));
        assert_eq!(soonest(None, None), None);
    }
}
