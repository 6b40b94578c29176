//! What the server asks of whoever holds its sockets.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::ids::{ClientId, ProbeId};
use crate::identity::NodeId;
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
    /// Whoever runs the server should know this.
    Tell(ServerNews),
    /// Drop that connection, or the attempt, if there still is one.
    Abandon { probe: ProbeId },
}

/// What whoever runs a server should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerNews {
    /// Clients have dialled an address that the server does not know as its own: `networks` of the `needed` ones that it
    /// takes to believe it.
    Unknown { dialled: SocketAddr, networks: usize, needed: usize },
    /// The same, and it will not be believed.
    Unbelieved { dialled: SocketAddr },
    /// Two processes have one key: the signals go to the one that is here, and not to the other one there.
    KeyInUse { id: NodeId, here: SocketAddr, there: SocketAddr },
    /// The address is taken for the server's own from now on.
    Learned { dialled: SocketAddr },
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
    /// It was denied for an address that has become known since: it may come again.
    Learned,
}

/// Goes on from "a client".
impl fmt::Display for CloseWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quit => f.write_str("has quit"),
            Self::Idle => f.write_str("was silent for too long"),
            Self::Full => f.write_str("came to a full server"),
            Self::AddressFull => f.write_str("has too many connections at its address"),
            Self::Learned => f.write_str("may prove itself again"),
            Self::Foreign(foreign) => write!(f, "speaks {}", foreign.name()),
        }
    }
}
