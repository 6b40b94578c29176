//! The protocol as text.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::identity::{Key, PublicKey};
use crate::random::Random;
use crate::wire::proof::{ProofRole, Ticket};

/// A public key, a signature of zeros and an id as they stand on the wire.
const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const SIG: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const ID: &str = "21fe31dfa154a261626bf854046fd2271b7bed4b";
const HEX: &str = "0123456789abcdef0123456789abcdef";

fn request(text: &str) -> Option<Request> {
    Request::parse(text.as_bytes())
}

fn reply(text: &str) -> Option<Reply> {
    Reply::parse(text.as_bytes())
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn requests_stand_on_the_wire_as_in_pyp2p() {
    let same = [
        "BOOTSTRAP 100",
        "PASSIVE READY 50500 10",
        "SIMULTANEOUS READY 0 0",
        "SOURCE TCP",
        "SOURCE TCP 4001",
        "CANDIDATE 203.0.113.7 TCP 4000 4001 4002 4003",
        "ACCEPT 192.168.0.1 4552 345 TCP 1412137849.288068",
        "CLEAR",
        "QUIT",
        "HELLO p2poll 1 peers seen ping listed observers probe",
        "HELLO p2poll 1",
        "WHOAMI",
        "OBSERVERS",
        "PROBE 50500 0123456789abcdef",
        "PROBE 1 0123456789abcdef0123456789abcdef",
        "PING a-Token!",
    ];
    for text in same {
        let request = request(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(written(|out| request.write(out)), format!("{text}\r\n"));
    }
}

#[test]
fn what_who_has_an_id_says_stands_on_the_wire_as_documented() {
    let requests = [
        format!("PROVE signal {KEY} {HEX} 192.0.2.1:8000 {SIG}"),
        format!("PROVE relay {KEY} {HEX} [2001:db8::1]:8000 {SIG}"),
        format!("OBSERVE {HEX}"),
        format!("SIGNAL {ID} - {SIG} {{\"a\":1}}"),
        format!("SIGNAL {ID} {HEX} {SIG} \"ä\""),
        format!("RELAY 192.0.2.1:8000 {HEX} {KEY} {KEY} {SIG} {SIG}"),
    ];
    for text in requests {
        let request = request(&text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(written(|out| request.write(out)), format!("{text}\r\n"));
    }
    let replies = [
        format!("HELLO p2poll 1 id nonce={HEX}"),
        format!("PROVEN {ID}"),
        "DENIED nonce".into(),
        format!("SIGNALED {ID} STORED"),
        format!("SIGNAL {KEY} 192.0.2.1:5 - {SIG} {{}}"),
        format!("SIGNAL {KEY} [2001:db8::1]:5 192.0.2.1:6 {SIG} {{}}"),
        "RELAYED 1073741824 7200 0".into(),
        "REFUSED used".into(),
    ];
    for text in replies {
        let reply = reply(&text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(written(|out| reply.write(out)), format!("{text}\r\n"));
        assert!(Reply::knows_verb(text.as_bytes()));
    }
}

#[test]
fn what_who_has_an_id_says_wrongly_is_none() {
    let longest = "x".repeat(signal::MAX_TEXT);
    assert!(request(&format!("SIGNAL {ID} - {SIG} {longest}")).is_some());
    let (weak, key) = ("0".repeat(64), KEY);
    let odd = SIG.replace('A', "B");
    for line in [
        format!("PROVE node {key} {HEX} 192.0.2.1:8000 {SIG}"),
        format!("PROVE signal {weak} {HEX} 192.0.2.1:8000 {SIG}"),
        format!("PROVE signal {key} 0 192.0.2.1:8000 {SIG}"),
        format!("PROVE signal {key} {HEX} 192.0.2.1:0 {SIG}"),
        format!("PROVE signal {key} {HEX} :8000 {SIG}"),
        format!("PROVE signal {key} {HEX} 192.0.2.1:8000 {SIG}=="),
        // The last character holds bits that belong to no byte.
        format!("PROVE signal {key} {HEX} 192.0.2.1:8000 {odd}"),
        format!("PROVE signal {key} {HEX} 192.0.2.1:8000"),
        format!("OBSERVE {}", &HEX[1..]),
        "OBSERVE 0123456789abcdef0123456789abcdeg".into(),
        "OBSERVE".into(),
        format!("SIGNAL {ID} {SIG} x"),
        format!("SIGNAL {ID} 0 {SIG} x"),
        format!("SIGNAL {ID} - {SIG}"),
        format!("SIGNAL {ID} - {SIG} x y"),
        format!("SIGNAL {ID} - {SIG} x\ty"),
        format!("SIGNAL {ID} - {SIG} x{longest}"),
        format!("SIGNAL {}0 - {SIG} x", &ID[2..]),
        format!("RELAY 192.0.2.1:8000 {HEX} {key} {key} {SIG}"),
        format!("RELAY {HEX} {key} {key} {SIG} {SIG}"),
        format!("RELAY 192.0.2.1:8000 {HEX}00 {key} {key} {SIG} {SIG}"),
    ] {
        assert_eq!(request(&line), None, "{line}");
    }
    assert_eq!(Request::parse(b"SIGNAL 21fe31dfa154a261626bf854046fd2271b7bed4b - AA \xff"), None);
    for line in [
        "PROVEN",
        "SIGNALED 21fe31dfa154a261626bf854046fd2271b7bed4b PERHAPS",
        "SIGNAL",
        "RELAYED 1 2",
        "RELAYED -1 2 3",
        "REFUSED",
        "DENIED",
    ] {
        assert_eq!(reply(line), None, "{line}");
        assert!(Reply::knows_verb(line.as_bytes()), "{line}");
    }
}

/// A later version may have more reasons, and a hello more words.
#[test]
fn what_a_later_server_adds_is_passed_over() {
    assert_eq!(reply("DENIED weather"), Some(Reply::Denied(Denial::Other)));
    assert_eq!(reply("REFUSED weather"), Some(Reply::Refused(RelayRefusal::Other)));
    let hello = Reply::Hello { features: Features::ID, nonce: None };
    for text in ["HELLO p2poll 1 id nonce=", "HELLO p2poll 1 nonce=xyz id", "HELLO p2poll 2 id key=7"] {
        assert_eq!(reply(text), Some(hello.clone()), "{text}");
    }
    assert_eq!(request("HELLO p2poll 1 id nonce=1"), Some(Request::Hello(Features::ID)));
}

#[test]
fn replies_stand_on_the_wire_as_in_pyp2p() {
    let same = [
        "NODES EMPTY",
        "NODES p:203.0.113.7:44444 p:198.51.100.1:1 ",
        "NODES p+:203.0.113.7:44444 p:[::1]:5000 ",
        "REMOTE TCP 1",
        "PREDICTION SET",
        "CHALLENGE 203.0.113.7 4000 4001 TCP",
        "RECONNECT",
        "FIGHT 203.0.113.7 4000 TCP 1700000000.5",
        "HELLO p2poll 1 ping",
        "SEEN 203.0.113.7 9",
        "SEEN [2001:db8::1] 9",
        "PONG 1",
        "OBSERVERS NONE",
        "OBSERVERS 203.0.113.7:8000 [2001:db8::1]:8001 :8002",
        "PROBED 50500 YES",
        "PROBED 1 NO",
        "PROBED 65535 LATER",
        "LISTED 50500",
        "FULL",
    ];
    for text in same {
        let reply = reply(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(written(|out| reply.write(out)), format!("{text}\r\n"));
        assert!(Reply::knows_verb(text.as_bytes()));
    }
}

#[test]
fn what_a_hand_types_is_read() {
    assert_eq!(request("BOOTSTRAP  7 \r"), Some(Request::Bootstrap { count: 7 }));
    assert_eq!(request("SOURCE TCP "), Some(Request::Source { port: None }));
    assert_eq!(request("HELLO p2poll 2 ping telepathy"), Some(Request::Hello(Features::PING)));
    let many = request("PASSIVE READY 1 99999999999999999999999");
    assert_eq!(many, Some(Request::Passive { port: 1, max_inbound: u32::MAX }));
}

#[test]
fn what_is_not_in_the_protocol_is_none() {
    let long = format!("PING {}", "x".repeat(33));
    let wide = format!("CANDIDATE 1.2.3.4 TCP{}", " 7".repeat(MAX_PORTS + 1));
    let lines = [
        "",
        " ",
        "bootstrap 1",
        "BOOTSTRAP",
        "BOOTSTRAP 0",
        "BOOTSTRAP 101",
        "BOOTSTRAP +1",
        "BOOTSTRAP 1 2",
        "PASSIVE READY 0 1",
        "PASSIVE READY 65536 1",
        "PASSIVE READY 1",
        "CANDIDATE 1.2.3.4 TCP",
        "CANDIDATE 1.2.3.4 TCP 0",
        "CANDIDATE 1.2.3.4 UDP 1",
        "CANDIDATE 1.2.3 TCP 1",
        "ACCEPT 1.2.3.4 1 TCP",
        "ACCEPT 1.2.3.4 1 TCP 1.",
        "ACCEPT 1.2.3.4 1 TCP -1",
        "ACCEPT 1.2.3.4 1 TCP 1e9",
        "ACCEPT 1.2.3.4 1 TCP 99999999999999999999",
        "ACCEPT 1.2.3.4 TCP 1",
        "HELLO",
        "HELLO p2poll",
        "HELLO p2poll 0",
        "HELLO other 1",
        "OBSERVERS 1",
        "PROBE",
        "PROBE 50500",
        "PROBE 0 0123456789abcdef",
        "PROBE 65536 0123456789abcdef",
        "PROBE 50500 0123456789abcde",
        "PROBE 50500 0123456789abcdef0123456789abcdef0",
        "PROBE 203.0.113.7 50500 0123456789abcdef",
        "PROBE 50500 0123456789abcdef 203.0.113.7",
        &long,
        &wide,
    ];
    for line in lines {
        assert_eq!(request(line), None, "{line}");
    }
    let replies = [
        "NODES",
        "NODES x:1.2.3.4:5",
        "NODES p:1.2.3.4",
        "NODES p:1.2.3.4:x",
        "REMOTE TCP 0",
        "OBSERVERS",
        "OBSERVERS NONE 1.2.3.4:5",
        "OBSERVERS 1.2.3.4",
        "OBSERVERS 1.2.3.4:0",
        "OBSERVERS :65536",
        "OBSERVERS example.org:1",
        "PROBED 1",
        "PROBED 0 YES",
        "PROBED 1 REFUSED",
    ];
    for line in replies {
        assert_eq!(reply(line), None, "{line}");
        assert!(Reply::knows_verb(line.as_bytes()), "{line}");
    }
    assert!(!Reply::knows_verb(b"HTTP/1.1 400 Bad Request"));
}

/// pyp2p's server lists whatever port it is told, so anybody could make its whole answer unreadable.
#[test]
fn an_impossible_port_does_not_spoil_the_other_nodes() {
    let node = Listed { addr: "1.2.3.4:5".parse().unwrap(), newer: false };
    for bad in ["p:1.2.3.4:0", "p:1.2.3.4:70000", "p+:1.2.3.4:99999999999"] {
        let text = format!("NODES {bad} p:1.2.3.4:5 ");
        assert_eq!(reply(&text), Some(Reply::Nodes(vec![node])), "{text}");
    }
}

#[test]
fn an_answer_gives_a_hundred_nodes_at_most() {
    let text = format!("NODES {}", "p:1.2.3.4:5 ".repeat(1000));
    assert!(matches!(reply(&text), Some(Reply::Nodes(nodes)) if nodes.len() == MAX_NODES));
}

#[test]
fn an_answer_gives_eight_observers_at_most() {
    let text = format!("OBSERVERS{}", " 1.2.3.4:5".repeat(1000));
    assert!(matches!(reply(&text), Some(Reply::Observers(places)) if places.len() == MAX_OBSERVERS));
}

/// pyp2p's server looks only at how a line begins: what ours adds must not begin like one of its own.
#[test]
fn an_old_server_takes_nothing_new_for_something_old() {
    for verb in ["HELLO", "WHOAMI", "PING", "OBSERVERS", "PROBE", "PROVE", "OBSERVE", "SIGNAL", "RELAY"] {
        for old in
            ["BOOTSTRAP", "PASSIVE", "SIMULTANEOUS", "SOURCE TCP", "CANDIDATE", "ACCEPT", "CLEAR", "QUIT"]
        {
            assert!(!verb.starts_with(old) && !old.starts_with(verb), "{verb} {old}");
        }
    }
}

#[test]
fn a_nonce_is_32_digits_and_never_the_same() {
    let mut random = Random::from_number(1);
    let (first, second) = (Token::nonce(&mut random), Token::nonce(&mut random));
    assert!(first != second && first.is_nonce() && !Token::new(b"short").unwrap().is_nonce());
    assert!(first.as_bytes().len() == 32 && first.as_bytes().iter().all(u8::is_ascii_hexdigit));
    assert_ne!(first.as_bytes()[..16], first.as_bytes()[16..]);
}

#[test]
fn a_meeting_keeps_its_microseconds() {
    let ntp = |text: &str| Ntp::parse(text.as_bytes()).map(|ntp| ntp.to_string());
    assert_eq!(ntp("1412137849.288068").as_deref(), Some("1412137849.288068"));
    assert_eq!(ntp("1412137849.28806851").as_deref(), Some("1412137849.288068"));
    assert_eq!(ntp("1412137849.0").as_deref(), Some("1412137849"));
    assert_eq!(ntp("7.000001").as_deref(), Some("7.000001"));
    assert_eq!(Ntp(5_500_000).distance(Duration::from_secs(6)), Duration::from_millis(500));
}

#[test]
fn ipv4_in_ipv6_is_ipv4() {
    assert_eq!(reply("SEEN [::ffff:1.2.3.4] 5"), reply("SEEN 1.2.3.4 5"));
    let mapped = Reply::Seen("[::ffff:1.2.3.4]:5".parse().unwrap());
    assert_eq!(written(|out| mapped.write(out)), "SEEN 1.2.3.4 5\r\n");
}

fn ips() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>().prop_map(|ip| ip.to_canonical())
}

fn port_lists() -> impl Strategy<Value = Ports> {
    proptest::collection::vec(1..=u16::MAX, 1..=MAX_PORTS).prop_map(Ports)
}

fn tokens() -> impl Strategy<Value = Token> {
    "[!-~]{1,32}".prop_map(|text| Token::new(text.as_bytes()).unwrap())
}

fn nonces() -> impl Strategy<Value = Token> {
    "[!-~]{16,32}".prop_map(|text| Token::new(text.as_bytes()).unwrap())
}

fn observers() -> impl Strategy<Value = Vec<Observer>> {
    let ip = proptest::option::of(ips());
    let observer = (ip, 1..=u16::MAX).prop_map(|(ip, port)| Observer { ip, port });
    proptest::collection::vec(observer, 0..=MAX_OBSERVERS)
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    (0..Verdict::ALL.len()).prop_map(|which| Verdict::ALL[which])
}

fn features() -> impl Strategy<Value = Features> {
    (0..=Features::ALL.0).prop_map(Features)
}

fn hex_tokens() -> impl Strategy<Value = Token> {
    "[0-9a-f]{32}".prop_map(|text| Token::new(text.as_bytes()).unwrap())
}

fn addrs() -> impl Strategy<Value = SocketAddr> {
    (ips(), 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn keys() -> impl Strategy<Value = PublicKey> {
    (1..9u8).prop_map(|number| Key::from_seed(&[number; 32]).public())
}

fn ids() -> impl Strategy<Value = NodeId> {
    any::<[u8; 20]>().prop_map(NodeId::from_bytes)
}

fn signatures() -> impl Strategy<Value = Signature> {
    any::<[[u8; 32]; 2]>().prop_map(|halves| std::array::from_fn(|n| halves[n / 32][n % 32]))
}

fn texts() -> impl Strategy<Value = SignalText> {
    "[!-~äß\u{1F600}]{1,700}".prop_map(|text| SignalText::new(&text).unwrap())
}

fn proofs() -> impl Strategy<Value = Request> {
    (0..2usize, keys(), hex_tokens(), addrs(), signatures(), any::<Option<u64>>()).prop_map(
        |(role, key, nonce, server, signature, incarnation)| {
            let incarnation = incarnation.map(Incarnation::from_number);
            Request::Prove(Box::new(Proof {
                role: ProofRole::ALL[role],
                key,
                nonce,
                server,
                signature,
                incarnation,
            }))
        },
    )
}

fn tickets() -> impl Strategy<Value = Request> {
    (addrs(), any::<[u8; 16]>(), keys(), keys(), signatures(), signatures()).prop_map(
        |(server, session, caller, callee, first, second)| {
            Ticket { server, session, caller, callee }.request(first, second)
        },
    )
}

fn outgoing() -> impl Strategy<Value = Request> {
    (ids(), proptest::option::of(hex_tokens()), signatures(), texts()).prop_map(
        |(to, observed, signature, text)| {
            Request::Signal(Box::new(Outgoing { to, observed, signature, text }))
        },
    )
}

fn incoming() -> impl Strategy<Value = Reply> {
    (keys(), addrs(), proptest::option::of(addrs()), signatures(), texts()).prop_map(
        |(from, seen, observed, signature, text)| {
            Reply::Signal(Box::new(Incoming { from, seen, observed, signature, text }))
        },
    )
}

fn relay_limits() -> impl Strategy<Value = RelayLimits> {
    any::<[u64; 3]>().prop_map(|[bytes, seconds, rate]| RelayLimits { bytes, seconds, rate })
}

fn requests() -> impl Strategy<Value = Request> {
    prop_oneof![
        features().prop_map(Request::Hello),
        Just(Request::Whoami),
        tokens().prop_map(Request::Ping),
        Just(Request::Observers),
        (1..=u16::MAX, nonces()).prop_map(|(port, nonce)| Request::Probe { port, nonce }),
        (1..=100u8).prop_map(|count| Request::Bootstrap { count }),
        (1..=u16::MAX, any::<u32>()).prop_map(|(port, max_inbound)| Request::Passive { port, max_inbound }),
        any::<(u16, u32)>().prop_map(|(port, max_inbound)| Request::Simultaneous { port, max_inbound }),
        any::<Option<u16>>().prop_map(|port| Request::Source { port }),
        (ips(), port_lists()).prop_map(|(ip, ports)| Request::Candidate { ip, ports }),
        (ips(), port_lists(), any::<u64>()).prop_map(|(ip, ports, ntp)| Request::Accept {
            ip,
            ports,
            ntp: Ntp(ntp)
        }),
        proofs(),
        hex_tokens().prop_map(Request::Observe),
        outgoing(),
        tickets(),
        Just(Request::Clear),
        Just(Request::Quit),
    ]
}

fn nodes() -> impl Strategy<Value = Vec<Listed>> {
    let node = (ips(), 1..=u16::MAX, any::<bool>());
    let node = node.prop_map(|(ip, port, newer)| Listed { addr: SocketAddr::new(ip, port), newer });
    proptest::collection::vec(node, 0..=MAX_NODES)
}

fn replies() -> impl Strategy<Value = Reply> {
    prop_oneof![
        (features(), proptest::option::of(hex_tokens()))
            .prop_map(|(features, nonce)| Reply::Hello { features, nonce }),
        ids().prop_map(Reply::Proven),
        (0..Denial::ALL.len()).prop_map(|which| Reply::Denied(Denial::ALL[which])),
        (ids(), 0..Delivery::ALL.len())
            .prop_map(|(to, which)| Reply::Signaled { to, outcome: Delivery::ALL[which] }),
        incoming(),
        relay_limits().prop_map(Reply::Relayed),
        (0..RelayRefusal::ALL.len()).prop_map(|which| Reply::Refused(RelayRefusal::ALL[which])),
        (ips(), 1..=u16::MAX).prop_map(|(ip, port)| Reply::Seen(SocketAddr::new(ip, port))),
        tokens().prop_map(Reply::Pong),
        observers().prop_map(Reply::Observers),
        (1..=u16::MAX, verdicts()).prop_map(|(port, verdict)| Reply::Probed { port, verdict }),
        any::<u16>().prop_map(|port| Reply::Listed { port }),
        Just(Reply::Full),
        nodes().prop_map(Reply::Nodes),
        (1..=u16::MAX).prop_map(|port| Reply::Remote { port }),
        Just(Reply::PredictionSet),
        (ips(), port_lists()).prop_map(|(ip, ports)| Reply::Challenge { ip, ports }),
        Just(Reply::Reconnect),
        (ips(), port_lists(), any::<u64>()).prop_map(|(ip, ports, ntp)| Reply::Fight {
            ip,
            ports,
            ntp: Ntp(ntp)
        }),
    ]
}

/// Words of the protocol in any order: nearer to the edges than random bytes get.
fn near_misses() -> impl Strategy<Value = Vec<u8>> {
    let words = "(NODES|EMPTY|p:1\\.2\\.3\\.4:5|p\\+:\\[::1\\]:|BOOTSTRAP|FIGHT|ACCEPT|TCP|1\\.2\\.3\\.4|\\[|[0-9]{1,22}|1\\.|\\.5|HELLO|p2poll|PING|SEEN|READY|PASSIVE|SOURCE|OBSERVERS|PROBED?|:[0-9]{1,6}|NONE|YES|PROVE|signal|SIGNAL(ED)?|RELAY(ED)?|nonce=|-|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|A{86}| |\r)";
    proptest::collection::vec(words.prop_map(String::into_bytes), 0..12).prop_map(|words| words.join(&b' '))
}

proptest! {
    #[test]
    fn a_request_survives_the_wire(request in requests()) {
        let text = written(|out| request.write(out));
        prop_assert_eq!(Request::parse(text.strip_suffix("\r\n").unwrap().as_bytes()), Some(request));
    }

    #[test]
    fn a_reply_survives_the_wire(reply in replies()) {
        let text = written(|out| reply.write(out));
        prop_assert_eq!(Reply::parse(text.strip_suffix("\r\n").unwrap().as_bytes()), Some(reply));
    }

    #[test]
    fn no_bytes_make_a_parser_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (Request::parse(&line), Reply::parse(&line), Reply::knows_verb(&line));
    }

    #[test]
    fn nearly_right_lines_do_not_either(line in near_misses()) {
        let _ = (Request::parse(&line), Reply::parse(&line), Reply::knows_verb(&line));
    }
}
