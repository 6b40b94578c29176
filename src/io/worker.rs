//! One thread for what blocks by nature: name resolution, small files, the list of interfaces. Nothing of the application runs there.

use std::fs;
use std::io::{self, Read as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, TrySendError, channel, sync_channel};
use std::thread;

use mio::Waker;

use super::{draft, interfaces};
use crate::job::Report;

/// Jobs that may wait. A resolver that hangs holds up those behind it, whose deadlines are kept by the node.
const QUEUE: usize = 512;

/// The largest file of known peers that is read; the rest of a larger one is left alone.
const LARGEST_FILE: u64 = 1 << 20;

/// Addresses taken from one name.
const ADDRESSES: usize = 16;

#[derive(Debug)]
enum Order {
    Resolve(u64, String, u16),
    Load(PathBuf),
    Save(PathBuf, String),
    Interfaces,
    /// A job with a mistake in it, as a query.
    #[cfg(test)]
    Panic(u64),
}

impl Order {
    /// What is reported when it came to nothing.
    fn fails(&self, why: &str) -> Report {
        match self {
            Self::Resolve(query, ..) => Report::Resolved(*query, Err(why.into())),
            Self::Load(_) => Report::Loaded(Err(io::Error::other(why))),
            Self::Save(..) => Report::Saved(Err(io::Error::other(why))),
            Self::Interfaces => Report::Interfaces(Err(io::Error::other(why))),
            #[cfg(test)]
            Self::Panic(query) => Report::Resolved(*query, Err(why.into())),
        }
    }
}

/// The thread, started with its first job. It ends when this is dropped, after the job that it is at.
#[derive(Debug)]
pub(crate) struct Worker {
    waker: Arc<Waker>,
    thread: Option<(SyncSender<Order>, Receiver<Report>)>,
    /// Reports of jobs that could not be handed over.
    failed: Vec<Report>,
}

impl Worker {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self { waker, thread: None, failed: Vec::new() }
    }

    pub(crate) fn resolve(&mut self, query: u64, host: String, port: u16) {
        if let Err(why) = self.order(Order::Resolve(query, host, port)) {
            self.failed.push(Report::Resolved(query, Err(why.to_string())));
        }
    }

    pub(crate) fn load(&mut self, path: PathBuf) {
        if let Err(why) = self.order(Order::Load(path)) {
            self.failed.push(Report::Loaded(Err(why)));
        }
    }

    pub(crate) fn save(&mut self, path: PathBuf, text: String) {
        if let Err(why) = self.order(Order::Save(path, text)) {
            self.failed.push(Report::Saved(Err(why)));
        }
    }

    pub(crate) fn interfaces(&mut self) {
        if let Err(why) = self.order(Order::Interfaces) {
            self.failed.push(Report::Interfaces(Err(why)));
        }
    }

    /// The next report, if any is there.
    pub(crate) fn poll_report(&mut self) -> Option<Report> {
        if let Some(report) = self.failed.pop() {
            return Some(report);
        }
        let (_, reports) = self.thread.as_ref()?;
        match reports.try_recv() {
            Ok(report) => Some(report),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.thread = None;
                None
            }
        }
    }

    /// Whether a report is there that no readiness will announce.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    fn order(&mut self, order: Order) -> io::Result<()> {
        let (orders, _) = match &self.thread {
            Some(thread) => thread,
            None => self.thread.insert(start(Arc::clone(&self.waker))?),
        };
        orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => {
                io::Error::new(io::ErrorKind::ResourceBusy, "too many names are being looked up")
            }
            TrySendError::Disconnected(_) => io::Error::other("the worker thread has ended"),
        })
    }
}

fn start(waker: Arc<Waker>) -> io::Result<(SyncSender<Order>, Receiver<Report>)> {
    let (orders, queue) = sync_channel(QUEUE);
    let (reports, outcome) = channel();
    thread::Builder::new().name("p2poll-worker".into()).spawn(move || work(&queue, &reports, &waker))?;
    Ok((orders, outcome))
}

fn work(queue: &Receiver<Order>, reports: &Sender<Report>, waker: &Waker) {
    while let Ok(order) = queue.recv() {
        // Nothing of ours is left half-changed by a panic: what a job has is its own.
        let report = catch_unwind(AssertUnwindSafe(|| carry_out(&order)));
        let report = report.unwrap_or_else(|_| order.fails("it ended in a panic"));
        if reports.send(report).is_err() || waker.wake().is_err() {
            return;
        }
    }
}

fn carry_out(order: &Order) -> Report {
    match order {
        Order::Resolve(query, host, port) => Report::Resolved(*query, resolve(host, *port)),
        Order::Load(path) => Report::Loaded(load(path)),
        Order::Save(path, text) => Report::Saved(draft::replace(path, text)),
        Order::Interfaces => Report::Interfaces(interfaces::addresses()),
        #[cfg(test)]
        Order::Panic(query) => panic!("{query} is meant to be one"),
    }
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let addrs = (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    Ok(addrs.take(ADDRESSES).collect())
}

fn load(path: &Path) -> io::Result<String> {
    // Opening a pipe would wait for its other end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut text = Vec::new();
    fs::File::open(path)?.take(LARGEST_FILE).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_panic_is_a_report_and_the_next_job_is_done() {
        let poll = mio::Poll::new().unwrap();
        let mut worker = Worker::new(Arc::new(Waker::new(poll.registry(), mio::Token(0)).unwrap()));
        worker.order(Order::Panic(7)).unwrap();
        worker.resolve(8, "127.0.0.1".into(), 80);
        let (_, reports) = worker.thread.as_ref().unwrap();
        let next = || reports.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(matches!(next(), Report::Resolved(7, Err(why)) if why.contains("panic")));
        assert!(matches!(next(), Report::Resolved(8, Ok(_))));
    }
}
