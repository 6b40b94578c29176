//! The probes that a server makes: whether a port of the asker's can be reached, told so that it tells nothing else.
//!
//! A probe goes to the address that asked and says a fixed line, so it can be aimed at nobody else. But behind a
//! carrier's NAT the neighbours have that address too. So the verdict comes at a fixed time after the question whatever
//! was found, a refusal, silence and a foreign service are the same "no", and an address is given few probes a minute:
//! that is no way to scan it, and what a neighbour can be bothered with is a connection that says one harmless line.
//! For the same reason no port is out of bounds: people do forward 443.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::ids::{ClientId, ProbeId};
use super::limits::Limits;
use crate::proto::deadlines::Deadlines;
use crate::proto::household::household;
use crate::time::Instant;
use crate::wire::probe;
use crate::wire::rendezvous::{Token, Verdict};

/// What an address is allowed is counted over this time.
const WINDOW: Duration = Duration::from_secs(60);

/// A probe whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) probe: ProbeId,
    pub(super) client: ClientId,
    pub(super) port: u16,
    pub(super) verdict: Verdict,
}

#[derive(Debug)]
pub(super) struct Probes {
    last: u64,
    running: BTreeMap<ProbeId, Probe>,
    due: Deadlines<ProbeId>,
    /// The probes of the last minute, the oldest first, and how many each household had of them.
    recent: VecDeque<(Instant, IpAddr)>,
    households: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Probe {
    client: ClientId,
    port: u16,
    nonce: Token,
    verdict: Verdict,
    /// The first line came, or can not come: there is no second try.
    settled: bool,
    due: Option<Instant>,
}

impl Probes {
    pub(super) fn new() -> Self {
        Self {
            last: 0,
            running: BTreeMap::new(),
            due: Deadlines::new(),
            recent: VecDeque::new(),
            households: HashMap::new(),
        }
    }

    /// Begins a probe of a port at `ip`, where the client is. `None` when there are too many.
    pub(super) fn begin(
        &mut self,
        client: ClientId,
        ip: IpAddr,
        (port, nonce): (u16, Token),
        limits: &Limits,
        now: Instant,
    ) -> Option<ProbeId> {
        self.expire(now);
        let mine = self.running.values().filter(|probe| probe.client == client).count();
        if self.running.len() >= limits.probes || mine >= limits.probes_per_client {
            return None;
        }
        self.take_allowance(ip, limits, now)?;
        self.last += 1;
        let id = ProbeId(self.last);
        let mut probe = Probe { client, port, nonce, verdict: Verdict::No, settled: false, due: None };
        self.due.set(id, &mut probe.due, Some(now + limits.probe_time));
        self.running.insert(id, probe);
        Some(id)
    }

    /// The first line that was said at the probed port, without its end.
    pub(super) fn handle_line(&mut self, id: ProbeId, line: &[u8]) {
        if let Some(probe) = self.unsettled(id)
            && probe::is_answer(line, &probe.nonce)
        {
            probe.verdict = Verdict::Yes;
        }
    }

    /// This computer could not try, whatever there is to find at the port.
    pub(super) fn handle_untried(&mut self, id: ProbeId) {
        if let Some(probe) = self.unsettled(id) {
            probe.verdict = Verdict::Later;
        }
    }

    /// Ends a client's probes without a verdict.
    pub(super) fn drop_of(&mut self, client: ClientId) -> Vec<ProbeId> {
        let mine = self.running.iter().filter(|(_, probe)| probe.client == client);
        let mine: Vec<ProbeId> = mine.map(|(id, _)| *id).collect();
        for id in &mine {
            if let Some(mut probe) = self.running.remove(id) {
                self.due.set(*id, &mut probe.due, None);
            }
        }
        mine
    }

    /// The next probe whose time has come: of two for the same client, the one that was asked for first.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Done> {
        let id = self.due.pop_due(now)?;
        let Probe { client, port, verdict, .. } = self.running.remove(&id)?;
        Some(Done { probe: id, client, port, verdict })
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due.next()
    }

    /// Forgets what is older than a minute.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(&(at, home)) = self.recent.front()
            && at + WINDOW <= now
        {
            self.recent.pop_front();
            if let Some(count) = self.households.get_mut(&home) {
                *count -= 1;
                if *count == 0 {
                    self.households.remove(&home);
                }
            }
        }
    }

    /// Takes the only chance that a probe has to be settled before its time.
    fn unsettled(&mut self, id: ProbeId) -> Option<&mut Probe> {
        let probe = self.running.get_mut(&id)?;
        (!std::mem::replace(&mut probe.settled, true)).then_some(probe)
    }

    /// Who is on the server's own machine can connect there without it.
    fn take_allowance(&mut self, ip: IpAddr, limits: &Limits, now: Instant) -> Option<()> {
        if ip.is_loopback() {
            return Some(());
        }
        let home = household(ip);
        let count = self.households.get(&home).copied().unwrap_or_default();
        if count >= limits.probes_per_address || self.recent.len() >= limits.probes_a_minute {
            return None;
        }
        self.households.insert(home, count + 1);
        self.recent.push_back((now, home));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn nonce(text: &str) -> Token {
        Token::new(text.as_bytes()).expect("it is short enough")
    }

    fn begin(probes: &mut Probes, client: u64, ip: IpAddr, millis: u64) -> Option<ProbeId> {
        let what = (5000, nonce("0123456789abcdef"));
        probes.begin(ClientId(client), ip, what, &Limits::default(), at(millis))
    }

    #[test]
    fn an_address_has_ten_in_any_minute() {
        let mut probes = Probes::new();
        let mut begun = Vec::new();
        for millis in (0..300_000).step_by(100) {
            if begin(&mut probes, millis, HOME, millis).is_some() {
                begun.push(millis);
            }
            while probes.pop_due(at(millis)).is_some() {}
        }
        assert_eq!(begun.len(), 50);
        assert!(begun.windows(11).all(|some| some[10] - some[0] >= 60_000), "{begun:?}");
        probes.expire(at(400_000));
        assert!(probes.recent.is_empty() && probes.households.is_empty());
    }

    #[test]
    fn a_household_of_ipv6_is_one_address() {
        let mut probes = Probes::new();
        let begun = (0..100u16).filter(|&n| {
            let ip = IpAddr::from([0x2001, 0xdb8, 0, 0, n, 0, 0, n]);
            begin(&mut probes, n.into(), ip, 0).is_some()
        });
        assert_eq!(begun.count(), 10);
    }

    #[test]
    fn in_all_there_are_no_more_than_the_limits_say() {
        let mut probes = Probes::new();
        let begun = (0..1000u64).filter(|&n| {
            let ip = IpAddr::from([198, 51, (n / 250) as u8, (n % 250) as u8]);
            begin(&mut probes, n, ip, 0).is_some()
        });
        assert_eq!(begun.count(), 256);
        assert!(begin(&mut probes, 5000, HOME, 499).is_none());
        assert_eq!(std::iter::from_fn(|| probes.pop_due(at(500))).count(), 256);
        assert!(begin(&mut probes, 5000, HOME, 500).is_some());
        let few = Limits { probes_a_minute: 258, ..Limits::default() };
        let more = (0..10).filter(|&n| {
            let what = (1, nonce("0123456789abcdef"));
            let ip = IpAddr::from([192, 0, 2, n]);
            probes.begin(ClientId(6000 + u64::from(n)), ip, what, &few, at(501)).is_some()
        });
        assert_eq!(more.count(), 1);
    }

    #[test]
    fn only_the_first_line_counts_and_only_for_its_own_probe() {
        let mut probes = Probes::new();
        let (limits, ours, other) = (Limits::default(), nonce("0123456789abcdef"), nonce("fedcba9876543210"));
        let mut ask = |client, nonce| {
            probes.begin(ClientId(client), HOME, (5000, nonce), &limits, at(0)).expect("there is room")
        };
        let (good, late, foreign, untried) = (ask(1, ours), ask(2, ours), ask(3, other), ask(4, ours));
        probes.handle_untried(untried);
        probes.handle_line(good, b"~probe 0123456789abcdef");
        probes.handle_line(good, b"and more");
        probes.handle_line(late, b"220 mail ESMTP");
        probes.handle_line(late, b"~probe 0123456789abcdef");
        probes.handle_line(foreign, b"~probe 0123456789abcdef");
        assert_eq!((probes.pop_due(at(499)), probes.next_deadline()), (None, Some(at(500))));
        let done: Vec<_> = std::iter::from_fn(|| probes.pop_due(at(500))).collect();
        let verdicts: Vec<_> = done.iter().map(|done| (done.probe, done.verdict)).collect();
        let expected =
            [(good, Verdict::Yes), (late, Verdict::No), (foreign, Verdict::No), (untried, Verdict::Later)];
        assert_eq!(verdicts, expected);
        assert_eq!(probes.next_deadline(), None);
    }
}
