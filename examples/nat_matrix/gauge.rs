//! How long this machine stood still: what it measures on two busy cores is not always the network.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// How often each core is asked for.
const TICK: Duration = Duration::from_millis(2);
/// Less is nothing to speak of.
const NOTABLE: Duration = Duration::from_millis(8);

/// One thread on each core that wants to run all the time, and notes when it could not. Until the program ends.
#[derive(Clone, Debug)]
pub(crate) struct Gauge {
    stalls: Arc<Mutex<Vec<Stall>>>,
}

#[derive(Clone, Copy, Debug)]
struct Stall {
    core: usize,
    end: Instant,
    length: Duration,
}

impl Gauge {
    pub(crate) fn start() -> Gauge {
        let gauge = Gauge { stalls: Arc::default() };
        for core in 0..thread::available_parallelism().map_or(1, usize::from) {
            let gauge = gauge.clone();
            thread::spawn(move || gauge.watch(core));
        }
        gauge
    }

    /// How long the core that stood still longest did so in all, from then until now.
    pub(crate) fn stalled_since(&self, start: Instant) -> Duration {
        let stalls = self.stalls.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cores = vec![Duration::ZERO; thread::available_parallelism().map_or(1, usize::from)];
        // The latest are last.
        for stall in stalls.iter().rev().take_while(|stall| stall.end > start) {
            if let Some(core) = cores.get_mut(stall.core) {
                *core += stall.length;
            }
        }
        cores.into_iter().max().unwrap_or_default()
    }

    fn watch(&self, core: usize) {
        let mut cores = CpuSet::new();
        // Where it can not be chosen, the thread runs on any.
        _ = cores.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores));
        loop {
            let before = Instant::now();
            thread::sleep(TICK);
            let length = before.elapsed().saturating_sub(TICK);
            if length > NOTABLE {
                let mut stalls = self.stalls.lock().unwrap_or_else(PoisonError::into_inner);
                stalls.push(Stall { core, end: Instant::now(), length });
            }
        }
    }
}
