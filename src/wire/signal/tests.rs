use proptest::prelude::*;

use super::*;

const CALL: &str = "000102030405060708090a0b0c0d0e0f";

fn call() -> CallId {
    CallId::from_bytes(std::array::from_fn(|n| n as u8))
}

fn half() -> Half {
    Half { server: "192.0.2.1:8000".parse().unwrap(), sig: [0; 64] }
}

fn read(kind: &str, fields: &str) -> Option<Body> {
    parse(&format!(r#"{{"k":"{kind}","call":"{CALL}"{fields}}}"#)).map(|signal| signal.body)
}

#[test]
fn the_texts_are_these() {
    let sig = "A".repeat(86);
    let relay = format!(r#""relay":{{"server":"192.0.2.1:8000","sig":"{sig}"}}"#);
    let (unl, kind, relay_half) = ("unl3_x".to_owned(), Some(NatKind::Delta { step: -2 }), Some(half()));
    let cases = [
        (
            Body::Call { unl: unl.clone(), reverse: true, punch: true, relay: relay_half, upgrade: true },
            format!(r#""call",C,"unl":"unl3_x","reverse":true,"punch":true,{relay},"upgrade":true"#),
        ),
        (
            Body::Call { unl: unl.clone(), reverse: false, punch: false, relay: None, upgrade: false },
            r#""call",C,"unl":"unl3_x""#.into(),
        ),
        (
            Body::Answer { unl: unl.clone(), punch: true, relay: relay_half, second: None },
            format!(r#""answer",C,"unl":"unl3_x","punch":true,{relay}"#),
        ),
        (
            Body::Answer { unl, punch: false, relay: relay_half, second: relay_half },
            format!(r#""answer",C,"unl":"unl3_x",{relay},{}"#, relay.replace("relay", "relay2")),
        ),
        (Body::Refuse { why: RefuseWhy::UnknownCall }, r#""refuse",C,"why":"unknown_call""#.into()),
        (
            Body::Ready { round: 1, port: 5000, kind, rtt_us: 40_000 },
            r#""ready",C,"round":1,"port":5000,"nat":-2,"rtt":40000"#.into(),
        ),
        (
            Body::Meet { round: 1, port: 5000, kind: None, dial_in_us: 90 },
            r#""meet",C,"round":1,"port":5000,"in":90"#.into(),
        ),
        (Body::Relay { half: half() }, format!(r#""relay",C,{relay}"#)),
        (Body::Done, r#""done",C"#.into()),
    ];
    for (body, text) in cases {
        let text = format!("{{\"k\":{}}}", text.replace('C', &format!(r#""call":"{CALL}""#)));
        let signal = Signal { call: call(), body };
        assert_eq!(print(&signal), text);
        assert_eq!(parse(&text), Some(signal));
    }
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    assert_eq!(read("done", r#","new":{"x":[]}"#), Some(Body::Done));
    let unwilling = Some(Body::Refuse { why: RefuseWhy::Unwilling });
    assert_eq!(read("refuse", r#","why":"weather""#), unwilling);
    assert_eq!(
        read("meet", r#","round":0,"port":1,"in":0,"nat":"quantum""#),
        Some(Body::Meet { round: 0, port: 1, kind: None, dial_in_us: 0 })
    );
}

#[test]
fn what_is_missing_wrong_or_not_known_makes_it_no_signal() {
    let sig = format!(r#""sig":"{}""#, "A".repeat(86));
    let cases = [
        ("hail", ""),
        ("call", ""),
        ("call", r#","unl":7"#),
        ("call", r#","unl":"""#),
        ("call", r#","unl":"a\u0020b""#),
        ("call", r#","unl":"a\nb""#),
        ("call", r#","unl":"a","punch":1"#),
        ("call", r#","unl":"a","relay":null"#),
        ("answer", r#","unl":"a","relay":{"server":"192.0.2.1:8000"}"#),
        ("refuse", ""),
        ("refuse", r#","why":1"#),
        ("ready", r#","round":1,"port":0,"rtt":1"#),
        ("ready", r#","round":256,"port":1,"rtt":1"#),
        ("ready", r#","round":1,"port":65536,"rtt":1"#),
        ("ready", r#","round":1,"port":1,"rtt":-1"#),
        ("ready", r#","round":1,"port":1"#),
        ("meet", r#","round":1,"port":1,"in":1,"nat":0"#),
        ("meet", r#","round":1,"port":1,"in":1,"nat":2147483648"#),
        ("meet", r#","round":1,"port":1,"in":1,"nat":true"#),
        ("relay", ""),
    ];
    for (kind, fields) in cases {
        assert_eq!(read(kind, fields), None, "{kind} {fields}");
    }
    for server in ["", "host:1", "192.0.2.1", "192.0.2.1:0", "[fe80::1%3]:5"] {
        let fields = format!(r#","relay":{{"server":"{server}",{sig}}}"#);
        assert_eq!(read("relay", &fields), None, "{server}");
    }
    assert_eq!(parse(r#"{"k":"done"}"#), None);
    assert_eq!(parse(&format!(r#"{{"call":"{CALL}"}}"#)), None);
}

#[test]
fn a_signal_is_one_word_within_the_limit() {
    let done = format!(r#"{{"k":"done","call":"{CALL}"}}"#);
    assert!(parse(&done).is_some());
    for bad in [done.replace(',', ", "), format!(" {done}"), format!("{done}\n"), format!("{done}x")] {
        assert_eq!(parse(&bad), None, "{bad}");
    }
    let filled = |length: usize| {
        let begin = done.trim_end_matches('}').to_owned() + r#","x":""#;
        begin.clone() + &"y".repeat(length - begin.len() - 2) + "\"}"
    };
    assert!(parse(&filled(MAX_SIGNAL)).is_some());
    assert_eq!(parse(&filled(MAX_SIGNAL + 1)), None);
}

#[test]
fn the_longest_signal_is_within_the_limit() {
    let body = Body::Call {
        unl: "\"".repeat(Unl::MAX_TEXT), // two bytes each, as the worst that is taken
        reverse: true,
        punch: true,
        relay: Some(Half {
            server: "[2001:db8:1111:1111:1111:1111:1111:1111]:65535".parse().unwrap(),
            sig: [0; 64],
        }),
        upgrade: true,
    };
    let signal = Signal { call: call(), body };
    assert_eq!(parse(&print(&signal)), Some(signal));
}

#[test]
fn an_address_has_one_form() {
    let fields = format!(r#","relay":{{"server":"[::ffff:192.0.2.1]:8000","sig":"{}"}}"#, "A".repeat(86));
    assert_eq!(read("relay", &fields), Some(Body::Relay { half: half() }));
}

#[test]
fn a_signal_is_of_one_sender_for_one_recipient() {
    let (alice, bob) = (Key::from_seed(&[1; 32]), Key::from_seed(&[2; 32]));
    let text = print(&Signal { call: call(), body: Body::Done });
    let sig = sign(&alice, &bob.id(), &text);
    assert!(is_signed(&alice.public(), &bob.id(), &text, &sig));
    assert!(!is_signed(&bob.public(), &bob.id(), &text, &sig));
    assert!(!is_signed(&alice.public(), &alice.id(), &text, &sig));
    assert!(!is_signed(&alice.public(), &bob.id(), &text.replace("00", "01"), &sig));
}

fn any_half() -> impl Strategy<Value = Half> {
    let port = 1..=u16::MAX;
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(std::net::IpAddr::from),
        any::<[u8; 16]>().prop_map(std::net::IpAddr::from)
    ];
    (ip, port, any::<u8>())
        .prop_map(|(ip, port, byte)| Half { server: canonical((ip, port).into()), sig: [byte; 64] })
}

fn any_kind() -> impl Strategy<Value = Option<NatKind>> {
    prop_oneof![
        Just(None),
        Just(Some(NatKind::Preserving)),
        Just(Some(NatKind::Reuse)),
        Just(Some(NatKind::Random)),
        any::<i32>()
            .prop_filter("a delta is never 0", |&step| step != 0)
            .prop_map(|step| Some(NatKind::Delta { step })),
    ]
}

fn any_why() -> impl Strategy<Value = RefuseWhy> {
    use RefuseWhy::*;
    proptest::sample::select(vec![Busy, Full, Closing, Unwilling, UnknownCall])
}

fn any_body() -> impl Strategy<Value = Body> {
    let unl = || "[!-~]{1,680}";
    let port = || 1..=u16::MAX;
    let relay = || proptest::option::of(any_half());
    prop_oneof![
        (unl(), any::<[bool; 3]>(), relay()).prop_map(|(unl, [reverse, punch, upgrade], relay)| {
            Body::Call { unl, reverse, punch, relay, upgrade }
        }),
        (unl(), any::<bool>(), relay(), relay()).prop_map(|(unl, punch, relay, second)| Body::Answer {
            unl,
            punch,
            relay,
            second
        }),
        any_why().prop_map(|why| Body::Refuse { why }),
        (any::<u8>(), port(), any_kind(), any::<u32>()).prop_map(|(round, port, kind, rtt_us)| Body::Ready {
            round,
            port,
            kind,
            rtt_us
        }),
        (any::<u8>(), port(), any_kind(), any::<u32>())
            .prop_map(|(round, port, kind, dial_in_us)| Body::Meet { round, port, kind, dial_in_us }),
        any_half().prop_map(|half| Body::Relay { half }),
        Just(Body::Done),
    ]
}

proptest! {
    #[test]
    fn what_is_printed_is_one_word_and_read_as_that(call: [u8; 16], body in any_body()) {
        let signal = Signal { call: CallId::from_bytes(call), body };
        let text = print(&signal);
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() <= MAX_SIGNAL);
        prop_assert_eq!(parse(&text), Some(signal));
    }

    #[test]
    fn no_text_is_too_odd(text in ".*", body in any_body(), place: proptest::sample::Index, byte in 0x21u8..0x7f) {
        prop_assert_eq!(parse(&text), None);
        // A byte of a good one changed: another signal or none, but one that can be said again.
        let mut text = print(&Signal { call: call(), body }).into_bytes();
        let place = place.index(text.len());
        text[place] = byte;
        if let Some(signal) = parse(&String::from_utf8(text).unwrap()) {
            prop_assert_eq!(parse(&print(&signal)), Some(signal));
        }
    }
}
