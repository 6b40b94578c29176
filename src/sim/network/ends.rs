//! The ends of connections: by name, by their addresses, and by the program that has them.
//!
//! One is kept for as long as it can matter: until its program has it no more, and whoever it is connected to has not,
//! either. Names are not given twice, so what is under way to an end that is no more finds nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Index, IndexMut};

use super::computers::ComputerId;
use super::end::{End, EndId, State, Tuple};
use super::programs::ProgramId;
use super::routers::{Passage, RouterId};
use crate::sim::nat::Flow;

#[derive(Debug, Default)]
pub(super) struct Ends {
    named: usize,
    ends: BTreeMap<EndId, End>,
    /// Those that their operating system still has.
    tuples: BTreeMap<Tuple, EndId>,
    /// Those that a program has.
    of: BTreeMap<ProgramId, BTreeSet<EndId>>,
    /// All of them, by computer.
    on: BTreeMap<ComputerId, BTreeSet<EndId>>,
    /// Those whose packets go through a router, by its session.
    through: BTreeMap<(RouterId, Flow), BTreeSet<EndId>>,
}

impl Ends {
    pub(super) fn insert(&mut self, end: End) -> EndId {
        let id = EndId(self.named);
        self.named += 1;
        self.tuples.insert(end.tuple(), id);
        self.of.entry(end.program).or_default().insert(id);
        self.on.entry(end.computer).or_default().insert(id);
        self.ends.insert(id, end);
        id
    }

    pub(super) fn get(&self, id: EndId) -> Option<&End> {
        self.ends.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: EndId) -> Option<&mut End> {
        self.ends.get_mut(&id)
    }

    /// All of them, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (EndId, &End)> {
        self.ends.iter().map(|(&id, end)| (id, end))
    }

    /// The one that an operating system has there.
    pub(super) fn at(&self, tuple: Tuple) -> Option<EndId> {
        self.tuples.get(&tuple).copied()
    }

    /// Those that a program has.
    pub(super) fn of(&self, program: ProgramId) -> Vec<EndId> {
        self.of.get(&program).into_iter().flatten().copied().collect()
    }

    /// Those on a computer, and whatever is connected to them.
    pub(super) fn around(&self, computer: ComputerId) -> BTreeSet<EndId> {
        let here = self.on.get(&computer).into_iter().flatten().copied();
        here.flat_map(|id| [Some(id), self[id].other]).flatten().collect()
    }

    /// Those whose packets go through a router by one of its sessions.
    pub(super) fn through(&self, router: RouterId, flow: Flow) -> BTreeSet<EndId> {
        self.through.get(&(router, flow)).cloned().unwrap_or_default()
    }

    /// The two are a connection through these routers from now on. A remainder of an earlier one is nobody's other end
    /// any more.
    pub(super) fn join(&mut self, one: EndId, other: EndId, passages: &[Passage]) {
        for end in [one, other] {
            self.leave_routers(end);
            for passage in passages {
                self.through.entry((passage.router, passage.flow)).or_default().insert(end);
            }
            self[end].passages = passages.to_vec();
        }
        for (end, to) in [(one, other), (other, one)] {
            let credit = self[to].window;
            let before = self[end].other.replace(to).filter(|&before| before != to);
            self[end].credit = credit;
            if let Some(before) = before {
                self[before].other = None;
                self.forget_if_over(before);
            }
        }
    }

    /// Its program has it no more.
    pub(super) fn retire(&mut self, id: EndId) {
        self.free_tuple(id);
        let Some(end) = self.ends.get_mut(&id) else { return };
        end.state = State::Gone;
        end.inbox = VecDeque::new();
        let program = end.program;
        unlist(&mut self.of, program, id);
        self.forget_if_over(id);
    }

    /// Its operating system has it no more: another may have its addresses.
    pub(super) fn free_tuple(&mut self, id: EndId) {
        let Some(tuple) = self.get(id).map(End::tuple) else { return };
        if self.at(tuple) == Some(id) {
            self.tuples.remove(&tuple);
        }
    }

    /// How many there are by each of the ways to them.
    pub(super) fn counts(&self) -> [usize; 5] {
        let (of, on) = (self.of.values(), self.on.values());
        let through = self.through.values().map(BTreeSet::len).sum();
        let listed = [of.map(BTreeSet::len).sum(), on.map(BTreeSet::len).sum(), through];
        [self.ends.len(), self.tuples.len(), listed[0], listed[1], listed[2]]
    }

    /// An end that is gone still answers the other one, as long as that is there.
    fn forget_if_over(&mut self, id: EndId) {
        let is_gone = |id: &EndId| self.get(*id).is_none_or(|end| end.state == State::Gone);
        let other = self.get(id).and_then(|end| end.other);
        if is_gone(&id) && other.as_ref().is_none_or(is_gone) {
            for id in [Some(id), other].into_iter().flatten() {
                self.leave_routers(id);
                if let Some(end) = self.ends.remove(&id) {
                    unlist(&mut self.on, end.computer, id);
                }
            }
        }
    }

    fn leave_routers(&mut self, id: EndId) {
        let passages = self.ends.get_mut(&id).map(|end| std::mem::take(&mut end.passages));
        for passage in passages.into_iter().flatten() {
            unlist(&mut self.through, (passage.router, passage.flow), id);
        }
    }
}

fn unlist<K: Ord>(lists: &mut BTreeMap<K, BTreeSet<EndId>>, key: K, id: EndId) {
    if let Some(list) = lists.get_mut(&key) {
        list.remove(&id);
        if list.is_empty() {
            lists.remove(&key);
        }
    }
}

/// Of an end that is known to be there: its program has it, or it is the other end of one that is there.
impl Index<EndId> for Ends {
    type Output = End;

    fn index(&self, id: EndId) -> &End {
        self.get(id).unwrap_or_else(|| panic!("{id:?} is no more"))
    }
}

impl IndexMut<EndId> for Ends {
    fn index_mut(&mut self, id: EndId) -> &mut End {
        self.get_mut(id).unwrap_or_else(|| panic!("{id:?} is no more"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn an_end_that_is_gone_stays_until_its_other_end_is_gone_or_another_ones() {
        let mut ends = Ends::default();
        let addrs = [1, 2].map(|n| SocketAddr::from(([192, 0, 2, n], 7)));
        let dialler = End::new(ProgramId(0), (ComputerId(0), addrs[0], addrs[1]), State::Connecting, 10);
        let dialler = ends.insert(dialler);
        let answer = |ends: &mut Ends| {
            let end = End::new(ProgramId(1), (ComputerId(1), addrs[1], addrs[0]), State::Open, 20);
            let id = ends.insert(end);
            ends.join(id, dialler, &[]);
            id
        };
        let first = answer(&mut ends);
        assert_eq!((ends[first].credit, ends[dialler].credit), (10, 20));
        ends.retire(first);
        assert_eq!(ends[first].state, State::Gone);
        assert_eq!((ends.counts(), ends.of(ProgramId(1))), ([2, 1, 1, 2, 0], vec![]));
        let second = answer(&mut ends);
        assert!(ends.get(first).is_none() && ends[dialler].other == Some(second));
        ends.retire(dialler);
        assert_eq!(
            (ends.counts(), ends.at((ComputerId(1), addrs[1], addrs[0]))),
            ([2, 1, 1, 2, 0], Some(second))
        );
        ends.retire(second);
        assert_eq!(ends.counts(), [0; 5]);
        assert!(ends.get(second).is_none());
        ends.retire(second);
    }
    #[test]
    fn ends_are_found_by_computer_and_by_router_session_until_they_are_over() {
        let mut ends = Ends::default();
        let addrs = [1, 2, 3].map(|n| SocketAddr::from(([192, 0, 2, n], 7)));
        let mut add = |program, computer, local: usize, peer: usize| {
            let at = (ComputerId(computer), addrs[local], addrs[peer]);
            ends.insert(End::new(ProgramId(program), at, State::Open, 10))
        };
        let (one, other, alone) = (add(0, 0, 0, 1), add(1, 1, 1, 0), add(2, 2, 2, 0));
        let flow = Flow { inner: addrs[0], remote: addrs[1] };
        let passage = |n| Passage { router: RouterId(n), flow, port: 4000 };
        ends.join(one, other, &[passage(0), passage(1)]);
        let both = BTreeSet::from([one, other]);
        assert_eq!((ends.around(ComputerId(0)), ends.around(ComputerId(1))), (both.clone(), both.clone()));
        assert_eq!(ends.around(ComputerId(2)), BTreeSet::from([alone]));
        assert_eq!((ends.through(RouterId(0), flow), ends.through(RouterId(1), flow)), (both.clone(), both));
        assert_eq!(ends.through(RouterId(2), flow), BTreeSet::new());
        ends.join(one, other, &[passage(2)]);
        assert_eq!((ends.through(RouterId(0), flow).len(), ends.through(RouterId(2), flow).len()), (0, 2));
        ends.retire(one);
        assert_eq!(ends.around(ComputerId(0)).len(), 2, "it still answers");
        ends.retire(other);
        ends.retire(alone);
        assert_eq!(ends.counts(), [0; 5]);
    }
}
