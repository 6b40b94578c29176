//! The simulator itself: the same seed gives the same run, and its TCP is TCP.

use super::*;
use crate::sim::nat::{Filter, Nat};
use crate::sim::script::{Input, Wire};
use crate::sim::world::{at, forwarder};

fn trace(seed: u64) -> u64 {
    let (mut world, ..) = with_server(seed);
    for n in 0..6 {
        let computer = world.computer(&ip(n));
        world.peer_with(computer, config().suppress_duplicates(secs(5), 100), forwarder());
    }
    world.run_for(secs(60));
    let first = world.network.computer(&["192.0.2.7".parse().unwrap()]);
    let late = world.peer(first, config());
    world.run_for(secs(60));
    world.send(late, "hello");
    world.run_for(secs(60));
    assert!(world.count(late) > 0);
    world.trace_hash()
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    with_seeds(3, |seed| {
        let first = trace(seed);
        assert_eq!(first, trace(seed));
        assert_ne!(first, trace(seed + 1000));
    });
}

#[test]
fn an_idle_node_sleeps() {
    with_seeds(3, |seed| {
        let (mut world, _, server) = with_server(seed);
        let nodes = nodes(&mut world, 3, |_| config());
        world.run_for(secs(600));
        let before: Vec<u64> = nodes.iter().map(|&id| world.turns(id)).collect();
        let served = world.turns(server);
        world.run_for(secs(600));
        for (&id, before) in nodes.iter().zip(before) {
            let turns = world.turns(id) - before;
            assert!(turns < 100, "{turns} turns in ten minutes");
        }
        assert!(world.turns(server) - served < 200);
    });
}

#[test]
fn a_script_hears_what_netcat_would() {
    with_seeds(3, |seed| {
        let (mut world, ..) = with_server(seed);
        let computer = world.computer("192.0.2.7");
        let netcat = world.script(computer, None, Box::new(|_, _, _| {}));
        let end = world.wire(netcat, |wire| wire.dial(at("198.51.100.1", 8000)));
        world.run_for(secs(1));
        world.wire(netcat, |wire| wire.send(end, "WHOAMI\nBOOTSTRAP 3\nQUIT\n"));
        world.run_for(secs(5));
        let heard: Vec<Input> = world.heard(netcat).iter().map(|(_, input)| input.clone()).collect();
        let [Input::Opened, Input::Line(seen), Input::Line(listed), Input::Ended] = &heard[..] else {
            panic!("{heard:?}");
        };
        assert!(seen.contains("192.0.2.7"), "{seen}");
        assert_eq!(listed, "NODES EMPTY");
    });
}

#[test]
fn a_line_takes_the_delay_and_the_time_of_its_bytes() {
    with_seeds(3, |seed| {
        let (mut world, [a, b], computers) = pair(seed, alone(), reader(), alone());
        for computer in computers {
            world.computer_mut(computer).delay = millis(50);
            world.computer_mut(computer).bandwidth = Some(10_000);
        }
        let sent = world.now();
        world.send(b, &"x".repeat(9_998));
        world.run_for(secs(2));
        let took = world.log(a).lines[0].0 - sent;
        assert!(took >= millis(1100) && took < millis(1110), "{took:?}");
    });
}

/// However they begin and end: a long simulation is no larger than a short one.
#[test]
fn connections_that_are_over_leave_nothing_in_the_network() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let computers = [0, 1, 2, 3].map(|n| world.computer(&ip(n)));
        let host = world.peer(computers[0], alone().dead_after(secs(60)));
        let hang_up = |wire: &mut Wire<'_>, end, input| {
            if input == Input::Ended {
                wire.close(end);
            }
        };
        let [netcat, other] =
            [computers[1], computers[2]].map(|on| world.script(on, None, Box::new(hang_up)));
        let empty = world.network.counts();
        for round in 0..24 {
            let [orderly, hasty] = [(); 2].map(|()| world.wire(netcat, |wire| wire.dial(addr(0))));
            world.run_for(millis(5 * round));
            world.wire(netcat, |wire| wire.close(hasty));
            // To a port where nobody listens, and to an address that nobody has.
            world.wire(netcat, |wire| [at(&ip(0), 1), at("192.0.2.99", 1)].map(|to| wire.dial(to)));
            let cross = |world: &mut World, from, to| {
                world.wire(from, |wire| wire.dial_from(7000, at(&ip(to), 7000))).expect("the port is free")
            };
            let crossing = [cross(&mut world, netcat, 2), cross(&mut world, other, 1)];
            let guest = world.peer(computers[3], alone());
            world.act(guest, |node, now| node.connect(&addr(0).to_string(), now)).unwrap();
            assert!(world.run_until(secs(1), |world| world.count(guest) == 1 && world.count(host) == 2));
            assert_eq!(world.network.connections().count(), 3);
            world.wire(netcat, |wire| wire.send(orderly, "hello\n"));
            world.send(host, "to all");
            world.run_for(millis(round));
            world.network.set_side(computers[3], (round % 3 == 0).into());
            match round % 4 {
                0 | 1 => world.crash(guest),
                2 => world.power_off(computers[3]),
                _ => world.stop(guest),
            }
            world.wire(netcat, |wire| wire.close(orderly));
            world.wire(netcat, |wire| wire.close(crossing[0]));
            // A dial that nobody answers takes 127 seconds.
            world.run_for(secs(200));
            world.network.set_side(computers[3], 0);
            world.power_on(computers[3]);
            if world.is_running(guest) {
                world.crash(guest);
            }
            world.run_for(secs(100));
            assert_eq!(world.network.counts(), empty, "after round {round}");
        }
        assert_eq!(empty, [0; 5]);
    });
}

/// A change looks only at the ends around it: these are all that it concerns.
#[test]
fn every_end_knows_whether_its_other_side_reaches_it() {
    with_seeds(10, |seed| {
        let mut world = World::new(seed);
        let homes = [0, 1].map(|n| {
            let router = world.router(&ip(10 + n), Nat::Preserving, Filter::Drop);
            world.expire_after(router, secs(1));
            let computer = world.computer_behind(router, "192.168.1.2");
            world.forward(router, 7000, computer, 7000);
            computer
        });
        let computers = [homes[0], homes[1], world.computer(&ip(2)), world.computer(&ip(3))];
        let inside = || ["192.168.1.2", "192.168.1.3"].map(String::from);
        let ips = [inside(), inside(), [ip(2), ip(22)], [ip(3), ip(23)]];
        let begin = |world: &mut World, on| world.script(on, Some(7000), Box::new(|_, _, _| {}));
        let mut scripts = computers.map(|on| begin(&mut world, on));
        let random = |world: &mut World, bound| world.network.random.below(bound);
        let (mut heard, mut silent) = (0, 0);
        let mut run = |world: &mut World| {
            let pause = 1 + random(world, 40) as u64;
            world.run_for(millis(pause));
            for (is_heard, was_heard) in world.network.hearing() {
                assert_eq!(is_heard, was_heard);
                *(if is_heard { &mut heard } else { &mut silent }) += 1;
            }
        };
        for _ in 0..200 {
            let n = random(&mut world, 4);
            match random(&mut world, 12) {
                0 => {
                    let side = random(&mut world, 2) as u32;
                    world.network.set_side(computers[n], side);
                }
                1 => {
                    world.power_off(computers[n]);
                    run(&mut world);
                    world.power_on(computers[n]);
                    scripts[n] = begin(&mut world, computers[n]);
                }
                2 => {
                    let which = random(&mut world, 2);
                    world.set_ip(computers[n], &ips[n][which]);
                }
                _ => {
                    // From few ports, so that some are used again; the system refuses those that are in use.
                    let (to, port) = (random(&mut world, 4), 8000 + random(&mut world, 8) as u16);
                    let to = at(&[ip(10), ip(11), ip(2), ip(3)][to], 7000);
                    let _ = world.wire(scripts[n], |wire| wire.dial_from(port, to));
                }
            }
            for _ in 0..4 {
                run(&mut world);
            }
        }
        assert!(heard > 1000 && silent > 1000, "{heard} {silent}");
    });
}

#[test]
fn whoever_is_connected_by_the_last_word_of_the_other_gives_up_in_the_end() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let computers = [0, 1].map(|n| world.computer(&ip(n)));
        for computer in computers {
            world.computer_mut(computer).delay = millis(50);
        }
        let [_, netcat] =
            computers.map(|computer| world.script(computer, Some(7000), Box::new(|_, _, _| {})));
        let end = world.wire(netcat, |wire| wire.dial(at(&ip(0), 7000)));
        // Its answer is under way.
        world.run_for(millis(150));
        world.power_off(computers[0]);
        world.run_for(secs(1));
        assert_eq!(world.heard(netcat), [(end, Input::Opened)]);
        world.run_for(secs(121));
        assert_eq!(world.heard(netcat), [(end, Input::Opened), (end, Input::Ended)]);
    });
}
