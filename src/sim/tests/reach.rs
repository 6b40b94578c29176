//! How nodes find out how they can be reached, and what servers list of it: closed doors, moves, servers that go away.

use std::sync::Arc;

use super::*;
use crate::config::RendezvousConfig;
use crate::reach::{Doubt, Mapping, Nat, NodeType, Reach, Reachability};
use crate::sim::script::{Behaviour, Input};
use crate::sim::worker::Name;

const OTHER: &str = "198.51.100.2:8000";

/// A world with a server that is near: what is far away it can not try in time.
fn with_near_server(seed: u64) -> (World, ComputerId, ProgramId) {
    let (mut world, computer, server) = with_server(seed);
    world.computer_mut(computer).delay = millis(5);
    (world, computer, server)
}

fn reach(world: &mut World, id: ProgramId) -> Arc<Reach> {
    world.node(id).reach()
}

fn until_reachable(world: &mut World, id: ProgramId, wanted: Reachability, limit: Duration) {
    let found = world.run_until(limit, |world| reach(world, id).reachable == wanted);
    assert!(found, "{:#?}", reach(world, id));
}

/// What was told is each time something new, and in the end what is.
fn assert_told(world: &mut World, id: ProgramId) {
    let told = world.events(id).into_iter().filter_map(|event| match event {
        Event::Reach(reach) => Some(reach),
        _ => None,
    });
    let told: Vec<Arc<Reach>> = told.collect();
    assert!(told.windows(2).all(|two| two[0] != two[1]), "{told:#?}");
    assert_eq!(told.last(), Some(&reach(world, id)));
}

fn is_probe(input: &Input) -> bool {
    matches!(input, Input::Line(line) if line.starts_with("PROBE "))
}

#[test]
fn where_all_doors_are_open_all_are_passive() {
    with_seeds(3, |seed| {
        let (mut world, _, server) = with_near_server(seed);
        let computer = world.computer("198.51.100.2");
        world.computer_mut(computer).delay = millis(5);
        let other = world.server(computer, 8000);
        let ids = nodes(&mut world, 20, |_| config().rendezvous(OTHER));
        world.run_for(secs(30));
        assert_eq!((world.server_node(server).nodes(), world.server_node(other).nodes()), (20, 20));
        for (n, &id) in ids.iter().enumerate() {
            let reach = reach(&mut world, id);
            assert_eq!((reach.node_type, reach.reachable), (NodeType::Passive, Reachability::Yes));
            let mapping = if cfg!(feature = "gateway") { Mapping::NotNeeded } else { Mapping::Off };
            assert_eq!((reach.nat, reach.mapping.clone()), (Nat::None, mapping));
            assert_eq!((reach.wan, reach.port), (Some(addr(n).ip()), Some(50500)));
            assert!(reach.servers.iter().all(|server| server.rtt.is_some() && server.seen.is_some()));
            assert_told(&mut world, id);
        }
        assert!(world.is_connected(&ids));
    });
}

#[test]
fn a_closed_door_is_not_listed_until_it_is_open() {
    with_seeds(5, |seed| {
        let (mut world, _, server) = with_near_server(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
        world.computer_mut(computers[0]).is_closed = true;
        let ids = computers.map(|on| world.peer(on, config()));
        until_reachable(&mut world, ids[0], Reachability::No, secs(10));
        until_reachable(&mut world, ids[1], Reachability::Yes, secs(10));
        world.run_for(secs(5));
        assert_eq!(reach(&mut world, ids[0]).node_type, NodeType::Simultaneous);
        assert_eq!(world.server_node(server).nodes(), 1);
        // It connects to others all the same.
        assert!(world.run_until(secs(60), |world| world.is_connected(&ids)));
        // Somebody opens it.
        world.computer_mut(computers[0]).is_closed = false;
        until_reachable(&mut world, ids[0], Reachability::Yes, secs(11 * 60));
        world.run_for(secs(5));
        assert_eq!(reach(&mut world, ids[0]).node_type, NodeType::Passive);
        assert_eq!(world.server_node(server).nodes(), 2);
        // And closes it again, and asks at once.
        world.computer_mut(computers[0]).is_closed = true;
        world.act(ids[0], |node, now| node.refresh_reach(now));
        until_reachable(&mut world, ids[0], Reachability::No, secs(12));
        world.run_for(secs(5));
        assert_eq!(world.server_node(server).nodes(), 1);
        assert_told(&mut world, ids[0]);
    });
}

#[test]
fn who_does_not_listen_is_active() {
    with_seeds(2, |seed| {
        let (mut world, _, server) = with_near_server(seed);
        let id = nodes(&mut world, 1, |_| config().listen(false))[0];
        world.run_for(secs(700));
        let reach = reach(&mut world, id);
        assert_eq!(reach.reachable, Reachability::Unknown(Doubt::NotListening));
        assert_eq!((reach.node_type, reach.port, reach.nat), (NodeType::Active, None, Nat::None));
        assert_eq!(world.server_node(server).nodes(), 0);
    });
}

#[test]
fn a_server_that_dies_half_way_and_comes_back_is_asked_again() {
    with_seeds(12, |seed| {
        let (mut world, computer, server) = with_near_server(seed);
        let id = nodes(&mut world, 1, |_| config())[0];
        // Before, in, and after the probe.
        world.run_for(millis(60 * seed));
        world.crash(server);
        world.run_for(secs(2));
        let connected = |event: &Event| matches!(event, Event::Connected { .. });
        assert!(!world.events(id).iter().any(connected), "a probe that broke off was no peer");
        let known = reach(&mut world, id).reachable;
        let doubts = [Doubt::Unanswered, Doubt::ServersDown].map(Reachability::Unknown);
        assert!(known == Reachability::Yes || doubts.contains(&known), "{known:?}");
        let server = world.server(computer, 8000);
        until_reachable(&mut world, id, Reachability::Yes, secs(120));
        world.run_for(secs(120));
        assert_eq!((reach(&mut world, id).reachable, world.count(id)), (Reachability::Yes, 0));
        assert_eq!(world.server_node(server).nodes(), 1);
        assert_told(&mut world, id);
    });
}

#[test]
fn a_partition_in_the_middle_of_a_probe_leaves_a_doubt_until_it_heals() {
    with_seeds(12, |seed| {
        let (mut world, computer, _) = with_near_server(seed);
        let id = nodes(&mut world, 1, |_| config())[0];
        world.run_for(millis(60 * seed));
        world.network.set_side(computer, 1);
        // The verdict is awaited for 12 s, an answer to a greeting for 10.
        world.run_for(secs(25));
        let known = reach(&mut world, id).reachable;
        let doubts = [Doubt::Unanswered, Doubt::ServersDown].map(Reachability::Unknown);
        assert!(known == Reachability::Yes || doubts.contains(&known), "{known:?}");
        world.run_for(secs(120));
        world.network.set_side(computer, 0);
        until_reachable(&mut world, id, Reachability::Yes, secs(500));
        world.run_for(secs(60));
        assert_eq!(world.count(id), 0, "no probe is taken for a peer");
        assert_told(&mut world, id);
    });
}

#[test]
fn a_server_that_is_asked_too_often_is_asked_later() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        let computer = world.computer("198.51.100.1");
        world.computer_mut(computer).delay = millis(5);
        let server = world.server_with(computer, 8000, RendezvousConfig::new().max_probes_per_address(1));
        let home = world.computer(&ip(0));
        let ids = [50500, 50501].map(|port| world.peer(home, config().port(port).max_outbound(0)));
        world.run_for(secs(5));
        let known = ids.map(|id| reach(&mut world, id).reachable);
        let busy = Reachability::Unknown(Doubt::Busy);
        assert!(known.contains(&Reachability::Yes) && known.contains(&busy), "{known:?}");
        // Nobody is hidden for a doubt.
        assert_eq!(world.server_node(server).nodes(), 2);
        for id in ids {
            until_reachable(&mut world, id, Reachability::Yes, secs(300));
            assert_told(&mut world, id);
        }
    });
}

/// A server of ours in everything, but that it never says what it found.
#[test]
fn a_verdict_that_never_comes_is_awaited_for_twelve_seconds() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let computer = world.computer("198.51.100.1");
        let mute: Behaviour = Box::new(|wire, con, input| {
            let Input::Line(line) = input else { return };
            let peer = wire.peer(con);
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["HELLO", ..] => wire.send(con, "HELLO p2poll 1 peers seen ping listed observers probe\r\n"),
                ["SOURCE", ..] => wire.send(con, format!("REMOTE TCP {}\r\n", peer.port())),
                ["WHOAMI"] => wire.send(con, format!("SEEN {} {}\r\n", peer.ip(), peer.port())),
                ["OBSERVERS"] => wire.send(con, "OBSERVERS NONE\r\n"),
                ["PING", token] => wire.send(con, format!("PONG {token}\r\n")),
                ["PASSIVE", _, port, _] => wire.send(con, format!("LISTED {port}\r\n")),
                ["BOOTSTRAP", _] => wire.send(con, "NODES EMPTY\r\n"),
                _ => {}
            }
        });
        let server = world.script(computer, Some(8000), mute);
        let id = nodes(&mut world, 1, |_| config())[0];
        world.run_for(secs(11));
        assert_eq!(reach(&mut world, id).reachable, Reachability::Unknown(Doubt::Pending));
        world.run_for(secs(2));
        assert_eq!(reach(&mut world, id).reachable, Reachability::Unknown(Doubt::Unanswered));
        world.run_for(secs(6 * 3600));
        // Later and later, up to twice an hour.
        let asked = world.heard(server).iter().filter(|(_, input)| is_probe(input)).count();
        assert!((12..40).contains(&asked), "{asked}");
        assert_eq!(reach(&mut world, id).node_type, NodeType::Passive);
        assert_told(&mut world, id);
    });
}

#[test]
fn a_machine_that_moves_is_found_at_its_new_address() {
    with_seeds(12, |seed| {
        let (mut world, _, server) = with_near_server(seed);
        let computer = world.computer(&ip(0));
        let id = world.peer(computer, config());
        // Before, in, and after the probe, and when all is known.
        world.run_for(millis(if seed % 4 == 0 { 30_000 } else { 80 * seed }));
        world.set_ip(computer, "192.0.2.9");
        let moved = |world: &mut World| {
            let reach = reach(world, id);
            let new: std::net::IpAddr = "192.0.2.9".parse().unwrap();
            let lan: Vec<_> = reach.lan.iter().map(|lan| lan.address).collect();
            (reach.wan, reach.reachable, &lan[..]) == (Some(new), Reachability::Yes, &[new])
        };
        assert!(world.run_until(secs(45), moved), "{:#?}", reach(&mut world, id));
        assert_eq!(reach(&mut world, id).nat, Nat::None);
        // The old place is forgotten.
        world.run_for(secs(400));
        assert!(moved(&mut world));
        // Nor is there anything left of a probe that was cut off before it said what it was.
        assert_eq!((world.server_node(server).nodes(), world.count(id)), (1, 0));
        assert_told(&mut world, id);
    });
}

/// Who shares the server's address can take the nonce, and has nothing of it but a doubt about the port.
#[test]
fn who_prompts_before_the_server_does_gets_nothing_but_the_nonce() {
    with_seeds(5, |seed| {
        let (mut world, computer, _) = with_near_server(seed);
        let far = world.computer(&ip(0));
        let id = world.peer(far, config());
        let rival = world.script(
            computer,
            None,
            Box::new(|wire, con, input| {
                if input == Input::Opened {
                    wire.send(con, "~probe\r\n");
                }
            }),
        );
        for _ in 0..40 {
            world.wire(rival, |wire| wire.dial(addr(0)));
            world.run_for(millis(25));
        }
        world.run_for(secs(20));
        let told = world.heard(rival).iter().filter(|(_, input)| {
            matches!(input, Input::Line(line) if line.starts_with("~probe ") && line.len() == 7 + 32)
        });
        assert!(told.count() <= 1, "{:?}", world.heard(rival));
        assert!(world.lines(id).iter().all(|line| line == "~probe"), "{:?}", world.lines(id));
        let known = reach(&mut world, id).reachable;
        let doubtful = known == Reachability::Unknown(Doubt::TooFar);
        assert!(known.answer().is_some() || doubtful, "{known:?}");
    });
}

#[test]
fn a_stop_in_the_middle_of_it_all_is_a_stop() {
    with_seeds(12, |seed| {
        let (mut world, _, server) = with_near_server(seed);
        let id = nodes(&mut world, 1, |_| config())[0];
        world.run_for(millis(60 * seed));
        world.stop(id);
        world.act(id, |node, now| node.refresh_reach(now));
        assert!(world.run_until(secs(8), |world| world.node(id).is_stopped()));
        assert_eq!(world.events(id).last(), Some(&Event::Stopped));
        world.run_for(secs(300));
        assert_eq!(world.events(id).last(), Some(&Event::Stopped));
        assert_eq!((world.server_node(server).nodes(), world.count(id)), (0, 0));
    });
}

/// IPv6 is seen as it is, so a node that met its server there would not hear of the NAT before its other address.
#[test]
fn a_server_of_both_families_is_met_by_ipv4() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        let computer = world.computer("2001:db8::1 198.51.100.1");
        world.server(computer, 8000);
        let both = vec!["2001:db8::1".parse().unwrap(), "198.51.100.1".parse().unwrap()];
        world.name("rv.example", Name::Answer(millis(10), Ok(both)));
        let met_at = |world: &mut World, ips: &str| {
            let computer = world.computer(ips);
            let id = world.peer(computer, alone().rendezvous("rv.example:8000"));
            world.run_for(secs(10));
            reach(world, id).servers[0].addr.unwrap().ip().to_string()
        };
        assert_eq!(met_at(&mut world, "2001:db8:2::1 203.0.113.9"), "198.51.100.1");
        assert_eq!(met_at(&mut world, "2001:db8:2::2"), "2001:db8::1");
    });
}
