//! Connecting by UNL: what the machine of calls wants done is done here, and what becomes of it is told to it.

mod dials;
mod views;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::connections::Slot;
use super::core::Core;
use super::ends::Ends;
use super::links::Errand;
use super::{Node, Role, unl};
use crate::config::Config;
use crate::connect::{Connect, RungFault};
use crate::error::{ConnectError, FailReason};
use crate::event::{Event, Via};
use crate::id::{AttemptId, CallId, ConId, ServerId, StreamId};
use crate::identity::{Key, NodeId};
use crate::proto::budget::Class;
use crate::proto::connect::{
    ConnectAction, ConnectConfig, ConnectEvent, Connector, DialId, Handshake, Local, OutgoingSignal,
    Surroundings, Waiter,
};
use crate::random::Random;
use crate::reach::{NatKind, NodeType};
use crate::time::Instant;
use crate::wire::line::Found;
use crate::wire::nonce::NO_NONCE;
use crate::wire::rendezvous::{Incoming, Ntp, Ports};
use crate::wire::signal;
pub(super) use dials::Dials;
use views::{LinksSeen, RelaysSeen};

/// The machine, as it is configured.
pub(super) fn connector(
    config: &Config,
    key: Option<&Key>,
    wall_at_origin: Duration,
    random: &mut Random,
) -> Connector {
    let links = &config.links;
    let config = ConnectConfig {
        max_calls: links.max_calls,
        max_calls_per_minute: links.max_calls_per_minute,
        connect_within: links.connect_within,
        punch_time: links.punch_time,
        upgrade_every: links.upgrade_every,
        max_claimed_syns: links.max_claimed_syns,
        max_punch_syns: links.max_punch_syns,
        use_relays: links.relay_used,
    };
    Connector::new(config, key.cloned().map(Arc::new), wall_at_origin, random.fork())
}

/// Between the machine and the rest.
impl Node {
    /// Tells the machine something, and does what it wants then.
    fn tell_connector<R>(
        &mut self,
        now: Instant,
        tell: impl FnOnce(&mut Connector, &mut Surroundings<'_>) -> R,
    ) -> R {
        let reach = self.reach();
        let lan = unl::own_lan(self.core.listening, &reach);
        let Core { config, identity, streams, budget, notes, own, listening, .. } = &mut self.core;
        let (bind, listens, unl) = (config.bind, listening.is_some(), identity.unl.as_ref());
        let links = LinksSeen {
            links: &self.links,
            connections: &self.connections,
            streams,
            admission: &self.admission,
            now,
        };
        let relays = RelaysSeen { relays: &self.own_relays, own, bind };
        let local = Local { reach: &reach, unl, own, lan, listens, bind };
        let mut around =
            Surroundings { servers: &self.servers, links: &links, relays: &relays, local, budget, notes };
        let told = tell(&mut self.connector, &mut around);
        self.act_for_connector(now);
        told
    }

    /// Does what it wants, in that order; what it wants because of what is done here has its turn at the end.
    fn act_for_connector(&mut self, now: Instant) {
        if !self.dials.begin_acting() {
            return;
        }
        loop {
            if let Some(event) = self.connector.poll_event() {
                self.tell_of_call(event, now);
            } else if let Some(action) = self.connector.poll_action() {
                self.act_for_call(action, now);
            } else {
                break;
            }
        }
        self.dials.end_acting();
    }

    fn act_for_call(&mut self, action: ConnectAction, now: Instant) {
        match action {
            ConnectAction::Dial { dial, to, from } => self.dial_for_call(dial, to, from, now),
            ConnectAction::Send { dial, bytes } => {
                if let Some(stream) = self.dials.stream(dial) {
                    // A fresh stream takes a few lines.
                    let _ = self.core.streams.queue_raw(stream, &bytes);
                }
            }
            ConnectAction::Close { dial } => {
                if let Some(stream) = self.dials.remove(dial) {
                    self.core.streams.close(stream, now);
                }
            }
            ConnectAction::Abandon { dial } => self.abandon_dial(dial),
            ConnectAction::SayHello { dial, handshake } => {
                let Some((stream, ends)) = self.dials.ends(dial) else { return };
                let errand = errand(dial, handshake);
                self.say_hello(stream, handshake.with, errand, ends, now);
            }
            ConnectAction::ExpectHello { dial, handshake } => {
                let Some((stream, ends)) = self.dials.ends(dial) else { return };
                self.expect_hello(stream, errand(dial, handshake), ends, now);
            }
            ConnectAction::Adopt { dial, via, waiters, took } => self.adopt(dial, via, &waiters, took, now),
            ConnectAction::Admit { dial } => self.admit_candidate(dial, now),
            ConnectAction::FindServers { call, unl } => {
                let servers = self.servers.servers_of(&mut self.core, &unl, now);
                self.tell_connector(now, |calls, around| calls.handle_servers(call, servers, around, now));
            }
            ConnectAction::Signal(signal) => self.send_call_signal(&signal, now),
            ConnectAction::Announce { server, ip, ports } => {
                let sent = self.servers.send_candidate(&mut self.core, server, ip, ports, now);
                self.core.notes.push(Level::Debug, || format!("candidate of {ip}: {sent}"));
            }
            ConnectAction::Accept { call, server, ip, ports, ntp } => {
                if !self.servers.send_accept(&mut self.core, server, (ip, ports, ntp), now) {
                    self.tell_connector(now, |calls, around| calls.handle_unaccepted(call, around, now));
                }
            }
            ConnectAction::Register { server } => self.servers.register_again(&mut self.core, server, now),
            ConnectAction::RefreshRelays => self.own_relays.look_up(&mut self.core, now),
            ConnectAction::EndHandshakes { node, calls, others } => {
                self.end_other_greetings(node, &calls, &others);
            }
            ConnectAction::Over { call } => self.end_call(call, now),
        }
    }

    fn tell_of_call(&mut self, event: ConnectEvent, now: Instant) {
        match event {
            ConnectEvent::Connected { con, waiter, took } => self.tell_connected(con, waiter, took, now),
            ConnectEvent::Failed { attempt, why } => self.tell_failed(attempt, why),
            ConnectEvent::Climbing { attempt, progress } => {
                self.events.push(Event::Climbing { attempt, progress });
            }
        }
    }
}

/// What the application wants.
impl Node {
    /// Begins an attempt of the application's.
    pub(crate) fn connect_unl(&mut self, to: Connect, now: Instant) -> Result<AttemptId, ConnectError> {
        self.tell_connector(now, |calls, around| calls.check(&to.unl, &around.local))?;
        let attempt = self.attempts.next_id();
        let begun = self.tell_connector(now, |calls, around| calls.connect(to, attempt, around, now));
        self.route(now);
        begun.map(|()| attempt)
    }

    pub(super) fn cancel_call(&mut self, attempt: AttemptId, now: Instant) -> bool {
        self.tell_connector(now, |calls, around| calls.cancel(attempt, around, now))
    }

    /// The node leaves: nothing will come of any call.
    pub(super) fn leave_calls(&mut self, now: Instant) {
        self.tell_connector(now, |calls, around| calls.leave(around, now));
    }

    /// Lets all calls go on that have something to do.
    pub(super) fn advance_calls(&mut self, now: Instant) {
        if self.connector.poll_timeout().is_some_and(|at| at <= now) {
            self.tell_connector(now, |calls, around| calls.handle_timeout(around, now));
        }
    }

    /// The application is told that its attempt has led to this connection.
    fn tell_connected(&mut self, con: ConId, waiter: Waiter, took: Duration, now: Instant) {
        let Some(connection) = self.connections.get(con) else { return };
        let (via, peer) = (connection.via, connection.peer);
        self.events.push(Event::Connected { con, via, peer, attempt: Some(waiter.attempt), took });
        if waiter.temporary.is_some() {
            self.close_when_idle(con, waiter.temporary, now);
        }
    }

    fn tell_failed(&mut self, attempt: AttemptId, why: FailReason) {
        self.core.notes.push(Level::Info, || format!("attempt {attempt} failed: {why}"));
        self.events.push(Event::Failed { attempt, why });
    }
}

/// Streams.
impl Node {
    fn dial_for_call(&mut self, dial: DialId, to: SocketAddr, from: Option<u16>, now: Instant) {
        let from = match from {
            Some(port) => Some(self.core.end_at_port(port, to)),
            None => self.core.any_port(),
        };
        let stream = self.core.streams.dial(to, from, Role::Connecting(dial), now);
        self.dials.insert(dial, stream, to);
    }

    pub(super) fn handle_call_connected(&mut self, dial: DialId, local: SocketAddr, now: Instant) {
        self.dials.set_local(dial, local);
        self.tell_connector(now, |calls, around| calls.handle_connected(dial, around, now));
    }

    pub(super) fn handle_call_dial_failed(
        &mut self,
        dial: DialId,
        stream: StreamId,
        kind: io::ErrorKind,
        now: Instant,
    ) {
        self.core.streams.abandon(stream);
        self.tell_connector(now, |calls, around| calls.handle_failed(dial, kind, around, now));
    }

    /// It ended before a handshake began on it.
    pub(super) fn handle_call_stream_gone(&mut self, dial: DialId, now: Instant) {
        self.tell_connector(now, |calls, around| calls.handle_closed(dial, around, now));
    }

    pub(super) fn handle_call_lines(&mut self, dial: DialId, stream: StreamId, now: Instant) {
        while self.connector.wants_line(dial)
            && let Some(line) = self.core.streams.next_line(stream).map(Found::to_line)
        {
            self.tell_connector(now, |calls, around| {
                calls.handle_line(dial, line.as_bytes(), around, now);
            });
        }
    }

    /// Nothing more is wanted of it. What has become a connection stays, and what is closed in order ends by itself.
    fn abandon_dial(&mut self, dial: DialId) {
        let Some(stream) = self.dials.remove(dial) else { return };
        if self.links.greetings.contains_key(&stream) {
            self.drop_greeting(stream);
        } else if let Some(Role::Connecting(_)) = self.core.streams.tag(stream) {
            self.core.streams.abandon(stream);
        }
    }

    /// An address of a UNL of version 2 answers: that is all that can be known. The dialling side begins with a nonce, and nobody
    /// proves anything.
    fn adopt(&mut self, dial: DialId, via: Via, waiters: &[Waiter], took: Duration, now: Instant) {
        let Some((stream, ends)) = self.dials.ends(dial) else { return };
        self.dials.remove(dial);
        // A fresh stream takes it.
        let _ = self.core.streams.queue_raw(stream, &NO_NONCE);
        let connection = self.connection(stream, via, ends.dialled, ends, Slot::None);
        let con = self.name(connection);
        self.ends.insert_outbound(ends, con);
        for &waiter in waiters {
            self.tell_connected(con, waiter, took, now);
        }
    }

    /// A candidate has come by a punch: it is the one who has come to us.
    fn admit_candidate(&mut self, dial: DialId, now: Instant) {
        let Some((stream, Ends { dialler: dialled, dialled: dialler })) = self.dials.ends(dial) else {
            return;
        };
        self.dials.remove(dial);
        if self.may_enter(dialler, now) {
            self.greet_candidate(stream, Ends { dialler, dialled }, now);
        } else {
            self.core.streams.abandon(stream);
        }
    }

    /// Drops what belongs to a call that is over.
    fn end_call(&mut self, call: CallId, now: Instant) {
        self.dials.forget(call);
        // Those on which it is being found out who is there.
        for stream in self.links.greetings_of(call) {
            self.give_up_greeting(stream, now);
        }
        let connector = &self.connector;
        self.servers.release_foreign(&mut self.core, |server| connector.needs(server), now);
    }
}

/// Handshakes and links.
impl Node {
    /// A connection of a rung turned out not to be the node.
    pub(super) fn handle_greeting_failed(&mut self, stream: StreamId, why: RungFault, now: Instant) {
        if let Some(dial) = self.dials.at(stream) {
            self.dials.remove(dial);
            self.tell_connector(now, |calls, around| {
                calls.handle_handshake_failed(dial, why, around, now);
            });
        }
    }

    /// A hello of this call came from this node, which proves nothing yet.
    pub(super) fn handle_hello_of_call(&mut self, call: CallId, node: NodeId, now: Instant) {
        self.tell_connector(now, |calls, around| calls.handle_hello(call, node, around, now));
    }

    /// A handshake has come to nothing, for which calls may have waited.
    pub(super) fn resume_calls(&mut self, now: Instant) {
        self.tell_connector(now, |calls, around| calls.resume_calls(around, now));
    }

    /// There is a link to this node, which came about by this call, if any. `news`: the way and the peer's end, where the
    /// application was not told of the connection yet.
    pub(super) fn conclude_calls(
        &mut self,
        node: NodeId,
        con: ConId,
        by: Option<CallId>,
        news: Option<(Via, SocketAddr)>,
        now: Instant,
    ) {
        let told = self.tell_connector(now, |calls, around| calls.handle_link(node, con, by, around, now));
        let Some((via, peer)) = news else { return };
        // It is no third party: what was dialled there was dialled rightly.
        for class in [Class::Claimed, Class::Attested] {
            self.core.budget.give_back(peer, class, u32::MAX);
        }
        if !told {
            self.events.push(Event::Connected { con, via, peer, attempt: None, took: Duration::ZERO });
        }
    }

    /// A relayed link is about to go another way, to which this call led, if any.
    pub(super) fn conclude_upgrade(&mut self, con: ConId, by: Option<CallId>, now: Instant) {
        if let Some(node) = self.node_id(con) {
            self.tell_connector(now, |calls, around| calls.handle_upgraded(node, by, around, now));
        }
    }
}

/// Servers and signals.
impl Node {
    fn send_call_signal(&mut self, signal: &OutgoingSignal, now: Instant) {
        let OutgoingSignal { call, server, to, observed, text, .. } = signal;
        let Some(key) = &self.core.identity.key else { return };
        let signature = signal::sign(key, to, text);
        let sent = self.servers.send_signal(&mut self.core, *server, *to, (*observed, signature, text), now);
        self.core.notes.push(Level::Debug, || format!("call {call}, to {to}, sent: {sent}: {text}"));
        if !sent {
            self.tell_connector(now, |calls, around| calls.handle_unsent(signal, around, now));
        }
    }

    /// Something came from another node by way of a server.
    pub(super) fn handle_signal(&mut self, server: ServerId, incoming: &Incoming, now: Instant) {
        self.tell_connector(now, |calls, around| calls.handle_signal(server, incoming, around, now));
    }

    /// A server is there.
    pub(super) fn handle_server_met(&mut self, now: Instant) {
        self.tell_connector(now, |calls, around| calls.handle_server_met(around, now));
    }

    /// A server that calls may go through is there, or has proven to know us.
    pub(super) fn handle_server_ready(&mut self, server: ServerId, now: Instant) {
        self.tell_connector(now, |calls, around| calls.handle_server_ready(server, around, now));
    }

    /// No call gets through this server.
    pub(super) fn handle_server_useless(&mut self, server: ServerId, now: Instant) {
        self.tell_connector(now, |calls, around| calls.handle_server_useless(server, around, now));
    }

    /// A server is gone, for now.
    pub(super) fn handle_server_lost(&mut self, server: ServerId, now: Instant) {
        self.tell_connector(now, |calls, around| calls.handle_server_lost(server, around, now));
    }

    /// A server tells whether the node is there that a signal was for; `None`: it takes no more of ours.
    pub(super) fn handle_signaled(
        &mut self,
        server: ServerId,
        to: NodeId,
        there: Option<bool>,
        now: Instant,
    ) {
        self.tell_connector(now, |calls, around| calls.handle_signaled(server, to, there, around, now));
    }
}

/// pyp2p's meetings.
impl Node {
    /// Whether others may punch to us as pyp2p does: that is worth it for who can not be connected to, and has ports that
    /// can be foretold. pyp2p has only direct nets do this.
    pub(super) fn waits_for_candidates(&self) -> bool {
        let reach = self.reach();
        let predictable = reach.nat.kind().is_some_and(|kind| kind != NatKind::Random);
        let told = unl::told_type(&self.core.config, &reach) == NodeType::Simultaneous;
        self.greets_all()
            && self.core.config.links.simultaneous
            && told
            && predictable
            && !self.core.is_leaving()
    }

    /// A server has told one of those that we want to punch to.
    pub(super) fn handle_announced(&mut self, server: ServerId, now: Instant) {
        self.tell_connector(now, |calls, around| calls.handle_announced(server, around, now));
    }

    /// A node of pyp2p's accepts, and names the moment.
    pub(super) fn handle_fight(
        &mut self,
        server: ServerId,
        ip: IpAddr,
        ports: &Ports,
        ntp: Ntp,
        now: Instant,
    ) {
        self.tell_connector(now, |calls, around| {
            calls.handle_fight(server, (ip, ports, ntp), around, now);
        });
    }

    /// A server says that somebody wants to punch to us.
    pub(super) fn handle_challenge(&mut self, server: ServerId, ip: IpAddr, ports: &Ports, now: Instant) {
        if self.waits_for_candidates() {
            self.tell_connector(now, |calls, around| {
                calls.handle_challenge(server, ip, ports, around, now);
            });
        }
    }

    /// A server finds our registration too old to announce a candidate to us.
    pub(super) fn handle_reconnect(&mut self, server: ServerId, now: Instant) {
        self.tell_connector(now, |calls, around| calls.handle_reconnect(server, around, now));
    }
}

fn errand(dial: DialId, handshake: Handshake) -> Errand {
    let Handshake { rung, upgrade, .. } = handshake;
    Errand::Call { call: dial.call(), rung, upgrade }
}
