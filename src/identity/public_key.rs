//! The half of a key that everybody may know.

use std::fmt;

use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::{NodeId, in_context};

/// What a signature has.
pub(crate) const SIGNATURE_LENGTH: usize = 64;

pub(crate) type Signature = [u8; SIGNATURE_LENGTH];

/// The public half of a node's [`Key`](crate::Key), which tells its id and checks its signatures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// How many bytes it has (RFC 8032 section 5.1.5).
    pub const LENGTH: usize = 32;

    /// The key that these bytes are; `None` when they are none, or one with which anything can be signed.
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Option<Self> {
        VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak()).map(Self)
    }

    /// The public half of a secret key: never a weak one, as its order is large by construction (RFC 8032 section 5.1.5).
    pub(super) fn from_signing(key: &SigningKey) -> Self {
        Self(key.verifying_key())
    }

    /// The bytes that it is.
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        self.0.as_bytes()
    }

    /// The id of the node whose key it is.
    pub fn id(&self) -> NodeId {
        let digest: [u8; 32] = Sha256::digest(self.as_bytes()).into();
        let mut id = [0; NodeId::LENGTH];
        id.copy_from_slice(&digest[..NodeId::LENGTH]);
        NodeId::from_bytes(id)
    }

    /// Whether the holder of the key has signed this message for this purpose.
    pub(crate) fn has_signed(&self, context: &'static str, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        // The strict rule has one answer everywhere, and no signature that fits every message.
        self.0.verify_strict(&in_context(context, message), &signature).is_ok()
    }
}

/// Its bytes, in hexadecimal.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_sign_anything_are_none() {
        // The neutral element and a point of order 2, little-endian (RFC 8032 section 5.1.2).
        let neutral: [u8; 32] = std::array::from_fn(|n| u8::from(n == 0));
        let mut order_two = [0xff; 32];
        (order_two[0], order_two[31]) = (0xec, 0x7f);
        for bytes in [neutral, order_two, [0; 32]] {
            assert_eq!(PublicKey::from_bytes(&bytes), None);
        }
        // No point has this ordinate.
        let nowhere: [u8; 32] = std::array::from_fn(|n| if n == 0 { 2 } else { 0 });
        assert_eq!(PublicKey::from_bytes(&nowhere), None);
    }
}
