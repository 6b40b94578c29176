//! What the parts of a call work with.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use log::Level;

use super::action::{ConnectAction, ConnectEvent, DialId, OutgoingSignal, Unsent};
use super::announced::Announcements;
use super::config::ConnectConfig;
use super::surroundings::Surroundings;
use crate::id::{CallId, ServerId};
use crate::identity::{Key, NodeId};
use crate::proto::budget::Class;
use crate::random::Random;
use crate::time::Instant;
use crate::wire::rendezvous::Token;
use crate::wire::signal::{self, Body, Signal};

/// What all calls share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: ConnectConfig,
    /// Whoever has none has no calls.
    pub(super) key: Option<Arc<Key>>,
    pub(super) random: Random,
    pub(super) announced: Announcements,
    /// The last number given to a dial.
    serial: u64,
    /// At most what one input leads to: whoever drives the machine takes all of them after each.
    pub(super) actions: VecDeque<ConnectAction>,
    pub(super) events: VecDeque<ConnectEvent>,
}

/// The same for the time of one input.
pub(super) struct Context<'a, 'b> {
    pub(super) shared: &'a mut Shared,
    pub(super) around: &'a mut Surroundings<'b>,
    pub(super) now: Instant,
}

impl Shared {
    pub(super) fn new(config: ConnectConfig, key: Option<Arc<Key>>, random: Random) -> Self {
        Self {
            config,
            key,
            random,
            announced: Announcements::default(),
            serial: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) fn own_id(&self) -> Option<NodeId> {
        self.key.as_ref().map(|key| key.id())
    }
}

impl Context<'_, '_> {
    pub(super) fn config(&self) -> &ConnectConfig {
        &self.shared.config
    }

    pub(super) fn act(&mut self, action: ConnectAction) {
        self.shared.actions.push_back(action);
    }

    pub(super) fn tell(&mut self, event: ConnectEvent) {
        self.shared.events.push_back(event);
    }

    pub(super) fn note(&mut self, level: Level, text: impl FnOnce() -> String) {
        self.around.notes.push(level, text);
    }

    pub(super) fn dial(&mut self, call: CallId, to: SocketAddr, from: Option<u16>) -> DialId {
        self.shared.serial += 1;
        let dial = DialId { call, serial: self.shared.serial };
        self.act(ConnectAction::Dial { dial, to, from });
        dial
    }

    pub(super) fn abandon(&mut self, dial: DialId) {
        self.act(ConnectAction::Abandon { dial });
    }

    /// Says something to a node; whether the server takes it.
    pub(super) fn signal(
        &mut self,
        call: CallId,
        to: NodeId,
        server: ServerId,
        observed: Option<Token>,
        body: Body,
        unsent: Unsent,
    ) -> bool {
        if self.shared.key.is_none() || !self.around.servers.takes_signals(server) {
            return false;
        }
        let text = signal::print(&Signal { call, body });
        self.act(ConnectAction::Signal(OutgoingSignal { call, server, to, observed, text, unsent }));
        true
    }

    /// Takes what may be dialled to an address from the budget, if there is so much.
    pub(super) fn take(&mut self, to: SocketAddr, class: Class, syns: u32) -> bool {
        self.around.budget.take(to, class, syns, self.now)
    }

    pub(super) fn give_back(&mut self, to: SocketAddr, class: Class, syns: u32) {
        self.around.budget.give_back(to, class, syns);
    }

    /// Whether one more connection may be made to a server.
    pub(super) fn may_visit(&mut self, server: ServerId, addr: SocketAddr) -> bool {
        self.around.servers.is_own(server) || self.take(addr, Class::Claimed, 1)
    }

    /// A relay of ours: the one at this address, if there is one, or else the first.
    pub(super) fn own_relay(&mut self, wished: Option<SocketAddr>) -> Option<SocketAddr> {
        self.act(ConnectAction::RefreshRelays);
        self.around.relays.choose(wished)
    }

    /// Where a server sees us.
    pub(super) fn outside(&self, server: ServerId) -> Option<IpAddr> {
        self.around.servers.seen_at(server).map(|seen| seen.ip())
    }
}
