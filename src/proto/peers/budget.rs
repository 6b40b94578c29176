//! How many dials a minute allows: whoever lists addresses to us must not be able to aim us.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::{MINUTE, PeersConfig};
use crate::time::Instant;

/// What the last minute's dials leave for this moment.
pub(super) struct Budget<'a> {
    config: &'a PeersConfig,
    used: usize,
    by_address: BTreeMap<SocketAddr, usize>,
    by_ip: BTreeMap<IpAddr, usize>,
    /// When there may be more.
    pub(super) renewed: Option<Instant>,
}

impl<'a> Budget<'a> {
    pub(super) fn new(dials: &VecDeque<(Instant, SocketAddr)>, config: &'a PeersConfig) -> Self {
        let (mut by_address, mut by_ip) = (BTreeMap::new(), BTreeMap::new());
        for (_, address) in dials {
            *by_address.entry(*address).or_default() += 1;
            *by_ip.entry(address.ip()).or_default() += 1;
        }
        let renewed = dials.front().map(|&(at, _)| at + MINUTE);
        Self { config, used: dials.len(), by_address, by_ip, renewed }
    }

    pub(super) fn allows(&self, address: SocketAddr) -> bool {
        let to_address = self.by_address.get(&address).copied().unwrap_or(0);
        let to_ip = self.by_ip.get(&address.ip()).copied().unwrap_or(0);
        self.used < self.config.dials_per_minute
            && to_address < self.config.dials_per_address
            && (to_ip < self.config.dials_per_ip || address.ip().is_loopback())
    }
}
