//! Whole nodes that connect by UNL, or by address: which way they find, and what goes wrong.

mod asked;
mod hostile;
mod moving;
mod together;
mod trouble;
mod unread;
mod ways;

use super::*;
use crate::config::RendezvousConfig;
use crate::connect::{Connect, Rung, RungFault, Rungs, Tried};
use crate::error::FailReason;
use crate::event::Via;
use crate::id::AttemptId;
use crate::identity::{Key, NodeId};
use crate::node::peer::census::Census;
use crate::sim::nat::{Filter, Nat};
use crate::sim::network::RouterId;
use crate::unl::Unl;

/// A second server, so that nodes can tell how their router chooses ports.
const SECOND: &str = "198.51.100.2:8000";

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// At the internet.
    Public,
    /// Behind a router that lets in what comes to the node's port.
    Forwarded,
    /// Behind one that lets in nothing that was not asked for.
    Behind(Nat, Filter),
}

const PRESERVING: Home = Home::Behind(Nat::Preserving, Filter::Drop);
const RANDOM: Home = Home::Behind(Nat::Random, Filter::Drop);

/// The key of the nth node. The ids are in no order.
fn key(n: u8) -> Key {
    Key::from_seed(&[n; 32])
}

fn id(n: u8) -> NodeId {
    key(n).id()
}

/// The nth node as a program for direct connections would configure it.
fn direct(n: u8) -> Config {
    Config::new().direct().port(50500).rendezvous(SERVER).rendezvous(SECOND).key(key(n))
}

/// A world with two servers, and the nodes in it.
struct Town {
    world: World,
    computers: Vec<ComputerId>,
    servers: Vec<ProgramId>,
}

impl Town {
    fn new(seed: u64) -> Self {
        Self::with(seed, RendezvousConfig::new)
    }

    fn with(seed: u64, config: impl Fn() -> RendezvousConfig) -> Self {
        let mut world = World::new(seed);
        let mut town = Vec::new();
        for ip in ["198.51.100.1", "198.51.100.2"] {
            let computer = world.computer(ip);
            town.push((computer, world.server_with(computer, 8000, config())));
        }
        let (computers, servers) = town.into_iter().unzip();
        Self { world, computers, servers }
    }

    /// Builds the nth house; its outside address is that of the nth computer.
    fn house(&mut self, n: u8, home: Home) -> (Option<RouterId>, ComputerId) {
        let outside = ip(n.into());
        let (nat, filter) = match home {
            Home::Public => return (None, self.world.computer(&outside)),
            Home::Forwarded => (Nat::Preserving, Filter::Drop),
            Home::Behind(nat, filter) => (nat, filter),
        };
        let router = self.world.router(&outside, nat, filter);
        let computer = self.world.computer_behind(router, "192.168.1.2");
        if home == Home::Forwarded {
            self.world.forward(router, 50500, computer, 50500);
        }
        (Some(router), computer)
    }

    /// A node in a house of its own.
    fn node(&mut self, n: u8, home: Home) -> ProgramId {
        let (_, computer) = self.house(n, home);
        self.world.peer(computer, direct(n))
    }

    /// Waits until the nodes know how they can be reached, and can be called.
    fn settle(&mut self, nodes: &[ProgramId]) {
        let callable = |world: &mut World, &id: &ProgramId| {
            world.node(id).unl().is_some_and(|unl| unl.servers().len() == 2)
        };
        let settled = self.world.run_until(secs(30), |world| nodes.iter().all(|id| callable(world, id)));
        assert!(settled, "not all nodes can be called");
        // Surveys and probes come to their end.
        self.world.run_for(secs(15));
    }

    fn unl(&mut self, id: ProgramId) -> Unl {
        self.world.node(id).unl().expect("a node with a key")
    }

    fn connect(&mut self, from: ProgramId, to: impl Into<Connect>) -> AttemptId {
        let to = to.into();
        self.world.act(from, |node, now| node.connect_to(to, now)).expect("it begins")
    }

    /// What came of an attempt, if something has.
    fn outcome(&mut self, of: ProgramId, attempt: AttemptId) -> Option<Result<Link, FailReason>> {
        self.world.log(of).events.iter().find_map(|(_, event)| match event {
            &Event::Connected { con, via, attempt: Some(this), took, .. } if this == attempt => {
                Some(Ok(Link { con, via, took }))
            }
            Event::Failed { attempt: this, why } if *this == attempt => Some(Err(why.clone())),
            _ => None,
        })
    }

    /// Waits for what comes of an attempt.
    #[track_caller]
    fn wait(&mut self, of: ProgramId, attempt: AttemptId) -> Result<Link, FailReason> {
        for _ in 0..5_000 {
            if let Some(outcome) = self.outcome(of, attempt) {
                return outcome;
            }
            self.world.run_for(millis(4));
        }
        panic!("neither a connection nor a reason: {:#?}", self.world.events(of));
    }

    /// Connects, and waits for the connection.
    #[track_caller]
    fn link(&mut self, from: ProgramId, to: impl Into<Connect>) -> Link {
        let attempt = self.connect(from, to);
        self.wait(from, attempt).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Connects, and waits for the reasons of the failure.
    #[track_caller]
    fn failure(&mut self, from: ProgramId, to: impl Into<Connect>) -> Vec<Tried> {
        let attempt = self.connect(from, to);
        match self.wait(from, attempt) {
            Err(FailReason::NoWay(tried)) => tried,
            other => panic!("{other:?}"),
        }
    }

    fn con_of(&mut self, of: ProgramId, node: NodeId) -> Option<ConId> {
        self.world.node(of).con_of(node)
    }

    /// Says a line from each of two nodes to the other, and whether both came.
    #[track_caller]
    fn assert_talk(&mut self, [a, b]: [ProgramId; 2], ids: [NodeId; 2]) {
        let said = format!("said at {:?}", self.world.now());
        // The side that is told last is told a moment later.
        self.world.run_until(secs(2), |world| {
            world.node(a).con_of(ids[1]).is_some() && world.node(b).con_of(ids[0]).is_some()
        });
        for (from, to) in [(a, ids[1]), (b, ids[0])] {
            let con = self.con_of(from, to).expect("a link");
            self.world.act(from, |node, _| node.send_line(con, said.as_bytes())).expect("room");
        }
        let heard = self
            .world
            .run_until(secs(5), |world| [a, b].into_iter().all(|id| world.lines(id).contains(&said)));
        assert!(heard, "a line was lost");
    }

    fn census(&mut self, of: ProgramId) -> Census {
        self.world.node(of).census()
    }

    /// Nothing of any call is left at a node: neither calls nor greetings, dials or guests.
    #[track_caller]
    fn assert_nothing_left(&mut self, of: ProgramId) {
        let census = self.census(of);
        assert!(census.is_idle(), "{census:?}");
    }
}

/// A connection that an attempt has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    con: ConId,
    via: Via,
    took: Duration,
}

/// What a rung said.
#[track_caller]
fn fault(tried: &[Tried], rung: Rung) -> &RungFault {
    &tried.iter().find(|tried| tried.rung == rung).expect("every rung says something").why
}

fn only(unl: &Unl, rung: Rung) -> Connect {
    Connect::to(unl).only(Rungs::NONE.with(rung))
}
