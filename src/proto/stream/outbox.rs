//! What is queued on a stream and has not been taken by the network.

/// Capacity that an idle stream may keep for what it sends next.
const KEPT: usize = 256;

/// A queue of bytes with an end that is written to and a front that is sent from.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// How much of `bytes` has been sent.
    sent: usize,
}

impl Outbox {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be sent next.
    #[inline]
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The end to append to. A buffer from `spare` is taken where there is none yet.
    #[inline]
    pub(crate) fn tail(&mut self, spare: &mut SpareBuffers) -> &mut Vec<u8> {
        if self.bytes.capacity() <= KEPT {
            spare.exchange(&mut self.bytes);
        }
        &mut self.bytes
    }

    /// Takes off what follows the first `at` bytes.
    pub(super) fn split_off(&mut self, at: usize) -> Vec<u8> {
        self.bytes.split_off((self.sent + at).min(self.bytes.len()))
    }

    /// Keeps no more memory than what is queued.
    pub(crate) fn trim(&mut self) {
        if self.bytes.capacity() > KEPT {
            self.bytes.drain(..self.sent);
            self.sent = 0;
            self.bytes.shrink_to_fit();
        }
    }

    /// The network took `len` bytes. A buffer that is empty goes to `spare`.
    pub(crate) fn handle_sent(&mut self, len: usize, spare: &mut SpareBuffers) {
        self.sent += len.min(self.len());
        if self.is_empty() {
            self.bytes.clear();
            self.sent = 0;
            if self.bytes.capacity() > KEPT {
                spare.give(std::mem::take(&mut self.bytes));
            }
        } else if self.sent > self.bytes.len() / 2 {
            // Moves at most as much as was sent since the last time, so each byte once on average.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}

/// Buffers that were grown for one stream and serve the next, so that sending in a loop does not allocate, and an
/// idle stream holds nothing.
#[derive(Debug, Default)]
pub(crate) struct SpareBuffers(Vec<Vec<u8>>);

impl SpareBuffers {
    /// Enough for the few streams that are written between two flushes in the usual program.
    const LIMIT: usize = 8;

    /// A larger one is given back to the allocator: it grew for a peer that did not read. What a program sends to one
    /// that does stays below: from an eighth of this on it is sent at once.
    const LARGEST: usize = 1 << 20;

    fn exchange(&mut self, small: &mut Vec<u8>) {
        if let Some(mut large) = self.0.pop() {
            large.extend_from_slice(small);
            *small = large;
        }
    }

    fn give(&mut self, buffer: Vec<u8>) {
        if self.0.len() < Self::LIMIT && buffer.capacity() <= Self::LARGEST {
            self.0.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_idle_outbox_holds_nothing_and_its_buffer_is_used_again() {
        let (mut outbox, mut spare) = (Outbox::default(), SpareBuffers::default());
        outbox.tail(&mut spare).extend_from_slice(&[1; 5000]);
        outbox.handle_sent(5000, &mut spare);
        assert_eq!(outbox.bytes.capacity(), 0);
        let mut other = Outbox::default();
        assert!(other.tail(&mut spare).capacity() >= 5000);
    }

    #[test]
    fn a_trimmed_outbox_holds_what_is_queued_and_no_more() {
        let (mut outbox, mut spare) = (Outbox::default(), SpareBuffers::default());
        outbox.tail(&mut spare).extend_from_slice(&[1; 5000]);
        outbox.handle_sent(2000, &mut spare);
        outbox.trim();
        assert_eq!((outbox.unsent(), outbox.bytes.capacity() < 4000), (&[1; 3000][..], true));
        outbox.handle_sent(3000, &mut spare);
        outbox.trim();
        assert_eq!((outbox.len(), outbox.bytes.capacity()), (0, 0));
    }

    proptest! {
        /// It is a queue: what goes in comes out, in order, however it is cut.
        #[test]
        fn bytes_come_out_as_they_went_in(steps in prop::collection::vec((0usize..700, 0usize..700), 0..60)) {
            let (mut outbox, mut spare) = (Outbox::default(), SpareBuffers::default());
            let mut model = VecDeque::new();
            let mut next = 0u8;
            for (put, take) in steps {
                for _ in 0..put {
                    outbox.tail(&mut spare).push(next);
                    model.push_back(next);
                    next = next.wrapping_add(1);
                }
                let take = take.min(outbox.len());
                prop_assert!(outbox.unsent()[..take].iter().eq(model.iter().take(take)));
                outbox.handle_sent(take, &mut spare);
                model.drain(..take);
                prop_assert_eq!(outbox.len(), model.len());
            }
        }
    }
}
