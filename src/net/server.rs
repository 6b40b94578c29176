//! The rendezvous server, for the loop of the program that hosts it.

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use log::Level;
#[cfg(unix)]
use mio::Registry;

use super::driver::Driver;
use super::tell_log;
use crate::config::RendezvousConfig;
use crate::error::StartError;
use crate::io::{Clock, Entrance, at_interface, seed};
use crate::node::Host as _;
use crate::node::server::ServerNode;
use crate::node::server::figures::Figures;
use crate::random::Random;

/// A rendezvous server: where nodes register, and learn of each other. Speaks pyp2p's protocol, and p2poll's extensions
/// of it to those who know them.
///
/// It runs in the loop of the program that hosts it, as a [`Net`](crate::Net) does, and beside one if you like: call
/// [`poll`](Rendezvous::poll) often, or with a timeout when you want to sleep.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut server = p2poll::RendezvousConfig::new().listen("0.0.0.0:8000").start()?;
/// loop {
///     server.poll(None)?;
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Rendezvous {
    core: Driver<ServerNode>,
    local: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    #[cfg(unix)]
    pub(super) registry: Registry,
}

/// What a rendezvous server holds at the moment, and what it has done since it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Clients that are connected.
    pub clients: usize,
    /// Nodes that are listed.
    pub nodes: usize,
    /// Nodes that have proven their id and take signals.
    pub identities: usize,
    /// Pairs of nodes whose connection goes through this server.
    pub relays: usize,
    /// Signals that wait for nodes that are not connected.
    pub mail: usize,
    /// Bytes that are held for clients that do not read: answers, and requests that wait for those.
    pub backlog: usize,
    /// Connections that were accepted since it was started.
    pub accepted: u64,
    /// Connections that were refused for a limit.
    pub refused: u64,
    /// Signals that were passed on, or kept for who is to have them.
    pub signals: u64,
    /// Signals that were not, for a limit.
    pub signals_refused: u64,
    /// Bytes that went through relays, both ways.
    pub relayed_bytes: u64,
}

impl RendezvousConfig {
    /// Starts the server: listens at all its addresses. Returns at once.
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`] names the address that could not be had; [`StartError::BadAddress`] one that is none.
    pub fn start(self) -> Result<Rendezvous, StartError> {
        self.check().map_err(StartError::BadConfig)?;
        let addrs = self.listen_addrs(at_interface)?;
        let clock = Clock::start();
        let random = Random::from_seed(seed().map_err(StartError::System)?);
        let node = ServerNode::new(&self, random, clock.wall_at_origin());
        let mut core = Driver::new(node, clock, self.streams.dead_after)?;
        let local = Entrance::together(&addrs)
            .into_iter()
            .map(|entrance| core.listen(entrance))
            .collect::<Result<Vec<_>, _>>()?;
        let local = if self.second_port { with_second_port(&mut core, local) } else { local };
        core.host.handle_listening(&local);
        let metrics = self.metrics.as_slice().iter().flat_map(|&addr| Entrance::together(&[addr]));
        let metrics = metrics.map(|entrance| core.listen(entrance)).next().transpose()?;
        if let Some(addr) = metrics {
            core.host.handle_metrics_listening(addr);
        }
        Ok(Rendezvous {
            #[cfg(unix)]
            registry: core.registry().map_err(StartError::System)?,
            core,
            local,
            metrics,
        })
    }
}

/// Listens at another port as well, where there is one port only until now.
fn with_second_port(core: &mut Driver<ServerNode>, mut local: Vec<SocketAddr>) -> Vec<SocketAddr> {
    /// Ports that are tried.
    const TRIED: u16 = 10;
    let Some(port) = local.first().map(SocketAddr::port) else { return local };
    if local.iter().any(|addr| addr.port() != port) {
        return local;
    }
    let next = (1..=TRIED).filter_map(|more| port.checked_add(more)).find_map(|next| {
        let addrs: Vec<SocketAddr> = local.iter().map(|addr| SocketAddr::new(addr.ip(), next)).collect();
        let entrances = Entrance::together(&addrs).into_iter();
        // What was had before one of them failed stays: it is a place of this server's as good as any.
        let had: Vec<SocketAddr> = entrances.map_while(|entrance| core.listen(entrance).ok()).collect();
        (!had.is_empty()).then_some(had)
    });
    match next {
        Some(had) => local.extend(had),
        None => core.host.notes().push(Level::Warn, || {
            format!("no port behind {port} is free: with this server alone nodes can not tell the kinds of their NATs")
        }),
    }
    local
}

impl Rendezvous {
    /// Serves what can be served without waiting; then sleeps until there is more, for `timeout` at most, `None`:
    /// without limit, and serves that. Returns early when a signal interrupts it.
    ///
    /// # Errors
    ///
    /// What the operating system says of its poller; there is no known way to get there.
    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.core.flush();
        match self.core.collect(timeout) {
            Ok(streams) => self.core.admit(streams),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        self.core.service();
        tell_log(|| self.core.host.notes().pop());
        Ok(())
    }

    /// How long the program may sleep before it has to call [`poll`](Rendezvous::poll), unless the file descriptor
    /// becomes readable earlier; `None`: without limit.
    pub fn next_wakeup(&mut self) -> Option<Duration> {
        self.core.next_wakeup()
    }

    /// The addresses at which it listens, in the order of the configuration, ports as chosen by the operating system.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local
    }

    /// Where it tells its figures, with the port as chosen by the operating system. See [`RendezvousConfig::metrics`].
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// What it holds at the moment, and what it has done.
    pub fn stats(&self) -> ServerStats {
        let Figures {
            clients,
            nodes,
            identities,
            relays,
            mail,
            backlog,
            accepted,
            refused,
            signals,
            signals_refused,
            relayed_bytes,
        } = self.core.host.figures();
        ServerStats {
            clients,
            nodes,
            identities,
            relays,
            mail,
            backlog,
            accepted,
            refused,
            signals,
            signals_refused,
            relayed_bytes,
        }
    }
}
