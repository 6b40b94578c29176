//! UPnP's Internet Gateway Device, by the crate `igd`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use igd::{
    AddPortError, Gateway, GatewayIpVersion, PortMappingProtocol, RemovePortError, RequestError, SearchError,
    SearchOptions,
};

use super::entry::{self, Entry};
use super::place;
use super::said::said;
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
    gateway: Gateway,
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
}

/// Searches, and asks who was found for its external address. `last`: who was found the last time.
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
    let witness = Witness::new(from, router);
    // The library sends its search once, so there are two, and a lost datagram does not matter. The first one goes
    // straight to the most likely router, which answers at once; who is asked by multicast may take as many seconds as
    // the library's search says, three. A last quarter is for what is asked of whom is found.
    let gateway = search(from, router.or_else(|| place::likely_router(from)), within / 5)
        .or_else(|_| search(from, router, within * 11 / 20))
        .map_err(|error| search_fault(&error, &witness))?;
    if !place::is_sane(gateway.addr.ip(), from, router) {
        return Err(MappingFault::Dubious);
    }
    let external = external_address(&gateway, end.saturating_duration_since(Instant::now()))?;
    let same = last.filter(|last| last.gateway.addr.ip() == gateway.addr.ip());
    let shows = same.map(|last| last.shows.clone()).unwrap_or_default();
    Ok((Router { gateway, shows }, external))
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
            Owner::Nobody | Owner::Us => {}
            Owner::Friend(lease) => return Ok(Added { external, lease, is_ours: false }),
            Owner::Other => return Err(NotAdded::Conflict),
        }
        // 0 would be for ever.
        let seconds = lease.map_or(0, |lease| u32::try_from(lease.as_secs()).unwrap_or(u32::MAX).max(1));
        self.gateway
            .add_port(PortMappingProtocol::TCP, external, internal.into(), seconds, DESCRIPTION)
            .map_err(refusal)?;
        let added = |lease| Ok(Added { external, lease, is_ours: true });
        // What is there now: routers shorten leases, and say so nowhere else.
        match self.look_up(external, patience) {
            Ok(Entry::LeadsTo { internal: to, .. }) if to != Some(internal) => Err(NotAdded::Conflict),
            Ok(Entry::LeadsTo { lease: granted, description, .. }) => {
                if description != DESCRIPTION {
                    // It is the one that was just added: the router changes descriptions.
                    self.shows.get_or_init(|| description);
                }
                added(shorter(lease, granted))
            }
            Ok(Entry::Nowhere | Entry::Untold) | Err(_) => added(lease),
        }
    }

    /// Removes a mapping, if it is ours.
    pub(super) fn remove(
        &self,
        external: u16,
        internal: SocketAddrV4,
        patience: Duration,
    ) -> Result<(), MappingFault> {
        let entry = self.look_up(external, patience)?;
        if entry == Entry::Untold {
            return Err(said("the router does not tell whose the mapping is"));
        }
        if !matches!(self.owner(&entry, internal), Owner::Us) {
            return Ok(());
        }
        match self.gateway.remove_port(PortMappingProtocol::TCP, external) {
            Ok(()) | Err(RemovePortError::NoSuchPortMapping) => Ok(()),
            Err(RemovePortError::ActionNotAuthorized) => Err(MappingFault::Refused),
            Err(RemovePortError::RequestError(error)) => Err(request_fault(&error)),
        }
    }

    fn look_up(&self, external: u16, patience: Duration) -> Result<Entry, MappingFault> {
        entry::look_up(&self.gateway, external, patience)
    }

    fn owner(&self, entry: &Entry, internal: SocketAddrV4) -> Owner {
        match entry {
            Entry::Nowhere | Entry::Untold => Owner::Nobody,
            Entry::LeadsTo { internal: to, .. } if *to != Some(internal) => Owner::Other,
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

fn search(from: Ipv4Addr, router: Option<IpAddr>, within: Duration) -> Result<Gateway, SearchError> {
    let mut options = SearchOptions::default();
    options.bind_addr = (from, 0).into();
    options.timeout = Some(within);
    options.gateway_ip_version = GatewayIpVersion::V4;
    if let Some(router) = router {
        options.broadcast_address = (router, 1900).into();
        // It takes no router on loopback for one, unless it is told to.
        options.allowed_gateway_ips.extend(from.is_loopback().then_some(router));
    }
    igd::search_gateway(options)
}

fn external_address(gateway: &Gateway, patience: Duration) -> Result<IpAddr, MappingFault> {
    let external = match entry::external_address(gateway, patience)? {
        Some(external) => external,
        // What we can not read, the library may.
        None => gateway.get_external_ip().map_err(|error| match error {
            igd::GetExternalIpError::ActionNotAuthorized => MappingFault::Refused,
            igd::GetExternalIpError::RequestError(error) => request_fault(&error),
        })?,
    };
    if external.is_unspecified() { Err(MappingFault::NoOutside) } else { Ok(external) }
}

/// Hears who answers a search, because the library does not say why it took nobody.
struct Witness(io::Result<UdpSocket>);

impl Witness {
    fn new(from: Ipv4Addr, router: Option<IpAddr>) -> Self {
        Self(Self::ask(from, router))
    }

    fn ask(from: Ipv4Addr, router: Option<IpAddr>) -> io::Result<UdpSocket> {
        let to = SocketAddr::new(router.unwrap_or(Ipv4Addr::new(239, 255, 255, 250).into()), 1900);
        let socket = UdpSocket::bind((from, 0))?;
        socket.set_nonblocking(true)?;
        let question = format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: {to}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
             ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n"
        );
        socket.send_to(question.as_bytes(), to)?;
        Ok(socket)
    }

    /// Why nobody was taken of those who answered.
    fn fault(&self) -> MappingFault {
        let Ok(socket) = &self.0 else { return MappingFault::NoRouter };
        let mut fault = MappingFault::NoRouter;
        let mut buffer = [0; 2048];
        // As many as the operating system keeps for us; who floods does not keep us here.
        for _ in 0..64 {
            let Ok((len, from)) = socket.recv_from(&mut buffer) else { break };
            let answer = String::from_utf8_lossy(&buffer[..len]).to_ascii_lowercase();
            let Some((_, location)) = answer.split_once("location:") else { continue };
            // Who answers for itself was asked for its description, and gave none.
            if location.trim_start().starts_with(&format!("http://{}", from.ip())) {
                return MappingFault::Silent;
            }
            fault = MappingFault::Dubious;
        }
        fault
    }
}

fn search_fault(error: &SearchError, witness: &Witness) -> MappingFault {
    match error {
        SearchError::IoError(error) => match error.kind() {
            io::ErrorKind::AddrNotAvailable => MappingFault::NoAddress,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => MappingFault::NoRouter,
            _ => said(&error.to_string()),
        },
        _ => witness.fault(),
    }
}

fn refusal(error: AddPortError) -> NotAdded {
    match error {
        AddPortError::PortInUse => NotAdded::Conflict,
        AddPortError::OnlyPermanentLeasesSupported => NotAdded::OnlyPermanent,
        AddPortError::ActionNotAuthorized => NotAdded::Fault(MappingFault::Refused),
        // Ours are the same as long as they can be: the external one was taken.
        AddPortError::SamePortValuesRequired => NotAdded::Fault(MappingFault::Conflict),
        AddPortError::RequestError(error) => match code(&error) {
            Some(402) => NotAdded::BadLease,
            Some(718) => NotAdded::Conflict,
            Some(725) => NotAdded::OnlyPermanent,
            _ => NotAdded::Fault(request_fault(&error)),
        },
        error => NotAdded::Fault(said(&error.to_string())),
    }
}

fn request_fault(error: &RequestError) -> MappingFault {
    match (code(error), error) {
        // Invalid action, not authorized.
        (Some(401 | 606), _) | (None, RequestError::UnsupportedAction(_)) => MappingFault::Refused,
        // Ports must be the same, and one is taken; no port is left (WANIPConnection:2 section 2.5.16).
        (Some(724 | 728), _) => MappingFault::Conflict,
        (Some(_), RequestError::ErrorCode(code, why)) => said(&format!("UPnP error {code}: {why}")),
        (Some(code), _) => said(&format!("UPnP error {code}")),
        (None, RequestError::IoError(error)) if error.kind() != io::ErrorKind::InvalidData => {
            MappingFault::Silent
        }
        (None, RequestError::AttoHttpError(error)) if is_io(error) => MappingFault::Silent,
        (None, _) => MappingFault::Dubious,
    }
}

/// Whether the connection failed, not what was said on it. The client underneath is not ours to name, and gives its
/// causes by no other way than its text.
fn is_io(error: &impl std::fmt::Display) -> bool {
    error.to_string().starts_with("Io Error")
}

/// The number of the error that the router gives, described or not.
fn code(error: &RequestError) -> Option<u16> {
    match error {
        RequestError::ErrorCode(code, _) => Some(*code),
        RequestError::InvalidResponse(answer) => entry::error_code(answer),
        _ => None,
    }
}
