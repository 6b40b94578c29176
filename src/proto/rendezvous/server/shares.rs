//! How many signals a sender may have passed on in a minute: to one recipient, and in all.
//!
//! Keys are free, so who has many at one address must not use up what a node listens to; addresses cost something, so
//! neither must a few of those. What a recipient is sent in a minute is therefore divided by the households that the
//! server saw, and what a household has by keys. Each may take a part of what is *left* (dynamic thresholds, Choudhury
//! and Hahne 1998), so that whoever comes next always finds something, and who is alone has much.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::limits::Limits;
use super::sender::Sender;
use crate::identity::NodeId;
use crate::proto::household::household;
use crate::time::Instant;

/// All counts begin anew after it: so a minute that lies across two of them may have twice as many.
const MINUTE: Duration = Duration::from_secs(60);

/// A household may take this part of what is left of a recipient's minute.
const PART: u32 = 8;

/// Each household may say so much, whatever is left: to call takes one, and a few follow. So it is the number of
/// addresses, and nothing else, by which somebody could make a recipient hear more than its limit.
const LEAST: u32 = 4;

#[derive(Debug)]
pub(super) struct Shares {
    since: Instant,
    recipients: HashMap<NodeId, u32>,
    /// By recipient and household.
    households: HashMap<(NodeId, IpAddr), u32>,
    /// By recipient and key.
    keys: HashMap<(NodeId, NodeId), u32>,
    /// To whomever.
    senders: HashMap<IpAddr, u32>,
}

impl Shares {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::ZERO,
            recipients: HashMap::new(),
            households: HashMap::new(),
            keys: HashMap::new(),
            senders: HashMap::new(),
        }
    }

    /// Whether one more signal is passed on. Who is on the server's own machine is not limited.
    pub(super) fn take(&mut self, to: NodeId, from: Sender, limits: &Limits, now: Instant) -> bool {
        self.expire(now);
        if from.ip.is_loopback() {
            return true;
        }
        let home = household(from.ip);
        let fair = self.has_share(to, from.id, home, limits);
        if fair {
            self.add(to, from.id, home, limits);
        }
        fair
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (!self.senders.is_empty()).then_some(self.since + MINUTE)
    }

    /// Forgets the minute that is over.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.since + MINUTE <= now {
            *self = Self { since: now, ..Self::new() };
        }
    }

    fn has_share(&self, to: NodeId, key: NodeId, home: IpAddr, limits: &Limits) -> bool {
        let of_home = count(&self.households, &(to, home));
        let of_key = count(&self.keys, &(to, key));
        let left = limits.signals_per_recipient.saturating_sub(count(&self.recipients, &to));
        let most_of_home = (left / PART).max(LEAST);
        let most_of_key = most_of_home.saturating_sub(of_home);
        count(&self.senders, &home) < limits.signals_per_address
            && of_home < most_of_home
            && of_key < most_of_key
    }

    fn add(&mut self, to: NodeId, key: NodeId, home: IpAddr, limits: &Limits) {
        *self.senders.entry(home).or_default() += 1;
        // Where there is no room to remember them, pairs are not told apart: what is said to somebody else must not keep
        // anybody from being heard.
        if self.keys.len() < limits.signal_pairs || self.keys.contains_key(&(to, key)) {
            *self.recipients.entry(to).or_default() += 1;
            *self.households.entry((to, home)).or_default() += 1;
            *self.keys.entry((to, key)).or_default() += 1;
        }
    }
}

fn count<K: std::hash::Hash + Eq>(counts: &HashMap<K, u32>, key: &K) -> u32 {
    counts.get(key).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> NodeId {
        let mut bytes = [0; NodeId::LENGTH];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// How many of so many signals of a key at an address are passed on.
    fn say(shares: &mut Shares, (key, ip): (u32, [u8; 4]), to: u32, many: usize, seconds: u64) -> usize {
        let from = Sender { id: id(key), ip: IpAddr::from(ip) };
        (0..many).filter(|_| shares.take(id(to), from, &Limits::default(), at(seconds))).count()
    }

    #[test]
    fn many_keys_at_one_address_leave_others_their_part() {
        let mut shares = Shares::new();
        let flood: usize = (0..1000).map(|key| say(&mut shares, (key, [203, 0, 113, 1]), 1, 100, 0)).sum();
        assert!((60..=75).contains(&flood), "{flood}");
        assert!(say(&mut shares, (5000, [203, 0, 113, 2]), 1, 100, 1) >= 30, "five attempts to connect");
        assert_eq!(say(&mut shares, (5001, [203, 0, 113, 1]), 1, 1, 59), 0);
        assert!(say(&mut shares, (5001, [203, 0, 113, 1]), 1, 1, 61) == 1);
    }

    #[test]
    fn a_key_leaves_something_to_others_of_its_household() {
        let mut shares = Shares::new();
        let home = [203, 0, 113, 1];
        let first = say(&mut shares, (1, home), 9, 1000, 0);
        let second = say(&mut shares, (2, home), 9, 1000, 0);
        assert!((30..=40).contains(&first) && second >= 10, "{first} {second}");
        assert_eq!(say(&mut shares, (1, home), 8, 10, 0), 10, "to somebody else it is as before");
    }

    #[test]
    fn a_hundred_addresses_do_not_use_up_what_a_recipient_hears() {
        let mut shares = Shares::new();
        for host in 1..=100 {
            for key in 0..50 {
                say(&mut shares, (key, [198, 51, 100, host]), 1, 50, 0);
            }
        }
        assert!(say(&mut shares, (500, [203, 0, 113, 1]), 1, 10, 30) >= 2);
        let all = shares.recipients[&id(1)];
        assert!((600..=600 + 101 * LEAST).contains(&all), "{all}");
    }

    #[test]
    fn an_address_has_its_limit_and_the_server_itself_none() {
        let mut shares = Shares::new();
        let all: usize = (0..1000).map(|to| say(&mut shares, (1, [203, 0, 113, 1]), to, 10, 0)).sum();
        assert_eq!(all, 3000);
        assert_eq!(say(&mut shares, (1, [203, 0, 113, 2]), 1, 1, 0), 1);
        assert_eq!(say(&mut shares, (1, [127, 0, 0, 1]), 1, 5000, 0), 5000);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_after_a_minute() {
        let limits = Limits { signal_pairs: 10, ..Limits::default() };
        let mut shares = Shares::new();
        for key in 0..100 {
            let from = Sender { id: id(key), ip: [203, 0, 113, key as u8].into() };
            assert!(shares.take(id(key), from, &limits, at(5)));
        }
        assert_eq!((shares.keys.len(), shares.households.len(), shares.recipients.len()), (10, 10, 10));
        assert_eq!(shares.next_deadline(), Some(at(60)));
        shares.expire(at(60));
        assert!(shares.keys.is_empty() && shares.senders.is_empty() && shares.next_deadline().is_none());
    }
}
