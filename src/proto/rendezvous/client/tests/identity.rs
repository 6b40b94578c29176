//! A client with a key.

use std::sync::Arc;

use super::*;
use crate::identity::Key;
use crate::wire::proof::ProofRole;
use crate::wire::rendezvous::{Delivery, Incarnation};

const GREETING: &str = "HELLO p2poll 1 peers seen ping listed observers probe id observe signal relay";
const NONCE: &str = "0123456789abcdef0123456789abcdef";

fn key(number: u8) -> Key {
    Key::from_seed(&[number; 32])
}

fn signature() -> String {
    "A".repeat(86)
}

impl Node {
    fn with_key() -> Self {
        let config = ClientConfig { key: Some(Arc::new(key(1))), ..ClientConfig::default() };
        let mut node = Self::new();
        node.client = Client::new(config, Random::from_number(1));
        node
    }

    /// Connected to a server that has answered the greeting; what is said then.
    fn greeted(&mut self) -> String {
        self.client.set_curious(self.now);
        self.does("Dial|").connected().does(&format!("{GREETING}|SOURCE TCP 4001|"));
        self.hear(&format!("{GREETING} nonce={NONCE}")).actions()
    }

    /// Connected, and proven.
    fn proven(&mut self) -> &mut Self {
        self.greeted();
        self.hear("REMOTE TCP 4001").hear(&format!("PROVEN {}", key(1).id()));
        self.hear("SEEN 203.0.113.7 9").hear("OBSERVERS NONE");
        self.events();
        self
    }

    fn signal(&mut self, to: u8, text: &str) -> bool {
        self.client.signal(key(to).id(), None, [0; 64], text, self.now)
    }

    fn outcomes(&mut self) -> Vec<Outcome> {
        let events = self.events().into_iter();
        events
            .filter_map(|event| match event {
                ClientEvent::Signaled { outcome, .. } => Some(outcome),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn who_has_no_key_does_not_offer_to_prove_one() {
    let mut node = Node::new();
    node.want(1).does("Dial|").connected().does(&format!("{HELLO}|SOURCE TCP 4001|"));
    node.hear(&format!("{GREETING} nonce={NONCE}"));
    assert!(!node.actions().contains("PROVE"));
    assert!(!node.client.agreed().has(Features::ID) && !node.signal(2, "x"));
}

#[test]
fn the_key_is_proven_with_the_first_words_after_the_greeting() {
    let mut node = Node::with_key();
    let said = node.greeted();
    let (proof, rest) = said.split_once('|').unwrap();
    assert_eq!(rest, "WHOAMI|OBSERVERS|");
    let Some(Request::Prove(proof)) = Request::parse(proof.as_bytes()) else { panic!("{proof}") };
    assert_eq!((proof.role, proof.key), (ProofRole::Signal, key(1).public()));
    assert_eq!(proof.server, SERVER.parse().unwrap());
    assert!(proof.holds(&Token::new(NONCE.as_bytes()).unwrap()));
    assert!(!node.client.is_proven());
    node.hear("REMOTE TCP 4001").hear(&format!("PROVEN {}", key(1).id()));
    assert_eq!(node.events(), [ClientEvent::Proven]);
    assert!(node.client.is_proven() && node.client.agreed().has(Features::RELAY));
    assert_eq!(node.client.server_addr(), SERVER.parse().ok());
    assert_eq!(node.client.rtt(), Some(Duration::ZERO));
}

#[test]
fn a_denial_ends_signals_and_nothing_else() {
    let mut node = Node::with_key();
    node.greeted();
    node.hear("REMOTE TCP 4001").hear("DENIED full").hear("SEEN 203.0.113.7 9").hear("OBSERVERS NONE");
    assert_eq!(node.events()[0], ClientEvent::Denied { why: Denial::Full, server: SERVER.parse().unwrap() });
    assert!(!node.client.is_proven() && !node.signal(2, "x"));
    node.want(1).does("BOOTSTRAP 10|");
    node.hear(&format!("SIGNAL {} 192.0.2.9:1 - {} x", key(2).public(), signature()));
    assert!(!node.events().iter().any(|event| matches!(event, ClientEvent::Signal(_))));
}

#[test]
fn a_server_that_knows_somebody_else_is_no_server_of_ours() {
    let mut node = Node::with_key();
    node.greeted();
    node.hear("REMOTE TCP 4001").hear(&format!("PROVEN {}", key(2).id()));
    assert_eq!(node.downs(), [DownWhy::Nonsense]);
}

#[test]
fn signals_are_said_behind_the_proof_and_answered_in_order() {
    let mut node = Node::with_key();
    assert!(!node.signal(2, "x"), "there is no session");
    node.greeted();
    assert!(node.signal(2, "{\"a\":1}") && node.signal(3, "b"));
    let text = format!("SIGNAL {} - {} {{\"a\":1}}|", key(2).id(), signature());
    assert!(node.actions().starts_with(&text));
    node.hear("REMOTE TCP 4001").hear(&format!("PROVEN {}", key(1).id()));
    node.hear("SEEN 203.0.113.7 9").hear("OBSERVERS NONE");
    node.hear(&format!("SIGNALED {} STORED", key(2).id()));
    node.hear(&format!("SIGNALED {} DELIVERED", key(3).id()));
    assert_eq!(node.outcomes(), [Outcome::Told(Delivery::Stored), Outcome::Told(Delivery::Delivered)]);
    assert!(!node.signal(2, "two words") && !node.signal(2, "") && !node.signal(2, &"x".repeat(3073)));
    let observed = Token::new(NONCE.as_bytes());
    assert!(node.client.signal(key(2).id(), observed, [0; 64], "x", node.now));
    node.does(&format!("SIGNAL {} {NONCE} {} x|", key(2).id(), signature()));
}

#[test]
fn too_many_signals_under_way_are_not_said() {
    let mut node = Node::with_key();
    node.proven();
    assert_eq!((0..100).filter(|_| node.signal(2, "x")).count(), 32);
    node.actions();
    node.hear(&format!("SIGNALED {} BUSY", key(2).id()));
    assert!(node.signal(2, "x") && !node.signal(2, "x"));
    assert_eq!(node.outcomes(), [Outcome::Told(Delivery::Busy)]);
}

#[test]
fn a_session_that_dies_tells_which_signals_are_lost() {
    let mut node = Node::with_key();
    node.proven();
    assert!(node.signal(2, "x") && node.signal(3, "y"));
    node.disconnected();
    assert_eq!(node.outcomes(), [Outcome::Lost; 2]);
    assert!(!node.client.is_proven() && node.client.agreed() == Features::NONE);
    let mut node = Node::with_key();
    node.proven();
    node.signal(2, "x");
    node.client.leave(node.now);
    assert_eq!(node.outcomes(), [Outcome::Lost]);
}

#[test]
fn a_signal_comes_in_with_what_the_server_knows_of_its_sender() {
    let mut node = Node::with_key();
    node.proven();
    node.hear(&format!("SIGNAL {} 192.0.2.9:1 192.0.2.9:2 {} {{}}", key(2).public(), signature()));
    let [ClientEvent::Signal(signal)] = &node.events()[..] else { panic!("one signal") };
    assert_eq!((signal.from, signal.text.as_str()), (key(2).public(), "{}"));
    assert_eq!(signal.seen, "192.0.2.9:1".parse().unwrap());
    assert_eq!(signal.observed, "192.0.2.9:2".parse().ok());
    for _ in 0..1000 {
        node.hear(&format!("SIGNAL {} 192.0.2.9:1 - {} {{}}", key(2).public(), signature()));
    }
    assert_eq!(node.events().len(), MAX_EVENTS);
}

#[test]
fn who_has_a_key_stays_and_comes_back_though_it_wants_nothing() {
    let mut node = Node::with_key();
    assert!(node.proven().at(60_000).actions().starts_with("PING "));
    assert_eq!(node.at(71_000).downs(), [DownWhy::Slow]);
    let mut node = Node::with_key();
    node.proven().disconnected().wait().does("Dial|");
}

#[test]
fn an_old_server_is_left_although_there_is_a_key() {
    let mut node = Node::with_key();
    node.client.set_curious(node.now);
    node.does("Dial|").connected().actions();
    node.hear("REMOTE TCP 4001").does("QUIT|").disconnected().does("");
    assert!(!node.client.is_proven());
}

#[test]
fn a_process_that_says_which_one_it_is_may_have_to_wait_and_is_called_when_the_other_leaves() {
    let mut node = Node::with_key();
    node.client.config.incarnation = Some(Incarnation::from_number(0xabc));
    node.client.set_curious(node.now);
    node.does("Dial|").connected();
    assert!(node.actions().starts_with(&format!("{GREETING} incarnation|SOURCE")));
    let said = node.hear(&format!("{GREETING} incarnation nonce={NONCE}")).actions();
    let (proof, _) = said.split_once('|').unwrap();
    let Some(Request::Prove(proof)) = Request::parse(proof.as_bytes()) else { panic!("{proof}") };
    assert_eq!(proof.incarnation, Some(Incarnation::from_number(0xabc)));
    assert!(proof.holds(&Token::new(NONCE.as_bytes()).unwrap()));
    node.hear("REMOTE TCP 4001").hear("PENDING").hear("SEEN 203.0.113.7 9").hear("OBSERVERS NONE");
    node.events();
    assert!(!node.client.is_proven() && !node.signal(2, "x"));
    let denied = ClientEvent::Denied { why: Denial::InUse, server: SERVER.parse().unwrap() };
    node.hear("DENIED in-use");
    assert_eq!(node.events(), std::slice::from_ref(&denied));
    node.hear(&format!("PROVEN {}", key(1).id()));
    assert_eq!((node.events(), node.client.is_proven()), (vec![ClientEvent::Proven], true));
    // Now it is the one that is asked.
    node.hear("PING abc").does("PONG abc|").hear("INUSE 203.0.113.9:77");
    assert_eq!(node.events(), [ClientEvent::InUse("203.0.113.9:77".parse().unwrap())]);
    node.hear("DENIED in-use");
    assert_eq!((node.events(), node.client.is_proven()), (vec![denied], false));
    assert_eq!(node.client.session().map(|session| session.strikes), Some(0));
}

#[test]
fn who_does_not_say_which_process_it_is_believes_none_of_that() {
    let mut node = Node::with_key();
    node.greeted();
    node.hear("REMOTE TCP 4001").hear("DENIED signature").hear("SEEN 203.0.113.7 9").hear("OBSERVERS NONE");
    node.events();
    node.hear("PING abc").hear(&format!("PROVEN {}", key(1).id())).hear("INUSE 203.0.113.9:77").does("");
    assert_eq!((node.events(), node.client.is_proven()), (vec![], false));
    assert_eq!(node.client.session().map(|session| session.strikes), Some(3));
}
