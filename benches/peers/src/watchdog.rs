//! A contestant that hangs must not hang the run (and whatever runs it) for ever.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Several times what the slowest measurement takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

static RUNNING: Mutex<Option<(Instant, String)>> = Mutex::new(None);

/// Ends the process if a guard is kept for too long.
pub fn start() {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            if let Some((since, what)) = &*RUNNING.lock().expect("nobody panics with it")
                && since.elapsed() > PATIENCE
            {
                eprintln!("peers: hung for {PATIENCE:?}: {what}");
                std::process::exit(1);
            }
        }
    });
}

pub struct Guard;

pub fn guard(what: String) -> Guard {
    *RUNNING.lock().expect("nobody panics with it") = Some((Instant::now(), what));
    Guard
}

impl Drop for Guard {
    fn drop(&mut self) {
        *RUNNING.lock().expect("nobody panics with it") = None;
    }
}
