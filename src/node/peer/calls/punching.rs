//! Punching: a port of its own is shown to a server, and then dials the other side's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use log::Level;

use super::Part;
use crate::connect::{Rung, RungFault};
use crate::id::{CallId, ServerId, StreamId};
use crate::node::peer::links::Errand;
use crate::node::peer::{Ends, Node, Role};
use crate::proto::budget::Class;
use crate::proto::punch::{self, Punch, PunchAction, PunchConfig, PunchSlot, Side};
use crate::proto::rendezvous::observe::Observe;
use crate::time::Instant;
use crate::wire::line::Found;
use crate::wire::rendezvous::Token;

/// How long a server may take to say how it sees us.
const OBSERVATION: Duration = Duration::from_secs(3);

/// The ports that punches are made from: the upper half of the dynamic ones (RFC 6335 section 6), where fewer programs
/// are than in the lower half, which systems hand out.
const PORTS: std::ops::Range<u16> = 61_000..65_500;

/// A port that is being shown to a server.
#[derive(Debug)]
pub(super) struct Observing {
    round: u8,
    place: ServerId,
    stream: StreamId,
    port: u16,
    token: Token,
    machine: Observe,
    tries: u8,
    pub(super) until: Instant,
}

/// A port that was shown, and the connection that keeps the NAT's mapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) round: u8,
    pub(super) side: Side,
    place: ServerId,
    token: Token,
    stream: StreamId,
}

/// A punch that goes on.
#[derive(Debug)]
pub(super) struct PunchRun {
    pub(super) round: u8,
    punch: Punch,
    local_port: u16,
    streams: Vec<(PunchSlot, StreamId)>,
    /// Those that are connected, in the order in which they came to be.
    connected: Vec<(StreamId, Ends)>,
    over: bool,
}

impl PunchRun {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.over { None } else { self.punch.poll_timeout() }
    }
}

/// Observation.
impl Node {
    /// Shows a port to the first server that the call can go through, if there is one by now.
    pub(super) fn begin_awaited_observation(&mut self, id: CallId, now: Instant) {
        let Some(call) = self.calls.open.get(&id) else { return };
        let Part::Caller(caller) = &call.part else { return };
        let Some(round) = caller.observe else { return };
        let place = if call.peer.is_some() {
            let mut places = caller.servers.iter().map(|server| server.place);
            let answering = call.server.filter(|&place| self.servers.observes(place));
            answering.or_else(|| places.find(|&place| self.servers.observes(place)))
        } else {
            self.servers.met_own()
        };
        let Some(place) = place else { return };
        if let Some(caller) = self.calls.caller(id) {
            caller.observe = None;
        }
        self.begin_observation(id, round, place, now);
    }

    pub(super) fn begin_observation(&mut self, id: CallId, round: u8, place: ServerId, now: Instant) {
        self.end_observation(id);
        if let Some(callee) = self.calls.callee(id) {
            callee.round = round;
        }
        self.observe(id, round, place, 0, now);
    }

    fn observe(&mut self, id: CallId, round: u8, place: ServerId, tries: u8, now: Instant) {
        let server = self.servers.met_at(place).filter(|&server| self.may_visit(place, server, now));
        let Some(server) = server else { return self.fail_observation(id, round, place, now) };
        let port = PORTS.start + self.calls.random.below(PORTS.len()) as u16;
        let token = Token::nonce(&mut self.calls.random);
        let from = self.core.end_at_port(port, server);
        let stream = self.core.streams.dial(server, Some(from), Role::Observing(id), now);
        let outside = self.servers.seen_at(place).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |seen| seen.ip());
        let mut observing = Observing {
            round,
            place,
            stream,
            port,
            token,
            machine: Observe::new(token),
            tries,
            until: now + OBSERVATION,
        };
        if let Some(call) = self.calls.open.get_mut(&id) {
            if call.peer.is_none() {
                observing.machine = Observe::port(port, outside);
            }
            call.observing = Some(observing);
        }
    }

    pub(in super::super) fn handle_observing(&mut self, id: CallId, stream: StreamId, _now: Instant) {
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        if let Some(observing) = call.observing.as_mut().filter(|observing| observing.stream == stream) {
            let (line, place) = (observing.machine.request(), observing.place);
            self.handle_visited(place);
            // A fresh stream takes a line.
            let _ = self.core.streams.queue_raw(stream, &line);
        }
    }

    pub(in super::super) fn handle_observed_lines(&mut self, id: CallId, stream: StreamId, now: Instant) {
        while let Some(line) = self.core.streams.next_line(stream).map(Found::to_line) {
            let Some(call) = self.calls.open.get_mut(&id) else { return };
            let observing = call.observing.as_mut().filter(|observing| observing.stream == stream);
            let Some(observing) = observing else { continue };
            if let Some(addr) = observing.machine.handle_line(line.as_bytes()) {
                self.handle_seen(id, addr, now);
            }
        }
    }

    fn handle_seen(&mut self, id: CallId, seen: SocketAddr, now: Instant) {
        let kind = self.reach().nat.kind();
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        let Some(observing) = call.observing.take() else { return };
        let Observing { round, place, stream, port, token, .. } = observing;
        let side = Side { seen, local_port: port, kind };
        call.seen = Some(Seen { round, side, place, token, stream });
        match &mut call.part {
            Part::Caller(caller) => {
                caller.ladder.handle_observed(round, side, now);
                self.climb(id, now);
            }
            Part::Callee(_) => self.meet(id, now),
            Part::Host(_) => self.accept_candidate(id, side, now),
        }
    }

    /// Its stream could not be dialled, or has ended. Once the port was seen that matters no more.
    pub(in super::super) fn handle_observation_gone(&mut self, id: CallId, stream: StreamId, now: Instant) {
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        let Some(observing) = call.observing.take_if(|observing| observing.stream == stream) else { return };
        // The port may have been somebody else's.
        if observing.tries < 3 {
            self.observe(id, observing.round, observing.place, observing.tries + 1, now);
        } else {
            self.fail_observation(id, observing.round, observing.place, now);
        }
    }

    pub(super) fn advance_observation(&mut self, id: CallId, now: Instant) {
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        if let Some(observing) = call.observing.take_if(|observing| observing.until <= now) {
            self.core.streams.abandon(observing.stream);
            self.fail_observation(id, observing.round, observing.place, now);
        }
    }

    /// This server has not told; the next one is asked, if there is one.
    fn fail_observation(&mut self, id: CallId, round: u8, place: ServerId, now: Instant) {
        if let Some(next) = self.next_observer(id, place) {
            self.begin_observation(id, round, next, now);
        } else if let Some(ladder) = self.calls.ladder(id) {
            ladder.handle_unobserved(round, now);
        } else if self.calls.is_host(id) {
            self.forget_call(id, now);
        }
    }

    fn next_observer(&self, id: CallId, after: ServerId) -> Option<ServerId> {
        let call = self.calls.open.get(&id).filter(|call| call.peer.is_some())?;
        let Part::Caller(caller) = &call.part else { return None };
        let mut places = caller.servers.iter().map(|server| server.place).skip_while(|&place| place != after);
        places.next();
        places.find(|&place| self.servers.observes(place))
    }

    pub(super) fn end_observation(&mut self, id: CallId) {
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        let observing = call.observing.take().map(|observing| observing.stream);
        let seen = call.seen.take().map(|seen| seen.stream);
        for stream in observing.into_iter().chain(seen) {
            self.core.streams.abandon(stream);
        }
    }

    /// Which server has seen the port of this round, and the word for it.
    pub(super) fn seen_by(&self, id: CallId, round: u8) -> Option<(ServerId, Token)> {
        let seen = self.calls.open.get(&id)?.seen.filter(|seen| seen.round == round)?;
        Some((seen.place, seen.token))
    }
}

/// Punching.
impl Node {
    pub(super) fn begin_punch(
        &mut self,
        id: CallId,
        round: u8,
        ours: Side,
        theirs: Side,
        start: Instant,
        now: Instant,
    ) {
        self.end_punch(id, None);
        let attested = self.trusts(id);
        let links = &self.core.config.links;
        let config = PunchConfig {
            deadline: links.punch_time,
            max_syns: links.max_punch_syns,
            claimed_syns: links.max_claimed_syns,
            ..PunchConfig::default()
        };
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        let part = match call.part {
            Part::Caller(_) => punch::Part::First,
            Part::Callee(_) | Part::Host(_) => punch::Part::Second,
        };
        let (start, config) = match call.window.take() {
            Some(window) => (window.start, PunchConfig { deadline: window.length(), ..config }),
            None => (start, config),
        };
        let random = self.calls.random.fork();
        let punch = Punch::new(config, &ours, &theirs, part, attested, start, random, now);
        let local_port = ours.local_port;
        call.punch = Some(PunchRun {
            round,
            punch,
            local_port,
            streams: Vec::new(),
            connected: Vec::new(),
            over: false,
        });
        self.advance_punch(id, now);
    }

    pub(super) fn advance_punch(&mut self, id: CallId, now: Instant) {
        let Some(run) = self.punch_run(id) else { return };
        run.punch.handle_timeout(now);
        self.act_for_punch(id, now);
    }

    fn act_for_punch(&mut self, id: CallId, now: Instant) {
        // Of what is attested each dial counts; of what is claimed also what the kernel may repeat of it, while it may.
        let (class, syns) = match self.trusts(id) {
            true => (Class::Attested, 1),
            false => (Class::Claimed, self.core.config.links.max_claimed_syns),
        };
        while let Some(run) = self.punch_run(id)
            && let Some(action) = run.punch.poll_action()
        {
            match action {
                PunchAction::Dial { slot, to } => {
                    if self.core.budget.take(to, class, syns, now) {
                        self.dial_punch(id, slot, to, now);
                    } else if let Some(run) = self.punch_run(id) {
                        run.punch.handle_failed(slot, io::ErrorKind::PermissionDenied, now);
                    }
                }
                PunchAction::Abandon { slot } => {
                    if let Some(at) = run.streams.iter().position(|&(other, _)| other == slot) {
                        let (_, stream) = run.streams.swap_remove(at);
                        self.core.streams.abandon(stream);
                    }
                }
            }
        }
        self.conclude_punch(id, now);
    }

    fn dial_punch(&mut self, id: CallId, slot: PunchSlot, to: SocketAddr, now: Instant) {
        let Some(local_port) = self.punch_run(id).map(|run| run.local_port) else { return };
        let from = self.core.end_at_port(local_port, to);
        let stream = self.core.streams.dial(to, Some(from), Role::Punching(id), now);
        if let Some(run) = self.punch_run(id) {
            run.streams.push((slot, stream));
        }
    }

    /// When a round is over without a connection.
    fn conclude_punch(&mut self, id: CallId, now: Instant) {
        let Some(run) = self.punch_run(id) else { return };
        let Some(failure) = run.punch.outcome().filter(|_| !run.over) else { return };
        run.over = true;
        let round = run.round;
        if let Some(ladder) = self.calls.ladder(id) {
            let why = RungFault::Missed { refused: failure.refused, silent: failure.silent };
            ladder.handle_missed(round, why, now);
            self.climb(id, now);
        } else if self.calls.is_host(id) {
            self.core.notes.push(Level::Debug, || format!("a candidate was missed: {failure:?}"));
            self.forget_call(id, now);
        }
    }

    pub(in super::super) fn handle_punch_connected(
        &mut self,
        id: CallId,
        stream: StreamId,
        local: SocketAddr,
        now: Instant,
    ) {
        let dialled = self.core.streams.facts(stream).map(|facts| facts.peer);
        let Some(run) = self.punch_run(id) else { return };
        let slot = run.streams.iter().find(|&&(_, other)| other == stream).map(|&(slot, _)| slot);
        let (Some(slot), Some(dialled)) = (slot, dialled) else { return };
        run.punch.handle_connected(slot, now);
        let ends = Ends { dialler: local, dialled };
        run.connected.push((stream, ends));
        let is_first = run.connected.len() == 1;
        let Some(call) = self.calls.open.get(&id) else { return };
        let (node, upgrade) = (call.node(), call.upgrade.is_some());
        if node.is_none() {
            return self.meet_pyp2p(id, stream, ends, now);
        }
        let errand = Errand::Call { call: id, rung: Rung::Punch, upgrade };
        // Nobody has dialled, or both: the larger id says hello, on the first that it has, and so picks the winner. The
        // others are kept until then: the other side may see them in another order.
        if self.core.identity.id() < node {
            self.expect_hello(stream, errand, ends, now);
        } else if is_first {
            self.say_hello(stream, node, errand, ends, now);
        }
        self.act_for_punch(id, now);
    }

    pub(in super::super) fn handle_punch_dial_failed(
        &mut self,
        id: CallId,
        stream: StreamId,
        kind: io::ErrorKind,
        now: Instant,
    ) {
        let dialled = self.core.streams.facts(stream).map(|facts| facts.peer);
        self.core.streams.abandon(stream);
        if let Some(to) = dialled.filter(|_| kind != io::ErrorKind::TimedOut && !self.trusts(id)) {
            let syns = self.core.config.links.max_claimed_syns.saturating_sub(1);
            self.core.budget.give_back(to, Class::Claimed, syns);
        }
        let Some(run) = self.punch_run(id) else { return };
        let Some(at) = run.streams.iter().position(|&(_, other)| other == stream) else { return };
        let (slot, _) = run.streams.swap_remove(at);
        run.punch.handle_failed(slot, kind, now);
        self.act_for_punch(id, now);
    }

    /// A punched connection came to nothing: the next one has its turn, or dialling goes on.
    pub(super) fn handle_punched_in_vain(&mut self, id: CallId, stream: StreamId, now: Instant) {
        let waits = self.core.identity.id() > self.calls.peer_of(id);
        let Some(run) = self.punch_run(id) else { return };
        // It may be one of an earlier round.
        let Some(at) = run.connected.iter().position(|&(other, _)| other == stream) else { return };
        run.connected.remove(at);
        if let Some(at) = run.streams.iter().position(|&(_, other)| other == stream) {
            let (slot, _) = run.streams.swap_remove(at);
            run.punch.handle_failed(slot, io::ErrorKind::ConnectionReset, now);
        }
        let next = run.connected.first().copied().filter(|_| waits);
        if let Some((stream, ends)) = next
            && let Some(call) = self.calls.open.get(&id)
        {
            let (node, upgrade) = (call.node(), call.upgrade.is_some());
            self.say_hello(stream, node, Errand::Call { call: id, rung: Rung::Punch, upgrade }, ends, now);
        }
        self.act_for_punch(id, now);
    }

    /// Ends a punch, but for the stream that won.
    pub(super) fn end_punch(&mut self, id: CallId, winner: Option<StreamId>) {
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        let Some(run) = call.punch.take() else { return };
        for (_, stream) in run.streams {
            // A winner may have become a connection by now, or have taken the place of one.
            let is_hidden = matches!(self.core.streams.tag(stream), Some(Role::Punching(_) | Role::Greeting));
            if is_hidden && Some(stream) != winner {
                self.drop_stream(stream);
            }
        }
    }

    fn punch_run(&mut self, id: CallId) -> Option<&mut PunchRun> {
        self.calls.open.get_mut(&id)?.punch.as_mut()
    }
}
