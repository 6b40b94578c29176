//! Rings of 100,000 members that come and go.

use std::time::Duration;

use super::life::{Life, Way};
use super::memory;
use crate::allocations;
use crate::cpu::Stopwatch;
use crate::lab::Lab;
use crate::progress::Progress;
use crate::proto::ring::Settings;
use crate::report::{Bound, Table, short, two};

/// Of 1000 members so many come and so many fall silent a second: the mean stays for an hour and 23 minutes.
const RATE: f64 = 0.2;
const LOOK_UPS: f64 = 100.0;

struct Outcome {
    members: usize,
    seconds: f64,
    /// Simulated seconds in a second.
    speed: f64,
    messages: f64,
    /// A second.
    bytes: f64,
    /// Of a member's machine, and of all that the program has in use, for each member.
    memory: [usize; 2],
    failed: u64,
    look_ups: u64,
}

pub fn run(lab: &mut Lab) {
    let (members, seconds) = lab.size((100_000, 600), (10_000, 120));
    let seed = lab.seed_of("scale", 0);
    let outcomes = lab.each("scale", &[()], |(), progress| measure(members, seconds, seed, progress));
    let mut table = Table::new(&[
        "members",
        "simulated, s",
        "simulated seconds a second of one core",
        "messages a member and second",
        "their bytes",
        "memory of a member, bytes",
        "with the driver",
        "look-ups",
        "failed of 10,000",
    ]);
    for outcome in outcomes {
        let Outcome { members, seconds, speed, messages, bytes, memory, failed, look_ups } = outcome;
        let failures = 1e4 * failed as f64 / look_ups as f64;
        table.row([
            members.to_string(),
            short(seconds),
            two(speed),
            two(messages),
            short(bytes),
            memory[0].to_string(),
            memory[1].to_string(),
            look_ups.to_string(),
            two(failures),
        ]);
        let row = format!("N = {members}");
        // A ring of a tenth has a tenth of the work; on a machine that does other things, too, it is no measurement.
        lab.report.require(&row, "simulated seconds a second", speed, Bound::AtLeast(5.0));
        lab.report.require(&row, "memory of a member", memory[0] as f64, Bound::AtMost(6000.0));
        lab.report.require(&row, "failed of 10,000", failures, Bound::AtMost(2.0));
    }
    let about = format!(
        "r = 16, stabilise every 30 s, one finger every 30 s; of 1000 members {RATE} a second fall silent and as many join; \
         {LOOK_UPS} look-ups a second in all. Memory: of the machine alone, the mean of a thousand; and all that the program has in use, with its queue and the dead, for each living member."
    );
    lab.report.table(&about, &table);
}

fn measure(members: usize, seconds: u64, seed: u64, progress: &mut Progress) -> Outcome {
    let before = allocations::in_use();
    let settings = Settings { stabilise_every: Duration::from_secs(30), ..Settings::default() };
    let rate = RATE * members as f64 / 1000.0;
    let mut life = Life::new(members, settings, rate, Way::Crashes, seed);
    // Not the first second, in which all memory is new.
    life.run_for(Duration::from_secs(30));
    life.look_ups_a_second(LOOK_UPS);
    life.world.counts_bytes = true;
    let (began, messages) = (Stopwatch::start(), life.world.counts.messages);
    for step in 0..seconds {
        life.run_for(Duration::from_secs(1));
        progress.at((step + 1) as f64 / seconds as f64);
    }
    let took = began.seconds();
    let messages = (life.world.counts.messages - messages) as f64;
    let bytes = life.world.counts.bytes as f64;
    life.look_ups_a_second(0.0);
    life.run_for(Duration::from_secs(20));
    let living = life.world.census.len();
    let in_use = (allocations::in_use() - before) / living;
    let failed = life.world.ended.iter().filter(|ended| !ended.is_right).count() as u64;
    let look_ups = life.world.ended.len() as u64;
    Outcome {
        members,
        seconds: seconds as f64,
        speed: seconds as f64 / took,
        messages: messages / seconds as f64 / living as f64,
        bytes: bytes / seconds as f64 / living as f64,
        memory: [memory::of_a_machine(&mut life.world), in_use],
        failed,
        look_ups,
    }
}
