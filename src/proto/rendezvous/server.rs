//! The rendezvous server: answers lines, and keeps who can be reached.
//!
//! To a client without `HELLO` it is pyp2p's server, with two differences that do not show on the wire: a node is an
//! address and a port (so several of one machine or household are listed), and nodes on loopback are told to askers on
//! loopback. What it adds (`wire::rendezvous::Features`) goes only to clients that showed that they know it.
//!
//! What clients can make it hold is bounded by [`Limits`]; what they send that is no request costs them nothing and
//! gets them nothing, as in pyp2p.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::deadlines::Deadlines;
use super::meetings::{Candidate, Meetings, Summons};
pub(crate) use super::probes::ProbeId;
use super::probes::{Done, Probes};
use super::reaches;
use super::registry::{Asker, Lasts, NoRoom, Registry};
use crate::proto::household::household;
use crate::random::Random;
use crate::time::{Instant, soonest};
use crate::wire::rendezvous::{
    Features, MAX_OBSERVERS, Ntp, Observer, Ports, Reply, Request, Token, Verdict, write_nodes,
};

/// A connection to the server, named by whoever holds the sockets. A name may be given again once `handle_closed` was called for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientId(pub(crate) u64);

/// What the server holds at most, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Connections. Default 65,536: clients of ours stay connected, so this bounds the network that one server serves;
    /// about 200 bytes each.
    pub(crate) clients: usize,
    /// Connections from one IPv4 address or IPv6 /64, loopback excepted. Default 256: a carrier's NAT puts many
    /// subscribers behind one address, but one flooder must not take all places.
    pub(crate) clients_per_address: usize,
    /// Nodes listed, and as many that can be punched. Default 65,536; about 300 bytes each.
    pub(crate) nodes: usize,
    /// Nodes listed at one IPv4 address or IPv6 /64, loopback excepted (tests run many nodes there). Default 32: a
    /// household or a small office; more would let one address fill the answers.
    pub(crate) nodes_per_address: usize,
    /// Candidates that wait for one node. Default 100, as in pyp2p.
    pub(crate) candidates: usize,
    /// Candidates in all. Default 65,536; about 100 bytes each, and they go after 120 s.
    pub(crate) candidates_in_all: usize,
    /// Probes at once. Default 256, a file descriptor each: with the default time that is 512 a second, and who is told
    /// to ask later does.
    pub(crate) probes: usize,
    /// Probes at once for one client. Default 4: a node has few ports, and knows them.
    pub(crate) probes_per_client: usize,
    /// Probes in a minute for one IPv4 address or IPv6 /64, loopback excepted. Default 10: a few nodes of a household
    /// that start, and no port scan.
    pub(crate) probes_per_address: usize,
    /// Probes in a minute for all addresses but loopback, as that many are remembered. Default 65,536; about 100 bytes
    /// each.
    pub(crate) probes_a_minute: usize,
    /// A probe is answered so long after the question, whatever came of it. Default 500 ms: three round trips of 160.
    pub(crate) probe_time: Duration,
    /// What waits for `poll_action`: lines to others than the asker, beyond which they are dropped. Default 4096,
    /// far more than one input makes.
    pub(crate) actions: usize,
    /// Extensions offered. Default: all.
    pub(crate) features: Features,
    /// A passive registration without the feature `listed` lasts so long. Default 24 h, as in pyp2p.
    pub(crate) passive_lifetime: Duration,
    /// How long a registration with the feature `listed` outlives its connection. Default 2 min: to come back after
    /// a short outage keeps the place, and who is gone is soon told to nobody.
    pub(crate) grace: Duration,
    /// Who agreed on `ping` and is silent for so long is gone. Default 3 min: three pings missed.
    pub(crate) ping_idle: Duration,
    /// Others are closed after this silence, except who waits to be punched. Default 15 min: somebody who types by
    /// hand may think, and abandoned connections do not pile up.
    pub(crate) idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self {
            clients: 65_536,
            clients_per_address: 256,
            nodes: 65_536,
            nodes_per_address: 32,
            candidates: 100,
            candidates_in_all: 65_536,
            probes: 256,
            probes_per_client: 4,
            probes_per_address: 10,
            probes_a_minute: 65_536,
            probe_time: Duration::from_millis(500),
            actions: 4096,
            features: Features::ALL,
            passive_lifetime: minutes(24 * 60),
            grace: minutes(2),
            ping_idle: minutes(3),
            idle: minutes(15),
        }
    }
}

/// What the holder of the sockets is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerAction {
    /// Write to a client that is not the one being answered.
    Send { client: ClientId, text: Vec<u8> },
    /// Close, after what was written (the `reply` too) has gone out. The server has forgotten the client already.
    Close { client: ClientId, why: CloseWhy },
    /// Connect to `to`, an address of the asker's, from the address at which it reached this server; say the prompt of
    /// [`probe`](crate::wire::probe), and tell the first line by `handle_probe_line`. A failure need not be told,
    /// unless it was this computer's: `handle_probe_untried`.
    Dial { probe: ProbeId, to: SocketAddr, from: IpAddr },
    /// Drop that connection, or the attempt, if there still is one.
    Abandon { probe: ProbeId },
}

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseWhy {
    /// The client asked for it.
    Quit,
    /// Nothing came for too long.
    Idle,
    /// [`Limits::clients`] are connected.
    Full,
    /// [`Limits::clients_per_address`] are connected from there.
    AddressFull,
}

/// The server's state. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Server {
    limits: Limits,
    random: Random,
    wall_at_origin: Duration,
    clients: HashMap<ClientId, Client>,
    /// Connections from each household.
    households: HashMap<IpAddr, usize>,
    registry: Registry,
    meetings: Meetings,
    probes: Probes,
    /// Where it listens.
    places: Vec<SocketAddr>,
    idle: Deadlines<ClientId>,
    actions: VecDeque<ServerAction>,
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
    heard: Instant,
    due: Option<Instant>,
}

impl Server {
    /// A server whose clock's origin lies `wall_at_origin` after 1970; only meetings need to know.
    pub(crate) fn new(limits: Limits, random: Random, wall_at_origin: Duration) -> Self {
        Self {
            limits,
            random,
            wall_at_origin,
            clients: HashMap::new(),
            households: HashMap::new(),
            registry: Registry::new(),
            meetings: Meetings::new(),
            probes: Probes::new(),
            places: Vec::new(),
            idle: Deadlines::new(),
            actions: VecDeque::new(),
        }
    }

    /// The server listens at these addresses, which may be unspecified ones. What to tell of them depends on who asks.
    pub(crate) fn handle_listening(&mut self, places: Vec<SocketAddr>) {
        self.places = places;
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
        let Some(request) = Request::parse(line) else { return };
        match request {
            Request::Bootstrap { count } => {
                let asker = state.asker();
                write_nodes(reply, |out| self.registry.pick(asker, count.into(), &mut self.random, out));
            }
            Request::Hello(features) => self.hello(client, features, now, reply),
            Request::Whoami => self.whoami(client, reply),
            Request::Ping(token) => self.ping(token, reply),
            Request::Observers => self.observers(client, reply),
            Request::Probe { port, nonce } => self.probe(client, port, nonce, now, reply),
            Request::Source { .. } => Reply::Remote { port: state.port }.write(reply),
            Request::Passive { port, .. } => self.passive(client, port, now, reply),
            Request::Simultaneous { port, .. } => self.simultaneous(client, port, now, reply),
            Request::Candidate { ip, ports } => self.candidate(client, ip, ports, now, reply),
            Request::Accept { ip, ports, ntp } => self.accept(client, ip, ports, ntp, now),
            Request::Clear => self.clear(client),
            Request::Quit => self.close(client, CloseWhy::Quit, now),
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
            self.meetings.closed(state.ip, client);
        }
        let abandoned = self.probes.drop_of(client).into_iter();
        self.actions.extend(abandoned.map(|probe| ServerAction::Abandon { probe }));
    }

    /// Time passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.registry.expire(now);
        self.meetings.expire(now);
        self.probes.expire(now);
        while let Some(done) = self.probes.pop_due(now) {
            self.probed(done);
        }
        while let Some(client) = self.idle.pop_due(now) {
            self.check_idle(client, now);
        }
    }

    /// When `handle_timeout` is due. Earlier calls do nothing; later ones keep the dead listed meanwhile.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let tables = soonest(self.registry.next_deadline(), self.meetings.next_deadline());
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
        Reply::Hello(agreed).write(reply);
    }

    /// To ask is to know the answer, so `WHOAMI`, `PING`, `OBSERVERS` and `PROBE` need no `HELLO`: who types by hand has
    /// less to type.
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
        let result = self.meetings.register(state.ip, client, now, &self.limits);
        state.simultaneous |= result.is_ok();
        let (ip, answers) = (state.ip, state.knows(Features::LISTED));
        confirm(answers, &result, port, reply);
        if result.is_ok() {
            self.meetings.expire(now);
            let waiting = self.meetings.unaccepted(ip);
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
        let Some(summons) = self.meetings.candidate(node, candidate, now, &self.limits) else { return };
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
        if let Some(to) = self.meetings.accept(ip, client, candidate) {
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
            self.meetings.clear(state.ip, extended.then_some(client));
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
        if self.actions.len() >= self.limits.actions || v6 && !state.knows(Features::PEERS) {
            return;
        }
        let mut text = Vec::new();
        line.write(&mut text);
        self.actions.push_back(ServerAction::Send { client: to, text });
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

fn confirm(answers: bool, result: &Result<(), NoRoom>, port: u16, reply: &mut Vec<u8>) {
    if answers {
        let line = if result.is_ok() { Reply::Listed { port } } else { Reply::Full };
        line.write(reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: u64 = 1_700_000_000;

    /// A server at a time, spoken to as by hand.
    struct Desk {
        server: Server,
        now: Instant,
    }

    impl Desk {
        fn new() -> Self {
            Self::with(Limits::default())
        }

        fn with(limits: Limits) -> Self {
            let server = Server::new(limits, Random::from_number(1), Duration::from_secs(WALL));
            Self { server, now: Instant::ZERO }
        }

        fn at(&mut self, seconds: u64) -> &mut Self {
            self.at_millis(1000 * seconds)
        }

        fn at_millis(&mut self, millis: u64) -> &mut Self {
            self.now = Instant::ZERO + Duration::from_millis(millis);
            while self.server.poll_timeout().is_some_and(|due| due <= self.now) {
                self.server.handle_timeout(self.now);
            }
            self
        }

        fn connect(&mut self, client: u64, peer: &str) -> &mut Self {
            let v6 = peer.starts_with('[') && !peer.contains("ffff");
            self.connect_at(client, peer, if v6 { "[2001:db8::8000]:8000" } else { "192.0.2.1:8000" })
        }

        fn connect_at(&mut self, client: u64, peer: &str, local: &str) -> &mut Self {
            let (peer, local) = (peer.parse().unwrap(), local.parse().unwrap());
            self.server.handle_connected(ClientId(client), peer, local, self.now);
            self
        }

        fn close(&mut self, client: u64) -> &mut Self {
            self.server.handle_closed(ClientId(client), self.now);
            self
        }

        /// The answer, with line ends as `|`.
        fn say(&mut self, client: u64, line: &str) -> String {
            let mut reply = Vec::new();
            self.server.handle_line(ClientId(client), line.as_bytes(), self.now, &mut reply);
            String::from_utf8(reply).unwrap().replace("\r\n", "|")
        }

        fn silent(&mut self, client: u64, line: &str) -> &mut Self {
            assert_eq!(self.say(client, line), "", "{line}");
            self
        }

        /// The probes that are to be dialled, and where.
        fn dials(&mut self) -> Vec<(ProbeId, SocketAddr, IpAddr)> {
            let actions = std::iter::from_fn(|| self.server.poll_action());
            let dials = actions.map(|action| match action {
                ServerAction::Dial { probe, to, from } => (probe, to, from),
                other => panic!("{other:?}"),
            });
            dials.collect()
        }

        fn told(&mut self) -> Vec<(u64, String)> {
            std::iter::from_fn(|| self.server.poll_action())
                .map(|action| match action {
                    ServerAction::Send { client, text } => {
                        (client.0, String::from_utf8(text).unwrap().trim_end().into())
                    }
                    ServerAction::Close { client, why } => (client.0, format!("{why:?}")),
                    other => (0, format!("{other:?}")),
                })
                .collect()
        }
    }

    const HELLO: &str = "HELLO p2poll 1 peers seen ping listed observers probe";

    #[test]
    fn a_passive_node_is_told_to_others_for_a_day() {
        let mut desk = Desk::new();
        desk.connect(1, "203.0.113.7:4000").silent(1, "PASSIVE READY 44444 10").close(1);
        desk.connect(2, "198.51.100.1:4000");
        assert_eq!(desk.say(2, "BOOTSTRAP 10"), "NODES p:203.0.113.7:44444 |");
        desk.at(24 * 3600 - 1).connect(3, "198.51.100.1:4000");
        assert_eq!(desk.say(3, "BOOTSTRAP 1"), "NODES p:203.0.113.7:44444 |");
        desk.at(24 * 3600);
        assert_eq!(desk.say(3, "BOOTSTRAP 1"), "NODES EMPTY|");
    }

    #[test]
    fn what_is_no_request_gets_silence() {
        let mut desk = Desk::new();
        desk.connect(1, "203.0.113.7:4000");
        for line in
            ["", "BOOTSTRAP 0", "BOOTSTRAP 101", "PASSIVE READY 0 1", "GET / HTTP/1.1", "help", "\u{0}"]
        {
            desk.silent(1, line);
        }
        desk.silent(9, "BOOTSTRAP 1");
        assert_eq!(desk.say(1, "SOURCE TCP 7"), "REMOTE TCP 4000|");
        assert_eq!(desk.say(1, "SOURCE TCP"), "REMOTE TCP 4000|");
        assert_eq!(desk.server.nodes(), 0);
    }

    #[test]
    fn an_old_client_never_sees_its_own_address() {
        let mut desk = Desk::new();
        desk.connect(1, "203.0.113.7:1").silent(1, "PASSIVE READY 1 1");
        desk.connect(2, "203.0.113.7:2").silent(2, "PASSIVE READY 2 1");
        assert_eq!(desk.say(2, "BOOTSTRAP 10"), "NODES EMPTY|");
        desk.connect(3, "203.0.113.8:2");
        assert!(desk.say(3, "BOOTSTRAP 10").contains("p:203.0.113.7:2 "), "both are nodes to others");
    }

    #[test]
    fn loopback_is_told_on_loopback_only_and_nobody_is_told_itself() {
        let mut desk = Desk::new();
        desk.connect(1, "127.0.0.1:1").silent(1, "PASSIVE READY 5001 1");
        assert_eq!(desk.say(1, "BOOTSTRAP 10"), "NODES EMPTY|");
        desk.connect(2, "127.0.0.1:2").silent(2, "PASSIVE READY 5002 1");
        assert_eq!(desk.say(2, "BOOTSTRAP 10"), "NODES p:127.0.0.1:5001 |");
        desk.connect(3, "127.0.7.7:2");
        assert!(desk.say(3, "BOOTSTRAP 10").contains("p:127.0.0.1:5002 "));
        desk.connect(4, "203.0.113.7:1");
        assert_eq!(desk.say(4, "BOOTSTRAP 10"), "NODES EMPTY|");
    }

    #[test]
    fn only_who_said_hello_sees_ipv6_neighbours_and_who_is_newer() {
        let mut desk = Desk::new();
        desk.connect(1, "203.0.113.7:1");
        assert_eq!(desk.say(1, HELLO), format!("{HELLO}|"));
        assert_eq!(desk.say(1, "PASSIVE READY 1 1"), "LISTED 1|");
        desk.connect(2, "203.0.113.7:2").silent(2, "PASSIVE READY 2 1");
        assert_eq!(desk.say(1, "BOOTSTRAP 9"), "NODES p+:203.0.113.7:2 |");
        desk.connect(3, "[2001:db8::1]:3");
        desk.say(3, HELLO);
        assert_eq!(desk.say(3, "PASSIVE READY 3 1"), "LISTED 3|");
        assert!(desk.say(1, "BOOTSTRAP 9").contains("p+:[2001:db8::1]:3 "));
        assert!(!desk.say(3, "BOOTSTRAP 9").contains("p+"));
        desk.connect(4, "198.51.100.1:4");
        assert!(!desk.say(4, "BOOTSTRAP 9").contains('['));
        desk.say(4, "HELLO p2poll 1 telepathy");
        assert!(!desk.say(4, "BOOTSTRAP 9").contains('['));
    }

    #[test]
    fn who_registers_again_is_no_newer_than_before() {
        let mut desk = Desk::new();
        for (client, peer) in [(1, "203.0.113.7:1"), (2, "203.0.113.8:1")] {
            desk.connect(client, peer).say(client, HELLO);
            desk.say(client, "PASSIVE READY 1 1");
        }
        desk.close(1).at(60).connect(3, "203.0.113.7:9").say(3, HELLO);
        desk.say(3, "PASSIVE READY 1 1");
        assert_eq!(desk.say(2, "BOOTSTRAP 9"), "NODES p:203.0.113.7:1 |");
        assert_eq!(desk.say(3, "BOOTSTRAP 9"), "NODES p+:203.0.113.8:1 |");
    }

    #[test]
    fn ipv4_in_ipv6_is_an_old_clients_ipv4() {
        let mut desk = Desk::new();
        desk.connect(1, "[::ffff:203.0.113.7]:4000").silent(1, "PASSIVE READY 1 1");
        assert_eq!(desk.say(1, "WHOAMI"), "SEEN 203.0.113.7 4000|");
        desk.connect(2, "[::ffff:198.51.100.1]:1");
        assert_eq!(desk.say(2, "BOOTSTRAP 1"), "NODES p:203.0.113.7:1 |");
    }

    #[test]
    fn questions_of_the_extensions_are_answered() {
        let mut desk = Desk::new();
        desk.connect(1, "[2001:db8::1]:9");
        assert_eq!(desk.say(1, "HELLO p2poll 1 unknown ping"), "HELLO p2poll 1 ping|");
        assert_eq!(desk.say(1, "WHOAMI"), "SEEN [2001:db8::1] 9|");
        assert_eq!(desk.say(1, "PING 0123456789abcdef"), "PONG 0123456789abcdef|");
        desk.silent(1, "PASSIVE READY 1 1");
    }

    #[test]
    fn a_server_without_extensions_is_an_old_one() {
        let mut desk = Desk::with(Limits { features: Features::NONE, ..Limits::default() });
        desk.connect(1, "203.0.113.7:1");
        desk.silent(1, "WHOAMI").silent(1, "PING x");
    }

    #[test]
    fn a_listed_node_goes_two_minutes_after_its_connection() {
        let mut desk = Desk::new();
        desk.connect(1, "203.0.113.7:1").say(1, "HELLO p2poll 1 listed");
        assert_eq!(desk.say(1, "PASSIVE READY 1 1"), "LISTED 1|");
        desk.at(500).close(1);
        desk.at(619).connect(2, "198.51.100.1:1");
        assert_eq!(desk.say(2, "BOOTSTRAP 1"), "NODES p:203.0.113.7:1 |");
        desk.at(620);
        assert_eq!(desk.say(2, "BOOTSTRAP 1"), "NODES EMPTY|");
    }

    #[test]
    fn clear_forgets_an_old_clients_address_from_any_connection_but_nobody_elses() {
        let mut desk = Desk::new();
        desk.connect(1, "203.0.113.7:1").silent(1, "PASSIVE READY 1 1").close(1);
        desk.connect(2, "203.0.113.7:2").say(2, HELLO);
        desk.say(2, "PASSIVE READY 2 1");
        desk.connect(3, "203.0.113.8:2").silent(3, "PASSIVE READY 3 1");
        desk.connect(4, "203.0.113.7:9").silent(4, "CLEAR");
        assert_eq!(desk.server.nodes(), 2);
        desk.silent(2, "CLEAR");
        assert_eq!(desk.server.nodes(), 1);
    }

    #[test]
    fn a_connection_lists_one_port() {
        let mut desk = Desk::new();
        desk.connect(1, "203.0.113.7:1").say(1, HELLO);
        desk.say(1, "PASSIVE READY 1 1");
        assert_eq!(desk.say(1, "PASSIVE READY 2 1"), "LISTED 2|");
        assert_eq!(desk.server.nodes(), 1);
    }

    #[test]
    fn a_full_server_says_so_to_who_asks_for_an_answer() {
        let mut desk = Desk::with(Limits { nodes: 1, ..Limits::default() });
        desk.connect(1, "203.0.113.7:1").silent(1, "PASSIVE READY 1 1");
        desk.connect(2, "203.0.113.8:1").silent(2, "PASSIVE READY 1 1");
        desk.say(2, HELLO);
        assert_eq!(desk.say(2, "PASSIVE READY 1 1"), "FULL|");
    }

    fn puncher() -> Desk {
        let mut desk = Desk::new();
        desk.connect(1, "203.0.113.7:1").silent(1, "SIMULTANEOUS READY 0 0");
        desk.connect(2, "198.51.100.1:1");
        desk
    }

    #[test]
    fn a_punch_is_arranged_as_in_pyp2p() {
        let mut desk = puncher();
        assert_eq!(desk.say(2, "BOOTSTRAP 1"), "NODES EMPTY|", "who can only be punched is not listed");
        assert_eq!(desk.say(2, "CANDIDATE 203.0.113.7 TCP 4000 4001"), "PREDICTION SET|");
        assert_eq!(desk.told(), [(1, "CHALLENGE 198.51.100.1 4000 4001 TCP".into())]);
        desk.at(1).silent(1, "ACCEPT 198.51.100.1 5000 TCP 1700000001.25");
        assert_eq!(desk.told(), [(2, "FIGHT 203.0.113.7 5000 TCP 1700000001.25".into())]);
    }

    #[test]
    fn nobody_meets_who_is_unknown_gone_or_on_another_machines_loopback() {
        let mut desk = puncher();
        desk.connect(3, "127.0.0.1:1").silent(3, "SIMULTANEOUS READY 0 0");
        for line in [
            "CANDIDATE 203.0.113.9 TCP 1",
            "CANDIDATE 203.0.113.7 TCP 1 0",
            "CANDIDATE 203.0.113.7 TCP 1 65536",
            "CANDIDATE 127.0.0.1 TCP 1",
            "CANDIDATE [2001:db8::1] TCP 1",
        ] {
            desk.silent(2, line);
        }
        desk.close(1).silent(2, "CANDIDATE 203.0.113.7 TCP 1");
        assert_eq!(desk.told(), []);
    }

    #[test]
    fn a_meeting_over_ten_minutes_off_is_dropped() {
        let mut desk = puncher();
        desk.say(2, "CANDIDATE 203.0.113.7 TCP 4000");
        desk.told();
        for (ntp, passed_on) in [(WALL - 601, 0), (WALL - 600, 1), (WALL + 600, 1), (WALL + 601, 0)] {
            desk.silent(1, &format!("ACCEPT 198.51.100.1 5000 TCP {ntp}"));
            assert_eq!(desk.told().len(), passed_on, "{ntp}");
        }
        desk.silent(1, "ACCEPT 198.51.100.2 5000 TCP 1700000000");
        desk.silent(2, "ACCEPT 198.51.100.1 5000 TCP 1700000000");
        assert_eq!(desk.told(), []);
    }

    #[test]
    fn a_stale_registration_is_renewed_before_the_challenge() {
        let mut desk = puncher();
        desk.at(121);
        assert_eq!(desk.say(2, "CANDIDATE 203.0.113.7 TCP 4000"), "PREDICTION SET|");
        assert_eq!(desk.told(), [(1, "RECONNECT".into())]);
        desk.close(1).at(122).connect(3, "203.0.113.7:2");
        assert_eq!(desk.say(3, "SIMULTANEOUS READY 0 0"), "CHALLENGE 198.51.100.1 4000 TCP|");
        desk.silent(3, "ACCEPT 198.51.100.1 1 TCP 1700000122");
        assert_eq!(desk.told().len(), 1);
        assert_eq!(desk.say(3, "SIMULTANEOUS READY 0 0"), "", "it accepted that one");
    }

    #[test]
    fn cleared_nodes_are_not_punched() {
        let mut desk = puncher();
        desk.silent(1, "CLEAR").silent(2, "CANDIDATE 203.0.113.7 TCP 1");
    }

    #[test]
    fn quit_closes_and_what_follows_is_ignored() {
        let mut desk = Desk::new();
        desk.connect(1, "203.0.113.7:1").silent(1, "QUIT").silent(1, "BOOTSTRAP 1");
        assert_eq!(desk.told(), [(1, "Quit".into())]);
        assert_eq!((desk.server.clients(), desk.server.poll_timeout()), (0, None));
    }

    #[test]
    fn the_silent_are_closed_but_not_who_waits_to_be_punched() {
        let mut desk = puncher();
        desk.connect(3, "203.0.113.9:1").say(3, "HELLO p2poll 1 ping");
        desk.at(100).say(3, "PING x");
        desk.at(279);
        assert_eq!(desk.told(), []);
        desk.at(280);
        assert_eq!(desk.told(), [(3, "Idle".into())]);
        desk.at(900);
        assert_eq!(desk.told(), [(2, "Idle".into())]);
        desk.at(90_000);
        assert_eq!(desk.server.clients(), 1);
    }

    #[test]
    fn connections_are_bounded_in_all_and_for_each_address() {
        let limits = Limits { clients: 3, clients_per_address: 1, ..Limits::default() };
        let mut desk = Desk::with(limits);
        desk.connect(1, "203.0.113.7:1").connect(2, "203.0.113.7:2");
        desk.connect(3, "127.0.0.1:1").connect(4, "127.0.0.1:2").connect(5, "203.0.113.8:1");
        assert_eq!(desk.told(), [(2, "AddressFull".into()), (5, "Full".into())]);
        desk.close(1).connect(6, "203.0.113.7:3");
        assert_eq!((desk.told(), desk.server.clients()), (Vec::new(), 3));
    }

    #[test]
    fn notices_that_nobody_takes_do_not_pile_up() {
        let mut desk = puncher();
        desk.server.limits.actions = 5;
        for _ in 0..50 {
            desk.say(2, "CANDIDATE 203.0.113.7 TCP 1");
        }
        assert_eq!(desk.told().len(), 5);
    }

    const NONCE: &str = "0123456789abcdef0123456789abcdef";

    fn ask(port: u16) -> String {
        format!("PROBE {port} {NONCE}")
    }

    #[test]
    fn a_probe_goes_to_the_asker_from_where_it_asked_and_is_answered_after_a_fixed_time() {
        for (peer, local, to) in [
            ("203.0.113.7:4000", "192.0.2.2:8001", "203.0.113.7:50500"),
            ("[::ffff:203.0.113.7]:4000", "[::ffff:192.0.2.2]:8001", "203.0.113.7:50500"),
            ("[2001:db8::7]:4000", "[2001:db8::1]:8001", "[2001:db8::7]:50500"),
        ] {
            let mut desk = Desk::new();
            let local_ip = local.parse::<SocketAddr>().unwrap().ip().to_canonical();
            desk.connect_at(1, peer, local).silent(1, &ask(50500));
            let dials = desk.dials();
            assert_eq!(dials.len(), 1);
            assert_eq!((dials[0].1, dials[0].2), (to.parse().unwrap(), local_ip));
            desk.server.handle_probe_line(dials[0].0, format!("~probe {NONCE}").as_bytes());
            assert_eq!(desk.at_millis(499).told(), []);
            let told = desk.at_millis(500).told();
            let abandon = (0, format!("{:?}", ServerAction::Abandon { probe: dials[0].0 }));
            assert_eq!(told, [(1, "PROBED 50500 YES".into()), abandon]);
        }
    }

    /// What is said at the port, or nothing, is the same "no" at the same instant.
    #[test]
    fn who_does_not_prove_the_nonce_is_not_told_from_nobody() {
        let lines: [&[u8]; 8] = [
            b"",
            b"~probe",
            b"~probe 0123456789abcdef0123456789abcdee",
            b"~PROBE 0123456789abcdef0123456789abcdef",
            b"~probe 0123456789abcdef0123456789abcdef 1",
            b"SSH-2.0-OpenSSH_9.6",
            b"\xff\0",
            &[b'x'; 500],
        ];
        for line in lines.into_iter().map(Some).chain([None]) {
            let mut desk = Desk::new();
            desk.connect(1, "203.0.113.7:4000").silent(1, &ask(22));
            let (probe, ..) = desk.dials()[0];
            if let Some(line) = line {
                desk.server.handle_probe_line(probe, line);
            }
            assert_eq!(desk.at_millis(499).told(), []);
            assert_eq!(desk.at_millis(500).told()[0], (1, "PROBED 22 NO".into()));
        }
    }

    #[test]
    fn the_nonce_of_another_probe_proves_nothing() {
        let mut desk = Desk::new();
        desk.connect(1, "203.0.113.7:1").connect(2, "203.0.113.7:2");
        desk.silent(1, &ask(50500)).silent(2, "PROBE 50500 ffffffffffffffff");
        let dials = desk.dials();
        for (probe, ..) in dials {
            desk.server.handle_probe_line(probe, b"~probe ffffffffffffffff");
        }
        let told = desk.at(1).told();
        assert!(told.contains(&(1, "PROBED 50500 NO".into())), "{told:?}");
        assert!(told.contains(&(2, "PROBED 50500 YES".into())), "{told:?}");
    }

    #[test]
    fn a_client_has_four_probes_at_once_and_an_address_ten_a_minute() {
        let mut desk = Desk::new();
        desk.connect(1, "203.0.113.7:1").connect(2, "198.51.100.1:1");
        for port in 1..=4 {
            desk.silent(1, &ask(port));
        }
        assert_eq!(desk.say(1, &ask(5)), "PROBED 5 LATER|");
        desk.silent(2, &ask(5)).at(1).told();
        for port in 5..=8 {
            desk.silent(1, &ask(port));
        }
        desk.at(2).told();
        desk.silent(1, &ask(9)).silent(1, &ask(10)).at(59).told();
        desk.connect(3, "203.0.113.7:2");
        for client in [1, 3] {
            assert_eq!(desk.say(client, &ask(11)), "PROBED 11 LATER|");
        }
        desk.silent(2, &ask(6)).at(60).told();
        desk.silent(3, &ask(11));
        assert_eq!(desk.dials().len(), 1);
    }

    /// Whatever it asks for, an address makes the server connect to that address alone, and that not often.
    #[test]
    fn a_thousand_questions_are_ten_dials() {
        let mut desk = Desk::new();
        for client in 0..10 {
            desk.connect(client, &format!("203.0.113.7:{}", client + 1));
        }
        let mut dials = Vec::new();
        for port in 1..=1000u16 {
            desk.at_millis(u64::from(port) * 59).say(u64::from(port % 10), &ask(port));
            dials.extend(std::iter::from_fn(|| desk.server.poll_action()).filter_map(
                |action| match action {
                    ServerAction::Dial { to, .. } => Some(to.ip().to_string()),
                    _ => None,
                },
            ));
        }
        assert_eq!(dials, ["203.0.113.7"; 10]);
    }

    #[test]
    fn on_loopback_there_are_no_more_than_four_at_once_but_any_number_a_minute() {
        let mut desk = Desk::new();
        desk.connect_at(1, "127.0.0.1:1", "127.0.0.1:8000");
        for round in 0..50 {
            desk.at(round).told();
            for port in 1..=4 {
                desk.silent(1, &ask(port));
            }
            assert_eq!(desk.say(1, &ask(5)), "PROBED 5 LATER|");
        }
    }

    #[test]
    fn who_leaves_drops_its_probes_and_gets_no_answer() {
        let mut desk = Desk::new();
        desk.connect(1, "203.0.113.7:1").silent(1, &ask(1)).silent(1, &ask(2));
        let dials = desk.dials();
        desk.at_millis(100).close(1);
        let abandons =
            dials.iter().map(|(probe, ..)| (0, format!("{:?}", ServerAction::Abandon { probe: *probe })));
        assert_eq!(desk.told(), abandons.collect::<Vec<_>>());
        desk.connect(1, "203.0.113.7:1");
        desk.server.handle_probe_line(dials[0].0, format!("~probe {NONCE}").as_bytes());
        assert_eq!(desk.at(10).told(), []);
    }

    #[test]
    fn a_driver_that_does_nothing_makes_no_probes_pile_up() {
        let mut desk = Desk::with(Limits { actions: 3, ..Limits::default() });
        desk.connect_at(1, "127.0.0.1:1", "127.0.0.1:8000");
        let later = (0..100).filter(|n| desk.at(*n).say(1, &ask(1)) == "PROBED 1 LATER|").count();
        assert!(later > 90 && desk.told().len() < 10);
    }

    #[test]
    fn a_server_without_the_features_says_nothing_to_the_questions() {
        let features = Features::ALL.without(Features::PROBE).without(Features::OBSERVERS);
        let mut desk = Desk::with(Limits { features, ..Limits::default() });
        desk.connect(1, "203.0.113.7:1").silent(1, &ask(1)).silent(1, "OBSERVERS");
        assert_eq!(desk.told(), []);
    }

    #[test]
    fn a_client_is_told_of_places_that_it_can_reach_but_not_of_the_one_where_it_is() {
        let mut desk = Desk::new();
        desk.connect_at(1, "203.0.113.7:1", "192.0.2.1:8000");
        assert_eq!(desk.say(1, "OBSERVERS"), "OBSERVERS NONE|");
        let places = [
            "192.0.2.1:8000",
            "192.0.2.1:8001",
            "192.0.2.2:8000",
            "127.0.0.1:8000",
            "[2001:db8::1]:8000",
            "0.0.0.0:8002",
            "[::]:8003",
            "[::]:8000",
            "0.0.0.0:8001",
        ];
        desk.server.handle_listening(places.map(|place| place.parse().unwrap()).to_vec());
        assert_eq!(desk.say(1, "OBSERVERS"), "OBSERVERS :8001 192.0.2.2:8000 :8002 :8003|");
        desk.connect_at(2, "[2001:db8::7]:1", "[2001:db8::1]:8000");
        assert_eq!(desk.say(2, "OBSERVERS"), "OBSERVERS :8003|");
        desk.connect_at(3, "127.0.0.1:1", "127.0.0.1:8000");
        let loopback = "OBSERVERS 192.0.2.1:8000 192.0.2.1:8001 192.0.2.2:8000 :8002 :8003 :8001|";
        assert_eq!(desk.say(3, "OBSERVERS"), loopback);
        let many: Vec<SocketAddr> = (1..=16).map(|port| SocketAddr::from(([0; 4], port))).collect();
        desk.server.handle_listening(many);
        assert_eq!(desk.say(1, "OBSERVERS"), "OBSERVERS :1 :2 :3 :4 :5 :6 :7 :8|");
    }
}
