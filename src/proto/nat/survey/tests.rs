//! The survey in front of a NAT, with the time written in the test.

use std::collections::{BTreeMap, BTreeSet};

use super::super::model::{Choice, Nat, Reuse};
use super::*;

const FIRST: &str = "192.0.2.1:8000";
const SECOND: &str = "198.51.100.1:8001";

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn remote(port: u16) -> Vec<u8> {
    format!("REMOTE TCP {port}").into_bytes()
}

/// A survey and the sockets that its driver would hold.
struct World {
    survey: Survey,
    nat: Nat,
    /// Sample, where to, from which local port, and as which external one.
    dialled: Vec<(usize, SocketAddr, u16, u16)>,
    open: BTreeSet<usize>,
    asked: BTreeMap<usize, String>,
}

impl World {
    fn new(nat: Nat, second: Option<&str>, seed: u64) -> Self {
        let survey = Survey::new(addr(FIRST), second.map(addr), ROUND, Random::from_number(seed), at(0));
        let (dialled, open, asked) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        let mut world = Self { survey, nat, dialled, open, asked };
        world.act();
        world
    }

    fn act(&mut self) {
        while let Some(action) = self.survey.poll_action() {
            match action {
                SurveyAction::Dial { sample, to, local_port } => {
                    assert!(
                        self.open.insert(sample) && self.dialled.iter().all(|dialled| dialled.0 != sample)
                    );
                    let external = self.nat.translate(local_port, to);
                    self.dialled.push((sample, to, local_port, external));
                }
                SurveyAction::Send { sample, bytes } => {
                    assert!(self.open.contains(&sample));
                    assert!(self.asked.insert(sample, String::from_utf8(bytes).unwrap()).is_none());
                }
                SurveyAction::Hangup { sample } => {
                    assert!(self.open.remove(&sample), "hung up twice: {sample}")
                }
            }
        }
        assert!(self.survey.outcome().is_none() || self.open.is_empty(), "left open: {:?}", self.open);
        assert_eq!(self.survey.outcome().is_some(), self.survey.poll_timeout().is_none());
    }

    fn external(&self, sample: usize) -> u16 {
        self.dialled.iter().find(|dialled| dialled.0 == sample).unwrap().3
    }

    fn local_ports(&self, samples: std::ops::Range<usize>) -> Vec<u16> {
        self.dialled.iter().filter(|dialled| samples.contains(&dialled.0)).map(|dialled| dialled.2).collect()
    }

    fn connect(&mut self, sample: usize, now: u64) {
        self.survey.handle_connected(sample, at(now));
        self.act();
    }

    fn answer(&mut self, sample: usize, now: u64) {
        self.line(sample, &remote(self.external(sample)), now);
    }

    fn line(&mut self, sample: usize, line: &[u8], now: u64) {
        self.survey.handle_line(sample, line, at(now));
        self.act();
    }

    fn fail(&mut self, sample: usize, now: u64) {
        self.open.remove(&sample);
        self.survey.handle_failed(sample, at(now));
        self.act();
    }

    fn wake(&mut self, now: u64) {
        self.survey.handle_timeout(at(now));
        self.act();
    }

    /// All samples connect and are answered, in any order.
    fn serve(&mut self, samples: std::ops::Range<usize>, random: &mut Random, now: u64) {
        let mut steps: Vec<usize> = samples.clone().chain(samples).collect();
        let mut connected = BTreeSet::new();
        while !steps.is_empty() {
            let sample = steps.swap_remove(random.below(steps.len()));
            if connected.insert(sample) { self.connect(sample, now) } else { self.answer(sample, now) }
        }
    }
}

fn counting(step: i32) -> Nat {
    Nat::within(30000..=50000, Choice::Step(step), Reuse::SameAddressAndPort, 1)
}

fn unpredictable() -> Nat {
    Nat::new(Choice::Random, Reuse::SameAddressAndPort, 1)
}

#[test]
fn all_of_a_round_are_dialled_at_once_those_to_the_first_observer_first() {
    let mut world = World::new(counting(1), Some(SECOND), 7);
    let ports = world.local_ports(0..5);
    assert!(ports.windows(2).all(|two| two[0] + 1 == two[1]), "{ports:?}");
    assert!(FIRST_PORTS.contains(&ports[0]) && ports[4] < 32_768);
    assert_eq!(world.local_ports(5..10), ports);
    let numbers: Vec<_> = world.dialled.iter().map(|dialled| dialled.0).collect();
    assert_eq!(numbers, Vec::from_iter(0..10));
    let first = world.dialled.iter().filter(|dialled| dialled.1 == addr(FIRST)).map(|dialled| dialled.0);
    assert_eq!(Vec::from_iter(first), Vec::from_iter(0..5));
    assert_eq!(world.survey.poll_timeout(), Some(at(1500)));
    world.connect(8, 50);
    assert_eq!(world.asked[&8], format!("SOURCE TCP {}\r\n", ports[3]));
}

#[test]
fn every_kind_is_named_in_one_round_whatever_the_order_of_the_answers() {
    let delta = |step| NatKind::Delta { step };
    let everybody = Reuse::Everybody;
    let symmetric = Reuse::SameAddressAndPort;
    let cases = [
        (Choice::Keep, symmetric, NatKind::Preserving),
        (Choice::Step(1), symmetric, delta(1)),
        (Choice::Step(10), symmetric, delta(10)),
        (Choice::Step(-1), symmetric, delta(-1)),
        (Choice::Step(1), everybody, NatKind::Reuse),
        (Choice::Random, everybody, NatKind::Reuse),
    ];
    for (seed, (choice, reuse, kind)) in (0..20).flat_map(|seed| cases.map(|case| (seed, case))) {
        let mut world = World::new(Nat::new(choice, reuse, seed), Some(SECOND), seed);
        world.serve(0..10, &mut Random::from_number(seed), 100);
        assert_eq!(world.survey.outcome(), Some(Ok(kind)), "seed {seed}");
        assert_eq!(world.dialled.len(), 10);
    }
}

#[test]
fn a_random_nat_is_believed_after_a_second_round_from_other_ports() {
    for seed in 0..20 {
        let mut world =
            World::new(Nat::new(Choice::Random, Reuse::SameAddressAndPort, seed), Some(SECOND), seed);
        world.serve(0..10, &mut Random::from_number(seed), 100);
        assert_eq!((world.survey.outcome(), world.dialled.len(), world.open.len()), (None, 20, 10));
        assert_eq!(world.survey.poll_timeout(), Some(at(1600)));
        let (before, after) = (world.local_ports(0..5), world.local_ports(10..15));
        assert!(after.iter().all(|port| !before.contains(port)), "seed {seed}: {before:?} {after:?}");
        assert!(FIRST_PORTS.contains(&after[0]));
        world.serve(10..20, &mut Random::from_number(seed), 200);
        assert_eq!(world.survey.outcome(), Some(Ok(NatKind::Random)));
    }
}

#[test]
fn no_connection_ends_before_all_are_answered_and_old_ones_only_after_the_new_are_begun() {
    let mut world = World::new(unpredictable(), Some(SECOND), 7);
    (0..10).for_each(|sample| world.connect(sample, 50));
    (0..9).for_each(|sample| world.answer(sample, 100));
    assert_eq!(world.open.len(), 10);
    world.survey.handle_line(9, &remote(world.external(9)), at(101));
    let actions: Vec<_> = std::iter::from_fn(|| world.survey.poll_action()).collect();
    assert!(actions[..10].iter().all(|action| matches!(action, SurveyAction::Dial { .. })), "{actions:?}");
    assert!(actions[10..].iter().all(|action| matches!(action, SurveyAction::Hangup { sample: 0..10 })));
    assert_eq!(actions.len(), 20);
}

#[test]
fn what_spoiled_the_first_round_does_not_spoil_the_second() {
    let mut world = World::new(counting(2), Some(SECOND), 7);
    (0..10).for_each(|sample| world.connect(sample, 50));
    for (sample, port) in (0..10).zip([1, 700, 2, 9000, 3, 11, 12, 50000, 4, 77]) {
        world.line(sample, &remote(port), 100);
    }
    world.serve(10..20, &mut Random::from_number(1), 200);
    assert_eq!(world.survey.outcome(), Some(Ok(NatKind::Delta { step: 2 })));
}

#[test]
fn local_ports_in_use_lead_to_others() {
    let mut world = World::new(counting(1), Some(SECOND), 7);
    [0, 1, 5, 6].into_iter().for_each(|sample| world.fail(sample, 0));
    [2, 3, 4, 7, 8, 9].into_iter().for_each(|sample| world.connect(sample, 50));
    [2, 3, 4, 7, 8, 9].into_iter().for_each(|sample| world.answer(sample, 100));
    assert_eq!(world.survey.outcome(), None);
    world.serve(10..20, &mut Random::from_number(1), 200);
    assert_eq!(world.survey.outcome(), Some(Ok(NatKind::Delta { step: 1 })));
}

#[test]
fn one_lost_packet_costs_the_rest_of_the_round_and_nothing_else() {
    let mut world = World::new(counting(1), Some(SECOND), 7);
    (0..10).filter(|&sample| sample != 3).for_each(|sample| world.connect(sample, 50));
    (0..10).filter(|&sample| sample != 3).for_each(|sample| world.answer(sample, 100));
    world.wake(1499);
    assert_eq!(world.survey.outcome(), None);
    world.wake(1500);
    assert_eq!(world.survey.outcome(), Some(Ok(NatKind::Delta { step: 1 })));
}

#[test]
fn a_server_that_dies_half_way_is_a_doubt() {
    let mut world = World::new(unpredictable(), Some(SECOND), 7);
    (0..10).for_each(|sample| world.connect(sample, 50));
    [0, 1, 5, 6].into_iter().for_each(|sample| world.answer(sample, 100));
    [2, 3, 4, 7, 8, 9].into_iter().for_each(|sample| world.fail(sample, 110));
    (10..20).for_each(|sample| world.fail(sample, 160));
    assert_eq!(world.survey.outcome(), Some(Err(Doubt::Unanswered)));
}

#[test]
fn a_server_that_dies_between_the_rounds_does_not_take_the_first_ones_result() {
    let mut world = World::new(unpredictable(), Some(SECOND), 7);
    world.serve(0..10, &mut Random::from_number(1), 100);
    (10..20).for_each(|sample| world.fail(sample, 150));
    assert_eq!(world.survey.outcome(), Some(Ok(NatKind::Random)));
}

#[test]
fn one_that_comes_between_the_rounds_is_heard() {
    let mut world = World::new(counting(1), Some(SECOND), 7);
    (0..10).for_each(|sample| world.fail(sample, 50));
    world.serve(10..20, &mut Random::from_number(1), 200);
    assert_eq!(world.survey.outcome(), Some(Ok(NatKind::Delta { step: 1 })));
}

#[test]
fn a_silent_server_costs_two_rounds() {
    let mut world = World::new(counting(1), Some(SECOND), 7);
    world.wake(1500);
    assert_eq!((world.survey.outcome(), world.dialled.len(), world.open.len()), (None, 20, 10));
    world.wake(3000);
    assert_eq!(world.survey.outcome(), Some(Err(Doubt::Unanswered)));
}

#[test]
fn when_only_the_second_observer_is_silent_the_first_may_do() {
    for (nat, expected) in [
        (counting(3), Ok(NatKind::Delta { step: 3 })),
        (Nat::new(Choice::Keep, Reuse::Everybody, 1), Ok(NatKind::Preserving)),
        (unpredictable(), Err(Doubt::Unanswered)),
    ] {
        let mut world = World::new(nat, Some(SECOND), 7);
        for round in 0..2 {
            if world.survey.outcome().is_some() {
                break;
            }
            let samples = 10 * round..10 * round + 5;
            samples.clone().for_each(|sample| world.connect(sample, 50));
            samples.for_each(|sample| world.answer(sample, 100));
            world.wake(1500 * (round as u64 + 1));
        }
        assert_eq!(world.survey.outcome(), Some(expected));
    }
}

#[test]
fn one_observer_tells_preserving_and_delta_and_no_more() {
    for (nat, expected, samples) in [
        (Nat::new(Choice::Keep, Reuse::Everybody, 1), Ok(NatKind::Preserving), 5),
        (counting(-4), Ok(NatKind::Delta { step: -4 }), 5),
        (unpredictable(), Err(Doubt::OneObserver), 10),
        (Nat::new(Choice::Random, Reuse::Everybody, 1), Err(Doubt::OneObserver), 10),
    ] {
        let mut world = World::new(nat, None, 7);
        world.serve(0..5, &mut Random::from_number(1), 100);
        if world.survey.outcome().is_none() {
            world.serve(5..10, &mut Random::from_number(1), 200);
        }
        assert_eq!((world.survey.outcome(), world.dialled.len()), (Some(expected), samples));
    }
    // All answers of one observer say why it can not be told; that a second round had none does not change that.
    let mut world = World::new(unpredictable(), None, 7);
    world.serve(0..5, &mut Random::from_number(1), 100);
    (5..10).for_each(|sample| world.fail(sample, 150));
    assert_eq!(world.survey.outcome(), Some(Err(Doubt::OneObserver)));
    let mut world = World::new(unpredictable(), None, 7);
    (0..5).for_each(|sample| world.fail(sample, 50));
    world.serve(5..10, &mut Random::from_number(1), 100);
    assert_eq!(world.survey.outcome(), Some(Err(Doubt::OneObserver)));
}

#[test]
fn the_same_observer_twice_and_one_of_another_family_count_as_none() {
    for second in [FIRST, "[2001:db8::1]:8000"] {
        assert_eq!(World::new(counting(1), Some(second), 7).dialled.len(), 5);
    }
}

#[test]
fn a_server_that_talks_nonsense_gives_no_sample_and_is_hung_up_on() {
    let nonsense: [&[u8]; 8] = [
        b"",
        b"REMOTE TCP 0",
        b"REMOTE TCP 65536",
        b"REMOTE TCP 99999999999999999999999",
        b"REMOTE UDP 5000",
        b"REMOTE TCP 5000 5001",
        b"NODES EMPTY",
        &[0xff; 4096],
    ];
    for line in nonsense {
        let mut world = World::new(counting(1), Some(SECOND), 7);
        (0..10).for_each(|sample| world.connect(sample, 50));
        world.line(4, line, 60);
        assert!(!world.open.contains(&4));
        world.answer(4, 61);
        world.fail(4, 62);
        (0..10).filter(|&sample| sample != 4).for_each(|sample| world.answer(sample, 100));
        assert_eq!(world.survey.outcome(), Some(Ok(NatKind::Delta { step: 1 })), "{line:?}");
    }
    let mut world = World::new(counting(1), Some(SECOND), 7);
    for samples in [0..10, 10..20] {
        samples.clone().for_each(|sample| world.connect(sample, 50));
        samples.for_each(|sample| world.line(sample, b"HTTP/1.1 400 Bad Request", 60));
    }
    assert_eq!(world.survey.outcome(), Some(Err(Doubt::Unanswered)));
}

#[test]
fn the_first_answer_counts_and_lines_after_it_do_not() {
    let mut world = World::new(counting(1), Some(SECOND), 7);
    (0..10).for_each(|sample| world.connect(sample, 50));
    for sample in 0..10 {
        world.answer(sample, 60);
        world.line(sample, b"REMOTE TCP 7", 60);
        world.line(sample, b"rubbish", 60);
    }
    assert_eq!(world.survey.outcome(), Some(Ok(NatKind::Delta { step: 1 })));
}

#[test]
fn a_connection_that_ends_after_its_answer_has_answered() {
    let mut world = World::new(counting(1), Some(SECOND), 7);
    (0..10).for_each(|sample| world.connect(sample, 50));
    for sample in 0..10 {
        world.answer(sample, 60);
        if world.survey.outcome().is_none() {
            world.fail(sample, 60);
        }
    }
    assert_eq!(world.survey.outcome(), Some(Ok(NatKind::Delta { step: 1 })));
}

#[test]
fn what_comes_late_twice_unasked_or_for_nobody_changes_nothing() {
    let mut world = World::new(counting(1), Some(SECOND), 7);
    world.line(0, b"REMOTE TCP 9", 10); // nothing was asked yet
    world.connect(0, 50);
    world.connect(0, 51); // asked once: see World::act
    assert_eq!(Vec::from_iter(world.asked.keys()), [&0]);
    world.wake(1500);
    assert_eq!(world.dialled.len(), 20);
    for sample in [0, 5, 9, 20, usize::MAX] {
        world.connect(sample, 1501);
        world.line(sample, b"REMOTE TCP 9", 1501);
        world.fail(sample, 1501);
    }
    world.serve(10..20, &mut Random::from_number(1), 1600);
    let end = Some(Ok(NatKind::Delta { step: 1 }));
    assert_eq!(world.survey.outcome(), end);
    for sample in 0..25 {
        world.connect(sample, 1700);
        world.line(sample, b"REMOTE TCP 9", 1700);
        world.fail(sample, 1700);
        world.wake(9000);
    }
    assert_eq!((world.survey.outcome(), world.dialled.len()), (end, 20));
}

/// Anything in any order: it ends, at most two rounds long, and leaves nothing open.
#[test]
fn it_ends_whatever_happens() {
    for seed in 0..300 {
        let mut random = Random::from_number(seed);
        let second = (random.below(2) == 0).then_some(SECOND);
        let mut world = World::new(unpredictable(), second, seed);
        let mut now = 0;
        while world.survey.outcome().is_none() {
            now += random.below(40) as u64;
            if world.survey.poll_timeout() <= Some(at(now)) {
                world.wake(now);
                continue;
            }
            let sample = random.below(22);
            match random.below(7) {
                0..3 => world.connect(sample, now),
                3 => world.line(sample, &remote(random.below(65_535) as u16 + 1), now),
                4 => world.line(sample, b"nonsense", now),
                5 if random.below(10) == 0 => world.fail(sample, now),
                _ => world.wake(now),
            }
        }
        assert!(now < 3200 && world.dialled.len() <= 20, "seed {seed}");
    }
}
