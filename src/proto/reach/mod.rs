//! What is known of how others can reach this node, and what is to be done to know more.
//!
//! The finder puts together what the other machines find: the servers' clients (who sees us where, and whether a server
//! could connect to us), the survey of the NAT, the mapper. It decides what is looked into when, and what all of it
//! amounts to. What was known stays until something else is certain, except that a change of the node's own address
//! makes everything uncertain that depended on it.

mod observers;
mod picture;
mod sight;
mod target;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, PortMapping};
use crate::proto::backoff::Backoff;
use crate::proto::mapping::Target;
use crate::random::Random;
use crate::reach::{Doubt, LanAddress, Mapping, Nat, NatKind, NodeType, Reach};
use crate::time::Instant;
use sight::{Asked, Sight};
pub(crate) use sight::{ProbeOutcome, ServerUp};

/// The addresses of the interfaces are listed so often: soon enough after a laptop has moved that a person does not
/// think it stuck, and rarely enough that an idle program sleeps.
const WATCH_EVERY: Duration = Duration::from_secs(20);

/// What is not known for want of an answer is tried again after this, doubling.
const RETRY_FIRST: Duration = Duration::from_secs(30);
const RETRY_MOST: Duration = Duration::from_secs(30 * 60);

/// Between the first two surveys; then twice as long each time, up to `RETRY_MOST`.
const SURVEY_FIRST: Duration = Duration::from_secs(1);

/// A port that was found open or closed is looked at again so often: somebody may have forwarded it by hand, or
/// restarted the router.
const RECHECK_EVERY: Duration = Duration::from_secs(10 * 60);

/// How long the survey waits for a second server after the first one: two addresses tell more than two ports of one.
const SECOND_SERVER: Duration = Duration::from_millis(300);

/// Between two times that somebody asks for everything: servers count how often they are asked.
const REFRESH_GAP: Duration = Duration::from_secs(10);

/// A mapping that has just been made or renewed is looked at from outside again after this.
const AFTER_RENEWAL: Duration = Duration::from_secs(2);

/// So often in a row a mapping is renewed because it can not be reached; then it is left to the schedule.
const RENEWALS: u32 = 2;

/// Own addresses that are kept, far more than machines have in real networks.
const MAX_ADDRESSES: usize = 64;

/// So many servers at most are asked whether they can connect to us: one may be wrong, three would be no wiser.
const PROBED_BY: usize = 2;

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FinderAction {
    /// List the addresses of the interfaces; the outcome comes as `handle_interfaces`.
    Interfaces,
    /// Find out the kind of the NAT with these observers, one or two; a survey under way is given up.
    Survey { observers: Vec<SocketAddr> },
    /// Ask this server to connect to this port of ours.
    Probe { server: usize, port: u16 },
    /// Have this mapped; `None`: nothing.
    Map(Option<Target>),
    /// The mapping does not do what it should: renew it.
    Renew,
    /// Look whether the mapping is as it should be.
    Refresh,
    /// The connection to this server has a local end that is no more: begin anew.
    Reconnect { server: usize },
}

/// The finder's state. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Finder {
    settings: Settings,
    random: Random,
    listening: Option<SocketAddr>,
    lan: Lan,
    sights: Vec<Sight>,
    survey: SurveyState,
    /// No survey begins before then, and how much later the next one: whatever servers say and name, they can not have us
    /// connect to others as often as they like.
    survey_after: Option<Instant>,
    survey_pace: Backoff,
    /// Places that servers named and where nobody answered.
    distrusted: Vec<SocketAddr>,
    nat: Nat,
    mapping: Mapping,
    target: Option<Target>,
    /// Renewals since the mapping was reached the last time.
    renewals: u32,
    /// When the port is looked at again.
    recheck_at: Option<Instant>,
    backoff: Backoff,
    interfaces_at: Option<Instant>,
    /// When everything is found out anew because somebody asked for it, and when it was the last time.
    refresh_at: Option<Instant>,
    refreshed_at: Option<Instant>,
    actions: Vec<FinderAction>,
    /// Something changed since the last picture was painted.
    dirty: bool,
    published: Arc<Reach>,
    stopped: bool,
}

/// What the configuration fixes.
#[derive(Clone, Debug)]
struct Settings {
    node_type: Option<NodeType>,
    nat: Option<NatKind>,
    wan_ip: Option<IpAddr>,
    interface: Option<Arc<str>>,
    port_mapping: PortMapping,
    bind: Option<IpAddr>,
    router: Option<IpAddr>,
}

/// The addresses of this machine in its networks.
#[derive(Debug, Default)]
struct Lan {
    addresses: Vec<LanAddress>,
    /// They have been listed.
    known: bool,
}

#[derive(Debug)]
enum SurveyState {
    /// Not begun, or not with these servers.
    Due,
    UnderWay {
        observers: Vec<SocketAddr>,
    },
    /// Its outcome stands in `nat`. It is made again then; `None`: not by itself.
    Done {
        again_at: Option<Instant>,
        observers: usize,
    },
}

impl Finder {
    pub(crate) fn new(config: &Config, random: Random, now: Instant) -> Self {
        let settings = Settings {
            node_type: config.node_type,
            nat: config.nat,
            wan_ip: config.wan_ip,
            interface: config.interface.as_deref().map(Arc::from),
            port_mapping: config.port_mapping,
            bind: config.bind.filter(|ip| !ip.is_unspecified()),
            router: config.router,
        };
        let mut finder = Self {
            sights: config.rendezvous.iter().map(|name| Sight::new(name.as_str().into())).collect(),
            settings,
            random,
            listening: None,
            lan: Lan::default(),
            survey: SurveyState::Due,
            survey_after: None,
            survey_pace: Backoff::new(SURVEY_FIRST, RETRY_MOST),
            distrusted: Vec::new(),
            nat: Nat::Unknown(Doubt::Pending),
            mapping: Mapping::Waiting,
            target: None,
            renewals: 0,
            recheck_at: None,
            backoff: Backoff::new(RETRY_FIRST, RETRY_MOST),
            interfaces_at: Some(now),
            refresh_at: None,
            refreshed_at: None,
            actions: Vec::new(),
            dirty: false,
            published: Arc::default(),
            stopped: false,
        };
        finder.begin(config.listen);
        finder
    }

    /// A node on loopback is in no network, so there is nothing to watch.
    fn begin(&mut self, listens: bool) {
        if let Some(ip) = self.settings.bind.filter(IpAddr::is_loopback) {
            self.lan =
                Lan { addresses: vec![LanAddress { interface: "lo".into(), address: ip }], known: true };
            self.interfaces_at = None;
        }
        if !listens {
            self.paint();
        }
    }

    pub(crate) fn handle_listening(&mut self, local: SocketAddr, now: Instant) {
        self.listening = Some(local);
        self.work(now);
        // What is known from the start is no news.
        self.paint();
    }

    /// The addresses of all interfaces, but for loopback and link-local ones; the most useful ones first.
    pub(crate) fn handle_interfaces(&mut self, addresses: Vec<LanAddress>, now: Instant) {
        let addresses = self.own_among(addresses);
        self.interfaces_at = self.watches().then(|| now + WATCH_EVERY);
        if !self.lan.known || addresses != self.lan.addresses {
            let moved = self.lan.known;
            self.lan = Lan { addresses, known: true };
            if moved {
                self.handle_move(now);
            }
            self.dirty = true;
        }
        self.work(now);
    }

    pub(crate) fn handle_server_up(&mut self, server: usize, up: ServerUp, now: Instant) {
        if let Some(sight) = self.sights.get_mut(server) {
            // Whatever broke the last connection may have broken the mapping too.
            if sight.addr.is_some() {
                self.recheck_at = Some(now);
            }
            let elsewhere = sight.sees_elsewhere(&up);
            sight.handle_up(up, now);
            // One server's word against that of another, which sees us somewhere else, is not enough.
            if elsewhere && !self.is_contradicted(server) {
                self.handle_new_wan(now);
            }
            self.dirty = true;
            self.work(now);
        }
    }

    /// Where else that server listens.
    pub(crate) fn handle_observers(&mut self, server: usize, observers: Vec<SocketAddr>, now: Instant) {
        if let Some(sight) = self.sights.get_mut(server) {
            sight.observers = Some(observers);
            self.work(now);
        }
    }

    /// It can not be connected to, or no more. (That an old server's connection ends is as it should be, and not meant.)
    pub(crate) fn handle_server_down(&mut self, server: usize, now: Instant) {
        if let Some(sight) = self.sights.get_mut(server) {
            let was_asked = sight.is_asked();
            sight.handle_down();
            self.dirty = true;
            if was_asked {
                self.weigh(now);
            }
            self.work(now);
        }
    }

    /// What came of `Probe`.
    pub(crate) fn handle_probed(&mut self, server: usize, port: u16, outcome: ProbeOutcome, now: Instant) {
        let current = self.port_for(server);
        let Some(sight) = self.sights.get_mut(server) else { return };
        if !sight.handle_probed(port, outcome, current, now) {
            return;
        }
        let is_open = sight.asked == Asked::Not;
        self.dirty = true;
        if !is_open {
            self.weigh(now);
        }
        self.work(now);
    }

    /// A server's connection was met after it had given up on us: the way is open, and it was this program that was too
    /// busy to answer in time.
    pub(crate) fn handle_late_probe(&mut self, server: usize, now: Instant) {
        let Some(sight) = self.sights.get_mut(server) else { return };
        if sight.outcome == Some(ProbeOutcome::No) {
            sight.outcome = Some(ProbeOutcome::TooFar);
            self.dirty = true;
            self.weigh(now);
            self.work(now);
        }
    }

    /// A server needs less time than it was thought to.
    pub(crate) fn handle_rtt(&mut self, server: usize, rtt: Duration) {
        if let Some(sight) = self.sights.get_mut(server) {
            sight.rtt = Some(rtt);
            self.dirty = true;
        }
    }

    pub(crate) fn handle_surveyed(&mut self, outcome: Result<NatKind, Doubt>, now: Instant) {
        let SurveyState::UnderWay { observers } = &self.survey else { return };
        let observers = observers.clone();
        self.nat = outcome.map_or_else(Nat::Unknown, Nat::Measured);
        if outcome == Err(Doubt::Unanswered) {
            self.distrust(&observers);
        }
        // More observers bring it up again; the same ones would say the same.
        let is_open = !matches!(outcome, Ok(_) | Err(Doubt::OneObserver));
        let again_at = is_open.then(|| now + RETRY_FIRST);
        self.survey = SurveyState::Done { again_at, observers: observers.len() };
        self.dirty = true;
        self.work(now);
    }

    /// The mapper has something new to say.
    pub(crate) fn handle_mapping(&mut self, mapping: Mapping, now: Instant) {
        if self.target.is_none() || mapping == self.mapping {
            return;
        }
        let before = self.external();
        self.mapping = mapping;
        if self.external() != before {
            self.ask_again(now);
        }
        self.dirty = true;
        self.work(now);
    }

    /// Finds out everything anew; what was known stays until then. Who asks for it all the time gets it by and by.
    pub(crate) fn refresh(&mut self, now: Instant) {
        let soonest = self.refreshed_at.map_or(now, |last| now.max(last + REFRESH_GAP));
        self.refresh_at = Some(self.refresh_at.map_or(soonest, |at| at.min(soonest)));
        self.work(now);
    }

    fn refresh_now(&mut self, now: Instant) {
        (self.refresh_at, self.refreshed_at) = (None, Some(now));
        if self.interfaces_at.is_some() || self.watches() || !self.lan.known {
            self.interfaces_at = Some(now);
        }
        self.allow_surveys();
        self.survey_anew();
        self.recheck_at = Some(now);
        if self.target.is_some() {
            self.actions.push(FinderAction::Refresh);
        }
    }

    /// Nothing more is to be found out, and nothing told; what is mapped is the mapper's to remove.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.actions.clear();
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.work(now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let again = match self.survey {
            SurveyState::Done { again_at, .. } => again_at,
            SurveyState::Due => self.survey_at(),
            SurveyState::UnderWay { .. } => None,
        };
        [self.interfaces_at, self.recheck_at, self.refresh_at, again].into_iter().flatten().min()
    }

    pub(crate) fn poll_action(&mut self) -> Option<FinderAction> {
        // In the order in which they were decided; there are never more than a few.
        (!self.actions.is_empty()).then(|| self.actions.remove(0))
    }

    /// Whether something changed since `poll_change`, in the picture or in what is advertised where.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The picture, when it is another one than the last time.
    pub(crate) fn poll_change(&mut self) -> Option<Arc<Reach>> {
        let is_news = std::mem::take(&mut self.dirty) && !self.stopped;
        is_news.then(|| self.paint()).flatten()
    }

    pub(crate) fn picture(&self) -> &Arc<Reach> {
        &self.published
    }

    /// The port to register at this server; `None`: none, as nobody could connect to it.
    pub(crate) fn advertised_port(&self, server: usize) -> Option<u16> {
        if self.node_type() != NodeType::Passive {
            return None;
        }
        let closed = self.sights.get(server).is_some_and(|sight| sight.outcome == Some(ProbeOutcome::No));
        (!closed || self.settings.node_type.is_some()).then(|| self.port_for(server)).flatten()
    }

    /// Does whatever is due. Called after everything that could make it so.
    fn work(&mut self, now: Instant) {
        if self.stopped {
            return;
        }
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh_now(now);
        }
        if self.interfaces_at.is_some_and(|at| at <= now) {
            self.interfaces_at = None;
            self.actions.push(FinderAction::Interfaces);
        }
        self.work_on_nat(now);
        self.work_on_port(now);
        self.work_on_mapping();
    }

    fn work_on_port(&mut self, now: Instant) {
        if self.recheck_at.is_some_and(|at| at <= now) {
            self.recheck_at = None;
            self.sights.iter_mut().for_each(Sight::forget_answer);
        }
        while let Some(server) = self.next_to_ask() {
            let Some(port) = self.port_for(server) else { return };
            self.sights[server].ask(port, now);
            self.actions.push(FinderAction::Probe { server, port });
        }
    }

    /// Of several servers at one address one at a time: their probes could not be told from each other.
    fn next_to_ask(&self) -> Option<usize> {
        let asked = self.sights.iter().filter(|sight| sight.asked != Asked::Not).count();
        let ip = |sight: &Sight| sight.addr.map(|addr| addr.ip());
        let busy = |at| self.sights.iter().any(|sight| sight.is_asked() && ip(sight) == at);
        let ready = |sight: &Sight| sight.can_be_asked() && !busy(ip(sight));
        // First those that could tell the last time, if there was one.
        let first = |sight: &Sight| ready(sight) && !sight.is_doubtful();
        let server = self.sights.iter().position(first).or_else(|| self.sights.iter().position(ready));
        server.filter(|_| asked < PROBED_BY)
    }

    /// What the answers so far amount to, and when to ask again.
    fn weigh(&mut self, now: Instant) {
        if self.sights.iter().any(|sight| matches!(sight.asked, Asked::For { .. })) {
            return;
        }
        let known = self.reachability().answer();
        if known == Some(true) {
            self.renewals = 0;
            self.backoff.reset();
        }
        let wait = match known {
            Some(false)
                if self.external().is_some() && self.is_found_closed() && self.renewals < RENEWALS =>
            {
                self.renewals += 1;
                self.actions.push(FinderAction::Renew);
                AFTER_RENEWAL
            }
            Some(_) => RECHECK_EVERY,
            None => self.backoff.next(&mut self.random),
        };
        self.recheck_at = Some(now + wait);
    }

    /// The node's own addresses among those of the machine.
    fn own_among(&self, mut addresses: Vec<LanAddress>) -> Vec<LanAddress> {
        if let Some(interface) = &self.settings.interface {
            addresses.retain(|lan| lan.interface == *interface);
        }
        if let Some(ip) = self.settings.bind {
            addresses.retain(|lan| lan.address == ip);
        }
        addresses.truncate(MAX_ADDRESSES);
        addresses
    }

    /// Without servers and without a router to ask, nothing depends on the addresses.
    fn watches(&self) -> bool {
        let maps = self.settings.port_mapping == PortMapping::Always && self.wants_to_be_reached();
        let on_loopback = self.settings.bind.is_some_and(|ip| ip.is_loopback());
        !on_loopback && (maps || !self.sights.is_empty())
    }

    /// The machine has other addresses than before: what was found out through those that it lost is void.
    fn handle_move(&mut self, now: Instant) {
        let own: Vec<IpAddr> = self.lan.addresses.iter().map(|lan| lan.address).collect();
        let mut moved = false;
        for (server, sight) in self.sights.iter_mut().enumerate() {
            if sight.local.is_some_and(|local| !local.ip().is_loopback() && !own.contains(&local.ip())) {
                moved = true;
                if sight.is_up() {
                    self.actions.push(FinderAction::Reconnect { server });
                }
                sight.forget();
            }
        }
        if !moved {
            return;
        }
        self.nat = Nat::Unknown(Doubt::Pending);
        self.survey = SurveyState::Due;
        self.allow_surveys();
        self.backoff.reset();
        if self.target.take().is_some() {
            self.actions.push(FinderAction::Map(None));
        }
        self.mapping = Mapping::Waiting;
        self.renewals = 0;
        self.ask_again(now);
    }

    /// The router has another address, or is another one; the mapping may stand all the same.
    fn handle_new_wan(&mut self, now: Instant) {
        self.nat = Nat::Unknown(Doubt::Pending);
        self.survey_anew();
        self.renewals = 0;
        if self.target.is_some() {
            self.actions.push(FinderAction::Refresh);
        }
        self.ask_again(now);
    }

    /// Whether another server sees us somewhere else than this one, in the same family.
    fn is_contradicted(&self, server: usize) -> bool {
        let seen = |sight: &Sight| Some(sight.seen.filter(|_| sight.is_up())?.ip());
        let Some(ip) = self.sights.get(server).and_then(seen) else { return false };
        self.sights.iter().filter_map(seen).any(|other| other != ip && other.is_ipv4() == ip.is_ipv4())
    }

    /// The user, or a move, is a better reason for a survey than what a server says.
    fn allow_surveys(&mut self) {
        self.survey_after = None;
        self.survey_pace.reset();
        self.distrusted.clear();
    }

    fn survey_anew(&mut self) {
        if !matches!(self.survey, SurveyState::UnderWay { .. }) {
            self.survey = SurveyState::Due;
        }
    }

    /// Where a router says that it forwards to us, whether that is confirmed or not: servers find out.
    fn external(&self) -> Option<SocketAddr> {
        match self.mapping {
            Mapping::Mapped { external, .. } | Mapping::Unconfirmed { external, .. } => Some(external),
            _ => None,
        }
    }

    /// What came of the probes is of another port, or of another time.
    fn ask_again(&mut self, now: Instant) {
        self.sights.iter_mut().for_each(Sight::forget_outcome);
        self.recheck_at = Some(now);
    }
}
