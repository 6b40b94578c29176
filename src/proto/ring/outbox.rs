//! What the machine wants done.

use std::collections::VecDeque;

use super::event::Event;
use crate::wire::ring::{Member, Message, Place};

/// To be carried out by whoever drives the machine.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Say that to that node. Where there is no link to it, make one; if that fails it is
    /// [down](super::LinkState::Down).
    Send { to: Member, message: Message },
    /// Something has happened.
    Tell(Event),
}

/// Actions in their order.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    me: Place,
    actions: VecDeque<Action>,
}

impl Outbox {
    pub(super) fn new(me: Place) -> Self {
        Self { me, actions: VecDeque::new() }
    }

    /// Nothing is ever sent to oneself, whoever others say that one should talk to: that is silence.
    pub(super) fn send(&mut self, to: Member, message: Message) {
        if to.place != self.me {
            self.actions.push_back(Action::Send { to, message });
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.actions.push_back(Action::Tell(event));
    }

    pub(super) fn take(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        // Most of the time there is nothing, in each of many machines.
        if action.is_none() {
            self.actions = VecDeque::new();
        }
        action
    }
}
