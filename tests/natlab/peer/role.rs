//! What such a process does.

use std::env;
use std::process::ExitCode;
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::Duration;

use p2poll::{
    AttemptId, Config, Doubt, Event, FailReason, Mapping, Nat, NatKind, Net, PortMapping, Reachability,
    RendezvousConfig, Unl, Via,
};
use serde_json::{Value, json};

use super::ROLE;

/// How often a node looks whether it is told something.
const TURN: Duration = Duration::from_millis(5);
/// No laboratory asks as often; the default is for strangers.
const PROBES: usize = 100_000;

/// What this process was started for, done; `None` when it was not to be one of these.
pub(crate) fn role() -> Option<ExitCode> {
    let settings: Value = serde_json::from_str(&env::var(ROLE).ok()?).expect("JSON");
    env_logger::builder().format_timestamp_millis().init();
    if settings["role"] == "server" {
        serve(&settings)
    } else {
        Life::start(&settings).live()
    }
    Some(ExitCode::SUCCESS)
}

/// Until it is killed, as it is with whoever started it.
fn serve(settings: &Value) {
    let addr = settings["listen"].as_str().expect("an address");
    let config = RendezvousConfig::new().listen(addr).max_probes_per_address(PROBES);
    let mut server = config.start().expect("it listens");
    say(&json!({ "event": "listening", "addr": addr }));
    loop {
        server.poll(None).expect("it goes on");
    }
}

struct Life {
    net: Net,
    wants_mapping: bool,
    /// What it was last told to begin.
    asked: Option<AttemptId>,
    told: Value,
}

impl Life {
    fn start(settings: &Value) -> Life {
        let wants_mapping = settings["mapping"] == true;
        // Where no router answers, asking takes seconds and changes nothing.
        let mapping = if wants_mapping { PortMapping::WhenNeeded } else { PortMapping::Off };
        let port = settings["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        let mut config = Config::new().direct().port(port).port_mapping(mapping);
        if let Some(seconds) = settings["dead_after"].as_u64() {
            config = config.dead_after(Duration::from_secs(seconds));
        }
        if let Some(seconds) = settings["connect_within"].as_u64() {
            config = config.connect_within(Duration::from_secs(seconds));
        }
        let servers = settings["servers"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let config = servers.fold(config, Config::rendezvous);
        let net = config.start().expect("it starts");
        Life { net, wants_mapping, asked: None, told: Value::Null }
    }

    fn live(mut self) {
        let (tell, orders) = mpsc::channel();
        thread::spawn(move || {
            let lines = std::io::stdin().lines().map_while(Result::ok);
            lines.for_each(|line| _ = tell.send(line));
        });
        loop {
            match orders.try_recv() {
                Ok(order) => self.obey(&order),
                Err(TryRecvError::Empty) => self.go_on(),
                // Who was to tell us has gone.
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn obey(&mut self, order: &str) {
        match order.split_once(' ').unwrap_or((order, "")) {
            ("connect", unl) => self.connect(unl),
            ("say", line) => _ = self.net.broadcast(line, None),
            _ => panic!("{order:?}?"),
        }
    }

    fn connect(&mut self, unl: &str) {
        let begun = unl.parse::<Unl>().map_err(|why| why.to_string());
        let begun = begun.and_then(|unl| self.net.connect(&unl).map_err(|why| why.to_string()));
        match begun {
            Ok(attempt) => self.asked = Some(attempt),
            Err(why) => say(&json!({ "event": "failed", "why": format!("not begun: {why}"), "tried": [] })),
        }
    }

    fn go_on(&mut self) {
        self.net.poll(Some(TURN)).expect("it goes on");
        self.tell_events();
        for con in self.net.connections() {
            for line in con.replies() {
                say(&json!({ "event": "line", "con": con.id().number(), "line": &*line }));
            }
        }
        // What came about during the walk.
        self.tell_events();
        let state = self.state();
        if state != self.told {
            say(&state);
            self.told = state;
        }
    }

    fn tell_events(&self) {
        for event in self.net.events() {
            if let Some(event) = self.json(event) {
                say(&event);
            }
        }
    }

    fn json(&self, event: Event) -> Option<Value> {
        Some(match event {
            Event::Connected { con, via, peer, attempt, took } => json!({
                "event": "connected",
                "con": con.number(),
                "via": via.to_string(),
                "peer": peer.to_string(),
                "ms": milliseconds(took),
                // Via says the same, but an attempt may also end with a connection that the other one made.
                "asked": attempt.is_some() && attempt == self.asked,
                "accepted": via == Via::Accepted,
            }),
            Event::Closed { con, why } => {
                json!({ "event": "closed", "con": con.number(), "why": why.to_string() })
            }
            Event::Failed { why, .. } => {
                json!({ "event": "failed", "why": why.to_string(), "tried": tried(&why) })
            }
            Event::Climbing { progress, .. } => {
                json!({ "event": "climbing", "progress": progress.to_string() })
            }
            Event::Upgraded { con, via, .. } => {
                json!({ "event": "upgraded", "con": con.number(), "via": via.to_string() })
            }
            Event::Rendezvous { server, news } => {
                json!({ "event": "rendezvous", "server": &*server, "news": news.to_string() })
            }
            _ => return None,
        })
    }

    /// How it can be reached, and whether that is all that there is to find out.
    fn state(&self) -> Value {
        let reach = self.net.reach();
        let unl = self.net.unl();
        let named = unl.as_ref().map_or(0, |unl| unl.servers().len());
        let up = reach.servers.iter().filter(|server| server.kind.is_some()).count();
        let mapped = matches!(reach.mapping, Mapping::Mapped { .. });
        let reachable = reach.reachable.answer();
        let opened = !self.wants_mapping || mapped && reachable != Some(false);
        // Where this machine was too slow to tell, that is what there is to know.
        let looked = reach.reachable != Reachability::Unknown(Doubt::Pending);
        let ready = reach.nat.kind().is_some() && looked && up == reach.servers.len() && named > 0 && opened;
        json!({
            "event": "state",
            "ready": ready,
            "nat": nat(reach.nat),
            "reachable": reachable,
            "mapping": reach.mapping.to_string(),
            "up": up,
            "named": named,
            "unl": unl.map(|unl| unl.to_string()),
            "unl_version2": self.net.unl_version2().map(|unl| unl.to_string()),
        })
    }
}

fn nat(nat: Nat) -> String {
    match nat {
        Nat::Measured(NatKind::Delta { step }) => format!("delta {step}"),
        other => other.to_string(),
    }
}

fn tried(why: &FailReason) -> Value {
    let FailReason::NoWay(tried) = why else { return json!([]) };
    let rungs = tried.iter().map(|tried| {
        json!({
            "rung": tried.rung.name(),
            "why": tried.why.to_string(),
            "ms": milliseconds(tried.took),
        })
    });
    rungs.collect()
}

fn milliseconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e5).round() / 100.0
}

fn say(event: &Value) {
    println!("{event}");
}
