//! Lines over real sockets: what arrives is what was sent, whole and in order, however the connection ends.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write as _;
use std::net::Shutdown;
use std::time::Duration;

use common::*;
use p2poll::{CloseReason, Con, Event, LineEnd, Net, SendError, Via};

fn con(net: &Net, id: p2poll::ConId) -> Con<'_> {
    net.con(id).expect("it is open")
}

#[test]
fn lines_before_one_over_the_limit_are_delivered() {
    let mut net = config().max_line(16).start().unwrap();
    let (mut raw, id) = netcat(&mut net);
    raw.write_all(b"one\r\n0123456789abcdef\r\ntwo\n0123456789abcdef++").unwrap();
    let (lines, why) = to_the_end(&mut net, id);
    assert_eq!(lines, [&b"one"[..], b"0123456789abcdef", b"two"]);
    assert_eq!(why, CloseReason::LineTooLong);
    expect_end(&mut raw);
}

#[test]
fn a_line_over_the_limit_that_has_an_end_is_over_the_limit_too() {
    let mut net = config().max_line(16).start().unwrap();
    let (mut raw, id) = netcat(&mut net);
    raw.write_all(b"one\n0123456789abcdef+\nthree\n").unwrap();
    assert_eq!(to_the_end(&mut net, id), (vec![b"one".to_vec()], CloseReason::LineTooLong));
}

#[test]
fn the_default_limit_is_a_mebibyte() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    let mut longest = vec![b'x'; 1 << 20];
    longest.extend_from_slice(b"\r\n");
    let mut got = Vec::new();
    write_while(&mut raw, &mut net, &longest, |net| got.extend(lines(net, id)));
    until(&mut net, |net| {
        got.extend(lines(net, id));
        (!got.is_empty()).then_some(())
    });
    assert_eq!(got.concat().len(), 1 << 20);
    raw.write_all(b"next\n").unwrap();
    write_while(&mut raw, &mut net, &vec![b'x'; (1 << 20) + 2], |_| {});
    assert_eq!(to_the_end(&mut net, id), (vec![b"next".to_vec()], CloseReason::LineTooLong));
}

#[test]
fn whatever_the_bytes_are_they_arrive_exactly() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    raw.write_all(b"a\0b\xff\xfe\rc\r\r\n\r\n\n\xe2\x82\n").unwrap();
    raw.shutdown(Shutdown::Write).unwrap();
    let (lines, why) = to_the_end(&mut net, id);
    assert_eq!(lines, [&b"a\0b\xff\xfe\rc\r"[..], b"", b"", b"\xe2\x82"]);
    assert_eq!(why, CloseReason::Peer);
}

#[test]
fn text_that_is_no_utf8_can_be_shown() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    raw.write_all(b"a\xffz\n").unwrap();
    let line = until(&mut net, |net| con(net, id).replies().next());
    assert_eq!((&*line, line.as_bytes()), ("a\u{fffd}z", &b"a\xffz"[..]));
}

#[test]
fn what_is_not_one_line_is_not_sent() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    for bad in [&b"a\nb"[..], b"a\r\nb", b"\n", b"a\n", b"~hello {}"] {
        assert_eq!(con(&net, id).send_line(bad), Err(SendError::BadLine));
    }
    assert_eq!(net.broadcast("a\nb", None), 0);
    assert_eq!(con(&net, id).queued(), 0);
    for good in [&b"ok"[..], b"a\rb\0\xff", b"", b"~hello {}"] {
        con(&net, id).send_line(good).unwrap();
    }
    net.poll(Some(Duration::ZERO)).unwrap();
    expect(&mut raw, b"ok\r\na\rb\0\xff\r\n\r\n~hello {}\r\n");
}

#[test]
fn the_line_end_can_be_lf() {
    let mut net = config().line_end(LineEnd::Lf).start().unwrap();
    let (mut raw, id) = netcat(&mut net);
    // Its CR would be taken for a part of the line end.
    assert_eq!(con(&net, id).send_line("a\r"), Err(SendError::BadLine));
    con(&net, id).send_line("a").unwrap();
    net.poll(Some(Duration::ZERO)).unwrap();
    con(&net, id).close();
    expect(&mut raw, b"a\n");
    net.poll(Some(Duration::ZERO)).unwrap();
    expect_end(&mut raw);
}

#[test]
fn raw_bytes_are_sent_as_they_are() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    con(&net, id).send(b"\x00half\na").unwrap();
    con(&net, id).send("nd half").unwrap();
    net.poll(Some(Duration::ZERO)).unwrap();
    expect(&mut raw, b"\x00half\nand half");
}

#[test]
fn a_line_that_never_fits_is_too_long_and_one_that_does_not_fit_now_is_not() {
    let mut net = config().max_queued(12).start().unwrap();
    let (mut raw, id) = netcat(&mut net);
    let con = con(&net, id);
    assert_eq!(con.send_line("0123456789+"), Err(SendError::TooLong));
    con.send_line("012345678").unwrap();
    assert_eq!(con.send_line("0"), Err(SendError::Full));
    assert_eq!(con.queued(), 11);
    con.send("!").unwrap();
    net.poll(Some(Duration::ZERO)).unwrap();
    expect(&mut raw, b"012345678\r\n!");
}

#[test]
fn statistics_tell_what_went_through() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    raw.write_all(b"one\r\ntwo\nhal").unwrap();
    assert_eq!(next_lines(&mut net, id, 2), ["one", "two"]);
    con(&net, id).send_line("answer").unwrap();
    assert_eq!(con(&net, id).queued(), 8);
    net.poll(Some(Duration::ZERO)).unwrap();
    expect(&mut raw, b"answer\r\n");
    let received = until(&mut net, |net| {
        let stats = con(net, id).stats().unwrap();
        (stats.bytes_received == 12).then_some(stats)
    });
    assert_eq!((received.lines_received, received.lines_sent, received.bytes_sent), (2, 1, 8));
    assert_eq!(received.via, Via::Accepted);
    assert!(received.age < PATIENCE);
    let view = con(&net, id);
    assert_eq!(view.queued(), 0);
    assert_eq!(view.peer_addr(), raw.local_addr().ok());
    assert_eq!(view.local_addr(), raw.peer_addr().ok());
}

#[test]
fn a_dialled_connection_says_so() {
    let mut net = start();
    let (mut raw, id) = netcat_listening(&mut net);
    let view = con(&net, id);
    assert_eq!(view.stats().unwrap().via, Via::Direct);
    assert_eq!((view.peer_addr(), view.local_addr()), (raw.local_addr().ok(), raw.peer_addr().ok()));
    view.send_line("hello").unwrap();
    net.poll(Some(Duration::ZERO)).unwrap();
    expect(&mut raw, b"hello\r\n");
}

#[test]
fn close_sends_what_is_queued_and_the_id_names_nothing_at_once() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    raw.write_all(b"never read\n").unwrap();
    until(&mut net, |net| (con(net, id).stats()?.bytes_received > 0).then_some(()));
    let mut walked = 0;
    for con in net.connections() {
        con.send_line("goodbye").unwrap();
        con.close();
        assert!(net.con(con.id()).is_none() && net.is_empty());
        assert_eq!(con.send_line("more"), Err(SendError::Closed));
        assert_eq!(con.replies().count(), 0);
        walked += net.connections().count() + 1;
    }
    assert_eq!(walked, 1);
    expect(&mut raw, b"goodbye\r\n");
    expect_end(&mut raw);
    drop(raw);
    assert_eq!(to_the_end(&mut net, id), (vec![], CloseReason::Local));
}

#[test]
fn a_close_that_the_peer_does_not_take_ends_at_its_deadline() {
    let mut net = config().close_deadline(Duration::from_millis(50)).max_queued(32 << 20).start().unwrap();
    let (raw, id) = netcat(&mut net);
    con(&net, id).send(vec![b'x'; 32 << 20]).unwrap(); // more than the buffers of both sockets
    con(&net, id).close();
    assert_eq!(to_the_end(&mut net, id), (vec![], CloseReason::LocalTimeout));
    drop(raw);
}

#[test]
fn who_half_closes_gets_the_answers_to_all_whole_lines() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    raw.write_all(b"one\ntwo\r\nnot whole").unwrap();
    raw.shutdown(Shutdown::Write).unwrap();
    let mut heard = 0;
    let why = until(&mut net, |net| {
        for con in net.connections() {
            for line in con.replies() {
                con.send_line(format!("got {line}")).unwrap();
                heard += 1;
            }
        }
        net.events().find_map(|event| match event {
            Event::Closed { con, why } if con == id => Some(why),
            _ => None,
        })
    });
    assert_eq!((heard, why), (2, CloseReason::Peer));
    expect(&mut raw, b"got one\r\ngot two\r\n");
    expect_end(&mut raw);
}

#[test]
fn lines_before_a_reset_are_delivered() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    let sent = numbered(1000);
    raw.write_all(&joined(&sent)).unwrap();
    reset(raw);
    assert_eq!(to_the_end(&mut net, id), (sent, CloseReason::Reset));
}

#[test]
fn lines_before_a_reset_are_delivered_although_the_reset_shows_in_a_write() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    let sent = numbered(1000);
    raw.write_all(&joined(&sent)).unwrap();
    reset(raw);
    con(&net, id).send_line("into the void").unwrap();
    // Writes before it reads.
    drop(net.connections());
    assert_eq!(to_the_end(&mut net, id), (sent, CloseReason::Reset));
}

#[test]
fn who_came_and_went_between_two_polls_was_heard() {
    let mut net = start();
    for ends_in_reset in [false, true] {
        let mut raw = dial(&net);
        let sent = numbered(10);
        raw.write_all(&joined(&sent)).unwrap();
        if ends_in_reset {
            reset(raw)
        } else {
            drop(raw)
        }
        let mut heard = Vec::new();
        let why = until(&mut net, |net| {
            for con in net.connections() {
                heard.extend(con.replies().map(|line| line.as_bytes().to_vec()));
            }
            net.events().find_map(|event| match event {
                Event::Closed { why, .. } => Some(why),
                _ => None,
            })
        });
        assert_eq!(heard, sent);
        assert_eq!(why, if ends_in_reset { CloseReason::Reset } else { CloseReason::Peer });
    }
}

#[test]
fn who_was_dialled_and_went_between_two_polls_was_heard() {
    let mut net = start();
    let listener = listener();
    net.connect_addr(listener.local_addr().unwrap()).unwrap();
    net.connections(); // its end begins the attempt
    let mut raw = listener.accept().unwrap().0;
    raw.write_all(b"one\ntwo\n").unwrap();
    drop(raw);
    let id = event(&mut net, |event| match event {
        Event::Connected { con, .. } => Some(con),
        _ => None,
    });
    let (lines, why) = to_the_end(&mut net, id);
    assert_eq!((lines, why), (vec![b"one".to_vec(), b"two".to_vec()], CloseReason::Peer));
}

#[test]
fn who_reads_slowly_still_reads_everything_before_the_end() {
    let mut net = config().max_unread(1024).read_per_tick(512).start().unwrap();
    let (mut raw, id) = netcat(&mut net);
    let sent = numbered(500);
    raw.write_all(&joined(&sent)).unwrap();
    drop(raw);
    let mut heard = Vec::new();
    let why = until(&mut net, |net| {
        let closed = net.events().find_map(|event| match event {
            Event::Closed { why, .. } => Some(why),
            _ => None,
        });
        heard.extend(net.con(id).and_then(|con| con.replies().next()).map(|line| line.as_bytes().to_vec()));
        closed
    });
    assert_eq!((heard, why), (sent, CloseReason::Peer));
}

#[test]
fn a_broadcast_reaches_all_but_one() {
    let mut net = start();
    let mut peers: Vec<_> = (0..3).map(|_| netcat(&mut net)).collect();
    let first = peers[0].1;
    assert_eq!(net.broadcast("to two", first), 2);
    assert_eq!(net.broadcast("to two", con(&net, first)), 2);
    let borrowed = &con(&net, first);
    assert_eq!(net.broadcast("to two", borrowed), 2);
    assert_eq!(net.broadcast("to two", net.con(first)), 2);
    assert_eq!(net.broadcast("to all", None), 3);
    net.poll(Some(Duration::ZERO)).unwrap();
    expect(&mut peers[0].0, b"to all\r\n");
    for (raw, _) in &mut peers[1..] {
        expect(raw, "to two\r\n".repeat(4).as_bytes());
        expect(raw, b"to all\r\n");
    }
}

#[test]
fn duplicates_are_dropped_only_where_that_is_asked_for() {
    for suppressed in [false, true] {
        let config = config();
        let config =
            if suppressed { config.suppress_duplicates(Duration::from_secs(600), 10) } else { config };
        let mut net = config.start().unwrap();
        let (mut one, first) = netcat(&mut net);
        let (mut two, second) = netcat(&mut net);
        one.write_all(b"news\nnews\nlast\n").unwrap();
        assert_eq!(next_lines(&mut net, first, if suppressed { 2 } else { 3 }).last().unwrap(), "last");
        net.broadcast("mine", None);
        two.write_all(b"news\nmine\nend\n").unwrap();
        let expected: &[&str] = if suppressed { &["end"] } else { &["news", "mine", "end"] };
        assert_eq!(next_lines(&mut net, second, expected.len()), expected);
    }
}

#[test]
fn without_a_limit_a_line_may_come_in_pieces() {
    let mut net = config().max_line(usize::MAX).start().unwrap();
    let (mut raw, id) = netcat(&mut net);
    let piece = vec![b'x'; 100 << 10]; // more than one read
    write_while(&mut raw, &mut net, &piece, |_| {});
    until(&mut net, |net| (con(net, id).stats()?.bytes_received == 100 << 10).then_some(()));
    assert_eq!(lines(&net, id).len(), 0);
    raw.write_all(b" end\n").unwrap();
    assert_eq!(next_lines(&mut net, id, 1), [String::from_utf8(piece).unwrap() + " end"]);
}
