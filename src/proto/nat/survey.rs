//! Finds out what kind of NAT is in front of us, by asking observers (the ports of rendezvous servers) from which
//! ports our connections come.
//!
//! A round is five local ports, one after the other, each connected to every observer. `SOURCE TCP` is what every
//! server answers, pyp2p's too. All connections of a round are begun at once, those to the first observer before those
//! to the second: a NAT that counts is seen counting, and the household has little time to interfere. None is ended
//! before all are answered, because its end could free its external port for the next.
//!
//! **Two rounds.** A kind that can be foretold shows itself in many equal numbers, which chance does not produce
//! (see [`kind`](super::kind)): the first round that finds one is believed. "Random" is what is left when nothing fits,
//! and traffic, losses or local ports in use spoil a fit. So that, and every doubt, is only believed when a second round
//! from other ports finds nothing better. A third would not add much: what spoils two rounds in a row spoils the
//! prediction of ports too, which is what the kind is for.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::kind::{SAMPLES, Sight, infer};
use crate::random::Random;
use crate::reach::{Doubt, NatKind};
use crate::time::Instant;
use crate::wire::rendezvous::{Reply, Request};

/// How long a round waits for its answers, unless the caller knows better: a lost SYN is repeated after 1 s (RFC 6298
/// section 2), and connecting and asking take two round trips.
pub(crate) const ROUND: Duration = Duration::from_millis(1500);

/// Where the local ports of a round begin.
///
/// Below the ports that systems give to outgoing connections (Linux and Android from 32768, the others from 49152), so
/// that neither a program of this machine nor another machine behind the same NAT is likely to have one of them; above
/// those where most services listen. Chosen at random, so that neither the last survey's ports nor those of a
/// second node, in this machine or behind this NAT, are met.
const FIRST_PORTS: RangeInclusive<u16> = 20_000..=(32_767 - SAMPLES as u16 + 1);

/// What the holder of the sockets is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SurveyAction {
    /// Connect from this local port, and report by `handle_connected` or `handle_failed`. The port is shared with the
    /// same round's connection to the other observer.
    Dial {
        sample: usize,
        to: SocketAddr,
        local_port: u16,
    },
    Send {
        sample: usize,
        bytes: Vec<u8>,
    },
    /// Close it, or stop dialling; nothing about it needs to be reported any more.
    Hangup {
        sample: usize,
    },
}

/// One survey. Ask `poll_action` until it is `None` after each input, also when `outcome` is there already.
#[derive(Debug)]
pub(crate) struct Survey {
    /// One or two.
    observers: Vec<SocketAddr>,
    limit: Duration,
    random: Random,
    round: Round,
    /// What the first round found, in the second.
    before: Option<Result<NatKind, Doubt>>,
    /// At most three for each sample.
    actions: VecDeque<SurveyAction>,
    outcome: Option<Result<NatKind, Doubt>>,
}

impl Survey {
    /// `second` is left out where it is the first, or of another family: what a NAT does with one family says nothing
    /// about the other. A round takes up to `limit`; [`ROUND`] is a good one.
    pub(crate) fn new(
        first: SocketAddr,
        second: Option<SocketAddr>,
        limit: Duration,
        mut random: Random,
        now: Instant,
    ) -> Self {
        let second = second.filter(|second| *second != first && second.is_ipv4() == first.is_ipv4());
        let observers: Vec<_> = [Some(first), second].into_iter().flatten().collect();
        let first_port = FIRST_PORTS.start() + random.below(FIRST_PORTS.len()) as u16;
        let round = Round::new(0, first_port, observers.len(), now + limit);
        let mut survey =
            Self { observers, limit, random, round, before: None, actions: VecDeque::new(), outcome: None };
        survey.dial();
        survey
    }

    pub(crate) fn handle_connected(&mut self, sample: usize, now: Instant) {
        let local_port = self.round.local_port(sample);
        let Some(asked) = self.awaited(sample).filter(|awaited| awaited.stage == Stage::Dialling) else {
            return;
        };
        asked.stage = Stage::Asked;
        let mut bytes = Vec::new();
        Request::Source { port: Some(local_port) }.write(&mut bytes);
        self.actions.push_back(SurveyAction::Send { sample, bytes });
        self.handle_timeout(now);
    }

    /// The first line is the answer, or there is none: nothing else is to be heard from a server that was asked
    /// nothing else.
    pub(crate) fn handle_line(&mut self, sample: usize, line: &[u8], now: Instant) {
        let Some(asked) = self.awaited(sample).filter(|awaited| awaited.stage == Stage::Asked) else {
            return;
        };
        match Reply::parse(line) {
            Some(Reply::Remote { port }) => asked.stage = Stage::Answered(port),
            _ => {
                asked.stage = Stage::Lost;
                asked.is_open = false;
                self.actions.push_back(SurveyAction::Hangup { sample });
            }
        }
        self.proceed(now);
    }

    /// It could not be connected (also because the local port is in use), or has ended. An answer that it gave counts.
    pub(crate) fn handle_failed(&mut self, sample: usize, now: Instant) {
        let Some(ended) = self.round.sample(sample).filter(|_| self.outcome.is_none()) else { return };
        ended.is_open = false;
        if ended.is_awaited() {
            ended.stage = Stage::Lost;
        }
        self.proceed(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.outcome.is_none() && self.round.deadline <= now {
            self.end_round(now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.outcome.is_none().then_some(self.round.deadline)
    }

    pub(crate) fn poll_action(&mut self) -> Option<SurveyAction> {
        self.actions.pop_front()
    }

    pub(crate) fn outcome(&self) -> Option<Result<NatKind, Doubt>> {
        self.outcome
    }

    /// The sample, when it belongs to this round and has no answer yet.
    fn awaited(&mut self, sample: usize) -> Option<&mut Sample> {
        self.round.sample(sample).filter(|sample| self.outcome.is_none() && sample.is_awaited())
    }

    fn proceed(&mut self, now: Instant) {
        if !self.round.samples.iter().any(Sample::is_awaited) {
            self.end_round(now);
        }
        self.handle_timeout(now);
    }

    fn end_round(&mut self, now: Instant) {
        let found = infer(self.round.first_port, &self.round.sights());
        match self.before {
            None if !is_certain(found) => self.begin_second_round(found, now),
            before => {
                self.outcome = Some(before.map_or(found, |before| better(before, found)));
                hang_up(&self.round, &mut self.actions);
            }
        }
    }

    fn begin_second_round(&mut self, found: Result<NatKind, Doubt>, now: Instant) {
        // Ports that do not overlap with the first round's: an offset of at least a round's, in a circle.
        let bases = FIRST_PORTS.len();
        let offset = SAMPLES + self.random.below(bases + 1 - 2 * SAMPLES);
        let place = usize::from(self.round.first_port - FIRST_PORTS.start()) + offset;
        let first_port = FIRST_PORTS.start() + (place % bases) as u16;
        let next = Round::new(self.round.end(), first_port, self.observers.len(), now + self.limit);
        let ended = std::mem::replace(&mut self.round, next);
        self.before = Some(found);
        // The new connections first: the end of an old one could free its port among them.
        self.dial();
        hang_up(&ended, &mut self.actions);
    }

    fn dial(&mut self) {
        let samples = self.observers.iter().flat_map(|observer| std::iter::repeat_n(*observer, SAMPLES));
        for (sample, to) in (self.round.first_sample..).zip(samples) {
            let local_port = self.round.local_port(sample);
            self.actions.push_back(SurveyAction::Dial { sample, to, local_port });
        }
    }
}

/// A kind that can be foretold is not found by chance; anything else may be for want of answers.
fn is_certain(found: Result<NatKind, Doubt>) -> bool {
    found.is_ok_and(NatKind::is_predictable)
}

/// Of two rounds the second counts, unless it knows less: a server may have died in between.
fn better(before: Result<NatKind, Doubt>, found: Result<NatKind, Doubt>) -> Result<NatKind, Doubt> {
    match (before, found) {
        (_, Ok(_)) | (Err(Doubt::Unanswered), _) => found,
        _ => before,
    }
}

/// No `QUIT`: every server takes the end of the connection for one.
fn hang_up(round: &Round, actions: &mut VecDeque<SurveyAction>) {
    let open = (round.first_sample..).zip(&round.samples).filter(|(_, sample)| sample.is_open);
    actions.extend(open.map(|(sample, _)| SurveyAction::Hangup { sample }));
}

#[derive(Debug)]
struct Round {
    /// The number of its first sample: numbers are not used twice, so that what is late is not taken for this round's.
    first_sample: usize,
    first_port: u16,
    /// First those of the first observer, each in the order of the local ports.
    samples: Vec<Sample>,
    deadline: Instant,
}

impl Round {
    fn new(first_sample: usize, first_port: u16, observers: usize, deadline: Instant) -> Self {
        let samples = vec![Sample { stage: Stage::Dialling, is_open: true }; observers * SAMPLES];
        Self { first_sample, first_port, samples, deadline }
    }

    fn end(&self) -> usize {
        self.first_sample + self.samples.len()
    }

    fn sample(&mut self, number: usize) -> Option<&mut Sample> {
        self.samples.get_mut(number.checked_sub(self.first_sample)?)
    }

    fn local_port(&self, number: usize) -> u16 {
        self.first_port + (number.saturating_sub(self.first_sample) % SAMPLES) as u16
    }

    fn sights(&self) -> Vec<Sight> {
        let (sights, _) = self.samples.as_chunks::<SAMPLES>();
        sights.iter().map(|sight| sight.each_ref().map(Sample::answer)).collect()
    }
}

#[derive(Clone, Debug)]
struct Sample {
    stage: Stage,
    /// The caller holds a socket for it.
    is_open: bool,
}

impl Sample {
    fn is_awaited(&self) -> bool {
        matches!(self.stage, Stage::Dialling | Stage::Asked)
    }

    fn answer(&self) -> Option<u16> {
        match self.stage {
            Stage::Answered(port) => Some(port),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Dialling,
    /// Connected, and the question is sent.
    Asked,
    /// The external port.
    Answered(u16),
    /// There will be no answer.
    Lost,
}

#[cfg(test)]
mod tests;
