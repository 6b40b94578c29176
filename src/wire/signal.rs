//! What two nodes tell each other through somebody else, before they have a connection of their own.
//!
//! A signal is one word: a JSON object without spaces, whose field `k` says what it is. The server (or member of a ring)
//! that carries it adds what it has seen itself, above all addresses, and can not change the rest: the sender signs it
//! for the one recipient. Fields that are not known are passed over; a kind that is not known is no signal.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::json::{Fields, hex, number, object, print_hex, print_signature, signature};
use crate::address::canonical;
use crate::id::CallId;
use crate::identity::{Key, NodeId, PublicKey, Signature};
use crate::reach::NatKind;
use crate::unl::Unl;

/// The longest text. A call with the longest UNL has a third of that.
pub(crate) const MAX_SIGNAL: usize = 3072;

const CONTEXT: &str = "p2poll signal 1";

/// The fields of halves. Earlier versions know the first only.
const RELAY: &str = "relay";
const SECOND: &str = "relay2";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    pub(crate) call: CallId,
    pub(crate) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// I want to reach you.
    Call {
        /// The caller's UNL: a word, which may be one of a later version.
        unl: String,
        /// Connect to me, at an address of that UNL.
        reverse: bool,
        /// I can punch.
        punch: bool,
        /// I would come to this relay.
        relay: Option<Half>,
        /// We have a link, and this is about a better way.
        upgrade: bool,
    },
    /// What I can do for that call.
    Answer {
        unl: String,
        punch: bool,
        /// I would come to this relay.
        relay: Option<Half>,
        /// And to this one, if nothing comes of the first.
        second: Option<Half>,
    },
    /// Nothing will come of that call.
    Refuse { why: RefuseWhy },
    /// My punching port, as it was seen: the server attests the address beside this text. First, the caller says it.
    Ready {
        /// Which attempt to punch this is.
        round: u8,
        /// The local port; never 0.
        port: u16,
        /// What is known of my NAT.
        kind: Option<NatKind>,
        /// How long it takes to the server and back.
        rtt_us: u32,
    },
    /// The same of the other side, and how long after sending this it begins to dial.
    Meet { round: u8, port: u16, kind: Option<NatKind>, dial_in_us: u32 },
    /// Come to the relay now, with the ticket that both have signed: this half, and yours for the same server.
    Relay { half: Half },
    /// It has been reached, or given up: forget the call.
    Done,
}

/// One end's signature of the ticket for a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Half {
    /// Where the relay is.
    pub(crate) server: SocketAddr,
    pub(crate) sig: Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefuseWhy {
    /// Not now: too many calls are under way.
    Busy,
    /// There is no room for another connection.
    Full,
    /// The node is about to leave.
    Closing,
    /// The caller is not wanted, or what it asks; also every reason of a later version.
    Unwilling,
    /// There is no such call, or no more.
    UnknownCall,
}

/// Printed without spaces.
pub(crate) fn print(signal: &Signal) -> String {
    // Here and below: indexing an object, which it is, adds the field.
    let mut fields = json!({"k": kind_word(&signal.body), "call": print_hex(signal.call.as_bytes())});
    match &signal.body {
        Body::Call { unl, reverse, punch, relay, upgrade } => {
            fields["unl"] = unl.as_str().into();
            set_flag(&mut fields, "reverse", *reverse);
            set_flag(&mut fields, "punch", *punch);
            set_half(&mut fields, RELAY, relay.as_ref());
            set_flag(&mut fields, "upgrade", *upgrade);
        }
        Body::Answer { unl, punch, relay, second } => {
            fields["unl"] = unl.as_str().into();
            set_flag(&mut fields, "punch", *punch);
            set_half(&mut fields, RELAY, relay.as_ref());
            set_half(&mut fields, SECOND, second.as_ref());
        }
        Body::Refuse { why } => fields["why"] = why.word().into(),
        Body::Ready { round, port, kind, rtt_us } => {
            set_port(&mut fields, *round, *port, *kind);
            fields["rtt"] = (*rtt_us).into();
        }
        Body::Meet { round, port, kind, dial_in_us } => {
            set_port(&mut fields, *round, *port, *kind);
            fields["in"] = (*dial_in_us).into();
        }
        Body::Relay { half } => set_half(&mut fields, RELAY, Some(half)),
        Body::Done => {}
    }
    fields.to_string()
}

/// `None` when it is too long, not one word, or nothing that is known.
pub(crate) fn parse(text: &str) -> Option<Signal> {
    if text.len() > MAX_SIGNAL || !is_word(text) {
        return None;
    }
    let fields = Fields::parse(text.as_bytes())?;
    let kind = fields.required("k", |kind| kind.as_str().map(str::to_owned))?;
    Some(Signal {
        call: fields.required("call", hex).map(CallId::from_bytes)?,
        body: parse_body(&kind, &fields)?,
    })
}

/// The sender's signature for this recipient.
pub(crate) fn sign(key: &Key, to: &NodeId, text: &str) -> Signature {
    key.sign(CONTEXT, &signed_bytes(to, text))
}

/// Whether the sender has said that to this recipient.
pub(crate) fn is_signed(from: &PublicKey, to: &NodeId, text: &str, sig: &Signature) -> bool {
    from.has_signed(CONTEXT, &signed_bytes(to, text), sig)
}

/// An id has always the same length, so no byte moves from one to the other.
fn signed_bytes(to: &NodeId, text: &str) -> Vec<u8> {
    [&to.as_bytes()[..], text.as_bytes()].concat()
}

fn kind_word(body: &Body) -> &'static str {
    match body {
        Body::Call { .. } => "call",
        Body::Answer { .. } => "answer",
        Body::Refuse { .. } => "refuse",
        Body::Ready { .. } => "ready",
        Body::Meet { .. } => "meet",
        Body::Relay { .. } => "relay",
        Body::Done => "done",
    }
}

fn parse_body(kind: &str, fields: &Fields) -> Option<Body> {
    Some(match kind {
        "call" => Body::Call {
            unl: fields.required("unl", parse_unl)?,
            reverse: fields.flag("reverse")?,
            punch: fields.flag("punch")?,
            relay: fields.optional(RELAY, parse_half)?,
            upgrade: fields.flag("upgrade")?,
        },
        "answer" => Body::Answer {
            unl: fields.required("unl", parse_unl)?,
            punch: fields.flag("punch")?,
            relay: fields.optional(RELAY, parse_half)?,
            second: fields.optional(SECOND, parse_half)?,
        },
        "refuse" => Body::Refuse { why: fields.required("why", |why| why.as_str().map(RefuseWhy::parse))? },
        "ready" => Body::Ready {
            round: fields.required("round", number)?,
            port: fields.required("port", parse_port)?,
            kind: parse_kind(fields)?,
            rtt_us: fields.required("rtt", number)?,
        },
        "meet" => Body::Meet {
            round: fields.required("round", number)?,
            port: fields.required("port", parse_port)?,
            kind: parse_kind(fields)?,
            dial_in_us: fields.required("in", number)?,
        },
        "relay" => Body::Relay { half: fields.required(RELAY, parse_half)? },
        "done" => Body::Done,
        _ => return None,
    })
}

impl RefuseWhy {
    fn word(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Closing => "closing",
            Self::Unwilling => "unwilling",
            Self::UnknownCall => "unknown_call",
        }
    }

    fn parse(word: &str) -> Self {
        let known = [Self::Busy, Self::Full, Self::Closing, Self::UnknownCall];
        known.into_iter().find(|why| why.word() == word).unwrap_or(Self::Unwilling)
    }
}

fn set_flag(fields: &mut Value, name: &str, flag: bool) {
    if flag {
        fields[name] = true.into();
    }
}

fn set_half(fields: &mut Value, name: &str, half: Option<&Half>) {
    if let Some(half) = half {
        fields[name] = json!({"server": half.server.to_string(), "sig": print_signature(&half.sig)});
    }
}

fn parse_half(value: &Value) -> Option<Half> {
    let fields = object(value)?;
    Some(Half { server: fields.required("server", parse_address)?, sig: fields.required("sig", signature)? })
}

/// An address that can be dialled from another machine: a zone (RFC 4007 section 11) means something on one only.
fn parse_address(value: &Value) -> Option<SocketAddr> {
    let address = value.as_str()?.parse().ok().map(canonical)?;
    let zoned = matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0);
    (!zoned && address.port() != 0).then_some(address)
}

fn set_port(fields: &mut Value, round: u8, port: u16, kind: Option<NatKind>) {
    fields["round"] = round.into();
    fields["port"] = port.into();
    if let Some(kind) = kind {
        fields["nat"] = print_kind(kind);
    }
}

fn parse_port(value: &Value) -> Option<u16> {
    number(value).filter(|&port| port != 0)
}

/// A delta is the number that it is.
fn print_kind(kind: NatKind) -> Value {
    match kind {
        NatKind::Preserving => "preserving".into(),
        NatKind::Reuse => "reuse".into(),
        NatKind::Random => "random".into(),
        NatKind::Delta { step } => step.into(),
    }
}

/// A word of a later version is a kind that is not known here.
fn parse_kind(fields: &Fields) -> Option<Option<NatKind>> {
    let read = |value: &Value| match value {
        Value::String(word) => Some(match word.as_str() {
            "preserving" => Some(NatKind::Preserving),
            "reuse" => Some(NatKind::Reuse),
            "random" => Some(NatKind::Random),
            _ => None,
        }),
        _ => {
            let step = value.as_i64().and_then(|step| i32::try_from(step).ok())?;
            (step != 0).then_some(Some(NatKind::Delta { step }))
        }
    };
    fields.optional("nat", read).map(Option::flatten)
}

fn parse_unl(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let fits = (1..=Unl::MAX_TEXT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

/// What the rendezvous protocol can carry as one word.
fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte > b' ' && byte != 0x7f)
}
