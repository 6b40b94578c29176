//! The nodes that listen: who they are, for how long, and a random few of them in no time.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::ids::ClientId;
use super::limits::Limits;
use crate::proto::deadlines::Deadlines;
use crate::proto::household::addresses;
use crate::random::Random;
use crate::time::Instant;
use crate::wire::rendezvous::Entry;

/// A node is an address and a port: the nodes of one machine or one household are several nodes.
pub(super) type Key = (IpAddr, u16);

/// How long a registration lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    /// As in pyp2p: 24 hours, wherever its connection went.
    ADay,
    /// As long as its connection, and a grace in which to come back.
    Connected,
}

/// There is no room for another node.
#[derive(Debug)]
pub(super) struct NoRoom;

/// Who asks for nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) ip: IpAddr,
    /// What it registered itself, which it is never told.
    pub(super) port: Option<u16>,
    /// It knows the feature `peers`.
    pub(super) peers: bool,
}

#[derive(Debug)]
pub(super) struct Registry {
    slots: Vec<Option<Node>>,
    free: Vec<u32>,
    by_key: BTreeMap<Key, u32>,
    /// The slots of each [`class`], dense and in no order: what answers draw from.
    classes: [Vec<u32>; CLASSES],
    deadlines: Deadlines<Key>,
    /// Grows with each new node: who came later has the larger one.
    next_serial: u64,
}

#[derive(Debug)]
struct Node {
    key: Key,
    entry: Entry,
    serial: u64,
    /// The connection that registered it last, while that lives.
    owner: Option<ClientId>,
    lasts: Lasts,
    due: Option<Instant>,
    /// Where it stands in its class.
    place: u32,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_key: BTreeMap::new(),
            classes: Default::default(),
            deadlines: Deadlines::new(),
            next_serial: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Lists a node, or lists it anew; then it keeps its place in the order of arrival.
    pub(super) fn register(
        &mut self,
        key: Key,
        owner: ClientId,
        lasts: Lasts,
        now: Instant,
        limits: &Limits,
    ) -> Result<(), NoRoom> {
        if !self.by_key.contains_key(&key) {
            self.make_room(key.0, limits)?;
            self.insert(key);
        }
        if let Some(node) = node_of(&self.by_key, &mut self.slots, key) {
            node.owner = Some(owner);
            node.lasts = lasts;
            let due = (lasts == Lasts::ADay).then(|| now + limits.passive_lifetime);
            self.deadlines.set(key, &mut node.due, due);
        }
        Ok(())
    }

    /// The connection that registered `key` is gone.
    pub(super) fn closed(&mut self, key: Key, owner: ClientId, now: Instant, limits: &Limits) {
        let Some(node) = node_of(&self.by_key, &mut self.slots, key) else { return };
        if node.owner != Some(owner) {
            return;
        }
        node.owner = None;
        if node.lasts == Lasts::Connected {
            self.deadlines.set(key, &mut node.due, Some(now + limits.grace));
        }
    }

    /// Forgets `key`, unless another connection registered it since.
    pub(super) fn clear_own(&mut self, key: Key, owner: ClientId) {
        let node = node_of(&self.by_key, &mut self.slots, key);
        if node.is_some_and(|node| node.owner == Some(owner)) {
            self.remove(key);
        }
    }

    /// Forgets what pyp2p's clients registered from `ip`. What lasts by a connection is that connection's.
    pub(super) fn clear_address(&mut self, ip: IpAddr) {
        let mut from = 0;
        while let Some(key) = self.find(ip, ip, from, |node| node.lasts == Lasts::ADay) {
            self.remove(key);
            from = key.1;
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(key) = self.deadlines.pop_due(now) {
            self.remove(key);
        }
    }

    /// Appends up to `count` random entries that `asker` may see, each at most once.
    ///
    /// Allocates nothing. A step of Fisher and Yates' shuffle for each entry: the lists stay shuffled as they are,
    /// which is as good a start for the next answer as any.
    pub(super) fn pick(&mut self, asker: Asker, count: usize, random: &mut Random, out: &mut Vec<u8>) {
        let serial = self.serial_of(asker);
        let lengths: [usize; CLASSES] =
            std::array::from_fn(|class| if shows(class, asker) { self.classes[class].len() } else { 0 });
        let mut drawn = [0; CLASSES];
        let mut left: usize = lengths.iter().sum();
        let mut wanted = count;
        while wanted > 0 && left > 0 {
            let (class, offset) = locate(random.below(left), &lengths, &drawn);
            let Some(node) = self.draw(class, drawn[class], drawn[class] + offset) else { return };
            drawn[class] += 1;
            left -= 1;
            if hides(node.key, asker) {
                continue;
            }
            node.entry.write(node.serial > serial, out);
            wanted -= 1;
        }
    }

    /// What a node must be above to be newer than the asker. Who is not listed is dialled by nobody, so it dials all.
    fn serial_of(&self, asker: Asker) -> u64 {
        let own = asker.port.filter(|_| asker.peers).and_then(|port| self.by_key.get(&(asker.ip, port)));
        let own = own.and_then(|&slot| self.slots[slot as usize].as_ref());
        own.map_or(u64::MAX, |node| node.serial)
    }

    /// Swaps the node at `from` to `to` in its class, and gives it.
    fn draw(&mut self, class: usize, to: usize, from: usize) -> Option<&Node> {
        let list = &mut self.classes[class];
        list.swap(to, from);
        for place in [from, to] {
            self.slots[list[place] as usize].as_mut()?.place = place as u32;
        }
        self.slots[list[to] as usize].as_ref()
    }

    /// A full household gives up its oldest node that nobody holds a connection for: a program that comes back on
    /// another port each time must not lock itself out. A full server gives up none, or a crowd of newcomers
    /// could push everybody out.
    fn make_room(&mut self, ip: IpAddr, limits: &Limits) -> Result<(), NoRoom> {
        if !ip.is_loopback() {
            let (first, last) = addresses(ip).into_inner();
            let here = self.by_key.range((first, 0)..=(last, u16::MAX));
            if here.clone().count() >= limits.nodes_per_address {
                let slots = &self.slots;
                let left = here.filter_map(|(_, &slot)| slots[slot as usize].as_ref());
                let left = left.filter(|node| node.owner.is_none());
                let oldest = left.min_by_key(|node| node.due).ok_or(NoRoom)?.key;
                self.remove(oldest);
            }
        }
        if self.len() < limits.nodes { Ok(()) } else { Err(NoRoom) }
    }

    fn insert(&mut self, key: Key) {
        self.next_serial += 1;
        let list = &mut self.classes[class(key.0)];
        let node = Node {
            key,
            entry: Entry::new(SocketAddr::new(key.0, key.1)),
            serial: self.next_serial,
            owner: None,
            lasts: Lasts::ADay,
            due: None,
            place: list.len() as u32,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize] = Some(node);
        list.push(slot);
        self.by_key.insert(key, slot);
    }

    fn remove(&mut self, key: Key) {
        let Some(slot) = self.by_key.remove(&key) else { return };
        let Some(mut node) = self.slots[slot as usize].take() else { return };
        self.free.push(slot);
        self.deadlines.set(key, &mut node.due, None);
        let (list, place) = (&mut self.classes[class(key.0)], node.place as usize);
        list.swap_remove(place);
        if let Some(moved) = list.get(place).and_then(|&slot| self.slots[slot as usize].as_mut()) {
            moved.place = node.place;
        }
    }

    /// The first node between the addresses, from port `from` up in the first of them, that fits.
    fn find(&self, first: IpAddr, last: IpAddr, from: u16, fits: impl Fn(&Node) -> bool) -> Option<Key> {
        let mut nodes = self.by_key.range((first, from)..=(last, u16::MAX));
        let found = nodes.find(|&(_, &slot)| self.slots[slot as usize].as_ref().is_some_and(&fits));
        found.map(|(key, _)| *key)
    }
}

const CLASSES: usize = 4;

/// Nodes that the same askers may see stand in one list, so that drawing passes over nobody.
fn class(ip: IpAddr) -> usize {
    usize::from(ip.is_ipv6()) + 2 * usize::from(ip.is_loopback())
}

fn shows(class: usize, asker: Asker) -> bool {
    let (v6, loopback) = (class % 2 == 1, class >= 2);
    (!v6 || asker.peers) && (!loopback || asker.ip.is_loopback())
}

/// Nobody is told itself. pyp2p's clients take whoever shares their address for themselves, except on loopback, where
/// nodes of one machine meet.
fn hides(key: Key, asker: Asker) -> bool {
    debug_assert!(reaches(asker.ip, key.0));
    if key.0 != asker.ip {
        return false;
    }
    asker.port == Some(key.1) || !(asker.peers || asker.ip.is_loopback())
}

/// Which class, and how far behind what was drawn of it, the `index`-th of those not drawn stands.
fn locate(mut index: usize, lengths: &[usize; CLASSES], drawn: &[usize; CLASSES]) -> (usize, usize) {
    for class in 0..CLASSES {
        let left = lengths[class].saturating_sub(drawn[class]);
        if index < left {
            return (class, index);
        }
        index -= left;
    }
    (0, 0)
}

/// Apart from `Registry`'s other fields, so that the deadlines can be moved meanwhile.
fn node_of<'a>(by_key: &BTreeMap<Key, u32>, slots: &'a mut [Option<Node>], key: Key) -> Option<&'a mut Node> {
    let slot = *by_key.get(&key)?;
    slots.get_mut(slot as usize)?.as_mut()
}

/// Whether someone at `asker` may be told of a node at `node`: a loopback address means another machine elsewhere.
pub(super) fn reaches(asker: IpAddr, node: IpAddr) -> bool {
    asker.is_loopback() || !node.is_loopback()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn add(registry: &mut Registry, key: Key, client: u64, lasts: Lasts, now: Instant) -> bool {
        registry.register(key, ClientId(client), lasts, now, &Limits::default()).is_ok()
    }

    fn stranger(count: usize, registry: &mut Registry, random: &mut Random) -> String {
        let asker = Asker { ip: ip("192.0.2.1"), port: None, peers: false };
        let mut out = Vec::new();
        registry.pick(asker, count, random, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn all_nodes_are_drawn_equally_often() {
        let (mut registry, mut random) = (Registry::new(), Random::from_number(1));
        for i in 0..50 {
            add(&mut registry, ([203, 0, 113, i].into(), 1), 1, Lasts::ADay, at(0));
        }
        let mut seen: HashMap<String, usize> = HashMap::new();
        for _ in 0..5000 {
            let answer = stranger(10, &mut registry, &mut random);
            let nodes: BTreeSet<&str> = answer.split_whitespace().collect();
            assert_eq!(nodes.len(), 10);
            for node in nodes {
                *seen.entry(node.into()).or_default() += 1;
            }
        }
        assert_eq!(seen.len(), 50);
        assert!(seen.values().all(|n| (850..1150).contains(n)), "{seen:?}");
    }

    #[test]
    fn a_full_household_gives_up_its_oldest_absent_node() {
        let (mut registry, home) = (Registry::new(), ip("203.0.113.7"));
        let limits = Limits { nodes_per_address: 2, ..Limits::default() };
        for (port, second) in [(1, 10), (2, 0)] {
            registry.register((home, port), ClientId(port.into()), Lasts::ADay, at(second), &limits).unwrap();
        }
        assert!(registry.register((home, 3), ClientId(3), Lasts::ADay, at(20), &limits).is_err());
        registry.closed((home, 1), ClientId(1), at(30), &limits);
        registry.closed((home, 2), ClientId(2), at(30), &limits);
        registry.register((home, 3), ClientId(3), Lasts::ADay, at(40), &limits).unwrap();
        let ports: Vec<u16> = registry.by_key.keys().map(|key| key.1).collect();
        assert_eq!(ports, [1, 3]);
    }

    #[test]
    fn a_v6_network_of_64_bits_is_one_household() {
        let mut registry = Registry::new();
        let limits = Limits { nodes_per_address: 1, ..Limits::default() };
        let mut add = |text: &str| {
            registry.register((ip(text), 1), ClientId(1), Lasts::Connected, at(0), &limits).is_ok()
        };
        assert!(add("2001:db8::1"));
        assert!(!add("2001:db8::2"));
        assert!(add("2001:db8:0:1::1"));
    }

    #[test]
    fn a_full_server_keeps_who_is_there() {
        let mut registry = Registry::new();
        let limits = Limits { nodes: 1, ..Limits::default() };
        registry.register((ip("1.2.3.4"), 1), ClientId(1), Lasts::ADay, at(0), &limits).unwrap();
        assert!(registry.register((ip("1.2.3.5"), 1), ClientId(2), Lasts::ADay, at(0), &limits).is_err());
        assert!(registry.register((ip("1.2.3.4"), 1), ClientId(2), Lasts::ADay, at(0), &limits).is_ok());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Register(usize, u64, bool),
        Closed(usize, u64),
        Clear(usize, u64),
        ClearAddress(usize),
        Wait(u64),
        Pick(usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let (key, client) = (0..16usize, 0..3u64);
        let step = prop_oneof![
            4 => (key.clone(), client.clone(), any::<bool>()).prop_map(|(k, c, day)| Step::Register(k, c, day)),
            1 => (key.clone(), client.clone()).prop_map(|(k, c)| Step::Closed(k, c)),
            1 => (key.clone(), client).prop_map(|(k, c)| Step::Clear(k, c)),
            1 => key.clone().prop_map(Step::ClearAddress),
            1 => (0..90_000u64).prop_map(Step::Wait),
            1 => (key, 1..20usize).prop_map(|(k, n)| Step::Pick(k, n)),
        ];
        proptest::collection::vec(step, 0..80)
    }

    fn key(index: usize) -> Key {
        let ips =
            ["1.2.3.4", "1.2.3.5", "127.0.0.1", "127.0.0.2", "::1", "2001:db8::1", "2001:db8::2", "10.0.0.1"];
        (ip(ips[index % 8]), 1 + (index / 8) as u16)
    }

    fn consistent(registry: &Registry) {
        let listed: usize = registry.classes.iter().map(Vec::len).sum();
        assert_eq!((listed, registry.slots.len() - registry.free.len()), (registry.len(), registry.len()));
        for (key, &slot) in &registry.by_key {
            let node = registry.slots[slot as usize].as_ref().unwrap();
            assert_eq!((node.key, registry.classes[class(key.0)][node.place as usize]), (*key, slot));
        }
    }

    proptest! {
        #[test]
        fn the_lists_agree_and_answers_hold_what_they_may(steps in steps(), seed: u64) {
            let (mut registry, mut random, limits) = (Registry::new(), Random::from_number(seed), Limits::default());
            let mut now = at(0);
            for step in steps {
                match step {
                    Step::Register(k, c, day) => {
                        let lasts = if day { Lasts::ADay } else { Lasts::Connected };
                        add(&mut registry, key(k), c, lasts, now);
                    }
                    Step::Closed(k, c) => registry.closed(key(k), ClientId(c), now, &limits),
                    Step::Clear(k, c) => registry.clear_own(key(k), ClientId(c)),
                    Step::ClearAddress(k) => registry.clear_address(key(k).0),
                    Step::Wait(seconds) => {
                        now = now + Duration::from_secs(seconds);
                        registry.expire(now);
                        prop_assert!(registry.next_deadline().is_none_or(|at| at > now));
                    }
                    Step::Pick(k, n) => {
                        let (own, peers) = (key(k), n % 2 == 0);
                        let asker = Asker { ip: own.0, port: Some(own.1), peers };
                        let mut out = Vec::new();
                        registry.pick(asker, n, &mut random, &mut out);
                        let may = registry.by_key.keys().filter(|key| shows(class(key.0), asker) && !hides(**key, asker));
                        let text = String::from_utf8(out).unwrap();
                        let got: BTreeSet<&str> = text.split_whitespace().collect();
                        prop_assert_eq!(got.len(), may.count().min(n));
                        prop_assert!(peers || !text.contains("p+") && !text.contains('['));
                    }
                }
                consistent(&registry);
            }
        }
    }
}
