//! Two streams of which each sends what the other receives: bytes, whatever they are.
//!
//! What was read stands in one buffer that all spliced streams share. What the network does not take from there at
//! once is copied, to the queue of the other stream. A stream is not read while anything stands in that queue: so a
//! slow reader slows its sender down, a pair never holds more than two reads, and what is read and sent are large
//! pieces. An end that finishes sending is told to the other side once all before it is out, and may go on receiving.

use super::{Entry, SocketAction, Streams, mark_unsent};
use crate::error::CloseReason;
use crate::id::StreamId;
use crate::proto::stream::End;
use crate::time::Instant;

/// How much is read at a time, and so may be queued: what fits into a processor's cache, and what a fast line takes
/// between two turns of the loop.
const MOST: usize = 64 << 10;

/// One stream's half of a splice.
#[derive(Debug)]
pub(super) struct Splice {
    /// Where its bytes go. It is spliced as long as this one is.
    other: usize,
    /// How many more bytes may be read.
    allowance: u64,
    /// The peer finished sending.
    finished: bool,
    /// The peer was told that the other stream's peer finished.
    shut: bool,
}

impl<T> Streams<T> {
    /// Passes on all that comes from either of two open streams to the other from now on, without limit until there is a
    /// [`grant`](Self::grant). What has arrived until now is forgotten. False when one of them is over already.
    pub(crate) fn splice(&mut self, a: StreamId, b: StreamId) -> bool {
        let open =
            |id| self.table.get(id).is_some_and(|entry: &Entry<T>| entry.connected && entry.stream.is_open());
        let possible = a != b && open(a) && open(b);
        if possible {
            self.raw.resize(MOST, 0);
            for (id, other) in [(a, b), (b, a)] {
                if let Some(entry) = self.table.get_mut(id) {
                    let (other, allowance) = (other.slot(), u64::MAX);
                    entry.splice = Some(Box::new(Splice { other, allowance, finished: false, shut: false }));
                    entry.stream.forget_arrived();
                    if std::mem::take(&mut entry.parked) {
                        self.resumed.push(id.slot());
                    }
                }
            }
        }
        possible
    }

    /// How many bytes may be read from a spliced stream from now on.
    pub(crate) fn grant(&mut self, id: StreamId, allowance: u64) {
        if let Some(splice) = self.table.get_mut(id).and_then(|entry| entry.splice.as_mut()) {
            splice.allowance = allowance;
            self.resume_spliced(id.slot());
        }
    }

    /// Takes over what was read into [`space`](Streams::space), if the stream is spliced; whether it is.
    pub(crate) fn pass_on(&mut self, slot: usize, len: usize) -> bool {
        let Some(entry) = self.table.at_mut(slot) else { return false };
        let Some(splice) = entry.splice.as_mut() else { return false };
        splice.allowance = splice.allowance.saturating_sub(len as u64);
        let other = splice.other;
        entry.stream.handle_passed(len, 0);
        let sent = std::mem::take(&mut self.passed);
        if let Some(entry) = self.table.at_mut(other) {
            entry.stream.handle_passed(0, sent);
            if let Some(rest) = self.raw.get(sent..len).filter(|rest| !rest.is_empty()) {
                entry.stream.append(rest, &mut self.spare);
                mark_unsent(entry, other, &mut self.unsent);
            }
        }
        true
    }

    /// Where what was just read goes, if the stream is spliced, before [`pass_on`](Self::pass_on) is told. A driver
    /// may send it from here, as nothing is queued before it, and tell by
    /// [`handle_passed_through`](Self::handle_passed_through). It need not; but with many pairs a queue has left the
    /// processor's cache when it is sent (measured with 1000: half as many bytes).
    #[inline]
    pub(crate) fn passing(&self, slot: usize, len: usize) -> Option<(usize, &[u8])> {
        let splice = self.table.at(slot)?.splice.as_ref()?;
        Some((splice.other, self.raw.get(..len)?))
    }

    pub(crate) fn handle_passed_through(&mut self, sent: usize) {
        self.passed = sent;
    }

    /// Ends the splice of a stream: last words to both sides that still listen, and then both are closed.
    pub(crate) fn end_splice(&mut self, id: StreamId, last_words: &[u8], now: Instant) {
        let Some(other) = self.other(id.slot()) else { return };
        for slot in [id.slot(), other] {
            let walks = self.walks;
            let Some(entry) = self.table.at_mut(slot) else { continue };
            let Some(splice) = entry.splice.take() else { continue };
            if !splice.shut {
                entry.stream.append(last_words, &mut self.spare);
                mark_unsent(entry, slot, &mut self.unsent);
            }
            if splice.finished {
                entry.stream.handle_end(End::Finished, walks, now);
            }
            self.close_slot(slot, CloseReason::Local, now);
        }
    }

    /// Room to read a spliced stream into.
    pub(super) fn spliced_space(&mut self, slot: usize) -> Option<&mut [u8]> {
        let room = self.spliced_room(slot);
        if let Some(entry) = self.table.at_mut(slot) {
            entry.parked = room == 0;
        }
        self.raw.get_mut(..room).filter(|space| !space.is_empty())
    }

    /// The network took something of what was queued on a spliced stream.
    pub(super) fn handle_spliced_sent(&mut self, slot: usize) {
        if let Some(other) = self.other(slot) {
            self.resume_spliced(other);
            self.shut_spliced(slot);
        }
    }

    /// The peer of a spliced stream is done. What it sent still goes to the other side.
    pub(super) fn handle_spliced_end(&mut self, slot: usize, end: End, now: Instant) {
        let Some(other) = self.other(slot) else { return };
        let walks = self.walks;
        let Some(entry) = self.table.at_mut(slot) else { return };
        match end {
            End::Finished => {
                if let Some(splice) = entry.splice.as_mut() {
                    splice.finished = true;
                }
                self.shut_spliced(other);
            }
            // Nothing can be said to it any more, so there is no reason to listen to the other side.
            End::Broken(_) => {
                entry.splice = None;
                entry.stream.handle_end(end, walks, now);
                self.touch(slot);
                if let Some(entry) = self.table.at_mut(other) {
                    entry.splice = None;
                    self.close_slot(other, CloseReason::Peer, now);
                }
            }
        }
    }

    fn other(&self, slot: usize) -> Option<usize> {
        Some(self.table.at(slot)?.splice.as_ref()?.other)
    }

    /// How much may be read now.
    fn spliced_room(&self, slot: usize) -> usize {
        let Some(splice) = self.splice_at(slot) else { return 0 };
        let is_empty = self.table.at(splice.other).is_some_and(|entry| entry.stream.queued() == 0);
        let most = if is_empty { MOST } else { 0 };
        usize::try_from(splice.allowance).unwrap_or(MOST).min(most)
    }

    fn resume_spliced(&mut self, slot: usize) {
        let room = self.spliced_room(slot);
        if let Some(entry) = self.table.at_mut(slot)
            && room > 0
            && std::mem::take(&mut entry.parked)
        {
            self.resumed.push(slot);
        }
    }

    /// Tells a spliced stream's peer that there will be no more, once there is no more. When both peers have been
    /// told, it is over.
    fn shut_spliced(&mut self, slot: usize) {
        let Some(other) = self.other(slot) else { return };
        let finished = self.splice_at(other).is_some_and(|splice| splice.finished);
        let Some(entry) = self.table.at_mut(slot).filter(|entry| finished && entry.stream.queued() == 0)
        else {
            return;
        };
        if let Some(splice) = entry.splice.as_mut()
            && !std::mem::replace(&mut splice.shut, true)
        {
            self.actions.push_back(SocketAction::ShutdownWrite { slot });
        }
        if self.splice_at(other).is_some_and(|splice| splice.shut) {
            for slot in [slot, other] {
                if let Some(entry) = self.table.at_mut(slot) {
                    entry.splice = None;
                }
                self.drop_slot(slot, CloseReason::Peer);
            }
        }
    }

    fn splice_at(&self, slot: usize) -> Option<&Splice> {
        self.table.at(slot)?.splice.as_deref()
    }
}
