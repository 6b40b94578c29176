//! Path lengths in rings that are in order (SIGCOMM 2001, section 6.2; ToN 2003, section VI-B).

use std::time::Duration;

use crate::lab::Lab;
use crate::oracle::Oracle;
use crate::progress::Progress;
use crate::proto::ring::{How, Settings};
use crate::published::{DISTRIBUTION, FORWARDS, Forwards};
use crate::report::{Bound, Table, two};
use crate::sim::ring::world::World;
use crate::tally::Tally;
use crate::wire::ring::Place;

#[derive(Clone, Copy)]
struct Cell {
    list: usize,
    exponent: u32,
    rings: u64,
    look_ups: usize,
}

/// Forwards: the members that passed it on, the origin included. The paper's path is one longer.
#[derive(Default)]
pub struct Paths {
    pub list: usize,
    pub exponent: u32,
    /// As the paper's pseudocode walks: the machine's own, and the oracle's for keys that the origin owns itself, which the
    /// machine answers without any.
    pub forwards: Tally,
    /// Of the machine alone.
    others: Tally,
    wrong: u64,
    differing: u64,
}

pub fn run(lab: &mut Lab) {
    let exponents: Vec<u32> = if lab.is_ci { (3..=12).collect() } else { (3..=14).chain([17]).collect() };
    let cell = |list: usize, exponent: u32| Cell {
        list,
        exponent,
        // Small rings differ much from each other.
        rings: (1 << 14_u32.saturating_sub(exponent)).clamp(2, lab.size(1024, 256)),
        look_ups: lab.size(100_000, 20_000),
    };
    let cells: Vec<Cell> = [1, 20]
        .iter()
        .flat_map(|&list| exponents.iter().map(move |&exponent| cell(list, exponent)))
        .collect();
    let seed = lab.seed_of("paths", 0);
    let results = lab.each("paths", &cells, |cell, progress| measure(cell, seed, progress));
    for list in [1, 20] {
        let rows: Vec<&Paths> = results.iter().filter(|paths| paths.list == list).collect();
        table(lab, list, &rows);
    }
    distribution(lab, &results);
    crate::pictures::path_length::draw(lab, &results);
}

fn measure(cell: &Cell, seed: u64, progress: &mut Progress) -> Paths {
    let Cell { list, exponent, rings, look_ups } = *cell;
    let mut paths = Paths { list, exponent, ..Paths::default() };
    for ring in 0..rings {
        let mut world =
            World::ideal(1 << exponent, settings(list), Duration::from_millis(50), seed ^ ring << 8);
        let places: Vec<Place> = world.census.members().map(|(member, _)| member.place).collect();
        let oracle = Oracle::new(places, list);
        for _ in 0..look_ups / rings as usize {
            look_up(&mut world, &oracle, &mut paths);
        }
        progress.at((ring + 1) as f64 / rings as f64);
    }
    paths
}

fn look_up(world: &mut World, oracle: &Oracle, paths: &mut Paths) {
    let key = world.random_place();
    let Some(origin) = world.random_member() else { return };
    // The machines' numbers are in the order of their places.
    let expected = oracle.path(origin as usize, key);
    world.look_up(origin, key, How::Recursive);
    while world.ended.is_empty() && world.step() {}
    let owner = oracle.owner(key);
    let Some(found) = world.ended.pop().and_then(|ended| ended.outcome.ok()) else {
        paths.wrong += 1;
        return;
    };
    paths.wrong += u64::from(world.index_of(found.owner.place) != Some(owner as u32));
    let hops = usize::from(found.hops);
    if owner == origin as usize {
        paths.forwards.add(expected - 1);
        paths.differing += u64::from(hops != 0);
    } else {
        paths.forwards.add(hops.saturating_sub(1));
        paths.others.add(hops.saturating_sub(1));
        paths.differing += u64::from(hops != expected);
    }
}

/// Nothing happens but look-ups.
fn settings(list: usize) -> Settings {
    let never = Duration::from_secs(3_600_000);
    Settings { list, stabilise_every: never, finger_every: never, merge_every: never, ..Settings::default() }
}

fn table(lab: &mut Lab, list: usize, rows: &[&Paths]) {
    let mut table = Table::new(&[
        "members",
        "look-ups",
        "wrong owners",
        "path differs from the oracle's",
        "forwards, mean",
        "re-run",
        "p1, p50, p99, largest",
        "re-run",
        "without own keys",
    ]);
    for paths in rows {
        let Paths { exponent, forwards, others, wrong, differing, .. } = paths;
        let published = FORWARDS.iter().find(|published| published.exponent == *exponent);
        let quantiles =
            [forwards.quantile(0.01), forwards.quantile(0.5), forwards.quantile(0.99), forwards.max()];
        let theirs = published.filter(|_| list == 1).map(|published| published.fingers.1);
        table.row([
            format!("2^{exponent}"),
            forwards.total().to_string(),
            wrong.to_string(),
            differing.to_string(),
            two(forwards.mean()),
            published.map_or("-".into(), |published| two(mean_of(published, list))),
            join(&quantiles),
            theirs.map_or("-".into(), |theirs| join(&theirs)),
            two(others.mean()),
        ]);
        let row = format!("r = {list}, N = 2^{exponent}");
        lab.report.require(&row, "wrong owners", *wrong as f64, Bound::AtMost(0.0));
        lab.report.require(
            &row,
            "paths that differ from the oracle's",
            *differing as f64,
            Bound::AtMost(0.0),
        );
        if let Some(published) = published {
            let bound = Bound::Near(mean_of(published, list), 0.05);
            lab.report.require(&row, "mean forwards", forwards.mean(), bound);
        }
        if let Some([p1, _, p99, _]) = theirs {
            lab.report.require(&row, "p1", quantiles[0] as f64, Bound::Near(p1 as f64, 1.0));
            lab.report.require(&row, "p99", quantiles[2] as f64, Bound::Near(p99 as f64, 1.0));
        }
    }
    let about = format!(
        "r = {list}{}. Forwards from the origin to the one before the owner; the paper's path is one longer, the owner \
         included. Keys that the origin owns itself are walked around the ring in the paper's pseudocode and are counted so; \
         the machine answers them itself (last column: without them).",
        if list == 1 {
            ": fingers alone"
        } else {
            ": a look-up ends as soon as the key lies between two entries of a list"
        }
    );
    lab.report.table(&about, &table);
}

fn mean_of(published: &Forwards, list: usize) -> f64 {
    if list == 1 { published.fingers.0 } else { published.lists }
}

fn join(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

fn distribution(lab: &mut Lab, results: &[Paths]) {
    let at = |list: usize| results.iter().find(|paths| paths.list == list && paths.exponent == 12);
    let (Some(fingers), Some(lists)) = (at(1), at(20)) else { return };
    let mut table = Table::new(&["forwards", "r = 1", "re-run", "r = 20", "re-run"]);
    for forwards in 0..DISTRIBUTION[0].len() {
        let mut cells = vec![forwards.to_string()];
        for (paths, published) in [fingers, lists].iter().zip(&DISTRIBUTION) {
            let (ours, theirs) = (paths.forwards.part(forwards), published[forwards]);
            cells.extend([format!("{ours:.4}"), format!("{theirs:.4}")]);
            // Three standard deviations of a count among so many, and what two rings differ by.
            let noise = 3.0 * (theirs.max(1e-4) / paths.forwards.total() as f64).sqrt() + 0.01;
            let row = format!("r = {}, {forwards} forwards", paths.list);
            lab.report.require(&row, "part of the look-ups", ours, Bound::Near(theirs, noise));
        }
        table.row(cells);
    }
    lab.report.table("How the forwards are distributed among 2^12 members:", &table);
}
