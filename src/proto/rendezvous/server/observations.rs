//! Where somebody was seen a moment ago: an address that a signal may name without the sender having to be believed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use super::limits::Limits;
use crate::proto::household::household;
use crate::time::Instant;
use crate::wire::rendezvous::Token;

/// A token is one of its household's: nobody else can name or replace what it stands for.
type Name = (IpAddr, Token);

#[derive(Debug)]
pub(super) struct Observations {
    /// Grows with each observation: the older one has the smaller.
    last: u64,
    seen: BTreeMap<u64, Seen>,
    by_name: HashMap<Name, u64>,
    households: HashMap<IpAddr, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Seen {
    name: Name,
    addr: SocketAddr,
    since: Instant,
}

impl Observations {
    pub(super) fn new() -> Self {
        Self { last: 0, seen: BTreeMap::new(), by_name: HashMap::new(), households: HashMap::new() }
    }

    /// Remembers that whoever knows the token was at this address. The oldest make room, first those of the household:
    /// what was seen last is what will be named next.
    pub(super) fn remember(&mut self, token: Token, addr: SocketAddr, limits: &Limits, now: Instant) {
        self.expire(now, limits);
        let home = household(addr.ip());
        if let Some(&former) = self.by_name.get(&(home, token)) {
            self.forget(former);
        }
        if !addr.ip().is_loopback() {
            let here = self.households.get(&home);
            let oldest = here.filter(|here| here.len() >= limits.observations_per_address);
            if let Some(&oldest) = oldest.and_then(BTreeSet::first) {
                self.forget(oldest);
            }
        }
        if self.seen.len() >= limits.observations
            && let Some((&oldest, _)) = self.seen.first_key_value()
        {
            self.forget(oldest);
        }
        self.last += 1;
        self.seen.insert(self.last, Seen { name: (home, token), addr, since: now });
        self.by_name.insert((home, token), self.last);
        self.households.entry(home).or_default().insert(self.last);
    }

    /// What a token stands for that was said by somebody at `ip`.
    pub(super) fn find(
        &mut self,
        ip: IpAddr,
        token: Token,
        limits: &Limits,
        now: Instant,
    ) -> Option<SocketAddr> {
        self.expire(now, limits);
        let number = self.by_name.get(&(household(ip), token))?;
        self.seen.get(number).map(|seen| seen.addr)
    }

    pub(super) fn next_deadline(&self, limits: &Limits) -> Option<Instant> {
        self.seen.first_key_value().map(|(_, seen)| seen.since + limits.observation_time)
    }

    pub(super) fn expire(&mut self, now: Instant, limits: &Limits) {
        while let Some((&oldest, seen)) = self.seen.first_key_value()
            && seen.since + limits.observation_time <= now
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, number: u64) {
        let Some(Seen { name, .. }) = self.seen.remove(&number) else { return };
        self.by_name.remove(&name);
        if let Some(here) = self.households.get_mut(&name.0) {
            here.remove(&number);
            if here.is_empty() {
                self.households.remove(&name.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn token(number: u64) -> Token {
        Token::from_number(number)
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn find(table: &mut Observations, ip: &str, number: u64, seconds: u64) -> Option<u16> {
        let found = table.find(ip.parse().unwrap(), token(number), &Limits::default(), at(seconds));
        found.map(|addr| addr.port())
    }

    #[test]
    fn a_token_is_of_its_household_and_lasts_a_minute() {
        let (mut table, limits) = (Observations::new(), Limits::default());
        table.remember(token(1), addr("203.0.113.1:5"), &limits, at(0));
        table.remember(token(1), addr("203.0.113.2:6"), &limits, at(10));
        assert_eq!(find(&mut table, "203.0.113.1", 1, 59), Some(5));
        assert_eq!(find(&mut table, "203.0.113.3", 1, 59), None);
        table.remember(token(1), addr("203.0.113.1:7"), &limits, at(59));
        assert_eq!(find(&mut table, "203.0.113.1", 1, 100), Some(7));
        assert_eq!(find(&mut table, "203.0.113.2", 1, 70), None);
        table.expire(at(119), &limits);
        assert!(table.seen.is_empty() && table.by_name.is_empty() && table.households.is_empty());
    }

    #[test]
    fn a_household_keeps_its_last_64_and_takes_none_of_others() {
        let (mut table, limits) = (Observations::new(), Limits::default());
        table.remember(token(0), addr("[2001:db8::1]:1"), &limits, at(0));
        for number in 0..100 {
            table.remember(token(number), addr("203.0.113.1:5"), &limits, at(1));
        }
        let left = (0..100).filter(|&number| find(&mut table, "203.0.113.1", number, 1).is_some());
        assert_eq!(left.collect::<Vec<_>>(), (36..100).collect::<Vec<_>>());
        assert_eq!(find(&mut table, "2001:db8::2", 0, 1), Some(1));
    }

    #[test]
    fn of_all_the_oldest_goes() {
        let (mut table, limits) = (Observations::new(), Limits { observations: 10, ..Limits::default() });
        for number in 0..20 {
            let addr = SocketAddr::from(([203, 0, 113, number as u8], 5));
            table.remember(token(number), addr, &limits, at(0));
        }
        assert_eq!((table.seen.len(), table.by_name.len(), table.households.len()), (10, 10, 10));
        assert_eq!(find(&mut table, "203.0.113.9", 9, 0), None);
        assert_eq!(find(&mut table, "203.0.113.10", 10, 0), Some(5));
    }
}
