//! The experiments of Chord's paper, on p2poll's own machine under a virtual clock.
//!
//! `cargo run --release --manifest-path benches/ring_sim/Cargo.toml`

#[allow(dead_code, unused_imports)]
#[path = "../../../src/identity/mod.rs"]
mod identity;
#[allow(dead_code, unused_imports)]
mod proto;
#[allow(dead_code)]
#[path = "../../../src/random.rs"]
mod random;
#[allow(dead_code)]
mod sim;
#[allow(dead_code)]
#[path = "../../../src/time.rs"]
mod time;
#[allow(dead_code, unused_imports)]
mod wire;

use std::time::Duration;

use proto::ring::{How, Settings};
use sim::ring::world::World;

fn main() {
    let hours = Duration::from_secs(3_600_000);
    for list in [1, 20] {
        for exponent in 3..13 {
            let settings =
                Settings { list, stabilise_every: hours, finger_every: hours, ..Settings::default() };
            let mut world = World::ideal(1 << exponent, settings, Duration::from_millis(50), exponent);
            let (mut hops, mut wrong, mut own) = (0u64, 0, 0);
            let count = 20_000;
            for _ in 0..count {
                let key = world.random_place();
                if let Some(origin) = world.random_member() {
                    world.look_up(origin, key, How::Recursive);
                }
                while world.ended.is_empty() && world.step() {}
                let Some(ended) = world.ended.pop() else { continue };
                match ended.outcome {
                    Ok(found) if ended.is_right => {
                        hops += u64::from(found.hops);
                        own += u64::from(found.hops == 0);
                    }
                    _ => wrong += 1,
                }
            }
            println!(
                "r {list} N 2^{exponent}: mean path {:.3}, own {own}, wrong {wrong}",
                hops as f64 / f64::from(count)
            );
        }
    }
}
