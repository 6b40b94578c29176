//! Nodes that are gone, silent, late or somebody else; servers that restart; addresses that make no sense; limits.

use super::*;
use crate::connect::{Progress, RelayLimits};
use crate::error::ConnectError;
use crate::reach::NodeType;
use crate::sim::world::at;
use crate::unl::{Forwarding, Place, UnlBuilder};

/// A UNL that a test makes up for a node that is not there.
fn made_up(build: impl Fn(UnlBuilder) -> UnlBuilder) -> Unl {
    build(Unl::builder(NodeType::Passive)).sign(&key(99)).expect("a sound UNL")
}

#[test]
fn a_node_that_is_gone_is_told_in_time_with_what_each_rung_said() {
    with_seeds(10, |seed| {
        for home in [Home::Public, PRESERVING] {
            let mut town = Town::new(seed);
            let caller = town.node(1, PRESERVING);
            let (_, computer) = town.house(2, home);
            let callee = town.world.peer(computer, direct(2));
            town.settle(&[caller, callee]);
            let unl = town.unl(callee);
            let has_left = seed % 2 == 0;
            if has_left {
                town.world.stop(callee);
                town.world.run_for(secs(8));
            } else {
                town.world.power_off(computer);
            }
            let (began, turns) = (town.world.now(), town.world.turns(caller));
            let tried = town.failure(caller, &unl);
            assert!(town.world.now() - began <= secs(16));
            let turns = town.world.turns(caller) - turns;
            assert!(turns < 300, "{turns} turns of a node that waits");
            assert_eq!(tried.len(), 6);
            let expected = if has_left { RungFault::Absent } else { RungFault::NoAnswer };
            assert_eq!(*fault(&tried, Rung::Punch), expected, "{home:?}");
            assert_eq!(*fault(&tried, Rung::Relay), expected);
            let direct = fault(&tried, Rung::Direct);
            match home {
                Home::Public => assert!(matches!(direct, RungFault::Unreachable(dials) if dials.len() == 1)),
                _ => assert_eq!(*direct, RungFault::NotOpen),
            }
            town.world.run_for(secs(5));
            town.assert_nothing_left(caller);
        }
    });
}

#[test]
fn who_accepts_and_says_nothing_is_given_up() {
    with_seeds(5, |seed| {
        let mut town = Town::new(seed);
        let caller = town.node(1, PRESERVING);
        let silent = town.world.computer("203.0.9.9");
        town.world.script(silent, Some(7000), Box::new(|_, _, _| {}));
        town.settle(&[caller]);
        let unl = made_up(|unl| unl.wan(at("203.0.9.9", 7000)).server(SERVER));
        let tried = town.failure(caller, &unl);
        assert_eq!(*fault(&tried, Rung::Direct), RungFault::Silent(at("203.0.9.9", 7000)));
        assert_eq!(*fault(&tried, Rung::Relay), RungFault::Absent);
        town.world.run_for(secs(5));
        town.assert_nothing_left(caller);
    });
}

#[test]
fn another_node_at_a_claimed_address_is_not_taken_for_the_one_that_is_meant() {
    with_seeds(5, |seed| {
        let mut town = Town::new(seed);
        let nodes = [town.node(1, PRESERVING), town.node(3, Home::Public)];
        town.settle(&nodes);
        let there = at(&ip(3), 50500);
        let unl = made_up(|unl| unl.wan(there));
        let tried = town.failure(nodes[0], &unl);
        assert_eq!(*fault(&tried, Rung::Direct), RungFault::WrongNode(there));
        assert_eq!(*fault(&tried, Rung::Relay), RungFault::Absent);
        assert_eq!(
            [town.world.count(nodes[0]), town.world.count(nodes[1])],
            [0, 0],
            "nobody was shown anything"
        );
    });
}

/// Two households of one carrier; in that of the caller another node has the callee's inner address.
#[test]
fn a_wrong_host_at_a_private_address_is_passed_over() {
    with_seeds(10, |seed| {
        let mut town = Town::new(seed);
        let carrier = town.world.router(&ip(1), Nat::Random, Filter::Drop);
        let routers = [1, 2].map(|n| {
            town.world.router_behind(carrier, &format!("100.64.0.{n}"), Nat::Preserving, Filter::Drop)
        });
        let peer = |town: &mut Town, router, inside, n| {
            let computer = town.world.computer_behind(router, inside);
            town.world.peer(computer, direct(n))
        };
        let caller = peer(&mut town, routers[0], "192.168.1.2", 1);
        let other = peer(&mut town, routers[0], "192.168.1.3", 3);
        let callee = peer(&mut town, routers[1], "192.168.1.3", 2);
        town.settle(&[caller, other, callee]);
        let unl = town.unl(callee);
        let link = town.link(caller, &unl);
        assert_eq!(link.via, Via::Relayed);
        assert!(link.took < secs(5), "{link:?}");
        let wrong = Progress::Failed(Tried {
            rung: Rung::Lan,
            why: RungFault::WrongNode(at("192.168.1.3", 50500)),
            took: Duration::ZERO,
        });
        let told = town.world.events(caller).into_iter().any(|event| match event {
            Event::Climbing { progress: Progress::Failed(tried), .. } => {
                wrong == Progress::Failed(Tried { took: Duration::ZERO, ..tried })
            }
            _ => false,
        });
        assert!(told, "the wrong host was not told of");
        assert_eq!(town.world.count(other), 0);
        town.assert_talk([caller, callee], [id(1), id(2)]);
    });
}

#[test]
fn nobody_connects_to_oneself() {
    with_seeds(3, |seed| {
        let mut town = Town::new(seed);
        let node = town.node(1, Home::Public);
        town.settle(&[node]);
        let own = town.unl(node);
        // Also by what it said of itself before, or with other addresses.
        let older = Unl::builder(NodeType::Active).wan(at("203.0.9.9", 1)).sign(&key(1)).unwrap();
        for unl in [own, older] {
            let refused = town.world.act(node, |node, now| node.connect_to(Connect::to(&unl), now));
            assert_eq!(refused, Err(ConnectError::Oneself));
        }
        // A UNL that only has our addresses is somebody else's, and not found there.
        let unl = made_up(|unl| unl.wan(at(&ip(1), 50500)).lan(at(&ip(1), 50500)));
        let before = town.world.syns(&ip(1));
        let tried = town.failure(node, &unl);
        assert_eq!(*fault(&tried, Rung::Direct), RungFault::Nothing);
        assert_eq!(town.world.syns(&ip(1)), before);
    });
}

#[test]
fn addresses_at_which_nobody_can_be_are_not_dialled() {
    let absurd = [
        ("0.0.0.0", 5000),
        ("224.0.0.1", 5000),
        ("255.255.255.255", 5000),
        ("127.0.0.1", 5000),
        ("203.0.9.9", 0),
        ("169.254.1.1", 5000),
        ("240.0.0.1", 5000),
    ];
    with_seeds(3, |seed| {
        for is_lan in [false, true] {
            let mut town = Town::new(seed);
            let nodes = [town.node(1, Home::Public), town.node(2, PRESERVING)];
            town.settle(&nodes);
            for (n, node) in nodes.into_iter().enumerate() {
                // A port of 0 may be refused when the UNL is made; then there is nothing to connect to.
                for (ip, port) in absurd {
                    let build = |unl: UnlBuilder| match is_lan {
                        true => unl.lan(at(ip, port)),
                        false => unl.wan(at(ip, port)),
                    };
                    let Ok(unl) = build(Unl::builder(NodeType::Passive)).sign(&key(99)) else { continue };
                    let before = town.world.syns(ip);
                    let tried = town.failure(node, &unl);
                    assert_eq!(tried.len(), 6);
                    assert_eq!(town.world.syns(ip), before, "node {n} dialled {ip}:{port}");
                }
            }
        }
    });
}

#[test]
fn a_call_waits_for_a_node_that_is_about_to_come() {
    with_seeds(10, |seed| {
        for home in [Home::Forwarded, PRESERVING, RANDOM] {
            let mut town = Town::new(seed);
            let caller = town.node(1, PRESERVING);
            let (_, computer) = town.house(2, home);
            let callee = town.world.peer(computer, direct(2));
            town.settle(&[caller, callee]);
            let unl = town.unl(callee);
            match seed % 2 {
                0 => town.world.stop(callee),
                _ => town.world.crash(callee),
            }
            town.world.run_for(secs(8));
            town.world.crash(callee);
            let attempt = town.connect(caller, &unl);
            let late = millis(500 + town.world.network.random.below(6000) as u64);
            town.world.run_for(late);
            assert_eq!(town.outcome(caller, attempt), None);
            let waits =
                |event: &Event| matches!(event, Event::Climbing { progress: Progress::Waiting(_), .. });
            assert!(town.world.events(caller).iter().any(waits), "the caller was not told");
            let callee = town.world.peer(computer, direct(2));
            let link = town.wait(caller, attempt).unwrap_or_else(|why| panic!("{home:?}: {why}"));
            assert!(link.took < late + secs(7), "{home:?} {late:?} {link:?}");
            town.world.run_for(secs(10));
            assert_eq!([town.world.count(caller), town.world.count(callee)], [1, 1]);
            town.assert_talk([caller, callee], [id(1), id(2)]);
        }
    });
}

/// A node whose router says that it forwards, where no server could tell whether it does, is dialled beside being called.
#[test]
fn a_mapping_of_which_nobody_knows_whether_it_works_is_tried() {
    with_seeds(10, |seed| {
        let mut town = Town::new(seed);
        let called = town.node(2, Home::Forwarded);
        let caller = town.node(1, RANDOM);
        town.settle(&[called, caller]);
        let known = town.unl(called);
        let mut builder = Unl::builder(NodeType::Simultaneous).forwarding(Forwarding::NatPmp);
        for address in known.addresses() {
            builder = if address.place == Place::Wan { builder.wan(address.addr) } else { builder };
        }
        for server in known.servers() {
            builder = builder.server(server);
        }
        let unl = builder.sign(&key(2)).expect("a sound UNL");
        let link = town.link(caller, only(&unl, Rung::Direct));
        assert_eq!(link.via, Via::Mapped);
    });
}

/// A caller that knows no server of its own learns how its port is seen from those of the UNL, of which one is gone for good,
/// with a word or without.
#[test]
fn a_caller_without_servers_learns_its_port_from_the_one_that_is_there() {
    with_seeds(10, |seed| {
        for gone in 0..2 {
            for silent in [false, true] {
                let mut town = Town::new(seed);
                let called = town.node(2, PRESERVING);
                town.settle(&[called]);
                let unl = town.unl(called);
                let (_, computer) = town.house(1, PRESERVING);
                let caller = town.world.peer(computer, Config::new().direct().port(50500).key(key(1)));
                if silent {
                    town.world.power_off(town.computers[gone]);
                } else {
                    town.world.crash(town.servers[gone]);
                }
                town.world.run_for(secs(1));
                let link = town.link(caller, only(&unl, Rung::Punch));
                assert_eq!(link.via, Via::Punched);
            }
        }
    });
}

/// The one server there is goes down at any moment of a call, and is back soon.
#[test]
fn a_server_that_restarts_during_a_call_costs_time_or_a_reason() {
    let mut succeeded = 0;
    let total = std::cell::Cell::new(0);
    let good = std::cell::Cell::new(0);
    with_seeds(40, |seed| {
        for homes in [[PRESERVING, PRESERVING], [RANDOM, RANDOM], [Home::Public, PRESERVING]] {
            let mut town = Town::new(seed);
            let config = |n| {
                Config::new().direct().port(50500).rendezvous(SERVER).key(key(n)).nat(match homes[0] {
                    RANDOM => crate::reach::NatKind::Random,
                    _ => crate::reach::NatKind::Preserving,
                })
            };
            let nodes = [1u8, 2].map(|n| {
                let (_, computer) = town.house(n, homes[usize::from(n) - 1]);
                town.world.peer(computer, config(n))
            });
            town.world.run_for(secs(20));
            let unl = town.unl(nodes[1]);
            let attempt = town.connect(nodes[0], &unl);
            let (into, outage) =
                (town.world.network.random.below(900), town.world.network.random.below(1500));
            town.world.run_for(millis(into as u64));
            let (computer, server) = (town.computers[0], town.servers[0]);
            town.world.crash(server);
            town.world.run_for(millis(1 + outage as u64));
            town.world.server(computer, 8000);
            total.set(total.get() + 1);
            match town.wait(nodes[0], attempt) {
                Ok(link) => {
                    assert!(link.took < secs(15));
                    good.set(good.get() + 1);
                }
                Err(FailReason::NoWay(tried)) => {
                    assert_eq!(tried.len(), 6);
                }
                Err(other) => panic!("{other:?}"),
            }
            town.world.run_for(secs(60));
            for id in nodes {
                town.assert_nothing_left(id);
            }
            // A relayed one has died with the server, if that was quick.
            let link = town.link(nodes[0], &unl);
            town.world.run_for(secs(5));
            assert_eq!(town.con_of(nodes[0], id(2)), Some(link.con));
        }
    });
    succeeded += good.get();
    assert!(
        succeeded * 10 >= total.get() * 9,
        "{succeeded} of {} attempts outlived the restart",
        total.get()
    );
}

#[test]
fn a_link_whose_mapping_expires_is_told_dead_and_made_anew() {
    with_seeds(5, |seed| {
        let mut town = Town::new(seed);
        let (router, computer) = town.house(1, PRESERVING);
        let nodes = [town.world.peer(computer, direct(1)), town.node(2, PRESERVING)];
        town.settle(&nodes);
        let unl = town.unl(nodes[1]);
        town.link(nodes[0], &unl);
        town.world.expire_after(router.expect("a router"), secs(60));
        town.world.run_for(secs(300));
        for id in nodes {
            assert_eq!(close_reasons(&mut town.world, id), [CloseReason::Vanished]);
        }
        let unl = town.unl(nodes[1]);
        town.link(nodes[0], &unl);
        town.world.run_for(secs(2));
        town.assert_talk(nodes, [id(1), id(2)]);
    });
}

/// Two that are relayed, with what each calls the connection.
fn relayed(seed: u64, config: RendezvousConfig) -> (Town, [ProgramId; 2], [ConId; 2]) {
    let mut town = Town::with(seed, || config.clone());
    let nodes = [town.node(1, RANDOM), town.node(2, RANDOM)];
    town.settle(&nodes);
    let unl = town.unl(nodes[1]);
    assert_eq!(town.link(nodes[0], &unl).via, Via::Relayed);
    town.world.run_for(secs(1));
    let cons = [(0, 2), (1, 1)].map(|(at, other)| town.con_of(nodes[at], id(other)).expect("a link"));
    (town, nodes, cons)
}

#[test]
fn what_a_relay_allows_is_told_to_both_and_so_is_why_it_ends() {
    with_seeds(5, |seed| {
        let plain = || RendezvousConfig::new().relay_rate(0).relay_bytes(0).relay_time(Duration::ZERO);
        let limits = |bytes, time, rate| RelayLimits { bytes, time, rate };
        let cases = [
            (plain().relay_bytes(30_000), limits(Some(30_000), None, None), CloseReason::RelayBytes),
            (plain().relay_time(secs(40)), limits(None, Some(secs(40)), None), CloseReason::RelayTime),
            (plain().relay_idle(secs(20)), limits(None, None, None), CloseReason::RelayIdle),
        ];
        for (config, limits, why) in cases {
            let (mut town, nodes, cons) = relayed(seed, config);
            for (node, con) in nodes.into_iter().zip(cons) {
                assert_eq!(town.world.node(node).relay_limits(con), Some(limits));
            }
            let mut said = 0;
            for _ in 0..100 {
                if why == CloseReason::RelayIdle && said > 10 {
                    break;
                }
                said += town.world.send(nodes[0], &"x".repeat(998));
                town.world.run_for(millis(500));
            }
            town.world.run_for(secs(30));
            for id in nodes {
                assert_eq!(close_reasons(&mut town.world, id), [why]);
            }
            // What came through came whole.
            let lines = town.world.lines(nodes[1]);
            assert!(!lines.is_empty() && lines.iter().all(|line| line.len() == 998));
        }
    });
}

#[test]
fn a_relay_that_is_slow_on_purpose_loses_nothing() {
    with_seeds(5, |seed| {
        let (mut town, nodes, _) = relayed(seed, RendezvousConfig::new().relay_rate(10_000));
        for n in 0..200 {
            assert_eq!(town.world.send(nodes[0], &format!("{n} {}", "x".repeat(490))), 1);
        }
        town.world.run_for(secs(5));
        let early = town.world.lines(nodes[1]).len();
        assert!((60..160).contains(&early), "{early} lines in five seconds");
        town.world.run_for(secs(20));
        let numbers: Vec<String> = town.world.lines(nodes[1]);
        assert_eq!(numbers.len(), 200);
        assert!(numbers.iter().enumerate().all(|(n, line)| line.starts_with(&format!("{n} "))));
    });
}

#[test]
fn where_a_relay_has_no_place_the_reason_is_told() {
    with_seeds(3, |seed| {
        let mut town = Town::with(seed, || RendezvousConfig::new().relay(false));
        let nodes = [town.node(1, RANDOM), town.node(2, RANDOM)];
        town.settle(&nodes);
        let unl = town.unl(nodes[1]);
        let began = town.world.now();
        let tried = town.failure(nodes[0], &unl);
        assert_eq!(*fault(&tried, Rung::Punch), RungFault::Unpredictable);
        assert!(matches!(fault(&tried, Rung::Relay), RungFault::Refused(_) | RungFault::RelayRefused(_)));
        assert!(town.world.now() - began < secs(5), "it is certain at once");
    });
}

/// It comes to the relay, and is cut off before it answers the hello there.
#[test]
fn a_node_that_falls_silent_at_the_relay_is_waited_for_quietly() {
    with_seeds(6, |seed| {
        let mut town = Town::new(seed);
        let patient = |n| direct(n).connect_within(secs(60)).hello_timeout(secs(40));
        let (_, computer) = town.house(1, RANDOM);
        let caller = town.world.peer(computer, patient(1));
        let (_, computer) = town.house(2, RANDOM);
        let callee = town.world.peer(computer, patient(2));
        town.settle(&[caller, callee]);
        let unl = town.unl(callee);
        town.connect(caller, only(&unl, Rung::Relay));
        let servers = town.servers.clone();
        let relayed = town
            .world
            .run_until(secs(5), |world| servers.iter().any(|&server| world.server_node(server).relays() > 0));
        assert!(relayed);
        town.world.power_off(computer);
        town.world.run_for(secs(9));
        let before = town.world.turns(caller);
        town.world.run_for(secs(20));
        let turns = town.world.turns(caller) - before;
        assert!(turns < 200, "{turns} turns in 20 s");
    });
}
