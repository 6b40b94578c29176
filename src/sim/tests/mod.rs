//! What whole nodes do together, with several seeds each.

mod connect;
mod finding;
mod model;
mod nat;
mod noderelay;
mod reach;
mod scale;
mod sending;
mod servers;
mod transport;
mod trouble;

use std::net::SocketAddr;
use std::time::Duration;

use super::network::{ComputerId, ProgramId};
use super::world::{App, World, reader};
use crate::config::Config;
use crate::error::CloseReason;
use crate::event::{Event, RendezvousNews};
use crate::id::ConId;

const SERVER: &str = "198.51.100.1:8000";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs a test with each of `count` seeds, with as many as the environment says, or with the one that it names.
fn with_seeds(count: u64, test: impl Fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    match number("P2POLL_SIM_SEED") {
        Some(seed) => test(seed),
        None => (1..=number("P2POLL_SIM_SEEDS").unwrap_or(count)).for_each(test),
    }
}

/// The address of the nth computer of a test.
fn ip(n: usize) -> String {
    format!("203.0.{}.{}", n / 250, n % 250 + 1)
}

fn addr(n: usize) -> SocketAddr {
    SocketAddr::new(ip(n).parse().unwrap(), 50500)
}

/// A node that goes by the defaults.
fn config() -> Config {
    Config::new().port(50500).rendezvous(SERVER)
}

/// A node that knows nobody.
fn alone() -> Config {
    Config::new().port(50500)
}

/// A world with the server of [`SERVER`].
fn with_server(seed: u64) -> (World, ComputerId, ProgramId) {
    let mut world = World::new(seed);
    let computer = world.computer("198.51.100.1");
    let server = world.server(computer, 8000);
    (world, computer, server)
}

/// Nodes on computers of their own, numbered from 0.
fn nodes(world: &mut World, count: usize, config: impl Fn(usize) -> Config) -> Vec<ProgramId> {
    (0..count)
        .map(|n| {
            let computer = world.computer(&ip(n));
            world.peer(computer, config(n))
        })
        .collect()
}

/// Two nodes of which the second has dialled the first.
fn pair(seed: u64, first: Config, app: App, second: Config) -> (World, [ProgramId; 2], [ComputerId; 2]) {
    let mut world = World::new(seed);
    let computers = [world.computer(&ip(0)), world.computer(&ip(1))];
    let a = world.peer_with(computers[0], first, app);
    let b = world.peer_with(computers[1], second, reader());
    world.act(b, |node, now| node.connect(&addr(0).to_string(), now)).unwrap();
    assert!(world.run_until(secs(2), |world| world.count(a) == 1 && world.count(b) == 1));
    (world, [a, b], computers)
}

fn close_reasons(world: &mut World, id: ProgramId) -> Vec<CloseReason> {
    let why = |event| if let Event::Closed { why, .. } = event { Some(why) } else { None };
    world.events(id).into_iter().filter_map(why).collect()
}

fn news(world: &mut World, id: ProgramId, of: &str) -> Vec<RendezvousNews> {
    let news = |event| match event {
        Event::Rendezvous { server, news } if &*server == of => Some(news),
        _ => None,
    };
    world.events(id).into_iter().filter_map(news).collect()
}

fn only_con(world: &mut World, id: ProgramId) -> ConId {
    let cons = world.cons(id);
    assert_eq!(cons.len(), 1, "{cons:?}");
    cons[0]
}
