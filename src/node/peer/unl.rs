//! The node's own UNL: what it knows of itself, in one word.

use std::net::{IpAddr, SocketAddr};

use log::Level;

use super::Node;
use crate::event::Event;
use crate::reach::{Mapping, MappingProtocol, Nat, NatKind, NodeType, Reach, Reachability};
use crate::unl::{Forwarding, Unl, UnlBuilder};

impl Node {
    pub(crate) fn unl(&self) -> Option<Unl> {
        self.core.identity.unl.clone()
    }

    pub(crate) fn unl_version2(&self) -> Option<Unl> {
        self.core.identity.key.as_ref()?;
        self.describe().version2(self.core.identity.id()).ok()
    }

    /// After whatever may have changed it: tells the application when it did.
    pub(super) fn refresh_unl(&mut self) {
        self.tell_relay_places();
        if self.renew_unl()
            && let Some(unl) = self.core.identity.unl.clone()
        {
            self.core.notes.push(Level::Debug, || format!("unl: {unl}"));
            self.events.push(Event::Unl(unl));
        }
    }

    /// Whether it is another one now.
    pub(super) fn renew_unl(&mut self) -> bool {
        let Some(key) = &self.core.identity.key else { return false };
        let named: Vec<String> = self.servers.signalling().take(Unl::MAX_SERVERS).collect();
        let unl = named.into_iter().fold(self.describe(), UnlBuilder::server).sign(key);
        let Ok(unl) = unl else { return false };
        let is_new = self.core.identity.unl.as_ref() != Some(&unl);
        self.core.identity.unl = Some(unl);
        is_new
    }

    /// All but the servers.
    fn describe(&self) -> UnlBuilder {
        let reach = self.reach();
        let mut builder = Unl::builder(self.told_type(&reach)).forwarding(forwarding(&reach));
        if let Some(kind) = reach.nat.kind() {
            builder = builder.nat(kind);
        }
        let mut addresses = 0;
        let wan = reach.wan.zip(reach.port).map(|(ip, port)| SocketAddr::new(ip, port));
        if let Some(wan) = wan {
            builder = builder.wan(wan);
            addresses += 1;
        }
        for lan in self.own_lan(&reach).into_iter().take(Unl::MAX_ADDRESSES - addresses) {
            builder = builder.lan(lan);
        }
        builder
    }

    /// Passive is said by who is certain of it, or can not know better: others do not call it first.
    pub(super) fn told_type(&self, reach: &Reach) -> NodeType {
        if let Some(configured) = self.core.config.node_type {
            return configured;
        }
        let alone = self.core.config.rendezvous.is_empty();
        match (reach.reachable, reach.nat) {
            (Reachability::Yes, _) => NodeType::Passive,
            _ if alone => NodeType::Passive,
            (_, Nat::Measured(NatKind::Random) | Nat::Configured(NatKind::Random)) => NodeType::Active,
            _ => NodeType::Simultaneous,
        }
    }

    /// The addresses of its interfaces at which it listens.
    pub(super) fn own_lan(&self, reach: &Reach) -> Vec<SocketAddr> {
        let Some(listening) = self.core.listening else { return Vec::new() };
        let port = listening.port();
        if !listening.ip().is_unspecified() {
            return vec![listening];
        }
        let usable = |ip: &IpAddr| !is_link_local(*ip) && (listening.is_ipv6() || ip.is_ipv4());
        let lan = reach.lan.iter().map(|lan| lan.address).filter(usable);
        lan.map(|ip| SocketAddr::new(ip, port)).collect()
    }
}

/// What a router says that it forwards is not told of once a server has found out better: others would dial it in vain.
fn forwarding(reach: &Reach) -> Forwarding {
    match reach.mapping {
        _ if reach.reachable == Reachability::No => Forwarding::None,
        Mapping::Mapped { protocol: MappingProtocol::Upnp, .. } => Forwarding::Upnp,
        Mapping::Mapped { protocol: MappingProtocol::NatPmp, .. } => Forwarding::NatPmp,
        _ if reach.reachable == Reachability::Yes && reach.translated == Some(true) => Forwarding::ByHand,
        _ => Forwarding::None,
    }
}

/// Such an address means something only together with an interface of this computer (RFC 4007 section 6).
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
