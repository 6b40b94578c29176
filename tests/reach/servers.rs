//! Servers that are wrong, late, old, hostile, or gone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use p2poll::{Con, Doubt, Event, Nat, NatKind, Net, Reachability, RendezvousNews, ServerFault, ServerKind};

use crate::common::*;
use crate::fake::Fake;
use crate::{Turn as _, both, idle, told, until_reachable};

/// The server saw the node elsewhere, so there is a NAT.
fn behind_nat(line: &str) -> Option<String> {
    (line == "WHOAMI").then(|| "SEEN 11.0.0.1 40000\r\n".to_owned())
}

/// A question and its answer take at least so long, of the loop alone.
const LONG: Duration = Duration::from_millis(200);

/// A server that has been asked, and the port.
fn asked(fake: &mut Fake) -> (Net, u16) {
    let mut net = fake.config().start().unwrap();
    let (port, _) = fake.asked(&mut net, 1);
    (net, port)
}

#[track_caller]
fn down(net: &mut Net, fake: &mut Fake) -> ServerFault {
    both(net, fake, |net, _| {
        net.events().find_map(|event| match event {
            Event::Rendezvous { news: RendezvousNews::Down { why, .. }, .. } => Some(why),
            _ => None,
        })
    })
}

/// A server of the user's own choice is believed: who lies gains that the node registers a port that nobody reaches.
#[test]
fn a_yes_is_believed_without_a_connection() {
    let mut fake = Fake::honest();
    let (mut net, port) = asked(&mut fake);
    fake.say(format!("PROBED {port} YES\r\n"));
    until_reachable(&mut net, &mut fake, Reachability::Yes);
    // Twice is not asked for.
    fake.say(format!("PROBED {port} NO\r\n"));
    idle(&mut net, &mut fake, LONG);
    assert_eq!(net.reach().reachable, Reachability::Yes);
}

#[test]
fn a_no_is_believed_when_there_was_time_for_a_yes() {
    let mut fake = Fake::honest();
    let (mut net, port) = asked(&mut fake);
    idle(&mut net, &mut fake, LONG);
    assert_eq!(net.reach().reachable, Reachability::Unknown(Doubt::Pending));
    fake.say(format!("PROBED {port} NO\r\n"));
    let reach = until_reachable(&mut net, &mut fake, Reachability::No);
    assert_eq!(reach.node_type, p2poll::NodeType::Simultaneous);
}

#[test]
fn an_answer_about_another_port_is_none() {
    let mut fake = Fake::honest();
    let (mut net, port) = asked(&mut fake);
    fake.say(format!("PROBED {} YES\r\n", port ^ 1));
    idle(&mut net, &mut fake, LONG);
    assert_eq!(net.reach().reachable, Reachability::Unknown(Doubt::Pending));
    fake.say(format!("PROBED {port} NO\r\n"));
    until_reachable(&mut net, &mut fake, Reachability::No);
}

#[test]
fn later_is_a_doubt_and_the_node_is_still_listed() {
    let mut fake = Fake::honest();
    let (mut net, port) = asked(&mut fake);
    fake.say(format!("PROBED {port} LATER\r\n"));
    let reach = until_reachable(&mut net, &mut fake, Reachability::Unknown(Doubt::Busy));
    assert_eq!(reach.node_type, p2poll::NodeType::Passive);
    // It is not asked again at once.
    idle(&mut net, &mut fake, LONG);
    assert_eq!(fake.probes.len(), 1);
}

#[test]
fn a_server_that_dies_half_way_leaves_a_doubt_until_it_is_back() {
    let mut fake = Fake::honest();
    let (mut net, _) = asked(&mut fake);
    fake.hang_up();
    until_reachable(&mut net, &mut fake, Reachability::Unknown(Doubt::Unanswered));
    // It is back: it is asked again, with another nonce.
    let (port, nonce) = fake.asked(&mut net, 2);
    assert_ne!(nonce, fake.probes[0].1);
    fake.say(format!("PROBED {port} YES\r\n"));
    until_reachable(&mut net, &mut fake, Reachability::Yes);
    // Dying again, it takes back nothing.
    fake.hang_up();
    fake.asked(&mut net, 3);
    assert_eq!(net.reach().reachable, Reachability::Yes);
    fake.hang_up();
    assert_eq!(down(&mut net, &mut fake), ServerFault::HungUp);
    idle(&mut net, &mut fake, LONG);
    assert_eq!(net.reach().reachable, Reachability::Yes, "what was known stays");
}

#[test]
fn a_verdict_that_is_none_ends_the_connection() {
    for nonsense in ["PROBED\r\n", "PROBED 0 YES\r\n", "PROBED 99999 YES\r\n", "PROBED 1 PERHAPS\r\n"] {
        let mut fake = Fake::honest();
        let (mut net, _) = asked(&mut fake);
        fake.say(nonsense);
        assert_eq!(down(&mut net, &mut fake), ServerFault::Nonsense, "{nonsense}");
        assert_eq!(net.reach().reachable, Reachability::Unknown(Doubt::Unanswered));
    }
}

#[test]
fn a_server_that_never_stops_telling_verdicts_is_given_up() {
    let mut fake = Fake::honest();
    let (mut net, port) = asked(&mut fake);
    let flood = format!("PROBED {} YES\r\n", port ^ 1).repeat(200);
    fake.say(flood);
    assert_eq!(down(&mut net, &mut fake), ServerFault::Nonsense);
}

/// It may have waited to be read while this program was busy: it is still no peer, and the port is not closed.
#[test]
fn a_prompt_right_after_the_verdict_is_consumed_and_leaves_a_doubt() {
    let mut fake = Fake::honest();
    let (mut net, port) = asked(&mut fake);
    let mut raw = TcpStream::connect(net.local_addr().unwrap()).unwrap();
    raw.write_all(b"~probe\r\n").unwrap();
    // Both wait to be read now.
    fake.say(format!("PROBED {port} NO\r\n"));
    let reach = until_reachable(&mut net, &mut fake, Reachability::Unknown(Doubt::TooFar));
    assert_eq!(reach.node_type, p2poll::NodeType::Passive);
    assert!(!net.events().any(|event| matches!(event, Event::Connected { .. })));
    assert!(net.is_empty());
}

/// Long after its verdict a server that connects is a peer like others, whatever it says.
#[test]
fn a_server_that_prompts_long_after_its_verdict_is_a_peer() {
    let mut fake = Fake::honest();
    let (mut net, port) = asked(&mut fake);
    fake.say(format!("PROBED {port} NO\r\n"));
    idle(&mut net, &mut fake, Duration::from_millis(1200));
    let mut raw = TcpStream::connect(net.local_addr().unwrap()).unwrap();
    raw.write_all(b"~probe\r\n").unwrap();
    let lines = both(&mut net, &mut fake, |net, _| {
        let lines: Vec<String> = net.connections().flat_map(Con::replies).map(|l| l.to_string()).collect();
        (!lines.is_empty()).then_some(lines)
    });
    assert_eq!(lines, ["~probe"]);
}

#[test]
fn an_old_server_can_not_tell() {
    let mut fake = Fake::new(|line, _| line.starts_with("HELLO").then(String::new));
    let mut net = fake.config().start().unwrap();
    let reach = until_reachable(&mut net, &mut fake, Reachability::Unknown(Doubt::OldServer));
    assert_eq!(reach.servers[0].kind, Some(ServerKind::Pyp2p));
    assert_eq!((reach.wan, reach.translated), (None, None));
    assert_eq!(reach.node_type, p2poll::NodeType::Passive);
    idle(&mut net, &mut fake, LONG);
    assert_eq!(fake.probes, []);
}

#[test]
fn a_server_that_is_not_there_is_a_doubt_of_its_own() {
    let mut net = config().rendezvous(closed_port().to_string()).start().unwrap();
    let reach = until(&mut net, |net| {
        Some(net.reach()).filter(|reach| reach.reachable == Reachability::Unknown(Doubt::ServersDown))
    });
    assert_eq!(reach.nat, Nat::Unknown(Doubt::ServersDown));
    assert_eq!((reach.servers[0].kind, reach.servers[0].rtt), (None, None));
}

/// What a server says of where else it listens; some of it is nonsense, all of it harmless.
#[test]
fn absurd_observers_do_no_harm() {
    let many: String = (0..300).map(|n| format!(" 127.0.0.1:{}", n + 1)).collect();
    let nobody = closed_port();
    // The place, and whether the server has said something that it can not mean.
    let cases = [
        (many, false),
        (" 127.0.0.1:0".into(), true),
        (" 127.0.0.1:99999".into(), true),
        (" example.org:80".into(), true),
        (String::new(), true),
        (" 224.0.0.1:80 0.0.0.0:80 255.255.255.255:80".into(), false),
        (" [::1]:80".into(), false),
        (format!(" {nobody}"), false),
    ];
    for (places, is_nonsense) in cases {
        let answer = format!("OBSERVERS{places}\r\n");
        let said = answer.clone();
        let mut fake = Fake::new(move |line, _| {
            behind_nat(line).or_else(|| (line == "OBSERVERS").then(|| answer.clone()))
        });
        let mut net = fake.config().start().unwrap();
        if is_nonsense {
            assert_eq!(down(&mut net, &mut fake), ServerFault::Nonsense, "{said}");
            continue;
        }
        both(&mut net, &mut fake, |net, _| net.reach().nat.kind());
        // What was seen is what the one that answers saw; it says that all ports are preserved.
        assert_eq!(net.reach().nat, Nat::Measured(NatKind::Preserving), "{said}");
        assert_eq!(net.len(), 0);
    }
}

/// A server that names the node itself as its other port gets it to dial itself, and the application sees nothing.
#[test]
fn a_server_that_names_the_node_itself_bothers_nobody() {
    let own: Rc<RefCell<Option<u16>>> = Rc::default();
    let place = Rc::clone(&own);
    let mut fake = Fake::new(move |line, _| {
        let observers = || format!("OBSERVERS :{}\r\n", place.borrow().unwrap_or(1));
        behind_nat(line).or_else(|| (line == "OBSERVERS").then(observers))
    });
    let mut net = fake.config().start().unwrap();
    *own.borrow_mut() = net.local_addr().map(|addr| addr.port());
    let (port, _) = fake.asked(&mut net, 1);
    fake.say(format!("PROBED {port} YES\r\n"));
    both(&mut net, &mut fake, |net, _| net.reach().nat.kind());
    idle(&mut net, &mut fake, LONG);
    let events: Vec<Event> = net.events().collect();
    assert!(!events.iter().any(|event| matches!(event, Event::Connected { .. })), "{events:#?}");
}

#[test]
fn a_survey_among_liars_ends_with_something() {
    let liars = [
        ("port 0", "REMOTE TCP 0\r\n"),
        ("no number", "REMOTE TCP x\r\n"),
        ("something else", "NODES EMPTY\r\n"),
        ("binary", "\u{1}\u{7f}\r\n"),
        ("no end", "REMOTE TCP 7"),
        ("always the same", "REMOTE TCP 7\r\n"),
    ];
    let mut nets: Vec<(&str, Net, Fake)> = Vec::new();
    for (name, lie) in liars {
        // Only the samples are lied to: the greeting is from a port that the operating system chose.
        let is_sample = |port: u16| (20_000..32_768).contains(&port);
        let fake = Fake::new(move |line, peer| {
            let said = || (line.starts_with("SOURCE") && is_sample(peer.port())).then(|| lie.to_owned());
            behind_nat(line).or_else(said)
        });
        nets.push((name, fake.config().start().unwrap(), fake));
    }
    let mut found: BTreeMap<&str, Nat> = BTreeMap::new();
    let begin = now();
    while found.len() < nets.len() {
        assert!(begin.elapsed() < PATIENCE, "{found:?}");
        for (name, net, fake) in &mut nets {
            fake.turn();
            net.poll(Some(Duration::from_millis(1))).unwrap();
            let nat = net.reach().nat;
            if nat != Nat::Unknown(Doubt::Pending) {
                found.insert(name, nat);
            }
            // The client, and two rounds of five.
            assert!(fake.came <= 11 && net.is_empty(), "{name}: {} came", fake.came);
        }
    }
    let same = found.remove("always the same");
    assert!(matches!(same, Some(Nat::Measured(_) | Nat::Unknown(Doubt::OneObserver))), "{same:?}");
    assert!(found.values().all(|nat| *nat == Nat::Unknown(Doubt::Unanswered)), "{found:?}");
}

#[test]
fn asking_anew_all_the_time_floods_nobody() {
    let mut fake = Fake::new(|line, _| behind_nat(line));
    let (mut net, port) = asked(&mut fake);
    let mut answered = 0;
    let begin = now();
    while begin.elapsed() < Duration::from_secs(1) {
        net.refresh_reach();
        fake.turn();
        // As fast as it can be.
        while answered < fake.probes.len() {
            answered += 1;
            fake.say(format!("PROBED {port} YES\r\n"));
        }
        net.poll(Some(Duration::ZERO)).unwrap();
    }
    until_reachable(&mut net, &mut fake, Reachability::Yes);
    assert!(fake.probes.len() <= 3, "{} probes", fake.probes.len());
    // The client, and a survey of five samples or two.
    assert!(fake.came <= 1 + 2 * 10, "{} connections", fake.came);
    assert!(told(net.events()).len() <= 6);
}

#[test]
fn asking_anew_does_not_lose_the_answer_to_what_was_asked() {
    let mut fake = Fake::honest();
    let (mut net, port) = asked(&mut fake);
    net.refresh_reach();
    idle(&mut net, &mut fake, LONG);
    assert_eq!((net.reach().reachable, fake.probes.len()), (Reachability::Unknown(Doubt::Pending), 1));
    fake.say(format!("PROBED {port} YES\r\n"));
    until_reachable(&mut net, &mut fake, Reachability::Yes);
}
