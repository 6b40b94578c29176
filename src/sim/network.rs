//! Computers, and TCP between them as programs see it through their sockets.
//!
//! Packets are not lost one by one: TCP would send them again, and all that a program sees of it is delay. What is
//! modelled is what programs do see: delay, bandwidth, a window that fills, and the ways in which a connection ends.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::gateway;
use crate::random::Random;
use crate::reach::LanAddress;
use crate::time::Instant;

/// What a sender may have under way and unread, unless a test says otherwise.
const WINDOW: usize = 64 << 10;

/// Between two programs of one computer.
const LOOPBACK_DELAY: Duration = Duration::from_micros(50);

/// What was held up by a partition is sent again so long after it has healed (RFC 6298: the timer has backed off).
const RETRANSMIT: Duration = Duration::from_millis(400);

/// A dial that is not answered is given up after so many repetitions, as by Linux' `tcp_syn_retries`.
const SYN_RETRIES: u32 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ComputerId(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ProgramId(pub(super) usize);

/// One end of a connection: what a program has as a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EndId(usize);

#[derive(Debug)]
pub(super) struct Computer {
    ips: Vec<IpAddr>,
    /// From here to the middle of the network.
    pub(super) delay: Duration,
    /// Bytes in a second, for each connection and direction.
    pub(super) bandwidth: Option<u64>,
    /// The window of connections that end here.
    pub(super) window: usize,
    is_up: bool,
    /// A firewall drops whoever dials it from another computer.
    pub(super) is_closed: bool,
    /// Only computers of the same side of a partition reach each other.
    side: u32,
    next_port: u16,
}

#[derive(Debug)]
struct Listener {
    computer: ComputerId,
    ip: Option<IpAddr>,
    port: u16,
    program: ProgramId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Open,
    /// The program has closed it, or is no more.
    Gone,
}

#[derive(Debug)]
struct End {
    program: ProgramId,
    computer: ComputerId,
    local: SocketAddr,
    peer: SocketAddr,
    other: Option<EndId>,
    state: State,
    /// What arrived and was not read.
    inbox: VecDeque<u8>,
    /// The other side finished sending.
    finished: bool,
    broken: Option<io::ErrorKind>,
    /// The end was read.
    told: bool,
    /// Read, and not yet announced to the sender.
    unannounced: usize,
    window: usize,
    /// What may still be sent.
    credit: usize,
    /// Tried to send without credit.
    blocked: bool,
    /// The other side was told that nothing more comes.
    goodbye: bool,
    /// The line is busy until then, and what is sent next arrives no earlier than this.
    line_free: Instant,
    last_arrival: Instant,
    /// On their way here, held up by a partition.
    held: Vec<Packet>,
    /// The other side is out of reach.
    silent_since: Option<Instant>,
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

/// What comes from the operating system besides connections.
#[derive(Debug)]
pub(super) enum Report {
    Resolved(u64, Result<Vec<SocketAddr>, String>),
    Loaded(io::Result<String>),
    Saved(io::Result<()>),
    Interfaces(Vec<LanAddress>),
    Gateway(u64, gateway::Report),
}

#[derive(Debug)]
enum Happening {
    Syn {
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
pub(super) enum Read {
    Data(usize),
    Blocked,
    Finished,
    Broken(io::ErrorKind),
}

#[derive(Debug)]
pub(super) enum Write {
    Sent(usize),
    Blocked,
    Broken,
}

#[derive(Debug)]
pub(super) struct Network {
    now: Instant,
    pub(super) random: Random,
    queue: BinaryHeap<Reverse<Due>>,
    serials: u64,
    computers: Vec<Computer>,
    by_ip: BTreeMap<IpAddr, ComputerId>,
    listeners: Vec<Listener>,
    ends: Vec<End>,
    programs: Vec<Program>,
    trace: DefaultHasher,
    is_loud: bool,
}

impl Network {
    pub(super) fn new(random: Random) -> Self {
        Self {
            now: Instant::ZERO,
            random,
            queue: BinaryHeap::new(),
            serials: 0,
            computers: Vec::new(),
            by_ip: BTreeMap::new(),
            listeners: Vec::new(),
            ends: Vec::new(),
            programs: Vec::new(),
            trace: DefaultHasher::new(),
            is_loud: std::env::var_os("P2POLL_SIM_TRACE").is_some(),
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
            Happening::Syn { end, tries } => self.handle_syn(end, tries),
            Happening::Packet { to, packet } => self.deliver(to, packet),
            Happening::Release { to } => self.release(to),
            Happening::Probe { end } => self.probe(end),
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

    pub(super) fn trace_hash(&self) -> u64 {
        self.trace.finish()
    }

    fn plan(&mut self, at: Instant, what: Happening) {
        self.serials += 1;
        self.queue.push(Reverse(Due { at: at.max(self.now), serial: self.serials, what }));
    }
}

/// Computers.
impl Network {
    pub(super) fn computer(&mut self, ips: &[IpAddr]) -> ComputerId {
        let id = ComputerId(self.computers.len());
        for &ip in ips {
            assert!(self.by_ip.insert(ip, id).is_none(), "{ip} is taken");
        }
        let delay = Duration::from_micros(5_000 + self.random.below(55_000) as u64);
        let next_port = 32_768 + self.random.below(20_000) as u16;
        self.computers.push(Computer {
            ips: ips.to_vec(),
            delay,
            bandwidth: None,
            window: WINDOW,
            is_up: true,
            is_closed: false,
            side: 0,
            next_port,
        });
        id
    }

    pub(super) fn computer_mut(&mut self, id: ComputerId) -> &mut Computer {
        &mut self.computers[id.0]
    }

    /// Puts a computer on a side of a partition.
    pub(super) fn set_side(&mut self, id: ComputerId, side: u32) {
        self.computers[id.0].side = side;
        self.review_paths();
    }

    /// It loses its power, or has it again. Without it the programs on it are no more; nobody is told.
    pub(super) fn set_power(&mut self, id: ComputerId, is_up: bool) {
        self.computers[id.0].is_up = is_up;
        if !is_up {
            self.listeners.retain(|listener| listener.computer != id);
            let lost: Vec<usize> = (0..self.ends.len()).filter(|&at| self.ends[at].computer == id).collect();
            for at in lost {
                self.ends[at].state = State::Gone;
                if let Some(EndId(other)) = self.ends[at].other {
                    self.ends[other].held.clear();
                }
            }
        }
        self.review_paths();
    }

    /// It comes into another network: what was connected by the addresses that it loses stays so, in silence.
    pub(super) fn set_ips(&mut self, id: ComputerId, ips: &[IpAddr]) {
        self.by_ip.retain(|_, at| *at != id);
        for &ip in ips {
            assert!(self.by_ip.insert(ip, id).is_none(), "{ip} is taken");
        }
        self.computers[id.0].ips = ips.to_vec();
        self.review_paths();
    }

    /// Its local address is no more.
    fn is_stranded(&self, end: &End) -> bool {
        !end.local.ip().is_loopback() && self.by_ip.get(&end.local.ip()) != Some(&end.computer)
    }

    fn is_reachable(&self, from: ComputerId, to: ComputerId) -> bool {
        let (a, b) = (&self.computers[from.0], &self.computers[to.0]);
        a.is_up && b.is_up && (from == to || a.side == b.side)
    }

    fn delay(&self, from: ComputerId, to: ComputerId) -> Duration {
        if from == to { LOOPBACK_DELAY } else { self.computers[from.0].delay + self.computers[to.0].delay }
    }

    /// After a change of what reaches what.
    fn review_paths(&mut self) {
        for at in 0..self.ends.len() {
            let (id, end) = (EndId(at), &self.ends[at]);
            let Some(EndId(other)) = end.other.filter(|_| end.state == State::Open) else { continue };
            let (computer, peer) = (end.computer, self.ends[other].computer);
            let dead_after = self.programs[end.program.0].dead_after;
            let stranded = self.is_stranded(end) || self.is_stranded(&self.ends[other]);
            let reachable = self.is_reachable(computer, peer) && !stranded;
            match (reachable, end.silent_since) {
                (false, None) => {
                    self.ends[at].silent_since = Some(self.now);
                    self.plan(self.now + dead_after, Happening::Probe { end: id });
                }
                (true, Some(_)) => {
                    self.ends[at].silent_since = None;
                    let again = self.now + RETRANSMIT + self.delay(computer, peer);
                    self.plan(again, Happening::Release { to: id });
                    self.plan(self.now + dead_after / 2, Happening::Probe { end: id });
                }
                _ => {}
            }
        }
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
        let id = ProgramId(self.programs.len());
        let phase = Duration::from_nanos(self.random.below(frame.as_nanos() as usize) as u64);
        self.programs.push(Program {
            computer,
            dead_after,
            mailbox: Mailbox::default(),
            schedule: Schedule { frame, phase, last: None, next: None },
        });
        self.wake(id, self.now);
        id
    }

    pub(super) fn computer_of(&self, program: ProgramId) -> ComputerId {
        self.programs[program.0].computer
    }

    /// As the operating system of the program's computer lists them.
    pub(super) fn interfaces(&self, program: ProgramId) -> Vec<LanAddress> {
        let ips = &self.computers[self.computer_of(program).0].ips;
        ips.iter().map(|&address| LanAddress { interface: "sim0".into(), address }).collect()
    }

    pub(super) fn mailbox(&mut self, program: ProgramId) -> &mut Mailbox {
        &mut self.programs[program.0].mailbox
    }

    /// The program is to run in its first frame from then on.
    pub(super) fn wake(&mut self, program: ProgramId, at: Instant) {
        let now = self.now;
        let schedule = &mut self.programs[program.0].schedule;
        let frame = schedule.frame.as_nanos();
        let since = at.max(now).since_origin().saturating_sub(schedule.phase).as_nanos();
        let nth = |n: u128| {
            let nanos = u64::try_from(n * frame).unwrap_or(u64::MAX / 2);
            Instant::ZERO + schedule.phase + Duration::from_nanos(nanos)
        };
        let mut at = nth(since.div_ceil(frame));
        if schedule.last.is_some_and(|last| at <= last) {
            at = nth(since.div_ceil(frame) + 1);
        }
        if schedule.next.is_none_or(|next| at < next) {
            schedule.next = Some(at);
            self.plan(at, Happening::Run { program });
        }
    }

    pub(super) fn report_at(&mut self, at: Instant, program: ProgramId, report: Report) {
        self.plan(at, Happening::Report { program, report });
    }

    /// The program crashed: its operating system resets what it had open.
    pub(super) fn crash(&mut self, program: ProgramId) {
        self.stop_listening(program);
        let ends: Vec<usize> = (0..self.ends.len()).filter(|&at| self.ends[at].program == program).collect();
        for at in ends {
            if self.ends[at].state == State::Open && self.ends[at].broken.is_none() {
                self.send(EndId(at), Packet::Reset);
                self.ends[at].goodbye = true;
            }
            self.ends[at].state = State::Gone;
        }
    }
}

/// The calls of a socket.
impl Network {
    /// Listens at an address of the program's computer, `None` for all; port 0 for any.
    pub(super) fn listen(
        &mut self,
        program: ProgramId,
        ip: Option<IpAddr>,
        port: u16,
    ) -> Result<SocketAddr, io::ErrorKind> {
        let computer = self.computer_of(program);
        if ip.is_some_and(|ip| !ip.is_loopback() && self.by_ip.get(&ip) != Some(&computer)) {
            return Err(io::ErrorKind::AddrNotAvailable);
        }
        let port = if port == 0 { self.next_port(computer) } else { port };
        if self.listeners.iter().any(|other| other.computer == computer && other.port == port) {
            return Err(io::ErrorKind::AddrInUse);
        }
        self.listeners.push(Listener { computer, ip, port, program });
        let any = IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED);
        Ok(SocketAddr::new(ip.unwrap_or(any), port))
    }

    pub(super) fn stop_listening(&mut self, program: ProgramId) {
        self.listeners.retain(|listener| listener.program != program);
        while let Some(end) = self.programs[program.0].mailbox.backlog.pop_front() {
            self.send(end, Packet::Reset);
            self.ends[end.0].state = State::Gone;
        }
    }

    pub(super) fn dial(
        &mut self,
        program: ProgramId,
        to: SocketAddr,
        from: Option<SocketAddr>,
    ) -> Result<EndId, io::ErrorKind> {
        let computer = self.computer_of(program);
        let ip = if to.ip().is_loopback() {
            to.ip()
        } else {
            let bound = from.map(|from| from.ip());
            let bound = bound.filter(|ip| ip.is_ipv4() == to.is_ipv4() && !ip.is_unspecified());
            let ips = &self.computers[computer.0].ips;
            bound
                .or_else(|| ips.iter().copied().find(|ip| ip.is_ipv4() == to.is_ipv4()))
                .ok_or(io::ErrorKind::NetworkUnreachable)?
        };
        let port = from.map(|from| from.port()).filter(|&port| port != 0);
        let local = SocketAddr::new(ip, port.unwrap_or_else(|| self.next_port(computer)));
        let end = self.end(program, local, to, State::Connecting);
        let delay = self.computer_at(to.ip(), computer).map_or(LOOPBACK_DELAY, |to| self.delay(computer, to));
        self.plan(self.now + delay, Happening::Syn { end, tries: 0 });
        Ok(end)
    }

    pub(super) fn peer(&self, end: EndId) -> SocketAddr {
        self.ends[end.0].peer
    }

    pub(super) fn local(&self, end: EndId) -> SocketAddr {
        self.ends[end.0].local
    }

    pub(super) fn read(&mut self, id: EndId, space: &mut [u8]) -> Read {
        let end = &mut self.ends[id.0];
        if end.state != State::Open || end.told {
            return Read::Blocked;
        }
        let len = space.len().min(end.inbox.len());
        if len > 0 {
            let (first, second) = end.inbox.as_slices();
            let split = len.min(first.len());
            space[..split].copy_from_slice(&first[..split]);
            space[split..len].copy_from_slice(&second[..len - split]);
            end.inbox.drain(..len);
            end.unannounced += len;
            if end.unannounced >= end.window / 4 {
                let read = std::mem::take(&mut end.unannounced);
                self.send(id, Packet::Read(read));
            }
            return Read::Data(len);
        }
        end.told = end.finished || end.broken.is_some();
        match end.broken {
            Some(kind) => Read::Broken(kind),
            None if end.finished => Read::Finished,
            None => Read::Blocked,
        }
    }

    pub(super) fn write(&mut self, id: EndId, bytes: &[u8]) -> Write {
        let end = &mut self.ends[id.0];
        if end.state != State::Open || end.goodbye {
            return Write::Blocked;
        }
        if end.broken.is_some() {
            return Write::Broken;
        }
        let len = bytes.len().min(end.credit);
        if len == 0 {
            end.blocked = true;
            return Write::Blocked;
        }
        end.credit -= len;
        self.send(id, Packet::Data(bytes[..len].to_vec()));
        Write::Sent(len)
    }

    pub(super) fn shutdown_write(&mut self, id: EndId) {
        let end = &self.ends[id.0];
        if end.state == State::Open && !end.goodbye && end.broken.is_none() {
            self.send(id, Packet::Finished);
            self.ends[id.0].goodbye = true;
        }
    }

    /// Closes in order, or resets what is closed unread (RFC 2525 section 2.17).
    pub(super) fn close(&mut self, id: EndId) {
        if self.ends[id.0].state == State::Open && self.ends[id.0].broken.is_none() {
            if !self.ends[id.0].inbox.is_empty() {
                self.send(id, Packet::Reset);
                self.ends[id.0].goodbye = true;
            }
            self.shutdown_write(id);
        }
        self.ends[id.0].state = State::Gone;
        self.ends[id.0].inbox = VecDeque::new();
    }

    /// The programs at both ends of each open connection, the one that dialled first.
    pub(super) fn connections(&self) -> impl Iterator<Item = (ProgramId, ProgramId)> {
        let open = |end: &End| end.state == State::Open && end.broken.is_none();
        self.ends.iter().filter_map(move |end| {
            let other = &self.ends[end.other?.0];
            // Only who dialled knows the other end by its listening address.
            let dialled = other.local == end.peer && self.is_listening(other);
            (open(end) && open(other) && dialled).then_some((end.program, other.program))
        })
    }

    fn is_listening(&self, end: &End) -> bool {
        let port = end.local.port();
        self.listeners.iter().any(|listener| listener.program == end.program && listener.port == port)
    }

    fn end(&mut self, program: ProgramId, local: SocketAddr, peer: SocketAddr, state: State) -> EndId {
        let id = EndId(self.ends.len());
        let computer = self.computer_of(program);
        self.ends.push(End {
            program,
            computer,
            local,
            peer,
            other: None,
            state,
            inbox: VecDeque::new(),
            finished: false,
            broken: None,
            told: false,
            unannounced: 0,
            window: self.computers[computer.0].window,
            credit: 0,
            blocked: false,
            goodbye: false,
            line_free: Instant::ZERO,
            last_arrival: Instant::ZERO,
            held: Vec::new(),
            silent_since: None,
        });
        id
    }

    /// As operating systems do, it gives out no port at which somebody listens.
    fn next_port(&mut self, computer: ComputerId) -> u16 {
        loop {
            let next = &mut self.computers[computer.0].next_port;
            *next = if *next >= 60_999 { 32_768 } else { *next + 1 };
            let port = *next;
            let taken = |listener: &Listener| listener.computer == computer && listener.port == port;
            if !self.listeners.iter().any(taken) {
                return port;
            }
        }
    }

    fn computer_at(&self, ip: IpAddr, asker: ComputerId) -> Option<ComputerId> {
        if ip.is_loopback() { Some(asker) } else { self.by_ip.get(&ip).copied() }
    }
}

/// Packets.
impl Network {
    fn handle_syn(&mut self, id: EndId, tries: u32) {
        let end = &self.ends[id.0];
        if end.state != State::Connecting {
            return;
        }
        let (from, local, peer) = (end.computer, end.local, end.peer);
        let is_open = |to: ComputerId| from == to || !self.computers[to.0].is_closed;
        let there =
            self.computer_at(peer.ip(), from).filter(|&to| self.is_reachable(from, to) && is_open(to));
        let Some(to) = there.filter(|_| !self.is_stranded(&self.ends[id.0])) else {
            if tries < SYN_RETRIES {
                let again = self.now + Duration::from_secs(1 << tries);
                self.plan(again, Happening::Syn { end: id, tries: tries + 1 });
            } else {
                self.fail_dial(id, io::ErrorKind::TimedOut);
            }
            return;
        };
        let listener = self.listeners.iter().find(|listener| {
            let at = listener.ip.is_none_or(|ip| ip == peer.ip());
            listener.computer == to && listener.port == peer.port() && at
        });
        let Some(program) = listener.map(|listener| listener.program) else {
            let at = self.now + self.delay(from, to);
            return self.plan(at, Happening::Packet { to: id, packet: Packet::Refused });
        };
        let answering = self.end(program, peer, local, State::Open);
        self.ends[answering.0].other = Some(id);
        self.ends[answering.0].credit = self.ends[id.0].window;
        self.ends[id.0].other = Some(answering);
        self.ends[id.0].credit = self.ends[answering.0].window;
        self.send(answering, Packet::Accepted);
        self.mailbox(program).backlog.push_back(answering);
        self.wake(program, self.now);
    }

    fn send(&mut self, from: EndId, packet: Packet) {
        let end = &self.ends[from.0];
        let Some(to) = end.other else { return };
        let (here, there) = (end.computer, self.ends[to.0].computer);
        let delay = self.delay(here, there);
        let rates = [self.computers[here.0].bandwidth, self.computers[there.0].bandwidth];
        let rate = rates.into_iter().flatten().min().filter(|_| here != there);
        let bytes = if let Packet::Data(bytes) = &packet { bytes.len() as u64 } else { 0 };
        let takes = Duration::from_nanos(rate.map_or(0, |rate| bytes * 1_000_000_000 / rate.max(1)));
        let now = self.now;
        let end = &mut self.ends[from.0];
        end.line_free = end.line_free.max(now) + takes;
        end.last_arrival = end.last_arrival.max(end.line_free + delay);
        let at = end.last_arrival;
        self.plan(at, Happening::Packet { to, packet });
    }

    fn deliver(&mut self, to: EndId, packet: Packet) {
        let end = &self.ends[to.0];
        if !self.computers[end.computer.0].is_up {
            return;
        }
        let source = end.other.map_or(end.computer, |other| self.ends[other.0].computer);
        let stranded = |end: &End| self.is_stranded(end);
        let apart = self.computers[source.0].side != self.computers[end.computer.0].side
            || stranded(end)
            || end.other.is_some_and(|other| stranded(&self.ends[other.0]));
        if apart || !end.held.is_empty() {
            self.ends[to.0].held.push(packet);
        } else {
            self.take(to, packet);
        }
    }

    fn release(&mut self, to: EndId) {
        let end = &self.ends[to.0];
        if end.silent_since.is_none() {
            for packet in std::mem::take(&mut self.ends[to.0].held) {
                self.take(to, packet);
            }
        }
    }

    fn take(&mut self, to: EndId, packet: Packet) {
        self.trace(to.0, "packet", &packet);
        let end = &mut self.ends[to.0];
        let program = end.program;
        match (end.state, packet) {
            (State::Connecting, Packet::Accepted) => {
                end.state = State::Open;
                let local = end.local;
                self.mailbox(program).connected.push_back((to, Ok(local)));
                self.wake(program, self.now);
            }
            (State::Connecting, Packet::Refused | Packet::Reset) => {
                self.fail_dial(to, io::ErrorKind::ConnectionRefused);
            }
            // Nobody has this socket any more.
            (State::Gone, Packet::Data(_) | Packet::Accepted) => self.send(to, Packet::Reset),
            (State::Gone, Packet::Finished) if !end.goodbye => self.send(to, Packet::Reset),
            (State::Gone | State::Connecting, _) => {}
            (State::Open, _) if end.broken.is_some() => {}
            (State::Open, Packet::Data(bytes)) => {
                end.inbox.extend(&bytes);
                self.mark_readable(to);
            }
            (State::Open, Packet::Finished) => {
                end.finished = true;
                self.mark_readable(to);
            }
            (State::Open, Packet::Reset) => self.break_end(to, io::ErrorKind::ConnectionReset),
            (State::Open, Packet::Read(len)) => {
                end.credit += len;
                if std::mem::take(&mut end.blocked) {
                    self.mailbox(program).writable.push_back(to);
                    self.wake(program, self.now);
                }
            }
            (State::Open, Packet::Accepted | Packet::Refused) => {}
        }
    }

    /// The keepalive of `net`: out of reach for `dead_after`, or not there any more.
    fn probe(&mut self, id: EndId) {
        let end = &self.ends[id.0];
        let Some(other) = end.other.filter(|_| end.state == State::Open && end.broken.is_none()) else {
            return;
        };
        match end.silent_since {
            Some(since) if self.now - since >= self.programs[end.program.0].dead_after => {
                self.break_end(id, io::ErrorKind::TimedOut);
            }
            None if self.ends[other.0].state == State::Gone && !self.ends[other.0].goodbye => {
                self.break_end(id, io::ErrorKind::ConnectionReset);
            }
            _ => {}
        }
    }

    fn break_end(&mut self, id: EndId, kind: io::ErrorKind) {
        self.ends[id.0].broken = Some(kind);
        self.mark_readable(id);
    }

    fn fail_dial(&mut self, id: EndId, kind: io::ErrorKind) {
        let program = self.ends[id.0].program;
        self.ends[id.0].state = State::Gone;
        self.mailbox(program).connected.push_back((id, Err(kind)));
        self.wake(program, self.now);
    }

    fn mark_readable(&mut self, id: EndId) {
        let program = self.ends[id.0].program;
        let readable = &mut self.mailbox(program).readable;
        if !readable.contains(&id) {
            readable.push_back(id);
        }
        self.wake(program, self.now);
    }
}
