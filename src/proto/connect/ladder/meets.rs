//! Tests of what the ladder does for nodes of pyp2p's, which can not be called.

use super::*;

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn side(port: u16) -> Side {
    Side { seen: ([203, 0, 113, 1], port).into(), local_port: port, kind: Some(NatKind::Preserving) }
}

fn ladder(facts: Facts) -> Ladder {
    Ladder::new(LadderConfig::default(), Rungs::ALL, Facts { meets: true, ..facts }, at(0))
}

fn wants(ladder: &mut Ladder) -> Vec<Want> {
    std::iter::from_fn(|| ladder.poll_want()).collect()
}

fn why(ladder: &Ladder, rung: Rung) -> Option<RungFault> {
    let tried = ladder.failure()?;
    tried.into_iter().find(|tried| tried.rung == rung).map(|tried| tried.why)
}

#[test]
fn a_port_is_seen_and_announced_at_once_and_dials_when_the_node_has_named_the_moment() {
    let mut ladder = ladder(Facts::default());
    assert_eq!(wants(&mut ladder), [Want::Observe { round: 1 }]);
    ladder.handle_observed(1, side(1), at(50));
    assert_eq!(wants(&mut ladder), [Want::Ready { round: 1, ours: side(1) }]);
    ladder.handle_announced();
    // The node may take its time.
    ladder.handle_timeout(at(9000));
    ladder.handle_meet(1, side(2), at(9000));
    assert_eq!(wants(&mut ladder), [Want::Punch { round: 1, ours: side(1), theirs: side(2) }]);
    assert_eq!(ladder.failure(), None);
}

#[test]
fn a_node_that_no_server_knows_is_absent_after_three_seconds() {
    let mut ladder = ladder(Facts::default());
    // However long it takes until there is a server to ask.
    ladder.handle_timeout(at(5000));
    ladder.handle_observed(1, side(1), at(5000));
    assert_eq!(ladder.poll_timeout(), Some(at(8000)));
    ladder.handle_timeout(at(8000));
    assert_eq!(why(&ladder, Rung::Punch), Some(RungFault::Absent));
    assert_eq!(why(&ladder, Rung::Relay), Some(RungFault::NoServer));
}

#[test]
fn a_node_that_is_known_and_silent_is_waited_for_until_time_is_up() {
    let mut ladder = ladder(Facts::default());
    ladder.handle_observed(1, side(1), at(50));
    ladder.handle_announced();
    ladder.handle_timeout(at(14_999));
    assert_eq!(ladder.failure(), None);
    ladder.handle_timeout(at(15_000));
    assert_eq!(why(&ladder, Rung::Punch), Some(RungFault::NoAnswer));
}

#[test]
fn a_missed_meeting_is_followed_by_another_and_no_third() {
    let mut ladder = ladder(Facts::default());
    for round in 1..=2 {
        assert_eq!(wants(&mut ladder), [Want::Observe { round }]);
        ladder.handle_observed(round, side(1), at(50));
        ladder.handle_meet(round, side(2), at(100));
        wants(&mut ladder);
        ladder.handle_missed(round, RungFault::TimedOut, at(200));
    }
    assert_eq!((wants(&mut ladder), why(&ladder, Rung::Punch)), (vec![], Some(RungFault::TimedOut)));
}

#[test]
fn ports_that_can_not_be_foretold_are_not_shown() {
    let mut ladder = ladder(Facts { our_kind: Some(NatKind::Random), ..Facts::default() });
    assert_eq!((wants(&mut ladder), why(&ladder, Rung::Punch)), (vec![], Some(RungFault::Unpredictable)));
}
