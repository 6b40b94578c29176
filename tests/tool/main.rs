//! The tool as people and scripts use it: real processes, on loopback.
#![cfg(unix)]

mod direct;
mod doctor;
mod process;
#[cfg(all(target_os = "linux", feature = "gateway"))]
#[path = "../common/router/mod.rs"]
mod router;
mod unl;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};

use process::{Process, Typist};
use serde_json::Value;

/// A rendezvous server, and where it listens.
fn server() -> (Process, SocketAddr) {
    let mut server = Process::start(&["rendezvous", "--listen", "127.0.0.1:0", "--json"]);
    let addr = listening(&mut server);
    (server, addr)
}

#[test]
fn a_server_listens_at_two_ports_unless_told_otherwise() {
    let (mut two, first) = server();
    let second = listening(&mut two);
    assert!(second.ip() == first.ip() && second.port() > first.port());
    let mut one = Process::start(&["rendezvous", "--listen", "127.0.0.1:0", "--json", "--single-port"]);
    let only = listening(&mut one);
    // What comes next comes behind a second address, if there were one.
    assert_eq!(nodes(only), BTreeSet::new());
    one.signal("INT");
    assert_eq!(one.rest(), Vec::<String>::new());
}

fn chat(rendezvous: SocketAddr, more: &[&str]) -> Process {
    let rendezvous = rendezvous.to_string();
    let common = ["chat", "--bind", "127.0.0.1", "--rendezvous", &rendezvous];
    Process::start(&[&common[..], more].concat())
}

fn listening(process: &mut Process) -> SocketAddr {
    text(&process.event("listening"), "addr").parse().expect("an address")
}

/// The same, as a person is told it.
fn told_address(process: &mut Process) -> SocketAddr {
    let told = process.told("listening at ");
    told.rsplit_once(' ').and_then(|(_, addr)| addr.parse().ok()).expect("an address")
}

fn advertised(chat: &mut Process) {
    chat.json(|event| event["news"] == "advertised");
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_else(|| panic!("{field} is missing in {event}"))
}

/// The fields of an event, in their order.
fn fields(event: &Value) -> Vec<&str> {
    event.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// The nodes that the server lists, asked by hand.
fn nodes(rendezvous: SocketAddr) -> BTreeSet<SocketAddr> {
    let mut typist = Typist::connect(rendezvous);
    typist.say("BOOTSTRAP 10");
    let answer = typist.hear();
    let list = answer.strip_prefix("NODES ").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    if list == "EMPTY" {
        return BTreeSet::new();
    }
    let node = |text: &str| text.strip_prefix("p:").and_then(|addr| addr.parse().ok());
    list.split_whitespace().map(|text| node(text).unwrap_or_else(|| panic!("no node: {answer:?}"))).collect()
}

#[test]
fn two_chats_find_each_other_and_somebody_with_netcat_joins() {
    let (_server, rendezvous) = server();
    let mut alice = chat(rendezvous, &["--json"]);
    let alice_addr = listening(&mut alice);
    advertised(&mut alice);
    let mut bob = chat(rendezvous, &["--json"]);
    let bob_addr = listening(&mut bob);

    let met = bob.event("connected");
    assert_eq!((text(&met, "via"), text(&met, "peer")), ("direct", &*alice_addr.to_string()));
    assert!(met["con"].is_u64(), "{met}");
    assert_eq!(fields(&met), ["event", "con", "via", "peer", "ms"]);
    assert_eq!(text(&alice.event("connected"), "via"), "accepted");
    alice.say("Hello, Bob!");
    bob.hear("Hello, Bob!");
    bob.say("Grüße \"zurück\"");
    alice.hear("Grüße \"zurück\"");

    advertised(&mut bob);
    assert_eq!(nodes(rendezvous), BTreeSet::from([alice_addr, bob_addr]));
    let mut with_alice = Typist::connect(alice_addr);
    let mut with_bob = Typist::connect(bob_addr);
    alice.event("connected");
    bob.event("connected");
    with_alice.say("netcat here, Alice");
    with_bob.say("netcat here, Bob");
    alice.hear("netcat here, Alice");
    bob.hear("netcat here, Bob");
    alice.say("to all");
    assert_eq!(with_alice.hear(), "to all");
    bob.hear("to all");
    bob.say("to all, too");
    // Had Bob forwarded what Alice said, it would have come before.
    assert_eq!(with_bob.hear(), "to all, too");
    drop(with_bob);
    assert_eq!(text(&bob.event("closed"), "why"), "closed by the peer");
}

#[test]
fn ctrl_c_takes_the_registration_back_and_ends_well() {
    let (mut server, rendezvous) = server();
    let mut alice = chat(rendezvous, &["--json"]);
    let alice_addr = listening(&mut alice);
    advertised(&mut alice);
    let mut bob = chat(rendezvous, &["--json"]);
    bob.event("connected");
    alice.event("connected");
    advertised(&mut bob);

    bob.signal("INT");
    assert_eq!(bob.status(), Some(0));
    assert_eq!(text(&alice.event("closed"), "why"), "closed by the peer");
    assert_eq!(nodes(rendezvous), BTreeSet::from([alice_addr]));
    alice.signal("TERM");
    assert_eq!(alice.status(), Some(0));
    assert_eq!(nodes(rendezvous), BTreeSet::new());
    server.signal("INT");
    assert_eq!(server.status(), Some(0));
}

#[test]
fn a_second_ctrl_c_does_not_wait() {
    let mut chat = Process::start(&["chat", "--bind", "127.0.0.1", "--json"]);
    let mut typist = Typist::connect(listening(&mut chat));
    chat.event("connected");
    chat.signal("INT");
    // It has said good-bye, and waits for the same from a peer that does not think of it.
    typist.hear_the_end();
    chat.signal("INT");
    assert_eq!(chat.status(), Some(1));
}

#[test]
fn who_waits_for_the_end_is_told_how_to_have_it_at_once() {
    // The typist does not answer the good-bye, for which it lingers a second.
    let mut chat = Process::start(&["chat", "--bind", "127.0.0.1", "--stay"]);
    let _typist = Typist::connect(told_address(&mut chat));
    chat.told("connected");
    chat.signal("INT");
    chat.told("p2poll: leaving; Ctrl-C again ends at once");
    assert_eq!(chat.status(), Some(0));
}

#[test]
fn nothing_is_told_twice() {
    for verbose in [&[][..], &["-v"]] {
        let mut chat = Process::start(&[&["chat", "--bind", "127.0.0.1", "--stay"], verbose].concat());
        drop(Typist::connect(told_address(&mut chat)));
        // Said again, it would be before the end.
        chat.told("closed by the peer");
        chat.signal("INT");
        assert_eq!(chat.status(), Some(0));
        assert!(!chat.complaint().contains("closed by the peer"), "{}", chat.complaint());
    }
}

#[test]
fn what_a_pipe_says_is_kept_for_the_first_peer_and_delivered_before_the_end() {
    let (_server, rendezvous) = server();
    let mut script = chat(rendezvous, &["--names"]);
    script.say("first");
    script.write(b"second\r\n\nlast, without an end");
    script.end_input();
    let mut bob = chat(rendezvous, &["--json"]);
    for line in ["first", "second", "", "last, without an end"] {
        bob.hear(line);
    }
    assert_eq!(script.status(), Some(0));
    bob.event("closed");
}

#[test]
fn a_long_input_arrives_whole() {
    let (_server, rendezvous) = server();
    let mut bob = chat(rendezvous, &["--json"]);
    advertised(&mut bob);
    let mut script = chat(rendezvous, &[]);
    // Several times what anything on the way holds.
    const LINES: usize = 12_000;
    let padding = "x".repeat(500);
    script.write((0..LINES).map(|n| format!("{n} {padding}\n")).collect::<String>().as_bytes());
    script.end_input();
    for n in 0..LINES {
        bob.hear(&format!("{n} {padding}"));
    }
    assert_eq!(script.status(), Some(0));
}

#[test]
fn a_pipe_gets_the_received_lines_alone_as_they_came() {
    let mut chat = Process::start(&["chat", "--bind", "127.0.0.1", "--stay"]);
    chat.end_input();
    let addr = told_address(&mut chat);
    let mut typist = Typist::connect(addr);
    typist.write(b"\x1b[31mred\x1b[0m\xff\r\n\nafter\n");
    for expected in [&b"\x1b[31mred\x1b[0m\xff"[..], b"", b"after"] {
        assert_eq!(chat.line().as_bytes(), expected);
    }
    chat.signal("INT");
    assert_eq!(chat.status(), Some(0));
}

#[test]
fn names_tell_who_said_it() {
    let mut chat = Process::start(&["chat", "--bind", "127.0.0.1", "--stay", "--names"]);
    let addr = told_address(&mut chat);
    let mut first = Typist::connect(addr);
    first.say("one");
    assert_eq!(chat.line().as_text(), "#1 one");
    Typist::connect(addr).say("two");
    assert_eq!(chat.line().as_text(), "#2 two");
}

#[test]
fn a_reader_that_has_gone_ends_it_quietly() {
    let mut chat = Process::start_deaf(&["chat", "--bind", "127.0.0.1", "--stay"]);
    let mut typist = Typist::connect(told_address(&mut chat));
    chat.close_output();
    typist.say("does anybody read this?");
    assert_eq!(chat.status(), Some(0));
    assert!(!chat.complaint().contains("pipe"), "{}", chat.complaint());
}

fn too_many(command: &'static str, argument: &'static str, times: usize) -> Vec<&'static str> {
    let given = std::iter::repeat_n([argument, "127.0.0.1:1"], times).flatten();
    std::iter::once(command).chain(given).collect()
}

#[test]
fn wrong_usage_says_what_is_wrong_and_what_to_do() {
    for (arguments, said) in [
        (&[][..], &["Usage:", "Examples"][..]),
        (&["dance"], &["dance"]),
        (&["chat", "--rendezvous", "example.org"], &["--rendezvous", "example.org", "no port", "HOST:PORT"]),
        (&["chat", "--peer", "2001:db8::7:1"], &["--peer", "brackets", "HOST:PORT"]),
        (&["chat", "--peer", "a b:1"], &["a b:1", "HOST:PORT"]),
        (&["chat", "--bind", "localhost"], &["--bind", "localhost", "127.0.0.1"]),
        (&["chat", "--bind", "127.0.0.1:80"], &["--bind", "--port"]),
        (&["chat", "--port", "65536"], &["--port", "65536", "no port", "0 to 65535"]),
        (&["chat", "--port", "-1"], &["--port", "-1", "no port", "0 to 65535"]),
        (&["chat", "--node-type", "lazy"], &["--node-type", "lazy", "passive, simultaneous, active"]),
        (&["chat", "--names", "--json"], &["--names", "--json"]),
        (&["rendezvous", "--listen", "localhost:8000"], &["--listen", "localhost:8000", "IP:PORT"]),
        (&["rendezvous", "--listen", ":8000"], &["--listen", ":8000", "no host", "IP:PORT"]),
        (&["rendezvous", "8000"], &["8000", "Usage:"]),
        (&too_many("rendezvous", "--listen", 17), &["at most 16", "--listen", "17"]),
        (&["chat", "--nat", "delta:0"], &["--nat", "delta:0", "delta:N"]),
        (&["doctor", "--nat", "symmetric"], &["--nat", "symmetric", "preserving, reuse, random or delta:N"]),
        (&["unl"], &["TEXT", "Usage:"]),
        (&["connect"], &["UNL", "Usage:"]),
        (&["connect", "unl3_", "--only", "existing"], &["--only", "lan, direct, reverse, punch, relay"]),
        (&["connect", "unl3_", "--wait", "0"], &["--wait", "1..=3600"]),
        (&["connect", "unl3_", "--rendezvous", "example.org"], &["--rendezvous", "no port", "HOST:PORT"]),
        (&["listen", "--names", "--json"], &["--names", "--json"]),
        (&["listen", "--port", "65536"], &["--port", "65536", "no port", "0 to 65535"]),
        (&too_many("listen", "--rendezvous", 9), &["at most 8 rendezvous servers", "--rendezvous", "9"]),
        (&["doctor", "--wan-ip", "192.0.2.1:80"], &["--wan-ip", "192.0.2.1:80", "without a port"]),
        (&["doctor", "--wan-ip", "127.0.0.1"], &["--wan-ip", "127.0.0.1", "nobody outside"]),
        (&["doctor", "--wait", "soon"], &["--wait", "soon"]),
        (&["doctor", "--wait", "3601"], &["--wait", "3601", "0..=3600"]),
        (&["doctor", "--lease", "1"], &["--lease", "2..=604800"]),
        (&["doctor", "--no-mapping", "--router", "192.0.2.1"], &["--no-mapping", "--router"]),
        (
            &["doctor", "--rendezvous", "example.org"],
            &["--rendezvous", "example.org", "no port", "HOST:PORT"],
        ),
        (&too_many("doctor", "--rendezvous", 9), &["at most 8 rendezvous servers", "--rendezvous", "9"]),
        (&too_many("chat", "--rendezvous", 9), &["at most 8 rendezvous servers", "--rendezvous", "9"]),
        (&too_many("chat", "--peer", 257), &["at most 256 peers", "--peer", "257"]),
    ] {
        let mut process = Process::start(arguments);
        assert_eq!(process.status(), Some(2), "{arguments:?}");
        let complaint = process.complaint();
        for words in said {
            assert!(complaint.contains(words), "{arguments:?}: {words:?} is missing in {complaint}");
        }
    }
}

#[test]
fn help_is_no_failure_and_shows_examples() {
    for arguments in [
        &["--help"][..],
        &["chat", "--help"],
        &["rendezvous", "--help"],
        &["doctor", "--help"],
        &["unl", "--help"],
        &["listen", "--help"],
        &["connect", "--help"],
    ] {
        let mut process = Process::start(arguments);
        let help: Vec<String> = process.rest();
        assert!(help.iter().any(|line| line.starts_with("Examples")), "{help:?}");
        let carries_lines = matches!(arguments[0], "--help" | "chat" | "listen" | "connect");
        let warns = help.iter().any(|line| line.starts_with("Nothing is encrypted"));
        assert_eq!(warns, carries_lines, "{help:?}");
        assert_eq!(process.status(), Some(0));
    }
}

#[test]
fn a_port_in_use_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = holder.local_addr().expect("it is bound");
    let (listen, port) = (addr.to_string(), addr.port().to_string());
    for arguments in [
        &["rendezvous", "--listen", &*listen][..],
        &["chat", "--bind", "127.0.0.1", "--port", &port],
        &["doctor", "--bind", "127.0.0.1", "--port", &port],
        &["listen", "--bind", "127.0.0.1", "--port", &port],
    ] {
        let mut process = Process::start(arguments);
        assert_eq!(process.status(), Some(1), "{arguments:?}");
        let complaint = process.complaint();
        assert!(complaint.contains(&listen) && complaint.contains("another port"), "{complaint}");
    }
}

#[test]
fn a_dead_server_is_told_and_does_not_keep_peers_apart() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nobody = holder.local_addr().expect("it is bound");
    drop(holder);
    let mut alice = chat(nobody, &["--json"]);
    let alice_addr = listening(&mut alice);
    let down = alice.json(|event| event["news"] == "down");
    assert_eq!((text(&down, "server"), text(&down, "why")), (&*nobody.to_string(), "unreachable"));
    assert_eq!(fields(&down), ["event", "server", "news", "why", "retry_ms"]);
    let peer = alice_addr.to_string();
    let mut bob = chat(nobody, &["--json", "--node-type", "active", "--peer", &peer]);
    bob.event("connected");
    alice.say("still here");
    bob.hear("still here");
}
