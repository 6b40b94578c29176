//! Names for connections, attempts, calls and streams, and what makes a handshake one of its connection.

use std::fmt;

use crate::random::Random;

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
    #[inline]
    pub const fn number(self) -> u64 {
        self.serial
    }

    #[inline]
    pub(crate) const fn slot(self) -> usize {
        self.slot as usize
    }

    #[inline]
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
    #[inline]
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

/// Names one call: an attempt to reach a node, in its signals, in the hello of a connection that comes of it, and as the
/// session of its relay. Whoever calls chooses it, at random, so that it is the same one at both ends and nobody else's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CallId([u8; 16]);

/// What makes the proofs of a handshake those of this connection, and of no other: each side chooses one, at random.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkNonce([u8; 16]);

impl CallId {
    pub(crate) fn fresh(random: &mut Random) -> Self {
        Self(sixteen_bytes(random))
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl LinkNonce {
    pub(crate) fn fresh(random: &mut Random) -> Self {
        Self(sixteen_bytes(random))
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Enough of it to tell it from others in a log.
impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({:032x})", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for LinkNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkNonce({:032x})", u128::from_be_bytes(self.0))
    }
}

fn sixteen_bytes(random: &mut Random) -> [u8; 16] {
    (u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_one_is_another() {
        let mut random = Random::from_number(1);
        let mut calls: Vec<_> = (0..100).map(|_| CallId::fresh(&mut random)).collect();
        let mut nonces: Vec<_> = (0..100).map(|_| LinkNonce::fresh(&mut random)).collect();
        calls.sort_unstable();
        calls.dedup();
        nonces.sort_unstable_by_key(|nonce| *nonce.as_bytes());
        nonces.dedup();
        assert_eq!((calls.len(), nonces.len()), (100, 100));
    }

    #[test]
    fn a_call_is_short_in_the_log_and_whole_for_debugging() {
        let call = CallId::from_bytes(std::array::from_fn(|n| 0xa0 + n as u8));
        assert_eq!(call.to_string(), "a0a1a2a3");
        assert_eq!(format!("{call:?}"), "CallId(a0a1a2a3a4a5a6a7a8a9aaabacadaeaf)");
        let nonce = LinkNonce::from_bytes([1; 16]);
        assert_eq!(format!("{nonce:?}"), "LinkNonce(01010101010101010101010101010101)");
    }
}
