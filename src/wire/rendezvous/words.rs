//! The words of a line.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::{
    Features, Incarnation, Incoming, Listed, MAX_NODES, MAX_OBSERVERS, MAX_PORTS, MAX_TOKEN, NONCE, Observer,
    Outgoing, Ports, SignalText, Token,
};
use crate::identity::{NodeId, PublicKey, Signature};
use crate::wire::proof::{Proof, ProofRole, SignedTicket, Ticket};
use crate::wire::relay::RelayLimits;

/// The words of a line, and what a word can mean.
pub(super) struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a [u8]) -> Self {
        // A lone CR before the LF belongs to the line end, whoever cut the line.
        Self(line.strip_suffix(b"\r").unwrap_or(line))
    }

    pub(super) fn expect(&mut self, word: &str) -> Option<()> {
        (self.next()? == word.as_bytes()).then_some(())
    }

    pub(super) fn end(mut self) -> Option<()> {
        self.next().is_none().then_some(())
    }

    pub(super) fn how_many(&mut self) -> Option<u8> {
        let count = number(self.next()?)?;
        (1..=MAX_NODES as u64).contains(&count).then_some(count as u8)
    }

    pub(super) fn port_or_zero(&mut self) -> Option<u16> {
        u16::try_from(number(self.next()?)?).ok()
    }

    pub(super) fn port(&mut self) -> Option<u16> {
        self.port_or_zero().filter(|&port| port != 0)
    }

    pub(super) fn optional_port(&mut self) -> Option<Option<u16>> {
        if self.peek().is_none() {
            return Some(None);
        }
        self.port_or_zero().map(Some)
    }

    /// A number of which only "many" matters above a point.
    pub(super) fn saturating(&mut self) -> Option<u32> {
        let word = self.next()?;
        let digits = word.iter().all(u8::is_ascii_digit);
        digits.then(|| number(word).and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX))
    }

    pub(super) fn ip(&mut self) -> Option<IpAddr> {
        parse_ip(self.next()?)
    }

    pub(super) fn ports(&mut self) -> Option<Ports> {
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
    pub(super) fn meeting(&mut self) -> Option<(IpAddr, Ports)> {
        let ip = self.ip()?;
        let ports = self.ports()?;
        self.expect("TCP")?;
        Some((ip, ports))
    }

    /// `p2poll VERSION feature ...`, and among those `nonce=NONCE`.
    pub(super) fn hello(&mut self) -> Option<(Features, Option<Token>)> {
        self.expect("p2poll")?;
        (number(self.next()?)? >= 1).then_some(())?;
        let (mut features, mut nonce) = (Features::NONE, None);
        for word in self.by_ref() {
            match word.strip_prefix(NONCE.as_bytes()) {
                Some(word) => nonce = hex_token(word),
                None => features.0 |= Features::named(word).0,
            }
        }
        Some((features, nonce))
    }

    pub(super) fn nodes(&mut self) -> Option<Vec<Listed>> {
        let mut nodes = Vec::new();
        if self.peek()? == b"EMPTY" {
            self.next();
            return Some(nodes);
        }
        // pyp2p's server lists whatever port it was told, 0 and 70000 too; such an entry does not spoil the others.
        for word in self.by_ref() {
            let node = listed(word)?;
            nodes.extend(node.filter(|_| nodes.len() < MAX_NODES));
        }
        Some(nodes)
    }

    pub(super) fn nonce(&mut self) -> Option<Token> {
        Token::new(self.next()?).filter(Token::is_nonce)
    }

    /// 32 hexadecimal digits, as they are.
    pub(super) fn key_token(&mut self) -> Option<Token> {
        hex_token(self.next()?)
    }

    pub(super) fn hex<const N: usize>(&mut self) -> Option<[u8; N]> {
        bytes_of_hex(self.next()?)
    }

    /// `ROLE PUBKEY NONCE SERVERADDR SIG [INCARNATION]`
    pub(super) fn proof(&mut self) -> Option<Proof> {
        Some(Proof {
            role: ProofRole::named(self.next()?)?,
            key: self.public_key()?,
            nonce: self.key_token()?,
            server: self.addr()?,
            signature: self.signature()?,
            incarnation: self.optional_incarnation()?,
        })
    }

    fn optional_incarnation(&mut self) -> Option<Option<Incarnation>> {
        match self.next() {
            None => Some(None),
            Some(word) => Incarnation::parse(word).map(Some),
        }
    }

    /// `SERVERADDR SESSION CALLERKEY CALLEEKEY CALLERSIG CALLEESIG`
    pub(super) fn ticket(&mut self) -> Option<SignedTicket> {
        let ticket = Ticket {
            server: self.addr()?,
            session: self.hex()?,
            caller: self.public_key()?,
            callee: self.public_key()?,
        };
        Some(SignedTicket {
            ticket,
            caller_signature: self.signature()?,
            callee_signature: self.signature()?,
        })
    }

    /// `TOID TOKEN|- SIG TEXT`
    pub(super) fn outgoing(&mut self) -> Option<Outgoing> {
        Some(Outgoing {
            to: NodeId::from_bytes(self.hex()?),
            observed: self.unless_absent(hex_token)?,
            signature: self.signature()?,
            text: SignalText::parse(self.next()?)?,
        })
    }

    /// `PUBKEY SEENADDR OBSERVEDADDR|- SIG TEXT`
    pub(super) fn incoming(&mut self) -> Option<Incoming> {
        Some(Incoming {
            from: self.public_key()?,
            seen: self.addr()?,
            observed: self.unless_absent(addr)?,
            signature: self.signature()?,
            text: SignalText::parse(self.next()?)?,
        })
    }

    /// `BYTES SECONDS RATE`
    pub(super) fn relay_limits(&mut self) -> Option<RelayLimits> {
        let (bytes, seconds) = (number(self.next()?)?, number(self.next()?)?);
        Some(RelayLimits { bytes, seconds, rate: number(self.next()?)? })
    }

    pub(super) fn addr(&mut self) -> Option<SocketAddr> {
        addr(self.next()?)
    }

    fn public_key(&mut self) -> Option<PublicKey> {
        PublicKey::from_bytes(&self.hex()?)
    }

    fn signature(&mut self) -> Option<Signature> {
        STANDARD_NO_PAD.decode(self.next()?).ok()?.try_into().ok()
    }

    /// `-` stands for nothing.
    fn unless_absent<T>(&mut self, read: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
        match self.next()? {
            b"-" => Some(None),
            word => read(word).map(Some),
        }
    }

    pub(super) fn observers(&mut self) -> Option<Vec<Observer>> {
        if self.peek()? == b"NONE" {
            self.next();
            return Some(Vec::new());
        }
        let mut observers = Vec::new();
        for word in self.by_ref() {
            let observer = observer(word)?;
            observers.extend((observers.len() < MAX_OBSERVERS).then_some(observer));
        }
        Some(observers)
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

/// `p:IP:PORT`, `p+:IP:PORT`, `p:[IPV6]:PORT`. `None` for something else, `Some(None)` where nobody can be.
fn listed(word: &[u8]) -> Option<Option<Listed>> {
    let (newer, rest) = match word.strip_prefix(b"p+:") {
        Some(rest) => (true, rest),
        None => (false, word.strip_prefix(b"p:")?),
    };
    let colon = rest.iter().rposition(|&byte| byte == b':')?;
    let (ip, port) = (parse_ip(&rest[..colon])?, number(&rest[colon + 1..])?);
    let port = u16::try_from(port).ok().filter(|&port| port != 0);
    Some(port.map(|port| Listed { addr: SocketAddr::new(ip, port), newer }))
}

fn hex_token(word: &[u8]) -> Option<Token> {
    Token::new(word)
        .filter(|token| word.len() == MAX_TOKEN && token.as_bytes().iter().all(u8::is_ascii_hexdigit))
}

/// 16 digits.
pub(super) fn number_of_hex(word: &[u8]) -> Option<u64> {
    bytes_of_hex(word).map(u64::from_be_bytes)
}

/// Two digits for each byte, and as many bytes as there are to be.
fn bytes_of_hex<const N: usize>(word: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = [0; N];
    (word.len() == 2 * N).then_some(())?;
    for (byte, pair) in bytes.iter_mut().zip(word.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        // Two digits make a byte.
        *byte = (digit(high)? << 4 | digit(low)?) as u8;
    }
    Some(bytes)
}

/// `IP:PORT`, `[IPV6]:PORT`.
fn addr(word: &[u8]) -> Option<SocketAddr> {
    let Observer { ip, port } = observer(word)?;
    Some(SocketAddr::new(ip?, port))
}

/// `IP:PORT`, `[IPV6]:PORT`, `:PORT`.
fn observer(word: &[u8]) -> Option<Observer> {
    let colon = word.iter().rposition(|&byte| byte == b':')?;
    let (ip, port) = (&word[..colon], number(&word[colon + 1..])?);
    let port = u16::try_from(port).ok().filter(|&port| port != 0)?;
    let ip = if ip.is_empty() { None } else { Some(parse_ip(ip)?) };
    Some(Observer { ip, port })
}

fn parse_ip(word: &[u8]) -> Option<IpAddr> {
    let bare = word.strip_prefix(b"[").and_then(|word| word.strip_suffix(b"]")).unwrap_or(word);
    let ip: IpAddr = std::str::from_utf8(bare).ok()?.parse().ok()?;
    Some(ip.to_canonical())
}

/// Decimal digits and nothing else; `str::parse` would take a sign too.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u64, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}
