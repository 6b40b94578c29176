//! What one room of a node wants of another one, or of the application. Rooms do not call each other: they queue these
//! values, and `route` hands them on.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::attempts::{LookUp, Purpose};
use crate::error::FailReason;
use crate::event::Event;
use crate::id::{AttemptId, ServerId, StreamId};
use crate::node::streams::StreamFacts;
use crate::wire::address::HostPort;

#[derive(Debug)]
pub(super) enum Effect {
    /// The application is to know.
    Tell(Event),

    // For the attempts.
    Attempt {
        purpose: Purpose,
        target: HostPort,
    },
    /// The attempt to connect to this server is not wanted any more.
    HangUp(ServerId),

    // What became of attempts.
    Dialled(Dialled),
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

    /// There are other addresses that are known as this node's own.
    OwnAddresses,
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

    pub(super) fn pop(&mut self) -> Option<Effect> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
