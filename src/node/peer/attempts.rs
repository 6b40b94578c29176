//! The attempts to connect: who began them, their streams, and whom their outcome concerns.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::Role;
use super::asking::{Ask, Asked};
use super::core::Core;
use super::effect::{Dialled, Effect};
use super::ends::Ends;
use crate::address::HostPort;
use crate::config::Config;
use crate::connect::{Rung, RungFault, Tried};
use crate::error::FailReason;
use crate::event::Event;
use crate::id::{AttemptId, ServerId, StreamId};
use crate::node::Job;
use crate::proto::attempts::{AttemptAction, AttemptEvent, Attempts as Machine};
use crate::proto::budget::Class;
use crate::proto::connect::{Waiter, time_of};
use crate::proto::dial::DialSlot;
use crate::time::Instant;

/// Of the name of a foreign server so many addresses are dialled: one of each family.
const FOREIGN_ADDRESSES: usize = 2;

/// Attempts that the application does not see have numbers above this.
const UNASKED: u64 = 1 << 63;

/// What an attempt is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The application asked for it and is told its outcome. `counted`: this address, and so the p2p network knows
    /// that it is being dialled.
    Application { counted: Option<SocketAddr> },
    /// So it did, and the node that is there is to say who it is.
    Asked(Ask),
    /// The p2p network wants this address.
    Network(SocketAddr),
    /// Only the name is looked up.
    LookUp(LookUp),
    /// A rendezvous server. A foreign one is there only because a UNL names it.
    Server { server: ServerId, is_foreign: bool },
}

/// Whose name is looked up, by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LookUp {
    StaticPeer(usize),
    OwnRelay(usize),
}

/// The attempts that are under way.
#[derive(Debug)]
pub(super) struct Attempts {
    net: u32,
    /// The last number given to an attempt of the application's, which it sees.
    asked: u64,
    /// The last number given to another one.
    unasked: u64,
    machine: Machine<Purpose>,
    streams: BTreeMap<(u64, DialSlot), StreamId>,
}

impl Attempts {
    pub(super) const fn new(net: u32) -> Self {
        Self { net, asked: 0, unasked: UNASKED, machine: Machine::new(), streams: BTreeMap::new() }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    /// Whether another attempt of the application's may begin, while `others` are connected and wait for an answer.
    pub(super) fn has_room(&self, config: &Config, others: usize) -> bool {
        self.to_peers() + others < config.max_attempts
    }

    /// How many more attempts may begin by themselves: some places are left to the application.
    pub(super) fn places(&self, config: &Config) -> usize {
        (config.max_attempts - config.max_attempts / 4).saturating_sub(self.to_peers())
    }

    /// A number for an attempt of the application's.
    pub(super) fn next_id(&mut self) -> AttemptId {
        self.asked += 1;
        self.id(self.asked)
    }

    /// Begins an attempt of the application's.
    pub(super) fn connect(
        &mut self,
        core: &mut Core,
        target: HostPort,
        counted: Option<SocketAddr>,
        now: Instant,
    ) -> AttemptId {
        let id = self.next_id();
        self.begin_as(core, id.number(), Purpose::Application { counted }, target, now);
        id
    }

    /// Begins an attempt of the application's to find a node at an address.
    pub(super) fn ask(&mut self, core: &mut Core, target: HostPort, ask: Ask, now: Instant) -> AttemptId {
        let id = self.next_id();
        self.begin_as(core, id.number(), Purpose::Asked(ask), target, now);
        id
    }

    /// Gives up an attempt of the application's; whether it is one.
    pub(super) fn cancel(&mut self, core: &mut Core, id: AttemptId, now: Instant) -> bool {
        let number = id.number();
        let is_ours = number < UNASKED && self.id(number) == id && self.machine.purpose(number).is_some();
        if is_ours {
            self.machine.fail(number, FailReason::Cancelled);
            self.advance(core, now);
        }
        is_ours
    }

    /// Begins an attempt of the node's own.
    pub(super) fn begin(&mut self, core: &mut Core, purpose: Purpose, target: HostPort, now: Instant) {
        self.unasked += 1;
        self.begin_as(core, self.unasked, purpose, target, now);
    }

    pub(super) fn handle_resolved(
        &mut self,
        core: &mut Core,
        query: u64,
        outcome: &Result<Vec<SocketAddr>, String>,
        now: Instant,
    ) {
        self.machine.handle_resolved(query, outcome);
        self.advance(core, now);
    }

    /// `to_oneself`: it ends at this node itself.
    pub(super) fn handle_connected(
        &mut self,
        core: &mut Core,
        (attempt, slot): (u64, DialSlot),
        to_oneself: bool,
        now: Instant,
    ) {
        if to_oneself {
            let stream = self.streams.get(&(attempt, slot)).and_then(|&id| core.streams.facts(id));
            if let Some(facts) = stream {
                core.learn_own(facts.peer);
                core.effects.push(Effect::OwnAddresses);
            }
            self.machine.fail(attempt, FailReason::Oneself);
        } else {
            self.machine.handle_connected(attempt, slot);
        }
        self.advance(core, now);
    }

    /// It could not be dialled, and its stream is no more.
    pub(super) fn handle_failed(
        &mut self,
        core: &mut Core,
        (attempt, slot): (u64, DialSlot),
        kind: io::ErrorKind,
        now: Instant,
    ) {
        self.streams.remove(&(attempt, slot));
        self.machine.handle_failed(attempt, slot, kind, now);
        self.advance(core, now);
    }

    pub(super) fn handle_timeout(&mut self, core: &mut Core, now: Instant) {
        self.machine.handle_timeout(now);
        self.advance(core, now);
    }

    /// Gives up all that is under way but for the servers, to whom goodbye is said.
    pub(super) fn cancel_all(&mut self, core: &mut Core, now: Instant) {
        let is_server = |purpose: &Purpose| matches!(purpose, Purpose::Server { .. });
        let open: Vec<u64> = self
            .machine
            .iter()
            .filter(|(_, purpose)| !is_server(purpose))
            .map(|(number, _)| number)
            .collect();
        for number in open {
            if number < UNASKED {
                self.machine.fail(number, FailReason::Cancelled);
            } else {
                self.remove(core, number);
            }
        }
        self.advance(core, now);
    }

    /// Gives up the attempt to connect to a server, without a word.
    pub(super) fn hang_up(&mut self, core: &mut Core, server: ServerId) {
        let is_it =
            |purpose: &Purpose| matches!(purpose, Purpose::Server { server: other, .. } if *other == server);
        let open = self.machine.iter().find(|(_, purpose)| is_it(purpose)).map(|(number, _)| number);
        if let Some(number) = open {
            self.remove(core, number);
        }
    }

    fn id(&self, number: u64) -> AttemptId {
        AttemptId::new(self.net, number)
    }

    /// How many have sockets to peers, now or soon. Names to look up and servers are few and counted elsewhere.
    fn to_peers(&self) -> usize {
        let is_to_peer = |purpose: &Purpose| {
            matches!(purpose, Purpose::Application { .. } | Purpose::Asked(_) | Purpose::Network(_))
        };
        self.machine.iter().filter(|(_, purpose)| is_to_peer(purpose)).count()
    }

    fn begin_as(&mut self, core: &mut Core, number: u64, purpose: Purpose, target: HostPort, now: Instant) {
        self.machine.begin(number, purpose, target, core.config.connect_timeout, now);
        self.advance(core, now);
    }

    fn remove(&mut self, core: &mut Core, number: u64) {
        self.machine.remove(number);
        self.abandon_streams(core, number);
    }

    fn abandon_streams(&mut self, core: &mut Core, number: u64) {
        while let Some((&key, &id)) =
            self.streams.range((number, DialSlot::FIRST)..).next().filter(|((other, _), _)| *other == number)
        {
            self.streams.remove(&key);
            core.streams.abandon(id);
        }
    }

    /// Carries out what the machine wants, and passes on what became of attempts.
    fn advance(&mut self, core: &mut Core, now: Instant) {
        loop {
            if let Some(action) = self.machine.poll_action() {
                self.act(core, action, now);
            } else if let Some(event) = self.machine.poll_event() {
                self.handle_event(core, event, now);
            } else {
                return;
            }
        }
    }

    fn act(&mut self, core: &mut Core, action: AttemptAction, now: Instant) {
        match action {
            AttemptAction::LookUp { query, host, port } => {
                core.jobs.push_back(Job::Resolve { query, host, port });
            }
            AttemptAction::Dial { attempt, slot, to } => {
                let role = Role::Dialling { attempt, slot };
                let id = core.streams.dial(to, core.any_port(), role, now);
                self.streams.insert((attempt, slot), id);
            }
            AttemptAction::Abandon { attempt, slot } => {
                if let Some(id) = self.streams.remove(&(attempt, slot)) {
                    core.streams.abandon(id);
                }
            }
        }
    }

    fn handle_event(&mut self, core: &mut Core, event: AttemptEvent<Purpose>, now: Instant) {
        match event {
            AttemptEvent::Resolved { attempt, addresses } => {
                self.handle_addresses(core, attempt, addresses, now);
            }
            AttemptEvent::Connected { attempt, purpose, slot, began } => {
                if let Some(stream) = self.streams.remove(&(attempt, slot)) {
                    self.tell_connected(core, attempt, &purpose, stream, now - began);
                }
            }
            AttemptEvent::Failed { attempt, purpose, why } => {
                self.abandon_streams(core, attempt);
                self.tell_failed(core, attempt, purpose, why, now);
            }
        }
    }

    /// Has the addresses dialled, unless they were all that was wanted.
    fn handle_addresses(
        &mut self,
        core: &mut Core,
        attempt: u64,
        mut addresses: Vec<SocketAddr>,
        now: Instant,
    ) {
        let mut within = core.config.connect_timeout;
        match self.machine.purpose(attempt) {
            Some(&Purpose::LookUp(name)) => {
                self.machine.remove(attempt);
                core.effects.push(Effect::Resolved { name, addresses });
                return;
            }
            Some(&Purpose::Server { is_foreign, .. }) => {
                // A node that has both would otherwise never hear of its NAT, nor be listed for those who have only IPv4.
                // (RFC 8305 section 4 would begin with IPv6.)
                addresses.sort_by_key(SocketAddr::is_ipv6);
                if is_foreign {
                    within = within.min(time_of(core.config.links.max_claimed_syns));
                    allow_foreign(core, &mut addresses, now);
                }
            }
            Some(Purpose::Application { .. } | Purpose::Asked(_) | Purpose::Network(_)) | None => {}
        }
        self.machine.dial(attempt, addresses, &core.own, within, now);
    }

    fn tell_connected(
        &self,
        core: &mut Core,
        number: u64,
        purpose: &Purpose,
        stream: StreamId,
        took: Duration,
    ) {
        let Some(facts) = core.streams.facts(stream) else { return };
        if let &Purpose::Server { server, .. } = purpose {
            if let Some(tag) = core.streams.tag_mut(stream) {
                *tag = Role::Server(server);
            }
            core.effects.push(Effect::ServerConnected { server, stream, facts });
            return;
        }
        if let &Purpose::Asked(Ask { id, temporary, began }) = purpose {
            let ends = Ends { dialler: facts.local.unwrap_or(facts.peer), dialled: facts.peer };
            let waiter = Waiter { attempt: self.id(number), temporary };
            core.effects.push(Effect::Ask { stream, id, asked: Asked { waiter, ends, began } });
            return;
        }
        let counted = *purpose != Purpose::Application { counted: None };
        let attempt = (number < UNASKED).then(|| self.id(number));
        core.effects.push(Effect::Dialled(Dialled { stream, attempt, counted, took }));
    }

    fn tell_failed(&self, core: &mut Core, number: u64, purpose: Purpose, why: FailReason, now: Instant) {
        let why = match (&purpose, why) {
            // As every other way to a node says it.
            (Purpose::Asked(Ask { began, .. }), FailReason::Unreachable(tried)) => {
                let (why, took) = (RungFault::Unreachable(tried), now - *began);
                FailReason::NoWay(vec![Tried { rung: Rung::Direct, why, took }])
            }
            (_, why) => why,
        };
        match purpose {
            Purpose::Application { counted } => {
                if let Some(addr) = counted {
                    core.effects.push(Effect::PeerUnreached { addr, why: None });
                }
                tell_application(core, self.id(number), why);
            }
            Purpose::Asked(_) => tell_application(core, self.id(number), why),
            Purpose::Network(addr) => core.effects.push(Effect::PeerUnreached { addr, why: Some(why) }),
            Purpose::LookUp(name) => core.effects.push(Effect::Unresolved { name, why }),
            Purpose::Server { server, .. } => core.effects.push(Effect::ServerUnreached { server, why }),
        }
    }
}

fn tell_application(core: &mut Core, attempt: AttemptId, why: FailReason) {
    core.notes.push(Level::Info, || format!("attempt {attempt} failed: {why}"));
    core.effects.push(Effect::Tell(Event::Failed { attempt, why }));
}

/// A server that is only named by a UNL gets no more SYNs than anything else that is.
fn allow_foreign(core: &mut Core, addresses: &mut Vec<SocketAddr>, now: Instant) {
    addresses.truncate(FOREIGN_ADDRESSES);
    let syns = core.config.links.max_claimed_syns;
    addresses.retain(|&addr| core.budget.take(addr, Class::Claimed, syns, now));
}
