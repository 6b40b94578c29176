//! Zave's invariant, after everything that happens.
//!
//! A *principal* is a member that no list of any member skips: nowhere does it lie between two neighbouring entries, the list's
//! owner counting as the first. The invariant is that every member has a live successor in its list, and that there are at least
//! r + 1 principals ("Reasoning about identifier spaces", TSE 43(12), 2017; Verdi-Chord adds the lists under way, which are
//! somebody's next list). It holds as long as failures stay in the allowance, which is counted here and not asked of any
//! machine: at most r - 1 between two ideal states.
//!
//! Places are numbered in their order, so that what a list skips is a word of bits, and what has to be done after each
//! happening is a few operations on words.

use std::fmt;

use super::queue::Index;
use super::world::World;
use crate::wire::ring::{Life, List, Member, Message, Place};

/// So many places at most: a bit each.
pub(crate) const MOST: usize = 64;

#[derive(Debug)]
pub(crate) struct Monitor {
    /// All places of the run, in order.
    places: Vec<Place>,
    /// What each machine's list skips and has, by the machine's number; nothing if it is no member.
    lists: Vec<Seen>,
    /// Who is a member, by the numbers of places, and in which life.
    members: u64,
    lives: [Life; MOST],
    /// What the invariant asks for: r + 1, or nothing in rings that are smaller.
    wanted: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    is_member: bool,
    /// A bit for each place that lies between two neighbouring entries.
    skipped: u64,
    /// A bit for each entry, and the life that is meant.
    has: u64,
    lives: [Life; 8],
    order: [u8; 8],
    length: u8,
    wraps: bool,
}

/// How the invariant is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// That member has no live entry in its list.
    NoLiveSuccessor(Place),
    /// That list is under way and has no live entry.
    NoLiveEntryUnderWay(Place),
    /// So few principals are left.
    Principals(u32),
    /// A list is not in order, or has its owner in it.
    Disorder(Place),
}

impl Monitor {
    /// For a run in which no other places occur. `wanted` principals have to be there at any time.
    pub(crate) fn new(mut places: Vec<Place>, wanted: u32) -> Self {
        places.sort_unstable();
        assert!(places.len() <= MOST, "a bit each");
        Self { places, lists: Vec::new(), members: 0, lives: [Life::ANY; MOST], wanted }
    }

    /// Looks at everything.
    pub(crate) fn begin(&mut self, world: &World) {
        for index in 0..world.machines() {
            self.look_at(world, index);
        }
    }

    /// After something has happened: looks at who has acted, and at what is under way.
    pub(crate) fn check(&mut self, world: &World) -> Result<(), Violation> {
        if let Some(index) = world.acted() {
            self.look_at(world, index);
            let seen = self.lists[index as usize];
            let place = world.place(index);
            if seen.is_member && !world.ring(index).neighbours().list().is_in_order(place) {
                return Err(Violation::Disorder(place));
            }
        }
        let mut skipped = 0;
        for (index, seen) in self.lists.iter().enumerate().filter(|(_, seen)| seen.is_member) {
            skipped |= seen.skipped;
            if self.live(seen) == 0 && !self.may_be_last(seen) {
                return Err(Violation::NoLiveSuccessor(world.place(index as Index)));
            }
        }
        for letter in world.letters().filter(|letter| world.is_up(letter.to)) {
            let seen = match &letter.message {
                Message::Answer { list, .. } => self.see(letter.from.place, list),
                // For the joiner it begins at the joiner, who is in nobody's way yet.
                Message::Welcome { list, .. } => self.see(world.place(letter.to), list),
                _ => continue,
            };
            skipped |= seen.skipped;
            // What is answered comes behind the one who answers.
            let is_from_member = self.is_live(letter.from);
            if self.live(&seen) == 0 && !is_from_member && !self.may_be_last(&seen) {
                return Err(Violation::NoLiveEntryUnderWay(letter.from.place));
            }
        }
        let principals = (self.members & !skipped).count_ones();
        if principals < self.wanted { Err(Violation::Principals(principals)) } else { Ok(()) }
    }

    /// How many no list skips, as of the last look, lists under way left aside.
    pub(crate) fn principals(&self) -> u32 {
        let skipped = self.lists.iter().fold(0, |skipped, seen| skipped | seen.skipped);
        (self.members & !skipped).count_ones()
    }

    fn look_at(&mut self, world: &World, index: Index) {
        if self.lists.len() <= index as usize {
            self.lists.resize(index as usize + 1, Seen::default());
        }
        let (ring, is_member) = (world.ring(index), world.is_member(index));
        let bit = self.number(ring.me().place);
        self.members = self.members & !(1 << bit) | u64::from(is_member) << bit;
        self.lives[usize::from(bit)] = ring.me().life;
        self.lists[index as usize] =
            if is_member { self.see(ring.me().place, ring.neighbours().list()) } else { Seen::default() };
    }

    fn see(&self, owner: Place, list: &List) -> Seen {
        let mut seen = Seen { is_member: true, wraps: list.wraps(), ..Seen::default() };
        let mut before = self.number(owner);
        let members = list.members().iter().take(seen.lives.len());
        for member in members {
            let number = self.number(member.place);
            seen.skipped |= bits_between(before, number);
            seen.has |= 1 << number;
            seen.lives[usize::from(seen.length)] = member.life;
            seen.order[usize::from(seen.length)] = number;
            seen.length += 1;
            before = number;
        }
        seen
    }

    /// In rings of so few that all others may fail, the last one has a list of the dead for a while, and then an empty one.
    fn may_be_last(&self, seen: &Seen) -> bool {
        seen.wraps && (seen.length == 0 || self.wanted == 0)
    }

    fn live(&self, seen: &Seen) -> u32 {
        let entries = seen.order.iter().zip(&seen.lives).take(usize::from(seen.length));
        let live = entries.filter(|(number, life)| {
            self.members >> **number & 1 == 1 && self.lives[usize::from(**number)] == **life
        });
        live.count() as u32
    }

    fn is_live(&self, member: Member) -> bool {
        let number = self.number(member.place);
        self.members >> number & 1 == 1 && self.lives[usize::from(number)] == member.life
    }

    fn number(&self, place: Place) -> u8 {
        self.places.binary_search(&place).expect("all places of the run are known") as u8
    }
}

/// The places strictly between two, clockwise; all others if they are the same.
fn bits_between(a: u8, b: u8) -> u64 {
    let below = |number: u8| (1_u64 << number).wrapping_sub(1);
    let (after_a, before_b) = (!(below(a) | 1 << a), below(b));
    if a < b { after_a & before_b } else { after_a | before_b }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLiveSuccessor(place) => write!(f, "{place:?} has no live successor"),
            Self::NoLiveEntryUnderWay(place) => {
                write!(f, "a list of {place:?} without a live entry is under way")
            }
            Self::Principals(count) => write!(f, "{count} principals are left"),
            Self::Disorder(place) => write!(f, "the list of {place:?} is out of order"),
        }
    }
}

/// Whether every member knows exactly what it should: the next r, and who comes before.
pub(crate) fn is_ideal(world: &World) -> bool {
    why_not_ideal(world).is_none()
}

/// The first member that does not, and what is wrong with it.
pub(crate) fn why_not_ideal(world: &World) -> Option<String> {
    let members: Vec<(Member, Index)> = world.census.members().collect();
    let count = members.len();
    let longest = world.settings.list.min(count.saturating_sub(1));
    members.iter().enumerate().find_map(|(position, &(member, index))| {
        let neighbours = world.ring(index).neighbours();
        let following = |steps: usize| members[(position + steps) % count].0;
        let list = neighbours.list().members();
        let has_list = list.len() == longest && (0..longest).all(|n| list[n] == following(n + 1));
        let has_predecessor = count == 1 || neighbours.predecessor() == Some(following(count - 1));
        let is_right = has_list && has_predecessor && world.is_member(index);
        (!is_right).then(|| {
            let expected: Vec<Member> = (0..longest).map(|n| following(n + 1)).collect();
            format!(
                "{member:?} has {list:?} and before it {:?}, and should have {expected:?} and {:?}",
                neighbours.predecessor(),
                following(count - 1)
            )
        })
    })
}
