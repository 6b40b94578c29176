//! The relays of this node's own configuration, where it goes because its user trusts them.
//!
//! A name among them is looked up at the start, and again when a relay is wanted and what is known has grown old: who wants
//! one then makes do with what is known, the next one profits.

use std::net::SocketAddr;
use std::time::Duration;

use crate::address::HostPort;
use crate::address::canonical;
use crate::time::Instant;

/// An address is looked up again after this, for those that move.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// Where none is known, after this.
const AGAIN: Duration = Duration::from_secs(10);

/// As many as the configuration names.
#[derive(Debug)]
pub(crate) struct OwnRelays(Vec<OwnRelay>);

#[derive(Debug)]
struct OwnRelay {
    target: HostPort,
    addr: Option<SocketAddr>,
    /// When its name was looked up last.
    asked: Option<Instant>,
}

impl OwnRelays {
    pub(crate) fn new(targets: impl IntoIterator<Item = HostPort>) -> Self {
        let relay = |target| {
            let addr = match target {
                HostPort::Address(addr) => Some(canonical(addr)),
                HostPort::Name { .. } => None,
            };
            OwnRelay { target, addr, asked: None }
        };
        Self(targets.into_iter().map(relay).collect())
    }

    /// Whether one of them is there.
    pub(crate) fn has(&self, addr: SocketAddr) -> bool {
        self.0.iter().any(|relay| relay.addr == Some(addr))
    }

    /// The one at this address, if there is one, or else the first, of those that `fit`.
    pub(crate) fn choose(
        &self,
        wished: Option<SocketAddr>,
        fits: impl Fn(SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let known = || self.0.iter().filter_map(|relay| relay.addr).filter(|&addr| fits(addr));
        known().find(|&addr| Some(addr) == wished).or_else(|| known().next())
    }

    /// The next name of which too little is known, and its place. Asked when a relay is wanted.
    pub(crate) fn poll_look_up(&mut self, now: Instant) -> Option<(usize, HostPort)> {
        let place = self.0.iter().position(|relay| relay.is_stale(now))?;
        self.0[place].asked = Some(now);
        Some((place, self.0[place].target.clone()))
    }

    /// `usable`: those of its addresses that may be dialled.
    pub(crate) fn handle_resolved(&mut self, place: usize, usable: impl Iterator<Item = SocketAddr>) {
        // Both ends have to be able to dial it, and more nodes have IPv4.
        let addr = usable.min_by_key(SocketAddr::is_ipv6);
        if let Some(relay) = self.0.get_mut(place) {
            relay.addr = addr.or(relay.addr);
        }
    }

    pub(crate) fn target(&self, place: usize) -> Option<&HostPort> {
        self.0.get(place).map(|relay| &relay.target)
    }
}

impl OwnRelay {
    fn is_stale(&self, now: Instant) -> bool {
        let lasts = if self.addr.is_some() { FRESH } else { AGAIN };
        let is_name = matches!(self.target, HostPort::Name { .. });
        is_name && self.asked.is_none_or(|asked| asked + lasts <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn relays(targets: &[&str]) -> OwnRelays {
        OwnRelays::new(targets.iter().map(|text| HostPort::parse(text).unwrap()))
    }

    #[test]
    fn a_name_is_looked_up_again_when_it_has_grown_old() {
        let mut relays = relays(&["192.0.2.1:1", "relay.example:2"]);
        let is_asked =
            |relays: &mut OwnRelays, seconds| relays.poll_look_up(at(seconds)).map(|(place, _)| place);
        assert_eq!(
            (is_asked(&mut relays, 0), is_asked(&mut relays, 0)),
            (Some(1), None),
            "an address is none"
        );
        assert_eq!(
            (is_asked(&mut relays, 9), is_asked(&mut relays, 10)),
            (None, Some(1)),
            "nothing is known"
        );
        relays.handle_resolved(1, [addr("192.0.2.2:2")].into_iter());
        assert_eq!((is_asked(&mut relays, 609), is_asked(&mut relays, 610)), (None, Some(1)));
        // What was known stays when it is not heard of again, and is looked up no sooner.
        relays.handle_resolved(1, std::iter::empty());
        assert!(relays.has(addr("192.0.2.2:2")));
        assert_eq!((is_asked(&mut relays, 1209), is_asked(&mut relays, 1210)), (None, Some(1)));
    }

    #[test]
    fn the_relay_that_was_wished_for_is_preferred() {
        let [first, second] = [addr("192.0.2.1:1"), addr("192.0.2.2:1")];
        let relays = relays(&["192.0.2.1:1", "relay.example:1", "192.0.2.2:1"]);
        for (wished, unfit, expected) in [
            (None, None, Some(first)),
            (Some(second), None, Some(second)),
            (Some(addr("192.0.2.3:1")), None, Some(first)),
            (Some(second), Some(second), Some(first)),
            (None, Some(first), Some(second)),
        ] {
            let chosen = relays.choose(wished, |addr| Some(addr) != unfit);
            assert_eq!(chosen, expected, "{wished:?} without {unfit:?}");
        }
        assert_eq!(relays.choose(None, |_| false), None);
    }

    #[test]
    fn of_a_name_with_both_the_ipv4_address_is_taken() {
        let mut relays = relays(&["relay.example:1"]);
        relays.handle_resolved(0, [addr("[2001:db8::1]:1"), addr("192.0.2.1:1")].into_iter());
        assert_eq!(relays.choose(None, |_| true), Some(addr("192.0.2.1:1")));
    }
}
