//! The rendezvous protocol: what clients ask and what servers answer, a line each.
//!
//! The old verbs are pyp2p's, word for word. The new ones (`HELLO`, `WHOAMI`, `PING`, `OBSERVERS`, `PROBE` and their
//! answers) are only sent to a side that showed that it knows them. Everything is words between spaces, so that it can be typed by hand:
//! several spaces count as one, and what ends the line (LF or CRLF) is taken off before it gets here.

#[cfg(test)]
mod tests;
mod words;

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::random::Random;
use words::{Words, number};

/// The most nodes that can be asked for, and that are taken from one answer (pyp2p's limit).
pub(crate) const MAX_NODES: usize = 100;

/// The most predicted ports in one line. pyp2p predicts 4; more than this is not a prediction but a port scan.
pub(crate) const MAX_PORTS: usize = 64;

/// The longest token of a `PING` or `PROBE`.
pub(crate) const MAX_TOKEN: usize = 32;

/// The shortest nonce of a `PROBE`: 16 hexadecimal digits can not be guessed in the half second that there is.
pub(crate) const MIN_NONCE: usize = 16;

/// The most places in an answer to `OBSERVERS`; two are enough to tell how a NAT behaves.
pub(crate) const MAX_OBSERVERS: usize = 8;

/// A line from a client to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// `HELLO p2poll 1 feature ...`: these extensions are known here.
    Hello(Features),
    /// `WHOAMI`: which address do I come from? Answered by [`Reply::Seen`].
    Whoami,
    /// `PING token`. Answered by [`Reply::Pong`].
    Ping(Token),
    /// `OBSERVERS`: where else does this server listen? Answered by [`Reply::Observers`].
    Observers,
    /// `PROBE PORT NONCE`: can this port of mine be reached? Answered by [`Reply::Probed`]; what is said on the probe's
    /// own connection is in [`probe`](crate::wire::probe).
    Probe { port: u16, nonce: Token },
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
    /// `OBSERVERS IP:PORT :PORT ...` or `OBSERVERS NONE`.
    Observers(Vec<Observer>),
    /// `PROBED PORT YES`, `PROBED PORT NO`, both a fixed time after the question and so perhaps behind answers to later
    /// ones; `PROBED PORT LATER` at once, as a rule.
    Probed { port: u16, verdict: Verdict },
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

/// Another place where the asked server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observer {
    /// `None`, on the wire nothing before the colon: the address at which the asker reached it. The server may know that
    /// one by another name, as many do that stand behind a one-to-one NAT.
    pub(crate) ip: Option<IpAddr>,
    /// Never 0.
    pub(crate) port: u16,
}

/// What came of a `PROBE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Who listens there knows the nonce.
    Yes,
    /// Nobody proved the nonce in time, for whatever reason: a server does not tell more.
    No,
    /// It was not tried: too many probes at the moment, or no means to.
    Later,
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
            b"OBSERVERS" => Self::Observers,
            b"PROBE" => Self::Probe { port: words.port()?, nonce: words.nonce()? },
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
            Self::Observers => put(out, format_args!("OBSERVERS")),
            Self::Probe { port, nonce } => put(out, format_args!("PROBE {port} {nonce}")),
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
            b"OBSERVERS" => Self::Observers(words.observers()?),
            b"PROBED" => Self::Probed { port: words.port()?, verdict: Verdict::named(words.next()?)? },
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
        const VERBS: [&[u8]; 13] = [
            b"NODES",
            b"HELLO",
            b"SEEN",
            b"PONG",
            b"OBSERVERS",
            b"PROBED",
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
            Self::Observers(observers) => put_observers(out, observers),
            Self::Probed { port, verdict } => put(out, format_args!("PROBED {port} {}", verdict.name())),
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

impl Verdict {
    const ALL: [Self; 3] = [Self::Yes, Self::No, Self::Later];

    const fn name(self) -> &'static str {
        match self {
            Self::Yes => "YES",
            Self::No => "NO",
            Self::Later => "LATER",
        }
    }

    fn named(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.name().as_bytes() == word)
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
    /// `OBSERVERS`, both ways.
    pub(crate) const OBSERVERS: Self = Self(1 << 4);
    /// `PROBE` and `PROBED`.
    pub(crate) const PROBE: Self = Self(1 << 5);
    /// All that this version knows.
    pub(crate) const ALL: Self = Self((1 << 6) - 1);

    const NAMES: [(Self, &str); 6] = [
        (Self::PEERS, "peers"),
        (Self::SEEN, "seen"),
        (Self::PING, "ping"),
        (Self::LISTED, "listed"),
        (Self::OBSERVERS, "observers"),
        (Self::PROBE, "probe"),
    ];

    pub(crate) const fn has(self, feature: Self) -> bool {
        self.0 & feature.0 == feature.0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

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

/// What a `PING` carries and its `PONG` returns, and the nonce of a `PROBE`: 1 to [`MAX_TOKEN`] printable ASCII characters.
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

    /// A nonce for a `PROBE`: 32 hexadecimal digits that nobody can guess.
    pub(crate) fn nonce(random: &mut Random) -> Self {
        let mut token = Self::from_number(random.next_u64());
        token.bytes.copy_within(..16, 16);
        token.bytes[..16].copy_from_slice(&Self::from_number(random.next_u64()).bytes[..16]);
        token.len = 32;
        token
    }

    /// Whether it is long enough for a `PROBE`.
    pub(crate) fn is_nonce(&self) -> bool {
        usize::from(self.len) >= MIN_NONCE
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn as_str(&self) -> &str {
        // Made of ASCII only, so the default never happens.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
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

fn put_observers(out: &mut Vec<u8>, observers: &[Observer]) {
    put(out, format_args!("OBSERVERS"));
    if observers.is_empty() {
        put(out, format_args!(" NONE"));
    }
    for Observer { ip, port } in observers {
        match ip {
            Some(ip) => put(out, format_args!(" {}:{port}", Ip(*ip))),
            None => put(out, format_args!(" :{port}")),
        }
    }
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
