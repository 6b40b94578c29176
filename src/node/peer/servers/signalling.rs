//! Calls through servers: which ones, what they know, and those that are there only because a UNL names them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Server, Servers};
use crate::id::ServerId;
use crate::identity::{NodeId, Signature};
use crate::node::peer::Node;
use crate::proto::budget::Class;
use crate::random::Random;
use crate::time::Instant;
use crate::unl::Unl;
use crate::wire::address::HostPort;
use crate::wire::rendezvous::{Features, Ntp, Ports, Token};

impl Servers {
    /// Whether it is one of our own choice.
    pub(in super::super) fn is_own(&self, place: ServerId) -> bool {
        self.all.get(&place).is_some_and(|server| !server.is_guest)
    }

    /// The application has named no server, so that all that are here are there for a UNL.
    pub(in super::super) fn have_none_of_our_own(&self) -> bool {
        self.all.values().all(|server| server.is_guest)
    }

    /// Its address, as it was dialled.
    pub(in super::super) fn addr_of(&self, place: ServerId) -> Option<SocketAddr> {
        self.all.get(&place)?.client.server_addr()
    }

    /// Our address, as it sees the connection that signals go over.
    pub(in super::super) fn seen_at(&self, place: ServerId) -> Option<SocketAddr> {
        self.all.get(&place)?.seen
    }

    /// How long it takes to the server and back.
    pub(in super::super) fn rtt_of(&self, place: ServerId) -> Option<Duration> {
        self.all.get(&place)?.client.rtt()
    }

    /// Its address, as it was dialled the last time; a server of pyp2p's is left between two questions.
    pub(in super::super) fn met_at(&self, place: ServerId) -> Option<SocketAddr> {
        self.all.get(&place)?.ends.map(|(server, _)| server)
    }

    /// The first of our own choice that has been met.
    pub(in super::super) fn met_own(&self) -> Option<ServerId> {
        self.own_places().find(|&id| self.met_at(id).is_some())
    }

    /// Those of our own choice.
    pub(in super::super) fn own_places(&self) -> impl Iterator<Item = ServerId> + use<> {
        let own: Vec<ServerId> = self.all.keys().copied().filter(|&id| self.is_own(id)).collect();
        own.into_iter()
    }

    pub(in super::super) fn relays(&self, place: ServerId) -> bool {
        self.knows(place, Features::RELAY)
    }

    /// Whether it tells how it sees a port, and can say so to the other side.
    pub(in super::super) fn observes(&self, place: ServerId) -> bool {
        let proven = self.all.get(&place).is_some_and(|server| server.client.is_proven());
        proven && self.knows(place, Features::OBSERVE) && self.knows(place, Features::SIGNAL)
    }

    fn knows(&self, place: ServerId, feature: Features) -> bool {
        self.all.get(&place).is_some_and(|server| server.client.agreed().has(feature))
    }

    /// The names of those through which we take signals.
    pub(in super::super) fn signalling(&self) -> impl Iterator<Item = String> + '_ {
        let takes = |server: &&Server| !server.is_guest && server.client.is_proven();
        self.all.values().filter(takes).map(|server| server.name.to_string())
    }

    /// Guests who have not left.
    #[cfg(test)]
    pub(in super::super) fn guests(&self) -> usize {
        self.all.values().filter(|server| server.is_guest).count()
    }

    /// The server of this name: one of ours, or a guest, who is let in if there is room.
    fn named(&mut self, name: &str, random: &mut Random, now: Instant) -> Option<ServerId> {
        let known =
            |(_, server): &(&ServerId, &Server)| Unl::names_server(name, &server.name) && !server.has_left;
        if let Some((&id, _)) = self.all.iter().find(known) {
            return Some(id);
        }
        let target = HostPort::parse(name).ok()?;
        let guests = self.all.values().filter(|server| server.is_guest).count();
        if guests >= self.max_guests {
            return None;
        }
        let mut guest = self.server(name, target, random, now);
        guest.is_guest = true;
        Some(self.insert(guest))
    }
}

impl Node {
    /// The servers through which this node can be called: those that it names, or else ours, as it may use the same.
    pub(in super::super) fn servers_of(&mut self, unl: &Unl, now: Instant) -> Vec<ServerId> {
        if unl.servers().len() == 0 {
            return self.servers.own_places().collect();
        }
        let names: Vec<String> = unl.servers().map(str::to_owned).collect();
        let random = &mut self.core.identity.random;
        let places: Vec<ServerId> =
            names.iter().filter_map(|name| self.servers.named(name, random, now)).collect();
        for &place in &places {
            self.advance_server(place, now);
        }
        places
    }

    /// Announces a port of ours to the node at `ip`; whether that is done or begun.
    pub(in super::super) fn send_candidate(
        &mut self,
        place: ServerId,
        ip: IpAddr,
        ports: Ports,
        now: Instant,
    ) -> bool {
        let Some(server) = self.servers.all.get_mut(&place) else { return false };
        let sent = server.client.candidate(ip, ports, now);
        self.advance_server(place, now);
        sent
    }

    /// Accepts a candidate; whether the server is there to hear it.
    pub(in super::super) fn send_accept(
        &mut self,
        place: ServerId,
        ip: IpAddr,
        ports: Ports,
        ntp: Ntp,
        now: Instant,
    ) -> bool {
        let Some(server) = self.servers.all.get_mut(&place) else { return false };
        let sent = server.client.accept(ip, ports, ntp, now);
        self.advance_server(place, now);
        sent
    }

    /// Registers with one server now.
    pub(in super::super) fn register_again(&mut self, place: ServerId, now: Instant) {
        if let Some(server) = self.servers.all.get_mut(&place) {
            server.client.advertise(now);
            self.advance_server(place, now);
        }
    }

    /// Whether a server takes it on.
    pub(in super::super) fn send_signal(
        &mut self,
        place: ServerId,
        to: NodeId,
        observed: Option<Token>,
        signature: Signature,
        text: &str,
        now: Instant,
    ) -> bool {
        let Some(server) = self.servers.all.get_mut(&place) else { return false };
        let sent = server.client.signal(to, observed, signature, text, now);
        self.advance_server(place, now);
        sent
    }

    /// Guests whom no call needs any more are said goodbye to.
    pub(in super::super) fn release_guests(&mut self, now: Instant) {
        for id in self.servers.ids() {
            let Some(server) = self.servers.all.get_mut(&id) else { continue };
            if server.is_guest && !self.calls.needs(id) {
                server.client.leave(now);
                self.advance_server(id, now);
            }
        }
    }

    /// Whether one more connection may be made to a server.
    pub(in super::super) fn may_visit(&mut self, place: ServerId, addr: SocketAddr, now: Instant) -> bool {
        self.servers.is_own(place) || self.core.budget.take(addr, Class::Claimed, 1, now)
    }

    /// It is a server indeed, and no third party.
    pub(in super::super) fn handle_visited(&mut self, place: ServerId) {
        if let Some(addr) = self.servers.addr_of(place).filter(|_| !self.servers.is_own(place)) {
            self.core.budget.give_back(addr, Class::Claimed, u32::MAX);
        }
    }
}
