//! The doctor, as a process of its own, tells the kind of every NAT, every time; and a node knows all that servers can
//! tell it soon.
//!
//! Each examination is made behind a router of its own, so behind an address of its own: a server makes only so many
//! probes a minute for one. How many are made of each kind can be raised by `P2POLL_NATLAB_RUNS`.

use std::env;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use p2poll::{Config, Doubt, Event, Nat as Found, NatKind, PortMapping, Reach, Reachability};
use serde_json::Value;

use crate::lab::{Filter, Host, Lab, Mapping, Nat, Need, Observer, Router};
use crate::tools::{Case, PATIENCE, connect, finish};

/// The kinds of NAT, what may disturb the finding, and how long it takes.
pub(crate) const CASES: &[Case] = &[
    // Those that take longest come first.
    case("all_is_known_soon_with_two_servers", || all_is_known_soon(Servers::Two)),
    case("all_is_known_soon_with_two_ports", || all_is_known_soon(Servers::OneAtTwoPorts)),
    case("doctor_where_packets_are_lost_behind_preserving", || {
        names_or_says_why_not(Nat::Preserving, "preserving");
    }),
    case("doctor_where_packets_are_lost_behind_random", || names_or_says_why_not(Nat::Random, "random")),
    case("doctor_where_packets_are_lost_behind_delta", || names_or_says_why_not(Nat::Delta(7), "delta 7")),
    case("doctor_where_packets_are_lost_behind_reuse", || names_or_says_why_not(Nat::Reuse, "reuse")),
    case("doctor_with_an_old_server", doctor_with_an_old_server),
    case("doctor_without_nat", || names(Place::Public, "preserving")),
    case("doctor_behind_preserving_with_drop", || names(home(Nat::Preserving), "preserving")),
    case("doctor_behind_preserving_with_reject", || {
        names(Place::Home(Nat::Preserving, Filter::Reject), "preserving");
    }),
    case("doctor_behind_preserving_without_filter", || {
        names(Place::Home(Nat::Preserving, Filter::Open), "preserving");
    }),
    case("doctor_behind_random_with_drop", || names(home(Nat::Random), "random")),
    case("doctor_behind_random_with_reject", || names(Place::Home(Nat::Random, Filter::Reject), "random")),
    case("doctor_behind_delta_of_1", || names(home(Nat::Delta(1)), "delta 1")),
    case("doctor_behind_delta_of_7", || names(home(Nat::Delta(7)), "delta 7")),
    case("doctor_behind_delta_of_minus_3", || names(home(Nat::Delta(3_u16.wrapping_neg())), "delta -3")),
    case("doctor_behind_reuse", || names(home(Nat::Reuse), "reuse")),
    case("doctor_behind_reuse_in_sequence", || names(home(Nat::ReuseDelta(1)), "reuse")),
    case("doctor_behind_per_address", doctor_behind_per_address),
    case("doctor_behind_a_carrier", || names(Place::Carrier(Nat::Preserving), "preserving")),
    case("doctor_behind_a_random_carrier", || names(Place::Carrier(Nat::Random), "random")),
    Case {
        name: "doctor_finds_the_second_nat",
        needs: &[Need::Program("miniupnpd")],
        run: doctor_finds_the_second_nat,
    },
    Case {
        name: "doctor_without_servers",
        needs: &[Need::Program("miniupnpd")],
        run: doctor_without_servers,
    },
    case("doctor_behind_a_delta_that_others_use", doctor_behind_a_delta_that_others_use),
];

const fn case(name: &'static str, run: fn()) -> Case {
    Case { name, needs: &[Need::Network], run }
}

/// So many examinations of each kind.
const RUNS: &str = "P2POLL_NATLAB_RUNS";

fn runs() -> usize {
    let text = env::var(RUNS).unwrap_or_else(|_| "3".into());
    text.parse().unwrap_or_else(|_| panic!("{RUNS} is a number, not {text:?}"))
}

/// Where the one who is examined is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// On the public segment itself.
    Public,
    Home(Nat, Filter),
    /// Behind a preserving router at home, and this one of the carrier's.
    Carrier(Nat),
}

/// What most routers do with strangers.
fn home(nat: Nat) -> Place {
    Place::Home(nat, Filter::Drop)
}

/// With how many eyes it is looked at.
#[derive(Clone, Copy, Debug)]
enum Servers {
    OneAtTwoPorts,
    /// Each of them at two ports as well.
    Two,
}

/// A new host there, the address that the outside sees, and the router at home.
fn settle(lab: &Lab, place: Place) -> (Host, Ipv4Addr, Option<Router>) {
    let (router, outside) = match place {
        Place::Public => {
            let host = lab.server();
            let address = host.address();
            return (host, address, None);
        }
        Place::Home(nat, filter) => {
            let router = lab.router(nat, filter);
            (router.clone(), router.address())
        }
        Place::Carrier(nat) => {
            let carrier = lab.carrier(nat, Filter::Drop);
            (carrier.router(Nat::Preserving, Filter::Drop), carrier.address())
        }
    };
    (router.host(), outside, Some(router))
}

/// The kind is as expected, and so is what follows from it, in every run.
fn names(place: Place, expected: &str) {
    for servers in [Servers::Two, Servers::OneAtTwoPorts] {
        names_with(servers, place, expected);
    }
}

fn names_with(servers: Servers, place: Place, expected: &str) {
    let lab = Lab::new();
    let town = Town::new(&lab, servers);
    for run in 1..=runs() {
        let (host, outside, _router) = settle(&lab, place);
        let report = town.examine(&host, &["--no-mapping"]);
        let context = || format!("{servers:?}, run {run}: {report}");
        assert_eq!(report.kind(), Some(expected.into()), "{}", context());
        assert_eq!(report.value["wan"], outside.to_string(), "{}", context());
        assert_eq!(report.value["reachable"], matches!(place, Place::Public), "{}", context());
        assert_eq!(report.value["node_type"], node_type(place, expected), "{}", context());
    }
    told(format_args!("{place:?} with {servers:?}: {expected}"), runs());
}

fn node_type(place: Place, kind: &str) -> &'static str {
    match (place, kind) {
        (Place::Public, _) => "passive",
        (_, "random") => "active",
        _ => "simultaneous",
    }
}

fn doctor_behind_per_address() {
    // That two ports of one server could not tell it from one that reuses ports is why there are two servers.
    names_with(Servers::Two, home(Nat::PerAddress), "random");
}

fn doctor_finds_the_second_nat() {
    let lab = Lab::new();
    let town = Town::new(&lab, Servers::Two);
    let (host, _, router) = settle(&lab, Place::Carrier(Nat::Preserving));
    // Whose address outside is not public; it says that it has none.
    let _router = router.map(|router| router.mapping(Mapping::Both));
    let report = town.examine(&host, &[]);
    assert_eq!(report.kind().as_deref(), Some("preserving"), "{report}");
    assert_eq!(report.value["reachable"], false, "{report}");
    assert_eq!(report.value["mapping"]["external"], Value::Null, "{report}");
    assert!(report.advises("Find the second NAT"), "{report}");
}

/// All that can be had is the router's answer, and that is waited for.
fn doctor_without_servers() {
    for mapping in [Mapping::Upnp, Mapping::NatPmp] {
        let lab = Lab::new();
        let router = lab.router(Nat::Preserving, Filter::Drop).mapping(mapping);
        let report = Town { servers: Vec::new() }.examine(&router.host(), &["--port", "44444"]);
        assert!(report.ended_well, "{report}");
        let external = format!("{}:44444", router.address());
        assert_eq!(report.value["mapping"]["external"], external, "{report}");
        assert_eq!(report.value["reachable"], Value::Null, "{report}");
        assert!(report.advises(&format!("Tell others to connect to {external}")), "{report}");
        assert!(report.advises("Give rendezvous servers"), "{report}");
        assert!(!report.advises("Give it more time"), "{report}");
    }
}

fn doctor_behind_a_delta_that_others_use() {
    let lab = Lab::new();
    let town = Town::new(&lab, Servers::Two);
    let elsewhere = lab.server();
    let observer = Observer::start(&elsewhere, 0).expect("it listens");
    let mut taken = 0;
    for run in 1..=runs() {
        let (host, _, router) = settle(&lab, home(Nat::Delta(7)));
        let neighbour = router.expect("there is one").host();
        let (report, count) = thread::scope(|scope| {
            let (ends, end) = mpsc::channel();
            let (neighbour, observer) = (&neighbour, observer.address());
            let traffic = scope.spawn(move || keep_connecting(neighbour, observer, &end));
            let report = town.examine(&host, &["--no-mapping"]);
            drop(ends);
            (report, traffic.join().expect("it connects"))
        });
        taken += count;
        assert_eq!(report.kind().as_deref(), Some("delta 7"), "run {run}, {count} taken: {report}");
    }
    told(format_args!("delta 7, of which others took {taken} ports meanwhile"), runs());
}

/// As a household does that loads pages all the time; how many ports that took.
fn keep_connecting(host: &Host, to: SocketAddr, end: &mpsc::Receiver<()>) -> usize {
    const PAUSE: Duration = Duration::from_millis(10);
    let mut count = 0;
    while end.recv_timeout(PAUSE) == Err(mpsc::RecvTimeoutError::Timeout) {
        drop(connect(host, 0, to, PATIENCE).expect("it is there"));
        count += 1;
    }
    count
}

/// What is lost may leave the kind unknown, but makes no other one of it.
fn names_or_says_why_not(nat: Nat, expected: &str) {
    let lab = Lab::new();
    let town = Town::new(&lab, Servers::Two);
    lab.loss(0.05);
    let mut right = 0;
    for run in 1..=runs() {
        let (host, ..) = settle(&lab, home(nat));
        let report = town.examine(&host, &["--no-mapping"]);
        assert_ne!(report.value["reachable"], true, "run {run}: {report}");
        match report.kind() {
            Some(kind) => {
                assert_eq!(kind, expected, "run {run}: {report}");
                right += 1;
            }
            None => assert!(report.says_why_it_is_not_known(), "run {run}: {report}"),
        }
    }
    told(format_args!("{expected} with losses, and the others unknown"), right);
}

/// pyp2p's server can tell what a port is outside, and that is all that it takes where the ports are kept.
fn doctor_with_an_old_server() {
    let lab = Lab::new();
    let mut servers = vec![Server::imitation(lab.server())];
    match python_with_pyp2p() {
        Some(python) => servers.push(Server::pyp2p(lab.server(), &python)),
        None => println!("there is no Python with pyp2p: an imitation alone has to do"),
    }
    for server in servers {
        let town = Town { servers: vec![server] };
        for (nat, expected) in
            [(Nat::Preserving, Some("preserving")), (Nat::Delta(7), Some("delta 7")), (Nat::Random, None)]
        {
            for run in 1..=runs() {
                let (host, ..) = settle(&lab, home(nat));
                let report = town.examine(&host, &["--no-mapping"]);
                assert_eq!(report.kind().as_deref(), expected, "run {run}: {report}");
                assert_eq!(report.value["reachable"], Value::Null, "run {run}: {report}");
                assert_eq!(report.value["servers"][0]["kind"], "pyp2p", "run {run}: {report}");
                assert!(report.advises("Ask a rendezvous server of p2poll"), "run {run}: {report}");
            }
            told(format_args!("{nat:?} with an old server"), runs());
        }
    }
}

/// Everything but the mapping, with servers that are 50 ms away, there and back.
fn all_is_known_soon(servers: Servers) {
    // Of what issue 3 asks for, 1 s, a busy machine may make several; what it was is printed.
    const SOON: Duration = Duration::from_secs(3);
    for (place, expected) in [
        (Place::Public, Found::None),
        (home(Nat::Preserving), Found::Measured(NatKind::Preserving)),
        (home(Nat::Random), Found::Measured(NatKind::Random)),
        (home(Nat::Delta(7)), Found::Measured(NatKind::Delta { step: 7 })),
        (home(Nat::Reuse), Found::Measured(NatKind::Reuse)),
        (Place::Carrier(Nat::Preserving), Found::Measured(NatKind::Preserving)),
    ] {
        let lab = Lab::new();
        let town = Town::new(&lab, servers);
        lab.delay(Duration::from_millis(25));
        // A few tell as much as many.
        let times: Vec<Known> = (1..=runs().min(5))
            .map(|run| {
                let (host, ..) = settle(&lab, place);
                let known = town.time_until_known(&host);
                let reach = &known.reach;
                assert_eq!(reach.nat, expected, "{place:?}, run {run}: {reach}");
                let reachable = matches!(place, Place::Public);
                assert_eq!(reach.reachable.answer(), Some(reachable), "{place:?}, run {run}: {reach}");
                assert!(known.all < SOON, "{place:?}, run {run}: {:?}, {reach}", known.all);
                known
            })
            .collect();
        let (nat, all) =
            (spread(times.iter().map(|known| known.nat)), spread(times.iter().map(|known| known.all)));
        println!("{place:?} with {servers:?} at 50 ms: the NAT after {nat}, all after {all}");
    }
}

/// The middle one and the longest.
fn spread(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<_> = times.map(|time| time.as_millis()).collect();
    times.sort();
    format!("{} ms ({} ms at most)", times[times.len() / 2], times[times.len() - 1])
}

/// When a new node knew something.
struct Known {
    nat: Duration,
    all: Duration,
    reach: Arc<Reach>,
}

/// The servers of a lab.
struct Town {
    servers: Vec<Server>,
}

impl Town {
    fn new(lab: &Lab, servers: Servers) -> Town {
        let count = match servers {
            Servers::OneAtTwoPorts => 1,
            Servers::Two => 2,
        };
        Town { servers: (0..count).map(|_| Server::new(lab.server())).collect() }
    }

    /// The doctor's report about a host.
    fn examine(&self, host: &Host, more: &[&str]) -> Report {
        let mut doctor = host.command(env!("CARGO_BIN_EXE_p2poll"));
        doctor.args(["doctor", "--json", "--wait", "15"]).args(more);
        for server in &self.servers {
            doctor.args(["--rendezvous", &server.address.to_string()]);
        }
        // On the standard error, which comes after the standard output: how it came to it.
        let (ended_well, said) = finish(doctor.env("RUST_LOG", "debug"));
        let (report, trace) = said.split_once('\n').unwrap_or((&said, ""));
        let value = serde_json::from_str(report).unwrap_or_else(|why| panic!("no report ({why}): {said}"));
        Report { value, trace: trace.to_owned(), ended_well }
    }

    /// How long a new node needs to know all that servers can tell, and what that is.
    fn time_until_known(&self, host: &Host) -> Known {
        let mut config = Config::new().port_mapping(PortMapping::Off);
        for server in &self.servers {
            config = config.rendezvous(server.address.to_string());
        }
        host.inside(|| {
            let begin = Instant::now();
            let mut net = config.start().expect("it starts");
            let mut nat = None;
            while begin.elapsed() < PATIENCE {
                net.poll(Some(Duration::from_millis(50))).expect("it goes on");
                for event in net.events() {
                    let Event::Reach(reach) = event else { continue };
                    let now = begin.elapsed();
                    nat = nat.or((reach.nat != Found::Unknown(Doubt::Pending)).then_some(now));
                    if let Some(nat) = nat.filter(|_| is_known(&reach)) {
                        return Known { nat, all: now, reach };
                    }
                }
            }
            panic!("{}", net.reach());
        })
    }
}

fn is_known(reach: &Reach) -> bool {
    let pending = reach.nat == Found::Unknown(Doubt::Pending)
        || reach.reachable == Reachability::Unknown(Doubt::Pending)
        || reach.translated.is_none()
        || reach.wan.is_none();
    !pending && !reach.lan.is_empty()
}

/// A rendezvous server. It ends with this value, before the machine that it is on.
struct Server {
    address: SocketAddr,
    _keeper: Keeper,
    _host: Host,
}

#[expect(dead_code, reason = "they are kept for their ends")]
enum Keeper {
    Process(Process),
    Imitation(Imitation),
}

impl Server {
    /// Ours, at two ports.
    fn new(host: Host) -> Server {
        let mut command = host.command(env!("CARGO_BIN_EXE_p2poll"));
        let any = format!("{}:0", host.address());
        let process =
            Process::start(command.args(["rendezvous", "--json", "--listen", &any, "--listen", &any]));
        let [address, _] = [(); 2].map(|()| {
            let listening = process.event("listening");
            listening["addr"].as_str().and_then(|addr| addr.parse().ok()).expect("an address")
        });
        Server { address, _keeper: Keeper::Process(process), _host: host }
    }

    /// pyp2p's own, by a Python that has it.
    fn pyp2p(host: Host, python: &Path) -> Server {
        let mut command = host.command(python.to_str().expect("a plain name"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/server.py");
        let process = Process::start(command.arg("-B").arg(script).arg(host.address().to_string()));
        let port = process.event("listening")["port"].as_u64().expect("a port") as u16;
        let address = (host.address(), port).into();
        Server { address, _keeper: Keeper::Process(process), _host: host }
    }

    /// One that knows no more of pyp2p's protocol than who wants to know of its NAT needs.
    fn imitation(host: Host) -> Server {
        let imitation = Imitation::start(&host);
        let address = (host.address(), imitation.port).into();
        Server { address, _keeper: Keeper::Imitation(imitation), _host: host }
    }
}

/// A program that reports in JSON, and ends with its input if not before.
struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Process {
    fn start(command: &mut Command) -> Process {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a program can be started");
        let output = child.stdout.take().expect("there is a pipe");
        let (sender, lines) = mpsc::channel();
        // Read to the end, also when nobody cares any more: a full pipe would stop the program.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                _ = sender.send(line);
            }
        });
        Process { child, lines }
    }

    fn event(&self, name: &str) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("it reports");
        let event: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(event["event"], name, "{event}");
        event
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

struct Imitation {
    listener: TcpListener,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Imitation {
    fn start(host: &Host) -> Imitation {
        let listener = host.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let accepting = listener.try_clone().expect("it can be shared");
        let serve = move || {
            thread::scope(|scope| {
                while let Ok((client, address)) = accepting.accept() {
                    scope.spawn(move || answer(&client, address));
                }
            });
        };
        Imitation { listener, port, thread: Some(thread::spawn(serve)) }
    }
}

impl Drop for Imitation {
    fn drop(&mut self) {
        // On Linux that ends the accepting, too.
        _ = socket2::SockRef::from(&self.listener).shutdown(Shutdown::Both);
        _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Until the client has gone; what is not known stays without an answer.
fn answer(mut client: &TcpStream, address: SocketAddr) {
    _ = client.set_read_timeout(Some(PATIENCE));
    for line in BufReader::new(client).lines().map_while(Result::ok) {
        let answer = match line.split(' ').next() {
            Some("SOURCE") => format!("REMOTE TCP {}\r\n", address.port()),
            Some("BOOTSTRAP") => "NODES EMPTY\r\n".into(),
            Some("QUIT") => return,
            _ => continue,
        };
        _ = client.write_all(answer.as_bytes());
    }
}

/// A Python that has pyp2p, as the interop tests look for one; whoever names one means it.
fn python_with_pyp2p() -> Option<PathBuf> {
    if let Some(named) = env::var_os("P2POLL_PYTHON") {
        return Some(named.into());
    }
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pyp2p-venv/bin/python3");
    let has = |python: &PathBuf| {
        let mut command = Command::new(python);
        finish(command.args(["-c", "import pyp2p, twisted"])).0
    };
    Some(venv).filter(|venv| venv.exists()).filter(has)
}

/// What the doctor says.
struct Report {
    value: Value,
    trace: String,
    /// With status 0.
    ended_well: bool,
}

impl Report {
    /// In a word, with the step of a delta; `None`: unknown.
    fn kind(&self) -> Option<String> {
        let nat = &self.value["nat"];
        let kind = nat["kind"].as_str()?.to_owned();
        Some(match nat["delta"].as_i64() {
            Some(step) => format!("{kind} {step}"),
            None => kind,
        })
    }

    fn advises(&self, begin: &str) -> bool {
        let advice = self.value["advice"].as_array().expect("a list");
        advice.iter().filter_map(Value::as_str).any(|sentence| sentence.starts_with(begin))
    }

    /// Why the kind is not known: answers were missing, or there were none at all.
    fn says_why_it_is_not_known(&self) -> bool {
        self.advises("Try again, and if it stays so, look for lost packets")
            || self.advises("Check this machine's connection to the internet")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.value, self.trace)
    }
}

fn told(what: fmt::Arguments<'_>, right: usize) {
    println!("{what}: {right} of {}", runs());
}
