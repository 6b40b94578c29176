//! What one room of a node wants of another one, or of the application. Rooms do not call each other: they queue these
//! values, and `route` hands them on.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::asking::Asked;
use super::attempts::{LookUp, Purpose};
use super::ends::Ends;
use crate::address::HostPort;
use crate::error::FailReason;
use crate::event::Event;
use crate::id::{AttemptId, ServerId, StreamId};
use crate::identity::NodeId;
use crate::node::streams::StreamFacts;
use crate::proto::connect::{ConnectAction, ConnectEvent};
use crate::proto::reach::{ProbeOutcome, ServerUp};
use crate::wire::rendezvous::{Incoming, Listed, Ntp, Ports, Token};

#[derive(Debug)]
pub(super) enum Effect {
    /// The application is to know.
    Tell(Event),

    // For the application, and other rooms, of calls.
    OfCall(ConnectEvent),
    ForCall(ConnectAction),

    // For the attempts.
    Attempt {
        purpose: Purpose,
        target: HostPort,
    },
    /// The attempt to connect to this server is not wanted any more.
    HangUp(ServerId),

    // What became of attempts.
    Dialled(Dialled),
    /// Who is there is to be asked, and should be this node, if one is named.
    Ask {
        stream: StreamId,
        id: Option<NodeId>,
        asked: Asked,
    },
    /// `why`: unless the application was told.
    PeerUnreached {
        addr: SocketAddr,
        why: Option<FailReason>,
    },
    Resolved {
        name: LookUp,
        addresses: Vec<SocketAddr>,
    },
    Unresolved {
        name: LookUp,
        why: FailReason,
    },
    ServerConnected {
        server: ServerId,
        stream: StreamId,
        facts: StreamFacts,
    },
    ServerUnreached {
        server: ServerId,
        why: FailReason,
    },

    // What servers tell.
    /// The p2p network may try these.
    Nodes {
        server: IpAddr,
        nodes: Vec<Listed>,
    },
    /// For calls.
    Signalling {
        server: ServerId,
        what: Signalling,
    },
    /// There is no session with it any more, or none came about.
    ServerDown(ServerId),

    // Of pending inbound connections, and the probes that are awaited there.
    /// A server is to connect to this port of ours.
    AskForProbe {
        server: ServerId,
        port: u16,
        nonce: Token,
    },
    /// It was asked, and comes from this address.
    ProbeAsked {
        server: ServerId,
        port: u16,
        ip: IpAddr,
        nonce: Token,
    },
    /// It has said what came of it, or not in time.
    ProbeTold {
        server: ServerId,
        port: u16,
        outcome: ProbeOutcome,
    },
    /// Who is there wants to be relayed.
    RelayClient {
        stream: StreamId,
        ends: Ends,
    },

    // Of how this node can be reached.
    Reach {
        server: ServerId,
        says: ServerSays,
    },
    ReconnectServer(ServerId),
    /// What is registered at servers may have to be another port, or none.
    Adverts,
    /// There are other addresses that are known as this node's own.
    OwnAddresses,
    /// Something may have changed that this node's UNL says.
    OwnUnl,
}

/// What a server says of how this node can be reached.
#[derive(Debug)]
pub(super) enum ServerSays {
    Up(ServerUp),
    Rtt(Duration),
    Observers(Vec<SocketAddr>),
    Probed {
        port: u16,
        outcome: ProbeOutcome,
    },
    /// It came, but later than the server waited for the answer.
    LateProbe,
    Down,
}

/// What a server means to calls.
#[derive(Debug)]
pub(super) enum Signalling {
    /// It answers.
    Met,
    /// It takes signals of ours.
    Ready,
    /// It does not.
    Useless,
    /// What became of a signal. `there`: whether the other node has it; `None` when the server can not keep it.
    Signaled {
        to: NodeId,
        there: Option<bool>,
    },
    Signal(Box<Incoming>),
    /// Our candidate is noted.
    Announced,
    /// The other side will punch.
    Fight {
        ip: IpAddr,
        ports: Ports,
        ntp: Ntp,
    },
    /// Somebody wants to punch to us.
    Challenge {
        ip: IpAddr,
        ports: Ports,
    },
    /// It finds our registration too old.
    Reconnect,
}

/// A stream that was dialled becomes a connection.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) stream: StreamId,
    /// Of the application's.
    pub(super) attempt: Option<AttemptId>,
    /// The p2p network knows that this address was dialled.
    pub(super) counted: bool,
    pub(super) took: Duration,
}

/// The effects that wait to be handed on. Each input makes a few, and they are handed on before the next input.
#[derive(Debug, Default)]
pub(super) struct Effects(VecDeque<Effect>);

impl Effects {
    pub(super) fn push(&mut self, effect: Effect) {
        self.0.push_back(effect);
    }

    pub(super) fn extend(&mut self, effects: impl IntoIterator<Item = Effect>) {
        self.0.extend(effects);
    }

    pub(super) fn pop(&mut self) -> Option<Effect> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
