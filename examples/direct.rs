//! Two who know each other: Alice prints her UNL, which says who she is and how she can be reached, and Bob connects to
//! it. There is no p2p network, and nobody else takes part. In two terminals, on one computer or in one network:
//!
//! ```text
//! cargo run --example direct -- alice
//! cargo run --example direct -- bob unl3_...
//! ```
//!
//! Wherever they are, with a rendezvous server (`p2poll rendezvous`) that both can reach, and that Alice's UNL names:
//! `cargo run --example direct -- alice --rendezvous rv.example.org:8000`. Alice stays until Ctrl-C, or with
//! `--seconds 60` for so long; Bob leaves when he has heard her.
//!
//! Without a name both are played in one process over loopback, which ends by itself, with status 0 when each has heard
//! the other, and with 1 and the reason when not.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use p2poll::{AttemptId, Config, Event, Net, Unl};

const FROM_ALICE: &str = "Sup Bob.";
const FROM_BOB: &str = "Sup Alice.";

const USAGE: &str = "usage: direct [alice [--rendezvous HOST:PORT] | bob UNL] [--seconds N]";

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let outcome = Arguments::read().map_err(Into::into).and_then(|arguments| match &arguments.role {
        Role::Alice { rendezvous } => play_alice(rendezvous, arguments.end()),
        Role::Bob { unl } => play_bob(unl, arguments.end()),
        Role::Both => play_both(),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("direct: {why}");
            ExitCode::FAILURE
        }
    }
}

/// She waits for whoever comes, and greets.
struct Alice {
    net: Net,
    /// Others call her through servers: a UNL that names none is not finished.
    by_server: bool,
    heard: bool,
}

impl Alice {
    fn start(config: Config, rendezvous: &[String]) -> Result<Self, Box<dyn Error>> {
        let net = rendezvous.iter().fold(config.direct(), Config::rendezvous).start()?;
        Ok(Self { net, by_server: !rendezvous.is_empty(), heard: false })
    }

    /// Where she is, as soon as others can get there.
    fn unl(&self) -> Option<Unl> {
        let enough =
            |unl: &Unl| if self.by_server { unl.servers().len() > 0 } else { unl.addresses().len() > 0 };
        self.net.unl().filter(enough)
    }

    /// One turn of her loop.
    fn turn(&mut self) {
        for con in self.net.connections() {
            for line in con.replies() {
                println!("alice heard: {line}");
                self.heard |= &*line == FROM_BOB;
            }
        }
        for event in self.net.events() {
            match event {
                Event::Connected { con, via, peer, .. } => {
                    println!("alice: {con} is there: {peer} ({via})");
                    if let Some(Err(why)) = self.net.con(con).map(|con| con.send_line(FROM_ALICE)) {
                        println!("alice: {con} does not hear me: {why}");
                    }
                }
                Event::Closed { con, why } => println!("alice: {con} is gone: {why}"),
                _ => {}
            }
        }
    }
}

/// He knows whom he wants to talk to.
struct Bob {
    net: Net,
    attempt: AttemptId,
    heard: bool,
}

impl Bob {
    fn start(config: Config, unl: &Unl) -> Result<Self, Box<dyn Error>> {
        let net = config.direct().start()?;
        let attempt = net.connect(unl)?;
        Ok(Self { net, attempt, heard: false })
    }

    /// One turn of his loop.
    fn turn(&mut self) -> Result<(), String> {
        for event in self.net.events() {
            match event {
                // That she is the node of the UNL has been proven.
                Event::Connected { con, via, attempt: Some(attempt), took, .. }
                    if attempt == self.attempt =>
                {
                    println!("bob: connected ({via}) after {took:.1?}");
                    if let Some(Err(why)) = self.net.con(con).map(|con| con.send_line(FROM_BOB)) {
                        return Err(format!("she does not hear me: {why}"));
                    }
                }
                Event::Climbing { progress, .. } => println!("bob: {progress}"),
                Event::Failed { why, .. } => return Err(why.to_string()),
                Event::Closed { why, .. } if !self.heard => return Err(why.to_string()),
                _ => {}
            }
        }
        for con in self.net.connections() {
            for line in con.replies() {
                println!("bob heard: {line}");
                self.heard |= &*line == FROM_ALICE;
            }
        }
        Ok(())
    }
}

fn play_alice(rendezvous: &[String], end: Option<Instant>) -> Result<(), Box<dyn Error>> {
    let mut alice = Alice::start(Config::new(), rendezvous)?;
    let mut printed = None;
    while end.is_none_or(|end| now() < end) {
        alice.turn();
        let unl = alice.unl();
        if unl.is_some() && unl != printed {
            unl.iter().for_each(|unl| println!("alice: my UNL is\n{unl}"));
            printed = unl;
        }
        alice.net.poll(end.map(|end| end.saturating_duration_since(now())))?;
    }
    alice.net.finish(Duration::from_secs(3))?;
    Ok(())
}

fn play_bob(unl: &Unl, end: Option<Instant>) -> Result<(), Box<dyn Error>> {
    let mut bob = Bob::start(Config::new(), unl)?;
    while !bob.heard && end.is_none_or(|end| now() < end) {
        bob.turn()?;
        bob.net.poll(end.map(|end| end.saturating_duration_since(now())))?;
    }
    // What he said still goes out.
    bob.net.finish(Duration::from_secs(3))?;
    if bob.heard { Ok(()) } else { Err("she has said nothing in time".into()) }
}

/// Both in one loop.
fn play_both() -> Result<(), Box<dyn Error>> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let loopback = Config::new().bind([127, 0, 0, 1].into());
    let mut alice = Alice::start(loopback.clone(), &[])?;
    let unl = alice.unl().ok_or("alice has no UNL, though she listens")?;
    println!("alice: my UNL is\n{unl}");
    let mut bob = Bob::start(loopback, &unl)?;

    let end = now() + PATIENCE;
    while now() < end {
        alice.turn();
        bob.turn()?;
        if alice.heard && bob.heard {
            println!("each has heard the other");
            return Ok(());
        }
        alice.net.poll(Some(Duration::from_millis(5)))?;
        bob.net.poll(Some(Duration::from_millis(5)))?;
    }
    Err(format!("not every line arrived in time: alice {}, bob {}", alice.heard, bob.heard).into())
}

struct Arguments {
    role: Role,
    seconds: Option<u32>,
}

enum Role {
    Alice { rendezvous: Vec<String> },
    Bob { unl: Unl },
    Both,
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let mut arguments = std::env::args().skip(1).peekable();
        let mut role = match arguments.next_if(|first| !first.starts_with("--")).as_deref() {
            None => Role::Both,
            Some("alice") => Role::Alice { rendezvous: Vec::new() },
            Some("bob") => {
                let unl: Unl = arguments.next().ok_or(USAGE)?.parse().map_err(|why| format!("{why}"))?;
                Role::Bob { unl }
            }
            Some(_) => return Err(USAGE.into()),
        };
        let mut seconds = None;
        while let Some(name) = arguments.next() {
            match (&mut role, name.as_str(), arguments.next()) {
                (Role::Alice { rendezvous }, "--rendezvous", Some(server)) => rendezvous.push(server),
                (_, "--seconds", Some(value)) => seconds = Some(value.parse().map_err(|_| USAGE)?),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(Self { role, seconds })
    }

    fn end(&self) -> Option<Instant> {
        self.seconds.map(|seconds| now() + Duration::from_secs(seconds.into()))
    }
}

#[expect(clippy::disallowed_methods, reason = "the loop is this program's, and so is its clock")]
fn now() -> Instant {
    Instant::now()
}
