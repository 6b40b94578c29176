//! What a contestant is handed: the meters that count its lines while it works.

use crate::{allocations, usage};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long to warm up and how long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub warm_up: Duration,
    pub measure: Duration,
}

/// Counts lines: first it lets the receiver warm up, then it measures, then it lets the sender stop.
pub struct Meter<'a> {
    window: Window,
    stop: &'a AtomicBool,
    lines: u64,
    bytes: u64,
    next_look: u64,
    first: Option<Instant>,
    begin: Option<Reading>,
    end: Option<Reading>,
}

/// The steady state, measured.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub lines_per_second: f64,
    pub bytes_per_line: f64,
    /// Both of the thread that counted.
    pub allocations_per_line: f64,
    pub nanoseconds_per_line: f64,
}

#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    lines: u64,
    bytes: u64,
    allocations: u64,
    thread_time: Duration,
}

/// Lines between two looks at the clock, so that the looks cost nothing.
const LOOK_EVERY: u64 = 1024;

impl<'a> Meter<'a> {
    pub fn new(window: Window, stop: &'a AtomicBool) -> Self {
        Self { window, stop, lines: 0, bytes: 0, next_look: 1, first: None, begin: None, end: None }
    }

    /// One line came. The same for every contestant, in the thread that has the line. Who makes a copy of it has to make it:
    /// for all that the compiler knows, each byte is looked at.
    #[inline]
    pub fn line(&mut self, line: &[u8]) {
        self.lines(1, std::hint::black_box(line).len());
    }

    /// Several lines came, `bytes` long together.
    #[inline]
    pub fn lines(&mut self, lines: usize, bytes: usize) {
        self.lines += lines as u64;
        self.bytes += bytes as u64;
        if self.lines >= self.next_look {
            self.look();
        }
    }

    pub fn sample(&self) -> Option<Sample> {
        let (begin, end) = (self.begin?, self.end?);
        let lines = (end.lines - begin.lines) as f64;
        Some(Sample {
            lines_per_second: lines / (end.at - begin.at).as_secs_f64(),
            bytes_per_line: (end.bytes - begin.bytes) as f64 / lines,
            allocations_per_line: (end.allocations - begin.allocations) as f64 / lines,
            nanoseconds_per_line: (end.thread_time - begin.thread_time).as_nanos() as f64 / lines,
        })
    }

    #[cold]
    fn look(&mut self) {
        self.next_look = self.lines + LOOK_EVERY;
        let now = Instant::now();
        let first = *self.first.get_or_insert(now);
        match (self.begin, self.end) {
            (None, _) if now - first >= self.window.warm_up => self.begin = Some(self.read(now)),
            (Some(begin), None) if now - begin.at >= self.window.measure => {
                self.end = Some(self.read(now));
                self.stop.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn read(&self, at: Instant) -> Reading {
        Reading {
            at,
            lines: self.lines,
            bytes: self.bytes,
            allocations: allocations::of_this_thread(),
            thread_time: usage::thread_time(),
        }
    }
}

/// Times round trips until there are enough, or until the time is up.
pub struct Laps {
    wanted: usize,
    warm_up: usize,
    warm_until: Instant,
    until: Instant,
    sent: Instant,
    times: Vec<f64>,
    /// What this thread had allocated before the first lap that counts, and after the last.
    allocations: Option<(u64, u64)>,
}

impl Laps {
    pub fn new(wanted: usize, warm_up: usize, limit: Duration) -> Self {
        let now = Instant::now();
        let warm_until = now + limit / 5;
        Self {
            wanted,
            warm_up,
            warm_until,
            until: now + limit,
            sent: now,
            times: Vec::with_capacity(wanted),
            allocations: None,
        }
    }

    /// The line is about to be sent.
    pub fn asked(&mut self) {
        self.sent = Instant::now();
    }

    /// It came back. Returns whether another is wanted.
    pub fn answered(&mut self) -> bool {
        let now = Instant::now();
        if self.warm_up > 0 && now < self.warm_until {
            self.warm_up -= 1;
        } else {
            let count = allocations::of_this_thread();
            self.allocations = Some((self.allocations.map_or(count, |(first, _)| first), count));
            self.times.push((now - self.sent).as_nanos() as f64 / 1000.0);
        }
        self.times.len() < self.wanted && now < self.until
    }

    /// How often the asking end allocated, for each lap but the first.
    pub fn allocations_per_lap(&self) -> f64 {
        let (first, last) = self.allocations.unwrap_or_default();
        (last - first) as f64 / (self.times.len().max(2) - 1) as f64
    }

    /// Microseconds.
    pub fn times(&self) -> &[f64] {
        &self.times
    }
}
