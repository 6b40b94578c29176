//! The simulator: nodes on a virtual network, under a virtual clock.
//!
//! What runs here are the production machines, [`Node`](crate::node::peer::Node) and
//! [`ServerNode`](crate::node::server::ServerNode), and the production [`Engine`](crate::node::engine::Engine) that
//! carries out what they ask for; a second model of either would prove nothing. Only what lies below is modelled:
//!
//! - [`network`]: computers, and TCP between them: delay, bandwidth, windows, refusals, silence, half-closes, resets,
//!   partitions, and computers that vanish; and two that dial each other.
//! - [`nat`]: what routers do to it.
//! - [`transport`]: its sockets as the engine uses them, the virtual [`Transport`](crate::node::transport::Transport).
//! - [`worker`]: the thread for what blocks: names, files, interfaces.
//! - [`driver`]: a node, its transport and the turns of its loop.
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
mod transport;
mod worker;
mod world;
