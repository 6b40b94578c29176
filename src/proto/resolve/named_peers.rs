//! Peers that the configuration gives by name: each is looked up until it has an address, ever more seldom.

use std::time::Duration;

use crate::address::HostPort;
use crate::proto::backoff::Backoff;
use crate::random::Random;
use crate::time::Instant;

/// A name that could not be looked up is tried again after this, doubling.
const FIRST: Duration = Duration::from_secs(5);
const MOST: Duration = Duration::from_secs(10 * 60);

/// As many as the configuration names.
#[derive(Debug)]
pub(crate) struct NamedPeers {
    all: Vec<NamedPeer>,
    random: Random,
}

#[derive(Debug)]
struct NamedPeer {
    target: HostPort,
    /// When it is to be looked up; `None` while that is under way, or done.
    due: Option<Instant>,
    backoff: Backoff,
}

impl NamedPeers {
    pub(crate) const fn new(random: Random) -> Self {
        Self { all: Vec::new(), random }
    }

    /// One more, to be looked up now.
    pub(crate) fn add(&mut self, target: HostPort, now: Instant) {
        self.all.push(NamedPeer { target, due: Some(now), backoff: Backoff::new(FIRST, MOST) });
    }

    /// The next that is to be looked up, and its place; `handle_failed` says if that came to nothing.
    pub(crate) fn poll_look_up(&mut self, now: Instant) -> Option<(usize, HostPort)> {
        let is_due = |peer: &NamedPeer| peer.due.is_some_and(|due| due <= now);
        let place = self.all.iter().position(is_due)?;
        self.all[place].due = None;
        Some((place, self.all[place].target.clone()))
    }

    /// It has no address: who it is, and after how long it is looked up again.
    pub(crate) fn handle_failed(&mut self, place: usize, now: Instant) -> Option<(&HostPort, Duration)> {
        let peer = self.all.get_mut(place)?;
        let wait = peer.backoff.next(&mut self.random);
        peer.due = Some(now + wait);
        Some((&peer.target, wait))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.all.iter().filter_map(|peer| peer.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_until_it_has_an_address() {
        let name = |text: &str| HostPort::parse(text).unwrap();
        let mut now = Instant::from_nanos(1);
        let mut peers = NamedPeers::new(Random::from_number(1));
        assert_eq!(peers.poll_timeout(), None);
        peers.add(name("a.example:1"), now);
        peers.add(name("b.example:2"), now);
        assert_eq!(peers.poll_timeout(), Some(now));
        assert_eq!(peers.poll_look_up(now), Some((0, name("a.example:1"))));
        assert_eq!(peers.poll_look_up(now), Some((1, name("b.example:2"))));
        // Of the second one nothing more is heard: it has its address.
        for seconds in [5, 10, 20, 40, 80, 160, 320, 600, 600] {
            assert_eq!((peers.poll_look_up(now), peers.poll_timeout()), (None, None), "it is under way");
            let (target, wait) = peers.handle_failed(0, now).unwrap();
            assert_eq!(*target, name("a.example:1"));
            let middle = Duration::from_secs(seconds);
            assert!(middle * 3 / 4 <= wait && wait <= middle * 5 / 4, "{wait:?} around {middle:?}");
            assert_eq!(peers.poll_timeout(), Some(now + wait));
            assert_eq!(peers.poll_look_up(now), None, "too early");
            now = now + wait;
            assert_eq!(peers.poll_look_up(now), Some((0, name("a.example:1"))));
        }
        assert_eq!(peers.handle_failed(2, now), None, "there is none");
    }
}
