//! What happened, in the order in which it happened.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::connect::Progress;
use crate::error::{CloseReason, FailReason};
use crate::id::{AttemptId, ConId};
use crate::reach::{Reach, ServerKind};
use crate::unl::Unl;

/// Something that happened to a `Net`; drained by [`Net::events`](crate::Net::events).
///
/// A program may ignore events altogether: the queue is bounded.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut net = p2poll::Config::new().bind([127, 0, 0, 1].into()).start()?;
/// use p2poll::Event;
///
/// for event in net.events() {
///     match event {
///         Event::Connected { con, peer, .. } => println!("{con} is {peer}"),
///         Event::Closed { con, why } => println!("{con} is gone: {why}"),
///         other => println!("{other}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A connection is there; `connections()` shows it from now on.
    Connected {
        /// The connection.
        con: ConId,
        /// How it came about.
        via: Via,
        /// The peer's end.
        peer: SocketAddr,
        /// The attempt that it is the outcome of, where the application began one.
        attempt: Option<AttemptId>,
        /// How long it took from the decision to connect; zero for one that was accepted.
        took: Duration,
    },
    /// A connection has ended. All lines that had arrived whole were delivered before.
    Closed {
        /// The connection; its id names nothing any more.
        con: ConId,
        /// Why.
        why: CloseReason,
    },
    /// An attempt to connect that the application began ended without a connection.
    Failed {
        /// The attempt.
        attempt: AttemptId,
        /// Why.
        why: FailReason,
    },
    /// How far an attempt to connect to a UNL is.
    Climbing {
        /// The attempt.
        attempt: AttemptId,
        /// What happened on the way.
        progress: Progress,
    },
    /// A relayed connection goes another way from now on. No line was lost or changed places.
    Upgraded {
        /// The connection; its id stays.
        con: ConId,
        /// The new way.
        via: Via,
        /// The peer's end of the new way.
        peer: SocketAddr,
    },
    /// Where and how this node can be reached has changed since it started; see [`Net::unl`](crate::Net::unl).
    Unl(Unl),
    /// What goes on between this `Net` and one of its rendezvous servers.
    Rendezvous {
        /// The server as configured.
        server: Arc<str>,
        /// The news.
        news: RendezvousNews,
    },
    /// What is known of how others can reach this node has changed; see [`Net::reach`](crate::Net::reach).
    Reach(Arc<Reach>),
    /// Everything has been closed after [`Net::stop`](crate::Net::stop).
    Stopped,
    /// The queue overflowed: this many of the oldest events were dropped here.
    Missed(u64),
}

/// For logs and people.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { con, via, peer, .. } => write!(f, "{con} connected: {peer} ({via})"),
            Self::Closed { con, why } => write!(f, "{con} gone: {why}"),
            Self::Failed { attempt, why } => write!(f, "attempt {attempt} failed: {why}"),
            Self::Climbing { attempt, progress } => write!(f, "attempt {attempt}: {progress}"),
            Self::Upgraded { con, via, peer } => write!(f, "{con} goes another way: {peer} ({via})"),
            Self::Unl(unl) => write!(f, "unl: {unl}"),
            Self::Rendezvous { server, news } => write!(f, "rendezvous server {server} {news}"),
            Self::Reach(reach) => write!(f, "reach: {reach}"),
            Self::Stopped => f.write_str("stopped"),
            Self::Missed(count) => write!(f, "{count} events were missed"),
        }
    }
}

/// How a connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// The peer connected to us.
    Accepted,
    /// We connected to an address in the same network, or on the same computer.
    Lan,
    /// We connected to the address as given or advertised.
    Direct,
    /// We connected to a port that the peer had its router open.
    Mapped,
    /// The peer connected to us because we had asked it to.
    Reverse,
    /// Both connected at the same time, through their NATs.
    Punched,
    /// A rendezvous server passes the bytes on.
    Relayed,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "accepted",
            Self::Lan => "lan",
            Self::Direct => "direct",
            Self::Mapped => "mapped",
            Self::Reverse => "reverse",
            Self::Punched => "punched",
            Self::Relayed => "relayed",
        })
    }
}

/// News about a rendezvous server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RendezvousNews {
    /// It answers.
    Up {
        /// Which protocol it speaks.
        kind: ServerKind,
        /// The address at which the server sees us, where it says so.
        seen: Option<SocketAddr>,
    },
    /// It told us of this many nodes, some of which may be known or not fit to be dialled.
    Nodes(usize),
    /// We are listed there.
    Advertised,
    /// It has no room for us; asked again later.
    Refused,
    /// It does not take the proof of our id: nobody can call us through it, nor be relayed by it. All else goes on.
    Unproven {
        /// Why, and what whoever runs it can do.
        why: String,
    },
    /// Another process has the key of this node, and was refused there as long as this one is there.
    KeyInUse {
        /// Where the server sees it.
        at: SocketAddr,
    },
    /// It does not answer, or not in its protocol. It is asked again after the given time.
    Down {
        /// Why.
        why: ServerFault,
        /// When it will be tried again.
        retry_in: Duration,
    },
}

impl fmt::Display for RendezvousNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up { kind, seen: Some(seen) } => write!(f, "is up, speaks {kind}, sees us at {seen}"),
            Self::Up { kind, seen: None } => write!(f, "is up, speaks {kind}"),
            Self::Nodes(count) => write!(f, "told of {count} nodes"),
            Self::Advertised => f.write_str("lists us"),
            Self::Refused => f.write_str("has no room for us; asked again later"),
            Self::Unproven { why } => write!(f, "does not take our proof: {why}"),
            Self::KeyInUse { at } => write!(
                f,
                "says that another process, at {at}, has the key of this node: calls come to this one as long as it is there"
            ),
            Self::Down { why, retry_in } => {
                write!(f, "is down: {why}; trying again in {:.0} s", retry_in.as_secs_f64().ceil())
            }
        }
    }
}

/// What is wrong with a rendezvous server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerFault {
    /// Its name has no address, or could not be looked up.
    NoAddress,
    /// No connection came about.
    Unreachable,
    /// This machine has no local port left to connect from.
    NoLocalPort,
    /// The connection ended before the answers had come.
    HungUp,
    /// An answer did not come in time.
    Slow,
    /// What it says is not the protocol.
    Nonsense,
}

impl fmt::Display for ServerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAddress => "no address",
            Self::Unreachable => "unreachable",
            Self::NoLocalPort => "unreachable: this machine has no local port left to connect from",
            Self::HungUp => "hung up",
            Self::Slow => "did not answer in time",
            Self::Nonsense => "talks nonsense",
        })
    }
}

/// A bounded queue of events: when nobody drains it, the oldest go first and are counted.
#[derive(Debug)]
pub(crate) struct EventQueue {
    queue: VecDeque<Event>,
    limit: usize,
    missed: u64,
    /// How many were ever pushed: tells a poller that something happened meanwhile.
    pushed: u64,
}

impl EventQueue {
    pub(crate) fn new(limit: usize) -> Self {
        Self { queue: VecDeque::new(), limit: limit.max(1), missed: 0, pushed: 0 }
    }

    pub(crate) fn push(&mut self, event: Event) {
        if self.queue.len() >= self.limit {
            self.queue.pop_front();
            self.missed += 1;
        }
        self.pushed += 1;
        self.queue.push_back(event);
    }

    /// The next event; first of all how many are missing before it.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        if self.missed > 0 {
            return Some(Event::Missed(std::mem::take(&mut self.missed)));
        }
        self.queue.pop_front()
    }

    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_are_counted() {
        let mut queue = EventQueue::new(2);
        for n in 1..=5 {
            queue.push(Event::Closed { con: ConId::new(0, 0, n), why: CloseReason::Peer });
        }
        let closed = |n| Some(Event::Closed { con: ConId::new(0, 0, n), why: CloseReason::Peer });
        assert_eq!(queue.pop(), Some(Event::Missed(3)));
        assert_eq!(queue.pop(), closed(4));
        queue.push(Event::Stopped);
        assert_eq!(queue.pop(), closed(5));
        assert_eq!(queue.pop(), Some(Event::Stopped));
        assert_eq!(queue.pop(), None);
    }
}
