//! How much of the application's lines may be under way on a node link: the reader grants it, in bytes on the wire.
//!
//! A plain stream holds up its sender by not being read. A node link is always read, as protocol lines come between the
//! application's, so the application's have to be held up by an agreement: each side says in its hello how many bytes of
//! lines it takes, and more (`~more TOTAL`) when its application has read half of them, or has read anything and the other side
//! waits (`~want`) with a line that is longer than what is left. Totals count from the hello on, so that an old word
//! is no harm and a link that goes another way goes on counting (as MAX_DATA of QUIC does, RFC 9000 section 4.1).
//!
//! What counts are the application's lines as they stand on the wire: with their ends, the doubled `~`, and the marks of the
//! pieces of a long one. Protocol lines do not.

/// What a peer may be wrong by: a line that a relay cut off was never whole.
const SLACK: u64 = 256;

/// What this side may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendCredit {
    /// What the peer took from the beginning: no line may be longer.
    window: u64,
    /// Bytes that may be sent in all, since the hello.
    granted: u64,
    /// Bytes that were begun.
    used: u64,
    /// The peer was told that a line waits, since it granted more last.
    asked: bool,
}

/// What this side takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveCredit {
    window: u64,
    granted: u64,
    received: u64,
    /// The peer waits with a line.
    asked: bool,
}

impl SendCredit {
    pub(super) fn new(window: u64) -> Self {
        Self { window, granted: window, used: 0, asked: false }
    }

    /// The longest line that can ever be sent.
    pub(super) fn longest(&self) -> u64 {
        self.window
    }

    /// The peer takes so much in all. An older word that comes late says less.
    pub(super) fn handle_grant(&mut self, total: u64) {
        self.asked &= total <= self.granted;
        self.granted = self.granted.max(total);
    }

    /// Whether the peer is to be told that a line waits, which is told once.
    pub(super) fn ask(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    /// How much may be begun now.
    #[inline]
    pub(super) fn left(&self) -> u64 {
        self.granted.saturating_sub(self.used)
    }

    /// Whether lines of this length may be begun; then they are.
    #[inline]
    pub(super) fn take(&mut self, len: u64) -> bool {
        let fits = len <= self.left();
        if fits {
            self.used += len;
        }
        fits
    }
}

impl ReceiveCredit {
    pub(super) fn new(window: u64) -> Self {
        Self { window, granted: window, received: 0, asked: false }
    }

    /// So much of the application's has arrived; false: more than was granted.
    pub(super) fn handle_received(&mut self, len: usize) -> bool {
        self.received = self.received.saturating_add(len as u64);
        self.received <= self.granted.saturating_add(SLACK)
    }

    /// The same link's, which goes on elsewhere, where so much has come already.
    pub(super) fn followed_by(self, next: Self) -> Self {
        Self {
            received: self.received.saturating_add(next.received),
            asked: self.asked || next.asked,
            ..self
        }
    }

    /// The peer waits with a line.
    pub(super) fn handle_asked(&mut self) {
        self.asked = true;
    }

    /// The total to be granted now that so much of what has arrived waits to be read, if it is worth a word.
    pub(super) fn poll_grant(&mut self, unread: usize) -> Option<u64> {
        if !self.is_due(unread) {
            return None;
        }
        self.granted = self.wanted(unread);
        self.asked = false;
        Some(self.granted)
    }

    /// Whether [`poll_grant`](Self::poll_grant) has something to say.
    #[inline]
    pub(super) fn is_due(&self, unread: usize) -> bool {
        let more = self.wanted(unread).saturating_sub(self.granted);
        more > 0 && (self.asked || more >= self.window / 2)
    }

    fn wanted(&self, unread: usize) -> u64 {
        // Lines from before the hello wait as well, and were not counted.
        self.received.saturating_sub(unread as u64).saturating_add(self.window)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_begun_only_if_all_of_it_is_covered() {
        let mut credit = SendCredit::new(10);
        assert!(credit.take(7) && !credit.take(4) && credit.take(3));
        credit.handle_grant(14);
        credit.handle_grant(12); // an older word
        assert!(!credit.take(5) && credit.take(4) && !credit.take(1));
        assert_eq!(credit.longest(), 10);
    }

    #[test]
    fn more_is_granted_when_half_was_read_and_never_less() {
        let mut credit = ReceiveCredit::new(100);
        assert!(credit.handle_received(80));
        assert_eq!(credit.poll_grant(80), None);
        assert_eq!(credit.poll_grant(31), None);
        assert_eq!(credit.poll_grant(30), Some(150));
        assert_eq!(credit.poll_grant(30), None, "said once");
        assert!(credit.handle_received(70));
        assert_eq!(credit.poll_grant(200), None, "lines from before the hello");
        assert!(!credit.handle_received(1 + SLACK as usize));
    }

    #[test]
    fn a_line_that_waits_gets_what_there_is() {
        let (mut sender, mut receiver) = (SendCredit::new(100), ReceiveCredit::new(100));
        assert!(sender.take(30) && !sender.take(71));
        assert!(receiver.handle_received(30));
        assert_eq!(receiver.poll_grant(0), None, "less than half");
        assert!(sender.ask() && !sender.ask());
        receiver.handle_asked();
        assert_eq!(receiver.poll_grant(30), None, "nothing was read");
        assert_eq!(receiver.poll_grant(0), Some(130));
        sender.handle_grant(130);
        assert!(sender.take(71) && sender.ask());
    }

    proptest! {
        /// However both sides go on, nothing is sent that was not granted, and who reads everything stops nobody.
        #[test]
        fn sender_and_receiver_agree(lens in prop::collection::vec(1u64..60, 1..200), reads in prop::collection::vec(0usize..80, 1..200)) {
            let (mut sender, mut receiver) = (SendCredit::new(64), ReceiveCredit::new(64));
            let (mut unread, mut reads) = (0usize, reads.into_iter().cycle());
            for len in lens {
                let mut stalled = 0;
                while !sender.take(len) {
                    if sender.ask() {
                        receiver.handle_asked();
                    }
                    unread -= unread.min(reads.next().unwrap_or(1).max(1));
                    if let Some(total) = receiver.poll_grant(unread) {
                        sender.handle_grant(total);
                    }
                    stalled += 1;
                    prop_assert!(stalled < 200, "it never goes on");
                }
                unread += len as usize;
                prop_assert!(receiver.handle_received(len as usize));
                prop_assert!(unread <= 64);
            }
        }
    }
}
