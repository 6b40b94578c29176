//! The ways of a call that take streams: rungs that are plain dials, punching with the observation before it, a relay.
//!
//! Each is a machine of its own; here it is found which of them a stream belongs to, and what they come to is put in one row
//! for whoever decides.

use std::collections::VecDeque;
use std::io;

use super::action::{ConnectAction, DialId, Handshake};
use super::context::Context;
use super::info::CallInfo;
use super::observation::{Observation, Seen, Unseen};
use super::punching::{Agreed, PunchRun};
use super::relaying::{RelayNews, Relaying};
use super::rungs::RungDials;
use crate::connect::{RelayRefusal, Rung, RungFault};
use crate::id::ServerId;
use crate::proto::connect::punch::PunchFailure;
use crate::time::{Instant, soonest};
use crate::unl::Place;

#[derive(Debug, Default)]
pub(super) struct Ways {
    rungs: RungDials,
    observation: Observation,
    punch: Option<PunchRun>,
    pub(super) relaying: Relaying,
    /// At most what one input leads to.
    news: VecDeque<News>,
}

/// What has come of one of them.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// None of the addresses of this rung led to the node.
    RungOver(Rung, RungFault),
    /// Our port was seen.
    Seen(Seen),
    Unseen(Unseen),
    /// A round of punching is over.
    Missed {
        round: u8,
        failure: PunchFailure,
    },
    /// Nothing came of the relay.
    RelayFailed(RelayRefusal),
    /// Somebody is there who proves nothing.
    Met(DialId, Rung),
}

/// What is begun and ended.
impl Ways {
    /// Dials the addresses of a rung.
    pub(super) fn dial(&mut self, info: &CallInfo, rung: Rung, cx: &mut Context<'_, '_>) {
        let Some(unl) = &info.unl else { return };
        let place = if rung == Rung::Lan { Place::Lan } else { Place::Wan };
        let addresses = cx.around.local.addresses(unl, place);
        self.rungs.dial(info.id, rung, addresses, cx);
        self.conclude_rung(rung);
    }

    /// Shows a port to a server.
    pub(super) fn observe(&mut self, info: &CallInfo, round: u8, server: ServerId, cx: &mut Context<'_, '_>) {
        let begun = self.observation.begin(info, round, server, cx);
        self.note_unseen(begun);
    }

    /// The port of this round, if it was seen.
    pub(super) fn seen(&self, round: u8) -> Option<Seen> {
        self.observation.seen(round)
    }

    pub(super) fn punch(&mut self, info: &CallInfo, agreed: &Agreed, cx: &mut Context<'_, '_>) {
        self.end_punch(cx);
        self.punch = Some(PunchRun::new(info.id, agreed, cx));
        self.conclude_punch();
    }

    /// The last round of punching that has begun.
    pub(super) fn punched_round(&self) -> Option<u8> {
        self.punch.as_ref().map(|run| run.round)
    }

    /// It is a connection, and no part of the call any more; nor are other dials of the same punch.
    pub(super) fn release(&mut self, dial: DialId, cx: &mut Context<'_, '_>) {
        self.rungs.release(dial);
        if let Some(run) = &mut self.punch {
            run.release(dial);
        }
        self.end_punch(cx);
    }

    /// What is not even connected is given up.
    pub(super) fn give_up_dials(&mut self, cx: &mut Context<'_, '_>) {
        self.rungs.give_up(cx);
    }

    pub(super) fn end(&mut self, cx: &mut Context<'_, '_>) {
        self.end_punch(cx);
        self.observation.end(cx);
        self.rungs.end(cx);
        self.relaying.end(cx);
    }

    fn end_punch(&mut self, cx: &mut Context<'_, '_>) {
        if let Some(run) = self.punch.take() {
            run.end(cx);
        }
    }
}

/// What becomes of streams.
impl Ways {
    pub(super) fn handle_connected(&mut self, info: &CallInfo, dial: DialId, cx: &mut Context<'_, '_>) {
        if let Some(rung) = self.rungs.handle_connected(dial, cx) {
            match info.peer {
                Some(_) => say_hello(info, dial, rung, cx),
                None => self.news.push_back(News::Met(dial, rung)),
            }
        } else if self.punch.as_ref().is_some_and(|run| run.has(dial)) {
            self.handle_punched(info, dial, cx);
        } else {
            self.observation.handle_connected(dial, cx);
            self.relaying.handle_connected(info, dial, cx);
        }
    }

    /// Nobody has dialled, or both: the larger id says hello, on the first that it has, and so picks the winner. The
    /// others are kept until then: the other side may see them in another order.
    fn handle_punched(&mut self, info: &CallInfo, dial: DialId, cx: &mut Context<'_, '_>) {
        let Some(run) = &mut self.punch else { return };
        let is_first = run.handle_connected(dial, cx);
        match info.node() {
            None => self.news.push_back(News::Met(dial, Rung::Punch)),
            node if cx.shared.own_id() < node => expect_hello(info, dial, Rung::Punch, cx),
            _ if is_first => say_hello(info, dial, Rung::Punch, cx),
            _ => {}
        }
        self.conclude_punch();
    }

    /// It could not be dialled.
    pub(super) fn handle_failed(
        &mut self,
        info: &CallInfo,
        dial: DialId,
        kind: io::ErrorKind,
        cx: &mut Context<'_, '_>,
    ) {
        if let Some(rung) = self.rungs.handle_failed(dial, kind, cx) {
            self.conclude_rung(rung);
        } else if let Some(run) = self.punch.as_mut().filter(|run| run.has(dial)) {
            run.handle_failed(dial, kind, cx);
            self.conclude_punch();
        } else {
            self.handle_closed(info, dial, cx);
        }
    }

    /// It has ended. A punched one that waits for its turn is missed when that comes.
    pub(super) fn handle_closed(&mut self, info: &CallInfo, dial: DialId, cx: &mut Context<'_, '_>) {
        let shown = self.observation.handle_gone(info, dial, cx);
        self.note_unseen(shown);
        let relayed = self.relaying.handle_gone(dial, cx);
        self.handle_relay_news(info, relayed, cx);
    }

    /// Whether its lines are the call's to read.
    pub(super) fn reads(&self, dial: DialId) -> bool {
        self.observation.reads(dial) || self.relaying.reads(dial)
    }

    pub(super) fn handle_line(
        &mut self,
        info: &CallInfo,
        dial: DialId,
        line: &[u8],
        cx: &mut Context<'_, '_>,
    ) {
        self.news.extend(self.observation.handle_line(dial, line, cx).map(News::Seen));
        let relayed = self.relaying.handle_line(info, dial, line, cx);
        self.handle_relay_news(info, relayed, cx);
    }

    /// A connection turned out not to be the node.
    pub(super) fn handle_handshake_failed(
        &mut self,
        info: &CallInfo,
        dial: DialId,
        why: RungFault,
        cx: &mut Context<'_, '_>,
    ) {
        if let Some(rung) = self.rungs.handle_handshake_failed(dial, why) {
            self.conclude_rung(rung);
        } else if self.relaying.has(dial) {
            self.news.push_back(News::RelayFailed(RelayRefusal::Absent));
        } else if let Some(run) = &mut self.punch {
            let next = run.handle_in_vain(dial, cx);
            if let Some(next) = next.filter(|_| cx.shared.own_id() > info.node()) {
                say_hello(info, next, Rung::Punch, cx);
            }
            self.conclude_punch();
        }
    }

    pub(super) fn handle_timeout(&mut self, info: &CallInfo, cx: &mut Context<'_, '_>) {
        for rung in self.rungs.handle_timeout(cx) {
            self.conclude_rung(rung);
        }
        let shown = self.observation.handle_timeout(cx);
        self.note_unseen(shown);
        if let Some(run) = &mut self.punch {
            run.handle_timeout(cx);
            self.conclude_punch();
        }
        let relayed = self.relaying.handle_timeout(cx);
        self.handle_relay_news(info, relayed, cx);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let punch = self.punch.as_ref().and_then(PunchRun::poll_timeout);
        let others = [self.observation.poll_timeout(), punch, self.relaying.poll_timeout()];
        others.into_iter().fold(self.rungs.poll_timeout(), soonest)
    }

    pub(super) fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }
}

impl Ways {
    fn conclude_rung(&mut self, rung: Rung) {
        self.news.extend(self.rungs.outcome(rung).map(|why| News::RungOver(rung, why)));
    }

    fn conclude_punch(&mut self) {
        let Some(run) = &mut self.punch else { return };
        let round = run.round;
        self.news.extend(run.poll_failure().map(|failure| News::Missed { round, failure }));
    }

    fn note_unseen(&mut self, shown: Result<(), Unseen>) {
        self.news.extend(shown.err().map(News::Unseen));
    }

    /// The relay passes on: the caller is the dialling side of the hello.
    fn handle_relay_news(&mut self, info: &CallInfo, news: Option<RelayNews>, cx: &mut Context<'_, '_>) {
        match news {
            // What is relayed replaces nothing.
            Some(RelayNews::Passes(dial)) => {
                let handshake = Handshake { rung: Rung::Relay, with: info.node(), upgrade: false };
                cx.act(match info.ours {
                    true => ConnectAction::SayHello { dial, handshake },
                    false => ConnectAction::ExpectHello { dial, handshake },
                });
            }
            Some(RelayNews::Failed(why)) => self.news.push_back(News::RelayFailed(why)),
            None => {}
        }
    }
}

fn say_hello(info: &CallInfo, dial: DialId, rung: Rung, cx: &mut Context<'_, '_>) {
    let handshake = Handshake { rung, with: info.node(), upgrade: info.upgrade.is_some() };
    cx.act(ConnectAction::SayHello { dial, handshake });
}

fn expect_hello(info: &CallInfo, dial: DialId, rung: Rung, cx: &mut Context<'_, '_>) {
    let handshake = Handshake { rung, with: info.node(), upgrade: info.upgrade.is_some() };
    cx.act(ConnectAction::ExpectHello { dial, handshake });
}
