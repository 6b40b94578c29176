//! SSDP: how the router is found (UPnP Device Architecture 1.1 section 1.3).

use std::net::SocketAddr;

use super::{Shared, Ssdp};

/// What it announces itself as.
const TARGETS: [&str; 2] =
    ["urn:schemas-upnp-org:device:InternetGatewayDevice:1", "urn:schemas-upnp-org:service:WANIPConnection:1"];

/// The answers to a datagram, in their order.
pub(super) fn answers(datagram: &[u8], http: SocketAddr, shared: &mut Shared) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(datagram);
    if !text.starts_with("M-SEARCH ") {
        return Vec::new();
    }
    shared.counts.search += 1;
    let Some(target) = TARGETS.iter().find(|target| text.contains(**target)) else { return Vec::new() };
    let at = |host: &str, path: &str| answer(target, &format!("http://{host}/{path}.xml"));
    let location = |host: &str| at(host, "root");
    let honest = location(&http.to_string());
    match shared.behaviour.ssdp {
        Ssdp::Normal if shared.behaviour.has_many_devices => {
            let dead =
                (0..shared.behaviour.dead_services.len()).map(|n| at(&http.to_string(), &format!("dead{n}")));
            dead.chain([honest]).collect()
        }
        Ssdp::Normal => vec![honest],
        Ssdp::Silent => Vec::new(),
        Ssdp::GarbageFirst => vec![
            vec![0xff, 0, 0xfe, b'\r', b'\n'],
            b"LOCATION".to_vec(),
            answer(target, "ftp://user:secret@[::"),
            honest,
        ],
        Ssdp::Ipv6First => vec![location("[fd00::1]:49152"), honest],
        Ssdp::Elsewhere(ip) => vec![location(&format!("{ip}:{}", http.port()))],
    }
}

fn answer(target: &str, location: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: {target}\r\nUSN: uuid:0::{target}\r\nEXT:\r\n\
         SERVER: fake/1 UPnP/1.1 router/1\r\nLOCATION: {location}\r\n\r\n"
    )
    .into_bytes()
}
