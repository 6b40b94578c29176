//! How connections begin: from one end, or from both at once.

use super::*;

/// How two houses fare that dial each other, the second one later; `None` for a dial that was refused.
fn cross(seed: u64, filters: [Filter; 2], skew: Duration) -> [Option<Duration>; 2] {
    let mut world = World::new(seed);
    let addrs = ["203.0.113.1", "203.0.113.2"].map(|ip| at(ip, 4000));
    let houses =
        [0, 1].map(|n| house(&mut world, &addrs[n].ip().to_string(), Nat::Preserving, filters[n], None));
    let first = dial(&mut world, houses[0].script, 4000, addrs[1]);
    world.run_for(skew);
    let second = dial(&mut world, houses[1].script, 4000, addrs[0]);
    let began = world.now();
    let both = [(houses[0].script, first), (houses[1].script, second)];
    let mut opened = [None; 2];
    for _ in 0..5_000 {
        for (place, (script, end)) in both.into_iter().enumerate() {
            if is_open(&world, script, end) && opened[place].is_none() {
                opened[place] = Some(world.now() - began);
            }
        }
        world.run_for(millis(1));
    }
    if opened.iter().all(Option::is_some) {
        // It is one connection.
        world.wire(houses[0].script, |wire| wire.send(first, "to the second\n"));
        world.wire(houses[1].script, |wire| wire.send(second, "to the first\n"));
        world.run_for(secs(1));
        let line = |text: &str| Input::Line(text.into());
        assert_eq!(world.heard(houses[1].script), [(second, Input::Opened), (second, line("to the second"))]);
        assert_eq!(world.heard(houses[0].script), [(first, Input::Opened), (first, line("to the first"))]);
        assert_eq!((world.network.peer(first), world.network.peer(second)), (addrs[1], addrs[0]));
        assert_eq!(world.network.connections().count(), 1);
    }
    opened
}

/// One way takes 25 ms. As measured with kernels: the first SYN must not arrive before the second was sent.
#[test]
fn two_syns_that_cross_open_one_connection() {
    with_seeds(2, |seed| {
        for filter in [Filter::Drop, Filter::Reject, Filter::Open] {
            for skew in [0, 10, 23] {
                let opened = cross(seed, [filter; 2], millis(skew));
                let both_soon = opened.iter().all(|at| at.is_some_and(|at| at <= millis(52)));
                assert!(both_soon, "{filter:?} {skew} {opened:?}");
            }
        }
    });
}

#[test]
fn a_late_second_syn_is_met_by_a_repeated_first_one_or_by_nobody() {
    with_seeds(2, |seed| {
        for skew in [27, 100, 900] {
            let opened = cross(seed, [Filter::Drop; 2], millis(skew));
            assert!(opened.iter().all(Option::is_some), "{skew} {opened:?}");
            for filter in [Filter::Reject, Filter::Open] {
                assert_eq!(cross(seed, [filter; 2], millis(skew)), [None; 2], "{filter:?} {skew}");
            }
            // Who is refused comes too late; who refuses is not refused.
            assert_eq!(cross(seed, [Filter::Drop, Filter::Reject], millis(skew.max(60))), [None; 2]);
            assert!(cross(seed, [Filter::Reject, Filter::Drop], millis(skew)).iter().all(Option::is_some));
        }
    });
}

#[test]
fn two_that_listen_nowhere_meet_without_any_router_too() {
    with_seeds(2, |seed| {
        let mut world = World::new(seed);
        let (here, a) = outsider(&mut world, "198.51.100.1", None);
        let (there, b) = outsider(&mut world, "198.51.100.2", None);
        // Firewalls let in what was asked for.
        for computer in [here, there] {
            world.computer_mut(computer).is_closed = true;
        }
        let first = dial(&mut world, a, 4000, at("198.51.100.2", 4000));
        let second = dial(&mut world, b, 4000, at("198.51.100.1", 4000));
        world.run_for(secs(1));
        assert!(is_open(&world, a, first) && is_open(&world, b, second));
        world.wire(a, |wire| wire.close(first));
        world.run_for(secs(1));
        assert_eq!(world.heard(b).last(), Some(&(second, Input::Ended)));
    });
}

#[test]
fn who_gives_up_while_the_syns_cross_leaves_nobody_waiting() {
    with_seeds(2, |seed| {
        // When both SYNs have arrived, and when only the first has.
        for (skew, heard) in [(0, vec![Input::Opened, Input::Ended]), (10, vec![Input::Ended])] {
            let mut world = World::new(seed);
            let (_, a) = outsider(&mut world, "198.51.100.1", None);
            let (_, b) = outsider(&mut world, "198.51.100.2", None);
            let first = dial(&mut world, a, 4000, at("198.51.100.2", 4000));
            world.run_for(millis(skew));
            let second = dial(&mut world, b, 4000, at("198.51.100.1", 4000));
            world.run_for(millis(30 - skew));
            world.wire(a, |wire| wire.close(first));
            world.run_for(secs(1));
            let expected: Vec<_> = heard.into_iter().map(|input| (second, input)).collect();
            assert_eq!(world.heard(b), expected);
            let refused = (skew > 0).then_some(ErrorKind::ConnectionRefused);
            assert_eq!(world.failure(b, second), refused);
        }
    });
}

#[test]
fn ends_share_a_port_but_not_both_addresses() {
    with_seeds(2, |seed| {
        let mut world = World::new(seed);
        let (_, a) = outsider(&mut world, "198.51.100.1", Some(4000));
        let others = ["198.51.100.2", "198.51.100.3"];
        for other in others {
            outsider(&mut world, other, Some(8000));
        }
        let ends = others.map(|other| dial(&mut world, a, 4000, at(other, 8000)));
        let again = |world: &mut World| world.wire(a, |wire| wire.dial_from(4000, at(others[0], 8000)));
        assert_eq!(again(&mut world), Err(ErrorKind::AddrNotAvailable));
        world.run_for(secs(1));
        assert!(ends.into_iter().all(|end| is_open(&world, a, end)));
        assert_eq!(again(&mut world), Err(ErrorKind::AddrNotAvailable));
        world.wire(a, |wire| wire.close(ends[0]));
        assert!(again(&mut world).is_ok());
    });
}

#[test]
fn what_is_left_of_a_lost_connection_makes_room_for_a_new_one() {
    with_seeds(2, |seed| {
        let mut world = World::new(seed);
        let (computer, a) = outsider(&mut world, "198.51.100.1", None);
        let (_, b) = outsider(&mut world, "198.51.100.2", Some(8000));
        dial(&mut world, a, 4000, at("198.51.100.2", 8000));
        world.run_for(secs(1));
        world.power_off(computer);
        world.power_on(computer);
        let again = idler(&mut world, computer, None);
        let end = dial(&mut world, again, 4000, at("198.51.100.2", 8000));
        world.run_for(millis(900));
        let inputs =
            |world: &World| world.heard(b).iter().map(|(_, input)| input.clone()).collect::<Vec<_>>();
        assert_eq!(inputs(&world), [Input::Opened, Input::Ended]);
        world.run_for(millis(200));
        assert_eq!(inputs(&world), [Input::Opened, Input::Ended, Input::Opened]);
        assert!(is_open(&world, again, end));
    });
}

#[test]
fn an_answer_that_a_partition_held_up_is_given_again() {
    with_seeds(2, |seed| {
        let mut world = World::new(seed);
        let (computer, a) = outsider(&mut world, "198.51.100.1", None);
        let (_, b) = outsider(&mut world, "198.51.100.2", Some(8000));
        let end = dial(&mut world, a, 4000, at("198.51.100.2", 8000));
        world.run_for(millis(30));
        assert_eq!(callers(&world, b).len(), 1);
        world.network.set_side(computer, 1);
        world.run_for(secs(5));
        world.network.set_side(computer, 0);
        assert!(!is_open(&world, a, end));
        // The next repetition comes after 7 s.
        world.run_for(secs(3));
        assert!(is_open(&world, a, end));
        assert_eq!(callers(&world, b).len(), 1);
    });
}

#[test]
fn a_refusal_that_comes_after_the_others_syn_is_ignored() {
    with_seeds(2, |seed| {
        let mut world = World::new(seed);
        let addrs = ["203.0.113.1", "203.0.113.2"].map(|ip| at(ip, 4000));
        let [a, b] = [("203.0.113.1", Filter::Drop), ("203.0.113.2", Filter::Reject)]
            .map(|(ip, filter)| house(&mut world, ip, Nat::Preserving, filter, None));
        // The refusal goes off after 24 ms and takes the long way; what follows overtakes it.
        world.delay_between(b.computer, a.computer, millis(30));
        let first = dial(&mut world, a.script, 4000, addrs[1]);
        world.run_for(millis(30));
        world.delay_between(b.computer, a.computer, Duration::ZERO);
        let second = dial(&mut world, b.script, 4000, addrs[0]);
        world.run_for(millis(120));
        assert!(is_open(&world, a.script, first) && is_open(&world, b.script, second));
        assert_eq!(world.syns("203.0.113.2"), 1);
    });
}
