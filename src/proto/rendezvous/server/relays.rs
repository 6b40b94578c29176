//! Relays: which halves wait for their other half, which pairs run, and which sessions are over for good.
//!
//! A session is named by its number and its two ends, so nobody can use up that of others. It has one life: whatever
//! becomes of it, it is remembered as used, and the ticket is worth nothing any more.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use super::counts::Counts;
use super::ids::ClientId;
use super::limits::Limits;
use crate::identity::NodeId;
use crate::proto::deadlines::Deadlines;
use crate::proto::household::household;
use crate::time::Instant;
use crate::wire::relay::RelayRefusal;

/// A session's number, its caller and its callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) number: [u8; 16],
    pub(super) caller: NodeId,
    pub(super) callee: NodeId,
}

/// Which end of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Callee,
}

/// What became of a half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    Waits,
    /// The other half has waited for it.
    With(ClientId),
}

#[derive(Debug)]
pub(super) struct Relays {
    last: u64,
    relays: BTreeMap<u64, Relay>,
    waiting: HashMap<Session, u64>,
    running: usize,
    by_client: HashMap<ClientId, u64>,
    nodes: Counts<NodeId>,
    households: Counts<IpAddr>,
    due: Deadlines<u64>,
    used: HashSet<Session>,
    /// The same, the oldest first.
    used_since: VecDeque<(Instant, Session)>,
}

#[derive(Debug)]
struct Relay {
    session: Session,
    /// The caller and the callee, as far as they are there.
    halves: [Option<Half>; 2],
    runs: bool,
    /// When the other half must have come.
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Half {
    client: ClientId,
    home: IpAddr,
}

impl Relays {
    pub(super) fn new() -> Self {
        Self {
            last: 0,
            relays: BTreeMap::new(),
            waiting: HashMap::new(),
            running: 0,
            by_client: HashMap::new(),
            nodes: Counts::new(),
            households: Counts::new(),
            due: Deadlines::new(),
            used: HashSet::new(),
            used_since: VecDeque::new(),
        }
    }

    /// Relays that run.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// A half came, whose proof and ticket are good.
    pub(super) fn join(
        &mut self,
        (client, ip): (ClientId, IpAddr),
        (session, side): (Session, Side),
        limits: &Limits,
        now: Instant,
    ) -> Result<Joined, RelayRefusal> {
        self.expire(now, limits);
        if self.used.contains(&session) || self.by_client.contains_key(&client) {
            return Err(RelayRefusal::Used);
        }
        let waiting = self.waiting.get(&session).copied();
        if waiting.is_some_and(|number| self.half(number, side).is_some()) {
            return Err(RelayRefusal::Used);
        }
        if !ip.is_loopback() && self.households.of(&household(ip)) >= limits.relays_per_address {
            return Err(RelayRefusal::Address);
        }
        let number = match waiting {
            Some(number) => number,
            None => self.begin(session, limits, now)?,
        };
        let half = Half { client, home: household(ip) };
        self.by_client.insert(client, number);
        self.households.add(half.home);
        let Some(relay) = self.relays.get_mut(&number) else { return Err(RelayRefusal::Absent) };
        relay.halves[side as usize] = Some(half);
        let [Some(caller), Some(callee)] = relay.halves else { return Ok(Joined::Waits) };
        relay.runs = true;
        self.due.set(number, &mut relay.due, None);
        self.waiting.remove(&session);
        self.running += 1;
        self.use_up(session, limits, now);
        Ok(Joined::With(if side == Side::Caller { callee.client } else { caller.client }))
    }

    /// A client is gone.
    pub(super) fn closed(&mut self, client: ClientId, limits: &Limits, now: Instant) {
        let Some(number) = self.by_client.remove(&client) else { return };
        let Some(relay) = self.relays.get_mut(&number) else { return };
        for half in &mut relay.halves {
            if let Some(half) = half.take_if(|half| half.client == client) {
                self.households.take(&half.home);
            }
        }
        if relay.halves.iter().all(Option::is_none) {
            self.end(number, limits, now);
        }
    }

    /// The next one whose other half did not come in time.
    pub(super) fn pop_absent(&mut self, limits: &Limits, now: Instant) -> Option<ClientId> {
        let number = self.due.pop_due(now)?;
        let relay = self.relays.get_mut(&number)?;
        relay.due = None;
        let client = relay.halves.iter().flatten().next()?.client;
        self.closed(client, limits, now);
        Some(client)
    }

    pub(super) fn next_deadline(&self, limits: &Limits) -> Option<Instant> {
        let forget = self.used_since.front().map(|(since, _)| *since + limits.used_time);
        crate::time::soonest(self.due.next(), forget)
    }

    /// Forgets sessions that nobody will come back to.
    pub(super) fn expire(&mut self, now: Instant, limits: &Limits) {
        while let Some((since, session)) = self.used_since.front()
            && *since + limits.used_time <= now
        {
            self.used.remove(session);
            self.used_since.pop_front();
        }
    }

    fn half(&self, number: u64, side: Side) -> Option<&Half> {
        self.relays.get(&number)?.halves[side as usize].as_ref()
    }

    /// Counts for both ends at once: both have signed the ticket.
    fn begin(&mut self, session: Session, limits: &Limits, now: Instant) -> Result<u64, RelayRefusal> {
        if self.relays.len() >= limits.relays {
            return Err(RelayRefusal::Full);
        }
        let ends = [session.caller, session.callee];
        if ends.iter().any(|end| self.nodes.of(end) >= limits.relays_per_node) {
            return Err(RelayRefusal::Node);
        }
        ends.into_iter().for_each(|end| self.nodes.add(end));
        self.last += 1;
        let mut relay = Relay { session, halves: [None; 2], runs: false, due: None };
        self.due.set(self.last, &mut relay.due, Some(now + limits.relay_wait));
        self.relays.insert(self.last, relay);
        self.waiting.insert(session, self.last);
        Ok(self.last)
    }

    fn end(&mut self, number: u64, limits: &Limits, now: Instant) {
        let Some(mut relay) = self.relays.remove(&number) else { return };
        self.due.set(number, &mut relay.due, None);
        self.nodes.take(&relay.session.caller);
        self.nodes.take(&relay.session.callee);
        if relay.runs {
            self.running -= 1;
        } else {
            self.waiting.remove(&relay.session);
            self.use_up(relay.session, limits, now);
        }
    }

    fn use_up(&mut self, session: Session, limits: &Limits, now: Instant) {
        if self.used_since.len() >= limits.used_sessions
            && let Some((_, oldest)) = self.used_since.pop_front()
        {
            self.used.remove(&oldest);
        }
        if self.used.insert(session) {
            self.used_since.push_back((now, session));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; NodeId::LENGTH])
    }

    fn session(number: u8, caller: u8, callee: u8) -> Session {
        Session { number: [number; 16], caller: id(caller), callee: id(callee) }
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// A table at a time, with some limits. Clients come from addresses of their own.
    struct Desk {
        relays: Relays,
        limits: Limits,
        now: Instant,
    }

    impl Desk {
        fn with(limits: Limits) -> Self {
            Self { relays: Relays::new(), limits, now: at(0) }
        }

        fn new() -> Self {
            Self::with(Limits::default())
        }

        fn join(&mut self, client: u64, session: Session, side: Side) -> Result<Joined, RelayRefusal> {
            let ip = IpAddr::from([203, 0, 113, client as u8]);
            self.join_from(client, ip, session, side)
        }

        fn join_from(
            &mut self,
            client: u64,
            ip: IpAddr,
            session: Session,
            side: Side,
        ) -> Result<Joined, RelayRefusal> {
            self.relays.join((ClientId(client), ip), (session, side), &self.limits, self.now)
        }

        fn close(&mut self, client: u64) {
            self.relays.closed(ClientId(client), &self.limits, self.now);
        }

        fn is_empty(&self) -> bool {
            let relays = &self.relays;
            relays.relays.is_empty()
                && relays.waiting.is_empty()
                && relays.by_client.is_empty()
                && relays.nodes.is_empty()
                && relays.households.is_empty()
                && relays.due.next().is_none()
                && relays.running == 0
        }
    }

    #[test]
    fn two_halves_make_a_relay_once() {
        let mut desk = Desk::new();
        assert_eq!(desk.join(1, session(1, 1, 2), Side::Caller), Ok(Joined::Waits));
        assert_eq!(desk.join(2, session(1, 1, 2), Side::Caller), Err(RelayRefusal::Used));
        assert_eq!(desk.join(2, session(1, 1, 2), Side::Callee), Ok(Joined::With(ClientId(1))));
        assert_eq!(desk.relays.running(), 1);
        assert_eq!(desk.join(3, session(1, 1, 2), Side::Caller), Err(RelayRefusal::Used));
        assert_eq!(
            desk.join(1, session(2, 1, 2), Side::Caller),
            Err(RelayRefusal::Used),
            "one for each client"
        );
        desk.close(1);
        assert_eq!(desk.relays.running(), 1, "the other half is still closing");
        desk.close(2);
        assert!(desk.is_empty());
        assert_eq!(desk.join(3, session(1, 1, 2), Side::Caller), Err(RelayRefusal::Used));
        desk.now = at(600);
        assert_eq!(desk.join(3, session(1, 1, 2), Side::Callee), Ok(Joined::Waits));
        assert_eq!(desk.join(4, session(1, 1, 2), Side::Caller), Ok(Joined::With(ClientId(3))));
    }

    #[test]
    fn who_waits_in_vain_is_told_and_who_left_has_used_the_session_up() {
        let mut desk = Desk::new();
        desk.join(1, session(1, 1, 2), Side::Caller).unwrap();
        desk.join(2, session(2, 1, 2), Side::Callee).unwrap();
        desk.close(2);
        assert_eq!(desk.relays.pop_absent(&desk.limits, at(9)), None);
        assert_eq!(desk.relays.next_deadline(&desk.limits), Some(at(10)));
        assert_eq!(desk.relays.pop_absent(&desk.limits, at(10)), Some(ClientId(1)));
        assert_eq!(desk.relays.pop_absent(&desk.limits, at(10)), None);
        assert!(desk.is_empty());
        for number in [1, 2] {
            assert_eq!(desk.join(5, session(number, 1, 2), Side::Callee), Err(RelayRefusal::Used));
        }
    }

    #[test]
    fn a_session_of_others_is_another_session() {
        let mut desk = Desk::new();
        desk.join(1, session(1, 1, 2), Side::Caller).unwrap();
        assert_eq!(desk.join(3, session(1, 3, 4), Side::Caller), Ok(Joined::Waits));
        assert_eq!(desk.join(2, session(1, 1, 2), Side::Callee), Ok(Joined::With(ClientId(1))));
    }

    #[test]
    fn a_node_an_address_and_the_server_have_limits() {
        let limits = Limits { relays: 4, relays_per_node: 2, relays_per_address: 2, ..Limits::default() };
        let mut desk = Desk::with(limits);
        desk.join(1, session(1, 1, 2), Side::Caller).unwrap();
        desk.join(2, session(2, 1, 3), Side::Caller).unwrap();
        assert_eq!(desk.join(3, session(3, 4, 1), Side::Caller), Err(RelayRefusal::Node));
        let home = IpAddr::from([203, 0, 113, 1]);
        desk.join_from(4, home, session(4, 5, 6), Side::Caller).unwrap();
        assert_eq!(desk.join_from(5, home, session(5, 7, 8), Side::Caller), Err(RelayRefusal::Address));
        assert_eq!(desk.join_from(5, home, session(1, 1, 2), Side::Callee), Err(RelayRefusal::Address));
        let (here, next) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([203, 0, 113, 2]));
        desk.join_from(6, here, session(6, 7, 8), Side::Caller).unwrap();
        assert_eq!(desk.join_from(7, here, session(7, 9, 10), Side::Caller), Err(RelayRefusal::Full));
        assert_eq!(desk.join_from(7, next, session(1, 1, 2), Side::Callee), Ok(Joined::With(ClientId(1))));
        [1, 2, 4, 6, 7].into_iter().for_each(|client| desk.close(client));
        assert!(desk.is_empty());
    }

    #[test]
    fn used_sessions_have_a_limit() {
        let mut desk = Desk::with(Limits { used_sessions: 3, ..Limits::default() });
        for number in 0..10 {
            desk.join(1, session(number, 1, 2), Side::Caller).unwrap();
            desk.close(1);
        }
        assert_eq!((desk.relays.used.len(), desk.relays.used_since.len()), (3, 3));
        assert_eq!(desk.join(1, session(9, 1, 2), Side::Callee), Err(RelayRefusal::Used));
        assert_eq!(desk.join(1, session(6, 1, 2), Side::Callee), Ok(Joined::Waits));
    }
}
