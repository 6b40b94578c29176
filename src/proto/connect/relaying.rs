//! Relays: both sides come to one with a ticket that both have signed.
//!
//! **Where it is** the one who is called decides: it is the server through which the two talk, and a relay of its own
//! configuration when that server relays nothing, or nothing comes of it. It comes nowhere else. The caller goes where it is
//! told; what is neither that server nor a relay of its own is a place that is merely claimed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::action::{ConnectAction, DialId};
use super::context::Context;
use super::info::CallInfo;
use super::rungs::{DIAL_TIME, SYNS, time_of};
use crate::connect::{RelayLimits, RelayRefusal};
use crate::id::ServerId;
use crate::proto::budget::Class;
use crate::proto::dial::{is_dialable, is_own};
use crate::proto::rendezvous::relay_dial::{RelayDial, RelayFault};
use crate::time::Instant;
use crate::unl::{Place, UnlAddress};
use crate::wire::relay;
use crate::wire::rendezvous::Token;
use crate::wire::signal::Half;

/// How long the way to the relay may take, the other side's included.
const RELAY_TIME: Duration = Duration::from_secs(8);

/// How long, of that, until it is connected.
const CONNECT_TIME: Duration = DIAL_TIME;

/// So often the one who is called comes to a relay in one call: to two places, as often as the ladder tries.
const MAX_RUNS: u8 = 12;

/// What a call has to do with relays.
#[derive(Debug, Default)]
pub(super) struct Relaying {
    run: Option<RelayRun>,
    /// Relays to which the other side would come, the next one first, with its signatures of their tickets: two at most, for
    /// the caller.
    halves: VecDeque<Half>,
    /// Relays to which we said that we would come: for the one who is called.
    offered: Vec<SocketAddr>,
    /// How often we have come to one of them.
    runs: u8,
    /// What the last try came to.
    refusal: Option<RelayRefusal>,
    /// What the relay allows, once it passes on.
    limits: Option<RelayLimits>,
}

/// One side's way to the relay.
#[derive(Debug)]
struct RelayRun {
    machine: RelayDial,
    dial: DialId,
    server: SocketAddr,
    is_connected: bool,
    began: Instant,
    /// `None` once the relay passes on: a handshake has a deadline of its own.
    until: Option<Instant>,
}

/// What becomes of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelayNews {
    /// It passes on.
    Passes(DialId),
    /// Nothing came of it.
    Failed(RelayRefusal),
}

/// What follows when nothing came of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next one is tried at once.
    Another,
    /// That is for the ladder to try again, or to give up.
    Wait(RelayRefusal),
}

/// For the caller.
impl Relaying {
    /// The other side has named the relays to which it would come.
    pub(super) fn handle_offer(&mut self, halves: impl IntoIterator<Item = Half>) {
        self.halves = halves.into_iter().collect();
    }

    pub(super) fn is_offered(&self) -> bool {
        !self.halves.is_empty()
    }

    /// The relay to come to next: our half of its ticket, for the other side to come there. `Err`: there is none, or not
    /// that one.
    pub(super) fn choose(
        &mut self,
        info: &CallInfo,
        cx: &mut Context<'_, '_>,
    ) -> Result<(Half, RelayDial), (Option<SocketAddr>, RelayRefusal)> {
        // What went before says more than that no other try is possible.
        let why = self.refusal.unwrap_or(RelayRefusal::Ticket);
        let theirs = *self.halves.front().ok_or((None, why))?;
        let server = theirs.server;
        let machine = machine(info, &theirs, cx).filter(|_| may_come(info, server, cx));
        let ours = info.sign_ticket(server, cx);
        ours.zip(machine).ok_or((Some(server), why))
    }

    /// Nothing came of a relay, or there is none. One that refuses is not asked again, and the next one is, at once; what
    /// may pass is the ladder's to try again, with the next one first.
    pub(super) fn fail(
        &mut self,
        info: &CallInfo,
        server: Option<SocketAddr>,
        why: RelayRefusal,
        cx: &mut Context<'_, '_>,
    ) -> Next {
        let id = info.id;
        cx.note(Level::Debug, || format!("call {id}: no relay: {why}"));
        self.run = None;
        self.refusal = Some(why);
        let passes = matches!(why, RelayRefusal::Unreachable | RelayRefusal::Absent);
        if let Some(at) = self.halves.iter().position(|half| Some(half.server) == server) {
            let half = self.halves.remove(at);
            self.halves.extend(half.filter(|_| passes));
        }
        if !passes && !self.halves.is_empty() { Next::Another } else { Next::Wait(why) }
    }
}

/// For the one who is called.
impl Relaying {
    /// Where we would come when the caller finds no other way: to the server through which we talk, as we have dialled it, and
    /// to a relay of our own. Nobody is to send us anywhere else. `theirs`: the caller's half.
    pub(super) fn offer(
        &mut self,
        info: &CallInfo,
        through: ServerId,
        theirs: Option<Half>,
        cx: &mut Context<'_, '_>,
    ) -> [Option<Half>; 2] {
        let is_signed = |server: SocketAddr| {
            let half = theirs.filter(|half| half.server == server).zip(info.peer);
            let ticket = info.ticket(server, cx);
            half.zip(ticket).is_some_and(|((half, peer), ticket)| ticket.is_signed_by(&peer, &half.sig))
        };
        let of_server = cx.around.servers.addr_of(through).filter(|_| cx.around.servers.relays(through));
        let of_server = of_server.filter(|&server| is_signed(server));
        let own = cx.own_relay(theirs.map(|half| half.server));
        self.offered = of_server.into_iter().chain(own.filter(|_| own != of_server)).collect();
        let mut halves = self.offered.iter().map(|&server| info.sign_ticket(server, cx));
        [halves.next().flatten(), halves.next().flatten()]
    }

    /// Whether we come to where the caller is: to where we said that we would, and no more often than it can want it.
    pub(super) fn accept(
        &mut self,
        info: &CallInfo,
        half: &Half,
        cx: &mut Context<'_, '_>,
    ) -> Option<Result<RelayDial, RelayRefusal>> {
        let server = half.server;
        let is_there = self.run.as_ref().is_some_and(|run| run.server == server);
        if !self.offered.contains(&server) || is_there || self.runs >= MAX_RUNS {
            return None;
        }
        self.runs += 1;
        // Nothing came of the other one.
        if let Some(run) = self.run.take() {
            cx.abandon(run.dial);
        }
        let machine = machine(info, half, cx).filter(|_| may_come(info, server, cx));
        Some(machine.ok_or(RelayRefusal::Ticket))
    }
}

/// The way there.
impl Relaying {
    pub(super) fn begin(
        &mut self,
        info: &CallInfo,
        machine: RelayDial,
        server: SocketAddr,
        cx: &mut Context<'_, '_>,
    ) {
        let dial = cx.dial(info.id, server, None);
        let claimed = is_claimed(info, server, cx).then(|| time_of(claimed_syns(cx)));
        let until = Some(cx.now + claimed.unwrap_or(CONNECT_TIME));
        self.run = Some(RelayRun { machine, dial, server, is_connected: false, began: cx.now, until });
    }

    pub(super) fn handle_connected(&mut self, info: &CallInfo, dial: DialId, cx: &mut Context<'_, '_>) {
        let Some(run) = self.run.as_mut().filter(|run| run.dial == dial) else { return };
        run.is_connected = true;
        run.until = Some(run.began + RELAY_TIME);
        match info.server_at(run.server, cx) {
            Some(server) => cx.around.handle_visited(server),
            // One was enough; should it turn out to be somebody else's, that one still counts.
            None => release_claim(info, run.server, 1, cx),
        }
        cx.act(ConnectAction::Send { dial, bytes: run.machine.handle_connected() });
    }

    /// Whether its lines are this one's to read: what follows the last line of the server is the other side's.
    pub(super) fn reads(&self, dial: DialId) -> bool {
        self.run.as_ref().is_some_and(|run| run.dial == dial && run.machine.outcome().is_none())
    }

    pub(super) fn has(&self, dial: DialId) -> bool {
        self.run.as_ref().is_some_and(|run| run.dial == dial)
    }

    pub(super) fn handle_line(
        &mut self,
        info: &CallInfo,
        dial: DialId,
        line: &[u8],
        cx: &mut Context<'_, '_>,
    ) -> Option<RelayNews> {
        let run = self.run.as_mut().filter(|run| run.dial == dial && run.machine.outcome().is_none())?;
        run.machine.handle_line(line, cx.now);
        if let Some(bytes) = run.machine.poll_send() {
            cx.act(ConnectAction::Send { dial, bytes });
            // Who knows how to relay is no third party.
            release_claim(info, run.server, 0, cx);
        }
        self.conclude(cx)
    }

    /// It could not be dialled, or has ended.
    pub(super) fn handle_gone(&mut self, dial: DialId, cx: &mut Context<'_, '_>) -> Option<RelayNews> {
        let run = self.run.as_mut().filter(|run| run.dial == dial)?;
        if run.machine.outcome().is_some() {
            return None;
        }
        run.machine.handle_disconnected();
        self.conclude(cx)
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_, '_>) -> Option<RelayNews> {
        let run = self.run.as_ref().filter(|run| run.until.is_some_and(|until| until <= cx.now))?;
        cx.abandon(run.dial);
        let why = if run.is_connected { RelayRefusal::Absent } else { RelayRefusal::Unreachable };
        Some(RelayNews::Failed(why))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.run.as_ref()?.until
    }

    /// Where the one is that is under way.
    pub(super) fn server(&self) -> Option<SocketAddr> {
        self.run.as_ref().map(|run| run.server)
    }

    pub(super) fn limits(&self) -> Option<RelayLimits> {
        self.limits
    }

    pub(super) fn end(&mut self, cx: &mut Context<'_, '_>) {
        if let Some(run) = self.run.take() {
            cx.abandon(run.dial);
        }
    }

    fn conclude(&mut self, cx: &mut Context<'_, '_>) -> Option<RelayNews> {
        let run = self.run.as_mut()?;
        let dial = run.dial;
        match run.machine.outcome()? {
            Ok(limits) => {
                run.until = None;
                self.limits = Some(limits_of(&limits));
                Some(RelayNews::Passes(dial))
            }
            Err(why) => {
                cx.act(ConnectAction::Close { dial });
                Some(RelayNews::Failed(refusal(why)))
            }
        }
    }
}

fn machine(info: &CallInfo, theirs: &Half, cx: &mut Context<'_, '_>) -> Option<RelayDial> {
    let server = theirs.server;
    let ticket = info.ticket(server, cx)?;
    let own = info.sign_ticket(server, cx)?.sig;
    if !ticket.is_signed_by(&info.peer?, &theirs.sig) {
        return None;
    }
    let signatures = if info.ours { (own, theirs.sig) } else { (theirs.sig, own) };
    let key = Arc::clone(cx.shared.key.as_ref()?);
    let nonce = Token::nonce(&mut cx.shared.random);
    Some(RelayDial::new(key, &ticket, signatures, server, nonce, cx.now + RELAY_TIME))
}

/// A place that the other side merely claims to be a relay's gets the SYNs of any claimed address; and one that means
/// something in one network only is left alone, unless a server sees us both in it.
fn may_come(info: &CallInfo, addr: SocketAddr, cx: &mut Context<'_, '_>) -> bool {
    if let Some(server) = info.server_at(addr, cx) {
        return cx.may_visit(server, addr);
    }
    if !is_claimed(info, addr, cx) {
        return true;
    }
    let is_outside = UnlAddress { place: Place::Wan, addr }.oddity().is_none();
    let syns = claimed_syns(cx);
    (is_outside || info.same_network)
        && is_dialable(addr)
        && !is_own(cx.around.local.own, addr)
        && cx.take(addr, Class::Claimed, syns)
}

/// Whether only the other side says that there is a relay.
fn is_claimed(info: &CallInfo, addr: SocketAddr, cx: &Context<'_, '_>) -> bool {
    info.server_at(addr, cx).is_none() && !cx.around.relays.has(addr)
}

/// Gives back what was taken for a claimed place, but for so many SYNs.
pub(super) fn release_claim(info: &CallInfo, addr: SocketAddr, used: u32, cx: &mut Context<'_, '_>) {
    if is_claimed(info, addr, cx) {
        let syns = claimed_syns(cx).saturating_sub(used);
        cx.give_back(addr, Class::Claimed, syns);
    }
}

fn claimed_syns(cx: &Context<'_, '_>) -> u32 {
    SYNS.min(cx.config().max_claimed_syns)
}

/// 0 stands for no limit on the wire.
fn limits_of(limits: &relay::RelayLimits) -> RelayLimits {
    let some = |number: u64| (number > 0).then_some(number);
    RelayLimits {
        bytes: some(limits.bytes),
        time: some(limits.seconds).map(Duration::from_secs),
        rate: some(limits.rate),
    }
}

fn refusal(why: RelayFault) -> RelayRefusal {
    let why = match why {
        RelayFault::Refused(why) => why,
        RelayFault::Denied(_) => return RelayRefusal::Ticket,
        RelayFault::Unknown => return RelayRefusal::Off,
        RelayFault::Nonsense | RelayFault::Lost => return RelayRefusal::Unreachable,
        RelayFault::Slow => return RelayRefusal::Absent,
    };
    match why {
        relay::RelayRefusal::Off => RelayRefusal::Off,
        relay::RelayRefusal::Full => RelayRefusal::Full,
        relay::RelayRefusal::Node | relay::RelayRefusal::Address => RelayRefusal::Share,
        relay::RelayRefusal::Absent => RelayRefusal::Absent,
        relay::RelayRefusal::Ticket | relay::RelayRefusal::Proof | relay::RelayRefusal::Used => {
            RelayRefusal::Ticket
        }
        relay::RelayRefusal::Other => RelayRefusal::Unreachable,
    }
}
