//! State machines: no sockets, no clock; input, time and randomness are arguments.

pub(crate) mod admission;
pub(crate) mod backoff;
pub(crate) mod dial;
pub(crate) mod duplicates;
pub(crate) mod household;
pub(crate) mod link;
#[cfg_attr(not(test), expect(dead_code, reason = "the node that surveys its NAT follows"))]
pub(crate) mod nat;
pub(crate) mod peers;
pub(crate) mod rendezvous;
