//! The desk and the router in process: what each habit of a router comes to, and how soon.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::desk::GatewayDesk;
use super::router::{ControlUrl, Counts, FakeRouter, Framing, Http, Leases, Mapping, NatPmp, Ssdp, Writing};
use crate::gateway::{Added, NotAdded, Order, Report};
use crate::reach::{MappingFault, MappingProtocol};

const US: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 44_444);
/// For what works: as long as it takes on a busy machine.
const AMPLE: Duration = Duration::from_secs(8);
/// For what does not, and is waited for.
const SHORT: Duration = Duration::from_millis(600);
/// What a busy machine may add to a deadline; the libraries would add ten seconds and more.
const SLACK: Duration = Duration::from_secs(2);
const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// A desk, the loop that it wakes, and a router.
struct Bench {
    desk: GatewayDesk,
    poll: Poll,
    router: FakeRouter,
    protocol: MappingProtocol,
    within: Duration,
    request: u64,
}

impl Bench {
    fn new(protocol: MappingProtocol) -> Self {
        Self::with(protocol, AMPLE)
    }

    /// With little time for everything.
    fn hasty(protocol: MappingProtocol) -> Self {
        Self { within: SHORT, ..Self::with(protocol, SHORT) }
    }

    fn with(protocol: MappingProtocol, patience: Duration) -> Self {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let desk = GatewayDesk::with(waker, patience);
        Self { desk, poll, router: FakeRouter::start().unwrap(), protocol, within: AMPLE, request: 0 }
    }

    /// With a router that was found.
    fn found(mut self) -> Self {
        let within = std::mem::replace(&mut self.within, AMPLE);
        assert_eq!(self.find(), Ok(IpAddr::V4(Ipv4Addr::new(11, 22, 33, 44))));
        Self { within, ..self }
    }

    fn begin(&mut self, order: Order) -> u64 {
        self.request += 1;
        self.desk.order(self.request, order);
        self.request
    }

    /// The report of an order that is alone, woken up for.
    fn carry_out(&mut self, order: Order) -> Report {
        let request = self.begin(order);
        let (reported, report) = self.wait();
        assert_eq!(reported, request);
        report
    }

    fn wait(&mut self) -> (u64, Report) {
        let begin = Instant::now();
        loop {
            if let Some(report) = self.desk.poll_report() {
                return report;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "waited in vain");
            self.poll.poll(&mut Events::with_capacity(1), Some(Duration::from_secs(1))).unwrap();
        }
    }

    fn find_order(&self) -> Order {
        let (protocol, router) = (self.protocol, Some(self.router.ip().into()));
        Order::Find { protocol, from: US, router, within: self.within }
    }

    /// Also checks that it keeps its time.
    fn find(&mut self) -> Result<IpAddr, MappingFault> {
        let begin = Instant::now();
        let report = self.carry_out(self.find_order());
        assert!(begin.elapsed() < self.within + SLACK, "{:?}", begin.elapsed());
        let Report::Found(outcome) = report else { panic!("{report:?}") };
        outcome
    }

    fn add(&mut self, external: u16, lease: Option<Duration>) -> Result<Added, NotAdded> {
        let protocol = self.protocol;
        let report = self.carry_out(Order::Add { protocol, external, internal: US, lease });
        let Report::Added(outcome) = report else { panic!("{report:?}") };
        outcome
    }

    fn remove(&mut self, external: u16) -> Result<(), MappingFault> {
        self.remove_what(external, false)
    }

    /// What the router has said that it added.
    fn remove_added(&mut self, external: u16) -> Result<(), MappingFault> {
        self.remove_what(external, true)
    }

    fn remove_what(&mut self, external: u16, was_added: bool) -> Result<(), MappingFault> {
        let protocol = self.protocol;
        let report = self.carry_out(Order::Remove { protocol, external, internal: US, was_added });
        let Report::Removed(outcome) = report else { panic!("{report:?}") };
        outcome
    }
}

fn upnp() -> Bench {
    Bench::new(MappingProtocol::Upnp)
}

fn upnp_found() -> Bench {
    upnp().found()
}

fn upnp_hasty() -> Bench {
    Bench::hasty(MappingProtocol::Upnp)
}

fn nat_pmp() -> Bench {
    Bench::new(MappingProtocol::NatPmp)
}

fn nat_pmp_found() -> Bench {
    nat_pmp().found()
}

fn nat_pmp_hasty() -> Bench {
    Bench::hasty(MappingProtocol::NatPmp)
}

fn ours(external: u16, lease: Option<Duration>) -> Added {
    Added { external, lease, is_ours: true, is_missing: false }
}

fn other(text: &str) -> MappingFault {
    MappingFault::Other(text.into())
}

fn mapping(internal: SocketAddrV4, lease: u32) -> Mapping {
    Mapping { external: 44_444, internal, lease, description: "somebody else".into() }
}

#[test]
fn without_an_order_nothing_is_sent_and_nobody_started() {
    let mut bench = upnp();
    assert_eq!(bench.desk.poll_report(), None);
    assert!(!bench.desk.has_failed());
    assert_eq!(bench.router.counts(), Counts::default());
}

#[test]
fn nobody_is_asked_before_somebody_is_found() {
    for mut bench in [upnp(), nat_pmp()] {
        assert_eq!(bench.add(44_444, HOUR), Err(NotAdded::Fault(MappingFault::NoRouter)));
        assert_eq!(bench.remove(44_444), Err(MappingFault::NoRouter));
        assert_eq!(bench.router.counts(), Counts::default());
    }
}

#[test]
fn upnp_adds_renews_and_removes() {
    let mut bench = upnp_found();
    let added = Ok(ours(44_444, HOUR));
    assert_eq!(bench.add(44_444, HOUR), added);
    assert_eq!(bench.router.mappings(), [Mapping { description: "p2poll".into(), ..mapping(US, 3600) }]);
    assert_eq!(bench.add(44_444, HOUR), added, "renewed");
    assert_eq!(bench.remove(44_444), Ok(()));
    assert_eq!(bench.remove(44_444), Ok(()), "there is nothing any more");
    assert_eq!(bench.router.mappings(), []);
    let Counts { search, description, external_address, add, delete, specific_entry, .. } =
        bench.router.counts();
    assert_eq!((description, external_address, add, delete), (1, 1, 2, 1));
    assert_eq!((search, specific_entry), (4, 6));
    assert_eq!((bench.router.counts().generic_entry, bench.router.counts().unknown), (0, 0));
}

#[test]
fn upnp_with_every_kind_of_control_url() {
    for url in [ControlUrl::Rooted, ControlUrl::Relative, ControlUrl::Absolute] {
        let mut bench = upnp();
        bench.router.set(|router| router.control_url = url);
        assert!(bench.find().is_ok(), "{url:?}");
        assert!(bench.add(44_444, None).is_ok_and(|added| added.lease.is_none()), "{url:?}");
        assert_eq!(bench.remove(44_444), Ok(()), "{url:?}");
        assert_eq!(bench.router.counts().unknown, 0);
    }
}

#[test]
fn upnp_with_nonsense_before_the_answer() {
    for ssdp in [Ssdp::GarbageFirst, Ssdp::Ipv6First] {
        let mut bench = upnp();
        bench.router.set(|router| router.ssdp = ssdp);
        assert!(bench.find().is_ok(), "{ssdp:?}");
    }
}

#[test]
fn upnp_with_nobody_or_somebody_dubious() {
    let mut bench = upnp_hasty();
    bench.router.set(|router| router.ssdp = Ssdp::Silent);
    assert_eq!(bench.find(), Err(MappingFault::NoRouter));
    assert_eq!(bench.router.counts().search, 8, "two searches, in case of loss");
    for elsewhere in [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(127, 0, 0, 1)] {
        bench.router.set(|router| router.ssdp = Ssdp::Elsewhere(elsewhere));
        assert_eq!(bench.find(), Err(MappingFault::Dubious));
    }
    assert_eq!(bench.router.counts().description, 0);
    // Nobody has that address at all, or nothing at these ports.
    let router = Some(Ipv4Addr::new(127, 0, 0, 99).into());
    for protocol in [MappingProtocol::Upnp, MappingProtocol::NatPmp] {
        let order = Order::Find { protocol, from: US, router, within: SHORT };
        assert_eq!(bench.carry_out(order), Report::Found(Err(MappingFault::NoRouter)));
        let router = Some(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]));
        let order = Order::Find { protocol, from: US, router, within: SHORT };
        assert_eq!(bench.carry_out(order), Report::Found(Err(MappingFault::NoRouter)));
    }
}

#[test]
fn upnp_with_a_router_that_hangs_or_never_ends() {
    for (http, fault) in [
        (Http::Hung, MappingFault::Silent),
        (Http::Slow(Duration::from_secs(60)), MappingFault::Silent),
        (Http::Endless, MappingFault::Dubious),
    ] {
        let mut bench = upnp_hasty();
        bench.router.set(|router| router.http = http);
        assert_eq!(bench.find(), Err(fault), "{http:?}");
    }
    let mut bench = upnp_hasty().found();
    bench.router.set(|router| router.http = Http::Hung);
    let begin = Instant::now();
    assert_eq!(bench.add(44_444, HOUR), Err(NotAdded::Fault(MappingFault::Silent)));
    assert_eq!(bench.remove(44_444), Err(MappingFault::Silent));
    assert!(begin.elapsed() < 2 * SHORT + SLACK, "{:?}", begin.elapsed());
    bench.router.set(|router| router.http = Http::Endless);
    assert_eq!(bench.add(44_444, HOUR), Err(NotAdded::Fault(MappingFault::Dubious)));
    assert_eq!((bench.router.counts().add, bench.router.counts().delete), (0, 0));
}

#[test]
fn upnp_with_a_slow_router() {
    let mut bench = upnp();
    bench.router.set(|router| router.http = Http::Slow(Duration::from_millis(40)));
    assert!(bench.find().is_ok());
    assert!(bench.add(44_444, HOUR).is_ok());
}

#[test]
fn upnp_leases_that_a_router_does_not_take() {
    for is_eloquent in [true, false] {
        let mut bench = upnp_found();
        let mut try_with = |leases, lease| {
            bench.router.set(|router| (router.leases, router.is_eloquent) = (leases, is_eloquent));
            bench.router.forget_mappings();
            bench.add(44_444, lease)
        };
        assert_eq!(try_with(Leases::OnlyPermanent, HOUR), Err(NotAdded::OnlyPermanent));
        assert_eq!(try_with(Leases::OnlyPermanent, None), Ok(ours(44_444, None)));
        assert_eq!(try_with(Leases::OnlyLimited, None), Err(NotAdded::BadLease));
        assert_eq!(try_with(Leases::OnlyLimited, HOUR), Ok(ours(44_444, HOUR)));
        assert_eq!(try_with(Leases::Neither, HOUR), Err(NotAdded::BadLease));
        assert_eq!(try_with(Leases::Neither, None), Err(NotAdded::BadLease));
        let cut = Some(Duration::from_secs(120));
        assert_eq!(try_with(Leases::UpTo(120), HOUR), Ok(ours(44_444, cut)));
        let why = if is_eloquent { "UPnP error 501: Error501" } else { "UPnP error 501" };
        assert_eq!(try_with(Leases::LimitedFail, HOUR), Err(NotAdded::Unexplained(other(why))));
        assert_eq!(try_with(Leases::LimitedFail, None), Ok(ours(44_444, None)));
    }
}

#[test]
fn upnp_refusals() {
    let mut bench = upnp_found();
    bench.router.set(|router| router.conflicts = 1);
    assert_eq!(bench.add(44_444, HOUR), Err(NotAdded::Conflict));
    assert!(bench.add(44_445, HOUR).is_ok());
    let faults = [
        (606, MappingFault::Refused),
        (401, MappingFault::Refused),
        (724, MappingFault::Conflict),
        (728, MappingFault::Conflict),
        (799, other("UPnP error 799: Error799")),
    ];
    for (code, fault) in faults {
        bench.router.set(|router| router.refusal = Some(code));
        assert_eq!(bench.add(44_446, HOUR), Err(NotAdded::Fault(fault)), "{code}");
    }
    for code in [501, 600, 601] {
        bench.router.set(|router| router.refusal = Some(code));
        let fault = other(&format!("UPnP error {code}: Error{code}"));
        assert_eq!(bench.add(44_446, HOUR), Err(NotAdded::Unexplained(fault)), "{code}");
    }
    bench.router.set(|router| (router.refusal, router.is_eloquent) = (Some(799), false));
    assert_eq!(bench.add(44_446, HOUR), Err(NotAdded::Fault(other("UPnP error 799"))));
    bench.router.set(|router| router.refusal = Some(729));
    assert_eq!(bench.add(44_446, HOUR), Err(NotAdded::Conflict));
}

#[test]
fn upnp_takes_nothing_from_others_and_removes_nothing_of_theirs() {
    for has_specific_entry in [true, false] {
        let mut bench = upnp_found();
        bench.router.set(|router| router.has_specific_entry = has_specific_entry);
        // Another computer's, and another program's on this one, which a router would give us.
        for internal in
            [SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), 44_444), SocketAddrV4::new(*US.ip(), 5000)]
        {
            bench.router.put_mapping(mapping(internal, 0));
            assert_eq!(bench.add(44_444, HOUR), Err(NotAdded::Conflict));
            assert_eq!(bench.remove(44_444), Ok(()));
            assert_eq!(bench.router.mappings(), [mapping(internal, 0)]);
        }
        assert_eq!((bench.router.counts().add, bench.router.counts().delete), (0, 0));
        assert!(bench.add(44_445, HOUR).is_ok());
        assert_eq!(bench.remove(44_445), Ok(()));
        assert_eq!((bench.router.counts().add, bench.router.counts().delete), (1, 1));
        assert_eq!(bench.router.counts().generic_entry > 0, !has_specific_entry);
    }
}

#[test]
fn upnp_leaves_what_leads_to_us_by_somebody_elses_wish() {
    for has_specific_entry in [true, false] {
        let mut bench = upnp_found();
        bench.router.set(|router| router.has_specific_entry = has_specific_entry);
        for (seconds, lease) in [(0, None), (3600, HOUR)] {
            bench.router.put_mapping(mapping(US, seconds));
            assert_eq!(
                bench.add(44_444, HOUR),
                Ok(Added { external: 44_444, lease, is_ours: false, is_missing: false })
            );
            assert_eq!(bench.remove(44_444), Ok(()));
            assert_eq!(bench.router.mappings(), [mapping(US, seconds)]);
        }
        assert_eq!((bench.router.counts().add, bench.router.counts().delete), (0, 0));
    }
}

#[test]
fn upnp_knows_its_own_by_whatever_the_router_calls_it() {
    for shown in ["", "P2POLL (UPnP)"] {
        let mut bench = upnp_found();
        bench.router.set(|router| router.describes_as = Some(shown.into()));
        assert_eq!(bench.add(44_444, HOUR), Ok(ours(44_444, HOUR)));
        assert!(bench.find().is_ok());
        assert_eq!(bench.add(44_444, HOUR), Ok(ours(44_444, HOUR)), "renewed");
        assert_eq!((bench.router.counts().add, bench.router.mappings()[0].description.as_str()), (2, shown));
        assert_eq!(bench.remove(44_444), Ok(()));
        assert_eq!(bench.router.mappings(), []);
    }
}

#[test]
fn upnp_with_a_router_that_restarts() {
    let mut bench = upnp_found();
    assert!(bench.add(44_444, HOUR).is_ok());
    bench.router.restart();
    // It has restarted when it answers; the new port is known from then on.
    assert!(bench.find().is_ok());
    assert_eq!(bench.router.mappings(), []);
    assert!(bench.add(44_444, HOUR).is_ok());
}

#[test]
fn upnp_with_a_router_that_has_restarted_unnoticed() {
    let mut bench = upnp_found();
    let mut observer = upnp();
    std::mem::swap(&mut bench.router, &mut observer.router);
    observer.router.restart();
    assert!(observer.find().is_ok());
    assert_eq!(bench.add(44_444, HOUR), Err(NotAdded::Fault(MappingFault::Silent)));
}

#[test]
fn what_the_router_says_of_its_address_is_told_as_it_is() {
    for ip in ["192.168.7.7", "100.64.0.9", "8.8.8.8", "127.0.0.1"] {
        for mut bench in [upnp(), nat_pmp()] {
            bench.router.set(|router| router.external = ip.parse().unwrap());
            assert_eq!(bench.find(), Ok(ip.parse().unwrap()));
        }
    }
    for mut bench in [upnp(), nat_pmp()] {
        bench.router.set(|router| router.external = Ipv4Addr::UNSPECIFIED.into());
        let begin = Instant::now();
        assert_eq!(bench.find(), Err(MappingFault::NoOutside));
        assert!(begin.elapsed() < AMPLE / 2, "it has answered, and nobody else will");
    }
}

#[test]
fn upnp_with_a_router_that_forgets() {
    let mut bench = upnp_found();
    assert!(bench.add(44_444, HOUR).is_ok());
    bench.router.forget_mappings();
    assert_eq!(bench.remove(44_444), Ok(()));
    // It says yes, and has nothing in its table.
    bench.router.set(|router| router.is_forgetful = true);
    assert_eq!(bench.add(44_444, HOUR), Ok(Added { is_missing: true, ..ours(44_444, HOUR) }));
    let deletes = bench.router.counts().delete;
    assert_eq!(bench.remove_added(44_444), Ok(()));
    assert_eq!(bench.router.counts().delete, deletes + 1, "it may be there all the same");
}

#[test]
fn upnp_with_a_table_that_does_not_say_whose_it_is() {
    for client in ["laptop", "", "0.0.0.0"] {
        for has_specific_entry in [true, false] {
            let mut bench = upnp_found();
            bench.router.set(|router| {
                (router.shows_client, router.has_specific_entry) = (Some(client), has_specific_entry);
            });
            assert_eq!(bench.add(44_444, HOUR), Ok(ours(44_444, HOUR)), "{client:?}");
            assert_eq!(bench.add(44_444, HOUR), Ok(ours(44_444, HOUR)), "renewed");
            assert_eq!(bench.router.mappings().len(), 1);
            // It may be another's, for all that is told, unless it was we who added it.
            assert_eq!(bench.remove(44_444), Err(other("the router does not tell whose the mapping is")));
            assert_eq!(bench.remove_added(44_444), Ok(()));
            assert_eq!(bench.router.mappings(), []);
            // Another program's, by its port.
            bench.router.put_mapping(mapping(SocketAddrV4::new(*US.ip(), 5000), 0));
            assert_eq!(bench.add(44_444, HOUR), Err(NotAdded::Conflict));
            assert_eq!(bench.remove_added(44_444), Ok(()));
            assert_eq!(bench.router.mappings().len(), 1);
        }
    }
}

#[test]
fn upnp_with_a_router_that_takes_us_for_somebody_else() {
    let mut bench = upnp_found();
    bench.router.set(|router| router.takes_us_for = Some(Ipv4Addr::new(127, 0, 0, 9)));
    let fault = other("it would be forwarded to 127.0.0.9:44444, not to 127.0.0.1:44444");
    assert_eq!(bench.add(44_444, HOUR), Err(NotAdded::Fault(fault)));
    assert_eq!(bench.router.mappings(), [], "what was just added is deleted");
    // What was there before stays.
    let others = mapping(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 9), 44_444), 0);
    bench.router.put_mapping(others.clone());
    assert_eq!(bench.add(44_444, HOUR), Err(NotAdded::Conflict));
    assert_eq!(bench.router.mappings(), [others]);
}

#[test]
fn upnp_with_a_free_port_that_is_an_entry() {
    for free in [("", ""), ("0", ""), ("0", "0.0.0.0"), ("", "0.0.0.0")] {
        let mut bench = upnp_found();
        bench.router.set(|router| router.free_entry = Some(free));
        assert_eq!(bench.add(44_444, HOUR), Ok(ours(44_444, HOUR)), "{free:?}");
        assert_eq!(bench.remove(44_444), Ok(()));
        assert_eq!(bench.router.mappings(), []);
    }
}

#[test]
fn upnp_with_answers_in_chunks_and_without_a_length() {
    for framing in [Framing::Chunks, Framing::End] {
        for has_specific_entry in [true, false] {
            let mut bench = upnp();
            bench
                .router
                .set(|router| (router.framing, router.has_specific_entry) = (framing, has_specific_entry));
            assert!(bench.find().is_ok(), "{framing:?}");
            bench.router.put_mapping(Mapping { external: 1, ..mapping(US, 0) });
            assert_eq!(bench.add(44_444, HOUR), Ok(ours(44_444, HOUR)), "{framing:?}");
            assert_eq!(bench.remove(44_444), Ok(()));
            assert_eq!(bench.router.mappings().len(), 1);
        }
    }
}

#[test]
fn upnp_with_several_lines_to_the_outside() {
    let (unspecified, private, public) =
        ([0, 0, 0, 0].into(), [192, 168, 7, 7].into(), [11, 22, 33, 44].into());
    for has_many_devices in [false, true] {
        for dead in [vec![unspecified], vec![private], vec![private, unspecified, private]] {
            let mut bench = upnp();
            bench.router.set(|router| {
                (router.dead_services, router.has_many_devices) = (dead.clone(), has_many_devices);
            });
            assert_eq!(bench.find(), Ok(public), "{dead:?}");
            assert_eq!(bench.add(44_444, HOUR), Ok(ours(44_444, HOUR)));
            assert_eq!(bench.remove(44_444), Ok(()));
        }
        // None of them is public: the best of them.
        let mut bench = upnp();
        bench.router.set(|router| {
            router.external = unspecified;
            (router.dead_services, router.has_many_devices) = (vec![unspecified, private], has_many_devices);
        });
        assert_eq!(bench.find(), Ok(private));
        bench.router.set(|router| router.dead_services = vec![unspecified]);
        assert_eq!(bench.find(), Err(MappingFault::NoOutside));
    }
}

#[test]
fn upnp_with_what_is_not_quite_xml() {
    for writing in [
        Writing::RawAmpersand,
        Writing::WrongEnd,
        Writing::TrailingNul,
        Writing::LeadingBlank,
        Writing::Latin1,
    ] {
        let mut bench = upnp();
        bench.router.set(|router| router.writing = writing);
        assert!(bench.find().is_ok(), "{writing:?}");
        assert_eq!(bench.add(44_444, HOUR), Ok(ours(44_444, HOUR)), "{writing:?}");
        assert_eq!(bench.remove(44_444), Ok(()), "{writing:?}");
    }
}

#[test]
fn nat_pmp_adds_renews_and_removes() {
    let mut bench = nat_pmp_found();
    let added = Ok(ours(44_444, HOUR));
    assert_eq!(bench.add(44_444, HOUR), added);
    assert_eq!(bench.add(44_444, HOUR), added);
    let [Mapping { external: 44_444, internal: US, lease: 3600, .. }] = bench.router.mappings()[..] else {
        panic!("{:?}", bench.router.mappings())
    };
    assert_eq!(bench.remove(44_444), Ok(()));
    assert_eq!(bench.remove(44_444), Ok(()));
    assert_eq!(bench.router.mappings(), []);
    let week = Some(Duration::from_secs(604_800));
    assert_eq!(bench.add(44_444, None), Ok(ours(44_444, week)));
    let expected = Counts { pmp_address: 1, pmp_map: 3, pmp_unmap: 2, ..Counts::default() };
    assert_eq!(bench.router.counts(), expected);
}

#[test]
fn nat_pmp_assigns_another_port() {
    let mut bench = nat_pmp_found();
    bench.router.set(|router| router.nat_pmp = NatPmp::OtherPort);
    assert_eq!(bench.add(44_444, HOUR), Ok(ours(44_445, HOUR)));
    bench.router.set(|router| router.nat_pmp = NatPmp::Normal);
    bench.router.put_mapping(mapping(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), 1), 60));
    assert_eq!(bench.remove(44_445), Ok(()));
    assert_eq!(bench.add(44_444, HOUR), Ok(ours(44_445, HOUR)));
}

#[test]
fn nat_pmp_refusals() {
    let faults = [
        (1, other("the router speaks another version of the protocol")),
        (2, MappingFault::Refused),
        (3, MappingFault::NoOutside),
        (4, MappingFault::Conflict),
        (5, MappingFault::Refused),
        (99, other("undefined nat-pmp server error")),
    ];
    let mut bench = nat_pmp_found();
    for (code, fault) in faults {
        bench.router.set(|router| router.nat_pmp = NatPmp::ResultCode(code));
        assert_eq!(bench.add(44_444, HOUR), Err(NotAdded::Fault(fault.clone())), "{code}");
        assert_eq!(bench.remove(44_444), Err(fault.clone()), "{code}");
        assert_eq!(bench.find(), Err(fault), "{code}");
    }
}

#[test]
fn nat_pmp_with_a_router_that_makes_no_sense() {
    let version = other("the router speaks another version of the protocol");
    let mut bench = nat_pmp_hasty().found();
    let mut with = |habit| {
        bench.router.set(|router| router.nat_pmp = habit);
        let Err(NotAdded::Fault(fault)) = bench.add(44_444, HOUR) else { panic!("{habit:?}") };
        fault
    };
    assert_eq!(with(NatPmp::Silent), MappingFault::Silent);
    assert_eq!(with(NatPmp::WrongVersion), version);
    assert_eq!(with(NatPmp::WrongPort), MappingFault::Dubious);
    for len in [4, 8, 9, 11, 12] {
        assert_eq!(with(NatPmp::Truncated(len)), MappingFault::Dubious, "{len}");
    }
    // What is missing reads as zeros, in the library.
    let mut bench = nat_pmp_hasty();
    for (habit, fault) in [
        (NatPmp::Silent, MappingFault::NoRouter),
        (NatPmp::Truncated(8), MappingFault::NoOutside),
        (NatPmp::WrongVersion, version),
    ] {
        bench.router.set(|router| router.nat_pmp = habit);
        assert_eq!(bench.find(), Err(fault), "{habit:?}");
    }
}

#[test]
fn nat_pmp_with_a_lost_datagram() {
    let mut bench = nat_pmp();
    bench.router.set(|router| router.nat_pmp = NatPmp::Deaf);
    assert!(bench.find().is_ok());
    assert_eq!(bench.router.counts().pmp_address, 2);
}

#[test]
fn nat_pmp_forwards_to_nobody_but_us() {
    let mut bench = nat_pmp();
    let (protocol, router) = (bench.protocol, Some(bench.router.ip().into()));
    let from = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 3), 0);
    let report = bench.carry_out(Order::Find { protocol, from, router, within: SHORT });
    let fault = other("it would be forwarded to 127.0.0.1, not to 127.0.0.3");
    assert_eq!(report, Report::Found(Err(fault)));
    assert_eq!(bench.router.counts(), Counts::default());
}

#[test]
fn only_so_many_hang_at_a_time() {
    let mut bench = nat_pmp_hasty();
    bench.router.set(|router| router.nat_pmp = NatPmp::Silent);
    let hanging: Vec<u64> = (0..6).map(|_| bench.begin(bench.find_order())).collect();
    let refused = bench.begin(bench.find_order());
    assert!(bench.desk.has_failed());
    assert_eq!(bench.wait(), (refused, Report::Found(Err(MappingFault::Hung))));
    let mut ended: Vec<u64> = hanging.iter().map(|_| bench.wait().0).collect();
    ended.sort_unstable();
    assert_eq!(ended, hanging);
    bench.within = AMPLE;
    bench.router.set(|router| router.nat_pmp = NatPmp::Normal);
    assert!(bench.find().is_ok(), "there is room again");
}

#[test]
fn a_desk_that_goes_waits_for_nobody() {
    let mut bench = nat_pmp_hasty();
    bench.router.set(|router| router.nat_pmp = NatPmp::Silent);
    bench.begin(bench.find_order());
    let begin = Instant::now();
    drop(bench.desk);
    assert!(begin.elapsed() < SHORT);
}
