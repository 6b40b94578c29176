//! What asking routers comes to: the machine against routers that misbehave, with a clock that jumps.

use super::*;
use MappingProtocol::{NatPmp, Upnp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const WAN: Ipv4Addr = Ipv4Addr::new(81, 2, 3, 4);
const OURS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 5), 4000);
const MOVED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 7), 4000);
const NEIGHBOUR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 6), 4000);
const SECOND: Duration = Duration::from_secs(1);

/// A search takes 3 s, whatever the default.
fn brisk() -> MapperConfig {
    MapperConfig { find_within: 3 * SECOND, ..MapperConfig::default() }
}
const HOUR: Duration = Duration::from_secs(3600);

/// Which leases a router takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leases {
    All,
    /// Error 725 to limited ones.
    Permanent,
    /// Error 402 to permanent ones.
    Limited,
    /// Error 402 to limited ones.
    Only402ForLimited,
    /// Error 501 to limited ones.
    Only501ForLimited,
    /// Error 402 to all.
    None,
    /// Error 501 to all.
    None501,
}

/// How one protocol of the fake router behaves.
#[derive(Clone, Debug)]
struct Manner {
    found: Result<IpAddr, MappingFault>,
    find_time: Duration,
    leases: Leases,
    /// What it says instead of what was asked for.
    grants: Option<Option<Duration>>,
    /// Where NAT-PMP puts it instead, in a router that chooses by itself.
    external: Option<u16>,
    fault: Option<MappingFault>,
    /// Its table shows nothing of what it has added.
    lists_nothing: bool,
    /// How long it takes for a change; `None`: nobody ever hears of it, but it is done.
    change_time: Option<Duration>,
    deaf: bool,
}

impl Manner {
    fn good() -> Self {
        Self {
            found: Ok(WAN.into()),
            find_time: SECOND / 10,
            leases: Leases::All,
            grants: None,
            external: None,
            fault: None,
            lists_nothing: false,
            change_time: Some(SECOND / 10),
            deaf: false,
        }
    }

    fn absent() -> Self {
        Self { found: Err(MappingFault::NoRouter), find_time: SECOND, ..Self::good() }
    }

    fn refusal(&self, lease: Option<Duration>) -> Option<NotAdded> {
        match self.leases {
            Leases::Permanent if lease.is_some() => Some(NotAdded::OnlyPermanent),
            Leases::Only402ForLimited if lease.is_some() => Some(NotAdded::BadLease),
            Leases::Only501ForLimited if lease.is_some() => Some(NotAdded::Unexplained(failed_action())),
            Leases::None501 => Some(NotAdded::Unexplained(failed_action())),
            Leases::Limited if lease.is_none() => Some(NotAdded::BadLease),
            Leases::None => Some(NotAdded::BadLease),
            _ => self.fault.clone().map(NotAdded::Fault),
        }
    }
}

fn failed_action() -> MappingFault {
    MappingFault::Other("UPnP error 501".into())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    internal: SocketAddrV4,
    protocol: MappingProtocol,
    ends: Option<Instant>,
    by_hand: bool,
}

/// A mapper, a router that speaks both protocols with one table, and a clock.
struct Bench {
    mapper: Mapper,
    now: Instant,
    manners: [Manner; 2],
    table: BTreeMap<u16, Row>,
    under_way: Vec<(Instant, u64, Order)>,
    log: Vec<(u64, Order)>,
}

impl Bench {
    fn new(upnp: Manner, nat_pmp: Manner) -> Self {
        let mapper = Mapper::new(brisk(), Random::from_number(1));
        let (table, under_way, log) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { mapper, now: Instant::ZERO, manners: [upnp, nat_pmp], table, under_way, log }
    }

    /// Has been asked to map, and some seconds have passed.
    fn started(upnp: Manner, nat_pmp: Manner) -> Self {
        let mut bench = Self::new(upnp, nat_pmp);
        bench.target(OURS);
        bench.run(2 * SECOND);
        bench
    }

    fn target(&mut self, internal: SocketAddrV4) {
        self.mapper.set_target(Some(Target { internal, external: 4000 }), self.now);
    }

    fn manner(&mut self, protocol: MappingProtocol) -> &mut Manner {
        &mut self.manners[protocol as usize]
    }

    fn taken_by_neighbour(&mut self, ports: impl IntoIterator<Item = u16>) {
        let row = Row { internal: NEIGHBOUR, protocol: Upnp, ends: None, by_hand: false };
        self.table.extend(ports.into_iter().map(|port| (port, row)));
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..100_000 {
            self.carry_out();
            let report = self.under_way.iter().map(|(at, ..)| *at).min();
            let Some(next) = soonest(report, self.mapper.poll_timeout()).filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            self.mapper.handle_timeout(self.now);
            self.report();
        }
        panic!("spins at {:?}: {:?}", self.now, self.mapper);
    }

    fn carry_out(&mut self) {
        while let Some((request, order)) = self.mapper.poll_order() {
            self.log.push((self.now.since_origin().as_secs(), order.clone()));
            let (Order::Find { protocol, .. } | Order::Add { protocol, .. } | Order::Remove { protocol, .. }) =
                order;
            let manner = self.manner(protocol);
            let time =
                if matches!(order, Order::Find { .. }) { Some(manner.find_time) } else { manner.change_time };
            let deaf = manner.deaf;
            match time {
                _ if deaf => {}
                Some(time) => self.under_way.push((self.now + time, request, order)),
                None => drop(self.answer(&order)),
            }
        }
    }

    fn report(&mut self) {
        let (now, mut due) = (self.now, Vec::new());
        self.under_way.retain(|(at, request, order)| {
            let is_due = *at <= now;
            due.extend(is_due.then(|| (*request, order.clone())));
            !is_due
        });
        for (request, order) in due {
            let report = self.answer(&order);
            self.mapper.handle_report(request, report, now);
        }
    }

    fn answer(&mut self, order: &Order) -> Report {
        let now = self.now;
        self.table.retain(|_, row| row.ends.is_none_or(|ends| ends > now));
        match *order {
            Order::Find { protocol, .. } => Report::Found(self.manner(protocol).found.clone()),
            Order::Add { protocol, external, internal, lease } => {
                Report::Added(self.add(protocol, external, internal, lease))
            }
            Order::Remove { protocol, external, internal, .. } => {
                self.remove(protocol, external, internal);
                Report::Removed(self.manner(protocol).fault.clone().map_or(Ok(()), Err))
            }
        }
    }

    fn add(
        &mut self,
        protocol: MappingProtocol,
        external: u16,
        internal: SocketAddrV4,
        lease: Option<Duration>,
    ) -> Result<Added, NotAdded> {
        let manner = self.manner(protocol).clone();
        if let Some(refusal) = manner.refusal(lease) {
            return Err(refusal);
        }
        let external = manner.external.filter(|_| protocol == NatPmp).unwrap_or(external);
        if self.table.get(&external).is_some_and(|row| row.internal == internal && row.by_hand) {
            return Ok(Added { external, lease: None, is_ours: false, is_missing: false });
        }
        if self.table.get(&external).is_some_and(|row| row.internal != internal) {
            return Err(NotAdded::Conflict);
        }
        let lease = manner.grants.unwrap_or(lease);
        if protocol == NatPmp {
            self.table.retain(|_, row| row.protocol != NatPmp || row.internal != internal);
        }
        let ends = lease.map(|lease| self.now + lease);
        self.table.insert(external, Row { internal, protocol, ends, by_hand: false });
        Ok(Added { external, lease, is_ours: true, is_missing: manner.lists_nothing })
    }

    /// As io does it: only what leads to `internal`; by NAT-PMP all that does.
    fn remove(&mut self, protocol: MappingProtocol, external: u16, internal: SocketAddrV4) {
        assert!([OURS, MOVED].contains(&internal), "{internal} is not ours");
        self.table.retain(|port, row| {
            row.internal != internal
                || row.by_hand
                || if protocol == Upnp { *port != external } else { row.protocol != NatPmp }
        });
    }

    /// Somebody has made a mapping to us on the router's own pages.
    fn made_by_hand(&mut self, port: u16) {
        let row = Row { internal: OURS, protocol: Upnp, ends: None, by_hand: true };
        self.table.insert(port, row);
    }

    /// Nobody comes by for so long.
    fn sleep(&mut self, span: Duration) {
        self.now = self.now + span;
        self.mapper.handle_timeout(self.now);
    }

    fn has_moved_to(&mut self, wan: Ipv4Addr) {
        self.manners.iter_mut().for_each(|manner| manner.found = Ok(wan.into()));
    }

    /// Where others reach us.
    fn external(&self) -> Option<std::net::SocketAddr> {
        match self.mapper.status() {
            Mapping::Mapped { external, .. } => Some(*external),
            _ => None,
        }
    }

    fn mapped(&self) -> Option<(MappingProtocol, u16, Option<u64>)> {
        match self.mapper.status() {
            Mapping::Mapped { protocol, external, lease, .. } => {
                assert_eq!(external.ip(), WAN);
                Some((*protocol, external.port(), lease.map(|lease| lease.as_secs())))
            }
            _ => None,
        }
    }

    fn failed(&self) -> Option<(MappingFault, MappingFault)> {
        match self.mapper.status() {
            Mapping::Failed { upnp, nat_pmp } => Some((upnp.clone(), nat_pmp.clone())),
            _ => None,
        }
    }

    fn our_ports(&self) -> Vec<u16> {
        let standing = self.table.iter().filter(|(_, row)| row.ends.is_none_or(|ends| ends > self.now));
        standing.filter(|(_, row)| row.internal != NEIGHBOUR && !row.by_hand).map(|(port, _)| *port).collect()
    }

    /// The orders since the last time, in short, each with its second.
    fn orders(&mut self) -> Vec<String> {
        self.log.drain(..).map(|(second, order)| format!("{second} {}", in_short(&order))).collect()
    }

    fn leave(&mut self) {
        self.mapper.leave(self.now);
        self.run(SECOND);
    }
}

fn in_short(order: &Order) -> String {
    match order {
        Order::Find { protocol, .. } => format!("find {protocol}"),
        Order::Add { protocol, external, lease: Some(lease), .. } => {
            format!("add {protocol} {external} for {}", lease.as_secs())
        }
        Order::Add { protocol, external, lease: None, .. } => format!("add {protocol} {external} for good"),
        Order::Remove { protocol, external, .. } => format!("remove {protocol} {external}"),
    }
}

#[test]
fn both_are_searched_and_the_first_is_asked() {
    for (fast, slow) in [(Upnp, NatPmp), (NatPmp, Upnp)] {
        let mut bench = Bench::new(Manner::good(), Manner::good());
        bench.manner(slow).find_time = SECOND;
        assert_eq!(bench.mapper.status(), &Mapping::Waiting);
        bench.target(OURS);
        assert_eq!((bench.mapper.take_changed(), bench.mapper.status()), (true, &Mapping::Searching));
        bench.run(2 * SECOND);
        assert_eq!((bench.mapped(), bench.our_ports()), (Some((fast, 4000, Some(3600))), vec![4000]));
        assert_eq!((bench.mapper.take_changed(), bench.mapper.take_changed()), (true, false));
        let add = format!("0 add {fast} 4000 for 3600");
        assert_eq!(bench.orders(), ["0 find UPnP", "0 find NAT-PMP", &add]);
    }
}

#[test]
fn a_search_goes_to_the_configured_router_from_our_address() {
    let router = Some(IpAddr::from([192, 168, 1, 1]));
    let config = MapperConfig { router, ..brisk() };
    let mut mapper = Mapper::new(config, Random::from_number(1));
    mapper.set_target(Some(Target { internal: OURS, external: 0 }), Instant::ZERO);
    let (request, order) = mapper.poll_order().unwrap();
    assert_eq!(order, Order::Find { protocol: Upnp, from: OURS, router, within: 3 * SECOND });
    mapper.handle_report(request, Report::Found(Ok(WAN.into())), Instant::ZERO);
    mapper.poll_order();
    // External port 0 would be every port.
    assert!(matches!(mapper.poll_order(), Some((_, Order::Add { external: 4000, .. }))));
}

#[test]
fn the_other_protocol_steps_in_when_the_first_refuses() {
    // Also when it is found later than the first has refused.
    for find_time in [SECOND / 10, SECOND] {
        let upnp = Manner { fault: Some(MappingFault::Refused), ..Manner::good() };
        let bench = Bench::started(upnp, Manner { find_time, ..Manner::good() });
        assert_eq!(bench.mapped(), Some((NatPmp, 4000, Some(3600))));
    }
}

#[test]
fn each_kind_of_lease_is_tried_once() {
    let (both, limited) = (["for 3600", "for good"].as_slice(), ["for 3600"].as_slice());
    let table = [
        (Leases::All, Some(Some(3600)), limited),
        (Leases::Permanent, Some(None), both),
        (Leases::Limited, Some(Some(3600)), limited),
        (Leases::Only402ForLimited, Some(None), both),
        (Leases::Only501ForLimited, Some(None), both),
        (Leases::None, None, both),
        (Leases::None501, None, both),
    ];
    for (leases, lease, adds) in table {
        let mut bench = Bench::started(Manner { leases, ..Manner::good() }, Manner::absent());
        assert_eq!(bench.mapped(), lease.map(|lease| (Upnp, 4000, lease)), "{leases:?}");
        let adds: Vec<_> = adds.iter().map(|add| format!("0 add UPnP 4000 {add}")).collect();
        assert_eq!(bench.orders()[2..], adds, "{leases:?}");
        // What the router said, where it said something of its own.
        let fault = if leases == Leases::None501 { failed_action() } else { MappingFault::Lease };
        let lost = lease.is_none().then_some((fault, MappingFault::NoRouter));
        assert_eq!(bench.failed(), lost);
    }
}

#[test]
fn what_the_router_does_not_list_is_not_mapped_until_it_does() {
    let mut bench = Bench::started(Manner { lists_nothing: true, ..Manner::good() }, Manner::absent());
    let external = SocketAddrV4::new(WAN, 4000).into();
    let unconfirmed = Mapping::Unconfirmed { protocol: Upnp, external, lease: Some(HOUR) };
    assert_eq!(bench.mapper.status(), &unconfirmed);
    bench.run(HOUR / 2);
    assert_eq!(bench.mapper.status(), &unconfirmed, "renewed all the same");
    bench.manner(Upnp).lists_nothing = false;
    bench.run(HOUR / 2);
    assert_eq!(bench.mapped(), Some((Upnp, 4000, Some(3600))));
}

#[test]
fn what_was_added_is_removed_as_such() {
    for (fault, was_added) in [(None, true), (Some(MappingFault::Silent), false)] {
        let mut bench = Bench::started(Manner { fault, ..Manner::good() }, Manner::absent());
        bench.leave();
        let said = |(_, order): &(u64, Order)| match order {
            Order::Remove { was_added, .. } => Some(*was_added),
            _ => None,
        };
        let removals: Vec<_> = bench.log.iter().filter_map(said).collect();
        assert!(!removals.is_empty() && removals.iter().all(|said| *said == was_added), "{removals:?}");
    }
}

#[test]
fn a_renewal_tries_the_other_lease_too() {
    let mut bench = Bench::started(Manner { leases: Leases::Permanent, ..Manner::good() }, Manner::absent());
    bench.manner(Upnp).leases = Leases::Limited;
    bench.orders();
    bench.run(HOUR / 2);
    assert_eq!(bench.orders(), ["1800 add UPnP 4000 for good", "1800 add UPnP 4000 for 3600"]);
    assert_eq!(bench.mapped(), Some((Upnp, 4000, Some(3600))));
}

#[test]
fn ports_of_others_are_passed_over() {
    let mut bench = Bench::new(Manner::good(), Manner::absent());
    bench.taken_by_neighbour([4000, 4001]);
    bench.target(OURS);
    bench.run(2 * SECOND);
    assert_eq!(bench.mapped(), Some((Upnp, 4002, Some(3600))));
    bench.leave();
    assert_eq!((bench.our_ports(), bench.table.len()), (vec![], 2));
    assert!(bench.mapper.has_left());
}

#[test]
fn after_ten_ports_the_router_counts_as_full() {
    let mut bench = Bench::new(Manner::good(), Manner::absent());
    bench.taken_by_neighbour(4000..5000);
    bench.target(OURS);
    bench.run(5 * SECOND);
    assert_eq!(bench.orders().len(), 2 + 10);
    assert_eq!(bench.failed(), Some((MappingFault::Conflict, MappingFault::NoRouter)));
}

#[test]
fn after_the_last_port_comes_the_first_unprivileged_one() {
    let mut wish = Wish::new(OURS, 65_534, false);
    let ports = std::array::from_fn(|_| wish.refused(NotAdded::Conflict).map(|()| wish.external).unwrap());
    assert_eq!(ports, [65_535, 1024, 1025]);
}

#[test]
fn it_is_renewed_at_half_of_what_was_granted() {
    let hour = Some(HOUR);
    let table = [
        // Granted, as it is reported, when it is renewed.
        (hour, Some(3600), 1800),
        (Some(120 * SECOND), Some(120), 60),
        (None, None, 1800),
        // Absurd ones.
        (Some(Duration::ZERO), Some(20), 10),
        (Some(SECOND), Some(20), 10),
        (Some(HOUR * 24 * 3650), Some(3600), 1800),
        (Some(Duration::MAX), Some(3600), 1800),
    ];
    for (granted, lease, at) in table {
        let mut bench = Bench::started(Manner { grants: Some(granted), ..Manner::good() }, Manner::absent());
        assert_eq!(bench.mapped(), Some((Upnp, 4000, lease)));
        bench.orders();
        bench.run(Duration::from_secs(at));
        let first = bench.orders().into_iter().next().unwrap();
        assert!(first.starts_with(&format!("{at} add UPnP 4000")), "{granted:?}: {first}");
        assert_eq!(bench.mapped(), Some((Upnp, 4000, lease)));
    }
}

#[test]
fn a_lease_that_is_configured_short_is_renewed_as_often() {
    let config = MapperConfig { lease: 2 * SECOND, ..brisk() };
    let mut bench = Bench::new(Manner::good(), Manner::absent());
    bench.mapper = Mapper::new(config, Random::from_number(1));
    bench.target(OURS);
    bench.run(60 * SECOND);
    assert_eq!((bench.mapped(), bench.our_ports()), (Some((Upnp, 4000, Some(2))), vec![4000]));
    assert!((50..=62).contains(&bench.orders().len()));
}

#[test]
fn a_day_of_renewals_asks_for_nothing_else() {
    let mut bench = Bench::started(Manner::good(), Manner::good());
    bench.orders();
    bench.mapper.take_changed();
    bench.run(24 * HOUR);
    assert!(bench.orders().iter().all(|order| order.ends_with("add UPnP 4000 for 3600")));
    assert_eq!((bench.mapped(), bench.mapper.take_changed()), (Some((Upnp, 4000, Some(3600))), false));
}

#[test]
fn a_router_that_restarted_is_found_again() {
    let mut bench = Bench::started(Manner::good(), Manner::absent());
    bench.table.clear();
    bench.orders();
    // What was found last is gone: it listens at another port now.
    bench.manner(Upnp).fault = Some(MappingFault::NoRouter);
    bench.run(HOUR / 2 - 2 * SECOND + SECOND / 3);
    assert_eq!(bench.mapped(), Some((Upnp, 4000, Some(3600))), "until the search is lost");
    bench.manner(Upnp).fault = None;
    bench.run(2 * SECOND);
    assert_eq!(bench.mapped(), Some((Upnp, 4000, Some(3600))));
    let orders =
        ["1800 add UPnP 4000 for 3600", "1800 find UPnP", "1800 find NAT-PMP", "1800 add UPnP 4000 for 3600"];
    assert_eq!((bench.orders(), bench.our_ports()), (orders.map(String::from).to_vec(), vec![4000]));
}

#[test]
fn a_router_that_is_gone_loses_the_mapping_with_the_search() {
    let mut bench = Bench::started(Manner::good(), Manner::absent());
    *bench.manner(Upnp) = Manner { fault: Some(MappingFault::NoRouter), ..Manner::absent() };
    bench.run(HOUR / 2 - SECOND);
    assert!(bench.mapped().is_some());
    bench.run(3 * SECOND);
    assert_eq!(bench.failed(), Some((MappingFault::NoRouter, MappingFault::NoRouter)));
}

#[test]
fn a_lease_that_runs_out_while_the_router_hangs_is_no_mapping() {
    let mut bench =
        Bench::new(Manner { grants: Some(Some(20 * SECOND)), ..Manner::good() }, Manner::absent());
    bench.target(OURS);
    bench.run(5 * SECOND);
    bench.manner(Upnp).deaf = true;
    bench.run(14 * SECOND);
    assert!(bench.mapped().is_some());
    bench.run(2 * SECOND);
    assert_eq!(bench.mapper.status(), &Mapping::Searching);
    bench.run(6 * SECOND);
    assert_eq!(bench.failed(), Some((MappingFault::Silent, MappingFault::NoRouter)));
    bench.manner(Upnp).deaf = false;
    bench.run(60 * SECOND);
    assert_eq!(bench.mapped(), Some((Upnp, 4000, Some(20))));
}

#[test]
fn a_renewal_that_gets_another_port_is_told_and_the_old_one_removed() {
    let mut bench = Bench::started(Manner::good(), Manner::absent());
    bench.mapper.take_changed();
    bench.table.clear();
    bench.taken_by_neighbour([4000]);
    bench.run(HOUR / 2);
    assert_eq!((bench.mapped(), bench.mapper.take_changed()), (Some((Upnp, 4001, Some(3600))), true));
    bench.run(SECOND);
    assert_eq!((bench.our_ports(), bench.table[&4000].internal), (vec![4001], NEIGHBOUR));
}

#[test]
fn nat_pmp_chooses_the_port_and_what_it_moved_is_not_removed() {
    let moving = Manner { external: Some(5000), ..Manner::good() };
    let mut bench = Bench::started(Manner::absent(), moving);
    assert_eq!(bench.mapped(), Some((NatPmp, 5000, Some(3600))));
    bench.manner(NatPmp).external = Some(5001);
    bench.run(HOUR);
    assert_eq!((bench.mapped(), bench.our_ports()), (Some((NatPmp, 5001, Some(3600))), vec![5001]));
    assert!(bench.orders().iter().all(|order| !order.contains("remove")));
    bench.leave();
    assert_eq!((bench.our_ports(), bench.mapper.has_left()), (vec![], true));
}

#[test]
fn external_port_0_makes_no_sense() {
    let bench = Bench::started(Manner::absent(), Manner { external: Some(0), ..Manner::good() });
    assert_eq!(bench.failed(), Some((MappingFault::NoRouter, MappingFault::Dubious)));
}

#[test]
fn an_address_that_is_not_public_is_a_double_nat() {
    let found = |text: &str| Manner { found: Ok(text.parse().unwrap()), ..Manner::good() };
    let double = |protocol, text: &str| Mapping::DoubleNat { protocol, router: text.parse().unwrap() };
    for private in ["192.168.0.2", "10.0.0.1", "100.64.3.4", "::ffff:172.16.0.1"] {
        let mut bench = Bench::started(found(private), Manner::absent());
        let plain = private.trim_start_matches("::ffff:");
        assert_eq!(bench.mapper.status(), &double(Upnp, plain));
        assert_eq!(bench.orders(), ["0 find UPnP", "0 find NAT-PMP"]);
    }
    let bench = Bench::started(Manner::absent(), found("10.0.0.1"));
    assert_eq!(bench.mapper.status(), &double(NatPmp, "10.0.0.1"));
    // The other one that says a public address is used.
    let bench = Bench::started(found("10.0.0.1"), Manner { find_time: SECOND, ..Manner::good() });
    assert_eq!(bench.mapped(), Some((NatPmp, 4000, Some(3600))));
}

#[test]
fn an_address_that_no_host_has_makes_no_sense() {
    for nonsense in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "2001:db8::1"] {
        let upnp = Manner { found: Ok(nonsense.parse().unwrap()), ..Manner::good() };
        let bench = Bench::started(upnp, Manner::absent());
        assert_eq!(bench.failed(), Some((MappingFault::Dubious, MappingFault::NoRouter)), "{nonsense}");
    }
}

#[test]
fn a_router_that_moves_behind_another_nat_loses_the_mapping() {
    let mut bench = Bench::started(Manner::good(), Manner::absent());
    *bench.manner(Upnp) =
        Manner { found: Ok([10, 0, 0, 1].into()), fault: Some(MappingFault::NoRouter), ..Manner::good() };
    bench.run(HOUR / 2 + 2 * SECOND);
    assert!(matches!(bench.mapper.status(), Mapping::DoubleNat { protocol: Upnp, .. }));
}

#[test]
fn searches_that_are_lost_are_repeated_ever_more_seldom() {
    let mut bench = Bench::new(Manner::absent(), Manner::absent());
    bench.target(OURS);
    bench.run(6 * HOUR);
    let finds = bench.log.iter().filter(|(_, order)| in_short(order) == "find UPnP");
    let at: Vec<_> = finds.map(|(second, _)| *second).collect();
    let waits: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, middle) in waits.iter().zip([30, 60, 120, 240, 480, 960, 1800, 1800, 1800, 1800]) {
        assert!((middle * 3 / 4..=middle * 5 / 4 + 3).contains(wait), "{waits:?}");
    }
    assert!(waits.len() < 24, "{waits:?}");
    bench.mapper.take_changed();
    bench.run(HOUR);
    assert!(!bench.mapper.take_changed(), "what is known holds while it is tried again");
}

#[test]
fn a_silent_router_is_given_up_in_time_and_the_other_one_asked() {
    let mut bench = Bench::new(Manner { change_time: Some(HOUR), ..Manner::good() }, Manner::good());
    bench.manner(NatPmp).find_time = SECOND;
    bench.target(OURS);
    bench.run(11 * SECOND);
    assert_eq!(bench.mapper.status(), &Mapping::Searching);
    bench.run(2 * SECOND);
    assert_eq!(bench.mapped(), Some((NatPmp, 4000, Some(3600))));
}

#[test]
fn a_search_without_an_answer_ends() {
    let mut bench =
        Bench::new(Manner { deaf: true, ..Manner::good() }, Manner { deaf: true, ..Manner::good() });
    bench.target(OURS);
    bench.run(5 * SECOND);
    assert_eq!(bench.failed(), Some((MappingFault::Silent, MappingFault::Silent)));
}

#[test]
fn panics_are_faults_like_others() {
    let panics = Manner { fault: Some(MappingFault::Panicked), ..Manner::good() };
    let search = Manner { found: Err(MappingFault::Panicked), ..Manner::good() };
    let bench = Bench::started(panics, search);
    assert_eq!(bench.failed(), Some((MappingFault::Panicked, MappingFault::Panicked)));
}

#[test]
fn a_report_of_another_kind_makes_no_sense() {
    let mut mapper = Mapper::new(brisk(), Random::from_number(1));
    mapper.set_target(Some(Target { internal: OURS, external: 1 }), Instant::ZERO);
    while let Some((request, _)) = mapper.poll_order() {
        mapper.handle_report(request, Report::Removed(Ok(())), Instant::ZERO);
        mapper.handle_report(request + 77, Report::Removed(Ok(())), Instant::ZERO);
    }
    let (upnp, nat_pmp) = (MappingFault::Dubious, MappingFault::Dubious);
    assert_eq!(mapper.status(), &Mapping::Failed { upnp, nat_pmp });
}

#[test]
fn what_is_added_late_is_used_when_nothing_else_is() {
    let mut bench = Bench::new(Manner { change_time: Some(20 * SECOND), ..Manner::good() }, Manner::absent());
    bench.target(OURS);
    bench.run(19 * SECOND);
    assert_eq!(bench.failed(), Some((MappingFault::Silent, MappingFault::NoRouter)));
    bench.run(2 * SECOND);
    assert_eq!(bench.mapped(), Some((Upnp, 4000, Some(3600))));
}

#[test]
fn what_is_added_late_for_a_target_that_is_gone_is_removed() {
    for next in [None, Some(MOVED)] {
        let mut bench =
            Bench::new(Manner { change_time: Some(20 * SECOND), ..Manner::good() }, Manner::absent());
        bench.target(OURS);
        bench.run(5 * SECOND);
        bench.mapper.set_target(next.map(|internal| Target { internal, external: 4000 }), bench.now);
        bench.manner(Upnp).change_time = Some(SECOND);
        bench.run(120 * SECOND);
        let ours: Vec<_> = bench.table.values().map(|row| row.internal).collect();
        assert_eq!(ours, next.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_laptop_that_moves_takes_the_mapping_along() {
    let mut bench = Bench::started(Manner::good(), Manner::absent());
    bench.orders();
    bench.run(8 * SECOND);
    bench.target(MOVED);
    assert_eq!(bench.mapper.status(), &Mapping::Searching);
    bench.run(2 * SECOND);
    let orders = ["10 remove UPnP 4000", "10 find UPnP", "10 find NAT-PMP", "10 add UPnP 4000 for 3600"];
    assert_eq!(bench.orders(), orders);
    assert_eq!((bench.mapped(), bench.table[&4000].internal), (Some((Upnp, 4000, Some(3600))), MOVED));
}

#[test]
fn a_router_left_behind_does_not_hold_up_the_next_one_for_long() {
    let mut bench = Bench::started(Manner::good(), Manner::absent());
    bench.run(8 * SECOND);
    bench.manner(Upnp).change_time = None;
    bench.target(MOVED);
    bench.carry_out();
    bench.manner(Upnp).change_time = Some(SECOND);
    bench.run(5 * SECOND);
    assert!(bench.mapped().is_some());
}

#[test]
fn without_a_target_what_is_mapped_is_removed() {
    let mut bench = Bench::started(Manner::good(), Manner::good());
    bench.mapper.set_target(None, bench.now);
    assert_eq!(bench.mapper.status(), &Mapping::Waiting);
    bench.run(SECOND);
    assert_eq!((bench.our_ports(), bench.mapper.poll_timeout()), (vec![], None));
}

#[test]
fn a_removal_that_fails_is_tried_three_times() {
    let mut bench = Bench::started(Manner::good(), Manner::absent());
    bench.orders();
    bench.manner(Upnp).fault = Some(MappingFault::Refused);
    bench.mapper.set_target(None, bench.now);
    bench.run(HOUR);
    assert_eq!(bench.orders(), ["2 remove UPnP 4000", "32 remove UPnP 4000", "62 remove UPnP 4000"]);
}

#[test]
fn a_target_that_flaps_is_no_storm() {
    let mut bench = Bench::new(Manner::good(), Manner::good());
    for turn in 0..600 {
        bench.target(if turn % 2 == 0 { OURS } else { MOVED });
        bench.run(SECOND / 10);
    }
    assert!(bench.log.len() <= 12 * 2 + 12 * 2 + 2, "{}", bench.log.len());
}

#[test]
fn complaints_have_ever_stronger_remedies() {
    let mut bench = Bench::started(Manner::good(), Manner::absent());
    bench.orders();
    bench.run(8 * SECOND);
    let complain = |bench: &mut Bench| {
        bench.mapper.renew(bench.now);
        bench.run(10 * SECOND);
        bench.orders()
    };
    assert_eq!(complain(&mut bench), ["10 add UPnP 4000 for 3600"]);
    assert_eq!(complain(&mut bench), ["20 remove UPnP 4000", "20 add UPnP 4000 for 3600"]);
    assert_eq!(complain(&mut bench), ["30 find UPnP", "30 find NAT-PMP", "30 add UPnP 4000 for 3600"]);
    assert_eq!(complain(&mut bench), [""; 0], "the router is not what is wrong");
    assert!(bench.mapped().is_some());
    bench.run(60 * SECOND);
    assert_eq!(complain(&mut bench), ["110 add UPnP 4000 for 3600"]);
    bench.run(2 * HOUR);
    bench.orders();
    assert_eq!(complain(&mut bench).len(), 1);
}

#[test]
fn complaints_while_it_is_renewed_are_about_the_past() {
    let mut bench = Bench::started(Manner::good(), Manner::absent());
    bench.orders();
    for _ in 0..5 {
        bench.mapper.renew(bench.now);
    }
    bench.run(SECOND);
    assert_eq!(bench.orders(), ["2 add UPnP 4000 for 3600"]);
}

#[test]
fn without_a_mapping_a_complaint_brings_the_next_search_forward() {
    let mut bench = Bench::new(Manner::absent(), Manner::absent());
    bench.target(OURS);
    bench.run(HOUR);
    bench.orders();
    bench.mapper.renew(bench.now);
    bench.run(2 * SECOND);
    assert_eq!(bench.orders(), ["3600 find UPnP", "3600 find NAT-PMP"]);
    for _ in 0..28 {
        bench.mapper.renew(bench.now);
        bench.run(SECOND - SECOND / 10);
    }
    assert_eq!(bench.orders(), [""; 0], "not within half a minute");
}

#[test]
fn leaving_removes_by_the_protocol_that_added() {
    for (upnp, nat_pmp, order) in [
        (Manner::good(), Manner::absent(), "2 remove UPnP 4000"),
        (Manner::absent(), Manner::good(), "2 remove NAT-PMP 4000"),
    ] {
        let mut bench = Bench::started(upnp, nat_pmp);
        bench.orders();
        assert!(!bench.mapper.has_left());
        bench.leave();
        assert_eq!((bench.orders(), bench.our_ports()), (vec![order.to_owned()], vec![]));
        assert!(bench.mapper.has_left() && bench.mapper.poll_timeout().is_none());
        bench.target(MOVED);
        bench.mapper.renew(bench.now);
        bench.run(HOUR);
        assert_eq!(bench.orders(), [""; 0]);
    }
}

#[test]
fn leaving_with_nothing_mapped_is_done_at_once() {
    let mut idle = Bench::new(Manner::good(), Manner::good());
    idle.mapper.leave(idle.now);
    assert!(idle.mapper.has_left());
    let mut searching = Bench::new(Manner::good(), Manner::good());
    searching.target(OURS);
    searching.carry_out();
    searching.mapper.leave(searching.now);
    assert!(searching.mapper.has_left());
}

#[test]
fn leaving_waits_for_what_is_being_added_and_removes_it() {
    for (change_time, leaves_after) in [(SECOND, 3), (5 * SECOND / 4, 3)] {
        let mut bench =
            Bench::new(Manner { change_time: Some(change_time), ..Manner::good() }, Manner::absent());
        bench.target(OURS);
        bench.run(SECOND / 5);
        bench.manner(Upnp).change_time = Some(SECOND / 10);
        bench.mapper.leave(bench.now);
        assert!(!bench.mapper.has_left());
        bench.run(leaves_after * SECOND);
        assert_eq!((bench.our_ports(), bench.mapper.has_left()), (vec![], true));
    }
}

#[test]
fn leaving_a_router_that_hangs_ends_in_time() {
    // It adds, but nobody hears of it; the removal goes out all the same.
    let mut bench = Bench::new(Manner { change_time: None, ..Manner::good() }, Manner::absent());
    bench.target(OURS);
    bench.run(SECOND);
    assert_eq!(bench.our_ports(), [4000]);
    bench.mapper.leave(bench.now);
    bench.run(3 * SECOND - SECOND / 100);
    assert!(!bench.mapper.has_left());
    bench.run(SECOND / 100);
    assert!(bench.mapper.has_left());
    assert_eq!(bench.our_ports(), [0; 0]);
}

#[test]
fn a_router_that_hangs_for_ever_is_not_asked_for_ever() {
    let mut bench = Bench::new(Manner { change_time: Some(1000 * HOUR), ..Manner::good() }, Manner::absent());
    bench.target(OURS);
    let mut most = 0;
    for _ in 0..HOUR.as_secs() {
        bench.run(SECOND);
        most = most.max(bench.mapper.orders.hanging(Upnp));
        bench.mapper.renew(bench.now);
    }
    assert_eq!(most, MAX_HANGING);
    assert_eq!(bench.failed(), Some((MappingFault::Hung, MappingFault::NoRouter)));
}

#[test]
fn the_external_port_is_kept_over_an_outage() {
    let mut bench = Bench::new(Manner::good(), Manner::absent());
    bench.taken_by_neighbour([4000]);
    bench.target(OURS);
    bench.run(2 * SECOND);
    assert_eq!(bench.mapped(), Some((Upnp, 4001, Some(3600))));
    *bench.manner(Upnp) = Manner { fault: Some(MappingFault::NoRouter), ..Manner::absent() };
    bench.run(HOUR / 2);
    assert!(bench.failed().is_some());
    bench.table.clear();
    *bench.manner(Upnp) = Manner::good();
    bench.run(60 * SECOND);
    assert_eq!(bench.mapped(), Some((Upnp, 4001, Some(3600))));
}

#[test]
fn a_success_makes_the_next_wait_short_again() {
    let mut bench = Bench::new(Manner::absent(), Manner::absent());
    bench.target(OURS);
    bench.run(6 * HOUR);
    *bench.manner(Upnp) = Manner::good();
    bench.run(HOUR);
    assert!(bench.mapped().is_some());
    *bench.manner(Upnp) = Manner { fault: Some(MappingFault::NoRouter), ..Manner::absent() };
    while bench.mapped().is_some() {
        bench.run(SECOND);
    }
    bench.orders();
    bench.run(40 * SECOND);
    assert_eq!(bench.orders().len(), 2);
}

#[test]
fn a_no_does_not_mean_that_what_was_asked_before_is_not_there() {
    let mut bench = Bench::new(Manner { change_time: None, ..Manner::good() }, Manner::absent());
    bench.target(OURS);
    bench.run(20 * SECOND);
    *bench.manner(Upnp) = Manner { fault: Some(MappingFault::Refused), ..Manner::good() };
    bench.run(60 * SECOND);
    assert_eq!(bench.failed(), Some((MappingFault::Refused, MappingFault::NoRouter)));
    assert_eq!(bench.our_ports(), [4000]);
    bench.manner(Upnp).fault = None;
    bench.leave();
    // What hangs since the beginning is waited for.
    bench.run(2 * SECOND);
    assert_eq!((bench.our_ports(), bench.mapper.has_left()), (vec![], true));
}

#[test]
fn a_lost_answer_of_nat_pmp_is_followed_up_only_at_the_end() {
    let mut bench = Bench::new(Manner::good(), Manner { change_time: None, ..Manner::good() });
    bench.manner(Upnp).find_time = SECOND;
    bench.taken_by_neighbour([4000]);
    bench.target(OURS);
    bench.run(60 * SECOND);
    assert_eq!(bench.mapped(), Some((Upnp, 4001, Some(3600))));
    assert!(bench.orders().iter().all(|order| !order.contains("remove")));
    bench.leave();
    assert_eq!(bench.orders(), ["60 remove UPnP 4001", "60 remove NAT-PMP 4000"]);
}

#[test]
fn what_one_protocol_removes_the_other_does_not_add_meanwhile() {
    let mut bench = Bench::started(Manner::good(), Manner { find_time: SECOND / 2, ..Manner::good() });
    bench.run(8 * SECOND);
    bench.manner(Upnp).change_time = Some(5 * SECOND);
    bench.mapper.set_target(None, bench.now);
    bench.carry_out();
    bench.manner(Upnp).found = Err(MappingFault::NoRouter);
    bench.target(OURS);
    bench.run(4 * SECOND);
    assert_eq!(bench.mapper.status(), &Mapping::Searching);
    bench.run(2 * SECOND);
    assert_eq!((bench.mapped(), bench.our_ports()), (Some((NatPmp, 4000, Some(3600))), vec![4000]));
}

#[test]
fn leaving_tries_once_more_what_could_not_be_removed() {
    let mut bench = Bench::started(Manner::good(), Manner::absent());
    bench.manner(Upnp).fault = Some(MappingFault::Refused);
    bench.manner(Upnp).change_time = Some(SECOND / 10);
    bench.mapper.set_target(None, bench.now);
    bench.run(SECOND);
    bench.orders();
    bench.manner(Upnp).fault = None;
    bench.leave();
    assert_eq!((bench.orders(), bench.mapper.has_left()), (vec!["3 remove UPnP 4000".to_owned()], true));
}

#[test]
fn an_order_that_nobody_fetched_in_time_is_not_carried_out() {
    let mut bench = Bench::new(Manner::good(), Manner::good());
    bench.target(OURS);
    bench.mapper.handle_timeout(bench.now + 5 * SECOND);
    assert_eq!(bench.mapper.poll_order(), None);
    assert_eq!(bench.failed(), Some((MappingFault::Silent, MappingFault::Silent)));
}

#[test]
fn a_lease_that_ran_out_while_nobody_came_by_is_mapped_anew() {
    for complains in [false, true] {
        let mut bench = Bench::started(Manner::good(), Manner::absent());
        bench.orders();
        bench.now = bench.now + 2 * HOUR;
        if complains {
            bench.mapper.renew(bench.now);
        }
        bench.mapper.handle_timeout(bench.now);
        assert!(bench.mapper.poll_timeout().is_some());
        bench.run(2 * SECOND);
        assert_eq!((bench.mapped(), bench.our_ports()), (Some((Upnp, 4000, Some(3600))), vec![4000]));
        bench.run(24 * HOUR);
        assert!(bench.mapped().is_some());
    }
}

const NEW_WAN: Ipv4Addr = Ipv4Addr::new(81, 2, 3, 99);

#[test]
fn a_refresh_learns_the_address_and_keeps_what_is_mapped() {
    for protocol in [Upnp, NatPmp] {
        let mut bench = Bench::started(Manner::absent(), Manner::absent());
        *bench.manner(protocol) = Manner::good();
        bench.run(60 * SECOND);
        assert_eq!(bench.mapped(), Some((protocol, 4000, Some(3600))));
        // The other one is there now, and quicker.
        bench.manners = [Manner::good(), Manner::good()];
        bench.manner(protocol).find_time = SECOND;
        bench.has_moved_to(NEW_WAN);
        bench.mapper.take_changed();
        bench.orders();
        bench.mapper.refresh(bench.now);
        bench.run(SECOND - SECOND / 100);
        assert_eq!((bench.mapper.take_changed(), bench.our_ports()), (false, vec![4000]));
        bench.run(SECOND);
        assert_eq!(bench.external(), Some((NEW_WAN, 4000).into()));
        assert!(bench.mapper.take_changed());
        let add = format!("add {protocol} 4000 for 3600");
        let orders = bench.orders();
        let plain: Vec<_> =
            orders.iter().filter_map(|order| order.split_once(' ')).map(|(_, it)| it).collect();
        assert_eq!(plain, ["find UPnP", "find NAT-PMP", &add]);
    }
}

#[test]
fn a_refresh_while_it_is_renewed_comes_after_it() {
    let mut bench = Bench::started(Manner::good(), Manner::absent());
    // Less than the gap between two searches ago.
    bench.mapper.renew(bench.now);
    bench.carry_out();
    bench.has_moved_to(NEW_WAN);
    bench.mapper.refresh(bench.now);
    bench.run(6 * SECOND);
    assert_eq!(bench.external(), Some((NEW_WAN, 4000).into()));
}

#[test]
fn refreshes_are_no_complaints_and_no_storm() {
    let mut bench = Bench::started(Manner::good(), Manner::absent());
    bench.orders();
    for _ in 0..600 {
        bench.mapper.refresh(bench.now);
        bench.run(SECOND / 10);
        assert!(bench.mapped().is_some());
    }
    let orders = bench.orders();
    assert!((24..=39).contains(&orders.len()), "{orders:?}");
    assert!(orders.iter().all(|order| !order.contains("remove")), "{orders:?}");
    bench.run(10 * SECOND);
    bench.orders();
    bench.mapper.renew(bench.now);
    bench.run(SECOND);
    assert_eq!(bench.orders(), ["72 add UPnP 4000 for 3600"], "the first complaint");
}

#[test]
fn a_refresh_that_finds_nobody_takes_nothing_away() {
    let mut bench = Bench::started(Manner::good(), Manner::absent());
    bench.manner(Upnp).found = Err(MappingFault::NoRouter);
    bench.run(10 * SECOND);
    bench.mapper.refresh(bench.now);
    bench.run(10 * SECOND);
    assert_eq!(bench.mapped(), Some((Upnp, 4000, Some(3600))));
    assert_eq!(bench.orders().last().map(String::as_str), Some("13 add UPnP 4000 for 3600"));
    bench.run(HOUR);
    assert!(bench.mapped().is_some(), "it is renewed as ever");
    // A renewal that fails then is the end of it.
    bench.manner(Upnp).fault = Some(MappingFault::NoRouter);
    bench.mapper.refresh(bench.now);
    bench.run(20 * SECOND);
    assert!(bench.failed().is_some());
}

#[test]
fn without_a_mapping_a_refresh_brings_the_next_search_forward() {
    let mut bench = Bench::new(Manner::absent(), Manner::absent());
    bench.target(OURS);
    bench.run(HOUR);
    bench.orders();
    bench.mapper.refresh(bench.now);
    bench.run(2 * SECOND);
    assert_eq!(bench.orders(), ["3600 find UPnP", "3600 find NAT-PMP"]);
}

#[test]
fn what_somebody_made_by_hand_is_used_and_neither_changed_nor_removed() {
    let mut bench = Bench::new(Manner::good(), Manner::absent());
    bench.made_by_hand(4000);
    bench.target(OURS);
    bench.run(2 * SECOND);
    assert_eq!((bench.mapped(), bench.our_ports()), (Some((Upnp, 4000, None)), vec![]));
    // Whatever is complained about.
    for _ in 0..3 {
        bench.mapper.renew(bench.now);
        bench.run(10 * SECOND);
    }
    assert!(bench.orders().iter().all(|order| !order.contains("remove")));
    // It is looked at again at half of the lease that is configured; when it has gone, there is one of ours.
    bench.run(HOUR / 2);
    bench.table.clear();
    bench.run(HOUR / 2);
    assert_eq!((bench.mapped(), bench.our_ports()), (Some((Upnp, 4000, Some(3600))), vec![4000]));
    bench.table.clear();
    bench.made_by_hand(4000);
    bench.run(HOUR);
    assert_eq!(bench.mapped(), Some((Upnp, 4000, None)));
    bench.leave();
    assert!(bench.mapper.has_left());
    assert!(bench.table[&4000].by_hand);
}

#[test]
fn what_somebody_made_by_hand_is_not_asked_to_go() {
    let mut bench = Bench::new(Manner::good(), Manner::absent());
    bench.made_by_hand(4000);
    bench.target(OURS);
    bench.run(2 * SECOND);
    bench.orders();
    bench.leave();
    assert_eq!((bench.orders(), bench.mapper.has_left()), (vec![], true));
}

/// What happens in the property test.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Target(Option<bool>),
    Renew,
    Refresh,
    /// Nobody comes by for so long.
    Sleep(u64),
    ByHand(u16),
    Manner(usize, Manner),
    Restart,
    Take(u16),
    /// A report of anything to any order.
    Report(u64, Report),
}

fn fault() -> impl Strategy<Value = MappingFault> {
    use MappingFault::{Dubious, NoRouter, Panicked, Refused, Silent};
    prop_oneof![Just(NoRouter), Just(Refused), Just(Panicked), Just(Silent), Just(Dubious)]
}

fn manner() -> impl Strategy<Value = Manner> {
    use Leases::{All, Limited, None as Neither, Only402ForLimited, Only501ForLimited, Permanent};
    let address = prop_oneof![3 => Just(IpAddr::V4(WAN)), 1 => Just(IpAddr::from([10, 0, 0, 1]))];
    let found = prop_oneof![4 => address.prop_map(Ok), 1 => fault().prop_map(Err)];
    let leases = prop_oneof![
        Just(All),
        Just(Permanent),
        Just(Limited),
        Just(Only402ForLimited),
        Just(Only501ForLimited),
        Just(Neither)
    ];
    let grants = prop::option::weighted(
        0.2,
        prop_oneof![Just(None), (0u64..=u64::MAX).prop_map(|seconds| Some(Duration::from_secs(seconds)))],
    );
    let change_time = prop::option::weighted(0.9, (1u64..40_000).prop_map(Duration::from_millis));
    let faults = prop::option::weighted(0.2, fault());
    let external = prop::option::weighted(0.1, 3998u16..4004);
    (found, 1u64..5000, leases, grants, faults, change_time, external).prop_map(
        |(found, find_time, leases, grants, fault, change_time, external)| Manner {
            found,
            find_time: Duration::from_millis(find_time),
            leases,
            grants,
            external,
            fault,
            lists_nothing: find_time % 4 == 0,
            change_time,
            deaf: false,
        },
    )
}

fn report() -> impl Strategy<Value = Report> {
    prop_oneof![
        fault().prop_map(|fault| Report::Found(Err(fault))),
        Just(Report::Found(Ok(WAN.into()))),
        Just(Report::Added(Err(NotAdded::Conflict))),
        Just(Report::Added(Err(NotAdded::OnlyPermanent))),
        Just(Report::Added(Err(NotAdded::BadLease))),
        fault().prop_map(|fault| Report::Added(Err(NotAdded::Unexplained(fault)))),
        fault().prop_map(|fault| Report::Removed(Err(fault))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u64..60_000).prop_map(Step::Wait),
        1 => (0u64..4_000_000).prop_map(Step::Wait),
        2 => prop::option::of(any::<bool>()).prop_map(Step::Target),
        2 => Just(Step::Renew),
        1 => Just(Step::Refresh),
        1 => (0u64..8_000_000).prop_map(Step::Sleep),
        1 => (3998u16..4004).prop_map(Step::ByHand),
        2 => (0usize..2, manner()).prop_map(|(side, manner)| Step::Manner(side, manner)),
        1 => Just(Step::Restart),
        1 => (3998u16..4004).prop_map(Step::Take),
        1 => (0u64..40, report()).prop_map(|(request, report)| Step::Report(request, report)),
    ]
}

impl Bench {
    fn step(&mut self, step: Step) {
        self.take_step(step);
        assert!(
            self.mapper.target.is_none() || self.mapper.poll_timeout().is_some(),
            "it would never move again: {:?}",
            self.mapper
        );
    }

    fn take_step(&mut self, step: Step) {
        match step {
            Step::Wait(millis) => self.run(Duration::from_millis(millis)),
            Step::Target(None) => self.mapper.set_target(None, self.now),
            Step::Target(Some(moved)) => self.target(if moved { MOVED } else { OURS }),
            Step::Renew => self.mapper.renew(self.now),
            Step::Refresh => self.mapper.refresh(self.now),
            Step::Sleep(millis) => self.sleep(Duration::from_millis(millis)),
            Step::ByHand(port) if !self.table.contains_key(&port) => self.made_by_hand(port),
            Step::ByHand(_) => {}
            Step::Manner(side, manner) => self.manners[side] = manner,
            Step::Restart => self.table.retain(|_, row| row.internal == NEIGHBOUR || row.by_hand),
            Step::Take(port) if !self.table.contains_key(&port) => self.taken_by_neighbour([port]),
            Step::Take(_) => {}
            Step::Report(request, report) => self.mapper.handle_report(request, report, self.now),
        }
    }

    /// From now on everything is answered, and whatever was hung is through.
    fn becomes_good(&mut self) {
        self.manners = [Manner::good(), Manner::good()];
        self.run(60 * SECOND);
    }

    fn busiest_minute(&self) -> usize {
        let within = |from: u64| self.log.iter().filter(|(at, _)| (from..from + 60).contains(at)).count();
        self.log.iter().map(|(at, _)| within(*at)).max().unwrap_or(0)
    }
}

/// The most that was seen in thousands of runs is 17.
const ORDERS_A_MINUTE: usize = 40;

proptest! {
    #[test]
    fn nothing_spins_and_nobody_elses_mapping_goes(
        steps in prop::collection::vec(step(), 1..60),
        upnp in manner(),
        nat_pmp in manner(),
    ) {
        let mut bench = Bench::new(upnp, nat_pmp);
        bench.target(OURS);
        let (mut neighbours, mut by_hand) = (BTreeSet::new(), BTreeSet::new());
        for step in steps {
            if let Step::ByHand(port) = step && !bench.table.contains_key(&port) {
                by_hand.insert(port);
            }
            if let Step::Take(port) = step && !bench.table.contains_key(&port) {
                neighbours.insert(port);
            }
            bench.step(step);
            prop_assert!(neighbours.iter().all(|port| bench.table[port].internal == NEIGHBOUR));
            prop_assert!(by_hand.iter().all(|port| bench.table[port].by_hand));
            prop_assert!(bench.mapper.orders.hanging(Upnp) <= MAX_HANGING);
        }
        prop_assert!(bench.busiest_minute() <= ORDERS_A_MINUTE, "{}", bench.busiest_minute());
    }

    #[test]
    fn leaving_a_router_that_answers_leaves_nothing_there(
        steps in prop::collection::vec(step(), 1..60),
        upnp in manner(),
        nat_pmp in manner(),
    ) {
        let mut bench = Bench::new(upnp, nat_pmp);
        bench.target(OURS);
        for step in steps {
            // Without a lie that a removal was done, or an order taken for another.
            if !matches!(step, Step::Report(..)) {
                bench.step(step);
            }
        }
        bench.becomes_good();
        bench.mapper.leave(bench.now);
        bench.run(3 * SECOND);
        prop_assert!(bench.mapper.has_left());
        prop_assert_eq!(bench.our_ports(), Vec::<u16>::new());
    }
}
