//! Meetings as pyp2p arranges them: a node that can be punched, the *host*, names a moment, and a *candidate* and the host
//! dial each other at that moment and 6 s.
//!
//! pyp2p's moment is one of a clock, which time servers have set. Two clocks never agree, so that both parts here dial from
//! a while before the moment until a while after it: to dial early costs a SYN in each round trip and harms nobody, while
//! pyp2p itself dials 20 times in all, which behind a router that refuses is one second.
//!
//! **A candidate has a second measure.** pyp2p's host takes its own time when it sends its line, so that the meeting is 6 s
//! after that line was on its way, whatever either clock says. It dials from the earlier of the two until the later.
//!
//! **One pair of ports.** pyp2p foretells four ports and dials four pairs, and then each of its ends takes the first
//! connection that it has: not the same one (of two of pyp2p's own, in the laboratory, neither heard the other in 4 of 4
//! meetings). It dials as many pairs as it is told ports. So it is told one, and there is one connection.

mod candidates;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::proto::connect::punch::Side;
use crate::reach::NatKind;
use crate::time::Instant;
use crate::wire::rendezvous::Ntp;
pub(crate) use candidates::{Candidates, Challenge};

/// From the moment that is named to the meeting.
const DELAY: Duration = Duration::from_secs(6);

/// How far ahead our meetings are as hosts: what a line takes to the candidate, and more than clocks differ that are set at
/// all. pyp2p does not come to one that is past.
const AHEAD: Duration = Duration::from_secs(2);

/// So much earlier a host begins: the candidate's clock may be before ours.
const BEFORE: Duration = Duration::from_millis(1500);

/// So much longer it goes on: the candidate's clock may be behind ours, or tell it so little that it counts 6 s from the
/// line, see [`attend`].
const AFTER: Duration = Duration::from_secs(5);

/// A moment that is further ahead is not waited for. Who names it has another clock, or another mind than we about what an
/// attempt to connect may take.
const FAR: Duration = Duration::from_secs(12);

/// From when until when one side dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: Instant,
    pub(crate) until: Instant,
}

impl Window {
    pub(crate) fn length(&self) -> Duration {
        self.until.saturating_since(self.start)
    }
}

/// As a candidate: when the host's line came at `now`, which was `wall` since 1970, and had taken `trip`. What is later is
/// followed by `patience`.
pub(crate) fn attend(ntp: Ntp, wall: Duration, trip: Duration, patience: Duration, now: Instant) -> Window {
    let by_line = DELAY.saturating_sub(trip);
    // A little behind is now.
    let by_clock = ntp.since_unix().saturating_add(DELAY).saturating_sub(wall);
    let (first, last) =
        if by_clock > FAR { (by_line, by_line) } else { (by_line.min(by_clock), by_line.max(by_clock)) };
    Window { start: now + first, until: now + last + patience }
}

/// As a host, who accepts at `now`, which is `wall` since 1970: what to say, and when to dial.
pub(crate) fn propose(wall: Duration, now: Instant) -> (Ntp, Window) {
    // Microseconds are what the line can say.
    let meeting = wall.saturating_add(AHEAD);
    let window = Window { start: now + (AHEAD - BEFORE), until: now + AHEAD + AFTER };
    (Ntp::from_unix(meeting.saturating_sub(DELAY)), window)
}

/// The external port of the next connection from a local port, which a server has just seen.
pub(crate) fn foretold(seen: &Side) -> Option<u16> {
    let port = seen.seen.port();
    match seen.kind {
        // Each destination has a port of its own, by as much further than the last one. Where the range of such a NAT ends
        // nobody knows.
        Some(NatKind::Delta { step }) => {
            let next = i64::from(port) + i64::from(step);
            u16::try_from(next).ok().filter(|&next| next >= 1024)
        }
        _ => Some(port).filter(|&port| port != 0),
    }
}
