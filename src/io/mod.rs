//! The operating system: the only code that reads a clock, opens sockets or starts a thread.
//!
//! It makes no decisions about the protocol; it carries out and reports.
#![allow(clippy::disallowed_methods, reason = "this is the place that the guards point to")]

mod clock;
mod draft;
mod entropy;
pub(crate) mod gateway;
mod interfaces;
mod key_file;
mod listener;
mod sockets;
mod worker;

pub(crate) use clock::Clock;
pub(crate) use entropy::seed;
pub(crate) use gateway::GatewayDesk;
pub(crate) use interfaces::at_interface;
pub(crate) use listener::Entrance;
pub(crate) use sockets::{Progress, Sockets, Stream, kind_of};
pub(crate) use worker::Worker;
