//! One connection, as the application sees it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::connect::RelayLimits;
use crate::error::SendError;
use crate::event::Via;
use crate::id::{ConId, Except};
use crate::identity::NodeId;
use crate::net::Net;
use crate::net::reading::Batch;
use crate::node::peer::cons::Unread;
use crate::unl::Unl;
use crate::wire::line::{Line, LineRef};

/// A connection: a view that is as cheap to copy as an id, and can not outlive the walk that showed it.
///
/// After [`close`](Con::close), or when the connection has ended, it stays safe to use: there are no more replies, and
/// sending is [`SendError::Closed`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut net = p2poll::Config::new().bind([127, 0, 0, 1].into()).start()?;
/// for con in net.connections() {
///     for line in con.replies() {
///         if &*line == "QUIT" {
///             con.send_line("goodbye").ok();
///             con.close(); // the goodbye still goes out
///         } else if con.queued() > 1_000_000 {
///             println!("{} reads slowly: {:?}", con.id(), con.stats());
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Con<'net> {
    net: &'net Net,
    id: ConId,
}

/// What went through a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes received, line ends included.
    pub bytes_received: u64,
    /// Bytes that the network took, line ends included.
    pub bytes_sent: u64,
    /// Lines that the application read.
    pub lines_received: u64,
    /// Lines that were queued.
    pub lines_sent: u64,
    /// How long ago the connection came about.
    pub age: Duration,
    /// How it came about.
    pub via: Via,
}

impl<'net> Con<'net> {
    pub(crate) fn new(net: &'net Net, id: ConId) -> Self {
        Self { net, id }
    }

    /// Its name, to remember it by.
    pub fn id(self) -> ConId {
        self.id
    }

    /// The lines that have arrived whole and were not read yet. Never waits; what arrives later is for the next walk.
    pub fn replies(self) -> Replies<'net> {
        Replies { con: self, batch: None }
    }

    /// Looks at the lines that have arrived whole and were not read yet, all of them, where they stand: they are read, as by
    /// [`replies`](Con::replies), but not copied, which is faster for who does not keep them.
    ///
    /// `look` may use the connection and the `Net`; after a [`close`](Con::close) in it there are no further lines. A
    /// line counts as read when `look` is called with it, even should that panic.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let net = p2poll::Config::new().bind([127, 0, 0, 1].into()).start()?;
    /// let mut moves = 0;
    /// for con in net.ready() {
    ///     con.for_each_line(|line| {
    ///         if line.as_bytes().starts_with(b"MOVE ") {
    ///             moves += 1;
    ///             con.send_line("OK").ok();
    ///         }
    ///     });
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn for_each_line(self, mut look: impl FnMut(LineRef<'_>)) {
        let mut replies = self.replies();
        loop {
            while let Some(found) = replies.batch.as_ref().and_then(|batch| batch.next(&self.net.reading)) {
                look(found.lend());
            }
            if !replies.ask() {
                return;
            }
        }
    }

    /// Queues one line; its end is added ([`Config::line_end`](crate::Config::line_end)). It is sent at the end of the
    /// walk, or with the next `poll`; a queue that grows long is sent from earlier.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] when the peer reads too slowly, [`SendError::BadLine`] when it is not one line,
    /// [`SendError::TooLong`], [`SendError::Closed`]. Then nothing of it is sent.
    #[inline]
    pub fn send_line(self, line: impl AsRef<[u8]>) -> Result<(), SendError> {
        let line = line.as_ref();
        self.net.with(|core| {
            let (stream, queued) = core.host.send_line(self.id, line)?;
            core.write_early(stream, queued);
            Ok(())
        })
    }

    /// Queues several lines, all or none of them; otherwise like [`send_line`](Con::send_line), and faster than one by one.
    ///
    /// # Errors
    ///
    /// As [`send_line`](Con::send_line), for the first line that is at fault, or when there is no room for all of them:
    /// [`SendError::TooLong`] says that there never is ([`Config::max_queued`](crate::Config::max_queued)). Then nothing
    /// of them is sent.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let net = p2poll::Config::new().bind([127, 0, 0, 1].into()).start()?;
    /// let names = vec!["ada".to_string(), "grace".to_string()];
    /// for con in net.connections() {
    ///     con.send_lines(&names)?;
    ///     con.send_lines(&["that is", "all"])?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_lines(self, lines: &[impl AsRef<[u8]>]) -> Result<(), SendError> {
        // `as_ref` may be the application's code, and runs without the borrow.
        const FEW: usize = 32;
        let mut few: [&[u8]; FEW] = [&[]; FEW];
        let many: Vec<&[u8]>;
        let all = match few.get_mut(..lines.len()) {
            Some(few) => {
                few.iter_mut().zip(lines).for_each(|(slot, line)| *slot = line.as_ref());
                &*few
            }
            None => {
                many = lines.iter().map(AsRef::as_ref).collect();
                &many
            }
        };
        self.net.with(|core| {
            let (stream, queued) = core.host.send_lines(self.id, all)?;
            core.write_early(stream, queued);
            Ok(())
        })
    }

    /// Queues bytes as they are, for programs that frame by themselves. The peer may be reading lines.
    ///
    /// # Errors
    ///
    /// As [`send_line`](Con::send_line), but line ends are welcome.
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Result<(), SendError> {
        let bytes = bytes.as_ref();
        self.net.with(|core| {
            let (stream, queued) = core.host.send_raw(self.id, bytes)?;
            core.write_early(stream, queued);
            Ok(())
        })
    }

    /// Closes the connection. What is queued still goes out, for
    /// [`Config::close_deadline`](crate::Config::close_deadline) at most; what was not read is forgotten.
    /// [`Event::Closed`](crate::Event::Closed) follows; the id names nothing from now on.
    pub fn close(self) {
        self.net.with(|core| core.host.close(self.id, core.now()));
    }

    /// The peer's end; `None` after the connection has ended.
    pub fn peer_addr(self) -> Option<SocketAddr> {
        self.net.with(|core| core.host.facts(self.id)).map(|facts| facts.peer)
    }

    /// This end; `None` after the connection has ended.
    pub fn local_addr(self) -> Option<SocketAddr> {
        self.net.with(|core| core.host.facts(self.id)).and_then(|facts| facts.local)
    }

    /// How it came about; `None` after the connection has ended. An upgrade of a relayed connection changes it.
    pub fn via(self) -> Option<Via> {
        self.net.with(|core| core.host.via(self.id))
    }

    /// The peer's id, proven by its hello; `None` for plain peers (pyp2p, netcat, the p2p network), and after the connection
    /// has ended.
    ///
    /// The proof says that the key's holder took part in the hello, not who wrote later lines on a path that an attacker
    /// holds: lines are not encrypted yet.
    pub fn node_id(self) -> Option<NodeId> {
        self.net.with(|core| core.host.node_id(self.id))
    }

    /// The peer's UNL as far as it is known: the one that was connected to, or the one that the peer sent when it called.
    pub fn unl(self) -> Option<Unl> {
        self.net.with(|core| core.host.unl_of(self.id))
    }

    /// What the relay allows, where one passes the bytes on.
    pub fn relay(self) -> Option<RelayLimits> {
        self.net.with(|core| core.host.relay_limits(self.id))
    }

    /// Makes it [temporary](crate::Connect::temporary), with this idle time, or constant with `None`.
    pub fn close_when_idle(self, idle: Option<Duration>) {
        self.net.with(|core| core.host.close_when_idle(self.id, idle, core.now()));
    }

    /// Bytes that are queued and that the network has not taken yet.
    pub fn queued(self) -> usize {
        self.net.with(|core| core.host.queued(self.id))
    }

    /// What went through it; `None` after the connection has ended.
    pub fn stats(self) -> Option<Stats> {
        let (facts, via, now) = self.net.with(|core| {
            let (facts, via) = (core.host.facts(self.id), core.host.via(self.id));
            (facts, via, core.now())
        });
        let (facts, via) = facts.zip(via)?;
        let counters = facts.counters;
        Some(Stats {
            bytes_received: counters.bytes_received,
            bytes_sent: counters.bytes_sent,
            lines_received: counters.lines_received,
            lines_sent: counters.lines_sent,
            age: now - facts.opened,
            via,
        })
    }
}

impl fmt::Debug for Con<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Con").field(&self.id).finish()
    }
}

impl PartialEq for Con<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Con<'_> {}

impl From<Con<'_>> for Except {
    fn from(con: Con<'_>) -> Self {
        Self(Some(con.id))
    }
}

impl From<&Con<'_>> for Except {
    fn from(con: &Con<'_>) -> Self {
        Self(Some(con.id))
    }
}

impl From<Option<Con<'_>>> for Except {
    fn from(con: Option<Con<'_>>) -> Self {
        Self(con.map(|con| con.id))
    }
}

/// The unread lines of a connection; see [`Con::replies`].
///
/// It can be left early, kept, or used beside another one of the same connection: whoever asks gets the next line. One that
/// is kept or leaked keeps the chunk that it read from last (see [`Line`]).
#[derive(Debug)]
pub struct Replies<'net> {
    con: Con<'net>,
    batch: Option<Batch>,
}

impl Replies<'_> {
    /// Asks the node for a batch, when the last one has come to an end, or somebody else has used the node meanwhile.
    #[inline(never)]
    fn ask(&mut self) -> bool {
        let Con { net, id } = self.con;
        if self.batch.as_ref().is_some_and(|batch| batch.is_stuck(&net.reading)) {
            return self.ask_for_one();
        }
        let is_one_by_one = net.with(|core| match core.host.unread_lines(id) {
            Unread::Together(rest) => {
                Batch::take_over(&mut self.batch, &rest, &net.reading);
                false
            }
            unread => {
                self.batch = None;
                matches!(unread, Unread::OneByOne)
            }
        });
        if is_one_by_one { self.ask_for_one() } else { self.batch.is_some() }
    }

    /// A batch of a line that the node looks at first, or that may be too long.
    #[cold]
    fn ask_for_one(&mut self) -> bool {
        let Con { net, id } = self.con;
        let line = net.with(|core| {
            let (host, clock) = core.parts();
            host.next_line(id, || clock.now())
        });
        self.batch = line.map(|line| Batch::of_one(&line, &net.reading));
        self.batch.is_some()
    }
}

impl Iterator for Replies<'_> {
    type Item = Line;

    // With all that it calls to make a line: what is handed up by value through functions is copied from stack to stack, each
    // time right after it was written, in moves of another shape, which costs more than finding it.
    #[inline(always)]
    fn next(&mut self) -> Option<Line> {
        let reading = &self.con.net.reading;
        loop {
            if let Some(found) = self.batch.as_ref().and_then(|batch| batch.next(reading)) {
                return Some(found.to_line_by(|chunk| reading.share(chunk)));
            }
            if !self.ask() {
                return None;
            }
        }
    }
}
