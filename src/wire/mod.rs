//! Bytes to values and back; no state.

pub(crate) mod address;
#[allow(dead_code)] // the node takes it up next
pub(crate) mod escape;
#[allow(dead_code)] // the node takes it up next
pub(crate) mod hello;
mod json;
pub(crate) mod line;
#[allow(dead_code)] // the node takes it up next
pub(crate) mod nonce;
pub(crate) mod probe;
pub(crate) mod proof;
pub(crate) mod relay;
pub(crate) mod rendezvous;
#[allow(dead_code)] // the node takes it up next
pub(crate) mod signal;
