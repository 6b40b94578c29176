//! One stream of lines: what arrived, what is queued, and how it ends. One that is a node link's is framed (see `framing`).
//!
//! A stream ends in order whoever ends it: whole lines that arrived are read by the application first, and what is
//! queued still goes out, bounded by a deadline.

pub(crate) mod chunks;
mod credit;
mod framing;
mod inbox;
mod outbox;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use crate::config::StreamLimits;
use crate::error::{CloseReason, SendError};
use crate::time::Instant;
use crate::wire::line::{Found, Span, is_one_line, keeps_its_end, put_line};
use crate::wire::relay::RelayEnd;
use bytes::Bytes;
use chunks::{Chunks, ONE_READ};
use framing::{Framing, FramingFault, MAX_WIRE_LINE};
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

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes_received: self.bytes_received + other.bytes_received,
            bytes_sent: self.bytes_sent + other.bytes_sent,
            lines_received: self.lines_received + other.lines_received,
            lines_sent: self.lines_sent + other.lines_sent,
        }
    }
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
pub(crate) struct LineStream {
    inbox: Inbox,
    outbox: Outbox,
    phase: Phase,
    /// It is a node link's: what begins with `~` is protocol, and the application's lines that do so are escaped.
    framing: Option<Box<Framing>>,
    /// So is what arrives.
    is_sifted: bool,
    /// What arrives is left alone for now: neither received nor shown.
    held: bool,
    /// The peer finished sending.
    finished: bool,
    /// The peer may need all the time there is to come to the end of this.
    is_late: bool,
    /// It does not end before another one has.
    awaits: bool,
    /// How long whole lines still wait for the application, once it is known that the peer is done.
    patience: Option<Box<Patience>>,
    counters: Counters,
    opened: Instant,
}

impl LineStream {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            phase: Phase::Open,
            framing: None,
            is_sifted: false,
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
        if self.framing.is_some() {
            return self.queue_framed(line, limits, spare);
        }
        if line.first() == HELLO.first() && self.is_false_hello(line) {
            return Err(SendError::BadLine);
        }
        self.queue_checked(line, limits, spare)
    }

    /// Queues lines, each with its end, all or none of them.
    pub(crate) fn queue_lines(
        &mut self,
        lines: &[&[u8]],
        limits: &StreamLimits,
        spare: &mut SpareBuffers,
    ) -> Result<(), SendError> {
        let len = match self.check_lines(lines, limits) {
            Ok(len) => len,
            // What is wrong with the lines themselves comes first.
            Err(_) if !lines.iter().all(|line| is_one_line(line, limits.line_end)) => {
                return Err(SendError::BadLine);
            }
            Err(why) => return Err(why),
        };
        let is_framed = self.framing.is_some();
        let tail = self.outbox.tail(spare);
        let before = tail.len();
        tail.reserve(len);
        let mut ends = 0;
        for line in lines {
            ends += if is_framed {
                framing::write_line(line, tail, limits.line_end)
            } else {
                put_line(tail, line, limits.line_end)
            };
        }
        // All at once: to count ends is faster than to look for one in each line.
        let is_bad = memchr::memchr_iter(b'\n', tail.get(before..).unwrap_or_default()).count() != ends;
        if is_bad || !lines.iter().all(|line| keeps_its_end(line, limits.line_end)) {
            tail.truncate(before);
            return Err(SendError::BadLine);
        }
        self.counters.lines_sent += lines.len() as u64;
        if let Some(framing) = &mut self.framing {
            framing.handle_queued(&self.outbox, len, spare);
        }
        Ok(())
    }

    /// Whether there is room for all these lines; so long they are on the wire.
    fn check_lines(&self, lines: &[&[u8]], limits: &StreamLimits) -> Result<usize, SendError> {
        let end = limits.line_end.as_bytes().len();
        let len = match &self.framing {
            None => lines.iter().fold(0, |sum: usize, line| sum.saturating_add(line.len() + end)),
            Some(framing) => {
                let longest = framing.longest();
                lines.iter().try_fold(0, |sum: usize, line| {
                    let len = framing::length_on_wire(line, end, longest).ok_or(SendError::TooLong)?;
                    Ok(sum.saturating_add(len))
                })?
            }
        };
        if self.framing.is_none() && lines.first().is_some_and(|line| self.is_false_hello(line)) {
            return Err(SendError::BadLine);
        }
        self.check_room(len, limits)?;
        Ok(len)
    }

    /// One line on a node link.
    fn queue_framed(
        &mut self,
        line: &[u8],
        limits: &StreamLimits,
        spare: &mut SpareBuffers,
    ) -> Result<(), SendError> {
        let longest = self.framing.as_ref().map_or(usize::MAX, |framing| framing.longest());
        let end = limits.line_end.as_bytes().len();
        let len = framing::length_on_wire(line, end, longest).ok_or(SendError::TooLong)?;
        self.check_room(len, limits)?;
        framing::write_line(line, self.outbox.tail(spare), limits.line_end);
        self.counters.lines_sent += 1;
        if let Some(framing) = &mut self.framing {
            framing.handle_queued(&self.outbox, len, spare);
        }
        Ok(())
    }

    #[inline(always)]
    fn queue_checked(
        &mut self,
        line: &[u8],
        limits: &StreamLimits,
        spare: &mut SpareBuffers,
    ) -> Result<(), SendError> {
        self.check_room(line.len() + limits.line_end.as_bytes().len(), limits)?;
        put_line(self.outbox.tail(spare), line, limits.line_end);
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
        if self.framing.is_some() || self.is_false_hello(bytes) {
            return Err(SendError::BadLine);
        }
        self.queue_protocol(bytes, limits, spare)
    }

    /// Queues lines of the protocol, with their ends. On a node link they go before whatever of the application's is not begun.
    pub(crate) fn queue_protocol(
        &mut self,
        bytes: &[u8],
        limits: &StreamLimits,
        spare: &mut SpareBuffers,
    ) -> Result<(), SendError> {
        if let Some(framing) = &mut self.framing {
            return match self.phase {
                Phase::Open | Phase::Ended { broken: false, .. }
                    if framing.has_room_for_protocol(bytes.len()) =>
                {
                    framing.queue_protocol(bytes, spare);
                    Ok(())
                }
                Phase::Open | Phase::Ended { broken: false, .. } => Err(SendError::Full),
                _ => Err(SendError::Closed),
            };
        }
        self.check_room(bytes.len(), limits)?;
        self.outbox.tail(spare).extend_from_slice(bytes);
        self.counters.lines_sent += memchr::memchr_iter(b'\n', bytes).count() as u64;
        Ok(())
    }

    /// Queues bytes of another stream, unseen. Whoever does so sees to the room.
    pub(crate) fn append(&mut self, bytes: &[u8], spare: &mut SpareBuffers) {
        if self.phase == Phase::Open {
            self.outbox.tail(spare).extend_from_slice(bytes);
            if let Some(framing) = &mut self.framing {
                framing.handle_queued_in_order(&self.outbox, bytes.len());
            }
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
        if self.is_sifted { self.unescaped(span) } else { Some(span) }
    }

    /// What stands behind the line that was read last; see [`Inbox::rest`]. The lines of a node link are escaped.
    #[inline]
    pub(crate) fn rest(&mut self) -> Option<(&Bytes, usize)> {
        self.inbox.rest()
    }

    /// So much of [`rest`](Self::rest) was read, in so many lines, none of which is over the limit.
    #[inline]
    pub(crate) fn handle_read(&mut self, len: usize, lines: u64) {
        self.inbox.handle_read(len);
        self.counters.lines_received += lines;
    }

    /// The application's line in a line of a node link.
    #[inline]
    fn unescaped(&self, span: Span) -> Option<Span> {
        Some(self.inbox.found(span)?.unescaped().span)
    }

    /// From now on what is sent is a node link's; what was queued before goes out as it is. `takes`: how many bytes of the
    /// application's lines this side takes, as its hello says; `may_send`: how many the peer does.
    pub(crate) fn frame_sending(&mut self, takes: u64, may_send: u64) {
        let framing = Framing::new(takes, may_send, self.outbox.len());
        self.framing = Some(Box::new(framing));
    }

    /// From now on so is what arrives, and what has arrived and was not read.
    pub(crate) fn frame_receiving(&mut self, limits: &StreamLimits) {
        let Some(framing) = &mut self.framing else { return };
        self.is_sifted = true;
        for lines in self.inbox.take_unread() {
            framing.sift(lines, &mut self.inbox, limits.max_line);
        }
    }

    /// A relay passes on what arrives, and says why when it ends that.
    pub(crate) fn expect_relay_end(&mut self) {
        if let Some(framing) = &mut self.framing {
            framing.expect_relay_end();
        }
    }

    /// The next protocol line that has arrived, without its end.
    pub(crate) fn next_protocol(&mut self) -> Option<Bytes> {
        self.framing.as_mut()?.next_protocol()
    }

    /// Puts lines that came before the peer's hello, and are read before all that came after it, in front.
    pub(crate) fn put_back(&mut self, lines: Bytes) {
        self.inbox.put_back(lines);
    }

    /// Has the peer send more, if that is due, and lets go out what it takes now.
    pub(crate) fn work_on_credit(&mut self, spare: &mut SpareBuffers) {
        let unread = self.inbox.unread();
        if let Some(framing) = self.framing.as_mut().filter(|_| self.is_sifted) {
            framing.grant(unread, spare);
            framing.cover(&self.outbox, spare);
        }
    }

    /// This stream is to be left: nothing more is sent here but `last_words`, behind the lines that were begun. What was not
    /// begun goes out on the next one, and so does all credit that is left.
    pub(crate) fn hand_over_sending(&mut self, next: &mut Self, last_words: &[u8], spare: &mut SpareBuffers) {
        let (Some(framing), Some(new)) = (&mut self.framing, &mut next.framing) else { return };
        framing.hand_over_sending(new);
        let waiting = self.outbox.split_off(framing.covered());
        next.outbox.tail(spare).extend_from_slice(&waiting);
        new.cover(&next.outbox, spare);
        self.append(last_words, spare);
    }

    /// All that comes here has come: what was not read is the next one's.
    pub(crate) fn hand_over_receiving(&mut self, next: &mut Self) {
        if let (Some(framing), Some(new)) = (&mut self.framing, &mut next.framing) {
            framing.hand_over_receiving(new);
        }
        for lines in self.inbox.take_unread().into_iter().rev() {
            next.inbox.put_back(lines);
        }
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
                let has_room = self.is_sifted || self.inbox.unread() < limits.max_unread;
                !self.held && has_room && !self.inbox.has_overflowed()
            }
            Phase::Ended { .. } => false,
            Phase::Closing { .. } | Phase::Lingering { .. } => true,
        };
        wanted.then(|| {
            let space = self.inbox.space(chunks);
            let most = limits.max_unread.saturating_sub(self.inbox.unread()).max(ONE_READ);
            let len = if self.is_sifted { space.len() } else { space.len().min(most) };
            &mut space[..len]
        })
    }

    /// Takes over the `len` bytes that were read into [`space`](Self::space).
    pub(crate) fn handle_received(&mut self, chunks: &mut Chunks, len: usize, limits: &StreamLimits) {
        self.counters.bytes_received += len as u64;
        if self.phase != Phase::Open {
            return;
        }
        match &mut self.framing {
            Some(framing) if self.is_sifted => {
                for lines in self.inbox.receive(chunks, len) {
                    framing.sift(lines, &mut self.inbox, limits.max_line);
                }
                self.inbox.check_tail(MAX_WIRE_LINE);
            }
            _ => self.inbox.handle_received(chunks, len, limits.max_line),
        }
    }

    /// The peer is done, as soon as what it sent before has been read from the network. An application that does not
    /// read what has arrived can keep that from ever happening. `walks` counts the application's walks over its
    /// connections.
    pub(crate) fn handle_hangup(&mut self, walks: u64, now: Instant) {
        if self.phase == Phase::Open {
            let lines = self.counters.lines_received;
            self.patience
                .get_or_insert_with(|| Box::new(Patience { until: now + UNREAD_LINGER, walk: walks, lines }));
        }
    }

    /// The peer's side ended.
    pub(crate) fn handle_end(&mut self, end: End, walks: u64, now: Instant) {
        self.handle_hangup(walks, now);
        self.finished = true;
        let (why, broken) = match end {
            End::Finished => (self.relay_end().unwrap_or(CloseReason::Peer), false),
            End::Broken(kind) => (self.relay_end().unwrap_or(reason_of(kind)), true),
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
        match &mut self.framing {
            Some(framing) => framing.handle_sent(&mut self.outbox, len, spare),
            None => self.outbox.handle_sent(len, spare),
        }
    }

    /// What goes out next; nothing where nothing can.
    pub(crate) fn unsent(&self) -> &[u8] {
        match self.phase {
            Phase::Ended { broken: true, .. } => &[],
            _ => match &self.framing {
                Some(framing) => framing.unsent(&self.outbox),
                None => self.outbox.unsent(),
            },
        }
    }

    /// What is to be done with the socket, at this moment and after this many walks of the application.
    pub(crate) fn poll_step(&mut self, limits: &StreamLimits, walks: u64, now: Instant) -> Option<Step> {
        if let Some(why) = self.fault().filter(|_| self.phase == Phase::Open && !self.held) {
            self.phase = Phase::Closing { why, deadline: now + limits.close_deadline };
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
                if self.queued() == 0 {
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
            Phase::Open | Phase::Ended { .. } => self.patience.as_ref().map(|patience| patience.until),
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

    /// Bytes that wait for the network, or for the peer's leave.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.outbox.len() + self.framing.as_ref().map_or(0, |framing| framing.protocol_queued())
    }

    /// Whether what arrives is a node link's.
    #[inline]
    pub(crate) fn is_framed(&self) -> bool {
        self.is_sifted
    }

    /// Whether neither side has ended it.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the end may have come now that the application has read everything.
    pub(crate) fn wants_step(&self) -> bool {
        !self.is_open() || self.fault().is_some() || self.owes_grant()
    }

    /// Whether the peer is to be told that it may send more.
    #[inline]
    pub(crate) fn owes_grant(&self) -> bool {
        let unread = self.inbox.unread();
        self.is_sifted && self.framing.as_ref().is_some_and(|framing| framing.owes_grant(unread))
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
        let Some(patience) = self.patience.as_deref_mut().filter(|patience| now >= patience.until) else {
            return false;
        };
        let lines = self.counters.lines_received;
        // What is held can not be read, and somebody else sees to it that this ends.
        let lost = patience.lines == lines && patience.walk < walks && !self.held;
        if !lost {
            *patience = Patience { until: now + UNREAD_LINGER, walk: walks, lines };
        }
        lost
    }

    /// Why it can not go on.
    fn fault(&self) -> Option<CloseReason> {
        if self.inbox.is_stuck() {
            return Some(CloseReason::LineTooLong);
        }
        Some(match self.framing.as_ref()?.fault()? {
            FramingFault::LineTooLong => CloseReason::LineTooLong,
            FramingFault::CreditExceeded => CloseReason::CreditExceeded,
            FramingFault::ProtocolUnread => CloseReason::ProtocolUnread,
            FramingFault::Nonsense => CloseReason::Protocol,
        })
    }

    /// Why the relay that passed it on says that it ends.
    fn relay_end(&self) -> Option<CloseReason> {
        Some(match self.framing.as_ref()?.relay_end()? {
            RelayEnd::Bytes => CloseReason::RelayBytes,
            RelayEnd::Time => CloseReason::RelayTime,
            RelayEnd::Idle => CloseReason::RelayIdle,
        })
    }

    /// All has gone out that will.
    fn end(&self, why: CloseReason) -> Option<Step> {
        (!self.awaits).then_some(Step::Drop(why))
    }

    /// Why it ends that was to end for this reason, now that nothing more goes out.
    fn unsaid(&self, why: CloseReason) -> CloseReason {
        let is_told = why == CloseReason::Local && self.queued() > 0;
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
