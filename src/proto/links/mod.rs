//! Node links: who is at the other end of a stream, which of two connections to the same node stays, and how a link goes from
//! one path to another.
//!
//! `handshakes` finds out who is there, by the lines of [`handshake`](super::handshake); `glare` has the rules for two that say
//! hello at the same time.

mod glare;
mod handshakes;
mod pending;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use crate::id::{CallId, ConId};
use crate::identity::{Key, NodeId};
use crate::random::Random;
use crate::time::Instant;

pub(crate) use handshakes::{Action, Event, Handshakes, HandshakesConfig, Wants};
pub(crate) use pending::{Finished, Origin};

/// The two ends of a connection: of who dialled, and of who was dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ends {
    pub(crate) dialler: SocketAddr,
    pub(crate) dialled: SocketAddr,
}

/// What a handshake has to know of calls.
pub(crate) trait Calls {
    /// The other side of a call that is under way.
    fn peer_of(&self, call: CallId) -> Option<NodeId>;
    /// Whether it is under way and ours.
    fn is_ours(&self, call: CallId) -> bool;
    /// Whether it was one of ours that is over.
    fn was_ours(&self, call: CallId) -> bool;
}

/// What a handshake has to know of the links that there are.
pub(crate) trait Links {
    fn link_to(&self, node: NodeId) -> Option<ConId>;
    /// The same, unless this side is closing it.
    fn open_link_to(&self, node: NodeId) -> Option<ConId>;
    /// From when on the other side of a link must know of it.
    fn certain_at(&self, link: ConId) -> Option<Instant>;
    fn is_relayed(&self, link: ConId) -> bool;
    /// Whether it came about by this call, or by another while this one was under way.
    fn came_by(&self, link: ConId, call: CallId) -> bool;
}

/// What the machine works with, for the time of one input.
pub(crate) struct Surroundings<'a> {
    /// Whoever has none knows no hellos.
    pub(crate) key: Option<&'a Key>,
    pub(crate) random: &'a mut Random,
    pub(crate) calls: &'a dyn Calls,
    pub(crate) links: &'a dyn Links,
    /// The node is on its way out.
    pub(crate) leaving: bool,
}

impl Surroundings<'_> {
    fn own_id(&self) -> Option<NodeId> {
        self.key.map(Key::id)
    }
}
