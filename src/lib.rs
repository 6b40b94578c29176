//! p2poll: peer-to-peer networking for programs that own their loop.

mod config;
mod error;
mod event;
mod id;
mod io;
mod node;
mod note;
mod proto;
mod random;
mod time;
mod wire;
