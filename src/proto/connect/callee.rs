//! What the one who is called does: what it is asked, as far as it wants, and nothing to anybody else.
//!
//! **Nobody is aimed.** The caller has signed the call, and a server of our own choice has seen it prove its id. Addresses
//! that it claims get the few SYNs of [`Config::max_claimed_syns`](crate::Config::max_claimed_syns), and the connection has
//! to prove to lead to the caller, which answers its hello only while it has that very call under way. So pyp2p's question
//! back ("did you send this?") is asked on the connection itself, a round trip sooner, and a call that is played again
//! leads to nothing.

use std::net::SocketAddr;
use std::time::Duration;

use super::action::Unsent;
use super::caller::micros;
use super::context::Context;
use super::info::{CallEnd, CallInfo};
use super::punching::Agreed;
use super::ways::{News, Ways};
use crate::connect::{RelayRefusal, Rung};
use crate::id::ServerId;
use crate::identity::PublicKey;
use crate::proto::connect::punch::{Part, Side, is_hopeless};
use crate::reach::NodeType;
use crate::time::Instant;
use crate::unl::Unl;
use crate::wire::signal::{Body, Half};

/// How long the caller is given to do something with it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A round trip that is longer is taken for this: nobody is to make us wait.
const LONGEST_TRIP: Duration = Duration::from_secs(2);

/// Rounds of punching that a caller gets. Two are enough for anybody.
const ROUNDS: u8 = 3;

/// A call that came.
#[derive(Debug)]
pub(super) struct HeardCall {
    pub(super) server: ServerId,
    pub(super) from: PublicKey,
    pub(super) seen: SocketAddr,
    pub(super) unl: String,
    pub(super) reverse: bool,
    pub(super) punch: bool,
    pub(super) half: Option<Half>,
    pub(super) upgrade: bool,
}

#[derive(Debug)]
pub(super) struct Callee {
    until: Instant,
    /// The caller's port, when it came before ours was seen.
    ready: Option<Ready>,
    /// The last round for which our port is shown.
    round: u8,
}

/// The caller's port was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) round: u8,
    pub(super) theirs: Side,
    /// How long the caller's trip to the server takes, as it says.
    pub(super) rtt: Duration,
}

impl Callee {
    pub(super) fn new(now: Instant) -> Self {
        Self { until: now + PATIENCE, ready: None, round: 0 }
    }

    /// Answers the call, and does at once what can be done at once.
    pub(super) fn begin(
        &mut self,
        info: &mut CallInfo,
        ways: &mut Ways,
        call: &HeardCall,
        cx: &mut Context<'_, '_>,
    ) {
        let punch = self.answer(info, ways, call, cx);
        if info.end.is_some() {
            return;
        }
        if call.reverse {
            connect_back(info, ways, call, cx);
        }
        if punch {
            self.show_port(info, ways, 1, call.server, cx);
        }
    }

    /// The caller did not hear the answer, as its server went down. Nothing else is done again.
    pub(super) fn answer_again(
        &mut self,
        info: &mut CallInfo,
        ways: &mut Ways,
        call: &HeardCall,
        cx: &mut Context<'_, '_>,
    ) {
        if info.peer == Some(call.from) && info.server == Some(call.server) {
            let end = info.end.take();
            self.answer(info, ways, call, cx);
            info.end = end;
        }
    }

    /// Whether we punch. The call is over where the answer can not be said.
    fn answer(
        &self,
        info: &mut CallInfo,
        ways: &mut Ways,
        call: &HeardCall,
        cx: &mut Context<'_, '_>,
    ) -> bool {
        let hopeless = is_hopeless(cx.around.local.reach.nat.kind(), info.unl.as_ref().and_then(Unl::nat));
        let punch = call.punch && !hopeless;
        let [relay, second] = match cx.config().use_relays && !call.upgrade {
            true => ways.relaying.offer(info, call.server, call.half, cx),
            false => [None; 2],
        };
        let body = |own: &Unl| Body::Answer { unl: own.to_string(), punch, relay, second };
        let body = cx.around.local.unl.map(body);
        let said = body.is_some_and(|body| info.signal(call.server, None, body, Unsent::Unanswered, cx));
        if !said {
            info.end = Some(CallEnd::Over);
        }
        punch
    }

    /// The caller's port was seen.
    pub(super) fn handle_ready(
        &mut self,
        info: &CallInfo,
        ways: &mut Ways,
        server: ServerId,
        ready: Ready,
        cx: &mut Context<'_, '_>,
    ) {
        let round = ready.round;
        let is_old = round < self.round || self.ready.is_some_and(|last| last.round >= round);
        // It need not be the server through which the call came first, but one of our own choice.
        if !cx.around.servers.is_own(server) || round == 0 || round > ROUNDS || is_old {
            return;
        }
        self.ready = Some(Ready { rtt: ready.rtt.min(LONGEST_TRIP), ..ready });
        if self.round < round && round > 1 {
            self.show_port(info, ways, round, server, cx);
        }
        self.meet(info, ways, cx);
    }

    /// The caller wants both to come to a relay: we come to where we said that we would.
    pub(super) fn handle_called_to_relay(
        &mut self,
        info: &CallInfo,
        ways: &mut Ways,
        server: ServerId,
        half: &Half,
        cx: &mut Context<'_, '_>,
    ) {
        if info.server != Some(server) {
            return;
        }
        match ways.relaying.accept(info, half, cx) {
            Some(Ok(machine)) => ways.relaying.begin(info, machine, half.server, cx),
            Some(Err(why)) => fail_relay(info, ways, Some(half.server), why, cx),
            None => {}
        }
    }

    pub(super) fn handle_news(
        &mut self,
        info: &CallInfo,
        ways: &mut Ways,
        news: &News,
        cx: &mut Context<'_, '_>,
    ) {
        match *news {
            News::Seen(_) => self.meet(info, ways, cx),
            News::RelayFailed(why) => {
                let server = ways.relaying.server();
                fail_relay(info, ways, server, why, cx);
            }
            // A callee knows who calls.
            News::Met(dial, _) => cx.abandon(dial),
            // What follows is the caller's decision.
            News::RungOver(..) | News::Unseen(_) | News::Missed { .. } => {}
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

    fn show_port(
        &mut self,
        info: &CallInfo,
        ways: &mut Ways,
        round: u8,
        server: ServerId,
        cx: &mut Context<'_, '_>,
    ) {
        self.round = round;
        ways.observe(info, round, server, cx);
    }

    /// When both ports were seen: says so, and dials when the caller will, too.
    fn meet(&self, info: &CallInfo, ways: &mut Ways, cx: &mut Context<'_, '_>) {
        let Some(Ready { round, theirs, rtt }) = self.ready else { return };
        let Some(seen) = ways.seen(round) else { return };
        if ways.punched_round().is_some_and(|last| last >= round) {
            return;
        }
        // What we send is with the caller after half of both trips to the server; it dials at once (the two sides agree by
        // round trips, as the clocks of two computers do not).
        let own = cx.around.servers.rtt_of(seen.server).unwrap_or_default();
        let dial_in = (own + rtt) / 2;
        let ours = seen.side;
        let body = Body::Meet { round, port: ours.local_port, kind: ours.kind, dial_in_us: micros(dial_in) };
        info.signal(seen.server, Some(seen.token), body, Unsent::Lost, cx);
        let (attested, start) = (info.is_trusted(cx), cx.now + dial_in);
        let agreed = Agreed { round, ours, theirs, part: Part::Second, attested, start, window: None };
        ways.punch(info, &agreed, cx);
    }
}

/// Connects to the caller, where that is promising: in the same network, if the server sees both at one address, or
/// at the port that it says is open.
fn connect_back(info: &CallInfo, ways: &mut Ways, call: &HeardCall, cx: &mut Context<'_, '_>) {
    if cx.around.is_same_network(call.server, call.seen) {
        ways.dial(info, Rung::Lan, cx);
    } else if info.unl.as_ref().is_some_and(|unl| unl.node_type() == NodeType::Passive) {
        ways.dial(info, Rung::Reverse, cx);
    }
}

/// Which relay is next is the caller's to say.
fn fail_relay(
    info: &CallInfo,
    ways: &mut Ways,
    server: Option<SocketAddr>,
    why: RelayRefusal,
    cx: &mut Context<'_, '_>,
) {
    ways.relaying.fail(info, server, why, cx);
}
