//! A part of the members fails at once (ToN 2003, section VI-D, Table II): look-ups before anybody has repaired anything,
//! and then the repair.

use std::time::Duration;

use super::truth;
use crate::lab::Lab;
use crate::progress::Progress;
use crate::proto::ring::{How, Settings};
use crate::published::{MASS_FAILURE, MassFailure};
use crate::report::{Bound, Table, two};
use crate::sim::ring::queue::Index;
use crate::sim::ring::world::World;
use crate::tally::Tally;

const MEMBERS: usize = 1000;
const LIST: usize = 20;
const PERIOD: Duration = Duration::from_secs(30);
const DELAY: Duration = Duration::from_millis(50);

/// Before the repair.
#[derive(Default)]
struct Before {
    path: Tally,
    timeouts: Tally,
    failed: u64,
    /// Took longer than a look-up has by default.
    late: u64,
}

/// How the ring mends itself.
pub struct Repair {
    pub failed: f64,
    /// In rounds, since the failure: which part of the first successors was right, and which part of the lists.
    pub course: Vec<(f64, f64, f64)>,
    first_right: Option<f64>,
    lists_right: Option<f64>,
    look_ups_failed: usize,
}

pub fn run(lab: &mut Lab) {
    let (rings, look_ups) = (10, lab.size(100_000, 10_000));
    let seed = lab.seed_of("failure", 0);
    let results =
        lab.each("failure", &MASS_FAILURE, |row, progress| before(row, rings, look_ups, seed, progress));
    before_table(lab, look_ups, &results);
    let results = lab.each("repair", &MASS_FAILURE[1..], |row, _| repair(row.failed, seed));
    repair_table(lab, &results);
    crate::pictures::convergence::draw(lab, &results);
}

/// On several rings, each with its own dead.
fn before(row: &MassFailure, rings: u64, look_ups: usize, seed: u64, progress: &mut Progress) -> Before {
    let never = Duration::from_secs(3_600_000);
    let settings = Settings {
        list: LIST,
        stabilise_every: never,
        finger_every: never,
        merge_every: never,
        // The paper's look-ups have as long as they need.
        look_up_within: Duration::from_secs(120),
        ..Settings::default()
    };
    let mut before = Before::default();
    for ring in 0..rings {
        let mut world = World::ideal(MEMBERS, settings.clone(), DELAY, seed ^ ring << 8);
        warm_up(&mut world);
        fail(&mut world, row.failed);
        for _ in 0..look_ups / rings as usize {
            let key = world.random_place();
            let Some(origin) = world.random_member() else { continue };
            let ended = world.look_up_frozen(origin, key, How::Recursive);
            let within = Settings::default().look_up_within;
            before.late += u64::from(ended.as_ref().is_some_and(|ended| ended.took > within));
            match ended.filter(|ended| ended.is_right).map(|ended| ended.outcome) {
                Some(Ok(found)) => {
                    before.path.add(found.hops.into());
                    before.timeouts.add(found.timeouts.into());
                }
                _ => before.failed += 1,
            }
        }
        progress.at((ring + 1) as f64 / rings as f64);
    }
    before
}

/// Members learn how long those take that they talk to.
fn warm_up(world: &mut World) {
    for _ in 0..10 * MEMBERS {
        let key = world.random_place();
        if let Some(origin) = world.random_member() {
            world.look_up(origin, key, How::Recursive);
        }
        world.run_for(Duration::from_millis(10));
    }
    world.run_for(Duration::from_secs(30));
    world.ended.clear();
}

/// Computers that fall silent.
fn fail(world: &mut World, part: f64) {
    let members = world.machines() as usize;
    let mut chosen: Vec<Index> = (0..world.machines()).collect();
    (1..members).rev().for_each(|last| chosen.swap(last, world.random.below(last + 1)));
    chosen.truncate((part * members as f64).round() as usize);
    chosen.into_iter().for_each(|index| world.crash(index));
}

fn before_table(lab: &mut Lab, look_ups: usize, results: &[Before]) {
    let mut table = Table::new(&[
        "failed",
        "look-ups failed",
        "path (p1, p99)",
        "paper",
        "re-run",
        "timeouts (p1, p99)",
        "paper",
        "re-run",
        "took more than 15 s",
    ]);
    for (published, before) in MASS_FAILURE.iter().zip(results) {
        let Before { path, timeouts, failed, late } = before;
        let tally = |tally: &Tally| {
            format!("{} ({}, {})", two(tally.mean()), tally.quantile(0.01), tally.quantile(0.99))
        };
        let theirs = |(mean, [p1, p99]): (f64, [usize; 2])| format!("{} ({p1}, {p99})", two(mean));
        table.row([
            published.failed.to_string(),
            failed.to_string(),
            tally(path),
            theirs(published.path),
            two(published.re_run.0),
            tally(timeouts),
            theirs(published.timeouts),
            two(published.re_run.1),
            late.to_string(),
        ]);
        let row = format!("{} failed", published.failed);
        lab.report.require(&row, "failed look-ups", *failed as f64, Bound::AtMost(0.0));
        for (what, measured, target) in [
            ("path beside the re-run", path.mean(), published.re_run.0),
            ("timeouts beside the re-run", timeouts.mean(), published.re_run.1),
        ] {
            lab.report.require(&row, what, measured, Bound::Near(target, 0.1 * target));
        }
    }
    let about = format!(
        "{MEMBERS} members, r = {LIST}, {look_ups} look-ups a row on ten rings, each look-up on a frozen copy: nobody has \
         found out anything yet. The path has everybody who was contacted and answered, the owner included; each dead \
         member that was tried is a timeout. As in the paper a look-up has as long as it needs; by default it would be given up \
         after 15 s (last column)."
    );
    lab.report.table(&about, &table);
}

fn repair(failed: f64, seed: u64) -> Repair {
    let settings = Settings { list: LIST, stabilise_every: PERIOD, ..Settings::default() };
    let mut world = World::ideal(MEMBERS, settings, DELAY, seed);
    world.run_for(PERIOD);
    fail(&mut world, failed);
    let began = world.now();
    let mut repair =
        Repair { failed, course: Vec::new(), first_right: None, lists_right: None, look_ups_failed: 0 };
    for step in 0..=30 * 6 {
        world.run_until(began + step * PERIOD / 6);
        let order = truth::Order::of(&world);
        let (first, lists) = (order.first_successors_right(&world), order.lists_right(&world));
        let rounds = f64::from(step) / 6.0;
        repair.course.push((rounds, first, lists));
        // From when on they stay so.
        for (part, since) in [(first, &mut repair.first_right), (lists, &mut repair.lists_right)] {
            *since = if part == 1.0 { since.or(Some(rounds)) } else { None };
        }
    }
    repair.look_ups_failed = look_ups_after(&mut world);
    repair
}

/// Of 10,000, once it is mended.
fn look_ups_after(world: &mut World) -> usize {
    let mut wrong = 0;
    for _ in 0..10_000 {
        let key = world.random_place();
        let Some(origin) = world.random_member() else { continue };
        world.look_up(origin, key, How::Recursive);
        world.run_for(Duration::from_millis(10));
        wrong += world.ended.drain(..).filter(|ended| !ended.is_right).count();
    }
    world.run_for(Duration::from_secs(20));
    wrong + world.ended.drain(..).filter(|ended| !ended.is_right).count()
}

fn repair_table(lab: &mut Lab, results: &[Repair]) {
    let mut table = Table::new(&[
        "failed",
        "first successors all right, rounds",
        "lists all right, rounds",
        "failed of 10,000 look-ups after it",
    ]);
    for Repair { failed, first_right, lists_right, look_ups_failed, .. } in results {
        let rounds = |rounds: &Option<f64>| rounds.unwrap_or(f64::INFINITY);
        table.row([
            failed.to_string(),
            two(rounds(first_right)),
            two(rounds(lists_right)),
            look_ups_failed.to_string(),
        ]);
        let row = format!("{failed} failed");
        let (first, lists) = (rounds(first_right), rounds(lists_right));
        lab.report.require(&row, "rounds until first successors are right", first, Bound::AtMost(2.0));
        lab.report.require(&row, "rounds until lists are right", lists, Bound::AtMost(LIST as f64));
        lab.report.require(&row, "failed look-ups after repair", *look_ups_failed as f64, Bound::AtMost(0.0));
    }
    let about = "How the same rings mend themselves. A round is the mean period of stabilise, 30 s (drawn from 15 to 45 s); \
                 looked at six times a round.";
    lab.report.table(about, &table);
}
