//! The search for routers (UPnP Device Architecture 1.1 section 1.3): a question by multicast or to a router whose
//! address is known, and the answers that name the places of descriptions.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use super::description::{self, Place};
use super::place;

const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), PORT);
const PORT: u16 = 1900;

/// Routers have one description, or one for each line to the outside.
const MOST: usize = 8;

/// Who answers to the first of a kind, answers for the later versions of it, too; and some know themselves by their services
/// only.
const WANTED: [&str; 4] = [
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];

#[derive(Debug)]
pub(super) struct Search {
    socket: UdpSocket,
    from: Ipv4Addr,
    /// The router that the user named.
    named: Option<IpAddr>,
    /// Datagrams get lost: who is not heard is asked once more.
    again_at: Option<Instant>,
    found: Vec<Place>,
    /// Somebody answered who can be no router of this network.
    heard_others: bool,
}

impl Search {
    /// Asks everybody, or the router that is named; once more after `repeat` while nobody answers.
    pub(super) fn begin(from: Ipv4Addr, named: Option<IpAddr>, repeat: Duration) -> io::Result<Self> {
        let socket = UdpSocket::bind((from, 0))?;
        socket2::SockRef::from(&socket).set_multicast_if_v4(&from)?;
        let again_at = Some(Instant::now() + repeat);
        let search = Self { socket, from, named, again_at, found: Vec::new(), heard_others: false };
        search.ask()?;
        Ok(search)
    }

    /// The place of another description, unless none is told of until then.
    pub(super) fn next(&mut self, until: Instant) -> Option<Place> {
        while self.found.len() < MOST {
            let now = Instant::now();
            if self.again_at.is_some_and(|at| at <= now) {
                self.again_at = None;
                // The first time it could be sent.
                let _ = self.ask();
            }
            let wake = self.again_at.map_or(until, |at| at.min(until));
            let left = wake.saturating_duration_since(now);
            if until <= now {
                return None;
            }
            let mut buffer = [0; 2048];
            // A wait of zero would have no end.
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).ok()?;
            let Ok((len, from)) = self.socket.recv_from(&mut buffer) else { continue };
            let Some(place) = location(&buffer[..len]) else { continue };
            if place.addr.ip() != from.ip() || !place::is_sane(from.ip(), self.from, self.named) {
                self.heard_others = true;
            } else if !self.found.contains(&place) {
                self.again_at = None;
                self.found.push(place.clone());
                return Some(place);
            }
        }
        None
    }

    pub(super) fn heard_others(&self) -> bool {
        self.heard_others
    }

    fn ask(&self) -> io::Result<()> {
        match self.named {
            Some(router) => self.send(SocketAddr::new(router, PORT)),
            None => {
                // The most likely router is also asked by itself: it answers at once, where others may take as many
                // seconds as the question says.
                let likely = place::likely_router(self.from).map(|router| SocketAddr::new(router, PORT));
                let by_itself = likely.map(|router| self.send(router)).unwrap_or(Ok(()));
                self.send(GROUP.into()).or(by_itself)
            }
        }
    }

    fn send(&self, to: SocketAddr) -> io::Result<()> {
        WANTED.iter().try_for_each(|wanted| {
            let question = format!(
                "M-SEARCH * HTTP/1.1\r\nHOST: {to}\r\nMAN: \"ssdp:discover\"\r\nMX: 2\r\nST: {wanted}\r\n\r\n"
            );
            self.socket.send_to(question.as_bytes(), to).map(|_| ())
        })
    }
}

/// The place that an answer names: its LOCATION, which is the URL of a description at an IPv4 address.
pub(super) fn location(answer: &[u8]) -> Option<Place> {
    let text = std::str::from_utf8(answer).ok()?;
    let url = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("location").then(|| value.trim())
    })?;
    let addr = description::absolute(url)?.0?;
    description::resolve(url, &Place { addr, path: "/".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let place =
            |answer: &str| location(answer.as_bytes()).map(|place| (place.addr.to_string(), place.path));
        let at = |addr: &str, path: &str| Some((addr.to_owned(), path.to_owned()));
        assert_eq!(
            place("HTTP/1.1 200 OK\r\nST: x\r\nLocation:http://192.168.1.1:5000/root.xml\r\n\r\n"),
            at("192.168.1.1:5000", "/root.xml")
        );
        assert_eq!(place("HTTP/1.1 200 OK\nLOCATION : http://192.168.1.1 \n"), at("192.168.1.1:80", "/"));
        for nonsense in [
            "",
            "LOCATION",
            "LOCATION: ftp://192.168.1.1/",
            "LOCATION: http://[fd00::1]:80/",
            "LOCATION: http://router/",
            "LOCATION: http://192.168.1.1/a b",
            "LOCATION: http://user:secret@192.168.1.1/",
        ] {
            assert_eq!(place(nonsense), None, "{nonsense}");
        }
    }
}
