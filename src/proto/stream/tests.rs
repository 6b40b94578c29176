//! Streams of lines, with time written in the tests.

mod framed;

use super::*;

struct Rig {
    stream: LineStream,
    chunks: Chunks,
    spare: SpareBuffers,
    limits: StreamLimits,
}

impl Rig {
    fn new() -> Self {
        let limits = StreamLimits { max_queued: 100, max_unread: 50, max_line: 40, ..Default::default() };
        Self {
            stream: LineStream::new(at(0)),
            chunks: Chunks::default(),
            spare: SpareBuffers::default(),
            limits,
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let space = self.stream.space(&self.limits, &mut self.chunks).expect("it wants to read");
        space[..bytes.len()].copy_from_slice(bytes);
        self.stream.handle_received(&mut self.chunks, bytes.len(), &self.limits);
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let span = self.stream.next_line(&self.limits)?;
        self.stream.found(span).map(|found| found.as_bytes().to_vec())
    }

    fn send(&mut self, line: &str) -> Result<(), SendError> {
        self.stream.queue_line(line.as_bytes(), &self.limits, &mut self.spare)
    }

    fn step(&mut self, seconds: u64) -> Option<Step> {
        self.stream.poll_step(&self.limits, seconds, at(seconds))
    }
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

#[test]
fn lines_go_both_ways() {
    let mut rig = Rig::new();
    rig.receive(b"hello\r\nwor");
    rig.receive(b"ld\n");
    assert_eq!(rig.line().expect("first"), b"hello");
    assert_eq!(rig.line().expect("second"), b"world");
    assert_eq!(rig.line(), None);
    rig.send("hi").expect("there is room");
    assert_eq!(rig.stream.unsent(), b"hi\r\n");
}

#[test]
fn nothing_of_a_refused_line_is_sent() {
    let mut rig = Rig::new();
    assert_eq!(rig.send("a\nb"), Err(SendError::BadLine));
    assert_eq!(rig.send("~hello {}"), Err(SendError::BadLine));
    assert_eq!(rig.send(&"x".repeat(99)), Err(SendError::TooLong));
    rig.send(&"x".repeat(90)).expect("there is room");
    assert_eq!(rig.send("0123456789"), Err(SendError::Full));
    assert_eq!(rig.stream.queued(), 92);
    rig.send("~hello!").expect_err("full comes first or not, nothing is sent");
    rig.stream.handle_sent(92, &mut rig.spare);
    rig.send("~hello {}").expect("only the first line must not look like a hello");
}

#[test]
fn a_stream_that_is_not_read_by_the_application_is_not_read_from_the_network() {
    let mut rig = Rig::new();
    rig.receive(&b"0123456789\n".repeat(5));
    assert!(rig.stream.space(&rig.limits, &mut rig.chunks).is_none());
    rig.line();
    assert!(rig.stream.space(&rig.limits, &mut rig.chunks).is_some());
}

#[test]
fn lines_are_read_before_the_peers_end_closes() {
    let mut rig = Rig::new();
    rig.receive(b"last words\npartial");
    rig.stream.handle_end(End::Finished, 1, at(1));
    assert_eq!(rig.step(1), None);
    rig.send("an answer to a half-closed peer").expect("it may still receive");
    assert_eq!(rig.line().expect("it arrived whole"), b"last words");
    assert_eq!(rig.step(2), None, "the answer is still queued");
    rig.stream.handle_sent(33, &mut rig.spare);
    assert_eq!(rig.step(2), Some(Step::Drop(CloseReason::Peer)));
}

#[test]
fn lines_are_read_before_a_reset_closes() {
    let mut rig = Rig::new();
    rig.receive(b"last words\n");
    rig.send("lost").expect("open");
    rig.stream.handle_end(End::Broken(io::ErrorKind::ConnectionReset), 1, at(1));
    assert_eq!(rig.step(1), None);
    assert_eq!(rig.send("no"), Err(SendError::Closed));
    assert_eq!(rig.stream.unsent(), b"");
    rig.line();
    assert_eq!(rig.step(1), Some(Step::Drop(CloseReason::Reset)));
}

#[test]
fn an_application_that_never_reads_does_not_keep_ended_streams() {
    let mut rig = Rig::new();
    rig.receive(b"unheard\n");
    rig.stream.handle_end(End::Broken(io::ErrorKind::TimedOut), 1, at(1));
    assert_eq!(rig.step(60), None);
    assert_eq!(rig.stream.poll_timeout(), Some(at(61)));
    assert_eq!(rig.stream.poll_step(&rig.limits, 1, at(61)), None, "it had no turn to read yet");
    assert_eq!(rig.step(120), None);
    assert_eq!(rig.step(121), Some(Step::Drop(CloseReason::Vanished)));
}

#[test]
fn a_peer_that_left_behind_more_than_is_read_is_not_kept_for_ever() {
    let mut rig = Rig::new();
    rig.receive(&b"0123456789\n".repeat(5));
    assert!(rig.stream.space(&rig.limits, &mut rig.chunks).is_none(), "its end can not be read");
    rig.stream.handle_hangup(1, at(1));
    assert_eq!(rig.step(60), None);
    rig.line();
    assert_eq!(rig.step(61), None, "who reads, however slowly, loses nothing");
    assert_eq!(rig.step(121), Some(Step::Drop(CloseReason::Peer)));
}

#[test]
fn closing_sends_what_is_queued_and_awaits_the_peer_for_a_moment() {
    let mut rig = Rig::new();
    rig.receive(b"ignored\n");
    rig.send("bye").expect("open");
    rig.stream.close(CloseReason::Local, &rig.limits, at(10));
    assert_eq!(rig.line(), None);
    assert_eq!(rig.send("more"), Err(SendError::Closed));
    assert_eq!(rig.step(10), None);
    rig.stream.handle_sent(5, &mut rig.spare);
    assert_eq!(rig.step(11), Some(Step::ShutdownWrite));
    assert_eq!(rig.step(11), None);
    rig.receive(b"what the peer still says is dropped\n");
    assert_eq!(rig.stream.unread(), 0);
    assert_eq!(rig.step(12), Some(Step::Drop(CloseReason::Local)));
}

#[test]
fn closing_does_not_wait_for_a_peer_that_does_not_read() {
    let mut rig = Rig::new();
    rig.send("never taken").expect("open");
    rig.stream.close(CloseReason::Local, &rig.limits, at(10));
    assert_eq!(rig.step(14), None);
    assert_eq!(rig.stream.poll_timeout(), Some(at(15)));
    assert_eq!(rig.step(15), Some(Step::Drop(CloseReason::LocalTimeout)));
}

#[test]
fn a_line_over_the_limit_closes_after_the_lines_before_it() {
    let mut rig = Rig::new();
    rig.receive(b"fine\n");
    rig.receive(&[b'x'; 45]);
    assert_eq!(rig.step(1), None);
    assert_eq!(rig.line().expect("it came before"), b"fine");
    assert_eq!(rig.step(1), Some(Step::ShutdownWrite));
    assert_eq!(rig.step(2), Some(Step::Drop(CloseReason::LineTooLong)));
}

#[test]
fn a_peer_that_answers_our_close_is_dropped_at_once() {
    let mut rig = Rig::new();
    rig.stream.close(CloseReason::Local, &rig.limits, at(1));
    assert_eq!(rig.step(1), Some(Step::ShutdownWrite));
    rig.stream.handle_end(End::Finished, 1, at(1));
    assert_eq!(rig.step(1), Some(Step::Drop(CloseReason::Local)));
}

#[test]
fn what_nobody_reads_is_forgotten_once_that_is_certain() {
    let mut rig = Rig::new();
    rig.send("still to go out").expect("it fits");
    rig.receive(b"unread\n");
    rig.stream.handle_end(End::Finished, 0, at(0));
    assert_eq!(rig.stream.poll_step(&rig.limits, 1, at(61)), None);
    assert!(!rig.stream.is_ours(), "it is closing");
    assert_eq!(rig.stream.unread(), 0, "nobody can read it any more");
}

#[test]
fn a_line_too_long_on_a_held_link_ends_it_when_it_is_held_no_more() {
    let mut rig = Rig::new();
    rig.receive(&[b'x'; 45]);
    rig.stream.hold(true);
    assert_eq!(rig.stream.poll_step(&rig.limits, 0, at(0)), None);
    assert!(rig.stream.is_ours());
    rig.stream.hold(false);
    rig.stream.poll_step(&rig.limits, 0, at(0));
    assert!(!rig.stream.is_ours());
}
