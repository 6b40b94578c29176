//! Machines, a clock, and what happens to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::census::Census;
use super::ideal::{Ideal, Knowledge};
use super::network::{Fate, Network};
use super::queue::{Happening, Index, Letter, Queue};
use crate::identity::NodeId;
use crate::proto::ring::{Action, Event, How, LinkState, LookUpFault, Ring, Settings};
use crate::random::Random;
use crate::time::Instant;
use crate::wire::ring::{self as wire, Found, Life, Member, Message, Place, QueryId};

/// One in so many messages is written down to be measured.
const COUNTED: u64 = 16;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) census: Census,
    /// Look-ups that have ended since they were taken from here.
    pub(crate) ended: Vec<Ended>,
    pub(crate) counts: Counts,
    /// Prints everything that happens.
    pub(crate) trace: bool,
    /// Counts the messages' bytes, from one in 16 of them.
    pub(crate) counts_bytes: bool,
    pub(crate) settings: Arc<Settings>,
    pub(crate) random: Random,
    machines: Vec<Machine>,
    by_place: HashMap<Place, Index>,
    queue: Queue,
    now: Instant,
    started: HashMap<QueryId, Started>,
    events: Vec<(Index, Event)>,
    keeps_events: bool,
    undo: Option<Vec<(Index, Machine)>>,
    /// The machine that has acted last.
    acted: Option<Index>,
}

/// How a member treats others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Conduct {
    #[default]
    Honest,
    /// Acknowledges look-ups and does nothing about them.
    Drops,
    /// Says that everything is its own.
    Lies,
}

#[derive(Debug)]
struct Machine {
    ring: Ring,
    conduct: Conduct,
    is_up: bool,
    /// Messages to it are refused at once instead of vanishing.
    refuses: bool,
    wakes: Option<Instant>,
}

/// One look-up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) origin: Index,
    pub(crate) key: Place,
    pub(crate) took: Duration,
    pub(crate) outcome: Result<Found, LookUpFault>,
    /// It was the owner at some instant of the look-up.
    pub(crate) is_right: bool,
}

#[derive(Clone, Copy, Debug)]
struct Started {
    origin: Index,
    at: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) happenings: u64,
    pub(crate) messages: u64,
    pub(crate) lost: u64,
    /// What they would have in text, if that is [counted](World::counts_bytes).
    pub(crate) bytes: u64,
    /// Look-ups whose origin did not live to see them end.
    pub(crate) orphaned: u64,
}

impl World {
    /// Nobody yet.
    pub(crate) fn new(settings: Settings, delay: Duration, seed: u64) -> Self {
        let mut random = seeded(seed);
        Self {
            network: Network::new(delay, random.next_u64()),
            census: Census::default(),
            ended: Vec::new(),
            counts: Counts::default(),
            trace: false,
            counts_bytes: false,
            settings: Arc::new(settings),
            random,
            machines: Vec::new(),
            by_place: HashMap::new(),
            queue: Queue::default(),
            now: Instant::ZERO,
            started: HashMap::new(),
            events: Vec::new(),
            keeps_events: false,
            undo: None,
            acted: None,
        }
    }

    /// A ring of so many, in order, at random places. The machines' numbers are in the order of their places.
    pub(crate) fn ideal(members: usize, settings: Settings, delay: Duration, seed: u64) -> Self {
        let mut world = Self::new(settings, delay, seed);
        let places: Vec<Place> = (0..members).map(|_| world.random_place()).collect();
        world.settle_ideally(&Ideal::new(places.into_iter(), world.settings.list));
        world
    }

    /// All of an ideal ring, in a world without any.
    pub(crate) fn settle_ideally(&mut self, ideal: &Ideal) {
        for position in 0..ideal.len() {
            let Knowledge { member, predecessor, list, fingers } = ideal.knowledge(position);
            let index = self.add(member.place);
            let now = self.now;
            let machine = &mut self.machines[index as usize];
            machine.ring.place_ideally(member.life, (predecessor, list), &fingers, now);
            self.census.joined(member, index, now);
            self.collect(index);
        }
    }

    pub(crate) fn random_place(&mut self) -> Place {
        let mut bytes = [0; 20];
        let drawn = [self.random.next_u64(), self.random.next_u64(), self.random.next_u64()];
        for (byte, drawn) in bytes.iter_mut().zip(drawn.iter().flat_map(|drawn| drawn.to_be_bytes())) {
            *byte = drawn;
        }
        Place::from_bytes(bytes)
    }

    /// A machine that is in no ring.
    pub(crate) fn add(&mut self, place: Place) -> Index {
        let ring = Ring::new(place.node(), self.settings.clone(), self.random.fork());
        let machine = Machine { ring, conduct: Conduct::Honest, is_up: true, refuses: false, wakes: None };
        match self.by_place.get(&place) {
            Some(&index) => {
                self.machines[index as usize] = machine;
                index
            }
            None => {
                let index = self.machines.len() as Index;
                self.machines.push(machine);
                self.by_place.insert(place, index);
                index
            }
        }
    }

    /// Begins a ring.
    pub(crate) fn create(&mut self, index: Index) {
        let now = self.now;
        self.machines[index as usize].ring.create(now);
        self.collect(index);
    }

    /// Joins through those.
    pub(crate) fn join(&mut self, index: Index, through: &[Index]) {
        let seeds: Vec<NodeId> = through.iter().map(|&seed| self.place(seed).node()).collect();
        let now = self.now;
        self.machines[index as usize].ring.join(&seeds, now);
        self.collect(index);
    }

    /// Takes its leave, and goes on answering that it is gone.
    pub(crate) fn leave(&mut self, index: Index) {
        let (now, place) = (self.now, self.place(index));
        self.machines[index as usize].ring.leave(now);
        self.census.left(place, now);
        self.orphan(index);
        self.collect(index);
    }

    /// Falls silent.
    pub(crate) fn crash(&mut self, index: Index) {
        self.end(index, false);
    }

    /// The process ends, the computer stays: whoever sends something is told at once that nobody is there.
    pub(crate) fn kill(&mut self, index: Index) {
        self.end(index, true);
    }

    /// The same id again, with nothing of its old life, as a machine of the same number.
    pub(crate) fn restart(&mut self, index: Index, through: &[Index]) {
        let place = self.place(index);
        self.crash(index);
        self.add(place);
        self.join(index, through);
    }

    /// One is told that there is no way to the other, who is well.
    pub(crate) fn suspect(&mut self, at: Index, of: Index) {
        self.happen(Happening::Down { at, of });
    }

    pub(crate) fn set_conduct(&mut self, index: Index, conduct: Conduct) {
        self.machines[index as usize].conduct = conduct;
    }

    /// Begins a look-up. It will be in [`ended`](Self::ended), unless its origin ends before it.
    pub(crate) fn look_up(&mut self, origin: Index, key: Place, how: How) -> Option<QueryId> {
        let now = self.now;
        self.touch(origin);
        let query = self.machines[origin as usize].ring.look_up(key, how, now).ok()?;
        self.started.insert(query, Started { origin, at: now });
        self.collect(origin);
        Some(query)
    }

    /// A look-up that nobody remembers: it happens by itself, on a copy of all that it meets. Periods should be long, so that
    /// none ends in it.
    pub(crate) fn look_up_frozen(&mut self, origin: Index, key: Place, how: How) -> Option<Ended> {
        let (queue, now) = (std::mem::take(&mut self.queue), self.now);
        self.undo = Some(Vec::new());
        self.look_up(origin, key, how);
        while self.ended.is_empty() && self.step() {}
        let ended = self.ended.pop();
        for (index, machine) in self.undo.take().unwrap_or_default() {
            self.machines[index as usize] = machine;
        }
        (self.queue, self.now) = (queue, now);
        self.started.clear();
        ended
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Lets everything happen up to that time.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while self.queue.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// The next thing happens. False if there is none.
    pub(crate) fn step(&mut self) -> bool {
        let Some((at, happening)) = self.queue.take() else { return false };
        self.now = at;
        self.counts.happenings += 1;
        self.happen(happening);
        true
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.queue.next_at()
    }

    pub(crate) fn machines(&self) -> Index {
        self.machines.len() as Index
    }

    pub(crate) fn ring(&self, index: Index) -> &Ring {
        &self.machines[index as usize].ring
    }

    pub(crate) fn is_up(&self, index: Index) -> bool {
        self.machines[index as usize].is_up
    }

    /// Up, and a member.
    pub(crate) fn is_member(&self, index: Index) -> bool {
        self.is_up(index) && self.ring(index).is_member()
    }

    pub(crate) fn place(&self, index: Index) -> Place {
        self.ring(index).me().place
    }

    pub(crate) fn index_of(&self, place: Place) -> Option<Index> {
        self.by_place.get(&place).copied()
    }

    /// Some member.
    pub(crate) fn random_member(&mut self) -> Option<Index> {
        for _ in 0..1000 {
            let index = self.random.below(self.machines.len()) as Index;
            if self.is_member(index) {
                return Some(index);
            }
        }
        (0..self.machines()).find(|&index| self.is_member(index))
    }

    /// What is under way.
    pub(crate) fn letters(&self) -> impl Iterator<Item = &Letter> {
        self.queue.letters()
    }

    /// The machine that has acted last.
    pub(crate) fn acted(&self) -> Option<Index> {
        self.acted
    }

    /// Keeps the machines' events for [`take_events`](Self::take_events).
    pub(crate) fn keep_events(&mut self) {
        self.keeps_events = true;
    }

    pub(crate) fn take_events(&mut self) -> Vec<(Index, Event)> {
        std::mem::take(&mut self.events)
    }

    fn end(&mut self, index: Index, refuses: bool) {
        let (now, place) = (self.now, self.place(index));
        let machine = &mut self.machines[index as usize];
        machine.is_up = false;
        machine.refuses = refuses;
        machine.wakes = None;
        self.census.left(place, now);
        self.acted = Some(index);
        self.orphan(index);
    }

    /// Whose look-ups nobody waits for any more.
    fn orphan(&mut self, index: Index) {
        let before = self.started.len();
        self.started.retain(|_, started| started.origin != index);
        self.counts.orphaned += (before - self.started.len()) as u64;
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Arrives(letter) => self.deliver(letter),
            Happening::Wakes(index) => {
                let machine = &self.machines[index as usize];
                // It may have been put off since, or restarted.
                if machine.is_up && machine.wakes == Some(now) {
                    self.touch(index);
                    let machine = &mut self.machines[index as usize];
                    machine.wakes = None;
                    machine.ring.handle_timeout(now);
                    self.collect(index);
                }
            }
            Happening::Down { at, of } => {
                if self.is_up(at) {
                    self.touch(at);
                    let node = self.place(of).node();
                    self.machines[at as usize].ring.handle_link(node, LinkState::Down, now);
                    self.collect(at);
                }
            }
        }
    }

    fn deliver(&mut self, letter: Letter) {
        let Letter { from, to, life, message } = letter;
        let machine = &self.machines[to as usize];
        if !machine.is_up {
            if machine.refuses
                && let Some(at) = self.index_of(from.place)
            {
                let back = self.now + self.network.delay.start;
                self.queue.put(back, Happening::Down { at, of: to });
            }
            return;
        }
        if self.trace {
            println!("{:?} {from:?} -> {:?}: {message:?}", self.now.since_origin(), machine.ring.me());
        }
        match (machine.conduct, message) {
            (Conduct::Drops, Message::Find { number, .. }) => {
                self.send(to, machine.ring.me(), from, Message::Ack { number });
            }
            (Conduct::Drops, Message::Point { .. }) => {}
            (Conduct::Lies, Message::Point { number, key, .. }) => {
                let me = machine.ring.me();
                let found = lie(me, key, (0, 0));
                self.send(to, me, from, Message::Found { number, receipt: number, found });
            }
            (Conduct::Lies, Message::Find { number, find }) => {
                let me = machine.ring.me();
                let found = lie(me, find.key, (find.hops, find.timeouts));
                self.send(to, me, from, Message::Found { number, receipt: 0, found });
            }
            (_, message) => {
                self.touch(to);
                self.machines[to as usize].ring.handle_message(from, life, message, self.now);
                self.collect(to);
            }
        }
    }

    /// Carries out what the machine wants.
    fn collect(&mut self, index: Index) {
        self.acted = Some(index);
        let me = self.machines[index as usize].ring.me();
        while let Some(action) = self.machines[index as usize].ring.poll_action() {
            match action {
                Action::Send { to, message } => self.send(index, me, to, message),
                Action::Tell(event) => self.handle_event(index, event),
            }
        }
        let machine = &mut self.machines[index as usize];
        let timeout = machine.ring.poll_timeout();
        if let Some(at) = timeout
            && machine.wakes.is_none_or(|wakes| at < wakes)
        {
            machine.wakes = Some(at.max(self.now));
            self.queue.put(at.max(self.now), Happening::Wakes(index));
        }
    }

    fn send(&mut self, index: Index, from: Member, to: Member, message: Message) {
        self.counts.messages += 1;
        if self.counts_bytes && self.counts.messages.is_multiple_of(COUNTED) {
            let letter = wire::Letter { from: from.life, to: to.life, message: message.clone() };
            self.counts.bytes += COUNTED * wire::print(&letter).len() as u64;
        }
        let Some(target) = self.index_of(to.place) else { return };
        let via = self.network.is_cut(index, target).then(|| self.neighbour_of_both(index, target, &message));
        let fate = match via.flatten() {
            Some(via) => self.network.send_via((index, via, target), self.now, &mut self.random),
            None => self.network.send(index, target, self.now, &mut self.random),
        };
        match fate {
            Fate::ArrivesAt(at) => {
                let letter = Letter { from, to: target, life: to.life, message };
                self.queue.put(at, Happening::Arrives(letter));
            }
            Fate::Lost => self.counts.lost += 1,
        }
    }

    /// Who passes on what two members say to each other that have no link. A neighbour that can not be connected to is linked
    /// through a neighbour; a finger is not, and neither is it for its look-ups.
    fn neighbour_of_both(&self, from: Index, to: Index, message: &Message) -> Option<Index> {
        let knows = |a: Index, b: Index| {
            let (neighbours, place) = (self.ring(a).neighbours(), self.place(b));
            let listed = neighbours.list().members().iter().any(|member| member.place == place);
            listed || neighbours.predecessor().is_some_and(|member| member.place == place)
        };
        let is_of_look_up = matches!(
            message,
            Message::Find { .. } | Message::Point { .. } | Message::Pointed { .. } | Message::Direct { .. }
        );
        if is_of_look_up && !knows(from, to) && !knows(to, from) {
            return None;
        }
        let neighbours = [from, to].map(|index| self.ring(index).neighbours());
        let known = neighbours.into_iter().flat_map(|neighbours| {
            neighbours.predecessor().into_iter().chain(neighbours.list().members().iter().copied())
        });
        known.filter_map(|member| self.index_of(member.place)).find(|&via| {
            via != from
                && via != to
                && self.is_member(via)
                && !self.network.is_cut(from, via)
                && !self.network.is_cut(via, to)
        })
    }

    fn handle_event(&mut self, index: Index, event: Event) {
        let now = self.now;
        if self.trace {
            println!("{:?} {:?}: {event:?}", now.since_origin(), self.ring(index).me());
        }
        match &event {
            Event::Joined { me } => self.census.joined(*me, index, now),
            Event::Lost | Event::Left => self.census.left(self.place(index), now),
            Event::LookedUp { query, key, outcome } => {
                if let Some(Started { origin, at }) = self.started.remove(query) {
                    let is_right =
                        outcome.is_ok_and(|found| self.census.was_owner(*key, found.owner, at, now));
                    let took = now - at;
                    self.ended.push(Ended { origin, key: *key, took, outcome: *outcome, is_right });
                }
            }
            Event::Meeting { .. } => {}
        }
        if self.keeps_events {
            self.events.push((index, event));
        }
    }

    /// Remembers how the machine was, when what happens now is to be undone.
    fn touch(&mut self, index: Index) {
        let Some(undo) = &mut self.undo else { return };
        if !undo.iter().any(|(known, _)| *known == index) {
            let machine = &self.machines[index as usize];
            let ring = machine.ring.copy(seeded(u64::from(index)));
            undo.push((index, Machine { ring, ..*machine }));
            // What it waited for is in the queue that was put aside.
            self.machines[index as usize].wakes = None;
        }
    }
}

/// The generator of that number.
pub(crate) fn seeded(seed: u64) -> Random {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Random::from_seed(bytes)
}

/// An answer that fits the key, and is wrong.
fn lie(me: Member, key: Place, (hops, timeouts): (u8, u8)) -> Found {
    // Just before the key, there is nobody.
    let before = key.plus(Place::from_bytes([255; 20]));
    let predecessor = Member { place: before, life: Life(1) };
    Found { owner: me, predecessor: Some(predecessor), hops, timeouts }
}
