//! What every room of a node works with: its configuration, who it is, its streams, and what it has to say.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Role;
use super::connections::Connections;
use super::effect::Effects;
use crate::config::Config;
use crate::identity::{Key, NodeId};
use crate::node::Job;
use crate::node::streams::Streams;
use crate::note::Notes;
use crate::proto::budget::{Budget, BudgetLimits};
use crate::random::Random;
use crate::time::Instant;
use crate::unl::Unl;

/// Own addresses that are remembered: a machine's interfaces, and what servers say that they see.
const OWN_LIMIT: usize = 64;

/// What the rooms of a node share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) identity: Identity,
    pub(super) streams: Streams<Role>,
    /// The connections that the application sees.
    pub(super) connections: Connections,
    /// What may be dialled because somebody said so, whoever it was.
    pub(super) budget: Budget,
    pub(super) notes: Notes,
    pub(super) jobs: VecDeque<Job>,
    /// What the rooms want of each other.
    pub(super) effects: Effects,
    pub(super) listening: Option<SocketAddr>,
    /// Addresses of this node itself, never to be dialled.
    pub(super) own: Vec<SocketAddr>,
    pub(super) leaving: Leaving,
}

/// Who this node is.
#[derive(Debug)]
pub(super) struct Identity {
    /// `None` where node links are switched off.
    pub(super) key: Option<Key>,
    /// Our own UNL, as it was told last.
    pub(super) unl: Option<Unl>,
    pub(super) random: Random,
}

/// How far the node is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    No,
    /// Goodbyes are being said, until this moment at most.
    Until(Instant),
    Done,
}

impl Core {
    pub(super) fn new(config: Config, net: u32, random: &mut Random) -> Self {
        let links = &config.links;
        let budget = Budget::new(BudgetLimits {
            claimed_per_address: links.max_claimed_syns,
            claimed_per_host: links.max_host_syns,
            attested_per_host: links.max_punch_syns.saturating_mul(2),
            ..BudgetLimits::default()
        });
        Self {
            identity: Identity::new(&config, random),
            streams: Streams::new(config.streams),
            connections: Connections::new(net),
            budget,
            notes: Notes::default(),
            jobs: VecDeque::new(),
            effects: Effects::default(),
            listening: None,
            own: Vec::new(),
            leaving: Leaving::No,
            config,
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving != Leaving::No
    }

    /// This address is the node itself. An unspecified one stands for loopback too, the only one of the machine's
    /// addresses that is known without asking the operating system.
    pub(super) fn learn_own(&mut self, addr: SocketAddr) {
        let port = addr.port();
        let loopback = |ip: IpAddr| SocketAddr::new(ip, port);
        let all: Vec<SocketAddr> = if addr.ip().is_unspecified() {
            vec![loopback(Ipv4Addr::LOCALHOST.into()), loopback(Ipv6Addr::LOCALHOST.into())]
        } else {
            vec![addr]
        };
        for addr in all {
            if self.own.len() < OWN_LIMIT && !self.own.contains(&addr) {
                self.own.push(addr);
            }
        }
    }

    /// From which end dials go that may use any port.
    pub(super) fn any_port(&self) -> Option<SocketAddr> {
        self.config.bind.map(|ip| SocketAddr::new(ip, 0))
    }

    /// The end that uses this port to dial an address.
    pub(super) fn end_at_port(&self, port: u16, to: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.config.bind.unwrap_or(unspecified(to)), port)
    }

    pub(super) fn is_of_our_family(&self, addr: SocketAddr) -> bool {
        self.config.bind.is_none_or(|bound| bound.is_ipv4() == addr.is_ipv4())
    }
}

impl Identity {
    fn new(config: &Config, random: &mut Random) -> Self {
        let mut random = random.fork();
        let key = config.links.on.then(|| {
            config.links.key.clone().unwrap_or_else(|| {
                let mut seed = [0; 32];
                for part in seed.chunks_exact_mut(8) {
                    part.copy_from_slice(&random.next_u64().to_le_bytes());
                }
                Key::from_seed(&seed)
            })
        });
        Self { key, unl: None, random }
    }

    pub(super) fn id(&self) -> Option<NodeId> {
        self.key.as_ref().map(Key::id)
    }
}

/// Any address of the family.
fn unspecified(of: SocketAddr) -> IpAddr {
    if of.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}
