//! What it is at, on standard error: a line when something begins to take long, and one when it is done.

use std::time::{Duration, Instant};

pub struct Progress {
    what: String,
    began: Instant,
    said: Instant,
}

const EVERY: Duration = Duration::from_secs(5);

impl Progress {
    pub fn new(what: String) -> Self {
        let now = Instant::now();
        Self { what, began: now, said: now }
    }

    /// How far it is, from 0 to 1. Called as often as one likes.
    pub fn at(&mut self, part: f64) {
        if self.said.elapsed() >= EVERY {
            self.said = Instant::now();
            let took = self.began.elapsed().as_secs_f64();
            let rest =
                if part > 0.01 { format!(", {:.0} s to go", took / part - took) } else { String::new() };
            eprintln!("{}: {:.0} % after {took:.0} s{rest}", self.what, 100.0 * part);
        }
    }

    pub fn done(&self) {
        eprintln!("{}: {:.1} s", self.what, self.began.elapsed().as_secs_f64());
    }
}
