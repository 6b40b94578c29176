//! Programs: when they run, and what they are told.

use std::time::Duration;

use super::{ComputerId, Happening, Mailbox, Network, Packet, Program, ProgramId, Schedule, State};
use crate::job::Report;
use crate::reach::LanAddress;
use crate::time::Instant;

impl Network {
    pub(in crate::sim) fn program(
        &mut self,
        computer: ComputerId,
        dead_after: Duration,
        frame: Duration,
    ) -> ProgramId {
        let id = ProgramId(self.programs.len());
        let phase = Duration::from_nanos(self.random.below(frame.as_nanos() as usize) as u64);
        self.programs.push(Program {
            computer,
            dead_after,
            mailbox: Mailbox::default(),
            schedule: Schedule { frame, phase, last: None, next: None },
        });
        self.wake(id, self.now);
        id
    }

    /// Those of a computer, whether or not they still run.
    pub(super) fn programs_on(&self, computer: ComputerId) -> Vec<ProgramId> {
        (0..self.programs.len()).map(ProgramId).filter(|&id| self.computer_of(id) == computer).collect()
    }

    pub(in crate::sim) fn computer_of(&self, program: ProgramId) -> ComputerId {
        self.programs[program.0].computer
    }

    /// As the operating system of the program's computer lists them.
    pub(in crate::sim) fn interfaces(&self, program: ProgramId) -> Vec<LanAddress> {
        let ips = &self.computers[self.computer_of(program).0].ips;
        ips.iter().map(|&address| LanAddress { interface: "sim0".into(), address }).collect()
    }

    pub(in crate::sim) fn mailbox(&mut self, program: ProgramId) -> &mut Mailbox {
        &mut self.programs[program.0].mailbox
    }

    /// The program is to run in its first frame from then on.
    pub(in crate::sim) fn wake(&mut self, program: ProgramId, at: Instant) {
        let now = self.now;
        let schedule = &mut self.programs[program.0].schedule;
        let frame = schedule.frame.as_nanos();
        let since = at.max(now).since_origin().saturating_sub(schedule.phase).as_nanos();
        let nth = |n: u128| {
            let nanos = u64::try_from(n * frame).unwrap_or(u64::MAX / 2);
            Instant::ZERO + schedule.phase + Duration::from_nanos(nanos)
        };
        let mut at = nth(since.div_ceil(frame));
        if schedule.last.is_some_and(|last| at <= last) {
            at = nth(since.div_ceil(frame) + 1);
        }
        if schedule.next.is_none_or(|next| at < next) {
            schedule.next = Some(at);
            self.plan(at, Happening::Run { program });
        }
    }

    pub(in crate::sim) fn report_at(&mut self, at: Instant, program: ProgramId, report: Report) {
        self.plan(at, Happening::Report { program, report });
    }

    /// The program crashed: its operating system resets what it had open.
    pub(in crate::sim) fn crash(&mut self, program: ProgramId) {
        self.stop_listening(program);
        for id in self.ends.of(program) {
            if self.ends[id].state == State::Open && self.ends[id].broken.is_none() {
                self.send(id, Packet::Reset);
                self.ends[id].goodbye = true;
            }
            self.ends.retire(id);
        }
    }
}
