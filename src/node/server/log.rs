//! What the server tells the log. Strangers can cause most of it, and so it is told once a minute for each cause, with a
//! count of what was left out.

use std::fmt;
use std::net::SocketAddr;

use log::Level;

use crate::id::StreamId;
use crate::note::{Notes, Throttle};
use crate::proto::rendezvous::server::CloseWhy;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct ServerLog {
    pub(super) notes: Notes,
    throttle: Throttle<Cause>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Disconnected(CloseWhy),
    Refused(CloseWhy),
    DoesNotRead,
}

impl ServerLog {
    pub(super) fn new() -> Self {
        Self { notes: Notes::default(), throttle: Throttle::new() }
    }

    /// The server has ended a client's connection.
    pub(super) fn disconnected(
        &mut self,
        client: StreamId,
        peer: Option<SocketAddr>,
        why: CloseWhy,
        now: Instant,
    ) {
        let peer = peer.map(|peer| format!(" at {peer}")).unwrap_or_default();
        if why == CloseWhy::Quit {
            self.notes.push(Level::Debug, || format!("client {client}{peer} {why}"));
        } else {
            self.note(Cause::Disconnected(why), now, || format!("client {client}{peer} {why}: disconnected"));
        }
    }

    /// A connection was closed before it cost anything.
    pub(super) fn refused(&mut self, peer: SocketAddr, why: CloseWhy, now: Instant) {
        self.note(Cause::Refused(why), now, || format!("refused {peer}, which {why}"));
    }

    /// A line for a client is dropped.
    pub(super) fn does_not_read(&mut self, client: StreamId, now: Instant) {
        self.note(Cause::DoesNotRead, now, || format!("client {client} does not read: it misses a line"));
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some((cause, left_out)) = self.throttle.poll_left_out(now) {
            self.notes.push(cause.level(), || format!("within a minute, {left_out} more: {cause}"));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.throttle.poll_timeout()
    }

    fn note(&mut self, cause: Cause, now: Instant, text: impl FnOnce() -> String) {
        if self.throttle.admit(cause, now) {
            self.notes.push(cause.level(), text);
        }
    }
}

impl Cause {
    /// A warning where whoever runs the server can do something, or should know.
    const fn level(self) -> Level {
        match self {
            Self::Disconnected(CloseWhy::Foreign(_)) | Self::Refused(CloseWhy::Full) => Level::Warn,
            Self::Disconnected(_) | Self::Refused(_) => Level::Info,
            Self::DoesNotRead => Level::Debug,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected(why) => write!(f, "a client {why}: disconnected"),
            Self::Refused(why) => write!(f, "refused one that {why}"),
            Self::DoesNotRead => f.write_str("a client does not read, and misses a line"),
        }
    }
}
