//! What the one who calls does.

use log::Level;

use super::{Call, CalledServer, Caller, Part, Waiter};
use crate::connect::{Connect, Progress, Rung, Rungs};
use crate::error::ConnectError;
use crate::event::Event;
use crate::id::{AttemptId, CallId, ConId, ServerId};
use crate::identity::NodeId;
use crate::node::peer::Node;
use crate::proto::household::household;
use crate::proto::ladder::{Facts, Ladder, LadderConfig, Want};
use crate::reach::{NodeType, Reach, Reachability};
use crate::time::Instant;
use crate::unl::{Forwarding, Place, Unl};
use crate::wire::signal::{Body, Half};

/// The ways that are looked for when a link is relayed.
const DIRECT_WAYS: Rungs = Rungs::ALL.without(Rung::Existing).without(Rung::Relay);

/// A server that could not be reached so often in a row does not only restart.
const HOPELESS: u32 = 3;

impl Node {
    /// Begins an attempt of the application's.
    pub(crate) fn connect_unl(&mut self, to: Connect, now: Instant) -> Result<AttemptId, ConnectError> {
        if self.core.identity.key.is_none() {
            return Err(ConnectError::NoLinks);
        }
        if self.core.is_leaving() {
            return Err(ConnectError::Stopping);
        }
        if self.is_own(&to.unl) {
            return Err(ConnectError::Oneself);
        }
        let attempt = self.attempts.next_id();
        let waiter = Waiter { attempt, temporary: to.temporary };
        let existing = to.unl.node_id().and_then(|node| self.con_of(node));
        if let Some(con) = existing.filter(|_| to.rungs.has(Rung::Existing)) {
            self.tell_connected(con, waiter, std::time::Duration::ZERO, now);
            return Ok(attempt);
        }
        // Two attempts at one node are one call, unless they ask for different ways.
        let joined = match to.unl.node_id() {
            Some(node) => self.calls.to(node),
            None => self.calls.to_unl(&to.unl),
        };
        let (max_calls, calls) = (self.core.config.links.max_calls, self.calls.count(true));
        match joined.and_then(|id| self.calls.caller(id)).filter(|caller| caller.rungs == to.rungs) {
            Some(caller) if caller.attempts.len() < max_calls => caller.attempts.push(waiter),
            Some(_) => return Err(ConnectError::TooMany),
            None if calls >= max_calls => return Err(ConnectError::TooMany),
            None => self.begin_call(to.unl, to.rungs, vec![waiter], None, now, now),
        }
        Ok(attempt)
    }

    /// Begins to look for direct ways where that is due.
    pub(super) fn begin_upgrades(&mut self, now: Instant) {
        while let Some(con) = self.calls.upgrades.poll_due(now) {
            let unl = self.links.link(con).and_then(|link| link.unl.clone());
            let busy = self.core.is_leaving() || self.calls.count(true) >= self.core.config.links.max_calls;
            match unl.filter(|_| !busy) {
                Some(unl) => self.begin_call(unl, DIRECT_WAYS, Vec::new(), Some(con), now, now),
                None => self.calls.upgrades.postpone(con, now),
            }
        }
    }

    /// `began`: when the attempt did, which may have stood back for a while since.
    fn begin_call(
        &mut self,
        unl: Unl,
        rungs: Rungs,
        attempts: Vec<Waiter>,
        upgrade: Option<ConId>,
        began: Instant,
        now: Instant,
    ) {
        let id = CallId::fresh(&mut self.calls.random);
        let places = if unl.version() == 2 { Vec::new() } else { self.servers_of(&unl, now) };
        let servers: Vec<CalledServer> = places
            .into_iter()
            .map(|place| CalledServer { place, called: false, told: false, failures: 0 })
            .collect();
        let facts = self.facts_of(&unl, rungs, !servers.is_empty());
        let links = &self.core.config.links;
        let config = LadderConfig {
            within: (began + links.connect_within) - now,
            punch_time: links.punch_time,
            ..LadderConfig::default()
        };
        let caller = Caller {
            ladder: Ladder::new(config, rungs, facts, now),
            rungs,
            attempts,
            servers,
            calling: false,
            observe: None,
            yields: false,
            resumes: false,
        };
        let mut call = Call::new(Part::Caller(Box::new(caller)), unl.public_key(), Some(unl), began);
        call.upgrade = upgrade;
        self.calls.open.insert(id, call);
        self.climb(id, now);
    }

    /// What is known of the way to a node before anything was tried.
    fn facts_of(&self, unl: &Unl, rungs: Rungs, callable: bool) -> Facts {
        let reach = self.reach();
        let our_wan = reach.wan.map(household);
        let mut wan = unl.addresses().filter(|address| address.place == Place::Wan);
        let same_wan = wan.any(|address| our_wan == Some(household(address.addr.ip())));
        let meets = !callable && !same_wan && self.can_meet(unl);
        // A node of pyp2p's, which nobody can ask, is in our network if it has our address outside, and only then.
        let elsewhere = unl.version() == 2 && our_wan.is_some() && !same_wan;
        // Who leaves out all but the local ways asks for them; and where no server could say so, nobody else can.
        let lan_at_once = !callable || !rungs.has(Rung::Direct) && !rungs.has(Rung::Relay);
        let visible = has_public_address(&reach) && reach.reachable != Reachability::No;
        let has_wan = !self.wan_addresses(unl).is_empty();
        let passive = unl.node_type() == NodeType::Passive;
        // A mapping is likely to work even if no server could tell; such a node is called at the same time.
        let open = passive || unl.forwarding() != Forwarding::None;
        Facts {
            lan: !self.lan_addresses(unl).is_empty() && !elsewhere,
            lan_at_once,
            // What says that it can not be connected to is not dialled in vain, unless there is nothing else to try.
            direct: has_wan && (open || !callable && !meets),
            passive,
            closed: has_wan && !open,
            same_wan,
            callable,
            meets,
            reachable: self.core.listening.is_some()
                && (reach.reachable == Reachability::Yes || visible || same_wan),
            our_kind: reach.nat.kind(),
            their_kind: unl.nat(),
        }
    }

    /// Does what the ladder wants, tells how far it is, and what came of it.
    pub(super) fn climb(&mut self, id: CallId, now: Instant) {
        while let Some(want) = self.calls.ladder(id).and_then(Ladder::poll_want) {
            self.act_for_ladder(id, want, now);
        }
        self.tell_progress(id);
        if let Some(tried) = self.calls.ladder(id).and_then(|ladder| ladder.failure()) {
            let yields = self.calls.caller(id).is_some_and(|caller| caller.yields);
            let late = self
                .calls
                .open
                .get(&id)
                .is_some_and(|call| now - call.began >= self.core.config.links.connect_within);
            if !yields || late {
                self.fail_call(id, tried, now);
            }
        }
    }

    fn tell_progress(&mut self, id: CallId) {
        while let Some(progress) = self.calls.ladder(id).and_then(Ladder::poll_progress) {
            let progress = match progress {
                Ok(rung) => Progress::Began(rung),
                Err(tried) => Progress::Failed(tried),
            };
            self.tell_climbing(id, progress);
        }
    }

    pub(super) fn tell_climbing(&mut self, id: CallId, progress: Progress) {
        self.core.notes.push(Level::Debug, || format!("call {id}: {progress}"));
        let Some(caller) = self.calls.caller(id) else { return };
        for waiter in &caller.attempts {
            self.events.push(Event::Climbing { attempt: waiter.attempt, progress: progress.clone() });
        }
    }

    fn act_for_ladder(&mut self, id: CallId, want: Want, now: Instant) {
        if self.calls.caller(id).is_some_and(|caller| caller.yields) && !matches!(want, Want::Dial(_)) {
            return;
        }
        match want {
            Want::Dial(rung) => self.dial_rung(id, rung, now),
            Want::Call => {
                if let Some(caller) = self.calls.caller(id) {
                    caller.calling = true;
                }
                self.call_through_servers(id, now);
            }
            Want::Observe { round } => {
                if let Some(caller) = self.calls.caller(id) {
                    caller.observe = Some(round);
                }
                self.begin_awaited_observation(id, now);
            }
            Want::Ready { ours, .. } if self.calls.peer_of(id).is_none() => self.announce(id, ours, now),
            Want::Ready { round, ours } => self.send_ready(id, round, ours, now),
            Want::Punch { round, ours, theirs } => self.begin_punch(id, round, ours, theirs, now, now),
            Want::Relay => self.call_to_relay(id, now),
        }
    }

    /// Calls through each server that can take the call now and does not have it.
    pub(super) fn call_through_servers(&mut self, id: CallId, now: Instant) {
        let Some(caller) = self.calls.caller(id).filter(|caller| caller.calling) else { return };
        let places: Vec<ServerId> =
            caller.servers.iter().filter(|server| !server.called).map(|server| server.place).collect();
        for place in places {
            let Some(body) = self.call_body(id, place, now) else { continue };
            let sent = self.signal(place, id, None, body, now);
            if let Some(caller) = self.calls.caller(id) {
                let server = caller.servers.iter_mut().find(|server| server.place == place);
                if let Some(server) = server {
                    server.called = sent;
                }
            }
        }
    }

    fn call_body(&mut self, id: CallId, place: ServerId, now: Instant) -> Option<Body> {
        let unl = self.unl()?;
        let relay = self.own_half(id, place, now);
        let call = self.calls.open.get(&id)?;
        let upgrade = call.upgrade.is_some();
        let Part::Caller(caller) = &call.part else { return None };
        Some(Body::Call {
            unl: unl.to_string(),
            // Which of our addresses it can use, it sees: behind one router with us it can what others can not.
            reverse: caller.rungs.has(Rung::Reverse) && self.core.listening.is_some(),
            punch: caller.rungs.has(Rung::Punch),
            relay: relay.filter(|_| caller.rungs.has(Rung::Relay)),
            upgrade,
        })
    }

    /// A server that a call may go through is there, or has proven to know us.
    pub(in super::super) fn handle_server_ready(&mut self, place: ServerId, now: Instant) {
        for id in self.calls.ids() {
            let waits = |caller: &Caller| caller.servers.iter().any(|server| server.place == place);
            if self.calls.caller(id).is_some_and(|caller| waits(caller)) {
                self.call_through_servers(id, now);
                self.begin_awaited_observation(id, now);
                self.climb(id, now);
            }
        }
    }

    /// No call gets through this server.
    pub(in super::super) fn handle_server_useless(&mut self, place: ServerId, now: Instant) {
        for _ in 0..HOPELESS {
            self.handle_server_lost(place, now);
        }
    }

    /// A server is gone, for now.
    pub(in super::super) fn handle_server_lost(&mut self, place: ServerId, now: Instant) {
        for id in self.calls.ids() {
            let Some(caller) = self.calls.caller(id) else { continue };
            let Some(server) = caller.servers.iter_mut().find(|server| server.place == place) else {
                continue;
            };
            server.failures += 1;
            // It may only be restarting; whether it has what it was told is not known.
            server.called = false;
            let hopeless = caller.servers.iter().all(|server| server.failures >= HOPELESS);
            if hopeless && !caller.ladder.is_answered() {
                caller.ladder.handle_uncallable(now);
            }
            self.climb(id, now);
        }
    }

    /// A server tells whether the node is there that was called through it.
    pub(in super::super) fn handle_signaled(
        &mut self,
        place: ServerId,
        to: NodeId,
        there: Option<bool>,
        now: Instant,
    ) {
        // There is room for one more by now.
        for id in self.calls.ids() {
            self.call_through_servers(id, now);
        }
        let Some(id) = self.calls.to(to) else { return };
        let addr = self.servers.addr_of(place);
        let Some(caller) = self.calls.caller(id) else { return };
        if caller.ladder.is_answered() {
            return;
        }
        match there {
            Some(there) => {
                // It tells that of each signal; the call is the first.
                let server = caller.servers.iter_mut().find(|server| server.place == place);
                if server.is_none_or(|server| std::mem::replace(&mut server.told, true)) {
                    return;
                }
                caller.ladder.handle_called(there, now);
                if let Some(addr) = addr {
                    let progress = if there { Progress::Called(addr) } else { Progress::Waiting(addr) };
                    self.tell_climbing(id, progress);
                }
            }
            // It takes no more of ours; perhaps another does.
            None => {
                if let Some(server) = caller.servers.iter_mut().find(|server| server.place == place) {
                    server.failures += HOPELESS;
                }
                if caller.servers.iter().all(|server| server.failures >= HOPELESS) {
                    caller.ladder.handle_uncallable(now);
                }
            }
        }
        self.climb(id, now);
    }

    /// The node answers.
    pub(super) fn handle_answer(&mut self, id: CallId, answer: super::signals::HeardAnswer, now: Instant) {
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        if call.server.is_some() {
            return;
        }
        call.server = Some(answer.place);
        call.their_halves = answer.halves.into_iter().flatten().collect();
        let same_wan = self.is_same_network(answer.place, answer.seen);
        let unl: Option<Unl> = answer.unl.parse().ok();
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        let kind = unl.as_ref().and_then(Unl::nat);
        // What it says now is newer than what was pasted; it has signed both.
        if let Some(unl) = unl.filter(|unl| unl.public_key() == call.peer) {
            call.unl = Some(unl);
        }
        call.same_network = same_wan;
        let relay = !call.their_halves.is_empty();
        if let Some(ladder) = self.calls.ladder(id) {
            let answered = crate::proto::ladder::Answered { punch: answer.punch, relay, kind, same_wan };
            ladder.handle_answer(answered, now);
        }
        self.climb(id, now);
    }

    /// The application is told that its attempt has led to this connection.
    pub(super) fn tell_connected(
        &mut self,
        con: ConId,
        waiter: Waiter,
        took: std::time::Duration,
        now: Instant,
    ) {
        let Some(connection) = self.connections.get(con) else { return };
        let (via, peer) = (connection.via, connection.peer);
        self.events.push(Event::Connected { con, via, peer, attempt: Some(waiter.attempt), took });
        if waiter.temporary.is_some() {
            self.close_when_idle(con, waiter.temporary, now);
        }
    }

    /// The relay's ticket as we would sign it for this server, or else for a relay of our own, in case that the other side
    /// has it, too.
    fn own_half(&mut self, id: CallId, place: ServerId, now: Instant) -> Option<Half> {
        let of_server = self.servers.addr_of(place).filter(|_| self.servers.relays(place));
        let server = of_server.or_else(|| self.own_relay(None, now))?;
        self.sign_ticket(id, server)
    }

    pub(in super::super) fn cancel_call(&mut self, attempt: AttemptId, now: Instant) -> bool {
        for id in self.calls.ids() {
            let Some(caller) = self.calls.caller(id) else { continue };
            let before = caller.attempts.len();
            caller.attempts.retain(|waiter| waiter.attempt != attempt);
            if caller.attempts.len() < before {
                let alone = caller.attempts.is_empty();
                self.tell_failed(attempt, crate::error::FailReason::Cancelled);
                if alone {
                    self.give_up_call(id, now);
                }
                return true;
            }
        }
        false
    }

    /// The call for which ours to this node had stood back came to nothing, so that ours begins again.
    pub(super) fn resume_call(&mut self, node: NodeId, now: Instant) {
        let Some(id) = self.calls.to(node) else { return };
        let Some(caller) = self.calls.caller(id).filter(|caller| caller.yields) else { return };
        caller.resumes = true;
        if self.con_of(node).is_none() && !self.is_greeting(node) {
            self.begin_again(id, now);
        }
    }

    /// The same, where a hello had to be awaited.
    pub(in super::super) fn resume_calls(&mut self, now: Instant) {
        for id in self.calls.ids() {
            if self.calls.caller(id).is_some_and(|caller| caller.resumes)
                && let Some(node) = self.calls.peer_of(id)
            {
                self.resume_call(node, now);
            }
        }
    }

    fn begin_again(&mut self, id: CallId, now: Instant) {
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        let (began, unl) = (call.began, call.unl.clone());
        let Part::Caller(caller) = &mut call.part else { return };
        let (rungs, attempts) = (caller.rungs, std::mem::take(&mut caller.attempts));
        self.give_up_call(id, now);
        if let Some(unl) = unl.filter(|_| !attempts.is_empty()) {
            self.begin_call(unl, rungs, attempts, None, began, now);
        }
    }

    /// Says to the other side that nothing will come of it, and forgets it.
    pub(super) fn give_up_call(&mut self, id: CallId, now: Instant) {
        self.say_done(id, now);
        self.forget_call(id, now);
    }

    fn is_own(&self, unl: &Unl) -> bool {
        unl.node_id().is_some() && unl.node_id() == self.core.identity.id()
            || self.core.identity.unl.as_ref() == Some(unl)
    }
}

/// Whether it has its address outside itself: as a server says, or, where none can, as far as its interfaces tell.
fn has_public_address(reach: &Reach) -> bool {
    let is_ours = |wan| reach.lan.iter().any(|lan| lan.address == wan);
    reach.translated.map_or_else(|| reach.wan.is_some_and(is_ours), |translated| !translated)
}
