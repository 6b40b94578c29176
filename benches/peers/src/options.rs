//! The command line.

use crate::Result;
use std::path::PathBuf;

pub const HELP: &str = "\
Measures p2poll beside its peers, in one run, on loopback.

  cargo run --release --manifest-path benches/peers/Cargo.toml -- [OPTIONS]

  --quick       fewer and shorter rounds, fewer idle connections: shows that it works, not how fast
  --only NAME   one measurement (receiving, sending, links, ping-pong, idle, rendezvous, relay, nodes,
                laggards, calls) or one contestant (hand-written, LinesCodec, message-io, p2poll,
                'p2poll, in bulk'); may be repeated
  --json FILE   writes all rounds of everything to FILE as well
  --help        this text

The environment variable P2POLL_PYTHON names the Python that has pyp2p (pip install pyp2p psutil future
u-msgpack-python); without it `python3` is asked. Without pyp2p its server is left out.
The status is 0 whether or not the targets were reached: the machine decides that as much as the code.
";

const MEASUREMENTS: [&str; 10] = [
    "receiving",
    "sending",
    "links",
    "ping-pong",
    "idle",
    "rendezvous",
    "relay",
    "nodes",
    "laggards",
    "calls",
];
const CONTESTANTS: [&str; 5] = ["hand-written", "LinesCodec", "message-io", "p2poll", "p2poll, in bulk"];

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub quick: bool,
    pub json: Option<PathBuf>,
    only: Vec<String>,
}

impl Options {
    /// `None`: help was asked for.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--only" => options.only.push(known(arguments.next().ok_or("--only needs a name")?)?),
                "--json" => options.json = Some(arguments.next().ok_or("--json needs a file")?.into()),
                "--help" | "-h" => return Ok(None),
                "--bench" => {} // `cargo bench` adds it
                other => return Err(format!("unknown argument {other:?}; --help lists what there is").into()),
            }
        }
        Ok(Some(options))
    }

    pub fn measures(&self, name: &str) -> bool {
        self.wants(name, &MEASUREMENTS)
    }

    pub fn contestant(&self, name: &str) -> bool {
        self.wants(name, &CONTESTANTS)
    }

    /// A list of names of one kind leaves the other kind alone.
    fn wants(&self, name: &str, kind: &[&str]) -> bool {
        let mut chosen = self.only.iter().filter(|only| kind.contains(&only.as_str())).peekable();
        chosen.peek().is_none() || chosen.any(|only| only == name)
    }
}

fn known(name: String) -> Result<String> {
    match MEASUREMENTS.iter().chain(&CONTESTANTS).find(|known| known.eq_ignore_ascii_case(&name)) {
        Some(known) => Ok(known.to_string()),
        None => Err(format!("--only {name:?}: choose of {MEASUREMENTS:?} and {CONTESTANTS:?}").into()),
    }
}
