//! Calls: attempts to reach a node by its UNL, ours and other nodes' to us.
//!
//! What is decided when is the [`Ladder`]'s of the one who calls; the one who is called does what it is asked, as far as it
//! wants. Each concern has a file of its own: what the caller does (`caller`), what the one who is called does (`callee`),
//! the signals between them (`signals`), the dials of rungs (`dials`), punching with the observation that comes before it
//! (`punching`), relays (`relaying`), pyp2p's peers (`pyp2p`) and meetings with them (`meeting`, `hosting`), and how a call
//! ends (`ending`).

mod callee;
mod caller;
mod dials;
mod ending;
mod hosting;
mod meeting;
mod punching;
mod pyp2p;
mod relaying;
mod signals;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Node;
use crate::config::Config;
use crate::connect::{RelayLimits, RelayRefusal, RungFault, Rungs};
use crate::id::{AttemptId, CallId, ConId, ServerId, StreamId};
use crate::identity::{NodeId, PublicKey};
use crate::proto::connect::{CallRate, Remembered, Upgrades};
use crate::proto::household::household;
use crate::proto::ladder::Ladder;
use crate::proto::meeting::{Hosting, Window};
use crate::random::Random;
use crate::time::{Instant, soonest};
use crate::unl::{Forwarding, Place, Unl};
use crate::wire::signal::Half;
use dials::RungDial;
pub(super) use dials::time_of;
use hosting::Host;
use meeting::Announced;
use punching::{Observing, PunchRun, Seen};
use relaying::RelayRun;

#[derive(Debug)]
pub(super) struct Calls {
    random: Random,
    open: BTreeMap<CallId, Call>,
    remembered: Remembered,
    rate: CallRate,
    pub(super) upgrades: Upgrades,
    hosting: Hosting,
    wall_at_origin: Duration,
}

/// One call.
#[derive(Debug)]
struct Call {
    part: Part,
    /// The other side; `None` for a UNL of version 2, which names nobody.
    peer: Option<PublicKey>,
    /// The other side's.
    unl: Option<Unl>,
    /// It is to replace a relayed link.
    upgrade: Option<ConId>,
    began: Instant,
    /// The server through which the two sides talk, once both are known to.
    server: Option<ServerId>,
    dials: BTreeMap<StreamId, RungDial>,
    /// What the addresses of the rungs said that are over.
    faults: Vec<(crate::connect::Rung, RungFault)>,
    observing: Option<Observing>,
    /// Our port as it was seen for the present round of punching.
    seen: Option<Seen>,
    punch: Option<PunchRun>,
    /// Our port has been announced to a node of pyp2p's, which names the moment when both dial.
    announced: Option<Announced>,
    /// When both dial, as far as that is not at once.
    window: Option<Window>,
    relay: Option<RelayRun>,
    /// Relays to which the other side would come, the next one first, with its signatures of their tickets: for the caller.
    their_halves: VecDeque<Half>,
    /// Relays to which we said that we would come: for the one who is called.
    relays_offered: Vec<SocketAddr>,
    /// How often we have come to one of them.
    relay_runs: u8,
    /// What the last try of a relay came to.
    relay_refusal: Option<RelayRefusal>,
    /// A server of our own choice sees both sides at one address.
    same_network: bool,
    /// What the relay allows, once it passes on.
    relay_limits: Option<RelayLimits>,
}

#[derive(Debug)]
enum Part {
    Caller(Box<Caller>),
    Callee(Callee),
    /// A candidate of pyp2p's protocol wants to punch to us.
    Host(Host),
}

#[derive(Debug)]
struct Caller {
    ladder: Ladder,
    rungs: Rungs,
    attempts: Vec<Waiter>,
    /// The servers to call through, and whether each has the call.
    servers: Vec<CalledServer>,
    /// The node is to be called, through each server as soon as that is possible.
    calling: bool,
    /// A port is to be observed, as soon as there is a server to ask.
    observe: Option<u8>,
    /// The other node calls us, too, and its call goes on: ours only dials.
    yields: bool,
    /// That one has come to nothing: ours goes on when a hello of that node, if there is one, has led to nothing, too.
    resumes: bool,
}

/// An attempt of the application's, or none for an upgrade.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    attempt: AttemptId,
    temporary: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct CalledServer {
    place: ServerId,
    called: bool,
    /// It has said whether the node is there.
    told: bool,
    /// How often it went down meanwhile.
    failures: u32,
}

#[derive(Debug)]
struct Callee {
    until: Instant,
    /// The caller's port, when it came before ours was seen.
    ready: Option<(u8, crate::proto::punch::Side, Duration)>,
    round: u8,
}

/// What a link has to know of the calls that led to it.
#[derive(Debug, Default)]
pub(super) struct Concluded {
    pub(super) calls: Vec<CallId>,
    pub(super) unl: Option<Unl>,
    pub(super) relay: Option<RelayLimits>,
    /// One of them was ours.
    pub(super) ours: bool,
}

impl Calls {
    pub(super) fn new(config: &Config, wall_at_origin: Duration, random: &mut Random) -> Self {
        let links = &config.links;
        Self {
            random: random.fork(),
            open: BTreeMap::new(),
            remembered: Remembered::default(),
            rate: CallRate::new(links.max_calls_per_minute),
            upgrades: Upgrades::new(links.upgrade_every),
            hosting: Hosting::default(),
            wall_at_origin,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let others = soonest(self.hosting.poll_timeout(), self.upgrades.poll_timeout());
        self.open.values().fold(others, |earliest, call| soonest(earliest, call.poll_timeout()))
    }

    /// Whether it is a call of ours.
    pub(super) fn is_ours(&self, id: CallId) -> bool {
        self.open.get(&id).is_some_and(|call| matches!(call.part, Part::Caller(_)))
    }

    fn is_host(&self, id: CallId) -> bool {
        self.open.get(&id).is_some_and(|call| matches!(call.part, Part::Host(_)))
    }

    /// The other side of a call.
    pub(super) fn peer_of(&self, id: CallId) -> Option<NodeId> {
        self.open.get(&id)?.node()
    }

    /// Whether the other side of a call has had its router open its port.
    pub(super) fn is_mapped(&self, id: CallId) -> bool {
        let unl = self.open.get(&id).and_then(|call| call.unl.as_ref());
        unl.is_some_and(|unl| matches!(unl.forwarding(), Forwarding::Upnp | Forwarding::NatPmp))
    }

    /// Whether the other side of a call has this address in its own network, so that it comes by no router.
    pub(super) fn is_neighbour(&self, id: CallId, ip: IpAddr) -> bool {
        let unl = self.open.get(&id).and_then(|call| call.unl.as_ref());
        unl.is_some_and(|unl| {
            unl.addresses().any(|address| address.place == Place::Lan && address.addr.ip() == ip)
        })
    }

    /// What a new link to this node has to know.
    pub(super) fn concluded(&self, node: NodeId, call: Option<CallId>) -> Concluded {
        let mut concluded = Concluded::default();
        let ended = |(id, open): &(&CallId, &Call)| open.node() == Some(node) && self.ends_with(**id, call);
        for (id, open) in self.open.iter().filter(ended) {
            concluded.calls.push(*id);
            concluded.unl = concluded.unl.or_else(|| open.unl.clone());
            concluded.relay = concluded.relay.or(open.relay_limits);
            concluded.ours |= matches!(open.part, Part::Caller(_));
        }
        concluded.calls.extend(call.filter(|call| !self.open.contains_key(call)));
        concluded
    }

    /// Whether a call ends once there is a link, which came about by that other one.
    fn ends_with(&self, id: CallId, by: Option<CallId>) -> bool {
        Some(id) == by || self.is_ours(id)
    }

    /// Whether it was one of ours that is over.
    pub(super) fn was_ours(&self, id: CallId) -> bool {
        self.remembered.was_ours(id)
    }

    /// How many are under way, ours or others'.
    fn count(&self, ours: bool) -> usize {
        self.open.values().filter(|call| matches!(call.part, Part::Caller(_)) == ours).count()
    }

    /// Our own call to this node.
    fn to(&self, node: NodeId) -> Option<CallId> {
        let is_it = |call: &Call| matches!(call.part, Part::Caller(_)) && call.node() == Some(node);
        self.open.iter().find(|(_, call)| is_it(call)).map(|(&id, _)| id)
    }

    /// Our own call to a node that proves nothing.
    fn to_unl(&self, unl: &Unl) -> Option<CallId> {
        let is_it = |call: &Call| matches!(call.part, Part::Caller(_)) && call.unl.as_ref() == Some(unl);
        self.open.iter().find(|(_, call)| is_it(call)).map(|(&id, _)| id)
    }

    /// Whether one of them goes through this server.
    pub(super) fn needs(&self, place: ServerId) -> bool {
        self.open.values().any(|call| {
            let through = match &call.part {
                Part::Caller(caller) => caller.servers.iter().any(|server| server.place == place),
                Part::Callee(_) | Part::Host(_) => false,
            };
            through || call.server == Some(place)
        })
    }

    /// How many are under way, and how many are remembered.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.open.len(), self.remembered.taken())
    }

    fn ids(&self) -> Vec<CallId> {
        self.open.keys().copied().collect()
    }

    fn ladder(&mut self, id: CallId) -> Option<&mut Ladder> {
        self.caller(id).map(|caller| &mut caller.ladder)
    }

    fn caller(&mut self, id: CallId) -> Option<&mut Caller> {
        match &mut self.open.get_mut(&id)?.part {
            Part::Caller(caller) => Some(caller),
            Part::Callee(_) | Part::Host(_) => None,
        }
    }

    fn callee(&mut self, id: CallId) -> Option<&mut Callee> {
        match &mut self.open.get_mut(&id)?.part {
            Part::Callee(callee) => Some(callee),
            Part::Caller(_) | Part::Host(_) => None,
        }
    }
}

impl Call {
    fn new(part: Part, peer: Option<PublicKey>, unl: Option<Unl>, now: Instant) -> Self {
        Self {
            part,
            peer,
            unl,
            upgrade: None,
            began: now,
            server: None,
            dials: BTreeMap::new(),
            faults: Vec::new(),
            observing: None,
            seen: None,
            punch: None,
            announced: None,
            window: None,
            relay: None,
            their_halves: VecDeque::new(),
            relays_offered: Vec::new(),
            relay_runs: 0,
            relay_refusal: None,
            same_network: false,
            relay_limits: None,
        }
    }

    fn node(&self) -> Option<NodeId> {
        self.peer.map(|key| key.id())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let part = match &self.part {
            // One that stands back for the other side's call waits for that one until its time is up.
            Part::Caller(caller) => {
                let up = caller.yields.then(|| caller.ladder.deadline());
                caller.ladder.poll_timeout().or(up)
            }
            Part::Callee(callee) => Some(callee.until),
            Part::Host(host) => Some(host.until),
        };
        let dials = self.dials.values().map(|dial| Some(dial.until));
        let observing = self.observing.as_ref().map(|observing| observing.until);
        let punch = self.punch.as_ref().and_then(PunchRun::poll_timeout);
        let relay = self.relay.as_ref().map(|relay| relay.until);
        dials.chain([part, observing, punch, relay]).fold(None, soonest)
    }
}

impl Node {
    /// Lets all calls go on.
    pub(super) fn advance_calls(&mut self, now: Instant) {
        self.host_candidates(now);
        self.begin_upgrades(now);
        if self.calls.open.is_empty() {
            return;
        }
        self.core.budget.handle_timeout(now);
        for id in self.calls.ids() {
            self.advance_dials(id, now);
            self.advance_observation(id, now);
            self.advance_punch(id, now);
            self.advance_relay(id, now);
            match self.calls.open.get_mut(&id).map(|call| &mut call.part) {
                Some(Part::Caller(caller)) => {
                    caller.ladder.handle_timeout(now);
                    self.climb(id, now);
                }
                Some(Part::Callee(Callee { until, .. }) | Part::Host(Host { until, .. }))
                    if *until <= now =>
                {
                    self.forget_call(id, now);
                }
                _ => {}
            }
        }
    }

    /// Whether a server sees this address where it sees us: only then are addresses that mean something in one network only
    /// dialled. It has to be a server of our own choice. Who has chosen none has chosen the UNL, and its servers with it.
    fn is_same_network(&self, place: ServerId, seen: SocketAddr) -> bool {
        let believed = self.servers.is_own(place) || self.servers.have_none_of_our_own();
        let ours = self.servers.seen_at(place).filter(|_| believed);
        ours.is_some_and(|ours| household(ours.ip()) == household(seen.ip()))
    }
}
