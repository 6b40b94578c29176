//! What becomes of a greeting: a link, the new way of one, a plain connection, or nothing.

use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::super::{Connection, Node, Slot};
use super::greeting::{Errand, Greeting, Hold, Stage};
use super::{Link, Relayed};
use crate::connect::{Refusal, Rung, RungFault};
use crate::error::CloseReason;
use crate::event::Via;
use crate::id::{ConId, StreamId};
use crate::identity::PublicKey;
use crate::proto::handshake::HandshakeFault;
use crate::time::Instant;
use crate::wire::hello::HelloRefusal;

/// Connections on which both sides have proven who they are.
impl Node {
    pub(super) fn handle_proven(&mut self, id: StreamId, peer: PublicKey, now: Instant) {
        let Some(greeting) = self.remove_greeting(id) else { return };
        let node = peer.id();
        let shown = greeting.shown;
        let existing = self.links.to(node).filter(|&con| Some(con) != shown && self.is_shown(con));
        if greeting.is_upgrade() {
            self.finish_upgrade(id, &greeting, existing, now);
            return;
        }
        if let Some(con) = existing {
            // It has lost that one, or would not have begun another.
            self.close_for(con, CloseReason::Replaced, now);
            self.forget_link(con, now);
        }
        self.show_link(id, greeting, peer, now);
    }

    fn finish_upgrade(&mut self, id: StreamId, greeting: &Greeting, con: Option<ConId>, now: Instant) {
        let relayed = con.filter(|&con| self.links.is_relayed(con));
        let (via, peer) = self.way(greeting);
        self.release_slot(greeting);
        match relayed {
            Some(con) => {
                // First, as what is left of the call would be taken for the link's.
                let call = greeting.call();
                self.conclude_upgrade(con, call, now);
                self.migrate(con, id, via, peer, now);
            }
            None => self.close_hidden(id, now),
        }
    }

    /// How it came about, and the peer's end.
    fn way(&self, greeting: &Greeting) -> (Via, SocketAddr) {
        let accepted = greeting.ends.dialler;
        match greeting.errand {
            Errand::Call { call, rung, .. } => {
                let via = match rung {
                    Rung::Lan => Via::Lan,
                    Rung::Punch => Via::Punched,
                    Rung::Relay => Via::Relayed,
                    // Of the one who dials because he was asked to, it is a plain dial.
                    _ if self.connector.is_mapped(call) => Via::Mapped,
                    _ => Via::Direct,
                };
                (via, greeting.ends.dialled)
            }
            Errand::Met => (Via::Punched, accepted),
            Errand::Accepted => {
                let via = match greeting.call().filter(|&call| self.connector.is_ours(call)) {
                    Some(call) if self.connector.is_neighbour(call, accepted.ip()) => Via::Lan,
                    Some(_) => Via::Reverse,
                    None => Via::Accepted,
                };
                (via, accepted)
            }
        }
    }

    fn show_link(&mut self, id: StreamId, greeting: Greeting, peer: PublicKey, now: Instant) {
        let (via, addr) = self.way(&greeting);
        let by = greeting.call();
        let facts = self.connector.concluded(peer.id(), by);
        let relayed = facts.relay.filter(|_| via == Via::Relayed).map(|limits| Relayed { limits });
        let certain_at = self.certain_at(&greeting, now);
        let link = Link { peer, calls: facts.calls, unl: facts.unl, certain_at, flushing: None };
        if let Some(con) = greeting.shown {
            self.set_known(con);
            self.make_link(con, link, greeting.before);
            // It was told of when it was accepted.
            self.conclude_calls(peer.id(), con, by, None, now);
            return;
        }
        let slot = match greeting.errand {
            Errand::Accepted | Errand::Met => Slot::Inbound,
            Errand::Call { .. } => Slot::None,
        };
        if slot == Slot::Inbound {
            self.network.peers.handle_inbound_opened(addr, now);
        }
        let connection = self.connection(id, via, addr, greeting.ends, slot);
        let con = self.name(Connection { is_watched: relayed.is_some(), ..connection });
        self.make_link(con, link, greeting.before);
        if let Some(relayed) = relayed {
            self.links.relayed.insert(con, relayed);
            if facts.ours {
                self.connector.handle_relayed(con, now);
            }
        }
        self.core.notes.push(Level::Info, || format!("{con} is node {}: {via} {addr}", peer.id()));
        self.conclude_calls(peer.id(), con, by, Some((via, addr)), now);
        self.core.streams.offer_unread(id);
        self.handle_link_received(con, now);
    }

    /// Nothing is to be found out any more of a connection that was shown before.
    fn set_known(&mut self, con: ConId) {
        if let Some(connection) = self.connections.get_mut(con) {
            connection.fresh = false;
        }
    }
}

/// Connections that turn out to be no links.
impl Node {
    /// It begins with something else.
    pub(super) fn handle_plain(&mut self, id: StreamId, now: Instant) {
        if self.core.config.links.nonce_required {
            self.end_greeting(id, now);
        } else {
            self.show_plain(id, now);
        }
    }

    pub(super) fn show_plain(&mut self, id: StreamId, now: Instant) {
        let Some(greeting) = self.links.greetings.remove(&id) else { return };
        let (via, addr) = self.way(&greeting);
        let connection = self.connection(id, via, addr, greeting.ends, Slot::Inbound);
        self.network.peers.handle_inbound_opened(addr, now);
        let con = self.show(connection, None, Duration::ZERO);
        self.ends.insert_inbound(greeting.ends, con);
        self.core.streams.offer_unread(id);
    }

    pub(super) fn fail_greeting(&mut self, id: StreamId, fault: HandshakeFault, now: Instant) {
        let Some(greeting) = self.links.greetings.get(&id) else { return };
        let to = greeting.ends.dialled;
        self.core.notes.push(Level::Debug, || format!("{to} is no link: {fault:?}"));
        let why = match fault {
            HandshakeFault::Refused(why) => RungFault::Refused(refusal(why)),
            HandshakeFault::NotANode => RungFault::Silent(to),
            HandshakeFault::WrongNode
            | HandshakeFault::BadProof
            | HandshakeFault::Oneself
            | HandshakeFault::Unwelcome => RungFault::WrongNode(to),
        };
        if let Some(greeting) = self.end_greeting(id, now) {
            self.tell_in_vain(id, &greeting, why, now);
        }
    }

    /// Closes it in order, so that what was said last arrives.
    pub(super) fn end_greeting(&mut self, id: StreamId, now: Instant) -> Option<Greeting> {
        let greeting = self.remove_greeting(id)?;
        if let Some(con) = greeting.shown {
            self.set_known(con);
            self.close_for(con, CloseReason::Protocol, now);
        } else {
            self.release_slot(&greeting);
            self.close_hidden(id, now);
        }
        Some(greeting)
    }

    /// Ends a connection that the application never saw.
    fn close_hidden(&mut self, id: StreamId, now: Instant) {
        self.core.streams.close(id, now);
    }

    fn release_slot(&mut self, greeting: &Greeting) {
        if matches!(greeting.errand, Errand::Accepted | Errand::Met) && greeting.shown.is_none() {
            self.admission.handle_closed(greeting.ends.dialler.ip());
        }
    }

    /// It ended before it was known who it is.
    pub(in super::super) fn handle_greeting_gone(&mut self, id: StreamId, why: CloseReason, now: Instant) {
        let Some(greeting) = self.remove_greeting(id) else { return };
        self.release_slot(&greeting);
        let to = greeting.ends.dialled;
        self.core.notes.push(Level::Debug, || format!("{to} ended before it was a link: {why}"));
        self.tell_in_vain(id, &greeting, RungFault::Silent(to), now);
    }

    /// It is wanted no more. One that the application sees is closed in order.
    pub(in super::super) fn give_up_greeting(&mut self, id: StreamId, now: Instant) {
        if self.links.greetings.get(&id).is_some_and(|greeting| greeting.shown.is_some()) {
            self.end_greeting(id, now);
        } else {
            self.drop_greeting(id);
        }
    }

    /// Forgets it without a word.
    pub(in super::super) fn drop_greeting(&mut self, id: StreamId) {
        let Some(greeting) = self.remove_greeting(id) else { return };
        if greeting.shown.is_none() {
            self.release_slot(&greeting);
            self.core.streams.abandon(id);
        }
    }

    /// Others may have waited for its end, and are looked at when this is through.
    fn remove_greeting(&mut self, id: StreamId) -> Option<Greeting> {
        self.links.has_ended = true;
        self.links.greetings.remove(&id)
    }

    pub(super) fn advance_greetings(&mut self, now: Instant) {
        let due = |greeting: &Greeting| greeting.until <= now;
        let over: Vec<StreamId> =
            self.links.greetings.iter().filter(|(_, greeting)| due(greeting)).map(|(&id, _)| id).collect();
        for id in over {
            // What one comes to may have given another one more time.
            match self.links.greetings.get(&id).filter(|greeting| due(greeting)).map(|due| &due.stage) {
                Some(Stage::Opening) => self.handle_plain(id, now),
                Some(Stage::Dialled { hold: Hold::Holds(_), .. }) => self.take_up_held(id, now),
                Some(Stage::Dialled { .. } | Stage::Expecting | Stage::Answered { .. }) => {
                    self.fail_greeting(id, HandshakeFault::NotANode, now);
                }
                Some(Stage::Waiting { .. }) => self.reconsider(id, now),
                None => {}
            }
        }
    }
}

fn refusal(why: HelloRefusal) -> Refusal {
    match why {
        HelloRefusal::Busy => Refusal::Busy,
        HelloRefusal::Full => Refusal::Full,
        HelloRefusal::Closing => Refusal::Closing,
        HelloRefusal::Unknown | HelloRefusal::Identity => Refusal::Unknown,
        HelloRefusal::Other => Refusal::Unwilling,
    }
}
