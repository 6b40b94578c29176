//! What a router's service is asked: one action, its arguments and its answer (UPnP Device Architecture 1.1 section 3).

use std::io;
use std::time::Duration;

use super::description::{Place, Service};
use super::http::{self, Answer};
use super::said::said;
use super::xml::{self, Element};
use crate::reach::MappingFault;

/// Why an action came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A number of UPnP's, and what the router says of it.
    Code(u16, String),
    /// It has answered, and not to that: many do who do not know an action.
    Beside(MappingFault),
    /// No answer, or none that ends.
    Fault(MappingFault),
}

impl From<Failure> for MappingFault {
    fn from(failure: Failure) -> Self {
        match failure {
            // Invalid action, not authorized.
            Failure::Code(401 | 606, _) => Self::Refused,
            // Ports must be the same, and one is taken; no port is left (WANIPConnection:2 section 2.5.16).
            Failure::Code(724 | 728, _) => Self::Conflict,
            Failure::Code(code, why) if why.is_empty() => said(&format!("UPnP error {code}")),
            Failure::Code(code, why) => said(&format!("UPnP error {code}: {why}")),
            Failure::Beside(fault) | Failure::Fault(fault) => fault,
        }
    }
}

/// Has an action done. Arguments need no escapes. Returns the elements of the answer.
pub(super) fn call(
    service: &Service,
    action: &str,
    arguments: &[(&str, &str)],
    patience: Duration,
) -> Result<Vec<Element>, Failure> {
    let answer = http::exchange(service.place.addr, &request(service, action, arguments), patience);
    read(&answer.map_err(|error| Failure::Fault(fault(&error)))?, action)
}

/// The document at a place.
pub(super) fn get(place: &Place, patience: Duration) -> Result<Vec<u8>, MappingFault> {
    let Place { addr, path } = place;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let answer = http::exchange(*addr, request.as_bytes(), patience).map_err(|error| fault(&error))?;
    if answer.status == 200 { Ok(answer.body) } else { Err(refused(answer.status)) }
}

fn request(service: &Service, action: &str, arguments: &[(&str, &str)]) -> Vec<u8> {
    let Service { place: Place { addr, path }, kind } = service;
    let arguments: String =
        arguments.iter().map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
    let body = format!(
        "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
         <u:{action} xmlns:u=\"{kind}\">{arguments}</u:{action}></s:Body></s:Envelope>\r\n"
    );
    // Of version 1.0, so that the answer is not sent in chunks; some do so all the same.
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: {addr}\r\nContent-Type: text/xml; charset=\"utf-8\"\r\n\
         SOAPAction: \"{kind}#{action}\"\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

/// What an answer to this action comes to.
pub(super) fn read(answer: &Answer, action: &str) -> Result<Vec<Element>, Failure> {
    let elements = xml::elements(&answer.body);
    if let Some(code) = xml::text_of(&elements, "errorCode").and_then(|code| code.parse().ok()) {
        let why = xml::text_of(&elements, "errorDescription").unwrap_or_default();
        return Err(Failure::Code(code, why.to_owned()));
    }
    let is_its_answer = |(name, _): &Element| name.strip_suffix("Response") == Some(action);
    if elements.iter().any(is_its_answer) {
        Ok(elements)
    } else {
        Err(Failure::Beside(refused(answer.status)))
    }
}

/// By HTTP's own numbers: unauthorized, forbidden, no such method.
fn refused(status: u16) -> MappingFault {
    if matches!(status, 401 | 403 | 405) { MappingFault::Refused } else { MappingFault::Dubious }
}

fn fault(error: &io::Error) -> MappingFault {
    if error.kind() == io::ErrorKind::InvalidData { MappingFault::Dubious } else { MappingFault::Silent }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn answers() {
        let yes = answer(200, "<s:Body><m:DoResponse xmlns:m=\"x\"><a>1</a></m:DoResponse></s:Body>");
        assert_eq!(xml::text_of(&read(&yes, "Do").unwrap(), "a"), Some("1"));
        assert_eq!(read(&yes, "Undo"), Err(Failure::Beside(MappingFault::Dubious)));
        assert!(read(&answer(200, "<DoResponse/>"), "Do").is_ok());
        let no = answer(500, "<UPnPError><errorCode> 714 </errorCode></UPnPError>");
        assert_eq!(read(&no, "Do"), Err(Failure::Code(714, String::new())));
        let no = answer(500, "<errorCode>70000</errorCode>");
        assert_eq!(read(&no, "Do"), Err(Failure::Beside(MappingFault::Dubious)));
        for status in [401, 403, 405] {
            assert_eq!(read(&answer(status, ""), "Do"), Err(Failure::Beside(MappingFault::Refused)));
        }
    }

    #[test]
    fn what_a_failure_means() {
        let code = |code, why: &str| MappingFault::from(Failure::Code(code, why.into()));
        assert_eq!(code(606, ""), MappingFault::Refused);
        assert_eq!(code(728, "full"), MappingFault::Conflict);
        assert_eq!(code(501, ""), MappingFault::Other("UPnP error 501".into()));
        assert_eq!(code(501, "a\nb"), MappingFault::Other("UPnP error 501: a?b".into()));
    }
}
