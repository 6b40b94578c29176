//! Programs on computers in a network, and the loop that lets each run when there is something to do.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use super::driver::Driver;
use super::nat::{Filter, Nat};
use super::network::{Computer, ComputerId, EndId, Network, ProgramId, Router, RouterId};
use super::script::{Behaviour, Input, Script, Wire};
use super::worker::{Name, Surroundings};
use crate::config::{Config, RendezvousConfig};
use crate::event::Event;
use crate::id::{ConId, Except};
use crate::node::peer::Node;
use crate::node::server::ServerNode;
use crate::random::Random;
use crate::time::Instant;

/// The loop of a program turns so often, unless a test says otherwise.
const FRAME: Duration = Duration::from_millis(1);

/// The wall clock at the origin of the virtual one: some time in 2025.
const WALL_AT_ORIGIN: Duration = Duration::from_secs(1_750_000_000);

/// What an application does in each turn of its loop, between `connections()` and the end of the walk.
pub(super) type App = Box<dyn FnMut(&mut Turn<'_>)>;

/// One turn of an application.
pub(super) struct Turn<'a> {
    pub(super) node: &'a mut Node,
    pub(super) now: Instant,
    log: &'a mut Log,
}

/// What an application was told.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) events: Vec<(Instant, Event)>,
    pub(super) lines: Vec<(Instant, ConId, String)>,
    /// Both are only counted.
    pub(super) is_brief: bool,
    pub(super) event_count: usize,
    pub(super) line_count: usize,
}

impl Turn<'_> {
    /// What a walk shows.
    pub(super) fn connections(&self) -> Vec<ConId> {
        (0..self.node.shown_places()).filter_map(|place| self.node.shown_at(place)).collect()
    }

    /// The next line of a connection, which goes into the log as well.
    pub(super) fn next_line(&mut self, con: ConId) -> Option<String> {
        let now = self.now;
        let line = self.node.next_line(con, || now)?;
        self.log.line_count += 1;
        let line = line.to_string();
        if !self.log.is_brief {
            self.log.lines.push((now, con, line.clone()));
        }
        Some(line)
    }
}

/// Reads everything.
pub(super) fn reader() -> App {
    Box::new(|turn| {
        for con in turn.connections() {
            while turn.next_line(con).is_some() {}
        }
    })
}

/// Reads everything and passes it on to all others.
pub(super) fn forwarder() -> App {
    Box::new(|turn| {
        for con in turn.connections() {
            while let Some(line) = turn.next_line(con) {
                turn.node.broadcast(line.as_bytes(), con.into(), turn.now);
            }
        }
    })
}

/// Reads nothing.
pub(super) fn deaf() -> App {
    Box::new(|_| {})
}

enum Program {
    Peer {
        driver: Box<Driver<Node>>,
        app: App,
        log: Log,
    },
    Server(Box<Driver<ServerNode>>),
    Script(Script),
    /// It ended, one way or another; its log stays.
    Over(Log),
}

pub(super) struct World {
    seed: u64,
    pub(super) network: Network,
    pub(super) around: Surroundings,
    programs: Vec<Program>,
    frame: Duration,
}

/// Tells the seed of a run that failed.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let at = self.network.now().since_origin();
            eprintln!("the simulation stood at {at:?}; to run it again: P2POLL_SIM_SEED={}", self.seed);
        }
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            network: Network::new(Random::from_number(seed)),
            around: Surroundings::default(),
            programs: Vec::new(),
            frame: FRAME,
        }
    }

    /// Programs that are started from now on turn their loop so often.
    pub(super) fn set_frame(&mut self, frame: Duration) {
        self.frame = frame;
    }

    pub(super) fn now(&self) -> Instant {
        self.network.now()
    }

    /// The same for two runs that were the same.
    pub(super) fn trace_hash(&self) -> u64 {
        self.network.trace_hash()
    }

    pub(super) fn run_for(&mut self, span: Duration) {
        let until = self.now() + span;
        while let Some(program) = self.network.advance(until) {
            if let Some(program) = program {
                self.run(program);
            }
        }
    }

    /// Runs until something holds, as looked at every 50 ms, for `limit` at most; whether it held by then.
    pub(super) fn run_until(&mut self, limit: Duration, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.now() + limit;
        while !holds(self) {
            if self.now() >= until {
                return false;
            }
            self.run_for(Duration::from_millis(50));
        }
        true
    }

    fn run(&mut self, id: ProgramId) {
        let Self { network, around, programs, .. } = self;
        match &mut programs[id.0] {
            Program::Peer { driver, app, log } => {
                driver.service(network, around);
                let now = network.now();
                // As `Net` does, here without a filter.
                while let Some((con, _)) = driver.host.poll_pending() {
                    driver.host.admit_pending(con, true, now);
                }
                driver.host.settle_shown();
                app(&mut Turn { node: &mut driver.host, now, log });
                driver.host.handle_walk();
                driver.flush(network, around);
                collect_events(driver, log, network, id);
            }
            Program::Server(driver) => driver.service(network, around),
            Program::Script(script) => script.run(network),
            Program::Over(_) => {}
        }
    }
}

fn collect_events(driver: &mut Driver<Node>, log: &mut Log, network: &mut Network, id: ProgramId) {
    while let Some(event) = driver.host.poll_event() {
        network.trace(id.0, "event", format!("{event:?}"));
        log.event_count += 1;
        if !log.is_brief {
            log.events.push((network.now(), event));
        }
    }
}

/// Computers and programs.
impl World {
    pub(super) fn computer(&mut self, ip: &str) -> ComputerId {
        self.network.computer(&addresses(ip))
    }

    pub(super) fn computer_mut(&mut self, id: ComputerId) -> &mut Computer {
        self.network.computer_mut(id)
    }

    /// Starts a node whose application reads everything.
    pub(super) fn peer(&mut self, on: ComputerId, config: Config) -> ProgramId {
        self.peer_with(on, config, reader())
    }

    /// Starts a node, as `Net::start` does.
    pub(super) fn peer_with(&mut self, on: ComputerId, config: Config, app: App) -> ProgramId {
        config.check().expect("a sound configuration");
        let program = self.network.program(on, config.streams.dead_after, self.frame);
        let random = self.network.random.fork();
        let now = self.network.now();
        let (listen, bind, port) = (config.listen, config.bind, config.port);
        let mut node =
            Node::new(config, program.0 as u32, random, WALL_AT_ORIGIN, now).expect("a sound configuration");
        if listen {
            let local = self.network.listen(program, bind, port).expect("a free port");
            node.handle_listening(local, now);
        }
        let driver = Box::new(Driver::new(node, program));
        self.programs.push(Program::Peer { driver, app, log: Log::default() });
        program
    }

    /// Starts a rendezvous server, as `RendezvousConfig::start` does.
    pub(super) fn server(&mut self, on: ComputerId, port: u16) -> ProgramId {
        self.server_with(on, port, RendezvousConfig::new())
    }

    pub(super) fn server_with(&mut self, on: ComputerId, port: u16, config: RendezvousConfig) -> ProgramId {
        let program = self.network.program(on, config.streams.dead_after, self.frame);
        let random = self.network.random.fork();
        let local = self.network.listen(program, None, port).expect("a free port");
        let mut node = ServerNode::new(&config, random, WALL_AT_ORIGIN);
        node.handle_listening(&[local]);
        self.programs.push(Program::Server(Box::new(Driver::new(node, program))));
        program
    }

    /// Starts a script; it listens if there is a port.
    pub(super) fn script(&mut self, on: ComputerId, port: Option<u16>, behaviour: Behaviour) -> ProgramId {
        let program = self.network.program(on, Duration::from_secs(120), self.frame);
        if let Some(port) = port {
            self.network.listen(program, None, port).expect("a free port");
        }
        self.programs.push(Program::Script(Script::new(program, behaviour)));
        program
    }

    /// A program ends without a word; its operating system resets its connections.
    pub(super) fn crash(&mut self, id: ProgramId) {
        self.network.crash(id);
        self.end(id);
    }

    /// A computer loses its power, and its programs with it. Others notice nothing but silence.
    pub(super) fn power_off(&mut self, computer: ComputerId) {
        self.network.set_power(computer, false);
        for at in 0..self.programs.len() {
            if self.network.computer_of(ProgramId(at)) == computer {
                self.end(ProgramId(at));
            }
        }
    }

    /// It moves into another network.
    pub(super) fn set_ip(&mut self, computer: ComputerId, ip: &str) {
        self.network.set_ips(computer, &[ip.parse().expect("an address")]);
    }

    pub(super) fn power_on(&mut self, computer: ComputerId) {
        self.network.set_power(computer, true);
    }

    fn end(&mut self, id: ProgramId) {
        let program = &mut self.programs[id.0];
        let log = if let Program::Peer { log, .. } | Program::Over(log) = program {
            std::mem::take(log)
        } else {
            Log::default()
        };
        *program = Program::Over(log);
    }

    pub(super) fn name(&mut self, name: &str, answer: Name) {
        self.around.names.insert(name.into(), answer);
    }
}

/// Houses: routers, and what is behind them.
impl World {
    /// At the internet.
    pub(super) fn router(&mut self, ip: &str, nat: Nat, filter: Filter) -> RouterId {
        self.network.router(None, ip.parse().expect("an address"), nat, filter)
    }

    /// At a provider's whose customers share an address.
    pub(super) fn router_behind(
        &mut self,
        carrier: RouterId,
        ip: &str,
        nat: Nat,
        filter: Filter,
    ) -> RouterId {
        self.network.router(Some(carrier), ip.parse().expect("an address"), nat, filter)
    }

    /// Its address needs to be unique in its house only.
    pub(super) fn computer_behind(&mut self, router: RouterId, ip: &str) -> ComputerId {
        self.network.computer_behind(router, &addresses(ip))
    }

    pub(super) fn router_mut(&mut self, id: RouterId) -> &mut Router {
        self.network.router_mut(id)
    }

    /// What comes to an external port goes to a computer, as somebody has set by hand.
    pub(super) fn forward(&mut self, router: RouterId, port: u16, to: ComputerId, inner_port: u16) {
        let inner = SocketAddr::new(self.network.address(to), inner_port);
        self.network.router_mut(router).nat.forward(port, inner);
    }

    /// Whether the house can use its own external addresses; not, unless told.
    pub(super) fn hairpin(&mut self, router: RouterId, does: bool) {
        self.network.router_mut(router).nat.hairpin = does;
    }

    /// Other traffic of the house takes so many external ports.
    pub(super) fn take_ports(&mut self, router: RouterId, count: usize) {
        self.network.router_mut(router).nat.take_ports(count);
    }

    /// The router forgets what was idle for so long; never, unless told.
    pub(super) fn expire_after(&mut self, router: RouterId, idle: Duration) {
        self.network.set_expiry(router, idle);
    }

    /// Packets of `a` to `b` take so much longer from now on.
    pub(super) fn delay_between(&mut self, a: ComputerId, b: ComputerId, extra: Duration) {
        self.network.delay_between(a, b, extra);
    }

    /// SYNs that were sent to an address so far, repetitions included.
    pub(super) fn syns(&self, to: &str) -> usize {
        self.syns_within(to, Instant::ZERO..self.now() + Duration::from_nanos(1))
    }

    pub(super) fn syns_within(&self, to: &str, within: Range<Instant>) -> usize {
        self.network.syns(to.parse().expect("an address"), within)
    }
}

/// What tests do to programs, and see of them.
impl World {
    /// Acts on a node between two turns of its loop; what follows is done at once.
    pub(super) fn act<R>(&mut self, id: ProgramId, act: impl FnOnce(&mut Node, Instant) -> R) -> R {
        let Self { network, around, programs, .. } = self;
        let Program::Peer { driver, log, .. } = &mut programs[id.0] else { panic!("{id:?} is no node") };
        let result = act(&mut driver.host, network.now());
        driver.flush(network, around);
        collect_events(driver, log, network, id);
        result
    }

    /// As `Net::stop`.
    pub(super) fn stop(&mut self, id: ProgramId) {
        self.network.stop_listening(id);
        self.act(id, Node::stop);
    }

    pub(super) fn send(&mut self, id: ProgramId, line: &str) -> usize {
        self.act(id, |node, now| node.broadcast(line.as_bytes(), Except::default(), now))
    }

    pub(super) fn wire<R>(&mut self, id: ProgramId, act: impl FnOnce(&mut Wire<'_>) -> R) -> R {
        let Program::Script(script) = &mut self.programs[id.0] else { panic!("{id:?} is no script") };
        act(&mut script.wire(&mut self.network))
    }

    pub(super) fn heard(&self, id: ProgramId) -> &[(EndId, Input)] {
        let Program::Script(script) = &self.programs[id.0] else { panic!("{id:?} is no script") };
        &script.heard
    }

    /// Why a script's dial failed.
    pub(super) fn failure(&self, id: ProgramId, end: EndId) -> Option<io::ErrorKind> {
        let Program::Script(script) = &self.programs[id.0] else { panic!("{id:?} is no script") };
        script.failures.get(&end).copied()
    }

    pub(super) fn log(&mut self, id: ProgramId) -> &mut Log {
        match &mut self.programs[id.0] {
            Program::Peer { log, .. } | Program::Over(log) => log,
            Program::Server(_) | Program::Script(_) => panic!("{id:?} is no node"),
        }
    }

    pub(super) fn is_running(&self, id: ProgramId) -> bool {
        !matches!(self.programs[id.0], Program::Over(_))
    }

    pub(super) fn node(&mut self, id: ProgramId) -> &mut Node {
        let Program::Peer { driver, .. } = &mut self.programs[id.0] else { panic!("{id:?} is no node") };
        &mut driver.host
    }

    pub(super) fn server_node(&self, id: ProgramId) -> &ServerNode {
        let Program::Server(driver) = &self.programs[id.0] else { panic!("{id:?} is no server") };
        &driver.host
    }

    /// How many bytes the program sent from where it had read them.
    pub(super) fn passed_through(&self, id: ProgramId) -> u64 {
        match &self.programs[id.0] {
            Program::Peer { driver, .. } => driver.sockets.passed_through(),
            Program::Server(driver) => driver.sockets.passed_through(),
            Program::Script(_) | Program::Over(_) => 0,
        }
    }

    /// How often the program ran.
    pub(super) fn turns(&self, id: ProgramId) -> u64 {
        match &self.programs[id.0] {
            Program::Peer { driver, .. } => driver.turns,
            Program::Server(driver) => driver.turns,
            Program::Script(_) | Program::Over(_) => 0,
        }
    }

    pub(super) fn count(&mut self, id: ProgramId) -> usize {
        self.node(id).count()
    }

    pub(super) fn events(&mut self, id: ProgramId) -> Vec<Event> {
        self.log(id).events.iter().map(|(_, event)| event.clone()).collect()
    }

    pub(super) fn lines(&mut self, id: ProgramId) -> Vec<String> {
        self.log(id).lines.iter().map(|(_, _, line)| line.clone()).collect()
    }

    /// The connections that a node shows.
    pub(super) fn cons(&mut self, id: ProgramId) -> Vec<ConId> {
        let node = self.node(id);
        (0..node.shown_places()).filter_map(|place| node.shown_at(place)).collect()
    }

    /// How many connections there are between each two nodes, the smaller one first.
    pub(super) fn links(&self) -> BTreeMap<(ProgramId, ProgramId), usize> {
        let mut links = BTreeMap::new();
        for (a, b) in self.network.connections() {
            let peers = |id: ProgramId| matches!(self.programs[id.0], Program::Peer { .. });
            if peers(a) && peers(b) {
                *links.entry((a.min(b), a.max(b))).or_default() += 1;
            }
        }
        links
    }

    /// Whether each of these nodes can reach each other over the links between all nodes.
    pub(super) fn is_connected(&self, nodes: &[ProgramId]) -> bool {
        let mut neighbours: BTreeMap<ProgramId, Vec<ProgramId>> = BTreeMap::new();
        for &(a, b) in self.links().keys() {
            neighbours.entry(a).or_default().push(b);
            neighbours.entry(b).or_default().push(a);
        }
        let mut next: Vec<ProgramId> = nodes.first().copied().into_iter().collect();
        let mut reached: BTreeSet<ProgramId> = next.iter().copied().collect();
        while let Some(node) = next.pop() {
            let around = neighbours.get(&node).into_iter().flatten();
            next.extend(around.filter(|&&other| reached.insert(other)));
        }
        nodes.iter().all(|node| reached.contains(node))
    }
}

fn addresses(text: &str) -> Vec<IpAddr> {
    text.split(' ').map(|ip| ip.parse().expect("an address")).collect()
}

/// `IP:PORT` of a program.
pub(super) fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), port)
}
