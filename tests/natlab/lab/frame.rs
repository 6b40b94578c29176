//! Just enough of Ethernet, ARP, IPv4, TCP, UDP and ICMP to translate addresses.

use std::net::{Ipv4Addr, SocketAddrV4};

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

/// Bytes before the payload of an Ethernet frame.
pub(crate) const HEADER: usize = 14;

/// The protocol numbers that are translated.
pub(crate) const ICMP: u8 = 1;
/// See [`ICMP`].
pub(crate) const TCP: u8 = 6;
/// See [`ICMP`].
pub(crate) const UDP: u8 = 17;

const IPV4_TYPE: [u8; 2] = [0x08, 0x00];
const ARP_TYPE: [u8; 2] = [0x08, 0x06];
const IPV6_TYPE: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Every interface's address on the link follows from its IP address, so a translator has nobody to ask.
pub(crate) fn mac(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x02, 0x00, a, b, c, d]
}

/// Where a frame goes on the link.
pub(crate) fn destination(frame: &[u8]) -> Option<Mac> {
    frame.get(..6)?.try_into().ok()
}

/// Where a frame comes from on the link.
pub(crate) fn source(frame: &[u8]) -> Option<Mac> {
    frame.get(6..12)?.try_into().ok()
}

/// Between which machines a frame of IPv4 travels: who sent it, and whom it is for.
pub(crate) fn ends(frame: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let packet = frame.get(HEADER..).filter(|_| frame[12..HEADER] == IPV4_TYPE)?;
    let address = |at: usize| {
        let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes))
    };
    Some((address(12)?, address(16)?))
}

/// Between which sockets it travels, if it is TCP.
pub(crate) fn sockets(frame: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let (from, to) = ends(frame)?;
    let packet = &frame[HEADER..];
    let tcp = packet.get(usize::from(packet[0] & 0xf) * 4..)?;
    let port = |at: usize| Some(u16::from_be_bytes([*tcp.get(at)?, *tcp.get(at + 1)?]));
    (packet[9] == TCP).then_some((SocketAddrV4::new(from, port(0)?), SocketAddrV4::new(to, port(2)?)))
}

/// The same, if it is the first packet of a TCP connection: SYN without ACK (RFC 9293 section 3.5).
pub(crate) fn opening(frame: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let ends = ends(frame)?;
    let packet = &frame[HEADER..];
    let flags = packet.get(usize::from(packet[0] & 0xf) * 4 + 13)?;
    (packet[9] == TCP && flags & (SYN | ACK) == SYN).then_some(ends)
}

/// Whether this is ARP, or neighbour discovery (RFC 4861), which takes its place in IPv6.
pub(crate) fn is_resolution(frame: &[u8]) -> bool {
    let discovery = || {
        let kind = frame.get(HEADER + 40)?;
        Some(frame[12..HEADER] == IPV6_TYPE && frame[HEADER + 6] == ICMPV6 && (133..=137).contains(kind))
    };
    is_arp(frame) || discovery() == Some(true)
}

fn is_arp(frame: &[u8]) -> bool {
    frame.get(12..HEADER) == Some(&ARP_TYPE)
}

/// The answer to a question for the link address of `owned`, if `frame` is one.
pub(crate) fn arp_answer(frame: &[u8], owned: Ipv4Addr) -> Option<Vec<u8>> {
    let question = frame.get(HEADER..HEADER + 28)?;
    let (operation, target) = (&question[6..8], &question[24..28]);
    if !is_arp(frame) || operation != [0, 1] || target != owned.octets() {
        return None;
    }
    let (asker, asker_address) = (&question[8..14], &question[14..18]);
    let mut answer = header(asker.try_into().ok()?, mac(owned), ARP_TYPE);
    answer.extend_from_slice(&question[..6]);
    answer.extend_from_slice(&[0, 2]);
    answer.extend_from_slice(&mac(owned));
    answer.extend_from_slice(&owned.octets());
    answer.extend_from_slice(asker);
    answer.extend_from_slice(asker_address);
    Some(answer)
}

/// An IPv4 packet that has ports (or an identifier that serves as one), in a buffer of its own.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    bytes: Vec<u8>,
    header: usize,
}

impl Packet {
    /// The packet in a frame, or `None`: another protocol, a fragment, cut short.
    pub(crate) fn of(frame: &[u8]) -> Option<Packet> {
        if frame.get(12..HEADER)? != IPV4_TYPE {
            return None;
        }
        let bytes = &frame[HEADER..];
        let header = usize::from(bytes.first()? & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
        let fragment = u16::from_be_bytes([*bytes.get(6)?, *bytes.get(7)?]) & 0x3fff;
        let packet = Packet { bytes: bytes.get(..total)?.to_vec(), header };
        let enough = match *packet.bytes.get(9)? {
            TCP => 20,
            UDP => 8,
            ICMP if matches!(bytes.get(header)?, 0 | 8) => 8,
            _ => return None,
        };
        (header >= 20 && fragment == 0 && total >= header + enough).then_some(packet)
    }

    /// TCP, UDP or ICMP.
    pub(crate) fn protocol(&self) -> u8 {
        self.bytes[9]
    }

    /// Who sent it.
    pub(crate) fn source(&self) -> SocketAddrV4 {
        self.end(12, self.source_port())
    }

    /// Whom it is for.
    pub(crate) fn destination(&self) -> SocketAddrV4 {
        self.end(16, self.destination_port())
    }

    /// Writes another sender into it.
    pub(crate) fn set_source(&mut self, end: SocketAddrV4) {
        self.rewrite(12, self.source_port(), end);
    }

    /// Writes another receiver into it.
    pub(crate) fn set_destination(&mut self, end: SocketAddrV4) {
        self.rewrite(16, self.destination_port(), end);
    }

    /// One hop further; `false` when that was the last one.
    pub(crate) fn hop(&mut self) -> bool {
        if self.bytes[8] <= 1 {
            return false;
        }
        let old = self.word(8);
        self.bytes[8] -= 1;
        self.correct(10, old, self.word(8));
        true
    }

    /// What a host answers that has nothing at that port (RFC 9293, section 3.10.7.1), if it is TCP and not such an
    /// answer itself.
    pub(crate) fn reset(&self) -> Option<Packet> {
        // A datagram may be shorter than what is read here.
        let tcp = Some(&self.bytes[self.header..]).filter(|_| self.protocol() == TCP)?;
        let flags = tcp[13];
        if flags & RST != 0 {
            return None;
        }
        let payload = tcp.len() - usize::from(tcp[12] >> 4) * 4;
        let length = payload as u32 + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let (sequence, acknowledged, answer) = if flags & ACK == 0 {
            let next = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]).wrapping_add(length);
            (0, next, RST | ACK)
        } else {
            (u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]), 0, RST)
        };

        let mut bytes = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP, 0, 0];
        bytes.extend_from_slice(&self.bytes[16..20]);
        bytes.extend_from_slice(&self.bytes[12..16]);
        bytes.extend_from_slice(&tcp[2..4]);
        bytes.extend_from_slice(&tcp[..2]);
        bytes.extend_from_slice(&u32::to_be_bytes(sequence));
        bytes.extend_from_slice(&u32::to_be_bytes(acknowledged));
        bytes.extend_from_slice(&[0x50, answer, 0, 0, 0, 0, 0, 0]);
        let header = checksum(0, &bytes[..20]);
        bytes[10..12].copy_from_slice(&header);
        let whole = checksum(u32::from(TCP) + 20 + sum(&bytes[12..20]), &bytes[20..]);
        bytes[36..38].copy_from_slice(&whole);
        Some(Packet { bytes, header: 20 })
    }

    /// In a frame between two stations.
    pub(crate) fn framed(&self, from: Mac, to: Mac) -> Vec<u8> {
        let mut frame = header(to, from, IPV4_TYPE);
        frame.extend_from_slice(&self.bytes);
        frame
    }

    fn end(&self, address: usize, port: usize) -> SocketAddrV4 {
        let [a, b] = self.word(address).to_be_bytes();
        let [c, d] = self.word(address + 2).to_be_bytes();
        SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), self.word(port))
    }

    fn source_port(&self) -> usize {
        // An echo has one number for both ends.
        self.header + if self.protocol() == ICMP { 4 } else { 0 }
    }

    fn destination_port(&self) -> usize {
        self.header + if self.protocol() == ICMP { 4 } else { 2 }
    }

    fn rewrite(&mut self, address: usize, port: usize, end: SocketAddrV4) {
        let [a, b, c, d] = end.ip().octets();
        let inner = match self.protocol() {
            TCP => self.header + 16,
            UDP => self.header + 6,
            _ => self.header + 2,
        };
        // Only TCP and UDP check the addresses too, and UDP may have no checksum at all.
        let addresses_checked = self.protocol() != ICMP;
        let checked = self.protocol() != UDP || self.word(inner) != 0;
        for (at, new) in [(address, u16::from_be_bytes([a, b])), (address + 2, u16::from_be_bytes([c, d]))] {
            let old = self.replace(at, new);
            self.correct(10, old, new);
            if checked && addresses_checked {
                self.correct(inner, old, new);
            }
        }
        let old = self.replace(port, end.port());
        if checked {
            self.correct(inner, old, end.port());
        }
    }

    fn replace(&mut self, at: usize, new: u16) -> u16 {
        let old = self.word(at);
        self.bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
        old
    }

    /// RFC 1624: a checksum after one of the words it covers has changed.
    fn correct(&mut self, at: usize, old: u16, new: u16) {
        let mut total = u32::from(!self.word(at)) + u32::from(!old) + u32::from(new);
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        self.replace(at, !(total as u16));
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }
}

fn header(to: Mac, from: Mac, kind: [u8; 2]) -> Vec<u8> {
    [&to[..], &from[..], &kind[..]].concat()
}

/// RFC 1071.
fn checksum(start: u32, bytes: &[u8]) -> [u8; 2] {
    let mut total = start + sum(bytes);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    (!(total as u16)).to_be_bytes()
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
}
