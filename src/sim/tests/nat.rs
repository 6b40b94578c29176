//! Routers: what they translate, whom they let in, and what nodes find out about them.

mod crossing;
mod meeting;

use std::io::ErrorKind;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::config::RendezvousConfig;
use crate::random::Random;
use crate::reach::{Nat as NatSeen, NatKind, NodeType, Reachability};
use crate::sim::nat::{Filter, Flow, Nat, NatBox};
use crate::sim::network::{EndId, RouterId};
use crate::sim::script::Input;
use crate::sim::world::at;
use crate::time::Instant;

const SECOND: &str = "198.51.100.2:8000";

const KINDS: [Nat; 4] = [Nat::Preserving, Nat::Reuse, Nat::Delta(3), Nat::Random];

/// A house with one computer, and a script on it.
#[derive(Clone, Copy)]
struct House {
    router: RouterId,
    computer: ComputerId,
    script: ProgramId,
}

/// All have the same addresses inside. What is let in to `port` is accepted there.
fn house(world: &mut World, ip: &str, nat: Nat, filter: Filter, port: Option<u16>) -> House {
    let router = world.router(ip, nat, filter);
    world.router_mut(router).delay = millis(12);
    let computer = world.computer_behind(router, "192.168.1.2");
    House { router, computer, script: idler(world, computer, port) }
}

/// A script that only listens to what it is told.
fn idler(world: &mut World, on: ComputerId, port: Option<u16>) -> ProgramId {
    world.script(on, port, Box::new(|_, _, _| {}))
}

/// A computer of the internet with a script.
fn outsider(world: &mut World, ip: &str, port: Option<u16>) -> (ComputerId, ProgramId) {
    let computer = world.computer(ip);
    world.computer_mut(computer).delay = millis(12);
    (computer, idler(world, computer, port))
}

fn dial(world: &mut World, from: ProgramId, port: u16, to: SocketAddr) -> EndId {
    world.wire(from, |wire| wire.dial_from(port, to)).expect("a free pair of addresses")
}

fn is_open(world: &World, script: ProgramId, end: EndId) -> bool {
    world.heard(script).contains(&(end, Input::Opened))
}

/// From where somebody was dialled, in order.
fn callers(world: &World, script: ProgramId) -> Vec<SocketAddr> {
    let opened = world.heard(script).iter().filter(|(_, input)| *input == Input::Opened);
    opened.map(|&(end, _)| world.network.peer(end)).collect()
}

/// How long a dial took to succeed or fail, up to the millisecond in which the script turns.
fn took(world: &mut World, script: ProgramId, end: EndId) -> Duration {
    let began = world.now();
    while !world.heard(script).iter().any(|&(heard, _)| heard == end) && world.now() - began < secs(200) {
        world.run_for(millis(1));
    }
    world.now() - began
}

/// The external ports of five local ones towards two places, first all to the first.
fn ports_seen(world: &mut World, from: ProgramId) -> [Vec<u16>; 2] {
    let servers = [("198.51.100.1", 8000), ("198.51.100.2", 8000)]
        .map(|(ip, port)| (at(ip, port), outsider(world, ip, Some(port)).1));
    for (to, _) in servers {
        for port in 4000..4005 {
            dial(world, from, port, to);
        }
    }
    world.run_for(secs(1));
    servers.map(|(_, server)| callers(world, server).iter().map(SocketAddr::port).collect())
}

#[test]
fn every_kind_of_nat_maps_as_it_says() {
    with_seeds(5, |seed| {
        for nat in KINDS {
            let mut world = World::new(seed);
            let home = house(&mut world, "203.0.113.1", nat, Filter::Drop, None);
            let [first, second] = ports_seen(&mut world, home.script);
            assert_eq!((first.len(), second.len()), (5, 5));
            let all: Vec<u16> = first.iter().chain(&second).copied().collect();
            let steps = |by: i32| {
                let circle = 65_536 - 1024;
                all.windows(2).all(|two| (i32::from(two[1]) - i32::from(two[0]) - by) % circle == 0)
            };
            match nat {
                Nat::Preserving => assert_eq!((&first, &second), (&(4000..4005).collect(), &first)),
                Nat::Reuse => assert!(first == second && !steps(1), "{all:?}"),
                Nat::Delta(step) => assert!(steps(step), "{all:?}"),
                Nat::Random => assert!(first != second && !steps(all[1].into()), "{all:?}"),
            }
        }
    });
}

#[test]
fn a_port_that_is_taken_is_not_preserved() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let home = house(&mut world, "203.0.113.1", Nat::Preserving, Filter::Drop, None);
        let computer = world.computer_behind(home.router, "192.168.1.3");
        let neighbour = idler(&mut world, computer, None);
        let (_, server) = outsider(&mut world, "198.51.100.1", Some(8000));
        for script in [home.script, neighbour] {
            dial(&mut world, script, 4000, at("198.51.100.1", 8000));
            world.run_for(secs(1));
        }
        assert_eq!(callers(&world, server), [at("203.0.113.1", 4000), at("203.0.113.1", 4001)]);
    });
}

#[test]
fn other_traffic_takes_ports_of_a_delta() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let home = house(&mut world, "203.0.113.1", Nat::Delta(2), Filter::Drop, None);
        let (_, server) = outsider(&mut world, "198.51.100.1", Some(8000));
        dial(&mut world, home.script, 4000, at("198.51.100.1", 8000));
        world.take_ports(home.router, 3);
        dial(&mut world, home.script, 4001, at("198.51.100.1", 8000));
        world.run_for(secs(1));
        let ports: Vec<i32> = callers(&world, server).iter().map(|addr| addr.port().into()).collect();
        assert_eq!((ports[1] - ports[0]).rem_euclid(65_536 - 1024), 8);
    });
}

#[test]
fn a_dropped_syn_is_repeated_until_the_dial_is_given_up() {
    with_seeds(2, |seed| {
        let mut world = World::new(seed);
        house(&mut world, "203.0.113.1", Nat::Preserving, Filter::Drop, Some(4000));
        let (_, stranger) = outsider(&mut world, "198.51.100.1", None);
        let end = dial(&mut world, stranger, 5000, at("203.0.113.1", 4000));
        let sent: Vec<usize> = [500, 1000, 2000, 4000]
            .map(|span| {
                world.run_for(millis(span));
                world.syns("203.0.113.1")
            })
            .to_vec();
        assert_eq!(sent, [1, 2, 3, 4]);
        assert_eq!(world.syns_within("203.0.113.1", Instant::ZERO + secs(2)..Instant::ZERO + secs(4)), 1);
        took(&mut world, stranger, end);
        assert_eq!(world.failure(stranger, end), Some(ErrorKind::TimedOut));
        assert_eq!((world.syns("203.0.113.1"), world.syns("192.168.1.2")), (7, 0));
    });
}

#[test]
fn other_filters_refuse_after_one_round_trip() {
    with_seeds(2, |seed| {
        for filter in [Filter::Reject, Filter::Open] {
            let mut world = World::new(seed);
            let home = house(&mut world, "203.0.113.1", Nat::Preserving, filter, Some(4000));
            let (_, stranger) = outsider(&mut world, "198.51.100.1", None);
            let end = dial(&mut world, stranger, 5000, at("203.0.113.1", 4000));
            let took = took(&mut world, stranger, end);
            assert_eq!(world.failure(stranger, end), Some(ErrorKind::ConnectionRefused));
            assert!((millis(48)..millis(51)).contains(&took), "{took:?}");
            assert!(world.heard(home.script).is_empty());
        }
    });
}

#[test]
fn who_listens_nowhere_refuses() {
    with_seeds(2, |seed| {
        let mut world = World::new(seed);
        let (_, a) = outsider(&mut world, "198.51.100.1", None);
        outsider(&mut world, "198.51.100.2", Some(8000));
        let end = dial(&mut world, a, 5000, at("198.51.100.2", 8001));
        assert!((millis(48)..millis(51)).contains(&took(&mut world, a, end)));
        assert_eq!(world.failure(a, end), Some(ErrorKind::ConnectionRefused));
    });
}

#[test]
fn only_the_very_end_that_was_dialled_may_come_in() {
    with_seeds(3, |seed| {
        for nat in KINDS {
            let mut world = World::new(seed);
            let home = house(&mut world, "203.0.113.1", nat, Filter::Reject, Some(4000));
            let (_, friend) = outsider(&mut world, "198.51.100.1", Some(8000));
            let (_, stranger) = outsider(&mut world, "198.51.100.2", None);
            // From a port of the friend where nobody listens, and that is refused.
            dial(&mut world, home.script, 4000, at("198.51.100.1", 5000));
            dial(&mut world, home.script, 4000, at("198.51.100.1", 8000));
            world.run_for(secs(1));
            let outside = callers(&world, friend)[0];
            let mapped = match nat {
                Nat::Delta(step) => SocketAddr::new(outside.ip(), (i32::from(outside.port()) - step) as u16),
                _ => outside,
            };
            let other_port = dial(&mut world, friend, 5001, mapped);
            let other_ip = dial(&mut world, stranger, 5000, mapped);
            let dialled = dial(&mut world, friend, 5000, mapped);
            world.run_for(secs(1));
            assert_eq!(world.failure(friend, other_port), Some(ErrorKind::ConnectionRefused), "{nat:?}");
            assert_eq!(world.failure(stranger, other_ip), Some(ErrorKind::ConnectionRefused), "{nat:?}");
            // A random port has to be known, and the friend knows only that of the other connection.
            assert_eq!(is_open(&world, friend, dialled), nat != Nat::Random, "{nat:?}");
        }
    });
}

#[test]
fn a_forwarded_port_lets_everybody_in() {
    with_seeds(2, |seed| {
        let mut world = World::new(seed);
        let home = house(&mut world, "203.0.113.1", Nat::Random, Filter::Drop, Some(4000));
        world.forward(home.router, 6000, home.computer, 4000);
        let (_, stranger) = outsider(&mut world, "198.51.100.1", None);
        let end = dial(&mut world, stranger, 5000, at("203.0.113.1", 6000));
        world.run_for(secs(1));
        assert!(is_open(&world, stranger, end));
        assert_eq!(callers(&world, home.script), [at("198.51.100.1", 5000)]);
        let inside = world.heard(home.script)[0].0;
        assert_eq!(world.network.local(inside), at("192.168.1.2", 4000));
        world.wire(stranger, |wire| wire.send(end, "hello\n"));
        world.run_for(secs(1));
        assert_eq!(world.heard(home.script).last(), Some(&(inside, Input::Line("hello".into()))));
    });
}

#[test]
fn a_house_is_a_network_of_its_own() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let home = house(&mut world, "203.0.113.1", Nat::Preserving, Filter::Reject, Some(4000));
        let other = house(&mut world, "203.0.113.2", Nat::Preserving, Filter::Reject, Some(4000));
        let computer = world.computer_behind(home.router, "192.168.1.3");
        let guest = idler(&mut world, computer, Some(4000));
        let end = dial(&mut world, guest, 5000, at("192.168.1.2", 4000));
        // A millisecond there, one back, and the turns of the script.
        assert!(took(&mut world, guest, end) <= millis(4));
        world.run_for(millis(10));
        assert_eq!(callers(&world, home.script), [at("192.168.1.3", 5000)]);
        assert!(world.heard(other.script).is_empty(), "the other house has the same addresses");
        let away = dial(&mut world, other.script, 5000, at("192.168.1.3", 4000));
        took(&mut world, other.script, away);
        assert_eq!(world.failure(other.script, away), Some(ErrorKind::TimedOut));
        assert_eq!((world.syns("203.0.113.1"), world.heard(guest).len()), (0, 1));
    });
}

#[test]
fn a_house_reaches_itself_from_outside_only_by_hairpin() {
    with_seeds(2, |seed| {
        for does in [false, true] {
            let mut world = World::new(seed);
            let home = house(&mut world, "203.0.113.1", Nat::Preserving, Filter::Reject, Some(4000));
            world.forward(home.router, 6000, home.computer, 4000);
            world.hairpin(home.router, does);
            let computer = world.computer_behind(home.router, "192.168.1.3");
            let guest = idler(&mut world, computer, None);
            let end = dial(&mut world, guest, 5000, at("203.0.113.1", 6000));
            world.run_for(millis(10));
            assert_eq!(is_open(&world, guest, end), does);
            let seen = if does { vec![at("203.0.113.1", 5000)] } else { Vec::new() };
            assert_eq!(callers(&world, home.script), seen);
        }
    });
}

#[test]
fn customers_of_one_provider_share_its_address_and_meet_behind_it() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let carrier = world.router("203.0.113.1", Nat::Reuse, Filter::Drop);
        let homes = ["100.64.0.2", "100.64.0.3"].map(|ip| {
            let router = world.router_behind(carrier, ip, Nat::Preserving, Filter::Drop);
            let computer = world.computer_behind(router, "192.168.1.2");
            idler(&mut world, computer, None)
        });
        let (_, server) = outsider(&mut world, "198.51.100.1", Some(8000));
        for home in homes {
            dial(&mut world, home, 4000, at("198.51.100.1", 8000));
        }
        world.run_for(secs(1));
        let seen = callers(&world, server);
        assert!(seen.iter().all(|addr| addr.ip() == at("203.0.113.1", 0).ip()) && seen[0] != seen[1]);
        // Their addresses outside are no way, those at the provider are.
        let outside = [1, 0].map(|n| dial(&mut world, homes[1 - n], 4000, seen[n]));
        let inside = ["100.64.0.3", "100.64.0.2"].map(|ip| at(ip, 4000));
        let inside = [0, 1].map(|n| dial(&mut world, homes[n], 4000, inside[n]));
        world.run_for(millis(20));
        assert!([0, 1].iter().all(|&n| is_open(&world, homes[n], inside[n])));
        world.run_for(secs(5));
        assert!(![0, 1].iter().any(|&n| is_open(&world, homes[n], outside[n])));
        // Where the provider turns round what is for itself, they are.
        world.hairpin(carrier, true);
        world.run_for(secs(5));
        assert!([0, 1].iter().all(|&n| is_open(&world, homes[n], outside[n])));
    });
}

#[test]
fn an_idle_connection_falls_silent_when_its_router_forgets_it() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let home = house(&mut world, "203.0.113.1", Nat::Reuse, Filter::Drop, None);
        let (_, server) = outsider(&mut world, "198.51.100.1", Some(8000));
        world.expire_after(home.router, secs(60));
        let end = dial(&mut world, home.script, 4000, at("198.51.100.1", 8000));
        for n in 0..10 {
            world.run_for(secs(45));
            world.wire(home.script, |wire| wire.send(end, format!("{n}\n")));
        }
        world.run_for(secs(30));
        assert_eq!(world.heard(server).len(), 11, "what is used is not forgotten");
        world.run_for(secs(35));
        world.wire(home.script, |wire| wire.send(end, "too late\n"));
        let there = world.heard(server)[0].0;
        world.wire(server, |wire| wire.send(there, "too late as well\n"));
        world.run_for(secs(60));
        assert_eq!((world.heard(server).len(), world.heard(home.script).len()), (11, 1));
        // Both notice by themselves, 120 s later.
        world.run_for(secs(60));
        assert_eq!(world.heard(server).last(), Some(&(there, Input::Ended)));
        assert_eq!(world.heard(home.script).last(), Some(&(end, Input::Ended)));
        // Who begins again gets another port.
        dial(&mut world, home.script, 4000, at("198.51.100.1", 8000));
        world.run_for(secs(1));
        let seen = callers(&world, server);
        assert!(seen.len() == 2 && seen[0] != seen[1], "{seen:?}");
    });
}

#[test]
fn a_mapping_that_was_there_before_is_forgotten_too() {
    with_seeds(1, |seed| {
        let mut world = World::new(seed);
        let home = house(&mut world, "203.0.113.1", Nat::Preserving, Filter::Reject, Some(4000));
        let (_, friend) = outsider(&mut world, "198.51.100.1", None);
        // Refused, and the way back is open.
        dial(&mut world, home.script, 4000, at("198.51.100.1", 5000));
        world.run_for(secs(10));
        let early = dial(&mut world, friend, 5000, at("203.0.113.1", 4000));
        world.run_for(secs(1));
        world.wire(friend, |wire| wire.close(early));
        world.run_for(secs(1));
        world.expire_after(home.router, secs(30));
        world.run_for(secs(32));
        let late = dial(&mut world, friend, 5000, at("203.0.113.1", 4000));
        world.run_for(secs(1));
        assert_eq!((is_open(&world, friend, early), is_open(&world, friend, late)), (true, false));
    });
}

#[test]
fn a_detour_delays_one_direction() {
    with_seeds(2, |seed| {
        let mut world = World::new(seed);
        let home = house(&mut world, "203.0.113.1", Nat::Preserving, Filter::Drop, Some(4000));
        world.forward(home.router, 4000, home.computer, 4000);
        let (computer, stranger) = outsider(&mut world, "198.51.100.1", None);
        world.delay_between(computer, home.computer, millis(100));
        let end = dial(&mut world, stranger, 5000, at("203.0.113.1", 4000));
        let opened = took(&mut world, stranger, end);
        assert!((millis(149)..millis(152)).contains(&opened), "{opened:?}");
        let there = world.heard(home.script)[0].0;
        let heard = |world: &World| world.heard(home.script).len() + world.heard(stranger).len();
        let before = heard(&world);
        world.wire(home.script, |wire| wire.send(there, "quick\n"));
        world.run_for(millis(27));
        assert_eq!(heard(&world), before + 1);
        world.wire(stranger, |wire| wire.send(end, "slow\n"));
        world.run_for(millis(123));
        assert_eq!(heard(&world), before + 1);
        world.run_for(millis(4));
        assert_eq!(heard(&world), before + 2);
    });
}

/// A world with two servers that know of each other by the nodes' configuration only.
fn with_two_servers(seed: u64) -> (World, [ProgramId; 2]) {
    let mut world = World::new(seed);
    let servers = ["198.51.100.1", "198.51.100.2"].map(|ip| {
        let computer = world.computer(ip);
        world.computer_mut(computer).delay = millis(5);
        // Many ask from one house.
        world.server_with(computer, 8000, RendezvousConfig::new())
    });
    (world, servers)
}

#[test]
fn a_node_finds_out_what_kind_of_nat_it_is_behind() {
    with_seeds(4, |seed| {
        let step = [1, 2, -3, 7][seed as usize % 4];
        let kinds = [
            (Nat::Preserving, NatKind::Preserving),
            (Nat::Reuse, NatKind::Reuse),
            (Nat::Delta(step), NatKind::Delta { step }),
            (Nat::Random, NatKind::Random),
        ];
        for (nat, kind) in kinds {
            for carrier in [None, Some(Nat::Preserving)] {
                let (mut world, _) = with_two_servers(seed);
                let router = match carrier {
                    None => world.router("203.0.113.1", nat, Filter::Drop),
                    Some(outer) => {
                        let carrier = world.router("203.0.113.1", outer, Filter::Reject);
                        world.router_behind(carrier, "100.64.0.2", nat, Filter::Drop)
                    }
                };
                let computer = world.computer_behind(router, "192.168.1.2");
                let id = world.peer(computer, config().rendezvous(SECOND));
                world.run_for(secs(30));
                let reach = world.node(id).reach();
                assert_eq!(reach.nat, NatSeen::Measured(kind), "{carrier:?} {reach:#?}");
                assert_eq!((reach.translated, reach.reachable), (Some(true), Reachability::No));
                assert_eq!(reach.wan, Some(at("203.0.113.1", 0).ip()));
                assert_eq!(reach.lan[0].address, at("192.168.1.2", 0).ip());
            }
        }
    });
}

#[test]
fn a_forwarded_node_is_passive_and_another_is_not_listed() {
    with_seeds(4, |seed| {
        let (mut world, servers) = with_two_servers(seed);
        let houses = ["203.0.113.1", "203.0.113.2"].map(|ip| {
            let router = world.router(ip, Nat::Preserving, Filter::Drop);
            (router, world.computer_behind(router, "192.168.1.2"))
        });
        world.forward(houses[0].0, 50500, houses[0].1, 50500);
        let ids = houses.map(|(_, computer)| world.peer(computer, config().rendezvous(SECOND)));
        assert!(world.run_until(secs(60), |world| world.is_connected(&ids)));
        world.run_for(secs(30));
        let types = ids.map(|id| world.node(id).reach().node_type);
        assert_eq!(types, [NodeType::Passive, NodeType::Simultaneous]);
        for server in servers {
            assert_eq!(world.server_node(server).nodes(), 1);
        }
        // The one that is behind its router dialled the other, which is told where the router is.
        world.send(ids[0], "in");
        world.send(ids[1], "out");
        world.run_for(secs(1));
        assert_eq!((world.lines(ids[0]), world.lines(ids[1])), (vec!["out".into()], vec!["in".into()]));
        let peers = |world: &mut World, id: ProgramId| -> Vec<SocketAddr> {
            let peer = |event| if let Event::Connected { peer, .. } = event { Some(peer) } else { None };
            world.events(id).into_iter().filter_map(peer).collect()
        };
        assert!(peers(&mut world, ids[0]).iter().all(|peer| peer.ip() == at("203.0.113.2", 0).ip()));
        assert_eq!(peers(&mut world, ids[1]), [at("203.0.113.1", 50500)]);
        assert_eq!((world.syns("192.168.1.2"), world.syns("203.0.113.2") > 0), (0, true));
    });
}

#[test]
fn the_same_seed_gives_the_same_run_behind_routers_too() {
    let trace = |seed: u64| {
        let (mut world, _) = with_two_servers(seed);
        for (n, nat) in KINDS.into_iter().enumerate() {
            let router = world.router(&ip(n), nat, Filter::Reject);
            world.expire_after(router, secs(20));
            let computer = world.computer_behind(router, "192.168.1.2");
            world.forward(router, 50500, computer, 50500);
            world.peer(computer, config().rendezvous(SECOND));
        }
        world.run_for(secs(90));
        world.trace_hash()
    };
    with_seeds(2, |seed| {
        assert_eq!(trace(seed), trace(seed));
        assert_ne!(trace(seed), trace(seed + 1000));
    });
}

fn flows() -> impl Strategy<Value = Vec<Flow>> {
    let end = |ips: std::ops::Range<u8>, ports: std::ops::Range<u16>| {
        (ips, ports).prop_map(|(ip, port)| SocketAddr::from(([10, 0, 0, ip], port)))
    };
    let flow = (end(0..4, 1020..1030), end(100..104, 80..84));
    prop::collection::vec(flow.prop_map(|(inner, remote)| Flow { inner, remote }), 0..200)
}

proptest! {
    /// What comes back gets to whom it is for, two inner ends never share an external port, and what is in use is not
    /// given out.
    #[test]
    fn no_two_share_an_external_port(flows in flows(), kind in 0..4usize, seed in any::<u64>()) {
        let mut nat = NatBox::new(KINDS[kind], Filter::Drop, Random::from_number(seed));
        nat.forward(1025, at("10.0.0.1", 1025));
        nat.take_ports(3);
        let mut owners = std::collections::BTreeMap::new();
        for flow in flows {
            let port = nat.leave(flow, Instant::ZERO).expect("there are enough");
            prop_assert!(port >= 1024);
            prop_assert_eq!(*owners.entry(port).or_insert(flow.inner), flow.inner);
            prop_assert_eq!(nat.enter(port, flow.remote, Instant::ZERO), Some(flow.inner));
            prop_assert!(port != 1025 || flow.inner == at("10.0.0.1", 1025));
            prop_assert_eq!(nat.leave(flow, Instant::ZERO), Some(port));
        }
    }
}
