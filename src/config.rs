//! How a `Net` is to behave: every limit, with its default and the reason for it.

mod relay_offer;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::identity::Key;
use crate::reach::{NatKind, NodeType};
pub use relay_offer::RelayOffer;

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
    pub(crate) max_attempts: usize,
    pub(crate) max_bans: usize,
    pub(crate) max_known: usize,
    pub(crate) max_events: usize,
    pub(crate) duplicates: Option<DuplicateWindow>,
    pub(crate) connect_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) bootstrap_interval: Duration,
    pub(crate) advertise_interval: Duration,
    pub(crate) links: LinkSettings,
    pub(crate) streams: StreamLimits,
}

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

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            line_end: LineEnd::CrLf,
            max_line: 1 << 20,
            max_unread: 256 << 10,
            max_queued: 4 << 20,
            read_per_tick: 256 << 10,
            close_deadline: Duration::from_secs(5),
            dead_after: Duration::from_secs(120),
        }
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
            max_attempts: 64,
            max_bans: 1024,
            max_known: 1000,
            max_events: 1024,
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
    /// Adds a rendezvous server, as `HOST:PORT`. With more than [`Config::MAX_RENDEZVOUS`] the node does not start.
    ///
    /// The node registers with each and asks each; one that is down is tried again, later and later. Of a name's
    /// addresses those of IPv4 are tried first: that is what NATs translate, and where most peers are. To be found by
    /// IPv6, too, add the server once more by its IPv6 address.
    pub fn rendezvous(mut self, server: impl Into<String>) -> Self {
        self.rendezvous.push(server.into());
        self
    }

    /// Adds a peer to stay connected to, as `HOST:PORT`, whether or not a server answers. With more than
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

    /// How long an attempt by UNL may take in all, over all its rungs. At least a second. Defaults to 15 seconds: a relay
    /// takes well under 5, the rest is for a node that is about to come.
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
    /// some 16 predicted ports, each dialled again once a round trip of 30 ms for 3 seconds.
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

    /// Attempts to connect that may be under way at once, at least 1. Defaults to 64: each costs a socket until its
    /// deadline. A quarter of them is kept for [`Net::connect_addr`](crate::Net::connect_addr).
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
    /// to wait too. At least 1. Defaults to 256 KiB: a few thousand short lines. The last read may exceed it by one
    /// buffer, and a single unfinished line may always grow to [`Config::max_line`].
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
        let links = &self.links;
        if links.relay_through.len() > Self::MAX_RELAYS_THROUGH {
            return Err("too many relays; see Config::MAX_RELAYS_THROUGH");
        }
        links.relay_offer.as_ref().map_or(Ok(()), RelayOffer::check)?;
        if links.max_calls == 0 || links.max_claimed_syns == 0 {
            return Err("max_calls and max_claimed_syns must be at least 1");
        }
        if links.connect_within < Duration::from_secs(1) || links.punch_time < Duration::from_millis(100) {
            return Err("connect_within must be at least a second, and punch_time at least 100 milliseconds");
        }
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
    pub(crate) max_clients: usize,
    pub(crate) max_clients_per_address: usize,
    pub(crate) max_nodes: usize,
    pub(crate) max_nodes_per_address: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) probe_time: Duration,
    pub(crate) max_probes_per_address: usize,
    pub(crate) public_addresses: Vec<SocketAddr>,
    pub(crate) max_signals_per_minute: u32,
    pub(crate) max_mail: usize,
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
            max_clients: 25_000,
            max_clients_per_address: 256,
            max_nodes: 50_000,
            max_nodes_per_address: 32,
            idle_timeout: Duration::from_secs(15 * 60),
            probe_time: Duration::from_millis(500),
            max_probes_per_address: 10,
            public_addresses: Vec::new(),
            max_signals_per_minute: 600,
            max_mail: 20_000,
            relay: true,
            max_relays: 1000,
            max_relays_per_node: 8,
            max_relays_per_address: 32,
            relay_bytes: 1 << 30,
            relay_time: Duration::from_secs(2 * 3600),
            relay_rate: 1 << 20,
            relay_idle: Duration::from_secs(10 * 60),
            streams: StreamLimits {
                max_line: 8 << 10,
                max_unread: 64 << 10,
                max_queued: 256 << 10,
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
    /// operating system choose. Without any it listens at `[::]:8000`, IPv4 included. With more than
    /// [`RendezvousConfig::MAX_LISTEN`] it does not start.
    pub fn listen(mut self, addr: impl Into<String>) -> Self {
        self.listen.push(addr.into());
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
    /// one-to-one NAT or a forwarded port in front of it. What nodes sign for a server names the address that they
    /// have dialled, so that nobody can show it at another server; so a server takes nothing that is signed for an
    /// address that it does not know as its own. With more than [`RendezvousConfig::MAX_PUBLIC_ADDRESSES`] it does
    /// not start.
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

    /// How many signals wait for nodes that are not connected, each for a minute at most. Defaults to 20,000: 70 MB
    /// when all are as long as they can be. One node has 16 waiting for it and 32 of its own at most.
    pub fn max_mail(mut self, signals: usize) -> Self {
        self.max_mail = signals;
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

    pub(crate) fn listen_addrs(&self) -> Result<Vec<SocketAddr>, crate::error::StartError> {
        if self.listen.is_empty() {
            return Ok(vec![SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 8000))]);
        }
        self.listen
            .iter()
            .map(|text| {
                text.parse().map_err(|_| crate::error::StartError::BadAddress {
                    text: text.clone(),
                    why: "a server listens at IP:PORT, not at a name",
                })
            })
            .collect()
    }
}
