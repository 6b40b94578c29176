//! A router in this process, for what the kernel's translation does not do: allocation in steps, one random port
//! for many destinations, full cones and hairpins.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Debug, Formatter};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::frame::{self, HEADER, Mac, Packet, mac};
use super::segment::{Plug, Segment};
use super::{Filter, Nat};

/// Ports below are never given out.
const LOWEST: u16 = 1024;
/// Mappings at most; then new ones are refused. Nothing here lives long enough to forget any.
const CAPACITY: usize = 30_000;

/// Which way a router looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Towards the Internet.
    Wan,
    /// Towards the hosts of the house.
    Lan,
}

/// One house's router.
pub(crate) struct Translator {
    nat: Nat,
    filter: Filter,
    wan: Uplink,
    lan: Ipv4Addr,
    plugs: OnceLock<(Plug, Plug)>,
    table: Mutex<Table>,
}

/// How the router is connected to the Internet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uplink {
    /// Its address there.
    pub(crate) address: Ipv4Addr,
    /// Where its link ends, and who takes what goes further.
    pub(crate) network: (Ipv4Addr, u8),
    /// See `network`.
    pub(crate) gateway: Option<Ipv4Addr>,
}

impl Translator {
    /// Not yet connected to anything.
    pub(crate) fn new(nat: Nat, filter: Filter, wan: Uplink, lan: Ipv4Addr) -> Translator {
        // Two routers should not give out the same ports, and one should do so in every run.
        let dice = u64::from(u32::from(wan.address)) << 16;
        let table = Table { dice, ..Table::default() };
        Translator { nat, filter, wan, lan, plugs: OnceLock::new(), table: Mutex::new(table) }
    }

    /// Once, before the first frame.
    pub(crate) fn connect(&self, wan: Plug, lan: Plug) {
        assert!(self.plugs.set((wan, lan)).is_ok(), "a router is connected once");
    }

    /// From now on hosts of the house reach each other through the outer address.
    pub(crate) fn hairpin(&self) {
        self.change(|table| table.hairpin = true);
    }

    /// From now on a port that is mapped is open to everybody.
    pub(crate) fn full_cone(&self) {
        self.change(|table| table.full_cone = true);
    }

    /// What comes in for `port` goes to a host, whoever sent it.
    pub(crate) fn forward(&self, port: u16, to: SocketAddrV4) {
        self.change(|table| {
            for protocol in [frame::TCP, frame::UDP] {
                table.ports.insert(Key { protocol, inside: to, outside: None }, port);
                let mapping = Mapping { inside: to, permitted: HashSet::new(), forwarded: true };
                table.mappings.insert((protocol, port), mapping);
            }
        });
    }

    /// Forgets every mapping, as a router that was switched off and on.
    pub(crate) fn restart(&self) {
        self.change(|table| {
            table.mappings.retain(|_, mapping| mapping.forwarded);
            let Table { ports, mappings, .. } = table;
            ports.retain(|key, port| mappings.contains_key(&(key.protocol, *port)));
        });
    }

    /// A frame that arrived on one side.
    pub(crate) fn handle(&self, side: Side, frame: &[u8]) {
        let owned = self.address(side);
        if let Some(answer) = frame::arp_answer(frame, owned) {
            return self.send(side, answer);
        }
        if frame::destination(frame) != Some(mac(owned)) || frame.len() < HEADER {
            return;
        }
        let Some(mut packet) = Packet::of(frame) else { return };
        if !packet.hop() {
            return;
        }
        match side {
            Side::Lan if *packet.destination().ip() == self.lan => self.refuse(&packet, Side::Lan),
            Side::Lan => self.outbound(packet),
            Side::Wan => self.inbound(packet),
        }
    }

    fn outbound(&self, mut packet: Packet) {
        let Some(port) = self.change(|table| table.map(self.nat, &packet)) else { return };
        let to_ourselves = *packet.destination().ip() == self.wan.address;
        if to_ourselves && !self.change(|table| table.hairpin) {
            return self.refuse(&packet, Side::Lan);
        }
        packet.set_source(SocketAddrV4::new(self.wan.address, port));
        if to_ourselves { self.inbound(packet) } else { self.dispatch(Side::Wan, &packet) }
    }

    fn inbound(&self, mut packet: Packet) {
        if *packet.destination().ip() != self.wan.address {
            return;
        }
        match self.change(|table| table.admit(&packet)) {
            Some(inside) => {
                packet.set_destination(inside);
                self.dispatch(Side::Lan, &packet);
            }
            // From ourselves: a hairpin, whose refusal has to be translated back.
            None if *packet.source().ip() == self.wan.address => {
                if let (Some(reset), true) = (packet.reset(), self.filter != Filter::Drop) {
                    self.inbound(reset);
                }
            }
            None => self.refuse(&packet, Side::Wan),
        }
    }

    fn refuse(&self, packet: &Packet, side: Side) {
        if side == Side::Wan && self.filter == Filter::Drop {
            return;
        }
        if let Some(reset) = packet.reset() {
            self.dispatch(side, &reset);
        }
    }

    fn dispatch(&self, side: Side, packet: &Packet) {
        let destination = *packet.destination().ip();
        let next = if side == Side::Wan { self.wan.next_hop(destination) } else { mac(destination) };
        self.send(side, packet.framed(mac(self.address(side)), next));
    }

    fn send(&self, side: Side, frame: Vec<u8>) {
        if let Some((wan, lan)) = self.plugs.get() {
            if side == Side::Wan { wan.send(frame) } else { lan.send(frame) }
        }
    }

    fn address(&self, side: Side) -> Ipv4Addr {
        if side == Side::Wan { self.wan.address } else { self.lan }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        change(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Debug for Translator {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Translator({})", self.wan.address)
    }
}

impl Uplink {
    /// As a station of this segment.
    pub(crate) fn new(address: Ipv4Addr, segment: &Segment, gateway: Option<Ipv4Addr>) -> Uplink {
        Uplink { address, network: (segment.address(0), segment.prefix()), gateway }
    }

    fn next_hop(&self, destination: Ipv4Addr) -> Mac {
        let (network, prefix) = self.network;
        let near = (u32::from(network) ^ u32::from(destination)).leading_zeros() >= u32::from(prefix);
        mac(self.gateway.filter(|_| !near).unwrap_or(destination))
    }
}

#[derive(Default)]
struct Table {
    ports: HashMap<Key, u16>,
    mappings: HashMap<(u8, u16), Mapping>,
    last: Option<u16>,
    dice: u64,
    hairpin: bool,
    full_cone: bool,
}

/// What a mapping is for: a port of a host, towards one destination or all.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    protocol: u8,
    inside: SocketAddrV4,
    outside: Option<SocketAddrV4>,
}

struct Mapping {
    inside: SocketAddrV4,
    /// Whom the host has sent to from here: only they may answer.
    permitted: HashSet<SocketAddrV4>,
    forwarded: bool,
}

impl Table {
    /// The outer port for a packet from inside, and leave for its receiver to answer.
    fn map(&mut self, nat: Nat, packet: &Packet) -> Option<u16> {
        let protocol = packet.protocol();
        let for_all = Key { protocol, inside: packet.source(), outside: None };
        let outside = match nat {
            Nat::Reuse | Nat::ReuseDelta(_) => None,
            Nat::PerAddress => Some(SocketAddrV4::new(*packet.destination().ip(), 0)),
            Nat::Delta(_) | Nat::Random | Nat::Preserving => Some(packet.destination()),
        };
        let key = Key { outside, ..for_all };
        let port = match self.ports.get(&for_all).or_else(|| self.ports.get(&key)) {
            Some(port) => *port,
            None => {
                let port = self.allocate(nat, protocol)?;
                self.ports.insert(key, port);
                port
            }
        };
        let inside = packet.source();
        let new = || Mapping { inside, permitted: HashSet::new(), forwarded: false };
        let mapping = self.mappings.entry((protocol, port)).or_insert_with(new);
        mapping.permitted.insert(permission(packet.destination(), protocol));
        Some(port)
    }

    fn admit(&self, packet: &Packet) -> Option<SocketAddrV4> {
        let mapping = self.mappings.get(&(packet.protocol(), packet.destination().port()))?;
        let welcome = mapping.permitted.contains(&permission(packet.source(), packet.protocol()));
        (mapping.forwarded || self.full_cone || welcome).then_some(mapping.inside)
    }

    fn allocate(&mut self, nat: Nat, protocol: u8) -> Option<u16> {
        if self.mappings.len() >= CAPACITY {
            return None;
        }
        // A step that divides the range comes back to where it was; then the router is full.
        for _ in 0..=u16::MAX {
            let port = match (nat, self.last) {
                (Nat::Delta(step) | Nat::ReuseDelta(step), Some(last)) => last.wrapping_add(step),
                _ => self.throw(),
            };
            self.last = Some(port);
            if port >= LOWEST && !self.mappings.contains_key(&(protocol, port)) {
                return Some(port);
            }
        }
        None
    }

    fn throw(&mut self) -> u16 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 48) as u16
    }
}

/// An echo has only one number, which is the sender's.
fn permission(end: SocketAddrV4, protocol: u8) -> SocketAddrV4 {
    if protocol == frame::ICMP { SocketAddrV4::new(*end.ip(), 0) } else { end }
}
