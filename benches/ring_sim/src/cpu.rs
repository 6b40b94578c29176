//! How long this thread has had a core: what else the machine does counts little then.

use std::time::{Duration, Instant};

pub struct Stopwatch {
    began: Instant,
    on_core: Option<Duration>,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { began: Instant::now(), on_core: on_core() }
    }

    /// Seconds on a core; where the system does not tell, seconds.
    pub fn seconds(&self) -> f64 {
        let on_core = on_core().zip(self.on_core).map(|(now, before)| now.saturating_sub(before));
        on_core.unwrap_or_else(|| self.began.elapsed()).as_secs_f64()
    }
}

/// Linux: the first number is nanoseconds on a processor.
fn on_core() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
