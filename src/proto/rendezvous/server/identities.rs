//! Who has proven which id, and so takes its signals.
//!
//! Two processes can have copies of one key. A node that comes back must not wait until the server has noticed that its
//! former connection is dead, so the same process ([`Incarnation`]) takes its id along. Another process has to wait until
//! the first has been asked whether it is still there: if so the other one gets nothing but a place behind it, until it
//! leaves. Never does the id go over in silence. Who does not say which process it is, as older clients, is taken at its
//! word: the latest wins.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::ids::ClientId;
use crate::identity::NodeId;
use crate::time::Instant;
use crate::wire::rendezvous::{Incarnation, Token};

/// Whoever is asked whether it is still there has this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Processes that wait behind the first: more copies of a key are no accident.
const MOST_BEHIND: usize = 4;

/// A connection whose key is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claimant {
    pub(super) client: ClientId,
    pub(super) incarnation: Option<Incarnation>,
}

/// What becomes of a claim at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It has the id.
    Held,
    /// There is no room for another id.
    Full,
    /// Another process has it. That is asked now, if it is not asked already: `ask`.
    Contested { ask: Option<ClientId> },
    /// Too many wait already.
    InUse,
}

/// What became of a contest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) id: NodeId,
    /// It has the id from now on; `None`: who had it keeps it.
    pub(super) winner: Option<ClientId>,
    /// These have to wait, and were not told so yet; who lost the id is among them.
    pub(super) refused: Vec<ClientId>,
}

#[derive(Debug)]
pub(super) struct Identities {
    by_id: HashMap<NodeId, Holder>,
    /// Who is asked, in the order in which answers are due.
    asked: VecDeque<(Instant, NodeId, Token)>,
}

#[derive(Debug)]
struct Holder {
    owner: Claimant,
    /// It is asked whether it is there, with this.
    asked: Option<Token>,
    behind: VecDeque<Behind>,
}

#[derive(Debug)]
struct Behind {
    claimant: Claimant,
    /// It knows that it waits.
    told: bool,
}

impl Identities {
    pub(super) fn new() -> Self {
        Self { by_id: HashMap::new(), asked: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// A connection has proven the id. `token`: to ask with, if somebody is to be asked.
    pub(super) fn claim(
        &mut self,
        id: NodeId,
        claimant: Claimant,
        token: Token,
        most: usize,
        now: Instant,
    ) -> Claim {
        let Some(holder) = self.by_id.get_mut(&id) else {
            if self.by_id.len() >= most {
                return Claim::Full;
            }
            self.by_id.insert(id, Holder { owner: claimant, asked: None, behind: VecDeque::new() });
            return Claim::Held;
        };
        let process = claimant.incarnation;
        holder.behind.retain(|behind| process.is_none() || behind.claimant.incarnation != process);
        if process.is_none() || holder.owner.incarnation.is_none() || process == holder.owner.incarnation {
            holder.owner = claimant;
            holder.asked = None;
            return Claim::Held;
        }
        if holder.behind.len() >= MOST_BEHIND {
            return Claim::InUse;
        }
        holder.behind.push_back(Behind { claimant, told: false });
        let ask = holder.asked.is_none().then_some(holder.owner.client);
        if ask.is_some() {
            holder.asked = Some(token);
            self.asked.push_back((now + ANSWER_WITHIN, id, token));
        }
        Claim::Contested { ask }
    }

    /// A connection that has proven the id answers: it keeps the id, if that was asked.
    pub(super) fn handle_answer(&mut self, id: NodeId, client: ClientId, token: Token) -> Option<Verdict> {
        let holder = self.by_id.get_mut(&id)?;
        if holder.owner.client != client || holder.asked != Some(token) {
            return None;
        }
        holder.asked = None;
        Some(Verdict { id, winner: None, refused: holder.tell_all() })
    }

    /// The next one who was asked and has not answered in time.
    pub(super) fn pop_silent(&mut self, now: Instant) -> Option<Verdict> {
        while let Some(&(_, id, token)) = self.asked.front().filter(|(due, ..)| *due <= now) {
            self.asked.pop_front();
            if let Some(holder) = self.by_id.get_mut(&id).filter(|holder| holder.asked == Some(token)) {
                holder.asked = None;
                // Whoever waited may have left.
                let Some(winner) = holder.behind.pop_front() else { continue };
                let loser = std::mem::replace(&mut holder.owner, winner.claimant);
                holder.behind.push_back(Behind { claimant: loser, told: false });
                let (winner, refused) = (Some(winner.claimant.client), holder.tell_all());
                return Some(Verdict { id, winner, refused });
            }
        }
        None
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.asked.front().map(|(due, ..)| *due)
    }

    /// A connection that has proven the id is gone: who has it from now on, if that is somebody else.
    pub(super) fn release(&mut self, id: NodeId, client: ClientId) -> Option<ClientId> {
        let holder = self.by_id.get_mut(&id)?;
        if holder.owner.client != client {
            holder.behind.retain(|behind| behind.claimant.client != client);
            return None;
        }
        let Some(next) = holder.behind.pop_front() else {
            self.by_id.remove(&id);
            return None;
        };
        holder.owner = next.claimant;
        holder.asked = None;
        Some(next.claimant.client)
    }

    pub(super) fn connection(&self, id: NodeId) -> Option<ClientId> {
        self.by_id.get(&id).map(|holder| holder.owner.client)
    }
}

impl Holder {
    fn tell_all(&mut self) -> Vec<ClientId> {
        let untold = self.behind.iter_mut().filter(|behind| !behind.told);
        untold
            .map(|behind| {
                behind.told = true;
                behind.claimant.client
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; NodeId::LENGTH])
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn token(number: u64) -> Token {
        Token::from_number(number)
    }

    fn claimant(client: u64, process: u64) -> Claimant {
        let incarnation = (process > 0).then(|| Incarnation::from_number(process));
        Claimant { client: ClientId(client), incarnation }
    }

    /// Process 0: it does not say which one it is.
    fn claim(identities: &mut Identities, client: u64, process: u64, seconds: u64) -> Claim {
        identities.claim(id(1), claimant(client, process), token(client), 10, at(seconds))
    }

    fn contested(ask: Option<u64>) -> Claim {
        Claim::Contested { ask: ask.map(ClientId) }
    }

    #[test]
    fn the_latest_of_one_process_has_the_id_and_an_earlier_one_does_not_take_it_along() {
        for process in [0, 7] {
            let mut identities = Identities::new();
            assert_eq!(claim(&mut identities, 1, process, 0), Claim::Held);
            assert_eq!(claim(&mut identities, 2, process, 0), Claim::Held);
            assert_eq!(identities.release(id(1), ClientId(1)), None);
            assert_eq!((identities.connection(id(1)), identities.len()), (Some(ClientId(2)), 1));
            assert_eq!(identities.release(id(1), ClientId(2)), None);
            assert_eq!((identities.connection(id(1)), identities.len()), (None, 0));
        }
    }

    #[test]
    fn a_full_table_takes_nobody_new_but_lets_who_is_there_come_back() {
        let mut identities = Identities::new();
        let mut come = |number, client| identities.claim(id(number), claimant(client, 5), token(1), 1, at(0));
        assert_eq!((come(1, 1), come(2, 2), come(1, 3)), (Claim::Held, Claim::Full, Claim::Held));
        assert_eq!(identities.connection(id(2)), None);
    }

    #[test]
    fn who_is_still_there_keeps_the_id_and_the_other_has_it_afterwards() {
        let mut identities = Identities::new();
        claim(&mut identities, 1, 100, 0);
        assert_eq!(claim(&mut identities, 2, 200, 5), contested(Some(1)));
        assert_eq!(claim(&mut identities, 3, 300, 6), contested(None), "it is asked already");
        assert_eq!(identities.handle_answer(id(1), ClientId(1), token(9)), None, "that was not asked");
        assert_eq!(identities.handle_answer(id(1), ClientId(2), token(2)), None, "nor was the other");
        let refused = vec![ClientId(2), ClientId(3)];
        let stays = Verdict { id: id(1), winner: None, refused };
        assert_eq!(identities.handle_answer(id(1), ClientId(1), token(2)), Some(stays));
        assert_eq!(identities.pop_silent(at(60)), None);
        assert_eq!(identities.release(id(1), ClientId(1)), Some(ClientId(2)));
        assert_eq!(identities.release(id(1), ClientId(3)), None);
        assert_eq!(identities.release(id(1), ClientId(2)), None);
        assert_eq!(identities.len(), 0);
    }

    #[test]
    fn who_is_silent_for_three_seconds_is_replaced_and_told() {
        let mut identities = Identities::new();
        claim(&mut identities, 1, 100, 0);
        claim(&mut identities, 2, 200, 5);
        assert_eq!((identities.pop_silent(at(7)), identities.next_deadline()), (None, Some(at(8))));
        let verdict = Verdict { id: id(1), winner: Some(ClientId(2)), refused: vec![ClientId(1)] };
        assert_eq!(identities.pop_silent(at(8)), Some(verdict));
        assert_eq!(identities.connection(id(1)), Some(ClientId(2)));
        assert_eq!(identities.handle_answer(id(1), ClientId(1), token(2)), None, "that is too late");
        assert_eq!(identities.release(id(1), ClientId(2)), Some(ClientId(1)));
        assert_eq!((identities.pop_silent(at(99)), identities.next_deadline()), (None, None));
    }

    #[test]
    fn a_contest_ends_with_either_of_the_two() {
        let mut identities = Identities::new();
        claim(&mut identities, 1, 100, 0);
        claim(&mut identities, 2, 200, 0);
        identities.release(id(1), ClientId(2));
        assert_eq!(identities.pop_silent(at(9)), None, "nobody else wants it any more");
        assert_eq!(identities.connection(id(1)), Some(ClientId(1)));
        claim(&mut identities, 3, 300, 10);
        assert_eq!(identities.release(id(1), ClientId(1)), Some(ClientId(3)));
        assert_eq!(identities.pop_silent(at(19)), None);
    }

    #[test]
    fn few_wait_and_a_process_waits_once() {
        let mut identities = Identities::new();
        claim(&mut identities, 1, 100, 0);
        for client in 2..100 {
            claim(&mut identities, client, 200, 0);
        }
        assert_eq!(identities.by_id[&id(1)].behind.len(), 1);
        for client in 100..200 {
            let claimed = claim(&mut identities, client, client + 1000, 0);
            assert_eq!(claimed == Claim::InUse, client >= 103, "{client}");
        }
        assert_eq!(identities.by_id[&id(1)].behind.len(), MOST_BEHIND);
        assert_eq!(identities.asked.len(), 1);
    }
}
