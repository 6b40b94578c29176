//! Calls through servers: which ones, what they know, and what is said through them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::core::Core;
use super::{Server, Servers};
use crate::id::ServerId;
use crate::identity::{NodeId, Signature};
use crate::proto::rendezvous::client::Client;
use crate::proto::rendezvous::list::Named;
use crate::time::Instant;
use crate::unl::Unl;
use crate::wire::rendezvous::{Features, Ntp, Ports, Token};

/// What servers know.
impl Servers {
    /// Whether it is one of our own choice.
    pub(in super::super) fn is_own(&self, id: ServerId) -> bool {
        self.all.is_own(id)
    }

    /// The application has named no server, so that all that are here are there for a UNL.
    pub(in super::super) fn have_none_of_our_own(&self) -> bool {
        self.all.own().next().is_none()
    }

    /// Its address, as it was dialled.
    pub(in super::super) fn addr_of(&self, id: ServerId) -> Option<SocketAddr> {
        self.all.get(id)?.client.server_addr()
    }

    /// Our address, as it sees the connection that signals go over.
    pub(in super::super) fn seen_at(&self, id: ServerId) -> Option<SocketAddr> {
        self.all.get(id)?.seen
    }

    /// How long it takes to the server and back.
    pub(in super::super) fn rtt_of(&self, id: ServerId) -> Option<Duration> {
        self.all.get(id)?.client.rtt()
    }

    /// Its address, as it was dialled the last time; a server of pyp2p's is left between two questions.
    pub(in super::super) fn met_at(&self, id: ServerId) -> Option<SocketAddr> {
        self.all.get(id)?.ends.map(|(server, _)| server)
    }

    /// Those of our own choice.
    pub(in super::super) fn own_places(&self) -> impl Iterator<Item = ServerId> + use<> {
        let own: Vec<ServerId> = self.all.own().map(|(id, ..)| id).collect();
        own.into_iter()
    }

    pub(in super::super) fn relays(&self, id: ServerId) -> bool {
        self.knows(id, Features::RELAY)
    }

    /// Whether it tells how it sees a port, and can say so to the other side.
    pub(in super::super) fn observes(&self, id: ServerId) -> bool {
        let proven = self.all.get(id).is_some_and(|server| server.client.is_proven());
        proven && self.knows(id, Features::OBSERVE) && self.knows(id, Features::SIGNAL)
    }

    /// Whether it takes a signal on now.
    pub(in super::super) fn takes_signals(&self, id: ServerId) -> bool {
        self.all.get(id).is_some_and(|server| server.client.takes_signals())
    }

    /// Foreign ones that have not left.
    #[cfg(test)]
    pub(in super::super) fn foreign(&self) -> usize {
        self.all.iter().filter(|&(id, _)| !self.is_own(id)).count()
    }

    fn knows(&self, id: ServerId, feature: Features) -> bool {
        self.all.get(id).is_some_and(|server| server.client.agreed().has(feature))
    }
}

/// What is said through them.
impl Servers {
    /// The servers through which this node can be called: those that it names, or else ours, as it may use the same.
    pub(in super::super) fn servers_of(&mut self, core: &mut Core, unl: &Unl, now: Instant) -> Vec<ServerId> {
        if unl.servers().len() == 0 {
            return self.own_places().collect();
        }
        let named: Vec<ServerId> = unl.servers().filter_map(|name| self.meet(core, name, now)).collect();
        for &id in &named {
            self.advance(core, id, now);
        }
        named
    }

    /// Announces a port of ours to the node at `ip`; whether that is done or begun.
    pub(in super::super) fn send_candidate(
        &mut self,
        core: &mut Core,
        id: ServerId,
        ip: IpAddr,
        ports: Ports,
        now: Instant,
    ) -> bool {
        self.ask(core, id, now, |client| client.candidate(ip, ports, now))
    }

    /// Accepts a candidate; whether the server is there to hear it.
    pub(in super::super) fn send_accept(
        &mut self,
        core: &mut Core,
        id: ServerId,
        (ip, ports, ntp): (IpAddr, Ports, Ntp),
        now: Instant,
    ) -> bool {
        self.ask(core, id, now, |client| client.accept(ip, ports, ntp, now))
    }

    /// Registers with one server now.
    pub(in super::super) fn register_again(&mut self, core: &mut Core, id: ServerId, now: Instant) {
        self.ask(core, id, now, |client| {
            client.advertise(now);
            true
        });
    }

    /// Whether a server takes it on.
    pub(in super::super) fn send_signal(
        &mut self,
        core: &mut Core,
        id: ServerId,
        to: NodeId,
        (observed, signature, text): (Option<Token>, Signature, &str),
        now: Instant,
    ) -> bool {
        self.ask(core, id, now, |client| client.signal(to, observed, signature, text, now))
    }

    /// Foreign servers that no call needs any more are said goodbye to.
    pub(in super::super) fn release_foreign(
        &mut self,
        core: &mut Core,
        is_needed: impl Fn(ServerId) -> bool,
        now: Instant,
    ) {
        for id in self.all.release(is_needed) {
            self.ask(core, id, now, |client| {
                client.leave(now);
                true
            });
        }
    }

    /// The server of this name: one of ours, or a foreign one, which is let in if there is room.
    fn meet(&mut self, core: &mut Core, name: &str, now: Instant) -> Option<ServerId> {
        match self.all.named(name) {
            Named::Known(id) => Some(id),
            Named::New(target) => {
                let server = Server::new(target, &self.config, &mut core.identity.random, now);
                Some(self.all.insert_foreign(name, server))
            }
            Named::Refused => None,
        }
    }

    fn ask(
        &mut self,
        core: &mut Core,
        id: ServerId,
        now: Instant,
        ask: impl FnOnce(&mut Client) -> bool,
    ) -> bool {
        let Some(server) = self.all.get_mut(id) else { return false };
        let asked = ask(&mut server.client);
        self.advance(core, id, now);
        asked
    }
}
