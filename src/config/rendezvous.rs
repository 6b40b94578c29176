//! How a rendezvous server is to behave: every limit, with its default and the reason for it.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::StreamLimits;
use crate::address::zoned;

/// How a [`Rendezvous`](crate::Rendezvous) server is to behave. Begin with [`RendezvousConfig::new`], say where to
/// listen, end with [`start`](RendezvousConfig::start).
///
/// ```
/// # fn main() -> Result<(), p2poll::StartError> {
/// let server = p2poll::RendezvousConfig::new().listen("127.0.0.1:0").start()?;
/// println!("listening at {}", server.local_addrs()[0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RendezvousConfig {
    pub(crate) listen: Vec<String>,
    pub(crate) second_port: bool,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) max_clients: usize,
    pub(crate) max_clients_per_address: usize,
    pub(crate) max_nodes: usize,
    pub(crate) max_nodes_per_address: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) probe_time: Duration,
    pub(crate) max_probes_per_address: usize,
    pub(crate) public_addresses: Vec<SocketAddr>,
    pub(crate) max_signals_per_minute: u32,
    pub(crate) max_signals_per_recipient: u32,
    pub(crate) max_signals_per_address: u32,
    pub(crate) max_mail: usize,
    pub(crate) max_backlog: usize,
    pub(crate) relay: bool,
    pub(crate) max_relays: usize,
    pub(crate) max_relays_per_node: usize,
    pub(crate) max_relays_per_address: usize,
    pub(crate) relay_bytes: u64,
    pub(crate) relay_time: Duration,
    pub(crate) relay_rate: u64,
    pub(crate) relay_idle: Duration,
    pub(crate) streams: StreamLimits,
}

impl Default for RendezvousConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            second_port: false,
            metrics: None,
            max_clients: 25_000,
            max_clients_per_address: 256,
            max_nodes: 50_000,
            max_nodes_per_address: 32,
            idle_timeout: Duration::from_secs(15 * 60),
            probe_time: Duration::from_millis(500),
            max_probes_per_address: 10,
            public_addresses: Vec::new(),
            max_signals_per_minute: 600,
            max_signals_per_recipient: 600,
            max_signals_per_address: 3000,
            max_mail: 20_000,
            max_backlog: 128 << 20,
            relay: true,
            max_relays: 1000,
            max_relays_per_node: 8,
            max_relays_per_address: 32,
            relay_bytes: 1 << 30,
            relay_time: Duration::from_secs(2 * 3600),
            relay_rate: 1 << 20,
            relay_idle: Duration::from_secs(10 * 60),
            streams: StreamLimits {
                // The longest request is a signal, of 3.3 KB.
                max_line: 4 << 10,
                // More is not read in one go, and no request is left in the stream.
                max_unread: 4 << 10,
                // What one client's share can be, and one batch of answers with mail among them.
                max_queued: 64 << 10,
                ..StreamLimits::default()
            },
        }
    }
}

impl RendezvousConfig {
    /// Listens nowhere yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an address to listen at, as `IP:PORT`; several are one server. pyp2p's usual port is 8000; port 0 lets the
    /// operating system choose. Without any it listens at `[::]:8000`. `[::]` includes IPv4, unless the same port is
    /// given with an address of IPv4, too: `0.0.0.0:8000` and `[::]:8000` go together. A link-local address of IPv6
    /// needs its interface, as in `[fe80::1%eth0]:8000`. With more than [`RendezvousConfig::MAX_LISTEN`] it does not
    /// start.
    pub fn listen(mut self, addr: impl Into<String>) -> Self {
        self.listen.push(addr.into());
        self
    }

    /// Where it listens at one port only, it also listens at another one, the next that is free of the ten behind it, at the
    /// same addresses: then a node can tell the kind of its NAT with this server alone, which takes two places from which
    /// it is seen. Off by default, but `p2poll rendezvous` does it. Where none is free it does without, and says so in its
    /// log; [`Rendezvous::local_addrs`](crate::Rendezvous::local_addrs) has those that it got.
    pub fn second_port(mut self, yes: bool) -> Self {
        self.second_port = yes;
        self
    }

    /// Tells its figures to who asks at this address by HTTP (`GET /metrics`), as Prometheus wants them: see
    /// [`ServerStats`](crate::ServerStats), and [`Rendezvous::metrics_addr`](crate::Rendezvous::metrics_addr) for a port
    /// that the operating system chose. The listener is for that alone, without encryption: give it an address that only
    /// those can reach who may know. Eight may ask at once, for five seconds each. Off by default.
    pub fn metrics(mut self, addr: impl Into<SocketAddr>) -> Self {
        self.metrics = Some(addr.into());
        self
    }

    /// Connections at once. Defaults to 25,000; the process needs as many file descriptors, and 256 for probes.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    /// Connections at once from one address (of IPv6: one /64 network), loopback excepted. Defaults to 256: a
    /// carrier-grade NAT puts many households behind one address.
    pub fn max_clients_per_address(mut self, clients: usize) -> Self {
        self.max_clients_per_address = clients;
        self
    }

    /// Nodes that are listed at once. Defaults to 50,000.
    pub fn max_nodes(mut self, nodes: usize) -> Self {
        self.max_nodes = nodes;
        self
    }

    /// Nodes that are listed at once for one address (of IPv6: one /64 network), loopback excepted. Defaults to 32: a
    /// household or a small office; more would let one address fill the answers.
    pub fn max_nodes_per_address(mut self, nodes: usize) -> Self {
        self.max_nodes_per_address = nodes;
        self
    }

    /// How long a client may be silent before it is disconnected. Defaults to 15 minutes: somebody who types by hand may
    /// think, and abandoned connections do not pile up. p2poll's nodes give a sign of life each minute and are missed
    /// after three; pyp2p's nodes that wait to be punched may be silent for as long as they like.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// How long after it was asked whether a port can be reached a server answers, whatever it found: when it answers
    /// tells nothing. At least 50 ms and at most 10 seconds; with another value the server does not start. Defaults to
    /// 500 ms: two round trips of 250 ms. Nodes for which that is too short learn that it is, not that they can not be
    /// reached.
    ///
    /// A server connects to nodes from the address at which they reach it. One whose connections leave from
    /// another address (behind a load balancer, or a NAT with several addresses) is not recognised, and finds every port
    /// closed: it should not offer to try them, see [`max_probes_per_address`](RendezvousConfig::max_probes_per_address).
    pub fn probe_time(mut self, time: Duration) -> Self {
        self.probe_time = time;
        self
    }

    /// How many times a minute a server connects to one address (of IPv6: one /64 network) to find out whether a port
    /// there can be reached, loopback excepted (behind a reverse proxy on the same machine every client seems to be
    /// on loopback). Defaults to 10: a few nodes of a household that start, and no port scan. Who asks more often is
    /// told to come again later ([`Doubt::Busy`](crate::Doubt::Busy)). 0: it does not offer to.
    pub fn max_probes_per_address(mut self, probes: usize) -> Self {
        self.max_probes_per_address = probes;
        self
    }

    /// Adds an address by which nodes dial this server although it does not see them arrive there: that of a
    /// one-to-one NAT or a forwarded port in front of it (every machine of most clouds, a container's published port). What
    /// nodes sign for a server names the address that they
    /// have dialled, so that nobody can show it at another server; so a server takes nothing that is signed for an
    /// address that it does not know as its own.
    ///
    /// Without any it learns such addresses where it can: one that good proofs of nodes in three networks (IPv4 /16, IPv6
    /// /32) name within a day, if it is public, and the server itself sees those nodes arrive at one that is not. Its log
    /// tells of addresses that it does not know, and of those that it has learned. With more than
    /// [`RendezvousConfig::MAX_PUBLIC_ADDRESSES`] it does not start.
    pub fn public_address(mut self, addr: impl Into<SocketAddr>) -> Self {
        self.public_addresses.push(addr.into());
        self
    }

    /// How many signals one connection may have passed on in a minute. Defaults to 600: some 100 attempts to connect, with
    /// all that is said to and fro.
    pub fn max_signals_per_minute(mut self, signals: u32) -> Self {
        self.max_signals_per_minute = signals;
        self
    }

    /// How many signals are passed on to one node in a minute, whoever sends them: divided fairly, by the addresses (IPv6: by
    /// /64) that the server sees and by keys, and beyond them each address has four; loopback is not limited. Defaults to 600:
    /// a node looks at no more.
    pub fn max_signals_per_recipient(mut self, signals: u32) -> Self {
        self.max_signals_per_recipient = signals;
        self
    }

    /// How many signals one address (IPv6: one /64) may have passed on in a minute, loopback excepted. Defaults to 3000: 500
    /// attempts to connect, of all behind a carrier's NAT.
    pub fn max_signals_per_address(mut self, signals: u32) -> Self {
        self.max_signals_per_address = signals;
        self
    }

    /// How many signals wait for nodes that are not connected, each for a minute at most. Defaults to 20,000: 70 MB
    /// when all are as long as they can be. One node has 16 waiting for it at most, or 8 KiB, of which one sender has 4 and one address no
    /// more than it leaves free; and one sender has 32 in all.
    pub fn max_mail(mut self, signals: usize) -> Self {
        self.max_mail = signals;
        self
    }

    /// How many bytes of answers may wait, all together, for clients that do not read them. Defaults to 128 MiB. The more
    /// of it is used, the less of it one client gets, 32 KiB at most; then its requests wait, and are not even read. A
    /// client that reads is answered in any case, so each client that does not may hold one batch of answers beyond the
    /// budget, with 8 KiB of its requests: 25 KiB at most.
    pub fn max_backlog(mut self, bytes: usize) -> Self {
        self.max_backlog = bytes;
        self
    }

    /// Whether nodes that can not connect to each other may be connected through this server. On by default: without
    /// it the pairs behind two unpredictable NATs never meet. It costs the server's bandwidth, twice.
    pub fn relay(mut self, relay: bool) -> Self {
        self.relay = relay;
        self
    }

    /// Relays at once. Defaults to 1000; each takes two of [`max_clients`](RendezvousConfig::max_clients), and 128
    /// KiB when both of its ends read slowly.
    pub fn max_relays(mut self, relays: usize) -> Self {
        self.max_relays = relays;
        self
    }

    /// Relays at once of one node. Defaults to 8: a relay is the last resort for a few peers, not a way to run a service.
    pub fn max_relays_per_node(mut self, relays: usize) -> Self {
        self.max_relays_per_node = relays;
        self
    }

    /// Ends of relays at once at one address (of IPv6: one /64 network), loopback excepted. Defaults to 32: keys are
    /// free, addresses are not, and a carrier's NAT puts several nodes behind one.
    pub fn max_relays_per_address(mut self, ends: usize) -> Self {
        self.max_relays_per_address = ends;
        self
    }

    /// How many bytes one relay carries, both directions together, before it is ended; 0: without limit. Defaults to
    /// 1 GiB: hours of a game or a conversation, and no film archive.
    pub fn relay_bytes(mut self, bytes: u64) -> Self {
        self.relay_bytes = bytes;
        self
    }

    /// How long one relay lasts, in whole seconds; zero: without limit. Defaults to 2 hours: nodes that still need each
    /// other ask again, and may find a better way by then.
    pub fn relay_time(mut self, time: Duration) -> Self {
        self.relay_time = time;
        self
    }

    /// How many bytes a second one relay carries in each direction, after a second's worth at once; 0: without limit.
    /// Defaults to 1 MiB: enough for voice and games, and a hundred of them fill a line of one gigabit.
    pub fn relay_rate(mut self, bytes: u64) -> Self {
        self.relay_rate = bytes;
        self
    }

    /// How long nothing may go through a relay before it is ended. At least a second; defaults to 10 minutes: longer than
    /// the signs of life of any usual protocol are apart.
    pub fn relay_idle(mut self, time: Duration) -> Self {
        self.relay_idle = time;
        self
    }

    /// How many public addresses one server can have.
    pub const MAX_PUBLIC_ADDRESSES: usize = 16;

    /// How many addresses one server can listen at.
    pub const MAX_LISTEN: usize = 16;

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        self.streams.check()?;
        if self.listen.len() > Self::MAX_LISTEN {
            return Err("too many addresses to listen at; see RendezvousConfig::MAX_LISTEN");
        }
        if !(Duration::from_millis(50)..=Duration::from_secs(10)).contains(&self.probe_time) {
            return Err("probe_time must be between 50 milliseconds and 10 seconds");
        }
        if self.public_addresses.len() > Self::MAX_PUBLIC_ADDRESSES {
            return Err("too many public addresses; see RendezvousConfig::MAX_PUBLIC_ADDRESSES");
        }
        if self.public_addresses.iter().any(|addr| addr.port() == 0 || addr.ip().is_unspecified()) {
            return Err("a public address is one that can be dialled");
        }
        if self.relay_time.subsec_nanos() != 0 {
            return Err("relay_time must be a whole number of seconds");
        }
        if self.relay_idle < Duration::from_secs(1) {
            return Err("relay_idle must be at least a second");
        }
        Ok(())
    }

    /// `at_interface`: the address at the interface of a name.
    pub(crate) fn listen_addrs(
        &self,
        at_interface: impl Fn(Ipv6Addr, &str, u16) -> Option<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, crate::error::StartError> {
        if self.listen.is_empty() {
            return Ok(vec![SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 8000))]);
        }
        self.listen
            .iter()
            .map(|text| {
                let bad = |why| crate::error::StartError::BadAddress { text: text.clone(), why };
                match (text.parse(), zoned(text)) {
                    (Ok(addr), _) => Ok(addr),
                    (Err(_), Some((ip, zone, port))) => at_interface(ip, zone, port)
                        .ok_or_else(|| bad("this machine has no interface of that name")),
                    (Err(_), None) => Err(bad("a server listens at IP:PORT, not at a name")),
                }
            })
            .collect()
    }
}
