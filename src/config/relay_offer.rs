//! What a node is ready to do for others that can not reach each other.

use std::time::Duration;

/// Within which limits a node relays for others; see [`Config::relay_for_others`](crate::Config::relay_for_others).
///
/// ```
/// # fn main() -> Result<(), p2poll::StartError> {
/// use p2poll::{Config, RelayOffer};
///
/// let offer = RelayOffer::new().max_relays(2).bytes(1 << 20);
/// let net = Config::new().bind([127, 0, 0, 1].into()).relay_for_others(offer).start()?;
/// assert!(net.is_empty(), "those that it relays are no connections of its own");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RelayOffer {
    pub(crate) max_relays: usize,
    pub(crate) max_relays_per_node: usize,
    pub(crate) max_relays_per_address: usize,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
    pub(crate) rate: u64,
    pub(crate) idle: Duration,
}

impl Default for RelayOffer {
    fn default() -> Self {
        Self {
            max_relays: 8,
            max_relays_per_node: 2,
            max_relays_per_address: 4,
            bytes: 256 << 20,
            time: Duration::from_secs(3600),
            rate: 256 << 10,
            idle: Duration::from_secs(5 * 60),
        }
    }
}

/// What one relay may carry is announced to both ends; reaching it ends that relay, and its ends are told why.
impl RelayOffer {
    /// The defaults, which fit a program at home on a line of some megabits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Relays at once, at least 1. Defaults to 8: with the default rate they take 4 MiB a second at worst, in and out each, and
    /// 16 sockets.
    pub fn max_relays(mut self, relays: usize) -> Self {
        self.max_relays = relays;
        self
    }

    /// Relays at once of one node. Defaults to 2: one that runs, and one that takes its place.
    pub fn max_relays_per_node(mut self, relays: usize) -> Self {
        self.max_relays_per_node = relays;
        self
    }

    /// Ends of relays at once at one address (of IPv6: one /64 network), loopback excepted. Defaults to 4: keys are free,
    /// addresses are not, and one household is not to take all places.
    pub fn max_relays_per_address(mut self, ends: usize) -> Self {
        self.max_relays_per_address = ends;
        self
    }

    /// How many bytes one relay carries, both directions together, before it is ended; 0: without limit. Defaults to 256 MiB: a
    /// long evening of a game or a conversation, and no film.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// How long one relay lasts, in whole seconds; zero: without limit. Defaults to an hour: who still needs it then asks
    /// again, and may have found a better way.
    pub fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// How many bytes a second one relay carries in each direction, after a second's worth at once; 0: without limit.
    /// Defaults to 256 KiB: enough for voice and games, and little of a line on which somebody wants to do something else.
    pub fn rate(mut self, bytes: u64) -> Self {
        self.rate = bytes;
        self
    }

    /// How long nothing may go through a relay before it is ended. At least a second; defaults to 5 minutes: longer than the
    /// signs of life of usual protocols are apart.
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.max_relays == 0 {
            return Err("an offer to relay for others has at least one relay");
        }
        if self.time.subsec_nanos() != 0 {
            return Err("the time of a relay must be a whole number of seconds");
        }
        if self.idle < Duration::from_secs(1) {
            return Err("the idle time of a relay must be at least a second");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn an_offer_that_contradicts_itself_is_none() {
        let check = |offer: RelayOffer| Config::new().relay_for_others(offer).check();
        let offer = RelayOffer::new;
        assert_eq!(check(offer()), Ok(()));
        assert_eq!(check(offer().bytes(0).time(Duration::ZERO).rate(0)), Ok(()), "without limits");
        assert!(check(offer().max_relays(0)).is_err());
        assert!(check(offer().time(Duration::from_millis(1500))).is_err());
        assert!(check(offer().idle(Duration::from_millis(999))).is_err());
    }

    #[test]
    fn relays_of_ones_own_are_few() {
        let many = |count| (0..count).fold(Config::new(), |config, _| config.relay_through("192.0.2.1:6000"));
        assert_eq!(many(Config::MAX_RELAYS_THROUGH).check(), Ok(()));
        assert!(many(Config::MAX_RELAYS_THROUGH + 1).check().is_err());
    }
}
