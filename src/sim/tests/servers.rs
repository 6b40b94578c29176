//! Rendezvous servers that are there, not there, slow, old, or not servers at all.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::event::ServerFault;
use crate::reach::ServerKind;
use crate::sim::network::EndId;
use crate::sim::script::{Behaviour, Input, Wire};

const OTHER: &str = "198.51.100.2:8000";

/// The waits that a node announced for its next tries of a server, with the reasons.
fn downs(world: &mut World, id: ProgramId, of: &str) -> Vec<(ServerFault, Duration)> {
    let down = |news| match news {
        RendezvousNews::Down { why, retry_in } => Some((why, retry_in)),
        _ => None,
    };
    news(world, id, of).into_iter().filter_map(down).collect()
}

/// A server as old as pyp2p's: it knows no extension, and answers only what it knows.
fn old_server() -> (Behaviour, Rc<RefCell<Vec<SocketAddr>>>) {
    let listed: Rc<RefCell<Vec<SocketAddr>>> = Rc::default();
    let nodes = Rc::clone(&listed);
    let answer = move |wire: &mut Wire<'_>, con: EndId, input: Input| {
        let Input::Line(line) = input else { return };
        let peer = wire.peer(con);
        let mut nodes = nodes.borrow_mut();
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["SOURCE", "TCP", ..] => wire.send(con, format!("REMOTE TCP {}\r\n", peer.port())),
            ["PASSIVE", "READY", port, _] => {
                nodes.retain(|node| node.ip() != peer.ip());
                nodes.push(SocketAddr::new(peer.ip(), port.parse().unwrap()));
            }
            ["BOOTSTRAP", _] => {
                let others = nodes.iter().filter(|node| node.ip() != peer.ip());
                let others: String = others.map(|node| format!("p:{}:{} ", node.ip(), node.port())).collect();
                let others = if others.is_empty() { "EMPTY".to_owned() } else { others };
                wire.send(con, format!("NODES {others}\r\n"));
            }
            ["CLEAR"] => nodes.retain(|node| node.ip() != peer.ip()),
            ["QUIT"] => wire.close(con),
            _ => {}
        }
    };
    (Box::new(answer), listed)
}

#[test]
fn a_dead_server_among_two_is_skipped_and_retried_with_growing_pauses() {
    with_seeds(10, |seed| {
        let (mut world, ..) = with_server(seed);
        let dead = world.computer("198.51.100.2");
        // Even: nobody listens. Odd: nobody is there.
        if seed % 2 == 1 {
            world.power_off(dead);
        }
        let nodes = nodes(&mut world, 2, |_| alone().rendezvous(OTHER).rendezvous(SERVER));
        assert!(world.run_until(secs(30), |world| world.count(nodes[0]) == 1));
        world.run_for(secs(3600));
        let waits: Vec<Duration> = downs(&mut world, nodes[0], OTHER)
            .into_iter()
            .map(|(why, wait)| {
                assert!(matches!(why, ServerFault::Unreachable | ServerFault::Slow), "{why:?}");
                wait
            })
            .collect();
        assert!((10..40).contains(&waits.len()), "{waits:?}");
        assert!(waits[0] < secs(2) && waits[waits.len() - 1] > secs(200), "{waits:?}");
        if seed % 2 == 1 {
            world.power_on(dead);
        }
        world.server(dead, 8000);
        let up = |news| matches!(news, RendezvousNews::Advertised);
        assert!(world.run_until(secs(420), |world| news(world, nodes[0], OTHER).into_iter().any(up)));
    });
}

#[test]
fn nodes_register_again_when_their_server_was_restarted() {
    with_seeds(10, |seed| {
        let (mut world, computer, mut server) = with_server(seed);
        let nodes = nodes(&mut world, 4, |_| config());
        assert!(world.run_until(secs(30), |world| world.is_connected(&nodes)));
        for outage in [1, 60, 1800] {
            // A crash is noticed at once; a loss of power only by a sign of life that is not answered.
            if outage == 60 {
                world.power_off(computer);
                world.power_on(computer);
            } else {
                world.crash(server);
            }
            world.run_for(secs(outage));
            server = world.server(computer, 8000);
            let back = world.run_until(secs(420), |world| world.server_node(server).nodes() == 4);
            assert!(back, "after {outage} s");
            assert!(world.is_connected(&nodes), "links need no server");
        }
        for &id in &nodes {
            assert_eq!(close_reasons(&mut world, id), []);
        }
    });
}

#[test]
fn a_server_that_says_nothing_is_given_up_and_tried_again() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        let computer = world.computer("198.51.100.1");
        let silent = world.script(computer, Some(8000), Box::new(|_, _, _| {}));
        let id = nodes(&mut world, 1, |_| config())[0];
        world.run_for(secs(600));
        let downs = downs(&mut world, id, SERVER);
        assert!(downs.len() > 3 && downs.iter().all(|&(why, _)| why == ServerFault::Slow), "{downs:?}");
        let opened = world.heard(silent).iter().filter(|(_, input)| *input == Input::Opened).count();
        assert!(opened >= downs.len() && opened <= downs.len() + 1);
        assert!(world.is_running(id));
    });
}

#[test]
fn a_server_that_answers_late_but_in_time_is_a_server() {
    with_seeds(5, |seed| {
        let (mut world, computer, server) = with_server(seed);
        world.computer_mut(computer).delay = secs(2);
        let id = nodes(&mut world, 1, |_| config())[0];
        assert!(world.run_until(secs(30), |world| world.server_node(server).nodes() == 1));
        world.run_for(secs(600));
        assert_eq!(downs(&mut world, id, SERVER), []);
    });
}

#[test]
fn what_talks_nonsense_is_no_server() {
    let web: fn(&mut Wire<'_>, EndId, Input) = |wire, con, input| {
        if matches!(input, Input::Line(_)) {
            wire.send(con, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            wire.close(con);
        }
    };
    let chatter: fn(&mut Wire<'_>, EndId, Input) = |wire, con, input| match input {
        Input::Opened => wire.send(con, "blah blah blah\n".repeat(5000)),
        Input::Line(_) => wire.send(con, "NODES p:1.2.3.4:99999999 \u{fffd}\n"),
        Input::Ended => {}
    };
    let endless: fn(&mut Wire<'_>, EndId, Input) = |wire, con, input| {
        if input == Input::Opened {
            wire.send(con, "x".repeat(3 << 20));
        }
    };
    let cases =
        [(web, ServerFault::Nonsense), (chatter, ServerFault::Nonsense), (endless, ServerFault::Slow)];
    with_seeds(3, |seed| {
        for (case, (behaviour, fault)) in cases.into_iter().enumerate() {
            let mut world = World::new(seed);
            let computer = world.computer("198.51.100.1");
            world.script(computer, Some(8000), Box::new(behaviour));
            let good = world.computer("198.51.100.2");
            world.server(good, 8000);
            let nodes = nodes(&mut world, 2, |_| config().rendezvous(OTHER));
            assert!(world.run_until(secs(30), |world| world.count(nodes[0]) == 1), "case {case}");
            world.run_for(secs(600));
            let downs = downs(&mut world, nodes[0], SERVER);
            assert!((4..20).contains(&downs.len()), "case {case}: {downs:?}");
            // A line over the limit ends the connection by itself, which may come before the deadline.
            let fits = |&(why, _): &(ServerFault, Duration)| why == fault || case == 2;
            assert!(downs.iter().all(fits), "case {case}: {downs:?}");
        }
    });
}

#[test]
fn a_server_that_hangs_up_is_down_and_tried_again() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        let computer = world.computer("198.51.100.1");
        let hangup: Behaviour = Box::new(|wire, con, input| {
            if input == Input::Opened {
                wire.close(con);
            }
        });
        world.script(computer, Some(8000), hangup);
        let id = nodes(&mut world, 1, |_| config())[0];
        world.run_for(secs(600));
        let downs = downs(&mut world, id, SERVER);
        assert!((5..20).contains(&downs.len()), "{downs:?}");
        assert!(downs.iter().all(|&(why, _)| why == ServerFault::HungUp), "{downs:?}");
    });
}

#[test]
fn nodes_find_each_other_through_an_old_server() {
    with_seeds(10, |seed| {
        let mut world = World::new(seed);
        let computer = world.computer("198.51.100.1");
        let (behaviour, listed) = old_server();
        world.script(computer, Some(8000), behaviour);
        let nodes = nodes(&mut world, 5, |_| config());
        assert!(world.run_until(secs(60), |world| world.is_connected(&nodes)), "{:?}", world.links());
        assert_eq!(listed.borrow().len(), 5);
        let up = RendezvousNews::Up { kind: ServerKind::Pyp2p, seen: None };
        assert!(news(&mut world, nodes[0], SERVER).contains(&up));
        // Half a day later it is registered anew.
        world.run_for(secs(3600));
        listed.borrow_mut().clear();
        world.run_for(secs(12 * 3600));
        assert_eq!(listed.borrow().len(), 5);
    });
}

#[test]
fn who_stops_is_not_listed_any_more() {
    with_seeds(10, |seed| {
        let (mut world, _, server) = with_server(seed);
        let nodes = nodes(&mut world, 3, |_| config());
        assert!(world.run_until(secs(30), |world| world.server_node(server).nodes() == 3));
        // Sometimes after everything has settled, sometimes in the middle of it.
        world.run_for(secs(seed % 4 * 10));
        world.stop(nodes[0]);
        assert!(world.run_until(secs(5), |world| world.node(nodes[0]).is_stopped()));
        assert_eq!(world.server_node(server).nodes(), 2);
        assert_eq!(world.events(nodes[0]).last(), Some(&Event::Stopped));
        world.run_for(secs(60));
        assert_eq!(world.count(nodes[0]), 0);
        assert!(world.links().keys().all(|&(a, b)| a != nodes[0] && b != nodes[0]));
        assert_eq!(world.server_node(server).clients(), 2);
    });
}

#[test]
fn who_stops_is_cleared_at_an_old_server() {
    with_seeds(10, |seed| {
        let mut world = World::new(seed);
        let computer = world.computer("198.51.100.1");
        let (behaviour, listed) = old_server();
        world.script(computer, Some(8000), behaviour);
        let id = nodes(&mut world, 1, |_| config())[0];
        assert!(world.run_until(secs(30), |_| listed.borrow().len() == 1));
        // An old server is asked again and again: the stop comes before, in, and after such a conversation.
        world.run_for(secs(8) + millis(seed * 400));
        world.stop(id);
        assert!(world.run_until(secs(12), |world| world.node(id).is_stopped()));
        assert_eq!(*listed.borrow(), []);
    });
}

#[test]
fn a_stop_during_the_dial_of_an_old_server_still_clears_the_registration() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let computer = world.computer("198.51.100.1");
        let (behaviour, listed) = old_server();
        let server = world.script(computer, Some(8000), behaviour);
        let id = nodes(&mut world, 1, |_| config())[0];
        world.run_for(secs(5));
        assert_eq!(listed.borrow().len(), 1);
        // Far away, so that the next dial is seen under way.
        world.computer_mut(computer).delay = millis(500);
        world.act(id, |node, now| node.bootstrap(now));
        world.run_for(millis(100));
        let before = world.heard(server).len();
        world.stop(id);
        assert!(world.run_until(secs(8), |world| world.node(id).is_stopped()));
        assert_eq!(*listed.borrow(), [], "{:?}", &world.heard(server)[before..]);
    });
}

#[test]
fn a_stop_takes_bounded_time_whatever_the_server_does() {
    with_seeds(6, |seed| {
        let (mut world, computer, server) = with_server(seed);
        let nodes = nodes(&mut world, 2, |_| config().rendezvous(OTHER));
        world.run_for(secs(1 + seed));
        match seed % 3 {
            0 => world.power_off(computer),
            1 => world.crash(server),
            _ => world.network.set_side(computer, 1),
        }
        world.run_for(secs(seed));
        world.stop(nodes[0]);
        assert!(world.run_until(secs(8), |world| world.node(nodes[0]).is_stopped()));
        assert_eq!(world.events(nodes[0]).last(), Some(&Event::Stopped));
        world.run_for(secs(60));
        let turns = world.turns(nodes[0]);
        world.run_for(secs(600));
        assert_eq!(world.turns(nodes[0]), turns, "a stopped node does nothing");
    });
}

#[test]
fn a_node_that_vanishes_is_soon_told_to_nobody() {
    with_seeds(5, |seed| {
        let (mut world, _, server) = with_server(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
        let ids = computers.map(|on| world.peer(on, config()));
        assert!(world.run_until(secs(30), |world| world.server_node(server).nodes() == 2));
        world.power_off(computers[0]);
        assert!(world.run_until(secs(360), |world| world.server_node(server).nodes() == 1));
        assert_eq!(world.server_node(server).clients(), 1);
        assert_eq!(downs(&mut world, ids[1], SERVER), []);
    });
}

#[test]
fn a_server_full_of_nodes_says_so_and_is_asked_again() {
    with_seeds(3, |seed| {
        let (mut world, _, server) = with_server(seed);
        // More than one household may list.
        let home = world.computer("192.0.2.7");
        let ids: Vec<ProgramId> = (1..=34)
            .map(|port| world.peer(home, Config::new().port(port).rendezvous(SERVER).max_outbound(0)))
            .collect();
        world.run_for(secs(60));
        assert_eq!(world.server_node(server).nodes(), 32);
        let refused = |world: &mut World, id| news(world, id, SERVER).contains(&RendezvousNews::Refused);
        let out: Vec<ProgramId> = ids.iter().copied().filter(|&id| refused(&mut world, id)).collect();
        assert_eq!(out.len(), 2);
        let inside = ids.iter().copied().find(|id| !out.contains(id)).unwrap();
        world.stop(inside);
        assert!(world.run_until(secs(3600), |world| world.server_node(server).nodes() == 32));
        assert_eq!(downs(&mut world, out[0], SERVER), []);
    });
}

#[test]
fn a_server_can_not_keep_a_node_from_a_peer_that_the_user_asked_for() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        let computer = world.computer("198.51.100.1");
        let peer = world.computer(&ip(1));
        // It says that the node is seen at the address of its static peer, whose port is the same as the node's.
        let liar: Behaviour = Box::new(|wire, con, input| {
            let Input::Line(line) = input else { return };
            match line.split(' ').next() {
                Some("HELLO") => wire.send(con, "HELLO p2poll 1 peers seen ping listed\r\n"),
                Some("SOURCE") => wire.send(con, "REMOTE TCP 40000\r\n"),
                Some("WHOAMI") => wire.send(con, format!("SEEN {} 40000\r\n", ip(1))),
                _ => {}
            }
        });
        world.script(computer, Some(8000), liar);
        let id = nodes(&mut world, 1, |_| config().peer(addr(1).to_string()))[0];
        world.run_for(secs(5));
        let lied = |news: &RendezvousNews| matches!(news, RendezvousNews::Up { seen: Some(seen), .. } if seen.ip() == addr(1).ip());
        assert!(news(&mut world, id, SERVER).iter().any(lied), "{:?}", world.events(id));
        assert_eq!(world.count(id), 0);
        // Only now the peer comes up.
        let other = world.peer(peer, alone());
        assert!(world.run_until(secs(120), |world| world.count(id) == 1 && world.count(other) == 1));
    });
}

/// Whatever is at the port, the same words come at the same time; only who knows the nonce makes a difference.
#[test]
fn a_server_that_tries_a_port_tells_nothing_else_of_it() {
    const NONCE: &str = "0123456789abcdef0123456789abcdef";
    with_seeds(5, |seed| {
        let (mut world, _, server) = with_server(seed);
        let home = world.computer(&ip(1));
        let asker = world.script(home, None, Box::new(|_, _, _| {}));
        let says = |text: &'static str| -> Behaviour {
            Box::new(move |wire, con, input| {
                if input == Input::Line("~probe".into()) {
                    wire.send(con, text);
                }
            })
        };
        let endless: Behaviour = Box::new(|wire, con, input| {
            if input == Input::Opened {
                wire.send(con, "x".repeat(1 << 20));
            }
        });
        let services = [
            world.script(home, Some(1), says("")),
            world.script(home, Some(2), says("220 mail.example.org ESMTP\r\n")),
            world.script(home, Some(3), endless),
            world.script(home, Some(4), says("~probe 0123456789abcdef0123456789abcdef\r\n")),
        ];
        let con = world.wire(asker, |wire| wire.dial(SERVER.parse().unwrap()));
        world.run_for(secs(1));
        let mut waits = Vec::new();
        // Nobody is at port 5.
        for port in 1..=5 {
            world.wire(asker, |wire| wire.send(con, format!("PROBE {port} {NONCE}\r\n")));
            let (asked, before) = (world.now(), world.heard(asker).len());
            while world.heard(asker).len() == before {
                world.run_for(millis(1));
                assert!(world.now() - asked < secs(5));
            }
            waits.push((world.now() - asked).as_millis());
            let verdict = if port == 4 { "YES" } else { "NO" };
            let told = Input::Line(format!("PROBED {port} {verdict}"));
            assert_eq!(world.heard(asker).last(), Some(&(con, told)));
            world.run_for(secs(1));
        }
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(*least >= 500 && most - least <= 2, "{waits:?}");
        for service in services {
            let lines = world.heard(service).iter().filter(|(_, input)| matches!(input, Input::Line(_)));
            assert!(
                lines.clone().count() <= 1
                    && lines.clone().all(|(_, line)| *line == Input::Line("~probe".into()))
            );
            assert_eq!(world.heard(service).last().map(|(_, input)| input), Some(&Input::Ended));
        }
        assert_eq!(world.server_node(server).clients(), 1);
    });
}
