//! Bytes to values and back; no state.

pub(crate) mod rendezvous;
