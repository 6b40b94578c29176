//! The driver of the ring's machine alone: thousands of them under a virtual clock, and the messages between them.
//!
//! - [`world`]: the machines, the clock, and what is done to members: joins, leaves, crashes, look-ups.
//! - [`queue`]: what happens when.
//! - [`network`]: how long messages take, and which do not arrive.
//! - [`census`]: who is a member and who was, known to nobody in the ring: which answers are right.
//! - [`ideal`]: rings that are in order from the beginning.
//! - [`monitor`]: Zave's invariant, after everything that happens.
//! - [`schedule`]: random histories of joins, crashes, leaves and restarts, for the monitor to look at.
//!
//! Everything random comes from one seed: the same seed is the same run, message by message.

pub(crate) mod census;
pub(crate) mod ideal;
pub(crate) mod monitor;
pub(crate) mod network;
pub(crate) mod queue;
pub(crate) mod schedule;
#[cfg(test)]
mod tests;
pub(crate) mod world;
