//! Whether and how others can reach a node: the picture that [`Net::reach`](crate::Net::reach) gives, and the words in
//! which it is told.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How others can reach a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeType {
    /// Anybody can connect to its port.
    Passive,
    /// Nobody can connect to it just so, but its NAT chooses ports that can be foretold: a peer that connects at the
    /// same time as it does can meet it.
    Simultaneous,
    /// Nobody can connect to it: it connects to others.
    Active,
}

impl fmt::Display for NodeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passive => "passive",
            Self::Simultaneous => "simultaneous",
            Self::Active => "active",
        })
    }
}

/// How a NAT chooses the external port of a connection from inside; pyp2p's four kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NatKind {
    /// The external port is the local one. So it is, too, where there is no NAT at all.
    Preserving,
    /// The external ports of consecutive connections differ by a constant.
    Delta {
        /// The difference, never 0.
        step: i32,
    },
    /// A local port has the same external port towards everybody: endpoint-independent mapping (RFC 4787 section 4.1).
    Reuse,
    /// Nobody can foretell it.
    Random,
}

impl NatKind {
    /// Whether the external port of the next connection can be foretold.
    pub fn is_predictable(self) -> bool {
        self != Self::Random
    }
}

impl fmt::Display for NatKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preserving => f.write_str("preserving"),
            Self::Delta { step } => write!(f, "delta of {step}"),
            Self::Reuse => f.write_str("reuse"),
            Self::Random => f.write_str("random"),
        }
    }
}

/// What a node knows of how it can be reached, as far as it is certain by now; see [`Net::reach`](crate::Net::reach).
/// Once the node stops, it is the last that was known before.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut net = p2poll::Config::new().bind([127, 0, 0, 1].into()).start()?;
/// let reach = net.reach();
/// println!("{}, NAT: {}, reachable: {}", reach.node_type, reach.nat, reach.reachable);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reach {
    /// What all that is known amounts to; [`NodeType::Passive`] until something else is certain, so look at `reachable`
    /// before you rely on it. While a router is being asked it may change twice in a second.
    pub node_type: NodeType,
    /// How the NAT in front of it chooses ports.
    pub nat: Nat,
    /// Whether a NAT translates its address; `None` while that is unknown.
    pub translated: Option<bool>,
    /// Its address as the outside sees it: as configured, as a rendezvous server says, or as the router says. IPv4 where
    /// there are both.
    pub wan: Option<IpAddr>,
    /// Addresses of its interfaces that others in the same network can use; loopback only where it listens only there. First
    /// those from which the servers and the rest of the world are reached, last those of bridges to guests of this machine.
    /// Empty right after the start: they are listed a moment later.
    pub lan: Vec<LanAddress>,
    /// The port at which others reach it from outside, as far as they do: the mapped one, or the one at which it
    /// listens. `None` when it does not listen.
    pub port: Option<u16>,
    /// Whether that port can be reached from outside.
    pub reachable: Reachability,
    /// What was asked of the router.
    pub mapping: Mapping,
    /// The rendezvous servers in the order of the configuration.
    pub servers: Vec<ServerSight>,
}

/// In one line, for logs.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node_type, nat, reachable, mapping, .. } = self;
        write!(f, "{node_type}; NAT: {nat}; reachable: {reachable}; mapping: {mapping}")?;
        if let Some(wan) = self.wan {
            write!(f, "; seen at {wan}")?;
        }
        for (place, address) in self.lan.iter().enumerate() {
            f.write_str(if place == 0 { "; here " } else { ", " })?;
            address.fmt(f)?;
        }
        Ok(())
    }
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            node_type: NodeType::Passive,
            nat: Nat::Unknown(Doubt::Pending),
            translated: None,
            wan: None,
            lan: Vec::new(),
            port: None,
            reachable: Reachability::Unknown(Doubt::Pending),
            mapping: Mapping::Waiting,
            servers: Vec::new(),
        }
    }
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LanAddress {
    /// The interface's name, as the operating system has it.
    pub interface: Arc<str>,
    /// One of its addresses.
    pub address: IpAddr,
}

impl fmt::Display for LanAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.address, self.interface)
    }
}

/// How a NAT chooses ports, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Nat {
    /// There is none: the outside sees the node's own address. Its ports are as they are, so they are preserved.
    None,
    /// Measured, by at least five connections.
    Measured(NatKind),
    /// As the configuration says.
    Configured(NatKind),
    /// Not known.
    Unknown(Doubt),
}

impl Nat {
    /// The kind, measured or configured; [`NatKind::Preserving`] where there is no NAT.
    pub fn kind(self) -> Option<NatKind> {
        match self {
            Self::None => Some(NatKind::Preserving),
            Self::Measured(kind) | Self::Configured(kind) => Some(kind),
            Self::Unknown(_) => None,
        }
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Measured(kind) => kind.fmt(f),
            Self::Configured(kind) => write!(f, "{kind} (as configured)"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// Whether a port can be reached from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reachability {
    /// A rendezvous server has connected to it, and it was us who answered there.
    Yes,
    /// No rendezvous server that tried has found us there.
    No,
    /// Not known.
    Unknown(Doubt),
}

impl Reachability {
    /// The answer, where there is one.
    pub fn answer(self) -> Option<bool> {
        match self {
            Self::Yes => Some(true),
            Self::No => Some(false),
            Self::Unknown(_) => None,
        }
    }
}

impl fmt::Display for Reachability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::No => f.write_str("no"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// Why something is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// It is being found out, or will be as soon as a server answers.
    Pending,
    /// No rendezvous server is configured, so there is nobody to ask.
    NoServer,
    /// No rendezvous server answers.
    ServersDown,
    /// The servers that answer can not tell: they speak pyp2p's protocol only, or try no ports.
    OldServer,
    /// Only one server and port could be asked, which can not tell an endpoint-independent NAT from a random one.
    OneObserver,
    /// Too many of the questions stayed without an answer: a server died half-way, or packets are lost.
    Unanswered,
    /// The servers have been asked too often from this address; it is tried again later.
    Busy,
    /// The servers are so far away, or this program answers so late, that their "no" means nothing.
    TooFar,
    /// The node does not listen.
    NotListening,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "not found out yet",
            Self::NoServer => "no rendezvous server to ask",
            Self::ServersDown => "no rendezvous server answers",
            Self::OldServer => {
                "the rendezvous servers can not tell: they speak pyp2p's protocol only, or try no ports"
            }
            Self::OneObserver => "one server at one port can not tell; it takes two",
            Self::Unanswered => "too many questions stayed without an answer",
            Self::Busy => "the servers have been asked too often from this address",
            Self::TooFar => "the servers are too far away, or this program answers too late, to tell",
            Self::NotListening => "the node does not listen",
        })
    }
}

/// By which protocol a router is asked to forward a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum MappingProtocol {
    /// UPnP's Internet Gateway Device.
    Upnp,
    /// NAT-PMP (RFC 6886).
    NatPmp,
}

impl fmt::Display for MappingProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upnp => "UPnP",
            Self::NatPmp => "NAT-PMP",
        })
    }
}

/// What became of asking the router to forward the port.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mapping {
    /// Switched off: nothing is sent.
    Off,
    /// It is not known yet whether one is needed.
    Waiting,
    /// The port can be reached without one, no router stands before it, nobody is to reach it, or there is no server that
    /// could tell that it is needed.
    NotNeeded,
    /// Routers are being asked.
    Searching,
    /// The router forwards the port.
    Mapped {
        /// How it was asked.
        protocol: MappingProtocol,
        /// The router's external address and port that lead to us.
        external: SocketAddr,
        /// How long the mapping lasts unless it is renewed, as it is at half of this; `None`: until it is deleted, as it is when the
        /// [`Net`](crate::Net) stops.
        lease: Option<Duration>,
    },
    /// The router says that it forwards the port, and its own list of what it forwards does not have it. That counts for
    /// nothing until a server has found the port open, or the router lists it; then it is [`Mapping::Mapped`].
    Unconfirmed {
        /// How it was asked.
        protocol: MappingProtocol,
        /// The router's external address and port that should lead to us.
        external: SocketAddr,
        /// As with [`Mapping::Mapped`].
        lease: Option<Duration>,
    },
    /// The router's own address is not a public one: there is another NAT before it, and a mapping would be of no use.
    DoubleNat {
        /// How it was asked.
        protocol: MappingProtocol,
        /// The router's external address.
        router: IpAddr,
    },
    /// No router forwards the port. They are asked again after half a minute at the earliest, then less and less often, up
    /// to every half hour.
    Failed {
        /// What came of UPnP.
        upnp: MappingFault,
        /// What came of NAT-PMP.
        nat_pmp: MappingFault,
    },
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("switched off"),
            Self::Waiting => f.write_str("not known yet whether it is needed"),
            Self::NotNeeded => f.write_str("not needed"),
            Self::Searching => f.write_str("looking for a router"),
            Self::Mapped { protocol, external, lease: Some(lease) } => {
                write!(f, "{external} by {protocol}, for {} s at a time", lease.as_secs())
            }
            Self::Mapped { protocol, external, lease: None } => {
                write!(f, "{external} by {protocol}, until it is deleted")
            }
            Self::Unconfirmed { protocol, external, .. } => {
                write!(
                    f,
                    "the router says {external} (by {protocol}), and does not list it among what it forwards"
                )
            }
            Self::DoubleNat { protocol, router } => write!(
                f,
                "the router's own address, {router} (by {protocol}), is not public: there is another NAT before it"
            ),
            Self::Failed { upnp, nat_pmp } => write!(f, "UPnP: {upnp}; NAT-PMP: {nat_pmp}"),
        }
    }
}

/// Why a router does not forward the port.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MappingFault {
    /// No router answered the search.
    NoRouter,
    /// A router was found, and did not answer what it was asked in time.
    Silent,
    /// The router does not forward ports, or not for us.
    Refused,
    /// The router has no free place, or all ports that were tried belong to others.
    Conflict,
    /// The router accepts neither limited leases nor permanent ones.
    Lease,
    /// What answered is no router that could be used: its address is not in this network, or its answer makes no
    /// sense.
    Dubious,
    /// The router has no address outside itself. It is not connected, or there is another NAT before it: some tell that
    /// like this, and have nothing that [`Mapping::DoubleNat`] could show.
    NoOutside,
    /// The machine has no IPv4 address in a network of its own, so there is nothing to forward to.
    NoAddress,
    /// Asking ended in a panic, which is contained.
    Panicked,
    /// Earlier questions still hang, so that no more are asked.
    Hung,
    /// The port leads through another router already, or it was not asked for another reason.
    NotAsked,
    /// Something else; what the router or the operating system said, in at most 200 characters.
    Other(Arc<str>),
}

impl fmt::Display for MappingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRouter => "no router answers",
            Self::Silent => "the router does not answer in time",
            Self::Refused => "the router refuses",
            Self::Conflict => "the router has no free port for us",
            Self::Lease => "the router accepts no lease, neither limited nor permanent",
            Self::Dubious => "what answers is no router of this network",
            Self::NoOutside => "the router has no external address itself",
            Self::NoAddress => "no IPv4 address to forward to",
            Self::Panicked => "asking the router ended in a panic",
            Self::Hung => "earlier questions to the router still hang",
            Self::NotAsked => "not asked",
            Self::Other(why) => why,
        })
    }
}

/// A rendezvous server, as the node sees it and is seen. The default one has no name and does not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerSight {
    /// The server as configured.
    pub name: Arc<str>,
    /// Its address, once it was connected.
    pub addr: Option<SocketAddr>,
    /// Which protocol it speaks; `None` while it does not answer.
    pub kind: Option<ServerKind>,
    /// How long a question and its answer took.
    pub rtt: Option<Duration>,
    /// Our address as it sees it, where it can tell.
    pub seen: Option<SocketAddr>,
}

/// Which rendezvous protocol a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerKind {
    /// pyp2p's, and nothing more.
    Pyp2p,
    /// pyp2p's with p2poll's extensions.
    P2poll,
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pyp2p => "pyp2p",
            Self::P2poll => "p2poll",
        })
    }
}
