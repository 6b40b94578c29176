//! What the client asks of the holder of its socket, and what it tells.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::identity::NodeId;
use crate::reach::ServerKind;
use crate::wire::proof::Denial;
use crate::wire::rendezvous::{Delivery, Features, Incoming, Listed, Ntp, Ports, Verdict};

/// What the holder of the socket is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientAction {
    /// Connect to the server, and report by `handle_connected` or `handle_disconnected`.
    Dial,
    Send(Vec<u8>),
    /// Close (or stop dialling), and report no `handle_disconnected` for it.
    Hangup,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientEvent {
    /// The server answers. `seen` is our address as it sees it, where it can tell; `rtt` is how long an answer
    /// took, the shortest time so far; `features` are what both sides know.
    Up {
        kind: ServerKind,
        seen: Option<SocketAddr>,
        rtt: Duration,
        features: Features,
    },
    /// A round trip takes less than half of what it was thought to take.
    Rtt(Duration),
    /// Where else the server listens, other than where it was asked; asked for in each session with the feature, and
    /// told after `Up`.
    Observers(Vec<SocketAddr>),
    /// The answer to `probe`; `None` when none came in time. A `Down` ends those that are under way.
    Probed {
        port: u16,
        verdict: Option<Verdict>,
    },
    /// The server knows who we are, and sends us what is said to us, from now on.
    Proven,
    /// The server does not take our proof; everything else goes on. That another process has the key
    /// ([`Denial::InUse`]) can become known at any time, and `Proven` follows when that leaves.
    Denied {
        why: Denial,
        /// As it was dialled.
        server: SocketAddr,
    },
    /// Another process, at that address as the server sees it, has this node's key, and was refused.
    InUse(SocketAddr),
    /// The answer to `signal`.
    Signaled {
        to: NodeId,
        outcome: Outcome,
    },
    /// A node says something. The server has seen the proof of its key; whether the signature is of that key is for the
    /// taker of this event to check.
    Signal(Box<Incoming>),
    /// The answer to a bootstrap; empty when it knows nobody.
    Nodes(Vec<Listed>),
    /// The server has read our registration.
    Advertised,
    /// The server has no room for us; tried again later.
    Refused,
    /// The answer to `source`.
    Remote {
        port: u16,
    },
    /// The candidate is noted.
    PredictionSet,
    Challenge {
        ip: IpAddr,
        ports: Ports,
    },
    Fight {
        ip: IpAddr,
        ports: Ports,
        ntp: Ntp,
    },
    /// Predict again, then `advertise`.
    Reconnect,
    /// No connection, or no more. The next attempt is made after `retry_in`, if there is something to do then.
    Down {
        why: DownWhy,
        retry_in: Duration,
    },
    /// The end that `leave` asked for.
    Left,
}

/// Why there is no session with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DownWhy {
    /// It could not be dialled.
    Unreachable,
    /// It closed the connection, or that broke.
    Closed,
    /// It did not answer in time.
    Slow,
    /// It does not speak the protocol.
    Nonsense,
}

/// What became of a signal of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server's word.
    Told(Delivery),
    /// The session ended before the server answered: it may or may not have passed the signal on.
    Lost,
}
