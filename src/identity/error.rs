//! What can be wrong with a key's file.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a key could not be read from its file, or a new one not be kept there.
///
/// The file is as it was: a key that can not be read is never replaced, because with it goes the node's name. Mend it,
/// bring it back from a copy, or move it away for a new key.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: KeyFault,
}

/// What is wrong with a key's file.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyFault {
    /// There is nothing in it.
    Empty,
    /// It is longer than any key's file.
    TooLong,
    /// It is some other file, which does not begin as a key's file does; or no regular file at all.
    Foreign,
    /// A later version of p2poll has written it, in this format.
    UnknownVersion(u32),
    /// It was a key's file, but what it says does not fit together any more.
    Damaged,
    /// Others than its owner may read or write it (unix only): this is its mode. Whoever has read the key can claim to be
    /// this node, so this is an error and not a warning that nobody sees, as it is with ssh. `chmod 600` mends the
    /// file, but does not call back what was read.
    Exposed(u32),
    /// It belongs to another user (unix only), with this number, who knows it, and may change it.
    Owner(u32),
    /// The operating system could not read or write it.
    System(io::Error),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.fault)
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            KeyFault::System(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the key file is empty"),
            Self::TooLong => f.write_str("not a key file: it is too long"),
            Self::Foreign => f.write_str("not a key file"),
            Self::UnknownVersion(version) => {
                write!(f, "a key file of version {version}, which this version of p2poll does not know")
            }
            Self::Damaged => f.write_str("the key file is damaged"),
            Self::Exposed(mode) => write!(
                f,
                "others may read or write this key (mode {mode:03o}); make it yours alone with chmod 600, or make a new one"
            ),
            Self::Owner(user) => write!(f, "this key belongs to another user (number {user}), who knows it"),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for KeyFault {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
