//! Nodes that relay for others, and those who come to them.

use std::net::IpAddr;

use super::*;
use crate::config::{RelayOffer, RendezvousConfig};
use crate::connect::{Connect, Refusal, RelayLimits, RelayRefusal, Rung, RungFault, Rungs};
use crate::error::FailReason;
use crate::event::Via;
use crate::id::AttemptId;
use crate::sim::nat::{Filter, Nat};
use crate::sim::script::Input;
use crate::sim::worker::Name;
use crate::sim::world::at;

const RELAY: &str = "198.51.100.9:6000";

/// A server, two nodes that never meet by themselves, and a third one that anybody can connect to.
struct Town {
    world: World,
    server: ProgramId,
    alice: ProgramId,
    bob: ProgramId,
    relay: ProgramId,
}

/// What the four go by.
struct Plan {
    server: RendezvousConfig,
    alice: Config,
    bob: Config,
    relay: Config,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            server: RendezvousConfig::new().relay(false),
            alice: direct(),
            bob: direct().relay_through(RELAY),
            relay: Config::new().port(6000).relay_for_others(RelayOffer::new()),
        }
    }
}

fn direct() -> Config {
    config().direct()
}

impl Town {
    fn new(seed: u64, plan: Plan) -> Self {
        let mut world = World::new(seed);
        let outside = |world: &mut World, ip: &str| {
            let computer = world.computer(ip);
            world.computer_mut(computer).delay = millis(12);
            computer
        };
        let computer = outside(&mut world, "198.51.100.1");
        let server = world.server_with(computer, 8000, plan.server);
        let computer = outside(&mut world, "198.51.100.9");
        let relay = world.peer(computer, plan.relay);
        let mut inside = |ip: &str, config| {
            let router = world.router(ip, Nat::Random, Filter::Drop);
            world.router_mut(router).delay = millis(12);
            let computer = world.computer_behind(router, "192.168.1.2");
            world.peer(computer, config)
        };
        let alice = inside("203.0.113.1", plan.alice);
        let bob = inside("203.0.113.2", plan.bob);
        let mut town = Self { world, server, alice, bob, relay };
        town.until("bob can be called", |town| {
            town.world.node(bob).unl().is_some_and(|unl| unl.servers().len() > 0)
        });
        town
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let end = self.world.now() + secs(40);
        while !holds(self) {
            assert!(self.world.now() < end, "waited in vain: {what}");
            self.world.run_for(millis(50));
        }
    }

    /// Has alice connect to bob.
    fn call(&mut self) -> AttemptId {
        let unl = self.world.node(self.bob).unl().unwrap();
        self.world.act(self.alice, |node, now| node.connect_to(Connect::to(&unl), now)).unwrap()
    }

    fn outcome(&mut self, attempt: AttemptId) -> Result<(ConId, Via, SocketAddr), FailReason> {
        let alice = self.alice;
        let find = |town: &mut Self| {
            town.world.events(alice).into_iter().find_map(|event| match event {
                Event::Connected { con, via, peer, attempt: Some(id), .. } if id == attempt => {
                    Some(Ok((con, via, peer)))
                }
                Event::Failed { attempt: id, why } if id == attempt => Some(Err(why)),
                _ => None,
            })
        };
        self.until("an outcome", |town| find(town).is_some());
        find(self).unwrap()
    }

    /// The two are connected by way of this place, and lines go both ways.
    fn is_relayed_by(&mut self, place: &str) -> ConId {
        let attempt = self.call();
        let (con, via, peer) = self.outcome(attempt).unwrap();
        assert_eq!((via, peer), (Via::Relayed, place.parse().unwrap()));
        let bob = self.bob;
        self.until("bob has it, too", |town| town.world.count(bob) == 1);
        self.world.send(self.alice, "~to bob");
        self.world.send(self.bob, "to alice");
        self.world.run_for(secs(1));
        assert_eq!(self.world.lines(self.bob), ["~to bob"]);
        assert_eq!(self.world.lines(self.alice), ["to alice"]);
        con
    }

    /// What the relay's rung said when the attempt failed.
    fn relay_fault(&mut self) -> RungFault {
        let attempt = self.call();
        let Err(FailReason::NoWay(tried)) = self.outcome(attempt) else { panic!("there is no way") };
        tried.into_iter().find(|tried| tried.rung == Rung::Relay).unwrap().why
    }

    /// The application of the third node has nothing to do with it.
    fn assert_relay_saw_nothing(&mut self) {
        let relay = self.relay;
        assert_eq!((self.world.count(relay), self.world.lines(relay).len()), (0, 0));
        let seen = self.world.events(relay);
        assert!(
            !seen.iter().any(|event| matches!(event, Event::Connected { .. } | Event::Closed { .. })),
            "{seen:#?}"
        );
    }
}

#[test]
fn a_node_relays_for_two_that_can_not_meet() {
    with_seeds(3, |seed| {
        for relay in
            [Plan::default().relay, Plan::default().relay.direct(), Plan::default().relay.links(false)]
        {
            let mut town = Town::new(seed, Plan { relay, ..Plan::default() });
            let con = town.is_relayed_by(RELAY);
            assert_eq!(town.world.node(town.relay).relays(), 1);
            assert_eq!(town.world.server_node(town.server).relays(), 0);
            town.assert_relay_saw_nothing();
            let limits = town.world.node(town.alice).relay_limits(con).unwrap();
            let told = RelayLimits { bytes: Some(256 << 20), time: Some(secs(3600)), rate: Some(256 << 10) };
            assert_eq!(limits, told);
            // It ends for both, and the place is free again.
            town.world.act(town.alice, |node, now| node.close(con, now));
            let (relay, bob) = (town.relay, town.bob);
            town.until("it ends", |town| town.world.count(bob) == 0 && town.world.node(relay).relays() == 0);
            town.assert_relay_saw_nothing();
        }
    });
}

#[test]
fn a_relay_writes_from_where_it_has_read_and_queues_what_the_network_does_not_take() {
    with_seeds(3, |seed| {
        for by_server in [true, false] {
            let server = RendezvousConfig::new().relay(by_server).relay_rate(0);
            let relay = Config::new().port(6000).relay_for_others(RelayOffer::new().rate(0));
            let mut town = Town::new(seed, Plan { server, relay, ..Plan::default() });
            town.is_relayed_by(if by_server { SERVER } else { RELAY });
            let relay = if by_server { town.server } else { town.relay };
            // A line fits into the window of the one who reads, a flood of them does not.
            for (count, len) in [(1, 1_000), (30, 10_000)] {
                let (told, passed) = (town.world.lines(town.bob).len(), town.world.passed_through(relay));
                let line = |n: usize| format!("{n:0len$}");
                town.world.act(town.alice, |node, now| {
                    for n in 0..count {
                        assert_eq!(node.broadcast(line(n).as_bytes(), None.into(), now), 1);
                    }
                });
                town.world.run_for(secs(5));
                let heard = town.world.lines(town.bob).split_off(told);
                assert!(
                    heard.into_iter().eq((0..count).map(line)),
                    "lines are lost, doubled or out of order"
                );
                let passed = (town.world.passed_through(relay) - passed) as usize;
                assert_eq!(passed >= count * len, count == 1, "{passed} of {} bytes", count * len);
                assert!(passed > 0);
            }
        }
    });
}

#[test]
fn the_server_goes_first_and_the_other_relay_takes_over_when_it_has_no_place() {
    with_seeds(2, |seed| {
        let server = RendezvousConfig::new();
        let mut town = Town::new(seed, Plan { server, ..Plan::default() });
        town.is_relayed_by(SERVER);
        assert_eq!(town.world.node(town.relay).relays(), 0);
        for server in [RendezvousConfig::new().max_relays(0), RendezvousConfig::new().max_relays_per_node(0)]
        {
            let mut town = Town::new(seed, Plan { server, ..Plan::default() });
            town.is_relayed_by(RELAY);
            assert_eq!(town.world.node(town.relay).relays(), 1);
            town.assert_relay_saw_nothing();
        }
    });
}

#[test]
fn a_relay_may_be_given_by_name() {
    with_seeds(2, |seed| {
        let bob = direct().relay_through("relay.example.org:6000");
        let mut town = Town::new(seed, Plan { bob, ..Plan::default() });
        // It is looked up again when it is needed.
        let why = town.relay_fault();
        assert_eq!(why, RungFault::Refused(Refusal::Unwilling));
        let ip: IpAddr = "198.51.100.9".parse().unwrap();
        town.world.name("relay.example.org", Name::Answer(millis(30), Ok(vec![ip])));
        town.world.run_for(secs(15));
        town.relay_fault();
        town.is_relayed_by(RELAY);
    });
}

#[test]
fn a_node_that_is_called_comes_to_no_relay_but_its_own() {
    with_seeds(2, |seed| {
        let alice = direct().relay_through(RELAY);
        let mut town = Town::new(seed, Plan { alice: alice.clone(), bob: direct(), ..Plan::default() });
        assert_eq!(town.relay_fault(), RungFault::Refused(Refusal::Unwilling));
        assert_eq!(town.world.syns("198.51.100.9"), 0);
        // Of its own it prefers the one that the caller has, too.
        let bob = direct().relay_through("198.51.100.77:6000").relay_through(RELAY);
        let mut town = Town::new(seed, Plan { alice, bob, ..Plan::default() });
        town.is_relayed_by(RELAY);
        assert_eq!(town.world.syns("198.51.100.77"), 0);
    });
}

#[test]
fn a_place_that_is_claimed_to_be_a_relay_gets_a_few_syns_and_a_private_one_none() {
    with_seeds(2, |seed| {
        for (place, most) in [("198.51.100.77:80", 3), ("192.168.1.9:80", 0), ("127.0.0.1:80", 0)] {
            let bob = direct().relay_through(place);
            let mut town = Town::new(seed, Plan { bob, ..Plan::default() });
            let ip = place.split(':').next().unwrap();
            // Bob comes to no relay without a caller that has signed for it.
            let alice =
                Connect::to(&town.world.node(town.bob).unl().unwrap()).only(Rungs::NONE.with(Rung::Relay));
            let begun = town.world.now();
            for _ in 0..3 {
                let alice = alice.clone();
                let attempt = town.world.act(town.alice, |node, now| node.connect_to(alice, now)).unwrap();
                assert!(town.outcome(attempt).is_err());
            }
            assert!(town.world.now() - begun < secs(60));
            // Of bob, whose own it is, three for each call that alice could follow.
            let syns = town.world.syns(ip);
            assert!(syns <= 2 * most, "{syns} to {place}");
            assert_eq!(syns == 0, most == 0);
        }
    });
}

#[test]
fn a_node_that_offers_nothing_takes_who_wants_a_relay_for_a_peer() {
    with_seeds(2, |seed| {
        let relay = Config::new().port(6000);
        let mut town = Town::new(seed, Plan { relay, ..Plan::default() });
        let why = town.relay_fault();
        assert!(matches!(why, RungFault::RelayRefused(RelayRefusal::Absent)), "{why:?}");
        let heard = town.world.lines(town.relay);
        assert!(!heard.is_empty() && heard.iter().all(|line| line == "HELLO p2poll 1 id relay"), "{heard:?}");
    });
}

#[test]
fn an_offers_limits_are_kept() {
    with_seeds(2, |seed| {
        let offer = RelayOffer::new().bytes(40_000).rate(0).time(secs(50));
        let relay = Config::new().port(6000).relay_for_others(offer.clone());
        let mut town = Town::new(seed, Plan { relay, ..Plan::default() });
        let con = town.is_relayed_by(RELAY);
        let limits = town.world.node(town.alice).relay_limits(con).unwrap();
        assert_eq!((limits.bytes, limits.time, limits.rate), (Some(40_000), Some(secs(50)), None));
        for _ in 0..50 {
            town.world.send(town.alice, &"x".repeat(1000));
        }
        town.world.run_for(secs(5));
        for end in [town.alice, town.bob] {
            assert_eq!(close_reasons(&mut town.world, end), [CloseReason::RelayBytes]);
        }
        let mut town = Town::new(
            seed,
            Plan { relay: Config::new().port(6000).relay_for_others(offer), ..Plan::default() },
        );
        town.is_relayed_by(RELAY);
        town.world.run_for(secs(60));
        assert_eq!(close_reasons(&mut town.world, town.bob), [CloseReason::RelayTime]);
        let nobody = RelayOffer::new().max_relays_per_node(0);
        let relay = Config::new().port(6000).relay_for_others(nobody);
        let mut town = Town::new(seed, Plan { relay, ..Plan::default() });
        assert_eq!(town.relay_fault(), RungFault::RelayRefused(RelayRefusal::Share));
    });
}

#[test]
fn a_relay_that_leaves_leaves_nobody_waiting() {
    with_seeds(2, |seed| {
        let mut town = Town::new(seed, Plan::default());
        town.is_relayed_by(RELAY);
        town.world.stop(town.relay);
        let (alice, bob, relay) = (town.alice, town.bob, town.relay);
        town.until("all are gone", |town| town.world.node(relay).is_stopped());
        town.world.run_for(secs(1));
        for end in [alice, bob] {
            assert_eq!(close_reasons(&mut town.world, end), [CloseReason::Peer]);
        }
        town.assert_relay_saw_nothing();
    });
}

/// A node that relays for others, and a script that says to it what it likes.
fn stranger(seed: u64, relay: Config) -> (World, ProgramId, ProgramId) {
    let mut world = World::new(seed);
    let computer = world.computer("198.51.100.9");
    let relay = world.peer(computer, relay);
    let computer = world.computer("198.51.100.20");
    let script = world.script(computer, None, Box::new(|_, _, _| {}));
    (world, relay, script)
}

#[test]
fn others_are_peers_as_ever() {
    with_seeds(2, |seed| {
        for relay in [Plan::default().relay, Plan::default().relay.direct()] {
            let (mut world, relay, script) = stranger(seed, relay);
            let say = |world: &mut World, text: &str| {
                world.wire(script, |wire| {
                    let end = wire.dial(at("198.51.100.9", 6000));
                    wire.send(end, text);
                });
                world.run_for(millis(300));
            };
            say(&mut world, "HELLO\n");
            say(&mut world, "HEL");
            assert_eq!((world.count(relay), world.lines(relay)), (1, vec!["HELLO".to_owned()]));
            // Who begins like one of them, or is silent, is shown when it has had its time.
            say(&mut world, "");
            world.run_for(millis(1300));
            assert_eq!(world.count(relay), 1);
            world.run_for(millis(1000));
            assert_eq!(world.count(relay), 3);
        }
    });
}

#[test]
fn a_node_that_holds_everybody_back_still_knows_itself() {
    with_seeds(5, |seed| {
        let (mut world, relay, _) = stranger(seed, Plan::default().relay);
        let attempt = world.act(relay, |node, now| node.connect(RELAY, now)).unwrap();
        world.run_for(secs(10));
        let failed = Event::Failed { attempt, why: FailReason::Oneself };
        let events = world.events(relay);
        assert!(events.contains(&failed), "{events:?}");
        assert_eq!(world.count(relay), 0);
        assert!(!events.iter().any(|event| matches!(event, Event::Connected { .. })), "{events:?}");
    });
}

#[test]
fn who_wants_a_relay_hears_of_nothing_else() {
    with_seeds(2, |seed| {
        let (mut world, relay, script) = stranger(seed, Plan::default().relay);
        let end = world.wire(script, |wire| wire.dial(at("198.51.100.9", 6000)));
        world.wire(script, |wire| {
            wire.send(end, "HELLO p2poll 1 id relay signal probe peers\nBOOTSTRAP 5\nSOURCE TCP\nWHOAMI\n");
            wire.send(end, "PASSIVE READY 5000 5\nPING x\nOBSERVERS\nSIMULTANEOUS READY 0 5\nwhat else\n");
        });
        world.run_for(secs(1));
        let heard = world.heard(script);
        assert_eq!(heard.len(), 2, "{heard:?}");
        assert!(
            matches!(&heard[1].1, Input::Line(line) if line.starts_with("HELLO p2poll 1 id relay nonce=")),
            "{heard:?}"
        );
        // It is told to go when it says too little, or too much.
        world.run_for(secs(16));
        assert_eq!(world.heard(script).last(), Some(&(end, Input::Ended)));
        let other = world.wire(script, |wire| wire.dial(at("198.51.100.9", 6000)));
        world.wire(script, |wire| wire.send(other, format!("HELLO p2poll {}", "x".repeat(5000))));
        world.run_for(secs(1));
        assert_eq!(world.heard(script).last(), Some(&(other, Input::Ended)));
        let shown = |event: &Event| matches!(event, Event::Connected { .. });
        assert!(world.count(relay) == 0 && !world.events(relay).iter().any(shown));
    });
}

#[test]
fn clients_of_a_relay_and_peers_take_no_slots_of_each_other() {
    with_seeds(2, |seed| {
        let relay = Plan::default().relay.max_inbound(2);
        let (mut world, relay, script) = stranger(seed, relay);
        let dial = |world: &mut World, text: &str| {
            world.wire(script, |wire| {
                let end = wire.dial(at("198.51.100.9", 6000));
                wire.send(end, text);
                end
            })
        };
        let peers: Vec<_> = (0..4).map(|_| dial(&mut world, "hello\n")).collect();
        world.run_for(secs(1));
        let clients: Vec<_> = (0..10).map(|_| dial(&mut world, "HELLO p2poll 1 id relay\n")).collect();
        world.run_for(secs(1));
        let heard = |world: &World, end, input: fn(&Input) -> bool| {
            world.heard(script).iter().any(|(other, heard)| *other == end && input(heard))
        };
        let ended = |input: &Input| *input == Input::Ended;
        let told = |input: &Input| matches!(input, Input::Line(_));
        assert_eq!(world.count(relay), 2);
        assert_eq!(peers.iter().filter(|&&end| heard(&world, end, ended)).count(), 2);
        assert_eq!(clients.iter().filter(|&&end| heard(&world, end, told)).count(), 8);
        // Whoever comes in a crowd is a peer, as there is no room to hold them all back.
        let silent: Vec<_> = (0..30).map(|_| dial(&mut world, "")).collect();
        world.run_for(secs(1));
        assert_eq!(silent.iter().filter(|&&end| heard(&world, end, ended)).count(), 22);
        assert_eq!(world.count(relay), 2);
    });
}
