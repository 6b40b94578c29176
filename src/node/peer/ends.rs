//! Whether a connection ends at this node itself.
//!
//! Plain connections carry no identity, but a connection to oneself shows twice, outbound and inbound, with the same two
//! ends. One end is not enough to tell: two connections to different places may begin at the same port.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use crate::id::ConId;

pub(crate) use crate::proto::links::Ends;

/// Stands for two ends, in a fourteenth of the room: a hash with a key of this process, so that nobody can find other ends with
/// the same. Of a million connections two would share one once in thirty-seven million times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EndsTag(u64);

/// The ends of all connections that the application sees.
#[derive(Debug, Default)]
pub(super) struct AllEnds {
    key: RandomState,
    outbound: BTreeMap<EndsTag, ConId>,
    inbound: BTreeMap<EndsTag, ConId>,
}

impl AllEnds {
    pub(super) fn tag(&self, ends: Ends) -> EndsTag {
        EndsTag(self.key.hash_one((ends.dialler, ends.dialled)))
    }

    pub(super) fn insert_outbound(&mut self, ends: EndsTag, id: ConId) {
        self.outbound.insert(ends, id);
    }

    pub(super) fn insert_inbound(&mut self, ends: EndsTag, id: ConId) {
        self.inbound.insert(ends, id);
    }

    pub(super) fn remove(&mut self, ends: EndsTag, id: ConId) {
        for side in [&mut self.outbound, &mut self.inbound] {
            if side.get(&ends) == Some(&id) {
                side.remove(&ends);
            }
        }
    }

    /// Our outbound connection that an inbound one with these ends is the other side of.
    pub(super) fn outbound(&self, ends: Ends) -> Option<ConId> {
        self.outbound.get(&self.tag(ends)).copied()
    }

    /// The inbound connection that an outbound one with these ends is the other side of.
    pub(super) fn inbound(&self, ends: Ends) -> Option<ConId> {
        self.inbound.get(&self.tag(ends)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(dialler: &str, dialled: &str) -> Ends {
        Ends { dialler: dialler.parse().unwrap(), dialled: dialled.parse().unwrap() }
    }

    #[test]
    fn oneself_is_told_by_both_ends() {
        let id = ConId::new(1, 2, 0);
        let ours = ends("127.0.0.1:40000", "127.0.0.1:50500");
        let mut all = AllEnds::default();
        all.insert_outbound(all.tag(ours), id);
        assert_eq!((all.outbound(ours), all.inbound(ours)), (Some(id), None));
        // One port of a machine may begin connections to several places.
        assert_eq!(all.outbound(ends("127.0.0.1:40000", "127.0.0.2:50500")), None);
        assert_eq!(all.outbound(ends("127.0.0.1:40000", "127.0.0.1:50501")), None);
        assert_eq!(all.outbound(ends("127.0.0.1:40001", "127.0.0.1:50500")), None);
        all.remove(all.tag(ours), id);
        assert_eq!(all.outbound(ours), None);
    }

    #[test]
    fn only_its_own_connection_removes_ends() {
        let (old, new) = (ConId::new(1, 2, 0), ConId::new(1, 3, 0));
        let ours = ends("127.0.0.1:40000", "127.0.0.1:50500");
        let mut all = AllEnds::default();
        all.insert_inbound(all.tag(ours), new);
        all.remove(all.tag(ours), old);
        assert_eq!(all.inbound(ours), Some(new));
    }
}
