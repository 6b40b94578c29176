//! `p2poll chat`

use p2poll::Config;

use crate::Failure;
use crate::arguments::ChatOptions;
use crate::input::Input;
use crate::output::{Output, Plain, is_logged};
use crate::pipe::{Audience, Pipe};
use crate::waiting::Waiting;

pub(crate) fn run(options: &ChatOptions) -> Result<(), Failure> {
    let mut waiting = Waiting::new()?;
    let mut net = config(options).start()?;
    waiting.add(&mut net)?;
    let output = if options.json { Output::json() } else { Output::plain(plain(options)) };
    let input = Input::start(waiting.waker())?;
    let mut pipe = Pipe::new(net, input, output, Audience::Everybody);
    introduce(&mut pipe, options)?;
    loop {
        pipe.turn()?;
        pipe.tell_alone();
        if waiting.wants_to_leave() {
            return pipe.leave(&mut waiting);
        }
        if !options.stay && is_over(&pipe) {
            pipe.output
                .tell(|| "standard input has ended: leaving (with --stay it would go on listening)".into());
            return pipe.leave(&mut waiting);
        }
        waiting.wait(pipe.next_wakeup())?;
    }
}

fn config(options: &ChatOptions) -> Config {
    let mut config = options.reach.apply(Config::new().port(options.port));
    if let Some(ip) = options.bind {
        config = config.bind(ip);
    }
    if let Some(file) = &options.known_peers {
        config = config.known_peers(file);
    }
    config = options.rendezvous.iter().fold(config, Config::rendezvous);
    options.peer.iter().fold(config, Config::peer)
}

fn plain(options: &ChatOptions) -> Plain {
    // Asked for by -v or by RUST_LOG, the library's notes come at this level.
    Plain { names: options.names, quiet: options.quiet, logged: is_logged() }
}

fn introduce(pipe: &mut Pipe, options: &ChatOptions) -> Result<(), Failure> {
    if let Some(addr) = pipe.net.local_addr() {
        pipe.output.listening(addr)?;
    }
    if options.rendezvous.is_empty() && options.peer.is_empty() {
        pipe.output.tell(|| {
            "no rendezvous server is given, so only those are heard who connect by themselves; \
             --rendezvous HOST:PORT finds others"
                .into()
        });
    }
    Ok(())
}

/// The input has ended and was delivered, or nobody is there whom a person would wait for.
fn is_over(pipe: &Pipe) -> bool {
    let delivered = pipe.input.is_over() && pipe.is_delivered();
    let alone = pipe.input.has_ended() && pipe.input.is_interactive() && pipe.peers() == 0;
    delivered || alone
}
