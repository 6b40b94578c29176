//! Attempts to connect: a name is looked up, its addresses are dialled, the first that answers is the connection.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::calls::time_of;
use super::{Ends, Node, Role, Slot};
use crate::error::{ConnectError, FailReason};
use crate::event::{Event, Via};
use crate::id::{AttemptId, ConId, ServerId, StreamId};
use crate::node::Job;
use crate::proto::dial::{Dial, DialAction, DialFailure, DialOutcome, DialSlot};
use crate::time::{Instant, soonest};
use crate::wire::address::HostPort;

/// What an attempt is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The application asked for it and is told its outcome. `counted`: this address, and so the p2p network knows
    /// that it is being dialled.
    Application { counted: Option<SocketAddr> },
    /// The p2p network wants this address.
    Network(SocketAddr),
    /// A peer of the configuration, by its place there: only its name is looked up.
    StaticPeer(usize),
    /// A relay of the configuration, by its place there: only its name is looked up.
    OwnRelay(usize),
    /// A rendezvous server.
    Server(ServerId),
}

#[derive(Debug)]
enum Phase {
    /// The worker is looking up the name; it is awaited until the deadline.
    Resolving {
        name: Name,
        deadline: Instant,
    },
    Dialling {
        dial: Dial,
        streams: Vec<(DialSlot, StreamId)>,
    },
}

/// A host name, and the port that goes with it.
type Name = (String, u16);

#[derive(Debug)]
struct Attempt {
    purpose: Purpose,
    phase: Phase,
    began: Instant,
}

/// The attempts that are under way.
#[derive(Debug)]
pub(super) struct Attempts {
    net: u32,
    /// The last number given to an attempt of the application's, which it sees.
    asked: u64,
    /// The last number given to another one.
    unasked: u64,
    open: BTreeMap<u64, Attempt>,
    /// What the worker is looking up, by the number of the query. A resolver may take longer than an attempt waits; then
    /// the next attempt for that name joins in, instead of one more query queueing behind.
    lookups: BTreeMap<u64, Name>,
    queries: u64,
}

/// Attempts that the application does not see have numbers above this.
const UNASKED: u64 = 1 << 63;

impl Attempts {
    pub(super) fn new(net: u32) -> Self {
        Self { net, asked: 0, unasked: UNASKED, open: BTreeMap::new(), lookups: BTreeMap::new(), queries: 0 }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.open.values().fold(None, |earliest, attempt| {
            soonest(
                earliest,
                match &attempt.phase {
                    Phase::Resolving { deadline, .. } => Some(*deadline),
                    Phase::Dialling { dial, .. } => dial.poll_timeout(),
                },
            )
        })
    }

    /// How many have sockets to peers, now or soon. Names to look up and servers are few and counted elsewhere.
    fn to_peers(&self) -> usize {
        let is_to_peer =
            |attempt: &&Attempt| matches!(attempt.purpose, Purpose::Application { .. } | Purpose::Network(_));
        self.open.values().filter(is_to_peer).count()
    }

    /// A number for an attempt of the application's.
    pub(super) fn next_id(&mut self) -> AttemptId {
        self.asked += 1;
        self.id(self.asked)
    }

    fn id(&self, serial: u64) -> AttemptId {
        AttemptId::new(self.net, serial)
    }
}

impl Node {
    /// Begins an attempt of the application's.
    pub(crate) fn connect(&mut self, text: &str, now: Instant) -> Result<AttemptId, ConnectError> {
        if self.core.is_leaving() {
            return Err(ConnectError::Stopping);
        }
        let target = HostPort::parse(text).map_err(ConnectError::BadAddress)?;
        if self.attempts.to_peers() >= self.core.config.max_attempts {
            return Err(ConnectError::TooMany);
        }
        let counted = match target {
            HostPort::Address(addr) if self.network.peers.handle_dialling(addr, now) => Some(addr),
            _ => None,
        };
        let serial = self.begin_attempt(Purpose::Application { counted }, &target, now);
        Ok(self.attempts.id(serial))
    }

    /// Gives up an attempt of the application's.
    pub(crate) fn cancel(&mut self, id: AttemptId, now: Instant) -> bool {
        let serial = id.number();
        let ours =
            serial < UNASKED && self.attempts.id(serial) == id && self.attempts.open.contains_key(&serial);
        if ours {
            self.fail_attempt(serial, FailReason::Cancelled, now);
        }
        ours || self.cancel_call(id, now)
    }

    /// Whether another attempt may begin by itself: some places are left to the application.
    pub(super) fn has_place(&self) -> bool {
        self.attempts.to_peers() < self.core.config.max_attempts - self.core.config.max_attempts / 4
    }

    pub(super) fn is_under_way(&self, serial: u64) -> bool {
        self.attempts.open.contains_key(&serial)
    }

    pub(super) fn begin_attempt(&mut self, purpose: Purpose, target: &HostPort, now: Instant) -> u64 {
        let last = match purpose {
            Purpose::Application { .. } => &mut self.attempts.asked,
            _ => &mut self.attempts.unasked,
        };
        *last += 1;
        let serial = *last;
        let phase = match target.clone() {
            HostPort::Address(addr) => {
                let mut addresses = vec![addr];
                let timeout = self.timeout_of(&purpose);
                if let Purpose::Server(place) = purpose {
                    self.allow_guest(place, &mut addresses, now);
                }
                self.dialling(addresses, timeout, now)
            }
            HostPort::Name { host, port } => {
                let name = (host, port);
                self.look_up(&name);
                Phase::Resolving { name, deadline: now + self.core.config.connect_timeout }
            }
        };
        self.attempts.open.insert(serial, Attempt { purpose, phase, began: now });
        self.advance_attempt(serial, now);
        serial
    }

    /// Hands a name to the worker, unless it has it already.
    fn look_up(&mut self, name: &Name) {
        if !self.attempts.lookups.values().any(|other| other == name) {
            self.attempts.queries += 1;
            let query = self.attempts.queries;
            self.attempts.lookups.insert(query, name.clone());
            self.core.jobs.push_back(Job::Resolve { query, host: name.0.clone(), port: name.1 });
        }
    }

    pub(super) fn handle_name_resolved(
        &mut self,
        query: u64,
        outcome: &Result<Vec<SocketAddr>, String>,
        now: Instant,
    ) {
        let Some(resolved) = self.attempts.lookups.remove(&query) else { return };
        let waits =
            |attempt: &Attempt| matches!(&attempt.phase, Phase::Resolving { name, .. } if *name == resolved);
        let open = self.attempts.open.iter();
        let waiting: Vec<u64> =
            open.filter(|(_, attempt)| waits(attempt)).map(|(&serial, _)| serial).collect();
        for serial in waiting {
            self.handle_attempt_resolved(serial, outcome.clone(), now);
        }
    }

    fn handle_attempt_resolved(
        &mut self,
        serial: u64,
        outcome: Result<Vec<SocketAddr>, String>,
        now: Instant,
    ) {
        let Some(attempt) = self.attempts.open.get(&serial) else { return };
        let purpose = attempt.purpose.clone();
        match outcome {
            Err(why) => self.fail_attempt(serial, FailReason::NoAddress(why), now),
            Ok(mut addresses) => {
                if let Purpose::Server(_) = purpose {
                    // A node that has both would otherwise never hear of its NAT, nor be listed for those who have only
                    // IPv4. (RFC 8305 section 4 would begin with IPv6.)
                    addresses.sort_by_key(SocketAddr::is_ipv6);
                }
                if let Purpose::StaticPeer(peer) = purpose {
                    self.attempts.open.remove(&serial);
                    self.handle_static_resolved(peer, &addresses, now);
                    return;
                }
                if let Purpose::OwnRelay(relay) = purpose {
                    self.attempts.open.remove(&serial);
                    self.handle_relay_resolved(relay, &addresses);
                    return;
                }
                let timeout = self.timeout_of(&purpose);
                if let Purpose::Server(place) = purpose {
                    self.allow_guest(place, &mut addresses, now);
                }
                let phase = self.dialling(addresses, timeout, now);
                if let Some(attempt) = self.attempts.open.get_mut(&serial) {
                    attempt.phase = phase;
                }
                self.advance_attempt(serial, now);
            }
        }
    }

    pub(super) fn handle_dial_connected(
        &mut self,
        serial: u64,
        slot: DialSlot,
        id: StreamId,
        local: SocketAddr,
        now: Instant,
    ) {
        let dialled = self.core.streams.facts(id).map(|facts| facts.peer);
        let ends = dialled.map(|dialled| Ends { dialler: local, dialled });
        if let Some(other_side) = ends.and_then(|ends| self.ends.inbound(ends)) {
            self.close(other_side, now);
            self.abandon_oneself(id, now);
            return;
        }
        if ends.is_some_and(|ends| self.holds(ends)) {
            self.abandon_oneself(id, now);
            return;
        }
        if let Some(Attempt { phase: Phase::Dialling { dial, .. }, .. }) = self.attempts.open.get_mut(&serial)
        {
            dial.handle_connected(slot);
        }
        self.advance_attempt(serial, now);
    }

    pub(super) fn handle_dial_failed(
        &mut self,
        serial: u64,
        slot: DialSlot,
        kind: io::ErrorKind,
        now: Instant,
    ) {
        if let Some(Attempt { phase: Phase::Dialling { dial, streams }, .. }) =
            self.attempts.open.get_mut(&serial)
        {
            streams.retain(|&(other, _)| other != slot);
            dial.handle_failed(slot, kind, now);
        }
        self.advance_attempt(serial, now);
    }

    /// An outbound connection turned out to end at this node itself.
    pub(super) fn handle_oneself(&mut self, id: ConId, now: Instant) {
        if let Some(facts) = self.facts(id) {
            self.core.notes.push(Level::Info, || format!("{} is this node itself", facts.peer));
            self.core.learn_own(facts.peer);
            self.tell_own();
        }
        self.close(id, now);
    }

    pub(super) fn advance_attempts(&mut self, now: Instant) {
        let due: Vec<u64> = self
            .attempts
            .open
            .iter()
            .filter(|(_, attempt)| match &attempt.phase {
                Phase::Resolving { deadline, .. } => *deadline <= now,
                Phase::Dialling { dial, .. } => dial.poll_timeout().is_some_and(|at| at <= now),
            })
            .map(|(&serial, _)| serial)
            .collect();
        for serial in due {
            match self.attempts.open.get_mut(&serial) {
                Some(Attempt { phase: Phase::Dialling { dial, .. }, .. }) => {
                    dial.handle_timeout(now);
                    self.advance_attempt(serial, now);
                }
                Some(_) => {
                    let why = "the name was not resolved in time".to_owned();
                    self.fail_attempt(serial, FailReason::NoAddress(why), now);
                }
                None => {}
            }
        }
    }

    /// Gives up all that is under way but for the servers, to whom goodbye is said.
    pub(super) fn cancel_all(&mut self, now: Instant) {
        let open = self.attempts.open.iter();
        let to_peers = open.filter(|(_, attempt)| !matches!(attempt.purpose, Purpose::Server(_)));
        let serials: Vec<u64> = to_peers.map(|(&serial, _)| serial).collect();
        for serial in serials {
            if serial < UNASKED {
                self.fail_attempt(serial, FailReason::Cancelled, now);
            } else {
                self.drop_attempt(serial);
            }
        }
    }

    /// Gives up an attempt without a word to whoever it was for.
    pub(super) fn drop_attempt(&mut self, serial: u64) -> Option<Purpose> {
        let attempt = self.attempts.open.remove(&serial)?;
        if let Phase::Dialling { streams, .. } = attempt.phase {
            for (_, id) in streams {
                self.core.streams.abandon(id);
            }
        }
        Some(attempt.purpose)
    }

    /// A server that is only named by a UNL gets no more SYNs than anything else that is.
    fn timeout_of(&self, purpose: &Purpose) -> Duration {
        let timeout = self.core.config.connect_timeout;
        match purpose {
            Purpose::Server(place) if !self.servers.is_own(*place) => {
                timeout.min(time_of(self.core.config.links.max_claimed_syns))
            }
            _ => timeout,
        }
    }

    fn dialling(&self, addresses: Vec<SocketAddr>, timeout: Duration, now: Instant) -> Phase {
        let dial = Dial::new(addresses, &self.core.own, timeout, now);
        Phase::Dialling { dial, streams: Vec::new() }
    }

    /// Carries out what the dial wants, until it wants nothing or is decided.
    fn advance_attempt(&mut self, serial: u64, now: Instant) {
        let Some(Attempt { phase: Phase::Dialling { dial, streams }, .. }) =
            self.attempts.open.get_mut(&serial)
        else {
            return;
        };
        let from = self.core.any_port();
        while let Some(action) = dial.poll_action() {
            match action {
                DialAction::Connect { slot, to } => {
                    let role = Role::Dialling { attempt: serial, slot };
                    streams.push((slot, self.core.streams.dial(to, from, role, now)));
                }
                DialAction::Abandon { slot } => {
                    if let Some(at) = streams.iter().position(|&(other, _)| other == slot) {
                        self.core.streams.abandon(streams.swap_remove(at).1);
                    }
                }
            }
        }
        match dial.outcome() {
            None => {}
            Some(DialOutcome::Connected(slot)) => {
                let winner = streams.iter().find(|&&(other, _)| other == slot).map(|&(_, id)| id);
                if let Some(id) = winner {
                    self.win_attempt(serial, id, now);
                }
            }
            Some(DialOutcome::Failed(tried)) => self.fail_attempt(serial, fail_reason(tried), now),
        }
    }

    fn win_attempt(&mut self, serial: u64, id: StreamId, now: Instant) {
        let Some(attempt) = self.attempts.open.remove(&serial) else { return };
        let Some(facts) = self.core.streams.facts(id) else { return };
        if let Purpose::Server(server) = attempt.purpose {
            if let Some(tag) = self.core.streams.tag_mut(id) {
                *tag = Role::Server(server);
            }
            self.handle_server_connected(server, id, facts, now);
            return;
        }
        // A connection has a local end; were it unknown, it could only not be told from one to oneself.
        let ends = Ends { dialler: facts.local.unwrap_or(facts.peer), dialled: facts.peer };
        if attempt.purpose == (Purpose::Application { counted: None }) {
            self.network.peers.handle_dialling(facts.peer, now);
        }
        self.network.peers.handle_opened(facts.peer, now);
        let id_of_attempt = (serial < UNASKED).then(|| self.attempts.id(serial));
        let connection = self.connection(id, Via::Direct, facts.peer, ends, Slot::Outbound);
        let con = self.show(connection, id_of_attempt, now - attempt.began);
        self.ends.insert_outbound(ends, con);
    }

    fn fail_attempt(&mut self, serial: u64, why: FailReason, now: Instant) {
        let Some(purpose) = self.drop_attempt(serial) else { return };
        match purpose {
            Purpose::Application { counted } => {
                if let Some(addr) = counted {
                    self.network.peers.handle_dial_failed(addr, now);
                }
                let attempt = self.attempts.id(serial);
                self.core.notes.push(Level::Info, || format!("attempt {attempt} failed: {why}"));
                self.events.push(Event::Failed { attempt, why });
            }
            Purpose::Network(address) => {
                // What the user asked for and does not get, the user should hear of; the rest is daily business.
                let asked = self.network.peers.is_static(address);
                let level = if asked { Level::Warn } else { Level::Debug };
                self.core.notes.push(level, || format!("peer {address}: {why}"));
                self.network.peers.handle_dial_failed(address, now);
            }
            Purpose::StaticPeer(peer) => self.handle_static_failed(peer, &why, now),
            Purpose::OwnRelay(relay) => self.handle_relay_unresolved(relay, &why),
            Purpose::Server(server) => self.handle_server_unreached(server, &why, now),
        }
    }

    /// Before it was shown to anybody: fails the attempt whose stream it is.
    fn abandon_oneself(&mut self, id: StreamId, now: Instant) {
        let Some(&Role::Dialling { attempt, .. }) = self.core.streams.tag(id) else { return };
        if let Some(facts) = self.core.streams.facts(id) {
            self.core.learn_own(facts.peer);
            self.tell_own();
        }
        self.fail_attempt(attempt, FailReason::Oneself, now);
    }
}

fn fail_reason(tried: Vec<(SocketAddr, DialFailure)>) -> FailReason {
    if !tried.is_empty() && tried.iter().all(|(_, why)| *why == DialFailure::Ourselves) {
        return FailReason::Oneself;
    }
    if tried.is_empty() {
        return FailReason::NoAddress("the name has none".into());
    }
    let kind = |why| match why {
        DialFailure::Error(kind) => kind,
        DialFailure::TimedOut => io::ErrorKind::TimedOut,
        DialFailure::Ourselves | DialFailure::NotDialable => io::ErrorKind::InvalidInput,
        DialFailure::NotTried => io::ErrorKind::Interrupted,
    };
    FailReason::Unreachable(tried.into_iter().map(|(addr, why)| (addr, kind(why))).collect())
}
