//! A game at 60 frames a second that never waits for the network: each frame takes what has arrived, simulates, says
//! what it did, and sleeps until the next frame is due. At the end it prints what networking cost a frame.
//!
//! `cargo run --example game_loop -- --seconds 5`
//!
//! The other player is played by a second `Net` in the same loop that echoes each line, over real sockets. Its share
//! is not measured.

use std::error::Error;
use std::time::{Duration, Instant};

use p2poll::{Config, Net};

const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let seconds = seconds_argument()?;

    let mut partner = Config::new().bind([127, 0, 0, 1].into()).start()?;
    let address = partner.local_addr().ok_or("the partner does not listen")?;
    let mut net = Config::new().bind([127, 0, 0, 1].into()).peer(address.to_string()).start()?;

    let mut game = Game::default();
    let mut costs = Vec::new();
    let begin = now();
    while now() - begin < Duration::from_secs(seconds) {
        let frame = now();
        let next_frame = frame + FRAME;

        game.network(&net);
        costs.push(now() - frame);
        game.simulate();

        // The rest of the frame. A game that draws at the display's pace leaves these polls out.
        while now() < next_frame {
            echo(&partner);
            partner.poll(Some(Duration::from_millis(1)))?;
        }
    }
    report(&mut costs, &game)?;
    net.poll(Some(Duration::ZERO))?;
    Ok(())
}

#[derive(Default)]
struct Game {
    x: u64,
    frames: u64,
    echoed: u64,
}

impl Game {
    /// Everything that the network costs a frame: reading, accepting, timers, sending.
    fn network(&mut self, net: &Net) {
        for con in net.connections() {
            for line in con.replies() {
                self.echoed += u64::from(line.starts_with("at "));
            }
            // A peer that is too slow misses a position; the next is newer anyway.
            let _ = con.send_line(format!("at {}", self.x));
        }
    }

    fn simulate(&mut self) {
        self.x += 3;
        self.frames += 1;
    }
}

fn echo(partner: &Net) {
    for con in partner.connections() {
        for line in con.replies() {
            let _ = con.send_line(line.as_bytes());
        }
    }
}

fn report(costs: &mut [Duration], game: &Game) -> Result<(), &'static str> {
    costs.sort_unstable();
    let at = |share: usize| costs.get((costs.len() * share / 100).min(costs.len().saturating_sub(1)));
    let (Some(median), Some(p99), Some(max)) = (at(50), at(99), costs.last()) else {
        return Err("there was not a single frame");
    };
    println!("{} frames, {} of {} positions echoed", costs.len(), game.echoed, game.frames);
    println!("networking cost a frame of {FRAME:.1?}: median {median:.1?}, p99 {p99:.1?}, max {max:.1?}");
    if game.echoed == 0 { Err("the partner was never heard") } else { Ok(()) }
}

fn seconds_argument() -> Result<u64, &'static str> {
    const USAGE: &str = "usage: game_loop [--seconds N]";
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, ..) => Ok(5),
        (Some("--seconds"), Some(seconds), None) => seconds.parse().map_err(|_| USAGE),
        _ => Err(USAGE),
    }
}

#[expect(clippy::disallowed_methods, reason = "the loop is this program's, and so is its clock")]
fn now() -> Instant {
    Instant::now()
}
