//! A UNL in words.

use std::fmt::Display;

use super::Unl;

pub(super) fn describe(unl: &Unl) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn Display| text += &format!("{name:<12} {value}\n");
    line("version", &unl.version());
    match (unl.node_id(), unl.claimed_id()) {
        (Some(id), _) => line("node id", &format_args!("{id} (it has signed this)")),
        (None, Some(id)) => line("node id", &format_args!("{id} (claimed, not proven)")),
        (None, None) => line("node id", &"none"),
    }
    line("node type", &unl.node_type());
    match unl.nat() {
        Some(nat) => line("NAT", &nat),
        None => line("NAT", &"unknown"),
    }
    line("forwarding", &unl.forwarding());
    for address in unl.addresses() {
        match address.oddity() {
            None => line("address", &address),
            Some(oddity) => line("address", &format_args!("{address}: {oddity}")),
        }
    }
    for server in unl.servers() {
        line("server", &server);
    }
    if unl.skipped() > 0 {
        line("skipped", &format_args!("{} fields of a later version", unl.skipped()));
    }
    text
}
