//! What the clients of servers tell, and whom it concerns.

use std::net::SocketAddr;

use log::Level;

use super::super::core::Core;
use super::super::effect::{Effect, ServerSays, Signalling};
use super::Server;
use crate::event::{Event, RendezvousNews, ServerFault};
use crate::id::ServerId;
use crate::proto::budget::Class;
use crate::proto::reach::{ProbeOutcome, ServerUp};
use crate::proto::rendezvous::client::{ClientEvent, DownWhy, Outcome};
use crate::proto::rendezvous::list::ServerList;
use crate::time::Instant;
use crate::wire::rendezvous::{Delivery, Features, Verdict};

type All = ServerList<Server>;

/// A client tells something.
pub(super) fn handle(all: &mut All, core: &mut Core, id: ServerId, event: ClientEvent, now: Instant) {
    match event {
        ClientEvent::Up { kind, seen, rtt, features } => {
            learn_seen(all, core, id, seen);
            give_back(all, core, id);
            if let Some((addr, local)) = all.get(id).and_then(|server| server.ends) {
                let (can_probe, observes) =
                    (features.has(Features::PROBE), features.has(Features::OBSERVERS));
                let up = ServerUp { addr, local, kind, rtt, seen, can_probe, observes };
                says(core, id, ServerSays::Up(up));
            }
            signals(core, id, Signalling::Met);
            tell(all, core, id, RendezvousNews::Up { kind, seen });
        }
        ClientEvent::Rtt(rtt) => says(core, id, ServerSays::Rtt(rtt)),
        ClientEvent::Observers(observers) => says(core, id, ServerSays::Observers(observers)),
        ClientEvent::Probed { port, verdict } => {
            let outcome = probe_outcome(verdict);
            core.effects.push(Effect::ProbeTold { server: id, port, outcome });
        }
        ClientEvent::Proven => {
            give_back(all, core, id);
            signals(core, id, Signalling::Ready);
            core.effects.push(Effect::OwnUnl);
        }
        ClientEvent::InUse(there) => warn(all, core, id, RendezvousNews::KeyInUse { at: there }),
        ClientEvent::Denied { why, server } => {
            warn(all, core, id, RendezvousNews::Unproven { why: why.advice(server) });
            signals(core, id, Signalling::Useless);
        }
        ClientEvent::Signaled { to, outcome } => {
            let there = match outcome {
                Outcome::Told(Delivery::Delivered) => Some(true),
                Outcome::Told(Delivery::Stored) => Some(false),
                Outcome::Told(Delivery::Full | Delivery::Busy) => None,
                // That it is gone is told besides.
                Outcome::Lost => return,
            };
            signals(core, id, Signalling::Signaled { to, there });
        }
        ClientEvent::Signal(incoming) => {
            if all.take_signal(id, now) {
                signals(core, id, Signalling::Signal(incoming));
            }
        }
        ClientEvent::Nodes(nodes) => {
            let server = all.get(id).and_then(|server| server.ip);
            let told = server.map_or(0, |_| nodes.len());
            core.effects.extend(server.map(|server| Effect::Nodes { server, nodes }));
            tell(all, core, id, RendezvousNews::Nodes(told));
        }
        ClientEvent::Advertised => tell(all, core, id, RendezvousNews::Advertised),
        ClientEvent::Refused => tell(all, core, id, RendezvousNews::Refused),
        ClientEvent::Down { why, retry_in } => {
            core.effects.push(Effect::ServerDown(id));
            core.effects.push(Effect::OwnUnl);
            let why = all.get(id).map_or(ServerFault::HungUp, |server| fault(server, why));
            tell(all, core, id, RendezvousNews::Down { why, retry_in });
        }
        ClientEvent::Left => all.handle_left(id),
        ClientEvent::PredictionSet => signals(core, id, Signalling::Announced),
        ClientEvent::Fight { ip, ports, ntp } => signals(core, id, Signalling::Fight { ip, ports, ntp }),
        ClientEvent::Challenge { ip, ports } => signals(core, id, Signalling::Challenge { ip, ports }),
        ClientEvent::Reconnect => signals(core, id, Signalling::Reconnect),
        // Ports are shown on connections of their own.
        ClientEvent::Remote { .. } => {}
    }
}

/// It is a server indeed, and no third party: what was dialled for a foreign one is given back.
pub(super) fn give_back(all: &All, core: &mut Core, id: ServerId) {
    let addr = all.get(id).and_then(|server| server.client.server_addr());
    if let Some(addr) = addr.filter(|_| !all.is_own(id)) {
        core.budget.give_back(addr, Class::Claimed, u32::MAX);
    }
}

/// The server sees us at this address: with our listening port it is ours, and no peer's.
fn learn_seen(all: &mut All, core: &mut Core, id: ServerId, seen: Option<SocketAddr>) {
    let port = core.listening.map(|listening| listening.port());
    if let Some(server) = all.get_mut(id) {
        server.seen = seen.zip(port).map(|(seen, port)| SocketAddr::new(seen.ip(), port));
    }
    core.effects.push(Effect::OwnAddresses);
}

/// For who finds out how this node can be reached.
fn says(core: &mut Core, server: ServerId, says: ServerSays) {
    core.effects.push(Effect::Reach { server, says });
}

/// For calls.
fn signals(core: &mut Core, server: ServerId, what: Signalling) {
    core.effects.push(Effect::Signalling { server, what });
}

/// For the application, unless it never chose that server.
/// Something that a person should know, of a foreign server, too.
fn warn(all: &All, core: &mut Core, id: ServerId, news: RendezvousNews) {
    let server = all.name_of(id);
    core.notes.push(Level::Warn, || format!("rendezvous server {server} {news}"));
    if all.is_own(id) {
        core.effects.push(Effect::Tell(Event::Rendezvous { server, news }));
    }
}

fn tell(all: &All, core: &mut Core, id: ServerId, news: RendezvousNews) {
    let server = all.name_of(id);
    if all.is_own(id) {
        core.notes.push(Level::Info, || format!("rendezvous server {server} {news}"));
        core.effects.push(Effect::Tell(Event::Rendezvous { server, news }));
    } else {
        core.notes.push(Level::Debug, || format!("rendezvous server {server}, a foreign one, {news}"));
    }
}

fn fault(server: &Server, why: DownWhy) -> ServerFault {
    match why {
        DownWhy::Unreachable => server.unreached,
        DownWhy::Closed if server.endless => ServerFault::Nonsense,
        DownWhy::Closed => ServerFault::HungUp,
        DownWhy::Slow => ServerFault::Slow,
        DownWhy::Nonsense => ServerFault::Nonsense,
    }
}

fn probe_outcome(verdict: Option<Verdict>) -> ProbeOutcome {
    match verdict {
        Some(Verdict::Yes) => ProbeOutcome::Yes,
        Some(Verdict::No) => ProbeOutcome::No,
        Some(Verdict::Later) => ProbeOutcome::Busy,
        None => ProbeOutcome::Unanswered,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::address::HostPort;
    use crate::config::Config;
    use crate::identity::NodeId;
    use crate::proto::rendezvous::client::ClientConfig;
    use crate::random::Random;
    use crate::reach::ServerKind;

    /// A server of our own choice, and a foreign one.
    fn servers() -> (Core, All, [ServerId; 2]) {
        let mut random = Random::from_number(1);
        let core = Core::new(Config::new(), 1, &mut random);
        let mut all = ServerList::new(1);
        let mut server = |name: &str| {
            let target = HostPort::parse(name).unwrap();
            Server::new(target, &ClientConfig::default(), &mut random, Instant::ZERO)
        };
        let (own, foreign) = (server("own.example:1"), server("foreign.example:1"));
        let ids = [all.insert_own("own.example:1", own), all.insert_foreign("foreign.example:1", foreign)];
        (core, all, ids)
    }

    /// What an event leads to, in short.
    fn effects(core: &mut Core) -> Vec<String> {
        let name = |effect: Effect| match effect {
            Effect::Signalling { what, .. } => format!("{what:?}"),
            Effect::Reach { says, .. } => format!("{says:?}"),
            Effect::Tell(event) => format!("{event:?}"),
            other => format!("{other:?}"),
        };
        let word = |text: String| text.split([' ', '(']).next().unwrap_or_default().to_owned();
        std::iter::from_fn(|| core.effects.pop()).map(name).map(word).collect()
    }

    #[test]
    fn each_event_concerns_those_rooms_and_of_a_foreign_server_the_application_hears_nothing() {
        let up = ClientEvent::Up {
            kind: ServerKind::P2poll,
            seen: Some("192.0.2.1:5".parse().unwrap()),
            rtt: Duration::from_millis(9),
            features: Features::PROBE,
        };
        let down = ClientEvent::Down { why: DownWhy::Closed, retry_in: Duration::from_secs(1) };
        let signaled = |outcome| ClientEvent::Signaled { to: NodeId::from_bytes([7; 20]), outcome };
        for (event, expected) in [
            (up, &["OwnAddresses", "Met", "Rendezvous"][..]),
            (ClientEvent::Proven, &["Ready", "OwnUnl"]),
            (ClientEvent::Probed { port: 1, verdict: None }, &["ProbeTold"]),
            (ClientEvent::Advertised, &["Rendezvous"]),
            (down, &["ServerDown", "OwnUnl", "Rendezvous"]),
            (signaled(Outcome::Told(Delivery::Stored)), &["Signaled"]),
            (signaled(Outcome::Lost), &[]),
            // Nobody knows who sent these: it was never connected.
            (ClientEvent::Nodes(Vec::new()), &["Rendezvous"]),
            (ClientEvent::Left, &[]),
        ] {
            let (mut core, mut all, ids) = servers();
            for id in ids {
                handle(&mut all, &mut core, id, event.clone(), Instant::ZERO);
                let told = |name: &&&str| all.is_own(id) || **name != "Rendezvous";
                let expected: Vec<&str> = expected.iter().filter(told).copied().collect();
                assert_eq!(effects(&mut core), expected, "{event:?} of {id}");
            }
        }
    }

    #[test]
    fn a_server_that_was_connected_says_how_we_are_seen_and_names_nodes() {
        let (mut core, mut all, [own, _]) = servers();
        core.listening = Some("0.0.0.0:4000".parse().unwrap());
        let addr: SocketAddr = "198.51.100.1:1".parse().unwrap();
        let server = all.get_mut(own).unwrap();
        (server.ip, server.ends) = (Some(addr.ip()), Some((addr, "10.0.0.1:5".parse().unwrap())));
        let up = ClientEvent::Up {
            kind: ServerKind::P2poll,
            seen: Some("192.0.2.1:5".parse().unwrap()),
            rtt: Duration::from_millis(9),
            features: Features::PROBE,
        };
        handle(&mut all, &mut core, own, up, Instant::ZERO);
        assert_eq!(effects(&mut core), ["OwnAddresses", "Up", "Met", "Rendezvous"]);
        let seen = all.get(own).and_then(|server| server.seen);
        assert_eq!(seen, Some("192.0.2.1:4000".parse().unwrap()), "with our listening port");
        handle(&mut all, &mut core, own, ClientEvent::Nodes(Vec::new()), Instant::ZERO);
        assert_eq!(effects(&mut core), ["Nodes", "Rendezvous"]);
    }
}
