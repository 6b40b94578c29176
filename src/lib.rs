//! Peer-to-peer networking for programs that own their loop: games, tools, daemons, anything synchronous. No async
//! runtime, no callbacks from other threads, no call that waits unless you ask it to.
//!
//! > **The contract:** call [`connections()`](Net::connections) often, or [`poll`](Net::poll) when you want to sleep;
//! > nothing else ever waits.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let mut net = p2poll::Config::new().port(44444).rendezvous("rv.example.org:8000").start()?; // returns at once
//! loop {
//!     for con in net.connections() {
//!         for line in con.replies() {
//!             println!("{line}");
//!             con.send_line("got it").ok(); // full or gone: its end will be an event
//!             net.broadcast("news", con); // to everyone but the one it came from; None: to everyone
//!         }
//!     }
//!     net.poll(Some(Duration::from_millis(16)))?; // a game passes ZERO, or leaves this line out
//! }
//! # }
//! ```
//!
//! Those two calls drive everything: accepting, reading, writing, finding peers through rendezvous servers, replacing
//! lost ones, connecting to a node by its UNL through whatever NATs are between. What a connection carries is lines of text, so everything can be typed into and read from `nc`.
//!
//! # Where to look
//!
//! - [`Config`]: every setting and limit, with its default and the reason for it; [`Config::start`] makes a [`Net`].
//! - [`Net`]: the node. [`Net::connections`] and [`Net::ready`] walk over [`Con`]s, [`Con::replies`] over [`Line`]s.
//!   [`Con::for_each_line`] is for who only looks at lines, [`Con::send_lines`] for who sends many.
//! - [`ConId`]: how to remember a connection between walks.
//! - [`Event`]: what happened, for programs that want to know; the others may ignore it.
//! - [`Net::reach`]: whether and how others can reach the node, a [`Reach`]; [`Event::Reach`] tells of changes.
//! - [`Key`] and [`NodeId`]: who a node is. [`Unl`]: where it is, in one word that can be pasted; [`Net::unl`] gives one's
//!   own, and [`Net::connect`] connects to another's.
//! - [`Rendezvous`]: the server through which nodes find each other, to host in a loop of your own.
//!
//! # Two programs that find each other, in one
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use p2poll::{Config, RendezvousConfig};
//! use std::time::Duration;
//!
//! let mut server = RendezvousConfig::new().listen("127.0.0.1:0").start()?;
//! let config = Config::new().bind([127, 0, 0, 1].into()).rendezvous(server.local_addrs()[0].to_string());
//! let mut alice = config.clone().start()?;
//! let mut bob = config.start()?;
//!
//! let tick = Some(Duration::from_millis(5));
//! let mut heard = None;
//! for _ in 0..1000 {
//!     for con in alice.connections() {
//!         heard = con.replies().next().or(heard);
//!     }
//!     bob.broadcast("Hello, Alice!", None);
//!     server.poll(tick)?;
//!     alice.poll(tick)?;
//!     bob.poll(tick)?;
//!     if heard.is_some() {
//!         break;
//!     }
//! }
//! assert_eq!(heard.as_deref(), Some("Hello, Alice!"));
//! # Ok(())
//! # }
//! ```
//!
//! # Can others reach it?
//!
//! A node finds out by itself, in its loop, and tells each thing as soon as it is certain: [`Net::reach`] gives the
//! picture, `p2poll doctor` prints it with advice.
//!
//! - Its *addresses*: those of its interfaces, and the one at which its rendezvous servers see it.
//! - The *kind of its NAT*: ten short connections (or twenty, when the first ten leave a doubt) to two places where servers
//!   listen show which external ports the NAT gives them; see [`NatKind`]. None is made where a server sees that the
//!   address is not translated.
//! - Whether its *port is open*: it asks its servers to connect to it. A server connects to no address but the asker's
//!   own, says a fixed line, and believes only what proves that it was the asker who answered. The application sees
//!   nothing of that, and it takes no slot; while it is awaited, whoever else comes from the server's address is held back
//!   for a moment (a second at most) until it is clear who it is.
//! - A *port mapping*, when a server has found the port closed: the router is asked by UPnP and NAT-PMP (feature
//!   `gateway`, on by default; [`Config::port_mapping`] switches it off, and then not one packet is sent). It is renewed
//!   at half of its lease, made again when it is lost, and deleted when the [`Net`] stops.
//!
//! What all that amounts to is the [`NodeType`]: only a passive node is advertised. A node counts as passive until
//! something else is certain, so that nothing waits for all this. When the machine gets other addresses (a laptop that
//! moves), which is looked at every 20 seconds, and when a server is met again, it is found out anew.
//!
//! # Connecting to a node by its UNL
//!
//! [`Net::unl`] is a word that says who a node is and how it can be reached; [`Net::connect`] takes such a word, and the
//! outcome is a connection or the reasons why there is none. It climbs a ladder of [`Rung`]s, the cheap ones side by side:
//!
//! 1. *existing*: a connection to that node that is there already.
//! 2. *lan*: its addresses in the same network or on the same computer, when a rendezvous server sees both at one address.
//! 3. *direct*: its public, forwarded or mapped port.
//! 4. *reverse*: it is called through a rendezvous server, and connects to us.
//! 5. *punch*: TCP hole punching. Each side shows a port of its own to a server, tells the other how it was seen, and at an
//!    instant that the two agree on by the times of their signals both dial; where a NAT counts its ports, those that come
//!    next are dialled.
//! 6. *relay*: the rendezvous server passes the bytes on, or a node that [does so](Config::relay_for_others) and that the one
//!    who is called [has chosen](Config::relay_through), within limits that [`Con::relay`] tells. Meanwhile a direct way is
//!    looked for ([`Config::upgrade_every`]); when there is one the connection goes that way, without losing or
//!    reordering a line ([`Event::Upgraded`]).
//!
//! Calls wait a minute at the server for a node that is not there yet, so it does not matter who starts first. Two nodes
//! that connect to each other at the same time end up with one connection. The connection of a version 3 UNL is a *node
//! link*: both ends prove their ids by a `~hello`, which [`Con::node_id`] tells; everything else is lines as ever, and lines
//! that begin with `~` are escaped on the way. pyp2p's peers are connected to by version 2 UNLs ([`Net::unl_version2`] is our
//! own), and prove nothing.
//!
//! **Nobody aims a node at a third party.** Addresses that are merely claimed, by a UNL, a peer or a server that only a UNL
//! names, get [`Config::max_claimed_syns`] SYNs a minute; to dial fast and often, as punching has to, takes an address
//! that a rendezvous server of the node's own choice has seen the proven peer at.
//!
//! # How it is built
//!
//! Folders are layers, and each uses only those before it (`tests/house.rs` says which, and sees to it):
//!
//! - *values* (`address`, `id`, `time`, `random`, `text`, `error`, `event`, `config`, `connect`, `note`, `reach`, `gateway`,
//!   `job`, `socket`, `identity`, `unl`): ids, limits, typed errors, keys. Time and randomness are values too.
//! - `wire`: bytes to values and back: lines, addresses, the rendezvous protocol, probes, hellos, what a node link puts between
//!   the application's lines, signals between nodes, letters of a ring.
//! - `proto`: state machines, each with `handle_*(.., now)` in, `poll_*()` out and `poll_timeout()`. `stream`: what arrived,
//!   what is queued, how it ends, and the framing and credit of node links. `links`: who is at the other end of a stream, and
//!   which of two connections to the same node stays. `connect`: the calls of connecting by UNL, with their ladder, punches and
//!   relays. `rendezvous`: client and server. `attempts`, `dial`, `resolve`, `peers`, `inbound`, `admission`: the plain p2p
//!   network. `nat`, `reach`, `mapping`: how the node can be reached. `budget`: what may be dialled because somebody said so.
//!   `ring`: Chord, which no node is in yet (`docs/ring.md`).
//! - `node`: the machines put together: the peer behind [`Net`], the server behind [`Rendezvous`]; and the engine, which
//!   carries out what they ask for on a transport that it is given. The peer's rooms work on what they share (`peer/core`: streams,
//!   connections, identity) and queue what they want of each other (`peer/effect`); one place hands that on (`peer/route`).
//! - `io`: the only code that touches the operating system: sockets, clock, randomness, and threads for what blocks by
//!   nature: one worker for host names, interfaces and a small file; and while a router is asked one for each
//!   question, at most six, as routers may take long to answer. Nothing of the application runs there.
//! - `sim` (tests only): a virtual transport, under the same engine and nodes, with a virtual clock.
//! - `net`: the facade that joins `node` and `io`.
//!
//! Three ways through it, each step in the file that is named for it:
//!
//! - *A line in*: `io/sockets`, `node/engine`, `node/streams`, `proto/stream/inbox` (of a node link by way of `framing`); and out
//!   by `net/walk` and `net/connection`, the batch of lines that is read, to `for line in con.replies()`.
//! - *A `connect`*: `node/peer/requests`, `proto/connect` (`connector`, `ladder`, `rungs` or `punch`), `node/peer/connect`,
//!   which dials; `proto/links/handshakes` proves who is there, and `node/peer/arrivals` shows it: [`Event::Connected`].
//! - *A signal*: `proto/connect` says what, `node/peer/route` signs it, `node/peer/servers` hands it to `proto/rendezvous/client`;
//!   the server's `mailbox` or its recipient's connection takes it; there it comes in by `node/peer/servers/events`.
//!
//! # What nobody can do to you
//!
//! Nothing that a peer or a server sends makes a call wait, loop or panic, or makes memory grow beyond the limits of
//! [`Config`]. A peer that floods gets a bounded share of each tick; one that does not read fills its own queue and no
//! other; one that never ends its line is closed. Lines are not encrypted, and only node links prove who is there: treat what
//! arrives as what a stranger says, and show it by [`harmless`].
//!
//! # Platforms
//!
//! Linux is where it is tested. It is written for every unix and for Windows; what differs there:
//!
//! - The file descriptor of a [`Net`] (`AsFd`, `AsRawFd`, `mio::event::Source`) exists on unix only. Elsewhere call it
//!   from your loop with [`Net::poll`] and a timeout.
//! - A peer that vanishes while data is under way to it is noticed after [`Config::dead_after`] on Linux and Android; on
//!   other systems it takes as long as they retransmit, up to a quarter of an hour.
//! - Where the system has no sockets of both families in one, a node that listens at all addresses listens at IPv4's.

mod address;
mod config;
mod connect;
mod error;
mod event;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
#[cfg(all(test, not(fuzzing)))]
mod fuzz;
mod gateway;
mod id;
mod identity;
mod io;
mod job;
mod net;
mod node;
mod note;
mod proto;
mod random;
mod reach;
#[cfg(test)]
mod sim;
mod socket;
mod text;
mod time;
mod unl;
mod wire;

/// The README's programs compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use config::{Config, LineEnd, PortMapping, RelayOffer, RendezvousConfig};
pub use connect::{
    Connect, Progress, Refusal, RelayLimits, RelayRefusal, Rung, RungFault, Rungs, TargetError, Tried,
};
pub use error::{CloseReason, ConnectError, FailReason, SendError, StartError};
pub use event::{Event, RendezvousNews, ServerFault, Via};
pub use id::{AttemptId, ConId, Except};
pub use identity::{Key, KeyError, KeyFault, NodeId, NodeIdError, PublicKey};
pub use net::{Con, Connections, Events, Net, Rendezvous, Replies, ServerStats, Stats};
pub use reach::{
    Doubt, LanAddress, Mapping, MappingFault, MappingProtocol, Nat, NatKind, NodeType, Reach, Reachability,
    ServerKind, ServerSight,
};
pub use text::harmless;
pub use unl::{Forwarding, Oddity, Place, Unl, UnlAddress, UnlBuilder, UnlError};
pub use wire::line::{Line, LineRef};
