//! Alice prints what she hears. She and Bob find each other through a rendezvous server; type in three terminals:
//!
//! ```text
//! cargo run --features cli --bin p2poll -- rendezvous --listen 127.0.0.1:8000
//! cargo run --example alice
//! cargo run --example bob
//! ```
//!
//! A server elsewhere: `cargo run --example alice -- --rendezvous rv.example.org:8000`. Ctrl-C ends her in the middle
//! of whatever she does, and the server lists her until it notices; with `--seconds 60` she takes her leave by then.

use std::error::Error;
use std::time::{Duration, Instant};

use p2poll::{Config, Event};

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();

    let (server, stay) = arguments()?;
    let mut alice = Config::new().rendezvous(server).start()?;
    let end = stay.map(|stay| now() + stay);
    while end.is_none_or(|end| now() < end) {
        for con in alice.connections() {
            for reply in con.replies() {
                println!("{reply}");
            }
        }
        for event in alice.events() {
            tell(&event);
        }
        alice.poll(end.map(|end| end.saturating_duration_since(now())))?;
    }
    // Takes back the registration, and lets what is queued go out.
    alice.finish(Duration::from_secs(3))?;
    Ok(())
}

/// What a person who tries this wants to know.
fn tell(event: &Event) {
    match event {
        Event::Connected { con, peer, .. } => eprintln!("alice: {con} connected: {peer}"),
        Event::Closed { con, why } => eprintln!("alice: {con} gone: {why}"),
        Event::Rendezvous { server, news } => eprintln!("alice: rendezvous server {server}: {news:?}"),
        _ => {}
    }
}

/// The server, and how long to stay; without end if nobody says so.
fn arguments() -> Result<(String, Option<Duration>), &'static str> {
    const USAGE: &str = "usage: alice [--rendezvous HOST:PORT] [--seconds N]";
    let (mut server, mut stay) = ("127.0.0.1:8000".into(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        match (name.as_str(), arguments.next()) {
            ("--rendezvous", Some(value)) => server = value,
            ("--seconds", Some(value)) => {
                // More than that an `Instant` need not be able to count.
                stay = Some(Duration::from_secs(value.parse::<u32>().map_err(|_| USAGE)?.into()));
            }
            _ => return Err(USAGE),
        }
    }
    Ok((server, stay))
}

#[expect(clippy::disallowed_methods, reason = "the loop is this program's, and so is its clock")]
fn now() -> Instant {
    Instant::now()
}
