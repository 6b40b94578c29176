//! How streams become connections of the application's, with a slot of whoever wants them, and how those end.

use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::connections::{Connection, Slot};
use super::ends::Ends;
use super::inbound::Inbound;
use super::links::{Handshaking, Known, Link};
use super::{Node, Role};
use crate::connect::{Rung, RungFault};
use crate::error::CloseReason;
use crate::event::{Event, Via};
use crate::id::{AttemptId, ConId, StreamId};
use crate::identity::PublicKey;
use crate::proto::links::{Finished, Origin};
use crate::time::Instant;
use crate::wire::foreign::Likeness;

/// Plain ones.
impl Node {
    /// Shows a connection to the application.
    pub(super) fn show(
        &mut self,
        connection: Connection,
        attempt: Option<AttemptId>,
        took: Duration,
    ) -> ConId {
        let (via, peer) = (connection.via, connection.peer);
        let id = self.name(connection);
        self.core.notes.push(Level::Info, || format!("{id} connected: {via} {peer}"));
        self.events.push(Event::Connected { con: id, via, peer, attempt, took });
        id
    }

    /// Gives a connection a name, by which its stream is known from now on.
    pub(super) fn name(&mut self, connection: Connection) -> ConId {
        let stream = connection.writing;
        let id = self.core.connections.insert(connection);
        if let Some(tag) = self.core.streams.tag_mut(stream) {
            *tag = Role::Peer(id);
        }
        id
    }

    /// What is to be known of a stream that becomes a connection.
    pub(super) fn connection(
        &self,
        stream: StreamId,
        via: Via,
        peer: SocketAddr,
        ends: Ends,
        slot: Slot,
    ) -> Connection {
        let opened = self.core.streams.facts(stream).map(|facts| facts.opened).unwrap_or(Instant::ZERO);
        Connection::new(stream, via, peer, self.ends.tag(ends), slot, opened)
    }

    /// Whether there is a slot for a peer that came to us.
    pub(super) fn may_enter(&mut self, peer: SocketAddr, now: Instant) -> bool {
        let may = !self.core.is_leaving() && self.admission.check(peer.ip(), now).is_ok();
        self.note_refusals();
        may
    }

    pub(super) fn note_refusals(&mut self) {
        while let Some(refused) = self.admission.poll_note() {
            self.core.notes.push(Level::Warn, || {
                format!(
                    "refused {}: {:?} (since the last note: {} for want of slots, {} over their address's share, {} banned)",
                    refused.peer, refused.why, refused.full, refused.too_many_from_address, refused.banned
                )
            });
        }
    }

    /// A peer that came to us takes its slot.
    pub(super) fn enter(&mut self, stream: StreamId, ends: Ends, now: Instant) -> ConId {
        let peer = ends.dialler;
        let mut connection = self.connection(stream, Via::Accepted, peer, ends, Slot::Inbound);
        connection.fresh = true;
        self.admission.handle_opened(peer.ip());
        self.network.peers.handle_inbound_opened(peer, now);
        let id = self.show(connection, None, Duration::ZERO);
        self.ends.insert_inbound(self.ends.tag(ends), id);
        id
    }

    pub(super) fn handle_peer_gone(&mut self, id: ConId, why: CloseReason, now: Instant) {
        self.forget_link(id, now);
        let Some(connection) = self.core.connections.remove(id) else { return };
        let peer = connection.peer;
        self.core.notes.push(Level::Info, || format!("{id} {} {peer}: {why}", connection.via));
        self.events.push(Event::Closed { con: id, why });
        self.ends.remove(connection.ends, id);
        match connection.slot {
            Slot::Inbound => {
                self.admission.handle_closed(peer.ip());
                self.network.peers.handle_inbound_closed(peer, now);
            }
            Slot::Outbound => self.network.handle_lost(peer, connection.closed_by_us, now),
            Slot::None => {}
        }
    }

    /// What was known of a connection as a link.
    fn forget_link(&mut self, con: ConId, now: Instant) {
        let stream = self.core.connections.get(con).map(|connection| connection.writing);
        if let Some(stream) = stream.filter(|&stream| self.handshaking.machine().has(stream)) {
            self.handshaking.drop(&mut self.core, stream, now);
        }
        self.links.forget(&mut self.core, con, now);
        self.connecting.machine_mut().handle_relaying_over(con);
    }
}

/// Handshakes.
impl Node {
    /// It is found out who is there before a stream is shown, which takes its slot from now on.
    pub(super) fn shake_hands(&mut self, stream: StreamId, origin: Origin, ends: Ends, now: Instant) {
        self.admission.handle_opened(ends.dialler.ip());
        let known = Known { connector: self.connecting.machine(), links: &self.links };
        self.handshaking.accept(&mut self.core, stream, (origin, ends), known, now);
    }

    /// Something came on a connection that the application sees. Its first line may be a hello.
    #[inline]
    pub(super) fn handle_peer_received(&mut self, con: ConId, now: Instant) {
        if self.core.connections.get(con).is_some_and(|connection| connection.fresh) {
            self.handle_first_received(con, now);
        } else {
            self.links.handle_received(&mut self.core, con, now);
        }
    }

    #[cold]
    pub(super) fn handle_first_received(&mut self, con: ConId, now: Instant) {
        let Some(stream) = self.core.connections.get(con).map(|connection| connection.writing) else {
            return;
        };
        let Some(ends) = self.core.accepted_ends(stream) else { return };
        let known = Known { connector: self.connecting.machine(), links: &self.links };
        if self.handshaking.machine().has(stream) {
            return self.handshaking.handle_received(&mut self.core, stream, known, now);
        }
        match Handshaking::is_hello(&mut self.core, stream) {
            None => {}
            // It stays fresh until it is known who it is.
            Some(true) => self.handshaking.accept_shown(&mut self.core, stream, (con, ends), known, now),
            Some(false) => self.handle_plain_received(con, stream, now),
        }
    }

    /// The first bytes of a connection that says no hello. As long as it is undecided what they are, no line is whole.
    fn handle_plain_received(&mut self, con: ConId, stream: StreamId, now: Instant) {
        match Inbound::likeness(&mut self.core, stream) {
            Likeness::Own => self.set_known(con),
            Likeness::Undecided => {}
            Likeness::Foreign(foreign) => {
                self.inbound.refuse_foreign(&mut self.core, stream, foreign, now);
                self.handle_peer_gone(con, CloseReason::Foreign, now);
            }
        }
    }

    /// Nothing is to be found out any more of a connection that was shown before.
    pub(super) fn set_known(&mut self, con: ConId) {
        if let Some(connection) = self.core.connections.get_mut(con) {
            connection.fresh = false;
        }
    }

    /// A stream leads to this node.
    pub(super) fn handle_proven(
        &mut self,
        stream: StreamId,
        peer: PublicKey,
        handshake: Finished,
        now: Instant,
    ) {
        let existing = self.links.to(peer.id());
        let existing = existing.filter(|&con| Some(con) != handshake.shown && self.core.is_shown(con));
        if handshake.upgrade {
            return self.finish_upgrade(stream, &handshake, existing, now);
        }
        if let Some(con) = existing {
            // It has lost that one, or would not have begun another.
            self.core.close_for(con, CloseReason::Replaced, now);
            self.forget_link(con, now);
        }
        self.show_link(stream, peer, handshake, now);
    }

    fn finish_upgrade(&mut self, stream: StreamId, handshake: &Finished, con: Option<ConId>, now: Instant) {
        let (via, peer) = self.way(handshake);
        if handshake.origin == Origin::Accepted || handshake.origin == Origin::Met {
            self.admission.handle_closed(handshake.ends.dialler.ip());
        }
        match con.filter(|&con| self.links.is_relayed(con)) {
            Some(con) => {
                // First, as what is left of the call would be taken for the link's.
                self.conclude_upgrade(con, handshake.call, now);
                self.links.migrate(&mut self.core, con, stream, (via, peer), now);
                self.connecting.machine_mut().handle_relaying_over(con);
            }
            None => {
                // The link is gone, or has moved already.
                self.core.streams.close(stream, now);
                self.handle_handshake_failed(stream, RungFault::Silent(handshake.ends.dialled), now);
            }
        }
    }

    /// How it came about, and the peer's end.
    fn way(&self, handshake: &Finished) -> (Via, SocketAddr) {
        let (accepted, calls) = (handshake.ends.dialler, self.connecting.machine());
        match handshake.origin {
            Origin::Call { call, rung, .. } => {
                let via = match rung {
                    Rung::Lan => Via::Lan,
                    Rung::Punch => Via::Punched,
                    Rung::Relay => Via::Relayed,
                    // Of the one who dials because he was asked to, it is a plain dial.
                    _ if calls.is_mapped(call) => Via::Mapped,
                    _ => Via::Direct,
                };
                (via, handshake.ends.dialled)
            }
            Origin::Met => (Via::Punched, accepted),
            Origin::Asked => (Via::Direct, handshake.ends.dialled),
            Origin::Accepted => {
                let via = match handshake.call.filter(|&call| calls.is_ours(call)) {
                    Some(call) if calls.is_neighbour(call, accepted.ip()) => Via::Lan,
                    Some(_) => Via::Reverse,
                    None => Via::Accepted,
                };
                (via, accepted)
            }
        }
    }

    fn show_link(&mut self, stream: StreamId, peer: PublicKey, handshake: Finished, now: Instant) {
        let (via, addr) = self.way(&handshake);
        let (node, by) = (peer.id(), handshake.call);
        let facts = self.connecting.machine().concluded(node, by);
        let relayed = facts.relay.filter(|_| via == Via::Relayed);
        let certain_at = handshake.certain_at;
        let link = Link { peer, calls: facts.calls, unl: facts.unl, certain_at, relayed };
        if let Some(con) = handshake.shown {
            self.set_known(con);
            self.links.insert(&mut self.core, con, link, handshake.before);
            // It was told of when it was accepted.
            return self.conclude_calls(node, con, by, None, now);
        }
        let slot = match handshake.origin {
            Origin::Accepted | Origin::Met => Slot::Inbound,
            Origin::Call { .. } | Origin::Asked => Slot::None,
        };
        if slot == Slot::Inbound {
            self.network.peers.handle_inbound_opened(addr, now);
        }
        let connection = self.connection(stream, via, addr, handshake.ends, slot);
        let con = self.name(connection);
        self.links.insert(&mut self.core, con, link, handshake.before);
        // The one who called looks for a better way; both would only be in each other's.
        if relayed.is_some() && facts.ours {
            self.connecting.machine_mut().handle_relayed(con, now);
        }
        self.core.notes.push(Level::Info, || format!("{con} is node {node}: {via} {addr}"));
        let is_news = handshake.origin != Origin::Asked;
        self.conclude_calls(node, con, by, is_news.then_some((via, addr)), now);
        self.tell_asked(stream, con, now);
        self.core.streams.offer_unread(stream);
        self.links.handle_received(&mut self.core, con, now);
    }

    /// It is somebody who knows no hello, or says none.
    pub(super) fn show_plain(&mut self, stream: StreamId, handshake: &Finished, now: Instant) {
        let (via, addr) = self.way(handshake);
        let likeness = Inbound::likeness(&mut self.core, stream);
        if let Likeness::Foreign(foreign) = likeness {
            self.admission.handle_closed(handshake.ends.dialler.ip());
            return self.inbound.refuse_foreign(&mut self.core, stream, foreign, now);
        }
        let mut connection = self.connection(stream, via, addr, handshake.ends, Slot::Inbound);
        connection.fresh = likeness == Likeness::Undecided;
        self.network.peers.handle_inbound_opened(addr, now);
        let con = self.show(connection, None, Duration::ZERO);
        self.ends.insert_inbound(self.ends.tag(handshake.ends), con);
        self.core.streams.offer_unread(stream);
    }

    /// A shown connection is to take the place of another: what the application knows of it ends here. Its stream keeps its slot.
    pub(super) fn hide(&mut self, con: ConId, now: Instant) {
        self.links.end_temporary(con);
        if let Some(connection) = self.core.connections.remove(con) {
            self.ends.remove(connection.ends, con);
            self.network.peers.handle_inbound_closed(connection.peer, now);
        }
        self.events.push(Event::Closed { con, why: CloseReason::Replaced });
    }
}
