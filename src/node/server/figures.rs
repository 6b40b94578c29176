//! What a server holds and has done, in numbers; and how Prometheus is told (its text format, version 0.0.4).

use std::fmt::Write as _;

/// See [`ServerStats`](crate::ServerStats), which has the same.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) clients: usize,
    pub(crate) nodes: usize,
    pub(crate) identities: usize,
    pub(crate) relays: usize,
    pub(crate) mail: usize,
    pub(crate) backlog: usize,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) signals: u64,
    pub(crate) signals_refused: u64,
    pub(crate) relayed_bytes: u64,
}

impl Figures {
    /// All of them, a metric each.
    pub(super) fn prometheus(&self) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, value: u64| {
            // Writing to memory does not fail.
            let _ = write!(
                text,
                "# HELP p2poll_{name} {help}\n# TYPE p2poll_{name} {kind}\np2poll_{name} {value}\n"
            );
        };
        metric("clients", "gauge", "Clients that are connected.", self.clients as u64);
        metric("nodes", "gauge", "Nodes that are listed.", self.nodes as u64);
        metric("identities", "gauge", "Nodes that take signals.", self.identities as u64);
        metric("relays", "gauge", "Relays that run.", self.relays as u64);
        metric("mail", "gauge", "Signals that wait for their recipient.", self.mail as u64);
        metric("backlog_bytes", "gauge", "Held for clients that do not read.", self.backlog as u64);
        metric("accepted_total", "counter", "Connections that were accepted.", self.accepted);
        metric("refused_total", "counter", "Connections that were refused.", self.refused);
        metric("signals_total", "counter", "Signals that were passed on or kept.", self.signals);
        metric("signals_refused_total", "counter", "Signals that were not.", self.signals_refused);
        metric("relayed_bytes_total", "counter", "Bytes that went through relays.", self.relayed_bytes);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_its_help_its_type_and_one_value() {
        let text = Figures { clients: 3, relayed_bytes: u64::MAX, ..Figures::default() }.prometheus();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 33);
        assert!(
            lines.contains(&"p2poll_clients 3")
                && lines.contains(&"p2poll_relayed_bytes_total 18446744073709551615")
        );
        for metric in lines.chunks(3) {
            let name = metric[2].split(' ').next().expect("a name");
            assert!(metric[0].starts_with(&format!("# HELP {name} ")), "{metric:?}");
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            assert_eq!(metric[1], format!("# TYPE {name} {kind}"));
        }
    }
}
