//! How many SYNs may leave for an address in a minute: nobody aims us.
//!
//! Peers and servers name addresses to us, and a punch dials fast. What is merely *claimed* to be a peer's gets a
//! handful, so that naming somebody else's address does that one no harm. What a server of our own choice has
//! *attested* gets what punches take, and no more, should that server be wrong.
//!
//! **The minute slides.** SYNs are counted in steps of 5 s, and a step is remembered until all of it is a minute ago:
//! never do more leave within any minute than the limit says, and some have to wait for up to 5 s longer than that.
//!
//! **When a table is full**, it is full of households to which something was sent a little more than a minute ago at
//! most, and to forget one would be to grant it twice. So another is refused. Each class has a table of its own: a
//! flood of claimed addresses takes no room from the attested ones.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::address::canonical;
use crate::proto::household::household;
use crate::time::Instant;

/// SYNs within one step are not told apart.
const STEP: Duration = Duration::from_secs(5);

/// A step counts for so many, its own included: the minute, and one step more, because it may have been taken at the
/// end of its own.
const STEPS: u64 = 13;

#[derive(Clone, Copy, Debug)]
pub(crate) struct BudgetLimits {
    /// SYNs a minute to one address and port that is claimed. Defaults to 3.
    pub(crate) claimed_per_address: u32,
    /// To all ports of a claimed household. Defaults to 12.
    pub(crate) claimed_per_host: u32,
    /// To all ports of an attested household. Defaults to 3000.
    pub(crate) attested_per_host: u32,
    /// Households remembered of each class. Defaults to 1024.
    pub(crate) hosts: usize,
}

impl Default for BudgetLimits {
    fn default() -> Self {
        Self { claimed_per_address: 3, claimed_per_host: 12, attested_per_host: 3000, hosts: 1024 }
    }
}

/// Who says that the peer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The peer itself, or a server that we did not choose.
    Claimed,
    /// A server of our own choice.
    Attested,
}

#[derive(Debug)]
pub(crate) struct Budget {
    limits: BudgetLimits,
    now: Instant,
    /// At most `hosts` households, each with at most `claimed_per_host` addresses: each has had a SYN.
    claimed: BTreeMap<IpAddr, BTreeMap<SocketAddr, Spent>>,
    /// At most `hosts` households.
    attested: BTreeMap<IpAddr, Spent>,
    /// When there is something to forget; it may be too early.
    forgets: Option<Instant>,
}

impl Budget {
    pub(crate) fn new(limits: BudgetLimits) -> Self {
        let (claimed, attested) = (BTreeMap::new(), BTreeMap::new());
        Self { limits, now: Instant::ZERO, claimed, attested, forgets: None }
    }

    /// Takes all `syns`, or none when that would be too many.
    pub(crate) fn take(&mut self, to: SocketAddr, class: Class, syns: u32, now: Instant) -> bool {
        self.handle_timeout(now);
        let taken = syns == 0
            || match class {
                Class::Claimed => self.take_claimed(canonical(to), syns),
                Class::Attested => self.take_attested(to.ip(), syns),
            };
        if taken && self.forgets.is_none() {
            self.forgets = Some(end(step(self.now)));
        }
        taken
    }

    /// It proved to be the peer itself who was there, and no third party: what was taken last is given back, as far as
    /// it is remembered.
    pub(crate) fn give_back(&mut self, to: SocketAddr, class: Class, syns: u32) {
        let home = household(to.ip());
        match class {
            Class::Claimed => {
                if let Some(addresses) = self.claimed.get_mut(&home) {
                    addresses.entry(canonical(to)).and_modify(|spent| spent.give_back(syns));
                }
            }
            Class::Attested => {
                self.attested.entry(home).and_modify(|spent| spent.give_back(syns));
            }
        }
        self.forget();
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.forgets.is_some_and(|at| at <= self.now) {
            self.forget();
        }
    }

    #[cfg(test)]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.forgets
    }

    fn take_claimed(&mut self, to: SocketAddr, syns: u32) -> bool {
        let (limits, home) = (&self.limits, household(to.ip()));
        let known = self.claimed.get(&home);
        if known.is_none() && self.claimed.len() >= limits.hosts {
            return false;
        }
        let to_host: u32 = known.map_or(0, |addresses| addresses.values().map(Spent::sum).sum());
        let to_address = known.and_then(|addresses| addresses.get(&to)).map_or(0, Spent::sum);
        let fits = fits(to_address, syns, limits.claimed_per_address)
            && fits(to_host, syns, limits.claimed_per_host);
        if fits {
            let spent = self.claimed.entry(home).or_default().entry(to).or_default();
            spent.add(step(self.now), syns);
        }
        fits
    }

    fn take_attested(&mut self, ip: IpAddr, syns: u32) -> bool {
        let (limits, home) = (&self.limits, household(ip));
        let known = self.attested.get(&home);
        if known.is_none() && self.attested.len() >= limits.hosts {
            return false;
        }
        let fits = fits(known.map_or(0, Spent::sum), syns, limits.attested_per_host);
        if fits {
            self.attested.entry(home).or_default().add(step(self.now), syns);
        }
        fits
    }

    /// Drops what is over, and with it what is empty.
    fn forget(&mut self) {
        let step = step(self.now);
        self.claimed.retain(|_, addresses| {
            addresses.retain(|_, spent| spent.remember(step));
            !addresses.is_empty()
        });
        self.attested.retain(|_, spent| spent.remember(step));
        let claimed = self.claimed.values().flat_map(BTreeMap::values);
        self.forgets = claimed.chain(self.attested.values()).filter_map(Spent::oldest).map(end).min();
    }
}

fn fits(spent: u32, syns: u32, limit: u32) -> bool {
    limit.checked_sub(spent).is_some_and(|left| syns <= left)
}

/// The number of the step in which an instant lies.
fn step(now: Instant) -> u64 {
    now.since_origin().as_secs() / STEP.as_secs()
}

/// When a step is forgotten.
fn end(step: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(step.saturating_add(STEPS).saturating_mul(STEP.as_secs()))
}

/// How many in which step: at most [`STEPS`], the oldest first, and none of 0.
#[derive(Debug, Default)]
struct Spent(VecDeque<(u64, u32)>);

impl Spent {
    /// Never more than the limit that was kept when they were added.
    fn sum(&self) -> u32 {
        self.0.iter().map(|(_, syns)| syns).sum()
    }

    fn add(&mut self, step: u64, syns: u32) {
        match self.0.back_mut() {
            Some((last, count)) if *last == step => *count += syns,
            _ => self.0.push_back((step, syns)),
        }
    }

    /// The newest first.
    fn give_back(&mut self, mut syns: u32) {
        while let Some((step, count)) = self.0.pop_back() {
            if syns < count {
                return self.0.push_back((step, count - syns));
            }
            syns -= count;
        }
    }

    /// Whether there is anything that counts at `step`.
    fn remember(&mut self, step: u64) -> bool {
        self.0.retain(|(old, _)| step < old.saturating_add(STEPS));
        !self.0.is_empty()
    }

    fn oldest(&self) -> Option<u64> {
        self.0.front().map(|(step, _)| *step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn budget() -> Budget {
        Budget::new(BudgetLimits::default())
    }

    fn claim(budget: &mut Budget, to: &str, syns: u32, seconds: u64) -> bool {
        budget.take(address(to), Class::Claimed, syns, at(seconds))
    }

    #[test]
    fn a_claimed_address_gets_three_a_minute() {
        let mut budget = budget();
        assert!(claim(&mut budget, "192.0.2.1:7", 1, 0) && claim(&mut budget, "192.0.2.1:7", 2, 4));
        assert!(!claim(&mut budget, "[::ffff:192.0.2.1]:7", 1, 59));
        assert!(claim(&mut budget, "192.0.2.1:8", 3, 59));
        assert_eq!(budget.poll_timeout(), Some(at(65)));
        assert!(!claim(&mut budget, "192.0.2.1:7", 4, 65));
        assert!(claim(&mut budget, "192.0.2.1:7", 3, 65));
    }

    #[test]
    fn a_claimed_household_gets_twelve_a_minute_at_whatever_address() {
        let mut budget = budget();
        let taken = (1..=10).filter(|port| claim(&mut budget, &format!("[2001:db8::{port}]:{port}"), 3, 0));
        assert_eq!(taken.count(), 4);
        assert!(claim(&mut budget, "[2001:db8:0:1::1]:1", 3, 0));
    }

    #[test]
    fn too_many_at_once_take_nothing() {
        let mut budget = budget();
        assert!(!claim(&mut budget, "192.0.2.1:7", 4, 0) && !claim(&mut budget, "192.0.2.1:7", u32::MAX, 0));
        assert!(budget.claimed.is_empty() && budget.poll_timeout().is_none());
        assert!(claim(&mut budget, "192.0.2.1:7", 3, 0) && claim(&mut budget, "192.0.2.1:7", 0, 0));
    }

    #[test]
    fn an_attested_household_gets_what_two_punches_take() {
        let mut budget = budget();
        let mut attest = |port, syns| {
            let to = SocketAddr::from(([192, 0, 2, 1], port));
            budget.take(to, Class::Attested, syns, at(0))
        };
        assert!(attest(1, 1500) && attest(2, 1500) && !attest(3, 1));
        // What is claimed has its own.
        assert!(claim(&mut budget, "192.0.2.1:3", 3, 0));
    }

    #[test]
    fn a_full_table_refuses_whom_it_does_not_know() {
        let mut budget = Budget::new(BudgetLimits { hosts: 2, ..BudgetLimits::default() });
        assert!(claim(&mut budget, "192.0.2.1:1", 1, 0) && claim(&mut budget, "192.0.2.2:1", 1, 10));
        assert!(!claim(&mut budget, "192.0.2.3:1", 1, 10));
        assert!(claim(&mut budget, "192.0.2.2:2", 1, 10));
        assert!(budget.take(address("192.0.2.3:1"), Class::Attested, 1, at(10)));
        assert!(claim(&mut budget, "192.0.2.3:1", 1, 65));
    }

    #[test]
    fn what_went_to_the_peer_itself_is_given_back() {
        let mut budget = budget();
        assert!(claim(&mut budget, "192.0.2.1:7", 2, 0) && claim(&mut budget, "192.0.2.1:7", 1, 30));
        budget.give_back(address("192.0.2.1:7"), Class::Claimed, 2);
        assert!(!claim(&mut budget, "192.0.2.1:7", 3, 30) && claim(&mut budget, "192.0.2.1:7", 2, 30));
        budget.give_back(address("192.0.2.1:7"), Class::Claimed, u32::MAX);
        assert!(budget.claimed.is_empty() && budget.poll_timeout().is_none());
        budget.give_back(address("192.0.2.9:7"), Class::Attested, 1);
        assert!(budget.attested.is_empty());
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut budget = budget();
        assert!(claim(&mut budget, "192.0.2.1:7", 1, 7));
        assert!(budget.take(address("192.0.2.1:7"), Class::Attested, 1, at(12)));
        assert_eq!(budget.poll_timeout(), Some(at(70)));
        budget.handle_timeout(at(70));
        assert_eq!((budget.claimed.len(), budget.poll_timeout()), (0, Some(at(75))));
        budget.handle_timeout(at(75));
        assert_eq!((budget.attested.len(), budget.poll_timeout()), (0, None));
    }

    #[derive(Clone, Copy, Debug)]
    struct Taken {
        at: u64,
        to: SocketAddr,
        class: Class,
        syns: u32,
    }

    /// The sum of what fits, for each minute that begins with something.
    fn worst_minute(taken: &[Taken], fits: impl Fn(&Taken) -> bool) -> u32 {
        let mine: Vec<_> = taken.iter().filter(|taken| fits(taken)).collect();
        let minute = |from: u64| mine.iter().filter(move |taken| (from..from + 60_000).contains(&taken.at));
        mine.iter().map(|first| minute(first.at).map(|taken| taken.syns).sum()).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn no_minute_has_more_than_the_limit_and_the_tables_stay_small(
            tries in prop::collection::vec((0u64..20_000, 0u8..5, 1u16..4, any::<bool>(), 0u32..5), 0..150),
        ) {
            let limits =
                BudgetLimits { claimed_per_address: 3, claimed_per_host: 5, attested_per_host: 9, hosts: 3 };
            let mut budget = Budget::new(limits);
            let (mut millis, mut taken) = (0, Vec::new());
            for (pause, host, port, is_claimed, syns) in tries {
                millis += pause;
                let to = SocketAddr::from(([192, 0, 2, host], port));
                let class = if is_claimed { Class::Claimed } else { Class::Attested };
                if budget.take(to, class, syns, Instant::ZERO + Duration::from_millis(millis)) {
                    taken.push(Taken { at: millis, to, class, syns });
                }
                prop_assert!(budget.claimed.len() <= 3 && budget.attested.len() <= 3);
                prop_assert!(budget.claimed.values().all(|addresses| addresses.len() <= 5));
                let all = budget.claimed.values().flat_map(BTreeMap::values).chain(budget.attested.values());
                prop_assert!(all.into_iter().all(|spent| spent.0.len() <= 13));
            }
            for Taken { to, class, .. } in &taken {
                let to_host = worst_minute(&taken, |other| (other.class, other.to.ip()) == (*class, to.ip()));
                let to_address = worst_minute(&taken, |other| (other.class, other.to) == (*class, *to));
                match class {
                    Class::Claimed => prop_assert!(to_address <= 3 && to_host <= 5),
                    Class::Attested => prop_assert!(to_host <= 9),
                }
            }
            budget.handle_timeout(at(millis / 1000 + 66));
            prop_assert!(budget.claimed.is_empty() && budget.attested.is_empty() && budget.forgets.is_none());
        }

        /// It is no stricter than it says.
        #[test]
        fn after_a_minute_and_a_step_all_may_be_taken_again(first in 0u64..100_000, more in 0u64..5_000) {
            let mut budget = budget();
            let to = address("192.0.2.1:7");
            prop_assert!(budget.take(to, Class::Claimed, 3, Instant::ZERO + Duration::from_millis(first)));
            let mut take = |millis| budget.take(to, Class::Claimed, 3, Instant::ZERO + Duration::from_millis(millis));
            prop_assert!(!take(first + 59_999));
            prop_assert!(take(first + 65_000 + more));
        }
    }
}
