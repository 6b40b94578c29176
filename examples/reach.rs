//! Tells how others can reach this machine, as it finds out: `cargo run --example reach -- [SERVER]`, where SERVER is a
//! rendezvous server as HOST:PORT. Without one it only knows its own addresses.
//!
//! `--seconds N` ends it after that time; otherwise Ctrl-C does.

use std::time::{Duration, Instant};

use p2poll::{Config, Event};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let mut arguments = std::env::args().skip(1);
    let (mut config, mut end) = (Config::new().bootstrap(false).advertise(false), None);
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let seconds = arguments.next().ok_or("--seconds needs a number")?.parse()?;
            end = Some(now() + Duration::from_secs(seconds));
        } else {
            config = config.rendezvous(argument);
        }
    }
    let mut net = config.start()?;
    println!("at first: {}", net.reach());
    while end.is_none_or(|end| now() < end) {
        // A game would call this with Duration::ZERO in each frame; whatever is found out, no call waits for it.
        net.poll(Some(Duration::from_millis(100)))?;
        for event in net.events() {
            if let Event::Reach(reach) = event {
                println!("{reach}");
            }
        }
    }
    // A router that forwards the port is told that it need not any more.
    net.finish(Duration::from_secs(3))?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program may read the clock")]
fn now() -> Instant {
    Instant::now()
}
