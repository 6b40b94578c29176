//! What `p2poll unl` says of good ones and bad ones.

use p2poll::{Key, NatKind, NodeType, Unl};
use serde_json::{Value, json};

use crate::fields;
use crate::process::Process;

/// Made by pyp2p.
const THEIRS: &str = "AgABAgMEBQYHCAkKCwwNDg8QERITcGdVnK0HcQDLLQCowGEATmo=";

const FIELDS: [&str; 12] = [
    "event",
    "unl",
    "version",
    "node_id",
    "claimed_id",
    "key",
    "node_type",
    "nat",
    "forwarding",
    "addresses",
    "servers",
    "skipped",
];

fn json_of(text: &str) -> Value {
    let mut process = Process::start(&["unl", "--json", text]);
    let said = process.rest();
    assert_eq!((process.status(), said.len()), (Some(0), 1), "{said:?} {}", process.complaint());
    serde_json::from_str(&said[0]).expect("JSON")
}

#[test]
fn people_read_one_fact_a_line() {
    let mut process = Process::start(&["unl", THEIRS]);
    let expected = [
        "version      2",
        "node id      000102030405060708090a0b0c0d0e0f10111213 (claimed, not proven)",
        "node type    passive",
        "NAT          preserving",
        "forwarding   UPnP",
        "address      203.0.113.7:44444 (WAN)",
        "address      192.168.0.45:44444 (LAN)",
    ];
    assert_eq!(process.rest(), expected);
    assert_eq!(process.status(), Some(0));
}

#[test]
fn programs_read_every_field_in_its_order() {
    let key = Key::from_seed(&[7; 32]);
    let unl = Unl::builder(NodeType::Active)
        .nat(NatKind::Delta { step: -3 })
        .wan("10.0.0.1:5".parse().expect("an address"))
        .lan("[fd00::1]:5".parse().expect("an address"))
        .server("rv.example.org:8000")
        .sign(&key)
        .expect("it can be said");
    let said = json_of(&format!(" \"{unl}\"\n"));
    assert_eq!(fields(&said), FIELDS);
    let expected = json!({
        "event": "unl", "unl": unl.as_str(), "version": 3, "node_id": key.id().to_string(), "claimed_id": null,
        "key": key.public().to_string(), "node_type": "active", "nat": { "kind": "delta", "delta": -3 },
        "forwarding": "none",
        "addresses": [
            { "place": "wan", "addr": "10.0.0.1:5", "odd": "private" },
            { "place": "lan", "addr": "[fd00::1]:5", "odd": null },
        ],
        "servers": ["rv.example.org:8000"], "skipped": 0,
    });
    assert_eq!(said, expected);

    let theirs = json_of(THEIRS);
    assert_eq!(fields(&theirs), FIELDS);
    assert_eq!((&theirs["node_id"], &theirs["key"]), (&Value::Null, &Value::Null));
    assert_eq!(theirs["claimed_id"], "000102030405060708090a0b0c0d0e0f10111213");
    assert_eq!(theirs["nat"], json!({ "kind": "preserving", "delta": null }));
}

#[test]
fn what_is_wrong_with_a_bad_one_is_said() {
    for (text, why) in [
        ("hello", "not a UNL"),
        ("", "not a UNL"),
        (&THEIRS[..51], "the end of the UNL is missing"),
        (&THEIRS.replace("cGdVnK", "cGdVnk"), "altered or mistyped"),
        ("unl4_AAAA", "a UNL of version 4, which this version of p2poll does not know"),
        ("unl3_\u{1b}[2J", "no UNL has a '\\u{1b}' in it"),
    ] {
        for more in [&["unl", text][..], &["unl", text, "--json"]] {
            let mut process = Process::start(more);
            assert_eq!(process.rest(), [""; 0], "{text:?}");
            assert_eq!(process.status(), Some(1), "{text:?}");
            let complaint = process.complaint();
            assert!(complaint.starts_with("p2poll: ") && complaint.contains(why), "{text:?}: {complaint}");
        }
    }
}
