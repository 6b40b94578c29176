//! How evenly keys lie on members, each of which has virtual ones (SIGCOMM 2001, section 6.1, figures 8 and 9).

use std::time::Duration;

use crate::lab::Lab;
use crate::progress::Progress;
use crate::proto::ring::Settings;
use crate::published::LOAD;
use crate::report::{Bound, Table, two};
use crate::sim::ring::queue::Index;
use crate::sim::ring::world::World;
use crate::tally::Tally;
use crate::wire::ring::{Place, within};

const MEMBERS: usize = 10_000;

struct Load {
    keys: Tally,
    /// That nobody claims, or more than one.
    unclaimed: usize,
}

pub fn run(lab: &mut Lab) {
    let keys = lab.size(1_000_000, 100_000);
    let (virtuals, seed) = (LOAD.map(|(virtuals, _)| virtuals), lab.seed_of("load", 0));
    let results = lab.each("load", &virtuals, |&virtuals, progress| measure(virtuals, keys, seed, progress));
    let mut table = Table::new(&[
        "virtual members each",
        "mean",
        "p1",
        "expected",
        "p99",
        "expected",
        "largest",
        "p99 / mean",
        "re-run with 10^6 keys: p1, p99, largest",
    ]);
    for ((virtuals, [p1, p99, largest]), Load { keys: tally, unclaimed }) in LOAD.iter().zip(&results) {
        let mean = keys as f64 / MEMBERS as f64;
        let expected = [quantile(*virtuals, mean, 0.01), quantile(*virtuals, mean, 0.99)];
        let measured = [tally.quantile(0.01), tally.quantile(0.99)];
        table.row([
            virtuals.to_string(),
            two(tally.mean()),
            measured[0].to_string(),
            expected[0].to_string(),
            measured[1].to_string(),
            expected[1].to_string(),
            tally.max().to_string(),
            two(measured[1] as f64 / mean),
            format!("{p1}, {p99}, {largest}"),
        ]);
        let row = format!("{virtuals} virtual members each");
        lab.report.require(&row, "keys claimed by none or several", *unclaimed as f64, Bound::AtMost(0.0));
        for (what, measured, expected) in
            [("p1", measured[0], expected[0]), ("p99", measured[1], expected[1])]
        {
            let target = expected as f64;
            let bound = Bound::Near(target, (0.05 * target).max(1.0));
            lab.report.require(&row, what, measured as f64, bound);
        }
        if !lab.is_ci {
            for (what, measured, target) in
                [("p1 of the re-run", measured[0], *p1), ("p99 of the re-run", measured[1], *p99)]
            {
                let target = target as f64;
                let bound = Bound::Near(target, (0.05 * target).max(1.0));
                lab.report.require(&row, what, measured as f64, bound);
            }
        }
    }
    let about = format!(
        "{MEMBERS} members, {keys} keys, each counted for the member whose machine claims its place: from after its \
         predecessor up to itself. Expected: the arcs of v random places are Gamma distributed, so that the keys on them \
         are distributed as the negative binomial of size v."
    );
    lab.report.table(&about, &table);
}

fn measure(virtuals: usize, keys: usize, seed: u64, progress: &mut Progress) -> Load {
    let settings = Settings { list: 2, ..Settings::default() };
    let mut world =
        World::ideal(MEMBERS * virtuals, settings, Duration::from_millis(50), seed ^ virtuals as u64);
    let mut places: Vec<Place> = (0..keys).map(|_| world.random_place()).collect();
    places.sort_unstable();
    progress.at(0.5);
    let mut keys_of = vec![0; MEMBERS];
    let mut claimed = 0;
    // The machines' numbers are in the order of their places; which of them are one member's is chance.
    let order = shuffled(&mut world);
    for (position, index) in order.into_iter().enumerate() {
        let me = world.place(index);
        let Some(predecessor) = world.ring(index).neighbours().predecessor() else { continue };
        let count = keys_between(&places, predecessor.place, me);
        claimed += count;
        keys_of[position / virtuals] += count;
    }
    let mut tally = Tally::default();
    keys_of.iter().for_each(|&keys| tally.add(keys));
    Load { keys: tally, unclaimed: claimed.abs_diff(keys) }
}

fn keys_between(places: &[Place], from: Place, to: Place) -> usize {
    let up_to = |end: Place| places.partition_point(|&place| place <= end);
    let count = if from < to { up_to(to) - up_to(from) } else { places.len() - up_to(from) + up_to(to) };
    debug_assert_eq!(count, places.iter().filter(|&&place| within(from, place, to)).count());
    count
}

/// All machines, in any order (Fisher and Yates).
fn shuffled(world: &mut World) -> Vec<Index> {
    let mut order: Vec<Index> = (0..world.machines()).collect();
    (1..order.len()).rev().for_each(|last| order.swap(last, world.random.below(last + 1)));
    order
}

/// The smallest count that the negative binomial distribution of that size and mean does not exceed with that probability.
fn quantile(size: usize, mean: f64, part: f64) -> usize {
    let size = size as f64;
    let success = size / (size + mean);
    let (mut probability, mut so_far) = (success.powf(size), 0.0);
    for count in 0..1_000_000_u32 {
        so_far += probability;
        if so_far >= part {
            return count as usize;
        }
        probability *= (f64::from(count) + size) / f64::from(count + 1) * (1.0 - success);
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of size 1 it is the geometric distribution.
    #[test]
    fn quantiles_of_the_negative_binomial() {
        assert_eq!(quantile(1, 100.0, 0.01), 1);
        assert_eq!(quantile(1, 100.0, 0.99), 462);
        assert!((160..170).contains(&quantile(20, 100.0, 0.99)));
    }
}
