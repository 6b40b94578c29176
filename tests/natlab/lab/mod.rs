//! A laboratory of networks on one machine: a piece of Internet, servers, home routers of every kind, and hosts.
//!
//! ```ignore
//! let lab = Lab::new();
//! let server = lab.server();
//! let home = lab.router(Nat::Preserving, Filter::Drop).mapping(Mapping::Upnp);
//! let alice = home.host();
//! let bob = lab.carrier(Nat::Random, Filter::Reject).router(Nat::Preserving, Filter::Drop).host();
//! lab.delay(Duration::from_millis(25));
//! alice.command("p2poll").args(["doctor", "--json"]).output()?;
//! ```
//!
//! Everything is in network namespaces without names, which this process alone holds: nothing of it is seen from
//! outside, any number of laboratories run side by side with the same addresses, and when the process ends, however
//! it ends, the kernel takes all of it away. Programs that were started inside are killed with the thread that started
//! them, and those that these started with the machine that they run on.

mod daemon;
mod frame;
mod host;
mod means;
mod observer;
mod router;
mod segment;
mod space;
mod translator;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use host::Host;
pub(crate) use means::{Means, Need};
pub(crate) use observer::Observer;
pub(crate) use router::Router;

use router::Place;
use segment::Segment;

/// How a router chooses the outer port of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nat {
    /// The inner port, while it is free. The kernel's.
    Preserving,
    /// Another one for every destination, without any rule. The kernel's.
    Random,
    /// For every new pair of inner port and destination the last one and this many more. 1: sequential.
    Delta(u16),
    /// Without any rule, but the same for all destinations: endpoint-independent.
    Reuse,
    /// The same for all destinations, and for every new inner port the last one and this many more.
    ReuseDelta(u16),
    /// Without any rule, and the same for all ports of one destination only: two ports of one server can not tell it
    /// from [`Nat::Reuse`].
    PerAddress,
}

impl Nat {
    /// Whether the kernel can do it. The rest is done in this process: without mapping daemons, but with hairpins.
    pub(crate) fn is_kernels(self) -> bool {
        matches!(self, Nat::Preserving | Nat::Random)
    }
}

/// What a router does with a connection from outside that nobody inside has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Nothing.
    Drop,
    /// Refuses it, by rule.
    Reject,
    /// Has no filter: the router's own system refuses it, because nothing listens there.
    Open,
}

/// The protocols by which hosts may ask a router for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// UPnP alone.
    Upnp,
    /// NAT-PMP (and PCP) alone.
    NatPmp,
    /// Both.
    Both,
}

/// The piece of Internet that everything hangs on. What hangs there keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    public: Arc<Segment>,
}

impl Lab {
    /// An Internet with nobody in it, and no delay.
    pub(crate) fn new() -> Lab {
        Lab { public: Arc::new(Segment::new(Place::PUBLIC, None).expect("a segment can be built")) }
    }

    /// The same, in which everything that is plugged in directly and has the kernel's router, if any, has IPv6 as
    /// well: without translation, but with the filter.
    pub(crate) fn with_ipv6() -> Lab {
        let six = Some(Place::PUBLIC_SIX);
        Lab { public: Arc::new(Segment::new(Place::PUBLIC, six).expect("a segment can be built")) }
    }

    /// A machine with a public address.
    pub(crate) fn server(&self) -> Host {
        Host::new(self.place()).expect("a server can be built")
    }

    /// A home's router.
    pub(crate) fn router(&self, nat: Nat, filter: Filter) -> Router {
        self.try_router(nat, filter).expect("a router can be built")
    }

    /// A carrier's router, for homes' routers to be plugged in behind (`router.router(..)`): double translation.
    pub(crate) fn carrier(&self, nat: Nat, filter: Filter) -> Router {
        Router::new(self.place(), nat, filter, Place::CARRIER).expect("a router can be built")
    }

    /// From now on a packet takes so long across the public segment, one way.
    pub(crate) fn delay(&self, one_way: Duration) {
        self.public.delay(one_way);
    }

    /// The same as [`delay_between`](Self::delay_between), but only for connections that are there already.
    pub(crate) fn delay_standing(&self, from: Ipv4Addr, to: Ipv4Addr, extra: Duration) {
        self.public.delay_standing(from, to, extra);
    }

    /// From now on a packet takes so much longer from one machine on the public segment to another, one way. Zero: no longer
    /// than others.
    pub(crate) fn delay_between(&self, from: Ipv4Addr, to: Ipv4Addr, extra: Duration) {
        self.public.delay_between(from, to, extra);
    }

    /// How many TCP connections were begun across the public segment between the machines that are asked for.
    pub(crate) fn openings(&self, between: impl Fn(Ipv4Addr, Ipv4Addr) -> bool) -> u64 {
        self.public.openings(between)
    }

    /// By how much the latest packet on the public segment was too late since this was asked last: how busy this machine is.
    pub(crate) fn lateness(&self) -> Duration {
        self.public.lateness()
    }

    /// From now on this part of the packets is lost on the public segment, each way.
    pub(crate) fn loss(&self, part: f64) {
        self.public.loss(part);
    }

    /// Packets that the public segment has lost.
    pub(crate) fn lost(&self) -> u64 {
        self.public.lost()
    }

    fn try_router(&self, nat: Nat, filter: Filter) -> std::io::Result<Router> {
        Router::new(self.place(), nat, filter, Place::HOME)
    }

    fn place(&self) -> Place {
        Place { segment: self.public.clone(), router: None }
    }
}
