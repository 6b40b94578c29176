//! What it means to connect to a node: whom, the rungs of the ladder, and what each of them said.

mod target;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::identity::NodeId;
use crate::unl::Unl;
pub(crate) use target::Target;
pub use target::TargetError;

/// One way to reach a node. [`Net::connect`](crate::Net::connect) tries them in this order, cheap ones side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rung {
    /// A connection to it that is there already.
    Existing,
    /// An address in the same network, or on the same computer.
    Lan,
    /// Its public, forwarded or mapped port.
    Direct,
    /// It is asked to connect to us.
    Reverse,
    /// TCP hole punching: both dial at the same time.
    Punch,
    /// A rendezvous server, or a node that does so for others, passes the bytes on.
    Relay,
}

impl Rung {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 6] =
        [Self::Existing, Self::Lan, Self::Direct, Self::Reverse, Self::Punch, Self::Relay];

    /// Its name, as in events and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Existing => "existing",
            Self::Lan => "lan",
            Self::Direct => "direct",
            Self::Reverse => "reverse",
            Self::Punch => "punch",
            Self::Relay => "relay",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A set of rungs.
///
/// ```
/// use p2poll::{Rung, Rungs};
///
/// let mut rungs = Rungs::NONE.with(Rung::Direct).with(Rung::Punch);
/// assert!(rungs.has(Rung::Punch) && !rungs.has(Rung::Relay));
/// assert!(Rungs::ALL.has(Rung::Relay));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rungs(u8);

impl Rungs {
    /// No rung.
    pub const NONE: Self = Self(0);
    /// Every rung.
    pub const ALL: Self = Self(0b11_1111);

    /// The set with this one in it.
    #[must_use]
    pub const fn with(self, rung: Rung) -> Self {
        Self(self.0 | 1 << rung as u8)
    }

    /// The set with this one not in it.
    #[must_use]
    pub const fn without(self, rung: Rung) -> Self {
        Self(self.0 & !(1 << rung as u8))
    }

    /// Whether this one is in it.
    pub const fn has(self, rung: Rung) -> bool {
        self.0 & 1 << rung as u8 != 0
    }
}

impl Default for Rungs {
    fn default() -> Self {
        Self::ALL
    }
}

/// Whom to connect to, and how: what [`Net::connect`](crate::Net::connect) takes. A [`Unl`], an address, and a text are one
/// by themselves.
///
/// A text is `HOST:PORT`, `ID@HOST:PORT` with the [`NodeId`](crate::NodeId) of who is to be there, or a UNL.
///
/// ```
/// use std::time::Duration;
/// use p2poll::{Connect, Rung, Rungs, Unl};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let net = p2poll::Config::new().bind([127, 0, 0, 1].into()).start()?;
/// let unl: Unl = "AgABAgMEBQYHCAkKCwwNDg8QERITcGdVnK0HcQDLLQCowGEATmo=".parse()?;
/// // Without a relay, and closed by itself once nothing was said for half a minute.
/// let connect = Connect::to(&unl).only(Rungs::ALL.without(Rung::Relay)).temporary(Duration::from_secs(30));
/// net.connect(connect)?;
///
/// // Whoever is there, and only who is named.
/// let whoever = "192.0.2.7:44444".parse::<Connect>()?;
/// let named: Connect = "000d1a2734414e5b6875828f9ca9b6c3d0ddeaf7@example.org:44444".parse()?;
/// assert_eq!(named.to_string(), "000d1a2734414e5b6875828f9ca9b6c3d0ddeaf7@example.org:44444");
/// net.connect(whoever.temporary(Duration::from_secs(30)))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Connect {
    pub(crate) target: Target,
    pub(crate) rungs: Rungs,
    pub(crate) temporary: Option<Duration>,
}

impl Connect {
    /// To this node, by whatever way there is; the connection stays until somebody closes it.
    pub fn to(unl: &Unl) -> Self {
        unl.into()
    }

    /// The node that is to be there; `None` for an address alone, and for a UNL of version 2, which names none.
    pub fn node_id(&self) -> Option<NodeId> {
        match &self.target {
            Target::Unl(unl) => unl.node_id(),
            Target::Address { id, .. } => *id,
        }
    }

    /// The UNL, unless it is an address.
    pub fn unl(&self) -> Option<&Unl> {
        match &self.target {
            Target::Unl(unl) => Some(unl),
            Target::Address { .. } => None,
        }
    }

    /// By these ways only. Of an address these are *direct*, and *existing* where the id is given. When neither *direct* nor *relay* is among them, addresses of its own network are dialled though no
    /// server says that it is ours, too. A relayed connection is upgraded to a direct way all the same, unless
    /// [`Config::upgrade_every`](crate::Config::upgrade_every) says never.
    #[must_use]
    pub fn only(mut self, rungs: Rungs) -> Self {
        self.rungs = rungs;
        self
    }

    /// The connection closes itself when nothing was sent or received for so long: p2py's temporary connection. The
    /// event says [`CloseReason::Idle`](crate::CloseReason::Idle).
    #[must_use]
    pub fn temporary(mut self, idle: Duration) -> Self {
        self.temporary = Some(idle);
        self
    }
}

/// How far an attempt to connect to a UNL is; comes with [`Event::Climbing`](crate::Event::Climbing).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// This rung is being tried.
    Began(Rung),
    /// This rung is over; others may still be tried.
    Failed(Tried),
    /// The node was called through this rendezvous server, and is connected to it.
    Called(SocketAddr),
    /// The node is not connected to this server, which keeps the call for a while, in case that it comes.
    Waiting(SocketAddr),
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began(rung) => write!(f, "trying {rung}"),
            Self::Failed(tried) => tried.fmt(f),
            Self::Called(server) => write!(f, "called through {server}"),
            Self::Waiting(server) => write!(f, "not at {server} now; the call waits there"),
        }
    }
}

/// What a rung that was tried, or could not be, said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tried {
    /// Which.
    pub rung: Rung,
    /// Why it gave no connection.
    pub why: RungFault,
    /// How long it was tried; zero when it could not be.
    pub took: Duration,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rung, self.why)
    }
}

/// What an attempt to connect to one address came to. That this machine has no port left is said in so many words: the
/// operating system's are about an address.
pub(crate) fn dial_fault(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::AddrNotAvailable => "this machine has no local port left to connect to it from".into(),
        kind => kind.to_string(),
    }
}

/// Why a rung gave no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RungFault {
    /// There was none to begin with: no such connection, no such address.
    Nothing,
    /// [`Connect::only`] left it out.
    LeftOut,
    /// It has addresses in a network of its own, and no rendezvous server says that it is this one. [`Connect::only`] with
    /// neither [`Rung::Direct`] nor [`Rung::Relay`] dials them all the same.
    Elsewhere,
    /// It has addresses outside, and says that nobody can connect to them.
    NotOpen,
    /// No address answered: each with what it said.
    Unreachable(Vec<(SocketAddr, io::ErrorKind)>),
    /// Who answered there is another node, or can not prove to be this one.
    WrongNode(SocketAddr),
    /// Who answered there said nothing of who it is.
    Silent(SocketAddr),
    /// The node itself refused, with this word.
    Refused(Refusal),
    /// No rendezvous server that the node takes signals through could be used.
    NoServer,
    /// The servers know of no such node at the moment: it is gone, or not there yet.
    Absent,
    /// It was called, and did not answer in time.
    NoAnswer,
    /// We can not be reached ourselves, so that there is no use in asking it to connect.
    NotReachable,
    /// The NAT of one of the two chooses ports that nobody can foretell.
    Unpredictable,
    /// Both dialled, and never met: how many dials were refused, and how many stayed without an answer.
    Missed {
        /// Refused.
        refused: u32,
        /// Without an answer.
        silent: u32,
    },
    /// Our own port could not be seen from outside in time.
    NotObserved,
    /// The relay refused, with this word.
    RelayRefused(RelayRefusal),
    /// More was dialled to that address within a minute than [`Config`](crate::Config) allows.
    Budget,
    /// Time was up.
    TimedOut,
}

impl fmt::Display for RungFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("there is none"),
            Self::LeftOut => f.write_str("left out"),
            Self::Elsewhere => f.write_str("no server says that it is in this network"),
            Self::NotOpen => f.write_str("it says that it can not be connected to"),
            Self::Unreachable(tried) if tried.is_empty() => f.write_str("no answer"),
            Self::Unreachable(tried) => tried.iter().enumerate().try_for_each(|(n, (addr, kind))| {
                write!(f, "{}{addr}: {}", if n == 0 { "" } else { ", " }, dial_fault(*kind))
            }),
            Self::WrongNode(addr) => write!(f, "{addr} is another node"),
            Self::Silent(addr) => write!(f, "{addr} does not say who it is"),
            Self::Refused(why) => write!(f, "the node refused: {why}"),
            Self::NoServer => f.write_str("no rendezvous server to call it through"),
            Self::Absent => f.write_str("its rendezvous servers do not know where it is"),
            Self::NoAnswer => f.write_str("the node did not answer the call"),
            Self::NotReachable => f.write_str("this node can not be connected to either"),
            Self::Unpredictable => f.write_str("a NAT chooses ports that can not be foretold"),
            Self::Missed { refused, silent } => {
                write!(f, "the dials did not meet ({refused} refused, {silent} unanswered)")
            }
            Self::NotObserved => f.write_str("no server told in time how our port is seen"),
            Self::RelayRefused(why) => write!(f, "the relay refused: {why}"),
            Self::Budget => f.write_str("that address was dialled too often within a minute"),
            Self::TimedOut => f.write_str("time was up"),
        }
    }
}

/// With which word a node refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It has no place for another connection.
    Full,
    /// It has too much under way.
    Busy,
    /// It is stopping.
    Closing,
    /// It does not want to, or not so.
    Unwilling,
    /// It knows nothing of what this belongs to.
    Unknown,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "it has no place for another connection",
            Self::Busy => "it has too much under way",
            Self::Closing => "it is stopping",
            Self::Unwilling => "it does not want to",
            Self::Unknown => "it knows nothing of this",
        })
    }
}

/// With which word a relay refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RelayRefusal {
    /// It relays nothing.
    Off,
    /// It has no place for another connection.
    Full,
    /// It has no place for another one of this node, or this address.
    Share,
    /// The other end did not come in time.
    Absent,
    /// It does not accept the ticket, or the proof of who brought it.
    Ticket,
    /// It could not be reached, or hung up.
    Unreachable,
}

impl fmt::Display for RelayRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "it relays nothing",
            Self::Full => "it has no place",
            Self::Share => "it has no more places for this node or its address",
            Self::Absent => "the other end did not come",
            Self::Ticket => "it does not accept the ticket",
            Self::Unreachable => "it could not be reached",
        })
    }
}

/// What a relay allows a connection; see [`Con::relay`](crate::Con::relay). `None`: without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayLimits {
    /// So many bytes in all, both ways together.
    pub bytes: Option<u64>,
    /// So long.
    pub time: Option<Duration>,
    /// So many bytes in a second.
    pub rate: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in() {
        for rung in Rung::ALL {
            assert!(Rungs::ALL.has(rung) && !Rungs::NONE.has(rung));
            assert!(Rungs::NONE.with(rung).has(rung) && !Rungs::ALL.without(rung).has(rung));
            assert_eq!(Rungs::ALL.without(rung).with(rung), Rungs::ALL);
        }
    }
}
