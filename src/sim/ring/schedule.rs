//! Random histories: from an ideal ring on, members crash, leave, restart and join while messages are under way, as many
//! failures as are allowed and whichever ones; then it is quiet, and the ring has to become ideal again; and so on.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::ideal::Ideal;
use super::monitor::{Monitor, Violation, is_ideal, why_not_ideal};
use super::queue::Index;
use super::world::World;
use crate::proto::ring::{Settings, Standing};
use crate::wire::ring::Place;

/// What kind of histories.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) settings: Settings,
    /// How many members there are at the beginning.
    pub(crate) members: RangeInclusive<usize>,
    /// How many join in one epoch, at most.
    pub(crate) joins: usize,
    /// How many fail in one epoch, at most: r - 1 is the allowance.
    pub(crate) failures: usize,
    /// How often it becomes quiet.
    pub(crate) epochs: usize,
    /// How many members there are never to be more of.
    pub(crate) most: usize,
    /// One way.
    pub(crate) delay: std::ops::Range<Duration>,
    /// Everything happens within that time.
    pub(crate) within: Duration,
    /// Begin with a ring of one and let the others join, instead of with one that is ideal.
    pub(crate) from_one: bool,
    /// How many rounds of stabilise it may take to become ideal.
    pub(crate) rounds: u32,
    /// How many principals there have to be: r + 1, or 0 where fewer members are allowed.
    pub(crate) principals: u32,
    /// Even all that were there may fail. Then not even the right rules keep those together that came meanwhile, always.
    pub(crate) may_all_fail: bool,
}

/// How a history went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The invariant was violated.
    Violated(Violation),
    /// It was quiet for so many rounds, and not ideal then.
    NeverIdeal(String),
    /// Somebody who was to join is in no ring.
    Lost(Place),
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) joins: u64,
    pub(crate) failures: u64,
    pub(crate) happenings: u64,
    /// The most rounds that it took to become ideal.
    pub(crate) rounds: u32,
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Join,
    Crash,
    Kill,
    Leave,
    Restart,
}

/// One history, all of which follows from the seed.
pub(crate) fn run(kind: &Kind, seed: u64, trace: bool) -> Result<Done, Wrong> {
    History::new(kind, seed, trace).run()
}

struct History<'a> {
    kind: &'a Kind,
    world: World,
    monitor: Monitor,
    spare: Vec<Place>,
    /// Through whom somebody is joining.
    seeds: HashMap<Index, Vec<Index>>,
    done: Done,
}

impl<'a> History<'a> {
    fn new(kind: &'a Kind, seed: u64, trace: bool) -> Self {
        let mut world = World::new(kind.settings.clone(), Duration::ZERO, seed);
        world.network.delay = kind.delay.clone();
        world.trace = trace;
        let mut places: Vec<Place> = (0..kind.most).map(|_| world.random_place()).collect();
        let monitor = Monitor::new(places.clone(), kind.principals);
        let span = kind.members.end() - kind.members.start() + 1;
        let members = kind.members.start() + world.random.below(span);
        let spare = places.split_off(members);
        if kind.from_one {
            world.add(places[0]);
            world.create(0);
            for (number, place) in places.iter().enumerate().skip(1) {
                let index = world.add(*place);
                let seed = world.random.below(number) as Index;
                world.join(index, &[seed]);
            }
        } else {
            world.settle_ideally(&Ideal::new(places.into_iter(), kind.settings.list));
        }
        let mut history = Self { kind, world, monitor, spare, seeds: HashMap::new(), done: Done::default() };
        history.monitor.begin(&history.world);
        history
    }

    fn run(mut self) -> Result<Done, Wrong> {
        if self.kind.from_one {
            self.be_quiet()?;
        }
        for _ in 0..self.kind.epochs {
            self.be_busy()?;
            self.be_quiet()?;
        }
        self.done.happenings = self.world.counts.happenings;
        Ok(self.done)
    }

    /// Things happen at random times.
    fn be_busy(&mut self) -> Result<(), Wrong> {
        let world = &mut self.world;
        // The ring is ideal now, and everybody in it a principal: so many may go that enough are left, whoever it is and whoever
        // comes meanwhile. Nothing that the machines believe is asked. In a ring that may be smaller one stays: if all went
        // while others come, those could not know each other.
        let stay = self.kind.principals.max(u32::from(!self.kind.may_all_fail));
        let spare = world.census.len().saturating_sub(stay as usize);
        let failures = world.random.below(self.kind.failures.min(spare) + 1);
        let joins = world.random.below(self.kind.joins + 1);
        let mut deeds: Vec<(Duration, Deed)> = Vec::new();
        let within = self.kind.within.as_nanos() as usize;
        for number in 0..failures + joins {
            let at = Duration::from_nanos(world.random.below(within) as u64);
            let deed = match world.random.below(8) {
                _ if number >= failures => Deed::Join,
                0 | 1 => Deed::Leave,
                2 => Deed::Restart,
                3 => Deed::Kill,
                _ => Deed::Crash,
            };
            deeds.push((at, deed));
        }
        deeds.sort_unstable_by_key(|(at, _)| *at);
        let start = self.world.now();
        for (at, deed) in deeds {
            self.run_until(start + at)?;
            self.act(deed);
            self.check()?;
        }
        self.run_until(start + self.kind.within)
    }

    /// Nothing happens but what the members do by themselves.
    fn be_quiet(&mut self) -> Result<(), Wrong> {
        let period = self.kind.settings.stabilise_every;
        self.name_others();
        for round in 0..=self.kind.rounds {
            if is_ideal(&self.world) && self.outside().is_none() {
                self.done.rounds = self.done.rounds.max(round);
                return Ok(());
            }
            // Half a period more, so that everybody had its turn: periods are up to one and a half.
            self.run_until(self.world.now() + period * 3 / 2)?;
        }
        if let Some(place) = self.outside() {
            return Err(Wrong::Lost(place));
        }
        Err(Wrong::NeverIdeal(why_not_ideal(&self.world).unwrap_or_default()))
    }

    fn act(&mut self, deed: Deed) {
        let Some(who) = self.world.random_member() else { return };
        match deed {
            Deed::Join => return self.join(who),
            // The last one stays.
            _ if self.world.census.len() < 2 => return,
            Deed::Crash => self.world.crash(who),
            Deed::Kill => self.world.kill(who),
            Deed::Leave => self.world.leave(who),
            Deed::Restart => self.restart(who),
        }
        self.done.failures += 1;
    }

    /// Through a member, and if that one fails through others.
    fn join(&mut self, through: Index) {
        let Some(place) = self.spare.pop() else { return };
        let others = self.world.census.members().map(|(_, index)| index);
        let seeds: Vec<Index> = [through].into_iter().chain(others).collect();
        let index = self.world.add(place);
        self.world.join(index, &seeds);
        self.seeds.insert(index, seeds);
        self.done.joins += 1;
    }

    /// All through whom somebody was joining have gone: whoever runs it names others.
    fn name_others(&mut self) {
        for index in 0..self.world.machines() {
            let is_joining =
                self.world.is_up(index) && self.world.ring(index).standing() == Standing::Joining;
            let Some(seeds) = self.seeds.get(&index).filter(|_| is_joining) else { continue };
            if !seeds.iter().any(|&seed| self.world.is_member(seed)) {
                let members: Vec<Index> = self.world.census.members().map(|(_, index)| index).collect();
                self.world.join(index, &members);
                self.seeds.insert(index, members);
            }
        }
    }

    fn restart(&mut self, who: Index) {
        let seeds: Vec<Index> = self.world.census.members().map(|(_, index)| index).collect();
        let seeds: Vec<Index> = seeds.into_iter().filter(|&index| index != who).collect();
        self.world.restart(who, &seeds);
        self.seeds.insert(who, seeds);
    }

    fn run_until(&mut self, end: crate::time::Instant) -> Result<(), Wrong> {
        while self.world.next_at().is_some_and(|at| at <= end) {
            self.world.step();
            self.check()?;
        }
        self.world.run_until(end);
        Ok(())
    }

    fn check(&mut self) -> Result<(), Wrong> {
        self.monitor.check(&self.world).map_err(Wrong::Violated)
    }

    /// One that is up and in no ring, and did not leave.
    fn outside(&self) -> Option<Place> {
        let is_outside = |index: &Index| {
            let standing = self.world.ring(*index).standing();
            self.world.is_up(*index) && !matches!(standing, Standing::Member | Standing::Left)
        };
        (0..self.world.machines()).find(is_outside).map(|index| self.world.place(index))
    }
}
