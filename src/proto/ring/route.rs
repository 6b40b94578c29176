//! Where a look-up goes next.
//!
//! Until the owner is in sight each hop lies strictly nearer to the key, clockwise, than the one before it; from there on
//! each lies strictly nearer to it going back. So no look-up comes by the same member twice, whatever anybody's fingers
//! say, and none is sent to oneself.

use super::fingers::Fingers;
use super::neighbours::Neighbours;
use super::suspects::Suspects;
use crate::wire::ring::{Find, Member, Place, Want, between, within};

/// What a member knows of the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'a> {
    pub(super) me: Place,
    pub(super) neighbours: &'a Neighbours,
    pub(super) fingers: &'a Fingers,
    pub(super) suspects: &'a Suspects,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It ends here: I am the one.
    Here,
    /// This one follows me, and the key lies between us: if it is not the owner, somebody has just come.
    First(Member),
    /// This one should be the owner, or somebody just before it.
    Last(Member),
    /// This one is nearer.
    Via(Member),
    /// It may be me, and it may be somebody that a dead predecessor knew.
    Unsure,
    /// Nobody is left who could know.
    Nowhere,
}

impl Sight<'_> {
    pub(super) fn way(&self, find: &Find) -> Way {
        match find.want {
            _ if find.last => self.way_back(find),
            Want::Owner => self.way_to_owner(find),
            Want::Predecessor => self.way_to_predecessor(find),
        }
    }

    /// The nearest before the key, best first, for somebody who goes there itself.
    pub(super) fn nearest(&self, key: Place, dead: &[Place], most: usize) -> Vec<Member> {
        let mut known: Vec<Member> =
            self.preceding(key, dead).filter(|member| !self.suspects.has(member.place)).collect();
        known.sort_unstable_by_key(|member| std::cmp::Reverse(self.me.distance(member.place)));
        known.dedup();
        known.truncate(most);
        known
    }

    /// The owner is the first member at or after the key. It is in sight when the key falls between two entries of my list,
    /// whichever they are, not only before the first (MIT's Chord calls that shaving). Whoever comes in between is known to
    /// the owner, whose predecessor it is. Unless that is dead: then only the first entry counts.
    fn way_to_owner(&self, find: &Find) -> Way {
        if self.neighbours.owns(find.key) || self.neighbours.is_alone() {
            return Way::Here;
        }
        for spare_suspects in [true, false] {
            let mut before = self.me;
            for &member in self.neighbours.list().members() {
                if self.is_out(member, find, spare_suspects) {
                    continue;
                }
                if within(before, find.key, member.place) {
                    return if before == self.me { Way::First(member) } else { Way::Last(member) };
                }
                if find.careful {
                    break;
                }
                before = member.place;
            }
            if let Some(member) = self.closest(find, spare_suspects) {
                return Way::Via(member);
            }
        }
        Way::Nowhere
    }

    /// Going back to the owner: whoever is between the key and me is my predecessor's to name. If that one is dead it is me, if
    /// whoever asks me has me for its first.
    fn way_back(&self, find: &Find) -> Way {
        match self.neighbours.predecessor() {
            Some(predecessor) if !self.neighbours.owns(find.key) => {
                match (self.is_out(predecessor, find, true), find.careful) {
                    (false, _) => Way::Last(predecessor),
                    (true, true) => Way::Here,
                    (true, false) => Way::Unsure,
                }
            }
            _ => Way::Here,
        }
    }

    /// Zave, join: the member m with between(m, j, m.succ\[0]), the first of those that answer.
    fn way_to_predecessor(&self, find: &Find) -> Way {
        if self.neighbours.is_alone() {
            return Way::Here;
        }
        for spare_suspects in [true, false] {
            let list = self.neighbours.list().members().iter();
            let first = list.copied().find(|&member| !self.is_out(member, find, spare_suspects));
            if let Some(first) = first
                && within(self.me, find.key, first.place)
                && find.key != self.me
            {
                return Way::Here;
            }
            if let Some(member) = self.closest(find, spare_suspects) {
                return Way::Via(member);
            }
        }
        Way::Nowhere
    }

    /// The paper's closest preceding node, of fingers and list.
    fn closest(&self, find: &Find, spare_suspects: bool) -> Option<Member> {
        self.preceding(find.key, &find.dead)
            .filter(|member| !(spare_suspects && self.suspects.has(member.place)))
            .max_by_key(|member| self.me.distance(member.place))
    }

    fn preceding<'a>(&'a self, key: Place, dead: &'a [Place]) -> impl Iterator<Item = Member> + 'a {
        let known = self.fingers.members().iter().chain(self.neighbours.list().members());
        known
            .copied()
            .filter(move |member| between(self.me, member.place, key) && !dead.contains(&member.place))
    }

    fn is_out(&self, member: Member, find: &Find, spare_suspects: bool) -> bool {
        find.dead.contains(&member.place) || (spare_suspects && self.suspects.has(member.place))
    }
}
