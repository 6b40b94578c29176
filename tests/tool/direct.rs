//! `p2poll listen` and `p2poll connect`, on loopback.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use serde_json::Value;

use crate::process::{Process, Typist};
use crate::{fields, listening, server, text, told_address};

fn listen(more: &[&str]) -> Process {
    Process::start(&[&["listen", "--bind", "127.0.0.1", "--no-mapping"], more].concat())
}

fn connect(unl: &str, more: &[&str]) -> Process {
    Process::start(&[&["connect", unl, "--bind", "127.0.0.1", "--no-mapping"], more].concat())
}

/// A listener that says what happens, and its UNL.
fn json_listener(more: &[&str]) -> (Process, String) {
    let mut listener = listen(&[&["--json"], more].concat());
    let unl = unl_of(&mut listener);
    (listener, unl)
}

fn unl_of(listener: &mut Process) -> String {
    let event = listener.event("unl");
    assert_eq!(fields(&event), ["event", "unl"]);
    text(&event, "unl").to_owned()
}

/// A file that is not there yet, for this test alone.
fn key_file(test: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}.key", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn free_port() -> u16 {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    holder.local_addr().expect("it is bound").port()
}

/// The reasons of the event `failed`, by their ways.
fn reasons(failed: &Value) -> Vec<(&str, &str)> {
    assert_eq!(fields(failed), ["event", "attempt", "tried", "why"]);
    let tried = failed["tried"].as_array().expect("a list");
    tried
        .iter()
        .map(|tried| {
            assert_eq!(fields(tried), ["rung", "why", "ms"]);
            assert!(tried["ms"].is_number(), "{tried}");
            (text(tried, "rung"), text(tried, "why"))
        })
        .collect()
}

/// An end without a connection says what each way said, to people and to programs.
fn assert_no_way(connect: &mut Process) -> Value {
    let failed = connect.event("failed");
    assert_eq!(connect.status(), Some(1));
    let complaint = connect.complaint();
    assert!(complaint.contains("no way to the node was found:"), "{complaint}");
    for (rung, why) in reasons(&failed) {
        let told = |line: &str| line.trim_start().strip_prefix(rung).is_some_and(|rest| rest.trim() == why);
        assert!(complaint.lines().any(told), "{rung}: {why} is missing in {complaint}");
    }
    failed
}

#[test]
fn what_is_typed_at_one_end_appears_at_the_other() {
    let (mut alice, unl) = json_listener(&[]);
    let alice_addr = listening(&mut alice);
    let mut bob = connect(&unl, &["--json"]);
    let met = bob.event("connected");
    assert_eq!(fields(&met), ["event", "con", "via", "peer", "ms"]);
    assert_eq!((text(&met, "via"), text(&met, "peer")), ("lan", &*alice_addr.to_string()));
    assert!(met["ms"].as_f64().is_some_and(|ms| ms < 15_000.0), "{met}");
    assert_eq!(text(&alice.event("connected"), "via"), "accepted");

    bob.say("Sup Alice.");
    alice.hear("Sup Alice.");
    alice.say("Grüße \"zurück\"");
    bob.hear("Grüße \"zurück\"");
    alice.say("~hello {} is no more than a line");
    bob.hear("~hello {} is no more than a line");

    bob.end_input();
    assert_eq!(bob.status(), Some(0));
    assert_eq!(text(&alice.event("closed"), "why"), "closed by the peer");
    alice.signal("INT");
    assert_eq!(alice.status(), Some(0));
}

/// The id is learned from whoever is there, or checked.
#[test]
fn an_address_will_do_where_it_can_be_dialled() {
    let (mut alice, unl) = json_listener(&[]);
    let addr = listening(&mut alice).to_string();
    let told = Process::start(&["unl", "--json", &unl]).event("unl");
    let named = format!("{}@{addr}", text(&told, "node_id"));
    for to in [&addr, &named] {
        let mut bob = connect(to, &["--json"]);
        let met = bob.event("connected");
        assert_eq!((text(&met, "via"), text(&met, "peer")), ("direct", &*addr));
        bob.say("Sup Alice.");
        alice.hear("Sup Alice.");
        bob.end_input();
        assert_eq!(bob.status(), Some(0));
        alice.event("closed");
    }
    let mut lost = connect(&format!("{}@{addr}", "0".repeat(40)), &["--json"]);
    let failed = assert_no_way(&mut lost);
    assert_eq!(reasons(&failed), [("direct", &*format!("{addr} is another node"))]);
}

/// What is there accepts, and says nothing of who it is.
#[test]
fn a_plain_peer_at_the_address_is_left_again() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = silent.local_addr().expect("it is bound").to_string();
    let mut bob = connect(&addr, &["--json"]);
    let failed = assert_no_way(&mut bob);
    assert_eq!(reasons(&failed), [("direct", &*format!("{addr} does not say who it is"))]);
}

#[test]
fn people_get_the_unl_in_a_line_of_its_own_and_pipes_the_lines_alone() {
    let mut alice = listen(&["--names", "--quiet"]);
    let told = alice.told("unl: ");
    let unl = told.strip_prefix("unl: ").expect("nothing before it");
    let mut bob = connect(&format!(" \"{unl}\"\n"), &[]);
    bob.told("p2poll: trying lan ...");
    bob.told("connected: ");
    bob.say("hello");
    assert_eq!(alice.line().as_text(), "#1 hello");
    alice.write(b"\x1b[31mred\xff\r\n\n");
    assert_eq!(bob.line().as_bytes(), b"\x1b[31mred\xff");
    assert_eq!(bob.line().as_bytes(), b"");
}

#[test]
fn ten_thousand_lines_arrive_before_the_end() {
    const LINES: usize = 10_000;
    let (mut alice, unl) = json_listener(&[]);
    let mut bob = connect(&unl, &[]);
    // Most of it is there before the connection is.
    bob.write((0..LINES).map(|n| format!("line {n}\n")).collect::<String>().as_bytes());
    bob.end_input();
    for n in 0..LINES {
        alice.hear(&format!("line {n}"));
    }
    assert_eq!(bob.status(), Some(0));
    assert_eq!(text(&alice.event("closed"), "why"), "closed by the peer");
}

#[test]
fn with_stay_the_end_of_input_is_not_the_end() {
    let (mut alice, unl) = json_listener(&[]);
    let mut bob = connect(&unl, &["--json", "--stay"]);
    bob.end_input();
    bob.event("connected");
    alice.event("connected");
    alice.say("still here?");
    bob.hear("still here?");
    alice.signal("INT");
    // The peer's orderly end is an orderly end.
    assert_eq!(text(&bob.event("closed"), "why"), "closed by the peer");
    assert_eq!(bob.status(), Some(0));
}

#[test]
fn what_a_pipe_says_to_a_listener_is_kept_and_delivered_and_the_end_waits_for_the_peers() {
    let (mut alice, unl) = json_listener(&[]);
    alice.write(b"first\nlast, without an end");
    alice.end_input();
    let mut bob = connect(&unl, &["--json"]);
    bob.hear("first");
    bob.hear("last, without an end");
    bob.say("thanks");
    alice.hear("thanks");
    bob.end_input();
    assert_eq!(bob.status(), Some(0));
    assert_eq!(alice.status(), Some(0));
}

#[test]
fn a_listener_without_input_goes_on_listening() {
    let (mut alice, unl) = json_listener(&[]);
    alice.end_input();
    for line in ["one", "two"] {
        let mut bob = connect(&unl, &[]);
        bob.say(line);
        bob.end_input();
        alice.hear(line);
        assert_eq!(bob.status(), Some(0));
        alice.event("closed");
    }
    alice.signal("TERM");
    assert_eq!(alice.status(), Some(0));
}

#[test]
fn netcat_is_welcome_at_a_listener() {
    let mut alice = listen(&[]);
    let mut typist = Typist::connect(told_address(&mut alice));
    typist.say("I have no p2poll");
    assert_eq!(alice.line().as_text(), "I have no p2poll");
    alice.say("no matter");
    assert_eq!(typist.hear(), "no matter");
}

#[test]
fn who_connects_hears_nobody_else() {
    let (mut alice, unl) = json_listener(&[]);
    // It tells nobody where it listens: nobody but the node that it calls needs to know.
    let port = free_port();
    let mut bob = connect(&unl, &["--json", "--port", &port.to_string()]);
    bob.event("connected");
    let mut stranger = Typist::connect(SocketAddr::from(([127, 0, 0, 1], port)));
    stranger.say("listen to me");
    stranger.hear_the_end();
    alice.say("who was that?");
    bob.hear("who was that?");
    bob.end_input();
    assert_eq!(bob.status(), Some(0));
    let rest = bob.rest();
    assert!(!rest.iter().any(|line| line.contains("connected") || line.contains("listen to me")), "{rest:?}");
}

#[test]
fn a_node_that_is_gone_is_not_found_and_every_way_says_why() {
    let (mut alice, unl) = json_listener(&[]);
    alice.signal("INT");
    assert_eq!(alice.status(), Some(0));
    let mut bob = connect(&unl, &["--json", "--wait", "5"]);
    bob.say_in_vain("anybody there?");
    let climbing = bob.event("climbing");
    assert_eq!(fields(&climbing)[..3], ["event", "attempt", "progress"]);
    let failed = assert_no_way(&mut bob);
    assert_eq!(climbing["attempt"], failed["attempt"]);
    let reasons = reasons(&failed);
    assert!(reasons.iter().any(|&(rung, why)| rung == "lan" && why.contains("refused")), "{reasons:?}");
}

#[test]
fn only_the_ways_that_are_wanted_are_tried() {
    let (_alice, unl) = json_listener(&[]);
    let mut bob = connect(&unl, &["--json", "--wait", "5", "--only", "punch,relay"]);
    let failed = assert_no_way(&mut bob);
    for (rung, why) in reasons(&failed) {
        assert!(["punch", "relay"].contains(&rung) || why == "left out", "{failed}");
    }
    let said = bob.rest();
    assert!(!said.iter().any(|line| line.contains("connected")), "{said:?}");

    let mut carol = connect(&unl, &["--json", "--only", "lan"]);
    assert_eq!(text(&carol.event("connected"), "via"), "lan");
}

#[test]
fn what_is_no_unl_is_wrong_usage() {
    let (_alice, unl) = json_listener(&[]);
    let cut = &unl[..unl.len() - 8];
    // Some letter in the middle is another one.
    let (begin, end) = unl.split_at(unl.len() / 2);
    let other = if end.starts_with('A') { 'B' } else { 'A' };
    let altered = format!("{begin}{other}{}", &end[1..]);
    for (bad, why) in [
        ("hello", "neither a UNL nor an address"),
        ("", "neither a UNL nor an address"),
        ("127.0.0.1:0", "not an address: the port is no number"),
        ("nobody@127.0.0.1:1", "before the @: not a node id"),
        (cut, "UNL"),
        (&altered, "altered"),
        ("unl4_AAAA", "a UNL of version 4, which this version of p2poll does not know"),
        ("unl3_\u{1b}[2J", "no UNL has a '\\u{1b}' in it"),
    ] {
        let mut bob = connect(bad, &[]);
        assert_eq!(bob.status(), Some(2), "{bad:?}");
        let complaint = bob.complaint();
        assert!(complaint.starts_with("p2poll: ") && complaint.contains(why), "{bad:?}: {complaint}");
        assert!(!complaint.contains('\u{1b}'), "{complaint:?}");
    }
}

#[test]
fn nobody_connects_to_himself() {
    let path = key_file("oneself");
    let key = ["--key", path.to_str().expect("text")];
    let (_alice, unl) = json_listener(&key);
    let mut again = connect(&unl, &key);
    assert_eq!(again.status(), Some(1));
    assert!(again.complaint().contains("that is this node itself"), "{}", again.complaint());
    std::fs::remove_file(path).expect("the key was kept");
}

#[test]
fn a_key_file_that_is_none_is_named() {
    let path = key_file("none");
    std::fs::write(&path, "not a key").expect("a file");
    let mut alice = listen(&["--key", path.to_str().expect("text")]);
    assert_eq!(alice.status(), Some(1));
    let complaint = alice.complaint();
    assert!(complaint.contains(path.to_str().expect("text")), "{complaint}");
    assert_eq!(std::fs::read(&path).expect("it is left alone"), b"not a key");
    std::fs::remove_file(path).expect("it is still there");
}

#[test]
fn the_unl_names_the_server_through_which_calls_come() {
    let (_server, rendezvous) = server();
    let (_alice, unl) = json_listener(&["--rendezvous", &rendezvous.to_string()]);
    let mut facts = Process::start(&["unl", "--json", &unl]);
    assert_eq!(facts.event("unl")["servers"], serde_json::json!([rendezvous.to_string()]));
}

#[test]
fn who_connects_first_is_called_back_by_who_comes_later() {
    let (_server, rendezvous) = server();
    let rendezvous = rendezvous.to_string();
    let path = key_file("later");
    let common = ["--rendezvous", &rendezvous, "--key", path.to_str().expect("text")];
    let (mut alice, unl) = json_listener(&common);
    alice.signal("INT");
    assert_eq!(alice.status(), Some(0));

    // It names no server itself: the UNL does.
    let mut bob = connect(&unl, &["--json", "--wait", "60"]);
    bob.say("I was here first");
    let waits = bob.json(|event| event["progress"] == "waiting");
    assert_eq!(text(&waits, "server"), rendezvous);
    let (mut alice, _) = json_listener(&common);
    bob.event("connected");
    alice.hear("I was here first");
    std::fs::remove_file(path).expect("the key was kept");
}

#[test]
fn ctrl_c_gives_up_the_search() {
    let (_server, rendezvous) = server();
    let (mut alice, unl) = json_listener(&["--rendezvous", &rendezvous.to_string()]);
    alice.signal("INT");
    assert_eq!(alice.status(), Some(0));
    let mut bob = connect(&unl, &["--json", "--wait", "60"]);
    bob.json(|event| event["progress"] == "waiting");
    bob.signal("INT");
    assert_eq!(bob.status(), Some(1));
    assert!(bob.complaint().contains("cancelled"), "{}", bob.complaint());
}

#[test]
fn once_is_for_the_first_who_proves_who_it_is() {
    let (mut alice, unl) = json_listener(&["--once"]);
    let mut stranger = Typist::connect(listening(&mut alice));
    stranger.say("is anybody there?");
    let mut bob = connect(&unl, &["--json"]);
    bob.say("Sup Alice.");
    alice.hear("Sup Alice.");
    assert_eq!(text(&alice.event("connected"), "via"), "accepted");
    alice.say("Hi.");
    bob.hear("Hi.");
    stranger.hear_the_end();
    // Nobody else is let in any more.
    let mut carol = connect(&unl, &["--wait", "2"]);
    carol.say("me too");
    carol.status();
    bob.end_input();
    assert_eq!(bob.status(), Some(0));
    assert_eq!(text(&alice.event("closed"), "why"), "closed by the peer");
    assert_eq!(alice.status(), Some(0));
    assert!(!alice.rest().iter().any(|line| line.contains("too") || line.contains("anybody")));
}

#[test]
fn once_ends_when_what_a_pipe_said_is_delivered() {
    let (mut alice, unl) = json_listener(&["--once"]);
    alice.say("one");
    alice.say("two");
    alice.end_input();
    let mut bob = connect(&unl, &["--stay"]);
    bob.end_input();
    assert_eq!(bob.rest(), ["one", "two"]);
    assert_eq!((bob.status(), alice.status()), (Some(0), Some(0)));
}

#[test]
fn a_unl_is_taken_as_it_is_pasted() {
    let (mut alice, unl) = json_listener(&[]);
    let pasted = format!("> unl: {}\n>  {}\n", &unl[..60], &unl[60..]);
    let mut bob = connect(pasted.trim_start_matches("> "), &[]);
    bob.say("Sup Alice.");
    alice.hear("Sup Alice.");
    bob.end_input();
    assert_eq!(bob.status(), Some(0));
}
