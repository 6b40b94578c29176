//! The states: what is there when a `Net` is driven, and how one sees that it came about.

#[path = "../../../../../tests/common/router/mod.rs"]
mod router;

use super::tally::Tally;
use crate::Result;
use crate::child::Child;
use p2poll::{Config, Doubt, Mapping, Net, PortMapping, Reachability, RendezvousConfig};
use router::{Behaviour, FakeRouter, Http, NatPmp, Ssdp};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

pub struct State {
    pub name: &'static str,
    /// How long it is looked at, when it is to tell something.
    pub span: Duration,
    pub stage: fn() -> Result<Stage>,
}

const fn state(name: &'static str, stage: fn() -> Result<Stage>) -> State {
    State { name, span: Duration::from_secs(3), stage }
}

pub const STATES: [State; 16] = [
    state("no server, no peer", alone),
    state("servers up, all found out", all_found_out),
    state("names being looked up", names),
    state("server accepts and is silent", silent_server),
    state("eight servers refuse", refusing_servers),
    state("NAT being surveyed", survey),
    state("port being probed", probe),
    state("router searched, none answers", || with_router(|router| router.ssdp = Ssdp::Silent, searched)),
    State {
        span: Duration::from_secs(31),
        ..state("router hangs for 30 s", || with_router(hangs, described))
    },
    state("router takes 300 ms an answer", || {
        with_router(|router| router.http = SLOW, |net, _| is_mapped(net))
    }),
    state("router's bodies never end", || with_router(|router| router.http = Http::Endless, described)),
    state("router says garbage", || with_router(says_garbage, searched)),
    state("mapped by UPnP, lease of 2 s", || renewing(|_| ())),
    state("mapped by NAT-PMP, lease of 2 s", || renewing(only_nat_pmp)),
    state("mapping being removed", removal),
    state("reach refreshed ten times a second", refreshed),
];

/// What is there, and what is done.
pub struct Stage {
    pub config: Config,
    /// When the state has begun.
    pub begins: Condition,
    /// What the program does then.
    pub enters: Act,
    /// What it does again and again.
    pub habit: Act,
    pub every: Duration,
    /// Otherwise it is all begun anew.
    pub lasts: Condition,
    /// What is to be seen once at least.
    pub proof: Condition,
    /// It is there for as long as the stage is.
    _server: Option<Child>,
}

type Act = Box<dyn Fn(&Net, &mut Tally)>;
type Condition = Box<dyn Fn(&Net) -> bool>;

impl Stage {
    fn new(config: Config) -> Self {
        Self {
            config,
            begins: Box::new(|_| true),
            enters: Box::new(|_, _| ()),
            habit: Box::new(|_, _| ()),
            every: Duration::from_secs(1),
            lasts: Box::new(|_| true),
            proof: Box::new(|_| true),
            _server: None,
        }
    }

    /// With a server besides; see [`serve`].
    fn and_server(self, pace: u64, probe: u64) -> Result<Self> {
        let mut server = Child::of_ourselves(&["server", &pace.to_string(), &probe.to_string()])?;
        let addresses = server.line()?;
        let config = addresses.split(' ').fold(self.config, Config::rendezvous);
        Ok(Self { config, _server: Some(server), ..self })
    }
}

fn on_loopback() -> Config {
    Config::new().bind(Ipv4Addr::LOCALHOST.into())
}

fn alone() -> Result<Stage> {
    Ok(Stage::new(on_loopback()))
}

/// It believes so, as nobody sees it at this address, and therefore finds out what kind of NAT it is.
fn behind_nat() -> Result<Stage> {
    Ok(Stage::new(on_loopback().wan_ip(WAN)))
}

const WAN: IpAddr = IpAddr::V4(Ipv4Addr::new(11, 22, 33, 44));

fn all_found_out() -> Result<Stage> {
    Ok(Stage { begins: Box::new(knows_all), ..behind_nat()?.and_server(0, 50)? })
}

fn knows_all(net: &Net) -> bool {
    let reach = net.reach();
    reach.nat.kind().is_some() && reach.reachable == Reachability::Yes
}

/// A server and a peer have names; the peer is looked for all the time, and neither is there.
fn names() -> Result<Stage> {
    let peer = format!("localhost:{}", closed_port()?.port());
    let config = on_loopback().rendezvous(&peer);
    let habit = move |net: &Net, tally: &mut Tally| {
        // Too many at once, when a look-up takes its time, is no matter.
        let _ = tally.call("connect_addr", || net.connect_addr(&peer));
    };
    Ok(Stage { every: Duration::from_millis(5), habit: Box::new(habit), ..Stage::new(config) })
}

fn silent_server() -> Result<Stage> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let config = on_loopback().rendezvous(listener.local_addr()?.to_string());
    let held = RefCell::new(Vec::new());
    let proof = move |_: &Net| {
        held.borrow_mut().extend(listener.accept());
        !held.borrow().is_empty()
    };
    Ok(Stage { proof: Box::new(proof), ..Stage::new(config) })
}

fn refusing_servers() -> Result<Stage> {
    let mut config = on_loopback();
    for _ in 0..Config::MAX_RENDEZVOUS {
        config = config.rendezvous(closed_port()?.to_string());
    }
    let every = Duration::from_millis(20);
    let habit = |net: &Net, tally: &mut Tally| {
        tally.call("bootstrap", || net.bootstrap());
        tally.call("advertise", || net.advertise());
    };
    Ok(Stage { every, habit: Box::new(habit), ..Stage::new(config) })
}

/// The server looks at its clients four times a second, so that it takes its time.
fn survey() -> Result<Stage> {
    Ok(Stage {
        begins: Box::new(|net| net.reach().servers.iter().any(|server| server.kind.is_some())),
        lasts: Box::new(|net| net.reach().nat.kind().is_none()),
        ..behind_nat()?.and_server(250, 50)?
    })
}

fn probe() -> Result<Stage> {
    Ok(Stage {
        begins: Box::new(|net| net.reach().nat.kind().is_some()),
        lasts: Box::new(|net| net.reach().reachable == Reachability::Unknown(Doubt::Pending)),
        ..behind_nat()?.and_server(0, 10_000)?
    })
}

const SLOW: Http = Http::Slow(Duration::from_millis(300));

/// A router that is asked whether or not it is needed, and once a second whether anything has changed.
fn with_router(
    habits: impl FnOnce(&mut Behaviour),
    proof: impl Fn(&Net, &FakeRouter) -> bool + 'static,
) -> Result<Stage> {
    let router = FakeRouter::start()?;
    router.set(|behaviour| {
        // By UPnP, unless the state says otherwise.
        behaviour.nat_pmp = NatPmp::Silent;
        habits(behaviour);
    });
    let config = on_loopback().router(router.ip().into()).port_mapping(PortMapping::Always);
    Ok(Stage {
        habit: Box::new(refresh),
        proof: Box::new(move |net| proof(net, &router)),
        ..Stage::new(config)
    })
}

fn refresh(net: &Net, tally: &mut Tally) {
    tally.call("refresh_reach", || net.refresh_reach());
}

fn hangs(router: &mut Behaviour) {
    router.http = Http::Hung;
}

fn says_garbage(router: &mut Behaviour) {
    router.ssdp = Ssdp::GarbageFirst;
    router.http = Http::Endless;
    router.nat_pmp = NatPmp::Truncated(5);
}

fn only_nat_pmp(router: &mut Behaviour) {
    router.ssdp = Ssdp::Silent;
    router.nat_pmp = NatPmp::Normal;
}

fn searched(_: &Net, router: &FakeRouter) -> bool {
    router.counts().search > 0 && router.counts().pmp_address > 0
}

fn described(_: &Net, router: &FakeRouter) -> bool {
    router.counts().description > 0
}

fn is_mapped(net: &Net) -> bool {
    matches!(net.reach().mapping, Mapping::Mapped { .. })
}

/// It is seen to be renewed once at least.
fn renewing(habits: impl FnOnce(&mut Behaviour)) -> Result<Stage> {
    let renewed = |_: &Net, router: &FakeRouter| router.counts().add.max(router.counts().pmp_map) > 1;
    let stage = with_router(habits, renewed)?;
    Ok(Stage {
        config: stage.config.mapping_lease(Duration::from_secs(2)),
        begins: Box::new(is_mapped),
        habit: Box::new(|_, _| ()),
        ..stage
    })
}

/// By a router that takes its time.
fn removal() -> Result<Stage> {
    let stage = with_router(|router| router.http = SLOW, |_, router| router.counts().delete > 0)?;
    Ok(Stage {
        begins: Box::new(is_mapped),
        enters: Box::new(|net, tally| tally.call("stop", || net.stop())),
        habit: Box::new(|_, _| ()),
        ..stage
    })
}

/// With a router and servers, so that each refreshing has something to do.
fn refreshed() -> Result<Stage> {
    let stage = with_router(|_| (), |net, _| knows_all(net))?.and_server(0, 50)?;
    let config = stage.config.wan_ip(WAN);
    Ok(Stage { config, every: Duration::from_millis(100), ..stage })
}

/// A port at which nobody listens.
fn closed_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The server's process: begins with its two addresses, and ends with its input.
pub fn serve(pace: &str, probe: &str) -> Result<()> {
    let (pace, probe) = (Duration::from_millis(pace.parse()?), Duration::from_millis(probe.parse()?));
    let config = RendezvousConfig::new().listen("127.0.0.1:0").listen("127.0.0.1:0").probe_time(probe);
    let mut server = config.start()?;
    let addresses: Vec<String> = server.local_addrs().iter().map(SocketAddr::to_string).collect();
    println!("{}", addresses.join(" "));
    std::thread::spawn(|| {
        // However it ends: whoever started us is gone.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    loop {
        server.poll(Some(Duration::from_secs(1)))?;
        std::thread::sleep(pace);
    }
}
