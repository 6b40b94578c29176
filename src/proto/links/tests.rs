//! Two nodes' handshakes, line by line, with time written in the tests.

use std::time::Duration;

use super::*;
use crate::connect::{Refusal, Rung, RungFault};
use crate::id::StreamId;
use crate::proto::handshake::Opening;
use crate::wire::line::{Found, Line, Span};

const CONFIG: HandshakesConfig = HandshakesConfig {
    timeout: Duration::from_secs(5),
    credit: 1000,
    max_before: 500,
    nonce_required: false,
};

fn key(number: u8) -> Key {
    Key::from_seed(&[number; 32])
}

/// Of two keys the one with the smaller id, and the one with the larger.
fn by_id() -> [Key; 2] {
    let mut keys = [key(1), key(2)];
    keys.sort_by_key(Key::id);
    keys
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn stream(number: u32) -> StreamId {
    StreamId::new(number, number.into())
}

fn call(number: u8) -> CallId {
    CallId::from_bytes([number; 16])
}

fn ends() -> Ends {
    let end = |host| SocketAddr::from(([192, 0, 2, host], 5000));
    Ends { dialler: end(1), dialled: end(2) }
}

fn dialled(number: u8, upgrade: bool) -> Origin {
    Origin::Call { call: call(number), rung: Rung::Direct, upgrade }
}

fn line(text: &[u8]) -> Line {
    let text = text.strip_suffix(b"\r\n").unwrap_or(text);
    let chunk = bytes::Bytes::copy_from_slice(text);
    Found { chunk: &chunk, span: Span { start: 0, len: text.len() } }.to_line()
}

/// What a node knows besides its handshakes.
#[derive(Default)]
struct Else {
    calls: Vec<(CallId, NodeId, bool)>,
    over: Vec<CallId>,
    link: Option<(NodeId, Instant, bool)>,
    leaving: bool,
}

impl Calls for Else {
    fn peer_of(&self, call: CallId) -> Option<NodeId> {
        self.calls.iter().find(|(id, ..)| *id == call).map(|(_, peer, _)| *peer)
    }

    fn is_ours(&self, call: CallId) -> bool {
        self.calls.iter().any(|(id, _, ours)| *id == call && *ours)
    }

    fn was_ours(&self, call: CallId) -> bool {
        self.over.contains(&call)
    }
}

impl Links for Else {
    fn link_to(&self, node: NodeId) -> Option<ConId> {
        self.link.filter(|(peer, ..)| *peer == node).map(|_| ConId::new(1, 1, 1))
    }

    fn open_link_to(&self, node: NodeId) -> Option<ConId> {
        self.link_to(node)
    }

    fn certain_at(&self, _: ConId) -> Option<Instant> {
        self.link.map(|(_, at, _)| at)
    }

    fn is_relayed(&self, _: ConId) -> bool {
        self.link.is_some_and(|(.., relayed)| relayed)
    }

    fn came_by(&self, _: ConId, call: CallId) -> bool {
        call == self::call(99)
    }
}

struct Node {
    key: Key,
    random: Random,
    others: Else,
    handshakes: Handshakes,
}

impl Node {
    fn new(key: Key) -> Self {
        let random = Random::from_number(u64::from(key.id().as_bytes()[0]));
        Self { key, random, others: Else::default(), handshakes: Handshakes::new(CONFIG) }
    }

    fn with<R>(&mut self, tell: impl FnOnce(&mut Handshakes, &mut Surroundings<'_>) -> R) -> R {
        let mut around = Surroundings {
            key: Some(&self.key),
            random: &mut self.random,
            calls: &self.others,
            links: &self.others,
            leaving: self.others.leaving,
        };
        tell(&mut self.handshakes, &mut around)
    }

    fn dial(&mut self, number: u32, to: NodeId, origin: Origin, now: Instant) -> Vec<u8> {
        self.with(|machine, around| machine.say_hello(stream(number), Some(to), origin, ends(), around, now));
        self.sent(number).expect("a hello")
    }

    /// An address that may be anybody's.
    fn ask(&mut self, number: u32, now: Instant) -> Vec<u8> {
        self.with(|machine, around| {
            machine.say_hello(stream(number), None, Origin::Asked, ends(), around, now);
        });
        self.sent(number).expect("a hello")
    }

    /// There is a link to this node.
    fn end_others(&mut self, peer: NodeId, calls: &[CallId], now: Instant) {
        self.with(|machine, around| machine.end_others(peer, [calls, &[]], around, now));
    }

    /// Somebody connects, and begins so.
    fn accept(&mut self, number: u32, hello: &[u8], now: Instant) {
        self.handshakes.accept(stream(number), Origin::Accepted, ends(), now);
        self.handshakes.handle_opening(stream(number), Opening::Hello, true, now);
        self.hear(number, hello, now);
    }

    fn hear(&mut self, number: u32, text: &[u8], now: Instant) {
        assert_eq!(self.handshakes.wants(stream(number)), Wants::Line);
        self.with(|machine, around| machine.handle_line(stream(number), line(text), around, now));
    }

    fn pass(&mut self, now: Instant) {
        self.with(|machine, around| machine.handle_timeout(around, now));
    }

    /// The next line that is to be sent there; whatever else is to be done before is forgotten.
    fn sent(&mut self, number: u32) -> Option<Vec<u8>> {
        std::iter::from_fn(|| self.handshakes.poll_action()).find_map(|action| match action {
            Action::Send { stream: to, line } if to == stream(number) => Some(line),
            _ => None,
        })
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.handshakes.poll_action()).collect()
    }

    /// All but notes for the log.
    fn events(&mut self) -> Vec<Event> {
        let all = std::iter::from_fn(|| self.handshakes.poll_event());
        all.filter(|event| !matches!(event, Event::Note { .. })).collect()
    }

    fn proven(&mut self) -> Option<(StreamId, NodeId, Finished)> {
        self.events().into_iter().find_map(|event| match event {
            Event::Proven { stream, peer, handshake } => Some((stream, peer.id(), handshake)),
            _ => None,
        })
    }

    fn failure(&mut self) -> Option<RungFault> {
        self.events().into_iter().find_map(|event| match event {
            Event::Failed { why, .. } => Some(why),
            _ => None,
        })
    }
}

#[test]
fn three_lines_prove_both_and_say_what_may_be_sent() {
    let (mut alice, mut bob) = (Node::new(key(1)), Node::new(key(2)));
    let hello = alice.dial(1, bob.key.id(), dialled(7, false), at(0));
    bob.accept(9, &hello, at(25));
    let answer = match &bob.actions()[..] {
        [Action::Send { line, .. }, Action::FrameSending { takes: 1000, may_send: 1000, .. }] => line.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(bob.events(), [Event::Hello { call: call(7), node: alice.key.id() }]);
    // What the accepting application had said before.
    alice.hear(1, b"~early", at(50));
    alice.hear(1, &answer, at(50));
    let proof = match &alice.actions()[..] {
        [
            Action::Send { line, .. },
            Action::FrameSending { may_send: 1000, .. },
            Action::FrameReceiving { is_relayed: false, .. },
        ] => line.clone(),
        other => panic!("{other:?}"),
    };
    let (on, peer, finished) = alice.proven().expect("Bob is there");
    assert_eq!((on, peer, finished.call), (stream(1), bob.key.id(), Some(call(7))));
    assert_eq!(finished.before, b"~~early\r\n");
    // Bob hears of it a trip later, and his proof that he has may take three more.
    assert_eq!(finished.certain_at, at(50 + 50 + 500));
    bob.hear(9, &proof, at(75));
    let (_, peer, finished) = bob.proven().expect("Alice is there");
    assert_eq!((peer, finished.certain_at), (alice.key.id(), at(75)));
    assert_eq!((alice.handshakes.count(), bob.handshakes.count()), (0, 0));
}

#[test]
fn who_says_nothing_or_something_else_is_a_plain_peer() {
    for (opening, now) in [(Opening::Plain, 100), (Opening::Undecided, 2000)] {
        let mut bob = Node::new(key(2));
        bob.handshakes.accept(stream(1), Origin::Accepted, ends(), at(0));
        assert_eq!(bob.handshakes.wants(stream(1)), Wants::Opening);
        bob.handshakes.handle_opening(stream(1), opening, true, at(now));
        bob.pass(at(now - 1));
        bob.pass(at(now));
        assert!(matches!(bob.events()[0], Event::Plain { .. }));
    }
    let mut strict = Node::new(key(2));
    strict.handshakes = Handshakes::new(HandshakesConfig { nonce_required: true, ..CONFIG });
    strict.handshakes.accept(stream(1), Origin::Accepted, ends(), at(0));
    strict.handshakes.handle_opening(stream(1), Opening::Plain, true, at(1));
    assert_eq!(strict.actions(), [Action::Close { stream: stream(1) }]);
    assert_eq!(strict.events(), [Event::SlotFreed(ends())]);
}

#[test]
fn a_hello_that_nobody_waits_for_is_refused_with_its_reason() {
    let peer = key(1);
    let cases: [(&str, Else, bool, Refusal); 6] = [
        ("leaving", Else { leaving: true, ..Else::default() }, false, Refusal::Closing),
        (
            "somebody else's call",
            Else { calls: vec![(call(7), key(3).id(), true)], ..Else::default() },
            false,
            Refusal::Unknown,
        ),
        (
            "a call of ours that is over",
            Else { over: vec![call(7)], ..Else::default() },
            false,
            Refusal::Unknown,
        ),
        ("an upgrade of nothing", Else::default(), true, Refusal::Unknown),
        (
            "an upgrade of what is direct",
            Else { link: Some((peer.id(), at(0), false)), ..Else::default() },
            true,
            Refusal::Unknown,
        ),
        (
            "what is left of the call that led to the link",
            Else {
                link: Some((peer.id(), at(0), false)),
                calls: vec![],
                over: vec![call(7)],
                leaving: false,
            },
            false,
            Refusal::Unknown,
        ),
    ];
    for (name, others, upgrade, why) in cases {
        let (mut alice, mut bob) = (Node::new(peer.clone()), Node::new(key(2)));
        bob.others = others;
        let hello = alice.dial(1, bob.key.id(), dialled(7, upgrade), at(0));
        bob.accept(9, &hello, at(10));
        let refusal = bob.sent(9).expect("it is told");
        alice.hear(1, &refusal, at(20));
        assert_eq!(alice.failure(), Some(RungFault::Refused(why)), "{name}");
        assert!(bob.proven().is_none(), "{name}");
    }
}

#[test]
fn of_two_at_once_the_larger_ids_counts() {
    let [small, large] = by_id();
    let (mut small, mut large) = (Node::new(small), Node::new(large));
    let from_small = small.dial(1, large.key.id(), dialled(1, false), at(0));
    let from_large = large.dial(2, small.key.id(), dialled(2, false), at(0));
    // The larger keeps the other's waiting; the smaller answers.
    large.accept(11, &from_small, at(50));
    assert_eq!((large.sent(11), large.handshakes.wants(stream(11))), (None, Wants::Nothing));
    small.accept(12, &from_large, at(50));
    let answer = small.sent(12).expect("an answer");
    large.hear(2, &answer, at(100));
    let proof = large.sent(2).expect("a proof");
    let (on, ..) = large.proven().expect("the smaller is there");
    assert_eq!(on, stream(2));
    small.hear(12, &proof, at(150));
    assert_eq!(small.proven().map(|(on, ..)| on), Some(stream(12)));
    // There is a link: what else leads to the other is over, on both sides.
    large.end_others(small.key.id(), &[call(1), call(2)], at(150));
    small.end_others(large.key.id(), &[call(1), call(2)], at(150));
    assert!(large.actions().contains(&Action::Abandon { stream: stream(11) }));
    assert!(small.actions().contains(&Action::Abandon { stream: stream(1) }));
}

#[test]
fn a_hello_that_waits_is_answered_when_the_own_has_led_to_nothing() {
    let [small, large] = by_id();
    let (mut small, mut large) = (Node::new(small), Node::new(large));
    let from_small = small.dial(1, large.key.id(), dialled(1, false), at(0));
    large.dial(2, small.key.id(), dialled(2, false), at(0));
    large.accept(11, &from_small, at(50));
    assert_eq!(large.sent(11), None);
    large.handshakes.handle_gone(stream(2), "reset", at(60));
    // The failure is no news while the other's hello may lead to a link.
    assert_eq!(large.failure(), None);
    large.pass(at(60));
    let answer = large.sent(11).expect("an answer now");
    small.hear(1, &answer, at(110));
    assert!(small.proven().is_some());
    large.pass(at(1059));
    assert_eq!(large.failure(), None);
    large.pass(at(1060));
    assert_eq!(large.failure(), Some(RungFault::Silent(ends().dialled)), "told in the end");
}

#[test]
fn the_smaller_ids_answered_hello_waits_a_moment_for_the_others_proof() {
    let [small, large] = by_id();
    let (mut small, mut large) = (Node::new(small), Node::new(large));
    let from_small = small.dial(1, large.key.id(), dialled(1, false), at(0));
    // The larger one answers, as it has no hello under way yet.
    large.accept(11, &from_small, at(50));
    let to_small = large.sent(11).expect("an answer");
    let from_large = large.dial(2, small.key.id(), dialled(2, false), at(51));
    small.accept(12, &from_large, at(99));
    small.sent(12).expect("an answer");
    small.events();
    small.hear(1, &to_small, at(100));
    assert_eq!((small.proven(), small.handshakes.wants(stream(1))), (None, Wants::Nothing));
    // No proof comes: the other hello was somebody else's.
    small.pass(at(599));
    assert!(small.proven().is_none());
    small.pass(at(600));
    assert_eq!(small.proven().map(|(on, ..)| on), Some(stream(1)));
}

#[test]
fn a_hello_just_after_a_link_waits_until_the_peer_must_know_of_it() {
    let (mut alice, mut bob) = (Node::new(key(1)), Node::new(key(2)));
    bob.others.link = Some((alice.key.id(), at(300), false));
    let hello = alice.dial(1, bob.key.id(), dialled(7, false), at(0));
    bob.accept(9, &hello, at(100));
    bob.pass(at(299));
    assert_eq!(bob.sent(9), None);
    bob.pass(at(300));
    assert!(bob.sent(9).is_some(), "it has lost that link, and calls anew");
}

#[test]
fn a_shown_connection_keeps_its_name_as_a_link_and_loses_it_for_an_upgrade() {
    let con = ConId::new(1, 4, 4);
    for upgrade in [false, true] {
        let (mut alice, mut bob) = (Node::new(key(1)), Node::new(key(2)));
        bob.others.link = upgrade.then(|| (alice.key.id(), at(0), true));
        let hello = alice.dial(1, bob.key.id(), dialled(7, upgrade), at(0));
        bob.handshakes.accept_shown(stream(9), con, ends(), at(0));
        bob.hear(9, &hello, at(50));
        let answer = bob.sent(9).expect("an answer");
        let hidden = bob.events().contains(&Event::Hidden { con });
        alice.hear(1, &answer, at(100));
        let proof = alice.sent(1).expect("a proof");
        bob.hear(9, &proof, at(150));
        let (.., finished) = bob.proven().expect("Alice");
        assert_eq!((hidden, finished.shown, finished.upgrade), (upgrade, (!upgrade).then_some(con), upgrade));
    }
}

#[test]
fn what_comes_before_an_answer_has_a_limit_and_silence_a_deadline() {
    let (mut alice, bob) = (Node::new(key(1)), key(2));
    alice.dial(1, bob.id(), dialled(7, false), at(0));
    alice.hear(1, &[b'x'; 400], at(1));
    assert_eq!(alice.failure(), None);
    alice.hear(1, &[b'x'; 100], at(2));
    assert_eq!(alice.failure(), Some(RungFault::Silent(ends().dialled)));

    alice.dial(2, bob.id(), dialled(7, false), at(0));
    alice.pass(at(4999));
    assert_eq!(alice.failure(), None);
    alice.pass(at(5000));
    assert_eq!(alice.failure(), Some(RungFault::Silent(ends().dialled)));
    assert_eq!(alice.handshakes.count(), 0);
}

#[test]
fn another_node_or_a_wrong_proof_is_never_shown() {
    let (mut alice, mut mallory) = (Node::new(key(1)), Node::new(key(3)));
    let hello = alice.dial(1, key(2).id(), dialled(7, false), at(0));
    mallory.accept(9, &hello, at(10));
    let answer = mallory.sent(9).expect("an answer");
    alice.hear(1, &answer, at(20));
    assert_eq!(alice.failure(), Some(RungFault::WrongNode(ends().dialled)));

    let hello = alice.dial(2, mallory.key.id(), dialled(8, false), at(30));
    mallory.accept(10, &hello, at(40));
    mallory.sent(10).expect("an answer");
    mallory.hear(10, b"~proof {}", at(50));
    assert!(mallory.proven().is_none());
    assert_eq!(mallory.handshakes.wants(stream(10)), Wants::Nothing);
}

/// Neither knows whom it greets, so that both answer; the smaller one holds its proof back, and the larger one's counts.
#[test]
fn of_two_that_ask_each_others_addresses_the_larger_ids_counts() {
    let [small, large] = by_id();
    let (mut small, mut large) = (Node::new(small), Node::new(large));
    let (from_small, from_large) = (small.ask(1, at(0)), large.ask(2, at(0)));
    large.accept(11, &from_small, at(50));
    small.accept(12, &from_large, at(50));
    let to_small = large.sent(11).expect("an answer");
    let to_large = small.sent(12).expect("an answer");
    small.actions();
    small.hear(1, &to_small, at(100));
    assert_eq!((small.actions(), small.events()), (vec![], vec![]), "it waits for the other's proof");
    large.hear(2, &to_large, at(100));
    let proof = large.sent(2).expect("a proof");
    assert_eq!(large.proven().map(|(on, ..)| on), Some(stream(2)));
    // The stream of the one that is answered is not torn, or the answer might not be read.
    large.actions();
    large.end_others(small.key.id(), &[], at(100));
    assert_eq!(large.actions(), [Action::Close { stream: stream(11) }]);
    small.handshakes.handle_gone(stream(1), "closed", at(140));
    assert_eq!(small.failure(), None, "the other's proof may come yet");
    small.hear(12, &proof, at(150));
    assert_eq!(small.proven().map(|(on, ..)| on), Some(stream(12)));
    assert!(small.handshakes.is_asked_about(large.key.id()));
    small.end_others(large.key.id(), &[], at(150));
    let gave_way = Event::GaveWay { stream: stream(1), peer: large.key.id() };
    assert_eq!(small.events(), [gave_way]);
    assert!(!small.handshakes.is_asked_about(large.key.id()));
    assert_eq!((small.handshakes.count(), large.handshakes.count()), (0, 0));
}

#[test]
fn who_finds_a_node_that_is_linked_already_gives_way() {
    let (mut alice, mut bob) = (Node::new(key(1)), Node::new(key(2)));
    let hello = alice.ask(1, at(0));
    bob.accept(9, &hello, at(50));
    let answer = bob.sent(9).expect("an answer");
    alice.others.link = Some((bob.key.id(), at(0), false));
    alice.hear(1, &answer, at(100));
    assert_eq!(alice.actions(), [Action::Abandon { stream: stream(1) }]);
    assert_eq!(alice.events(), [Event::GaveWay { stream: stream(1), peer: bob.key.id() }]);
}

/// A hello to an address waits behind our own; once that has led to a link it is answered, for the other side to know.
#[test]
fn a_hello_to_whoever_is_answered_before_its_stream_is_closed() {
    let [small, large] = by_id();
    let (mut small, mut large) = (Node::new(small), Node::new(large));
    large.dial(2, small.key.id(), dialled(2, false), at(0));
    let hello = small.ask(1, at(0));
    large.accept(11, &hello, at(50));
    assert_eq!(large.sent(11), None);
    large.end_others(small.key.id(), &[call(2)], at(100));
    let actions = large.actions();
    assert_eq!(actions.last(), Some(&Action::Close { stream: stream(11) }));
    let answer = actions.iter().find_map(|action| match action {
        Action::Send { stream: to, line } if *to == stream(11) => Some(line),
        _ => None,
    });
    small.others.link = Some((large.key.id(), at(0), false));
    small.hear(1, answer.expect("an answer"), at(150));
    assert_eq!(small.events(), [Event::GaveWay { stream: stream(1), peer: large.key.id() }]);
}

#[test]
fn who_asks_an_address_that_is_his_own_is_told_so() {
    let mut alice = Node::new(key(1));
    let hello = alice.ask(1, at(0));
    alice.accept(9, &hello, at(1));
    let refusal = alice.sent(9).expect("a refusal");
    alice.events();
    alice.hear(1, &refusal, at(2));
    assert_eq!(alice.events(), [Event::Oneself { stream: stream(1) }]);
}

/// Whatever becomes of an address that was asked, the one who waits for it hears of it.
#[test]
fn an_address_that_gives_no_answer_is_told() {
    for ends_by in ["time", "end", "unsent"] {
        let mut alice = Node::new(key(1));
        alice.ask(1, at(0));
        match ends_by {
            "time" => alice.pass(at(5000)),
            "end" => alice.handshakes.handle_gone(stream(1), "closed", at(1)),
            _ => alice.handshakes.handle_unsent(stream(1), at(1)),
        }
        assert_eq!(alice.failure(), Some(RungFault::Silent(ends().dialled)), "{ends_by}");
        assert_eq!(alice.handshakes.count(), 0);
    }
}
