//! One Ethernet: a thread that carries frames between interfaces, after a while, or not at all.
//!
//! The kernel's own delay and loss (`netem`) is not built everywhere, and a bridge has neither. The interfaces are
//! TAP devices, which hand out frames with checksums that are complete and no longer than the link allows.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::fmt::{self, Debug, Formatter};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tappers::Tap;

use super::frame::{self, Mac};
use super::translator::{Side, Translator};

/// Longer than any frame on a link of 1500 bytes.
const LONGEST: usize = 2048;
/// Frames taken from one interface before the others get their turn.
const BURST: usize = 64;
/// Frames under way at most; more are lost, as in a full router.
const CAPACITY: usize = 20_000;

/// A link that any number of interfaces are plugged into.
pub(crate) struct Segment {
    shared: Arc<Shared>,
    carrier: Option<JoinHandle<()>>,
    network: Ipv4Addr,
    prefix: u8,
    six: Option<(Ipv6Addr, u8)>,
}

/// What a plug leads to.
#[derive(Clone)]
pub(crate) enum End {
    /// An interface of a namespace.
    Tap(Arc<Tap>),
    /// A router in this process.
    Translator(Arc<Translator>, Side),
}

/// A place at a segment. Dropping it pulls the plug.
pub(crate) struct Plug {
    shared: Arc<Shared>,
    port: u64,
}

impl Segment {
    /// With the addresses of `network`/`prefix`, and perhaps IPv6 ones as well.
    pub(crate) fn new((network, prefix): (Ipv4Addr, u8), six: Option<(Ipv6Addr, u8)>) -> io::Result<Segment> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let shared = Arc::new(Shared { state: Mutex::new(State::default()), wake });
        let carrier = thread::Builder::new().name(format!("segment {network}")).spawn({
            let shared = shared.clone();
            move || shared.carry(&woken)
        })?;
        Ok(Segment { shared, carrier: Some(carrier), network, prefix, six })
    }

    /// From now on every frame takes `delay` from one end to any other. Only address resolution is spared: a real
    /// path has it on its first link alone.
    pub(crate) fn delay(&self, delay: Duration) {
        self.shared.lock().delay = delay;
    }

    /// From now on every frame that goes from one machine to another takes so much longer. One that was sent before the
    /// last change may arrive after one that was sent after it.
    pub(crate) fn delay_between(&self, from: Ipv4Addr, to: Ipv4Addr, extra: Duration) {
        let mut state = self.shared.lock();
        if extra.is_zero() {
            state.detours.remove(&(from, to));
        } else {
            state.detours.insert((from, to), extra);
        }
    }

    /// The same, but only for connections that are there already: those that are begun later are not slowed down.
    pub(crate) fn delay_standing(&self, from: Ipv4Addr, to: Ipv4Addr, extra: Duration) {
        self.delay_between(from, to, extra);
        let mut state = self.shared.lock();
        state.spared.retain(|(sender, receiver)| (*sender.ip(), *receiver.ip()) != (from, to));
        if extra.is_zero() {
            state.standing.remove(&(from, to));
        } else {
            state.standing.insert((from, to));
        }
    }

    /// How many TCP connections were begun here (SYNs, repeated ones as well) between the machines that are asked for.
    pub(crate) fn openings(&self, between: impl Fn(Ipv4Addr, Ipv4Addr) -> bool) -> u64 {
        let state = self.shared.lock();
        state.openings.iter().filter(|((from, to), _)| between(*from, *to)).map(|(_, count)| count).sum()
    }

    /// By how much the latest of all frames was too late since this was asked last: how busy this machine is.
    pub(crate) fn lateness(&self) -> Duration {
        std::mem::take(&mut self.shared.lock().lateness)
    }

    /// From now on this part of all frames is lost: 0.0 none, 1.0 all. Which ones is the same in every run.
    pub(crate) fn loss(&self, part: f64) {
        self.shared.lock().loss = part;
    }

    /// Frames lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lock().lost
    }

    /// Opens a place for an end.
    pub(crate) fn plug(&self, end: End) -> Plug {
        let mut state = self.shared.lock();
        let port = state.named;
        state.named += 1;
        state.ports.push((port, end));
        drop(state);
        self.shared.wake();
        Plug { shared: self.shared.clone(), port }
    }

    /// The address of this number in the segment's network.
    pub(crate) fn address(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + number)
    }

    /// The IPv6 address of the machine with this IPv4 address, and its prefix, where there is IPv6.
    pub(crate) fn address6(&self, address: Ipv4Addr) -> Option<(Ipv6Addr, u8)> {
        let number = u32::from(address) - u32::from(self.network);
        self.six.map(|(network, prefix)| (Ipv6Addr::from(u128::from(network) + u128::from(number)), prefix))
    }

    /// The length of its network's prefix.
    pub(crate) fn prefix(&self) -> u8 {
        self.prefix
    }

    /// An address that nobody has yet: `from`, or the next ones.
    pub(crate) fn assign(&self, from: u32) -> Ipv4Addr {
        let mut state = self.shared.lock();
        let taken = state.assigned.entry(from).or_default();
        *taken += 1;
        let number = from + *taken - 1;
        self.address(number)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.over = true;
        // A translator in here refers to us: without this neither would ever go.
        let ends = std::mem::take(&mut state.ports);
        drop(state);
        drop(ends);
        self.shared.wake();
        if let Some(carrier) = self.carrier.take() {
            // That it panicked was already printed.
            _ = carrier.join();
        }
    }
}

impl Debug for Segment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({}/{})", self.network, self.prefix)
    }
}

impl Plug {
    /// Hands a frame to the segment, for everybody else there.
    pub(crate) fn send(&self, frame: Vec<u8>) {
        self.shared.lock().accept(self.port, frame, Instant::now());
        self.shared.wake();
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let end =
            state.ports.iter().position(|(port, _)| *port == self.port).map(|at| state.ports.remove(at));
        state.homes.retain(|_, port| *port != self.port);
        drop(state);
        drop(end);
        self.shared.wake();
    }
}

impl Debug for Plug {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Plug({})", self.port)
    }
}

struct Shared {
    state: Mutex<State>,
    wake: UnixStream,
}

#[derive(Default)]
struct State {
    ports: Vec<(u64, End)>,
    named: u64,
    assigned: HashMap<u32, u32>,
    /// Behind which port each station was heard last.
    homes: HashMap<Mac, u64>,
    delay: Duration,
    /// What is added to it between two machines.
    detours: HashMap<(Ipv4Addr, Ipv4Addr), Duration>,
    /// The detours that hold only for connections that were there before.
    standing: HashSet<(Ipv4Addr, Ipv4Addr)>,
    /// Those that were not.
    spared: HashSet<(SocketAddrV4, SocketAddrV4)>,
    openings: HashMap<(Ipv4Addr, Ipv4Addr), u64>,
    lateness: Duration,
    loss: f64,
    lost: u64,
    dice: u64,
    accepted: u64,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    over: bool,
}

/// Ordered by when it is due, then by when it came.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    due: Instant,
    number: u64,
    from: u64,
    frame: Vec<u8>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // A full pipe wakes as well as another byte would.
        _ = (&self.wake).write(&[1]);
    }

    fn carry(&self, woken: &UnixStream) {
        while let Some((taps, next)) = self.turn() {
            let readable = wait(woken, &taps, next);
            drain(woken);
            let now = Instant::now();
            for (port, tap) in taps.iter().zip(readable).filter_map(|(tap, readable)| readable.then_some(tap))
            {
                self.read(*port, tap, now);
            }
        }
    }

    /// Delivers what is due; then whom to listen to and until when, or that it is over.
    #[expect(clippy::type_complexity, reason = "a pair of lists, used once")]
    fn turn(&self) -> Option<(Vec<(u64, Arc<Tap>)>, Option<Instant>)> {
        loop {
            let mut state = self.lock();
            if state.over {
                return None;
            }
            let Some((frame, ends)) = state.due(Instant::now()) else {
                let next = state.under_way.peek().map(|Reverse(next)| next.due);
                let taps = state.ports.iter().filter_map(|(port, end)| match end {
                    End::Tap(tap) => Some((*port, tap.clone())),
                    End::Translator(..) => None,
                });
                return Some((taps.collect(), next));
            };
            // A translator answers by sending, here or on its other side, so nothing is held while it works.
            drop(state);
            for end in ends {
                end.deliver(&frame);
            }
        }
    }

    fn read(&self, port: u64, tap: &Tap, now: Instant) {
        let mut buffer = [0; LONGEST];
        for _ in 0..BURST {
            // Nothing more, or an interface that is going away: both end the turn.
            let Ok(length) = tap.recv(&mut buffer) else { return };
            self.lock().accept(port, buffer[..length].to_vec(), now);
        }
    }
}

impl State {
    fn accept(&mut self, from: u64, frame: Vec<u8>, now: Instant) {
        let (Some(source), true) = (frame::source(&frame), self.under_way.len() < CAPACITY) else { return };
        self.homes.insert(source, from);
        if let Some(ends) = frame::opening(&frame) {
            *self.openings.entry(ends).or_default() += 1;
            let (opener, opened) = ends;
            if self.standing.contains(&(opened, opener)) {
                self.spared.extend(frame::sockets(&frame).map(|(opener, opened)| (opened, opener)));
            }
        }
        let mut delay = self.delay + self.detour(&frame);
        if frame::is_resolution(&frame) {
            delay = Duration::ZERO;
        } else if self.unlucky() {
            self.lost += 1;
            return;
        }
        self.accepted += 1;
        self.under_way.push(Reverse(UnderWay { due: now + delay, number: self.accepted, from, frame }));
    }

    /// How much longer this frame takes than others.
    fn detour(&self, frame: &[u8]) -> Duration {
        let extra = frame::ends(frame).and_then(|ends| self.detours.get(&ends)).copied();
        let is_spared = || frame::sockets(frame).is_some_and(|sockets| self.spared.contains(&sockets));
        extra.filter(|_| self.spared.is_empty() || !is_spared()).unwrap_or_default()
    }

    /// A frame whose time has come, and where it goes: to the station's port, or to all when that is unknown.
    fn due(&mut self, now: Instant) -> Option<(Vec<u8>, Vec<End>)> {
        if self.under_way.peek()?.0.due > now {
            return None;
        }
        let Reverse(UnderWay { due, from, frame, .. }) = self.under_way.pop()?;
        self.lateness = self.lateness.max(now - due);
        let home = frame::destination(&frame).and_then(|station| self.homes.get(&station).copied());
        let wanted = |port| port != from && home.is_none_or(|home| home == port);
        let ends = self.ports.iter().filter(|(port, _)| wanted(*port)).map(|(_, end)| end.clone()).collect();
        Some((frame, ends))
    }

    fn unlucky(&mut self) -> bool {
        if self.loss <= 0.0 {
            return false;
        }
        // The upper half of a linear congruential generator (Knuth's constants) is random enough for dice.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let thrown = f64::from((self.dice >> 32) as u32) / f64::from(u32::MAX);
        thrown <= self.loss
    }
}

impl End {
    fn deliver(&self, frame: &[u8]) {
        match self {
            // An interface that is down or gone takes nothing, as a cable that is not plugged in.
            End::Tap(tap) => _ = tap.send(frame),
            End::Translator(translator, side) => translator.handle(*side, frame),
        }
    }
}

/// Which of the interfaces have something to read.
fn wait(woken: &UnixStream, taps: &[(u64, Arc<Tap>)], next: Option<Instant>) -> Vec<bool> {
    let mut polled = vec![PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
    polled.extend(taps.iter().map(|(_, tap)| PollFd::new(tap.as_fd(), PollFlags::POLLIN)));
    let timeout = next.map(|next| TimeSpec::from(next.saturating_duration_since(Instant::now())));
    // An interruption is a turn without news.
    _ = ppoll(&mut polled, timeout, None);
    polled.iter().skip(1).map(|one| one.any().unwrap_or(false)).collect()
}

fn drain(mut woken: &UnixStream) {
    let mut buffer = [0; 256];
    while woken.read(&mut buffer).is_ok_and(|read| read == buffer.len()) {}
}
