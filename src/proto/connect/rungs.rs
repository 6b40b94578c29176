//! The dials of the rungs that are plain dials: addresses of the other side, all at once.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::action::DialId;
use super::context::Context;
use crate::connect::{Rung, RungFault};
use crate::id::CallId;
use crate::proto::budget::Class;
use crate::time::{Instant, soonest};

/// How long a dial may take. The kernel repeats a SYN after a second, and after another one at the earliest (RFC 6298
/// section 2; Linux since 6.5 begins with waits of the same length), so that three leave at most.
pub(super) const DIAL_TIME: Duration = Duration::from_millis(2500);

/// In one network nothing takes long; and where there are two that look alike, nobody answers.
const LAN_TIME: Duration = Duration::from_millis(900);

/// SYNs of one dial that is not answered.
pub(super) const SYNS: u32 = 3;

/// How long a dial may go on so that no more SYNs leave for it.
pub(crate) fn time_of(syns: u32) -> Duration {
    Duration::from_secs(syns.into()).saturating_sub(Duration::from_millis(100)).min(DIAL_TIME)
}

/// Those of one call: as many as the other side's UNL has addresses, for each rung.
#[derive(Debug, Default)]
pub(super) struct RungDials {
    dialling: BTreeMap<DialId, RungDial>,
    /// It is being found out who is there.
    connected: BTreeMap<DialId, Rung>,
    /// What the addresses said that are over.
    faults: Vec<(Rung, RungFault)>,
}

/// One address that is being dialled.
#[derive(Clone, Copy, Debug)]
struct RungDial {
    rung: Rung,
    to: SocketAddr,
    until: Instant,
    syns: u32,
}

impl RungDials {
    /// Dials the addresses of a rung, as far as the budget goes.
    pub(super) fn dial(
        &mut self,
        call: CallId,
        rung: Rung,
        addresses: Vec<SocketAddr>,
        cx: &mut Context<'_, '_>,
    ) {
        let mut refused = false;
        for to in addresses {
            let (time, syns) = if rung == Rung::Lan { (LAN_TIME, 1) } else { (DIAL_TIME, SYNS) };
            let syns = syns.min(cx.config().max_claimed_syns);
            let until = cx.now + time.min(time_of(syns));
            if cx.take(to, Class::Claimed, syns) {
                let dial = cx.dial(call, to, None);
                self.dialling.insert(dial, RungDial { rung, to, until, syns });
            } else {
                refused = true;
            }
        }
        if refused {
            self.faults.push((rung, RungFault::Budget));
        }
    }

    /// Of which rung it was; then the caller sees who is there.
    pub(super) fn handle_connected(&mut self, dial: DialId, cx: &mut Context<'_, '_>) -> Option<Rung> {
        let connected = self.dialling.remove(&dial)?;
        // One was enough; should it turn out to be somebody else's, that one still counts.
        cx.give_back(connected.to, Class::Claimed, connected.syns.saturating_sub(1));
        self.connected.insert(dial, connected.rung);
        Some(connected.rung)
    }

    /// Of which rung it was.
    pub(super) fn handle_failed(
        &mut self,
        dial: DialId,
        kind: io::ErrorKind,
        cx: &mut Context<'_, '_>,
    ) -> Option<Rung> {
        let failed = self.dialling.remove(&dial)?;
        if kind != io::ErrorKind::TimedOut {
            cx.give_back(failed.to, Class::Claimed, failed.syns.saturating_sub(1));
        }
        self.faults.push((failed.rung, RungFault::Unreachable(vec![(failed.to, kind)])));
        Some(failed.rung)
    }

    /// A connection turned out not to be the node.
    pub(super) fn handle_handshake_failed(&mut self, dial: DialId, why: RungFault) -> Option<Rung> {
        let rung = self.connected.remove(&dial)?;
        self.faults.push((rung, why));
        Some(rung)
    }

    /// The rungs of which something is over.
    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_, '_>) -> Vec<Rung> {
        let due = |dial: &RungDial| dial.until <= cx.now;
        let over: Vec<DialId> =
            self.dialling.iter().filter(|(_, dial)| due(dial)).map(|(&id, _)| id).collect();
        let end = |dial: DialId| {
            cx.abandon(dial);
            self.handle_failed(dial, io::ErrorKind::TimedOut, cx)
        };
        over.into_iter().filter_map(end).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.dialling.values().fold(None, |earliest, dial| soonest(earliest, Some(dial.until)))
    }

    /// What the rung came to, when none of its addresses is under way any more.
    pub(super) fn outcome(&self, rung: Rung) -> Option<RungFault> {
        let is_awaited = self.dialling.values().any(|dial| dial.rung == rung)
            || self.connected.values().any(|&other| other == rung);
        (!is_awaited).then(|| summary(self.faults.iter().filter(|(of, _)| *of == rung).map(|(_, why)| why)))
    }

    /// It is somebody else's now.
    pub(super) fn release(&mut self, dial: DialId) {
        self.connected.remove(&dial);
    }

    /// What is not even connected is given up.
    pub(super) fn give_up(&mut self, cx: &mut Context<'_, '_>) {
        for dial in std::mem::take(&mut self.dialling).into_keys() {
            cx.abandon(dial);
        }
    }

    pub(super) fn end(&mut self, cx: &mut Context<'_, '_>) {
        self.give_up(cx);
        for dial in std::mem::take(&mut self.connected).into_keys() {
            cx.abandon(dial);
        }
    }
}

/// What the addresses of a rung said together: who they are counts more than that they were not there.
fn summary<'a>(faults: impl Iterator<Item = &'a RungFault>) -> RungFault {
    let mut unreachable = Vec::new();
    let mut other = None;
    for fault in faults {
        match fault {
            RungFault::Unreachable(tried) => unreachable.extend(tried.iter().copied()),
            RungFault::WrongNode(_) => other = Some(fault.clone()),
            _ => other = other.or_else(|| Some(fault.clone())),
        }
    }
    other.unwrap_or(RungFault::Unreachable(unreachable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_there_says_more_of_a_rung_than_that_nobody_is() {
        let addr = |host: u8| SocketAddr::from(([203, 0, 113, host], 9));
        let refused = |host| RungFault::Unreachable(vec![(addr(host), io::ErrorKind::ConnectionRefused)]);
        let both = RungFault::Unreachable(vec![
            (addr(1), io::ErrorKind::ConnectionRefused),
            (addr(2), io::ErrorKind::ConnectionRefused),
        ]);
        let cases = [
            (vec![], RungFault::Unreachable(vec![])),
            (vec![refused(1), refused(2)], both),
            (vec![refused(1), RungFault::Budget], RungFault::Budget),
            (vec![RungFault::Silent(addr(1)), RungFault::WrongNode(addr(2))], RungFault::WrongNode(addr(2))),
            (vec![RungFault::WrongNode(addr(2)), RungFault::Silent(addr(1))], RungFault::WrongNode(addr(2))),
        ];
        for (faults, expected) in cases {
            assert_eq!(summary(faults.iter()), expected, "{faults:?}");
        }
    }

    #[test]
    fn a_dial_ends_before_one_more_syn_leaves() {
        // The first leaves at once, and each of the others a second after the last one.
        for syns in 1..10 {
            assert!(time_of(syns) < Duration::from_secs(syns.into()));
        }
        assert_eq!(time_of(10), DIAL_TIME);
    }
}
