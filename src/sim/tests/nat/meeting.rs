//! Punching as pyp2p arranges it: by a UNL of version 2, which names no server and proves nothing.

use super::*;
use crate::connect::{Connect, Rung, RungFault};
use crate::error::FailReason;
use crate::event::Via;
use crate::sim::script::Behaviour;
use crate::unl::Unl;

/// Two houses, each with a direct node, and their server. The second one is to be met.
struct Two {
    world: World,
    nodes: [ProgramId; 2],
}

impl Two {
    fn new(seed: u64, nats: [Nat; 2], filter: Filter) -> Self {
        let (mut world, ..) = with_server(seed);
        let second = world.computer("198.51.100.2");
        world.server(second, 8000);
        let ips = ["203.0.113.1", "203.0.113.2"];
        let nodes = [0, 1].map(|n| {
            let router = world.router(ips[n], nats[n], filter);
            world.router_mut(router).delay = millis(12);
            let computer = world.computer_behind(router, &format!("192.168.{n}.2"));
            world.peer(computer, config().rendezvous(SECOND).direct())
        });
        let ready = |world: &mut World| nodes.iter().all(|&id| world.node(id).reach().nat.kind().is_some());
        assert!(world.run_until(secs(60), ready));
        // What was found out is said to the server.
        world.run_for(secs(5));
        Self { world, nodes }
    }

    fn unl(&mut self, of: usize) -> Unl {
        let unl = self.world.act(self.nodes[of], |node, _| node.unl_version2()).expect("it is known");
        // As pyp2p makes it, from the text alone.
        unl.as_str().parse().expect("it is one")
    }

    fn connect(&mut self, unl: &Unl) {
        let to = Connect::to(unl);
        self.world.act(self.nodes[0], |node, now| node.connect_to(to, now)).expect("it can be tried");
    }

    /// How the first one's attempt has ended.
    fn outcome(&mut self, within: Duration) -> Option<Result<Via, FailReason>> {
        let id = self.nodes[0];
        let ended = |world: &mut World| {
            world.events(id).into_iter().rev().find_map(|event| match event {
                Event::Connected { via, attempt: Some(_), .. } => Some(Ok(via)),
                Event::Failed { why, .. } => Some(Err(why)),
                _ => None,
            })
        };
        self.world.run_until(within, |world| ended(world).is_some());
        ended(&mut self.world)
    }
}

#[test]
fn a_node_that_is_known_by_its_version_2_alone_is_punched_to() {
    with_seeds(6, |seed| {
        for filter in [Filter::Drop, Filter::Reject, Filter::Open] {
            for nats in [[Nat::Preserving; 2], [Nat::Reuse, Nat::Preserving], [Nat::Preserving, Nat::Reuse]] {
                let mut two = Two::new(seed, nats, filter);
                let unl = two.unl(1);
                assert_eq!((unl.version(), unl.node_type()), (2, NodeType::Simultaneous));
                two.connect(&unl);
                assert_eq!(two.outcome(secs(4)), Some(Ok(Via::Punched)), "{filter:?} {nats:?}");
                // The nonce takes a moment, and is the application's on neither side.
                let [first, second] = two.nodes;
                assert!(two.world.run_until(secs(1), |world| world.count(second) == 1));
                let met = |event: &Event| {
                    matches!(event, Event::Connected { via: Via::Punched, attempt: None, .. })
                };
                assert!(two.world.events(second).iter().any(met));
                assert_eq!(
                    (two.world.send(first, "hello"), two.world.send(second, "hello yourself")),
                    (1, 1)
                );
                two.world.run_for(secs(20));
                assert_eq!(two.world.lines(second), ["hello"]);
                assert_eq!(two.world.lines(first), ["hello yourself"]);
                assert_eq!([first, second].map(|id| two.world.count(id)), [1, 1]);
                for id in [first, second] {
                    let con = only_con(&mut two.world, id);
                    assert_eq!(two.world.node(id).node_id(con), None, "nobody has proven anything");
                }
            }
        }
    });
}

#[test]
fn two_attempts_at_one_node_are_one_meeting() {
    with_seeds(2, |seed| {
        let mut two = Two::new(seed, [Nat::Preserving; 2], Filter::Reject);
        let unl = two.unl(1);
        two.connect(&unl);
        two.world.run_for(millis(20));
        two.connect(&unl);
        assert_eq!(two.outcome(secs(4)), Some(Ok(Via::Punched)));
        two.world.run_for(secs(20));
        let connected = |event: &Event| matches!(event, Event::Connected { attempt: Some(_), .. });
        assert_eq!(two.world.events(two.nodes[0]).iter().filter(|event| connected(event)).count(), 2);
        assert_eq!(two.nodes.map(|id| two.world.count(id)), [1, 1]);
    });
}

#[test]
fn several_candidates_are_met_one_after_the_other() {
    with_seeds(2, |seed| {
        let mut two = Two::new(seed, [Nat::Preserving; 2], Filter::Drop);
        let unl = two.unl(1);
        let others: Vec<ProgramId> = (3..6)
            .map(|n| {
                let router = two.world.router(&format!("203.0.113.{n}"), Nat::Preserving, Filter::Drop);
                let computer = two.world.computer_behind(router, "192.168.9.2");
                let config = config().direct().nat(NatKind::Preserving).connect_within(secs(30));
                two.world.peer(computer, config)
            })
            .collect();
        two.world.run_for(secs(10));
        for &id in &others {
            two.world.act(id, |node, now| node.connect_to(Connect::to(&unl), now)).unwrap();
        }
        let all = |world: &mut World| others.iter().all(|&id| world.count(id) == 1);
        assert!(two.world.run_until(secs(12), all));
        two.world.run_for(secs(3));
        assert_eq!(two.world.count(two.nodes[1]), 3);
    });
}

#[test]
fn a_caller_whose_ports_go_in_steps_foretells_the_next_one() {
    with_seeds(6, |seed| {
        let mut two = Two::new(seed, [Nat::Delta(3), Nat::Preserving], Filter::Drop);
        let unl = two.unl(1);
        two.connect(&unl);
        assert_eq!(two.outcome(secs(4)), Some(Ok(Via::Punched)));
    });
}

#[test]
fn ports_that_nobody_can_foretell_are_not_tried() {
    with_seeds(2, |seed| {
        let mut two = Two::new(seed, [Nat::Random, Nat::Preserving], Filter::Drop);
        let unl = two.unl(1);
        two.connect(&unl);
        let Some(Err(FailReason::NoWay(tried))) = two.outcome(secs(4)) else { panic!("no way") };
        let punch = tried.iter().find(|tried| tried.rung == Rung::Punch).expect("it is told");
        assert_eq!(punch.why, RungFault::Unpredictable);
    });
}

#[test]
fn a_node_that_has_gone_is_told_of_soon() {
    with_seeds(2, |seed| {
        let mut two = Two::new(seed, [Nat::Preserving; 2], Filter::Drop);
        let unl = two.unl(1);
        two.world.crash(two.nodes[1]);
        two.world.run_for(secs(1));
        two.connect(&unl);
        let Some(Err(FailReason::NoWay(tried))) = two.outcome(secs(6)) else { panic!("no way") };
        let punch = tried.iter().find(|tried| tried.rung == Rung::Punch).expect("it is told");
        assert_eq!(punch.why, RungFault::Absent);
    });
}

#[test]
fn whoever_does_not_want_to_be_met_is_not() {
    with_seeds(2, |seed| {
        let (mut world, ..) = with_server(seed);
        let router = world.router("203.0.113.2", Nat::Preserving, Filter::Drop);
        let computer = world.computer_behind(router, "192.168.1.2");
        let config = config().direct().nat(NatKind::Preserving).simultaneous(false);
        let id = world.peer(computer, config);
        world.run_for(secs(30));
        let advertised =
            |event: &Event| matches!(event, Event::Rendezvous { news: RendezvousNews::Advertised, .. });
        assert!(!world.events(id).iter().any(advertised));
    });
}

/// A server that is not as it should be: it tells of candidates without end, all at one place.
#[test]
fn a_server_that_challenges_without_end_aims_us_at_nobody_with_much() {
    with_seeds(2, |seed| {
        let mut world = World::new(seed);
        let victim = "203.0.113.66";
        let target = world.computer(victim);
        world.computer_mut(target).is_closed = true;
        let bad = world.computer("198.51.100.1");
        let behaviour: Behaviour = Box::new(move |wire, con, input| {
            let Input::Line(line) = input else { return };
            let peer = wire.peer(con);
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["SOURCE", ..] => wire.send(con, format!("REMOTE TCP {}\r\n", peer.port())),
                ["SIMULTANEOUS", ..] => {
                    for port in 1..=200 {
                        wire.send(con, format!("CHALLENGE {victim} {port} {} TCP\r\n", port + 1));
                    }
                    wire.send(con, "RECONNECT\r\n".repeat(50));
                }
                _ => {}
            }
        });
        world.script(bad, Some(8000), behaviour);
        let router = world.router("203.0.113.2", Nat::Preserving, Filter::Drop);
        let computer = world.computer_behind(router, "192.168.1.2");
        world.peer(computer, config().direct().nat(NatKind::Preserving).node_type(NodeType::Simultaneous));
        world.run_for(secs(60));
        let syns = world.syns(victim);
        assert!(syns > 0, "it does what its own server says, once in a while");
        assert!(syns < 60 * 4, "{syns} SYNs in a minute");
    });
}

/// It names somebody who has nothing to do with it.
#[test]
fn a_unl_of_version_2_aims_at_nobody() {
    with_seeds(2, |seed| {
        let mut two = Two::new(seed, [Nat::Preserving; 2], Filter::Drop);
        let victim = "203.0.113.66";
        two.world.computer(victim);
        let builder = Unl::builder(NodeType::Simultaneous).nat(NatKind::Preserving);
        let unl = builder.wan(at(victim, 22)).lan(at("192.168.0.1", 22)).version2(None).unwrap();
        two.connect(&unl.as_str().parse().unwrap());
        assert!(matches!(two.outcome(secs(20)), Some(Err(_))));
        assert_eq!((two.world.syns(victim), two.world.syns("192.168.0.1")), (0, 0));
    });
}

/// A server that sends whoever asks for one node to another.
#[test]
fn a_meeting_with_somebody_else_is_not_attended() {
    with_seeds(2, |seed| {
        let mut world = World::new(seed);
        let (asked, other) = ("203.0.113.65", "203.0.113.66");
        for ip in [asked, other] {
            world.computer(ip);
        }
        let bad = world.computer("198.51.100.1");
        let behaviour: Behaviour = Box::new(move |wire, con, input| {
            let Input::Line(line) = input else { return };
            let peer = wire.peer(con);
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["SOURCE", ..] => wire.send(con, format!("REMOTE TCP {}\r\n", peer.port())),
                ["CANDIDATE", ..] => {
                    wire.send(con, "PREDICTION SET\r\n");
                    wire.send(con, format!("FIGHT {other} 4000 TCP 1750000000\r\n"));
                }
                _ => {}
            }
        });
        world.script(bad, Some(8000), behaviour);
        let router = world.router("203.0.113.2", Nat::Preserving, Filter::Drop);
        let computer = world.computer_behind(router, "192.168.1.2");
        let id = world.peer(computer, config().direct().nat(NatKind::Preserving));
        let builder = Unl::builder(NodeType::Simultaneous).nat(NatKind::Preserving);
        let unl = builder.wan(at(asked, 50500)).lan(at("192.168.0.1", 50500)).version2(None).unwrap();
        world.act(id, |node, now| node.connect_to(Connect::to(&unl), now)).unwrap();
        world.run_for(secs(20));
        assert!(world.events(id).iter().any(|event| matches!(event, Event::Failed { .. })));
        assert_eq!((world.syns(asked), world.syns(other)), (0, 0));
    });
}
