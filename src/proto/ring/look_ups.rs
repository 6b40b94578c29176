//! The look-ups that this member has begun.

use super::message::{QueryId, Want};
use super::place::Place;

/// How the node wants a look-up done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// From hop to hop, over links that are there.
    Recursive,
}

/// Too many look-ups are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// For whom a look-up is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Node(How),
    /// My own place, on the way in.
    Joiner,
    /// My own place, in another ring.
    Merger,
    /// The finger of that number.
    Finger(u8),
}

#[derive(Clone, Debug)]
pub(super) struct LookUp {
    pub(super) query: QueryId,
    pub(super) key: Place,
    pub(super) want: Want,
    pub(super) whose: Whose,
}

/// Those that have not ended.
#[derive(Clone, Debug, Default)]
pub(super) struct LookUps {
    open: Vec<LookUp>,
}

impl LookUps {
    pub(super) fn add(&mut self, look_up: LookUp) {
        self.open.push(look_up);
    }

    pub(super) fn take(&mut self, query: QueryId) -> Option<LookUp> {
        let position = self.open.iter().position(|open| open.query == query)?;
        Some(self.open.swap_remove(position))
    }

    /// Any one.
    pub(super) fn take_any(&mut self) -> Option<LookUp> {
        self.open.pop()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}
