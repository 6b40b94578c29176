//! Node links and connecting by UNL.
use super::Node;
use crate::connect::{Connect, RelayLimits};
use crate::error::ConnectError;
use crate::id::{AttemptId, ConId};
use crate::identity::NodeId;
use crate::time::Instant;
use crate::unl::Unl;
use std::time::Duration;

impl Node {
    pub(crate) fn connect_unl(&mut self, _to: Connect, _now: Instant) -> Result<AttemptId, ConnectError> {
        Err(ConnectError::NoLinks)
    }
    pub(crate) fn unl(&self) -> Option<Unl> {
        None
    }
    pub(crate) fn unl_version2(&self) -> Option<Unl> {
        None
    }
    pub(crate) fn own_id(&self) -> Option<NodeId> {
        None
    }
    pub(crate) fn con_of(&self, _id: NodeId) -> Option<ConId> {
        None
    }
    pub(crate) fn node_id(&self, _id: ConId) -> Option<NodeId> {
        None
    }
    pub(crate) fn unl_of(&self, _id: ConId) -> Option<Unl> {
        None
    }
    pub(crate) fn relay_limits(&self, _id: ConId) -> Option<RelayLimits> {
        None
    }
    pub(crate) fn close_when_idle(&mut self, _id: ConId, _idle: Option<Duration>, _now: Instant) {}
}
