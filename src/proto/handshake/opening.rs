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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkNonce;
    use crate::identity::Key;

    fn hello() -> Vec<u8> {
        let key = Key::from_seed(&[1; 32]).public();
        Hello { key, nonce: LinkNonce::from_bytes([2; 16]), credit: 7, call: None, upgrade: false }.print()
    }

    #[test]
    fn a_hello_is_one_when_its_line_has_ended() {
        let hello = hello();
        for length in 0..hello.len() {
            assert_eq!(classify(&hello[..length]), Opening::Undecided, "{length}");
        }
        assert_eq!(classify(&hello), Opening::Hello);
        assert_eq!(classify(&[&hello[..], b"more"].concat()), Opening::Hello);
        assert_eq!(classify(&[&hello[..hello.len() - 2], b"\n"].concat()), Opening::Hello);
    }

    #[test]
    fn what_only_begins_like_a_hello_is_a_plain_peer() {
        for line in ["~hello\r\n", "~hello \r\n", "~hello {}\r\n", "~hello you\r\n", "~hellO ", "~hello\t{"] {
            assert_eq!(classify(line.as_bytes()), Opening::Plain, "{line:?}");
        }
    }

    #[test]
    fn the_end_of_a_hello_is_awaited_up_to_the_limit() {
        let mut hello = hello();
        hello.truncate(hello.len() - 2);
        hello.resize(MAX_HELLO, b' ');
        assert_eq!(classify(&hello), Opening::Undecided);
        assert_eq!(classify(&[&hello[..], b"\r"].concat()), Opening::Undecided);
        assert_eq!(classify(&[&hello[..], b"\r\n"].concat()), Opening::Hello);
        assert_eq!(classify(&[&hello[..], b"\n"].concat()), Opening::Hello);
        assert_eq!(classify(&[&hello[..], b" \n"].concat()), Opening::Plain);
        assert_eq!(classify(&[&hello[..], b"  "].concat()), Opening::Plain);
    }

    #[test]
    fn pyp2p_is_known_by_its_digits() {
        let nonce = *b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        assert!((0..64).all(|length| classify(&nonce[..length]) == Opening::Undecided));
        assert_eq!(classify(&nonce), Opening::Pyp2pNonce(nonce));
        assert_eq!(classify(&[&nonce[..], b"\r\n"].concat()), Opening::Pyp2pNonce(nonce));
        assert_eq!(classify(&[&nonce[..63], b"\n"].concat()), Opening::Plain);
    }

    #[test]
    fn netcat_is_plain_with_its_first_byte_unless_it_may_be_somebody_else() {
        for line in ["hello", "\n", " ", "x", "~~", "~h\n", "cafe\n", "\0"] {
            assert_eq!(classify(line.as_bytes()), Opening::Plain, "{line:?}");
        }
        for begin in ["", "~", "~hello", "~hello ", "cafe", "0"] {
            assert_eq!(classify(begin.as_bytes()), Opening::Undecided, "{begin:?}");
        }
    }
}
