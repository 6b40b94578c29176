//! The doctor on loopback, where there is no NAT and no router; the laboratory has those.

use std::net::TcpListener;
#[cfg(all(target_os = "linux", feature = "gateway"))]
use std::time::Duration;

use serde_json::Value;

use crate::process::{PATIENCE, Process};
#[cfg(all(target_os = "linux", feature = "gateway"))]
use crate::router::{Counts, FakeRouter, Http, NatPmp};
use crate::{fields, server};

/// Bound to loopback: what a router of this machine's network would say does not matter, and nothing is sent there.
fn doctor(more: &[&str]) -> Process {
    Process::start(&[&["doctor", "--bind", "127.0.0.1", "--no-mapping"][..], more].concat())
}

/// All that it says, which is one line.
fn report(doctor: &mut Process) -> Value {
    let said = doctor.rest();
    assert_eq!(said.len(), 1, "{said:?}");
    serde_json::from_str(&said[0]).expect("JSON")
}

/// The advice that begins so.
fn advised<'a>(report: &'a Value, begin: &str) -> &'a str {
    let advice = report["advice"].as_array().expect("a list");
    let fits = advice.iter().filter_map(Value::as_str).find(|sentence| sentence.starts_with(begin));
    fits.unwrap_or_else(|| panic!("nobody says {begin:?} in {report}"))
}

fn assert_structure(report: &Value) {
    const FIELDS: [&str; 10] =
        ["event", "node_type", "nat", "wan", "lan", "port", "reachable", "mapping", "servers", "advice"];
    assert_eq!(fields(report)[..10], FIELDS);
    assert_eq!(fields(report)[10..], ["reachable_why"]);
    assert_eq!(report["event"], "doctor");
    assert_eq!(fields(&report["nat"]), ["kind", "delta", "why", "translated"]);
    assert_eq!(fields(&report["mapping"]), ["protocol", "external", "why"]);
    for server in report["servers"].as_array().expect("a list") {
        assert_eq!(fields(server), ["addr", "kind", "rtt_ms", "why"]);
    }
    for sentence in report["advice"].as_array().expect("a list") {
        assert!(sentence.as_str().is_some_and(|text| text.ends_with('.')), "{report}");
    }
}

/// Until somebody calls; it is not answered.
fn wait_for_call(listener: &mut mio::net::TcpListener) {
    let mut poll = mio::Poll::new().expect("a poller");
    poll.registry().register(listener, mio::Token(0), mio::Interest::READABLE).expect("it is watched");
    let mut events = mio::Events::with_capacity(1);
    poll.poll(&mut events, Some(PATIENCE)).expect("it waits");
    assert!(!events.is_empty(), "nobody calls");
}

#[test]
fn one_object_in_one_line_says_it_all() {
    let mut doctor = doctor(&["--json", "--wait", "1"]);
    let report = report(&mut doctor);
    assert_structure(&report);
    assert!(report["port"].as_u64().is_some_and(|port| port != 0), "{report}");
    assert_eq!(report["mapping"]["protocol"], "none");
    assert_eq!(report["servers"], Value::Array(Vec::new()));
    advised(&report, "Give rendezvous servers with --rendezvous HOST:PORT");
    assert_eq!(doctor.status(), Some(0));
    assert_eq!(doctor.complaint(), "", "a program reads standard output alone");
}

#[test]
fn without_a_server_and_without_time_this_machines_addresses_are_listed() {
    let lan = |arguments: &[&str]| {
        let mut doctor = Process::start(&[&["doctor", "--no-mapping", "--json"], arguments].concat());
        let report = report(&mut doctor);
        assert_eq!(doctor.status(), Some(0));
        report["lan"].clone()
    };
    assert_eq!(lan(&["--wait", "0"]), lan(&["--wait", "15"]));
}

#[test]
fn a_server_tells_that_others_can_connect() {
    let (_first, first) = server();
    let (_second, second) = server();
    let (first, second) = (first.to_string(), second.to_string());
    let mut doctor = doctor(&["--json", "--rendezvous", &first, "--rendezvous", &second]);
    let report = report(&mut doctor);
    assert_structure(&report);
    assert_eq!(doctor.status(), Some(0));
    assert_eq!((&report["node_type"], &report["reachable"]), (&"passive".into(), &true.into()), "{report}");
    assert_eq!((&report["nat"]["kind"], &report["nat"]["delta"]), (&"preserving".into(), &Value::Null));
    assert_eq!((&report["wan"], &report["lan"][0]), (&"127.0.0.1".into(), &"127.0.0.1".into()), "{report}");
    assert_eq!(report["mapping"]["why"], "switched off");
    for (place, addr) in [&first, &second].into_iter().enumerate() {
        let server = &report["servers"][place];
        assert_eq!((&server["addr"], &server["kind"]), (&addr.as_str().into(), &"p2poll".into()), "{report}");
        assert!(server["rtt_ms"].as_f64().is_some_and(|ms| ms >= 0.0), "{report}");
    }
    advised(&report, "Leave out --bind 127.0.0.1");
    advised(&report, "Nothing has to be done");
}

#[test]
fn servers_that_are_all_down_are_a_failure_that_is_reported() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nobody = holder.local_addr().expect("it is bound").to_string();
    drop(holder);
    let mut doctor = doctor(&["--json", "--rendezvous", &nobody]);
    let report = report(&mut doctor);
    assert_structure(&report);
    assert_eq!(doctor.status(), Some(1));
    assert!(doctor.complaint().contains("no rendezvous server answers"), "{}", doctor.complaint());
    let server = &report["servers"][0];
    assert_eq!((&server["addr"], &server["kind"]), (&nobody.as_str().into(), &Value::Null), "{report}");
    assert_eq!(report["reachable"], Value::Null);
    assert_eq!(
        (&server["why"], &report["reachable_why"]),
        (&"unreachable".into(), &"no rendezvous server answers".into())
    );
    assert!(!report["advice"].to_string().contains("Give it more time"), "{report}");
    advised(&report, "Check this machine's connection to the internet");
}

#[test]
fn a_person_reads_what_goes_on_and_then_the_report() {
    let (_server, rendezvous) = server();
    let mut doctor = doctor(&["--rendezvous", &rendezvous.to_string()]);
    let said = doctor.rest();
    assert_eq!(doctor.status(), Some(0));
    for begin in ["node type  ", "NAT  ", "reachable  ", "servers  ", "What to do:", "- "] {
        assert!(said.iter().any(|line| line.starts_with(begin)), "{begin:?} is missing in {said:#?}");
    }
    let told = doctor.complaint();
    assert!(told.contains(&format!("p2poll: rendezvous server {rendezvous} answers")), "{told}");
}

#[test]
fn what_the_log_tells_is_not_told_a_second_time() {
    let (_server, rendezvous) = server();
    let mut doctor = doctor(&["-v", "--rendezvous", &rendezvous.to_string()]);
    doctor.rest();
    assert_eq!(doctor.status(), Some(0));
    let told = doctor.complaint();
    assert!(told.contains("reach: passive"), "{told}");
    assert!(!told.contains(&format!("p2poll: rendezvous server {rendezvous} answers")), "{told}");
}

#[test]
fn who_has_enough_gets_the_report_of_what_is_known() {
    // Somebody who listens and never answers: nothing gets certain.
    let mut silent = mio::net::TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let addr = silent.local_addr().expect("it is bound").to_string();
    let mut doctor = doctor(&["--json", "--rendezvous", &addr, "--wait", "3600"]);
    wait_for_call(&mut silent);
    doctor.signal("INT");
    let report = report(&mut doctor);
    assert_structure(&report);
    advised(&report, "Give it more time with --wait");
    assert_eq!(doctor.status(), Some(1));
    assert!(
        doctor.complaint().contains("no rendezvous server has answered in time"),
        "{}",
        doctor.complaint()
    );
}

#[test]
fn who_stays_goes_on_after_the_report() {
    let mut doctor = doctor(&["--json", "--stay", "--wait", "1"]);
    assert_structure(&doctor.event("doctor"));
    doctor.signal("INT");
    assert_eq!(doctor.rest(), Vec::<String>::new(), "nothing has changed");
    assert_eq!(doctor.status(), Some(0));
}

/// As long as it takes until the router was asked so.
#[cfg(all(target_os = "linux", feature = "gateway"))]
fn wait_until_asked(router: &FakeRouter, asked: impl Fn(Counts) -> bool) {
    let mut poll = mio::Poll::new().expect("a poller");
    let mut events = mio::Events::with_capacity(1);
    for _ in 0..1000 {
        if asked(router.counts()) {
            return;
        }
        poll.poll(&mut events, Some(Duration::from_millis(10))).expect("it waits");
    }
    panic!("nobody asks: {:?}", router.counts());
}

/// The router needs 127.0.0.0/8 as a whole.
#[cfg(all(target_os = "linux", feature = "gateway"))]
#[test]
fn a_router_that_never_answers_what_it_was_asked_is_complained_about() {
    let router = FakeRouter::start().expect("a router");
    router.set(|router| {
        router.nat_pmp = NatPmp::Silent;
        // Time to see what comes next before it comes.
        router.http = Http::Slow(Duration::from_millis(300));
    });
    let ip = router.ip().to_string();
    let mut doctor = Process::start(&["doctor", "--bind", "127.0.0.1", "--router", &ip, "--wait", "3600"]);
    wait_until_asked(&router, |counts| counts.specific_entry > 0);
    router.set(|router| router.http = Http::Hung);
    wait_until_asked(&router, |counts| counts.add > 0);
    doctor.signal("INT");
    assert_eq!(doctor.status(), Some(0));
    assert!(doctor.complaint().contains("may stay there until its lease ends"), "{}", doctor.complaint());
    assert_eq!(router.mappings().len(), 1, "it did add it");
}
