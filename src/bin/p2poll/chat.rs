//! `p2poll chat`

use std::time::{Duration, Instant};

use p2poll::{Config, Event, Net, SendError};

use crate::Failure;
use crate::arguments::ChatOptions;
use crate::input::Input;
use crate::output::{Output, Plain, complain, is_logged};
use crate::waiting::Waiting;

/// How long leaving may take: a round trip to the servers and to slow peers, and no longer than a person waits.
const LEAVE: Duration = Duration::from_secs(3);

/// A person wonders why it takes longer than this.
const HINT: Duration = Duration::from_millis(200);

/// No line is sent while more than this is on its way to somebody. With what the input holds at once and one longest
/// line it stays below the 4 MiB that a connection queues, so that nobody misses a line.
const PACE: usize = 1 << 20;

pub(crate) fn run(options: &ChatOptions) -> Result<(), Failure> {
    let mut waiting = Waiting::new()?;
    let mut net = config(options).start()?;
    waiting.add(&mut net)?;
    let output = if options.json { Output::json() } else { Output::plain(plain(options)) };
    let input = Input::start(waiting.waker())?;
    let mut chat = Chat { net, input, output, peers: 0, congested: false, missed: 0, told_alone: false };
    chat.introduce(options)?;
    loop {
        chat.turn()?;
        if waiting.wants_to_leave() {
            return chat.leave(&mut waiting);
        }
        if !options.stay && chat.is_over() {
            chat.output
                .tell(|| "standard input has ended: leaving (with --stay it would go on listening)".into());
            return chat.leave(&mut waiting);
        }
        waiting.wait(chat.next_wakeup())?;
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

struct Chat {
    net: Net,
    input: Input,
    output: Output,
    /// As the last walk found it.
    peers: usize,
    congested: bool,
    /// Lines that could not be sent to somebody.
    missed: u64,
    /// Who types has been told that nobody is there.
    told_alone: bool,
}

impl Chat {
    fn introduce(&mut self, options: &ChatOptions) -> Result<(), Failure> {
        if let Some(addr) = self.net.local_addr() {
            self.output.listening(addr)?;
        }
        if options.rendezvous.is_empty() && options.peer.is_empty() {
            self.output.tell(|| {
                "no rendezvous server is given, so only those are heard who connect by themselves; \
                 --rendezvous HOST:PORT finds others"
                    .into()
            });
        }
        Ok(())
    }

    /// Hears, then speaks.
    fn turn(&mut self) -> Result<(), Failure> {
        self.hear()?;
        self.input.take();
        if self.peers > 0 && !self.congested {
            self.speak();
        } else if self.peers == 0
            && self.input.waiting() > 0
            && !std::mem::replace(&mut self.told_alone, true)
        {
            self.output.tell(|| "nobody is there yet: what is said is kept for the first who comes".into());
        }
        self.tell_events()?;
        Ok(self.output.flush()?)
    }

    fn hear(&mut self) -> Result<(), Failure> {
        // It moves what can be moved: only then the events tell of the connections whose lines follow.
        let walk = self.net.connections();
        for event in self.net.events() {
            self.output.event(&event)?;
        }
        (self.peers, self.congested) = (0, false);
        for con in walk {
            self.peers += 1;
            self.congested |= con.queued() > PACE;
            for line in con.replies() {
                self.output.line(con.id(), &line)?;
            }
        }
        Ok(())
    }

    fn speak(&mut self) {
        if self.input.waiting() == 0 {
            return;
        }
        let lines = self.input.lines();
        for con in self.net.connections() {
            for line in &lines {
                match con.send_line(line) {
                    Ok(()) => {}
                    Err(SendError::Closed) => break,
                    Err(why) => {
                        self.missed += 1;
                        log::error!("{} misses a line: {why}", con.id());
                    }
                }
            }
        }
    }

    fn tell_events(&mut self) -> Result<(), Failure> {
        for event in self.net.events() {
            self.output.event(&event)?;
        }
        Ok(())
    }

    /// The input has ended and was delivered, or nobody is there whom a person would wait for.
    fn is_over(&self) -> bool {
        let delivered = self.input.is_over() && self.net.connections().all(|con| con.queued() == 0);
        let alone = self.input.has_ended() && self.input.is_interactive() && self.peers == 0;
        delivered || alone
    }

    fn next_wakeup(&self) -> Option<Duration> {
        // What the end of the last walk sent may have made room for more, and nothing else would tell.
        let more = self.peers > 0 && self.input.has_work();
        let room = || self.net.connections().all(|con| con.queued() <= PACE);
        if more && room() { Some(Duration::ZERO) } else { self.net.next_wakeup() }
    }

    /// Takes back the registrations, closes the connections, and tells whether something was lost.
    fn leave(mut self, waiting: &mut Waiting) -> Result<(), Failure> {
        let begin = now();
        let mut hinted = false;
        self.net.stop();
        while !self.pass_on_until_stopped()? {
            let passed = now() - begin;
            if passed >= LEAVE {
                complain("not everybody answered the good-bye in time");
                break;
            }
            // At the end of input nobody has typed Ctrl-C yet, and the first one only asks to leave.
            if passed >= HINT && waiting.wants_to_leave() && !std::mem::replace(&mut hinted, true) {
                self.output.tell(|| "leaving; Ctrl-C again ends at once".into());
            }
            let left = if passed < HINT { HINT - passed } else { LEAVE - passed };
            let wakeup = self.net.next_wakeup();
            waiting.wait(Some(wakeup.map_or(left, |wakeup| wakeup.min(left))))?;
        }
        self.output.flush()?;
        match self.input.waiting() as u64 + self.input.refused() + self.missed {
            0 => Ok(()),
            lost => Err(Failure::Run(format!("lines that could not be sent: {lost}"))),
        }
    }

    fn pass_on_until_stopped(&mut self) -> Result<bool, Failure> {
        self.net.poll(Some(Duration::ZERO))?;
        for event in self.net.events() {
            if event == Event::Stopped {
                return Ok(true);
            }
            self.output.event(&event)?;
        }
        Ok(false)
    }
}

#[expect(clippy::disallowed_methods, reason = "a program may read the clock: no machine decides here")]
fn now() -> Instant {
    Instant::now()
}
