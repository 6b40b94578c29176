//! What a server holds at most, and for how long.

use std::net::SocketAddr;
use std::time::Duration;

use crate::wire::relay::RelayLimits;
use crate::wire::rendezvous::Features;

/// What the server holds at most, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Connections. Default 65,536: clients of ours stay connected, so this bounds the network that one server serves;
    /// about 200 bytes each.
    pub(crate) clients: usize,
    /// Connections from one IPv4 address or IPv6 /64, loopback excepted. Default 256: a carrier's NAT puts many
    /// subscribers behind one address, but one flooder must not take all places.
    pub(crate) clients_per_address: usize,
    /// Nodes listed, and as many that can be punched. Default 65,536; about 300 bytes each.
    pub(crate) nodes: usize,
    /// Nodes listed at one IPv4 address or IPv6 /64, loopback excepted (tests run many nodes there). Default 32: a
    /// household or a small office; more would let one address fill the answers.
    pub(crate) nodes_per_address: usize,
    /// Candidates that wait for one node. Default 100, as in pyp2p.
    pub(crate) candidates: usize,
    /// Candidates in all. Default 65,536; about 100 bytes each, and they go after 120 s.
    pub(crate) candidates_in_all: usize,
    /// Probes at once. Default 256, a file descriptor each: with the default time that is 512 a second, and who is told
    /// to ask later does.
    pub(crate) probes: usize,
    /// Probes at once for one client. Default 4: a node has few ports, and knows them.
    pub(crate) probes_per_client: usize,
    /// Probes in a minute for one IPv4 address or IPv6 /64, loopback excepted. Default 10: a few nodes of a household
    /// that start, and no port scan.
    pub(crate) probes_per_address: usize,
    /// Probes in a minute for all addresses but loopback, as that many are remembered. Default 65,536; about 100 bytes
    /// each.
    pub(crate) probes_a_minute: usize,
    /// A probe is answered so long after the question, whatever came of it. Default 500 ms: three round trips of 160.
    pub(crate) probe_time: Duration,
    /// Ids that are proven for signals. Default 65,536; about 400 bytes each with their connections.
    pub(crate) identities: usize,
    /// By which addresses clients may have dialled the server, other than those at which it sees them arrive. Default
    /// none.
    pub(crate) public_addresses: Vec<SocketAddr>,
    /// Where there are none, learns them from clients; how far it believes them is told in
    /// [`addresses`](super::addresses). Default: no.
    pub(crate) learns_addresses: bool,
    /// Observations that are remembered. Default 65,536; about 250 bytes each. Beyond it the oldest goes.
    pub(crate) observations: usize,
    /// Observations of one IPv4 address or IPv6 /64, loopback excepted. Default 64: a punch takes one or two at each
    /// end. Beyond it the oldest goes.
    pub(crate) observations_per_address: usize,
    /// For so long. Default 60 s: they are named in a signal that is sent at once.
    pub(crate) observation_time: Duration,
    /// Signals in a minute from one connection. Default 600: some 100 attempts to connect, with all that is said to and
    /// fro.
    pub(crate) signals_a_minute: u32,
    /// Signals in a minute to one recipient. Default 600: it looks at no more. They are divided fairly, by households that
    /// the server saw and by keys, and beyond them each household has four; loopback is not limited.
    pub(crate) signals_per_recipient: u32,
    /// Signals in a minute from one IPv4 address or IPv6 /64, loopback excepted, to whomever. Default 3000: 500 attempts to
    /// connect, of all behind a carrier's NAT.
    pub(crate) signals_per_address: u32,
    /// Pairs of a recipient and a key that are told apart in a minute. Default 65,536; about 150 bytes each.
    pub(crate) signal_pairs: usize,
    /// Signals that wait for their recipient. Default 20,000; 70 MB at worst.
    pub(crate) mail: usize,
    /// Of them, for one recipient. Default 16: it comes back after a second or never, and answers a few. A household has
    /// no more of them than it leaves free.
    pub(crate) mail_per_recipient: usize,
    /// Of those, from one sender. Default 4: what is said in an attempt to connect before anything is answered, twice.
    pub(crate) mail_per_pair: usize,
    /// Bytes for one recipient. Default 8 KiB, which is what it is given at once: a dozen usual calls.
    pub(crate) mail_bytes_per_recipient: usize,
    /// Of them, from one sender. Default 32: twice a full box.
    pub(crate) mail_per_sender: usize,
    /// Of them, from one IPv4 address or IPv6 /64, loopback excepted: keys are free, so a sender's limit alone would stop
    /// nobody from filling all boxes. Default 512.
    pub(crate) mail_per_address: usize,
    /// For so long. Default 60 s: who asks to be met does not wait longer.
    pub(crate) mail_time: Duration,
    /// Relays, waiting for their second half or running. Default 1000: two file descriptors and at most two queues of 64
    /// KiB each.
    pub(crate) relays: usize,
    /// Relays of one node. Default 8: it is the last resort for a few peers, not a way to run a service.
    pub(crate) relays_per_node: usize,
    /// Halves of relays at one IPv4 address or IPv6 /64, loopback excepted. Default 32: keys are free, addresses are not.
    pub(crate) relays_per_address: usize,
    /// The second half of a relay may come so long after the first. Default 10 s: both ends were told at the same time.
    pub(crate) relay_wait: Duration,
    /// Sessions that are remembered as used. Default 65,536; about 200 bytes each. Beyond it the oldest is forgotten.
    pub(crate) used_sessions: usize,
    /// For so long. Default 10 min: a ticket that is older is nobody's any more.
    pub(crate) used_time: Duration,
    /// What one relay carries; the holder of the sockets sees to it. Default: without limits.
    pub(crate) relay: RelayLimits,
    /// What waits for `poll_action`: lines to others than the asker, beyond which they are dropped. Default 4096,
    /// far more than one input makes.
    pub(crate) actions: usize,
    /// Extensions offered. Default: all.
    pub(crate) features: Features,
    /// It is there for relays and nothing else: all that takes no part in coming to one is not answered. Default: no.
    pub(crate) relays_only: bool,
    /// A passive registration without the feature `listed` lasts so long. Default 24 h, as in pyp2p.
    pub(crate) passive_lifetime: Duration,
    /// How long a registration with the feature `listed` outlives its connection. Default 2 min: to come back after
    /// a short outage keeps the place, and who is gone is soon told to nobody.
    pub(crate) grace: Duration,
    /// Who agreed on `ping` and is silent for so long is gone. Default 3 min: three pings missed.
    pub(crate) ping_idle: Duration,
    /// Others are closed after this silence, except who waits to be punched. Default 15 min: somebody who types by
    /// hand may think, and abandoned connections do not pile up.
    pub(crate) idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self {
            clients: 65_536,
            clients_per_address: 256,
            nodes: 65_536,
            nodes_per_address: 32,
            candidates: 100,
            candidates_in_all: 65_536,
            probes: 256,
            probes_per_client: 4,
            probes_per_address: 10,
            probes_a_minute: 65_536,
            probe_time: Duration::from_millis(500),
            identities: 65_536,
            public_addresses: Vec::new(),
            learns_addresses: false,
            observations: 65_536,
            observations_per_address: 64,
            observation_time: minutes(1),
            signals_a_minute: 600,
            signals_per_recipient: 600,
            signals_per_address: 3000,
            signal_pairs: 65_536,
            mail: 20_000,
            mail_per_recipient: 16,
            mail_per_pair: 4,
            mail_bytes_per_recipient: 8 << 10,
            mail_per_sender: 32,
            mail_per_address: 512,
            mail_time: minutes(1),
            relays: 1000,
            relays_per_node: 8,
            relays_per_address: 32,
            relay_wait: Duration::from_secs(10),
            used_sessions: 65_536,
            used_time: minutes(10),
            relay: RelayLimits::default(),
            actions: 4096,
            features: Features::ALL,
            relays_only: false,
            passive_lifetime: minutes(24 * 60),
            grace: minutes(2),
            ping_idle: minutes(3),
            idle: minutes(15),
        }
    }
}
