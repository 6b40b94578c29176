//! What makes one run the same as another, and its print for those who look for a mistake.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher as _};

use super::ProgramId;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Trace {
    hasher: DefaultHasher,
    is_loud: bool,
}

impl Trace {
    /// It is printed if the environment says so.
    pub(super) fn new() -> Self {
        let is_loud = std::env::var_os("P2POLL_SIM_TRACE").is_some();
        if is_loud {
            log::set_max_level(log::LevelFilter::Debug);
        }
        Self { hasher: DefaultHasher::new(), is_loud }
    }

    pub(super) fn add(&mut self, now: Instant, who: usize, what: &str, detail: impl Hash + Debug) {
        if self.is_loud {
            eprintln!("{:>12.6} {who:>4} {what} {detail:?}", now.since_origin().as_secs_f64());
        }
        (now, who, what, detail).hash(&mut self.hasher);
    }

    /// What a program says to its log; it makes no run another.
    pub(super) fn note(&self, now: Instant, program: ProgramId, text: &str) {
        if self.is_loud {
            eprintln!("{:>12.6} program {} {text}", now.since_origin().as_secs_f64(), program.0);
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hasher.finish()
    }
}
