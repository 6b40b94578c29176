//! The rendezvous servers of a node: a client for each, its stream, and what it tells. What calls need of them is in
//! `signalling`.

mod signalling;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use log::Level;

use super::Node;
use super::attempts::Purpose;
use super::effect::Effect;
use super::network::parse;
use crate::config::Config;
use crate::error::{CloseReason, FailReason, StartError};
use crate::event::{Event, RendezvousNews, ServerFault};
use crate::id::{ServerId, StreamId};
use crate::identity::Key;
use crate::node::streams::StreamFacts;
use crate::proto::peers::Source;
use crate::proto::reach::{self, ServerUp};
use crate::proto::rendezvous::client::{
    self, Advert, AdvertKind, Client, ClientAction, ClientConfig, ClientEvent,
};
use crate::random::Random;
use crate::time::{Instant, soonest};
use crate::wire::address::HostPort;
use crate::wire::rendezvous::{Delivery, Features, Listed, Token, Verdict};

/// Signals that are looked at in a second, from one server: each costs a check of its signature, some 60
/// microseconds; as many as all the calls that may be under way can bring at once.
const SIGNALS_A_SECOND: u32 = 200;

#[derive(Debug)]
struct Server {
    name: Arc<str>,
    target: HostPort,
    client: Client,
    stream: Option<StreamId>,
    /// Its address, while or since it was connected.
    ip: Option<IpAddr>,
    /// The address at which it sees us, as it says, with our listening port.
    seen: Option<SocketAddr>,
    /// It sent a line without end.
    endless: bool,
    /// Why it could not be connected to the last time.
    unreached: ServerFault,
    /// Its end and ours of the connection, while or since there was one.
    ends: Option<(SocketAddr, SocketAddr)>,
    has_left: bool,
    /// It is there only because a UNL names it.
    is_guest: bool,
    /// In which second it was heard last, and how many signals came in it.
    signals: (u64, u32),
}

impl Server {
    /// Whether one more signal is looked at: a server that floods makes us no work.
    fn takes_signal(&mut self, now: Instant) -> bool {
        let second = now.since_origin().as_secs();
        if self.signals.0 != second {
            self.signals = (second, 0);
        }
        self.signals.1 = self.signals.1.saturating_add(1);
        self.signals.1 <= SIGNALS_A_SECOND
    }
}

/// The servers in the order of the configuration, and behind them the guests.
#[derive(Debug)]
pub(super) struct Servers {
    all: BTreeMap<ServerId, Server>,
    /// The number of the next guest.
    next: u64,
    /// How the clients of guests are made.
    config: ClientConfig,
    max_guests: usize,
}

impl Servers {
    pub(super) fn new(
        config: &Config,
        key: Option<&Key>,
        random: &mut Random,
        now: Instant,
    ) -> Result<Self, StartError> {
        let defaults = ClientConfig::default();
        let client_config = ClientConfig {
            bootstrap_every: config.bootstrap_interval,
            bootstrap_soonest: defaults.bootstrap_soonest.min(config.bootstrap_interval),
            advertise_every: config.advertise_interval,
            answer_within: config.answer_timeout,
            key: key.cloned().map(Arc::new),
            ..defaults
        };
        let mut servers = Self {
            all: BTreeMap::new(),
            next: 0,
            config: client_config,
            max_guests: config.links.max_guest_servers,
        };
        for name in &config.rendezvous {
            let server = servers.server(name, parse(name)?, random, now);
            servers.insert(server);
        }
        Ok(servers)
    }

    fn server(&self, name: &str, target: HostPort, random: &mut Random, now: Instant) -> Server {
        let mut client = Client::new(self.config.clone(), random.fork());
        // Every server tells something of how we can be reached.
        client.set_curious(now);
        Server {
            name: name.into(),
            target,
            client,
            stream: None,
            ip: None,
            seen: None,
            endless: false,
            unreached: ServerFault::Unreachable,
            ends: None,
            has_left: false,
            is_guest: false,
            signals: (0, 0),
        }
    }

    fn insert(&mut self, server: Server) -> ServerId {
        let id = ServerId(self.next);
        self.next += 1;
        self.all.insert(id, server);
        id
    }

    /// Its place in the configuration, if it is of our own choice.
    pub(super) fn place_of(&self, id: ServerId) -> Option<usize> {
        self.is_own(id).then(|| usize::try_from(id.0).ok()).flatten()
    }

    fn ids(&self) -> Vec<ServerId> {
        self.all.keys().copied().collect()
    }

    fn ends_of(&self, id: ServerId) -> Option<(SocketAddr, SocketAddr)> {
        self.all.get(&id)?.ends
    }

    fn name_of(&self, id: ServerId) -> Arc<str> {
        self.all.get(&id).map_or_else(|| Arc::from(""), |server| Arc::clone(&server.name))
    }

    fn fault(&self, id: ServerId, why: client::DownWhy) -> ServerFault {
        let server = self.all.get(&id);
        match why {
            client::DownWhy::Unreachable => {
                server.map_or(ServerFault::Unreachable, |server| server.unreached)
            }
            client::DownWhy::Closed if server.is_some_and(|server| server.endless) => ServerFault::Nonsense,
            client::DownWhy::Closed => ServerFault::HungUp,
            client::DownWhy::Slow => ServerFault::Slow,
            client::DownWhy::Nonsense => ServerFault::Nonsense,
        }
    }

    /// It was said goodbye to. A guest is forgotten.
    fn handle_left(&mut self, id: ServerId) {
        let guest = self.all.get_mut(&id).is_some_and(|server| {
            server.has_left = true;
            server.is_guest
        });
        if guest {
            self.all.remove(&id);
        }
    }

    pub(super) fn have_left(&self) -> bool {
        self.all.values().all(|server| server.has_left || server.is_guest)
    }

    /// The addresses at which servers say that they see us: one for each at most.
    pub(super) fn seen(&self) -> Vec<SocketAddr> {
        self.all.values().filter(|server| !server.is_guest).filter_map(|server| server.seen).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.all.values().fold(None, |earliest, server| soonest(earliest, server.client.poll_timeout()))
    }
}

impl Node {
    /// Asks all servers for nodes now.
    pub(crate) fn bootstrap(&mut self, now: Instant) {
        for server in self.servers.all.values_mut().filter(|server| !server.is_guest) {
            server.client.bootstrap(now);
        }
    }

    /// Registers with all servers now.
    pub(crate) fn advertise(&mut self, now: Instant) {
        for id in self.servers.ids() {
            let advert = self.advert(id);
            let Some(server) = self.servers.all.get_mut(&id) else { continue };
            server.client.set_advert(advert, now);
            server.client.advertise(now);
        }
    }

    /// Says to all servers what there is to register by itself.
    pub(super) fn set_adverts(&mut self, now: Instant) {
        for id in self.servers.ids() {
            let always = |advert: &Advert| advert.kind == AdvertKind::Simultaneous;
            let advert = self.advert(id).filter(|advert| self.core.config.advertise || always(advert));
            if let Some(server) = self.servers.all.get_mut(&id) {
                server.client.set_advert(advert, now);
            }
        }
    }

    /// Takes back all registrations.
    pub(super) fn leave_servers(&mut self, now: Instant) {
        for server in self.servers.all.values_mut() {
            server.client.leave(now);
        }
    }

    pub(super) fn advance_servers(&mut self, now: Instant) {
        let wanted_by_us = if self.core.config.bootstrap { self.network.peers.wanted() } else { 0 };
        for id in self.servers.ids() {
            let Some(server) = self.servers.all.get_mut(&id) else { continue };
            let wanted = if server.is_guest { 0 } else { wanted_by_us };
            server.client.set_wanted(wanted, now);
            server.client.handle_timeout(now);
            self.advance_server(id, now);
        }
    }

    pub(super) fn handle_server_connected(
        &mut self,
        place: ServerId,
        id: StreamId,
        facts: StreamFacts,
        now: Instant,
    ) {
        let Some(server) = self.servers.all.get_mut(&place) else { return };
        server.stream = Some(id);
        server.ip = Some(facts.peer.ip());
        // A dial that succeeded has a local end; were it unknown, the client would only ask with a useless port.
        let local = facts.local.unwrap_or(facts.peer);
        server.ends = Some((facts.peer, local));
        server.client.handle_connected(local, facts.peer, now);
        self.advance_server(place, now);
    }

    pub(super) fn handle_server_unreached(&mut self, place: ServerId, why: &FailReason, now: Instant) {
        let Some(server) = self.servers.all.get_mut(&place) else { return };
        server.unreached = match why {
            FailReason::NoAddress(_) => ServerFault::NoAddress,
            FailReason::Unreachable(tried) if is_want_of_ports(tried) => ServerFault::NoLocalPort,
            _ => ServerFault::Unreachable,
        };
        let name = &server.name;
        self.core.notes.push(Level::Debug, || format!("rendezvous server {name}: {why}"));
        server.client.handle_disconnected(now);
        self.advance_server(place, now);
    }

    pub(super) fn handle_server_lines(&mut self, place: ServerId, id: StreamId, now: Instant) {
        while let Some(line) = self.core.streams.next_line(id) {
            // A server that was hung up on has nothing to say any more.
            if let Some(server) = self.servers.all.get_mut(&place).filter(|server| server.stream == Some(id))
            {
                server.client.handle_line(line.as_bytes(), now);
                self.advance_server(place, now);
            }
        }
    }

    pub(super) fn handle_server_gone(
        &mut self,
        place: ServerId,
        id: StreamId,
        why: CloseReason,
        now: Instant,
    ) {
        let Some(server) = self.servers.all.get_mut(&place) else { return };
        if server.stream == Some(id) {
            server.stream = None;
            server.endless = why == CloseReason::LineTooLong;
            server.client.handle_disconnected(now);
            self.advance_server(place, now);
        }
    }

    /// Carries out what a client wants and passes on what it tells.
    fn advance_server(&mut self, place: ServerId, now: Instant) {
        while let Some(action) =
            self.servers.all.get_mut(&place).and_then(|server| server.client.poll_action())
        {
            self.act_for_server(place, action, now);
        }
        while let Some(event) = self.servers.all.get_mut(&place).and_then(|server| server.client.poll_event())
        {
            self.handle_server_event(place, event, now);
        }
    }

    fn act_for_server(&mut self, place: ServerId, action: ClientAction, now: Instant) {
        let Some(server) = self.servers.all.get_mut(&place) else { return };
        match action {
            ClientAction::Dial => {
                let purpose = Purpose::Server { server: place, is_foreign: server.is_guest };
                let target = server.target.clone();
                self.core.effects.push(Effect::Attempt { purpose, target });
            }
            ClientAction::Send(bytes) => {
                if let Some(id) = server.stream
                    && let Err(why) = self.core.streams.queue_raw(id, &bytes)
                {
                    let name = &server.name;
                    self.core.notes.push(Level::Warn, || format!("rendezvous server {name}: {why}"));
                }
            }
            ClientAction::Hangup => {
                if let Some(id) = server.stream.take() {
                    self.core.streams.close(id, now);
                }
                self.core.effects.push(Effect::HangUp(place));
            }
        }
    }

    fn handle_server_event(&mut self, place: ServerId, event: ClientEvent, now: Instant) {
        let news = match event {
            ClientEvent::Up { kind, seen, rtt, features } => {
                self.learn_seen(place, seen);
                self.handle_visited(place);
                if let Some((addr, local)) = self.servers.ends_of(place)
                    && let Some(own) = self.servers.place_of(place)
                {
                    let (can_probe, observes) =
                        (features.has(Features::PROBE), features.has(Features::OBSERVERS));
                    let up = ServerUp { addr, local, kind, rtt, seen, can_probe, observes };
                    self.reaching.finder_mut().handle_server_up(own, up, now);
                }
                self.handle_server_met(now);
                RendezvousNews::Up { kind, seen }
            }
            ClientEvent::Rtt(rtt) => {
                if let Some(own) = self.servers.place_of(place) {
                    self.reaching.finder_mut().handle_rtt(own, rtt);
                }
                return;
            }
            ClientEvent::Observers(observers) => {
                if let Some(own) = self.servers.place_of(place) {
                    self.reaching.finder_mut().handle_observers(own, observers, now);
                }
                return;
            }
            ClientEvent::Proven => {
                self.handle_visited(place);
                self.handle_visited(place);
                self.handle_server_ready(place, now);
                self.refresh_unl();
                return;
            }
            ClientEvent::Denied(why) => {
                let name = self.servers.name_of(place);
                self.core.notes.push(Level::Warn, || {
                    format!("rendezvous server {name} does not take our proof: {why:?}")
                });
                self.handle_server_useless(place, now);
                return;
            }
            ClientEvent::Signaled { to, outcome } => {
                let there = match outcome {
                    client::Outcome::Told(Delivery::Delivered) => Some(true),
                    client::Outcome::Told(Delivery::Stored) => Some(false),
                    client::Outcome::Told(Delivery::Full | Delivery::Busy) => None,
                    // That it is gone is told besides.
                    client::Outcome::Lost => return,
                };
                self.handle_signaled(place, to, there, now);
                return;
            }
            ClientEvent::Signal(incoming) => {
                if self.servers.all.get_mut(&place).is_some_and(|server| server.takes_signal(now)) {
                    self.handle_signal(place, &incoming, now);
                }
                return;
            }
            ClientEvent::Probed { port, verdict } => {
                let was_met = self.conclude_probe(place, port, now);
                let outcome = match probe_outcome(verdict) {
                    reach::ProbeOutcome::No if was_met => reach::ProbeOutcome::TooFar,
                    outcome => outcome,
                };
                if let Some(own) = self.servers.place_of(place) {
                    self.reaching.finder_mut().handle_probed(own, port, outcome, now);
                }
                return;
            }
            ClientEvent::Nodes(nodes) => RendezvousNews::Nodes(self.learn_nodes(place, &nodes, now)),
            ClientEvent::Advertised => RendezvousNews::Advertised,
            ClientEvent::Refused => RendezvousNews::Refused,
            ClientEvent::Down { why, retry_in } => {
                self.expect_no_probe(place, now);
                if let Some(own) = self.servers.place_of(place) {
                    self.reaching.finder_mut().handle_server_down(own, now);
                }
                self.handle_server_lost(place, now);
                self.refresh_unl();
                RendezvousNews::Down { why: self.servers.fault(place, why), retry_in }
            }
            ClientEvent::Left => {
                self.servers.handle_left(place);
                return;
            }
            ClientEvent::PredictionSet => {
                self.handle_announced(place, now);
                return;
            }
            ClientEvent::Fight { ip, ports, ntp } => {
                self.handle_fight(place, ip, &ports, ntp, now);
                return;
            }
            ClientEvent::Challenge { ip, ports } => {
                self.handle_challenge(place, ip, &ports, now);
                return;
            }
            ClientEvent::Reconnect => {
                self.handle_reconnect(place, now);
                return;
            }
            // Ports are shown on connections of their own.
            ClientEvent::Remote { .. } => return,
        };
        let server = self.servers.name_of(place);
        if !self.servers.is_own(place) {
            self.core.notes.push(Level::Debug, || format!("rendezvous server {server}, a guest, {news}"));
            return;
        }
        self.core.notes.push(Level::Info, || format!("rendezvous server {server} {news}"));
        self.events.push(Event::Rendezvous { server, news });
    }

    /// The server sees us at this address: with our listening port it is ours, and no peer's.
    fn learn_seen(&mut self, place: ServerId, seen: Option<SocketAddr>) {
        let port = self.core.listening.map(|listening| listening.port());
        if let Some(server) = self.servers.all.get_mut(&place) {
            server.seen = seen.zip(port).map(|(seen, port)| SocketAddr::new(seen.ip(), port));
        }
        self.tell_own();
    }

    fn learn_nodes(&mut self, place: ServerId, nodes: &[Listed], now: Instant) -> usize {
        let Some(server) = self.servers.all.get(&place).and_then(|server| server.ip) else { return 0 };
        for node in nodes {
            let source = Source::Rendezvous { newer: node.newer, server };
            self.network.peers.handle_learned(node.addr, source, now);
        }
        nodes.len()
    }

    /// Asks a server to connect to us; from where it will come, unless it can not be asked.
    pub(super) fn ask_server_for_probe(
        &mut self,
        place: ServerId,
        port: u16,
        nonce: Token,
        now: Instant,
    ) -> Option<IpAddr> {
        let server = self.servers.all.get_mut(&place)?;
        let asked = server.client.probe(port, nonce, now);
        let ip = server.ip.filter(|_| asked);
        self.advance_server(place, now);
        ip
    }

    /// Its connection has a local end that is no more, which neither end would notice for long.
    pub(super) fn reconnect_server(&mut self, place: ServerId, now: Instant) {
        let Some(server) = self.servers.all.get_mut(&place) else { return };
        if let Some(id) = server.stream.take() {
            self.core.streams.abandon(id);
            server.client.handle_disconnected(now);
            self.advance_server(place, now);
        }
    }

    fn advert(&self, place: ServerId) -> Option<Advert> {
        let own = self.servers.place_of(place)?;
        let max_inbound = u32::try_from(self.core.config.max_inbound).unwrap_or(u32::MAX);
        if self.waits_for_candidates() {
            // pyp2p says no port here.
            return Some(Advert { kind: AdvertKind::Simultaneous, port: 0, max_inbound });
        }
        let port = self.reaching.finder().advertised_port(own)?;
        Some(Advert { kind: AdvertKind::Passive, port, max_inbound })
    }
}

/// Whether that was nobody's fault but this machine's.
fn is_want_of_ports(tried: &[(SocketAddr, io::ErrorKind)]) -> bool {
    !tried.is_empty() && tried.iter().all(|(_, kind)| *kind == io::ErrorKind::AddrNotAvailable)
}

fn probe_outcome(verdict: Option<Verdict>) -> reach::ProbeOutcome {
    match verdict {
        Some(Verdict::Yes) => reach::ProbeOutcome::Yes,
        Some(Verdict::No) => reach::ProbeOutcome::No,
        Some(Verdict::Later) => reach::ProbeOutcome::Busy,
        None => reach::ProbeOutcome::Unanswered,
    }
}
