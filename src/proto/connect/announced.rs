//! Ports of ours that were announced to nodes of pyp2p's, which name the moment when both dial.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::id::CallId;

/// By the node's address outside, as a server keeps one candidate of ours for each: what the node will hear of is the last
/// port alone. At most one for each call of ours.
#[derive(Debug, Default)]
pub(super) struct Announcements(BTreeMap<IpAddr, Announced>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) call: CallId,
    pub(super) round: u8,
}

impl Announcements {
    pub(super) fn insert(&mut self, to: IpAddr, announced: Announced) {
        self.forget(announced.call);
        self.0.insert(to, announced);
    }

    /// The node there accepts.
    pub(super) fn take(&mut self, ip: IpAddr) -> Option<Announced> {
        self.0.remove(&ip.to_canonical())
    }

    /// The call is over.
    pub(super) fn forget(&mut self, call: CallId) {
        self.0.retain(|_, announced| announced.call != call);
    }

    /// Those that wait for the word of a node.
    pub(super) fn calls(&self) -> Vec<CallId> {
        self.0.values().map(|announced| announced.call).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(call: u8, round: u8) -> Announced {
        Announced { call: CallId::from_bytes([call; 16]), round }
    }

    #[test]
    fn of_two_calls_to_one_address_the_last_is_heard_of() {
        let mut all = Announcements::default();
        let (ip, other) = (IpAddr::from([203, 0, 113, 1]), IpAddr::from([203, 0, 113, 2]));
        all.insert(ip, announced(1, 1));
        all.insert(ip, announced(2, 1));
        all.insert(other, announced(3, 1));
        assert_eq!(all.calls().len(), 2);
        assert_eq!(all.take("::ffff:203.0.113.1".parse().unwrap()), Some(announced(2, 1)));
        assert_eq!(all.take(ip), None, "each is accepted once");
    }

    #[test]
    fn a_call_has_one_and_none_when_it_is_over() {
        let mut all = Announcements::default();
        let (ip, other) = (IpAddr::from([203, 0, 113, 1]), IpAddr::from([203, 0, 113, 2]));
        all.insert(ip, announced(1, 1));
        all.insert(other, announced(1, 2));
        assert_eq!((all.take(ip), all.calls().len()), (None, 1));
        all.forget(announced(1, 2).call);
        assert_eq!(all.take(other), None);
    }
}
