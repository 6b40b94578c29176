//! Which handshakes there are of a node, and which of two gives way.
//!
//! **Two nodes that connect to each other at the same time keep one connection.** Where both have said hello, on one
//! stream each (glare), it is the dial of the one with the larger id that counts: it keeps the other's hello waiting until its
//! own is answered, and the one with the smaller id gives up its own once the other has proven who it is. Should its own be
//! answered meanwhile, that waits a moment for the other's proof, and a hello that comes just after a link was made waits until
//! the peer must know of the link: what is said on two streams does not arrive in order. A dial that is not even connected
//! yet is given up by the one who was called when a hello of the same call comes.
//!
//! **Who has dialled an address does not know whom he says hello to** before the answer, so that both may answer each other.
//! Then the one with the smaller id waits with its proof as above, and whoever finds out by an answer that there is a link to
//! that node already gives way to it. For that the answer has to arrive: the other side's stream is not torn, but closed in
//! order behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pending::{Hold, Pending, Stage};
use super::{Links, Surroundings};
use crate::id::{CallId, StreamId};
use crate::identity::NodeId;
use crate::proto::deadlines::Deadlines;
use crate::time::Instant;
use crate::wire::hello::{Hello, HelloRefusal};

/// How much later at least a proof may come than what was said after it on another stream.
const PROOF_TIME: Duration = Duration::from_millis(500);

/// How many round trips later it may come: TCP sends a lost segment again after three (RFC 6298 section 2.2; on Linux after one
/// and 200 ms at least).
const PROOF_TRIPS: u32 = 3;

/// What is to be done with a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    Refuse(HelloRefusal),
    /// Until then at most.
    Wait(Instant),
    Answer,
}

/// The handshakes that go on, by stream, and their deadlines.
#[derive(Debug)]
pub(super) struct Table {
    all: BTreeMap<StreamId, Pending>,
    deadlines: Deadlines<StreamId>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { all: BTreeMap::new(), deadlines: Deadlines::new() }
    }

    pub(super) fn insert(&mut self, stream: StreamId, pending: Pending, until: Instant) {
        self.all.insert(stream, pending);
        self.set_due(stream, until);
    }

    pub(super) fn remove(&mut self, stream: StreamId) -> Option<Pending> {
        let mut pending = self.all.remove(&stream)?;
        self.deadlines.set(stream, &mut pending.due, None);
        Some(pending)
    }

    pub(super) fn get(&self, stream: StreamId) -> Option<&Pending> {
        self.all.get(&stream)
    }

    pub(super) fn get_mut(&mut self, stream: StreamId) -> Option<&mut Pending> {
        self.all.get_mut(&stream)
    }

    pub(super) fn set_stage(&mut self, stream: StreamId, stage: Stage, until: Instant) {
        if let Some(pending) = self.all.get_mut(&stream) {
            pending.stage = stage;
            self.set_due(stream, until);
        }
    }

    pub(super) fn set_due(&mut self, stream: StreamId, until: Instant) {
        if let Some(pending) = self.all.get_mut(&stream) {
            self.deadlines.set(stream, &mut pending.due, Some(until));
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// The next stage whose time is up. It has no deadline any more.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<StreamId> {
        let stream = self.deadlines.pop_due(now)?;
        if let Some(pending) = self.all.get_mut(&stream) {
            pending.due = None;
        }
        Some(stream)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn streams_where(&self, is_meant: impl Fn(&Pending) -> bool) -> Vec<StreamId> {
        self.all.iter().filter(|(_, pending)| is_meant(pending)).map(|(&stream, _)| stream).collect()
    }

    /// Whether it is being found out of a stream whether it leads to this node.
    pub(super) fn is_about(&self, node: NodeId) -> bool {
        self.all.values().any(|pending| pending.node() == Some(node))
    }

    /// Whether the application waits for what comes of an address where this node is to be, or was found.
    pub(super) fn is_asked_about(&self, node: NodeId) -> bool {
        self.all.values().any(|pending| pending.is_asked_about(node))
    }

    /// Whether a hello that says to be of this node is answered, or waits to be.
    pub(super) fn has_hello_of(&self, node: NodeId, upgrade: bool) -> bool {
        self.all.values().any(|pending| match &pending.stage {
            Stage::Answered { hello, .. } | Stage::Waiting { hello, .. } => {
                hello.key.id() == node && hello.upgrade == upgrade
            }
            _ => false,
        })
    }

    /// Keeps a line of the application's that came before the answer, if there is room.
    pub(super) fn keep(&mut self, stream: StreamId, line: &[u8]) -> bool {
        self.all.get_mut(&stream).is_some_and(|pending| pending.keep(line))
    }

    /// The node that a hello of ours has found, as its answer proves.
    pub(super) fn set_found(&mut self, stream: StreamId, peer: NodeId) {
        if let Some(Pending { stage: Stage::Dialled { to, .. }, .. }) = self.all.get_mut(&stream) {
            *to = Some(peer);
        }
    }

    /// Whether we said hello to this node on another stream.
    fn has_own_hello(&self, except: StreamId, peer: NodeId, upgrade: bool) -> bool {
        self.all.iter().any(|(&stream, pending)| {
            let is_to_peer = matches!(&pending.stage, Stage::Dialled { to: Some(to), .. } if *to == peer);
            is_to_peer && stream != except && pending.is_upgrade() == upgrade
        })
    }

    /// Whether a hello of the peer is being answered, while it answers ours, so that the answer is to wait.
    pub(super) fn has_to_wait(&self, stream: StreamId, own: Option<NodeId>) -> bool {
        let Some(pending) = self.all.get(&stream) else { return false };
        let Stage::Dialled { to: Some(to), hold: Hold::NotYet | Hold::Holds(_), .. } = &pending.stage else {
            return false;
        };
        let is_answered = |other: &Pending| match &other.stage {
            Stage::Answered { hello, .. } => hello.key.id() == *to && hello.upgrade == pending.is_upgrade(),
            _ => false,
        };
        own < Some(*to) && self.all.values().any(is_answered)
    }

    /// What is to be done with a hello that has come on this stream.
    pub(super) fn welcome(
        &self,
        stream: StreamId,
        hello: &Hello,
        timeout: Duration,
        around: &Surroundings<'_>,
        now: Instant,
    ) -> Welcome {
        let peer = hello.key.id();
        if let Some(why) = self.objection(stream, hello, around) {
            return Welcome::Refuse(why);
        }
        if let Some(until) = doubtful_until(peer, around.links, now).filter(|_| !hello.upgrade) {
            return Welcome::Wait(until);
        }
        // Of the smaller id our own goes on until this one has proven to be the peer's: anybody can say so.
        if around.own_id() > Some(peer) && self.has_own_hello(stream, peer, hello.upgrade) {
            return Welcome::Wait(now + timeout);
        }
        Welcome::Answer
    }

    /// Why a hello is not answered.
    fn objection(&self, stream: StreamId, hello: &Hello, around: &Surroundings<'_>) -> Option<HelloRefusal> {
        let peer = hello.key.id();
        if around.leaving {
            return Some(HelloRefusal::Closing);
        }
        if Some(peer) == around.own_id() {
            return Some(HelloRefusal::Identity);
        }
        if hello.call.and_then(|call| around.calls.peer_of(call)).is_some_and(|expected| expected != peer) {
            return Some(HelloRefusal::Identity);
        }
        let link = around.links.link_to(peer);
        if hello.upgrade {
            let relayed = link.is_some_and(|link| around.links.is_relayed(link));
            return (!relayed).then_some(HelloRefusal::Unknown);
        }
        // What is left over of a call that has led to a link already, or was given up.
        let is_over = |call: CallId| {
            around.calls.was_ours(call) || link.is_some_and(|link| around.links.came_by(link, call))
        };
        if hello.call.is_some_and(is_over) {
            return Some(HelloRefusal::Unknown);
        }
        // On a stream that was punched, or relayed, for a call nobody else is expected.
        let expected = self.all.get(&stream).and_then(Pending::dialled_for);
        expected.is_some_and(|call| hello.call != Some(call)).then_some(HelloRefusal::Unknown)
    }

    /// Whether this was dialled because the peer called, and another dial has just led to it. To replace that link would cost
    /// both, as the peer gives up this one when it hears of the other. (A call of our own would be over, but for one that is to
    /// lead to another path.)
    pub(super) fn is_one_too_many(
        &self,
        stream: StreamId,
        peer: NodeId,
        around: &Surroundings<'_>,
        now: Instant,
    ) -> bool {
        let Some(pending) = self.all.get(&stream) else { return false };
        let is_called = pending.dialled_for().is_some_and(|call| !around.calls.is_ours(call));
        let is_dialled = matches!(pending.stage, Stage::Dialled { .. }) && !pending.is_upgrade();
        is_called && is_dialled && doubtful_until(peer, around.links, now).is_some()
    }
}

/// Until when a peer may not know yet of the link to it, as its proof is on the way: what it says meanwhile on another
/// stream may have been said before.
fn doubtful_until(peer: NodeId, links: &dyn Links, now: Instant) -> Option<Instant> {
    links.certain_at(links.link_to(peer)?).filter(|&at| at > now)
}

/// How long a proof may take where a round trip takes so long.
pub(super) fn proof_time(trip: Duration, most: Duration) -> Duration {
    PROOF_TIME.max(PROOF_TRIPS * trip).min(most)
}

/// From when on the peer must know of a link, of which it hears by the last line of this handshake.
pub(super) fn certain_at(pending: &Pending, timeout: Duration, now: Instant) -> Instant {
    // Who said hello first is told last.
    pending.trip(now).map_or(now, |trip| now + trip + proof_time(trip, timeout))
}
