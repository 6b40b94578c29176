//! Every rung leads to a node that it can lead to, and the cheapest is taken.

use super::*;
use crate::connect::Progress;

/// Connects the first node to the second one, and checks that both are well.
#[track_caller]
fn way(seed: u64, homes: [Home; 2], expected: Via, within: Duration) {
    let mut town = Town::new(seed);
    let nodes = [town.node(1, homes[0]), town.node(2, homes[1])];
    town.settle(&nodes);
    let unl = town.unl(nodes[1]);
    let link = town.link(nodes[0], &unl);
    assert_eq!(link.via, expected, "{homes:?}");
    assert!(link.took <= within, "{homes:?} took {:?}", link.took);
    assert_one_link(&mut town, nodes);
}

/// There is one connection between the two, nothing else, and it carries lines.
#[track_caller]
fn assert_one_link(town: &mut Town, nodes: [ProgramId; 2]) {
    town.world.run_for(secs(8));
    for id in nodes {
        assert_eq!(town.world.count(id), 1);
        assert_eq!(close_reasons(&mut town.world, id), []);
        town.assert_nothing_left(id);
    }
    town.assert_talk(nodes, [id(1), id(2)]);
}

#[test]
fn two_of_a_household_never_use_their_router() {
    with_seeds(10, |seed| {
        let mut town = Town::new(seed);
        let (router, first) = town.house(1, PRESERVING);
        let router = router.expect("a router");
        town.world.hairpin(router, seed % 2 == 0);
        let second = town.world.computer_behind(router, "192.168.1.3");
        let nodes = [town.world.peer(first, direct(1)), town.world.peer(second, direct(2).port(50501))];
        town.settle(&nodes);
        let unl = town.unl(nodes[1]);
        let began = town.world.now();
        let link = town.link(nodes[0], &unl);
        assert_eq!(link.via, Via::Lan);
        assert!(link.took < millis(600), "{:?}", link.took);
        let until = town.world.now();
        assert_eq!(town.world.syns_within(&ip(1), began..until), 0);
        assert_one_link(&mut town, nodes);
    });
}

#[test]
fn two_programs_of_a_computer_find_each_other() {
    with_seeds(5, |seed| {
        for home in [Home::Public, PRESERVING, RANDOM] {
            let mut town = Town::new(seed);
            let (_, computer) = town.house(1, home);
            let nodes = [1, 2].map(|n| town.world.peer(computer, direct(n).port(50500 + u16::from(n))));
            town.settle(&nodes);
            let unl = town.unl(nodes[1]);
            let link = town.link(nodes[0], &unl);
            assert!(matches!(link.via, Via::Lan | Via::Direct), "{home:?}: {link:?}");
            assert!(link.took < millis(600), "{:?}", link.took);
            assert_one_link(&mut town, nodes);
        }
    });
}

#[test]
fn who_can_be_connected_to_is() {
    with_seeds(5, |seed| {
        for home in [Home::Public, Home::Forwarded, PRESERVING, RANDOM] {
            for to in [Home::Public, Home::Forwarded] {
                way(seed, [home, to], Via::Direct, millis(700));
            }
        }
    });
}

#[test]
fn who_can_not_be_connected_to_connects_to_who_can() {
    with_seeds(5, |seed| {
        for to in [PRESERVING, RANDOM, Home::Behind(Nat::Delta(2), Filter::Reject)] {
            for home in [Home::Public, Home::Forwarded] {
                way(seed, [home, to], Via::Reverse, millis(1200));
            }
        }
    });
}

/// No server of its own has said so, but its interface has an address of the internet.
#[test]
fn who_is_at_the_internet_is_connected_to_without_servers_of_its_own() {
    with_seeds(6, |seed| {
        let mut town = Town::new(seed);
        let called = town.node(2, RANDOM);
        town.settle(&[called]);
        let unl = town.unl(called);
        let (_, computer) = town.house(1, Home::Public);
        let caller = town.world.peer(computer, Config::new().direct().port(50500).key(key(1)));
        town.world.run_for(secs(1));
        assert_eq!(town.link(caller, &unl).via, Via::Reverse);
        let is_awaited =
            |event: &Event| matches!(event, Event::Climbing { progress: Progress::Began(Rung::Reverse), .. });
        assert!(town.world.events(caller).iter().any(is_awaited));
    });
}

#[test]
fn two_behind_routers_that_can_be_foretold_punch() {
    let filters = [Filter::Drop, Filter::Reject, Filter::Open];
    with_seeds(2, |seed| {
        for nats in [[Nat::Preserving; 2], [Nat::Preserving, Nat::Reuse], [Nat::Reuse; 2]] {
            for first in filters {
                for second in filters {
                    let homes = [Home::Behind(nats[0], first), Home::Behind(nats[1], second)];
                    way(seed, homes, Via::Punched, millis(2000));
                }
            }
        }
    });
}

#[test]
fn neighbours_that_take_ports_do_not_hinder_a_punch() {
    with_seeds(5, |seed| {
        for (step, taken) in [(1, 0), (1, 3), (-2, 2), (5, 1)] {
            let mut town = Town::new(seed);
            let (router, computer) = town.house(1, Home::Behind(Nat::Delta(step), Filter::Drop));
            let nodes = [town.world.peer(computer, direct(1)), town.node(2, PRESERVING)];
            town.settle(&nodes);
            let unl = town.unl(nodes[1]);
            let attempt = town.connect(nodes[0], &unl);
            town.world.run_for(millis(100));
            town.world.take_ports(router.expect("a router"), taken);
            let link = town.wait(nodes[0], attempt).expect("a connection");
            assert_eq!(link.via, Via::Punched, "{step} {taken}");
            assert_one_link(&mut town, nodes);
        }
    });
}

#[test]
fn where_nothing_else_will_do_a_server_relays_within_five_seconds() {
    with_seeds(5, |seed| {
        for homes in [[RANDOM, PRESERVING], [PRESERVING, RANDOM], [RANDOM, RANDOM]] {
            way(seed, homes, Via::Relayed, secs(5));
        }
    });
}

/// The two have one outside address, their own networks look alike, and at each other's inner address nobody is, or
/// they themselves are.
#[test]
fn two_households_of_one_carrier_connect() {
    with_seeds(10, |seed| {
        for (nat, hairpin) in [(Nat::Preserving, false), (Nat::Random, false), (Nat::Preserving, true)] {
            let mut town = Town::new(seed);
            let carrier = town.world.router(&ip(1), nat, Filter::Drop);
            town.world.hairpin(carrier, hairpin);
            let nodes = [1, 2].map(|n| {
                let inside = format!("100.64.0.{n}");
                let router = town.world.router_behind(carrier, &inside, Nat::Preserving, Filter::Drop);
                let computer = town.world.computer_behind(router, &format!("192.168.1.{}", 1 + n % 2));
                town.world.peer(computer, direct(n))
            });
            town.settle(&nodes);
            let unl = town.unl(nodes[1]);
            let link = town.link(nodes[0], &unl);
            assert!(matches!(link.via, Via::Punched | Via::Relayed), "{link:?}");
            assert!(link.took < secs(5), "{link:?}");
            assert_one_link(&mut town, nodes);
        }
    });
}

#[test]
fn a_connection_that_is_there_is_what_an_attempt_leads_to() {
    with_seeds(5, |seed| {
        let mut town = Town::new(seed);
        let nodes = [town.node(1, PRESERVING), town.node(2, Home::Public)];
        town.settle(&nodes);
        let unl = town.unl(nodes[1]);
        let first = town.link(nodes[0], &unl);
        let again = town.link(nodes[0], &unl);
        assert_eq!((again.con, again.took), (first.con, Duration::ZERO));
        assert_one_link(&mut town, nodes);
    });
}

/// A program that greets whoever comes with much to read has said it before the hello is answered.
#[test]
fn what_an_application_says_to_all_comers_comes_first_however_many_lines_it_has() {
    with_seeds(4, |seed| {
        let mut town = Town::new(seed);
        let caller = town.node(1, PRESERVING);
        let (_, computer) = town.house(2, Home::Public);
        let config = Config::new().port(50500).rendezvous(SERVER).rendezvous(SECOND).key(key(2));
        let mut greeted = Vec::new();
        let app: App = Box::new(move |turn| {
            for con in turn.connections() {
                if !greeted.contains(&con) {
                    greeted.push(con);
                    for n in 0..500 {
                        turn.node.send_line(con, format!("~{n}").as_bytes()).expect("room");
                    }
                }
            }
        });
        let callee = town.world.peer_with(computer, config.bootstrap(false).advertise(false), app);
        town.settle(&[caller, callee]);
        let unl = town.unl(callee);
        town.link(caller, only(&unl, Rung::Direct));
        town.world.run_for(secs(1));
        let expected: Vec<String> = (0..500).map(|n| format!("~{n}")).collect();
        assert_eq!(town.world.lines(caller), expected);
    });
}
