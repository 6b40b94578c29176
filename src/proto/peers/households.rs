//! How many outbound connections each household has: one address that a server lists with a hundred ports is not to be all that
//! a node knows of the network (an eclipse; Heilman et al., USENIX Security 2015, section 5).

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::proto::household::household;

/// Places taken, by household. Loopback, where everything of one machine meets, has no limit.
#[derive(Debug)]
pub(super) struct Households {
    most: usize,
    taken: BTreeMap<IpAddr, Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// By connections.
    places: usize,
    /// Candidates beyond the places that are left are nothing to wait for.
    waiting: usize,
}

impl Households {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, taken: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, ip: IpAddr) {
        self.taken.entry(household(ip)).or_default().places += 1;
    }

    pub(super) fn has_room(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.taken.get(&household(ip)).is_none_or(|taken| taken.places < self.most)
    }

    /// Counts one more that waits for a place, if there is one for it.
    pub(super) fn may_wait(&mut self, ip: IpAddr) -> bool {
        if ip.is_loopback() {
            return true;
        }
        let taken = self.taken.entry(household(ip)).or_default();
        let may = taken.places + taken.waiting < self.most;
        taken.waiting += usize::from(may);
        may
    }
}
