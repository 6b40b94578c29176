//! Who wants to punch to us, and how many of them at what pace.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::id::ServerId;
use crate::time::{Instant, soonest};

/// Between two meetings that are accepted, as in pyp2p: each costs a port, and some hundred SYNs.
const GAP: Duration = Duration::from_secs(2);

/// Who waits longer for an answer has gone: pyp2p's candidates wait for 10 s, and the answer is yet on its way.
const PATIENCE: Duration = Duration::from_secs(8);

/// So many wait at most. More than that have no turn before they go.
const WAITING: usize = 4;

/// Somebody wants to punch to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// Which of our servers says so.
    pub(crate) server: ServerId,
    /// Where that server sees the candidate.
    pub(crate) ip: IpAddr,
    /// Where the candidate believes that it will come from.
    pub(crate) port: u16,
}

/// The pace of a host: candidates have their turn one after the other.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// At most [`WAITING`], of different addresses, the oldest first.
    waiting: VecDeque<(Challenge, Instant)>,
    /// Whose turn was the last: it may have told several servers of itself.
    last: Option<(IpAddr, u16)>,
    /// When the next one may have its turn.
    free_at: Option<Instant>,
    /// When the next registration may follow.
    register_at: Option<Instant>,
}

impl Candidates {
    /// A candidate has come; a newer word of the same one counts.
    pub(crate) fn handle_challenge(&mut self, challenge: Challenge, now: Instant) {
        self.forget(now);
        self.waiting.retain(|(other, _)| other.ip != challenge.ip);
        let had_its_turn = self.last == Some((challenge.ip, challenge.port));
        if !had_its_turn && self.waiting.len() < WAITING {
            self.waiting.push_back((challenge, now + PATIENCE));
        }
    }

    /// A server wants us to register again; whether that is done. Once in a while: it may be asked without end.
    pub(crate) fn handle_reconnect(&mut self, now: Instant) -> bool {
        let may = self.register_at.is_none_or(|at| at <= now);
        if may {
            self.register_at = Some(now + GAP);
        }
        may
    }

    /// Whose turn it is now.
    pub(crate) fn poll_challenge(&mut self, now: Instant) -> Option<Challenge> {
        self.forget(now);
        if self.free_at.is_some_and(|at| now < at) {
            return None;
        }
        let (challenge, _) = self.waiting.pop_front()?;
        self.free_at = Some(now + GAP);
        self.last = Some((challenge.ip, challenge.port));
        Some(challenge)
    }

    /// When somebody's turn comes, or the wait of somebody ends.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let (_, until) = self.waiting.front()?;
        soonest(self.free_at, Some(*until))
    }

    /// The node leaves: nobody has a turn any more.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    fn forget(&mut self, now: Instant) {
        self.waiting.retain(|&(_, until)| until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn challenge(host: u8) -> Challenge {
        Challenge { server: ServerId(0), ip: IpAddr::from([203, 0, 113, host]), port: 4000 + u16::from(host) }
    }

    #[test]
    fn candidates_have_their_turn_two_seconds_apart() {
        let mut candidates = Candidates::default();
        for host in 1..=3 {
            candidates.handle_challenge(challenge(host), at(0));
        }
        assert_eq!(candidates.poll_challenge(at(0)), Some(challenge(1)));
        assert_eq!(candidates.poll_challenge(at(1999)), None);
        assert_eq!(candidates.poll_timeout(), Some(at(2000)));
        assert_eq!(candidates.poll_challenge(at(2000)), Some(challenge(2)));
        assert_eq!(candidates.poll_challenge(at(2000)), None);
        assert_eq!(candidates.poll_challenge(at(4000)), Some(challenge(3)));
        assert_eq!((candidates.poll_challenge(at(9000)), candidates.poll_timeout()), (None, None));
    }

    #[test]
    fn a_candidate_that_several_servers_tell_of_has_one_turn() {
        let mut candidates = Candidates::default();
        candidates.handle_challenge(challenge(1), at(0));
        assert!(candidates.poll_challenge(at(0)).is_some());
        candidates.handle_challenge(Challenge { server: ServerId(1), ..challenge(1) }, at(10));
        assert_eq!((candidates.poll_challenge(at(5000)), candidates.poll_timeout()), (None, None));
        // With another port it is another try.
        candidates.handle_challenge(Challenge { port: 9, ..challenge(1) }, at(5000));
        assert!(candidates.poll_challenge(at(5000)).is_some());
    }

    #[test]
    fn a_candidate_that_has_waited_too_long_has_gone() {
        let mut candidates = Candidates::default();
        candidates.handle_challenge(challenge(1), at(0));
        assert_eq!(candidates.poll_timeout(), Some(at(8000)));
        assert_eq!(candidates.poll_challenge(at(8000)), None);
        assert_eq!(candidates.poll_timeout(), None);
    }

    #[test]
    fn a_crowd_of_candidates_is_turned_away() {
        let mut candidates = Candidates::default();
        for host in 1..=200 {
            candidates.handle_challenge(challenge(host), at(0));
            // Who asks again has one place, with what it said last.
            candidates.handle_challenge(Challenge { port: 9, ..challenge(1) }, at(0));
        }
        assert_eq!(candidates.waiting.len(), WAITING);
        let of_first = candidates.waiting.iter().filter(|(other, _)| other.ip == challenge(1).ip);
        assert_eq!(of_first.map(|(other, _)| other.port).collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn a_server_that_wants_registrations_without_end_gets_one_in_two_seconds() {
        let mut candidates = Candidates::default();
        let done = (0..100).filter(|tenth| candidates.handle_reconnect(at(tenth * 100))).count();
        assert_eq!(done, 5);
    }
}
