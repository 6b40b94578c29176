//! Rendezvous: how nodes that know nobody find each other through a server that everybody knows.
//!
//! [`server::Server`] and [`client::Client`] are machines without sockets; the lines between them are
//! `wire::rendezvous`. The server is made of three tables: [`registry`] holds who listens and can be dialled,
//! [`meetings`] who can only be punched, and who wants to, [`probes`] whose port is being tried.

pub(crate) mod client;
mod deadlines;
mod meetings;
mod probes;
mod registry;
pub(crate) mod server;
mod session;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

/// Whether someone at `asker` may be told of a node at `node`: a loopback address means another machine elsewhere.
fn reaches(asker: IpAddr, node: IpAddr) -> bool {
    asker.is_loopback() || !node.is_loopback()
}
