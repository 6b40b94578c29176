mod proven;

use super::*;

const WALL: u64 = 1_700_000_000;

/// A server at a time, spoken to as by hand.
struct Desk {
    server: Server,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let server = Server::new(limits, Random::from_number(1), Duration::from_secs(WALL));
        Self { server, now: Instant::ZERO }
    }

    fn at(&mut self, seconds: u64) -> &mut Self {
        self.at_millis(1000 * seconds)
    }

    fn at_millis(&mut self, millis: u64) -> &mut Self {
        self.now = Instant::ZERO + Duration::from_millis(millis);
        while self.server.poll_timeout().is_some_and(|due| due <= self.now) {
            self.server.handle_timeout(self.now);
        }
        self
    }

    fn connect(&mut self, client: u64, peer: &str) -> &mut Self {
        let v6 = peer.starts_with('[') && !peer.contains("ffff");
        self.connect_at(client, peer, if v6 { "[2001:db8::8000]:8000" } else { "192.0.2.1:8000" })
    }

    fn connect_at(&mut self, client: u64, peer: &str, local: &str) -> &mut Self {
        let (peer, local) = (peer.parse().unwrap(), local.parse().unwrap());
        self.server.handle_connected(ClientId(client), peer, local, self.now);
        self
    }

    fn close(&mut self, client: u64) -> &mut Self {
        self.server.handle_closed(ClientId(client), self.now);
        self
    }

    /// The answer, with line ends as `|`.
    fn say(&mut self, client: u64, line: &str) -> String {
        let mut reply = Vec::new();
        self.server.handle_line(ClientId(client), line.as_bytes(), self.now, &mut reply);
        String::from_utf8(reply).unwrap().replace("\r\n", "|")
    }

    fn silent(&mut self, client: u64, line: &str) -> &mut Self {
        assert_eq!(self.say(client, line), "", "{line}");
        self
    }

    /// The probes that are to be dialled, and where.
    fn dials(&mut self) -> Vec<(ProbeId, SocketAddr, IpAddr)> {
        let actions = std::iter::from_fn(|| self.server.poll_action());
        let dials = actions.map(|action| match action {
            ServerAction::Dial { probe, to, from } => (probe, to, from),
            other => panic!("{other:?}"),
        });
        dials.collect()
    }

    fn told(&mut self) -> Vec<(u64, String)> {
        std::iter::from_fn(|| self.server.poll_action())
            .map(|action| match action {
                ServerAction::Send { client, text } => {
                    (client.0, String::from_utf8(text).unwrap().trim_end().into())
                }
                ServerAction::Close { client, why } => (client.0, format!("{why:?}")),
                other => (0, format!("{other:?}")),
            })
            .collect()
    }
}

const HELLO: &str = "HELLO p2poll 1 peers seen ping listed observers probe";

#[test]
fn a_passive_node_is_told_to_others_for_a_day() {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.7:4000").silent(1, "PASSIVE READY 44444 10").close(1);
    desk.connect(2, "198.51.100.1:4000");
    assert_eq!(desk.say(2, "BOOTSTRAP 10"), "NODES p:203.0.113.7:44444 |");
    desk.at(24 * 3600 - 1).connect(3, "198.51.100.1:4000");
    assert_eq!(desk.say(3, "BOOTSTRAP 1"), "NODES p:203.0.113.7:44444 |");
    desk.at(24 * 3600);
    assert_eq!(desk.say(3, "BOOTSTRAP 1"), "NODES EMPTY|");
}

#[test]
fn what_is_no_request_gets_silence() {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.7:4000");
    for line in ["", "BOOTSTRAP 0", "BOOTSTRAP 101", "PASSIVE READY 0 1", "GET / HTTP/1.1", "help", "\u{0}"] {
        desk.silent(1, line);
    }
    desk.silent(9, "BOOTSTRAP 1");
    assert_eq!(desk.say(1, "SOURCE TCP 7"), "REMOTE TCP 4000|");
    assert_eq!(desk.say(1, "SOURCE TCP"), "REMOTE TCP 4000|");
    assert_eq!(desk.server.nodes(), 0);
}

#[test]
fn an_old_client_never_sees_its_own_address() {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.7:1").silent(1, "PASSIVE READY 1 1");
    desk.connect(2, "203.0.113.7:2").silent(2, "PASSIVE READY 2 1");
    assert_eq!(desk.say(2, "BOOTSTRAP 10"), "NODES EMPTY|");
    desk.connect(3, "203.0.113.8:2");
    assert!(desk.say(3, "BOOTSTRAP 10").contains("p:203.0.113.7:2 "), "both are nodes to others");
}

#[test]
fn loopback_is_told_on_loopback_only_and_nobody_is_told_itself() {
    let mut desk = Desk::new();
    desk.connect(1, "127.0.0.1:1").silent(1, "PASSIVE READY 5001 1");
    assert_eq!(desk.say(1, "BOOTSTRAP 10"), "NODES EMPTY|");
    desk.connect(2, "127.0.0.1:2").silent(2, "PASSIVE READY 5002 1");
    assert_eq!(desk.say(2, "BOOTSTRAP 10"), "NODES p:127.0.0.1:5001 |");
    desk.connect(3, "127.0.7.7:2");
    assert!(desk.say(3, "BOOTSTRAP 10").contains("p:127.0.0.1:5002 "));
    desk.connect(4, "203.0.113.7:1");
    assert_eq!(desk.say(4, "BOOTSTRAP 10"), "NODES EMPTY|");
}

#[test]
fn only_who_said_hello_sees_ipv6_neighbours_and_who_is_newer() {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.7:1");
    assert_eq!(desk.say(1, HELLO), format!("{HELLO}|"));
    assert_eq!(desk.say(1, "PASSIVE READY 1 1"), "LISTED 1|");
    desk.connect(2, "203.0.113.7:2").silent(2, "PASSIVE READY 2 1");
    assert_eq!(desk.say(1, "BOOTSTRAP 9"), "NODES p+:203.0.113.7:2 |");
    desk.connect(3, "[2001:db8::1]:3");
    desk.say(3, HELLO);
    assert_eq!(desk.say(3, "PASSIVE READY 3 1"), "LISTED 3|");
    assert!(desk.say(1, "BOOTSTRAP 9").contains("p+:[2001:db8::1]:3 "));
    assert!(!desk.say(3, "BOOTSTRAP 9").contains("p+"));
    desk.connect(4, "198.51.100.1:4");
    assert!(!desk.say(4, "BOOTSTRAP 9").contains('['));
    desk.say(4, "HELLO p2poll 1 telepathy");
    assert!(!desk.say(4, "BOOTSTRAP 9").contains('['));
}

#[test]
fn who_registers_again_is_no_newer_than_before() {
    let mut desk = Desk::new();
    for (client, peer) in [(1, "203.0.113.7:1"), (2, "203.0.113.8:1")] {
        desk.connect(client, peer).say(client, HELLO);
        desk.say(client, "PASSIVE READY 1 1");
    }
    desk.close(1).at(60).connect(3, "203.0.113.7:9").say(3, HELLO);
    desk.say(3, "PASSIVE READY 1 1");
    assert_eq!(desk.say(2, "BOOTSTRAP 9"), "NODES p:203.0.113.7:1 |");
    assert_eq!(desk.say(3, "BOOTSTRAP 9"), "NODES p+:203.0.113.8:1 |");
}

#[test]
fn ipv4_in_ipv6_is_an_old_clients_ipv4() {
    let mut desk = Desk::new();
    desk.connect(1, "[::ffff:203.0.113.7]:4000").silent(1, "PASSIVE READY 1 1");
    assert_eq!(desk.say(1, "WHOAMI"), "SEEN 203.0.113.7 4000|");
    desk.connect(2, "[::ffff:198.51.100.1]:1");
    assert_eq!(desk.say(2, "BOOTSTRAP 1"), "NODES p:203.0.113.7:1 |");
}

#[test]
fn questions_of_the_extensions_are_answered() {
    let mut desk = Desk::new();
    desk.connect(1, "[2001:db8::1]:9");
    assert_eq!(desk.say(1, "HELLO p2poll 1 unknown ping"), "HELLO p2poll 1 ping|");
    assert_eq!(desk.say(1, "WHOAMI"), "SEEN [2001:db8::1] 9|");
    assert_eq!(desk.say(1, "PING 0123456789abcdef"), "PONG 0123456789abcdef|");
    desk.silent(1, "PASSIVE READY 1 1");
}

#[test]
fn a_server_without_extensions_is_an_old_one() {
    let mut desk = Desk::with(Limits { features: Features::NONE, ..Limits::default() });
    desk.connect(1, "203.0.113.7:1");
    desk.silent(1, "WHOAMI").silent(1, "PING x");
}

#[test]
fn a_listed_node_goes_two_minutes_after_its_connection() {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.7:1").say(1, "HELLO p2poll 1 listed");
    assert_eq!(desk.say(1, "PASSIVE READY 1 1"), "LISTED 1|");
    desk.at(500).close(1);
    desk.at(619).connect(2, "198.51.100.1:1");
    assert_eq!(desk.say(2, "BOOTSTRAP 1"), "NODES p:203.0.113.7:1 |");
    desk.at(620);
    assert_eq!(desk.say(2, "BOOTSTRAP 1"), "NODES EMPTY|");
}

#[test]
fn clear_forgets_an_old_clients_address_from_any_connection_but_nobody_elses() {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.7:1").silent(1, "PASSIVE READY 1 1").close(1);
    desk.connect(2, "203.0.113.7:2").say(2, HELLO);
    desk.say(2, "PASSIVE READY 2 1");
    desk.connect(3, "203.0.113.8:2").silent(3, "PASSIVE READY 3 1");
    desk.connect(4, "203.0.113.7:9").silent(4, "CLEAR");
    assert_eq!(desk.server.nodes(), 2);
    desk.silent(2, "CLEAR");
    assert_eq!(desk.server.nodes(), 1);
}

#[test]
fn a_connection_lists_one_port() {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.7:1").say(1, HELLO);
    desk.say(1, "PASSIVE READY 1 1");
    assert_eq!(desk.say(1, "PASSIVE READY 2 1"), "LISTED 2|");
    assert_eq!(desk.server.nodes(), 1);
}

#[test]
fn a_full_server_says_so_to_who_asks_for_an_answer() {
    let mut desk = Desk::with(Limits { nodes: 1, ..Limits::default() });
    desk.connect(1, "203.0.113.7:1").silent(1, "PASSIVE READY 1 1");
    desk.connect(2, "203.0.113.8:1").silent(2, "PASSIVE READY 1 1");
    desk.say(2, HELLO);
    assert_eq!(desk.say(2, "PASSIVE READY 1 1"), "FULL|");
}

fn puncher() -> Desk {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.7:1").silent(1, "SIMULTANEOUS READY 0 0");
    desk.connect(2, "198.51.100.1:1");
    desk
}

#[test]
fn a_punch_is_arranged_as_in_pyp2p() {
    let mut desk = puncher();
    assert_eq!(desk.say(2, "BOOTSTRAP 1"), "NODES EMPTY|", "who can only be punched is not listed");
    assert_eq!(desk.say(2, "CANDIDATE 203.0.113.7 TCP 4000 4001"), "PREDICTION SET|");
    assert_eq!(desk.told(), [(1, "CHALLENGE 198.51.100.1 4000 4001 TCP".into())]);
    desk.at(1).silent(1, "ACCEPT 198.51.100.1 5000 TCP 1700000001.25");
    assert_eq!(desk.told(), [(2, "FIGHT 203.0.113.7 5000 TCP 1700000001.25".into())]);
}

#[test]
fn nobody_meets_who_is_unknown_gone_or_on_another_machines_loopback() {
    let mut desk = puncher();
    desk.connect(3, "127.0.0.1:1").silent(3, "SIMULTANEOUS READY 0 0");
    for line in [
        "CANDIDATE 203.0.113.9 TCP 1",
        "CANDIDATE 203.0.113.7 TCP 1 0",
        "CANDIDATE 203.0.113.7 TCP 1 65536",
        "CANDIDATE 127.0.0.1 TCP 1",
        "CANDIDATE [2001:db8::1] TCP 1",
    ] {
        desk.silent(2, line);
    }
    desk.close(1).silent(2, "CANDIDATE 203.0.113.7 TCP 1");
    assert_eq!(desk.told(), []);
}

#[test]
fn a_meeting_over_ten_minutes_off_is_dropped() {
    let mut desk = puncher();
    desk.say(2, "CANDIDATE 203.0.113.7 TCP 4000");
    desk.told();
    for (ntp, passed_on) in [(WALL - 601, 0), (WALL - 600, 1), (WALL + 600, 1), (WALL + 601, 0)] {
        desk.silent(1, &format!("ACCEPT 198.51.100.1 5000 TCP {ntp}"));
        assert_eq!(desk.told().len(), passed_on, "{ntp}");
    }
    desk.silent(1, "ACCEPT 198.51.100.2 5000 TCP 1700000000");
    desk.silent(2, "ACCEPT 198.51.100.1 5000 TCP 1700000000");
    assert_eq!(desk.told(), []);
}

#[test]
fn a_stale_registration_is_renewed_before_the_challenge() {
    let mut desk = puncher();
    desk.at(121);
    assert_eq!(desk.say(2, "CANDIDATE 203.0.113.7 TCP 4000"), "PREDICTION SET|");
    assert_eq!(desk.told(), [(1, "RECONNECT".into())]);
    desk.close(1).at(122).connect(3, "203.0.113.7:2");
    assert_eq!(desk.say(3, "SIMULTANEOUS READY 0 0"), "CHALLENGE 198.51.100.1 4000 TCP|");
    desk.silent(3, "ACCEPT 198.51.100.1 1 TCP 1700000122");
    assert_eq!(desk.told().len(), 1);
    assert_eq!(desk.say(3, "SIMULTANEOUS READY 0 0"), "", "it accepted that one");
}

#[test]
fn cleared_nodes_are_not_punched() {
    let mut desk = puncher();
    desk.silent(1, "CLEAR").silent(2, "CANDIDATE 203.0.113.7 TCP 1");
}

#[test]
fn quit_closes_and_what_follows_is_ignored() {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.7:1").silent(1, "QUIT").silent(1, "BOOTSTRAP 1");
    assert_eq!(desk.told(), [(1, "Quit".into())]);
    assert_eq!((desk.server.clients(), desk.server.poll_timeout()), (0, None));
}

#[test]
fn the_silent_are_closed_but_not_who_waits_to_be_punched() {
    let mut desk = puncher();
    desk.connect(3, "203.0.113.9:1").say(3, "HELLO p2poll 1 ping");
    desk.at(100).say(3, "PING x");
    desk.at(279);
    assert_eq!(desk.told(), []);
    desk.at(280);
    assert_eq!(desk.told(), [(3, "Idle".into())]);
    desk.at(900);
    assert_eq!(desk.told(), [(2, "Idle".into())]);
    desk.at(90_000);
    assert_eq!(desk.server.clients(), 1);
}

#[test]
fn connections_are_bounded_in_all_and_for_each_address() {
    let limits = Limits { clients: 3, clients_per_address: 1, ..Limits::default() };
    let mut desk = Desk::with(limits);
    desk.connect(1, "203.0.113.7:1").connect(2, "203.0.113.7:2");
    desk.connect(3, "127.0.0.1:1").connect(4, "127.0.0.1:2").connect(5, "203.0.113.8:1");
    assert_eq!(desk.told(), [(2, "AddressFull".into()), (5, "Full".into())]);
    desk.close(1).connect(6, "203.0.113.7:3");
    assert_eq!((desk.told(), desk.server.clients()), (Vec::new(), 3));
}

#[test]
fn notices_that_nobody_takes_do_not_pile_up() {
    let mut desk = puncher();
    desk.server.limits.actions = 5;
    for _ in 0..50 {
        desk.say(2, "CANDIDATE 203.0.113.7 TCP 1");
    }
    assert_eq!(desk.told().len(), 5);
}

const NONCE: &str = "0123456789abcdef0123456789abcdef";

fn ask(port: u16) -> String {
    format!("PROBE {port} {NONCE}")
}

#[test]
fn a_probe_goes_to_the_asker_from_where_it_asked_and_is_answered_after_a_fixed_time() {
    for (peer, local, to) in [
        ("203.0.113.7:4000", "192.0.2.2:8001", "203.0.113.7:50500"),
        ("[::ffff:203.0.113.7]:4000", "[::ffff:192.0.2.2]:8001", "203.0.113.7:50500"),
        ("[2001:db8::7]:4000", "[2001:db8::1]:8001", "[2001:db8::7]:50500"),
    ] {
        let mut desk = Desk::new();
        let local_ip = local.parse::<SocketAddr>().unwrap().ip().to_canonical();
        desk.connect_at(1, peer, local).silent(1, &ask(50500));
        let dials = desk.dials();
        assert_eq!(dials.len(), 1);
        assert_eq!((dials[0].1, dials[0].2), (to.parse().unwrap(), local_ip));
        desk.server.handle_probe_line(dials[0].0, format!("~probe {NONCE}").as_bytes());
        assert_eq!(desk.at_millis(499).told(), []);
        let told = desk.at_millis(500).told();
        let abandon = (0, format!("{:?}", ServerAction::Abandon { probe: dials[0].0 }));
        assert_eq!(told, [(1, "PROBED 50500 YES".into()), abandon]);
    }
}

/// What is said at the port, or nothing, is the same "no" at the same instant.
#[test]
fn who_does_not_prove_the_nonce_is_not_told_from_nobody() {
    let lines: [&[u8]; 8] = [
        b"",
        b"~probe",
        b"~probe 0123456789abcdef0123456789abcdee",
        b"~PROBE 0123456789abcdef0123456789abcdef",
        b"~probe 0123456789abcdef0123456789abcdef 1",
        b"SSH-2.0-OpenSSH_9.6",
        b"\xff\0",
        &[b'x'; 500],
    ];
    for line in lines.into_iter().map(Some).chain([None]) {
        let mut desk = Desk::new();
        desk.connect(1, "203.0.113.7:4000").silent(1, &ask(22));
        let (probe, ..) = desk.dials()[0];
        if let Some(line) = line {
            desk.server.handle_probe_line(probe, line);
        }
        assert_eq!(desk.at_millis(499).told(), []);
        assert_eq!(desk.at_millis(500).told()[0], (1, "PROBED 22 NO".into()));
    }
}

#[test]
fn the_nonce_of_another_probe_proves_nothing() {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.7:1").connect(2, "203.0.113.7:2");
    desk.silent(1, &ask(50500)).silent(2, "PROBE 50500 ffffffffffffffff");
    let dials = desk.dials();
    for (probe, ..) in dials {
        desk.server.handle_probe_line(probe, b"~probe ffffffffffffffff");
    }
    let told = desk.at(1).told();
    assert!(told.contains(&(1, "PROBED 50500 NO".into())), "{told:?}");
    assert!(told.contains(&(2, "PROBED 50500 YES".into())), "{told:?}");
}

#[test]
fn a_client_has_four_probes_at_once_and_an_address_ten_a_minute() {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.7:1").connect(2, "198.51.100.1:1");
    for port in 1..=4 {
        desk.silent(1, &ask(port));
    }
    assert_eq!(desk.say(1, &ask(5)), "PROBED 5 LATER|");
    desk.silent(2, &ask(5)).at(1).told();
    for port in 5..=8 {
        desk.silent(1, &ask(port));
    }
    desk.at(2).told();
    desk.silent(1, &ask(9)).silent(1, &ask(10)).at(59).told();
    desk.connect(3, "203.0.113.7:2");
    for client in [1, 3] {
        assert_eq!(desk.say(client, &ask(11)), "PROBED 11 LATER|");
    }
    desk.silent(2, &ask(6)).at(60).told();
    desk.silent(3, &ask(11));
    assert_eq!(desk.dials().len(), 1);
}

/// Whatever it asks for, an address makes the server connect to that address alone, and that not often.
#[test]
fn a_thousand_questions_are_ten_dials() {
    let mut desk = Desk::new();
    for client in 0..10 {
        desk.connect(client, &format!("203.0.113.7:{}", client + 1));
    }
    let mut dials = Vec::new();
    for port in 1..=1000u16 {
        desk.at_millis(u64::from(port) * 59).say(u64::from(port % 10), &ask(port));
        dials.extend(std::iter::from_fn(|| desk.server.poll_action()).filter_map(|action| match action {
            ServerAction::Dial { to, .. } => Some(to.ip().to_string()),
            _ => None,
        }));
    }
    assert_eq!(dials, ["203.0.113.7"; 10]);
}

#[test]
fn on_loopback_there_are_no_more_than_four_at_once_but_any_number_a_minute() {
    let mut desk = Desk::new();
    desk.connect_at(1, "127.0.0.1:1", "127.0.0.1:8000");
    for round in 0..50 {
        desk.at(round).told();
        for port in 1..=4 {
            desk.silent(1, &ask(port));
        }
        assert_eq!(desk.say(1, &ask(5)), "PROBED 5 LATER|");
    }
}

#[test]
fn who_leaves_drops_its_probes_and_gets_no_answer() {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.7:1").silent(1, &ask(1)).silent(1, &ask(2));
    let dials = desk.dials();
    desk.at_millis(100).close(1);
    let abandons =
        dials.iter().map(|(probe, ..)| (0, format!("{:?}", ServerAction::Abandon { probe: *probe })));
    assert_eq!(desk.told(), abandons.collect::<Vec<_>>());
    desk.connect(1, "203.0.113.7:1");
    desk.server.handle_probe_line(dials[0].0, format!("~probe {NONCE}").as_bytes());
    assert_eq!(desk.at(10).told(), []);
}

#[test]
fn a_driver_that_does_nothing_makes_no_probes_pile_up() {
    let mut desk = Desk::with(Limits { actions: 3, ..Limits::default() });
    desk.connect_at(1, "127.0.0.1:1", "127.0.0.1:8000");
    let later = (0..100).filter(|n| desk.at(*n).say(1, &ask(1)) == "PROBED 1 LATER|").count();
    assert!(later > 90 && desk.told().len() < 10);
}

#[test]
fn a_server_without_the_features_says_nothing_to_the_questions() {
    let features = Features::ALL.without(Features::PROBE).without(Features::OBSERVERS);
    let mut desk = Desk::with(Limits { features, ..Limits::default() });
    desk.connect(1, "203.0.113.7:1").silent(1, &ask(1)).silent(1, "OBSERVERS");
    assert_eq!(desk.told(), []);
}

#[test]
fn a_client_is_told_of_places_that_it_can_reach_but_not_of_the_one_where_it_is() {
    let mut desk = Desk::new();
    desk.connect_at(1, "203.0.113.7:1", "192.0.2.1:8000");
    assert_eq!(desk.say(1, "OBSERVERS"), "OBSERVERS NONE|");
    let places = [
        "192.0.2.1:8000",
        "192.0.2.1:8001",
        "192.0.2.2:8000",
        "127.0.0.1:8000",
        "[2001:db8::1]:8000",
        "0.0.0.0:8002",
        "[::]:8003",
        "[::]:8000",
        "0.0.0.0:8001",
    ];
    desk.server.handle_listening(places.map(|place| place.parse().unwrap()).to_vec());
    assert_eq!(desk.say(1, "OBSERVERS"), "OBSERVERS :8001 192.0.2.2:8000 :8002 :8003|");
    desk.connect_at(2, "[2001:db8::7]:1", "[2001:db8::1]:8000");
    assert_eq!(desk.say(2, "OBSERVERS"), "OBSERVERS :8003|");
    desk.connect_at(3, "127.0.0.1:1", "127.0.0.1:8000");
    let loopback = "OBSERVERS 192.0.2.1:8000 192.0.2.1:8001 192.0.2.2:8000 :8002 :8003 :8001|";
    assert_eq!(desk.say(3, "OBSERVERS"), loopback);
    let many: Vec<SocketAddr> = (1..=16).map(|port| SocketAddr::from(([0; 4], port))).collect();
    desk.server.handle_listening(many);
    assert_eq!(desk.say(1, "OBSERVERS"), "OBSERVERS :1 :2 :3 :4 :5 :6 :7 :8|");
}
