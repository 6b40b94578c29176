//! The client with its server played by hand.

mod identity;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::wire::rendezvous::Verdict;

const PASSIVE: Advert = Advert { kind: AdvertKind::Passive, port: 50500, max_inbound: 10 };
const PUNCHED: Advert = Advert { kind: AdvertKind::Simultaneous, port: 0, max_inbound: 0 };
const HELLO: &str = "HELLO p2poll 1 peers seen ping listed observers probe";
const SERVER: &str = "198.51.100.1:8000";

/// A client at a time, with its server played by hand.
struct Node {
    client: Client,
    now: Instant,
}

impl Node {
    fn new() -> Self {
        Self { client: Client::new(ClientConfig::default(), Random::from_number(1)), now: Instant::ZERO }
    }

    /// Milliseconds since the start.
    fn at(&mut self, millis: u64) -> &mut Self {
        self.now = Instant::ZERO + Duration::from_millis(millis);
        while self.client.poll_timeout().is_some_and(|due| due <= self.now) {
            self.client.handle_timeout(self.now);
        }
        self
    }

    /// Lets time pass until the next deadline.
    fn wait(&mut self) -> &mut Self {
        let due = self.client.poll_timeout().unwrap();
        self.at(due.since_origin().as_millis() as u64 + 1)
    }

    fn advert(&mut self, advert: Option<Advert>) -> &mut Self {
        self.client.set_advert(advert, self.now);
        self
    }

    fn want(&mut self, wanted: usize) -> &mut Self {
        self.client.set_wanted(wanted, self.now);
        self
    }

    fn connected(&mut self) -> &mut Self {
        let local = "192.168.0.2:4001".parse().unwrap();
        self.client.handle_connected(local, SERVER.parse().unwrap(), self.now);
        self
    }

    fn disconnected(&mut self) -> &mut Self {
        self.client.handle_disconnected(self.now);
        self
    }

    fn hear(&mut self, line: &str) -> &mut Self {
        self.client.handle_line(line.as_bytes(), self.now);
        self
    }

    fn actions(&mut self) -> String {
        let actions = std::iter::from_fn(|| self.client.poll_action());
        let names = actions.map(|action| match action {
            ClientAction::Send(text) => String::from_utf8(text).unwrap().replace("\r\n", "|"),
            other => format!("{other:?}|"),
        });
        names.collect()
    }

    fn does(&mut self, expected: &str) -> &mut Self {
        assert_eq!(self.actions(), expected);
        self
    }

    fn events(&mut self) -> Vec<ClientEvent> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    fn downs(&mut self) -> Vec<DownWhy> {
        let events = self.events().into_iter();
        let downs = events.filter_map(|event| match event {
            ClientEvent::Down { why, .. } => Some(why),
            _ => None,
        });
        downs.collect()
    }

    /// Connected to an old server that answered the greeting.
    fn on_old_server(&mut self) -> &mut Self {
        self.does("Dial|").connected().does(&format!("{HELLO}|SOURCE TCP 4001|")).hear("REMOTE TCP 4001")
    }

    /// Connected to a server of ours that answered the greeting.
    fn on_new_server(&mut self) -> &mut Self {
        self.does("Dial|").connected().actions();
        self.hear(HELLO).hear("REMOTE TCP 4001").hear("SEEN 203.0.113.7 9").hear("OBSERVERS NONE")
    }
}

fn listed(addr: &str) -> Listed {
    Listed { addr: addr.parse().unwrap(), newer: false }
}

#[test]
fn who_wants_nothing_dials_nobody() {
    let mut node = Node::new();
    node.at(1_000_000).does("");
    assert_eq!((node.client.poll_timeout(), node.events()), (None, vec![]));
}

#[test]
fn an_old_server_is_used_and_left() {
    let mut node = Node::new();
    node.advert(Some(PASSIVE)).want(3).on_old_server();
    node.does("PASSIVE READY 50500 10|SOURCE TCP 4001|BOOTSTRAP 10|");
    node.hear("REMOTE TCP 4001").hear("NODES p:203.0.113.7:44444 ").does("QUIT|").disconnected().does("");
    let nodes = vec![listed("203.0.113.7:44444")];
    let (rtt, features) = (Duration::ZERO, Features::NONE);
    let up = ClientEvent::Up { kind: ServerKind::Pyp2p, seen: None, rtt, features };
    assert_eq!(node.events(), [up, ClientEvent::Advertised, ClientEvent::Nodes(nodes)]);
}

#[test]
fn an_old_server_is_asked_again_for_nodes_soon_then_every_half_hour_and_told_again_after_12_hours() {
    let mut node = Node::new();
    node.advert(Some(PASSIVE)).want(1);
    let (mut asked, mut told) = (Vec::new(), Vec::new());
    while node.now < Instant::ZERO + Duration::from_secs(13 * 3600) {
        node.on_old_server();
        let sent = node.actions();
        let now = node.now.since_origin().as_secs();
        if sent.contains("PASSIVE") {
            told.push(now);
            node.hear("REMOTE TCP 4001");
        }
        if sent.contains("BOOTSTRAP") {
            asked.push(now);
            node.hear("NODES EMPTY");
        }
        node.does("QUIT|").disconnected().wait();
    }
    let gaps: Vec<u64> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    for (gap, expected) in gaps.iter().zip([10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800]) {
        assert!((expected * 3 / 4..=expected * 5 / 4 + 1).contains(gap), "{gaps:?}");
    }
    assert_eq!(told.len(), 2);
    assert!((12 * 3600..12 * 3600 + 2).contains(&told[1]), "{told:?}");
}

#[test]
fn a_server_of_ours_is_kept() {
    let mut node = Node::new();
    node.advert(Some(PASSIVE)).want(200).does("Dial|").connected();
    node.does(&format!("{HELLO}|SOURCE TCP 4001|"));
    node.at(50).hear(HELLO).does("WHOAMI|OBSERVERS|PASSIVE READY 50500 10|BOOTSTRAP 100|");
    node.at(70).hear("REMOTE TCP 4001").hear("SEEN 203.0.113.7 9");
    node.hear("OBSERVERS :8001 203.0.113.99:8000").hear("LISTED 50500");
    node.hear("NODES p+:[2001:db8::1]:1 p:203.0.113.7:50500 p:203.0.113.7:50501 ").does("");
    let seen = Some("203.0.113.7:9".parse().unwrap());
    let newer = Listed { newer: true, ..listed("[2001:db8::1]:1") };
    // The second answer took 20 ms, the first one 50.
    let (rtt, features) = (Duration::from_millis(20), Features::ALL.without(Features::PROVEN));
    let up = ClientEvent::Up { kind: ServerKind::P2poll, seen, rtt, features };
    let places = ["198.51.100.1:8001", "203.0.113.99:8000"].map(|place| place.parse().unwrap());
    let observers = ClientEvent::Observers(places.to_vec());
    let nodes = ClientEvent::Nodes(vec![newer, listed("203.0.113.7:50501")]);
    assert_eq!(node.events(), [up, observers, ClientEvent::Advertised, nodes]);
}

#[test]
fn a_kept_server_is_pinged_each_minute_and_given_up_ten_seconds_later() {
    let mut node = Node::new();
    node.advert(Some(PASSIVE)).on_new_server().hear("LISTED 50500").actions();
    let sent = node.at(60_000).actions();
    let token = sent.strip_prefix("PING ").unwrap().trim_end_matches('|');
    node.at(69_999).hear(&format!("PONG {token}")).at(119_999).does("").at(120_000);
    assert!(node.actions().starts_with("PING "));
    node.at(129_999).does("").at(130_000).does("Hangup|");
    assert_eq!(node.downs(), [DownWhy::Slow]);
    node.wait().does("Dial|");
}

#[test]
fn what_no_node_can_have_is_dropped() {
    let mut node = Node::new();
    node.want(9).on_new_server().actions();
    node.hear(
        "NODES p:0.0.0.0:1 p:224.0.0.1:1 p:1.2.3.4:0 p:255.255.255.255:1 p:127.0.0.1:1 p:[::]:1 p:1.2.3.4:5 ",
    );
    assert_eq!(node.events().pop(), Some(ClientEvent::Nodes(vec![listed("1.2.3.4:5")])));
}

#[test]
fn a_server_that_is_away_is_tried_after_growing_pauses() {
    let mut node = Node::new();
    node.want(1);
    for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        node.does("Dial|").disconnected();
        let Some(ClientEvent::Down { why, retry_in }) = node.events().pop() else { panic!("not down") };
        assert_eq!(why, DownWhy::Unreachable);
        let (least, most) = (Duration::from_secs(expected) * 3 / 4, Duration::from_secs(expected) * 5 / 4);
        assert!((least..=most).contains(&retry_in), "{expected}: {retry_in:?}");
        node.does("").wait();
    }
    node.on_old_server().hear("NODES EMPTY").disconnected().events();
    node.wait().does("Dial|").disconnected();
    let retry = node.events().pop();
    assert!(matches!(retry, Some(ClientEvent::Down { retry_in, .. }) if retry_in < Duration::from_secs(2)));
}

#[test]
fn a_server_that_says_nothing_is_slow() {
    let mut node = Node::new();
    node.want(1).does("Dial|").at(10_000).does("Hangup|");
    node.wait().does("Dial|").connected().actions();
    node.wait().does("Hangup|");
    assert_eq!(node.downs(), [DownWhy::Slow, DownWhy::Slow]);
}

#[test]
fn a_server_of_another_kind_is_nonsense() {
    for lines in [vec!["NODES what"], vec!["HTTP/1.1 400"; 9], vec!["PONG 1"; 9], vec!["HELLO sailor"]] {
        let mut node = Node::new();
        node.want(1).does("Dial|").connected().actions();
        for line in lines {
            node.hear(line);
        }
        node.does("Hangup|");
        assert_eq!(node.downs(), [DownWhy::Nonsense]);
    }
    let mut node = Node::new();
    node.want(1).does("Dial|").connected().hear("220 mail ESMTP").disconnected();
    assert_eq!(node.downs(), [DownWhy::Nonsense]);
}

#[test]
fn leaving_clears_what_is_registered() {
    let mut node = Node::new();
    node.advert(Some(PASSIVE)).on_new_server().hear("LISTED 50500").actions();
    node.client.leave(node.now);
    node.does("CLEAR|QUIT|").events();
    node.disconnected().does("");
    assert_eq!((node.events(), node.client.poll_timeout()), (vec![ClientEvent::Left], None));
}

#[test]
fn leaving_goes_back_to_an_old_server_to_clear() {
    let mut node = Node::new();
    node.advert(Some(PASSIVE)).on_old_server().hear("REMOTE TCP 4001").actions();
    node.disconnected().events();
    node.at(5_000);
    node.client.leave(node.now);
    node.does("Dial|").connected().does("CLEAR|QUIT|");
    assert_eq!(node.events(), []);
    node.at(15_000).does("Hangup|");
    assert_eq!(node.events(), [ClientEvent::Left]);
}

#[test]
fn leaving_without_anything_to_clear_is_at_once() {
    let mut node = Node::new();
    node.client.leave(node.now);
    assert_eq!(node.events(), [ClientEvent::Left]);
    let mut node = Node::new();
    node.want(1).does("Dial|").client.leave(Instant::ZERO);
    node.does("Hangup|");
    assert_eq!(node.events(), [ClientEvent::Left]);
    let mut node = Node::new();
    node.advert(Some(PASSIVE)).does("Dial|").disconnected().client.leave(Instant::ZERO);
    assert_eq!(node.does("").events().pop(), Some(ClientEvent::Left));
}

#[test]
fn another_port_replaces_the_first() {
    let mut node = Node::new();
    node.advert(Some(PASSIVE)).on_new_server().hear("LISTED 50500").actions();
    node.advert(Some(Advert { port: 7, ..PASSIVE })).does("CLEAR|PASSIVE READY 7 10|").hear("LISTED 7");
    node.advert(None).does("CLEAR|");
}

#[test]
fn a_full_server_is_asked_again_later() {
    let mut node = Node::new();
    node.advert(Some(PASSIVE)).on_new_server().hear("FULL").actions();
    assert_eq!(node.events().pop(), Some(ClientEvent::Refused));
    assert!(node.client.advertise_at.is_some_and(|at| at > Instant::ZERO + Duration::from_secs(1000)));
}

#[test]
fn who_waits_to_be_punched_stays_with_an_old_server() {
    let mut node = Node::new();
    node.advert(Some(PUNCHED)).on_old_server();
    node.does("SIMULTANEOUS READY 0 0|SOURCE TCP 4001|").hear("REMOTE TCP 4001").does("").events();
    node.hear("CHALLENGE 198.51.100.1 4000 TCP").hear("RECONNECT");
    let (ip, ports) = ([198, 51, 100, 1].into(), Ports::new([4000]).unwrap());
    let challenge = ClientEvent::Challenge { ip, ports: ports.clone() };
    assert_eq!(node.events(), [challenge, ClientEvent::Reconnect]);
    let ntp = Ntp::from_unix(Duration::from_millis(1500));
    assert!(node.client.accept(ip, ports, ntp, node.now));
    node.does("ACCEPT 198.51.100.1 4000 TCP 1.5|");
    node.client.advertise(node.now);
    node.does("SIMULTANEOUS READY 0 0|SOURCE TCP 4001|").hear("REMOTE TCP 4001");
    node.at(60_000).does("SOURCE TCP 4001|").hear("REMOTE TCP 4001").at(119_000).does("");
    node.disconnected().wait().on_old_server().does("SIMULTANEOUS READY 0 0|SOURCE TCP 4001|");
}

#[test]
fn a_candidate_stays_for_its_meeting() {
    let mut node = Node::new();
    let (ip, ports) = ([198, 51, 100, 1].into(), Ports::new([4000]).unwrap());
    assert!(!node.client.accept(ip, ports.clone(), Ntp::from_unix(Duration::ZERO), node.now));
    assert!(node.client.candidate(ip, ports.clone(), node.now));
    node.on_old_server().does("CANDIDATE 198.51.100.1 TCP 4000|").hear("PREDICTION SET").events();
    node.hear("FIGHT 198.51.100.1 4000 TCP 7");
    let fight = ClientEvent::Fight { ip, ports, ntp: Ntp::from_unix(Duration::from_secs(7)) };
    assert_eq!(node.events(), [fight]);
    node.at(60_000).hear("REMOTE TCP 1").actions();
    node.at(119_999).does("").at(120_000);
    assert!(node.actions().contains("SOURCE"), "the ping of that minute");
    node.hear("REMOTE TCP 1").does("QUIT|");
}

#[test]
fn calls_in_each_frame_do_not_become_a_flood() {
    let mut node = Node::new();
    node.client.bootstrap(node.now);
    node.on_new_server().does("WHOAMI|OBSERVERS|BOOTSTRAP 10|").hear("NODES EMPTY");
    let mut asked = 0;
    for frame in 0..600 {
        node.at(frame * 16);
        node.client.bootstrap(node.now);
        node.client.source(1, node.now);
        let sent = node.actions();
        asked += sent.matches("BOOTSTRAP").count();
        for line in sent.split('|') {
            match line.split(' ').next() {
                Some("BOOTSTRAP") => node.hear("NODES EMPTY"),
                Some("SOURCE") => node.hear("REMOTE TCP 1"),
                _ => &mut node,
            };
        }
    }
    assert!(asked <= 10, "{asked}");
    assert!(node.events().len() <= MAX_EVENTS);
    assert_eq!((0..100).filter(|_| node.client.source(1, node.now)).count(), MAX_ASKED);
}

#[test]
fn a_server_names_only_places_that_it_can_have() {
    let mut node = Node::new();
    node.want(1).does("Dial|").connected().hear(HELLO).hear("REMOTE TCP 1").hear("SEEN 203.0.113.7 9");
    node.hear("OBSERVERS :8000 198.51.100.1:8000 127.0.0.1:22 192.168.0.1:80 100.64.0.1:80 169.254.169.254:80 :8001 198.51.100.1:8001 [2001:db8::1]:1 224.0.0.1:1 255.255.255.255:1 0.0.0.0:1");
    // Eight are taken from the line, and of them those that can be.
    let place = "198.51.100.1:8001".parse().unwrap();
    assert_eq!(node.events().pop(), Some(ClientEvent::Observers(vec![place])));
}

fn nonce() -> Token {
    Token::new(b"0123456789abcdef0123456789abcdef").unwrap()
}

#[test]
fn verdicts_come_in_any_order_between_other_answers() {
    let mut node = Node::new();
    node.want(1).on_new_server().actions();
    node.events();
    assert!(node.client.probe(50500, nonce(), node.now) && node.client.probe(7, nonce(), node.now));
    node.does(&format!("PROBE 50500 {0}|PROBE 7 {0}|", nonce()));
    node.hear("PROBED 7 LATER").hear("NODES EMPTY").hear("PROBED 50500 YES");
    let probed = |port, verdict| ClientEvent::Probed { port, verdict: Some(verdict) };
    let nodes = ClientEvent::Nodes(vec![]);
    assert_eq!(node.events(), [probed(7, Verdict::Later), nodes, probed(50500, Verdict::Yes)]);
}

#[test]
fn a_probe_is_asked_for_only_where_there_is_an_answer_to_expect() {
    let mut node = Node::new();
    assert!(!node.client.probe(1, nonce(), node.now), "no session");
    node.want(1).on_old_server();
    assert!(!node.client.probe(1, nonce(), node.now), "an old server");
    let mut node = Node::new();
    node.want(1).does("Dial|").connected().hear("HELLO p2poll 1 seen ping").hear("REMOTE TCP 1").actions();
    assert!(!node.client.probe(1, nonce(), node.now), "a server without probes");
    let mut node = Node::new();
    node.want(1).on_new_server().actions();
    assert!(!node.client.probe(0, nonce(), node.now));
    assert!(!node.client.probe(1, Token::new(b"short").unwrap(), node.now));
    let asked: Vec<u16> = (1..10).filter(|&port| node.client.probe(port, nonce(), node.now)).collect();
    assert_eq!(asked, [1, 2, 3, 4]);
    node.hear("PROBED 2 NO");
    assert!(!node.client.probe(1, nonce(), node.now) && node.client.probe(2, nonce(), node.now));
    node.client.leave(node.now);
    assert!(!node.client.probe(9, nonce(), node.now));
}

#[test]
fn a_verdict_that_does_not_come_is_none_and_the_session_goes_on() {
    let mut node = Node::new();
    node.want(1).on_new_server().hear("NODES EMPTY").actions();
    node.at(1000).events();
    assert!(node.client.probe(50500, nonce(), node.now));
    node.at(12_999);
    assert_eq!(node.events(), []);
    node.at(13_000);
    assert_eq!(node.events(), [ClientEvent::Probed { port: 50500, verdict: None }]);
    node.hear("PROBED 50500 YES");
    assert_eq!((node.events(), node.client.session().map(|session| session.strikes)), (vec![], Some(0)));
    for _ in 0..9 {
        node.hear("PROBED 50500 YES");
    }
    assert_eq!(node.downs(), [DownWhy::Nonsense], "but one that tells unasked is not listened to for ever");
}

#[derive(Clone, Debug)]
enum Step {
    Connected,
    Disconnected,
    Wait(u64),
    Hear(usize),
    Advert(usize),
    Want(usize),
    Bootstrap,
    Advertise,
    Source,
    Probe(u16),
    Leave,
    Drain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Connected),
        1 => Just(Step::Disconnected),
        3 => (0..100_000u64).prop_map(Step::Wait),
        8 => (0..LINES.len()).prop_map(Step::Hear),
        2 => (0..3usize).prop_map(Step::Advert),
        2 => (0..3usize).prop_map(Step::Want),
        1 => Just(Step::Bootstrap),
        1 => Just(Step::Advertise),
        1 => Just(Step::Source),
        2 => (0..6u16).prop_map(Step::Probe),
        1 => Just(Step::Leave),
        4 => Just(Step::Drain),
    ];
    proptest::collection::vec(step, 0..120)
}

const LINES: [&str; 14] = [
    HELLO,
    "REMOTE TCP 4001",
    "REMOTE TCP 4001",
    "SEEN 203.0.113.7 9",
    "LISTED 50500",
    "NODES EMPTY",
    "NODES p:1.2.3.4:5 ",
    "RECONNECT",
    "FULL",
    "OBSERVERS NONE",
    "OBSERVERS :8001 1.2.3.4:5",
    "PROBED 1 YES",
    "PROBED 2 LATER",
    "what",
];

proptest! {
    #[test]
    fn whatever_comes_time_moves_on_and_nothing_piles_up(steps in steps(), seed: u64) {
        let mut node = Node::new();
        node.client.random = Random::from_number(seed);
        let mut left = 0;
        for step in steps {
            let now = node.now;
            match step {
                Step::Connected => { node.connected(); }
                Step::Disconnected => { node.disconnected(); }
                Step::Wait(millis) => {
                    node.now = now + Duration::from_millis(millis);
                    let now = node.now;
                    // One call may only lead to the next state; that one's deadline is in the future.
                    node.client.handle_timeout(now);
                    node.client.handle_timeout(now);
                    prop_assert!(node.client.poll_timeout().is_none_or(|due| due > now));
                }
                Step::Hear(line) => { node.hear(LINES[line]); }
                Step::Advert(which) => { node.advert([None, Some(PASSIVE), Some(PUNCHED)][which]); }
                Step::Want(wanted) => { node.want(wanted); }
                Step::Bootstrap => node.client.bootstrap(now),
                Step::Advertise => node.client.advertise(now),
                Step::Source => drop(node.client.source(1, now)),
                Step::Probe(port) => drop(node.client.probe(port, nonce(), now)),
                Step::Leave => node.client.leave(now),
                Step::Drain => drop(node.actions()),
            }
            prop_assert!(node.client.asked.len() <= MAX_ASKED && node.client.events.len() <= MAX_EVENTS);
            prop_assert!(node.client.session().map_or(0, Session::owed) <= MAX_ASKED + 6);
            left += node.events().iter().filter(|event| **event == ClientEvent::Left).count();
        }
        prop_assert!(left <= 1);
        node.client.leave(node.now);
        for _ in 0..4 {
            node.at(node.now.since_origin().as_millis() as u64 + 10_000);
        }
        left += node.events().iter().filter(|event| **event == ClientEvent::Left).count();
        prop_assert_eq!(left, 1);
    }
}
