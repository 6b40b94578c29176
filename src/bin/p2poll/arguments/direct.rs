//! The options of the commands that connect two nodes, by a UNL or an address: `listen` and `connect`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use p2poll::{Config, Connect, Key, Rung, Rungs};

use super::reach::ReachOptions;
use super::{host_and_port, ip_address, port};
use crate::Failure;
use crate::output::{Output, Plain, is_logged};

#[derive(Debug, Args)]
pub(crate) struct ListenOptions {
    /// A rendezvous server through which others can call this node, as HOST:PORT; may be repeated. The UNL names them.
    /// Without any, it can be connected to by its addresses only
    #[arg(long, value_name = "ADDR", value_parser = host_and_port)]
    pub(crate) rendezvous: Vec<String>,

    #[command(flatten)]
    pub(crate) direct: DirectOptions,

    /// Goes on until Ctrl-C, whatever standard input does and whoever has gone
    #[arg(long)]
    pub(crate) stay: bool,

    /// Talks with the first who proves who it is, and with nobody else, and ends with that connection
    #[arg(long, conflicts_with = "stay")]
    pub(crate) once: bool,

    /// Begins each received line with the number of its connection, as in "#1 hello"
    #[arg(long, conflicts_with = "json")]
    pub(crate) names: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectOptions {
    /// The node to connect to: its UNL, as its p2poll listen prints it; its address, as HOST:PORT; or ID@HOST:PORT, where
    /// the node has to be the one with this id. Blanks, line ends and quotes in and around a UNL do not matter, nor the
    /// "unl:" before it
    #[arg(value_name = "UNL|ADDRESS")]
    pub(crate) to: String,

    /// A rendezvous server of one's own, as HOST:PORT; may be repeated. Without any, those that the UNL names are used
    #[arg(long, value_name = "ADDR", value_parser = host_and_port)]
    pub(crate) rendezvous: Vec<String>,

    /// The ways to try: lan, direct, reverse, punch, relay; several with commas between, or repeated [default: all]
    #[arg(long, value_name = "WAYS", value_delimiter = ',', value_parser = rung)]
    pub(crate) only: Vec<Rung>,

    /// How long to look for a way at most; of an address, how long it may take to accept the connection
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) wait: u32,

    #[command(flatten)]
    pub(crate) direct: DirectOptions,

    /// Goes on until the peer closes the connection, or Ctrl-C, when standard input has ended
    #[arg(long)]
    pub(crate) stay: bool,
}

/// What both of them have.
#[derive(Debug, Args)]
pub(crate) struct DirectOptions {
    /// The address of this machine to listen at and to connect from [default: all of them]
    #[arg(long, value_name = "IP", value_parser = ip_address)]
    bind: Option<IpAddr>,

    /// The port to listen at and to connect from; 0: any free one
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = port, allow_negative_numbers = true)]
    port: u16,

    #[command(flatten)]
    reach: ReachOptions,

    /// Keeps the key that says who this node is in this file, which is made when it is missing [default: a new key, and
    /// so another node, each time]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Tells on standard error only what has to be known
    #[arg(short, long)]
    quiet: bool,

    /// Standard output tells what happens, one JSON event a line, instead of the bare received lines
    #[arg(long)]
    json: bool,
}

impl ListenOptions {
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        self.direct.config(&self.rendezvous)
    }

    pub(crate) fn output(&self) -> Output {
        self.direct.output(self.names)
    }
}

impl ConnectOptions {
    pub(crate) fn config(&self, to: &Connect) -> Result<Config, Failure> {
        let within = Duration::from_secs(self.wait.into());
        let config = self.direct.config(&self.rendezvous)?.connect_within(within);
        let config = if to.unl().is_none() { config.connect_timeout(within) } else { config };
        // Who asks for nothing but the relay gets nothing else.
        let relay_alone = self.rungs() == Rungs::NONE.with(Rung::Relay);
        Ok(if relay_alone { config.upgrade_every(Duration::ZERO) } else { config })
    }

    pub(crate) fn output(&self) -> Output {
        self.direct.output(false)
    }

    pub(crate) fn rungs(&self) -> Rungs {
        match self.only.as_slice() {
            [] => Rungs::ALL,
            only => only.iter().fold(Rungs::NONE, |rungs, &rung| rungs.with(rung)),
        }
    }
}

impl DirectOptions {
    fn config(&self, rendezvous: &[String]) -> Result<Config, Failure> {
        let mut config = self.reach.apply(Config::new().direct().port(self.port));
        if let Some(ip) = self.bind {
            config = config.bind(ip);
        }
        if let Some(file) = &self.key {
            config = config.key(Key::load_or_create(file).map_err(|why| Failure::Run(why.to_string()))?);
        }
        Ok(rendezvous.iter().fold(config, Config::rendezvous))
    }

    fn output(&self, names: bool) -> Output {
        match self.json {
            true => Output::json(),
            false => Output::plain(Plain { names, quiet: self.quiet, logged: is_logged() }),
        }
    }
}

/// One that can be chosen: a program that has just started has no connection yet.
fn rung(text: &str) -> Result<Rung, String> {
    let all = || Rung::ALL.into_iter().filter(|&rung| rung != Rung::Existing);
    all().find(|rung| rung.name() == text).ok_or_else(|| {
        let names: Vec<&str> = all().map(Rung::name).collect();
        format!("write one or more of {}, with commas between", names.join(", "))
    })
}

pub(super) const LISTEN_HELP: &str = "\
Its UNL says who this node is and how it can be reached: give it to whoever is to connect to it, with p2poll connect.
It is printed on standard error, alone in a line that begins with \"unl: \", as soon as the node can be reached by it, and
again when it has changed: with --rendezvous once it names a server through which the node can be called,
otherwise once it names an address. An older one goes on working as long as the way that it describes does. With --key
the node stays the same one when it is started again.

Each line of standard input goes to every peer that is connected; nothing is forwarded from one peer to another. While
nobody is there, input waits for the first who comes. Received lines alone go to standard output, byte for byte; on a
terminal, control characters are shown as \\u{1b} and the like. Others than p2poll are welcome, too: nc, 2 seconds after it
has connected, or as soon as it has said something.

Nothing is encrypted: whoever carries the bytes can read them, and change them on their way.

It ends when standard input had lines and has ended, all of them are delivered, and whoever was there has gone again.
Without a single line (< /dev/null) it goes on listening, and so it does with --stay. With --once it takes the first who
proves who it is, hangs up on whoever else is there or comes, and ends when that one has gone, or when standard
input had lines and has ended and all of them are delivered. At a terminal Ctrl-D
leaves as soon as nobody is there. Ctrl-C leaves without waiting for more than what is on its way; a second one ends at
once, with status 1.

Events of --json, each with its name in \"event\":
  listening   addr
  unl         unl, whenever it would be printed without --json
  rendezvous, missed: as p2poll chat has them
  connected   con, via (accepted, lan, direct, mapped, reverse, punched, relayed), peer, ms (how long it took)
  upgraded    con, via, peer: a relayed connection has found a better way, and goes on there
  line        con, line (what is not UTF-8 becomes U+FFFD)
  closed      con, why

Exit status: 0 done, 1 failed at run time, lines could not be sent, or the connection of --once broke; 2 wrong usage.

Examples:
  p2poll listen --rendezvous rv.example.org:8000
  p2poll listen --rendezvous rv.example.org:8000 --key ~/.p2poll.key < /dev/null >> received.txt
  tar c photos | base64 | p2poll listen --port 44444 --once";

pub(super) const CONNECT_HELP: &str = "\
The ways are tried from the cheapest to the costliest: an address in the same network (lan), the node's own port (direct),
asking it to connect to us (reverse), dialling each other at the same time (punch), and a rendezvous server that passes
the bytes on (relay); a relayed connection goes on looking for a better way. It connects to nobody but the node that the
UNL names, which has to prove that it is that one (a UNL of version 2, pyp2p's, names none). When the node is not at its
rendezvous servers, the call waits there for it, for --wait at most.

An address is dialled, and nothing else (direct). Whoever is there has to be a node that proves its id, with ID@HOST:PORT
this one; what does not say within 5 seconds who it is (nc, say) is left again.

Lines of standard input, also those typed before, go to the peer, and its lines go to standard output, byte for byte; on a
terminal, control characters are shown as \\u{1b} and the like. How far it is is told on standard error.

Nothing is encrypted: whoever carries the bytes can read them, and change them on their way.

It ends when standard input has ended and all of it is delivered (with --stay it goes on until the peer closes), or
when the peer has closed the connection in order. When no way was found, standard error says why, one line for each way.
Ctrl-C leaves without waiting for more than what is on its way; a second one ends at once.

Events of --json, each with its name in \"event\":
  climbing    attempt, progress, and what belongs to it:
              trying (rung), failed (rung, why, ms: others may still be tried),
              called (server: the node was called through it), waiting (server: the call waits there)
  failed      attempt, tried: of each way rung, why, ms (how long it was tried); why (in one sentence)
  connected   con, via (lan, direct, mapped, reverse, punched, relayed), peer, ms (how long it took)
  upgraded    con, via, peer: a relayed connection has found a better way, and goes on there
  line        con, line (what is not UTF-8 becomes U+FFFD)
  closed      con, why
  rendezvous, missed: as p2poll chat has them

Exit status: 0 done; 1 no way was found, the connection broke, or lines could not be sent; 2 wrong usage, or the text is
neither a UNL nor an address.

Examples:
  p2poll connect unl3_..
  p2poll connect example.org:44444
  echo 'the build is done' | p2poll connect unl3_.. --wait 60
  p2poll connect unl3_.. --only direct --json < /dev/null          (is its port open?)
  p2poll connect unl3_.. --stay < /dev/null | base64 -d | tar x";

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Arguments, Command};
    use super::*;

    fn rungs_of(arguments: &[&str]) -> Rungs {
        let all = ["p2poll", "connect", "unl3_"].iter().chain(arguments);
        match Arguments::try_parse_from(all).expect("good usage").command {
            Command::Connect(options) => options.rungs(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ways_are_chosen_by_name() {
        assert_eq!(rungs_of(&[]), Rungs::ALL);
        assert_eq!(rungs_of(&["--only", "punch"]), Rungs::NONE.with(Rung::Punch));
        let both = Rungs::NONE.with(Rung::Lan).with(Rung::Relay);
        assert_eq!(rungs_of(&["--only", "relay,lan"]), both);
        assert_eq!(rungs_of(&["--only", "lan", "--only", "relay"]), both);
        for bad in ["existing", "Punch", "", "lan;relay"] {
            assert!(rung(bad).expect_err(bad).contains("lan, direct, reverse, punch, relay"));
        }
    }
}
