//! A stream whose other side has not proven who it is.

use std::time::Duration;

use super::Ends;
use crate::connect::{Rung, RungFault};
use crate::id::{CallId, ConId, StreamId};
use crate::identity::NodeId;
use crate::proto::handshake::{Accepting, Dialling};
use crate::time::Instant;
use crate::wire::escape::escape;
use crate::wire::hello::Hello;
use crate::wire::line::Line;

/// Lines that come before the answer to a hello, from an application that was shown the connection before, are kept as far as
/// unread ones are. So much is what each takes besides its own length.
const LINE_COST: usize = 64;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Somebody has connected.
    Accepted,
    /// A candidate of pyp2p's protocol has punched to us. From there on it is as if it had connected.
    Met,
    /// A call of ours, or of somebody else to us, has led to it.
    Call { call: CallId, rung: Rung, upgrade: bool },
    /// An address that the application asked for has led to it.
    Asked,
}

/// A handshake that goes on.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) stage: Stage,
    pub(super) origin: Origin,
    pub(super) ends: Ends,
    /// When the stage is over; the same as among the deadlines of the table.
    pub(super) due: Option<Instant>,
    /// The connection that the application sees already.
    pub(super) shown: Option<ConId>,
    before: Before,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// What comes first tells who it is.
    Opening,
    /// The other side says hello: on a punched or relayed stream, or as its first bytes have shown.
    Expecting,
    /// We said hello.
    Dialled { dialling: Dialling, to: Option<NodeId>, said_at: Instant, hold: Hold },
    /// We answered a hello.
    Answered { accepting: Box<Accepting>, hello: Box<Hello> },
    /// A hello that is answered when ours, elsewhere, has led to nothing, or to a link that the peer must have heard of.
    Waiting { hello: Box<Hello>, since: Instant },
}

/// Whether the answer to our hello is left alone for now, which happens once at most.
#[derive(Debug)]
pub(super) enum Hold {
    NotYet,
    /// Until the stage's time is up.
    Holds(Line),
    Over,
}

/// The application's lines that came before the answer to our hello, as they would stand on the wire behind it.
#[derive(Debug)]
struct Before {
    lines: Vec<u8>,
    room: usize,
}

/// A handshake that has led to somebody, or to a plain peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) origin: Origin,
    pub(crate) ends: Ends,
    /// The call that it was for, as far as that is known.
    pub(crate) call: Option<CallId>,
    /// It is to take the place of a relayed path.
    pub(crate) upgrade: bool,
    /// The connection that the application sees already.
    pub(crate) shown: Option<ConId>,
    /// Whole lines of the application's that came before the answer.
    pub(crate) before: Vec<u8>,
    /// From when on the peer must know of the link, of which it hears by the last line of this handshake.
    pub(crate) certain_at: Instant,
}

/// The failure of an own dial, which is no news if the hello of the same node elsewhere leads to a link. There are as many as
/// dials may fail in a second, and those have a budget.
#[derive(Debug)]
pub(super) struct Deferred {
    pub(super) node: NodeId,
    pub(super) upgrade: bool,
    pub(super) stream: StreamId,
    /// It was dialled for the application.
    pub(super) asked: bool,
    pub(super) why: RungFault,
    pub(super) until: Instant,
}

impl Pending {
    pub(super) fn new(stage: Stage, origin: Origin, ends: Ends, room: usize) -> Self {
        let before = Before { lines: Vec::new(), room };
        Self { stage, origin, ends, due: None, shown: None, before }
    }

    pub(super) fn call(&self) -> Option<CallId> {
        match (&self.origin, &self.stage) {
            (Origin::Call { call, .. }, _) => Some(*call),
            (_, Stage::Answered { hello, .. } | Stage::Waiting { hello, .. }) => hello.call,
            _ => None,
        }
    }

    /// The call for which it was dialled or punched.
    pub(super) fn dialled_for(&self) -> Option<CallId> {
        match self.origin {
            Origin::Call { call, .. } => Some(call),
            Origin::Accepted | Origin::Met | Origin::Asked => None,
        }
    }

    pub(super) fn is_upgrade(&self) -> bool {
        match (&self.origin, &self.stage) {
            (Origin::Call { upgrade, .. }, _) => *upgrade,
            (_, Stage::Answered { hello, .. } | Stage::Waiting { hello, .. }) => hello.upgrade,
            _ => false,
        }
    }

    pub(super) fn is_relayed(&self) -> bool {
        matches!(self.origin, Origin::Call { rung: Rung::Relay, .. })
    }

    /// Whether somebody waits for what comes of it: a call, or the application.
    pub(super) fn is_own_dial(&self) -> bool {
        matches!(self.origin, Origin::Call { .. } | Origin::Asked)
    }

    /// Whether it is an address of the application's where this node is to be, or was found.
    pub(super) fn is_asked_about(&self, node: NodeId) -> bool {
        self.origin == Origin::Asked && self.node() == Some(node)
    }

    /// Somebody else's stream, which takes a slot as long as it is not shown; a shown connection has one of its own.
    pub(super) fn has_slot(&self) -> bool {
        !self.is_own_dial() && self.shown.is_none()
    }

    /// The node that it is about, as far as somebody has said so.
    pub(super) fn node(&self) -> Option<NodeId> {
        match &self.stage {
            Stage::Dialled { to, .. } => *to,
            Stage::Answered { hello, .. } | Stage::Waiting { hello, .. } => Some(hello.key.id()),
            Stage::Opening | Stage::Expecting => None,
        }
    }

    /// What is there is a hello that belongs to no call: who said it does not know yet, perhaps, whom it leads to.
    pub(super) fn has_hello_to_whoever(&self) -> bool {
        match &self.stage {
            Stage::Answered { hello, .. } | Stage::Waiting { hello, .. } => hello.call.is_none(),
            _ => false,
        }
    }

    /// Keeps a line of the application's that came before the answer, if there is room.
    pub(super) fn keep(&mut self, line: &[u8]) -> bool {
        let cost = line.len() + LINE_COST;
        let fits = cost <= self.before.room;
        if fits {
            self.before.room -= cost;
            for part in [&escape(line)[..], b"\r\n"] {
                self.before.lines.extend_from_slice(part);
            }
        }
        fits
    }

    pub(super) fn finish(self, certain_at: Instant) -> Finished {
        Finished {
            origin: self.origin,
            ends: self.ends,
            call: self.call(),
            upgrade: self.is_upgrade(),
            shown: self.shown,
            before: self.before.lines,
            certain_at,
        }
    }

    /// How long the round trip of our hello took, up to now.
    pub(super) fn trip(&self, now: Instant) -> Option<Duration> {
        match self.stage {
            Stage::Dialled { said_at, .. } => Some(now - said_at),
            _ => None,
        }
    }
}
