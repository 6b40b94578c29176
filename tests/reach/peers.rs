//! Peers that come from a server's address while its probe is awaited.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use p2poll::{Con, Event, Net, Reachability};

use crate::common::*;
use crate::fake::Fake;
use crate::{ELSEWHERE, both, counting_filter, idle};

/// A node whose server, at the node's own address, has been asked and says nothing.
fn awaiting(max_inbound: usize) -> (Net, Fake) {
    let mut fake = Fake::honest();
    let mut net = fake.config().max_inbound(max_inbound).start().unwrap();
    fake.asked(&mut net, 1);
    (net, fake)
}

/// Waits for the lines of whoever is connected from there.
#[track_caller]
fn lines_from(net: &mut Net, fake: &mut Fake, raw: &TcpStream, count: usize) -> Vec<String> {
    let peer = raw.local_addr().unwrap();
    let mut all = Vec::new();
    both(net, fake, |net, _| {
        let cons = net.connections().filter(|con| con.peer_addr() == Some(peer));
        all.extend(cons.flat_map(Con::replies).map(|line| line.to_string()));
        (all.len() >= count).then(|| all.clone())
    })
}

#[track_caller]
fn shown_from(net: &mut Net, fake: &mut Fake, raw: &TcpStream) {
    let peer = raw.local_addr().unwrap();
    both(net, fake, |net, _| net.connections().any(|con| con.peer_addr() == Some(peer)).then_some(()));
}

/// All that comes until the end.
#[track_caller]
fn all_of(net: &mut Net, fake: &mut Fake, raw: &mut TcpStream) -> Vec<u8> {
    raw.set_nonblocking(true).unwrap();
    let mut all = Vec::new();
    both(net, fake, |_, _| match raw.read_to_end(&mut all) {
        Ok(_) => Some(all.clone()),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(all.clone()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            None
        }
    })
}

#[test]
fn who_says_something_else_than_the_prompt_is_a_peer_like_others() {
    let cases: [(&[u8], &[&str]); 7] = [
        (b"hello\nworld\n", &["hello", "world"]),
        (b"\n\nafter two empty ones\n", &["", "", "after two empty ones"]),
        (b"~prose\r\n", &["~prose"]),
        (b"~probed\r\n", &["~probed"]),
        (b" ~probe\r\n", &[" ~probe"]),
        (b"~probe \r\n", &["~probe "]),
        (b"~probe\r\r\nx\n", &["~probe\r", "x"]),
    ];
    let (mut net, mut fake) = awaiting(100);
    let asked = counting_filter(&net, true);
    for (nth, (bytes, lines)) in cases.iter().enumerate() {
        let mut raw = dial(&net);
        raw.write_all(bytes).unwrap();
        assert_eq!(lines_from(&mut net, &mut fake, &raw, lines.len()), *lines, "{}", bytes.escape_ascii());
        assert_eq!(asked.load(Ordering::Relaxed), nth + 1);
        net.connections().for_each(|con| con.send_line("welcome").unwrap_or_default());
        net.poll(Some(Duration::ZERO)).unwrap();
        expect(&mut raw, b"welcome\r\n");
    }
    assert_eq!(fake.probes.len(), 1, "the probe is still awaited");
}

#[test]
fn who_hesitates_is_shown_all_the_same() {
    let (mut net, mut fake) = awaiting(100);
    let asked = counting_filter(&net, true);
    let (mut half, mut silent, mut slow) = (dial(&net), dial(&net), dial(&net));
    half.write_all(b"~pro").unwrap();
    slow.write_all(b"~pr").unwrap();
    idle(&mut net, &mut fake, Duration::from_millis(50));
    assert_eq!((net.len(), asked.load(Ordering::Relaxed)), (0, 0));
    // The rest shows who it is; nothing is lost of the beginning.
    slow.write_all(b"actical\r\n").unwrap();
    assert_eq!(lines_from(&mut net, &mut fake, &slow, 1), ["~practical"]);
    // The others are shown when they have been waited for.
    shown_from(&mut net, &mut fake, &half);
    shown_from(&mut net, &mut fake, &silent);
    assert_eq!((net.len(), asked.load(Ordering::Relaxed)), (3, 3));
    // From then on the prompt is a line.
    half.write_all(b"be\r\n").unwrap();
    silent.write_all(b"~probe\r\n").unwrap();
    assert_eq!(lines_from(&mut net, &mut fake, &half, 1), ["~probe"]);
    assert_eq!(lines_from(&mut net, &mut fake, &silent, 1), ["~probe"]);
}

#[test]
fn the_nonce_is_given_once() {
    let (mut net, mut fake) = awaiting(100);
    let (port, nonce) = fake.probes[0].clone();
    let asked = counting_filter(&net, true);
    let mut first = dial(&net);
    first.write_all(b"~probe\r\n~probe\r\n~probe\r\n").unwrap();
    let answer = format!("~probe {nonce}\r\n");
    assert_eq!(all_of(&mut net, &mut fake, &mut first), answer.as_bytes());
    assert_eq!((net.len(), asked.load(Ordering::Relaxed)), (0, 0));
    // None is awaited any more.
    let mut second = dial(&net);
    second.write_all(b"~probe\r\nand more\r\n").unwrap();
    assert_eq!(lines_from(&mut net, &mut fake, &second, 2), ["~probe", "and more"]);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    fake.say(format!("PROBED {port} YES\r\n"));
    both(&mut net, &mut fake, |net, _| (net.reach().reachable == Reachability::Yes).then_some(()));
    // Nor after the verdict.
    let mut third = dial(&net);
    third.write_all(b"~probe\r\n").unwrap();
    assert_eq!(lines_from(&mut net, &mut fake, &third, 1), ["~probe"]);
    drop((first, second, third));
}

#[cfg(target_os = "linux")] // where 127.0.0.0/8 is ours as a whole
#[test]
fn the_prompt_from_another_address_is_a_line() {
    let (mut net, mut fake) = awaiting(100);
    let raw = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    raw.bind(&std::net::SocketAddr::from((ELSEWHERE, 0)).into()).unwrap();
    raw.connect(&net.local_addr().unwrap().into()).unwrap();
    let mut raw = patient(raw.into());
    raw.write_all(b"~probe\r\n").unwrap();
    assert_eq!(lines_from(&mut net, &mut fake, &raw, 1), ["~probe"]);
}

#[test]
fn who_ends_before_it_was_shown_was_never_there() {
    let (mut net, mut fake) = awaiting(100);
    net.events().for_each(drop);
    for bytes in [&b""[..], b"~", b"~probe", b"~probe\r"] {
        dial(&net).write_all(bytes).unwrap();
        let raw = dial(&net);
        reset(raw);
    }
    idle(&mut net, &mut fake, Duration::from_millis(1200));
    let closed: Vec<Event> = net.events().collect();
    let count = |wanted: fn(&Event) -> bool| closed.iter().filter(|&event| wanted(event)).count();
    let connected = count(|event| matches!(event, Event::Connected { .. }));
    assert_eq!(connected, count(|event| matches!(event, Event::Closed { .. })), "{closed:?}");
    assert_eq!(net.len(), 0);
}

#[test]
fn slots_are_kept_when_many_turn_out_to_be_peers() {
    let (mut net, mut fake) = awaiting(5);
    let mut raws: Vec<TcpStream> = (0..20).map(|_| dial(&net)).collect();
    raws.iter_mut().for_each(|raw| raw.write_all(b"hello\n").unwrap());
    both(&mut net, &mut fake, |net, _| (net.len() == 5).then_some(()));
    let ended = count_ended(&mut net, &mut fake, &mut raws, 15);
    assert_eq!((net.len(), ended), (5, 15));
}

#[test]
fn a_filter_that_refuses_is_asked_about_who_turned_out_to_be_a_peer() {
    let (mut net, mut fake) = awaiting(5);
    let asked = counting_filter(&net, false);
    let mut raw = dial(&net);
    raw.write_all(b"hello\n").unwrap();
    assert_eq!(all_of(&mut net, &mut fake, &mut raw), b"");
    assert_eq!((asked.load(Ordering::Relaxed), net.len()), (1, 0));
}

/// As many as are held back at once and some more: what is too much is refused, the others are shown.
#[test]
fn a_crowd_at_the_door_is_let_in_or_refused() {
    let (mut net, mut fake) = awaiting(200);
    let raws: Vec<TcpStream> = (0..70).map(|_| dial(&net)).collect();
    let ended = both(&mut net, &mut fake, |net, _| {
        let ended = raws.iter().filter(|raw| has_ended(raw)).count();
        (net.len() + ended == raws.len()).then_some(ended)
    });
    assert_eq!((net.len(), ended), (64, 6));
    // The probe that is awaited still has its place.
    let (_, nonce) = fake.probes[0].clone();
    let mut probe = dial(&net);
    probe.write_all(b"~probe\r\n").unwrap();
    assert_eq!(all_of(&mut net, &mut fake, &mut probe), format!("~probe {nonce}\r\n").as_bytes());
}

#[test]
fn who_is_held_back_is_gone_when_the_node_stops() {
    let (mut net, fake) = awaiting(5);
    let mut raws: Vec<TcpStream> = (0..3).map(|_| dial(&net)).collect();
    net.poll(Some(Duration::from_millis(20))).unwrap();
    drop(fake);
    assert!(net.finish(PATIENCE).unwrap());
    assert_eq!(net.len(), 0);
    drop(net);
    raws.iter_mut().for_each(expect_end);
}

fn has_ended(raw: &TcpStream) -> bool {
    raw.set_nonblocking(true).unwrap();
    match raw.peek(&mut [0]) {
        Ok(len) => len == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

#[track_caller]
fn count_ended(net: &mut Net, fake: &mut Fake, raws: &mut [TcpStream], wanted: usize) -> usize {
    both(net, fake, |_, _| {
        let ended = raws.iter().filter(|raw| has_ended(raw)).count();
        (ended >= wanted).then_some(ended)
    })
}
