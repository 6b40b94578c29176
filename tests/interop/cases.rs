//! What is tried, and what must come of it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;

use crate::Street;
use crate::driver::{Driver, Python};
use crate::typist::Typist;

/// A named case. Panics when it fails.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Python, Street),
}

macro_rules! cases {
    ($($name:ident = $run:expr,)*) => {
        /// All cases, in the order of their streets.
        pub(crate) const CASES: &[Case] = &[$(Case { name: stringify!($name), run: $run },)*];
    };
}

cases! {
    pyp2p_client_bootstraps_from_pyp2p_server = |python, street| bootstraps(python, street, theirs),
    pyp2p_client_registers_passive_at_pyp2p_server = |python, street| registers_passive(python, street, theirs),
    pyp2p_client_asks_source_port_of_pyp2p_server = |python, street| asks_source_port(python, street, theirs),
    pyp2p_clients_arrange_a_fight_at_pyp2p_server = |python, street| arranges_a_fight(python, street, theirs),
    pyp2p_client_clears_at_pyp2p_server = |python, street| clears(python, street, theirs),
    lines_flow_between_pyp2p_nets_of_pyp2p_server = lines_flow_between_theirs,
}

/// A server that runs as long as this value lives.
struct Server {
    address: SocketAddr,
    _process: Driver,
}

type MakeServer = fn(&Python, Ipv4Addr) -> Server;

fn theirs(python: &Python, ip: Ipv4Addr) -> Server {
    let (process, address) = python.server(ip);
    Server { address, _process: process }
}

fn bootstraps(python: &Python, street: Street, make_server: MakeServer) {
    let server = make_server(python, street.house(1));
    let mut client = python.client(street.house(2), server.address);
    assert_eq!(client.step("bootstrap")["nodes"], json!([]));

    let mut listed = BTreeSet::new();
    for (house, port) in [(3, 4003), (4, 4004), (5, 65535)] {
        Typist::new(street.house(house), server.address).states(&format!("PASSIVE READY {port} 10"));
        listed.insert(json!(["passive", street.house(house).to_string(), port]).to_string());
    }
    let answer = client.step("bootstrap");
    let nodes = answer["nodes"].as_array().expect("a list");
    let nodes: BTreeSet<String> = nodes.iter().map(|node| node.to_string()).collect();
    assert_eq!(nodes, listed);
}

fn registers_passive(python: &Python, street: Street, make_server: MakeServer) {
    let server = make_server(python, street.house(1));
    let mut client = python.client(street.house(2), server.address);
    // It closes the connection as soon as it has sent the line.
    assert_eq!(client.step("passive 50501 10")["ok"], 1);

    let mut typist = Typist::new(street.house(3), server.address);
    let nodes = typist.sees_nodes(|nodes| !nodes.is_empty());
    assert_eq!(nodes, [format!("p:{}:50501", street.house(2))]);
}

fn asks_source_port(python: &Python, street: Street, make_server: MakeServer) {
    let server = make_server(python, street.house(1));
    let mut client = python.client(street.house(2), server.address);
    let answer = client.step("source");
    assert_eq!(answer["nat"], "preserving", "there is no NAT in between: {answer}");
    let ports = answer["ports"].as_array().expect("a list");
    assert_eq!(ports.len(), 5);
    assert!(ports.iter().all(|port| port.as_u64().is_some_and(|port| port >= 1024)), "{ports:?}");
}

fn arranges_a_fight(python: &Python, street: Street, make_server: MakeServer) {
    let server = make_server(python, street.house(1));
    let (node_ip, candidate_ip) = (street.house(2), street.house(3));
    let mut node = python.client(node_ip, server.address);
    let mut candidate = python.client(candidate_ip, server.address);
    let registered = node.step("simultaneous");
    assert_eq!(registered["ok"], 1);
    node.tell("watch");
    // The registration has no answer, but it is in the server's socket by now, and a candidate speaks only
    // after the server has answered it once.
    let fight = candidate.step(&format!("candidate {node_ip}"))["fight"].clone();
    let accepted = node.wait_for("accepted")["meeting"].clone();
    assert_eq!(fight[0], node_ip.to_string());
    assert_eq!(fight[1], registered["predictions"]);
    assert_eq!(accepted[0], candidate_ip.to_string());
    assert_eq!(fight[2], accepted[2], "they meet at the same time");
    let set: Vec<String> = candidate.lines("received");
    assert_eq!(set[1], "PREDICTION SET", "{set:?}");
}

fn clears(python: &Python, street: Street, make_server: MakeServer) {
    let server = make_server(python, street.house(1));
    let mut client = python.client(street.house(2), server.address);
    let mut typist = Typist::new(street.house(3), server.address);
    client.step("passive 50501 10");
    typist.sees_nodes(|nodes| !nodes.is_empty());
    client.step("simultaneous");
    let candidate = format!("CANDIDATE {} TCP 1001 1002", street.house(2));
    typist.states("SIMULTANEOUS READY 0 0");
    assert_eq!(typist.asks(&candidate), "PREDICTION SET");

    assert_eq!(client.step("clear")["ok"], 1);
    typist.sees_nodes(|nodes| nodes.is_empty());
    // Silence is the answer about a node that is not there; `states` fails on anything else.
    typist.states(&candidate);
}

fn lines_flow_between_theirs(python: &Python, street: Street) {
    let server = theirs(python, street.house(1));
    let (mut alice, address) = python.net(street.house(2), "passive", server.address);
    let (mut bob, _) = python.net(street.house(3), "active", server.address);
    alice.step("advertise");
    Typist::new(street.house(4), server.address).sees_nodes(|nodes| !nodes.is_empty());
    bob.step("bootstrap");
    let connected = bob.wait_for("connected");
    assert_eq!(connected["peer"], address.to_string());
    assert_eq!(connected["how"], "passive");
    assert_eq!(alice.wait_for("connected")["how"], "accept");

    bob.tell("send hello from bob");
    assert_eq!(alice.wait_for("line")["line"], "hello from bob");
    alice.tell("send hello from alice");
    assert_eq!(bob.wait_for("line")["line"], "hello from alice");
    alice.tell("stop");
    alice.wait_for("stopped");
    assert_eq!(bob.wait_for("closed")["peer"], address.to_string());
}
