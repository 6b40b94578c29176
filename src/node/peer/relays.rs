//! Relaying for others, where the configuration offers it: this node is then, at its own port, what a rendezvous server is
//! to those who bring it a ticket, and nothing else of a server.
//!
//! **How they are told apart.** Somebody who wants to be relayed speaks first, and begins like any client of a rendezvous
//! server. So an accepted connection is held back (see `strangers`) until its first bytes have come. What begins so is a
//! client here from then on: the application never sees it, and it takes none of the application's slots. All else is a peer,
//! as ever.
//!
//! **What they can take** is what the offer says. Who is no half of a relay yet may say little, and has not long to say it;
//! who holds no ticket that two nodes have signed for this place gets nothing.

use std::time::Duration;

use log::Level;

use super::{Ends, Node, Role};
use crate::config::{Config, RelayOffer};
use crate::id::StreamId;
use crate::node::relays::{Place, RelayEndpoint, Relays};
use crate::proto::rendezvous::server::{ClientId, CloseWhy, Limits, Server, ServerAction};
use crate::random::Random;
use crate::time::{Instant, soonest};
use crate::wire::rendezvous::{Features, GREETING};

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

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        soonest(self.server.poll_timeout(), self.running.poll_timeout())
    }
}

/// How a client comes and goes.
impl Node {
    /// Whether accepted connections may be for a relay.
    pub(super) fn relays_for_others(&self) -> bool {
        self.relay_desk.is_some() && !self.core.is_leaving()
    }

    /// How many are relayed.
    #[cfg(test)]
    pub(crate) fn relays(&self) -> usize {
        self.relay_desk.as_ref().map_or(0, |desk| desk.server.relays())
    }

    /// A connection that was held back has begun like a client: it is one, or nothing.
    pub(super) fn let_in_relay_client(&mut self, id: StreamId, ends: Ends, now: Instant) {
        let Some(desk) = &mut self.relay_desk else { return };
        let peer = ends.dialler;
        let refused = desk.server.refusal(peer.ip()).map(|why| format!("{why:?}"));
        let banned = self.admission.is_banned(peer.ip(), now).then(|| "it is banned".to_owned());
        if let Some(why) = banned.or(refused) {
            self.core.notes.push(Level::Debug, || format!("{peer} is not relayed: {why}"));
            self.core.streams.abandon(id);
            return;
        }
        if let Some(tag) = self.core.streams.tag_mut(id) {
            *tag = Role::RelayClient;
        }
        desk.server.handle_connected(client(id), peer, ends.dialled, now);
        self.handle_relay_client_lines(id, now);
    }

    pub(super) fn handle_relay_client_lines(&mut self, id: StreamId, now: Instant) {
        let Some(desk) = &mut self.relay_desk else { return };
        while let Some(line) = self.core.streams.next_line(id) {
            desk.server.handle_line(client(id), line.as_bytes(), now, &mut desk.answers);
        }
        // What so few bytes can ask for fits; one that was closed meanwhile needs no answer.
        let _ = self.core.streams.queue_raw(id, &desk.answers);
        desk.answers.clear();
        let said = self.core.streams.facts(id).map_or(0, |facts| facts.counters.bytes_received);
        if said > MOST_SAID {
            desk.server.handle_closed(client(id), now);
            self.core.streams.abandon(id);
        }
    }

    pub(super) fn handle_relay_client_gone(&mut self, id: StreamId, now: Instant) {
        if let Some(desk) = &mut self.relay_desk {
            desk.server.handle_closed(client(id), now);
        }
    }

    pub(super) fn handle_relayed_gone(&mut self, end: RelayEndpoint, id: StreamId, now: Instant) {
        if let Some(desk) = &mut self.relay_desk {
            desk.running.handle_dropped(end);
        }
        self.handle_relay_client_gone(id, now);
    }
}

/// What they say to each other.
impl Node {
    /// Takes over what was read where it is another stream's; whether it is.
    pub(super) fn pass_on_relayed(&mut self, slot: usize, len: usize, now: Instant) -> bool {
        let Some(desk) = &mut self.relay_desk else { return false };
        if !self.core.streams.pass_on(slot, len) {
            return false;
        }
        let id = self.core.streams.id_at(slot);
        if let Some(&Role::Relayed(end)) = id.and_then(|id| self.core.streams.tag(id)) {
            let mut place = Place { streams: &mut self.core.streams, notes: &mut self.core.notes };
            desk.running.handle_passed(&mut place, end, len, now);
        }
        true
    }

    pub(super) fn advance_relays(&mut self, now: Instant) {
        let Some(desk) = &mut self.relay_desk else { return };
        desk.server.handle_timeout(now);
        let mut place = Place { streams: &mut self.core.streams, notes: &mut self.core.notes };
        while let Some(action) = desk.server.poll_action() {
            act(&mut desk.running, &mut place, action, now);
        }
        desk.running.handle_timeout(&mut place, now);
    }

    /// The node leaves, and with it the way that others had through it.
    pub(super) fn leave_relays(&mut self, now: Instant) {
        let Some(desk) = &mut self.relay_desk else { return };
        let mut place = Place { streams: &mut self.core.streams, notes: &mut self.core.notes };
        desk.running.end_all(&mut place, now);
        let is_client = |role: &Role| matches!(role, Role::RelayClient);
        let clients: Vec<StreamId> =
            self.core.streams.iter().filter(|(_, role)| is_client(role)).map(|(id, _)| id).collect();
        for id in clients {
            self.core.streams.close(id, now);
        }
    }

    /// Where this node is seen from outside: its relay may have been dialled there, whatever address it arrives at.
    pub(super) fn tell_relay_places(&mut self) {
        let reach = self.reach();
        if let Some(desk) = &mut self.relay_desk {
            let wan = reach.wan.zip(reach.port).map(Into::into);
            desk.server.set_public_addresses(wan.into_iter().collect());
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

/// Whether these first bytes are a client's; `None` while they may be.
pub(super) fn is_relay_client(arrived: &[u8]) -> Option<bool> {
    if arrived.starts_with(GREETING) {
        return Some(true);
    }
    (!GREETING.starts_with(arrived)).then_some(false)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_client_is_known_by_its_greeting_alone() {
        for (arrived, expected) in [
            ("", None),
            ("H", None),
            ("HELLO p2poll", None),
            ("HELLO p2poll ", Some(true)),
            ("HELLO p2poll 1 id relay\r\n", Some(true)),
            ("HELLO p2poll\r\n", Some(false)),
            ("HELLO pyp2p ", Some(false)),
            ("hello p2poll ", Some(false)),
            ("~hello {", Some(false)),
            ("\n", Some(false)),
        ] {
            assert_eq!(is_relay_client(arrived.as_bytes()), expected, "{arrived:?}");
        }
    }

    proptest! {
        /// However it is cut.
        #[test]
        fn what_was_decided_stays_so(bytes in prop::collection::vec(any::<u8>(), 0..20), like in 0..14_usize) {
            let all = [&GREETING[..like.min(GREETING.len())], &bytes].concat();
            let verdicts: Vec<_> = (0..=all.len()).filter_map(|len| is_relay_client(&all[..len])).collect();
            prop_assert!(verdicts.windows(2).all(|two| two[0] == two[1]));
        }
    }
}
