//! The published pyp2p behind one router and ours behind another: they punch to each other, as pyp2p arranges it.
//!
//! Python is looked for as the interop tests do; without it, or without pyp2p, these are reported as ignored.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Trial};
use p2poll::{NodeType, Unl};

use crate::lab::{Filter, Host, Lab, Means, Nat, Need, Router};
use crate::peer::{Outcome, Peer, Server, Settings};
use crate::python::{Driver, Python};
use crate::tools::PATIENCE;

type Run = fn(&Python);

/// Which way, and through what routers.
const CASES: &[(&str, Run)] = &[
    ("pyp2p_is_punched_through_routers_that_drop", |python| ours_punches(python, Filter::Drop, "0")),
    ("pyp2p_is_punched_through_routers_that_reject", |python| ours_punches(python, Filter::Reject, "0")),
    ("pyp2p_with_a_clock_that_is_behind_is_punched", |python| ours_punches(python, Filter::Reject, "-1")),
    ("pyp2p_with_a_clock_that_is_before_is_punched", |python| ours_punches(python, Filter::Reject, "1")),
    ("pyp2p_punches_through_routers_that_drop", |python| theirs_punches(python, Filter::Drop, "0")),
    ("pyp2p_punches_through_routers_that_reject", |python| theirs_punches(python, Filter::Reject, "0")),
    ("pyp2p_with_a_clock_that_is_behind_punches", |python| theirs_punches(python, Filter::Reject, "-1")),
    ("pyp2p_with_a_clock_that_is_before_punches", |python| theirs_punches(python, Filter::Reject, "1")),
    ("pyp2p_is_punched_by_way_of_its_own_server", by_its_own_server),
];

const SERVERS: u16 = 8000;
const PORT: u16 = 20_000;

pub(crate) fn trials(means: Option<Arc<Means>>) -> impl Iterator<Item = Trial> {
    // Looking for it starts it.
    static PYTHON: OnceLock<Result<Python, String>> = OnceLock::new();
    CASES.iter().map(move |&(name, run)| {
        let means = means.clone();
        Trial::ignorable_test(name, move || {
            if let Some(Err(why)) = means.map(|means| means.meet(&[Need::Network])) {
                return Ok(Completion::ignored_with(why));
            }
            match PYTHON.get_or_init(Python::find) {
                Ok(python) => run(python),
                Err(why) => return Ok(Completion::ignored_with(format!("no Python with pyp2p ({why})"))),
            }
            Ok(Completion::Completed)
        })
    })
}

/// pyp2p is the host: its meeting is 6 s after it has accepted.
fn ours_punches(python: &Python, filter: Filter, skew: &str) {
    let town = Town::new();
    let (_home, mut theirs, unl) = town.pyp2p(python, filter, skew);
    let (_house, mut ours) = town.ours(filter);
    connect(&mut ours, &unl);
    assert_eq!(theirs.wait_for("connected")["how"], "simultaneous");
    talk(&mut ours, &mut theirs);
}

/// pyp2p is the candidate: ours says when they meet, and that is soon.
fn theirs_punches(python: &Python, filter: Filter, skew: &str) {
    let town = Town::new();
    let (_house, mut ours) = town.ours(filter);
    let unl: Unl = ours.unl_version2().parse().expect("it is known");
    assert_eq!((unl.version(), unl.node_type()), (2, NodeType::Simultaneous));
    let (_home, mut theirs, _) = town.pyp2p(python, filter, skew);
    let began = Instant::now();
    theirs.step(&format!("connect {unl}"));
    let connected = ours.until(PATIENCE, |event| event["event"] == "connected" && event["via"] == "punched");
    connected.unwrap_or_else(|why| panic!("{why}\n{}", ours.trace()));
    println!("punched after {:?}", began.elapsed());
    assert_eq!(theirs.wait_for("connected")["how"], "simultaneous");
    talk(&mut ours, &mut theirs);
}

/// pyp2p's server neither says how it sees us nor keeps us connected, and yet that is enough.
fn by_its_own_server(python: &Python) {
    let lab = Lab::new();
    lab.delay(Duration::from_millis(25));
    let machine = lab.server();
    let mut command = machine.command(program(python));
    command.env("P2POLL_OUTDOORS", "");
    let (_server, server) = python.server_by(command, machine.address());
    let [home, house] = [Filter::Drop; 2].map(|filter| lab.router(Nat::Preserving, filter));
    let (_host, mut theirs, unl) = pyp2p(python, &home, server, "0");
    let host = house.host();
    let mut ours = Peer::start(&host, &Settings::new(PORT, &[server])).expect("it can be started");
    let up = ours.until(PATIENCE, |event| event["up"] == 1);
    up.unwrap_or_else(|why| panic!("{why}\n{}", ours.trace()));
    connect(&mut ours, &unl);
    assert_eq!(theirs.wait_for("connected")["how"], "simultaneous");
    talk(&mut ours, &mut theirs);
}

fn connect(ours: &mut Peer, unl: &Unl) {
    let began = Instant::now();
    ours.connect(unl.as_str()).expect("it takes orders");
    let outcome = ours.outcome(PATIENCE).unwrap_or_else(|why| panic!("{why}\n{}", ours.trace()));
    let is_punched = matches!(&outcome, Outcome::Connected { via, .. } if via == "punched");
    assert!(is_punched, "{outcome:?}\n{}", ours.trace());
    println!("punched after {:?}", began.elapsed());
}

fn talk(ours: &mut Peer, theirs: &mut Driver) {
    ours.say("hello from ours").expect("it takes orders");
    assert_eq!(theirs.wait_for("line")["line"], "hello from ours");
    theirs.tell("send hello from theirs");
    let heard = ours.hear("hello from theirs", PATIENCE);
    heard.unwrap_or_else(|why| panic!("{why}\n{}", ours.trace()));
}

/// Two servers, of which pyp2p uses the first, and 50 ms between any two houses and back.
struct Town {
    lab: Lab,
    /// What the servers run on.
    _hosts: [Host; 2],
    servers: Vec<Server>,
}

impl Town {
    fn new() -> Town {
        let lab = Lab::new();
        let hosts = [lab.server(), lab.server()];
        lab.delay(Duration::from_millis(25));
        let servers = hosts.iter().map(|host| Server::start(host, SERVERS).expect("it can be started"));
        let servers = servers.collect();
        Town { lab, _hosts: hosts, servers }
    }

    fn ours(&self, filter: Filter) -> (Host, Peer) {
        let host = self.lab.router(Nat::Preserving, filter).host();
        let servers: Vec<SocketAddr> = self.servers.iter().map(Server::addr).collect();
        let mut peer = Peer::start(&host, &Settings::new(PORT, &servers)).expect("it can be started");
        peer.ready(PATIENCE).unwrap_or_else(|why| panic!("{why}\n{}", peer.trace()));
        (host, peer)
    }

    fn pyp2p(&self, python: &Python, filter: Filter, skew: &str) -> (Host, Driver, Unl) {
        pyp2p(python, &self.lab.router(Nat::Preserving, filter), self.servers[0].addr(), skew)
    }
}

/// A pyp2p that lives in this house, whose clock is so many seconds before the others.
fn pyp2p(python: &Python, home: &Router, server: SocketAddr, skew: &str) -> (Host, Driver, Unl) {
    let host = home.host();
    let mut command = host.command(program(python));
    command.env("P2POLL_OUTDOORS", "").env("P2POLL_WAN", home.address().to_string());
    command.env("P2POLL_SKEW", skew);
    let (driver, unl) = python.direct_by(command, host.address(), "simultaneous", server);
    (host, driver, unl)
}

fn program(python: &Python) -> &str {
    python.program().to_str().expect("a plain name")
}
