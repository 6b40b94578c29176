//! `p2poll connect UNL|ADDR|ID@ADDR`

use p2poll::{AttemptId, CloseReason, Con, Connect, Event, FailReason, TargetError, Tried, Via};

use crate::Failure;
use crate::arguments::ConnectOptions;
use crate::input::Input;
use crate::pipe::{Audience, Pipe};
use crate::waiting::Waiting;

pub(crate) fn run(options: &ConnectOptions) -> Result<(), Failure> {
    // The reason names no more of the text than one character, which it shows harmlessly.
    let to: Connect = options.to.parse().map_err(|why: TargetError| Failure::Usage(why.to_string()))?;
    let mut waiting = Waiting::new()?;
    let mut net = options.config(&to)?.start()?;
    waiting.add(&mut net)?;
    let input = Input::start(waiting.waker())?;
    let to = to.only(options.rungs());
    let attempt = match net.connect(to.clone()) {
        Ok(attempt) => attempt,
        Err(why) => {
            options.output().refused(&why)?;
            return Err(Failure::Run(why.to_string()));
        }
    };
    let pipe = Pipe::new(net, input, options.output(), Audience::OutcomeOf(attempt));
    let mut connection = Connection { pipe, to, attempt, stay: options.stay };
    loop {
        match connection.turn()? {
            Turn::Failed(why) => return connection.fail(explained(&why), &mut waiting),
            Turn::Over => return connection.pipe.leave(&mut waiting),
            Turn::Broken(why) => {
                return connection.fail(format!("the connection is gone: {why}"), &mut waiting);
            }
            Turn::GoesOn if waiting.wants_to_leave() => return connection.interrupt(&mut waiting),
            Turn::GoesOn => waiting.wait(connection.pipe.next_wakeup())?,
        }
    }
}

struct Connection {
    pipe: Pipe,
    to: Connect,
    attempt: AttemptId,
    stay: bool,
}

/// What has become of it.
enum Turn {
    GoesOn,
    /// No way was found.
    Failed(FailReason),
    /// All was said, or the peer has closed.
    Over,
    Broken(CloseReason),
}

impl Connection {
    fn turn(&mut self) -> Result<Turn, Failure> {
        let events = self.pipe.turn()?;
        self.refuse_strangers();
        for event in events {
            match event {
                Event::Failed { attempt, why } if attempt == self.attempt => return Ok(Turn::Failed(why)),
                Event::Closed { con, why } if self.pipe.audience == Audience::Only(con) => {
                    return Ok(if why == CloseReason::Peer { Turn::Over } else { Turn::Broken(why) });
                }
                _ => {}
            }
        }
        Ok(if self.is_over() { Turn::Over } else { Turn::GoesOn })
    }

    /// The input has ended and was delivered. Input that was there before the connection waits for it.
    fn is_over(&self) -> bool {
        let Pipe { audience, input, .. } = &self.pipe;
        let connected = matches!(audience, Audience::Only(_));
        connected && !self.stay && input.is_over() && self.pipe.is_delivered()
    }

    /// It listens only so that the one node can get here; whoever else comes has no business with it.
    fn refuse_strangers(&self) {
        let Pipe { net, audience, others, .. } = &self.pipe;
        for con in others.iter().filter_map(|&id| net.con(id)) {
            if matches!(audience, Audience::Only(_)) || !self.may_be_it(con) {
                con.close();
            }
        }
    }

    /// Whether the attempt may yet turn out to lead to this connection.
    fn may_be_it(&self, con: Con<'_>) -> bool {
        let (is_dialled, is_unknown_node) = (con.via() != Some(Via::Accepted), self.to.unl().is_none());
        match self.to.node_id() {
            Some(id) => con.node_id() == Some(id),
            // At an address there may be whoever has just connected to us.
            None => is_dialled || is_unknown_node && con.node_id().is_some(),
        }
    }

    fn fail(self, why: String, waiting: &mut Waiting) -> Result<(), Failure> {
        match self.pipe.leave(waiting) {
            Err(Failure::OutputClosed) => Err(Failure::OutputClosed),
            // That the input was not sent goes without saying.
            _ => Err(Failure::Run(why)),
        }
    }

    fn interrupt(self, waiting: &mut Waiting) -> Result<(), Failure> {
        match self.pipe.audience {
            Audience::Only(_) => self.pipe.leave(waiting),
            _ => self.fail(explained(&FailReason::Cancelled), waiting),
        }
    }
}

/// One line for each way.
fn explained(why: &FailReason) -> String {
    match why {
        FailReason::NoWay(tried) if !tried.is_empty() => {
            let width = tried.iter().map(|tried| tried.rung.name().len()).max().unwrap_or(0);
            let line = |Tried { rung, why, .. }: &Tried| format!("\n  {rung:width$}  {why}");
            format!("no way to the node was found:{}", tried.iter().map(line).collect::<String>())
        }
        why => why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_without_ways_are_one_line() {
        assert_eq!(explained(&FailReason::NoWay(Vec::new())), "no way");
        assert_eq!(explained(&FailReason::Oneself), "that is this node itself");
    }
}
