//! Version 3: fields with a type and a length, signed, in Base64 of the URL's alphabet without padding, behind `unl3_`.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | how many bytes there are in all, from here to the end, big-endian: tells what is cut off from what is altered |
//! | 32 | the public key (RFC 8032) |
//! | .. | fields, in ascending order of their types |
//! | 64 | Ed25519 signature over `p2poll unl 3`, a zero byte, and all bytes before |
//! | 4 | first bytes of the SHA-256 of all bytes before: tells what is mistyped from what is forged |
//!
//! A field is one byte of type, one of length, and so many bytes:
//!
//! | type | contents | how often |
//! |---|---|---|
//! | 1 | node type: `p` passive, `a` active, `s` simultaneous | once |
//! | 2 | NAT kind: `g` preserving, `e` reuse, `m` random; or `d` and the delta in 4 bytes, big-endian, two's complement, never 0. Unknown: no such field | at most once |
//! | 3 | forwarding: `f` by hand, `U` UPnP, `N` NAT-PMP. None: no such field | at most once |
//! | 4 | address: `w` of the outside or `l` of the inside, port in 2 bytes, big-endian, IP address in 4 or 16 bytes; the one to be tried first comes first | at most 8 |
//! | 5 | rendezvous server: `HOST:PORT`; the preferred one comes first | at most 4 |
//! | others up to 127 | later versions' fields, which may be skipped | |
//! | others from 128 on | later versions' fields without which the rest must not be used | |
//!
//! One value has one text: nothing may be written in two ways, or in another order.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::{Fields, Forwarding, Place, Unl, UnlAddress, UnlError, letters, server};
use crate::identity::{Key, PublicKey, SIGNATURE_LENGTH};
use crate::reach::{NatKind, NodeType};

/// The longest one in bytes. The most addresses, all of IPv6, take 168 of them, key, signature and the rest 115, which
/// leaves 57 for each of four servers.
const LONGEST: usize = 512;
const PREFIX: &str = "unl3_";
pub(super) const LONGEST_TEXT: usize = PREFIX.len() + text_length(LONGEST);

const LENGTH: usize = 2;
const CHECKSUM: usize = 4;
const HEAD: usize = LENGTH + PublicKey::LENGTH;
const TAIL: usize = SIGNATURE_LENGTH + CHECKSUM;

const CONTEXT: &str = "p2poll unl 3";

const NODE_TYPE: u8 = 1;
const NAT: u8 = 2;
const FORWARDING: u8 = 3;
const ADDRESS: u8 = 4;
const SERVER: u8 = 5;
/// Set in the types of fields that must not be skipped.
const MUST_BE_KNOWN: u8 = 0x80;

/// The number in `unl` NUMBER `_` with which a text begins.
pub(super) fn version_of(text: &str) -> Option<u32> {
    let rest = text.strip_prefix("unl")?;
    let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit())?];
    let canonical = rest[digits.len()..].starts_with('_') && !digits.starts_with('0');
    digits.parse().ok().filter(|_| canonical)
}

pub(super) fn parse(text: &str) -> Result<Fields, UnlError> {
    let body = text.strip_prefix(PREFIX).ok_or(UnlError::Foreign)?;
    let bytes = decode(body)?;
    let (signed, signature) = split_tail(&bytes).ok_or(UnlError::Altered)?;
    let (key, fields) = signed[LENGTH..].split_first_chunk().ok_or(UnlError::Altered)?;
    let key = PublicKey::from_bytes(key).ok_or(UnlError::field("key", "it is none"))?;
    if !key.has_signed(CONTEXT, signed, signature) {
        return Err(UnlError::BadSignature);
    }
    read(key, fields)
}

pub(crate) fn print(bytes: &[u8]) -> String {
    let mut text = PREFIX.to_owned();
    URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
    text
}

pub(super) fn write(contents: &Fields, key: &Key) -> Result<Vec<u8>, UnlError> {
    at_most(Unl::MAX_ADDRESSES, contents.addresses.len(), TOO_MANY_ADDRESSES)?;
    at_most(Unl::MAX_SERVERS, contents.servers.len(), TOO_MANY_SERVERS)?;
    let mut fields = Vec::new();
    put(&mut fields, NODE_TYPE, &[letters::of_node_type(contents.node_type)])?;
    if let Some(nat) = contents.nat {
        put(&mut fields, NAT, &write_nat(nat)?)?;
    }
    match letters::of_forwarding(contents.forwarding) {
        b'm' => {}
        letter => put(&mut fields, FORWARDING, &[letter])?,
    }
    for address in &contents.addresses {
        put(&mut fields, ADDRESS, &write_address(address))?;
    }
    for server in &contents.servers {
        put(&mut fields, SERVER, server.as_bytes())?;
    }
    seal(key, &fields).ok_or(UnlError::TooLong)
}

/// Adds what is before and after the fields; `None` when that is too long.
pub(crate) fn seal(key: &Key, fields: &[u8]) -> Option<Vec<u8>> {
    let length =
        u16::try_from(HEAD + fields.len() + TAIL).ok().filter(|&length| usize::from(length) <= LONGEST)?;
    let mut bytes = [&length.to_be_bytes()[..], key.public().as_bytes(), fields].concat();
    bytes.extend(key.sign(CONTEXT, &bytes));
    bytes.extend(checksum(&bytes));
    Some(bytes)
}

/// The characters that so many bytes take.
const fn text_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// The bytes, as many as they say that they are.
fn decode(body: &str) -> Result<Vec<u8>, UnlError> {
    if let Some(bad) = body.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
        return Err(UnlError::BadCharacter(bad));
    }
    // Four characters are three bytes, with the length in the first two.
    let begin =
        body.get(..4).and_then(|begin| URL_SAFE_NO_PAD.decode(begin).ok()).ok_or(UnlError::Truncated)?;
    let length = usize::from(u16::from_be_bytes([begin[0], begin[1]]));
    if !(HEAD + TAIL..=LONGEST).contains(&length) {
        return Err(UnlError::Altered);
    }
    match text_length(length) {
        expected if body.len() < expected => Err(UnlError::Truncated),
        expected if body.len() > expected => Err(UnlError::TooLong),
        // Bits that belong to no byte have to be zero.
        _ => URL_SAFE_NO_PAD.decode(body).map_err(|_| UnlError::Altered),
    }
}

/// What is signed, and the signature, when the checksum fits.
fn split_tail(bytes: &[u8]) -> Option<(&[u8], &[u8; SIGNATURE_LENGTH])> {
    let (checked, sum) = bytes.split_last_chunk::<CHECKSUM>()?;
    if checksum(checked) != *sum {
        return None;
    }
    checked.split_last_chunk()
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(bytes).into();
    [a, b, c, d]
}

const TOO_MANY_ADDRESSES: UnlError = UnlError::field("addresses", "there are too many");
const TOO_MANY_SERVERS: UnlError = UnlError::field("rendezvous servers", "there are too many");

fn at_most(limit: usize, count: usize, error: UnlError) -> Result<(), UnlError> {
    if count > limit { Err(error) } else { Ok(()) }
}

fn put(fields: &mut Vec<u8>, kind: u8, contents: &[u8]) -> Result<(), UnlError> {
    let length = u8::try_from(contents.len()).map_err(|_| UnlError::TooLong)?;
    fields.extend([kind, length]);
    fields.extend(contents);
    Ok(())
}

fn read(key: PublicKey, mut rest: &[u8]) -> Result<Fields, UnlError> {
    let mut contents = Contents::default();
    let mut last = 0;
    while !rest.is_empty() {
        let (kind, field, behind) =
            split_field(rest).ok_or(UnlError::field("end", "a field goes beyond it"))?;
        if kind < last {
            return Err(UnlError::field("order", "a field comes too late"));
        }
        contents.read_field(kind, field)?;
        (last, rest) = (kind, behind);
    }
    contents.into_fields(key)
}

fn split_field(rest: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, length], rest) = rest.split_first_chunk()?;
    let (field, rest) = rest.split_at_checked(length.into())?;
    Some((kind, field, rest))
}

/// What has been read so far.
#[derive(Default)]
struct Contents {
    node_type: Option<NodeType>,
    nat: Option<NatKind>,
    forwarding: Option<Forwarding>,
    addresses: Vec<UnlAddress>,
    servers: Vec<String>,
    skipped: usize,
}

impl Contents {
    fn read_field(&mut self, kind: u8, field: &[u8]) -> Result<(), UnlError> {
        match kind {
            NODE_TYPE => once(&mut self.node_type, read_node_type(field), "node type"),
            NAT => once(&mut self.nat, read_nat(field), "NAT kind"),
            FORWARDING => once(&mut self.forwarding, read_forwarding(field), "forwarding"),
            ADDRESS => {
                self.addresses.push(read_address(field).ok_or(UnlError::field("address", "it is none"))?);
                at_most(Unl::MAX_ADDRESSES, self.addresses.len(), TOO_MANY_ADDRESSES)
            }
            SERVER => {
                self.servers.push(read_server(field)?);
                at_most(Unl::MAX_SERVERS, self.servers.len(), TOO_MANY_SERVERS)
            }
            _ if kind & MUST_BE_KNOWN != 0 => Err(UnlError::UnknownField(kind)),
            _ => {
                self.skipped += 1;
                Ok(())
            }
        }
    }

    fn into_fields(self, key: PublicKey) -> Result<Fields, UnlError> {
        Ok(Fields {
            version: 3,
            key: Some(key),
            claimed_id: None,
            node_type: self.node_type.ok_or(UnlError::field("node type", "it is missing"))?,
            nat: self.nat,
            forwarding: self.forwarding.unwrap_or_default(),
            addresses: self.addresses,
            servers: self.servers,
            skipped: self.skipped,
        })
    }
}

/// Takes what was read, unless there was nothing to understand, or it has been said before.
fn once<T>(place: &mut Option<T>, value: Option<T>, field: &'static str) -> Result<(), UnlError> {
    let value = value.ok_or(UnlError::field(field, "there is no such kind"))?;
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(UnlError::field(field, "it is said twice")),
    }
}

fn read_node_type(field: &[u8]) -> Option<NodeType> {
    let &[letter] = field else { return None };
    letters::node_type(letter)
}

fn read_forwarding(field: &[u8]) -> Option<Forwarding> {
    let &[letter] = field else { return None };
    // None is said by saying nothing.
    letters::forwarding(letter).filter(|&forwarding| forwarding != Forwarding::None)
}

fn write_nat(nat: NatKind) -> Result<Vec<u8>, UnlError> {
    match nat {
        NatKind::Preserving => Ok(vec![b'g']),
        NatKind::Reuse => Ok(vec![b'e']),
        NatKind::Random => Ok(vec![b'm']),
        NatKind::Delta { step: 0 } => Err(UnlError::field("NAT kind", "a delta is never 0")),
        NatKind::Delta { step } => Ok([&b"d"[..], &step.to_be_bytes()].concat()),
    }
}

fn read_nat(field: &[u8]) -> Option<NatKind> {
    match *field {
        [b'g'] => Some(NatKind::Preserving),
        [b'e'] => Some(NatKind::Reuse),
        [b'm'] => Some(NatKind::Random),
        [b'd', a, b, c, d] => match i32::from_be_bytes([a, b, c, d]) {
            0 => None,
            step => Some(NatKind::Delta { step }),
        },
        _ => None,
    }
}

fn write_address(address: &UnlAddress) -> Vec<u8> {
    let place = match address.place {
        Place::Wan => b'w',
        Place::Lan => b'l',
    };
    let [high, low] = address.addr.port().to_be_bytes();
    let mut field = vec![place, high, low];
    match address.addr.ip() {
        IpAddr::V4(ip) => field.extend(ip.octets()),
        IpAddr::V6(ip) => field.extend(ip.octets()),
    }
    field
}

fn read_address(field: &[u8]) -> Option<UnlAddress> {
    let (&[place, high, low], ip) = field.split_first_chunk()?;
    let place = match place {
        b'w' => Place::Wan,
        b'l' => Place::Lan,
        _ => return None,
    };
    let ip = read_ip(ip)?;
    Some(UnlAddress::new(place, SocketAddr::new(ip, u16::from_be_bytes([high, low]))))
}

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(octets.into());
    }
    let ip = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
    // One of IPv4 in the clothes of IPv6 would be a second way to say it.
    ip.to_ipv4_mapped().is_none().then_some(IpAddr::V6(ip))
}

fn read_server(field: &[u8]) -> Result<String, UnlError> {
    const BAD: UnlError =
        UnlError::field("rendezvous server", "it is not written as HOST:PORT in the usual way");
    let text = str::from_utf8(field).map_err(|_| BAD)?;
    let normal = server::normal(text)?;
    if normal == text { Ok(normal) } else { Err(BAD) }
}
