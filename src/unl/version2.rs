//! Version 2, pyp2p's: 38 bytes, little-endian, in Base64 of the standard alphabet, padded. WIRE.md has the table.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::{Fields, Forwarding, Place, UnlAddress, UnlError, letters};
use crate::identity::NodeId;
use crate::reach::{NatKind, NodeType};

/// The fields without the checksum.
pub(crate) const UNSEALED: usize = 34;
const CHECKSUM: usize = 4;
const LENGTH: usize = UNSEALED + CHECKSUM;
/// Four characters for each three bytes, the last ones padded.
const TEXT: usize = LENGTH.div_ceil(3) * 4;

const VERSION: u8 = 2;

/// What it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contents {
    pub(super) id: [u8; NodeId::LENGTH],
    pub(super) node_type: NodeType,
    pub(super) nat: Option<NatKind>,
    pub(super) forwarding: Forwarding,
    pub(super) port: u16,
    pub(super) wan: Ipv4Addr,
    pub(super) lan: Ipv4Addr,
}

impl Contents {
    /// The same as who reads it understands it.
    pub(super) fn into_fields(self) -> Fields {
        let address = |place, ip| UnlAddress::new(place, SocketAddr::new(IpAddr::V4(ip), self.port));
        Fields {
            version: VERSION,
            key: None,
            // All zeros: none.
            claimed_id: self.id.iter().any(|&byte| byte != 0).then_some(NodeId::from_bytes(self.id)),
            node_type: self.node_type,
            nat: nat(letter_of_nat(self.nat)),
            forwarding: self.forwarding,
            addresses: vec![address(Place::Wan, self.wan), address(Place::Lan, self.lan)],
            servers: Vec::new(),
            skipped: 0,
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Fields, UnlError> {
    // The first byte is the version: 2 shows as an A and one of sixteen letters.
    if !matches!(text.as_bytes(), [b'A', b'g'..=b'v', ..]) {
        return Err(other_version(text).map_or(UnlError::Foreign, UnlError::UnknownVersion));
    }
    if let Some(bad) = text.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='))) {
        return Err(UnlError::BadCharacter(bad));
    }
    match text.len() {
        TEXT => read(&open(text).ok_or(UnlError::Altered)?).map(Contents::into_fields),
        len if len < TEXT => Err(UnlError::Truncated),
        _ => Err(UnlError::TooLong),
    }
}

pub(crate) fn print(bytes: &[u8; LENGTH]) -> String {
    STANDARD.encode(bytes)
}

/// Adds the checksum.
pub(crate) fn seal(contents: &[u8; UNSEALED]) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..UNSEALED].copy_from_slice(contents);
    bytes[UNSEALED..].copy_from_slice(&checksum(contents));
    bytes
}

pub(super) fn write(contents: &Contents) -> [u8; UNSEALED] {
    let mut bytes = [0; UNSEALED];
    bytes[0] = VERSION;
    bytes[1..21].copy_from_slice(&contents.id);
    bytes[21] = letters::of_node_type(contents.node_type);
    bytes[22] = letter_of_nat(contents.nat);
    bytes[23] = letters::of_forwarding(contents.forwarding);
    bytes[24..26].copy_from_slice(&contents.port.to_le_bytes());
    bytes[26..30].copy_from_slice(&reversed(contents.wan.octets()));
    bytes[30..34].copy_from_slice(&reversed(contents.lan.octets()));
    bytes
}

fn read(bytes: &[u8; UNSEALED]) -> Result<Contents, UnlError> {
    const UNKNOWN: &str = "there is no such letter";
    let (mut id, mut wan, mut lan) = ([0; NodeId::LENGTH], [0; 4], [0; 4]);
    id.copy_from_slice(&bytes[1..21]);
    wan.copy_from_slice(&bytes[26..30]);
    lan.copy_from_slice(&bytes[30..34]);
    Ok(Contents {
        id,
        node_type: letters::node_type(bytes[21]).ok_or(UnlError::field("node type", UNKNOWN))?,
        nat: Some(nat(bytes[22]).ok_or(UnlError::field("NAT kind", UNKNOWN))?),
        forwarding: letters::forwarding(bytes[23]).ok_or(UnlError::field("forwarding", UNKNOWN))?,
        port: u16::from_le_bytes([bytes[24], bytes[25]]),
        wan: reversed(wan).into(),
        lan: reversed(lan).into(),
    })
}

/// What the checksum confirms.
fn open(text: &str) -> Option<[u8; UNSEALED]> {
    // Padding and unused bits have to be as `print` writes them.
    let bytes: [u8; LENGTH] = STANDARD.decode(text).ok()?.try_into().ok()?;
    let contents: [u8; UNSEALED] = *bytes.first_chunk()?;
    (seal(&contents) == bytes).then_some(contents)
}

/// The first byte of something that has the same form.
fn other_version(text: &str) -> Option<u32> {
    (text.len() == TEXT).then(|| open(text)).flatten().map(|bytes| bytes[0].into())
}

fn checksum(contents: &[u8; UNSEALED]) -> [u8; CHECKSUM] {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(Sha256::digest(contents)).into();
    [a, b, c, d]
}

/// An address as a little-endian number.
fn reversed(octets: [u8; 4]) -> [u8; 4] {
    u32::from_be_bytes(octets).to_le_bytes()
}

/// pyp2p can read no other letters: what is unknown and what it has no word for is random to it.
fn letter_of_nat(nat: Option<NatKind>) -> u8 {
    match nat {
        Some(NatKind::Preserving) => b'g',
        Some(NatKind::Reuse) => b'e',
        Some(NatKind::Random | NatKind::Delta { .. }) | None => b'm',
    }
}

fn nat(letter: u8) -> Option<NatKind> {
    match letter {
        b'g' => Some(NatKind::Preserving),
        b'e' => Some(NatKind::Reuse),
        b'm' => Some(NatKind::Random),
        _ => None,
    }
}
