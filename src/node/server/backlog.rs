//! What clients make the server hold by not reading: answers that wait for the network, and requests that wait for those.
//!
//! There is one budget for all. How much may be queued for one client shrinks with what is left of it, so that the budget
//! is never used up by those who do not read (dynamic thresholds, Choudhury and Hahne 1998): a client that reads has an
//! empty queue, and is answered whatever the others do.

/// One client's queue may hold this part of what is left of the budget: 128 KiB of the default, until some hundred
/// clients do not read.
const SHARE: usize = 1024;

/// However much is left: what the kernel takes at once, so that more would not make a client faster that reads.
const MOST: usize = 32 << 10;

/// What is held for all clients together.
#[derive(Debug)]
pub(super) struct Backlog {
    budget: usize,
    held: usize,
}

/// What is held for one client.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// As it stands in [`Backlog::held`].
    held: usize,
    /// Requests, as they came, that are answered once earlier answers were read. None: it is read from.
    requests: Option<Box<[u8]>>,
    /// Stands in a list of those that were answered a moment ago.
    pub(super) is_recent: bool,
    /// Stands in the list of those whose requests can be answered now.
    pub(super) is_resumed: bool,
}

impl Backlog {
    pub(super) fn new(budget: usize) -> Self {
        Self { budget, held: 0 }
    }

    /// Bytes.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Whether more may be queued for a client that has this much in its queue. Whatever it is then fits: the answers to
    /// a few requests, or a signal.
    pub(super) fn has_room(&self, queued: usize) -> bool {
        let share = self.budget.saturating_sub(self.held) / SHARE;
        queued < share.clamp(1, MOST)
    }

    /// So much is in a client's queue now.
    pub(super) fn count(&mut self, account: &mut Account, queued: usize) {
        let held = queued + account.requests.as_ref().map_or(0, |requests| requests.len());
        self.held = self.held - account.held + held;
        account.held = held;
    }

    /// The client is gone, or is one no more.
    pub(super) fn close(&mut self, account: Account) {
        self.held -= account.held;
    }
}

impl Account {
    /// Whether requests wait, so that none are to be read.
    pub(super) fn waits(&self) -> bool {
        self.requests.is_some()
    }

    pub(super) fn set_aside(&mut self, requests: Vec<u8>) {
        self.requests = Some(requests.into_boxed_slice());
    }

    /// The requests that waited; then it is read from again.
    pub(super) fn take_requests(&mut self) -> Option<Box<[u8]>> {
        self.requests.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_do_not_read_leave_room_for_those_who_do() {
        let mut backlog = Backlog::new(1 << 20);
        let mut accounts: Vec<Account> = (0..10_000).map(|_| Account::default()).collect();
        // Each takes what it can, 100 bytes at a time, in turns.
        for _ in 0..400 {
            for account in &mut accounts {
                if backlog.has_room(account.held) {
                    let more = account.held + 100;
                    backlog.count(account, more);
                }
            }
        }
        assert!(backlog.held() <= 10_000 * 100 + 1024, "{}", backlog.held());
        assert!(backlog.has_room(0));
        accounts.into_iter().for_each(|account| backlog.close(account));
        assert_eq!(backlog.held(), 0);
    }

    #[test]
    fn one_alone_has_no_more_than_helps_it() {
        let backlog = Backlog::new(1 << 30);
        assert!(backlog.has_room(MOST - 1) && !backlog.has_room(MOST));
        let small = Backlog::new(0);
        assert!(small.has_room(0) && !small.has_room(1));
    }

    #[test]
    fn requests_that_wait_are_counted() {
        let (mut backlog, mut account) = (Backlog::new(1 << 20), Account::default());
        account.set_aside(vec![b'x'; 50]);
        backlog.count(&mut account, 7);
        assert_eq!((backlog.held(), account.waits()), (57, true));
        assert_eq!(account.take_requests().map(|requests| requests.len()), Some(50));
        backlog.count(&mut account, 7);
        assert_eq!((backlog.held(), account.waits()), (7, false));
    }
}
