//! The bodies on some hundred inputs each, and on those that are kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::server_node::input as server_node_input;
use super::*;

/// What the inputs are made of, so that they get beyond the first check.
const WORDS: &[&[u8]] = &[
    b"BOOTSTRAP ",
    b"3",
    b"100",
    b"PASSIVE READY ",
    b"SIMULTANEOUS READY ",
    b"5000 10",
    b"0 ",
    b"SOURCE TCP",
    b"CANDIDATE ",
    b"192.0.2.1 ",
    b"192.0.2.2",
    b" TCP ",
    b"1 2 3 4",
    b"ACCEPT ",
    b" TCP 1000000.5",
    b"CLEAR",
    b"QUIT",
    b"HELLO p2poll 1 ",
    b"listed ping seen observers probe newer",
    b"WHOAMI",
    b"PING ",
    b"x1",
    b"NODES ",
    b"p:192.0.2.7:5000 ",
    b"p+:[2001:db8::1]:5000 ",
    b"EMPTY",
    b"REMOTE TCP 5000",
    b"SEEN 192.0.2.9 77",
    b"PREDICTION SET",
    b"CHALLENGE ",
    b"FIGHT ",
    b"RECONNECT",
    b"PONG ",
    b"OBSERVERS",
    b" :8001",
    b"PROBE 5000 ",
    b"0123456789abcdef",
    b"PROBED 5000 ",
    b"YES",
    b"NO",
    b"LISTED 5",
    b" id signal relay observe",
    b" nonce=0123456789abcdef0123456789abcdef",
    b"PROVEN ",
    b"34750f98bd59fcfc946da45aaabe933be154a4b5",
    b"DENIED nonce",
    b"OBSERVE 0123456789abcdef0123456789abcdef",
    b"SIGNAL ",
    b"SIGNALED ",
    b" STORED",
    b"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a ",
    b" - AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA {}",
    b"RELAYED 1 2 3",
    b"REFUSED full",
    b"FULL",
    b"\xff\0",
    b"\r",
    b"~hello ",
    b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

fn input(seed: u64) -> Vec<u8> {
    let mut random = Random::from_number(seed);
    let mut data = vec![0; 3];
    data.fill_with(|| random.below(256) as u8);
    for _ in 0..random.below(120) {
        match random.below(4) {
            0 => data.extend([b'\n', random.below(256) as u8]),
            1 => data.push(random.below(256) as u8),
            _ => data.extend_from_slice(WORDS[random.below(WORDS.len())]),
        }
    }
    data
}

/// Fields of version 3, or something like it, or the bytes of version 2.
fn unl_input(seed: u64) -> Vec<u8> {
    const FIELDS: &[&[u8]] = &[
        b"\x01\x01p",
        b"\x02\x01g",
        b"\x02\x05d\xff\xff\xff\xfe",
        b"\x03\x01U",
        b"\x04\x07w\0P\xc0\0\x02\x01",
        b"\x04\x13l\0\0 \x01\r\xb8\0\0\0\0\0\0\0\0\0\0\0\x01",
        b"\x05\x05a.b:1",
        b"\x06\x02ab",
        b"\x80\0",
    ];
    let mut random = Random::from_number(seed);
    if random.below(3) == 0 {
        let mut data: Vec<u8> = (0..35).map(|_| random.below(256) as u8).collect();
        data[..2].copy_from_slice(&[1, 2]);
        data[22..25].copy_from_slice(&[
            b"pas"[random.below(3)],
            b"gme"[random.below(3)],
            b"fmUN"[random.below(4)],
        ]);
        return data;
    }
    let mut data = vec![2];
    data.extend_from_slice(FIELDS[0]);
    for field in &FIELDS[1..] {
        if random.below(3) == 0 {
            data.extend_from_slice(field);
        }
    }
    if random.below(3) == 0 {
        let place = 1 + random.below(data.len() - 1);
        data[place] ^= 1 << random.below(8);
    }
    data
}

/// Lines of a handshake and signals, or something like them.
fn hello_input(seed: u64) -> Vec<u8> {
    let mut random = Random::from_number(seed);
    let (hex, proof) = ("ab".repeat(16), "A".repeat(86));
    // RFC 8032 section 7.1, TEST 1.
    let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let begin = format!(r#"~hello {{"p2poll":1,"key":"{key}","nonce":"{hex}","credit":9"#);
    let relay = format!(r#""relay":{{"server":"[2001:db8::1]:5","sig":"{proof}"}}"#);
    let call = format!(r#""call":"{hex}""#);
    let lines = [
        format!("{begin}}}"),
        format!(r#"{begin},"use":"link"}}"#),
        format!(r#"{begin},{call},"use":"upgrade"}}"#),
        format!(r#"{begin},"proof":"{proof}"}}"#),
        format!(r#"~proof {{"proof":"{proof}"}}"#),
        r#"~refused {"why":"busy"}"#.into(),
        format!(r#"{{"k":"call",{call},"unl":"x\"\u0041","punch":true,{relay}}}"#),
        format!(r#"{{"k":"answer",{call},"unl":"x","punch":false}}"#),
        format!(r#"{{"k":"refuse",{call},"why":"full"}}"#),
        format!(r#"{{"k":"ready",{call},"round":1,"port":5,"nat":-2,"rtt":7}}"#),
        format!(r#"{{"k":"meet",{call},"round":1,"port":5,"nat":"reuse","in":7,"new":[1]}}"#),
        format!(r#"{{"k":"relay",{call},{relay}}}"#),
        format!(r#"{{"k":"done",{call}}}"#),
        "0123456789abcdef".repeat(1 + random.below(5)),
        "~~~ {}[]\"".into(),
    ];
    let mut data = Vec::new();
    for _ in 0..1 + random.below(6) {
        data.extend_from_slice(lines[random.below(lines.len())].as_bytes());
        if random.below(2) == 0 {
            let place = random.below(data.len());
            data[place] = random.below(256) as u8;
        }
        data.extend_from_slice([&b"\r\n"[..], b"\n", b""][random.below(3)]);
    }
    data
}

/// Answers of routers, or something like them.
#[cfg(feature = "gateway")]
fn router_input(seed: u64) -> Vec<u8> {
    const WORDS: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 500 No\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 30\r\n",
        b"LOCATION: http://192.168.1.1:5000/root.xml\r\n",
        b"\r\n",
        b"a;x=y\r\n",
        b"0\r\n\r\n",
        b"<s:Envelope>",
        b"</s:Envelope>",
        b"<root><device>",
        b"<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>",
        b"<controlURL>/ctl</controlURL></service>",
        b"<URLBase>http://192.168.1.1/x/</URLBase>",
        b"<errorCode>501</errorCode><errorDescription>no &#27;\xfc",
        b"<NewInternalPort>80</NewInternalPort>",
        b"<NewInternalClient>192.168.1.7",
        b"&amp;",
        b" & ",
        b"<![CDATA[",
        b"]]>",
        b"\0",
    ];
    let mut random = Random::from_number(seed);
    let mut data = vec![random.below(256) as u8];
    for _ in 0..random.below(30) {
        match random.below(8) {
            0 => data.push(random.below(256) as u8),
            _ => data.extend_from_slice(WORDS[random.below(WORDS.len())]),
        }
    }
    data
}

/// A letter of a ring with all its fields, but for one in four, of which one is missing or something else.
fn letter_input(seed: u64) -> Vec<u8> {
    const KINDS: &[&str] = &[
        "ask",
        "answer",
        "busy",
        "gone",
        "probe",
        "alive",
        "notify",
        "kick",
        "leave",
        "join",
        "welcome",
        "elsewhere",
        "settled",
        "askfingers",
        "fingers",
        "meet",
        "find",
        "ack",
        "found",
        "notfound",
        "unsure",
        "direct",
        "point",
        "pointed",
        "ping",
    ];
    let mut random = Random::from_number(seed);
    let mut bytes = |len: usize| (0..len).map(|_| random.below(256) as u8).collect::<Vec<_>>();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut letter =
        serde_json::json!({"k": KINDS[usize::from(bytes(1)[0]) % KINDS.len()], "n": bytes(1)[0]});
    for name in ["from", "to", "query"] {
        letter[name] = hex(&bytes(8)).into();
    }
    for name in ["key", "without"] {
        letter[name] = hex(&bytes(20)).into();
    }
    for (name, len) in
        [("pred", 28), ("through", 28), ("owner", 28), ("origin", 28), ("list", 28 * 3), ("dead", 40)]
    {
        letter[name] = STANDARD_NO_PAD.encode(bytes(len)).into();
    }
    for name in ["receipt", "hops", "more", "timeouts", "ms"] {
        letter[name] = bytes(1)[0].into();
    }
    for name in ["insist", "wraps", "last", "before", "careful"] {
        letter[name] = (bytes(1)[0] < 128).into();
    }
    let Some(fields) = letter.as_object_mut() else { return Vec::new() };
    if bytes(1)[0] < 64 {
        let place = usize::from(bytes(1)[0]) % fields.len();
        let other = [serde_json::Value::Null, true.into(), (-1).into(), "ff".into(), "AAA".into()];
        let name = fields.keys().nth(place).cloned().unwrap_or_default();
        match bytes(1)[0] {
            0..128 => drop(fields.remove(&name)),
            choice => drop(fields.insert(name, other[usize::from(choice) % other.len()].clone())),
        }
    }
    letter.to_string().into_bytes()
}

/// Bytes that are no text.
fn noise(seed: u64) -> Vec<u8> {
    let mut random = Random::from_number(seed);
    (0..random.below(400)).map(|_| random.below(256) as u8).collect()
}

type Body = fn(&[u8]);
type Inputs = fn(u64) -> Vec<u8>;

/// Each is a quarter of an hour of six members: one in 25.
fn ring_input(seed: u64) -> Vec<u8> {
    if seed.is_multiple_of(25) { input(seed) } else { Vec::new() }
}

const BODIES: &[(&str, Body, Inputs)] = &[
    ("lines", lines, input),
    ("rendezvous_codec", rendezvous_codec, input),
    ("rendezvous_server", rendezvous_server, input),
    ("rendezvous_client", rendezvous_client, input),
    ("server_node", server_node, server_node_input),
    ("ring", ring, ring_input),
    ("ring_codec", ring_codec, letter_input),
    ("unl", unl, unl_input),
    ("hello", hello, hello_input),
    ("survey", survey, noise),
    ("nat_kind", nat_kind, noise),
    ("address_book", address_book, noise),
    ("probe_prompt", probe_prompt, input),
    ("relay_lines", relay_lines, input),
    #[cfg(feature = "gateway")]
    ("http_answer", http_answer, router_input),
    #[cfg(feature = "gateway")]
    ("upnp_answer", upnp_answer, router_input),
];

/// Each has its program, and whatever was found once is tried again.
#[test]
fn every_body_has_a_target_and_holds_on_what_is_kept() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !folder.exists() {
        return; // in a package there is none
    }
    for (name, body, _) in BODIES {
        assert!(folder.join("fuzz_targets").join(format!("{name}.rs")).exists(), "{name}");
        let Ok(seeds) = std::fs::read_dir(folder.join("seeds").join(name)) else { panic!("{name} has none") };
        for seed in seeds {
            let path = seed.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| body(&data));
            assert!(outcome.is_ok(), "{}", path.display());
        }
    }
}

#[test]
fn every_body_holds_on_seeded_inputs() {
    for seed in 0..500 {
        for (name, body, input) in BODIES {
            let data = input(seed);
            let outcome = std::panic::catch_unwind(|| body(&data));
            assert!(outcome.is_ok(), "{name} with seed {seed}: {}", data.escape_ascii());
        }
    }
}

#[test]
fn inputs_reach_what_they_are_for() {
    let inputs: Vec<_> = (0..500).map(input).collect();
    let count = |wanted: fn(&[u8]) -> bool| {
        inputs.iter().flat_map(|data| data.split(|&byte| byte == b'\n')).filter(|line| wanted(line)).count()
    };
    assert!(count(|line| line.get(1..).is_some_and(|line| Request::parse(line).is_some())) > 100);
    assert!(count(|line| line.get(1..).is_some_and(|line| Reply::parse(line).is_some())) > 20);
    let key = Key::from_seed(&[1; 32]);
    let unls = (0..500).filter(|&seed| unl_text(&unl_input(seed), &key).parse::<Unl>().is_ok());
    assert!((100..400).contains(&unls.count()));
    let hellos: Vec<_> = (0..500).map(hello_input).collect();
    let lines =
        || hellos.iter().flat_map(|data| data.split(|&byte| byte == b'\n')).map(<[u8]>::trim_ascii_end);
    assert!(lines().filter(|line| Hello::parse(line).is_some()).count() > 50);
    assert!(lines().filter(|line| Answer::parse(line).is_some()).count() > 20);
    let letters = (0..500).filter(|&seed| crate::wire::ring::parse(&letter_input(seed)).is_some());
    assert!((350..490).contains(&letters.count()));
    let signal = |line: &&[u8]| std::str::from_utf8(line).is_ok_and(|text| signal::parse(text).is_some());
    assert!(lines().filter(signal).count() > 200);
    assert!(hellos.iter().any(|data| matches!(classify(data), Opening::Pyp2pNonce(_))));
}
