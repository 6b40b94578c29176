//! The responder in a meeting of pyp2p's: nodes of pyp2p's punch to us, by way of a server at which we are registered for that.
//!
//! **Nobody is aimed.** Only a server of our own choice can have us dial, and only an address that it sees the candidate at;
//! a candidate chooses but the port. One at a time has its turn, each two seconds later, so that a crowd gets no more SYNs
//! from us than one does.

use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::action::ConnectAction;
use super::context::Context;
use super::info::{CallEnd, CallInfo};
use super::punching::Agreed;
use super::ways::{News, Ways};
use crate::id::ServerId;
use crate::proto::connect::meeting::{foretold, propose};
use crate::proto::connect::punch::{Part, Side};
use crate::time::Instant;
use crate::wire::rendezvous::Ports;

/// So many meetings are under way at most. One takes 7 s at the longest, and they begin 2 s apart.
pub(super) const MEETINGS: usize = 4;

/// How long it may take to see our port.
const PREPARATION: Duration = Duration::from_secs(5);

/// A meeting with a candidate.
#[derive(Debug)]
pub(super) struct Responder {
    /// Who said so.
    server: ServerId,
    /// The candidate, where it will come from.
    pub(super) candidate: SocketAddr,
    until: Instant,
    wall_at_origin: Duration,
}

impl Responder {
    pub(super) fn new(
        server: ServerId,
        candidate: SocketAddr,
        wall_at_origin: Duration,
        now: Instant,
    ) -> Self {
        Self { server, candidate, until: now + PREPARATION, wall_at_origin }
    }

    pub(super) fn begin(&mut self, info: &CallInfo, ways: &mut Ways, cx: &mut Context<'_, '_>) {
        ways.observe(info, 1, self.server, cx);
    }

    pub(super) fn handle_news(
        &mut self,
        info: &mut CallInfo,
        ways: &mut Ways,
        news: &News,
        cx: &mut Context<'_, '_>,
    ) {
        match news {
            News::Seen(seen) => self.accept(info, ways, seen.side, cx),
            News::Unseen(_) => info.end = Some(CallEnd::Over),
            News::Missed { failure, .. } => {
                cx.note(Level::Debug, || format!("a candidate was missed: {failure:?}"));
                info.end = Some(CallEnd::Over);
            }
            // It has come. Who has come as a candidate begins with the nonce; there is one pair of ports, and so nobody else
            // whom it could have met.
            News::Met(dial, _) => {
                ways.release(*dial, cx);
                cx.act(ConnectAction::Admit { dial: *dial });
                info.end = Some(CallEnd::Over);
            }
            News::RungOver(..) | News::RelayFailed(_) => {}
        }
    }

    pub(super) fn handle_timeout(&self, info: &mut CallInfo, now: Instant) {
        if self.until <= now {
            info.end = Some(CallEnd::Over);
        }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.until
    }

    /// Our port was seen: accepts the candidate, and dials when it does.
    fn accept(&mut self, info: &mut CallInfo, ways: &mut Ways, ours: Side, cx: &mut Context<'_, '_>) {
        let wall = self.wall_at_origin.saturating_add(cx.now.since_origin());
        let (ntp, window) = propose(wall, cx.now);
        self.until = window.until + Duration::from_secs(1);
        let (server, candidate) = (self.server, self.candidate);
        let Some(ports) = foretold(&ours).and_then(|port| Ports::new([port])) else {
            info.end = Some(CallEnd::Over);
            return;
        };
        cx.act(ConnectAction::Accept { call: info.id, server, ip: candidate.ip(), ports, ntp });
        cx.note(Level::Debug, || format!("candidate {candidate} is met at {ours:?}"));
        let theirs = Side { seen: candidate, local_port: candidate.port(), kind: None };
        let agreed = Agreed {
            round: 1,
            ours,
            theirs,
            part: Part::Second,
            attested: info.is_trusted(cx),
            start: window.start,
            window: Some(window),
        };
        ways.punch(info, &agreed, cx);
    }
}
