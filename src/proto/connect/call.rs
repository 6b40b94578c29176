//! One call: what is known of it, the ways that it takes, and our part in it.

use std::net::SocketAddr;

use log::Level;

use super::action::{ConnectAction, DialId};
use super::callee::{Callee, HeardCall, Ready};
use super::caller::{Caller, HeardAnswer};
use super::context::Context;
use super::info::{CallEnd, CallInfo};
use super::responder::Responder;
use super::ways::{News, Ways};
use crate::connect::{Refusal, RelayLimits, Rung};
use crate::event::Via;
use crate::id::ServerId;
use crate::proto::connect::meeting::Window;
use crate::proto::connect::punch::Side;
use crate::time::{Instant, soonest};
use crate::wire::signal::{Body, RefuseWhy};

#[derive(Debug)]
pub(super) struct Call {
    pub(super) info: CallInfo,
    pub(super) ways: Ways,
    pub(super) part: OurPart,
}

#[derive(Debug)]
pub(super) enum OurPart {
    Caller(Box<Caller>),
    Callee(Callee),
    /// A candidate of pyp2p's protocol wants to punch to us.
    Responder(Responder),
}

/// What else the server says with a signal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    pub(super) server: ServerId,
    /// Where it sees the sender.
    pub(super) seen: SocketAddr,
    /// Where it has seen the port that the sender shows.
    pub(super) observed: Option<SocketAddr>,
}

impl Call {
    pub(super) fn new(info: CallInfo, part: OurPart) -> Self {
        Self { info, ways: Ways::default(), part }
    }

    pub(super) fn caller(&self) -> Option<&Caller> {
        match &self.part {
            OurPart::Caller(caller) => Some(caller),
            OurPart::Callee(_) | OurPart::Responder(_) => None,
        }
    }

    pub(super) fn caller_mut(&mut self) -> Option<&mut Caller> {
        match &mut self.part {
            OurPart::Caller(caller) => Some(caller),
            OurPart::Callee(_) | OurPart::Responder(_) => None,
        }
    }

    pub(super) fn relay_limits(&self) -> Option<RelayLimits> {
        self.ways.relaying.limits()
    }

    /// Whether it goes through this server.
    pub(super) fn needs(&self, server: ServerId) -> bool {
        self.info.server == Some(server) || self.caller().is_some_and(|caller| caller.needs(server))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let part = match &self.part {
            OurPart::Caller(caller) => caller.poll_timeout(),
            OurPart::Callee(callee) => Some(callee.poll_timeout()),
            OurPart::Responder(responder) => Some(responder.poll_timeout()),
        };
        soonest(self.ways.poll_timeout(), part)
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_, '_>) {
        self.ways.handle_timeout(&self.info, cx);
        // First, what has come of them: that may be what time is up for.
        self.work(cx);
        match &mut self.part {
            OurPart::Caller(caller) => caller.handle_timeout(cx.now),
            OurPart::Callee(callee) => callee.handle_timeout(&mut self.info, cx.now),
            OurPart::Responder(responder) => responder.handle_timeout(&mut self.info, cx.now),
        }
    }

    /// After each input: does what follows from it. What has ended does nothing more.
    pub(super) fn work(&mut self, cx: &mut Context<'_, '_>) {
        while self.info.end.is_none() {
            if let Some(news) = self.ways.poll_news() {
                self.handle_news(news, cx);
                continue;
            }
            let goes_on = match &mut self.part {
                OurPart::Caller(caller) => caller.climb(&self.info, &mut self.ways, cx),
                OurPart::Callee(_) | OurPart::Responder(_) => false,
            };
            if !goes_on {
                break;
            }
        }
        if let OurPart::Caller(caller) = &mut self.part {
            caller.tell_progress(&self.info, cx);
            self.info.end = self.info.end.take().or_else(|| caller.outcome(&self.info, cx));
        }
    }

    fn handle_news(&mut self, news: News, cx: &mut Context<'_, '_>) {
        match &mut self.part {
            OurPart::Caller(caller) => match news {
                News::Met(dial, rung) => self.adopt(dial, rung, cx),
                news => caller.handle_news(&self.info, &mut self.ways, news, cx),
            },
            OurPart::Callee(callee) => callee.handle_news(&self.info, &mut self.ways, &news, cx),
            OurPart::Responder(responder) => {
                responder.handle_news(&mut self.info, &mut self.ways, &news, cx);
            }
        }
    }

    /// An address of a UNL of version 2 answers: that is all that can be known.
    fn adopt(&mut self, dial: DialId, rung: Rung, cx: &mut Context<'_, '_>) {
        self.ways.release(dial, cx);
        let via = match rung {
            Rung::Lan => Via::Lan,
            Rung::Punch => Via::Punched,
            _ if self.info.is_mapped() => Via::Mapped,
            _ => Via::Direct,
        };
        let waiters = self.caller().map(|caller| caller.waiters.clone()).unwrap_or_default();
        cx.act(ConnectAction::Adopt { dial, via, waiters, took: cx.now - self.info.began });
        self.info.end = Some(CallEnd::Over);
    }
}

/// What the other side says.
impl Call {
    /// A call that was taken.
    pub(super) fn begin_answered(&mut self, call: &HeardCall, cx: &mut Context<'_, '_>) {
        if let OurPart::Callee(callee) = &mut self.part {
            callee.begin(&mut self.info, &mut self.ways, call, cx);
        }
    }

    /// A call that was taken comes again.
    pub(super) fn answer_again(&mut self, call: &HeardCall, cx: &mut Context<'_, '_>) {
        if let OurPart::Callee(callee) = &mut self.part {
            callee.answer_again(&mut self.info, &mut self.ways, call, cx);
        }
    }

    /// Anything but a call. A `Done` ends it.
    pub(super) fn handle_body(&mut self, body: Body, carried: Carried, cx: &mut Context<'_, '_>) {
        let Self { info, ways, part } = self;
        match (part, body) {
            (OurPart::Caller(caller), Body::Answer { unl, punch, relay, second }) => {
                let Carried { server, seen, .. } = carried;
                let answer = HeardAnswer { server, seen, unl, punch, halves: [relay, second] };
                caller.handle_answer(info, ways, answer, cx);
            }
            (OurPart::Caller(caller), Body::Refuse { why }) => caller.handle_refused(refusal(why), cx.now),
            (OurPart::Caller(caller), Body::Meet { round, port, kind, dial_in_us: _ }) => {
                // What one server has seen is believed as far as that one is: see `is_trusted`.
                let is_the_calls = info.server == Some(carried.server);
                let Some(seen) = carried.observed.filter(|_| is_the_calls) else { return };
                caller.handle_meet(round, Side { seen, local_port: port, kind }, None, cx.now);
            }
            (OurPart::Callee(callee), Body::Ready { round, port, kind, rtt_us }) => {
                let Some(seen) = carried.observed else { return };
                let theirs = Side { seen, local_port: port, kind };
                let rtt = std::time::Duration::from_micros(rtt_us.into());
                callee.handle_ready(info, ways, carried.server, Ready { round, theirs, rtt }, cx);
            }
            (OurPart::Callee(callee), Body::Relay { half }) => {
                callee.handle_called_to_relay(info, ways, carried.server, &half, cx);
            }
            (OurPart::Callee(_), Body::Done) => info.end = Some(CallEnd::Over),
            _ => {}
        }
    }

    /// A node of pyp2p's accepts, and names the moment.
    pub(super) fn handle_fight(
        &mut self,
        server: ServerId,
        round: u8,
        theirs: Side,
        window: Window,
        cx: &mut Context<'_, '_>,
    ) {
        let OurPart::Caller(caller) = &mut self.part else { return };
        let (id, dials_in) = (self.info.id, window.start.saturating_since(cx.now));
        cx.note(Level::Debug, || format!("call {id}: {} dials in {dials_in:?}", theirs.seen));
        self.info.server = Some(server);
        caller.handle_meet(round, theirs, Some(window), cx.now);
    }
}

/// Its end.
impl Call {
    /// Drops all that belongs to it.
    pub(super) fn end(&mut self, cx: &mut Context<'_, '_>) {
        self.ways.end(cx);
        cx.shared.announced.forget(self.info.id);
        let id = self.info.id;
        cx.note(Level::Debug, || format!("call {id} is over"));
        cx.act(ConnectAction::Over { call: id });
    }

    /// Says that nothing will come of it: through the server that both talk through; while that is not known, through all
    /// that have the call.
    pub(super) fn say_done(&self, cx: &mut Context<'_, '_>) {
        let servers = match (self.caller(), self.info.server) {
            (_, Some(server)) => vec![server],
            (Some(caller), None) => caller.called(),
            (None, None) => Vec::new(),
        };
        for server in servers {
            self.info.signal(server, None, Body::Done, super::action::Unsent::Lost, cx);
        }
    }
}

fn refusal(why: RefuseWhy) -> Refusal {
    match why {
        RefuseWhy::Busy => Refusal::Busy,
        RefuseWhy::Full => Refusal::Full,
        RefuseWhy::Closing => Refusal::Closing,
        RefuseWhy::Unwilling => Refusal::Unwilling,
        RefuseWhy::UnknownCall => Refusal::Unknown,
    }
}
