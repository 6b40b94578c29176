//! The peer behind [`Net`](crate::Net): attempts, connections, rendezvous servers and the p2p network put together.
//!
//! Each concern is a room, with a file of its own: attempts to connect (`attempts`), those that wait for an address to say who is
//! there (`asking`), rendezvous servers (`servers`), the p2p network and its file of known peers (`network`), how others reach
//! this node (`reach`), connections of which it is not known yet whose they are (`inbound`), relaying for others (`relays`), and
//! the relays of its own configuration (`own_relays`). A room stands between a machine of `proto` and what all rooms share
//! (`core`). It knows no other room: what it wants of one is queued (`effect`) and handed on in one place (`route`). What the
//! application asks comes in by `requests`, and for connections by `cons`.

mod arrivals;
mod asking;
mod attempts;
#[cfg(test)]
pub(crate) mod census;
mod connect;
mod connections;
pub(crate) mod cons;
mod core;
mod effect;
mod ends;
mod inbound;
mod links;
mod network;
mod own_relays;
mod paths;
mod reach;
mod relays;
mod requests;
mod route;
mod servers;
mod unl;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use crate::config::{Config, PortMapping};
use crate::error::{CloseReason, FailReason, StartError};
use crate::event::{Event, EventQueue};
use crate::gateway;
use crate::id::{ConId, ServerId, StreamId};
use crate::node::relays::RelayEndpoint;
use crate::node::streams::{Dropped, Streams};
use crate::node::{Action, Host};
use crate::note::Notes;
use crate::proto::admission::{Admission, AdmissionLimits};
use crate::proto::connect::DialId;
use crate::proto::dial::DialSlot;
use crate::proto::duplicates::Duplicates;
use crate::proto::links::Origin;
use crate::proto::stream::End;
use crate::random::Random;
use crate::reach::LanAddress;
use crate::time::{Instant, soonest};
use asking::Asking;
use attempts::Attempts;
use connect::Connecting;
use connections::Slot;
use core::{Core, Leaving};
use effect::Effect;
use ends::{AllEnds, Ends};
use inbound::Inbound;
use links::{Handshaking, Known, Links};
use network::Network;
use own_relays::OwnRelays;
use reach::{Reaching, Sample};
use relays::RelayDesk;
use servers::Servers;

/// What a stream is for.
#[derive(Debug)]
pub(crate) enum Role {
    /// A connection that the application sees.
    Peer(ConId),
    /// One address of an attempt, until it is decided.
    Dialling { attempt: u64, slot: DialSlot },
    /// The stream to a rendezvous server.
    Server(ServerId),
    /// One sample of the survey of the NAT.
    Survey(Sample),
    /// It may be a server's probe, or want to be relayed.
    Pending,
    /// It is being found out who is there; see `links::handshaking`.
    Handshake,
    /// A dial of a call's: to an address of the other side, to a server that is to see a port, or to a relay.
    Connecting(DialId),
    /// The old path of a connection that has another one now: what it still brings comes first.
    OldPath(ConId),
    /// Somebody else's way to a relay through this node.
    RelayClient,
    /// What it says is for the other end of such a relay.
    Relayed(RelayEndpoint),
}

/// A node of the p2p network.
#[derive(Debug)]
pub(crate) struct Node {
    core: Core,
    events: EventQueue,
    admission: Admission,
    duplicates: Option<Duplicates>,
    attempts: Attempts,
    asking: Asking,
    servers: Servers,
    network: Network,
    ends: AllEnds,
    reaching: Reaching,
    inbound: Inbound,
    links: Links,
    handshaking: Handshaking,
    connecting: Connecting,
    own_relays: OwnRelays,
    /// Where it relays for others.
    relay_desk: Option<Box<RelayDesk>>,
}

impl Node {
    /// `wall_at_origin`: where the origin of the clock lies after 1970; only pyp2p's meetings need to know.
    pub(crate) fn new(
        mut config: Config,
        net: u32,
        mut random: Random,
        wall_at_origin: Duration,
        now: Instant,
    ) -> Result<Self, StartError> {
        if cfg!(not(feature = "gateway")) {
            config.port_mapping = PortMapping::Off;
        }
        let duplicates = config.duplicates.map(|duplicates| {
            let mut secret = [0; 16];
            secret[..8].copy_from_slice(&random.next_u64().to_le_bytes());
            secret[8..].copy_from_slice(&random.next_u64().to_le_bytes());
            Duplicates::new(duplicates.capacity, duplicates.window, secret)
        });
        let core = Core::new(config, net, &mut random);
        let config = &core.config;
        let mut node = Self {
            events: EventQueue::new(config.max_events),
            admission: Admission::new(AdmissionLimits {
                max_inbound: config.max_inbound,
                max_inbound_per_address: config.max_inbound_per_address,
                max_bans: config.max_bans,
            }),
            duplicates,
            attempts: Attempts::new(net),
            asking: Asking::default(),
            servers: Servers::new(config, core.identity.key.as_ref(), &mut random, now)?,
            network: Network::new(config, &mut random, now)?,
            ends: AllEnds::default(),
            reaching: Reaching::new(config, &mut random, now),
            inbound: Inbound::new(config),
            links: Links::new(),
            handshaking: Handshaking::new(config),
            connecting: Connecting::new(config, &core, wall_at_origin, &mut random),
            own_relays: OwnRelays::new(config)?,
            relay_desk: RelayDesk::new(config, &mut random),
            core,
        };
        Network::begin(&mut node.core);
        node.own_relays.look_up(&mut node.core, now);
        node.route(now);
        node.write_unl();
        Ok(node)
    }

    /// The node listens here from now on.
    pub(crate) fn handle_listening(&mut self, local: SocketAddr, now: Instant) {
        self.core.listening = Some(local);
        self.core.notes.push(Level::Info, || format!("listening at {local}"));
        self.core.learn_own(local);
        self.core.effects.push(Effect::OwnAddresses);
        self.reaching.finder_mut().handle_listening(local, now);
        self.core.effects.push(Effect::Adverts);
        self.route(now);
        self.write_unl();
    }

    /// Begins to leave: everything is closed in order, for a limited time.
    pub(crate) fn stop(&mut self, now: Instant) {
        if self.core.is_leaving() {
            return;
        }
        // The streams keep their own deadline; the last of them end a lingering moment after it.
        self.core.leaving =
            Leaving::Until(now + self.core.config.streams.close_deadline + Duration::from_secs(2));
        self.attempts.cancel_all(&mut self.core, now);
        while let Some(stream) = self.asking.first() {
            self.stop_asking(stream, FailReason::Cancelled, now);
        }
        self.tell_calls(now, |calls, around| calls.leave(around, now));
        self.inbound.pending.stop_relaying();
        if let Some(desk) = &mut self.relay_desk {
            desk.leave(&mut self.core, now);
        }
        self.servers.leave(now);
        self.reaching.leave(&mut self.core, now);
        self.network.save_last(&mut self.core);
        for id in self.core.connections.ids().collect::<Vec<_>>() {
            self.core.close_for(id, CloseReason::Local, now);
        }
        self.route(now);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.core.leaving == Leaving::Done
    }

    pub(crate) fn listening(&self) -> Option<SocketAddr> {
        self.core.listening
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Changes whenever something happened that the application may want to see.
    pub(crate) fn progress(&self) -> u64 {
        self.events.pushed()
    }

    fn handle_dropped(&mut self, dropped: Dropped<Role>, now: Instant) {
        match dropped.tag {
            Role::Peer(con) => self.handle_peer_gone(con, dropped.why, now),
            Role::Server(server) => {
                self.servers.handle_gone(&mut self.core, server, dropped.id, dropped.why, now);
            }
            Role::Survey(sample) => self.reaching.handle_sample_gone(&mut self.core, sample, now),
            Role::Pending => self.inbound.pending.handle_gone(dropped.id),
            Role::Handshake => {
                let why = dropped.why.to_string();
                self.handshaking.handle_gone(&mut self.core, dropped.id, &why, now);
            }
            Role::Connecting(dial) => {
                self.tell_calls(now, |calls, around| calls.handle_closed(dial, around, now))
            }
            Role::OldPath(con) => self.links.handle_old_path_gone(&mut self.core, con, &dropped, now),
            Role::RelayClient => self.handle_relay_client_gone(dropped.id, None, now),
            Role::Relayed(end) => self.handle_relay_client_gone(dropped.id, Some(end), now),
            // Such a stream is abandoned.
            Role::Dialling { .. } => {}
        }
    }

    /// What one line means is carried out before the next one is looked at.
    fn handle_server_lines(&mut self, server: ServerId, stream: StreamId, now: Instant) {
        while self.servers.handle_line(&mut self.core, server, stream, now) {
            self.route(now);
        }
    }

    fn handle_relay_client_gone(&mut self, stream: StreamId, end: Option<RelayEndpoint>, now: Instant) {
        if let Some(desk) = &mut self.relay_desk {
            desk.handle_gone(stream, end, now);
        }
    }

    /// Takes in a connection that a peer opened, or refuses it.
    fn accept(&mut self, peer: SocketAddr, local: SocketAddr, now: Instant) -> Option<StreamId> {
        if self.core.is_leaving() {
            return None;
        }
        let ends = Ends { dialler: peer, dialled: local };
        if let Some(other_side) = self.ends.outbound(ends) {
            self.handle_oneself(other_side, now);
            return None;
        }
        if let Some(other_side) = self.asking.with_ends(ends) {
            self.core.learn_own(local);
            self.core.effects.push(Effect::OwnAddresses);
            self.stop_asking(other_side, FailReason::Oneself, now);
            return None;
        }
        if self.inbound.pending.is_held_back(peer.ip()) {
            return self.inbound.accept(&mut self.core, ends, now);
        }
        if !self.may_enter(peer, now) {
            return None;
        }
        if self.core.config.links.direct {
            let stream = self.core.streams.accept(peer, local, Role::Handshake, now);
            self.shake_hands(stream, Origin::Accepted, ends, now);
            return Some(stream);
        }
        let id = self.core.streams.accept(peer, local, Role::Pending, now);
        self.enter(id, ends, now);
        Some(id)
    }

    /// What there is from the start is no news.
    fn write_unl(&mut self) {
        let reach = self.reaching.picture();
        unl::renew(&mut self.core, &reach, self.servers.signalling());
    }

    fn finish_leaving(&mut self, now: Instant) {
        let Leaving::Until(deadline) = self.core.leaving else { return };
        if now >= deadline {
            let left: Vec<StreamId> = self.core.streams.iter().map(|(id, _)| id).collect();
            for id in left {
                if let Some(Role::Peer(con)) = self.core.streams.abandon(id) {
                    self.handle_peer_gone(con, CloseReason::LocalTimeout, now);
                }
            }
        }
        let has_left = self.servers.have_left() && self.reaching.mapper().has_left();
        if now >= deadline || self.core.streams.len() == 0 && has_left && !self.network.is_saving() {
            self.core.leaving = Leaving::Done;
            self.events.push(Event::Stopped);
        }
    }
}

impl Host for Node {
    type Tag = Role;

    fn streams(&mut self) -> &mut Streams<Role> {
        &mut self.core.streams
    }

    fn notes(&mut self) -> &mut Notes {
        &mut self.core.notes
    }

    fn has_work(&self) -> bool {
        self.has_unread() || self.core.streams.is_relieved() || self.inbound.pending.has_peers()
    }

    fn handle_accepted(&mut self, peer: SocketAddr, local: SocketAddr, now: Instant) -> Option<StreamId> {
        let id = self.accept(peer, local, now);
        self.route(now);
        id
    }

    fn handle_connected(&mut self, slot: usize, local: SocketAddr, now: Instant) {
        let Some(id) = self.core.streams.handle_connected(slot, local, now) else { return };
        match self.core.streams.tag(id) {
            Some(&Role::Dialling { attempt, slot }) => {
                self.handle_dial_connected((attempt, slot), id, local, now);
            }
            Some(&Role::Survey(sample)) => self.reaching.handle_sample_connected(&mut self.core, sample, now),
            Some(&Role::Connecting(dial)) => self.handle_dial_of_call(dial, local, now),
            _ => {}
        }
        self.route(now);
    }

    fn handle_connect_failed(&mut self, slot: usize, kind: io::ErrorKind, now: Instant) {
        let Some(id) = self.core.streams.id_at(slot) else { return };
        match self.core.streams.tag(id) {
            Some(&Role::Dialling { attempt, slot }) => {
                self.core.streams.abandon(id);
                self.attempts.handle_failed(&mut self.core, (attempt, slot), kind, now);
            }
            Some(&Role::Survey(sample)) => {
                self.core.streams.abandon(id);
                self.reaching.handle_sample_gone(&mut self.core, sample, now);
            }
            Some(&Role::Connecting(dial)) => self.handle_dial_of_call_failed((dial, id, kind), now),
            _ => {}
        }
        self.route(now);
    }

    fn handle_received(&mut self, slot: usize, len: usize, now: Instant) {
        if let Some(desk) = &mut self.relay_desk
            && desk.pass_on(&mut self.core, slot, len, now)
        {
            return;
        }
        self.core.streams.handle_received(slot, len);
        let Some(id) = self.core.streams.id_at(slot) else { return };
        match self.core.streams.tag(id) {
            Some(&Role::Server(server)) => self.handle_server_lines(server, id, now),
            Some(&Role::Survey(sample)) => self.reaching.handle_sample_lines(&mut self.core, sample, id, now),
            Some(Role::Pending) => self.inbound.handle_received(&mut self.core, id, now),
            Some(&Role::Peer(con)) => self.handle_peer_received(con, now),
            Some(Role::Handshake) => {
                let known = Known { connector: self.connecting.machine(), links: &self.links };
                self.handshaking.handle_received(&mut self.core, id, known, now);
            }
            Some(&Role::Connecting(dial)) => self.handle_lines_of_call(dial, id, now),
            Some(&Role::OldPath(con)) => {
                self.links.handle_old_path_received(&mut self.core, con, id, now);
            }
            Some(Role::RelayClient) => {
                if let Some(desk) = &mut self.relay_desk {
                    desk.handle_lines(&mut self.core, id, now);
                }
            }
            _ => {}
        }
        self.route(now);
    }

    fn handle_deaf(&mut self, slot: usize, now: Instant) {
        let id = self.core.streams.id_at(slot);
        // What the other end of a relay can not hear any more need not be read.
        if let Some(Role::RelayClient | Role::Relayed(_)) = id.and_then(|id| self.core.streams.tag(id)) {
            return self.core.streams.handle_end(slot, End::Broken(io::ErrorKind::BrokenPipe), now);
        }
        self.core.streams.handle_hangup(slot, now);
    }

    fn handle_resolved(&mut self, query: u64, outcome: Result<Vec<SocketAddr>, String>, now: Instant) {
        self.attempts.handle_resolved(&mut self.core, query, &outcome, now);
        self.route(now);
    }

    fn handle_loaded(&mut self, outcome: io::Result<String>, now: Instant) {
        self.network.handle_loaded(&mut self.core, outcome, now);
        self.route(now);
    }

    fn handle_saved(&mut self, outcome: io::Result<()>, _now: Instant) {
        self.network.handle_saved(&mut self.core, outcome);
    }

    fn handle_interfaces(&mut self, outcome: io::Result<Vec<LanAddress>>, now: Instant) {
        self.reaching.handle_listed_interfaces(&mut self.core, outcome, now);
        self.route(now);
    }

    fn handle_gateway(&mut self, request: u64, report: gateway::Report, now: Instant) {
        self.reaching.handle_gateway_report(&mut self.core, request, report, now);
        self.route(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.core.streams.handle_timeout(now);
        while let Some(dropped) = self.core.streams.poll_dropped() {
            self.handle_dropped(dropped, now);
            self.route(now);
        }
        self.admission.handle_timeout(now);
        self.note_refusals();
        self.attempts.handle_timeout(&mut self.core, now);
        self.route(now);
        let wanted = if self.core.config.bootstrap { self.network.peers.wanted() } else { 0 };
        self.servers.handle_timeout(&mut self.core, wanted, now);
        self.route(now);
        self.reaching.handle_timeout(&mut self.core, now);
        self.route(now);
        self.inbound.pending.handle_timeout(now);
        self.route(now);
        self.links.handle_timeout(&mut self.core, now);
        let known = Known { connector: self.connecting.machine(), links: &self.links };
        self.handshaking.handle_timeout(&mut self.core, known, now);
        self.route(now);
        self.route(now);
        if self.connecting.poll_timeout().is_some_and(|at| at <= now) {
            self.tell_calls(now, |calls, around| calls.handle_timeout(around, now));
        }
        self.route(now);
        if let Some(desk) = &mut self.relay_desk {
            desk.handle_timeout(&mut self.core, now);
        }
        let places = self.attempts.places(&self.core.config);
        self.network.handle_timeout(&mut self.core, places, now);
        self.route(now);
        self.finish_leaving(now);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let leaving = match self.core.leaving {
            Leaving::Until(deadline) => Some(deadline),
            Leaving::No | Leaving::Done => None,
        };
        // Who leaves dials nobody any more: what the network waits for would be due for ever.
        let network = if self.core.is_leaving() {
            None
        } else {
            self.network.poll_timeout(self.attempts.places(&self.core.config) > 0)
        };
        let routing = (!self.core.effects.is_empty()).then_some(Instant::ZERO);
        [
            self.core.streams.poll_timeout(),
            self.admission.poll_timeout(),
            self.attempts.poll_timeout(),
            self.servers.poll_timeout(),
            self.reaching.poll_timeout(),
            self.inbound.pending.poll_timeout(),
            self.links.poll_timeout(),
            self.handshaking.poll_timeout(),
            self.connecting.poll_timeout(),
            self.relay_desk.as_ref().and_then(|desk| desk.poll_timeout()),
            network,
            leaving,
            routing,
        ]
        .into_iter()
        .fold(None, soonest)
    }

    fn poll_action(&mut self) -> Option<Action> {
        let socket = self.core.streams.poll_action().map(Action::Socket);
        socket.or_else(|| self.core.jobs.pop_front().map(Action::Job))
    }
}
