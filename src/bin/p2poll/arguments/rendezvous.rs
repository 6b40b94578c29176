//! What can be said to `p2poll rendezvous`.

use std::net::SocketAddr;

use clap::Args;
use p2poll::RendezvousConfig;

use super::{at_most, listen_address};

#[derive(Debug, Args)]
pub(crate) struct RendezvousOptions {
    /// Where to listen, as IP:PORT; several are one server. Port 0: any free one. [::] includes IPv4, unless the same
    /// port is given for IPv4, too [default: [::]:8000]
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    pub(crate) listen: Vec<String>,

    /// Does not listen at the next free port as well, where only one is given. With two of them nodes can tell the kinds
    /// of their NATs by this server alone, and need not wait for that when they connect
    #[arg(long)]
    pub(crate) single_port: bool,

    /// An address by which nodes dial this server although they do not arrive there, as IP:PORT: that of a one-to-one NAT,
    /// as most clouds have it, or of a forwarded port (docker -p); may be repeated. Without, one is learned that nodes in
    /// three networks name, and the log tells of those that are not known
    #[arg(long, value_name = "ADDR", value_parser = public_address)]
    pub(crate) public_address: Vec<SocketAddr>,

    /// Relays nobody: nodes that find no other way to each other do not meet
    #[arg(long)]
    pub(crate) no_relay: bool,

    /// Relays at once [default: 1000]
    #[arg(long, value_name = "N", conflicts_with = "no_relay")]
    pub(crate) max_relays: Option<usize>,

    /// Bytes a second that one relay carries in each direction; 0: without limit [default: 1048576]
    #[arg(long, value_name = "BYTES", conflicts_with = "no_relay")]
    pub(crate) relay_rate: Option<u64>,

    /// Bytes that one relay carries in all; 0: without limit [default: 1073741824]
    #[arg(long, value_name = "BYTES", conflicts_with = "no_relay")]
    pub(crate) relay_bytes: Option<u64>,

    /// Ends of relays at once at one address (of IPv6: one /64 network) [default: 32]
    #[arg(long, value_name = "N", conflicts_with = "no_relay")]
    pub(crate) max_relays_per_address: Option<usize>,

    /// Connections at once [default: 25000]
    #[arg(long, value_name = "N")]
    pub(crate) max_clients: Option<usize>,

    /// Connections at once from one address (of IPv6: one /64 network) [default: 256]
    #[arg(long, value_name = "N")]
    pub(crate) max_clients_per_address: Option<usize>,

    /// Nodes that are listed at once for one address (of IPv6: one /64 network) [default: 32]
    #[arg(long, value_name = "N")]
    pub(crate) max_nodes_per_address: Option<usize>,

    /// Tells its figures each minute: on standard error, or as an event "figures"
    #[arg(long)]
    pub(crate) figures: bool,

    /// Tells its figures to who asks for http://ADDR/metrics, as Prometheus wants them. ADDR as IP:PORT: one that only
    /// those reach who may know, like 127.0.0.1:9100
    #[arg(long, value_name = "ADDR", value_parser = metrics_address)]
    pub(crate) metrics: Option<SocketAddr>,

    /// Standard output tells what happens, one JSON event a line
    #[arg(long)]
    pub(crate) json: bool,
}

impl RendezvousOptions {
    /// What only all arguments together show.
    pub(super) fn check(&self) -> Result<(), String> {
        at_most(RendezvousConfig::MAX_LISTEN, "addresses to listen at", "--listen", self.listen.len())?;
        let (most, given) = (RendezvousConfig::MAX_PUBLIC_ADDRESSES, self.public_address.len());
        at_most(most, "public addresses", "--public-address", given)
    }

    pub(crate) fn config(&self) -> RendezvousConfig {
        let config = self.listen.iter().fold(RendezvousConfig::new(), RendezvousConfig::listen);
        let config = self.public_address.iter().copied().fold(config, RendezvousConfig::public_address);
        let config = config.second_port(!self.single_port).relay(!self.no_relay);
        let config = given(config, self.metrics, RendezvousConfig::metrics);
        let config = given(config, self.max_relays, RendezvousConfig::max_relays);
        let config = given(config, self.relay_rate, RendezvousConfig::relay_rate);
        let config = given(config, self.relay_bytes, RendezvousConfig::relay_bytes);
        let config = given(config, self.max_relays_per_address, RendezvousConfig::max_relays_per_address);
        let config = given(config, self.max_clients, RendezvousConfig::max_clients);
        let config = given(config, self.max_clients_per_address, RendezvousConfig::max_clients_per_address);
        given(config, self.max_nodes_per_address, RendezvousConfig::max_nodes_per_address)
    }
}

/// Sets what was given.
fn given<T>(
    config: RendezvousConfig,
    value: Option<T>,
    set: impl FnOnce(RendezvousConfig, T) -> RendezvousConfig,
) -> RendezvousConfig {
    match value {
        Some(value) => set(config, value),
        None => config,
    }
}

fn public_address(text: &str) -> Result<SocketAddr, String> {
    let addr: SocketAddr =
        text.parse().map_err(|_| "write IP:PORT, like 192.0.2.1:8000 or [2001:db8::1]:8000")?;
    if addr.ip().is_unspecified() || addr.port() == 0 {
        return Err("it is to be one that nodes can dial".into());
    }
    Ok(addr)
}

fn metrics_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write IP:PORT, like 127.0.0.1:9100")
}
