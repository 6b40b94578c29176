//! A key as a line of text, which is all that a key's file holds.
//!
//! `p2poll-secret-key-1 SEED ID`: the number is the format's version, SEED the 32 bytes in hexadecimal, ID the node id that
//! follows from them. So a person who finds the file sees what it is and whose; and the id, which depends on each bit of
//! the seed, is the checksum, too.

use super::node_id::bytes_of_hex;
use super::{Key, KeyFault, NodeId};

/// Twice as long as the line is; what is longer is not even read.
pub(crate) const LONGEST: usize = 256;

const NAME: &str = "p2poll-secret-key-";
const VERSION: u32 = 1;

pub(crate) fn print(key: &Key) -> String {
    let seed: String = key.seed().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{NAME}{VERSION} {seed} {}\n", key.id())
}

/// Reads such a line, whatever white space an editor has left behind it.
pub(crate) fn parse(text: &[u8]) -> Result<Key, KeyFault> {
    if text.trim_ascii().is_empty() {
        return Err(KeyFault::Empty);
    }
    if text.len() > LONGEST {
        return Err(KeyFault::TooLong);
    }
    let text = str::from_utf8(text).map_err(|_| KeyFault::Foreign)?;
    let rest = text.strip_prefix(NAME).ok_or(KeyFault::Foreign)?;
    let (version, rest) = rest.split_once(' ').ok_or(KeyFault::Damaged)?;
    match version.parse() {
        Ok(VERSION) => key(rest.trim_ascii_end()).ok_or(KeyFault::Damaged),
        Ok(other) => Err(KeyFault::UnknownVersion(other)),
        Err(_) => Err(KeyFault::Damaged),
    }
}

fn key(text: &str) -> Option<Key> {
    let (seed, id) = text.split_once(' ')?;
    let key = Key::from_seed(&bytes_of_hex(seed)?);
    (id.parse::<NodeId>() == Ok(key.id())).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "p2poll-secret-key-1 \
        9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60 21fe31dfa154a261626bf854046fd2271b7bed4b\n";

    #[test]
    fn a_known_line_stays_readable_for_ever() {
        let key = parse(LINE.as_bytes()).unwrap();
        assert_eq!(print(&key), LINE);
        assert!(LINE.len() * 2 <= LONGEST);
    }

    #[test]
    fn editors_may_change_the_end() {
        for line in [LINE.trim_end(), &LINE.replace('\n', "\r\n"), &format!("{LINE}\n")] {
            assert!(parse(line.as_bytes()).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn no_damage_gives_another_key() {
        for place in 0..LINE.len() - 1 {
            for change in [0x01, 0x04, 0x10, 0x80] {
                let mut line = LINE.as_bytes().to_vec();
                line[place] ^= change;
                assert!(parse(&line).is_err(), "{}", line.escape_ascii());
            }
            assert!(parse(&LINE.as_bytes()[..place]).is_err(), "{place}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let fault = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert!(matches!(fault(""), KeyFault::Empty));
        assert!(matches!(fault(" \r\n"), KeyFault::Empty));
        assert!(matches!(fault(&"x".repeat(LONGEST + 1)), KeyFault::TooLong));
        assert!(matches!(fault("-----BEGIN OPENSSH PRIVATE KEY-----\n"), KeyFault::Foreign));
        assert!(matches!(parse(b"\xff\xfe"), Err(KeyFault::Foreign)));
        assert!(matches!(fault(&LINE.replace("-1 ", "-2 ")), KeyFault::UnknownVersion(2)));
        for bad in ["p2poll-secret-key-", "p2poll-secret-key-1 ", "p2poll-secret-key-x 00", &LINE[..90]] {
            assert!(matches!(fault(bad), KeyFault::Damaged), "{bad}");
        }
    }
}
