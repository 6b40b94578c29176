//! Connecting to an address whose node may not be known: once it is dialled, who is there is asked by a hello that belongs to
//! no call. Here is which attempts of the application's wait for the answer.

use std::collections::BTreeMap;
use std::time::Duration;

use log::Level;

use super::core::Core;
use super::effect::Effect;
use super::ends::Ends;
use crate::connect::{Rung, RungFault, Tried};
use crate::error::FailReason;
use crate::event::Event;
use crate::id::{AttemptId, StreamId};
use crate::identity::NodeId;
use crate::proto::connect::Waiter;
use crate::time::Instant;

/// What the application wants of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// Who is to be there.
    pub(super) id: Option<NodeId>,
    pub(super) temporary: Option<Duration>,
    pub(super) began: Instant,
}

/// An address that is dialled, whose node is to say who it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) waiter: Waiter,
    pub(super) ends: Ends,
    pub(super) began: Instant,
}

/// The attempts that wait for the answer to a hello, by stream. They count as attempts, which have a limit.
#[derive(Debug, Default)]
pub(super) struct Asking(BTreeMap<StreamId, Asked>);

impl Asking {
    pub(super) fn insert(&mut self, stream: StreamId, asked: Asked) {
        self.0.insert(stream, asked);
    }

    /// It has led to a connection.
    pub(super) fn remove(&mut self, stream: StreamId) -> Option<Asked> {
        self.0.remove(&stream)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The stream of an attempt.
    pub(super) fn of(&self, attempt: AttemptId) -> Option<StreamId> {
        self.find(|asked| asked.waiter.attempt == attempt)
    }

    /// The stream that an accepted one with these ends is the other side of: it leads to this node itself.
    pub(super) fn with_ends(&self, ends: Ends) -> Option<StreamId> {
        self.find(|asked| asked.ends == ends)
    }

    pub(super) fn ends(&self, stream: StreamId) -> Option<Ends> {
        self.0.get(&stream).map(|asked| asked.ends)
    }

    /// Any of them.
    pub(super) fn first(&self) -> Option<StreamId> {
        self.find(|_| true)
    }

    /// Who is there is not to be connected to, or says nothing.
    pub(super) fn fail_for(&mut self, core: &mut Core, stream: StreamId, why: RungFault, now: Instant) {
        if let Some(Asked { began, .. }) = self.0.get(&stream) {
            let took = now - *began;
            self.fail(core, stream, FailReason::NoWay(vec![Tried { rung: Rung::Direct, why, took }]));
        }
    }

    pub(super) fn fail(&mut self, core: &mut Core, stream: StreamId, why: FailReason) {
        let Some(Asked { waiter: Waiter { attempt, .. }, .. }) = self.0.remove(&stream) else { return };
        core.notes.push(Level::Info, || format!("attempt {attempt} failed: {why}"));
        core.effects.push(Effect::Tell(Event::Failed { attempt, why }));
    }

    fn find(&self, is_it: impl Fn(&Asked) -> bool) -> Option<StreamId> {
        self.0.iter().find(|(_, asked)| is_it(asked)).map(|(&stream, _)| stream)
    }
}
