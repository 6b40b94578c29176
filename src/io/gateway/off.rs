//! What is left of it without the feature `gateway`.

use std::collections::VecDeque;
use std::sync::Arc;

use mio::Waker;

use crate::gateway::{Order, Report};
use crate::reach::MappingFault;

/// Answers every order at once: not asked.
#[derive(Debug)]
pub(crate) struct GatewayDesk {
    failed: VecDeque<(u64, Report)>,
}

impl GatewayDesk {
    pub(crate) fn new(_waker: Arc<Waker>) -> Self {
        Self { failed: VecDeque::new() }
    }

    pub(crate) fn order(&mut self, request: u64, order: Order) {
        self.failed.push_back((request, order.fails_by(MappingFault::NotAsked)));
    }

    pub(crate) fn poll_report(&mut self) -> Option<(u64, Report)> {
        self.failed.pop_front()
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }
}
