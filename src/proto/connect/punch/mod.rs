//! TCP hole punching: one local port dials one peer, while the peer dials back.
//!
//! Each end's SYN opens its own NAT for the other's. Where they cross on the way, both ends see a simultaneous open
//! (RFC 9293 section 3.5, RFC 5382 REQ-2) and are connected. What comes before, how each end is seen and when they
//! begin, has been agreed through a server by then.
//!
//! **A refusal is answered by the next dial almost at once**, because a refused SYN closes what it had opened: each
//! end repeats itself with the period "round trip and gap", and two SYNs cross unless one falls into the other end's
//! gap. With a gap of 250 ms most do; with one of 1 to 5 ms it is one in twenty.
//!
//! **The two ends have different gaps**: the first takes the lower quarter of the range, the second the upper one.
//! With equal and fixed gaps, ends that miss each other once miss each other for ever, and with gaps drawn from the
//! same range it takes luck to get apart: in the tests' model up to 13 tries. But let the second's gap exceed the
//! first's by more than the first's own length, in every draw. Then at each try the second falls back by more than the
//! first's gap is wide, and less than a one-way trip. So what fell into that gap is out of it the next time, and of
//! three tries in a row one meets (two where the second began later), if the way takes equally long in both
//! directions.
//!
//! **Silence is left alone**: a NAT that drops what it does not know keeps the hole open, and the kernel repeats the
//! SYN.
//!
//! **Nobody aims us:** where no server of our choice has attested the peer's address, a few SYNs is all that leaves,
//! the kernel's repetitions included.

mod plan;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::random::Random;
use crate::reach::NatKind;
use crate::time::{Instant, soonest};

/// A claimed dial's next SYN is accounted for by this much before the kernel sends it, or the dial is abandoned: so
/// late may the caller ask what to do.
const MARGIN: Duration = Duration::from_millis(250);

/// When the kernel repeats an unanswered SYN. RFC 6298 section 2 says after 1 s, and section 5.5 doubles that each
/// time. But Linux since 6.5 (`tcp_syn_linear_timeouts`) and the BSDs begin with several waits of the same 1 s, so
/// this is the one to count with.
const REPETITION: Duration = Duration::from_secs(1);

/// How long to wait when another socket has the connection's two ends.
const BUSY_GAP: Duration = Duration::from_millis(20);

/// So often a candidate is tried again because of that.
const BUSY_LIMIT: u32 = 10;

/// One end of the punch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// The external address of the local port, as a server saw it.
    pub(crate) seen: SocketAddr,
    pub(crate) local_port: u16,
    /// `None` where it is not known.
    pub(crate) kind: Option<NatKind>,
}

/// The ends do not do the same: they dial foretold ports along different lines, and have different gaps. So one is the
/// first (who called), and the other is the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    First,
    Second,
}

#[derive(Clone, Debug)]
pub(crate) struct PunchConfig {
    /// From the start. Defaults to 3 s.
    pub(crate) deadline: Duration,
    /// Dials in all. Defaults to 1500.
    pub(crate) max_syns: u32,
    /// SYNs in all to an address that is merely claimed. Defaults to 3.
    pub(crate) claimed_syns: u32,
    /// From a refusal to the next dial: the whole range, of which each end takes a part. Defaults to 1 to 5 ms.
    pub(crate) gap: RangeInclusive<Duration>,
}

impl Default for PunchConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(3),
            max_syns: 1500,
            claimed_syns: 3,
            gap: Duration::from_millis(1)..=Duration::from_millis(5),
        }
    }
}

/// One dial of one punch. No two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PunchSlot(u32);

/// What the holder of the sockets is to do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PunchAction {
    /// Dial from the local port, and report by `handle_connected` or `handle_failed`. Those that come together are to
    /// leave together: a NAT that counts gives them its next ports in this order.
    Dial { slot: PunchSlot, to: SocketAddr },
    /// Close this one; nothing about it needs to be reported any more.
    Abandon { slot: PunchSlot },
}

/// Why nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PunchFailure {
    /// How many ports were dialled.
    pub(crate) candidates: usize,
    pub(crate) syns: u32,
    /// Dials that were refused.
    pub(crate) refused: u32,
    /// Dials that were not answered at all.
    pub(crate) silent: u32,
    /// What the operating system said last, other than that.
    pub(crate) error: Option<io::ErrorKind>,
}

/// Whether a punch is a waste of time: one end's ports can not be foretold. The relay is taken at once.
pub(crate) fn is_hopeless(ours: Option<NatKind>, theirs: Option<NatKind>) -> bool {
    [ours, theirs].contains(&Some(NatKind::Random))
}

/// One punch. Ask `poll_action` until it is `None` after each input.
///
/// That a dial is connected does not end it: who is there has yet to be proven. Connected ones are the caller's, who
/// says `settle` when one is proven, and may report another by `handle_failed` if it turns out to be none.
#[derive(Debug)]
pub(crate) struct Punch {
    config: PunchConfig,
    part: Part,
    attested: bool,
    random: Random,
    /// At most [`plan::CANDIDATE_LIMIT`], in the order in which they are dialled.
    candidates: Vec<Candidate>,
    deadline: Instant,
    now: Instant,
    /// At most one for each candidate.
    abandoned: VecDeque<PunchSlot>,
    is_settled: bool,
    last_slot: u32,
    failure: PunchFailure,
}

impl Punch {
    /// From `start` on, or at once when that has passed. `attested` says that a server of our own choice saw the peer
    /// at `theirs.seen`.
    #[expect(clippy::too_many_arguments, reason = "each is one fact of what was agreed")]
    pub(crate) fn new(
        config: PunchConfig,
        ours: &Side,
        theirs: &Side,
        part: Part,
        attested: bool,
        start: Instant,
        random: Random,
        now: Instant,
    ) -> Self {
        let start = start.max(now);
        let mut plan = plan::candidates(ours, theirs, part);
        if !attested {
            plan.truncate(config.claimed_syns as usize);
        }
        let failure = PunchFailure { candidates: plan.len(), syns: 0, refused: 0, silent: 0, error: None };
        let candidates = plan.into_iter().map(|to| Candidate { to, stage: Stage::Waiting(start), busy: 0 });
        let mut punch = Self {
            deadline: start + config.deadline,
            candidates: candidates.collect(),
            config,
            part,
            attested,
            random,
            now,
            abandoned: VecDeque::new(),
            is_settled: false,
            last_slot: 0,
            failure,
        };
        punch.handle_timeout(now);
        punch
    }

    pub(crate) fn handle_connected(&mut self, slot: PunchSlot, now: Instant) {
        if let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.holds(slot)) {
            candidate.stage = Stage::Connected(slot);
        }
        self.handle_timeout(now);
    }

    /// A dial has failed, or one that was connected is not the peer, or has ended.
    pub(crate) fn handle_failed(&mut self, slot: PunchSlot, why: io::ErrorKind, now: Instant) {
        self.now = self.now.max(now);
        if let Some(index) = self.candidates.iter().position(|candidate| candidate.holds(slot)) {
            self.candidates[index].stage = self.after_failure(index, why);
        }
        self.handle_timeout(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.deadline <= self.now {
            self.end();
        }
        self.account_for_repetitions();
        for candidate in &mut self.candidates {
            if matches!(candidate.stage, Stage::Waiting(at) if at <= self.now) {
                candidate.stage = Stage::Due;
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let wakes = |candidate: &Candidate| match candidate.stage {
            Stage::Waiting(at) => Some(at.min(self.deadline)),
            Stage::Dialling { paid_until, .. } if !self.attested => Some(paid_until.min(self.deadline)),
            Stage::Dialling { .. } | Stage::Due => Some(self.deadline),
            Stage::Connected(_) | Stage::Over => None,
        };
        self.candidates.iter().map(wakes).fold(None, soonest)
    }

    pub(crate) fn poll_action(&mut self) -> Option<PunchAction> {
        if let Some(slot) = self.abandoned.pop_front() {
            return Some(PunchAction::Abandon { slot });
        }
        let can_pay = self.can_pay();
        let mut due = self.candidates.iter_mut().filter(|candidate| candidate.stage == Stage::Due);
        if !can_pay {
            due.for_each(|candidate| candidate.stage = Stage::Over);
            return None;
        }
        let candidate = due.next()?;
        self.last_slot += 1;
        self.failure.syns += 1;
        let slot = PunchSlot(self.last_slot);
        candidate.stage = Stage::Dialling { slot, paid_until: self.now + (REPETITION - MARGIN) };
        Some(PunchAction::Dial { slot, to: candidate.to })
    }

    /// A winner is proven: what is still on its way is abandoned, and nothing more is dialled.
    #[cfg(test)]
    pub(crate) fn settle(&mut self) {
        self.is_settled = true;
        self.end();
    }

    /// Once nothing is connected and nothing more will be: at the deadline, or when all candidates are over before it.
    pub(crate) fn outcome(&self) -> Option<PunchFailure> {
        let is_over = self.candidates.iter().all(|candidate| candidate.stage == Stage::Over);
        (is_over && !self.is_settled).then_some(self.failure)
    }

    /// How many have left by now: one for each dial. Of claimed addresses, the kernel's repetitions count, too, since
    /// shortly before they leave.
    #[cfg(test)]
    pub(crate) fn syns(&self) -> u32 {
        self.failure.syns
    }

    /// What becomes of a candidate whose dial has ended.
    fn after_failure(&mut self, index: usize, why: io::ErrorKind) -> Stage {
        let wait = match why {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted => {
                self.failure.refused += 1;
                self.gap()
            }
            // The kernel has given up repeating itself.
            io::ErrorKind::TimedOut => {
                self.failure.silent += 1;
                self.gap()
            }
            // Another socket has this very pair of ends: an older dial that is not quite gone, or the peer's, accepted.
            io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable => {
                self.failure.error = Some(why);
                let candidate = &mut self.candidates[index];
                if candidate.busy == BUSY_LIMIT {
                    return Stage::Over;
                }
                candidate.busy += 1;
                self.random.jitter(BUSY_GAP)
            }
            // No way there, or not allowed: so it will be the next time.
            _ => {
                self.failure.error = Some(why);
                return Stage::Over;
            }
        };
        if self.is_settled || self.deadline <= self.now || !self.can_pay() {
            return Stage::Over;
        }
        Stage::Waiting(self.now + wait)
    }

    /// A quarter of the range: the lowest or the highest. The second's exceeds the first's by the first's own length,
    /// and more, where the range ends at five times its beginning or later.
    fn gap(&mut self) -> Duration {
        let (least, most) = (*self.config.gap.start(), *self.config.gap.end());
        let quarter = most.saturating_sub(least) / 4;
        let from = match self.part {
            Part::First => least,
            Part::Second => most.saturating_sub(quarter),
        };
        let nanos = usize::try_from(quarter.as_nanos()).unwrap_or(usize::MAX);
        from.saturating_add(Duration::from_nanos(self.random.below(nanos) as u64))
    }

    fn can_pay(&self) -> bool {
        let limit = if self.attested {
            self.config.max_syns
        } else {
            self.config.claimed_syns.min(self.config.max_syns)
        };
        self.failure.syns < limit
    }

    /// Pays for the SYN that the kernel will send next, for each dial to a claimed address; when there is nothing left
    /// to pay with, the dial ends before that.
    fn account_for_repetitions(&mut self) {
        if self.attested {
            return;
        }
        for index in 0..self.candidates.len() {
            while let Stage::Dialling { slot, paid_until } = self.candidates[index].stage
                && paid_until <= self.now
            {
                self.candidates[index].stage = if self.can_pay() {
                    self.failure.syns += 1;
                    Stage::Dialling { slot, paid_until: paid_until + REPETITION }
                } else {
                    self.failure.silent += 1;
                    self.abandoned.push_back(slot);
                    Stage::Over
                };
            }
        }
    }

    /// All but what is connected.
    fn end(&mut self) {
        for candidate in &mut self.candidates {
            match candidate.stage {
                Stage::Dialling { slot, .. } => {
                    self.failure.silent += 1;
                    self.abandoned.push_back(slot);
                }
                Stage::Connected(_) => continue,
                Stage::Waiting(_) | Stage::Due | Stage::Over => {}
            }
            candidate.stage = Stage::Over;
        }
    }
}

#[derive(Debug)]
struct Candidate {
    to: SocketAddr,
    stage: Stage,
    /// How often another socket had its ends.
    busy: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its time has not come.
    Waiting(Instant),
    /// Its time has come; the caller has not been told yet.
    Due,
    /// The caller holds a socket for it. Of a claimed address, the SYNs that leave until then are accounted for.
    Dialling { slot: PunchSlot, paid_until: Instant },
    /// The caller's.
    Connected(PunchSlot),
    /// It is not dialled any more.
    Over,
}

impl Candidate {
    fn holds(&self, slot: PunchSlot) -> bool {
        match self.stage {
            Stage::Dialling { slot: mine, .. } | Stage::Connected(mine) => mine == slot,
            Stage::Waiting(_) | Stage::Due | Stage::Over => false,
        }
    }
}

#[cfg(test)]
mod tests;
