//! What all that is known amounts to.

use std::net::IpAddr;
use std::sync::Arc;

use super::Finder;
use super::sight::{ProbeOutcome, Sight};
use crate::address::is_public_address;
use crate::config::PortMapping;
use crate::reach::{
    Doubt, LanAddress, Mapping, MappingFault, Nat, NodeType, Reach, Reachability, ServerSight,
};

impl Finder {
    /// Paints the picture; `None` when it is the one that there was.
    pub(super) fn paint(&mut self) -> Option<Arc<Reach>> {
        let picture = Reach {
            node_type: self.node_type(),
            nat: self.nat(),
            translated: self.translated(),
            wan: self.wan(),
            lan: self.lan(),
            port: self.public_port(),
            reachable: self.reachability(),
            mapping: self.mapping(),
            servers: self.sights.iter().map(server_sight).collect(),
        };
        if *self.published == picture {
            return None;
        }
        self.published = Arc::new(picture);
        Some(Arc::clone(&self.published))
    }

    /// First those from which the servers are reached, the ones out in the world before others: there are more interfaces
    /// than room in a UNL on some machines, and most of them lead to nobody.
    pub(super) fn lan(&self) -> Vec<LanAddress> {
        let local = |sight: &Sight| Some(sight.local?.ip());
        let used: Vec<IpAddr> =
            self.outside().filter_map(local).chain(self.sights.iter().filter_map(local)).collect();
        let mut lan = self.lan.addresses.clone();
        let place = |lan: &LanAddress| used.iter().position(|ip| *ip == lan.address).unwrap_or(usize::MAX);
        lan.sort_by_key(place);
        lan
    }

    /// Only what is certain makes it anything but passive.
    pub(super) fn node_type(&self) -> NodeType {
        if let Some(fixed) = self.settings.node_type {
            return fixed;
        }
        let closed = match self.reachability() {
            _ if self.listening.is_none() => true,
            Reachability::Yes => false,
            Reachability::No => true,
            Reachability::Unknown(_) => self.is_closed_for_all_we_know(),
        };
        match self.nat().kind() {
            _ if !closed => NodeType::Passive,
            Some(kind) if kind.is_predictable() && self.listening.is_some() => NodeType::Simultaneous,
            _ => NodeType::Active,
        }
    }

    /// Where no server can tell: behind a NAT whose router forwards nothing.
    fn is_closed_for_all_we_know(&self) -> bool {
        matches!(
            self.mapping,
            Mapping::Failed { .. } | Mapping::DoubleNat { .. } | Mapping::Unconfirmed { .. }
        ) && self.only_old_servers_outside()
    }

    fn nat(&self) -> Nat {
        if let Some(kind) = self.settings.nat {
            return Nat::Configured(kind);
        }
        match self.nat {
            _ if self.translated() == Some(false) => Nat::None,
            Nat::Unknown(Doubt::Pending) => Nat::Unknown(self.silence().unwrap_or(Doubt::Pending)),
            nat => nat,
        }
    }

    /// Why no server says anything, when it is so.
    fn silence(&self) -> Option<Doubt> {
        if self.sights.is_empty() {
            return Some(Doubt::NoServer);
        }
        self.sights.iter().all(|sight| sight.failed).then_some(Doubt::ServersDown)
    }

    /// Whether the outside sees another address than the node's own.
    pub(super) fn translated(&self) -> Option<bool> {
        if let Some(wan) = self.settings.wan_ip {
            return self.lan.known.then(|| !self.has_address(wan));
        }
        let sight = self.outside().filter(|sight| sight.seen.is_some() && sight.local.is_some());
        let sight = sight.min_by_key(|sight| sight.seen.is_some_and(|seen| seen.is_ipv6()))?;
        Some(sight.seen?.ip() != sight.local?.ip())
    }

    /// The servers whose word counts: those out in the world where there are any, as one in our own network, or on this
    /// machine, knows nothing of the outside.
    pub(super) fn outside(&self) -> impl Iterator<Item = &Sight> {
        let is_outside = |sight: &Sight| sight.addr.is_some_and(|addr| is_public_address(addr.ip()));
        let all = !self.sights.iter().any(is_outside);
        self.sights.iter().filter(move |sight| all || is_outside(sight))
    }

    fn has_address(&self, ip: IpAddr) -> bool {
        self.lan.addresses.iter().any(|lan| lan.address == ip)
    }

    fn wan(&self) -> Option<IpAddr> {
        let seen = || self.outside().filter_map(|sight| Some(sight.seen?.ip()));
        let own = || self.lan.addresses.iter().map(|lan| lan.address).filter(|&ip| is_public_address(ip));
        self.settings
            .wan_ip
            .or_else(|| seen().find(IpAddr::is_ipv4))
            .or_else(|| Some(self.external()?.ip()))
            .or_else(|| own().find(IpAddr::is_ipv4))
            .or_else(|| seen().next())
            .or_else(|| own().next())
    }

    /// The port at which others reach us, if they do.
    pub(super) fn public_port(&self) -> Option<u16> {
        let listening = self.listening?.port();
        Some(self.external().map_or(listening, |external| external.port()))
    }

    /// The port at which this server can reach us: routers forward IPv4 only.
    pub(super) fn port_for(&self, server: usize) -> Option<u16> {
        let over_ipv6 = self.sights.get(server).is_some_and(|sight| !sight.is_over_ipv4());
        if over_ipv6 { self.listening.map(|addr| addr.port()) } else { self.public_port() }
    }

    /// One server that got through outweighs all that did not.
    pub(super) fn reachability(&self) -> Reachability {
        if self.listening.is_none() {
            return Reachability::Unknown(Doubt::NotListening);
        }
        let says = |outcome| self.outside().any(|sight| sight.outcome == Some(outcome));
        // Who is asked once more has said what counts until then.
        let asking = self.outside().any(|sight| sight.is_asked() && sight.outcome.is_none());
        let doubts = [
            (ProbeOutcome::TooFar, Doubt::TooFar),
            (ProbeOutcome::Busy, Doubt::Busy),
            (ProbeOutcome::Unanswered, Doubt::Unanswered),
        ];
        let doubt = doubts.into_iter().find(|(outcome, _)| says(*outcome)).map(|(_, doubt)| doubt);
        match doubt {
            _ if says(ProbeOutcome::Yes) => Reachability::Yes,
            _ if says(ProbeOutcome::No) && !asking => Reachability::No,
            Some(doubt) if !asking => Reachability::Unknown(doubt),
            _ => Reachability::Unknown(self.open_question()),
        }
    }

    fn open_question(&self) -> Doubt {
        let settled = self.sights.iter().all(|sight| sight.failed || sight.is_old());
        match self.silence() {
            Some(doubt) => doubt,
            None if settled => Doubt::OldServer,
            None => Doubt::Pending,
        }
    }

    fn mapping(&self) -> Mapping {
        match self.mapping {
            _ if self.settings.port_mapping == PortMapping::Off => Mapping::Off,
            Mapping::Waiting if self.is_mapping_wanted() && self.lan.known => {
                Mapping::Failed { upnp: MappingFault::NoAddress, nat_pmp: MappingFault::NoAddress }
            }
            Mapping::Waiting if !self.may_need_mapping() => Mapping::NotNeeded,
            Mapping::Unconfirmed { protocol, external, lease } if self.is_reachable_by_ipv4() => {
                Mapping::Mapped { protocol, external, lease }
            }
            _ => self.mapping.clone(),
        }
    }

    /// Whether it may still turn out that a mapping is needed.
    fn may_need_mapping(&self) -> bool {
        let open = match self.reachability() {
            Reachability::Yes => false,
            Reachability::Unknown(Doubt::NoServer | Doubt::OldServer) => {
                self.settings.port_mapping == PortMapping::Always && !self.lan.known
            }
            Reachability::No | Reachability::Unknown(_) => true,
        };
        open && self.wants_to_be_reached() && self.translated() != Some(false)
    }
}

fn server_sight(sight: &Sight) -> ServerSight {
    ServerSight {
        name: Arc::clone(&sight.name),
        addr: sight.addr,
        kind: sight.kind,
        rtt: sight.rtt,
        seen: sight.seen,
    }
}
