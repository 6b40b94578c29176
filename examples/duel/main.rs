//! A duel at 60 frames a second, over whatever connection there is: in one network, through two NATs, or by a relay. In two
//! terminals:
//!
//! ```text
//! cargo run --example duel -- host
//! cargo run --example duel -- join unl3_...
//! ```
//!
//! Wherever they are, with a rendezvous server (`p2poll rendezvous`) that both can reach, and that the UNL names:
//! `cargo run --example duel -- host --rendezvous rv.example.org:8000`. Two bots play, for 10 seconds or as `--seconds N`
//! says, and each end prints what a frame cost and how often the game had to stand still.
//!
//! Without arguments (or with `--seconds N`, which are 2 then) both play in one process over loopback; it ends with status
//! 0 when both saw the same game, and with 1 and the reason when not.
//!
//! The loop never waits for the network: a frame takes what has come, plays, and says what it does; what is left of its
//! time goes to `poll`, which sleeps, and takes what comes meanwhile.

mod game;
mod lockstep;
mod statistics;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use p2poll::{AttemptId, Con, ConId, Config, Event, Net, Unl};

use game::Side;
use lockstep::Lockstep;
use statistics::Statistics;

const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);
const SECOND: u64 = 60;

const USAGE: &str = "usage: duel [host [--rendezvous HOST:PORT] | join UNL] [--seconds N]";

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let outcome = Arguments::read().map_err(Into::into).and_then(|arguments| match arguments.role {
        Role::Host { rendezvous } => host(&rendezvous, arguments.seconds.unwrap_or(10)),
        Role::Join { unl } => join(&unl, arguments.seconds.unwrap_or(10)),
        Role::Both => both(arguments.seconds.unwrap_or(2)),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("duel: {why}");
            ExitCode::FAILURE
        }
    }
}

struct Player {
    name: &'static str,
    side: Side,
    net: Net,
    /// Who joins looks for one opponent; who hosts takes the first who comes.
    attempt: Option<AttemptId>,
    opponent: Option<ConId>,
    lockstep: Lockstep,
    statistics: Statistics,
    over: bool,
}

impl Player {
    fn new(name: &'static str, side: Side, net: Net) -> Self {
        Self {
            name,
            side,
            net,
            attempt: None,
            opponent: None,
            lockstep: Lockstep::new(side),
            statistics: Statistics::default(),
            over: false,
        }
    }

    fn joining(name: &'static str, net: Net, unl: &Unl) -> Result<Self, Box<dyn Error>> {
        let attempt = Some(net.connect(unl)?);
        Ok(Self { attempt, ..Self::new(name, Side::Right, net) })
    }

    /// One frame.
    fn frame(&mut self) -> Result<(), String> {
        let begin = now();
        self.hear()?;
        if let Some(con) = self.opponent.and_then(|id| self.net.con(id)) {
            self.lockstep.frame(con)?;
            self.statistics.count(begin, now());
            if self.side == Side::Left && self.lockstep.played.is_multiple_of(SECOND) {
                println!("{}", self.lockstep.game.picture());
            }
        }
        Ok(())
    }

    /// Takes what has come, without waiting for more.
    fn hear(&mut self) -> Result<(), String> {
        let Self { net, lockstep, .. } = self;
        let walk = net.connections();
        for event in net.events() {
            match event {
                Event::Connected { con, via, peer, attempt, took } => {
                    if self.opponent.is_none() && attempt == self.attempt {
                        let after = attempt.map_or_else(String::new, |_| format!(", after {took:.1?}"));
                        println!("{}: it begins, against {peer} ({via}{after})", self.name);
                        self.opponent = Some(con);
                    } else if self.opponent.is_some() {
                        // Two play, and no more.
                        net.con(con).into_iter().for_each(Con::close);
                    }
                }
                Event::Climbing { progress, .. } => println!("{}: {progress}", self.name),
                Event::Upgraded { via, peer, .. } => println!("{}: now by {peer} ({via})", self.name),
                Event::Failed { why, .. } => return Err(why.to_string()),
                Event::Closed { con, why } if self.opponent == Some(con) => {
                    println!("{}: it is over: {why}", self.name);
                    self.over = true;
                }
                _ => {}
            }
        }
        for con in walk {
            match self.opponent {
                Some(opponent) if opponent == con.id() => lockstep.hear(con)?,
                _ => con.replies().for_each(drop),
            }
        }
        Ok(())
    }

    /// What is left of the frame: sleeps, and takes what comes meanwhile.
    fn rest(&mut self, until: Instant) -> Result<(), Box<dyn Error>> {
        loop {
            let left = until.saturating_duration_since(now());
            if left.is_zero() {
                return Ok(());
            }
            self.net.poll(Some(left))?;
            self.hear()?;
        }
    }

    fn print(&mut self) {
        let Lockstep { game, played, stood_still, compared, .. } = &self.lockstep;
        let (name, [left, right]) = (self.name, game.score);
        println!("{name}: {left} to {right} after {played} frames; it stood still for {stood_still} more");
        println!("{name}: the games were compared {compared} times, and were the same");
        self.statistics.print(name);
    }
}

fn host(rendezvous: &[String], seconds: u32) -> Result<(), Box<dyn Error>> {
    let net = rendezvous.iter().fold(Config::new().direct(), Config::rendezvous).start()?;
    let mut player = Player::new("host", Side::Left, net);
    let mut printed = None;
    while player.opponent.is_none() {
        let unl = player.net.unl().filter(|unl| match rendezvous.is_empty() {
            true => unl.addresses().len() > 0,
            false => unl.servers().len() > 0,
        });
        if unl.is_some() && unl != printed {
            unl.iter().for_each(|unl| println!("{unl}"));
            printed = unl;
        }
        player.rest(now() + FRAME)?;
    }
    play(player, seconds)
}

fn join(unl: &Unl, seconds: u32) -> Result<(), Box<dyn Error>> {
    let mut player = Player::joining("guest", Config::new().direct().start()?, unl)?;
    while player.opponent.is_none() {
        player.rest(now() + FRAME)?;
    }
    play(player, seconds)
}

fn play(mut player: Player, seconds: u32) -> Result<(), Box<dyn Error>> {
    let mut next = now();
    for _ in 0..u64::from(seconds) * SECOND {
        if player.over {
            break;
        }
        player.frame()?;
        next += FRAME;
        player.rest(next)?;
    }
    player.print();
    player.net.finish(Duration::from_secs(1))?;
    Ok(())
}

/// Two bots in one loop.
fn both(seconds: u32) -> Result<(), Box<dyn Error>> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let loopback = Config::new().bind([127, 0, 0, 1].into()).direct();
    let mut host = Player::new("host", Side::Left, loopback.clone().start()?);
    let unl = host.net.unl().ok_or("there is no UNL, though it listens")?;
    let mut guest = Player::joining("guest", loopback.start()?, &unl)?;

    let end = now() + PATIENCE;
    while host.opponent.is_none() || guest.opponent.is_none() {
        rest_both(&mut host, &mut guest, now() + FRAME)?;
        if now() >= end {
            return Err("they did not meet in time".into());
        }
    }
    let mut next = now();
    for _ in 0..u64::from(seconds) * SECOND {
        host.frame()?;
        guest.frame()?;
        next += FRAME;
        rest_both(&mut host, &mut guest, next)?;
    }
    for player in [&mut host, &mut guest] {
        player.print();
        // On loopback a move takes far less than its time.
        let Lockstep { played, stood_still, compared, .. } = player.lockstep;
        if compared == 0 || player.over || played < stood_still {
            return Err(format!("{}: that was no game", player.name).into());
        }
    }
    Ok(())
}

fn rest_both(host: &mut Player, guest: &mut Player, until: Instant) -> Result<(), Box<dyn Error>> {
    while now() < until {
        for player in [&mut *host, &mut *guest] {
            player.rest((now() + Duration::from_millis(1)).min(until))?;
        }
    }
    Ok(())
}

struct Arguments {
    role: Role,
    seconds: Option<u32>,
}

enum Role {
    Host { rendezvous: Vec<String> },
    Join { unl: Unl },
    Both,
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let mut given = std::env::args().skip(1).peekable();
        let mut role = match given.next_if(|first| !first.starts_with("--")).as_deref() {
            None => Role::Both,
            Some("host") => Role::Host { rendezvous: Vec::new() },
            Some("join") => {
                Role::Join { unl: given.next().ok_or(USAGE)?.parse().map_err(|why| format!("{why}"))? }
            }
            Some(_) => return Err(USAGE.into()),
        };
        let mut seconds = None;
        while let Some(name) = given.next() {
            match (&mut role, name.as_str(), given.next()) {
                (Role::Host { rendezvous }, "--rendezvous", Some(server)) => rendezvous.push(server),
                (_, "--seconds", Some(value)) => seconds = Some(value.parse().map_err(|_| USAGE)?),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(Self { role, seconds })
    }
}

#[expect(clippy::disallowed_methods, reason = "the loop is this program's, and so is its clock")]
fn now() -> Instant {
    Instant::now()
}
