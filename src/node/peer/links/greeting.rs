//! Connections whose other side has not proven who it is.
//!
//! **Two nodes that connect to each other at the same time keep one connection.** Where both have said hello, on one
//! connection each, it is the dial of the one with the larger id that counts: it keeps the other's hello waiting until its
//! own is answered, and the one with the smaller id gives up its own once the other has proven who it is. Should its own be
//! answered meanwhile, that waits a moment for the other's proof, and a hello that comes just after a link was made waits until
//! the peer must know of the link: what is said on two connections does not arrive in order. A dial that is not even
//! connected yet is given up by the one who was called when a hello of the same call comes.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::{Ends, Node, Role};
use crate::connect::Rung;
use crate::error::CloseReason;
use crate::event::Event;
use crate::id::{CallId, ConId, LinkNonce, StreamId};
use crate::identity::{NodeId, PublicKey};
use crate::proto::handshake::{Accepting, Dialling, HandshakeFault, Opening, Step, classify};
use crate::time::Instant;
use crate::wire::hello::{Hello, HelloRefusal, MAX_HELLO, Refused};
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
    pub(super) ends: Ends,
    pub(in super::super) until: Instant,
    /// The application's lines that came before the answer, and room for more.
    pub(super) before: VecDeque<Line>,
    room: usize,
    /// The connection that the application sees already.
    pub(super) shown: Option<ConId>,
}

#[derive(Debug)]
pub(in super::super) enum Stage {
    /// What comes first tells who it is.
    Opening,
    /// A punched connection on which the other side, whose id is larger, says hello.
    Expecting,
    /// We said hello.
    Dialled { dialling: Dialling, to: Option<NodeId>, said_at: Instant, hold: Hold },
    /// We answered a hello.
    Answered { accepting: Box<Accepting>, hello: Box<Hello> },
    /// A hello that is answered when ours, elsewhere, has led to nothing, or to a link that the peer must have heard of.
    Waiting { hello: Box<Hello>, since: Instant },
}

/// Whether the answer to our hello is left alone for now, which happens once at most.
#[derive(Debug)]
pub(in super::super) enum Hold {
    NotYet,
    /// Until the greeting's time is up.
    Holds(Line),
    Over,
}

/// What is to be done with a hello.
enum Welcome {
    Refuse(HelloRefusal),
    Wait(Instant),
    Answer,
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
            (_, Stage::Answered { hello, .. } | Stage::Waiting { hello, .. }) => hello.call,
            _ => None,
        }
    }

    /// The call, and the rung of it, for which it was dialled or punched.
    pub(super) fn dialled_for(&self) -> Option<(CallId, Rung)> {
        match self.errand {
            Errand::Call { call, rung, .. } => Some((call, rung)),
            Errand::Accepted | Errand::Met => None,
        }
    }

    pub(super) fn is_upgrade(&self) -> bool {
        match (&self.errand, &self.stage) {
            (Errand::Call { upgrade, .. }, _) => *upgrade,
            (_, Stage::Answered { hello, .. } | Stage::Waiting { hello, .. }) => hello.upgrade,
            _ => false,
        }
    }
}

/// Accepted connections.
impl Node {
    /// Whether accepted connections are shown only when it is known who they are.
    pub(in super::super) fn greets_all(&self) -> bool {
        self.core.config.links.direct
    }

    /// Takes in a connection that is not shown yet, but takes its slot.
    pub(in super::super) fn greet_accepted(&mut self, ends: Ends, now: Instant) -> StreamId {
        let id = self.core.streams.accept(ends.dialler, ends.dialled, Role::Greeting, now);
        self.greet_stranger(id, ends, now);
        id
    }

    /// The same for one that was held back until now.
    pub(in super::super) fn greet_stranger(&mut self, id: StreamId, ends: Ends, now: Instant) {
        self.greet_entered(id, Errand::Accepted, ends, now);
    }

    /// The same for a connection that was punched, whose candidate begins.
    pub(in super::super) fn greet_candidate(&mut self, id: StreamId, ends: Ends, now: Instant) {
        self.greet_entered(id, Errand::Met, ends, now);
    }

    fn greet_entered(&mut self, id: StreamId, errand: Errand, ends: Ends, now: Instant) {
        if let Some(tag) = self.core.streams.tag_mut(id) {
            *tag = Role::Greeting;
        }
        self.admission.handle_opened(ends.dialler.ip());
        // How long it was held back until now counts, too.
        let opened = self.core.streams.facts(id).map_or(now, |facts| facts.opened);
        self.greet(id, Stage::Opening, errand, ends, opened + SILENCE);
        self.work_on_greeting(id, now);
    }

    fn greet(&mut self, id: StreamId, stage: Stage, errand: Errand, ends: Ends, until: Instant) {
        let room = self.core.config.streams.max_unread;
        let greeting = Greeting { stage, errand, ends, until, before: VecDeque::new(), room, shown: None };
        self.links.greetings.insert(id, greeting);
    }

    /// Something came on a connection that the application sees.
    pub(in super::super) fn handle_peer_received(&mut self, con: ConId, now: Instant) {
        if self.connections.get(con).is_some_and(|connection| connection.fresh) {
            self.handle_first_received(con, now);
        } else {
            self.handle_link_received(con, now);
        }
    }

    /// The first bytes of a connection that the application sees: they may be a hello.
    #[cold]
    pub(in super::super) fn handle_first_received(&mut self, con: ConId, now: Instant) {
        let Some(connection) = self.connections.get_mut(con) else { return };
        let id = connection.writing;
        if self.links.greetings.contains_key(&id) {
            self.work_on_greeting(id, now);
            return;
        }
        let opening = if self.core.identity.key.is_some() {
            classify_line(self.core.streams.arrived(id))
        } else {
            Opening::Plain
        };
        match opening {
            Opening::Undecided => {}
            // It stays fresh until it is known who it is.
            Opening::Hello => {
                let (errand, ends, until) =
                    (Errand::Accepted, connection.ends, now + self.core.config.links.hello_timeout);
                self.greet(id, Stage::Opening, errand, ends, until);
                if let Some(greeting) = self.links.greetings.get_mut(&id) {
                    greeting.shown = Some(con);
                }
                self.work_on_greeting(id, now);
            }
            Opening::Plain | Opening::Pyp2pNonce(_) => connection.fresh = false,
        }
    }
}

/// Connections that we begin.
impl Node {
    /// Says hello on a connection that was dialled, or punched where that is our part.
    pub(in super::super) fn say_hello(
        &mut self,
        id: StreamId,
        to: Option<NodeId>,
        errand: Errand,
        ends: Ends,
        now: Instant,
    ) {
        let Some(key) = &self.core.identity.key else { return };
        let Errand::Call { call, upgrade, .. } = errand else { return };
        let dialling = Dialling::new(
            to,
            Some(call),
            upgrade,
            LinkNonce::fresh(&mut self.core.identity.random),
            self.core.config.streams.credit(),
        );
        let line = dialling.first_line(key);
        if let Some(tag) = self.core.streams.tag_mut(id) {
            *tag = Role::Greeting;
        }
        // A fresh stream takes a line.
        let _ = self.core.streams.queue_protocol(id, &line);
        let until = now + self.core.config.links.hello_timeout;
        self.greet(
            id,
            Stage::Dialled { dialling, to, said_at: now, hold: Hold::NotYet },
            errand,
            ends,
            until,
        );
        self.handle_greeting_received(id, now);
    }

    /// Waits for the other side's hello on a punched connection.
    pub(in super::super) fn expect_hello(&mut self, id: StreamId, errand: Errand, ends: Ends, now: Instant) {
        if let Some(tag) = self.core.streams.tag_mut(id) {
            *tag = Role::Greeting;
        }
        let until = now + self.core.config.links.hello_timeout;
        self.greet(id, Stage::Expecting, errand, ends, until);
        self.handle_greeting_received(id, now);
    }
}

/// The course of a hello.
impl Node {
    pub(in super::super) fn handle_greeting_received(&mut self, id: StreamId, now: Instant) {
        self.work_on_greeting(id, now);
    }

    pub(super) fn work_on_greeting(&mut self, id: StreamId, now: Instant) {
        loop {
            let Some(greeting) = self.links.greetings.get(&id) else { return };
            let goes_on = match &greeting.stage {
                Stage::Opening => self.look_at_opening(id, now),
                Stage::Expecting => self.look_for_hello(id, now),
                Stage::Dialled { .. } | Stage::Answered { .. } => self.handshake(id, now),
                Stage::Waiting { .. } => false,
            };
            if !goes_on {
                return;
            }
        }
    }

    fn look_at_opening(&mut self, id: StreamId, now: Instant) -> bool {
        let opening = classify(self.core.streams.arrived(id));
        match opening {
            Opening::Undecided => return false,
            Opening::Hello if self.core.identity.key.is_some() => return self.look_for_hello(id, now),
            Opening::Pyp2pNonce(_) => {
                self.core.streams.skip(id, nonce::NONCE_LENGTH);
                self.show_plain(id, now);
            }
            Opening::Hello | Opening::Plain => self.handle_plain(id, now),
        }
        false
    }

    /// Whether there is more to look at.
    fn look_for_hello(&mut self, id: StreamId, now: Instant) -> bool {
        let Some(line) = self.core.streams.next_line(id).map(Found::to_line) else { return false };
        match Hello::parse(line.as_bytes()) {
            Some(hello) => self.handle_hello(id, hello, now, now),
            None => {
                self.fail_greeting(id, HandshakeFault::NotANode, now);
                false
            }
        }
    }

    /// What comes of a hello that has waited since then; whether there is more to look at.
    pub(super) fn handle_hello(&mut self, id: StreamId, hello: Hello, since: Instant, now: Instant) -> bool {
        let welcome = match self.welcome(id, &hello, now) {
            Welcome::Refuse(why) => {
                self.refuse_hello(id, why, now);
                return false;
            }
            welcome => welcome,
        };
        if hello.upgrade {
            self.hide(id, now);
        }
        match welcome {
            Welcome::Wait(until) => {
                let until = until.min(since + self.core.config.links.hello_timeout);
                if until <= now {
                    self.fail_greeting(id, HandshakeFault::NotANode, now);
                    return false;
                }
                self.set_stage(id, Stage::Waiting { hello: Box::new(hello), since }, until);
                true
            }
            Welcome::Refuse(_) | Welcome::Answer => {
                if let Some(call) = hello.call {
                    self.handle_hello_of_call(call, hello.key.id(), now);
                }
                self.answer_hello(id, hello, now)
            }
        }
    }

    fn welcome(&self, id: StreamId, hello: &Hello, now: Instant) -> Welcome {
        let peer = hello.key.id();
        if let Some(why) = self.objection(id, hello) {
            return Welcome::Refuse(why);
        }
        if let Some(until) = self.doubtful_until(peer, now).filter(|_| !hello.upgrade) {
            return Welcome::Wait(until);
        }
        // Of the smaller id our own goes on until this one has proven to be the peer's: anybody can say so.
        if self.core.identity.id() > Some(peer) && self.has_own_hello(id, peer, hello.upgrade) {
            return Welcome::Wait(now + self.core.config.links.hello_timeout);
        }
        Welcome::Answer
    }

    /// A stream that is to take the place of another is no connection of its own: what the application knows of it ends here.
    /// It keeps its slot.
    fn hide(&mut self, id: StreamId, now: Instant) {
        let Some(con) = self.links.greetings.get_mut(&id).and_then(|greeting| greeting.shown.take()) else {
            return;
        };
        if let Some(tag) = self.core.streams.tag_mut(id) {
            *tag = Role::Greeting;
        }
        self.links.temporary.remove(&con);
        if let Some(connection) = self.connections.remove(con) {
            self.ends.remove(connection.ends, con);
            self.network.peers.handle_inbound_closed(connection.peer, now);
        }
        self.events.push(Event::Closed { con, why: CloseReason::Replaced });
    }

    fn answer_hello(&mut self, id: StreamId, hello: Hello, now: Instant) -> bool {
        let Some(key) = &self.core.identity.key else { return false };
        let nonce = LinkNonce::fresh(&mut self.core.identity.random);
        let takes = self.core.config.streams.credit();
        let (accepting, line) = Accepting::answer(&hello, key, nonce, takes);
        if self.core.streams.queue_protocol(id, &line).is_err() {
            self.give_up_greeting(id, now);
            return false;
        }
        self.core.streams.frame_sending(id, takes, hello.credit);
        let (accepting, hello) = (Box::new(accepting), Box::new(hello));
        self.set_stage(id, Stage::Answered { accepting, hello }, now + self.core.config.links.hello_timeout);
        true
    }

    fn set_stage(&mut self, id: StreamId, stage: Stage, until: Instant) {
        if let Some(greeting) = self.links.greetings.get_mut(&id) {
            (greeting.stage, greeting.until) = (stage, until);
        }
    }

    /// Why a hello is not answered.
    fn objection(&self, id: StreamId, hello: &Hello) -> Option<HelloRefusal> {
        let peer = hello.key.id();
        if self.core.is_leaving() {
            return Some(HelloRefusal::Closing);
        }
        if Some(peer) == self.core.identity.id() {
            return Some(HelloRefusal::Identity);
        }
        if let Some(call) = hello.call
            && self.connector.peer_of(call).is_some_and(|expected| expected != peer)
        {
            return Some(HelloRefusal::Identity);
        }
        let link = self.links.to(peer).and_then(|con| self.links.link(con));
        if hello.upgrade {
            let relayed = self.links.to(peer).is_some_and(|con| self.links.is_relayed(con));
            return (!relayed).then_some(HelloRefusal::Unknown);
        }
        // What is left over of a call that has led to a link already, or was given up.
        let over = |call: CallId| {
            self.connector.was_ours(call) || link.is_some_and(|link| link.calls.contains(&call))
        };
        let left_over = hello.call.is_some_and(over);
        if left_over {
            return Some(HelloRefusal::Unknown);
        }
        // On a connection that was punched, or relayed, for a call nobody else is expected.
        let expected = self.links.greetings.get(&id).and_then(Greeting::dialled_for);
        expected.is_some_and(|(call, _)| hello.call != Some(call)).then_some(HelloRefusal::Unknown)
    }

    fn refuse_hello(&mut self, id: StreamId, why: HelloRefusal, now: Instant) {
        let _ = self.core.streams.queue_protocol(id, &Refused { why }.print());
        self.fail_greeting(id, HandshakeFault::Unwelcome, now);
    }

    fn handshake(&mut self, id: StreamId, now: Instant) -> bool {
        let stage = self.links.greetings.get(&id).map(|greeting| &greeting.stage);
        if let Some(Stage::Dialled { hold: Hold::Holds(_), .. }) = stage {
            return false;
        }
        let Some(line) = self.core.streams.next_line(id).map(Found::to_line) else { return false };
        self.handle_handshake_line(id, line, now)
    }

    /// Whether there is more to look at.
    pub(super) fn handle_handshake_line(&mut self, id: StreamId, line: Line, now: Instant) -> bool {
        let Some(key) = &self.core.identity.key else { return false };
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
            Step::Proven { .. } if self.is_rival_answered(id) => self.hold_back(id, line, now),
            Step::Proven { peer, .. } if self.is_one_too_many(id, peer.id(), now) => self.drop_greeting(id),
            Step::Proven { peer, credit, send } => self.prove(id, peer, credit, send, now),
        }
        false
    }

    /// The other side has proven who it is: says the last line of the greeting, if that is ours to say.
    fn prove(&mut self, id: StreamId, peer: PublicKey, credit: u64, send: Option<Vec<u8>>, now: Instant) {
        if let Some(line) = send {
            if self.core.streams.queue_protocol(id, &line).is_err() {
                return self.fail_greeting(id, HandshakeFault::NotANode, now);
            }
            self.core.streams.frame_sending(id, self.core.config.streams.credit(), credit);
        }
        self.core.streams.frame_receiving(id);
        self.handle_proven(id, peer, now);
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
