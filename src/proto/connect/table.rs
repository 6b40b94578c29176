//! The calls that are under way, and when each has something to do.

use std::collections::{BTreeMap, BTreeSet};

use super::call::{Call, OurPart};
use crate::id::{CallId, ServerId};
use crate::identity::NodeId;
use crate::time::Instant;
use crate::unl::Unl;

/// As many of ours, and of others', as the configuration allows.
#[derive(Debug, Default)]
pub(super) struct Table {
    calls: BTreeMap<CallId, Call>,
    /// The first moment of each that has one.
    due: BTreeSet<(Instant, CallId)>,
    scheduled: BTreeMap<CallId, Instant>,
}

impl Table {
    pub(super) fn insert(&mut self, call: Call) {
        let id = call.info.id;
        self.calls.insert(id, call);
        self.reschedule(id);
    }

    pub(super) fn remove(&mut self, id: CallId) -> Option<Call> {
        let call = self.calls.remove(&id);
        self.reschedule(id);
        call
    }

    pub(super) fn get(&self, id: CallId) -> Option<&Call> {
        self.calls.get(&id)
    }

    /// To be followed by [`reschedule`](Self::reschedule).
    pub(super) fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.calls.get_mut(&id)
    }

    /// Something was done to it.
    pub(super) fn reschedule(&mut self, id: CallId) {
        if let Some(at) = self.scheduled.remove(&id) {
            self.due.remove(&(at, id));
        }
        if let Some(at) = self.calls.get(&id).and_then(Call::poll_timeout) {
            self.scheduled.insert(id, at);
            self.due.insert((at, id));
        }
    }

    /// Those that have something to do.
    pub(super) fn due(&self, now: Instant) -> Vec<CallId> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|&(_, id)| id).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    pub(super) fn ids(&self) -> Vec<CallId> {
        self.calls.keys().copied().collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn is_ours(&self, id: CallId) -> bool {
        self.get(id).is_some_and(|call| call.info.ours)
    }

    /// The other side of a call.
    pub(super) fn peer_of(&self, id: CallId) -> Option<NodeId> {
        self.get(id)?.info.node()
    }

    /// How many are under way, ours or others'.
    pub(super) fn count(&self, ours: bool) -> usize {
        self.calls.values().filter(|call| call.info.ours == ours).count()
    }

    /// Where those who meet us come from.
    pub(super) fn candidates(&self) -> impl Iterator<Item = std::net::IpAddr> + '_ {
        self.calls.values().filter_map(|call| match &call.part {
            OurPart::Responder(responder) => Some(responder.candidate.ip()),
            OurPart::Caller(_) | OurPart::Callee(_) => None,
        })
    }

    /// Our own call to this node.
    pub(super) fn to(&self, node: NodeId) -> Option<CallId> {
        self.find(|call| call.info.ours && call.info.node() == Some(node))
    }

    /// Our own call to a node that proves nothing.
    pub(super) fn to_unl(&self, unl: &Unl) -> Option<CallId> {
        self.find(|call| call.info.ours && call.info.unl.as_ref() == Some(unl))
    }

    /// All with this node.
    pub(super) fn with(&self, node: NodeId) -> Vec<CallId> {
        let is_it = |call: &Call| call.info.node() == Some(node);
        self.calls.iter().filter(|(_, call)| is_it(call)).map(|(&id, _)| id).collect()
    }

    /// Whether one of them goes through this server.
    pub(super) fn needs(&self, server: ServerId) -> bool {
        self.calls.values().any(|call| call.needs(server))
    }

    fn find(&self, is_it: impl Fn(&Call) -> bool) -> Option<CallId> {
        self.calls.iter().find(|(_, call)| is_it(call)).map(|(&id, _)| id)
    }
}
