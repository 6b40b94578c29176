//! Zave's invariant in random histories, and that the monitor notices what breaks it. (A notify slot that the last one wins is
//! filled twice only while a step is pending, which is rare here: the machine's own tests have a schedule for that.)

use std::time::Duration;

use super::super::schedule::{Done, Kind, Wrong, run};
use crate::proto::ring::{Settings, Variant};

const MS: Duration = Duration::from_millis(1);

/// So many, unless the environment says another number: `P2POLL_RING_SCHEDULES=1000000`.
fn count(few: u64) -> u64 {
    let wanted = std::env::var("P2POLL_RING_SCHEDULES").ok();
    wanted.map_or(few, |wanted| wanted.parse().expect("P2POLL_RING_SCHEDULES is a number"))
}

/// The seeds to run: that many from 0 on, or the one of `P2POLL_RING_SEED=n`, of which everything is printed.
fn seeds(few: u64) -> std::ops::Range<u64> {
    match std::env::var("P2POLL_RING_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("P2POLL_RING_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..count(few),
    }
}

fn is_traced() -> bool {
    std::env::var("P2POLL_RING_SEED").is_ok()
}

fn settings(r: usize) -> Settings {
    let never = Duration::from_secs(1_000_000);
    // Nobody who lives is taken for dead: no answer takes longer than a second here.
    let shortest_wait = Duration::from_secs(1);
    Settings { list: r, finger_every: never, merge_every: never, shortest_wait, ..Settings::default() }
}

/// r + 1 to 16 members.
fn small(r: usize, most: usize) -> Kind {
    Kind {
        settings: settings(r),
        members: r + 1..=most - 6,
        joins: 6,
        failures: r - 1,
        epochs: 1,
        most,
        delay: MS..400 * MS,
        within: Duration::from_secs(15),
        from_one: false,
        rounds: 15,
        principals: r as u32 + 1,
        may_all_fail: false,
    }
}

fn all_are_right(kind: &Kind, seeds: std::ops::Range<u64>, name: &str) {
    let mut total = Done::default();
    let histories = seeds.end - seeds.start;
    for seed in seeds {
        match run(kind, seed, is_traced()) {
            Ok(done) => {
                total.joins += done.joins;
                total.failures += done.failures;
                total.happenings += done.happenings;
                total.rounds = total.rounds.max(done.rounds);
            }
            Err(wrong) => panic!("{name}, P2POLL_RING_SEED={seed}: {wrong:?}"),
        }
    }
    println!(
        "{name}: {histories} histories, {} joins, {} failures, {} happenings, never violated, ideal within {} rounds",
        total.joins, total.failures, total.happenings, total.rounds
    );
}

#[test]
fn the_invariant_holds_in_small_rings() {
    let seeds = seeds(400);
    for r in 2..=5 {
        let part = (seeds.end - seeds.start).div_ceil(4);
        let first = seeds.start + (r as u64 - 2) * part;
        let part = if is_traced() { seeds.clone() } else { first..first + part };
        all_are_right(&small(r, 16), part, &format!("r = {r}, N <= 16"));
    }
}

#[test]
fn the_invariant_holds_in_larger_rings() {
    let seeds = if is_traced() { seeds(0) } else { 0..count(40) / 100 + 1 };
    all_are_right(&Kind { members: 20..=50, joins: 14, ..small(3, 64) }, seeds, "r = 3, N <= 64");
}

/// Below r + 1 members Zave's proof says nothing. What is kept all the same: one ordered ring, and nobody lost, while
/// those that fail are not all that a member knows.
#[test]
fn rings_grow_from_one() {
    let seeds = seeds(200);
    for r in [2, 3, 5] {
        let kind = Kind {
            members: 1..=8,
            failures: 0,
            from_one: true,
            principals: 0,
            epochs: 2,
            rounds: 30,
            ..small(r, 14)
        };
        all_are_right(&kind, seeds.clone(), &format!("r = {r}, from one"));
    }
}

#[test]
fn rings_below_their_list_heal() {
    let seeds = seeds(200);
    for r in [3, 5] {
        let kind = Kind { members: 2..=r, joins: 4, principals: 0, epochs: 2, rounds: 30, ..small(r, r + 8) };
        all_are_right(&kind, seeds.clone(), &format!("r = {r}, small base"));
    }
}

/// The first history that goes wrong with a rule broken, and how.
fn first_wrong(variant: Variant, kind: Kind, most: u64) -> Wrong {
    let broken = Kind { settings: Settings { variant, ..kind.settings.clone() }, ..kind.clone() };
    // The first that goes wrong, and does not with the rule kept: it is the rule that makes the difference.
    let (seed, wrong) = (0..most)
        .filter_map(|seed| run(&broken, seed, false).err().map(|wrong| (seed, wrong)))
        .find(|(seed, _)| run(&kind, *seed, false).is_ok())
        .unwrap_or_else(|| panic!("{variant:?} was not noticed in {most} histories"));
    println!("{variant:?}: noticed by history {seed}: {wrong:?}");
    wrong
}

#[test]
fn a_join_with_one_pointer_is_noticed() {
    first_wrong(Variant::JoinsWithOnePointer, small(3, 16), 2000);
}

#[test]
fn taking_whom_one_has_not_contacted_is_noticed() {
    first_wrong(Variant::AdoptsUnchecked, small(2, 16), 20000);
}

#[test]
fn merging_lists_is_noticed() {
    first_wrong(Variant::MergesLists, small(3, 16), 2000);
}

#[test]
fn keeping_a_dead_predecessor_is_noticed() {
    first_wrong(Variant::KeepsDeadPredecessor, small(3, 16), 2000);
}

#[test]
fn a_list_that_skips_is_noticed() {
    first_wrong(Variant::ChangesHeadOnly, small(3, 16), 20000);
}

/// Two members and r = 3, both of which may go while others come: those know each other only if they came one by one.
#[test]
fn a_small_base_is_noticed() {
    let kind = Kind { members: 2..=2, may_all_fail: true, principals: 0, rounds: 30, ..small(3, 10) };
    first_wrong(Variant::LetsAllInAtOnce, kind, 20000);
}
