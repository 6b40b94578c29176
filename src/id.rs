//! Names for connections, attempts and streams.

use std::fmt;

/// Names one connection of one `Net`, for as long as the program runs.
///
/// An id is never used again, and it is tagged with the `Net` that gave it out: after the connection has ended,
/// or asked of another `Net`, it names nothing, rather than somebody else. It prints as a number that counts up
/// from 1 in each `Net`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let net = p2poll::Config::new().bind("127.0.0.1".parse()?).start()?;
/// let mut remembered: Option<p2poll::ConId> = None;
/// for con in net.connections() {
///     remembered = Some(con.id());
/// }
/// // Later, perhaps:
/// if let Some(con) = remembered.and_then(|id| net.con(id)) {
///     con.send_line("still there?")?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConId {
    /// Counts up and is never reset: what makes an id unique within its `Net`.
    serial: u64,
    /// Where the connection is kept; a shortcut for look-ups, worth nothing without the serial.
    slot: u32,
    net: u32,
}

impl ConId {
    pub(crate) const fn new(net: u32, slot: u32, serial: u64) -> Self {
        Self { serial, slot, net }
    }

    /// The number that it prints as: 1 for the first connection of its `Net`, and ascending.
    pub const fn number(self) -> u64 {
        self.serial
    }

    pub(crate) const fn slot(self) -> usize {
        self.slot as usize
    }

    pub(crate) const fn net(self) -> u32 {
        self.net
    }
}

impl fmt::Display for ConId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.serial)
    }
}

impl fmt::Debug for ConId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConId({}#{})", self.net, self.serial)
    }
}

/// Names one stream of the operating system within its node: a socket that is being opened, is open, or is on its way out.
///
/// The driver keeps the socket under the id's slot. A slot has one stream after the other; an id names one for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId {
    serial: u64,
    slot: u32,
}

impl StreamId {
    pub(crate) const fn new(slot: u32, serial: u64) -> Self {
        Self { serial, slot }
    }

    #[inline]
    pub(crate) const fn slot(self) -> usize {
        self.slot as usize
    }

    #[inline]
    pub(crate) const fn serial(self) -> u64 {
        self.serial
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}", self.serial)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({} in {})", self.serial, self.slot)
    }
}

/// Names one rendezvous server that a node talks to, its own or one that a UNL names. Never given to another one.
///
/// Those of the configuration have the numbers of their places there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ServerId(pub(crate) u64);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server {}", self.0)
    }
}

/// Names one attempt to connect, from [`Net::connect_addr`](crate::Net::connect_addr) until
/// [`Event::Connected`](crate::Event::Connected) or [`Event::Failed`](crate::Event::Failed) tells its outcome.
///
/// Never used again within its `Net`. It prints as a number that counts up from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    serial: u64,
    net: u32,
}

impl AttemptId {
    pub(crate) const fn new(net: u32, serial: u64) -> Self {
        Self { serial, net }
    }

    /// The number that it prints as.
    pub const fn number(self) -> u64 {
        self.serial
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.serial)
    }
}

impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttemptId({}#{})", self.net, self.serial)
    }
}

/// The exception of a broadcast: one connection, or none.
///
/// Made from a [`Con`](crate::Con), a [`ConId`], an `Option<Con>`, or `None`. (An `Option<ConId>` would make `None`
/// ambiguous; map it through [`Net::con`](crate::Net::con).)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Except(pub(crate) Option<ConId>);

impl From<ConId> for Except {
    fn from(id: ConId) -> Self {
        Self(Some(id))
    }
}

impl From<&ConId> for Except {
    fn from(id: &ConId) -> Self {
        Self(Some(*id))
    }
}
