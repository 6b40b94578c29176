//! Two nodes greet each other on a new connection, and each proves who it is.
//!
//! The dialling side says a hello and waits. The accepting side answers with its own, which proves its key over the
//! dialling side's nonce, and the dialling side proves its key in return. Three lines, one and a half round trips; the
//! accepting application may already send with its answer, the dialling one with its proof.
//!
//! Where the other side is no node, nothing has happened but an odd first line: what it says until the deadline of the
//! caller is the application's.
//!
//! The machines have no clock: their caller has the deadline, and the limit of how many lines before an answer are kept.

mod opening;
#[cfg(test)]
mod tests;
mod transcript;

use crate::id::{CallId, LinkNonce};
use crate::identity::{Key, NodeId, PublicKey};
use crate::wire::hello::{Answer, Hello, HelloRefusal, Proof, Refused};
use transcript::{Prover, Transcript};

pub(crate) use opening::{Opening, classify};

/// What a line was.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The application's, to be kept for after the handshake.
    Application,
    /// The last of the handshake: it is this peer, which takes so many bytes of the application's lines. `send` (with its line
    /// end) goes out before anything else.
    Proven { peer: PublicKey, credit: u64, send: Option<Vec<u8>> },
    /// The last of the handshake: the connection is to be closed.
    Failed(HandshakeFault),
}

/// Why a connection did not become a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeFault {
    /// Another node is there, or says so, than the one that was to be reached.
    WrongNode,
    /// It did not prove the key that it claims: it does not hold it, or somebody in between has changed something.
    BadProof,
    /// It does not want this connection.
    Refused(HelloRefusal),
    /// It is not wanted here: it is none of those that are expected on this connection. The caller finds that.
    Unwelcome,
    /// It never answered the hello. The caller finds that, at its deadline.
    NotANode,
    /// It is this node, or something that says our own words back.
    Oneself,
}

/// The part of the side that says hello first.
#[derive(Clone, Debug)]
pub(crate) struct Dialling {
    expected: Option<NodeId>,
    call: Option<CallId>,
    upgrade: bool,
    nonce: LinkNonce,
    credit: u64,
}

impl Dialling {
    /// `expected` is who is to be reached; `None` takes whoever is there. The nonce has to be a fresh one.
    /// `credit`: how many bytes of the application's lines this side takes.
    pub(crate) fn new(
        expected: Option<NodeId>,
        call: Option<CallId>,
        upgrade: bool,
        nonce: LinkNonce,
        credit: u64,
    ) -> Self {
        Self { expected, call, upgrade, nonce, credit }
    }

    /// The hello, with its line end: the first that is sent, and until the machine is through the last.
    pub(crate) fn first_line(&self, key: &Key) -> Vec<u8> {
        self.hello(key).print()
    }

    /// Takes each line, without its end, until one is [`Step::Proven`] or [`Step::Failed`].
    pub(crate) fn handle_line(&self, line: &[u8], key: &Key) -> Step {
        if let Some(Refused { why }) = Refused::parse(line) {
            return Step::Failed(HandshakeFault::Refused(why));
        }
        if let Some(answer) = Answer::parse(line) {
            return self.handle_answer(&answer, key);
        }
        match Hello::parse(line) {
            Some(hello) if hello.key == key.public() => Step::Failed(HandshakeFault::Oneself),
            // A hello that is neither an answer nor the first line means nothing.
            _ => Step::Application,
        }
    }

    fn handle_answer(&self, answer: &Answer, key: &Key) -> Step {
        if answer.key == key.public() {
            return Step::Failed(HandshakeFault::Oneself);
        }
        if self.expected.is_some_and(|expected| expected != answer.key.id()) {
            return Step::Failed(HandshakeFault::WrongNode);
        }
        let transcript = Transcript::new(&self.hello(key), answer.key, answer.nonce, answer.credit);
        if !transcript.is_proven(Prover::Accepting, &answer.proof) {
            return Step::Failed(HandshakeFault::BadProof);
        }
        let proof = Proof { proof: transcript.prove(Prover::Dialling, key) };
        Step::Proven { peer: answer.key, credit: answer.credit, send: Some(proof.print()) }
    }

    fn hello(&self, key: &Key) -> Hello {
        let (call, upgrade) = (self.call, self.upgrade);
        Hello { key: key.public(), nonce: self.nonce, credit: self.credit, call, upgrade }
    }
}

/// The part of the side whose first line was a hello.
#[derive(Clone, Debug)]
pub(crate) struct Accepting {
    peer: PublicKey,
    /// What it takes.
    credit: u64,
    transcript: Transcript,
}

impl Accepting {
    /// Answers a hello, with the line to send. Whether the key and the call that it claims are welcome is the caller's to
    /// see before, and to refuse with [`Refused`]; they are proven only when the machine says so. The nonce has to be a
    /// fresh one.
    pub(crate) fn answer(hello: &Hello, key: &Key, nonce: LinkNonce, credit: u64) -> (Self, Vec<u8>) {
        let transcript = Transcript::new(hello, key.public(), nonce, credit);
        let proof = transcript.prove(Prover::Accepting, key);
        let line = Answer { key: key.public(), nonce, credit, proof }.print();
        (Self { peer: hello.key, credit: hello.credit, transcript }, line)
    }

    /// Takes the one line, without its end, that has to follow: the dialling side says nothing before its proof.
    pub(crate) fn handle_line(&self, line: &[u8], key: &Key) -> Step {
        if self.peer == key.public() {
            return Step::Failed(HandshakeFault::Oneself);
        }
        match Proof::parse(line) {
            Some(Proof { proof }) if self.transcript.is_proven(Prover::Dialling, &proof) => {
                Step::Proven { peer: self.peer, credit: self.credit, send: None }
            }
            _ => Step::Failed(HandshakeFault::BadProof),
        }
    }
}
