//! The ladder: one attempt to reach a node that is known by its UNL, as the one who calls sees it.
//!
//! The machine decides which rung is tried when, and what it all came to; whoever drives it dials, sends signals and
//! punches, and reports. Cheap rungs are raced, and a failed one never delays another that could begin:
//!
//! - *lan* and *direct* begin at once, as far as their addresses may be dialled. In the same network, that is at the same
//!   outside address, *direct* waits for *lan*: the way through the router is longer, and most have no hairpin.
//! - The node is *called* through its rendezvous servers at once, or a moment later when it says that anybody can connect
//!   to it, as then that is likely all that it takes. *reverse*, *punch* and *relay* take the call.
//! - *punch* begins when both have seen their port from outside, in as many rounds as [`LadderConfig`] says.
//! - A node of pyp2p's takes no calls. To one that can be punched, *punch* begins at once: it names the moment itself, in
//!   the answer to what it is told of our port.
//! - *relay* begins as soon as it is certain that nothing else will do, or when punching is over.

mod lanes;
#[cfg(test)]
mod meets;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::connect::{Refusal, RelayRefusal, Rung, RungFault, Rungs, Tried};
use crate::proto::connect::punch::{Side, is_hopeless};
use crate::reach::NatKind;
use crate::time::{Instant, soonest};
use lanes::Lanes;

/// How patient an attempt is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LadderConfig {
    /// All rungs together.
    pub(crate) within: Duration,
    /// One round of punching.
    pub(crate) punch_time: Duration,
    /// Rounds of punching, each with a port of its own. The second one is only for delta NATs, whose neighbours took more
    /// ports than the first one could foresee, and for those of which nothing is known.
    pub(crate) rounds: u8,
    /// How much later a node that others can connect to is called (RFC 8305 section 8: the connection attempt delay).
    pub(crate) head_start: Duration,
}

impl Default for LadderConfig {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(15),
            punch_time: Duration::from_millis(1500),
            rounds: 2,
            head_start: Duration::from_millis(250),
        }
    }
}

/// Between two tries of the relay: about what a server takes that only restarts.
const RELAY_PAUSE: Duration = Duration::from_secs(1);

/// How often it is tried again.
const RELAY_TRIES: u8 = 5;

/// What is known when an attempt begins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// It has addresses in its own network.
    pub(crate) lan: bool,
    /// They may be dialled without a server's word that it is our network, too.
    pub(crate) lan_at_once: bool,
    /// It has addresses outside.
    pub(crate) direct: bool,
    /// It says that anybody can connect to them.
    pub(crate) passive: bool,
    /// It has such addresses, and says that nobody can.
    pub(crate) closed: bool,
    /// It says that it has the same outside address as we do.
    pub(crate) same_wan: bool,
    /// There is a server to call it through.
    pub(crate) callable: bool,
    /// It can not be called, but punched to as pyp2p does: through whichever of our servers it is registered with.
    pub(crate) meets: bool,
    /// It can connect to us.
    pub(crate) reachable: bool,
    pub(crate) our_kind: Option<NatKind>,
    pub(crate) their_kind: Option<NatKind>,
}

/// What whoever drives the ladder is to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Want {
    /// Dial the addresses of this rung, and report `handle_rung_failed` when none of them led to the node.
    Dial(Rung),
    /// Call the node through its servers.
    Call,
    /// Have a new port be seen from outside; report `handle_observed` or `handle_unobserved`.
    Observe { round: u8 },
    /// Tell the node of that port.
    Ready { round: u8, ours: Side },
    /// Dial from it; report `handle_missed`.
    Punch { round: u8, ours: Side, theirs: Side },
    /// Have the node come to the relay, and go there; report `handle_relay_failed`.
    Relay,
}

/// The attempt. Ask `poll_want` until it is `None` after each input. A connection ends it from outside.
#[derive(Debug)]
pub(crate) struct Ladder {
    config: LadderConfig,
    facts: Facts,
    lanes: Lanes,
    wants: VecDeque<Want>,
    deadline: Instant,
    /// When the node is to be called; `None` when it was, or will not be.
    call_at: Option<Instant>,
    /// How many servers have the call, and how many of them did not know the node.
    called: u32,
    absent: u32,
    answered: Option<Instant>,
    /// The node comes to a relay.
    relay_offered: bool,
    /// What the last try of the relay came to, where another one may have more luck; how many there were, and when the
    /// next one is due.
    refusal: Option<RelayRefusal>,
    relay_tries: u8,
    relay_again: Option<Instant>,
    round: u8,
    ours: Option<Side>,
    /// A port of the present round may have been foreseen wrongly.
    is_guess: bool,
    /// When the present round of punching is given up, if it does not begin.
    meet_by: Option<Instant>,
}

impl Ladder {
    pub(crate) fn new(config: LadderConfig, rungs: Rungs, facts: Facts, now: Instant) -> Self {
        let mut ladder = Self {
            config,
            facts,
            lanes: Lanes::new(rungs),
            wants: VecDeque::new(),
            deadline: now + config.within,
            call_at: None,
            called: 0,
            absent: 0,
            answered: None,
            relay_offered: false,
            refusal: None,
            relay_tries: 0,
            relay_again: None,
            round: 0,
            ours: None,
            is_guess: false,
            meet_by: None,
        };
        ladder.begin(now);
        ladder
    }

    /// A dial of this rung is over, without the node.
    pub(crate) fn handle_rung_failed(&mut self, rung: Rung, why: RungFault, now: Instant) {
        self.lanes.fail(rung, why, now);
        if rung == Rung::Lan {
            self.begin_direct(now);
        }
        // Nothing cheap is left to wait for.
        if self.call_at.is_some() && self.lanes.is_over(Rung::Direct) {
            self.call_at = Some(now);
        }
        self.work(now);
    }

    /// A server has the call; whether the node is connected to it.
    pub(crate) fn handle_called(&mut self, is_there: bool, now: Instant) {
        self.called += 1;
        self.absent += u32::from(!is_there);
        self.work(now);
    }

    /// No server takes the call.
    pub(crate) fn handle_uncallable(&mut self, now: Instant) {
        for rung in CALLED {
            self.lanes.fail(rung, RungFault::NoServer, now);
        }
        // Nobody can say that it is our network; then whoever asked for the node is taken to know.
        if self.facts.lan {
            self.begin_lan(now);
        }
        self.work(now);
    }

    /// A server knows the node that is to be met, and has told it; when it answers is its own affair.
    pub(crate) fn handle_announced(&mut self) {
        self.meet_by = None;
    }

    /// The node answers the call. `same_wan`: the server sees both at one address.
    pub(crate) fn handle_answer(&mut self, answer: Answered, now: Instant) {
        if self.answered.is_some() {
            return;
        }
        self.answered = Some(now);
        // It has only come, and has yet to see its own port.
        self.meet_by = self.meet_by.map(|at| at.max(now + self.config.punch_time * 2));
        self.relay_offered = answer.relay;
        self.facts.their_kind = answer.kind.or(self.facts.their_kind);
        if answer.same_wan && self.facts.lan {
            self.begin_lan(now);
        } else {
            self.forgo_attestation(now);
        }
        if !answer.punch {
            self.lanes.fail(Rung::Punch, self.punch_fault(Refusal::Unwilling), now);
        }
        if !answer.relay {
            self.lanes.fail(Rung::Relay, RungFault::Refused(Refusal::Unwilling), now);
        }
        self.work(now);
    }

    /// The node refuses the call.
    pub(crate) fn handle_refused(&mut self, why: Refusal, now: Instant) {
        for rung in CALLED {
            self.lanes.fail(rung, RungFault::Refused(why), now);
        }
        self.forgo_attestation(now);
        self.work(now);
    }

    /// Our port was seen.
    pub(crate) fn handle_observed(&mut self, round: u8, ours: Side, now: Instant) {
        if round == self.round && !self.lanes.is_over(Rung::Punch) {
            self.ours = Some(ours);
            if self.facts.meets {
                self.meet_by = Some(now + ANNOUNCED);
            }
            self.wants.push_back(Want::Ready { round, ours });
            self.work(now);
        }
    }

    /// Our port was not seen in time.
    pub(crate) fn handle_unobserved(&mut self, round: u8, now: Instant) {
        if round == self.round {
            self.lanes.fail(Rung::Punch, RungFault::NotObserved, now);
            self.work(now);
        }
    }

    /// The node has seen its port, too, and is about to dial.
    pub(crate) fn handle_meet(&mut self, round: u8, theirs: Side, now: Instant) {
        let Some(ours) = self.ours.take_if(|_| round == self.round) else { return };
        if is_hopeless(ours.kind, theirs.kind) {
            self.lanes.fail(Rung::Punch, RungFault::Unpredictable, now);
        } else {
            self.meet_by = None;
            self.is_guess = [ours.kind, theirs.kind].into_iter().any(is_guess);
            self.wants.push_back(Want::Punch { round, ours, theirs });
        }
        self.work(now);
    }

    /// A round of punching is over.
    pub(crate) fn handle_missed(&mut self, round: u8, why: RungFault, now: Instant) {
        if round != self.round || self.lanes.is_over(Rung::Punch) {
            return;
        }
        if self.round < self.config.rounds && (self.is_guess || self.facts.meets) {
            self.begin_round(now);
        } else {
            self.lanes.fail(Rung::Punch, why, now);
        }
        self.work(now);
    }

    /// Nothing came of the relay this time. A server that restarts, or lost the other side's way to it, is worth another
    /// try.
    pub(crate) fn handle_relay_failed(&mut self, why: RelayRefusal, now: Instant) {
        let passes = matches!(why, RelayRefusal::Unreachable | RelayRefusal::Absent);
        let again = now + RELAY_PAUSE;
        if passes && self.relay_tries < RELAY_TRIES && again < self.deadline {
            self.relay_tries += 1;
            self.refusal = Some(why);
            self.relay_again = Some(again);
        } else {
            self.lanes.fail(Rung::Relay, RungFault::RelayRefused(why), now);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.deadline <= now {
            let absent = self.called > 0 && self.absent >= self.called;
            for rung in Rung::ALL {
                let why = match rung {
                    Rung::Reverse | Rung::Punch | Rung::Relay if self.answered.is_none() => {
                        if absent {
                            RungFault::Absent
                        } else {
                            RungFault::NoAnswer
                        }
                    }
                    Rung::Relay => self.refusal.map_or(RungFault::TimedOut, RungFault::RelayRefused),
                    _ => RungFault::TimedOut,
                };
                self.lanes.fail(rung, why, now);
            }
            self.call_at = None;
        }
        self.work(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.lanes.are_over() {
            return None;
        }
        // As long as it may yet come, nobody waits for it to meet us.
        let meet_by = self.meet_by.filter(|_| self.answered.is_some() || self.facts.meets);
        let due = [self.call_at, meet_by, self.relay_at(), self.relay_again];
        due.into_iter().fold(Some(self.deadline), soonest)
    }

    /// When the attempt's time is up.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn poll_want(&mut self) -> Option<Want> {
        self.wants.pop_front()
    }

    /// The next rung that began or ended, to be told on.
    pub(crate) fn poll_progress(&mut self) -> Option<Result<Rung, Tried>> {
        self.lanes.poll_progress()
    }

    /// What each rung said, in their order, once all are over.
    pub(crate) fn failure(&self) -> Option<Vec<Tried>> {
        self.lanes.are_over().then(|| self.lanes.tried())
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered.is_some()
    }

    fn begin(&mut self, now: Instant) {
        self.lanes.fail(Rung::Existing, RungFault::Nothing, now);
        if !self.facts.lan {
            self.lanes.fail(Rung::Lan, RungFault::Nothing, now);
        } else if self.facts.lan_at_once {
            self.begin_lan(now);
        }
        if !self.facts.direct {
            let why = if self.facts.closed { RungFault::NotOpen } else { RungFault::Nothing };
            self.lanes.fail(Rung::Direct, why, now);
        }
        if !self.facts.reachable {
            self.lanes.fail(Rung::Reverse, RungFault::NotReachable, now);
        }
        if is_hopeless(self.facts.our_kind, self.facts.their_kind) {
            self.lanes.fail(Rung::Punch, RungFault::Unpredictable, now);
        }
        let wants_call = CALLED.iter().chain([&Rung::Lan]).any(|&rung| !self.lanes.is_over(rung));
        if self.facts.callable && wants_call {
            let likely = self.facts.passive && self.facts.direct && !self.facts.same_wan
                || self.lanes.is_trying(Rung::Lan);
            let wait = likely && !self.lanes.is_over(Rung::Direct) || self.lanes.is_trying(Rung::Lan);
            self.call_at = Some(if wait { now + self.config.head_start } else { now });
        } else if self.facts.meets {
            for rung in [Rung::Reverse, Rung::Relay] {
                self.lanes.fail(rung, RungFault::NoServer, now);
            }
            if !self.lanes.is_over(Rung::Punch) {
                self.begin_round(now);
            }
            self.forgo_attestation(now);
        } else if !self.facts.callable {
            self.handle_uncallable(now);
        }
        self.begin_direct(now);
        self.work(now);
    }

    fn begin_lan(&mut self, now: Instant) {
        if self.lanes.try_now(Rung::Lan, now) {
            self.wants.push_back(Want::Dial(Rung::Lan));
        }
    }

    /// In the same network the router's own address is the last way to try.
    fn begin_direct(&mut self, now: Instant) {
        let waits = self.facts.same_wan && !self.lanes.is_over(Rung::Lan);
        if !waits && self.lanes.try_now(Rung::Direct, now) {
            self.wants.push_back(Want::Dial(Rung::Direct));
        }
    }

    /// No server says that it is our network.
    fn forgo_attestation(&mut self, now: Instant) {
        if self.lanes.is_waiting(Rung::Lan) {
            self.lanes.fail(Rung::Lan, RungFault::Elsewhere, now);
            self.begin_direct(now);
        }
    }

    fn begin_round(&mut self, now: Instant) {
        self.round += 1;
        self.ours = None;
        self.meet_by = (!self.facts.meets).then(|| now + self.config.punch_time * 2);
        self.lanes.try_now(Rung::Punch, now);
        self.wants.push_back(Want::Observe { round: self.round });
    }

    fn punch_fault(&self, otherwise: Refusal) -> RungFault {
        let hopeless = is_hopeless(self.facts.our_kind, self.facts.their_kind);
        if hopeless { RungFault::Unpredictable } else { RungFault::Refused(otherwise) }
    }

    /// Does whatever is due.
    fn work(&mut self, now: Instant) {
        if self.call_at.is_some_and(|at| at <= now) {
            self.call_at = None;
            self.call(now);
        }
        // It has to be there to meet us: who waits for a call that waits in a mailbox is patient.
        if self.meet_by.is_some_and(|at| at <= now) && (self.answered.is_some() || self.facts.meets) {
            self.meet_by = None;
            // Servers say nothing of a node that they do not know.
            let why = if self.facts.meets { RungFault::Absent } else { RungFault::NoAnswer };
            self.lanes.fail(Rung::Punch, why, now);
        }
        if self.relay_at().is_some_and(|at| at <= now) && self.lanes.try_now(Rung::Relay, now) {
            self.wants.push_back(Want::Relay);
        }
        if self.relay_again.take_if(|at| *at <= now).is_some() && self.lanes.is_trying(Rung::Relay) {
            self.wants.push_back(Want::Relay);
        }
    }

    fn call(&mut self, now: Instant) {
        self.wants.push_back(Want::Call);
        self.lanes.try_now(Rung::Reverse, now);
        if !self.lanes.is_over(Rung::Punch) {
            self.begin_round(now);
        }
    }

    /// When the relay is asked for: when nothing else will do any more.
    fn relay_at(&self) -> Option<Instant> {
        let answered = self.answered.filter(|_| self.relay_offered && self.lanes.is_waiting(Rung::Relay))?;
        if !self.lanes.is_over(Rung::Punch) || self.lanes.is_trying(Rung::Lan) {
            return None;
        }
        // A node that dials us does so at once: a second is many round trips.
        let dialling = [Rung::Direct, Rung::Reverse].iter().any(|&rung| !self.lanes.is_over(rung));
        Some(if dialling { answered + Duration::from_secs(1) } else { answered })
    }
}

/// Whether another round may find what this one did not: only where a port had to be guessed.
fn is_guess(kind: Option<NatKind>) -> bool {
    !matches!(kind, Some(NatKind::Preserving | NatKind::Reuse))
}

/// The rungs that take the node's help, so that it has to be called.
const CALLED: [Rung; 3] = [Rung::Reverse, Rung::Punch, Rung::Relay];

/// So soon each server has told a node that is to be met, if it knows it.
const ANNOUNCED: Duration = Duration::from_secs(3);

/// What the node says to a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answered {
    pub(crate) punch: bool,
    pub(crate) relay: bool,
    pub(crate) kind: Option<NatKind>,
    pub(crate) same_wan: bool,
}
