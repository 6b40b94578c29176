//! Which of several processes it is that hold one key.

use std::fmt;

use super::words::number_of_hex;

/// A number that a process draws at its start: so a node that comes back is told from another one with a copy of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Incarnation(u64);

impl Incarnation {
    pub(crate) const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// 16 hexadecimal digits.
    pub(super) fn parse(word: &[u8]) -> Option<Self> {
        number_of_hex(word).map(Self)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
