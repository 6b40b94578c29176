//! Attempts of the application's, and calls of ours through servers.

use super::*;
use crate::error::FailReason;

#[test]
fn attempts_at_one_node_are_one_call_unless_they_ask_for_other_ways() {
    let peer_unl = unl(&Key::from_seed(&[9; 32]), 9);
    let without_relay = Rungs::ALL.without(Rung::Relay);
    // What is asked for one after the other, and how many calls that makes.
    let cases: [(&str, &[Rungs], usize); 4] = [
        ("one", &[Rungs::ALL], 1),
        ("twice the same", &[Rungs::ALL, Rungs::ALL], 1),
        ("other ways", &[Rungs::ALL, without_relay], 2),
        ("up to the limit of calls, each time", &[Rungs::ALL; 4], 1),
    ];
    for (what, attempts, calls) in cases {
        let mut peer = Peer::new(1);
        for &rungs in attempts {
            peer.connect(Connect::to(&peer_unl).only(rungs)).expect(what);
        }
        assert_eq!(peer.calls(), calls, "{what}");
    }
}

#[test]
fn what_can_not_be_attempted_is_said_at_once() {
    let other = unl(&Key::from_seed(&[9; 32]), 9);
    let mut peer = Peer::new(1);
    assert_eq!(peer.connect(peer.unl.clone()), Err(ConnectError::Oneself));
    for number in 10..14 {
        peer.connect(unl(&Key::from_seed(&[number; 32]), number)).expect("there is room for four");
    }
    assert_eq!(peer.connect(other.clone()), Err(ConnectError::TooMany));
    let mut peer = Peer::new(1);
    for _ in 0..4 {
        peer.connect(other.clone()).expect("four may wait for one call");
    }
    assert_eq!(peer.connect(other.clone()), Err(ConnectError::TooMany));
    peer.tell(|machine, around, now| machine.leave(around, now));
    assert_eq!(peer.connect(other.clone()), Err(ConnectError::Stopping));
    peer.machine = Connector::new(config(), None, Duration::ZERO, Random::from_number(1));
    assert_eq!(peer.connect(other), Err(ConnectError::NoLinks));
}

#[test]
fn a_link_that_is_there_is_told_at_once_unless_that_is_left_out() {
    let other = Key::from_seed(&[9; 32]);
    let mut peer = Peer::new(1);
    let con = ConId::new(1, 1, 1);
    peer.links.links.insert(other.id(), con);
    let attempt = peer.connect(unl(&other, 9)).unwrap();
    let waiter = Waiter { attempt, temporary: None };
    assert_eq!(peer.events, [ConnectEvent::Connected { con, waiter, took: Duration::ZERO }]);
    assert_eq!(peer.calls(), 0);
    peer.connect(Connect::to(&unl(&other, 9)).only(Rungs::ALL.without(Rung::Existing))).unwrap();
    assert_eq!(peer.calls(), 1);
}

#[test]
fn a_call_goes_through_each_server_once_and_again_when_that_went_down() {
    let mut peer = Peer::new(1);
    peer.servers.all.get_mut(&SECOND).unwrap().takes = false;
    peer.connect(unl(&Key::from_seed(&[9; 32]), 9)).unwrap();
    let through = |peer: &mut Peer| {
        let bodies = peer.take_bodies().into_iter();
        bodies
            .filter(|(_, body)| matches!(body, Body::Call { .. }))
            .map(|(server, _)| server)
            .collect::<Vec<_>>()
    };
    assert_eq!(through(&mut peer), [FIRST]);
    peer.servers.all.get_mut(&SECOND).unwrap().takes = true;
    for server in [FIRST, SECOND] {
        peer.tell(|machine, around, now| machine.handle_server_ready(server, around, now));
    }
    assert_eq!(through(&mut peer), [SECOND]);
    peer.tell(|machine, around, now| machine.handle_server_lost(FIRST, around, now));
    peer.tell(|machine, around, now| machine.handle_server_ready(FIRST, around, now));
    assert_eq!(through(&mut peer), [FIRST]);
}

#[test]
fn a_signal_that_a_server_does_not_take_on_after_all_is_said_again() {
    let mut peer = Peer::new(1);
    peer.found = vec![FIRST];
    peer.connect(unl(&Key::from_seed(&[9; 32]), 9)).unwrap();
    let sent = peer.take_signals();
    peer.tell(|machine, around, now| machine.handle_unsent(&sent[0], around, now));
    assert!(peer.take_signals().is_empty(), "not before the server has room again");
    let to = sent[0].to;
    peer.tell(|machine, around, now| machine.handle_signaled(SECOND, to, Some(true), around, now));
    assert_eq!(peer.take_signals(), sent);
}

#[test]
fn no_server_is_left_when_each_was_lost_three_times_or_denies_us() {
    let other = unl(&Key::from_seed(&[9; 32]), 9);
    let mut peer = Peer::new(1);
    peer.connect(other.clone()).unwrap();
    for _ in 0..3 {
        assert!(peer.events.iter().all(|event| !matches!(event, ConnectEvent::Failed { .. })));
        peer.tell(|machine, around, now| machine.handle_server_lost(FIRST, around, now));
        peer.tell(|machine, around, now| machine.handle_server_lost(SECOND, around, now));
    }
    peer.pass(secs(3));
    assert_eq!(peer.fault(Rung::Relay), Some(RungFault::NoServer));
    assert_eq!(peer.calls(), 0);

    let mut peer = Peer::new(1);
    let attempt = peer.connect(other).unwrap();
    peer.tell(|machine, around, now| machine.handle_server_useless(FIRST, around, now));
    peer.tell(|machine, around, now| machine.handle_server_useless(SECOND, around, now));
    peer.pass(secs(3));
    let failed =
        |event: &ConnectEvent| matches!(event, ConnectEvent::Failed { attempt: of, .. } if *of == attempt);
    assert!(peer.events.iter().any(failed), "{:?}", peer.events);
}

#[test]
fn a_server_that_does_not_know_the_node_is_told_of_and_time_is_up_at_last() {
    let other = Key::from_seed(&[9; 32]);
    let mut peer = Peer::new(1);
    let attempt = peer.connect(unl(&other, 9)).unwrap();
    for _ in 0..2 {
        // It says so of each signal; the first one counts.
        peer.tell(|machine, around, now| {
            machine.handle_signaled(FIRST, other.id(), Some(false), around, now);
        });
    }
    let waiting = crate::connect::Progress::Waiting(addr("198.51.100.1:8000"));
    let waiting = ConnectEvent::Climbing { attempt, progress: waiting };
    assert_eq!(peer.events.iter().filter(|event| **event == waiting).count(), 1);
    peer.pass(secs(14));
    assert_eq!(peer.calls(), 1);
    peer.take_actions();
    peer.pass(secs(1));
    assert_eq!(peer.fault(Rung::Relay), Some(RungFault::Absent));
    assert_eq!(peer.calls(), 0);
    // Whoever comes late is not to take it up.
    let done = peer.take_bodies();
    assert_eq!(done, [(FIRST, Body::Done), (SECOND, Body::Done)]);
    assert!(matches!(peer.take_actions().as_slice(), [.., ConnectAction::Over { .. }]));
    assert_eq!(peer.machine.poll_timeout(), None);
}

#[test]
fn a_call_ends_with_its_last_attempt_and_all_end_when_the_node_leaves() {
    let other = unl(&Key::from_seed(&[9; 32]), 9);
    let mut peer = Peer::new(1);
    let attempts = [(); 2].map(|()| peer.connect(other.clone()).unwrap());
    for (attempt, calls) in attempts.into_iter().zip([1, 0]) {
        assert!(peer.tell(|machine, around, now| machine.cancel(attempt, around, now)));
        assert!(!peer.tell(|machine, around, now| machine.cancel(attempt, around, now)));
        assert_eq!(peer.calls(), calls);
    }
    let attempt = peer.connect(other).unwrap();
    peer.tell(|machine, around, now| machine.leave(around, now));
    let cancelled = |attempt| ConnectEvent::Failed { attempt, why: FailReason::Cancelled };
    let failed: Vec<ConnectEvent> =
        peer.events.iter().filter(|event| matches!(event, ConnectEvent::Failed { .. })).cloned().collect();
    assert_eq!(failed, [cancelled(attempts[0]), cancelled(attempts[1]), cancelled(attempt)]);
    assert_eq!((peer.calls(), peer.machine.poll_timeout()), (0, None));
}

/// Two that call each other: the call of the larger id goes on.
#[test]
fn of_two_calls_that_cross_one_goes_on() {
    let [mut larger, mut smaller] = two();
    larger.found = vec![FIRST];
    smaller.found = vec![FIRST];
    larger.connect(smaller.unl.clone()).unwrap();
    smaller.connect(larger.unl.clone()).unwrap();
    let crossing = smaller.take_signals();
    carry(&mut larger, &mut smaller);
    for sent in &crossing {
        larger.hear(&smaller.key, smaller.seen, sent, None);
    }
    assert!(larger.take_bodies().is_empty(), "it does not take the smaller one's call");
    let answered = smaller.take_bodies();
    assert!(matches!(answered.as_slice(), [(FIRST, Body::Answer { .. })]), "{answered:?}");
    assert_eq!((larger.calls(), smaller.calls()), (1, 2));
    // The smaller one's own asks for nothing any more, but its attempt is not over before its time is up.
    smaller.pass(secs(14));
    assert_eq!(smaller.fault(Rung::Reverse), None);
    smaller.pass(secs(1));
    assert!(smaller.fault(Rung::Reverse).is_some());
}

#[test]
fn a_call_that_stood_back_begins_again_when_the_other_one_came_to_nothing() {
    // Whether a hello of the other node is being heard at that moment.
    for is_handshaking in [false, true] {
        let [mut larger, mut smaller] = two();
        larger.found = vec![FIRST];
        smaller.found = vec![FIRST];
        larger.connect(smaller.unl.clone()).unwrap();
        let attempt = smaller.connect(larger.unl.clone()).unwrap();
        carry(&mut larger, &mut smaller);
        smaller.pass(secs(2));
        smaller.take_actions();
        larger.tell(|machine, around, now| machine.leave(around, now));
        if is_handshaking {
            smaller.links.handshaking.push(larger.id());
        }
        carry(&mut larger, &mut smaller);
        if is_handshaking {
            assert!(smaller.take_bodies().iter().all(|(_, body)| !matches!(body, Body::Call { .. })));
            smaller.links.handshaking.clear();
            smaller.tell(|machine, around, now| machine.resume_calls(around, now));
        }
        let bodies = smaller.take_bodies();
        assert!(
            matches!(bodies.as_slice(), [(FIRST, Body::Done), (FIRST, Body::Call { .. })]),
            "the old call is over, and there is a new one: {bodies:?}"
        );
        // Its time goes on from when the attempt began.
        smaller.pass(secs(12));
        assert_eq!(smaller.calls(), 1);
        smaller.pass(secs(1));
        let failed = |event: &ConnectEvent| matches!(event, ConnectEvent::Failed { attempt: of, .. } if *of == attempt);
        assert!(smaller.events.iter().any(failed));
        assert_eq!(smaller.calls(), 0);
    }
}
