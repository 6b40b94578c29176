//! What the network tells a node's engine, whatever the node is at.

use super::*;
use crate::sim::world::deaf;

/// The server does not read it, as it has answers enough to send; so the reset shows in its writing alone.
#[test]
fn who_asks_much_reads_nothing_and_crashes_is_gone_at_once() {
    with_seeds(3, |seed| {
        let (mut world, _, server) = with_server(seed);
        let computer = world.computer(&ip(0));
        let asker = world.peer_with(computer, alone().max_unread(1), deaf());
        world.act(asker, |node, now| node.connect(SERVER, now)).unwrap();
        assert!(world.run_until(secs(2), |world| world.count(asker) == 1));
        world.act(asker, |node, now| {
            for _ in 0..60_000 {
                assert_eq!(node.broadcast(b"WHOAMI", None.into(), now), 1);
            }
        });
        world.run_for(secs(10));
        assert_eq!(world.server_node(server).clients(), 1);
        world.crash(asker);
        world.run_for(secs(1));
        assert_eq!(world.server_node(server).clients(), 0);
    });
}
