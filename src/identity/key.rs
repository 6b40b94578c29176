//! The key of a node.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};

use super::{NodeId, PublicKey, Signature, in_context};

/// What makes a node the one that it is: an Ed25519 key (RFC 8032).
///
/// Its [`id`](Key::id) is the node's name, and whoever holds the key can prove to be that node. It is never printed, and
/// wiped from memory when it is dropped (what a file was read into is not). It signs [`Unl`](crate::Unl)s, and proves who a
/// node is to its peers and rendezvous servers; give it to a node by [`Config::key`](crate::Config::key).
///
/// [`Key::load_or_create`] keeps it in a file, so that the node is the same after a restart:
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = p2poll::Key::load_or_create("game.key")?;
/// println!("this is node {}", key.id());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Key {
    signing: SigningKey,
    public: PublicKey,
}

impl Key {
    /// The key that follows from 32 bytes, which have to be random and stay secret: for programs that keep them in a
    /// place of their own. Everybody else takes [`Key::generate`] or [`Key::load_or_create`].
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(seed);
        let public = PublicKey::from_signing(&signing);
        Self { signing, public }
    }

    /// The name of the node that holds it.
    pub fn id(&self) -> NodeId {
        self.public.id()
    }

    /// The half that everybody may know.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Proves that this message comes from the holder, for this purpose and no other.
    pub(crate) fn sign(&self, context: &'static str, message: &[u8]) -> Signature {
        self.signing.sign(&in_context(context, message)).to_bytes()
    }

    /// What it is made from, to be written down.
    pub(super) fn seed(&self) -> &[u8; 32] {
        self.signing.as_bytes()
    }
}

/// Without the secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: &str = "p2poll test";

    fn key(number: u8) -> Key {
        Key::from_seed(&[number; 32])
    }

    #[test]
    fn the_id_is_the_begin_of_the_public_keys_hash() {
        // RFC 8032 section 7.1, TEST 1; its public key's SHA-256 by another program.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let key = Key::from_seed(&super::super::node_id::bytes_of_hex(seed).unwrap());
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(key.public().to_string(), public);
        assert_eq!(key.id().to_string(), "21fe31dfa154a261626bf854046fd2271b7bed4b");
    }

    #[test]
    fn a_signature_is_of_one_key_for_one_message_and_one_purpose() {
        let signature = key(1).sign(CONTEXT, b"message");
        let public = key(1).public();
        assert!(public.has_signed(CONTEXT, b"message", &signature));
        assert!(!public.has_signed(CONTEXT, b"massage", &signature));
        assert!(!public.has_signed("p2poll", b"message", &signature));
        assert!(!key(2).public().has_signed(CONTEXT, b"message", &signature));
        for place in 0..signature.len() {
            let mut other = signature;
            other[place] ^= 1;
            assert!(!public.has_signed(CONTEXT, b"message", &other), "{place}");
        }
    }

    #[test]
    fn no_byte_moves_from_the_purpose_to_the_message() {
        let signature = key(1).sign("p2poll", b" test");
        assert!(!key(1).public().has_signed("p2poll test", b"", &signature));
    }

    #[test]
    fn nobody_sees_the_secret() {
        let key = key(7);
        assert_eq!(format!("{key:?}"), format!("Key({})", key.id()));
        assert_eq!(PublicKey::from_bytes(key.public().as_bytes()), Some(key.public()));
    }
}
