//! One connection of the client to its server: which answers are still to come, and by when.
//!
//! Servers answer in order, so an answer is recognised by what stands first in the queue; whatever else comes is a
//! notice or nonsense. Only the verdict on a port comes when its time has come: it is recognised by the port.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::advert::{Advert, AdvertKind};
use crate::identity::NodeId;
use crate::proto::peers::Source;
use crate::reach::ServerKind;
use crate::time::Instant;
use crate::wire::rendezvous::{Features, Listed, Observer, Reply, Request, Token};

/// A server of ours makes no more probes at a time for one client.
const MAX_PROBES: usize = 4;

/// An answer that the server owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// To the `SOURCE` that every server answers: a `HELLO` either came before it or never comes.
    Greeting,
    Seen,
    Observers,
    /// To a `PROVE`.
    Proof,
    /// To a `SIGNAL` to this node.
    Signaled(NodeId),
    /// To a registration: `LISTED` or `FULL`.
    Listed,
    /// To the `SOURCE` behind a registration that is not answered itself: so the server has read that too.
    Registered,
    Nodes,
    /// To a `SOURCE` of the user's.
    Source,
    /// To a `PING`.
    Pong(Token),
    /// To the `SOURCE` that stands for a `PING` where that is not known.
    Alive,
}

impl Answer {
    fn fits(self, reply: &Reply) -> bool {
        match self {
            Self::Greeting | Self::Registered | Self::Source | Self::Alive => {
                matches!(reply, Reply::Remote { .. })
            }
            Self::Seen => matches!(reply, Reply::Seen(_)),
            Self::Proof => matches!(reply, Reply::Proven(_) | Reply::Pending | Reply::Denied(_)),
            Self::Signaled(id) => matches!(reply, Reply::Signaled { to, .. } if *to == id),
            Self::Observers => matches!(reply, Reply::Observers(_)),
            Self::Listed => matches!(reply, Reply::Listed { .. } | Reply::Full),
            Self::Nodes => matches!(reply, Reply::Nodes(_)),
            Self::Pong(token) => *reply == Reply::Pong(token),
        }
    }
}

/// How far a session's proof is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is no key, or the server does not know the feature.
    #[default]
    Unknown,
    /// The proof is sent. What is sent behind it is read behind it.
    Asked,
    /// Another process has the key, and the server asks whether it is there.
    Pending,
    Proven,
    /// It is. When it leaves, this session takes its place.
    Behind,
    Denied,
}

#[derive(Debug)]
pub(super) struct Session {
    local: SocketAddr,
    server: SocketAddr,
    began: Instant,
    /// From the greeting to its first answer.
    pub(super) rtt: Option<Duration>,
    /// When the question was asked by which the way is measured next.
    pub(super) pinged_at: Option<Instant>,
    /// Known from the answer to the greeting on.
    pub(super) kind: Option<ServerKind>,
    pub(super) features: Features,
    pub(super) standing: Standing,
    /// Our address as the server sees it.
    pub(super) seen: Option<SocketAddr>,
    /// A candidate of ours is with the server until then.
    pub(super) punching: Option<Instant>,
    pub(super) ping_at: Instant,
    /// Lines that made no sense.
    pub(super) strikes: usize,
    awaited: VecDeque<(Answer, Instant)>,
    /// Ports that the server tries, and how long their verdicts are awaited.
    probes: Vec<(u16, Instant)>,
    /// Verdicts that are not awaited any more, but may still come.
    late: usize,
}

impl Session {
    pub(super) fn new(local: SocketAddr, server: SocketAddr, now: Instant, ping_at: Instant) -> Self {
        Self {
            local,
            server,
            began: now,
            rtt: None,
            pinged_at: None,
            kind: None,
            features: Features::NONE,
            standing: Standing::default(),
            seen: None,
            punching: None,
            ping_at,
            strikes: 0,
            awaited: VecDeque::new(),
            probes: Vec::new(),
            late: 0,
        }
    }

    /// Something answers the greeting.
    pub(super) fn greeted(&mut self, now: Instant) {
        self.rtt.get_or_insert(now - self.began);
    }

    pub(super) fn ask(&mut self, request: &Request, answer: Answer, until: Instant, out: &mut Vec<u8>) {
        request.write(out);
        self.awaited.push_back((answer, until));
    }

    /// A question that every server answers.
    pub(super) fn ask_source(&mut self, answer: Answer, until: Instant, out: &mut Vec<u8>) {
        self.ask(&Request::Source { port: Some(self.local.port()) }, answer, until, out);
    }

    /// An answer has come to the question by which the way is measured: the shortest time counts, as whatever is longer
    /// was spent elsewhere.
    pub(super) fn compare_rtt(&mut self, now: Instant) {
        if let Some(asked) = self.pinged_at.take() {
            let took = now - asked;
            self.rtt = Some(self.rtt.map_or(took, |rtt| rtt.min(took)));
        }
    }

    pub(super) fn ask_alive(&mut self, token: Token, until: Instant, out: &mut Vec<u8>) {
        if self.features.has(Features::PING) {
            self.ask(&Request::Ping(token), Answer::Pong(token), until, out);
        } else {
            self.ask_source(Answer::Alive, until, out);
        }
    }

    /// Asks whether a port can be reached, unless that is not possible now. Two verdicts on one port could not be told
    /// apart.
    pub(super) fn ask_probe(&mut self, port: u16, nonce: Token, until: Instant, out: &mut Vec<u8>) -> bool {
        let known = self.kind.is_some() && self.features.has(Features::PROBE);
        let busy = self.probes.len() >= MAX_PROBES || self.probes.iter().any(|(probed, _)| *probed == port);
        let possible = known && !busy && port != 0 && nonce.is_nonce();
        if possible {
            Request::Probe { port, nonce }.write(out);
            self.probes.push((port, until));
        }
        possible
    }

    /// A verdict on this port came; whether it was awaited.
    pub(super) fn probed(&mut self, port: u16) -> bool {
        let place = self.probes.iter().position(|(probed, _)| *probed == port);
        place.map(|place| self.probes.remove(place)).is_some()
    }

    /// A verdict that came too late; whether there is one.
    pub(super) fn probed_late(&mut self) -> bool {
        let late = self.late > 0;
        self.late = self.late.saturating_sub(1);
        late
    }

    /// The next port on which no verdict came in time.
    pub(super) fn pop_unanswered(&mut self, now: Instant) -> Option<u16> {
        let place = self.probes.iter().position(|(_, until)| *until <= now)?;
        self.late = self.late.saturating_add(1);
        Some(self.probes.remove(place).0)
    }

    /// When the next verdict is awaited no longer.
    pub(super) fn probe_deadline(&self) -> Option<Instant> {
        self.probes.iter().map(|(_, until)| *until).min()
    }

    /// What the reply answers, if it is what comes next.
    pub(super) fn answered(&mut self, reply: &Reply) -> Option<Answer> {
        let (answer, _) = self.awaited.front().filter(|(answer, _)| answer.fits(reply))?;
        let answer = *answer;
        self.awaited.pop_front();
        Some(answer)
    }

    pub(super) fn awaits(&self, wanted: impl Fn(Answer) -> bool) -> bool {
        self.awaited.iter().any(|(answer, _)| wanted(*answer))
    }

    /// To whom the signals go whose answers are awaited.
    pub(super) fn signals(&self) -> impl Iterator<Item = NodeId> {
        self.awaited.iter().filter_map(|(answer, _)| match answer {
            Answer::Signaled(to) => Some(*to),
            _ => None,
        })
    }

    /// The server's end, as it was dialled.
    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    pub(super) fn owed(&self) -> usize {
        self.awaited.len()
    }

    /// When the server is too slow.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.awaited.iter().map(|(_, until)| *until).min()
    }

    /// How long to keep a connection to a server that is not kept otherwise.
    pub(super) fn punching(&mut self, now: Instant) {
        /// As long as the server keeps a candidate.
        const KEPT: Duration = Duration::from_secs(120);
        self.punching = Some(now + KEPT);
    }

    /// The places that the server names as its own and that can be: where it could be seen from itself, and not where we
    /// reached it.
    pub(super) fn observers(&self, named: &[Observer]) -> Vec<SocketAddr> {
        let server = self.server.ip().to_canonical();
        let source = Source::Rendezvous { newer: false, server };
        let addrs = named.iter().map(|place| SocketAddr::new(place.ip.unwrap_or(server), place.port));
        let possible = |addr: &SocketAddr| {
            let ip = addr.ip();
            let asked = ip == server && addr.port() == self.server.port();
            let kin = ip.is_ipv4() == server.is_ipv4();
            !asked && kin && !is_nowhere(ip) && source.may_name(ip)
        };
        let mut observers = Vec::new();
        for addr in addrs.filter(possible) {
            if !observers.contains(&addr) {
                observers.push(addr);
            }
        }
        observers
    }

    /// Whether a node that the server names can be one that we might dial.
    pub(super) fn plausible(&self, node: &Listed, own_port: Option<u16>) -> bool {
        let ip = node.addr.ip();
        // A server elsewhere can not know what is on our loopback; it would aim us at ourselves.
        let foreign = ip.is_loopback() && !self.local.ip().to_canonical().is_loopback();
        let own = self.seen.is_some_and(|seen| seen.ip() == ip) && own_port == Some(node.addr.port());
        node.addr.port() != 0 && !is_nowhere(ip) && !foreign && !own
    }
}

fn is_nowhere(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::from([255; 4])
}

/// What a client says in the course of a session.
impl Session {
    pub(super) fn awaits_registration(&self) -> bool {
        self.awaits(|answer| matches!(answer, Answer::Listed | Answer::Registered))
    }

    pub(super) fn register(&mut self, advert: Advert, until: Instant, out: &mut Vec<u8>) {
        let Advert { kind, port, max_inbound } = advert;
        let request = match kind {
            AdvertKind::Passive => Request::Passive { port, max_inbound },
            AdvertKind::Simultaneous => Request::Simultaneous { port, max_inbound },
        };
        if self.features.has(Features::LISTED) {
            self.ask(&request, Answer::Listed, until, out);
        } else {
            request.write(out);
            self.ask_source(Answer::Registered, until, out);
        }
    }

    pub(super) fn pass_on(&mut self, request: &Request, now: Instant, until: Instant, out: &mut Vec<u8>) {
        match request {
            Request::Source { .. } => self.ask(request, Answer::Source, until, out),
            Request::Candidate { .. } => {
                self.punching(now);
                request.write(out);
            }
            _ => request.write(out),
        }
    }
}
