//! Both versions: what is known, what must always hold, and what is wrong with the bad ones.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::identity::Key;

type Theirs = (&'static str, &'static str, NodeType, NatKind, Forwarding, [&'static str; 2]);

/// Made by pyp2p itself (WIRE.md), and what is in them.
const THEIRS: [Theirs; 2] = [
    (
        "AgABAgMEBQYHCAkKCwwNDg8QERITcGdVnK0HcQDLLQCowGEATmo=",
        "000102030405060708090a0b0c0d0e0f10111213",
        NodeType::Passive,
        NatKind::Preserving,
        Forwarding::Upnp,
        ["203.0.113.7:44444", "192.168.0.45:44444"],
    ),
    (
        "AkFBQUFBQUFBQUFBQUFBQUFBQUFBc2VtRMXIZDPGAwIBCijXhx4=",
        "4141414141414141414141414141414141414141",
        NodeType::Simultaneous,
        NatKind::Reuse,
        Forwarding::None,
        ["198.51.100.200:50500", "10.1.2.3:50500"],
    ),
];

/// The format of version 3, held fast: this text was made once and is to be read for ever.
const OURS: &str = "unl3_AMOKiOPddAnxlf1S2y08ul1yymcJvx2UEhvzdIgBtA9vXAEBcwIFZP____4DAU4EB3etnMsAcQcEE2ytnCABD\
    bgAAAAAAAAAAAAAAAcEB2wPocCoAC0FE3J2LmV4YW1wbGUub3JnOjgwMDAFElsyMDAxOmRiODo6MV06ODAwMBz2w0x\
    HTZY680k0MHDnljrlTskw81PqOXs487efST1UqYS1KUlA7UXKRmH2m5TyfIHqripozQDArhmauSQnLAW8mK1P";

fn key(number: u8) -> Key {
    Key::from_seed(&[number; 32])
}

fn sample() -> Unl {
    Unl::builder(NodeType::Simultaneous)
        .nat(NatKind::Delta { step: -2 })
        .forwarding(Forwarding::NatPmp)
        .wan("203.0.113.7:44444".parse().unwrap())
        .lan("[2001:db8::7]:44444".parse().unwrap())
        .lan("192.168.0.45:4001".parse().unwrap())
        .server("rv.example.org:8000")
        .server("[2001:db8::1]:8000")
        .sign(&key(1))
        .unwrap()
}

/// A version 3 of fields made by hand, with all that belongs around them.
fn with_fields(fields: &[&[u8]]) -> Result<Unl, UnlError> {
    version3::print(&version3::seal(&key(1), &fields.concat()).unwrap()).parse()
}

/// The same with something changed in its bytes, but the checksum mended.
fn forged(unl: &Unl, change: impl FnOnce(&mut Vec<u8>)) -> Result<Unl, UnlError> {
    use base64::Engine as _;
    let mut bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&unl.as_str()[5..]).unwrap();
    bytes.truncate(bytes.len() - 4);
    change(&mut bytes);
    let sum = Sha256::digest(&bytes);
    bytes.extend(&sum[..4]);
    version3::print(&bytes).parse()
}

#[test]
fn pyp2ps_own_are_read_and_written_byte_for_byte() {
    for (text, id, node_type, nat, forwarding, [wan, lan]) in THEIRS {
        let unl: Unl = text.parse().unwrap();
        let id: NodeId = id.parse().unwrap();
        assert_eq!((unl.version(), unl.claimed_id(), unl.node_id(), unl.skipped()), (2, Some(id), None, 0));
        assert_eq!((unl.node_type(), unl.nat(), unl.forwarding()), (node_type, Some(nat), forwarding));
        let addresses: Vec<_> = unl.addresses().map(|address| address.to_string()).collect();
        assert_eq!(addresses, [format!("{wan} (WAN)"), format!("{lan} (LAN)")]);
        let builder = Unl::builder(node_type).nat(nat).forwarding(forwarding);
        let made = builder.wan(wan.parse().unwrap()).lan(lan.parse().unwrap()).version2(Some(id)).unwrap();
        assert_eq!((made.as_str(), &made.fields), (text, &unl.fields));
    }
}

#[test]
fn version_2_says_random_where_it_has_no_word() {
    let wan: SocketAddr = "203.0.113.7:1".parse().unwrap();
    let unl = Unl::builder(NodeType::Active).wan(wan).version2(None).unwrap();
    let delta =
        Unl::builder(NodeType::Active).nat(NatKind::Delta { step: 3 }).wan(wan).version2(None).unwrap();
    assert_eq!(unl, delta);
    assert_eq!((unl.nat(), unl.claimed_id()), (Some(NatKind::Random), None));
    assert_eq!(unl.as_str().parse::<Unl>().unwrap().fields, unl.fields);
    // Without an address inside there is no NAT, and both are the same.
    assert!(unl.addresses().all(|address| address.addr == wan));
}

#[test]
fn version_2_takes_what_it_can_say() {
    let builder = Unl::builder(NodeType::Passive)
        .wan("[2001:db8::7]:1".parse().unwrap())
        .wan("203.0.113.7:2".parse().unwrap())
        .wan("203.0.113.8:3".parse().unwrap())
        .lan("192.168.0.45:4".parse().unwrap())
        .server("rv.example.org:8000");
    let unl = builder.version2(None).unwrap();
    let addresses: Vec<_> = unl.addresses().map(|address| address.addr.to_string()).collect();
    assert_eq!(addresses, ["203.0.113.7:2", "192.168.0.45:2"]);
    assert_eq!(unl.servers().len(), 0);
    let inside_only = Unl::builder(NodeType::Passive).lan("192.168.0.45:4".parse().unwrap());
    assert!(matches!(inside_only.version2(None), Err(UnlError::BadField { field: "address", .. })));
}

#[test]
fn version_3_says_all_of_it() {
    let unl = sample();
    assert_eq!(unl.as_str(), OURS);
    let read: Unl = OURS.parse().unwrap();
    assert_eq!(read.fields, unl.fields);
    assert_eq!((read.version(), read.claimed_id(), read.skipped()), (3, None, 0));
    assert_eq!((read.node_id(), read.public_key()), (Some(key(1).id()), Some(key(1).public())));
    assert_eq!(read.node_type(), NodeType::Simultaneous);
    assert_eq!((read.nat(), read.forwarding()), (Some(NatKind::Delta { step: -2 }), Forwarding::NatPmp));
    let addresses: Vec<_> = read.addresses().map(|address| address.to_string()).collect();
    assert_eq!(
        addresses,
        ["203.0.113.7:44444 (WAN)", "[2001:db8::7]:44444 (LAN)", "192.168.0.45:4001 (LAN)"]
    );
    assert!(read.servers().eq(["rv.example.org:8000", "[2001:db8::1]:8000"]));
}

#[test]
fn it_describes_itself() {
    let id = key(1).id();
    let expected = format!(
        "version      3\n\
         node id      {id} (it has signed this)\n\
         node type    simultaneous\n\
         NAT          delta of -2\n\
         forwarding   NAT-PMP\n\
         address      203.0.113.7:44444 (WAN)\n\
         address      [2001:db8::7]:44444 (LAN)\n\
         address      192.168.0.45:4001 (LAN)\n\
         server       rv.example.org:8000\n\
         server       [2001:db8::1]:8000\n"
    );
    assert_eq!(sample().describe(), expected);
    let theirs: Unl = THEIRS[0].0.parse().unwrap();
    assert!(theirs.describe().contains("0f10111213 (claimed, not proven)\n"), "{}", theirs.describe());
    let odd = Unl::builder(NodeType::Passive).wan("10.0.0.1:0".parse().unwrap()).version2(None).unwrap();
    let said = odd.describe();
    assert!(said.contains("10.0.0.1:0 (WAN): private, not one of the outside\n"), "{said}");
    assert!(said.contains("10.0.0.1:0 (LAN): no port\n") && said.contains("node id      none\n"), "{said}");
}

#[test]
fn what_is_pasted_around_it_does_not_matter() {
    for text in [THEIRS[0].0, OURS] {
        let unl: Unl = text.parse().unwrap();
        for wrapped in [
            format!(" {text}\r\n"),
            format!("\"{text}\""),
            format!("\t' {text}' "),
            format!("`{text}`"),
            format!("„{text}“"),
            format!("<{text}>\u{a0}"),
            format!("unl: {text}\n"),
            format!(" UNL:\n\"{text}\""),
            format!("> {}\r\n> {}\r\n", &text[..20], &text[20..]),
            format!("{} {}\u{200b}{}", &text[..5], &text[5..40], &text[40..]),
        ] {
            assert_eq!(wrapped.parse::<Unl>().as_ref(), Ok(&unl), "{wrapped:?}");
            assert_eq!(wrapped.parse::<Unl>().unwrap().as_str(), text);
        }
    }
}

#[test]
fn the_larger_number_dials() {
    let [small, large]: [Unl; 2] = THEIRS.map(|(text, ..)| text.parse().unwrap());
    // "Ag" and "Ak": one text is as long as the other, and the second letter decides.
    assert!(large.dials(&small) && !small.dials(&large));
    assert!(!small.dials(&small));
    // A longer number is larger, whatever it begins with.
    assert!(sample().dials(&large) && !large.dials(&sample()));
}

#[test]
fn no_changed_character_goes_unnoticed() {
    for text in [THEIRS[0].0, THEIRS[1].0, OURS] {
        for (place, old) in text.char_indices() {
            for new in "AzQ5+/-_=.\u{e4}".chars().filter(|&new| new != old) {
                let mut changed = text.to_owned();
                changed.replace_range(place..place + 1, &new.to_string());
                assert!(changed.parse::<Unl>().is_err(), "{changed}");
            }
        }
    }
}

#[test]
fn what_is_cut_off_is_missed() {
    for text in [THEIRS[0].0, OURS] {
        for end in 5..text.len() {
            assert_eq!(text[..end].parse::<Unl>(), Err(UnlError::Truncated), "{}", &text[..end]);
        }
        assert_eq!(format!("{text}A").parse::<Unl>(), Err(UnlError::TooLong));
    }
}

#[test]
fn what_is_wrong_is_said() {
    let zeros = "A".repeat(52);
    let other = version2::print(&version2::seal(&[7; version2::UNSEALED]));
    for (text, expected) in [
        ("", UnlError::Foreign),
        ("rv.example.org:8000", UnlError::Foreign),
        ("unl", UnlError::Foreign),
        ("unl_AAAA", UnlError::Foreign),
        ("unl03_AAAA", UnlError::Foreign),
        ("unl99999999999_AAAA", UnlError::Foreign),
        (&zeros, UnlError::Foreign),
        ("unl4_AAAA", UnlError::UnknownVersion(4)),
        ("unl2_AAAA", UnlError::UnknownVersion(2)),
        (&other, UnlError::UnknownVersion(7)),
        ("unl3_", UnlError::Truncated),
        ("unl3_AA", UnlError::Truncated),
        // Lengths that none has.
        ("unl3_AAAA", UnlError::Altered),
        ("unl3_____", UnlError::Altered),
        ("unl3_AG o", UnlError::Truncated),
        ("unl3_AG.o", UnlError::BadCharacter('.')),
        ("unl3_AGo\u{1b}", UnlError::BadCharacter('\u{1b}')),
        ("AgAB_", UnlError::BadCharacter('_')),
        (&THEIRS[0].0.replace("Tmo=", "Tmp="), UnlError::Altered),
        (&THEIRS[0].0.replace("Tmo=", "Tmk="), UnlError::Altered),
        (&THEIRS[0].0.replace("Tmo=", "Tmo+"), UnlError::Altered),
    ] {
        assert_eq!(text.parse::<Unl>(), Err(expected), "{text}");
    }
}

#[test]
fn letters_of_version_2_that_nobody_knows_are_bad_fields() {
    let mut bytes = [0; version2::UNSEALED];
    bytes[0] = 2;
    for (place, field, good) in [(21, "node type", b'p'), (22, "NAT kind", b'g'), (23, "forwarding", b'f')] {
        let text = version2::print(&version2::seal(&bytes));
        let error = text.parse::<Unl>().unwrap_err();
        assert!(matches!(error, UnlError::BadField { field: bad, .. } if bad == field), "{error}");
        bytes[place] = good;
    }
    assert!(version2::print(&version2::seal(&bytes)).parse::<Unl>().is_ok());
}

#[test]
fn only_the_keys_holder_can_make_one() {
    let unl = sample();
    assert!(forged(&unl, |_| ()).is_ok());
    // Behind the key (34 bytes) come the fields, the first of them the node type.
    assert_eq!(forged(&unl, |bytes| bytes[36] = b'p'), Err(UnlError::BadSignature));
    assert_eq!(forged(&unl, |bytes| *bytes.last_mut().unwrap() ^= 1), Err(UnlError::BadSignature));
    let other = *key(2).public().as_bytes();
    assert_eq!(forged(&unl, |bytes| bytes[2..34].copy_from_slice(&other)), Err(UnlError::BadSignature));
    // With the neutral element as the key, and as the signature's point, every message would be signed.
    let anybody = forged(&unl, |bytes| {
        let start = bytes.len() - 64;
        bytes[2..34].fill(0);
        bytes[start..].fill(0);
        (bytes[2], bytes[start]) = (1, 1);
    });
    assert_eq!(anybody, Err(UnlError::field("key", "it is none")));
}

#[test]
fn later_fields_are_skipped_unless_they_forbid_it() {
    let node_type = [1, 1, b'p'];
    let unl = with_fields(&[&node_type, &[6, 2, 0xff, 0], &[127, 0], &[127, 0]]).unwrap();
    assert_eq!((unl.skipped(), unl.node_type()), (3, NodeType::Passive));
    assert!(unl.describe().ends_with("skipped      3 fields of a later version\n"), "{}", unl.describe());
    // They stay in the text, which goes on to those who may know them.
    assert_eq!(unl.to_string().parse(), Ok(unl));
    assert_eq!(with_fields(&[&node_type, &[128, 0]]), Err(UnlError::UnknownField(128)));
    assert_eq!(with_fields(&[&node_type, &[255, 0]]), Err(UnlError::UnknownField(255)));
}

#[test]
fn nothing_is_said_in_a_second_way() {
    const TYPE: &[u8] = &[1, 1, b'p'];
    let mapped: SocketAddr = SocketAddr::new([192, 0, 2, 1].into(), 80);
    let mapped = match mapped.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(_) => unreachable!("it is written above"),
    };
    let mapped = [&[4, 19, b'w', 0, 80][..], &mapped].concat();
    for (fields, field) in [
        (&[][..], "node type"),
        (&[&[1, 1, b'x'][..]], "node type"),
        (&[&[1, 0]], "node type"),
        (&[&[1, 2, b'p', b'p']], "node type"),
        (&[TYPE, TYPE], "node type"),
        (&[&[2, 1, b'g'], TYPE], "order"),
        (&[TYPE, &[6, 0], &[2, 1, b'g']], "order"),
        (&[TYPE, &[2, 1, b'd']], "NAT kind"),
        (&[TYPE, &[2, 5, b'd', 0, 0, 0, 0]], "NAT kind"),
        (&[TYPE, &[2, 5, b'g', 0, 0, 0, 1]], "NAT kind"),
        (&[TYPE, &[2, 1, b'g'], &[2, 1, b'g']], "NAT kind"),
        (&[TYPE, &[3, 1, b'm']], "forwarding"),
        (&[TYPE, &[4, 7, b'x', 0, 80, 192, 0, 2, 1]], "address"),
        (&[TYPE, &[4, 8, b'w', 0, 80, 192, 0, 2, 1, 0]], "address"),
        (&[TYPE, &[4, 2, b'w', 0]], "address"),
        (&[TYPE, &mapped], "address"),
        (&[TYPE, &[5, 3, b'a', b':', b'0']], "rendezvous server"),
        (&[TYPE, &[5, 4, b'a', b':', b'0', b'1']], "rendezvous server"),
        (&[TYPE, &[5, 4, b'a', b':', 0xff, b'1']], "rendezvous server"),
        (&[TYPE, &[5, 0]], "rendezvous server"),
        (&[TYPE, &[6]], "end"),
        (&[TYPE, &[6, 1]], "end"),
    ] {
        let error = with_fields(fields).unwrap_err();
        assert!(
            matches!(error, UnlError::BadField { field: bad, .. } if bad == field),
            "{fields:?}: {error}"
        );
    }
}

#[test]
fn there_are_limits_and_they_are_reached() {
    let address = SocketAddr::new(Ipv6Addr::from([0x20; 16]).into(), 1);
    let name = |length: usize| "a".repeat(length - 2) + ":1";
    let most = (0..Unl::MAX_ADDRESSES).fold(Unl::builder(NodeType::Passive), |unl, _| unl.lan(address));
    let more = most.clone().lan(address);
    // 512 bytes: 102 around the fields, 3 + 7 + 3 for kinds, 168 for addresses, and the servers' own.
    let most = most.nat(NatKind::Delta { step: i32::MIN }).forwarding(Forwarding::ByHand);
    let with_servers = |lengths: &[usize]| {
        lengths.iter().fold(most.clone(), |unl, &length| unl.server(name(length))).sign(&key(1))
    };
    let unl = with_servers(&[55, 55, 55, 56]).unwrap();
    assert_eq!(unl.as_str().len(), Unl::MAX_TEXT);
    assert_eq!(unl.as_str().parse(), Ok(unl));
    assert_eq!(with_servers(&[55, 55, 56, 56]), Err(UnlError::TooLong));
    assert_eq!(with_servers(&[10; 5]), Err(too_many("rendezvous servers")));
    assert_eq!(more.sign(&key(1)), Err(too_many("addresses")));
    // Made by hand.
    let field: &[u8] = &[4, 7, b'w', 0, 80, 192, 0, 2, 1];
    let fields: Vec<&[u8]> = std::iter::once(&[1, 1, b'p'][..]).chain([field; 9]).collect();
    assert!(with_fields(&fields[..9]).is_ok());
    assert_eq!(with_fields(&fields), Err(too_many("addresses")));
    let server: &[u8] = &[5, 3, b'a', b':', b'1'];
    let fields: Vec<&[u8]> = std::iter::once(&[1, 1, b'p'][..]).chain([server; 5]).collect();
    assert!(with_fields(&fields[..5]).is_ok());
    assert_eq!(with_fields(&fields), Err(too_many("rendezvous servers")));
}

fn too_many(field: &'static str) -> UnlError {
    UnlError::field(field, "there are too many")
}

#[test]
fn what_can_not_be_said_is_not_signed() {
    let bad = |builder: UnlBuilder| builder.sign(&key(1)).unwrap_err().to_string();
    let builder = Unl::builder(NodeType::Active);
    assert_eq!(
        bad(builder.clone().nat(NatKind::Delta { step: 0 })),
        "the UNL's NAT kind is bad: a delta is never 0"
    );
    assert_eq!(
        bad(builder.clone().server("rv.example.org")),
        "the UNL's rendezvous server is bad: it has no port"
    );
    // As the builder was given it, and as it is read, are the same.
    let unl = builder.server("[::FFFF:192.0.2.1]:080").wan("[::ffff:192.0.2.7]:5".parse().unwrap());
    let unl = unl.sign(&key(1)).unwrap();
    assert_eq!(unl.as_str().parse::<Unl>().unwrap().fields, unl.fields);
    assert!(unl.servers().eq(["192.0.2.1:80"]));
}

fn node_types() -> impl Strategy<Value = NodeType> {
    prop_oneof![Just(NodeType::Passive), Just(NodeType::Active), Just(NodeType::Simultaneous)]
}

fn nats() -> impl Strategy<Value = Option<NatKind>> {
    prop_oneof![
        Just(None),
        Just(Some(NatKind::Preserving)),
        Just(Some(NatKind::Reuse)),
        Just(Some(NatKind::Random)),
        any::<i32>().prop_map(|step| Some(NatKind::Delta { step: if step == 0 { 1 } else { step } })),
    ]
}

fn forwardings() -> impl Strategy<Value = Forwarding> {
    prop_oneof![
        Just(Forwarding::None),
        Just(Forwarding::ByHand),
        Just(Forwarding::Upnp),
        Just(Forwarding::NatPmp)
    ]
}

fn addresses() -> impl Strategy<Value = Vec<(bool, SocketAddr)>> {
    proptest::collection::vec(any::<(bool, SocketAddr)>(), 0..=Unl::MAX_ADDRESSES)
}

fn servers() -> impl Strategy<Value = Vec<String>> {
    let server = prop_oneof![
        "[a-z]{1,20}(\\.[a-z0-9-]{1,8}){0,2}:[1-9][0-9]{0,3}",
        any::<SocketAddr>().prop_filter("a port", |addr| addr.port() != 0).prop_map(|addr| addr.to_string()),
    ];
    proptest::collection::vec(server, 0..=Unl::MAX_SERVERS)
}

prop_compose! {
    fn builders()(
        node_type in node_types(), nat in nats(), forwarding in forwardings(), addresses in addresses(), servers in servers(),
    ) -> UnlBuilder {
        let mut builder = Unl::builder(node_type).forwarding(forwarding);
        if let Some(kind) = nat {
            builder = builder.nat(kind);
        }
        builder = servers.into_iter().fold(builder, UnlBuilder::server);
        addresses.into_iter().fold(builder, |builder, (wan, addr)| if wan { builder.wan(addr) } else { builder.lan(addr) })
    }
}

proptest! {
    #[test]
    fn what_is_made_is_read_as_it_was_made(builder in builders(), seed: [u8; 32]) {
        let unl = builder.clone().sign(&Key::from_seed(&seed)).unwrap();
        prop_assert!(unl.as_str().len() <= Unl::MAX_TEXT);
        let read: Unl = unl.to_string().parse().unwrap();
        prop_assert_eq!(&read.fields, &unl.fields);
        prop_assert_eq!(read.as_str(), unl.as_str());
        if let Ok(unl) = builder.version2(unl.node_id()) {
            let read: Unl = unl.to_string().parse().unwrap();
            prop_assert_eq!(&read.fields, &unl.fields);
        }
    }

    #[test]
    fn one_changed_byte_of_a_text_is_found(builder in builders(), place: usize, byte: u8, second: bool) {
        let unl = builder.clone().sign(&key(1)).unwrap();
        let unl = if second { builder.version2(None).unwrap_or(unl) } else { unl };
        let mut bytes = unl.to_string().into_bytes();
        let place = place % bytes.len();
        prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        let changed = String::from_utf8_lossy(&bytes);
        // At an end it may have become what is pasted around it.
        prop_assert!(changed.parse::<Unl>() != Ok(unl));
        prop_assert!(changed.parse::<Unl>().is_err(), "{}", changed);
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,80}", prefix in prop_oneof![Just(""), Just("unl3_"), Just("Ag")]) {
        let _ = format!("{prefix}{text}").parse::<Unl>();
    }

    #[test]
    fn any_fields_are_read_or_refused(fields in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut text = version3::print(&version3::seal(&key(1), &fields).unwrap());
        if let Ok(unl) = text.parse::<Unl>() {
            prop_assert_eq!(unl.to_string(), text.clone());
        }
        text.pop();
        prop_assert_eq!(text.parse::<Unl>(), Err(UnlError::Truncated));
    }

    #[test]
    fn any_version_2_is_written_as_it_is_read(mut bytes: [u8; 32], kinds in (0..4usize, 0..4usize, 0..5usize)) {
        bytes[0] = 2;
        let mut contents = [0; version2::UNSEALED];
        contents[..32].copy_from_slice(&bytes);
        (contents[21], contents[22], contents[23]) = (b"pasx"[kinds.0], b"gmex"[kinds.1], b"fmUNx"[kinds.2]);
        let text = version2::print(&version2::seal(&contents));
        let known = kinds.0 < 3 && kinds.1 < 3 && kinds.2 < 4;
        match text.parse::<Unl>() {
            Ok(unl) => {
                prop_assert!(known);
                let addresses: Vec<_> = unl.addresses().map(|address| address.addr).collect();
                let builder = Unl::builder(unl.node_type()).nat(unl.nat().unwrap()).forwarding(unl.forwarding());
                let again = builder.wan(addresses[0]).lan(addresses[1]).version2(unl.claimed_id()).unwrap();
                prop_assert_eq!(again.as_str(), text);
            }
            Err(_) => prop_assert!(!known),
        }
    }
}

#[test]
fn a_server_is_known_in_whichever_way_a_user_has_written_it() {
    for (named, given) in [
        ("rv.example.org:8000", "rv.example.org:8000"),
        ("[2001:db8::1]:8000", "[2001:DB8:0::1]:8000"),
        ("192.0.2.1:8000", "[::ffff:192.0.2.1]:8000"),
        ("[fe80::1]:8000", "[fe80::1%eth0]:8000"),
        ("localhost:8", "localhost:08"),
    ] {
        assert!(Unl::names_server(named, given), "{named} {given}");
    }
    assert!(!Unl::names_server("192.0.2.1:8000", "192.0.2.1:8001"));
    assert!(!Unl::names_server("rv.example.org:8000", "ä:1"));
}
