//! What sockets give, real ones and the simulator's.

use std::io;
use std::net::SocketAddr;

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Data(usize),
    Blocked,
    /// The peer finished sending.
    Finished,
    Broken(io::ErrorKind),
}

/// What a write gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Sent(usize),
    Blocked,
    /// Nothing can be sent any more. What arrived before is still to be read; the stream's end shows there.
    Broken,
}

/// A connection that was accepted and belongs to no slot yet.
#[derive(Debug)]
pub(crate) struct Accepted<S> {
    pub(crate) socket: S,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}
