//! What the server tells the log. Strangers can cause most of it, and so it is told once a minute for each cause, with a
//! count of what was left out.

use std::fmt;
use std::net::SocketAddr;

use log::Level;

use crate::id::StreamId;
use crate::note::{Notes, Throttle};
use crate::proto::rendezvous::server::{CloseWhy, ServerNews};
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
    UnknownAddress,
    LearnedAddress,
    KeyInUse,
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

    pub(super) fn tell(&mut self, news: ServerNews, now: Instant) {
        let advice = |dialled| {
            format!(
                "nodes dial this server as {dialled}, which it does not know as its own, so that it can not pass signals \
                 on for them nor relay them: if that is its address, start it with --public-address {dialled}"
            )
        };
        match news {
            ServerNews::Unknown { dialled, networks, needed } => {
                self.note(Cause::UnknownAddress, now, || {
                    format!(
                        "{} ({networks} of the {needed} networks that it would believe say so)",
                        advice(dialled)
                    )
                });
            }
            ServerNews::Unbelieved { dialled } => {
                self.note(Cause::UnknownAddress, now, || advice(dialled));
            }
            ServerNews::KeyInUse { id, here, there } => self.note(Cause::KeyInUse, now, || {
                format!("{id} is at {here} and at {there}: two processes have one key, and the calls go to the first")
            }),
            ServerNews::Learned { dialled } => self.note(Cause::LearnedAddress, now, || {
                format!("takes {dialled} for its own address: nodes in several networks have dialled it so")
            }),
        }
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
            Self::UnknownAddress | Self::LearnedAddress => Level::Warn,
            Self::KeyInUse => Level::Info,
            Self::DoesNotRead => Level::Debug,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected(why) => write!(f, "a client {why}: disconnected"),
            Self::Refused(why) => write!(f, "refused one that {why}"),
            Self::UnknownAddress => {
                f.write_str("a node has dialled an address that is not known as the server's own")
            }
            Self::LearnedAddress => f.write_str("an address is taken for the server's own"),
            Self::KeyInUse => f.write_str("two processes have one key"),
            Self::DoesNotRead => f.write_str("a client does not read, and misses a line"),
        }
    }
}
