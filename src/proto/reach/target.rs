//! Whether a router is asked to forward the port, and to where.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use super::sight::{ProbeOutcome, Sight};
use super::{Finder, FinderAction};
use crate::address::is_public_address;
use crate::config::PortMapping;
use crate::proto::mapping::Target;
use crate::reach::{Mapping, NodeType};

impl Finder {
    pub(super) fn work_on_mapping(&mut self) {
        let target = self.wanted_target();
        if target != self.target {
            self.target = target;
            self.mapping = if target.is_some() { Mapping::Searching } else { Mapping::Waiting };
            self.actions.push(FinderAction::Map(target));
            self.dirty = true;
        }
    }

    /// What a router is to forward.
    fn wanted_target(&self) -> Option<Target> {
        let port = self.listening?.port();
        let internal = self.internal_address().filter(|_| self.is_mapping_wanted())?;
        Some(Target { internal: SocketAddrV4::new(internal, port), external: port })
    }

    /// What is mapped once stays so: that the port can be reached is because of it.
    pub(super) fn is_mapping_wanted(&self) -> bool {
        match self.settings.port_mapping {
            PortMapping::Off => false,
            _ if !self.wants_to_be_reached() => false,
            _ if self.target.is_some() => true,
            _ if self.is_reachable_by_ipv4() || self.translated() == Some(false) => false,
            PortMapping::Always => true,
            PortMapping::WhenNeeded => self.is_found_closed() || self.only_old_servers_outside(),
        }
    }

    /// Nobody got through to us, and nobody is trying any more.
    pub(super) fn is_found_closed(&self) -> bool {
        let over_ipv4 = || self.outside().filter(|sight| sight.is_over_ipv4());
        let vain = |sight: &Sight| match sight.outcome {
            Some(ProbeOutcome::No) => true,
            // It can not tell; what it can tell is that there is a NAT.
            Some(ProbeOutcome::TooFar) => self.translated() == Some(true),
            _ => false,
        };
        over_ipv4().any(vain) && !over_ipv4().any(Sight::may_still_say_yes)
    }

    pub(super) fn is_reachable_by_ipv4(&self) -> bool {
        self.outside().any(|sight| sight.is_over_ipv4() && sight.outcome == Some(ProbeOutcome::Yes))
    }

    /// They can not tell, but they are out in the world, and this node's addresses are not.
    pub(super) fn only_old_servers_outside(&self) -> bool {
        let mut up = self.sights.iter().filter(|sight| sight.is_up()).peekable();
        let any = up.peek().is_some();
        let outside = |sight: &Sight| {
            sight.is_old()
                && sight.addr.is_some_and(|addr| is_public_address(addr.ip()))
                && sight.local.is_some_and(|local| !is_public_address(local.ip()))
        };
        any && self.sights.iter().all(Sight::is_settled) && up.all(outside)
    }

    pub(super) fn wants_to_be_reached(&self) -> bool {
        self.listening.is_some() && self.settings.node_type.is_none_or(|kind| kind == NodeType::Passive)
    }

    /// The address to which a router forwards: the one that the servers are reached from, else any of ours. A public
    /// one needs no router; loopback has none, unless somebody says so.
    fn internal_address(&self) -> Option<Ipv4Addr> {
        let fits = |ip: IpAddr| match ip {
            IpAddr::V4(ip) if ip.is_loopback() => {
                self.settings.router.is_some_and(|router| router.is_loopback()).then_some(ip)
            }
            IpAddr::V4(v4) if !is_public_address(ip) => Some(v4),
            _ => None,
        };
        self.lan().into_iter().map(|lan| lan.address).find_map(fits)
    }
}
