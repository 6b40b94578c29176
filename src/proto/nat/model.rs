//! A NAT to try the inference on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::kind::{SAMPLES, Sight};
use crate::random::Random;

/// How an external port is chosen for a new mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The local one while it is free, otherwise at random (Linux).
    Keep,
    /// In steps, round and round its range.
    Step(i32),
    Random,
}

/// For whom a mapping is used again (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    Everybody,
    SameAddress,
    SameAddressAndPort,
}

#[derive(Debug)]
pub(super) struct Nat {
    choice: Choice,
    reuse: Reuse,
    range: RangeInclusive<u16>,
    last: u16,
    taken: BTreeSet<u16>,
    mappings: BTreeMap<(u16, Option<IpAddr>, Option<u16>), u16>,
    random: Random,
}

impl Nat {
    pub(super) fn new(choice: Choice, reuse: Reuse, seed: u64) -> Self {
        Self::within(1024..=u16::MAX, choice, reuse, seed)
    }

    pub(super) fn within(range: RangeInclusive<u16>, choice: Choice, reuse: Reuse, seed: u64) -> Self {
        let mut random = Random::from_number(seed);
        let last = range.start() + random.below(range.len()) as u16;
        Self { choice, reuse, range, last, taken: BTreeSet::new(), mappings: BTreeMap::new(), random }
    }

    /// Somebody else uses this external port.
    pub(super) fn occupy(&mut self, port: u16) {
        self.taken.insert(port);
    }

    /// The last port it chose.
    pub(super) fn go_to(&mut self, port: u16) {
        self.last = port;
    }

    /// Another connection from the household, from a port of no interest.
    pub(super) fn pass_other(&mut self) {
        self.allocate();
    }

    /// The external port of a connection.
    pub(super) fn translate(&mut self, local: u16, to: SocketAddr) -> u16 {
        let (ip, port) = match self.reuse {
            Reuse::Everybody => (None, None),
            Reuse::SameAddress => (Some(to.ip()), None),
            Reuse::SameAddressAndPort => (Some(to.ip()), Some(to.port())),
        };
        // A port that is kept may lead to several destinations: the kernel tells connections apart by both ends.
        if self.choice == Choice::Keep && !self.taken.contains(&local) {
            return local;
        }
        if let Some(&external) = self.mappings.get(&(local, ip, port)) {
            return external;
        }
        let external = self.allocate();
        self.mappings.insert((local, ip, port), external);
        external
    }

    /// What two observers see of one round.
    pub(super) fn sights(&mut self, first_port: u16, observers: &[SocketAddr]) -> Vec<Sight> {
        let locals: [u16; SAMPLES] = std::array::from_fn(|index| first_port + index as u16);
        observers.iter().map(|&to| locals.map(|local| Some(self.translate(local, to)))).collect()
    }

    fn allocate(&mut self) -> u16 {
        loop {
            let port = match self.choice {
                Choice::Keep | Choice::Random => {
                    self.range.start() + self.random.below(self.range.len()) as u16
                }
                Choice::Step(step) => self.stepped(step),
            };
            self.last = port;
            if self.taken.insert(port) {
                return port;
            }
        }
    }

    fn stepped(&self, step: i32) -> u16 {
        let len = self.range.len() as i32;
        let place = i32::from(self.last - self.range.start()) + step;
        self.range.start() + place.rem_euclid(len) as u16
    }
}
