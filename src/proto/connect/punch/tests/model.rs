//! Two punches against each other, through two NATs and a way that takes its time.
//!
//! Only what is around the machines is a model: NATs that open for who was written to, and TCP as far as it takes to
//! connect (RFC 9293 section 3.5, figure 7), with kernels that repeat a SYN every second.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::*;

pub(super) const ONE_WAY: Duration = Duration::from_millis(25);

const LOCAL_PORT: u16 = 30_000;

/// What a NAT does with a SYN that nobody inside asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Drop,
    /// It resets it, and what is reset to the inside is closed.
    Reject,
    /// It lets pass what is for a mapped port; the host resets what it has no socket for.
    Open,
}

#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) kind: Option<NatKind>,
    pub(super) filter: Filter,
    /// How many ports others take between the observation and the dials.
    pub(super) traffic: u16,
    pub(super) attested: bool,
    pub(super) config: PunchConfig,
    /// When it begins.
    pub(super) start: Duration,
}

impl Place {
    pub(super) fn new(kind: NatKind, filter: Filter) -> Self {
        Self {
            kind: Some(kind),
            filter,
            traffic: 0,
            attested: true,
            config: PunchConfig::default(),
            start: Duration::ZERO,
        }
    }
}

#[derive(Debug)]
pub(super) struct World {
    now: Instant,
    ends: [End; 2],
    /// In flight, by the time of arrival and in the order of sending.
    packets: BTreeMap<(Instant, u64), Packet>,
    last_number: u64,
}

impl World {
    pub(super) fn new(first: &Place, second: &Place, seed: u64) -> Self {
        let mut random = Random::from_number(seed);
        let nats = [Nat::new(1, first), Nat::new(2, second)];
        let side =
            |nat: &Nat, place: &Place| Side { seen: nat.seen, local_port: LOCAL_PORT, kind: place.kind };
        let sides = [side(&nats[0], first), side(&nats[1], second)];
        let mut end = |nat, ours: usize, place: &Place, part| {
            let (start, random) = (Instant::ZERO + place.start, random.fork());
            let (config, theirs) = (place.config.clone(), &sides[1 - ours]);
            let punch =
                Punch::new(config, &sides[ours], theirs, part, place.attested, start, random, Instant::ZERO);
            End { punch, nat, sockets: BTreeMap::new(), syns: 0 }
        };
        let [nat, other] = nats;
        let ends = [end(nat, 0, first, Part::First), end(other, 1, second, Part::Second)];
        Self { now: Instant::ZERO, ends, packets: BTreeMap::new(), last_number: 0 }
    }

    /// When both ends had the same connection, if ever.
    pub(super) fn meet(&mut self) -> Option<Duration> {
        while !self.have_met() {
            if !self.step() {
                return None;
            }
        }
        Some(self.now.since_origin())
    }

    pub(super) fn run_to_the_end(&mut self) {
        while self.step() {}
    }

    /// SYNs that left each end, repeated ones included.
    pub(super) fn syns(&self) -> [u32; 2] {
        [self.ends[0].syns, self.ends[1].syns]
    }

    pub(super) fn punches(&self) -> [&Punch; 2] {
        [&self.ends[0].punch, &self.ends[1].punch]
    }

    /// The same pair of SYNs at both ends.
    fn have_met(&self) -> bool {
        let connected = |end: &End| -> BTreeSet<(u64, u64)> {
            let sockets = end.sockets.values();
            sockets.filter_map(|socket| Some((socket.syn, socket.theirs.filter(|_| socket.up)?))).collect()
        };
        let (here, there) = (connected(&self.ends[0]), connected(&self.ends[1]));
        here.iter().any(|&(mine, theirs)| there.contains(&(theirs, mine)))
    }

    /// Goes to the next thing that happens; false when nothing will.
    fn step(&mut self) -> bool {
        for which in 0..2 {
            self.act(which);
        }
        let arrival = self.packets.keys().next().map(|(at, _)| *at);
        let wakes = self.ends.iter().flat_map(|end| [end.punch.poll_timeout(), end.next_repetition()]);
        let Some(next) = wakes.fold(arrival, soonest) else { return false };
        self.now = self.now.max(next);
        if let Some((at, number)) = self.packets.keys().next().copied()
            && at <= self.now
            && let Some(packet) = self.packets.remove(&(at, number))
        {
            self.arrive(packet);
            return true;
        }
        for which in 0..2 {
            self.ends[which].punch.handle_timeout(self.now);
            self.act(which);
            self.repeat(which);
        }
        true
    }

    fn act(&mut self, which: usize) {
        while let Some(action) = self.ends[which].punch.poll_action() {
            match action {
                PunchAction::Dial { slot, to } => self.dial(which, slot, to),
                PunchAction::Abandon { slot } => {
                    self.ends[which].sockets.retain(|_, socket| socket.slot != slot);
                }
            }
        }
    }

    fn dial(&mut self, which: usize, slot: PunchSlot, to: SocketAddr) {
        if self.ends[which].sockets.contains_key(&to) {
            let why = io::ErrorKind::AddrNotAvailable;
            return self.ends[which].punch.handle_failed(slot, why, self.now);
        }
        self.last_number += 1;
        let syn = self.last_number;
        let socket = Socket { slot, syn, theirs: None, up: false, repeats: self.now + REPETITION };
        self.ends[which].sockets.insert(to, socket);
        self.send_syn(which, to, syn);
    }

    fn repeat(&mut self, which: usize) {
        let due = |socket: &Socket| socket.theirs.is_none() && socket.repeats <= self.now;
        let sockets = self.ends[which].sockets.iter_mut();
        let mut again = Vec::new();
        for (to, socket) in sockets.filter(|(_, socket)| due(socket)) {
            socket.repeats = socket.repeats + REPETITION;
            again.push((*to, socket.syn));
        }
        for (to, syn) in again {
            self.send_syn(which, to, syn);
        }
    }

    fn send_syn(&mut self, which: usize, to: SocketAddr, syn: u64) {
        self.ends[which].syns += 1;
        self.send(which, to, Segment::Syn(syn));
    }

    fn send(&mut self, which: usize, to: SocketAddr, segment: Segment) {
        let from = self.ends[which].nat.pass_out(to);
        self.carry(Packet { from, to, segment });
    }

    fn carry(&mut self, packet: Packet) {
        self.last_number += 1;
        self.packets.insert((self.now + ONE_WAY, self.last_number), packet);
    }

    fn arrive(&mut self, packet: Packet) {
        let Packet { from, to, segment } = packet;
        let which = usize::from(self.ends[1].nat.seen.ip() == to.ip());
        assert_eq!(self.ends[which].nat.seen.ip(), to.ip(), "nobody else is dialled");
        let nat = &mut self.ends[which].nat;
        if nat.lets_in(from, to.port(), &segment) {
            self.receive(which, from, segment);
        } else if nat.filter != Filter::Drop
            && let Some(reset) = segment.reset()
        {
            self.carry(Packet { from: to, to: from, segment: reset });
        }
    }

    fn receive(&mut self, which: usize, from: SocketAddr, segment: Segment) {
        let now = self.now;
        let End { sockets, punch, .. } = &mut self.ends[which];
        let Some(socket) = sockets.get_mut(&from).filter(|socket| socket.is_meant(&segment)) else {
            if let Some(reset) = segment.reset() {
                self.send(which, from, reset);
            }
            return;
        };
        let (mine, was_up) = (socket.syn, socket.up);
        match segment {
            Segment::Syn(theirs) if socket.theirs.is_none() || socket.theirs == Some(theirs) => {
                socket.theirs = Some(theirs);
                self.send(which, from, Segment::SynAck { syn: mine, of: theirs });
            }
            Segment::Syn(_) => {}
            Segment::SynAck { syn, .. } => {
                let is_answer = socket.theirs.is_none();
                (socket.theirs, socket.up) = (Some(syn), true);
                if !was_up {
                    punch.handle_connected(socket.slot, now);
                }
                if is_answer {
                    self.send(which, from, Segment::Ack { of: syn });
                }
            }
            Segment::Ack { .. } => {
                socket.up = true;
                if !was_up {
                    punch.handle_connected(socket.slot, now);
                }
            }
            Segment::Reset { .. } => {
                let slot = socket.slot;
                sockets.remove(&from);
                punch.handle_failed(slot, io::ErrorKind::ConnectionRefused, now);
            }
        }
    }
}

#[derive(Debug)]
struct End {
    punch: Punch,
    nat: Nat,
    /// By what they are dialled to.
    sockets: BTreeMap<SocketAddr, Socket>,
    syns: u32,
}

impl End {
    fn next_repetition(&self) -> Option<Instant> {
        let silent = self.sockets.values().filter(|socket| socket.theirs.is_none());
        silent.map(|socket| socket.repeats).min()
    }
}

#[derive(Debug)]
struct Socket {
    slot: PunchSlot,
    /// Its SYN's number, which is never used again: the sequence number.
    syn: u64,
    /// The other end's SYN, once it came.
    theirs: Option<u64>,
    /// Connected.
    up: bool,
    repeats: Instant,
}

impl Socket {
    fn is_meant(&self, segment: &Segment) -> bool {
        match *segment {
            Segment::Syn(_) => true,
            Segment::SynAck { of, .. } | Segment::Ack { of } => of == self.syn,
            // What resets a SYN has no sequence number that would fit once the other end's is known (RFC 9293 section
            // 3.10.7).
            Segment::Reset { of, fits } => of == self.syn && !self.up && (fits || self.theirs.is_none()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    segment: Segment,
}

#[derive(Clone, Copy, Debug)]
enum Segment {
    Syn(u64),
    SynAck { syn: u64, of: u64 },
    Ack { of: u64 },
    Reset { of: u64, fits: bool },
}

impl Segment {
    fn reset(&self) -> Option<Self> {
        match *self {
            Self::Syn(of) => Some(Self::Reset { of, fits: false }),
            Self::SynAck { syn, .. } => Some(Self::Reset { of: syn, fits: true }),
            Self::Ack { .. } | Self::Reset { .. } => None,
        }
    }
}

#[derive(Debug)]
struct Nat {
    seen: SocketAddr,
    /// `None` where a local port has one external port for everybody.
    step: Option<i32>,
    /// The port that was given out last, where it counts.
    last: u16,
    given: BTreeMap<SocketAddr, u16>,
    /// Which outside address may write to which port.
    open: BTreeSet<(u16, SocketAddr)>,
    filter: Filter,
}

impl Nat {
    fn new(host: u8, place: &Place) -> Self {
        let step = match place.kind {
            Some(NatKind::Delta { step }) => Some(step),
            _ => None,
        };
        let port = if place.kind == Some(NatKind::Preserving) { LOCAL_PORT } else { 41_000 };
        let seen = SocketAddr::new(IpAddr::from([192, 0, 2, host]), port);
        let (given, open, filter) = (BTreeMap::new(), BTreeSet::new(), place.filter);
        let mut nat = Self { seen, step, last: port, given, open, filter };
        for _ in 0..place.traffic {
            nat.count();
        }
        nat
    }

    fn count(&mut self) {
        let step = self.step.unwrap_or(0);
        self.last = u16::try_from(i32::from(self.last) + step).expect("the tests stay within the range");
    }

    /// The external address of what leaves for `to`.
    fn pass_out(&mut self, to: SocketAddr) -> SocketAddr {
        let port = match self.given.get(&to) {
            Some(port) => *port,
            None => {
                self.count();
                self.given.insert(to, self.last);
                self.last
            }
        };
        self.open.insert((port, to));
        SocketAddr::new(self.seen.ip(), port)
    }

    fn lets_in(&mut self, from: SocketAddr, port: u16, segment: &Segment) -> bool {
        let is_open = self.open.contains(&(port, from));
        // What is reset is closed, until somebody inside tries again (as in Linux's connection tracking).
        if matches!(segment, Segment::Reset { fits: false, .. }) && self.filter != Filter::Open {
            self.open.remove(&(port, from));
        }
        is_open || self.filter == Filter::Open && self.given.values().any(|given| *given == port)
    }
}
