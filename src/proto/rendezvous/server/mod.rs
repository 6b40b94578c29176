//! The rendezvous server: answers lines, and keeps who can be reached.
//!
//! To a client without `HELLO` it is pyp2p's server, with two differences that do not show on the wire: a node is an
//! address and a port (so several of one machine or household are listed), and nodes on loopback are told to askers on
//! loopback. What it adds (`wire::rendezvous::Features`) goes only to clients that showed that they know it.
//!
//! It is made of tables: [`registry`] holds who listens and can be dialled, [`simultaneous`] who can only be punched, and
//! who wants to, [`probes`] whose port is being tried; [`identities`] who has proven which id, [`shares`] who said
//! how much to whom, [`mailbox`] what was said to who is not there, [`observations`] where somebody was seen a moment ago, and [`relays`] who is connected to whom by
//! way of the server.
//!
//! What clients can make it hold is bounded by [`Limits`]; what they send that is no request costs them nothing and
//! gets them nothing, as in pyp2p.

mod action;
mod addresses;
mod counts;
mod identities;
mod ids;
mod limits;
mod mailbox;
mod observations;
mod probes;
mod proven;
mod registry;
mod relays;
mod sender;
mod shares;
mod simultaneous;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::proto::deadlines::Deadlines;
use crate::proto::household::household;
use crate::random::Random;
use crate::time::{Instant, soonest};
use crate::wire::foreign::Foreign;
use crate::wire::proof::ProofRole;
use crate::wire::relay::RelayRefusal;
use crate::wire::rendezvous::{
    Features, MAX_OBSERVERS, Ntp, Observer, Ports, Reply, Request, Token, Verdict, write_nodes,
};
pub(crate) use action::{CloseWhy, ServerAction, ServerNews};
use addresses::OwnAddresses;
use identities::Identities;
pub(crate) use ids::{ClientId, ProbeId};
pub(crate) use limits::Limits;
use mailbox::Mailbox;
use observations::Observations;
use probes::{Done, Probes};
use proven::{Nonce, Proven};
use registry::{Asker, Lasts, NoRoom, Registry, reaches};
use relays::Relays;
use shares::Shares;
use simultaneous::{Candidate, SimultaneousOpens, Summons};

/// The server's state. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Server {
    limits: Limits,
    own: OwnAddresses,
    random: Random,
    wall_at_origin: Duration,
    clients: HashMap<ClientId, Client>,
    /// Connections from each household.
    households: HashMap<IpAddr, usize>,
    registry: Registry,
    simultaneous_opens: SimultaneousOpens,
    probes: Probes,
    identities: Identities,
    shares: Shares,
    signals: SignalCounts,
    mailbox: Mailbox,
    observations: Observations,
    relays: Relays,
    /// Where it listens.
    places: Vec<SocketAddr>,
    idle: Deadlines<ClientId>,
    actions: VecDeque<ServerAction>,
}

/// What became of signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SignalCounts {
    /// Given to their recipients, or kept for them.
    pub(crate) passed_on: u64,
    pub(crate) refused: u64,
}

#[derive(Debug)]
struct Client {
    ip: IpAddr,
    port: u16,
    /// Where it reached this server.
    local: SocketAddr,
    /// What was agreed; None without `HELLO`.
    features: Option<Features>,
    /// The port that this connection listed.
    passive: Option<u16>,
    /// This connection waits to be punched.
    simultaneous: bool,
    nonce: Nonce,
    proven: Option<Box<Proven>>,
    /// It is one half of a relay that runs: what it says is for the other half.
    is_spliced: bool,
    heard: Instant,
    due: Option<Instant>,
}

impl Server {
    /// A server whose clock's origin lies `wall_at_origin` after 1970; only meetings need to know.
    pub(crate) fn new(limits: Limits, random: Random, wall_at_origin: Duration) -> Self {
        let own = OwnAddresses::new(limits.public_addresses.clone(), limits.learns_addresses);
        Self {
            limits,
            own,
            random,
            wall_at_origin,
            clients: HashMap::new(),
            households: HashMap::new(),
            registry: Registry::new(),
            simultaneous_opens: SimultaneousOpens::new(),
            probes: Probes::new(),
            identities: Identities::new(),
            shares: Shares::new(),
            signals: SignalCounts::default(),
            mailbox: Mailbox::new(),
            observations: Observations::new(),
            relays: Relays::new(),
            places: Vec::new(),
            idle: Deadlines::new(),
            actions: VecDeque::new(),
        }
    }

    /// The server listens at these addresses, which may be unspecified ones. What to tell of them depends on who asks.
    pub(crate) fn handle_listening(&mut self, places: Vec<SocketAddr>) {
        self.places = places;
    }

    /// Clients may have dialled these addresses, other than those at which they arrive. See [`Limits::public_addresses`].
    pub(crate) fn set_public_addresses(&mut self, addresses: Vec<SocketAddr>) {
        self.own.set_public(addresses);
    }

    /// A connection was accepted; `local` is the address at which the client reached this server.
    pub(crate) fn handle_connected(
        &mut self,
        client: ClientId,
        peer: SocketAddr,
        local: SocketAddr,
        now: Instant,
    ) {
        self.handle_closed(client, now);
        let ip = peer.ip().to_canonical();
        if let Some(why) = self.refusal(ip) {
            self.actions.push_back(ServerAction::Close { client, why });
            return;
        }
        *self.households.entry(household(ip)).or_default() += 1;
        let mut state = Client {
            ip,
            port: peer.port(),
            local: SocketAddr::new(local.ip().to_canonical(), local.port()),
            features: None,
            passive: None,
            simultaneous: false,
            nonce: Nonce::Unsaid,
            proven: None,
            is_spliced: false,
            heard: now,
            due: None,
        };
        self.idle.set(client, &mut state.due, Some(now + self.limits.idle));
        self.clients.insert(client, state);
    }

    /// A line came, without its end. The answer, if there is one, is appended to `reply`.
    pub(crate) fn handle_line(&mut self, client: ClientId, line: &[u8], now: Instant, reply: &mut Vec<u8>) {
        let Some(state) = self.clients.get_mut(&client) else { return };
        state.heard = now;
        if state.is_spliced {
            return;
        }
        let Some(request) = Request::parse(line) else { return };
        if self.limits.relays_only && !leads_to_relay(&request) {
            return;
        }
        match request {
            Request::Bootstrap { count } => {
                let asker = state.asker();
                write_nodes(reply, |out| self.registry.pick(asker, count.into(), &mut self.random, out));
            }
            Request::Hello(features) => self.hello(client, features, now, reply),
            Request::Whoami => self.whoami(client, reply),
            Request::Ping(token) => self.ping(token, reply),
            Request::Pong(token) => self.pong(client, token),
            Request::Observers => self.observers(client, reply),
            Request::Probe { port, nonce } => self.probe(client, port, nonce, now, reply),
            Request::Prove(proof) => self.prove(client, &proof, now, reply),
            Request::Observe(token) => self.observe(client, token, now, reply),
            Request::Signal(signal) => self.signal(client, *signal, now, reply),
            Request::Relay(ticket) => self.relay(client, &ticket, now, reply),
            Request::Source { .. } => Reply::Remote { port: state.port }.write(reply),
            Request::Passive { port, .. } => self.passive(client, port, now, reply),
            Request::Simultaneous { port, .. } => self.simultaneous(client, port, now, reply),
            Request::Candidate { ip, ports } => self.candidate(client, ip, ports, now, reply),
            Request::Accept { ip, ports, ntp } => self.accept(client, ip, ports, ntp, now),
            Request::Clear => self.clear(client),
            Request::Quit => self.close(client, CloseWhy::Quit, now),
        }
    }

    /// A client began with another protocol. It is hung up on, whatever it says next: lines of ours can be in there, which
    /// whoever made it say them must not be able to say.
    pub(crate) fn handle_foreign(&mut self, client: ClientId, foreign: Foreign, now: Instant) {
        if self.clients.contains_key(&client) {
            self.close(client, CloseWhy::Foreign(foreign), now);
        }
    }

    /// The first line that came from a probed port, without its end.
    pub(crate) fn handle_probe_line(&mut self, probe: ProbeId, line: &[u8]) {
        self.probes.handle_line(probe, line);
    }

    /// This computer has no means left to try a port. That says nothing of the port, nor when it became known.
    pub(crate) fn handle_probe_untried(&mut self, probe: ProbeId) {
        self.probes.handle_untried(probe);
    }

    /// A connection is gone. Unknown and forgotten clients are fine.
    pub(crate) fn handle_closed(&mut self, client: ClientId, now: Instant) {
        let Some(mut state) = self.clients.remove(&client) else { return };
        self.idle.set(client, &mut state.due, None);
        let home = household(state.ip);
        if let Some(count) = self.households.get_mut(&home) {
            *count -= 1;
            if *count == 0 {
                self.households.remove(&home);
            }
        }
        if let Some(port) = state.passive {
            self.registry.closed((state.ip, port), client, now, &self.limits);
        }
        if state.simultaneous {
            self.simultaneous_opens.closed(state.ip, client);
        }
        if let Some(proven) = state.proven
            && let Some(next) = self.identities.release(proven.id, client)
        {
            self.promote(proven.id, next, now);
        }
        self.relays.closed(client, &self.limits, now);
        let abandoned = self.probes.drop_of(client).into_iter();
        self.actions.extend(abandoned.map(|probe| ServerAction::Abandon { probe }));
    }

    /// Time passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.registry.expire(now);
        self.simultaneous_opens.expire(now);
        self.probes.expire(now);
        self.shares.expire(now);
        self.mailbox.expire(now, &self.limits);
        self.observations.expire(now, &self.limits);
        self.relays.expire(now, &self.limits);
        self.replace_silent(now);
        while let Some(client) = self.relays.pop_absent(&self.limits, now) {
            self.tell(client, &Reply::Refused(RelayRefusal::Absent));
        }
        while let Some(done) = self.probes.pop_due(now) {
            self.probed(done);
        }
        while let Some(client) = self.idle.pop_due(now) {
            self.check_idle(client, now);
        }
    }

    /// When `handle_timeout` is due. Earlier calls do nothing; later ones keep the dead listed meanwhile.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let tables = soonest(self.registry.next_deadline(), self.simultaneous_opens.next_deadline());
        let tables = soonest(tables, self.identities.next_deadline());
        let tables = soonest(tables, self.shares.next_deadline());
        let tables = soonest(tables, self.mailbox.next_deadline(&self.limits));
        let tables = soonest(tables, self.observations.next_deadline(&self.limits));
        let tables = soonest(tables, self.relays.next_deadline(&self.limits));
        soonest(soonest(tables, self.idle.next()), self.probes.next_deadline())
    }

    /// What is to be done next; to be asked until there is nothing.
    pub(crate) fn poll_action(&mut self) -> Option<ServerAction> {
        self.actions.pop_front()
    }

    /// Connections that it knows.
    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Nodes that it lists.
    pub(crate) fn nodes(&self) -> usize {
        self.registry.len()
    }

    /// Signals that wait for their recipient.
    pub(crate) fn mail(&self) -> usize {
        self.mailbox.len()
    }

    /// Signals since it was started.
    pub(crate) fn signals(&self) -> SignalCounts {
        self.signals
    }

    /// Ids that are proven for signals.
    pub(crate) fn identities(&self) -> usize {
        self.identities.len()
    }

    /// Relays that run.
    pub(crate) fn relays(&self) -> usize {
        self.relays.running()
    }

    /// Why nobody from there may connect now, if so: to be asked before a connection costs anything.
    pub(crate) fn refusal(&self, ip: IpAddr) -> Option<CloseWhy> {
        let here = self.households.get(&household(ip)).copied().unwrap_or_default();
        if self.clients.len() >= self.limits.clients {
            return Some(CloseWhy::Full);
        }
        let crowded = here >= self.limits.clients_per_address && !ip.is_loopback();
        crowded.then_some(CloseWhy::AddressFull)
    }

    fn hello(&mut self, client: ClientId, features: Features, now: Instant, reply: &mut Vec<u8>) {
        let Some(state) = self.clients.get_mut(&client) else { return };
        let agreed = features.and(self.limits.features);
        state.features = Some(agreed);
        let idle = if agreed.has(Features::PING) { self.limits.ping_idle } else { self.limits.idle };
        self.idle.set(client, &mut state.due, Some(now + idle));
        let nonce = agreed.has(Features::ID).then(|| state.nonce.say(&mut self.random)).flatten();
        Reply::Hello { features: agreed, nonce }.write(reply);
    }

    /// To ask is to know the answer, so `WHOAMI`, `PING`, `OBSERVERS`, `PROBE` and `OBSERVE` need no `HELLO`: who
    /// types by hand has less to type.
    fn whoami(&self, client: ClientId, reply: &mut Vec<u8>) {
        let Some(state) = self.clients.get(&client) else { return };
        if self.limits.features.has(Features::SEEN) {
            Reply::Seen(SocketAddr::new(state.ip, state.port)).write(reply);
        }
    }

    fn ping(&self, token: Token, reply: &mut Vec<u8>) {
        if self.limits.features.has(Features::PING) {
            Reply::Pong(token).write(reply);
        }
    }

    fn observers(&self, client: ClientId, reply: &mut Vec<u8>) {
        let Some(state) = self.clients.get(&client) else { return };
        if self.limits.features.has(Features::OBSERVERS) {
            Reply::Observers(self.places_for(state)).write(reply);
        }
    }

    /// Where else a client can reach this server: at addresses of its own family, on loopback only from loopback.
    fn places_for(&self, client: &Client) -> Vec<Observer> {
        let mut observers = Vec::new();
        for place in &self.places {
            let (ip, port) = (place.ip().to_canonical(), place.port());
            // An unspecified IPv6 address takes IPv4 too, see `io::listener`.
            let takes = ip.is_ipv4() == client.ip.is_ipv4() || ip == Ipv6Addr::UNSPECIFIED;
            let asked = ip.is_unspecified() || ip == client.local.ip();
            let observer = Observer { ip: (!asked).then_some(ip), port };
            let other = !asked || port != client.local.port();
            if takes && other && reaches(client.ip, ip) && !observers.contains(&observer) {
                observers.push(observer);
            }
        }
        observers.truncate(MAX_OBSERVERS);
        observers
    }

    /// Only ever at the asker's own address: nobody else can be aimed at.
    fn probe(&mut self, client: ClientId, port: u16, nonce: Token, now: Instant, reply: &mut Vec<u8>) {
        let Some(state) = self.clients.get(&client) else { return };
        if !self.limits.features.has(Features::PROBE) {
            return;
        }
        let (to, from) = (SocketAddr::new(state.ip, port), state.local.ip());
        let room = self.actions.len() < self.limits.actions;
        let begun =
            room.then(|| self.probes.begin(client, state.ip, (port, nonce), &self.limits, now)).flatten();
        match begun {
            Some(probe) => self.actions.push_back(ServerAction::Dial { probe, to, from }),
            None => Reply::Probed { port, verdict: Verdict::Later }.write(reply),
        }
    }

    fn probed(&mut self, done: Done) {
        let Done { probe, client, port, verdict } = done;
        self.tell(client, &Reply::Probed { port, verdict });
        self.actions.push_back(ServerAction::Abandon { probe });
    }

    /// A connection lists one port: another replaces it.
    fn passive(&mut self, client: ClientId, port: u16, now: Instant, reply: &mut Vec<u8>) {
        let Some(state) = self.clients.get_mut(&client) else { return };
        if let Some(before) = state.passive.take_if(|before| *before != port) {
            self.registry.clear_own((state.ip, before), client);
        }
        let answers = state.knows(Features::LISTED);
        let lasts = if answers { Lasts::Connected } else { Lasts::ADay };
        let result = self.registry.register((state.ip, port), client, lasts, now, &self.limits);
        if result.is_ok() {
            state.passive = Some(port);
        }
        confirm(answers, &result, port, reply);
    }

    /// Whoever waited for this node to come back is announced to it at once.
    fn simultaneous(&mut self, client: ClientId, port: u16, now: Instant, reply: &mut Vec<u8>) {
        let Some(state) = self.clients.get_mut(&client) else { return };
        let result = self.simultaneous_opens.register(state.ip, client, now, &self.limits);
        state.simultaneous |= result.is_ok();
        let (ip, answers) = (state.ip, state.knows(Features::LISTED));
        confirm(answers, &result, port, reply);
        if result.is_ok() {
            self.simultaneous_opens.expire(now);
            let waiting = self.simultaneous_opens.unaccepted(ip);
            for candidate in waiting.filter(|candidate| self.clients.contains_key(&candidate.client)) {
                Reply::Challenge { ip: candidate.ip, ports: candidate.ports.clone() }.write(reply);
            }
        }
    }

    fn candidate(&mut self, client: ClientId, node: IpAddr, ports: Ports, now: Instant, reply: &mut Vec<u8>) {
        let Some(ip) = self.clients.get(&client).map(|state| state.ip) else { return };
        // Two addresses of different families can not meet, nor can two on different machines' loopbacks.
        if ip.is_ipv4() != node.is_ipv4() || !reaches(ip, node) || !reaches(node, ip) {
            return;
        }
        let candidate = Candidate { ip, client, ports: ports.clone(), since: now };
        let Some(summons) = self.simultaneous_opens.candidate(node, candidate, now, &self.limits) else {
            return;
        };
        Reply::PredictionSet.write(reply);
        match summons {
            Summons::Challenge(to) => self.tell(to, &Reply::Challenge { ip, ports }),
            Summons::Reconnect(to) => self.tell(to, &Reply::Reconnect),
        }
    }

    fn accept(&mut self, client: ClientId, candidate: IpAddr, ports: Ports, ntp: Ntp, now: Instant) {
        /// pyp2p's server passes on no meeting that lies further from its own clock.
        const FAR: Duration = Duration::from_secs(600);
        let wall = self.wall_at_origin.saturating_add(now.since_origin());
        let Some(ip) = self.clients.get(&client).map(|state| state.ip) else { return };
        if ntp.distance(wall) > FAR {
            return;
        }
        if let Some(to) = self.simultaneous_opens.accept(ip, client, candidate) {
            self.tell(to, &Reply::Fight { ip, ports, ntp });
        }
    }

    /// A client of pyp2p's clears on a connection of its own, so for those it is their address that is forgotten.
    fn clear(&mut self, client: ClientId) {
        let Some(state) = self.clients.get_mut(&client) else { return };
        if let Some(port) = state.passive.take() {
            self.registry.clear_own((state.ip, port), client);
        }
        let extended = state.features.is_some();
        if state.simultaneous || !extended {
            self.simultaneous_opens.clear(state.ip, extended.then_some(client));
        }
        state.simultaneous = false;
        if !extended {
            self.registry.clear_address(state.ip);
        }
    }

    fn close(&mut self, client: ClientId, why: CloseWhy, now: Instant) {
        self.handle_closed(client, now);
        self.actions.push_back(ServerAction::Close { client, why });
    }

    fn tell_host(&mut self, news: ServerNews) {
        if self.actions.len() < self.limits.actions {
            self.actions.push_back(ServerAction::Tell(news));
        }
    }

    /// Lines do not move the deadline, which would cost each of them a search; it is looked at when it comes.
    fn check_idle(&mut self, client: ClientId, now: Instant) {
        let Some(state) = self.clients.get_mut(&client) else { return };
        let pings = state.knows(Features::PING);
        let idle = if pings { self.limits.ping_idle } else { self.limits.idle };
        let waits = state.simultaneous && !pings;
        let end = if waits { now + idle } else { state.heard + idle };
        if end > now {
            self.idle.set(client, &mut state.due, Some(end));
        } else {
            self.close(client, CloseWhy::Idle, now);
        }
    }

    /// Sends a line that was not asked for. IPv6 is not for those who did not say that they read it.
    fn tell(&mut self, to: ClientId, line: &Reply) {
        let Some(state) = self.clients.get(&to) else { return };
        let v6 = matches!(line, Reply::Challenge { ip, .. } | Reply::Fight { ip, .. } if ip.is_ipv6());
        if !v6 || state.knows(Features::PEERS) {
            let mut text = Vec::new();
            line.write(&mut text);
            self.send(to, text);
        }
    }

    /// Whether it is on its way.
    fn send(&mut self, to: ClientId, text: Vec<u8>) -> bool {
        let listens = self.clients.get(&to).is_some_and(|state| !state.is_spliced);
        let possible = listens && self.actions.len() < self.limits.actions;
        if possible {
            self.actions.push_back(ServerAction::Send { client: to, text });
        }
        possible
    }
}

impl Client {
    fn knows(&self, feature: Features) -> bool {
        self.features.is_some_and(|features| features.has(feature))
    }

    fn asker(&self) -> Asker {
        Asker { ip: self.ip, port: self.passive, peers: self.knows(Features::PEERS) }
    }
}

/// Whether a request takes part in coming to a relay, or in leaving.
fn leads_to_relay(request: &Request) -> bool {
    match request {
        Request::Hello(_) | Request::Relay(_) | Request::Quit => true,
        Request::Prove(proof) => proof.role == ProofRole::Relay,
        _ => false,
    }
}

fn confirm(answers: bool, result: &Result<(), NoRoom>, port: u16, reply: &mut Vec<u8>) {
    if answers {
        let line = if result.is_ok() { Reply::Listed { port } } else { Reply::Full };
        line.write(reply);
    }
}
