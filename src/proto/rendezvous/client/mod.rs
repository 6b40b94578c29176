//! A client of one rendezvous server: registers, asks for nodes, and comes back on pyp2p's schedule.
//!
//! The first lines of a connection are `HELLO` and `SOURCE`. A server of ours answers both; an old one only the second,
//! and so shows what it is. With ours the connection is kept, which keeps the registration; with an old one it is
//! ended once everything is answered, unless the node waits to be punched.
//!
//! A server that is away, slow or talks nonsense costs a `Down` event and a growing pause, nothing else.

mod advert;
mod config;
mod event;
mod identity;
pub(crate) mod observe;
pub(crate) mod relay_dial;
mod schedule;
mod session;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::random::Random;
use crate::reach::ServerKind;
use crate::time::{Instant, soonest};
use crate::wire::proof::Denial;
use crate::wire::rendezvous::{Features, Listed, Ntp, Ports, Reply, Request, Token};
pub(crate) use advert::{Advert, AdvertKind};
pub(crate) use config::ClientConfig;
pub(crate) use event::{ClientAction, ClientEvent, DownWhy, Outcome};
use schedule::Schedule;
use session::{Answer, Session, Standing};

/// The client's state. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Client {
    config: ClientConfig,
    random: Random,
    state: State,
    advert: Option<Advert>,
    /// When to register; none while an answer to that is awaited.
    advertise_at: Option<Instant>,
    /// What the server may hold of us.
    registered: Option<Advert>,
    /// The server may hold what we no longer want.
    stale: bool,
    schedule: Schedule,
    /// The last server was one of ours: its connection is worth keeping.
    stays: bool,
    /// To know the server is reason enough for a connection.
    curious: bool,
    /// It has been met: what an old server could tell is known.
    met: bool,
    /// Requests of the user's that wait for a session.
    asked: VecDeque<Request>,
    failures: u32,
    leaving: bool,
    dial: bool,
    out: Vec<u8>,
    hangup: bool,
    events: VecDeque<ClientEvent>,
}

#[derive(Debug)]
enum State {
    /// No connection, and no need of one before the next deadline.
    Idle,
    /// No new attempt before then.
    Resting(Instant),
    Dialing(Instant),
    Open(Box<Session>),
    /// `QUIT` is sent; the server closes, so that it has surely read all, and the port's aftermath is its own.
    Quitting(Instant),
    Left,
}

/// What the user may have under way at a time, and events that wait to be taken. More than any use needs.
const MAX_ASKED: usize = 16;
const MAX_EVENTS: usize = 64;

/// What may wait for the socket: a driver that takes no actions must not make us grow.
const MAX_OUT: usize = 64 * 1024;

impl Client {
    /// A client that does nothing until it is told what to want or to advertise.
    pub(crate) fn new(config: ClientConfig, random: Random) -> Self {
        Self {
            schedule: Schedule::new(config.bootstrap_soonest),
            config,
            random,
            state: State::Idle,
            advert: None,
            advertise_at: None,
            registered: None,
            stale: false,
            stays: false,
            curious: false,
            met: false,
            asked: VecDeque::new(),
            failures: 0,
            leaving: false,
            dial: false,
            out: Vec::new(),
            hangup: false,
            events: VecDeque::new(),
        }
    }

    /// The dial succeeded: the two ends of the connection.
    pub(crate) fn handle_connected(&mut self, local: SocketAddr, server: SocketAddr, now: Instant) {
        if !matches!(self.state, State::Dialing(_)) {
            return;
        }
        let mut session = Session::new(local, server, now, now + self.config.ping_every);
        if !self.leaving {
            let offered = self.offered();
            if offered != Features::NONE {
                Request::Hello(offered).write(&mut self.out);
            }
            session.ask_source(Answer::Greeting, now + self.config.answer_within, &mut self.out);
        }
        self.state = State::Open(Box::new(session));
        self.work(now);
    }

    /// A line came, without its end.
    pub(crate) fn handle_line(&mut self, line: &[u8], now: Instant) {
        let State::Open(session) = &mut self.state else { return };
        let Some(reply) = Reply::parse(line) else {
            session.strikes += 1;
            if Reply::knows_verb(line) || session.strikes > self.config.patience {
                self.fail(DownWhy::Nonsense, true, now);
            }
            return;
        };
        if let Reply::Probed { port, verdict } = reply
            && session.probed(port)
        {
            return self.emit(ClientEvent::Probed { port, verdict: Some(verdict) });
        }
        match session.answered(&reply) {
            Some(answer) => self.answer(answer, reply, now),
            None => self.notice(reply, now),
        }
        self.work(now);
    }

    /// The connection is gone, or the dial failed.
    pub(crate) fn handle_disconnected(&mut self, now: Instant) {
        match &self.state {
            State::Dialing(_) => self.fail(DownWhy::Unreachable, false, now),
            State::Open(session) => {
                let stranger = session.kind.is_none() && session.strikes > 0;
                let why = if stranger { DownWhy::Nonsense } else { DownWhy::Closed };
                self.fail(why, false, now);
            }
            State::Quitting(_) => self.ended(now),
            State::Idle | State::Resting(_) | State::Left => {}
        }
    }

    /// Time passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let State::Open(session) = &mut self.state
            && let Some(port) = session.pop_unanswered(now)
        {
            self.emit(ClientEvent::Probed { port, verdict: None });
        }
        match &self.state {
            State::Resting(until) if *until <= now => self.state = State::Idle,
            State::Dialing(until) if *until <= now => self.fail(DownWhy::Slow, true, now),
            State::Open(session) if session.deadline().is_some_and(|at| at <= now) => {
                self.fail(DownWhy::Slow, true, now);
            }
            State::Quitting(until) if *until <= now => {
                self.hangup = true;
                self.ended(now);
            }
            _ => {}
        }
        self.work(now);
    }

    /// When `handle_timeout` is due. Earlier calls do nothing.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => soonest(self.advertise_at, self.schedule.due()),
            State::Resting(until) | State::Dialing(until) | State::Quitting(until) => Some(*until),
            State::Open(session) => {
                let late = soonest(session.deadline(), session.probe_deadline());
                soonest(late, self.next_task(session))
            }
            State::Left => None,
        }
    }

    /// What is to be done next; to be asked until there is nothing.
    pub(crate) fn poll_action(&mut self) -> Option<ClientAction> {
        if !self.out.is_empty() {
            return Some(ClientAction::Send(std::mem::take(&mut self.out)));
        }
        if std::mem::take(&mut self.hangup) {
            return Some(ClientAction::Hangup);
        }
        std::mem::take(&mut self.dial).then_some(ClientAction::Dial)
    }

    /// What happened. The oldest go first when they are not taken.
    pub(crate) fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Asks for nodes now instead of by schedule (after a pause that is going on, and not twice in a second).
    pub(crate) fn bootstrap(&mut self, now: Instant) {
        let under_way =
            self.session().is_some_and(|session| session.awaits(|answer| answer == Answer::Nodes));
        if !self.leaving && !under_way {
            self.schedule.force(now);
        }
        self.work(now);
    }

    /// Registers now instead of by schedule.
    pub(crate) fn advertise(&mut self, now: Instant) {
        let under_way = self.session().is_some_and(Session::awaits_registration);
        if self.advert.is_some() && !under_way {
            self.advertise_at = Some(now);
        }
        self.work(now);
    }

    /// What to register as; None: nothing, and what was registered is cleared.
    pub(crate) fn set_advert(&mut self, advert: Option<Advert>, now: Instant) {
        if self.leaving || advert == self.advert {
            return;
        }
        self.advert = advert;
        self.advertise_at = advert.map(|_| now);
        self.stale |= self.registered.is_some() && self.registered != advert;
        self.work(now);
    }

    /// How many nodes to ask for; 0: none now. When it grows, the next bootstrap is soon.
    pub(crate) fn set_wanted(&mut self, wanted: usize, now: Instant) {
        if self.leaving {
            return;
        }
        if wanted > self.schedule.wanted {
            let soon = self.random.jitter(self.config.bootstrap_soonest);
            self.schedule.hurry(soon, self.config.bootstrap_soonest);
        }
        self.schedule.wanted = wanted;
        self.work(now);
    }

    /// Meets the server though there is nothing to ask it, and stays connected where that is worth it.
    pub(crate) fn set_curious(&mut self, now: Instant) {
        self.curious = !self.leaving;
        self.work(now);
    }

    /// Clears what is registered, and ends with `Left`: at once, or when the server has read it or is too slow.
    pub(crate) fn leave(&mut self, now: Instant) {
        if self.leaving {
            return;
        }
        self.leaving = true;
        self.curious = false;
        self.advert = None;
        self.advertise_at = None;
        self.schedule.wanted = 0;
        self.schedule.forced = false;
        self.asked.clear();
        match &self.state {
            State::Dialing(_) if self.registered.is_none() => {
                // Nothing to stop when the dial has not been taken yet.
                self.hangup = !std::mem::take(&mut self.dial);
                self.left();
            }
            // Once more, without the pause: it is the last time.
            State::Resting(_) => self.state = State::Idle,
            _ => {}
        }
        self.work(now);
    }

    /// Asks whether the server can reach this port of ours, which [`ClientEvent::Probed`] answers; who listens there has
    /// to answer with the nonce, see [`probe`](crate::wire::probe). False when that can not be asked now: there is no
    /// session, or not with the feature, or the port is being tried, or too many are.
    pub(crate) fn probe(&mut self, port: u16, nonce: Token, now: Instant) -> bool {
        let until = now + self.config.probe_within;
        let room = !self.leaving && self.out.len() <= MAX_OUT;
        match &mut self.state {
            State::Open(session) if room => session.ask_probe(port, nonce, until, &mut self.out),
            _ => false,
        }
    }

    fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Open(session) => Some(session),
            _ => None,
        }
    }

    fn waits_for_punch(&self) -> bool {
        self.registered.is_some_and(|advert| advert.kind == AdvertKind::Simultaneous)
    }

    fn emit(&mut self, event: ClientEvent) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn answer(&mut self, answer: Answer, reply: Reply, now: Instant) {
        match (answer, reply) {
            (Answer::Greeting, _) => self.greeted(now),
            (Answer::Seen, Reply::Seen(addr)) => {
                // The second measure of the way: the better one counts.
                if let State::Open(session) = &mut self.state {
                    session.compare_rtt(now);
                }
                self.up(Some(addr));
            }
            (Answer::Observers, Reply::Observers(named)) => {
                let observers = self.session().map(|session| session.observers(&named));
                self.emit(ClientEvent::Observers(observers.unwrap_or_default()));
            }
            (Answer::Proof, Reply::Proven(id)) => self.proven(id, now),
            (Answer::Proof, Reply::Pending) => self.pending(),
            (Answer::Proof, Reply::Denied(why)) => self.denied(why),
            (Answer::Signaled(to), Reply::Signaled { outcome, .. }) => {
                self.emit(ClientEvent::Signaled { to, outcome: Outcome::Told(outcome) });
            }
            (Answer::Listed, Reply::Full) => self.refused(now),
            (Answer::Listed | Answer::Registered, _) => self.advertised(now),
            (Answer::Nodes, Reply::Nodes(nodes)) => self.nodes(nodes, now),
            (Answer::Source, Reply::Remote { port }) => self.emit(ClientEvent::Remote { port }),
            // A session that lived that long was a good one.
            (Answer::Pong(_) | Answer::Alive, _) => {
                self.failures = 0;
                self.compare_rtt(now);
            }
            // `Answer::fits` lets no other pair through.
            _ => {}
        }
    }

    /// A reply that nothing asked for, at least not now.
    fn notice(&mut self, reply: Reply, now: Instant) {
        let waits = self.waits_for_punch();
        let State::Open(session) = &mut self.state else { return };
        let event = match reply {
            Reply::Hello { features, nonce }
                if self.config.features != Features::NONE && session.kind.is_none() =>
            {
                return self.hello(features, nonce, now);
            }
            Reply::Signal(signal) if session.standing == Standing::Proven => ClientEvent::Signal(signal),
            Reply::Ping(token) if session.standing == Standing::Proven => return self.pong(token),
            Reply::Proven(id) if matches!(session.standing, Standing::Pending | Standing::Behind) => {
                return self.proven(id, now);
            }
            Reply::Denied(Denial::InUse)
                if matches!(session.standing, Standing::Pending | Standing::Proven) =>
            {
                return self.denied(Denial::InUse);
            }
            Reply::InUse(there) if session.standing == Standing::Proven => ClientEvent::InUse(there),
            Reply::Probed { .. } if session.probed_late() => return,
            Reply::Challenge { ip, ports } if waits => ClientEvent::Challenge { ip, ports },
            Reply::Reconnect if waits => ClientEvent::Reconnect,
            Reply::PredictionSet if session.punching.is_some() => ClientEvent::PredictionSet,
            Reply::Fight { ip, ports, ntp } if session.punching.is_some() => {
                ClientEvent::Fight { ip, ports, ntp }
            }
            _ => {
                session.strikes += 1;
                if session.strikes > self.config.patience {
                    self.fail(DownWhy::Nonsense, true, now);
                }
                return;
            }
        };
        self.emit(event);
    }

    fn hello(&mut self, features: Features, nonce: Option<Token>, now: Instant) {
        let (until, offered) = (now + self.config.answer_within, self.offered());
        let State::Open(session) = &mut self.state else { return };
        session.greeted(now);
        session.kind = Some(ServerKind::P2poll);
        session.features = features.and(offered);
        self.stays = true;
        self.prove(nonce, now);
        let State::Open(session) = &mut self.state else { return };
        if session.features.has(Features::SEEN) {
            session.pinged_at = Some(now);
            session.ask(&Request::Whoami, Answer::Seen, until, &mut self.out);
        }
        if session.features.has(Features::OBSERVERS) {
            session.ask(&Request::Observers, Answer::Observers, until, &mut self.out);
        }
    }

    /// The greeting's time may have been this program's own slowness, or a lost packet's.
    fn compare_rtt(&mut self, now: Instant) {
        let State::Open(session) = &mut self.state else { return };
        let before = session.rtt;
        session.compare_rtt(now);
        // What changes little is no news.
        let news = session.rtt.filter(|&rtt| before.is_none_or(|before| rtt < before / 2));
        if let Some(rtt) = news {
            self.emit(ClientEvent::Rtt(rtt));
        }
    }

    /// Whoever has not said `HELLO` before this answer does not know it.
    fn greeted(&mut self, now: Instant) {
        let State::Open(session) = &mut self.state else { return };
        session.greeted(now);
        if session.kind.is_none() {
            session.kind = Some(ServerKind::Pyp2p);
            self.stays = false;
        }
        if !session.features.has(Features::SEEN) {
            self.up(None);
        }
        self.work(now);
    }

    fn up(&mut self, seen: Option<SocketAddr>) {
        self.met = true;
        let State::Open(session) = &mut self.state else { return };
        session.seen = seen;
        let features = session.features;
        if let (Some(kind), Some(rtt)) = (session.kind, session.rtt) {
            self.emit(ClientEvent::Up { kind, seen, rtt, features });
        }
    }

    fn advertised(&mut self, now: Instant) {
        // Unless something else is to be registered meanwhile.
        if self.advertise_at.is_none() && self.advert.is_some() {
            self.advertise_at = Some(now + self.config.advertise_every);
        }
        self.emit(ClientEvent::Advertised);
    }

    fn refused(&mut self, now: Instant) {
        self.registered = None;
        if self.advertise_at.is_none() && self.advert.is_some() {
            self.advertise_at = Some(now + self.random.jitter(self.config.bootstrap_every));
        }
        self.emit(ClientEvent::Refused);
    }

    fn nodes(&mut self, mut nodes: Vec<Listed>, now: Instant) {
        let State::Open(session) = &self.state else { return };
        let own = self.registered.map(|advert| advert.port);
        nodes.retain(|node| session.plausible(node, own));
        let gap = self.random.jitter(self.schedule.gap);
        self.schedule.answered(now + gap, self.config.bootstrap_every);
        self.emit(ClientEvent::Nodes(nodes));
    }

    /// Does whatever is due. Called after everything that could make it so.
    fn work(&mut self, now: Instant) {
        match &self.state {
            State::Idle if self.leaving && self.registered.is_none() => self.left(),
            State::Idle if self.leaving || self.has_work(now) => self.start_dial(now),
            State::Open(_) if self.leaving => self.quit(now),
            State::Open(session) if session.kind.is_some() => self.converse(now),
            _ => {}
        }
    }

    fn has_work(&self, now: Instant) -> bool {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let curious = self.curious || self.config.key.is_some();
        let stays = self.stays && (self.advert.is_some() || self.schedule.wanted > 0 || curious);
        stays
            || curious && !self.met
            || self.stale
            || !self.asked.is_empty()
            || due(self.advertise_at)
            || due(self.schedule.due())
    }

    fn start_dial(&mut self, now: Instant) {
        self.state = State::Dialing(now + self.config.answer_within);
        self.dial = true;
    }

    /// Registers before it asks, so that of two nodes that come at once, the later hears of the earlier.
    fn converse(&mut self, now: Instant) {
        let State::Open(session) = &mut self.state else { return };
        let until = now + self.config.answer_within;
        if std::mem::take(&mut self.stale) {
            Request::Clear.write(&mut self.out);
            self.registered = None;
        }
        if let (Some(advert), true) = (self.advert, self.advertise_at.is_some_and(|at| at <= now)) {
            self.advertise_at = None;
            self.registered = Some(advert);
            session.register(advert, until, &mut self.out);
        }
        if self.schedule.due().is_some_and(|at| at <= now)
            && !session.awaits(|answer| answer == Answer::Nodes)
        {
            let request = Request::Bootstrap { count: self.schedule.ask(now) };
            session.ask(&request, Answer::Nodes, until, &mut self.out);
        }
        while let Some(request) = self.asked.pop_front() {
            session.pass_on(&request, now, until, &mut self.out);
        }
        if session.ping_at <= now {
            session.ping_at = now + self.config.ping_every;
            session.pinged_at = Some(now);
            let token = Token::from_number(self.random.next_u64());
            session.ask_alive(token, now + self.config.ping_within, &mut self.out);
        }
        if self.is_done(now) {
            self.quit(now);
        }
    }

    /// With an old server there is no reason to stay but to be punched.
    fn is_done(&self, now: Instant) -> bool {
        let Some(session) = self.session() else { return false };
        let punching = session.punching.is_some_and(|until| until > now);
        session.kind == Some(ServerKind::Pyp2p) && session.owed() == 0 && !punching && !self.waits_for_punch()
    }

    /// The next thing to do by schedule in a session.
    fn next_task(&self, session: &Session) -> Option<Instant> {
        session.kind?;
        let asking = session.awaits(|answer| answer == Answer::Nodes);
        let bootstrap = self.schedule.due().filter(|_| !asking);
        let done = session.punching.filter(|_| {
            session.kind == Some(ServerKind::Pyp2p) && session.owed() == 0 && !self.waits_for_punch()
        });
        let tasks = soonest(self.advertise_at, bootstrap);
        soonest(soonest(tasks, done), Some(session.ping_at))
    }

    fn quit(&mut self, now: Instant) {
        if self.leaving && self.registered.take().is_some() {
            Request::Clear.write(&mut self.out);
        }
        Request::Quit.write(&mut self.out);
        self.session_over();
        self.state = State::Quitting(now + self.config.answer_within);
    }

    /// A session ended as it should.
    fn ended(&mut self, now: Instant) {
        self.failures = 0;
        self.out.clear();
        self.state = State::Idle;
        self.work(now);
    }

    fn fail(&mut self, why: DownWhy, hangup: bool, now: Instant) {
        self.session_over();
        // Whatever it held of us it may have lost.
        self.advertise_at = self.advert.map(|_| now);
        self.asked.clear();
        self.out.clear();
        self.dial = false;
        self.hangup = hangup;
        if self.leaving {
            return self.left();
        }
        let doubled = self.config.backoff_first.saturating_mul(1 << self.failures.min(16));
        let retry_in = self.random.jitter(doubled.min(self.config.backoff_most));
        self.failures = self.failures.saturating_add(1);
        self.state = State::Resting(now + retry_in);
        self.emit(ClientEvent::Down { why, retry_in });
    }

    /// What lasts by the connection is gone with it.
    fn session_over(&mut self) {
        self.lose_signals();
        let Some(session) = self.session() else { return };
        if session.features.has(Features::LISTED) || self.waits_for_punch() {
            self.registered = None;
            self.stale = false;
        }
    }

    fn left(&mut self) {
        if !matches!(self.state, State::Left) {
            self.state = State::Left;
            self.emit(ClientEvent::Left);
        }
    }
}

/// Punching, by way of the server.
impl Client {
    /// Asks to punch to the node at `ip`. False when too much is under way.
    pub(crate) fn candidate(&mut self, ip: IpAddr, ports: Ports, now: Instant) -> bool {
        self.ask(Request::Candidate { ip, ports }, now)
    }

    /// Accepts the candidate at `ip`. False when this node does not wait to be punched.
    pub(crate) fn accept(&mut self, ip: IpAddr, ports: Ports, ntp: Ntp, now: Instant) -> bool {
        let ready = self.session().is_some_and(|session| session.kind.is_some());
        ready && self.waits_for_punch() && self.ask(Request::Accept { ip, ports, ntp }, now)
    }

    /// Asks which port the server sees, which [`ClientEvent::Remote`] answers. False when too much is under way.
    #[cfg_attr(not(test), expect(dead_code, reason = "ports are shown on connections of their own"))]
    pub(crate) fn source(&mut self, port: u16, now: Instant) -> bool {
        self.ask(Request::Source { port: Some(port) }, now)
    }

    fn ask(&mut self, request: Request, now: Instant) -> bool {
        let owed = self.session().map_or(0, Session::owed);
        if self.leaving || self.asked.len() + owed >= MAX_ASKED || self.out.len() > MAX_OUT {
            return false;
        }
        self.asked.push_back(request);
        self.work(now);
        true
    }
}
