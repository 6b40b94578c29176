//! Attempts to connect: a name is looked up, its addresses are dialled, the first that answers is the connection.
//!
//! The holder gives each attempt a number and says what it is for. Between the two steps the holder decides which of the
//! addresses are dialled and for how long, or that it only wanted to know them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::address::HostPort;
use crate::error::FailReason;
use crate::proto::deadlines::Deadlines;
use crate::proto::dial::{Dial, DialAction, DialFailure, DialOutcome, DialSlot};
use crate::time::Instant;

/// Names that a resolver which does not answer may have waiting. Attempts that gave up no longer count as attempts, so
/// nothing else bounds these; a resolver that works has a handful.
pub(crate) const MAX_LOOK_UPS: usize = 256;

/// What the holder is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttemptAction {
    /// Look up a name, and report `handle_resolved`.
    LookUp { query: u64, host: String, port: u16 },
    /// Begin to connect, and report `handle_connected` or `handle_failed`.
    Dial { attempt: u64, slot: DialSlot, to: SocketAddr },
    /// Close this one; nothing about it needs to be reported any more.
    Abandon { attempt: u64, slot: DialSlot },
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEvent<P> {
    /// Its addresses are known: `dial` or `remove` follows.
    Resolved { attempt: u64, addresses: Vec<SocketAddr> },
    /// It is over, and this one of its dials is the connection.
    Connected { attempt: u64, purpose: P, slot: DialSlot, began: Instant },
    /// It is over. What is still being dialled for it is to be closed.
    Failed { attempt: u64, purpose: P, why: FailReason },
}

/// The attempts that are under way. There are as many as the holder begins.
#[derive(Debug)]
pub(crate) struct Attempts<P> {
    open: BTreeMap<u64, Attempt<P>>,
    /// What is being looked up, by the number of the query. A resolver may take longer than an attempt waits; then the next
    /// attempt for that name joins in, instead of one more query queueing behind.
    look_ups: BTreeMap<u64, Name>,
    queries: u64,
    deadlines: Deadlines<u64>,
    actions: VecDeque<AttemptAction>,
    events: VecDeque<AttemptEvent<P>>,
}

#[derive(Debug)]
struct Attempt<P> {
    purpose: P,
    phase: Phase,
    began: Instant,
    /// The same as in `deadlines`.
    due: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// Waits for the name until the deadline.
    Resolving(Name),
    /// The holder decides what is dialled.
    Resolved,
    Dialling(Dial),
}

/// A host name, and the port that goes with it.
type Name = (String, u16);

impl<P> Attempts<P> {
    pub(crate) const fn new() -> Self {
        Self {
            open: BTreeMap::new(),
            look_ups: BTreeMap::new(),
            queries: 0,
            deadlines: Deadlines::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Begins an attempt under a number that no other has. A name is waited for until `within` is over.
    pub(crate) fn begin(
        &mut self,
        attempt: u64,
        purpose: P,
        target: HostPort,
        within: Duration,
        now: Instant,
    ) {
        let mut begun = Attempt { purpose, phase: Phase::Resolved, began: now, due: None };
        let name = match target {
            HostPort::Address(addr) => {
                self.events.push_back(AttemptEvent::Resolved { attempt, addresses: vec![addr] });
                self.open.insert(attempt, begun);
                return;
            }
            HostPort::Name { host, port } => (host, port),
        };
        let asked = self.look_up(&name);
        begun.phase = Phase::Resolving(name);
        self.deadlines.set(attempt, &mut begun.due, Some(now + within));
        self.open.insert(attempt, begun);
        if !asked {
            let why = "too many names wait to be looked up".to_owned();
            self.fail(attempt, FailReason::NoAddress(why));
        }
    }

    /// Has the addresses of a resolved attempt dialled, but for those of `own`.
    pub(crate) fn dial(
        &mut self,
        attempt: u64,
        addresses: Vec<SocketAddr>,
        own: &[SocketAddr],
        within: Duration,
        now: Instant,
    ) {
        if let Some(open) = self.open.get_mut(&attempt).filter(|open| matches!(open.phase, Phase::Resolved)) {
            open.phase = Phase::Dialling(Dial::new(addresses, own, within, now));
            self.advance(attempt);
        }
    }

    /// A name was looked up, or why it could not be.
    pub(crate) fn handle_resolved(&mut self, query: u64, outcome: &Result<Vec<SocketAddr>, String>) {
        let Some(resolved) = self.look_ups.remove(&query) else { return };
        let waits = |open: &Attempt<P>| matches!(&open.phase, Phase::Resolving(name) if *name == resolved);
        let waiting: Vec<u64> =
            self.open.iter().filter(|(_, open)| waits(open)).map(|(&attempt, _)| attempt).collect();
        for attempt in waiting {
            match outcome {
                Ok(addresses) => self.set_resolved(attempt, addresses.clone()),
                Err(why) => self.fail(attempt, FailReason::NoAddress(why.clone())),
            }
        }
    }

    pub(crate) fn handle_connected(&mut self, attempt: u64, slot: DialSlot) {
        if let Some(dial) = self.dial_of(attempt) {
            dial.handle_connected(slot);
            self.advance(attempt);
        }
    }

    pub(crate) fn handle_failed(&mut self, attempt: u64, slot: DialSlot, kind: io::ErrorKind, now: Instant) {
        if let Some(dial) = self.dial_of(attempt) {
            dial.handle_failed(slot, kind, now);
            self.advance(attempt);
        }
    }

    /// Ends an attempt for a reason of the holder's.
    pub(crate) fn fail(&mut self, attempt: u64, why: FailReason) {
        if let Some(purpose) = self.remove(attempt) {
            self.events.push_back(AttemptEvent::Failed { attempt, purpose, why });
        }
    }

    /// Forgets an attempt without a word. What is being dialled for it is the holder's to close.
    pub(crate) fn remove(&mut self, attempt: u64) -> Option<P> {
        let mut over = self.open.remove(&attempt)?;
        self.deadlines.set(attempt, &mut over.due, None);
        Some(over.purpose)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(attempt) = self.deadlines.pop_due(now) {
            match self.dial_of(attempt) {
                Some(dial) => {
                    dial.handle_timeout(now);
                    self.advance(attempt);
                }
                None => {
                    let why = "the name was not resolved in time".to_owned();
                    self.fail(attempt, FailReason::NoAddress(why));
                }
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(crate) fn poll_action(&mut self) -> Option<AttemptAction> {
        self.actions.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<AttemptEvent<P>> {
        self.events.pop_front()
    }

    /// What this attempt is for, while it is under way.
    pub(crate) fn purpose(&self, attempt: u64) -> Option<&P> {
        self.open.get(&attempt).map(|open| &open.purpose)
    }

    /// All attempts that are under way, and what they are for.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &P)> {
        self.open.iter().map(|(&attempt, open)| (attempt, &open.purpose))
    }

    /// Has a name looked up, unless it is on its way; `false` where too many are.
    fn look_up(&mut self, name: &Name) -> bool {
        if self.look_ups.values().any(|other| other == name) {
            return true;
        }
        if self.look_ups.len() >= MAX_LOOK_UPS {
            return false;
        }
        self.queries += 1;
        self.look_ups.insert(self.queries, name.clone());
        let (host, port) = name.clone();
        self.actions.push_back(AttemptAction::LookUp { query: self.queries, host, port });
        true
    }

    fn set_resolved(&mut self, attempt: u64, addresses: Vec<SocketAddr>) {
        if let Some(open) = self.open.get_mut(&attempt) {
            open.phase = Phase::Resolved;
            self.deadlines.set(attempt, &mut open.due, None);
            self.events.push_back(AttemptEvent::Resolved { attempt, addresses });
        }
    }

    fn dial_of(&mut self, attempt: u64) -> Option<&mut Dial> {
        match self.open.get_mut(&attempt).map(|open| &mut open.phase) {
            Some(Phase::Dialling(dial)) => Some(dial),
            _ => None,
        }
    }

    /// Passes on what the dial wants, and whether it is decided.
    fn advance(&mut self, attempt: u64) {
        let Some(open) = self.open.get_mut(&attempt) else { return };
        let Phase::Dialling(dial) = &mut open.phase else { return };
        while let Some(action) = dial.poll_action() {
            self.actions.push_back(match action {
                DialAction::Connect { slot, to } => AttemptAction::Dial { attempt, slot, to },
                DialAction::Abandon { slot } => AttemptAction::Abandon { attempt, slot },
            });
        }
        let (outcome, began) = (dial.outcome(), open.began);
        self.deadlines.set(attempt, &mut open.due, dial.poll_timeout());
        match outcome {
            None => {}
            Some(DialOutcome::Connected(slot)) => {
                if let Some(purpose) = self.remove(attempt) {
                    self.events.push_back(AttemptEvent::Connected { attempt, purpose, slot, began });
                }
            }
            Some(DialOutcome::Failed(tried)) => self.fail(attempt, fail_reason(tried)),
        }
    }
}

fn fail_reason(tried: Vec<(SocketAddr, DialFailure)>) -> FailReason {
    if !tried.is_empty() && tried.iter().all(|(_, why)| *why == DialFailure::Ourselves) {
        return FailReason::Oneself;
    }
    if tried.is_empty() {
        return FailReason::NoAddress("the name has none".into());
    }
    let kind = |why| match why {
        DialFailure::Error(kind) => kind,
        DialFailure::TimedOut => io::ErrorKind::TimedOut,
        DialFailure::Ourselves | DialFailure::NotDialable => io::ErrorKind::InvalidInput,
        DialFailure::NotTried => io::ErrorKind::Interrupted,
    };
    FailReason::Unreachable(tried.into_iter().map(|(addr, why)| (addr, kind(why))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn begin(attempts: &mut Attempts<char>, attempt: u64, target: &str, now: Instant) {
        attempts.begin(attempt, 'p', HostPort::parse(target).unwrap(), WITHIN, now);
    }

    /// Dials all that is resolved, and gives the actions.
    fn dial_resolved(attempts: &mut Attempts<char>, now: Instant) -> Vec<AttemptAction> {
        while let Some(AttemptEvent::Resolved { attempt, addresses }) = attempts.poll_event() {
            attempts.dial(attempt, addresses, &[], WITHIN, now);
        }
        std::iter::from_fn(|| attempts.poll_action()).collect()
    }

    fn failure(attempts: &mut Attempts<char>) -> Option<FailReason> {
        match attempts.poll_event() {
            Some(AttemptEvent::Failed { why, purpose: 'p', .. }) => Some(why),
            _ => None,
        }
    }

    #[test]
    fn an_address_is_dialled_at_once() {
        let mut attempts = Attempts::new();
        begin(&mut attempts, 7, "192.0.2.1:1", at(1));
        let actions = dial_resolved(&mut attempts, at(1));
        let [AttemptAction::Dial { attempt: 7, slot, to }] = actions[..] else { panic!("{actions:?}") };
        assert_eq!(to, addr("192.0.2.1:1"));
        attempts.handle_connected(7, slot);
        let connected = AttemptEvent::Connected { attempt: 7, purpose: 'p', slot, began: at(1) };
        assert_eq!(attempts.poll_event(), Some(connected));
        assert_eq!((attempts.poll_timeout(), attempts.purpose(7)), (None, None));
    }

    #[test]
    fn attempts_at_one_name_share_a_look_up() {
        let mut attempts = Attempts::new();
        begin(&mut attempts, 1, "host.example:5", at(0));
        begin(&mut attempts, 2, "host.example:5", at(0));
        begin(&mut attempts, 3, "host.example:6", at(0));
        let asked: Vec<u64> = std::iter::from_fn(|| attempts.poll_action())
            .map(|action| match action {
                AttemptAction::LookUp { query, .. } => query,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(asked, [1, 2]);
        attempts.handle_resolved(1, &Ok(vec![addr("192.0.2.1:5")]));
        let dialled = dial_resolved(&mut attempts, at(1));
        assert_eq!(dialled.len(), 2, "{dialled:?}");
        attempts.handle_resolved(2, &Err("no such name".into()));
        assert_eq!(failure(&mut attempts), Some(FailReason::NoAddress("no such name".into())));
    }

    #[test]
    fn who_comes_after_the_first_gave_up_joins_its_look_up() {
        let mut attempts = Attempts::new();
        begin(&mut attempts, 1, "host.example:5", at(0));
        assert_eq!(attempts.poll_timeout(), Some(at(10)));
        attempts.handle_timeout(at(10));
        assert!(matches!(failure(&mut attempts), Some(FailReason::NoAddress(_))));
        begin(&mut attempts, 2, "host.example:5", at(11));
        assert!(attempts.poll_action().is_some_and(|action| matches!(action, AttemptAction::LookUp { .. })));
        assert_eq!(attempts.poll_action(), None, "it was asked once");
        attempts.handle_resolved(1, &Ok(vec![addr("192.0.2.1:5")]));
        assert_eq!(dial_resolved(&mut attempts, at(12)).len(), 1);
    }

    #[test]
    fn a_resolver_that_never_answers_holds_so_many_names() {
        let mut attempts = Attempts::new();
        for number in 0..=MAX_LOOK_UPS as u64 {
            begin(&mut attempts, number, &format!("host{number}.example:5"), at(0));
        }
        assert!(matches!(failure(&mut attempts), Some(FailReason::NoAddress(_))));
        assert_eq!(attempts.poll_event(), None, "only the last one is too many");
        assert_eq!(std::iter::from_fn(|| attempts.poll_action()).count(), MAX_LOOK_UPS);
        attempts.handle_resolved(1, &Err("no".into()));
        assert!(failure(&mut attempts).is_some());
        begin(&mut attempts, 9999, "another.example:5", at(1));
        assert!(attempts.poll_action().is_some(), "there is room again");
    }

    #[test]
    fn the_reason_tells_what_was_tried() {
        let own = [addr("192.0.2.9:1")];
        for (addresses, refused, expected) in [
            (vec![], None, FailReason::NoAddress("the name has none".into())),
            (vec![own[0]], None, FailReason::Oneself),
            (
                vec![addr("192.0.2.1:1")],
                Some(io::ErrorKind::ConnectionRefused),
                FailReason::Unreachable(vec![(addr("192.0.2.1:1"), io::ErrorKind::ConnectionRefused)]),
            ),
            (
                vec![addr("192.0.2.1:1")],
                None,
                FailReason::Unreachable(vec![(addr("192.0.2.1:1"), io::ErrorKind::TimedOut)]),
            ),
        ] {
            let mut attempts = Attempts::new();
            begin(&mut attempts, 1, "host.example:1", at(0));
            attempts.handle_resolved(1, &Ok(Vec::new()));
            assert!(matches!(attempts.poll_event(), Some(AttemptEvent::Resolved { .. })));
            attempts.dial(1, addresses, &own, WITHIN, at(1));
            while let Some(action) = attempts.poll_action() {
                if let (AttemptAction::Dial { attempt, slot, .. }, Some(kind)) = (action, refused) {
                    attempts.handle_failed(attempt, slot, kind, at(1));
                }
            }
            attempts.handle_timeout(at(11));
            assert_eq!(failure(&mut attempts), Some(expected));
            assert_eq!((attempts.poll_timeout(), attempts.iter().count()), (None, 0));
        }
    }

    #[test]
    fn an_attempt_that_is_removed_says_nothing_more() {
        let mut attempts = Attempts::new();
        begin(&mut attempts, 1, "192.0.2.1:1", at(0));
        let dialled = dial_resolved(&mut attempts, at(0));
        let [AttemptAction::Dial { attempt, slot, .. }] = dialled[..] else { panic!("{dialled:?}") };
        assert_eq!(attempts.remove(1), Some('p'));
        attempts.handle_connected(attempt, slot);
        attempts.handle_timeout(at(99));
        assert_eq!(
            (attempts.poll_event(), attempts.poll_action(), attempts.poll_timeout()),
            (None, None, None)
        );
    }
}
