//! What every member should know, by the driver's census.

use std::collections::HashMap;

use crate::sim::ring::queue::Index;
use crate::sim::ring::world::World;
use crate::wire::ring::Member;

/// All members in order.
pub struct Order {
    members: Vec<(Member, Index)>,
}

impl Order {
    pub fn of(world: &World) -> Self {
        Self { members: world.census.members().collect() }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whose first successor is the next member, as a part.
    pub fn first_successors_right(&self, world: &World) -> f64 {
        self.part(|position, index| {
            world.ring(index).neighbours().successor() == Some(self.following(position, 1))
        })
    }

    /// Whose list has the next r members and nobody else, as a part.
    pub fn lists_right(&self, world: &World) -> f64 {
        let length = world.settings.list.min(self.len().saturating_sub(1));
        self.part(|position, index| {
            let list = world.ring(index).neighbours().list().members();
            list.len() == length
                && list.iter().zip(1..).all(|(&member, steps)| member == self.following(position, steps))
        })
    }

    /// Whose predecessor is the member before it, as a part.
    pub fn predecessors_right(&self, world: &World) -> f64 {
        self.part(|position, index| {
            let before = self.following(position, self.len() - 1);
            world.ring(index).neighbours().predecessor() == Some(before)
        })
    }

    /// Into how many circles the first successors lead, and how many members are on none.
    pub fn circles(&self, world: &World) -> (usize, usize) {
        let positions: HashMap<Member, usize> =
            self.members.iter().map(|(member, _)| *member).zip(0..).collect();
        let next = |position: usize| {
            let (_, index) = self.members[position];
            let list = world.ring(index).neighbours().list().members();
            list.iter().find_map(|member| positions.get(member).copied())
        };
        // 0: not seen; else the walk that saw it first.
        let mut seen = vec![0; self.len()];
        let (mut circles, mut on_circles) = (0, 0);
        for walk in 1..=self.len() {
            let mut at = Some(walk - 1);
            while let Some(position) = at.filter(|&position| seen[position] == 0) {
                seen[position] = walk;
                at = next(position);
            }
            if let Some(start) = at.filter(|&position| seen[position] == walk) {
                circles += 1;
                on_circles += 1;
                let mut position = next(start);
                while let Some(on) = position.filter(|&on| on != start) {
                    on_circles += 1;
                    position = next(on);
                }
            }
        }
        (circles, self.len() - on_circles)
    }

    fn following(&self, position: usize, steps: usize) -> Member {
        self.members[(position + steps) % self.len()].0
    }

    fn part(&self, is_right: impl Fn(usize, Index) -> bool) -> f64 {
        let right =
            self.members.iter().enumerate().filter(|(position, (_, index))| is_right(*position, *index));
        right.count() as f64 / self.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::ring::Settings;

    fn world() -> World {
        let settings = Settings { list: 4, ..Settings::default() };
        World::ideal(32, settings, Duration::from_millis(50), 1)
    }

    #[test]
    fn an_ideal_ring_is_right() {
        let world = world();
        let order = Order::of(&world);
        assert_eq!((order.len(), order.circles(&world)), (32, (1, 0)));
        assert_eq!((order.first_successors_right(&world), order.lists_right(&world)), (1.0, 1.0));
        assert_eq!(order.predecessors_right(&world), 1.0);
    }

    #[test]
    fn whoever_is_gone_is_missed() {
        let mut world = world();
        world.crash(7);
        let order = Order::of(&world);
        assert_eq!(order.first_successors_right(&world), 30.0 / 31.0);
        assert_eq!(order.predecessors_right(&world), 30.0 / 31.0);
        assert_eq!(order.lists_right(&world), 27.0 / 31.0);
        assert_eq!(order.circles(&world), (1, 0), "the next of a list comes up");
    }

    #[test]
    fn two_rings_are_two_circles() {
        let mut world = world();
        world.network.split((0..32).map(|number| number % 2).collect());
        world.run_for(Duration::from_secs(600));
        assert_eq!(Order::of(&world).circles(&world), (2, 0));
    }

    #[test]
    fn one_whom_nobody_follows_is_on_no_circle() {
        let mut world = world();
        let place = world.random_place();
        let joiner = world.add(place);
        world.join(joiner, &[0]);
        // It is a member, and its predecessor does not know it yet.
        while !world.is_member(joiner) && world.step() {}
        assert_eq!(Order::of(&world).circles(&world), (1, 1));
    }
}
