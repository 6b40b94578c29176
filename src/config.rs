//! How a `Net` is to behave: every limit, with its default and the reason for it.

mod links;
mod relay_offer;
mod rendezvous;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::reach::{NatKind, NodeType};
pub(crate) use links::LinkSettings;
pub use relay_offer::RelayOffer;
pub use rendezvous::RendezvousConfig;

/// Servers are not asked more often, whatever the configuration says.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Leases are counted in seconds and renewed at half; UPnP's longest is a week (WANIPConnection:2 section 2.3.13).
const SHORTEST_LEASE: Duration = Duration::from_secs(2);
const LONGEST_LEASE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What ends a line that is sent. What is read may end in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnd {
    /// CR LF, which is the only one that pyp2p recognises.
    #[default]
    CrLf,
    /// LF alone, for peers that would take the CR for a part of the line.
    Lf,
}

impl LineEnd {
    #[inline]
    pub(crate) const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::CrLf => b"\r\n",
            Self::Lf => b"\n",
        }
    }
}

/// Whether a router is asked to forward the node's port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortMapping {
    /// Never: not one packet is sent for it.
    Off,
    /// Once a rendezvous server has found that the port can not be reached, or those that answer can not tell. A node
    /// without rendezvous servers, or while none answers, asks no router: nothing would tell it that it needs one.
    #[default]
    WhenNeeded,
    /// As soon as the node listens, unless a server has found by then that the port can be reached already.
    Always,
}

/// How a [`Net`](crate::Net) is to behave. Begin with [`Config::new`], change what matters, end with
/// [`start`](Config::start).
///
/// ```
/// # fn main() -> Result<(), p2poll::StartError> {
/// use p2poll::Config;
///
/// let net = Config::new().bind([127, 0, 0, 1].into()).max_inbound(4).start()?;
/// assert!(net.local_addr().is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) bind: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) listen: bool,
    pub(crate) node_type: Option<NodeType>,
    pub(crate) nat: Option<NatKind>,
    pub(crate) wan_ip: Option<IpAddr>,
    pub(crate) interface: Option<String>,
    pub(crate) port_mapping: PortMapping,
    pub(crate) router: Option<IpAddr>,
    pub(crate) mapping_lease: Duration,
    pub(crate) rendezvous: Vec<String>,
    pub(crate) peers: Vec<String>,
    pub(crate) known_peers: Option<PathBuf>,
    pub(crate) advertise: bool,
    pub(crate) bootstrap: bool,
    pub(crate) max_inbound: usize,
    pub(crate) max_inbound_per_address: usize,
    pub(crate) max_outbound: usize,
    pub(crate) max_outbound_per_address: usize,
    pub(crate) max_attempts: usize,
    pub(crate) max_bans: usize,
    pub(crate) max_known: usize,
    pub(crate) max_events: usize,
    pub(crate) foreign_protocols: bool,
    pub(crate) duplicates: Option<DuplicateWindow>,
    pub(crate) connect_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) bootstrap_interval: Duration,
    pub(crate) advertise_interval: Duration,
    pub(crate) links: LinkSettings,
    pub(crate) streams: StreamLimits,
}

/// How long and how many lines are remembered to drop their duplicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DuplicateWindow {
    pub(crate) window: Duration,
    pub(crate) capacity: usize,
}

/// What holds for each stream, a peer's or a rendezvous client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamLimits {
    pub(crate) line_end: LineEnd,
    pub(crate) max_line: usize,
    pub(crate) max_unread: usize,
    pub(crate) max_queued: usize,
    pub(crate) read_per_tick: usize,
    pub(crate) close_deadline: Duration,
    pub(crate) dead_after: Duration,
}

impl StreamLimits {
    /// How many bytes of the application's lines wait unread on a node link, whose peer is told so: as many as elsewhere, but
    /// at least one line of the longest, with the marks of its pieces.
    pub(crate) fn credit(&self) -> u64 {
        let longest = self.max_line.saturating_add(self.max_line / 1024).saturating_add(64);
        self.max_unread.max(longest) as u64
    }
}

impl StreamLimits {
    pub(crate) const DEFAULT: Self = Self {
        line_end: LineEnd::CrLf,
        max_line: 1 << 20,
        max_unread: 256 << 10,
        max_queued: 4 << 20,
        read_per_tick: 256 << 10,
        close_deadline: Duration::from_secs(5),
        dead_after: Duration::from_secs(120),
    };
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: None,
            port: 0,
            listen: true,
            node_type: None,
            nat: None,
            wan_ip: None,
            interface: None,
            port_mapping: PortMapping::WhenNeeded,
            router: None,
            mapping_lease: Duration::from_secs(60 * 60),
            rendezvous: Vec::new(),
            peers: Vec::new(),
            known_peers: None,
            advertise: true,
            bootstrap: true,
            max_inbound: 10,
            max_inbound_per_address: 3,
            max_outbound: 10,
            max_outbound_per_address: 2,
            max_attempts: 64,
            max_bans: 1024,
            max_known: 1000,
            max_events: 1024,
            foreign_protocols: false,
            duplicates: None,
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(10),
            bootstrap_interval: Duration::from_secs(30 * 60),
            advertise_interval: Duration::from_secs(12 * 60 * 60),
            links: LinkSettings::default(),
            streams: StreamLimits::default(),
        }
    }
}

/// Where it listens and what it says of itself.
impl Config {
    /// Listens on any free port of all addresses, knows no server and no peer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The address to listen at and to connect from. Defaults to all addresses, IPv4 and IPv6. A node that is bound to
    /// an address of one family reaches no address of the other.
    ///
    /// To try several nodes on one machine give each its own port, or its own address in 127.0.0.0/8.
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.bind = Some(address);
        self
    }

    /// The port to listen at; 0 lets the operating system choose a free one. Defaults to 0.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Whether to listen at all. Defaults to `true`. A node that does not listen is not advertised, and its
    /// [`port`](Config::port) means nothing.
    pub fn listen(mut self, yes: bool) -> Self {
        self.listen = yes;
        self
    }
}

/// What it believes of its own reach, and does for it.
impl Config {
    /// How others can reach this node, whatever the node would find. By default it finds out: it counts as
    /// [`NodeType::Passive`] until it is certain of something else. Only passive nodes are advertised.
    pub fn node_type(mut self, node_type: NodeType) -> Self {
        self.node_type = Some(node_type);
        self
    }

    /// The kind of the NAT in front of this node, whatever would be measured; then nothing is measured. A wrong one has
    /// a node that nobody can connect to say that it could be met, or that it could not.
    pub fn nat(mut self, kind: NatKind) -> Self {
        self.nat = Some(kind);
        self
    }

    /// The node's address as the outside sees it, whatever servers and routers say. It is only told, not used:
    /// servers list a node at the address at which they see it.
    pub fn wan_ip(mut self, address: IpAddr) -> Self {
        self.wan_ip = Some(address);
        self
    }

    /// The only interface whose addresses count as the node's own in its network, and to which a router forwards. By
    /// default all do, and a router forwards to the address from which the rendezvous servers are reached. It does not
    /// choose where the node listens and connects from; see [`Config::bind`] for that.
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.interface = Some(name.into());
        self
    }

    /// Whether a router is asked, by UPnP and NAT-PMP, to forward the port. Defaults to [`PortMapping::WhenNeeded`],
    /// which asks no router while there is no rendezvous server. It takes the feature `gateway`, which is on by
    /// default; without it, it is [`PortMapping::Off`], whatever is said here.
    ///
    /// ```
    /// # fn main() -> Result<(), p2poll::StartError> {
    /// use p2poll::{Config, Mapping, PortMapping};
    ///
    /// let net = Config::new().bind([127, 0, 0, 1].into()).port_mapping(PortMapping::Off).start()?;
    /// assert_eq!(net.reach().mapping, Mapping::Off);
    /// # Ok(())
    /// # }
    /// ```
    pub fn port_mapping(mut self, port_mapping: PortMapping) -> Self {
        self.port_mapping = port_mapping;
        self
    }

    /// The router to ask, where it is not to be searched for: UPnP's search goes to port 1900 there, NAT-PMP's requests
    /// to port 5351. By default UPnP searches the network by multicast, and NAT-PMP asks the default gateway.
    pub fn router(mut self, address: IpAddr) -> Self {
        self.router = Some(address);
        self
    }

    /// How long a mapping lasts on the router unless it is renewed, at least 2 seconds and at most a week; it is
    /// renewed after half of it. Defaults to an hour: what a node that died leaves behind is soon gone, and a renewal
    /// costs next to nothing. Some routers know permanent mappings only, or choose a shorter time.
    pub fn mapping_lease(mut self, lease: Duration) -> Self {
        self.mapping_lease = lease;
        self
    }
}

/// How it finds others.
impl Config {
    /// Adds a rendezvous server, as `HOST:PORT`; a link-local address of IPv6 needs its interface, as in
    /// `[fe80::1%eth0]:8000`. With more than [`Config::MAX_RENDEZVOUS`] the node does not start.
    ///
    /// The node registers with each and asks each; one that is down is tried again, later and later. Of a name's
    /// addresses those of IPv4 are tried first: that is what NATs translate, and where most peers are. To be found by
    /// IPv6, too, add the server once more by its IPv6 address.
    pub fn rendezvous(mut self, server: impl Into<String>) -> Self {
        self.rendezvous.push(server.into());
        self
    }

    /// Adds a peer to stay connected to, as `HOST:PORT` (or `[fe80::1%eth0]:PORT`), whether or not a server answers. With more than
    /// [`Config::MAX_PEERS`] the node does not start.
    pub fn peer(mut self, peer: impl Into<String>) -> Self {
        self.peers.push(peer.into());
        self
    }

    /// A file in which addresses of peers that were reached are kept between runs, for when no server answers: one
    /// `ADDRESS:PORT` a line, at most [`Config::max_known`]. It is made, and rewritten as a whole, when there is
    /// something to write; a file that holds text but no address is left alone. Defaults to none.
    pub fn known_peers(mut self, file: impl Into<PathBuf>) -> Self {
        self.known_peers = Some(file.into());
        self
    }

    /// Whether to register with the rendezvous servers by itself. Defaults to `true`.
    /// [`Net::advertise`](crate::Net::advertise) does it now in either case.
    pub fn advertise(mut self, yes: bool) -> Self {
        self.advertise = yes;
        self
    }

    /// Whether to ask the rendezvous servers for nodes, and connect to them, by itself. Defaults to `true`.
    /// [`Net::bootstrap`](crate::Net::bootstrap) does it now in either case.
    pub fn bootstrap(mut self, yes: bool) -> Self {
        self.bootstrap = yes;
        self
    }

    /// How often servers are asked for nodes while the node has peers, at least 100 ms. Defaults to 30 minutes, as in
    /// pyp2p; a node without any peer asks earlier by itself.
    pub fn bootstrap_interval(mut self, interval: Duration) -> Self {
        self.bootstrap_interval = interval;
        self
    }

    /// How often the registration is renewed, at least 100 ms. Defaults to 12 hours, as in pyp2p.
    pub fn advertise_interval(mut self, interval: Duration) -> Self {
        self.advertise_interval = interval;
        self
    }

    /// How long a rendezvous server may take for an answer. Defaults to 10 seconds: three retransmissions of a lost
    /// packet and a slow server.
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// How many rendezvous servers one `Net` uses: more would make no node easier to find, and cost each a connection.
    pub const MAX_RENDEZVOUS: usize = 8;

    /// How many peers can be given by [`Config::peer`].
    pub const MAX_PEERS: usize = 256;

    /// How many relays can be given by [`Config::relay_through`].
    pub const MAX_RELAYS_THROUGH: usize = 4;
}

/// How many of everything.
impl Config {
    /// Connections that others may open to us. Defaults to 10, as in pyp2p.
    pub fn max_inbound(mut self, slots: usize) -> Self {
        self.max_inbound = slots;
        self
    }

    /// Connections that one address (of IPv6: one /64 network) may open to us, loopback excepted. Defaults to 3: several
    /// nodes of one household, but not all our slots.
    pub fn max_inbound_per_address(mut self, slots: usize) -> Self {
        self.max_inbound_per_address = slots;
        self
    }

    /// Connections that the node opens by itself, to peers from servers, from [`Config::peer`] and from the file of
    /// known peers. Defaults to 10, as in pyp2p. Those begun by [`Net::connect_addr`](crate::Net::connect_addr) take
    /// slots too, but are never refused for want of one.
    pub fn max_outbound(mut self, slots: usize) -> Self {
        self.max_outbound = slots;
        self
    }

    /// Of them, those to one address (of IPv6: one /64 network). Defaults to 2: a server that lists one address with many ports
    /// is not to fill a node's slots with it. Loopback and what [`Config::peer`] names have no such limit.
    pub fn max_outbound_per_address(mut self, slots: usize) -> Self {
        self.max_outbound_per_address = slots;
        self
    }

    /// Attempts to connect that may be under way at once, at least 1. Defaults to 64: each costs a socket until its
    /// deadline. A quarter of them is kept for [`Net::connect_addr`](crate::Net::connect_addr), and for
    /// [`Net::connect`](crate::Net::connect) to addresses.
    pub fn max_attempts(mut self, attempts: usize) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Addresses that can be banned at once; the ban that ends first makes room. Defaults to 1024.
    pub fn max_bans(mut self, bans: usize) -> Self {
        self.max_bans = bans;
        self
    }

    /// Addresses of other nodes that are remembered, at least 1. Defaults to 1000: enough to replace ten peers for a
    /// long time, and about 100 KiB.
    pub fn max_known(mut self, addresses: usize) -> Self {
        self.max_known = addresses;
        self
    }

    /// Events that wait for [`Net::events`](crate::Net::events), at least 1; beyond it the oldest are dropped and
    /// counted. Defaults to 1024: more than happens between two turns of a loop.
    pub fn max_events(mut self, events: usize) -> Self {
        self.max_events = events;
        self
    }

    /// How long an attempt to connect may take in all, over all addresses of a name. Defaults to 10 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Drops a received line whose like was received or broadcast within `window`: for programs that forward what
    /// they receive, so that a line does not run in circles. Remembers at most `capacity` lines, of about 40 bytes each.
    /// Both are above zero; pyp2p's window is 5 seconds.
    /// Off by default: then every line is delivered as often as it comes.
    pub fn suppress_duplicates(mut self, window: Duration, capacity: usize) -> Self {
        self.duplicates = Some(DuplicateWindow { window, capacity });
        self
    }
}

/// What holds for each connection.
impl Config {
    /// What ends a line that is sent. Defaults to [`LineEnd::CrLf`].
    pub fn line_end(mut self, line_end: LineEnd) -> Self {
        self.streams.line_end = line_end;
        self
    }

    /// The longest line that is received, in bytes without its end; a longer one closes the connection with
    /// [`CloseReason::LineTooLong`](crate::CloseReason::LineTooLong). At least 1. Defaults to 1 MiB, which is what
    /// pyp2p holds when it receives (it can not send more than 4096).
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.streams.max_line = bytes;
        self
    }

    /// How many received bytes wait for the application before a connection is no longer read, so that its peer has
    /// to wait too. At least 1. Defaults to 256 KiB: a few thousand short lines. The last read may exceed it by
    /// 64 KiB, and a single unfinished line may always grow to [`Config::max_line`].
    pub fn max_unread(mut self, bytes: usize) -> Self {
        self.streams.max_unread = bytes;
        self
    }

    /// How many bytes may be queued on a connection whose peer does not read; beyond it sending is
    /// [`SendError::Full`](crate::SendError::Full). At least 1. Defaults to 4 MiB: four of the longest lines.
    pub fn max_queued(mut self, bytes: usize) -> Self {
        self.streams.max_queued = bytes;
        self
    }

    /// How many bytes are read from one connection before it is the others' turn, at least 1. Defaults to 256 KiB, so
    /// that a peer that floods costs a frame of a game well under a millisecond.
    pub fn read_per_tick(mut self, bytes: usize) -> Self {
        self.streams.read_per_tick = bytes;
        self
    }

    /// How long what is queued may still take to go out after [`Con::close`](crate::Con::close). Defaults to 5 seconds.
    pub fn close_deadline(mut self, deadline: Duration) -> Self {
        self.streams.close_deadline = deadline;
        self
    }

    /// Whether accepted connections that begin with a request of HTTP, a TLS handshake or a version of SSH are shown as any other.
    /// Defaults to no: any web page can have a browser say lines of its choice to any address that the browser reaches, but not
    /// in the first bytes. They are hung up on, with [`CloseReason::Foreign`](crate::CloseReason::Foreign) where the
    /// connection was shown already, and a warning in the log, at most one a minute.
    pub fn foreign_protocols(mut self, shown: bool) -> Self {
        self.foreign_protocols = shown;
        self
    }

    /// How long a peer may be silent to the operating system's probes, or leave what was sent unacknowledged or its
    /// receive window closed, before it counts as [`CloseReason::Vanished`](crate::CloseReason::Vanished). Idle
    /// connections are probed from half of this time on, which also keeps a NAT's mapping open. At least 4 seconds, as
    /// systems count in whole ones. Defaults to 2 minutes:
    /// above any lapse of a mobile link that one would like to survive, below the timeout of usual home routers.
    ///
    /// Off Linux the operating system may take longer for a peer that vanishes with data under way.
    pub fn dead_after(mut self, span: Duration) -> Self {
        self.streams.dead_after = span;
        self
    }
}

impl Config {
    /// What contradicts itself.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        self.streams.check()?;
        if self.rendezvous.len() > Self::MAX_RENDEZVOUS {
            return Err("too many rendezvous servers; see Config::MAX_RENDEZVOUS");
        }
        if self.peers.len() > Self::MAX_PEERS {
            return Err("too many peers; see Config::MAX_PEERS");
        }
        if self.max_attempts == 0 || self.max_events == 0 || self.max_known == 0 {
            return Err("max_attempts, max_events and max_known must be at least 1");
        }
        if self.bootstrap_interval < SHORTEST_INTERVAL || self.advertise_interval < SHORTEST_INTERVAL {
            return Err("bootstrap_interval and advertise_interval must be at least 100 milliseconds");
        }
        if self.mapping_lease < SHORTEST_LEASE || self.mapping_lease > LONGEST_LEASE {
            return Err("mapping_lease must be at least 2 seconds and at most a week");
        }
        if self.nat == Some(NatKind::Delta { step: 0 }) {
            return Err("the step of a delta NAT is not 0");
        }
        self.links.check()?;
        if self.duplicates.is_some_and(|d| d.capacity == 0 || d.window.is_zero()) {
            return Err("suppress_duplicates needs a window and a capacity above zero");
        }
        Ok(())
    }
}

impl StreamLimits {
    fn check(&self) -> Result<(), &'static str> {
        if self.max_line == 0 || self.max_unread == 0 || self.max_queued == 0 || self.read_per_tick == 0 {
            return Err("max_line, max_unread, max_queued and read_per_tick must be at least 1");
        }
        if self.dead_after < Duration::from_secs(4) {
            return Err("dead_after must be at least 4 seconds: the operating system counts in whole ones");
        }
        Ok(())
    }
}
