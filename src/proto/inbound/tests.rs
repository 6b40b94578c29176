use proptest::prelude::*;

use super::*;
use crate::random::Random;

const SERVER: ServerId = ServerId(0);
const LOCAL: &str = "192.0.2.1:4000";

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn stream(number: u32) -> StreamId {
    StreamId::new(number, number.into())
}

fn nonce() -> Token {
    Token::nonce(&mut Random::from_number(1))
}

/// A server at 198.51.100.1 is asked for a probe.
fn awaiting(relays: bool) -> PendingInbound {
    let mut inbound = PendingInbound::new(relays);
    inbound.handle_asked(SERVER, 4000, addr("198.51.100.1:0").ip(), nonce());
    inbound
}

/// Somebody comes, is numbered by the port, and held back.
fn accept(inbound: &mut PendingInbound, peer: &str, now: Instant) -> StreamId {
    let peer = addr(peer);
    assert!(inbound.is_held_back(peer.ip()) && inbound.has_room(peer.ip()), "{peer}");
    let id = stream(peer.port().into());
    inbound.handle_accepted(id, peer, addr(LOCAL), now);
    id
}

fn peers(inbound: &mut PendingInbound) -> Vec<StreamId> {
    std::iter::from_fn(|| inbound.poll_peer()).map(|(id, _)| id).collect()
}

#[test]
fn the_awaited_probe_is_answered_and_never_a_peer() {
    let mut inbound = awaiting(false);
    let id = accept(&mut inbound, "198.51.100.1:7", at(0));
    inbound.handle_received(id, b"~pro");
    assert_eq!((inbound.poll_action(), inbound.has_peers()), (None, false), "it may become one");
    assert!(inbound.holds(addr("198.51.100.1:7"), addr(LOCAL)));
    inbound.handle_received(id, b"~probe\r\n");
    let answer = InboundAction::Answer { stream: id, server: SERVER, nonce: nonce(), is_late: false };
    assert_eq!((inbound.poll_action(), inbound.poll_action()), (Some(answer), None));
    assert!(!inbound.is_held_back(addr("198.51.100.1:8").ip()), "one probe is awaited, not two");
    assert!(inbound.handle_told(SERVER, 4000, at(1)), "it was met");
    assert!(!inbound.handle_told(SERVER, 4000, at(1)), "once");
    assert_eq!((peers(&mut inbound), inbound.poll_timeout()), (vec![], None));
}

#[test]
fn who_comes_from_the_servers_address_is_a_peer_by_its_first_bytes_or_after_a_moment() {
    for (arrived, millis, expected) in [
        (&b"hello\n"[..], 0, true),
        (b"~hello {}\r\n", 0, true),
        (b"", 999, false),
        (b"", 1000, true),
        (b"~probe", 999, false),
        (b"~probe", 1000, true),
    ] {
        let mut inbound = awaiting(false);
        let id = accept(&mut inbound, "198.51.100.1:7", at(0));
        if !arrived.is_empty() {
            inbound.handle_received(id, arrived);
        }
        inbound.handle_timeout(at(millis));
        let expected = if expected { vec![id] } else { vec![] };
        assert_eq!(peers(&mut inbound), expected, "{arrived:?} after {millis} ms");
    }
}

#[test]
fn others_than_the_server_are_not_held_back() {
    let inbound = awaiting(false);
    assert!(!inbound.is_held_back(addr("198.51.100.2:7").ip()));
    assert!(PendingInbound::new(true).is_held_back(addr("198.51.100.2:7").ip()), "it may want a relay");
}

#[test]
fn a_prompt_of_somebody_else_is_not_answered() {
    let mut inbound = awaiting(true);
    let id = accept(&mut inbound, "198.51.100.2:7", at(0));
    inbound.handle_received(id, b"~probe\r\n");
    assert_eq!((inbound.poll_action(), peers(&mut inbound)), (None, vec![id]));
}

#[test]
fn a_flood_from_the_servers_address_is_refused_beyond_a_limit() {
    let mut inbound = awaiting(false);
    for port in 1..=MAX_HELD {
        accept(&mut inbound, &format!("198.51.100.1:{port}"), at(0));
    }
    assert!(!inbound.has_room(addr("198.51.100.1:9999").ip()));
    inbound.handle_timeout(at(1000));
    assert!(!inbound.has_room(addr("198.51.100.1:9999").ip()), "they wait to be screened");
    assert_eq!(peers(&mut inbound).len(), MAX_HELD);
    assert!(inbound.has_room(addr("198.51.100.1:9999").ip()));
}

#[test]
fn those_who_waited_beside_the_probe_are_peers_once_it_has_come() {
    let mut inbound = awaiting(false);
    let [first, probe] = ["198.51.100.1:1", "198.51.100.1:2"].map(|peer| accept(&mut inbound, peer, at(0)));
    inbound.handle_received(probe, b"~probe\r\n");
    assert_eq!(peers(&mut inbound), [first]);
}

#[test]
fn a_probe_that_the_server_gave_up_may_still_come_for_a_moment() {
    for (is_down, comes, expected) in
        [(false, 900, Some(true)), (false, 1000, None), (true, 900, Some(true)), (true, 1000, None)]
    {
        let mut inbound = awaiting(false);
        let id = accept(&mut inbound, "198.51.100.1:7", at(0));
        if is_down {
            inbound.handle_server_down(SERVER, at(0));
        } else {
            assert!(!inbound.handle_told(SERVER, 4000, at(0)), "it was not met");
        }
        inbound.handle_timeout(at(comes));
        inbound.handle_received(id, b"~probe\r\n");
        let late = match inbound.poll_action() {
            Some(InboundAction::Answer { is_late, .. }) => Some(is_late),
            _ => None,
        };
        assert_eq!(late, expected, "down: {is_down}, after {comes} ms");
    }
}

#[test]
fn what_is_said_of_another_port_ends_nothing() {
    let mut inbound = awaiting(false);
    assert!(!inbound.handle_told(SERVER, 4001, at(0)));
    assert_eq!(inbound.poll_timeout(), None, "it is still awaited");
    inbound.handle_asked(SERVER, 4001, addr("198.51.100.1:0").ip(), nonce());
    assert_eq!(inbound.awaited.len(), 1, "a server has one");
}

#[test]
fn who_wants_a_relay_is_told_by_its_greeting_and_all_others_are_peers() {
    for (arrived, millis, expected) in [
        (&b"HELLO p2poll 1 id relay\r\n"[..], 0, Some(true)),
        (b"HELLO p2poll", 1999, None),
        (b"HELLO p2poll", 2000, Some(false)),
        (b"HELLO pyp2p ", 0, Some(false)),
        (b"", 1999, None),
        (b"", 2000, Some(false)),
    ] {
        let mut inbound = PendingInbound::new(true);
        let id = accept(&mut inbound, "198.51.100.2:7", at(0));
        inbound.handle_received(id, arrived);
        inbound.handle_timeout(at(millis));
        let relayed = match (inbound.poll_action(), peers(&mut inbound)[..].first()) {
            (Some(InboundAction::Relay { stream }), None) if stream == id => Some(true),
            (None, Some(&peer)) if peer == id => Some(false),
            (None, None) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(relayed, expected, "{arrived:?} after {millis} ms");
    }
}

#[test]
fn a_flood_takes_the_relay_away_and_leaves_room_for_probes() {
    let mut inbound = awaiting(true);
    let mut port = 0;
    let mut come = |inbound: &mut PendingInbound, ip: &str| {
        port += 1;
        accept(inbound, &format!("{ip}:{port}"), at(0))
    };
    for _ in 0..MAX_RELAY_HELD_HERE {
        come(&mut inbound, "203.0.113.1");
    }
    assert!(!inbound.has_peers());
    let ninth = come(&mut inbound, "203.0.113.1");
    assert_eq!(peers(&mut inbound), [ninth], "of one prefix");
    for number in 0..MAX_RELAY_HELD - MAX_RELAY_HELD_HERE {
        come(&mut inbound, &format!("203.0.112.{number}"));
    }
    assert!(!inbound.has_peers());
    let beyond = come(&mut inbound, "203.0.111.1");
    assert_eq!(peers(&mut inbound), [beyond], "of all");
    let probe = come(&mut inbound, "198.51.100.1");
    inbound.handle_received(probe, b"~probe\r\n");
    assert!(matches!(inbound.poll_action(), Some(InboundAction::Answer { .. })));
}

#[test]
fn who_ends_before_it_is_known_is_forgotten() {
    let mut inbound = PendingInbound::new(true);
    let [held, released] = ["203.0.113.1:1", "203.0.113.1:2"].map(|peer| accept(&mut inbound, peer, at(0)));
    inbound.handle_received(released, b"x\n");
    inbound.handle_gone(held);
    inbound.handle_gone(released);
    inbound.handle_timeout(at(9999));
    assert_eq!((peers(&mut inbound), inbound.poll_action(), inbound.poll_timeout()), (vec![], None, None));
}

#[test]
fn a_node_that_leaves_relays_nobody() {
    let mut inbound = PendingInbound::new(true);
    let id = accept(&mut inbound, "203.0.113.1:1", at(0));
    inbound.stop_relaying();
    inbound.handle_received(id, b"HELLO p2poll 1 id relay\r\n");
    assert_eq!((inbound.poll_action(), peers(&mut inbound)), (None, vec![id]));
    assert!(!inbound.is_held_back(addr("203.0.113.1:2").ip()));
}

#[test]
fn a_client_is_known_by_its_greeting_alone() {
    for (arrived, expected) in [
        ("", None),
        ("H", None),
        ("HELLO p2poll", None),
        ("HELLO p2poll ", Some(true)),
        ("HELLO p2poll 1 id relay\r\n", Some(true)),
        ("HELLO p2poll\r\n", Some(false)),
        ("HELLO pyp2p ", Some(false)),
        ("hello p2poll ", Some(false)),
        ("~hello {", Some(false)),
        ("\n", Some(false)),
    ] {
        assert_eq!(is_relay_client(arrived.as_bytes()), expected, "{arrived:?}");
    }
}

proptest! {
    /// However it is cut.
    #[test]
    fn what_was_decided_stays_so(bytes in prop::collection::vec(any::<u8>(), 0..20), like in 0..14_usize) {
        let all = [&GREETING[..like.min(GREETING.len())], &bytes].concat();
        let verdicts: Vec<_> = (0..=all.len()).filter_map(|len| is_relay_client(&all[..len])).collect();
        prop_assert!(verdicts.windows(2).all(|two| two[0] == two[1]));
    }
}
