//! Short words without a meaning of their own, by which an answer is recognised.

use std::fmt;

use super::{MAX_TOKEN, MIN_NONCE};
use crate::random::Random;

/// What a `PING` carries and its `PONG` returns, and the nonce of a `PROBE`: 1 to [`MAX_TOKEN`] printable ASCII
/// characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token {
    len: u8,
    bytes: [u8; MAX_TOKEN],
}

impl Token {
    pub(crate) fn new(text: &[u8]) -> Option<Self> {
        let fine = (1..=MAX_TOKEN).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
        fine.then(|| {
            let mut bytes = [0; MAX_TOKEN];
            bytes[..text.len()].copy_from_slice(text);
            Self { len: text.len() as u8, bytes }
        })
    }

    /// The token that spells a number.
    pub(crate) fn from_number(number: u64) -> Self {
        let mut token = Self { len: 16, bytes: [0; MAX_TOKEN] };
        for (i, byte) in token.bytes[..16].iter_mut().enumerate() {
            *byte = b"0123456789abcdef"[(number >> (60 - 4 * i)) as usize & 15];
        }
        token
    }

    /// A nonce or a secret name: 32 hexadecimal digits that nobody can guess.
    pub(crate) fn nonce(random: &mut Random) -> Self {
        let mut token = Self::from_number(random.next_u64());
        token.bytes.copy_within(..16, 16);
        token.bytes[..16].copy_from_slice(&Self::from_number(random.next_u64()).bytes[..16]);
        token.len = 32;
        token
    }

    /// Whether it is long enough for a `PROBE`.
    pub(crate) fn is_nonce(&self) -> bool {
        usize::from(self.len) >= MIN_NONCE
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn as_str(&self) -> &str {
        // Made of ASCII only, so the default never happens.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?})", self.as_str())
    }
}
