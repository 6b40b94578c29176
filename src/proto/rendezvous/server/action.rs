//! What the server asks of whoever holds its sockets.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::ids::{ClientId, ProbeId};
use crate::wire::foreign::Foreign;

/// What the holder of the sockets is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerAction {
    /// Write to a client that is not the one being answered.
    Send { client: ClientId, text: Vec<u8> },
    /// Close, after what was written (the `reply` too) has gone out. The server has forgotten the client already.
    Close { client: ClientId, why: CloseWhy },
    /// Connect to `to`, an address of the asker's, from the address at which it reached this server; say the prompt of
    /// [`probe`](crate::wire::probe), and tell the first line by `handle_probe_line`. A failure need not be told,
    /// unless it was this computer's: `handle_probe_untried`.
    Dial { probe: ProbeId, to: SocketAddr, from: IpAddr },
    /// Relay all that comes from either to the other, from what has been queued for them until now on, within
    /// [`Limits::relay`](super::Limits::relay); and report the end of each by `handle_closed`. They are clients no more.
    Splice { a: ClientId, b: ClientId },
    /// Drop that connection, or the attempt, if there still is one.
    Abandon { probe: ProbeId },
}

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CloseWhy {
    /// The client asked for it.
    Quit,
    /// Nothing came for too long.
    Idle,
    /// [`Limits::clients`](super::Limits::clients) are connected.
    Full,
    /// [`Limits::clients_per_address`](super::Limits::clients_per_address) are connected from there.
    AddressFull,
    /// It speaks another protocol.
    Foreign(Foreign),
}

/// Goes on from "a client".
impl fmt::Display for CloseWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quit => f.write_str("has quit"),
            Self::Idle => f.write_str("was silent for too long"),
            Self::Full => f.write_str("came to a full server"),
            Self::AddressFull => f.write_str("has too many connections at its address"),
            Self::Foreign(foreign) => write!(f, "speaks {}", foreign.name()),
        }
    }
}
