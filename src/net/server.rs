//! The rendezvous server, for the loop of the program that hosts it.

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

#[cfg(unix)]
use mio::Registry;

use super::driver::Driver;
use super::tell_log;
use crate::config::RendezvousConfig;
use crate::error::StartError;
use crate::io::{Clock, Entrance, at_interface, seed};
use crate::node::Host as _;
use crate::node::server::ServerNode;
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
    #[cfg(unix)]
    pub(super) registry: Registry,
}

/// What a rendezvous server holds at the moment.
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
        core.host.handle_listening(&local);
        Ok(Rendezvous {
            #[cfg(unix)]
            registry: core.registry().map_err(StartError::System)?,
            core,
            local,
        })
    }
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

    /// What it holds at the moment.
    pub fn stats(&self) -> ServerStats {
        let host = &self.core.host;
        ServerStats {
            clients: host.clients(),
            nodes: host.nodes(),
            identities: host.identities(),
            relays: host.relays(),
        }
    }
}
