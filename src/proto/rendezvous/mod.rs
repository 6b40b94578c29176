//! Rendezvous: how nodes that know nobody find each other through a server that everybody knows.
//!
//! [`server::Server`] and [`client::Client`] are machines without sockets; the lines between them are
//! `wire::rendezvous`. The server is made of tables: [`registry`] holds who listens and can be dialled, [`meetings`] who
//! can only be punched, and who wants to, [`probes`] whose port is being tried; [`identities`] who has proven which id,
//! [`mailbox`] what was said to who is not there, [`observations`] where somebody was seen a moment ago, and [`relays`]
//! who is connected to whom by way of the server. [`relay_dial::RelayDial`] and [`observe::Observe`] are the other ends
//! of connections that serve one purpose.

pub(crate) mod client;
mod counts;
mod deadlines;
mod identities;
mod limits;
mod mailbox;
mod meetings;
pub(crate) mod meter;
mod observations;
pub(crate) mod observe;
mod probes;
mod registry;
pub(crate) mod relay_dial;
mod relays;
pub(crate) mod server;
mod session;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

/// Whether someone at `asker` may be told of a node at `node`: a loopback address means another machine elsewhere.
fn reaches(asker: IpAddr, node: IpAddr) -> bool {
    asker.is_loopback() || !node.is_loopback()
}
