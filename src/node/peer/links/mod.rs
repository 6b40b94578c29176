//! Node links: connections on which both sides have proven who they are.
//!
//! Each concern has a file of its own: how both sides prove who they are (`handshaking`, for the machine
//! [`proto::links`](crate::proto::links)), and how a link changes from a relay to a direct path (`migration`). Here is which links
//! there are, what they carry besides the application's lines, and when those end by themselves that are temporary.

mod handshaking;
mod migration;

use std::collections::BTreeMap;
use std::time::Duration;

use super::core::Core;
use crate::connect::RelayLimits;
use crate::error::CloseReason;
use crate::id::{CallId, ConId};
use crate::identity::{NodeId, PublicKey};
use crate::proto::deadlines::Deadlines;
use crate::time::{Instant, soonest};
use crate::unl::Unl;
pub(super) use handshaking::{Handshaking, Known};
use migration::{Draining, MOVED};

const PING: &[u8] = b"~ping";
const PONG: &[u8] = b"~pong";

/// The links of a node.
#[derive(Debug)]
pub(super) struct Links {
    links: BTreeMap<ConId, Link>,
    by_node: BTreeMap<NodeId, ConId>,
    /// Those whose old path still brings something.
    draining: BTreeMap<ConId, Draining>,
    drained_by: Deadlines<ConId>,
    temporary: BTreeMap<ConId, Temporary>,
    idle_at: Deadlines<ConId>,
}

/// What is known of a link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PublicKey,
    /// The calls that it came about by: whatever else they still bring is left over.
    pub(super) calls: Vec<CallId>,
    pub(super) unl: Option<Unl>,
    /// From when on the peer must know of it.
    pub(super) certain_at: Instant,
    /// It goes by way of a relay, within these limits.
    pub(super) relayed: Option<RelayLimits>,
}

/// A connection that closes itself.
#[derive(Debug)]
struct Temporary {
    idle: Duration,
    /// The same as in `idle_at`.
    due: Option<Instant>,
    /// What had been sent and received when that began.
    bytes: u64,
}

/// What is known of them.
impl Links {
    pub(super) const fn new() -> Self {
        Self {
            links: BTreeMap::new(),
            by_node: BTreeMap::new(),
            draining: BTreeMap::new(),
            drained_by: Deadlines::new(),
            temporary: BTreeMap::new(),
            idle_at: Deadlines::new(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        soonest(self.drained_by.next(), self.idle_at.next())
    }

    pub(super) fn link(&self, con: ConId) -> Option<&Link> {
        self.links.get(&con)
    }

    /// The link to this node.
    pub(super) fn to(&self, node: NodeId) -> Option<ConId> {
        self.by_node.get(&node).copied()
    }

    pub(super) fn is_relayed(&self, con: ConId) -> bool {
        self.links.get(&con).is_some_and(|link| link.relayed.is_some())
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.links.len()
    }
}

/// How they come, and go.
impl Links {
    /// The connection is a link from now on. `before`: whole lines that came before the answer to our hello.
    pub(super) fn insert(&mut self, core: &mut Core, con: ConId, link: Link, before: Vec<u8>) {
        if let Some(connection) = core.connections.get(con).filter(|_| !before.is_empty()) {
            core.streams.put_back(connection.reading, before.into());
        }
        self.by_node.insert(link.peer.id(), con);
        self.links.insert(con, link);
    }

    /// A connection of the application's is gone.
    pub(super) fn forget(&mut self, core: &mut Core, con: ConId, now: Instant) {
        self.end_temporary(con);
        self.end_draining(con);
        core.close_old_paths(con, now);
        let Some(link) = self.links.remove(&con) else { return };
        if self.to(link.peer.id()) == Some(con) {
            self.by_node.remove(&link.peer.id());
        }
    }

    /// A connection closes itself when nothing went through it for so long; or not any more.
    pub(super) fn close_when_idle(&mut self, core: &Core, con: ConId, idle: Option<Duration>, now: Instant) {
        self.end_temporary(con);
        if let Some(idle) = idle.filter(|_| core.is_shown(con)) {
            let mut temporary = Temporary { idle, due: None, bytes: core.bytes_through(con) };
            self.idle_at.set(con, &mut temporary.due, Some(now + idle));
            self.temporary.insert(con, temporary);
        }
    }

    pub(super) fn end_temporary(&mut self, con: ConId) {
        if let Some(mut temporary) = self.temporary.remove(&con) {
            self.idle_at.set(con, &mut temporary.due, None);
        }
    }

    pub(super) fn handle_timeout(&mut self, core: &mut Core, now: Instant) {
        while let Some(con) = self.idle_at.pop_due(now) {
            self.look_at_idle(core, con, now);
        }
        while let Some(con) = self.drained_by.pop_due(now) {
            self.look_at_draining(core, con, now);
        }
    }

    /// A temporary connection on which nothing went through for long enough, perhaps. What goes through is not noted each time;
    /// it is looked at when the time has come.
    fn look_at_idle(&mut self, core: &mut Core, con: ConId, now: Instant) {
        let bytes = core.bytes_through(con);
        let Some(temporary) = self.temporary.get_mut(&con) else { return };
        temporary.due = None;
        if temporary.bytes == bytes {
            self.temporary.remove(&con);
            core.close_for(con, CloseReason::Idle, now);
        } else {
            temporary.bytes = bytes;
            let until = now + temporary.idle;
            self.idle_at.set(con, &mut temporary.due, Some(until));
        }
    }
}

/// What a link carries besides the application's lines: handled as it comes, whatever of the application's is unread before it.
impl Links {
    /// Something came on a connection that the application sees.
    #[inline]
    pub(super) fn handle_received(&mut self, core: &mut Core, con: ConId, now: Instant) {
        while let Some(connection) = core.connections.get(con)
            && let Some(line) = core.streams.next_protocol(connection.reading)
        {
            self.handle_protocol(core, con, &line, now);
        }
    }

    fn handle_protocol(&mut self, core: &mut Core, con: ConId, line: &[u8], now: Instant) {
        if line == MOVED {
            self.finish_draining(core, con, now);
        } else if let Some(text) = line.strip_prefix(PING)
            && let Some(connection) = core.connections.get(con)
        {
            // Who asks and does not read the answers is closed for that.
            let answer = [PONG, text, b"\r\n"].concat();
            let _ = core.streams.queue_protocol(connection.writing, &answer);
        }
        // What later versions say is passed over.
    }
}
