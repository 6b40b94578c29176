//! Two connections between the same two nodes, of which one stays: the rule is in [`greeting`](super::greeting).

use super::super::Node;
use super::greeting::{Greeting, Stage};
use crate::id::ConId;
use crate::identity::NodeId;
use crate::time::Instant;
use crate::wire::hello::{CallId, Hello};

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

    pub(super) fn give_up_own_hellos(&mut self, except: ConId, peer: NodeId, upgrade: bool, now: Instant) {
        let own: Vec<ConId> = self.own_hellos(except, peer, upgrade).collect();
        for id in own {
            self.drop_greeting(id, now);
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

    /// Hellos that waited for ours, which led to nothing.
    pub(super) fn answer_waiting(&mut self, now: Instant) {
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
            if !self.has_own_hello(id, hello.key.id(), hello.upgrade) && self.answer_hello(id, hello, now) {
                self.work_on_greeting(id, now);
            }
        }
    }
}
