//! A small ring that has grown by joins, all at once and through one member, to look at.

use std::time::Duration;

use super::truth::Order;
use crate::lab::Lab;
use crate::proto::ring::Settings;
use crate::report::{Bound, Table, percent};
use crate::sim::ring::world::World;
use crate::wire::ring::Place;

const MEMBERS: u32 = 16;

pub fn run(lab: &mut Lab) {
    let settings = Settings { list: 3, ..Settings::default() };
    let mut world = World::new(settings, Duration::from_millis(50), lab.seed_of("small", 0));
    let places: Vec<_> = (0..MEMBERS).map(|number| spread(&mut world, number)).collect();
    let all: Vec<_> = places.into_iter().map(|place| world.add(place)).collect();
    world.create(all[0]);
    all[1..].iter().for_each(|&index| world.join(index, &all[..1]));
    world.run_for(Duration::from_secs(600));
    let order = Order::of(&world);
    let mut table = Table::new(&["members", "first successors right", "predecessors right", "lists right"]);
    let parts =
        [order.first_successors_right(&world), order.predecessors_right(&world), order.lists_right(&world)];
    table.row([order.len().to_string()].into_iter().chain(parts.map(percent)));
    lab.report.require("16 members", "members", order.len() as f64, Bound::AtLeast(f64::from(MEMBERS)));
    let worst = parts.into_iter().fold(1.0, f64::min);
    lab.report.require("16 members", "part that is right", worst, Bound::AtLeast(1.0));
    let about = "One member, and 15 that join through it at the same instant, r = 3, after ten minutes:";
    lab.report.table(about, &table);
    crate::pictures::small_ring::draw(lab, &world);
}

/// By chance within its part of the circle, so that one can tell all of them apart.
fn spread(world: &mut World, number: u32) -> Place {
    let mut bytes = world.random_place().to_bytes();
    bytes[0] = (number * 256 / MEMBERS) as u8 + bytes[0] % 11;
    Place::from_bytes(bytes)
}
