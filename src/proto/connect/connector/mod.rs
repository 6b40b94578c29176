//! All calls of a node: who is called, whose calls are taken, and how they end.
//!
//! What comes by way of servers is in [`signalling`].

mod signalling;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::action::{ConnectAction, ConnectEvent, DialId, Waiter};
use super::call::{Call, OurPart};
use super::caller::Caller;
use super::config::ConnectConfig;
use super::context::{Context, Shared};
use super::info::{CallEnd, CallInfo};
use super::rate::CallRate;
use super::remembered::Remembered;
use super::responder::{MEETINGS, Responder};
use super::surroundings::{Local, Surroundings};
use super::table::Table;
use super::upgrades::Upgrades;
use crate::connect::{RelayLimits, Rung, RungFault, Rungs};
use crate::error::{ConnectError, FailReason};
use crate::id::{AttemptId, CallId, ConId, ServerId};
use crate::identity::{Key, NodeId};
use crate::proto::connect::meeting::{Candidates, Challenge};
use crate::random::Random;
use crate::time::{Instant, soonest};
use crate::unl::Unl;

/// The ways that are looked for when a link is relayed.
const DIRECT_WAYS: Rungs = Rungs::ALL.without(Rung::Existing).without(Rung::Relay);

/// The machine. After each input take all that `poll_event` and `poll_action` give, before the next input.
#[derive(Debug)]
pub(crate) struct Connector {
    shared: Shared,
    calls: Table,
    remembered: Remembered,
    rate: CallRate,
    upgrades: Upgrades,
    candidates: Candidates,
    /// Where the origin of the clock lies after 1970.
    wall_at_origin: Duration,
    is_leaving: bool,
}

/// What a link has to know of the calls that led to it.
#[derive(Debug, Default)]
pub(crate) struct Concluded {
    pub(crate) calls: Vec<CallId>,
    pub(crate) unl: Option<Unl>,
    pub(crate) relay: Option<RelayLimits>,
    /// One of them was ours.
    pub(crate) ours: bool,
}

impl Connector {
    /// `wall_at_origin`: where the origin of the clock lies after 1970; only pyp2p's meetings need to know.
    pub(crate) fn new(
        config: ConnectConfig,
        key: Option<Arc<Key>>,
        wall_at_origin: Duration,
        random: Random,
    ) -> Self {
        Self {
            rate: CallRate::new(config.max_calls_per_minute),
            upgrades: Upgrades::new(config.upgrade_every),
            shared: Shared::new(config, key, random),
            calls: Table::default(),
            remembered: Remembered::default(),
            candidates: Candidates::default(),
            wall_at_origin,
            is_leaving: false,
        }
    }

    pub(crate) fn poll_action(&mut self) -> Option<ConnectAction> {
        self.shared.actions.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<ConnectEvent> {
        self.shared.events.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let others = [self.candidates.poll_timeout(), self.upgrades.poll_timeout()];
        others.into_iter().fold(self.calls.poll_timeout(), soonest)
    }

    pub(crate) fn handle_timeout(&mut self, around: &mut Surroundings<'_>, now: Instant) {
        around.budget.handle_timeout(now);
        self.meet_candidates(around, now);
        while let Some(link) = self.upgrades.poll_due(now) {
            self.begin_upgrade(link, around, now);
        }
        for id in self.calls.due(now) {
            self.with(id, around, now, |call, cx| call.handle_timeout(cx));
        }
    }
}

/// What is asked of it.
impl Connector {
    /// Whether it is a call of ours.
    pub(crate) fn is_ours(&self, id: CallId) -> bool {
        self.calls.is_ours(id)
    }

    /// Whether it was one of ours that is over.
    pub(crate) fn was_ours(&self, id: CallId) -> bool {
        self.remembered.was_ours(id)
    }

    /// The other side of a call.
    pub(crate) fn peer_of(&self, id: CallId) -> Option<NodeId> {
        self.calls.peer_of(id)
    }

    /// Whether the other side of a call has had its router open its port.
    pub(crate) fn is_mapped(&self, id: CallId) -> bool {
        self.calls.get(id).is_some_and(|call| call.info.is_mapped())
    }

    /// Whether the other side of a call has this address in its own network, so that it comes by no router.
    pub(crate) fn is_neighbour(&self, id: CallId, ip: IpAddr) -> bool {
        self.calls.get(id).is_some_and(|call| call.info.is_neighbour(ip))
    }

    /// Whether a call goes through this server.
    pub(crate) fn needs(&self, server: ServerId) -> bool {
        self.calls.needs(server)
    }

    /// Whether the lines of this stream are the call's to read.
    pub(crate) fn wants_line(&self, dial: DialId) -> bool {
        self.calls.get(dial.call).is_some_and(|call| call.ways.reads(dial))
    }

    /// What a new link to this node has to know, that came about by this call, if any.
    pub(crate) fn concluded(&self, node: NodeId, by: Option<CallId>) -> Concluded {
        let mut concluded = Concluded::default();
        for id in self.calls.with(node).into_iter().filter(|&id| self.ends_with(id, by)) {
            let Some(call) = self.calls.get(id) else { continue };
            concluded.calls.push(id);
            concluded.unl = concluded.unl.or_else(|| call.info.unl.clone());
            concluded.relay = concluded.relay.or(call.relay_limits());
            concluded.ours |= call.info.ours;
        }
        concluded.calls.extend(by.filter(|&by| self.calls.get(by).is_none()));
        concluded
    }

    /// How many are under way, and how many are remembered.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.calls.len(), self.remembered.taken())
    }

    /// Whether a call ends once there is a link, which came about by that other one.
    fn ends_with(&self, id: CallId, by: Option<CallId>) -> bool {
        Some(id) == by || self.calls.is_ours(id)
    }
}

/// What the application wants.
impl Connector {
    /// Begins an attempt.
    pub(crate) fn connect(
        &mut self,
        unl: Unl,
        rungs: Rungs,
        waiter: Waiter,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) -> Result<(), ConnectError> {
        self.check(&unl, &around.local)?;
        let existing = unl.node_id().and_then(|node| around.links.link_to(node));
        if let Some(con) = existing.filter(|_| rungs.has(Rung::Existing)) {
            self.shared.events.push_back(ConnectEvent::Connected { con, waiter, took: Duration::ZERO });
            return Ok(());
        }
        // Two attempts at one node are one call, unless they ask for different ways.
        let joined = match unl.node_id() {
            Some(node) => self.calls.to(node),
            None => self.calls.to_unl(&unl),
        };
        let (max_calls, calls) = (self.shared.config.max_calls, self.calls.count(true));
        let joined = joined.and_then(|id| self.calls.get_mut(id)).and_then(Call::caller_mut);
        match joined.filter(|caller| caller.rungs == rungs) {
            Some(caller) if caller.waiters.len() < max_calls => caller.waiters.push(waiter),
            Some(_) => return Err(ConnectError::TooMany),
            None if calls >= max_calls => return Err(ConnectError::TooMany),
            None => self.open(unl, rungs, vec![waiter], None, now, around, now),
        }
        Ok(())
    }

    /// Whether there is anything to attempt.
    pub(crate) fn check(&self, unl: &Unl, local: &Local<'_>) -> Result<(), ConnectError> {
        let Some(own) = self.shared.own_id() else { return Err(ConnectError::NoLinks) };
        if self.is_leaving {
            return Err(ConnectError::Stopping);
        }
        let is_own = unl.node_id() == Some(own) || local.unl == Some(unl);
        if is_own { Err(ConnectError::Oneself) } else { Ok(()) }
    }

    /// Gives up an attempt; whether it was under way.
    pub(crate) fn cancel(&mut self, attempt: AttemptId, around: &mut Surroundings<'_>, now: Instant) -> bool {
        for id in self.calls.ids() {
            let Some(caller) = self.calls.get_mut(id).and_then(Call::caller_mut) else { continue };
            if caller.cancel(attempt) {
                let alone = caller.waiters.is_empty();
                self.shared.events.push_back(ConnectEvent::Failed { attempt, why: FailReason::Cancelled });
                if alone {
                    self.give_up(id, around, now);
                }
                return true;
            }
        }
        false
    }

    /// The node leaves: nothing will come of any call.
    pub(crate) fn leave(&mut self, around: &mut Surroundings<'_>, now: Instant) {
        self.is_leaving = true;
        self.candidates.clear();
        for id in self.calls.ids() {
            let caller = self.calls.get_mut(id).and_then(Call::caller_mut);
            let waiters = caller.map(|caller| std::mem::take(&mut caller.waiters)).unwrap_or_default();
            for Waiter { attempt, .. } in waiters {
                self.shared.events.push_back(ConnectEvent::Failed { attempt, why: FailReason::Cancelled });
            }
            self.give_up(id, around, now);
        }
    }

    /// The servers through which the node of a call can be called.
    pub(crate) fn handle_servers(
        &mut self,
        call: CallId,
        servers: Vec<ServerId>,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        self.with(call, around, now, |Call { info, part, .. }, cx| {
            if let OurPart::Caller(caller) = part {
                caller.begin(info, servers, cx);
            }
        });
    }
}

/// What becomes of streams.
impl Connector {
    pub(crate) fn handle_connected(&mut self, dial: DialId, around: &mut Surroundings<'_>, now: Instant) {
        self.with(dial.call, around, now, |Call { info, ways, .. }, cx| {
            ways.handle_connected(info, dial, cx)
        });
    }

    /// It could not be dialled.
    pub(crate) fn handle_failed(
        &mut self,
        dial: DialId,
        kind: io::ErrorKind,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        self.with(dial.call, around, now, |Call { info, ways, .. }, cx| {
            ways.handle_failed(info, dial, kind, cx);
        });
    }

    /// It has ended, while no handshake was under way on it.
    pub(crate) fn handle_closed(&mut self, dial: DialId, around: &mut Surroundings<'_>, now: Instant) {
        self.with(dial.call, around, now, |Call { info, ways, .. }, cx| ways.handle_closed(info, dial, cx));
    }

    /// A line came, without its end.
    pub(crate) fn handle_line(
        &mut self,
        dial: DialId,
        line: &[u8],
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        self.with(dial.call, around, now, |Call { info, ways, .. }, cx| {
            ways.handle_line(info, dial, line, cx);
        });
    }

    /// The connection turned out not to be the node.
    pub(crate) fn handle_handshake_failed(
        &mut self,
        dial: DialId,
        why: RungFault,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        self.with(dial.call, around, now, |Call { info, ways, .. }, cx| {
            ways.handle_handshake_failed(info, dial, why, cx);
        });
    }
}

/// What becomes of links.
impl Connector {
    /// There is a link to this node: our calls to it have come to their end, and the one that led to it. Others of the node
    /// go on until it is done with them: it may have lost this link already, and call anew. Whether an attempt was for it.
    pub(crate) fn handle_link(
        &mut self,
        node: NodeId,
        con: ConId,
        by: Option<CallId>,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) -> bool {
        let mut told = false;
        let (ended, others): (Vec<CallId>, Vec<CallId>) =
            self.calls.with(node).into_iter().partition(|&id| self.ends_with(id, by));
        self.shared.actions.push_back(ConnectAction::EndHandshakes { node, calls: ended.clone(), others });
        for id in ended {
            let Some(call) = self.calls.get(id) else { continue };
            let took = now - call.info.began;
            for &waiter in call.caller().map_or(&[][..], |caller| &caller.waiters) {
                self.shared.events.push_back(ConnectEvent::Connected { con, waiter, took });
                told = true;
            }
            if Some(id) == by {
                self.forget(id, around, now);
            } else {
                self.give_up(id, around, now);
            }
        }
        told
    }

    /// The new link goes by way of a relay, and a call of ours led to it.
    pub(crate) fn handle_relayed(&mut self, con: ConId, now: Instant) {
        self.upgrades.handle_relayed(con, now);
    }

    /// It does not any more, or has ended.
    pub(crate) fn handle_relaying_over(&mut self, con: ConId) {
        self.upgrades.forget(con);
    }

    /// A relayed link to this node goes another way, to which this call led, if any.
    pub(crate) fn handle_upgraded(
        &mut self,
        node: NodeId,
        by: Option<CallId>,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        let calls = self.calls.with(node);
        let others = Vec::new();
        self.shared.actions.push_back(ConnectAction::EndHandshakes { node, calls: calls.clone(), others });
        for id in calls.into_iter().chain(by) {
            if self.calls.get(id).is_some_and(|call| call.info.upgrade.is_some()) {
                self.forget(id, around, now);
            }
        }
    }

    /// A hello of this call came from this node: what is not even connected is given up. The hello proves nothing yet; but only
    /// the two of them, and the servers in between, know what the call is named.
    pub(crate) fn handle_hello(
        &mut self,
        id: CallId,
        node: NodeId,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        if self.peer_of(id) == Some(node) && !self.is_ours(id) {
            self.with(id, around, now, |call, cx| call.ways.give_up_dials(cx));
        }
    }

    /// A handshake has come to nothing: calls that waited for it go on.
    pub(crate) fn resume_calls(&mut self, around: &mut Surroundings<'_>, now: Instant) {
        let resumes = |caller: &Caller| caller.resumes;
        for id in self.calls.ids() {
            let resumes = self.calls.get(id).and_then(Call::caller).is_some_and(resumes);
            if let Some(node) = self.peer_of(id).filter(|_| resumes) {
                self.resume(node, around, now);
            }
        }
    }

    /// The call for which ours to this node had stood back came to nothing, so that ours begins again.
    fn resume(&mut self, node: NodeId, around: &mut Surroundings<'_>, now: Instant) {
        let Some(id) = self.calls.to(node) else { return };
        let caller = self.calls.get_mut(id).and_then(Call::caller_mut);
        let Some(caller) = caller.filter(|caller| caller.yields) else { return };
        caller.resumes = true;
        if around.links.link_to(node).is_none() && !around.links.is_handshaking(node) {
            self.begin_again(id, around, now);
        }
    }

    fn begin_again(&mut self, id: CallId, around: &mut Surroundings<'_>, now: Instant) {
        let Some(Call { info, part: OurPart::Caller(caller), .. }) = self.calls.get_mut(id) else { return };
        let (began, unl) = (info.began, info.unl.clone());
        let (rungs, waiters) = (caller.rungs, std::mem::take(&mut caller.waiters));
        self.give_up(id, around, now);
        if let Some(unl) = unl.filter(|_| !waiters.is_empty()) {
            self.open(unl, rungs, waiters, None, began, around, now);
        }
    }
}

/// How calls of ours begin, and how calls end.
impl Connector {
    /// `began`: when the attempt did, which may have stood back for a while since.
    #[expect(clippy::too_many_arguments, reason = "each is one fact of the call")]
    fn open(
        &mut self,
        unl: Unl,
        rungs: Rungs,
        waiters: Vec<Waiter>,
        upgrade: Option<ConId>,
        began: Instant,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        let id = CallId::fresh(&mut self.shared.random);
        let info = CallInfo::new(id, true, unl.public_key(), Some(unl.clone()), began);
        let caller = Caller::new(rungs, waiters);
        self.calls.insert(Call::new(CallInfo { upgrade, ..info }, OurPart::Caller(Box::new(caller))));
        if unl.version() == 2 {
            self.handle_servers(id, Vec::new(), around, now);
        } else {
            self.shared.actions.push_back(ConnectAction::FindServers { call: id, unl });
        }
    }

    fn begin_upgrade(&mut self, link: ConId, around: &mut Surroundings<'_>, now: Instant) {
        let busy = self.is_leaving || self.calls.count(true) >= self.shared.config.max_calls;
        match around.links.unl_of(link).filter(|_| !busy) {
            Some(unl) => self.open(unl, DIRECT_WAYS, Vec::new(), Some(link), now, around, now),
            None => self.upgrades.postpone(link, now),
        }
    }

    /// Takes those whose turn it is.
    fn meet_candidates(&mut self, around: &mut Surroundings<'_>, now: Instant) {
        while let Some(challenge) = self.candidates.poll_challenge(now) {
            self.meet(challenge, around, now);
        }
    }

    fn meet(&mut self, challenge: Challenge, around: &mut Surroundings<'_>, now: Instant) {
        let Challenge { server, ip, port } = challenge;
        let meetings = self.calls.candidates().count();
        let busy = meetings >= MEETINGS || self.calls.count(false) >= self.shared.config.max_calls;
        if busy || self.calls.candidates().any(|other| other == ip) || !around.links.has_room(ip) {
            around.notes.push(Level::Info, || format!("no time for candidate {ip}"));
            return;
        }
        let id = CallId::fresh(&mut self.shared.random);
        let mut info = CallInfo::new(id, false, None, None, now);
        info.server = Some(server);
        let responder = Responder::new(server, SocketAddr::new(ip, port), self.wall_at_origin, now);
        self.calls.insert(Call::new(info, OurPart::Responder(responder)));
        self.with(id, around, now, |Call { info, ways, part }, cx| {
            if let OurPart::Responder(responder) = part {
                responder.begin(info, ways, cx);
            }
        });
    }

    /// Does something to a call, and what follows from it.
    fn with(
        &mut self,
        id: CallId,
        around: &mut Surroundings<'_>,
        now: Instant,
        act: impl FnOnce(&mut Call, &mut Context<'_, '_>),
    ) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let mut cx = Context { shared: &mut self.shared, around, now };
        act(call, &mut cx);
        call.work(&mut cx);
        match call.info.end.take() {
            None => self.calls.reschedule(id),
            Some(CallEnd::Over) => self.forget(id, around, now),
            Some(CallEnd::Failed(tried)) => {
                let waiters = call.caller_mut().map(|caller| std::mem::take(&mut caller.waiters));
                for Waiter { attempt, .. } in waiters.unwrap_or_default() {
                    let why = FailReason::NoWay(tried.clone());
                    self.shared.events.push_back(ConnectEvent::Failed { attempt, why });
                }
                if let Some(link) = call.info.upgrade {
                    self.upgrades.postpone(link, now);
                }
                self.give_up(id, around, now);
            }
        }
    }

    /// Says to the other side that nothing will come of it, and forgets it.
    fn give_up(&mut self, id: CallId, around: &mut Surroundings<'_>, now: Instant) {
        if let Some(call) = self.calls.get(id) {
            call.say_done(&mut Context { shared: &mut self.shared, around, now });
        }
        self.forget(id, around, now);
    }

    fn forget(&mut self, id: CallId, around: &mut Surroundings<'_>, now: Instant) {
        let Some(mut call) = self.calls.remove(id) else { return };
        call.end(&mut Context { shared: &mut self.shared, around, now });
        if call.info.ours {
            self.remembered.end(id);
        }
    }
}
