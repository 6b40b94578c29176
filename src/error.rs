//! What can go wrong, each where the caller can act on it.
//!
//! Failures of one connection are not errors but events: see [`CloseReason`] and [`FailReason`].

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::connect::{TargetError, Tried, dial_fault};

/// Why a line or bytes were not queued. Nothing of them was sent.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut net = p2poll::Config::new().bind([127, 0, 0, 1].into()).start()?;
/// use p2poll::SendError;
///
/// for con in net.connections() {
///     match con.send_line("state of the game") {
///         Ok(()) => {}
///         Err(SendError::Full) => {} // it reads slowly: the next state will do
///         Err(SendError::Closed) => {} // an event tells why
///         Err(why) => return Err(why.into()),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The connection has ended or is being closed, or the id names none of this `Net`.
    Closed,
    /// The peer reads too slowly: the line does not fit into the queue now (see
    /// [`Config::max_queued`](crate::Config::max_queued)). Try again after a later `poll`, drop the line, or close.
    Full,
    /// It would not arrive as the one line that it is: it contains a line end, or begins with `~hello ` as the
    /// connection's first line, which is kept for node links.
    BadLine,
    /// It is longer than the queue's limit and could not be sent even by an idle connection.
    TooLong,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is closed",
            Self::Full => "the connection's queue is full: the peer reads too slowly",
            Self::BadLine => "not one plain line: it contains a line end or begins with \"~hello \"",
            Self::TooLong => "the line is longer than the connection's queue may ever be",
        })
    }
}

impl std::error::Error for SendError {}

/// Why a `Net` or a rendezvous server could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// No socket could listen at this address; the text says what to do.
    Listen {
        /// The address as configured.
        addr: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// An address of a server or peer is not `HOST:PORT`.
    BadAddress {
        /// The text as configured.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A value of the configuration contradicts another or is out of its range.
    BadConfig(&'static str),
    /// The operating system refused what every `Net` needs: a poller, randomness, a thread.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { addr, source } => {
                write!(f, "can not listen at {addr}: {source}; {}", listen_advice(source.kind()))
            }
            Self::BadAddress { text, why } => {
                write!(
                    f,
                    "{text:?} is not an address: {why}; write HOST:PORT, like 192.0.2.1:8000, [2001:db8::1]:8000 or example.org:8000"
                )
            }
            Self::BadConfig(what) => write!(f, "bad configuration: {what}"),
            Self::System(source) => write!(f, "the operating system refused to start: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { source, .. } | Self::System(source) => Some(source),
            Self::BadAddress { .. } | Self::BadConfig(_) => None,
        }
    }
}

fn listen_advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => "choose another port, 0 for any, or end the program that has it",
        io::ErrorKind::AddrNotAvailable => "choose an address of this machine, or none for all of them",
        io::ErrorKind::PermissionDenied => "choose a port above 1023, or run with the right to use this one",
        _ => "choose another address or port",
    }
}

/// Why an attempt to connect was not even begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is not `HOST:PORT`; this says what is wrong with it.
    BadAddress(&'static str),
    /// The text is neither an address, nor an id at an address, nor a UNL.
    BadTarget(TargetError),
    /// As many attempts are under way as [`Config::max_attempts`](crate::Config::max_attempts) allows.
    TooMany,
    /// The `Net` is stopping.
    Stopping,
    /// The UNL, or the id, names this node itself.
    Oneself,
    /// This `Net` takes no part in node links; see [`Config::links`](crate::Config::links).
    NoLinks,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAddress(why) => write!(f, "not an address: {why}; write HOST:PORT"),
            Self::BadTarget(why) => why.fmt(f),
            Self::TooMany => f.write_str("too many attempts to connect are under way"),
            Self::Stopping => f.write_str("the net is stopping"),
            Self::Oneself => f.write_str("that is this node itself"),
            Self::NoLinks => f.write_str("node links are switched off"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<TargetError> for ConnectError {
    fn from(why: TargetError) -> Self {
        Self::BadTarget(why)
    }
}

/// For what can always be connected to, like a UNL.
impl From<Infallible> for ConnectError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Why a connection ended; comes with [`Event::Closed`](crate::Event::Closed), after the last whole line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side closed it, and what was queued has been handed to the network.
    Local,
    /// This side closed it, but not all that was queued could be handed to the network: the peer did not take it within
    /// [`Config::close_deadline`](crate::Config::close_deadline), or the connection broke. The rest is lost.
    LocalTimeout,
    /// The peer closed it in order.
    Peer,
    /// The connection was torn: the peer's program crashed, or it closed with unread data.
    Reset,
    /// The peer acknowledged nothing for [`Config::dead_after`](crate::Config::dead_after): gone without a word.
    Vanished,
    /// The peer sent more than [`Config::max_line`](crate::Config::max_line) bytes without a line end.
    LineTooLong,
    /// It was [temporary](crate::Connect::temporary), and nothing was said on it for that long.
    Idle,
    /// The same node has connected anew: it had lost this connection before we noticed. Or this one turned out to be a better
    /// way for a relayed connection to it, which goes on over it.
    Replaced,
    /// The relay ended it: it had carried as many bytes as one connection may.
    RelayBytes,
    /// The relay ended it: it had lasted as long as one connection may.
    RelayTime,
    /// The relay ended it, as nothing was said on it for too long.
    RelayIdle,
    /// The peer did not keep to the protocol of node links.
    Protocol,
    /// The peer sent more lines on a node link than it was told that this side takes.
    CreditExceeded,
    /// The peer asked for more than it read: what was to be said to it by the node itself is more than is kept for one link.
    ProtocolUnread,
    /// It began like HTTP, TLS or SSH: somebody took this for another service, or had a browser do so. Nothing of it is shown.
    /// See [`Config::foreign_protocols`](crate::Config::foreign_protocols).
    Foreign,
    /// Another failure of the socket.
    Failed(io::ErrorKind),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("closed by this side"),
            Self::LocalTimeout => {
                f.write_str("closed by this side; the peer did not take all that was queued")
            }
            Self::Peer => f.write_str("closed by the peer"),
            Self::Reset => f.write_str("reset by the peer"),
            Self::Vanished => f.write_str("the peer vanished"),
            Self::LineTooLong => f.write_str("the peer sent a line over the limit"),
            Self::Idle => f.write_str("nothing was said on it for too long"),
            Self::Replaced => f.write_str("replaced: the same node has connected anew"),
            Self::RelayBytes => f.write_str("the relay's limit of bytes"),
            Self::RelayTime => f.write_str("the relay's limit of time"),
            Self::RelayIdle => f.write_str("the relay's limit of idle time"),
            Self::Protocol => f.write_str("the peer broke the protocol"),
            Self::CreditExceeded => f.write_str("the peer sent more lines than were granted"),
            Self::ProtocolUnread => f.write_str("the peer asked for more than it read"),
            Self::Foreign => f.write_str("it speaks another protocol"),
            Self::Failed(kind) => write!(f, "failed: {kind}"),
        }
    }
}

/// Why an attempt to connect ended without a connection; comes with [`Event::Failed`](crate::Event::Failed).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailReason {
    /// The host name has no address, or could not be looked up; the text is the resolver's.
    NoAddress(String),
    /// No address answered: each with what it said, in the order in which they ended.
    Unreachable(Vec<(SocketAddr, io::ErrorKind)>),
    /// No rung of the ladder led to the node: what each said, in their order.
    NoWay(Vec<Tried>),
    /// The address, or the UNL, is this node itself.
    Oneself,
    /// The application cancelled it.
    Cancelled,
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress(why) => write!(f, "no address for this name: {why}"),
            Self::Unreachable(tried) => {
                f.write_str("unreachable")?;
                for (n, (addr, kind)) in tried.iter().enumerate() {
                    write!(f, "{} {addr}: {}", if n == 0 { ":" } else { "," }, dial_fault(*kind))?;
                }
                Ok(())
            }
            Self::NoWay(tried) => {
                f.write_str("no way")?;
                tried
                    .iter()
                    .enumerate()
                    .try_for_each(|(n, tried)| write!(f, "{} {tried}", if n == 0 { ":" } else { ";" }))
            }
            Self::Oneself => f.write_str("that is this node itself"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}
