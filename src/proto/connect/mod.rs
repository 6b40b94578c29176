//! Connecting by UNL: calls of ours, and other nodes' to us.

mod rate;
mod remembered;
mod upgrades;

pub(crate) use rate::CallRate;
pub(crate) use remembered::Remembered;
pub(crate) use upgrades::Upgrades;
