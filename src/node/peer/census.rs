//! What a node has under way, counted for tests.

use super::{Node, Role};

/// How much there is of what connecting by UNL takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) calls: usize,
    pub(crate) remembered: usize,
    pub(crate) greetings: usize,
    /// Attempts that wait for an address to say who is there.
    pub(crate) asking: usize,
    /// Streams that belong to calls, greetings, or links that have migrated.
    pub(crate) streams: usize,
    /// Streams that calls know as theirs, some of which may be connections by now.
    pub(crate) dials: usize,
    pub(crate) guests: usize,
    pub(crate) links: usize,
}

impl Census {
    /// Nothing is under way; what is remembered and what is connected may be there.
    pub(crate) fn is_idle(&self) -> bool {
        [self.calls, self.greetings, self.asking, self.streams, self.dials, self.guests] == [0; 6]
    }
}

impl Node {
    pub(crate) fn census(&self) -> Census {
        let of_calls = |role: &Role| matches!(role, Role::Handshake | Role::Connecting(_) | Role::OldPath(_));
        let (calls, remembered) = self.connecting.machine().counts();
        Census {
            calls,
            remembered,
            asking: self.asking.len(),
            greetings: self.handshaking.machine().count(),
            streams: self.core.streams.iter().filter(|(_, role)| of_calls(role)).count(),
            dials: self.connecting.dials(),
            guests: self.servers.foreign(),
            links: self.links.count(),
        }
    }
}
