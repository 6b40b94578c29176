//! Whether a connection ends at this node itself.
//!
//! Plain connections carry no identity, but a connection to oneself shows twice, outbound and inbound, with the same two
//! ends. One end is not enough to tell: two connections to different places may begin at the same port.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::id::ConId;

/// The two ends of a connection: of who dialled, and of who was dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ends {
    pub(super) dialler: SocketAddr,
    pub(super) dialled: SocketAddr,
}

/// The ends of all connections that the application sees.
#[derive(Debug, Default)]
pub(super) struct AllEnds {
    outbound: BTreeMap<Ends, ConId>,
    inbound: BTreeMap<Ends, ConId>,
}

impl AllEnds {
    pub(super) fn insert_outbound(&mut self, ends: Ends, id: ConId) {
        self.outbound.insert(ends, id);
    }

    pub(super) fn insert_inbound(&mut self, ends: Ends, id: ConId) {
        self.inbound.insert(ends, id);
    }

    pub(super) fn remove(&mut self, ends: Ends, id: ConId) {
        for side in [&mut self.outbound, &mut self.inbound] {
            if side.get(&ends) == Some(&id) {
                side.remove(&ends);
            }
        }
    }

    /// Our outbound connection that an inbound one with these ends is the other side of.
    pub(super) fn outbound(&self, ends: Ends) -> Option<ConId> {
        self.outbound.get(&ends).copied()
    }

    /// The inbound connection that an outbound one with these ends is the other side of.
    pub(super) fn inbound(&self, ends: Ends) -> Option<ConId> {
        self.inbound.get(&ends).copied()
    }
}
