//! Computers, and TCP between them as programs see it through their sockets.
//!
//! Packets are not lost one by one: TCP would send them again, and all that a program sees of it is delay. What is
//! modelled is what programs do see: delay, bandwidth, a window that fills, routers that translate and filter, and the
//! ways in which a connection ends. What keeps an idle connection alive is not seen: where a router forgets, it forgets
//! before any keepalive.

mod dialling;
mod ends;
mod listeners;
mod packets;
mod places;
mod programs;
mod routers;
mod sockets;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::dialling::Syn;
pub(super) use self::ends::EndId;
use self::ends::{End, Ends, State};
use self::listeners::Listeners;
use self::places::{Place, Realm};
pub(super) use self::routers::{Router, RouterId};
use super::nat::Flow;
use crate::job::Report;
use crate::random::Random;
use crate::time::Instant;

/// What a sender may have under way and unread, unless a test says otherwise.
const WINDOW: usize = 64 << 10;

/// Between two programs of one computer.
const LOOPBACK_DELAY: Duration = Duration::from_micros(50);

/// What was held up by a partition is sent again so long after it has healed (RFC 6298: the timer has backed off).
const RETRANSMIT: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ComputerId(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ProgramId(pub(super) usize);

#[derive(Debug)]
pub(super) struct Computer {
    realm: Realm,
    ips: Vec<IpAddr>,
    /// From here to the middle of the internet, or to its router.
    pub(super) delay: Duration,
    /// Bytes in a second, for each connection and direction.
    pub(super) bandwidth: Option<u64>,
    /// The window of connections that end here.
    pub(super) window: usize,
    is_up: bool,
    /// A firewall drops whoever dials it from another computer, and is not being dialled from it.
    pub(super) is_closed: bool,
    /// Only computers of the same side of a partition reach each other.
    side: u32,
    next_port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Packet {
    Accepted,
    Refused,
    Data(Vec<u8>),
    /// So much was read: as much more may be sent.
    Read(usize),
    Finished,
    Reset,
}

#[derive(Debug)]
enum Happening {
    Syn(Syn),
    /// A SYN is sent again, if it was not answered.
    Repeat {
        end: EndId,
        tries: u32,
    },
    Packet {
        to: EndId,
        packet: Packet,
    },
    /// The partition that held packets up has healed.
    Release {
        to: EndId,
    },
    /// Keepalive: is the other side still there?
    Probe {
        end: EndId,
    },
    /// A router forgets, unless the session was used meanwhile.
    Expiry {
        router: RouterId,
        flow: Flow,
    },
    Report {
        program: ProgramId,
        report: Report,
    },
    Run {
        program: ProgramId,
    },
}

#[derive(Debug)]
struct Due {
    at: Instant,
    /// Of what happens at the same instant, the first to be planned is first.
    serial: u64,
    what: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

/// What a poller would tell a program.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) backlog: VecDeque<EndId>,
    pub(super) connected: VecDeque<(EndId, Result<SocketAddr, io::ErrorKind>)>,
    pub(super) readable: VecDeque<EndId>,
    /// Ends whose peer is done, as `io::Sockets` tells it: before what came last is read.
    pub(super) hangups: VecDeque<EndId>,
    pub(super) writable: VecDeque<EndId>,
    pub(super) reports: VecDeque<Report>,
}

/// When a program runs: in its next frame after something happened.
#[derive(Debug)]
struct Schedule {
    frame: Duration,
    phase: Duration,
    last: Option<Instant>,
    next: Option<Instant>,
}

#[derive(Debug)]
struct Program {
    computer: ComputerId,
    dead_after: Duration,
    mailbox: Mailbox,
    schedule: Schedule,
}

#[derive(Debug)]
pub(super) struct Network {
    now: Instant,
    pub(super) random: Random,
    queue: BinaryHeap<Reverse<Due>>,
    serials: u64,
    computers: Vec<Computer>,
    routers: Vec<Router>,
    places: BTreeMap<(Realm, IpAddr), Place>,
    /// What packets from the one computer to the other take in addition.
    detours: BTreeMap<(ComputerId, ComputerId), Duration>,
    listeners: Listeners,
    ends: Ends,
    /// When SYNs were sent, by where to.
    syns: BTreeMap<IpAddr, Vec<Instant>>,
    programs: Vec<Program>,
    /// A reset takes along what had arrived and was not read, as on some systems (RFC 2525 section 2.17), not on Linux.
    pub(super) resets_destroy: bool,
    trace: DefaultHasher,
    is_loud: bool,
}

impl Network {
    pub(super) fn new(random: Random) -> Self {
        let is_loud = std::env::var_os("P2POLL_SIM_TRACE").is_some();
        if is_loud {
            log::set_max_level(log::LevelFilter::Debug);
        }
        Self {
            now: Instant::ZERO,
            random,
            queue: BinaryHeap::new(),
            serials: 0,
            computers: Vec::new(),
            routers: Vec::new(),
            places: BTreeMap::new(),
            detours: BTreeMap::new(),
            listeners: Listeners::default(),
            ends: Ends::default(),
            syns: BTreeMap::new(),
            programs: Vec::new(),
            resets_destroy: false,
            trace: DefaultHasher::new(),
            is_loud,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Goes on to the next happening until then; the program that is to run, if it is that.
    pub(super) fn advance(&mut self, until: Instant) -> Option<Option<ProgramId>> {
        let due = self.queue.peek().is_some_and(|Reverse(due)| due.at <= until);
        if !due {
            self.now = self.now.max(until);
            return None;
        }
        let Reverse(due) = self.queue.pop()?;
        self.now = due.at;
        match due.what {
            Happening::Syn(syn) => self.handle_syn(syn),
            Happening::Repeat { end, tries } => self.send_syn(end, tries),
            Happening::Packet { to, packet } => self.deliver(to, packet),
            Happening::Release { to } => self.release(to),
            Happening::Probe { end } => self.probe(end),
            Happening::Expiry { router, flow } => self.expire(router, flow),
            Happening::Report { program, report } => {
                self.programs[program.0].mailbox.reports.push_back(report);
                self.wake(program, self.now);
            }
            Happening::Run { program } => {
                let schedule = &mut self.programs[program.0].schedule;
                if schedule.next == Some(self.now) {
                    schedule.next = None;
                    schedule.last = Some(self.now);
                    return Some(Some(program));
                }
            }
        }
        Some(None)
    }

    /// Adds to what makes one run the same as another.
    pub(super) fn trace(&mut self, who: usize, what: &str, detail: impl Hash + std::fmt::Debug) {
        if self.is_loud {
            eprintln!("{:>12.6} {who:>4} {what} {detail:?}", self.now.since_origin().as_secs_f64());
        }
        (self.now, who, what, detail).hash(&mut self.trace);
    }

    /// What a program says to its log; it makes no run another.
    pub(super) fn note(&self, program: ProgramId, text: &str) {
        if self.is_loud {
            eprintln!("{:>12.6} program {} {text}", self.now.since_origin().as_secs_f64(), program.0);
        }
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.trace.finish()
    }

    fn plan(&mut self, at: Instant, what: Happening) {
        self.serials += 1;
        self.queue.push(Reverse(Due { at: at.max(self.now), serial: self.serials, what }));
    }
}
