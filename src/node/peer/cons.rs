//! What the application does with its connections.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use log::Level;

use super::{Node, Role};
use crate::error::{CloseReason, SendError};
use crate::event::Via;
use crate::id::{ConId, Except};
use crate::node::streams::StreamFacts;
use crate::proto::household::household;
use crate::time::Instant;
use crate::wire::line::{Found, Line};

impl Node {
    #[inline]
    pub(crate) fn send_line(&mut self, id: ConId, line: &[u8]) -> Result<usize, SendError> {
        self.streams.queue_line(id, line)
    }

    pub(crate) fn send_raw(&mut self, id: ConId, bytes: &[u8]) -> Result<usize, SendError> {
        self.streams.queue_raw(id, bytes)
    }

    /// The next line of a connection; `clock` is read only where duplicates are dropped.
    #[inline(always)]
    pub(crate) fn next_line(&mut self, id: ConId, clock: impl Fn() -> Instant) -> Option<Line> {
        if self.duplicates.is_none() && !self.links.concern_reading() {
            return self.streams.next_line(id).map(Found::to_line);
        }
        self.next_checked_line(id, clock())
    }

    #[cold]
    fn next_checked_line(&mut self, id: ConId, now: Instant) -> Option<Line> {
        loop {
            let line = self.next_link_line(id, now)?;
            let duplicates = self.duplicates.as_mut();
            if !duplicates.is_some_and(|duplicates| duplicates.is_duplicate(line.as_bytes(), now)) {
                return Some(line);
            }
        }
    }

    pub(crate) fn broadcast(&mut self, line: &[u8], except: Except, now: Instant) -> usize {
        if let Some(duplicates) = &mut self.duplicates {
            duplicates.mark(line, now);
        }
        let mut reached = 0;
        for &id in &self.shown {
            if except.0 != Some(id) {
                reached += usize::from(self.streams.queue_line(id, line).is_ok());
            }
        }
        reached
    }

    pub(crate) fn close(&mut self, id: ConId, now: Instant) {
        self.close_for(id, CloseReason::Local, now);
    }

    pub(crate) fn facts(&self, id: ConId) -> Option<StreamFacts> {
        self.streams.facts(id)
    }

    pub(crate) fn via(&self, id: ConId) -> Option<Via> {
        match self.streams.tag(id) {
            Some(Role::Peer(role)) => Some(role.via),
            _ => None,
        }
    }

    /// What was said before a link moved counts as long as it waits on the old way.
    pub(crate) fn queued(&self, id: ConId) -> usize {
        let before = self.links.link(id).into_iter().flat_map(|link| link.old_ways());
        self.streams.queued(id) + before.map(|old| self.streams.queued(old)).sum::<usize>()
    }

    /// Whether the id names a connection that the application sees and has not closed.
    pub(crate) fn is_shown(&self, id: ConId) -> bool {
        self.streams.is_open(id) && self.via(id).is_some()
    }

    /// Forgets connections that have ended, before a walk begins.
    pub(crate) fn settle_shown(&mut self) {
        if std::mem::take(&mut self.stale) > 0 {
            let streams = &self.streams;
            self.shown.retain(|&id| streams.tag(id).is_some());
        }
    }

    /// Places in the list of connections, some of which may be empty.
    pub(crate) fn shown_places(&self) -> usize {
        self.shown.len()
    }

    pub(crate) fn shown_at(&self, place: usize) -> Option<ConId> {
        self.shown.get(place).copied().filter(|&id| self.streams.is_open(id))
    }

    /// Places in the list of connections with something to read.
    pub(crate) fn ready_places(&self) -> usize {
        self.streams.ready().len() + self.links.befores()
    }

    pub(crate) fn ready_at(&self, place: usize) -> Option<ConId> {
        let ready = self.streams.ready();
        let id = match ready.get(place).copied() {
            Some(id) => match self.streams.tag(id) {
                Some(&Role::Draining(con)) => con,
                _ => id,
            },
            None => self.links.before_at(place - ready.len())?,
        };
        Some(id).filter(|&id| self.is_shown(id))
    }

    pub(crate) fn has_unread(&self) -> bool {
        // What has come on others is not the application's to read.
        let is_readable = |&id: &ConId| {
            let tag = self.streams.tag(id);
            matches!(tag, Some(Role::Peer(_) | Role::Draining(_))) && self.streams.has_lines(id)
        };
        self.streams.ready().iter().any(is_readable) || self.links.has_before()
    }

    /// Whether a connection that was full has room again, told once.
    pub(crate) fn take_relieved(&mut self) -> bool {
        self.streams.take_relieved()
    }

    /// The application has finished a walk over its connections.
    pub(crate) fn handle_walk(&mut self) {
        self.streams.handle_walk();
        // It had its turn to send.
        self.streams.take_relieved();
    }

    /// How many connections the application sees.
    pub(crate) fn count(&self) -> usize {
        (0..self.shown.len()).filter(|&place| self.shown_at(place).is_some()).count()
    }

    pub(crate) fn ban(&mut self, address: IpAddr, span: Option<Duration>, now: Instant) {
        if let Some(freed) = self.admission.ban(address, span.map(|span| now + span), now) {
            self.notes.push(Level::Warn, || format!("the table of bans is full: {freed} is free again"));
        }
        let of_address: Vec<ConId> =
            self.shown.iter().copied().filter(|&id| self.is_from(id, address)).collect();
        for id in of_address {
            self.close(id, now);
        }
    }

    pub(crate) fn banned(&self, now: Instant) -> Vec<(IpAddr, Option<Duration>)> {
        self.admission.banned(now).map(|(address, until)| (address, until.map(|until| until - now))).collect()
    }

    pub(crate) fn unban(&mut self, address: IpAddr) -> bool {
        self.admission.unban(address)
    }

    fn is_from(&self, id: ConId, address: IpAddr) -> bool {
        let peer = self.facts(id).map(|facts: StreamFacts| SocketAddr::ip(&facts.peer));
        peer.is_some_and(|peer| household(peer) == household(address))
    }
}
