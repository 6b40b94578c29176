//! How a `Net` takes part in node links: who it is, and how it connects by UNL.

use std::time::Duration;

use super::{Config, RelayOffer};
use crate::identity::Key;

/// What concerns node links and connecting by UNL.
#[derive(Clone, Debug)]
pub(crate) struct LinkSettings {
    pub(crate) on: bool,
    pub(crate) key: Option<Key>,
    pub(crate) direct: bool,
    pub(crate) nonce_required: bool,
    pub(crate) simultaneous: bool,
    pub(crate) relay_used: bool,
    pub(crate) relay_through: Vec<String>,
    pub(crate) relay_offer: Option<RelayOffer>,
    pub(crate) max_calls: usize,
    pub(crate) max_calls_per_minute: u32,
    pub(crate) connect_within: Duration,
    pub(crate) punch_time: Duration,
    pub(crate) hello_timeout: Duration,
    pub(crate) upgrade_every: Duration,
    pub(crate) max_claimed_syns: u32,
    pub(crate) max_host_syns: u32,
    pub(crate) max_punch_syns: u32,
    pub(crate) max_guest_servers: usize,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            on: true,
            key: None,
            direct: false,
            nonce_required: false,
            simultaneous: true,
            relay_used: true,
            relay_through: Vec::new(),
            relay_offer: None,
            max_calls: 32,
            max_calls_per_minute: 60,
            connect_within: Duration::from_secs(15),
            punch_time: Duration::from_millis(1500),
            hello_timeout: Duration::from_secs(5),
            upgrade_every: Duration::from_secs(30),
            max_claimed_syns: 3,
            max_host_syns: 12,
            max_punch_syns: 1500,
            max_guest_servers: 4,
        }
    }
}

impl LinkSettings {
    /// What contradicts itself.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.relay_through.len() > Config::MAX_RELAYS_THROUGH {
            return Err("too many relays; see Config::MAX_RELAYS_THROUGH");
        }
        self.relay_offer.as_ref().map_or(Ok(()), RelayOffer::check)?;
        if self.max_calls == 0 || self.max_claimed_syns == 0 {
            return Err("max_calls and max_claimed_syns must be at least 1");
        }
        if self.connect_within < Duration::from_secs(1) || self.punch_time < Duration::from_millis(100) {
            return Err("connect_within must be at least a second, and punch_time at least 100 milliseconds");
        }
        Ok(())
    }
}

/// Who it is, and how it connects by UNL.
impl Config {
    /// The key of this node: who it is. By default a new one is made at each start, so that the node is another one after a
    /// restart; [`Key::load_or_create`] keeps one.
    pub fn key(mut self, key: Key) -> Self {
        self.links.key = Some(key);
        self
    }

    /// Whether it takes part in node links: answers a peer's `~hello`, proves its id to rendezvous servers that want to know
    /// it, takes calls through them, and can [`connect`](crate::Net::connect). Defaults to `true`. Without, a line that
    /// begins with `~hello` is a line like any other.
    pub fn links(mut self, yes: bool) -> Self {
        self.links.on = yes;
        self
    }

    /// A `Net` for direct connections, pyp2p's net type "direct": it neither advertises nor bootstraps, and shows an accepted
    /// connection only once its first bytes have shown what it is: a node link, a pyp2p peer (which begins with a nonce of
    /// 64 hexadecimal digits), or, when something else comes or nothing for 2 seconds, a plain peer such as netcat.
    pub fn direct(mut self) -> Self {
        self.links.direct = true;
        self.advertise = false;
        self.bootstrap = false;
        self
    }

    /// Whether a [`direct`](Config::direct) `Net` that can not be connected to, but be punched to, says so to its rendezvous
    /// servers, so that peers of pyp2p can punch to it (pyp2p's node type "simultaneous"). Nodes of this library have no need
    /// of that. Defaults to `true`.
    pub fn simultaneous(mut self, yes: bool) -> Self {
        self.links.simultaneous = yes;
        self
    }

    /// A [`direct`](Config::direct) `Net` closes accepted connections that begin with neither a hello nor a nonce, instead of
    /// taking them for plain peers. Defaults to `false`: netcat is welcome.
    pub fn nonce_required(mut self, yes: bool) -> Self {
        self.links.nonce_required = yes;
        self
    }

    /// Whether it comes to a relay when a peer that calls it finds no other way. Defaults to `true`. For its own attempts
    /// see [`Connect::only`](crate::Connect::only).
    pub fn use_relays(mut self, yes: bool) -> Self {
        self.links.relay_used = yes;
        self
    }

    /// Adds a relay that this node trusts, as `HOST:PORT`: a rendezvous server, or a node that
    /// [relays for others](Config::relay_for_others). With more than [`Config::MAX_RELAYS_THROUGH`] the node does not start.
    ///
    /// It is offered to a node that calls this one, for when the rendezvous server through which the two talk does not relay,
    /// or has no place: a node comes to that server and to relays of its own configuration, nowhere else, when it is called.
    /// A caller goes where the node that it calls wants to meet it, as to any claimed address (see
    /// [`Config::max_claimed_syns`]), and names the first relay of its own, in case that the other one has it, too.
    pub fn relay_through(mut self, relay: impl Into<String>) -> Self {
        self.links.relay_through.push(relay.into());
        self
    }

    /// Relays for others within these limits, at the port at which it listens: for nodes that have this one as
    /// [`Config::relay_through`], and for those that these talk to. Off by default. It is of use where anybody can connect to
    /// this node, and takes no more than what the offer says.
    ///
    /// Those that are relayed are no connections of the application's: they are not shown, take none of
    /// [`max_inbound`](Config::max_inbound), and the inbound filter is not asked. To tell them from others, an accepted
    /// connection is held back until its first bytes have come, for 2 seconds at most: so the application sees a peer that
    /// waits to be greeted, as netcat may do, that much later. When too many are held back at once, those beyond are not, and
    /// can not be relayed.
    pub fn relay_for_others(mut self, offer: RelayOffer) -> Self {
        self.links.relay_offer = Some(offer);
        self
    }

    /// Calls of other nodes that may be under way at once, and as many attempts by UNL of our own. At least 1. Defaults to
    /// 32: each costs a few sockets for a few seconds.
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.links.max_calls = calls;
        self
    }

    /// Calls that are taken in a minute, from all nodes together; a single one gets a tenth of them, at least 6. Defaults to
    /// 60: a person's game is not called more often, and each makes this node dial.
    pub fn max_calls_per_minute(mut self, calls: u32) -> Self {
        self.links.max_calls_per_minute = calls;
        self
    }

    /// How long an attempt by UNL may take in all, over all its rungs. At least a second. Defaults to 15 seconds: the last
    /// rung, a relay after a punch in vain, is there within 5; the rest is for a node that is about to come.
    pub fn connect_within(mut self, span: Duration) -> Self {
        self.links.connect_within = span;
        self
    }

    /// How long both sides dial in one round of hole punching, at least 100 ms; there are two rounds at most. Defaults to
    /// 1.5 seconds: those that meet do so within a few round trips, and who does not is to have a relay within 5 seconds.
    pub fn punch_time(mut self, span: Duration) -> Self {
        self.links.punch_time = span;
        self
    }

    /// How long a peer may take to say who it is once it is connected. Defaults to 5 seconds.
    pub fn hello_timeout(mut self, span: Duration) -> Self {
        self.links.hello_timeout = span;
        self
    }

    /// How long after a relayed connection has come about a direct way is looked for, doubling with each failure up to an
    /// hour; zero: never. Defaults to 30 seconds.
    pub fn upgrade_every(mut self, span: Duration) -> Self {
        self.links.upgrade_every = span;
        self
    }

    /// SYNs that an address gets within a minute that a peer, a server or a UNL merely claims to be a node's, so that nobody
    /// can aim this node at a third party. At least 1. Defaults to 3: the first, and two repetitions by the operating system.
    pub fn max_claimed_syns(mut self, syns: u32) -> Self {
        self.links.max_claimed_syns = syns;
        self
    }

    /// The same for all ports of one host together (of IPv6: one /64 network). Defaults to 12: a household with a few nodes.
    pub fn max_host_syns(mut self, syns: u32) -> Self {
        self.links.max_host_syns = syns;
        self
    }

    /// SYNs of one punch, all to an address that a server of this node's own choice has seen the peer at. Defaults to 1500:
    /// some 16 predicted ports, each dialled again once a round trip of 30 ms for 3 seconds. All that is seen at one host
    /// (of IPv6: one /64 network) gets twice as many within a minute: two rounds, or two nodes.
    pub fn max_punch_syns(mut self, syns: u32) -> Self {
        self.links.max_punch_syns = syns;
        self
    }

    /// Rendezvous servers that are met only because a UNL names them, at once. Defaults to 4.
    pub fn max_guest_servers(mut self, servers: usize) -> Self {
        self.links.max_guest_servers = servers;
        self
    }
}
