//! Rings that grow and work on a bad network: packets that are lost, ways that are long, members taken for dead that are not,
//! pairs that can not talk to each other, members that nobody can dial.
//!
//! Li et al. (INFOCOM 2005) had 4 to 5 % of pairs cut, and needed an oracle for joins; Freedman et al. (WORLDS 2005) saw 2.3 %.

use std::time::Duration;

use crate::lab::Lab;
use crate::progress::Progress;
use crate::proto::ring::{Event, How, Settings};
use crate::report::{Bound, Table, percent, short};
use crate::sim::ring::queue::Index;
use crate::sim::ring::world::World;

const MEMBERS: u32 = 256;
const MS: Duration = Duration::from_millis(1);
/// Between two joins.
const JOIN_EVERY: Duration = Duration::from_millis(500);
/// Nobody is told to join through one member alone, which might be one that it can not talk to.
const SEEDS: usize = 3;

#[derive(Clone, Copy)]
struct Trouble {
    name: &'static str,
    /// One way, in milliseconds.
    delay: [u32; 2],
    stalled: f64,
    /// How long, in milliseconds.
    stall: [u32; 2],
    cut_pairs: f64,
    undialable: f64,
    /// So many times a second somebody is told that the way to a neighbour is gone.
    suspicions: f64,
}

const QUIET: Trouble = Trouble {
    name: "none",
    delay: [50, 50],
    stalled: 0.0,
    stall: [200, 1000],
    cut_pairs: 0.0,
    undialable: 0.0,
    suspicions: 0.0,
};

const ALL: [Trouble; 13] = [
    QUIET,
    Trouble { name: "5 % of the messages stall", stalled: 0.05, ..QUIET },
    Trouble { name: "10 % of the messages stall", stalled: 0.10, ..QUIET },
    Trouble { name: "20 % of the messages stall", stalled: 0.20, ..QUIET },
    Trouble { name: "1 % stall for 3 to 10 s", stalled: 0.01, stall: [3000, 10_000], ..QUIET },
    Trouble { name: "delays of 10 ms to 2 s", delay: [10, 2000], ..QUIET },
    Trouble { name: "one false suspicion a second", suspicions: 1.0, ..QUIET },
    Trouble { name: "2.3 % of the pairs cut", cut_pairs: 0.023, ..QUIET },
    Trouble { name: "5 % of the pairs cut", cut_pairs: 0.05, ..QUIET },
    Trouble { name: "30 % can not be dialled", undialable: 0.3, ..QUIET },
    Trouble { name: "60 % can not be dialled", undialable: 0.6, ..QUIET },
    Trouble { name: "90 % can not be dialled", undialable: 0.9, ..QUIET },
    Trouble {
        name: "10 % stall, 2.3 % cut, 60 % not dialled",
        stalled: 0.10,
        cut_pairs: 0.023,
        undialable: 0.6,
        ..QUIET
    },
];

#[derive(Default)]
struct Outcome {
    joined: usize,
    /// Members that saw no successor alive, and came back.
    lost: usize,
    look_ups: usize,
    right: usize,
    wrong: usize,
    /// In seconds.
    took: Vec<f64>,
    messages: f64,
}

pub fn run(lab: &mut Lab) {
    let (look_ups, seed) = (lab.size(100_000, 10_000), lab.seed_of("trouble", 0));
    let results = lab.each("trouble", &ALL, |trouble, progress| measure(trouble, look_ups, seed, progress));
    let mut table = Table::new(&[
        "trouble",
        "joined of 256",
        "look-ups",
        "right",
        "wrong",
        "no answer",
        "median, s",
        "p99, s",
        "times that a member lost the ring",
        "messages a member and second",
    ]);
    for (trouble, outcome) in ALL.iter().zip(results) {
        let Outcome { joined, lost, look_ups, right, wrong, mut took, messages } = outcome;
        took.sort_by(f64::total_cmp);
        let quantile = |part: f64| took.get((part * took.len() as f64) as usize).copied().unwrap_or(f64::NAN);
        let part = right as f64 / look_ups as f64;
        table.row([
            trouble.name.to_string(),
            joined.to_string(),
            look_ups.to_string(),
            percent(part),
            wrong.to_string(),
            (look_ups - right - wrong).to_string(),
            short(quantile(0.5)),
            short(quantile(0.99)),
            lost.to_string(),
            short(messages),
        ]);
        lab.report.require(trouble.name, "joined", joined as f64, Bound::AtLeast(f64::from(MEMBERS)));
        // The rest is shown, and has no bound.
        if trouble.stalled == 0.0 && (trouble.cut_pairs > 0.0 || trouble.name == QUIET.name) {
            lab.report.require(
                trouble.name,
                "part of the look-ups that is right",
                part,
                Bound::AtLeast(0.999),
            );
        }
    }
    let about = format!(
        "One member, and {} that join it one after the other each through {SEEDS} members, r = 16, stabilise every 10 s; then \
         look-ups, 20 a second, between any two. A stall is 0.2 to 1 s where nothing else is said. The trouble is there \
         from the first join to the last look-up.",
        MEMBERS - 1
    );
    lab.report.table(&about, &table);
}

fn measure(trouble: &Trouble, look_ups: usize, seed: u64, progress: &mut Progress) -> Outcome {
    let mut world = World::new(Settings::default(), 50 * MS, seed);
    let range = |[from, to]: [u32; 2]| from * MS..to * MS;
    world.network.delay = range(trouble.delay);
    (world.network.stalled, world.network.stall) = (trouble.stalled, range(trouble.stall));
    world.network.cut_pairs = trouble.cut_pairs;
    world.keep_events();
    grow(&mut world, trouble);
    let mut outcome = Outcome { joined: members(&world), look_ups, ..Outcome::default() };
    let (messages, began) = (world.counts.messages, world.now());
    for number in 0..look_ups {
        let key = world.random_place();
        if let Some(origin) = world.random_member() {
            world.look_up(origin, key, How::Recursive);
        }
        go_on(&mut world, 50 * MS, trouble);
        if number % 1000 == 0 {
            progress.at(number as f64 / look_ups as f64);
            outcome.lost += lost(&mut world);
        }
    }
    let seconds = (world.now() - began).as_secs_f64();
    outcome.messages = (world.counts.messages - messages) as f64 / seconds / f64::from(MEMBERS);
    world.run_for(Duration::from_secs(20));
    outcome.lost += lost(&mut world);
    for ended in world.ended.drain(..) {
        outcome.right += usize::from(ended.is_right);
        outcome.wrong += usize::from(ended.outcome.is_ok() && !ended.is_right);
        outcome.took.push(ended.took.as_secs_f64());
    }
    outcome.joined = outcome.joined.min(members(&world));
    outcome
}

fn grow(world: &mut World, trouble: &Trouble) {
    for number in 0..MEMBERS {
        let place = world.random_place();
        let index = world.add(place);
        // Not the first: somebody has to be there.
        let is_undialable = number > 0 && f64::from(number % 100) < 100.0 * trouble.undialable;
        if is_undialable {
            world.network.set_undialable(index, true);
        }
        if number == 0 {
            world.create(index);
            continue;
        }
        let seeds: Vec<Index> = (0..SEEDS).filter_map(|_| world.random_member()).collect();
        world.join(index, &seeds);
        go_on(world, JOIN_EVERY, trouble);
    }
    (0..300).for_each(|_| go_on(world, Duration::from_secs(1), trouble));
}

/// With false suspicions as they come: of a neighbour that is well.
fn go_on(world: &mut World, time: Duration, trouble: &Trouble) {
    world.run_for(time);
    if crate::sim::ring::network::part(&mut world.random) < trouble.suspicions * time.as_secs_f64() {
        let Some(at) = world.random_member() else { return };
        let list = world.ring(at).neighbours().list().members().to_vec();
        let of = list.get(world.random.below(list.len())).and_then(|member| world.index_of(member.place));
        if let Some(of) = of {
            world.suspect(at, of);
        }
    }
}

fn members(world: &World) -> usize {
    (0..world.machines()).filter(|&index| world.is_member(index)).count()
}

fn lost(world: &mut World) -> usize {
    world.take_events().iter().filter(|(_, event)| matches!(event, Event::Lost)).count()
}
