//! How the rooms of a node meet: here alone is known who has to do with whom.
//!
//! After each input, what the rooms want of each other is taken from the queue of effects and handed on, one after the other,
//! until nothing is left.

use std::net::SocketAddr;

use log::Level;

use super::attempts::LookUp;
use super::effect::{Dialled, Effect, ServerSays, Signalling};
use super::ends::Ends;
use super::servers::Adverts;
use super::{Node, Slot, unl};
use crate::event::{Event, Via};
use crate::id::{ConId, ServerId, StreamId};
use crate::proto::dial::DialSlot;
use crate::time::Instant;

/// Far more effects than one input leads to. Should there ever be more, the rest is handed on in the next tick, which comes at
/// once.
const ROUNDS: usize = 10_000;

impl Node {
    /// Hands on what the rooms want of each other.
    pub(super) fn route(&mut self, now: Instant) {
        for _ in 0..ROUNDS {
            let Some(effect) = self.core.effects.pop() else { return };
            self.carry_out(effect, now);
        }
    }

    fn carry_out(&mut self, effect: Effect, now: Instant) {
        match effect {
            Effect::Tell(event) => self.events.push(event),
            Effect::Attempt { purpose, target } => {
                self.attempts.begin(&mut self.core, purpose, target, now);
            }
            Effect::HangUp(server) => self.attempts.hang_up(&mut self.core, server),
            Effect::Dialled(dialled) => self.show_dialled(&dialled, now),
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
            Effect::Signalling { server, what } => self.tell_calls(server, what, now),
            Effect::ServerDown(server) => {
                self.inbound.pending.handle_server_down(server, now);
                self.tell_reach(server, ServerSays::Down, now);
                self.handle_server_lost(server, now);
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
            self.close(con, now);
        }
        let to_oneself = other_side.is_some() || ends.is_some_and(|ends| self.inbound.holds(ends));
        self.attempts.handle_connected(&mut self.core, dial, to_oneself, now);
    }

    /// An outbound connection turned out to end at this node itself.
    pub(super) fn handle_oneself(&mut self, con: ConId, now: Instant) {
        if let Some(facts) = self.facts(con) {
            self.core.notes.push(Level::Info, || format!("{} is this node itself", facts.peer));
            self.core.learn_own(facts.peer);
            self.core.effects.push(Effect::OwnAddresses);
        }
        self.close(con, now);
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

    fn tell_calls(&mut self, server: ServerId, what: Signalling, now: Instant) {
        match what {
            Signalling::Met => self.handle_server_met(now),
            Signalling::Ready => self.handle_server_ready(server, now),
            Signalling::Useless => self.handle_server_useless(server, now),
            Signalling::Signaled { to, there } => self.handle_signaled(server, to, there, now),
            Signalling::Signal(incoming) => self.handle_signal(server, &incoming, now),
            Signalling::Announced => self.handle_announced(server, now),
            Signalling::Fight { ip, ports, ntp } => self.handle_fight(server, ip, &ports, ntp, now),
            Signalling::Challenge { ip, ports } => self.handle_challenge(server, ip, &ports, now),
            Signalling::Reconnect => self.handle_reconnect(server, now),
        }
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
        self.ends.insert_outbound(ends, con);
    }
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
