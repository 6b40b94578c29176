//! What the user says of the node's own reach, whatever the node would find or do by itself. The same for each command
//! that runs a node.

use std::net::IpAddr;

use clap::{Args, ValueEnum};
use p2poll::{Config, NatKind, NodeType, PortMapping};

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ReachOptions {
    /// How others can reach this node [default: found out]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) node_type: Option<NodeKind>,

    /// How the NAT in front of it chooses ports: preserving, reuse, random or delta:N, N being the difference of two
    /// ports in a row [default: measured]
    #[arg(long, value_name = "KIND", value_parser = nat_kind)]
    pub(crate) nat: Option<NatKind>,

    /// Its address as the outside sees it [default: as the rendezvous servers or the router say]
    #[arg(long, value_name = "IP", value_parser = outside_address)]
    pub(crate) wan_ip: Option<IpAddr>,

    /// The only network interface whose addresses count as its own, and to which a router forwards [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,

    /// Asks no router to forward the port: not one packet is sent for it
    #[arg(long)]
    pub(crate) no_mapping: bool,

    /// The router to ask, where it is not to be searched for [default: searched for]
    #[arg(long, value_name = "IP", value_parser = address, conflicts_with = "no_mapping")]
    pub(crate) router: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NodeKind {
    /// Anybody can connect to its port: it is advertised
    Passive,
    /// Nobody can just connect to it, but a peer that knows its UNL meets it by hole punching: it is not advertised
    Simultaneous,
    /// Nobody can connect to it, nor count on hole punching: it connects to others and is not advertised
    Active,
}

impl ReachOptions {
    pub(crate) fn apply(&self, mut config: Config) -> Config {
        if let Some(kind) = self.node_type {
            config = config.node_type(kind.into());
        }
        if let Some(kind) = self.nat {
            config = config.nat(kind);
        }
        if let Some(address) = self.wan_ip {
            config = config.wan_ip(address);
        }
        if let Some(name) = &self.interface {
            config = config.interface(name);
        }
        if let Some(address) = self.router {
            config = config.router(address);
        }
        if self.no_mapping { config.port_mapping(PortMapping::Off) } else { config }
    }
}

impl From<NodeKind> for NodeType {
    fn from(kind: NodeKind) -> Self {
        match kind {
            NodeKind::Passive => Self::Passive,
            NodeKind::Simultaneous => Self::Simultaneous,
            NodeKind::Active => Self::Active,
        }
    }
}

fn nat_kind(text: &str) -> Result<NatKind, &'static str> {
    match text {
        "preserving" => Ok(NatKind::Preserving),
        "reuse" => Ok(NatKind::Reuse),
        "random" => Ok(NatKind::Random),
        _ => text
            .strip_prefix("delta:")
            .and_then(|step| step.parse().ok())
            .filter(|&step| step != 0)
            .map(|step| NatKind::Delta { step })
            .ok_or("write preserving, reuse, random or delta:N, like delta:1 or delta:-2; N is not 0"),
    }
}

/// One that may be an address outside, of this network or of a larger one.
fn outside_address(text: &str) -> Result<IpAddr, &'static str> {
    let ip = address(text)?;
    let plain = ip.to_canonical();
    match plain.is_loopback() || plain.is_unspecified() || plain.is_multicast() {
        true => Err("nobody outside can connect there"),
        false => Ok(ip),
    }
}

fn address(text: &str) -> Result<IpAddr, &'static str> {
    text.parse().map_err(|_| "it is no IP address; write one without a port, like 192.0.2.1 or 2001:db8::1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nat_kinds_are_told_from_mistakes() {
        for (text, kind) in [
            ("preserving", NatKind::Preserving),
            ("reuse", NatKind::Reuse),
            ("random", NatKind::Random),
            ("delta:3", NatKind::Delta { step: 3 }),
            ("delta:-2", NatKind::Delta { step: -2 }),
        ] {
            assert_eq!(nat_kind(text), Ok(kind));
        }
        for bad in ["", "delta", "delta:", "delta:0", "delta:x", "Preserving", "symmetric"] {
            assert!(nat_kind(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_is_seen_at_loopback() {
        for good in ["192.0.2.1", "10.0.0.1", "2001:db8::1"] {
            assert!(outside_address(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "224.0.0.1", "192.0.2.1:80"] {
            assert!(outside_address(bad).is_err(), "{bad}");
        }
    }
}
