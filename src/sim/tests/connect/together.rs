//! Attempts at the same time, one after the other, again, and given up.

use super::*;
use crate::error::ConnectError;
use crate::reach::NatKind;

/// Both connect to each other, the second one so much later; both attempts lead to the one connection that there is.
fn both_at_once(town: &mut Town, nodes: [ProgramId; 2], offset: Duration) -> [Link; 2] {
    let unls = nodes.map(|id| town.unl(id));
    let first = town.connect(nodes[0], &unls[1]);
    town.world.run_for(offset);
    let second = town.connect(nodes[1], &unls[0]);
    let links = [(nodes[0], first), (nodes[1], second)]
        .map(|(id, attempt)| town.wait(id, attempt).unwrap_or_else(|why| panic!("{id:?}: {why}")));
    // Whatever is left over of the one or the other comes by then.
    town.world.run_for(secs(10));
    for id in nodes {
        assert_eq!(town.world.count(id), 1, "{:?}", town.world.events(id));
        assert_eq!(close_reasons(&mut town.world, id), []);
        town.assert_nothing_left(id);
    }
    links
}

fn offset(world: &mut World) -> Duration {
    millis(world.network.random.below(501) as u64)
}

/// Both orders of the ids are tried, as nodes 1 and 2 may be in either house.
fn together(seeds: u64, homes: [Home; 2]) {
    together_as(seeds, homes, direct);
}

fn together_as(seeds: u64, homes: [Home; 2], config: impl Fn(u8) -> Config) {
    with_seeds(seeds, |seed| {
        let numbers = if seed % 2 == 0 { [1, 2] } else { [2, 1] };
        let mut town = Town::new(seed);
        let nodes = [0, 1].map(|n| {
            let (_, computer) = town.house(numbers[n], homes[n]);
            town.world.peer(computer, config(numbers[n]))
        });
        town.settle(&nodes);
        let offset = if seed % 5 == 0 { Duration::ZERO } else { offset(&mut town.world) };
        both_at_once(&mut town, nodes, offset);
        town.assert_talk(nodes, numbers.map(id));
    });
}

#[test]
fn two_that_connect_to_each_other_directly_have_one_connection() {
    together(60, [Home::Public, Home::Public]);
}

/// Each may dial the other in its own attempt and for the other's at the same time.
#[test]
fn two_that_may_dial_more_often_have_one_connection() {
    let eager = |n| direct(n).max_claimed_syns(30).max_host_syns(100);
    for homes in
        [[Home::Public, Home::Public], [Home::Public, Home::Forwarded], [PRESERVING, Home::Forwarded]]
    {
        together_as(30, homes, eager);
    }
}

#[test]
fn two_that_connect_to_each_other_directly_and_by_call_have_one_connection() {
    together(60, [Home::Forwarded, PRESERVING]);
}

/// What was said later on one of two connections may arrive before what was said on the other.
#[test]
fn two_that_connect_to_each_other_while_delays_change_have_one_connection() {
    with_seeds(100, |seed| {
        let numbers = if seed % 2 == 0 { [1, 2] } else { [2, 1] };
        let mut town = Town::new(seed);
        let computers = numbers.map(|n| town.house(n, Home::Public).1);
        let nodes = [0, 1].map(|place| town.world.peer(computers[place], direct(numbers[place])));
        town.settle(&nodes);
        let unls = nodes.map(|id| town.unl(id));
        let first = town.connect(nodes[0], only(&unls[1], Rung::Direct));
        let start = town.world.network.random.below(60);
        let mut second = None;
        for turn in 0..400 {
            for (from, to) in [(0, 1), (1, 0)] {
                let extra = millis(town.world.network.random.below(60) as u64);
                town.world.delay_between(computers[from], computers[to], extra);
            }
            if turn == start {
                second = Some(town.connect(nodes[1], only(&unls[0], Rung::Direct)));
            }
            town.world.run_for(millis(1));
        }
        let links = [(nodes[0], first), (nodes[1], second.expect("it began"))]
            .map(|(id, attempt)| town.wait(id, attempt).unwrap_or_else(|why| panic!("{id:?}: {why}")));
        town.world.run_for(secs(10));
        for (id, link) in nodes.into_iter().zip(links) {
            assert_eq!(close_reasons(&mut town.world, id), []);
            assert_eq!(town.world.cons(id), [link.con]);
            town.assert_nothing_left(id);
        }
        town.assert_talk(nodes, numbers.map(id));
    });
}

#[test]
fn two_that_punch_to_each_other_have_one_connection() {
    together(60, [PRESERVING, Home::Behind(Nat::Reuse, Filter::Reject)]);
}

#[test]
fn two_that_punch_to_each_other_past_a_delta_have_one_connection() {
    together(60, [Home::Behind(Nat::Delta(1), Filter::Drop), PRESERVING]);
}

#[test]
fn two_that_call_each_other_to_a_relay_have_one_connection() {
    together(60, [RANDOM, RANDOM]);
}

#[test]
fn two_of_a_household_that_connect_to_each_other_have_one_connection() {
    with_seeds(60, |seed| {
        let mut town = Town::new(seed);
        let (router, first) = town.house(1, PRESERVING);
        let second = town.world.computer_behind(router.expect("a router"), "192.168.1.3");
        let nodes = [town.world.peer(first, direct(1)), town.world.peer(second, direct(2).port(50501))];
        town.settle(&nodes);
        // Two that are so near meet within less than a frame.
        let offset = Duration::from_micros(town.world.network.random.below(5_000) as u64 * (seed % 3));
        let links = both_at_once(&mut town, nodes, offset);
        assert!(links.iter().all(|link| matches!(link.via, Via::Lan | Via::Accepted)), "{links:?}");
        town.assert_talk(nodes, [id(1), id(2)]);
    });
}

#[test]
fn many_attempts_at_once_all_lead_to_their_nodes() {
    let homes = [Home::Public, PRESERVING, Home::Forwarded, RANDOM, Home::Behind(Nat::Reuse, Filter::Reject)];
    with_seeds(5, |seed| {
        let mut town = Town::new(seed);
        let (_, computer) = town.house(0, PRESERVING);
        let caller = town.world.peer(computer, direct(0).upgrade_every(Duration::ZERO));
        let others: Vec<ProgramId> = (1..=20).map(|n| town.node(n, homes[usize::from(n) % 5])).collect();
        town.settle(&[&[caller][..], &others].concat());
        let unls: Vec<Unl> = others.iter().map(|&id| town.unl(id)).collect();
        let attempts: Vec<AttemptId> = unls.iter().map(|unl| town.connect(caller, unl)).collect();
        for (n, attempt) in (1..).zip(attempts) {
            let link = town.wait(caller, attempt).unwrap_or_else(|why| panic!("node {n}: {why}"));
            assert_eq!(town.world.node(caller).node_id(link.con), Some(id(n)));
        }
        town.world.run_for(secs(10));
        assert_eq!(town.world.count(caller), 20);
        town.assert_nothing_left(caller);
        for &other in &others {
            assert_eq!(town.world.count(other), 1);
            town.assert_nothing_left(other);
        }
    });
}

#[test]
fn a_node_that_many_connect_to_at_once_takes_them_all() {
    let homes = [Home::Public, PRESERVING, RANDOM];
    with_seeds(5, |seed| {
        let mut town = Town::new(seed);
        let (_, computer) = town.house(0, PRESERVING);
        let callee = town.world.peer(computer, direct(0).max_inbound(30));
        let others: Vec<ProgramId> = (1..=18).map(|n| town.node(n, homes[usize::from(n) % 3])).collect();
        town.settle(&[&[callee][..], &others].concat());
        let unl = town.unl(callee);
        let attempts: Vec<AttemptId> = others.iter().map(|&id| town.connect(id, &unl)).collect();
        for (&other, attempt) in others.iter().zip(attempts) {
            town.wait(other, attempt).unwrap_or_else(|why| panic!("{other:?}: {why}"));
        }
        assert!(town.world.run_until(secs(2), |world| world.count(callee) == 18));
    });
}

#[test]
fn two_attempts_at_one_node_are_one_call() {
    with_seeds(5, |seed| {
        let mut town = Town::new(seed);
        let nodes = [town.node(1, PRESERVING), town.node(2, PRESERVING)];
        town.settle(&nodes);
        let unl = town.unl(nodes[1]);
        let attempts = [town.connect(nodes[0], &unl), town.connect(nodes[0], &unl)];
        assert_eq!(town.census(nodes[0]).calls, 1);
        let links = attempts.map(|attempt| town.wait(nodes[0], attempt).expect("a connection"));
        assert_eq!(links[0].con, links[1].con);
        town.world.run_for(secs(5));
        assert_eq!(town.world.count(nodes[1]), 1);
    });
}

#[test]
fn who_closes_may_connect_again_at_once() {
    with_seeds(10, |seed| {
        for home in [Home::Public, PRESERVING, RANDOM] {
            let mut town = Town::new(seed);
            let nodes = [town.node(1, PRESERVING), town.node(2, home)];
            town.settle(&nodes);
            let unl = town.unl(nodes[1]);
            let mut con = town.link(nodes[0], &unl).con;
            for closer in [0, 1, 0] {
                let closed = match closer {
                    0 => con,
                    _ => town.con_of(nodes[1], id(1)).expect("a link"),
                };
                town.world.act(nodes[closer], |node, now| node.close(closed, now));
                // The one who is closed need not know of it yet.
                let caller = nodes[closer];
                let unl = town.unl(nodes[1 - closer]);
                let link = town.link(caller, &unl);
                town.world.run_for(secs(8));
                con = town.con_of(nodes[0], id(2)).expect("a link");
                assert!(closer == 1 || link.con == con);
                assert_eq!([town.world.count(nodes[0]), town.world.count(nodes[1])], [1, 1], "{home:?}");
                town.assert_talk(nodes, [id(1), id(2)]);
            }
        }
    });
}

/// Its power went, so that the other side has noticed nothing when it is back.
#[test]
fn a_node_that_lost_its_power_replaces_its_old_connection() {
    with_seeds(10, |seed| {
        let mut town = Town::new(seed);
        let (_, computer) = town.house(1, PRESERVING);
        let mut caller = town.world.peer(computer, direct(1));
        let callee = town.node(2, Home::Public);
        town.settle(&[caller, callee]);
        let unl = town.unl(callee);
        town.link(caller, &unl);
        town.world.run_for(secs(1));
        town.world.power_off(computer);
        town.world.run_for(secs(5));
        town.world.power_on(computer);
        caller = town.world.peer(computer, direct(1));
        town.world.run_for(secs(1));
        town.link(caller, &unl);
        town.world.run_for(secs(3));
        assert_eq!(close_reasons(&mut town.world, callee), [CloseReason::Replaced]);
        assert_eq!([town.world.count(caller), town.world.count(callee)], [1, 1]);
        town.assert_talk([caller, callee], [id(1), id(2)]);
    });
}

/// The one who stayed thinks that it has a connection, and finds out.
#[test]
fn a_node_that_crashed_is_connected_to_anew() {
    with_seeds(10, |seed| {
        for home in [Home::Public, PRESERVING, RANDOM] {
            let mut town = Town::new(seed);
            let caller = town.node(1, PRESERVING);
            let (_, computer) = town.house(2, home);
            let mut callee = town.world.peer(computer, direct(2));
            town.settle(&[caller, callee]);
            let unl = town.unl(callee);
            town.link(caller, &unl);
            town.world.run_for(secs(1));
            town.world.crash(callee);
            town.world.run_for(secs(1));
            let reasons = close_reasons(&mut town.world, caller);
            assert!(matches!(reasons[..], [CloseReason::Reset | CloseReason::Peer]), "{home:?}: {reasons:?}");
            callee = town.world.peer(computer, direct(2));
            let link = town.link(caller, &unl);
            assert!(link.took < secs(15), "{link:?}");
            town.world.run_for(secs(8));
            assert_eq!([town.world.count(caller), town.world.count(callee)], [1, 1]);
            town.assert_talk([caller, callee], [id(1), id(2)]);
        }
    });
}

#[test]
fn cancelling_in_any_phase_leaves_nothing() {
    with_seeds(40, |seed| {
        let homes =
            [[PRESERVING; 2], [PRESERVING, RANDOM], [Home::Public, PRESERVING], [PRESERVING, Home::Public]];
        for homes in homes {
            let mut town = Town::new(seed);
            let nodes = [town.node(1, homes[0]), town.node(2, homes[1])];
            town.settle(&nodes);
            let unl = town.unl(nodes[1]);
            let attempt = town.connect(nodes[0], &unl);
            // From the first step up to the last one of a relayed connection.
            let into = millis(town.world.network.random.below(1200) as u64);
            town.world.run_for(into);
            let was_there = town.outcome(nodes[0], attempt).is_some();
            let cancelled = town.world.act(nodes[0], |node, now| node.cancel(attempt, now));
            assert_eq!(cancelled, !was_there);
            if cancelled {
                let why = town.outcome(nodes[0], attempt);
                assert_eq!(why, Some(Err(FailReason::Cancelled)));
            }
            if cancelled {
                assert_eq!(town.census(nodes[0]).calls, 0);
            }
            // What the other side has begun meanwhile comes to its end, and to nothing.
            town.world.run_for(secs(6));
            for id in nodes {
                town.assert_nothing_left(id);
                assert_eq!(town.world.count(id), usize::from(!cancelled));
            }
            // Nothing stands in the way of the next one.
            town.link(nodes[0], &unl);
        }
    });
}

/// The call of the larger id is the one that goes on; when it is given up, the other one's has its turn.
#[test]
fn one_of_two_that_call_each_other_gives_up_and_the_other_one_connects() {
    with_seeds(12, |seed| {
        let mut town = Town::new(seed);
        let nodes = [town.node(1, RANDOM), town.node(2, RANDOM)];
        town.settle(&nodes);
        let unls = nodes.map(|id| town.unl(id));
        let larger = usize::from(id(2) > id(1));
        let other = town.connect(nodes[1 - larger], &unls[larger]);
        let attempt = town.connect(nodes[larger], &unls[1 - larger]);
        let into = millis(150 + town.world.network.random.below(100) as u64);
        town.world.run_for(into);
        if !town.world.act(nodes[larger], |node, now| node.cancel(attempt, now)) {
            return;
        }
        town.wait(nodes[1 - larger], other).unwrap_or_else(|why| panic!("{why}"));
        town.world.run_for(secs(10));
        for id in nodes {
            assert_eq!(town.world.count(id), 1);
            town.assert_nothing_left(id);
        }
    });
}

/// The time of an attempt counts from its beginning, also when it stood back for the other side's meanwhile.
#[test]
fn who_stood_back_has_no_more_time_than_any_other() {
    with_seeds(4, |seed| {
        let mut town = Town::with(seed, || RendezvousConfig::new().relay(false));
        let within = secs(5);
        // Two that take their routers for better ones than they are punch in vain for as long as they may.
        let nodes = [1u8, 2].map(|n| {
            let (_, computer) = town.house(n, RANDOM);
            let config = direct(n).nat(NatKind::Preserving).punch_time(millis(2500)).connect_within(within);
            town.world.peer(computer, config)
        });
        town.settle(&nodes);
        let unls = nodes.map(|id| town.unl(id));
        let smaller = usize::from(id(1) > id(2));
        let began = town.world.now();
        let attempt = town.connect(nodes[smaller], &unls[1 - smaller]);
        town.connect(nodes[1 - smaller], &unls[smaller]);
        assert!(town.wait(nodes[smaller], attempt).is_err());
        let took = town.world.now() - began;
        assert!(took > secs(4) && took <= within + millis(100), "{took:?}");
    });
}

#[test]
fn one_of_two_wants_only_what_can_not_be_and_the_other_one_connects() {
    with_seeds(6, |seed| {
        let mut town = Town::new(seed);
        let nodes = [1u8, 2].map(|n| {
            let router = town.world.router(&ip(n.into()), Nat::Random, Filter::Drop);
            let computer = town.world.computer_behind(router, &format!("192.168.{n}.2"));
            town.world.peer(computer, direct(n))
        });
        town.settle(&nodes);
        let unls = nodes.map(|id| town.unl(id));
        let larger = usize::from(id(2) > id(1));
        town.connect(nodes[larger], only(&unls[1 - larger], Rung::Lan));
        let attempt = town.connect(nodes[1 - larger], &unls[larger]);
        let link = town.wait(nodes[1 - larger], attempt).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(link.via, Via::Relayed);
    });
}

#[test]
fn the_limit_of_attempts_holds_and_what_needs_no_new_call_is_no_attempt_too_many() {
    with_seeds(3, |seed| {
        let mut town = Town::new(seed);
        let (_, computer) = town.house(1, PRESERVING);
        let caller = town.world.peer(computer, direct(1).max_calls(2));
        let others: Vec<ProgramId> = (2..=4).map(|n| town.node(n, PRESERVING)).collect();
        town.settle(&[&[caller][..], &others].concat());
        let unls: Vec<Unl> = others.iter().map(|&id| town.unl(id)).collect();
        let con = town.link(caller, &unls[0]).con;
        let mut connect = |unl: &Unl| town.world.act(caller, |node, now| node.connect_to(unl.into(), now));
        connect(&unls[1]).expect("one");
        connect(&unls[2]).expect("two");
        connect(&unls[2]).expect("that is the same call");
        assert_eq!(connect(&unls[2]), Err(ConnectError::TooMany));
        let existing = connect(&unls[0]).expect("there is one");
        assert_eq!(town.wait(caller, existing).expect("it is there").con, con);
    });
}
