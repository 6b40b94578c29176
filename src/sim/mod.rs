//! The simulator: the other driver of nodes, with a virtual clock and virtual links instead of sockets.
//!
//! What runs here are the production machines, [`Node`](crate::node::peer::Node) and
//! [`ServerNode`](crate::node::server::ServerNode), through the same trait [`Host`](crate::node::Host) through which
//! the sockets drive them; a second model of the protocol would prove nothing. Only what lies below the machines is
//! modelled:
//!
//! - [`network`]: computers, and TCP between them: delay, bandwidth, windows, refusals, silence, half-closes, resets,
//!   partitions, and computers that vanish; and two that dial each other.
//! - [`nat`]: what routers do to it.
//! - [`driver`]: the calls of `net::engine`, in its order.
//! - [`world`]: programs on computers, each running once in a frame of its own when there is something to do.
//! - [`script`]: programs that are no nodes: servers that talk nonsense, and somebody with netcat.
//!
//! The ring's machine has a driver of its own, [`ring`], for thousands of members.
//!
//! The clock jumps from one happening to the next, so a day takes seconds. Everything random comes from one seed: the
//! same seed gives the same run, down to the last packet. A test that fails prints its seed; `P2POLL_SIM_SEED=n` runs
//! only that one, `P2POLL_SIM_SEEDS=n` tries so many, and `P2POLL_SIM_TRACE=1` prints every packet.
//!
//! It is for the tests of this crate. As a public module it would need a facade like `Net`'s over its nodes.

mod driver;
mod nat;
mod network;
#[expect(dead_code, reason = "the experiments use the rest of it")]
mod ring;
mod script;
mod tests;
mod world;
