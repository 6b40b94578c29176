//! Direct connections by a UNL of version 2: ours to theirs, and theirs to ours.

use p2poll::{Event, NodeType, Via};

use crate::Street;
use crate::driver::{Driver, Python};
use crate::node::Node;
use crate::server::Server;
use crate::typist::Typist;

/// What pyp2p's dialling side sends when no nonce was agreed.
const NO_NONCE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Ours dials, and sends the nonce. Theirs shows the connection with it.
pub(crate) fn ours_connects(python: &Python, street: Street) {
    let server = Server::ours(street);
    let (mut theirs, unl) = python.direct(street.house(2), "passive", server.address);
    let mut ours = direct_node(street, &server, NodeType::Active);
    ours.connects(&unl);
    let connected = ours.sees("a connection", |event| matches!(event, Event::Connected { .. }));
    let Event::Connected { via, peer, attempt, .. } = connected else { unreachable!() };
    // On one computer the WAN address is the LAN address, too.
    assert_eq!((via, peer.ip()), (Via::Lan, street.house(2).into()));
    assert!(attempt.is_some());

    let connected = theirs.wait_for("connected");
    assert_eq!((&connected["how"], &connected["nonce"]), (&"accept".into(), &NO_NONCE.into()));
    talk(&mut ours, &mut theirs);
    ours.leaves();
}

/// Theirs dials, and sends the nonce, which is not the application's.
pub(crate) fn theirs_connects(python: &Python, street: Street) {
    let server = Server::ours(street);
    let mut ours = direct_node(street, &server, NodeType::Passive);
    let unl = ours.unl_version2();
    assert_eq!((unl.version(), unl.node_type()), (2, NodeType::Passive));

    let (mut theirs, _) = python.direct(street.house(2), "active", server.address);
    theirs.step(&format!("connect {unl}"));
    let connected = ours.sees("a connection", |event| matches!(event, Event::Connected { .. }));
    let Event::Connected { via, peer, .. } = connected else { unreachable!() };
    assert_eq!((via, peer.ip()), (Via::Accepted, street.house(2).into()));
    let connected = theirs.wait_for("connected");
    assert_eq!(
        (&connected["how"], &connected["peer"]),
        (&"passive".into(), &ours.address().to_string().into())
    );
    talk(&mut ours, &mut theirs);
    ours.leaves();
}

/// The control is pyp2p's own: it hides such a connection for ever. Ours waits for 2 s before it takes it for netcat.
pub(crate) fn hides_until_the_nonce(street: Street) {
    let server = Server::ours(street);
    let mut ours = direct_node(street, &server, NodeType::Passive);
    let mut typist = Typist::new(street.house(2), ours.address());
    let (all_but_one, last) = NO_NONCE.split_at(63);
    typist.types_bytes(all_but_one.as_bytes());
    // The server's connection and this one are taken in the same turns of the loop.
    for _ in 0..20 {
        assert_eq!(ours.shows(), 0);
    }
    typist.types_bytes(format!("{last}hello").as_bytes());
    ours.sees("a connection", |event| matches!(event, Event::Connected { via: Via::Accepted, .. }));
    typist.types_bytes(b"\r\n");
    ours.hears(&["hello"]);
    assert!(!ours.knows_its_peer());
    ours.leaves();
}

fn direct_node(street: Street, server: &Server, node_type: NodeType) -> Node {
    Node::new(street.house(3), server.address, |config| config.direct().node_type(node_type))
}

/// Lines both ways, of which none is the nonce, between two of whom neither has proven anything.
fn talk(ours: &mut Node, theirs: &mut Driver) {
    assert!(!ours.knows_its_peer(), "nobody has proven anything");
    let long = "0123456789".repeat(10_000);
    for line in ["hello from ours", long.as_str(), "the last"] {
        ours.says(line);
        assert_eq!(theirs.wait_for("line")["line"], line);
    }
    theirs.tell("send hello from theirs");
    theirs.tell("send and again");
    ours.hears(&["hello from theirs", "and again"]);
    theirs.tell("stop");
    theirs.wait_for("stopped");
    ours.sees("the end of the connection", |event| matches!(event, Event::Closed { .. }));
}
