//! Two connections between the same two nodes, of which one stays: the rule is in [`greeting`](super::greeting).

use std::time::Duration;

use super::super::Node;
use super::greeting::{Greeting, Stage};
use crate::id::ConId;
use crate::identity::NodeId;
use crate::time::Instant;
use crate::wire::hello::{CallId, Hello};

/// How much later a proof may come than what was said after it on another connection: more than TCP takes to
/// send again what was lost (a fifth of a second and a round trip, where RFC 6298 section 2.4 would have a whole one).
pub(super) const PROOF_TIME: Duration = Duration::from_millis(500);

impl Node {
    /// Whether it is being found out of a connection whether it leads to this node.
    pub(in super::super) fn is_greeting(&self, node: NodeId) -> bool {
        self.links.greetings.values().any(|greeting| match &greeting.stage {
            Stage::Dialled { to, .. } => *to == Some(node),
            Stage::Answered { hello, .. } | Stage::Waiting(hello) => hello.key.id() == node,
            Stage::Opening | Stage::Expecting => false,
        })
    }

    pub(super) fn has_own_hello(&self, except: ConId, peer: NodeId, upgrade: bool) -> bool {
        self.own_hellos(except, peer, upgrade).next().is_some()
    }

    fn own_hellos(&self, except: ConId, peer: NodeId, upgrade: bool) -> impl Iterator<Item = ConId> + '_ {
        self.links.greetings.iter().filter_map(move |(&id, greeting)| match &greeting.stage {
            Stage::Dialled { to: Some(to), .. }
                if id != except && *to == peer && greeting.is_upgrade() == upgrade =>
            {
                Some(id)
            }
            _ => None,
        })
    }

    /// Whether a hello of the node to which this greeting leads is being answered: then it is for that one to succeed.
    pub(super) fn is_superseded(&self, greeting: &Greeting) -> bool {
        let Stage::Dialled { to: Some(to), .. } = &greeting.stage else { return false };
        self.links.greetings.values().any(|other| match &other.stage {
            Stage::Answered { hello, .. } => hello.key.id() == *to && hello.upgrade == greeting.is_upgrade(),
            _ => false,
        })
    }

    /// Whether the answer to our hello is left alone for now. Of the smaller id both may be answered, where the larger one had
    /// shown its own connection before our hello came: then the proof of that is as good as here. Where none comes, the other
    /// hello was somebody else's.
    pub(super) fn holds_back(&mut self, id: ConId, now: Instant) -> bool {
        let Some(greeting) = self.links.greetings.get(&id) else { return false };
        let Stage::Dialled { to, .. } = &greeting.stage else { return false };
        if self.links.id() > *to || !self.is_superseded(greeting) || !self.streams.has_lines(id) {
            return false;
        }
        let Some(greeting) = self.links.greetings.get_mut(&id) else { return false };
        let Stage::Dialled { held, .. } = &mut greeting.stage else { return false };
        let until = *held.get_or_insert(now + PROOF_TIME);
        if now < until {
            greeting.until = until;
        } else if greeting.until == until {
            greeting.until = now + self.config.links.hello_timeout;
        }
        now < until
    }

    /// Until when a peer may not know yet of the link to it, as its proof is on the way: what it says meanwhile on another
    /// connection may have been said before.
    pub(super) fn doubtful_until(&self, peer: NodeId, now: Instant) -> Option<Instant> {
        let link = self.links.to(peer).and_then(|con| self.links.link(con))?;
        Some(link.certain_at).filter(|&at| at > now)
    }

    /// Answers to our hellos that were left alone.
    fn look_at_held(&mut self, now: Instant) {
        let is_held = |greeting: &Greeting| matches!(greeting.stage, Stage::Dialled { held: Some(_), .. });
        let held: Vec<ConId> = self
            .links
            .greetings
            .iter()
            .filter(|(_, greeting)| is_held(greeting))
            .map(|(&id, _)| id)
            .collect();
        for id in held {
            self.work_on_greeting(id, now);
        }
    }

    /// Whatever else of a peer is being greeted, now that there is a link to it; but for calls that go on.
    pub(in super::super) fn end_other_greetings(
        &mut self,
        peer: NodeId,
        calls: &[CallId],
        others: &[CallId],
        now: Instant,
    ) {
        let of_peer = |greeting: &Greeting| match &greeting.stage {
            Stage::Dialled { to, .. } => *to == Some(peer),
            Stage::Answered { hello, .. } | Stage::Waiting(hello) => hello.key.id() == peer,
            Stage::Expecting | Stage::Opening => greeting.call().is_some_and(|call| calls.contains(&call)),
        };
        let goes_on = |greeting: &Greeting| greeting.call().is_some_and(|call| others.contains(&call));
        let over = |greeting: &Greeting| of_peer(greeting) && !goes_on(greeting);
        let over: Vec<ConId> =
            self.links.greetings.iter().filter(|(_, other)| over(other)).map(|(&id, _)| id).collect();
        for id in over {
            if self.links.greetings.get(&id).is_some_and(|greeting| !greeting.shown) {
                self.drop_greeting(id, now);
            }
        }
    }

    /// A greeting has led to nothing: others have waited for it.
    pub(super) fn take_up_waiting(&mut self, now: Instant) {
        self.answer_waiting(now);
        self.look_at_held(now);
    }

    /// Hellos that waited for ours, which led to nothing.
    fn answer_waiting(&mut self, now: Instant) {
        let waiting: Vec<(ConId, Hello)> = self
            .links
            .greetings
            .iter()
            .filter_map(|(&id, greeting)| match &greeting.stage {
                Stage::Waiting(hello) => Some((id, Hello::clone(hello))),
                _ => None,
            })
            .collect();
        for (id, hello) in waiting {
            if !self.is_to_wait(id, &hello, now) {
                self.answer_late(id, hello, now);
            }
        }
    }

    /// What to do with a hello that has waited for as long as it is to.
    pub(super) fn end_waiting(&mut self, id: ConId, now: Instant) {
        let Some(Stage::Waiting(hello)) = self.links.greetings.get(&id).map(|greeting| &greeting.stage)
        else {
            return;
        };
        let hello = Hello::clone(hello);
        if self.is_to_wait(id, &hello, now) {
            self.end_greeting(id, now);
        } else {
            self.answer_late(id, hello, now);
        }
    }

    fn is_to_wait(&self, id: ConId, hello: &Hello, now: Instant) -> bool {
        let peer = hello.key.id();
        self.has_own_hello(id, peer, hello.upgrade)
            || !hello.upgrade && self.doubtful_until(peer, now).is_some()
    }

    fn answer_late(&mut self, id: ConId, hello: Hello, now: Instant) {
        if self.answer_hello(id, hello, now) {
            self.work_on_greeting(id, now);
        }
    }
}
