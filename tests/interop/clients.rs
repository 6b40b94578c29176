//! What pyp2p's client code does at a rendezvous server, whoever's that is.

use std::collections::BTreeSet;

use serde_json::json;

use crate::Street;
use crate::driver::Python;
use crate::server::Server;
use crate::typist::Typist;

pub(crate) fn bootstraps(python: &Python, street: Street, server: &Server) {
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

pub(crate) fn registers_passive(python: &Python, street: Street, server: &Server) {
    let mut client = python.client(street.house(2), server.address);
    // It closes the connection as soon as it has sent the line.
    assert_eq!(client.step("passive 50501 10")["ok"], 1);

    let mut typist = Typist::new(street.house(3), server.address);
    let nodes = typist.sees_nodes(|nodes| !nodes.is_empty());
    assert_eq!(nodes, [format!("p:{}:50501", street.house(2))]);
}

pub(crate) fn asks_source_port(python: &Python, street: Street, server: &Server) {
    let mut client = python.client(street.house(2), server.address);
    let answer = client.step("source");
    assert_eq!(answer["nat"], "preserving", "there is no NAT in between: {answer}");
    let ports = answer["ports"].as_array().expect("a list");
    assert_eq!(ports.len(), 5);
    assert!(ports.iter().all(|port| port.as_u64().is_some_and(|port| port >= 1024)), "{ports:?}");
}

pub(crate) fn arranges_a_fight(python: &Python, street: Street, server: &Server) {
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
    // A server of ours passes on microseconds; a float of Python's may have had a digit more.
    let [here, there] = [&fight[2], &accepted[2]].map(|time| {
        let time = time.as_str().and_then(|time| time.parse::<f64>().ok());
        time.unwrap_or_else(|| panic!("no time: {fight}, {accepted}"))
    });
    assert!((here - there).abs() < 2e-6, "they meet at the same time: {fight}, {accepted}");
    let set: Vec<String> = candidate.lines("received");
    assert_eq!(set[1], "PREDICTION SET", "{set:?}");
}

pub(crate) fn clears(python: &Python, street: Street, server: &Server) {
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
