//! Rings that are in order: each list has the next r members, each predecessor is right, all fingers are.

use crate::wire::ring::{BITS, Life, List, Member, Place};

/// What every member knows, in the order of their places.
pub(crate) struct Ideal {
    members: Vec<Member>,
    longest: usize,
}

pub(crate) struct Knowledge {
    pub(crate) member: Member,
    pub(crate) predecessor: Option<Member>,
    pub(crate) list: List,
    pub(crate) fingers: Vec<Member>,
}

impl Ideal {
    pub(crate) fn new(places: impl Iterator<Item = Place>, longest: usize) -> Self {
        let mut members: Vec<Member> = places.map(|place| Member { place, life: Life(1) }).collect();
        members.sort_unstable_by_key(|member| member.place);
        members.dedup();
        Self { members, longest }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn knowledge(&self, position: usize) -> Knowledge {
        let (count, me) = (self.members.len(), self.members[position]);
        let following = |steps: usize| self.members[(position + steps) % count];
        let length = self.longest.min(count - 1);
        let list: Vec<Member> = (1..=length).map(following).collect();
        let wraps = length == count - 1;
        let list = List::new(me.place, &list, wraps).expect("they are sorted, and not more than there are");
        let predecessor = (count > 1).then(|| following(count - 1));
        Knowledge { member: me, predecessor, list, fingers: self.fingers(me.place, following(1).place) }
    }

    fn fingers(&self, me: Place, successor: Place) -> Vec<Member> {
        let mut fingers: Vec<Member> = Vec::new();
        let mut bit = me.distance(successor).highest_bit().map_or(BITS, |bit| bit + 1);
        while bit < BITS {
            let start = me.plus_power(bit);
            let position = self.members.partition_point(|member| member.place < start);
            let finger = self.members[position % self.members.len()];
            // The table ends where it has come around.
            let distance = me.distance(finger.place);
            if distance < me.distance(start) {
                break;
            }
            fingers.push(finger);
            bit = distance.highest_bit().map_or(BITS, |bit| bit + 1);
        }
        fingers
    }
}
