//! Alice prints what she hears. She and Bob find each other through a rendezvous server; type in three terminals:
//!
//! ```text
//! cargo run --features cli --bin p2poll -- rendezvous --listen 127.0.0.1:8000
//! cargo run --example alice
//! cargo run --example bob
//! ```
//!
//! A server elsewhere: `cargo run --example alice -- --rendezvous rv.example.org:8000`. Ctrl-C ends her.

use std::error::Error;

use p2poll::{Config, Event};

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();

    let mut alice = Config::new().rendezvous(rendezvous_argument()?).start()?;
    loop {
        for con in alice.connections() {
            for reply in con.replies() {
                println!("{reply}");
            }
        }
        for event in alice.events() {
            tell(&event);
        }
        alice.poll(None)?;
    }
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

fn rendezvous_argument() -> Result<String, &'static str> {
    const USAGE: &str = "usage: alice [--rendezvous HOST:PORT]";
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, ..) => Ok("127.0.0.1:8000".into()),
        (Some("--rendezvous"), Some(server), None) => Ok(server),
        _ => Err(USAGE),
    }
}
