//! Members that did not answer any more: if it was the network that broke, they are the way to the other half of the ring.

use crate::random::Random;
use crate::wire::ring::{Member, Place};

#[derive(Clone, Debug, Default)]
pub(super) struct Remembered {
    members: Vec<Member>,
}

impl Remembered {
    /// A new one takes the place of any other, so that neither the oldest nor the latest are all that is left.
    pub(super) fn add(&mut self, member: Member, most: usize, random: &mut Random) {
        if let Some(known) = self.members.iter_mut().find(|known| known.place == member.place) {
            *known = member;
        } else if self.members.len() < most {
            self.members.push(member);
        } else if let Some(any) = self.members.get_mut(random.below(most)) {
            *any = member;
        }
    }

    pub(super) fn remove(&mut self, place: Place) {
        self.members.retain(|known| known.place != place);
    }

    pub(super) fn any(&self, random: &mut Random) -> Option<Member> {
        self.members.get(random.below(self.members.len())).copied()
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }
}
