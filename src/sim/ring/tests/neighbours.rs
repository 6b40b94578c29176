//! Neighbours die, a node is cut off, a node comes back at once.

use std::time::Duration;

use super::super::monitor::{is_ideal, why_not_ideal};
use super::super::queue::Index;
use super::super::world::World;
use crate::proto::ring::{Event, How, Settings, Standing};
use crate::wire::ring::{Life, Place};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

const R: usize = 8;
const MEMBERS: usize = 128;

fn ring(seed: u64) -> World {
    let settings = Settings { list: R, ..Settings::default() };
    let mut world = World::ideal(MEMBERS, settings, 50 * MS, seed);
    // So that round trips are known.
    world.run_for(60 * SECOND);
    world
}

/// So many look-ups from everywhere; how many had no right answer.
fn failed_look_ups(world: &mut World, count: usize) -> usize {
    world.ended.clear();
    for _ in 0..count {
        let key = world.random_place();
        let origin = world.random_member().expect("there are members");
        world.look_up(origin, key, How::Recursive).expect("there is room");
        world.run_for(10 * MS);
    }
    world.run_for(20 * SECOND);
    assert_eq!(world.ended.len(), count);
    world.ended.iter().filter(|ended| !ended.is_right).count()
}

fn crash_in_a_row(world: &mut World, first: Index, count: usize) {
    (0..count as Index).for_each(|n| world.crash((first + n) % MEMBERS as Index));
}

#[test]
fn r_less_one_neighbours_die_and_no_look_up_fails_after_it_was_seen() {
    for seed in 0..4 {
        let mut world = ring(seed);
        world.keep_events();
        crash_in_a_row(&mut world, 40, R - 1);
        // One period, and a wait of three round trips for each of the dead.
        world.run_for(30 * SECOND);
        assert_eq!(failed_look_ups(&mut world, 2000), 0, "seed {seed}");
        world.run_for(SECOND * 15 * R as u32);
        assert!(is_ideal(&world), "seed {seed}: {:?}", why_not_ideal(&world));
        assert!(!world.take_events().iter().any(|(_, event)| *event == Event::Lost), "nobody was lost");
    }
}

#[test]
fn r_neighbours_die_and_who_is_lost_says_so_and_comes_back() {
    for seed in 0..4 {
        let mut world = ring(seed);
        world.keep_events();
        crash_in_a_row(&mut world, 40, R);
        world.run_for(60 * SECOND);
        let events = world.take_events();
        let of = |wanted: &Event| events.iter().position(|(who, event)| *who == 39 && event == wanted);
        let back = Event::Joined { me: world.ring(39).me() };
        let (lost, back) = (of(&Event::Lost).expect("it says so"), of(&back).expect("it comes back"));
        assert!(lost < back, "seed {seed}");
        // The others were not taken down with it.
        assert_eq!(events.iter().filter(|(_, event)| *event == Event::Lost).count(), 1, "seed {seed}");
        world.run_for(SECOND * 15 * 2 * R as u32);
        assert!(is_ideal(&world), "seed {seed}: {:?}", why_not_ideal(&world));
        assert_eq!(failed_look_ups(&mut world, 500), 0, "seed {seed}");
    }
}

#[test]
fn who_was_cut_off_for_an_hour_answers_nothing_and_comes_back() {
    for seed in 0..2 {
        let mut world = ring(seed);
        world.keep_events();
        let mut parts = vec![0; MEMBERS];
        parts[17] = 1;
        world.network.split(parts);
        world.run_for(600 * SECOND);
        assert_eq!(world.ring(17).standing(), Standing::Lost, "seed {seed}");
        // By itself it finds nothing, and does not say that all is its own.
        let query = world.look_up(17, Place::of_key(b"anything"), How::Recursive);
        world.run_for(20 * SECOND);
        let answer = world.ended.iter().find(|ended| ended.origin == 17).expect("every look-up ends");
        assert!(query.is_some() && answer.outcome.is_err(), "{answer:?}");
        // Meanwhile the others close the gap.
        assert!(is_ideal(&world), "seed {seed}: {:?}", why_not_ideal(&world));
        world.run_for(3000 * SECOND);
        world.network.split(Vec::new());
        world.run_for(60 * SECOND);
        assert!(world.is_member(17), "seed {seed}");
        world.run_for(SECOND * 15 * 2 * R as u32);
        assert!(is_ideal(&world), "seed {seed}: {:?}", why_not_ideal(&world));
    }
}

#[test]
fn the_same_id_again_within_a_round_trip_is_somebody_new() {
    for seed in 0..8 {
        let mut world = ring(seed);
        let old = world.ring(60).me();
        // While what it has asked and been asked is under way.
        world.run_for(SECOND * 3 + MS * 37 * seed as u32);
        let waiting = world.look_up(60, Place::of_key(b"old"), How::Recursive);
        world.run_for(60 * MS);
        world.restart(60, &[3, 90]);
        let new = world.ring(60).me();
        assert!(waiting.is_some() && new.place == old.place && new.life != old.life && new.life != Life::ANY);
        world.run_for(60 * MS);
        // It is in when it has been let in, not before.
        assert_eq!(world.ring(60).standing(), Standing::Joining, "seed {seed}");
        world.run_for(60 * SECOND);
        assert!(world.is_member(60), "seed {seed}");
        assert_eq!(failed_look_ups(&mut world, 300), 0, "seed {seed}");
        world.run_for(SECOND * 15 * R as u32);
        assert!(is_ideal(&world), "seed {seed}: {:?}", why_not_ideal(&world));
        // Nobody has the old life in his list, which is_ideal says; and no answer to it has become one of the new.
        assert!(!world.ended.iter().any(|ended| ended.key == Place::of_key(b"old")), "seed {seed}");
    }
}

#[test]
fn two_rings_that_the_network_had_parted_become_one() {
    for seed in 0..2 {
        let mut world = ring(seed);
        let parts = (0..MEMBERS).map(|_| world.random.below(2) as u8).collect();
        world.network.split(parts);
        world.run_for(600 * SECOND);
        world.network.split(Vec::new());
        world.run_for(5 * 60 * SECOND);
        assert!(is_one_cycle(&world), "seed {seed}");
        world.run_for(15 * 60 * SECOND);
        assert!(is_ideal(&world), "seed {seed}: {:?}", why_not_ideal(&world));
    }
}

/// Each member's first successor is the next one.
fn is_one_cycle(world: &World) -> bool {
    let members: Vec<_> = world.census.members().collect();
    members.iter().enumerate().all(|(position, (_, index))| {
        let next = members[(position + 1) % members.len()].0;
        world.ring(*index).neighbours().successor() == Some(next)
    })
}

#[test]
fn fifty_join_at_once_through_one_and_through_all() {
    for seed in 0..2 {
        let mut world = ring(seed);
        let joiners: Vec<Index> = (0..50)
            .map(|number| {
                let place = world.random_place();
                let index = world.add(place);
                let through = if seed == 0 { 5 } else { number };
                world.join(index, &[through]);
                index
            })
            .collect();
        world.run_for(30 * SECOND);
        assert!(joiners.iter().all(|&joiner| world.is_member(joiner)), "seed {seed}");
        world.run_for(SECOND * 15 * 2 * R as u32);
        assert!(is_ideal(&world), "seed {seed}: {:?}", why_not_ideal(&world));
    }
}

#[test]
fn who_leaves_is_missed_at_once() {
    let mut world = ring(1);
    (30..33).for_each(|index| world.leave(index));
    world.run_for(2 * SECOND);
    // The one before them has its new successor before any period has ended.
    let next = world.ring(33).me();
    assert_eq!(world.ring(29).neighbours().successor(), Some(next));
    assert_eq!(failed_look_ups(&mut world, 300), 0);
}

#[test]
fn the_size_is_estimated_within_its_error() {
    let members = 4000;
    let settings = Settings { list: 16, ..Settings::default() };
    let world = World::ideal(members, settings, MS, 7);
    let sizes: Vec<f64> =
        (0..members).map(|n| world.ring(n as Index).size().members / members as f64).collect();
    let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
    let variance = sizes.iter().map(|size| (size - mean).powi(2)).sum::<f64>() / sizes.len() as f64;
    let error = world.ring(0).size().error;
    println!("mean {mean:.3}, deviation {:.3}, said {error:.3}", variance.sqrt());
    assert!((mean - 1.0).abs() < 0.05, "mean {mean}");
    assert!((variance.sqrt() / error - 1.0).abs() < 0.1, "deviation {} said {error}", variance.sqrt());
    // All are known in a ring that is small enough.
    let world = World::ideal(9, Settings::default(), MS, 7);
    assert_eq!((world.ring(0).size().members, world.ring(0).size().error), (9.0, 0.0));
}
