//! Bob says "test" once a second to everybody whom he is connected to. See `alice` for what to type.

use std::error::Error;
use std::time::{Duration, Instant};

use p2poll::{Config, Event};

const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();

    let mut bob = Config::new().rendezvous(rendezvous_argument()?).start()?;
    let mut next = now();
    loop {
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
        // It returns early when something happens.
        bob.poll(Some(next.saturating_duration_since(now())))?;
    }
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

fn rendezvous_argument() -> Result<String, &'static str> {
    const USAGE: &str = "usage: bob [--rendezvous HOST:PORT]";
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, ..) => Ok("127.0.0.1:8000".into()),
        (Some("--rendezvous"), Some(server), None) => Ok(server),
        _ => Err(USAGE),
    }
}

#[expect(clippy::disallowed_methods, reason = "the loop is this program's, and so is its clock")]
fn now() -> Instant {
    Instant::now()
}
