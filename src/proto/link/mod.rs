//! One stream of lines: what arrived, what is queued, and how it ends.
//!
//! A link ends in order whoever ends it: whole lines that arrived are read by the application first, and what is
//! queued still goes out, bounded by a deadline.

pub(crate) mod chunks;
mod inbox;
mod outbox;

use std::io;
use std::time::Duration;

use crate::config::{LineEnd, StreamLimits};
use crate::error::{CloseReason, SendError};
use crate::time::Instant;
use crate::wire::escape;
use crate::wire::line::{Found, Span, is_one_line};
use chunks::Chunks;
use inbox::Inbox;
use outbox::Outbox;
pub(crate) use outbox::SpareBuffers;

/// How long after our last byte the peer may take to close its side, so that its unread data does not turn our close
/// into a reset that could destroy what it has not read yet (RFC 2525 section 2.17).
const LINGER: Duration = Duration::from_secs(1);

/// How long whole lines wait for an application that does not read, once their stream has ended.
const UNREAD_LINGER: Duration = Duration::from_secs(60);

/// The first line of a plain stream must not look like the beginning of a node link.
const HELLO: &[u8] = b"~hello ";

/// How the peer's side of a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It finished sending; it may still receive.
    Finished,
    /// The stream is broken both ways.
    Broken(io::ErrorKind),
}

/// What is to be done with the socket now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Finish sending.
    ShutdownWrite,
    /// Close it; the link is over.
    Drop(CloseReason),
}

/// Bytes and lines that went through a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) lines_received: u64,
    pub(crate) lines_sent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The peer is done; what it sent is still being read by the application. `broken`: nothing can be sent either.
    Ended {
        why: CloseReason,
        broken: bool,
    },
    /// This side is done; what is queued is still going out.
    Closing {
        why: CloseReason,
        deadline: Instant,
    },
    /// All is sent and the peer was told; its side is awaited for a moment.
    Lingering {
        why: CloseReason,
        deadline: Instant,
    },
}

/// What an application that does not read is given: time, a walk over its connections, and more of both whenever it has
/// read a line meanwhile.
#[derive(Clone, Copy, Debug)]
struct Patience {
    until: Instant,
    /// How many walks had been finished when it began.
    walk: u64,
    /// How many lines had been read.
    lines: u64,
}

#[derive(Debug)]
pub(crate) struct Link {
    inbox: Inbox,
    outbox: Outbox,
    phase: Phase,
    /// It is a node link: what begins with `~` is protocol, and the application's lines that do so are escaped.
    framed: bool,
    /// What arrives is left alone for now: neither received nor shown.
    held: bool,
    /// The peer finished sending.
    finished: bool,
    /// The peer may need all the time there is to come to the end of this.
    is_late: bool,
    /// It does not end before another one has.
    awaits: bool,
    /// How long whole lines still wait for the application, once it is known that the peer is done.
    patience: Option<Patience>,
    counters: Counters,
    opened: Instant,
}

impl Link {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            phase: Phase::Open,
            framed: false,
            held: false,
            finished: false,
            is_late: false,
            awaits: false,
            patience: None,
            counters: Counters::default(),
            opened: now,
        }
    }

    /// Queues one line, its end added.
    #[inline]
    pub(crate) fn queue_line(
        &mut self,
        line: &[u8],
        limits: &StreamLimits,
        spare: &mut SpareBuffers,
    ) -> Result<(), SendError> {
        if !is_one_line(line, limits.line_end) {
            return Err(SendError::BadLine);
        }
        if line.first() == HELLO.first() {
            return self.queue_marked(line, limits, spare);
        }
        self.queue_checked(line, limits, spare)
    }

    /// One line that begins like the protocol's.
    #[cold]
    fn queue_marked(
        &mut self,
        line: &[u8],
        limits: &StreamLimits,
        spare: &mut SpareBuffers,
    ) -> Result<(), SendError> {
        if self.framed {
            return self.queue_checked(&escape::escape(line), limits, spare);
        }
        if self.is_false_hello(line) {
            return Err(SendError::BadLine);
        }
        self.queue_checked(line, limits, spare)
    }

    #[inline(always)]
    fn queue_checked(
        &mut self,
        line: &[u8],
        limits: &StreamLimits,
        spare: &mut SpareBuffers,
    ) -> Result<(), SendError> {
        self.check_room(line.len() + limits.line_end.as_bytes().len(), limits)?;
        let tail = self.outbox.tail(spare);
        tail.extend_from_slice(line);
        // Of a length that the compiler knows: a call to copy two bytes costs more than the two.
        match limits.line_end {
            LineEnd::CrLf => tail.extend_from_slice(b"\r\n"),
            LineEnd::Lf => tail.push(b'\n'),
        }
        self.counters.lines_sent += 1;
        Ok(())
    }

    /// Queues bytes as they are.
    pub(crate) fn queue_raw(
        &mut self,
        bytes: &[u8],
        limits: &StreamLimits,
        spare: &mut SpareBuffers,
    ) -> Result<(), SendError> {
        if self.framed || self.is_false_hello(bytes) {
            return Err(SendError::BadLine);
        }
        self.queue_protocol(bytes, limits, spare)
    }

    /// Queues lines of the protocol, with their ends.
    pub(crate) fn queue_protocol(
        &mut self,
        bytes: &[u8],
        limits: &StreamLimits,
        spare: &mut SpareBuffers,
    ) -> Result<(), SendError> {
        self.check_room(bytes.len(), limits)?;
        self.outbox.tail(spare).extend_from_slice(bytes);
        self.counters.lines_sent += memchr::memchr_iter(b'\n', bytes).count() as u64;
        Ok(())
    }

    /// Queues bytes of another stream, unseen. Whoever does so sees to the room.
    pub(crate) fn append(&mut self, bytes: &[u8], spare: &mut SpareBuffers) {
        if self.phase == Phase::Open {
            self.outbox.tail(spare).extend_from_slice(bytes);
        }
    }

    /// Bytes were received that are another stream's, or sent that are.
    pub(crate) fn handle_passed(&mut self, received: usize, sent: usize) {
        self.counters.bytes_received += received as u64;
        self.counters.bytes_sent += sent as u64;
    }

    /// Nobody here will read what has arrived, nor what comes: nobody is waited for either.
    pub(crate) fn forget_arrived(&mut self) {
        self.inbox.discard();
        self.patience = None;
    }

    /// The place of the next whole line that arrived; [`found`](Self::found) gives it, until the next call.
    #[inline(always)]
    pub(crate) fn next_line(&mut self, limits: &StreamLimits) -> Option<Span> {
        let span = self.inbox.next_line(limits.max_line)?;
        self.counters.lines_received += 1;
        if self.framed { self.unescaped(span) } else { Some(span) }
    }

    /// The application's line in a line of a node link.
    #[cold]
    fn unescaped(&self, span: Span) -> Option<Span> {
        let line = self.inbox.found(span)?.as_bytes();
        let cut = line.len() - escape::unescape(line).len();
        Some(Span { start: span.start + cut, len: span.len - cut })
    }

    /// From now on it is a node link.
    pub(crate) fn frame(&mut self) {
        self.framed = true;
    }

    /// Whether the next line that was received whole is the protocol's, where it is a node link.
    pub(crate) fn has_protocol_line(&self) -> bool {
        let first = self.inbox.first();
        // Its line end is there, so that it is no shorter than it seems.
        self.framed && self.inbox.unread() > 0 && escape::is_protocol(first)
    }

    /// The peer has another stream to read to its end as well, and is given all the time there is.
    pub(crate) fn expect_late_end(&mut self) {
        self.is_late = true;
    }

    /// This is not over before another stream is. That one has to have deadlines of its own.
    pub(crate) fn await_other(&mut self) {
        self.awaits = true;
    }

    /// That one is over; `unsaid`: something that was said before this was closed did not go out there.
    pub(crate) fn end_await(&mut self, unsaid: bool) {
        self.awaits = false;
        if let Phase::Closing { why, .. } | Phase::Lingering { why, .. } = &mut self.phase
            && *why == CloseReason::Local
            && unsaid
        {
            *why = CloseReason::LocalTimeout;
        }
    }

    /// Leaves alone what arrives, or no more.
    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Takes off the first bytes of what has arrived.
    pub(crate) fn skip(&mut self, len: usize) {
        self.inbox.skip(len);
    }

    /// The sums of a link whose place this one takes.
    pub(crate) fn continue_from(&mut self, other: &Self) {
        let (ours, theirs) = (&mut self.counters, other.counters);
        ours.bytes_received += theirs.bytes_received;
        ours.bytes_sent += theirs.bytes_sent;
        ours.lines_received += theirs.lines_received;
        ours.lines_sent += theirs.lines_sent;
        self.opened = other.opened;
    }

    /// What stands first among what was received and not read.
    pub(crate) fn arrived(&self) -> &[u8] {
        self.inbox.first()
    }

    /// The line that was read last.
    #[inline(always)]
    pub(crate) fn found(&self, span: Span) -> Option<Found<'_>> {
        self.inbox.found(span)
    }

    /// Ends the link from this side: what arrived is forgotten, what is queued goes out.
    pub(crate) fn close(&mut self, why: CloseReason, limits: &StreamLimits, now: Instant) {
        if !matches!(self.phase, Phase::Closing { .. } | Phase::Lingering { .. }) {
            self.inbox.discard();
            self.phase = match self.phase {
                Phase::Ended { broken: true, .. } => {
                    Phase::Lingering { why: self.unsaid(why), deadline: now }
                }
                _ => Phase::Closing { why, deadline: now + limits.close_deadline },
            };
        }
    }

    /// Room to receive into, unless enough waits to be read.
    pub(crate) fn space<'a>(&self, limits: &StreamLimits, chunks: &'a mut Chunks) -> Option<&'a mut [u8]> {
        let wanted = match self.phase {
            Phase::Open => {
                !self.held && self.inbox.unread() < limits.max_unread && !self.inbox.has_overflowed()
            }
            Phase::Ended { .. } => false,
            Phase::Closing { .. } | Phase::Lingering { .. } => true,
        };
        wanted.then(|| self.inbox.space(chunks))
    }

    /// Takes over the `len` bytes that were read into [`space`](Self::space).
    pub(crate) fn handle_received(&mut self, chunks: &mut Chunks, len: usize, limits: &StreamLimits) {
        self.counters.bytes_received += len as u64;
        if self.phase == Phase::Open {
            self.inbox.handle_received(chunks, len, limits.max_line);
        }
    }

    /// The peer is done, as soon as what it sent before has been read from the network. An application that does not
    /// read what has arrived can keep that from ever happening. `walks` counts the application's walks over its
    /// connections.
    pub(crate) fn handle_hangup(&mut self, walks: u64, now: Instant) {
        if self.phase == Phase::Open {
            self.patience.get_or_insert(Patience {
                until: now + UNREAD_LINGER,
                walk: walks,
                lines: self.counters.lines_received,
            });
        }
    }

    /// The peer's side ended.
    pub(crate) fn handle_end(&mut self, end: End, walks: u64, now: Instant) {
        self.handle_hangup(walks, now);
        self.finished = true;
        let (why, broken) = match end {
            End::Finished => (CloseReason::Peer, false),
            End::Broken(kind) => (reason_of(kind), true),
        };
        self.phase = match self.phase {
            // A link that finished sending can still break.
            Phase::Open | Phase::Ended { broken: false, .. } => Phase::Ended { why, broken },
            Phase::Closing { why, .. } if broken => Phase::Lingering { why: self.unsaid(why), deadline: now },
            Phase::Lingering { why, .. } => Phase::Lingering { why, deadline: now },
            phase => phase,
        };
    }

    /// The network took `len` bytes of [`unsent`](Self::unsent).
    pub(crate) fn handle_sent(&mut self, len: usize, spare: &mut SpareBuffers) {
        self.counters.bytes_sent += len as u64;
        self.outbox.handle_sent(len, spare);
    }

    /// What goes out next; nothing where nothing can.
    pub(crate) fn unsent(&self) -> &[u8] {
        match self.phase {
            Phase::Ended { broken: true, .. } => &[],
            _ => self.outbox.unsent(),
        }
    }

    /// What is to be done with the socket, at this moment and after this many walks of the application.
    pub(crate) fn poll_step(&mut self, limits: &StreamLimits, walks: u64, now: Instant) -> Option<Step> {
        if self.inbox.is_stuck() && self.phase == Phase::Open && !self.held {
            self.phase =
                Phase::Closing { why: CloseReason::LineTooLong, deadline: now + limits.close_deadline };
        }
        let impatient = self.has_lost_patience(walks, now);
        match self.phase {
            Phase::Open => impatient.then_some(Step::Drop(CloseReason::Peer)),
            Phase::Ended { why, broken } => {
                if self.inbox.unread() > 0 && !impatient {
                    None
                } else if broken {
                    Some(Step::Drop(why))
                } else {
                    self.inbox.discard();
                    self.phase = Phase::Closing { why, deadline: now + limits.close_deadline };
                    self.poll_step(limits, walks, now)
                }
            }
            Phase::Closing { why, deadline } => {
                if self.outbox.is_empty() {
                    let from = if self.is_late { deadline } else { now };
                    let linger = if self.finished { now } else { from + LINGER };
                    self.phase = Phase::Lingering { why, deadline: linger };
                    if self.finished { self.end(why) } else { Some(Step::ShutdownWrite) }
                } else if now >= deadline {
                    Some(Step::Drop(self.unsaid(why)))
                } else {
                    None
                }
            }
            Phase::Lingering { why, deadline } if now >= deadline => self.end(why),
            Phase::Lingering { .. } => None,
        }
    }

    /// When [`poll_step`](Self::poll_step) wants to be asked again although nothing happened.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open | Phase::Ended { .. } => self.patience.map(|patience| patience.until),
            Phase::Lingering { .. } if self.awaits => None,
            Phase::Closing { deadline, .. } | Phase::Lingering { deadline, .. } => Some(deadline),
        }
    }

    /// Lets go of memory that unread lines hold beyond their own length.
    pub(crate) fn settle(&mut self) {
        self.inbox.settle();
    }

    /// Bytes of whole lines that wait for the application.
    #[inline]
    pub(crate) fn unread(&self) -> usize {
        if self.held { 0 } else { self.inbox.unread() }
    }

    /// Gives back what the memory of the queue has beyond what it holds.
    pub(crate) fn trim_queue(&mut self) {
        self.outbox.trim();
    }

    /// Bytes that wait for the network.
    pub(crate) fn queued(&self) -> usize {
        self.outbox.len()
    }

    /// Whether neither side has ended it.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the end may have come now that the application has read everything.
    pub(crate) fn wants_step(&self) -> bool {
        !self.is_open() || self.inbox.is_stuck()
    }

    /// Whether this side has not closed it.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Ended { .. })
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// Whether whole lines have waited for long enough; they get more time if some were read meanwhile.
    fn has_lost_patience(&mut self, walks: u64, now: Instant) -> bool {
        let Some(patience) = self.patience.filter(|patience| now >= patience.until) else { return false };
        let lines = self.counters.lines_received;
        // What is held can not be read, and somebody else sees to it that this ends.
        let lost = patience.lines == lines && patience.walk < walks && !self.held;
        if !lost {
            self.patience = Some(Patience { until: now + UNREAD_LINGER, walk: walks, lines });
        }
        lost
    }

    /// All has gone out that will.
    fn end(&self, why: CloseReason) -> Option<Step> {
        (!self.awaits).then_some(Step::Drop(why))
    }

    /// Why it ends that was to end for this reason, now that nothing more goes out.
    fn unsaid(&self, why: CloseReason) -> CloseReason {
        let is_told = why == CloseReason::Local && !self.outbox.is_empty();
        if is_told { CloseReason::LocalTimeout } else { why }
    }

    #[inline]
    fn is_false_hello(&self, bytes: &[u8]) -> bool {
        bytes.first() == HELLO.first()
            && bytes.starts_with(HELLO)
            && self.counters.bytes_sent == 0
            && self.outbox.is_empty()
    }

    #[inline]
    fn check_room(&self, len: usize, limits: &StreamLimits) -> Result<(), SendError> {
        let room = limits.max_queued.saturating_sub(self.outbox.len());
        if self.phase == Phase::Open && len <= room { Ok(()) } else { self.check_room_in_full(len, limits) }
    }

    #[cold]
    fn check_room_in_full(&self, len: usize, limits: &StreamLimits) -> Result<(), SendError> {
        match self.phase {
            Phase::Open | Phase::Ended { broken: false, .. } => {}
            _ => return Err(SendError::Closed),
        }
        if len > limits.max_queued {
            Err(SendError::TooLong)
        } else if len > limits.max_queued - self.outbox.len().min(limits.max_queued) {
            Err(SendError::Full)
        } else {
            Ok(())
        }
    }
}

fn reason_of(kind: io::ErrorKind) -> CloseReason {
    match kind {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            CloseReason::Reset
        }
        io::ErrorKind::TimedOut => CloseReason::Vanished,
        kind => CloseReason::Failed(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rig {
        link: Link,
        chunks: Chunks,
        spare: SpareBuffers,
        limits: StreamLimits,
    }

    impl Rig {
        fn new() -> Self {
            let limits = StreamLimits { max_queued: 100, max_unread: 50, max_line: 40, ..Default::default() };
            Self { link: Link::new(at(0)), chunks: Chunks::default(), spare: SpareBuffers::default(), limits }
        }

        fn receive(&mut self, bytes: &[u8]) {
            let space = self.link.space(&self.limits, &mut self.chunks).expect("it wants to read");
            space[..bytes.len()].copy_from_slice(bytes);
            self.link.handle_received(&mut self.chunks, bytes.len(), &self.limits);
        }

        fn line(&mut self) -> Option<Vec<u8>> {
            let span = self.link.next_line(&self.limits)?;
            self.link.found(span).map(|found| found.as_bytes().to_vec())
        }

        fn send(&mut self, line: &str) -> Result<(), SendError> {
            self.link.queue_line(line.as_bytes(), &self.limits, &mut self.spare)
        }

        fn step(&mut self, seconds: u64) -> Option<Step> {
            self.link.poll_step(&self.limits, seconds, at(seconds))
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
        assert_eq!(rig.link.unsent(), b"hi\r\n");
    }

    #[test]
    fn nothing_of_a_refused_line_is_sent() {
        let mut rig = Rig::new();
        assert_eq!(rig.send("a\nb"), Err(SendError::BadLine));
        assert_eq!(rig.send("~hello {}"), Err(SendError::BadLine));
        assert_eq!(rig.send(&"x".repeat(99)), Err(SendError::TooLong));
        rig.send(&"x".repeat(90)).expect("there is room");
        assert_eq!(rig.send("0123456789"), Err(SendError::Full));
        assert_eq!(rig.link.queued(), 92);
        rig.send("~hello!").expect_err("full comes first or not, nothing is sent");
        rig.link.handle_sent(92, &mut rig.spare);
        rig.send("~hello {}").expect("only the first line must not look like a hello");
    }

    #[test]
    fn a_stream_that_is_not_read_by_the_application_is_not_read_from_the_network() {
        let mut rig = Rig::new();
        rig.receive(&b"0123456789\n".repeat(5));
        assert!(rig.link.space(&rig.limits, &mut rig.chunks).is_none());
        rig.line();
        assert!(rig.link.space(&rig.limits, &mut rig.chunks).is_some());
    }

    #[test]
    fn lines_are_read_before_the_peers_end_closes() {
        let mut rig = Rig::new();
        rig.receive(b"last words\npartial");
        rig.link.handle_end(End::Finished, 1, at(1));
        assert_eq!(rig.step(1), None);
        rig.send("an answer to a half-closed peer").expect("it may still receive");
        assert_eq!(rig.line().expect("it arrived whole"), b"last words");
        assert_eq!(rig.step(2), None, "the answer is still queued");
        rig.link.handle_sent(33, &mut rig.spare);
        assert_eq!(rig.step(2), Some(Step::Drop(CloseReason::Peer)));
    }

    #[test]
    fn lines_are_read_before_a_reset_closes() {
        let mut rig = Rig::new();
        rig.receive(b"last words\n");
        rig.send("lost").expect("open");
        rig.link.handle_end(End::Broken(io::ErrorKind::ConnectionReset), 1, at(1));
        assert_eq!(rig.step(1), None);
        assert_eq!(rig.send("no"), Err(SendError::Closed));
        assert_eq!(rig.link.unsent(), b"");
        rig.line();
        assert_eq!(rig.step(1), Some(Step::Drop(CloseReason::Reset)));
    }

    #[test]
    fn an_application_that_never_reads_does_not_keep_ended_streams() {
        let mut rig = Rig::new();
        rig.receive(b"unheard\n");
        rig.link.handle_end(End::Broken(io::ErrorKind::TimedOut), 1, at(1));
        assert_eq!(rig.step(60), None);
        assert_eq!(rig.link.poll_timeout(), Some(at(61)));
        assert_eq!(rig.link.poll_step(&rig.limits, 1, at(61)), None, "it had no turn to read yet");
        assert_eq!(rig.step(120), None);
        assert_eq!(rig.step(121), Some(Step::Drop(CloseReason::Vanished)));
    }

    #[test]
    fn a_peer_that_left_behind_more_than_is_read_is_not_kept_for_ever() {
        let mut rig = Rig::new();
        rig.receive(&b"0123456789\n".repeat(5));
        assert!(rig.link.space(&rig.limits, &mut rig.chunks).is_none(), "its end can not be read");
        rig.link.handle_hangup(1, at(1));
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
        rig.link.close(CloseReason::Local, &rig.limits, at(10));
        assert_eq!(rig.line(), None);
        assert_eq!(rig.send("more"), Err(SendError::Closed));
        assert_eq!(rig.step(10), None);
        rig.link.handle_sent(5, &mut rig.spare);
        assert_eq!(rig.step(11), Some(Step::ShutdownWrite));
        assert_eq!(rig.step(11), None);
        rig.receive(b"what the peer still says is dropped\n");
        assert_eq!(rig.link.unread(), 0);
        assert_eq!(rig.step(12), Some(Step::Drop(CloseReason::Local)));
    }

    #[test]
    fn closing_does_not_wait_for_a_peer_that_does_not_read() {
        let mut rig = Rig::new();
        rig.send("never taken").expect("open");
        rig.link.close(CloseReason::Local, &rig.limits, at(10));
        assert_eq!(rig.step(14), None);
        assert_eq!(rig.link.poll_timeout(), Some(at(15)));
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
        rig.link.close(CloseReason::Local, &rig.limits, at(1));
        assert_eq!(rig.step(1), Some(Step::ShutdownWrite));
        rig.link.handle_end(End::Finished, 1, at(1));
        assert_eq!(rig.step(1), Some(Step::Drop(CloseReason::Local)));
    }

    #[test]
    fn what_nobody_reads_is_forgotten_once_that_is_certain() {
        let mut rig = Rig::new();
        rig.send("still to go out").expect("it fits");
        rig.receive(b"unread\n");
        rig.link.handle_end(End::Finished, 0, at(0));
        assert_eq!(rig.link.poll_step(&rig.limits, 1, at(61)), None);
        assert!(!rig.link.is_ours(), "it is closing");
        assert_eq!(rig.link.unread(), 0, "nobody can read it any more");
    }

    #[test]
    fn a_line_too_long_on_a_held_link_ends_it_when_it_is_held_no_more() {
        let mut rig = Rig::new();
        rig.receive(&[b'x'; 45]);
        rig.link.hold(true);
        assert_eq!(rig.link.poll_step(&rig.limits, 0, at(0)), None);
        assert!(rig.link.is_ours());
        rig.link.hold(false);
        rig.link.poll_step(&rig.limits, 0, at(0));
        assert!(!rig.link.is_ours());
    }
}
