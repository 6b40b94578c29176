//! Calls that are known though they are not, or no longer, under way.

use std::collections::VecDeque;

use crate::id::CallId;

/// Of each kind so many are remembered. Of those that were taken: as many as come in a quarter of an hour by default.
const REMEMBERED: usize = 1024;

/// Calls that were taken, and calls of ours that are over: the last [`REMEMBERED`] of each.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    taken: VecDeque<CallId>,
    over: VecDeque<CallId>,
}

impl Remembered {
    /// Takes another node's call; whether it is a new one, and not one that is played again.
    pub(crate) fn take(&mut self, id: CallId) -> bool {
        let is_new = !self.taken.contains(&id);
        if is_new {
            push(&mut self.taken, id);
        }
        is_new
    }

    /// A call of ours is over: what it still brings is left over.
    pub(crate) fn end(&mut self, id: CallId) {
        push(&mut self.over, id);
    }

    /// Whether it was one of ours that is over.
    pub(crate) fn was_ours(&self, id: CallId) -> bool {
        self.over.contains(&id)
    }

    /// How many of other nodes' are remembered.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.taken.len()
    }
}

fn push(calls: &mut VecDeque<CallId>, id: CallId) {
    if calls.len() >= REMEMBERED {
        calls.pop_front();
    }
    calls.push_back(id);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u32) -> CallId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        CallId::from_bytes(bytes)
    }

    #[test]
    fn a_call_is_taken_once() {
        let mut remembered = Remembered::default();
        assert!(remembered.take(call(1)) && remembered.take(call(2)));
        assert!(!remembered.take(call(1)), "played again");
        assert!(!remembered.was_ours(call(1)));
    }

    #[test]
    fn the_last_ones_are_remembered_and_no_more() {
        let mut remembered = Remembered::default();
        for number in 0..3000 {
            assert!(remembered.take(call(number)));
            remembered.end(call(number));
        }
        assert_eq!((remembered.taken.len(), remembered.over.len()), (REMEMBERED, REMEMBERED));
        assert!(!remembered.take(call(2999)) && !remembered.take(call(3000 - REMEMBERED as u32)));
        assert!(remembered.was_ours(call(2999)) && !remembered.was_ours(call(0)));
        assert!(remembered.take(call(0)), "forgotten by now");
    }
}
