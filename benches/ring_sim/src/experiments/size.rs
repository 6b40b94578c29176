//! What members think how many they are.

use std::time::Duration;

use crate::lab::Lab;
use crate::proto::ring::Settings;
use crate::report::{Bound, Table, percent, two};
use crate::sim::ring::world::World;

const MEMBERS: usize = 10_000;
const LISTS: [usize; 4] = [8, 16, 20, 32];

pub fn run(lab: &mut Lab) {
    let (rings, seed) = (lab.size(20, 5), lab.seed_of("size", 0));
    let results = lab.each("size", &LISTS, |&list, progress| {
        let mut estimates = Vec::new();
        for ring in 0..rings {
            let settings = Settings { list, ..Settings::default() };
            let world = World::ideal(MEMBERS, settings, Duration::from_millis(50), seed ^ ring << 8);
            estimates.extend((0..world.machines()).map(|index| {
                let size = world.ring(index).size();
                (size.members / MEMBERS as f64, size.error)
            }));
            progress.at((ring + 1) as f64 / rings as f64);
        }
        estimates
    });
    let mut table =
        Table::new(&["r", "mean / N", "standard deviation", "as the members say", "p1 / N", "p99 / N"]);
    for (list, mut estimates) in LISTS.into_iter().zip(results) {
        let count = estimates.len() as f64;
        let mean = estimates.iter().map(|estimate| estimate.0).sum::<f64>() / count;
        let variance = estimates.iter().map(|estimate| (estimate.0 - mean).powi(2)).sum::<f64>() / count;
        let said = estimates.iter().map(|estimate| estimate.1).sum::<f64>() / count;
        estimates.sort_by(|a, b| a.0.total_cmp(&b.0));
        let quantile = |part: f64| estimates[(part * count) as usize].0;
        table.row([
            list.to_string(),
            format!("{mean:.3}"),
            percent(variance.sqrt()),
            percent(said),
            two(quantile(0.01)),
            two(quantile(0.99)),
        ]);
        let row = format!("r = {list}");
        lab.report.require(&row, "mean estimate / N", mean, Bound::Near(1.0, 0.02));
        let deviation = 1.0 / (list as f64 - 2.0).sqrt();
        let bound = Bound::Near(deviation, 0.1 * deviation);
        lab.report.require(&row, "standard deviation of the estimate", variance.sqrt(), bound);
    }
    let about = format!("Each of {MEMBERS} members of {rings} ideal rings, by the density of its own list:");
    lab.report.table(&about, &table);
}
