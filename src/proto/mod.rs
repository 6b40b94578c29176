//! State machines: no sockets, no clock; input, time and randomness are arguments.

pub(crate) mod admission;
pub(crate) mod attempts;
pub(crate) mod backoff;
pub(crate) mod budget;
pub(crate) mod connect;
pub(crate) mod deadlines;
pub(crate) mod dial;
pub(crate) mod duplicates;
pub(crate) mod handshake;
pub(crate) mod household;
pub(crate) mod inbound;
pub(crate) mod links;
pub(crate) mod mapping;
pub(crate) mod nat;
pub(crate) mod peers;
pub(crate) mod reach;
pub(crate) mod rendezvous;
pub(crate) mod resolve;
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "no node is in a ring yet: the driver in sim and its tests are")
)]
pub(crate) mod ring;
pub(crate) mod saving;
pub(crate) mod stream;
