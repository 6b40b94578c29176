//! The rendezvous protocol: what clients ask and what servers answer, a line each.
//!
//! The old verbs are pyp2p's, word for word. The new ones (`HELLO`, `WHOAMI`, `PING` and their answers) are only sent
//! to a side that showed that it knows them. Everything is words between spaces, so that it can be typed by hand:
//! several spaces count as one, and what ends the line (LF or CRLF) is taken off before it gets here.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The most nodes that can be asked for, and that are taken from one answer (pyp2p's limit).
pub(crate) const MAX_NODES: usize = 100;

/// The most predicted ports in one line. pyp2p predicts 4; more than this is not a prediction but a port scan.
pub(crate) const MAX_PORTS: usize = 64;

/// The longest token of a `PING`.
pub(crate) const MAX_TOKEN: usize = 32;

/// A line from a client to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// `HELLO p2poll 1 feature ...`: these extensions are known here.
    Hello(Features),
    /// `WHOAMI`: which address do I come from? Answered by [`Reply::Seen`].
    Whoami,
    /// `PING token`. Answered by [`Reply::Pong`].
    Ping(Token),
    /// `BOOTSTRAP n`, 1 to 100. Answered by [`Reply::Nodes`].
    Bootstrap { count: u8 },
    /// `PASSIVE READY PORT MAX_INBOUND`: list me. Answered by [`Reply::Listed`] when that feature is agreed.
    Passive { port: u16, max_inbound: u32 },
    /// `SIMULTANEOUS READY PORT MAX_INBOUND`: I can be punched. pyp2p says port 0 here.
    Simultaneous { port: u16, max_inbound: u32 },
    /// `SOURCE TCP [PORT]`. Answered by [`Reply::Remote`], by every server.
    Source { port: Option<u16> },
    /// `CANDIDATE IP TCP PORT ...`: I want to punch to IP.
    Candidate { ip: IpAddr, ports: Ports },
    /// `ACCEPT IP PORT ... TCP NTP`: I meet the candidate IP.
    Accept { ip: IpAddr, ports: Ports, ntp: Ntp },
    /// `CLEAR`: forget me.
    Clear,
    /// `QUIT`: close.
    Quit,
}

/// A line from a server to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `HELLO p2poll 1 feature ...`: the extensions that both sides know.
    Hello(Features),
    /// `SEEN IP PORT`, `SEEN [IPV6] PORT`: the asker's address as the server sees it.
    Seen(SocketAddr),
    /// `PONG token`.
    Pong(Token),
    /// `LISTED PORT`: registered, for as long as this connection lives (and a grace).
    Listed { port: u16 },
    /// `FULL`: not registered, there is no room. Part of the feature `listed`.
    Full,
    /// `NODES p:IP:PORT ... ` or `NODES EMPTY`.
    Nodes(Vec<Listed>),
    /// `REMOTE TCP PORT`: the port that the server sees.
    Remote { port: u16 },
    /// `PREDICTION SET`: the candidate is noted.
    PredictionSet,
    /// `CHALLENGE IP PORT ... TCP`: IP wants to punch to you.
    Challenge { ip: IpAddr, ports: Ports },
    /// `RECONNECT`: predict and register again.
    Reconnect,
    /// `FIGHT IP PORT ... TCP NTP`: the accepted meeting.
    Fight { ip: IpAddr, ports: Ports, ntp: Ntp },
}

/// One entry of an answer to `BOOTSTRAP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) addr: SocketAddr,
    /// It registered later than the asker (`p+:`), so it will hear of the asker, and dial.
    pub(crate) newer: bool,
}

impl Request {
    /// The meaning of a line without its end, or none that a server would answer.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let mut words = Words::new(line);
        let request = match words.next()? {
            b"BOOTSTRAP" => Self::Bootstrap { count: words.how_many()? },
            b"HELLO" => Self::Hello(words.hello()?),
            b"WHOAMI" => Self::Whoami,
            b"PING" => Self::Ping(Token::new(words.next()?)?),
            b"PASSIVE" => {
                words.expect("READY")?;
                Self::Passive { port: words.port()?, max_inbound: words.saturating()? }
            }
            b"SIMULTANEOUS" => {
                words.expect("READY")?;
                Self::Simultaneous { port: words.port_or_zero()?, max_inbound: words.saturating()? }
            }
            b"SOURCE" => {
                words.expect("TCP")?;
                Self::Source { port: words.optional_port()? }
            }
            b"CANDIDATE" => {
                let ip = words.ip()?;
                words.expect("TCP")?;
                Self::Candidate { ip, ports: words.ports()? }
            }
            b"ACCEPT" => {
                let (ip, ports) = words.meeting()?;
                Self::Accept { ip, ports, ntp: Ntp::parse(words.next()?)? }
            }
            b"CLEAR" => Self::Clear,
            b"QUIT" => Self::Quit,
            _ => return None,
        };
        words.end()?;
        Some(request)
    }

    /// Appends the line with its end.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(features) => put_hello(out, *features),
            Self::Whoami => put(out, format_args!("WHOAMI")),
            Self::Ping(token) => put(out, format_args!("PING {token}")),
            Self::Bootstrap { count } => put(out, format_args!("BOOTSTRAP {count}")),
            Self::Passive { port, max_inbound } => {
                put(out, format_args!("PASSIVE READY {port} {max_inbound}"))
            }
            Self::Simultaneous { port, max_inbound } => {
                put(out, format_args!("SIMULTANEOUS READY {port} {max_inbound}"));
            }
            Self::Source { port: Some(port) } => put(out, format_args!("SOURCE TCP {port}")),
            Self::Source { port: None } => put(out, format_args!("SOURCE TCP")),
            Self::Candidate { ip, ports } => put(out, format_args!("CANDIDATE {} TCP {ports}", Ip(*ip))),
            Self::Accept { ip, ports, ntp } => put(out, format_args!("ACCEPT {} {ports} TCP {ntp}", Ip(*ip))),
            Self::Clear => put(out, format_args!("CLEAR")),
            Self::Quit => put(out, format_args!("QUIT")),
        }
        out.extend_from_slice(END);
    }
}

impl Reply {
    /// The meaning of a line without its end.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let mut words = Words::new(line);
        let reply = match words.next()? {
            b"NODES" => Self::Nodes(words.nodes()?),
            b"HELLO" => Self::Hello(words.hello()?),
            b"SEEN" => {
                let ip = words.ip()?;
                Self::Seen(SocketAddr::new(ip, words.port()?))
            }
            b"PONG" => Self::Pong(Token::new(words.next()?)?),
            b"LISTED" => Self::Listed { port: words.port_or_zero()? },
            b"FULL" => Self::Full,
            b"REMOTE" => {
                words.expect("TCP")?;
                Self::Remote { port: words.port()? }
            }
            b"PREDICTION" => {
                words.expect("SET")?;
                Self::PredictionSet
            }
            b"CHALLENGE" => {
                let (ip, ports) = words.meeting()?;
                Self::Challenge { ip, ports }
            }
            b"RECONNECT" => Self::Reconnect,
            b"FIGHT" => {
                let (ip, ports) = words.meeting()?;
                Self::Fight { ip, ports, ntp: Ntp::parse(words.next()?)? }
            }
            _ => return None,
        };
        words.end()?;
        Some(reply)
    }

    /// Whether the line begins with a verb of ours: then one that does not parse is a fault, not news from a
    /// later version.
    pub(crate) fn knows_verb(line: &[u8]) -> bool {
        const VERBS: [&[u8]; 11] = [
            b"NODES",
            b"HELLO",
            b"SEEN",
            b"PONG",
            b"LISTED",
            b"FULL",
            b"REMOTE",
            b"PREDICTION",
            b"CHALLENGE",
            b"RECONNECT",
            b"FIGHT",
        ];
        Words::new(line).next().is_some_and(|verb| VERBS.contains(&verb))
    }

    /// Appends the line with its end.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(features) => put_hello(out, *features),
            Self::Seen(addr) => put(out, format_args!("SEEN {} {}", Ip(addr.ip()), addr.port())),
            Self::Pong(token) => put(out, format_args!("PONG {token}")),
            Self::Listed { port } => put(out, format_args!("LISTED {port}")),
            Self::Full => put(out, format_args!("FULL")),
            Self::Nodes(nodes) => put_nodes(out, nodes),
            Self::Remote { port } => put(out, format_args!("REMOTE TCP {port}")),
            Self::PredictionSet => put(out, format_args!("PREDICTION SET")),
            Self::Challenge { ip, ports } => put(out, format_args!("CHALLENGE {} {ports} TCP", Ip(*ip))),
            Self::Reconnect => put(out, format_args!("RECONNECT")),
            Self::Fight { ip, ports, ntp } => put(out, format_args!("FIGHT {} {ports} TCP {ntp}", Ip(*ip))),
        }
        out.extend_from_slice(END);
    }
}

/// A set of extensions, by name on the wire.
///
/// A later one is a constant and a row in `NAMES`; who does not know its word passes over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features(u32);

impl Features {
    pub(crate) const NONE: Self = Self(0);
    /// Answers to `BOOTSTRAP` may hold IPv6, nodes at the asker's own address, and `p+:` entries.
    pub(crate) const PEERS: Self = Self(1);
    /// `WHOAMI` and `SEEN`.
    pub(crate) const SEEN: Self = Self(1 << 1);
    /// `PING` and `PONG`.
    pub(crate) const PING: Self = Self(1 << 2);
    /// A registration is answered, and lasts as long as its connection.
    pub(crate) const LISTED: Self = Self(1 << 3);
    /// All that this version knows.
    pub(crate) const ALL: Self = Self((1 << 4) - 1);

    const NAMES: [(Self, &str); 4] =
        [(Self::PEERS, "peers"), (Self::SEEN, "seen"), (Self::PING, "ping"), (Self::LISTED, "listed")];

    pub(crate) const fn has(self, feature: Self) -> bool {
        self.0 & feature.0 == feature.0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[cfg(test)]
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn named(word: &[u8]) -> Self {
        let found = Self::NAMES.iter().find(|(_, name)| name.as_bytes() == word);
        found.map_or(Self::NONE, |(feature, _)| *feature)
    }
}

/// Between 1 and [`MAX_PORTS`] ports, none of them 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ports(Vec<u16>);

impl Ports {
    pub(crate) fn new(ports: impl IntoIterator<Item = u16>) -> Option<Self> {
        let ports: Vec<u16> = ports.into_iter().take(MAX_PORTS + 1).collect();
        let fine = (1..=MAX_PORTS).contains(&ports.len()) && !ports.contains(&0);
        fine.then_some(Self(ports))
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, port) in self.0.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{port}")?;
        }
        Ok(())
    }
}

/// The instant of a meeting: microseconds since 1970, on the wire decimal seconds with an optional fraction.
///
/// Not a float: those can not hold today's microseconds in all digits, nor be compared without traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ntp(u64);

impl Ntp {
    /// Saturates, half a million years from now.
    #[cfg_attr(not(test), expect(dead_code, reason = "punching, which asks for this, is not built yet"))]
    pub(crate) fn from_unix(since_epoch: Duration) -> Self {
        Self(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) const fn since_unix(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// How far it lies from `wall`, ahead or behind.
    pub(crate) fn distance(self, wall: Duration) -> Duration {
        self.since_unix().abs_diff(wall)
    }

    /// Digits beyond the sixth after the point are dropped.
    fn parse(word: &[u8]) -> Option<Self> {
        let (seconds, fraction) = match word.iter().position(|&byte| byte == b'.') {
            Some(point) => (&word[..point], &word[point + 1..]),
            None => (word, &b"0"[..]),
        };
        if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let micros = (0..6).fold(0, |sum, i| {
            let digit = fraction.get(i).map_or(0, |digit| digit - b'0');
            sum * 10 + u64::from(digit)
        });
        number(seconds)?.checked_mul(1_000_000)?.checked_add(micros).map(Self)
    }
}

impl fmt::Display for Ntp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if micros == 0 {
            return write!(f, "{seconds}");
        }
        let fraction = format!("{micros:06}");
        write!(f, "{seconds}.{}", fraction.trim_end_matches('0'))
    }
}

/// What a `PING` carries and its `PONG` returns: 1 to [`MAX_TOKEN`] printable ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    len: u8,
    bytes: [u8; MAX_TOKEN],
}

impl Token {
    pub(crate) fn new(text: &[u8]) -> Option<Self> {
        let fine = (1..=MAX_TOKEN).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
        fine.then(|| {
            let mut bytes = [0; MAX_TOKEN];
            bytes[..text.len()].copy_from_slice(text);
            Self { len: text.len() as u8, bytes }
        })
    }

    /// The token that spells a number.
    pub(crate) fn from_number(number: u64) -> Self {
        let mut token = Self { len: 16, bytes: [0; MAX_TOKEN] };
        for (i, byte) in token.bytes[..16].iter_mut().enumerate() {
            *byte = b"0123456789abcdef"[(number >> (60 - 4 * i)) as usize & 15];
        }
        token
    }

    fn as_str(&self) -> &str {
        // Made of ASCII only, so the default never happens.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?})", self.as_str())
    }
}

/// The printed form of one node of a `NODES` answer, kept so that a server prints each node once, not once an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    len: u8,
    /// `:IP:PORT `; at most `:[` + 39 + `]:` + 5 + a space, which is 49.
    bytes: [u8; 55],
}

impl Entry {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        let mut entry = Self { len: 0, bytes: [0; 55] };
        let mut room = &mut entry.bytes[..];
        // The room is enough for every address, see `bytes`.
        let _ = write!(room, ":{}:{} ", Ip(addr.ip()), addr.port());
        entry.len = (55 - room.len()) as u8;
        entry
    }

    pub(crate) fn write(&self, newer: bool, out: &mut Vec<u8>) {
        let kind: &[u8] = if newer { b"p+" } else { b"p" };
        out.extend_from_slice(kind);
        out.extend_from_slice(&self.bytes[..usize::from(self.len)]);
    }
}

/// Writes a `NODES` line whose entries `list` appends; `EMPTY` when it appends none.
pub(crate) fn write_nodes(out: &mut Vec<u8>, list: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"NODES ");
    let before = out.len();
    list(out);
    if out.len() == before {
        out.extend_from_slice(b"EMPTY");
    }
    out.extend_from_slice(END);
}

const END: &[u8] = b"\r\n";

/// Version 1 of the extensions. A higher one answers to 1 as well.
const HELLO: &str = "HELLO p2poll 1";

fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = out.write_fmt(text);
}

fn put_hello(out: &mut Vec<u8>, features: Features) {
    put(out, format_args!("{HELLO}"));
    for (_, name) in Features::NAMES.iter().filter(|(feature, _)| features.has(*feature)) {
        put(out, format_args!(" {name}"));
    }
}

/// Like [`write_nodes`], without the end of the line.
fn put_nodes(out: &mut Vec<u8>, nodes: &[Listed]) {
    write_nodes(out, |out| {
        for node in nodes {
            Entry::new(node.addr).write(node.newer, out);
        }
    });
    out.truncate(out.len() - END.len());
}

/// An address as it stands on the wire: IPv6 in brackets, and IPv4 in IPv6's clothes undressed.
struct Ip(IpAddr);

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_canonical() {
            IpAddr::V4(ip) => write!(f, "{ip}"),
            IpAddr::V6(ip) => write!(f, "[{ip}]"),
        }
    }
}

/// The words of a line, and what a word can mean.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn new(line: &'a [u8]) -> Self {
        // A lone CR before the LF belongs to the line end, whoever cut the line.
        Self(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn expect(&mut self, word: &str) -> Option<()> {
        (self.next()? == word.as_bytes()).then_some(())
    }

    fn end(mut self) -> Option<()> {
        self.next().is_none().then_some(())
    }

    fn how_many(&mut self) -> Option<u8> {
        let count = number(self.next()?)?;
        (1..=MAX_NODES as u64).contains(&count).then_some(count as u8)
    }

    fn port_or_zero(&mut self) -> Option<u16> {
        u16::try_from(number(self.next()?)?).ok()
    }

    fn port(&mut self) -> Option<u16> {
        self.port_or_zero().filter(|&port| port != 0)
    }

    fn optional_port(&mut self) -> Option<Option<u16>> {
        if self.peek().is_none() {
            return Some(None);
        }
        self.port_or_zero().map(Some)
    }

    /// A number of which only "many" matters above a point.
    fn saturating(&mut self) -> Option<u32> {
        let word = self.next()?;
        let digits = word.iter().all(u8::is_ascii_digit);
        digits.then(|| number(word).and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX))
    }

    fn ip(&mut self) -> Option<IpAddr> {
        parse_ip(self.next()?)
    }

    fn ports(&mut self) -> Option<Ports> {
        let mut ports = Vec::new();
        while self.peek().is_some_and(|word| word != b"TCP") {
            if ports.len() == MAX_PORTS {
                return None;
            }
            ports.push(self.port()?);
        }
        Ports::new(ports)
    }

    /// `IP PORT ... TCP`
    fn meeting(&mut self) -> Option<(IpAddr, Ports)> {
        let ip = self.ip()?;
        let ports = self.ports()?;
        self.expect("TCP")?;
        Some((ip, ports))
    }

    /// `p2poll VERSION feature ...`
    fn hello(&mut self) -> Option<Features> {
        self.expect("p2poll")?;
        (number(self.next()?)? >= 1).then_some(())?;
        Some(self.by_ref().fold(Features::NONE, |sum, word| Features(sum.0 | Features::named(word).0)))
    }

    fn nodes(&mut self) -> Option<Vec<Listed>> {
        let mut nodes = Vec::new();
        if self.peek()? == b"EMPTY" {
            self.next();
            return Some(nodes);
        }
        for word in self.by_ref() {
            let node = listed(word)?;
            if nodes.len() < MAX_NODES {
                nodes.push(node);
            }
        }
        Some(nodes)
    }

    fn peek(&self) -> Option<&'a [u8]> {
        Self(self.0).next()
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|&byte| byte != b' ').unwrap_or(self.0.len());
        let rest = &self.0[start..];
        let len = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        let (word, rest) = rest.split_at(len);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// `p:IP:PORT`, `p+:IP:PORT`, `p:[IPV6]:PORT`
fn listed(word: &[u8]) -> Option<Listed> {
    let (newer, rest) = match word.strip_prefix(b"p+:") {
        Some(rest) => (true, rest),
        None => (false, word.strip_prefix(b"p:")?),
    };
    let colon = rest.iter().rposition(|&byte| byte == b':')?;
    let port = u16::try_from(number(&rest[colon + 1..])?).ok()?;
    Some(Listed { addr: SocketAddr::new(parse_ip(&rest[..colon])?, port), newer })
}

fn parse_ip(word: &[u8]) -> Option<IpAddr> {
    let bare = word.strip_prefix(b"[").and_then(|word| word.strip_suffix(b"]")).unwrap_or(word);
    let ip: IpAddr = std::str::from_utf8(bare).ok()?.parse().ok()?;
    Some(ip.to_canonical())
}

/// Decimal digits and nothing else; `str::parse` would take a sign too.
fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u64, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(text: &str) -> Option<Request> {
        Request::parse(text.as_bytes())
    }

    fn reply(text: &str) -> Option<Reply> {
        Reply::parse(text.as_bytes())
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_stand_on_the_wire_as_in_pyp2p() {
        let same = [
            "BOOTSTRAP 100",
            "PASSIVE READY 50500 10",
            "SIMULTANEOUS READY 0 0",
            "SOURCE TCP",
            "SOURCE TCP 4001",
            "CANDIDATE 203.0.113.7 TCP 4000 4001 4002 4003",
            "ACCEPT 192.168.0.1 4552 345 TCP 1412137849.288068",
            "CLEAR",
            "QUIT",
            "HELLO p2poll 1 peers seen ping listed",
            "HELLO p2poll 1",
            "WHOAMI",
            "PING a-Token!",
        ];
        for text in same {
            let request = request(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(written(|out| request.write(out)), format!("{text}\r\n"));
        }
    }

    #[test]
    fn replies_stand_on_the_wire_as_in_pyp2p() {
        let same = [
            "NODES EMPTY",
            "NODES p:203.0.113.7:44444 p:198.51.100.1:1 ",
            "NODES p+:203.0.113.7:44444 p:[::1]:5000 ",
            "REMOTE TCP 1",
            "PREDICTION SET",
            "CHALLENGE 203.0.113.7 4000 4001 TCP",
            "RECONNECT",
            "FIGHT 203.0.113.7 4000 TCP 1700000000.5",
            "HELLO p2poll 1 ping",
            "SEEN 203.0.113.7 9",
            "SEEN [2001:db8::1] 9",
            "PONG 1",
            "LISTED 50500",
            "FULL",
        ];
        for text in same {
            let reply = reply(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(written(|out| reply.write(out)), format!("{text}\r\n"));
            assert!(Reply::knows_verb(text.as_bytes()));
        }
    }

    #[test]
    fn what_a_hand_types_is_read() {
        assert_eq!(request("BOOTSTRAP  7 \r"), Some(Request::Bootstrap { count: 7 }));
        assert_eq!(request("SOURCE TCP "), Some(Request::Source { port: None }));
        assert_eq!(request("HELLO p2poll 2 ping telepathy"), Some(Request::Hello(Features::PING)));
        let many = request("PASSIVE READY 1 99999999999999999999999");
        assert_eq!(many, Some(Request::Passive { port: 1, max_inbound: u32::MAX }));
    }

    #[test]
    fn what_is_not_in_the_protocol_is_none() {
        let long = format!("PING {}", "x".repeat(33));
        let wide = format!("CANDIDATE 1.2.3.4 TCP{}", " 7".repeat(MAX_PORTS + 1));
        let lines = [
            "",
            " ",
            "bootstrap 1",
            "BOOTSTRAP",
            "BOOTSTRAP 0",
            "BOOTSTRAP 101",
            "BOOTSTRAP +1",
            "BOOTSTRAP 1 2",
            "PASSIVE READY 0 1",
            "PASSIVE READY 65536 1",
            "PASSIVE READY 1",
            "CANDIDATE 1.2.3.4 TCP",
            "CANDIDATE 1.2.3.4 TCP 0",
            "CANDIDATE 1.2.3.4 UDP 1",
            "CANDIDATE 1.2.3 TCP 1",
            "ACCEPT 1.2.3.4 1 TCP",
            "ACCEPT 1.2.3.4 1 TCP 1.",
            "ACCEPT 1.2.3.4 1 TCP -1",
            "ACCEPT 1.2.3.4 1 TCP 1e9",
            "ACCEPT 1.2.3.4 1 TCP 99999999999999999999",
            "ACCEPT 1.2.3.4 TCP 1",
            "HELLO",
            "HELLO p2poll",
            "HELLO p2poll 0",
            "HELLO other 1",
            &long,
            &wide,
        ];
        for line in lines {
            assert_eq!(request(line), None, "{line}");
        }
        for line in ["NODES", "NODES x:1.2.3.4:5", "NODES p:1.2.3.4", "NODES p:1.2.3.4:65536", "REMOTE TCP 0"]
        {
            assert_eq!(reply(line), None, "{line}");
            assert!(Reply::knows_verb(line.as_bytes()), "{line}");
        }
        assert!(!Reply::knows_verb(b"HTTP/1.1 400 Bad Request"));
    }

    #[test]
    fn an_answer_gives_a_hundred_nodes_at_most() {
        let text = format!("NODES {}", "p:1.2.3.4:5 ".repeat(1000));
        assert!(matches!(reply(&text), Some(Reply::Nodes(nodes)) if nodes.len() == MAX_NODES));
    }

    #[test]
    fn a_meeting_keeps_its_microseconds() {
        let ntp = |text: &str| Ntp::parse(text.as_bytes()).map(|ntp| ntp.to_string());
        assert_eq!(ntp("1412137849.288068").as_deref(), Some("1412137849.288068"));
        assert_eq!(ntp("1412137849.28806851").as_deref(), Some("1412137849.288068"));
        assert_eq!(ntp("1412137849.0").as_deref(), Some("1412137849"));
        assert_eq!(ntp("7.000001").as_deref(), Some("7.000001"));
        assert_eq!(Ntp(5_500_000).distance(Duration::from_secs(6)), Duration::from_millis(500));
    }

    #[test]
    fn ipv4_in_ipv6_is_ipv4() {
        assert_eq!(reply("SEEN [::ffff:1.2.3.4] 5"), reply("SEEN 1.2.3.4 5"));
        let mapped = Reply::Seen("[::ffff:1.2.3.4]:5".parse().unwrap());
        assert_eq!(written(|out| mapped.write(out)), "SEEN 1.2.3.4 5\r\n");
    }

    fn ips() -> impl Strategy<Value = IpAddr> {
        any::<IpAddr>().prop_map(|ip| ip.to_canonical())
    }

    fn port_lists() -> impl Strategy<Value = Ports> {
        proptest::collection::vec(1..=u16::MAX, 1..=MAX_PORTS).prop_map(Ports)
    }

    fn tokens() -> impl Strategy<Value = Token> {
        "[!-~]{1,32}".prop_map(|text| Token::new(text.as_bytes()).unwrap())
    }

    fn features() -> impl Strategy<Value = Features> {
        (0..=Features::ALL.0).prop_map(Features)
    }

    fn requests() -> impl Strategy<Value = Request> {
        prop_oneof![
            features().prop_map(Request::Hello),
            Just(Request::Whoami),
            tokens().prop_map(Request::Ping),
            (1..=100u8).prop_map(|count| Request::Bootstrap { count }),
            (1..=u16::MAX, any::<u32>())
                .prop_map(|(port, max_inbound)| Request::Passive { port, max_inbound }),
            any::<(u16, u32)>().prop_map(|(port, max_inbound)| Request::Simultaneous { port, max_inbound }),
            any::<Option<u16>>().prop_map(|port| Request::Source { port }),
            (ips(), port_lists()).prop_map(|(ip, ports)| Request::Candidate { ip, ports }),
            (ips(), port_lists(), any::<u64>()).prop_map(|(ip, ports, ntp)| Request::Accept {
                ip,
                ports,
                ntp: Ntp(ntp)
            }),
            Just(Request::Clear),
            Just(Request::Quit),
        ]
    }

    fn nodes() -> impl Strategy<Value = Vec<Listed>> {
        let node = (ips(), any::<u16>(), any::<bool>());
        let node = node.prop_map(|(ip, port, newer)| Listed { addr: SocketAddr::new(ip, port), newer });
        proptest::collection::vec(node, 0..=MAX_NODES)
    }

    fn replies() -> impl Strategy<Value = Reply> {
        prop_oneof![
            features().prop_map(Reply::Hello),
            (ips(), 1..=u16::MAX).prop_map(|(ip, port)| Reply::Seen(SocketAddr::new(ip, port))),
            tokens().prop_map(Reply::Pong),
            any::<u16>().prop_map(|port| Reply::Listed { port }),
            Just(Reply::Full),
            nodes().prop_map(Reply::Nodes),
            (1..=u16::MAX).prop_map(|port| Reply::Remote { port }),
            Just(Reply::PredictionSet),
            (ips(), port_lists()).prop_map(|(ip, ports)| Reply::Challenge { ip, ports }),
            Just(Reply::Reconnect),
            (ips(), port_lists(), any::<u64>()).prop_map(|(ip, ports, ntp)| Reply::Fight {
                ip,
                ports,
                ntp: Ntp(ntp)
            }),
        ]
    }

    /// Words of the protocol in any order: nearer to the edges than random bytes get.
    fn near_misses() -> impl Strategy<Value = Vec<u8>> {
        let words = "(NODES|EMPTY|p:1\\.2\\.3\\.4:5|p\\+:\\[::1\\]:|BOOTSTRAP|FIGHT|ACCEPT|TCP|1\\.2\\.3\\.4|\\[|[0-9]{1,22}|1\\.|\\.5|HELLO|p2poll|PING|SEEN|READY|PASSIVE|SOURCE| |\r)";
        proptest::collection::vec(words.prop_map(String::into_bytes), 0..12)
            .prop_map(|words| words.join(&b' '))
    }

    proptest! {
        #[test]
        fn a_request_survives_the_wire(request in requests()) {
            let text = written(|out| request.write(out));
            prop_assert_eq!(Request::parse(text.strip_suffix("\r\n").unwrap().as_bytes()), Some(request));
        }

        #[test]
        fn a_reply_survives_the_wire(reply in replies()) {
            let text = written(|out| reply.write(out));
            prop_assert_eq!(Reply::parse(text.strip_suffix("\r\n").unwrap().as_bytes()), Some(reply));
        }

        #[test]
        fn no_bytes_make_a_parser_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Request::parse(&line), Reply::parse(&line), Reply::knows_verb(&line));
        }

        #[test]
        fn nearly_right_lines_do_not_either(line in near_misses()) {
            let _ = (Request::parse(&line), Reply::parse(&line), Reply::knows_verb(&line));
        }
    }
}
