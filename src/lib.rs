//! p2poll: peer-to-peer networking for programs that own their loop.

mod con;
mod config;
mod error;
mod event;
mod id;
mod io;
mod net;
mod node;
mod note;
mod proto;
mod random;
#[cfg(test)]
mod sim;
mod time;
mod wire;

pub use con::{Con, Replies, Stats};
pub use config::{Config, LineEnd, NodeType, RendezvousConfig};
pub use error::{CloseReason, ConnectError, FailReason, SendError, StartError};
pub use event::{Event, RendezvousNews, ServerFault, ServerKind, Via};
pub use id::{AttemptId, ConId, Except};
pub use net::{Connections, Events, Net, Rendezvous, ServerStats};
pub use wire::line::Line;
