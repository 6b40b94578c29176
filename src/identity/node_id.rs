//! The id of a node.

use std::fmt;
use std::str::FromStr;

/// The name of a node: the first 160 bits of the SHA-256 of its public key.
///
/// Nobody chooses it, and nobody can claim one whose [`Key`](crate::Key) he does not hold. It is written as 40
/// hexadecimal digits.
///
/// ```
/// use p2poll::{Key, NodeId};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let id = Key::generate()?.id();
/// assert_eq!(id.to_string().len(), 40);
/// assert_eq!(id.to_string().parse::<NodeId>()?, id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; Self::LENGTH]);

impl NodeId {
    /// How many bytes it has: as many as a UNL's id field, and as an identifier of Chord.
    pub const LENGTH: usize = 20;

    /// The id that these bytes are, whoever it belongs to.
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// Its bytes, the most significant first.
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// Reads 40 hexadecimal digits, large or small.
impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        bytes_of_hex(text).map(Self).ok_or(NodeIdError)
    }
}

/// The text is no [`NodeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeIdError;

impl fmt::Display for NodeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a node id: it has 40 hexadecimal digits")
    }
}

impl std::error::Error for NodeIdError {}

/// Exactly so many bytes, two digits each.
pub(super) fn bytes_of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    // At most 15, with a radix of 16.
    char::from(character).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_printed_and_read() {
        let id = NodeId::from_bytes(std::array::from_fn(|n| n as u8 * 13));
        let text = "000d1a2734414e5b6875828f9ca9b6c3d0ddeaf7";
        assert_eq!(id.to_string(), text);
        assert_eq!(format!("{id:?}"), format!("NodeId({text})"));
        assert_eq!((text.parse(), text.to_uppercase().parse()), (Ok(id), Ok(id)));
    }

    #[test]
    fn other_texts_are_none() {
        let digits = "0".repeat(40);
        for bad in ["", &digits[1..], &format!("{digits}0"), &digits.replacen("00", "+f", 1), &"ä".repeat(20)]
        {
            assert_eq!(bad.parse::<NodeId>(), Err(NodeIdError), "{bad}");
        }
    }

    #[test]
    fn they_are_ordered_as_numbers() {
        let id = |first, last| {
            let mut bytes = [0; NodeId::LENGTH];
            (bytes[0], bytes[19]) = (first, last);
            NodeId::from_bytes(bytes)
        };
        assert!(id(1, 0) > id(0, 255) && id(0, 2) > id(0, 1));
    }
}
