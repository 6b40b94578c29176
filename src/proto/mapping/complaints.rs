//! What to do when somebody notices that a mapping leads nowhere, though the router says that it stands.

use std::time::Duration;

use crate::proto::backoff::Backoff;
use crate::random::Random;
use crate::time::Instant;

/// A complaint that comes later than this after another has another cause.
const RELATED: Duration = Duration::from_secs(60 * 60);

/// The remedies, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    Renew,
    /// Some routers list and renew a mapping that is dead; deleting it and adding it again helps.
    Replace,
    Search,
}

/// Complaints about one mapping. Each has a stronger remedy than the one before; when the strongest did not help, nobody
/// is listened to for a while, for then the router is not what is wrong.
#[derive(Debug)]
pub(super) struct Complaints {
    next: Remedy,
    last: Option<Instant>,
    deaf_until: Instant,
    deafness: Backoff,
}

impl Complaints {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self {
            next: Remedy::Renew,
            last: None,
            deaf_until: Instant::ZERO,
            deafness: Backoff::new(first, max),
        }
    }

    pub(super) fn complain(&mut self, now: Instant, random: &mut Random) -> Option<Remedy> {
        if now < self.deaf_until {
            return None;
        }
        if self.last.is_none_or(|last| now - last > RELATED) {
            self.next = Remedy::Renew;
            self.deafness.reset();
        }
        self.last = Some(now);
        let remedy = self.next;
        self.next = self.after(remedy, now, random);
        Some(remedy)
    }

    fn after(&mut self, remedy: Remedy, now: Instant, random: &mut Random) -> Remedy {
        match remedy {
            Remedy::Renew => Remedy::Replace,
            Remedy::Replace => Remedy::Search,
            Remedy::Search => {
                self.deaf_until = now + self.deafness.next(random);
                Remedy::Renew
            }
        }
    }
}
