//! Ids, signals, observations and relays, by hand.

use super::*;
use crate::identity::{Key, NodeId};
use crate::wire::proof::{ProofRole, Ticket, prove};
use crate::wire::relay::RelayLimits;

const OWN: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const TOKEN: &str = "cccccccccccccccccccccccccccccccc";
const SERVER: &str = "192.0.2.1:8000";

fn key(number: u8) -> Key {
    Key::from_seed(&[number; 32])
}

fn id(number: u8) -> NodeId {
    key(number).id()
}

fn token(text: &str) -> Token {
    Token::new(text.as_bytes()).unwrap()
}

fn line(request: &Request) -> String {
    let mut text = Vec::new();
    request.write(&mut text);
    String::from_utf8(text).unwrap().trim_end().to_owned()
}

/// A signature that says which of the test's it is; a server does not look at it.
fn sig(byte: u8) -> String {
    line(&Request::Signal(Box::new(Outgoing {
        to: id(1),
        observed: None,
        signature: [byte; 64],
        text: SignalText::new("x").unwrap(),
    })))
    .split(' ')
    .nth(3)
    .unwrap()
    .to_owned()
}

use crate::wire::rendezvous::{Incarnation, Outgoing, SignalText};

impl Desk {
    /// The nonce that a client is given.
    fn greet(&mut self, client: u64) -> String {
        let answer = self.say(client, "HELLO p2poll 1 id observe signal relay");
        let (hello, nonce) = answer.trim_end_matches('|').split_once(" nonce=").unwrap();
        assert_eq!(hello, "HELLO p2poll 1 id observe signal relay");
        nonce.to_owned()
    }

    fn prove_at(&mut self, client: u64, key: &Key, role: ProofRole, server: &str) -> String {
        let nonce = self.greet(client);
        let request = prove(key, role, server.parse().unwrap(), &token(&nonce), &token(OWN));
        self.say(client, &line(&request))
    }

    /// A client that is proven for signals; what it finds in its box.
    fn join(&mut self, client: u64, number: u8) -> String {
        self.connect(client, &format!("203.0.113.{client}:4000"));
        let answer = self.prove_at(client, &key(number), ProofRole::Signal, SERVER);
        let rest = answer.strip_prefix(&format!("PROVEN {}|", id(number)));
        rest.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// What becomes of a signal.
    fn signal(&mut self, client: u64, to: u8, text: &str) -> String {
        let answer = self.say(client, &format!("SIGNAL {} - {} {text}", id(to), sig(0)));
        let outcome = answer.strip_prefix(&format!("SIGNALED {} ", id(to)));
        outcome.unwrap_or_else(|| panic!("{answer}")).trim_end_matches('|').to_owned()
    }

    /// A client that is proven for relays.
    fn half(&mut self, client: u64, number: u8) -> &mut Self {
        self.connect(client, &format!("203.0.113.{client}:4000"));
        let answer = self.prove_at(client, &key(number), ProofRole::Relay, SERVER);
        assert_eq!(answer, format!("PROVEN {}|", id(number)));
        self
    }

    fn relay(&mut self, client: u64, ticket: &Ticket, signers: (u8, u8)) -> String {
        let signatures = (ticket.sign(&key(signers.0)), ticket.sign(&key(signers.1)));
        self.say(client, &line(&ticket.request(signatures.0, signatures.1)))
    }
}

fn ticket(session: u8, caller: u8, callee: u8) -> Ticket {
    Ticket {
        server: SERVER.parse().unwrap(),
        session: [session; 16],
        caller: key(caller).public(),
        callee: key(callee).public(),
    }
}

#[test]
fn who_offers_id_is_given_a_nonce_of_its_own_and_proves_once() {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.1:1").connect(2, "203.0.113.2:1").connect(3, "203.0.113.3:1");
    assert_eq!(desk.say(3, "HELLO p2poll 1 ping"), "HELLO p2poll 1 ping|");
    let (first, second) = (desk.greet(1), desk.greet(2));
    assert_ne!(first, second);
    assert_eq!(desk.greet(1), first, "as long as it is good");
    assert_eq!(desk.prove_at(1, &key(1), ProofRole::Signal, SERVER), format!("PROVEN {}|", id(1)));
    assert_eq!(desk.server.identities(), 1);
    assert_eq!(desk.say(1, "HELLO p2poll 1 id"), "HELLO p2poll 1 id|", "there is no second one");
    let again = prove(&key(1), ProofRole::Signal, SERVER.parse().unwrap(), &token(&first), &token(OWN));
    assert_eq!(desk.say(1, &line(&again)), "DENIED nonce|");
    assert_eq!(desk.say(3, &line(&again)), "DENIED nonce|");
    desk.close(1);
    assert_eq!(desk.server.identities(), 0);
}

#[test]
fn a_proof_of_another_connection_or_key_is_denied_and_uses_the_nonce_up() {
    let mut desk = Desk::new();
    desk.connect(1, "203.0.113.1:1").connect(2, "203.0.113.2:1");
    let (nonce, _) = (desk.greet(1), desk.greet(2));
    let stolen = prove(&key(1), ProofRole::Signal, SERVER.parse().unwrap(), &token(&nonce), &token(OWN));
    assert_eq!(desk.say(2, &line(&stolen)), "DENIED signature|");
    let nonce = desk.greet(1);
    let Request::Prove(mut forged) =
        prove(&key(1), ProofRole::Signal, SERVER.parse().unwrap(), &token(&nonce), &token(OWN))
    else {
        panic!("it is one")
    };
    forged.key = key(2).public();
    assert_eq!(desk.say(1, &line(&Request::Prove(forged))), "DENIED signature|");
    let good = prove(&key(1), ProofRole::Signal, SERVER.parse().unwrap(), &token(&nonce), &token(OWN));
    assert_eq!(desk.say(1, &line(&good)), "DENIED nonce|");
    assert_eq!(desk.server.identities(), 0);
}

#[test]
fn a_proof_for_another_server_is_denied_unless_it_is_a_name_of_this_one() {
    let public = vec!["198.51.100.1:80".parse().unwrap()];
    let mut desk = Desk::with(Limits { public_addresses: public, ..Limits::default() });
    for (client, server, answer) in [
        (1, "192.0.2.1:8001", "DENIED address|"),
        (2, "192.0.2.2:8000", "DENIED address|"),
        (3, "198.51.100.1:8000", "DENIED address|"),
        (4, "[::ffff:192.0.2.1]:8000", "PROVEN"),
        (5, "198.51.100.1:80", "PROVEN"),
    ] {
        desk.connect(client, &format!("203.0.113.{client}:1"));
        let said = desk.prove_at(client, &key(1), ProofRole::Signal, server);
        assert!(said.starts_with(answer), "{server}: {said}");
    }
    desk.connect(6, "[2001:db8::7]:1");
    let said = desk.prove_at(6, &key(1), ProofRole::Signal, "[2001:db8::8000]:8000");
    assert!(said.starts_with("PROVEN"), "{said}");
}

#[test]
fn a_full_server_takes_no_other_id() {
    let mut desk = Desk::with(Limits { identities: 1, ..Limits::default() });
    desk.join(1, 1);
    desk.connect(2, "203.0.113.2:1");
    assert_eq!(desk.prove_at(2, &key(2), ProofRole::Signal, SERVER), "DENIED full|");
    assert_eq!(desk.join(3, 1), "");
    desk.connect(4, "203.0.113.4:1");
    assert_eq!(desk.prove_at(4, &key(2), ProofRole::Relay, SERVER), format!("PROVEN {}|", id(2)));
}

#[test]
fn a_signal_goes_to_the_latest_connection_of_its_id() {
    let mut desk = Desk::new();
    desk.join(1, 1);
    desk.join(2, 2);
    desk.join(3, 2);
    assert_eq!(desk.signal(1, 2, "{\"a\":1}"), "DELIVERED");
    let heard = format!("SIGNAL {} 203.0.113.1:4000 - {} {{\"a\":1}}", key(1).public(), sig(0));
    assert_eq!(desk.told(), [(3, heard.clone())]);
    // The former one's end does not take the id along.
    desk.close(2);
    assert_eq!((desk.signal(1, 2, "{\"a\":1}"), desk.told()), ("DELIVERED".into(), vec![(3, heard)]));
    desk.close(3);
    assert_eq!(desk.signal(1, 2, "x"), "STORED");
}

#[test]
fn who_is_not_proven_for_signals_says_nothing_to_others() {
    let mut desk = Desk::new();
    desk.join(1, 1);
    desk.connect(2, "203.0.113.2:1");
    assert_eq!(desk.signal(2, 1, "x"), "BUSY");
    desk.half(3, 3);
    assert_eq!((desk.signal(3, 1, "x"), desk.told()), ("BUSY".into(), vec![]));
    assert_eq!(desk.say(2, &format!("SIGNAL {} - {}", id(1), sig(0))), "", "that is no request");
}

#[test]
fn a_connection_says_so_many_things_a_minute() {
    let mut desk =
        Desk::with(Limits { signals_a_minute: 120, signals_per_recipient: 4000, ..Limits::default() });
    desk.join(1, 1);
    desk.join(2, 2);
    let mut passed = |second| {
        desk.at(second);
        let passed = (0..300).filter(|_| desk.signal(1, 2, "x") == "DELIVERED").count();
        desk.told();
        passed
    };
    assert_eq!((passed(0), passed(59), passed(60)), (120, 0, 120));
}

#[test]
fn twelve_keys_at_one_address_do_not_keep_an_honest_one_from_being_heard() {
    let mut desk = Desk::new();
    desk.join(1, 1);
    for number in 10..22 {
        desk.connect(number.into(), "203.0.113.200:5");
        desk.prove_at(number.into(), &key(number), ProofRole::Signal, SERVER);
    }
    let mut said = 0;
    for number in (10..22).cycle().take(12 * 600) {
        said += usize::from(desk.signal(number, 1, "x") == "DELIVERED");
        desk.told();
    }
    assert!(said <= 80, "{said}");
    desk.join(2, 2);
    let heard = (0..20).filter(|_| desk.signal(2, 1, "x") == "DELIVERED").count();
    assert_eq!(heard, 20);
}

#[test]
fn a_full_queue_is_not_called_delivered() {
    let mut desk = Desk::with(Limits { actions: 2, ..Limits::default() });
    desk.join(1, 1);
    desk.join(2, 2);
    let said: Vec<_> = (0..3).map(|_| desk.signal(1, 2, "x")).collect();
    assert_eq!(said, ["DELIVERED", "DELIVERED", "BUSY"]);
}

#[test]
fn mail_waits_a_minute_and_comes_right_behind_the_proof() {
    let mut desk = Desk::new();
    desk.join(1, 1);
    assert_eq!([desk.signal(1, 2, "a"), desk.at(30).signal(1, 2, "b")], ["STORED", "STORED"]);
    desk.at(60);
    assert_eq!(desk.join(2, 2), format!("SIGNAL {} 203.0.113.1:4000 - {} b|", key(1).public(), sig(0)));
    desk.close(2);
    assert_eq!(desk.join(2, 2), "");
    assert!(
        (0..20).all(|_| desk.signal(1, 3, "x") == "STORED"),
        "its newer letters take the place of its older ones"
    );
    // A relay takes no signals.
    desk.half(4, 3);
    assert_eq!(desk.join(5, 3).matches('|').count(), 4);
}

#[test]
fn an_observed_address_is_told_when_its_household_names_it() {
    let mut desk = Desk::new();
    desk.join(1, 1);
    desk.join(2, 2);
    desk.connect(3, "203.0.113.1:777").connect(4, "203.0.113.9:888");
    assert_eq!(desk.say(3, &format!("OBSERVE {TOKEN}")), "SEEN 203.0.113.1 777|");
    let other = TOKEN.replace('c', "d");
    assert_eq!(desk.say(4, &format!("OBSERVE {other}")), "SEEN 203.0.113.9 888|");
    // Somebody else's of the same name changes nothing.
    assert_eq!(desk.say(4, &format!("OBSERVE {TOKEN}")), "SEEN 203.0.113.9 888|");
    let mut told = |token: &str, second| {
        desk.at(second).say(1, &format!("SIGNAL {} {token} {} x", id(2), sig(0)));
        let (_, line) = desk.told().remove(0);
        line.split(' ').nth(3).unwrap().to_owned()
    };
    assert_eq!(told(TOKEN, 0), "203.0.113.1:777");
    assert_eq!(told(&other, 0), "-");
    assert_eq!(told(TOKEN, 59), "203.0.113.1:777");
    assert_eq!(told(TOKEN, 60), "-");
}

#[test]
fn two_halves_are_relayed_with_the_limits_that_are_announced() {
    let relay = RelayLimits { bytes: 1000, seconds: 60, rate: 10 };
    let mut desk = Desk::with(Limits { relay, ..Limits::default() });
    desk.half(1, 1).half(2, 2);
    assert_eq!(desk.relay(1, &ticket(1, 1, 2), (1, 2)), "");
    assert_eq!(desk.server.relays(), 0);
    assert_eq!(desk.relay(2, &ticket(1, 1, 2), (1, 2)), "RELAYED 1000 60 10|");
    let splice = format!("{:?}", ServerAction::Splice { a: ClientId(1), b: ClientId(2) });
    assert_eq!(desk.told(), [(1, "RELAYED 1000 60 10".into()), (0, splice)]);
    assert_eq!((desk.server.relays(), desk.server.clients()), (1, 2));
    // What they say now is not for the server, and silence is no reason to close them.
    desk.silent(1, "WHOAMI").silent(2, "QUIT").at(100_000);
    assert_eq!(desk.told(), []);
    desk.close(1).close(2);
    assert_eq!((desk.server.relays(), desk.server.clients()), (0, 0));
}

#[test]
fn nothing_is_told_to_a_relay_that_was_for_its_client() {
    let mut desk = Desk::new();
    desk.half(1, 1).half(2, 2).say(1, "SIMULTANEOUS READY 0 0");
    desk.say(1, "PROBE 5000 0123456789abcdef");
    desk.relay(1, &ticket(1, 1, 2), (1, 2));
    desk.relay(2, &ticket(1, 1, 2), (1, 2));
    desk.told();
    desk.connect(3, "203.0.113.3:1").say(3, "CANDIDATE 203.0.113.1 TCP 5");
    desk.at(1);
    let told = desk.told();
    assert!(told.iter().all(|(client, _)| *client == 0), "{told:?}");
}

#[test]
fn a_ticket_that_is_not_right_is_refused_and_the_proof_is_used_up() {
    let mut desk = Desk::new();
    let good = ticket(1, 1, 2);
    let elsewhere = Ticket { server: "192.0.2.9:8000".parse().unwrap(), ..good.clone() };
    let own = ticket(1, 1, 1);
    for (client, ticket, signers, why) in [
        (1, &good, (1, 1), "ticket"),
        (2, &good, (3, 2), "ticket"),
        (3, &elsewhere, (1, 2), "ticket"),
        (4, &own, (1, 1), "ticket"),
        (5, &ticket(1, 3, 2), (3, 2), "proof"),
    ] {
        desk.half(client, 1);
        assert_eq!(desk.relay(client, ticket, signers), format!("REFUSED {why}|"), "{client}");
        assert_eq!(desk.relay(client, &good, (1, 2)), "REFUSED proof|");
    }
    desk.join(6, 1);
    assert_eq!(desk.relay(6, &good, (1, 2)), "REFUSED proof|", "that one is for signals");
    desk.connect(7, "203.0.113.7:1");
    assert_eq!(desk.relay(7, &good, (1, 2)), "REFUSED proof|");
    assert_eq!(desk.server.relays.next_deadline(&Limits::default()), None, "nothing of it is left");
}

#[test]
fn a_ticket_serves_its_two_ends_once() {
    let mut desk = Desk::new();
    desk.half(1, 1).half(2, 1).half(3, 2).half(4, 2).half(5, 3);
    assert_eq!(desk.relay(1, &ticket(1, 1, 2), (1, 2)), "");
    assert_eq!(desk.relay(2, &ticket(1, 1, 2), (1, 2)), "REFUSED used|");
    assert_eq!(desk.relay(5, &ticket(1, 1, 2), (1, 2)), "REFUSED proof|", "a thief of the ticket is neither");
    assert_eq!(desk.relay(3, &ticket(1, 1, 2), (1, 2)), "RELAYED 0 0 0|");
    assert_eq!(desk.relay(4, &ticket(1, 1, 2), (1, 2)), "REFUSED used|");
    desk.told();
    desk.close(1).close(3).half(6, 1);
    assert_eq!(desk.relay(6, &ticket(1, 1, 2), (1, 2)), "REFUSED used|");
}

#[test]
fn who_waits_for_the_other_half_in_vain_is_told() {
    let mut desk = Desk::new();
    desk.half(1, 1);
    desk.relay(1, &ticket(1, 1, 2), (1, 2));
    desk.at_millis(9_999);
    assert_eq!(desk.told(), []);
    desk.at(10);
    assert_eq!(desk.told(), [(1, "REFUSED absent".into())]);
    desk.half(2, 2);
    assert_eq!(desk.relay(2, &ticket(1, 1, 2), (1, 2)), "REFUSED used|");
}

#[test]
fn a_server_that_does_not_relay_says_so() {
    let features = Features::ALL.without(Features::RELAY);
    let mut desk = Desk::with(Limits { features, ..Limits::default() });
    desk.connect(1, "203.0.113.1:1");
    let answer = desk.say(1, "HELLO p2poll 1 id relay");
    assert!(answer.starts_with("HELLO p2poll 1 id nonce="), "{answer}");
    assert_eq!(desk.relay(1, &ticket(1, 1, 2), (1, 2)), "REFUSED off|");
}

#[test]
fn a_full_server_refuses_relays() {
    let mut desk = Desk::with(Limits { relays: 1, ..Limits::default() });
    desk.half(1, 1).half(2, 3);
    desk.relay(1, &ticket(1, 1, 2), (1, 2));
    assert_eq!(desk.relay(2, &ticket(2, 3, 4), (3, 4)), "REFUSED full|");
    let mut busy = Desk::with(Limits { actions: 1, ..Limits::default() });
    busy.half(1, 1);
    assert_eq!(busy.relay(1, &ticket(1, 1, 2), (1, 2)), "REFUSED full|");
}

#[test]
fn a_server_for_relays_only_answers_nothing_else() {
    let features = Features::ID.or(Features::RELAY);
    let mut desk = Desk::with(Limits { relays_only: true, features, ..Limits::default() });
    desk.connect(1, "203.0.113.1:1001").connect(2, "203.0.113.2:1002");
    for line in [
        "BOOTSTRAP 5",
        "WHOAMI",
        "PING x",
        "OBSERVERS",
        "PROBE 5000 0123456789abcdef",
        "OBSERVE x",
        "PASSIVE READY 5000 5",
        "SIMULTANEOUS READY 0 5",
        "SOURCE TCP 5",
        "CANDIDATE 203.0.113.2 TCP 5000",
        "ACCEPT 203.0.113.2 5000 TCP 1700000000",
        "CLEAR",
    ] {
        desk.silent(1, line);
    }
    let prove = |desk: &mut Desk, client, number: u8, role| {
        let answer = desk.say(client, "HELLO p2poll 1 id observe signal relay");
        let (hello, nonce) = answer.trim_end_matches('|').split_once(" nonce=").unwrap();
        assert_eq!(hello, "HELLO p2poll 1 id relay");
        let request = prove(&key(number), role, SERVER.parse().unwrap(), &token(nonce), &token(OWN));
        desk.say(client, &line(&request))
    };
    assert_eq!(prove(&mut desk, 1, 1, ProofRole::Signal), "", "it takes no signals");
    let text = SignalText::new("x").unwrap();
    let signal = Outgoing { to: id(2), observed: None, signature: [0; 64], text };
    desk.silent(1, &line(&Request::Signal(Box::new(signal))));
    assert_eq!((desk.told(), desk.server.nodes(), desk.server.identities()), (Vec::new(), 0, 0));
    let (caller, callee) = (key(1).public(), key(2).public());
    let ticket = Ticket { server: SERVER.parse().unwrap(), session: [3; 16], caller, callee };
    let ticket = line(&ticket.request(ticket.sign(&key(1)), ticket.sign(&key(2))));
    for client in [1, 2] {
        assert_eq!(
            prove(&mut desk, client, client as u8, ProofRole::Relay),
            format!("PROVEN {}|", id(client as u8))
        );
    }
    desk.silent(1, &ticket);
    assert!(desk.say(2, &ticket).starts_with("RELAYED "));
    assert_eq!(desk.server.relays(), 1);
}

#[test]
fn a_server_behind_a_nat_learns_what_it_is_called_and_those_who_were_denied_may_come_again() {
    let mut desk = Desk::with(Limits { learns_addresses: true, ..Limits::default() });
    let mut come = |client: u64, peer: &str| {
        desk.connect_at(client, peer, "10.0.0.5:8000");
        (desk.prove_at(client, &key(client as u8), ProofRole::Signal, "11.0.0.1:8000"), desk.told())
    };
    let (answer, told) = come(1, "12.0.0.1:1");
    assert_eq!(answer, "DENIED address|");
    assert!(told[0].1.contains("Unknown") && told[0].1.contains("networks: 1, needed: 3"), "{told:?}");
    assert_eq!(come(2, "13.0.0.1:1").0, "DENIED address|");
    let (answer, told) = come(3, "14.0.0.1:1");
    assert_eq!(answer, format!("PROVEN {}|", id(3)));
    assert!(told[0].1.contains("Learned"), "{told:?}");
    assert_eq!(told[1..], [(1, "Learned".into()), (2, "Learned".into())]);
    assert_eq!(come(4, "12.0.0.1:2").0, format!("PROVEN {}|", id(4)));
}

#[test]
fn a_signature_that_is_wrong_teaches_nothing() {
    let mut desk = Desk::with(Limits { learns_addresses: true, ..Limits::default() });
    for client in 1..10 {
        desk.connect_at(client, &format!("{}.0.0.1:1", 11 + client), "10.0.0.5:8000");
        let nonce = OWN;
        desk.greet(client);
        let server = "11.0.0.1:8000".parse().unwrap();
        let request = prove(&key(1), ProofRole::Signal, server, &token(nonce), &token(OWN));
        assert_eq!(desk.say(client, &line(&request)), "DENIED signature|");
        assert_eq!(desk.told(), []);
    }
}

/// A connection of the process with this number, and a key.
fn process(desk: &mut Desk, client: u64, process: u64) -> String {
    desk.connect(client, &format!("203.0.113.{client}:4000"));
    let answer = desk.say(client, "HELLO p2poll 1 id signal incarnation");
    let (_, nonce) = answer.trim_end_matches('|').split_once(" nonce=").unwrap();
    let (incarnation, server) = (Some(Incarnation::from_number(process)), SERVER.parse().unwrap());
    let (role, nonce, own) = (ProofRole::Signal, token(nonce), token(OWN));
    let request = crate::wire::proof::prove_as(&key(1), role, incarnation, server, &nonce, &own);
    desk.say(client, &line(&request))
}

/// What was asked of a client.
fn asked(desk: &mut Desk, client: u64) -> String {
    let told = desk.told();
    assert_eq!((told.len(), told[0].0), (1, client), "{told:?}");
    told[0].1.replace("PING", "PONG")
}

#[test]
fn of_two_processes_with_one_key_the_one_that_is_there_stays_and_both_are_told() {
    let mut desk = Desk::new();
    let proven = format!("PROVEN {}|", id(1));
    assert_eq!(process(&mut desk, 1, 100), proven);
    assert_eq!(process(&mut desk, 2, 200), "PENDING|");
    let pong = asked(&mut desk, 1);
    assert_eq!(desk.say(2, &pong), "", "the other can not answer for it");
    assert_eq!(desk.told(), []);
    desk.say(1, &pong);
    let told = desk.told();
    assert_eq!(told[..2], [(2, "DENIED in-use".into()), (1, "INUSE 203.0.113.2:4000".into())]);
    assert!(told[2].1.contains("KeyInUse"), "{told:?}");
    desk.join(9, 9);
    assert_eq!((desk.signal(9, 1, "x"), desk.told()[0].0), ("DELIVERED".into(), 1));
    assert_eq!(desk.signal(2, 9, "x"), "BUSY");
    // The one that stayed leaves: then the other is called.
    desk.close(1);
    assert_eq!(desk.told(), [(2, proven.trim_end_matches('|').into())]);
    assert_eq!((desk.signal(9, 1, "x"), desk.told()[0].0), ("DELIVERED".into(), 2));
    assert_eq!(desk.signal(2, 9, "x"), "DELIVERED");
}

#[test]
fn a_process_that_is_silent_is_replaced_after_three_seconds() {
    let mut desk = Desk::new();
    process(&mut desk, 1, 100);
    desk.at(10);
    assert_eq!(process(&mut desk, 2, 200), "PENDING|");
    asked(&mut desk, 1);
    desk.at_millis(12_999);
    assert_eq!(desk.told(), []);
    desk.at(13);
    let told = desk.told();
    assert_eq!(told[..2], [(1, "DENIED in-use".into()), (2, "INUSE 203.0.113.1:4000".into())]);
    assert_eq!(told[3], (2, format!("PROVEN {}", id(1))));
    desk.close(2);
    assert_eq!(desk.told(), [(1, format!("PROVEN {}", id(1)))]);
}

#[test]
fn a_node_that_comes_back_is_the_same_process_and_an_older_one_says_nothing() {
    let mut desk = Desk::new();
    let proven = format!("PROVEN {}|", id(1));
    assert_eq!([process(&mut desk, 1, 100), process(&mut desk, 2, 100)], [proven.clone(), proven.clone()]);
    assert_eq!(desk.join(3, 1), "", "who does not know of it is taken at once, as before");
    let heard = (desk.join(9, 9), desk.signal(9, 1, "x"), desk.told().remove(0).0);
    assert_eq!(heard, ("".into(), "DELIVERED".into(), 3));
    assert_eq!(process(&mut desk, 4, 200), proven);
    assert_eq!(desk.told(), []);
}

#[test]
fn mail_is_for_the_one_that_is_called() {
    let mut desk = Desk::new();
    desk.join(9, 9);
    process(&mut desk, 1, 100);
    process(&mut desk, 2, 200);
    let pong = asked(&mut desk, 1);
    desk.say(1, &pong);
    desk.told();
    desk.close(1).close(2);
    desk.told();
    assert_eq!(desk.signal(9, 1, "x"), "STORED");
    assert_eq!(process(&mut desk, 3, 300).matches('|').count(), 2);
}
