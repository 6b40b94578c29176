mod model;

use super::*;
use model::{Filter, ONE_WAY, Place, World};
use proptest::prelude::*;

const RTT: Duration = Duration::from_millis(50);

const SEEDS: u64 = 100;

fn at(millis: u64) -> Instant {
    Instant::ZERO + millis_of(millis)
}

fn millis_of(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn side(host: u8, port: u16, kind: NatKind) -> Side {
    Side { seen: ([192, 0, 2, host], port).into(), local_port: 30_000, kind: Some(kind) }
}

fn punch_with(config: PunchConfig, theirs: NatKind, attested: bool) -> Punch {
    let (ours, theirs) = (side(1, 30_000, NatKind::Preserving), side(2, 40_000, theirs));
    let random = Random::from_number(1);
    Punch::new(config, &ours, &theirs, Part::First, attested, at(100), random, at(0))
}

fn punch(theirs: NatKind) -> Punch {
    punch_with(PunchConfig::default(), theirs, true)
}

fn actions(punch: &mut Punch) -> Vec<PunchAction> {
    std::iter::from_fn(|| punch.poll_action()).collect()
}

/// The only action, which is a dial.
fn only_dial(punch: &mut Punch) -> PunchSlot {
    match actions(punch)[..] {
        [PunchAction::Dial { slot, .. }] => slot,
        ref other => panic!("{other:?}"),
    }
}

fn begun(mut punch: Punch) -> (Punch, PunchSlot) {
    punch.handle_timeout(at(100));
    let slot = only_dial(&mut punch);
    (punch, slot)
}

/// Goes to where the machine wants to be woken.
fn wake(punch: &mut Punch) -> Instant {
    let next = punch.poll_timeout().expect("it waits for something");
    punch.handle_timeout(next);
    next
}

const REFUSED: io::ErrorKind = io::ErrorKind::ConnectionRefused;

#[test]
fn all_candidates_are_dialled_in_order_at_the_start() {
    let mut punch = punch(NatKind::Delta { step: 2 });
    assert_eq!((actions(&mut punch), punch.poll_timeout()), (vec![], Some(at(100))));
    punch.handle_timeout(at(99));
    assert_eq!(actions(&mut punch), []);
    punch.handle_timeout(at(100));
    let ports: Vec<_> = actions(&mut punch)
        .iter()
        .map(|action| match action {
            PunchAction::Dial { to, .. } => to.port(),
            PunchAction::Abandon { .. } => 0,
        })
        .collect();
    assert_eq!(ports, (1..=16).map(|number| 40_000 + 2 * number).collect::<Vec<_>>());
    assert_eq!((punch.syns(), punch.poll_timeout()), (16, Some(at(3100))));
}

#[test]
fn a_start_that_has_passed_is_now() {
    let (ours, theirs) = (side(1, 1024, NatKind::Reuse), side(2, 1024, NatKind::Reuse));
    let config = PunchConfig::default();
    let random = Random::from_number(1);
    let mut punch = Punch::new(config, &ours, &theirs, Part::Second, true, at(5), random, at(700));
    only_dial(&mut punch);
    assert_eq!(punch.poll_timeout(), Some(at(3700)));
}

#[test]
fn a_refusal_is_followed_by_the_next_dial_within_milliseconds() {
    for (part, gaps) in [(Part::First, 1000..=2000), (Part::Second, 4000..=5000)] {
        let (mut punch, mut slot) = begun(Punch { part, ..punch(NatKind::Preserving) });
        let mut seen = Vec::new();
        for round in 0..50 {
            let refused = at(150 + 57 * round);
            punch.handle_failed(slot, REFUSED, refused);
            assert_eq!(actions(&mut punch), []);
            seen.push((wake(&mut punch) - refused).as_micros());
            slot = only_dial(&mut punch);
        }
        assert!(seen.iter().all(|gap| gaps.contains(gap)), "{seen:?}");
        assert!(seen.iter().max().unwrap() - seen.iter().min().unwrap() > 500, "{seen:?}");
    }
}

#[test]
fn silence_is_left_alone_until_the_deadline() {
    let (mut punch, slot) = begun(punch(NatKind::Preserving));
    assert_eq!(punch.poll_timeout(), Some(at(3100)));
    punch.handle_timeout(at(3099));
    assert_eq!((actions(&mut punch), punch.outcome()), (vec![], None));
    punch.handle_timeout(at(3100));
    assert_eq!(actions(&mut punch), [PunchAction::Abandon { slot }]);
    let failure = PunchFailure { candidates: 1, syns: 1, refused: 0, silent: 1, error: None };
    assert_eq!((punch.outcome(), punch.poll_timeout()), (Some(failure), None));
}

#[test]
fn a_failure_counts_what_was_heard() {
    let (mut punch, slot) = begun(punch(NatKind::Preserving));
    punch.handle_failed(slot, REFUSED, at(150));
    wake(&mut punch);
    let slot = only_dial(&mut punch);
    punch.handle_failed(slot, io::ErrorKind::ConnectionReset, at(200));
    wake(&mut punch);
    only_dial(&mut punch);
    punch.handle_timeout(at(9999));
    let failure = PunchFailure { candidates: 1, syns: 3, refused: 2, silent: 1, error: None };
    assert_eq!(punch.outcome(), Some(failure));
}

#[test]
fn where_another_socket_has_the_ends_it_is_tried_ten_times_more() {
    let (mut punch, mut slot) = begun(punch(NatKind::Preserving));
    let mut now = at(100);
    for _ in 0..10 {
        punch.handle_failed(slot, io::ErrorKind::AddrNotAvailable, now);
        let next = wake(&mut punch);
        assert!((millis_of(15)..millis_of(25)).contains(&(next - now)));
        (now, slot) = (next, only_dial(&mut punch));
    }
    punch.handle_failed(slot, io::ErrorKind::AddrInUse, now);
    assert_eq!((actions(&mut punch), punch.poll_timeout()), (vec![], None));
    assert_eq!(punch.outcome().and_then(|failure| failure.error), Some(io::ErrorKind::AddrInUse));
}

#[test]
fn where_no_way_leads_it_is_over_before_the_deadline() {
    for why in [
        io::ErrorKind::NetworkUnreachable,
        io::ErrorKind::HostUnreachable,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::Other,
    ] {
        let (mut punch, slot) = begun(punch(NatKind::Preserving));
        punch.handle_failed(slot, why, at(101));
        let failure = PunchFailure { candidates: 1, syns: 1, refused: 0, silent: 0, error: Some(why) };
        assert_eq!((punch.outcome(), punch.poll_timeout()), (Some(failure), None));
    }
}

#[test]
fn without_a_candidate_it_is_over_at_once() {
    let punch = punch(NatKind::Delta { step: i32::MAX });
    assert_eq!(punch.outcome().map(|failure| failure.candidates), Some(0));
}

#[test]
fn the_dials_in_all_are_limited() {
    let config = PunchConfig { max_syns: 20, ..PunchConfig::default() };
    let mut punch = punch_with(config, NatKind::Delta { step: 1 }, true);
    let mut dials = 0;
    while punch.outcome().is_none() {
        let now = wake(&mut punch);
        for action in actions(&mut punch) {
            let PunchAction::Dial { slot, .. } = action else { panic!("nothing is abandoned: {action:?}") };
            dials += 1;
            punch.handle_failed(slot, REFUSED, now);
        }
    }
    assert_eq!((dials, punch.syns()), (20, 20));
}

#[test]
fn settling_abandons_what_is_under_way_and_leaves_what_is_connected() {
    let mut punch = punch(NatKind::Delta { step: 1 });
    punch.handle_timeout(at(100));
    let slots: Vec<_> = actions(&mut punch)
        .into_iter()
        .filter_map(|action| match action {
            PunchAction::Dial { slot, .. } => Some(slot),
            PunchAction::Abandon { .. } => None,
        })
        .collect();
    punch.handle_connected(slots[4], at(150));
    punch.handle_failed(slots[0], REFUSED, at(150));
    punch.settle();
    let left: Vec<_> = actions(&mut punch);
    let expected = slots.iter().enumerate().filter(|(place, _)| ![0, 4].contains(place));
    assert_eq!(left, expected.map(|(_, &slot)| PunchAction::Abandon { slot }).collect::<Vec<_>>());
    punch.handle_failed(slots[4], REFUSED, at(151));
    punch.handle_timeout(at(9999));
    assert_eq!((actions(&mut punch), punch.poll_timeout(), punch.outcome()), (vec![], None, None));
}

#[test]
fn what_is_connected_outlives_the_deadline_and_no_failure_is_told() {
    let (mut punch, slot) = begun(punch(NatKind::Preserving));
    punch.handle_connected(slot, at(150));
    punch.handle_timeout(at(3100));
    assert_eq!((actions(&mut punch), punch.poll_timeout(), punch.outcome()), (vec![], None, None));
    punch.handle_failed(slot, io::ErrorKind::ConnectionReset, at(3200));
    assert_eq!(actions(&mut punch), []);
    assert!(punch.outcome().is_some());
}

#[test]
fn a_connection_that_was_lost_before_the_deadline_is_dialled_again() {
    let (mut punch, slot) = begun(punch(NatKind::Preserving));
    punch.handle_connected(slot, at(150));
    punch.handle_failed(slot, io::ErrorKind::ConnectionReset, at(160));
    wake(&mut punch);
    assert_ne!(only_dial(&mut punch), slot);
}

#[test]
fn a_report_about_an_older_dial_changes_nothing() {
    let (mut punch, old) = begun(punch(NatKind::Preserving));
    punch.handle_failed(old, REFUSED, at(150));
    punch.handle_connected(old, at(150));
    wake(&mut punch);
    let new = only_dial(&mut punch);
    punch.handle_failed(old, io::ErrorKind::NetworkUnreachable, at(160));
    punch.handle_connected(old, at(160));
    punch.handle_timeout(at(3100));
    assert_eq!(actions(&mut punch), [PunchAction::Abandon { slot: new }]);
    assert_eq!(punch.outcome().map(|failure| (failure.refused, failure.silent)), Some((1, 1)));
}

#[test]
fn a_claimed_address_is_dialled_three_times() {
    let (mut punch, mut slot) = begun(punch_with(PunchConfig::default(), NatKind::Reuse, false));
    for round in 0..3 {
        punch.handle_failed(slot, REFUSED, at(150 + round * 60));
        if round < 2 {
            wake(&mut punch);
            slot = only_dial(&mut punch);
        }
    }
    assert_eq!((actions(&mut punch), punch.poll_timeout(), punch.syns()), (vec![], None, 3));
    assert!(punch.outcome().is_some());
}

#[test]
fn dials_to_three_claimed_ports_end_before_the_kernel_repeats_them() {
    let mut punch = punch_with(PunchConfig::default(), NatKind::Delta { step: 1 }, false);
    punch.handle_timeout(at(100));
    assert_eq!(actions(&mut punch).len(), 3);
    assert_eq!(wake(&mut punch), at(850));
    let abandoned = |action: &PunchAction| matches!(action, PunchAction::Abandon { .. });
    let left = actions(&mut punch);
    assert!(left.len() == 3 && left.iter().all(abandoned), "{left:?}");
    let failure = PunchFailure { candidates: 3, syns: 3, refused: 0, silent: 3, error: None };
    assert_eq!(punch.outcome(), Some(failure));
}

#[test]
fn the_kernels_repetitions_count_for_a_claimed_address() {
    let config = PunchConfig { deadline: millis_of(60_000), ..PunchConfig::default() };
    let (mut punch, slot) = begun(punch_with(config, NatKind::Reuse, false));
    assert_eq!((wake(&mut punch), punch.syns()), (at(850), 2)); // the one at 1100
    assert_eq!((wake(&mut punch), punch.syns()), (at(1850), 3)); // the one at 2100
    assert_eq!((wake(&mut punch), punch.syns()), (at(2850), 3));
    assert_eq!(actions(&mut punch), [PunchAction::Abandon { slot }]);
}

#[test]
fn only_random_nats_are_hopeless() {
    let random = Some(NatKind::Random);
    for kind in [None, Some(NatKind::Reuse), Some(NatKind::Preserving), Some(NatKind::Delta { step: 1 })] {
        assert!(!is_hopeless(kind, kind));
        assert!(is_hopeless(random, kind) && is_hopeless(kind, random), "{kind:?}");
    }
}

/// One mapping for everybody at both ends, `skew` apart.
fn pair(filters: (Filter, Filter), skew: u64) -> (Place, Place) {
    let first = Place::new(NatKind::Preserving, filters.0);
    let second = Place { start: millis_of(skew), ..Place::new(NatKind::Reuse, filters.1) };
    (first, second)
}

const FILTERS: [Filter; 3] = [Filter::Drop, Filter::Reject, Filter::Open];

/// At most two dials of the later end miss: two periods of a round trip and a gap, and the way there and back.
#[test]
fn ends_with_one_mapping_meet_within_three_round_trips_and_two_gaps_of_the_later_one() {
    let (mut punches, mut slow) = (0, 0);
    for filters in FILTERS.iter().flat_map(|&one| FILTERS.map(|other| (one, other))) {
        for skew in (0..=500).step_by(10).chain(25..=31) {
            let (mut first, mut second) = pair(filters, skew);
            for seed in 0..SEEDS {
                // Either may be the later one.
                if seed % 2 == 1 {
                    (first.start, second.start) = (second.start, first.start);
                }
                let met = World::new(&first, &second, seed).meet().unwrap_or(Duration::MAX);
                let late = met.saturating_sub(millis_of(skew));
                assert!(late <= 3 * RTT + millis_of(10), "{filters:?}, skew {skew}, seed {seed}: {late:?}");
                punches += 1;
                slow += u32::from(late > 3 * RTT);
            }
        }
    }
    assert!(slow * 100 < punches, "{slow} of {punches}");
}

#[test]
fn with_a_fixed_gap_ends_that_miss_each_other_miss_each_other_for_ever() {
    let (mut first, mut second) = pair((Filter::Reject, Filter::Reject), 40);
    let fixed = PunchConfig { gap: millis_of(50)..=millis_of(50), ..PunchConfig::default() };
    (first.config, second.config) = (fixed.clone(), fixed);
    let mut world = World::new(&first, &second, 1);
    assert_eq!(world.meet(), None);
    for punch in world.punches() {
        let failure = punch.outcome().expect("nothing is connected");
        assert!(failure.refused > 20, "{failure:?}");
    }
    // The same, once the gap is not fixed.
    let (first, second) = pair((Filter::Reject, Filter::Reject), 40);
    assert!(World::new(&first, &second, 1).meet().is_some());
}

#[test]
fn two_that_count_meet_whatever_others_take() {
    for (filter, skew) in [(Filter::Drop, 0), (Filter::Drop, 300), (Filter::Reject, 0), (Filter::Reject, 40)]
    {
        for (here, there) in (0..=4).flat_map(|here| (0..=4).map(move |there| (here, there))) {
            for (step, other) in [(1, 1), (1, -2), (-3, 2), (64, 1)] {
                let first = Place { traffic: here, ..Place::new(NatKind::Delta { step }, filter) };
                let second = Place {
                    traffic: there,
                    start: millis_of(skew),
                    ..Place::new(NatKind::Delta { step: other }, filter)
                };
                let mut world = World::new(&first, &second, u64::from(here * 5 + there));
                let met = world.meet().expect("they meet");
                assert!(
                    met <= millis_of(skew) + 3 * RTT,
                    "{filter:?} {here} {there} {step} {other}: {met:?}"
                );
            }
        }
    }
}

#[test]
fn one_that_counts_is_met_by_one_that_does_not() {
    for filter in [Filter::Drop, Filter::Reject] {
        for traffic in 0..=15 {
            let counts = Place { traffic, ..Place::new(NatKind::Delta { step: -2 }, filter) };
            let other = Place { start: millis_of(40), ..Place::new(NatKind::Reuse, filter) };
            for (first, second) in [(&counts, &other), (&other, &counts)] {
                let met = World::new(first, second, 7).meet().expect("they meet");
                assert!(met <= millis_of(40) + 3 * RTT, "{filter:?} {traffic}: {met:?}");
            }
        }
    }
}

#[test]
fn who_counts_otherwise_than_was_said_is_not_met_and_the_dials_stay_limited() {
    let first = Place { traffic: 40, ..Place::new(NatKind::Delta { step: 1 }, Filter::Reject) };
    let mut world = World::new(&first, &first.clone(), 3);
    assert_eq!(world.meet(), None);
    for (punch, syns) in world.punches().into_iter().zip(world.syns()) {
        assert!(syns <= 1500 && syns > 500, "{syns}");
        assert_eq!(punch.outcome().map(|failure| failure.syns), Some(syns));
    }
}

#[test]
fn no_more_syns_leave_for_a_claimed_address_than_are_allowed() {
    for filter in [Filter::Drop, Filter::Reject] {
        for kind in [NatKind::Preserving, NatKind::Delta { step: 1 }] {
            // The other end never comes.
            let there = Place { start: millis_of(100_000), ..Place::new(kind, filter) };
            let config = PunchConfig { deadline: millis_of(20_000), ..PunchConfig::default() };
            let here = Place { attested: false, config, ..Place::new(NatKind::Reuse, filter) };
            let mut world = World::new(&here, &there, 5);
            world.run_to_the_end();
            assert_eq!(world.syns()[0], 3, "{filter:?} {kind:?}");
        }
    }
}

#[test]
fn claimed_addresses_meet_when_the_time_was_agreed_well() {
    let (first, second) = pair((Filter::Reject, Filter::Reject), 20);
    let claimed = |place: Place| Place { attested: false, ..place };
    let met = World::new(&claimed(first), &claimed(second), 1).meet();
    assert!(met.is_some_and(|met| met < 4 * ONE_WAY), "{met:?}");
}

#[derive(Clone, Debug)]
enum Input {
    Connected(u8),
    Failed(u8, io::ErrorKind),
    Sleep(u16),
    Wake,
    Settle,
}

fn input() -> impl Strategy<Value = Input> {
    use io::ErrorKind::*;
    let kind = prop::sample::select(vec![
        ConnectionRefused,
        ConnectionReset,
        TimedOut,
        AddrInUse,
        AddrNotAvailable,
        HostUnreachable,
    ]);
    prop_oneof![
        2 => any::<u8>().prop_map(Input::Connected),
        20 => (any::<u8>(), kind).prop_map(|(slot, kind)| Input::Failed(slot, kind)),
        2 => (0u16..400).prop_map(Input::Sleep),
        20 => Just(Input::Wake),
        1 => Just(Input::Settle),
    ]
}

proptest! {
    #[test]
    fn whatever_is_reported_the_limits_hold_and_nothing_is_left_behind(
        inputs in prop::collection::vec(input(), 0..300),
        counts: bool,
        attested: bool,
    ) {
        let kind = if counts { NatKind::Delta { step: 1 } } else { NatKind::Preserving };
        let config = PunchConfig { max_syns: 40, ..PunchConfig::default() };
        let mut punch = punch_with(config, kind, attested);
        let (mut now, mut dialled, mut held) = (at(0), Vec::new(), std::collections::BTreeSet::new());
        for input in inputs.into_iter().chain([Input::Sleep(u16::MAX)]) {
            let pick = |index: u8| dialled.get(usize::from(index) % dialled.len().max(1)).copied();
            match input {
                Input::Connected(index) => {
                    if let Some(slot) = pick(index) {
                        punch.handle_connected(slot, now);
                    }
                }
                Input::Failed(index, kind) => {
                    if let Some(slot) = pick(index) {
                        punch.handle_failed(slot, kind, now);
                        held.remove(&slot);
                    }
                }
                Input::Sleep(millis) => {
                    now = now + millis_of(millis.into());
                    punch.handle_timeout(now);
                }
                Input::Wake => {
                    now = now.max(punch.poll_timeout().unwrap_or(now));
                    punch.handle_timeout(now);
                }
                Input::Settle => punch.settle(),
            }
            for action in actions(&mut punch) {
                match action {
                    PunchAction::Dial { slot, .. } => {
                        prop_assert!(held.insert(slot));
                        dialled.push(slot);
                    }
                    PunchAction::Abandon { slot } => prop_assert!(held.remove(&slot)),
                }
            }
            let limit = if attested { 40 } else { 3 };
            prop_assert!(dialled.len() <= limit && punch.syns() as usize <= limit);
            prop_assert!(punch.poll_timeout().is_none_or(|next| next > now));
        }
        // Only what is connected is held still.
        let connected = punch.candidates.iter().filter(|candidate| candidate.stage != Stage::Over);
        prop_assert_eq!(connected.count(), held.len());
        prop_assert_eq!(punch.poll_timeout(), None);
    }
}
