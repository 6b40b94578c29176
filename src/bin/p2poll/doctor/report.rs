//! What was found, for programs and for people.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use p2poll::{
    Mapping, MappingProtocol, Nat, NatKind, NodeType, Reach, Reachability, ServerKind, ServerSight, harmless,
};
use serde_json::{Value, json};

use super::findings::Findings;
use crate::output::nat_json;

/// With the fields in the order in which the help names them.
pub(super) fn json(findings: &Findings, advice: &[String]) -> Value {
    let Reach { node_type, nat, wan, lan, port, reachable, mapping, servers, translated, .. } =
        &*findings.reach;
    let reachable_why = match reachable {
        Reachability::Unknown(doubt) => Some(doubt.to_string()),
        _ => None,
    };
    json!({
        "event": "doctor",
        "node_type": node_type.to_string(),
        "nat": nat_and_why_json(*nat, *translated),
        "wan": wan.map(|ip| ip.to_string()),
        "lan": lan.iter().map(|lan| lan.address.to_string()).collect::<Vec<_>>(),
        "port": port,
        "reachable": reachable.answer(),
        "mapping": mapping_json(mapping),
        "servers": servers.iter().map(|server| server_json(findings, server)).collect::<Vec<_>>(),
        "advice": advice,
        "reachable_why": reachable_why,
    })
}

/// Whole lines: the findings, an empty line, the advice.
///
/// `fixed`: the user has said of which type the node is.
pub(super) fn text(findings: &Findings, fixed: bool, advice: &[String]) -> String {
    let Reach { nat, wan, lan, port, reachable, mapping, .. } = &*findings.reach;
    let mut text = String::new();
    // What routers say, and servers are called, makes no lines of its own and commands no terminal.
    let mut row = |name: &str, what: &dyn Display| {
        text.push_str(&format!("{name:<18}{}\n", harmless(&what.to_string())));
    };
    row("node type", &node_type(&findings.reach, fixed));
    row("NAT", &explained(*nat));
    row("outside address", &or_unknown(*wan));
    row("addresses here", &if lan.is_empty() { "none".into() } else { list(lan) });
    row("port", &port.map_or_else(|| "none".into(), |port| port.to_string()));
    row("reachable", reachable);
    row("port mapping", mapping);
    for (name, server) in std::iter::once("servers").chain(std::iter::repeat("")).zip(servers(findings)) {
        row(name, &server);
    }
    text.push_str("\nWhat to do:\n");
    advice.iter().for_each(|sentence| text.push_str(&format!("- {}\n", harmless(sentence))));
    text
}

pub(super) fn list(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Where others can connect to, as far as it is known. What the outside sees goes before what the router says, and that
/// before what the user says.
pub(super) fn entrance(reach: &Reach) -> Option<SocketAddr> {
    let wan = reach.wan.filter(|wan| seen(reach).any(|seen| seen == *wan));
    match (wan, reach.port, &reach.mapping) {
        (Some(wan), Some(port), _) => Some(SocketAddr::new(wan, port)),
        (_, _, Mapping::Mapped { external, .. }) => Some(*external),
        (_, port, _) => Some(SocketAddr::new(seen(reach).next().or(reach.wan)?, port?)),
    }
}

/// This machine's addresses as the servers see them.
pub(super) fn seen(reach: &Reach) -> impl Iterator<Item = IpAddr> + '_ {
    reach.servers.iter().filter_map(|server| Some(server.seen?.ip().to_canonical()))
}

/// With why the kind is not known, and whether addresses are translated, after what the other events have of a NAT.
fn nat_and_why_json(nat: Nat, translated: Option<bool>) -> Value {
    let mut value = nat_json(nat.kind());
    value["why"] = match nat {
        Nat::Unknown(doubt) => doubt.to_string().into(),
        _ => Value::Null,
    };
    value["translated"] = translated.into();
    value
}

fn mapping_json(mapping: &Mapping) -> Value {
    let (protocol, external) = match mapping {
        Mapping::Mapped { protocol, external, .. } => (Some(protocol), Some(external.to_string())),
        Mapping::DoubleNat { protocol, .. } | Mapping::Unconfirmed { protocol, .. } => (Some(protocol), None),
        _ => (None, None),
    };
    let protocol = match protocol {
        Some(MappingProtocol::Upnp) => "upnp",
        Some(MappingProtocol::NatPmp) => "natpmp",
        _ => "none",
    };
    json!({ "protocol": protocol, "external": external, "why": mapping.to_string() })
}

fn server_json(findings: &Findings, server: &ServerSight) -> Value {
    json!({
        "addr": &*server.name,
        "kind": server.kind.map(|kind| kind.to_string()),
        "rtt_ms": server.rtt.map(milliseconds),
        "why": findings.fault(server).map(|fault| fault.to_string()),
    })
}

/// To the microsecond: the rest is noise.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn node_type(reach: &Reach, fixed: bool) -> String {
    let node_type = reach.node_type;
    if fixed {
        let but = match (node_type, reach.reachable.answer()) {
            (NodeType::Passive, Some(false)) => ", though nobody can connect to it",
            (NodeType::Simultaneous | NodeType::Active, Some(true)) => ", though others can connect to it",
            _ => "",
        };
        return format!("{node_type} (as given{but})");
    }
    let meaning = match node_type {
        NodeType::Passive => match reach.reachable.answer() {
            Some(true) => "others can connect to it",
            Some(false) => "though nobody can connect to it",
            None => "as far as is known",
        },
        NodeType::Simultaneous => {
            "nobody can just connect to it, but its NAT can be foretold, so that hole punching works"
        }
        _ => "nobody can connect to it, it connects to others",
    };
    format!("{node_type} ({meaning})")
}

fn explained(nat: Nat) -> String {
    let (Nat::Measured(kind) | Nat::Configured(kind)) = nat else { return nat.to_string() };
    let meaning = match kind {
        NatKind::Preserving => "the outside port is the inside one",
        NatKind::Delta { .. } => "outside ports in a row differ by that",
        NatKind::Reuse => "an inside port has the same outside port towards everybody",
        _ => "nobody can foretell the outside port",
    };
    format!("{nat} ({meaning})")
}

fn or_unknown(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unknown".into(), |address| address.to_string())
}

fn servers(findings: &Findings) -> Vec<String> {
    let servers = &findings.reach.servers;
    match servers.is_empty() {
        true => vec!["none given".into()],
        false => servers.iter().map(|server| server_text(findings, server)).collect(),
    }
}

fn server_text(findings: &Findings, server: &ServerSight) -> String {
    let mut text = server.name.to_string();
    if let Some(addr) = server.addr.filter(|addr| addr.to_string() != *server.name) {
        text += &format!(" at {addr}");
    }
    match (server.kind, findings.fault(server)) {
        (Some(ServerKind::P2poll), _) => text += ": answers",
        (Some(kind), _) => text += &format!(": answers, as {kind} does"),
        (None, Some(fault)) => text += &format!(": {fault}"),
        (None, None) => text += ": has not answered yet",
    }
    if let Some(rtt) = server.rtt {
        text += &format!(" in {:.1} ms", milliseconds(rtt));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use p2poll::{Doubt, MappingFault, ServerFault};

    use super::super::pictures::{lan, picture, server};
    use super::*;

    fn of(reach: Reach) -> Findings {
        Findings { reach: Arc::new(reach), ..Findings::default() }
    }

    #[test]
    fn programs_get_every_field_in_its_order() {
        let external = "203.0.113.7:4001".parse().unwrap();
        let lease = Some(Duration::from_secs(3600));
        let reach = picture(|reach| {
            reach.nat = Nat::Measured(NatKind::Delta { step: -2 });
            reach.port = Some(4001);
            reach.mapping = Mapping::Mapped { protocol: MappingProtocol::NatPmp, external, lease };
            reach.servers.push(server("[2001:db8::1]:3", Some(ServerKind::Pyp2p)));
            reach.servers.push(server("down.example:4", None));
        });
        let mut findings = of(reach);
        findings.faults.insert("down.example:4".into(), ServerFault::Slow);
        assert_eq!(
            json(&findings, &["Do this.".into(), "Then that.".into()]).to_string(),
            r#"{"event":"doctor","node_type":"passive","nat":{"kind":"delta","delta":-2,"why":null,"translated":true},"#
                .to_owned()
                + r#""wan":"203.0.113.7","lan":["192.168.1.5"],"port":4001,"reachable":true,"#
                + r#""mapping":{"protocol":"natpmp","external":"203.0.113.7:4001","#
                + r#""why":"203.0.113.7:4001 by NAT-PMP, for 3600 s at a time"},"#
                + r#""servers":[{"addr":"a.example:1","kind":"p2poll","rtt_ms":12.345,"why":null},"#
                + r#"{"addr":"b.example:2","kind":"p2poll","rtt_ms":12.345,"why":null},"#
                + r#"{"addr":"[2001:db8::1]:3","kind":"pyp2p","rtt_ms":12.345,"why":null},"#
                + r#"{"addr":"down.example:4","kind":null,"rtt_ms":null,"why":"did not answer in time"}],"#
                + r#""advice":["Do this.","Then that."],"reachable_why":null}"#
        );
    }

    #[test]
    fn what_is_not_known_is_null() {
        assert_eq!(
            json(&Findings::default(), &[]).to_string(),
            r#"{"event":"doctor","node_type":"passive","#.to_owned()
                + r#""nat":{"kind":null,"delta":null,"why":"not found out yet","translated":null},"wan":null,"lan":[],"#
                + r#""port":null,"reachable":null,"#
                + r#""mapping":{"protocol":"none","external":null,"why":"not known yet whether it is needed"},"#
                + r#""servers":[],"advice":[],"reachable_why":"not found out yet"}"#
        );
    }

    #[test]
    fn every_kind_has_its_word() {
        let words = |change: fn(&mut Reach)| json(&of(picture(change)), &[]);
        for (kind, word) in
            [(NatKind::Preserving, "preserving"), (NatKind::Reuse, "reuse"), (NatKind::Random, "random")]
        {
            assert_eq!(nat_json(Some(kind)), json!({ "kind": word, "delta": null }));
        }
        assert_eq!(words(|reach| reach.node_type = NodeType::Simultaneous)["node_type"], "simultaneous");
        assert_eq!(words(|reach| reach.node_type = NodeType::Active)["node_type"], "active");
        assert_eq!(words(|reach| reach.reachable = Reachability::No)["reachable"], false);
        assert_eq!(
            words(|reach| reach.reachable = Reachability::Unknown(Doubt::Busy))["reachable"],
            Value::Null
        );
        let double = |reach: &mut Reach| {
            let (protocol, router) = (MappingProtocol::Upnp, [10, 0, 0, 2].into());
            reach.mapping = Mapping::DoubleNat { protocol, router };
        };
        let mapping = &words(double)["mapping"];
        assert_eq!((&mapping["protocol"], &mapping["external"]), (&json!("upnp"), &Value::Null));
        let failed = |reach: &mut Reach| {
            let (upnp, nat_pmp) = (MappingFault::NoRouter, MappingFault::Refused);
            reach.mapping = Mapping::Failed { upnp, nat_pmp };
        };
        let why = "UPnP: no router answers; NAT-PMP: the router refuses";
        assert_eq!(words(failed)["mapping"], json!({ "protocol": "none", "external": null, "why": why }));
    }

    #[test]
    fn people_get_a_table_and_the_advice() {
        let reach = picture(|reach| {
            reach.lan = lan(&["192.168.1.5", "2001:db8::5"]);
            reach.servers.push(server("down.example:4", None));
            reach.servers[1].addr = Some(([192, 0, 2, 1], 2).into());
        });
        let findings = of(reach);
        let expected = "\
node type         passive (others can connect to it)
NAT               preserving (the outside port is the inside one)
outside address   203.0.113.7
addresses here    192.168.1.5 (eth0), 2001:db8::5 (eth0)
port              4000
reachable         yes
port mapping      not needed
servers           a.example:1: answers in 12.3 ms
                  b.example:2 at 192.0.2.1:2: answers in 12.3 ms
                  down.example:4: has not answered yet

What to do:
- Rest.
";
        assert_eq!(text(&findings, false, &["Rest.".into()]), expected);
    }

    #[test]
    fn a_type_that_was_given_is_not_explained_by_what_was_found() {
        let open = picture(|reach| reach.node_type = NodeType::Active);
        assert_eq!(node_type(&open, true), "active (as given, though others can connect to it)");
        let closed = picture(|reach| reach.reachable = Reachability::No);
        assert_eq!(node_type(&closed, true), "passive (as given, though nobody can connect to it)");
        assert_eq!(node_type(&picture(|_| {}), true), "passive (as given)");
    }

    #[test]
    fn the_entrance_is_where_somebody_has_been_seen() {
        let wrong = Some([198, 51, 100, 1].into());
        let seen = |reach: &mut Reach| reach.servers[0].seen = Some(([203, 0, 113, 7], 9).into());
        let at = |text: &str| Some(text.parse().unwrap());
        let mapped = |reach: &mut Reach| {
            let (protocol, external) = (MappingProtocol::Upnp, ([203, 0, 113, 7], 5000).into());
            (reach.mapping, reach.wan) = (Mapping::Mapped { protocol, external, lease: None }, wrong);
            reach.port = Some(5000);
        };
        assert_eq!(entrance(&picture(mapped)), at("203.0.113.7:5000"));
        let given = picture(|reach| {
            reach.wan = wrong;
            seen(reach);
        });
        assert_eq!(entrance(&given), at("203.0.113.7:4000"));
        // It is wrong of the router that says so, not of the outside.
        let lied = picture(|reach| {
            mapped(reach);
            reach.wan = Some([192, 0, 2, 9].into());
            reach.servers[1].seen = Some(([192, 0, 2, 9], 9).into());
        });
        assert_eq!(entrance(&lied), at("192.0.2.9:5000"));
    }

    #[test]
    fn a_router_adds_no_lines_and_commands_no_terminal() {
        let reach = picture(|reach| {
            let upnp = MappingFault::Other("\x1b[2J\nreachable yes".into());
            reach.mapping = Mapping::Failed { upnp, nat_pmp: MappingFault::NotAsked };
        });
        let findings = of(reach);
        let text = text(&findings, false, &["It says \x1b[2J\nNothing.".into()]);
        assert_eq!(text.lines().count(), 12, "{text}");
        assert!(!text.contains('\x1b'), "{text}");
        let value = json(&findings, &[]).to_string();
        assert!(!value.contains(['\x1b', '\n']), "{value}");
    }

    #[test]
    fn what_is_not_known_is_said() {
        let text = text(&Findings::default(), false, &[]);
        for line in [
            "node type         passive (as far as is known)\n",
            "NAT               unknown: not found out yet\n",
            "outside address   unknown\n",
            "addresses here    none\n",
            "servers           none given\n",
        ] {
            assert!(text.contains(line), "{line:?} is missing in {text}");
        }
    }
}
