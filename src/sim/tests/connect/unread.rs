//! A link whose application does not read: everything else goes on.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::error::SendError;

/// Reads everything once it is told to, and nothing before.
fn reader_when(reads: &Rc<Cell<bool>>) -> App {
    let reads = Rc::clone(reads);
    Box::new(move |turn| {
        if reads.get() {
            for con in turn.connections() {
                while turn.next_line(con).is_some() {}
            }
        }
    })
}

/// What one node hears of another's application that says nothing are protocol lines.
fn received(town: &mut Town, of: ProgramId, con: ConId) -> u64 {
    town.world.node(of).facts(con).expect("a connection").counters.bytes_received
}

#[test]
fn an_application_that_never_reads_holds_up_nothing_but_its_own_lines() {
    const LINES: usize = 3000;
    with_seeds(6, |seed| {
        let mut town = Town::new(seed);
        let reads = Rc::new(Cell::new(false));
        let config = |n| direct(n).upgrade_every(secs(8)).max_unread(100_000).max_line(50_000);
        let (_, first) = town.house(1, PRESERVING);
        let (_, second) = town.house(2, PRESERVING);
        let alice = town.world.peer(first, config(1).max_queued(8 << 20));
        let bob = town.world.peer_with(second, config(2), reader_when(&reads));
        town.settle(&[alice, bob]);
        let unl = town.unl(bob);
        let link = town.link(alice, only(&unl, Rung::Relay));
        assert_eq!(link.via, Via::Relayed);
        town.world.run_for(secs(1));
        let (con, other) = (link.con, town.con_of(bob, id(1)).expect("a link"));

        // Far more than Bob's side takes, some of it in pieces.
        let line = |n: usize| format!("~{n} {}", "x".repeat(if n % 100 == 7 { 40_000 } else { 500 }));
        for n in 0..LINES {
            town.world.act(alice, |node, _| node.send_line(con, line(n).as_bytes())).expect("room");
        }
        let ping = |town: &mut Town, text: &str| {
            let before = received(town, alice, con);
            let text = format!("~ping {text}\r\n");
            town.world.act(alice, |node, _| node.send_protocol(con, text.as_bytes())).expect("room");
            town.world.run_for(secs(2));
            assert_eq!(received(town, alice, con) - before, text.len() as u64, "no pong");
        };
        town.world.run_for(secs(3));
        ping(&mut town, "by way of the relay");
        let direct_way = |world: &mut World| {
            world.node(alice).via(con) == Some(Via::Punched)
                && world.node(bob).via(other) == Some(Via::Punched)
        };
        assert!(town.world.run_until(secs(30), direct_way), "it does not go another way");
        town.world.run_for(secs(2));
        ping(&mut town, "directly");
        // A new handshake, of a node that has lost its link, is heard, too.
        assert_eq!(town.world.node(bob).con_of(id(1)), Some(other));
        assert!(town.world.lines(bob).is_empty());
        let budget = 100_000 + 16_384 + 4096;
        assert!(
            received(&mut town, bob, other) < budget,
            "more than it takes: {}",
            received(&mut town, bob, other)
        );
        town.world.run_for(secs(120));
        assert!(received(&mut town, bob, other) < budget);

        reads.set(true);
        let all = |world: &mut World| world.lines(bob).len() == LINES;
        assert!(town.world.run_until(secs(60), all), "{} came", town.world.lines(bob).len());
        let lines = town.world.lines(bob);
        assert!((0..LINES).all(|n| lines[n] == line(n)));
        assert!(town.world.events(bob).iter().all(|event| !matches!(event, Event::Closed { .. })));
    });
}

#[test]
fn what_one_side_does_not_read_fills_the_others_queue_and_nothing_else() {
    with_seeds(3, |seed| {
        let mut town = Town::new(seed);
        let (_, first) = town.house(1, Home::Public);
        let (_, second) = town.house(2, Home::Public);
        let alice = town.world.peer(first, direct(1).max_queued(200_000));
        let bob = town.world.peer_with(second, direct(2), crate::sim::world::deaf());
        town.settle(&[alice, bob]);
        let unl = town.unl(bob);
        let con = town.link(alice, &unl).con;
        let mut said = 0;
        let why = loop {
            let line = "y".repeat(1000);
            match town.world.act(alice, |node, _| node.send_line(con, line.as_bytes())) {
                Ok(_) => said += 1,
                Err(why) => break why,
            }
            town.world.run_for(millis(1));
            assert!(said < 5000);
        };
        assert_eq!(why, SendError::Full);
        // Alice's own lines wait; Bob's come, as his side is read.
        let to_alice = town.con_of(bob, id(1)).expect("a link");
        town.world.act(bob, |node, _| node.send_line(to_alice, b"hello")).expect("room");
        town.world.run_for(secs(1));
        assert_eq!(town.world.lines(alice), ["hello"]);
    });
}
