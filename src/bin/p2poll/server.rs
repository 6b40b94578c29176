//! `p2poll rendezvous`

use std::time::{Duration, Instant};

use p2poll::ServerStats;
use serde_json::{Value, json};

use crate::Failure;
use crate::arguments::RendezvousOptions;
use crate::output::{Output, Plain};
use crate::pipe::now;
use crate::waiting::Waiting;

/// How often figures are told.
const FIGURES_EVERY: Duration = Duration::from_secs(60);

pub(crate) fn run(options: &RendezvousOptions) -> Result<(), Failure> {
    let mut waiting = Waiting::new()?;
    let mut server = options.config().start()?;
    waiting.add(&mut server)?;

    let mut output = if options.json { Output::json() } else { Output::plain(Plain::default()) };
    for &addr in server.local_addrs() {
        output.listening(addr)?;
    }
    output.flush()?;
    let mut figures_at: Option<Instant> = options.figures.then(|| now() + FIGURES_EVERY);
    while !waiting.wants_to_leave() {
        server.poll(Some(Duration::ZERO))?;
        if let Some(at) = figures_at.as_mut().filter(|at| **at <= now()) {
            *at += FIGURES_EVERY;
            output.figures(&figures(&server.stats()))?;
            output.flush()?;
        }
        let left = figures_at.map(|at| at.saturating_duration_since(now()));
        waiting.wait(soonest(server.next_wakeup(), left))?;
    }
    // Dropping the server closes its sockets.
    Ok(())
}

fn figures(stats: &ServerStats) -> Value {
    json!({
        "event": "figures",
        "clients": stats.clients,
        "nodes": stats.nodes,
        "identities": stats.identities,
        "relays": stats.relays,
        "mail": stats.mail,
        "backlog_bytes": stats.backlog,
        "accepted_total": stats.accepted,
        "refused_total": stats.refused,
        "signals_total": stats.signals,
        "signals_refused_total": stats.signals_refused,
        "relayed_bytes_total": stats.relayed_bytes,
    })
}

fn soonest(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
