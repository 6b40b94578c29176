//! Whether this machine can hold a laboratory, and why not.

use std::collections::HashMap;
use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use super::space::Space;
use super::{Filter, Lab, Nat};

/// Set it where the laboratory has to work: then a test fails instead of being ignored.
const REQUIRED: &str = "P2POLL_NATLAB";

/// What a test needs of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Namespaces, interfaces and the kernel's translation: everything but what follows.
    Network,
    /// All that, and IPv6.
    Ipv6,
    /// All that, and one of these programs.
    Program(&'static str),
}

/// What the machine has.
#[derive(Debug)]
pub(crate) struct Means {
    network: Result<(), String>,
    programs: HashMap<&'static str, bool>,
}

impl Means {
    /// Programs that some tests need, and that the laboratory does without.
    const PROGRAMS: [&str; 6] = ["miniupnpd", "upnpc", "natpmpc", "conntrack", "nc", "tcpdump"];

    /// Tries everything that can be missing.
    pub(crate) fn find() -> Means {
        let programs = Means::PROGRAMS.into_iter().map(|program| (program, is_there(program))).collect();
        Means { network: try_network(), programs }
    }

    /// `Err` with the reason when a need is not met. Where the laboratory is required it panics instead.
    pub(crate) fn meet(&self, needs: &[Need]) -> Result<(), String> {
        let met = needs.iter().try_for_each(|need| self.meet_one(*need));
        if env::var_os(REQUIRED).is_some() {
            assert!(met.is_ok(), "{REQUIRED} is set, but {met:?}");
        }
        met
    }

    fn meet_one(&self, need: Need) -> Result<(), String> {
        self.network.clone()?;
        match need {
            Need::Program(name) if self.programs.get(name) != Some(&true) => {
                Err(format!("there is no `{name}`"))
            }
            Need::Ipv6 if !Path::new("/proc/net/if_inet6").exists() => Err("this kernel has no IPv6".into()),
            Need::Program(_) | Need::Ipv6 | Need::Network => Ok(()),
        }
    }
}

fn try_network() -> Result<(), String> {
    for program in ["ip", "nft", "nsenter", "setpriv", "unshare", "mount"] {
        if !is_there(program) {
            return Err(format!("there is no `{program}`"));
        }
    }
    Space::new().map_err(|why| format!("no network namespace can be made (that needs root): {why}"))?;
    let lab = Lab::new();
    let home = lab.try_router(Nat::Preserving, Filter::Reject);
    home.map(drop).map_err(|why| format!("no router can be built (TAP devices, nftables): {why}"))
}

fn is_there(program: &str) -> bool {
    // The shell knows without starting it; what some of these do without arguments differs.
    let mut shell = Command::new("sh");
    shell.args(["-c", "command -v \"$0\"", program]).stdin(Stdio::null()).stdout(Stdio::null());
    shell.status().is_ok_and(|status| status.success())
}
