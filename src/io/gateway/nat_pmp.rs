//! NAT-PMP (RFC 6886), by the crate `natpmp`, which needs watching: it ignores how long a datagram is (what is missing
//! reads as zeros) and whether an answer belongs to the question; it repeats for two minutes; its port is fixed and its
//! socket is bound to no address of ours. So each question has a socket of its own, its answer is checked, and the
//! deadline is kept here.
//!
//! A limit: NAT-PMP can not be asked what there is. Where a router keeps what it was asked for by NAT-PMP in one table with
//! the rest (miniupnpd does), a mapping to us that somebody made by hand is replaced by ours, and goes with it. UPnP can
//! look, and does, but it is found later than NAT-PMP, if at all, and what its table says of our own NAT-PMP mapping has
//! no certain mark by which to tell it from another's.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use natpmp::{Error, MappingResponse, NATPMP_PORT, Natpmp, Protocol, Response};

use super::said::said;
use crate::gateway::{Added, NotAdded};
use crate::reach::MappingFault;

/// How long an answer lies about unread at the most: the crate's socket can not be waited for.
const NAP: Duration = Duration::from_millis(5);

/// NAT-PMP has no permanent leases; this long for who wants one. UPnP's version 2 has the same limit.
const WEEK: u32 = 7 * 24 * 60 * 60;

/// Finds the router, and asks for its external address.
pub(super) fn find(
    from: Ipv4Addr,
    router: Option<IpAddr>,
    within: Duration,
) -> Result<(Ipv4Addr, IpAddr), MappingFault> {
    let router = match router {
        Some(IpAddr::V4(router)) => router,
        Some(IpAddr::V6(_)) => return Err(MappingFault::NoRouter),
        None => natpmp::get_default_gateway().map_err(|_| MappingFault::NoRouter)?,
    };
    check_source(router, from)?;
    let external = ask(router, within, Natpmp::send_public_address_request, |response| match response {
        Response::Gateway(gateway) => Some(*gateway.public_address()),
        Response::TCP(_) | Response::UDP(_) => None,
    });
    match external {
        // Some say so instead of RFC 6886's "network failure"; what is missing of an answer that was cut reads so, too.
        Ok(external) if external.is_unspecified() => Err(MappingFault::NoOutside),
        Ok(external) => Ok((router, external.into())),
        Err(MappingFault::Silent) => Err(MappingFault::NoRouter),
        Err(fault) => Err(fault),
    }
}

pub(super) fn add(
    router: Ipv4Addr,
    external: u16,
    internal: SocketAddrV4,
    lease: Option<Duration>,
    within: Duration,
) -> Result<Added, NotAdded> {
    check_source(router, *internal.ip()).map_err(NotAdded::Fault)?;
    let lease = lease.map_or(WEEK, |lease| u32::try_from(lease.as_secs()).unwrap_or(u32::MAX).max(1));
    let granted = map(router, external, internal.port(), lease, within, |mapping| {
        // RFC 6886 section 3.3: 0 of either would mean that it was deleted.
        mapping.public_port() != 0 && !mapping.lifetime().is_zero()
    });
    match granted {
        Ok(mapping) => {
            let (external, lease) = (mapping.public_port(), Some(*mapping.lifetime()));
            Ok(Added { external, lease, is_ours: true, is_missing: false })
        }
        Err(fault) => Err(NotAdded::Fault(fault)),
    }
}

/// Deletes what leads to our internal port: it goes by that, so that what leads to somebody else can not be meant.
pub(super) fn remove(router: Ipv4Addr, internal: SocketAddrV4, within: Duration) -> Result<(), MappingFault> {
    check_source(router, *internal.ip())?;
    // RFC 6886 section 3.4: with the lifetime 0 the external port is to be 0, too, in the answer also.
    map(router, 0, internal.port(), 0, within, |mapping| mapping.lifetime().is_zero()).map(|_| ())
}

fn map(
    router: Ipv4Addr,
    external: u16,
    internal: u16,
    lease: u32,
    within: Duration,
    makes_sense: impl Fn(&MappingResponse) -> bool,
) -> Result<MappingResponse, MappingFault> {
    let request =
        |client: &mut Natpmp| client.send_port_mapping_request(Protocol::TCP, internal, external, lease);
    ask(router, within, request, |response| match response {
        Response::TCP(mapping) => {
            Some(mapping).filter(|mapping| mapping.private_port() == internal && makes_sense(mapping))
        }
        Response::Gateway(_) | Response::UDP(_) => None,
    })
}

/// One question and its answer, as far as `accept` takes it for that.
fn ask<T>(
    router: Ipv4Addr,
    within: Duration,
    send: impl FnOnce(&mut Natpmp) -> natpmp::Result<()>,
    accept: impl Fn(Response) -> Option<T>,
) -> Result<T, MappingFault> {
    let begin = Instant::now();
    let mut client = Natpmp::new_with(router).map_err(fault)?;
    send(&mut client).map_err(fault)?;
    // What it is when the time is up.
    let mut why = MappingFault::Silent;
    loop {
        match client.read_response_or_retry().map(&accept) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => why = MappingFault::Dubious,
            Err(Error::NATPMP_TRYAGAIN) => thread::sleep(NAP),
            Err(error) => return Err(fault(error)),
        }
        if begin.elapsed() >= within {
            return Err(why);
        }
    }
}

/// RFC 6886 section 3.5, and what can go wrong before that.
fn fault(error: Error) -> MappingFault {
    match error {
        // Also when an ICMP says that nobody listens there.
        Error::NATPMP_ERR_NOGATEWAYSUPPORT | Error::NATPMP_ERR_CONNECTERR | Error::NATPMP_ERR_SENDERR => {
            MappingFault::Silent
        }
        Error::NATPMP_ERR_NOTAUTHORIZED | Error::NATPMP_ERR_UNSUPPORTEDOPCODE => MappingFault::Refused,
        Error::NATPMP_ERR_OUTOFRESOURCES => MappingFault::Conflict,
        Error::NATPMP_ERR_UNSUPPORTEDVERSION => said("the router speaks another version of the protocol"),
        Error::NATPMP_ERR_NETWORKFAILURE => MappingFault::NoOutside,
        error => said(&error.to_string()),
    }
}

/// A mapping leads to where the request comes from, and the crate lets the operating system choose that.
fn check_source(router: Ipv4Addr, from: Ipv4Addr) -> Result<(), MappingFault> {
    let source = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((router, NATPMP_PORT))?; // sends nothing
        socket.local_addr()
    };
    match source() {
        Ok(source) if source.ip() == from => Ok(()),
        Ok(source) => Err(said(&format!("it would be forwarded to {}, not to {from}", source.ip()))),
        Err(_) => Err(MappingFault::NoRouter),
    }
}
