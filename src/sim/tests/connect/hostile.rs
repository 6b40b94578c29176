//! Nobody aims a node at a third party: whatever UNLs, peers and servers say, few SYNs leave for an address that is only
//! claimed; and who floods a node costs it no more than it allows.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use super::*;
use crate::error::ConnectError;
use crate::id::{CallId, LinkNonce};
use crate::proto::handshake::{Dialling, Step};
use crate::reach::{NatKind, NodeType};
use crate::sim::network::EndId;
use crate::sim::script::{Behaviour, Input, Wire};
use crate::sim::world::at;
use crate::time::Instant;
use crate::wire::hello::Hello;
use crate::wire::proof::{self, ProofRole};
use crate::wire::rendezvous::{Delivery, Features, Incoming, Outgoing, Reply, Request, SignalText, Token};
use crate::wire::signal::{self, Body, RefuseWhy, Signal};

const VICTIM: &str = "203.0.77.7";

/// An address of a victim, which drops what it did not ask for, or refuses it.
fn victim(world: &mut World, drops: bool) {
    let computer = world.computer(VICTIM);
    world.computer_mut(computer).is_closed = drops;
}

/// The most SYNs that the victim got within any minute.
fn worst_minute(world: &World, during: Range<Instant>) -> usize {
    let mut worst = 0;
    let mut from = during.start;
    while from < during.end {
        worst = worst.max(world.syns_within(VICTIM, from..from + secs(60)));
        from = from + secs(1);
    }
    worst
}

/// A UNL of the nth hostile key that names the victim.
fn aimed(n: u8, ports: impl Iterator<Item = u16>) -> Unl {
    let unl = ports.fold(Unl::builder(NodeType::Passive), |unl, port| unl.wan(at(VICTIM, port)));
    unl.sign(&key(n)).expect("a sound UNL")
}

#[test]
fn a_unl_that_names_a_victim_costs_it_three_syns_a_minute() {
    with_seeds(4, |seed| {
        for drops in [true, false] {
            let mut town = Town::new(seed);
            let node = town.node(1, Home::Public);
            town.settle(&[node]);
            victim(&mut town.world, drops);
            let began = town.world.now();
            for n in 0..60 {
                // A new hostile node each time, the same address.
                let unl = aimed(100 + n, [80].into_iter());
                town.connect(node, only(&unl, Rung::Direct));
                town.world.run_for(secs(3));
            }
            let worst = worst_minute(&town.world, began..town.world.now());
            assert!((1..=3).contains(&worst), "{worst} SYNs in a minute");
        }
    });
}

#[test]
fn a_unl_that_names_many_ports_of_a_victim_costs_it_twelve_syns_a_minute() {
    with_seeds(4, |seed| {
        for drops in [true, false] {
            let mut town = Town::new(seed);
            let node = town.node(1, Home::Public);
            town.settle(&[node]);
            victim(&mut town.world, drops);
            let began = town.world.now();
            for n in 0..40u8 {
                let ports = (0..8).map(|port| 1000 + u16::from(n) * 8 + port);
                let unl = aimed(100 + n, ports);
                // By whatever way.
                let connect = Connect::to(&unl);
                let refused = town.world.act(node, |node, now| node.connect_to(connect, now)).err();
                assert!(matches!(refused, None | Some(ConnectError::TooMany)));
                town.world.run_for(secs(4));
            }
            let worst = worst_minute(&town.world, began..town.world.now());
            assert!((1..=12).contains(&worst), "{worst} SYNs in a minute");
        }
    });
}

#[test]
fn a_unl_that_names_a_victim_as_its_server_costs_it_twelve_syns_a_minute() {
    with_seeds(4, |seed| {
        for drops in [true, false] {
            let mut town = Town::new(seed);
            let node = town.node(1, PRESERVING);
            town.settle(&[node]);
            victim(&mut town.world, drops);
            let began = town.world.now();
            for n in 0..40u8 {
                let servers = (0..4).map(|port| 1000 + u16::from(n) * 4 + port);
                let unl = servers
                    .fold(Unl::builder(NodeType::Active), |unl, port| unl.server(format!("{VICTIM}:{port}")));
                let unl = unl.sign(&key(100 + n)).expect("a sound UNL");
                town.world.act(node, |node, now| node.connect_to(Connect::to(&unl), now)).ok();
                assert!(town.census(node).guests <= 4);
                town.world.run_for(secs(4));
            }
            let worst = worst_minute(&town.world, began..town.world.now());
            assert!((1..=12).contains(&worst), "{worst} SYNs in a minute");
            town.world.run_for(secs(40));
            town.assert_nothing_left(node);
        }
    });
}

/// A program that speaks the rendezvous protocol by hand, under an id of its own.
struct Mallory {
    script: ProgramId,
    end: EndId,
    key: Key,
}

impl Mallory {
    /// Connects to the first server, and proves an id there.
    fn new(town: &mut Town, on: ComputerId, key: Key) -> Self {
        let script = town.world.script(on, None, Box::new(|_, _, _| {}));
        let end = town.world.wire(script, |wire| wire.dial(SERVER.parse().unwrap()));
        let mut mallory = Self { script, end, key };
        town.world.run_for(millis(500));
        mallory.ask(town, &Request::Hello(Features::ALL));
        town.world.run_for(millis(500));
        let nonce = mallory.replies(town).into_iter().find_map(|reply| match reply {
            Reply::Hello { nonce, .. } => nonce,
            _ => None,
        });
        let proof = proof::prove(
            &mallory.key,
            ProofRole::Signal,
            SERVER.parse().unwrap(),
            &nonce.expect("a nonce"),
            &Token::nonce(&mut town.world.network.random),
        );
        mallory.ask(town, &proof);
        town.world.run_for(millis(500));
        assert!(mallory.replies(town).contains(&Reply::Proven(mallory.key.id())), "not proven");
        mallory
    }

    fn ask(&mut self, town: &mut Town, request: &Request) {
        let mut line = Vec::new();
        request.write(&mut line);
        town.world.wire(self.script, |wire| wire.send(self.end, line));
    }

    fn replies(&self, town: &Town) -> Vec<Reply> {
        let lines = town.world.heard(self.script).iter().filter_map(|(_, input)| match input {
            Input::Line(line) => Reply::parse(line.as_bytes()),
            _ => None,
        });
        lines.collect()
    }

    /// What nodes have said to it.
    fn signals(&self, town: &Town) -> Vec<Signal> {
        let heard = self.replies(town).into_iter().filter_map(|reply| match reply {
            Reply::Signal(incoming) => signal::parse(incoming.text.as_str()),
            _ => None,
        });
        heard.collect()
    }

    fn answers(&self, town: &Town) -> usize {
        self.signals(town).iter().filter(|signal| matches!(signal.body, Body::Answer { .. })).count()
    }

    /// A call as it would go out.
    fn call(&self, to: NodeId, call: u8, unl: &Unl) -> Request {
        let body =
            Body::Call { unl: unl.to_string(), reverse: true, punch: true, relay: None, upgrade: false };
        self.signed(to, to, call, body)
    }

    fn signed(&self, to: NodeId, signed_for: NodeId, call: u8, body: Body) -> Request {
        let text = signal::print(&Signal { call: CallId::from_bytes([call; 16]), body });
        let signature = signal::sign(&self.key, &signed_for, &text);
        let text = SignalText::new(&text).expect("a sound text");
        Request::Signal(Box::new(Outgoing { to, observed: None, signature, text }))
    }
}

#[test]
fn a_caller_that_claims_a_victims_address_costs_it_twelve_syns_a_minute() {
    with_seeds(4, |seed| {
        for drops in [true, false] {
            let mut town = Town::with(seed, || RendezvousConfig::new().max_signals_per_minute(10_000));
            let node = town.node(1, PRESERVING);
            town.settle(&[node]);
            victim(&mut town.world, drops);
            let camp = town.world.computer("203.0.66.6");
            let began = town.world.now();
            let mut answers = 0;
            for n in 0..12 {
                let mut mallory = Mallory::new(&mut town, camp, key(100 + n));
                for m in 0..8 {
                    let unl =
                        aimed(100 + n, (0..8).map(|port| 2000 + u16::from(n) * 64 + u16::from(m) * 8 + port));
                    let call = mallory.call(id(1), n * 8 + m, &unl);
                    mallory.ask(&mut town, &call);
                    town.world.run_for(millis(500));
                }
                answers += mallory.answers(&town);
            }
            town.world.run_for(secs(60));
            let worst = worst_minute(&town.world, began..town.world.now());
            assert!((1..=12).contains(&worst), "{worst} SYNs in a minute");
            assert!(answers > 12, "only {answers} calls were taken");
            town.assert_nothing_left(node);
        }
    });
}

#[test]
fn only_what_was_signed_for_a_node_by_who_says_it_is_heard() {
    with_seeds(4, |seed| {
        let mut town = Town::new(seed);
        let nodes = [town.node(1, PRESERVING), town.node(2, PRESERVING)];
        town.settle(&nodes);
        victim(&mut town.world, true);
        let camp = town.world.computer("203.0.66.6");
        let mut mallory = Mallory::new(&mut town, camp, key(101));
        let mut other = Mallory::new(&mut town, camp, key(102));
        let unl = aimed(101, [80].into_iter());
        let body =
            || Body::Call { unl: unl.to_string(), reverse: true, punch: true, relay: None, upgrade: false };
        let began = town.world.now();
        let recorded = mallory.call(id(1), 1, &unl);
        // It was for somebody else; it was somebody else's; its text was changed; its UNL is another's.
        let for_another = mallory.signed(id(2), id(1), 2, body());
        let changed = match mallory.call(id(1), 3, &unl) {
            Request::Signal(mut signal) => {
                let text = signal.text.as_str().replace("0303", "0404");
                signal.text = SignalText::new(&text).expect("a sound text");
                Request::Signal(signal)
            }
            _ => unreachable!(),
        };
        let unl_of_another = other.call(id(1), 5, &unl);
        mallory.ask(&mut town, &for_another);
        mallory.ask(&mut town, &changed);
        other.ask(&mut town, &recorded);
        other.ask(&mut town, &unl_of_another);
        town.world.run_for(secs(10));
        assert_eq!((mallory.signals(&town), other.signals(&town)), (vec![], vec![]));
        for node in nodes {
            assert_eq!(town.census(node).calls, 0);
        }
        assert_eq!(town.world.syns_within(VICTIM, began..town.world.now()), 0);
        // The very same, from whom it is: that is a call.
        mallory.ask(&mut town, &recorded);
        town.world.run_for(secs(3));
        assert_eq!(mallory.answers(&town), 1);
        let dialled = town.world.syns_within(VICTIM, began..town.world.now());
        assert!(dialled > 0);
        // Played again, while it is under way and later, it is none.
        for _ in 0..5 {
            mallory.ask(&mut town, &recorded);
            town.world.run_for(secs(30));
        }
        assert_eq!(town.world.syns_within(VICTIM, began..town.world.now()), dialled);
        assert_eq!(town.census(nodes[0]).calls, 0);
    });
}

#[test]
fn a_flood_of_calls_is_taken_up_to_the_limits_and_refused_above() {
    with_seeds(3, |seed| {
        let mut town = Town::with(seed, || {
            RendezvousConfig::new()
                .max_clients_per_address(200)
                .max_nodes_per_address(200)
                .max_signals_per_minute(10_000)
                .max_signals_per_recipient(10_000)
                .max_signals_per_address(10_000)
        });
        let (_, computer) = town.house(1, PRESERVING);
        let node = town.world.peer(computer, direct(1).max_calls(8).max_calls_per_minute(40));
        town.settle(&[node]);
        let camp = town.world.computer("203.0.66.6");
        let mut crowd: Vec<Mallory> = (0..20).map(|n| Mallory::new(&mut town, camp, key(100 + n))).collect();
        let began = town.world.now();
        for round in 0..10u8 {
            for (n, mallory) in (0u8..).zip(&mut crowd) {
                let unl = Unl::builder(NodeType::Active).sign(&mallory.key).unwrap();
                let call = mallory.call(id(1), round * 20 + n, &unl);
                mallory.ask(&mut town, &call);
            }
            town.world.run_for(secs(5));
            let census = town.census(node);
            assert!(census.calls <= 8 && census.streams <= 16 && census.remembered <= 1024, "{census:?}");
        }
        assert!(town.world.now() - began < secs(60));
        let answers: usize = crowd.iter().map(|mallory| mallory.answers(&town)).sum();
        let busy = crowd
            .iter()
            .flat_map(|mallory| mallory.signals(&town))
            .filter(|signal| matches!(signal.body, Body::Refuse { why: RefuseWhy::Busy }));
        let busy = busy.count();
        assert!((8..=40).contains(&answers), "{answers} calls were taken");
        assert_eq!(answers + busy, 200, "each has its answer");
        town.world.run_for(secs(60));
        town.assert_nothing_left(node);
    });
}

#[test]
fn what_is_remembered_of_calls_has_a_limit() {
    with_seeds(1, |seed| {
        let mut town = Town::with(seed, || {
            RendezvousConfig::new()
                .max_signals_per_minute(100_000)
                .max_signals_per_recipient(100_000)
                .max_signals_per_address(100_000)
        });
        let node = town.node(1, PRESERVING);
        town.settle(&[node]);
        let camp = town.world.computer("203.0.66.6");
        let mut mallory = Mallory::new(&mut town, camp, key(101));
        let unl = Unl::builder(NodeType::Active).sign(&mallory.key).unwrap().to_string();
        for n in 0..1500u64 {
            let mut call = [0; 16];
            call[..8].copy_from_slice(&n.to_be_bytes());
            let body =
                Body::Call { unl: unl.clone(), reverse: true, punch: true, relay: None, upgrade: false };
            let text = signal::print(&Signal { call: CallId::from_bytes(call), body });
            let signature = signal::sign(&mallory.key, &id(1), &text);
            let text = SignalText::new(&text).unwrap();
            mallory.ask(
                &mut town,
                &Request::Signal(Box::new(Outgoing { to: id(1), observed: None, signature, text })),
            );
            if n % 100 == 99 {
                town.world.run_for(secs(1));
            }
        }
        let census = town.census(node);
        assert_eq!(census.remembered, 1024);
        assert!(census.calls <= 6, "one node's share: {census:?}");
    });
}

/// A server that says whatever leads to a punch at the victim. With its accomplice's key it answers calls, if it is to.
fn hostile_server(accomplice: Key, answers: bool) -> Behaviour {
    let keys: Rc<RefCell<Vec<(EndId, NodeId)>>> = Rc::default();
    Box::new(move |wire: &mut Wire<'_>, end, input| {
        let Input::Line(line) = input else { return };
        let Some(request) = Request::parse(line.as_bytes()) else { return };
        let mut out = Vec::new();
        let mut say = |reply: Reply| reply.write(&mut out);
        match request {
            Request::Hello(features) => {
                say(Reply::Hello { features, nonce: Token::new(&[b'a'; 32]) });
            }
            Request::Observers => say(Reply::Observers(Vec::new())),
            Request::Source { .. } => say(Reply::Remote { port: wire.peer(end).port() }),
            Request::Ping(token) => say(Reply::Pong(token)),
            Request::Whoami | Request::Observe(_) => say(Reply::Seen(wire.peer(end))),
            Request::Prove(proof) => {
                keys.borrow_mut().push((end, proof.key.id()));
                say(Reply::Proven(proof.key.id()));
            }
            Request::Signal(outgoing) => {
                say(Reply::Signaled { to: outgoing.to, outcome: Delivery::Delivered });
                let caller = keys.borrow().iter().find(|(of, _)| *of == end).map(|&(_, id)| id);
                let (Some(caller), Some(signal)) = (caller, signal::parse(outgoing.text.as_str())) else {
                    return;
                };
                let body = match signal.body {
                    Body::Call { .. } if answers => {
                        let unl = Unl::builder(NodeType::Active).nat(NatKind::Preserving).sign(&accomplice);
                        Body::Answer { unl: unl.unwrap().to_string(), punch: true, relay: None, second: None }
                    }
                    Body::Call { .. } | Body::Ready { .. } => {
                        Body::Meet { round: 1, port: 80, kind: Some(NatKind::Preserving), dial_in_us: 0 }
                    }
                    _ => return wire.send(end, out),
                };
                let text = signal::print(&Signal { call: signal.call, body });
                say(Reply::Signal(Box::new(Incoming {
                    from: accomplice.public(),
                    seen: at(VICTIM, 80),
                    observed: Some(at(VICTIM, 80)),
                    signature: signal::sign(&accomplice, &caller, &text),
                    text: SignalText::new(&text).unwrap(),
                })));
            }
            _ => {}
        }
        wire.send(end, out);
    })
}

#[test]
fn a_guest_that_attests_a_victims_address_costs_it_three_syns() {
    with_seeds(5, |seed| {
        for drops in [true, false] {
            let mut town = Town::new(seed);
            let node = town.node(1, PRESERVING);
            town.settle(&[node]);
            victim(&mut town.world, drops);
            let camp = town.world.computer("203.0.66.6");
            let accomplice = key(101);
            town.world.script(camp, Some(8000), hostile_server(accomplice.clone(), true));
            let unl = Unl::builder(NodeType::Active).nat(NatKind::Preserving).server("203.0.66.6:8000");
            let unl = unl.sign(&accomplice).unwrap();
            let began = town.world.now();
            let tried = town.failure(node, &unl);
            assert!(matches!(fault(&tried, Rung::Punch), RungFault::Missed { .. }), "{tried:?}");
            for _ in 0..20 {
                town.connect(node, &unl);
                town.world.run_for(secs(5));
            }
            let worst = worst_minute(&town.world, began..town.world.now());
            assert!((1..=3).contains(&worst), "{worst} SYNs in a minute");
        }
    });
}

/// It is believed, as it was chosen, and yet not without bounds.
#[test]
fn a_hostile_server_of_ones_own_costs_a_victim_no_more_than_punches_may_take() {
    with_seeds(3, |seed| {
        for drops in [true, false] {
            let mut town = Town::new(seed);
            victim(&mut town.world, drops);
            let camp = town.world.computer("203.0.66.6");
            let accomplice = key(101);
            town.world.script(camp, Some(8000), hostile_server(accomplice.clone(), true));
            let (_, computer) = town.house(1, PRESERVING);
            let config = Config::new().direct().port(50500).rendezvous("203.0.66.6:8000").key(key(1));
            let node = town.world.peer(computer, config);
            town.world.run_for(secs(15));
            let unl = Unl::builder(NodeType::Active).nat(NatKind::Preserving).server("203.0.66.6:8000");
            let unl = unl.sign(&accomplice).unwrap();
            let began = town.world.now();
            for _ in 0..40 {
                let connect = Connect::to(&unl);
                let refused = town.world.act(node, |node, now| node.connect_to(connect, now)).err();
                assert!(matches!(refused, None | Some(ConnectError::TooMany)));
                town.world.run_for(secs(3));
            }
            let worst = worst_minute(&town.world, began..town.world.now());
            let most = if drops { 40 } else { 3000 };
            assert!((4..=most).contains(&worst), "{worst} SYNs in a minute");
        }
    });
}

/// The answer comes through a server that is trusted, the attested address through one that is not.
#[test]
fn a_guest_can_not_borrow_the_trust_in_another_server() {
    with_seeds(5, |seed| {
        for drops in [true, false] {
            let mut town = Town::new(seed);
            let node = town.node(1, PRESERVING);
            town.settle(&[node]);
            victim(&mut town.world, drops);
            let camp = town.world.computer("203.0.66.6");
            let accomplice = key(101);
            town.world.script(camp, Some(8000), hostile_server(accomplice.clone(), false));
            let mut mallory = Mallory::new(&mut town, camp, accomplice.clone());
            let unl = Unl::builder(NodeType::Active).nat(NatKind::Preserving).server(SERVER);
            let unl = unl.server("203.0.66.6:8000").sign(&accomplice).unwrap();
            let began = town.world.now();
            let attempt = town.connect(node, &unl);
            // As soon as the call comes, it is answered.
            for _ in 0..200 {
                town.world.run_for(millis(5));
                if let Some(call) = mallory.signals(&town).first().map(|signal| signal.call) {
                    let body = Body::Answer { unl: unl.to_string(), punch: true, relay: None, second: None };
                    let text = signal::print(&Signal { call, body });
                    let signature = signal::sign(&accomplice, &id(1), &text);
                    let text = SignalText::new(&text).unwrap();
                    let signal = Outgoing { to: id(1), observed: None, signature, text };
                    mallory.ask(&mut town, &Request::Signal(Box::new(signal)));
                    break;
                }
            }
            assert!(town.wait(node, attempt).is_err());
            let dialled = town.world.syns_within(VICTIM, began..town.world.now());
            assert!(dialled <= 3, "{dialled} SYNs");
        }
    });
}

/// Anybody can say whose key he has, as it stands in its UNL. Until that is proven it takes nothing from those that have it.
#[test]
fn who_claims_to_be_the_node_that_is_being_connected_to_does_not_keep_it_away() {
    with_seeds(6, |seed| {
        let mut town = Town::new(seed);
        let (larger, smaller) = if id(2) > id(1) { (2, 1) } else { (1, 2) };
        let (caller, callee) = (town.node(smaller, Home::Public), town.node(larger, Home::Public));
        town.settle(&[caller, callee]);
        let camp = town.world.computer("203.0.66.6");
        let script = town.world.script(camp, None, Box::new(|_, _, _| {}));
        let hello = Hello {
            key: key(larger).public(),
            nonce: LinkNonce::from_bytes([7; 16]),
            credit: 1000,
            call: None,
            upgrade: false,
        }
        .print();
        let unl = town.unl(callee);
        let undisturbed = town.link(caller, only(&unl, Rung::Direct));
        town.world.act(caller, |node, now| node.close(undisturbed.con, now));
        town.world.run_for(secs(10));
        let end = town.world.wire(script, |wire| wire.dial(at(&ip(smaller.into()), 50500)));
        town.world.run_for(millis(500));
        let attempt = town.connect(caller, only(&unl, Rung::Direct));
        // While our hello is under way, there comes another.
        assert!(town.world.run_until(secs(1), |world| world.node(caller).census().greetings == 2));
        town.world.wire(script, |wire| wire.send(end, &hello));
        let turns = town.world.turns(caller);
        let link = town.wait(caller, attempt).unwrap_or_else(|why| panic!("{why}"));
        // As long as the real one's proof might be under way. Two round trips are what the greeting itself takes.
        let proof = millis(500).max(undisturbed.took * 3 / 2);
        assert!(link.took < undisturbed.took + proof + millis(100), "{link:?} {undisturbed:?}");
        let turns = town.world.turns(caller) - turns;
        assert!(turns < 20, "it waits quietly: {turns} turns");
        assert_eq!(town.world.node(caller).node_id(link.con), Some(id(larger)));
        town.world.run_for(secs(10));
        assert_eq!(town.world.count(caller), 1);
        town.assert_nothing_left(caller);
    });
}

/// Where somebody else is at the node's address, and says so, the attempt is over: a hello that is never proven keeps that back
/// for a moment only.
#[test]
fn who_claims_to_be_a_node_does_not_keep_an_attempt_from_failing() {
    with_seeds(6, |seed| {
        let mut town = Town::new(seed);
        let (ours, theirs) = if seed % 2 == 0 { (1, 2) } else { (2, 1) };
        let node = town.node(ours, Home::Public);
        town.settle(&[node]);
        let camp = town.world.computer("203.0.66.6");
        let hang_up: Behaviour = Box::new(|wire, end, input| {
            if let Input::Line(_) = input {
                wire.close(end);
            }
        });
        town.world.script(camp, Some(80), hang_up);
        let liar = town.world.script(camp, None, Box::new(|_, _, _| {}));
        let end = town.world.wire(liar, |wire| wire.dial(at(&ip(ours.into()), 50500)));
        town.world.run_for(millis(300));
        let unl = Unl::builder(NodeType::Passive).wan(at("203.0.66.6", 80)).sign(&key(theirs)).unwrap();
        let began = town.world.now();
        let attempt = town.connect(node, only(&unl, Rung::Direct));
        assert!(town.world.run_until(secs(1), |world| world.node(node).census().greetings == 2));
        let hello = Hello {
            key: key(theirs).public(),
            nonce: LinkNonce::from_bytes([7; 16]),
            credit: 1000,
            call: None,
            upgrade: false,
        }
        .print();
        town.world.wire(liar, |wire| wire.send(end, &hello));
        assert!(town.wait(node, attempt).is_err());
        let took = town.world.now() - began;
        assert!(took < secs(3), "{took:?}");
        town.world.run_for(secs(20));
        town.assert_nothing_left(node);
    });
}

/// Two hellos of a node to which there has just been a link wait until it must know of that: one is a lie, which shows first.
#[test]
fn of_two_hellos_that_wait_the_true_one_leads_to_a_link() {
    with_seeds(6, |seed| {
        let mut town = Town::new(seed);
        let node = town.node(1, Home::Public);
        let (_, computer) = town.house(2, Home::Public);
        let lost = town.world.peer(computer, direct(2));
        town.settle(&[node, lost]);
        let camp = town.world.computer("203.0.66.6");
        let dialling = Dialling::new(Some(id(1)), None, false, LinkNonce::from_bytes([9; 16]), 1000);
        let hello = dialling.first_line(&key(2));
        let prove: Behaviour = Box::new(move |wire, end, input| {
            let Input::Line(line) = input else { return };
            if let Step::Proven { send: Some(proof), .. } = dialling.handle_line(line.as_bytes(), &key(2)) {
                wire.send(end, proof);
            }
        });
        let liar = town.world.script(camp, None, Box::new(|_, _, _| {}));
        let honest = town.world.script(camp, None, prove);
        let ends = [liar, honest].map(|script| {
            let end = town.world.wire(script, |wire| wire.dial(at(&ip(1), 50500)));
            town.world.run_for(millis(150));
            end
        });
        let unl = town.unl(lost);
        let link = town.link(node, only(&unl, Rung::Direct));
        town.world.power_off(computer);
        let lie = Hello {
            key: key(2).public(),
            nonce: LinkNonce::from_bytes([7; 16]),
            credit: 1000,
            call: None,
            upgrade: false,
        }
        .print();
        town.world.wire(liar, |wire| wire.send(ends[0], [&lie[..], b"no proof\r\n"].concat()));
        town.world.wire(honest, |wire| wire.send(ends[1], &hello));
        town.world.run_for(secs(8));
        let con = town.con_of(node, id(2)).expect("a link");
        assert_ne!(con, link.con, "it has replaced the one that was lost");
        assert_eq!(town.world.count(node), 1);
        assert_eq!(close_reasons(&mut town.world, node), [CloseReason::Replaced]);
        town.assert_nothing_left(node);
    });
}
