//! Who is in the ring: a node, and which life of it.

use std::fmt;

use super::place::Place;

/// Which time this is that a node is in the ring: drawn at each join, so that what was meant for an earlier life, or
/// still comes from one, is told apart from the present one. (Zave's model has no messages under way, and Verdi-Chord
/// forbids an address to come back; here both happen.)
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Life(pub(crate) u64);

impl Life {
    /// Whichever it is: what is said to a node of which only the id is known, or by one that is in no ring.
    pub(crate) const ANY: Self = Self(0);
}

/// A node in one of its lives. Another life of the same node is somebody else at the same place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    pub(crate) place: Place,
    pub(crate) life: Life,
}

impl Member {
    /// Stands where nobody is yet, and never leaves the function that needs it.
    pub(super) const NOBODY: Self = Self { place: Place::ZERO, life: Life::ANY };
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0 >> 48)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.place, self.life)
    }
}
