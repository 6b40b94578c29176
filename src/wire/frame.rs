//! The lines that a node link puts between the application's, other than the handshake's.
//!
//! | line | meaning |
//! |---|---|
//! | `~more TOTAL` | so many bytes of the application's lines are taken in all, since the handshake |
//! | `~want` | a line waits for more of that |
//! | `~part TEXT` | a piece of an application's line that is not its last |
//! | `~last TEXT` | the last piece |
//! | `~moved` | the last line on this path: what follows comes on the other one |
//! | `~ping TEXT`, `~pong TEXT` | are you there; yes |
//!
//! What begins with `~` and is none of these is of a later version and passed over.

use bytes::Bytes;

pub(crate) const WANT: &[u8] = b"~want\r\n";
pub(crate) const PART: &[u8] = b"~part ";
/// As long as [`PART`].
pub(crate) const LAST: &[u8] = b"~last ";

const MORE: &[u8] = b"~more ";

/// What concerns the stream itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    More(u64),
    Want,
    /// The text begins there.
    Part(usize),
    Last(usize),
    /// Everything else: for whoever has the link.
    Other,
}

impl Frame {
    /// Of a protocol line, with its end or without.
    pub(crate) fn parse(line: &[u8]) -> Self {
        if line.starts_with(PART) {
            return Self::Part(PART.len());
        }
        if line.starts_with(LAST) {
            return Self::Last(LAST.len());
        }
        let text = line.trim_ascii_end();
        if text == WANT.trim_ascii_end() {
            return Self::Want;
        }
        text.strip_prefix(MORE).and_then(number).map_or(Self::Other, Self::More)
    }
}

/// With its end.
pub(crate) fn more(total: u64) -> Vec<u8> {
    [MORE, total.to_string().as_bytes(), b"\r\n"].concat()
}

/// Takes off the end of one line.
pub(crate) fn without_end(mut line: Bytes) -> Bytes {
    for end in [b'\n', b'\r'] {
        if line.last() == Some(&end) {
            line.truncate(line.len() - 1);
        }
    }
    line
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lines_are_these() {
        assert_eq!(more(12), b"~more 12\r\n");
        assert_eq!(Frame::parse(b"~more 12"), Frame::More(12));
        assert_eq!(Frame::parse(b"~want"), Frame::Want);
        assert_eq!(Frame::parse(b"~part  x"), Frame::Part(6));
        assert_eq!(Frame::parse(b"~last "), Frame::Last(6));
        for other in [
            "~",
            "~moved",
            "~more",
            "~more ",
            "~more +1",
            "~more -1",
            "~more 1 2",
            "~wanted",
            "~part",
            "~more 99999999999999999999",
        ] {
            assert_eq!(Frame::parse(other.as_bytes()), Frame::Other, "{other}");
        }
    }

    #[test]
    fn one_end_is_taken_off() {
        for (line, text) in [("x\r\n", "x"), ("x\n", "x"), ("x\r\r\n", "x\r"), ("x", "x"), ("", "")] {
            assert_eq!(without_end(Bytes::copy_from_slice(line.as_bytes())), text);
        }
    }

    proptest! {
        #[test]
        fn totals_survive(total: u64) {
            prop_assert_eq!(Frame::parse(&more(total)), Frame::More(total));
        }

        #[test]
        fn no_line_is_too_odd(line: Vec<u8>) {
            let _ = Frame::parse(&line);
        }
    }
}
