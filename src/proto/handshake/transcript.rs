//! What a proof signs.

use crate::id::{CallId, LinkNonce};
use crate::identity::{Key, PublicKey, Signature};
use crate::wire::hello::Hello;

const CONTEXT: &str = "p2poll link 1";

/// Which side proves itself. Each signs its own, so that no proof can be handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prover {
    Dialling = 1,
    Accepting = 2,
}

/// All that a connection's hello has agreed: both keys, so that nobody is made to believe that he talks with somebody
/// else (identity misbinding; Krawczyk, "SIGMA", 2003), both nonces, so that it holds for this
/// connection only, and what the dialling side asks for.
#[derive(Clone, Debug)]
pub(super) struct Transcript {
    dialling: PublicKey,
    accepting: PublicKey,
    dialling_nonce: LinkNonce,
    accepting_nonce: LinkNonce,
    /// What each side takes of the other's lines.
    credits: [u64; 2],
    call: Option<CallId>,
    upgrade: bool,
}

impl Transcript {
    pub(super) fn new(
        hello: &Hello,
        accepting: PublicKey,
        accepting_nonce: LinkNonce,
        accepting_credit: u64,
    ) -> Self {
        Self {
            dialling: hello.key,
            accepting,
            dialling_nonce: hello.nonce,
            accepting_nonce,
            credits: [hello.credit, accepting_credit],
            call: hello.call,
            upgrade: hello.upgrade,
        }
    }

    pub(super) fn prove(&self, prover: Prover, key: &Key) -> Signature {
        key.sign(CONTEXT, &self.bytes(prover))
    }

    /// Whether the prover has proven its key.
    pub(super) fn is_proven(&self, prover: Prover, proof: &Signature) -> bool {
        let key = match prover {
            Prover::Dialling => self.dialling,
            Prover::Accepting => self.accepting,
        };
        key.has_signed(CONTEXT, &self.bytes(prover), proof)
    }

    /// Every part has a fixed length, so that no two transcripts are the same bytes. No call is zeros, and a bit of the
    /// last byte tells it from a call of zeros.
    fn bytes(&self, prover: Prover) -> Vec<u8> {
        let asked = u8::from(self.upgrade) | u8::from(self.call.is_some()) << 1;
        [
            &[prover as u8][..],
            self.dialling.as_bytes(),
            self.accepting.as_bytes(),
            self.dialling_nonce.as_bytes(),
            self.accepting_nonce.as_bytes(),
            &self.credits[0].to_le_bytes(),
            &self.credits[1].to_le_bytes(),
            &self.call.map_or([0; 16], |call| *call.as_bytes()),
            &[asked],
        ]
        .concat()
    }
}
