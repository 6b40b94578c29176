//! Connecting by UNL: the machine of calls, its dials, and what it sees of other rooms.

mod dials;
mod views;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::effect::Effect;
use super::ends::Ends;
use super::{Role, unl};
use crate::config::Config;
use crate::id::{CallId, StreamId};
use crate::proto::connect::{ConnectAction, ConnectConfig, Connector, DialId, Local, Surroundings};
use crate::random::Random;
use crate::time::Instant;
use dials::Dials;
pub(super) use views::View;
use views::{LinksSeen, RelaysSeen};

/// The machine of calls, and the streams that it has dialled.
#[derive(Debug)]
pub(super) struct Connecting {
    machine: Connector,
    dials: Dials,
}

impl Connecting {
    pub(super) fn new(config: &Config, core: &Core, wall_at_origin: Duration, random: &mut Random) -> Self {
        let links = &config.links;
        let connect_config = ConnectConfig {
            max_calls: links.max_calls,
            max_calls_per_minute: links.max_calls_per_minute,
            connect_within: links.connect_within,
            punch_time: links.punch_time,
            upgrade_every: links.upgrade_every,
            max_claimed_syns: links.max_claimed_syns,
            max_punch_syns: links.max_punch_syns,
            use_relays: links.relay_used,
        };
        let key = core.identity.key.clone().map(Arc::new);
        let machine = Connector::new(connect_config, key, wall_at_origin, random.fork());
        Self { machine, dials: Dials::default() }
    }

    pub(super) fn machine(&self) -> &Connector {
        &self.machine
    }

    pub(super) fn machine_mut(&mut self) -> &mut Connector {
        &mut self.machine
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    #[cfg(test)]
    pub(super) fn dials(&self) -> usize {
        self.dials.len()
    }

    /// Tells the machine something, and does what it wants of its streams; what it wants of other rooms is queued.
    pub(super) fn tell<R>(
        &mut self,
        core: &mut Core,
        view: View<'_>,
        now: Instant,
        tell: impl FnOnce(&mut Connector, &mut Surroundings<'_>) -> R,
    ) -> R {
        let reach = view.reaching.picture();
        let lan = unl::own_lan(core.listening, &reach);
        let Core { config, identity, streams, connections, budget, notes, own, listening, .. } = core;
        let (bind, listens, own_unl) = (config.bind, listening.is_some(), identity.unl.as_ref());
        let links = LinksSeen {
            links: view.links,
            handshaking: view.handshaking,
            connections,
            streams,
            admission: view.admission,
            now,
        };
        let relays = RelaysSeen { relays: view.relays, own, bind };
        let local = Local { reach: &reach, unl: own_unl, own, lan, listens, bind };
        let mut around =
            Surroundings { servers: view.servers, links: &links, relays: &relays, local, budget, notes };
        let told = tell(&mut self.machine, &mut around);
        self.act(core, now);
        told
    }

    fn act(&mut self, core: &mut Core, now: Instant) {
        while let Some(event) = self.machine.poll_event() {
            core.effects.push(Effect::OfCall(event));
        }
        while let Some(action) = self.machine.poll_action() {
            match action {
                ConnectAction::Dial { dial, to, from } => self.dial(core, dial, to, from, now),
                ConnectAction::Send { dial, bytes } => {
                    if let Some(stream) = self.dials.stream(dial) {
                        // A fresh stream takes a few lines.
                        let _ = core.streams.queue_raw(stream, &bytes);
                    }
                }
                ConnectAction::Close { dial } => {
                    if let Some(stream) = self.dials.remove(dial) {
                        core.streams.close(stream, now);
                    }
                }
                ConnectAction::Abandon { dial } if self.is_fresh(core, dial) => {
                    // At once, as its ends may be wanted for the next dial.
                    if let Some(stream) = self.dials.remove(dial) {
                        core.streams.abandon(stream);
                    }
                }
                action => core.effects.push(Effect::ForCall(action)),
            }
        }
    }
}

/// Streams.
impl Connecting {
    /// Whether nobody else has to do with its stream yet.
    fn is_fresh(&self, core: &Core, dial: DialId) -> bool {
        let tag = self.dials.stream(dial).and_then(|stream| core.streams.tag(stream));
        matches!(tag, Some(Role::Connecting(_)))
    }

    fn dial(&mut self, core: &mut Core, dial: DialId, to: SocketAddr, from: Option<u16>, now: Instant) {
        let from = match from {
            Some(port) => Some(core.end_at_port(port, to)),
            None => core.any_port(),
        };
        let stream = core.streams.dial(to, from, Role::Connecting(dial), now);
        self.dials.insert(dial, stream, to);
    }

    pub(super) fn set_local(&mut self, dial: DialId, local: SocketAddr) {
        self.dials.set_local(dial, local);
    }

    /// Of a dial that is connected.
    pub(super) fn ends(&self, dial: DialId) -> Option<(StreamId, Ends)> {
        self.dials.ends(dial)
    }

    /// The stream is no dial any more.
    pub(super) fn release(&mut self, dial: DialId) -> Option<StreamId> {
        self.dials.remove(dial)
    }

    /// A stream is no dial any more.
    pub(super) fn release_stream(&mut self, stream: StreamId) -> Option<DialId> {
        let dial = self.dials.at(stream)?;
        self.dials.remove(dial);
        Some(dial)
    }

    /// Forgets all dials of a call.
    pub(super) fn forget(&mut self, call: CallId) {
        self.dials.forget(call);
    }
}
