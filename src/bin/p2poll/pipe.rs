//! What all commands that carry lines have in common: standard input goes to the peers, what they say goes to standard
//! output, and nothing is lost at the end.

use std::time::{Duration, Instant};

use p2poll::{AttemptId, Con, ConId, Event, Net, SendError};

use crate::Failure;
use crate::input::Input;
use crate::output::{Output, complain};
use crate::waiting::Waiting;

/// How long leaving may take: a round trip to the servers and to slow peers, and no longer than a person waits.
const LEAVE: Duration = Duration::from_secs(3);

/// A person wonders why it takes longer than this.
const HINT: Duration = Duration::from_millis(200);

/// No line is sent while more than this is on its way to somebody. With what the input holds at once and one longest
/// line it stays below the 4 MiB that a connection queues, so that nobody misses a line.
const PACE: usize = 1 << 20;

pub(crate) struct Pipe {
    pub(crate) net: Net,
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) audience: Audience,
    /// Those that the last walk found and that do not take part. A connection is in no walk before its event has told
    /// whose outcome it is.
    pub(crate) others: Vec<ConId>,
    /// How many take part, as the last walk found it.
    peers: usize,
    congested: bool,
    /// Lines that could not be sent to somebody.
    missed: u64,
    /// Who types has been told that nobody is there.
    told_alone: bool,
}

/// With whom lines are exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Everybody,
    /// The first that has proven who it is, once it is there, and no other.
    FirstProven,
    /// The connection that this attempt leads to, once it is there, and no other.
    OutcomeOf(AttemptId),
    Only(ConId),
}

impl Pipe {
    pub(crate) fn new(net: Net, input: Input, output: Output, audience: Audience) -> Self {
        Self {
            net,
            input,
            output,
            audience,
            others: Vec::new(),
            peers: 0,
            congested: false,
            missed: 0,
            told_alone: false,
        }
    }

    /// Hears, then speaks. Returns what has happened, of which the user has been told.
    pub(crate) fn turn(&mut self) -> Result<Vec<Event>, Failure> {
        let mut events = self.hear()?;
        self.input.take();
        if self.peers > 0 && !self.congested {
            self.speak();
        }
        self.tell_events(&mut events)?;
        self.output.flush()?;
        Ok(events)
    }

    /// Where the first who has proven who it is counts, and no other: takes the one that is there by now, and tells of it.
    /// The others are hung up on once there is one. Returns whether it was chosen now: then there is something to hear
    /// and to say at once.
    pub(crate) fn choose(&mut self, events: &[Event]) -> Result<bool, Failure> {
        let con = |&id: &ConId| self.net.con(id);
        let is_choice = self.audience == Audience::FirstProven;
        if is_choice {
            let proven = self.others.iter().filter_map(con).find(|con| con.node_id().is_some());
            let Some(chosen) = proven.map(Con::id) else { return Ok(false) };
            self.audience = Audience::Only(chosen);
            let is_its = |event: &&Event| matches!(event, Event::Connected { con, .. } if *con == chosen);
            events.iter().filter(is_its).try_for_each(|event| self.output.event(event))?;
        }
        if let Audience::Only(chosen) = self.audience {
            let others = self.others.iter().filter_map(con).filter(|con| con.id() != chosen);
            others.for_each(|con| con.close());
        }
        Ok(is_choice)
    }

    /// Tells who types, once, that nobody is there to hear it.
    pub(crate) fn tell_alone(&mut self) {
        if self.peers == 0 && self.input.waiting() > 0 && !std::mem::replace(&mut self.told_alone, true) {
            self.output.tell(|| "nobody is there yet: what is said is kept for the first who comes".into());
        }
    }

    /// How many take part, as the last turn found it.
    pub(crate) fn peers(&self) -> usize {
        self.peers
    }

    /// The network has taken all that was sent.
    pub(crate) fn is_delivered(&self) -> bool {
        self.members().all(|con| con.queued() == 0)
    }

    pub(crate) fn next_wakeup(&self) -> Option<Duration> {
        // What the end of the last walk sent may have made room for more, and nothing else would tell.
        let more = self.peers > 0 && self.input.has_work();
        let room = || self.members().all(|con| con.queued() <= PACE);
        if more && room() { Some(Duration::ZERO) } else { self.net.next_wakeup() }
    }

    /// Takes back the registrations, closes the connections, and tells whether something was lost.
    pub(crate) fn leave(mut self, waiting: &mut Waiting) -> Result<(), Failure> {
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

    fn members(&self) -> impl Iterator<Item = Con<'_>> {
        self.net.connections().filter(|con| self.audience.has(con.id()))
    }

    fn hear(&mut self) -> Result<Vec<Event>, Failure> {
        let Self { net, output, audience, .. } = self;
        // It moves what can be moved: only then the events tell of the connections whose lines follow.
        let walk = net.connections();
        let mut events = Vec::new();
        for event in net.events() {
            audience.tell(output, &event)?;
            events.push(event);
        }
        (self.peers, self.congested) = (0, false);
        self.others.clear();
        for con in walk {
            if !audience.has(con.id()) {
                self.others.push(con.id());
                continue;
            }
            self.peers += 1;
            self.congested |= con.queued() > PACE;
            for line in con.replies() {
                output.line(con.id(), &line)?;
            }
        }
        Ok(events)
    }

    fn speak(&mut self) {
        if self.input.waiting() == 0 {
            return;
        }
        let lines = self.input.lines();
        for con in self.net.connections().filter(|con| self.audience.has(con.id())) {
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

    fn tell_events(&mut self, told: &mut Vec<Event>) -> Result<(), Failure> {
        let Self { net, output, audience, .. } = self;
        for event in net.events() {
            audience.tell(output, &event)?;
            told.push(event);
        }
        Ok(())
    }

    fn pass_on_until_stopped(&mut self) -> Result<bool, Failure> {
        let Self { net, output, audience, .. } = self;
        net.poll(Some(Duration::ZERO))?;
        for event in net.events() {
            if event == Event::Stopped {
                return Ok(true);
            }
            audience.tell(output, &event)?;
        }
        Ok(false)
    }
}

impl Audience {
    pub(crate) fn has(self, con: ConId) -> bool {
        match self {
            Self::Everybody => true,
            Self::FirstProven | Self::OutcomeOf(_) => false,
            Self::Only(id) => id == con,
        }
    }

    /// Tells the user, unless it is about others.
    fn tell(&mut self, output: &mut Output, event: &Event) -> Result<(), Failure> {
        self.handle_event(event);
        match event {
            Event::Connected { con, .. } | Event::Closed { con, .. } | Event::Upgraded { con, .. }
                if !self.has(*con) =>
            {
                Ok(())
            }
            event => Ok(output.event(event)?),
        }
    }

    fn handle_event(&mut self, event: &Event) {
        if let Event::Connected { con, attempt: Some(attempt), .. } = event
            && *self == Self::OutcomeOf(*attempt)
        {
            *self = Self::Only(*con);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a program may read the clock: no machine decides here")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
