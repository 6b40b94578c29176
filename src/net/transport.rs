//! The operating system as the transport of a node.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;

use crate::io::{Clock, GatewayDesk, Progress, Sockets, Worker, kind_of};
use crate::job::{Job, Report};
use crate::node::transport::{Transport, TransportEvent};
use crate::socket::{Accepted, Read, Write};
use crate::time::Instant;

/// Sockets, the threads for what blocks, and the clock.
#[derive(Debug)]
pub(super) struct System {
    pub(super) clock: Clock,
    pub(super) sockets: Sockets,
    worker: Worker,
    gateways: GatewayDesk,
}

impl System {
    pub(super) fn new(clock: Clock, dead_after: Duration) -> io::Result<Self> {
        let sockets = Sockets::new(dead_after)?;
        let worker = Worker::new(sockets.waker());
        let gateways = GatewayDesk::new(sockets.waker());
        Ok(Self { clock, sockets, worker, gateways })
    }

    fn poll_report(&mut self) -> Option<Report> {
        let gateways = &mut self.gateways;
        let of_gateway = || gateways.poll_report().map(|(request, report)| Report::Gateway(request, report));
        self.worker.poll_report().or_else(of_gateway)
    }
}

impl Transport for System {
    type Socket = TcpStream;

    #[inline]
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn adopt(&mut self, slot: usize, accepted: Accepted<TcpStream>) -> Result<(), io::ErrorKind> {
        self.sockets.adopt(slot, accepted).map_err(|error| error.kind())
    }

    /// Dropped is closed.
    fn refuse(&mut self, _accepted: Accepted<TcpStream>) {}

    fn dial(&mut self, slot: usize, to: SocketAddr, from: Option<SocketAddr>) -> Result<(), io::ErrorKind> {
        self.sockets.dial(slot, to, from).map_err(|error| kind_of(&error))
    }

    fn shutdown_write(&mut self, slot: usize) {
        self.sockets.shutdown_write(slot);
    }

    fn close(&mut self, slot: usize) {
        self.sockets.close(slot);
    }

    fn begin(&mut self, job: Job) {
        match job {
            Job::Resolve { query, host, port } => self.worker.resolve(query, host, port),
            Job::Load { path } => self.worker.load(path),
            Job::Save { path, text } => self.worker.save(path, text),
            Job::Interfaces => self.worker.interfaces(),
            Job::Gateway { request, order } => self.gateways.order(request, order),
        }
    }

    fn poll_event(&mut self) -> Option<TransportEvent> {
        if let Some(progress) = self.sockets.poll_progress() {
            return Some(match progress {
                Progress::Connected(slot, local) | Progress::Torn(slot, local) => {
                    TransportEvent::Connected { slot, local }
                }
                Progress::Failed(slot, kind) => TransportEvent::Failed { slot, kind },
            });
        }
        if let Some(report) = self.poll_report() {
            return Some(TransportEvent::Report(report));
        }
        self.sockets.poll_hangup().map(|slot| TransportEvent::Hangup { slot })
    }

    #[inline]
    fn readable(&self) -> usize {
        self.sockets.readable()
    }

    #[inline]
    fn poll_readable(&mut self) -> Option<usize> {
        self.sockets.poll_readable()
    }

    #[inline]
    fn poll_writable(&mut self) -> Option<usize> {
        self.sockets.poll_writable()
    }

    #[inline]
    fn offer(&mut self, slot: usize) {
        self.sockets.offer(slot);
    }

    #[inline]
    fn read(&mut self, slot: usize, space: &mut [u8]) -> Read {
        self.sockets.read(slot, space)
    }

    #[inline]
    fn write(&mut self, slot: usize, bytes: &[u8]) -> Write {
        self.sockets.write(slot, bytes)
    }

    fn next_wakeup(&self) -> Option<Duration> {
        let busy = self.sockets.readable() > 0
            || self.sockets.has_acceptable()
            || self.sockets.has_more()
            || self.worker.has_failed()
            || self.gateways.has_failed();
        if busy { Some(Duration::ZERO) } else { self.sockets.accept_pause() }
    }
}
