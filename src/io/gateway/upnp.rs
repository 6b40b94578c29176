//! UPnP's Internet Gateway Device: the router that has an address outside, what it forwards, and whose that is.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::description::{self, Place, Service};
use super::entry::{self, Entry};
use super::said::said;
use super::soap::{self, Failure};
use super::ssdp::Search;
use super::xml;
use crate::address::{is_no_host, is_public};
use crate::gateway::{Added, NotAdded};
use crate::reach::MappingFault;

/// What the router's own pages show for a mapping of ours, and how we know it for ours. Whoever makes one by hand that leads
/// to us and calls it the same has it taken for ours.
const DESCRIPTION: &str = "p2poll";

/// Leases are in whole seconds, and run while we ask for them.
const ROUNDING: Duration = Duration::from_secs(5);

/// A router that was found.
#[derive(Debug)]
pub(super) struct Router {
    service: Service,
    /// What it has made of our description, if it does not keep it as it is.
    shows: OnceLock<String>,
}

/// Whose a mapping is, from the view of who wants one to `internal`.
enum Owner {
    /// Nobody's, as far as the router tells.
    Nobody,
    Us,
    /// Somebody else's, that leads to `internal` all the same, for so long.
    Friend(Option<Duration>),
    Other,
    /// It leads to this port of somebody whom the router does not name.
    Unknown,
}

/// Searches, and asks who was found for its external address. `last`: who was found the last time.
///
/// Some routers have a service for each line to the outside, whether that is connected or not, and some networks have
/// several that call themselves routers: the first with a public address is taken, else the best of all that are heard.
pub(super) fn find(
    from: Ipv4Addr,
    router: Option<IpAddr>,
    within: Duration,
    last: Option<&Router>,
) -> Result<(Router, IpAddr), MappingFault> {
    let end = Instant::now() + within;
    if router.is_some_and(|router| router.is_ipv6()) {
        return Err(MappingFault::NoRouter);
    }
    let mut search = Search::begin(from, router, within * 2 / 5).map_err(|error| search_fault(&error))?;
    // The last fifth is for what is asked of whom is found last.
    let mut until = end - within / 5;
    let mut best = Best::default();
    while let Some(place) = search.next(until) {
        best.examine(&place, end);
        if best.is_public() {
            break;
        }
        // Others that there are answer about now.
        until = until.min(Instant::now() + within / 5);
    }
    let nobody = if search.heard_others() { MappingFault::Dubious } else { MappingFault::NoRouter };
    let (service, external) = best.outcome(nobody)?;
    let same = last.filter(|last| last.service.place.addr.ip() == service.place.addr.ip());
    let shows = same.map(|last| last.shows.clone()).unwrap_or_default();
    Ok((Router { service, shows }, external))
}

/// The best that was found so far.
#[derive(Default)]
struct Best {
    found: Option<(Service, IpAddr)>,
    fault: Option<MappingFault>,
}

impl Best {
    /// Asks all services of a description, until one has a public address.
    fn examine(&mut self, place: &Place, end: Instant) {
        // Who does not answer does not use up the time of the others.
        let patience = || end.saturating_duration_since(Instant::now()) / 2;
        let services = match soap::get(place, patience()) {
            Ok(document) => description::services(&document, place),
            Err(fault) => return self.note(fault),
        };
        if services.is_empty() {
            self.note(MappingFault::Dubious);
        }
        for service in services {
            match external_address(&service, patience()) {
                Ok(external) => self.offer(service, external),
                Err(fault) => self.note(fault),
            }
            if self.is_public() {
                return;
            }
        }
    }

    fn is_public(&self) -> bool {
        self.found.as_ref().is_some_and(|(_, external)| worth(*external) == Worth::Public)
    }

    fn offer(&mut self, service: Service, external: IpAddr) {
        if external.is_unspecified() {
            return self.note(MappingFault::NoOutside);
        }
        if self.found.as_ref().is_none_or(|(_, known)| worth(*known) < worth(external)) {
            self.found = Some((service, external));
        }
    }

    /// What one that has no outside says is more than what one says that is no router.
    fn note(&mut self, fault: MappingFault) {
        let weight = |fault: &MappingFault| match fault {
            MappingFault::Dubious => 0,
            MappingFault::Silent => 1,
            MappingFault::NoOutside => 3,
            _ => 2,
        };
        if self.fault.as_ref().is_none_or(|known| weight(known) < weight(&fault)) {
            self.fault = Some(fault);
        }
    }

    fn outcome(self, nobody: MappingFault) -> Result<(Service, IpAddr), MappingFault> {
        self.found.ok_or_else(|| self.fault.unwrap_or(nobody))
    }
}

/// What an external address is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Nothing,
    /// There is another NAT before it.
    Inside,
    Public,
}

fn worth(external: IpAddr) -> Worth {
    match external.to_canonical() {
        IpAddr::V4(ip) if is_public(ip) => Worth::Public,
        IpAddr::V4(ip) if !is_no_host(ip) => Worth::Inside,
        _ => Worth::Nothing,
    }
}

/// The external address; unspecified where the router has none: miniupnpd says nothing at all then, and others 0.0.0.0.
fn external_address(service: &Service, patience: Duration) -> Result<IpAddr, MappingFault> {
    let answer = soap::call(service, "GetExternalIPAddress", &[], patience)?;
    match xml::text_of(&answer, "NewExternalIPAddress") {
        Some("") => Ok(Ipv4Addr::UNSPECIFIED.into()),
        text => text.and_then(|text| text.parse().ok()).ok_or(MappingFault::Dubious),
    }
}

impl Router {
    /// Adds a mapping, unless the port leads to somebody else: routers refuse that only for another computer, and
    /// silently give away what another program on this one has (miniupnpd does). What leads to us already by somebody
    /// else's wish is as good, and stays as it is: ours would take its place, and end.
    pub(super) fn add(
        &self,
        external: u16,
        internal: SocketAddrV4,
        lease: Option<Duration>,
        patience: Duration,
    ) -> Result<Added, NotAdded> {
        let before = self.look_up(external, patience).map_err(NotAdded::Fault)?;
        match self.owner(&before, internal) {
            Owner::Nobody | Owner::Us | Owner::Unknown => {}
            Owner::Friend(lease) => {
                return Ok(Added { external, lease, is_ours: false, is_missing: false });
            }
            Owner::Other => return Err(NotAdded::Conflict),
        }
        self.ask_to_add(external, internal, lease, patience)?;
        // What is there now: routers shorten leases, and say so nowhere else.
        let after = self.look_up(external, patience).unwrap_or(Entry::Untold);
        let added = |lease, is_missing| Ok(Added { external, lease, is_ours: true, is_missing });
        match (self.owner(&after, internal), after) {
            // Nothing was there, so it is ours, and of no use: the router takes us for somebody else.
            (Owner::Other, Entry::LeadsTo { client, port, .. }) if before == Entry::Nowhere => {
                let _ = self.ask_to_delete(external, patience);
                let leads = client.map_or_else(|| "another port".into(), |ip| format!("{ip}:{port}"));
                Err(NotAdded::Fault(said(&format!("it would be forwarded to {leads}, not to {internal}"))))
            }
            (Owner::Other, _) => Err(NotAdded::Conflict),
            (owner, Entry::LeadsTo { lease: granted, description, .. }) => {
                if matches!(owner, Owner::Friend(_)) {
                    // It is the one that was just added: the router changes descriptions.
                    self.shows.get_or_init(|| description);
                }
                added(shorter(lease, granted), false)
            }
            (_, Entry::Nowhere) => added(lease, true),
            (_, Entry::Untold) => added(lease, false),
        }
    }

    /// Removes a mapping, if it is ours. `was_added`: the router has said that it added it, so that it is removed also where
    /// the table does not tell whose it is, or that it is there.
    pub(super) fn remove(
        &self,
        external: u16,
        internal: SocketAddrV4,
        was_added: bool,
        patience: Duration,
    ) -> Result<(), MappingFault> {
        let entry = self.look_up(external, patience)?;
        match self.owner(&entry, internal) {
            Owner::Us => self.ask_to_delete(external, patience),
            Owner::Nobody | Owner::Unknown if was_added => self.ask_to_delete(external, patience),
            Owner::Unknown => Err(said("the router does not tell whose the mapping is")),
            Owner::Nobody if entry == Entry::Untold => {
                Err(said("the router does not tell whose the mapping is"))
            }
            Owner::Nobody | Owner::Friend(_) | Owner::Other => Ok(()),
        }
    }

    /// The arguments are in the order of WANIPConnection:1 section 2.4.16, by which simple routers take them.
    fn ask_to_add(
        &self,
        external: u16,
        internal: SocketAddrV4,
        lease: Option<Duration>,
        patience: Duration,
    ) -> Result<(), NotAdded> {
        // 0 would be for ever.
        let seconds = lease.map_or(0, |lease| u32::try_from(lease.as_secs()).unwrap_or(u32::MAX).max(1));
        let (external, seconds) = (external.to_string(), seconds.to_string());
        let (client, port) = (internal.ip().to_string(), internal.port().to_string());
        let arguments = [
            ("NewRemoteHost", ""),
            ("NewExternalPort", &*external),
            ("NewProtocol", "TCP"),
            ("NewInternalPort", &port),
            ("NewInternalClient", &client),
            ("NewEnabled", "1"),
            ("NewPortMappingDescription", DESCRIPTION),
            ("NewLeaseDuration", &seconds),
        ];
        let answer = soap::call(&self.service, "AddPortMapping", &arguments, patience);
        answer.map(|_| ()).map_err(refusal)
    }

    fn ask_to_delete(&self, external: u16, patience: Duration) -> Result<(), MappingFault> {
        let external = external.to_string();
        let arguments = [("NewRemoteHost", ""), ("NewExternalPort", &*external), ("NewProtocol", "TCP")];
        match soap::call(&self.service, "DeletePortMapping", &arguments, patience) {
            // WANIPConnection:1 section 2.4.17: NoSuchEntryInArray.
            Ok(_) | Err(Failure::Code(714, _)) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    fn look_up(&self, external: u16, patience: Duration) -> Result<Entry, MappingFault> {
        entry::look_up(&self.service, external, patience)
    }

    fn owner(&self, entry: &Entry, internal: SocketAddrV4) -> Owner {
        match entry {
            Entry::Nowhere | Entry::Untold => Owner::Nobody,
            Entry::LeadsTo { port, .. } if *port != internal.port() => Owner::Other,
            Entry::LeadsTo { client: None, .. } => Owner::Unknown,
            Entry::LeadsTo { client, .. } if *client != Some(*internal.ip()) => Owner::Other,
            Entry::LeadsTo { description, .. }
                if description == DESCRIPTION || self.shows.get() == Some(description) =>
            {
                Owner::Us
            }
            Entry::LeadsTo { lease, .. } => Owner::Friend(*lease),
        }
    }
}

/// The lease that was asked for, or what there is of it.
fn shorter(asked: Option<Duration>, granted: Option<Duration>) -> Option<Duration> {
    match (asked, granted) {
        (Some(asked), Some(granted)) if granted + ROUNDING < asked => Some(granted),
        // Some make a week of for ever, as UPnP's version 2 wants it.
        (None, granted) => granted,
        // And some say "for ever" whatever it is.
        (asked, _) => asked,
    }
}

fn search_fault(error: &io::Error) -> MappingFault {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => MappingFault::NoAddress,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => MappingFault::NoRouter,
        _ => said(&error.to_string()),
    }
}

/// WANIPConnection:1 section 2.4.16, and WANIPConnection:2 section 2.5.16.
fn refusal(failure: Failure) -> NotAdded {
    match failure {
        // In conflict with another mapping, or with another way of making them.
        Failure::Code(718 | 729, _) => NotAdded::Conflict,
        Failure::Code(725, _) => NotAdded::OnlyPermanent,
        Failure::Code(402, _) => NotAdded::BadLease,
        // The action failed, and values that are not valid, or out of range.
        Failure::Code(501 | 600 | 601, _) => NotAdded::Unexplained(failure.into()),
        failure => NotAdded::Fault(failure.into()),
    }
}
