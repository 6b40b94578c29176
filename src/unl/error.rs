//! What can be wrong with a UNL.

use std::fmt;

/// Why a text is no UNL, or why none could be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnlError {
    /// The text is something else.
    Foreign,
    /// It is of this version, which is not known here.
    UnknownVersion(u32),
    /// Its end is missing: not all of it was copied.
    Truncated,
    /// More follows than belongs to it, or it is longer than any may be.
    TooLong,
    /// There is a character in it that no UNL has.
    BadCharacter(char),
    /// Something in it has changed since it was made: its checksum does not fit. Mistyped, most of the time.
    Altered,
    /// The key that it names has not signed it: somebody has forged or changed it, and has mended the checksum.
    BadSignature,
    /// It says something that has to be understood, in a field of this number, which is not known here: it was made by a
    /// later version of p2poll.
    UnknownField(u8),
    /// A field says what it can not say.
    BadField {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl UnlError {
    pub(super) const fn field(field: &'static str, why: &'static str) -> Self {
        Self::BadField { field, why }
    }
}

impl fmt::Display for UnlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("not a UNL"),
            Self::UnknownVersion(version) => {
                write!(f, "a UNL of version {version}, which this version of p2poll does not know")
            }
            Self::Truncated => f.write_str("the end of the UNL is missing"),
            Self::TooLong => f.write_str("the UNL is too long: something follows that does not belong to it"),
            Self::BadCharacter(character) => write!(f, "no UNL has a {character:?} in it"),
            Self::Altered => f.write_str("the UNL was altered or mistyped: its checksum does not fit"),
            Self::BadSignature => {
                f.write_str("the UNL is forged: the key that it names has not signed what it says")
            }
            Self::UnknownField(number) => {
                write!(f, "the UNL has a field ({number}) that only a later version of p2poll understands")
            }
            Self::BadField { field, why } => write!(f, "the UNL's {field} is bad: {why}"),
        }
    }
}

impl std::error::Error for UnlError {}
