//! Who is who: keys, the ids that follow from them, and signatures.

mod error;
mod key;
mod node_id;
mod public_key;
mod secret_line;

pub use error::{KeyError, KeyFault};
pub use key::Key;
pub use node_id::{NodeId, NodeIdError};
pub use public_key::PublicKey;

pub(crate) use public_key::{SIGNATURE_LENGTH, Signature};
pub(crate) use secret_line::{LONGEST, parse as parse_secret_line, print as print_secret_line};

/// What is signed: a message together with what it is for.
///
/// A signature that was made for one purpose is worth nothing for another. (Ed25519ctx of RFC 8032 section 5.1 does the
/// same inside of the signature; few libraries have it, and others shall be able to check ours.)
fn in_context(context: &'static str, message: &[u8]) -> Vec<u8> {
    // A byte that no context holds ends it, so that no two pairs are the same bytes.
    debug_assert!(!context.contains('\0'));
    [context.as_bytes(), &[0], message].concat()
}
