//! What becomes of dials: rungs, observation, punches, relays.

use super::*;
use crate::connect::RelayRefusal;
use crate::wire::relay::RelayLimits as WireLimits;
use crate::wire::rendezvous::{Features, Reply, Token};

/// A node to which anybody can connect, as it says.
fn open_unl(key: &Key) -> Unl {
    Unl::builder(NodeType::Passive)
        .wan(addr("203.0.113.9:5000"))
        .server("first.example:8000")
        .sign(key)
        .unwrap()
}

fn text(reply: &Reply) -> String {
    let mut text = Vec::new();
    reply.write(&mut text);
    String::from_utf8(text).expect("a line").trim_end().to_owned()
}

#[test]
fn what_a_dial_takes_of_the_budget_depends_on_what_comes_of_it() {
    let key = Key::from_seed(&[9; 32]);
    let only = || Connect::to(&open_unl(&key)).only(Rungs::NONE.with(Rung::Direct));
    let unreachable = |kind| RungFault::Unreachable(vec![(addr("203.0.113.9:5000"), kind)]);
    let cases = [
        (io::ErrorKind::ConnectionRefused, Peer::refused as fn(&mut Peer, DialId)),
        (io::ErrorKind::TimedOut, |peer, _| peer.pass(secs(3))),
    ];
    for (what, end) in cases {
        let mut peer = Peer::new(1);
        peer.connect(only()).unwrap();
        let dials = peer.take_dials();
        assert_eq!(dials.len(), 1, "{what}");
        end(&mut peer, dials[0].0);
        assert_eq!(peer.fault(Rung::Direct), Some(unreachable(what)), "{what}");
        // All three are spent, or one is, and three are too many.
        peer.connect(only()).unwrap();
        assert!(peer.take_dials().is_empty(), "{what}");
        assert_eq!(peer.fault(Rung::Direct), Some(RungFault::Budget), "{what}");
        peer.pass(secs(70));
        peer.connect(only()).unwrap();
        assert_eq!(peer.take_dials().len(), 1, "{what}: a minute later");
    }
}

#[test]
fn who_answers_is_asked_who_it_is_and_the_rung_waits_for_that() {
    let key = Key::from_seed(&[9; 32]);
    let mut peer = Peer::new(1);
    peer.connect(Connect::to(&open_unl(&key)).only(Rungs::NONE.with(Rung::Direct))).unwrap();
    let dial = peer.take_dials()[0].0;
    peer.connected(dial);
    let handshake = Handshake { rung: Rung::Direct, with: Some(key.id()), upgrade: false };
    assert_eq!(peer.take_actions(), [ConnectAction::SayHello { dial, handshake }]);
    peer.pass(secs(5));
    assert_eq!(peer.calls(), 1);
    let why = RungFault::WrongNode(addr("203.0.113.9:5000"));
    peer.tell(|machine, around, now| machine.handle_handshake_failed(dial, why.clone(), around, now));
    assert_eq!((peer.fault(Rung::Direct), peer.calls()), (Some(why), 0));
}

/// Observation: four ports, then the next server, then none.
#[test]
fn a_port_that_can_not_be_shown_is_another_one_and_then_another_server() {
    let key = Key::from_seed(&[9; 32]);
    let mut peer = Peer::new(1);
    peer.connect(Connect::to(&unl(&key, 9)).only(Rungs::NONE.with(Rung::Punch))).unwrap();
    let (first, second) = (peer.servers.all[&FIRST].addr, peer.servers.all[&SECOND].addr);
    for server in [first, second] {
        for _ in 0..4 {
            let ports: Vec<u16> = peer.take(|action| match action {
                ConnectAction::Dial { dial, to, from: Some(from) } if *to == server => {
                    assert!((61_000..65_500).contains(from), "{dial:?}");
                    Some(*from)
                }
                _ => None,
            });
            assert_eq!(ports.len(), 1, "{server}");
            let dial = DialId { call: peer.machine.calls.ids()[0], serial: peer.machine.shared.serial() };
            peer.refused(dial);
        }
    }
    assert_eq!(peer.fault(Rung::Punch), Some(RungFault::NotObserved));
}

#[test]
fn a_server_that_says_nothing_of_our_port_is_waited_for_three_seconds() {
    let mut peer = Peer::new(1);
    peer.servers.all.get_mut(&SECOND).unwrap().observes = false;
    peer.connect(Connect::to(&unl(&Key::from_seed(&[9; 32]), 9)).only(Rungs::NONE.with(Rung::Punch)))
        .unwrap();
    let dial = peer.take_dials()[0].0;
    peer.connected(dial);
    assert!(
        matches!(peer.take_actions().as_slice(), [.., ConnectAction::Send { dial: to, .. }] if *to == dial)
    );
    peer.line(dial, "what?");
    peer.pass(Duration::from_millis(2999));
    assert_eq!(peer.fault(Rung::Punch), None);
    peer.pass(Duration::from_millis(1));
    assert_eq!(peer.fault(Rung::Punch), Some(RungFault::NotObserved));
    assert!(peer.take_actions().contains(&ConnectAction::Abandon { dial }));
}

/// Both show a port; the caller's `Ready` and the other's `Meet` have been said, and both dial.
fn punching(caller: &mut Peer, callee: &mut Peer, server: ServerId) {
    caller.found = vec![server];
    let to = Connect::to(&callee.unl).only(Rungs::NONE.with(Rung::Punch));
    caller.connect(to).unwrap();
    let shown = caller.take_dials()[0].0;
    carry(caller, callee);
    let theirs = callee.take_dials()[0].0;
    carry(callee, caller);
    for (peer, dial) in [(&mut *caller, shown), (&mut *callee, theirs)] {
        peer.connected(dial);
        peer.line(dial, &text(&Reply::Seen(peer.seen)));
    }
    carry(caller, callee);
    carry(callee, caller);
    callee.pass(Duration::from_millis(40));
}

#[test]
fn two_punch_and_the_larger_id_says_hello() {
    let [mut larger, mut smaller] = two();
    for larger_calls in [true, false] {
        let (caller, callee) =
            if larger_calls { (&mut larger, &mut smaller) } else { (&mut smaller, &mut larger) };
        punching(caller, callee, FIRST);
        let dials = [caller.take_dials(), callee.take_dials()];
        assert_eq!([dials[0][0].1, dials[1][0].1], [callee.seen, caller.seen]);
        for (peer, dials) in [&mut *caller, &mut *callee].into_iter().zip(&dials) {
            peer.take_actions();
            peer.connected(dials[0].0);
        }
        let handshake = |with: &Peer| Handshake { rung: Rung::Punch, with: Some(with.id()), upgrade: false };
        let (said, expected) = (handshake(&smaller), handshake(&larger));
        assert!(
            matches!(larger.take_actions()[..], [ConnectAction::SayHello { handshake, .. }] if handshake == said)
        );
        assert!(
            matches!(smaller.take_actions()[..], [ConnectAction::ExpectHello { handshake, .. }] if handshake == expected)
        );
        for peer in [&mut larger, &mut smaller] {
            peer.pass(secs(30));
            peer.take_actions();
        }
    }
}

/// Each dial is refused at once, for as long as the punch lasts.
#[test]
fn what_is_merely_claimed_is_dialled_three_times_and_what_is_attested_often() {
    for (server, attested) in [(FIRST, true), (FOREIGN, false)] {
        let (mut caller, mut callee) = (Peer::new(1), Peer::new(2));
        // The callee takes calls through it; the caller has not chosen it.
        callee.servers.own.push(FOREIGN);
        punching(&mut caller, &mut callee, server);
        let mut dialled = 0;
        for _ in 0..200 {
            for (dial, to) in caller.take_dials() {
                assert_eq!(to, callee.seen);
                dialled += 1;
                caller.refused(dial);
            }
            caller.pass(Duration::from_millis(5));
        }
        if attested {
            assert!(dialled > 100, "{dialled}");
        } else {
            assert!((1..=3).contains(&dialled), "{dialled}");
        }
    }
}

/// The relays of the other side's answer, and the way to the first of them.
fn coming_to_relays(caller: &mut Peer, callee: &mut Peer) -> (DialId, SocketAddr) {
    callee.servers.all.get_mut(&FIRST).unwrap().relays = true;
    caller.servers.all.get_mut(&FIRST).unwrap().relays = true;
    // The caller's user trusts it, too.
    for peer in [&mut *caller, &mut *callee] {
        peer.relays.0.push(addr("198.51.100.50:9"));
    }
    caller.found = vec![FIRST];
    caller.connect(Connect::to(&callee.unl).only(Rungs::NONE.with(Rung::Relay))).unwrap();
    carry(caller, callee);
    carry(callee, caller);
    caller.take_dials()[0]
}

#[test]
fn a_relay_that_refuses_is_not_asked_again_and_the_next_one_is_at_once() {
    let (mut caller, mut callee) = (Peer::new(1), Peer::new(2));
    let (dial, to) = coming_to_relays(&mut caller, &mut callee);
    assert_eq!(to, addr("198.51.100.1:8000"));
    caller.connected(dial);
    // It does not know how to relay after all.
    caller.line(dial, &text(&Reply::Hello { features: Features::ID, nonce: None }));
    assert_eq!(caller.take(|action| (*action == ConnectAction::Close { dial }).then_some(())).len(), 1);
    let [(mut dial, to)] = caller.take_dials()[..] else { panic!("one relay is tried") };
    assert_eq!(to, addr("198.51.100.50:9"));
    // That one can not be reached, which may pass: it alone is tried again, each second.
    for _ in 0..5 {
        caller.refused(dial);
        assert!(caller.take_dials().is_empty());
        caller.pass(secs(1));
        let dials = caller.take_dials();
        let [(next, to)] = dials[..] else { panic!("one relay is tried: {dials:?} {:?}", caller.events) };
        assert_eq!(to, addr("198.51.100.50:9"));
        dial = next;
    }
    caller.refused(dial);
    let why = RungFault::RelayRefused(RelayRefusal::Unreachable);
    assert_eq!((caller.fault(Rung::Relay), caller.calls()), (Some(why), 0));
}

#[test]
fn of_two_relays_that_can_not_be_reached_each_has_its_turn() {
    let (mut caller, mut callee) = (Peer::new(1), Peer::new(2));
    let (mut dial, first) = coming_to_relays(&mut caller, &mut callee);
    let mut tried = vec![first];
    for _ in 0..3 {
        caller.refused(dial);
        caller.pass(secs(1));
        let (next, to) = caller.take_dials()[0];
        dial = next;
        tried.push(to);
    }
    let (server, own) = (addr("198.51.100.1:8000"), addr("198.51.100.50:9"));
    assert_eq!(tried, [server, own, server, own]);
}

#[test]
fn a_relay_that_passes_on_leads_to_a_hello_and_its_limits_are_the_links() {
    let (mut caller, mut callee) = (Peer::new(1), Peer::new(2));
    let (dial, _) = coming_to_relays(&mut caller, &mut callee);
    let sent = carry(&mut caller, &mut callee);
    assert_eq!(sent, 1, "the other side is to come there");
    let [(theirs, to)] = callee.take_dials()[..] else { panic!("it comes") };
    assert_eq!(to, addr("198.51.100.1:8000"));
    for (peer, dial) in [(&mut caller, dial), (&mut callee, theirs)] {
        let nonce = Token::new(&[b'a'; 32]);
        peer.connected(dial);
        peer.line(dial, &text(&Reply::Hello { features: Features::ID.or(Features::RELAY), nonce }));
        peer.line(dial, &text(&Reply::Proven(peer.id())));
        peer.take_actions();
        peer.line(dial, &text(&Reply::Relayed(WireLimits { bytes: 1000, seconds: 0, rate: 10 })));
        assert!(!peer.machine.wants_line(dial), "what follows is the other node's");
    }
    let handshake = |with: &Peer| Handshake { rung: Rung::Relay, with: Some(with.id()), upgrade: false };
    assert_eq!(caller.take_actions(), [ConnectAction::SayHello { dial, handshake: handshake(&callee) }]);
    let expected = ConnectAction::ExpectHello { dial: theirs, handshake: handshake(&caller) };
    assert_eq!(callee.take_actions(), [expected]);
    let limits = RelayLimits { bytes: Some(1000), time: None, rate: Some(10) };
    let by = Some(dial.call());
    assert_eq!(caller.machine.concluded(callee.id(), by).relay, Some(limits));
    assert_eq!(callee.machine.concluded(caller.id(), by).relay, Some(limits));
}

#[test]
fn a_relay_that_only_the_other_side_names_is_a_claim() {
    // A place in some network of its own is left alone, and one outside gets what any claimed address does.
    for (named, dialled) in [("198.51.100.50:9", true), ("192.168.1.50:9", false)] {
        let (mut caller, mut callee) = (Peer::new(1), Peer::new(2));
        callee.relays.0.push(addr(named));
        caller.found = vec![FIRST];
        for times in 0..2 {
            let to = Connect::to(&callee.unl).only(Rungs::NONE.with(Rung::Relay));
            caller.connect(to).unwrap();
            carry(&mut caller, &mut callee);
            carry(&mut callee, &mut caller);
            let dials = caller.take_dials();
            assert_eq!(dials.len(), usize::from(dialled && times == 0), "{named}, {times}");
            // Unanswered, so that its SYNs are spent.
            caller.pass(secs(16));
            caller.take_actions();
            callee.pass(secs(20));
            callee.take_actions();
        }
    }
}

#[test]
fn who_is_not_told_of_a_relay_does_not_come_there() {
    let (mut caller, mut callee) = (Peer::new(1), Peer::new(2));
    let (dial, server) = coming_to_relays(&mut caller, &mut callee);
    for sent in caller.take_signals() {
        caller.tell(|machine, around, now| machine.handle_unsent(&sent, around, now));
    }
    assert!(caller.take_actions().contains(&ConnectAction::Abandon { dial }));
    caller.pass(secs(1));
    let [(_, next)] = caller.take_dials()[..] else { panic!("one relay is tried") };
    assert_ne!(next, server, "the other one has its turn");
}
