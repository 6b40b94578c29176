//! The client and the server, joined without sockets.

mod relaying;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::client::{Advert, AdvertKind, Client, ClientAction, ClientConfig, ClientEvent, DownWhy};
use super::server::{ClientId, Limits, ProbeId, Server, ServerAction};
use crate::random::Random;
use crate::reach::ServerKind;
use crate::time::{Instant, soonest};
use crate::wire::probe;
use crate::wire::rendezvous::{Features, Listed, Ntp, Ports, Token, Verdict};

const WALL: Duration = Duration::from_secs(1_700_000_000);

/// Some clients and a server under one clock; lines arrive at once.
struct World {
    now: Instant,
    random: Random,
    server: Server,
    /// Whether dials succeed.
    up: bool,
    nodes: Vec<Node>,
    next_client: u64,
}

struct Node {
    client: Client,
    from: SocketAddr,
    connection: Option<ClientId>,
    events: Vec<ClientEvent>,
    /// The nonce with which it answers at its port, to whoever asks.
    awaits: Option<Token>,
}

impl World {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let mut random = Random::from_number(7);
        let server = Server::new(limits, random.fork(), WALL);
        Self { now: Instant::ZERO, random, server, up: true, nodes: Vec::new(), next_client: 0 }
    }

    fn add(&mut self, from: &str) -> usize {
        self.add_with(from, ClientConfig::default())
    }

    fn add_with(&mut self, from: &str, config: ClientConfig) -> usize {
        let client = Client::new(config, self.random.fork());
        let from = from.parse().unwrap();
        self.nodes.push(Node { client, from, connection: None, events: Vec::new(), awaits: None });
        self.nodes.len() - 1
    }

    /// A node that listens on `port` and wants neighbours.
    fn join(&mut self, from: &str, port: u16) -> usize {
        let node = self.add(from);
        let advert = Advert { kind: AdvertKind::Passive, port, max_inbound: 10 };
        self.nodes[node].client.set_advert(Some(advert), self.now);
        self.nodes[node].client.set_wanted(10, self.now);
        self.settle();
        node
    }

    /// Lets `seconds` pass, deadline by deadline.
    fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            self.settle();
            let clients = self.nodes.iter().map(|node| node.client.poll_timeout()).fold(None, soonest);
            let Some(due) = soonest(clients, self.server.poll_timeout()).filter(|due| *due <= end) else {
                break;
            };
            self.now = self.now.max(due);
            self.server.handle_timeout(self.now);
            for node in &mut self.nodes {
                node.client.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    /// Does all that is to be done at this instant.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 1000, "no end of actions");
            let busy = (0..self.nodes.len()).filter(|&node| self.serve(node)).count();
            if !self.notify() && busy == 0 {
                return;
            }
        }
    }

    fn serve(&mut self, index: usize) -> bool {
        let (now, up) = (self.now, self.up);
        let node = &mut self.nodes[index];
        node.events.extend(std::iter::from_fn(|| node.client.poll_event()));
        match node.client.poll_action() {
            None => return false,
            Some(ClientAction::Dial) if up => {
                self.next_client += 1;
                let id = ClientId(self.next_client);
                node.connection = Some(id);
                let server = SocketAddr::new(node.from.ip(), 8000);
                self.server.handle_connected(id, node.from, server, now);
                node.client.handle_connected(node.from, server, now);
            }
            Some(ClientAction::Dial) => node.client.handle_disconnected(now),
            Some(ClientAction::Hangup) => {
                if let Some(id) = node.connection.take() {
                    self.server.handle_closed(id, now);
                }
            }
            Some(ClientAction::Send(text)) => {
                let Some(id) = node.connection else { return true };
                let mut reply = Vec::new();
                for line in lines(&text) {
                    self.server.handle_line(id, line, now, &mut reply);
                }
                for line in lines(&reply) {
                    node.client.handle_line(line, now);
                }
            }
        }
        true
    }

    fn notify(&mut self) -> bool {
        let actions: VecDeque<_> = std::iter::from_fn(|| self.server.poll_action()).collect();
        let busy = !actions.is_empty();
        for action in actions {
            let client = match action {
                ServerAction::Dial { probe, to, .. } => {
                    self.dial(probe, to);
                    continue;
                }
                ServerAction::Abandon { .. } | ServerAction::Splice { .. } | ServerAction::Tell(_) => {
                    continue;
                }
                ServerAction::Send { client, .. } | ServerAction::Close { client, .. } => client,
            };
            let Some(node) = self.nodes.iter_mut().find(|node| node.connection == Some(client)) else {
                continue;
            };
            match action {
                ServerAction::Send { text, .. } => {
                    lines(&text).for_each(|line| node.client.handle_line(line, self.now));
                }
                ServerAction::Close { .. } => {
                    node.connection = None;
                    node.client.handle_disconnected(self.now);
                }
                ServerAction::Dial { .. }
                | ServerAction::Abandon { .. }
                | ServerAction::Splice { .. }
                | ServerAction::Tell(_) => {
                    unreachable!("see above")
                }
            }
        }
        busy
    }

    /// The first node that listens at the address of the probe answers it.
    fn dial(&mut self, probe: ProbeId, to: SocketAddr) {
        let listens = |node: &&Node| node.awaits.is_some() && node.from.ip() == to.ip();
        if let Some(nonce) = self.nodes.iter().find(listens).and_then(|node| node.awaits) {
            let answer = probe::answer(&nonce);
            lines(&answer).for_each(|line| self.server.handle_probe_line(probe, line));
        }
    }

    /// The server dies, and with it what it knew.
    fn crash(&mut self) {
        self.up = false;
        self.server = Server::new(Limits::default(), self.random.fork(), WALL);
        for node in &mut self.nodes {
            if node.connection.take().is_some() {
                node.client.handle_disconnected(self.now);
            }
        }
    }

    fn events(&mut self, node: usize) -> Vec<ClientEvent> {
        self.settle();
        std::mem::take(&mut self.nodes[node].events)
    }

    /// The nodes of the last answer, and whether they are newer.
    fn heard_of(&mut self, node: usize) -> BTreeMap<String, bool> {
        let events = self.events(node);
        let last = events.into_iter().rev().find_map(|event| match event {
            ClientEvent::Nodes(nodes) => Some(nodes),
            _ => None,
        });
        let nodes = last.expect("an answer").into_iter();
        nodes.map(|Listed { addr, newer }| (addr.to_string(), newer)).collect()
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r\n").expect("a line end"))
}

fn one(addr: &str, newer: bool) -> BTreeMap<String, bool> {
    BTreeMap::from([(addr.to_owned(), newer)])
}

#[test]
fn the_later_of_two_nodes_hears_of_the_earlier_at_once_and_the_earlier_within_a_minute() {
    let mut world = World::new();
    let first = world.join("203.0.113.7:4001", 1);
    assert!(world.heard_of(first).is_empty());
    let second = world.join("203.0.113.8:4001", 2);
    assert_eq!(world.heard_of(second), one("203.0.113.7:1", false));
    world.wait(60);
    assert_eq!(world.heard_of(first), one("203.0.113.8:2", true));
}

#[test]
fn nodes_of_one_machine_household_and_over_ipv6_find_each_other() {
    for host in ["127.0.0.1", "203.0.113.7", "[::1]", "[2001:db8::7]"] {
        let mut world = World::new();
        world.join(&format!("{host}:4001"), 1);
        let second = world.join(&format!("{host}:4002"), 2);
        assert_eq!(world.heard_of(second), one(&format!("{host}:1"), false));
    }
}

#[test]
fn a_server_that_comes_back_with_nothing_knows_all_again_within_a_minute() {
    let mut world = World::new();
    let nodes: Vec<usize> = (1..20).map(|i| world.join(&format!("203.0.113.{i}:1"), 1)).collect();
    world.wait(1000);
    world.crash();
    world.wait(20);
    world.up = true;
    world.wait(60);
    assert_eq!(world.server.nodes(), 19);
    let downs = world.events(nodes[0]).into_iter().filter_map(|event| match event {
        ClientEvent::Down { why, .. } => Some(why),
        _ => None,
    });
    assert_eq!(downs.take(2).collect::<Vec<_>>(), [DownWhy::Closed, DownWhy::Unreachable]);
}

#[test]
fn a_day_goes_by_without_a_lost_connection() {
    let mut world = World::new();
    let node = world.join("203.0.113.7:4001", 1);
    world.wait(2 * 24 * 3600);
    assert_eq!((world.server.nodes(), world.next_client), (1, 1));
    assert!(!world.events(node).iter().any(|event| matches!(event, ClientEvent::Down { .. })));
}

#[test]
fn who_leaves_is_forgotten() {
    let mut world = World::new();
    let node = world.join("203.0.113.7:4001", 1);
    assert_eq!(world.server.nodes(), 1);
    world.nodes[node].client.leave(world.now);
    assert_eq!(world.events(node).pop(), Some(ClientEvent::Left));
    assert_eq!((world.server.nodes(), world.server.clients()), (0, 0));
}

#[test]
fn any_common_set_of_features_works() {
    let all = [
        Features::PEERS,
        Features::SEEN,
        Features::PING,
        Features::LISTED,
        Features::OBSERVERS,
        Features::PROBE,
    ];
    let sets = (0..64).map(|bits| {
        let dropped = all.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 0);
        dropped.fold(Features::ALL.without(Features::PROVEN), |set, (_, feature)| set.without(*feature))
    });
    for features in sets {
        for (offered, known) in [(features, Features::ALL), (Features::ALL, features)] {
            let mut world = World::with(Limits { features: known, ..Limits::default() });
            let config = ClientConfig { features: offered, ..ClientConfig::default() };
            let node = world.add_with("203.0.113.7:4001", config);
            let advert = Advert { kind: AdvertKind::Passive, port: 1, max_inbound: 1 };
            world.nodes[node].client.set_advert(Some(advert), world.now);
            world.nodes[node].client.set_wanted(1, world.now);
            world.wait(600);
            let events = world.events(node);
            let plain = offered == Features::NONE;
            let (kind, seen) = match &events[0] {
                ClientEvent::Up { kind, seen, features: agreed, .. } => {
                    assert_eq!(*agreed, features);
                    (*kind, seen.is_some())
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(kind, if plain { ServerKind::Pyp2p } else { ServerKind::P2poll });
            assert_eq!(seen, features.has(Features::SEEN));
            let mut events = events.into_iter().skip(1);
            if features.has(Features::OBSERVERS) {
                assert_eq!(events.next(), Some(ClientEvent::Observers(Vec::new())));
            }
            assert_eq!(events.next(), Some(ClientEvent::Advertised));
            assert!(!events.any(|event| matches!(event, ClientEvent::Down { .. })));
            let nonce = Token::from_number(1);
            assert_eq!(world.nodes[node].client.probe(1, nonce, world.now), features.has(Features::PROBE));
            world.nodes[node].client.leave(world.now);
            world.settle();
            assert_eq!(world.server.nodes(), 0, "{features:?}");
        }
    }
}

#[test]
fn a_punch_is_arranged_between_two_clients() {
    let mut world = World::new();
    let (waiting, asking) = (world.add("203.0.113.7:4001"), world.add("198.51.100.1:4001"));
    let advert = Advert { kind: AdvertKind::Simultaneous, port: 0, max_inbound: 0 };
    world.nodes[waiting].client.set_advert(Some(advert), world.now);
    world.settle();
    let ports = Ports::new([4000, 4001]).unwrap();
    let (here, there) = (world.nodes[waiting].from.ip(), world.nodes[asking].from.ip());
    assert!(world.nodes[asking].client.candidate(here, ports.clone(), world.now));
    let challenge = ClientEvent::Challenge { ip: there, ports: ports.clone() };
    assert_eq!(world.events(waiting).pop(), Some(challenge));
    assert_eq!(world.events(asking).pop(), Some(ClientEvent::PredictionSet));
    let ntp = Ntp::from_unix(WALL + Duration::from_micros(1_000_001));
    assert!(world.nodes[waiting].client.accept(there, ports.clone(), ntp, world.now));
    assert_eq!(world.events(asking).pop(), Some(ClientEvent::Fight { ip: here, ports, ntp }));
}

#[test]
fn a_node_learns_whether_its_port_can_be_reached_and_where_else_the_server_is() {
    let mut world = World::new();
    let places = ["203.0.113.7:8000", "0.0.0.0:8001", "192.0.2.1:8000"];
    world.server.handle_listening(places.map(|place| place.parse().unwrap()).to_vec());
    let node = world.join("203.0.113.7:4001", 1);
    let observers = ["203.0.113.7:8001", "192.0.2.1:8000"].map(|place| place.parse().unwrap()).to_vec();
    assert!(world.events(node).contains(&ClientEvent::Observers(observers)));
    let nonce = Token::from_number(7);
    for (awaits, verdict) in
        [(Some(nonce), Verdict::Yes), (None, Verdict::No), (Some(Token::from_number(8)), Verdict::No)]
    {
        world.nodes[node].awaits = awaits;
        let asked = world.now;
        assert!(world.nodes[node].client.probe(1, nonce, asked));
        assert_eq!(world.events(node), []);
        while world.now < asked + Duration::from_millis(500) {
            assert_eq!(world.events(node), []);
            world.now = world.now + Duration::from_millis(50);
            world.server.handle_timeout(world.now);
        }
        assert_eq!(world.events(node), [ClientEvent::Probed { port: 1, verdict: Some(verdict) }]);
    }
}
