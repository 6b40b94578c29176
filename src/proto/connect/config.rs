//! The limits of connecting.

use std::time::Duration;

/// See the settings of these names in [`Config`](crate::Config), which has their defaults and reasons.
#[derive(Clone, Debug)]
pub(crate) struct ConnectConfig {
    pub(crate) max_calls: usize,
    pub(crate) max_calls_per_minute: u32,
    pub(crate) connect_within: Duration,
    pub(crate) punch_time: Duration,
    pub(crate) upgrade_every: Duration,
    pub(crate) max_claimed_syns: u32,
    pub(crate) max_punch_syns: u32,
    pub(crate) use_relays: bool,
}
