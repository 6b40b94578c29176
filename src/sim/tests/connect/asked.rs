//! Nodes that connect to an address, or to an id at an address: who is there is asked by a hello.

use super::*;
use crate::error::ConnectError;
use crate::sim::script::Input;
use crate::sim::worker::Name;
use crate::sim::world::at;

/// The nth node, which no server knows.
fn alone_direct(n: u8) -> Config {
    alone().direct().key(key(n))
}

/// The nth node of the p2p network, which shows connections at once.
fn alone_plain(n: u8) -> Config {
    alone().key(key(n))
}

/// A place without servers.
fn nowhere(seed: u64) -> Town {
    Town { world: World::new(seed), computers: Vec::new(), servers: Vec::new() }
}

fn two(
    town: &mut Town,
    numbers: [u8; 2],
    config: impl Fn(u8) -> Config,
) -> ([ProgramId; 2], [ComputerId; 2]) {
    let computers = numbers.map(|n| town.world.computer(&ip(n.into())));
    let nodes = [0, 1].map(|place| town.world.peer(computers[place], config(numbers[place])));
    (nodes, computers)
}

fn address(n: u8) -> Connect {
    addr(n.into()).into()
}

fn id_at(who: u8, n: u8) -> Connect {
    (id(who), addr(n.into())).into()
}

/// Connects, and waits for the one reason of the failure.
#[track_caller]
fn reason(town: &mut Town, from: ProgramId, to: Connect) -> RungFault {
    match &town.failure(from, to)[..] {
        [Tried { rung: Rung::Direct, why, .. }] => why.clone(),
        other => panic!("{other:?}"),
    }
}

/// Nothing of the attempt was shown, and nothing of it is left.
#[track_caller]
fn assert_nothing_shown(town: &mut Town, of: ProgramId) {
    let shown = |event: &Event| matches!(event, Event::Connected { .. } | Event::Closed { .. });
    let events = town.world.events(of);
    assert!(!events.iter().any(shown), "{events:?}");
    town.world.run_for(secs(3));
    town.assert_nothing_left(of);
}

#[test]
fn who_is_there_is_learned_or_checked() {
    with_seeds(6, |seed| {
        for config in [alone_direct, alone_plain] {
            let named: Connect = "two.example:50500".parse().unwrap();
            for to in [address(2), id_at(2, 2), named] {
                let mut town = nowhere(seed);
                town.world.name("two.example", Name::Answer(millis(20), Ok(vec![ip(2).parse().unwrap()])));
                let (nodes, _) = two(&mut town, [1, 2], config);
                let link = town.link(nodes[0], to);
                assert_eq!(link.via, Via::Direct);
                assert_eq!(town.world.node(nodes[0]).node_id(link.con), Some(id(2)));
                assert_eq!(town.con_of(nodes[0], id(2)), Some(link.con));
                town.assert_talk(nodes, [id(1), id(2)]);
                for node in nodes {
                    town.assert_nothing_left(node);
                }
                let connected = town.world.events(nodes[0]);
                assert_eq!(
                    connected.iter().filter(|event| matches!(event, Event::Connected { .. })).count(),
                    1
                );
            }
        }
    });
}

#[test]
fn somebody_else_at_the_address_is_refused_and_never_shown() {
    with_seeds(6, |seed| {
        let mut town = nowhere(seed);
        let (nodes, _) = two(&mut town, [1, 2], alone_direct);
        assert_eq!(reason(&mut town, nodes[0], id_at(3, 2)), RungFault::WrongNode(addr(2)));
        for node in nodes {
            assert_nothing_shown(&mut town, node);
        }
    });
}

#[test]
fn a_plain_peer_is_told_by_its_silence_and_closed() {
    with_seeds(4, |seed| {
        for talks in [false, true] {
            let mut town = nowhere(seed);
            let (nodes, computers) = two(&mut town, [1, 2], alone_direct);
            let script = town.world.script(
                computers[1],
                Some(7000),
                Box::new(move |wire, end, input| {
                    if talks && input != Input::Ended {
                        wire.send(end, "220 mail.example\r\n~hello\r\n~hello {}\r\n");
                    }
                }),
            );
            let plain = at(&ip(2), 7000);
            let began = town.world.now();
            assert_eq!(reason(&mut town, nodes[0], plain.into()), RungFault::Silent(plain));
            let took = town.world.now() - began;
            assert!(took > secs(4) && took < secs(6), "{took:?}");
            assert_nothing_shown(&mut town, nodes[0]);
            assert!(town.world.heard(script).iter().any(|(_, input)| *input == Input::Ended), "it is closed");
        }
    });
}

#[test]
fn a_peer_that_hangs_up_and_one_that_refuses_are_told_at_once() {
    with_seeds(4, |seed| {
        let mut town = nowhere(seed);
        let (nodes, computers) = two(&mut town, [1, 2], alone_direct);
        town.world.script(
            computers[1],
            Some(7000),
            Box::new(|wire, end, input| {
                if matches!(input, Input::Line(_)) {
                    wire.close(end);
                }
            }),
        );
        let (rude, shut) = (at(&ip(2), 7000), at(&ip(2), 7001));
        let began = town.world.now();
        assert_eq!(reason(&mut town, nodes[0], rude.into()), RungFault::Silent(rude));
        let refused = RungFault::Unreachable(vec![(shut, std::io::ErrorKind::ConnectionRefused)]);
        assert_eq!(reason(&mut town, nodes[0], shut.into()), refused);
        assert!(town.world.now() - began < secs(2));
        let no_name: Connect = "nowhere.example:1".parse().unwrap();
        town.world.name("nowhere.example", Name::Answer(millis(20), Err("no such name".into())));
        let attempt = town.connect(nodes[0], no_name);
        assert_eq!(town.wait(nodes[0], attempt), Err(FailReason::NoAddress("no such name".into())));
        assert_nothing_shown(&mut town, nodes[0]);
    });
}

#[test]
fn oneself_is_told() {
    with_seeds(4, |seed| {
        for config in [alone_direct, alone_plain] {
            let mut town = nowhere(seed);
            let public = town.world.computer(&ip(1));
            let router = town.world.router(&ip(2), Nat::Preserving, Filter::Drop);
            town.world.hairpin(router, true);
            let inside = town.world.computer_behind(router, "192.168.1.2");
            town.world.forward(router, 50500, inside, 50500);
            for (computer, n) in [(public, 1), (inside, 2)] {
                let node = town.world.peer(computer, config(n));
                let attempt = town.connect(node, address(n));
                assert_eq!(town.wait(node, attempt), Err(FailReason::Oneself));
                town.world.run_for(secs(3));
                assert_eq!(town.world.count(node), 0);
                town.assert_nothing_left(node);
                let own = town.world.act(node, |node, now| node.connect_to(id_at(n, 9), now));
                assert_eq!(own, Err(ConnectError::Oneself));
            }
        }
    });
}

/// It gives way to the link that there is, on both sides.
#[test]
fn a_node_that_is_connected_already_stays_so() {
    with_seeds(10, |seed| {
        for again in [address(2), id_at(2, 2)] {
            let mut town = nowhere(seed);
            let (nodes, _) = two(&mut town, [1, 2], alone_direct);
            let link = town.link(nodes[0], address(2));
            let wait = offset(&mut town.world);
            town.world.run_for(wait);
            assert_eq!(town.link(nodes[0], again).con, link.con);
            town.world.run_for(secs(1));
            let there = town.con_of(nodes[1], id(1)).expect("a link");
            assert_eq!(town.link(nodes[1], address(1)).con, there);
            town.world.run_for(secs(5));
            for node in nodes {
                assert_eq!((town.world.count(node), close_reasons(&mut town.world, node)), (1, vec![]));
                town.assert_nothing_left(node);
            }
            town.assert_talk(nodes, [id(1), id(2)]);
        }
    });
}

#[test]
fn attempts_side_by_side_lead_to_one_connection() {
    with_seeds(20, |seed| {
        let mut town = nowhere(seed);
        let (nodes, _) = two(&mut town, [1, 2], alone_direct);
        let attempts = [address(2), address(2), id_at(2, 2)].map(|to| {
            let apart = millis(town.world.network.random.below(40) as u64 * (seed % 2));
            town.world.run_for(apart);
            town.connect(nodes[0], to)
        });
        let links = attempts.map(|attempt| town.wait(nodes[0], attempt).expect("it is there").con);
        town.world.run_for(secs(5));
        for node in nodes {
            assert_eq!((town.world.count(node), close_reasons(&mut town.world, node)), (1, vec![]));
            town.assert_nothing_left(node);
        }
        assert!(links.iter().all(|&con| con == town.world.cons(nodes[0])[0]));
    });
}

fn offset(world: &mut World) -> Duration {
    millis(world.network.random.below(201) as u64)
}

/// Both connect to each other, while delays change; both attempts lead to the one connection that there is.
fn together(seeds: u64, config: impl Fn(u8) -> Config, to: [fn(u8) -> Connect; 2], is_quiet: bool) {
    with_seeds(seeds, |seed| {
        let numbers = if seed % 2 == 0 { [1, 2] } else { [2, 1] };
        let mut town = nowhere(seed);
        let (nodes, computers) = two(&mut town, numbers, &config);
        let start = town.world.network.random.below(120) * usize::from(seed % 5 > 0);
        let jitter = 1 + 60 * usize::from(seed % 3 > 0);
        let first = town.connect(nodes[0], to[0](numbers[1]));
        let mut second = None;
        for turn in 0..400 {
            for (from, to) in [(0, 1), (1, 0)] {
                let extra = millis(town.world.network.random.below(jitter) as u64);
                town.world.delay_between(computers[from], computers[to], extra);
            }
            if turn == start {
                second = Some(town.connect(nodes[1], to[1](numbers[0])));
            }
            town.world.run_for(millis(1));
        }
        let links = [(nodes[0], first), (nodes[1], second.expect("it began"))]
            .map(|(id, attempt)| town.wait(id, attempt).unwrap_or_else(|why| panic!("{id:?}: {why}")));
        town.world.run_for(secs(10));
        for (id, link) in nodes.into_iter().zip(links) {
            if is_quiet {
                assert_eq!(close_reasons(&mut town.world, id), []);
                assert_eq!(town.world.cons(id), [link.con]);
            }
            assert_eq!(town.world.count(id), 1, "{:?}", town.world.events(id));
            town.assert_nothing_left(id);
        }
        town.assert_talk(nodes, numbers.map(id));
    });
}

#[test]
fn two_that_dial_each_others_addresses_have_one_connection() {
    together(150, alone_direct, [address, address], true);
}

#[test]
fn two_that_dial_each_other_by_id_and_address_have_one_connection() {
    together(80, alone_direct, [|n| id_at(n, n), |n| id_at(n, n)], true);
    together(80, alone_direct, [address, |n| id_at(n, n)], true);
    together(80, alone_direct, [|n| id_at(n, n), address], true);
}

/// By a UNL that names no server, it is a call of which the other side hears only by the hello.
#[test]
fn two_that_dial_each_other_by_unl_and_address_have_one_connection() {
    let by_unl: fn(u8) -> Connect = |n| {
        let unl = Unl::builder(crate::reach::NodeType::Passive).wan(addr(n.into()));
        unl.sign(&key(n)).expect("a sound UNL").into()
    };
    together(80, alone_direct, [by_unl, address], true);
    together(80, alone_direct, [address, by_unl], true);
}

/// Who shows each connection at once shows the one that gives way, too.
#[test]
fn two_of_the_p2p_network_that_dial_each_other_have_one_connection() {
    together(80, alone_plain, [address, address], false);
}

#[test]
fn cancelling_in_any_phase_leaves_nothing() {
    with_seeds(30, |seed| {
        for to in [address(2), id_at(2, 2)] {
            let mut town = nowhere(seed);
            let (nodes, _) = two(&mut town, [1, 2], alone_direct);
            let attempt = town.connect(nodes[0], to);
            let into = offset(&mut town.world);
            town.world.run_for(into);
            let was_there = town.outcome(nodes[0], attempt).is_some();
            let cancelled = town.world.act(nodes[0], |node, now| node.cancel(attempt, now));
            assert_eq!(cancelled, !was_there);
            assert!(!town.world.act(nodes[0], |node, now| node.cancel(attempt, now)));
            if cancelled {
                assert_eq!(town.outcome(nodes[0], attempt), Some(Err(FailReason::Cancelled)));
            }
            town.world.run_for(secs(6));
            for node in nodes {
                town.assert_nothing_left(node);
                assert_eq!(town.world.count(node), usize::from(!cancelled));
            }
            town.link(nodes[0], address(2));
        }
    });
}

#[test]
fn who_leaves_asks_nobody_any_more() {
    with_seeds(4, |seed| {
        let mut town = nowhere(seed);
        let (nodes, computers) = two(&mut town, [1, 2], alone_direct);
        town.world.script(computers[1], Some(7000), Box::new(|_, _, _| {}));
        let attempt = town.connect(nodes[0], at(&ip(2), 7000));
        town.world.run_for(secs(1));
        town.world.stop(nodes[0]);
        assert_eq!(town.outcome(nodes[0], attempt), Some(Err(FailReason::Cancelled)));
        let again = town.world.act(nodes[0], |node, now| node.connect_to(address(2), now));
        assert_eq!(again, Err(ConnectError::Stopping));
        assert!(town.world.run_until(secs(3), |world| world.events(nodes[0]).contains(&Event::Stopped)));
    });
}

/// Attempts that wait for an answer count as well, and no budget of claimed addresses keeps the user from what he asks for.
#[test]
fn the_limits_of_attempts_hold_and_those_of_claims_do_not() {
    with_seeds(2, |seed| {
        let mut town = nowhere(seed);
        let config = |n| alone_direct(n).max_attempts(2).max_claimed_syns(1).max_host_syns(1);
        let (nodes, computers) = two(&mut town, [1, 2], config);
        town.world.script(computers[1], Some(7000), Box::new(|_, _, _| {}));
        let plain = at(&ip(2), 7000);
        for _ in 0..2 {
            town.connect(nodes[0], plain);
            town.world.run_for(secs(1));
        }
        let third = town.world.act(nodes[0], |node, now| node.connect_to(plain.into(), now));
        assert_eq!(third, Err(ConnectError::TooMany));
        let plainly = town.world.act(nodes[0], |node, now| node.connect(&plain.to_string(), now));
        assert_eq!(plainly, Err(ConnectError::TooMany));
        town.world.run_for(secs(6));
        for _ in 0..5 {
            let con = town.link(nodes[0], address(2)).con;
            town.world.act(nodes[0], |node, now| node.close(con, now));
            town.world.run_for(secs(1));
        }
        town.assert_nothing_left(nodes[0]);
    });
}

#[test]
fn the_ways_that_are_left_out_are_not_taken() {
    let mut town = nowhere(1);
    let (nodes, _) = two(&mut town, [1, 2], alone_direct);
    let relay_only = address(2).only(Rungs::NONE.with(Rung::Relay));
    assert_eq!(reason(&mut town, nodes[0], relay_only), RungFault::LeftOut);
    let existing = Rungs::NONE.with(Rung::Existing);
    assert_eq!(reason(&mut town, nodes[0], id_at(2, 2).only(existing)), RungFault::LeftOut);
    let con = town.link(nodes[0], address(2)).con;
    // The address of a known link does not matter.
    assert_eq!(town.link(nodes[0], id_at(2, 9).only(existing)).con, con);
}

#[test]
fn a_temporary_one_closes_itself() {
    let mut town = nowhere(1);
    let (nodes, _) = two(&mut town, [1, 2], alone_direct);
    town.link(nodes[0], address(2).temporary(secs(5)));
    town.world.run_for(secs(12));
    assert_eq!(close_reasons(&mut town.world, nodes[0]), [CloseReason::Idle]);
}

#[test]
fn who_closes_may_connect_again_at_once() {
    with_seeds(10, |seed| {
        let mut town = nowhere(seed);
        let (nodes, _) = two(&mut town, [1, 2], alone_direct);
        let mut con = town.link(nodes[0], address(2)).con;
        for _ in 0..3 {
            town.world.act(nodes[0], |node, now| node.close(con, now));
            let link = town.link(nodes[0], address(2));
            assert_ne!(link.con, con);
            con = link.con;
            town.world.run_for(secs(2));
            assert_eq!(nodes.map(|node| town.world.count(node)), [1, 1]);
        }
        town.assert_talk(nodes, [id(1), id(2)]);
    });
}
