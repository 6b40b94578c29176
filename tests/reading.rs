//! Reading lines together and sending several at once: whatever is done in between, it is as if it were one by one.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::*;
use p2poll::{CloseReason, Con, ConId, Event, Net, SendError};
use proptest::prelude::*;

fn con(net: &Net, id: ConId) -> Con<'_> {
    net.con(id).expect("it is open")
}

/// A connection on which all these bytes have arrived.
#[track_caller]
fn arrived(net: &mut Net, bytes: &[u8]) -> (std::net::TcpStream, ConId) {
    let (mut raw, id) = netcat(net);
    raw.write_all(bytes).unwrap();
    until(net, |net| (con(net, id).stats()?.bytes_received == bytes.len() as u64).then_some(()));
    (raw, id)
}

fn lines_read(con: Con<'_>) -> u64 {
    con.stats().unwrap().lines_received
}

#[test]
fn counters_are_true_after_each_line() {
    let mut net = start();
    let (_raw, id) = arrived(&mut net, &joined(&numbered(40)));
    let con = con(&net, id);
    for (number, line) in (0..10).zip(con.replies()) {
        assert_eq!((&*line, lines_read(con)), (&*format!("line {number}"), number + 1));
    }
    assert_eq!(con.replies().take(10).count(), 10);
    assert_eq!(lines_read(con), 20);
    let mut number = 20;
    con.for_each_line(|line| {
        assert_eq!(line, &*format!("line {number}"));
        number += 1;
        assert!(number % 2 == 0 || lines_read(con) == number);
    });
    assert_eq!((number, lines_read(con)), (40, 40));
}

/// Ends a connection, or all, while its lines are being read.
type End = fn(&Net, ConId);
const ENDS: [End; 3] = [
    |net, id| net.con(id).into_iter().for_each(Con::close),
    |net, _| net.ban("127.0.0.1".parse().unwrap(), None),
    |net, _| net.stop(),
];

#[test]
fn close_ban_and_stop_show_no_further_line() {
    for end in ENDS {
        let mut net = start();
        let (_raw, id) = arrived(&mut net, &joined(&numbered(40)));
        let mut seen = 0;
        for con in net.connections() {
            let mut another = con.replies();
            assert_eq!(another.next().unwrap(), "line 0");
            for _ in con.replies() {
                seen += 1;
                if seen == 3 {
                    end(&net, id);
                }
            }
            assert!(another.next().is_none() && con.replies().next().is_none());
            con.for_each_line(|_| seen += 100);
        }
        assert_eq!(seen, 3);

        let mut net = start();
        let (_raw, id) = arrived(&mut net, &joined(&numbered(40)));
        let mut seen = 0;
        con(&net, id).for_each_line(|_| {
            seen += 1;
            if seen == 3 {
                end(&net, id);
            }
        });
        assert_eq!(seen, 3);
    }
}

#[test]
fn readers_can_be_left_kept_leaked_and_nested() {
    let mut net = start();
    let (_raw, id) = arrived(&mut net, &joined(&numbered(12)));
    let con = con(&net, id);
    let mut first = con.replies();
    let next = |from: &mut dyn Iterator<Item = p2poll::Line>| from.next().map(|line| line.to_string());
    assert_eq!(next(&mut first).unwrap(), "line 0");
    assert_eq!(next(&mut first).unwrap(), "line 1");
    let mut second = con.replies();
    assert_eq!(next(&mut second).unwrap(), "line 2");
    assert_eq!(next(&mut first).unwrap(), "line 3");
    assert_eq!(next(&mut second).unwrap(), "line 4");
    std::mem::forget(second);
    assert_eq!(next(&mut con.replies()).unwrap(), "line 5");
    assert_eq!(next(&mut first).unwrap(), "line 6");
    for inner in net.connections() {
        assert_eq!(next(&mut inner.replies()).unwrap(), "line 7");
    }
    let mut seen = Vec::new();
    con.for_each_line(|line| {
        seen.push(line.to_string());
        if seen.len() == 1 {
            seen.extend(next(&mut first));
            con.for_each_line(|line| seen.push(line.to_string()));
        }
    });
    assert_eq!(seen, ["line 8", "line 9", "line 10", "line 11"]);
    assert_eq!((next(&mut first), lines_read(con)), (None, 12));
    drop(first);
    net.poll(Some(Duration::ZERO)).unwrap();
}

#[test]
fn readers_of_several_connections_do_not_disturb_each_other() {
    let mut net = start();
    let (_one, first) = arrived(&mut net, &joined(&numbered(20)));
    let (_two, second) = arrived(&mut net, &joined(&numbered(20)));
    let (one, two) = (con(&net, first), con(&net, second));
    let (mut from_one, mut from_two) = (one.replies(), two.replies());
    for number in 0..20 {
        let expected = format!("line {number}");
        assert_eq!(from_one.next().unwrap(), &*expected);
        assert_eq!(from_two.next().unwrap(), &*expected);
    }
    assert_eq!((lines_read(one), lines_read(two)), (20, 20));
}

#[test]
fn a_panic_in_the_middle_leaves_everything_in_order() {
    let mut net = start();
    let (mut raw, id) = arrived(&mut net, &joined(&numbered(6)));
    let mut seen = 0;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        con(&net, id).for_each_line(|_| {
            seen += 1;
            if seen == 3 {
                std::panic::resume_unwind(Box::new("no"));
            }
        });
    }));
    assert!(panicked.is_err());
    assert_eq!((seen, lines_read(con(&net, id))), (3, 3));
    assert_eq!(lines(&net, id), numbered(6)[3..]);
    con(&net, id).send_line("still there").unwrap();
    net.poll(Some(Duration::ZERO)).unwrap();
    expect(&mut raw, b"still there\r\n");
}

#[test]
fn what_is_sent_closed_and_walked_inside_works() {
    let mut net = start();
    let (mut raw, id) = arrived(&mut net, b"one\ntwo\nthree\n");
    let mut heard = Vec::new();
    for con in net.connections() {
        con.for_each_line(|line| {
            heard.push(line.to_line());
            con.send_line(line).unwrap();
            net.broadcast(line, None);
            assert_eq!(net.connections().count(), 1);
            assert!(net.con(id).is_some());
        });
    }
    assert_eq!(heard, ["one", "two", "three"]);
    expect(&mut raw, b"one\r\none\r\ntwo\r\ntwo\r\nthree\r\nthree\r\n");
}

#[test]
fn who_was_held_up_goes_on_when_lines_were_read_together() {
    let mut net = config().max_unread(1024).start().unwrap();
    let (mut raw, id) = netcat(&mut net);
    let sent = numbered(50_000);
    let mut heard = Vec::new();
    let mut turns = 0;
    let mut read = |net: &Net| {
        turns += 1;
        let con = con(net, id);
        if turns % 2 == 0 {
            con.for_each_line(|line| heard.push(line.as_bytes().to_vec()));
        } else {
            heard.extend(con.replies().take(700).map(|line| line.as_bytes().to_vec()));
        }
        heard.len()
    };
    write_while(&mut raw, &mut net, &joined(&sent), |net| {
        read(net);
    });
    until(&mut net, |net| (read(net) == sent.len()).then_some(()));
    assert!(heard == sent);
}

#[test]
fn a_line_over_the_limit_among_others_ends_the_connection_behind_them() {
    for lent in [false, true] {
        let mut net = config().max_line(16).start().unwrap();
        let (_raw, id) = arrived(&mut net, b"one\ntwo\n0123456789abcdef\n0123456789abcdef+\nnever\n");
        let mut heard = Vec::new();
        if lent {
            con(&net, id).for_each_line(|line| heard.push(line.to_line()));
        } else {
            heard.extend(con(&net, id).replies());
        }
        assert_eq!(heard, ["one", "two", "0123456789abcdef"]);
        assert_eq!(to_the_end(&mut net, id), (vec![], CloseReason::LineTooLong));
    }
}

#[test]
fn duplicates_are_dropped_from_lines_that_are_lent_too() {
    let mut net = config().suppress_duplicates(Duration::from_secs(600), 10).start().unwrap();
    let (_raw, id) = arrived(&mut net, b"news\nnews\ra\r\r\nnews\nlast\n");
    let mut heard = Vec::new();
    con(&net, id).for_each_line(|line| heard.push(line.as_bytes().to_vec()));
    assert_eq!(heard, [&b"news"[..], b"news\ra\r", b"last"]);
}

#[test]
fn lines_of_any_length_can_be_kept_and_detached() {
    let mut net = start();
    let lens = [0, 1, 79, 80, 81, 200, 5000, 70_000];
    let sent: Vec<Vec<u8>> =
        lens.iter().map(|&len| (0..len).map(|n| b'a' + (n % 26) as u8).collect()).collect();
    let mut text = joined(&sent).repeat(2);
    text.extend_from_slice(b"end\n");
    let (_raw, id) = arrived(&mut net, &text);
    let mut kept: Vec<_> = con(&net, id).replies().take(lens.len()).collect();
    con(&net, id).for_each_line(|line| kept.push(line.to_line()));
    net.poll(Some(Duration::ZERO)).unwrap();
    let expected: Vec<_> = sent.iter().chain(&sent).cloned().chain([b"end".to_vec()]).collect();
    for line in kept.iter().zip(&expected) {
        assert_eq!(line.0.as_bytes(), line.1);
        assert_eq!(line.0.clone().detach().as_bytes(), line.1);
    }
    assert_eq!(kept.len(), expected.len());
}

/// Two nodes and a node link between them: what each calls it.
fn linked() -> (Net, ConId, Net, ConId) {
    let (mut one, mut two) = (config().direct().start().unwrap(), config().direct().start().unwrap());
    one.connect(two.unl().unwrap()).unwrap();
    let mut ids = [None, None];
    let begin = now();
    while ids.iter().any(Option::is_none) {
        assert!(begin.elapsed() < PATIENCE, "they do not come together");
        for (net, id) in [&mut one, &mut two].into_iter().zip(&mut ids) {
            net.poll(Some(TURN)).unwrap();
            *id = id.or(net.connections().find(|con| con.node_id().is_some()).map(Con::id));
        }
    }
    (one, ids[0].unwrap(), two, ids[1].unwrap())
}

#[test]
fn a_node_link_grants_credit_for_lines_that_were_read_together() {
    let (mut from, sending, mut to, reading) = linked();
    // Hellos are lines, too.
    let (said, told) = (con(&from, sending).stats().unwrap(), con(&to, reading).stats().unwrap());
    // Several times what may be under way.
    let line = "~".to_owned() + &"x".repeat(9_999);
    let lines = [line.as_str(), "~~two", ""];
    let (mut sent, mut heard) = (0, 0);
    let begin = now();
    while heard < 3 * 1000 {
        assert!(begin.elapsed() < PATIENCE, "{heard} of {sent}");
        if sent < 3 * 1000 && con(&from, sending).send_lines(&lines).is_ok() {
            sent += 3;
        }
        from.poll(Some(Duration::ZERO)).unwrap();
        to.poll(Some(Duration::ZERO)).unwrap();
        if heard % 2 == 0 {
            con(&to, reading).for_each_line(|line| {
                assert_eq!(line, lines[heard % 3]);
                heard += 1;
            });
        } else {
            for line in con(&to, reading).replies().take(7) {
                assert_eq!(line, lines[heard % 3]);
                heard += 1;
            }
        }
    }
    let (from, to) = (con(&from, sending).stats().unwrap(), con(&to, reading).stats().unwrap());
    let counted = (from.lines_sent - said.lines_sent, to.lines_received - told.lines_received);
    assert_eq!(counted, (3000, 3000));
}

#[test]
fn several_lines_are_sent_all_or_none() {
    let mut net = config().max_queued(24).start().unwrap();
    let (mut raw, id) = netcat(&mut net);
    let con = con(&net, id);
    assert_eq!(
        con.send_lines(&["~hello {}", "x"]),
        Err(SendError::BadLine),
        "it would look like a node link"
    );
    assert_eq!(con.send_lines(&["one", "t\nwo"]), Err(SendError::BadLine));
    assert_eq!(con.send_lines(&["0123456789"; 3]), Err(SendError::TooLong));
    con.send_lines(&[""; 0]).unwrap();
    assert_eq!((con.queued(), con.stats().unwrap().lines_sent), (0, 0));
    con.send_lines(&["one".to_owned(), "two".to_owned()]).unwrap();
    assert_eq!(con.send_lines(&["012345", "012345"]), Err(SendError::Full));
    con.send_lines(&[&b"\xff\0"[..], b""]).unwrap();
    assert_eq!((con.queued(), con.stats().unwrap().lines_sent), (16, 4));
    net.poll(Some(Duration::ZERO)).unwrap();
    expect(&mut raw, b"one\r\ntwo\r\n\xff\0\r\n\r\n");
    // More at once than are looked at on the stack.
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    let many = numbered(1000);
    net.con(id).unwrap().send_lines(&many).unwrap();
    net.con(id).unwrap().close();
    assert_eq!(net.con(id).map(|con| con.send_lines(&many)), None);
    net.poll(Some(Duration::ZERO)).unwrap();
    expect(&mut raw, &many.iter().flat_map(|line| [line, &b"\r\n"[..]].concat()).collect::<Vec<_>>());
}

#[test]
fn several_lines_over_a_node_link_are_sent_all_or_none() {
    let (mut from, sending, mut to, reading) = linked();
    let out = con(&from, sending);
    let before = out.stats().unwrap().lines_sent;
    let (long, longer) = ("y".repeat(20_000), "z".repeat(2 << 20));
    assert_eq!(out.send_lines(&["fine", &longer]), Err(SendError::TooLong));
    assert_eq!(out.send_lines(&["fine", "not\nfine"]), Err(SendError::BadLine));
    assert_eq!((out.queued(), out.stats().unwrap().lines_sent), (0, before));
    out.send_lines(&["~one", &long, "~~three"]).unwrap();
    let mut heard = Vec::new();
    until(&mut to, |to| {
        from.poll(Some(Duration::ZERO)).unwrap();
        con(to, reading).for_each_line(|line| heard.push(line.to_str().into_owned()));
        (heard.len() == 3).then_some(())
    });
    assert_eq!(heard, ["~one", &long, "~~three"]);
}

/// A line that uses the `Net` when it is asked for its bytes.
struct Busy<'a>(&'a Net);

impl AsRef<[u8]> for Busy<'_> {
    fn as_ref(&self) -> &[u8] {
        for con in self.0.connections() {
            con.replies().for_each(drop);
        }
        b"busy"
    }
}

#[test]
fn lines_that_use_the_net_can_be_sent() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    con(&net, id).send_lines(&[Busy(&net), Busy(&net)]).unwrap();
    net.poll(Some(Duration::ZERO)).unwrap();
    expect(&mut raw, b"busy\r\nbusy\r\n");
}

#[test]
fn an_event_for_who_closed_comes_as_ever() {
    let mut net = start();
    let (raw, id) = arrived(&mut net, b"one\ntwo\n");
    con(&net, id).for_each_line(|_| con(&net, id).close());
    drop(raw);
    let why = event(&mut net, |event| match event {
        Event::Closed { con, why } if con == id => Some(why),
        _ => None,
    });
    assert_eq!(why, CloseReason::Local);
}

/// One thing that a program does.
#[derive(Clone, Debug)]
enum Step {
    /// Takes so many lines from a new reader.
    Take(usize),
    /// From one that is kept.
    Go(usize),
    /// Looks at the rest of the lines, and takes some in between.
    Lend(usize),
    Stats,
    Send,
    Poll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0usize..6).prop_map(Step::Take),
        (0usize..6).prop_map(Step::Go),
        (0usize..3).prop_map(Step::Lend),
        Just(Step::Stats),
        Just(Step::Send),
        Just(Step::Poll),
    ];
    prop::collection::vec(step, 1..20)
}

/// What the program sees.
fn play(net: &mut Net, id: ConId, steps: &[Step]) -> Vec<String> {
    let mut seen = Vec::new();
    for steps in steps.split_inclusive(|step| matches!(step, Step::Poll)) {
        let con = con(net, id);
        let mut kept = con.replies();
        let lines = |from: &mut dyn Iterator<Item = p2poll::Line>| {
            from.map(|line| line.to_string()).collect::<Vec<_>>()
        };
        for step in steps {
            match step {
                Step::Take(most) => seen.extend(lines(&mut con.replies().take(*most))),
                Step::Go(most) => seen.extend(lines(&mut kept.by_ref().take(*most))),
                Step::Lend(every) => con.for_each_line(|line| {
                    seen.push(line.to_string());
                    if *every > 0 && seen.len() % (every + 1) == 0 {
                        seen.extend(lines(&mut kept.by_ref().take(*every)));
                    }
                }),
                Step::Stats => seen.push(format!("{} read", lines_read(con))),
                Step::Send => con.send_line("x").unwrap(),
                Step::Poll => {}
            }
        }
        net.poll(Some(Duration::ZERO)).unwrap();
    }
    seen.push(format!("{} read", lines_read(con(net, id))));
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Where duplicates are dropped, lines are asked for one by one; these are all different.
    #[test]
    fn together_or_one_by_one_a_program_sees_the_same(count in 0usize..40, pad in 0usize..90, steps in steps()) {
        let text: Vec<u8> = (0..count).flat_map(|n| format!("{n} {}\r\n", "z".repeat(pad)).into_bytes()).collect();
        let mut together = start();
        let mut one_by_one = config().suppress_duplicates(Duration::from_secs(600), 1000).start().unwrap();
        let (_raw, id) = arrived(&mut together, &text);
        let seen = play(&mut together, id, &steps);
        let (_raw, id) = arrived(&mut one_by_one, &text);
        prop_assert_eq!(seen, play(&mut one_by_one, id, &steps));
    }
}
