//! The command line: what can be said, and what is wrong with what was said.

mod direct;
mod reach;
mod rendezvous;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use p2poll::Config;

pub(crate) use direct::{ConnectOptions, ListenOptions};
#[cfg(test)]
pub(crate) use reach::NodeKind;
pub(crate) use reach::ReachOptions;
pub(crate) use rendezvous::RendezvousOptions;

#[derive(Debug, Parser)]
#[command(
    name = "p2poll",
    version,
    about = "Netcat for peers that find each other, the rendezvous server that they need for it, and a doctor",
    after_help = MAIN_EXAMPLES,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Logs more to standard error: -v informs, -vv debugs, -vvv traces. RUST_LOG works too. What the log then tells of
    /// who comes and goes, and of what the doctor finds out, is not told a second time
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 99)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a rendezvous server: where nodes register, and learn of each other
    #[command(after_help = RENDEZVOUS_HELP)]
    Rendezvous(RendezvousOptions),
    /// Joins the p2p network: what is typed goes to every connected peer
    #[command(after_help = CHAT_HELP)]
    Chat(ChatOptions),
    /// Prints the UNL of this node and waits for those who connect by it; lines go both ways
    #[command(after_help = direct::LISTEN_HELP)]
    Listen(ListenOptions),
    /// Connects to a node by its UNL, by whatever way there is, or at an address; lines go both ways
    #[command(after_help = direct::CONNECT_HELP)]
    Connect(ConnectOptions),
    /// Finds out how others can reach this machine, what stands in the way, and what to do about it
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorOptions),
    /// Tells what a UNL says: who and where a node is, and how it can be reached
    #[command(after_help = UNL_HELP)]
    Unl(UnlOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ChatOptions {
    /// A rendezvous server, as HOST:PORT; may be repeated. Without any, only those are heard who connect by themselves
    /// and those given by --peer
    #[arg(long, value_name = "ADDR", value_parser = host_and_port)]
    pub(crate) rendezvous: Vec<String>,

    /// The address of this machine to listen at and to connect from [default: all of them]
    #[arg(long, value_name = "IP", value_parser = ip_address)]
    pub(crate) bind: Option<IpAddr>,

    /// The port to listen at; 0: any free one
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = port, allow_negative_numbers = true)]
    pub(crate) port: u16,

    #[command(flatten)]
    pub(crate) reach: ReachOptions,

    /// A peer to stay connected to, as HOST:PORT; may be repeated
    #[arg(long, value_name = "ADDR", value_parser = host_and_port)]
    pub(crate) peer: Vec<String>,

    /// Keeps addresses of peers in this file, to find them again when no server answers
    #[arg(long, value_name = "FILE")]
    pub(crate) known_peers: Option<PathBuf>,

    /// Goes on listening when standard input has ended
    #[arg(long)]
    pub(crate) stay: bool,

    /// Begins each received line with the number of its connection, as in "#1 hello"
    #[arg(long, conflicts_with = "json")]
    pub(crate) names: bool,

    /// Does not tell on standard error who comes and goes
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Standard output tells what happens, one JSON event a line, instead of the bare received lines
    #[arg(long)]
    pub(crate) json: bool,
}

/// The defaults are those of a test that says nothing, not those of the command line.
#[derive(Debug, Default, Args)]
pub(crate) struct DoctorOptions {
    /// A rendezvous server to ask, as HOST:PORT; may be repeated, and it takes two, or one that listens at two ports, to
    /// tell the kind of a NAT. Without any, only the router is asked
    #[arg(long, value_name = "ADDR", value_parser = host_and_port)]
    pub(crate) rendezvous: Vec<String>,

    /// The address of this machine to listen at and to connect from [default: all of them]
    #[arg(long, value_name = "IP", value_parser = ip_address)]
    pub(crate) bind: Option<IpAddr>,

    /// The port that others are to connect to: that of your program, which must not be running meanwhile; 0: any free
    /// one
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = port, allow_negative_numbers = true)]
    pub(crate) port: u16,

    #[command(flatten)]
    pub(crate) reach: ReachOptions,

    /// How long to wait at most until everything is certain
    #[arg(long, value_name = "SECONDS", default_value_t = 15,
        value_parser = clap::value_parser!(u32).range(..=3600))]
    pub(crate) wait: u32,

    /// How long the router is to keep the mapping, unless it is renewed [default: an hour]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(2..=604_800))]
    pub(crate) lease: Option<u32>,

    /// Keeps the mapping, and reports each change, until Ctrl-C
    #[arg(long)]
    pub(crate) stay: bool,

    /// Standard output gets the report as one JSON object in one line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UnlOptions {
    /// The UNL, of version 3 (it begins with unl3_) or of pyp2p's version 2. Blanks, line ends and quotes in
    /// and around it do not matter, nor the "unl:" before it
    #[arg(value_name = "TEXT")]
    pub(crate) text: String,

    /// Standard output gets its fields as one JSON object in one line
    #[arg(long)]
    pub(crate) json: bool,
}

impl Command {
    /// What only all arguments together show.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Rendezvous(options) => options.check(),
            Self::Chat(options) => {
                at_most_servers(&options.rendezvous)?;
                at_most(Config::MAX_PEERS, "peers", "--peer", options.peer.len())
            }
            Self::Listen(options) => at_most_servers(&options.rendezvous),
            Self::Connect(options) => at_most_servers(&options.rendezvous),
            Self::Doctor(options) => at_most_servers(&options.rendezvous),
            Self::Unl(_) => Ok(()),
        }
    }
}

const MAIN_EXAMPLES: &str = "\
Examples, each in a terminal of its own:
  p2poll rendezvous --listen 127.0.0.1:8000
  p2poll chat --rendezvous 127.0.0.1:8000
  p2poll chat --rendezvous 127.0.0.1:8000

Two that one knows, wherever they are; the first prints a UNL, which the second connects to:
  p2poll listen --rendezvous rv.example.org:8000
  p2poll connect unl3_..

Nothing is encrypted: whoever carries the bytes (a router, a provider, a relay) can read them, and change them on
their way. What a UNL of version 3 proves is that the connection began with its node; who has to be sure of every
line encrypts it before p2poll gets it (age, gpg, ssh), and decrypts it behind.

When others can not connect to this machine, this says why:
  p2poll doctor --rendezvous HOST:PORT

Exit status: 0 done, 1 failed at run time, 2 wrong usage.";

const RENDEZVOUS_HELP: &str = "\
The server speaks pyp2p's protocol, in lines that can be typed by hand:
  $ nc 127.0.0.1 8000
  BOOTSTRAP 10
  NODES EMPTY

With --json it says {\"event\":\"listening\",\"addr\":..} once for each address, the second port's too; and with --figures
each minute an event \"figures\" with the same fields as --metrics has, without the p2poll_.
Ctrl-C ends it.

Examples:
  p2poll rendezvous
  p2poll rendezvous --listen 192.0.2.1:8000 --listen '[2001:db8::1]:8000'
  p2poll rendezvous --listen 127.0.0.1:0 --json
  p2poll rendezvous --listen 10.0.0.5:8000 --public-address 203.0.113.7:8000 --public-address 203.0.113.7:8001
  p2poll rendezvous --no-relay --metrics 127.0.0.1:9100";

const CHAT_HELP: &str = "\
Each line of standard input goes to every peer that is connected; nothing is forwarded from one peer to
another. While nobody is there, input waits for the first who comes. No line that was read is dropped: the
slowest peer sets the pace, and one that takes nothing for two minutes counts as gone.

Nothing is encrypted, and nobody proves who he is: it is a talk among strangers that others can read.

Received lines alone go to standard output, byte for byte; on a terminal, control characters are shown as
\\u{1b} and the like, so that no peer takes the terminal over. While nobody reads standard output, the peers wait,
too. Who comes and goes is told on standard error.

The end of input (Ctrl-D, or the end of a pipe or file) leaves, once what was read has been delivered; typed at a
terminal while nobody is there, Ctrl-D leaves at once. Answers are not waited for: --stay goes on listening.
Ctrl-C leaves without waiting for more than what is on its way; a second one ends at once, with status 1.

Events of --json, each with its name in \"event\":
  listening   addr
  rendezvous  server, news, and what belongs to the news:
              up (kind: pyp2p or p2poll; seen: our address as the server sees it, if it says so),
              nodes (count), advertised, refused, down (why, retry_ms),
              unproven (why), key_in_use (at)
  connected   con, via (accepted, direct), peer, ms (how long it took)
  line        con, line (what is not UTF-8 becomes U+FFFD)
  closed      con, why
  missed      count (so many events were dropped here, as too many came at once)

Examples:
  p2poll chat --rendezvous rv.example.org:8000
  p2poll chat --peer 192.0.2.7:44444 --peer '[2001:db8::7]:44444'
  echo 'the build is done' | p2poll chat --rendezvous 127.0.0.1:8000
  p2poll chat --rendezvous 127.0.0.1:8000 --stay --json < /dev/null | grep '\"line\"'
  nc 192.0.2.7 44444        (a peer without p2poll joins the chat of one that listens there)";

const DOCTOR_HELP: &str = "\
What is being found out is told on standard error while it goes on; standard output gets the report: what was
found, and what to do about it, the most important first. Once nothing is uncertain any more, after --wait, or at
Ctrl-C it reports, takes back what it asked of the router, and ends; a second Ctrl-C ends at once, with status 1.

With rendezvous servers the router is asked only if none of them that can tell finds the port open. With --stay the report comes
again whenever something has changed.

The object of --json, in one line; what is not known is null:
  event      doctor
  node_type  passive, simultaneous (others meet it by hole punching) or active
  nat        kind (preserving, delta, reuse or random), delta (the difference of two ports in a row), why (the kind
             is not known), translated (whether a NAT translates this machine's address)
  wan        our address as the outside sees it
  lan        the addresses of this machine in its network
  port       the port at which others reach it from outside, as far as they do
  reachable  whether they do
  mapping    protocol (upnp, natpmp or none), external (the router's address and port that lead here), why
  servers    of each: addr as given, kind (p2poll or pyp2p; null: it does not answer), rtt_ms, why (it is down)
  advice     what to do, the most important first
  reachable_why  it is not known whether others reach the port

Exit status: 0 it reported; 1 it could not start, or of the rendezvous servers given none answers (it reports in
that case, too); 2 wrong usage.

Examples:
  p2poll doctor --rendezvous rv.example.org:8000 --rendezvous rv.example.net:8000 --port 44444
  p2poll doctor
  p2poll doctor --rendezvous rv.example.org:8000 --no-mapping --json
  p2poll doctor --rendezvous rv.example.org:8000 --stay";

const UNL_HELP: &str = "\
Nobody is asked: it is all in the text. What a node claims of itself is shown as it claims it; addresses that can not
be true, or can not be called, are marked. One of version 3 is signed by the key of its node, and that is checked;
one of version 2 can be made up by anybody.

The object of --json, in one line; what is not known is null:
  event       unl
  unl         the text itself, without what was around it
  version     2 or 3
  node_id     proven by its signature (version 3)
  claimed_id  not proven by anything: pyp2p's number in its distributed hash table (version 2)
  key         the public key, in hexadecimal (version 3)
  node_type   passive, simultaneous or active
  nat         kind (preserving, delta, reuse or random), delta (the difference of two ports in a row)
  forwarding  who has opened the port in the router: none, by hand, UPnP or NAT-PMP
  addresses   of each: place (wan, lan), addr, odd (no port, no host, loopback, link-local, or private as wan)
  servers     the rendezvous servers through which it takes signals
  skipped     how many fields only later versions understand

Exit status: 0 it is one; 1 it is none, and standard error says why; 2 wrong usage.

Examples:
  p2poll unl AgABAgMEBQYHCAkKCwwNDg8QERITcGdVnK0HcQDLLQCowGEATmo=
  p2poll unl --json AgABAgMEBQYHCAkKCwwNDg8QERITcGdVnK0HcQDLLQCowGEATmo=";

const LISTEN_FORM: &str = "write IP:PORT, like 127.0.0.1:8000 or [::]:8000, with port 0 for any free one";

fn at_most_servers(given: &[String]) -> Result<(), String> {
    at_most(Config::MAX_RENDEZVOUS, "rendezvous servers", "--rendezvous", given.len())
}

fn at_most(limit: usize, what: &str, argument: &str, given: usize) -> Result<(), String> {
    match given <= limit {
        true => Ok(()),
        false => Err(format!("at most {limit} {what}; {argument} is given {given} times")),
    }
}

fn listen_address(text: &str) -> Result<String, String> {
    if let Some(why) = wrong_zone(text) {
        return Err(why);
    }
    if has_zone(text) || text.parse::<SocketAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    Err({
        let why = match text.rsplit_once(':') {
            None => "it has no port",
            Some(("", _)) => "it has no host",
            Some((_, port)) if port.parse::<u16>().is_err() => "the port is no number from 0 to 65535",
            Some((host, _)) if host.contains(':') && !host.starts_with('[') => {
                "an IPv6 address is written in brackets"
            }
            Some(_) => "a server listens at an IP address, not at a name",
        };
        format!("{why}; {LISTEN_FORM}")
    })
}

/// Whether it is a link-local address of IPv6 with its interface, as in `[fe80::1%eth0]:8000`.
fn has_zone(text: &str) -> bool {
    let split = || {
        let (host, port) = text.strip_prefix('[')?.split_once("]:")?;
        let (ip, zone) = host.split_once('%')?;
        Some((ip.parse::<Ipv6Addr>().ok()?, zone, port.parse::<u16>().ok()?))
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    split().is_some_and(|(_, zone, _)| !zone.is_empty() && zone.chars().all(plain))
}

/// What is wrong with the interface of an address, if that is what is wrong.
fn wrong_zone(text: &str) -> Option<String> {
    let lacks = |addr: SocketAddr| matches!(addr, SocketAddr::V6(addr) if addr.ip().is_unicast_link_local() && addr.scope_id() == 0);
    if text.parse().is_ok_and(lacks) {
        return Some("a link-local address needs its interface, as in [fe80::1%eth0]:8000".into());
    }
    (text.contains('%') && !has_zone(text))
        .then(|| "the interface of an address is written like this: [fe80::1%eth0]:8000".into())
}

fn port(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| "it is no port: a number from 0 to 65535")
}

fn ip_address(text: &str) -> Result<IpAddr, String> {
    if text.contains('%') || text.parse().is_ok_and(|ip: Ipv6Addr| ip.is_unicast_link_local()) {
        return Err(
            "a link-local address can not be bound to here: it would need its interface, which has no place \
                    in this option; leave it out, or write another address of that interface"
                .into(),
        );
    }
    text.parse().map_err(|_| {
        let why = match text.parse::<SocketAddr>() {
            Ok(_) => "it has a port, which is given by --port",
            Err(_) => "it is no IP address",
        };
        format!("{why}; write an address of this machine, like 127.0.0.1 or ::1")
    })
}

/// Finds the mistakes that can be seen here, where the argument's name is known; the library has the last word.
fn host_and_port(text: &str) -> Result<String, String> {
    if let Some(why) = wrong_zone(text) {
        return Err(why);
    }
    if has_zone(text) && !text.ends_with("]:0") {
        return Ok(text.to_owned());
    }
    let why = match text.rsplit_once(':') {
        None => "it has no port",
        Some(("", _)) => "it has no host",
        Some((host, _)) if text.parse::<SocketAddr>().is_err() && host.contains(['/', '[', ']']) => {
            "the host is no name and no address"
        }
        Some((host, _)) if host.contains(':') && !host.starts_with('[') => {
            "an IPv6 address is written in brackets"
        }
        Some((_, port)) if !port.parse::<u16>().is_ok_and(|port| port != 0) => {
            "the port is no number from 1 to 65535"
        }
        Some(_) => return Ok(text.to_owned()),
    };
    Err(format!("{why}; write HOST:PORT, like 192.0.2.1:8000, [2001:db8::1]:8000 or example.org:8000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn addresses_are_told_from_mistakes() {
        for good in [
            "192.0.2.1:80",
            "[2001:db8::1]:80",
            "[fe80::1%eth0]:80",
            "[fe80::1%3]:80",
            "example.org:80",
            "localhost:1",
        ] {
            assert_eq!(host_and_port(good).as_deref(), Ok(good));
        }
        for good in ["0.0.0.0:0", "[::]:80", "[fe80::1%eth0]:0", "[fe80::1%3]:80"] {
            assert_eq!(listen_address(good).as_deref(), Ok(good));
        }
        for bad in
            ["[fe80::1]:80", "[fe80::1%]:80", "fe80::1%eth0:80", "[fe80::1%eth 0]:80", "example.org%eth0:80"]
        {
            for said in [host_and_port(bad), listen_address(bad)] {
                assert!(said.expect_err(bad).contains("interface"), "{bad}");
            }
        }
        for bad in ["fe80::1%eth0", "fe80::1%3", "fe80::1"] {
            assert!(ip_address(bad).expect_err(bad).contains("interface"), "{bad}");
        }
        for (bad, why) in [
            ("example.org", "no port"),
            (":80", "no host"),
            ("2001:db8::1:80", "brackets"),
            ("http://example.org:80", "no name"),
            ("[2001:db8::g]:80", "no name"),
            ("example.org:http", "port"),
            ("192.0.2.1:0", "port"),
        ] {
            let said = host_and_port(bad).expect_err(bad);
            assert!(said.contains(why) && said.contains("write HOST:PORT"), "{bad}: {said}");
        }
        for (bad, why) in [
            ("8000", "no port"),
            (":8000", "no host"),
            ("localhost:8000", "not at a name"),
            ("1.2.3.4:x", "number"),
        ] {
            let said = listen_address(bad).expect_err(bad);
            assert!(said.contains(why) && said.contains("write IP:PORT"), "{bad}: {said}");
        }
        assert!(ip_address("127.0.0.1:80").expect_err("a port").contains("--port"));
    }
}
