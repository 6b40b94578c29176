//! Bytes to values and back; no state.

pub(crate) mod escape;
pub(crate) mod foreign;
pub(crate) mod frame;
pub(crate) mod hello;
mod json;
pub(crate) mod line;
pub(crate) mod nonce;
pub(crate) mod probe;
pub(crate) mod proof;
pub(crate) mod relay;
pub(crate) mod rendezvous;
#[cfg_attr(not(test), allow(dead_code, reason = "no node is in a ring yet"))]
pub(crate) mod ring;
pub(crate) mod signal;
