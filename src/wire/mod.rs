//! Bytes to values and back; no state.

pub(crate) mod address;
pub(crate) mod line;
pub(crate) mod probe;
pub(crate) mod rendezvous;
