//! Two clients and two halves of a relay with one server.

use std::sync::Arc;

use super::*;
use crate::identity::{Key, Signature};
use crate::proto::rendezvous::client::Outcome;
use crate::proto::rendezvous::relay_dial::{RelayDial, RelayFault};
use crate::wire::proof::{Denial, Ticket};
use crate::wire::relay::{RelayLimits, RelayRefusal};
use crate::wire::rendezvous::{Delivery, Incarnation};

const SERVER: &str = "203.0.113.1:8000";

fn key(number: u8) -> Arc<Key> {
    Arc::new(Key::from_seed(&[number; 32]))
}

fn keyed(number: u8) -> ClientConfig {
    ClientConfig { key: Some(key(number)), ..ClientConfig::default() }
}

#[test]
fn a_signal_reaches_a_node_that_is_there_and_one_that_comes_soon() {
    let mut world = World::new();
    let alice = world.add_with("203.0.113.1:1001", keyed(1));
    world.nodes[alice].client.set_curious(world.now);
    world.settle();
    let say = |world: &mut World, text: &str| {
        let now = world.now;
        assert!(world.nodes[alice].client.signal(key(2).id(), None, [7; 64], text, now));
        world.settle();
    };
    say(&mut world, "early");
    let bob = world.add_with("203.0.113.2:1002", keyed(2));
    world.nodes[bob].client.set_curious(world.now);
    world.settle();
    say(&mut world, "late");
    let heard: Vec<_> = world.nodes[bob]
        .events
        .iter()
        .filter_map(|event| match event {
            ClientEvent::Signal(signal) => {
                Some((signal.from == key(1).public(), signal.seen.to_string(), signal.text.as_str()))
            }
            _ => None,
        })
        .collect();
    let from = || "203.0.113.1:1001".to_owned();
    assert_eq!(heard, [(true, from(), "early"), (true, from(), "late")]);
    let told = |event: &ClientEvent| match event {
        ClientEvent::Signaled { outcome: Outcome::Told(delivery), .. } => Some(*delivery),
        _ => None,
    };
    let told: Vec<_> = world.nodes[alice].events.iter().filter_map(told).collect();
    assert_eq!(told, [Delivery::Stored, Delivery::Delivered]);
    world.wait(100_000);
    assert!(world.nodes.iter().all(|node| node.client.is_proven()), "they stay");
}

#[test]
fn of_two_nodes_with_one_key_the_first_is_called_until_it_leaves() {
    let mut world = World::new();
    let process = |number| ClientConfig { incarnation: Some(Incarnation::from_number(number)), ..keyed(1) };
    let first = world.add_with("203.0.113.7:4001", process(1));
    let second = world.add_with("203.0.113.8:4001", process(2));
    for node in [first, second] {
        world.nodes[node].client.set_curious(world.now);
        world.wait(5000);
    }
    let proven = |world: &World| [first, second].map(|node| world.nodes[node].client.is_proven());
    assert_eq!(proven(&world), [true, false]);
    let told = ClientEvent::InUse("203.0.113.8:4001".parse().unwrap());
    assert!(world.nodes[first].events.contains(&told));
    assert!(world.nodes[second].events.iter().any(|event| matches!(event, ClientEvent::Denied { .. })));
    let now = world.now;
    world.nodes[first].client.leave(now);
    world.wait(1000);
    assert_eq!(proven(&world), [false, true]);
    world.wait(100_000);
    assert_eq!(proven(&world), [false, true]);
}

#[test]
fn a_key_and_any_set_of_features_go_together() {
    let all = [Features::ID, Features::OBSERVE, Features::SIGNAL, Features::RELAY];
    for bits in 0..16 {
        let dropped = all.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 0);
        let features = dropped.fold(Features::ALL, |set, (_, feature)| set.without(*feature));
        let mut world = World::with(Limits { features, ..Limits::default() });
        let node = world.add_with("203.0.113.7:4001", keyed(1));
        world.nodes[node].client.set_curious(world.now);
        world.wait(600);
        let client = &mut world.nodes[node].client;
        assert_eq!(client.agreed(), features.without(Features::INCARNATION), "that process has no number");
        assert_eq!(client.is_proven(), features.has(Features::ID));
        let signals = client.signal(key(2).id(), None, [0; 64], "x", world.now);
        assert_eq!(signals, features.has(Features::ID.or(Features::SIGNAL)));
        world.wait(600);
        let down = |event: &ClientEvent| matches!(event, ClientEvent::Down { .. });
        assert!(!world.events(node).iter().any(down));
    }
}

/// A half of a relay, its server's answers played by a server.
struct Half {
    id: ClientId,
    dial: RelayDial,
}

fn ticket(number: u8) -> (Ticket, (Signature, Signature)) {
    let ticket = Ticket {
        server: SERVER.parse().unwrap(),
        session: [number; 16],
        caller: key(1).public(),
        callee: key(2).public(),
    };
    let signatures = (ticket.sign(&key(1)), ticket.sign(&key(2)));
    (ticket, signatures)
}

fn half(server: &mut Server, id: u64, holder: u8, dialled: &str, now: Instant) -> Half {
    let (ticket, signatures) = ticket(1);
    let nonce = Token::new(&[b'e'; 32]).unwrap();
    let deadline = now + Duration::from_secs(20);
    let dialled = dialled.parse().unwrap();
    let mut dial = RelayDial::new(key(holder), &ticket, signatures, dialled, nonce, deadline);
    let id = ClientId(id);
    server.handle_connected(
        id,
        SocketAddr::from(([203, 0, 113, 1], 5000 + id.0 as u16)),
        SERVER.parse().unwrap(),
        now,
    );
    let mut out = Some(dial.handle_connected());
    while let Some(text) = out {
        let mut reply = Vec::new();
        for line in lines(&text) {
            server.handle_line(id, line, now, &mut reply);
        }
        for line in lines(&reply) {
            dial.handle_line(line, now);
        }
        out = dial.poll_send();
    }
    Half { id, dial }
}

#[test]
fn two_ends_meet_in_a_relay() {
    let relay = RelayLimits { bytes: 1 << 30, seconds: 7200, rate: 1 << 20 };
    let limits = Limits { relay, ..Limits::default() };
    let (mut server, now) = (Server::new(limits, Random::from_number(1), WALL), Instant::ZERO);
    let mut first = half(&mut server, 1, 2, SERVER, now);
    assert_eq!(first.dial.outcome(), None);
    assert_eq!(first.dial.poll_timeout(), Some(now + Duration::from_secs(20)));
    let second = half(&mut server, 2, 1, SERVER, now);
    assert_eq!(second.dial.outcome(), Some(Ok(relay)));
    let Some(ServerAction::Send { client, text }) = server.poll_action() else { panic!("no word") };
    assert_eq!(client, first.id);
    first.dial.handle_line(text.trim_ascii_end(), now);
    assert_eq!((first.dial.outcome(), first.dial.poll_timeout()), (Some(Ok(relay)), None));
    assert_eq!(server.poll_action(), Some(ServerAction::Splice { a: first.id, b: second.id }));
}

#[test]
fn an_end_learns_why_there_is_no_relay() {
    let now = Instant::ZERO;
    let outcome = |limits: Limits, holder, dialled: &str| {
        let mut server = Server::new(limits, Random::from_number(1), WALL);
        half(&mut server, 1, holder, dialled, now).dial.outcome()
    };
    let off = Limits { features: Features::ALL.without(Features::RELAY), ..Limits::default() };
    assert_eq!(outcome(off, 1, SERVER), Some(Err(RelayFault::Unknown)));
    let full = Limits { relays: 0, ..Limits::default() };
    assert_eq!(outcome(full, 1, SERVER), Some(Err(RelayFault::Refused(RelayRefusal::Full))));
    assert_eq!(outcome(Limits::default(), 3, SERVER), Some(Err(RelayFault::Refused(RelayRefusal::Proof))));
    let elsewhere = "203.0.113.1:8001";
    assert_eq!(outcome(Limits::default(), 1, elsewhere), Some(Err(RelayFault::Denied(Denial::Address))));
}

#[test]
fn an_end_waits_no_longer_than_it_was_told_and_believes_no_nonsense() {
    let begin = || {
        let mut server = Server::new(Limits::default(), Random::from_number(1), WALL);
        half(&mut server, 1, 1, SERVER, Instant::ZERO).dial
    };
    let mut dial = begin();
    dial.handle_timeout(Instant::ZERO + Duration::from_secs(19));
    assert_eq!(dial.outcome(), None);
    dial.handle_timeout(Instant::ZERO + Duration::from_secs(20));
    assert_eq!(dial.outcome(), Some(Err(RelayFault::Slow)));
    let mut dial = begin();
    dial.handle_disconnected();
    dial.handle_line(b"RELAYED 0 0 0", Instant::ZERO);
    assert_eq!(dial.outcome(), Some(Err(RelayFault::Lost)));
    for nonsense in ["PROVEN 21fe31dfa154a261626bf854046fd2271b7bed4b", "RELAYED", "hello"] {
        let mut dial = begin();
        dial.handle_line(nonsense.as_bytes(), Instant::ZERO);
        assert_eq!(dial.outcome(), Some(Err(RelayFault::Nonsense)), "{nonsense}");
    }
}
