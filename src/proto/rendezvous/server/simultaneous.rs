//! The nodes that can be punched, and who wants to: one such node for each address, as in pyp2p, because its protocol
//! names them by address alone.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::ids::ClientId;
use super::limits::Limits;
use super::registry::NoRoom;
use crate::proto::deadlines::Deadlines;
use crate::time::Instant;
use crate::wire::rendezvous::Ports;

/// The age at which a registration's predictions are stale (other connections took the ports), and so is a
/// candidate's: pyp2p's 120 s.
const STALE: Duration = Duration::from_secs(120);

/// Who wants to punch.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) ip: IpAddr,
    pub(super) client: ClientId,
    pub(super) ports: Ports,
    pub(super) since: Instant,
}

/// Whom to tell of a candidate, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Summons {
    Challenge(ClientId),
    Reconnect(ClientId),
}

#[derive(Debug)]
pub(super) struct SimultaneousOpens {
    nodes: HashMap<IpAddr, Node>,
    /// All candidates together.
    waiting: usize,
    deadlines: Deadlines<IpAddr>,
}

#[derive(Debug)]
struct Node {
    /// None: gone, and may come back for its candidates (to reconnect is to close first).
    client: Option<ClientId>,
    since: Instant,
    /// The oldest first, with whether the node accepted it.
    candidates: VecDeque<(Candidate, bool)>,
    due: Option<Instant>,
}

impl SimultaneousOpens {
    pub(super) fn new() -> Self {
        Self { nodes: HashMap::new(), waiting: 0, deadlines: Deadlines::new() }
    }

    /// The node at `ip` is now `client`; whoever was before it is forgotten.
    pub(super) fn register(
        &mut self,
        ip: IpAddr,
        client: ClientId,
        now: Instant,
        limits: &Limits,
    ) -> Result<(), NoRoom> {
        if self.nodes.len() >= limits.nodes && !self.nodes.contains_key(&ip) {
            return Err(NoRoom);
        }
        let node = self.nodes.entry(ip).or_insert_with(|| Node::new(now));
        node.client = Some(client);
        node.since = now;
        Ok(())
    }

    /// Who waits for the node at `ip`.
    pub(super) fn unaccepted(&self, ip: IpAddr) -> impl Iterator<Item = &Candidate> {
        let all = self.nodes.get(&ip).into_iter().flat_map(|node| &node.candidates);
        all.filter(|(_, accepted)| !accepted).map(|(candidate, _)| candidate)
    }

    /// Notes a candidate for the node at `ip`; None when there is no such node, or no room.
    pub(super) fn candidate(
        &mut self,
        ip: IpAddr,
        candidate: Candidate,
        now: Instant,
        limits: &Limits,
    ) -> Option<Summons> {
        self.expire(now);
        let node = self.nodes.get_mut(&ip)?;
        let client = node.client?;
        self.waiting -= node.forget(candidate.ip);
        if node.candidates.len() >= limits.candidates || self.waiting >= limits.candidates_in_all {
            return None;
        }
        node.candidates.push_back((candidate, false));
        self.waiting += 1;
        let oldest = node.oldest();
        self.deadlines.set(ip, &mut node.due, oldest);
        let stale = now.saturating_since(node.since) > STALE;
        Some(if stale { Summons::Reconnect(client) } else { Summons::Challenge(client) })
    }

    /// The node at `ip` accepts `candidate`, whose connection this gives.
    pub(super) fn accept(&mut self, ip: IpAddr, by: ClientId, candidate: IpAddr) -> Option<ClientId> {
        let node = self.nodes.get_mut(&ip).filter(|node| node.client == Some(by))?;
        let (candidate, accepted) = node.candidates.iter_mut().find(|(known, _)| known.ip == candidate)?;
        *accepted = true;
        Some(candidate.client)
    }

    /// The connection of the node at `ip` is gone. Its candidates wait for it to come back.
    pub(super) fn closed(&mut self, ip: IpAddr, client: ClientId) {
        let Some(node) = self.nodes.get_mut(&ip).filter(|node| node.client == Some(client)) else { return };
        node.client = None;
        if node.candidates.is_empty() {
            self.nodes.remove(&ip);
        }
    }

    /// Forgets the node at `ip`: whoever it is, or only if it is `client`.
    pub(super) fn clear(&mut self, ip: IpAddr, client: Option<ClientId>) {
        let Some(node) = self.nodes.get_mut(&ip) else { return };
        if client.is_some() && node.client != client {
            return;
        }
        self.waiting -= node.candidates.len();
        self.deadlines.set(ip, &mut node.due, None);
        self.nodes.remove(&ip);
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(ip) = self.deadlines.pop_due(now) {
            let Some(node) = self.nodes.get_mut(&ip) else { return };
            let before = node.candidates.len();
            node.candidates.retain(|(candidate, _)| candidate.since + STALE > now);
            self.waiting -= before - node.candidates.len();
            let oldest = node.oldest();
            self.deadlines.set(ip, &mut node.due, oldest);
            if node.client.is_none() && node.candidates.is_empty() {
                self.nodes.remove(&ip);
            }
        }
    }
}

impl Node {
    const fn new(since: Instant) -> Self {
        Self { client: None, since, candidates: VecDeque::new(), due: None }
    }

    /// Forgets the candidate from `ip`, and gives how many that were.
    fn forget(&mut self, ip: IpAddr) -> usize {
        let before = self.candidates.len();
        self.candidates.retain(|(candidate, _)| candidate.ip != ip);
        before - self.candidates.len()
    }

    /// When the oldest candidate is stale.
    fn oldest(&self) -> Option<Instant> {
        self.candidates.front().map(|(candidate, _)| candidate.since + STALE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn candidate(host: u8, now: Instant) -> Candidate {
        let ports = Ports::new([1]).unwrap();
        Candidate { ip: [198, 51, 100, host].into(), client: ClientId(host.into()), ports, since: now }
    }

    #[test]
    fn a_candidate_replaces_the_one_from_its_address_and_a_hundred_fit() {
        let (mut opens, limits) = (SimultaneousOpens::new(), Limits::default());
        opens.register(NODE, ClientId(1000), at(0), &limits).unwrap();
        for host in (0..100).chain([5]) {
            assert!(opens.candidate(NODE, candidate(host, at(1)), at(1), &limits).is_some(), "{host}");
        }
        assert_eq!(opens.candidate(NODE, candidate(200, at(1)), at(1), &limits), None);
        assert_eq!((opens.waiting, opens.unaccepted(NODE).count()), (100, 100));
    }

    #[test]
    fn candidates_and_nodes_that_left_are_gone_after_two_minutes() {
        let (mut opens, limits) = (SimultaneousOpens::new(), Limits::default());
        opens.register(NODE, ClientId(1000), at(0), &limits).unwrap();
        opens.candidate(NODE, candidate(1, at(10)), at(10), &limits);
        opens.closed(NODE, ClientId(1000));
        assert_eq!(opens.next_deadline(), Some(at(130)));
        opens.expire(at(129));
        assert_eq!(opens.nodes.len(), 1);
        opens.expire(at(130));
        assert_eq!((opens.nodes.len(), opens.waiting, opens.next_deadline()), (0, 0, None));
    }

    #[test]
    fn who_replaced_a_node_keeps_the_place_when_the_first_one_leaves() {
        let (mut opens, limits) = (SimultaneousOpens::new(), Limits::default());
        opens.register(NODE, ClientId(1), at(0), &limits).unwrap();
        opens.register(NODE, ClientId(2), at(1), &limits).unwrap();
        opens.closed(NODE, ClientId(1));
        let summons = opens.candidate(NODE, candidate(1, at(2)), at(2), &limits);
        assert_eq!(summons, Some(Summons::Challenge(ClientId(2))));
    }
}
