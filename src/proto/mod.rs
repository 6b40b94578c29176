//! State machines: no sockets, no clock; input, time and randomness are arguments.

pub(crate) mod rendezvous;
