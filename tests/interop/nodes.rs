//! Our node: at pyp2p's rendezvous server, and in lines with a pyp2p `Net`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use p2poll::{CloseReason, Event, NodeType, RendezvousNews, ServerKind, Via};

use crate::Street;
use crate::driver::Python;
use crate::node::Node;
use crate::server::Server;
use crate::typist::Typist;

/// The control: two of theirs.
pub(crate) fn theirs_talk(python: &Python, street: Street, server: &Server) {
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

pub(crate) fn bootstraps(street: Street, server: &mut Server) {
    // The backlog of a listener makes a connection without anybody to accept it.
    let listeners = [3, 4].map(|house| TcpListener::bind((street.house(house), 0)).expect("a port"));
    let others = listeners.each_ref().map(|listener| listener.local_addr().expect("bound"));
    for (house, other) in [3, 4].into_iter().zip(&others) {
        Typist::new(street.house(house), server.address)
            .states(&format!("PASSIVE READY {} 10", other.port()));
    }

    let mut node = Node::new(street.house(2), server.address, |config| config.node_type(NodeType::Active));
    assert_eq!(
        node.hears_news(|news| matches!(news, RendezvousNews::Up { .. })),
        RendezvousNews::Up { kind: ServerKind::Pyp2p, seen: None }
    );
    assert_eq!(node.hears_news(|news| matches!(news, RendezvousNews::Nodes(_))), RendezvousNews::Nodes(2));
    for other in others {
        node.sees(
            "a connection to each",
            |event| matches!(event, Event::Connected { peer, via: Via::Direct, .. } if *peer == other),
        );
    }
    let heard = server.heard_from(street.house(2), "QUIT");
    assert!(heard.iter().all(|line| !line.contains("READY")), "an active node is not listed: {heard:?}");
    assert_no_trouble(&node.leaves());
}

pub(crate) fn advertises_and_clears(street: Street, server: &mut Server) {
    let mut node = Node::new(street.house(2), server.address, |config| config);
    node.hears_news(|news| *news == RendezvousNews::Advertised);
    // That is the last answer, upon which it says goodbye to a server that it need not stay with.
    node.hears_news(|news| matches!(news, RendezvousNews::Nodes(_)));
    let (ip, port) = (street.house(2), node.address().port());
    let mut typist = Typist::new(street.house(3), server.address);
    assert_eq!(typist.sees_nodes(|nodes| !nodes.is_empty()), [format!("p:{ip}:{port}")]);

    let heard = server.heard_from(ip, "QUIT");
    assert!(heard.contains(&format!("PASSIVE READY {port} 10")), "{heard:?}");
    assert!(!heard.contains(&"CLEAR".to_owned()), "{heard:?}");

    assert_no_trouble(&node.leaves());
    typist.sees_nodes(|nodes| nodes.is_empty());
    let heard = server.heard_from(ip, "CLEAR");
    assert_eq!(heard.iter().filter(|line| *line == "CLEAR").count(), 1, "{heard:?}");
}

/// Ours dials. Theirs reads UTF-8 then; what it sends is ASCII always (anything else makes it hang up).
pub(crate) fn ours_dials(python: &Python, street: Street, server: &Server) {
    let (mut theirs, address) = python.net(street.house(2), "passive", server.address);
    theirs.step("advertise");
    Typist::new(street.house(4), server.address).sees_nodes(|nodes| !nodes.is_empty());

    let mut ours = Node::new(street.house(3), server.address, |config| config.node_type(NodeType::Active));
    assert_eq!(connected(&mut ours), (Via::Direct, address));
    let connected = theirs.wait_for("connected");
    assert_eq!(connected["how"], "accept");
    assert!(is_at(&connected["peer"], street.house(3)), "{connected}");

    let long = "0123456789".repeat(10_000);
    for line in ["hello from ours", "grüße, 世界", long.as_str(), "the last"] {
        ours.says(line);
        assert_eq!(theirs.wait_for("line")["line"], line);
    }
    theirs.tell("send hello from theirs");
    theirs.tell("send and again");
    ours.hears(&["hello from theirs", "and again"]);

    theirs.tell("stop");
    assert_closed_by_peer(&mut ours);
    theirs.wait_for("stopped");
    assert_no_trouble(&ours.leaves());
}

/// Theirs dials. It watches for duplicates then, and its watch falls over anything but ASCII.
pub(crate) fn theirs_dials(python: &Python, street: Street, server: &Server) {
    let mut ours = Node::new(street.house(3), server.address, |config| config);
    ours.hears_news(|news| *news == RendezvousNews::Advertised);
    let address = ours.address();

    let (mut theirs, _) = python.net(street.house(2), "active", server.address);
    theirs.tell("bootstrap");
    let (via, peer) = connected(&mut ours);
    assert_eq!((via, peer.ip()), (Via::Accepted, street.house(2).into()));
    let connected = theirs.wait_for("connected");
    assert_eq!((&connected["how"], &connected["peer"]), (&"passive".into(), &address.to_string().into()));

    let long = "0123456789".repeat(10_000);
    for line in ["hello from ours", long.as_str(), "the last"] {
        ours.says(line);
        assert_eq!(theirs.wait_for("line")["line"], line);
    }
    theirs.tell("send hello from theirs");
    theirs.tell("send and again");
    ours.hears(&["hello from theirs", "and again"]);

    ours.hangs_up();
    assert_eq!(theirs.wait_for("closed")["peer"], address.to_string());
    assert_no_trouble(&ours.leaves());
}

fn connected(node: &mut Node) -> (Via, SocketAddr) {
    match node.sees("a connection", |event| matches!(event, Event::Connected { .. })) {
        Event::Connected { via, peer, .. } => (via, peer),
        other => unreachable!("{other:?}"),
    }
}

fn assert_closed_by_peer(node: &mut Node) {
    let closed = node.sees("the end of the connection", |event| matches!(event, Event::Closed { .. }));
    assert!(matches!(closed, Event::Closed { why: CloseReason::Peer, .. }), "{closed:?}");
}

/// Nothing went wrong between the node and the server.
fn assert_no_trouble(events: &[Event]) {
    let trouble = events.iter().find(|event| {
        matches!(event, Event::Rendezvous { news: RendezvousNews::Down { .. } | RendezvousNews::Refused, .. })
    });
    assert_eq!(trouble, None, "{events:#?}");
}

fn is_at(peer: &serde_json::Value, ip: Ipv4Addr) -> bool {
    peer.as_str().is_some_and(|peer| peer.starts_with(&format!("{ip}:")))
}
