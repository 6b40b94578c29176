//! Protocol lines and the application's on one connection: which is which, where both may come.
//!
//! From its own hello on, what a side sends that begins with `~` is protocol. An application's line that begins so gets
//! one more, which the other side takes off.

use std::borrow::Cow;

/// What a protocol line begins with.
const MARK: u8 = b'~';

/// Whether the line, without its end, belongs to the protocol.
pub(crate) fn is_protocol(line: &[u8]) -> bool {
    line.first() == Some(&MARK) && line.get(1) != Some(&MARK)
}

/// How the application's line is sent.
pub(crate) fn escape(line: &[u8]) -> Cow<'_, [u8]> {
    if line.first() == Some(&MARK) { [&[MARK], line].concat().into() } else { line.into() }
}

/// What the application is shown of a line that is none of the protocol.
#[inline]
pub(crate) fn unescape(line: &[u8]) -> &[u8] {
    line.strip_prefix(&[MARK]).filter(|rest| rest.first() == Some(&MARK)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_tilde_is_protocol_and_two_are_one_of_the_application() {
        for (line, sent) in [("", ""), ("x~", "x~"), ("~", "~~"), ("~hello", "~~hello"), ("~~", "~~~")] {
            assert_eq!(escape(line.as_bytes()), sent.as_bytes());
            assert_eq!(unescape(sent.as_bytes()), line.as_bytes());
        }
        assert!(is_protocol(b"~") && is_protocol(b"~hello {}"));
        assert!(!is_protocol(b"") && !is_protocol(b"~~") && !is_protocol(b" ~"));
    }

    proptest! {
        #[test]
        fn whatever_the_application_says_arrives_and_is_no_protocol(
            tildes in 0usize..4,
            rest: Vec<u8>,
        ) {
            let line = [vec![MARK; tildes], rest].concat();
            let sent = escape(&line);
            prop_assert!(!is_protocol(&sent));
            prop_assert_eq!(unescape(&sent), &line[..]);
        }
    }
}
