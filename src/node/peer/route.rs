//! How the rooms of a node meet: here alone is known who has to do with whom.
//!
//! After each input, what the rooms want of each other is taken from the queue of effects and handed on, one after the other,
//! until nothing is left.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::asking::Asked;
use super::attempts::LookUp;
use super::connect::View;
use super::effect::{Dialled, Effect, ServerSays, Signalling};
use super::ends::Ends;
use super::links::Known;
use super::servers::Adverts;
use super::{Node, Role, Slot, unl};
use crate::connect::RungFault;
use crate::error::{CloseReason, FailReason};
use crate::event::{Event, Via};
use crate::id::{CallId, ConId, ServerId, StreamId};
use crate::identity::NodeId;
use crate::proto::budget::Class;
use crate::proto::connect::{
    ConnectAction, ConnectEvent, Connector, DialId, Handshake, OutgoingSignal, Surroundings, Waiter,
};
use crate::proto::dial::DialSlot;
use crate::proto::links::{self, Origin};
use crate::reach::{NatKind, NodeType};
use crate::time::Instant;
use crate::wire::line::Found;
use crate::wire::nonce::NO_NONCE;
use crate::wire::signal;

/// Far more effects than one input leads to. Should there ever be more, the rest is handed on in the next tick, which comes at
/// once.
const ROUNDS: usize = 10_000;

impl Node {
    /// Hands on what the rooms want of each other.
    pub(super) fn route(&mut self, now: Instant) {
        for _ in 0..ROUNDS {
            if let Some(event) = self.handshaking.poll_event() {
                self.handle_handshake(event, now);
            } else if let Some(effect) = self.core.effects.pop() {
                self.carry_out(effect, now);
            } else {
                return;
            }
        }
    }

    fn carry_out(&mut self, effect: Effect, now: Instant) {
        match effect {
            Effect::Tell(event) => self.events.push(event),
            Effect::OfCall(event) => self.tell_of_call(event, now),
            Effect::ForCall(action) => self.act_for_call(action, now),
            Effect::Attempt { purpose, target } => {
                self.attempts.begin(&mut self.core, purpose, target, now);
            }
            Effect::HangUp(server) => self.attempts.hang_up(&mut self.core, server),
            Effect::Dialled(dialled) => self.show_dialled(&dialled, now),
            Effect::Ask { stream, id, asked } => self.ask_who_is_there(stream, id, asked, now),
            Effect::PeerUnreached { addr, why } => {
                self.network.handle_unreached(&mut self.core, addr, why.as_ref(), now);
            }
            Effect::Resolved { name: LookUp::StaticPeer(place), addresses } => {
                self.network.handle_name_resolved(&mut self.core, place, &addresses, now);
            }
            Effect::Resolved { name: LookUp::OwnRelay(place), addresses } => {
                self.own_relays.handle_resolved(&self.core, place, &addresses);
            }
            Effect::Unresolved { name: LookUp::StaticPeer(place), why } => {
                self.network.handle_name_unresolved(&mut self.core, place, &why, now);
            }
            Effect::Unresolved { name: LookUp::OwnRelay(place), why } => {
                self.own_relays.handle_unresolved(&mut self.core, place, &why);
            }
            Effect::ServerConnected { server, stream, facts } => {
                self.servers.handle_connected(&mut self.core, server, stream, facts, now);
            }
            Effect::ServerUnreached { server, why } => {
                self.servers.handle_unreached(&mut self.core, server, &why, now);
            }
            Effect::Nodes { server, nodes } => self.network.handle_listed(server, &nodes, now),
            Effect::Signalling { what: Signalling::Challenge { .. }, .. } if !self.waits_for_candidates() => {
            }
            Effect::Signalling { server, what } => self.handle_signalling(server, what, now),
            Effect::ServerDown(server) => {
                self.inbound.pending.handle_server_down(server, now);
                self.tell_reach(server, ServerSays::Down, now);
                self.tell_calls(now, |calls, around| calls.handle_server_lost(server, around, now));
            }
            Effect::AskForProbe { server, port, nonce } => {
                self.servers.ask_for_probe(&mut self.core, server, port, nonce, now);
            }
            Effect::ProbeAsked { server, port, ip, nonce } => {
                self.inbound.pending.handle_asked(server, port, ip, nonce);
            }
            Effect::ProbeTold { server, port, outcome } => {
                self.inbound.handle_told(&mut self.core, server, port, outcome, now);
            }
            Effect::RelayClient { stream, ends } => self.let_in_relay_client(stream, ends, now),
            Effect::Reach { server, says } => self.tell_reach(server, says, now),
            Effect::ReconnectServer(server) => self.servers.reconnect(&mut self.core, server, now),
            Effect::Adverts => {
                let adverts = self.adverts();
                self.servers.set_adverts(&self.core, &adverts, now);
            }
            Effect::OwnAddresses => self.tell_own_addresses(),
            Effect::OwnUnl => self.renew_unl(),
        }
    }

    /// What there is to register at servers.
    pub(super) fn adverts(&self) -> Adverts {
        let finder = self.reaching.finder();
        Adverts {
            ports: (0..self.servers.own_count()).map(|place| finder.advertised_port(place)).collect(),
            simultaneous: self.waits_for_candidates(),
        }
    }

    /// A dial of an attempt is connected, perhaps to this node itself.
    pub(super) fn handle_dial_connected(
        &mut self,
        dial: (u64, DialSlot),
        stream: StreamId,
        local: SocketAddr,
        now: Instant,
    ) {
        let dialled = self.core.streams.facts(stream).map(|facts| facts.peer);
        let ends = dialled.map(|dialled| Ends { dialler: local, dialled });
        let other_side = ends.and_then(|ends| self.ends.inbound(ends));
        if let Some(con) = other_side {
            self.core.close_for(con, CloseReason::Local, now);
        }
        let to_oneself = other_side.is_some() || ends.is_some_and(|ends| self.inbound.holds(ends));
        self.attempts.handle_connected(&mut self.core, dial, to_oneself, now);
    }

    /// An outbound connection turned out to end at this node itself.
    pub(super) fn handle_oneself(&mut self, con: ConId, now: Instant) {
        if let Some(facts) = self.core.facts(con) {
            self.core.notes.push(Level::Info, || format!("{} is this node itself", facts.peer));
            self.core.learn_own(facts.peer);
            self.core.effects.push(Effect::OwnAddresses);
        }
        self.core.close_for(con, CloseReason::Local, now);
    }

    fn tell_own_addresses(&mut self) {
        let mut claimed = self.servers.seen();
        claimed.extend(self.reaching.mapped());
        self.network.set_own(&self.core, &claimed);
    }

    /// Tells the application of the UNL when it is another one, and has the relay known where it is seen.
    fn renew_unl(&mut self) {
        let reach = self.reaching.picture();
        if let Some(desk) = &mut self.relay_desk {
            desk.set_public_address(&reach);
        }
        if unl::renew(&mut self.core, &reach, self.servers.signalling())
            && let Some(unl) = self.core.identity.unl.clone()
        {
            self.core.notes.push(Level::Debug, || format!("unl: {unl}"));
            self.events.push(Event::Unl(unl));
        }
    }

    /// Only servers of our own choice have a say in how we can be reached.
    fn tell_reach(&mut self, server: ServerId, says: ServerSays, now: Instant) {
        if let Some(place) = self.servers.place_of(server) {
            self.reaching.handle_server(place, says, now);
        }
    }

    fn handle_signalling(&mut self, server: ServerId, what: Signalling, now: Instant) {
        self.tell_calls(now, |calls, around| match what {
            Signalling::Met => calls.handle_server_met(around, now),
            Signalling::Ready => calls.handle_server_ready(server, around, now),
            Signalling::Useless => calls.handle_server_useless(server, around, now),
            Signalling::Signaled { to, there } => calls.handle_signaled(server, to, there, around, now),
            Signalling::Signal(incoming) => calls.handle_signal(server, &incoming, around, now),
            Signalling::Announced => calls.handle_announced(server, around, now),
            Signalling::Fight { ip, ports, ntp } => {
                calls.handle_fight(server, (ip, &ports, ntp), around, now);
            }
            Signalling::Challenge { ip, ports } => calls.handle_challenge(server, ip, &ports, around, now),
            Signalling::Reconnect => calls.handle_reconnect(server, around, now),
        });
    }

    fn let_in_relay_client(&mut self, stream: StreamId, ends: Ends, now: Instant) {
        if let Some(desk) = &mut self.relay_desk {
            let is_banned = self.admission.is_banned(ends.dialler.ip(), now);
            desk.let_in(&mut self.core, stream, ends, is_banned, now);
        }
    }

    fn show_dialled(&mut self, dialled: &Dialled, now: Instant) {
        let Some(facts) = self.core.streams.facts(dialled.stream) else { return };
        // A connection has a local end; were it unknown, it could only not be told from one to oneself.
        let ends = Ends { dialler: facts.local.unwrap_or(facts.peer), dialled: facts.peer };
        self.network.handle_dialled(facts.peer, dialled.counted, now);
        let connection = self.connection(dialled.stream, Via::Direct, facts.peer, ends, Slot::Outbound);
        let con = self.show(connection, dialled.attempt, dialled.took);
        self.ends.insert_outbound(self.ends.tag(ends), con);
    }
}

/// Addresses of which it is asked who is there.
impl Node {
    fn ask_who_is_there(&mut self, stream: StreamId, id: Option<NodeId>, asked: Asked, now: Instant) {
        self.asking.insert(stream, asked);
        if let Some(id) = id.filter(|&id| self.con_of(id).is_some()) {
            // It has come, or was found, meanwhile.
            self.core.streams.abandon(stream);
            return self.tell_given_way(stream, id, now);
        }
        let known = Known { connector: self.connecting.machine(), links: &self.links };
        self.handshaking.say_hello(&mut self.core, stream, (id, Origin::Asked, asked.ends), known, now);
    }

    /// The application is told of the link that there is to this node.
    fn tell_given_way(&mut self, stream: StreamId, node: NodeId, now: Instant) {
        match self.con_of(node) {
            Some(con) => self.tell_asked(stream, con, now),
            None => self.fail_asked(stream, now),
        }
    }

    /// The attempt has led to this connection.
    pub(super) fn tell_asked(&mut self, stream: StreamId, con: ConId, now: Instant) {
        if let Some(Asked { waiter, began, .. }) = self.asking.remove(stream) {
            self.tell_connected(con, waiter, now - began, now);
        }
    }

    /// What is left when it broke.
    fn fail_asked(&mut self, stream: StreamId, now: Instant) {
        if let Some(ends) = self.asking.ends(stream) {
            self.asking.fail_for(&mut self.core, stream, RungFault::Silent(ends.dialled), now);
        }
    }

    /// Nothing more is wanted of it.
    pub(super) fn stop_asking(&mut self, stream: StreamId, why: FailReason, now: Instant) {
        self.asking.fail(&mut self.core, stream, why);
        self.handshaking.drop(&mut self.core, stream, now);
    }
}

/// Calls.
impl Node {
    /// Tells calls something.
    pub(super) fn tell_calls<R>(
        &mut self,
        now: Instant,
        tell: impl FnOnce(&mut Connector, &mut Surroundings<'_>) -> R,
    ) -> R {
        let view = View {
            links: &self.links,
            handshaking: &self.handshaking,
            admission: &self.admission,
            relays: &self.own_relays,
            servers: &self.servers,
            reaching: &self.reaching,
        };
        self.connecting.tell(&mut self.core, view, now, tell)
    }

    pub(super) fn handle_dial_of_call(&mut self, dial: DialId, local: SocketAddr, now: Instant) {
        self.connecting.set_local(dial, local);
        self.tell_calls(now, |calls, around| calls.handle_connected(dial, around, now));
    }

    pub(super) fn handle_dial_of_call_failed(
        &mut self,
        (dial, stream, kind): (DialId, StreamId, io::ErrorKind),
        now: Instant,
    ) {
        self.core.streams.abandon(stream);
        self.tell_calls(now, |calls, around| calls.handle_failed(dial, kind, around, now));
    }

    pub(super) fn handle_lines_of_call(&mut self, dial: DialId, stream: StreamId, now: Instant) {
        while self.connecting.machine().wants_line(dial)
            && let Some(line) = self.core.streams.next_line(stream).map(Found::to_line)
        {
            self.tell_calls(now, |calls, around| calls.handle_line(dial, line.as_bytes(), around, now));
        }
    }

    fn act_for_call(&mut self, action: ConnectAction, now: Instant) {
        match action {
            // Done where the streams are.
            ConnectAction::Dial { .. } | ConnectAction::Send { .. } | ConnectAction::Close { .. } => {}
            ConnectAction::Abandon { dial } => self.abandon_dial(dial, now),
            ConnectAction::SayHello { dial, handshake } => {
                let Some((stream, ends)) = self.connecting.ends(dial) else { return };
                let what = (handshake.with, origin(dial, handshake), ends);
                let known = Known { connector: self.connecting.machine(), links: &self.links };
                self.handshaking.say_hello(&mut self.core, stream, what, known, now);
            }
            ConnectAction::ExpectHello { dial, handshake } => {
                let Some((stream, ends)) = self.connecting.ends(dial) else { return };
                let what = (origin(dial, handshake), ends);
                let known = Known { connector: self.connecting.machine(), links: &self.links };
                self.handshaking.expect_hello(&mut self.core, stream, what, known, now);
            }
            ConnectAction::Adopt { dial, via, waiters, took } => self.adopt(dial, via, &waiters, took, now),
            ConnectAction::Admit { dial } => self.admit_candidate(dial, now),
            ConnectAction::FindServers { call, unl } => {
                let servers = self.servers.servers_of(&mut self.core, &unl, now);
                self.tell_calls(now, |calls, around| calls.handle_servers(call, servers, around, now));
            }
            ConnectAction::Signal(signal) => self.send_signal(&signal, now),
            ConnectAction::Announce { server, ip, ports } => {
                let sent = self.servers.send_candidate(&mut self.core, server, ip, ports, now);
                self.core.notes.push(Level::Debug, || format!("candidate of {ip}: {sent}"));
            }
            ConnectAction::Accept { call, server, ip, ports, ntp } => {
                if !self.servers.send_accept(&mut self.core, server, (ip, ports, ntp), now) {
                    self.tell_calls(now, |calls, around| calls.handle_unaccepted(call, around, now));
                }
            }
            ConnectAction::Register { server } => self.servers.register_again(&mut self.core, server, now),
            ConnectAction::RefreshRelays => self.own_relays.look_up(&mut self.core, now),
            ConnectAction::EndHandshakes { node, calls, others } => {
                let known = Known { connector: self.connecting.machine(), links: &self.links };
                self.handshaking.end_others(&mut self.core, node, [&calls, &others], known, now);
            }
            ConnectAction::Over { call } => self.end_call(call, now),
        }
    }

    fn tell_of_call(&mut self, event: ConnectEvent, now: Instant) {
        match event {
            ConnectEvent::Connected { con, waiter, took } => self.tell_connected(con, waiter, took, now),
            ConnectEvent::Failed { attempt, why } => {
                self.core.notes.push(Level::Info, || format!("attempt {attempt} failed: {why}"));
                self.events.push(Event::Failed { attempt, why });
            }
            ConnectEvent::Climbing { attempt, progress } => {
                self.events.push(Event::Climbing { attempt, progress });
            }
        }
    }

    /// The application is told that its attempt has led to this connection.
    pub(super) fn tell_connected(&mut self, con: ConId, waiter: Waiter, took: Duration, now: Instant) {
        let Some(connection) = self.core.connections.get(con) else { return };
        let (via, peer) = (connection.via, connection.peer);
        self.events.push(Event::Connected { con, via, peer, attempt: Some(waiter.attempt), took });
        if waiter.temporary.is_some() {
            self.links.close_when_idle(&self.core, con, waiter.temporary, now);
        }
    }

    /// Nothing more is wanted of it. What has become a connection stays, and what is closed in order ends by itself.
    fn abandon_dial(&mut self, dial: DialId, now: Instant) {
        let Some(stream) = self.connecting.release(dial) else { return };
        if self.handshaking.machine().has(stream) {
            self.handshaking.drop(&mut self.core, stream, now);
        } else if let Some(Role::Connecting(_)) = self.core.streams.tag(stream) {
            self.core.streams.abandon(stream);
        }
    }

    /// An address of a UNL of version 2 answers: that is all that can be known. The dialling side begins with a nonce, and nobody
    /// proves anything.
    fn adopt(&mut self, dial: DialId, via: Via, waiters: &[Waiter], took: Duration, now: Instant) {
        let Some((stream, ends)) = self.connecting.ends(dial) else { return };
        self.connecting.release(dial);
        // A fresh stream takes it.
        let _ = self.core.streams.queue_raw(stream, &NO_NONCE);
        let connection = self.connection(stream, via, ends.dialled, ends, Slot::None);
        let con = self.name(connection);
        self.ends.insert_outbound(self.ends.tag(ends), con);
        for &waiter in waiters {
            self.tell_connected(con, waiter, took, now);
        }
    }

    /// A candidate has come by a punch: it is the one who has come to us.
    fn admit_candidate(&mut self, dial: DialId, now: Instant) {
        let Some((stream, Ends { dialler: dialled, dialled: dialler })) = self.connecting.ends(dial) else {
            return;
        };
        self.connecting.release(dial);
        if self.may_enter(dialler, now) {
            self.shake_hands(stream, Origin::Met, Ends { dialler, dialled }, now);
        } else {
            self.core.streams.abandon(stream);
        }
    }

    /// Drops what belongs to a call that is over, and foreign servers that no call needs any more.
    fn end_call(&mut self, call: CallId, now: Instant) {
        self.connecting.forget(call);
        for stream in self.handshaking.machine().of_call(call) {
            self.handshaking.give_up(&mut self.core, stream, now);
        }
        let calls = self.connecting.machine();
        self.servers.release_foreign(&mut self.core, |server| calls.needs(server), now);
    }

    fn send_signal(&mut self, signal: &OutgoingSignal, now: Instant) {
        let OutgoingSignal { call, server, to, observed, text, .. } = signal;
        let Some(key) = &self.core.identity.key else { return };
        let signature = signal::sign(key, to, text);
        let sent = self.servers.send_signal(&mut self.core, *server, *to, (*observed, signature, text), now);
        self.core.notes.push(Level::Debug, || format!("call {call}, to {to}, sent: {sent}: {text}"));
        if !sent {
            self.tell_calls(now, |calls, around| calls.handle_unsent(signal, around, now));
        }
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
        let told = self.tell_calls(now, |calls, around| calls.handle_link(node, con, by, around, now));
        let Some((via, peer)) = news else { return };
        // It is no third party: what was dialled there was dialled rightly.
        for class in [Class::Claimed, Class::Attested] {
            self.core.budget.give_back(peer, class, u32::MAX);
        }
        // Who waits for an address where this node is to be is told when that has given way.
        if !told && !self.handshaking.machine().is_asked_about(node) {
            self.events.push(Event::Connected { con, via, peer, attempt: None, took: Duration::ZERO });
        }
    }

    /// A relayed link is about to go another way, to which this call led, if any.
    pub(super) fn conclude_upgrade(&mut self, con: ConId, by: Option<CallId>, now: Instant) {
        if let Some(node) = self.links.link(con).map(|link| link.peer.id()) {
            self.tell_calls(now, |calls, around| calls.handle_upgraded(node, by, around, now));
        }
    }

    /// Whether others may punch to us as pyp2p does: that is worth it for who can not be connected to, and has ports that
    /// can be foretold. pyp2p has only direct nets do this.
    fn waits_for_candidates(&self) -> bool {
        let (reach, config) = (self.reaching.picture(), &self.core.config);
        let predictable = reach.nat.kind().is_some_and(|kind| kind != NatKind::Random);
        let told = unl::told_type(config, &reach) == NodeType::Simultaneous;
        config.links.direct && config.links.simultaneous && told && predictable && !self.core.is_leaving()
    }
}

/// Handshakes.
impl Node {
    fn handle_handshake(&mut self, event: links::Event, now: Instant) {
        match event {
            links::Event::Proven { stream, handshake, .. } if !self.core.streams.is_open(stream) => {
                // It broke while the last line was said.
                if matches!(handshake.origin, Origin::Call { .. } | Origin::Asked) {
                    let why = RungFault::Silent(handshake.ends.dialled);
                    self.handle_handshake_failed(stream, why, now);
                } else if handshake.shown.is_none() {
                    self.admission.handle_closed(handshake.ends.dialler.ip());
                }
            }
            links::Event::Proven { stream, peer, handshake } => {
                self.handle_proven(stream, peer, handshake, now)
            }
            links::Event::Plain { stream, handshake } => self.show_plain(stream, &handshake, now),
            links::Event::SlotFreed(ends) => self.admission.handle_closed(ends.dialler.ip()),
            links::Event::Failed { stream, why } => self.handle_handshake_failed(stream, why, now),
            links::Event::Oneself { stream } => {
                self.asking.fail(&mut self.core, stream, FailReason::Oneself);
            }
            links::Event::GaveWay { stream, peer } => self.tell_given_way(stream, peer, now),
            links::Event::Hello { call, node } => {
                self.tell_calls(now, |calls, around| calls.handle_hello(call, node, around, now));
            }
            links::Event::Known { con, ends } => {
                self.set_known(con);
                if ends {
                    self.core.close_for(con, CloseReason::Protocol, now);
                }
            }
            links::Event::Hidden { con } => self.hide(con, now),
            links::Event::Ended => self.tell_calls(now, |calls, around| calls.resume_calls(around, now)),
            links::Event::Note { ends, text } => {
                self.core.notes.push(Level::Debug, || format!("{} {text}", ends.dialled));
            }
        }
    }

    /// A connection of a rung turned out not to be the node.
    pub(super) fn handle_handshake_failed(&mut self, stream: StreamId, why: RungFault, now: Instant) {
        if let Some(dial) = self.connecting.release_stream(stream) {
            self.tell_calls(now, |calls, around| calls.handle_handshake_failed(dial, why, around, now));
        } else {
            self.asking.fail_for(&mut self.core, stream, why, now);
        }
    }
}

fn origin(dial: DialId, handshake: Handshake) -> Origin {
    let Handshake { rung, upgrade, .. } = handshake;
    Origin::Call { call: dial.call(), rung, upgrade }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::error::FailReason;
    use crate::event::RendezvousNews;
    use crate::node::{Action, Host, Job};
    use crate::random::Random;

    fn node(config: Config) -> Node {
        Node::new(config, 1, Random::from_number(1), Duration::ZERO, Instant::ZERO).expect("a node")
    }

    #[test]
    fn what_an_input_leads_to_is_there_when_it_was_handled() {
        let mut node = node(Config::new());
        let attempt = node.connect("host.example:1", Instant::ZERO).expect("an attempt");
        let query = std::iter::from_fn(|| node.poll_action()).find_map(|action| match action {
            Action::Job(Job::Resolve { query, .. }) => Some(query),
            _ => None,
        });
        node.handle_resolved(query.expect("a look-up"), Err("no such name".into()), Instant::ZERO);
        let failed = Event::Failed { attempt, why: FailReason::NoAddress("no such name".into()) };
        assert!(std::iter::from_fn(|| node.poll_event()).any(|event| event == failed));
    }

    /// A mistake that made effects lead to effects for ever could not block the application.
    #[test]
    fn too_many_effects_are_handed_on_in_the_next_tick() {
        let mut node = node(Config::new());
        node.handle_timeout(Instant::ZERO);
        for _ in 0..=ROUNDS {
            let event = Event::Rendezvous { server: "s".into(), news: RendezvousNews::Advertised };
            node.core.effects.push(Effect::Tell(event));
        }
        node.route(Instant::ZERO);
        assert!(!node.core.effects.is_empty());
        assert_eq!(node.poll_timeout(), Some(Instant::ZERO));
        node.handle_timeout(Instant::ZERO);
        assert!(node.core.effects.is_empty());
    }
}
