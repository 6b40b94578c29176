//! Nodes: the machines put together, still without sockets and clock.
//!
//! The engine carries out what a node asks for and tells it what happened. There are two transports that it does so on,
//! the operating system in `net` and the simulator's network, and two nodes, the peer behind [`Net`](crate::Net) and the
//! server behind [`Rendezvous`](crate::Rendezvous). Both may relay (`relays`).

pub(crate) mod engine;
pub(crate) mod peer;
mod relays;
pub(crate) mod server;
pub(crate) mod streams;
pub(crate) mod transport;

use std::io;
use std::net::SocketAddr;

use crate::gateway;
use crate::id::StreamId;
pub(crate) use crate::job::Job;
use crate::note::Notes;
use crate::proto::stream::End;
use crate::reach::LanAddress;
use crate::time::Instant;
use streams::{SocketAction, Streams};

/// What a node asks its driver to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Socket(SocketAction),
    Job(Job),
}

/// What a driver drives. `slot` names a stream; the driver keeps its socket under the same number.
pub(crate) trait Host {
    type Tag;

    fn streams(&mut self) -> &mut Streams<Self::Tag>;

    fn notes(&mut self) -> &mut Notes;

    /// Whether there is something to be done now that no readiness and no deadline will announce.
    fn has_work(&self) -> bool;

    /// A peer opened a connection. `None` refuses it.
    fn handle_accepted(&mut self, peer: SocketAddr, local: SocketAddr, now: Instant) -> Option<StreamId>;

    /// A stream that was dialled is open.
    fn handle_connected(&mut self, slot: usize, local: SocketAddr, now: Instant);

    /// A stream that was dialled did not come about.
    fn handle_connect_failed(&mut self, slot: usize, kind: io::ErrorKind, now: Instant);

    /// Room to read a stream into. `None`: not now; it is told by [`poll_resumed`](Self::poll_resumed) when there is some.
    fn space(&mut self, slot: usize) -> Option<&mut [u8]> {
        self.streams().space(slot)
    }

    /// The next stream that was refused room to receive into and has some again.
    fn poll_resumed(&mut self) -> Option<usize> {
        self.streams().poll_resumed()
    }

    /// The network took `len` bytes of what is queued on a stream.
    fn handle_sent(&mut self, slot: usize, len: usize) {
        self.streams().handle_sent(slot, len);
    }

    /// `len` bytes were read into the stream's space.
    fn handle_received(&mut self, slot: usize, len: usize, now: Instant);

    /// The peer's side of a stream ended.
    fn handle_end(&mut self, slot: usize, end: End, now: Instant) {
        self.streams().handle_end(slot, end, now);
    }

    /// Nothing can be sent to a stream's peer any more; what it sent before may still be read.
    fn handle_deaf(&mut self, slot: usize, now: Instant) {
        self.streams().handle_hangup(slot, now);
    }

    /// A host name was looked up, or why it could not be.
    fn handle_resolved(&mut self, query: u64, outcome: Result<Vec<SocketAddr>, String>, now: Instant);

    /// The file of known peers was read, or why it could not be.
    fn handle_loaded(&mut self, outcome: io::Result<String>, now: Instant);

    /// The file of known peers was written, or why it could not be.
    fn handle_saved(&mut self, outcome: io::Result<()>, now: Instant);

    /// The addresses of the interfaces, or why they can not be known.
    fn handle_interfaces(&mut self, _outcome: io::Result<Vec<LanAddress>>, _now: Instant) {}

    /// What came of an order to a router.
    fn handle_gateway(&mut self, _request: u64, _report: gateway::Report, _now: Instant) {}

    /// Time has passed, or something happened: everything that is due is done.
    fn handle_timeout(&mut self, now: Instant);

    /// When `handle_timeout` is due at the latest.
    fn poll_timeout(&mut self) -> Option<Instant>;

    fn poll_action(&mut self) -> Option<Action>;
}
