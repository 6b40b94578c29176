//! Rendezvous: how nodes that know nobody find each other through a server that everybody knows.
//!
//! [`client`] and [`server`] are machines without sockets; the lines between them are `wire::rendezvous`. Neither
//! knows the other. [`list`] says which servers a node talks to. [`meter`] belongs to whoever carries a relay's bytes, a server or a peer.

pub(crate) mod client;
pub(crate) mod list;
pub(crate) mod meter;
pub(crate) mod server;
#[cfg(test)]
mod tests;

pub(crate) use client::{observe, relay_dial};
