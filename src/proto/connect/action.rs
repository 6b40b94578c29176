//! What the machine wants done, and what it tells.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::connect::{Progress, Rung};
use crate::error::FailReason;
use crate::event::Via;
use crate::id::{AttemptId, CallId, ConId, ServerId};
use crate::identity::NodeId;
use crate::unl::Unl;
use crate::wire::rendezvous::{Ntp, Ports, Token};

/// Names one stream that is dialled for a call, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DialId {
    pub(super) call: CallId,
    pub(super) serial: u64,
}

impl DialId {
    pub(crate) const fn call(self) -> CallId {
        self.call
    }

    /// All that a call can have lie from here on, and before those of others.
    pub(crate) const fn first_of(call: CallId) -> Self {
        Self { call, serial: 0 }
    }
}

/// What whoever holds the streams, the servers and the links is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConnectAction {
    /// Dial, from this port if there is one; report `handle_connected` or `handle_failed`, then each line that it
    /// `wants_line` of, and when it ends by itself.
    Dial { dial: DialId, to: SocketAddr, from: Option<u16> },
    /// Send these bytes.
    Send { dial: DialId, bytes: Vec<u8> },
    /// Close it in order: what was sent is to arrive.
    Close { dial: DialId },
    /// Nothing more is wanted of it, whatever it is by now; unless it has become a connection, which stays.
    Abandon { dial: DialId },
    /// Say hello on it, and report `handle_handshake_failed`, or that there is a link.
    SayHello { dial: DialId, handshake: Handshake },
    /// The other side says hello.
    ExpectHello { dial: DialId, handshake: Handshake },
    /// It is a connection to a peer of pyp2p's, which proves nothing, and has led to it for these.
    Adopt { dial: DialId, via: Via, waiters: Vec<Waiter>, took: Duration },
    /// A candidate of pyp2p's has come by it, as if it had connected.
    Admit { dial: DialId },
    /// Find the servers through which a node can be called, and say so by `handle_servers`.
    FindServers { call: CallId, unl: Unl },
    /// Sign it and send it; report `handle_unsent` if the server does not take it on.
    Signal(OutgoingSignal),
    /// Announce a port of ours to the node at `ip`.
    Announce { server: ServerId, ip: IpAddr, ports: Ports },
    /// Accept a candidate; report `handle_unaccepted` if the server is not there to hear it.
    Accept { call: CallId, server: ServerId, ip: IpAddr, ports: Ports, ntp: Ntp },
    /// Register with this server now.
    Register { server: ServerId },
    /// What is known of the relays of the configuration is used, and may be old.
    RefreshRelays,
    /// There is a link to this node: other handshakes with it are over, and those of these calls; but for `others`, which
    /// go on.
    EndHandshakes { node: NodeId, calls: Vec<CallId>, others: Vec<CallId> },
    /// It is over: so are handshakes that belong to it, and servers that are only there for it.
    Over { call: CallId },
}

/// What a handshake is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    pub(crate) rung: Rung,
    pub(crate) with: Option<NodeId>,
    /// It is to replace a relayed link.
    pub(crate) upgrade: bool,
}

/// What is to be said to the other side of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutgoingSignal {
    pub(crate) call: CallId,
    pub(crate) server: ServerId,
    pub(crate) to: NodeId,
    /// Which of our ports the server is to tell it the address of.
    pub(crate) observed: Option<Token>,
    pub(crate) text: String,
    pub(crate) unsent: Unsent,
}

/// What it comes to when a server does not take a signal on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// Nothing.
    Lost,
    /// The server does not have the call.
    NotCalled,
    /// The caller hears no answer: the call is over.
    Unanswered,
    /// The other side does not come to this relay.
    NoRelay(SocketAddr),
}

/// What the application is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConnectEvent {
    /// An attempt has led to this connection.
    Connected {
        con: ConId,
        waiter: Waiter,
        took: Duration,
    },
    Failed {
        attempt: AttemptId,
        why: FailReason,
    },
    Climbing {
        attempt: AttemptId,
        progress: Progress,
    },
}

/// An attempt of the application's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) attempt: AttemptId,
    /// The connection closes itself after so much idle time.
    pub(crate) temporary: Option<Duration>,
}
