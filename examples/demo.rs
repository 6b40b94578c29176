//! One process, one loop: a rendezvous server and two peers that find each other through it and exchange lines, over
//! real sockets. Ends by itself, with status 0 when every line has arrived, and with 1 and the reason when not.
//!
//! `cargo run --example demo`

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use p2poll::{Config, Event, Net, Rendezvous, RendezvousConfig};

/// Turns of the loop, of 10 ms each, before the demo gives up.
const TURNS: usize = 500;

/// What each of the two says, and expects to hear from the other.
const LINES: [&str; 3] = ["Hello!", "I know you only through the rendezvous server.", "Goodbye."];

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("demo: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut server = RendezvousConfig::new().listen("127.0.0.1:0").start()?;
    let address = server.local_addrs()[0];
    println!("server  listening at {address}");

    let config = Config::new().bind([127, 0, 0, 1].into()).rendezvous(address.to_string());
    let mut alice = Peer { name: "alice", net: config.clone().start()?, heard: Vec::new() };
    let mut bob = Peer { name: "bob  ", net: config.start()?, heard: Vec::new() };

    for _ in 0..TURNS {
        alice.turn();
        bob.turn();
        if alice.heard == LINES && bob.heard == LINES {
            return say_goodbye(server, alice, bob);
        }
        server.poll(Some(Duration::from_millis(5)))?;
        alice.net.poll(Some(Duration::from_millis(5)))?;
    }
    Err(format!("not every line arrived in time: alice heard {:?}, bob {:?}", alice.heard, bob.heard).into())
}

struct Peer {
    name: &'static str,
    net: Net,
    heard: Vec<String>,
}

impl Peer {
    /// One turn of a program's loop.
    fn turn(&mut self) {
        for con in self.net.connections() {
            for line in con.replies() {
                println!("{}   heard from {}: {line}", self.name, con.id());
                self.heard.push(line.to_string());
            }
        }
        for event in self.net.events() {
            println!("{}   {event}", self.name);
            if let Event::Connected { con, .. } = event
                && let Some(con) = self.net.con(con)
            {
                for line in LINES {
                    if let Err(why) = con.send_line(line) {
                        println!("{}   could not say {line:?}: {why}", self.name);
                    }
                }
            }
        }
    }
}

fn say_goodbye(mut server: Rendezvous, alice: Peer, bob: Peer) -> Result<(), Box<dyn Error>> {
    alice.net.stop();
    bob.net.stop();
    // Each of the three needs the others to go on while it leaves.
    let (mut alice, mut bob) = (alice.net, bob.net);
    for _ in 0..TURNS {
        for net in [&mut alice, &mut bob] {
            net.poll(Some(Duration::from_millis(1)))?;
        }
        server.poll(Some(Duration::from_millis(1)))?;
        if server.stats().nodes == 0 && alice.is_empty() && bob.is_empty() {
            println!("all lines arrived, and both have left");
            return Ok(());
        }
    }
    Err(format!("they could not leave: the server still has {:?}", server.stats()).into())
}
