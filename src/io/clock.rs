//! The clock.

use std::time::{Duration, SystemTime};

use crate::time::Instant;

/// Monotonic time since it was made, and the wall time at that moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: std::time::Instant,
    wall_at_origin: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        // A clock before 1970 is wrong anyway; zero is as good as anything.
        Self { origin: std::time::Instant::now(), wall_at_origin: wall.unwrap_or_default() }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    /// Since 1970, when this clock's origin was.
    pub(crate) fn wall_at_origin(&self) -> Duration {
        self.wall_at_origin
    }
}
