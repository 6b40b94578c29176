//! Every part of the laboratory does what its name says.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use p2poll::{Config, Event, NodeType, RendezvousConfig, RendezvousNews};

use crate::lab::{Filter, Host, Lab, Mapping, Nat, Need, Observer, Router};
use crate::tools::{Answer, Case, PATIENCE, connect, eventually, listen, observe, probe, run};

/// The kinds of translation, filters and topologies.
pub(crate) const CASES: &[Case] = &[
    case("a_preserving_router_keeps_the_port", a_preserving_router_keeps_the_port),
    case(
        "a_random_router_shows_each_observer_another_port",
        a_random_router_shows_each_observer_another_port,
    ),
    case("a_delta_router_goes_on_by_its_step", a_delta_router_goes_on_by_its_step),
    case(
        "a_reuse_router_shows_all_observers_the_same_port",
        a_reuse_router_shows_all_observers_the_same_port,
    ),
    case("a_reuse_delta_router_does_both", a_reuse_delta_router_does_both),
    case(
        "a_per_address_router_needs_two_addresses_to_be_found_out",
        a_per_address_router_needs_two_addresses,
    ),
    case("a_preserving_router_filters", || filters(Nat::Preserving)),
    case("a_random_router_filters", || filters(Nat::Random)),
    case("a_delta_router_filters", || filters(Nat::Delta(3))),
    case("a_reuse_router_filters", || filters(Nat::Reuse)),
    case("a_router_stands_a_datagram_for_itself", a_router_stands_a_datagram_for_itself),
    case("a_full_cone_lets_everybody_in", a_full_cone_lets_everybody_in),
    case("two_hosts_share_a_router", two_hosts_share_a_router),
    case("two_homes_have_the_same_addresses", two_homes_have_the_same_addresses),
    case("ports_are_forwarded_by_hand", ports_are_forwarded_by_hand),
    case("a_hairpin_leads_back_into_the_house", a_hairpin_leads_back_into_the_house),
    case("behind_a_carrier_the_carrier_is_seen", behind_a_carrier_the_carrier_is_seen),
    case("a_delay_is_there_both_ways", a_delay_is_there_both_ways),
    case("one_way_alone_can_be_made_longer", one_way_alone_can_be_made_longer),
    case("begun_connections_are_counted", begun_connections_are_counted),
    case("losses_are_as_large_as_asked_for", losses_are_as_large_as_asked_for),
    case("tcp_survives_losses", tcp_survives_losses),
    case("holes_can_be_punched", holes_can_be_punched),
    case("a_host_moves_to_another_home", a_host_moves_to_another_home),
    case_with("hosts_may_have_ipv6_behind_a_filter", &[Need::Ipv6], hosts_may_have_ipv6_behind_a_filter),
    case("nets_meet_inside", nets_meet_inside),
    case("laboratories_do_not_see_each_other", laboratories_do_not_see_each_other),
    case_with("a_whole_town_is_built_in_no_time", BOTH, a_whole_town_is_built_in_no_time),
    case_with("a_restarted_router_has_forgotten", CONNTRACK, a_restarted_router_has_forgotten),
    case_with("programs_run_inside", NETCAT, programs_run_inside),
    case_with("miniupnpd_maps_a_port_by_upnp", UPNP, miniupnpd_maps_a_port_by_upnp),
    case_with("miniupnpd_maps_a_port_by_natpmp", NATPMP, miniupnpd_maps_a_port_by_natpmp),
    case_with("miniupnpd_can_do_without_either", BOTH, miniupnpd_can_do_without_either),
    case_with("miniupnpd_maps_nothing_behind_a_carrier", UPNP, miniupnpd_maps_nothing_behind_a_carrier),
    case_with("miniupnpd_comes_back_after_a_restart", RESTART, miniupnpd_comes_back_after_a_restart),
];

const CONNTRACK: &[Need] = &[Need::Program("conntrack")];
const NETCAT: &[Need] = &[Need::Program("nc")];
const UPNP: &[Need] = &[Need::Program("miniupnpd"), Need::Program("upnpc")];
const NATPMP: &[Need] = &[Need::Program("miniupnpd"), Need::Program("natpmpc")];
const BOTH: &[Need] = &[Need::Program("miniupnpd"), Need::Program("upnpc"), Need::Program("natpmpc")];
const RESTART: &[Need] = &[Need::Program("miniupnpd"), Need::Program("natpmpc"), Need::Program("conntrack")];

const FILTERS: [Filter; 3] = [Filter::Drop, Filter::Reject, Filter::Open];

/// Consecutive local ports.
const PORTS: [u16; 5] = [40_000, 40_001, 40_002, 40_003, 40_004];

fn a_preserving_router_keeps_the_port() {
    for filter in FILTERS {
        for (port, seen) in PORTS.into_iter().zip(seen_ports(Nat::Preserving, filter)) {
            assert_eq!(seen, [port, port], "{filter:?}");
        }
    }
}

fn a_random_router_shows_each_observer_another_port() {
    for filter in FILTERS {
        let seen = seen_ports(Nat::Random, filter);
        // By chance two may agree, one time in tens of thousands.
        let differ = seen.iter().filter(|[first, second]| first != second).count();
        let moved = PORTS.iter().zip(&seen).filter(|(port, seen)| !seen.contains(port)).count();
        assert!(differ >= 4 && moved >= 4, "{filter:?}: {seen:?}");
    }
}

fn a_delta_router_goes_on_by_its_step() {
    for (filter, step) in FILTERS.into_iter().zip([1, 3, 100]) {
        let seen = seen_ports(Nat::Delta(step), filter).concat();
        let steps: Vec<_> = seen.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        assert_eq!(steps, [step; 9], "{filter:?}: {seen:?}");
    }
}

fn a_reuse_router_shows_all_observers_the_same_port() {
    for filter in FILTERS {
        let seen = seen_ports(Nat::Reuse, filter);
        assert!(seen.iter().all(|[first, second]| first == second), "{filter:?}: {seen:?}");
        let steps: HashSet<_> = seen.windows(2).map(|pair| pair[1][0].wrapping_sub(pair[0][0])).collect();
        assert_eq!(steps.len(), PORTS.len() - 1, "without any rule: {seen:?}");
    }
}

fn a_reuse_delta_router_does_both() {
    let seen = seen_ports(Nat::ReuseDelta(7), Filter::Drop);
    assert!(seen.iter().all(|[first, second]| first == second), "{seen:?}");
    let steps: Vec<_> = seen.windows(2).map(|pair| pair[1][0].wrapping_sub(pair[0][0])).collect();
    assert_eq!(steps, [7; 4], "{seen:?}");
}

fn a_per_address_router_needs_two_addresses() {
    let lab = Lab::new();
    let (server, other) = (lab.server(), lab.server());
    let observers = [observer(&server), observer(&server), observer(&other)];
    let host = lab.router(Nat::PerAddress, Filter::Drop).host();
    let [first, second, third] = observers.each_ref().map(|one| observe(&host, PORTS[0], one.address()));
    assert_eq!(first.0, second.0);
    assert_ne!(first.0, third.0);
}

/// For each of the ports, the outer port that each of two observers sees.
fn seen_ports(nat: Nat, filter: Filter) -> Vec<[u16; 2]> {
    let lab = Lab::new();
    let servers = [lab.server(), lab.server()];
    let observers = [observer(&servers[0]), observer(&servers[1])];
    let router = lab.router(nat, filter);
    let host = router.host();
    let mut kept = Vec::new();
    let mut see = |port: u16, observer: &Observer| {
        let (seen, stream) = observe(&host, port, observer.address());
        kept.push(stream);
        assert_eq!(*seen.ip(), router.address());
        seen.port()
    };
    PORTS.iter().map(|port| [see(*port, &observers[0]), see(*port, &observers[1])]).collect()
}

fn filters(nat: Nat) {
    for filter in FILTERS {
        let lab = Lab::new();
        let (server, stranger) = (lab.server(), lab.server());
        let observer = observer(&server);
        let router = lab.router(nat, filter);
        let host = router.host();
        let expected = if filter == Filter::Drop { Answer::Silent } else { Answer::Refused };

        // Where nothing is mapped.
        assert_eq!(probe(&stranger, SocketAddrV4::new(router.address(), 33_333)), expected, "{filter:?}");
        // Where something is, for somebody else.
        let (seen, kept) = observe(&host, PORTS[0], observer.address());
        assert_eq!(probe(&stranger, seen), expected, "{filter:?}");
        drop(kept);
        // What there is in the house is not known outside.
        assert_eq!(probe(&host, observer.address()), Answer::Connected);
    }
}

fn a_router_stands_a_datagram_for_itself() {
    for filter in FILTERS {
        let lab = Lab::new();
        let server = lab.server();
        let observer = observer(&server);
        let router = lab.router(Nat::Reuse, filter);
        let host = router.host();
        // As short as NAT-PMP's question for the address (RFC 6886 section 3.2).
        let socket = host.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))).expect("a port is free");
        socket.send_to(&[0, 0], (router.gateway(), 5351)).expect("it can be sent");
        assert_eq!(probe(&host, observer.address()), Answer::Connected, "{filter:?}");
    }
}

fn a_full_cone_lets_everybody_in() {
    let lab = Lab::new();
    let (server, stranger) = (lab.server(), lab.server());
    let observer = observer(&server);
    let router = lab.router(Nat::Reuse, Filter::Drop);
    let host = router.host();
    let (seen, _kept) = observe(&host, PORTS[0], observer.address());
    assert_eq!(probe(&stranger, seen), Answer::Silent);
    let _router = router.full_cone();
    // It is the host that refuses: its port is in use for a connection, not for listening.
    assert_eq!(probe(&stranger, seen), Answer::Refused);
}

fn two_hosts_share_a_router() {
    for nat in [Nat::Preserving, Nat::Random, Nat::Delta(1), Nat::Reuse] {
        let lab = Lab::new();
        let server = lab.server();
        let observer = observer(&server);
        let router = lab.router(nat, Filter::Drop);
        let (alice, bob) = (router.host(), router.host());
        let (first, _kept) = observe(&alice, PORTS[0], observer.address());
        let (second, _kept) = observe(&bob, PORTS[0], observer.address());
        assert_eq!([*first.ip(), *second.ip()], [router.address(); 2]);
        assert_ne!(first.port(), second.port(), "{nat:?}: a port is taken only once");
        // Among themselves they need no router.
        let (_listener, address) = listen(&bob);
        assert_eq!(probe(&alice, address), Answer::Connected);
    }
}

fn two_homes_have_the_same_addresses() {
    let lab = Lab::new();
    let alice = lab.router(Nat::Preserving, Filter::Drop).host();
    let bob = lab.router(Nat::Reuse, Filter::Drop).host();
    assert_eq!(alice.address(), bob.address());
}

fn ports_are_forwarded_by_hand() {
    for nat in [Nat::Preserving, Nat::Reuse] {
        let lab = Lab::new();
        let server = lab.server();
        let router = lab.router(nat, Filter::Drop);
        let host = router.host();
        let (listener, inside) = listen(&host);
        let outside = SocketAddrV4::new(router.address(), 2000);
        assert_eq!(probe(&server, outside), Answer::Silent);
        router.forward(2000, inside);
        assert_reaches(&server, outside, &listener, server.address());
    }
}

fn a_hairpin_leads_back_into_the_house() {
    for (filter, otherwise) in [(Filter::Drop, Answer::Silent), (Filter::Reject, Answer::Refused)] {
        let lab = Lab::new();
        let router = lab.router(Nat::Reuse, filter);
        let (alice, bob) = (router.host(), router.host());
        let (listener, inside) = listen(&alice);
        router.forward(2000, inside);
        let outside = SocketAddrV4::new(router.address(), 2000);
        assert_eq!(probe(&bob, outside), Answer::Refused);
        let router = router.hairpin();
        assert_reaches(&bob, outside, &listener, router.address());
        // It leads through the filter.
        assert_eq!(probe(&bob, SocketAddrV4::new(router.address(), 2001)), otherwise);
    }
}

fn behind_a_carrier_the_carrier_is_seen() {
    for (outer, inner) in
        [(Nat::Random, Nat::Preserving), (Nat::Reuse, Nat::Preserving), (Nat::Random, Nat::Reuse)]
    {
        let lab = Lab::new();
        let server = lab.server();
        let observer = observer(&server);
        let carrier = lab.carrier(outer, Filter::Drop);
        let home = carrier.router(inner, Filter::Drop);
        let neighbour = carrier.router(inner, Filter::Drop);
        let (seen, _kept) = observe(&home.host(), PORTS[0], observer.address());
        assert_eq!(*seen.ip(), carrier.address());
        let (seen, _kept) = observe(&neighbour.host(), PORTS[0], observer.address());
        assert_eq!(*seen.ip(), carrier.address());
        // RFC 6598.
        assert_eq!(home.address().octets()[..2], [100, 64]);
    }
}

fn a_delay_is_there_both_ways() {
    let lab = Lab::new();
    let server = lab.server();
    let observer = observer(&server);
    let host = lab.router(Nat::Preserving, Filter::Drop).host();
    observe(&host, 0, observer.address());
    lab.delay(Duration::from_millis(50));
    let took = (0..5).map(|_| {
        let start = Instant::now();
        let kept = connect(&host, 0, observer.address(), PATIENCE).expect("it is far, but there");
        let took = start.elapsed();
        drop(kept);
        took
    });
    // Never less than one round trip, and when the machine is not too busy less than two.
    let shortest = took.min().expect("there are some");
    assert!((Duration::from_millis(100)..Duration::from_millis(200)).contains(&shortest), "{shortest:?}");
}

fn one_way_alone_can_be_made_longer() {
    const EXTRA: Duration = Duration::from_millis(200);
    let lab = Lab::new();
    let (server, other) = (lab.server(), lab.server());
    let observers = [observer(&server), observer(&other)];
    let router = lab.router(Nat::Preserving, Filter::Drop);
    let host = router.host();
    lab.delay(Duration::from_millis(25));
    let connects_in = |observer: &Observer| {
        let start = Instant::now();
        let _kept = connect(&host, 0, observer.address(), PATIENCE).expect("it is far, but there");
        start.elapsed()
    };
    // The first ones also find out about links.
    for observer in &observers {
        connects_in(observer);
    }

    lab.delay_between(server.address(), router.address(), EXTRA);
    let [longer, as_before] = observers.each_ref().map(connects_in);
    assert!(longer >= EXTRA + Duration::from_millis(50), "{longer:?}");
    assert!(as_before < EXTRA, "{as_before:?}");

    // Only what goes that way: between the server and others nothing has changed.
    let start = Instant::now();
    let _kept = connect(&other, 0, observers[0].address(), PATIENCE).expect("it is there");
    assert!(start.elapsed() < EXTRA, "{:?}", start.elapsed());

    lab.delay_between(server.address(), router.address(), Duration::ZERO);
    let again = connects_in(&observers[0]);
    assert!(again < EXTRA, "{again:?}");
}

fn begun_connections_are_counted() {
    let lab = Lab::new();
    let (server, other) = (lab.server(), lab.server());
    let observer = observer(&server);
    for nat in [Nat::Preserving, Nat::Reuse] {
        let router = lab.router(nat, Filter::Drop);
        let host = router.host();
        let across = || lab.openings(|from, to| from == router.address() && to == server.address());
        let inside = || router.house().openings(|from, to| from == host.address() && to == server.address());
        for count in 1..=3 {
            assert_eq!(probe(&host, observer.address()), Answer::Connected);
            assert_eq!((inside(), across()), (count, count), "{nat:?}");
        }
        assert_eq!(router.house().openings(|_, to| to == router.address()), 0);
    }
    assert_eq!(lab.openings(|from, to| from == other.address() || to == other.address()), 0);
    assert_eq!(lab.openings(|from, _| from == server.address()), 0, "answers are none");
}

fn losses_are_as_large_as_asked_for() {
    let lab = Lab::new();
    let (server, client) = (lab.server(), lab.server());
    let receiver = server.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 9))).expect("a port is free");
    let sender = client.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))).expect("a port is free");
    let to = SocketAddrV4::new(server.address(), 9);
    let send = |text: &[u8]| _ = sender.send_to(text, to).expect("a datagram can be sent");

    lab.loss(0.3);
    for _ in 0..200 {
        send(b"perhaps");
    }
    let mut arrived = 0;
    let all_judged = eventually(|| {
        arrived += received(&receiver);
        lab.lost() + arrived == 200
    });
    assert!(all_judged, "{} lost, {arrived} arrived", lab.lost());
    assert!((30..=90).contains(&lab.lost()), "{}", lab.lost());

    lab.loss(1.0);
    assert_eq!(probe(&client, SocketAddrV4::new(server.address(), 9)), Answer::Silent);
    lab.loss(0.0);
    assert_eq!(probe(&client, SocketAddrV4::new(server.address(), 9)), Answer::Refused);
}

/// Takes one datagram if there is any within a moment.
fn received(receiver: &UdpSocket) -> u64 {
    receiver.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout can be set");
    u64::from(receiver.recv(&mut [0; 16]).is_ok())
}

fn tcp_survives_losses() {
    let lab = Lab::new();
    let server = lab.server();
    let host = lab.router(Nat::Preserving, Filter::Drop).host();
    let (listener, address) = listen(&server);
    let mut near = connect(&host, 0, address.into(), PATIENCE).expect("it is there");
    let (mut far, _) = listener.accept().expect("it has come");
    far.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    lab.loss(0.05);
    let sent: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
    let mut arrived = vec![0; sent.len()];
    thread::scope(|scope| {
        scope.spawn(|| near.write_all(&sent).expect("it can be written"));
        far.read_exact(&mut arrived).expect("all arrives");
    });
    assert!(sent == arrived, "what arrived is what was sent");
    assert!(lab.lost() > 0);
}

fn holes_can_be_punched() {
    // Both open their holes, whoever is first; the other's first packet is lost, refused, or comes through.
    for nat in [Nat::Preserving, Nat::Reuse] {
        let lab = Lab::new();
        let server = lab.server();
        let observer = observer(&server);
        let (alice, bob) = (lab.router(nat, Filter::Drop).host(), lab.router(nat, Filter::Drop).host());
        let (alice_seen, _kept) = observe(&alice, PORTS[0], observer.address());
        let (bob_seen, _kept) = observe(&bob, PORTS[0], observer.address());
        lab.delay(Duration::from_millis(25));
        thread::scope(|scope| {
            let alice = scope.spawn(|| connect(&alice, PORTS[0], bob_seen.into(), PATIENCE));
            let bob = scope.spawn(|| connect(&bob, PORTS[0], alice_seen.into(), PATIENCE));
            let (alice, bob) = (alice.join().expect("no panic"), bob.join().expect("no panic"));
            let (mut alice, mut bob) = (alice.expect("a hole"), bob.expect("a hole"));
            assert_exchange(&mut alice, &mut bob);
        });
    }
}

fn a_host_moves_to_another_home() {
    let lab = Lab::new();
    let server = lab.server();
    let observer = observer(&server);
    let (here, there) = (lab.router(Nat::Preserving, Filter::Drop), lab.router(Nat::Reuse, Filter::Drop));
    // Somebody lives there already, at the address that it has here.
    let _resident = there.host();
    let mut laptop = here.host();
    let before = laptop.address();
    assert_eq!(*observe(&laptop, 0, observer.address()).0.ip(), here.address());
    laptop.move_to(&there);
    assert_ne!(laptop.address(), before);
    assert_eq!(*observe(&laptop, 0, observer.address()).0.ip(), there.address());
    laptop.unplug();
    let nowhere = connect(&laptop, 0, observer.address(), PATIENCE);
    assert_eq!(nowhere.map(drop).map_err(|why| why.kind()), Err(std::io::ErrorKind::NetworkUnreachable));
}

fn hosts_may_have_ipv6_behind_a_filter() {
    for (filter, expected) in FILTERS.into_iter().zip([Answer::Silent, Answer::Refused, Answer::Connected]) {
        let lab = Lab::with_ipv6();
        lab.delay(Duration::from_millis(5));
        let server = lab.server();
        let router = lab.router(Nat::Preserving, filter);
        let host = router.host();
        let (near, far) = (listen6(&host), listen6(&server));
        let stream = connect(&host, 0, far.1, PATIENCE).expect("the server is reached");
        let (_, seen) = far.0.accept().expect("it has come");
        assert_eq!(
            (Some(seen.ip()), seen),
            (host.address6().map(IpAddr::V6), stream.local_addr().expect("it has one"))
        );
        assert_eq!(probe(&server, near.1), expected, "{filter:?}");
        // Of IPv4 the router still translates.
        let (seen, _kept) = observe(&host, 0, observer(&server).address());
        assert_eq!(*seen.ip(), router.address());
    }
    assert_eq!(Lab::new().server().address6(), None);
}

fn listen6(host: &Host) -> (TcpListener, SocketAddr) {
    let address = host.address6().expect("it has one");
    let listener = host.inside(|| TcpListener::bind((address, 0))).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

fn nets_meet_inside() {
    let lab = Lab::new();
    let (server, bob) = (lab.server(), lab.server());
    let alice = lab.router(Nat::Preserving, Filter::Drop).host();
    lab.delay(Duration::from_millis(10));
    let rendezvous = format!("{}:8000", server.address());
    // First, because a net that finds no server takes its time before it tries again.
    let config = RendezvousConfig::new().listen(&rendezvous);
    let mut running = server.inside(|| config.start()).expect("it listens");
    let met = AtomicBool::new(false);
    let done = || met.load(Ordering::Relaxed);
    let config = Config::new().rendezvous(&rendezvous);
    // A net opens sockets whenever it likes, so all of its life is inside.
    thread::scope(|scope| {
        scope.spawn(|| {
            server.inside(|| {
                while !done() {
                    running.poll(Some(Duration::from_millis(5))).expect("it goes on");
                }
            });
        });
        scope.spawn(|| {
            let config = config.clone().bind(bob.address().into());
            bob.inside(|| greet(config, &done));
        });
        let heard = alice.inside(|| greet(config.clone().node_type(NodeType::Active), &done));
        met.store(true, Ordering::Relaxed);
        assert_eq!(heard.as_deref(), Some("hello"));
    });
}

/// Says hello to whom it meets, until it has heard something or is told to end.
fn greet(config: Config, done: &dyn Fn() -> bool) -> Option<String> {
    let mut net = config.start().expect("it starts");
    let deadline = Instant::now() + PATIENCE;
    let mut heard = None;
    while !done() && Instant::now() < deadline {
        net.poll(Some(Duration::from_millis(5))).expect("it goes on");
        for event in net.events() {
            match event {
                Event::Connected { con, .. } => {
                    let con = net.con(con).expect("it is open until both are greeted");
                    con.send_line("hello").expect("it takes a line");
                }
                // The other has not yet been there.
                Event::Rendezvous { news: RendezvousNews::Nodes(0), .. } => net.bootstrap(),
                _ => {}
            }
        }
        // A walk may bring a connection and its first line before the event is seen: only now it is greeted, too.
        if heard.is_some() {
            break;
        }
        heard = net.connections().find_map(|con| con.replies().next()).map(|line| line.to_string());
    }
    heard
}

fn laboratories_do_not_see_each_other() {
    let (one, other) = (Lab::new(), Lab::new());
    let servers = [one.server(), other.server()];
    assert_eq!(servers[0].address(), servers[1].address());
    let _observer = Observer::start(&servers[0], 7).expect("it listens");
    let address = SocketAddrV4::new(servers[0].address(), 7);
    assert_eq!(probe(&one.server(), address), Answer::Connected);
    assert_eq!(probe(&other.server(), address), Answer::Refused);
}

fn a_whole_town_is_built_in_no_time() {
    let start = Instant::now();
    let lab = Lab::new();
    let _servers = [lab.server(), lab.server()];
    let built = |what: &str| println!("{what} after {:?}", start.elapsed());
    built("two servers");
    let homes =
        [Nat::Preserving, Nat::Random, Nat::Delta(1), Nat::Reuse].map(|nat| lab.router(nat, Filter::Drop));
    built("four routers");
    let _hosts = homes.each_ref().map(|home| (home.host(), home.host()));
    built("two hosts behind each");
    let _behind = lab.carrier(Nat::Random, Filter::Reject).router(Nat::Preserving, Filter::Drop).host();
    built("one behind a carrier");
    let [first, second, ..] = homes;
    let _mapping = (first.mapping(Mapping::Both), second.mapping(Mapping::Both));
    built("two daemons");
    // Many times what it takes alone.
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

fn a_restarted_router_has_forgotten() {
    for nat in [Nat::Preserving, Nat::Reuse] {
        let lab = Lab::new();
        let server = lab.server();
        let router = lab.router(nat, Filter::Reject);
        let host = router.host();
        let (listener, address) = listen(&server);
        let near = connect(&host, 0, address.into(), PATIENCE).expect("it is there");
        let (mut far, _) = listener.accept().expect("it has come");
        far.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        router.restart();
        far.write_all(b"?").expect("it can be written");
        // The router knows nothing of it and says so.
        let why = far.read(&mut [0; 1]).expect_err("the connection is gone");
        assert_eq!(why.kind(), std::io::ErrorKind::ConnectionReset, "{nat:?}");
        drop(near);
        assert_eq!(probe(&host, address), Answer::Connected);
    }
}

fn programs_run_inside() {
    let lab = Lab::new();
    let server = lab.server();
    let observer = observer(&server);
    let router = lab.router(Nat::Preserving, Filter::Drop);
    let (address, port) = (server.address().to_string(), observer.address().port().to_string());
    let (_, printed) = run(&router.host(), "nc", &["-d", "-p", "50505", &address, &port]);
    assert_eq!(printed.trim(), format!("{}:50505", router.address()));
}

fn miniupnpd_maps_a_port_by_upnp() {
    let lab = Lab::new();
    let server = lab.server();
    let router = lab.router(Nat::Preserving, Filter::Drop).mapping(Mapping::Upnp);
    let host = router.host();
    let (listener, inside) = listen(&host);
    let outside = SocketAddrV4::new(router.address(), 2000);
    assert_eq!(probe(&server, outside), Answer::Silent);

    let (address, port) = (inside.ip().to_string(), inside.port().to_string());
    let (worked, said) = run(&host, "upnpc", &["-a", &address, &port, "2000", "tcp", "600"]);
    assert!(worked && said.contains(&format!("external {outside} TCP is redirected")), "{said}");
    assert_reaches(&server, outside, &listener, server.address());

    let (worked, said) = run(&host, "upnpc", &["-d", "2000", "tcp"]);
    assert!(worked, "{said}");
    assert_eq!(probe(&server, outside), Answer::Silent);
}

fn miniupnpd_maps_a_port_by_natpmp() {
    let lab = Lab::new();
    let server = lab.server();
    let router = lab.router(Nat::Random, Filter::Reject).mapping(Mapping::NatPmp);
    let host = router.host();
    let (listener, inside) = listen(&host);
    let outside = SocketAddrV4::new(router.address(), 2000);
    assert_eq!(probe(&server, outside), Answer::Refused);

    let port = inside.port().to_string();
    let (worked, said) = run(&host, "natpmpc", &["-a", "2000", &port, "tcp", "600"]);
    assert!(worked && said.contains("Mapped public port 2000"), "{said}");
    assert_reaches(&server, outside, &listener, server.address());

    let (worked, said) = run(&host, "natpmpc", &["-a", "0", &port, "tcp", "0"]);
    assert!(worked, "{said}");
    assert_eq!(probe(&server, outside), Answer::Refused);
}

fn miniupnpd_can_do_without_either() {
    let lab = Lab::new();
    let upnp = lab.router(Nat::Preserving, Filter::Drop).mapping(Mapping::Upnp).host();
    let natpmp = lab.router(Nat::Preserving, Filter::Drop).mapping(Mapping::NatPmp).host();
    let both = lab.router(Nat::Preserving, Filter::Drop).mapping(Mapping::Both).host();
    let asks = |host, upnp_answers: bool, natpmp_answers: bool| {
        let (_, said) = run(host, "upnpc", &["-s"]);
        assert_eq!(said.contains("ExternalIPAddress = 11."), upnp_answers, "{said}");
        let (_, said) = run(host, "natpmpc", &[]);
        assert_eq!(said.contains("Public IP address : 11."), natpmp_answers, "{said}");
    };
    // The programs give up slowly.
    thread::scope(|scope| {
        scope.spawn(|| asks(&upnp, true, false));
        scope.spawn(|| asks(&natpmp, false, true));
        scope.spawn(|| asks(&both, true, true));
    });
}

fn miniupnpd_maps_nothing_behind_a_carrier() {
    let lab = Lab::new();
    let server = lab.server();
    let carrier = lab.carrier(Nat::Random, Filter::Drop);
    let map = |home: &Router| {
        let host = home.host();
        let (_listener, inside) = listen(&host);
        let (address, port) = (inside.ip().to_string(), inside.port().to_string());
        let (_, said) = run(&host, "upnpc", &["-a", &address, &port, "2000", "tcp", "600"]);
        said.contains("is redirected")
    };
    // This one sees that its own address is no public one.
    let honest = carrier.router(Nat::Preserving, Filter::Drop).mapping(Mapping::Upnp);
    assert!(!map(&honest));
    // This one was told otherwise, and promises what it cannot keep.
    let address = format!("ext_ip={}", carrier.address());
    let liar = carrier.router(Nat::Preserving, Filter::Drop).mapping_with(Mapping::Upnp, &address);
    assert!(map(&liar));
    assert_eq!(probe(&server, SocketAddrV4::new(carrier.address(), 2000)), Answer::Silent);
}

fn miniupnpd_comes_back_after_a_restart() {
    let lab = Lab::new();
    let server = lab.server();
    let router = lab.router(Nat::Preserving, Filter::Reject).mapping(Mapping::Both);
    let host = router.host();
    let (listener, inside) = listen(&host);
    let outside = SocketAddrV4::new(router.address(), 2000);
    let port = inside.port().to_string();
    let map = || run(&host, "natpmpc", &["-a", "2000", &port, "tcp", "600"]);
    assert!(map().0);
    assert_reaches(&server, outside, &listener, server.address());
    router.restart();
    assert_eq!(probe(&server, outside), Answer::Refused);
    assert!(map().0);
    assert_reaches(&server, outside, &listener, server.address());
}

/// That connecting to an address leads to this listener, which sees the connection come from there.
fn assert_reaches(from: &Host, to: impl Into<SocketAddr>, listener: &TcpListener, seen: Ipv4Addr) {
    let mut near = connect(from, 0, to.into(), PATIENCE).expect("it can be reached");
    let (mut far, address) = listener.accept().expect("it is the listener that was reached");
    assert_eq!(address.ip(), seen);
    assert_exchange(&mut near, &mut far);
}

fn assert_exchange(one: &mut TcpStream, other: &mut TcpStream) {
    let say = |from: &mut TcpStream, to: &mut TcpStream, word: &[u8]| {
        from.write_all(word).expect("it can be written");
        let mut heard = vec![0; word.len()];
        to.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        to.read_exact(&mut heard).expect("it arrives");
        assert_eq!(heard, word);
    };
    say(one, other, b"hello");
    say(other, one, b"hello yourself");
}

fn observer(host: &Host) -> Observer {
    Observer::start(host, 0).expect("it listens")
}

const fn case(name: &'static str, run: fn()) -> Case {
    case_with(name, &[Need::Network], run)
}

const fn case_with(name: &'static str, needs: &'static [Need], run: fn()) -> Case {
    Case { name, needs, run }
}
