//! Programs: where they are, when they run, and what they are told.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::computers::ComputerId;
use super::end::EndId;
use crate::job::Report;
use crate::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sim) struct ProgramId(pub(in crate::sim) usize);

/// What a poller would tell a program.
#[derive(Debug, Default)]
pub(in crate::sim) struct Mailbox {
    pub(in crate::sim) backlog: VecDeque<EndId>,
    pub(in crate::sim) connected: VecDeque<(EndId, Result<SocketAddr, io::ErrorKind>)>,
    pub(in crate::sim) readable: VecDeque<EndId>,
    /// Ends whose peer is done, as `io::Sockets` tells it: before what came last is read.
    pub(in crate::sim) hangups: VecDeque<EndId>,
    pub(in crate::sim) writable: VecDeque<EndId>,
    pub(in crate::sim) reports: VecDeque<Report>,
}

/// When a program runs: in its next frame after something happened.
#[derive(Debug)]
struct Schedule {
    frame: Duration,
    phase: Duration,
    last: Option<Instant>,
    next: Option<Instant>,
}

#[derive(Debug)]
struct Program {
    computer: ComputerId,
    dead_after: Duration,
    mailbox: Mailbox,
    schedule: Schedule,
}

#[derive(Debug, Default)]
pub(super) struct Programs {
    programs: Vec<Program>,
    /// Whether or not they still run.
    on: BTreeMap<ComputerId, Vec<ProgramId>>,
}

impl Programs {
    /// Its frames begin at `phase` and are so long.
    pub(super) fn add(
        &mut self,
        computer: ComputerId,
        dead_after: Duration,
        frame: Duration,
        phase: Duration,
    ) -> ProgramId {
        let id = ProgramId(self.programs.len());
        self.programs.push(Program {
            computer,
            dead_after,
            mailbox: Mailbox::default(),
            schedule: Schedule { frame, phase, last: None, next: None },
        });
        self.on.entry(computer).or_default().push(id);
        id
    }

    /// Those of a computer, whether or not they still run.
    pub(super) fn on(&self, computer: ComputerId) -> Vec<ProgramId> {
        self.on.get(&computer).cloned().unwrap_or_default()
    }

    pub(super) fn computer_of(&self, program: ProgramId) -> ComputerId {
        self.programs[program.0].computer
    }

    /// It gives up a connection whose other side was silent for so long.
    pub(super) fn dead_after(&self, program: ProgramId) -> Duration {
        self.programs[program.0].dead_after
    }

    pub(super) fn mailbox(&mut self, program: ProgramId) -> &mut Mailbox {
        &mut self.programs[program.0].mailbox
    }

    /// The program is to run in its first frame from then on: when that is, if it is earlier than what was planned.
    pub(super) fn wake(&mut self, program: ProgramId, at: Instant) -> Option<Instant> {
        let schedule = &mut self.programs[program.0].schedule;
        let next = schedule.frame_from(at);
        let is_earlier = schedule.next.is_none_or(|planned| next < planned);
        is_earlier.then(|| *schedule.next.insert(next))
    }

    /// Whether the program runs now: a time that an earlier one has replaced is for nothing.
    pub(super) fn begin_run(&mut self, program: ProgramId, now: Instant) -> bool {
        let schedule = &mut self.programs[program.0].schedule;
        let runs = schedule.next == Some(now);
        if runs {
            schedule.next = None;
            schedule.last = Some(now);
        }
        runs
    }
}

impl Mailbox {
    pub(super) fn add_readable(&mut self, end: EndId) {
        if !self.readable.contains(&end) {
            self.readable.push_back(end);
        }
    }
}

impl Schedule {
    /// The first frame that begins then or later, and after the last one in which it ran.
    fn frame_from(&self, at: Instant) -> Instant {
        let frame = self.frame.as_nanos();
        let number = at.since_origin().saturating_sub(self.phase).as_nanos().div_ceil(frame);
        let begin = |number: u128| {
            let nanos = u64::try_from(number * frame).unwrap_or(u64::MAX / 2);
            Instant::ZERO + self.phase + Duration::from_nanos(nanos)
        };
        let first = begin(number);
        if self.last.is_some_and(|last| first <= last) { begin(number + 1) } else { first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_runs_once_in_a_frame_and_at_the_earliest_time_that_was_asked_for() {
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        let mut programs = Programs::default();
        let millis = Duration::from_millis;
        let id = programs.add(ComputerId(3), millis(1), millis(10), millis(2));
        assert_eq!((programs.on(ComputerId(3)), programs.on(ComputerId(4))), (vec![id], vec![]));
        assert_eq!(programs.wake(id, at(30)), Some(at(32)));
        assert_eq!(programs.wake(id, at(31)), None, "that is planned");
        assert_eq!(programs.wake(id, at(12)), Some(at(12)));
        assert!(programs.begin_run(id, at(12)));
        assert_eq!(programs.wake(id, at(12)), Some(at(22)), "it has run in this frame");
        assert!(!programs.begin_run(id, at(32)), "that time was replaced");
        assert!(programs.begin_run(id, at(22)) && !programs.begin_run(id, at(22)));
    }
}
