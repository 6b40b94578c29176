//! How the rooms of a node meet: here alone is known who has to do with whom.
//!
//! After each input, what the rooms want of each other is taken from the queue of effects and handed on, one after the other,
//! until nothing is left.

use std::net::SocketAddr;

use log::Level;

use super::attempts::LookUp;
use super::effect::{Dialled, Effect};
use super::ends::Ends;
use super::{Node, Slot};
use crate::event::Via;
use crate::id::{ConId, StreamId};
use crate::proto::dial::DialSlot;
use crate::time::Instant;

/// Far more effects than one input leads to. Should there ever be more, the rest is handed on in the next tick, which comes at
/// once.
const ROUNDS: usize = 10_000;

impl Node {
    /// Hands on what the rooms want of each other.
    pub(super) fn route(&mut self, now: Instant) {
        for _ in 0..ROUNDS {
            let Some(effect) = self.core.effects.pop() else { return };
            self.carry_out(effect, now);
        }
    }

    fn carry_out(&mut self, effect: Effect, now: Instant) {
        match effect {
            Effect::Tell(event) => self.events.push(event),
            Effect::Attempt { purpose, target } => {
                self.attempts.begin(&mut self.core, purpose, target, now);
            }
            Effect::HangUp(server) => self.attempts.hang_up(&mut self.core, server),
            Effect::Dialled(dialled) => self.show_dialled(&dialled, now),
            Effect::PeerUnreached { addr, why } => self.handle_peer_unreached(addr, why.as_ref(), now),
            Effect::Resolved { name: LookUp::StaticPeer(place), addresses } => {
                self.handle_static_resolved(place, &addresses, now);
            }
            Effect::Resolved { name: LookUp::OwnRelay(place), addresses } => {
                self.handle_relay_resolved(place, &addresses);
            }
            Effect::Unresolved { name: LookUp::StaticPeer(place), why } => {
                self.handle_static_failed(place, &why, now);
            }
            Effect::Unresolved { name: LookUp::OwnRelay(place), why } => {
                self.handle_relay_unresolved(place, &why);
            }
            Effect::ServerConnected { server, stream, facts } => {
                self.handle_server_connected(server, stream, facts, now);
            }
            Effect::ServerUnreached { server, why } => self.handle_server_unreached(server, &why, now),
            Effect::OwnAddresses => self.tell_own(),
        }
    }

    /// A dial of an attempt is connected, perhaps to this node itself.
    pub(super) fn handle_dial_connected(
        &mut self,
        dial: (u64, DialSlot),
        stream: StreamId,
        local: SocketAddr,
        now: Instant,
    ) {
        let dialled = self.core.streams.facts(stream).map(|facts| facts.peer);
        let ends = dialled.map(|dialled| Ends { dialler: local, dialled });
        let other_side = ends.and_then(|ends| self.ends.inbound(ends));
        if let Some(con) = other_side {
            self.close(con, now);
        }
        let to_oneself = other_side.is_some() || ends.is_some_and(|ends| self.holds(ends));
        self.attempts.handle_connected(&mut self.core, dial, to_oneself, now);
    }

    /// An outbound connection turned out to end at this node itself.
    pub(super) fn handle_oneself(&mut self, con: ConId, now: Instant) {
        if let Some(facts) = self.facts(con) {
            self.core.notes.push(Level::Info, || format!("{} is this node itself", facts.peer));
            self.core.learn_own(facts.peer);
            self.core.effects.push(Effect::OwnAddresses);
        }
        self.close(con, now);
    }

    fn show_dialled(&mut self, dialled: &Dialled, now: Instant) {
        let Some(facts) = self.core.streams.facts(dialled.stream) else { return };
        // A connection has a local end; were it unknown, it could only not be told from one to oneself.
        let ends = Ends { dialler: facts.local.unwrap_or(facts.peer), dialled: facts.peer };
        self.network.handle_dialled(facts.peer, dialled.counted, now);
        let connection = self.connection(dialled.stream, Via::Direct, facts.peer, ends, Slot::Outbound);
        let con = self.show(connection, dialled.attempt, dialled.took);
        self.ends.insert_outbound(ends, con);
    }
}
