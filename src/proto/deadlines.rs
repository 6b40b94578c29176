//! Who is due when, in order, with exact removal: what is gone leaves nothing behind, however fast it comes and goes.

use std::collections::BTreeSet;

use crate::time::Instant;

/// The deadlines of many keys, at most one each. A key's owner remembers the instant, which finds the entry again.
#[derive(Debug)]
pub(crate) struct Deadlines<K>(BTreeSet<(Instant, K)>);

impl<K: Copy + Ord> Deadlines<K> {
    pub(crate) const fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// Moves `key`'s deadline from `slot` to `at`, and notes it there.
    pub(crate) fn set(&mut self, key: K, slot: &mut Option<Instant>, at: Option<Instant>) {
        if let Some(old) = slot.take() {
            self.0.remove(&(old, key));
        }
        if let Some(at) = at {
            self.0.insert((at, key));
        }
        *slot = at;
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes out the next key that is due. Its owner then sets another deadline, or none.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop_first().map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_deadline_leaves_nothing_behind() {
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        let (mut deadlines, mut slot) = (Deadlines::new(), None);
        deadlines.set('a', &mut slot, Some(at(5)));
        deadlines.set('a', &mut slot, Some(at(9)));
        assert_eq!((deadlines.pop_due(at(8)), deadlines.pop_due(at(9))), (None, Some('a')));
        deadlines.set('a', &mut slot, None);
        assert_eq!((deadlines.next(), slot), (None, None));
    }
}
