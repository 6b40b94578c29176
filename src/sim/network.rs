//! Computers, and TCP between them as programs see it through their sockets.
//!
//! Packets are not lost one by one: TCP would send them again, and all that a program sees of it is delay. What is
//! modelled is what programs do see: delay, bandwidth, a window that fills, routers that translate and filter, and the
//! ways in which a connection ends. What keeps an idle connection alive is not seen: where a router forgets, it forgets
//! before any keepalive.
//!
//! Each concern is a type that answers with values: [`topology`] where a packet goes and how long it takes, [`end`] what
//! a packet and a call make of an end of a connection, [`programs`] when they run, and so on. [`Network`] joins them: its
//! calls of a socket ([`sockets`]) send what an end answers, by [`dialling`] and [`packets`], which look at [`paths`].

mod computers;
mod dialling;
mod end;
mod ends;
mod listeners;
mod packets;
mod paths;
mod programs;
mod queue;
mod routers;
mod sockets;
mod syns;
mod topology;
mod trace;

use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

pub(super) use self::computers::{Computer, ComputerId};
use self::dialling::Syn;
pub(super) use self::end::EndId;
use self::end::{End, Packet, State};
use self::ends::Ends;
use self::listeners::Listeners;
use self::programs::Programs;
pub(super) use self::programs::{Mailbox, ProgramId};
use self::queue::EventQueue;
pub(super) use self::routers::{Router, RouterId};
use self::syns::SynLog;
use self::topology::{Realm, Topology};
use self::trace::Trace;
use super::nat::{Filter, Flow, Nat, NatBox};
use crate::job::Report;
use crate::random::Random;
use crate::reach::LanAddress;
use crate::time::Instant;

/// From a computer to its router: between two of a house it is a millisecond.
const HOME_DELAY: Duration = Duration::from_micros(500);

/// From a router to its provider's.
const CARRIER_DELAY: Duration = Duration::from_millis(2);

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
pub(super) struct Network {
    queue: EventQueue<Happening>,
    pub(super) random: Random,
    topology: Topology,
    listeners: Listeners,
    ends: Ends,
    programs: Programs,
    syns: SynLog,
    /// A reset takes along what had arrived and was not read, as on some systems (RFC 2525 section 2.17), not on Linux.
    pub(super) resets_destroy: bool,
    trace: Trace,
}

impl Network {
    pub(super) fn new(random: Random) -> Self {
        Self {
            queue: EventQueue::new(),
            random,
            topology: Topology::default(),
            listeners: Listeners::default(),
            ends: Ends::default(),
            programs: Programs::default(),
            syns: SynLog::default(),
            resets_destroy: false,
            trace: Trace::new(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.queue.now()
    }

    /// Goes on to the next happening until then; the program that is to run, if it is that.
    pub(super) fn advance(&mut self, until: Instant) -> Option<Option<ProgramId>> {
        match self.queue.advance(until)? {
            Happening::Syn(syn) => self.handle_syn(syn),
            Happening::Repeat { end, tries } => self.send_syn(end, tries),
            Happening::Packet { to, packet } => self.deliver(to, packet),
            Happening::Release { to } => self.release(to),
            Happening::Probe { end } => self.probe(end),
            Happening::Expiry { router, flow } => self.expire(router, flow),
            Happening::Report { program, report } => {
                self.programs.mailbox(program).reports.push_back(report);
                self.wake(program, self.queue.now());
            }
            Happening::Run { program } => {
                return Some(self.programs.begin_run(program, self.queue.now()).then_some(program));
            }
        }
        Some(None)
    }

    /// Adds to what makes one run the same as another.
    pub(super) fn trace(&mut self, who: usize, what: &str, detail: impl Hash + std::fmt::Debug) {
        self.trace.add(self.queue.now(), who, what, detail);
    }

    /// What a program says to its log; it makes no run another.
    pub(super) fn note(&self, program: ProgramId, text: &str) {
        self.trace.note(self.queue.now(), program, text);
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }
}

/// Computers and routers.
impl Network {
    pub(super) fn computer(&mut self, ips: &[IpAddr]) -> ComputerId {
        let delay = self.far();
        self.computer_in(None, ips, delay)
    }

    pub(super) fn computer_behind(&mut self, router: RouterId, ips: &[IpAddr]) -> ComputerId {
        self.computer_in(Some(router), ips, HOME_DELAY)
    }

    pub(super) fn computer_mut(&mut self, id: ComputerId) -> &mut Computer {
        self.topology.computer_mut(id)
    }

    /// Its first address.
    pub(super) fn address(&self, id: ComputerId) -> IpAddr {
        self.topology.computer(id).ips[0]
    }

    /// A router at the internet, or behind another router.
    pub(super) fn router(
        &mut self,
        carrier: Option<RouterId>,
        ip: IpAddr,
        nat: Nat,
        filter: Filter,
    ) -> RouterId {
        let delay = if carrier.is_some() { CARRIER_DELAY } else { self.far() };
        let nat = NatBox::new(nat, filter, self.random.fork());
        self.topology.add_router(Router { ip, realm: carrier, delay, nat })
    }

    pub(super) fn router_mut(&mut self, id: RouterId) -> &mut Router {
        self.topology.router_mut(id)
    }

    /// Packets from the one to the other take so much longer from now on.
    pub(super) fn delay_between(&mut self, from: ComputerId, to: ComputerId, extra: Duration) {
        self.topology.set_detour(from, to, extra);
    }

    fn computer_in(&mut self, realm: Realm, ips: &[IpAddr], delay: Duration) -> ComputerId {
        let last_port = 32_768 + self.random.below(20_000) as u16;
        self.topology.add_computer(Computer::new(realm, ips, delay, last_port))
    }

    /// From the edge of the internet to its middle.
    fn far(&mut self) -> Duration {
        Duration::from_micros(5_000 + self.random.below(55_000) as u64)
    }
}

/// Programs.
impl Network {
    pub(super) fn program(
        &mut self,
        computer: ComputerId,
        dead_after: Duration,
        frame: Duration,
    ) -> ProgramId {
        let phase = Duration::from_nanos(self.random.below(frame.as_nanos() as usize) as u64);
        let id = self.programs.add(computer, dead_after, frame, phase);
        self.wake(id, self.queue.now());
        id
    }

    pub(super) fn computer_of(&self, program: ProgramId) -> ComputerId {
        self.programs.computer_of(program)
    }

    /// As the operating system of the program's computer lists them.
    pub(super) fn interfaces(&self, program: ProgramId) -> Vec<LanAddress> {
        let ips = &self.topology.computer(self.programs.computer_of(program)).ips;
        ips.iter().map(|&address| LanAddress { interface: "sim0".into(), address }).collect()
    }

    pub(super) fn mailbox(&mut self, program: ProgramId) -> &mut Mailbox {
        self.programs.mailbox(program)
    }

    pub(super) fn report_at(&mut self, at: Instant, program: ProgramId, report: Report) {
        self.queue.plan(at, Happening::Report { program, report });
    }
}
