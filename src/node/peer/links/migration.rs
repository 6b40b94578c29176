//! How a link changes from a relay to a direct path without losing or reordering a line.
//!
//! Each side, once the new stream has proven to lead to the same node, says `~moved` as its last line on the old path, and
//! everything after it on the new one; and it reads the old path up to the other's `~moved` before it looks at what the
//! new one has brought. So the order is kept in each direction, and neither waits for the other. An application that does not
//! read holds up none of it: what it has not read goes along.

use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::Links;
use crate::error::CloseReason;
use crate::event::{Event, Via};
use crate::id::{ConId, StreamId};
use crate::node::peer::Role;
use crate::node::peer::core::Core;
use crate::node::peer::effect::Effect;
use crate::node::streams::Dropped;
use crate::time::Instant;

/// How long the other side may take to say that all has come on the old path, while nothing else comes. Half a minute is far
/// more than a relay's queue needs to empty at its slowest, as something comes then.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// The last line of the old path.
pub(super) const MOVED: &[u8] = b"~moved";

/// An old path that still brings something.
#[derive(Debug)]
pub(super) struct Draining {
    /// The same as among the deadlines.
    due: Option<Instant>,
    /// What had come and gone there when that began.
    bytes: u64,
}

impl Links {
    /// The connection goes over this stream from now on: it is written to at once, and read when the old one has brought all.
    pub(in super::super) fn migrate(
        &mut self,
        core: &mut Core,
        con: ConId,
        stream: StreamId,
        (via, peer): (Via, SocketAddr),
        now: Instant,
    ) {
        let Some(old) = core.connections.get(con).map(|connection| connection.writing) else { return };
        // The other side may have moved already, so that nothing but an end of the link is a reason to stay.
        if !core.streams.hand_over_sending(old, stream, &[MOVED, b"\r\n"].concat()) {
            core.streams.close(stream, now);
            return;
        }
        core.streams.hold(stream, true);
        for (id, role) in [(old, Role::OldPath(con)), (stream, Role::Peer(con))] {
            if let Some(tag) = core.streams.tag_mut(id) {
                *tag = role;
            }
        }
        if let Some(connection) = core.connections.get_mut(con) {
            (connection.writing, connection.via, connection.peer) = (stream, via, peer);
        }
        if let Some(link) = self.links.get_mut(&con) {
            link.relayed = None;
        }
        let mut draining = Draining { due: None, bytes: core.bytes_of(old) };
        self.drained_by.set(con, &mut draining.due, Some(now + DRAIN_TIME));
        self.draining.insert(con, draining);
        core.notes.push(Level::Info, || format!("{con} goes another way: {via} {peer}"));
        core.effects.push(Effect::Tell(Event::Upgraded { con, via, peer }));
        // It may have been said already.
        self.handle_received(core, con, now);
    }

    /// The old path has brought all: what of it was not read comes before what the new one brings.
    pub(super) fn finish_draining(&mut self, core: &mut Core, con: ConId, now: Instant) {
        self.end_draining(con);
        let Some(connection) = core.connections.get_mut(con) else { return };
        let Some(old) = connection.draining() else { return };
        connection.reading = connection.writing;
        let current = connection.writing;
        core.streams.hand_over_receiving(old, current);
        if core.streams.queued(old) == 0 {
            core.streams.close(old, now);
            let counters = core.streams.facts(old).map(|facts| facts.counters).unwrap_or_default();
            if let Some(connection) = core.connections.get_mut(con) {
                connection.add_earlier(counters);
            }
        } else {
            // However long a slow relay takes for that: to close it would set it a deadline. The other side closes it when all
            // has come there.
            if let Some(connection) = core.connections.get_mut(con) {
                connection.set_flushing(old);
            }
            forget_lines(core, old);
        }
    }

    pub(super) fn end_draining(&mut self, con: ConId) {
        if let Some(mut draining) = self.draining.remove(&con) {
            self.drained_by.set(con, &mut draining.due, None);
        }
    }

    /// Something came on the old path of a link.
    pub(in super::super) fn handle_old_path_received(
        &mut self,
        core: &mut Core,
        con: ConId,
        old: StreamId,
        now: Instant,
    ) {
        if core.connections.get(con).is_some_and(|connection| connection.flushing() == Some(old)) {
            forget_lines(core, old);
        } else {
            self.handle_received(core, con, now);
        }
    }

    /// The old path of a link ended.
    pub(in super::super) fn handle_old_path_gone(
        &mut self,
        core: &mut Core,
        con: ConId,
        ended: &Dropped<Role>,
        now: Instant,
    ) {
        let Some(connection) = core.connections.get_mut(con) else { return };
        let current = connection.writing;
        let was_draining = connection.draining() == Some(ended.id);
        if was_draining {
            connection.reading = connection.writing;
        }
        if was_draining || connection.end_flushing(ended.id) {
            connection.add_earlier(ended.counters);
        }
        // Before all had come, or had gone out: something is missing, here or there.
        if (was_draining || ended.unsaid) && core.is_shown(con) {
            core.close_for(con, ended.why, now);
        }
        core.streams.end_await(current, ended.unsaid);
    }

    /// Closes a link whose old path says nothing more, not even that it is over: nobody is to be waited for in vain.
    pub(super) fn look_at_draining(&mut self, core: &mut Core, con: ConId, now: Instant) {
        let old = core.connections.get(con).and_then(|connection| connection.draining());
        let bytes = old.map(|old| core.bytes_of(old));
        let Some(draining) = self.draining.get_mut(&con) else { return };
        draining.due = None;
        match bytes {
            Some(bytes) if bytes != draining.bytes => {
                draining.bytes = bytes;
                self.drained_by.set(con, &mut draining.due, Some(now + DRAIN_TIME));
            }
            _ => {
                self.draining.remove(&con);
                core.close_for(con, CloseReason::Protocol, now);
            }
        }
    }
}

/// Nothing is to come after `~moved`.
fn forget_lines(core: &mut Core, old: StreamId) {
    while core.streams.next_line(old).is_some() || core.streams.next_protocol(old).is_some() {}
}
