//! What carries a node: sockets, a clock, and threads for what blocks; or a simulation of all that.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::job::{Job, Report};
use crate::socket::{Accepted, Read, Write};
use crate::time::Instant;

/// Carries out what a node asks for, without ever waiting. A slot names a stream; the transport keeps its socket under
/// the same number.
///
/// Generic code calls it, never a `dyn Transport`: reading and writing are to cost what the operating system takes for
/// them, and nothing more.
pub(crate) trait Transport {
    /// A connection that was accepted and has no slot yet.
    type Socket;

    fn now(&self) -> Instant;

    /// Gives an accepted connection its slot.
    fn adopt(&mut self, slot: usize, accepted: Accepted<Self::Socket>) -> Result<(), io::ErrorKind>;

    /// Hangs up on an accepted connection that the node does not want.
    fn refuse(&mut self, accepted: Accepted<Self::Socket>);

    /// Begins to connect, `from` an address of this machine or from any; the outcome comes as [`TransportEvent`].
    fn dial(&mut self, slot: usize, to: SocketAddr, from: Option<SocketAddr>) -> Result<(), io::ErrorKind>;

    /// Tells the peer that nothing more will be sent.
    fn shutdown_write(&mut self, slot: usize);

    fn close(&mut self, slot: usize);

    /// Begins what blocks by nature; a [`TransportEvent::Report`] ends it.
    fn begin(&mut self, job: Job);

    /// The next thing that happened, other than that a stream can be read or written.
    fn poll_event(&mut self) -> Option<TransportEvent>;

    /// How many streams stand in line to be read.
    fn readable(&self) -> usize;

    /// The next stream in line to be read.
    fn poll_readable(&mut self) -> Option<usize>;

    /// The next stream that can be written again.
    fn poll_writable(&mut self) -> Option<usize>;

    /// Puts a stream back in line to be read, if there may be something.
    fn offer(&mut self, slot: usize);

    /// Reads what has arrived.
    fn read(&mut self, slot: usize, space: &mut [u8]) -> Read;

    /// Sends as much as the network takes now. A failure is told by the next [`read`](Self::read) too, which the stream
    /// stands in line for.
    fn write(&mut self, slot: usize, bytes: &[u8]) -> Write;

    /// How long to wait at most although no readiness may announce what is to be done then; zero when there is something
    /// to do already.
    fn next_wakeup(&self) -> Option<Duration>;
}

/// What happened on a transport.
#[derive(Debug)]
pub(crate) enum TransportEvent {
    /// A stream that was dialled is open.
    Connected { slot: usize, local: SocketAddr },
    /// A stream that was dialled did not come about.
    Failed { slot: usize, kind: io::ErrorKind },
    /// A stream's peer is done, though what it sent before may not have been read.
    Hangup { slot: usize },
    /// What came of a job.
    Report(Report),
}
