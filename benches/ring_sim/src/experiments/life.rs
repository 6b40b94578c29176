//! A ring in which members come and go and look things up, each as a Poisson process.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use crate::proto::ring::{How, Settings};
use crate::sim::ring::network::part;
use crate::sim::ring::queue::Index;
use crate::sim::ring::world::World;
use crate::time::Instant;

/// How members go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They fall silent.
    Crashes,
    /// They say that they go.
    Leaves,
}

pub struct Life {
    pub world: World,
    way: Way,
    joins: Process,
    ends: Process,
    look_ups: Process,
    /// On their way in, and since when.
    joining: HashSet<Index>,
    joined: u64,
}

/// Of so many a second.
struct Process {
    rate: f64,
    next: Instant,
}

impl Life {
    /// A ring of that many in order, with so many joins and as many ends a second.
    pub fn new(members: usize, settings: Settings, rate: f64, way: Way, seed: u64) -> Self {
        let world = World::ideal(members, settings, Duration::from_millis(50), seed);
        let mut life = Self {
            world,
            way,
            joins: Process::never(),
            ends: Process::never(),
            look_ups: Process::never(),
            joining: HashSet::new(),
            joined: 0,
        };
        life.joins.set(rate, &mut life.world);
        life.ends.set(rate, &mut life.world);
        life
    }

    pub fn look_ups_a_second(&mut self, rate: f64) {
        self.look_ups.set(rate, &mut self.world);
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.world.now() + time;
        loop {
            let next = self.joins.next.min(self.ends.next).min(self.look_ups.next);
            if next > end {
                return self.world.run_until(end);
            }
            self.world.run_until(next);
            if next == self.look_ups.next {
                self.look_ups.step(&mut self.world);
                self.look_up();
            } else if next == self.joins.next {
                self.joins.step(&mut self.world);
                self.join();
            } else {
                self.ends.step(&mut self.world);
                self.end();
            }
        }
    }

    /// How many have joined so far, and how many are on their way.
    pub fn joins(&mut self) -> (u64, u64) {
        let world = &self.world;
        let before = self.joining.len();
        self.joining.retain(|&index| !world.is_member(index));
        self.joined += (before - self.joining.len()) as u64;
        (self.joined, self.joining.len() as u64)
    }

    fn look_up(&mut self) {
        let key = self.world.random_place();
        if let Some(origin) = self.world.random_member() {
            self.world.look_up(origin, key, How::Recursive);
        }
    }

    fn join(&mut self) {
        let place = self.world.random_place();
        if let Some(seed) = self.world.random_member() {
            let index = self.world.add(place);
            self.world.join(index, &[seed]);
            self.joining.insert(index);
        }
    }

    fn end(&mut self) {
        let Some(index) = self.world.random_member() else { return };
        self.joined += u64::from(self.joining.remove(&index));
        match self.way {
            Way::Crashes => self.world.crash(index),
            Way::Leaves => self.world.leave(index),
        }
    }
}

impl Process {
    fn never() -> Self {
        Self { rate: 0.0, next: Instant::ZERO + Duration::MAX }
    }

    fn set(&mut self, rate: f64, world: &mut World) {
        *self = Self::never();
        self.rate = rate;
        self.step(world);
    }

    fn step(&mut self, world: &mut World) {
        if self.rate > 0.0 {
            // From 0 to 1, and never 0.
            let uniform = 1.0 - part(&mut world.random);
            let gap = -uniform.max(f64::MIN_POSITIVE).ln() / self.rate;
            self.next = world.now() + Duration::from_secs_f64(gap);
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crashes => "crash",
            Self::Leaves => "leave",
        })
    }
}
