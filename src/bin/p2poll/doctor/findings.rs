//! What is known by now, whether anything is still to be found out, and what there is new to tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use p2poll::{
    Doubt, Event, LanAddress, Mapping, Nat, Reach, Reachability, RendezvousNews, ServerFault, ServerSight,
};

/// The picture, and what it does not say: why a server does not answer.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) reach: Arc<Reach>,
    pub(super) faults: BTreeMap<Arc<str>, ServerFault>,
    /// Why servers do not take this node's proof.
    pub(super) unproven: BTreeMap<Arc<str>, String>,
    /// The picture is more than the very first one, which knows of no interfaces and so of nothing to be found out.
    pub(super) is_listed: bool,
}

impl Findings {
    /// Nothing is being found out any more.
    pub(super) fn is_certain(&self) -> bool {
        let Reach { nat, reachable, mapping, servers, .. } = &*self.reach;
        // With no server nothing more comes for a long time.
        let is_open = *nat == Nat::Unknown(Doubt::Pending)
            || *reachable == Reachability::Unknown(Doubt::Pending)
            || (*mapping == Mapping::Waiting && !is_put_off(*reachable));
        self.has_listed()
            && *mapping != Mapping::Searching
            && (!is_open || self.are_servers_down())
            // What one server says may be enough; but then the others would be said not to answer before they could.
            && servers.iter().all(|server| server.kind.is_some() || self.fault(server).is_some())
    }

    /// The addresses of this machine are known, or will not be.
    pub(super) fn has_listed(&self) -> bool {
        self.is_listed || !self.reach.lan.is_empty()
    }

    /// There are servers, and each has failed.
    pub(super) fn are_servers_down(&self) -> bool {
        let servers = &self.reach.servers;
        !servers.is_empty() && servers.iter().all(|server| self.fault(server).is_some())
    }

    /// Why a server does not answer; `None` while it does, or may still.
    pub(super) fn fault(&self, server: &ServerSight) -> Option<ServerFault> {
        if server.kind.is_some() { None } else { self.faults.get(&server.name).copied() }
    }

    /// What there is new to tell. The rest of it is told by the picture.
    pub(super) fn handle_event(&mut self, event: &Event) -> Option<String> {
        let Event::Rendezvous { server, news } = event else { return None };
        match news {
            RendezvousNews::Up { .. } => {
                self.faults.remove(server);
                None
            }
            RendezvousNews::Down { why, .. } => {
                // It is tried again and again, and mostly with the same outcome.
                let known = self.faults.insert(Arc::clone(server), *why);
                (known != Some(*why)).then(|| format!("rendezvous server {server}: {why}"))
            }
            RendezvousNews::Unproven { why } => {
                // The log tells of it already.
                self.unproven.insert(Arc::clone(server), why.clone());
                None
            }
            _ => None,
        }
    }

    /// What there is new to tell, in the order in which one thing follows from another.
    pub(super) fn handle_reach(&mut self, reach: Arc<Reach>) -> Vec<String> {
        let before = std::mem::replace(&mut self.reach, reach);
        let after = &*self.reach;
        let mut news = Vec::new();
        if after.lan != before.lan {
            news.push(told_addresses(&after.lan));
        }
        news.extend(after.servers.iter().filter_map(|server| told_server(&before, server)));
        if let Some(wan) = after.wan.filter(|_| after.wan != before.wan) {
            news.push(format!("seen from outside as {wan}"));
        }
        if after.translated != before.translated {
            news.extend(after.translated.map(|yes| told_translation(yes).to_owned()));
        }
        if after.nat != before.nat && after.nat != Nat::Unknown(Doubt::Pending) {
            news.push(format!("NAT: {}", after.nat));
        }
        if after.reachable != before.reachable {
            news.push(told_reachability(after));
        }
        if after.mapping != before.mapping && after.mapping != Mapping::Waiting {
            news.push(format!("port mapping: {}", after.mapping));
        }
        if after.node_type != before.node_type {
            news.push(format!("node type: {}", after.node_type));
        }
        news
    }
}

/// Whether it is tried again only when nobody waits any more: the mapping, which waits for it, does so, too.
fn is_put_off(reachable: Reachability) -> bool {
    use Doubt::{Busy, ServersDown, TooFar, Unanswered};
    matches!(reachable, Reachability::Unknown(Busy | ServersDown | TooFar | Unanswered))
}

/// The same picture as far as anything follows from it: how long answers take changes all the time.
pub(super) fn without_times(reach: &Reach) -> Reach {
    let mut reach = reach.clone();
    reach.servers.iter_mut().for_each(|server| server.rtt = None);
    reach
}

fn told_addresses(lan: &[LanAddress]) -> String {
    match lan {
        [] => "this machine has no address in a network".into(),
        _ => format!("addresses of this machine: {}", super::report::list(lan)),
    }
}

fn told_server(before: &Reach, server: &ServerSight) -> Option<String> {
    let kind = server.kind?;
    let known =
        before.servers.iter().any(|earlier| earlier.name == server.name && earlier.kind == server.kind);
    (!known).then(|| format!("rendezvous server {} answers; it speaks {kind}", server.name))
}

fn told_translation(yes: bool) -> &'static str {
    match yes {
        true => "a NAT translates the address of this machine",
        false => "no NAT: this machine's own address is seen from outside",
    }
}

fn told_reachability(reach: &Reach) -> String {
    let port = reach.port.map_or_else(String::new, |port| format!(" {port}"));
    match reach.reachable {
        Reachability::Yes => format!("others can connect to port{port}"),
        Reachability::No => format!("others can not connect to port{port}"),
        Reachability::Unknown(Doubt::Pending) => {
            format!("finding out whether others can connect to port{port}")
        }
        other => format!("whether others can connect to port{port} is {other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use p2poll::{MappingProtocol, NatKind, NodeType, ServerKind};

    use super::super::pictures::{lan, picture, server};
    use super::*;

    fn up(name: &str) -> Event {
        let news = RendezvousNews::Up { kind: ServerKind::P2poll, seen: None };
        Event::Rendezvous { server: name.into(), news }
    }

    fn down(name: &str, why: ServerFault) -> Event {
        let news = RendezvousNews::Down { why, retry_in: Duration::from_secs(1) };
        Event::Rendezvous { server: name.into(), news }
    }

    #[test]
    fn it_is_certain_when_nothing_is_pending() {
        assert!(!Findings::default().is_certain());
        let certain = picture(|_| {});
        let is_certain =
            |reach: Reach| Findings { reach: Arc::new(reach), ..Findings::default() }.is_certain();
        assert!(is_certain(certain.clone()));
        for pending in [
            picture(|reach| reach.nat = Nat::Unknown(Doubt::Pending)),
            picture(|reach| reach.reachable = Reachability::Unknown(Doubt::Pending)),
            picture(|reach| reach.mapping = Mapping::Waiting),
            picture(|reach| reach.mapping = Mapping::Searching),
            picture(|reach| reach.servers[1].kind = None),
        ] {
            assert!(!is_certain(pending.clone()), "{pending:?}");
        }
        // Not knowing, and knowing why, is certain, too.
        for known in [
            picture(|reach| reach.nat = Nat::Unknown(Doubt::OneObserver)),
            picture(|reach| reach.reachable = Reachability::Unknown(Doubt::Busy)),
            picture(|reach| {
                reach.reachable = Reachability::Unknown(Doubt::Busy);
                reach.mapping = Mapping::Waiting;
            }),
        ] {
            assert!(is_certain(known.clone()), "{known:?}");
        }
    }

    #[test]
    fn before_the_interfaces_are_listed_nothing_is_certain() {
        let reach = Arc::new(picture(|reach| reach.lan.clear()));
        let mut findings = Findings { reach, ..Findings::default() };
        assert!(!findings.is_certain());
        findings.is_listed = true;
        assert!(findings.is_certain(), "there are none");
    }

    #[test]
    fn when_every_server_has_failed_no_more_is_waited_for() {
        let reach = Arc::new(picture(|reach| {
            reach.servers = ["a:1", "b:1"].map(|name| server(name, None)).into();
            reach.nat = Nat::Unknown(Doubt::Pending);
            reach.mapping = Mapping::Waiting;
        }));
        let mut findings = Findings { reach, ..Findings::default() };
        findings.handle_event(&down("a:1", ServerFault::Unreachable));
        assert!(!findings.is_certain() && !findings.are_servers_down());
        findings.handle_event(&down("b:1", ServerFault::Unreachable));
        assert!(findings.is_certain() && findings.are_servers_down());
    }

    #[test]
    fn a_server_is_waited_for_until_it_answers_or_fails() {
        let reach = Arc::new(picture(|reach| reach.servers = vec![server("a:1", None)]));
        let mut findings = Findings { reach, ..Findings::default() };
        assert!(!findings.is_certain());
        let told = findings.handle_event(&down("a:1", ServerFault::Slow));
        assert_eq!(told.as_deref(), Some("rendezvous server a:1: did not answer in time"));
        assert!(findings.is_certain());
        assert_eq!(findings.handle_event(&down("a:1", ServerFault::Slow)), None, "it was told");
        assert!(findings.handle_event(&down("a:1", ServerFault::HungUp)).is_some());
        assert_eq!(findings.handle_event(&up("a:1")), None);
        assert!(!findings.is_certain(), "the picture is about to show it");
    }

    #[test]
    fn each_thing_is_told_once_it_is_certain_and_once() {
        let mut findings = Findings::default();
        let mut reach = Reach::default();
        let tell = |findings: &mut Findings, reach: &Reach| findings.handle_reach(Arc::new(reach.clone()));
        assert!(tell(&mut findings, &reach).is_empty(), "nothing is known");

        reach.lan = lan(&["192.168.1.5"]);
        reach.port = Some(4000);
        assert_eq!(tell(&mut findings, &reach), ["addresses of this machine: 192.168.1.5 (eth0)"]);

        reach.servers = vec![server("a:1", None), server("b:1", Some(ServerKind::Pyp2p))];
        reach.wan = Some([203, 0, 113, 7].into());
        reach.translated = Some(true);
        let news = [
            "rendezvous server b:1 answers; it speaks pyp2p",
            "seen from outside as 203.0.113.7",
            "a NAT translates the address of this machine",
        ];
        assert_eq!(tell(&mut findings, &reach), news);

        reach.nat = Nat::Measured(NatKind::Delta { step: 2 });
        reach.reachable = Reachability::No;
        reach.mapping = Mapping::Searching;
        reach.node_type = NodeType::Simultaneous;
        let news = [
            "NAT: delta of 2",
            "others can not connect to port 4000",
            "port mapping: looking for a router",
            "node type: simultaneous",
        ];
        assert_eq!(tell(&mut findings, &reach), news);

        let external: SocketAddr = ([203, 0, 113, 7], 4000).into();
        reach.mapping = Mapping::Mapped { protocol: MappingProtocol::Upnp, external, lease: None };
        reach.reachable = Reachability::Unknown(Doubt::Pending);
        let news = [
            "finding out whether others can connect to port 4000",
            "port mapping: 203.0.113.7:4000 by UPnP, until it is deleted",
        ];
        assert_eq!(tell(&mut findings, &reach), news);
        reach.servers[1].rtt = Some(Duration::from_millis(7));
        assert!(tell(&mut findings, &reach).is_empty(), "times change all the time");
    }

    #[test]
    fn times_make_no_other_picture() {
        let reach = picture(|_| {});
        let later = picture(|reach| reach.servers[0].rtt = Some(Duration::from_millis(99)));
        assert_ne!(reach, later);
        assert_eq!(without_times(&reach), without_times(&later));
    }
}
