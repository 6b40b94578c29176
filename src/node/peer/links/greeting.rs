//! Connections whose other side has not proven who it is.
//!
//! **Two nodes that connect to each other at the same time keep one connection.** Where both have said hello, on one
//! connection each, it is the dial of the one with the larger id that counts: it keeps the other's hello waiting until its
//! own is answered, and the one with the smaller id gives up its own once the other has proven who it is. A dial that is
//! not even connected yet is given up by either for one on which a hello came.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::super::{Ends, Node, PeerRole, Role, Slot};
use super::{Link, Relayed};
use crate::connect::{Rung, RungFault};
use crate::error::CloseReason;
use crate::event::{Event, Via};
use crate::id::ConId;
use crate::identity::{NodeId, PublicKey};
use crate::proto::handshake::{Accepting, Dialling, HandshakeFault, Opening, Step, classify, fresh_nonce};
use crate::time::Instant;
use crate::wire::hello::{CallId, Hello, MAX_HELLO, Refusal, Refused};
use crate::wire::line::{Found, Line};
use crate::wire::nonce;

/// A plain peer may say nothing: after this an accepted connection is taken for one (DESIGN of direct connections).
const SILENCE: Duration = Duration::from_secs(2);

/// Lines that come before the answer to a hello, from an application that was shown the connection before, are kept as far as
/// unread ones are. So much is what each takes besides its own length.
const LINE_COST: usize = 64;

/// A connection in the course of a hello.
#[derive(Debug)]
pub(in super::super) struct Greeting {
    pub(super) stage: Stage,
    pub(in super::super) errand: Errand,
    ends: Ends,
    pub(in super::super) until: Instant,
    /// The application's lines that came before the answer, and room for more.
    before: VecDeque<Line>,
    room: usize,
    /// The application sees the connection already.
    pub(super) shown: bool,
}

#[derive(Debug)]
pub(in super::super) enum Stage {
    /// What comes first tells who it is.
    Opening,
    /// A punched connection on which the other side, whose id is larger, says hello.
    Expecting,
    /// We said hello.
    Dialled { dialling: Dialling, to: Option<NodeId> },
    /// We answered a hello.
    Answered { accepting: Box<Accepting>, hello: Box<Hello> },
    /// A hello that is answered when ours, elsewhere, has led to nothing.
    Waiting(Box<Hello>),
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Errand {
    /// Somebody has connected.
    Accepted,
    /// A candidate of pyp2p's protocol has punched to us. From there on it is as if it had connected.
    Met,
    /// A call of ours, or of somebody else to us, has led to it.
    Call { call: CallId, rung: Rung, upgrade: bool },
}

impl Greeting {
    pub(super) fn call(&self) -> Option<CallId> {
        match (&self.errand, &self.stage) {
            (Errand::Call { call, .. }, _) => Some(*call),
            (_, Stage::Answered { hello, .. } | Stage::Waiting(hello)) => hello.call,
            _ => None,
        }
    }

    pub(super) fn is_upgrade(&self) -> bool {
        match (&self.errand, &self.stage) {
            (Errand::Call { upgrade, .. }, _) => *upgrade,
            (_, Stage::Answered { hello, .. } | Stage::Waiting(hello)) => hello.upgrade,
            _ => false,
        }
    }
}

/// Accepted connections.
impl Node {
    /// Whether accepted connections are shown only when it is known who they are.
    pub(in super::super) fn greets_all(&self) -> bool {
        self.config.links.direct
    }

    /// Takes in a connection that is not shown yet, but takes its slot.
    pub(in super::super) fn greet_accepted(&mut self, ends: Ends, now: Instant) -> ConId {
        let id = self.streams.accept_unnamed(ends.dialler, ends.dialled, Role::Greeting, now);
        self.greet_stranger(id, ends, now);
        id
    }

    /// The same for one that was held back until now.
    pub(in super::super) fn greet_stranger(&mut self, id: ConId, ends: Ends, now: Instant) {
        self.greet_entered(id, Errand::Accepted, ends, now);
    }

    /// The same for a connection that was punched, whose candidate begins.
    pub(in super::super) fn greet_candidate(&mut self, id: ConId, ends: Ends, now: Instant) {
        self.greet_entered(id, Errand::Met, ends, now);
    }

    fn greet_entered(&mut self, id: ConId, errand: Errand, ends: Ends, now: Instant) {
        if let Some(tag) = self.streams.tag_mut(id) {
            *tag = Role::Greeting;
        }
        self.admission.handle_opened(ends.dialler.ip());
        // How long it was held back until now counts, too.
        let opened = self.streams.facts(id).map_or(now, |facts| facts.opened);
        self.greet(id, Stage::Opening, errand, ends, opened + SILENCE);
        self.work_on_greeting(id, now);
    }

    fn greet(&mut self, id: ConId, stage: Stage, errand: Errand, ends: Ends, until: Instant) {
        let room = self.config.streams.max_unread;
        let greeting = Greeting { stage, errand, ends, until, before: VecDeque::new(), room, shown: false };
        self.links.greetings.insert(id, greeting);
    }

    /// The first bytes of a connection that the application sees: they may be a hello.
    #[cold]
    pub(in super::super) fn handle_first_received(&mut self, id: ConId, now: Instant) {
        if self.links.greetings.contains_key(&id) {
            self.work_on_greeting(id, now);
            return;
        }
        let opening =
            if self.links.key.is_some() { classify_line(self.streams.arrived(id)) } else { Opening::Plain };
        let Some(Role::Peer(role)) = self.streams.tag_mut(id) else { return };
        match opening {
            Opening::Undecided => {}
            // It stays fresh until it is known who it is.
            Opening::Hello => {
                let (errand, ends, until) =
                    (Errand::Accepted, role.ends, now + self.config.links.hello_timeout);
                self.greet(id, Stage::Opening, errand, ends, until);
                if let Some(greeting) = self.links.greetings.get_mut(&id) {
                    greeting.shown = true;
                }
                self.work_on_greeting(id, now);
            }
            Opening::Plain | Opening::Pyp2pNonce(_) => role.fresh = false,
        }
    }
}

/// Connections that we begin.
impl Node {
    /// Says hello on a connection that was dialled, or punched where that is our part.
    pub(in super::super) fn say_hello(
        &mut self,
        id: ConId,
        to: Option<NodeId>,
        errand: Errand,
        ends: Ends,
        now: Instant,
    ) {
        let Some(key) = &self.links.key else { return };
        let Errand::Call { call, upgrade, .. } = errand else { return };
        let dialling = Dialling::new(to, Some(call), upgrade, fresh_nonce(&mut self.links.random));
        let line = dialling.first_line(key);
        if let Some(tag) = self.streams.tag_mut(id) {
            *tag = Role::Greeting;
        }
        // A fresh stream takes a line.
        let _ = self.streams.queue_protocol(id, &line);
        let until = now + self.config.links.hello_timeout;
        self.greet(id, Stage::Dialled { dialling, to }, errand, ends, until);
        self.handle_greeting_received(id, now);
    }

    /// Waits for the other side's hello on a punched connection.
    pub(in super::super) fn expect_hello(&mut self, id: ConId, errand: Errand, ends: Ends, now: Instant) {
        if let Some(tag) = self.streams.tag_mut(id) {
            *tag = Role::Greeting;
        }
        let until = now + self.config.links.hello_timeout;
        self.greet(id, Stage::Expecting, errand, ends, until);
        self.handle_greeting_received(id, now);
    }
}

/// The course of a hello.
impl Node {
    pub(in super::super) fn handle_greeting_received(&mut self, id: ConId, now: Instant) {
        self.work_on_greeting(id, now);
    }

    pub(super) fn work_on_greeting(&mut self, id: ConId, now: Instant) {
        loop {
            let Some(greeting) = self.links.greetings.get(&id) else { return };
            let goes_on = match &greeting.stage {
                Stage::Opening => self.look_at_opening(id, now),
                Stage::Expecting => self.look_for_hello(id, now),
                Stage::Dialled { .. } | Stage::Answered { .. } => self.handshake(id, now),
                Stage::Waiting(_) => false,
            };
            if !goes_on {
                return;
            }
        }
    }

    fn look_at_opening(&mut self, id: ConId, now: Instant) -> bool {
        let opening = classify(self.streams.arrived(id));
        match opening {
            Opening::Undecided => return false,
            Opening::Hello if self.links.key.is_some() => return self.look_for_hello(id, now),
            Opening::Pyp2pNonce(_) => {
                self.streams.skip(id, nonce::NONCE_LENGTH);
                self.show_plain(id, now);
            }
            Opening::Hello | Opening::Plain => self.handle_plain(id, now),
        }
        false
    }

    /// Whether there is more to look at.
    fn look_for_hello(&mut self, id: ConId, now: Instant) -> bool {
        let Some(line) = self.streams.next_line(id).map(Found::to_line) else { return false };
        match Hello::parse(line.as_bytes()) {
            Some(hello) => self.handle_hello(id, hello, now),
            None => {
                self.fail_greeting(id, HandshakeFault::NotANode, now);
                false
            }
        }
    }

    fn handle_hello(&mut self, id: ConId, hello: Hello, now: Instant) -> bool {
        if let Some(why) = self.objection(id, &hello) {
            self.refuse_hello(id, why, now);
            return false;
        }
        let peer = hello.key.id();
        let id = if hello.upgrade { self.hide(id, now) } else { id };
        // Of the smaller id our own goes on until this one has proven to be the peer's: anybody can say so.
        if self.has_own_hello(id, peer, hello.upgrade) && self.links.id() > Some(peer) {
            self.set_stage(id, Stage::Waiting(Box::new(hello)), now);
            return false;
        }
        self.give_up_dials(peer, now);
        self.answer_hello(id, hello, now)
    }

    /// A connection that is to take the place of another is none of its own: what the application knows of it ends here, and
    /// the id with it. It keeps its slot.
    fn hide(&mut self, id: ConId, now: Instant) -> ConId {
        if !self.links.greetings.get(&id).is_some_and(|greeting| greeting.shown) {
            return id;
        }
        let Some(&Role::Peer(role)) = self.streams.tag(id) else { return id };
        let Some(hidden) = self.streams.name(id) else { return id };
        if let Some(tag) = self.streams.tag_mut(hidden) {
            *tag = Role::Greeting;
        }
        if let Some(mut greeting) = self.links.greetings.remove(&id) {
            greeting.shown = false;
            self.links.greetings.insert(hidden, greeting);
        }
        self.stale += 1;
        self.ends.remove(role.ends, id);
        self.links.temporary.remove(&id);
        self.network.peers.handle_inbound_closed(role.peer(), now);
        self.events.push(Event::Closed { con: id, why: CloseReason::Replaced });
        hidden
    }

    pub(super) fn answer_hello(&mut self, id: ConId, hello: Hello, now: Instant) -> bool {
        let Some(key) = &self.links.key else { return false };
        let nonce = fresh_nonce(&mut self.links.random);
        let (accepting, line) = Accepting::answer(&hello, key, nonce);
        if self.streams.queue_protocol(id, &line).is_err() {
            self.drop_greeting(id, now);
            return false;
        }
        self.streams.frame(id);
        let (accepting, hello) = (Box::new(accepting), Box::new(hello));
        self.set_stage(id, Stage::Answered { accepting, hello }, now);
        true
    }

    fn set_stage(&mut self, id: ConId, stage: Stage, now: Instant) {
        let until = now + self.config.links.hello_timeout;
        if let Some(greeting) = self.links.greetings.get_mut(&id) {
            (greeting.stage, greeting.until) = (stage, until);
        }
    }

    /// Why a hello is not answered.
    fn objection(&self, id: ConId, hello: &Hello) -> Option<Refusal> {
        let peer = hello.key.id();
        if self.is_leaving() {
            return Some(Refusal::Closing);
        }
        if Some(peer) == self.links.id() {
            return Some(Refusal::Identity);
        }
        if let Some(call) = hello.call
            && self.calls.peer_of(call).is_some_and(|expected| expected != peer)
        {
            return Some(Refusal::Identity);
        }
        let link = self.links.to(peer).and_then(|con| self.links.link(con));
        if hello.upgrade {
            let relayed = self.links.to(peer).is_some_and(|con| self.links.is_relayed(con));
            return (!relayed).then_some(Refusal::Unknown);
        }
        // What is left over of a call that has led to a link already, or was given up.
        let over =
            |call: CallId| self.calls.was_ours(call) || link.is_some_and(|link| link.calls.contains(&call));
        let left_over = hello.call.is_some_and(over);
        if left_over {
            return Some(Refusal::Unknown);
        }
        let expected =
            matches!(self.links.greetings.get(&id).map(|greeting| &greeting.stage), Some(Stage::Expecting));
        (expected && hello.call.is_none()).then_some(Refusal::Unknown)
    }

    fn refuse_hello(&mut self, id: ConId, why: Refusal, now: Instant) {
        let _ = self.streams.queue_protocol(id, &Refused { why }.print());
        self.end_greeting(id, now);
    }

    fn handshake(&mut self, id: ConId, now: Instant) -> bool {
        let Some(key) = &self.links.key else { return false };
        let Some(line) = self.streams.next_line(id).map(Found::to_line) else { return false };
        let Some(greeting) = self.links.greetings.get_mut(&id) else { return false };
        let step = match &greeting.stage {
            Stage::Dialled { dialling, .. } => dialling.handle_line(line.as_bytes(), key),
            Stage::Answered { accepting, .. } => accepting.handle_line(line.as_bytes(), key),
            _ => return false,
        };
        match step {
            Step::Application if line.as_bytes().len() + LINE_COST <= greeting.room => {
                greeting.room -= line.as_bytes().len() + LINE_COST;
                greeting.before.push_back(line.detach());
                return true;
            }
            Step::Application => self.fail_greeting(id, HandshakeFault::NotANode, now),
            Step::Failed(fault) => self.fail_greeting(id, fault, now),
            Step::Proven { peer, send } => {
                if let Some(line) = send
                    && self.streams.queue_protocol(id, &line).is_err()
                {
                    self.fail_greeting(id, HandshakeFault::NotANode, now);
                    return false;
                }
                self.streams.frame(id);
                self.handle_proven(id, peer, now);
            }
        }
        false
    }

    fn handle_proven(&mut self, id: ConId, peer: PublicKey, now: Instant) {
        let Some(greeting) = self.links.greetings.remove(&id) else { return };
        let node = peer.id();
        let existing = self.links.to(node).filter(|&con| con != id && self.is_shown(con));
        if greeting.is_upgrade() {
            self.finish_upgrade(id, &greeting, existing, now);
            return;
        }
        if let Some(con) = existing {
            // It has lost that one, or would not have begun another.
            self.close_for(con, CloseReason::Replaced, now);
            self.forget_link(con, now);
        }
        self.show_link(id, greeting, peer, now);
    }

    fn finish_upgrade(&mut self, id: ConId, greeting: &Greeting, con: Option<ConId>, now: Instant) {
        let relayed = con.filter(|&con| self.links.is_relayed(con));
        let (via, peer) = self.way(greeting);
        self.release_slot(greeting);
        match relayed {
            Some(con) => {
                // First, as the stream's id names the old way once the link has moved.
                let call = greeting.call();
                self.conclude_upgrade(con, id, call, now);
                self.move_link(con, id, via, peer, now);
            }
            None => self.close_hidden(id, now),
        }
    }

    /// How it came about, and the peer's end.
    fn way(&self, greeting: &Greeting) -> (Via, SocketAddr) {
        let accepted = greeting.ends.dialler;
        match greeting.errand {
            Errand::Call { call, rung, .. } => {
                let via = match rung {
                    Rung::Lan => Via::Lan,
                    Rung::Punch => Via::Punched,
                    Rung::Relay => Via::Relayed,
                    // Of the one who dials because he was asked to, it is a plain dial.
                    _ if self.calls.is_mapped(call) => Via::Mapped,
                    _ => Via::Direct,
                };
                (via, greeting.ends.dialled)
            }
            Errand::Met => (Via::Punched, accepted),
            Errand::Accepted => {
                let via = match greeting.call().filter(|&call| self.calls.is_ours(call)) {
                    Some(call) if self.calls.is_neighbour(call, accepted.ip()) => Via::Lan,
                    Some(_) => Via::Reverse,
                    None => Via::Accepted,
                };
                (via, accepted)
            }
        }
    }

    fn show_link(&mut self, id: ConId, greeting: Greeting, peer: PublicKey, now: Instant) {
        let (via, addr) = self.way(&greeting);
        let by = greeting.call();
        let facts = self.calls.concluded(peer.id(), by);
        let relayed = facts.relay.filter(|_| via == Via::Relayed).map(|limits| Relayed {
            limits,
            // The one who called looks for a better way; both would only be in each other's.
            upgrade_at: facts.ours.then(|| now + self.config.links.upgrade_every).filter(|_| self.upgrades()),
            pause: self.config.links.upgrade_every,
        });
        let link = Link { peer, calls: facts.calls, unl: facts.unl, draining: None, flushing: None };
        if greeting.shown {
            self.set_known(id);
            self.make_link(id, link, greeting.before);
            // It was told of when it was accepted.
            self.conclude_calls(peer.id(), id, by, None, now);
            return;
        }
        let slot = match greeting.errand {
            Errand::Accepted | Errand::Met => Slot::Inbound,
            Errand::Call { .. } => Slot::None,
        };
        let Some(con) = self.streams.name(id) else { return };
        let role = PeerRole { fresh: false, ..PeerRole::new(via, addr, greeting.ends, slot) };
        if let Some(tag) = self.streams.tag_mut(con) {
            *tag = Role::Peer(role);
        }
        if slot == Slot::Inbound {
            self.network.peers.handle_inbound_opened(addr, now);
        }
        self.make_link(con, link, greeting.before);
        self.links.relayed.extend(relayed.map(|relayed| (con, relayed)));
        self.shown.push(con);
        self.notes.push(Level::Info, || format!("{con} is node {}: {via} {addr}", peer.id()));
        self.conclude_calls(peer.id(), con, by, Some((via, addr)), now);
        self.streams.offer_unread(con);
        self.handle_link_received(con, now);
    }

    /// Nothing is to be found out any more of a connection that was shown before.
    fn set_known(&mut self, id: ConId) {
        if let Some(Role::Peer(role)) = self.streams.tag_mut(id) {
            role.fresh = false;
        }
    }

    fn upgrades(&self) -> bool {
        !self.config.links.upgrade_every.is_zero()
    }
}

/// Connections that turn out to be no links.
impl Node {
    /// It begins with something else.
    fn handle_plain(&mut self, id: ConId, now: Instant) {
        if self.config.links.nonce_required {
            self.end_greeting(id, now);
        } else {
            self.show_plain(id, now);
        }
    }

    fn show_plain(&mut self, id: ConId, now: Instant) {
        let Some(greeting) = self.links.greetings.remove(&id) else { return };
        let Some(con) = self.streams.name(id) else { return };
        let (via, addr) = self.way(&greeting);
        let role = PeerRole { fresh: false, ..PeerRole::new(via, addr, greeting.ends, Slot::Inbound) };
        if let Some(tag) = self.streams.tag_mut(con) {
            *tag = Role::Peer(role);
        }
        self.network.peers.handle_inbound_opened(addr, now);
        self.ends.insert_inbound(greeting.ends, con);
        self.show(con, role, None, Duration::ZERO);
        self.streams.offer_unread(con);
    }

    fn fail_greeting(&mut self, id: ConId, fault: HandshakeFault, now: Instant) {
        let Some(greeting) = self.links.greetings.get(&id) else { return };
        let (errand, to) = (greeting.errand, greeting.ends.dialled);
        let superseded = self.is_superseded(greeting);
        self.notes.push(Level::Debug, || format!("{to} is no link: {fault:?}"));
        self.end_greeting(id, now);
        if let Errand::Call { call, rung, .. } = errand
            && !superseded
        {
            let why = match fault {
                HandshakeFault::Refused(why) => RungFault::Refused(refusal(why)),
                HandshakeFault::NotANode => RungFault::Silent(to),
                HandshakeFault::WrongNode | HandshakeFault::BadProof | HandshakeFault::Oneself => {
                    RungFault::WrongNode(to)
                }
            };
            self.handle_greeting_failed(call, rung, why, now);
        }
    }

    /// Closes it in order, so that what was said last arrives.
    fn end_greeting(&mut self, id: ConId, now: Instant) {
        let Some(greeting) = self.links.greetings.remove(&id) else { return };
        if greeting.shown {
            self.set_known(id);
            self.close_for(id, CloseReason::Protocol, now);
        } else {
            self.release_slot(&greeting);
            self.close_hidden(id, now);
        }
        self.answer_waiting(now);
    }

    /// Ends a connection that the application never saw.
    fn close_hidden(&mut self, id: ConId, now: Instant) {
        self.streams.close(id, now);
    }

    fn release_slot(&mut self, greeting: &Greeting) {
        if matches!(greeting.errand, Errand::Accepted | Errand::Met) && !greeting.shown {
            self.admission.handle_closed(greeting.ends.dialler.ip());
        }
    }

    /// It ended before it was known who it is.
    pub(in super::super) fn handle_greeting_gone(&mut self, id: ConId, why: CloseReason, now: Instant) {
        let Some(greeting) = self.links.greetings.remove(&id) else { return };
        self.release_slot(&greeting);
        if let Errand::Call { call, rung, .. } = greeting.errand
            && !self.is_superseded(&greeting)
        {
            let to = greeting.ends.dialled;
            self.notes.push(Level::Debug, || format!("{to} ended before it was a link: {why}"));
            self.handle_greeting_failed(call, rung, RungFault::Silent(to), now);
        }
        self.answer_waiting(now);
    }

    /// Forgets it without a word.
    pub(in super::super) fn drop_greeting(&mut self, id: ConId, now: Instant) {
        let Some(greeting) = self.links.greetings.remove(&id) else { return };
        if !greeting.shown {
            self.release_slot(&greeting);
            self.streams.abandon(id);
        }
        self.answer_waiting(now);
    }

    pub(super) fn advance_greetings(&mut self, now: Instant) {
        let due = |greeting: &Greeting| greeting.until <= now;
        let over: Vec<ConId> =
            self.links.greetings.iter().filter(|(_, greeting)| due(greeting)).map(|(&id, _)| id).collect();
        for id in over {
            match self.links.greetings.get(&id).map(|greeting| &greeting.stage) {
                Some(Stage::Opening) => self.handle_plain(id, now),
                Some(Stage::Dialled { .. } | Stage::Expecting) => {
                    self.fail_greeting(id, HandshakeFault::NotANode, now);
                }
                Some(Stage::Answered { .. } | Stage::Waiting(_)) => self.end_greeting(id, now),
                None => {}
            }
        }
    }
}

/// The first line of a connection that is shown already: only a hello makes a difference, and only as a whole line.
fn classify_line(arrived: &[u8]) -> Opening {
    match classify(arrived) {
        Opening::Pyp2pNonce(_) => Opening::Plain,
        // What can not become a hello any more was not one.
        Opening::Undecided if arrived.first() != Some(&b'~') || arrived.len() > MAX_HELLO => Opening::Plain,
        opening => opening,
    }
}

fn refusal(why: Refusal) -> crate::connect::Refusal {
    match why {
        Refusal::Busy => crate::connect::Refusal::Busy,
        Refusal::Full => crate::connect::Refusal::Full,
        Refusal::Closing => crate::connect::Refusal::Closing,
        Refusal::Unknown | Refusal::Identity => crate::connect::Refusal::Unknown,
        Refusal::Other => crate::connect::Refusal::Unwilling,
    }
}
