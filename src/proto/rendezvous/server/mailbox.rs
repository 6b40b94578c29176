//! Signals to nodes that are not connected, for as long as somebody may wait for what comes of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

use super::counts::Counts;
use super::limits::Limits;
use super::sender::Sender;
use crate::identity::NodeId;
use crate::proto::household::household;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Mailbox {
    /// Grows with each letter: the older one has the smaller.
    last: u64,
    letters: BTreeMap<u64, Letter>,
    /// The letters for each recipient, the oldest first.
    boxes: HashMap<NodeId, VecDeque<u64>>,
    senders: Counts<NodeId>,
    households: Counts<IpAddr>,
}

#[derive(Debug)]
struct Letter {
    to: NodeId,
    from: Sender,
    since: Instant,
    /// The line, with its end.
    text: Box<[u8]>,
}

impl Mailbox {
    pub(super) fn new() -> Self {
        Self {
            last: 0,
            letters: BTreeMap::new(),
            boxes: HashMap::new(),
            senders: Counts::new(),
            households: Counts::new(),
        }
    }

    /// Keeps a line for a node; whether there is room. What waits makes no room for what somebody else says: the first who
    /// asks is the first who may be answered. A sender's own newer letter takes the place of its oldest: who tries again calls
    /// anew, and takes back what went before.
    pub(super) fn store(
        &mut self,
        to: NodeId,
        from: Sender,
        text: Vec<u8>,
        limits: &Limits,
        now: Instant,
    ) -> bool {
        self.expire(now, limits);
        self.make_way(to, from, limits);
        let (home, local) = (household(from.ip), from.ip.is_loopback());
        let room = self.letters.len() < limits.mail
            && self.has_place(to, from, text.len(), limits)
            && self.senders.of(&from.id) < limits.mail_per_sender
            && (local || self.households.of(&home) < limits.mail_per_address);
        if room {
            self.last += 1;
            self.letters.insert(self.last, Letter { to, from, since: now, text: text.into() });
            self.boxes.entry(to).or_default().push_back(self.last);
            self.senders.add(from.id);
            self.households.add(home);
        }
        room
    }

    /// A sender has a few places in one box: the oldest of its letters goes where it has used them up.
    fn make_way(&mut self, to: NodeId, from: Sender, limits: &Limits) {
        let Some(numbers) = self.boxes.get_mut(&to) else { return };
        let is_its = |number: &u64| self.letters.get(number).is_some_and(|letter| letter.from.id == from.id);
        if numbers.iter().filter(|number| is_its(number)).count() >= limits.mail_per_pair
            && let Some(at) = numbers.iter().position(is_its)
            && let Some(letter) = numbers.remove(at).and_then(|number| self.letters.remove(&number))
        {
            if numbers.is_empty() {
                self.boxes.remove(&to);
            }
            self.discount(letter.from);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Takes out all that waits for a node, and appends it, the oldest first.
    pub(super) fn collect(&mut self, to: NodeId, limits: &Limits, now: Instant, out: &mut Vec<u8>) {
        self.expire(now, limits);
        for number in self.boxes.remove(&to).into_iter().flatten() {
            if let Some(letter) = self.letters.remove(&number) {
                self.discount(letter.from);
                out.extend_from_slice(&letter.text);
            }
        }
    }

    pub(super) fn next_deadline(&self, limits: &Limits) -> Option<Instant> {
        self.letters.first_key_value().map(|(_, letter)| letter.since + limits.mail_time)
    }

    pub(super) fn expire(&mut self, now: Instant, limits: &Limits) {
        while self.next_deadline(limits).is_some_and(|at| at <= now) {
            let Some((number, letter)) = self.letters.pop_first() else { return };
            self.discount(letter.from);
            if let Some(numbers) = self.boxes.get_mut(&letter.to) {
                // The oldest of all is the oldest of its box.
                if numbers.front() == Some(&number) {
                    numbers.pop_front();
                }
                if numbers.is_empty() {
                    self.boxes.remove(&letter.to);
                }
            }
        }
    }

    /// Whether a box has room for another letter. A household has no more than what it leaves to
    /// others, since keys are free: so that one does not fill a box, nor do a few.
    fn has_place(&self, to: NodeId, from: Sender, len: usize, limits: &Limits) -> bool {
        let numbers = self.boxes.get(&to).into_iter().flatten();
        let letters: Vec<&Letter> = numbers.filter_map(|number| self.letters.get(number)).collect();
        let left = limits.mail_per_recipient.saturating_sub(letters.len());
        let home = household(from.ip);
        let of_home = letters.iter().filter(|letter| household(letter.from.ip) == home).count();
        let fair = of_home < left || from.ip.is_loopback();
        let bytes: usize = letters.iter().map(|letter| letter.text.len()).sum();
        left > 0 && fair && bytes + len <= limits.mail_bytes_per_recipient
    }

    fn discount(&mut self, from: Sender) {
        self.senders.take(&from.id);
        self.households.take(&household(from.ip));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; NodeId::LENGTH])
    }

    fn sender(number: u8) -> Sender {
        Sender { id: id(number), ip: IpAddr::from([203, 0, 113, number]) }
    }

    /// One of many keys at a host.
    fn key_of(host: u8, number: u8) -> NodeId {
        let mut bytes = [host; NodeId::LENGTH];
        bytes[0] = number;
        NodeId::from_bytes(bytes)
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn collect(mailbox: &mut Mailbox, to: u8, seconds: u64) -> String {
        let mut out = Vec::new();
        mailbox.collect(id(to), &Limits::default(), at(seconds), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn store(mailbox: &mut Mailbox, to: u8, from: u8, text: &str, seconds: u64) -> bool {
        let text = text.as_bytes().to_vec();
        mailbox.store(id(to), sender(from), text, &Limits::default(), at(seconds))
    }

    fn is_empty(mailbox: &Mailbox) -> bool {
        mailbox.letters.is_empty()
            && mailbox.boxes.is_empty()
            && mailbox.senders.is_empty()
            && mailbox.households.is_empty()
    }

    #[test]
    fn mail_is_given_out_once_and_in_order_and_not_after_a_minute() {
        let mut mailbox = Mailbox::new();
        for (second, text) in [(0, "a"), (10, "b"), (20, "c")] {
            assert!(store(&mut mailbox, 1, 2, text, second));
        }
        assert!(store(&mut mailbox, 3, 2, "x", 20));
        assert_eq!(mailbox.next_deadline(&Limits::default()), Some(at(60)));
        assert_eq!(collect(&mut mailbox, 1, 60), "bc");
        assert_eq!(collect(&mut mailbox, 1, 60), "");
        mailbox.expire(at(80), &Limits::default());
        assert!(is_empty(&mailbox) && mailbox.next_deadline(&Limits::default()).is_none());
    }

    #[test]
    fn a_sender_has_32_letters_its_newest_4_in_one_box_and_room_comes_back() {
        let mut mailbox = Mailbox::new();
        assert!((0..100).all(|n| store(&mut mailbox, 3, 9, &format!("{n} "), 0)));
        assert_eq!(collect(&mut mailbox, 3, 0), "96 97 98 99 ");
        assert!((0..100).all(|_| store(&mut mailbox, 1, 9, "x", 0)));
        assert!(store(&mut mailbox, 1, 8, "x", 0), "there is room for others");
        assert_eq!((0..100).filter(|n| store(&mut mailbox, 2 + n % 10, 9, "x", 1)).count(), 28);
        assert!(!store(&mut mailbox, 20, 9, "x", 59) && store(&mut mailbox, 20, 8, "x", 59));
        assert!(store(&mut mailbox, 20, 9, "x", 60));
    }

    #[test]
    fn many_keys_at_one_address_leave_half_a_box_to_others() {
        let (mut mailbox, limits) = (Mailbox::new(), Limits::default());
        let mut stored = |host: u8| {
            let from = |n| Sender { id: key_of(host, n), ip: [203, 0, 113, host].into() };
            (0..100).filter(|&n| mailbox.store(id(1), from(n), vec![1], &limits, at(0))).count()
        };
        assert_eq!([1, 2, 3, 4, 5, 6].map(&mut stored), [8, 4, 2, 1, 1, 0]);
    }

    #[test]
    fn a_box_holds_8_kilobytes() {
        let mut mailbox = Mailbox::new();
        let letter = "x".repeat(3000);
        assert_eq!((1..10).filter(|&n| store(&mut mailbox, 100, n, &letter, 0)).count(), 2);
        assert!(store(&mut mailbox, 100, 50, "x", 0));
    }

    #[test]
    fn all_senders_of_an_address_and_all_in_all_have_a_limit() {
        let mut mailbox = Mailbox::new();
        let limits = Limits { mail: 40, mail_per_address: 30, ..Limits::default() };
        let mut stored = |ip: &str, count: u8| {
            let ip = ip.parse().unwrap();
            let from = |n| Sender { id: id(n), ip };
            (0..count).filter(|&n| mailbox.store(id(n), from(n), vec![1], &limits, at(0))).count()
        };
        assert_eq!((stored("203.0.113.1", 100), stored("127.0.0.1", 100)), (30, 10));
        mailbox.expire(at(60), &limits);
        assert!(is_empty(&mailbox));
    }
}
