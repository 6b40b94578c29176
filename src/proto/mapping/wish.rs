//! What one router is asked for, and how to ask differently when it refuses.

use std::net::SocketAddrV4;
use std::time::Duration;

use crate::gateway::NotAdded;
use crate::reach::MappingFault;

/// External ports that are tried before the router counts as full.
const PORTS: u8 = 10;

/// Below are the ports that belong to well-known services, on the router itself too.
const LOWEST: u16 = 1024;

/// A mapping as it is asked for next.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) internal: SocketAddrV4,
    pub(super) external: u16,
    /// Until it is deleted.
    permanent: bool,
    /// Both kinds of lease have been tried.
    both_leases: bool,
    ports: u8,
}

impl Wish {
    pub(super) fn new(internal: SocketAddrV4, external: u16, permanent: bool) -> Self {
        Self { internal, external, permanent, both_leases: false, ports: PORTS }
    }

    pub(super) fn lease(&self, limited: Duration) -> Option<Duration> {
        (!self.permanent).then_some(limited)
    }

    /// Asks for something else from now on, unless there is nothing else to ask for.
    pub(super) fn refused(&mut self, refusal: NotAdded) -> Result<(), MappingFault> {
        match refusal {
            NotAdded::Conflict => self.next_port(),
            NotAdded::OnlyPermanent if self.permanent => Err(MappingFault::Lease),
            NotAdded::OnlyPermanent | NotAdded::BadLease => self.other_lease(),
            NotAdded::Unexplained(fault) => self.other_lease().map_err(|_| fault),
            NotAdded::Fault(fault) => Err(fault),
        }
    }

    fn next_port(&mut self) -> Result<(), MappingFault> {
        self.ports = self.ports.saturating_sub(1);
        if self.ports == 0 {
            return Err(MappingFault::Conflict);
        }
        self.external = self.external.checked_add(1).unwrap_or(LOWEST);
        Ok(())
    }

    fn other_lease(&mut self) -> Result<(), MappingFault> {
        if self.both_leases {
            return Err(MappingFault::Lease);
        }
        self.both_leases = true;
        self.permanent = !self.permanent;
        Ok(())
    }
}
