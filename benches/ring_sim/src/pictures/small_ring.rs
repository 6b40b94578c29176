//! A small ring as its members know it: the circle, their first successors, and the fingers
//! of two of them. A finger that begins within the successor list is none: the list is nearer.

use std::f64::consts::TAU;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Area, COLOURS, Drawn, INK, picture, small, title};
use crate::lab::Lab;
use crate::sim::ring::queue::Index;
use crate::sim::ring::world::World;
use crate::wire::ring::Place;

const SIZE: (u32, u32) = (760, 560);
const CENTRE: (f64, f64) = (380.0, 300.0);
const RADIUS: f64 = 215.0;

pub fn draw(lab: &Lab, world: &World) {
    picture(lab, "small-ring", SIZE, |area| ring(area, world));
}

fn ring(area: &DrawingArea<SVGBackend<'_>, Shift>, world: &World) -> Drawn {
    let members: Vec<(Place, Index)> =
        world.census.members().map(|(member, index)| (member.place, index)).collect();
    area.draw(&Text::new(
        format!("{} members and whom they follow; the fingers of two, beyond their lists", members.len()),
        (110, 16),
        title(),
    ))?;
    area.draw(&Circle::new(whole(CENTRE), RADIUS as i32, INK.stroke_width(1)))?;
    for &(place, index) in &members {
        if let Some(first) = world.ring(index).neighbours().successor() {
            arc(area, place, first.place)?;
        }
    }
    let chosen = [(members.first(), COLOURS[0]), (members.get(members.len() / 3), COLOURS[1])];
    for (member, colour) in chosen {
        let Some(&(place, index)) = member else { continue };
        for finger in world.ring(index).fingers().members() {
            let (from, to) = (point(place, 0.97), point(finger.place, 0.965));
            area.draw(&PathElement::new([whole(from), whole(to)], colour.stroke_width(2)))?;
            arrow_head(area, from, to, colour)?;
        }
    }
    for &(place, index) in &members {
        let colour = chosen
            .iter()
            .find(|(member, _)| member.is_some_and(|&(_, other)| other == index))
            .map_or(INK, |(_, colour)| *colour);
        area.draw(&Circle::new(whole(point(place, 1.0)), 6, colour.filled()))?;
        label(area, place)?;
    }
    Ok(())
}

/// The first four digits of its place, outside of the circle.
fn label(area: &Area<'_>, place: Place) -> Drawn {
    let (x, y) = point(place, 1.11);
    let text: String = place.to_bytes()[..2].iter().map(|byte| format!("{byte:02x}")).collect();
    area.draw(&Text::new(text, (x as i32 - 13, y as i32 - 6), small()))?;
    Ok(())
}

/// From a member to its first successor, along the circle.
fn arc(area: &Area<'_>, from: Place, to: Place) -> Drawn {
    let end = from.part_of_circle() + from.distance(to).part_of_circle();
    arrow_head(area, polar(end - 0.013, 1.0), polar(end - 0.005, 1.0), INK)
}

fn arrow_head(area: &Area<'_>, from: (f64, f64), to: (f64, f64), colour: RGBColor) -> Drawn {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy).max(1e-9);
    let (ux, uy) = (dx / length * 10.0, dy / length * 10.0);
    let corner = |side: f64| whole((to.0 - ux - side * uy * 0.4, to.1 - uy + side * ux * 0.4));
    area.draw(&Polygon::new([whole(to), corner(1.0), corner(-1.0)], colour.filled()))?;
    Ok(())
}

fn point(place: Place, radius: f64) -> (f64, f64) {
    polar(place.part_of_circle(), radius)
}

/// Clockwise from the top, in whole turns.
fn polar(turn: f64, radius: f64) -> (f64, f64) {
    let (sine, cosine) = (turn * TAU).sin_cos();
    (CENTRE.0 + radius * RADIUS * sine, CENTRE.1 - radius * RADIUS * cosine)
}

fn whole((x, y): (f64, f64)) -> (i32, i32) {
    (x.round() as i32, y.round() as i32)
}
