//! What is asked of a router, and what it answers: one order, one report. All decisions (which lease, which port, when
//! again) are made by `proto/mapping`; `io/gateway` carries out.

use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

use crate::reach::{MappingFault, MappingProtocol};

/// One thing to ask a router. It blocks, so it is carried out on a thread of its own; whoever orders keeps a deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Search for a router that speaks the protocol, and ask it for its external address.
    Find {
        protocol: MappingProtocol,
        /// Our address in the router's network; the port means nothing.
        from: SocketAddrV4,
        /// The router's address, where it is not to be searched for: UPnP's search goes to its port 1900 by unicast.
        router: Option<IpAddr>,
        /// No longer than this.
        within: Duration,
    },
    /// Ask the router that was found last by this protocol to forward `external` to `internal`.
    Add {
        protocol: MappingProtocol,
        external: u16,
        internal: SocketAddrV4,
        /// `None`: until it is deleted.
        lease: Option<Duration>,
    },
    /// Ask it to forget `external`, if that still leads to `internal`.
    Remove {
        protocol: MappingProtocol,
        external: u16,
        internal: SocketAddrV4,
        /// The router has said that it added it: it is to be removed also where the router's table does not tell whose it is.
        was_added: bool,
    },
}

impl Order {
    /// What is reported when it came to nothing.
    pub(crate) fn fails_by(&self, fault: MappingFault) -> Report {
        match self {
            Self::Find { .. } => Report::Found(Err(fault)),
            Self::Add { .. } => Report::Added(Err(NotAdded::Fault(fault))),
            Self::Remove { .. } => Report::Removed(Err(fault)),
        }
    }
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Of `Find`: the router's external address.
    Found(Result<IpAddr, MappingFault>),
    /// Of `Add`.
    Added(Result<Added, NotAdded>),
    /// Of `Remove`. That there was nothing (of ours) to remove is no fault.
    Removed(Result<(), MappingFault>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Added {
    /// The external port; NAT-PMP's routers may choose another one than was asked for.
    pub(crate) external: u16,
    /// As the router has it; `None`: until it is deleted.
    pub(crate) lease: Option<Duration>,
    /// No: somebody else has made one that leads to us already, which was left as it is.
    pub(crate) is_ours: bool,
    /// The router has said that it added it, and its own table says that nothing is there.
    pub(crate) is_missing: bool,
}

/// Why a router adds no mapping.
#[cfg_attr(not(feature = "gateway"), allow(dead_code, reason = "then no router is asked"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotAdded {
    /// UPnP error 718, or the port leads to somebody else: another external port may do.
    Conflict,
    /// UPnP error 725: it knows permanent leases only.
    OnlyPermanent,
    /// UPnP error 402: it does not take this kind of lease.
    BadLease,
    /// The router says that it failed, and not why: for some it is the kind of the lease (UPnP error 501).
    Unexplained(MappingFault),
    /// Nothing that could be asked differently.
    Fault(MappingFault),
}
