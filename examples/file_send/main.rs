//! Sends a file of any size to whoever has printed a UNL, in whatever network the two are. In two terminals:
//!
//! ```text
//! cargo run --example file_send -- receive DIR
//! cargo run --example file_send -- send FILE unl3_...
//! ```
//!
//! Wherever they are, with a rendezvous server (`p2poll rendezvous`) that both can reach, and that the UNL names:
//! `cargo run --example file_send -- receive DIR --rendezvous rv.example.org:8000`. The receiver stays until Ctrl-C, or
//! with `--seconds 60` for so long, and takes files of `--max-size` bytes at most (16 GiB); the sender ends when the
//! receiver has the file.
//!
//! When the connection breaks, the sender connects anew and goes on where it was; so it does when one of the two was
//! stopped and is started again (the receiver with `--key FILE` keeps its name, and with `--port N` its place).
//! What has arrived lies in `NAME.part`, and in `NAME.part.sha256` what it is to become; it gets its name when that is
//! what it is. Whatever a sender says: nothing is written outside of `DIR`, and nothing is overwritten.
//!
//! Without arguments it tests itself, in one process over loopback and in a temporary folder, with a connection that breaks
//! in the middle and with senders that mean no good; it ends with status 0 when all is well, and with 1 and the reason
//! when not.

mod percent;
mod receiver;
mod selftest;
mod sender;
mod store;
mod words;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use p2poll::{Config, Key, Net, Unl};

use receiver::Receiver;
use sender::Sender;
use store::Store;

const USAGE: &str = "usage: file_send [receive DIR [--rendezvous HOST:PORT] [--port N] [--key FILE] [--max-size BYTES] \
                     | send FILE UNL] [--seconds N]";

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let outcome = Arguments::read().map_err(Into::into).and_then(|arguments| match &arguments.role {
        Role::Receive { folder } => receive(folder, &arguments),
        Role::Send { file, unl } => send(file, unl, arguments.end()),
        Role::Test => selftest::run(),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("file_send: {why}");
            ExitCode::FAILURE
        }
    }
}

fn receive(folder: &Path, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut config = Config::new().direct().port(arguments.port);
    if let Some(file) = &arguments.key {
        config = config.key(Key::load_or_create(file)?);
    }
    let net = arguments.rendezvous.iter().fold(config, Config::rendezvous).start()?;
    let mut receiver = Receiver::new(net, Store::open(folder, arguments.max_size)?);
    let (end, mut printed) = (arguments.end(), None);
    while end.is_none_or(|end| now() < end) {
        receiver.turn();
        let unl = unl(&receiver.net, !arguments.rendezvous.is_empty());
        if unl.is_some() && unl != printed {
            unl.iter().for_each(|unl| println!("{unl}"));
            printed = unl;
        }
        let left = end.map(|end| end.saturating_duration_since(now()));
        receiver.net.poll(if receiver.is_busy() { Some(Duration::ZERO) } else { left })?;
    }
    receiver.net.finish(Duration::from_secs(3))?;
    Ok(())
}

/// Where this node is, as soon as others can get there.
fn unl(net: &Net, by_server: bool) -> Option<Unl> {
    net.unl().filter(|unl| if by_server { unl.servers().len() > 0 } else { unl.addresses().len() > 0 })
}

fn send(file: &Path, unl: &Unl, end: Option<Instant>) -> Result<(), Box<dyn Error>> {
    let net = Config::new().direct().start()?;
    let mut sender = Sender::new(net, unl.clone(), file, now())?;
    while !sender.is_done() {
        sender.turn(now())?;
        let left = end.map(|end| end.saturating_duration_since(now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err("not all of it arrived in time".into());
        }
        sender.net.poll(sender.timeout(now()).into_iter().chain(left).min())?;
    }
    println!("{} is there", file.display());
    sender.net.finish(Duration::from_secs(3))?;
    Ok(())
}

struct Arguments {
    role: Role,
    rendezvous: Vec<String>,
    port: u16,
    key: Option<PathBuf>,
    max_size: u64,
    seconds: Option<u32>,
}

enum Role {
    Receive { folder: PathBuf },
    Send { file: PathBuf, unl: Unl },
    Test,
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let mut given = std::env::args().skip(1).peekable();
        let role = match given.next_if(|first| !first.starts_with("--")).as_deref() {
            None => Role::Test,
            Some("receive") => Role::Receive { folder: given.next().ok_or(USAGE)?.into() },
            Some("send") => {
                let file = given.next().ok_or(USAGE)?.into();
                let unl: Unl = given.next().ok_or(USAGE)?.parse().map_err(|why| format!("{why}"))?;
                Role::Send { file, unl }
            }
            Some(_) => return Err(USAGE.into()),
        };
        let receives = matches!(role, Role::Receive { .. });
        let mut arguments =
            Self { role, rendezvous: Vec::new(), port: 0, key: None, max_size: 16 << 30, seconds: None };
        while let Some(name) = given.next() {
            let value = given.next().ok_or(USAGE)?;
            match name.as_str() {
                "--seconds" => arguments.seconds = Some(value.parse().map_err(|_| USAGE)?),
                "--rendezvous" if receives => arguments.rendezvous.push(value),
                "--port" if receives => arguments.port = value.parse().map_err(|_| USAGE)?,
                "--key" if receives => arguments.key = Some(value.into()),
                "--max-size" if receives => arguments.max_size = value.parse().map_err(|_| USAGE)?,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(arguments)
    }

    fn end(&self) -> Option<Instant> {
        self.seconds.map(|seconds| now() + Duration::from_secs(seconds.into()))
    }
}

#[expect(clippy::disallowed_methods, reason = "the loop is this program's, and so is its clock")]
fn now() -> Instant {
    Instant::now()
}
