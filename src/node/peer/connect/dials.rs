//! Which stream is which dial of a call's.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::id::{CallId, StreamId};
use crate::node::peer::ends::Ends;
use crate::proto::connect::DialId;

/// As many as the calls have under way.
#[derive(Debug, Default)]
pub(super) struct Dials {
    by_id: BTreeMap<DialId, Dialled>,
    by_stream: BTreeMap<StreamId, DialId>,
}

#[derive(Clone, Copy, Debug)]
struct Dialled {
    stream: StreamId,
    to: SocketAddr,
    /// Our end, once it is connected.
    local: Option<SocketAddr>,
}

impl Dials {
    pub(super) fn insert(&mut self, dial: DialId, stream: StreamId, to: SocketAddr) {
        self.by_id.insert(dial, Dialled { stream, to, local: None });
        self.by_stream.insert(stream, dial);
    }

    pub(super) fn set_local(&mut self, dial: DialId, local: SocketAddr) {
        if let Some(dialled) = self.by_id.get_mut(&dial) {
            dialled.local = Some(local);
        }
    }

    pub(super) fn remove(&mut self, dial: DialId) -> Option<StreamId> {
        let Dialled { stream, .. } = self.by_id.remove(&dial)?;
        self.by_stream.remove(&stream);
        Some(stream)
    }

    /// Forgets all of a call.
    pub(super) fn forget(&mut self, call: CallId) {
        let from = self.by_id.range(DialId::first_of(call)..);
        let of_call: Vec<DialId> =
            from.map(|(&dial, _)| dial).take_while(|dial| dial.call() == call).collect();
        for dial in of_call {
            self.remove(dial);
        }
    }

    pub(super) fn stream(&self, dial: DialId) -> Option<StreamId> {
        self.by_id.get(&dial).map(|dialled| dialled.stream)
    }

    pub(super) fn at(&self, stream: StreamId) -> Option<DialId> {
        self.by_stream.get(&stream).copied()
    }

    /// Of one that is connected.
    pub(super) fn ends(&self, dial: DialId) -> Option<(StreamId, Ends)> {
        let Dialled { stream, to, local } = *self.by_id.get(&dial)?;
        Some((stream, Ends { dialler: local?, dialled: to }))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}
