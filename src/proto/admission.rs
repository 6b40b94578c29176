//! Who may come in.
//!
//! An *address* is here what one household has: limits and bans count by that.
//!
//! Loopback is exempt from the limit for each address, though not from the limit in all and not from bans: several
//! nodes on one machine work without configuration, and no stranger can have such an address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::proto::household::household;
use crate::time::Instant;

/// After a note about refusals, the next one comes no sooner than this.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub(crate) struct AdmissionLimits {
    /// Inbound connections in all. Defaults to 10, as in pyp2p.
    pub(crate) max_inbound: usize,
    /// Inbound connections from one address, loopback excepted. Defaults to 3: a household, not all our slots.
    pub(crate) max_inbound_per_address: usize,
    /// Bans remembered. Defaults to 1024.
    pub(crate) max_bans: usize,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self { max_inbound: 10, max_inbound_per_address: 3, max_bans: 1024 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// All inbound slots are taken.
    Full,
    /// That address has its share already.
    TooManyFromAddress,
    Banned,
}

/// For the log: what was refused since the last note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusalNote {
    /// The latest one.
    pub(crate) peer: IpAddr,
    pub(crate) why: NotAdmitted,
    pub(crate) full: u64,
    pub(crate) too_many_from_address: u64,
    pub(crate) banned: u64,
}

/// Decides about inbound connections.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: AdmissionLimits,
    open: usize,
    open_by_address: BTreeMap<IpAddr, usize>,
    bans: BTreeMap<IpAddr, Ban>,
    /// Numbers the bans in the order in which they were spoken.
    next_ban: u64,
    refused: Option<RefusalNote>,
    /// When `refused` may be shown.
    quiet_until: Instant,
    now: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Ban {
    /// `None`: for ever.
    until: Option<Instant>,
    number: u64,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            open: 0,
            open_by_address: BTreeMap::new(),
            bans: BTreeMap::new(),
            next_ban: 0,
            refused: None,
            quiet_until: Instant::ZERO,
            now: Instant::ZERO,
        }
    }

    /// Whether a connection from `peer` may stay; a refusal is counted for the log. `handle_opened` takes the slot.
    pub(crate) fn check(&mut self, peer: IpAddr, now: Instant) -> Result<(), NotAdmitted> {
        self.now = self.now.max(now);
        let verdict = self.judge(peer, self.now);
        if let Err(why) = verdict {
            self.count(peer, why);
        }
        verdict
    }

    /// Whether it would be let in, without a note if not.
    pub(crate) fn has_room(&self, peer: IpAddr, now: Instant) -> bool {
        self.judge(peer, self.now.max(now)).is_ok()
    }

    pub(crate) fn handle_opened(&mut self, peer: IpAddr) {
        self.open += 1;
        *self.open_by_address.entry(household(peer)).or_default() += 1;
    }

    pub(crate) fn handle_closed(&mut self, peer: IpAddr) {
        let address = household(peer);
        // One that was never opened takes nobody's slot with it.
        let Some(open) = self.open_by_address.get_mut(&address) else { return };
        *open -= 1;
        if *open == 0 {
            self.open_by_address.remove(&address);
        }
        self.open -= 1;
    }

    /// Refuses `peer` from now on; connections that are open stay open.
    ///
    /// When the table is full, the ban that would have ended first gives way (of those without an end, the oldest) and
    /// is returned.
    pub(crate) fn ban(&mut self, peer: IpAddr, until: Option<Instant>, now: Instant) -> Option<IpAddr> {
        self.now = self.now.max(now);
        self.forget_expired();
        let number = self.next_ban;
        self.next_ban += 1;
        self.bans.insert(household(peer), Ban { until, number });
        (self.bans.len() > self.limits.max_bans).then(|| self.evict(number)).flatten()
    }

    /// Whether there was such a ban.
    pub(crate) fn unban(&mut self, peer: IpAddr) -> bool {
        self.bans.remove(&household(peer)).is_some()
    }

    pub(crate) fn is_banned(&self, peer: IpAddr, now: Instant) -> bool {
        self.bans.get(&household(peer)).is_some_and(|ban| ban.holds(now))
    }

    /// The bans in force, each with its end; a /64 is shown by its first address.
    pub(crate) fn banned(&self, now: Instant) -> impl Iterator<Item = (IpAddr, Option<Instant>)> + '_ {
        self.bans.iter().filter(move |(_, ban)| ban.holds(now)).map(|(&address, ban)| (address, ban.until))
    }

    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Only a note waits for its time; bans end by being asked about.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.refused.map(|_| self.quiet_until)
    }

    /// The first refusal at once, then what came since, at most once a second: a flood of connections must not
    /// become a flood of the log.
    pub(crate) fn poll_note(&mut self) -> Option<RefusalNote> {
        if self.now < self.quiet_until {
            return None;
        }
        let note = self.refused.take()?;
        self.quiet_until = self.now + NOTE_INTERVAL;
        Some(note)
    }

    fn judge(&self, peer: IpAddr, now: Instant) -> Result<(), NotAdmitted> {
        let address = household(peer);
        if self.bans.get(&address).is_some_and(|ban| ban.holds(now)) {
            return Err(NotAdmitted::Banned);
        }
        if self.open >= self.limits.max_inbound {
            return Err(NotAdmitted::Full);
        }
        let open = self.open_by_address.get(&address).copied().unwrap_or(0);
        if open >= self.limits.max_inbound_per_address && !address.is_loopback() {
            return Err(NotAdmitted::TooManyFromAddress);
        }
        Ok(())
    }

    fn count(&mut self, peer: IpAddr, why: NotAdmitted) {
        let nothing = RefusalNote { peer, why, full: 0, too_many_from_address: 0, banned: 0 };
        let note = self.refused.get_or_insert(nothing);
        (note.peer, note.why) = (peer, why);
        match why {
            NotAdmitted::Full => note.full += 1,
            NotAdmitted::TooManyFromAddress => note.too_many_from_address += 1,
            NotAdmitted::Banned => note.banned += 1,
        }
    }

    fn forget_expired(&mut self) {
        let now = self.now;
        self.bans.retain(|_, ban| ban.holds(now));
    }

    /// Makes room, but not of the ban that was just spoken.
    fn evict(&mut self, newest: u64) -> Option<IpAddr> {
        let others = self.bans.iter().filter(|(_, ban)| ban.number != newest);
        let first_to_end = |ban: &Ban| (ban.until.is_none(), ban.until, ban.number);
        let (&address, _) = others.min_by_key(|(_, ban)| first_to_end(ban))?;
        self.bans.remove(&address);
        Some(address)
    }
}

impl Ban {
    fn holds(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admission() -> Admission {
        Admission::new(AdmissionLimits::default())
    }

    fn open(admission: &mut Admission, peer: &str, times: usize) {
        for _ in 0..times {
            assert_eq!(admission.check(ip(peer), at(0)), Ok(()));
            admission.handle_opened(ip(peer));
        }
    }

    #[test]
    fn slots_fill_up_and_become_free() {
        let mut admission = admission();
        for host in 0..10 {
            open(&mut admission, &format!("192.0.2.{host}"), 1);
        }
        assert_eq!(admission.check(ip("192.0.2.99"), at(0)), Err(NotAdmitted::Full));
        admission.handle_closed(ip("192.0.2.3"));
        assert_eq!(admission.check(ip("192.0.2.99"), at(0)), Ok(()));
    }

    #[test]
    fn one_address_gets_its_share_only() {
        let mut admission = admission();
        open(&mut admission, "192.0.2.1", 3);
        assert_eq!(admission.check(ip("192.0.2.1"), at(0)), Err(NotAdmitted::TooManyFromAddress));
        assert_eq!(admission.check(ip("::ffff:192.0.2.1"), at(0)), Err(NotAdmitted::TooManyFromAddress));
        assert_eq!(admission.check(ip("192.0.2.2"), at(0)), Ok(()));
        admission.handle_closed(ip("192.0.2.1"));
        assert_eq!(admission.check(ip("192.0.2.1"), at(0)), Ok(()));
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address_and_link_local_ones_do_not() {
        let mut admission = admission();
        for peer in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff"] {
            open(&mut admission, peer, 1);
        }
        assert_eq!(admission.check(ip("2001:db8::9"), at(0)), Err(NotAdmitted::TooManyFromAddress));
        assert_eq!(admission.check(ip("2001:db8:0:1::9"), at(0)), Ok(()));
        open(&mut admission, "fe80::1", 3);
        assert_eq!(admission.check(ip("fe80::2"), at(0)), Ok(()));
    }

    #[test]
    fn loopback_is_exempt_from_the_share_but_not_from_the_rest() {
        let mut admission = admission();
        open(&mut admission, "127.0.0.1", 5);
        open(&mut admission, "::1", 5);
        assert_eq!(admission.check(ip("127.0.0.1"), at(0)), Err(NotAdmitted::Full));
        admission.ban(ip("127.0.0.1"), None, at(0));
        assert_eq!(admission.check(ip("127.0.0.1"), at(0)), Err(NotAdmitted::Banned));
    }

    #[test]
    fn a_ban_holds_until_its_end() {
        let mut admission = admission();
        admission.ban(ip("192.0.2.1"), Some(at(60_000)), at(0));
        admission.ban(ip("2001:db8::1"), None, at(0));
        assert_eq!(admission.check(ip("192.0.2.1"), at(59_999)), Err(NotAdmitted::Banned));
        assert_eq!(admission.banned(at(59_999)).count(), 2);
        assert_eq!(admission.check(ip("192.0.2.1"), at(60_000)), Ok(()));
        assert_eq!(admission.banned(at(60_000)).collect::<Vec<_>>(), [(ip("2001:db8::"), None)]);
        assert_eq!(admission.check(ip("2001:db8::2"), at(u64::MAX / 2)), Err(NotAdmitted::Banned));
        assert!(admission.unban(ip("2001:db8::3")) && !admission.unban(ip("2001:db8::3")));
        assert_eq!(admission.check(ip("2001:db8::2"), at(60_000)), Ok(()));
    }

    #[test]
    fn when_the_table_is_full_the_ban_that_ends_first_gives_way() {
        let mut admission = Admission::new(AdmissionLimits { max_bans: 2, ..AdmissionLimits::default() });
        assert_eq!(admission.ban(ip("192.0.2.1"), None, at(0)), None);
        assert_eq!(admission.ban(ip("192.0.2.2"), Some(at(9000)), at(0)), None);
        assert_eq!(admission.ban(ip("192.0.2.3"), Some(at(5000)), at(1)), Some(ip("192.0.2.2")));
        assert_eq!(admission.ban(ip("192.0.2.4"), None, at(5000)), None); // 3's has ended
        assert_eq!(admission.ban(ip("192.0.2.5"), None, at(5000)), Some(ip("192.0.2.1")));
        assert_eq!(admission.banned(at(5000)).count(), 2);
    }

    #[test]
    fn closing_what_was_never_opened_changes_nothing() {
        let mut admission = admission();
        open(&mut admission, "192.0.2.1", 1);
        admission.handle_closed(ip("192.0.2.2"));
        assert_eq!(admission.open(), 1);
    }

    #[test]
    fn the_first_refusal_is_noted_at_once_and_then_counts_once_a_second() {
        let mut admission = admission();
        admission.ban(ip("192.0.2.1"), None, at(0));
        assert_eq!((admission.poll_note(), admission.poll_timeout()), (None, None));
        let refuse = |admission: &mut Admission, millis| {
            assert_eq!(admission.check(ip("192.0.2.1"), at(millis)), Err(NotAdmitted::Banned));
        };
        refuse(&mut admission, 10);
        assert_eq!(admission.poll_note().map(|note| note.banned), Some(1));
        refuse(&mut admission, 20);
        refuse(&mut admission, 30);
        assert_eq!(admission.poll_note(), None);
        assert_eq!(admission.poll_timeout(), Some(at(1010)));
        admission.handle_timeout(at(1010));
        let note = admission.poll_note().unwrap();
        assert_eq!(
            (note.peer, note.why, note.banned, note.full),
            (ip("192.0.2.1"), NotAdmitted::Banned, 2, 0)
        );
        assert_eq!((admission.poll_note(), admission.poll_timeout()), (None, None));
    }

    proptest! {
        #[test]
        fn limits_hold_whatever_happens(steps in prop::collection::vec((0u8..3, 0u8..6), 0..200)) {
            let limits = AdmissionLimits { max_inbound: 5, max_inbound_per_address: 2, max_bans: 2 };
            let mut admission = Admission::new(limits);
            let mut open = [0usize; 6];
            for (step, host) in steps {
                let peer = IpAddr::from([192, 0, 2, host]);
                let mine = usize::from(host);
                match step {
                    0 if admission.check(peer, at(0)).is_ok() => {
                        admission.handle_opened(peer);
                        open[mine] += 1;
                    }
                    1 => {
                        admission.handle_closed(peer);
                        open[mine] = open[mine].saturating_sub(1);
                    }
                    2 => drop(admission.ban(peer, None, at(0))),
                    _ => {}
                }
                prop_assert!(open.iter().all(|&count| count <= 2));
                prop_assert_eq!(admission.open(), open.iter().sum::<usize>());
                prop_assert!(admission.open() <= 5 && admission.bans.len() <= 2);
            }
        }
    }
}
