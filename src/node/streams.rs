//! The streams of a node: which there are, which have something to read or to send, and which are to be closed.
//!
//! A driver (sockets in `net`, virtual links in `sim`) keeps a stream of its own under the same slot. A slot is free
//! for another stream only after the driver was told to close the old one, in one queue of actions, so the two never
//! disagree about whose slot it is.

#[cfg(test)]
mod batches;
mod splice;
mod table;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;

use crate::config::StreamLimits;
use crate::error::{CloseReason, SendError};
use crate::id::StreamId;
use crate::proto::stream::chunks::Chunks;
use crate::proto::stream::{Counters, End, LineStream, SpareBuffers, Step};
use crate::time::Instant;
use crate::wire::line::Found;
use splice::Splice;
use table::Table;

/// What the driver is to do with a stream's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketAction {
    /// `from`: an address of this machine; its port, unless 0, may be one that other streams are dialled from too.
    Dial {
        slot: usize,
        to: SocketAddr,
        from: Option<SocketAddr>,
    },
    ShutdownWrite {
        slot: usize,
    },
    Close {
        slot: usize,
    },
}

/// A stream that is over.
#[derive(Debug)]
pub(crate) struct Dropped<T> {
    pub(crate) id: StreamId,
    pub(crate) tag: T,
    pub(crate) why: CloseReason,
    /// Before all that was queued had gone out.
    pub(crate) unsaid: bool,
    /// What went through it.
    pub(crate) counters: Counters,
}

/// What is known of a stream from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamFacts {
    pub(crate) counters: Counters,
    pub(crate) opened: Instant,
    pub(crate) peer: SocketAddr,
    pub(crate) local: Option<SocketAddr>,
}

/// Lines that have arrived together and were not read.
#[derive(Debug)]
pub(crate) struct Rest<'a> {
    pub(crate) stream: StreamId,
    /// It ends with a line end.
    pub(crate) piece: &'a Bytes,
    /// Where the next line begins in it.
    pub(crate) at: usize,
    /// The lines are a node link's.
    pub(crate) is_escaped: bool,
    /// A longer line has to be asked for by itself.
    pub(crate) max_line: usize,
}

/// What was read of a [`Rest`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLines {
    pub(crate) stream: StreamId,
    /// Bytes, line ends included.
    pub(crate) len: usize,
    pub(crate) lines: u64,
}

#[derive(Debug)]
struct Entry<T> {
    stream: LineStream,
    tag: T,
    peer: SocketAddr,
    local: Option<SocketAddr>,
    /// When this stream wants `settle_ended`; the same as in `deadlines`.
    deadline: Option<Instant>,
    connected: bool,
    /// Stands in `unsent`.
    dirty: bool,
    /// Stands in `ready`.
    ready: bool,
    /// The driver was refused room to receive into and waits to be told.
    parked: bool,
    /// Stands in `touched`.
    touched: bool,
    /// Something was refused because too much was queued.
    refused: bool,
    /// Its bytes are another stream's.
    splice: Option<Box<Splice>>,
}

/// All streams of a node. `T` is what the node knows of each.
#[derive(Debug)]
pub(crate) struct Streams<T> {
    limits: StreamLimits,
    table: Table<Entry<T>>,
    chunks: Chunks,
    spare: SpareBuffers,
    /// What spliced streams are read into.
    raw: Vec<u8>,
    /// How much of what was read into it last has been sent already.
    passed: usize,
    actions: VecDeque<SocketAction>,
    /// Streams on which something was queued since they were last offered to the driver.
    unsent: Vec<usize>,
    /// Streams that had something to read when they were put here.
    ready: Vec<StreamId>,
    /// Parked streams that have room again.
    resumed: Vec<usize>,
    /// Streams whose state may ask for a step.
    touched: Vec<usize>,
    deadlines: BTreeSet<(Instant, usize)>,
    dropped: VecDeque<Dropped<T>>,
    /// A stream that refused something has room again, and the application was not told.
    relieved: bool,
    /// How many walks over its connections the application has finished.
    walks: u64,
}

impl<T> Streams<T> {
    pub(crate) fn new(limits: StreamLimits) -> Self {
        Self {
            limits,
            table: Table::new(),
            chunks: Chunks::default(),
            spare: SpareBuffers::default(),
            raw: Vec::new(),
            passed: 0,
            actions: VecDeque::new(),
            unsent: Vec::new(),
            ready: Vec::new(),
            resumed: Vec::new(),
            touched: Vec::new(),
            deadlines: BTreeSet::new(),
            dropped: VecDeque::new(),
            relieved: false,
            walks: 0,
        }
    }

    pub(crate) fn limits(&self) -> &StreamLimits {
        &self.limits
    }

    /// Takes in a stream that a peer opened.
    pub(crate) fn accept(&mut self, peer: SocketAddr, local: SocketAddr, tag: T, now: Instant) -> StreamId {
        let id = self.insert(peer, tag, now);
        if let Some(entry) = self.table.get_mut(id) {
            entry.connected = true;
            entry.local = Some(local);
        }
        id
    }

    /// Begins to open a stream; [`handle_connected`](Self::handle_connected) or
    /// [`abandon`](Self::abandon) follows.
    pub(crate) fn dial(
        &mut self,
        to: SocketAddr,
        from: Option<SocketAddr>,
        tag: T,
        now: Instant,
    ) -> StreamId {
        let id = self.insert(to, tag, now);
        self.actions.push_back(SocketAction::Dial { slot: id.slot(), to, from });
        id
    }

    /// The stream that was dialled is open from now on.
    pub(crate) fn handle_connected(
        &mut self,
        slot: usize,
        local: SocketAddr,
        now: Instant,
    ) -> Option<StreamId> {
        let entry = self.table.at_mut(slot).filter(|entry| !entry.connected)?;
        entry.connected = true;
        entry.local = Some(local);
        entry.stream = LineStream::new(now);
        self.table.id_at(slot)
    }

    /// Forgets a stream without ceremony: a dial that failed, or lost a race.
    pub(crate) fn abandon(&mut self, id: StreamId) -> Option<T> {
        self.table.get(id)?;
        self.remove(id.slot()).map(|entry| entry.tag)
    }

    /// Room to read the stream into, unless the application has enough to read from it.
    pub(crate) fn space(&mut self, slot: usize) -> Option<&mut [u8]> {
        if self.table.at(slot)?.splice.is_some() {
            return self.spliced_space(slot);
        }
        let entry = self.table.at_mut(slot)?;
        let space = entry.stream.space(&self.limits, &mut self.chunks);
        entry.parked = space.is_none();
        space
    }

    /// Takes over what was read into [`space`](Self::space).
    pub(crate) fn handle_received(&mut self, slot: usize, len: usize) {
        let Some(entry) = self.table.at_mut(slot) else { return };
        entry.stream.handle_received(&mut self.chunks, len, &self.limits);
        if entry.stream.is_framed() {
            entry.stream.work_on_credit(&mut self.spare);
            if !entry.stream.unsent().is_empty() {
                mark_unsent(entry, slot, &mut self.unsent);
            }
            if entry.stream.wants_step() {
                self.touch(slot);
            }
        }
        let Some(entry) = self.table.at_mut(slot) else { return };
        if entry.stream.unread() > 0 {
            if !entry.ready {
                entry.ready = true;
                self.ready.extend(self.table.id_at(slot));
            }
        } else {
            self.touch(slot);
        }
    }

    /// The peer's side of the stream ended.
    pub(crate) fn handle_end(&mut self, slot: usize, end: End, now: Instant) {
        let walks = self.walks;
        if let Some(entry) = self.table.at_mut(slot) {
            if entry.splice.is_some() {
                return self.handle_spliced_end(slot, end, now);
            }
            entry.stream.handle_end(end, walks, now);
            self.touch(slot);
        }
    }

    /// The peer's side of the stream is about to end, as soon as all that came before has been read.
    pub(crate) fn handle_hangup(&mut self, slot: usize, now: Instant) {
        let walks = self.walks;
        // What is spliced waits for no application.
        if let Some(entry) = self.table.at_mut(slot).filter(|entry| entry.splice.is_none()) {
            entry.stream.handle_hangup(walks, now);
            self.touch(slot);
        }
    }

    /// What is to be sent on the stream next.
    pub(crate) fn unsent(&self, slot: usize) -> &[u8] {
        match self.table.at(slot) {
            Some(entry) if entry.connected => entry.stream.unsent(),
            _ => &[],
        }
    }

    /// The network took `len` bytes of [`unsent`](Self::unsent).
    pub(crate) fn handle_sent(&mut self, slot: usize, len: usize) {
        let Some(entry) = self.table.at_mut(slot) else { return };
        entry.stream.handle_sent(len, &mut self.spare);
        // Half of it, so that a sender that fills the queue is not woken for every few bytes.
        if entry.refused && entry.stream.is_ours() && entry.stream.queued() <= self.limits.max_queued / 2 {
            entry.refused = false;
            self.relieved = true;
        }
        if entry.splice.is_some() {
            self.handle_spliced_sent(slot);
        } else if !entry.stream.is_open() {
            self.touch(slot);
        }
    }

    /// The next stream on which something was queued.
    pub(crate) fn poll_unsent(&mut self) -> Option<usize> {
        let slot = self.unsent.pop()?;
        if let Some(entry) = self.table.at_mut(slot) {
            entry.dirty = false;
        }
        Some(slot)
    }

    /// The next stream that was refused room to receive into and has some again.
    pub(crate) fn poll_resumed(&mut self) -> Option<usize> {
        self.resumed.pop()
    }

    /// The next thing for the driver to do, at once: with `Close` the slot is free for another stream.
    pub(crate) fn poll_action(&mut self) -> Option<SocketAction> {
        let action = self.actions.pop_front()?;
        if let SocketAction::Close { slot } = action {
            self.table.release(slot);
        }
        Some(action)
    }

    /// The next stream that is over.
    pub(crate) fn poll_dropped(&mut self) -> Option<Dropped<T>> {
        self.dropped.pop_front()
    }

    /// Lets streams that are ending go on ending.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(deadline, slot)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            if let Some(entry) = self.table.at_mut(slot) {
                entry.deadline = None;
            }
            self.touch(slot);
        }
        for slot in std::mem::take(&mut self.touched) {
            self.settle_ended(slot, now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if !self.touched.is_empty() {
            return Some(Instant::ZERO);
        }
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Whether the driver has something to carry out.
    pub(crate) fn is_busy(&self) -> bool {
        !(self.actions.is_empty()
            && self.unsent.is_empty()
            && self.resumed.is_empty()
            && self.dropped.is_empty())
    }

    /// The application has finished a walk over its connections.
    pub(crate) fn handle_walk(&mut self) {
        self.walks += 1;
    }

    /// Drops from the ready streams those that were read meanwhile, before more are read from the network.
    pub(crate) fn settle_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        ready.retain(|&id| match self.table.get_mut(id) {
            Some(entry) if entry.stream.unread() > 0 => {
                entry.stream.settle();
                if entry.stream.owes_grant() {
                    entry.stream.work_on_credit(&mut self.spare);
                    mark_unsent(entry, id.slot(), &mut self.unsent);
                }
                true
            }
            Some(entry) => {
                // An idle stream holds no chunk.
                entry.stream.settle();
                entry.ready = false;
                false
            }
            None => false,
        });
        self.ready = ready;
    }

    /// Streams with whole lines to read, as of the last time that something was received.
    pub(crate) fn ready(&self) -> &[StreamId] {
        &self.ready
    }

    /// Whether a stream that refused something has room again. Tells it once.
    pub(crate) fn take_relieved(&mut self) -> bool {
        std::mem::take(&mut self.relieved)
    }

    /// The same, without taking note that it was told.
    pub(crate) fn is_relieved(&self) -> bool {
        self.relieved
    }

    /// Returns how much is queued now.
    #[inline]
    pub(crate) fn queue_line(&mut self, id: StreamId, line: &[u8]) -> Result<usize, SendError> {
        let entry = self.table.get_mut(id).ok_or(SendError::Closed)?;
        if let Err(why) = entry.stream.queue_line(line, &self.limits, &mut self.spare) {
            entry.refused |= why == SendError::Full;
            return Err(why);
        }
        mark_unsent(entry, id.slot(), &mut self.unsent);
        Ok(entry.stream.queued())
    }

    /// All or none. Returns how much is queued now.
    pub(crate) fn queue_lines(&mut self, id: StreamId, lines: &[&[u8]]) -> Result<usize, SendError> {
        let entry = self.table.get_mut(id).ok_or(SendError::Closed)?;
        if let Err(why) = entry.stream.queue_lines(lines, &self.limits, &mut self.spare) {
            entry.refused |= why == SendError::Full;
            return Err(why);
        }
        mark_unsent(entry, id.slot(), &mut self.unsent);
        Ok(entry.stream.queued())
    }

    /// Returns how much is queued now.
    pub(crate) fn queue_raw(&mut self, id: StreamId, bytes: &[u8]) -> Result<usize, SendError> {
        let entry = self.table.get_mut(id).ok_or(SendError::Closed)?;
        let queued = entry.stream.queue_raw(bytes, &self.limits, &mut self.spare);
        entry.refused |= queued == Err(SendError::Full);
        queued?;
        mark_unsent(entry, id.slot(), &mut self.unsent);
        Ok(entry.stream.queued())
    }

    /// Queues lines of the protocol, with their ends.
    pub(crate) fn queue_protocol(&mut self, id: StreamId, lines: &[u8]) -> Result<(), SendError> {
        let entry = self.table.get_mut(id).ok_or(SendError::Closed)?;
        entry.stream.queue_protocol(lines, &self.limits, &mut self.spare)?;
        mark_unsent(entry, id.slot(), &mut self.unsent);
        Ok(())
    }

    /// From now on what is sent is a node link's. `takes`: how many bytes of the application's lines this side takes, as its
    /// hello says; `may_send`: how many the peer does.
    pub(crate) fn frame_sending(&mut self, id: StreamId, takes: u64, may_send: u64) {
        if let Some(entry) = self.table.get_mut(id) {
            entry.stream.frame_sending(takes, may_send);
        }
    }

    /// From now on so is what arrives, and what has arrived and was not read. `is_relayed`: a relay passes it on, and says why
    /// when it ends that.
    pub(crate) fn frame_receiving(&mut self, id: StreamId, is_relayed: bool) {
        if let Some(entry) = self.table.get_mut(id) {
            if is_relayed {
                entry.stream.expect_relay_end();
            }
            entry.stream.frame_receiving(&self.limits);
            self.settle_framed(id);
        }
    }

    /// The next protocol line of a node link that has arrived, without its end.
    pub(crate) fn next_protocol(&mut self, id: StreamId) -> Option<Bytes> {
        self.table.get_mut(id)?.stream.next_protocol()
    }

    /// Puts whole lines in front of what was not read.
    pub(crate) fn put_back(&mut self, id: StreamId, lines: Bytes) {
        if let Some(entry) = self.table.get_mut(id) {
            entry.stream.put_back(lines);
            self.offer_unread(id);
        }
    }

    /// A link goes on over `next`: nothing more is sent on `old` but these last words. Whether both are there for that.
    pub(crate) fn hand_over_sending(&mut self, old: StreamId, next: StreamId, last_words: &[u8]) -> bool {
        let Some([from, to]) = self.table.pair_mut(old, next) else { return false };
        if !from.stream.is_open() || !to.stream.is_open() {
            return false;
        }
        from.stream.hand_over_sending(&mut to.stream, last_words, &mut self.spare);
        // Whoever waits for room has it there.
        self.relieved |= std::mem::take(&mut from.refused);
        mark_unsent(from, old.slot(), &mut self.unsent);
        mark_unsent(to, next.slot(), &mut self.unsent);
        true
    }

    /// All that comes on `old` has come, so that `next` is read from here on.
    pub(crate) fn hand_over_receiving(&mut self, old: StreamId, next: StreamId) {
        if let Some([from, to]) = self.table.pair_mut(old, next) {
            from.stream.hand_over_receiving(&mut to.stream);
        }
        self.hold(next, false);
        self.settle_framed(next);
    }

    /// After something came on a node link, or of it was read: the peer is told that it may send more, and what it takes goes.
    fn settle_framed(&mut self, id: StreamId) {
        let Some(entry) = self.table.get_mut(id) else { return };
        entry.stream.work_on_credit(&mut self.spare);
        if !entry.stream.unsent().is_empty() {
            mark_unsent(entry, id.slot(), &mut self.unsent);
        }
        if entry.stream.wants_step() {
            self.touch(id.slot());
        }
    }

    /// Takes off the first bytes of what has arrived.
    pub(crate) fn skip(&mut self, id: StreamId, len: usize) {
        if let Some(entry) = self.table.get_mut(id) {
            entry.stream.skip(len);
        }
    }

    /// Has the application look at a stream again that may have something to read.
    pub(crate) fn offer_unread(&mut self, id: StreamId) {
        if let Some(entry) = self.table.get_mut(id)
            && entry.stream.unread() > 0
            && !entry.ready
        {
            entry.ready = true;
            self.ready.push(id);
        }
    }

    /// The next whole line that arrived on a stream.
    #[inline(always)]
    pub(crate) fn next_line(&mut self, id: StreamId) -> Option<Found<'_>> {
        let entry = self.table.get_mut(id)?;
        let span = entry.stream.next_line(&self.limits);
        note_read(entry, id.slot(), &self.limits, &mut self.resumed, &mut self.touched);
        entry.stream.found(span?)
    }

    /// The lines of a stream that have arrived together, to be read where they stand; then
    /// [`handle_read`](Self::handle_read) is due.
    #[inline]
    pub(crate) fn rest(&mut self, id: StreamId) -> Option<Rest<'_>> {
        let stream = &mut self.table.get_mut(id)?.stream;
        let is_escaped = stream.is_framed();
        let (piece, at) = stream.rest()?;
        Some(Rest { stream: id, piece, at, is_escaped, max_line: self.limits.max_line })
    }

    /// So much of [`rest`](Self::rest) was read.
    pub(crate) fn handle_read(&mut self, read: ReadLines) {
        let Some(entry) = self.table.get_mut(read.stream) else { return };
        entry.stream.handle_read(read.len, read.lines);
        note_read(entry, read.stream.slot(), &self.limits, &mut self.resumed, &mut self.touched);
    }

    /// Whether a whole line waits to be read.
    pub(crate) fn has_lines(&self, id: StreamId) -> bool {
        self.table.get(id).is_some_and(|entry| entry.stream.unread() > 0)
    }

    /// What has arrived and was not read: whole lines, as far as they arrived together, or the beginning of one.
    pub(crate) fn arrived(&mut self, id: StreamId) -> &[u8] {
        self.table.get_mut(id).map_or(&[], |entry| entry.stream.arrived())
    }

    /// Closes a stream from this side: what is queued still goes out.
    pub(crate) fn close(&mut self, id: StreamId, now: Instant) -> bool {
        self.close_for(id, CloseReason::Local, now)
    }

    /// The same, for this reason.
    pub(crate) fn close_for(&mut self, id: StreamId, why: CloseReason, now: Instant) -> bool {
        let is_ours = self.table.get(id).is_some_and(|entry| entry.stream.is_ours());
        if is_ours {
            self.close_slot(id.slot(), why, now);
        }
        is_ours
    }

    /// Whether the id names a stream that this side has not closed.
    pub(crate) fn is_open(&self, id: StreamId) -> bool {
        self.table.get(id).is_some_and(|entry| entry.connected && entry.stream.is_ours())
    }

    pub(crate) fn queued(&self, id: StreamId) -> usize {
        self.table.get(id).map_or(0, |entry| entry.stream.queued())
    }

    /// Gives back what the memory of a stream's queue has beyond what it holds.
    pub(crate) fn trim_queue(&mut self, id: StreamId) {
        if let Some(entry) = self.table.get_mut(id) {
            entry.stream.trim_queue();
        }
    }

    pub(crate) fn facts(&self, id: StreamId) -> Option<StreamFacts> {
        self.table.get(id).map(|entry| StreamFacts {
            counters: entry.stream.counters(),
            opened: entry.stream.opened(),
            peer: entry.peer,
            local: entry.local,
        })
    }

    pub(crate) fn tag(&self, id: StreamId) -> Option<&T> {
        self.table.get(id).map(|entry| &entry.tag)
    }

    pub(crate) fn tag_mut(&mut self, id: StreamId) -> Option<&mut T> {
        self.table.get_mut(id).map(|entry| &mut entry.tag)
    }

    /// The stream that has this slot now.
    pub(crate) fn id_at(&self, slot: usize) -> Option<StreamId> {
        self.table.id_at(slot)
    }

    /// Every stream, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (StreamId, &T)> {
        self.table.iter().map(|(id, entry)| (id, &entry.tag))
    }

    /// How many streams there are, in whatever state.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Leaves alone what arrives: it is neither received nor shown. Or no more.
    pub(crate) fn hold(&mut self, id: StreamId, held: bool) {
        let Some(entry) = self.table.get_mut(id) else { return };
        entry.stream.hold(held);
        if !held {
            if std::mem::take(&mut entry.parked) {
                self.resumed.push(id.slot());
            }
            self.offer_unread(id);
            self.touch(id.slot());
        }
    }

    /// The peer may need all the time there is to come to the end of this stream, as there is another one.
    pub(crate) fn expect_late_end(&mut self, id: StreamId) {
        if let Some(entry) = self.table.get_mut(id) {
            entry.stream.expect_late_end();
        }
    }

    /// This stream does not end before another one has.
    pub(crate) fn await_other(&mut self, id: StreamId) {
        if let Some(entry) = self.table.get_mut(id) {
            entry.stream.await_other();
        }
    }

    /// It has; `unsaid`: before everything had gone out on it.
    pub(crate) fn end_await(&mut self, id: StreamId, unsaid: bool) {
        if let Some(entry) = self.table.get_mut(id) {
            entry.stream.end_await(unsaid);
            self.touch(id.slot());
        }
    }

    fn insert(&mut self, peer: SocketAddr, tag: T, now: Instant) -> StreamId {
        self.table.insert(Entry {
            stream: LineStream::new(now),
            tag,
            peer,
            local: None,
            deadline: None,
            connected: false,
            dirty: false,
            ready: false,
            parked: false,
            touched: false,
            refused: false,
            splice: None,
        })
    }

    fn remove(&mut self, slot: usize) -> Option<Entry<T>> {
        let entry = self.table.remove(slot)?;
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, slot));
        }
        self.actions.push_back(SocketAction::Close { slot });
        Some(entry)
    }

    fn close_slot(&mut self, slot: usize, why: CloseReason, now: Instant) {
        let limits = self.limits;
        let Some(entry) = self.table.at_mut(slot) else { return };
        entry.stream.close(why, &limits, now);
        if std::mem::take(&mut entry.parked) {
            self.resumed.push(slot);
        }
        self.touch(slot);
    }

    fn drop_slot(&mut self, slot: usize, why: CloseReason) {
        if let (Some(id), Some(entry)) = (self.id_at(slot), self.remove(slot)) {
            let (unsaid, counters) = (entry.stream.queued() > 0, entry.stream.counters());
            self.dropped.push_back(Dropped { id, tag: entry.tag, why, unsaid, counters });
        }
    }

    fn touch(&mut self, slot: usize) {
        if let Some(entry) = self.table.at_mut(slot)
            && !entry.touched
        {
            entry.touched = true;
            self.touched.push(slot);
        }
    }

    /// Does what the link asks for, and notes when it wants to be asked again.
    fn settle_ended(&mut self, slot: usize, now: Instant) {
        let (limits, walks) = (self.limits, self.walks);
        let Some(entry) = self.table.at_mut(slot) else { return };
        entry.touched = false;
        if entry.stream.owes_grant() {
            entry.stream.work_on_credit(&mut self.spare);
            mark_unsent(entry, slot, &mut self.unsent);
        }
        let step = entry.stream.poll_step(&limits, walks, now);
        // What a stream that is closing still receives is read and thrown away.
        let resumed = entry.parked && !entry.stream.is_ours();
        entry.parked &= !resumed;
        let before = std::mem::replace(&mut entry.deadline, entry.stream.poll_timeout());
        let after = entry.deadline;
        if before != after {
            self.deadlines.extend(after.map(|deadline| (deadline, slot)));
            before.map(|deadline| self.deadlines.remove(&(deadline, slot)));
        }
        self.resumed.extend(resumed.then_some(slot));
        match step {
            None => {}
            Some(Step::ShutdownWrite) => self.actions.push_back(SocketAction::ShutdownWrite { slot }),
            Some(Step::Drop(why)) => self.drop_slot(slot, why),
        }
    }
}

/// After something of a stream was read: who waits for that goes on.
#[inline(always)]
fn note_read<T>(
    entry: &mut Entry<T>,
    slot: usize,
    limits: &StreamLimits,
    resumed: &mut Vec<usize>,
    touched: &mut Vec<usize>,
) {
    if entry.parked && entry.stream.unread() < limits.max_unread {
        entry.parked = false;
        resumed.push(slot);
    }
    if entry.stream.unread() == 0 && !entry.touched && entry.stream.wants_step() {
        entry.touched = true;
        touched.push(slot);
    }
}

#[inline]
fn mark_unsent<T>(entry: &mut Entry<T>, slot: usize, unsent: &mut Vec<usize>) {
    if !entry.dirty {
        entry.dirty = true;
        unsent.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams() -> Streams<u8> {
        Streams::new(StreamLimits::default())
    }

    fn addr() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 9))
    }

    #[test]
    fn an_id_of_an_ended_stream_names_nothing_even_when_its_slot_is_used_again() {
        let mut streams = streams();
        let old = streams.accept(addr(), addr(), 1, Instant::ZERO);
        streams.handle_end(old.slot(), End::Finished, Instant::ZERO);
        streams.handle_timeout(Instant::ZERO);
        assert_eq!(streams.poll_action(), Some(SocketAction::Close { slot: old.slot() }));
        let dropped = streams.poll_dropped().expect("it is over");
        assert_eq!((dropped.id, dropped.tag, dropped.why), (old, 1, CloseReason::Peer));
        let new = streams.accept(addr(), addr(), 2, Instant::ZERO);
        assert_eq!(new.slot(), old.slot());
        assert_eq!(streams.tag(old), None);
        assert_eq!(streams.tag(new), Some(&2));
        assert_eq!(streams.queue_line(old, b"x"), Err(SendError::Closed));
    }

    #[test]
    fn a_stream_that_was_full_tells_once_when_it_has_room_again() {
        let mut streams = Streams::new(StreamLimits { max_queued: 10, ..StreamLimits::default() });
        let id = streams.accept(addr(), addr(), 1, Instant::ZERO);
        streams.queue_line(id, b"12345678").expect("it fits");
        streams.handle_sent(id.slot(), 2);
        assert!(!streams.take_relieved(), "it was never full");
        assert_eq!(streams.queue_line(id, b"123"), Err(SendError::Full));
        streams.handle_sent(id.slot(), 2);
        assert!(!streams.take_relieved(), "more than half is still queued");
        streams.handle_sent(id.slot(), 2);
        assert!(streams.take_relieved());
        streams.handle_sent(id.slot(), 4);
        assert!(!streams.take_relieved());
    }

    #[test]
    fn a_parked_stream_is_resumed_when_it_was_read() {
        let mut streams = streams();
        let id = streams.accept(addr(), addr(), 1, Instant::ZERO);
        let mut fed = 0;
        while let Some(space) = streams.space(id.slot()) {
            space.fill(b'\n');
            let len = space.len();
            streams.handle_received(id.slot(), len);
            fed += len;
        }
        assert_eq!(streams.ready(), [id]);
        assert_eq!(streams.poll_resumed(), None);
        let lines = std::iter::from_fn(|| streams.next_line(id).map(drop)).count();
        assert_eq!(lines, fed);
        assert_eq!(streams.poll_resumed(), Some(id.slot()));
        assert_eq!(streams.poll_resumed(), None);
        streams.settle_ready();
        assert_eq!(streams.ready(), []);
    }
}
