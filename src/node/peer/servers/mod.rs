//! The rendezvous servers of a node: a client for each, and its stream. What clients tell is in `events`, what calls need of
//! them in `signalling`.

mod events;
mod signalling;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use log::Level;

use super::attempts::Purpose;
use super::core::Core;
use super::effect::{Effect, ServerSays};
use super::network::parse;
use crate::address::HostPort;
use crate::config::Config;
use crate::error::{CloseReason, FailReason, StartError};
use crate::event::ServerFault;
use crate::id::{ServerId, StreamId};
use crate::identity::Key;
use crate::node::streams::StreamFacts;
use crate::proto::reach::ProbeOutcome;
use crate::proto::rendezvous::client::{Advert, AdvertKind, Client, ClientAction, ClientConfig};
use crate::proto::rendezvous::list::ServerList;
use crate::random::Random;
use crate::time::{Instant, soonest};
use crate::wire::rendezvous::{Incarnation, Token};

#[derive(Debug)]
pub(super) struct Servers {
    all: ServerList<Server>,
    /// How the clients of foreign servers are made.
    config: ClientConfig,
}

#[derive(Debug)]
struct Server {
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
}

/// What there is to register at the servers of our own choice.
#[derive(Debug)]
pub(super) struct Adverts {
    /// The port at each, in the order of the configuration; `None`: nobody could connect to it.
    pub(super) ports: Vec<Option<u16>>,
    /// Others are to punch to us, as pyp2p does, whatever the port.
    pub(super) simultaneous: bool,
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
            incarnation: Some(Incarnation::from_number(random.next_u64())),
            ..defaults
        };
        let mut all = ServerList::new(config.links.max_guest_servers);
        for name in &config.rendezvous {
            all.insert_own(name, Server::new(parse(name)?, &client_config, random, now));
        }
        Ok(Self { all, config: client_config })
    }

    /// Whether all of our own choice were said goodbye to.
    pub(super) fn have_left(&self) -> bool {
        self.all.have_left()
    }

    /// Its place in the configuration, if it is of our own choice.
    pub(super) fn place_of(&self, id: ServerId) -> Option<usize> {
        self.all.place_of(id)
    }

    /// How many are of our own choice.
    pub(super) fn own_count(&self) -> usize {
        self.all.own().count()
    }

    /// The addresses at which servers of our own choice say that they see us: one for each at most.
    pub(super) fn seen(&self) -> Vec<SocketAddr> {
        self.all.own().filter_map(|(_, _, server)| server.seen).collect()
    }

    /// The names of those through which we take signals.
    pub(super) fn signalling(&self) -> impl Iterator<Item = String> + '_ {
        let proven = self.all.own().filter(|(_, _, server)| server.client.is_proven());
        proven.map(|(_, name, _)| name.to_string())
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.all.iter().fold(None, |earliest, (_, server)| soonest(earliest, server.client.poll_timeout()))
    }

    /// `wanted`: how many nodes the p2p network would like to hear of.
    pub(super) fn handle_timeout(&mut self, core: &mut Core, wanted: usize, now: Instant) {
        for id in self.all.ids() {
            let wanted = if self.all.is_own(id) { wanted } else { 0 };
            if let Some(server) = self.all.get_mut(id) {
                server.client.set_wanted(wanted, now);
                server.client.handle_timeout(now);
                self.advance(core, id, now);
            }
        }
    }

    /// Asks all servers of our own choice for nodes now.
    pub(super) fn bootstrap(&mut self, now: Instant) {
        self.each(|server, is_own| {
            if is_own {
                server.client.bootstrap(now);
            }
        });
    }

    /// Registers with all servers of our own choice now.
    pub(super) fn advertise(&mut self, core: &Core, adverts: &Adverts, now: Instant) {
        for id in self.all.ids() {
            let advert = self.advert(core, adverts, id);
            if let Some(server) = self.all.get_mut(id) {
                server.client.set_advert(advert, now);
                server.client.advertise(now);
            }
        }
    }

    /// Says to all servers what there is to register by itself.
    pub(super) fn set_adverts(&mut self, core: &Core, adverts: &Adverts, now: Instant) {
        for id in self.all.ids() {
            let always = |advert: &Advert| advert.kind == AdvertKind::Simultaneous;
            let advert =
                self.advert(core, adverts, id).filter(|advert| core.config.advertise || always(advert));
            if let Some(server) = self.all.get_mut(id) {
                server.client.set_advert(advert, now);
            }
        }
    }

    /// Takes back all registrations.
    pub(super) fn leave(&mut self, now: Instant) {
        self.each(|server, _| server.client.leave(now));
    }

    pub(super) fn handle_connected(
        &mut self,
        core: &mut Core,
        id: ServerId,
        stream: StreamId,
        facts: StreamFacts,
        now: Instant,
    ) {
        let Some(server) = self.all.get_mut(id) else { return };
        server.stream = Some(stream);
        server.ip = Some(facts.peer.ip());
        // A dial that succeeded has a local end; were it unknown, the client would only ask with a useless port.
        let local = facts.local.unwrap_or(facts.peer);
        server.ends = Some((facts.peer, local));
        server.client.handle_connected(local, facts.peer, now);
        self.advance(core, id, now);
    }

    pub(super) fn handle_unreached(&mut self, core: &mut Core, id: ServerId, why: &FailReason, now: Instant) {
        let name = self.all.name_of(id);
        let Some(server) = self.all.get_mut(id) else { return };
        server.unreached = match why {
            FailReason::NoAddress(_) => ServerFault::NoAddress,
            FailReason::Unreachable(tried) if is_want_of_ports(tried) => ServerFault::NoLocalPort,
            _ => ServerFault::Unreachable,
        };
        core.notes.push(Level::Debug, || format!("rendezvous server {name}: {why}"));
        server.client.handle_disconnected(now);
        self.advance(core, id, now);
    }

    /// Handles the next line that has come from a server; whether there was one.
    pub(super) fn handle_line(
        &mut self,
        core: &mut Core,
        id: ServerId,
        stream: StreamId,
        now: Instant,
    ) -> bool {
        let Some(line) = core.streams.next_line(stream) else { return false };
        // A server that was hung up on has nothing to say any more.
        if let Some(server) = self.all.get_mut(id).filter(|server| server.stream == Some(stream)) {
            server.client.handle_line(line.as_bytes(), now);
            self.advance(core, id, now);
        }
        true
    }

    pub(super) fn handle_gone(
        &mut self,
        core: &mut Core,
        id: ServerId,
        stream: StreamId,
        why: CloseReason,
        now: Instant,
    ) {
        let Some(server) = self.all.get_mut(id) else { return };
        if server.stream == Some(stream) {
            server.stream = None;
            server.endless = why == CloseReason::LineTooLong;
            server.client.handle_disconnected(now);
            self.advance(core, id, now);
        }
    }

    /// Asks a server to connect to us.
    pub(super) fn ask_for_probe(
        &mut self,
        core: &mut Core,
        id: ServerId,
        port: u16,
        nonce: Token,
        now: Instant,
    ) {
        let Some(server) = self.all.get_mut(id) else { return };
        let asked = server.client.probe(port, nonce, now);
        core.effects.push(match server.ip.filter(|_| asked) {
            Some(ip) => Effect::ProbeAsked { server: id, port, ip, nonce },
            None => {
                let says = ServerSays::Probed { port, outcome: ProbeOutcome::Unanswered };
                Effect::Reach { server: id, says }
            }
        });
        self.advance(core, id, now);
    }

    /// Its connection has a local end that is no more, which neither end would notice for long.
    pub(super) fn reconnect(&mut self, core: &mut Core, id: ServerId, now: Instant) {
        let Some(server) = self.all.get_mut(id) else { return };
        if let Some(stream) = server.stream.take() {
            core.streams.abandon(stream);
            server.client.handle_disconnected(now);
            self.advance(core, id, now);
        }
    }

    fn each(&mut self, mut act: impl FnMut(&mut Server, bool)) {
        for id in self.all.ids() {
            let is_own = self.all.is_own(id);
            if let Some(server) = self.all.get_mut(id) {
                act(server, is_own);
            }
        }
    }

    fn advert(&self, core: &Core, adverts: &Adverts, id: ServerId) -> Option<Advert> {
        let place = self.all.place_of(id)?;
        let max_inbound = u32::try_from(core.config.max_inbound).unwrap_or(u32::MAX);
        if adverts.simultaneous {
            // pyp2p says no port here.
            return Some(Advert { kind: AdvertKind::Simultaneous, port: 0, max_inbound });
        }
        let port = adverts.ports.get(place).copied().flatten()?;
        Some(Advert { kind: AdvertKind::Passive, port, max_inbound })
    }

    /// Carries out what a client wants and passes on what it tells.
    fn advance(&mut self, core: &mut Core, id: ServerId, now: Instant) {
        while let Some(action) = self.all.get_mut(id).and_then(|server| server.client.poll_action()) {
            self.act(core, id, action, now);
        }
        while let Some(event) = self.all.get_mut(id).and_then(|server| server.client.poll_event()) {
            events::handle(&mut self.all, core, id, event, now);
        }
    }

    fn act(&mut self, core: &mut Core, id: ServerId, action: ClientAction, now: Instant) {
        let (name, is_foreign) = (self.all.name_of(id), !self.all.is_own(id));
        let Some(server) = self.all.get_mut(id) else { return };
        match action {
            ClientAction::Dial => {
                let (purpose, target) = (Purpose::Server { server: id, is_foreign }, server.target.clone());
                core.effects.push(Effect::Attempt { purpose, target });
            }
            ClientAction::Send(bytes) => {
                if let Some(stream) = server.stream
                    && let Err(why) = core.streams.queue_raw(stream, &bytes)
                {
                    core.notes.push(Level::Warn, || format!("rendezvous server {name}: {why}"));
                }
            }
            ClientAction::Hangup => {
                if let Some(stream) = server.stream.take() {
                    core.streams.close(stream, now);
                }
                core.effects.push(Effect::HangUp(id));
            }
        }
    }
}

impl Server {
    fn new(target: HostPort, config: &ClientConfig, random: &mut Random, now: Instant) -> Self {
        let mut client = Client::new(config.clone(), random.fork());
        // Every server tells something of how we can be reached.
        client.set_curious(now);
        Self {
            target,
            client,
            stream: None,
            ip: None,
            seen: None,
            endless: false,
            unreached: ServerFault::Unreachable,
            ends: None,
        }
    }
}

/// Whether that was nobody's fault but this machine's.
fn is_want_of_ports(tried: &[(SocketAddr, io::ErrorKind)]) -> bool {
    !tried.is_empty() && tried.iter().all(|(_, kind)| *kind == io::ErrorKind::AddrNotAvailable)
}
