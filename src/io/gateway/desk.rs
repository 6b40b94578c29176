//! The threads: who is asked, who is waited for, what is known of the routers.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use mio::Waker;

use super::said::said;
use super::{nat_pmp, upnp};
use crate::gateway::{NotAdded, Order, Report};
use crate::reach::{MappingFault, MappingProtocol};

/// Threads at a time, those included that hang and were left behind.
const MOST: usize = 6;

/// How long a router that was found may take for one answer, where that is ours to say.
const PATIENCE: Duration = Duration::from_secs(4);

/// Takes orders, and gives the reports. No thread is started before the first order, and dropping it waits for none.
#[derive(Debug)]
pub(crate) struct GatewayDesk {
    waker: Arc<Waker>,
    patience: Duration,
    reports: Option<(Sender<Outcome>, Receiver<Outcome>)>,
    /// Threads that have not reported.
    alive: usize,
    /// Reports of orders that were not carried out.
    failed: VecDeque<(u64, Report)>,
    upnp: Option<Known<Arc<upnp::Router>>>,
    nat_pmp: Option<Known<Ipv4Addr>>,
}

/// A router, and the request that found it: one that was given up and comes late does not replace a newer one.
#[derive(Debug)]
struct Known<R> {
    request: u64,
    router: R,
}

/// What a thread leaves.
#[derive(Debug)]
struct Outcome {
    request: u64,
    report: Report,
    found: Option<Found>,
}

#[derive(Debug)]
enum Found {
    Upnp(Arc<upnp::Router>),
    NatPmp(Ipv4Addr),
}

/// An order with all that its thread needs.
#[derive(Debug)]
struct Errand {
    order: Order,
    upnp: Option<Arc<upnp::Router>>,
    nat_pmp: Option<Ipv4Addr>,
    patience: Duration,
}

impl GatewayDesk {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self::with(waker, PATIENCE)
    }

    pub(super) fn with(waker: Arc<Waker>, patience: Duration) -> Self {
        Self { waker, patience, reports: None, alive: 0, failed: VecDeque::new(), upnp: None, nat_pmp: None }
    }

    /// Carries it out. `request` names it in its report; later orders have larger numbers.
    pub(crate) fn order(&mut self, request: u64, order: Order) {
        if let Err(fault) = self.begin(request, &order) {
            self.failed.push_back((request, order.fails_by(fault)));
        }
    }

    /// The next report, if any is there.
    pub(crate) fn poll_report(&mut self) -> Option<(u64, Report)> {
        if let Some(report) = self.failed.pop_front() {
            return Some(report);
        }
        let (_, reports) = self.reports.as_ref()?;
        let Outcome { request, report, found } = reports.try_recv().ok()?;
        self.alive -= 1; // each thread reports once
        match found {
            Some(Found::Upnp(router)) => remember(&mut self.upnp, request, router),
            Some(Found::NatPmp(router)) => remember(&mut self.nat_pmp, request, router),
            None => {}
        }
        Some((request, report))
    }

    /// Whether a report is there that no readiness will announce.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    fn begin(&mut self, request: u64, order: &Order) -> Result<(), MappingFault> {
        if self.alive >= MOST {
            return Err(MappingFault::Hung);
        }
        let errand = Errand {
            order: order.clone(),
            upnp: self.upnp.as_ref().map(|known| Arc::clone(&known.router)),
            nat_pmp: self.nat_pmp.as_ref().map(|known| known.router),
            patience: self.patience,
        };
        let (reports, _) = self.reports.get_or_insert_with(channel);
        let (reports, waker) = (reports.clone(), Arc::clone(&self.waker));
        thread::Builder::new()
            .name("p2poll-gateway".into())
            .spawn(move || {
                // Whoever no longer wants to know has gone, and with it the loop that would be woken.
                if reports.send(errand.run(request)).is_ok() {
                    waker.wake().ok();
                }
            })
            .map_err(|error| said(&error.to_string()))?;
        self.alive += 1;
        Ok(())
    }
}

impl Errand {
    fn run(self, request: u64) -> Outcome {
        // Nothing of ours is left half-changed by a panic: what the errand has is its own.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.ask()));
        let (report, found) = outcome.unwrap_or_else(|_| (self.order.fails_by(MappingFault::Panicked), None));
        Outcome { request, report, found }
    }

    fn ask(&self) -> (Report, Option<Found>) {
        use MappingProtocol::{NatPmp, Upnp};
        match self.order {
            Order::Find { protocol: Upnp, from, router, within } => {
                let outcome = upnp::find(*from.ip(), router, within, self.upnp.as_deref());
                found(outcome, |router| Found::Upnp(Arc::new(router)))
            }
            Order::Find { protocol: NatPmp, from, router, within } => {
                found(nat_pmp::find(*from.ip(), router, within), Found::NatPmp)
            }
            Order::Add { protocol, external, internal, lease } => {
                let added = match (protocol, &self.upnp, self.nat_pmp) {
                    (Upnp, Some(router), _) => router.add(external, internal, lease, self.patience),
                    (NatPmp, _, Some(router)) => {
                        nat_pmp::add(router, external, internal, lease, self.patience)
                    }
                    _ => Err(NotAdded::Fault(MappingFault::NoRouter)),
                };
                (Report::Added(added), None)
            }
            Order::Remove { protocol, external, internal, was_added } => {
                let removed = match (protocol, &self.upnp, self.nat_pmp) {
                    (Upnp, Some(router), _) => router.remove(external, internal, was_added, self.patience),
                    (NatPmp, _, Some(router)) => nat_pmp::remove(router, internal, self.patience),
                    _ => Err(MappingFault::NoRouter),
                };
                (Report::Removed(removed), None)
            }
        }
    }
}

fn found<R>(
    outcome: Result<(R, std::net::IpAddr), MappingFault>,
    keep: impl FnOnce(R) -> Found,
) -> (Report, Option<Found>) {
    match outcome {
        Ok((router, external)) => (Report::Found(Ok(external)), Some(keep(router))),
        Err(fault) => (Report::Found(Err(fault)), None),
    }
}

fn remember<R>(known: &mut Option<Known<R>>, request: u64, router: R) {
    if known.as_ref().is_none_or(|known| known.request <= request) {
        *known = Some(Known { request, router });
    }
}
