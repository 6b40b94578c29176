//! The command-line tool: netcat for peers that find each other, or connect by a word that says where a peer is, the
//! rendezvous server that they need for it, the doctor for when they do not, and a reader of those words.
//!
//! Built on the public API alone. Lines that were received, the doctor's report, and with `--json` events, go to
//! standard output; everything else goes to standard error. Exit status: 0 done, 1 failed at run time, 2 wrong usage.

mod arguments;
mod chat;
mod connect;
mod doctor;
mod input;
mod listen;
mod output;
mod pipe;
mod server;
mod unl;
mod waiting;

use std::process::ExitCode;

use clap::Parser as _;
use p2poll::StartError;

use arguments::{Arguments, Command};

/// Why the tool ends before its time.
#[derive(Debug)]
enum Failure {
    /// The user can mend the command line.
    Usage(String),
    /// The world did not play along.
    Run(String),
    /// Who read standard output has gone: nothing to do any more, and nothing to complain about.
    OutputClosed,
}

fn main() -> ExitCode {
    // Ends by itself, with status 2, when the arguments are wrong.
    let arguments = Arguments::parse();
    start_log(arguments.verbose);
    let outcome = arguments.command.check().map_err(Failure::Usage).and_then(|()| match &arguments.command {
        Command::Rendezvous(options) => server::run(options),
        Command::Chat(options) => chat::run(options),
        Command::Listen(options) => listen::run(options),
        Command::Connect(options) => connect::run(options),
        Command::Doctor(options) => doctor::run(options),
        Command::Unl(options) => unl::run(options),
    });
    match outcome {
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Run(why)) => {
            eprintln!("p2poll: {why}");
            ExitCode::FAILURE
        }
        Err(Failure::Usage(why)) => {
            eprintln!("p2poll: {why}\n\nFor more information, try '--help'.");
            ExitCode::from(2)
        }
    }
}

/// The log goes to standard error. What `-v` asks for goes before what `RUST_LOG` asks for.
fn start_log(verbose: u8) {
    let mut log = match verbose {
        0 => env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")),
        _ => env_logger::Builder::new(),
    };
    match verbose {
        0 => {}
        1 => _ = log.filter_level(log::LevelFilter::Info),
        2 => _ = log.filter_level(log::LevelFilter::Debug),
        _ => _ = log.filter_level(log::LevelFilter::Trace),
    }
    log.init();
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::BadAddress { .. } | StartError::BadConfig(_) => Self::Usage(error.to_string()),
            _ => Self::Run(error.to_string()),
        }
    }
}

/// The poller's errors, and those of standard output.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Run(error.to_string()),
        }
    }
}
