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

mod budget;
mod entry;
mod households;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::address::canonical;
use crate::proto::backoff::Backoff;
use crate::proto::dial::{is_dialable, is_own};
use crate::random::Random;
use crate::time::{Instant, soonest};
use budget::Budget;
use entry::{Entry, Origin, State, Worth};
use households::Households;

/// The time over which dials are counted.
const MINUTE: Duration = Duration::from_secs(60);
/// Own addresses kept: far more than interfaces have.
const OWN_LIMIT: usize = 256;

#[derive(Clone, Copy, Debug)]
pub(crate) struct PeersConfig {
    /// Outbound connections, those under way included. Defaults to 10, as in pyp2p.
    pub(crate) max_outbound: usize,
    /// Of them, those to one household, loopback and static ones excepted. Defaults to 2.
    pub(crate) per_household: usize,
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
            per_household: 2,
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
    /// Our own addresses: those that we know, and those that servers say they see.
    own: Vec<SocketAddr>,
    /// The first of them, which we know. A server can not talk us out of a peer that the user asked for.
    certain: Vec<SocketAddr>,
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
            certain: Vec::new(),
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
    /// `false` when it is connected or being dialled anyway; then nothing is to be said of this dial's failure.
    pub(crate) fn handle_dialling(&mut self, address: SocketAddr, now: Instant) -> bool {
        self.advance(now);
        let address = canonical(address);
        if !self.book.contains_key(&address) {
            self.insert(address, Origin::Application);
        }
        self.begin(address, false)
    }

    pub(crate) fn handle_opened(&mut self, address: SocketAddr, now: Instant) {
        self.advance(now);
        let number = self.next_number();
        let Some(entry) = self.book.get_mut(&canonical(address)) else { return };
        match &mut entry.state {
            State::Idle => self.outbound += 1,
            State::Dialling => {}
            State::Open { more, .. } => {
                *more += 1;
                return;
            }
        }
        entry.state = State::Open { since: now, more: 0 };
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
        let State::Open { since, more } = &mut entry.state else { return };
        if *more > 0 {
            *more -= 1;
            return;
        }
        let since = *since;
        self.outbound -= 1;
        // While it was open, whoever dialled us was somebody else; unless the application wanted a second connection.
        if entry.needed {
            entry.not_before = number;
        }
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
    pub(crate) fn set_own(&mut self, certain: &[SocketAddr], claimed: &[SocketAddr]) {
        self.settled = false;
        self.certain = certain.iter().copied().map(canonical).take(OWN_LIMIT).collect();
        let all = certain.iter().chain(claimed);
        self.own = all.copied().map(canonical).take(OWN_LIMIT).collect();
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
            Some(address) => {
                self.begin(address, true);
            }
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

    /// Whether the user asked for this one.
    pub(crate) fn is_static(&self, address: SocketAddr) -> bool {
        self.book.get(&canonical(address)).is_some_and(|entry| entry.origin == Origin::Static)
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
        if let Some(entry) = self.book.get_mut(&address)
            && !entry.newer
            && entry.origin != Origin::Static
        {
            entry.newer = true;
            entry.ready = entry.ready.max(until);
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

    /// `needed`: because there was no connection, as far as can be known; the application may dial all the same.
    fn begin(&mut self, address: SocketAddr, needed: bool) -> bool {
        let number = self.next_number();
        let Some(entry) = self.book.get_mut(&address) else { return false };
        if entry.state != State::Idle {
            return false;
        }
        entry.state = State::Dialling;
        entry.needed = needed;
        if needed {
            // Had an earlier inbound connection been from there, there would have been no need to dial.
            entry.not_before = number;
        }
        self.outbound += 1;
        self.dials.push_back((self.now, address));
        self.forget_old_dials();
        true
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
        let mut households = self.households();
        let soon = self.now + self.config.retry_first * 3;
        let (mut statics, mut others, mut unlinked_statics) = (Vec::new(), Vec::new(), 0);
        for (&address, entry) in &self.book {
            let is_static = entry.origin == Origin::Static;
            let linked = entry.state != State::Idle || matched.contains(&address);
            if linked || is_static && is_own(&self.certain, address) {
                continue;
            }
            unlinked_statics += usize::from(is_static);
            if !is_static && !households.has_room(address.ip()) {
                continue;
            }
            if entry.failures == 0 && entry.ready <= soon {
                self.fresh += usize::from(is_static || households.may_wait(address.ip()));
            }
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

    fn households(&self) -> Households {
        let mut households = Households::new(self.config.per_household);
        for (address, entry) in &self.book {
            if entry.state != State::Idle && entry.origin != Origin::Static {
                households.add(address.ip());
            }
        }
        households
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
