//! Questions that `igd` can not ask, or not within a time of ours: one SOAP request by one connection of HTTP, with a
//! deadline, past any proxy.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use igd::{Gateway, PortMappingProtocol};

use crate::reach::MappingFault;

/// Answers are some hundred bytes long.
const LONGEST: u64 = 64 << 10;

/// Of a router that can not be asked for one entry, so many are looked at.
const ENTRIES: u32 = 128;

/// Where an external port leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Nowhere,
    LeadsTo {
        /// `None`: what is not even an address.
        internal: Option<SocketAddrV4>,
        /// What is left of it; `None`: for ever.
        lease: Option<Duration>,
        /// Empty, where the router has none or tells none.
        description: String,
    },
    /// The router does not say.
    Untold,
}

/// Asks where an external port leads: for this entry, and where the router does not know that question, for all.
pub(super) fn look_up(gateway: &Gateway, external: u16, patience: Duration) -> Result<Entry, MappingFault> {
    let begin = Instant::now();
    let arguments = format!(
        "<NewRemoteHost></NewRemoteHost><NewExternalPort>{external}</NewExternalPort>\
         <NewProtocol>TCP</NewProtocol>"
    );
    let answer = call(gateway, "GetSpecificPortMappingEntry", &arguments, patience)?;
    if let Some(port) = element(&answer, "NewInternalPort") {
        let client = element(&answer, "NewInternalClient").unwrap_or_default();
        let lease = element(&answer, "NewLeaseDuration").and_then(|lease| lease.parse().ok()).unwrap_or(0);
        let description = element(&answer, "NewPortMappingDescription").unwrap_or_default();
        return Ok(leads_to(client, port.parse().ok(), lease, description));
    }
    // WANIPConnection:1 section 2.4.15: NoSuchEntryInArray.
    if error_code(&answer) == Some(714) {
        return Ok(Entry::Nowhere);
    }
    Ok(search(gateway, external, begin, patience))
}

/// The external address, where the answer has one; unspecified where the router has none.
pub(super) fn external_address(
    gateway: &Gateway,
    patience: Duration,
) -> Result<Option<IpAddr>, MappingFault> {
    let answer = call(gateway, "GetExternalIPAddress", "", patience)?;
    Ok(element(&answer, "NewExternalIPAddress").and_then(read_address))
}

/// miniupnpd says nothing at all in its place, and others 0.0.0.0, while they have none that others could use.
fn read_address(text: &str) -> Option<IpAddr> {
    if text.is_empty() { Some(Ipv4Addr::UNSPECIFIED.into()) } else { text.parse().ok() }
}

/// The number of a UPnP error: `igd` knows it only where the router describes the error, too.
pub(super) fn error_code(answer: &str) -> Option<u16> {
    element(answer, "errorCode")?.parse().ok()
}

fn search(gateway: &Gateway, external: u16, begin: Instant, patience: Duration) -> Entry {
    for index in 0..ENTRIES {
        match gateway.get_generic_port_mapping_entry(index) {
            Ok(entry) if entry.external_port == external && entry.protocol == PortMappingProtocol::TCP => {
                let description = entry.port_mapping_description.trim();
                let port = Some(entry.internal_port);
                return leads_to(&entry.internal_client, port, entry.lease_duration, description);
            }
            Ok(_) if begin.elapsed() < patience => {}
            Err(igd::GetGenericPortMappingEntryError::SpecifiedArrayIndexInvalid) => return Entry::Nowhere,
            Ok(_) | Err(_) => break,
        }
    }
    Entry::Untold
}

fn leads_to(client: &str, port: Option<u16>, lease: u32, description: &str) -> Entry {
    let client: Option<Ipv4Addr> = client.trim().parse().ok();
    let lease = (lease != 0).then(|| Duration::from_secs(lease.into()));
    let internal = client.zip(port).map(|(ip, port)| SocketAddrV4::new(ip, port));
    Entry::LeadsTo { internal, lease, description: description.to_owned() }
}

/// The text of the first element of that name. Some routers give elements attributes.
fn element<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.match_indices('<').find_map(|(at, _)| {
        let rest = answer[at + 1..].strip_prefix(name)?;
        let (attributes, rest) = rest.split_once('>')?;
        let is_it = attributes.is_empty() || attributes.starts_with(|next: char| next.is_ascii_whitespace());
        is_it.then(|| rest.split_once('<').map(|(text, _)| text.trim()))?
    })
}

fn call(
    gateway: &Gateway,
    action: &str,
    arguments: &str,
    patience: Duration,
) -> Result<String, MappingFault> {
    // Its display is the URL that it is controlled at, in full.
    let url = gateway.to_string();
    let (host, path) =
        url.strip_prefix("http://").and_then(|url| url.split_once('/')).ok_or(MappingFault::Dubious)?;
    let addr: SocketAddr = host.parse().map_err(|_| MappingFault::Dubious)?;
    let service = &gateway.service_type;
    let body = format!(
        "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
         <u:{action} xmlns:u=\"{service}\">{arguments}</u:{action}></s:Body></s:Envelope>\r\n"
    );
    // Of version 1.0, so that the answer is not sent in chunks.
    let request = format!(
        "POST /{path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: text/xml; charset=\"utf-8\"\r\n\
         SOAPAction: \"{service}#{action}\"\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(addr, request.as_bytes(), patience).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => MappingFault::Dubious,
        _ => MappingFault::Silent,
    })
}

fn exchange(addr: SocketAddr, request: &[u8], patience: Duration) -> io::Result<String> {
    let begin = Instant::now();
    // Never zero, which would mean without end.
    let left = || {
        patience.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()).ok_or(io::ErrorKind::TimedOut)
    };
    let mut stream = TcpStream::connect_timeout(&addr, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    loop {
        stream.set_read_timeout(Some(left()?))?;
        let mut piece = [0; 2048];
        let len = stream.read(&mut piece)?;
        answer.extend_from_slice(&piece[..len]);
        // Some keep the connection open.
        if len == 0 || answer.trim_ascii_end().ends_with(b"Envelope>") {
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
        if answer.len() as u64 > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements() {
        let answer = "<a:Body><NewInternalPortX>1</NewInternalPortX><NewInternalPort dt:dt=\"ui2\"> 80 </NewInternalPort>";
        assert_eq!(element(answer, "NewInternalPort"), Some("80"));
        assert_eq!(element(answer, "NewInternalClient"), None);
        assert_eq!(element("<errorCode>", "errorCode"), None);
        assert_eq!(element("<errorCode", "errorCode"), None);
        assert_eq!(error_code("<UPnPError><errorCode>714</errorCode></UPnPError>"), Some(714));
        assert_eq!(error_code("<errorCode>70000</errorCode>"), None);
    }

    #[test]
    fn addresses() {
        assert_eq!(read_address("192.0.2.1"), Some([192, 0, 2, 1].into()));
        assert_eq!(read_address(""), Some(Ipv4Addr::UNSPECIFIED.into()));
        assert_eq!(read_address("none"), None);
    }
}
