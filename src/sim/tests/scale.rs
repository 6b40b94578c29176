//! Many nodes, and long times.

use super::*;
use crate::sim::world::World;

const SERVERS: [&str; 3] = ["198.51.100.1:8000", "198.51.100.2:8000", "198.51.100.3:8000"];

#[test]
fn two_hundred_nodes_become_one_network_through_three_servers() {
    with_seeds(1, |seed| {
        let mut world = World::new(seed);
        for server in SERVERS {
            let computer = world.computer(&server[..server.len() - 5]);
            world.server(computer, 8000);
        }
        // Each knows two of the three, and they do not start at once.
        let ids: Vec<ProgramId> = (0..200)
            .map(|n| {
                let computer = world.computer(&ip(n));
                world.run_for(millis(100));
                let config = alone().rendezvous(SERVERS[n % 3]).rendezvous(SERVERS[(n + 1) % 3]);
                let id = world.peer(computer, config);
                world.log(id).is_brief = true;
                id
            })
            .collect();
        let connected = (0..120).any(|_| {
            world.run_for(secs(1));
            world.is_connected(&ids)
        });
        assert!(connected);
        let links = world.links();
        let doubled = links.values().filter(|&&links| links > 1).count();
        eprintln!("{} links, {doubled} doubled, at {:?}", links.len(), world.now());
        for &id in &ids {
            assert!(world.count(id) <= 20);
        }
    });
}

#[test]
fn a_day_of_coming_and_going_stays_within_the_limits() {
    with_seeds(1, |seed| {
        let (mut world, _, server) = with_server(seed);
        let count = 16;
        let computers: Vec<ComputerId> = (0..count).map(|n| world.computer(&ip(n))).collect();
        let config = || config().known_peers("known").max_known(50).max_events(100);
        let start = |world: &mut World, on| {
            let id = world.peer(on, config());
            world.log(id).is_brief = true;
            id
        };
        let mut ids: Vec<ProgramId> = computers.iter().map(|&on| start(&mut world, on)).collect();
        for _ in 0..24 * 6 {
            world.run_for(secs(600));
            let n = world.network.random.below(count);
            match world.network.random.below(3) {
                0 => world.crash(ids[n]),
                1 => {
                    world.stop(ids[n]);
                    assert!(world.run_until(secs(8), |world| world.node(ids[n]).is_stopped()));
                    world.crash(ids[n]);
                }
                _ => {
                    world.power_off(computers[n]);
                    world.power_on(computers[n]);
                }
            }
            ids[n] = start(&mut world, computers[n]);
            let line = format!("at {:?}", world.now());
            for &id in &ids {
                world.send(id, &line);
                let node = world.node(id);
                let (shown, streams) = (node.count(), crate::node::Host::streams(node).len());
                assert!(shown <= 20 && streams <= shown + 20, "{shown} {streams}");
                let places = node.shown_places();
                assert!(places <= 40, "{places}");
            }
            assert!(world.server_node(server).nodes() <= count);
            assert!(world.server_node(server).clients() <= 2 * count);
        }
        world.run_for(secs(600));
        assert!(world.is_connected(&ids), "{:?}", world.links());
        for &id in &ids {
            let (events, turns) = (world.log(id).event_count, world.turns(id));
            assert!(events < 2000 && turns < 100_000, "{events} events, {turns} turns");
        }
    });
}
