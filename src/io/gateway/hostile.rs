//! What must hold whatever a router sends: the bodies of two fuzz targets.

use std::net::SocketAddr;

use super::description::{self, Place};
use super::http::{Answer, Incoming};
use super::{entry, soap, ssdp, xml};
use crate::reach::MappingFault;
use crate::text::is_harmless;

/// However an answer is cut, it is the same one, as far as it goes. The first byte chooses how.
pub(crate) fn http_answer(data: &[u8]) {
    let [cut, data @ ..] = data else { return };
    let whole = read(data, data.len().max(1));
    let pieces = read(data, 1 + usize::from(*cut));
    if let (Some(whole), Some(pieces)) = (&whole, &pieces) {
        assert_eq!(whole.status, pieces.status);
        // A document that has ended is not waited behind.
        assert!(whole.body.starts_with(&pieces.body) || pieces.body.starts_with(&whole.body));
        assert!(whole.body.len() <= data.len() && !(100..200).contains(&whole.status));
    }
}

fn read(data: &[u8], piece: usize) -> Option<Answer> {
    let mut incoming = Incoming::default();
    for piece in data.chunks(piece) {
        if let Some(answer) = incoming.take(piece).ok()? {
            return Some(answer);
        }
    }
    incoming.end().ok()
}

/// Whatever is described, and answered to whatever, nobody but the router is asked for more, in requests that are whole,
/// and what is said of it can be shown.
pub(crate) fn upnp_answer(data: &[u8]) {
    let router = SocketAddr::from(([192, 168, 1, 1], 5000));
    let base = Place { addr: router, path: "/upnp/root.xml".into() };
    let services = description::services(data, &base);
    assert!(services.len() <= 8);
    for service in &services {
        assert_is_fit(&service.place);
        assert_eq!(service.place.addr.ip(), router.ip());
        assert!(
            service.kind.bytes().all(|byte| byte.is_ascii_graphic())
                && !service.kind.contains(['"', '<', '&'])
        );
    }
    let elements = xml::elements(data);
    assert!(elements.iter().all(|(name, text)| name.len() + text.len() <= 2 * data.len() + 64));
    entry::read(&elements);
    let answer = Answer { status: 200, body: data.to_vec() };
    if let Err(failure) = soap::read(&answer, "GetExternalIPAddress")
        && let MappingFault::Other(said) = MappingFault::from(failure)
    {
        assert!(said.chars().count() <= 200 && said.chars().all(is_harmless), "{said:?}");
    }
    if let Some(place) = ssdp::location(data) {
        assert_is_fit(&place);
    }
}

fn assert_is_fit(place: &Place) {
    assert!(place.addr.is_ipv4() && place.path.starts_with('/'), "{place:?}");
    assert!(place.path.bytes().all(|byte| byte.is_ascii_graphic()), "{place:?}");
}
