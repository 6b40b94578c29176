//! Streams of node links: protocol lines between the application's, credit, and changing to another stream.

use proptest::prelude::*;

use super::*;
use crate::proto::stream::framing::{PIECE, length_in_pieces};

const LIMITS: StreamLimits = StreamLimits { max_queued: 1 << 20, max_line: 100_000, ..StreamLimits::DEFAULT };

/// One end of a link.
struct End {
    stream: LineStream,
    chunks: Chunks,
    spare: SpareBuffers,
}

impl End {
    /// Takes so much, and may send so much.
    fn new(takes: u64, may_send: u64) -> Self {
        let mut stream = LineStream::new(at(0));
        stream.frame_sending(takes, may_send);
        stream.frame_receiving(&LIMITS);
        Self { stream, chunks: Chunks::default(), spare: SpareBuffers::default() }
    }

    fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.stream.space(&LIMITS, &mut self.chunks).expect("a node link is always read");
            let len = space.len().min(bytes.len());
            space[..len].copy_from_slice(&bytes[..len]);
            self.stream.handle_received(&mut self.chunks, len, &LIMITS);
            bytes = &bytes[len..];
        }
        self.stream.work_on_credit(&mut self.spare);
    }

    fn send(&mut self, line: impl AsRef<[u8]>) {
        self.stream.queue_line(line.as_ref(), &LIMITS, &mut self.spare).expect("there is room");
    }

    fn ask(&mut self, line: &str) {
        self.stream.queue_protocol(line.as_bytes(), &LIMITS, &mut self.spare).expect("there is room");
    }

    /// Up to so many bytes of what goes out.
    fn take(&mut self, most: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while taken.len() < most && !self.stream.unsent().is_empty() {
            let len = self.stream.unsent().len().min(most - taken.len());
            taken.extend_from_slice(&self.stream.unsent()[..len]);
            self.stream.handle_sent(len, &mut self.spare);
        }
        taken
    }

    fn take_text(&mut self) -> String {
        String::from_utf8(self.take(usize::MAX)).expect("text")
    }

    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(span) = self.stream.next_line(&LIMITS) {
            let line = self.stream.found(span).expect("it is there").as_bytes().to_vec();
            lines.push(String::from_utf8(line).expect("text"));
        }
        self.stream.work_on_credit(&mut self.spare);
        lines
    }

    fn protocol(&mut self) -> Vec<String> {
        let lines = std::iter::from_fn(|| self.stream.next_protocol());
        lines.map(|line| String::from_utf8(line.to_vec()).expect("text")).collect()
    }

    fn fault(&mut self) -> Option<CloseReason> {
        self.stream.poll_step(&LIMITS, 0, at(0));
        match self.stream.phase {
            Phase::Closing { why, .. } | Phase::Lingering { why, .. } => Some(why),
            _ => None,
        }
    }
}

#[test]
fn protocol_lines_are_taken_off_whatever_is_unread_before_them() {
    let mut end = End::new(1000, 1000);
    end.receive(b"one\r\n~ping 1\r\n~~two\r\n~");
    end.receive(b"moved\nthree\n~ping 2\r\n~~\r\n");
    assert_eq!(end.protocol(), ["~ping 1", "~moved", "~ping 2"]);
    assert_eq!(end.lines(), ["one", "~two", "three", "~"]);
}

#[test]
fn what_came_behind_the_handshake_is_the_links() {
    let mut end = End::new(1000, 1000);
    end.stream = LineStream::new(at(0));
    end.receive(b"~ping 1\r\n~~x\r\n");
    end.stream.frame_sending(1000, 1000);
    end.stream.frame_receiving(&LIMITS);
    assert_eq!((end.protocol(), end.lines()), (vec!["~ping 1".into()], vec!["~x".into()]));
}

#[test]
fn protocol_lines_go_out_before_lines_that_are_not_begun_and_after_one_that_is() {
    let mut end = End::new(1000, 1000);
    end.send("first");
    end.send("second");
    assert_eq!(end.take(3), b"fir");
    end.ask("~ping 1\r\n");
    end.ask("~ping 2\r\n");
    assert_eq!(end.take(6), b"st\r\n~p");
    end.send("~third");
    assert_eq!(end.take_text(), "ing 1\r\n~ping 2\r\nsecond\r\n~~third\r\n");
}

#[test]
fn a_long_line_goes_in_pieces_between_which_protocol_lines_pass() {
    let (mut from, mut to) = (End::new(1000, 200_000), End::new(200_000, 1000));
    let long = "x".repeat(2 * PIECE + 10);
    from.send(&long);
    let first = from.take(100);
    from.ask("~ping 1\r\n");
    let rest = from.take(usize::MAX);
    let ping = memchr::memmem::find(&rest, b"~ping 1\r\n").expect("it is among them");
    assert!(ping < PIECE + 100 && rest[ping + 9..].starts_with(b"~part "));
    to.receive(&[&first[..], &rest].concat());
    assert_eq!(to.protocol(), ["~ping 1"]);
    assert_eq!(to.lines(), [long]);
}

#[test]
fn a_long_line_that_begins_like_the_protocols_or_ends_oddly_arrives_as_it_is() {
    for ends in [["~", "\r"], ["~~", "~"], ["~part ", "\r\r"], ["", ""]] {
        let (mut from, mut to) = (End::new(1000, 200_000), End::new(200_000, 1000));
        let long = [ends[0], &"y".repeat(PIECE + 1), ends[1]].concat();
        from.send(&long);
        let bytes = from.take(usize::MAX);
        assert_eq!(bytes.len(), length_in_pieces(long.len()));
        to.receive(&bytes);
        assert_eq!(to.lines(), [long]);
    }
}

#[test]
fn lines_wait_for_credit_and_a_program_that_reads_gives_it() {
    let (mut from, mut to) = (End::new(100, 20), End::new(20, 100));
    for line in ["1234567", "abcdefg", "ABC"] {
        from.send(line);
    }
    assert_eq!(from.take_text(), "~want\r\n1234567\r\nabcdefg\r\n", "the third is not begun");
    to.receive(b"1234567\r\nabcdefg\r\n~want\r\n");
    assert_eq!(to.take_text(), "", "nothing was read");
    assert_eq!(to.lines().len(), 2);
    assert_eq!(to.take_text(), "~more 38\r\n");
    from.receive(b"~more 38\r\n");
    assert_eq!(from.take_text(), "ABC\r\n");
}

#[test]
fn a_line_longer_than_the_peer_ever_takes_is_refused() {
    let mut end = End::new(100, 20_000);
    let limits = StreamLimits { max_queued: 1 << 20, ..LIMITS };
    let mut queue = |len| end.stream.queue_line(&vec![b'x'; len], &limits, &mut end.spare);
    assert_eq!(queue(20_000), Err(SendError::TooLong));
    assert_eq!(queue(19_980), Ok(()));
}

#[test]
fn who_sends_more_than_was_granted_or_asks_and_does_not_read_is_closed_with_a_reason() {
    let mut end = End::new(100, 100);
    end.receive(&b"0123456789\r\n".repeat(40));
    assert_eq!(end.fault(), Some(CloseReason::CreditExceeded));
    assert!(end.stream.unread() <= 400);

    let mut end = End::new(100, 100);
    let line = format!("~pong {}\r\n", "x".repeat(1000));
    let limits = LIMITS;
    let answers =
        (0..).take_while(|_| end.stream.queue_protocol(line.as_bytes(), &limits, &mut end.spare).is_ok());
    assert!(answers.count() < 300, "what is queued for it is bounded");
}

#[test]
fn pieces_that_do_not_fit_together_or_never_end_end_the_link() {
    let mut end = End::new(1 << 20, 100);
    end.receive(b"~part one\r\nin between\r\n");
    assert_eq!(end.fault(), Some(CloseReason::Protocol));

    let mut end = End::new(1 << 30, 100);
    let piece = format!("~part {}\r\n", "x".repeat(PIECE));
    for _ in 0..20 {
        end.receive(piece.as_bytes());
        if end.fault().is_some() {
            break;
        }
    }
    assert_eq!(end.fault(), Some(CloseReason::LineTooLong));

    let mut end = End::new(1 << 30, 100);
    end.receive(&vec![b'~'; 70_000]);
    assert_eq!(end.fault(), Some(CloseReason::LineTooLong), "a line without end on the wire");
}

#[test]
fn a_relays_last_word_is_heard_behind_whatever_it_cut_and_told_when_all_before_it_was_read() {
    for cut in ["", "~part yyyy", "yyyy", "~pin"] {
        for is_relayed in [true, false] {
            let mut end = End::new(1000, 1000);
            if is_relayed {
                end.stream.expect_relay_end();
            }
            end.receive(b"one\r\ntwo\r\n");
            end.receive(cut.as_bytes());
            end.receive(&crate::wire::relay::closing_line(RelayEnd::Time));
            end.stream.handle_end(super::End::Finished, 0, at(0));
            assert_eq!(end.stream.poll_step(&LIMITS, 0, at(0)), None, "lines wait to be read");
            let lines = end.lines();
            assert_eq!(lines[..2], ["one", "two"]);
            end.stream.poll_step(&LIMITS, 0, at(0));
            let why = if is_relayed { CloseReason::RelayTime } else { CloseReason::Peer };
            assert!(matches!(end.stream.phase, Phase::Lingering { why: told, .. } if told == why), "{cut:?}");
            assert_eq!(lines.len() > 2, !is_relayed && !cut.starts_with('~'), "{cut:?}");
        }
    }
}

#[test]
fn a_link_that_goes_on_elsewhere_loses_and_reorders_nothing_even_if_nobody_reads() {
    // `near` changes from `old` to `new`, with a line that waits for credit; `far` reads nothing meanwhile.
    let (mut old, mut new) = (End::new(100, 20), End::new(100, 20));
    let (mut far_old, mut far_new) = (End::new(20, 100), End::new(20, 100));
    for line in ["one", "two", "three", "four", "five"] {
        old.send(line);
    }
    let begun = old.take(8);
    old.stream.hand_over_sending(&mut new.stream, b"~moved\r\n", &mut old.spare);
    let rest = old.take(usize::MAX);
    assert!(rest.ends_with(b"~moved\r\n"));
    new.send("six");
    far_old.receive(&[&begun[..], &rest].concat());
    assert_eq!(far_old.protocol(), ["~moved"]);
    // What the new way has brought already comes later.
    far_new.receive(b"");
    far_old.stream.hand_over_receiving(&mut far_new.stream);
    let mut heard = Vec::new();
    for _ in 0..10 {
        let bytes = new.take(usize::MAX);
        far_new.receive(&bytes);
        heard.extend(far_new.lines());
        let answer = far_new.take(usize::MAX);
        new.receive(&answer);
    }
    assert_eq!(heard, ["one", "two", "three", "four", "five", "six"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is said, however it is cut, and however slowly it is read: it arrives, in order, and so do protocol lines.
    #[test]
    fn everything_arrives_in_order(
        lines in prop::collection::vec((0usize..40_000, 0usize..4), 1..12),
        cuts in prop::collection::vec(1usize..30_000, 1..12),
        pings in 0usize..20,
    ) {
        let window = 60_000;
        let (mut from, mut to) = (End::new(100, window), End::new(window, 100));
        let said: Vec<String> = lines.iter().map(|&(len, marks)| "~".repeat(marks) + &"z".repeat(len)).collect();
        for line in &said {
            from.send(line);
        }
        let (mut heard, mut pinged) = (Vec::new(), 0);
        for (round, cut) in cuts.iter().cycle().take(2000).enumerate() {
            if round % 3 == 0 && round / 3 < pings {
                from.ask(&format!("~ping {}\r\n", round / 3));
            }
            let bytes = from.take(*cut);
            to.receive(&bytes);
            pinged += to.protocol().len();
            if round % 5 == 0 {
                heard.extend(to.lines());
            }
            let answers = to.take(usize::MAX);
            from.receive(&answers);
        }
        heard.extend(to.lines());
        prop_assert_eq!(to.fault(), None);
        prop_assert_eq!(heard, said);
        prop_assert_eq!(pinged, pings);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Sent together, lines go out as they do one by one, whatever credit there is, and so do those that are refused.
    #[test]
    fn lines_sent_together_go_out_as_one_by_one(
        batches in prop::collection::vec(prop::collection::vec(("~{0,2}", 0usize..40, 0usize..40), 0..8), 1..8),
        window in 1u64..60_000,
        grants in prop::collection::vec(0u64..60_000, 1..8),
    ) {
        let (mut one, mut other) = (End::new(100, window), End::new(100, window));
        for (batch, grant) in batches.iter().zip(grants.iter().cycle()) {
            let size = |step: usize| if step == 0 { PIECE + 1 } else { step };
            let lines: Vec<String> =
                batch.iter().map(|(marks, len, _)| marks.clone() + &"z".repeat(size(*len))).collect();
            let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            let together = other.stream.queue_lines(&lines, &LIMITS, &mut other.spare);
            if together.is_ok() {
                lines.iter().for_each(|line| one.send(line));
            } else {
                prop_assert_eq!(together, Err(SendError::TooLong));
                prop_assert!(lines.iter().any(|line| line.len() > PIECE || line.len() + 3 > window as usize));
            }
            prop_assert_eq!(one.stream.counters(), other.stream.counters());
            prop_assert_eq!(one.take(usize::MAX), other.take(usize::MAX));
            let more = format!("~more {}\r\n", window + grant);
            one.receive(more.as_bytes());
            other.receive(more.as_bytes());
        }
        prop_assert_eq!(one.take(usize::MAX), other.take(usize::MAX));
        prop_assert_eq!(one.stream.queued(), other.stream.queued());
    }
}
