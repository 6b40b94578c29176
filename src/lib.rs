//! p2poll: peer-to-peer networking for programs that own their loop.

mod proto;
mod random;
mod time;
mod wire;
