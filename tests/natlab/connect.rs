//! Nodes behind NATs connect to each other by UNL, by the way that there is, and say what becomes of it. One case of each
//! kind; all pairs of kinds, many times, are what `cargo run --release --example nat_matrix` measures.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use p2poll::{Key, NodeType, Unl};

use crate::lab::{Filter, Host, Lab, Nat, Need, Router};
use crate::peer::{Outcome, Peer, Server, Settings};
use crate::tools::{Case, PATIENCE, eventually};

/// The ways, and what may come between.
pub(crate) const CASES: &[Case] = &[
    case("a_lost_server_is_found_again", a_lost_server_is_found_again),
    case("an_idle_hole_stays_open", an_idle_hole_stays_open),
    case("a_forgotten_hole_is_told_of", a_forgotten_hole_is_told_of),
    case("routers_that_drop_are_punched", routers_that_drop_are_punched),
    case("routers_that_reject_are_punched_with_late_signals", routers_that_reject_are_punched),
    case("a_step_from_port_to_port_is_punched", a_step_from_port_to_port_is_punched),
    case("unpredictable_ports_are_relayed", unpredictable_ports_are_relayed),
    case("the_end_of_a_relay_is_told", the_end_of_a_relay_is_told),
    case("one_house_needs_no_router", one_house_needs_no_router),
    case("one_machine_needs_no_network", one_machine_needs_no_network),
    case("a_forwarded_port_is_called_at_once", a_forwarded_port_is_called_at_once),
    case("who_can_be_reached_is_called_back", who_can_be_reached_is_called_back),
    case("both_at_once_is_one_connection", both_at_once_is_one_connection),
    case("a_server_may_die_in_the_middle", a_server_may_die_in_the_middle),
    case("a_gone_node_is_told_with_reasons", a_gone_node_is_told_with_reasons),
    case("a_hostile_unl_aims_at_nobody", a_hostile_unl_aims_at_nobody),
    case("two_terminals_talk_through_two_nats", two_terminals_talk_through_two_nats),
];

/// Where servers listen.
const SERVERS: u16 = 8000;
/// Where nodes do.
const PORT: u16 = 20_000;

fn routers_that_drop_are_punched() {
    let town = Town::new();
    let [alice, bob] = town.two_homes([(Nat::Preserving, Filter::Drop); 2]);
    let [mut alice, mut bob] = town.nodes([&alice, &bob]);
    town.connect(&mut alice, &mut bob, &["punched"]);
}

fn routers_that_reject_are_punched() {
    let town = Town::new();
    let homes = [(Nat::Preserving, Filter::Reject), (Nat::Reuse, Filter::Reject)];
    let [alice, bob] = homes.map(|(nat, filter)| town.lab.router(nat, filter));
    let outside = bob.address();
    let (alice, bob) = (alice.host(), bob.host());
    let [mut alice, mut bob] = town.nodes([&alice, &bob]);
    for server in &town.servers {
        town.lab.delay_between(ip(server.addr()), outside, Duration::from_millis(100));
    }
    town.connect(&mut alice, &mut bob, &["punched"]);
}

fn a_step_from_port_to_port_is_punched() {
    let town = Town::new();
    let [alice, bob] = town.two_homes([(Nat::Delta(7), Filter::Drop), (Nat::Reuse, Filter::Drop)]);
    let [mut alice, mut bob] = town.nodes([&alice, &bob]);
    town.connect(&mut alice, &mut bob, &["punched"]);
}

fn unpredictable_ports_are_relayed() {
    let town = Town::new();
    let [alice, bob] = town.two_homes([(Nat::Random, Filter::Drop); 2]);
    let [mut alice, mut bob] = town.nodes([&alice, &bob]);
    let took = town.connect(&mut alice, &mut bob, &["relayed"]);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

fn the_end_of_a_relay_is_told() {
    let mut town = Town::new();
    let [alice, bob] = town.two_homes([(Nat::Random, Filter::Drop); 2]);
    let [mut alice, mut bob] = town.nodes([&alice, &bob]);
    town.connect(&mut alice, &mut bob, &["relayed"]);
    // Without a word, whichever of them it is.
    town.servers.clear();
    for peer in [&mut alice, &mut bob] {
        let why = told(peer.closed(PATIENCE), peer);
        assert!(["closed by the peer", "reset by the peer"].contains(&why.as_str()), "{why}");
    }
}

fn one_house_needs_no_router() {
    for nat in [Nat::Preserving, Nat::Reuse] {
        let town = Town::new();
        let router = town.lab.router(nat, Filter::Drop);
        let hosts = [router.host(), router.host()];
        let [mut alice, mut bob] = town.nodes([&hosts[0], &hosts[1]]);
        let servers: Vec<_> = town.servers.iter().map(|server| ip(server.addr())).collect();
        let to_router = |from: Ipv4Addr, to| to == router.address() && !servers.contains(&from);
        town.connect(&mut alice, &mut bob, &["lan"]);
        assert_eq!(router.house().openings(to_router) + town.lab.openings(to_router), 0, "{nat:?}");
    }
}

fn one_machine_needs_no_network() {
    let town = Town::new();
    let router = town.lab.router(Nat::Preserving, Filter::Drop);
    let host = router.host();
    let nodes = [PORT, PORT + 1].map(|port| town.node(&host, port));
    let [mut alice, mut bob] = nodes;
    [&mut alice, &mut bob].into_iter().for_each(ready);
    town.connect(&mut alice, &mut bob, &["lan"]);
    assert_eq!(router.house().openings(|_, to| to == router.address() || to == host.address()), 0);
}

fn a_forwarded_port_is_called_at_once() {
    let town = Town::new();
    let home = town.lab.router(Nat::Preserving, Filter::Drop);
    let alice = town.lab.router(Nat::Random, Filter::Reject).host();
    let bob = home.host();
    home.forward(PORT, SocketAddrV4::new(bob.address(), PORT));
    let [mut alice, mut bob] = town.nodes([&alice, &bob]);
    town.connect(&mut alice, &mut bob, &["direct"]);
}

fn who_can_be_reached_is_called_back() {
    let town = Town::new();
    let alice = town.lab.server();
    let bob = town.lab.router(Nat::Random, Filter::Drop).host();
    let [mut alice, mut bob] = town.nodes([&alice, &bob]);
    town.connect(&mut alice, &mut bob, &["reverse"]);
}

fn both_at_once_is_one_connection() {
    let town = Town::new();
    let [alice, bob] = town.two_homes([(Nat::Preserving, Filter::Drop), (Nat::Reuse, Filter::Reject)]);
    let [mut alice, mut bob] = town.nodes([&alice, &bob]);
    let unls = [&alice, &bob].map(|peer| peer.unl().to_owned());
    alice.connect(&unls[1]).expect("it takes orders");
    bob.connect(&unls[0]).expect("it takes orders");
    for peer in [&mut alice, &mut bob] {
        let outcome = told(peer.outcome(PATIENCE), peer);
        assert!(matches!(outcome, Outcome::Connected { .. }), "{outcome:?}\n{}", peer.trace());
    }
    // A line that is said on all connections comes once over one.
    exchange(&mut alice, &mut bob);
    bob.say("the last").expect("it takes orders");
    let mut copies = 0;
    while alice.until(Duration::from_millis(300), |event| event["line"] == "the last").is_ok() {
        copies += 1;
    }
    assert_eq!(copies, 1, "{}", alice.trace());
}

fn a_server_may_die_in_the_middle() {
    let mut town = Town::new();
    let [alice, bob] = town.two_homes([(Nat::Preserving, Filter::Drop); 2]);
    let [mut alice, mut bob] = town.nodes([&alice, &bob]);
    alice.connect(bob.unl()).expect("it takes orders");
    // Whichever it is that the signals go through first, the other one remains.
    town.servers.remove(0);
    let outcome = told(alice.outcome(PATIENCE), &alice);
    assert!(matches!(outcome, Outcome::Connected { .. }), "{outcome:?}\n{}", alice.trace());
    exchange(&mut alice, &mut bob);
}

fn a_lost_server_is_found_again() {
    let mut town = Town::new();
    let [alice, bob] = town.two_homes([(Nat::Preserving, Filter::Drop), (Nat::Reuse, Filter::Drop)]);
    let [mut alice, mut bob] = town.nodes([&alice, &bob]);
    town.connect(&mut alice, &mut bob, &["punched"]);
    let carol = town.lab.router(Nat::Preserving, Filter::Reject).host();
    let mut carol = town.node(&carol, PORT);
    ready(&mut carol);

    town.servers.clear();
    for peer in [&mut alice, &mut bob, &mut carol] {
        told(peer.until(PATIENCE, |event| event["up"] == 0), peer);
    }
    // What has no need of servers any more goes on without.
    exchange(&mut alice, &mut bob);
    town.start_servers();
    for peer in [&mut alice, &mut bob, &mut carol] {
        told(peer.until(PATIENCE, |event| event["ready"] == true), peer);
        ready(peer);
    }
    town.connect(&mut carol, &mut bob, &["punched"]);
}

fn an_idle_hole_stays_open() {
    let town = Town::new();
    let routers = [(); 2].map(|()| town.lab.router(Nat::Preserving, Filter::Drop));
    let hosts = routers.each_ref().map(Router::host);
    let settings = Settings { dead_after: Some(4), ..town.settings(PORT) };
    let nodes = hosts.each_ref().map(|host| Peer::start(host, &settings).expect("it can be started"));
    let [mut alice, mut bob] = nodes;
    [&mut alice, &mut bob].into_iter().for_each(ready);
    for router in &routers {
        let space = router.space().expect("it is the kernel's");
        // Shorter than any real router's, and nothing is taken up again that is forgotten.
        space.set("net/netfilter/nf_conntrack_tcp_timeout_established", "3").expect("it can be set");
        space.set("net/netfilter/nf_conntrack_tcp_loose", "0").expect("it can be set");
    }
    town.connect(&mut alice, &mut bob, &["punched"]);
    thread::park_timeout(Duration::from_secs(5));
    exchange(&mut alice, &mut bob);
}

fn a_forgotten_hole_is_told_of() {
    let town = Town::new();
    let routers = [(); 2].map(|()| town.lab.router(Nat::Reuse, Filter::Reject));
    let hosts = routers.each_ref().map(Router::host);
    let settings = Settings { dead_after: Some(4), ..town.settings(PORT) };
    let nodes = hosts.each_ref().map(|host| Peer::start(host, &settings).expect("it can be started"));
    let [mut alice, mut bob] = nodes;
    [&mut alice, &mut bob].into_iter().for_each(ready);
    town.connect(&mut alice, &mut bob, &["punched"]);
    routers[0].restart();
    // What she sends comes from another port now; what he sends is rejected.
    alice.say("still there?").expect("it takes orders");
    for peer in [&mut alice, &mut bob] {
        let why = told(peer.closed(PATIENCE), peer);
        assert!(["reset by the peer", "the peer vanished"].contains(&why.as_str()), "{why}");
    }
}

fn a_gone_node_is_told_with_reasons() {
    let town = Town::new();
    let hosts = town.two_homes([(Nat::Preserving, Filter::Drop); 2]);
    let settings = Settings { connect_within: Some(3), ..town.settings(PORT) };
    let nodes = hosts.each_ref().map(|host| Peer::start(host, &settings).expect("it can be started"));
    let [mut alice, mut bob] = nodes;
    [&mut alice, &mut bob].into_iter().for_each(ready);
    let unl = bob.unl().to_owned();
    drop(bob);
    alice.connect(&unl).expect("it takes orders");
    let outcome = told(alice.outcome(PATIENCE), &alice);
    let Outcome::Failed(why) = &outcome else { panic!("{outcome:?}\n{}", alice.trace()) };
    for rung in ["lan", "direct", "reverse", "punch", "relay"] {
        assert!(why.contains(rung), "{rung} is not in {why:?}");
    }
}

/// It names somebody who has nothing to do with it, at one port and at many, and is used again and again.
fn a_hostile_unl_aims_at_nobody() {
    // As documented: `Config::max_claimed_syns` and `Config::max_host_syns`.
    const PORT_LIMIT: u64 = 3;
    const HOST_LIMIT: u64 = 12;
    let town = Town::new();
    let (one, many) = (town.lab.server(), town.lab.server());
    let host = town.lab.router(Nat::Preserving, Filter::Drop).host();
    let settings = Settings { connect_within: Some(2), ..town.settings(PORT) };
    let mut alice = Peer::start(&host, &settings).expect("it can be started");
    ready(&mut alice);
    let aimed_at = |host: &Host, ports: u16| {
        assert!(usize::from(ports) <= Unl::MAX_ADDRESSES);
        let addrs = (0..ports).map(|port| SocketAddr::from((host.address(), 1000 + port)));
        let unl = addrs.fold(Unl::builder(NodeType::Passive), |unl, addr| unl.wan(addr));
        unl.sign(&Key::generate().expect("random bytes")).expect("it can be signed").to_string()
    };
    let unls = [aimed_at(&one, 1), aimed_at(&many, 8)];
    for unl in [&unls, &unls, &unls].into_iter().flatten() {
        alice.connect(unl).expect("it takes orders");
        let outcome = told(alice.outcome(PATIENCE), &alice);
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    }
    for (host, limit) in [(&one, PORT_LIMIT), (&many, HOST_LIMIT)] {
        let syns = town.lab.openings(|_, to| to == host.address());
        assert!((1..=limit).contains(&syns), "{syns} of at most {limit}\n{}", alice.trace());
    }
}

/// What the README promises.
fn two_terminals_talk_through_two_nats() {
    let town = Town::new();
    let [alice, bob] = town.two_homes([(Nat::Preserving, Filter::Drop), (Nat::Reuse, Filter::Reject)]);
    let servers: Vec<_> = town.servers.iter().map(|server| server.addr().to_string()).collect();
    let mut command = alice.command(env!("CARGO_BIN_EXE_p2poll"));
    command.args(["listen", "--no-mapping"]);
    servers.iter().for_each(|server| _ = command.args(["--rendezvous", server]));
    let mut alice = Terminal::open(command);
    let unl = alice.error(|line| line.split_once("unl: ").map(|(_, unl)| unl.trim().to_owned()));

    let mut command = bob.command(env!("CARGO_BIN_EXE_p2poll"));
    command.args(["connect", "--no-mapping", &unl]);
    let mut bob = Terminal::open(command);
    bob.type_line("hello, who listens");
    alice.read("hello, who listens");
    alice.type_line("hello yourself");
    bob.read("hello yourself");
    bob.end_input();
    assert!(eventually(|| bob.child.try_wait().is_ok_and(|end| end.is_some())), "it ends with its input");
    assert!(bob.child.wait().expect("it has ended").success());
}

/// Two servers, 25 ms from everybody.
struct Town {
    lab: Lab,
    servers: Vec<Server>,
    hosts: Vec<Host>,
}

impl Town {
    fn new() -> Town {
        let lab = Lab::new();
        let hosts = vec![lab.server(), lab.server()];
        lab.delay(Duration::from_millis(25));
        let mut town = Town { lab, servers: Vec::new(), hosts };
        town.start_servers();
        town
    }

    fn start_servers(&mut self) {
        let start = |host| Server::start(host, SERVERS).expect("it can be started");
        self.servers = self.hosts.iter().map(start).collect();
    }

    fn two_homes(&self, kinds: [(Nat, Filter); 2]) -> [Host; 2] {
        kinds.map(|(nat, filter)| self.lab.router(nat, filter).host())
    }

    fn settings(&self, port: u16) -> Settings {
        let addrs = self.hosts.iter().map(|host| SocketAddr::from((host.address(), SERVERS)));
        Settings::new(port, &addrs.collect::<Vec<_>>())
    }

    fn node(&self, host: &Host, port: u16) -> Peer {
        Peer::start(host, &self.settings(port)).expect("it can be started")
    }

    #[track_caller]
    fn nodes(&self, hosts: [&Host; 2]) -> [Peer; 2] {
        let mut peers = hosts.map(|host| self.node(host, PORT));
        peers.each_mut().into_iter().for_each(ready);
        peers
    }

    /// Connects one to the other in one of these ways, and has them talk.
    #[track_caller]
    fn connect(&self, caller: &mut Peer, called: &mut Peer, ways: &[&str]) -> Duration {
        caller.connect(called.unl()).expect("it takes orders");
        let outcome = told(caller.outcome(PATIENCE), caller);
        let Outcome::Connected { via, took, .. } = &outcome else {
            panic!("{outcome:?}\nwho connects:\n{}who is called:\n{}", caller.trace(), called.trace());
        };
        let told = || format!("who connects:\n{}who is called:\n{}", caller.trace(), called.trace());
        assert!(ways.contains(&via.as_str()), "{via} instead of {ways:?}\n{}", told());
        println!("{via} after {took:?}");
        let took = *took;
        exchange(caller, called);
        took
    }
}

#[track_caller]
fn ready(peer: &mut Peer) {
    let outcome = peer.ready(PATIENCE);
    told(outcome, peer);
}

#[track_caller]
fn exchange(one: &mut Peer, other: &mut Peer) {
    one.say("from one").expect("it takes orders");
    let there = other.hear("from one", PATIENCE);
    other.say("from the other").expect("it takes orders");
    let back = one.hear("from the other", PATIENCE);
    if let Err(why) = there.and(back) {
        panic!("{why}\none:\n{}the other:\n{}", one.trace(), other.trace());
    }
}

/// What it is, or all that the node has said.
#[track_caller]
fn told<T>(outcome: Result<T, String>, peer: &Peer) -> T {
    outcome.unwrap_or_else(|why| panic!("{why}\n{}", peer.trace()))
}

fn ip(addr: SocketAddr) -> Ipv4Addr {
    match addr {
        SocketAddr::V4(addr) => *addr.ip(),
        SocketAddr::V6(_) => panic!("{addr} is not of this laboratory"),
    }
}

/// A program that a person types to. Dropping it kills it.
struct Terminal {
    child: Child,
    input: Option<std::process::ChildStdin>,
    output: Receiver<String>,
    errors: Receiver<String>,
}

impl Terminal {
    fn open(mut command: Command) -> Terminal {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        let output = lines(child.stdout.take().expect("a pipe"));
        let errors = lines(child.stderr.take().expect("a pipe"));
        Terminal { input: child.stdin.take(), child, output, errors }
    }

    fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it has not ended");
        writeln!(input, "{line}").expect("it reads");
    }

    fn end_input(&mut self) {
        self.input = None;
    }

    #[track_caller]
    fn read(&self, line: &str) {
        let read = self.output.recv_timeout(PATIENCE);
        let errors: Vec<_> = self.errors.try_iter().collect();
        assert_eq!(read.as_deref(), Ok(line), "{errors:#?}");
    }

    /// The first of its messages in which there is something.
    #[track_caller]
    fn error<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let (deadline, mut passed) = (Instant::now() + PATIENCE, Vec::new());
        while let Ok(line) = self.errors.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(found) = find(&line) {
                return found;
            }
            passed.push(line);
        }
        panic!("it does not say that: {passed:#?}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn lines(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(pipe).lines().map_while(Result::ok);
        lines.for_each(|line| _ = tell.send(line));
    });
    told
}

const fn case(name: &'static str, run: fn()) -> Case {
    Case { name, needs: &[Need::Network], run }
}
