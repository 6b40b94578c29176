//! What a node signs for a rendezvous server: that it is who it says, and that it agrees to be relayed.
//!
//! Each signature names the server's address as it was dialled, so that one server can not show at another what it was
//! shown; and a proof names nonces of both sides, so that nobody can show it a second time.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::identity::{Key, PublicKey, Signature};
use crate::wire::rendezvous::{Addr, Incarnation, Request, Token};

const PROOF: &str = "p2poll registration 1";
const TICKET: &str = "p2poll relay 1";

/// What a connection is proven for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProofRole {
    /// It takes the signals for its id, and sends some.
    Signal,
    /// It is to become one half of a relay.
    Relay,
}

/// `PROVE ROLE PUBKEY NONCE SERVERADDR SIG`: this connection's node is who it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) role: ProofRole,
    pub(crate) key: PublicKey,
    /// Of the node's own making.
    pub(crate) nonce: Token,
    /// The server, as it was dialled.
    pub(crate) server: SocketAddr,
    pub(crate) signature: Signature,
    /// Which process it is, where the feature is agreed.
    pub(crate) incarnation: Option<Incarnation>,
}

/// What both ends of a relay sign: at which server who is relayed to whom, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The server, as both ends dial it.
    pub(crate) server: SocketAddr,
    /// Never used before by these two.
    pub(crate) session: [u8; 16],
    pub(crate) caller: PublicKey,
    pub(crate) callee: PublicKey,
}

/// A ticket with what its ends have signed: `RELAY SERVERADDR SESSION CALLERKEY CALLEEKEY CALLERSIG CALLEESIG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedTicket {
    pub(crate) ticket: Ticket,
    pub(crate) caller_signature: Signature,
    pub(crate) callee_signature: Signature,
}

/// Why a server does not take a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The key's holder has not signed it.
    Signature,
    /// It is for another address than those of the server.
    Address,
    /// The connection was given no nonce, or has used it up.
    Nonce,
    /// The server has no room for another id.
    Full,
    /// Another process has the key, and takes the signals. When that leaves, this one takes them.
    InUse,
    /// For a reason of a later version.
    Other,
}

/// The request that proves a key to a server, which gave `server_nonce` with its `HELLO`.
pub(crate) fn prove(
    key: &Key,
    role: ProofRole,
    server: SocketAddr,
    server_nonce: &Token,
    client_nonce: &Token,
) -> Request {
    prove_as(key, role, None, server, server_nonce, client_nonce)
}

/// The same, of a process that says which one it is.
pub(crate) fn prove_as(
    key: &Key,
    role: ProofRole,
    incarnation: Option<Incarnation>,
    server: SocketAddr,
    server_nonce: &Token,
    client_nonce: &Token,
) -> Request {
    let unsigned =
        Proof { role, key: key.public(), nonce: *client_nonce, server, signature: [0; 64], incarnation };
    let signature = key.sign(PROOF, unsigned.message(server_nonce).as_bytes());
    Request::Prove(Box::new(Proof { signature, ..unsigned }))
}

impl Proof {
    /// Whether the key's holder has signed it for this connection, whose nonce the server remembers.
    pub(crate) fn holds(&self, server_nonce: &Token) -> bool {
        self.key.has_signed(PROOF, self.message(server_nonce).as_bytes(), &self.signature)
    }

    /// A line for each part; no part holds a line end, so that no two proofs are the same bytes.
    fn message(&self, server_nonce: &Token) -> String {
        let Self { role, key, nonce, server, .. } = self;
        let mut message = format!("{}\n{}\n{key}\n{server_nonce}\n{nonce}\n", role.name(), Addr(*server));
        if let Some(incarnation) = self.incarnation {
            // Writing to memory does not fail.
            let _ = writeln!(message, "{incarnation}");
        }
        message
    }
}

impl Ticket {
    pub(crate) fn sign(&self, key: &Key) -> Signature {
        key.sign(TICKET, self.message().as_bytes())
    }

    pub(crate) fn is_signed_by(&self, key: &PublicKey, signature: &Signature) -> bool {
        key.has_signed(TICKET, self.message().as_bytes(), signature)
    }

    /// What each of the two ends says to the server.
    pub(crate) fn request(&self, caller_signature: Signature, callee_signature: Signature) -> Request {
        Request::Relay(Box::new(SignedTicket { ticket: self.clone(), caller_signature, callee_signature }))
    }

    /// Lines, as in [`proof_message`].
    fn message(&self) -> String {
        let mut message = format!("{}\n", Addr(self.server));
        for byte in self.session {
            // Writing to memory does not fail.
            let _ = write!(message, "{byte:02x}");
        }
        let _ = write!(message, "\n{}\n{}\n", self.caller, self.callee);
        message
    }
}

impl SignedTicket {
    /// Whether both ends have signed, and are two.
    pub(crate) fn holds(&self) -> bool {
        let Self { ticket, caller_signature, callee_signature } = self;
        ticket.caller != ticket.callee
            && ticket.is_signed_by(&ticket.caller, caller_signature)
            && ticket.is_signed_by(&ticket.callee, callee_signature)
    }
}

impl ProofRole {
    pub(crate) const ALL: [Self; 2] = [Self::Signal, Self::Relay];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Relay => "relay",
        }
    }

    pub(crate) fn named(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name().as_bytes() == word)
    }
}

impl Denial {
    pub(crate) const ALL: [Self; 6] =
        [Self::Signature, Self::Address, Self::Nonce, Self::Full, Self::InUse, Self::Other];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Address => "address",
            Self::Nonce => "nonce",
            Self::Full => "full",
            Self::InUse => "in-use",
            Self::Other => "other",
        }
    }

    /// What is told whoever has to do with a server that denies a proof, which was dialled there.
    pub(crate) fn advice(self, server: SocketAddr) -> String {
        match self {
            Self::Signature => "it finds the signature wrong".into(),
            Self::Address => format!(
                "it does not know that it is {server}; whoever runs it should start it with --public-address {server}"
            ),
            Self::Nonce => "it gave no nonce for it".into(),
            Self::Full => "it has no room for another node".into(),
            Self::InUse => {
                "another process that has the same key is there, and takes the calls until it leaves".into()
            }
            Self::Other => "for a reason that this version does not know".into(),
        }
    }

    pub(crate) fn named(word: &[u8]) -> Self {
        Self::ALL.into_iter().find(|why| why.name().as_bytes() == word).unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key::from_seed(&[number; 32])
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn token(digit: &str) -> Token {
        Token::new(digit.repeat(32).as_bytes()).unwrap()
    }

    fn proof() -> Proof {
        let request = prove(&key(1), ProofRole::Signal, addr("192.0.2.1:8000"), &token("a"), &token("b"));
        let Request::Prove(proof) = request else { panic!("{request:?}") };
        *proof
    }

    fn ticket() -> SignedTicket {
        let (caller, callee) = (key(1), key(2));
        let server = addr("192.0.2.1:8000");
        let ticket = Ticket { server, session: [7; 16], caller: caller.public(), callee: callee.public() };
        let request = ticket.request(ticket.sign(&caller), ticket.sign(&callee));
        let Request::Relay(signed) = request else { panic!("{request:?}") };
        *signed
    }

    #[test]
    fn a_proof_holds_for_what_it_says_and_nothing_else() {
        assert!(proof().holds(&token("a")));
        assert!(!proof().holds(&token("b")));
        assert!(!Proof { role: ProofRole::Relay, ..proof() }.holds(&token("a")));
        assert!(!Proof { key: key(2).public(), ..proof() }.holds(&token("a")));
        assert!(!Proof { nonce: token("c"), ..proof() }.holds(&token("a")));
        let incarnation = Some(Incarnation::from_number(1));
        assert!(!Proof { incarnation, ..proof() }.holds(&token("a")));
        assert!(!Proof { server: addr("192.0.2.2:8000"), ..proof() }.holds(&token("a")));
        assert!(!Proof { server: addr("192.0.2.1:8001"), ..proof() }.holds(&token("a")));
        assert!(Proof { server: addr("[::ffff:192.0.2.1]:8000"), ..proof() }.holds(&token("a")));
    }

    #[test]
    fn a_ticket_holds_when_both_have_signed_it() {
        let signed = ticket();
        assert!(signed.holds());
        let with = |change: fn(&mut SignedTicket)| {
            let mut other = ticket();
            change(&mut other);
            other.holds()
        };
        assert!(!with(|t| t.ticket.session[0] ^= 1));
        assert!(!with(|t| t.ticket.server.set_port(1)));
        assert!(!with(|t| t.ticket.caller = key(3).public()));
        assert!(!with(|t| std::mem::swap(&mut t.ticket.caller, &mut t.ticket.callee)));
        assert!(!with(|t| t.caller_signature[5] ^= 1));
        assert!(!with(|t| t.callee_signature[5] ^= 1));
    }

    #[test]
    fn nobody_is_relayed_to_itself() {
        let me = key(1);
        let ticket = Ticket { callee: me.public(), ..ticket().ticket };
        let (caller_signature, callee_signature) = (ticket.sign(&me), ticket.sign(&me));
        assert!(!SignedTicket { ticket, caller_signature, callee_signature }.holds());
    }

    #[test]
    fn a_proof_is_no_ticket() {
        let (me, message) = (key(1), ticket().ticket.message());
        assert!(!me.public().has_signed(PROOF, message.as_bytes(), &ticket().caller_signature));
    }
}
