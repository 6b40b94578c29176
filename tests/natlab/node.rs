//! A node on one of the laboratory's machines, watched from outside: the doctor, or a node of this program's that does
//! what the doctor can not: look anew when it is told to, hear lines, and be dropped.
//!
//! Each is a process of its own. The default gateway, by which routers are found, is read from `/proc/net`, and that
//! shows the network of the process, not that of the thread.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, SocketAddrV4};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use p2poll::{Config, Event, Mapping, MappingProtocol, Net, PortMapping, Reach};
use serde_json::{Value, json};

use crate::lab::Host;
use crate::tools::PATIENCE;

/// Tells this program that it was started to be a node, and which.
const ROLE: &str = "NATLAB_NODE";
/// How often a node looks whether it is told something.
const TURN: Duration = Duration::from_millis(20);
/// How long leaving may take.
const LEAVE: Duration = Duration::from_secs(5);

/// What a node is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) port: u16,
    pub(crate) mapping: PortMapping,
    /// In seconds.
    pub(crate) lease: Option<u64>,
}

impl Wishes {
    pub(crate) fn new(port: u16, servers: &[SocketAddr]) -> Wishes {
        Wishes { servers: servers.to_vec(), port, mapping: PortMapping::WhenNeeded, lease: None }
    }

    pub(crate) fn lease(self, seconds: u64) -> Wishes {
        Wishes { lease: Some(seconds), ..self }
    }

    pub(crate) fn mapping(self, mapping: PortMapping) -> Wishes {
        Wishes { mapping, ..self }
    }
}

/// What a node has found out, as far as these tests look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) reachable: Option<bool>,
    pub(crate) port: Option<u64>,
    pub(crate) wan: String,
    pub(crate) lan: Vec<String>,
    /// As the doctor calls it.
    pub(crate) protocol: String,
    pub(crate) external: Option<SocketAddrV4>,
    /// What became of asking the router, in words.
    pub(crate) mapping: String,
}

impl Picture {
    /// Something is mapped, and a server got through.
    pub(crate) fn is_open(&self) -> bool {
        self.external.is_some() && self.reachable == Some(true)
    }

    fn of(value: &Value) -> Picture {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mapping = &value["mapping"];
        Picture {
            reachable: value["reachable"].as_bool(),
            port: value["port"].as_u64(),
            wan: text(&value["wan"]),
            lan: value["lan"].as_array().into_iter().flatten().map(text).collect(),
            protocol: text(&mapping["protocol"]),
            external: mapping["external"].as_str().map(|text| text.parse().expect("an address")),
            mapping: text(&mapping["why"]),
        }
    }
}

/// A node that runs. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    orders: Option<ChildStdin>,
    news: Receiver<Value>,
    /// All that it said, for whom it may concern.
    said: Arc<Mutex<String>>,
    picture: Picture,
    started: Instant,
}

impl Node {
    /// A node of this program's.
    pub(crate) fn start(host: &Host, wishes: &Wishes) -> Node {
        let exe = env::current_exe().expect("we are a file");
        let mut command = host.command(exe.to_str().expect("it has a plain name"));
        command.env(ROLE, role_text(wishes)).stdin(Stdio::piped());
        Node::spawn(command)
    }

    /// The doctor, who stays.
    pub(crate) fn doctor(host: &Host, wishes: &Wishes) -> Node {
        let mut command = host.command(env!("CARGO_BIN_EXE_p2poll"));
        command.args(["doctor", "--json", "--stay", "--port", &wishes.port.to_string()]);
        for server in &wishes.servers {
            command.args(["--rendezvous", &server.to_string()]);
        }
        if let Some(lease) = wishes.lease {
            command.args(["--lease", &lease.to_string()]);
        }
        if wishes.mapping == PortMapping::Off {
            command.arg("--no-mapping");
        }
        command.env("RUST_LOG", "p2poll=debug").stdin(Stdio::null());
        Node::spawn(command)
    }

    fn spawn(mut command: Command) -> Node {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().expect("it can be started");
        let (out, err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        let said = Arc::<Mutex<String>>::default();
        let (tell, news) = mpsc::channel();
        keep_lines(err, &said, started, |_| {});
        keep_lines(out, &said, started, move |line| {
            let event: Value = serde_json::from_str(line).expect("each line is an event");
            _ = tell.send(event);
        });
        Node { orders: child.stdin.take(), child, news, said, picture: Picture::default(), started }
    }

    /// How long ago it was started.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The last picture that was read.
    pub(crate) fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Reads on until its picture is so.
    #[track_caller]
    pub(crate) fn until(&mut self, so: impl Fn(&Picture) -> bool) -> &Picture {
        self.within(PATIENCE, so)
    }

    /// The same, for as long as that.
    #[track_caller]
    pub(crate) fn within(&mut self, limit: Duration, so: impl Fn(&Picture) -> bool) -> &Picture {
        let deadline = Instant::now() + limit;
        while !so(&self.picture) {
            if self.next(deadline).is_none() {
                panic!("it stays {:#?}\n{}", self.picture, self.said());
            }
        }
        &self.picture
    }

    /// Reads on for a while, and has `check` look at every picture.
    pub(crate) fn watch(&mut self, span: Duration, check: impl Fn(&Picture)) {
        let end = Instant::now() + span;
        while self.next(end).is_some() {
            check(&self.picture);
        }
    }

    /// Reads on until it hears this line.
    #[track_caller]
    pub(crate) fn hear(&mut self, line: &str) {
        self.event(|event| event["line"] == line);
    }

    /// Has it find out everything anew.
    pub(crate) fn refresh(&mut self) {
        self.tell("refresh");
    }

    /// Has it leave in good order, and waits for that: whether all was done in time.
    #[track_caller]
    pub(crate) fn finish(mut self) -> bool {
        self.tell("finish");
        self.event(|event| event["event"] == "finished")["done"] == true
    }

    /// Has it drop the `Net`; the process goes on.
    pub(crate) fn drop_net(&mut self) {
        self.tell("drop");
        self.event(|event| event["event"] == "dropped");
    }

    /// Ends it without leave, and without its knowing.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it has ended");
    }

    /// Sends a signal to it, and waits for its end: whether that was a success.
    #[track_caller]
    pub(crate) fn signal(mut self, signal: Signal) -> bool {
        // Not yet waited for, so the number is still its own.
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        while self.next(deadline).is_some() {}
        assert!(Instant::now() < deadline, "it does not end:\n{}", self.said());
        self.child.wait().expect("it has ended").success()
    }

    /// All that it has said, its log included.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&mut self, order: &str) {
        let orders = self.orders.as_mut().expect("it takes orders");
        writeln!(orders, "{order}").expect("it listens");
    }

    #[track_caller]
    fn event(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline) {
                Some(event) if is_it(&event) => return event,
                Some(_) => {}
                None => panic!("it did not say that:\n{}", self.said()),
            }
        }
    }

    fn next(&mut self, deadline: Instant) -> Option<Value> {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = self.news.recv_timeout(left).ok()?;
        if event["mapping"].is_object() {
            self.picture = Picture::of(&event);
        }
        Some(event)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A rendezvous server of the tool's. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    addrs: Vec<SocketAddr>,
}

impl Server {
    /// At two ports.
    pub(crate) fn start(host: &Host) -> Server {
        let listen = format!("{}:0", host.address());
        let mut command = host.command(env!("CARGO_BIN_EXE_p2poll"));
        command.args(["rendezvous", "--json", "--listen", &listen, "--listen", &listen]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let addrs = lines.take(2).map(|line| {
            let event: Value = serde_json::from_str(&line.expect("text")).expect("an event");
            event["addr"].as_str().and_then(|addr| addr.parse().ok()).expect("where it listens")
        });
        Server { addrs: addrs.collect(), child }
    }

    /// Where it listens, as nodes are told it.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn keep_lines(
    pipe: impl Read + Send + 'static,
    said: &Arc<Mutex<String>>,
    started: Instant,
    mut take: impl FnMut(&str) + Send + 'static,
) {
    let said = said.clone();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            *said += &format!("{:7.3} {line}\n", started.elapsed().as_secs_f64());
            drop(said);
            take(&line);
        }
    });
}

/// What this process was started for, done; `None` when it was not to be a node.
pub(crate) fn role() -> Option<ExitCode> {
    let wishes: Value = serde_json::from_str(&env::var(ROLE).ok()?).expect("JSON");
    log::set_logger(&Log).expect("there is no other one");
    log::set_max_level(log::LevelFilter::Debug);
    let mut life = Life { net: Some(config(&wishes).start().expect("it starts")), told: None };
    let (tell, orders) = mpsc::channel();
    thread::spawn(move || {
        let lines = std::io::stdin().lines().map_while(Result::ok);
        lines.for_each(|line| _ = tell.send(line));
    });
    loop {
        match orders.try_recv() {
            Ok(order) => life.obey(&order),
            Err(mpsc::TryRecvError::Empty) => life.go_on(),
            // The test that was to tell us has gone.
            Err(mpsc::TryRecvError::Disconnected) => return Some(ExitCode::SUCCESS),
        }
    }
}

fn role_text(wishes: &Wishes) -> String {
    let Wishes { servers, port, mapping, lease } = wishes;
    let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let mapping = match mapping {
        PortMapping::Off => "off",
        PortMapping::Always => "always",
        _ => "needed",
    };
    json!({ "servers": servers, "port": port, "mapping": mapping, "lease": lease }).to_string()
}

fn config(wishes: &Value) -> Config {
    let mapping = match wishes["mapping"].as_str() {
        Some("off") => PortMapping::Off,
        Some("always") => PortMapping::Always,
        _ => PortMapping::WhenNeeded,
    };
    let port = wishes["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
    // They are to be found by the tests, not by each other.
    let mut config = Config::new().port(port).port_mapping(mapping).advertise(false).bootstrap(false);
    if let Some(lease) = wishes["lease"].as_u64() {
        config = config.mapping_lease(Duration::from_secs(lease));
    }
    let servers = wishes["servers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    servers.fold(config, Config::rendezvous)
}

struct Life {
    net: Option<Net>,
    told: Option<Arc<Reach>>,
}

impl Life {
    fn go_on(&mut self) {
        let Some(net) = &mut self.net else { return thread::park_timeout(TURN) };
        net.poll(Some(TURN)).expect("it goes on");
        net.events().for_each(|event: Event| drop(event));
        for con in net.connections() {
            con.replies().for_each(|line| println!("{}", json!({ "event": "line", "line": &*line })));
        }
        let reach = net.reach();
        if self.told.as_ref() != Some(&reach) {
            println!("{}", reach_json(&reach));
            self.told = Some(reach);
        }
    }

    fn obey(&mut self, order: &str) {
        match (order, &mut self.net) {
            ("refresh", Some(net)) => net.refresh_reach(),
            ("finish", Some(net)) => {
                let done = net.finish(LEAVE).expect("it leaves");
                println!("{}", json!({ "event": "finished", "done": done }));
            }
            ("drop", net) => {
                *net = None;
                println!("{}", json!({ "event": "dropped" }));
            }
            other => panic!("{other:?}?"),
        }
    }
}

/// As the doctor has it, as far as a picture needs it.
fn reach_json(reach: &Reach) -> Value {
    let (protocol, external) = match &reach.mapping {
        Mapping::Mapped { protocol, external, .. } => (Some(protocol), Some(external.to_string())),
        Mapping::DoubleNat { protocol, .. } => (Some(protocol), None),
        _ => (None, None),
    };
    let protocol = match protocol {
        Some(MappingProtocol::Upnp) => "upnp",
        Some(MappingProtocol::NatPmp) => "natpmp",
        _ => "none",
    };
    json!({
        "event": "reach",
        "wan": reach.wan.map(|ip| ip.to_string()),
        "lan": reach.lan.iter().map(|lan| lan.address.to_string()).collect::<Vec<_>>(),
        "port": reach.port,
        "reachable": reach.reachable.answer(),
        "mapping": { "protocol": protocol, "external": external, "why": reach.mapping.to_string() },
    })
}

/// Standard error, which the test keeps.
struct Log;

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        metadata.target() == "p2poll"
    }

    fn log(&self, record: &log::Record) {
        if self.enabled(record.metadata()) {
            eprintln!("{}", record.args());
        }
    }

    fn flush(&self) {}
}
