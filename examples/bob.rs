//! Bob says "test" once a second to everybody whom he is connected to. See `alice` for what to type.

use std::error::Error;
use std::time::{Duration, Instant};

use p2poll::{Config, Event};

const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();

    let (server, stay) = arguments()?;
    let mut bob = Config::new().rendezvous(server).start()?;
    let end = stay.map(|stay| now() + stay);
    let mut next = now();
    while end.is_none_or(|end| now() < end) {
        if now() >= next {
            next = now() + SECOND;
            for con in bob.connections() {
                if let Err(why) = con.send_line("test") {
                    eprintln!("bob: {} does not hear me: {why}", con.id());
                }
            }
        }
        for event in bob.events() {
            tell(&event);
        }
        // It returns early when something happens, and the end may be late by what is left of a second.
        bob.poll(Some(next.saturating_duration_since(now())))?;
    }
    // Takes back the registration, and lets what is queued go out.
    bob.finish(Duration::from_secs(3))?;
    Ok(())
}

/// What a person who tries this wants to know.
fn tell(event: &Event) {
    match event {
        Event::Connected { con, peer, .. } => eprintln!("bob: {con} connected: {peer}"),
        Event::Closed { con, why } => eprintln!("bob: {con} gone: {why}"),
        Event::Rendezvous { server, news } => eprintln!("bob: rendezvous server {server}: {news:?}"),
        _ => {}
    }
}

/// The server, and how long to stay; without end if nobody says so.
fn arguments() -> Result<(String, Option<Duration>), &'static str> {
    const USAGE: &str = "usage: bob [--rendezvous HOST:PORT] [--seconds N]";
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
