//! Pending inbound connections: their streams, and whom it concerns when it is known whose they are.

use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::Role;
use super::core::Core;
use super::effect::{Effect, ServerSays};
use super::ends::Ends;
use crate::config::Config;
use crate::id::{ServerId, StreamId};
use crate::proto::inbound::{InboundAction, PendingInbound};
use crate::proto::reach::ProbeOutcome;
use crate::time::Instant;
use crate::wire::foreign::{Foreign, Likeness, likeness_beside_people};
use crate::wire::probe;

/// Between two notes of the same kind.
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Inbound {
    /// Which probes are awaited, and who is held back.
    pub(super) pending: PendingInbound,
    /// When foreign protocols were last noted, and how many have not been since.
    noted: Option<Instant>,
    unnoted: u64,
}

impl Inbound {
    pub(super) const fn new(config: &Config) -> Self {
        Self { pending: PendingInbound::new(config.links.relay_offer.is_some()), noted: None, unnoted: 0 }
    }

    /// Takes in one that is held back, unless too many are.
    pub(super) fn accept(&mut self, core: &mut Core, ends: Ends, now: Instant) -> Option<StreamId> {
        if !self.pending.has_room(ends.dialler.ip()) {
            return None;
        }
        let stream = core.streams.accept(ends.dialler, ends.dialled, Role::Pending, now);
        self.pending.handle_accepted(stream, ends.dialler, ends.dialled, now);
        Some(stream)
    }

    /// Whether a connection with these ends is held back.
    pub(super) fn holds(&self, ends: Ends) -> bool {
        self.pending.holds(ends.dialler, ends.dialled)
    }

    /// A server has said what came of its probe, or not in time.
    pub(super) fn handle_told(
        &mut self,
        core: &mut Core,
        server: ServerId,
        port: u16,
        outcome: ProbeOutcome,
        now: Instant,
    ) {
        let was_met = self.pending.handle_told(server, port, now);
        let outcome = match outcome {
            ProbeOutcome::No if was_met => ProbeOutcome::TooFar,
            outcome => outcome,
        };
        core.effects.push(Effect::Reach { server, says: ServerSays::Probed { port, outcome } });
    }

    /// What somebody speaks who said no hello, as far as that is of interest.
    pub(super) fn likeness(core: &mut Core, stream: StreamId) -> Likeness {
        if core.config.foreign_protocols {
            return Likeness::Own;
        }
        likeness_beside_people(core.streams.arrived(stream))
    }

    /// Hangs up on what speaks another protocol. Whoever scans a network does it often.
    pub(super) fn refuse_foreign(
        &mut self,
        core: &mut Core,
        stream: StreamId,
        foreign: Foreign,
        now: Instant,
    ) {
        let peer = core.streams.facts(stream).map(|facts| facts.peer);
        core.streams.abandon(stream);
        if self.noted.is_some_and(|noted| now - noted < MINUTE) {
            self.unnoted += 1;
            return;
        }
        self.noted = Some(now);
        let unnoted = std::mem::take(&mut self.unnoted);
        if let Some(peer) = peer {
            core.notes.push(Level::Warn, || {
                format!(
                    "hung up on {peer}, which speaks {}; {unnoted} others since the last note",
                    foreign.name()
                )
            });
        }
    }

    pub(super) fn handle_received(&mut self, core: &mut Core, stream: StreamId, now: Instant) {
        self.pending.handle_received(stream, core.streams.arrived(stream));
        while let Some(action) = self.pending.poll_action() {
            act(core, action, now);
        }
    }

    /// The next one that turned out to be a peer, to be screened and then admitted or refused.
    pub(super) fn poll_peer(&mut self, core: &Core) -> Option<(StreamId, SocketAddr)> {
        self.pending.poll_peer().filter(|&(stream, _)| core.streams.facts(stream).is_some())
    }
}

fn act(core: &mut Core, action: InboundAction, now: Instant) {
    match action {
        InboundAction::Answer { stream, server, nonce, is_late } => {
            if is_late {
                core.effects.push(Effect::Reach { server, says: ServerSays::LateProbe });
            }
            // Nobody else is to read what was consumed here.
            while core.streams.next_line(stream).is_some() {}
            // A fresh stream takes one line.
            let _ = core.streams.queue_raw(stream, &probe::answer(&nonce));
            core.streams.close(stream, now);
            core.notes.push(Level::Debug, || format!("answered the probe of {server}"));
        }
        InboundAction::Relay { stream } => {
            if let Some(ends) = core.pending_ends(stream) {
                core.effects.push(Effect::RelayClient { stream, ends });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::wire::rendezvous::Token;

    /// A server that hangs up before our answer is with it can not have had it.
    #[test]
    fn a_no_about_a_probe_that_was_answered_says_only_that_it_is_far() {
        for (is_answered, told, expected) in [
            (true, ProbeOutcome::No, ProbeOutcome::TooFar),
            (false, ProbeOutcome::No, ProbeOutcome::No),
            (true, ProbeOutcome::Yes, ProbeOutcome::Yes),
            (true, ProbeOutcome::Unanswered, ProbeOutcome::Unanswered),
        ] {
            let mut random = Random::from_number(1);
            let mut core = Core::new(Config::new(), 1, &mut random);
            let mut inbound = Inbound::new(&core.config);
            let (server, nonce) = (ServerId(0), Token::nonce(&mut random));
            let [dialler, dialled] = ["198.51.100.1:7", "192.0.2.1:4000"].map(|addr| addr.parse().unwrap());
            inbound.pending.handle_asked(server, 4000, SocketAddr::ip(&dialler), nonce);
            let stream = inbound.accept(&mut core, Ends { dialler, dialled }, Instant::ZERO).expect("room");
            if is_answered {
                inbound.pending.handle_received(stream, &probe::prompt());
            }
            inbound.handle_told(&mut core, server, 4000, told, Instant::ZERO);
            match core.effects.pop() {
                Some(Effect::Reach { says: ServerSays::Probed { port: 4000, outcome }, .. }) => {
                    assert_eq!(outcome, expected, "{told:?}, answered: {is_answered}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
