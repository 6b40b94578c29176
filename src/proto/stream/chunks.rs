//! The memory that streams receive into, shared by all streams of a node.

use bytes::BytesMut;

/// How large a chunk is. A long line that is kept keeps one of these, so they are no larger, although still larger ones would
/// be filled by fewer system calls (measured, for each line read: from 64 KiB to this, a twentieth less processor time; twice
/// as much, another tenth).
pub(crate) const CHUNK: usize = 128 << 10;

/// By how much a read may exceed what is to be read at most. Fewer bytes would hardly cost less than these.
pub(crate) const ONE_READ: usize = 64 << 10;

/// The least room offered to a read: below it a fresh chunk is worth more than the rest of the old one.
const LEAST_ROOM: usize = 8 << 10;

/// Chunks that wait to become free again. As many as one stream fills in a tick by default, and as many again; more
/// are given back to the allocator as soon as their lines are dropped.
const RETIRED: usize = 4;

/// The chunk that is being filled, and full ones that are used again when no line of them is held any more: receiving
/// in the steady state allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    current: BytesMut,
    retired: Vec<BytesMut>,
}

impl Chunks {
    /// The current chunk, with room for `prefix` bytes and a read after them.
    pub(crate) fn with_room(&mut self, prefix: usize) -> &mut BytesMut {
        if self.current.len() < prefix + LEAST_ROOM {
            self.renew();
        }
        &mut self.current
    }

    /// The current chunk, as the last [`with_room`](Self::with_room) gave it.
    pub(crate) fn current(&mut self) -> &mut BytesMut {
        &mut self.current
    }

    /// Chunks stay initialised, so that safe code can read into them; that costs one `memset` a chunk.
    fn renew(&mut self) {
        self.current.clear();
        if !self.current.try_reclaim(CHUNK) {
            let free = self.retired.iter_mut().position(|chunk| chunk.try_reclaim(CHUNK));
            let next = match free {
                Some(at) => self.retired.swap_remove(at),
                None => BytesMut::with_capacity(CHUNK),
            };
            let full = std::mem::replace(&mut self.current, next);
            self.retire(full);
        }
        self.current.resize(CHUNK, 0);
    }

    fn retire(&mut self, full: BytesMut) {
        if self.retired.len() == RETIRED {
            self.retired.swap_remove(0);
        }
        self.retired.push(full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills the current chunk but for a little, as a read would.
    fn fill(chunks: &mut Chunks) -> bytes::Bytes {
        chunks.with_room(0);
        chunks.current().split_to(CHUNK - 100).freeze()
    }

    #[test]
    fn chunks_are_used_again_when_no_line_of_them_is_held() {
        let mut chunks = Chunks::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10 {
            let held: Vec<_> = (0..4).map(|_| fill(&mut chunks)).collect();
            seen.extend(held.iter().map(|chunk| chunk.as_ptr()));
        }
        assert!(seen.len() <= 5, "{} chunks", seen.len());
    }

    #[test]
    fn chunks_that_stay_held_are_not_kept_waiting_without_limit() {
        let mut chunks = Chunks::default();
        let held: Vec<_> = (0..100).map(|_| fill(&mut chunks)).collect();
        assert_eq!(held.len(), 100);
        assert!(chunks.retired.len() <= RETIRED);
    }
}
