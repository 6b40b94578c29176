//! A ring of a million members, in which nobody comes or goes, until a tenth of them falls silent.

use std::time::Duration;

use super::memory;
use super::truth::Order;
use crate::allocations;
use crate::cpu::Stopwatch;
use crate::lab::Lab;
use crate::progress::Progress;
use crate::proto::ring::{How, Settings};
use crate::report::{Bound, Table, percent, short, two};
use crate::sim::ring::world::World;
use crate::tally::Tally;

const PERIOD: Duration = Duration::from_secs(30);
/// After which first successors are looked at.
const ROUNDS: u32 = 2;

#[derive(Default)]
struct Phase {
    path: Tally,
    timeouts: Tally,
    failed: u64,
    /// Seconds of one core.
    took: f64,
}

struct Outcome {
    built: f64,
    /// Of a member's machine at the end, and of all for each member before the failure.
    memory: [usize; 2],
    phases: Vec<(&'static str, Phase)>,
    first_right: f64,
}

pub fn run(lab: &mut Lab) {
    let members = lab.size(1_000_000, 10_000);
    let look_ups = lab.size(1_000_000, 20_000);
    let seed = lab.seed_of("million", 0);
    let outcomes = lab.each("million", &[()], |(), progress| measure(members, look_ups, seed, progress));
    let mut table =
        Table::new(&["when", "look-ups", "failed", "path (p1, p99)", "timeouts (p1, p99)", "one core, s"]);
    for Outcome { built, memory, phases, first_right } in outcomes {
        for (when, phase) in phases {
            let Phase { path, timeouts, failed, took } = phase;
            let tally = |tally: &Tally| {
                format!("{} ({}, {})", two(tally.mean()), tally.quantile(0.01), tally.quantile(0.99))
            };
            table.row([
                when.to_string(),
                (path.total() + failed).to_string(),
                failed.to_string(),
                tally(&path),
                tally(&timeouts),
                short(took),
            ]);
            lab.report.require(when, "failed look-ups", failed as f64, Bound::AtMost(0.0));
        }
        lab.report.require("all", "memory of a member", memory[0] as f64, Bound::AtMost(6000.0));
        lab.report.require("all", "first successors right", first_right, Bound::AtLeast(1.0));
        let about = format!(
            "{members} members, r = 16, stabilise every 30 s. Built in {} s of one core, {} bytes a member ({} with the driver). After the failure: {} of the \
             first successors were right {ROUNDS} rounds later.",
            short(built),
            memory[0],
            memory[1],
            percent(first_right),
        );
        lab.report.table(&about, &table);
    }
}

fn measure(members: usize, look_ups: usize, seed: u64, progress: &mut Progress) -> Outcome {
    let (before, began) = (allocations::in_use(), Stopwatch::start());
    let settings = Settings { stabilise_every: PERIOD, ..Settings::default() };
    let mut world = World::ideal(members, settings, Duration::from_millis(50), seed);
    let built = began.seconds();
    progress.at(0.1);
    let quiet = look_up(&mut world, look_ups, progress);
    let in_use = (allocations::in_use() - before) / members;
    for _ in 0..members / 10 {
        if let Some(index) = world.random_member() {
            world.crash(index);
        }
    }
    let failed_at = world.now();
    let after = look_up(&mut world, look_ups / 10, progress);
    world.run_until((failed_at + ROUNDS * PERIOD).max(world.now()));
    let first_right = Order::of(&world).first_successors_right(&world);
    let mended = look_up(&mut world, look_ups / 10, progress);
    let phases = vec![
        ("before", quiet),
        ("while a tenth has just fallen silent", after),
        ("two rounds later", mended),
    ];
    Outcome { built, memory: [memory::of_a_machine(&mut world), in_use], phases, first_right }
}

/// All within ten seconds of the ring's time, and a few more to hear of the last.
fn look_up(world: &mut World, look_ups: usize, progress: &mut Progress) -> Phase {
    let (began, mut phase) = (Stopwatch::start(), Phase::default());
    let gap = Duration::from_secs(10) / look_ups as u32;
    for number in 0..look_ups {
        let key = world.random_place();
        if let Some(origin) = world.random_member() {
            world.look_up(origin, key, How::Recursive);
        }
        world.run_for(gap);
        take(world, &mut phase);
        progress.at(number as f64 / look_ups as f64);
    }
    world.run_for(Duration::from_secs(16));
    take(world, &mut phase);
    phase.took = began.seconds();
    phase
}

fn take(world: &mut World, phase: &mut Phase) {
    for ended in world.ended.drain(..) {
        match ended.outcome {
            Ok(found) if ended.is_right => {
                phase.path.add(found.hops.into());
                phase.timeouts.add(found.timeouts.into());
            }
            _ => phase.failed += 1,
        }
    }
}
