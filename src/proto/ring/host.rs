//! Lets joiners in.
//!
//! Zave's proof begins with r + 1 members. Below that, lists are shorter than what may fail, and joins that overlap can leave
//! members that some lists skip for ever. So while there are at most r members one of them, the owner of place 0, lets in one
//! after the other; it knows all, and so can tell each its list. Above that every member lets in who belongs behind it.

use std::time::Duration;

use super::neighbours::Neighbours;
use crate::time::Instant;
use crate::wire::ring::{LONGEST, List, Member, Place, between};

/// A joiner that has not told that it is in by then has failed, and the next one comes.
const TURN: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Whom I let in last, while it has not settled, and until when that is its turn.
    turn: Option<(Member, Instant)>,
}

/// What a joiner is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Welcome {
        predecessor: Option<Member>,
        list: List,
    },
    Elsewhere(Option<Member>),
    /// Not yet. `look`: there is an old life of the joiner in my list, and I have to look after that.
    Busy {
        look: bool,
    },
}

impl Host {
    /// What `me` tells `joiner`. `without` is the one who should let it in, and does not answer it.
    pub(super) fn reply(
        &mut self,
        me: Member,
        neighbours: &Neighbours,
        joiner: Member,
        without: Option<Place>,
        now: Instant,
    ) -> Reply {
        let longest = neighbours.longest();
        let list = neighbours.list();
        let is_small = list.wraps() && list.members().len() < longest;
        #[cfg(test)]
        let is_small = is_small && neighbours.variant() != super::variant::Variant::LetsAllInAtOnce;
        if is_small {
            return self.reply_in_small_ring(me, list, joiner, without, now);
        }
        // One that is alone is its own successor.
        let first = neighbours.successor().unwrap_or(me);
        // What I know at its place is an earlier life of it: dead, and I have to see that first.
        if first.place == joiner.place {
            return Reply::Busy { look: true };
        }
        // Zave, join: between(m, j, m.succ[0]) is looked at again, as the look-up may be old.
        if between(me.place, joiner.place, first.place) {
            return Reply::Welcome { predecessor: Some(me), list: list.behind(me) };
        }
        // Its successor can give it a list as well: for a joiner that can not reach its predecessor.
        match neighbours.predecessor() {
            Some(predecessor) if between(predecessor.place, joiner.place, me.place) => {
                Reply::Welcome { predecessor: None, list: list.before(me) }
            }
            _ => Reply::Elsewhere(None),
        }
    }

    /// It is in.
    pub(super) fn settled(&mut self, joiner: Member) -> bool {
        self.turn.take_if(|turn| turn.0 == joiner).is_some()
    }

    fn reply_in_small_ring(
        &mut self,
        me: Member,
        list: &List,
        joiner: Member,
        without: Option<Place>,
        now: Instant,
    ) -> Reply {
        let mut members: Vec<Member> = list.members().iter().copied().chain([me]).collect();
        members.retain(|member| member.place != joiner.place);
        // The owner of place 0 is the first at or after it.
        let door =
            members.iter().filter(|member| Some(member.place) != without).min_by_key(|member| member.place);
        match door {
            Some(door) if *door != me => return Reply::Elsewhere(Some(*door)),
            _ => {}
        }
        if self.turn.is_some_and(|(whose, until)| whose.place != joiner.place && until > now) {
            return Reply::Busy { look: false };
        }
        self.turn = Some((joiner, now + TURN));
        members.sort_unstable_by_key(|member| joiner.place.distance(member.place));
        members.truncate(LONGEST);
        let predecessor = members.last().copied();
        // In order from the joiner on, none twice: they are from one list and its owner.
        match List::new(joiner.place, &members, true) {
            Some(list) => Reply::Welcome { predecessor, list },
            None => Reply::Elsewhere(None),
        }
    }
}
