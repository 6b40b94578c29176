//! The four kinds, with one sample that does not fit, and how rarely chance looks like one of them.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use proptest::prelude::*;

use super::super::model::{Choice, Nat, Reuse};
use super::*;

fn all(ports: &[u16]) -> Vec<Option<u16>> {
    ports.iter().copied().map(Some).collect()
}

fn sight(ports: [u16; SAMPLES]) -> Sight {
    ports.map(Some)
}

fn two_ports() -> [SocketAddr; 2] {
    ["192.0.2.1:8000", "192.0.2.1:8001"].map(|addr| addr.parse().unwrap())
}

fn two_addresses() -> [SocketAddr; 2] {
    ["192.0.2.1:8000", "198.51.100.1:8000"].map(|addr| addr.parse().unwrap())
}

#[test]
fn the_known_answers_of_the_delta_rule() {
    assert_eq!(step(&all(&[100, 200, 300, 400])), Some(100));
    assert_eq!(step(&all(&[100, 300, 300, 400])), Some(100));
    assert_eq!(step(&all(&[100, 300, 300, 300])), None);
    assert_eq!(step(&all(&[1, 2, 3, 4, 5, 6])), Some(1));
}

#[test]
fn a_step_survives_one_thing_that_happens() {
    let cases = [
        ("down", [504, 503, 502, 501, 500], Some(-1)),
        ("down by ten", [540, 530, 520, 510, 500], Some(-10)),
        ("one elsewhere", [500, 501, 9000, 503, 504], Some(1)),
        ("the first elsewhere", [7, 501, 502, 503, 504], Some(1)),
        ("the last elsewhere", [500, 501, 502, 503, 7], Some(1)),
        ("one other connection between", [500, 501, 503, 504, 505], Some(1)),
        ("two other connections between", [500, 502, 508, 510, 512], Some(2)),
        ("end of the range", [65534, 65535, 1024, 1025, 1026], Some(1)),
        ("end of the range, down", [1025, 1024, 65535, 65534, 65533], Some(-1)),
        ("a lost SYN, repeated late", [500, 501, 509, 502, 503], Some(1)),
        ("the first SYN lost", [509, 500, 501, 502, 503], Some(1)),
        ("two things", [500, 502, 503, 505, 506], None),
        ("the same port", [500, 500, 500, 500, 500], None),
        ("the same port but once", [500, 500, 500, 500, 501], None),
        ("no order", [500, 912, 33, 40000, 1200], None),
        ("twice two", [500, 501, 601, 602, 702], None),
    ];
    for (what, ports, expected) in cases {
        assert_eq!(step(&all(&ports)), expected, "{what}");
    }
    let missing = [Some(500), Some(501), None, Some(503), Some(504)];
    assert_eq!(step(&missing), Some(1), "the answer lost");
    let never_sent = [Some(500), Some(501), None, Some(502), Some(503)];
    assert_eq!(step(&never_sent), Some(1), "the SYN lost");
    assert_eq!(step(&[Some(500), None, Some(502), None, Some(504)]), None, "too few to be sure");
    assert_eq!((step(&all(&[1, 2, 3])), step(&[])), (None, None), "too few to make a step");
}

#[test]
fn without_a_nat_or_with_one_that_keeps_ports_it_is_preserving() {
    let kept = sight([5000, 5001, 5002, 5003, 5004]);
    let collision = sight([5000, 5001, 61234, 5003, 5004]);
    let missing = [Some(5000), Some(5001), None, Some(5003), Some(5004)];
    let dying = [Some(5000), None, None, None, None];
    for other in [kept, collision, missing, dying, [None; SAMPLES]] {
        assert_eq!(infer(5000, &[kept, other]), Ok(NatKind::Preserving));
        assert_eq!(infer(5000, &[other, kept]), Ok(NatKind::Preserving));
    }
    assert_eq!(infer(5000, &[collision]), Ok(NatKind::Preserving));
    assert_eq!(infer(5000, &[missing, missing]), Ok(NatKind::Preserving));
    // Towards the second it does not always keep them: nothing can be foretold.
    let twice = sight([5000, 1234, 5002, 61234, 5004]);
    assert_eq!(infer(5000, &[kept, twice]), Ok(NatKind::Random));
    assert_eq!(infer(5000, &[twice, twice]), Ok(NatKind::Reuse));
    let other = sight([40000, 1234, 61234, 5003, 9]);
    assert_eq!(infer(5000, &[kept, other]), Ok(NatKind::Random));
}

#[test]
fn the_same_port_towards_both_is_reuse_however_it_was_chosen() {
    let random = sight([40000, 1234, 61234, 5003, 9000]);
    assert_eq!(infer(20000, &[random, random]), Ok(NatKind::Reuse));
    let sequential = sight([40000, 40001, 40002, 40003, 40004]);
    assert_eq!(infer(20000, &[sequential, sequential]), Ok(NatKind::Reuse));
    let mut collision = sequential;
    collision[3] = Some(50000);
    assert_eq!(infer(20000, &[sequential, collision]), Ok(NatKind::Reuse));
    collision[3] = None;
    assert_eq!(infer(20000, &[sequential, collision]), Ok(NatKind::Reuse));
    // Too few pairs to say so, but enough to see that it does not count per connection.
    let dying = [Some(40000), Some(40001), None, None, None];
    assert_eq!(infer(20000, &[sequential, dying]), Err(Doubt::Unanswered));
}

#[test]
fn both_observers_must_see_the_same_step() {
    let (first, second) = (sight([500, 502, 504, 506, 508]), sight([510, 512, 514, 516, 518]));
    assert_eq!(infer(20000, &[first, second]), Ok(NatKind::Delta { step: 2 }));
    let other = sight([510, 513, 516, 519, 522]);
    assert_eq!(infer(20000, &[first, other]), Ok(NatKind::Random));
    let none = sight([510, 40000, 516, 2000, 522]);
    assert_eq!(infer(20000, &[first, none]), Ok(NatKind::Random));
    let too_few = [Some(510), Some(512), None, None, None];
    assert_eq!(infer(20000, &[first, too_few]), Ok(NatKind::Delta { step: 2 }));
    assert_eq!(infer(20000, &[too_few, first]), Ok(NatKind::Delta { step: 2 }));
}

#[test]
fn too_few_answers_are_a_doubt_and_so_is_one_observer() {
    let random = sight([40000, 1234, 61234, 5003, 9000]);
    let three = [Some(40000), None, Some(61234), None, Some(9000)];
    let none = [None; SAMPLES];
    for sights in
        [&[][..], &[none], &[three], &[none, none], &[random, three], &[none, random], &[three, three]]
    {
        assert_eq!(infer(20000, sights), Err(Doubt::Unanswered), "{sights:?}");
    }
    assert_eq!(infer(20000, &[random]), Err(Doubt::OneObserver));
    let four = [Some(40000), Some(1234), None, Some(61234), Some(9000)];
    assert_eq!(infer(20000, &[four]), Err(Doubt::OneObserver));
    let elsewhere = sight([1, 22, 333, 4444, 55555]);
    assert_eq!(infer(20000, &[four, elsewhere]), Ok(NatKind::Random));
}

#[test]
fn local_ports_at_the_end_of_their_range_are_no_trouble() {
    assert_eq!(
        infer(u16::MAX - 1, &[[Some(u16::MAX - 1), Some(u16::MAX), Some(0), Some(1), Some(2)]]),
        Ok(NatKind::Delta { step: 1 })
    );
}

/// Each kind, a thousand times from different places.
#[test]
fn every_nat_is_named_rightly() {
    let delta = |step| Ok(NatKind::Delta { step });
    let (reuse, random) = (Ok(NatKind::Reuse), Ok(NatKind::Random));
    for seed in 0..1000 {
        let see = |choice, reuse, observers: [SocketAddr; 2]| {
            infer(21000, &Nat::new(choice, reuse, seed).sights(21000, &observers))
        };
        let symmetric = Reuse::SameAddressAndPort;
        assert_eq!(see(Choice::Keep, symmetric, two_ports()), Ok(NatKind::Preserving), "seed {seed}");
        for step in [1, 2, 10, -1, -7, 1000] {
            assert_eq!(see(Choice::Step(step), symmetric, two_ports()), delta(step), "seed {seed}");
            assert_eq!(
                see(Choice::Step(step), Reuse::SameAddress, two_addresses()),
                delta(step),
                "seed {seed}"
            );
            assert_eq!(see(Choice::Step(step), Reuse::Everybody, two_addresses()), reuse, "seed {seed}");
        }
        assert_eq!(see(Choice::Random, Reuse::Everybody, two_addresses()), reuse, "seed {seed}");
        assert_eq!(see(Choice::Random, Reuse::SameAddress, two_ports()), reuse, "seed {seed}");
        assert_eq!(see(Choice::Random, Reuse::SameAddress, two_addresses()), random, "seed {seed}");
        assert_eq!(see(Choice::Random, symmetric, two_ports()), random, "seed {seed}");
    }
}

#[test]
fn a_port_that_somebody_else_has_changes_nothing() {
    for (seed, reuse) in (0..1000).zip([Reuse::Everybody, Reuse::SameAddressAndPort].into_iter().cycle()) {
        let mut nat = Nat::new(Choice::Keep, reuse, seed);
        nat.occupy(21000 + (seed % SAMPLES as u64) as u16);
        let sights = nat.sights(21000, &two_ports());
        assert_eq!(infer(21000, &sights), Ok(NatKind::Preserving), "seed {seed}: {sights:?}");
    }
}

/// Judges `rounds` rounds of a NAT that chooses at random within `range`; how many were taken for another kind?
fn misjudged(range: &RangeInclusive<u16>, observers: &[SocketAddr], rounds: u64) -> u64 {
    let verdict = if observers.len() == 1 { Err(Doubt::OneObserver) } else { Ok(NatKind::Random) };
    let wrong = |seed: &u64| {
        let mut nat = Nat::within(range.clone(), Choice::Random, Reuse::SameAddressAndPort, *seed);
        infer(21000, &nat.sights(21000, observers)) != verdict
    };
    (0..rounds).filter(wrong).count() as u64
}

#[test]
fn chance_is_not_taken_for_a_rule() {
    assert_eq!(misjudged(&(1024..=u16::MAX), &two_ports(), 20_000), 0);
    assert_eq!(misjudged(&(1024..=u16::MAX), &two_ports()[..1], 20_000), 0);
    // Blocks of ports as providers give them to a customer: the chances of this file's beginning.
    assert_eq!(misjudged(&(2048..=2559), &two_ports(), 20_000), 0);
    let (ports, rounds) = (128, 20_000);
    let one = misjudged(&(2048..=2048 + ports - 1), &two_ports()[..1], rounds);
    let bound = 10 * rounds / (u64::from(ports) * u64::from(ports));
    assert!((1..=bound).contains(&one), "{one} of at most {bound}");
    assert_eq!(misjudged(&(2048..=2048 + ports - 1), &two_ports(), rounds), 0);
}

/// What happens to one observer's samples.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    Nothing,
    AnswerLost(usize),
    Elsewhere(usize, u16),
    /// Other connections come before this sample.
    Others(usize, u8),
    /// The SYN arrives after all others.
    Late(usize),
}

fn mishaps() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        Just(Mishap::Nothing),
        (0..SAMPLES).prop_map(Mishap::AnswerLost),
        (0..SAMPLES, any::<u16>()).prop_map(|(sample, port)| Mishap::Elsewhere(sample, port)),
        (0..SAMPLES, 1..4u8).prop_map(|(sample, others)| Mishap::Others(sample, others)),
        (0..SAMPLES).prop_map(Mishap::Late),
    ]
}

/// What the two ports of a server see of a NAT when that happens.
fn suffered(nat: &mut Nat, mishaps: [Mishap; 2]) -> [Sight; 2] {
    let mut sights = [[None; SAMPLES]; 2];
    let mut late = Vec::new();
    for (observer, (sight, to)) in sights.iter_mut().zip(two_ports()).enumerate() {
        for (sample, seen) in sight.iter_mut().enumerate() {
            match mishaps[observer] {
                Mishap::Others(before, others) if before == sample => {
                    (0..others).for_each(|_| nat.pass_other())
                }
                Mishap::Late(who) if who == sample => {
                    late.push((observer, sample));
                    continue;
                }
                _ => {}
            }
            *seen = Some(nat.translate(21000 + sample as u16, to));
        }
        match mishaps[observer] {
            Mishap::AnswerLost(sample) => sight[sample] = None,
            Mishap::Elsewhere(sample, port) => sight[sample] = Some(port),
            _ => {}
        }
    }
    for (observer, sample) in late {
        sights[observer][sample] = Some(nat.translate(21000 + sample as u16, two_ports()[observer]));
    }
    sights
}

fn ports() -> impl Strategy<Value = Sight> {
    any::<[u16; SAMPLES]>().prop_map(|ports| ports.map(Some))
}

fn sights() -> impl Strategy<Value = Vec<Sight>> {
    // Few ports, so that coincidences abound.
    proptest::collection::vec(any::<[Option<u8>; SAMPLES]>(), 0..4).prop_map(|sights| {
        sights.iter().map(|sight| sight.map(|port| port.map(|p| u16::from(p % 16)))).collect()
    })
}

proptest! {
    #[test]
    fn a_delta_is_found_through_a_mishap_at_each_observer(
        step in prop_oneof![-10..=-1, 1..=10, 11..=1000i32],
        last in 25_000..40_000u16,
        mishaps in [mishaps(), mishaps()],
    ) {
        // The ends of the range are far away: passing one would be another mishap.
        let mut nat = Nat::new(Choice::Step(step), Reuse::SameAddressAndPort, 1);
        nat.go_to(last);
        let sights = suffered(&mut nat, mishaps);
        // What happens to be elsewhere may be where the other observer's is.
        prop_assume!(pairs(&sights).iter().all(|(first, second)| first != second));
        prop_assert_eq!(infer(21000, &sights), Ok(NatKind::Delta { step }), "{:?}", sights);
    }

    #[test]
    fn a_wrap_of_the_range_does_not_hide_the_delta(step in prop_oneof![-10..=-1, 1..=10i32], before in 0..12u16) {
        let range = 30000..=40000u16;
        let mut nat = Nat::within(range.clone(), Choice::Step(step), Reuse::SameAddressAndPort, 1);
        let edge = if step > 0 { *range.end() } else { *range.start() };
        nat.go_to(edge.wrapping_sub((i32::from(before) * step) as u16));
        prop_assert_eq!(infer(21000, &nat.sights(21000, &two_ports())), Ok(NatKind::Delta { step }));
    }

    #[test]
    fn reuse_is_found_whatever_the_ports_are(ports in ports(), odd in 0..SAMPLES, other: Option<u16>) {
        prop_assume!(!is_preserving(21000, &[ports, ports]));
        let mut second = ports;
        prop_assert_eq!(infer(21000, &[ports, second]), Ok(NatKind::Reuse));
        second[odd] = other;
        prop_assert_eq!(infer(21000, &[ports, second]), Ok(NatKind::Reuse));
    }

    #[test]
    fn preserving_is_found_with_one_odd_answer_from_each(
        first_port in 1..60_000u16,
        odd in [(0..SAMPLES, any::<Option<u16>>()), (0..SAMPLES, any::<Option<u16>>())],
        observers in 1..=2usize,
    ) {
        let sights = odd.map(|(odd, seen)| {
            let mut sight: Sight = std::array::from_fn(|index| Some(first_port + index as u16));
            sight[odd] = seen;
            sight
        });
        prop_assert_eq!(infer(first_port, &sights[..observers]), Ok(NatKind::Preserving));
    }

    #[test]
    fn nothing_panics_and_no_observer_comes_first(first_port: u16, sights in sights(), wide in [ports(), ports()]) {
        let mut turned = sights.clone();
        turned.reverse();
        let found = infer(first_port, &sights);
        prop_assert_eq!(found, infer(first_port, &turned));
        prop_assert_ne!(found, Ok(NatKind::Delta { step: 0 }));
        let one = infer(first_port, &sights[..sights.len().min(1)]);
        prop_assert!(one != Ok(NatKind::Reuse) && one != Ok(NatKind::Random));
        let _ = infer(first_port, &wide);
    }
}
