//! What members tell each other.

use std::sync::Arc;
use std::time::Duration;

use super::list::List;
use super::member::Member;
use super::place::{Place, within};

/// The number of a question, by which its answer is known. Its asker has drawn it; only the one who was asked can answer it.
pub(crate) type Number = u32;

/// The number of a look-up, which those on its way know and nobody else. It lets an answer in that comes by a way of its own.
pub(crate) type QueryId = u64;

/// Nobody takes more fingers than this from another, nor candidates for a next hop.
pub(crate) const MAX_HINTS: usize = 32;

/// A look-up tells of so many members that did not answer, and forgets the rest: five is the mean when half of a ring
/// has just died.
pub(crate) const MAX_DEAD: usize = 24;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    // The ring itself: Zave's operations.
    /// Who is before you, and who follows you?
    Ask {
        number: Number,
        /// Answer even if you are at something: I have been put off too often.
        insists: bool,
    },
    Answer {
        number: Number,
        predecessor: Option<Member>,
        list: List,
    },
    /// I am here, and at something that may change the answer: ask again.
    Busy {
        number: Number,
    },
    /// I am no member, or not in the life that you ask: for you I am dead.
    Gone {
        number: Number,
    },
    /// Are you alive?
    Probe {
        number: Number,
    },
    Alive {
        number: Number,
        /// For fingers only, which the ring does not rest on.
        predecessor: Option<Member>,
    },
    /// You are the one who follows me. It says nothing else.
    Notify,
    /// There is somebody new before the one who follows you: look now, not at the end of your period.
    Kick,
    /// I go.
    Leave,

    // Joining.
    /// May I come in between you and the one who follows you?
    Join {
        number: Number,
        /// This one, who was to let me in, does not answer me.
        without: Option<Place>,
    },
    Welcome {
        number: Number,
        predecessor: Option<Member>,
        list: List,
    },
    /// That is not where you belong, or not for me to say. `through` says who does: in a ring of few members one of them
    /// lets everybody in. Without it, the joiner looks for its place again.
    Elsewhere {
        number: Number,
        through: Option<Member>,
    },
    /// I am in: let the next one in.
    Settled,
    /// Which fingers do you have? A joiner needs some to begin with.
    AskFingers {
        number: Number,
    },
    Fingers {
        number: Number,
        members: Arc<[Member]>,
    },

    // Merging two rings.
    /// I am of another ring, and follow you in both together: ask me.
    Meet,

    // Look-ups.
    Find {
        number: Number,
        find: Find,
    },
    /// I have it, and see to it.
    Ack {
        number: Number,
    },
    Found {
        number: Number,
        /// Under which this is to be acknowledged.
        receipt: Number,
        found: Found,
    },
    /// I can not see to it: somebody else should.
    NotFound {
        number: Number,
    },
    /// My predecessor is dead, and I do not know whether somebody else lies between the key and me: go to the one just before
    /// the key.
    Unsure {
        number: Number,
    },
    /// To the origin, past a way back that is broken.
    Direct {
        query: QueryId,
        found: Found,
    },
    /// Where would you look? The origin goes there itself.
    Point {
        number: Number,
        key: Place,
        /// Is it yours?
        last: bool,
        /// Who does not answer me.
        dead: Vec<Place>,
    },
    Pointed {
        number: Number,
        /// The best first. If `last`, the first of them that lives should be the owner.
        members: Arc<[Member]>,
        last: bool,
    },
}

/// What a look-up carries from hop to hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Find {
    pub(crate) key: Place,
    pub(crate) origin: Member,
    pub(crate) query: QueryId,
    pub(crate) want: Want,
    /// You should be its owner, or somebody just before you: from here on it goes backwards only.
    pub(crate) last: bool,
    /// Only the first of a list is known for certain, the others are old news: trust nothing else.
    pub(crate) careful: bool,
    /// How many members have been asked, you included.
    pub(crate) hops: u8,
    /// How many more may be.
    pub(crate) hops_left: u8,
    /// How many did not answer.
    pub(crate) timeouts: u8,
    /// The time that is left. Only durations travel, as nobody's clock is anybody else's.
    pub(crate) left: Duration,
    /// Who did not answer.
    pub(crate) dead: Vec<Place>,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Whose key it is: the first member at or after that place.
    Owner,
    /// The last member before that place: where a joiner comes in (Zave: the member m with between(m, j, m.succ\[0])).
    Predecessor,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) owner: Member,
    /// The one before it; `None` when there is no other.
    pub(crate) predecessor: Option<Member>,
    /// How many members were asked, the one who answers included: the paper's path length.
    pub(crate) hops: u8,
    /// How many did not answer.
    pub(crate) timeouts: u8,
}

impl Found {
    /// Whether it can be so: the key lies between the two. Anything else is an invention, or a muddle.
    pub(crate) fn fits(&self, key: Place, want: Want) -> bool {
        match (want, self.predecessor) {
            (Want::Owner, Some(predecessor)) => within(predecessor.place, key, self.owner.place),
            // Who knows of nobody before itself owns all that nobody else does.
            (Want::Owner, None) => true,
            (Want::Predecessor, Some(predecessor)) => within(predecessor.place, key, self.owner.place),
            (Want::Predecessor, None) => false,
        }
    }
}

impl Message {
    /// The question that this is an answer to.
    pub(crate) fn answers(&self) -> Option<Number> {
        match *self {
            Self::Answer { number, .. }
            | Self::Busy { number }
            | Self::Gone { number }
            | Self::Alive { number, .. }
            | Self::Welcome { number, .. }
            | Self::Elsewhere { number, .. }
            | Self::Fingers { number, .. }
            | Self::Ack { number }
            | Self::Found { number, .. }
            | Self::NotFound { number }
            | Self::Unsure { number }
            | Self::Pointed { number, .. } => Some(number),
            _ => None,
        }
    }

    /// The number under which an answer is awaited.
    pub(crate) fn asks(&self) -> Option<Number> {
        match *self {
            Self::Ask { number, .. }
            | Self::Probe { number }
            | Self::Join { number, .. }
            | Self::AskFingers { number }
            | Self::Find { number, .. }
            | Self::Point { number, .. } => Some(number),
            _ => None,
        }
    }

    /// With another number, for comparisons.
    #[cfg(test)]
    pub(crate) fn with_number(mut self, other: Number) -> Self {
        match &mut self {
            Self::Answer { number, .. }
            | Self::Busy { number }
            | Self::Gone { number }
            | Self::Alive { number, .. }
            | Self::Welcome { number, .. }
            | Self::Elsewhere { number, .. } => *number = other,
            _ => return self.numbered(other),
        }
        self
    }

    /// With the number under which its answer is awaited put in.
    pub(crate) fn numbered(mut self, drawn: Number) -> Self {
        match &mut self {
            Self::Ask { number, .. }
            | Self::Probe { number }
            | Self::Join { number, .. }
            | Self::AskFingers { number }
            | Self::Find { number, .. }
            | Self::Found { receipt: number, .. }
            | Self::Point { number, .. } => *number = drawn,
            _ => {}
        }
        self
    }
}
