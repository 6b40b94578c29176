//! What the log is told.
//!
//! Machines return notes instead of logging: the application's logger may call anything, so it runs only after the
//! facade has released its borrow.

mod throttle;

use std::collections::VecDeque;

use log::Level;
pub(crate) use throttle::Throttle;

use crate::text::harmless;

/// One line for the log.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) level: Level,
    pub(crate) text: String,
}

/// Notes that wait for the facade. Bounded, as a peer can cause them.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    queue: VecDeque<Note>,
    dropped: u64,
}

impl Notes {
    /// As many as one tick can be expected to need; beyond it they are counted.
    pub(crate) const LIMIT: usize = 256;

    pub(crate) fn push(&mut self, level: Level, text: impl FnOnce() -> String) {
        if level > log::STATIC_MAX_LEVEL || level > log::max_level() {
            return;
        }
        if self.queue.len() < Self::LIMIT {
            // Most of it is of our own words, and some of strangers': a log is read at a terminal, too.
            self.queue.push_back(Note { level, text: harmless(&text()).into_owned() });
        } else {
            self.dropped += 1;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Note> {
        self.queue.pop_front().or_else(|| {
            let dropped = std::mem::take(&mut self.dropped);
            (dropped > 0)
                .then(|| Note { level: Level::Warn, text: format!("{dropped} more notes were dropped") })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_does_nothing_to_the_log() {
        log::set_max_level(log::LevelFilter::Info);
        let mut notes = Notes::default();
        notes.push(Level::Info, || "it says \u{1b}[2J\n\u{202e}x".into());
        assert_eq!(notes.pop().map(|note| note.text).as_deref(), Some("it says \\u{1b}[2J\\u{a}\\u{202e}x"));
    }

    #[test]
    fn notes_are_bounded_and_the_rest_is_counted() {
        log::set_max_level(log::LevelFilter::Info);
        let mut notes = Notes::default();
        for _ in 0..Notes::LIMIT + 3 {
            notes.push(Level::Info, || "x".into());
            notes.push(Level::Trace, || unreachable!("nobody listens to traces"));
        }
        let texts: Vec<_> = std::iter::from_fn(|| notes.pop()).map(|note| note.text).collect();
        assert_eq!(texts.len(), Notes::LIMIT + 1);
        assert_eq!(texts.last().map(String::as_str), Some("3 more notes were dropped"));
    }
}
