//! How long messages take, and which do not arrive.
//!
//! Links are TCP: nothing is lost or overtakes on a link that stays. A packet that is lost holds up everything behind it until it
//! is repeated; a way that is broken is silence.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use super::queue::Index;
use crate::random::Random;
use crate::time::Instant;

#[derive(Debug)]
pub(crate) struct Network {
    /// One way.
    pub(crate) delay: Range<Duration>,
    /// Which part of the messages meets a loss, and waits for a retransmission.
    pub(crate) stalled: f64,
    /// How long that is: drawn from here.
    pub(crate) stall: Range<Duration>,
    /// Which part of the pairs have no link to each other, ever. Neighbours on the ring go through a neighbour, as the links'
    /// layer has it: [`send_via`](Self::send_via). For everybody else such a pair is silence.
    pub(crate) cut_pairs: f64,
    /// Those in different parts do not hear each other.
    parts: Vec<u8>,
    /// Members that nobody can dial first.
    undialable: Vec<bool>,
    /// Links that are there: what has been sent last on each arrives by then.
    links: HashMap<(Index, Index), Instant>,
    /// Which pairs are cut is drawn from this, and not from when they try.
    seed: u64,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    ArrivesAt(Instant),
    Lost,
}

impl Network {
    /// Everything arrives, after that time.
    pub(crate) fn new(delay: Duration, seed: u64) -> Self {
        Self {
            delay: delay..delay,
            stalled: 0.0,
            stall: Duration::from_millis(200)..Duration::from_millis(1000),
            cut_pairs: 0.0,
            parts: Vec::new(),
            undialable: Vec::new(),
            links: HashMap::new(),
            seed,
        }
    }

    /// Cuts the network: machine n is in part `parts[n]`, later ones in part 0. None is one network again.
    pub(crate) fn split(&mut self, parts: Vec<u8>) {
        self.parts = parts;
    }

    pub(crate) fn set_undialable(&mut self, machine: Index, is: bool) {
        let index = machine as usize;
        if self.undialable.len() <= index {
            self.undialable.resize(index + 1, false);
        }
        self.undialable[index] = is;
    }

    pub(crate) fn send(&mut self, from: Index, to: Index, now: Instant, random: &mut Random) -> Fate {
        if self.is_cut(from, to) || self.part(from) != self.part(to) {
            return Fate::Lost;
        }
        let mut takes = draw(&self.delay, random);
        if self.stalled > 0.0 && part(random) < self.stalled {
            takes += draw(&self.stall, random);
        }
        if !self.keeps_order() {
            return Fate::ArrivesAt(now + takes);
        }
        takes += self.detour(from, to, random);
        let last = self.links.entry((from, to)).or_default();
        *last = (now + takes).max(*last);
        Fate::ArrivesAt(*last)
    }

    /// The same through a third, who passes it on: two ways.
    pub(crate) fn send_via(
        &mut self,
        (from, via, to): (Index, Index, Index),
        now: Instant,
        random: &mut Random,
    ) -> Fate {
        match self.send(from, via, now, random) {
            Fate::ArrivesAt(at) => self.send(via, to, at, random),
            Fate::Lost => Fate::Lost,
        }
    }

    /// What the links' layer needs to make one to somebody who can not be dialled: it is called and dials itself; where neither
    /// can be dialled, everything goes through a neighbour of both.
    fn detour(&mut self, from: Index, to: Index, random: &mut Random) -> Duration {
        let (is_from, is_to) = (self.is_undialable(from), self.is_undialable(to));
        if is_from && is_to {
            return draw(&self.delay, random);
        }
        let is_new = !self.links.contains_key(&(from, to)) && !self.links.contains_key(&(to, from));
        if is_to && is_new { 2 * draw(&self.delay, random) } else { Duration::ZERO }
    }

    /// With one delay for all, nothing overtakes anyway.
    fn keeps_order(&self) -> bool {
        self.delay.start != self.delay.end || self.stalled > 0.0 || !self.undialable.is_empty()
    }

    fn is_undialable(&self, machine: Index) -> bool {
        self.undialable.get(machine as usize).copied().unwrap_or_default()
    }

    fn part(&self, machine: Index) -> u8 {
        self.parts.get(machine as usize).copied().unwrap_or_default()
    }

    pub(crate) fn is_cut(&self, a: Index, b: Index) -> bool {
        if self.cut_pairs == 0.0 {
            return false;
        }
        let pair = u64::from(a.min(b)) << 32 | u64::from(a.max(b));
        // Two rounds of a mixer (Stafford's variant 13, as in SplitMix64).
        let mut mixed = pair ^ self.seed;
        for _ in 0..2 {
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
        }
        mixed as f64 / 2_f64.powi(64) < self.cut_pairs
    }
}

pub(crate) fn draw(range: &Range<Duration>, random: &mut Random) -> Duration {
    let nanos = range.end.saturating_sub(range.start).as_nanos() as usize;
    range.start + Duration::from_nanos(random.below(nanos) as u64)
}

/// Uniform in 0..1.
pub(crate) fn part(random: &mut Random) -> f64 {
    random.next_u64() as f64 / 2_f64.powi(64)
}
