//! One attempt to reach a peer that has several addresses (RFC 8305, "Happy Eyeballs", in small).
//!
//! A name often resolves to an IPv6 and an IPv4 address of which one leads nowhere. Waiting for it to time out would
//! cost seconds; dialling all at once would waste the peer's time. So the next address starts a little after the
//! previous one, or at once when that one failed, and the first connection wins.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::address::canonical;
use crate::time::{Instant, soonest};

/// More addresses than this are not tried: a name is no reason to knock on a whole network.
pub(crate) const ADDRESS_LIMIT: usize = 16;

/// RFC 8305 section 8: the recommended connection attempt delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// One address of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DialSlot(usize);

impl DialSlot {
    pub(crate) const FIRST: Self = Self(0);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialAction {
    /// Begin to connect, and report `handle_connected` or `handle_failed`.
    Connect { slot: DialSlot, to: SocketAddr },
    /// Close this one; nothing about it needs to be reported any more.
    Abandon { slot: DialSlot },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DialOutcome {
    /// This one is connected; the others are, or are about to be, abandoned.
    Connected(DialSlot),
    /// Each address with the reason; empty when there was no address.
    Failed(Vec<(SocketAddr, DialFailure)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialFailure {
    /// What the operating system said.
    Error(io::ErrorKind),
    /// Nothing was heard before the attempt's deadline.
    TimedOut,
    /// The deadline came before its turn.
    NotTried,
    /// It is an address of our own.
    Ourselves,
    /// Nobody can be there: port 0, or an unspecified, multicast or broadcast address.
    NotDialable,
}

/// The attempt. Ask `poll_action` until it is `None` after each input, also when `outcome` is there already.
#[derive(Debug)]
pub(crate) struct Dial {
    addresses: Vec<Address>,
    deadline: Instant,
    /// When the next address has its turn; `None` while nothing has been started, or nothing is left to start.
    next_start: Option<Instant>,
    decided: Option<Decided>,
}

impl Dial {
    /// Addresses of `own`, where we listen ourselves, are refused, and so is what nobody can listen on.
    pub(crate) fn new(addresses: Vec<SocketAddr>, own: &[SocketAddr], limit: Duration, now: Instant) -> Self {
        let addresses = interleave(addresses).into_iter().map(|to| Address::new(to, own)).collect();
        let mut dial = Self { addresses, deadline: now + limit, next_start: None, decided: None };
        dial.start_next(now);
        dial.conclude();
        dial
    }

    pub(crate) fn handle_connected(&mut self, slot: DialSlot) {
        if self.decided.is_none() && self.is_connecting(slot) {
            self.decided = Some(Decided::Connected(slot));
        }
    }

    pub(crate) fn handle_failed(&mut self, slot: DialSlot, why: io::ErrorKind, now: Instant) {
        if self.decided.is_some() || !self.is_connecting(slot) {
            return;
        }
        let newest = self.addresses.iter().rposition(|address| address.stage == Stage::Connecting);
        self.addresses[slot.0].close(DialFailure::Error(why));
        // When an older one fails, the newest keeps its head start.
        if newest == Some(slot.0) {
            self.start_next(now);
        }
        self.conclude();
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.decided.is_some() {
            return;
        }
        if self.deadline <= now {
            self.give_up(DialFailure::TimedOut, DialFailure::NotTried);
        } else if self.next_start.is_some_and(|start| start <= now) {
            self.start_next(now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.decided {
            None => soonest(Some(self.deadline), self.next_start),
            Some(_) => None,
        }
    }

    pub(crate) fn poll_action(&mut self) -> Option<DialAction> {
        match self.decided {
            None => self.poll_connect(),
            Some(decided) => self.poll_abandon(decided),
        }
    }

    pub(crate) fn outcome(&self) -> Option<DialOutcome> {
        match self.decided? {
            Decided::Connected(slot) => Some(DialOutcome::Connected(slot)),
            Decided::Failed => Some(DialOutcome::Failed(self.failures())),
        }
    }

    fn is_connecting(&self, slot: DialSlot) -> bool {
        self.addresses.get(slot.0).is_some_and(|address| address.stage == Stage::Connecting)
    }

    fn start_next(&mut self, now: Instant) {
        let mut waiting = self.addresses.iter_mut().filter(|address| address.stage == Stage::Waiting);
        if let Some(address) = waiting.next() {
            address.stage = Stage::Due;
        }
        self.next_start = waiting.next().map(|_| now + ATTEMPT_DELAY);
    }

    fn conclude(&mut self) {
        if self.addresses.iter().all(|address| address.stage == Stage::Closed) {
            self.decided = Some(Decided::Failed);
        }
    }

    /// Those on their way fail with `started` (and are abandoned), the others with `waiting`.
    fn give_up(&mut self, started: DialFailure, waiting: DialFailure) {
        for address in &mut self.addresses {
            match address.stage {
                Stage::Connecting => address.why = Some(started),
                Stage::Waiting | Stage::Due => address.close(waiting),
                Stage::Closed => {}
            }
        }
        self.decided = Some(Decided::Failed);
    }

    fn poll_connect(&mut self) -> Option<DialAction> {
        let index = self.addresses.iter().position(|address| address.stage == Stage::Due)?;
        let address = &mut self.addresses[index];
        address.stage = Stage::Connecting;
        Some(DialAction::Connect { slot: DialSlot(index), to: address.to })
    }

    fn poll_abandon(&mut self, decided: Decided) -> Option<DialAction> {
        let loser = |(index, address): (usize, &Address)| {
            address.stage == Stage::Connecting && decided != Decided::Connected(DialSlot(index))
        };
        let index = self.addresses.iter().enumerate().position(loser)?;
        self.addresses[index].stage = Stage::Closed;
        Some(DialAction::Abandon { slot: DialSlot(index) })
    }

    fn failures(&self) -> Vec<(SocketAddr, DialFailure)> {
        self.addresses.iter().filter_map(|address| Some((address.to, address.why?))).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decided {
    Connected(DialSlot),
    Failed,
}

#[derive(Debug)]
struct Address {
    to: SocketAddr,
    stage: Stage,
    /// Set once it has failed.
    why: Option<DialFailure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its turn has not come.
    Waiting,
    /// Its turn has come; the caller has not been told yet.
    Due,
    /// The caller holds a socket for it.
    Connecting,
    /// Failed, refused or abandoned: the caller holds nothing.
    Closed,
}

impl Address {
    fn new(to: SocketAddr, own: &[SocketAddr]) -> Self {
        let mut address = Self { to, stage: Stage::Waiting, why: None };
        if !is_dialable(to) {
            address.close(DialFailure::NotDialable);
        } else if is_own(own, to) {
            address.close(DialFailure::Ourselves);
        }
        address
    }

    fn close(&mut self, why: DialFailure) {
        self.stage = Stage::Closed;
        self.why = Some(why);
    }
}

/// Whether a peer could be there at all. Unspecified addresses are refused because some systems take them for
/// "this machine", which would lead back to ourselves.
pub(crate) fn is_dialable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Whether dialling `to` would reach a listener on one of `own`.
///
/// A listener on an unspecified address owns its port on all loopback addresses; which others it owns only the caller
/// can know, who adds them to `own`. `[::]` may accept IPv4 as well, so it counts for both families.
pub(crate) fn is_own(own: &[SocketAddr], to: SocketAddr) -> bool {
    let to = canonical(to);
    own.iter().copied().map(canonical).any(|own| {
        let everywhere = own.ip().is_unspecified() && (own.is_ipv6() || to.is_ipv4());
        to.port() == own.port() && (to.ip() == own.ip() || everywhere && to.ip().is_loopback())
    })
}

/// RFC 8305 section 4: the families take turns, beginning with that of the first address; within a family the order
/// stays.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut turns: [Vec<SocketAddr>; 2] = Default::default();
    let first_is_ipv4 = addresses.first().is_some_and(|&first| canonical(first).is_ipv4());
    for address in addresses.into_iter().map(canonical) {
        let family = &mut turns[usize::from(address.is_ipv4() != first_is_ipv4)];
        if family.len() < ADDRESS_LIMIT && !family.contains(&address) {
            family.push(address);
        }
    }
    let rounds = 0..turns[0].len().max(turns[1].len());
    rounds
        .flat_map(|round| turns.iter().filter_map(move |family| family.get(round).copied()))
        .take(ADDRESS_LIMIT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEN_SECONDS: Duration = Duration::from_secs(10);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn parse(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn dial(list: &[&str]) -> Dial {
        Dial::new(parse(list), &[], TEN_SECONDS, at(0))
    }

    fn connect(slot: usize, to: &str) -> Option<DialAction> {
        Some(DialAction::Connect { slot: DialSlot(slot), to: to.parse().unwrap() })
    }

    fn abandon(slot: usize) -> Option<DialAction> {
        Some(DialAction::Abandon { slot: DialSlot(slot) })
    }

    #[test]
    fn families_take_turns_and_the_first_stays_first() {
        let mixed =
            parse(&["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "192.0.2.1:1", "192.0.2.2:1"]);
        let turns = ["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "192.0.2.2:1", "[2001:db8::3]:1"];
        assert_eq!(interleave(mixed), parse(&turns));
        let ipv4_first = parse(&["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1"]);
        assert_eq!(interleave(ipv4_first), parse(&["192.0.2.1:1", "[2001:db8::1]:1", "192.0.2.2:1"]));
    }

    #[test]
    fn the_same_address_is_tried_once_in_whatever_clothes() {
        assert_eq!(
            interleave(parse(&["192.0.2.1:1", "[::ffff:192.0.2.1]:1", "192.0.2.1:1"])),
            parse(&["192.0.2.1:1"])
        );
    }

    #[test]
    fn too_many_addresses_are_cut_but_both_families_stay() {
        let ipv6 = (0..9999).map(|port| SocketAddr::new("2001:db8::1".parse().unwrap(), port));
        let ipv4 = (0..9999).map(|port| SocketAddr::new("192.0.2.1".parse().unwrap(), port));
        let kept = interleave(ipv6.chain(ipv4).collect());
        assert_eq!(
            (kept.len(), kept.iter().filter(|a| a.is_ipv4()).count()),
            (ADDRESS_LIMIT, ADDRESS_LIMIT / 2)
        );
    }

    #[test]
    fn the_next_address_starts_a_quarter_second_later_and_the_first_connection_wins() {
        let mut dial = dial(&["[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.2:1"]);
        assert_eq!(dial.poll_action(), connect(0, "[2001:db8::1]:1"));
        assert_eq!(dial.poll_action(), None);
        assert_eq!(dial.poll_timeout(), Some(at(250)));
        dial.handle_timeout(at(249));
        assert_eq!(dial.poll_action(), None);
        dial.handle_timeout(at(250));
        assert_eq!(dial.poll_action(), connect(1, "192.0.2.1:1"));
        assert_eq!(dial.poll_timeout(), Some(at(500)));
        dial.handle_connected(DialSlot(1));
        assert_eq!(dial.outcome(), Some(DialOutcome::Connected(DialSlot(1))));
        assert_eq!(dial.poll_action(), abandon(0));
        assert_eq!(dial.poll_action(), None);
        assert_eq!(dial.poll_timeout(), None);
    }

    #[test]
    fn after_a_failure_the_next_starts_at_once() {
        let mut dial = dial(&["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"]);
        assert_eq!(dial.poll_action(), connect(0, "192.0.2.1:1"));
        dial.handle_failed(DialSlot(0), io::ErrorKind::ConnectionRefused, at(10));
        assert_eq!(dial.poll_action(), connect(1, "192.0.2.2:1"));
        assert_eq!(dial.poll_timeout(), Some(at(260)));
    }

    #[test]
    fn an_older_failure_does_not_take_the_head_start_from_the_newest() {
        let mut dial = dial(&["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"]);
        dial.poll_action();
        dial.handle_timeout(at(250));
        dial.poll_action();
        dial.handle_failed(DialSlot(0), io::ErrorKind::TimedOut, at(300));
        assert_eq!(dial.poll_action(), None);
        dial.handle_timeout(at(500));
        assert_eq!(dial.poll_action(), connect(2, "192.0.2.3:1"));
    }

    #[test]
    fn when_all_failed_the_outcome_says_why_each_did() {
        let mut dial = dial(&["192.0.2.1:1", "192.0.2.2:1"]);
        dial.poll_action();
        dial.handle_failed(DialSlot(0), io::ErrorKind::ConnectionRefused, at(1));
        assert_eq!(dial.outcome(), None);
        dial.poll_action();
        dial.handle_failed(DialSlot(1), io::ErrorKind::HostUnreachable, at(2));
        let reasons =
            [io::ErrorKind::ConnectionRefused, io::ErrorKind::HostUnreachable].map(DialFailure::Error);
        let failed = parse(&["192.0.2.1:1", "192.0.2.2:1"]).into_iter().zip(reasons).collect();
        assert_eq!(dial.outcome(), Some(DialOutcome::Failed(failed)));
        assert_eq!((dial.poll_action(), dial.poll_timeout()), (None, None));
    }

    #[test]
    fn the_deadline_abandons_what_is_on_its_way() {
        let addresses = parse(&["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"]);
        let mut dial = Dial::new(addresses.clone(), &[], Duration::from_millis(400), at(0));
        dial.poll_action();
        dial.handle_timeout(at(250));
        dial.poll_action();
        assert_eq!(dial.poll_timeout(), Some(at(400)));
        dial.handle_timeout(at(400));
        assert_eq!(
            (dial.poll_action(), dial.poll_action(), dial.poll_action()),
            (abandon(0), abandon(1), None)
        );
        let reasons = [DialFailure::TimedOut, DialFailure::TimedOut, DialFailure::NotTried];
        assert_eq!(dial.outcome(), Some(DialOutcome::Failed(addresses.into_iter().zip(reasons).collect())));
        dial.handle_connected(DialSlot(0)); // too late: its socket is abandoned
        assert!(matches!(dial.outcome(), Some(DialOutcome::Failed(_))));
    }

    #[test]
    fn what_was_not_handed_out_is_not_abandoned() {
        let mut dial = dial(&["192.0.2.1:1", "192.0.2.2:1"]);
        dial.poll_action();
        dial.handle_timeout(at(250)); // the second is due, but nobody has asked for it
        dial.handle_connected(DialSlot(0));
        assert_eq!(dial.poll_action(), None);
    }

    #[test]
    fn our_own_addresses_are_never_dialled() {
        let own = parse(&["[::]:4000", "192.0.2.1:4000"]);
        let ours =
            ["127.0.0.1:4000", "[::1]:4000", "127.9.9.9:4000", "192.0.2.1:4000", "[::ffff:192.0.2.1]:4000"];
        for ours in parse(&ours) {
            let mut dial = Dial::new(vec![ours], &own, TEN_SECONDS, at(0));
            assert_eq!(dial.poll_action(), None);
            assert_eq!(
                dial.outcome(),
                Some(DialOutcome::Failed(vec![(canonical(ours), DialFailure::Ourselves)]))
            );
        }
        for other in parse(&["127.0.0.1:4001", "192.0.2.1:4001", "192.0.2.2:4000"]) {
            assert!(Dial::new(vec![other], &own, TEN_SECONDS, at(0)).poll_action().is_some(), "{other}");
        }
    }

    #[test]
    fn where_nobody_can_be_nobody_is_dialled() {
        let nobody =
            ["192.0.2.1:0", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1"];
        let mut dial = dial(&nobody);
        assert_eq!(dial.poll_action(), None);
        let Some(DialOutcome::Failed(reasons)) = dial.outcome() else {
            panic!("nothing to dial is an outcome")
        };
        assert_eq!(reasons.len(), nobody.len());
        assert!(reasons.iter().all(|&(_, why)| why == DialFailure::NotDialable));
    }

    #[test]
    fn no_address_is_a_failure_at_once() {
        assert_eq!(dial(&[]).outcome(), Some(DialOutcome::Failed(Vec::new())));
    }

    proptest! {
        /// Whatever the caller reports, each address is handed out once, each loser is taken back, and by the deadline
        /// there is an outcome.
        #[test]
        fn every_socket_handed_out_is_accounted_for(
            ports in prop::collection::vec(0u16..20, 0..24),
            steps in prop::collection::vec((0u8..4, 0usize..20, 0u64..400), 0..60),
        ) {
            let addresses = ports.iter().map(|&port| SocketAddr::new([192, 0, 2, 1].into(), port)).collect();
            let mut dial = Dial::new(addresses, &[], TEN_SECONDS, at(0));
            let (mut now, mut open, mut dialled) = (0, Vec::new(), Vec::new());
            let steps = steps.into_iter().chain([(2, 0, 20_000)]);
            for (step, slot, pause) in steps {
                now += pause;
                match step {
                    0 => {
                        dial.handle_failed(DialSlot(slot), io::ErrorKind::ConnectionRefused, at(now));
                        if dial.outcome().is_none() {
                            open.retain(|&other| other != DialSlot(slot));
                        }
                    }
                    1 if slot == 0 => dial.handle_connected(DialSlot(pause as usize % 16)),
                    _ => dial.handle_timeout(at(now)),
                }
                while let Some(action) = dial.poll_action() {
                    match action {
                        DialAction::Connect { slot, to } => {
                            prop_assert!(!dialled.contains(&to));
                            dialled.push(to);
                            open.push(slot);
                        }
                        DialAction::Abandon { slot } => open.retain(|&other| other != slot),
                    }
                }
            }
            match dial.outcome() {
                Some(DialOutcome::Connected(winner)) => prop_assert_eq!(open, vec![winner]),
                Some(DialOutcome::Failed(reasons)) => prop_assert_eq!(reasons.len(), dial.addresses.len()),
                None => prop_assert!(false, "no outcome after the deadline"),
            }
        }
    }
}
