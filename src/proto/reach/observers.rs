//! When the NAT is surveyed, and from where it is observed.

use std::net::SocketAddr;

use super::sight::Sight;
use super::{Finder, FinderAction, SECOND_SERVER, SurveyState};
use crate::time::Instant;

/// So many places that did not answer are remembered.
const MAX_DISTRUSTED: usize = 32;

impl Finder {
    pub(super) fn work_on_nat(&mut self, now: Instant) {
        if self.settings.nat.is_some() || self.translated() == Some(false) {
            return;
        }
        let observers = self.observers();
        if let SurveyState::Done { again_at, observers: before } = self.survey
            && (again_at.is_some_and(|at| at <= now) || before < 2 && observers.len() == 2)
        {
            self.survey = SurveyState::Due;
        }
        let is_due = matches!(self.survey, SurveyState::Due) && self.survey_at().is_some_and(|at| at <= now);
        if is_due && !observers.is_empty() {
            self.survey_after = Some(now + self.survey_pace.next(&mut self.random));
            self.survey = SurveyState::UnderWay { observers: observers.clone() };
            self.actions.push(FinderAction::Survey { observers });
        }
    }

    /// Those that did not answer are not asked again, if it was only a server that named them: they may be somebody whom
    /// it wants to be bothered.
    pub(super) fn distrust(&mut self, observers: &[SocketAddr]) {
        let own: Vec<SocketAddr> = self.sights.iter().filter_map(|sight| sight.addr).collect();
        let named = observers.iter().filter(|addr| !own.contains(addr) && !self.distrusted.contains(addr));
        let named: Vec<SocketAddr> = named.copied().collect();
        self.distrusted.extend(named);
        let excess = self.distrusted.len().saturating_sub(MAX_DISTRUSTED);
        self.distrusted.drain(..excess);
    }

    /// When the survey is to begin: at once with two servers, else a moment after the first has said who else observes.
    pub(super) fn survey_at(&self) -> Option<Instant> {
        if self.settings.nat.is_some() || self.translated() == Some(false) {
            return None;
        }
        let since = self.sights.iter().filter_map(|sight| sight.up_since).min()?;
        let all_here = self.sights.iter().all(Sight::is_settled);
        let ready = if all_here || self.has_two_servers() { since } else { since + SECOND_SERVER };
        Some(self.survey_after.map_or(ready, |after| after.max(ready)))
    }

    fn has_two_servers(&self) -> bool {
        matches!(self.observers()[..], [a, b] if a.ip() != b.ip())
    }

    /// Two places to be observed from, as different as there are; IPv4 where there is any, as that is what NATs translate.
    pub(super) fn observers(&self) -> Vec<SocketAddr> {
        let up = || self.outside().filter(|sight| sight.is_up());
        let Some(first) = up().filter_map(|sight| sight.addr).min_by_key(SocketAddr::is_ipv6) else {
            return Vec::new();
        };
        let named = up().flat_map(Sight::elsewhere).filter(|addr| !self.distrusted.contains(addr));
        let others = up().filter_map(|sight| sight.addr).chain(named);
        let fits =
            |addr: &SocketAddr| addr.is_ipv4() == first.is_ipv4() && *addr != first && !self.is_own(*addr);
        let others = others.filter(fits);
        let second = others.min_by_key(|addr| addr.ip() == first.ip());
        std::iter::once(first).chain(second).collect()
    }

    /// Whether it is where this node is reached: a server that names it as its own place would have us ask ourselves.
    fn is_own(&self, addr: SocketAddr) -> bool {
        let Some(listening) = self.listening else { return false };
        let ip = addr.ip();
        let here = |end: Option<SocketAddr>| end.is_some_and(|end| end.ip() == ip);
        let loopback = ip.is_loopback() && listening.ip().is_unspecified();
        let is_ours = loopback
            || self.lan.addresses.iter().any(|lan| lan.address == ip)
            || self.sights.iter().any(|sight| here(sight.local) || here(sight.seen))
            || here(self.external());
        is_ours && (addr.port() == listening.port() || Some(addr.port()) == self.public_port())
    }
}
