//! UNLs of version 2: theirs and ours are the same text, read in the same way, and both sides agree on who dials.

use std::net::{Ipv4Addr, SocketAddr};

use p2poll::{Forwarding, Key, NatKind, NodeId, NodeType, Unl};
use serde_json::{Value, json};

use crate::Street;
use crate::driver::{Driver, Python};

/// With one seed, so that a failure can be repeated.
const SEED: u64 = 4;
const ROUNDS: usize = 60;

pub(crate) fn are_the_same(python: &Python, street: Street) {
    let mut theirs = python.unls(street.house(1));
    let mut random = Random(SEED);
    let mut last: Unl =
        Unl::builder(NodeType::Passive).sign(&Key::from_seed(&[1; 32])).expect("it can be said");
    for round in 0..ROUNDS {
        let sample = Sample::random(&mut random);
        let ours = sample.unl();
        assert_eq!(sample.made_by(&mut theirs), ours.as_str(), "round {round} of seed {SEED}");
        sample.check(&theirs.step(&format!("read {ours}"))["fields"], &ours);
        // In the first round against one of version 3, which they do not know but can compare.
        let answer = theirs.step(&format!("dials {ours} {last}"))["answer"].clone();
        assert_eq!(answer, ours.dials(&last), "{ours} and {last}");
        last = ours;
    }
    let altered = format!("Ah{}", &last.as_str()[2..]);
    assert_eq!(theirs.step(&format!("read {altered}"))["fields"], Value::Null);
    assert!(altered.parse::<Unl>().is_err());
}

/// What one says: letter and name in pyp2p, and our value.
struct Sample {
    id: [u8; NodeId::LENGTH],
    node_type: (char, &'static str, NodeType),
    nat: (char, &'static str, NatKind),
    forwarding: (char, &'static str, Forwarding),
    port: u16,
    wan: Ipv4Addr,
    lan: Ipv4Addr,
}

impl Sample {
    fn random(random: &mut Random) -> Self {
        let random_port = random.next() as u16;
        Self {
            id: std::array::from_fn(|_| random.next() as u8),
            node_type: random.one_of(&[
                ('p', "passive", NodeType::Passive),
                ('a', "active", NodeType::Active),
                ('s', "simultaneous", NodeType::Simultaneous),
            ]),
            nat: random.one_of(&[
                ('g', "preserving", NatKind::Preserving),
                ('m', "random", NatKind::Random),
                ('e', "reuse", NatKind::Reuse),
            ]),
            forwarding: random.one_of(&[
                ('f', "forwarded", Forwarding::ByHand),
                ('m', "manual", Forwarding::None),
                ('U', "UPnP", Forwarding::Upnp),
                ('N', "NATPMP", Forwarding::NatPmp),
            ]),
            port: random.one_of(&[0, 50500, random_port]),
            wan: Ipv4Addr::from(random.next() as u32),
            lan: Ipv4Addr::from(random.next() as u32),
        }
    }

    fn unl(&self) -> Unl {
        let builder = Unl::builder(self.node_type.2).nat(self.nat.2).forwarding(self.forwarding.2);
        let builder = builder.wan(self.addr(self.wan)).lan(self.addr(self.lan));
        builder.version2(Some(NodeId::from_bytes(self.id))).expect("it can be said")
    }

    fn addr(&self, ip: Ipv4Addr) -> SocketAddr {
        (ip, self.port).into()
    }

    fn made_by(&self, theirs: &mut Driver) -> String {
        let Self { node_type, nat, forwarding, port, wan, lan, .. } = self;
        let id = NodeId::from_bytes(self.id);
        let command = format!("make {id} {} {} {} {port} {wan} {lan}", node_type.0, nat.0, forwarding.0);
        theirs.step(&command)["text"].as_str().expect("a text").to_owned()
    }

    fn check(&self, theirs: &Value, ours: &Unl) {
        let id = NodeId::from_bytes(self.id);
        let expected = json!({
            "value": ours.as_str(), "version": 2, "node_id": id.to_string(), "node_type": self.node_type.1,
            "nat_type": self.nat.1, "forwarding_type": self.forwarding.1, "listen_port": self.port,
            "wan_ip": self.wan.to_string(), "lan_ip": self.lan.to_string(),
        });
        assert_eq!(*theirs, expected);
        let read: Unl = ours.as_str().parse().expect("ours is one");
        assert_eq!((read.claimed_id(), read.node_type()), (Some(id), self.node_type.2));
        assert_eq!((read.nat(), read.forwarding()), (Some(self.nat.2), self.forwarding.2));
        assert!(read.addresses().map(|address| address.addr).eq([self.addr(self.wan), self.addr(self.lan)]));
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): enough for samples.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[(self.next() % choices.len() as u64) as usize]
    }
}
