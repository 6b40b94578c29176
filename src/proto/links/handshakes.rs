//! Streams whose other side has not proven who it is: what is said on them, until it is known.
//!
//! Whoever drives it gives it what it [wants](Handshakes::wants) of each stream, does what [actions](Action) say, and takes the
//! [events](Event).

use std::collections::VecDeque;
use std::time::Duration;

use super::glare::{Table, Welcome, certain_at, proof_time};
use super::pending::{Deferred, Finished, Hold, Origin, Pending, Stage};
use super::{Ends, Surroundings};
use crate::connect::{Refusal, RungFault};
use crate::id::{CallId, ConId, LinkNonce, StreamId};
use crate::identity::{NodeId, PublicKey};
use crate::proto::handshake::{Accepting, Dialling, HandshakeFault, Opening, Step};
use crate::time::{Instant, soonest};
use crate::wire::hello::{Hello, HelloRefusal, Refused};
use crate::wire::line::Line;
use crate::wire::nonce;

/// A plain peer may say nothing: after this an accepted stream is taken for one.
const SILENCE: Duration = Duration::from_secs(2);

/// How long the failure of an own dial is not told of while a hello of the same node is being heard. A proof comes sooner,
/// and whoever can not prove who it is does not hold up the next rung for long.
const RIVAL_TIME: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub(crate) struct HandshakesConfig {
    /// How long the other side may take for each of its lines.
    pub(crate) timeout: Duration,
    /// How many bytes of the application's lines this side takes on a link.
    pub(crate) credit: u64,
    /// How many bytes of them are kept that come before the answer to a hello.
    pub(crate) max_before: usize,
    /// What begins with neither a hello nor a nonce is closed.
    pub(crate) nonce_required: bool,
}

/// To a hello of no call only one node says that it is the wrong one: the one with the same key.
const IS_ONESELF: HandshakeFault = HandshakeFault::Refused(HelloRefusal::Identity);

/// What is to be done with a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A line, with its end. Where it can not be queued, [`Handshakes::handle_unsent`] is told.
    Send { stream: StreamId, line: Vec<u8> },
    /// What is sent from here on is a link's.
    FrameSending { stream: StreamId, takes: u64, may_send: u64 },
    /// So is what arrives.
    FrameReceiving { stream: StreamId, is_relayed: bool },
    /// The first bytes of what has arrived are nobody's to read.
    Skip { stream: StreamId, len: usize },
    /// In order, so that what was said last arrives.
    Close { stream: StreamId },
    /// Without a word.
    Abandon { stream: StreamId },
    /// The stream is of no connection of the application's any more.
    Hide { stream: StreamId },
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It leads to this node.
    Proven { stream: StreamId, peer: PublicKey, handshake: Finished },
    /// It is no link: somebody who knows no hello, or says none.
    Plain { stream: StreamId, handshake: Finished },
    /// Somebody else's stream was not shown, and takes no slot any more.
    SlotFreed(Ends),
    /// A stream of a call, or to an address, came to nothing.
    Failed { stream: StreamId, why: RungFault },
    /// A stream to an address leads to this node itself.
    Oneself { stream: StreamId },
    /// A stream to an address was to lead, or leads, to this node, to which there is a link: it has given way.
    GaveWay { stream: StreamId, peer: NodeId },
    /// A hello of this call says to be this node's, which is not proven.
    Hello { call: CallId, node: NodeId },
    /// Nothing more is to be found out of a shown connection; `ends`: it is to be closed.
    Known { con: ConId, ends: bool },
    /// A shown connection is none of its own any more.
    Hidden { con: ConId },
    /// One has come to nothing, for which others, and calls, may have waited.
    Ended,
    /// For the log: what came of a stream to this end.
    Note { ends: Ends, text: String },
}

/// What is wanted of a stream next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    Nothing,
    /// What has arrived, whole lines or not: for [`Handshakes::handle_opening`].
    Opening,
    /// The next whole line.
    Line,
}

#[derive(Debug)]
pub(crate) struct Handshakes {
    config: HandshakesConfig,
    table: Table,
    /// Failed dials of calls that are not told of yet.
    deferred: Vec<Deferred>,
    /// One has ended for which others may have waited.
    has_ended: bool,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

/// What is known of them.
impl Handshakes {
    pub(crate) fn new(config: HandshakesConfig) -> Self {
        Self {
            config,
            table: Table::new(),
            deferred: Vec::new(),
            has_ended: false,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    pub(crate) fn has(&self, stream: StreamId) -> bool {
        self.table.get(stream).is_some()
    }

    /// Whether it is being found out of a stream whether it leads to this node.
    pub(crate) fn is_about(&self, node: NodeId) -> bool {
        self.table.is_about(node)
    }

    /// Whether the application waits for what comes of an address where this node is to be, or was found: once there is a link,
    /// it is told of it by [`Event::GaveWay`].
    pub(crate) fn is_asked_about(&self, node: NodeId) -> bool {
        self.table.is_asked_about(node)
            || self.deferred.iter().any(|deferred| deferred.asked && deferred.node == node)
    }

    /// Those for this call.
    pub(crate) fn of_call(&self, call: CallId) -> Vec<StreamId> {
        self.table.streams_where(|pending| pending.call() == Some(call))
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn wants(&self, stream: StreamId) -> Wants {
        match self.table.get(stream).map(|pending| &pending.stage) {
            Some(Stage::Opening) => Wants::Opening,
            Some(Stage::Dialled { hold: Hold::Holds(_), .. } | Stage::Waiting { .. }) | None => {
                Wants::Nothing
            }
            Some(Stage::Expecting | Stage::Dialled { .. } | Stage::Answered { .. }) => Wants::Line,
        }
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let at_once = self.has_ended.then_some(Instant::ZERO);
        let deferred = self.deferred.iter().map(|deferred| Some(deferred.until));
        deferred.chain([self.table.next_due(), at_once]).fold(None, soonest)
    }
}

/// How they begin.
impl Handshakes {
    /// Somebody else's stream, which is not shown before it is known who it is. `opened`: when it was, as it may have been held
    /// back since.
    pub(crate) fn accept(&mut self, stream: StreamId, origin: Origin, ends: Ends, opened: Instant) {
        let pending = Pending::new(Stage::Opening, origin, ends, self.config.max_before);
        self.table.insert(stream, pending, opened + SILENCE);
    }

    /// A shown connection begins with a hello, which is there as a whole line.
    pub(crate) fn accept_shown(&mut self, stream: StreamId, con: ConId, ends: Ends, now: Instant) {
        let mut pending = Pending::new(Stage::Expecting, Origin::Accepted, ends, self.config.max_before);
        pending.shown = Some(con);
        self.table.insert(stream, pending, now + self.config.timeout);
    }

    /// Says hello on a stream that was dialled, or punched where that is our part. `to`: who is to be there; `None` takes whoever
    /// is.
    pub(crate) fn say_hello(
        &mut self,
        stream: StreamId,
        to: Option<NodeId>,
        origin: Origin,
        ends: Ends,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        let Some(key) = around.key else { return };
        let (call, upgrade) = match origin {
            Origin::Call { call, upgrade, .. } => (Some(call), upgrade),
            Origin::Accepted | Origin::Met | Origin::Asked => (None, false),
        };
        let nonce = LinkNonce::fresh(around.random);
        let dialling = Dialling::new(to, call, upgrade, nonce, self.config.credit);
        self.actions.push_back(Action::Send { stream, line: dialling.first_line(key) });
        let stage = Stage::Dialled { dialling, to, said_at: now, hold: Hold::NotYet };
        let pending = Pending::new(stage, origin, ends, self.config.max_before);
        self.table.insert(stream, pending, now + self.config.timeout);
    }

    /// Waits for the other side's hello on a punched or relayed stream.
    pub(crate) fn expect_hello(&mut self, stream: StreamId, origin: Origin, ends: Ends, now: Instant) {
        let pending = Pending::new(Stage::Expecting, origin, ends, self.config.max_before);
        self.table.insert(stream, pending, now + self.config.timeout);
    }
}

/// What is said.
impl Handshakes {
    /// What the first bytes are.
    pub(crate) fn handle_opening(&mut self, stream: StreamId, opening: Opening, has_key: bool, now: Instant) {
        match opening {
            Opening::Undecided => {}
            Opening::Hello if has_key => {
                let until = self.table.get(stream).and_then(|pending| pending.due);
                self.table.set_stage(stream, Stage::Expecting, until.unwrap_or(now));
            }
            Opening::Pyp2pNonce(_) => {
                self.actions.push_back(Action::Skip { stream, len: nonce::NONCE_LENGTH });
                self.show_plain(stream, now);
            }
            Opening::Hello | Opening::Plain => self.handle_plain(stream, now),
        }
    }

    pub(crate) fn handle_line(
        &mut self,
        stream: StreamId,
        line: Line,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        match self.table.get(stream).map(|pending| &pending.stage) {
            Some(Stage::Expecting) => match Hello::parse(line.as_bytes()) {
                Some(hello) => self.handle_hello(stream, hello, now, around, now),
                None => self.fail(stream, HandshakeFault::NotANode, now),
            },
            Some(Stage::Dialled { .. } | Stage::Answered { .. }) => {
                self.handle_handshake_line(stream, line, around, now);
            }
            Some(Stage::Opening | Stage::Waiting { .. }) | None => {}
        }
    }

    /// What comes of a hello that has waited since then.
    fn handle_hello(
        &mut self,
        stream: StreamId,
        hello: Hello,
        since: Instant,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        let welcome = self.table.welcome(stream, &hello, self.config.timeout, around, now);
        if let Welcome::Refuse(why) = welcome {
            self.actions.push_back(Action::Send { stream, line: Refused { why }.print() });
            return self.fail(stream, HandshakeFault::Unwelcome, now);
        }
        if hello.upgrade {
            self.hide(stream);
        }
        if let Welcome::Wait(until) = welcome {
            let until = until.min(since + self.config.timeout);
            if until <= now {
                return self.fail(stream, HandshakeFault::NotANode, now);
            }
            self.table.set_stage(stream, Stage::Waiting { hello: Box::new(hello), since }, until);
            return;
        }
        if let Some(call) = hello.call {
            self.events.push_back(Event::Hello { call, node: hello.key.id() });
        }
        self.answer(stream, hello, around, now);
    }

    fn answer(&mut self, stream: StreamId, hello: Hello, around: &mut Surroundings<'_>, now: Instant) {
        let Some(key) = around.key else { return };
        let (nonce, takes) = (LinkNonce::fresh(around.random), self.config.credit);
        let (accepting, line) = Accepting::answer(&hello, key, nonce, takes);
        self.actions.push_back(Action::Send { stream, line });
        self.actions.push_back(Action::FrameSending { stream, takes, may_send: hello.credit });
        let (accepting, hello) = (Box::new(accepting), Box::new(hello));
        self.table.set_stage(stream, Stage::Answered { accepting, hello }, now + self.config.timeout);
    }

    fn handle_handshake_line(
        &mut self,
        stream: StreamId,
        line: Line,
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        let Some(key) = around.key else { return };
        let Some(pending) = self.table.get(stream) else { return };
        let step = match &pending.stage {
            Stage::Dialled { dialling, .. } => dialling.handle_line(line.as_bytes(), key),
            Stage::Answered { accepting, .. } => accepting.handle_line(line.as_bytes(), key),
            _ => return,
        };
        let is_asked = pending.origin == Origin::Asked;
        if let Step::Proven { peer, .. } = &step
            && is_asked
        {
            self.table.set_found(stream, peer.id());
            if around.links.open_link_to(peer.id()).is_some() {
                return self.give_way(stream, peer.id());
            }
        }
        match step {
            Step::Application if self.table.keep(stream, line.as_bytes()) => {}
            Step::Application => self.fail(stream, HandshakeFault::NotANode, now),
            Step::Failed(fault) => self.fail(stream, fault, now),
            Step::Proven { .. } if self.table.has_to_wait(stream, around.own_id()) => {
                self.hold_back(stream, line, now);
            }
            Step::Proven { peer, .. } if self.table.is_one_too_many(stream, peer.id(), around, now) => {
                self.drop(stream);
            }
            Step::Proven { peer, credit, send } => self.prove(stream, peer, credit, send, now),
        }
    }

    /// The other side has proven who it is: says the last line of the handshake, if that is ours to say.
    fn prove(&mut self, stream: StreamId, peer: PublicKey, credit: u64, send: Option<Vec<u8>>, now: Instant) {
        let Some(pending) = self.remove(stream) else { return };
        if let Some(line) = send {
            self.actions.push_back(Action::Send { stream, line });
            let takes = self.config.credit;
            self.actions.push_back(Action::FrameSending { stream, takes, may_send: credit });
        }
        self.actions.push_back(Action::FrameReceiving { stream, is_relayed: pending.is_relayed() });
        let certain_at = certain_at(&pending, self.config.timeout, now);
        self.events.push_back(Event::Proven { stream, peer, handshake: pending.finish(certain_at) });
    }

    /// Leaves the answer to our hello alone for now. Of the smaller id both hellos may be answered, where the larger one had
    /// shown its own connection before our hello came: then the proof of that is as good as here. Where none comes, the
    /// other hello was somebody else's.
    fn hold_back(&mut self, stream: StreamId, answer: Line, now: Instant) {
        let Some(pending) = self.table.get_mut(stream) else { return };
        let trip = pending.trip(now).unwrap_or_default();
        if let Stage::Dialled { hold, .. } = &mut pending.stage {
            *hold = Hold::Holds(answer.detach());
        }
        self.table.set_due(stream, now + proof_time(trip, self.config.timeout));
    }

    /// Takes up an answer that was left alone.
    fn take_up_held(&mut self, stream: StreamId, around: &mut Surroundings<'_>, now: Instant) {
        let Some(pending) = self.table.get_mut(stream) else { return };
        let Stage::Dialled { hold, .. } = &mut pending.stage else { return };
        if let Hold::Holds(answer) = std::mem::replace(hold, Hold::Over) {
            self.handle_handshake_line(stream, answer, around, now);
        }
    }
}

/// How they end.
impl Handshakes {
    /// A line could not be queued: the stream is over, or as good as that.
    pub(crate) fn handle_unsent(&mut self, stream: StreamId, now: Instant) {
        if self.table.get(stream).is_some_and(|pending| pending.origin == Origin::Asked) {
            self.fail(stream, HandshakeFault::NotANode, now);
        } else {
            self.give_up(stream, now);
        }
    }

    /// The stream ended before it was known who it is.
    pub(crate) fn handle_gone(&mut self, stream: StreamId, why: &str, now: Instant) {
        let Some(pending) = self.remove(stream) else { return };
        self.free_slot(&pending);
        let to = pending.ends.dialled;
        self.note(pending.ends, || format!("ended before it was a link: {why}"));
        self.tell_in_vain(stream, &pending, RungFault::Silent(to), now);
    }

    /// A stream to an address turns out to be one too many.
    fn give_way(&mut self, stream: StreamId, peer: NodeId) {
        self.drop(stream);
        self.events.push_back(Event::GaveWay { stream, peer });
    }

    /// It is wanted no more. One that the application sees is closed in order.
    pub(crate) fn give_up(&mut self, stream: StreamId, now: Instant) {
        if self.table.get(stream).is_some_and(|pending| pending.shown.is_some()) {
            self.end(stream, now);
        } else {
            self.drop(stream);
        }
    }

    /// Forgets it without a word. A shown connection stays.
    pub(crate) fn drop(&mut self, stream: StreamId) {
        let Some(pending) = self.remove(stream) else { return };
        self.free_slot(&pending);
        if pending.shown.is_none() {
            self.actions.push_back(Action::Abandon { stream });
        }
    }

    /// Whatever else leads to a peer, or is said to, now that there is a link to it; but for calls that go on.
    pub(crate) fn end_others(
        &mut self,
        peer: NodeId,
        [calls, others]: [&[CallId]; 2],
        around: &mut Surroundings<'_>,
        now: Instant,
    ) {
        let of_peer = |pending: &Pending| match pending.stage {
            Stage::Expecting | Stage::Opening => pending.call().is_some_and(|call| calls.contains(&call)),
            _ => pending.node() == Some(peer),
        };
        let goes_on = |pending: &Pending| pending.call().is_some_and(|call| others.contains(&call));
        let is_over = |pending: &Pending| of_peer(pending) && !goes_on(pending) && pending.shown.is_none();
        for stream in self.table.streams_where(is_over) {
            match self.table.get(stream) {
                Some(pending) if pending.is_asked_about(peer) => self.give_way(stream, peer),
                Some(pending) if pending.has_hello_to_whoever() => self.answer_last(stream, around, now),
                _ => self.drop(stream),
            }
        }
        let (over, kept) = std::mem::take(&mut self.deferred)
            .into_iter()
            .partition(|deferred| deferred.asked && deferred.node == peer);
        self.deferred = kept;
        let gave_way = |Deferred { stream, .. }| Event::GaveWay { stream, peer };
        self.events.extend(Vec::into_iter(over).map(gave_way));
    }

    /// Who has said hello to an address hears who is here, and so that it leads to the link that there is; and nothing else.
    fn answer_last(&mut self, stream: StreamId, around: &mut Surroundings<'_>, now: Instant) {
        let waiting = self.table.get(stream).and_then(|pending| match &pending.stage {
            Stage::Waiting { hello, .. } => Some((**hello).clone()),
            _ => None,
        });
        if let Some(hello) = waiting {
            self.answer(stream, hello, around, now);
        }
        self.end(stream, now);
    }

    pub(crate) fn handle_timeout(&mut self, around: &mut Surroundings<'_>, now: Instant) {
        while let Some(stream) = self.table.pop_due(now) {
            match self.table.get(stream).map(|pending| &pending.stage) {
                Some(Stage::Opening) => self.handle_plain(stream, now),
                Some(Stage::Dialled { hold: Hold::Holds(_), .. }) => self.take_up_held(stream, around, now),
                Some(Stage::Dialled { .. } | Stage::Expecting | Stage::Answered { .. }) => {
                    self.fail(stream, HandshakeFault::NotANode, now);
                }
                Some(Stage::Waiting { .. }) => self.reconsider(stream, around, now),
                None => {}
            }
        }
        self.take_up_waiting(around, now);
        self.tell_deferred(now);
    }

    /// After some have come to nothing: looks at what has waited for that.
    fn take_up_waiting(&mut self, around: &mut Surroundings<'_>, now: Instant) {
        if !std::mem::take(&mut self.has_ended) {
            return;
        }
        for stream in self.table.streams_where(|pending| matches!(pending.stage, Stage::Waiting { .. })) {
            self.reconsider(stream, around, now);
        }
        let holds = |pending: &Pending| matches!(pending.stage, Stage::Dialled { hold: Hold::Holds(_), .. });
        for stream in self.table.streams_where(holds) {
            if !self.table.has_to_wait(stream, around.own_id()) {
                self.take_up_held(stream, around, now);
            }
        }
        self.events.push_back(Event::Ended);
    }

    /// Looks at a hello again that waits.
    fn reconsider(&mut self, stream: StreamId, around: &mut Surroundings<'_>, now: Instant) {
        let stage = self.table.get(stream).map(|pending| &pending.stage);
        let Some(Stage::Waiting { hello, since }) = stage else { return };
        let (hello, since) = ((**hello).clone(), *since);
        self.handle_hello(stream, hello, since, around, now);
    }

    /// It begins with something else.
    fn handle_plain(&mut self, stream: StreamId, now: Instant) {
        if self.config.nonce_required {
            self.end(stream, now);
        } else {
            self.show_plain(stream, now);
        }
    }

    fn show_plain(&mut self, stream: StreamId, now: Instant) {
        if let Some(pending) = self.table.remove(stream) {
            self.events.push_back(Event::Plain { stream, handshake: pending.finish(now) });
        }
    }

    fn fail(&mut self, stream: StreamId, fault: HandshakeFault, now: Instant) {
        let Some(pending) = self.table.get(stream) else { return };
        let (ends, to) = (pending.ends, pending.ends.dialled);
        self.note(ends, || format!("is no link: {fault:?}"));
        let why = match fault {
            HandshakeFault::Refused(why) => RungFault::Refused(refusal(why)),
            HandshakeFault::NotANode => RungFault::Silent(to),
            HandshakeFault::WrongNode
            | HandshakeFault::BadProof
            | HandshakeFault::Oneself
            | HandshakeFault::Unwelcome => RungFault::WrongNode(to),
        };
        let to_oneself = fault == HandshakeFault::Oneself || fault == IS_ONESELF;
        match self.end(stream, now) {
            Some(pending) if to_oneself && pending.origin == Origin::Asked => {
                self.events.push_back(Event::Oneself { stream });
            }
            Some(pending) => self.tell_in_vain(stream, &pending, why, now),
            None => {}
        }
    }

    /// Closes it in order, so that what was said last arrives.
    fn end(&mut self, stream: StreamId, _now: Instant) -> Option<Pending> {
        let pending = self.remove(stream)?;
        self.free_slot(&pending);
        match pending.shown {
            Some(con) => self.events.push_back(Event::Known { con, ends: true }),
            None => self.actions.push_back(Action::Close { stream }),
        }
        Some(pending)
    }

    /// A stream that is to take the place of another is no connection of its own: what the application knows of it ends here.
    /// It keeps its slot.
    fn hide(&mut self, stream: StreamId) {
        if let Some(con) = self.table.get_mut(stream).and_then(|pending| pending.shown.take()) {
            self.actions.push_back(Action::Hide { stream });
            self.events.push_back(Event::Hidden { con });
        }
    }

    /// Others may have waited for its end, and are looked at when this is through.
    fn remove(&mut self, stream: StreamId) -> Option<Pending> {
        self.has_ended = true;
        self.table.remove(stream)
    }

    fn free_slot(&mut self, pending: &Pending) {
        if pending.has_slot() {
            self.events.push_back(Event::SlotFreed(pending.ends));
        }
    }

    /// A dial of a call's, or of the application's, led to a stream of which nothing came. Where a hello of the same node is being heard, that may
    /// still lead to it.
    fn tell_in_vain(&mut self, stream: StreamId, pending: &Pending, why: RungFault, now: Instant) {
        if !pending.is_own_dial() {
            return;
        }
        match pending.stage {
            Stage::Dialled { to: Some(node), .. } if self.table.has_hello_of(node, pending.is_upgrade()) => {
                let (upgrade, until) = (pending.is_upgrade(), now + RIVAL_TIME);
                let asked = pending.origin == Origin::Asked;
                self.deferred.push(Deferred { node, upgrade, stream, asked, why, until });
            }
            _ => self.events.push_back(Event::Failed { stream, why }),
        }
    }

    /// Tells what was not told for the sake of another hello, which has led to nothing either, or takes too long.
    fn tell_deferred(&mut self, now: Instant) {
        let (kept, told): (Vec<Deferred>, Vec<Deferred>) =
            std::mem::take(&mut self.deferred).into_iter().partition(|deferred| {
                deferred.until > now && self.table.has_hello_of(deferred.node, deferred.upgrade)
            });
        self.deferred = kept;
        self.events
            .extend(told.into_iter().map(|Deferred { stream, why, .. }| Event::Failed { stream, why }));
    }

    fn note(&mut self, ends: Ends, text: impl FnOnce() -> String) {
        self.events.push_back(Event::Note { ends, text: text() });
    }
}

fn refusal(why: HelloRefusal) -> Refusal {
    match why {
        HelloRefusal::Busy => Refusal::Busy,
        HelloRefusal::Full => Refusal::Full,
        HelloRefusal::Closing => Refusal::Closing,
        HelloRefusal::Unknown | HelloRefusal::Identity => Refusal::Unknown,
        HelloRefusal::Other => Refusal::Unwilling,
    }
}
