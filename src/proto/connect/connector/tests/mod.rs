//! What the machine wants done, without streams, servers or links.

mod answering;
mod calling;
mod links;
mod streams;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::connect::{Connect, Target};
use crate::note::Notes;
use crate::proto::budget::{Budget, BudgetLimits};
use crate::proto::connect::action::{Handshake, OutgoingSignal};
use crate::proto::connect::surroundings::{LinkView, RelayView, ServerView};
use crate::reach::{NatKind, NodeType, Reach};
use crate::wire::rendezvous::{Incoming, SignalText};
use crate::wire::signal::{self, Body, Half, RefuseWhy};

const FIRST: ServerId = ServerId(0);
const SECOND: ServerId = ServerId(1);
/// One that is there only because a UNL names it.
const FOREIGN: ServerId = ServerId(7);

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A server as calls see it.
#[derive(Clone, Debug)]
struct FakeServer {
    addr: SocketAddr,
    seen: Option<SocketAddr>,
    takes: bool,
    observes: bool,
    relays: bool,
}

impl FakeServer {
    fn new(number: u8) -> Self {
        let addr = SocketAddr::from(([198, 51, 100, number], 8000));
        Self { addr, seen: None, takes: true, observes: true, relays: false }
    }
}

#[derive(Clone, Debug)]
struct FakeServers {
    all: BTreeMap<ServerId, FakeServer>,
    own: Vec<ServerId>,
}

impl ServerView for FakeServers {
    fn own(&self) -> Vec<ServerId> {
        self.own.clone()
    }

    fn is_own(&self, server: ServerId) -> bool {
        self.own.contains(&server)
    }

    fn have_none_of_our_own(&self) -> bool {
        self.own.is_empty()
    }

    fn addr_of(&self, server: ServerId) -> Option<SocketAddr> {
        self.all.get(&server).map(|server| server.addr)
    }

    fn met_at(&self, server: ServerId) -> Option<SocketAddr> {
        self.addr_of(server)
    }

    fn seen_at(&self, server: ServerId) -> Option<SocketAddr> {
        self.all.get(&server)?.seen
    }

    fn rtt_of(&self, _: ServerId) -> Option<Duration> {
        Some(Duration::from_millis(40))
    }

    fn relays(&self, server: ServerId) -> bool {
        self.all.get(&server).is_some_and(|server| server.relays)
    }

    fn observes(&self, server: ServerId) -> bool {
        self.all.get(&server).is_some_and(|server| server.observes)
    }

    fn takes_signals(&self, server: ServerId) -> bool {
        self.all.get(&server).is_some_and(|server| server.takes)
    }
}

#[derive(Clone, Debug, Default)]
struct FakeLinks {
    links: BTreeMap<NodeId, ConId>,
    relayed: Option<Unl>,
    by: Vec<CallId>,
    handshaking: Vec<NodeId>,
    is_full: bool,
}

impl LinkView for FakeLinks {
    fn link_to(&self, node: NodeId) -> Option<ConId> {
        self.links.get(&node).copied()
    }

    fn is_relayed(&self, _: ConId) -> bool {
        self.relayed.is_some()
    }

    fn came_by(&self, _: ConId, call: CallId) -> bool {
        self.by.contains(&call)
    }

    fn unl_of(&self, _: ConId) -> Option<Unl> {
        self.relayed.clone()
    }

    fn is_handshaking(&self, node: NodeId) -> bool {
        self.handshaking.contains(&node)
    }

    fn has_room(&self, _: IpAddr) -> bool {
        !self.is_full
    }
}

#[derive(Clone, Debug, Default)]
struct FakeRelays(Vec<SocketAddr>);

impl RelayView for FakeRelays {
    fn has(&self, addr: SocketAddr) -> bool {
        self.0.contains(&addr)
    }

    fn choose(&self, wished: Option<SocketAddr>) -> Option<SocketAddr> {
        wished.filter(|wished| self.has(*wished)).or(self.0.first().copied())
    }
}

/// The machine, and all that it sees.
struct Peer {
    machine: Connector,
    key: Key,
    servers: FakeServers,
    links: FakeLinks,
    relays: FakeRelays,
    reach: Reach,
    unl: Unl,
    budget: Budget,
    notes: Notes,
    now: Instant,
    /// Where servers see it.
    seen: SocketAddr,
    attempts: u64,
    /// The answer to [`ConnectAction::FindServers`].
    found: Vec<ServerId>,
    actions: Vec<ConnectAction>,
    events: Vec<ConnectEvent>,
}

fn config() -> ConnectConfig {
    ConnectConfig {
        max_calls: 4,
        max_calls_per_minute: 60,
        connect_within: Duration::from_secs(15),
        punch_time: Duration::from_millis(1500),
        upgrade_every: Duration::from_secs(30),
        max_claimed_syns: 3,
        max_punch_syns: 1500,
        use_relays: true,
    }
}

/// Who can only be called: its address says that nobody can connect to it.
fn unl(key: &Key, host: u8) -> Unl {
    let wan = SocketAddr::from(([203, 0, 113, host], 5000));
    let builder = Unl::builder(NodeType::Simultaneous).wan(wan).nat(NatKind::Preserving);
    builder.server("first.example:8000").sign(key).expect("a UNL")
}

impl Peer {
    fn new(number: u8) -> Self {
        Self::with(number, config())
    }

    fn with(number: u8, config: ConnectConfig) -> Self {
        let key = Key::from_seed(&[number; 32]);
        let all = [(FIRST, FakeServer::new(1)), (SECOND, FakeServer::new(2)), (FOREIGN, FakeServer::new(7))];
        let random = Random::from_number(number.into());
        Self {
            machine: Connector::new(
                config,
                Some(Arc::new(key.clone())),
                Duration::from_secs(1_800_000_000),
                random,
            ),
            servers: FakeServers { all: all.into(), own: vec![FIRST, SECOND] },
            links: FakeLinks::default(),
            relays: FakeRelays::default(),
            reach: Reach { nat: crate::reach::Nat::Measured(NatKind::Preserving), ..Reach::default() },
            unl: unl(&key, number),
            budget: Budget::new(BudgetLimits::default()),
            notes: Notes::default(),
            now: Instant::ZERO + Duration::from_secs(100),
            seen: SocketAddr::from(([203, 0, 113, number], 5000)),
            attempts: 0,
            found: vec![FIRST, SECOND],
            actions: Vec::new(),
            events: Vec::new(),
            key,
        }
    }

    fn id(&self) -> NodeId {
        self.key.id()
    }

    /// Tells the machine something, and takes what it wants then.
    fn tell<R>(&mut self, tell: impl FnOnce(&mut Connector, &mut Surroundings<'_>, Instant) -> R) -> R {
        let told = self.tell_alone(tell);
        while let Some(action) = self.machine.poll_action() {
            if let ConnectAction::FindServers { call, .. } = action {
                let found = self.found.clone();
                self.tell_alone(|machine, around, now| machine.handle_servers(call, found, around, now));
            } else {
                self.actions.push(action);
            }
        }
        self.events.extend(std::iter::from_fn(|| self.machine.poll_event()));
        told
    }

    fn tell_alone<R>(&mut self, tell: impl FnOnce(&mut Connector, &mut Surroundings<'_>, Instant) -> R) -> R {
        let own = [];
        let local = Local {
            reach: &self.reach,
            unl: Some(&self.unl),
            own: &own,
            lan: Vec::new(),
            listens: true,
            bind: None,
        };
        let mut around = Surroundings {
            servers: &self.servers,
            links: &self.links,
            relays: &self.relays,
            local,
            budget: &mut self.budget,
            notes: &mut self.notes,
        };
        tell(&mut self.machine, &mut around, self.now)
    }

    fn connect(&mut self, to: impl Into<Connect>) -> Result<AttemptId, ConnectError> {
        self.attempts += 1;
        let Connect { target: Target::Unl(unl), rungs, temporary } = to.into() else { panic!("no UNL") };
        let attempt = AttemptId::new(1, self.attempts);
        let waiter = Waiter { attempt, temporary };
        self.tell(|machine, around, now| machine.connect(unl, rungs, waiter, around, now)).map(|()| attempt)
    }

    /// Lets time pass, as a driver would.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        let mut rounds = 0;
        while let Some(due) = self.machine.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.tell(|machine, around, now| machine.handle_timeout(around, now));
            rounds += 1;
            assert!(rounds < 10_000, "it is due for ever");
        }
        self.now = end;
    }

    fn take_actions(&mut self) -> Vec<ConnectAction> {
        std::mem::take(&mut self.actions)
    }

    /// What it dials, and has not been asked for yet.
    fn take_dials(&mut self) -> Vec<(DialId, SocketAddr)> {
        self.take(|action| match action {
            ConnectAction::Dial { dial, to, .. } => Some((*dial, *to)),
            _ => None,
        })
    }

    fn take_signals(&mut self) -> Vec<OutgoingSignal> {
        self.take(|action| match action {
            ConnectAction::Signal(signal) => Some(signal.clone()),
            _ => None,
        })
    }

    fn take<T>(&mut self, pick: impl Fn(&ConnectAction) -> Option<T>) -> Vec<T> {
        let picked = self.actions.iter().filter_map(&pick).collect();
        self.actions.retain(|action| pick(action).is_none());
        picked
    }

    /// What is said to others, and through which server.
    fn take_bodies(&mut self) -> Vec<(ServerId, Body)> {
        let signals = self.take_signals().into_iter();
        signals.map(|sent| (sent.server, signal::parse(&sent.text).expect("a signal").body)).collect()
    }

    fn hear(&mut self, from: &Key, seen: SocketAddr, sent: &OutgoingSignal, observed: Option<SocketAddr>) {
        let incoming = Incoming {
            from: from.public(),
            seen,
            observed: observed.filter(|_| sent.observed.is_some()),
            signature: signal::sign(from, &sent.to, &sent.text),
            text: SignalText::new(&sent.text).expect("a text"),
        };
        let server = sent.server;
        self.tell(|machine, around, now| machine.handle_signal(server, &incoming, around, now));
    }

    /// Hears something that nobody's machine says.
    fn hear_body(&mut self, from: &Key, call: CallId, server: ServerId, body: Body) {
        let text = signal::print(&signal::Signal { call, body });
        let (to, unsent) = (self.id(), crate::proto::connect::action::Unsent::Lost);
        let sent = OutgoingSignal { call, server, to, observed: None, text, unsent };
        self.hear(from, addr("203.0.113.99:5000"), &sent, None);
    }

    fn connected(&mut self, dial: DialId) {
        self.tell(|machine, around, now| machine.handle_connected(dial, around, now));
    }

    fn refused(&mut self, dial: DialId) {
        let kind = std::io::ErrorKind::ConnectionRefused;
        self.tell(|machine, around, now| machine.handle_failed(dial, kind, around, now));
    }

    fn line(&mut self, dial: DialId, line: &str) {
        assert!(self.machine.wants_line(dial), "it reads what comes: {line}");
        self.tell(|machine, around, now| machine.handle_line(dial, line.as_bytes(), around, now));
    }

    /// Why a rung failed, where the attempt has.
    fn fault(&self, rung: Rung) -> Option<RungFault> {
        let tried = self.events.iter().rev().find_map(|event| match event {
            ConnectEvent::Failed { why: FailReason::NoWay(tried), .. } => Some(tried),
            _ => None,
        })?;
        tried.iter().find(|tried| tried.rung == rung).map(|tried| tried.why.clone())
    }

    fn calls(&self) -> usize {
        self.machine.counts().0
    }
}

/// What one says is heard by the other, who is where servers see it; nothing is lost.
fn carry(from: &mut Peer, to: &mut Peer) -> usize {
    let signals = from.take_signals();
    for sent in &signals {
        to.hear(&from.key, from.seen, sent, Some(from.seen));
    }
    signals.len()
}

/// Two, the one with the larger id first.
fn two() -> [Peer; 2] {
    let (one, other) = (Peer::new(1), Peer::new(2));
    if one.id() > other.id() { [one, other] } else { [other, one] }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn call(number: u8) -> CallId {
    CallId::from_bytes([number; 16])
}

/// What is said when a call is made.
fn calling(caller: &Key) -> Body {
    let unl = unl(caller, 99).to_string();
    Body::Call { unl, reverse: false, punch: false, relay: None, upgrade: false }
}
