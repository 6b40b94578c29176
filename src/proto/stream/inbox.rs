//! What has arrived on a stream and has not been read by the application.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

use super::chunks::Chunks;
use crate::wire::line::{Found, Span, find_line};

/// An unfinished line up to this length is copied to the front of the chunk that its continuation is read into, so
/// that it becomes a slice like the others; a longer one collects in memory of its own instead.
const SMALL_TAIL: usize = 8 << 10;

/// Unread pieces below this are joined: each piece may hold on to a whole chunk, sixteen times as much, so there must not be
/// many.
const SMALL_PIECE: usize = 8 << 10;

/// Capacity that an idle stream may keep for its next unfinished line.
const KEPT_TAIL: usize = 256;

/// Whole lines, as slices of the chunks that they arrived in, and the beginning of the next one.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Each ends with a line end.
    pieces: VecDeque<Bytes>,
    /// How much of the first piece has been read.
    read: usize,
    /// Bytes in `pieces` that have not been read.
    unread: usize,
    /// A line without its end yet.
    tail: Vec<u8>,
    /// A line over the limit came: nothing after it is kept.
    overflowed: bool,
}

impl Inbox {
    /// Bytes of whole lines that wait for the application.
    pub(crate) fn unread(&self) -> usize {
        self.unread
    }

    /// The first piece of what is unread: whole lines, or else the unfinished one.
    pub(crate) fn first(&self) -> &[u8] {
        // What was read to its end stays until the next is asked for.
        let read = |piece: &&Bytes| piece.len() == self.read;
        match self.pieces.front() {
            None => &self.tail,
            Some(piece) if read(&piece) => self.pieces.get(1).map_or(&self.tail, |next| next),
            Some(piece) => piece.get(self.read..).unwrap_or_default(),
        }
    }

    /// Takes off the first bytes of what is unread, as far as they have arrived together.
    pub(crate) fn skip(&mut self, len: usize) {
        match self.pieces.front() {
            None => drop(self.tail.drain(..len.min(self.tail.len()))),
            Some(piece) => {
                let len = len.min(piece.len() - self.read);
                self.read += len;
                self.unread -= len;
            }
        }
    }

    /// Whether a line over the limit has come, and all before it were read.
    pub(crate) fn is_stuck(&self) -> bool {
        self.overflowed && self.unread == 0
    }

    pub(crate) fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Room in the shared chunk to read the stream into; then call [`handle_received`](Self::handle_received).
    pub(crate) fn space<'a>(&self, chunks: &'a mut Chunks) -> &'a mut [u8] {
        let prefix = self.prefix();
        let chunk = chunks.with_room(prefix);
        chunk[..prefix].copy_from_slice(&self.tail[..prefix]);
        &mut chunk[prefix..]
    }

    /// Takes over the `len` bytes that were read into [`space`](Self::space).
    pub(crate) fn handle_received(&mut self, chunks: &mut Chunks, len: usize, max_line: usize) {
        for lines in self.receive(chunks, len) {
            self.push(lines);
        }
        self.check_tail(max_line);
    }

    /// The same, but for the whole lines that have arrived, which are given back to be looked at: in two parts, either of which
    /// may be empty. Then [`check_tail`](Self::check_tail) is due.
    pub(super) fn receive(&mut self, chunks: &mut Chunks, len: usize) -> [Bytes; 2] {
        let chunk = chunks.current();
        let prefix = self.prefix();
        let read = (prefix + len).min(chunk.len());
        let Some(end) = memchr::memrchr(b'\n', &chunk[prefix..read]) else {
            self.tail.extend_from_slice(&chunk[prefix..read]);
            return [Bytes::new(), Bytes::new()];
        };
        let lines = if prefix < self.tail.len() {
            self.finish_long_tail(chunk, end)
        } else {
            [Bytes::new(), chunk.split_to(prefix + end + 1).freeze()]
        };
        let rest = read - (prefix + end + 1);
        self.tail.clear();
        if self.tail.capacity() > KEPT_TAIL {
            self.tail = Vec::new();
        }
        self.tail.extend_from_slice(&chunk[..rest]);
        lines
    }

    /// All that was not read, but for an unfinished line.
    pub(super) fn take_unread(&mut self) -> Vec<Bytes> {
        let mut pieces: Vec<Bytes> = std::mem::take(&mut self.pieces).into();
        if let Some(first) = pieces.first_mut() {
            first.advance(self.read);
        }
        (self.read, self.unread) = (0, 0);
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    /// Puts whole lines in front of all that was not read.
    pub(super) fn put_back(&mut self, lines: Bytes) {
        let rest = self.take_unread();
        for piece in [lines].into_iter().chain(rest) {
            self.push(piece);
        }
    }

    /// The place of the next whole line; [`found`](Self::found) gives it, until the next call.
    #[inline(always)]
    pub(crate) fn next_line(&mut self, max_line: usize) -> Option<Span> {
        if self.unread == 0 {
            return None;
        }
        if self.pieces.front().is_some_and(|piece| piece.len() == self.read) {
            self.drop_piece();
        }
        // Every piece ends with a line end, so there is one.
        let (len, taken) = find_line(&self.pieces.front()?[self.read..])?;
        let start = self.read;
        self.read += taken;
        self.unread -= taken;
        if len > max_line {
            self.discard();
            self.overflowed = true;
            return None;
        }
        Some(Span { start, len })
    }

    /// Where the line stands that was read last.
    #[inline(always)]
    pub(crate) fn found(&self, span: Span) -> Option<Found<'_>> {
        Some(Found { chunk: self.pieces.front()?, span })
    }

    /// What stands behind the line that was read last, where it arrived together: the piece, and where the next line begins.
    #[inline]
    pub(crate) fn rest(&mut self) -> Option<(&Bytes, usize)> {
        if self.unread == 0 {
            return None;
        }
        if self.pieces.front().is_some_and(|piece| piece.len() == self.read) {
            self.drop_piece();
        }
        Some((self.pieces.front()?, self.read))
    }

    /// So much of [`rest`](Self::rest) was read, in whole lines.
    #[inline]
    pub(crate) fn handle_read(&mut self, len: usize) {
        self.read += len;
        self.unread -= len;
        if self.pieces.front().is_some_and(|piece| piece.len() == self.read) {
            self.drop_piece();
        }
    }

    /// Before the next read: lets go of what was read, and, where the application had its turn and did not read it all,
    /// of the chunk that a short rest holds.
    pub(crate) fn settle(&mut self) {
        let Some(piece) = self.pieces.front_mut() else { return };
        if self.read == piece.len() {
            self.drop_piece();
        } else if piece.len() - self.read < SMALL_PIECE {
            *piece = Bytes::copy_from_slice(&piece[self.read..]);
            self.read = 0;
        }
    }

    fn drop_piece(&mut self) {
        self.pieces.pop_front();
        self.read = 0;
    }

    /// Forgets everything.
    pub(crate) fn discard(&mut self) {
        self.pieces = VecDeque::new();
        self.read = 0;
        self.unread = 0;
        self.tail = Vec::new();
    }

    /// How much of the unfinished line goes in front of what is read next.
    fn prefix(&self) -> usize {
        if self.tail.len() <= SMALL_TAIL { self.tail.len() } else { 0 }
    }

    /// The long unfinished line ends within what was read: it becomes a piece of its own memory, and what follows
    /// it up to the last line end, at `end`, a slice of the chunk.
    fn finish_long_tail(&mut self, chunk: &mut BytesMut, end: usize) -> [Bytes; 2] {
        let mut whole = chunk.split_to(end + 1).freeze();
        // `end` is a line end, so there is a first one.
        let first = memchr::memchr(b'\n', &whole).unwrap_or(end);
        self.tail.extend_from_slice(&whole[..=first]);
        whole.advance(first + 1);
        let tail = std::mem::take(&mut self.tail);
        [tail.into(), whole]
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() || self.overflowed {
            return;
        }
        if self.unread == 0 {
            // What was read last is not to be joined with what comes now.
            self.drop_piece();
        }
        self.unread += piece.len();
        match self.pieces.back_mut() {
            // The first piece may have been read from; then what was read goes along.
            Some(last) if last.len() < SMALL_PIECE && piece.len() < SMALL_PIECE => {
                *last = [&last[..], &piece[..]].concat().into();
            }
            _ => self.pieces.push_back(piece),
        }
    }

    /// Whether the unfinished line is too long already.
    pub(super) fn check_tail(&mut self, max_line: usize) {
        // One more than the limit, for a CR that may turn out to belong to the end.
        if self.tail.len() > max_line.saturating_add(1) || self.overflowed {
            self.overflowed = true;
            self.tail = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn receive(inbox: &mut Inbox, chunks: &mut Chunks, mut bytes: &[u8], max_line: usize) {
        while !bytes.is_empty() {
            let space = inbox.space(chunks);
            let len = bytes.len().min(space.len());
            space[..len].copy_from_slice(&bytes[..len]);
            inbox.handle_received(chunks, len, max_line);
            bytes = &bytes[len..];
        }
    }

    fn read(inbox: &mut Inbox, max_line: usize) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| {
            inbox.next_line(max_line).map(|span| inbox.found(span).expect("just read").as_bytes().to_vec())
        })
        .collect()
    }

    #[test]
    fn lines_before_one_over_the_limit_are_delivered() {
        let (mut inbox, mut chunks) = (Inbox::default(), Chunks::default());
        receive(&mut inbox, &mut chunks, b"one\r\ntwo\n123456", 5);
        assert!(!inbox.has_overflowed(), "the sixth byte may be a CR");
        receive(&mut inbox, &mut chunks, b"7", 5);
        assert!(inbox.has_overflowed() && !inbox.is_stuck());
        receive(&mut inbox, &mut chunks, b"8\nafter\n", 5);
        assert_eq!(read(&mut inbox, 5), [b"one", b"two"]);
        assert!(inbox.is_stuck());
    }

    #[test]
    fn a_whole_line_over_the_limit_overflows_when_its_turn_comes() {
        let (mut inbox, mut chunks) = (Inbox::default(), Chunks::default());
        receive(&mut inbox, &mut chunks, b"12345\r\n123456\nafter\n", 5);
        assert_eq!(read(&mut inbox, 5), [b"12345"]);
        assert!(inbox.is_stuck());
        assert_eq!(inbox.unread(), 0);
    }

    #[test]
    fn what_was_read_is_not_carried_along() {
        let (mut inbox, mut chunks) = (Inbox::default(), Chunks::default());
        for _ in 0..3 {
            receive(&mut inbox, &mut chunks, b"one\ntwo\n", 100);
            assert_eq!(inbox.next_line(100).map(|span| span.start), Some(0));
            inbox.next_line(100).expect("the second");
            // The reader stops here, without having asked whether there is more.
        }
        assert_eq!(inbox.pieces.len(), 1);
        assert_eq!(inbox.pieces[0], "one\ntwo\n");
    }

    #[test]
    fn unread_trickles_do_not_pile_up_pieces() {
        let (mut inbox, mut chunks) = (Inbox::default(), Chunks::default());
        for _ in 0..10_000 {
            receive(&mut inbox, &mut chunks, b"tick\n", 100);
        }
        assert!(inbox.pieces.len() <= 50_000 / SMALL_PIECE + 1, "{} pieces", inbox.pieces.len());
        assert_eq!(read(&mut inbox, 100).len(), 10_000);
    }

    proptest! {
        /// However the stream is cut into reads, the same lines come out, and the count of unread bytes is true.
        #[test]
        fn cuts_do_not_matter(
            lines in prop::collection::vec((0usize..30_000, any::<bool>()), 0..12),
            cuts in prop::collection::vec(1usize..40_000, 1..20),
        ) {
            let mut stream = Vec::new();
            for &(len, crlf) in &lines {
                stream.extend((0..len).map(|n| b'a' + (n % 26) as u8));
                stream.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
            }
            let (mut inbox, mut chunks) = (Inbox::default(), Chunks::default());
            let mut rest = &stream[..];
            for &cut in cuts.iter().cycle().take(200) {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                receive(&mut inbox, &mut chunks, now, 1 << 20);
                rest = later;
            }
            receive(&mut inbox, &mut chunks, rest, 1 << 20);
            prop_assert_eq!(inbox.unread(), stream.len());
            let lengths: Vec<usize> = read(&mut inbox, 1 << 20).iter().map(Vec::len).collect();
            prop_assert_eq!(lengths, lines.iter().map(|&(len, _)| len).collect::<Vec<_>>());
            prop_assert_eq!(inbox.unread(), 0);
        }
    }
}
