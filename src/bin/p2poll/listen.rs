//! `p2poll listen`

use std::time::{Duration, Instant};

use p2poll::{CloseReason, Event, Unl};

use crate::Failure;
use crate::arguments::ListenOptions;
use crate::input::Input;
use crate::pipe::{Audience, Pipe, now};
use crate::waiting::Waiting;

/// After so long without a UNL a person wants to know what it waits for.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(options: &ListenOptions) -> Result<(), Failure> {
    let mut waiting = Waiting::new()?;
    let mut net = options.config()?.start()?;
    waiting.add(&mut net)?;
    let input = Input::start(waiting.waker())?;
    let audience = if options.once { Audience::FirstProven } else { Audience::Everybody };
    let pipe = Pipe::new(net, input, options.output(), audience);
    let mut listen =
        Listen { pipe, options, printed: None, hint_at: Some(now() + PATIENCE), met: false, ended: None };
    listen.introduce()?;
    loop {
        listen.turn()?;
        if let Some(why) = listen.ended.filter(|why| *why != CloseReason::Peer) {
            listen.pipe.leave(&mut waiting)?;
            return Err(Failure::Run(format!("the connection is gone: {why}")));
        }
        if waiting.wants_to_leave() || (!options.stay && listen.is_over()) {
            return listen.pipe.leave(&mut waiting);
        }
        waiting.wait(listen.next_wakeup())?;
    }
}

struct Listen<'a> {
    pipe: Pipe,
    options: &'a ListenOptions,
    /// The UNL that was printed last.
    printed: Option<Unl>,
    /// When to tell why there is no UNL yet.
    hint_at: Option<Instant>,
    /// Somebody was there.
    met: bool,
    /// How the only connection has ended.
    ended: Option<CloseReason>,
}

impl Listen<'_> {
    fn introduce(&mut self) -> Result<(), Failure> {
        if let Some(addr) = self.pipe.net.local_addr() {
            self.pipe.output.listening(addr)?;
        }
        self.print_unl()
    }

    fn turn(&mut self) -> Result<(), Failure> {
        let mut events = self.pipe.turn()?;
        if self.options.once {
            if self.pipe.choose(&events)? {
                events.extend(self.pipe.turn()?);
            }
            let only = self.pipe.audience;
            self.ended = events.iter().find_map(|event| match event {
                Event::Closed { con, why } if only == Audience::Only(*con) => Some(*why),
                _ => None,
            });
        }
        self.met |= events.iter().any(|event| matches!(event, Event::Connected { .. }));
        // Among the missed may be the one that tells of it.
        if events.iter().any(|event| matches!(event, Event::Unl(_) | Event::Missed(_))) {
            self.print_unl()?;
        }
        self.hint();
        self.pipe.tell_alone();
        Ok(())
    }

    /// Prints the UNL if it is a new one by which others get here.
    fn print_unl(&mut self) -> Result<(), Failure> {
        let by_signals = !self.options.rendezvous.is_empty();
        let works = |unl: &Unl| if by_signals { unl.servers().len() > 0 } else { unl.addresses().len() > 0 };
        let Some(unl) = self.pipe.net.unl().filter(works) else { return Ok(()) };
        if self.printed.as_ref() != Some(&unl) {
            self.pipe.output.unl(&unl)?;
            self.pipe.output.flush()?;
            self.printed = Some(unl);
        }
        Ok(())
    }

    fn hint(&mut self) {
        if self.printed.is_some() {
            self.hint_at = None;
        }
        if self.hint_at.is_some_and(|at| at <= now()) {
            self.hint_at = None;
            self.pipe.output.tell(|| match self.options.rendezvous.is_empty() {
                true => {
                    "there is no UNL yet: this machine has no address at which others could reach it".into()
                }
                false => {
                    "there is no UNL yet: none of the rendezvous servers takes calls for this node".into()
                }
            });
        }
    }

    /// All that was to be said has been, and whom it was for has gone; or nobody is there whom a person would wait for.
    fn is_over(&self) -> bool {
        let Pipe { input, .. } = &self.pipe;
        if self.options.once {
            let has_said_all = input.had_lines() && input.is_over() && self.pipe.is_delivered();
            return self.ended.is_some() || (self.pipe.peers() > 0 && has_said_all);
        }
        let alone = input.has_ended() && self.pipe.peers() == 0;
        alone && (input.is_interactive() || (self.met && input.is_over() && input.had_lines()))
    }

    fn next_wakeup(&self) -> Option<Duration> {
        let hint = self.hint_at.map(|at| at.saturating_duration_since(now()));
        self.pipe.next_wakeup().into_iter().chain(hint).min()
    }
}
