//! What comes first on an accepted direct connection tells who has dialled.

use crate::wire::hello::{HELLO, Hello, MAX_HELLO};
use crate::wire::nonce::{self, Nonce};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// That can not be told yet. Where it stays so for too long, it is a plain peer: netcat may be silent.
    Undecided,
    /// A node: the first line is a hello, and is there with its end.
    Hello,
    /// pyp2p. The nonce is to be taken off; what follows it are the application's lines.
    Pyp2pNonce(Nonce),
    /// A plain peer, and all of it is the application's.
    Plain,
}

/// What the bytes that have arrived so far are. The answer does not depend on how they were cut: 64 hexadecimal digits
/// are a nonce even where a line end follows, since pyp2p's first line may be an empty one.
pub(crate) fn classify(arrived: &[u8]) -> Opening {
    match nonce::read(arrived) {
        nonce::Begin::Whole(nonce) => return Opening::Pyp2pNonce(nonce),
        nonce::Begin::Begun => return Opening::Undecided,
        nonce::Begin::None if HELLO.starts_with(arrived) => return Opening::Undecided,
        nonce::Begin::None => {}
    }
    if arrived.starts_with(HELLO) { classify_hello(arrived) } else { Opening::Plain }
}

/// What begins like a hello is one when its line, which is not looked for beyond the limit, is well-formed.
fn classify_hello(arrived: &[u8]) -> Opening {
    // A line of the limit's length may have two bytes of end.
    let within = arrived.get(..MAX_HELLO + 2).unwrap_or(arrived);
    match memchr::memchr(b'\n', within) {
        None if within.len() < MAX_HELLO + 2 => Opening::Undecided,
        None => Opening::Plain,
        Some(end) => {
            let line = &within[..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if Hello::parse(line).is_some() { Opening::Hello } else { Opening::Plain }
        }
    }
}
