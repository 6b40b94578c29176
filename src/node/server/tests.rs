//! Relays, with a network that carries what the test lets it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::identity::Key;
use crate::node::streams::SocketAction;
use crate::proto::rendezvous::relay_dial::RelayDial;
use crate::wire::proof::Ticket;
use crate::wire::rendezvous::Token;

const SERVER: &str = "192.0.2.1:8000";

struct Rig {
    node: ServerNode,
    now: Instant,
    shut: BTreeSet<usize>,
    closed: BTreeSet<usize>,
    /// Streams that were refused room, and have some again.
    resumed: BTreeSet<usize>,
    accepted: u16,
    /// How much of what passes through the network takes at once, and what it has taken so.
    takes: usize,
    taken: Vec<u8>,
}

impl Rig {
    fn new(config: &RendezvousConfig) -> Self {
        let node = ServerNode::new(config, Random::from_number(1), Duration::from_secs(1_750_000_000));
        Self {
            node,
            now: Instant::ZERO,
            shut: BTreeSet::new(),
            closed: BTreeSet::new(),
            resumed: BTreeSet::new(),
            accepted: 0,
            takes: 0,
            taken: Vec::new(),
        }
    }

    fn accept(&mut self) -> StreamId {
        self.accepted += 1;
        let peer = SocketAddr::from(([127, 0, 0, 1], self.accepted));
        let id = self.node.handle_accepted(peer, SERVER.parse().unwrap(), self.now).expect("there is room");
        self.closed.remove(&id.slot());
        self.shut.remove(&id.slot());
        id
    }

    fn flush(&mut self) {
        loop {
            self.node.handle_timeout(self.now);
            while let Some(action) = self.node.poll_action() {
                match action {
                    Action::Socket(SocketAction::ShutdownWrite { slot }) => drop(self.shut.insert(slot)),
                    Action::Socket(SocketAction::Close { slot }) => drop(self.closed.insert(slot)),
                    other => panic!("{other:?}"),
                }
            }
            while self.node.streams().poll_unsent().is_some() {}
            while let Some(slot) = self.node.poll_resumed() {
                self.resumed.insert(slot);
            }
            if self.node.poll_timeout().is_none_or(|at| at > self.now) {
                return;
            }
        }
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.node.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.flush();
        }
        self.now = end;
    }

    /// The network has so much for a stream; how much of it the node reads.
    fn feed(&mut self, id: StreamId, mut bytes: &[u8]) -> usize {
        let whole = bytes.len();
        while !bytes.is_empty() {
            let Some(space) = self.node.space(id.slot()) else { break };
            assert!(!space.is_empty());
            let len = bytes.len().min(space.len());
            space[..len].copy_from_slice(&bytes[..len]);
            self.pass_through(id, len);
            self.node.handle_received(id.slot(), len, self.now);
            bytes = &bytes[len..];
        }
        self.flush();
        whole - bytes.len()
    }

    fn pass_through(&mut self, id: StreamId, len: usize) {
        if let Some((_, bytes)) = self.node.streams.passing(id.slot(), len) {
            let sent = &bytes[..len.min(self.takes)];
            self.taken.extend_from_slice(sent);
            let sent = sent.len();
            self.node.streams.handle_passed_through(sent);
        }
    }

    /// The network takes so much of what is queued on a stream at most.
    fn take(&mut self, id: StreamId, most: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while taken.len() < most {
            let unsent = self.node.streams().unsent(id.slot());
            let len = unsent.len().min(most - taken.len());
            if len == 0 {
                break;
            }
            taken.extend_from_slice(&unsent[..len]);
            self.node.handle_sent(id.slot(), len);
        }
        self.flush();
        taken
    }

    fn end(&mut self, id: StreamId, end: End) {
        self.node.handle_end(id.slot(), end, self.now);
        self.flush();
    }

    /// One half of a relay, as far as it gets.
    fn half(&mut self, number: u8, session: u8) -> StreamId {
        let key = |number| Arc::new(Key::from_seed(&[number; 32]));
        let server = SERVER.parse().unwrap();
        let (caller, callee) = (key(1).public(), key(2).public());
        let ticket = Ticket { server, session: [session; 16], caller, callee };
        let signatures = (ticket.sign(&key(1)), ticket.sign(&key(2)));
        let (nonce, deadline) = (Token::new(&[b'e'; 32]).unwrap(), self.now + Duration::from_secs(60));
        let mut dial = RelayDial::new(key(number), &ticket, signatures, server, nonce, deadline);
        let id = self.accept();
        let mut out = Some(dial.handle_connected());
        while let Some(text) = out {
            self.feed(id, &text);
            for line in self.take(id, usize::MAX).split_inclusive(|&byte| byte == b'\n') {
                dial.handle_line(line.trim_ascii_end(), self.now);
            }
            out = dial.poll_send();
        }
        id
    }

    /// A relay, and what both ends were told of it.
    fn relay(&mut self, session: u8) -> [StreamId; 2] {
        let first = self.half(1, session);
        let second = self.half(2, session);
        let told = String::from_utf8(self.take(first, usize::MAX)).unwrap();
        assert!(told.starts_with("RELAYED ") && told.ends_with("\r\n"), "{told}");
        [first, second]
    }

    fn is_over(&self, id: StreamId) -> bool {
        self.closed.contains(&id.slot())
    }
}

fn unlimited() -> RendezvousConfig {
    RendezvousConfig::new().relay_bytes(0).relay_time(Duration::ZERO).relay_rate(0)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

#[test]
fn bytes_go_both_ways_as_they_are() {
    let mut rig = Rig::new(&unlimited());
    let [a, b] = rig.relay(1);
    assert_eq!(rig.node.relays(), 1);
    assert_eq!((rig.feed(a, b"no line\0\r\n\xff"), rig.feed(b, b"~hello {}")), (11, 9));
    assert_eq!(rig.take(b, usize::MAX), b"no line\0\r\n\xff");
    assert_eq!(rig.take(a, usize::MAX), b"~hello {}");
    // What looks like a request is none any more.
    rig.feed(a, b"QUIT\r\nWHOAMI\r\n");
    assert_eq!((rig.take(b, usize::MAX), rig.take(a, usize::MAX)), (b"QUIT\r\nWHOAMI\r\n".to_vec(), vec![]));
}

#[test]
fn a_slow_reader_slows_its_sender_and_nothing_is_lost_or_piled_up() {
    let mut rig = Rig::new(&unlimited());
    let [a, b] = rig.relay(1);
    let sent = pattern(1 << 20);
    let (mut fed, mut got) = (rig.feed(a, &sent), Vec::new());
    assert!(fed <= 64 << 10, "{fed} bytes without a reader");
    assert_eq!(rig.feed(a, &sent[fed..]), 0);
    assert_eq!(rig.feed(b, b"the other way"), 13, "that one is free");
    rig.resumed.clear();
    got.extend(rig.take(b, 1000));
    assert!(!rig.resumed.contains(&a.slot()), "that is not worth a read");
    while got.len() < sent.len() {
        got.extend(rig.take(b, 40_000));
        if rig.resumed.remove(&a.slot()) {
            fed += rig.feed(a, &sent[fed..]);
        }
        assert!(fed - got.len() <= 64 << 10);
        assert!(fed == sent.len() || fed > got.len() || rig.resumed.contains(&a.slot()), "it stands still");
    }
    assert_eq!(got, sent);
}

#[test]
fn what_the_network_takes_at_once_is_not_sent_again() {
    let mut rig = Rig::new(&unlimited());
    let [a, b] = rig.relay(1);
    rig.takes = 40_000;
    let sent = pattern(200_000);
    let (mut fed, mut got) = (0, Vec::new());
    while got.len() < sent.len() {
        fed += rig.feed(a, &sent[fed..]);
        got.append(&mut rig.taken);
        got.extend(rig.take(b, usize::MAX));
    }
    assert_eq!(got, sent);
    let counters = |rig: &Rig, id| rig.node.streams.facts(id).unwrap().counters;
    let before = counters(&rig, b);
    rig.takes = usize::MAX;
    assert_eq!(rig.feed(a, &sent), sent.len(), "nobody has to wait");
    assert_eq!((rig.take(b, usize::MAX), &rig.taken), (vec![], &sent));
    assert_eq!(counters(&rig, b).bytes_sent - before.bytes_sent, sent.len() as u64);
    rig.end(a, End::Finished);
    assert!(rig.shut.contains(&b.slot()));
}

#[test]
fn an_end_that_finishes_is_passed_on_behind_what_it_sent() {
    let mut rig = Rig::new(&unlimited());
    let [a, b] = rig.relay(1);
    rig.feed(a, b"last words");
    rig.end(a, End::Finished);
    assert!(rig.shut.is_empty(), "they are not out yet");
    assert_eq!(rig.take(b, usize::MAX), b"last words");
    assert_eq!((rig.shut.contains(&b.slot()), rig.shut.contains(&a.slot())), (true, false));
    // The other direction goes on.
    rig.wait(Duration::from_secs(300));
    assert_eq!(rig.feed(b, b"an answer"), 9);
    assert_eq!(rig.take(a, usize::MAX), b"an answer");
    rig.end(b, End::Finished);
    assert!(rig.shut.contains(&a.slot()) && rig.is_over(a) && rig.is_over(b));
    assert_eq!((rig.node.relays(), rig.node.clients()), (0, 0));
    assert_eq!(
        rig.node.poll_timeout(),
        Some(rig.now + Duration::from_secs(300)),
        "only the session is remembered"
    );
}

#[test]
fn both_may_finish_at_once() {
    let mut rig = Rig::new(&unlimited());
    let [a, b] = rig.relay(1);
    rig.feed(a, b"to b");
    rig.feed(b, b"to a");
    rig.end(a, End::Finished);
    rig.end(b, End::Finished);
    assert_eq!(rig.take(a, usize::MAX), b"to a");
    assert!(!rig.is_over(a) && !rig.is_over(b));
    assert_eq!(rig.take(b, usize::MAX), b"to b");
    assert!(rig.is_over(a) && rig.is_over(b));
}

#[test]
fn an_end_that_breaks_closes_the_other_behind_what_it_sent() {
    let mut rig = Rig::new(&unlimited());
    let [a, b] = rig.relay(1);
    rig.feed(a, b"last words");
    rig.end(a, End::Broken(io::ErrorKind::ConnectionReset));
    assert!(rig.is_over(a) && !rig.is_over(b));
    assert_eq!(rig.take(b, usize::MAX), b"last words");
    assert!(rig.shut.contains(&b.slot()));
    rig.feed(b, b"what nobody hears");
    rig.wait(Duration::from_secs(1));
    assert!(rig.is_over(b));
    assert_eq!((rig.node.relays(), rig.node.clients()), (0, 0));
    // The same when it shows as a write that fails.
    let [a, b] = rig.relay(2);
    rig.node.handle_deaf(b.slot(), rig.now);
    rig.wait(Duration::from_secs(2));
    assert!(rig.is_over(a) && rig.is_over(b));
}

#[test]
fn who_does_not_read_its_last_words_is_closed_all_the_same() {
    let mut rig = Rig::new(&unlimited());
    let [a, b] = rig.relay(1);
    rig.feed(a, b"last words");
    rig.end(a, End::Broken(io::ErrorKind::ConnectionReset));
    rig.wait(Duration::from_secs(5));
    assert!(rig.is_over(b));
}

#[test]
fn the_last_byte_of_a_limit_goes_through_and_both_are_told() {
    let mut rig = Rig::new(&RendezvousConfig::new().relay_bytes(100_000));
    let first = rig.half(1, 1);
    let second = rig.half(2, 1);
    assert_eq!(rig.take(first, usize::MAX), b"RELAYED 100000 7200 1048576\r\n");
    let sent = pattern(200_000);
    let fed = rig.feed(first, &sent);
    let got = rig.take(second, usize::MAX);
    assert_eq!(
        fed + rig.feed(second, &sent),
        100_000 + (200_000 - (100_000 - fed)),
        "what follows is thrown away"
    );
    assert_eq!(got, sent[..fed]);
    let told = [&sent[..100_000 - fed], b"\0~relay closed bytes\r\n"].concat();
    assert_eq!(rig.take(first, usize::MAX), told);
    assert_eq!(rig.take(second, usize::MAX), b"\0~relay closed bytes\r\n");
    assert!(rig.shut.contains(&first.slot()) && rig.shut.contains(&second.slot()));
    rig.wait(Duration::from_secs(1));
    assert!(rig.is_over(first) && rig.is_over(second));
    assert_eq!((rig.node.relays(), rig.node.clients()), (0, 0));
}

#[test]
fn time_and_silence_end_a_relay() {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let mut rig = Rig::new(&RendezvousConfig::new().relay_time(minutes(25)));
    let [a, b] = rig.relay(1);
    rig.wait(minutes(9));
    rig.feed(a, b"x");
    rig.wait(minutes(9));
    rig.feed(b, b"y");
    rig.wait(minutes(6));
    assert_eq!((rig.take(a, usize::MAX), rig.take(b, usize::MAX)), (b"y".to_vec(), b"x".to_vec()));
    rig.wait(minutes(1));
    for id in [a, b] {
        assert_eq!(rig.take(id, usize::MAX), b"\0~relay closed time\r\n");
    }
    let [a, b] = rig.relay(2);
    rig.wait(minutes(10));
    for id in [a, b] {
        assert_eq!(rig.take(id, usize::MAX), b"\0~relay closed idle\r\n");
    }
}

#[test]
fn who_has_finished_is_not_told_of_a_limit_it_can_not_hear() {
    let mut rig = Rig::new(&unlimited());
    let [a, b] = rig.relay(1);
    rig.end(a, End::Finished);
    assert!(rig.shut.contains(&b.slot()));
    rig.wait(Duration::from_secs(600));
    assert_eq!(rig.take(b, usize::MAX), b"", "its side is shut");
    assert_eq!(rig.take(a, usize::MAX), b"\0~relay closed idle\r\n");
    rig.wait(Duration::from_secs(5));
    assert!(rig.is_over(a) && rig.is_over(b));
}

#[test]
fn a_relay_carries_what_its_rate_allows_and_each_direction_has_its_own() {
    let config = unlimited().relay_rate(10_000);
    let mut rig = Rig::new(&config);
    let [a, b] = rig.relay(1);
    let sent = pattern(1 << 20);
    let (mut fed, began) = (0, rig.now);
    while fed < 50_000 {
        rig.resumed.clear();
        fed += rig.feed(a, &sent[fed..]);
        rig.take(b, usize::MAX);
        if fed == 10_000 {
            assert_eq!(rig.feed(b, &sent), 10_000);
        }
        while !rig.resumed.contains(&a.slot()) {
            let due = rig.node.poll_timeout().expect("it fills");
            rig.wait(due - rig.now);
        }
    }
    let took = rig.now - began;
    assert!((Duration::from_millis(3900)..Duration::from_millis(4200)).contains(&took), "{took:?}");
}

#[test]
fn a_half_that_left_before_the_other_came_takes_nobody_along() {
    let mut rig = Rig::new(&unlimited());
    let first = rig.half(1, 1);
    rig.end(first, End::Finished);
    assert!(rig.is_over(first));
    let second = rig.half(2, 1);
    assert!(!rig.is_over(second));
    assert_eq!(rig.node.relays(), 0);
    // It ends in the moment in which the other comes.
    let first = rig.half(1, 2);
    rig.node.streams().handle_end(first.slot(), End::Finished, rig.now);
    let second = rig.half(2, 2);
    rig.wait(Duration::from_secs(2));
    assert!(rig.is_over(first) && (rig.is_over(second) || rig.node.relays() == 0));
}

/// Clients that ask for much and read nothing.
fn laggards(rig: &mut Rig, many: usize) -> Vec<StreamId> {
    let question = b"BOOTSTRAP 100\r\n".repeat(2000);
    let clients: Vec<StreamId> = (0..many).map(|_| rig.accept()).collect();
    for &id in &clients {
        rig.feed(id, &question);
    }
    clients
}

/// A server that lists a hundred nodes, so that answers are long.
fn server_with_nodes(budget: usize) -> Rig {
    let mut rig = Rig::new(&RendezvousConfig::new().max_backlog(budget));
    for port in 1..=100 {
        let id = rig.accept();
        rig.feed(id, format!("PASSIVE READY {port} 10\r\n").as_bytes());
        rig.end(id, End::Finished);
    }
    rig
}

#[test]
fn clients_that_do_not_read_stay_within_the_budget_and_starve_nobody() {
    let budget = 1 << 20;
    let mut rig = server_with_nodes(budget);
    let clients = laggards(&mut rig, 500);
    let queued: usize = clients.iter().map(|&id| rig.node.streams.queued(id)).sum();
    let one = 2 * BATCH + 2 * READ;
    assert!(rig.node.backlog.held() >= queued && queued > budget / 2, "{queued}");
    assert!(rig.node.backlog.held() <= budget + 500 * one, "{}", rig.node.backlog.held());
    let last = clients[499];
    assert!(rig.node.streams.queued(last) <= one, "{}", rig.node.streams.queued(last));
    assert!(rig.node.space(last.slot()).is_none(), "and it is not even read from");
    let reader = rig.accept();
    for _ in 0..1000 {
        rig.feed(reader, b"BOOTSTRAP 100\r\n");
        assert!(rig.take(reader, usize::MAX).starts_with(b"NODES p:"));
    }
    for id in clients {
        rig.end(id, End::Broken(io::ErrorKind::ConnectionReset));
    }
    assert_eq!((rig.node.backlog.held(), rig.node.clients()), (0, 1));
}

#[test]
fn whoever_reads_at_last_has_all_answers_and_is_read_from_again() {
    let mut rig = Rig::new(&RendezvousConfig::new().max_backlog(64 << 10));
    let id = rig.accept();
    let question = b"PING abcdef\r\n".repeat(1000);
    let (mut asked, mut answers) = (0, Vec::new());
    while answers.len() < question.len() {
        asked += rig.feed(id, &question[asked..]);
        rig.resumed.clear();
        answers.extend(rig.take(id, 700));
        // Answers that are queued meanwhile make room for what was not read.
        assert!(
            asked == question.len()
                || rig.node.has_work()
                || rig.resumed.contains(&id.slot())
                || rig.node.streams.queued(id) > 0
        );
        rig.flush();
    }
    assert_eq!(answers, b"PONG abcdef\r\n".repeat(1000));
    assert_eq!(rig.node.backlog.held(), 0);
}

#[test]
fn a_signal_for_who_does_not_read_is_dropped() {
    let mut rig = server_with_nodes(0);
    let id = laggards(&mut rig, 1)[0];
    let before = rig.node.streams.queued(id);
    let signal = |id| ServerAction::Send { client: client(id), text: vec![b'x'; 3000] };
    rig.node.act(signal(id), rig.now);
    assert_eq!(rig.node.streams.queued(id), before);
    let other = rig.accept();
    rig.node.act(signal(other), rig.now);
    assert_eq!(rig.node.streams.queued(other), 3000);
}

#[test]
fn what_strangers_cause_is_logged_once_a_minute_and_counted() {
    ::log::set_max_level(::log::LevelFilter::Info);
    let mut rig = Rig::new(&RendezvousConfig::new());
    for _ in 0..100 {
        let id = rig.accept();
        rig.feed(id, b"GET / HTTP/1.1\r\n");
    }
    rig.wait(Duration::from_secs(120));
    let told: Vec<String> = std::iter::from_fn(|| rig.node.notes().pop()).map(|note| note.text).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].ends_with("at 127.0.0.1:1 speaks HTTP: disconnected"), "{}", told[0]);
    assert_eq!(told[1], "within a minute, 99 more: a client speaks HTTP: disconnected");
}
