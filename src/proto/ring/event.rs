//! What the ring tells its node.

use crate::wire::ring::{Found, Member, Place, QueryId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// I am a member, or a member again.
    Joined { me: Member },
    /// None of those that followed me answers. I am no member any more, answer nothing, and look for a way back in through
    /// those that I remember.
    Lost,
    /// I have left.
    Left,
    /// A look-up has ended.
    LookedUp { query: QueryId, key: Place, outcome: Result<Found, LookUpFault> },
    /// Another ring was found, and one of its members is about to become my successor.
    Meeting { other: Member },
}

/// Why a look-up has found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookUpFault {
    /// No answer in time.
    TimedOut,
    /// Nobody who could know is alive.
    Nowhere,
    /// The answers do not agree, or nobody confirms them (verified look-ups).
    Unconfirmed,
    /// I am no member any more.
    NoMember,
}
