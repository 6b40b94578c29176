//! Peers that crash, vanish, come back, or are cut off.

use super::*;
use crate::sim::world::deaf;

#[test]
fn a_lost_peer_is_replaced() {
    with_seeds(10, |seed| {
        let (mut world, ..) = with_server(seed);
        let others = nodes(&mut world, 4, |_| config().max_outbound(0));
        let computer = world.computer("192.0.2.7");
        let a = world.peer(computer, config().max_outbound(2).advertise(false));
        assert!(world.run_until(secs(30), |world| world.count(a) == 2));
        for _ in 0..2 {
            let links = world.links();
            let &(lost, _) = links.keys().find(|(_, b)| *b == a).unwrap();
            world.crash(lost);
            let replaced = |world: &mut World| {
                let links = world.links();
                let linked =
                    links.keys().filter(|(other, b)| *b == a && *other != lost && others.contains(other));
                linked.count() == 2
            };
            assert!(world.run_until(secs(30), replaced), "{:?}", world.events(a));
        }
    });
}

#[test]
fn a_peer_that_vanishes_is_gone_after_its_last_lines() {
    with_seeds(10, |seed| {
        let (mut world, [a, b], computers) = pair(seed, alone().dead_after(secs(60)), reader(), alone());
        world.send(b, "the last words");
        world.send(b, "indeed");
        world.run_for(millis(10));
        world.power_off(computers[1]);
        let vanished = world.now();
        assert!(world.run_until(secs(90), |world| world.count(a) == 0));
        assert!(world.now() - vanished >= secs(60));
        world.run_for(secs(1));
        assert_eq!(world.lines(a), ["the last words", "indeed"]);
        assert_eq!(close_reasons(&mut world, a), [CloseReason::Vanished]);
    });
}

#[test]
fn a_peer_that_crashes_is_gone_after_its_whole_lines() {
    with_seeds(10, |seed| {
        let (mut world, [a, b], _) = pair(seed, alone(), reader(), alone());
        world.send(b, "one");
        world.send(b, "two");
        let con = only_con(&mut world, b);
        world.act(b, |node, _| node.send_raw(con, b"half a li")).unwrap();
        world.crash(b);
        world.run_for(secs(2));
        assert_eq!(world.lines(a), ["one", "two"]);
        assert_eq!(close_reasons(&mut world, a), [CloseReason::Reset]);
        assert_eq!(world.count(a), 0);
    });
}

#[test]
fn the_lines_of_a_crashed_peer_wait_for_an_application_that_takes_its_time() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
        // A loop that turns every ten seconds.
        world.set_frame(secs(10));
        let a = world.peer(computers[0], alone().max_unread(100));
        world.set_frame(millis(1));
        let b = world.peer(computers[1], alone());
        world.act(b, |node, now| node.connect(&addr(0).to_string(), now)).unwrap();
        world.run_for(secs(11));
        for n in 0..50 {
            world.send(b, &format!("line {n}"));
        }
        world.crash(b);
        world.run_for(secs(200));
        assert_eq!(world.lines(a).len(), 50);
        assert_eq!(close_reasons(&mut world, a), [CloseReason::Reset]);
    });
}

#[test]
fn a_cut_shorter_than_the_patience_is_not_noticed() {
    with_seeds(5, |seed| {
        let (mut world, [a, b], computers) = pair(seed, alone(), reader(), alone());
        world.network.set_side(computers[0], 1);
        for n in 0..10 {
            world.send(b, &format!("to a {n}"));
            world.send(a, &format!("to b {n}"));
            world.run_for(secs(10));
        }
        assert!(world.lines(a).is_empty() && world.lines(b).is_empty());
        world.network.set_side(computers[0], 0);
        world.run_for(secs(2));
        assert_eq!(world.lines(a), (0..10).map(|n| format!("to a {n}")).collect::<Vec<_>>());
        assert_eq!(world.lines(b), (0..10).map(|n| format!("to b {n}")).collect::<Vec<_>>());
        assert_eq!(close_reasons(&mut world, a), []);
    });
}

#[test]
fn peers_come_together_again_after_a_partition() {
    with_seeds(10, |seed| {
        let (mut world, ..) = with_server(seed);
        let computers: Vec<ComputerId> = (0..8).map(|n| world.computer(&ip(n))).collect();
        let ids: Vec<ProgramId> = computers.iter().map(|&on| world.peer(on, config())).collect();
        assert!(world.run_until(secs(60), |world| world.is_connected(&ids)));
        // Half of them lose each other, the others and the server.
        for &computer in &computers[..4] {
            world.network.set_side(computer, 1);
        }
        world.run_for(secs(600));
        let crossing = |world: &World| {
            let mut links = world.links().into_keys();
            links.any(|(a, b)| ids[..4].contains(&a) != ids[..4].contains(&b))
        };
        assert!(!crossing(&world));
        for &computer in &computers {
            world.network.set_side(computer, 0);
        }
        let healed = world.run_until(secs(900), |world| crossing(world) && world.is_connected(&ids));
        assert!(healed, "{:?}", world.links());
        world.run_for(secs(1800));
        // Two dials that cross on the way make two links, as nothing tells an inbound connection's node.
        let links = world.links();
        let doubled = links.values().filter(|&&links| links > 1).count();
        assert!(doubled <= 1 && links.values().all(|&links| links <= 2), "{links:?}");
    });
}

#[test]
fn two_peers_of_which_each_is_the_others_static_peer_come_together_after_a_partition() {
    with_seeds(10, |seed| {
        let mut world = World::new(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
        let a = world.peer(computers[0], alone().peer(addr(1).to_string()));
        let b = world.peer(computers[1], alone().peer(addr(0).to_string()));
        assert!(world.run_until(secs(10), |world| world.count(a) > 0 && world.count(b) > 0));
        world.network.set_side(computers[0], 1);
        world.run_for(secs(3600));
        assert_eq!((world.count(a), world.count(b)), (0, 0));
        world.network.set_side(computers[0], 0);
        // The longest pause between two tries is ten minutes, and a quarter of jitter.
        assert!(world.run_until(secs(760), |world| world.count(a) > 0 && world.count(b) > 0));
    });
}

#[test]
fn a_node_that_is_restarted_is_dialled_again() {
    with_seeds(10, |seed| {
        let mut world = World::new(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
        let mut b = world.peer(computers[1], alone());
        let a = world.peer(computers[0], alone().peer(addr(1).to_string()));
        assert!(world.run_until(secs(10), |world| world.count(a) == 1));
        world.run_for(secs(120));
        for way in 0..3 {
            match way {
                0 => world.crash(b),
                1 => {
                    world.stop(b);
                    world.run_for(secs(8));
                    world.crash(b);
                }
                _ => {
                    world.power_off(computers[1]);
                    world.power_on(computers[1]);
                }
            }
            b = world.peer(computers[1], alone());
            let back = world.run_until(secs(200), |world| world.count(a) == 1 && world.count(b) == 1);
            assert!(back, "way {way}");
            world.run_for(secs(120));
        }
    });
}

#[test]
fn a_stop_does_not_wait_for_a_peer_that_does_not_read() {
    with_seeds(5, |seed| {
        let (mut world, [_, b], _) = pair(seed, alone().max_unread(1000), deaf(), alone());
        for _ in 0..300 {
            assert_eq!(world.send(b, &"x".repeat(998)), 1);
        }
        world.stop(b);
        assert!(world.run_until(secs(8), |world| world.node(b).is_stopped()));
        assert_eq!(close_reasons(&mut world, b), [CloseReason::LocalTimeout]);
        assert_eq!(world.events(b).last(), Some(&Event::Stopped));
        assert!(world.links().is_empty());
    });
}

#[test]
fn more_inbound_than_slots_are_refused_and_one_that_leaves_makes_room() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        let ids = nodes(&mut world, 6, |n| {
            if n == 0 { alone().max_inbound(3) } else { alone().peer(addr(0).to_string()) }
        });
        world.run_for(secs(60));
        assert_eq!(world.count(ids[0]), 3);
        let linked = ids[1..].iter().copied().find(|&id| world.count(id) == 1).unwrap();
        world.crash(linked);
        assert!(world.run_until(secs(800), |world| world.count(ids[0]) == 3));
    });
}
