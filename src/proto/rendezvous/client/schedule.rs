//! When to ask a server for nodes.

use std::time::Duration;

use crate::time::Instant;
use crate::wire::rendezvous::MAX_NODES;

/// The user's own calls for nodes are no closer than this: one in each frame of a game must not become a flood.
const BOOTSTRAP_GAP: Duration = Duration::from_secs(1);

/// Asked for at least, pyp2p's outbound slots: of a random few, most may be known already, or gone.
const BOOTSTRAP_COUNT: usize = 10;

/// When to ask for nodes, and for how many.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) wanted: usize,
    /// The user asked for it now, wanted or not.
    pub(super) forced: bool,
    pub(super) at: Instant,
    pub(super) last: Option<Instant>,
    pub(super) gap: Duration,
}

impl Schedule {
    pub(super) const fn new(gap: Duration) -> Self {
        Self { wanted: 0, forced: false, at: Instant::ZERO, last: None, gap }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        (self.wanted > 0 || self.forced).then_some(self.at)
    }

    pub(super) fn force(&mut self, now: Instant) {
        let earliest = self.last.map_or(now, |last| now.max(last + BOOTSTRAP_GAP));
        self.at = self.at.min(earliest);
        self.forced = true;
    }

    /// More is wanted: begin again with short gaps.
    pub(super) fn hurry(&mut self, soon: Duration, gap: Duration) {
        self.gap = gap;
        if let Some(last) = self.last {
            self.at = self.at.min(last + soon);
        }
    }

    /// Asks: how many, from 1 to what the protocol allows.
    pub(super) fn ask(&mut self, now: Instant) -> u8 {
        self.last = Some(now);
        self.forced = false;
        self.wanted.clamp(BOOTSTRAP_COUNT, MAX_NODES) as u8
    }

    pub(super) fn answered(&mut self, next: Instant, most: Duration) {
        self.at = next;
        self.gap = self.gap.saturating_mul(2).min(most);
    }
}
