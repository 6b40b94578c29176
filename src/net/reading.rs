//! Reading lines without asking the node for each of them.
//!
//! Lines of a connection that arrived together are read where they stand. Whoever reads holds a counted reference to them
//! ([`Batch`]); how far it has come stands beside the node ([`Reading`]), in cells, so that no borrow is needed to go on.
//! Everybody who does borrow the node begins a new round: first the node is told what was read, and who was reading asks it
//! anew before the next line. So nobody can see that lines were read together: counters, back-pressure and credit are true
//! whenever they can be looked at, a connection that was closed shows no further line, and a reader that is left, leaked
//! or nested into another needs no farewell.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use bytes::Bytes;

use crate::id::StreamId;
use crate::node::streams::{ReadLines, Rest};
use crate::wire::line::{Found, Line, Shares, Span, find_line, is_same};

/// How far the lines of the present round have been read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// How often the node was borrowed. Who read before the last time has to ask it anew.
    round: Cell<u64>,
    /// Whose lines they are; `None`: the node knows that they were read.
    stream: Cell<Option<StreamId>>,
    /// Where in their piece the round began.
    begin: Cell<usize>,
    /// Where the next line begins.
    at: Cell<usize>,
    /// How many lines were read since the round began.
    lines: Cell<u64>,
    /// What long lines that were read have of their chunks.
    shares: RefCell<Shares>,
}

impl Reading {
    /// The node is about to be borrowed: what was read meanwhile.
    #[inline]
    pub(super) fn end_round(&self) -> Option<ReadLines> {
        self.round.set(self.round.get() + 1);
        if self.lines.get() == 0 { None } else { self.take_read() }
    }

    fn take_read(&self) -> Option<ReadLines> {
        let (lines, len) = (self.lines.take(), self.at.get() - self.begin.get());
        self.stream.get().map(|stream| ReadLines { stream, len, lines })
    }

    fn begin(&self, stream: Option<StreamId>, at: usize) {
        self.stream.set(stream);
        self.begin.set(at);
        self.at.set(at);
    }

    #[inline(always)]
    fn advance(&self, at: usize) {
        self.at.set(at);
        self.lines.set(self.lines.get() + 1);
    }

    /// A long line's share in its chunk.
    #[inline(never)]
    pub(super) fn share(&self, chunk: &Bytes) -> Arc<Bytes> {
        self.shares.borrow_mut().share(chunk)
    }

    /// Lets go of chunks of which no line is held, before more is read from the network.
    #[inline]
    pub(super) fn settle(&self) {
        self.shares.borrow_mut().settle();
    }
}

/// Lines that arrived together, while they are read.
#[derive(Debug)]
pub(super) struct Batch {
    piece: Bytes,
    /// As long as this is the present one, lines may be read.
    round: u64,
    max_line: usize,
    is_escaped: bool,
}

impl Batch {
    /// Takes over lines of the node, which is borrowed: nothing was read in this round yet.
    pub(super) fn take_over(batch: &mut Option<Self>, rest: &Rest<'_>, reading: &Reading) {
        let Rest { stream, piece, at, is_escaped, max_line } = *rest;
        let round = reading.round.get();
        reading.begin(Some(stream), at);
        // The same piece again after each answer that is sent: counting costs more than looking.
        let same = batch.take().filter(|batch| is_same(&batch.piece, piece)).map(|batch| batch.piece);
        let piece = same.unwrap_or_else(|| piece.clone());
        *batch = Some(Self { piece, round, max_line, is_escaped });
    }

    /// A line that the node has given away.
    pub(super) fn of_one(line: &Line, reading: &Reading) -> Self {
        reading.begin(None, 0);
        // With an end that leaves it a CR of its own.
        let piece = [line.as_bytes(), b"\r\n"].concat().into();
        Self { piece, round: reading.round.get(), max_line: usize::MAX, is_escaped: false }
    }

    #[inline(always)]
    pub(super) fn is_current(&self, reading: &Reading) -> bool {
        self.round == reading.round.get()
    }

    /// The next line, where there is one in this round, and none too long for that.
    #[inline(always)]
    pub(super) fn next(&self, reading: &Reading) -> Option<Found<'_>> {
        if !self.is_current(reading) {
            return None;
        }
        let start = reading.at.get();
        let (len, taken) = find_line(self.piece.get(start..)?)?;
        if len > self.max_line {
            return None;
        }
        reading.advance(start + taken);
        let found = Found { chunk: &self.piece, span: Span { start, len } };
        Some(if self.is_escaped { found.unescaped() } else { found })
    }

    /// Whether there is more in this round, which can only be a line that is too long.
    pub(super) fn is_stuck(&self, reading: &Reading) -> bool {
        self.is_current(reading) && reading.at.get() < self.piece.len()
    }
}
