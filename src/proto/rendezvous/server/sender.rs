//! Who says something to another node.

use std::net::IpAddr;

use crate::identity::NodeId;

/// A proven key, and the address from which the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) id: NodeId,
    pub(super) ip: IpAddr,
}
