//! Links, better ways for relayed ones, and pyp2p's connections.

use super::*;
use crate::wire::rendezvous::{Ntp, Ports};

fn other() -> Key {
    Key::from_seed(&[9; 32])
}

fn con(number: u64) -> ConId {
    ConId::new(1, number as u32, number)
}

fn ports(port: u16) -> Ports {
    Ports::new([port]).expect("a port")
}

#[test]
fn a_link_ends_our_calls_and_the_one_that_led_to_it() {
    // Whether it came about by our call, by the other node's, or by none.
    for by in ["ours", "theirs", "none"] {
        let mut peer = Peer::new(1);
        let attempts = [(); 2].map(|()| peer.connect(unl(&other(), 9)).unwrap());
        let ours = peer.take_signals()[0].call;
        // An upgrade does not stand back for it, nor does it for an upgrade.
        peer.links.links.insert(other().id(), con(1));
        peer.links.relayed = Some(unl(&other(), 9));
        let unl = unl(&other(), 9).to_string();
        let theirs = Body::Call { unl, reverse: false, punch: false, relay: None, upgrade: true };
        peer.hear_body(&other(), call(1), FIRST, theirs);
        assert_eq!(peer.calls(), 2);
        (peer.actions, peer.events) = (Vec::new(), Vec::new());
        let by_call = match by {
            "ours" => Some(ours),
            "theirs" => Some(call(1)),
            _ => None,
        };
        let concluded = peer.machine.concluded(other().id(), by_call);
        assert!(concluded.ours && concluded.calls.contains(&ours), "{by}");
        let told =
            peer.tell(|machine, around, now| machine.handle_link(other().id(), con(2), by_call, around, now));
        assert!(told, "{by}");
        let connected: Vec<AttemptId> = peer
            .events
            .iter()
            .filter_map(|event| match event {
                ConnectEvent::Connected { con: of, waiter, .. } if *of == con(2) => Some(waiter.attempt),
                _ => None,
            })
            .collect();
        assert_eq!(connected, attempts, "{by}");
        assert_eq!(peer.calls(), usize::from(by != "theirs"), "{by}: the other node's goes on");
        assert!(peer.machine.was_ours(ours) && !peer.machine.was_ours(call(1)), "{by}");
        let done = peer.take_bodies().len();
        assert_eq!(
            done,
            if by == "ours" { 0 } else { 2 },
            "{by}: who called knows, the servers' word is for the others"
        );
        let first = peer.take_actions().into_iter().next();
        assert!(
            matches!(first, Some(ConnectAction::EndHandshakes { node, .. }) if node == other().id()),
            "{by}"
        );
    }
}

#[test]
fn what_was_dialled_is_given_up_when_the_call_is_over() {
    let unl = Unl::builder(NodeType::Passive).wan(addr("203.0.113.9:5000")).sign(&other()).unwrap();
    let mut peer = Peer::new(1);
    peer.connect(unl).unwrap();
    peer.pass(secs(1));
    let dials: Vec<DialId> = peer.take_dials().into_iter().map(|(dial, _)| dial).collect();
    assert_eq!(dials.len(), 2, "the node, and a server that is to see a port");
    peer.connected(dials[0]);
    peer.tell(|machine, around, now| machine.handle_link(other().id(), con(1), None, around, now));
    let mut abandoned = peer.take(|action| match action {
        ConnectAction::Abandon { dial } => Some(*dial),
        _ => None,
    });
    abandoned.sort_unstable();
    assert_eq!(abandoned, dials);
    assert_eq!(peer.machine.poll_timeout(), None);
    // What still comes of them is nobody's.
    for dial in dials {
        peer.refused(dial);
        assert!(!peer.machine.wants_line(dial));
    }
    assert!(peer.take_dials().is_empty());
}

#[test]
fn a_better_way_is_looked_for_and_again_after_twice_the_time() {
    let mut peer = Peer::new(1);
    peer.found = vec![FIRST];
    peer.servers.all.get_mut(&FIRST).unwrap().observes = false;
    peer.links.links.insert(other().id(), con(1));
    peer.links.relayed = Some(unl(&other(), 9));
    peer.machine.handle_relayed(con(1), peer.now);
    peer.pass(Duration::from_millis(29_999));
    assert_eq!(peer.calls(), 0);
    peer.pass(Duration::from_millis(1));
    let bodies = peer.take_bodies();
    assert!(matches!(bodies[..], [(FIRST, Body::Call { upgrade: true, relay: None, .. })]), "{bodies:?}");
    peer.pass(secs(15));
    assert_eq!(peer.calls(), 0, "no way was found");
    peer.take_actions();
    peer.pass(Duration::from_millis(59_999));
    assert_eq!(peer.calls(), 0);
    peer.pass(Duration::from_millis(1));
    assert_eq!(peer.calls(), 1);
    // It goes another way now.
    peer.take_actions();
    peer.tell(|machine, around, now| machine.handle_upgraded(other().id(), None, around, now));
    peer.machine.handle_relaying_over(con(1));
    assert_eq!((peer.calls(), peer.take_bodies().len()), (0, 0), "the hello says it all");
    assert_eq!(peer.machine.poll_timeout(), None);
}

#[test]
fn who_has_no_time_looks_for_a_better_way_later() {
    let mut peer = Peer::new(1);
    peer.links.relayed = Some(unl(&other(), 9));
    peer.machine.handle_relayed(con(1), peer.now);
    peer.pass(secs(20));
    for number in 20..24 {
        peer.connect(unl(&Key::from_seed(&[number; 32]), number)).unwrap();
    }
    peer.pass(secs(14));
    assert!(peer.take_signals().iter().all(|sent| sent.to != other().id()));
    peer.pass(secs(56));
    assert!(peer.take_signals().iter().any(|sent| sent.to == other().id()));
}

/// One that knows that pyp2p's node is in another network.
fn of_pyp2p() -> Peer {
    let mut peer = Peer::new(1);
    peer.reach.wan = Some(peer.seen.ip());
    peer
}

fn unl_of_pyp2p(node_type: NodeType) -> Unl {
    let (wan, lan) = (addr("203.0.113.9:5000"), addr("192.168.1.9:5000"));
    Unl::builder(node_type).wan(wan).lan(lan).nat(NatKind::Preserving).version2(None).expect("a UNL")
}

#[test]
fn an_address_of_a_version_2_that_answers_is_all_that_can_be_known() {
    let mut peer = of_pyp2p();
    let unl = unl_of_pyp2p(NodeType::Passive);
    let attempts = [(); 2].map(|()| peer.connect(unl.clone()).unwrap());
    let [(dial, _)] = peer.take_dials()[..] else { panic!("one address") };
    peer.pass(Duration::from_millis(50));
    peer.connected(dial);
    let waiters = attempts.map(|attempt| Waiter { attempt, temporary: None }).to_vec();
    let (via, took) = (crate::event::Via::Direct, Duration::from_millis(50));
    let adopt = ConnectAction::Adopt { dial, via, waiters, took };
    assert_eq!(peer.take_actions(), [adopt, ConnectAction::Over { call: dial.call() }]);
    assert_eq!(peer.calls(), 0);
}

/// Until our port was seen, and what is dialled for that.
fn challenged(peer: &mut Peer, server: ServerId, ip: &str) -> Option<DialId> {
    let ip: IpAddr = ip.parse().expect("an address");
    peer.tell(|machine, around, now| machine.handle_challenge(server, ip, &ports(4000), around, now));
    peer.take_dials().first().map(|&(dial, _)| dial)
}

#[test]
fn a_candidate_is_accepted_and_dialled_and_let_in() {
    // Whether the server is there to hear that.
    for accepted in [true, false] {
        let mut peer = Peer::new(1);
        let shown = challenged(&mut peer, FIRST, "203.0.113.50").expect("a port is shown");
        peer.connected(shown);
        peer.line(shown, "REMOTE TCP 6000");
        let accept = peer.take(|action| match action {
            ConnectAction::Accept { call, server, ip, ports, .. } => {
                Some((*call, *server, *ip, ports.first()))
            }
            _ => None,
        });
        assert_eq!(accept, [(shown.call(), FIRST, addr("203.0.113.50:1").ip(), 6000)]);
        if !accepted {
            peer.tell(|machine, around, now| machine.handle_unaccepted(shown.call(), around, now));
            assert_eq!((peer.calls(), peer.machine.poll_timeout()), (0, None));
            continue;
        }
        assert!(peer.take_dials().is_empty(), "it is not time yet");
        peer.pass(Duration::from_millis(501));
        let [(dial, to)] = peer.take_dials()[..] else { panic!("one pair of ports") };
        assert_eq!(to, addr("203.0.113.50:4000"));
        peer.take_actions();
        peer.connected(dial);
        let actions = peer.take_actions();
        assert!(
            actions.contains(&ConnectAction::Admit { dial })
                && !actions.contains(&ConnectAction::Abandon { dial })
        );
        assert!(actions.contains(&ConnectAction::Abandon { dial: shown }), "{actions:?}");
        assert_eq!(peer.calls(), 0);
    }
}

#[test]
fn who_is_met_and_how_many() {
    let mut peer = Peer::new(1);
    peer.servers.all.get_mut(&FIRST).unwrap().seen = Some(peer.seen);
    assert!(challenged(&mut peer, FOREIGN, "203.0.113.50").is_none(), "we have not chosen that server");
    assert!(challenged(&mut peer, FIRST, "203.0.113.1").is_none(), "it is at our own address");
    assert!(challenged(&mut peer, FIRST, "224.0.0.1").is_none(), "nobody is there");
    assert!(challenged(&mut peer, FIRST, "203.0.113.50").is_some());
    assert!(challenged(&mut peer, FIRST, "203.0.113.51").is_none(), "its turn comes");
    peer.pass(secs(2));
    assert_eq!((peer.take_dials().len(), peer.calls()), (1, 2));
    peer.links.is_full = true;
    challenged(&mut peer, FIRST, "203.0.113.52");
    peer.pass(secs(2));
    assert!(peer.take_dials().is_empty(), "there is no place for another connection");
    peer.pass(secs(10));
    assert_eq!(peer.calls(), 0, "nobody has said how our port is seen");
}

#[test]
fn a_node_of_pyp2ps_that_can_be_punched_to_names_the_moment() {
    let mut peer = of_pyp2p();
    peer.connect(unl_of_pyp2p(NodeType::Simultaneous)).unwrap();
    let dials = peer.take_dials();
    let [(shown, _)] = dials[..] else { panic!("a port is shown: {dials:?}, {:?}", peer.events) };
    peer.connected(shown);
    peer.line(shown, "REMOTE TCP 6000");
    let announced = peer.take(|action| match action {
        ConnectAction::Announce { server, ip, ports } => Some((*server, ip.to_string(), ports.first())),
        _ => None,
    });
    assert_eq!(announced, [FIRST, SECOND].map(|server| (server, "203.0.113.9".to_owned(), 6000)));
    peer.tell(|machine, around, now| machine.handle_announced(FIRST, around, now));
    peer.pass(secs(5));
    assert_eq!(peer.calls(), 1, "it takes its time");
    // The meeting is 6 s after what it names: now, by our clock.
    let wall = Duration::from_secs(1_800_000_000) + peer.now.since_origin();
    let ntp = Ntp::from_unix(wall - secs(6));
    for server in [FOREIGN, FIRST] {
        let ip = addr("203.0.113.9:1").ip();
        peer.tell(|machine, around, now| machine.handle_fight(server, (ip, &ports(4000), ntp), around, now));
        peer.pass(Duration::from_millis(1));
        let dials: Vec<SocketAddr> = peer.take_dials().into_iter().map(|(_, to)| to).collect();
        let expected = if server == FIRST { vec![addr("203.0.113.9:4000")] } else { vec![] };
        assert_eq!(dials, expected, "{server}");
    }
}

#[test]
fn a_node_of_pyp2ps_that_no_server_knows_is_given_up_after_three_seconds() {
    let mut peer = of_pyp2p();
    peer.connect(unl_of_pyp2p(NodeType::Simultaneous)).unwrap();
    let dials = peer.take_dials();
    let [(shown, _)] = dials[..] else { panic!("a port is shown: {dials:?}, {:?}", peer.events) };
    peer.connected(shown);
    peer.line(shown, "REMOTE TCP 6000");
    peer.pass(secs(3));
    assert_eq!(peer.fault(Rung::Punch), Some(RungFault::Absent));
}
