//! The node's own UNL: what it knows of itself, in one word.

use std::net::{IpAddr, SocketAddr};

use super::core::Core;
use crate::config::Config;
use crate::reach::{Mapping, MappingProtocol, Nat, NatKind, NodeType, Reach, Reachability};
use crate::unl::{Forwarding, Unl, UnlBuilder};

/// Writes it anew; whether it is another one now.
pub(super) fn renew(core: &mut Core, reach: &Reach, servers: impl Iterator<Item = String>) -> bool {
    let Some(key) = &core.identity.key else { return false };
    let servers = servers.take(Unl::MAX_SERVERS);
    let Ok(unl) = servers.fold(describe(core, reach), UnlBuilder::server).sign(key) else { return false };
    let is_new = core.identity.unl.as_ref() != Some(&unl);
    core.identity.unl = Some(unl);
    is_new
}

/// The same as pyp2p would write it.
pub(super) fn version2(core: &Core, reach: &Reach) -> Option<Unl> {
    core.identity.key.as_ref()?;
    describe(core, reach).version2(core.identity.id()).ok()
}

/// Passive is said by who is certain of it, or can not know better: others do not call it first.
pub(super) fn told_type(config: &Config, reach: &Reach) -> NodeType {
    if let Some(configured) = config.node_type {
        return configured;
    }
    let alone = config.rendezvous.is_empty();
    match (reach.reachable, reach.nat) {
        (Reachability::Yes, _) => NodeType::Passive,
        _ if alone => NodeType::Passive,
        (_, Nat::Measured(NatKind::Random) | Nat::Configured(NatKind::Random)) => NodeType::Active,
        _ => NodeType::Simultaneous,
    }
}

/// The addresses of its interfaces at which it listens.
pub(super) fn own_lan(listening: Option<SocketAddr>, reach: &Reach) -> Vec<SocketAddr> {
    let Some(listening) = listening else { return Vec::new() };
    let port = listening.port();
    if !listening.ip().is_unspecified() {
        return vec![listening];
    }
    let usable = |ip: &IpAddr| !is_link_local(*ip) && (listening.is_ipv6() || ip.is_ipv4());
    let lan = reach.lan.iter().map(|lan| lan.address).filter(usable);
    lan.map(|ip| SocketAddr::new(ip, port)).collect()
}

/// All but the servers.
fn describe(core: &Core, reach: &Reach) -> UnlBuilder {
    let mut builder = Unl::builder(told_type(&core.config, reach)).forwarding(forwarding(reach));
    if let Some(kind) = reach.nat.kind() {
        builder = builder.nat(kind);
    }
    let mut addresses = 0;
    let wan = reach.wan.zip(reach.port).map(|(ip, port)| SocketAddr::new(ip, port));
    if let Some(wan) = wan {
        builder = builder.wan(wan);
        addresses += 1;
    }
    for lan in own_lan(core.listening, reach).into_iter().take(Unl::MAX_ADDRESSES - addresses) {
        builder = builder.lan(lan);
    }
    builder
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
