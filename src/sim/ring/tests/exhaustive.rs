//! Every order in which things can happen to a few members, within bounds.
//!
//! The production machines again. Time stands still: a period that ends, a question that is given up and one that is asked
//! again are moves, like the arrival of a message, its loss, a crash and a new life. A question is given up only if the one who
//! was asked is dead (Zave's perfect failure detector); where a message was lost it is asked again, as a link that was lost is made
//! again. After each move the invariant is looked at, and wherever nothing is under way, whether the ring becomes ideal if it is
//! left alone.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::super::world::seeded;
use crate::proto::ring::{Action, Ring, Settings};
use crate::time::Instant;
use crate::wire::ring::{Life, List, Member, Message, Place};

/// r.
const R: usize = 2;
const ROUNDS: usize = 15;

#[derive(Clone, Copy, Debug)]
struct Bounds {
    members: usize,
    crashes: u8,
    rejoins: u8,
    losses: u8,
    under_way: usize,
    periods: u8,
}

#[derive(Clone, Debug)]
struct Letter {
    from: Member,
    to: usize,
    life: Life,
    message: Message,
}

struct Scene {
    rings: Vec<Ring>,
    is_up: Vec<bool>,
    letters: Vec<Letter>,
    /// What may still be done.
    bounds: Bounds,
    periods: Vec<u8>,
    tries: u8,
    /// Failures since the ring was ideal last.
    failures: u8,
    /// Within the allowance, there are so many principals.
    wanted: usize,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Deliver(usize),
    Lose(usize),
    Period(usize),
    Later(usize),
    Repeat(usize),
    GiveUp(usize),
    Crash(usize),
    Rejoin(usize, usize),
}

fn member(number: usize) -> Member {
    let mut bytes = [0; 20];
    bytes[0] = (number * 60 + 20) as u8;
    Member { place: Place::from_bytes(bytes), life: Life(1) }
}

impl Scene {
    fn new(bounds: Bounds) -> Self {
        let settings = Arc::new(Settings { list: R, ..Settings::default() });
        let count = bounds.members;
        let ring = |number: usize| {
            let me = member(number);
            let mut ring = Ring::new(me.place.node(), settings.clone(), seeded(number as u64));
            let list: Vec<Member> = (1..=R.min(count - 1)).map(|n| member((number + n) % count)).collect();
            let list = List::new(me.place, &list, R >= count - 1).expect("in order");
            let before = member((number + count - 1) % count);
            ring.place_ideally(me.life, (Some(before), list), &[], Instant::ZERO);
            ring
        };
        Self {
            rings: (0..count).map(ring).collect(),
            is_up: vec![true; count],
            letters: Vec::new(),
            bounds,
            periods: vec![bounds.periods; count],
            tries: 3,
            failures: 0,
            wanted: if count > R { R + 1 } else { 0 },
        }
    }

    fn copy(&self) -> Self {
        let rings = self.rings.iter().enumerate().map(|(n, ring)| ring.copy(seeded(n as u64))).collect();
        Self {
            rings,
            is_up: self.is_up.clone(),
            letters: self.letters.clone(),
            periods: self.periods.clone(),
            ..*self
        }
    }

    fn is_member(&self, number: usize) -> bool {
        self.is_up[number] && self.rings[number].is_member()
    }

    fn members(&self) -> Vec<Member> {
        let members = (0..self.rings.len()).filter(|&number| self.is_member(number));
        members.map(|number| self.rings[number].me()).collect()
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (position, letter) in self.letters.iter().enumerate() {
            // A link keeps its order.
            let same_link =
                |earlier: &Letter| earlier.from.place == letter.from.place && earlier.to == letter.to;
            if self.letters[..position].iter().any(same_link) {
                continue;
            }
            moves.push(Move::Deliver(position));
            if self.bounds.losses > 0 {
                moves.push(Move::Lose(position));
            }
        }
        let is_ideal = self.is_ideal();
        for number in (0..self.rings.len()).filter(|&number| self.is_up[number]) {
            let ring = &self.rings[number];
            if ring.is_member() && self.periods[number] > 0 {
                moves.push(Move::Period(number));
            }
            if ring.has_later() {
                moves.push(Move::Later(number));
            }
            for (to, asked) in ring.waits_for().into_iter().chain(ring.is_let_in_by()) {
                let is_under_way = self.letters.iter().any(|letter| {
                    letter.message.asks() == Some(asked) || letter.message.answers() == Some(asked)
                });
                let is_alive = (0..self.rings.len()).any(|n| member(n).place == to.place && self.is_up[n]);
                if !is_under_way {
                    moves.push(if is_alive { Move::Repeat(number) } else { Move::GiveUp(number) });
                }
            }
            // An oracle's allowance: r - 1 between two ideal states, and r + 1 members are left while there were more.
            let is_allowed = self.failures < (R - 1) as u8 || is_ideal;
            if self.bounds.crashes > 0 && ring.is_member() && is_allowed && self.members().len() > 1 {
                moves.push(Move::Crash(number));
            }
        }
        self.add_joins(&mut moves);
        moves
    }

    fn add_joins(&self, moves: &mut Vec<Move>) {
        let hosts: Vec<usize> = (0..self.rings.len()).filter(|&number| self.is_member(number)).collect();
        for number in 0..self.rings.len() {
            let may_come = !self.is_up[number] && self.bounds.rejoins > 0;
            let may_try = self.is_up[number] && self.rings[number].stands_outside() && self.tries > 0;
            if may_come || may_try {
                moves.extend(
                    hosts.iter().filter(|&&host| host != number).map(|&host| Move::Rejoin(number, host)),
                );
            }
        }
    }

    fn make(&mut self, chosen: Move) {
        match chosen {
            Move::Deliver(position) => {
                let Letter { from, to, life, message } = self.letters.remove(position);
                if self.is_up[to] {
                    self.rings[to].handle_message(from, life, message, Instant::ZERO);
                    self.collect(to);
                }
            }
            Move::Lose(position) => {
                self.letters.remove(position);
                self.bounds.losses -= 1;
            }
            Move::Period(number) => {
                self.periods[number] -= 1;
                self.rings[number].fire_period();
                self.collect(number);
            }
            Move::Later(number) => {
                self.rings[number].fire_later();
                self.collect(number);
            }
            Move::Repeat(number) => {
                if self.rings[number].is_member() {
                    self.rings[number].repeat_question();
                } else if let Some((host, _)) = self.rings[number].is_let_in_by() {
                    self.rings[number].join_again_at(host);
                }
                self.collect(number);
            }
            Move::GiveUp(number) => {
                let waits = self.rings[number].waits_for().or(self.rings[number].is_let_in_by());
                if let Some((who, _)) = waits {
                    self.rings[number].give_up_on(who.place);
                }
                self.collect(number);
            }
            Move::Crash(number) => self.crash(number),
            Move::Rejoin(number, host) => self.rejoin(number, host),
        }
        if self.letters.is_empty() && self.is_ideal() {
            self.failures = 0;
        }
    }

    fn crash(&mut self, number: usize) {
        if self.is_ideal() {
            self.failures = 0;
        }
        self.is_up[number] = false;
        self.bounds.crashes -= 1;
        self.failures += 1;
        if self.members().len() < R + 1 {
            self.wanted = 0;
        }
    }

    fn rejoin(&mut self, number: usize, host: usize) {
        let host = self.rings[host].me();
        if self.is_up[number] {
            self.tries -= 1;
            self.rings[number].join_again_at(host);
        } else {
            self.bounds.rejoins -= 1;
            self.is_up[number] = true;
            let settings = Arc::new(Settings { list: R, ..Settings::default() });
            let node = member(number).place.node();
            self.rings[number] = Ring::new(node, settings, seeded(number as u64));
            self.rings[number].join_at(host, Life(2));
        }
        self.collect(number);
    }

    fn collect(&mut self, number: usize) {
        let from = self.rings[number].me();
        while let Some(action) = self.rings[number].poll_action() {
            let Action::Send { to, message } = action else { continue };
            // Fingers are not of the ring, and look-ups for them neither.
            if matches!(message, Message::AskFingers { .. } | Message::Find { .. }) {
                continue;
            }
            if let Some(target) = (0..self.rings.len()).find(|&n| member(n).place == to.place) {
                self.letters.push(Letter { from, to: target, life: to.life, message });
            }
        }
    }

    fn violation(&self) -> Option<String> {
        let members = self.members();
        let mut lists: Vec<(Member, List)> = Vec::new();
        for ring in self.rings.iter().filter(|ring| members.contains(&ring.me())) {
            let list = ring.neighbours().list().clone();
            if !list.is_in_order(ring.me().place) {
                return Some(format!("{:?} is out of order", ring.me()));
            }
            let is_last = list.wraps() && (list.members().is_empty() || self.wanted == 0);
            if !is_last && !list.members().iter().any(|entry| members.contains(entry)) {
                return Some(format!("{:?} has no live successor", ring.me()));
            }
            lists.push((ring.me(), list));
        }
        for letter in self.letters.iter().filter(|letter| self.is_up[letter.to]) {
            match &letter.message {
                Message::Answer { list, .. } => lists.push((letter.from, list.clone())),
                Message::Welcome { list, .. } => lists.push((self.rings[letter.to].me(), list.clone())),
                _ => {}
            }
        }
        let is_skipped = |member: &Member| {
            lists.iter().any(|(owner, list)| {
                let entries = [owner].into_iter().chain(list.members());
                let next = list.members().iter();
                entries.zip(next).any(|(a, b)| crate::wire::ring::between(a.place, member.place, b.place))
            })
        };
        let principals = members.iter().filter(|member| !is_skipped(member)).count();
        (principals < self.wanted).then(|| format!("{principals} principals"))
    }

    fn is_ideal(&self) -> bool {
        let members = self.members();
        let count = members.len();
        let longest = R.min(count - 1);
        let is_outside = (0..self.rings.len()).any(|number| self.is_up[number] && !self.is_member(number));
        !is_outside
            && members.iter().enumerate().all(|(position, me)| {
                let ring = self.rings.iter().find(|ring| ring.me() == *me);
                let following = |n: usize| members[(position + n) % count];
                ring.is_some_and(|ring| {
                    let list = ring.neighbours().list().members();
                    let has_list = list.len() == longest && (0..longest).all(|n| list[n] == following(n + 1));
                    let before = ring.neighbours().predecessor();
                    has_list && (count == 1 || before == Some(following(count - 1)))
                })
            })
    }

    /// Left alone, with everything in order of its coming, it becomes ideal.
    fn becomes_ideal(&self) -> bool {
        let mut scene = self.copy();
        scene.bounds = Bounds { losses: 0, crashes: 0, rejoins: 0, ..scene.bounds };
        for _ in 0..ROUNDS {
            if scene.is_ideal() {
                return true;
            }
            scene.periods = vec![1; scene.rings.len()];
            scene.tries = 3;
            // So many moves are a round at most.
            for _ in 0..1000 {
                let Some(chosen) = scene.moves().into_iter().next() else { break };
                scene.make(chosen);
            }
        }
        scene.is_ideal()
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (ring, is_up) in self.rings.iter().zip(&self.is_up) {
            if *is_up { ring.essence().hash(&mut hasher) } else { 0.hash(&mut hasher) }
        }
        for letter in &self.letters {
            let Letter { from, to, life, message } = letter;
            // Of a number it counts only whether somebody waits for it.
            let number = message.asks().or(message.answers());
            let asker = if message.asks().is_some() { from.place } else { self.rings[*to].me().place };
            let asker = self.rings.iter().find(|ring| ring.me().place == asker);
            let waits = asker.and_then(|ring| ring.waits_for().or(ring.is_let_in_by()));
            let is_open = number.is_some() && waits.map(|(_, number)| number) == number;
            format!("{from:?} {to} {life:?} {is_open} {:?}", message.clone().with_number(0))
                .hash(&mut hasher);
        }
        let Bounds { crashes, rejoins, losses, .. } = self.bounds;
        (crashes, rejoins, losses, &self.periods, self.tries, self.failures, self.wanted).hash(&mut hasher);
        hasher.finish()
    }
}

/// How many states there are, and at how many of them nothing is under way.
fn search(bounds: Bounds) -> (usize, usize) {
    let start = Scene::new(bounds);
    let (mut seen, mut quiet) = (HashSet::from([start.hash()]), 0);
    let mut waiting = vec![start];
    while let Some(scene) = waiting.pop() {
        if scene.letters.is_empty() {
            quiet += 1;
            assert!(scene.becomes_ideal(), "never ideal: {}", scene.describe());
        }
        for chosen in scene.moves() {
            let mut next = scene.copy();
            next.make(chosen);
            if next.letters.len() > bounds.under_way || !seen.insert(next.hash()) {
                continue;
            }
            if let Some(violation) = next.violation() {
                panic!("{violation} after {chosen:?}: {}", next.describe());
            }
            waiting.push(next);
        }
        if seen.len() % 100_000 < 8 && std::env::var("P2POLL_RING_PROGRESS").is_ok() {
            println!("{} states, {} waiting", seen.len(), waiting.len());
        }
    }
    (seen.len(), quiet)
}

impl Scene {
    fn describe(&self) -> String {
        let up = |number: &usize| self.is_up[*number];
        let rings: Vec<String> = (0..self.rings.len()).filter(up).map(|n| self.rings[n].essence()).collect();
        format!("{}\nunder way: {:?}", rings.join("\n"), self.letters)
    }
}

fn all_orders(bounds: Bounds) {
    let (states, quiet) = search(bounds);
    println!("{bounds:?}: {states} states, {quiet} of them quiet, never violated, always ideal in the end");
    assert!(states > 100);
}

#[test]
fn all_orders_of_three() {
    let three = Bounds { members: 3, crashes: 0, rejoins: 0, losses: 0, under_way: 4, periods: 1 };
    if cfg!(debug_assertions) {
        return all_orders(three); // a few seconds, where an optimised build has half a minute for the next
    }
    all_orders(Bounds { crashes: 1, losses: 1, ..three });
    all_orders(Bounds { rejoins: 1, under_way: 3, ..three });
}

/// `P2POLL_RING_BOUNDS="members crashes rejoins losses under_way periods"`
#[test]
fn all_orders_within_bounds() {
    let Ok(text) = std::env::var("P2POLL_RING_BOUNDS") else { return };
    let numbers: Vec<usize> = text.split(' ').map(|word| word.parse().expect("six numbers")).collect();
    let [members, crashes, rejoins, losses, under_way, periods] = numbers[..] else { panic!("six numbers") };
    let [crashes, rejoins, losses, periods] = [crashes, rejoins, losses, periods].map(|number| number as u8);
    all_orders(Bounds { members, crashes, rejoins, losses, under_way, periods });
}
