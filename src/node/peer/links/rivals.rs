//! Two connections between the same two nodes, of which one stays: the rule is in [`greeting`](super::greeting).

use std::time::Duration;

use super::super::Node;
use super::Links;
use super::greeting::{Greeting, Hold, Stage};
use crate::connect::RungFault;
use crate::id::{CallId, StreamId};
use crate::identity::NodeId;
use crate::time::Instant;
use crate::wire::line::Line;

/// How much later at least a proof may come than what was said after it on another connection.
const PROOF_TIME: Duration = Duration::from_millis(500);

/// How many round trips later it may come: TCP sends a lost segment again after three (RFC 6298 section 2.2; on Linux after one
/// and 200 ms at least).
const PROOF_TRIPS: u32 = 3;

/// How long the failure of an own dial is not told of while a hello of the same node is being heard. A proof comes sooner,
/// and whoever can not prove who it is does not hold up the next rung for long.
const RIVAL_TIME: Duration = Duration::from_secs(1);

/// The failure of an own dial, which is no news if the hello of the same node elsewhere leads to a link. There are as many as
/// dials may fail in a second, and those have a budget.
#[derive(Debug)]
pub(super) struct Deferred {
    node: NodeId,
    upgrade: bool,
    stream: StreamId,
    why: RungFault,
    pub(super) until: Instant,
}

/// Which greetings there are of a node.
impl Node {
    pub(super) fn has_own_hello(&self, except: StreamId, peer: NodeId, upgrade: bool) -> bool {
        self.links.greetings.iter().any(|(&id, greeting)| {
            let is_to_peer = matches!(&greeting.stage, Stage::Dialled { to: Some(to), .. } if *to == peer);
            is_to_peer && id != except && greeting.is_upgrade() == upgrade
        })
    }

    /// Whether a hello of the peer is being answered, while it answers ours.
    pub(super) fn is_rival_answered(&self, id: StreamId) -> bool {
        let Some(greeting) = self.links.greetings.get(&id) else { return false };
        let Stage::Dialled { to: Some(to), hold: Hold::NotYet | Hold::Holds(_), .. } = &greeting.stage else {
            return false;
        };
        let is_answered = |other: &Greeting| match &other.stage {
            Stage::Answered { hello, .. } => hello.key.id() == *to && hello.upgrade == greeting.is_upgrade(),
            _ => false,
        };
        self.core.identity.id() < Some(*to) && self.links.greetings.values().any(is_answered)
    }

    /// Whether a hello that says to be of this node is answered, or waits to be.
    fn has_rival(&self, node: NodeId, upgrade: bool) -> bool {
        self.links.greetings.values().any(|other| match &other.stage {
            Stage::Answered { hello, .. } | Stage::Waiting { hello, .. } => {
                hello.key.id() == node && hello.upgrade == upgrade
            }
            _ => false,
        })
    }

    fn greetings_where(&self, is_meant: impl Fn(&Stage) -> bool) -> Vec<StreamId> {
        let greetings = self.links.greetings.iter();
        greetings.filter(|(_, greeting)| is_meant(&greeting.stage)).map(|(&id, _)| id).collect()
    }
}

/// What waits for what.
impl Node {
    /// Leaves the answer to our hello alone for now. Of the smaller id both hellos may be answered, where the larger one had
    /// shown its own connection before our hello came: then the proof of that is as good as here. Where none comes, the
    /// other hello was somebody else's.
    pub(super) fn hold_back(&mut self, id: StreamId, answer: Line, now: Instant) {
        let most = self.core.config.links.hello_timeout;
        let Some(greeting) = self.links.greetings.get_mut(&id) else { return };
        if let Stage::Dialled { hold, said_at, .. } = &mut greeting.stage {
            greeting.until = now + proof_time(now - *said_at, most);
            *hold = Hold::Holds(answer.detach());
        }
    }

    /// Takes up an answer that was left alone.
    pub(super) fn take_up_held(&mut self, id: StreamId, now: Instant) {
        let Some(greeting) = self.links.greetings.get_mut(&id) else { return };
        let Stage::Dialled { hold, .. } = &mut greeting.stage else { return };
        if let Hold::Holds(answer) = std::mem::replace(hold, Hold::Over) {
            self.handle_handshake_line(id, answer, now);
        }
    }

    /// Whether this was dialled because the peer called, and another dial has just led to it. To replace that link would cost
    /// both, as the peer gives up this one when it hears of the other. (A call of our own would be over, but for one that is to
    /// lead to another link.)
    pub(super) fn is_one_too_many(&self, id: StreamId, peer: NodeId, now: Instant) -> bool {
        let Some(greeting) = self.links.greetings.get(&id) else { return false };
        let is_called = greeting.dialled_for().is_some_and(|(call, _)| !self.connector.is_ours(call));
        let is_dialled = matches!(greeting.stage, Stage::Dialled { .. }) && !greeting.is_upgrade();
        is_called && is_dialled && self.doubtful_until(peer, now).is_some()
    }

    /// From when on the peer must know of a link, of which it hears by the last line of this greeting.
    pub(super) fn certain_at(&self, greeting: &Greeting, now: Instant) -> Instant {
        match greeting.stage {
            // Who said hello first is told last.
            Stage::Dialled { said_at, .. } => {
                let trip = now - said_at;
                now + trip + proof_time(trip, self.core.config.links.hello_timeout)
            }
            _ => now,
        }
    }

    /// Until when a peer may not know yet of the link to it, as its proof is on the way: what it says meanwhile on another
    /// connection may have been said before.
    pub(super) fn doubtful_until(&self, peer: NodeId, now: Instant) -> Option<Instant> {
        let link = self.links.to(peer).and_then(|con| self.links.link(con))?;
        Some(link.certain_at).filter(|&at| at > now)
    }

    /// A dial of a call's led to a connection of which nothing came. Where a hello of the same node is being heard, that may
    /// still lead to it.
    pub(super) fn tell_in_vain(
        &mut self,
        stream: StreamId,
        greeting: &Greeting,
        why: RungFault,
        now: Instant,
    ) {
        if greeting.dialled_for().is_none() {
            return;
        }
        match &greeting.stage {
            &Stage::Dialled { to: Some(node), .. } if self.has_rival(node, greeting.is_upgrade()) => {
                let (upgrade, until) = (greeting.is_upgrade(), now + RIVAL_TIME);
                self.links.deferred.push(Deferred { node, upgrade, stream, why, until });
            }
            _ => self.handle_greeting_failed(stream, why, now),
        }
    }

    /// Tells what was not told for the sake of another hello, which has led to nothing either, or takes too long.
    pub(super) fn tell_deferred(&mut self, now: Instant) {
        let (kept, told): (Vec<Deferred>, Vec<Deferred>) = std::mem::take(&mut self.links.deferred)
            .into_iter()
            .partition(|deferred| deferred.until > now && self.has_rival(deferred.node, deferred.upgrade));
        self.links.deferred = kept;
        for Deferred { stream, why, .. } in told {
            self.handle_greeting_failed(stream, why, now);
        }
    }
}

impl Links {
    /// Whether it is being found out of a connection whether it leads to this node.
    pub(in super::super) fn is_greeting(&self, node: NodeId) -> bool {
        self.greetings.values().any(|greeting| match &greeting.stage {
            Stage::Dialled { to, .. } => *to == Some(node),
            Stage::Answered { hello, .. } | Stage::Waiting { hello, .. } => hello.key.id() == node,
            Stage::Opening | Stage::Expecting => false,
        })
    }
}

/// What ends what.
impl Node {
    /// Whatever else of a peer is being greeted, now that there is a link to it; but for calls that go on.
    pub(in super::super) fn end_other_greetings(
        &mut self,
        peer: NodeId,
        calls: &[CallId],
        others: &[CallId],
    ) {
        let of_peer = |greeting: &Greeting| match &greeting.stage {
            Stage::Dialled { to, .. } => *to == Some(peer),
            Stage::Answered { hello, .. } | Stage::Waiting { hello, .. } => hello.key.id() == peer,
            Stage::Expecting | Stage::Opening => greeting.call().is_some_and(|call| calls.contains(&call)),
        };
        let goes_on = |greeting: &Greeting| greeting.call().is_some_and(|call| others.contains(&call));
        let over = |greeting: &Greeting| of_peer(greeting) && !goes_on(greeting) && greeting.shown.is_none();
        let over: Vec<StreamId> =
            self.links.greetings.iter().filter(|(_, other)| over(other)).map(|(&id, _)| id).collect();
        for id in over {
            self.drop_greeting(id);
        }
    }

    /// After greetings have come to nothing: looks at what has waited for that.
    pub(super) fn take_up_waiting(&mut self, now: Instant) {
        if !std::mem::take(&mut self.links.has_ended) {
            return;
        }
        for id in self.greetings_where(|stage| matches!(stage, Stage::Waiting { .. })) {
            self.reconsider(id, now);
        }
        for id in self.greetings_where(|stage| matches!(stage, Stage::Dialled { hold: Hold::Holds(_), .. })) {
            if !self.is_rival_answered(id) {
                self.take_up_held(id, now);
            }
        }
        self.resume_calls(now);
    }

    /// Looks at a hello again that waits.
    pub(super) fn reconsider(&mut self, id: StreamId, now: Instant) {
        let stage = self.links.greetings.get(&id).map(|greeting| &greeting.stage);
        let Some(Stage::Waiting { hello, since }) = stage else { return };
        if self.handle_hello(id, (**hello).clone(), *since, now) {
            self.work_on_greeting(id, now);
        }
    }
}

/// Where a round trip takes so long.
fn proof_time(trip: Duration, most: Duration) -> Duration {
    PROOF_TIME.max(PROOF_TRIPS * trip).min(most)
}
