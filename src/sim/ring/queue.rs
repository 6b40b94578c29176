//! What happens when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Instant;
use crate::wire::ring::{Life, Member, Message};

/// The number of a machine.
pub(crate) type Index = u32;

#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) from: Member,
    pub(crate) to: Index,
    pub(crate) life: Life,
    pub(crate) message: Message,
}

#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Arrives(Letter),
    /// The machine's time has come.
    Wakes(Index),
    /// It finds that there is no way to that one.
    Down {
        at: Index,
        of: Index,
    },
}

/// In order of time; at the same time in the order in which it was put in. Letters lie beside the heap, whose entries stay small.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<(Instant, u64, u32)>>,
    happenings: Vec<Option<Happening>>,
    free: Vec<u32>,
    count: u64,
}

impl Queue {
    pub(crate) fn put(&mut self, at: Instant, happening: Happening) {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.happenings.push(None);
                (self.happenings.len() - 1) as u32
            }
        };
        self.happenings[slot as usize] = Some(happening);
        self.heap.push(Reverse((at, self.count, slot)));
        self.count += 1;
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(crate) fn take(&mut self) -> Option<(Instant, Happening)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        self.happenings[slot as usize].take().map(|happening| (at, happening))
    }

    /// What is under way, in no order: the monitor looks into it.
    pub(crate) fn letters(&self) -> impl Iterator<Item = &Letter> {
        self.happenings.iter().flatten().filter_map(|happening| match happening {
            Happening::Arrives(letter) => Some(letter),
            _ => None,
        })
    }
}
