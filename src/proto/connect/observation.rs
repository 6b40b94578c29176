//! A port of its own is shown to a server, which says how it is seen from outside.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::action::{ConnectAction, DialId};
use super::context::Context;
use super::info::CallInfo;
use crate::id::ServerId;
use crate::proto::connect::punch::Side;
use crate::proto::rendezvous::observe::Observe;
use crate::time::Instant;
use crate::wire::rendezvous::Token;

/// How long a server may take to say how it sees us.
const OBSERVATION: Duration = Duration::from_secs(3);

/// So often another port is tried when the connection comes to nothing: the port may have been somebody else's.
const TRIES: u8 = 4;

/// The ports that punches are made from: the upper half of the dynamic ones (RFC 6335 section 6), where fewer programs
/// are than in the lower half, which systems hand out.
const PORTS: std::ops::Range<u16> = 61_000..65_500;

/// What a call shows to servers: one port at a time.
#[derive(Debug, Default)]
pub(super) struct Observation {
    observing: Option<Observing>,
    seen: Option<Seen>,
}

/// A port that is being shown.
#[derive(Debug)]
struct Observing {
    round: u8,
    server: ServerId,
    dial: DialId,
    port: u16,
    token: Token,
    machine: Observe,
    tries: u8,
    until: Instant,
}

/// A port that was shown, and the connection that keeps the NAT's mapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) round: u8,
    pub(super) side: Side,
    pub(super) server: ServerId,
    /// The word for it, to be said to the server.
    pub(super) token: Token,
    dial: DialId,
}

/// A server has not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unseen {
    pub(super) round: u8,
    pub(super) server: ServerId,
}

impl Observation {
    /// Shows a new port.
    pub(super) fn begin(
        &mut self,
        info: &CallInfo,
        round: u8,
        server: ServerId,
        cx: &mut Context<'_, '_>,
    ) -> Result<(), Unseen> {
        self.end(cx);
        self.show(info, round, server, 1, cx)
    }

    fn show(
        &mut self,
        info: &CallInfo,
        round: u8,
        server: ServerId,
        tries: u8,
        cx: &mut Context<'_, '_>,
    ) -> Result<(), Unseen> {
        let addr = cx.around.servers.met_at(server).filter(|&addr| cx.may_visit(server, addr));
        let addr = addr.ok_or(Unseen { round, server })?;
        let port = PORTS.start + cx.shared.random.below(PORTS.len()) as u16;
        let token = Token::nonce(&mut cx.shared.random);
        let machine = if info.peer.is_some() {
            Observe::new(token)
        } else {
            Observe::port(port, cx.outside(server).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
        };
        let dial = cx.dial(info.id, addr, Some(port));
        let until = cx.now + OBSERVATION;
        self.observing = Some(Observing { round, server, dial, port, token, machine, tries, until });
        Ok(())
    }

    pub(super) fn handle_connected(&mut self, dial: DialId, cx: &mut Context<'_, '_>) {
        if let Some(observing) = self.observing.as_ref().filter(|observing| observing.dial == dial) {
            let bytes = observing.machine.request();
            cx.around.handle_visited(observing.server);
            cx.act(ConnectAction::Send { dial, bytes });
        }
    }

    /// Whether its lines are this one's to read.
    pub(super) fn reads(&self, dial: DialId) -> bool {
        let seen = self.seen.is_some_and(|seen| seen.dial == dial);
        seen || self.observing.as_ref().is_some_and(|observing| observing.dial == dial)
    }

    pub(super) fn handle_line(&mut self, dial: DialId, line: &[u8], cx: &Context<'_, '_>) -> Option<Seen> {
        let observing = self.observing.as_ref().filter(|observing| observing.dial == dial)?;
        let seen = observing.machine.handle_line(line)?;
        let side = Side { seen, local_port: observing.port, kind: cx.around.local.reach.nat.kind() };
        let (round, server, token) = (observing.round, observing.server, observing.token);
        self.observing = None;
        self.seen = Some(Seen { round, side, server, token, dial });
        self.seen
    }

    /// It could not be dialled, or has ended. Once the port was seen that matters no more.
    pub(super) fn handle_gone(
        &mut self,
        info: &CallInfo,
        dial: DialId,
        cx: &mut Context<'_, '_>,
    ) -> Result<(), Unseen> {
        let Some(gone) = self.observing.take_if(|observing| observing.dial == dial) else { return Ok(()) };
        if gone.tries < TRIES {
            self.show(info, gone.round, gone.server, gone.tries + 1, cx)
        } else {
            Err(Unseen { round: gone.round, server: gone.server })
        }
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_, '_>) -> Result<(), Unseen> {
        let now = cx.now;
        let Some(late) = self.observing.take_if(|observing| observing.until <= now) else { return Ok(()) };
        cx.abandon(late.dial);
        Err(Unseen { round: late.round, server: late.server })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.observing.as_ref().map(|observing| observing.until)
    }

    /// The port of this round, if it was seen.
    pub(super) fn seen(&self, round: u8) -> Option<Seen> {
        self.seen.filter(|seen| seen.round == round)
    }

    pub(super) fn end(&mut self, cx: &mut Context<'_, '_>) {
        let observing = self.observing.take().map(|observing| observing.dial);
        let seen = self.seen.take().map(|seen| seen.dial);
        for dial in observing.into_iter().chain(seen) {
            cx.abandon(dial);
        }
    }
}
