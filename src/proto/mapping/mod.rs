//! Port mapping: asks routers to forward the port, keeps the mapping alive, and takes it back.
//!
//! UPnP and NAT-PMP are asked at the same time. The first that finds a router with a public address is used, the other
//! one when that comes to nothing. [`Mapper`] only decides; orders are carried out on threads that may hang, fail, panic
//! or report late. So every order has a deadline here, and what hangs beyond it still has an entry in the [`Ledger`],
//! which knows what has to be removed in the end.

mod complaints;
mod ledger;
mod orders;
#[cfg(test)]
mod tests;
mod wish;

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::address::{is_no_host, is_public};
use crate::gateway::{Added, NotAdded, Order, Report};
use crate::proto::backoff::Backoff;
use crate::random::Random;
use crate::reach::{Mapping, MappingFault, MappingProtocol};
use crate::time::{Instant, soonest};
use complaints::{Complaints, Remedy};
use ledger::{Ledger, Place};
use orders::{Flight, Orders};
use wish::Wish;

const BOTH: [MappingProtocol; 2] = [MappingProtocol::Upnp, MappingProtocol::NatPmp];

/// Waits between searches that came to nothing.
const RETRY_FIRST: Duration = Duration::from_secs(30);
const RETRY_MAX: Duration = Duration::from_secs(30 * 60);

/// Between searches that there are reasons for: an interface that flaps must not become a storm in the network.
const SEARCH_GAP: Duration = Duration::from_secs(5);

/// A lease that a router shortens to less than this is not renewed more often for it: a hostile one would make us spin.
const SHORTEST_LEASE: Duration = Duration::from_secs(20);

/// How long after a failed removal the next try is.
const REMOVAL_PAUSE: Duration = Duration::from_secs(30);

/// Orders to add that may hang by one protocol before nothing more is added by it.
const MAX_HANGING: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct MapperConfig {
    /// What is asked for.
    pub(crate) lease: Duration,
    /// The router, where it is not to be searched for.
    pub(crate) router: Option<IpAddr>,
    /// How long a search may take, and how much later its report may come. Devices may take 3 s to answer the first
    /// question of a search (UPnP Device Architecture 1.1 section 1.3.2), and 5 s leave time to ask for the address.
    pub(crate) find_within: Duration,
    pub(crate) find_grace: Duration,
    /// How long a router may take to add or to remove.
    pub(crate) change_timeout: Duration,
    /// The same for a router that has probably been left behind.
    pub(crate) farewell_timeout: Duration,
    /// How long leaving may take.
    pub(crate) leave_timeout: Duration,
}

impl Default for MapperConfig {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60 * 60),
            router: None,
            find_within: Duration::from_secs(5),
            find_grace: Duration::from_secs(1),
            change_timeout: Duration::from_secs(12),
            farewell_timeout: Duration::from_secs(3),
            leave_timeout: Duration::from_secs(3),
        }
    }
}

/// What is to be reached from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Our address and port in the router's network.
    pub(crate) internal: SocketAddrV4,
    /// The external port that is wished for; any other will do.
    pub(crate) external: u16,
}

impl Target {
    /// Port 0 would mean every port to UPnP, and any port to NAT-PMP.
    fn with_port(self) -> Self {
        match self.external {
            0 => Self { external: self.internal.port(), ..self },
            _ => self,
        }
    }
}

/// What has come of one protocol in the present search, or in the renewal.
#[derive(Debug)]
enum Side {
    Idle,
    Finding {
        request: u64,
    },
    /// A router that could be asked.
    Found(Ipv4Addr),
    Asking(Asking),
    /// A router whose own address is not public.
    Double(Ipv4Addr),
    Failed(MappingFault),
}

#[derive(Debug)]
struct Asking {
    /// The router's external address.
    router: Ipv4Addr,
    wish: Wish,
    /// What stands at the external port is removed first.
    removes_first: bool,
    /// The order under way; `None` while it has to wait for another one.
    request: Option<u64>,
}

#[derive(Debug)]
struct Mapped {
    protocol: MappingProtocol,
    external: SocketAddrV4,
    lease: Option<Duration>,
    ends: Option<Instant>,
    /// `None` while it is being renewed, or another router is searched for since it could not be.
    renew_at: Option<Instant>,
    /// It was made by hand or by another program: it is looked at from time to time, and never changed.
    is_foreign: bool,
    /// A renewal has failed, or it leads nowhere: with the next search that is lost it is lost, too.
    is_doubtful: bool,
    /// The router's own table does not have it.
    is_missing: bool,
}

#[derive(Debug)]
pub(crate) struct Mapper {
    config: MapperConfig,
    random: Random,
    target: Option<Target>,
    sides: [Side; 2],
    /// A search is on: neither won nor lost.
    searching: bool,
    search_at: Option<Instant>,
    last_search: Option<Instant>,
    retry: Backoff,
    mapped: Option<Mapped>,
    complaints: Complaints,
    /// The external port that the target had last: others may know it.
    usual_external: Option<u16>,
    ledger: Ledger,
    orders: Orders,
    leave_by: Option<Instant>,
    left: bool,
    /// What the last search that was lost came to.
    verdict: Option<Mapping>,
    status: Mapping,
    changed: bool,
}

/// Inputs.
impl Mapper {
    pub(crate) fn new(config: MapperConfig, random: Random) -> Self {
        Self {
            config,
            random,
            target: None,
            sides: [Side::Idle, Side::Idle],
            searching: false,
            search_at: None,
            last_search: None,
            retry: Backoff::new(RETRY_FIRST, RETRY_MAX),
            mapped: None,
            complaints: Complaints::new(RETRY_FIRST, RETRY_MAX),
            usual_external: None,
            ledger: Ledger::default(),
            orders: Orders::default(),
            leave_by: None,
            left: false,
            verdict: None,
            status: Mapping::Waiting,
            changed: false,
        }
    }

    /// What is to be mapped from now on; `None` for nothing. What was mapped for another target is removed.
    pub(crate) fn set_target(&mut self, target: Option<Target>, now: Instant) {
        let target = target.map(Target::with_port);
        if self.leave_by.is_some() || target == self.target {
            return;
        }
        self.forget_target();
        self.target = target;
        if target.is_some() {
            self.search_soon(now);
        }
        self.advance(now);
    }

    /// Somebody has noticed that the mapping is dead. Without one, the next search comes sooner.
    pub(crate) fn renew(&mut self, now: Instant) {
        match &self.mapped {
            Some(mapped) if mapped.renew_at.is_some() => self.remedy(now),
            Some(_) => {}
            None => self.retry_sooner(now),
        }
        self.advance(now);
    }

    /// Renews what is mapped at once, through a new search that finds out the router's address of now; this is no
    /// complaint, and takes nothing away. Without a mapping, the next search comes sooner.
    pub(crate) fn refresh(&mut self, now: Instant) {
        match self.mapped {
            Some(_) if self.searching => {}
            Some(_) => self.search_soon(now),
            None => self.retry_sooner(now),
        }
        self.advance(now);
    }

    pub(crate) fn handle_report(&mut self, request: u64, report: Report, now: Instant) {
        if let Some(flight) = self.orders.take(request) {
            self.conclude(&flight, report, now);
        }
        self.advance(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(flight) = self.orders.take_overdue(now) {
            self.conclude(&flight, flight.order.fails_by(MappingFault::Silent), now);
        }
        self.advance(now);
    }

    /// Removes what is mapped; nothing is asked for any more.
    pub(crate) fn leave(&mut self, now: Instant) {
        if self.leave_by.is_some() {
            return;
        }
        self.forget_target();
        self.leave_by = Some(now + self.config.leave_timeout);
        // Whether something hangs shows soon enough to still ask for its removal.
        self.orders.hurry(now + self.config.leave_timeout / 2);
        self.ledger.hurry();
        self.advance(now);
    }
}

/// Outputs.
impl Mapper {
    /// The next order to carry out. Orders are carried out at the same time; a change goes to the router that was the last
    /// one found by its protocol when it was given, and of two searches the one that was ordered later says which.
    pub(crate) fn poll_order(&mut self) -> Option<(u64, Order)> {
        self.orders.poll()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.left {
            return None;
        }
        let renewal = self.mapped.as_ref().and_then(|mapped| soonest(mapped.renew_at, mapped.ends));
        let removal = BOTH.iter().filter_map(|protocol| self.next_removal(*protocol)).map(|(at, _)| at).min();
        [self.orders.next_deadline(), self.search_at, renewal, removal, self.leave_by]
            .into_iter()
            .flatten()
            .min()
    }

    /// [`Mapping::Waiting`] without a target.
    pub(crate) fn status(&self) -> &Mapping {
        &self.status
    }

    /// Whether the status has changed since this was called last.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether everything is removed since [`Mapper::leave`], or has taken too long.
    pub(crate) fn has_left(&self) -> bool {
        self.left
    }
}

/// What came of an order.
impl Mapper {
    fn conclude(&mut self, flight: &Flight, report: Report, now: Instant) {
        match (&flight.order, report) {
            (Order::Find { .. }, Report::Found(result)) => self.found(flight, result),
            (Order::Add { external, internal, .. }, Report::Added(result)) => {
                let place = Place { protocol: flight.protocol(), external: *external, internal: *internal };
                self.added(flight, place, result, now);
            }
            (Order::Remove { external, internal, .. }, Report::Removed(result)) => {
                let place = Place { protocol: flight.protocol(), external: *external, internal: *internal };
                self.removed(flight, place, result, now);
            }
            (order, _) => self.conclude(flight, order.fails_by(MappingFault::Dubious), now),
        }
    }

    fn found(&mut self, flight: &Flight, result: Result<IpAddr, MappingFault>) {
        let side = &mut self.sides[flight.protocol() as usize];
        if matches!(side, Side::Finding { request } if *request == flight.request) {
            *side = judge(result);
        }
    }

    fn added(&mut self, flight: &Flight, place: Place, result: Result<Added, NotAdded>, now: Instant) {
        let result = match result {
            Ok(Added { external: 0, .. }) => Err(NotAdded::Fault(MappingFault::Dubious)),
            result => result,
        };
        self.note_in_ledger(place, &result);
        let asking = self.asking(flight).is_some();
        match result {
            Ok(added) if asking || self.is_welcome(place) => self.hold(flight, added, now),
            Err(refusal) if asking => self.refused(flight, refusal, now),
            _ => {}
        }
    }

    fn note_in_ledger(&mut self, place: Place, result: &Result<Added, NotAdded>) {
        match result {
            // Nothing was added.
            Ok(Added { is_ours: false, .. }) => self.ledger.refused(place),
            Ok(added) => {
                if added.external != place.external {
                    self.ledger.refused(place);
                }
                self.ledger.confirmed(Place { external: added.external, ..place });
            }
            Err(refusal) if is_certain(refusal) => self.ledger.refused(place),
            Err(_) => self.ledger.doubted(place),
        }
    }

    /// Whether a mapping that nobody waits for any more is still one that is wanted: the router was slow, not deaf.
    fn is_welcome(&self, place: Place) -> bool {
        self.mapped.is_none() && self.target.is_some_and(|target| target.internal == place.internal)
    }

    fn hold(&mut self, flight: &Flight, added: Added, now: Instant) {
        let Some(router) = flight.router else { return };
        let shortest = SHORTEST_LEASE.min(self.config.lease);
        // Nobody asked for longer: who claims so would have us come back too late.
        let lease = added.lease.map(|lease| lease.clamp(shortest, self.config.lease));
        // The search that was ordered while it was renewed is still to come.
        let search_at = self.search_at.filter(|_| self.mapped.is_some() && !self.searching);
        self.mapped = Some(Mapped {
            protocol: flight.protocol(),
            external: SocketAddrV4::new(router, added.external),
            lease,
            ends: lease.map(|lease| now + lease),
            renew_at: Some(now + lease.unwrap_or(self.config.lease) / 2),
            is_foreign: !added.is_ours,
            is_doubtful: false,
            is_missing: added.is_missing,
        });
        self.usual_external = Some(added.external);
        self.verdict = None;
        self.retry.reset();
        self.end_search();
        self.search_at = search_at;
    }

    fn refused(&mut self, flight: &Flight, refusal: NotAdded, now: Instant) {
        let Some(asking) = self.asking(flight) else { return };
        asking.request = None;
        if let Err(fault) = asking.wish.refused(refusal) {
            self.fail(flight.protocol(), fault, now);
        }
    }

    fn fail(&mut self, protocol: MappingProtocol, fault: MappingFault, now: Instant) {
        self.sides[protocol as usize] = Side::Failed(fault);
        if !self.searching {
            // It was a renewal: the router may have restarted and be found elsewhere.
            self.doubt();
            self.search_soon(now);
        }
    }

    fn removed(&mut self, flight: &Flight, place: Place, result: Result<(), MappingFault>, now: Instant) {
        if result.is_ok() {
            self.ledger.removed(place);
        } else {
            let pause = if self.leave_by.is_some() { Duration::ZERO } else { REMOVAL_PAUSE };
            self.ledger.not_removed(place, now, pause);
        }
        if let Some(asking) = self.asking(flight) {
            (asking.removes_first, asking.request) = (false, None);
        }
    }

    /// What the order belongs to, if the protocol's present turn gave it.
    fn asking(&mut self, flight: &Flight) -> Option<&mut Asking> {
        match &mut self.sides[flight.protocol() as usize] {
            Side::Asking(asking) if asking.request == Some(flight.request) => Some(asking),
            _ => None,
        }
    }
}

/// What is to be done, as things stand.
impl Mapper {
    fn advance(&mut self, now: Instant) {
        self.expire(now);
        BOTH.iter().for_each(|protocol| self.order_removal(*protocol, now));
        self.begin_search(now);
        self.begin_renewal(now);
        // Twice, as the one that is chosen can turn out to hang.
        for _ in BOTH {
            self.choose(now);
            BOTH.iter().for_each(|protocol| self.order_change(*protocol, now));
        }
        self.choose(now);
        self.note_left(now);
        self.note_status();
    }

    fn expire(&mut self, now: Instant) {
        if self.mapped.as_ref().and_then(|mapped| mapped.ends).is_some_and(|ends| ends <= now) {
            self.mapped = None;
        }
        // It ends without a renewal having been tried when nobody came by in the meantime: the machine slept.
        if self.mapped.is_none() && self.target.is_some() && self.is_idle() {
            self.search_soon(now);
        }
    }

    fn order_removal(&mut self, protocol: MappingProtocol, now: Instant) {
        let Some((at, place)) = self.next_removal(protocol) else { return };
        let Place { external, internal, .. } = place;
        if at > now {
            return;
        }
        let is_left_behind = self.target.is_some_and(|target| target.internal.ip() != internal.ip());
        let timeout = if is_left_behind { self.config.farewell_timeout } else { self.config.change_timeout };
        let was_added = self.ledger.was_added(place);
        self.orders.issue(Order::Remove { protocol, external, internal, was_added }, None, now + timeout);
    }

    fn begin_search(&mut self, now: Instant) {
        let (Some(target), Some(at)) = (self.target, self.search_at) else { return };
        if at > now {
            return;
        }
        (self.search_at, self.last_search, self.searching) = (None, Some(now), true);
        if let Some(mapped) = &mut self.mapped {
            mapped.renew_at = None;
        }
        let MapperConfig { router, find_within: within, find_grace, .. } = self.config;
        for protocol in BOTH {
            let order = Order::Find { protocol, from: target.internal, router, within };
            let request = self.orders.issue(order, None, now + within + find_grace);
            self.sides[protocol as usize] = Side::Finding { request };
        }
    }

    fn begin_renewal(&mut self, now: Instant) {
        if self.mapped.as_ref().and_then(|mapped| mapped.renew_at).is_some_and(|at| at <= now) {
            self.ask_again(false);
        }
    }

    /// Asks the same router for the same mapping.
    fn ask_again(&mut self, removes_first: bool) {
        let (Some(target), Some(mapped)) = (self.target, &mut self.mapped) else { return };
        mapped.renew_at = None;
        // How long somebody else's lasts says nothing about ours, should it be gone.
        let permanent = mapped.lease.is_none() && !mapped.is_foreign;
        let wish = Wish::new(target.internal, mapped.external.port(), permanent);
        let removes_first = removes_first && !mapped.is_foreign;
        let asking = Asking { router: *mapped.external.ip(), wish, removes_first, request: None };
        self.sides[mapped.protocol as usize] = Side::Asking(asking);
    }

    /// Takes the first router that could be asked, or gives the search up.
    fn choose(&mut self, now: Instant) {
        let Some(target) = self.target.filter(|_| self.searching) else { return };
        if self.sides.iter().any(|side| matches!(side, Side::Asking(_))) {
            return;
        }
        let found = match &self.mapped {
            // What is mapped stays with its protocol, if that is found: by the other one it would be mapped twice.
            Some(Mapped { protocol, .. }) => match self.sides[*protocol as usize] {
                Side::Finding { .. } => return,
                Side::Found(router) => Some((*protocol, router)),
                _ => self.first_found(),
            },
            None => self.first_found(),
        };
        if let Some((protocol, router)) = found {
            let wish = Wish::new(target.internal, self.usual_external.unwrap_or(target.external), false);
            let asking = Asking { router, wish, removes_first: false, request: None };
            self.sides[protocol as usize] = Side::Asking(asking);
        } else if !self.sides.iter().any(|side| matches!(side, Side::Finding { .. })) {
            self.give_up(now);
        }
    }

    fn first_found(&self) -> Option<(MappingProtocol, Ipv4Addr)> {
        BOTH.into_iter().find_map(|protocol| match self.sides[protocol as usize] {
            Side::Found(router) => Some((protocol, router)),
            _ => None,
        })
    }

    fn give_up(&mut self, now: Instant) {
        if self.mapped.as_ref().is_some_and(|mapped| self.still_holds(mapped)) {
            self.end_search();
            return self.ask_again(false);
        }
        self.verdict = Some(self.judgement());
        self.mapped = None;
        self.end_search();
        self.search_at = Some(now + self.retry.next(&mut self.random));
    }

    /// Whether a search that is lost says nothing against what is mapped: it was only to be refreshed, and nobody has
    /// answered.
    fn still_holds(&self, mapped: &Mapped) -> bool {
        !mapped.is_doubtful && !matches!(self.sides[mapped.protocol as usize], Side::Double(_))
    }

    fn judgement(&self) -> Mapping {
        for (protocol, side) in BOTH.into_iter().zip(&self.sides) {
            if let Side::Double(router) = side {
                return Mapping::DoubleNat { protocol, router: IpAddr::V4(*router) };
            }
        }
        let fault = |protocol: MappingProtocol| match &self.sides[protocol as usize] {
            Side::Failed(fault) => fault.clone(),
            _ => MappingFault::NotAsked,
        };
        Mapping::Failed { upnp: fault(MappingProtocol::Upnp), nat_pmp: fault(MappingProtocol::NatPmp) }
    }

    /// Gives the order of the protocol's turn, as soon as no other one is in its way.
    fn order_change(&mut self, protocol: MappingProtocol, now: Instant) {
        let Side::Asking(asking) = &mut self.sides[protocol as usize] else { return };
        let Wish { internal, external, .. } = asking.wish;
        let busy = self.orders.is_changing(protocol) || self.orders.is_removing(external, internal);
        if asking.request.is_some() || busy {
            return;
        }
        if self.orders.hanging(protocol) >= MAX_HANGING {
            return self.fail(protocol, MappingFault::Hung, now);
        }
        let deadline = now + self.config.change_timeout;
        let order = if asking.removes_first {
            let was_added = self.ledger.was_added(Place { protocol, external, internal });
            Order::Remove { protocol, external, internal, was_added }
        } else {
            let lease = asking.wish.lease(self.config.lease);
            self.ledger.asked(Place { protocol, external, internal });
            Order::Add { protocol, external, internal, lease }
        };
        asking.request = Some(self.orders.issue(order, Some(asking.router), deadline));
    }

    fn note_left(&mut self, now: Instant) {
        let Some(by) = self.leave_by else { return };
        if now >= by || self.ledger.is_empty() && !self.orders.may_change() {
            self.left = true;
            self.ledger.clear();
            self.orders.clear();
        }
    }

    fn note_status(&mut self) {
        let status = self.current_status();
        self.changed |= status != self.status;
        self.status = status;
    }

    fn current_status(&self) -> Mapping {
        match (&self.mapped, &self.verdict) {
            _ if self.target.is_none() => Mapping::Waiting,
            (Some(Mapped { protocol, external, lease, is_missing, .. }), _) => {
                let (protocol, external, lease) = (*protocol, (*external).into(), *lease);
                if *is_missing {
                    Mapping::Unconfirmed { protocol, external, lease }
                } else {
                    Mapping::Mapped { protocol, external, lease }
                }
            }
            // While it is tried again, what is known still holds.
            (None, Some(verdict)) => verdict.clone(),
            (None, None) => Mapping::Searching,
        }
    }
}

/// Parts of the above.
impl Mapper {
    fn forget_target(&mut self) {
        self.end_search();
        (self.target, self.mapped, self.usual_external, self.verdict) = (None, None, None, None);
        self.complaints = Complaints::new(RETRY_FIRST, RETRY_MAX);
        self.retry.reset();
        self.search_at = None;
    }

    fn end_search(&mut self) {
        self.searching = false;
        self.search_at = None;
        self.sides = [Side::Idle, Side::Idle];
    }

    /// Neither a search nor a question is on, or going to be.
    fn is_idle(&self) -> bool {
        let asks = self.sides.iter().any(|side| matches!(side, Side::Asking(_)));
        !asks && !self.searching && self.search_at.is_none()
    }

    fn doubt(&mut self) {
        if let Some(mapped) = &mut self.mapped {
            mapped.is_doubtful = true;
        }
    }

    fn search_soon(&mut self, now: Instant) {
        self.search_at = Some(self.last_search.map_or(now, |last| now.max(last + SEARCH_GAP)));
    }

    fn retry_sooner(&mut self, now: Instant) {
        if let (Some(at), Some(last)) = (self.search_at, self.last_search) {
            self.search_at = Some(at.min(now.max(last + RETRY_FIRST)));
        }
    }

    fn remedy(&mut self, now: Instant) {
        match self.complaints.complain(now, &mut self.random) {
            Some(Remedy::Renew) => self.ask_again(false),
            Some(Remedy::Replace) => self.ask_again(true),
            Some(Remedy::Search) => {
                if let Some(mapped) = &mut self.mapped {
                    mapped.renew_at = None;
                }
                self.doubt();
                self.search_soon(now);
            }
            None => {}
        }
    }

    /// What to remove next by this protocol, and when, unless it has something else to do.
    fn next_removal(&self, protocol: MappingProtocol) -> Option<(Instant, Place)> {
        if self.orders.is_changing(protocol) {
            return None;
        }
        self.ledger.next_removal(protocol, |place| self.is_wanted(place))
    }

    /// Whether a mapping that we may have on a router is to stay there, at least until the next one stands.
    fn is_wanted(&self, place: Place) -> bool {
        if self.target.is_none_or(|target| target.internal != place.internal) {
            return false;
        }
        // NAT-PMP removes by internal port, whatever the external one (RFC 6886 section 3.4).
        place.protocol == MappingProtocol::NatPmp || self.is_in_use(place.external)
    }

    /// Whether the external port is ours by whichever protocol, or about to be: where one router speaks both, they can
    /// share one table.
    fn is_in_use(&self, external: u16) -> bool {
        let asked = self.sides.iter().any(|side| match side {
            Side::Asking(asking) => asking.wish.external == external,
            _ => false,
        });
        asked || self.wished_external() == Some(external)
    }

    fn wished_external(&self) -> Option<u16> {
        let mapped = self.mapped.as_ref().map(|mapped| mapped.external.port());
        mapped.or(self.usual_external).or(self.target.map(|target| target.external))
    }
}

/// What an answer to a search is worth.
fn judge(result: Result<IpAddr, MappingFault>) -> Side {
    match result.map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) if is_public(ip) => Side::Found(ip),
        Ok(IpAddr::V4(ip)) if !is_no_host(ip) => Side::Double(ip),
        Ok(_) => Side::Failed(MappingFault::Dubious),
        Err(fault) => Side::Failed(fault),
    }
}

/// Whether the answer rules out that the mapping was added.
fn is_certain(refusal: &NotAdded) -> bool {
    use MappingFault::{Dubious, Other, Panicked, Silent};
    !matches!(refusal, NotAdded::Unexplained(_) | NotAdded::Fault(Silent | Panicked | Dubious | Other(_)))
}
