//! When a direct way is looked for in place of a relay: some time after the link has come about, and after twice as long
//! each time that none was found.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::ConId;
use crate::time::Instant;

/// A direct way is looked for at least so often, as long as there is none.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The relayed links that came about by calls of ours: one entry for each. The other side of such a link does not look, as
/// both would only be in each other's way.
#[derive(Debug)]
pub(crate) struct Upgrades {
    /// The first pause; zero: none is ever looked for.
    every: Duration,
    links: BTreeMap<ConId, Relayed>,
    due: BTreeSet<(Instant, ConId)>,
}

#[derive(Clone, Copy, Debug)]
struct Relayed {
    pause: Duration,
    /// `None` while a way is being looked for.
    at: Option<Instant>,
}

impl Upgrades {
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, links: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// A relayed link has come about by a call of ours.
    pub(crate) fn handle_relayed(&mut self, link: ConId, now: Instant) {
        if !self.every.is_zero() {
            self.forget(link);
            self.wait(link, self.every, now);
        }
    }

    /// It goes another way now, or has ended.
    pub(crate) fn forget(&mut self, link: ConId) {
        if let Some(Relayed { at: Some(at), .. }) = self.links.remove(&link) {
            self.due.remove(&(at, link));
        }
    }

    /// No way was found, or there was no time to look for one.
    pub(crate) fn postpone(&mut self, link: ConId, now: Instant) {
        if let Some(relayed) = self.links.get(&link).copied() {
            self.forget(link);
            self.wait(link, (relayed.pause * 2).min(LONGEST_PAUSE), now);
        }
    }

    /// The next one for which a way is to be looked for now.
    pub(crate) fn poll_due(&mut self, now: Instant) -> Option<ConId> {
        let &(at, link) = self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, link));
        if let Some(relayed) = self.links.get_mut(&link) {
            relayed.at = None;
        }
        Some(link)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    fn wait(&mut self, link: ConId, pause: Duration, now: Instant) {
        let at = now + pause;
        self.links.insert(link, Relayed { pause, at: Some(at) });
        self.due.insert((at, link));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(number: u64) -> ConId {
        ConId::new(1, number as u32, number)
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// When it is looked for, and found in vain at once, up to an instant.
    fn looked(upgrades: &mut Upgrades, end: u64) -> Vec<u64> {
        let mut all = Vec::new();
        while let Some(due) = upgrades.poll_timeout().filter(|&due| due <= at(end)) {
            while let Some(link) = upgrades.poll_due(due) {
                all.push(due.since_origin().as_secs());
                assert_eq!(upgrades.poll_due(due), None, "it is being looked for");
                upgrades.postpone(link, due);
            }
        }
        all
    }

    #[test]
    fn each_failure_doubles_the_pause_up_to_an_hour() {
        let mut upgrades = Upgrades::new(Duration::from_secs(30));
        upgrades.handle_relayed(link(1), at(0));
        let all = looked(&mut upgrades, 40_000);
        let gaps: Vec<u64> = all.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(all[0], 30);
        assert_eq!(gaps[..8], [60, 120, 240, 480, 960, 1920, 3600, 3600]);
    }

    #[test]
    fn what_is_over_is_looked_for_no_more() {
        let mut upgrades = Upgrades::new(Duration::from_secs(30));
        upgrades.handle_relayed(link(1), at(0));
        upgrades.handle_relayed(link(2), at(1));
        upgrades.forget(link(1));
        assert_eq!((upgrades.poll_due(at(30)), upgrades.poll_timeout()), (None, Some(at(31))));
        assert_eq!(upgrades.poll_due(at(31)), Some(link(2)));
        // It has ended while a way was looked for, which comes to nothing later.
        upgrades.forget(link(2));
        upgrades.postpone(link(2), at(40));
        assert_eq!((upgrades.poll_timeout(), upgrades.links.len(), upgrades.due.len()), (None, 0, 0));
    }

    #[test]
    fn never_is_never() {
        let mut upgrades = Upgrades::new(Duration::ZERO);
        upgrades.handle_relayed(link(1), at(0));
        assert!(looked(&mut upgrades, 1_000_000).is_empty());
    }
}
