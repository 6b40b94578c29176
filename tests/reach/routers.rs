//! Routers that forward, refuse, lie, hang, restart and forget, on addresses of loopback.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use p2poll::{Config, Event, Mapping, MappingFault, MappingProtocol, Net, PortMapping, Reachability};

use crate::common::*;
use crate::router::{
    Behaviour, ControlUrl, Counts, FakeRouter, Framing, Http, Leases, NatPmp, Ssdp, Writing,
};
use crate::{asking, both, idle, server, until_reachable};

const ROUTERS_OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(11, 22, 33, 44));
const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

fn asking_router(router: &FakeRouter) -> Config {
    config().router(router.ip().into()).port_mapping(PortMapping::Always)
}

fn router(change: impl FnOnce(&mut Behaviour)) -> FakeRouter {
    let router = FakeRouter::start().unwrap();
    router.set(change);
    router
}

#[track_caller]
fn until_mapping(net: &mut Net, wanted: impl Fn(&Mapping) -> bool) -> Mapping {
    until(net, |net| Some(net.reach().mapping.clone()).filter(&wanted))
}

fn is_mapped(mapping: &Mapping) -> bool {
    matches!(mapping, Mapping::Mapped { .. })
}

/// Waits for what the router does without the node.
#[track_caller]
fn until_router(router: &FakeRouter, done: impl Fn(&FakeRouter) -> bool) {
    let begin = now();
    while !done(router) {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {:?}", router.counts());
        std::thread::yield_now();
    }
}

/// Whether that is what should come of it, for a node at this port.
type Fits = fn(&Mapping, u16) -> bool;

/// What the router is like, and what comes of it.
type Case = (&'static str, fn(&mut Behaviour), Fits);

/// Mapped at the node's own port, by this protocol and for so long.
fn is(mapping: &Mapping, port: u16, by: MappingProtocol, for_: Option<Duration>) -> bool {
    let at = SocketAddr::new(ROUTERS_OWN, port);
    matches!(mapping, Mapping::Mapped { protocol, external, lease } if (*protocol, *external, *lease) == (by, at, for_))
}

fn upnp(mapping: &Mapping, port: u16) -> bool {
    is(mapping, port, MappingProtocol::Upnp, HOUR)
}

fn nat_pmp(mapping: &Mapping, port: u16) -> bool {
    is(mapping, port, MappingProtocol::NatPmp, HOUR)
}

const CASES: [Case; 29] = [
    ("UPnP alone", |b| b.nat_pmp = NatPmp::Silent, upnp),
    ("NAT-PMP alone", |b| b.ssdp = Ssdp::Silent, nat_pmp),
    (
        "725",
        |b| (b.nat_pmp, b.leases) = (NatPmp::Silent, Leases::OnlyPermanent),
        |mapping, port| is(mapping, port, MappingProtocol::Upnp, None),
    ),
    ("402 to permanent ones", |b| (b.nat_pmp, b.leases) = (NatPmp::Silent, Leases::OnlyLimited), upnp),
    (
        "402 to all",
        |b| (b.nat_pmp, b.leases) = (NatPmp::Silent, Leases::Neither),
        |mapping, _| matches!(mapping, Mapping::Failed { upnp: MappingFault::Lease, .. }),
    ),
    (
        "718 once",
        |b| (b.nat_pmp, b.conflicts) = (NatPmp::Silent, 1),
        |mapping, port| matches!(mapping, Mapping::Mapped { external, .. } if external.port() != port),
    ),
    (
        "718 always",
        |b| (b.nat_pmp, b.conflicts) = (NatPmp::Silent, u32::MAX),
        |mapping, _| matches!(mapping, Mapping::Failed { upnp: MappingFault::Conflict, .. }),
    ),
    (
        "606, not authorized",
        |b| (b.nat_pmp, b.refusal) = (NatPmp::ResultCode(2), Some(606)),
        |mapping, _| {
            let refused = MappingFault::Refused;
            *mapping == Mapping::Failed { upnp: refused.clone(), nat_pmp: refused }
        },
    ),
    ("slow", |b| (b.nat_pmp, b.http) = (NatPmp::Silent, Http::Slow(Duration::from_millis(200))), upnp),
    ("hung, but not by NAT-PMP", |b| b.http = Http::Hung, nat_pmp),
    ("relative", |b| (b.nat_pmp, b.control_url) = (NatPmp::Silent, ControlUrl::Relative), upnp),
    ("absolute", |b| (b.nat_pmp, b.control_url) = (NatPmp::Silent, ControlUrl::Absolute), upnp),
    ("garbage first", |b| (b.nat_pmp, b.ssdp) = (NatPmp::Silent, Ssdp::GarbageFirst), upnp),
    ("IPv6 first", |b| (b.nat_pmp, b.ssdp) = (NatPmp::Silent, Ssdp::Ipv6First), upnp),
    ("names instead of addresses", |b| (b.nat_pmp, b.shows_client) = (NatPmp::Silent, Some("laptop")), upnp),
    ("no addresses", |b| (b.nat_pmp, b.shows_client) = (NatPmp::Silent, Some("0.0.0.0")), upnp),
    (
        "somebody else",
        |b| (b.nat_pmp, b.takes_us_for) = (NatPmp::Silent, Some(Ipv4Addr::new(127, 0, 0, 9))),
        |mapping, _| matches!(mapping, Mapping::Failed { upnp: MappingFault::Other(_), .. }),
    ),
    ("free ports are empty entries", |b| (b.nat_pmp, b.free_entry) = (NatPmp::Silent, Some(("", ""))), upnp),
    ("chunks", |b| (b.nat_pmp, b.framing) = (NatPmp::Silent, Framing::Chunks), upnp),
    (
        "a line that is not connected, and one to another NAT",
        |b| {
            b.dead_services = vec![Ipv4Addr::UNSPECIFIED.into(), [192, 168, 7, 7].into()];
            b.nat_pmp = NatPmp::Silent;
        },
        upnp,
    ),
    ("raw ampersand", |b| (b.nat_pmp, b.writing) = (NatPmp::Silent, Writing::RawAmpersand), upnp),
    ("wrong end", |b| (b.nat_pmp, b.writing) = (NatPmp::Silent, Writing::WrongEnd), upnp),
    ("Latin-1", |b| (b.nat_pmp, b.writing) = (NatPmp::Silent, Writing::Latin1), upnp),
    (
        "no address by NAT-PMP",
        |b| (b.ssdp, b.external) = (Ssdp::Silent, Ipv4Addr::UNSPECIFIED.into()),
        |mapping, _| matches!(mapping, Mapping::Failed { nat_pmp: MappingFault::NoOutside, .. }),
    ),
    (
        "501 to limited ones",
        |b| (b.nat_pmp, b.leases) = (NatPmp::Silent, Leases::LimitedFail),
        |mapping, port| is(mapping, port, MappingProtocol::Upnp, None),
    ),
    (
        "yes, and an empty table",
        |b| (b.nat_pmp, b.is_forgetful) = (NatPmp::Silent, true),
        |mapping, _| matches!(mapping, Mapping::Unconfirmed { protocol: MappingProtocol::Upnp, .. }),
    ),
    (
        "private",
        |b| b.external = [192, 168, 7, 7].into(),
        |mapping, _| matches!(mapping, Mapping::DoubleNat { router, .. } if *router == IpAddr::from([192, 168, 7, 7])),
    ),
    (
        "carrier-grade",
        |b| b.external = [100, 64, 7, 7].into(),
        |mapping, _| matches!(mapping, Mapping::DoubleNat { router, .. } if *router == IpAddr::from([100, 64, 7, 7])),
    ),
    (
        "loopback",
        |b| b.external = [127, 0, 0, 1].into(),
        |mapping, _| matches!(mapping, Mapping::DoubleNat { .. } | Mapping::Failed { .. }),
    ),
];

/// All at once, as some take their time: then no case waits for another, and each has its own router.
#[test]
fn each_kind_of_router_comes_to_something() {
    let mut open: BTreeMap<&str, (FakeRouter, Net, Fits)> = BTreeMap::new();
    for (name, change, fits) in CASES {
        let router = router(change);
        let net = asking_router(&router).start().unwrap();
        open.insert(name, (router, net, fits));
    }
    let begin = now();
    let mut longest = Duration::ZERO;
    while !open.is_empty() {
        let late: Vec<_> =
            open.iter().map(|(name, (_, net, _))| (*name, net.reach().mapping.clone())).collect();
        assert!(begin.elapsed() < 2 * PATIENCE, "{late:#?}");
        open.retain(|name, (router, net, fits)| {
            let before = now();
            net.poll(Some(Duration::ZERO)).unwrap();
            longest = longest.max(before.elapsed());
            let reach = net.reach();
            let port = net.local_addr().unwrap().port();
            if !fits(&reach.mapping, port) {
                return true;
            }
            if let Mapping::Mapped { external, .. } = reach.mapping {
                assert_eq!(reach.port, Some(external.port()), "{name}");
                assert_eq!(reach.wan, Some(ROUTERS_OWN), "{name}");
                let at = router.mappings().iter().find(|at| at.external == external.port()).cloned();
                // Whatever it shows of it.
                assert_eq!(at.map(|at| SocketAddr::from(at.internal)), net.local_addr(), "{name}");
            } else {
                assert_eq!((router.mappings(), reach.port), (vec![], Some(port)), "{name}");
            }
            false
        });
        std::thread::yield_now();
    }
    assert!(longest < Duration::from_secs(1), "a poll that was not to wait took {longest:?}");
}

#[test]
fn a_router_that_hangs_keeps_nobody_waiting() {
    for http in [Http::Hung, Http::Endless, Http::Slow(Duration::from_secs(60))] {
        let router = router(|b| (b.http, b.nat_pmp) = (http, NatPmp::Silent));
        let mut net = asking_router(&router).start().unwrap();
        until(&mut net, |_| (router.counts().description > 0).then_some(()));
        let begin = now();
        netcat(&mut net);
        assert!(net.finish(Duration::from_secs(6)).unwrap(), "{http:?}");
        drop(net);
        assert!(begin.elapsed() < Duration::from_secs(6), "{http:?}: {:?}", begin.elapsed());
        assert_eq!(router.mappings(), []);
    }
}

#[test]
fn what_is_mapped_is_removed_in_the_end() {
    let somebody = |router: &FakeRouter| {
        let internal = std::net::SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 9), 80);
        let mapping =
            crate::router::Mapping { external: 80, internal, lease: 0, description: "other".into() };
        router.put_mapping(mapping.clone());
        mapping
    };
    let kinds: [fn(&mut Behaviour); 2] = [|b| b.nat_pmp = NatPmp::Silent, |b| b.ssdp = Ssdp::Silent];
    for change in kinds {
        for by_drop in [false, true] {
            let router = router(change);
            let other = somebody(&router);
            let mut net = asking_router(&router).start().unwrap();
            until_mapping(&mut net, is_mapped);
            assert_eq!(router.mappings().len(), 2);
            if by_drop {
                drop(net);
                until_router(&router, |router| router.mappings().len() < 2);
            } else {
                assert!(net.finish(PATIENCE).unwrap());
            }
            assert_eq!(router.mappings(), [other]);
        }
    }
}

#[test]
fn a_short_lease_is_renewed_also_by_a_router_that_restarted() {
    let router = router(|b| b.nat_pmp = NatPmp::Silent);
    let config = asking_router(&router).mapping_lease(Duration::from_secs(2));
    let mut net = config.start().unwrap();
    let first = until_mapping(&mut net, is_mapped);
    let adds = router.counts().add;
    until(&mut net, |_| (router.counts().add > adds).then_some(()));
    assert_eq!(net.reach().mapping, first);
    router.restart();
    until(&mut net, |net| (!router.mappings().is_empty() && is_mapped(&net.reach().mapping)).then_some(()));
    assert_eq!(net.reach().mapping, first);
    // Forgotten without a restart, it is there again with the next renewal.
    router.forget_mappings();
    until(&mut net, |_| (!router.mappings().is_empty()).then_some(()));
}

#[test]
fn switched_off_nothing_is_sent() {
    let router = router(|_| {});
    let mut server = server();
    let config = asking(&server).router(router.ip().into()).port_mapping(PortMapping::Off);
    let mut net = config.start().unwrap();
    until_reachable(&mut net, &mut server, Reachability::Yes);
    net.refresh_reach();
    idle(&mut net, &mut server, Duration::from_millis(300));
    assert_eq!(net.reach().mapping, Mapping::Off);
    net.stop();
    both(&mut net, &mut server, |net, _| net.events().find(|event| *event == Event::Stopped));
    assert_eq!(router.counts(), Counts::default());
}

#[test]
fn where_it_is_not_needed_nothing_is_sent() {
    let router = router(|_| {});
    let mut server = server();
    let config = asking(&server).router(router.ip().into()).port_mapping(PortMapping::WhenNeeded);
    let mut net = config.start().unwrap();
    let reach = until_reachable(&mut net, &mut server, Reachability::Yes);
    idle(&mut net, &mut server, Duration::from_millis(100));
    assert_eq!((reach.mapping.clone(), router.counts()), (Mapping::NotNeeded, Counts::default()));
}

/// A port that is forwarded and found open.
#[test]
fn a_mapping_is_looked_at_from_outside() {
    let router = router(|_| {});
    let mut server = server();
    let config = asking(&server).router(router.ip().into()).port_mapping(PortMapping::Always);
    let mut net = config.start().unwrap();
    both(&mut net, &mut server, |net, _| {
        let reach = net.reach();
        (is_mapped(&reach.mapping) && reach.reachable == Reachability::Yes).then_some(())
    });
}

/// A router whose table does not have what it says that it added: a server knows better than that table.
#[test]
fn a_mapping_that_no_table_has_is_one_when_a_server_gets_through() {
    let router = router(|b| (b.nat_pmp, b.is_forgetful) = (NatPmp::Silent, true));
    let mut net = asking_router(&router).start().unwrap();
    until_mapping(&mut net, |mapping| matches!(mapping, Mapping::Unconfirmed { .. }));
    net.finish(PATIENCE).unwrap();
    assert_eq!(router.counts().delete, 1, "it may be there all the same");

    let mut server = server();
    let config = asking(&server).router(router.ip().into()).port_mapping(PortMapping::Always);
    let mut net = config.start().unwrap();
    both(&mut net, &mut server, |net, _| {
        let reach = net.reach();
        (is_mapped(&reach.mapping) && reach.reachable == Reachability::Yes).then_some(())
    });
}

/// A router that says that it forwards, and does not: it is asked again twice, and then left alone.
#[test]
fn a_mapping_that_leads_nowhere_is_told_and_renewed_twice() {
    // It forwards another port than ours, where nobody is.
    let router = router(|b| (b.nat_pmp, b.conflicts) = (NatPmp::Silent, 1));
    let mut server = server();
    let config = asking(&server).router(router.ip().into()).port_mapping(PortMapping::Always);
    let mut net = config.start().unwrap();
    both(&mut net, &mut server, |net, _| {
        let reach = net.reach();
        (is_mapped(&reach.mapping) && reach.reachable == Reachability::No).then_some(())
    });
    both(&mut net, &mut server, |_, _| (router.counts().add >= 2 + 2).then_some(()));
    idle(&mut net, &mut server, Duration::from_millis(2200));
    assert_eq!(router.counts().add, 2 + 2, "the conflict, the mapping, and two renewals");
    let reach = net.reach();
    assert!(is_mapped(&reach.mapping) && reach.reachable == Reachability::No, "{reach:#?}");
    assert_eq!(reach.node_type, p2poll::NodeType::Simultaneous);
}

#[test]
fn asking_anew_all_the_time_does_not_flood_the_router() {
    let router = router(|_| {});
    let mut net = asking_router(&router).start().unwrap();
    until_mapping(&mut net, is_mapped);
    let before = router.counts();
    let begin = now();
    while begin.elapsed() < Duration::from_secs(1) {
        net.refresh_reach();
        net.poll(Some(Duration::ZERO)).unwrap();
    }
    let after = router.counts();
    let more = |count: fn(&Counts) -> u32| count(&after) - count(&before);
    assert!(more(|c| c.add) + more(|c| c.pmp_map) <= 2, "{before:?} {after:?}");
    assert!(more(|c| c.search) + more(|c| c.pmp_address) <= 4, "{before:?} {after:?}");
}

#[test]
fn what_was_made_by_hand_is_used_and_stays_as_it_is() {
    let router = router(|b| b.nat_pmp = NatPmp::Silent);
    let mut net = asking_router(&router).port_mapping(PortMapping::Off).start().unwrap();
    let port = net.local_addr().unwrap().port();
    net.finish(PATIENCE).unwrap();
    let internal = std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let by_hand =
        crate::router::Mapping { external: port, internal, lease: 0, description: "by hand".into() };
    router.put_mapping(by_hand.clone());
    let mut net = asking_router(&router).port(port).start().unwrap();
    let mapping = until_mapping(&mut net, is_mapped);
    assert!(is(&mapping, port, MappingProtocol::Upnp, None), "{mapping:?}");
    assert_eq!(router.mappings(), std::slice::from_ref(&by_hand));
    assert!(net.finish(PATIENCE).unwrap());
    assert_eq!(router.mappings(), [by_hand]);
    assert_eq!((router.counts().add, router.counts().delete), (0, 0));
}

/// Runs in a process of its own, whose threads are counted.
#[test]
fn hung_routers_leave_few_threads_behind() {
    const NAME: &str = "P2POLL_TEST_THREADS";
    if std::env::var_os(NAME).is_some() {
        return count_threads();
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "routers::hung_routers_leave_few_threads_behind", "--nocapture"]).env(NAME, "1");
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// The threads of the library in this process.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("p2poll")).count()
}

fn count_threads() {
    const NETS: usize = 8;
    let router = router(|b| (b.http, b.nat_pmp) = (Http::Hung, NatPmp::ResultCode(3)));
    for n in 1..=NETS {
        let mut net = asking_router(&router).start().unwrap();
        let before = router.counts().description;
        until(&mut net, |_| (router.counts().description > before).then_some(()));
        for _ in 0..20 {
            net.refresh_reach();
            net.poll(Some(Duration::from_millis(5))).unwrap();
        }
        // One for each protocol, of this one and of those before it, as what hangs can not be ended from outside.
        assert!(threads() <= 2 * n, "{} threads after {n}", threads());
    }
    // They end with what they wait for.
    drop(router);
    let begin = now();
    while threads() > 0 {
        assert!(begin.elapsed() < 2 * PATIENCE, "{} threads", threads());
        std::thread::yield_now();
    }
}
