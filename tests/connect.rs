//! Two nodes, one of which knows only the other's UNL, on loopback.

// Tests are on the application's side of the loop: they wait for connections, and keep deadlines.
#![allow(clippy::disallowed_methods)]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use p2poll::{
    AttemptId, Con, ConId, Config, Connect, Event, FailReason, Key, Net, NodeId, Rendezvous,
    RendezvousConfig, Rung, Rungs, Unl, Via,
};

const TICK: Duration = Duration::from_millis(2);

/// More than anything here takes, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that takes part in a test, driven by one loop.
struct Town {
    servers: Vec<Rendezvous>,
    nets: Vec<Net>,
    events: Vec<Vec<Event>>,
    lines: Vec<Vec<(ConId, String)>>,
}

impl Town {
    fn new() -> Self {
        _ = env_logger::builder().is_test(true).try_init();
        Self { servers: Vec::new(), nets: Vec::new(), events: Vec::new(), lines: Vec::new() }
    }

    fn server(&mut self, config: RendezvousConfig) -> String {
        let server = config.listen("127.0.0.1:0").start().unwrap();
        let addr = server.local_addrs()[0].to_string();
        self.servers.push(server);
        addr
    }

    fn net(&mut self, config: Config) -> usize {
        self.nets.push(config.bind(Ipv4Addr::LOCALHOST.into()).start().unwrap());
        self.events.push(Vec::new());
        self.lines.push(Vec::new());
        self.nets.len() - 1
    }

    fn turn(&mut self) {
        for server in &mut self.servers {
            server.poll(Some(TICK)).unwrap();
        }
        for (n, net) in self.nets.iter_mut().enumerate() {
            net.poll(Some(TICK)).unwrap();
            for con in net.connections() {
                for line in con.replies() {
                    self.lines[n].push((con.id(), line.to_string()));
                }
            }
            self.events[n].extend(net.events());
        }
    }

    #[track_caller]
    fn until(&mut self, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited in vain: {:#?}", self.events);
            self.turn();
        }
    }

    fn unl(&self, n: usize) -> Unl {
        self.nets[n].unl().unwrap()
    }

    /// Waits until signals can reach a node.
    fn callable(&mut self, n: usize) -> Unl {
        self.until(|town| town.unl(n).servers().len() > 0);
        self.unl(n)
    }

    #[track_caller]
    fn outcome(&mut self, n: usize, attempt: AttemptId) -> Result<(ConId, Via), FailReason> {
        let is_outcome = |event: &Event| match event {
            Event::Connected { con, via, attempt: Some(id), .. } if *id == attempt => Some(Ok((*con, *via))),
            Event::Failed { attempt: id, why } if *id == attempt => Some(Err(why.clone())),
            _ => None,
        };
        self.until(|town| town.events[n].iter().any(|event| is_outcome(event).is_some()));
        self.events[n].iter().find_map(is_outcome).unwrap()
    }
}

#[test]
fn by_unl_without_any_server() {
    let mut town = Town::new();
    let (alice, bob) = (town.net(Config::new().direct()), town.net(Config::new().direct()));
    let attempt = town.nets[alice].connect(&town.unl(bob)).unwrap();
    let (con, via) = town.outcome(alice, attempt).unwrap();
    assert_eq!(via, Via::Lan);
    let bob_id = town.nets[bob].node_id().unwrap();
    assert_eq!(town.nets[alice].con(con).unwrap().node_id(), Some(bob_id));
    town.until(|town| town.nets[bob].len() == 1);
    let alice_id = town.nets[alice].node_id().unwrap();
    let back = town.nets[bob].con_of(alice_id).unwrap();
    for line in ["one", "~two", "~~three", "~hello {}", ""] {
        back.send_line(line).unwrap();
        town.nets[alice].con(con).unwrap().send_line(line).unwrap();
    }
    let expected = ["one", "~two", "~~three", "~hello {}", ""];
    town.until(|town| town.lines[alice].len() == 5 && town.lines[bob].len() == 5);
    for n in [alice, bob] {
        let lines: Vec<&str> = town.lines[n].iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(lines, expected);
    }
}

#[test]
fn by_relay_and_nothing_else() {
    let mut town = Town::new();
    let server = town.server(RendezvousConfig::new());
    let config = Config::new().direct().rendezvous(server);
    let (alice, bob) = (town.net(config.clone()), town.net(config));
    let unl = town.callable(bob);
    let attempt = town.nets[alice].connect(Connect::to(&unl).only(Rungs::NONE.with(Rung::Relay))).unwrap();
    let (con, via) = town.outcome(alice, attempt).unwrap();
    assert_eq!(via, Via::Relayed);
    town.nets[alice].con(con).unwrap().send_line("over there").unwrap();
    town.until(|town| town.lines[bob].iter().any(|(_, line)| line == "over there"));
}
