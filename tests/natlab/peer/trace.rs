//! The last lines that a process has printed, with the times at which they came.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// So many are kept: far more than one attempt to connect prints.
const LINES: usize = 400;

/// Its clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    started: Instant,
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Trace {
    /// Empty; times are counted from now on.
    pub(crate) fn start() -> Trace {
        Trace { started: Instant::now(), lines: Arc::default() }
    }

    /// Keeps what comes out of a pipe until that ends, and shows each line to `look`.
    pub(crate) fn follow(
        &self,
        pipe: impl Read + Send + 'static,
        mut look: impl FnMut(&str) + Send + 'static,
    ) {
        let trace = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                trace.note(&line);
                look(&line);
            }
        });
    }

    /// Adds a line.
    pub(crate) fn note(&self, line: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(format!("{:7.3} {line}", self.started.elapsed().as_secs_f64()));
    }

    /// All that is kept.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().flat_map(|line| [line, "\n"]).collect()
    }
}
