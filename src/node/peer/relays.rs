//! Relaying for others, where the configuration offers it: this node is then, at its own port, what a rendezvous server is
//! to those who bring it a ticket, and nothing else of a server.
//!
//! **How they are told apart.** Somebody who wants to be relayed speaks first, and begins like any client of a rendezvous
//! server. So an accepted connection is held back (see `inbound`) until its first bytes have come. What begins so is a
//! client here from then on: the application never sees it, and it takes none of the application's slots. All else is a peer,
//! as ever.
//!
//! **What they can take** is what the offer says. Who is no half of a relay yet may say little, and has not long to say it;
//! who holds no ticket that two nodes have signed for this place gets nothing.

use std::time::Duration;

use log::Level;

use super::core::Core;
use super::{Ends, Role};
use crate::config::{Config, RelayOffer};
use crate::id::StreamId;
use crate::node::relays::{Place, RelayEndpoint, Relays};
use crate::proto::rendezvous::server::{ClientId, CloseWhy, Limits, Server, ServerAction};
use crate::random::Random;
use crate::reach::Reach;
use crate::time::{Instant, soonest};
use crate::wire::rendezvous::Features;

/// Bytes that a client may send before it is one half of a relay: a greeting, a proof and a ticket are about 1000.
const MOST_SAID: u64 = 4096;

/// A client that is no half of a relay may be silent for so long: longer than a half waits for the other one, after which
/// it is told.
const IDLE: Duration = Duration::from_secs(15);

/// Sessions that are remembered as used: six a second, for as long as they are. Each takes about 200 bytes.
const USED_SESSIONS: usize = 4096;

/// Connections that are on their way in or out, besides those that are relayed.
const SPARE: usize = 8;

/// What a node needs to relay for others.
#[derive(Debug)]
pub(super) struct RelayDesk {
    server: Server,
    running: Relays,
    /// What is answered, on its way to a stream.
    answers: Vec<u8>,
}

impl RelayDesk {
    /// `None` where nothing is offered.
    pub(super) fn new(config: &Config, random: &mut Random) -> Option<Box<Self>> {
        let offer = config.links.relay_offer.as_ref()?;
        // What time it is matters to meetings only, and there are none.
        let server = Server::new(limits(offer), random.fork(), Duration::ZERO);
        let running = Relays::new(offer.into(), offer.idle);
        Some(Box::new(Self { server, running, answers: Vec::new() }))
    }

    /// Where this node is seen from outside: its relay may have been dialled there, whatever address it arrives at.
    pub(super) fn set_public_address(&mut self, reach: &Reach) {
        let wan = reach.wan.zip(reach.port).map(Into::into);
        self.server.set_public_addresses(wan.into_iter().collect());
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        soonest(self.server.poll_timeout(), self.running.poll_timeout())
    }
}

/// How a client comes and goes.
impl RelayDesk {
    /// How many are relayed.
    #[cfg(test)]
    pub(super) fn relays(&self) -> usize {
        self.server.relays()
    }

    /// A connection that was held back has begun like a client: it is one, or nothing.
    pub(super) fn let_in(
        &mut self,
        core: &mut Core,
        stream: StreamId,
        ends: Ends,
        is_banned: bool,
        now: Instant,
    ) {
        let peer = ends.dialler;
        let refused = self.server.refusal(peer.ip()).map(|why| format!("{why:?}"));
        let banned = is_banned.then(|| "it is banned".to_owned());
        if let Some(why) = banned.or(refused) {
            core.notes.push(Level::Debug, || format!("{peer} is not relayed: {why}"));
            core.streams.abandon(stream);
            return;
        }
        if let Some(tag) = core.streams.tag_mut(stream) {
            *tag = Role::RelayClient;
        }
        self.server.handle_connected(client(stream), peer, ends.dialled, now);
        self.handle_lines(core, stream, now);
    }

    pub(super) fn handle_lines(&mut self, core: &mut Core, stream: StreamId, now: Instant) {
        while let Some(line) = core.streams.next_line(stream) {
            self.server.handle_line(client(stream), line.as_bytes(), now, &mut self.answers);
        }
        // What so few bytes can ask for fits; one that was closed meanwhile needs no answer.
        let _ = core.streams.queue_raw(stream, &self.answers);
        self.answers.clear();
        let said = core.streams.facts(stream).map_or(0, |facts| facts.counters.bytes_received);
        if said > MOST_SAID {
            self.server.handle_closed(client(stream), now);
            core.streams.abandon(stream);
        }
    }

    /// A client is gone, who was an end of a relay perhaps.
    pub(super) fn handle_gone(&mut self, stream: StreamId, end: Option<RelayEndpoint>, now: Instant) {
        if let Some(end) = end {
            self.running.handle_dropped(end);
        }
        self.server.handle_closed(client(stream), now);
    }
}

/// What they say to each other.
impl RelayDesk {
    /// Takes over what was read where it is another stream's; whether it is.
    pub(super) fn pass_on(&mut self, core: &mut Core, slot: usize, len: usize, now: Instant) -> bool {
        if !core.streams.pass_on(slot, len) {
            return false;
        }
        let id = core.streams.id_at(slot);
        if let Some(&Role::Relayed(end)) = id.and_then(|id| core.streams.tag(id)) {
            let mut place = Place { streams: &mut core.streams, notes: &mut core.notes };
            self.running.handle_passed(&mut place, end, len, now);
        }
        true
    }

    pub(super) fn handle_timeout(&mut self, core: &mut Core, now: Instant) {
        self.server.handle_timeout(now);
        let mut place = Place { streams: &mut core.streams, notes: &mut core.notes };
        while let Some(action) = self.server.poll_action() {
            act(&mut self.running, &mut place, action, now);
        }
        self.running.handle_timeout(&mut place, now);
    }

    /// The node leaves, and with it the way that others had through it.
    pub(super) fn leave(&mut self, core: &mut Core, now: Instant) {
        let mut place = Place { streams: &mut core.streams, notes: &mut core.notes };
        self.running.end_all(&mut place, now);
        let is_client = |role: &Role| matches!(role, Role::RelayClient);
        let clients: Vec<StreamId> =
            core.streams.iter().filter(|(_, role)| is_client(role)).map(|(id, _)| id).collect();
        for id in clients {
            core.streams.close(id, now);
        }
    }
}

fn act(running: &mut Relays, place: &mut Place<'_, Role>, action: ServerAction, now: Instant) {
    match action {
        ServerAction::Send { client, text } => {
            if let Some(id) = id_of(place, client) {
                // A line to who waits for his other half, and has been told little until now.
                let _ = place.streams.queue_raw(id, &text);
            }
        }
        ServerAction::Close { client, why } => {
            let Some(id) = id_of(place, client) else { return };
            if why != CloseWhy::Quit {
                place
                    .notes
                    .push(Level::Debug, || format!("{id}, which wanted a relay, is disconnected: {why:?}"));
            }
            place.streams.close(id, now);
        }
        ServerAction::Splice { a, b } => {
            let ends = [id_of(place, a), id_of(place, b)];
            running.splice(place, ends, Role::Relayed, now);
        }
        // It tries nobody's port: nobody can ask it to.
        ServerAction::Dial { .. } | ServerAction::Abandon { .. } | ServerAction::Tell(_) => {}
    }
}

/// A client is known by its stream's slot: the machine forgets a client before its slot is used again.
fn client(id: StreamId) -> ClientId {
    ClientId(id.slot() as u64)
}

fn id_of(place: &Place<'_, Role>, client: ClientId) -> Option<StreamId> {
    let id = place.streams.id_at(usize::try_from(client.0).ok()?)?;
    matches!(place.streams.tag(id), Some(Role::RelayClient)).then_some(id)
}

fn limits(offer: &RelayOffer) -> Limits {
    Limits {
        clients: offer.max_relays.saturating_mul(2).saturating_add(SPARE),
        clients_per_address: offer.max_relays_per_address.saturating_add(SPARE / 2),
        relays: offer.max_relays,
        relays_per_node: offer.max_relays_per_node,
        relays_per_address: offer.max_relays_per_address,
        relay: offer.into(),
        relays_only: true,
        features: Features::ID.or(Features::RELAY),
        idle: IDLE,
        used_sessions: USED_SESSIONS,
        ..Limits::default()
    }
}
