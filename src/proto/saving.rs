//! When a file that follows something is written: no more often than it must, and never twice at the same time.

use std::time::Duration;

use crate::time::Instant;

/// The schedule of one file.
#[derive(Debug)]
pub(crate) struct Saving {
    every: Duration,
    /// When it may be written again.
    at: Instant,
    /// What is to be written has changed since it was written last.
    changed: bool,
    under_way: bool,
}

impl Saving {
    /// A file that is written no more often than `every`, the last time excepted.
    pub(crate) fn new(every: Duration, now: Instant) -> Self {
        Self { every, at: now + every, changed: false, under_way: false }
    }

    pub(crate) const fn is_under_way(&self) -> bool {
        self.under_way
    }

    pub(crate) const fn handle_changed(&mut self) {
        self.changed = true;
    }

    /// Writing it has ended, well or badly.
    pub(crate) const fn handle_saved(&mut self) {
        self.under_way = false;
    }

    /// Whether it is to be written now; `handle_saved` follows.
    pub(crate) fn poll_save(&mut self, now: Instant) -> bool {
        let saves = self.at <= now && self.save_now();
        if saves {
            self.at = now + self.every;
        }
        saves
    }

    /// The same, however long ago it was written: it is the last time.
    pub(crate) const fn save_now(&mut self) -> bool {
        let saves = self.changed && !self.under_way;
        if saves {
            (self.changed, self.under_way) = (false, true);
        }
        saves
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        (self.changed && !self.under_way).then_some(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_when_it_changed_and_no_more_often_than_it_may() {
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        let mut saving = Saving::new(Duration::from_secs(60), at(0));
        assert_eq!((saving.poll_timeout(), saving.poll_save(at(60))), (None, false), "nothing has changed");
        saving.handle_changed();
        assert_eq!(saving.poll_timeout(), Some(at(60)));
        assert!(saving.poll_save(at(61)) && saving.is_under_way());
        saving.handle_changed();
        assert_eq!(saving.poll_timeout(), None, "one at a time");
        assert!(!saving.save_now() && !saving.poll_save(at(300)));
        saving.handle_saved();
        assert_eq!(saving.poll_timeout(), Some(at(121)));
        assert!(saving.poll_save(at(121)));
        saving.handle_saved();
        saving.handle_changed();
        assert!(!saving.poll_save(at(180)), "too early");
        assert!(saving.save_now(), "the last time");
        saving.handle_saved();
        assert!(!saving.save_now(), "it is as it was written");
    }
}
