//! A ring with somebody in it who says whatever bytes tell him to: the body of a property test and of a fuzz target.
//!
//! Whatever he says: nothing panics, nothing grows beyond its limit, lists stay in order, and when he falls silent the honest
//! ones are one ring again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::{Action, Ring, Settings};
use crate::random::Random;
use crate::time::Instant;
use crate::wire::ring::{Find, Found, Life, List, Member, Message, Number, Place, Want};

/// Members, the hostile one included.
const MEMBERS: usize = 6;
const HOSTILE: usize = 2;

/// All that a machine keeps, with the limits of [`settings`] and the fixed ones.
const MOST_KEPT: usize = 400;

/// So much happens between two words of his, at most.
const PATIENCE: usize = 2000;

/// One thing after the other, all that follows from the bytes.
pub(crate) fn run(bytes: &[u8]) {
    let mut scene = Scene::new();
    let mut bytes = bytes.iter().copied();
    while let Some(deed) = bytes.next() {
        let mut next = || bytes.next().unwrap_or_default();
        match deed % 8 {
            0 => scene.run_for(Duration::from_millis(u64::from(next()) * 10)),
            1 => scene.run_for(Duration::from_secs(u64::from(next()) / 8)),
            2 => scene.look_up(next()),
            _ => {
                let to = usize::from(next()) % MEMBERS;
                let message = scene.message(&mut next);
                scene.say(to, message);
            }
        }
        scene.check();
    }
    // He falls silent, and they have a while. Whoever he has cut off comes back through those it remembers.
    scene.is_silent = true;
    scene.run_for(Duration::from_secs(900));
    scene.check_ring();
}

fn settings() -> Settings {
    Settings {
        list: 3,
        max_relayed: 16,
        max_relayed_for_one: 8,
        max_look_ups: 8,
        max_remembered: 8,
        max_suspects: 8,
        max_round_trips: 8,
        ..Settings::default()
    }
}

struct Scene {
    machines: Vec<Ring>,
    /// From whom, to whom, in which life, and what.
    letters: VecDeque<(Member, Place, Life, Message)>,
    now: Instant,
    /// What he has been asked, so that he can answer.
    asked: VecDeque<Number>,
    is_silent: bool,
}

fn place(number: u8) -> Place {
    let mut bytes = [0; 20];
    bytes[0] = number;
    Place::from_bytes(bytes)
}

/// Members are spread evenly.
fn member(number: usize) -> Member {
    Member { place: place((20 + 40 * number) as u8), life: Life(1) }
}

impl Scene {
    fn new() -> Self {
        let settings = Arc::new(settings());
        let machine = |number: usize| {
            let mut seed = [0; 32];
            seed[0] = number as u8;
            let me = member(number);
            let mut ring = Ring::new(me.place.node(), settings.clone(), Random::from_seed(seed));
            let following = |steps: usize| member((number + steps) % MEMBERS);
            let list = List::read(&[following(1), following(2), following(3)], false);
            let fingers = [following(3), following(4)];
            ring.place_ideally(me.life, (Some(following(MEMBERS - 1)), list), &fingers, Instant::ZERO);
            ring
        };
        let machines = (0..MEMBERS).map(machine).collect();
        Self {
            machines,
            letters: VecDeque::new(),
            now: Instant::ZERO,
            asked: VecDeque::new(),
            is_silent: false,
        }
    }

    fn honest(&self) -> impl Iterator<Item = &Ring> {
        self.machines.iter().enumerate().filter(|(number, _)| *number != HOSTILE).map(|(_, ring)| ring)
    }

    fn look_up(&mut self, key: u8) {
        let who = usize::from(key) % MEMBERS;
        if who != HOSTILE {
            let how =
                [super::How::Recursive, super::How::Iterative, super::How::Verified][usize::from(key) % 3];
            let _ = self.machines[who].look_up(place(key), how, self.now);
            self.collect(who);
        }
    }

    fn say(&mut self, to: usize, message: Message) {
        if to != HOSTILE {
            let to_life = self.machines[to].me().life;
            self.machines[to].handle_message(member(HOSTILE), to_life, message, self.now);
            self.collect(to);
            self.deliver();
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.deliver();
        loop {
            let next = (0..MEMBERS).filter(|&number| number != HOSTILE);
            let next =
                next.filter_map(|number| self.machines[number].poll_timeout().map(|at| (at, number))).min();
            let Some((at, number)) = next.filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            self.machines[number].handle_timeout(self.now);
            self.collect(number);
            self.deliver();
        }
        self.now = end;
    }

    /// Whatever is said arrives at once, and is answered at once.
    fn deliver(&mut self) {
        for _ in 0..PATIENCE {
            let Some((from, to, life, message)) = self.letters.pop_front() else { return };
            let Some(number) = (0..MEMBERS).find(|&number| member(number).place == to) else { continue };
            if number == HOSTILE {
                self.asked.extend(message.asks());
                while self.asked.len() > 16 {
                    self.asked.pop_front();
                }
            } else {
                self.machines[number].handle_message(from, life, message, self.now);
                self.collect(number);
            }
        }
        panic!("they talk without end");
    }

    fn collect(&mut self, number: usize) {
        let me = self.machines[number].me();
        while let Some(action) = self.machines[number].poll_action() {
            if let Action::Send { to, message } = action {
                assert_ne!(to.place, me.place, "nothing is sent to oneself");
                let is_to_silent = self.is_silent && to.place == member(HOSTILE).place;
                if !is_to_silent {
                    self.letters.push_back((me, to.place, to.life, message));
                }
            }
        }
    }

    fn check(&self) {
        for ring in self.honest() {
            let list = ring.neighbours().list();
            assert!(list.is_in_order(ring.me().place) && list.members().len() <= 3, "{list:?}");
            assert!(ring.weight() <= MOST_KEPT, "it keeps {} things", ring.weight());
        }
    }

    /// Each honest one has the next honest one first.
    fn check_ring(&self) {
        let honest: Vec<&Ring> = self.honest().collect();
        for (position, ring) in honest.iter().enumerate() {
            let next = honest[(position + 1) % honest.len()].me();
            assert!(ring.is_member(), "{:?} is outside", ring.me());
            assert_eq!(
                ring.neighbours().successor(),
                Some(next),
                "{:?} of {:?}",
                ring.neighbours(),
                ring.me()
            );
        }
    }

    fn message(&self, next: &mut impl FnMut() -> u8) -> Message {
        let kind = next();
        let number = match next() {
            // What he was asked, or what he makes up.
            choice @ 0..200 => {
                let asked = self.asked.len().checked_sub(1 + usize::from(choice) % self.asked.len().max(1));
                asked.map_or(u32::from(choice), |position| self.asked[position])
            }
            choice => u32::from(choice),
        };
        let predecessor = someone(next);
        match kind % 24 {
            0 => Message::Ask { number, insists: next() & 1 == 0 },
            1 | 2 => Message::Answer { number, predecessor, list: list(next) },
            3 => Message::Busy { number },
            4 => Message::Gone { number },
            5 => Message::Probe { number },
            6 | 7 => Message::Alive { number, predecessor },
            8 => Message::Notify,
            9 => Message::Kick,
            10 => Message::Leave,
            11 => Message::Join { number, without: predecessor.map(|member| member.place) },
            12 => Message::Welcome { number, predecessor, list: list(next) },
            13 => Message::Elsewhere { number, through: predecessor },
            14 => Message::Settled,
            15 => Message::AskFingers { number },
            16 => Message::Fingers { number, members: list(next).members().into() },
            17 => Message::Meet,
            18 => Message::Find { number, find: find(next) },
            19 => Message::Ack { number },
            20 => Message::Found { number, receipt: number, found: found(predecessor, next) },
            21 => match next() % 3 {
                0 => Message::NotFound { number },
                1 => Message::Unsure { number },
                _ => Message::Direct { query: u64::from(next()), found: found(predecessor, next) },
            },
            22 => Message::Point { number, key: place(next()), last: next() & 1 == 0, dead: Vec::new() },
            _ => Message::Pointed { number, members: list(next).members().into(), last: next() & 1 == 0 },
        }
    }
}

/// A member, or somebody who is not there, or nobody.
fn someone(next: &mut impl FnMut() -> u8) -> Option<Member> {
    match next() {
        choice @ 0..120 => Some(member(usize::from(choice) % MEMBERS)),
        choice @ 120..220 => Some(Member { place: place(choice), life: Life(u64::from(next())) }),
        _ => None,
    }
}

fn list(next: &mut impl FnMut() -> u8) -> List {
    let length = usize::from(next()) % 8;
    let mut members: Vec<Member> = (0..length).filter_map(|_| someone(next)).collect();
    if next() & 3 != 0 {
        // In order from himself, as it should be.
        let from = member(HOSTILE).place;
        members.sort_unstable_by_key(|member| from.distance(member.place));
        members.dedup_by_key(|member| member.place);
        members.retain(|member| member.place != from);
    }
    List::read(&members, next() & 1 == 0)
}

fn found(predecessor: Option<Member>, next: &mut impl FnMut() -> u8) -> Found {
    let owner = someone(next).unwrap_or(member(HOSTILE));
    Found { owner, predecessor, hops: next(), timeouts: next() }
}

fn find(next: &mut impl FnMut() -> u8) -> Find {
    let flags = next();
    Find {
        key: place(next()),
        origin: someone(next).unwrap_or(member(HOSTILE)),
        query: u64::from(next()),
        want: if flags & 1 == 0 { Want::Owner } else { Want::Predecessor },
        last: flags & 2 != 0,
        careful: flags & 4 != 0,
        hops: next(),
        hops_left: next(),
        timeouts: next(),
        left: Duration::from_millis(u64::from(next()) * 100),
        dead: (0..flags >> 5).map(|_| place(next())).collect(),
    }
}
