//! Two nodes, one of which knows only the other's UNL, on loopback.

// Tests are on the application's side of the loop: they wait for connections, and keep deadlines.
#![allow(clippy::disallowed_methods)]
#![allow(clippy::unwrap_used)] // a test that can not go on fails

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use p2poll::{
    AttemptId, CloseReason, ConId, Config, Connect, ConnectError, Event, FailReason, Key, Net, Rendezvous,
    RendezvousConfig, Rung, RungFault, Rungs, SendError, Unl, Via,
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
    let attempt = town.nets[alice].connect(town.unl(bob)).unwrap();
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

/// Only by way of the relay.
fn by_relay(unl: &Unl) -> Connect {
    Connect::to(unl).only(Rungs::NONE.with(Rung::Relay))
}

#[test]
fn by_relay_and_nothing_else() {
    let mut town = Town::new();
    let server = town.server(RendezvousConfig::new().relay_bytes(1 << 20));
    let config = Config::new().direct().rendezvous(server);
    let (alice, bob) = (town.net(config.clone()), town.net(config));
    let unl = town.callable(bob);
    let attempt = town.nets[alice].connect(by_relay(&unl)).unwrap();
    let (con, via) = town.outcome(alice, attempt).unwrap();
    assert_eq!(via, Via::Relayed);
    let there = town.nets[alice].con(con).unwrap();
    assert_eq!(there.relay().unwrap().bytes, Some(1 << 20));
    assert_eq!(there.unl().unwrap().node_id(), town.nets[bob].node_id());
    there.send_line("over there").unwrap();
    town.until(|town| town.lines[bob].iter().any(|(_, line)| line == "over there"));
}

#[test]
fn a_relayed_connection_goes_a_direct_way_without_losing_a_line() {
    let mut town = Town::new();
    let server = town.server(RendezvousConfig::new());
    let config = Config::new().direct().rendezvous(server).upgrade_every(Duration::from_millis(100));
    let (alice, bob) = (town.net(config.clone()), town.net(config));
    let unl = town.callable(bob);
    let attempt = town.nets[alice].connect(by_relay(&unl)).unwrap();
    let (con, _) = town.outcome(alice, attempt).unwrap();
    let id = town.nets[alice].node_id().unwrap();
    town.until(|town| town.nets[bob].con_of(id).is_some());
    let bobs = town.nets[bob].con_of(id).unwrap().id();
    let is_upgrade = |event: &Event| matches!(event, Event::Upgraded { .. });
    let mut sent = 0;
    let mut after = 0;
    while after < 200 {
        for (n, id) in [(alice, con), (bob, bobs)] {
            town.nets[n].con(id).expect("it is the same connection").send_line(format!("~{sent}")).unwrap();
        }
        sent += 1;
        town.turn();
        let moved = [alice, bob].iter().all(|&n| town.events[n].iter().any(is_upgrade));
        after += usize::from(moved);
        assert!(sent < 100_000, "it is never upgraded: {:#?}", town.events);
    }
    town.until(|town| town.lines.iter().all(|lines| lines.len() == sent));
    for lines in &town.lines {
        assert!(lines.iter().enumerate().all(|(n, (_, line))| *line == format!("~{n}")));
    }
    assert_eq!(town.nets[alice].con(con).unwrap().via(), Some(Via::Lan));
    assert_eq!(town.nets[alice].con(con).unwrap().relay(), None);
    assert!(!town.events.iter().flatten().any(|event| matches!(event, Event::Closed { .. })));
}

#[test]
fn to_connect_again_is_the_same_connection() {
    let mut town = Town::new();
    let (alice, bob) = (town.net(Config::new().direct()), town.net(Config::new().direct()));
    let unl = town.unl(bob);
    let first = town.nets[alice].connect(&unl).unwrap();
    let (con, _) = town.outcome(alice, first).unwrap();
    let again = town.nets[alice].connect(&unl).unwrap();
    assert_eq!(town.outcome(alice, again).unwrap().0, con);
    let only_new = Rungs::ALL.without(Rung::Existing);
    let anew = town.nets[alice].connect(Connect::to(&unl).only(only_new)).unwrap();
    let (other, _) = town.outcome(alice, anew).unwrap();
    assert_ne!(other, con);
    let replaced = Event::Closed { con, why: CloseReason::Replaced };
    town.until(|town| town.events[alice].contains(&replaced));
}

#[test]
fn two_that_connect_to_each_other_have_one_connection() {
    let mut town = Town::new();
    let (alice, bob) = (town.net(Config::new().direct()), town.net(Config::new().direct()));
    let unls = [town.unl(bob), town.unl(alice)];
    let there = town.nets[alice].connect(&unls[0]).unwrap();
    let back = town.nets[bob].connect(&unls[1]).unwrap();
    let (con, _) = town.outcome(alice, there).unwrap();
    town.outcome(bob, back).unwrap();
    town.nets[alice].con(con).unwrap().send_line("one").unwrap();
    town.until(|town| town.lines[bob].len() == 1);
    assert_eq!((town.nets[alice].len(), town.nets[bob].len()), (1, 1));
}

/// A node of the p2p network shows a connection at once; it becomes a link when its first line is a hello.
#[test]
fn a_p2p_net_can_be_connected_to_by_its_unl() {
    let mut town = Town::new();
    let (alice, bob) = (town.net(Config::new().direct()), town.net(Config::new()));
    let unl = town.unl(bob);
    let attempt = town.nets[alice].connect(&unl).unwrap();
    town.until(|town| town.nets[bob].len() == 1);
    // Whoever is there is told something, before it can be known who it is.
    town.nets[bob].broadcast("news for all", None);
    let (con, _) = town.outcome(alice, attempt).unwrap();
    town.until(|town| town.lines[alice].iter().any(|(_, line)| line == "news for all"));
    let id = town.nets[alice].node_id().unwrap();
    town.until(|town| town.nets[bob].con_of(id).is_some());
    town.nets[alice].con(con).unwrap().send_line("~thanks").unwrap();
    town.until(|town| town.lines[bob].iter().any(|(_, line)| line == "~thanks"));
    let connected = |event: &&Event| matches!(event, Event::Connected { .. });
    assert_eq!(town.events[bob].iter().filter(connected).count(), 1);
}

#[test]
fn who_takes_no_part_in_links_takes_a_hello_for_a_line() {
    let mut town = Town::new();
    let alice = town.net(Config::new().direct().hello_timeout(Duration::from_millis(300)));
    let bob = town.net(Config::new().links(false));
    assert_eq!((town.nets[bob].unl(), town.nets[bob].node_id()), (None, None));
    let key = Key::generate().unwrap();
    let addr = town.nets[bob].local_addr().unwrap();
    let unl = Unl::builder(p2poll::NodeType::Passive).lan(addr).sign(&key).unwrap();
    assert_eq!(town.nets[bob].connect(&unl), Err(ConnectError::NoLinks));
    let attempt = town.nets[alice].connect(&unl).unwrap();
    let FailReason::NoWay(tried) = town.outcome(alice, attempt).unwrap_err() else {
        panic!("it says nothing")
    };
    let lan = tried.iter().find(|tried| tried.rung == Rung::Lan).unwrap();
    assert_eq!(lan.why, RungFault::Silent(addr));
    assert!(town.lines[bob][0].1.starts_with("~hello {"));
}

#[test]
fn somebody_else_at_the_address_is_not_taken_for_the_node() {
    let mut town = Town::new();
    let (alice, eve) = (town.net(Config::new().direct()), town.net(Config::new().direct()));
    let addr = town.nets[eve].local_addr().unwrap();
    let unl = Unl::builder(p2poll::NodeType::Passive).lan(addr).sign(&Key::generate().unwrap()).unwrap();
    let attempt = town.nets[alice].connect(&unl).unwrap();
    let FailReason::NoWay(tried) = town.outcome(alice, attempt).unwrap_err() else {
        panic!("it says nothing")
    };
    assert!(tried.iter().any(|tried| tried.why == RungFault::WrongNode(addr)), "{tried:?}");
    assert_eq!((town.nets[alice].len(), town.nets[eve].len()), (0, 0));
}

#[test]
fn by_address_the_id_is_learned_and_by_id_and_address_it_is_checked() {
    let mut town = Town::new();
    let (alice, bob) = (town.net(Config::new().direct()), town.net(Config::new().direct()));
    let (addr, id) = (town.nets[bob].local_addr().unwrap(), town.nets[bob].node_id().unwrap());
    let attempt = town.nets[alice].connect(addr).unwrap();
    let (con, via) = town.outcome(alice, attempt).unwrap();
    assert_eq!((via, town.nets[alice].con(con).unwrap().node_id()), (Via::Direct, Some(id)));
    town.nets[alice].con(con).unwrap().send_line("~found you").unwrap();
    town.until(|town| town.lines[bob].iter().any(|(_, line)| line == "~found you"));
    // It is the same connection that each of these leads to.
    let again = town.nets[alice].connect(addr.to_string()).unwrap();
    assert_eq!(town.outcome(alice, again).unwrap().0, con);
    let named = town.nets[alice].connect(format!("{id}@{addr}")).unwrap();
    assert_eq!(town.outcome(alice, named).unwrap().0, con);
    let by_unl = town.nets[alice].connect(town.unl(bob).as_str()).unwrap();
    assert_eq!(town.outcome(alice, by_unl).unwrap().0, con);
    assert_eq!((town.nets[alice].len(), town.nets[bob].len()), (1, 1));

    let other = Key::generate().unwrap().id();
    let attempt = town.nets[alice].connect((other, addr)).unwrap();
    let FailReason::NoWay(tried) = town.outcome(alice, attempt).unwrap_err() else {
        panic!("it says nothing")
    };
    assert_eq!((tried[0].rung, &tried[0].why), (Rung::Direct, &RungFault::WrongNode(addr)));
}

#[test]
fn a_plain_peer_at_an_address_is_told_by_its_silence() {
    let mut town = Town::new();
    let alice = town.net(Config::new().direct().hello_timeout(Duration::from_millis(200)));
    let plain = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = plain.local_addr().unwrap();
    let attempt = town.nets[alice].connect(addr).unwrap();
    let FailReason::NoWay(tried) = town.outcome(alice, attempt).unwrap_err() else {
        panic!("it says nothing")
    };
    assert_eq!(tried[0].why, RungFault::Silent(addr));
    assert!(!town.events[alice].iter().any(|event| matches!(event, Event::Connected { .. })));
}

#[test]
fn at_ones_own_address_is_oneself() {
    let mut town = Town::new();
    for config in [Config::new().direct(), Config::new()] {
        let alice = town.net(config);
        let addr = town.nets[alice].local_addr().unwrap();
        let attempt = town.nets[alice].connect(addr).unwrap();
        assert_eq!(town.outcome(alice, attempt), Err(FailReason::Oneself));
        assert_eq!(town.nets[alice].len(), 0);
    }
    let off = town.net(Config::new().links(false));
    assert_eq!(town.nets[off].connect("127.0.0.1:1"), Err(ConnectError::NoLinks));
}

#[test]
fn nobody_connects_to_himself() {
    let mut town = Town::new();
    let alice = town.net(Config::new().direct());
    assert_eq!(town.nets[alice].connect(town.unl(alice)), Err(ConnectError::Oneself));
}

#[test]
fn a_temporary_connection_closes_itself_and_a_constant_one_does_not() {
    let mut town = Town::new();
    let (alice, bob) = (town.net(Config::new().direct()), town.net(Config::new().direct()));
    let unl = town.unl(bob);
    let attempt = town.nets[alice].connect(Connect::to(&unl).temporary(Duration::from_millis(200))).unwrap();
    let (con, _) = town.outcome(alice, attempt).unwrap();
    town.nets[alice].con(con).unwrap().send_line("last words").unwrap();
    let idle = Event::Closed { con, why: CloseReason::Idle };
    town.until(|town| town.events[alice].contains(&idle));
    town.until(|town| town.lines[bob].iter().any(|(_, line)| line == "last words"));
    let attempt = town.nets[alice].connect(Connect::to(&unl).temporary(Duration::from_millis(200))).unwrap();
    let (con, _) = town.outcome(alice, attempt).unwrap();
    town.nets[alice].con(con).unwrap().close_when_idle(None);
    let later = Instant::now() + Duration::from_millis(500);
    town.until(|_| Instant::now() > later);
    assert!(town.nets[alice].con(con).is_some());
}

#[test]
fn raw_bytes_are_no_line_of_a_link() {
    let mut town = Town::new();
    let (alice, bob) = (town.net(Config::new().direct()), town.net(Config::new().direct()));
    let attempt = town.nets[alice].connect(town.unl(bob)).unwrap();
    let (con, _) = town.outcome(alice, attempt).unwrap();
    assert_eq!(town.nets[alice].con(con).unwrap().send(b"raw\n"), Err(SendError::BadLine));
}

#[test]
fn a_cancelled_attempt_ends_with_that_word() {
    let mut town = Town::new();
    let server = town.server(RendezvousConfig::new());
    let alice = town.net(Config::new().direct().rendezvous(server.as_str()));
    let unl = Unl::builder(p2poll::NodeType::Active).server(server).sign(&Key::generate().unwrap()).unwrap();
    let attempt = town.nets[alice].connect(&unl).unwrap();
    town.turn();
    assert!(town.nets[alice].cancel(attempt) && !town.nets[alice].cancel(attempt));
    assert_eq!(town.outcome(alice, attempt), Err(FailReason::Cancelled));
}

#[test]
fn who_is_not_there_yet_finds_the_call_when_it_comes() {
    let mut town = Town::new();
    let server = town.server(RendezvousConfig::new());
    let config = Config::new().direct().rendezvous(server.as_str());
    let key = Key::generate().unwrap();
    let alice = town.net(config.clone());
    let unl = Unl::builder(p2poll::NodeType::Active).server(server).sign(&key).unwrap();
    let attempt = town.nets[alice].connect(&unl).unwrap();
    let waits =
        |event: &Event| matches!(event, Event::Climbing { progress: p2poll::Progress::Waiting(_), .. });
    town.until(|town| town.events[alice].iter().any(waits));
    let bob = town.net(config.key(key));
    let (con, _) = town.outcome(alice, attempt).unwrap();
    assert_eq!(town.nets[alice].con(con).unwrap().node_id(), town.nets[bob].node_id());
}
