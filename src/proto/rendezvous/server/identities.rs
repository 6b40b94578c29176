//! Who has proven which id, and so takes its signals.

use std::collections::HashMap;

use super::ids::ClientId;
use crate::identity::NodeId;

#[derive(Debug)]
pub(super) struct Identities {
    by_id: HashMap<NodeId, ClientId>,
}

impl Identities {
    pub(super) fn new() -> Self {
        Self { by_id: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is room for the id, whose signals go to this connection from now on. The latest wins: a node that
    /// comes back must not wait until the server has noticed that its former connection is dead.
    pub(super) fn claim(&mut self, id: NodeId, client: ClientId, most: usize) -> bool {
        let room = self.by_id.len() < most || self.by_id.contains_key(&id);
        if room {
            self.by_id.insert(id, client);
        }
        room
    }

    /// The connection is gone.
    pub(super) fn release(&mut self, id: NodeId, client: ClientId) {
        if self.connection(id) == Some(client) {
            self.by_id.remove(&id);
        }
    }

    pub(super) fn connection(&self, id: NodeId) -> Option<ClientId> {
        self.by_id.get(&id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; NodeId::LENGTH])
    }

    #[test]
    fn the_latest_connection_has_the_id_and_an_earlier_one_does_not_take_it_along() {
        let mut identities = Identities::new();
        assert!(identities.claim(id(1), ClientId(1), 10) && identities.claim(id(1), ClientId(2), 10));
        identities.release(id(1), ClientId(1));
        assert_eq!((identities.connection(id(1)), identities.len()), (Some(ClientId(2)), 1));
        identities.release(id(1), ClientId(2));
        assert_eq!((identities.connection(id(1)), identities.len()), (None, 0));
    }

    #[test]
    fn a_full_table_takes_nobody_new_but_lets_who_is_there_come_back() {
        let mut identities = Identities::new();
        assert!(identities.claim(id(1), ClientId(1), 1) && !identities.claim(id(2), ClientId(2), 1));
        assert!(identities.claim(id(1), ClientId(3), 1));
        assert_eq!(identities.connection(id(2)), None);
    }
}
