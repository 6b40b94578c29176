//! What an experiment needs of a machine: to begin in the middle of an ideal ring, and to try something and take it back.

use std::time::Duration;

use super::neighbours::Neighbours;
use super::{Ring, Settings, Standing, State};
use crate::random::Random;
use crate::time::Instant;
use crate::wire::ring::{Life, List, Member};

impl Ring {
    /// A member of a ring that is in order, in the middle of its periods.
    pub(crate) fn place_ideally(
        &mut self,
        life: Life,
        (predecessor, list): (Option<Member>, List),
        fingers: &[Member],
        now: Instant,
    ) {
        let state = &mut self.state;
        state.me.life = life;
        state.standing = Standing::Member;
        let neighbours = Neighbours::new(state.me.place, state.settings.longest_list(), list, predecessor);
        #[cfg(test)]
        let neighbours = neighbours.broken(state.settings.variant);
        let (parts, hands) = self.split(now);
        let Settings { stabilise_every, finger_every, merge_every, .. } = *hands.settings;
        let mut somewhere_in = |period: Duration| {
            now + Duration::from_nanos(hands.random.below(period.as_nanos() as usize) as u64)
        };
        parts.keeper.place(neighbours, somewhere_in(stabilise_every));
        parts.tender.begin(somewhere_in(finger_every));
        parts.merger.begin(somewhere_in(merge_every));
        fingers.iter().for_each(|finger| parts.fingers.add(*finger));
        self.settle();
    }

    /// How many things it keeps that others have made it keep.
    pub(crate) fn weight(&self) -> usize {
        let State { keeper, fingers, tender, contacts, look_ups, .. } = &self.state;
        let open = keeper.weight() + tender.weight() + look_ups.weight();
        open + fingers.members().len() + contacts.weight() + keeper.neighbours.list().members().len()
    }

    /// The same state with another generator.
    pub(crate) fn copy(&self, random: Random) -> Self {
        Self { state: self.state.clone(), random }
    }
}
