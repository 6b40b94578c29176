//! Lines on their way.

use super::*;
use crate::error::SendError;
use crate::id::Except;
use crate::sim::script::Input;
use crate::sim::world::{at, deaf, forwarder};

/// Nodes of which each has dialled the next, and the last one the first.
fn ring(world: &mut World, count: usize, config: impl Fn() -> Config) -> Vec<ProgramId> {
    let ids: Vec<ProgramId> = (0..count)
        .map(|n| {
            let computer = world.computer(&ip(n));
            world.peer_with(computer, config(), forwarder())
        })
        .collect();
    for (n, &id) in ids.iter().enumerate() {
        let next = addr((n + 1) % count).to_string();
        world.act(id, |node, now| node.connect(&next, now)).unwrap();
    }
    assert!(world.run_until(secs(2), |world| ids.iter().all(|&id| world.count(id) == 2)));
    ids
}

#[test]
fn a_broadcast_reaches_all_but_its_exception() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        let ids = nodes(&mut world, 4, |_| alone());
        for n in 1..4 {
            world.act(ids[0], |node, now| node.connect(&addr(n).to_string(), now)).unwrap();
        }
        assert!(world.run_until(secs(2), |world| world.count(ids[0]) == 3));
        let except = world.cons(ids[0])[1];
        let missed = world.node(ids[0]).facts(except).unwrap().peer;
        let reached = world.act(ids[0], |node, now| node.broadcast(b"news", Except::from(except), now));
        assert_eq!(reached, 2);
        world.run_for(secs(1));
        for (n, &id) in ids.iter().enumerate().skip(1) {
            let expected: &[&str] = if addr(n) == missed { &[] } else { &["news"] };
            assert_eq!(world.lines(id), expected);
        }
    });
}

#[test]
fn a_flood_in_a_cycle_of_forwarders_dies_out_where_duplicates_are_suppressed() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        let ids = ring(&mut world, 7, || alone().suppress_duplicates(secs(5), 1000));
        for n in 0..20 {
            world.send(ids[0], &format!("line {n}"));
        }
        world.run_for(secs(3));
        let heard = |world: &mut World| ids.iter().map(|&id| world.lines(id).len()).collect::<Vec<_>>();
        let expected: Vec<usize> = (0..7).map(|n| if n == 0 { 0 } else { 20 }).collect();
        assert_eq!(heard(&mut world), expected);
        world.run_for(secs(60));
        assert_eq!(heard(&mut world), expected, "it stays quiet when the window is over");
        let turns = world.turns(ids[3]);
        world.run_for(secs(600));
        assert!(world.turns(ids[3]) - turns < 100);
    });
}

#[test]
fn a_flood_in_a_cycle_of_forwarders_goes_round_and_round_otherwise() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let ids = ring(&mut world, 7, alone);
        world.send(ids[0], "line");
        world.run_for(secs(10));
        let early = world.lines(ids[0]).len();
        world.run_for(secs(10));
        assert!(world.lines(ids[0]).len() > early && early > 2);
    });
}

#[test]
fn a_peer_that_stops_reading_fills_its_own_queue_and_nobody_else_notices() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        world.set_frame(millis(10));
        let computers = [0, 1, 2].map(|n| world.computer(&ip(n)));
        let a = world.peer(computers[0], alone().max_queued(64 << 10));
        world.peer_with(computers[1], alone().max_unread(64 << 10), deaf());
        let reader = world.peer(computers[2], alone());
        for n in 1..3 {
            world.act(a, |node, now| node.connect(&addr(n).to_string(), now)).unwrap();
        }
        assert!(world.run_until(secs(2), |world| world.count(a) == 2));
        let cons = world.cons(a);
        let line = "x".repeat(1000);
        let mut sent = 0;
        for _ in 0..1000 {
            sent += world.send(a, &line);
            world.run_for(millis(20));
        }
        let to = |world: &mut World, n| {
            *cons.iter().find(|&&con| world.node(a).facts(con).unwrap().peer == addr(n)).unwrap()
        };
        let (stuck, fine) = (to(&mut world, 1), to(&mut world, 2));
        let to_stuck = world.act(a, |node, _| node.send_line(stuck, line.as_bytes()));
        assert!(matches!(to_stuck, Err(SendError::Full)));
        assert_eq!(
            world.act(a, |node, _| node.send_line(fine, b"still there?").map(|(_, queued)| queued)),
            Ok(b"still there?\r\n".len())
        );
        world.run_for(secs(1));
        assert_eq!(world.lines(reader).len(), 1001);
        // The queue, the window on the way, and what the other node holds unread.
        let taken = (sent - 1000) * 1002;
        assert!(taken > (64 << 10) * 2 && taken < (64 << 10) * 5, "{taken}");
        assert!(world.node(a).queued(stuck) <= 64 << 10);
    });
}

#[test]
fn a_close_sends_what_is_queued_first() {
    with_seeds(5, |seed| {
        let (mut world, [a, b], computers) = pair(seed, alone(), crate::sim::world::reader(), alone());
        world.computer_mut(computers[0]).bandwidth = Some(100_000);
        let line = "x".repeat(998);
        for _ in 0..300 {
            assert_eq!(world.send(b, &line), 1);
        }
        let con = only_con(&mut world, b);
        world.act(b, |node, now| node.close(con, now));
        assert_eq!(world.count(b), 0, "it is gone for the application");
        world.run_for(secs(10));
        assert_eq!(world.lines(a).len(), 300);
        assert_eq!(close_reasons(&mut world, a), [CloseReason::Peer]);
        assert_eq!(close_reasons(&mut world, b), [CloseReason::Local]);
    });
}

#[test]
fn a_close_that_the_peer_does_not_take_ends_all_the_same() {
    with_seeds(5, |seed| {
        let (mut world, [_, b], _) = pair(seed, alone().max_unread(1000), deaf(), alone());
        let line = "x".repeat(998);
        for _ in 0..300 {
            assert_eq!(world.send(b, &line), 1);
        }
        world.run_for(secs(1));
        let con = only_con(&mut world, b);
        world.act(b, |node, now| node.close(con, now));
        let closed = world.now();
        assert!(world.run_until(secs(8), |world| !close_reasons(world, b).is_empty()));
        assert_eq!(close_reasons(&mut world, b), [CloseReason::LocalTimeout]);
        assert!(world.now() - closed >= secs(5));
    });
}

#[test]
fn who_finishes_sending_is_heard_out_and_answered() {
    with_seeds(5, |seed| {
        let mut world = World::new(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
        let echo = Box::new(|turn: &mut crate::sim::world::Turn<'_>| {
            for con in turn.connections() {
                while let Some(line) = turn.next_line(con) {
                    let _ = turn.node.send_line(con, format!("{line}?").as_bytes());
                }
            }
        });
        let a = world.peer_with(computers[0], alone(), echo);
        let netcat = world.script(computers[1], None, Box::new(|_, _, _| {}));
        let end = world.wire(netcat, |wire| wire.dial(addr(0)));
        world.run_for(secs(1));
        world.wire(netcat, |wire| {
            wire.send(end, "one\ntwo\nhalf of thr");
            wire.finish(end);
        });
        world.run_for(secs(5));
        assert_eq!(world.lines(a), ["one", "two"]);
        assert_eq!(close_reasons(&mut world, a), [CloseReason::Peer]);
        let heard: Vec<Input> = world.heard(netcat).iter().map(|(_, input)| input.clone()).collect();
        let line = |text: &str| Input::Line(text.into());
        assert_eq!(heard, [Input::Opened, line("one?"), line("two?"), Input::Ended]);
    });
}

#[test]
fn a_line_without_an_end_is_cut_off_after_the_lines_before_it() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
        let a = world.peer(computers[0], alone().max_line(10_000));
        let netcat = world.script(computers[1], None, Box::new(|_, _, _| {}));
        let end = world.wire(netcat, |wire| wire.dial(at(&ip(0), 50500)));
        world.run_for(secs(1));
        world.wire(netcat, |wire| wire.send(end, "one\n\ntwo\r\n"));
        world.wire(netcat, |wire| wire.send(end, "x".repeat(1 << 20)));
        world.run_for(secs(30));
        assert_eq!(world.lines(a), ["one", "", "two"]);
        assert_eq!(close_reasons(&mut world, a), [CloseReason::LineTooLong]);
        assert_eq!(world.heard(netcat).last(), Some(&(end, Input::Ended)));
    });
}

#[test]
fn a_flood_from_one_peer_does_not_delay_another() {
    with_seeds(3, |seed| {
        let mut world = World::new(seed);
        world.set_frame(millis(16));
        let computers = [0, 1, 2].map(|n| world.computer(&ip(n)));
        world.computer_mut(computers[0]).window = 1 << 20;
        let a = world.peer(computers[0], alone().read_per_tick(64 << 10));
        let flood = world.script(computers[1], None, Box::new(|_, _, _| {}));
        let quiet = world.script(computers[2], None, Box::new(|_, _, _| {}));
        let [loud, still] = [flood, quiet].map(|id| world.wire(id, |wire| wire.dial(addr(0))));
        world.run_for(secs(1));
        world.wire(flood, |wire| wire.send(loud, format!("{}\n", "x".repeat(999)).repeat(5000)));
        world.run_for(millis(500));
        for n in 0..10 {
            let sent = world.now();
            world.wire(quiet, |wire| wire.send(still, format!("quiet {n}\n")));
            world.run_for(millis(200));
            let heard = world.log(a).lines.iter().rev().find(|(_, _, line)| *line == format!("quiet {n}"));
            let took = heard.expect("heard").0 - sent;
            assert!(took < millis(160), "{took:?}");
        }
    });
}
