//! What a node link adds to a stream of lines: protocol lines between the application's.
//!
//! Protocol lines are taken off **on arrival**, whatever of the application's is unread before them, and they go out before
//! whatever of the application's is queued and not begun: so neither side's application can hold up its protocol. A line of
//! the application's over [`PIECE`] goes in marked pieces (`~part TEXT` .. `~last TEXT`), between which protocol lines pass.
//! How many bytes of the application's may be under way is agreed (see `credit`).
//!
//! All of it can be read in, and typed into, `nc`.

use std::collections::VecDeque;

use bytes::Bytes;
use memchr::memmem;

use super::credit::{ReceiveCredit, SendCredit};
use super::inbox::Inbox;
use super::outbox::{Outbox, SpareBuffers};
use crate::config::LineEnd;
use crate::wire::escape;
use crate::wire::frame::{self, Frame};
use crate::wire::line::put_line;
use crate::wire::relay::{RelayEnd, relay_closed};

/// A longer line of the application's goes in pieces of so many bytes.
pub(super) const PIECE: usize = 16 << 10;

/// The longest line on the wire: a piece with its mark is 16 KiB, and a protocol line has no reason to be longer than this.
pub(super) const MAX_WIRE_LINE: usize = 64 << 10;

/// Protocol lines that are queued for a peer that does not read them, in bytes. What is said unasked is little, so that only
/// who asks much and reads nothing comes near it.
const MAX_PROTOCOL_QUEUED: usize = 256 << 10;

/// Why a link can not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FramingFault {
    /// More of the application's lines than were granted.
    CreditExceeded,
    /// More protocol lines are asked for than are read.
    ProtocolUnread,
    /// A line on the wire, or one of pieces, that is too long.
    LineTooLong,
    /// Pieces that do not fit together.
    Nonsense,
}

/// One side of a node link's framing.
#[derive(Debug)]
pub(super) struct Framing {
    /// Protocol lines that have come and were not looked at, without their ends.
    arrived: VecDeque<Bytes>,
    /// The beginning of a line that comes in pieces.
    partial: Option<Vec<u8>>,
    receive: ReceiveCredit,
    send: SendCredit,
    /// Protocol lines on their way out, before whatever of the application's is not begun.
    protocol: Outbox,
    /// How much of the queue of the application's lines may go out, from its front: always whole lines, but for the first.
    covered: usize,
    /// The application's line that stands first has been begun.
    is_mid_line: bool,
    fault: Option<FramingFault>,
    /// A relay passes it on, whose last word may come at the end of all, and does that.
    is_relayed: bool,
    relay_end: Option<RelayEnd>,
}

impl Framing {
    /// `takes`: what this side takes of the application's lines; `may_send`: what the peer takes; `queued`: bytes that were
    /// queued before, and go out as they are.
    pub(super) fn new(takes: u64, may_send: u64, queued: usize) -> Self {
        Self {
            arrived: VecDeque::new(),
            partial: None,
            receive: ReceiveCredit::new(takes),
            send: SendCredit::new(may_send),
            protocol: Outbox::default(),
            covered: queued,
            // Some of it may have gone out.
            is_mid_line: queued > 0,
            fault: None,
            is_relayed: false,
            relay_end: None,
        }
    }

    /// A relay passes on what arrives, and says why when it ends that.
    pub(super) fn expect_relay_end(&mut self) {
        self.is_relayed = true;
    }

    pub(super) fn relay_end(&self) -> Option<RelayEnd> {
        self.relay_end
    }

    pub(super) fn fault(&self) -> Option<FramingFault> {
        self.fault
    }
}

/// What arrives.
impl Framing {
    /// Whole lines have arrived: the application's go to the inbox.
    pub(super) fn sift(&mut self, mut lines: Bytes, inbox: &mut Inbox, max_line: usize) {
        if self.is_relayed {
            self.look_for_relay_end(&mut lines);
        }
        while !lines.is_empty() && self.fault.is_none() {
            match first_protocol_line(&lines) {
                None => return self.take_lines(lines, inbox),
                Some(0) => {
                    // Whole lines: there is an end.
                    let end = memchr::memchr(b'\n', &lines).unwrap_or(lines.len() - 1);
                    let line = lines.split_to(end + 1);
                    self.take_protocol(line, inbox, max_line);
                }
                Some(at) => {
                    let before = lines.split_to(at);
                    self.take_lines(before, inbox);
                }
            }
        }
    }

    /// Takes off the relay's last word, and the line of the peer's that it cut in the middle.
    fn look_for_relay_end(&mut self, lines: &mut Bytes) {
        let Some(last) =
            lines.strip_suffix(b"\n").map(|rest| memchr::memrchr(b'\n', rest).map_or(0, |at| at + 1))
        else {
            return;
        };
        if let Some(end) = relay_closed(&frame::without_end(lines.slice(last..))) {
            self.relay_end = Some(end);
            lines.truncate(last);
        }
    }

    fn take_lines(&mut self, lines: Bytes, inbox: &mut Inbox) {
        self.count(lines.len());
        if self.partial.is_some() {
            self.fail(FramingFault::Nonsense);
        }
        if self.fault.is_none() {
            inbox.push(lines);
        }
    }

    fn take_protocol(&mut self, whole: Bytes, inbox: &mut Inbox, max_line: usize) {
        let wire = whole.len();
        let line = frame::without_end(whole);
        match Frame::parse(&line) {
            Frame::More(total) => self.send.handle_grant(total),
            Frame::Want => self.receive.handle_asked(),
            Frame::Part(at) => {
                self.count(wire);
                self.take_piece(&line[at..], false, inbox, max_line);
            }
            Frame::Last(at) => {
                self.count(wire);
                self.take_piece(&line[at..], true, inbox, max_line);
            }
            Frame::Other => self.arrived.push_back(line),
        }
    }

    fn take_piece(&mut self, piece: &[u8], is_last: bool, inbox: &mut Inbox, max_line: usize) {
        let partial = self.partial.get_or_insert_default();
        if partial.len() + piece.len() > max_line {
            return self.fail(FramingFault::LineTooLong);
        }
        partial.extend_from_slice(piece);
        if is_last && let Some(mut line) = self.partial.take() {
            // As it would stand on the wire in one piece: what is read is unescaped.
            if line.first() == Some(&b'~') {
                line.insert(0, b'~');
            }
            line.extend_from_slice(b"\r\n");
            inbox.push(line.into());
        }
    }

    fn count(&mut self, len: usize) {
        if !self.receive.handle_received(len) {
            self.fail(FramingFault::CreditExceeded);
        }
    }

    /// The next protocol line that has arrived, without its end.
    pub(super) fn next_protocol(&mut self) -> Option<Bytes> {
        self.arrived.pop_front()
    }

    /// Whether the peer is to be told that more may come, as so much waits to be read.
    #[inline]
    pub(super) fn owes_grant(&self, unread: usize) -> bool {
        self.receive.is_due(unread)
    }

    /// Tells it.
    pub(super) fn grant(&mut self, unread: usize, spare: &mut SpareBuffers) {
        if let Some(total) = self.receive.poll_grant(unread) {
            self.queue_protocol(&frame::more(total), spare);
        }
    }

    fn fail(&mut self, fault: FramingFault) {
        self.fault.get_or_insert(fault);
    }
}

/// What goes out.
impl Framing {
    /// The longest line of the application's, as it stands on the wire, that can ever go out.
    pub(super) fn longest(&self) -> usize {
        usize::try_from(self.send.longest()).unwrap_or(usize::MAX)
    }

    /// Queues a line of the protocol's, with its end, before whatever of the application's is not begun.
    pub(super) fn queue_protocol(&mut self, line: &[u8], spare: &mut SpareBuffers) {
        if self.protocol.len() + line.len() > MAX_PROTOCOL_QUEUED {
            return self.fail(FramingFault::ProtocolUnread);
        }
        self.protocol.tail(spare).extend_from_slice(line);
    }

    pub(super) fn has_room_for_protocol(&self, len: usize) -> bool {
        self.protocol.len() + len <= MAX_PROTOCOL_QUEUED
    }

    /// Lines of the application's were appended to its queue, of which they are the last `len` bytes.
    #[inline]
    pub(super) fn handle_queued(&mut self, lines: &Outbox, len: usize, spare: &mut SpareBuffers) {
        // Behind one that waits they wait, too.
        if self.covered + len == lines.len() {
            if self.send.take(len as u64) {
                self.covered += len;
            } else {
                self.cover(lines, spare);
            }
        }
    }

    /// The peer may take more: as many whole lines as are covered may go.
    pub(super) fn cover(&mut self, lines: &Outbox, spare: &mut SpareBuffers) {
        while let Some(waiting) = lines.unsent().get(self.covered..).filter(|waiting| !waiting.is_empty()) {
            let plain = plain_lines(waiting, self.send.left());
            if plain > 0 {
                self.send.take(plain as u64);
                self.covered += plain;
                continue;
            }
            let Some(unit) = first_unit(waiting) else { return };
            if !self.send.take(unit.credit) {
                return self.ask(spare);
            }
            self.covered += unit.len;
        }
    }

    /// A line in order with the application's that needs no credit was appended to their queue.
    pub(super) fn handle_queued_in_order(&mut self, lines: &Outbox, len: usize) {
        if self.covered + len == lines.len() {
            self.covered += len;
        }
    }

    fn ask(&mut self, spare: &mut SpareBuffers) {
        if self.send.ask() {
            self.queue_protocol(frame::WANT, spare);
        }
    }

    /// What goes out next.
    pub(super) fn unsent<'a>(&'a self, lines: &'a Outbox) -> &'a [u8] {
        let covered = lines.unsent().get(..self.covered).unwrap_or_default();
        if self.protocol.is_empty() {
            covered
        } else if self.is_mid_line {
            let end = memchr::memchr(b'\n', covered).map_or(covered.len(), |at| at + 1);
            &covered[..end]
        } else {
            self.protocol.unsent()
        }
    }

    /// The network took so much of [`unsent`](Self::unsent).
    pub(super) fn handle_sent(&mut self, lines: &mut Outbox, len: usize, spare: &mut SpareBuffers) {
        if !self.protocol.is_empty() && !self.is_mid_line {
            return self.protocol.handle_sent(len, spare);
        }
        if len > 0 {
            let last = lines.unsent().get(len - 1);
            self.is_mid_line = last != Some(&b'\n');
        }
        self.covered = self.covered.saturating_sub(len);
        lines.handle_sent(len, spare);
    }

    pub(super) fn protocol_queued(&self) -> usize {
        self.protocol.len()
    }

    /// How much of the application's queue need not wait for the peer's leave.
    pub(super) fn covered(&self) -> usize {
        self.covered
    }

    /// The link goes on over another stream: that one sends from here on, with what this one has left of its credit.
    pub(super) fn hand_over_sending(&mut self, next: &mut Self) {
        next.send = self.send;
    }

    /// The same for what arrives, once all that comes here has come: what has come there already counts, too.
    pub(super) fn hand_over_receiving(&mut self, next: &mut Self) {
        next.receive = self.receive.followed_by(next.receive);
    }
}

/// Where the first protocol line begins in whole lines.
fn first_protocol_line(lines: &[u8]) -> Option<usize> {
    if escape::is_protocol(lines) {
        return Some(0);
    }
    let mut candidates = memmem::find_iter(lines, b"\n~");
    candidates.find(|&at| escape::is_protocol(&lines[at + 1..])).map(|at| at + 1)
}

/// How long the whole lines at the beginning are of which each may go by itself and costs its length, up to so much.
fn plain_lines(queue: &[u8], most: u64) -> usize {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(queue.len());
    let lines = &queue[..most];
    let lines = &lines[..memchr::memrchr(b'\n', lines).map_or(0, |at| at + 1)];
    first_protocol_line(lines).unwrap_or(lines.len())
}

/// What may only go out together, and what it takes of the credit.
struct Unit {
    len: usize,
    credit: u64,
}

/// One line, or all pieces of one.
fn first_unit(queue: &[u8]) -> Option<Unit> {
    let mut len = 0;
    loop {
        let line = queue.get(len..).filter(|rest| !rest.is_empty())?;
        let end = memchr::memchr(b'\n', line)? + 1;
        len += end;
        match Frame::parse(&line[..end]) {
            Frame::Part(_) => {}
            Frame::Last(_) => return Some(Unit { len, credit: len as u64 }),
            _ if escape::is_protocol(line) => return Some(Unit { len, credit: 0 }),
            _ => return Some(Unit { len, credit: len as u64 }),
        }
    }
}

/// A line of the application's, as it goes out; one over [`PIECE`] goes in pieces. Returns how many line ends it has.
#[inline]
pub(super) fn write_line(line: &[u8], out: &mut Vec<u8>, end: LineEnd) -> usize {
    if line.len() > PIECE {
        return write_pieces(line, out);
    }
    if line.first() == Some(&b'~') {
        out.push(b'~');
    }
    put_line(out, line, end)
}

fn write_pieces(line: &[u8], out: &mut Vec<u8>) -> usize {
    let mut pieces = line.chunks(PIECE).peekable();
    while let Some(piece) = pieces.next() {
        let mark = if pieces.peek().is_some() { frame::PART } else { frame::LAST };
        for part in [mark, piece, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    line.len().div_ceil(PIECE)
}

/// How long a line of the application's is as it goes out, with an end of this length; `None`: longer than can ever go.
#[inline]
pub(super) fn length_on_wire(line: &[u8], end: usize, longest: usize) -> Option<usize> {
    if line.len() > PIECE {
        return Some(length_in_pieces(line.len())).filter(|&len| len <= longest);
    }
    // With the mark that one may need, so that what a line begins with does not decide whether it is too long.
    let most = line.len() + end + 1;
    (most <= longest).then(|| most - usize::from(line.first() != Some(&b'~')))
}

/// So long is it in pieces.
pub(super) fn length_in_pieces(len: usize) -> usize {
    len + len.div_ceil(PIECE) * (frame::PART.len() + 2)
}
