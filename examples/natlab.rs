//! Builds networks with NATs on this machine, as the tests have them, and puts you on one of the hosts.
//!
//! How it is asked is in `USAGE`, which `--help` prints.

// A program of its own, on the application's side of the loop.
#![allow(clippy::disallowed_methods)]

#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "each program takes the parts that it needs")]
#[path = "../tests/natlab/lab/mod.rs"]
mod lab;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    match town::run() {
        Ok(code) => code,
        Err(why) => {
            eprintln!("natlab: {why}");
            std::process::ExitCode::from(2)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("natlab: network namespaces are Linux's");
    std::process::ExitCode::from(2)
}

#[cfg(target_os = "linux")]
mod town {
    use std::env;
    use std::error::Error;
    use std::fmt;
    use std::process::{Command, ExitCode};
    use std::time::{Duration, Instant};

    use crate::lab::{Filter, Host, Lab, Mapping, Means, Nat, Need, Observer, Router};

    type Result<T> = std::result::Result<T, Box<dyn Error>>;

    const USAGE: &str = "\
Builds networks with NATs on this machine, as the tests have them, and puts you on one of the hosts.

    cargo run --example natlab -- [--delay MS] [--loss PART] [PLACE...] [-- COMMAND...]

A place is one of these. What is left out is taken as preserving, drop, and no port mapping.

    rv=server                        a machine with a public address; on port 7 it tells whoever connects where it
                                     sees them
    alice=random/reject/upnp         a host behind a router
    alice,carol=preserving/drop/both two hosts behind one router
    bob=random/drop:preserving/drop/natpmp
                                     a host behind a router behind a carrier's router

NATs: preserving, random, deltaN, reuse, reusedeltaN, peraddress. Filters: drop, reject, open.
Mappings, with the first two NATs only: upnp, natpmp, both. With the others only: hairpin, fullcone.

Without places: rv=server alice=preserving/drop/both bob=preserving/reject/both, 25 ms from each to each.

The shell runs on the first host. Every machine's name is a command that runs the rest of the line on that machine:
`bob p2poll chat`, `alice_router tcpdump -ni wan0`, `rv nc -l 1000`. With -- COMMAND... it is that command that runs,
instead of a shell. When it ends, all of the network is gone, and every program that was started in it. Needs Linux,
root, iproute2 and nftables; for mappings miniupnpd.
";

    const PLACES: [&str; 3] = ["rv=server", "alice=preserving/drop/both", "bob=preserving/reject/both"];
    const DELAY: Duration = Duration::from_millis(25);
    /// Where servers tell how they see you.
    const OBSERVER: u16 = 7;

    pub(crate) fn run() -> Result<ExitCode> {
        if env::args().skip(1).take_while(|word| word != "--").any(|word| word == "--help" || word == "-h") {
            print!("{USAGE}");
            return Ok(ExitCode::SUCCESS);
        }
        let wishes = Wishes::read(env::args().skip(1))?;
        Means::find().meet(&wishes.needs())?;
        let start = Instant::now();
        let town = Town::build(&wishes)?;
        eprintln!("built in {:?}; {:?} from each to each", start.elapsed(), wishes.delay);
        town.describe();
        town.enter(&wishes.command)
    }

    /// What was asked for on the command line.
    struct Wishes {
        delay: Duration,
        loss: f64,
        places: Vec<(Vec<String>, Kind)>,
        command: Vec<String>,
    }

    enum Kind {
        Server,
        /// The outermost router first.
        Behind(Vec<RouterKind>),
    }

    struct RouterKind {
        nat: Nat,
        filter: Filter,
        mapping: Option<Mapping>,
        hairpin: bool,
        full_cone: bool,
    }

    /// As it is typed.
    impl fmt::Display for RouterKind {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.nat {
                Nat::Preserving => f.write_str("preserving")?,
                Nat::Random => f.write_str("random")?,
                Nat::Delta(step) => write!(f, "delta{step}")?,
                Nat::Reuse => f.write_str("reuse")?,
                Nat::ReuseDelta(step) => write!(f, "reusedelta{step}")?,
                Nat::PerAddress => f.write_str("peraddress")?,
            }
            f.write_str(match self.filter {
                Filter::Drop => "/drop",
                Filter::Reject => "/reject",
                Filter::Open => "/open",
            })?;
            f.write_str(match self.mapping {
                Some(Mapping::Upnp) => "/upnp",
                Some(Mapping::NatPmp) => "/natpmp",
                Some(Mapping::Both) => "/both",
                None => "",
            })?;
            f.write_str(if self.hairpin { "/hairpin" } else { "" })?;
            f.write_str(if self.full_cone { "/fullcone" } else { "" })
        }
    }

    impl Wishes {
        fn read(mut words: impl Iterator<Item = String>) -> Result<Wishes> {
            let (mut delay, mut loss, mut places) = (DELAY, 0.0, Vec::new());
            while let Some(word) = words.next() {
                match word.as_str() {
                    "--" => break,
                    "--delay" => {
                        delay = Duration::from_millis(words.next().ok_or("--delay MS")?.parse()?);
                    }
                    "--loss" => loss = words.next().ok_or("--loss PART")?.parse()?,
                    place => places.push(read_place(place)?),
                }
            }
            if places.is_empty() {
                places = PLACES.into_iter().map(read_place).collect::<Result<_>>()?;
            }
            Ok(Wishes { delay, loss, places, command: words.collect() })
        }

        fn needs(&self) -> Vec<Need> {
            let maps = |kind: &Kind| match kind {
                Kind::Server => false,
                Kind::Behind(routers) => routers.iter().any(|router| router.mapping.is_some()),
            };
            let daemon = self.places.iter().any(|(_, kind)| maps(kind)).then_some(Need::Program("miniupnpd"));
            [Need::Network].into_iter().chain(daemon).collect()
        }
    }

    fn read_place(place: &str) -> Result<(Vec<String>, Kind)> {
        let (names, kind) =
            place.split_once('=').ok_or_else(|| format!("{place}: NAME=KIND is wanted, see --help"))?;
        let names: Vec<_> = names.split(',').map(String::from).collect();
        // They become names of commands.
        let good = |name: &String| {
            name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_')
        };
        if let Some(bad) = names.iter().find(|name| !good(name)) {
            return Err(format!("{bad:?} is no name: letters, digits and _").into());
        }
        let kind = match kind {
            "server" => Kind::Server,
            routers => Kind::Behind(routers.split(':').map(read_router).collect::<Result<_>>()?),
        };
        Ok((names, kind))
    }

    fn read_router(words: &str) -> Result<RouterKind> {
        let mut router = RouterKind {
            nat: Nat::Preserving,
            filter: Filter::Drop,
            mapping: None,
            hairpin: false,
            full_cone: false,
        };
        for word in words.split('/') {
            match word {
                "preserving" => router.nat = Nat::Preserving,
                "random" => router.nat = Nat::Random,
                "reuse" => router.nat = Nat::Reuse,
                "drop" => router.filter = Filter::Drop,
                "reject" => router.filter = Filter::Reject,
                "open" => router.filter = Filter::Open,
                "upnp" => router.mapping = Some(Mapping::Upnp),
                "natpmp" => router.mapping = Some(Mapping::NatPmp),
                "both" => router.mapping = Some(Mapping::Both),
                "hairpin" => router.hairpin = true,
                "fullcone" => router.full_cone = true,
                "peraddress" => router.nat = Nat::PerAddress,
                _ => router.nat = read_delta(word).ok_or_else(|| format!("{word:?} is unknown here"))?,
            }
        }
        if !router.nat.is_kernels() && router.mapping.is_some() {
            return Err(format!("{words}: mappings go with preserving and random only").into());
        }
        if router.nat.is_kernels() && (router.hairpin || router.full_cone) {
            return Err(
                format!("{words}: neither hairpin nor fullcone goes with preserving or random").into()
            );
        }
        Ok(router)
    }

    fn read_delta(word: &str) -> Option<Nat> {
        let (kind, step): (fn(u16) -> Nat, _) = match word.strip_prefix("reuse") {
            Some(rest) => (Nat::ReuseDelta, rest),
            None => (Nat::Delta, word),
        };
        let step = step.strip_prefix("delta")?.parse().ok()?;
        (step > 0).then(|| kind(step))
    }

    /// Everything that was built.
    #[derive(Default)]
    struct Town {
        machines: Vec<Machine>,
        hosts: Vec<Host>,
        routers: Vec<Router>,
        observers: Vec<Observer>,
    }

    /// A name, what goes before a command to run it there, and what there is to say about it.
    struct Machine {
        name: String,
        entrance: Vec<String>,
        about: String,
        is_home: bool,
    }

    impl Town {
        fn build(wishes: &Wishes) -> Result<Town> {
            let (lab, mut town) = (Lab::new(), Town::default());
            lab.delay(wishes.delay);
            lab.loss(wishes.loss);
            for (names, kind) in &wishes.places {
                match kind {
                    Kind::Server => town.add_servers(&lab, names)?,
                    Kind::Behind(routers) => town.add_house(&lab, names, routers),
                }
            }
            Ok(town)
        }

        fn add_servers(&mut self, lab: &Lab, names: &[String]) -> Result<()> {
            for name in names {
                let host = lab.server();
                self.observers.push(Observer::start(&host, OBSERVER)?);
                self.add_host(name, host, "a server".into(), false);
            }
            Ok(())
        }

        fn add_house(&mut self, lab: &Lab, names: &[String], kinds: &[RouterKind]) {
            let mut above: Option<Router> = None;
            for (depth, kind) in kinds.iter().enumerate() {
                let innermost = depth + 1 == kinds.len();
                let mut router = match above {
                    Some(above) => above.router(kind.nat, kind.filter),
                    None if innermost => lab.router(kind.nat, kind.filter),
                    None => lab.carrier(kind.nat, kind.filter),
                };
                if let Some(mapping) = kind.mapping {
                    router = router.mapping(mapping);
                }
                if kind.hairpin {
                    router = router.hairpin();
                }
                if kind.full_cone {
                    router = router.full_cone();
                }
                let suffix = if innermost { "router".into() } else { format!("carrier{depth}") };
                self.add_router(format!("{}_{suffix}", names[0]), &router, kind);
                self.routers.push(router.clone());
                above = Some(router);
            }
            if let Some(router) = above {
                for name in names {
                    let host = router.host();
                    self.add_host(name, host, format!("behind {}", router.address()), true);
                }
            }
        }

        fn add_host(&mut self, name: &str, host: Host, about: String, is_home: bool) {
            let about = format!("{:15} {about}", host.address().to_string());
            let entrance = host.entrance();
            self.machines.push(Machine { name: name.to_owned(), entrance, about, is_home });
            self.hosts.push(host);
        }

        fn add_router(&mut self, name: String, router: &Router, kind: &RouterKind) {
            let mut about = format!("{:15} {kind}", router.address().to_string());
            let entrance = router.space().map(|space| space.entrance()).unwrap_or_default();
            if entrance.is_empty() {
                about.push_str(" (in this process: no commands there)");
            }
            self.machines.push(Machine { name, entrance, about, is_home: false });
        }

        fn describe(&self) {
            for Machine { name, about, .. } in &self.machines {
                eprintln!("  {name:15} {about}");
            }
        }

        /// Runs the command, or a shell, on the first host, or the first server where there are no hosts.
        fn enter(&self, command: &[String]) -> Result<ExitCode> {
            let home = self.machines.iter().find(|machine| machine.is_home).or(self.machines.first());
            let home = home.ok_or("there is nobody")?;
            let mut inside = Command::new(&home.entrance[0]);
            inside.args(&home.entrance[1..]);
            if command.is_empty() {
                eprintln!("You are {}. The other names are commands; `exit` ends all.", home.name);
                inside.args(["bash", "--norc", "-i"]).env("PS1", format!("{}@natlab\\w$ ", home.name));
            } else {
                inside.args(command);
            }
            for machine in self.machines.iter().filter(|machine| !machine.entrance.is_empty()) {
                // How bash hands functions on to the programs that it starts, and takes them from ours.
                let function = format!("() {{ {} \"$@\"; }}", machine.entrance.join(" "));
                inside.env(format!("BASH_FUNC_{}%%", machine.name), function);
            }
            let status = inside.env("PATH", path_with_ours()?).status()?;
            Ok(status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .map_or(ExitCode::FAILURE, ExitCode::from))
        }
    }

    /// With the folder that `p2poll` was built into, next to that of the examples.
    fn path_with_ours() -> Result<String> {
        let ours = env::current_exe()?;
        let folder = ours.parent().and_then(|examples| examples.parent()).ok_or("no folder")?;
        Ok(format!("{}:{}", folder.display(), env::var("PATH").unwrap_or_default()))
    }
}
