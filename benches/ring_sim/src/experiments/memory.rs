//! How much memory one member's machine needs.

use crate::allocations;
use crate::proto::ring::Ring;
use crate::sim::ring::world::World;

/// So many are looked at.
const SAMPLE: usize = 1000;

/// The mean of some, in bytes: what comes free when a machine is replaced by one that has done nothing yet. The world is of no
/// use afterwards.
pub fn of_a_machine(world: &mut World) -> usize {
    let (mut freed, mut count) = (0, 0);
    for _ in 0..SAMPLE {
        let Some(index) = world.random_member() else { break };
        let (before, place) = (allocations::in_use(), world.place(index));
        world.add(place);
        freed += before.saturating_sub(allocations::in_use());
        count += 1;
    }
    size_of::<Ring>() + freed / count.max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::ring::Settings;

    /// A list of 32 alone has 1 KB.
    #[test]
    fn what_a_machine_holds_counts() {
        let of = |list: usize| {
            let settings = Settings { list, ..Settings::default() };
            let mut world = World::ideal(2000, settings, Duration::from_millis(50), 1);
            of_a_machine(&mut world)
        };
        // Other tests allocate at the same time: nothing finer can be said.
        assert!(of(32) > size_of::<Ring>());
    }
}
