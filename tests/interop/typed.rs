//! Sessions as somebody would type them into netcat.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::Street;
use crate::server::Server;
use crate::typist::Typist;

/// pyp2p's protocol from `BOOTSTRAP` to `QUIT`, with two at their keyboards.
pub(crate) fn session(street: Street, server: &Server, line_end: &'static str) {
    let (alice_ip, bob_ip) = (street.house(2), street.house(3));
    let mut alice = Typist::new(alice_ip, server.address).ending_lines_in(line_end);
    let mut bob = Typist::new(bob_ip, server.address).ending_lines_in(line_end);

    assert_eq!(alice.asks("BOOTSTRAP 10"), "NODES EMPTY");
    assert_eq!(alice.asks("SOURCE TCP"), format!("REMOTE TCP {}", alice.port()));
    alice.states("PASSIVE READY 50500 10");
    assert_eq!(bob.asks("BOOTSTRAP 10"), format!("NODES p:{alice_ip}:50500 "));
    assert_eq!(alice.asks("BOOTSTRAP 10"), "NODES EMPTY", "nobody is told of themselves");

    // What is no request is no trouble either.
    for slip in ["", "hello?", "bootstrap 10", "BOOTSTRAP", "BOOTSTRAP 0", "BOOTSTRAP 101", "BOOTSTRAP ten"] {
        alice.states(slip);
    }
    for slip in ["CANDIDATE 127.0.0.99 TCP 1001", "CANDIDATE here TCP 1001", "ACCEPT 127.0.0.99 1001 TCP 0"] {
        alice.states(slip);
    }

    alice.states("SIMULTANEOUS READY 0 10");
    bob.states(&format!("CANDIDATE {alice_ip} TCP 1001 65536"));
    assert_eq!(bob.asks(&format!("CANDIDATE {alice_ip} TCP 1001 1002")), "PREDICTION SET");
    assert_eq!(alice.reads(), format!("CHALLENGE {bob_ip} 1001 1002 TCP"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    alice.states(&format!("ACCEPT {bob_ip} 2001 2002 TCP {now}.5"));
    assert_eq!(bob.reads(), format!("FIGHT {alice_ip} 2001 2002 TCP {now}.5"));

    // The registration outlives the connection, until it is taken back from the same address.
    alice.types("QUIT");
    alice.reads_the_end();
    assert_eq!(bob.asks("BOOTSTRAP 1"), format!("NODES p:{alice_ip}:50500 "));
    Typist::new(alice_ip, server.address).ending_lines_in(line_end).states("CLEAR");
    assert_eq!(bob.asks("BOOTSTRAP 1"), "NODES EMPTY");
    bob.types("QUIT");
    bob.reads_the_end();
}

/// What a server of ours understands beyond that.
pub(crate) fn extensions(street: Street, server: &Server, line_end: &'static str) {
    let mut alice = Typist::new(street.house(2), server.address).ending_lines_in(line_end);
    let mut bob = Typist::new(street.house(3), server.address).ending_lines_in(line_end);
    assert_eq!(alice.asks("WHOAMI"), format!("SEEN {} {}", street.house(2), alice.port()));
    assert_eq!(alice.asks("PING are-you-there"), "PONG are-you-there");
    assert_eq!(alice.asks("OBSERVERS"), "OBSERVERS NONE");
    assert_eq!(alice.asks("PROBE 1 0123456789abcdef"), "PROBED 1 NO");
    assert_eq!(alice.asks("HELLO p2poll 1 listed nonsense"), "HELLO p2poll 1 listed");
    assert_eq!(alice.asks("PASSIVE  READY 50500 10 "), "LISTED 50500");
    assert_eq!(bob.asks("BOOTSTRAP 10"), format!("NODES p:{}:50500 ", street.house(2)));
    assert_eq!(alice.asks("PASSIVE READY 50501 10"), "LISTED 50501", "a connection lists one port");
    assert_eq!(bob.asks("BOOTSTRAP 10"), format!("NODES p:{}:50501 ", street.house(2)));
}

/// `printf 'WHOAMI\nBOOTSTRAP 10\n' | nc HOST PORT`: the input has ended before the first answer comes.
pub(crate) fn piped(street: Street, server: &Server, line_end: &'static str) {
    let mut pipe = Typist::new(street.house(2), server.address).ending_lines_in(line_end);
    pipe.types(&["WHOAMI", "BOOTSTRAP 10"].join(line_end));
    pipe.has_typed_all();
    assert_eq!(pipe.reads(), format!("SEEN {} {}", street.house(2), pipe.port()));
    assert_eq!(pipe.reads(), "NODES EMPTY");
    pipe.reads_the_end();
}
