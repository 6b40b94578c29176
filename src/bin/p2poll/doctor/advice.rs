//! What to do about what was found, in plain words, the most important first.

use std::net::{IpAddr, SocketAddr};

use p2poll::{Doubt, Mapping, MappingFault, Nat, NatKind, NodeType, Reach, Reachability, ServerFault};

use super::findings::Findings;
use super::report::{entrance, seen};
use crate::arguments::DoctorOptions;

/// Whole sentences, at least one.
pub(super) fn advice(findings: &Findings, options: &DoctorOptions) -> Vec<String> {
    let case = Case { reach: &findings.reach, findings, options };
    let mut advice = case.place();
    advice.extend(case.all_servers());
    advice.extend(case.port());
    advice.extend(case.meanwhile());
    advice.extend(case.observers());
    advice.extend(case.single_servers());
    advice.extend(case.unproven());
    advice.extend(case.contradictions());
    if !findings.is_certain() {
        advice.push("Give it more time with --wait: not everything is certain yet.".into());
    }
    if advice.is_empty() {
        advice.push("Nothing has to be done.".into());
    }
    advice
}

struct Case<'a> {
    reach: &'a Reach,
    findings: &'a Findings,
    options: &'a DoctorOptions,
}

impl Case<'_> {
    /// Where the machine is.
    fn place(&self) -> Vec<String> {
        let mut advice = Vec::new();
        let DoctorOptions { bind, reach: given, .. } = self.options;
        if self.reach.lan.is_empty()
            && self.findings.is_listed
            && (given.interface.is_some() || !self.is_alone())
        {
            advice.push(match (&given.interface, bind) {
                (Some(name), Some(ip)) => {
                    format!("Check --interface {name} and --bind {ip}: no interface of that name has that address.")
                }
                (Some(name), None) => format!(
                    "Check --interface {name}: no interface of that name has an address at which others could reach it."
                ),
                (None, _) => "Connect this machine to a network: it has no address in one.".into(),
            });
        }
        if self.is_alone() {
            let bind =
                self.options.bind.map_or_else(|| "a loopback address".into(), |ip| format!("--bind {ip}"));
            advice.push(format!("Leave out {bind}: only programs on this machine can connect to it."));
        }
        advice
    }

    /// What is wrong with all servers together.
    fn all_servers(&self) -> Vec<String> {
        let (nat, reachable) = (self.reach.nat, self.reach.reachable);
        let mut advice = Vec::new();
        if self.options.rendezvous.is_empty() {
            advice.push(
                "Give rendezvous servers with --rendezvous HOST:PORT, best two: only from outside can be seen whether \
                 others can connect to this machine, and what kind of NAT it is behind."
                    .into(),
            );
        } else if self.findings.are_servers_down() {
            advice.push(
                "Check this machine's connection to the internet, the names and ports of the rendezvous servers, and \
                 whether a firewall keeps connections from going out: no rendezvous server answers."
                    .into(),
            );
        } else if reachable == Reachability::Unknown(Doubt::OldServer)
            || nat == Nat::Unknown(Doubt::OldServer)
        {
            advice.push(
                "Ask a rendezvous server of p2poll, too (anybody can run one: p2poll rendezvous): those that answer \
                 can not tell what was to be found out: they speak pyp2p's protocol only, or try no ports."
                    .into(),
            );
        }
        advice
    }

    /// How the port gets open.
    fn port(&self) -> Vec<String> {
        let reachable = self.reach.reachable;
        let mut advice = Vec::new();
        match reachable {
            Reachability::Yes => {
                advice.extend(entrance(self.reach).map(|at| self.way_is_open(at)));
                if self.is_mapped() {
                    let when = "For a program that does not ask the router by itself, ";
                    advice.push(self.by_hand(when));
                }
                return advice;
            }
            Reachability::Unknown(Doubt::Busy) => advice.push(
                "Wait a minute and try again: the rendezvous servers have been asked too often from this address."
                    .into(),
            ),
            Reachability::Unknown(Doubt::TooFar) => advice.push(
                "Ask a rendezvous server that is nearer, or try again when this machine has less to do: those that answer \
                 are too far away, or this program answered too late, to tell whether others can connect."
                    .into(),
            ),
            _ => {}
        }
        if self.is_unanswered() {
            advice.push(
                "Try again, and if it stays so, look for lost packets: too many questions to the rendezvous servers \
                 stayed without an answer."
                    .into(),
            );
        }
        if !self.is_alone() && !self.is_nobody_to_connect() {
            advice.extend(self.way_in());
        }
        advice
    }

    fn way_is_open(&self, at: SocketAddr) -> String {
        match (self.is_alone(), self.is_mapped()) {
            (true, _) => {
                format!("Nothing has to be done for programs on this machine: they can connect to {at}.")
            }
            (_, false) => format!("Nothing has to be done for others to connect: they can, to {at}."),
            (_, true) => format!(
                "Nothing has to be done for others to connect to a p2poll program: they can, to {at}. One that listens \
                 here asks the router by itself, as was done now; what was asked for now ends with this examination."
            ),
        }
    }

    /// What is to be opened: a firewall, or the NAT.
    fn way_in(&self) -> Vec<String> {
        match (self.reach.translated, self.reach.reachable) {
            (Some(false), Reachability::No) => vec![format!(
                "Let TCP connections to {} in: this machine has no NAT before it, so that it is a firewall, its own or \
                 the network's, that keeps others out.",
                self.own_port()
            )],
            (Some(false), _) => Vec::new(),
            _ if self.is_carriers() => vec![carriers_advice("this machine's address is")],
            _ => self.router(),
        }
    }

    fn router(&self) -> Vec<String> {
        let is_closed = self.reach.reachable == Reachability::No;
        match &self.reach.mapping {
            Mapping::Off if self.options.reach.no_mapping => {
                let leave_out = "Leave out --no-mapping: the router may open the port when it is asked.";
                vec![leave_out.into(), self.by_hand("Otherwise, ")]
            }
            Mapping::Off => vec![self.by_hand("This p2poll is built without asking routers: ")],
            Mapping::Mapped { external, .. } => match self.reach.wan {
                Some(wan) if is_closed && wan.is_ipv4() && wan != external.ip() => vec![format!(
                    "Find the second NAT: the router opened {external}, but the outside sees {wan}. {}",
                    SECOND_NAT
                )],
                _ if is_closed => vec![format!(
                    "Let TCP connections to {} in at this machine's firewall: the router forwards {external}, and yet \
                     nobody gets through.",
                    self.own_port()
                )],
                _ => vec![format!(
                    "Tell others to connect to {external}: the router forwards it, though nobody outside has tried."
                )],
            },
            Mapping::Unconfirmed { .. } => vec![self.by_hand(
                "Restart the router, or bring it up to date: it says that it forwards the port, and does not. If that \
                 does not help, ",
            )],
            Mapping::DoubleNat { router, .. } if is_shared(*router) => {
                vec![carriers_advice(&format!("the router's own address, {router}, is"))]
            }
            Mapping::DoubleNat { router, .. } => vec![format!(
                "Find the second NAT: the router's own address, {router}, is not public. {SECOND_NAT}"
            )],
            // Were it not connected, the servers would not have seen us.
            Mapping::Failed { upnp, nat_pmp }
                if self.reach.translated == Some(true)
                    && [upnp, nat_pmp].contains(&&MappingFault::NoOutside) =>
            {
                vec![format!("Find the second NAT: the router has no public address itself. {SECOND_NAT}")]
            }
            Mapping::Failed { upnp, nat_pmp } => self.refused(&[upnp, nat_pmp]),
            Mapping::Waiting | Mapping::Searching => Vec::new(),
            _ if is_closed => vec![self.by_hand("")],
            _ => Vec::new(),
        }
    }

    fn refused(&self, faults: &[&MappingFault]) -> Vec<String> {
        if faults.contains(&&MappingFault::NoAddress) {
            if self.reach.lan.is_empty() {
                // It was said already why, and what to do.
                return Vec::new();
            }
            return vec![
                "Give this machine an IPv4 address in the router's network: routers forward ports of IPv4 only.".into(),
            ];
        }
        let mut advice: Vec<String> = Vec::new();
        for sentence in faults.iter().filter_map(|fault| self.cure(fault)) {
            if !advice.contains(&sentence) {
                advice.push(sentence);
            }
        }
        if advice.is_empty() {
            advice
                .push("Switch on UPnP or NAT-PMP in the router's settings: no router opens the port.".into());
        }
        advice.push(self.by_hand("If that does not help, "));
        advice
    }

    /// That no router answers has its own cure, when there is no other.
    fn cure(&self, fault: &MappingFault) -> Option<String> {
        Some(match fault {
            MappingFault::Refused => {
                "Allow this machine to open ports (UPnP, NAT-PMP) in the router's settings: the router refuses.".into()
            }
            MappingFault::Conflict => "Remove forwarded ports that nobody uses in the router's settings, or choose \
                                       another --port: those tried are taken."
                .into(),
            MappingFault::NoOutside => {
                "See whether the router is connected: it says that it has no address outside itself.".into()
            }
            MappingFault::Silent | MappingFault::Hung => {
                "Restart the router: it was found, but does not answer in time.".into()
            }
            MappingFault::Dubious => "Name the router with --router IP: what answers the search is none that could be \
                                      used in this network."
                .into(),
            MappingFault::Other(why) => format!("See what is wrong with the router; it was found, but: {why}."),
            _ => return None,
        })
    }

    /// To be preceded by when.
    fn by_hand(&self, when: &str) -> String {
        let target = self.inner_address().map_or_else(|| "this machine".into(), |ip| ip.to_string());
        let sentence = match self.options.port {
            0 => format!(
                "choose a port that stays the same, here (--port N) and in your program, and forward it (TCP) to \
                 {target} by hand in the router's settings; if one is forwarded already, give that."
            ),
            port => format!("forward TCP port {port} to {target} by hand in the router's settings."),
        };
        match when.is_empty() {
            true => capitalised(&sentence),
            false => format!("{when}{sentence}"),
        }
    }

    /// What works while nobody can connect.
    fn meanwhile(&self) -> Vec<String> {
        if self.reach.reachable != Reachability::No || self.is_alone() {
            return Vec::new();
        }
        let when = if self.is_nobody_to_connect() { "Let" } else { "Until then let" };
        let mut advice = vec![format!(
            "{when} others connect by UNL (p2poll listen --rendezvous HOST:PORT prints one): nobody can just connect to \
             this machine, but a rendezvous server brings both together, by hole punching or as a relay."
        )];
        if self.reach.nat.kind() == Some(NatKind::Random) {
            advice.push(
                "Do not count on hole punching: this NAT chooses ports that nobody can foretell, so that without an open \
                 port at one of the two a relay has to pass the bytes on."
                    .into(),
            );
        }
        advice
    }

    fn observers(&self) -> Vec<String> {
        match self.reach.nat {
            Nat::Unknown(Doubt::OneObserver) => vec![
                "To learn the kind of the NAT give a second rendezvous server, or let the one listen at a second port."
                    .into(),
            ],
            _ => Vec::new(),
        }
    }

    /// What is wrong with one server, in so far as it is not the same with all.
    fn single_servers(&self) -> Vec<String> {
        let all_down = self.findings.are_servers_down();
        let faults = self.reach.servers.iter().filter(|server| server.kind.is_none());
        faults
            .filter_map(|server| match self.findings.fault(server)? {
                ServerFault::NoAddress => Some(format!(
                    "Check the name in {}: it has no address, or names can not be looked up here.",
                    server.name
                )),
                ServerFault::Nonsense => Some(format!(
                    "Check the port of {}: what answers there is no rendezvous server.",
                    server.name
                )),
                ServerFault::NoLocalPort => Some(format!(
                    "Close connections, or wait a minute: this machine has no local port left to connect to {} from.",
                    server.name
                )),
                _ if all_down => None,
                fault => Some(format!("Give another rendezvous server instead of {}: {fault}.", server.name)),
            })
            .collect()
    }

    /// Servers that do not know who this is.
    fn unproven(&self) -> Vec<String> {
        let unproven = self.findings.unproven.iter();
        unproven
            .map(|(name, why)| {
                format!(
                    "Tell whoever runs {name} that nobody can call this node through it, nor be relayed: it does not take the \
                     proof of who this is, as {why}."
                )
            })
            .collect()
    }

    /// What was said, and is not so.
    fn contradictions(&self) -> Vec<String> {
        let mut advice = Vec::new();
        let options = &self.options.reach;
        if let Some(kind) = options.node_type.map(NodeType::from) {
            let is_passive = kind == NodeType::Passive;
            match self.reach.reachable.answer() {
                Some(false) if is_passive => advice.push(
                    "Leave out --node-type passive: others would be told to connect to this node, and could not.".into(),
                ),
                Some(true) if !is_passive => {
                    advice.push(format!("Leave out --node-type {kind}: others can connect to this node."));
                }
                _ => {}
            }
        }
        if let Some(wan) = options.wan_ip {
            let (same, other): (Vec<IpAddr>, Vec<IpAddr>) =
                seen(self.reach).partition(|seen| seen.is_ipv4() == wan.is_ipv4());
            let family = if wan.is_ipv4() { "IPv4" } else { "IPv6" };
            match (&same[..], &other[..]) {
                ([], [seen, ..]) => advice.push(format!(
                    "Check --wan-ip {wan}: the rendezvous servers see {seen}, and no address of {family}."
                )),
                ([seen, ..], _) if !same.contains(&wan) => {
                    advice.push(format!("Check --wan-ip {wan}: the rendezvous servers see {seen}."));
                }
                _ => {}
            }
        }
        advice
    }

    /// It listens on loopback only.
    fn is_alone(&self) -> bool {
        let lan = &self.reach.lan;
        self.options.bind.is_some_and(|ip| ip.is_loopback())
            || (!lan.is_empty() && lan.iter().all(|lan| lan.address.is_loopback()))
    }

    /// Others get in by the router's leave.
    fn is_mapped(&self) -> bool {
        matches!(self.reach.mapping, Mapping::Mapped { .. } | Mapping::Unconfirmed { .. })
    }

    /// The user said so.
    fn is_nobody_to_connect(&self) -> bool {
        self.options.reach.node_type.is_some_and(|kind| NodeType::from(kind) != NodeType::Passive)
    }

    fn is_unanswered(&self) -> bool {
        self.reach.reachable == Reachability::Unknown(Doubt::Unanswered)
            || self.reach.nat == Nat::Unknown(Doubt::Unanswered)
    }

    /// There is no router of the user's: the machine itself is behind the NAT of its provider, as phones are.
    fn is_carriers(&self) -> bool {
        let mut addresses = self.reach.lan.iter().map(|lan| lan.address).filter(IpAddr::is_ipv4).peekable();
        addresses.peek().is_some() && addresses.all(is_shared)
    }

    /// Where a router is to forward to.
    fn inner_address(&self) -> Option<IpAddr> {
        self.reach
            .lan
            .iter()
            .map(|lan| lan.address)
            .find(|address| address.is_ipv4() && !address.is_loopback())
    }

    /// The one at which it listens; the picture's is the router's once that has opened one.
    fn own_port(&self) -> String {
        match (self.options.port, self.reach.port, &self.reach.mapping) {
            (0, _, Mapping::Mapped { .. } | Mapping::Unconfirmed { .. }) | (0, None, _) => {
                "your program's port".into()
            }
            (0, Some(port), _) | (port, ..) => format!("port {port}"),
        }
    }
}

const SECOND_NAT: &str = "If it is a router of yours, make it a bridge or forward the port there, too; if it is the \
                          internet provider's, ask for a public IPv4 address, or use IPv6.";

/// The address space that a provider's customers share before its own NAT (RFC 6598).
fn is_shared(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
}

fn carriers_advice(whose_is: &str) -> String {
    format!(
        "Ask the internet provider for a public IPv4 address, or use IPv6: {whose_is} behind the provider's own NAT, \
         where no port can be opened from here."
    )
}

fn capitalised(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::ValueEnum as _;
    use p2poll::{Event, MappingProtocol, RendezvousNews, ServerKind};

    use super::super::pictures::{lan, picture, server};
    use super::*;
    use crate::arguments::ReachOptions;

    fn options(change: impl FnOnce(&mut DoctorOptions)) -> DoctorOptions {
        let mut options =
            DoctorOptions { rendezvous: vec!["a.example:1".into()], port: 4000, ..Default::default() };
        change(&mut options);
        options
    }

    fn told(reach: Reach, options: &DoctorOptions) -> Vec<String> {
        advice(&Findings { reach: Arc::new(reach), is_listed: true, ..Findings::default() }, options)
    }

    /// Of a machine that is behind a NAT, to which nobody can connect.
    fn closed(change: impl FnOnce(&mut Reach)) -> Reach {
        picture(|reach| {
            reach.node_type = NodeType::Simultaneous;
            reach.reachable = Reachability::No;
            change(reach);
        })
    }

    fn failed(upnp: MappingFault, nat_pmp: MappingFault) -> Reach {
        closed(|reach| reach.mapping = Mapping::Failed { upnp, nat_pmp })
    }

    /// Each of the sentences begins as expected.
    #[track_caller]
    fn assert_told(reach: Reach, options: &DoctorOptions, begin: &[&str]) {
        let advice = told(reach, options);
        let fits = |(sentence, begin): (&String, &&str)| sentence.starts_with(begin);
        assert!(advice.len() == begin.len() && advice.iter().zip(begin).all(fits), "{advice:#?}\n{begin:#?}");
    }

    const UNTIL_THEN: &str = "Until then let others connect by UNL";
    const BY_HAND: &str = "If that does not help, forward TCP port 4000 to 192.168.1.5 by hand";

    #[test]
    fn where_all_is_well_nothing_has_to_be_done() {
        let advice = told(picture(|_| {}), &options(|_| {}));
        assert_eq!(advice, ["Nothing has to be done for others to connect: they can, to 203.0.113.7:4000."]);
        let mapped = picture(|reach| {
            let external = "203.0.113.7:5000".parse().unwrap();
            reach.mapping = Mapping::Mapped { protocol: MappingProtocol::Upnp, external, lease: None };
            reach.port = Some(5000);
        });
        // Who listens at 4000 is one that asked the router, or one for whom it was forwarded by hand.
        let begin = [
            "Nothing has to be done for others to connect to a p2poll program: they can, to 203.0.113.7:5000.",
            "For a program that does not ask the router by itself, forward TCP port 4000 to 192.168.1.5 by hand",
        ];
        assert_told(mapped, &options(|_| {}), &begin);
        let six = picture(|reach| reach.wan = Some("2001:db8::5".parse().unwrap()));
        assert!(told(six, &options(|_| {}))[0].ends_with("[2001:db8::5]:4000."));
    }

    #[test]
    fn without_servers_the_router_is_all_there_is() {
        let none = options(|options| options.rendezvous.clear());
        let reach = |mapping: Mapping| {
            picture(|reach| {
                reach.servers.clear();
                reach.nat = Nat::Unknown(Doubt::NoServer);
                reach.reachable = Reachability::Unknown(Doubt::NoServer);
                (reach.translated, reach.wan) = (None, None);
                reach.mapping = mapping;
            })
        };
        let external = "203.0.113.7:5000".parse().unwrap();
        let mapped = Mapping::Mapped { protocol: MappingProtocol::NatPmp, external, lease: None };
        let tell = "Tell others to connect to 203.0.113.7:5000";
        assert_told(reach(mapped), &none, &["Give rendezvous servers", tell]);
        let failed = Mapping::Failed { upnp: MappingFault::NoRouter, nat_pmp: MappingFault::NoRouter };
        assert_told(reach(failed), &none, &["Give rendezvous servers", "Switch on UPnP", BY_HAND]);
    }

    #[test]
    fn servers_that_do_not_answer_come_first() {
        let mut findings = Findings::default();
        for (name, why) in [
            ("a.example:1", ServerFault::Unreachable),
            ("b.example:2", ServerFault::NoAddress),
            ("c.example:3", ServerFault::Nonsense),
        ] {
            let news = RendezvousNews::Down { why, retry_in: std::time::Duration::from_secs(1) };
            findings.handle_event(&Event::Rendezvous { server: name.into(), news });
        }
        findings.handle_reach(Arc::new(picture(|reach| {
            reach.servers =
                ["a.example:1", "b.example:2", "c.example:3"].map(|name| server(name, None)).into();
            reach.nat = Nat::Unknown(Doubt::ServersDown);
            reach.reachable = Reachability::Unknown(Doubt::ServersDown);
        })));
        let advice = advice(&findings, &options(|_| {}));
        assert_eq!(advice.len(), 3, "{advice:#?}");
        assert!(advice[0].contains("no rendezvous server answers"), "{advice:#?}");
        assert!(advice[1].starts_with("Check the name in b.example:2"), "{advice:#?}");
        assert!(advice[2].starts_with("Check the port of c.example:3"), "{advice:#?}");

        findings.handle_reach(Arc::new(picture(|reach| reach.servers[1].kind = None)));
        findings.handle_event(&Event::Rendezvous {
            server: "b.example:2".into(),
            news: RendezvousNews::Down {
                why: ServerFault::Slow,
                retry_in: std::time::Duration::from_secs(1),
            },
        });
        let advice = super::advice(&findings, &options(|_| {}));
        let instead = "Give another rendezvous server instead of b.example:2: did not answer in time.";
        assert_eq!(advice[1..], [instead]);
    }

    #[test]
    fn a_server_that_does_not_know_its_address_is_named() {
        let mut findings = Findings::default();
        findings.handle_reach(Arc::new(picture(|_| {})));
        let why = "it does not know that it is 192.0.2.1:8000; whoever runs it should start it with \
                   --public-address 192.0.2.1:8000";
        let news = RendezvousNews::Unproven { why: why.into() };
        assert_eq!(
            findings.handle_event(&Event::Rendezvous { server: "rv.example:8000".into(), news }),
            None
        );
        let advice = advice(&findings, &options(|_| {}));
        let told = advice.iter().find(|advice| advice.contains("rv.example:8000")).expect("it is named");
        assert!(told.contains("--public-address 192.0.2.1:8000"), "{told}");
    }

    #[test]
    fn old_servers_can_not_tell() {
        let reach = picture(|reach| {
            reach.servers.iter_mut().for_each(|server| server.kind = Some(ServerKind::Pyp2p));
            reach.nat = Nat::Unknown(Doubt::OldServer);
            reach.reachable = Reachability::Unknown(Doubt::OldServer);
        });
        assert_told(reach, &options(|_| {}), &["Ask a rendezvous server of p2poll"]);
    }

    #[test]
    fn each_fault_of_the_router_has_its_cure() {
        use MappingFault::*;
        for (upnp, nat_pmp, cures) in [
            (NoRouter, NoRouter, &["Switch on UPnP or NAT-PMP"][..]),
            (NoRouter, NotAsked, &["Switch on UPnP or NAT-PMP"]),
            (Lease, Panicked, &["Switch on UPnP or NAT-PMP"]),
            (Refused, Refused, &["Allow this machine to open ports"]),
            (Refused, NoRouter, &["Allow this machine to open ports"]),
            (Conflict, NoRouter, &["Remove forwarded ports that nobody uses"]),
            (Silent, NoRouter, &["Restart the router"]),
            (Silent, Hung, &["Restart the router"]),
            (Dubious, NoRouter, &["Name the router with --router IP"]),
            (NoRouter, Refused, &["Allow this machine"]),
            (
                Other("it is tired".into()),
                NoRouter,
                &["See what is wrong with the router; it was found, but: it is"],
            ),
        ] {
            let all: Vec<&str> = cures.iter().copied().chain([BY_HAND, UNTIL_THEN]).collect();
            assert_told(failed(upnp, nat_pmp), &options(|_| {}), &all);
        }
        assert_told(
            failed(NoAddress, NoAddress),
            &options(|_| {}),
            &["Give this machine an IPv4", UNTIL_THEN],
        );
    }

    #[test]
    fn a_port_that_changes_can_not_be_forwarded_by_hand() {
        let any = options(|options| options.port = 0);
        let advice = told(failed(MappingFault::NoRouter, MappingFault::NoRouter), &any);
        assert!(advice[1].contains("--port N") && advice[1].contains("192.168.1.5"), "{advice:#?}");
    }

    #[test]
    fn what_was_switched_off_can_be_switched_on() {
        let off = || closed(|reach| reach.mapping = Mapping::Off);
        let no_mapping = options(|options| options.reach.no_mapping = true);
        assert_told(off(), &no_mapping, &["Leave out --no-mapping", "Otherwise, forward", UNTIL_THEN]);
        assert_told(off(), &options(|_| {}), &["This p2poll is built without", UNTIL_THEN]);
        // Where others can connect nobody misses it.
        let well = told(picture(|reach| reach.mapping = Mapping::Off), &no_mapping);
        assert_eq!(well.len(), 1, "{well:#?}");
    }

    #[test]
    fn a_second_nat_is_found() {
        let double = |router: [u8; 4]| {
            let (protocol, router) = (MappingProtocol::Upnp, router.into());
            closed(|reach| reach.mapping = Mapping::DoubleNat { protocol, router })
        };
        assert_told(double([192, 168, 0, 2]), &options(|_| {}), &["Find the second NAT", UNTIL_THEN]);
        assert_told(double([100, 64, 0, 2]), &options(|_| {}), &["Ask the internet provider", UNTIL_THEN]);
        assert_told(double([100, 128, 0, 2]), &options(|_| {}), &["Find the second NAT", UNTIL_THEN]);
        let mapped = |address: [u8; 4]| {
            let (protocol, external) = (MappingProtocol::Upnp, (address, 5000).into());
            closed(|reach| reach.mapping = Mapping::Mapped { protocol, external, lease: None })
        };
        assert_told(mapped([198, 51, 100, 1]), &options(|_| {}), &["Find the second NAT", UNTIL_THEN]);
        assert_told(
            mapped([203, 0, 113, 7]),
            &options(|_| {}),
            &["Let TCP connections to port 4000", UNTIL_THEN],
        );
        // Some routers do not tell which address it is that is not public.
        let mut unseen = failed(MappingFault::NoOutside, MappingFault::NoRouter);
        assert_told(unseen.clone(), &options(|_| {}), &["Find the second NAT", UNTIL_THEN]);
        unseen.translated = None;
        assert_told(unseen, &options(|_| {}), &["See whether the router is connected", BY_HAND, UNTIL_THEN]);
        let phone = closed(|reach| reach.lan = lan(&["100.100.1.2", "2001:db8::5"]));
        assert_told(phone, &options(|_| {}), &["Ask the internet provider", UNTIL_THEN]);
    }

    #[test]
    fn without_a_nat_it_is_a_firewall() {
        let reach = closed(|reach| {
            reach.translated = Some(false);
            reach.lan = lan(&["203.0.113.7"]);
        });
        let any = options(|options| options.port = 0);
        assert_told(reach, &any, &["Let TCP connections to port 4000 in", UNTIL_THEN]);
    }

    #[test]
    fn a_random_nat_needs_an_open_port() {
        let reach = closed(|reach| reach.nat = Nat::Measured(NatKind::Random));
        let begin = ["Forward TCP port 4000", UNTIL_THEN, "Do not count on hole punching"];
        assert_told(reach, &options(|_| {}), &begin);
        let open = picture(|reach| reach.nat = Nat::Measured(NatKind::Random));
        assert_told(open, &options(|_| {}), &["Nothing has to be done"]);
    }

    #[test]
    fn doubts_say_how_they_are_removed() {
        let nothing = "Nothing has to be done";
        let nat = |doubt| picture(|reach| reach.nat = Nat::Unknown(doubt));
        assert_told(nat(Doubt::OneObserver), &options(|_| {}), &[nothing, "To learn the kind of the NAT"]);
        assert_told(nat(Doubt::Pending), &options(|_| {}), &[nothing, "Give it more time"]);
        let reachable = |doubt| picture(|reach| reach.reachable = Reachability::Unknown(doubt));
        assert_told(reachable(Doubt::Busy), &options(|_| {}), &["Wait a minute"]);
        assert_told(reachable(Doubt::TooFar), &options(|_| {}), &["Ask a rendezvous server that is nearer"]);
        assert_told(reachable(Doubt::Unanswered), &options(|_| {}), &["Try again"]);
        assert_told(reachable(Doubt::Pending), &options(|_| {}), &["Give it more time"]);
        let asked = closed(|reach| reach.mapping = Mapping::Searching);
        assert_told(asked, &options(|_| {}), &[UNTIL_THEN, "Give it more time"]);
    }

    #[test]
    fn what_the_user_said_is_held_against_what_was_found() {
        let with = |reach: ReachOptions| options(|options| options.reach = reach);
        let typed = |name: &str| {
            let node_type = crate::arguments::NodeKind::from_str(name, false).ok();
            with(ReachOptions { node_type, ..Default::default() })
        };
        let nothing = "Nothing has to be done";
        assert_told(picture(|_| {}), &typed("active"), &[nothing, "Leave out --node-type active"]);
        let begin = ["Forward TCP port 4000", UNTIL_THEN, "Leave out --node-type passive"];
        assert_told(closed(|_| {}), &typed("passive"), &begin);
        assert_told(closed(|_| {}), &typed("active"), &["Let others connect by UNL"]);

        let wan_ip = Some([198, 51, 100, 1].into());
        let fixed = with(ReachOptions { wan_ip, ..Default::default() });
        let seen = |ip: [u8; 4]| picture(|reach| reach.servers[0].seen = Some((ip, 9).into()));
        assert_told(
            seen([203, 0, 113, 7]),
            &fixed,
            &[nothing, "Check --wan-ip 198.51.100.1: the rendezvous"],
        );
        assert_told(seen([198, 51, 100, 1]), &fixed, &[nothing]);
        let six = picture(|reach| reach.servers[0].seen = Some("[2001:db8::5]:9".parse().unwrap()));
        let check =
            "Check --wan-ip 198.51.100.1: the rendezvous servers see 2001:db8::5, and no address of IPv4.";
        assert_told(six, &fixed, &[nothing, check]);

        let nowhere = || picture(|reach| reach.lan.clear());
        assert_told(nowhere(), &options(|_| {}), &["Connect this machine to a network", nothing]);
        let interface = Some("eth7".into());
        let fixed = with(ReachOptions { interface, ..Default::default() });
        assert_told(nowhere(), &fixed, &["Check --interface eth7", nothing]);
    }

    #[test]
    fn on_loopback_the_router_is_left_alone() {
        let bound = options(|options| options.bind = Some([127, 0, 0, 1].into()));
        let reach = closed(|reach| reach.lan = lan(&["127.0.0.1"]));
        assert_told(reach, &bound, &["Leave out --bind 127.0.0.1"]);
        let reach = picture(|reach| reach.lan = lan(&["127.0.0.1"]));
        assert_told(
            reach,
            &bound,
            &["Leave out --bind 127.0.0.1", "Nothing has to be done for programs on this"],
        );
    }
}
