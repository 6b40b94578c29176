//! The p2p network's decisions: which addresses we know, which of them to dial, and which not.
//!
//! # One link for each pair
//!
//! Two nodes that learn of each other should end with one connection, although plain connections carry no identity and
//! an inbound one comes from an ephemeral port. So each side reasons about who will dial whom:
//!
//! - A server that supports it marks a node as *newer* when it registered after us. It was given our address and is
//!   expected to dial us, so it is held back for 3 s (and up to a second more: were both sides to think the other
//!   newer, because two servers saw them in different order, the one that wakes first decides it).
//! - Inbound connections are *matched* to candidates at the same IP, each connection to at most one candidate and each
//!   candidate to at most one connection. A matched candidate is taken for connected and not dialled. Nothing else is
//!   known about an inbound connection, so the match is a guess in the order of who is expected to dial: newer nodes
//!   first, then those that we could not reach, then the rest. That alone does for servers that mark nothing.
//! - A connection can not be from a candidate that we were linked with, or had not yet begun to dial, when it arrived;
//!   so losing one node of a household does not make another's connection pass for it.
//! - Who dialled dials again when a link is lost. The side that was dialled therefore waits for twice the first
//!   back-off before it takes the candidates at that IP for unconnected.
//!
//! Several nodes behind one IP are several candidates, told apart by their ports. A wrong guess costs a second link or,
//! until the other side's next bootstrap, a missing one. Static peers are exempt: what the user asks for is dialled.
//!
//! # Nobody aims us
//!
//! What servers say is bounded by the book's limit; what follows from it, by a budget of dials in any minute: 3 to one
//! address and port, 20 to one IP (loopback excepted), 120 in all. An address that never worked is tried 3 times and
//! then left alone for 10 minutes, however often it is listed again. A server may only list addresses that reach as far
//! as its own: one on the internet can not send us to loopback or into our LAN.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::proto::backoff::Backoff;
use crate::proto::dial::{canonical, is_dialable, is_own};
use crate::random::Random;
use crate::time::{Instant, soonest};

/// The time over which dials are counted.
const MINUTE: Duration = Duration::from_secs(60);
/// Own addresses kept: far more than interfaces have.
const OWN_LIMIT: usize = 256;

#[derive(Clone, Copy, Debug)]
pub(crate) struct PeersConfig {
    /// Outbound connections, those under way included. Defaults to 10, as in pyp2p.
    pub(crate) max_outbound: usize,
    /// Addresses known. Defaults to 1000. Static ones may exceed it.
    pub(crate) book_limit: usize,
    /// Addresses offered for the known-peers file. Defaults to 100.
    pub(crate) known_limit: usize,
    /// The wait after a lost or failed connection, doubling. Defaults to 5 s.
    pub(crate) retry_first: Duration,
    /// The longest wait, also that for an address given up. Defaults to 10 minutes.
    pub(crate) retry_max: Duration,
    /// Failures in a row after which an address that never worked is given up. Defaults to 3.
    pub(crate) failures_unproven: u32,
    /// The same for one that has worked. Defaults to 8.
    pub(crate) failures_proven: u32,
    /// How long a connection has to last to count as a success. Defaults to a minute: a node without a free slot
    /// accepts and closes at once.
    pub(crate) steady_after: Duration,
    /// How long a newer node is given to dial us. Defaults to 3 s.
    pub(crate) newer_hold: Duration,
    /// Dials to one address and port in a minute. Defaults to 3.
    pub(crate) dials_per_address: usize,
    /// Dials to one IP in a minute, loopback excepted. Defaults to 20.
    pub(crate) dials_per_ip: usize,
    /// Dials in a minute. Defaults to 120.
    pub(crate) dials_per_minute: usize,
}

impl Default for PeersConfig {
    fn default() -> Self {
        Self {
            max_outbound: 10,
            book_limit: 1000,
            known_limit: 100,
            retry_first: Duration::from_secs(5),
            retry_max: Duration::from_secs(600),
            failures_unproven: 3,
            failures_proven: 8,
            steady_after: Duration::from_secs(60),
            newer_hold: Duration::from_secs(3),
            dials_per_address: 3,
            dials_per_ip: 20,
            dials_per_minute: 120,
        }
    }
}

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From the configuration: dialled first, retried for ever.
    Static,
    /// A rendezvous server at this IP listed it; `newer` when it says that the node registered after us.
    Rendezvous { newer: bool, server: IpAddr },
    /// It worked in an earlier run.
    File,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosedBy {
    /// The application: it will not want the same peer back at once.
    Us,
    /// The peer, or the network.
    Them,
}

/// The address book and the outbound slots.
///
/// Ask `poll_dial` until it is `None` after each input; it decides as of the latest `now` that it was given.
#[derive(Debug)]
pub(crate) struct Peers {
    config: PeersConfig,
    random: Random,
    book: BTreeMap<SocketAddr, Entry>,
    /// Entries dialled or open.
    outbound: usize,
    /// Inbound connections by IP, in order of arrival.
    inbound: BTreeMap<IpAddr, Vec<Inbound>>,
    own: Vec<SocketAddr>,
    /// The dials of the last minute.
    dials: VecDeque<(Instant, SocketAddr)>,
    /// Numbers what happens, so that "before" needs no clock.
    happened: u64,
    now: Instant,
    /// Nothing to dial as things stand: `wake` and `fresh` are right, and asking again is free.
    settled: bool,
    /// When that changes by itself.
    wake: Option<Instant>,
    /// Candidates without a failure that wait for a slot, or for a time that comes soon.
    fresh: usize,
    changed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Inbound {
    peer: SocketAddr,
    number: u64,
}

impl Peers {
    pub(crate) fn new(config: PeersConfig, random: Random) -> Self {
        Self {
            config,
            random,
            book: BTreeMap::new(),
            outbound: 0,
            inbound: BTreeMap::new(),
            own: Vec::new(),
            dials: VecDeque::new(),
            happened: 0,
            now: Instant::ZERO,
            settled: true,
            wake: None,
            fresh: 0,
            changed: false,
        }
    }

    /// Somebody says that a node listens there.
    pub(crate) fn handle_learned(&mut self, address: SocketAddr, source: Source, now: Instant) {
        self.advance(now);
        let address = canonical(address);
        if !is_dialable(address) || is_own(&self.own, address) || !source.may_name(address.ip()) {
            return;
        }
        let origin = Origin::from(source);
        if let Some(entry) = self.book.get_mut(&address) {
            entry.adopt(origin, now);
        } else if !self.insert(address, origin) {
            return;
        }
        self.changed |= self.inbound.contains_key(&address.ip());
        if matches!(source, Source::Rendezvous { newer: true, .. }) {
            self.expect_call(address);
        }
    }

    /// The application dials this address itself; those from `poll_dial` are known already.
    pub(crate) fn handle_dialling(&mut self, address: SocketAddr, now: Instant) {
        self.advance(now);
        let address = canonical(address);
        if !self.book.contains_key(&address) {
            self.insert(address, Origin::Application);
        }
        self.begin(address);
    }

    pub(crate) fn handle_opened(&mut self, address: SocketAddr, now: Instant) {
        self.advance(now);
        let number = self.next_number();
        let Some(entry) = self.book.get_mut(&canonical(address)) else { return };
        if entry.state == State::Idle {
            self.outbound += 1;
        }
        entry.state = State::Open { since: now };
        entry.worked = Some(number);
        entry.retired = false;
        self.changed = true;
    }

    pub(crate) fn handle_dial_failed(&mut self, address: SocketAddr, now: Instant) {
        self.advance(now);
        let address = canonical(address);
        if self.book.get(&address).is_some_and(|entry| entry.state == State::Dialling) {
            self.outbound -= 1;
            self.fail(address);
        }
    }

    /// An outbound connection has ended.
    pub(crate) fn handle_closed(&mut self, address: SocketAddr, by: ClosedBy, now: Instant) {
        self.advance(now);
        let address = canonical(address);
        let number = self.next_number();
        let Some(entry) = self.book.get_mut(&address) else { return };
        let State::Open { since } = entry.state else { return };
        self.outbound -= 1;
        // While it was open, whoever dialled us was somebody else.
        entry.not_before = number;
        if by == ClosedBy::Us {
            entry.rest(now + self.config.retry_max);
            self.drop_if_unwanted(address);
        } else if now - since >= self.config.steady_after {
            entry.succeed();
            let wait = entry.backoff.next(&mut self.random);
            entry.rest(now + wait);
            self.drop_if_unwanted(address);
        } else {
            self.fail(address);
        }
    }

    /// An inbound connection from this address and (ephemeral) port was admitted.
    pub(crate) fn handle_inbound_opened(&mut self, peer: SocketAddr, now: Instant) {
        self.advance(now);
        let (peer, number) = (canonical(peer), self.next_number());
        self.inbound.entry(peer.ip()).or_default().push(Inbound { peer, number });
        self.changed = true;
    }

    pub(crate) fn handle_inbound_closed(&mut self, peer: SocketAddr, now: Instant) {
        self.advance(now);
        let peer = canonical(peer);
        let Some(inbound) = self.inbound.get_mut(&peer.ip()) else { return };
        let Some(index) = inbound.iter().position(|inbound| inbound.peer == peer) else { return };
        inbound.remove(index);
        if inbound.is_empty() {
            self.inbound.remove(&peer.ip());
        }
        self.expect_return(peer.ip());
    }

    /// Never dial these: where we listen (with the addresses that an unspecified one stands for), and where servers
    /// see us. Open connections stay as they are and static peers stay in the book: no server's claim should be able to
    /// close the one or to remove the other.
    pub(crate) fn set_own(&mut self, own: &[SocketAddr]) {
        self.settled = false;
        self.own = own.iter().copied().map(canonical).take(OWN_LIMIT).collect();
        let ours: Vec<_> = self.book.keys().copied().filter(|&address| is_own(&self.own, address)).collect();
        for address in ours {
            self.drop_if_unwanted(address);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.wake.is_some_and(|wake| wake <= now) {
            self.settled = false;
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.settled { self.wake } else { Some(self.now) }
    }

    /// The next address to dial; it counts as dialled from here on.
    pub(crate) fn poll_dial(&mut self) -> Option<SocketAddr> {
        if self.settled {
            return None;
        }
        let choice = self.choose();
        match choice {
            Some(address) => self.begin(address),
            None => self.settled = true,
        }
        choice
    }

    /// Whether there is an outbound connection to this address and port, or one under way.
    #[cfg(test)]
    pub(crate) fn is_linked(&self, address: SocketAddr) -> bool {
        self.book.get(&canonical(address)).is_some_and(|entry| entry.state != State::Idle)
    }

    /// Outbound connections, those under way included.
    #[cfg(test)]
    pub(crate) fn outbound(&self) -> usize {
        self.outbound
    }

    /// How many more nodes to ask a rendezvous server for: the free slots that nobody untried is waiting for.
    pub(crate) fn wanted(&self) -> usize {
        self.config.max_outbound.saturating_sub(self.outbound).saturating_sub(self.fresh)
    }

    /// For the known-peers file: those that worked, the latest first, then those of the file that were not needed, and
    /// those that are taken for connected: a node whom all others dialled would know nobody otherwise.
    pub(crate) fn known(&self) -> impl Iterator<Item = SocketAddr> {
        let matched = self.matched();
        let is_known = |address, entry: &Entry| entry.is_known() || matched.contains(address);
        let mut known: Vec<_> =
            self.book.iter().filter(|(address, entry)| is_known(address, entry)).collect();
        known.sort_by_key(|(_, entry)| entry.renown());
        known.into_iter().take(self.config.known_limit).map(|(&address, _)| address)
    }

    /// Whether `known` would give something else than when this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.settled = false;
    }

    fn next_number(&mut self) -> u64 {
        self.happened += 1;
        self.happened
    }
}

/// The book.
impl Peers {
    /// Whether there was room for it.
    fn insert(&mut self, address: SocketAddr, origin: Origin) -> bool {
        // What the user asks for is let in even if nobody has to leave for it.
        let asked = matches!(origin, Origin::Static | Origin::Application);
        if self.book.len() >= self.config.book_limit && !self.make_room(asked) && !asked {
            return false;
        }
        let number = self.next_number();
        let backoff = Backoff::new(self.config.retry_first, self.config.retry_max);
        self.book.insert(address, Entry::new(origin, number, self.now, backoff));
        true
    }

    /// Forgets the worst candidate, and an untried one only where `asked`: else whoever lists most would own the book.
    fn make_room(&mut self, asked: bool) -> bool {
        let idle = self
            .book
            .iter()
            .filter(|(_, entry)| entry.state == State::Idle && entry.origin != Origin::Static);
        let Some((&address, worst)) = idle.max_by_key(|(_, entry)| entry.badness()) else { return false };
        let may_go = asked || worst.worth() < Worth::Untried;
        if may_go {
            self.remove(address);
        }
        may_go
    }

    fn remove(&mut self, address: SocketAddr) {
        if let Some(entry) = self.book.remove(&address) {
            self.changed |= entry.is_known();
        }
    }

    /// A newer node gets the time to dial us, once.
    fn expect_call(&mut self, address: SocketAddr) {
        let spread = self.config.newer_hold / 3;
        let until = self.now + self.config.newer_hold + share(&mut self.random, spread);
        if let Some(entry) = self.book.get_mut(&address) {
            if !entry.newer && entry.origin != Origin::Static {
                entry.newer = true;
                entry.ready = entry.ready.max(until);
            }
        }
    }

    /// A lost inbound connection's dialler gets the time to come back.
    fn expect_return(&mut self, ip: IpAddr) {
        let wait = self.config.retry_first * 2;
        let until = self.now + wait + share(&mut self.random, wait / 4);
        for (_, entry) in self.book.range_mut(ports_of(ip)) {
            if entry.may_be_inbound() {
                entry.ready = entry.ready.max(until);
            }
        }
    }

    fn begin(&mut self, address: SocketAddr) {
        let number = self.next_number();
        let Some(entry) = self.book.get_mut(&address) else { return };
        if entry.state != State::Idle {
            return;
        }
        entry.state = State::Dialling;
        // Had an earlier inbound connection been from there, there would have been no need to dial.
        entry.not_before = number;
        self.outbound += 1;
        self.dials.push_back((self.now, address));
        self.forget_old_dials();
    }

    /// A dial that failed, or a connection that was lost too soon.
    fn fail(&mut self, address: SocketAddr) {
        let (now, config) = (self.now, &self.config);
        let Some(entry) = self.book.get_mut(&address) else { return };
        let limit = if entry.worked.is_some() { config.failures_proven } else { config.failures_unproven };
        entry.failures += 1;
        let wait = entry.backoff.next(&mut self.random);
        if entry.failures >= limit && entry.origin != Origin::Static {
            self.changed |= entry.is_known();
            entry.retire(now + config.retry_max);
        } else {
            entry.rest(now + wait);
        }
        self.drop_if_unwanted(address);
    }

    /// What the application dialled is its own to try again, and our own addresses are nobody's.
    fn drop_if_unwanted(&mut self, address: SocketAddr) {
        let Some(entry) = self.book.get(&address) else { return };
        let unwanted = match entry.origin {
            Origin::Application => true,
            Origin::Static => false,
            Origin::Rendezvous | Origin::File => is_own(&self.own, address),
        };
        if unwanted && entry.state == State::Idle {
            self.remove(address);
        }
    }
}

/// The choice.
impl Peers {
    fn choose(&mut self) -> Option<SocketAddr> {
        self.forget_old_dials();
        self.forget_retired();
        (self.wake, self.fresh) = (None, 0);
        if self.outbound >= self.config.max_outbound {
            return None;
        }
        let (matched, budget) = (self.matched(), Budget::new(&self.dials, &self.config));
        let soon = self.now + self.config.retry_first * 3;
        let (mut statics, mut others, mut unlinked_statics) = (Vec::new(), Vec::new(), 0);
        for (&address, entry) in &self.book {
            let is_static = entry.origin == Origin::Static;
            let linked = entry.state != State::Idle || matched.contains(&address);
            if linked || is_static && is_own(&self.own, address) {
                continue;
            }
            unlinked_statics += usize::from(is_static);
            self.fresh += usize::from(entry.failures == 0 && entry.ready <= soon);
            if entry.ready > self.now {
                self.wake = soonest(self.wake, Some(entry.ready));
            } else if !budget.allows(address) {
                self.wake = soonest(self.wake, budget.renewed);
            } else if is_static {
                statics.push(address);
            } else {
                others.push(address);
            }
        }
        // Slots that a static peer may come back to; at most half, so that dead ones can not keep us alone.
        let reserved = unlinked_statics.min(self.config.max_outbound / 2);
        if self.outbound + reserved >= self.config.max_outbound {
            others.clear();
        }
        let choices = if statics.is_empty() { others } else { statics };
        choices.get(self.random.below(choices.len())).copied()
    }

    /// The candidates that are taken for connected, because they are matched to an inbound connection.
    ///
    /// Connections that may be from fewer candidates choose first: a candidate that may have made one of them may have
    /// made any later one, so those are the older ones.
    fn matched(&self) -> BTreeSet<SocketAddr> {
        let mut matched = BTreeSet::new();
        for (&ip, connections) in &self.inbound {
            let mut candidates: Vec<_> =
                self.book.range(ports_of(ip)).filter(|(_, entry)| entry.may_be_inbound()).collect();
            candidates.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.expectation()));
            for connection in connections {
                let made_it = candidates.iter().position(|(_, entry)| entry.not_before <= connection.number);
                if let Some(index) = made_it {
                    matched.insert(*candidates.remove(index).0);
                }
            }
        }
        matched
    }

    fn forget_old_dials(&mut self) {
        // The application's own dials are not refused, but need not be remembered beyond what the budget looks at.
        let limit = self.config.dials_per_minute.saturating_mul(2);
        while self.dials.len() > limit || self.dials.front().is_some_and(|&(at, _)| self.now - at >= MINUTE) {
            self.dials.pop_front();
        }
    }

    fn forget_retired(&mut self) {
        let now = self.now;
        self.book.retain(|_, entry| !entry.retired || entry.state != State::Idle || entry.ready > now);
    }
}

/// What the last minute's dials leave for this moment.
struct Budget<'a> {
    config: &'a PeersConfig,
    used: usize,
    by_address: BTreeMap<SocketAddr, usize>,
    by_ip: BTreeMap<IpAddr, usize>,
    /// When there may be more.
    renewed: Option<Instant>,
}

impl<'a> Budget<'a> {
    fn new(dials: &VecDeque<(Instant, SocketAddr)>, config: &'a PeersConfig) -> Self {
        let (mut by_address, mut by_ip) = (BTreeMap::new(), BTreeMap::new());
        for (_, address) in dials {
            *by_address.entry(*address).or_default() += 1;
            *by_ip.entry(address.ip()).or_default() += 1;
        }
        let renewed = dials.front().map(|&(at, _)| at + MINUTE);
        Self { config, used: dials.len(), by_address, by_ip, renewed }
    }

    fn allows(&self, address: SocketAddr) -> bool {
        let to_address = self.by_address.get(&address).copied().unwrap_or(0);
        let to_ip = self.by_ip.get(&address.ip()).copied().unwrap_or(0);
        self.used < self.config.dials_per_minute
            && to_address < self.config.dials_per_address
            && (to_ip < self.config.dials_per_ip || address.ip().is_loopback())
    }
}

/// What we know about one address.
#[derive(Debug)]
struct Entry {
    origin: Origin,
    state: State,
    /// A server said that it registered after us.
    newer: bool,
    learned: u64,
    /// Inbound connections with a smaller number are not from there.
    not_before: u64,
    /// Not to be dialled before.
    ready: Instant,
    backoff: Backoff,
    /// In a row.
    failures: u32,
    /// When it last opened.
    worked: Option<u64>,
    /// Given up; kept until `ready`, so that listing it again does not start it over.
    retired: bool,
}

/// In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// The application dialled it without our asking.
    Application,
    Rendezvous,
    File,
    Static,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Dialling,
    Open { since: Instant },
}

/// What a place in the book is worth to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Retired,
    Failed,
    Untried,
    Worked,
}

impl Entry {
    fn new(origin: Origin, number: u64, now: Instant, backoff: Backoff) -> Self {
        Self {
            origin,
            state: State::Idle,
            newer: false,
            learned: number,
            not_before: 0,
            ready: now,
            backoff,
            failures: 0,
            worked: None,
            retired: false,
        }
    }

    fn rest(&mut self, until: Instant) {
        self.state = State::Idle;
        self.ready = until;
    }

    fn retire(&mut self, until: Instant) {
        self.rest(until);
        self.retired = true;
    }

    fn succeed(&mut self) {
        self.failures = 0;
        self.backoff.reset();
    }

    /// Another source names it too.
    fn adopt(&mut self, origin: Origin, now: Instant) {
        if origin == Origin::Static && self.retired {
            self.retired = false;
            self.ready = now;
        }
        self.origin = self.origin.max(origin);
    }

    fn may_be_inbound(&self) -> bool {
        self.state == State::Idle && self.origin != Origin::Static
    }

    /// The larger, the likelier is an inbound connection from its IP to be from there.
    ///
    /// A newer node dials when it registers, so the first to be listed was the first to dial. Of the others the last
    /// to be listed is the likeliest to have registered after us.
    fn expectation(&self) -> (bool, bool, u64) {
        (self.newer, self.failures > 0, if self.newer { u64::MAX - self.learned } else { self.learned })
    }

    fn worth(&self) -> Worth {
        match (self.retired, self.worked, self.failures) {
            (true, ..) => Worth::Retired,
            (_, Some(_), _) => Worth::Worked,
            (_, None, 0) => Worth::Untried,
            _ => Worth::Failed,
        }
    }

    /// The larger, the sooner it makes room; of equals the one that we have known for longest.
    fn badness(&self) -> impl Ord + use<> {
        use std::cmp::Reverse;
        (Reverse(self.worth()), self.failures, Reverse(self.learned))
    }

    fn is_known(&self) -> bool {
        !self.retired && (self.worked.is_some() || self.origin == Origin::File)
    }

    /// Sorts the known ones: those that are open now, those that worked in this run, those of the file in its order.
    fn renown(&self) -> impl Ord + use<> {
        use std::cmp::Reverse;
        let open = matches!(self.state, State::Open { .. });
        (Reverse(open), Reverse(self.worked), self.learned)
    }
}

impl From<Source> for Origin {
    fn from(source: Source) -> Self {
        match source {
            Source::Static => Self::Static,
            Source::File => Self::File,
            Source::Rendezvous { .. } => Self::Rendezvous,
        }
    }
}

impl Source {
    /// A server can only list nodes that it could have seen: those of its own reach, or of a wider one.
    fn may_name(self, ip: IpAddr) -> bool {
        match self {
            Self::Static | Self::File => true,
            Self::Rendezvous { server, .. } => Reach::of(ip) >= Reach::of(server),
        }
    }
}

/// From how far away an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Machine,
    Link,
    Site,
    World,
}

impl Reach {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() => Self::Machine,
            IpAddr::V4(ip) if ip.is_link_local() => Self::Link,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Self::Link,
            IpAddr::V4(ip) if ip.is_private() || is_carrier_grade(ip.octets()) => Self::Site,
            IpAddr::V6(ip) if ip.is_unique_local() => Self::Site,
            _ => Self::World,
        }
    }
}

/// 100.64.0.0/10 (RFC 6598): inside a provider's NAT.
fn is_carrier_grade([first, second, ..]: [u8; 4]) -> bool {
    first == 100 && second & 0xc0 == 64
}

/// All that the book may hold for one IP.
fn ports_of(ip: IpAddr) -> RangeInclusive<SocketAddr> {
    let last = match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, u16::MAX),
        IpAddr::V6(ip) => last_of(ip).into(),
    };
    SocketAddr::new(ip, 0)..=last
}

/// Scopes sort after ports.
fn last_of(ip: Ipv6Addr) -> SocketAddrV6 {
    SocketAddrV6::new(ip, u16::MAX, u32::MAX, u32::MAX)
}

/// A random part of `span`.
fn share(random: &mut Random, span: Duration) -> Duration {
    let nanos = usize::try_from(span.as_nanos()).unwrap_or(usize::MAX);
    Duration::from_nanos(random.below(nanos) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
    const OLDER: Source = Source::Rendezvous { newer: false, server: SERVER };
    const NEWER: Source = Source::Rendezvous { newer: true, server: SERVER };

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// The n-th of many hosts.
    fn host(n: u16) -> SocketAddr {
        let [high, low] = n.to_be_bytes();
        SocketAddr::from(([203, 0, high, low], 4000))
    }

    fn peers() -> Peers {
        Peers::new(PeersConfig::default(), Random::from_number(1))
    }

    fn dials(peers: &mut Peers) -> Vec<SocketAddr> {
        std::iter::from_fn(|| peers.poll_dial()).collect()
    }

    /// Runs to the next dial and says when it was.
    fn next_dial(peers: &mut Peers) -> Option<(u64, SocketAddr)> {
        for _ in 0..1000 {
            if let Some(address) = peers.poll_dial() {
                return Some((peers.now.since_origin().as_millis() as u64, address));
            }
            let wake = peers.poll_timeout()?;
            peers.handle_timeout(wake);
        }
        panic!("wakes without dialling");
    }

    #[test]
    fn candidates_fill_the_slots_and_no_more() {
        let mut peers = peers();
        assert_eq!((peers.wanted(), peers.poll_timeout()), (10, None));
        for n in 0..4 {
            peers.handle_learned(host(n), OLDER, at(0));
        }
        assert_eq!(dials(&mut peers).len(), 4);
        assert_eq!((peers.wanted(), peers.outbound()), (6, 4));
        for n in 4..40 {
            peers.handle_learned(host(n), OLDER, at(0));
        }
        assert_eq!(dials(&mut peers).len(), 6);
        assert_eq!((peers.wanted(), peers.outbound()), (0, 10));
    }

    #[test]
    fn static_peers_come_first_and_the_rest_at_random() {
        let first = |seed| {
            let mut peers = Peers::new(PeersConfig::default(), Random::from_number(seed));
            for n in 0..30 {
                peers.handle_learned(host(n), OLDER, at(0));
            }
            peers.handle_learned(host(99), Source::Static, at(0));
            assert_eq!(peers.poll_dial(), Some(host(99)));
            peers.poll_dial()
        };
        let seen: BTreeSet<_> = (0..20).map(first).collect();
        assert!(seen.len() > 5, "{seen:?}");
    }

    #[test]
    fn an_address_is_dialled_once_in_whatever_clothes() {
        let mut peers = peers();
        for text in ["203.0.113.1:4000", "[::ffff:203.0.113.1]:4000", "203.0.113.1:4000"] {
            peers.handle_learned(addr(text), OLDER, at(0));
        }
        assert_eq!(dials(&mut peers), [addr("203.0.113.1:4000")]);
        peers.handle_opened(addr("203.0.113.1:4000"), at(50));
        peers.handle_learned(addr("203.0.113.1:4000"), OLDER, at(100));
        assert_eq!(dials(&mut peers), []);
        assert!(peers.is_linked(addr("[::ffff:203.0.113.1]:4000")));
    }

    #[test]
    fn several_nodes_of_one_household_are_several_nodes() {
        let mut peers = peers();
        for port in 4000..4003 {
            peers.handle_learned(member(port), OLDER, at(0));
        }
        assert_eq!(dials(&mut peers).len(), 3);
    }

    /// Lists 100 ports of one IP, where nobody listens, and counts the dials of the first minute.
    fn dials_to(ip: IpAddr) -> usize {
        let mut peers = peers();
        for port in 1..=100 {
            peers.handle_learned(
                SocketAddr::new(ip, port),
                Source::Rendezvous { newer: false, server: ip },
                at(0),
            );
        }
        let mut count = 0;
        while let Some((time, address)) = next_dial(&mut peers).filter(|&(time, _)| time < 60_000) {
            count += 1;
            peers.handle_dial_failed(address, at(time));
        }
        count
    }

    #[test]
    fn no_ip_is_dialled_more_than_20_times_a_minute_but_our_own_machine() {
        assert_eq!(dials_to(host(1).ip()), 20);
        assert_eq!(dials_to(addr("127.0.0.1:1").ip()), 120);
    }

    #[test]
    fn a_static_peer_that_was_given_up_under_another_name_is_tried_at_once() {
        let mut peers = peers();
        peers.handle_learned(host(1), OLDER, at(0));
        let mut now = 0;
        for _ in 0..3 {
            now = next_dial(&mut peers).unwrap().0;
            peers.handle_dial_failed(host(1), at(now));
        }
        assert_eq!(dials(&mut peers), []);
        peers.handle_learned(host(1), Source::Static, at(now + 60_000));
        assert_eq!(dials(&mut peers), [host(1)]);
    }

    #[test]
    fn what_the_application_dials_takes_a_slot_and_is_not_dialled_again() {
        let mut peers = peers();
        peers.handle_dialling(host(1), at(0));
        peers.handle_learned(host(1), OLDER, at(0));
        assert_eq!((dials(&mut peers), peers.outbound()), (vec![], 1));
        peers.handle_dialling(host(2), at(0));
        peers.handle_dial_failed(host(2), at(10));
        assert_eq!(next_dial(&mut peers), None, "what only the application wanted is not retried");
    }

    #[test]
    fn a_failed_address_waits_5_s_then_twice_as_long_and_is_given_up_after_3_failures() {
        let mut peers = peers();
        peers.handle_learned(host(1), OLDER, at(0));
        let mut times = Vec::new();
        while let Some((time, address)) = next_dial(&mut peers) {
            assert!(times.len() < 10);
            times.push(time);
            peers.handle_dial_failed(address, at(time));
            peers.handle_learned(host(1), OLDER, at(time)); // listing it again does not start it over
        }
        assert_eq!(times.len(), 3);
        assert!((3750..6250).contains(&(times[1] - times[0])), "{times:?}");
        assert!((7500..12500).contains(&(times[2] - times[1])), "{times:?}");
        assert!(peers.book.is_empty(), "forgotten after its time of rest");
        peers.handle_learned(host(1), OLDER, at(times[2] + 600_000));
        assert_eq!(dials(&mut peers), [host(1)]);
    }

    #[test]
    fn a_static_peer_is_retried_for_ever_every_10_minutes() {
        let mut peers = peers();
        peers.handle_learned(host(1), Source::Static, at(0));
        let mut last = 0;
        for _ in 0..50 {
            let (time, address) = next_dial(&mut peers).unwrap();
            assert!(time - last <= 750_000);
            last = time;
            peers.handle_dial_failed(address, at(time));
        }
        assert!(last > 40 * 450_000);
    }

    #[test]
    fn a_lost_connection_is_dialled_again_after_5_s_and_meanwhile_replaced() {
        let mut peers =
            Peers::new(PeersConfig { max_outbound: 1, ..PeersConfig::default() }, Random::from_number(1));
        peers.handle_learned(host(1), OLDER, at(0));
        assert_eq!(dials(&mut peers), [host(1)]);
        peers.handle_opened(host(1), at(10));
        peers.handle_learned(host(2), OLDER, at(20));
        assert_eq!(dials(&mut peers), []);
        peers.handle_closed(host(1), ClosedBy::Them, at(100_000));
        assert_eq!(dials(&mut peers), [host(2)]);
        peers.handle_dial_failed(host(2), at(100_001));
        let (time, address) = next_dial(&mut peers).unwrap();
        assert!((103_750..106_250).contains(&time), "{time}");
        assert!([host(1), host(2)].contains(&address));
    }

    #[test]
    fn a_peer_without_a_free_slot_is_not_hammered() {
        let mut peers = peers();
        peers.handle_learned(host(1), OLDER, at(0));
        let mut times = Vec::new();
        while let Some((time, address)) = next_dial(&mut peers) {
            times.push(time);
            peers.handle_opened(address, at(time + 10));
            peers.handle_closed(address, ClosedBy::Them, at(time + 20));
        }
        assert_eq!(times.len(), 8);
        assert!(times[7] > 300_000);
    }

    #[test]
    fn whom_we_closed_is_not_wanted_back_at_once() {
        let mut peers = peers();
        peers.handle_learned(host(1), OLDER, at(0));
        peers.poll_dial();
        peers.handle_opened(host(1), at(10));
        peers.handle_closed(host(1), ClosedBy::Us, at(20));
        assert_eq!(dials(&mut peers), []);
        assert_eq!(peers.wanted(), 10);
        assert_eq!(next_dial(&mut peers), Some((600_020, host(1))));
    }

    #[test]
    fn a_newer_node_gets_3_s_to_dial_us() {
        let mut peers = peers();
        peers.handle_learned(host(1), NEWER, at(0));
        peers.handle_learned(host(2), NEWER, at(0));
        assert_eq!((dials(&mut peers), peers.wanted()), (vec![], 8));
        peers.handle_inbound_opened(member(50_000), at(100));
        let (time, address) = next_dial(&mut peers).unwrap();
        assert!(address == host(2) && (3000..=4000).contains(&time), "{address} at {time}");
        assert_eq!(next_dial(&mut peers), None);
    }

    #[test]
    fn listing_a_newer_node_again_does_not_hold_it_back_again() {
        let mut peers = peers();
        for second in 0..=4 {
            peers.handle_learned(host(1), NEWER, at(second * 1000));
        }
        assert_eq!(dials(&mut peers), [host(1)]);
    }

    /// A node of the household that `host(1)` is of.
    fn member(port: u16) -> SocketAddr {
        SocketAddr::new(host(1).ip(), port)
    }

    #[test]
    fn an_inbound_connection_stands_for_one_candidate_at_its_ip() {
        let mut peers = peers();
        peers.handle_inbound_opened(member(50_000), at(0));
        peers.handle_learned(member(4001), OLDER, at(10));
        assert_eq!(dials(&mut peers), []);
        peers.handle_learned(member(4002), OLDER, at(20));
        assert_eq!(dials(&mut peers), [member(4001)]);
    }

    #[test]
    fn a_newer_node_explains_an_inbound_connection_best_and_the_first_of_them_better() {
        let mut peers = peers();
        peers.handle_inbound_opened(member(50_000), at(0));
        peers.handle_learned(member(4001), NEWER, at(10));
        peers.handle_learned(member(4002), OLDER, at(20));
        assert_eq!(dials(&mut peers), [member(4002)]);
        peers.handle_learned(member(4003), NEWER, at(30));
        assert_eq!(next_dial(&mut peers).map(|(_, address)| address), Some(member(4003)));
        assert_eq!(next_dial(&mut peers), None);
    }

    #[test]
    fn whom_we_could_not_reach_explains_an_inbound_connection_better() {
        let mut peers = peers();
        peers.handle_learned(member(4001), OLDER, at(0));
        peers.poll_dial();
        peers.handle_dial_failed(member(4001), at(10));
        peers.handle_inbound_opened(member(50_000), at(20));
        peers.handle_learned(member(4002), OLDER, at(30));
        assert_eq!(dials(&mut peers), [member(4002)]);
        assert_eq!(next_dial(&mut peers), None);
    }

    #[test]
    fn whoever_was_there_before_we_dialled_is_somebody_else() {
        let mut peers = peers();
        peers.handle_inbound_opened(member(50_000), at(0));
        peers.handle_learned(member(4001), NEWER, at(0));
        peers.handle_learned(member(4002), OLDER, at(0));
        assert_eq!(dials(&mut peers), [member(4002)]);
        peers.handle_dial_failed(member(4002), at(10));
        peers.handle_dialling(member(4001), at(20)); // so the inbound connection was from nobody we know
        assert_eq!(next_dial(&mut peers).map(|(_, address)| address), Some(member(4002)));
    }

    #[test]
    fn when_the_inbound_connection_ends_its_node_is_dialled_unless_it_comes_back() {
        let mut peers = peers();
        peers.handle_learned(host(1), NEWER, at(0));
        peers.handle_inbound_opened(member(50_000), at(100));
        peers.handle_inbound_closed(member(50_000), at(20_000));
        peers.handle_inbound_opened(member(50_001), at(25_000));
        assert_eq!(next_dial(&mut peers), None);
        peers.handle_inbound_closed(member(50_001), at(100_000));
        let (time, address) = next_dial(&mut peers).unwrap();
        assert!(address == host(1) && (110_000..=112_500).contains(&time), "{time}");
    }

    #[test]
    fn another_node_of_the_household_does_not_pass_for_one_that_we_lost() {
        let mut peers = peers();
        peers.handle_learned(host(1), OLDER, at(0));
        peers.poll_dial();
        peers.handle_opened(host(1), at(10));
        peers.handle_inbound_opened(member(50_000), at(1000)); // so from somebody else there
        peers.handle_closed(host(1), ClosedBy::Them, at(90_000));
        let (time, address) = next_dial(&mut peers).unwrap();
        assert!(address == host(1) && time < 97_000);
    }

    #[test]
    fn static_peers_are_dialled_whoever_came_in() {
        let mut peers = peers();
        peers.handle_inbound_opened(member(50_000), at(0));
        peers.handle_learned(host(1), Source::Static, at(0));
        assert_eq!(dials(&mut peers), [host(1)]);
    }

    #[test]
    fn we_never_dial_ourselves() {
        let mut peers = peers();
        peers.handle_learned(addr("203.0.113.9:4000"), OLDER, at(0));
        peers.handle_learned(addr("203.0.113.9:4000"), Source::Static, at(0));
        peers.set_own(&[addr("[::]:4000"), addr("192.168.1.2:4000"), addr("203.0.113.9:4000")]);
        for ours in [
            "127.0.0.1:4000",
            "[::1]:4000",
            "192.168.1.2:4000",
            "203.0.113.9:4000",
            "[::ffff:127.0.0.1]:4000",
        ] {
            for source in
                [Source::Static, Source::File, Source::Rendezvous { newer: false, server: addr(ours).ip() }]
            {
                peers.handle_learned(addr(ours), source, at(0));
            }
        }
        assert_eq!(dials(&mut peers), []);
        peers.handle_learned(addr("127.0.0.1:4001"), Source::Static, at(0));
        assert_eq!(dials(&mut peers), [addr("127.0.0.1:4001")]);
    }

    #[test]
    fn where_nobody_can_be_nobody_is_dialled() {
        let mut peers = peers();
        for nobody in
            ["203.0.113.1:0", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1"]
        {
            for source in [OLDER, Source::Static, Source::File] {
                peers.handle_learned(addr(nobody), source, at(0));
            }
        }
        assert!(peers.book.is_empty());
    }

    #[test]
    fn a_server_can_only_list_what_reaches_as_far_as_itself() {
        let listed = |server: &str, node: &str| {
            let mut peers = peers();
            let server = server.parse().unwrap();
            peers.handle_learned(addr(node), Source::Rendezvous { newer: false, server }, at(0));
            peers.poll_dial().is_some()
        };
        for inside in
            ["127.0.0.1:22", "[::1]:22", "10.0.0.1:80", "192.168.1.1:80", "169.254.1.1:80", "[fe80::1]:80"]
        {
            assert!(!listed("198.51.100.1", inside), "{inside}");
            assert!(listed("127.0.0.1", inside), "{inside}");
        }
        for inside in ["100.64.0.1:80", "[fd00::1]:80", "[::ffff:10.0.0.1]:80"] {
            assert!(!listed("2001:db8::1", inside) && listed("10.0.0.9", inside), "{inside}");
        }
        assert!(!listed("192.168.1.1", "127.0.0.1:22"));
        assert!(listed("192.168.1.1", "203.0.113.1:80"));
    }

    #[test]
    fn a_full_book_lets_failed_ones_go_for_new_ones_and_never_static_ones() {
        let config = PeersConfig { book_limit: 3, max_outbound: 1, ..PeersConfig::default() };
        let mut peers = Peers::new(config, Random::from_number(1));
        peers.handle_learned(host(0), Source::Static, at(0));
        assert_eq!(peers.poll_dial(), Some(host(0)));
        peers.handle_dial_failed(host(0), at(0));
        peers.handle_learned(host(1), OLDER, at(0));
        peers.handle_learned(host(2), OLDER, at(0));
        peers.handle_learned(host(3), OLDER, at(0));
        assert_eq!(peers.book.keys().copied().collect::<Vec<_>>(), [host(0), host(1), host(2)]);
        let failed = peers.poll_dial().unwrap();
        peers.handle_dial_failed(failed, at(1));
        peers.handle_learned(host(3), OLDER, at(1));
        assert!(peers.book.contains_key(&host(0)) && peers.book.contains_key(&host(3)));
        assert!(!peers.book.contains_key(&failed) && peers.book.len() == 3);
    }

    #[test]
    fn dead_static_peers_leave_half_of_the_slots_to_others() {
        let mut peers = peers();
        for n in 0..20 {
            peers.handle_learned(host(n), Source::Static, at(0));
        }
        for n in 100..140 {
            peers.handle_learned(host(n), OLDER, at(0));
        }
        for _ in 0..20 {
            let address = peers.poll_dial().unwrap();
            assert!(address < host(20));
            peers.handle_dial_failed(address, at(1));
        }
        let others = dials(&mut peers);
        assert!(others.len() == 5 && others.iter().all(|&address| address >= host(100)), "{others:?}");
    }

    #[test]
    fn those_that_worked_are_known_latest_first_then_those_of_the_file() {
        let mut peers = peers();
        peers.handle_learned(host(8), Source::File, at(0));
        peers.handle_learned(host(9), Source::File, at(0));
        assert!(!peers.take_changed());
        for n in 1..4 {
            peers.handle_learned(host(n), OLDER, at(0));
        }
        dials(&mut peers);
        peers.handle_dial_failed(host(3), at(10));
        peers.handle_opened(host(1), at(20));
        peers.handle_opened(host(2), at(30));
        assert!(peers.take_changed() && !peers.take_changed());
        assert_eq!(peers.known().collect::<Vec<_>>(), [host(2), host(1), host(8), host(9)]);
        peers.handle_closed(host(2), ClosedBy::Them, at(100_000));
        assert_eq!(peers.known().next(), Some(host(1)));
    }

    #[test]
    fn an_idle_book_is_not_searched() {
        let mut peers = peers();
        for n in 0..1000 {
            peers.handle_learned(host(n), OLDER, at(0));
        }
        for address in dials(&mut peers) {
            peers.handle_opened(address, at(1));
        }
        assert_eq!(peers.poll_dial(), None);
        peers.handle_timeout(at(10_000));
        assert!(peers.settled && peers.poll_timeout().is_none());
    }

    /// What a hostile server may list.
    fn hostile() -> impl Strategy<Value = (u16, u16, bool)> {
        (0u16..3000, prop_oneof![Just(4000u16), 0u16..2000], any::<bool>())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Whatever is listed, and however the dials end, the limits hold: book, slots, and dials in any minute.
        #[test]
        fn a_hostile_server_changes_nothing_beyond_the_limits(
            seed: u64,
            rounds in prop::collection::vec((prop::collection::vec(hostile(), 0..100), 0u64..8000, 0u8..4), 0..60),
        ) {
            // Impatient, so that nothing but the budget stands between the server and its victim.
            let (retry_first, retry_max) = (Duration::from_millis(10), Duration::from_millis(100));
            let config = PeersConfig { book_limit: 50, retry_first, retry_max, ..PeersConfig::default() };
            let mut peers = Peers::new(config, Random::from_number(seed));
            let own = addr("203.0.0.1:4000");
            peers.set_own(&[own]);
            let (mut now, mut log): (_, Vec<(Instant, SocketAddr)>) = (at(0), Vec::new());
            for (list, pause, fate) in rounds {
                for (n, port, newer) in list {
                    let listed = SocketAddr::new(host(n % 40).ip(), port);
                    peers.handle_learned(listed, Source::Rendezvous { newer, server: SERVER }, now);
                }
                peers.handle_learned(own, OLDER, now);
                for _ in 0..500 {
                    let Some(address) = peers.poll_dial() else { break };
                    log.push((now, address));
                    prop_assert!(peers.outbound() <= 10);
                    match fate {
                        0 => {}
                        1 => peers.handle_opened(address, now),
                        2 => {
                            peers.handle_opened(address, now);
                            peers.handle_closed(address, ClosedBy::Them, now);
                        }
                        _ => peers.handle_dial_failed(address, now),
                    }
                }
                prop_assert!(peers.poll_dial().is_none() && peers.book.len() <= 50);
                now = now + Duration::from_millis(pause);
                peers.handle_timeout(now);
            }
            let mut dialled: BTreeMap<SocketAddr, Vec<Instant>> = BTreeMap::new();
            for &(time, address) in &log {
                dialled.entry(address).or_default().push(time);
            }
            prop_assert!(!dialled.contains_key(&own));
            for (address, times) in dialled {
                prop_assert!(times.windows(4).all(|four| four[3] - four[0] >= MINUTE), "{} at {:?}", address, times);
            }
            prop_assert!(log.windows(121).all(|many| many[120].0 - many[0].0 >= MINUTE));
        }
    }

    mod together {
        //! Several books run against each other over links with delay, with a rendezvous server in between.

        use super::*;

        /// One way.
        const DELAY: Duration = Duration::from_millis(40);

        struct World {
            nodes: Vec<Node>,
            /// In order of registration.
            server: Vec<usize>,
            server_marks_newer: bool,
            events: BTreeMap<(Instant, u64), Step>,
            links: Vec<Link>,
            now: Instant,
            count: u64,
        }

        struct Node {
            address: SocketAddr,
            peers: Peers,
        }

        #[derive(Clone, Copy)]
        struct Link {
            from: usize,
            to: usize,
            /// The dialling side's ephemeral address.
            source: SocketAddr,
        }

        enum Step {
            Register(usize),
            Bootstrap(usize),
            Arrive(Link),
            Answer(Link),
            Refuse(usize, SocketAddr),
        }

        impl World {
            fn new(addresses: &[SocketAddr], server_marks_newer: bool, seed: u64) -> Self {
                let mut random = Random::from_number(seed);
                let mut node = |&address: &SocketAddr| {
                    let mut peers = Peers::new(PeersConfig::default(), random.fork());
                    peers.set_own(&[address]);
                    Node { address, peers }
                };
                Self {
                    nodes: addresses.iter().map(&mut node).collect(),
                    server: Vec::new(),
                    server_marks_newer,
                    events: BTreeMap::new(),
                    links: Vec::new(),
                    now: at(0),
                    count: 0,
                }
            }

            fn plan(&mut self, when: Instant, step: Step) {
                self.count += 1;
                self.events.insert((when, self.count), step);
            }

            /// Registers and asks, and then asks every 20 s.
            fn join(&mut self, node: usize, when: Instant) {
                self.plan(when, Step::Register(node));
                for round in 0..30 {
                    self.plan(when + Duration::from_secs(20) * round, Step::Bootstrap(node));
                }
            }

            fn run_until(&mut self, end: Instant) {
                loop {
                    self.dial();
                    let event = self.events.first_key_value().map(|(&(when, _), _)| when);
                    let timers = self.nodes.iter().map(|node| node.peers.poll_timeout());
                    let Some(next) = timers.fold(event, soonest).filter(|&next| next <= end) else { break };
                    self.now = self.now.max(next);
                    while let Some(entry) =
                        self.events.first_entry().filter(|entry| entry.key().0 <= self.now)
                    {
                        let step = entry.remove();
                        self.perform(step);
                    }
                    for node in &mut self.nodes {
                        node.peers.handle_timeout(self.now);
                    }
                }
                self.now = end;
            }

            fn dial(&mut self) {
                for from in 0..self.nodes.len() {
                    while let Some(to) = self.nodes[from].peers.poll_dial() {
                        self.count += 1;
                        let source =
                            SocketAddr::new(self.nodes[from].address.ip(), 10_000 + self.count as u16);
                        let there = self.nodes.iter().position(|node| node.address == to);
                        let step = match there {
                            Some(to) => Step::Arrive(Link { from, to, source }),
                            None => Step::Refuse(from, to),
                        };
                        self.plan(self.now + DELAY, step);
                    }
                }
            }

            fn perform(&mut self, step: Step) {
                let now = self.now;
                match step {
                    Step::Register(node) => self.server.push(node),
                    Step::Bootstrap(asker) => self.list_to(asker),
                    Step::Arrive(link) => {
                        self.nodes[link.to].peers.handle_inbound_opened(link.source, now);
                        self.links.push(link);
                        self.plan(now + DELAY, Step::Answer(link));
                    }
                    Step::Answer(link) => {
                        let to = self.nodes[link.to].address;
                        self.nodes[link.from].peers.handle_opened(to, now);
                    }
                    Step::Refuse(node, to) => self.nodes[node].peers.handle_dial_failed(to, now),
                }
            }

            fn list_to(&mut self, asker: usize) {
                let Some(mine) = self.server.iter().position(|&node| node == asker) else { return };
                for (index, &node) in self.server.iter().enumerate().filter(|&(_, &node)| node != asker) {
                    let source = if self.server_marks_newer && index > mine { NEWER } else { OLDER };
                    let address = self.nodes[node].address;
                    self.nodes[asker].peers.handle_learned(address, source, self.now);
                }
            }

            /// Breaks the link between two nodes, whoever dialled it.
            fn cut(&mut self, a: usize, b: usize) {
                let between = |link: &Link| [(a, b), (b, a)].contains(&(link.from, link.to));
                let index = self.links.iter().position(between).expect("a link to cut");
                let link = self.links.remove(index);
                let to = self.nodes[link.to].address;
                self.nodes[link.from].peers.handle_closed(to, ClosedBy::Them, self.now);
                self.nodes[link.to].peers.handle_inbound_closed(link.source, self.now);
            }

            fn assert_one_link_for_each_pair(&self, context: &str) {
                for a in 0..self.nodes.len() {
                    for b in 0..a {
                        let between = |link: &&Link| [(a, b), (b, a)].contains(&(link.from, link.to));
                        let count = self.links.iter().filter(between).count();
                        assert_eq!(count, 1, "links between {a} and {b}, {context}");
                    }
                }
            }
        }

        fn household(count: u16) -> Vec<SocketAddr> {
            (0..count).map(|n| SocketAddr::new(host(1).ip(), 4000 + n)).collect()
        }

        fn scattered(count: u16) -> Vec<SocketAddr> {
            (0..count).map(host).collect()
        }

        fn start(addresses: &[SocketAddr], marks_newer: bool, seed: u64, spread: Duration) -> World {
            let mut world = World::new(addresses, marks_newer, seed);
            let mut random = Random::from_number(seed);
            for node in 0..addresses.len() {
                let when = at(0) + share(&mut random, spread);
                world.join(node, when);
            }
            world
        }

        #[test]
        fn two_nodes_that_learn_of_each_other_at_once_end_with_one_link() {
            for seed in 0..50 {
                let mut world = World::new(&scattered(2), true, seed);
                for step in [Step::Register(0), Step::Register(1), Step::Bootstrap(0), Step::Bootstrap(1)] {
                    world.plan(at(0), step);
                }
                world.run_until(at(60_000));
                world.assert_one_link_for_each_pair(&format!("seed {seed}"));
            }
        }

        #[test]
        fn three_nodes_on_one_ip_end_as_a_full_mesh() {
            for seed in 0..50 {
                for spread in [0, 50, 1000, 60_000].map(Duration::from_millis) {
                    let mut world = start(&household(3), true, seed, spread);
                    world.run_until(at(200_000));
                    world.assert_one_link_for_each_pair(&format!("seed {seed}, within {spread:?}"));
                }
            }
        }

        #[test]
        fn a_household_that_is_listed_to_all_at_once_ends_as_a_full_mesh() {
            for seed in 0..50 {
                let mut world = World::new(&household(5), true, seed);
                (0..5).for_each(|node| world.plan(at(0), Step::Register(node)));
                (0..5).for_each(|node| world.plan(at(0), Step::Bootstrap(node)));
                world.run_until(at(60_000));
                world.assert_one_link_for_each_pair(&format!("seed {seed}"));
            }
        }

        #[test]
        fn eight_nodes_scattered_or_in_one_household_end_as_a_full_mesh() {
            for seed in 0..20 {
                for addresses in [household(8), scattered(8)] {
                    let mut world = start(&addresses, true, seed, Duration::from_secs(30));
                    world.run_until(at(200_000));
                    world.assert_one_link_for_each_pair(&format!("seed {seed}, {addresses:?}"));
                }
            }
        }

        #[test]
        fn an_old_server_does_when_nodes_join_one_after_the_other() {
            for seed in 0..20 {
                for addresses in [household(6), scattered(6)] {
                    let mut world = World::new(&addresses, false, seed);
                    for node in 0..addresses.len() {
                        world.join(node, at(1000 * node as u64));
                    }
                    world.run_until(at(200_000));
                    world.assert_one_link_for_each_pair(&format!("seed {seed}, {addresses:?}"));
                }
            }
        }

        #[test]
        fn a_link_that_breaks_comes_back_as_one_link() {
            for seed in 0..20 {
                for addresses in [household(4), scattered(4)] {
                    let mut world = start(&addresses, true, seed, Duration::from_secs(10));
                    world.run_until(at(100_000));
                    for (a, b) in [(0, 1), (1, 2), (3, 0), (2, 3)] {
                        world.cut(a, b);
                        let end = world.now + Duration::from_secs(100);
                        world.run_until(end);
                        world.assert_one_link_for_each_pair(&format!(
                            "seed {seed}, cut {a}-{b}, {addresses:?}"
                        ));
                    }
                }
            }
        }
    }
}
