//! The lines by which two nodes make a connection a node link.
//!
//! | who | line |
//! |---|---|
//! | the dialling side | `~hello {"p2poll":1,"key":KEY,"nonce":NONCE,"call":CALL,"use":"link"}` |
//! | the accepting side | `~hello {"p2poll":1,"key":KEY,"nonce":NONCE,"proof":PROOF}`, or `~refused {"why":WORD}` |
//! | the dialling side | `~proof {"proof":PROOF}` |
//!
//! A key has 64 hexadecimal digits, a nonce and a call 32; a proof is Base64 without padding. What a proof signs, and
//! when a line means anything, is in [`handshake`](crate::proto::handshake). A line that is not exactly one of these is
//! the application's, whatever it begins with; fields that are not known are passed over.

use serde_json::{Value, json};

use super::json::{Fields, hex, number, print_hex, print_signature, public_key, signature};
use crate::identity::{PublicKey, Signature};

/// A longer line is none of these. They have about 300 bytes; the rest is for what later versions add.
pub(crate) const MAX_HELLO: usize = 2048;

/// What every hello begins with.
pub(crate) const HELLO: &[u8] = b"~hello ";

const PROOF: &[u8] = b"~proof ";
const REFUSED: &[u8] = b"~refused ";

/// The version of all this.
const VERSION: u64 = 1;

/// What makes a proof one of this connection, and of no other.
pub(crate) type LinkNonce = [u8; 16];

/// The name of an attempt to reach somebody, which its signals carry, too.
pub(crate) type CallId = [u8; 16];

/// The dialling side's first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) key: PublicKey,
    pub(crate) nonce: LinkNonce,
    /// Which call this connection is for, when signals went before it.
    pub(crate) call: Option<CallId>,
    /// It is to take the place of a link that there is already (`"use":"upgrade"`); else it is a new one (`"link"`).
    pub(crate) upgrade: bool,
}

/// The accepting side's hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) key: PublicKey,
    pub(crate) nonce: LinkNonce,
    pub(crate) proof: Signature,
}

/// The dialling side's second line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) proof: Signature,
}

/// Instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) why: Refusal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not now: too many are being greeted.
    Busy,
    /// The call is none that is known here.
    Unknown,
    /// There is no room for another connection.
    Full,
    /// The call is somebody else's.
    Identity,
    /// The node is about to leave.
    Closing,
    /// What a later version says.
    Other,
}

impl Hello {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let fields = hello_fields(line)?;
        if fields.has("proof") {
            return None; // an answer
        }
        Some(Self {
            key: fields.required("key", public_key)?,
            nonce: fields.required("nonce", hex)?,
            call: fields.optional("call", hex)?,
            upgrade: fields.optional("use", is_upgrade)?.unwrap_or(false),
        })
    }

    /// With the line end.
    pub(crate) fn print(&self) -> Vec<u8> {
        let mut object =
            json!({"p2poll": VERSION, "key": key_text(&self.key), "nonce": print_hex(&self.nonce)});
        if let Some(call) = self.call {
            object["call"] = print_hex(&call).into();
        }
        if self.upgrade {
            object["use"] = "upgrade".into();
        }
        print(HELLO, &object)
    }
}

impl Answer {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let fields = hello_fields(line)?;
        Some(Self {
            key: fields.required("key", public_key)?,
            nonce: fields.required("nonce", hex)?,
            proof: fields.required("proof", signature)?,
        })
    }

    /// With the line end.
    pub(crate) fn print(&self) -> Vec<u8> {
        let object = json!({
            "p2poll": VERSION,
            "key": key_text(&self.key),
            "nonce": print_hex(&self.nonce),
            "proof": print_signature(&self.proof),
        });
        print(HELLO, &object)
    }
}

impl Proof {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        Some(Self { proof: fields_after(PROOF, line)?.required("proof", signature)? })
    }

    /// With the line end.
    pub(crate) fn print(&self) -> Vec<u8> {
        print(PROOF, &json!({"proof": print_signature(&self.proof)}))
    }
}

impl Refused {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let read = |why: &Value| why.as_str().map(Refusal::parse);
        Some(Self { why: fields_after(REFUSED, line)?.required("why", read)? })
    }

    /// With the line end.
    pub(crate) fn print(&self) -> Vec<u8> {
        print(REFUSED, &json!({"why": self.why.word()}))
    }
}

impl Refusal {
    fn word(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Unknown => "unknown",
            Self::Full => "full",
            Self::Identity => "identity",
            Self::Closing => "closing",
            Self::Other => "other",
        }
    }

    fn parse(word: &str) -> Self {
        let known = [Self::Busy, Self::Unknown, Self::Full, Self::Identity, Self::Closing];
        known.into_iter().find(|why| why.word() == word).unwrap_or(Self::Other)
    }
}

/// The fields of either hello.
fn hello_fields(line: &[u8]) -> Option<Fields> {
    let fields = fields_after(HELLO, line)?;
    // A later version that these rules do not hold for; what they can bear is added as a field.
    (fields.required("p2poll", number::<u64>)? == VERSION).then_some(fields)
}

fn fields_after(word: &[u8], line: &[u8]) -> Option<Fields> {
    if line.len() > MAX_HELLO {
        return None;
    }
    line.strip_prefix(word).and_then(Fields::parse)
}

/// Nobody is to take for a link what a later version means otherwise, so another word is no hello.
fn is_upgrade(word: &Value) -> Option<bool> {
    match word.as_str()? {
        "link" => Some(false),
        "upgrade" => Some(true),
        _ => None,
    }
}

fn key_text(key: &PublicKey) -> String {
    print_hex(key.as_bytes())
}

fn print(word: &[u8], object: &Value) -> Vec<u8> {
    [word, object.to_string().as_bytes(), b"\r\n"].concat()
}
