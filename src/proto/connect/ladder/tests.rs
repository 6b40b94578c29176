//! What is tried when, and what a failure says.

use std::net::SocketAddr;

use super::*;

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn config() -> LadderConfig {
    LadderConfig { punch_time: Duration::from_secs(1), ..LadderConfig::default() }
}

/// Two behind routers that can be foretold, who can call each other.
fn punchers() -> Facts {
    let kind = Some(NatKind::Preserving);
    Facts { callable: true, our_kind: kind, their_kind: kind, ..Facts::default() }
}

fn ladder(facts: Facts) -> Ladder {
    Ladder::new(config(), Rungs::ALL, facts, at(0))
}

fn wants(ladder: &mut Ladder) -> Vec<Want> {
    std::iter::from_fn(|| ladder.poll_want()).collect()
}

/// Lets time pass up to an instant, as a driver would, and collects what is wanted meanwhile, with when.
fn run_to(ladder: &mut Ladder, end: u64) -> Vec<(u64, Want)> {
    let mut all = Vec::new();
    while let Some(due) = ladder.poll_timeout().filter(|&due| due <= at(end)) {
        ladder.handle_timeout(due);
        let millis = due.since_origin().as_millis() as u64;
        all.extend(wants(ladder).into_iter().map(|want| (millis, want)));
    }
    all
}

fn side(kind: NatKind) -> Side {
    Side { seen: SocketAddr::from(([203, 0, 113, 1], 4000)), local_port: 4000, kind: Some(kind) }
}

fn willing() -> Answered {
    Answered { punch: true, relay: true, kind: None, same_wan: false }
}

fn fault(ladder: &Ladder, rung: Rung) -> RungFault {
    let tried = ladder.failure().expect("it has failed");
    tried.into_iter().find(|tried| tried.rung == rung).expect("every rung says something").why
}

/// What is wanted at once.
#[test]
fn an_attempt_begins_with_what_its_facts_allow() {
    let observe = Want::Observe { round: 1 };
    let cases = [
        ("nobody to call", Facts::default(), vec![]),
        ("a call and a punch", punchers(), vec![Want::Call, observe.clone()]),
        (
            "a direct way besides",
            Facts { direct: true, ..punchers() },
            vec![Want::Dial(Rung::Direct), Want::Call, observe.clone()],
        ),
        (
            "who can be connected to is called later",
            Facts { direct: true, passive: true, ..punchers() },
            vec![Want::Dial(Rung::Direct)],
        ),
        (
            "a network of which nobody said that it is ours",
            Facts { lan: true, ..punchers() },
            vec![Want::Call, observe.clone()],
        ),
        (
            "our network holds the router back",
            Facts { lan: true, lan_at_once: true, direct: true, passive: true, same_wan: true, ..punchers() },
            vec![Want::Dial(Rung::Lan)],
        ),
        ("a punch without hope", Facts { their_kind: Some(NatKind::Random), ..punchers() }, vec![Want::Call]),
    ];
    for (name, facts, expected) in cases {
        assert_eq!(wants(&mut ladder(facts)), expected, "{name}");
    }
}

#[test]
fn what_only_left_out_is_never_wanted() {
    for rung in Rung::ALL {
        let facts = Facts { lan: true, lan_at_once: true, direct: true, reachable: true, ..punchers() };
        let mut ladder = Ladder::new(config(), Rungs::NONE.with(rung), facts, at(0));
        let mut all = wants(&mut ladder);
        ladder.handle_called(true, at(10));
        ladder.handle_answer(willing(), at(20));
        all.extend(run_to(&mut ladder, 20_000).into_iter().map(|(_, want)| want));
        for want in all {
            let fine = match want {
                Want::Dial(other) => other == rung,
                Want::Observe { .. } | Want::Ready { .. } | Want::Punch { .. } => rung == Rung::Punch,
                Want::Relay => rung == Rung::Relay,
                Want::Call => matches!(rung, Rung::Reverse | Rung::Punch | Rung::Relay | Rung::Lan),
            };
            assert!(fine, "only {rung}: {want:?}");
        }
        let left_out = ladder.failure().unwrap_or_default();
        let left_out = left_out.iter().filter(|tried| tried.why == RungFault::LeftOut).count();
        assert!(left_out == 5 || ladder.failure().is_none());
    }
}

#[test]
fn the_call_of_a_node_that_can_be_connected_to_waits_a_moment_or_until_that_failed() {
    let facts = Facts { direct: true, passive: true, ..punchers() };
    let mut patient = ladder(facts);
    wants(&mut patient);
    assert_eq!(run_to(&mut patient, 249), []);
    assert_eq!(run_to(&mut patient, 250)[0], (250, Want::Call));
    let mut hurried = ladder(facts);
    wants(&mut hurried);
    hurried.handle_rung_failed(Rung::Direct, RungFault::Unreachable(Vec::new()), at(40));
    assert_eq!(wants(&mut hurried), [Want::Call, Want::Observe { round: 1 }]);
}

#[test]
fn a_network_is_dialled_once_a_server_says_that_it_is_ours_and_the_router_after_it() {
    let facts = Facts { lan: true, direct: true, passive: true, same_wan: true, ..punchers() };
    let mut ladder = ladder(facts);
    assert_eq!(wants(&mut ladder), [Want::Call, Want::Observe { round: 1 }]);
    ladder.handle_answer(Answered { same_wan: true, ..willing() }, at(100));
    assert_eq!(wants(&mut ladder), [Want::Dial(Rung::Lan)]);
    ladder.handle_rung_failed(Rung::Lan, RungFault::WrongNode(side(NatKind::Reuse).seen), at(200));
    assert_eq!(wants(&mut ladder), [Want::Dial(Rung::Direct)]);
}

#[test]
fn a_network_that_is_another_is_not_dialled() {
    let mut ladder = ladder(Facts { lan: true, ..punchers() });
    ladder.handle_answer(willing(), at(100));
    assert!(!wants(&mut ladder).contains(&Want::Dial(Rung::Lan)));
    run_to(&mut ladder, 20_000);
    assert_eq!(fault(&ladder, Rung::Lan), RungFault::Elsewhere);
}

#[test]
fn where_no_server_answers_the_network_of_its_own_is_dialled_all_the_same() {
    let mut ladder = ladder(Facts { lan: true, ..punchers() });
    assert!(!wants(&mut ladder).contains(&Want::Dial(Rung::Lan)));
    ladder.handle_uncallable(at(100));
    assert!(wants(&mut ladder).contains(&Want::Dial(Rung::Lan)));
}

#[test]
fn a_relay_is_taken_at_once_where_nothing_else_can_do() {
    let mut ladder = ladder(Facts { our_kind: Some(NatKind::Random), ..punchers() });
    assert_eq!(wants(&mut ladder), [Want::Call]);
    ladder.handle_answer(willing(), at(100));
    assert_eq!(wants(&mut ladder), [Want::Relay]);
}

#[test]
fn a_relay_waits_a_second_for_a_node_that_may_connect_to_us() {
    let mut ladder = ladder(Facts { our_kind: Some(NatKind::Random), reachable: true, ..punchers() });
    wants(&mut ladder);
    ladder.handle_answer(willing(), at(100));
    assert_eq!(wants(&mut ladder), []);
    assert_eq!(run_to(&mut ladder, 1200), [(1100, Want::Relay)]);
}

/// Both ports are seen, the other side says so, we dial; and once more only if a port had to be guessed.
#[test]
fn a_punch_has_a_second_round_only_where_a_port_is_a_guess() {
    for (kind, rounds) in [(NatKind::Preserving, 1), (NatKind::Reuse, 1), (NatKind::Delta { step: 2 }, 2)] {
        let mut ladder = ladder(punchers());
        wants(&mut ladder);
        ladder.handle_answer(willing(), at(100));
        for round in 1..=rounds {
            ladder.handle_observed(round, side(NatKind::Preserving), at(200));
            assert_eq!(wants(&mut ladder), [Want::Ready { round, ours: side(NatKind::Preserving) }]);
            ladder.handle_meet(round, side(kind), at(300));
            assert!(matches!(wants(&mut ladder)[..], [Want::Punch { .. }]), "{kind:?} {round}");
            ladder.handle_missed(round, RungFault::Missed { refused: 1, silent: 2 }, at(1300));
            let next = wants(&mut ladder);
            let expected = if round < rounds { Want::Observe { round: round + 1 } } else { Want::Relay };
            assert_eq!(next, [expected], "{kind:?}");
        }
        ladder.handle_relay_failed(RelayRefusal::Full, at(2000));
        assert_eq!(fault(&ladder, Rung::Punch), RungFault::Missed { refused: 1, silent: 2 });
    }
}

#[test]
fn what_another_round_says_is_passed_over() {
    let mut ladder = ladder(punchers());
    wants(&mut ladder);
    ladder.handle_answer(willing(), at(100));
    // Without our own port there is nothing to dial from, and there is no round 0 or 2 yet.
    ladder.handle_meet(1, side(NatKind::Reuse), at(110));
    for round in [0, 2, 255] {
        ladder.handle_observed(round, side(NatKind::Reuse), at(120));
        ladder.handle_meet(round, side(NatKind::Reuse), at(120));
        ladder.handle_missed(round, RungFault::TimedOut, at(120));
        ladder.handle_unobserved(round, at(120));
    }
    assert_eq!(wants(&mut ladder), []);
    assert!(ladder.failure().is_none());
}

#[test]
fn a_punch_that_turns_out_to_be_hopeless_leads_to_the_relay() {
    let mut ladder = ladder(punchers());
    wants(&mut ladder);
    ladder.handle_answer(willing(), at(100));
    ladder.handle_observed(1, side(NatKind::Preserving), at(200));
    wants(&mut ladder);
    ladder.handle_meet(1, side(NatKind::Random), at(300));
    assert_eq!(wants(&mut ladder), [Want::Relay]);
}

#[test]
fn a_port_that_is_not_seen_or_a_node_that_does_not_come_to_meet_us_leads_to_the_relay() {
    let mut unseen = ladder(punchers());
    wants(&mut unseen);
    unseen.handle_answer(willing(), at(100));
    unseen.handle_unobserved(1, at(200));
    assert_eq!(wants(&mut unseen), [Want::Relay]);
    let mut alone = ladder(punchers());
    wants(&mut alone);
    alone.handle_answer(willing(), at(100));
    alone.handle_observed(1, side(NatKind::Preserving), at(200));
    wants(&mut alone);
    assert_eq!(run_to(&mut alone, 3000), [(2100, Want::Relay)]);
}

/// Who was called early and comes late has as much time to see its port.
#[test]
fn a_node_that_answers_late_is_met_all_the_same() {
    let mut ladder = ladder(punchers());
    wants(&mut ladder);
    ladder.handle_called(false, at(50));
    ladder.handle_observed(1, side(NatKind::Preserving), at(200));
    wants(&mut ladder);
    assert_eq!(run_to(&mut ladder, 9000), []);
    assert_eq!(ladder.poll_timeout(), Some(at(15_000)), "it sleeps");
    ladder.handle_answer(willing(), at(9000));
    ladder.handle_meet(1, side(NatKind::Preserving), at(10_900));
    assert!(matches!(wants(&mut ladder)[..], [Want::Punch { .. }]));
}

#[test]
fn a_relay_whose_server_restarts_is_tried_again_and_one_that_refuses_is_not() {
    let facts = Facts { our_kind: Some(NatKind::Random), ..punchers() };
    let mut patient = ladder(facts);
    wants(&mut patient);
    patient.handle_answer(willing(), at(0));
    wants(&mut patient);
    for n in 0..u64::from(RELAY_TRIES) {
        patient.handle_relay_failed(RelayRefusal::Unreachable, at(n * 1000));
        assert!(patient.failure().is_none());
        assert_eq!(run_to(&mut patient, (n + 1) * 1000), [((n + 1) * 1000, Want::Relay)]);
    }
    patient.handle_relay_failed(RelayRefusal::Unreachable, at(6000));
    assert_eq!(fault(&patient, Rung::Relay), RungFault::RelayRefused(RelayRefusal::Unreachable));
    let mut refused = ladder(facts);
    refused.handle_answer(willing(), at(0));
    refused.handle_relay_failed(RelayRefusal::Full, at(10));
    assert_eq!(fault(&refused, Rung::Relay), RungFault::RelayRefused(RelayRefusal::Full));
}

#[test]
fn refusals_are_told_by_the_rungs_that_needed_the_node() {
    let mut ladder = ladder(Facts { reachable: true, ..punchers() });
    ladder.handle_refused(Refusal::Busy, at(100));
    for rung in [Rung::Reverse, Rung::Punch, Rung::Relay] {
        assert_eq!(fault(&ladder, rung), RungFault::Refused(Refusal::Busy));
    }
    assert_eq!(fault(&ladder, Rung::Existing), RungFault::Nothing);
    assert_eq!(ladder.poll_timeout(), None);
}

#[test]
fn at_the_deadline_a_node_that_is_absent_is_told_from_one_that_does_not_answer() {
    let cases: [(&[bool], RungFault); 4] = [
        (&[false, false], RungFault::Absent),
        (&[true, false], RungFault::NoAnswer),
        (&[true], RungFault::NoAnswer),
        (&[], RungFault::NoAnswer),
    ];
    for (called, expected) in cases {
        let mut ladder = ladder(punchers());
        wants(&mut ladder);
        for &is_there in called {
            ladder.handle_called(is_there, at(100));
        }
        assert_eq!(run_to(&mut ladder, 14_999), []);
        assert!(ladder.failure().is_none(), "it waits for a node that may come");
        run_to(&mut ladder, 15_000);
        for rung in [Rung::Punch, Rung::Relay] {
            assert_eq!(fault(&ladder, rung), expected, "{called:?}");
        }
        assert_eq!(ladder.poll_timeout(), None);
    }
}

#[test]
fn only_the_first_answer_counts() {
    let mut ladder = ladder(Facts { our_kind: Some(NatKind::Random), ..punchers() });
    wants(&mut ladder);
    ladder.handle_answer(Answered { relay: false, ..willing() }, at(100));
    ladder.handle_answer(willing(), at(200));
    assert_eq!(wants(&mut ladder), []);
    assert_eq!(fault(&ladder, Rung::Relay), RungFault::Refused(Refusal::Unwilling));
}

/// No rung begins before, or ends after, another input said so; whoever asks when to come again is never told the past
/// for ever.
#[test]
fn no_order_of_inputs_makes_it_spin() {
    use crate::random::Random;
    for seed in 0..300 {
        let mut random = Random::from_number(seed);
        let flag = |random: &mut Random| random.below(2) == 0;
        let facts = Facts {
            lan: flag(&mut random),
            lan_at_once: flag(&mut random),
            direct: flag(&mut random),
            passive: flag(&mut random),
            closed: flag(&mut random),
            same_wan: flag(&mut random),
            callable: flag(&mut random),
            reachable: flag(&mut random),
            meets: flag(&mut random),
            our_kind: [None, Some(NatKind::Reuse), Some(NatKind::Random)][random.below(3)],
            their_kind: [None, Some(NatKind::Reuse), Some(NatKind::Random)][random.below(3)],
        };
        let mut ladder = ladder(facts);
        let mut wanted = wants(&mut ladder).len();
        for step in 0..100 {
            let now = at(step * 200);
            let round = random.below(4) as u8;
            match random.below(10) {
                0 => ladder.handle_rung_failed(Rung::ALL[1 + random.below(3)], RungFault::TimedOut, now),
                1 => ladder.handle_called(flag(&mut random), now),
                2 => ladder.handle_answer(Answered { same_wan: flag(&mut random), ..willing() }, now),
                3 => ladder.handle_observed(round, side(NatKind::Reuse), now),
                4 => ladder.handle_meet(round, side(NatKind::Delta { step: 1 }), now),
                5 => ladder.handle_missed(round, RungFault::TimedOut, now),
                6 => ladder.handle_unobserved(round, now),
                7 => ladder.handle_relay_failed(RelayRefusal::Absent, now),
                _ => ladder.handle_timeout(now),
            }
            wanted += wants(&mut ladder).len();
            ladder.handle_timeout(now);
            wanted += wants(&mut ladder).len();
            assert!(ladder.poll_timeout().is_none_or(|due| due > now), "seed {seed}, step {step}");
        }
        assert!(wanted <= 20, "{wanted} things wanted");
        let tried = ladder.failure().expect("after its deadline it is over");
        let mut rungs: Vec<Rung> = tried.iter().map(|tried| tried.rung).collect();
        rungs.sort();
        assert_eq!(rungs, Rung::ALL, "each rung says one thing");
    }
}
