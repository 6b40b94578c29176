//! p2poll and the published pyp2p (0.8.3), talking to each other on loopback.
//!
//! pyp2p runs in Python processes of its own (`tests/interop/*.py`), which cannot leave the loopback. Each
//! process and each of our nodes lives at a 127.x.y.z of its own, because pyp2p tells nodes apart by address.
//!
//! The cases of what pyp2p's client does at a server run at pyp2p's own server too. Those are the controls: when
//! one of them fails, the driver or pyp2p has changed, and not p2poll.
//!
//! Python is looked for as `driver.rs` says; without it, or without pyp2p, the cases are reported as ignored. To
//! prepare it: `python3 -m venv target/pyp2p-venv`, then what `.ci/run` does with
//! `tests/interop/requirements.txt`.

// Tests are on the application's side of the loop: they read pipes in threads and keep deadlines.
#![allow(clippy::disallowed_methods)]

#[path = "interop/cases.rs"]
mod cases;
#[path = "interop/clients.rs"]
mod clients;
#[path = "interop/direct.rs"]
mod direct;
#[allow(dead_code, reason = "each program takes the parts that it needs")]
#[path = "interop/driver.rs"]
mod driver;
#[path = "interop/node.rs"]
mod node;
#[path = "interop/nodes.rs"]
mod nodes;
#[path = "interop/server.rs"]
mod server;
#[path = "interop/typed.rs"]
mod typed;
#[path = "interop/typist.rs"]
mod typist;
#[path = "interop/unls.rs"]
mod unls;

use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::cases::{CASES, Case, Run};
use crate::driver::Python;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Looking for Python starts it; a mere listing does without.
    let means = if arguments.list { Means::default() } else { Means::find() };
    let means = Arc::new(means);
    let trials = (0u8..).zip(CASES).map(|(number, case)| trial(number, case, means.clone())).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Loopback addresses that no other case uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Street(u8);

impl Street {
    /// The address of a house in this street.
    pub(crate) fn house(self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 44, self.0, number)
    }
}

fn trial(number: u8, case: &'static Case, means: Arc<Means>) -> Trial {
    Trial::ignorable_test(case.name, move || {
        let street = Street(number);
        match (&case.run, &means.streets, &means.python) {
            (_, Err(why), _) | (Run::WithPython(_), _, Err(why)) => return Ok(Completion::ignored_with(why)),
            (Run::WithPython(run), _, Ok(python)) => run(python, street),
            (Run::Alone(run), ..) => run(street),
        }
        Ok(Completion::Completed)
    })
}

/// What this machine has for the cases, or why not.
#[derive(Debug)]
struct Means {
    streets: Result<(), String>,
    python: Result<Python, String>,
}

impl Default for Means {
    fn default() -> Self {
        Self { streets: Err("not looked for".to_owned()), python: Err("not looked for".to_owned()) }
    }
}

impl Means {
    fn find() -> Self {
        let streets = TcpListener::bind((Street(0).house(1), 0)).map(drop);
        Self {
            streets: streets.map_err(|error| format!("only one loopback address here ({error})")),
            python: Python::find().map_err(|why| format!("no Python with pyp2p ({why})")),
        }
    }
}
