//! What a frame cost, and how regularly it came.

use std::time::{Duration, Instant};

use crate::FRAME;

#[derive(Default)]
pub(crate) struct Statistics {
    last: Option<Instant>,
    /// From one frame's begin to the next one's.
    gaps: Vec<Duration>,
    /// Networking and playing in one frame.
    costs: Vec<Duration>,
}

impl Statistics {
    pub(crate) fn count(&mut self, begin: Instant, end: Instant) {
        if let Some(last) = self.last.replace(begin) {
            self.gaps.push(begin - last);
        }
        self.costs.push(end - begin);
    }

    pub(crate) fn print(&mut self, name: &str) {
        for (what, times) in [("a frame every", &mut self.gaps), ("its cost", &mut self.costs)] {
            times.sort_unstable();
            let at = |share: usize| times.get(times.len() * share / 100);
            if let (Some(median), Some(p99), Some(max)) = (at(50), at(99), times.last()) {
                println!(
                    "{name}: {what} (of {FRAME:.1?}): median {median:.1?}, p99 {p99:.1?}, max {max:.1?}"
                );
            }
        }
    }
}
