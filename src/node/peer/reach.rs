//! How others can reach this node: the machines that find out, and what follows from it.

use std::sync::Arc;

use super::Node;
use crate::reach::Reach;
use crate::time::Instant;

impl Node {
    pub(crate) fn reach(&self) -> Arc<Reach> {
        Arc::new(Reach { port: self.listening.map(|addr| addr.port()), ..Reach::default() })
    }

    pub(crate) fn refresh_reach(&mut self, _now: Instant) {}
}
