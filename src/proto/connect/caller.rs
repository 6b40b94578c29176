//! What the one who calls does: it climbs the [`Ladder`], which decides what is tried when.

use std::time::Duration;

use log::Level;

use super::action::{ConnectEvent, Unsent, Waiter};
use super::announced::Announced;
use super::context::Context;
use super::facts::facts_of;
use super::info::{CallEnd, CallInfo};
use super::punching::Agreed;
use super::relaying::{Next, release_claim};
use super::ways::{News, Ways};
use crate::connect::{Progress, Refusal, RelayRefusal, Rung, RungFault, Rungs};
use crate::id::{AttemptId, ServerId};
use crate::proto::connect::ladder::{Answered, Ladder, LadderConfig, Want};
use crate::proto::connect::meeting::{Window, foretold};
use crate::proto::connect::punch::{Part, Side};
use crate::time::Instant;
use crate::unl::{Oddity, Place, Unl};
use crate::wire::rendezvous::Ports;
use crate::wire::signal::{Body, Half};

/// A server that could not be reached so often in a row does not only restart.
pub(super) const HOPELESS: u32 = 3;

#[derive(Debug)]
pub(super) struct Caller {
    /// `None` until it is known which servers there are.
    ladder: Option<Ladder>,
    pub(super) rungs: Rungs,
    /// The attempts that it is for; none for an upgrade.
    pub(super) waiters: Vec<Waiter>,
    /// The servers to call through, and whether each has the call.
    servers: Vec<CalledServer>,
    /// The node is to be called, through each server as soon as that is possible.
    calling: bool,
    /// A port is to be observed, as soon as there is a server to ask.
    observe: Option<u8>,
    /// When both dial, where a node of pyp2p's has named that.
    window: Option<Window>,
    /// The other node calls us, too, and its call goes on: ours only dials.
    pub(super) yields: bool,
    /// That one has come to nothing: ours goes on when a hello of that node, if there is one, has led to nothing, too.
    pub(super) resumes: bool,
}

#[derive(Clone, Copy, Debug)]
struct CalledServer {
    id: ServerId,
    called: bool,
    /// It has said whether the node is there.
    told: bool,
    /// How often it went down meanwhile.
    failures: u32,
}

/// What a node said to our call, and where that was seen.
#[derive(Debug)]
pub(super) struct HeardAnswer {
    pub(super) server: ServerId,
    pub(super) seen: std::net::SocketAddr,
    pub(super) unl: String,
    pub(super) punch: bool,
    pub(super) halves: [Option<Half>; 2],
}

impl Caller {
    pub(super) fn new(rungs: Rungs, waiters: Vec<Waiter>) -> Self {
        Self {
            ladder: None,
            rungs,
            waiters,
            servers: Vec::new(),
            calling: false,
            observe: None,
            window: None,
            yields: false,
            resumes: false,
        }
    }

    /// These are the servers to call through.
    pub(super) fn begin(&mut self, info: &CallInfo, servers: Vec<ServerId>, cx: &mut Context<'_, '_>) {
        let Some(unl) = info.unl.as_ref().filter(|_| self.ladder.is_none()) else { return };
        self.servers = servers
            .into_iter()
            .map(|id| CalledServer { id, called: false, told: false, failures: 0 })
            .collect();
        let facts = facts_of(unl, self.rungs, !self.servers.is_empty(), cx.around);
        let config = LadderConfig {
            // The attempt may have stood back for a while since it began.
            within: (info.began + cx.config().connect_within) - cx.now,
            punch_time: cx.config().punch_time,
            ..LadderConfig::default()
        };
        self.ladder = Some(Ladder::new(config, self.rungs, facts, cx.now));
    }

    /// Whether the call goes through this server.
    pub(super) fn needs(&self, server: ServerId) -> bool {
        self.servers.iter().any(|other| other.id == server)
    }

    /// Forgets an attempt; whether it was one of these.
    pub(super) fn cancel(&mut self, attempt: AttemptId) -> bool {
        let before = self.waiters.len();
        self.waiters.retain(|waiter| waiter.attempt != attempt);
        self.waiters.len() < before
    }

    /// The servers that have the call.
    pub(super) fn called(&self) -> Vec<ServerId> {
        self.servers.iter().filter(|server| server.called).map(|server| server.id).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let ladder = self.ladder.as_ref()?;
        // One that stands back for the other side's call waits for that one until its time is up.
        let up = self.yields.then(|| ladder.deadline());
        ladder.poll_timeout().or(up)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(ladder) = &mut self.ladder {
            ladder.handle_timeout(now);
        }
    }
}

/// What it climbs.
impl Caller {
    pub(super) fn handle_news(
        &mut self,
        info: &CallInfo,
        ways: &mut Ways,
        news: News,
        cx: &mut Context<'_, '_>,
    ) {
        let Some(ladder) = &mut self.ladder else { return };
        match news {
            News::RungOver(rung, why) => ladder.handle_rung_failed(rung, why, cx.now),
            News::Seen(seen) => ladder.handle_observed(seen.round, seen.side, cx.now),
            News::Unseen(unseen) => {
                // This server has not told; the next one is asked, if there is one.
                let next = info.peer.and_then(|_| next_observer(&self.servers, unseen.server, cx));
                match next {
                    Some(next) => ways.observe(info, unseen.round, next, cx),
                    None => ladder.handle_unobserved(unseen.round, cx.now),
                }
            }
            News::Missed { round, failure } => {
                let why = RungFault::Missed { refused: failure.refused, silent: failure.silent };
                ladder.handle_missed(round, why, cx.now);
            }
            News::RelayFailed(why) => {
                let server = ways.relaying.server();
                self.fail_relay(info, ways, server, why, cx);
            }
            // That is not the ladder's, but a connection.
            News::Met(..) => {}
        }
    }

    /// Does one thing that the ladder wants; whether there was one.
    pub(super) fn climb(&mut self, info: &CallInfo, ways: &mut Ways, cx: &mut Context<'_, '_>) -> bool {
        let Some(want) = self.ladder.as_mut().and_then(Ladder::poll_want) else { return false };
        if self.yields && !matches!(want, Want::Dial(_)) {
            return true;
        }
        match want {
            Want::Dial(rung) => ways.dial(info, rung, cx),
            Want::Call => {
                self.calling = true;
                self.call_through_servers(info, cx);
            }
            Want::Observe { round } => {
                self.observe = Some(round);
                self.observe_awaited(info, ways, cx);
            }
            Want::Ready { round, ours } if info.peer.is_none() => announce(info, round, &ours, cx),
            Want::Ready { round, ours } => send_ready(info, ways, round, &ours, cx),
            Want::Punch { round, ours, theirs } => {
                let (attested, window) = (info.is_trusted(cx), self.window.take());
                let agreed =
                    Agreed { round, ours, theirs, part: Part::First, attested, start: cx.now, window };
                ways.punch(info, &agreed, cx);
            }
            Want::Relay => self.come_to_relay(info, ways, cx),
        }
        true
    }

    /// Tells how far it is.
    pub(super) fn tell_progress(&mut self, info: &CallInfo, cx: &mut Context<'_, '_>) {
        while let Some(progress) = self.ladder.as_mut().and_then(Ladder::poll_progress) {
            let progress = match progress {
                Ok(rung) => Progress::Began(rung),
                Err(tried) => Progress::Failed(tried),
            };
            self.tell(info, &progress, cx);
        }
    }

    fn tell(&self, info: &CallInfo, progress: &Progress, cx: &mut Context<'_, '_>) {
        let id = info.id;
        cx.note(Level::Debug, || format!("call {id}: {progress}"));
        for waiter in &self.waiters {
            cx.tell(ConnectEvent::Climbing { attempt: waiter.attempt, progress: progress.clone() });
        }
    }

    /// What the call came to when no rung led to the node. One that stands back waits for the other one.
    pub(super) fn outcome(&self, info: &CallInfo, cx: &Context<'_, '_>) -> Option<CallEnd> {
        let tried = self.ladder.as_ref()?.failure()?;
        let late = cx.now - info.began >= cx.config().connect_within;
        (!self.yields || late).then_some(CallEnd::Failed(tried))
    }

    /// Shows a port to the first server that the call can go through, if there is one by now.
    pub(super) fn observe_awaited(&mut self, info: &CallInfo, ways: &mut Ways, cx: &mut Context<'_, '_>) {
        let Some(round) = self.observe else { return };
        let server = if info.peer.is_some() {
            let observes = |server: &ServerId| cx.around.servers.observes(*server);
            let mut servers = self.servers.iter().map(|server| server.id);
            info.server.filter(observes).or_else(|| servers.find(observes))
        } else {
            cx.around.met_own()
        };
        if let Some(server) = server {
            self.observe = None;
            ways.observe(info, round, server, cx);
        }
    }
}

/// The servers.
impl Caller {
    /// If it has not been called yet, it is high time.
    pub(super) fn call_now(&mut self, info: &CallInfo, cx: &mut Context<'_, '_>) {
        self.calling = true;
        self.call_through_servers(info, cx);
    }

    /// Calls through each server that can take the call now and does not have it.
    pub(super) fn call_through_servers(&mut self, info: &CallInfo, cx: &mut Context<'_, '_>) {
        if !self.calling {
            return;
        }
        for server in self.servers.iter_mut().filter(|server| !server.called) {
            let body = call_body(info, self.rungs, server.id, cx);
            server.called =
                body.is_some_and(|body| info.signal(server.id, None, body, Unsent::NotCalled, cx));
        }
    }

    /// It does not have the call.
    pub(super) fn handle_not_called(&mut self, server: ServerId) {
        if let Some(server) = self.server(server) {
            server.called = false;
        }
    }

    /// A server is gone, for now; or no call gets through it, which is as if it had gone `times` times.
    pub(super) fn handle_server_lost(&mut self, server: ServerId, times: u32, now: Instant) {
        let Some(server) = self.server(server) else { return };
        server.failures = server.failures.saturating_add(times);
        // It may only be restarting; whether it has what it was told is not known.
        server.called = false;
        self.conclude_servers(now);
    }

    /// A server tells whether the node is there that was called through it; `None`: it takes no more of our signals.
    pub(super) fn handle_signaled(
        &mut self,
        info: &CallInfo,
        server: ServerId,
        there: Option<bool>,
        cx: &mut Context<'_, '_>,
    ) {
        if self.ladder.as_ref().is_none_or(Ladder::is_answered) {
            return;
        }
        let addr = cx.around.servers.addr_of(server);
        let Some(there) = there else {
            // Perhaps another does.
            if let Some(server) = self.server(server) {
                server.failures = server.failures.saturating_add(HOPELESS);
            }
            return self.conclude_servers(cx.now);
        };
        // It tells that of each signal; the call is the first.
        if self.server(server).is_none_or(|server| std::mem::replace(&mut server.told, true)) {
            return;
        }
        if let Some(ladder) = &mut self.ladder {
            ladder.handle_called(there, cx.now);
        }
        if let Some(addr) = addr {
            let progress = if there { Progress::Called(addr) } else { Progress::Waiting(addr) };
            self.tell(info, &progress, cx);
        }
    }

    fn conclude_servers(&mut self, now: Instant) {
        let hopeless = self.servers.iter().all(|server| server.failures >= HOPELESS);
        if let Some(ladder) = self.ladder.as_mut().filter(|ladder| hopeless && !ladder.is_answered()) {
            ladder.handle_uncallable(now);
        }
    }

    fn server(&mut self, id: ServerId) -> Option<&mut CalledServer> {
        self.servers.iter_mut().find(|server| server.id == id)
    }
}

/// What the node says.
impl Caller {
    pub(super) fn handle_answer(
        &mut self,
        info: &mut CallInfo,
        ways: &mut Ways,
        answer: HeardAnswer,
        cx: &mut Context<'_, '_>,
    ) {
        if info.server.is_some() {
            return;
        }
        info.server = Some(answer.server);
        info.same_network = cx.around.is_same_network(answer.server, answer.seen);
        ways.relaying.handle_offer(answer.halves.into_iter().flatten());
        let unl: Option<Unl> = answer.unl.parse().ok();
        let kind = unl.as_ref().and_then(Unl::nat);
        // What it says now is newer than what was pasted; it has signed both.
        if let Some(unl) = unl.filter(|unl| unl.public_key() == info.peer) {
            info.unl = Some(unl);
        }
        let relay = ways.relaying.is_offered();
        if let Some(ladder) = &mut self.ladder {
            let answered = Answered { punch: answer.punch, relay, kind, same_wan: info.same_network };
            ladder.handle_answer(answered, cx.now);
        }
    }

    pub(super) fn handle_refused(&mut self, why: Refusal, now: Instant) {
        if let Some(ladder) = &mut self.ladder {
            ladder.handle_refused(why, now);
        }
    }

    /// It has seen its port, too, and is about to dial: in this window, where it names one.
    pub(super) fn handle_meet(&mut self, round: u8, theirs: Side, window: Option<Window>, now: Instant) {
        if let Some(ladder) = &mut self.ladder {
            self.window = window;
            ladder.handle_meet(round, theirs, now);
        }
    }

    /// A server has told it of us.
    pub(super) fn handle_announced(&mut self) {
        if let Some(ladder) = &mut self.ladder {
            ladder.handle_announced();
        }
    }
}

/// Relays.
impl Caller {
    /// The other side is to come to the next relay that it would come to, and so do we.
    fn come_to_relay(&mut self, info: &CallInfo, ways: &mut Ways, cx: &mut Context<'_, '_>) {
        let (server, why) = match ways.relaying.choose(info, cx) {
            Err(none) => none,
            Ok((half, machine)) => {
                let body = Body::Relay { half };
                let unsent = Unsent::NoRelay(half.server);
                if info.server.is_some_and(|through| info.signal(through, None, body, unsent, cx)) {
                    return ways.relaying.begin(info, machine, half.server, cx);
                }
                release_claim(info, half.server, 0, cx);
                (Some(half.server), RelayRefusal::Unreachable)
            }
        };
        self.fail_relay(info, ways, server, why, cx);
    }

    /// The other side does not hear that it is to come to a relay.
    pub(super) fn handle_no_relay(
        &mut self,
        info: &CallInfo,
        ways: &mut Ways,
        server: std::net::SocketAddr,
        cx: &mut Context<'_, '_>,
    ) {
        if ways.relaying.server() == Some(server) {
            ways.relaying.end(cx);
            release_claim(info, server, 0, cx);
            self.fail_relay(info, ways, Some(server), RelayRefusal::Unreachable, cx);
        }
    }

    /// The next relay at once, or what the ladder makes of it. Each that is passed over is not tried again, so that this ends.
    fn fail_relay(
        &mut self,
        info: &CallInfo,
        ways: &mut Ways,
        server: Option<std::net::SocketAddr>,
        why: RelayRefusal,
        cx: &mut Context<'_, '_>,
    ) {
        match ways.relaying.fail(info, server, why, cx) {
            Next::Another => self.come_to_relay(info, ways, cx),
            Next::Wait(why) => {
                if let Some(ladder) = &mut self.ladder {
                    ladder.handle_relay_failed(why, cx.now);
                }
            }
        }
    }
}

fn next_observer(servers: &[CalledServer], after: ServerId, cx: &Context<'_, '_>) -> Option<ServerId> {
    let mut servers = servers.iter().map(|server| server.id).skip_while(|&server| server != after).skip(1);
    servers.find(|&server| cx.around.servers.observes(server))
}

fn call_body(info: &CallInfo, rungs: Rungs, server: ServerId, cx: &mut Context<'_, '_>) -> Option<Body> {
    let unl = cx.around.local.unl?.to_string();
    let relay = own_half(info, server, cx);
    Some(Body::Call {
        unl,
        // Which of our addresses it can use, it sees: behind one router with us it can what others can not.
        reverse: rungs.has(Rung::Reverse) && cx.around.local.listens,
        punch: rungs.has(Rung::Punch),
        relay: relay.filter(|_| rungs.has(Rung::Relay)),
        upgrade: info.upgrade.is_some(),
    })
}

/// The relay's ticket as we would sign it for this server, or else for a relay of our own, in case that the other side
/// has it, too.
fn own_half(info: &CallInfo, server: ServerId, cx: &mut Context<'_, '_>) -> Option<Half> {
    let of_server = cx.around.servers.addr_of(server).filter(|_| cx.around.servers.relays(server));
    let relay = of_server.or_else(|| cx.own_relay(None))?;
    info.sign_ticket(relay, cx)
}

/// Our port was seen: the other side is to see its own.
fn send_ready(info: &CallInfo, ways: &Ways, round: u8, ours: &Side, cx: &mut Context<'_, '_>) {
    let Some(seen) = ways.seen(round) else { return };
    let rtt = cx.around.servers.rtt_of(seen.server).unwrap_or_default();
    let rtt_us = micros(rtt);
    let body = Body::Ready { round, port: ours.local_port, kind: ours.kind, rtt_us };
    info.signal(seen.server, Some(seen.token), body, Unsent::Lost, cx);
}

pub(super) fn micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}

/// Our port was seen: says to all of our servers where we will come from to a node of pyp2p's, which they know by its address
/// alone.
///
/// A UNL of version 2 names no servers, so that each of ours is told: the one that knows the node tells it of us. The node
/// accepts, and names the moment. What the server says of its address is believed, as it is a server of our own choice, and
/// has to be what the UNL says.
fn announce(info: &CallInfo, round: u8, ours: &Side, cx: &mut Context<'_, '_>) {
    let Some(to) = info.unl.as_ref().and_then(outside) else { return };
    // Without either, the ladder sees that nobody answers.
    let Some(ports) = foretold(ours).and_then(|port| Ports::new([port])) else { return };
    let id = info.id;
    cx.shared.announced.insert(to, Announced { call: id, round });
    for server in cx.around.servers.own() {
        cx.note(Level::Debug, || format!("call {id}: candidate of {to} by {server}"));
        cx.act(super::action::ConnectAction::Announce { server, ip: to, ports: ports.clone() });
    }
}

/// Where a node is outside. pyp2p's meetings know no ports but those of the meeting.
pub(super) fn outside(unl: &Unl) -> Option<std::net::IpAddr> {
    let mut wan = unl.addresses().filter(|address| address.place == Place::Wan);
    let fine = wan.find(|address| matches!(address.oddity(), None | Some(Oddity::NoPort)));
    fine.map(|address| address.addr.ip().to_canonical())
}
