//! What the application does with its connections.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use log::Level;

use super::{Node, Role};
use crate::connect::RelayLimits;
use crate::error::{CloseReason, SendError};
use crate::event::Via;
use crate::id::{ConId, Except, StreamId};
use crate::identity::NodeId;
use crate::node::streams::{ReadLines, Rest, StreamFacts};
use crate::proto::household::household;
use crate::time::Instant;
use crate::unl::Unl;
use crate::wire::line::{Found, Line};

/// What of a connection waits to be read.
#[derive(Debug)]
pub(crate) enum Unread<'a> {
    Nothing,
    /// Lines that arrived together; then [`handle_read`](Node::handle_read) is due.
    Together(Rest<'a>),
    /// Lines that have to be asked for one by one, by [`next_line`](Node::next_line).
    OneByOne,
}

impl Node {
    /// Returns how much is queued now, and where.
    #[inline]
    pub(crate) fn send_line(&mut self, id: ConId, line: &[u8]) -> Result<(StreamId, usize), SendError> {
        let stream = self.core.connections.get(id).ok_or(SendError::Closed)?.writing;
        Ok((stream, self.core.streams.queue_line(stream, line)?))
    }

    /// All or none of them.
    pub(crate) fn send_lines(&mut self, id: ConId, lines: &[&[u8]]) -> Result<(StreamId, usize), SendError> {
        let stream = self.core.connections.get(id).ok_or(SendError::Closed)?.writing;
        Ok((stream, self.core.streams.queue_lines(stream, lines)?))
    }

    pub(crate) fn send_raw(&mut self, id: ConId, bytes: &[u8]) -> Result<(StreamId, usize), SendError> {
        let stream = self.core.connections.get(id).ok_or(SendError::Closed)?.writing;
        Ok((stream, self.core.streams.queue_raw(stream, bytes)?))
    }

    /// A line of the protocol, with its end, as a test would have the node say it.
    #[cfg(test)]
    pub(crate) fn send_protocol(&mut self, id: ConId, line: &[u8]) -> Result<(), SendError> {
        let stream = self.core.connections.get(id).ok_or(SendError::Closed)?.writing;
        self.core.streams.queue_protocol(stream, line)
    }

    /// The next line of a connection; `clock` is read only where duplicates are dropped.
    #[inline(always)]
    pub(crate) fn next_line(&mut self, id: ConId, clock: impl Fn() -> Instant) -> Option<Line> {
        let connection = self.core.connections.get(id)?;
        if self.duplicates.is_none() {
            return self.core.streams.next_line(connection.reading).map(Found::to_line);
        }
        self.next_checked_line(id, clock())
    }

    /// What of a connection waits to be read, and how.
    #[inline]
    pub(crate) fn unread_lines(&mut self, id: ConId) -> Unread<'_> {
        match self.core.connections.get(id) {
            None => Unread::Nothing,
            // Each line has to be looked at before the application sees it.
            Some(_) if self.duplicates.is_some() => Unread::OneByOne,
            Some(connection) => {
                self.core.streams.rest(connection.reading).map_or(Unread::Nothing, Unread::Together)
            }
        }
    }

    /// So much of what [waited together](Unread::Together) was read.
    pub(crate) fn handle_read(&mut self, read: ReadLines) {
        self.core.streams.handle_read(read);
    }

    #[cold]
    fn next_checked_line(&mut self, id: ConId, now: Instant) -> Option<Line> {
        loop {
            let stream = self.core.connections.get(id)?.reading;
            let line = self.core.streams.next_line(stream).map(Found::to_line)?;
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
        for place in 0..self.core.connections.places() {
            let Some((id, connection)) = self.core.connections.at(place) else { continue };
            if except.0 != Some(id) {
                reached += usize::from(self.core.streams.queue_line(connection.writing, line).is_ok());
            }
        }
        reached
    }

    pub(crate) fn close(&mut self, id: ConId, now: Instant) {
        self.core.close_for(id, CloseReason::Local, now);
    }

    /// What is known of the stream that a connection writes to, and what went through all of its streams.
    pub(crate) fn facts(&self, id: ConId) -> Option<StreamFacts> {
        self.core.facts(id)
    }

    pub(crate) fn via(&self, id: ConId) -> Option<Via> {
        self.core.via(id)
    }

    pub(crate) fn queued(&self, id: ConId) -> usize {
        self.core.queued(id)
    }

    /// Whether the id names a connection that the application sees and has not closed.
    pub(crate) fn is_shown(&self, id: ConId) -> bool {
        self.core.is_shown(id)
    }

    pub(crate) fn own_id(&self) -> Option<NodeId> {
        self.core.identity.id()
    }

    pub(crate) fn con_of(&self, id: NodeId) -> Option<ConId> {
        self.links.to(id).filter(|&con| self.core.is_shown(con))
    }

    pub(crate) fn node_id(&self, con: ConId) -> Option<NodeId> {
        self.links.link(con).map(|link| link.peer.id())
    }

    pub(crate) fn unl_of(&self, con: ConId) -> Option<Unl> {
        self.links.link(con).and_then(|link| link.unl.clone())
    }

    pub(crate) fn relay_limits(&self, con: ConId) -> Option<RelayLimits> {
        self.links.link(con).and_then(|link| link.relayed)
    }

    pub(crate) fn close_when_idle(&mut self, con: ConId, idle: Option<Duration>, now: Instant) {
        self.links.close_when_idle(&self.core, con, idle, now);
    }

    /// Forgets connections that have ended, before a walk begins.
    pub(crate) fn settle_shown(&mut self) {
        self.core.connections.settle();
    }

    /// Places in the list of connections, some of which may be empty.
    pub(crate) fn shown_places(&self) -> usize {
        self.core.connections.places()
    }

    pub(crate) fn shown_at(&self, place: usize) -> Option<ConId> {
        let (id, connection) = self.core.connections.at(place)?;
        self.core.streams.is_open(connection.writing).then_some(id)
    }

    /// Places in the list of connections with something to read.
    pub(crate) fn ready_places(&self) -> usize {
        self.core.streams.ready().len()
    }

    pub(crate) fn ready_at(&self, place: usize) -> Option<ConId> {
        let id = self.reader_of(*self.core.streams.ready().get(place)?)?;
        Some(id).filter(|&id| self.is_shown(id))
    }

    pub(crate) fn has_unread(&self) -> bool {
        // What has come on others is not the application's to read.
        let is_readable =
            |&stream: &StreamId| self.reader_of(stream).is_some() && self.core.streams.has_lines(stream);
        self.core.streams.ready().iter().any(is_readable)
    }

    /// The connection that reads this stream.
    fn reader_of(&self, stream: StreamId) -> Option<ConId> {
        match self.core.streams.tag(stream) {
            Some(&(Role::Peer(con) | Role::OldPath(con))) => Some(con),
            _ => None,
        }
    }

    /// Whether a connection that was full has room again, told once.
    pub(crate) fn take_relieved(&mut self) -> bool {
        self.core.streams.take_relieved()
    }

    /// The application has finished a walk over its connections.
    pub(crate) fn handle_walk(&mut self) {
        self.core.streams.handle_walk();
        // It had its turn to send.
        self.core.streams.take_relieved();
    }

    /// How many connections the application sees.
    pub(crate) fn count(&self) -> usize {
        (0..self.core.connections.places()).filter(|&place| self.shown_at(place).is_some()).count()
    }

    pub(crate) fn ban(&mut self, address: IpAddr, span: Option<Duration>, now: Instant) {
        if let Some(freed) = self.admission.ban(address, span.map(|span| now + span), now) {
            self.core.notes.push(Level::Warn, || format!("the table of bans is full: {freed} is free again"));
        }
        let of_address: Vec<ConId> =
            self.core.connections.ids().filter(|&id| self.is_from(id, address)).collect();
        for id in of_address {
            self.core.close_for(id, CloseReason::Local, now);
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
