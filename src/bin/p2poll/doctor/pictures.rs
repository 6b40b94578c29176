//! Pictures for tests, made by hand.

use std::time::Duration;

use p2poll::{LanAddress, Mapping, Nat, NatKind, NodeType, Reach, Reachability, ServerKind, ServerSight};

/// A home router that forwards the port by itself, or by hand, and two servers: nothing is wrong. Changed as the test
/// wants it.
pub(super) fn picture(change: impl FnOnce(&mut Reach)) -> Reach {
    let mut reach = Reach::default();
    reach.node_type = NodeType::Passive;
    reach.nat = Nat::Measured(NatKind::Preserving);
    reach.translated = Some(true);
    reach.wan = Some([203, 0, 113, 7].into());
    reach.lan = lan(&["192.168.1.5"]);
    reach.port = Some(4000);
    reach.reachable = Reachability::Yes;
    reach.mapping = Mapping::NotNeeded;
    reach.servers = vec![
        server("a.example:1", Some(ServerKind::P2poll)),
        server("b.example:2", Some(ServerKind::P2poll)),
    ];
    change(&mut reach);
    reach
}

pub(super) fn lan(addresses: &[&str]) -> Vec<LanAddress> {
    let address = |text: &&str| LanAddress { interface: "eth0".into(), address: text.parse().unwrap() };
    addresses.iter().map(address).collect()
}

pub(super) fn server(name: &str, kind: Option<ServerKind>) -> ServerSight {
    let mut server = ServerSight::default();
    server.name = name.into();
    server.kind = kind;
    server.rtt = kind.map(|_| Duration::from_micros(12_345));
    server
}
