//! The orders that are being carried out, and for how long their reports are waited for.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::gateway::Order;
use crate::reach::MappingProtocol;
use crate::time::Instant;

/// How long the report of an `Add` is listened for when it is no longer waited for. A thread that hangs for longer than
/// this will hang for ever.
const LATENESS: Duration = Duration::from_secs(10 * 60);

/// An order that has been given.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) request: u64,
    pub(super) order: Order,
    /// The external address of the router that is asked to add.
    pub(super) router: Option<Ipv4Addr>,
    deadline: Instant,
    /// Nobody waits for it, but what it adds has to be known.
    late: bool,
}

#[derive(Debug, Default)]
pub(super) struct Orders {
    last_request: u64,
    flights: Vec<Flight>,
    outbox: VecDeque<u64>,
}

impl Orders {
    pub(super) fn issue(&mut self, order: Order, router: Option<Ipv4Addr>, deadline: Instant) -> u64 {
        self.last_request += 1;
        let request = self.last_request;
        self.flights.push(Flight { request, order, router, deadline, late: false });
        self.outbox.push_back(request);
        request
    }

    pub(super) fn poll(&mut self) -> Option<(u64, Order)> {
        let request = self.outbox.pop_front()?;
        let flight = self.flights.iter().find(|flight| flight.request == request)?;
        Some((request, flight.order.clone()))
    }

    /// The order that a report belongs to, unless it came too late to matter.
    pub(super) fn take(&mut self, request: u64) -> Option<Flight> {
        let index = self.flights.iter().position(|flight| flight.request == request)?;
        self.outbox.retain(|waiting| *waiting != request);
        Some(self.flights.remove(index))
    }

    /// An order whose report is no longer waited for.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<Flight> {
        self.flights.retain(|flight| !flight.late || flight.deadline > now);
        let overdue = self.flights.iter().find(|flight| !flight.late && flight.deadline <= now)?;
        let (request, was_carried_out) = (overdue.request, !self.outbox.contains(&overdue.request));
        let flight = self.take(request)?;
        if was_carried_out && matches!(flight.order, Order::Add { .. }) {
            self.flights.push(Flight { late: true, deadline: now + LATENESS, ..flight.clone() });
        }
        Some(flight)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.flights.iter().map(|flight| flight.deadline).min()
    }

    /// Whether the protocol's router is being asked to change something.
    pub(super) fn is_changing(&self, protocol: MappingProtocol) -> bool {
        self.changes().any(|flight| !flight.late && flight.protocol() == protocol)
    }

    /// Whether this very mapping is being removed, by whatever protocol: where one router speaks both, they can share
    /// one table, and what is added by the one would be removed by the other.
    pub(super) fn is_removing(&self, external: u16, internal: SocketAddrV4) -> bool {
        let same = |order: &Order| matches!(order, Order::Remove { external: port, internal: to, .. } if (*port, *to) == (external, internal));
        self.flights.iter().any(|flight| same(&flight.order))
    }

    /// How many orders to add something by this protocol hang.
    pub(super) fn hanging(&self, protocol: MappingProtocol) -> usize {
        self.flights.iter().filter(|flight| flight.late && flight.protocol() == protocol).count()
    }

    /// Whether a router may still change something for us.
    pub(super) fn may_change(&self) -> bool {
        self.changes().next().is_some()
    }

    /// Waits until `deadline` at most for what is being changed.
    pub(super) fn hurry(&mut self, deadline: Instant) {
        for flight in self.flights.iter_mut().filter(|flight| !flight.late) {
            flight.deadline = flight.deadline.min(deadline);
        }
    }

    pub(super) fn clear(&mut self) {
        self.flights.clear();
        self.outbox.clear();
    }

    fn changes(&self) -> impl Iterator<Item = &Flight> {
        self.flights.iter().filter(|flight| !matches!(flight.order, Order::Find { .. }))
    }
}

impl Flight {
    pub(super) fn protocol(&self) -> MappingProtocol {
        match self.order {
            Order::Find { protocol, .. } | Order::Add { protocol, .. } | Order::Remove { protocol, .. } => {
                protocol
            }
        }
    }
}
