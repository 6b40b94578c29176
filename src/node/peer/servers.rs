//! The rendezvous servers of a node: a client for each, its stream, and what it tells.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use log::Level;

use super::Node;
use super::attempts::Purpose;
use super::network::parse;
use crate::config::Config;
use crate::error::{CloseReason, FailReason, StartError};
use crate::event::{Event, RendezvousNews, ServerFault, ServerKind};
use crate::id::ConId;
use crate::node::streams::StreamFacts;
use crate::proto::peers::Source;
use crate::proto::reach::{self, ServerUp};
use crate::proto::rendezvous::client::{
    self, Advert, AdvertKind, Client, ClientAction, ClientConfig, ClientEvent,
};
use crate::random::Random;
use crate::time::{Instant, soonest};
use crate::wire::address::HostPort;
use crate::wire::rendezvous::{Features, Listed, Token, Verdict};

#[derive(Debug)]
struct Server {
    name: Arc<str>,
    target: HostPort,
    client: Client,
    /// The attempt to connect that is under way.
    attempt: Option<u64>,
    stream: Option<ConId>,
    /// Its address, while or since it was connected.
    ip: Option<IpAddr>,
    /// The address at which it sees us, as it says, with our listening port.
    seen: Option<SocketAddr>,
    /// It sent a line without end.
    endless: bool,
    /// Its name could not be looked up the last time.
    nameless: bool,
    /// Its end and ours of the connection, while or since there was one.
    ends: Option<(SocketAddr, SocketAddr)>,
    has_left: bool,
}

/// The servers in the order of the configuration.
#[derive(Debug)]
pub(super) struct Servers(Vec<Server>);

impl Servers {
    pub(super) fn new(config: &Config, random: &mut Random, now: Instant) -> Result<Self, StartError> {
        let defaults = ClientConfig::default();
        let client_config = ClientConfig {
            bootstrap_every: config.bootstrap_interval,
            bootstrap_soonest: defaults.bootstrap_soonest.min(config.bootstrap_interval),
            advertise_every: config.advertise_interval,
            answer_within: config.answer_timeout,
            ..defaults
        };
        let server = |name: &String| {
            let mut client = Client::new(client_config.clone(), random.fork());
            // Every server tells something of how we can be reached.
            client.set_curious(now);
            Ok(Server {
                name: name.as_str().into(),
                target: parse(name)?,
                client,
                attempt: None,
                stream: None,
                ip: None,
                seen: None,
                endless: false,
                nameless: false,
                ends: None,
                has_left: false,
            })
        };
        Ok(Self(config.rendezvous.iter().map(server).collect::<Result<_, _>>()?))
    }

    pub(super) fn have_left(&self) -> bool {
        self.0.iter().all(|server| server.has_left)
    }

    /// The addresses at which servers say that they see us: one for each at most.
    pub(super) fn seen(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(|server| server.seen).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.iter().fold(None, |earliest, server| soonest(earliest, server.client.poll_timeout()))
    }
}

impl Node {
    /// Asks all servers for nodes now.
    pub(crate) fn bootstrap(&mut self, now: Instant) {
        for server in &mut self.servers.0 {
            server.client.bootstrap(now);
        }
    }

    /// Registers with all servers now.
    pub(crate) fn advertise(&mut self, now: Instant) {
        for place in 0..self.servers.0.len() {
            let advert = self.advert(place);
            let client = &mut self.servers.0[place].client;
            client.set_advert(advert, now);
            client.advertise(now);
        }
    }

    /// Says to all servers what there is to register by itself.
    pub(super) fn set_adverts(&mut self, now: Instant) {
        for place in 0..self.servers.0.len() {
            let advert = self.advert(place).filter(|_| self.config.advertise);
            self.servers.0[place].client.set_advert(advert, now);
        }
    }

    /// Takes back all registrations.
    pub(super) fn leave_servers(&mut self, now: Instant) {
        for server in &mut self.servers.0 {
            server.client.leave(now);
        }
    }

    pub(super) fn advance_servers(&mut self, now: Instant) {
        let wanted = if self.config.bootstrap { self.network.peers.wanted() } else { 0 };
        for place in 0..self.servers.0.len() {
            let client = &mut self.servers.0[place].client;
            client.set_wanted(wanted, now);
            client.handle_timeout(now);
            self.advance_server(place, now);
        }
    }

    pub(super) fn handle_server_connected(
        &mut self,
        place: usize,
        id: ConId,
        facts: StreamFacts,
        now: Instant,
    ) {
        let Some(server) = self.servers.0.get_mut(place) else { return };
        server.attempt = None;
        server.stream = Some(id);
        server.ip = Some(facts.peer.ip());
        // A dial that succeeded has a local end; were it unknown, the client would only ask with a useless port.
        let local = facts.local.unwrap_or(facts.peer);
        server.ends = Some((facts.peer, local));
        server.client.handle_connected(local, facts.peer, now);
        self.advance_server(place, now);
    }

    pub(super) fn handle_server_unreached(&mut self, place: usize, why: &FailReason, now: Instant) {
        let Some(server) = self.servers.0.get_mut(place) else { return };
        server.attempt = None;
        server.nameless = matches!(why, FailReason::NoAddress(_));
        let name = &server.name;
        self.notes.push(Level::Debug, || format!("rendezvous server {name}: {why}"));
        server.client.handle_disconnected(now);
        self.advance_server(place, now);
    }

    pub(super) fn handle_server_lines(&mut self, place: usize, id: ConId, now: Instant) {
        while let Some(line) = self.streams.next_line(id) {
            // A server that was hung up on has nothing to say any more.
            if let Some(server) = self.servers.0.get_mut(place).filter(|server| server.stream == Some(id)) {
                server.client.handle_line(line.as_bytes(), now);
                self.advance_server(place, now);
            }
        }
    }

    pub(super) fn handle_server_gone(&mut self, place: usize, id: ConId, why: CloseReason, now: Instant) {
        let Some(server) = self.servers.0.get_mut(place) else { return };
        if server.stream == Some(id) {
            server.stream = None;
            server.endless = why == CloseReason::LineTooLong;
            server.client.handle_disconnected(now);
            self.advance_server(place, now);
        }
    }

    /// Carries out what a client wants and passes on what it tells.
    fn advance_server(&mut self, place: usize, now: Instant) {
        while let Some(action) = self.servers.0[place].client.poll_action() {
            self.act_for_server(place, action, now);
        }
        while let Some(event) = self.servers.0[place].client.poll_event() {
            self.handle_server_event(place, event, now);
        }
    }

    fn act_for_server(&mut self, place: usize, action: ClientAction, now: Instant) {
        let server = &mut self.servers.0[place];
        match action {
            ClientAction::Dial => {
                let target = server.target.clone();
                let serial = self.begin_attempt(Purpose::Server(place), &target, now);
                // It may have failed on the spot; then the client knows already.
                if self.is_under_way(serial) {
                    self.servers.0[place].attempt = Some(serial);
                }
            }
            ClientAction::Send(bytes) => {
                if let Some(id) = server.stream
                    && let Err(why) = self.streams.queue_raw(id, &bytes)
                {
                    let name = &server.name;
                    self.notes.push(Level::Warn, || format!("rendezvous server {name}: {why}"));
                }
            }
            ClientAction::Hangup => {
                let attempt = server.attempt.take();
                if let Some(id) = server.stream.take() {
                    self.streams.close(id, now);
                }
                if let Some(serial) = attempt {
                    self.drop_attempt(serial);
                }
            }
        }
    }

    fn handle_server_event(&mut self, place: usize, event: ClientEvent, now: Instant) {
        let news = match event {
            ClientEvent::Up { kind, seen, rtt, features } => {
                self.learn_seen(place, seen);
                let kind = match kind {
                    client::ServerKind::P2poll => ServerKind::P2poll,
                    client::ServerKind::Pyp2p => ServerKind::Pyp2p,
                };
                if let Some((addr, local)) = self.servers.0[place].ends {
                    let (can_probe, observes) =
                        (features.has(Features::PROBE), features.has(Features::OBSERVERS));
                    let up = ServerUp { addr, local, kind, rtt, seen, can_probe, observes };
                    self.reaching.finder_mut().handle_server_up(place, up, now);
                }
                RendezvousNews::Up { kind, seen }
            }
            ClientEvent::Rtt(rtt) => {
                self.reaching.finder_mut().handle_rtt(place, rtt);
                return;
            }
            ClientEvent::Observers(observers) => {
                self.reaching.finder_mut().handle_observers(place, observers, now);
                return;
            }
            ClientEvent::Probed { port, verdict } => {
                let was_met = self.conclude_probe(place, port, now);
                let verdict = match reach_verdict(verdict) {
                    reach::Verdict::No if was_met => reach::Verdict::TooFar,
                    verdict => verdict,
                };
                self.reaching.finder_mut().handle_probed(place, port, verdict, now);
                return;
            }
            ClientEvent::Nodes(nodes) => RendezvousNews::Nodes(self.learn_nodes(place, &nodes, now)),
            ClientEvent::Advertised => RendezvousNews::Advertised,
            ClientEvent::Refused => RendezvousNews::Refused,
            ClientEvent::Down { why, retry_in } => {
                self.expect_no_probe(place, now);
                self.reaching.finder_mut().handle_server_down(place, now);
                RendezvousNews::Down { why: fault(why, &self.servers.0[place]), retry_in }
            }
            ClientEvent::Left => {
                self.servers.0[place].has_left = true;
                return;
            }
            // Nobody has a key that a client is given, yet.
            ClientEvent::Proven
            | ClientEvent::Denied(_)
            | ClientEvent::Signaled { .. }
            | ClientEvent::Signal(_) => return,
            // Punching is not built yet: nobody asks for these, and what comes unasked is left alone.
            ClientEvent::Remote { .. }
            | ClientEvent::PredictionSet
            | ClientEvent::Challenge { .. }
            | ClientEvent::Fight { .. }
            | ClientEvent::Reconnect => return,
        };
        let server = Arc::clone(&self.servers.0[place].name);
        self.notes.push(Level::Info, || format!("rendezvous server {server} {news}"));
        self.events.push(Event::Rendezvous { server, news });
    }

    /// The server sees us at this address: with our listening port it is ours, and no peer's.
    fn learn_seen(&mut self, place: usize, seen: Option<SocketAddr>) {
        let port = self.listening.map(|listening| listening.port());
        self.servers.0[place].seen = seen.zip(port).map(|(seen, port)| SocketAddr::new(seen.ip(), port));
        self.tell_own();
    }

    fn learn_nodes(&mut self, place: usize, nodes: &[Listed], now: Instant) -> usize {
        let Some(server) = self.servers.0[place].ip else { return 0 };
        for node in nodes {
            let source = Source::Rendezvous { newer: node.newer, server };
            self.network.peers.handle_learned(node.addr, source, now);
        }
        nodes.len()
    }

    /// Asks a server to connect to us; from where it will come, unless it can not be asked.
    pub(super) fn ask_server_for_probe(
        &mut self,
        place: usize,
        port: u16,
        nonce: Token,
        now: Instant,
    ) -> Option<IpAddr> {
        let server = self.servers.0.get_mut(place)?;
        let asked = server.client.probe(port, nonce, now);
        let ip = server.ip.filter(|_| asked);
        self.advance_server(place, now);
        ip
    }

    /// Its connection has a local end that is no more, which neither end would notice for long.
    pub(super) fn reconnect_server(&mut self, place: usize, now: Instant) {
        let Some(server) = self.servers.0.get_mut(place) else { return };
        if let Some(id) = server.stream.take() {
            self.streams.abandon(id);
            server.client.handle_disconnected(now);
            self.advance_server(place, now);
        }
    }

    fn advert(&self, place: usize) -> Option<Advert> {
        let port = self.reaching.finder().advertised_port(place)?;
        let max_inbound = u32::try_from(self.config.max_inbound).unwrap_or(u32::MAX);
        Some(Advert { kind: AdvertKind::Passive, port, max_inbound })
    }
}

fn reach_verdict(verdict: Option<Verdict>) -> reach::Verdict {
    match verdict {
        Some(Verdict::Yes) => reach::Verdict::Yes,
        Some(Verdict::No) => reach::Verdict::No,
        Some(Verdict::Later) => reach::Verdict::Busy,
        None => reach::Verdict::Unanswered,
    }
}

fn fault(why: client::DownWhy, server: &Server) -> ServerFault {
    match why {
        client::DownWhy::Unreachable if server.nameless => ServerFault::NoAddress,
        client::DownWhy::Unreachable => ServerFault::Unreachable,
        client::DownWhy::Closed if server.endless => ServerFault::Nonsense,
        client::DownWhy::Closed => ServerFault::HungUp,
        client::DownWhy::Slow => ServerFault::Slow,
        client::DownWhy::Nonsense => ServerFault::Nonsense,
    }
}
