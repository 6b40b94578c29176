//! Nodes have real routers forward their ports: by each protocol, for as long as they live and no longer, and without
//! taking anything from anybody.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use p2poll::PortMapping;

use crate::lab::{Filter, Host, Lab, Mapping, Nat, Need, Router};
use crate::node::{Node, Picture, Server, Wishes};
use crate::tools::{Answer, Case, PATIENCE, connect, finish, listen, probe, run};

/// Port mapping, from the first question to the last.
pub(crate) const CASES: &[Case] = &[
    // Those that wait for longest, so that nobody waits for them in the end.
    case("a_move_is_noticed", a_move_is_noticed),
    case("an_upnp_mapping_lasts_as_long_as_its_node", || is_renewed(Mapping::Upnp)),
    case("a_natpmp_mapping_lasts_as_long_as_its_node", || is_renewed(Mapping::NatPmp)),
    case("a_machine_with_a_new_address_is_followed", a_machine_with_a_new_address_is_followed),
    case("a_port_is_mapped_by_upnp", || is_mapped(Mapping::Upnp, "upnp")),
    case("a_port_is_mapped_by_natpmp", || is_mapped(Mapping::NatPmp, "natpmp")),
    case("a_port_is_mapped_by_one_of_both", || is_mapped(Mapping::Both, "")),
    restarting("an_upnp_mapping_survives_a_restart", || survives_a_restart(Mapping::Upnp)),
    restarting("a_natpmp_mapping_survives_a_restart", || survives_a_restart(Mapping::NatPmp)),
    restarting("a_mapping_by_one_of_both_survives_a_restart", || survives_a_restart(Mapping::Both)),
    restarting("who_looks_anew_maps_anew_after_a_restart", who_looks_anew_maps_anew),
    case("the_doctor_takes_its_upnp_mapping_back", || is_taken_back(Mapping::Upnp)),
    case("the_doctor_takes_its_natpmp_mapping_back", || is_taken_back(Mapping::NatPmp)),
    case("a_dropped_net_takes_its_mapping_back", a_dropped_net_takes_its_mapping_back),
    case("what_is_forwarded_by_hand_is_enough", what_is_forwarded_by_hand_is_enough),
    case("switched_off_it_sends_nothing", switched_off_it_sends_nothing),
    case("two_hosts_share_a_port_by_upnp", || two_hosts_share_a_port(Mapping::Upnp)),
    case("two_hosts_share_a_port_by_natpmp", || two_hosts_share_a_port(Mapping::NatPmp)),
    case("two_nodes_share_a_host", two_nodes_share_a_host),
    case("what_others_have_mapped_stays_by_upnp", || what_others_have_stays(Mapping::Upnp)),
    case("what_others_have_mapped_stays_by_natpmp", || what_others_have_stays(Mapping::NatPmp)),
    case("what_others_have_mapped_stays_by_either", || what_others_have_stays(Mapping::Both)),
    case("who_leaves_while_asking_leaves_nothing", who_leaves_while_asking_leaves_nothing),
    case("behind_a_carrier_nothing_is_mapped", behind_a_carrier_nothing_is_mapped),
    case("a_router_behind_a_carrier_may_lie", a_router_behind_a_carrier_may_lie),
    case("a_router_may_refuse", a_router_may_refuse),
    case("a_router_may_know_neither_protocol", a_router_may_know_neither_protocol),
    case("a_router_may_fall_silent", a_router_may_fall_silent),
    case("a_moved_machine_asks_its_new_router", a_moved_machine_asks_its_new_router),
    Case {
        name: "a_server_answers_for_silent_and_for_closed_ports_at_the_same_time",
        needs: &[Need::Network],
        run: a_server_answers_at_the_same_time,
    },
];

/// What takes minutes, even though it only waits: run where `P2POLL_NATLAB_LONG` is set.
pub(crate) const LONG: &[Case] =
    &[restarting("a_restart_that_ends_connections_is_noticed", a_restart_that_ends_connections_is_noticed)];

const PORT: u16 = 41_000;

fn is_mapped(by: Mapping, protocol: &str) {
    let town = Town::new();
    let home = town.router().mapping(by);
    let host = home.host();
    let mut node = Node::start(&host, &town.wishes());
    let external = node.until(|picture| picture.external.is_some()).external;
    let mapped = node.age();
    let picture = node.until(Picture::is_open).clone();
    println!("{by:?}: mapped by {} after {mapped:?}, certain after {:?}", picture.protocol, node.age());
    assert!(picture.protocol.contains(protocol), "{picture:?}");
    assert_eq!(picture.external, external);
    assert_eq!(picture.wan, home.address().to_string());
    town.visit(&mut node);
    assert_eq!(table(&home), [(PORT, inside(&host, PORT))], "one, and no other");

    assert!(node.finish(), "in time");
    assert_eq!(table(&home), [], "{}", home.daemon_log());
    assert_eq!(probe(&town.stranger, external.expect("just now")), Answer::Silent);
}

fn is_renewed(by: Mapping) {
    const LEASE: u64 = 6;
    let town = Town::new();
    let home = town.router().mapping(by);
    let host = home.host();
    let mut node = Node::start(&host, &town.wishes().lease(LEASE));
    let external = node.until(Picture::is_open).external.expect("it is open");
    let three_leases = Instant::now() + 3 * Duration::from_secs(LEASE);
    while Instant::now() < three_leases {
        node.watch(Duration::from_millis(200), |picture| assert!(picture.is_open(), "{picture:?}"));
        assert_eq!(table(&home).len(), 1, "{}", node.said());
    }
    town.visit(&mut node);

    node.kill();
    let killed = Instant::now();
    assert_eq!(table(&home).len(), 1, "nobody has told the router");
    assert!(soon(|| table(&home).is_empty()), "{}", home.daemon_log());
    println!("{by:?}: gone {:?} after the node", killed.elapsed());
    assert_eq!(probe(&town.stranger, external), Answer::Silent);
}

fn survives_a_restart(by: Mapping) {
    let town = Town::new();
    let home = town.router().mapping(by);
    let host = home.host();
    let mut node = Node::start(&host, &town.wishes().lease(8));
    node.until(Picture::is_open);
    home.restart();
    let restarted = Instant::now();
    assert_eq!(table(&home), [], "it has forgotten");
    assert!(soon(|| !table(&home).is_empty()), "{}", node.said());
    println!("{by:?}: mapped again {:?} after the restart", restarted.elapsed());
    assert_eq!(table(&home), [(PORT, inside(&host, PORT))]);
    node.until(Picture::is_open);
    town.visit(&mut node);
    assert!(node.finish());
    assert_eq!(table(&home), []);
}

fn who_looks_anew_maps_anew() {
    for by in [Mapping::Upnp, Mapping::NatPmp] {
        let town = Town::new();
        let home = town.router().mapping(by);
        let host = home.host();
        let mut node = Node::start(&host, &town.wishes());
        node.until(Picture::is_open);
        home.restart();
        let restarted = Instant::now();
        node.refresh();
        assert!(soon(|| !table(&home).is_empty()), "{}", node.said());
        println!("{by:?}: mapped again {:?} after the restart, when asked to look", restarted.elapsed());
        node.until(Picture::is_open);
        town.visit(&mut node);
    }
}

/// It asks for nothing, and its lease is an hour's; but a router that has forgotten its connections resets them.
fn a_restart_that_ends_connections_is_noticed() {
    let town = Town::new();
    let home = town.lab.router(Nat::Random, Filter::Reject).mapping(Mapping::Both);
    let host = home.host();
    let mut node = Node::start(&host, &town.wishes());
    node.until(Picture::is_open);
    home.restart();
    let restarted = Instant::now();
    // Half of what an idle connection may be dead for, and some more.
    let mapped_again = || !table(&home).is_empty();
    assert!(within(Duration::from_secs(90), mapped_again), "{}", node.said());
    println!("mapped again {:?} after a restart that nobody was told of", restarted.elapsed());
    node.until(Picture::is_open);
    town.visit(&mut node);
}

fn is_taken_back(by: Mapping) {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let town = Town::new();
        let home = town.router().mapping(by);
        let host = home.host();
        let mut doctor = Node::doctor(&host, &town.wishes());
        doctor.until(Picture::is_open);
        assert_eq!(table(&home), [(PORT, inside(&host, PORT))]);
        assert!(doctor.signal(signal));
        assert_eq!(table(&home), [], "{signal}: {}", home.daemon_log());
    }
}

fn a_dropped_net_takes_its_mapping_back() {
    for by in [Mapping::Upnp, Mapping::NatPmp] {
        let town = Town::new();
        let home = town.router().mapping(by);
        let host = home.host();
        let mut node = Node::start(&host, &town.wishes());
        node.until(Picture::is_open);
        node.drop_net();
        assert!(soon(|| table(&home).is_empty()), "{by:?}: {}", node.said());
    }
}

fn who_leaves_while_asking_leaves_nothing() {
    for by in [Mapping::Upnp, Mapping::NatPmp, Mapping::Both] {
        let town = Town::new();
        let home = town.router().mapping(by);
        let host = home.host();
        let mut node = Node::start(&host, &town.wishes());
        node.until(|picture| picture.mapping == "looking for a router");
        assert!(node.finish(), "in time");
        // Whatever was under way has come to its end.
        assert_eq!(table(&home), [], "{by:?}: {}", home.daemon_log());
    }
}

fn what_is_forwarded_by_hand_is_enough() {
    let town = Town::new();
    let home = town.router().mapping(Mapping::Both);
    let host = home.host();
    home.forward(PORT, inside(&host, PORT));
    let asked = Counter::new(&home);
    let mut node = Node::start(&host, &town.wishes());
    let picture = node.until(|picture| picture.reachable.is_some());
    assert_eq!((picture.reachable, picture.mapping.as_str()), (Some(true), "not needed"));
    town.visit(&mut node);
    node.refresh();
    node.watch(Duration::from_secs(2), |picture| assert_ne!(picture.reachable, Some(false)));
    assert!(node.picture().reachable == Some(true), "{:?}", node.picture());
    assert!(node.finish());
    assert_eq!((asked.packets(), table(&home)), (0, vec![]));
}

fn switched_off_it_sends_nothing() {
    let town = Town::new();
    let home = town.router().mapping(Mapping::Both);
    let host = home.host();
    let asked = Counter::new(&home);
    let mut doctor = Node::doctor(&host, &town.wishes().mapping(PortMapping::Off));
    let picture = doctor.until(|picture| picture.reachable.is_some());
    assert_eq!((picture.reachable, picture.mapping.as_str()), (Some(false), "switched off"));
    assert!(doctor.signal(Signal::SIGTERM));
    let mut node = Node::start(&host, &town.wishes().mapping(PortMapping::Off));
    node.until(|picture| picture.reachable == Some(false));
    node.refresh();
    node.watch(Duration::from_secs(2), |_| {});
    assert!(node.finish());
    assert_eq!(asked.packets(), 0);

    // Switched on, it would have been counted.
    let mut node = Node::start(&host, &town.wishes());
    node.until(Picture::is_open);
    assert!(asked.packets() >= 2, "{}", asked.packets());
}

fn two_hosts_share_a_port(by: Mapping) {
    let town = Town::new();
    let home = town.router().mapping(by);
    let hosts = [home.host(), home.host()];
    let mut nodes = hosts.each_ref().map(|host| Node::start(host, &town.wishes()));
    let externals = nodes.each_mut().map(|node| node.until(Picture::is_open).external.expect("open"));
    assert_ne!(externals[0], externals[1]);
    nodes.iter_mut().for_each(|node| town.visit(node));
    let mut expected: Vec<_> =
        externals.iter().zip(&hosts).map(|(at, host)| (at.port(), inside(host, PORT))).collect();
    expected.sort_unstable();
    assert_eq!(table(&home), expected);

    let [first, mut second] = nodes;
    assert!(first.finish());
    assert_eq!(table(&home), [(externals[1].port(), inside(&hosts[1], PORT))]);
    town.visit(&mut second);
    assert!(second.finish());
    assert_eq!(table(&home), []);
}

fn two_nodes_share_a_host() {
    for by in [Mapping::Upnp, Mapping::NatPmp] {
        let town = Town::new();
        let home = town.router().mapping(by);
        let host = home.host();
        let mut first = Node::start(&host, &town.wishes());
        let mut second = Node::start(&host, &Wishes::new(PORT + 1, &[town.server.addr()]));
        first.until(Picture::is_open);
        second.until(Picture::is_open);
        assert_eq!(table(&home), [(PORT, inside(&host, PORT)), (PORT + 1, inside(&host, PORT + 1))]);
        assert!(first.finish());
        assert_eq!(table(&home), [(PORT + 1, inside(&host, PORT + 1))], "{by:?}");
        town.visit(&mut second);
    }
}

fn what_others_have_stays(by: Mapping) {
    let town = Town::new();
    let home = town.router().mapping(by);
    let (host, other) = (home.host(), home.host());
    let (_listener, theirs) = listen(&other);
    let (address, port, wanted) = (theirs.ip().to_string(), theirs.port().to_string(), PORT.to_string());
    let (done, said) = match by {
        Mapping::NatPmp => run(&other, "natpmpc", &["-a", &wanted, &port, "tcp", "600"]),
        _ => run(&other, "upnpc", &["-a", &address, &port, &wanted, "tcp", "600"]),
    };
    assert!(done, "{said}");
    assert_eq!(table(&home), [(PORT, theirs)]);

    let mut node = Node::start(&host, &town.wishes());
    let external = node.until(Picture::is_open).external.expect("it is open");
    assert_ne!(external.port(), PORT);
    assert_eq!(table(&home), [(PORT, theirs), (external.port(), inside(&host, PORT))]);
    town.visit(&mut node);
    assert!(node.finish());
    assert_eq!(table(&home), [(PORT, theirs)]);
    assert_eq!(probe(&town.stranger, SocketAddrV4::new(home.address(), PORT)), Answer::Connected);
}

fn behind_a_carrier_nothing_is_mapped() {
    // A miniupnpd whose own address is not public keeps it to itself, and forwards nothing.
    const SECRETIVE: &str = "the router has no external address itself";
    for (by, expected) in [
        (Mapping::Upnp, [SECRETIVE, "no router answers"]),
        (Mapping::NatPmp, ["no router answers", SECRETIVE]),
        (Mapping::Both, [SECRETIVE, SECRETIVE]),
    ] {
        let town = Town::new();
        let carrier = town.lab.carrier(Nat::Preserving, Filter::Drop);
        let home = carrier.router(Nat::Preserving, Filter::Drop).mapping(by);
        let host = home.host();
        let mut node = Node::start(&host, &town.wishes());
        let picture = node.until(|picture| picture.reachable == Some(false) && has_failed(picture)).clone();
        println!("{by:?}: double NAT known after {:?}", node.age());
        let [upnp, nat_pmp] = expected;
        assert_eq!(picture.mapping, format!("UPnP: {upnp}; NAT-PMP: {nat_pmp}"), "{}", node.said());
        assert_eq!(picture.wan, carrier.address().to_string());
        assert_eq!(table(&home), []);
    }
}

fn a_router_behind_a_carrier_may_lie() {
    let town = Town::new();
    let carrier = town.lab.carrier(Nat::Preserving, Filter::Drop);
    // It was told that it has the carrier's address.
    let address = format!("ext_ip={}", carrier.address());
    let home = carrier.router(Nat::Preserving, Filter::Drop).mapping_with(Mapping::Both, &address);
    let host = home.host();
    let mut node = Node::start(&host, &town.wishes());
    node.until(|picture| picture.external.is_some());
    node.until(|picture| picture.reachable == Some(false));
    assert!(node.finish());
    assert_eq!(table(&home), []);
}

/// By UPnP. By NAT-PMP miniupnpd first tries every other port, for half a minute and with all of a processor, and some
/// kernels' timeouts on sockets come late meanwhile, in other tests too.
fn a_router_may_refuse() {
    let town = Town::new();
    let home = town.router().mapping_with(Mapping::Upnp, "deny 0-65535 0.0.0.0/0 0-65535");
    let host = home.host();
    let mut node = Node::start(&host, &town.wishes());
    let picture = node.until(|picture| picture.reachable == Some(false) && has_failed(picture)).clone();
    println!("refused after {:?}", node.age());
    assert_eq!(picture.mapping, "UPnP: the router refuses; NAT-PMP: no router answers", "{}", node.said());
    assert_eq!(table(&home), []);
}

fn a_router_may_know_neither_protocol() {
    let town = Town::new();
    let home = town.router().mapping(Mapping::Both);
    let host = home.host();
    home.kill_daemon();
    let mut node = Node::start(&host, &town.wishes());
    let picture = node.until(|picture| picture.reachable == Some(false) && has_failed(picture)).clone();
    println!("no daemon: known after {:?}", node.age());
    assert_eq!(picture.mapping, "UPnP: no router answers; NAT-PMP: no router answers");
    assert!(node.age() < Duration::from_secs(9), "{:?}", node.age());
}

fn a_router_may_fall_silent() {
    let town = Town::new();
    let home = town.router().mapping(Mapping::Both);
    let host = home.host();
    let mut node = Node::start(&host, &town.wishes().lease(4));
    node.until(Picture::is_open);
    home.kill_daemon();
    let killed = Instant::now();
    let picture = node.until(has_failed).clone();
    println!("the daemon's end: known after {:?}", killed.elapsed());
    assert_eq!(picture.mapping, "UPnP: no router answers; NAT-PMP: no router answers", "{}", node.said());
    // What it has mapped stayed when it ended, and leads to us still: that is seen from outside.
    node.until(|picture| picture.reachable == Some(true));
    town.visit(&mut node);
}

fn a_moved_machine_asks_its_new_router() {
    let town = Town::new();
    let old = town.router().mapping(Mapping::Both);
    let new = town.router().mapping(Mapping::Both);
    // At its new home the machine has another address than before.
    let _neighbour = new.host();
    let mut host = old.host();
    let mut node = Node::start(&host, &town.wishes());
    node.until(Picture::is_open);
    host.move_to(&new);
    let moved = Instant::now();
    node.refresh();
    let wan = new.address().to_string();
    let picture = node.until(|picture| picture.is_open() && picture.wan == wan).clone();
    println!("at home in another place {:?} after the move, when asked to look", moved.elapsed());
    assert_eq!(picture.lan, [host.address().to_string()]);
    assert_eq!(picture.external, Some(SocketAddrV4::new(new.address(), PORT)));
    town.visit(&mut node);
    assert!(node.finish());
    assert_eq!(table(&new), []);
}

fn a_machine_with_a_new_address_is_followed() {
    for by in [Mapping::Upnp, Mapping::NatPmp] {
        let town = Town::new();
        let home = town.router().mapping(by);
        let mut host = home.host();
        let mut node = Node::start(&host, &town.wishes());
        node.until(Picture::is_open);
        host.readdress();
        node.refresh();
        let lan = [host.address().to_string()];
        node.until(|picture| picture.lan == lan && !picture.is_open());
        node.until(Picture::is_open);
        let here = inside(&host, PORT);
        assert!(table(&home).iter().any(|(_, to)| *to == here), "{:?}", table(&home));
        town.visit(&mut node);
        assert!(node.finish());
        assert!(table(&home).iter().all(|(_, to)| *to != here), "{:?}", table(&home));
    }
}

/// Nobody asks it to look.
fn a_move_is_noticed() {
    let town = Town::new();
    let old = town.router().mapping(Mapping::Both);
    let new = town.router().mapping(Mapping::Both);
    let _neighbour = new.host();
    let mut host = old.host();
    let mut doctor = Node::doctor(&host, &town.wishes());
    doctor.until(Picture::is_open);
    host.move_to(&new);
    let moved = Instant::now();
    let wan = new.address().to_string();
    doctor.within(2 * PATIENCE, |picture| picture.is_open() && picture.wan == wan);
    println!("at home in another place {:?} after the move", moved.elapsed());
    assert_eq!(table(&new), [(PORT, inside(&host, PORT))]);
}

fn a_server_answers_at_the_same_time() {
    const TURNS: usize = 3;
    let town = Town::new();
    let hosts = [Filter::Drop, Filter::Reject].map(|filter| town.lab.router(Nat::Preserving, filter).host());
    for host in hosts.iter().cycle().take(2 * TURNS) {
        let mut stream = connect(host, 0, town.server.addr(), PATIENCE).expect("it is there");
        let mut lines = BufReader::new(stream.try_clone().expect("a descriptor")).lines();
        let asked = Instant::now();
        stream.write_all(format!("PROBE {PORT} 0123456789abcdef\r\n").as_bytes()).expect("it takes a line");
        let answer = lines.next().expect("it answers").expect("text");
        let took = asked.elapsed();
        assert_eq!(answer.trim(), format!("PROBED {PORT} NO"));
        // The earlier is the secret's end, the later a busy machine's.
        assert!((Duration::from_millis(490)..Duration::from_millis(1500)).contains(&took), "{took:?}");
    }
}

/// A rendezvous server, and somebody who is neither it nor behind any router.
struct Town {
    lab: Lab,
    server: Server,
    stranger: Host,
    _server_host: Host,
}

impl Town {
    fn new() -> Town {
        let lab = Lab::new();
        let (server_host, stranger) = (lab.server(), lab.server());
        Town { server: Server::start(&server_host), stranger, _server_host: server_host, lab }
    }

    fn router(&self) -> Router {
        self.lab.router(Nat::Preserving, Filter::Drop)
    }

    fn wishes(&self) -> Wishes {
        Wishes::new(PORT, &[self.server.addr()])
    }

    /// The stranger connects to where the node says that it is, and says something that it hears.
    #[track_caller]
    fn visit(&self, node: &mut Node) {
        let Picture { wan, port, .. } = node.picture();
        let wan: Ipv4Addr = wan.parse().expect("an address");
        let port = port.and_then(|port| u16::try_from(port).ok()).expect("a port");
        let entrance = SocketAddr::from((wan, port));
        let mut stream = connect(&self.stranger, 0, entrance, PATIENCE).expect("it can be reached");
        let line = format!("hello at {entrance}");
        stream.write_all(format!("{line}\n").as_bytes()).expect("it takes a line");
        node.hear(&line);
    }
}

/// Counts what a router gets from its house for itself, or for everybody there: not what goes through it.
struct Counter<'a>(&'a Router);

impl Counter<'_> {
    fn new(router: &Router) -> Counter<'_> {
        let rules = format!(
            "table ip counted {{
                chain asked {{
                    type filter hook prerouting priority -400; policy accept;
                    iifname lan0 ip daddr {{ {}, 224.0.0.0/4, 255.255.255.255 }} counter
                }}
            }}\n",
            router.gateway()
        );
        router.space().expect("the kernel's").nft(&rules).expect("a counter can be added");
        Counter(router)
    }

    fn packets(&self) -> u64 {
        let said = nft(self.0, &["list", "table", "ip", "counted"]);
        after(&said, "packets ").and_then(|number| number.parse().ok()).expect("there is a counter")
    }
}

/// Like `eventually`, for what it takes a process to look at.
fn soon(happened: impl FnMut() -> bool) -> bool {
    within(PATIENCE, happened)
}

fn within(limit: Duration, mut happened: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !happened() {
        if Instant::now() > deadline {
            return false;
        }
        thread::park_timeout(Duration::from_millis(50));
    }
    true
}

/// What hosts have had the router forward, in order: external ports, and where they lead.
fn table(router: &Router) -> Vec<(u16, SocketAddrV4)> {
    let rules = nft(router, &["-n", "list", "chain", "inet", "natlab", "prerouting_miniupnpd"]);
    let rules = rules.lines().filter(|line| line.contains("dnat"));
    let read = |rule| Some((after(rule, "dport ")?.parse().ok()?, after(rule, " to ")?.parse().ok()?));
    let mut table: Vec<_> = rules.map(|rule| read(rule).unwrap_or_else(|| panic!("{rule}"))).collect();
    table.sort_unstable();
    table
}

fn nft(router: &Router, arguments: &[&str]) -> String {
    let mut command = router.space().expect("the kernel's").command("nft");
    let (done, said) = finish(command.args(arguments));
    assert!(done, "{said}");
    said
}

/// The word after these.
fn after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    text.split_once(words)?.1.split_whitespace().next()
}

fn inside(host: &Host, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(host.address(), port)
}

/// Routers were asked, and none will do it.
fn has_failed(picture: &Picture) -> bool {
    picture.mapping.starts_with("UPnP: ")
}

const fn case(name: &'static str, run: fn()) -> Case {
    const NEEDS: &[Need] = &[Need::Program("miniupnpd"), Need::Program("upnpc"), Need::Program("natpmpc")];
    Case { name, needs: NEEDS, run }
}

const fn restarting(name: &'static str, run: fn()) -> Case {
    Case { name, needs: &[Need::Program("miniupnpd"), Need::Program("conntrack")], run }
}
