//! The peer behind [`Net`](crate::Net): attempts, connections, rendezvous servers and the p2p network put together.
//!
//! Each concern has a file of its own: what the application does with connections (`cons`), attempts to connect
//! (`attempts`), rendezvous servers (`servers`), the p2p network and its file of known peers (`network`), how others reach
//! this node (`reach`), connections of which it is not known yet whose they are (`strangers`), and relaying for others
//! (`relays`), and the relays of its own configuration (`own_relays`).

mod attempts;
mod calls;
#[cfg(test)]
pub(crate) mod census;
mod connections;
pub(crate) mod cons;
mod core;
mod effect;
mod ends;
mod links;
mod network;
mod own_relays;
mod reach;
mod relays;
mod requests;
mod route;
mod servers;
mod strangers;
mod unl;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use crate::config::{Config, PortMapping};
use crate::error::{CloseReason, StartError};
use crate::event::{Event, EventQueue, Via};
use crate::gateway;
use crate::id::{AttemptId, CallId, ConId, ServerId, StreamId};
use crate::node::relays::RelayEndpoint;
use crate::node::streams::{Dropped, Streams};
use crate::node::{Action, Host};
use crate::note::Notes;
use crate::proto::admission::{Admission, AdmissionLimits};
use crate::proto::dial::DialSlot;
use crate::proto::duplicates::Duplicates;
use crate::proto::stream::End;
use crate::random::Random;
use crate::reach::LanAddress;
use crate::time::{Instant, soonest};
use attempts::Attempts;
use calls::Calls;
use connections::{Connection, Connections, Slot};
use core::{Core, Leaving};
use ends::{AllEnds, Ends};
use links::Links;
use network::Network;
use own_relays::OwnRelays;
use reach::{Reaching, Sample};
use relays::RelayDesk;
use servers::Servers;
use strangers::Strangers;

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
    Held(Ends),
    /// It is being found out who is there; see `links::greeting`.
    Greeting,
    /// A dial of a call, to one address of a rung.
    Climbing(CallId),
    /// A dial of a call that punches.
    Punching(CallId),
    /// It shows a call's port to a server.
    Observing(CallId),
    /// It leads a call to a relay.
    Relaying(CallId),
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
    /// The connections that the application sees.
    connections: Connections,
    events: EventQueue,
    admission: Admission,
    duplicates: Option<Duplicates>,
    attempts: Attempts,
    servers: Servers,
    network: Network,
    ends: AllEnds,
    reaching: Reaching,
    strangers: Strangers,
    links: Links,
    calls: Calls,
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
        let core = Core::new(config, &mut random);
        let config = &core.config;
        let mut node = Self {
            connections: Connections::new(net),
            events: EventQueue::new(config.max_events),
            admission: Admission::new(AdmissionLimits {
                max_inbound: config.max_inbound,
                max_inbound_per_address: config.max_inbound_per_address,
                max_bans: config.max_bans,
            }),
            duplicates,
            attempts: Attempts::new(net),
            servers: Servers::new(config, core.identity.key.as_ref(), &mut random, now)?,
            network: Network::new(config, &mut random, now)?,
            ends: AllEnds::default(),
            reaching: Reaching::new(config, &mut random, now),
            strangers: Strangers::default(),
            links: Links::default(),
            calls: Calls::new(config, wall_at_origin, &mut random),
            own_relays: OwnRelays::new(config)?,
            relay_desk: RelayDesk::new(config, &mut random),
            core,
        };
        node.begin_network();
        node.look_up_relays(now);
        node.route(now);
        node.renew_unl();
        Ok(node)
    }

    /// The node listens here from now on.
    pub(crate) fn handle_listening(&mut self, local: SocketAddr, now: Instant) {
        self.core.listening = Some(local);
        self.core.notes.push(Level::Info, || format!("listening at {local}"));
        self.core.learn_own(local);
        self.tell_own();
        self.reaching.finder_mut().handle_listening(local, now);
        self.set_adverts(now);
        // What there is from the start is no news.
        self.renew_unl();
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
        self.leave_calls(now);
        self.leave_relays(now);
        self.leave_servers(now);
        self.leave_reach(now);
        self.save_known();
        for id in self.connections.ids().collect::<Vec<_>>() {
            self.close(id, now);
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

    /// Shows a connection to the application.
    fn show(&mut self, connection: Connection, attempt: Option<AttemptId>, took: Duration) -> ConId {
        let (via, peer) = (connection.via, connection.peer);
        let id = self.name(connection);
        self.core.notes.push(Level::Info, || format!("{id} connected: {via} {peer}"));
        self.events.push(Event::Connected { con: id, via, peer, attempt, took });
        id
    }

    /// Gives a connection a name, by which its stream is known from now on.
    fn name(&mut self, connection: Connection) -> ConId {
        let id = self.connections.insert(connection);
        if let Some(tag) = self.core.streams.tag_mut(connection.writing) {
            *tag = Role::Peer(id);
        }
        id
    }

    /// What is to be known of a stream that becomes a connection.
    fn connection(&self, stream: StreamId, via: Via, peer: SocketAddr, ends: Ends, slot: Slot) -> Connection {
        let opened = self.core.streams.facts(stream).map(|facts| facts.opened).unwrap_or(Instant::ZERO);
        Connection::new(stream, via, peer, ends, slot, opened)
    }

    fn handle_dropped(&mut self, dropped: Dropped<Role>, now: Instant) {
        match dropped.tag {
            Role::Peer(con) => self.handle_peer_gone(con, dropped.why, now),
            Role::Server(server) => self.handle_server_gone(server, dropped.id, dropped.why, now),
            Role::Survey(sample) => self.handle_sample_gone(sample, now),
            Role::Held(_) => self.handle_held_gone(dropped.id),
            Role::Greeting => self.handle_greeting_gone(dropped.id, dropped.why, now),
            Role::Observing(call) => self.handle_observation_gone(call, dropped.id, now),
            Role::Relaying(call) => self.handle_relay_gone(call, dropped.id, now),
            Role::OldPath(con) => self.handle_old_path_gone(con, &dropped, now),
            Role::RelayClient => self.handle_relay_client_gone(dropped.id, now),
            Role::Relayed(end) => self.handle_relayed_gone(end, dropped.id, now),
            // Such a stream is abandoned, as a rule; one that punched and lost may end before.
            Role::Dialling { .. } | Role::Climbing(_) | Role::Punching(_) => {}
        }
    }

    fn handle_peer_gone(&mut self, id: ConId, why: CloseReason, now: Instant) {
        self.forget_link(id, now);
        let Some(connection) = self.connections.remove(id) else { return };
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

    /// Whether there is a slot for a peer that came to us.
    fn may_enter(&mut self, peer: SocketAddr, now: Instant) -> bool {
        let may = !self.core.is_leaving() && self.admission.check(peer.ip(), now).is_ok();
        self.note_refusals();
        may
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
        if self.is_held_back(peer) {
            return self.hold(ends, now);
        }
        if !self.may_enter(peer, now) {
            return None;
        }
        if self.greets_all() {
            return Some(self.greet_accepted(ends, now));
        }
        let id = self.core.streams.accept(peer, local, Role::Held(ends), now);
        self.enter(id, ends, now);
        Some(id)
    }

    /// A peer that came to us takes its slot.
    fn enter(&mut self, stream: StreamId, ends: Ends, now: Instant) -> ConId {
        let peer = ends.dialler;
        let connection = self.connection(stream, Via::Accepted, peer, ends, Slot::Inbound);
        self.admission.handle_opened(peer.ip());
        self.network.peers.handle_inbound_opened(peer, now);
        let id = self.show(Connection { fresh: true, ..connection }, None, Duration::ZERO);
        self.ends.insert_inbound(ends, id);
        id
    }

    fn note_refusals(&mut self) {
        while let Some(refused) = self.admission.poll_note() {
            self.core.notes.push(Level::Warn, || {
                format!(
                    "refused {}: {:?} (since the last note: {} for want of slots, {} over their address's share, {} banned)",
                    refused.peer, refused.why, refused.full, refused.too_many_from_address, refused.banned
                )
            });
        }
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
        self.has_unread() || self.core.streams.is_relieved() || self.strangers.has_peers()
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
            Some(&Role::Survey(sample)) => self.handle_sample_connected(sample, now),
            Some(&Role::Climbing(call)) => self.handle_rung_connected(call, id, local, now),
            Some(&Role::Punching(call)) => self.handle_punch_connected(call, id, local, now),
            Some(&Role::Observing(call)) => self.handle_observing(call, id, now),
            Some(&Role::Relaying(call)) => self.handle_relay_connected(call, id, now),
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
                self.handle_sample_gone(sample, now);
            }
            Some(&Role::Climbing(call)) => self.handle_rung_dial_failed(call, id, kind, now),
            Some(&Role::Punching(call)) => self.handle_punch_dial_failed(call, id, kind, now),
            Some(&Role::Observing(call)) => {
                self.core.streams.abandon(id);
                self.handle_observation_gone(call, id, now);
            }
            Some(&Role::Relaying(call)) => {
                self.core.streams.abandon(id);
                self.handle_relay_gone(call, id, now);
            }
            _ => {}
        }
        self.route(now);
    }

    fn handle_received(&mut self, slot: usize, len: usize, now: Instant) {
        if self.relay_desk.is_some() && self.pass_on_relayed(slot, len, now) {
            return;
        }
        self.core.streams.handle_received(slot, len);
        let Some(id) = self.core.streams.id_at(slot) else { return };
        match self.core.streams.tag(id) {
            Some(&Role::Server(server)) => self.handle_server_lines(server, id, now),
            Some(&Role::Survey(sample)) => self.handle_sample_lines(sample, id, now),
            Some(Role::Held(_)) => self.handle_held_received(id, now),
            Some(&Role::Peer(con)) => self.handle_peer_received(con, now),
            Some(Role::Greeting) => self.handle_greeting_received(id, now),
            Some(&Role::Observing(call)) => self.handle_observed_lines(call, id, now),
            Some(&Role::Relaying(call)) => self.handle_relay_lines(call, id, now),
            Some(&Role::OldPath(con)) => self.handle_old_path_received(con, id, now),
            Some(Role::RelayClient) => self.handle_relay_client_lines(id, now),
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
        self.handle_known_loaded(outcome, now);
        self.route(now);
    }

    fn handle_saved(&mut self, outcome: io::Result<()>, _now: Instant) {
        self.handle_known_saved(outcome);
    }

    fn handle_interfaces(&mut self, outcome: io::Result<Vec<LanAddress>>, now: Instant) {
        self.handle_listed_interfaces(outcome, now);
        self.route(now);
    }

    fn handle_gateway(&mut self, request: u64, report: gateway::Report, now: Instant) {
        self.handle_gateway_report(request, report, now);
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
        self.advance_servers(now);
        self.route(now);
        self.work_on_reach(now);
        self.route(now);
        self.advance_strangers(now);
        self.route(now);
        self.advance_links(now);
        self.route(now);
        self.advance_calls(now);
        self.route(now);
        self.advance_relays(now);
        self.advance_network(now);
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
            self.network.poll_timeout(self.attempts.has_place(&self.core.config))
        };
        let routing = (!self.core.effects.is_empty()).then_some(Instant::ZERO);
        [
            self.core.streams.poll_timeout(),
            self.admission.poll_timeout(),
            self.attempts.poll_timeout(),
            self.servers.poll_timeout(),
            self.reaching.poll_timeout(),
            self.strangers.poll_timeout(),
            self.links.poll_timeout(),
            self.calls.poll_timeout(),
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
