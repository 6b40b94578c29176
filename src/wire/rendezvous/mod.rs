//! The rendezvous protocol: what clients ask and what servers answer, a line each.
//!
//! The old verbs are pyp2p's, word for word. The new ones are only sent to a side that showed that it knows them.
//! Everything is words between spaces, so that it can be typed by hand: several spaces count as one, and what ends the
//! line (LF or CRLF) is taken off before it gets here. Ids, keys, nonces, tokens and sessions are hexadecimal digits,
//! signatures Base64 (standard alphabet, no padding), addresses `IP:PORT` or `[IPV6]:PORT`.
//!
//! # Ids
//!
//! The answer to a `HELLO` with the feature `id` ends with `nonce=NONCE`: fresh for the connection, and good for one
//! proof.
//!
//! | line | from | meaning |
//! |---|---|---|
//! | `PROVE signal\|relay PUBKEY NONCE SERVERADDR SIG` | client | I hold this key; see [`proof`](crate::wire::proof) for what is signed. SERVERADDR is the server as I dialled it, NONCE my own |
//! | `PROVEN ID`, `DENIED WHY` | server | `signature`, `address` (not one of mine), `nonce` (none left), `full` |
//!
//! Of several connections that are proven for `signal` for an id, the latest is the one that its signals go to, unless both
//! say which process they are (the feature `incarnation`):
//!
//! | line | from | meaning |
//! |---|---|---|
//! | `PROVE .. SIG INCARNATION` | client | and this process has drawn this number at its start (16 digits, signed with the rest) |
//! | `PENDING` | server | instead of `PROVEN`: another process has the id, and is being asked whether it is there |
//! | `PING TOKEN`, answered by `PONG TOKEN` | server | are you there? Within 3 s |
//! | `PROVEN ID`, `DENIED in-use` | server | what came of it: the signals go to you, or to another process, for as long as that is there |
//! | `INUSE ADDR` | server, to who keeps the id | another process, at that address, has your key |
//!
//! # Signals
//!
//! | line | from | meaning |
//! |---|---|---|
//! | `OBSERVE TOKEN` | anybody | remember for a minute from which address I ask. Answer: `SEEN IP PORT` |
//! | `SIGNAL TOID TOKEN\|- SIG TEXT` | client, proven for `signal` | pass this on. TOKEN: with the address of this `OBSERVE`, if it is of my household |
//! | `SIGNALED TOID DELIVERED\|STORED\|FULL\|BUSY` | server | the answer, in order. `STORED`: for a minute |
//! | `SIGNAL PUBKEY SEENADDR OBSERVEDADDR\|- SIG TEXT` | server, to the recipient | the sender's key and address, as the server knows them |
//!
//! TEXT is JSON without spaces; it and SIG, which the recipient checks, are between the two nodes.
//!
//! # Relays
//!
//! | line | from | meaning |
//! |---|---|---|
//! | `RELAY SERVERADDR SESSION CALLERKEY CALLEEKEY CALLERSIG CALLEESIG` | client, proven for `relay` as one of the two | connect me to the other one, who says the same on a connection of its own. Once for each connection |
//! | `RELAYED BYTES SECONDS RATE` | server, to both | from this line's end on everything is the peer's. The limits: bytes in all, seconds, bytes a second in each direction; 0: none |
//! | `REFUSED WHY` | server | see [`RelayRefusal`] |
//!
//! Nothing is to be sent between `RELAY` and its answer. The server ends a relay at a limit with a line that
//! [`relay_closed`](crate::wire::relay::relay_closed) knows; an end that finishes sending is passed on as that.

mod features;
mod incarnation;
mod meeting;
mod nodes;
mod signal;
#[cfg(test)]
mod tests;
mod token;
mod words;

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::identity::{NodeId, Signature};
use crate::wire::proof::{Denial, Proof, SignedTicket};
use crate::wire::relay::{RelayLimits, RelayRefusal};
pub(crate) use features::Features;
pub(crate) use incarnation::Incarnation;
pub(crate) use meeting::{Ntp, Ports};
pub(crate) use nodes::{Entry, write_nodes};
use nodes::{put_nodes, put_observers};
pub(crate) use signal::{Delivery, Incoming, Outgoing, SignalText};
pub(crate) use token::Token;
use words::Words;

/// The most nodes that can be asked for, and that are taken from one answer (pyp2p's limit).
pub(crate) const MAX_NODES: usize = 100;

/// The most predicted ports in one line. pyp2p predicts 4; more than this is not a prediction but a port scan.
pub(crate) const MAX_PORTS: usize = 64;

/// The longest token of a `PING` or `PROBE`.
pub(crate) const MAX_TOKEN: usize = 32;

/// The shortest nonce of a `PROBE`: 16 hexadecimal digits can not be guessed in the half second that there is.
pub(crate) const MIN_NONCE: usize = 16;

/// The most places in an answer to `OBSERVERS`; two are enough to tell how a NAT behaves.
pub(crate) const MAX_OBSERVERS: usize = 8;

/// A line from a client to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// `HELLO p2poll 1 feature ...`: these extensions are known here.
    Hello(Features),
    /// `WHOAMI`: which address do I come from? Answered by [`Reply::Seen`].
    Whoami,
    /// `PING token`. Answered by [`Reply::Pong`].
    Ping(Token),
    /// `PONG token`: the answer to [`Reply::Ping`].
    Pong(Token),
    /// `OBSERVERS`: where else does this server listen? Answered by [`Reply::Observers`].
    Observers,
    /// `PROBE PORT NONCE`: can this port of mine be reached? Answered by [`Reply::Probed`]; what is said on the probe's
    /// own connection is in [`probe`](crate::wire::probe).
    Probe { port: u16, nonce: Token },
    /// `PROVE ...`: I hold this key. Answered by [`Reply::Proven`] or [`Reply::Denied`].
    Prove(Box<Proof>),
    /// `OBSERVE TOKEN`: remember where I come from. Answered by [`Reply::Seen`].
    Observe(Token),
    /// `SIGNAL ...`: pass this on. Answered by [`Reply::Signaled`].
    Signal(Box<Outgoing>),
    /// `RELAY ...`: connect me to the other end. Answered by [`Reply::Relayed`] or [`Reply::Refused`].
    Relay(Box<SignedTicket>),
    /// `BOOTSTRAP n`, 1 to 100. Answered by [`Reply::Nodes`].
    Bootstrap { count: u8 },
    /// `PASSIVE READY PORT MAX_INBOUND`: list me. Answered by [`Reply::Listed`] when that feature is agreed.
    Passive { port: u16, max_inbound: u32 },
    /// `SIMULTANEOUS READY PORT MAX_INBOUND`: I can be punched. pyp2p says port 0 here.
    Simultaneous { port: u16, max_inbound: u32 },
    /// `SOURCE TCP [PORT]`. Answered by [`Reply::Remote`], by every server.
    Source { port: Option<u16> },
    /// `CANDIDATE IP TCP PORT ...`: I want to punch to IP.
    Candidate { ip: IpAddr, ports: Ports },
    /// `ACCEPT IP PORT ... TCP NTP`: I meet the candidate IP.
    Accept { ip: IpAddr, ports: Ports, ntp: Ntp },
    /// `CLEAR`: forget me.
    Clear,
    /// `QUIT`: close.
    Quit,
}

/// A line from a server to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `HELLO p2poll 1 feature ... nonce=NONCE`: the extensions that both sides know; the nonce with the feature `id`.
    Hello { features: Features, nonce: Option<Token> },
    /// `SEEN IP PORT`, `SEEN [IPV6] PORT`: the asker's address as the server sees it.
    Seen(SocketAddr),
    /// `PONG token`.
    Pong(Token),
    /// `PING token`: are you still there? Answered by [`Request::Pong`].
    Ping(Token),
    /// `PENDING`: whether it is proven is told later.
    Pending,
    /// `INUSE IP:PORT`: there is another process with the key of this connection's node.
    InUse(SocketAddr),
    /// `OBSERVERS IP:PORT :PORT ...` or `OBSERVERS NONE`.
    Observers(Vec<Observer>),
    /// `PROBED PORT YES`, `PROBED PORT NO`, both a fixed time after the question and so perhaps behind answers to later
    /// ones; `PROBED PORT LATER` at once, as a rule.
    Probed { port: u16, verdict: Verdict },
    /// `PROVEN ID`: the key is, and this is its id.
    Proven(NodeId),
    /// `DENIED WHY`: it is not.
    Denied(Denial),
    /// `SIGNALED TOID OUTCOME`.
    Signaled { to: NodeId, outcome: Delivery },
    /// `SIGNAL ...`: a node says something.
    Signal(Box<Incoming>),
    /// `RELAYED BYTES SECONDS RATE`: from the next byte on the peer speaks.
    Relayed(RelayLimits),
    /// `REFUSED WHY`: there is no relay.
    Refused(RelayRefusal),
    /// `LISTED PORT`: registered, for as long as this connection lives (and a grace).
    Listed { port: u16 },
    /// `FULL`: not registered, there is no room. Part of the feature `listed`.
    Full,
    /// `NODES p:IP:PORT ... ` or `NODES EMPTY`.
    Nodes(Vec<Listed>),
    /// `REMOTE TCP PORT`: the port that the server sees.
    Remote { port: u16 },
    /// `PREDICTION SET`: the candidate is noted.
    PredictionSet,
    /// `CHALLENGE IP PORT ... TCP`: IP wants to punch to you.
    Challenge { ip: IpAddr, ports: Ports },
    /// `RECONNECT`: predict and register again.
    Reconnect,
    /// `FIGHT IP PORT ... TCP NTP`: the accepted meeting.
    Fight { ip: IpAddr, ports: Ports, ntp: Ntp },
}

/// One entry of an answer to `BOOTSTRAP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) addr: SocketAddr,
    /// It registered later than the asker (`p+:`), so it will hear of the asker, and dial.
    pub(crate) newer: bool,
}

/// Another place where the asked server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observer {
    /// `None`, on the wire nothing before the colon: the address at which the asker reached it. The server may know that
    /// one by another name, as many do that stand behind a one-to-one NAT.
    pub(crate) ip: Option<IpAddr>,
    /// Never 0.
    pub(crate) port: u16,
}

/// What came of a `PROBE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Who listens there knows the nonce.
    Yes,
    /// Nobody proved the nonce in time, for whatever reason: a server does not tell more.
    No,
    /// It was not tried: too many probes at the moment, or no means to.
    Later,
}

impl Request {
    /// The meaning of a line without its end, or none that a server would answer.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let mut words = Words::new(line);
        let request = match words.next()? {
            b"BOOTSTRAP" => Self::Bootstrap { count: words.how_many()? },
            b"HELLO" => Self::Hello(words.hello()?.0),
            b"WHOAMI" => Self::Whoami,
            b"PING" => Self::Ping(Token::new(words.next()?)?),
            b"PONG" => Self::Pong(Token::new(words.next()?)?),
            b"OBSERVERS" => Self::Observers,
            b"PROBE" => Self::Probe { port: words.port()?, nonce: words.nonce()? },
            b"PROVE" => Self::Prove(Box::new(words.proof()?)),
            b"OBSERVE" => Self::Observe(words.key_token()?),
            b"SIGNAL" => Self::Signal(Box::new(words.outgoing()?)),
            b"RELAY" => Self::Relay(Box::new(words.ticket()?)),
            b"PASSIVE" => {
                words.expect("READY")?;
                Self::Passive { port: words.port()?, max_inbound: words.saturating()? }
            }
            b"SIMULTANEOUS" => {
                words.expect("READY")?;
                Self::Simultaneous { port: words.port_or_zero()?, max_inbound: words.saturating()? }
            }
            b"SOURCE" => {
                words.expect("TCP")?;
                Self::Source { port: words.optional_port()? }
            }
            b"CANDIDATE" => {
                let ip = words.ip()?;
                words.expect("TCP")?;
                Self::Candidate { ip, ports: words.ports()? }
            }
            b"ACCEPT" => {
                let (ip, ports) = words.meeting()?;
                Self::Accept { ip, ports, ntp: Ntp::parse(words.next()?)? }
            }
            b"CLEAR" => Self::Clear,
            b"QUIT" => Self::Quit,
            _ => return None,
        };
        words.end()?;
        Some(request)
    }

    /// Appends the line with its end.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(features) => put_hello(out, *features, None),
            Self::Whoami => put(out, format_args!("WHOAMI")),
            Self::Ping(token) => put(out, format_args!("PING {token}")),
            Self::Pong(token) => put(out, format_args!("PONG {token}")),
            Self::Observers => put(out, format_args!("OBSERVERS")),
            Self::Probe { port, nonce } => put(out, format_args!("PROBE {port} {nonce}")),
            Self::Prove(proof) => put_proof(out, proof),
            Self::Observe(token) => put(out, format_args!("OBSERVE {token}")),
            Self::Signal(signal) => put_outgoing(out, signal),
            Self::Relay(ticket) => put_ticket(out, ticket),
            Self::Bootstrap { count } => put(out, format_args!("BOOTSTRAP {count}")),
            Self::Passive { port, max_inbound } => {
                put(out, format_args!("PASSIVE READY {port} {max_inbound}"))
            }
            Self::Simultaneous { port, max_inbound } => {
                put(out, format_args!("SIMULTANEOUS READY {port} {max_inbound}"));
            }
            Self::Source { port: Some(port) } => put(out, format_args!("SOURCE TCP {port}")),
            Self::Source { port: None } => put(out, format_args!("SOURCE TCP")),
            Self::Candidate { ip, ports } => put(out, format_args!("CANDIDATE {} TCP {ports}", Ip(*ip))),
            Self::Accept { ip, ports, ntp } => put(out, format_args!("ACCEPT {} {ports} TCP {ntp}", Ip(*ip))),
            Self::Clear => put(out, format_args!("CLEAR")),
            Self::Quit => put(out, format_args!("QUIT")),
        }
        out.extend_from_slice(END);
    }
}

impl Reply {
    /// The meaning of a line without its end.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let mut words = Words::new(line);
        let reply = match words.next()? {
            b"NODES" => Self::Nodes(words.nodes()?),
            b"HELLO" => {
                let (features, nonce) = words.hello()?;
                Self::Hello { features, nonce }
            }
            b"SEEN" => {
                let ip = words.ip()?;
                Self::Seen(SocketAddr::new(ip, words.port()?))
            }
            b"PONG" => Self::Pong(Token::new(words.next()?)?),
            b"PING" => Self::Ping(Token::new(words.next()?)?),
            b"PENDING" => Self::Pending,
            b"INUSE" => Self::InUse(words.addr()?),
            b"OBSERVERS" => Self::Observers(words.observers()?),
            b"PROBED" => Self::Probed { port: words.port()?, verdict: Verdict::named(words.next()?)? },
            b"PROVEN" => Self::Proven(NodeId::from_bytes(words.hex()?)),
            b"DENIED" => Self::Denied(Denial::named(words.next()?)),
            b"SIGNALED" => {
                let to = NodeId::from_bytes(words.hex()?);
                Self::Signaled { to, outcome: Delivery::named(words.next()?)? }
            }
            b"SIGNAL" => Self::Signal(Box::new(words.incoming()?)),
            b"RELAYED" => Self::Relayed(words.relay_limits()?),
            b"REFUSED" => Self::Refused(RelayRefusal::named(words.next()?)),
            b"LISTED" => Self::Listed { port: words.port_or_zero()? },
            b"FULL" => Self::Full,
            b"REMOTE" => {
                words.expect("TCP")?;
                Self::Remote { port: words.port()? }
            }
            b"PREDICTION" => {
                words.expect("SET")?;
                Self::PredictionSet
            }
            b"CHALLENGE" => {
                let (ip, ports) = words.meeting()?;
                Self::Challenge { ip, ports }
            }
            b"RECONNECT" => Self::Reconnect,
            b"FIGHT" => {
                let (ip, ports) = words.meeting()?;
                Self::Fight { ip, ports, ntp: Ntp::parse(words.next()?)? }
            }
            _ => return None,
        };
        words.end()?;
        Some(reply)
    }

    /// Whether the line begins with a verb of ours: then one that does not parse is a fault, not news from a
    /// later version.
    pub(crate) fn knows_verb(line: &[u8]) -> bool {
        const VERBS: [&[u8]; 22] = [
            b"NODES",
            b"HELLO",
            b"SEEN",
            b"PONG",
            b"PING",
            b"PENDING",
            b"INUSE",
            b"OBSERVERS",
            b"PROBED",
            b"PROVEN",
            b"DENIED",
            b"SIGNALED",
            b"SIGNAL",
            b"RELAYED",
            b"REFUSED",
            b"LISTED",
            b"FULL",
            b"REMOTE",
            b"PREDICTION",
            b"CHALLENGE",
            b"RECONNECT",
            b"FIGHT",
        ];
        Words::new(line).next().is_some_and(|verb| VERBS.contains(&verb))
    }

    /// Appends the line with its end.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello { features, nonce } => put_hello(out, *features, nonce.as_ref()),
            Self::Seen(addr) => put(out, format_args!("SEEN {} {}", Ip(addr.ip()), addr.port())),
            Self::Pong(token) => put(out, format_args!("PONG {token}")),
            Self::Ping(token) => put(out, format_args!("PING {token}")),
            Self::Pending => put(out, format_args!("PENDING")),
            Self::InUse(addr) => put(out, format_args!("INUSE {}", Addr(*addr))),
            Self::Observers(observers) => put_observers(out, observers),
            Self::Probed { port, verdict } => put(out, format_args!("PROBED {port} {}", verdict.name())),
            Self::Proven(id) => put(out, format_args!("PROVEN {id}")),
            Self::Denied(why) => put(out, format_args!("DENIED {}", why.name())),
            Self::Signaled { to, outcome } => put(out, format_args!("SIGNALED {to} {}", outcome.name())),
            Self::Signal(signal) => put_incoming(out, signal),
            Self::Relayed(RelayLimits { bytes, seconds, rate }) => {
                put(out, format_args!("RELAYED {bytes} {seconds} {rate}"));
            }
            Self::Refused(why) => put(out, format_args!("REFUSED {}", why.name())),
            Self::Listed { port } => put(out, format_args!("LISTED {port}")),
            Self::Full => put(out, format_args!("FULL")),
            Self::Nodes(nodes) => put_nodes(out, nodes),
            Self::Remote { port } => put(out, format_args!("REMOTE TCP {port}")),
            Self::PredictionSet => put(out, format_args!("PREDICTION SET")),
            Self::Challenge { ip, ports } => put(out, format_args!("CHALLENGE {} {ports} TCP", Ip(*ip))),
            Self::Reconnect => put(out, format_args!("RECONNECT")),
            Self::Fight { ip, ports, ntp } => put(out, format_args!("FIGHT {} {ports} TCP {ntp}", Ip(*ip))),
        }
        out.extend_from_slice(END);
    }
}

impl Verdict {
    const ALL: [Self; 3] = [Self::Yes, Self::No, Self::Later];

    const fn name(self) -> &'static str {
        match self {
            Self::Yes => "YES",
            Self::No => "NO",
            Self::Later => "LATER",
        }
    }

    fn named(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.name().as_bytes() == word)
    }
}

const END: &[u8] = b"\r\n";

/// What stands before the nonce in the answer to `HELLO`.
const NONCE: &str = "nonce=";

/// Version 1 of the extensions. A higher one answers to 1 as well.
const HELLO: &str = "HELLO p2poll 1";

/// What a client of ours begins with, in whatever version: nobody else does.
pub(crate) const GREETING: &[u8] = b"HELLO p2poll ";

fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = out.write_fmt(text);
}

fn put_hello(out: &mut Vec<u8>, features: Features, nonce: Option<&Token>) {
    put(out, format_args!("{HELLO}"));
    for (_, name) in Features::NAMES.iter().filter(|(feature, _)| features.has(*feature)) {
        put(out, format_args!(" {name}"));
    }
    if let Some(nonce) = nonce {
        put(out, format_args!(" {NONCE}{nonce}"));
    }
}

fn put_proof(out: &mut Vec<u8>, proof: &Proof) {
    let Proof { role, key, nonce, server, signature, incarnation } = proof;
    put(out, format_args!("PROVE {} {key} {nonce} {} ", role.name(), Addr(*server)));
    put_signature(out, signature);
    if let Some(incarnation) = incarnation {
        put(out, format_args!(" {incarnation}"));
    }
}

fn put_outgoing(out: &mut Vec<u8>, signal: &Outgoing) {
    let Outgoing { to, observed, signature, text } = signal;
    match observed {
        Some(token) => put(out, format_args!("SIGNAL {to} {token} ")),
        None => put(out, format_args!("SIGNAL {to} - ")),
    }
    put_signature(out, signature);
    put(out, format_args!(" {}", text.as_str()));
}

fn put_incoming(out: &mut Vec<u8>, signal: &Incoming) {
    let Incoming { from, seen, observed, signature, text } = signal;
    put(out, format_args!("SIGNAL {from} {} ", Addr(*seen)));
    match observed {
        Some(addr) => put(out, format_args!("{} ", Addr(*addr))),
        None => put(out, format_args!("- ")),
    }
    put_signature(out, signature);
    put(out, format_args!(" {}", text.as_str()));
}

fn put_ticket(out: &mut Vec<u8>, signed: &SignedTicket) {
    let SignedTicket { ticket, caller_signature, callee_signature } = signed;
    put(out, format_args!("RELAY {} ", Addr(ticket.server)));
    for byte in ticket.session {
        put(out, format_args!("{byte:02x}"));
    }
    put(out, format_args!(" {} {} ", ticket.caller, ticket.callee));
    put_signature(out, caller_signature);
    put(out, format_args!(" "));
    put_signature(out, callee_signature);
}

fn put_signature(out: &mut Vec<u8>, signature: &Signature) {
    put(out, format_args!("{}", STANDARD_NO_PAD.encode(signature)));
}

/// `IP:PORT`, `[IPV6]:PORT`; the text of an address that is signed, too.
pub(crate) struct Addr(pub(crate) SocketAddr);

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Ip(self.0.ip()), self.0.port())
    }
}

/// An address as it stands on the wire: IPv6 in brackets, and IPv4 in IPv6's clothes undressed.
struct Ip(IpAddr);

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_canonical() {
            IpAddr::V4(ip) => write!(f, "{ip}"),
            IpAddr::V6(ip) => write!(f, "[{ip}]"),
        }
    }
}
