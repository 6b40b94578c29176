//! How a node finds out how it can be reached, over sockets: with a real server, with servers that lie, die or say
//! nothing, and with routers of every kind.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "reach/fake.rs"]
mod fake;
#[path = "reach/peers.rs"]
mod peers;
#[cfg(all(target_os = "linux", feature = "gateway"))]
#[path = "common/router/mod.rs"]
mod router;
#[cfg(all(target_os = "linux", feature = "gateway"))]
#[path = "reach/routers.rs"]
mod routers;
#[path = "reach/servers.rs"]
mod servers;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::*;
use p2poll::{
    Config, Event, Mapping, Nat, NatKind, Net, NodeType, PortMapping, Reach, Reachability, Rendezvous,
    RendezvousConfig, ServerKind, StartError,
};

/// Somebody else whose loop this test's is.
trait Turn {
    fn turn(&mut self);
}

impl Turn for Rendezvous {
    fn turn(&mut self) {
        self.poll(Some(Duration::ZERO)).unwrap();
    }
}

/// Polls both until `done` finds what it waits for.
#[track_caller]
fn both<S: Turn, T>(net: &mut Net, other: &mut S, mut done: impl FnMut(&Net, &mut S) -> Option<T>) -> T {
    let begin = now();
    loop {
        other.turn();
        if let Some(found) = done(net, other) {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {:#?}", net.reach());
        net.poll(Some(Duration::from_millis(2))).unwrap();
    }
}

/// Polls both for a while, to see that nothing happens.
fn idle(net: &mut Net, other: &mut impl Turn, span: Duration) {
    let begin = now();
    while begin.elapsed() < span {
        other.turn();
        net.poll(Some(Duration::from_millis(2))).unwrap();
    }
}

#[track_caller]
fn until_reachable(net: &mut Net, other: &mut impl Turn, wanted: Reachability) -> Arc<Reach> {
    both(net, other, |net, _| Some(net.reach()).filter(|reach| reach.reachable == wanted))
}

/// A server that has its verdicts soon.
fn server() -> Rendezvous {
    let config = RendezvousConfig::new().listen("127.0.0.1:0").probe_time(Duration::from_millis(100));
    config.start().unwrap()
}

fn asking(server: &Rendezvous) -> Config {
    config().rendezvous(server.local_addrs()[0].to_string())
}

/// Counts how often the application is asked whom it lets in, and lets everybody in or nobody.
fn counting_filter(net: &Net, admits: bool) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    net.filter_inbound(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        admits
    });
    asked
}

/// All that was told of the reach, in order.
fn told(events: impl IntoIterator<Item = Event>) -> Vec<Arc<Reach>> {
    let reach = |event| if let Event::Reach(reach) = event { Some(reach) } else { None };
    events.into_iter().filter_map(reach).collect()
}

/// What is said of a mapping that nobody needs.
const UNMAPPED: Mapping = if cfg!(feature = "gateway") { Mapping::NotNeeded } else { Mapping::Off };

#[test]
fn an_open_port_is_known_and_nobody_was_bothered() {
    let mut server = server();
    let mut net = asking(&server).max_inbound(0).start().unwrap();
    let asked = counting_filter(&net, false);
    let reach = until_reachable(&mut net, &mut server, Reachability::Yes);
    let local = net.local_addr().unwrap();
    assert_eq!((reach.nat, reach.translated), (Nat::None, Some(false)));
    assert_eq!((reach.wan, reach.port), (Some(local.ip()), Some(local.port())));
    assert_eq!(reach.lan.iter().map(|lan| lan.address).collect::<Vec<_>>(), [local.ip()]);
    assert_eq!((reach.node_type, reach.mapping.clone()), (NodeType::Passive, UNMAPPED));
    let [sight] = &reach.servers[..] else { panic!("{reach:?}") };
    assert_eq!((sight.addr, sight.kind), (Some(server.local_addrs()[0]), Some(ServerKind::P2poll)));
    assert!(sight.rtt.is_some_and(|rtt| rtt < PATIENCE) && sight.seen.is_some_and(|s| s.ip() == local.ip()));
    idle(&mut net, &mut server, Duration::from_millis(100));
    assert_eq!((asked.load(Ordering::Relaxed), net.len()), (0, 0));
    assert_eq!((server.stats().clients, server.stats().nodes), (1, 1));
    let events: Vec<Event> = net.events().collect();
    assert!(!events.iter().any(|event| matches!(event, Event::Connected { .. } | Event::Closed { .. })));
    let told = told(events);
    assert!(told.windows(2).all(|two| two[0] != two[1]) && told.last() == Some(&net.reach()), "{told:#?}");
}

#[test]
fn a_probe_uses_up_no_number_of_a_connection() {
    let mut server = server();
    let mut net = asking(&server).start().unwrap();
    until_reachable(&mut net, &mut server, Reachability::Yes);
    let first = |net: &mut Net| netcat(net).1.to_string();
    // The connection to the server has none either, but in both.
    let mut other = asking(&server).node_type(NodeType::Passive).start().unwrap();
    let second = {
        let addr = other.local_addr().unwrap();
        let raw = std::net::TcpStream::connect(addr).unwrap();
        shown(&mut other, raw.local_addr().unwrap()).to_string()
    };
    assert_eq!(first(&mut net), second);
}

#[test]
fn two_nodes_that_are_probed_find_each_other() {
    let mut server = server();
    let mut a = asking(&server).start().unwrap();
    until_reachable(&mut a, &mut server, Reachability::Yes);
    let mut b = asking(&server).start().unwrap();
    both(&mut b, &mut server, |b, _| {
        a.poll(Some(Duration::ZERO)).unwrap();
        (a.len() == 1 && b.len() == 1 && b.reach().reachable == Reachability::Yes).then_some(())
    });
}

#[test]
fn each_change_is_told_and_nothing_else() {
    let mut server = server();
    let mut net = asking(&server).start().unwrap();
    let mut all = Vec::new();
    let gather = |net: &Net, all: &mut Vec<Arc<Reach>>| all.extend(told(net.events()));
    until_reachable(&mut net, &mut server, Reachability::Yes);
    gather(&net, &mut all);
    for _ in 0..5 {
        net.refresh_reach();
        idle(&mut net, &mut server, Duration::from_millis(150));
        gather(&net, &mut all);
        assert_eq!(all.last(), Some(&net.reach()));
        assert_eq!(net.reach().reachable, Reachability::Yes, "what was known stays until it is known better");
    }
    assert!(all.windows(2).all(|two| two[0] != two[1]), "{all:#?}");
    // The server, its time, and the port.
    assert!(all.len() <= 4, "{all:#?}");
}

#[test]
fn nobody_has_to_listen_to_what_is_told() {
    let mut server = server();
    let mut net = asking(&server).max_events(2).start().unwrap();
    until_reachable(&mut net, &mut server, Reachability::Yes);
    for _ in 0..50 {
        net.refresh_reach();
        idle(&mut net, &mut server, Duration::from_millis(5));
    }
    assert!(net.events().count() <= 3);
    assert_eq!(net.reach().reachable, Reachability::Yes);
}

#[test]
fn a_server_that_offers_no_probes_leaves_a_doubt() {
    let config = RendezvousConfig::new().listen("127.0.0.1:0").max_probes_per_address(0);
    let mut server = config.start().unwrap();
    let mut net = asking(&server).start().unwrap();
    let doubt = Reachability::Unknown(p2poll::Doubt::OldServer);
    let reach = until_reachable(&mut net, &mut server, doubt);
    assert_eq!((reach.node_type, reach.mapping.clone()), (NodeType::Passive, UNMAPPED));
}

#[test]
fn without_a_server_there_is_nobody_to_ask() {
    let net = start();
    let reach = net.reach();
    let doubt = p2poll::Doubt::NoServer;
    assert_eq!((reach.nat, reach.reachable), (Nat::Unknown(doubt), Reachability::Unknown(doubt)));
    assert_eq!((reach.port, reach.wan), (net.local_addr().map(|addr| addr.port()), None));
    assert_eq!(told(net.events()), [], "what is known from the start is no news");
    let net = config().listen(false).start().unwrap();
    let reach = net.reach();
    assert_eq!(reach.reachable, Reachability::Unknown(p2poll::Doubt::NotListening));
    assert_eq!((reach.node_type, reach.port), (NodeType::Active, None));
}

#[test]
fn what_is_configured_is_not_found_out() {
    let mut server = server();
    let wan = IpAddr::from([11, 0, 0, 9]);
    let config = asking(&server).node_type(NodeType::Active).nat(NatKind::Delta { step: 7 }).wan_ip(wan);
    let mut net = config.interface("nowhere0").start().unwrap();
    let reach = until_reachable(&mut net, &mut server, Reachability::Yes);
    assert_eq!((reach.node_type, reach.wan), (NodeType::Active, Some(wan)));
    assert_eq!(reach.nat, Nat::Configured(NatKind::Delta { step: 7 }));
    idle(&mut net, &mut server, Duration::from_millis(50));
    assert_eq!(server.stats().nodes, 0, "who is not passive is not listed");
}

#[test]
fn the_interface_that_is_configured_is_the_only_one() {
    for (name, addresses) in [("lo", 0), ("nowhere0", 0)] {
        let config = Config::new().interface(name).rendezvous(closed_port().to_string());
        let mut net = config.port_mapping(PortMapping::Off).start().unwrap();
        until(&mut net, |net| {
            net.events().find_map(|event| matches!(event, Event::Rendezvous { .. }).then_some(()))
        });
        assert_eq!(net.reach().lan.len(), addresses, "{name}");
    }
}

#[test]
fn a_configuration_that_contradicts_itself_is_an_error() {
    let hours = |hours: u64| Duration::from_secs(3600 * hours);
    let cases = [
        (config().nat(NatKind::Delta { step: 0 }), "delta"),
        (config().mapping_lease(Duration::from_millis(1999)), "mapping_lease"),
        (config().mapping_lease(hours(24 * 7) + Duration::from_secs(1)), "mapping_lease"),
    ];
    for (config, word) in cases {
        let error = config.start().unwrap_err();
        assert!(matches!(error, StartError::BadConfig(_)) && error.to_string().contains(word), "{error}");
    }
    let fine = [
        config().nat(NatKind::Delta { step: -1 }).mapping_lease(Duration::from_secs(2)),
        config().mapping_lease(hours(24 * 7)),
    ];
    fine.into_iter().for_each(|config| drop(config.start().unwrap()));
    let probe_time = |millis| RendezvousConfig::new().probe_time(Duration::from_millis(millis));
    for millis in [49, 10_001] {
        let error = probe_time(millis).listen("127.0.0.1:0").start().unwrap_err().to_string();
        assert!(error.contains("probe_time"), "{error}");
    }
}

/// An address of loopback that is not the usual one.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
