//! What the p2p network's decisions come to.

use super::*;
use proptest::prelude::*;

const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
const OLDER: Source = Source::Rendezvous { newer: false, server: SERVER };
const NEWER: Source = Source::Rendezvous { newer: true, server: SERVER };

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The n-th of many hosts.
fn host(n: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    SocketAddr::from(([203, 0, high, low], 4000))
}

fn peers() -> Peers {
    Peers::new(PeersConfig::default(), Random::from_number(1))
}

fn dials(peers: &mut Peers) -> Vec<SocketAddr> {
    std::iter::from_fn(|| peers.poll_dial()).collect()
}

/// Runs to the next dial and says when it was.
fn next_dial(peers: &mut Peers) -> Option<(u64, SocketAddr)> {
    for _ in 0..1000 {
        if let Some(address) = peers.poll_dial() {
            return Some((peers.now.since_origin().as_millis() as u64, address));
        }
        let wake = peers.poll_timeout()?;
        peers.handle_timeout(wake);
    }
    panic!("wakes without dialling");
}

#[test]
fn candidates_fill_the_slots_and_no_more() {
    let mut peers = peers();
    assert_eq!((peers.wanted(), peers.poll_timeout()), (10, None));
    for n in 0..4 {
        peers.handle_learned(host(n), OLDER, at(0));
    }
    assert_eq!(dials(&mut peers).len(), 4);
    assert_eq!((peers.wanted(), peers.outbound()), (6, 4));
    for n in 4..40 {
        peers.handle_learned(host(n), OLDER, at(0));
    }
    assert_eq!(dials(&mut peers).len(), 6);
    assert_eq!((peers.wanted(), peers.outbound()), (0, 10));
}

#[test]
fn static_peers_come_first_and_the_rest_at_random() {
    let first = |seed| {
        let mut peers = Peers::new(PeersConfig::default(), Random::from_number(seed));
        for n in 0..30 {
            peers.handle_learned(host(n), OLDER, at(0));
        }
        peers.handle_learned(host(99), Source::Static, at(0));
        assert_eq!(peers.poll_dial(), Some(host(99)));
        peers.poll_dial()
    };
    let seen: BTreeSet<_> = (0..20).map(first).collect();
    assert!(seen.len() > 5, "{seen:?}");
}

#[test]
fn an_address_is_dialled_once_in_whatever_clothes() {
    let mut peers = peers();
    for text in ["203.0.113.1:4000", "[::ffff:203.0.113.1]:4000", "203.0.113.1:4000"] {
        peers.handle_learned(addr(text), OLDER, at(0));
    }
    assert_eq!(dials(&mut peers), [addr("203.0.113.1:4000")]);
    peers.handle_opened(addr("203.0.113.1:4000"), at(50));
    peers.handle_learned(addr("203.0.113.1:4000"), OLDER, at(100));
    assert_eq!(dials(&mut peers), []);
    assert!(peers.is_linked(addr("[::ffff:203.0.113.1]:4000")));
}

#[test]
fn two_nodes_of_one_household_are_two_nodes_and_take_two_slots() {
    let six = |n| addr(&format!("[2001:db8:0:1::{n}]:4000"));
    let households = [(member as fn(u16) -> SocketAddr), six];
    for of_household in households {
        let mut peers = peers();
        for n in 1..=100 {
            peers.handle_learned(of_household(n), OLDER, at(0));
        }
        let dialled = dials(&mut peers);
        assert_eq!((dialled.len(), peers.wanted()), (2, 8), "others are asked for");
        for n in 10..30 {
            peers.handle_learned(host(n), OLDER, at(1));
        }
        assert_eq!((dials(&mut peers).len(), peers.wanted()), (8, 0));
        // A place that becomes free is another's, and never makes it three.
        for &address in &dialled {
            peers.handle_opened(address, at(50));
        }
        peers.handle_closed(dialled[0], ClosedBy::Them, at(100_000));
        peers.handle_dial_failed(dialled[1], at(100_000));
        let next = dials(&mut peers);
        assert!(next.len() == 1 && !dialled.contains(&next[0]), "{next:?}");
    }
}

/// From each source that a stranger can fill; what the user names, and this machine, have no such limit.
#[test]
fn the_user_may_name_as_many_of_one_household_as_there_are_slots() {
    let dialled = |source, address: fn(u16) -> SocketAddr| {
        let mut peers = peers();
        for n in 1..=100 {
            peers.handle_learned(address(n), source, at(0));
        }
        dials(&mut peers).len()
    };
    let here = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let newer = Source::Rendezvous { newer: true, server: addr("127.0.0.1:1").ip() };
    assert_eq!((dialled(OLDER, member), dialled(Source::File, member)), (2, 2));
    assert_eq!(dialled(Source::Static, member), 10);
    assert_eq!(dialled(Source::File, here), 10);
    assert_eq!(dialled(newer, here), 0, "they are given the time to dial us");
}

/// Lists 100 ports of one IP, where nobody listens, and counts the dials of the first minute.
fn dials_to(ip: IpAddr) -> usize {
    let mut peers = peers();
    for port in 1..=100 {
        peers.handle_learned(
            SocketAddr::new(ip, port),
            Source::Rendezvous { newer: false, server: ip },
            at(0),
        );
    }
    let mut count = 0;
    while let Some((time, address)) = next_dial(&mut peers).filter(|&(time, _)| time < 60_000) {
        count += 1;
        peers.handle_dial_failed(address, at(time));
    }
    count
}

#[test]
fn no_ip_is_dialled_more_than_20_times_a_minute_but_our_own_machine() {
    assert_eq!(dials_to(host(1).ip()), 20);
    assert_eq!(dials_to(addr("127.0.0.1:1").ip()), 120);
}

#[test]
fn a_static_peer_that_was_given_up_under_another_name_is_tried_at_once() {
    let mut peers = peers();
    peers.handle_learned(host(1), OLDER, at(0));
    let mut now = 0;
    for _ in 0..3 {
        now = next_dial(&mut peers).unwrap().0;
        peers.handle_dial_failed(host(1), at(now));
    }
    assert_eq!(dials(&mut peers), []);
    peers.handle_learned(host(1), Source::Static, at(now + 60_000));
    assert_eq!(dials(&mut peers), [host(1)]);
}

#[test]
fn what_the_application_dials_takes_a_slot_and_is_not_dialled_again() {
    let mut peers = peers();
    peers.handle_dialling(host(1), at(0));
    peers.handle_learned(host(1), OLDER, at(0));
    assert_eq!((dials(&mut peers), peers.outbound()), (vec![], 1));
    peers.handle_dialling(host(2), at(0));
    peers.handle_dial_failed(host(2), at(10));
    assert_eq!(next_dial(&mut peers), None, "what only the application wanted is not retried");
}

#[test]
fn a_failed_address_waits_5_s_then_twice_as_long_and_is_given_up_after_3_failures() {
    let mut peers = peers();
    peers.handle_learned(host(1), OLDER, at(0));
    let mut times = Vec::new();
    while let Some((time, address)) = next_dial(&mut peers) {
        assert!(times.len() < 10);
        times.push(time);
        peers.handle_dial_failed(address, at(time));
        peers.handle_learned(host(1), OLDER, at(time)); // listing it again does not start it over
    }
    assert_eq!(times.len(), 3);
    assert!((3750..6250).contains(&(times[1] - times[0])), "{times:?}");
    assert!((7500..12500).contains(&(times[2] - times[1])), "{times:?}");
    assert!(peers.book.is_empty(), "forgotten after its time of rest");
    peers.handle_learned(host(1), OLDER, at(times[2] + 600_000));
    assert_eq!(dials(&mut peers), [host(1)]);
}

#[test]
fn a_static_peer_is_retried_for_ever_every_10_minutes() {
    let mut peers = peers();
    peers.handle_learned(host(1), Source::Static, at(0));
    let mut last = 0;
    for _ in 0..50 {
        let (time, address) = next_dial(&mut peers).unwrap();
        assert!(time - last <= 750_000);
        last = time;
        peers.handle_dial_failed(address, at(time));
    }
    assert!(last > 40 * 450_000);
}

#[test]
fn a_lost_connection_is_dialled_again_after_5_s_and_meanwhile_replaced() {
    let mut peers =
        Peers::new(PeersConfig { max_outbound: 1, ..PeersConfig::default() }, Random::from_number(1));
    peers.handle_learned(host(1), OLDER, at(0));
    assert_eq!(dials(&mut peers), [host(1)]);
    peers.handle_opened(host(1), at(10));
    peers.handle_learned(host(2), OLDER, at(20));
    assert_eq!(dials(&mut peers), []);
    peers.handle_closed(host(1), ClosedBy::Them, at(100_000));
    assert_eq!(dials(&mut peers), [host(2)]);
    peers.handle_dial_failed(host(2), at(100_001));
    let (time, address) = next_dial(&mut peers).unwrap();
    assert!((103_750..106_250).contains(&time), "{time}");
    assert!([host(1), host(2)].contains(&address));
}

#[test]
fn a_peer_without_a_free_slot_is_not_hammered() {
    let mut peers = peers();
    peers.handle_learned(host(1), OLDER, at(0));
    let mut times = Vec::new();
    while let Some((time, address)) = next_dial(&mut peers) {
        times.push(time);
        peers.handle_opened(address, at(time + 10));
        peers.handle_closed(address, ClosedBy::Them, at(time + 20));
    }
    assert_eq!(times.len(), 8);
    assert!(times[7] > 300_000);
}

#[test]
fn whom_we_closed_is_not_wanted_back_at_once() {
    let mut peers = peers();
    peers.handle_learned(host(1), OLDER, at(0));
    peers.poll_dial();
    peers.handle_opened(host(1), at(10));
    peers.handle_closed(host(1), ClosedBy::Us, at(20));
    assert_eq!(dials(&mut peers), []);
    assert_eq!(peers.wanted(), 10);
    assert_eq!(next_dial(&mut peers), Some((600_020, host(1))));
}

#[test]
fn a_newer_node_gets_3_s_to_dial_us() {
    let mut peers = peers();
    peers.handle_learned(host(1), NEWER, at(0));
    peers.handle_learned(host(2), NEWER, at(0));
    assert_eq!((dials(&mut peers), peers.wanted()), (vec![], 8));
    peers.handle_inbound_opened(member(50_000), at(100));
    let (time, address) = next_dial(&mut peers).unwrap();
    assert!(address == host(2) && (3000..=4000).contains(&time), "{address} at {time}");
    assert_eq!(next_dial(&mut peers), None);
}

#[test]
fn listing_a_newer_node_again_does_not_hold_it_back_again() {
    let mut peers = peers();
    for second in 0..=4 {
        peers.handle_learned(host(1), NEWER, at(second * 1000));
    }
    assert_eq!(dials(&mut peers), [host(1)]);
}

/// A node of the household that `host(1)` is of.
fn member(port: u16) -> SocketAddr {
    SocketAddr::new(host(1).ip(), port)
}

#[test]
fn an_inbound_connection_stands_for_one_candidate_at_its_ip() {
    let mut peers = peers();
    peers.handle_inbound_opened(member(50_000), at(0));
    peers.handle_learned(member(4001), OLDER, at(10));
    assert_eq!(dials(&mut peers), []);
    peers.handle_learned(member(4002), OLDER, at(20));
    assert_eq!(dials(&mut peers), [member(4001)]);
}

#[test]
fn a_newer_node_explains_an_inbound_connection_best_and_the_first_of_them_better() {
    let mut peers = peers();
    peers.handle_inbound_opened(member(50_000), at(0));
    peers.handle_learned(member(4001), NEWER, at(10));
    peers.handle_learned(member(4002), OLDER, at(20));
    assert_eq!(dials(&mut peers), [member(4002)]);
    peers.handle_learned(member(4003), NEWER, at(30));
    assert_eq!(next_dial(&mut peers).map(|(_, address)| address), Some(member(4003)));
    assert_eq!(next_dial(&mut peers), None);
}

#[test]
fn whom_we_could_not_reach_explains_an_inbound_connection_better() {
    let mut peers = peers();
    peers.handle_learned(member(4001), OLDER, at(0));
    peers.poll_dial();
    peers.handle_dial_failed(member(4001), at(10));
    peers.handle_inbound_opened(member(50_000), at(20));
    peers.handle_learned(member(4002), OLDER, at(30));
    assert_eq!(dials(&mut peers), [member(4002)]);
    assert_eq!(next_dial(&mut peers), None);
}

#[test]
fn whoever_was_there_before_we_dialled_is_somebody_else() {
    let mut peers = peers();
    peers.handle_inbound_opened(member(50_000), at(0));
    peers.handle_learned(member(4001), NEWER, at(0));
    peers.handle_learned(member(4002), OLDER, at(0));
    assert_eq!(dials(&mut peers), [member(4002)]);
    peers.handle_dial_failed(member(4002), at(10));
    peers.handle_dialling(member(4001), at(20)); // so the inbound connection was from nobody we know
    assert_eq!(next_dial(&mut peers).map(|(_, address)| address), Some(member(4002)));
}

#[test]
fn when_the_inbound_connection_ends_its_node_is_dialled_unless_it_comes_back() {
    let mut peers = peers();
    peers.handle_learned(host(1), NEWER, at(0));
    peers.handle_inbound_opened(member(50_000), at(100));
    peers.handle_inbound_closed(member(50_000), at(20_000));
    peers.handle_inbound_opened(member(50_001), at(25_000));
    assert_eq!(next_dial(&mut peers), None);
    peers.handle_inbound_closed(member(50_001), at(100_000));
    let (time, address) = next_dial(&mut peers).unwrap();
    assert!(address == host(1) && (110_000..=112_500).contains(&time), "{time}");
}

#[test]
fn another_node_of_the_household_does_not_pass_for_one_that_we_lost() {
    let mut peers = peers();
    peers.handle_learned(host(1), OLDER, at(0));
    peers.poll_dial();
    peers.handle_opened(host(1), at(10));
    peers.handle_inbound_opened(member(50_000), at(1000)); // so from somebody else there
    peers.handle_closed(host(1), ClosedBy::Them, at(90_000));
    let (time, address) = next_dial(&mut peers).unwrap();
    assert!(address == host(1) && time < 97_000);
}

#[test]
fn static_peers_are_dialled_whoever_came_in() {
    let mut peers = peers();
    peers.handle_inbound_opened(member(50_000), at(0));
    peers.handle_learned(host(1), Source::Static, at(0));
    assert_eq!(dials(&mut peers), [host(1)]);
}

#[test]
fn we_never_dial_ourselves() {
    let mut peers = peers();
    peers.handle_learned(addr("203.0.113.9:4000"), OLDER, at(0));
    peers.handle_learned(addr("203.0.113.9:4000"), Source::Static, at(0));
    peers.set_own(&[addr("[::]:4000"), addr("192.168.1.2:4000"), addr("203.0.113.9:4000")], &[]);
    for ours in
        ["127.0.0.1:4000", "[::1]:4000", "192.168.1.2:4000", "203.0.113.9:4000", "[::ffff:127.0.0.1]:4000"]
    {
        for source in
            [Source::Static, Source::File, Source::Rendezvous { newer: false, server: addr(ours).ip() }]
        {
            peers.handle_learned(addr(ours), source, at(0));
        }
    }
    assert_eq!(dials(&mut peers), []);
    peers.handle_learned(addr("127.0.0.1:4001"), Source::Static, at(0));
    assert_eq!(dials(&mut peers), [addr("127.0.0.1:4001")]);
}

#[test]
fn where_nobody_can_be_nobody_is_dialled() {
    let mut peers = peers();
    for nobody in ["203.0.113.1:0", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1"]
    {
        for source in [OLDER, Source::Static, Source::File] {
            peers.handle_learned(addr(nobody), source, at(0));
        }
    }
    assert!(peers.book.is_empty());
}

#[test]
fn a_server_can_only_list_what_reaches_as_far_as_itself() {
    let listed = |server: &str, node: &str| {
        let mut peers = peers();
        let server = server.parse().unwrap();
        peers.handle_learned(addr(node), Source::Rendezvous { newer: false, server }, at(0));
        peers.poll_dial().is_some()
    };
    for inside in
        ["127.0.0.1:22", "[::1]:22", "10.0.0.1:80", "192.168.1.1:80", "169.254.1.1:80", "[fe80::1]:80"]
    {
        assert!(!listed("198.51.100.1", inside), "{inside}");
        assert!(listed("127.0.0.1", inside), "{inside}");
    }
    for inside in ["100.64.0.1:80", "[fd00::1]:80", "[::ffff:10.0.0.1]:80"] {
        assert!(!listed("2001:db8::1", inside) && listed("10.0.0.9", inside), "{inside}");
    }
    assert!(!listed("192.168.1.1", "127.0.0.1:22"));
    assert!(listed("192.168.1.1", "203.0.113.1:80"));
}

#[test]
fn a_full_book_lets_failed_ones_go_for_new_ones_and_never_static_ones() {
    let config = PeersConfig { book_limit: 3, max_outbound: 1, ..PeersConfig::default() };
    let mut peers = Peers::new(config, Random::from_number(1));
    peers.handle_learned(host(0), Source::Static, at(0));
    assert_eq!(peers.poll_dial(), Some(host(0)));
    peers.handle_dial_failed(host(0), at(0));
    peers.handle_learned(host(1), OLDER, at(0));
    peers.handle_learned(host(2), OLDER, at(0));
    peers.handle_learned(host(3), OLDER, at(0));
    assert_eq!(peers.book.keys().copied().collect::<Vec<_>>(), [host(0), host(1), host(2)]);
    let failed = peers.poll_dial().unwrap();
    peers.handle_dial_failed(failed, at(1));
    peers.handle_learned(host(3), OLDER, at(1));
    assert!(peers.book.contains_key(&host(0)) && peers.book.contains_key(&host(3)));
    assert!(!peers.book.contains_key(&failed) && peers.book.len() == 3);
}

#[test]
fn dead_static_peers_leave_half_of_the_slots_to_others() {
    let mut peers = peers();
    for n in 0..20 {
        peers.handle_learned(host(n), Source::Static, at(0));
    }
    for n in 100..140 {
        peers.handle_learned(host(n), OLDER, at(0));
    }
    for _ in 0..20 {
        let address = peers.poll_dial().unwrap();
        assert!(address < host(20));
        peers.handle_dial_failed(address, at(1));
    }
    let others = dials(&mut peers);
    assert!(others.len() == 5 && others.iter().all(|&address| address >= host(100)), "{others:?}");
}

#[test]
fn those_that_worked_are_known_latest_first_then_those_of_the_file() {
    let mut peers = peers();
    peers.handle_learned(host(8), Source::File, at(0));
    peers.handle_learned(host(9), Source::File, at(0));
    assert!(!peers.take_changed());
    for n in 1..4 {
        peers.handle_learned(host(n), OLDER, at(0));
    }
    dials(&mut peers);
    peers.handle_dial_failed(host(3), at(10));
    peers.handle_opened(host(1), at(20));
    peers.handle_opened(host(2), at(30));
    assert!(peers.take_changed() && !peers.take_changed());
    assert_eq!(peers.known().collect::<Vec<_>>(), [host(2), host(1), host(8), host(9)]);
    peers.handle_closed(host(2), ClosedBy::Them, at(100_000));
    assert_eq!(peers.known().next(), Some(host(1)));
}

#[test]
fn an_idle_book_is_not_searched() {
    let mut peers = peers();
    for n in 0..1000 {
        peers.handle_learned(host(n), OLDER, at(0));
    }
    for address in dials(&mut peers) {
        peers.handle_opened(address, at(1));
    }
    assert_eq!(peers.poll_dial(), None);
    peers.handle_timeout(at(10_000));
    assert!(peers.settled && peers.poll_timeout().is_none());
}

/// What a hostile server may list.
fn hostile() -> impl Strategy<Value = (u16, u16, bool)> {
    (0u16..3000, prop_oneof![Just(4000u16), 0u16..2000], any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever is listed, and however the dials end, the limits hold: book, slots, and dials in any minute.
    #[test]
    fn a_hostile_server_changes_nothing_beyond_the_limits(
        seed: u64,
        rounds in prop::collection::vec((prop::collection::vec(hostile(), 0..100), 0u64..8000, 0u8..4), 0..60),
    ) {
        // Impatient, so that nothing but the budget stands between the server and its victim.
        let (retry_first, retry_max) = (Duration::from_millis(10), Duration::from_millis(100));
        let config = PeersConfig { book_limit: 50, retry_first, retry_max, ..PeersConfig::default() };
        let mut peers = Peers::new(config, Random::from_number(seed));
        let own = addr("203.0.0.1:4000");
        peers.set_own(&[own], &[]);
        let (mut now, mut log): (_, Vec<(Instant, SocketAddr)>) = (at(0), Vec::new());
        for (list, pause, fate) in rounds {
            for (n, port, newer) in list {
                let listed = SocketAddr::new(host(n % 40).ip(), port);
                peers.handle_learned(listed, Source::Rendezvous { newer, server: SERVER }, now);
            }
            peers.handle_learned(own, OLDER, now);
            for _ in 0..500 {
                let Some(address) = peers.poll_dial() else { break };
                log.push((now, address));
                prop_assert!(peers.outbound() <= 10);
                match fate {
                    0 => {}
                    1 => peers.handle_opened(address, now),
                    2 => {
                        peers.handle_opened(address, now);
                        peers.handle_closed(address, ClosedBy::Them, now);
                    }
                    _ => peers.handle_dial_failed(address, now),
                }
            }
            prop_assert!(peers.poll_dial().is_none() && peers.book.len() <= 50);
            now = now + Duration::from_millis(pause);
            peers.handle_timeout(now);
        }
        let mut dialled: BTreeMap<SocketAddr, Vec<Instant>> = BTreeMap::new();
        for &(time, address) in &log {
            dialled.entry(address).or_default().push(time);
        }
        prop_assert!(!dialled.contains_key(&own));
        for (address, times) in dialled {
            prop_assert!(times.windows(4).all(|four| four[3] - four[0] >= MINUTE), "{} at {:?}", address, times);
        }
        prop_assert!(log.windows(121).all(|many| many[120].0 - many[0].0 >= MINUTE));
    }
}

mod together {
    //! Several books run against each other over links with delay, with a rendezvous server in between.

    use super::*;

    /// One way.
    const DELAY: Duration = Duration::from_millis(40);

    struct World {
        nodes: Vec<Node>,
        /// In order of registration.
        server: Vec<usize>,
        server_marks_newer: bool,
        events: BTreeMap<(Instant, u64), Step>,
        links: Vec<Link>,
        now: Instant,
        count: u64,
    }

    struct Node {
        address: SocketAddr,
        peers: Peers,
    }

    #[derive(Clone, Copy)]
    struct Link {
        from: usize,
        to: usize,
        /// The dialling side's ephemeral address.
        source: SocketAddr,
    }

    enum Step {
        Register(usize),
        Bootstrap(usize),
        Arrive(Link),
        Answer(Link),
        Refuse(usize, SocketAddr),
    }

    impl World {
        fn new(addresses: &[SocketAddr], server_marks_newer: bool, seed: u64) -> Self {
            let mut random = Random::from_number(seed);
            let mut node = |&address: &SocketAddr| {
                // Households are full meshes here, so that who is who in them is decided often.
                let config = PeersConfig { per_household: usize::MAX, ..PeersConfig::default() };
                let mut peers = Peers::new(config, random.fork());
                peers.set_own(&[address], &[]);
                Node { address, peers }
            };
            Self {
                nodes: addresses.iter().map(&mut node).collect(),
                server: Vec::new(),
                server_marks_newer,
                events: BTreeMap::new(),
                links: Vec::new(),
                now: at(0),
                count: 0,
            }
        }

        fn plan(&mut self, when: Instant, step: Step) {
            self.count += 1;
            self.events.insert((when, self.count), step);
        }

        /// Registers and asks, and then asks every 20 s.
        fn join(&mut self, node: usize, when: Instant) {
            self.plan(when, Step::Register(node));
            for round in 0..30 {
                self.plan(when + Duration::from_secs(20) * round, Step::Bootstrap(node));
            }
        }

        fn run_until(&mut self, end: Instant) {
            loop {
                self.dial();
                let event = self.events.first_key_value().map(|(&(when, _), _)| when);
                let timers = self.nodes.iter().map(|node| node.peers.poll_timeout());
                let Some(next) = timers.fold(event, soonest).filter(|&next| next <= end) else { break };
                self.now = self.now.max(next);
                while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= self.now) {
                    let step = entry.remove();
                    self.perform(step);
                }
                for node in &mut self.nodes {
                    node.peers.handle_timeout(self.now);
                }
            }
            self.now = end;
        }

        fn dial(&mut self) {
            for from in 0..self.nodes.len() {
                while let Some(to) = self.nodes[from].peers.poll_dial() {
                    self.count += 1;
                    let source = SocketAddr::new(self.nodes[from].address.ip(), 10_000 + self.count as u16);
                    let there = self.nodes.iter().position(|node| node.address == to);
                    let step = match there {
                        Some(to) => Step::Arrive(Link { from, to, source }),
                        None => Step::Refuse(from, to),
                    };
                    self.plan(self.now + DELAY, step);
                }
            }
        }

        fn perform(&mut self, step: Step) {
            let now = self.now;
            match step {
                Step::Register(node) => self.server.push(node),
                Step::Bootstrap(asker) => self.list_to(asker),
                Step::Arrive(link) => {
                    self.nodes[link.to].peers.handle_inbound_opened(link.source, now);
                    self.links.push(link);
                    self.plan(now + DELAY, Step::Answer(link));
                }
                Step::Answer(link) => {
                    let to = self.nodes[link.to].address;
                    self.nodes[link.from].peers.handle_opened(to, now);
                }
                Step::Refuse(node, to) => self.nodes[node].peers.handle_dial_failed(to, now),
            }
        }

        fn list_to(&mut self, asker: usize) {
            let Some(mine) = self.server.iter().position(|&node| node == asker) else { return };
            for (index, &node) in self.server.iter().enumerate().filter(|&(_, &node)| node != asker) {
                let source = if self.server_marks_newer && index > mine { NEWER } else { OLDER };
                let address = self.nodes[node].address;
                self.nodes[asker].peers.handle_learned(address, source, self.now);
            }
        }

        /// Breaks the link between two nodes, whoever dialled it.
        fn cut(&mut self, a: usize, b: usize) {
            let between = |link: &Link| [(a, b), (b, a)].contains(&(link.from, link.to));
            let index = self.links.iter().position(between).expect("a link to cut");
            let link = self.links.remove(index);
            let to = self.nodes[link.to].address;
            self.nodes[link.from].peers.handle_closed(to, ClosedBy::Them, self.now);
            self.nodes[link.to].peers.handle_inbound_closed(link.source, self.now);
        }

        fn assert_one_link_for_each_pair(&self, context: &str) {
            for a in 0..self.nodes.len() {
                for b in 0..a {
                    let between = |link: &&Link| [(a, b), (b, a)].contains(&(link.from, link.to));
                    let count = self.links.iter().filter(between).count();
                    assert_eq!(count, 1, "links between {a} and {b}, {context}");
                }
            }
        }
    }

    fn household(count: u16) -> Vec<SocketAddr> {
        (0..count).map(|n| SocketAddr::new(host(1).ip(), 4000 + n)).collect()
    }

    fn scattered(count: u16) -> Vec<SocketAddr> {
        (0..count).map(host).collect()
    }

    fn start(addresses: &[SocketAddr], marks_newer: bool, seed: u64, spread: Duration) -> World {
        let mut world = World::new(addresses, marks_newer, seed);
        let mut random = Random::from_number(seed);
        for node in 0..addresses.len() {
            let when = at(0) + share(&mut random, spread);
            world.join(node, when);
        }
        world
    }

    #[test]
    fn two_nodes_that_learn_of_each_other_at_once_end_with_one_link() {
        for seed in 0..50 {
            let mut world = World::new(&scattered(2), true, seed);
            for step in [Step::Register(0), Step::Register(1), Step::Bootstrap(0), Step::Bootstrap(1)] {
                world.plan(at(0), step);
            }
            world.run_until(at(60_000));
            world.assert_one_link_for_each_pair(&format!("seed {seed}"));
        }
    }

    #[test]
    fn three_nodes_on_one_ip_end_as_a_full_mesh() {
        for seed in 0..50 {
            for spread in [0, 50, 1000, 60_000].map(Duration::from_millis) {
                let mut world = start(&household(3), true, seed, spread);
                world.run_until(at(200_000));
                world.assert_one_link_for_each_pair(&format!("seed {seed}, within {spread:?}"));
            }
        }
    }

    #[test]
    fn a_household_that_is_listed_to_all_at_once_ends_as_a_full_mesh() {
        for seed in 0..50 {
            let mut world = World::new(&household(5), true, seed);
            (0..5).for_each(|node| world.plan(at(0), Step::Register(node)));
            (0..5).for_each(|node| world.plan(at(0), Step::Bootstrap(node)));
            world.run_until(at(60_000));
            world.assert_one_link_for_each_pair(&format!("seed {seed}"));
        }
    }

    #[test]
    fn eight_nodes_scattered_or_in_one_household_end_as_a_full_mesh() {
        for seed in 0..20 {
            for addresses in [household(8), scattered(8)] {
                let mut world = start(&addresses, true, seed, Duration::from_secs(30));
                world.run_until(at(200_000));
                world.assert_one_link_for_each_pair(&format!("seed {seed}, {addresses:?}"));
            }
        }
    }

    #[test]
    fn an_old_server_does_when_nodes_join_one_after_the_other() {
        for seed in 0..20 {
            for addresses in [household(6), scattered(6)] {
                let mut world = World::new(&addresses, false, seed);
                for node in 0..addresses.len() {
                    world.join(node, at(1000 * node as u64));
                }
                world.run_until(at(200_000));
                world.assert_one_link_for_each_pair(&format!("seed {seed}, {addresses:?}"));
            }
        }
    }

    #[test]
    fn a_link_that_breaks_comes_back_as_one_link() {
        for seed in 0..20 {
            for addresses in [household(4), scattered(4)] {
                let mut world = start(&addresses, true, seed, Duration::from_secs(10));
                world.run_until(at(100_000));
                for (a, b) in [(0, 1), (1, 2), (3, 0), (2, 3)] {
                    world.cut(a, b);
                    let end = world.now + Duration::from_secs(100);
                    world.run_until(end);
                    world.assert_one_link_for_each_pair(&format!("seed {seed}, cut {a}-{b}, {addresses:?}"));
                }
            }
        }
    }
}
