//! What a router says of itself: the services by which it can be asked to forward a port, and where (UPnP Device
//! Architecture 1.1 section 2.3).

use std::net::{IpAddr, SocketAddr};

use super::xml::{self, Element};

/// Services that are looked at; routers have one for each line to the outside.
const MOST: usize = 8;

/// A place on the router: its address is the one that answered the search, whatever else a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) addr: SocketAddr,
    /// With its leading slash; printable, and without blanks.
    pub(super) path: String,
}

/// A service that forwards ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) place: Place,
    /// Its full name with the version, as it wants to be called.
    pub(super) kind: String,
}

/// The services of a description that was found at `at`, in its order.
pub(super) fn services(document: &[u8], at: &Place) -> Vec<Service> {
    let elements = xml::elements(document);
    let base = xml::text_of(&elements, "URLBase").and_then(|base| resolve(base, at));
    let base = base.as_ref().unwrap_or(at);
    let parts = elements.split(|(name, _)| name == "service" || name == "device");
    let found = parts.filter_map(|service| read_service(service, base));
    found.take(MOST).collect()
}

fn read_service(service: &[Element], base: &Place) -> Option<Service> {
    let kind = xml::text_of(service, "serviceType").filter(|kind| forwards_ports(kind))?;
    let place = resolve(xml::text_of(service, "controlURL")?, base)?;
    Some(Service { place, kind: kind.to_owned() })
}

/// Of any version; what it says goes into what it is asked, so it must be fit for that.
fn forwards_ports(kind: &str) -> bool {
    let connection = |name| {
        let version = kind.strip_prefix("urn:schemas-upnp-org:service:")?.strip_prefix(name)?;
        version.parse::<u8>().ok()
    };
    connection("WANIPConnection:").or_else(|| connection("WANPPPConnection:")).is_some()
}

/// The place that a URL names: an absolute one, a path, or a path from where `base` is.
pub(super) fn resolve(url: &str, base: &Place) -> Option<Place> {
    let is_fit = |path: &str| !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_fit(url) {
        return None;
    }
    if let Some((host, path)) = absolute(url) {
        // A name, or another host's address, is no reason to ask anybody but who has answered.
        let addr = host.filter(|host| host.ip() == base.addr.ip()).unwrap_or(base.addr);
        return Some(Place { addr, path });
    }
    if url.contains("://") {
        return None;
    }
    let path = if url.starts_with('/') {
        url.to_owned()
    } else {
        let folder = base.path.rfind('/').map_or("/", |end| &base.path[..=end]);
        format!("{folder}{url}")
    };
    Some(Place { path, ..*base })
}

/// The host of an `http` URL, where that is an IPv4 address, and the path.
pub(super) fn absolute(url: &str) -> Option<(Option<SocketAddr>, String)> {
    let scheme = url.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"))?;
    let rest = &url[scheme.len()..];
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let addr = host.parse().ok().or_else(|| Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, 80)));
    Some((addr.filter(SocketAddr::is_ipv4), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(addr: &str, path: &str) -> Place {
        Place { addr: addr.parse().unwrap(), path: path.into() }
    }

    #[test]
    fn where_urls_lead() {
        let base = place("192.168.1.1:5000", "/upnp/root.xml");
        for (url, expected) in [
            ("/ctl", Some(place("192.168.1.1:5000", "/ctl"))),
            ("ctl?a=b", Some(place("192.168.1.1:5000", "/upnp/ctl?a=b"))),
            ("http://192.168.1.1:6000/ctl", Some(place("192.168.1.1:6000", "/ctl"))),
            ("HTTP://192.168.1.1/ctl", Some(place("192.168.1.1:80", "/ctl"))),
            ("http://192.168.1.1", Some(place("192.168.1.1:80", "/"))),
            ("http://203.0.113.1:22/ctl", Some(place("192.168.1.1:5000", "/ctl"))),
            ("http://router.home/ctl", Some(place("192.168.1.1:5000", "/ctl"))),
            ("http://[fd00::1]:80/ctl", Some(place("192.168.1.1:5000", "/ctl"))),
            ("https://192.168.1.1/ctl", None),
            ("/a b", None),
            ("/a\r\nX: y", None),
            ("", None),
        ] {
            assert_eq!(resolve(url, &base), expected, "{url:?}");
        }
    }

    #[test]
    fn all_services_that_forward() {
        let service = |kind: &str, url: &str| {
            format!(
                "<service><serviceType>urn:schemas-upnp-org:service:{kind}</serviceType>\
                 <controlURL>{url}</controlURL></service>"
            )
        };
        let document = format!(
            "<root><URLBase>http://192.168.1.1:9/x/</URLBase><device><deviceType>a</deviceType><serviceList>{}{}{}\
             </serviceList></device><device><serviceList>{}{}</serviceList></device></root>",
            service("WANCommonInterfaceConfig:1", "/no"),
            service("WANPPPConnection:1", "one"),
            service("WANIPConnection:2", "/two"),
            service("WANIPConnection:&quot;", "/no"),
            service("WANIPConnection:1", "https://elsewhere/"),
        );
        let found = services(document.as_bytes(), &place("192.168.1.1:5000", "/root.xml"));
        let found: Vec<_> = found.iter().map(|service| (&*service.kind, service.place.clone())).collect();
        let kind = |name: &str| format!("urn:schemas-upnp-org:service:{name}");
        let (one, two) = (kind("WANPPPConnection:1"), kind("WANIPConnection:2"));
        assert_eq!(
            found,
            [(&*one, place("192.168.1.1:9", "/x/one")), (&*two, place("192.168.1.1:9", "/two"))]
        );
        let many = service("WANIPConnection:1", "/a").repeat(100);
        assert_eq!(services(many.as_bytes(), &place("192.168.1.1:5000", "/")).len(), MOST);
    }
}
