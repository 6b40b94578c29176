//! Punching: the port that was shown to a server dials the other side's.

use std::io;
use std::net::SocketAddr;

use super::action::DialId;
use super::context::Context;
use crate::id::CallId;
use crate::proto::budget::Class;
use crate::proto::connect::meeting::Window;
use crate::proto::connect::punch::{Part, Punch, PunchAction, PunchConfig, PunchFailure, PunchSlot, Side};
use crate::time::Instant;

/// What two sides have agreed on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Agreed {
    pub(super) round: u8,
    pub(super) ours: Side,
    pub(super) theirs: Side,
    pub(super) part: Part,
    /// A server of our own choice has seen the other side's.
    pub(super) attested: bool,
    pub(super) start: Instant,
    /// When both dial, as far as that is not from the start for as long as a round takes.
    pub(super) window: Option<Window>,
}

/// A punch that goes on.
#[derive(Debug)]
pub(super) struct PunchRun {
    call: CallId,
    pub(super) round: u8,
    punch: Punch,
    local_port: u16,
    attested: bool,
    dials: Vec<PunchDial>,
    /// Those that are connected, in the order in which they came to be.
    connected: Vec<DialId>,
    over: bool,
}

#[derive(Clone, Copy, Debug)]
struct PunchDial {
    slot: PunchSlot,
    id: DialId,
    to: SocketAddr,
}

impl PunchRun {
    pub(super) fn new(call: CallId, agreed: &Agreed, cx: &mut Context<'_, '_>) -> Self {
        let config = PunchConfig {
            deadline: agreed.window.map_or(cx.config().punch_time, |window| window.length()),
            max_syns: cx.config().max_punch_syns,
            claimed_syns: cx.config().max_claimed_syns,
            ..PunchConfig::default()
        };
        let start = agreed.window.map_or(agreed.start, |window| window.start);
        let random = cx.shared.random.fork();
        let Agreed { round, ours, theirs, part, attested, .. } = agreed;
        let punch = Punch::new(config, ours, theirs, *part, *attested, start, random, cx.now);
        let mut run = Self {
            call,
            round: *round,
            punch,
            local_port: ours.local_port,
            attested: *attested,
            dials: Vec::new(),
            connected: Vec::new(),
            over: false,
        };
        run.handle_timeout(cx);
        run
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_, '_>) {
        self.punch.handle_timeout(cx.now);
        self.act(cx);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.over { None } else { self.punch.poll_timeout() }
    }

    pub(super) fn has(&self, dial: DialId) -> bool {
        self.dials.iter().any(|other| other.id == dial)
    }

    /// Whether it is the first.
    pub(super) fn handle_connected(&mut self, dial: DialId, cx: &mut Context<'_, '_>) -> bool {
        if let Some(connected) = self.dials.iter().find(|other| other.id == dial) {
            self.punch.handle_connected(connected.slot, cx.now);
            self.connected.push(dial);
        }
        self.act(cx);
        self.connected.first() == Some(&dial)
    }

    pub(super) fn handle_failed(&mut self, dial: DialId, kind: io::ErrorKind, cx: &mut Context<'_, '_>) {
        let Some(failed) = self.take(dial) else { return };
        if kind != io::ErrorKind::TimedOut && !self.attested {
            let syns = cx.config().max_claimed_syns.saturating_sub(1);
            cx.give_back(failed.to, Class::Claimed, syns);
        }
        self.punch.handle_failed(failed.slot, kind, cx.now);
        self.act(cx);
    }

    /// A connection came to nothing: the next one, whose turn it is, or dialling goes on. It may be one of an earlier round.
    pub(super) fn handle_in_vain(&mut self, dial: DialId, cx: &mut Context<'_, '_>) -> Option<DialId> {
        let at = self.connected.iter().position(|&other| other == dial)?;
        self.connected.remove(at);
        if let Some(failed) = self.take(dial) {
            self.punch.handle_failed(failed.slot, io::ErrorKind::ConnectionReset, cx.now);
        }
        self.act(cx);
        self.connected.first().copied()
    }

    /// Once, when it is over without a connection.
    pub(super) fn poll_failure(&mut self) -> Option<PunchFailure> {
        let failure = self.punch.outcome().filter(|_| !self.over)?;
        self.over = true;
        Some(failure)
    }

    /// It is somebody else's now.
    pub(super) fn release(&mut self, dial: DialId) {
        self.take(dial);
    }

    pub(super) fn end(self, cx: &mut Context<'_, '_>) {
        for dial in self.dials {
            cx.abandon(dial.id);
        }
    }

    fn take(&mut self, dial: DialId) -> Option<PunchDial> {
        let at = self.dials.iter().position(|other| other.id == dial)?;
        Some(self.dials.swap_remove(at))
    }

    fn act(&mut self, cx: &mut Context<'_, '_>) {
        // Of what is attested each dial counts; of what is claimed also what the kernel may repeat of it, while it may.
        let (class, syns) = match self.attested {
            true => (Class::Attested, 1),
            false => (Class::Claimed, cx.config().max_claimed_syns),
        };
        while let Some(action) = self.punch.poll_action() {
            match action {
                PunchAction::Dial { slot, to } if cx.take(to, class, syns) => {
                    let id = cx.dial(self.call, to, Some(self.local_port));
                    self.dials.push(PunchDial { slot, id, to });
                }
                PunchAction::Dial { slot, .. } => {
                    self.punch.handle_failed(slot, io::ErrorKind::PermissionDenied, cx.now);
                }
                PunchAction::Abandon { slot } => {
                    if let Some(at) = self.dials.iter().position(|other| other.slot == slot) {
                        cx.abandon(self.dials.swap_remove(at).id);
                    }
                }
            }
        }
    }
}
