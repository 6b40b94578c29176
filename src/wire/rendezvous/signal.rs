//! Signals: a few words from one node to another by way of a server that knows both.

use std::net::SocketAddr;

use super::Token;
use crate::identity::{NodeId, PublicKey, Signature};

/// The longest text of a signal: room for the addresses and instants of a punch, and small enough that a server can
/// keep many.
pub(crate) const MAX_TEXT: usize = 3072;

/// The text of a signal: JSON without spaces, so that it is one word. What it says is between the two nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignalText(Box<str>);

/// What a node asks a server to pass on: `SIGNAL TOID TOKEN|- SIG TEXT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) to: NodeId,
    /// Names an `OBSERVE` of the sender's household, whose address the recipient is told.
    pub(crate) observed: Option<Token>,
    /// Over what the two nodes agreed on. A server does not check it.
    pub(crate) signature: Signature,
    pub(crate) text: SignalText,
}

/// What a server passes on: `SIGNAL FROMPUBKEY SEENIP:PORT OBSERVED|- SIG TEXT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incoming {
    /// The sender's key, which it has proven to the server.
    pub(crate) from: PublicKey,
    /// The sender's address, as the server sees it.
    pub(crate) seen: SocketAddr,
    /// The address of the `OBSERVE` that the sender named.
    pub(crate) observed: Option<SocketAddr>,
    pub(crate) signature: Signature,
    pub(crate) text: SignalText,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It was given to the recipient's connection, which may be dead all the same.
    Delivered,
    /// The recipient is not connected. It gets the signal if it is soon.
    Stored,
    /// The recipient is not connected, and there is no room to wait in.
    Full,
    /// The sender says too much, or has not proven its id; the signal is gone.
    Busy,
}

impl SignalText {
    /// One word of 1 to [`MAX_TEXT`] bytes of UTF-8, without control characters.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let fine = (1..=MAX_TEXT).contains(&text.len());
        (fine && !text.contains(|c: char| c == ' ' || c.is_control())).then(|| Self(text.into()))
    }

    pub(super) fn parse(word: &[u8]) -> Option<Self> {
        Self::new(std::str::from_utf8(word).ok()?)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Delivery {
    pub(super) const ALL: [Self; 4] = [Self::Delivered, Self::Stored, Self::Full, Self::Busy];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "DELIVERED",
            Self::Stored => "STORED",
            Self::Full => "FULL",
            Self::Busy => "BUSY",
        }
    }

    pub(super) fn named(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|delivery| delivery.name().as_bytes() == word)
    }
}
