//! What an experiment is given: its size, its seeds, workers, and where to report.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::options::Options;
use crate::progress::Progress;
use crate::report::Report;
use crate::wire::ring::Place;

pub struct Lab {
    pub is_ci: bool,
    pub report: Report,
    pub seed: u64,
    pub pictures: Option<PathBuf>,
    jobs: usize,
}

impl Lab {
    pub fn new(options: &Options) -> Self {
        let Options { is_ci, seed, jobs, ref pictures, .. } = *options;
        Self { is_ci, report: Report::default(), seed, pictures: pictures.clone(), jobs }
    }

    /// One of two sizes.
    pub fn size<T>(&self, full: T, ci: T) -> T {
        if self.is_ci { ci } else { full }
    }

    /// A seed of its own for each run, whatever else runs.
    pub fn seed_of(&self, experiment: &str, run: u64) -> u64 {
        let bytes = Place::of_key(format!("{experiment} {run} {}", self.seed).as_bytes()).to_bytes();
        bytes[..8].iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
    }

    /// Runs each of them, several at once if that was asked for. The results are in their order.
    pub fn each<C: Sync, R: Send>(
        &self,
        what: &str,
        cells: &[C],
        run: impl Fn(&C, &mut Progress) -> R + Sync,
    ) -> Vec<R> {
        let next = AtomicUsize::new(0);
        let results: Vec<Mutex<Option<R>>> = cells.iter().map(|_| Mutex::new(None)).collect();
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(cell) = cells.get(number) else { return };
                let mut progress = Progress::new(format!("{what} {} of {}", number + 1, cells.len()));
                let result = run(cell, &mut progress);
                progress.done();
                if let Ok(mut slot) = results[number].lock() {
                    *slot = Some(result);
                }
            }
        };
        std::thread::scope(|scope| {
            (1..self.jobs.min(cells.len())).for_each(|_| {
                scope.spawn(work);
            });
            work();
        });
        // A worker that panicked has ended the scope with its panic; all the others have put a result in.
        results.into_iter().filter_map(|slot| slot.into_inner().ok().flatten()).collect()
    }
}
