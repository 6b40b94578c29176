//! A relayed link that moves to a direct way while both sides talk: no line is lost, doubled or out of order.

use std::ops::Range;

use super::*;
use crate::error::SendError;
use crate::sim::world::at;
use crate::time::Instant;

/// Two that talk without a pause.
struct Talk {
    town: Town,
    nodes: [ProgramId; 2],
    cons: [ConId; 2],
    /// How many lines each has said.
    said: [usize; 2],
}

/// Reads so many lines in each turn at most.
fn slow_reader(lines: usize) -> App {
    Box::new(move |turn| {
        for con in turn.connections() {
            for _ in 0..lines {
                if turn.next_line(con).is_none() {
                    break;
                }
            }
        }
    })
}

/// Reads a line twice a second.
fn sluggish_reader() -> App {
    let mut next = Instant::ZERO;
    Box::new(move |turn| {
        if turn.now >= next {
            next = turn.now + millis(500);
            for con in turn.connections() {
                turn.next_line(con);
            }
        }
    })
}

impl Talk {
    /// Two that are relayed, though there are better ways, and look for one before long.
    fn relayed(seed: u64, homes: [Home; 2], config: RendezvousConfig) -> Self {
        let mut town = Town::with(seed, || config.clone());
        let random = |world: &mut World, bound| world.network.random.below(bound);
        let nodes = [1u8, 2].map(|n| {
            let (_, computer) = town.house(n, homes[usize::from(n) - 1]);
            let thin = random(&mut town.world, 3) > 0;
            let bandwidth = 40_000 + random(&mut town.world, 400_000) as u64;
            let window = 2_000 + random(&mut town.world, 60_000);
            let lines = 1 + random(&mut town.world, 20);
            let place = town.world.computer_mut(computer);
            place.bandwidth = thin.then_some(bandwidth);
            place.window = window;
            let config = direct(n).upgrade_every(secs(4)).max_queued(200_000).max_unread(20_000);
            town.world.peer_with(computer, config, slow_reader(lines))
        });
        town.settle(&nodes);
        let unl = town.unl(nodes[1]);
        let link = town.link(nodes[0], only(&unl, Rung::Relay));
        assert_eq!(link.via, Via::Relayed);
        town.world.run_for(secs(1));
        let cons = [(0, 2), (1, 1)].map(|(at, other)| town.con_of(nodes[at], id(other)).expect("a link"));
        Self { town, nodes, cons, said: [0; 2] }
    }

    /// Both say something now and then; what does not fit is said later.
    fn talk_for(&mut self, span: Duration) {
        let until = self.town.world.now() + span;
        while self.town.world.now() < until {
            for side in [0, 1] {
                let lines = self.town.world.network.random.below(6);
                self.say(side, lines);
            }
            let pause = 1 + self.town.world.network.random.below(20) as u64;
            self.town.world.run_for(millis(pause));
        }
    }

    fn say(&mut self, side: usize, lines: usize) {
        let (node, con) = (self.nodes[side], self.cons[side]);
        for _ in 0..lines {
            let len = self.town.world.network.random.below(400);
            // Some look like the protocol's own.
            let mark = if len.is_multiple_of(7) { "~moved" } else { "" };
            let line = format!("{mark}{} {}", self.said[side], "x".repeat(len));
            match self.town.world.act(node, |node, _| node.send_line(con, line.as_bytes())) {
                Ok(_) => self.said[side] += 1,
                Err(SendError::Full | SendError::Closed) => return,
                Err(why) => panic!("{why}"),
            }
        }
    }

    /// What a side has heard is what the other has said, from the first line on and without a gap; how many.
    #[track_caller]
    fn heard(&mut self, side: usize) -> usize {
        let lines = self.town.world.lines(self.nodes[side]);
        for (n, line) in lines.iter().enumerate() {
            let number = line.trim_start_matches("~moved").split(' ').next();
            assert_eq!(number, Some(n.to_string().as_str()), "line {n} of side {side}");
        }
        lines.len()
    }

    fn upgrades(&mut self, side: usize) -> Vec<Via> {
        let via = |event| if let Event::Upgraded { via, .. } = event { Some(via) } else { None };
        self.town.world.events(self.nodes[side]).into_iter().filter_map(via).collect()
    }

    fn is_moved(&mut self) -> bool {
        [0, 1].into_iter().all(|side| self.upgrades(side).len() == 1)
    }

    /// One side says as much as it may until the link has moved.
    #[track_caller]
    fn move_while_talking(&mut self, side: usize) {
        for _ in 0..4000 {
            self.say(side, 2000);
            self.town.world.run_for(millis(10));
            if self.is_moved() {
                return;
            }
        }
        panic!("it has not moved");
    }

    /// All that was said arrives.
    #[track_caller]
    fn assert_all_arrives(&mut self) {
        let said = self.said;
        let (nodes, limit) = (self.nodes, secs(120));
        let all = self.town.world.run_until(limit, |world| {
            world.log(nodes[0]).lines.len() == said[1] && world.log(nodes[1]).lines.len() == said[0]
        });
        let heard = [self.heard(0), self.heard(1)];
        assert!(all, "said {said:?}, heard {heard:?}");
    }
}

/// The ways to which a relayed link can move, with what each side calls it.
const MOVES: [([Home; 2], [Via; 2]); 4] = [
    ([Home::Public, Home::Public], [Via::Direct, Via::Accepted]),
    ([PRESERVING, Home::Public], [Via::Direct, Via::Accepted]),
    ([Home::Public, PRESERVING], [Via::Reverse, Via::Direct]),
    ([PRESERVING, Home::Behind(Nat::Reuse, Filter::Reject)], [Via::Punched, Via::Punched]),
];

#[test]
fn a_link_moves_while_both_talk_and_no_line_is_lost() {
    with_seeds(50, |seed| {
        let (homes, vias) = MOVES[seed as usize % 4];
        // A slow relay has much under way when the move begins.
        let rate = if seed % 3 == 0 { 20_000 } else { 1 << 20 };
        let mut talk = Talk::relayed(seed, homes, RendezvousConfig::new().relay_rate(rate));
        for _ in 0..40 {
            talk.talk_for(millis(500));
            if talk.is_moved() {
                break;
            }
        }
        for side in [0, 1] {
            let upgrades = talk.upgrades(side);
            assert_eq!(upgrades.len(), 1, "{homes:?}: {upgrades:?}");
        }
        let now: Vec<Via> = [0, 1].map(|side| talk.upgrades(side)[0]).to_vec();
        assert!(now == vias || homes[0] == Home::Public, "{now:?}");
        talk.talk_for(secs(3));
        talk.assert_all_arrives();
        talk.town.world.run_for(secs(8));
        for side in [0, 1] {
            let (node, con) = (talk.nodes[side], talk.cons[side]);
            assert_eq!(close_reasons(&mut talk.town.world, node), []);
            assert_eq!(talk.town.world.cons(node), [con], "it keeps its id");
            assert_eq!(talk.town.world.node(node).relay_limits(con), None);
            talk.town.assert_nothing_left(node);
        }
        assert_eq!(
            talk.town
                .servers
                .clone()
                .iter()
                .map(|&id| talk.town.world.server_node(id).relays())
                .sum::<usize>(),
            0
        );
        // It goes on as if nothing had been.
        talk.talk_for(secs(1));
        talk.assert_all_arrives();
    });
}

/// Both routers are what nobody can punch through, until a port is opened by hand.
#[test]
fn a_link_moves_once_a_port_is_opened() {
    with_seeds(10, |seed| {
        let mut town = Town::new(seed);
        let (router, computer) = town.house(1, RANDOM);
        let config = |n| direct(n).upgrade_every(secs(10));
        let nodes = [town.world.peer(computer, config(1)), {
            let (_, computer) = town.house(2, RANDOM);
            town.world.peer(computer, config(2))
        }];
        town.settle(&nodes);
        let unl = town.unl(nodes[1]);
        assert_eq!(town.link(nodes[0], &unl).via, Via::Relayed);
        town.world.run_for(secs(30));
        town.world.forward(router.expect("a router"), 50500, computer, 50500);
        let upgraded = |event: &Event| matches!(event, Event::Upgraded { .. });
        // It has to notice that it can be reached, and the pauses double.
        town.world.act(nodes[0], |node, now| node.refresh_reach(now));
        let moved = (0..30).any(|_| {
            town.world.send(nodes[0], "still here");
            town.world.run_for(secs(100));
            nodes.iter().all(|&id| town.world.events(id).iter().any(upgraded))
        });
        assert!(moved, "{:?}", town.world.events(nodes[0]));
        town.assert_talk(nodes, [id(1), id(2)]);
    });
}

/// Whatever the moment: either all arrives, or the connection ends with a reason, and there is no gap.
#[test]
fn a_relay_that_dies_during_the_move_loses_nothing_in_silence() {
    with_seeds(60, |seed| {
        let (homes, _) = MOVES[seed as usize % 4];
        let mut talk = Talk::relayed(seed, homes, RendezvousConfig::new().relay_rate(30_000));
        // Until one of the two has moved, and a little longer.
        for _ in 0..2000 {
            talk.talk_for(millis(10));
            if !talk.upgrades(0).is_empty() || !talk.upgrades(1).is_empty() {
                break;
            }
        }
        let longer = millis(talk.town.world.network.random.below(400) as u64);
        talk.talk_for(longer);
        for server in talk.town.servers.clone() {
            talk.town.world.crash(server);
        }
        talk.talk_for(secs(2));
        talk.town.world.run_for(secs(200));
        let heard = [talk.heard(0), talk.heard(1)];
        for side in [0, 1] {
            let closed = close_reasons(&mut talk.town.world, talk.nodes[side]);
            if closed.is_empty() {
                assert_eq!(
                    heard[side],
                    talk.said[1 - side],
                    "side {side} missed something, and was not told"
                );
            }
            assert!(closed.len() <= 1, "{closed:?}");
        }
        let open = [0, 1].map(|side| talk.town.world.count(talk.nodes[side]));
        assert_eq!(open[0], open[1], "both or none");
    });
}

/// The last line of the old way never comes: whoever waits for it neither spins nor takes in what it can not show.
#[test]
fn who_waits_for_the_end_of_the_old_way_waits_quietly() {
    with_seeds(10, |seed| {
        let (homes, _) = MOVES[seed as usize % 4];
        let mut talk = Talk::relayed(seed, homes, RendezvousConfig::new().relay_rate(10_000));
        for _ in 0..2000 {
            talk.talk_for(millis(10));
            if talk.is_moved() {
                break;
            }
        }
        for computer in talk.town.computers.clone() {
            talk.town.world.network.set_side(computer, 1);
        }
        talk.talk_for(secs(1));
        talk.town.world.run_for(secs(20));
        let before = talk.nodes.map(|id| talk.town.world.turns(id));
        talk.town.world.run_for(secs(60));
        for (id, before) in talk.nodes.into_iter().zip(before) {
            let turns = talk.town.world.turns(id) - before;
            assert!(turns < 400, "{turns} turns in a minute");
        }
        talk.town.world.run_for(secs(200));
        for side in [0, 1] {
            let closed = close_reasons(&mut talk.town.world, talk.nodes[side]);
            let heard = talk.heard(side);
            assert!(!closed.is_empty() || heard == talk.said[1 - side]);
        }
    });
}

#[test]
fn where_a_direct_way_is_never_found_the_link_stays_as_it_is() {
    with_seeds(5, |seed| {
        let mut talk = Talk::relayed(seed, [RANDOM, RANDOM], RendezvousConfig::new());
        talk.talk_for(secs(10));
        talk.town.world.run_for(secs(300));
        talk.talk_for(secs(1));
        talk.assert_all_arrives();
        assert!(talk.upgrades(0).is_empty() && talk.upgrades(1).is_empty());
    });
}

/// What is said before a link moves may wait in a queue for longer than a close would give it.
#[test]
fn a_link_with_much_to_say_moves_past_its_queue_and_outlives_it() {
    with_seeds(8, |seed| {
        let (homes, _) = MOVES[seed as usize % 4];
        let mut talk = Talk::relayed(seed, homes, RendezvousConfig::new().relay_rate(10_000));
        // One side alone: the other says at once that it has nothing more on the old way.
        let side = (seed / 4) as usize % 2;
        talk.move_while_talking(side);
        let queued = talk.town.world.node(talk.nodes[side]).queued(talk.cons[side]);
        assert!(queued > 100_000, "{queued} are queued: who has more to say would think that all is said");
        talk.say(side, 5);
        talk.assert_all_arrives();
        talk.town.world.run_for(secs(8));
        for node in talk.nodes {
            assert_eq!(close_reasons(&mut talk.town.world, node), []);
            talk.town.assert_nothing_left(node);
        }
    });
}

#[test]
fn who_closes_a_link_that_has_just_moved_has_said_what_was_queued() {
    with_seeds(12, |seed| {
        let (homes, _) = MOVES[seed as usize % 4];
        let mut talk = Talk::relayed(seed, homes, RendezvousConfig::new().relay_rate(20_000));
        talk.town.world.network.resets_destroy = true;
        for _ in 0..4000 {
            for side in [0, 1] {
                let queued = talk.town.world.node(talk.nodes[side]).queued(talk.cons[side]);
                if queued < [40_000, 30_000][side] {
                    talk.say(side, 10);
                }
            }
            talk.town.world.run_for(millis(10));
            if talk.is_moved() {
                break;
            }
        }
        assert!(talk.is_moved());
        let (node, con) = (talk.nodes[0], talk.cons[0]);
        talk.town.world.act(node, |node, now| node.close(con, now));
        // The other side still reads, and talks, on and on.
        for _ in 0..400 {
            talk.say(1, 1);
            talk.town.world.run_for(millis(10));
        }
        talk.town.world.run_for(secs(30));
        assert_eq!(talk.heard(1), talk.said[0], "a line was lost");
        for node in talk.nodes {
            assert_eq!(close_reasons(&mut talk.town.world, node).len(), 1);
            talk.town.assert_nothing_left(node);
        }
    });
}

/// What does not go out on the old way in the time that a close gives is not passed over in silence.
#[test]
fn who_closes_a_link_with_too_much_on_its_old_way_is_told() {
    with_seeds(8, |seed| {
        let (homes, _) = MOVES[seed as usize % 4];
        let mut talk = Talk::relayed(seed, homes, RendezvousConfig::new().relay_rate(10_000));
        let side = (seed / 4) as usize % 2;
        talk.move_while_talking(side);
        let (node, con) = (talk.nodes[side], talk.cons[side]);
        talk.town.world.act(node, |node, now| node.close(con, now));
        if seed % 3 == 1 {
            // That the other one closes, too, changes nothing.
            let (other, con) = (talk.nodes[1 - side], talk.cons[1 - side]);
            talk.town.world.act(other, |node, now| node.close(con, now));
        }
        talk.town.world.run_for(secs(30));
        assert!(talk.heard(1 - side) < talk.said[side]);
        assert_eq!(close_reasons(&mut talk.town.world, node), [CloseReason::LocalTimeout]);
        for node in talk.nodes {
            talk.town.assert_nothing_left(node);
        }
    });
}

/// The new way has ended long before the application comes to it: what can not be read yet is not given up.
#[test]
fn who_reads_slowly_reads_all_of_a_link_that_moved_and_was_closed() {
    with_seeds(4, |seed| {
        let mut town = Town::new(seed);
        let nodes = [1u8, 2].map(|n| {
            let (_, computer) = town.house(n, Home::Public);
            let app = if n == 2 { sluggish_reader() } else { crate::sim::world::reader() };
            town.world.peer_with(computer, direct(n).upgrade_every(secs(4)), app)
        });
        town.settle(&nodes);
        let unl = town.unl(nodes[1]);
        town.link(nodes[0], only(&unl, Rung::Relay));
        town.world.run_for(secs(1));
        let con = town.con_of(nodes[0], id(2)).expect("a link");
        let say = |town: &mut Town, numbers: Range<usize>| {
            for n in numbers {
                let line = n.to_string();
                town.world.act(nodes[0], |node, _| node.send_line(con, line.as_bytes())).expect("room");
            }
        };
        say(&mut town, 0..170);
        let moved = |event: &Event| matches!(event, Event::Upgraded { .. });
        assert!(town.world.run_until(secs(30), |world| world.events(nodes[0]).iter().any(moved)));
        say(&mut town, 170..200);
        town.world.act(nodes[0], |node, now| node.close(con, now));
        town.world.run_for(secs(150));
        let expected: Vec<String> = (0..200).map(|n| n.to_string()).collect();
        assert_eq!(town.world.lines(nodes[1]), expected);
        for node in nodes {
            town.assert_nothing_left(node);
        }
    });
}

/// A temporary connection on which all that goes through still goes the old way.
#[test]
fn what_goes_through_on_the_old_way_keeps_a_temporary_connection() {
    with_seeds(8, |seed| {
        let (homes, _) = MOVES[seed as usize % 4];
        let mut talk = Talk::relayed(seed, homes, RendezvousConfig::new().relay_rate(10_000));
        let side = (seed / 4) as usize % 2;
        talk.move_while_talking(side);
        let (node, con) = (talk.nodes[side], talk.cons[side]);
        // A relay that is slow takes what it takes in large pieces.
        talk.town.world.act(node, |node, now| node.close_when_idle(con, Some(secs(10)), now));
        let mut last_sent = talk.town.world.now();
        let closed = talk.town.world.run_until(secs(100), |world| {
            if world.node(node).queued(con) > 0 {
                last_sent = world.now();
            }
            !world.node(node).is_shown(con)
        });
        let idle = talk.town.world.now() - last_sent;
        assert!(closed && idle >= secs(10), "closed {idle:?} after it had sent something");
        talk.town.world.run_for(secs(20));
        assert_eq!(close_reasons(&mut talk.town.world, node), [CloseReason::Idle]);
    });
}

/// One side's queue is full to the last byte when the link moves.
#[test]
fn a_link_whose_queue_is_full_moves_all_the_same() {
    with_seeds(8, |seed| {
        let (homes, _) = MOVES[seed as usize % 4];
        let mut town = Town::new(seed);
        let config = |n| direct(n).upgrade_every(secs(8)).max_queued(100_000).max_unread(2_000);
        let reads = std::rc::Rc::new(std::cell::Cell::new(false));
        let nodes = [1u8, 2].map(|n| {
            let (_, computer) = town.house(n, homes[usize::from(n) - 1]);
            town.world.computer_mut(computer).window = 4_000;
            let (reads, mut reader) = (reads.clone(), reader());
            town.world.peer_with(
                computer,
                config(n),
                Box::new(move |turn| {
                    if reads.get() {
                        reader(turn);
                    }
                }),
            )
        });
        town.settle(&nodes);
        let unl = town.unl(nodes[1]);
        town.link(nodes[0], only(&unl, Rung::Relay));
        town.world.run_for(secs(1));
        let upgraded = |event: &Event| matches!(event, Event::Upgraded { .. });
        let from = nodes[(seed / 4) as usize % 2];
        let mut said = Vec::new();
        for _ in 0..4000 {
            let con = town.world.cons(from)[0];
            let room = 100_000 - town.world.node(from).queued(con).min(100_000);
            if room > 12 && town.world.events(from).iter().all(|event| !upgraded(event)) {
                let line = format!("{:09}{}", said.len(), "x".repeat((room - 11).min(10_000)));
                town.world.act(from, |node, _| node.send_line(con, line.as_bytes())).expect("room");
                said.push(line);
                continue;
            }
            town.world.run_for(millis(10));
            if nodes.iter().any(|&id| town.world.events(id).iter().any(upgraded)) {
                break;
            }
        }
        town.world.run_for(secs(2));
        reads.set(true);
        town.world.run_for(secs(20));
        let to = nodes[usize::from(from == nodes[0])];
        for id in nodes {
            assert_eq!(close_reasons(&mut town.world, id), []);
            assert!(town.world.events(id).iter().any(upgraded), "it did not move");
        }
        assert!(town.world.lines(to) == said, "a line was lost");
    });
}

/// Such a node shows whoever comes at once; what turns out to be a better way for a link is none of its connections.
#[test]
fn a_net_that_shows_every_connection_moves_its_link_and_keeps_count() {
    with_seeds(8, |seed| {
        let mut town = Town::new(seed);
        let plain = |n| {
            let config = Config::new().port(50500).rendezvous(SERVER).rendezvous(SECOND).key(key(n));
            config.bootstrap(false).advertise(false).max_outbound(0).max_inbound(1).upgrade_every(secs(4))
        };
        let nodes = [1u8, 2].map(|n| {
            let (_, computer) = town.house(n, Home::Public);
            town.world.peer(computer, plain(n))
        });
        town.settle(&nodes);
        let unl = town.unl(nodes[1]);
        let con = town.link(nodes[0], only(&unl, Rung::Relay)).con;
        town.world.run_for(secs(1));
        let theirs = town.con_of(nodes[1], id(1)).expect("a link");
        town.world.run_for(secs(20));
        for (node, con) in [(nodes[0], con), (nodes[1], theirs)] {
            assert_eq!(town.world.cons(node), [con], "{:?}", town.world.events(node));
            let events = town.world.events(node);
            let connected = events.iter().filter(|event| matches!(event, Event::Connected { .. })).count();
            let closed = events.iter().filter(|event| matches!(event, Event::Closed { .. })).count();
            assert_eq!(connected - closed, 1, "{events:?}");
            assert!(events.iter().any(|event| matches!(event, Event::Upgraded { .. })), "{events:?}");
        }
        town.assert_talk(nodes, [id(1), id(2)]);
        town.assert_nothing_left(nodes[1]);
        // The one slot is free.
        let other = town.world.computer("203.0.88.8");
        let script = town.world.script(other, None, Box::new(|_, _, _| {}));
        town.world.wire(script, |wire| wire.dial(at(&ip(2), 50500)));
        town.world.run_for(secs(1));
        assert_eq!(town.world.count(nodes[1]), 2, "its slot was not given back");
    });
}
