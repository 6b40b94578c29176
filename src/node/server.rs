//! The server behind [`Rendezvous`](crate::Rendezvous): the rendezvous machine on streams of lines.

mod backlog;
pub(crate) mod figures;
mod log;
mod metrics;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use self::log::ServerLog;
use crate::config::RendezvousConfig;
use crate::id::StreamId;
use crate::node::relays::{Place, RelayEndpoint, Relays};
use crate::node::streams::Streams;
use crate::node::{Action, Host};
use crate::note::Notes;
use crate::proto::rendezvous::server::{ClientId, Limits, ProbeId, Server, ServerAction};
use crate::proto::stream::End;
use crate::random::Random;
use crate::time::{Instant, soonest};
use crate::wire::foreign::{self, Foreign, Likeness, likeness};
use crate::wire::line::find_line;
use crate::wire::probe;
use crate::wire::relay::RelayLimits;
use crate::wire::rendezvous::Features;
use backlog::{Account, Backlog};
use figures::Figures;
use metrics::{Asked, Metrics};

/// Answers are collected up to this before they are queued on the stream: it is what a client that does not read can
/// have beyond its share, with the answer that comes last.
const BATCH: usize = 4 << 10;

/// How much is read from a client at once: what has been read and can not be answered yet is held.
const READ: usize = 4 << 10;

/// What a stream is for.
#[derive(Debug)]
pub(crate) enum ServerRole {
    /// Somebody asks.
    Client(Account),
    /// We ask whether a client's port can be reached. Nobody can ask us anything here.
    Probe(ProbeId),
    /// What it says is for the other end of a relay.
    Relay(RelayEndpoint),
    /// Somebody asks for the figures.
    Metrics(Asked),
}

/// A rendezvous server.
#[derive(Debug)]
pub(crate) struct ServerNode {
    streams: Streams<ServerRole>,
    server: Server,
    log: ServerLog,
    metrics: Metrics,
    accepted: u64,
    refused: u64,
    relayed_bytes: u64,
    /// Answers on their way to a stream.
    answers: Vec<u8>,
    backlog: Backlog,
    /// Clients whose requests waited until they had read earlier answers, and do so no more.
    ready: Vec<StreamId>,
    /// Clients that were not read from, and are again.
    resumed: Vec<usize>,
    /// Clients for which something was queued since the last turn, and in the turn before.
    recent: Vec<StreamId>,
    older: Vec<StreamId>,
    /// The streams of probes.
    probes: HashMap<ProbeId, StreamId>,
    relays: Relays,
}

impl ServerNode {
    pub(crate) fn new(config: &RendezvousConfig, random: Random, wall_at_origin: Duration) -> Self {
        let relay_limits = RelayLimits {
            bytes: config.relay_bytes,
            seconds: config.relay_time.as_secs(),
            rate: config.relay_rate,
        };
        let limits = Limits {
            clients: config.max_clients,
            clients_per_address: config.max_clients_per_address,
            nodes: config.max_nodes,
            nodes_per_address: config.max_nodes_per_address,
            idle: config.idle_timeout,
            probe_time: config.probe_time,
            probes_per_address: config.max_probes_per_address,
            features: features(config),
            identities: config.max_nodes,
            public_addresses: config.public_addresses.clone(),
            learns_addresses: true,
            mail: config.max_mail,
            signals_a_minute: config.max_signals_per_minute,
            signals_per_recipient: config.max_signals_per_recipient,
            signals_per_address: config.max_signals_per_address,
            relays: config.max_relays,
            relays_per_node: config.max_relays_per_node,
            relays_per_address: config.max_relays_per_address,
            relay: relay_limits,
            ..Limits::default()
        };
        Self {
            streams: Streams::new(config.streams),
            server: Server::new(limits, random, wall_at_origin),
            log: ServerLog::new(),
            metrics: Metrics::new(),
            accepted: 0,
            refused: 0,
            relayed_bytes: 0,
            answers: Vec::new(),
            backlog: Backlog::new(config.max_backlog),
            ready: Vec::new(),
            resumed: Vec::new(),
            recent: Vec::new(),
            older: Vec::new(),
            probes: HashMap::new(),
            relays: Relays::new(relay_limits, config.relay_idle),
        }
    }

    /// It listens at these addresses.
    pub(crate) fn handle_listening(&mut self, local: &[SocketAddr]) {
        self.server.handle_listening(local.to_vec());
    }

    /// The figures are told at this address.
    pub(crate) fn handle_metrics_listening(&mut self, local: SocketAddr) {
        self.metrics.handle_listening(local);
    }

    pub(crate) fn figures(&self) -> Figures {
        let signals = self.server.signals();
        Figures {
            clients: self.server.clients(),
            nodes: self.server.nodes(),
            identities: self.server.identities(),
            relays: self.server.relays(),
            mail: self.server.mail(),
            backlog: self.backlog.held(),
            accepted: self.accepted,
            refused: self.refused,
            signals: signals.passed_on,
            signals_refused: signals.refused,
            relayed_bytes: self.relayed_bytes,
        }
    }

    #[cfg(test)]
    pub(crate) fn clients(&self) -> usize {
        self.server.clients()
    }

    #[cfg(test)]
    pub(crate) fn nodes(&self) -> usize {
        self.server.nodes()
    }

    #[cfg(test)]
    pub(crate) fn relays(&self) -> usize {
        self.server.relays()
    }

    /// Answers what a client asks, as long as it reads the answers; the rest waits.
    fn answer(&mut self, id: StreamId, now: Instant) {
        while self.has_room(id) {
            let mut more = true;
            while self.answers.len() < BATCH && more {
                match self.streams.next_line(id) {
                    Some(line) => {
                        self.server.handle_line(client(id), line.as_bytes(), now, &mut self.answers)
                    }
                    None => more = false,
                }
            }
            self.queue_answers(id);
            if !more {
                return;
            }
        }
        self.set_aside(id);
    }

    /// What has arrived and is not answered yet leaves the memory that streams are read into, and no more is read.
    fn set_aside(&mut self, id: StreamId) {
        let mut requests = Vec::new();
        while let Some(line) = self.streams.next_line(id) {
            requests.extend_from_slice(line.as_bytes());
            requests.push(b'\n');
        }
        if !requests.is_empty() && self.streams.is_open(id) {
            if let Some(ServerRole::Client(account)) = self.streams.tag_mut(id) {
                account.set_aside(requests);
            }
            self.count(id);
            self.resume(id);
        }
    }

    /// Answers requests that waited, as far as there is room now.
    fn answer_set_aside(&mut self, id: StreamId, now: Instant) {
        let Some(ServerRole::Client(account)) = self.streams.tag_mut(id) else { return };
        account.is_resumed = false;
        let Some(requests) = account.take_requests() else { return };
        let mut rest = &requests[..];
        while !rest.is_empty() && self.has_room(id) {
            while self.answers.len() < BATCH
                && let Some((len, taken)) = find_line(rest)
            {
                self.server.handle_line(client(id), &rest[..len], now, &mut self.answers);
                rest = &rest[taken..];
            }
            self.queue_answers(id);
        }
        if rest.is_empty() || !self.streams.is_open(id) {
            self.resumed.push(id.slot());
        } else if let Some(ServerRole::Client(account)) = self.streams.tag_mut(id) {
            account.set_aside(rest.to_vec());
        }
        self.count(id);
    }

    /// A stream with room takes a batch; one that was closed meanwhile needs no answer.
    fn queue_answers(&mut self, id: StreamId) {
        if !self.answers.is_empty() {
            let _ = self.streams.queue_raw(id, &self.answers);
            self.answers.clear();
            self.note_queued(id);
        }
    }

    fn note_queued(&mut self, id: StreamId) {
        self.count(id);
        if let Some(ServerRole::Client(account)) = self.streams.tag_mut(id)
            && !std::mem::replace(&mut account.is_recent, true)
        {
            self.recent.push(id);
        }
    }

    /// Takes note of what is held for a client now.
    fn count(&mut self, id: StreamId) {
        let queued = self.streams.queued(id);
        if let Some(ServerRole::Client(account)) = self.streams.tag_mut(id) {
            self.backlog.count(account, queued);
        }
    }

    /// Has a client's requests answered that waited, if there is room.
    fn resume(&mut self, id: StreamId) {
        let room = self.has_room(id);
        if let Some(ServerRole::Client(account)) = self.streams.tag_mut(id)
            && room
            && account.waits()
            && !std::mem::replace(&mut account.is_resumed, true)
        {
            self.ready.push(id);
        }
    }

    fn answer_ready(&mut self, now: Instant) {
        for id in std::mem::take(&mut self.ready) {
            self.answer_set_aside(id, now);
        }
    }

    /// A queue's memory is as large as it ever was; where it has not been sent within a turn, only what it holds is kept.
    fn trim(&mut self) {
        let recent = std::mem::take(&mut self.recent);
        for id in std::mem::replace(&mut self.older, recent) {
            if let Some(ServerRole::Client(account)) = self.streams.tag_mut(id) {
                account.is_recent = false;
                self.streams.trim_queue(id);
            }
        }
    }

    /// What a client speaks, if that is not ours; `len` bytes of it came just now.
    fn foreign(&mut self, id: StreamId, len: usize) -> Option<Foreign> {
        let before = self.streams.facts(id)?.counters.bytes_received.saturating_sub(len as u64);
        let first = before < foreign::LONGEST as u64;
        match likeness(self.streams.arrived(id)) {
            Likeness::Foreign(foreign) if first => Some(foreign),
            _ => None,
        }
    }

    fn accept_metrics(&mut self, peer: SocketAddr, local: SocketAddr, now: Instant) -> Option<StreamId> {
        self.metrics.has_room().then(|| {
            let id = self.streams.accept(peer, local, ServerRole::Metrics(Asked::default()), now);
            self.metrics.begin(id, now);
            id
        })
    }

    fn answer_metrics(&mut self, id: StreamId, now: Instant) {
        let received = self.streams.facts(id).map_or(0, |facts| facts.counters.bytes_received);
        while let Some(line) = self.streams.next_line(id).map(|line| line.as_bytes().to_vec()) {
            let Some(ServerRole::Metrics(asked)) = self.streams.tag_mut(id) else { return };
            if let Some(page) = asked.handle_line(&line, received) {
                let answer = page.answer(|| self.figures().prometheus());
                // The first few bytes of a stream fit.
                let _ = self.streams.queue_raw(id, &answer);
                self.streams.close(id, now);
                return;
            }
        }
    }

    /// One line counts, and a short one: what more a foreign service has to say is not even read.
    fn hear_probe(&mut self, probe: ProbeId, id: StreamId) {
        if let Some(line) = self.streams.next_line(id) {
            self.server.handle_probe_line(probe, line.as_bytes());
        } else if self
            .streams
            .facts(id)
            .is_some_and(|facts| facts.counters.bytes_received <= probe::LONGEST as u64)
        {
            return;
        }
        self.abandon(probe);
    }

    fn abandon(&mut self, probe: ProbeId) {
        if let Some(id) = self.probes.remove(&probe) {
            self.streams.abandon(id);
        }
    }

    /// The probe that has this slot.
    fn probe_at(&self, slot: usize) -> Option<(ProbeId, StreamId)> {
        let id = self.streams.id_at(slot)?;
        match self.streams.tag(id)? {
            ServerRole::Probe(probe) => Some((*probe, id)),
            ServerRole::Client(_) | ServerRole::Relay(_) | ServerRole::Metrics(_) => None,
        }
    }

    fn act_all(&mut self, now: Instant) {
        while let Some(action) = self.server.poll_action() {
            self.act(action, now);
        }
    }

    fn has_room(&self, id: StreamId) -> bool {
        self.streams.is_open(id) && self.backlog.has_room(self.streams.queued(id))
    }

    fn act(&mut self, action: ServerAction, now: Instant) {
        match action {
            ServerAction::Send { client, text } => {
                let Some(id) = self.id_of(client) else { return };
                if self.has_room(id) && self.streams.queue_raw(id, &text).is_ok() {
                    self.note_queued(id);
                } else {
                    self.log.does_not_read(id, now);
                }
            }
            ServerAction::Close { client, why } => {
                let Some(id) = self.id_of(client) else { return };
                let peer = self.streams.facts(id).map(|facts| facts.peer);
                self.log.disconnected(id, peer, why, now);
                // What still waits to be read from it can be, and thrown away.
                self.resumed.push(id.slot());
                self.streams.close(id, now);
            }
            ServerAction::Dial { probe, to, from } => {
                let id = self.streams.dial(to, Some(SocketAddr::new(from, 0)), ServerRole::Probe(probe), now);
                self.probes.insert(probe, id);
            }
            ServerAction::Tell(news) => self.log.tell(news, now),
            ServerAction::Abandon { probe } => self.abandon(probe),
            ServerAction::Splice { a, b } => self.splice(a, b, now),
        }
    }

    /// Two clients are to be one connection.
    fn splice(&mut self, a: ClientId, b: ClientId, now: Instant) {
        let ends = [self.id_of(a), self.id_of(b)];
        for id in ends.into_iter().flatten() {
            if let Some(ServerRole::Client(account)) = self.streams.tag_mut(id) {
                self.backlog.close(std::mem::take(account));
            }
            self.resumed.push(id.slot());
        }
        let (relays, mut place) = self.running();
        relays.splice(&mut place, ends, ServerRole::Relay, now);
    }

    fn running(&mut self) -> (&mut Relays, Place<'_, ServerRole>) {
        (&mut self.relays, Place { streams: &mut self.streams, notes: &mut self.log.notes })
    }

    fn id_of(&self, client: ClientId) -> Option<StreamId> {
        let id = self.streams.id_at(usize::try_from(client.0).ok()?)?;
        // What is for a client must never be said to a probed port.
        matches!(self.streams.tag(id), Some(ServerRole::Client(_))).then_some(id)
    }
}

/// What the server offers.
fn features(config: &RendezvousConfig) -> Features {
    let refused = [(config.max_probes_per_address == 0, Features::PROBE), (!config.relay, Features::RELAY)];
    let refused = refused.into_iter().filter(|(refused, _)| *refused);
    refused.fold(Features::ALL, |features, (_, feature)| features.without(feature))
}

/// A client is known by its stream's slot: the machine forgets a client before its slot is used again.
fn client(id: StreamId) -> ClientId {
    ClientId(id.slot() as u64)
}

impl Host for ServerNode {
    type Tag = ServerRole;

    fn streams(&mut self) -> &mut Streams<ServerRole> {
        &mut self.streams
    }

    fn notes(&mut self) -> &mut Notes {
        &mut self.log.notes
    }

    fn has_work(&self) -> bool {
        !(self.ready.is_empty() && self.resumed.is_empty())
    }

    fn space(&mut self, slot: usize) -> Option<&mut [u8]> {
        let id = self.streams.id_at(slot)?;
        let most = match self.streams.tag(id)? {
            ServerRole::Client(account) if account.waits() && self.streams.is_open(id) => return None,
            ServerRole::Client(_) | ServerRole::Probe(_) | ServerRole::Metrics(_) => READ,
            ServerRole::Relay(_) => usize::MAX,
        };
        self.streams.space(slot).map(|space| {
            let len = space.len().min(most);
            &mut space[..len]
        })
    }

    fn poll_resumed(&mut self) -> Option<usize> {
        self.resumed.pop().or_else(|| self.streams.poll_resumed())
    }

    fn handle_sent(&mut self, slot: usize, len: usize) {
        self.streams.handle_sent(slot, len);
        if let Some(id) = self.streams.id_at(slot) {
            self.count(id);
            self.resume(id);
        }
    }

    fn handle_accepted(&mut self, peer: SocketAddr, local: SocketAddr, now: Instant) -> Option<StreamId> {
        if self.metrics.is_at(local) {
            return self.accept_metrics(peer, local, now);
        }
        if let Some(why) = self.server.refusal(peer.ip()) {
            self.refused += 1;
            self.log.refused(peer, why, now);
            return None;
        }
        let id = self.streams.accept(peer, local, ServerRole::Client(Account::default()), now);
        self.server.handle_connected(client(id), peer, local, now);
        self.accepted += 1;
        Some(id)
    }

    /// Who can not hear the answers needs none.
    fn handle_deaf(&mut self, slot: usize, now: Instant) {
        if let Some((probe, _)) = self.probe_at(slot) {
            return self.abandon(probe);
        }
        self.streams.handle_end(slot, End::Broken(io::ErrorKind::BrokenPipe), now);
        if let Some(id) = self.streams.id_at(slot) {
            self.streams.close(id, now);
        }
    }

    /// It dials for probes only.
    fn handle_connected(&mut self, slot: usize, local: SocketAddr, now: Instant) {
        if let Some(id) = self.streams.handle_connected(slot, local, now) {
            // The first few bytes of a stream fit.
            let _ = self.streams.queue_raw(id, &probe::prompt());
        }
    }

    /// Nobody is told that, nor how: the answer is "no" when its time has come. But to be out of file descriptors or
    /// local ports is not the port's fault.
    fn handle_connect_failed(&mut self, slot: usize, kind: io::ErrorKind, _now: Instant) {
        let Some((probe, _)) = self.probe_at(slot) else { return };
        if matches!(
            kind,
            io::ErrorKind::QuotaExceeded | io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
        ) {
            self.server.handle_probe_untried(probe);
        }
        self.abandon(probe);
    }

    fn handle_received(&mut self, slot: usize, len: usize, now: Instant) {
        if self.streams.pass_on(slot, len) {
            let id = self.streams.id_at(slot);
            if let Some(&ServerRole::Relay(end)) = id.and_then(|id| self.streams.tag(id)) {
                let (relays, mut place) = self.running();
                relays.handle_passed(&mut place, end, len, now);
                self.relayed_bytes += len as u64;
            }
            return;
        }
        self.streams.handle_received(slot, len);
        if let Some((probe, id)) = self.probe_at(slot) {
            self.hear_probe(probe, id);
        } else if let Some(id) = self.streams.id_at(slot)
            && matches!(self.streams.tag(id), Some(ServerRole::Metrics(_)))
        {
            self.answer_metrics(id, now);
        } else if let Some(id) = self.streams.id_at(slot)
            && matches!(self.streams.tag(id), Some(ServerRole::Client(_)))
        {
            match self.foreign(id, len) {
                Some(foreign) => self.server.handle_foreign(client(id), foreign, now),
                None => self.answer(id, now),
            }
        }
    }

    /// It looks nothing up and has no files.
    fn handle_resolved(&mut self, _query: u64, _outcome: Result<Vec<SocketAddr>, String>, _now: Instant) {}

    fn handle_loaded(&mut self, _outcome: io::Result<String>, _now: Instant) {}

    fn handle_saved(&mut self, _outcome: io::Result<()>, _now: Instant) {}

    fn handle_timeout(&mut self, now: Instant) {
        self.answer_ready(now);
        self.trim();
        self.server.handle_timeout(now);
        self.act_all(now);
        self.log.handle_timeout(now);
        while let Some(id) = self.metrics.pop_late(now) {
            self.streams.close(id, now);
        }
        let (relays, mut place) = self.running();
        relays.handle_timeout(&mut place, now);
        // What a client sent before it went away was answered when it came; there is no walk to wait for.
        self.streams.handle_walk();
        self.streams.handle_timeout(now);
        while let Some(dropped) = self.streams.poll_dropped() {
            match dropped.tag {
                ServerRole::Client(account) => {
                    self.backlog.close(account);
                    self.server.handle_closed(client(dropped.id), now);
                }
                ServerRole::Probe(probe) => drop(self.probes.remove(&probe)),
                ServerRole::Metrics(_) => self.metrics.end(dropped.id),
                ServerRole::Relay(end) => {
                    self.relays.handle_dropped(end);
                    self.server.handle_closed(client(dropped.id), now);
                }
            }
        }
        // Who left may have had probes under way.
        self.act_all(now);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let machines = soonest(self.server.poll_timeout(), self.relays.poll_timeout());
        let around = soonest(self.log.poll_timeout(), self.metrics.poll_timeout());
        soonest(soonest(self.streams.poll_timeout(), machines), around)
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.streams.poll_action().map(Action::Socket)
    }
}
