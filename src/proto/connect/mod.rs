//! Connecting by UNL: calls of ours, and other nodes' to us.
//!
//! A *call* is an attempt to reach a node. The one who calls climbs the [`Ladder`](ladder::Ladder), which says what is tried
//! when; the one who is called does what it is asked, as far as it wants. The machine opens no streams, sends no signals and
//! shakes no hands: it says what is to be done, and is told what came of it.
//!
//! - [`connector`]: all calls together, and what comes in: from the application, of streams, of links, by way of servers.
//! - [`call`]: one call, that is what is known of it (`info`), its `ways`, and our part in it: `caller`, `callee`, or
//!   `responder` in a meeting of pyp2p's.
//! - The ways: `rungs` that are plain dials, `punching` with the `observation` before it, `relaying`. Each answers with values,
//!   which the part decides on.
//! - Machines below those, which know of no call: the `ladder`, one `punch`, and when a `meeting` of pyp2p's takes place.
//! - What is seen of the rest of the node: `surroundings`, and what the calls share: `context`.
//! - What is remembered beyond one call: `table`, `rate`, `remembered`, `announced`, `upgrades`.

mod action;
mod announced;
mod call;
mod callee;
mod caller;
mod config;
mod connector;
mod context;
mod facts;
mod info;
mod ladder;
mod meeting;
mod observation;
mod punch;
mod punching;
mod rate;
mod relaying;
mod remembered;
mod responder;
mod rungs;
mod surroundings;
mod table;
mod upgrades;
mod ways;

pub(crate) use action::{ConnectAction, ConnectEvent, DialId, Handshake, OutgoingSignal, Waiter};
pub(crate) use config::ConnectConfig;
pub(crate) use connector::Connector;
pub(crate) use rungs::time_of;
pub(crate) use surroundings::{LinkView, Local, RelayView, ServerView, Surroundings};
