//! Handshakes on streams: what the machine wants is given to it, and what it wants done is done.

use super::super::Role;
use super::super::connections::Connections;
use super::super::core::Core;
use super::Links;
use crate::id::{CallId, ConId, StreamId};
use crate::identity::NodeId;
use crate::node::peer::ends::Ends;
use crate::node::streams::Streams;
use crate::proto::connect::Connector;
use crate::proto::handshake::{Opening, classify};
use crate::proto::links::{self, Action, Event, Handshakes, HandshakesConfig, Origin, Surroundings, Wants};
use crate::time::Instant;
use crate::wire::hello::MAX_HELLO;
use crate::wire::line::Found;

/// The streams of a node of which it is being found out who is there.
#[derive(Debug)]
pub(in super::super) struct Handshaking {
    machine: Handshakes,
}

/// What handshakes have to know of other rooms.
#[derive(Clone, Copy)]
pub(in super::super) struct Known<'a> {
    pub(in super::super) connector: &'a Connector,
    pub(in super::super) links: &'a Links,
}

impl Handshaking {
    pub(in super::super) fn new(config: &crate::config::Config) -> Self {
        let machine = Handshakes::new(HandshakesConfig {
            timeout: config.links.hello_timeout,
            credit: config.streams.credit(),
            max_before: config.streams.max_unread,
            nonce_required: config.links.nonce_required,
        });
        Self { machine }
    }

    pub(in super::super) fn machine(&self) -> &Handshakes {
        &self.machine
    }

    pub(in super::super) fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    pub(in super::super) fn poll_event(&mut self) -> Option<Event> {
        self.machine.poll_event()
    }

    /// Somebody else's stream, which is not shown before it is known who it is.
    pub(in super::super) fn accept(
        &mut self,
        core: &mut Core,
        stream: StreamId,
        (origin, ends): (Origin, Ends),
        known: Known<'_>,
        now: Instant,
    ) {
        set_role(core, stream, Role::Handshake);
        // How long it was held back until now counts, too.
        let opened = core.streams.facts(stream).map_or(now, |facts| facts.opened);
        self.machine.accept(stream, origin, ends, opened);
        self.handle_received(core, stream, known, now);
    }

    /// The first bytes of a connection that the application sees: whether they are a hello, once that is known.
    pub(in super::super) fn is_hello(core: &mut Core, stream: StreamId) -> Option<bool> {
        if core.identity.key.is_none() {
            return Some(false);
        }
        let arrived = core.streams.arrived(stream);
        match classify(arrived) {
            Opening::Hello => Some(true),
            // What can not become a hello any more was not one. Only a whole line makes a difference.
            Opening::Undecided if arrived.first() == Some(&b'~') && arrived.len() <= MAX_HELLO => None,
            Opening::Undecided | Opening::Pyp2pNonce(_) | Opening::Plain => Some(false),
        }
    }

    /// A shown connection begins with a hello.
    pub(in super::super) fn accept_shown(
        &mut self,
        core: &mut Core,
        stream: StreamId,
        (con, ends): (ConId, Ends),
        known: Known<'_>,
        now: Instant,
    ) {
        self.machine.accept_shown(stream, con, ends, now);
        self.handle_received(core, stream, known, now);
    }

    pub(in super::super) fn say_hello(
        &mut self,
        core: &mut Core,
        stream: StreamId,
        (to, origin, ends): (Option<NodeId>, Origin, Ends),
        known: Known<'_>,
        now: Instant,
    ) {
        set_role(core, stream, Role::Handshake);
        self.with(core, known, |machine, around| {
            machine.say_hello(stream, to, origin, ends, around, now);
        });
        self.act(core, now);
        self.handle_received(core, stream, known, now);
    }

    pub(in super::super) fn expect_hello(
        &mut self,
        core: &mut Core,
        stream: StreamId,
        (origin, ends): (Origin, Ends),
        known: Known<'_>,
        now: Instant,
    ) {
        set_role(core, stream, Role::Handshake);
        self.machine.expect_hello(stream, origin, ends, now);
        self.handle_received(core, stream, known, now);
    }

    /// Gives it what has come, as far as it wants that.
    pub(in super::super) fn handle_received(
        &mut self,
        core: &mut Core,
        stream: StreamId,
        known: Known<'_>,
        now: Instant,
    ) {
        loop {
            match self.machine.wants(stream) {
                Wants::Nothing => return,
                Wants::Opening => {
                    let opening = classify(core.streams.arrived(stream));
                    if opening == Opening::Undecided {
                        return;
                    }
                    let has_key = core.identity.key.is_some();
                    self.machine.handle_opening(stream, opening, has_key, now);
                }
                Wants::Line => {
                    let Some(line) = core.streams.next_line(stream).map(Found::to_line) else { return };
                    self.with(core, known, |machine, around| machine.handle_line(stream, line, around, now));
                }
            }
            self.act(core, now);
        }
    }

    pub(in super::super) fn handle_gone(
        &mut self,
        core: &mut Core,
        stream: StreamId,
        why: &str,
        now: Instant,
    ) {
        self.machine.handle_gone(stream, why, now);
        self.act(core, now);
    }

    pub(in super::super) fn give_up(&mut self, core: &mut Core, stream: StreamId, now: Instant) {
        self.machine.give_up(stream, now);
        self.act(core, now);
    }

    pub(in super::super) fn drop(&mut self, core: &mut Core, stream: StreamId, now: Instant) {
        self.machine.drop(stream);
        self.act(core, now);
    }

    pub(in super::super) fn end_others(
        &mut self,
        core: &mut Core,
        node: NodeId,
        calls: [&[CallId]; 2],
        known: Known<'_>,
        now: Instant,
    ) {
        self.with(core, known, |machine, around| machine.end_others(node, calls, around, now));
        self.act(core, now);
    }

    pub(in super::super) fn handle_timeout(&mut self, core: &mut Core, known: Known<'_>, now: Instant) {
        if self.machine.poll_timeout().is_some_and(|at| at <= now) {
            self.with(core, known, |machine, around| machine.handle_timeout(around, now));
            self.act(core, now);
        }
    }

    fn with(
        &mut self,
        core: &mut Core,
        known: Known<'_>,
        tell: impl FnOnce(&mut Handshakes, &mut Surroundings<'_>),
    ) {
        let leaving = core.is_leaving();
        let Core { identity, connections, streams, .. } = core;
        let links = LinksView { links: known.links, connections, streams };
        let mut around = Surroundings {
            key: identity.key.as_ref(),
            random: &mut identity.random,
            calls: known.connector,
            links: &links,
            leaving,
        };
        tell(&mut self.machine, &mut around);
    }

    fn act(&mut self, core: &mut Core, now: Instant) {
        while let Some(action) = self.machine.poll_action() {
            let streams = &mut core.streams;
            match action {
                Action::Send { stream, line } => {
                    if streams.queue_protocol(stream, &line).is_err() {
                        self.machine.handle_unsent(stream, now);
                    }
                }
                Action::FrameSending { stream, takes, may_send } => {
                    streams.frame_sending(stream, takes, may_send);
                }
                Action::FrameReceiving { stream, is_relayed } => streams.frame_receiving(stream, is_relayed),
                Action::Skip { stream, len } => streams.skip(stream, len),
                Action::Close { stream } => drop(streams.close(stream, now)),
                Action::Abandon { stream } => drop(streams.abandon(stream)),
                Action::Hide { stream } => set_role(core, stream, Role::Handshake),
            }
        }
    }
}

fn set_role(core: &mut Core, stream: StreamId, role: Role) {
    if let Some(tag) = core.streams.tag_mut(stream) {
        *tag = role;
    }
}

impl links::Calls for Connector {
    fn peer_of(&self, call: CallId) -> Option<NodeId> {
        Self::peer_of(self, call)
    }

    fn is_ours(&self, call: CallId) -> bool {
        Self::is_ours(self, call)
    }

    fn was_ours(&self, call: CallId) -> bool {
        Self::was_ours(self, call)
    }
}

/// The links, and whether they are being closed.
struct LinksView<'a> {
    links: &'a Links,
    connections: &'a Connections,
    streams: &'a Streams<Role>,
}

impl links::Links for LinksView<'_> {
    fn link_to(&self, node: NodeId) -> Option<ConId> {
        self.links.to(node)
    }

    fn open_link_to(&self, node: NodeId) -> Option<ConId> {
        let writing = |con: &ConId| self.connections.get(*con).map(|connection| connection.writing);
        self.links.to(node).filter(|con| writing(con).is_some_and(|stream| self.streams.is_open(stream)))
    }

    fn certain_at(&self, link: ConId) -> Option<Instant> {
        self.links.link(link).map(|link| link.certain_at)
    }

    fn is_relayed(&self, link: ConId) -> bool {
        self.links.is_relayed(link)
    }

    fn came_by(&self, link: ConId, call: CallId) -> bool {
        self.links.link(link).is_some_and(|link| link.calls.contains(&call))
    }
}
