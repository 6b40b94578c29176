//! Look-ups past members that drop what they should pass on, or say that every key is theirs.
//!
//! If one dishonest member on a path of h spoils a look-up, (1-f)^h of them come through (Castro et al., OSDI 2002).

use std::fmt;
use std::time::Duration;

use crate::lab::Lab;
use crate::progress::Progress;
use crate::proto::ring::{How, Settings};
use crate::report::{Bound, Table, percent, short};
use crate::sim::ring::queue::Index;
use crate::sim::ring::world::{Conduct, World};
use crate::tally::Tally;

const MEMBERS: usize = 1000;

#[derive(Clone, Copy)]
struct Cell {
    dishonest: f64,
    conduct: Conduct,
    how: How,
}

#[derive(Default)]
struct Outcome {
    right: usize,
    wrong: usize,
    look_ups: usize,
    path: Tally,
    messages: u64,
}

pub fn run(lab: &mut Lab) {
    let (look_ups, seed) = (lab.size(20_000, 4_000), lab.seed_of("liars", 0));
    let hows = [How::Recursive, How::Iterative, How::Verified];
    let mut cells: Vec<Cell> =
        hows.map(|how| Cell { dishonest: 0.0, conduct: Conduct::Honest, how }).into_iter().collect();
    for dishonest in [0.05, 0.10, 0.25] {
        for conduct in [Conduct::Drops, Conduct::Lies] {
            cells.extend(hows.map(|how| Cell { dishonest, conduct, how }));
        }
    }
    let results = lab.each("liars", &cells, |cell, progress| measure(cell, look_ups, seed, progress));
    // Whom a plain look-up meets when all are honest.
    let honest = results[0].path.clone();
    let mut table = Table::new(&[
        "dishonest",
        "they",
        "look-ups",
        "right",
        "(1-f)^h",
        "wrong answer taken",
        "no answer",
        "messages each",
    ]);
    for (cell, outcome) in cells.iter().zip(&results) {
        let Cell { dishonest, conduct, how } = *cell;
        let Outcome { right, wrong, look_ups, messages, .. } = *outcome;
        let part = |count: usize| count as f64 / look_ups as f64;
        let theory: f64 =
            (0..=honest.max()).map(|path| honest.part(path) * (1.0 - dishonest).powi(path as i32)).sum();
        table.row([
            percent(dishonest),
            Words(conduct).to_string(),
            name(how).to_string(),
            percent(part(right)),
            percent(theory),
            percent(part(wrong)),
            percent(part(look_ups - right - wrong)),
            short(messages as f64 / look_ups as f64),
        ]);
        if dishonest == 0.0 {
            lab.report.require(name(how), "right among honest members", part(right), Bound::AtLeast(1.0));
        }
    }
    let about = format!(
        "{MEMBERS} members, r = 16, {look_ups} look-ups a row by honest members. (1-f)^h is the mean over the paths h of plain \
         look-ups among honest members. Nothing here is promised: signatures protect what is stored, nobody its \
         being found."
    );
    lab.report.table(&about, &table);
}

fn measure(cell: &Cell, look_ups: usize, seed: u64, progress: &mut Progress) -> Outcome {
    let never = Duration::from_secs(3_600_000);
    let settings =
        Settings { stabilise_every: never, finger_every: never, merge_every: never, ..Settings::default() };
    let mut world = World::ideal(MEMBERS, settings, Duration::from_millis(50), seed);
    let mut honest: Vec<Index> = (0..world.machines()).collect();
    (1..honest.len()).rev().for_each(|last| honest.swap(last, world.random.below(last + 1)));
    let dishonest = honest.split_off(honest.len() - (cell.dishonest * MEMBERS as f64) as usize);
    dishonest.into_iter().for_each(|index| world.set_conduct(index, cell.conduct));
    let mut outcome = Outcome { look_ups, ..Outcome::default() };
    for number in 0..look_ups {
        let key = world.random_place();
        let origin = honest[world.random.below(honest.len())];
        world.look_up(origin, key, cell.how);
        world.run_for(Duration::from_millis(20));
        take(&mut world, &mut outcome);
        progress.at(number as f64 / look_ups as f64);
    }
    world.run_for(Duration::from_secs(20));
    take(&mut world, &mut outcome);
    outcome.messages = world.counts.messages;
    outcome
}

fn take(world: &mut World, outcome: &mut Outcome) {
    for ended in world.ended.drain(..) {
        outcome.right += usize::from(ended.is_right);
        outcome.wrong += usize::from(ended.outcome.is_ok() && !ended.is_right);
        if let Ok(found) = ended.outcome {
            outcome.path.add(found.hops.into());
        }
    }
}

struct Words(Conduct);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Conduct::Honest => "-",
            Conduct::Drops => "drop",
            Conduct::Lies => "lie",
        })
    }
}

fn name(how: How) -> &'static str {
    match how {
        How::Recursive => "plain",
        How::Iterative => "iterative",
        How::Verified => "verified",
    }
}
