//! A network that is cut in two for ten minutes, and healed.

use std::time::Duration;

use super::truth::Order;
use crate::lab::Lab;
use crate::progress::Progress;
use crate::proto::ring::Settings;
use crate::report::{Bound, Table, short, two};
use crate::sim::ring::world::World;

const CUT: Duration = Duration::from_secs(600);
/// Looked at so often a period.
const LOOKS: u32 = 12;

#[derive(Default)]
struct Outcome {
    members: usize,
    circles_while_cut: usize,
    lost: usize,
    /// In periods of merging.
    one_circle: Option<f64>,
    lists_right: Option<f64>,
}

pub fn run(lab: &mut Lab) {
    let runs = lab.size(20, 5);
    let sizes: &[usize] = if lab.is_ci { &[256] } else { &[64, 256, 1000] };
    let cells: Vec<(usize, u64)> = sizes
        .iter()
        .flat_map(|&members| (0..runs).map(move |run| (members, run)))
        .map(|(members, run)| (members, lab.seed_of("halves", run)))
        .collect();
    let results = lab.each("halves", &cells, measure);
    let mut table = Table::new(&[
        "members",
        "runs",
        "circles while cut",
        "one circle after, periods: mean",
        "longest",
        "lists right after, periods: mean",
        "longest",
        "members gone",
    ]);
    for &members in sizes {
        let outcomes: Vec<&Outcome> = results.iter().filter(|outcome| outcome.members == members).collect();
        let column = |of: fn(&Outcome) -> Option<f64>| -> (f64, f64) {
            let values = || outcomes.iter().map(|outcome| of(outcome).unwrap_or(f64::INFINITY));
            (values().sum::<f64>() / outcomes.len() as f64, values().fold(0.0, f64::max))
        };
        let (circle, lists) = (column(|outcome| outcome.one_circle), column(|outcome| outcome.lists_right));
        let circles = outcomes.iter().map(|outcome| outcome.circles_while_cut).max().unwrap_or_default();
        let gone: usize = outcomes.iter().map(|outcome| outcome.lost).sum();
        table.row([
            members.to_string(),
            outcomes.len().to_string(),
            circles.to_string(),
            two(circle.0),
            two(circle.1),
            two(lists.0),
            two(lists.1),
            short(gone as f64),
        ]);
        let row = format!("N = {members}");
        lab.report.require(&row, "circles while cut", circles as f64, Bound::Near(2.0, 0.0));
        lab.report.require(&row, "periods until one circle", circle.1, Bound::AtMost(5.0));
        lab.report.require(&row, "periods until lists are right", lists.1, Bound::AtMost(20.0));
        lab.report.require(&row, "members gone", gone as f64, Bound::AtMost(0.0));
    }
    let about = format!(
        "Every second member, by chance, hears only its own half for ten minutes; nobody dies. Then the network is whole \
         again. Periods are those in which a member looks for another ring, 60 s; r = 16, stabilise every 10 s. Looked at \
         {LOOKS} times a period."
    );
    lab.report.table(&about, &table);
}

fn measure(&(members, seed): &(usize, u64), progress: &mut Progress) -> Outcome {
    let mut world = World::ideal(members, Settings::default(), Duration::from_millis(50), seed);
    world.run_for(Duration::from_secs(60));
    let parts = (0..members).map(|_| world.random.below(2) as u8).collect();
    world.network.split(parts);
    world.run_for(CUT);
    let mut outcome =
        Outcome { members, circles_while_cut: Order::of(&world).circles(&world).0, ..Outcome::default() };
    world.network.split(Vec::new());
    let (healed, period) = (world.now(), world.settings.merge_every);
    for look in 0..=40 * LOOKS {
        world.run_until(healed + look * period / LOOKS);
        let order = Order::of(&world);
        let periods = f64::from(look) / f64::from(LOOKS);
        let is_one = order.circles(&world) == (1, 0) && order.len() == members;
        let are_right = is_one && order.lists_right(&world) == 1.0;
        for (is, since) in [(is_one, &mut outcome.one_circle), (are_right, &mut outcome.lists_right)] {
            *since = if is { since.or(Some(periods)) } else { None };
        }
        progress.at(periods / 40.0);
    }
    outcome.lost = members - Order::of(&world).len();
    outcome
}
