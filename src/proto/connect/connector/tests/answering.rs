//! Calls of others to us.

use super::*;
use crate::wire::proof::Ticket;

fn other() -> Key {
    Key::from_seed(&[9; 32])
}

/// How a call is answered.
fn answer(peer: &mut Peer, id: u8, server: ServerId, body: Body) -> Vec<Body> {
    peer.hear_body(&other(), call(id), server, body);
    peer.take_bodies().into_iter().map(|(_, body)| body).collect()
}

#[test]
fn a_call_is_taken_once_and_its_answer_is_said_again() {
    let mut peer = Peer::new(1);
    let first = answer(&mut peer, 1, FIRST, calling(&other()));
    assert!(matches!(first.as_slice(), [Body::Answer { punch: false, relay: None, second: None, .. }]));
    assert_eq!(answer(&mut peer, 1, FIRST, calling(&other())), first, "its server went down meanwhile");
    assert!(answer(&mut peer, 1, SECOND, calling(&other())).is_empty(), "through another server");
    assert_eq!(peer.machine.counts(), (1, 1));
    peer.hear_body(&other(), call(1), FIRST, Body::Done);
    assert_eq!(peer.machine.counts(), (0, 1));
    assert!(answer(&mut peer, 1, FIRST, calling(&other())).is_empty(), "it is played again");
    assert_eq!(peer.calls(), 0);
}

#[test]
fn a_caller_that_does_nothing_is_waited_for_no_longer_than_20_seconds() {
    let mut peer = Peer::new(1);
    answer(&mut peer, 1, FIRST, calling(&other()));
    peer.pass(Duration::from_millis(19_999));
    assert_eq!(peer.calls(), 1);
    peer.pass(Duration::from_millis(1));
    assert_eq!((peer.calls(), peer.machine.poll_timeout()), (0, None));
    assert!(peer.take_actions().ends_with(&[ConnectAction::Over { call: call(1) }]));
}

#[test]
fn what_is_refused_and_what_is_passed_over() {
    let refuse = |why| vec![Body::Refuse { why }];
    let upgrade = |yes| match calling(&other()) {
        Body::Call { unl, .. } => Body::Call { unl, reverse: true, punch: true, relay: None, upgrade: yes },
        body => body,
    };
    let mut full = Peer::new(1);
    full.links.is_full = true;
    assert_eq!(answer(&mut full, 1, FIRST, calling(&other())), refuse(RefuseWhy::Full));
    full.links.links.insert(other().id(), ConId::new(1, 1, 1));
    assert!(matches!(answer(&mut full, 2, FIRST, calling(&other()))[..], [Body::Answer { .. }]));
    // A better way, where there is no relayed link.
    assert_eq!(answer(&mut full, 3, FIRST, upgrade(true)), refuse(RefuseWhy::UnknownCall));

    let mut busy = Peer::new(1);
    for id in 1..=4 {
        assert!(matches!(answer(&mut busy, id, FIRST, calling(&other()))[..], [Body::Answer { .. }]));
    }
    assert_eq!(answer(&mut busy, 5, FIRST, calling(&other())), refuse(RefuseWhy::Busy));

    let mut rated = Peer::with(1, ConnectConfig { max_calls: 100, ..config() });
    for id in 1..=6 {
        assert!(matches!(answer(&mut rated, id, FIRST, calling(&other()))[..], [Body::Answer { .. }]));
    }
    assert_eq!(
        answer(&mut rated, 7, FIRST, calling(&other())),
        refuse(RefuseWhy::Busy),
        "its share of a minute"
    );
    rated.pass(secs(60));
    assert!(matches!(answer(&mut rated, 8, FIRST, calling(&other()))[..], [Body::Answer { .. }]));

    let mut strict = Peer::new(1);
    assert!(answer(&mut strict, 1, FOREIGN, calling(&other())).is_empty(), "not through our own server");
    assert!(answer(&mut strict, 2, FIRST, calling(&Key::from_seed(&[8; 32]))).is_empty(), "not its UNL");
    strict.links.links.insert(other().id(), ConId::new(1, 1, 1));
    strict.links.by.push(call(3));
    assert!(answer(&mut strict, 3, FIRST, calling(&other())).is_empty(), "the hello was faster");
    strict.tell(|machine, around, now| machine.leave(around, now));
    assert!(answer(&mut strict, 4, FIRST, calling(&other())).is_empty(), "it leaves");
    assert_eq!(strict.calls(), 0);
}

#[test]
fn a_signal_that_the_sender_has_not_signed_for_us_is_none() {
    let mut peer = Peer::new(1);
    let text = signal::print(&signal::Signal { call: call(1), body: calling(&other()) });
    let elsewhere = Key::from_seed(&[5; 32]).id();
    let incoming = Incoming {
        from: other().public(),
        seen: addr("203.0.113.9:5000"),
        observed: None,
        signature: signal::sign(&other(), &elsewhere, &text),
        text: SignalText::new(&text).expect("a text"),
    };
    peer.tell(|machine, around, now| machine.handle_signal(FIRST, &incoming, around, now));
    assert_eq!(peer.machine.counts(), (0, 0));
    // Nor is what a third one says of a call that is under way.
    answer(&mut peer, 1, FIRST, calling(&other()));
    peer.hear_body(&Key::from_seed(&[5; 32]), call(1), FIRST, Body::Done);
    assert_eq!(peer.calls(), 1);
}

/// Which of the caller's addresses are dialled.
#[test]
fn a_caller_is_connected_to_where_that_is_promising() {
    let key = other();
    let unl = |node_type| {
        let builder = Unl::builder(node_type).wan(addr("203.0.113.9:5000")).lan(addr("192.168.1.9:5000"));
        builder.sign(&key).expect("a UNL").to_string()
    };
    // (what it says of itself, where the server sees us, what is dialled); the server sees it at 203.0.113.99.
    let cases = [
        (NodeType::Passive, "203.0.113.1:1", vec!["203.0.113.9:5000"]),
        (NodeType::Simultaneous, "203.0.113.1:1", vec![]),
        (NodeType::Simultaneous, "203.0.113.99:1", vec!["192.168.1.9:5000"]),
    ];
    for (node_type, seen, dialled) in cases {
        let mut peer = Peer::new(1);
        peer.servers.all.get_mut(&FIRST).unwrap().seen = Some(addr(seen));
        let unl = unl(node_type);
        let body = Body::Call { unl, reverse: true, punch: false, relay: None, upgrade: false };
        answer(&mut peer, 1, FIRST, body);
        let dials: Vec<String> = peer.take_dials().into_iter().map(|(_, to)| to.to_string()).collect();
        assert_eq!(dials, dialled, "{node_type:?}, seen at {seen}");
    }
}

#[test]
fn a_hello_of_the_call_is_as_good_as_a_dial_of_ours() {
    let mut peer = Peer::new(1);
    let unl =
        Unl::builder(NodeType::Passive).wan(addr("203.0.113.9:5000")).sign(&other()).unwrap().to_string();
    answer(&mut peer, 1, FIRST, Body::Call { unl, reverse: true, punch: false, relay: None, upgrade: false });
    let dials = peer.take_dials();
    peer.take_actions();
    let stranger = Key::from_seed(&[5; 32]).id();
    for (node, given_up) in
        [(stranger, vec![]), (other().id(), vec![ConnectAction::Abandon { dial: dials[0].0 }])]
    {
        peer.tell(|machine, around, now| machine.handle_hello(call(1), node, around, now));
        assert_eq!(peer.take_actions(), given_up);
    }
}

fn ticket(server: SocketAddr, callee: &Key) -> Ticket {
    Ticket { server, session: *call(1).as_bytes(), caller: other().public(), callee: callee.public() }
}

/// To which relays it would come.
#[test]
fn what_relays_are_offered() {
    /// What it is, whether the server relays, the own relay, where the caller has signed for, what is offered.
    type Case<'a> = (&'a str, bool, Option<SocketAddr>, Option<SocketAddr>, &'a [SocketAddr]);
    let (first, own, elsewhere) =
        (addr("198.51.100.1:8000"), addr("198.51.100.50:9"), addr("198.51.100.60:9"));
    let cases: [Case<'_>; 6] = [
        ("none there", false, None, Some(first), &[]),
        ("the server", true, None, Some(first), &[first]),
        ("the server, which the caller does not know as one", true, None, None, &[]),
        ("the server and its own", true, Some(own), Some(first), &[first, own]),
        ("its own alone", false, Some(own), None, &[own]),
        ("where the caller wants to", true, Some(own), Some(elsewhere), &[own]),
    ];
    for (what, relays, own, signed, offered) in cases {
        for use_relays in [true, false] {
            let mut peer = Peer::with(1, ConnectConfig { use_relays, ..config() });
            peer.servers.all.get_mut(&FIRST).unwrap().relays = relays;
            peer.relays.0.extend(own);
            let half = signed.map(|server| Half { server, sig: ticket(server, &peer.key).sign(&other()) });
            let unl = unl(&other(), 99).to_string();
            let body = Body::Call { unl, reverse: false, punch: false, relay: half, upgrade: false };
            let answered = answer(&mut peer, 1, FIRST, body);
            let [Body::Answer { relay, second, .. }] = &answered[..] else { panic!("{what}: {answered:?}") };
            let halves: Vec<SocketAddr> =
                [relay, second].into_iter().flatten().map(|half| half.server).collect();
            assert_eq!(halves, if use_relays { offered } else { &[] }, "{what}");
        }
    }
}

#[test]
fn it_comes_to_a_relay_that_it_has_offered_and_twelve_times_at_most() {
    let own = addr("198.51.100.50:9");
    let mut peer = Peer::new(1);
    peer.relays.0.push(own);
    answer(&mut peer, 1, FIRST, calling(&other()));
    let half = |server, peer: &Peer| Half { server, sig: ticket(server, &peer.key).sign(&other()) };
    let elsewhere = half(addr("198.51.100.60:9"), &peer);
    peer.hear_body(&other(), call(1), FIRST, Body::Relay { half: elsewhere });
    assert!(peer.take_dials().is_empty(), "nobody sends it anywhere");
    let forged = Half { sig: elsewhere.sig, server: own };
    peer.hear_body(&other(), call(1), FIRST, Body::Relay { half: forged });
    assert!(peer.take_dials().is_empty(), "the caller has not signed that");
    let mut times = 0;
    for _ in 0..30 {
        let half = half(own, &peer);
        peer.hear_body(&other(), call(1), SECOND, Body::Relay { half });
        assert!(peer.take_dials().is_empty(), "not through that server");
        peer.hear_body(&other(), call(1), FIRST, Body::Relay { half });
        for (dial, to) in peer.take_dials() {
            assert_eq!(to, own);
            peer.hear_body(&other(), call(1), FIRST, Body::Relay { half });
            assert!(peer.take_dials().is_empty(), "it is on its way");
            peer.refused(dial);
            times += 1;
        }
    }
    // The forged one counts, too.
    assert_eq!(times, 11);
}

#[test]
fn a_call_whose_answer_can_not_be_said_is_over() {
    // It is known before, or the server says so afterwards.
    for known in [true, false] {
        let mut peer = Peer::new(1);
        peer.servers.all.get_mut(&FIRST).unwrap().takes = !known;
        peer.hear_body(&other(), call(1), FIRST, calling(&other()));
        for sent in peer.take_signals() {
            peer.tell(|machine, around, now| machine.handle_unsent(&sent, around, now));
        }
        assert_eq!((peer.calls(), peer.machine.poll_timeout()), (0, None));
    }
}
