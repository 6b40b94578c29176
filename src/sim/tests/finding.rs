//! How nodes find each other.

use super::*;
use crate::error::FailReason;
use crate::event::Via;
use crate::sim::worker::Name;

#[test]
fn two_nodes_find_each_other_through_a_server_and_exchange_lines() {
    with_seeds(20, |seed| {
        let (mut world, ..) = with_server(seed);
        let nodes = nodes(&mut world, 2, |_| config());
        let found = world.run_until(secs(30), |world| nodes.iter().all(|&id| world.count(id) > 0));
        assert!(found, "{:?} {:?}", world.events(nodes[0]), world.events(nodes[1]));
        assert_eq!(world.send(nodes[0], "hello"), 1);
        assert_eq!(world.send(nodes[1], "hello yourself"), 1);
        world.run_for(secs(1));
        assert_eq!(world.lines(nodes[0]), ["hello yourself"]);
        assert_eq!(world.lines(nodes[1]), ["hello"]);
        world.run_for(secs(120));
        assert_eq!(world.links().into_values().collect::<Vec<_>>(), [1]);
    });
}

#[test]
fn two_nodes_find_each_other_over_ipv6() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        let computer = world.computer("2001:db8::1");
        world.server(computer, 8000);
        let nodes: Vec<ProgramId> = ["2001:db8:1::1", "2001:db8:2::1 203.0.113.9"]
            .into_iter()
            .map(|ip| {
                let computer = world.computer(ip);
                world.peer(computer, alone().rendezvous("[2001:db8::1]:8000"))
            })
            .collect();
        assert!(world.run_until(secs(30), |world| nodes.iter().all(|&id| world.count(id) == 1)));
    });
}

#[test]
fn a_node_that_starts_later_finds_who_is_there() {
    with_seeds(10, |seed| {
        let (mut world, ..) = with_server(seed);
        let early = nodes(&mut world, 2, |_| config());
        world.run_for(secs(3600));
        let computer = world.computer("192.0.2.7");
        let late = world.peer(computer, config());
        assert!(world.run_until(secs(5), |world| world.count(late) == 2));
        assert!(world.is_connected(&[early[0], early[1], late]));
    });
}

#[test]
fn ten_nodes_form_a_network_without_double_links() {
    with_seeds(10, |seed| {
        let (mut world, ..) = with_server(seed);
        let nodes = nodes(&mut world, 10, |_| config());
        let connected = world.run_until(secs(60), |world| world.is_connected(&nodes));
        assert!(connected, "{:?}", world.links());
        world.run_for(secs(300));
        let links = world.links();
        assert!(links.values().all(|&links| links == 1), "{links:?}");
        assert!(world.is_connected(&nodes));
        for &id in &nodes {
            let events = world.events(id);
            let inbound = |event: &&Event| matches!(event, Event::Connected { via: Via::Accepted, .. });
            assert!(events.iter().filter(inbound).count() <= 10);
        }
    });
}

#[test]
fn nodes_of_one_household_are_several_nodes() {
    with_seeds(5, |seed| {
        let (mut world, ..) = with_server(seed);
        let home = world.computer("192.0.2.7");
        let away = world.computer("192.0.2.8");
        let mut all: Vec<ProgramId> = [1, 2]
            .iter()
            .map(|&port| world.peer(home, Config::new().port(port).rendezvous(SERVER)))
            .collect();
        all.push(world.peer(away, config()));
        assert!(world.run_until(secs(60), |world| world.is_connected(&all)), "{:?}", world.links());
        let listening: Vec<u16> = all.iter().map(|&id| world.node(id).listening().unwrap().port()).collect();
        assert_eq!(listening, [1, 2, 50500]);
    });
}

#[test]
fn an_attempt_is_told_its_outcome() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        let computer = world.computer(&ip(0));
        let a = world.peer(computer, alone());
        world.computer(&ip(1));
        let refused = world.act(a, |node, now| node.connect(&addr(1).to_string(), now)).unwrap();
        let nowhere = world.act(a, |node, now| node.connect("192.0.2.99:1", now)).unwrap();
        let unknown = world.act(a, |node, now| node.connect("nobody.example:1", now)).unwrap();
        let family = world.act(a, |node, now| node.connect("[2001:db8::1]:1", now)).unwrap();
        world.run_for(secs(12));
        let outcome = |world: &mut World, wanted| {
            let of_attempt = |event| match event {
                Event::Failed { attempt, why } if attempt == wanted => Some(why),
                _ => None,
            };
            world.events(a).into_iter().find_map(of_attempt).expect("an outcome")
        };
        let unreachable = |addr: SocketAddr, kind| FailReason::Unreachable(vec![(addr, kind)]);
        assert_eq!(outcome(&mut world, refused), unreachable(addr(1), std::io::ErrorKind::ConnectionRefused));
        let silent = unreachable("192.0.2.99:1".parse().unwrap(), std::io::ErrorKind::TimedOut);
        assert_eq!(outcome(&mut world, nowhere), silent);
        assert_eq!(outcome(&mut world, unknown), FailReason::NoAddress("no such name".into()));
        let no_way = unreachable("[2001:db8::1]:1".parse().unwrap(), std::io::ErrorKind::NetworkUnreachable);
        assert_eq!(outcome(&mut world, family), no_way);
    });
}

#[test]
fn a_cancelled_attempt_leaves_nothing_behind() {
    with_seeds(10, |seed| {
        let mut world = World::new(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
        let [a, b] = computers.map(|computer| world.peer(computer, alone()));
        let attempt = world.act(a, |node, now| node.connect(&addr(1).to_string(), now)).unwrap();
        // Somewhere between the first packet and the last.
        world.run_for(millis(seed * 10));
        let cancelled = world.act(a, |node, now| node.cancel(attempt, now));
        world.run_for(secs(5));
        let events: Vec<_> = world
            .events(a)
            .into_iter()
            .filter(|event| !matches!(event, Event::Reach(_) | Event::Unl(_)))
            .collect();
        if cancelled {
            assert_eq!(events, [Event::Failed { attempt, why: FailReason::Cancelled }]);
            assert_eq!((world.count(a), world.count(b)), (0, 0));
            assert!(world.links().is_empty());
        } else {
            assert!(matches!(events[..], [Event::Connected { attempt: Some(_), .. }]), "{events:?}");
            assert_eq!((world.count(a), world.count(b)), (1, 1));
        }
        assert!(!world.act(a, |node, now| node.cancel(attempt, now)), "once is enough");
    });
}

#[test]
fn a_cancelled_look_up_is_not_dialled_when_its_answer_comes() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
        let [a, b] = computers.map(|computer| world.peer(computer, alone()));
        world.name("peer.example", Name::Answer(secs(2), Ok(vec![ip(1).parse().unwrap()])));
        let attempt = world.act(a, |node, now| node.connect("peer.example:50500", now)).unwrap();
        world.run_for(secs(1));
        assert!(world.act(a, |node, now| node.cancel(attempt, now)));
        world.run_for(secs(60));
        assert_eq!((world.count(a), world.count(b)), (0, 0));
    });
}

#[test]
fn a_node_that_is_told_to_dial_itself_says_so() {
    with_seeds(10, |seed| {
        // Bound, it knows its address beforehand; otherwise it meets itself.
        for bound in [true, false] {
            let mut world = World::new(seed);
            let computer = world.computer(&ip(0));
            let config = if bound { alone().bind(ip(0).parse().unwrap()) } else { alone() };
            let a = world.peer(computer, config);
            let attempt = world.act(a, |node, now| node.connect(&addr(0).to_string(), now)).unwrap();
            world.run_for(secs(10));
            let failed = Event::Failed { attempt, why: FailReason::Oneself };
            let events = world.events(a);
            assert!(events.contains(&failed), "bound: {bound}: {events:?}");
            assert_eq!(world.count(a), 0);
        }
    });
}

#[test]
fn a_static_peer_by_name_is_dialled_when_its_name_is_known_at_last() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
        world.peer(computers[1], alone());
        world.name("peer.example", Name::Answer(secs(1), Err("try again later".into())));
        let a = world.peer(computers[0], alone().peer("peer.example:50500"));
        world.run_for(secs(120));
        assert_eq!(world.count(a), 0);
        world.name("peer.example", Name::Answer(secs(1), Ok(vec![ip(1).parse().unwrap()])));
        assert!(world.run_until(secs(300), |world| world.count(a) == 1));
        world.run_for(secs(3600));
        assert_eq!(world.links().into_values().collect::<Vec<_>>(), [1]);
    });
}

#[test]
fn a_name_that_is_never_resolved_holds_up_nobody_else() {
    with_seeds(5, |seed| {
        let (mut world, ..) = with_server(seed);
        world.name("peer.example", Name::Never);
        let a = nodes(&mut world, 2, |n| {
            if n == 0 { config().peer("peer.example:50500").known_peers("known") } else { config() }
        })[0];
        assert!(world.run_until(secs(30), |world| world.count(a) == 1));
        world.run_for(secs(3600));
        assert_eq!(world.count(a), 1);
        // The file can not be saved either: there is one worker.
        world.stop(a);
        assert!(world.run_until(secs(8), |world| world.node(a).is_stopped()));
    });
}

#[test]
fn known_peers_bring_a_node_back_when_no_server_answers() {
    with_seeds(10, |seed| {
        let (mut world, server_computer, _) = with_server(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1)), world.computer(&ip(2))];
        let ours = || config().known_peers("known");
        let a = world.peer(computers[0], ours());
        world.peer(computers[1], config());
        world.peer(computers[2], config());
        assert!(world.run_until(secs(60), |world| world.count(a) == 2));
        world.run_for(secs(120));
        world.stop(a);
        assert!(world.run_until(secs(10), |world| world.node(a).is_stopped()));
        assert!(!world.around.files.is_empty(), "the file was written");
        world.crash(a);
        world.power_off(server_computer);
        world.run_for(secs(60));
        let again = world.peer(computers[0], ours());
        let back = world.run_until(secs(60), |world| world.count(again) >= 1);
        let events = world.events(again);
        assert!(back, "{:?} {events:?}", world.around.files);
    });
}

#[test]
fn a_file_of_known_peers_with_nonsense_is_no_obstacle() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
        world.peer(computers[1], alone());
        let text = format!("nonsense\n\u{0}\n999.1.1.1:1\n{}\n", addr(1));
        world.around.files.insert("known".into(), text);
        world.around.is_disk_full = true;
        let a = world.peer(computers[0], alone().known_peers("known"));
        assert!(world.run_until(secs(30), |world| world.count(a) == 1));
        world.run_for(secs(600));
        world.stop(a);
        assert!(world.run_until(secs(10), |world| world.node(a).is_stopped()));
    });
}

#[test]
fn a_second_link_that_the_application_made_and_closed_leaves_one() {
    with_seeds(10, |seed| {
        let (mut world, ..) = with_server(seed);
        let ids = nodes(&mut world, 2, |_| config());
        world.run_for(secs(5));
        for (dialler, dialled) in [(ids[0], addr(1)), (ids[1], addr(0))] {
            let before = world.cons(dialler);
            world.act(dialler, |node, now| node.connect(&dialled.to_string(), now)).unwrap();
            world.run_for(secs(5));
            let second = world.cons(dialler).into_iter().find(|con| !before.contains(con)).unwrap();
            world.act(dialler, |node, now| node.close(second, now));
            world.run_for(secs(7200));
            assert_eq!(world.links().into_values().collect::<Vec<_>>(), [1]);
        }
    });
}

#[test]
fn what_the_application_dials_is_not_dialled_by_the_network_as_well() {
    with_seeds(10, |seed| {
        let (mut world, ..) = with_server(seed);
        let ids = nodes(&mut world, 2, |_| config());
        // Before they hear of each other, and while they do.
        world.run_for(millis(seed % 10 * 10));
        world.act(ids[0], |node, now| node.connect(&addr(1).to_string(), now)).unwrap();
        world.run_for(secs(3600));
        assert_eq!(world.links().into_values().collect::<Vec<_>>(), [1]);
    });
}

#[test]
fn a_game_that_looks_sixty_times_a_second_finds_its_peers_too() {
    with_seeds(5, |seed| {
        let (mut world, ..) = with_server(seed);
        world.set_frame(Duration::from_micros(16_667));
        let ids = nodes(&mut world, 3, |_| config());
        assert!(world.run_until(secs(60), |world| ids.iter().all(|&id| world.count(id) == 2)));
        world.send(ids[0], "hello");
        world.run_for(secs(1));
        assert_eq!(world.lines(ids[1]), ["hello"]);
    });
}

#[test]
fn a_static_peer_that_the_application_dials_too_is_one_connection() {
    with_seeds(10, |seed| {
        let mut world = World::new(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
        let a = world.peer(computers[0], alone());
        let b = world.peer(computers[1], alone().peer(addr(0).to_string()));
        let attempt = world.act(b, |node, now| node.connect(&addr(0).to_string(), now)).unwrap();
        world.run_for(secs(60));
        assert_eq!((world.count(a), world.count(b)), (1, 1), "{:?}", world.events(b));
        let told =
            |event: &Event| matches!(event, Event::Connected { attempt: Some(id), .. } if *id == attempt);
        assert!(world.events(b).iter().any(told), "{:?}", world.events(b));
    });
}

#[test]
fn a_name_that_is_resolved_late_serves_the_next_attempt() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
        let there = vec![addr(0).ip()];
        world.name("slow.example", Name::Answer(secs(15), Ok(there.clone())));
        world.name("fast.example", Name::Answer(millis(10), Ok(there)));
        let a = world.peer(computers[0], alone());
        let b = world.peer(computers[1], alone().connect_timeout(secs(10)));
        let connect =
            |world: &mut World, text: &str| world.act(b, |node, now| node.connect(text, now)).unwrap();
        let connected = |world: &mut World, attempt| {
            world
                .events(b)
                .iter()
                .any(|event| matches!(event, Event::Connected { attempt: Some(id), .. } if *id == attempt))
        };
        let first = connect(&mut world, "slow.example:50500");
        world.run_for(secs(11));
        let failed = |event: &Event| matches!(event, Event::Failed { attempt, .. } if *attempt == first);
        assert!(world.events(b).iter().any(failed), "{:?}", world.events(b));
        // The answer to the first question comes four seconds later.
        let second = connect(&mut world, "slow.example:50500");
        world.run_for(secs(5));
        assert!(connected(&mut world, second), "{:?}", world.events(b));
        assert_eq!(world.count(a), 1);
        // Nothing more was asked: the worker, which does one thing after the other, is free.
        let third = connect(&mut world, "fast.example:50500");
        world.run_for(secs(1));
        assert!(connected(&mut world, third), "{:?}", world.events(b));
    });
}
