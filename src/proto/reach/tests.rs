use std::net::SocketAddrV4;

use super::*;
use crate::reach::{MappingFault, MappingProtocol, Reachability, ServerKind};

const SECOND: Duration = Duration::from_secs(1);
const RTT: Duration = Duration::from_millis(50);

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn lan(text: &str) -> LanAddress {
    LanAddress { interface: "eth0".into(), address: text.parse().expect("an address") }
}

/// A finder at a time, and what it wanted so far.
struct Bench {
    finder: Finder,
    now: Instant,
    wanted: Vec<FinderAction>,
}

impl Bench {
    /// At home: 192.168.1.10, listening at 5000, behind a router whose address is 11.0.0.1.
    fn new(config: &Config) -> Self {
        let now = Instant::ZERO;
        let mut bench =
            Self { finder: Finder::new(config, Random::from_number(1), now), now, wanted: Vec::new() };
        bench.finder.handle_listening(addr("[::]:5000"), now);
        assert_eq!(bench.take(), [FinderAction::Interfaces]);
        bench.finder.handle_interfaces(vec![lan("192.168.1.10")], now);
        bench.take();
        bench
    }

    fn with_servers(servers: usize) -> Self {
        Self::new(&(0..servers).fold(Config::new(), |config, _| config.rendezvous("rv:1")))
    }

    /// Server `place` is at 11.0.9.`place`, and is asked from 192.168.1.10.
    fn up(&mut self, place: usize, kind: ServerKind, seen: Option<&str>) {
        let new = kind == ServerKind::P2poll;
        let up = ServerUp {
            addr: addr(&format!("11.0.9.{place}:8000")),
            local: addr("192.168.1.10:40000"),
            kind,
            rtt: RTT,
            seen: seen.map(addr),
            can_probe: new,
            observes: new,
        };
        self.finder.handle_server_up(place, up, self.now);
        if new {
            self.finder.handle_observers(place, Vec::new(), self.now);
        }
    }

    fn behind_nat(&mut self, place: usize) {
        self.up(place, ServerKind::P2poll, Some("11.0.0.1:40000"));
    }

    fn probed(&mut self, place: usize, port: u16, outcome: ProbeOutcome) {
        self.pass(SECOND);
        self.finder.handle_probed(place, port, outcome, self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.finder.handle_timeout(self.now);
    }

    fn take(&mut self) -> Vec<FinderAction> {
        self.wanted.clear();
        self.wanted.extend(std::iter::from_fn(|| self.finder.poll_action()));
        self.wanted.clone()
    }

    fn picture(&mut self) -> Arc<Reach> {
        self.finder.poll_change();
        Arc::clone(self.finder.picture())
    }

    fn advertised(&self) -> Option<u16> {
        self.finder.advertised_port(0)
    }
}

fn target(ip: &str) -> Target {
    Target { internal: SocketAddrV4::new(ip.parse().expect("an address"), 5000), external: 5000 }
}

fn mapped(external: &str) -> Mapping {
    Mapping::Mapped { protocol: MappingProtocol::Upnp, external: addr(external), lease: Some(3600 * SECOND) }
}

fn failed() -> Mapping {
    Mapping::Failed { upnp: MappingFault::NoRouter, nat_pmp: MappingFault::NoRouter }
}

#[test]
fn nothing_is_asked_without_servers() {
    let mut bench = Bench::with_servers(0);
    let picture = bench.picture();
    assert_eq!(picture.lan, [lan("192.168.1.10")]);
    assert_eq!(picture.nat, Nat::Unknown(Doubt::NoServer));
    assert_eq!(picture.reachable, Reachability::Unknown(Doubt::NoServer));
    assert_eq!((picture.mapping.clone(), picture.node_type), (Mapping::NotNeeded, NodeType::Passive));
    bench.pass(3600 * SECOND);
    assert_eq!(bench.take(), []);
}

#[test]
fn where_nothing_is_translated_there_is_no_nat_and_no_router_to_ask() {
    let mut bench = Bench::with_servers(1);
    bench.up(0, ServerKind::P2poll, Some("192.168.1.10:40000"));
    assert_eq!(bench.take(), [FinderAction::Probe { server: 0, port: 5000 }]);
    bench.probed(0, 5000, ProbeOutcome::No);
    let picture = bench.picture();
    assert_eq!((picture.nat, picture.reachable), (Nat::None, Reachability::No));
    assert_eq!((picture.mapping.clone(), picture.node_type), (Mapping::NotNeeded, NodeType::Simultaneous));
    assert_eq!((bench.take(), bench.advertised()), (vec![], None));
}

#[test]
fn a_port_that_is_open_already_is_left_alone() {
    let mut bench = Bench::with_servers(1);
    assert_eq!(bench.advertised(), Some(5000), "until it is known better");
    bench.behind_nat(0);
    let observers = vec![addr("11.0.9.0:8000")];
    assert_eq!(
        bench.take(),
        [FinderAction::Probe { server: 0, port: 5000 }, FinderAction::Survey { observers }]
    );
    bench.probed(0, 5000, ProbeOutcome::Yes);
    let picture = bench.picture();
    assert_eq!((picture.reachable, picture.mapping.clone()), (Reachability::Yes, Mapping::NotNeeded));
    assert_eq!((picture.wan, picture.translated), (Some([11, 0, 0, 1].into()), Some(true)));
    assert_eq!((picture.node_type, bench.advertised()), (NodeType::Passive, Some(5000)));
    assert_eq!(bench.take(), []);
}

#[test]
fn a_closed_port_is_mapped_and_looked_at_again() {
    let mut bench = Bench::with_servers(1);
    bench.behind_nat(0);
    bench.take();
    bench.probed(0, 5000, ProbeOutcome::No);
    assert_eq!(bench.take(), [FinderAction::Map(Some(target("192.168.1.10")))]);
    assert_eq!(bench.picture().mapping, Mapping::Searching);
    assert_eq!((bench.picture().node_type, bench.advertised()), (NodeType::Active, None));
    bench.finder.handle_mapping(mapped("11.0.0.1:5001"), bench.now);
    assert_eq!(bench.take(), [FinderAction::Probe { server: 0, port: 5001 }]);
    assert_eq!(bench.picture().reachable, Reachability::Unknown(Doubt::Pending));
    bench.probed(0, 5001, ProbeOutcome::Yes);
    let picture = bench.picture();
    assert_eq!((picture.port, picture.reachable), (Some(5001), Reachability::Yes));
    assert_eq!((picture.node_type, bench.advertised()), (NodeType::Passive, Some(5001)));
}

#[test]
fn a_mapping_that_leads_nowhere_is_renewed_twice_and_then_left_to_the_schedule() {
    let mut bench = Bench::with_servers(1);
    bench.behind_nat(0);
    bench.probed(0, 5000, ProbeOutcome::No);
    bench.take();
    bench.finder.handle_mapping(mapped("11.0.0.1:5000"), bench.now);
    let mut renewals = 0;
    for _ in 0..10 {
        bench.pass(3 * SECOND);
        for action in bench.take() {
            match action {
                FinderAction::Probe { port, .. } => {
                    bench.finder.handle_probed(0, port, ProbeOutcome::No, bench.now + SECOND)
                }
                FinderAction::Renew => renewals += 1,
                FinderAction::Interfaces => {}
                other => panic!("{other:?}"),
            }
        }
    }
    renewals += bench.take().iter().filter(|action| **action == FinderAction::Renew).count();
    assert_eq!(renewals, 2);
    assert_eq!(bench.picture().reachable, Reachability::No);
}

#[test]
fn one_server_that_gets_through_outweighs_one_that_does_not() {
    let mut bench = Bench::with_servers(2);
    bench.behind_nat(0);
    bench.behind_nat(1);
    bench.take();
    bench.probed(0, 5000, ProbeOutcome::No);
    assert_eq!(bench.picture().reachable, Reachability::Unknown(Doubt::Pending), "the other is asked still");
    assert_eq!(bench.take(), []);
    bench.probed(1, 5000, ProbeOutcome::Yes);
    assert_eq!(bench.picture().reachable, Reachability::Yes);
    assert_eq!(bench.take(), []);
}

#[test]
fn two_servers_at_one_address_are_asked_one_after_the_other() {
    let mut bench = Bench::with_servers(2);
    let up = |port| ServerUp {
        addr: SocketAddr::from(([11, 0, 9, 9], port)),
        local: addr("192.168.1.10:40000"),
        kind: ServerKind::P2poll,
        rtt: RTT,
        seen: Some(addr("11.0.0.1:40000")),
        can_probe: true,
        observes: false,
    };
    bench.finder.handle_server_up(0, up(1), bench.now);
    bench.finder.handle_server_up(1, up(2), bench.now);
    let probes = |actions: Vec<FinderAction>| {
        let probe = |action: &FinderAction| matches!(action, FinderAction::Probe { .. });
        actions.into_iter().filter(probe).collect::<Vec<_>>()
    };
    assert_eq!(probes(bench.take()), [FinderAction::Probe { server: 0, port: 5000 }]);
    bench.probed(0, 5000, ProbeOutcome::No);
    assert_eq!(probes(bench.take()), [FinderAction::Probe { server: 1, port: 5000 }]);
}

#[test]
fn a_no_from_far_away_means_nothing_but_that_a_router_is_asked() {
    let mut bench = Bench::with_servers(1);
    bench.behind_nat(0);
    bench.take();
    bench.pass(2 * RTT);
    bench.finder.handle_probed(0, 5000, ProbeOutcome::No, bench.now);
    assert_eq!(bench.picture().reachable, Reachability::Unknown(Doubt::TooFar));
    assert_eq!(bench.take(), [FinderAction::Map(Some(target("192.168.1.10")))]);
}

#[test]
fn old_servers_can_not_tell() {
    let mut bench = Bench::with_servers(1);
    bench.up(0, ServerKind::Pyp2p, None);
    let observers = vec![addr("11.0.9.0:8000")];
    // It is out in the world and we are not.
    let map = FinderAction::Map(Some(target("192.168.1.10")));
    assert_eq!(bench.take(), [FinderAction::Survey { observers }, map]);
    assert_eq!(bench.picture().reachable, Reachability::Unknown(Doubt::OldServer));
    assert_eq!(bench.picture().node_type, NodeType::Passive);
    bench.finder.handle_surveyed(Ok(NatKind::Preserving), bench.now);
    bench.finder.handle_mapping(failed(), bench.now);
    assert_eq!(bench.picture().node_type, NodeType::Simultaneous);
    assert_eq!(bench.advertised(), None);
}

#[test]
fn what_the_router_does_not_list_counts_once_a_server_got_through() {
    let external = addr("11.0.0.1:5001");
    let unconfirmed =
        Mapping::Unconfirmed { protocol: MappingProtocol::Upnp, external, lease: Some(3600 * SECOND) };
    let mut bench = Bench::with_servers(1);
    bench.behind_nat(0);
    bench.probed(0, 5000, ProbeOutcome::No);
    bench.take();
    bench.finder.handle_mapping(unconfirmed.clone(), bench.now);
    assert!(
        bench.take().contains(&FinderAction::Probe { server: 0, port: 5001 }),
        "the server is to find out"
    );
    assert_eq!(bench.picture().mapping, unconfirmed);
    bench.probed(0, 5001, ProbeOutcome::Yes);
    assert_eq!((&bench.picture().mapping, bench.picture().port), (&mapped("11.0.0.1:5001"), Some(5001)));

    // Where no server can tell, it counts for nothing.
    let mut bench = Bench::with_servers(1);
    bench.up(0, ServerKind::Pyp2p, None);
    bench.take();
    bench.finder.handle_surveyed(Ok(NatKind::Preserving), bench.now);
    bench.finder.handle_mapping(unconfirmed, bench.now);
    assert_eq!((bench.picture().node_type, bench.advertised()), (NodeType::Simultaneous, None));
}

#[test]
fn a_server_of_ones_own_network_says_nothing_of_the_outside() {
    let mut bench = Bench::with_servers(1);
    let up = ServerUp {
        addr: addr("192.168.1.20:8000"),
        local: addr("192.168.1.10:40000"),
        kind: ServerKind::Pyp2p,
        rtt: RTT,
        seen: None,
        can_probe: false,
        observes: false,
    };
    bench.finder.handle_server_up(0, up, bench.now);
    assert!(!bench.take().iter().any(|action| matches!(action, FinderAction::Map(_))));
    assert_eq!((bench.picture().mapping.clone(), bench.advertised()), (Mapping::NotNeeded, Some(5000)));
}

#[test]
fn a_second_server_makes_a_better_survey() {
    let mut bench = Bench::with_servers(2);
    bench.behind_nat(0);
    assert_eq!(bench.take(), [FinderAction::Probe { server: 0, port: 5000 }], "the other may come at once");
    bench.pass(SECOND_SERVER);
    assert_eq!(bench.take(), [FinderAction::Survey { observers: vec![addr("11.0.9.0:8000")] }]);
    bench.finder.handle_surveyed(Err(Doubt::OneObserver), bench.now);
    assert_eq!(bench.picture().nat, Nat::Unknown(Doubt::OneObserver));
    bench.behind_nat(1);
    bench.pass(2 * SURVEY_FIRST);
    let observers = vec![addr("11.0.9.0:8000"), addr("11.0.9.1:8000")];
    assert!(bench.take().contains(&FinderAction::Survey { observers }));
    bench.finder.handle_surveyed(Ok(NatKind::Reuse), bench.now);
    assert_eq!(bench.picture().nat, Nat::Measured(NatKind::Reuse));
}

#[test]
fn a_server_that_dies_half_way_leaves_a_doubt_and_is_asked_again() {
    let mut bench = Bench::with_servers(1);
    bench.behind_nat(0);
    bench.take();
    bench.finder.handle_surveyed(Err(Doubt::Unanswered), bench.now);
    bench.finder.handle_server_down(0, bench.now);
    let picture = bench.picture();
    assert_eq!(picture.nat, Nat::Unknown(Doubt::Unanswered));
    assert_eq!(picture.reachable, Reachability::Unknown(Doubt::Unanswered));
    bench.behind_nat(0);
    assert!(bench.take().contains(&FinderAction::Probe { server: 0, port: 5000 }));
    bench.pass(2 * RETRY_FIRST);
    assert!(bench.take().iter().any(|action| matches!(action, FinderAction::Survey { .. })));
}

#[test]
fn servers_that_do_not_answer_are_a_doubt_of_their_own() {
    let mut bench = Bench::with_servers(2);
    bench.finder.handle_server_down(0, bench.now);
    assert_eq!(bench.picture().reachable, Reachability::Unknown(Doubt::Pending));
    bench.finder.handle_server_down(1, bench.now);
    let picture = bench.picture();
    assert_eq!(picture.reachable, Reachability::Unknown(Doubt::ServersDown));
    assert_eq!(picture.nat, Nat::Unknown(Doubt::ServersDown));
}

#[test]
fn a_laptop_that_moves_begins_anew() {
    let mut bench = Bench::with_servers(1);
    bench.behind_nat(0);
    bench.finder.handle_surveyed(Ok(NatKind::Reuse), bench.now);
    bench.probed(0, 5000, ProbeOutcome::No);
    bench.finder.handle_mapping(mapped("11.0.0.1:5000"), bench.now);
    bench.take();
    // In the middle of probing the mapped port.
    bench.pass(WATCH_EVERY);
    assert!(bench.take().contains(&FinderAction::Interfaces));
    bench.finder.handle_interfaces(vec![lan("192.168.7.7")], bench.now);
    let actions = bench.take();
    assert!(actions.contains(&FinderAction::Reconnect { server: 0 }), "{actions:?}");
    assert!(actions.contains(&FinderAction::Map(None)), "{actions:?}");
    let picture = bench.picture();
    assert_eq!(picture.lan, [lan("192.168.7.7")]);
    assert_eq!((picture.nat, picture.translated), (Nat::Unknown(Doubt::Pending), None));
    assert_eq!(picture.reachable, Reachability::Unknown(Doubt::Pending));
    // What is said of the old place is not heard any more.
    bench.probed(0, 5000, ProbeOutcome::Yes);
    bench.finder.handle_mapping(mapped("11.0.0.1:5000"), bench.now);
    assert_eq!(bench.picture().reachable, Reachability::Unknown(Doubt::Pending));
    assert_eq!(bench.picture().mapping, Mapping::Waiting);
}

#[test]
fn a_new_outside_address_has_the_mapping_looked_after_not_taken_away() {
    let mut bench = Bench::with_servers(1);
    bench.behind_nat(0);
    bench.finder.handle_surveyed(Ok(NatKind::Reuse), bench.now);
    bench.probed(0, 5000, ProbeOutcome::No);
    bench.finder.handle_mapping(mapped("11.0.0.1:5000"), bench.now);
    bench.probed(0, 5000, ProbeOutcome::Yes);
    bench.pass(60 * SECOND);
    bench.take();
    bench.finder.handle_server_down(0, bench.now);
    assert_eq!(
        bench.picture().reachable,
        Reachability::Yes,
        "that a server is down says nothing of the port"
    );
    bench.up(0, ServerKind::P2poll, Some("11.0.0.2:40000"));
    let actions = bench.take();
    let survey = FinderAction::Survey { observers: vec![addr("11.0.9.0:8000")] };
    for wanted in [FinderAction::Refresh, FinderAction::Probe { server: 0, port: 5000 }, survey] {
        assert!(actions.contains(&wanted), "{actions:?}");
    }
    assert!(!actions.contains(&FinderAction::Map(None)), "{actions:?}");
    let picture = bench.picture();
    assert_eq!((picture.wan, picture.nat), (Some([11, 0, 0, 2].into()), Nat::Unknown(Doubt::Pending)));
    bench.probed(0, 5000, ProbeOutcome::Yes);
    assert_eq!(bench.picture().mapping, mapped("11.0.0.1:5000"), "until the mapper knows better");
}

#[test]
fn one_server_that_sees_us_elsewhere_does_not_outweigh_another() {
    let mut bench = Bench::with_servers(2);
    bench.behind_nat(0);
    bench.behind_nat(1);
    bench.probed(0, 5000, ProbeOutcome::No);
    bench.probed(1, 5000, ProbeOutcome::No);
    bench.finder.handle_mapping(mapped("11.0.0.1:5000"), bench.now);
    bench.probed(0, 5000, ProbeOutcome::Yes);
    bench.probed(1, 5000, ProbeOutcome::Yes);
    for place in 2..9 {
        bench.pass(60 * SECOND);
        bench.take();
        bench.finder.handle_server_down(1, bench.now);
        bench.up(1, ServerKind::P2poll, Some(&format!("11.0.0.{place}:40000")));
        assert!(!bench.take().contains(&FinderAction::Refresh));
    }
    // The same by the other family is no news either.
    bench.finder.handle_server_down(0, bench.now);
    bench.up(0, ServerKind::P2poll, Some("[2600:11::1]:40000"));
    assert!(!bench.take().contains(&FinderAction::Refresh));
}

#[test]
fn a_server_that_dies_while_it_is_asked_does_not_end_all_asking() {
    let mut bench = Bench::with_servers(2);
    bench.behind_nat(0);
    bench.behind_nat(1);
    bench.probed(0, 5000, ProbeOutcome::No);
    bench.finder.handle_server_down(1, bench.now);
    assert_eq!(bench.picture().reachable, Reachability::No);
    bench.take();
    bench.pass(RECHECK_EVERY);
    assert!(bench.take().contains(&FinderAction::Probe { server: 0, port: 5000 }));
}

#[test]
fn what_is_advertised_can_change_while_the_picture_does_not() {
    let mut bench = Bench::with_servers(2);
    bench.behind_nat(0);
    bench.behind_nat(1);
    bench.probed(0, 5000, ProbeOutcome::Yes);
    bench.probed(1, 5000, ProbeOutcome::No);
    bench.picture();
    assert_eq!((bench.finder.advertised_port(0), bench.finder.advertised_port(1)), (Some(5000), None));
    bench.pass(RECHECK_EVERY);
    bench.probed(1, 5000, ProbeOutcome::Yes);
    assert!(bench.finder.is_dirty());
    assert_eq!(bench.finder.poll_change(), None);
    assert_eq!(bench.finder.advertised_port(1), Some(5000));
}

#[test]
fn the_address_that_servers_are_reached_from_comes_first() {
    let mut bench = Bench::with_servers(1);
    let bridge = |n: u8| LanAddress { interface: "docker0".into(), address: [172, 17, n, 1].into() };
    let many: Vec<_> = (0..10).map(bridge).chain([lan("192.168.1.10")]).collect();
    bench.finder.handle_interfaces(many.clone(), bench.now);
    assert_eq!(bench.picture().lan, many, "as the operating system says, while nothing better is known");
    bench.behind_nat(0);
    let picture = bench.picture();
    assert_eq!((&picture.lan[0], &picture.lan[1..]), (&many[10], &many[..10]));
    bench.take();
    bench.probed(0, 5000, ProbeOutcome::No);
    assert_eq!(bench.take(), [FinderAction::Map(Some(target("192.168.1.10")))]);
}

#[test]
fn an_interface_that_has_nothing_to_do_with_it_changes_nothing() {
    let mut bench = Bench::with_servers(1);
    bench.behind_nat(0);
    bench.probed(0, 5000, ProbeOutcome::Yes);
    bench.take();
    let docker = LanAddress { interface: "docker0".into(), address: [172, 17, 0, 1].into() };
    for _ in 0..10 {
        bench.finder.handle_interfaces(vec![lan("192.168.1.10"), docker.clone()], bench.now);
        assert_eq!(bench.picture().reachable, Reachability::Yes);
        bench.finder.handle_interfaces(vec![lan("192.168.1.10")], bench.now);
    }
    assert_eq!(bench.take(), []);
}

#[test]
fn a_server_of_the_own_network_says_nothing_of_the_outside_when_there_is_another() {
    let mut bench = Bench::with_servers(2);
    let near = ServerUp {
        addr: addr("192.168.1.20:8000"),
        local: addr("192.168.1.10:40000"),
        kind: ServerKind::P2poll,
        rtt: RTT,
        seen: Some(addr("192.168.1.10:40000")),
        can_probe: true,
        observes: false,
    };
    bench.finder.handle_server_up(0, near, bench.now);
    bench.probed(0, 5000, ProbeOutcome::Yes);
    assert_eq!((bench.picture().nat, bench.picture().reachable), (Nat::None, Reachability::Yes));
    bench.behind_nat(1);
    bench.probed(1, 5000, ProbeOutcome::No);
    let picture = bench.picture();
    assert_eq!((picture.wan, picture.reachable), (Some([11, 0, 0, 1].into()), Reachability::No));
    assert_eq!(picture.mapping, Mapping::Searching);
    let observers = vec![addr("11.0.9.1:8000")];
    assert!(bench.take().contains(&FinderAction::Survey { observers }));
}

#[test]
fn servers_that_try_no_ports_are_as_good_as_old_ones() {
    let mut bench = Bench::with_servers(1);
    let up = ServerUp {
        addr: addr("11.0.9.0:8000"),
        local: addr("192.168.1.10:40000"),
        kind: ServerKind::P2poll,
        rtt: RTT,
        seen: Some(addr("11.0.0.1:40000")),
        can_probe: false,
        observes: false,
    };
    bench.finder.handle_server_up(0, up, bench.now);
    assert!(bench.take().contains(&FinderAction::Map(Some(target("192.168.1.10")))));
    assert_eq!(bench.picture().reachable, Reachability::Unknown(Doubt::OldServer));
}

#[test]
fn no_server_can_have_us_survey_others_as_often_as_it_likes() {
    let mut bench = Bench::with_servers(1);
    let mut surveys = 0;
    for minute in 0..60_u8 {
        bench.behind_nat(0);
        bench.up(0, ServerKind::P2poll, Some(&format!("11.0.{}.7:40000", minute)));
        bench.finder.handle_observers(0, vec![SocketAddr::from(([11, 9, 9, minute], 80))], bench.now);
        for _ in 0..60 {
            bench.pass(SECOND);
            for action in bench.take() {
                match action {
                    FinderAction::Survey { .. } => {
                        surveys += 1;
                        bench.finder.handle_surveyed(Err(Doubt::Unanswered), bench.now);
                    }
                    FinderAction::Probe { port, .. } => {
                        bench.finder.handle_probed(0, port, ProbeOutcome::Yes, bench.now)
                    }
                    _ => {}
                }
            }
        }
        bench.finder.handle_server_down(0, bench.now);
    }
    assert!((5..20).contains(&surveys), "{surveys} in the first hour");
}

#[test]
fn places_that_did_not_answer_are_asked_once() {
    let mut bench = Bench::with_servers(1);
    bench.behind_nat(0);
    bench.take();
    let (server, named) = (addr("11.0.9.0:8000"), addr("11.9.9.9:80"));
    bench.pass(5 * SECOND);
    bench.finder.handle_surveyed(Err(Doubt::OneObserver), bench.now);
    bench.finder.handle_observers(0, vec![named], bench.now);
    assert_eq!(bench.take(), [FinderAction::Survey { observers: vec![server, named] }]);
    bench.finder.handle_surveyed(Err(Doubt::Unanswered), bench.now);
    bench.pass(3600 * SECOND);
    let again = bench.take().into_iter().find(|action| matches!(action, FinderAction::Survey { .. }));
    assert_eq!(again, Some(FinderAction::Survey { observers: vec![server] }));
}

#[test]
fn a_program_that_is_too_busy_to_answer_in_time_is_not_closed() {
    let mut bench = Bench::with_servers(1);
    bench.behind_nat(0);
    bench.probed(0, 5000, ProbeOutcome::No);
    bench.finder.handle_late_probe(0, bench.now);
    assert_eq!(bench.picture().reachable, Reachability::Unknown(Doubt::TooFar));
    assert_eq!((bench.picture().node_type, bench.advertised()), (NodeType::Passive, Some(5000)));
    bench.pass(2 * RETRY_FIRST);
    assert!(bench.take().contains(&FinderAction::Probe { server: 0, port: 5000 }));
}

#[test]
fn who_asks_all_the_time_gets_it_by_and_by() {
    let mut bench = Bench::with_servers(1);
    bench.behind_nat(0);
    bench.probed(0, 5000, ProbeOutcome::Yes);
    bench.finder.handle_surveyed(Ok(NatKind::Reuse), bench.now);
    bench.take();
    let (mut probes, mut surveys) = (0, 0);
    for _ in 0..60 * 60 {
        bench.pass(SECOND / 60);
        bench.finder.refresh(bench.now);
        assert_eq!(bench.picture().reachable, Reachability::Yes, "what was known stays");
        for action in bench.take() {
            match action {
                FinderAction::Probe { port, .. } => {
                    probes += 1;
                    bench.finder.handle_probed(0, port, ProbeOutcome::Yes, bench.now);
                }
                FinderAction::Survey { .. } => {
                    surveys += 1;
                    bench.finder.handle_surveyed(Ok(NatKind::Reuse), bench.now);
                }
                FinderAction::Interfaces => {
                    bench.finder.handle_interfaces(vec![lan("192.168.1.10")], bench.now)
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((5..=7).contains(&probes) && (5..=7).contains(&surveys), "{probes} {surveys} in a minute");
}

#[test]
fn a_node_that_does_not_listen_asks_for_no_probe_and_sleeps() {
    let config = Config::new().rendezvous("rv:1").listen(false);
    let mut bench = Bench {
        finder: Finder::new(&config, Random::from_number(1), Instant::ZERO),
        now: Instant::ZERO,
        wanted: Vec::new(),
    };
    bench.finder.handle_timeout(bench.now);
    bench.finder.handle_interfaces(vec![lan("192.168.1.10")], bench.now);
    bench.behind_nat(0);
    bench.finder.handle_surveyed(Ok(NatKind::Reuse), bench.now);
    bench.finder.refresh(bench.now);
    assert!(!bench.take().iter().any(|action| matches!(action, FinderAction::Probe { .. })));
    assert_eq!(bench.picture().reachable, Reachability::Unknown(Doubt::NotListening));
    assert_eq!((bench.picture().node_type, bench.picture().port), (NodeType::Active, None));
    assert!(bench.finder.poll_timeout().is_none_or(|at| at > bench.now));
}

#[test]
fn over_ipv6_the_port_is_the_one_that_no_router_maps() {
    let mut bench = Bench::with_servers(2);
    bench.behind_nat(0);
    let up = ServerUp {
        addr: addr("[2600:11::9]:8000"),
        local: addr("[2600:11::1]:40000"),
        kind: ServerKind::P2poll,
        rtt: RTT,
        seen: Some(addr("[2600:11::1]:40000")),
        can_probe: true,
        observes: false,
    };
    bench.finder.handle_server_up(1, up, bench.now);
    bench.probed(0, 5000, ProbeOutcome::No);
    bench.probed(1, 5000, ProbeOutcome::No);
    bench.take();
    bench.finder.handle_mapping(mapped("11.0.0.1:6000"), bench.now);
    let probe = |server, port| FinderAction::Probe { server, port };
    assert_eq!(bench.take(), [probe(0, 6000), probe(1, 5000)]);
    bench.probed(0, 6000, ProbeOutcome::Yes);
    bench.probed(1, 5000, ProbeOutcome::No);
    assert_eq!(bench.take(), [], "the mapping does what it should");
    assert_eq!((bench.finder.advertised_port(0), bench.finder.advertised_port(1)), (Some(6000), None));
    assert_eq!(bench.picture().wan, Some([11, 0, 0, 1].into()));
}

#[test]
fn what_the_configuration_fixes_is_not_found_out() {
    let config = Config::new()
        .rendezvous("rv:1")
        .node_type(NodeType::Active)
        .nat(NatKind::Random)
        .wan_ip([11, 5, 5, 5].into())
        .port_mapping(PortMapping::Always);
    let mut bench = Bench::new(&config);
    bench.behind_nat(0);
    assert_eq!(bench.take(), [FinderAction::Probe { server: 0, port: 5000 }]);
    bench.probed(0, 5000, ProbeOutcome::Yes);
    let picture = bench.picture();
    assert_eq!((picture.node_type, picture.nat), (NodeType::Active, Nat::Configured(NatKind::Random)));
    assert_eq!((picture.wan, picture.mapping.clone()), (Some([11, 5, 5, 5].into()), Mapping::NotNeeded));
    assert_eq!(bench.advertised(), None);
}

#[test]
fn an_interface_may_be_fixed() {
    let mut bench = Bench::new(&Config::new().rendezvous("rv:1").interface("wlan0"));
    let other = LanAddress { interface: "wlan0".into(), address: [10, 0, 0, 3].into() };
    bench.finder.handle_interfaces(vec![lan("192.168.1.10"), other.clone()], bench.now);
    assert_eq!(bench.picture().lan, [other]);
    bench.behind_nat(0);
    bench.probed(0, 5000, ProbeOutcome::No);
    assert!(bench.take().contains(&FinderAction::Map(Some(target("10.0.0.3")))));
}

#[test]
fn a_server_is_asked_about_another_port_when_it_has_answered_about_the_first() {
    let mut bench = Bench::new(&Config::new().rendezvous("rv:1").port_mapping(PortMapping::Always));
    bench.behind_nat(0);
    bench.take();
    bench.finder.handle_mapping(mapped("11.0.0.1:6000"), bench.now);
    let probes = |actions: Vec<FinderAction>| {
        let is_probe = |action: &FinderAction| matches!(action, FinderAction::Probe { .. });
        actions.into_iter().filter(is_probe).collect::<Vec<_>>()
    };
    assert_eq!(probes(bench.take()), []);
    bench.probed(0, 5000, ProbeOutcome::Yes);
    assert_eq!(bench.picture().reachable, Reachability::Unknown(Doubt::Pending), "it is of the other port");
    assert_eq!(probes(bench.take()), [FinderAction::Probe { server: 0, port: 6000 }]);
    bench.probed(0, 6000, ProbeOutcome::Yes);
    assert_eq!((bench.picture().port, bench.picture().reachable), (Some(6000), Reachability::Yes));
}

#[test]
fn always_asks_at_once_and_off_never() {
    let mut bench = Bench {
        finder: Finder::new(
            &Config::new().port_mapping(PortMapping::Always),
            Random::from_number(1),
            Instant::ZERO,
        ),
        now: Instant::ZERO,
        wanted: Vec::new(),
    };
    bench.finder.handle_listening(addr("[::]:5000"), bench.now);
    bench.finder.handle_interfaces(vec![lan("192.168.1.10")], bench.now);
    assert!(bench.take().contains(&FinderAction::Map(Some(target("192.168.1.10")))));

    let mut bench = Bench::new(&Config::new().rendezvous("rv:1").port_mapping(PortMapping::Off));
    bench.behind_nat(0);
    bench.probed(0, 5000, ProbeOutcome::No);
    bench.pass(3600 * SECOND);
    assert!(!bench.take().iter().any(|action| matches!(action, FinderAction::Map(_))));
    assert_eq!(bench.picture().mapping, Mapping::Off);
}

#[test]
fn loopback_and_public_addresses_need_no_router() {
    for own in ["127.0.0.1", "11.0.0.1"] {
        let config = Config::new().bind(own.parse().expect("an address")).port_mapping(PortMapping::Always);
        let mut finder = Finder::new(&config, Random::from_number(1), Instant::ZERO);
        finder.handle_listening(SocketAddr::new(own.parse().expect("an address"), 5000), Instant::ZERO);
        finder.handle_interfaces(vec![lan(own)], Instant::ZERO);
        let wanted: Vec<_> = std::iter::from_fn(|| finder.poll_action()).collect();
        assert!(!wanted.iter().any(|action| matches!(action, FinderAction::Map(_))), "{own}: {wanted:?}");
    }
}

/// The port is the same inside and outside: it can not be asked for twice at once.
#[test]
fn a_mapping_that_comes_while_the_same_port_is_tried_is_tried_itself() {
    for (outcome, settles) in
        [(ProbeOutcome::No, false), (ProbeOutcome::Unanswered, false), (ProbeOutcome::Yes, true)]
    {
        let mut bench = Bench::new(&Config::new().rendezvous("rv:1").port_mapping(PortMapping::Always));
        bench.behind_nat(0);
        bench.take();
        bench.finder.handle_mapping(mapped("11.0.0.1:5000"), bench.now);
        assert_eq!(bench.take(), [], "{outcome:?}");
        bench.probed(0, 5000, outcome);
        let again = [FinderAction::Probe { server: 0, port: 5000 }];
        assert_eq!(bench.take(), if settles { &[][..] } else { &again[..] }, "{outcome:?}");
        bench.probed(0, 5000, ProbeOutcome::Yes);
        assert_eq!(bench.picture().reachable, Reachability::Yes);
    }
}

#[test]
fn a_doubt_takes_nothing_back() {
    for doubt in [ProbeOutcome::Busy, ProbeOutcome::Unanswered, ProbeOutcome::TooFar] {
        for (known, answer) in [(ProbeOutcome::Yes, Reachability::Yes), (ProbeOutcome::No, Reachability::No)]
        {
            let mut bench = Bench::with_servers(1);
            bench.behind_nat(0);
            bench.probed(0, 5000, known);
            bench.pass(RECHECK_EVERY);
            bench.probed(0, 5000, doubt);
            assert_eq!(bench.picture().reachable, answer, "{doubt:?}");
        }
    }
}

#[test]
fn a_server_that_names_this_node_as_its_own_place_is_not_believed() {
    let mut bench = Bench::with_servers(1);
    let wan = addr("11.0.0.1:5000");
    bench.behind_nat(0);
    bench.finder.handle_observers(0, vec![wan, addr("192.168.1.10:5000"), addr("11.0.0.1:5001")], bench.now);
    bench.pass(SECOND);
    let observers = vec![addr("11.0.9.0:8000"), addr("11.0.0.1:5001")];
    let asked = bench
        .take()
        .into_iter()
        .any(|action| action == FinderAction::Survey { observers: observers.clone() });
    assert!(asked || bench.finder.observers() == observers);
}
