//! What is known of one rendezvous server, and through it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::reach::ServerKind;
use crate::time::Instant;

/// What is known once a server answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerUp {
    pub(crate) addr: SocketAddr,
    /// Our end of the connection.
    pub(crate) local: SocketAddr,
    pub(crate) kind: ServerKind,
    pub(crate) rtt: Duration,
    pub(crate) seen: Option<SocketAddr>,
    /// It connects to us when it is asked to.
    pub(crate) can_probe: bool,
    /// It will say where else it listens.
    pub(crate) observes: bool,
}

/// What came of asking a server to connect to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeOutcome {
    /// It was us who answered there.
    Yes,
    No,
    /// It said no so soon that the way to us and back was too long for a yes.
    TooFar,
    /// It has been asked too often.
    Busy,
    /// It did not say.
    Unanswered,
}

/// Whether a server is asked at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Not,
    For { port: u16, at: Instant },
    Answered,
}

#[derive(Debug)]
pub(super) struct Sight {
    pub(super) name: Arc<str>,
    pub(super) addr: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
    pub(super) kind: Option<ServerKind>,
    pub(super) rtt: Option<Duration>,
    pub(super) seen: Option<SocketAddr>,
    pub(super) up_since: Option<Instant>,
    /// It was tried in vain, the last time.
    pub(super) failed: bool,
    can_probe: bool,
    observes: bool,
    /// Where else it listens, once it has said so.
    pub(super) observers: Option<Vec<SocketAddr>>,
    pub(super) asked: Asked,
    /// What it is asked now began before something changed.
    outdated: bool,
    /// What came of the last probe of the port as it is now.
    pub(super) outcome: Option<ProbeOutcome>,
}

impl Sight {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            addr: None,
            local: None,
            kind: None,
            rtt: None,
            seen: None,
            up_since: None,
            failed: false,
            can_probe: false,
            observes: false,
            observers: None,
            asked: Asked::Not,
            outdated: false,
            outcome: None,
        }
    }

    pub(super) fn handle_up(&mut self, up: ServerUp, now: Instant) {
        self.addr = Some(up.addr);
        self.local = Some(up.local);
        self.kind = Some(up.kind);
        self.rtt = Some(up.rtt);
        self.seen = up.seen.or(self.seen);
        self.up_since = Some(now);
        self.failed = false;
        self.can_probe = up.can_probe;
        self.observes = up.observes;
        self.observers = None;
        self.forget_answer();
    }

    /// It saw us at another address before, of the same family.
    pub(super) fn sees_elsewhere(&self, up: &ServerUp) -> bool {
        let (Some(before), Some(now)) = (self.seen, up.seen) else { return false };
        before.ip() != now.ip() && before.is_ipv4() == now.is_ipv4()
    }

    /// It could not tell the last time.
    pub(super) fn is_doubtful(&self) -> bool {
        matches!(self.outcome, Some(ProbeOutcome::Busy | ProbeOutcome::Unanswered | ProbeOutcome::TooFar))
    }

    /// What it said before stands; what it was asked it will not say any more.
    pub(super) fn handle_down(&mut self) {
        self.failed = true;
        self.up_since = None;
        self.kind = None;
        self.rtt = None;
        if let Asked::For { .. } = self.asked {
            self.asked = Asked::Answered;
            self.outdated = false;
            self.learn(ProbeOutcome::Unanswered);
        }
    }

    pub(super) fn ask(&mut self, port: u16, now: Instant) {
        self.asked = Asked::For { port, at: now };
        self.outdated = false;
    }

    /// Whether it is an answer to what was asked last. `current`: the port that would be asked about now.
    pub(super) fn handle_probed(
        &mut self,
        port: u16,
        outcome: ProbeOutcome,
        current: Option<u16>,
        now: Instant,
    ) -> bool {
        let Asked::For { port: asked, at } = self.asked else { return false };
        if asked != port {
            return false;
        }
        let still_true = outcome == ProbeOutcome::Yes && current == Some(port);
        if std::mem::take(&mut self.outdated) && !still_true {
            self.asked = Asked::Not;
            return true;
        }
        self.asked = Asked::Answered;
        self.learn(match outcome {
            // Being connected to, prompted, and answering takes two round trips, and the question and its answer took
            // one.
            ProbeOutcome::No if self.rtt.is_some_and(|rtt| now - at < 3 * rtt) => ProbeOutcome::TooFar,
            outcome => outcome,
        });
        true
    }

    /// What was known stays until it is known better.
    fn learn(&mut self, outcome: ProbeOutcome) {
        let is_certain = |outcome: ProbeOutcome| matches!(outcome, ProbeOutcome::Yes | ProbeOutcome::No);
        if is_certain(outcome) || !self.outcome.is_some_and(is_certain) {
            self.outcome = Some(outcome);
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.up_since.is_some()
    }

    /// Nothing more is to be expected of it soon: it failed, or is up and has said who else observes.
    pub(super) fn is_settled(&self) -> bool {
        self.failed || self.is_up() && (!self.observes || self.observers.is_some())
    }

    pub(super) fn elsewhere(&self) -> impl Iterator<Item = SocketAddr> {
        self.observers.iter().flatten().copied()
    }

    pub(super) fn is_over_ipv4(&self) -> bool {
        self.addr.is_some_and(|addr| addr.is_ipv4())
    }

    pub(super) fn can_be_asked(&self) -> bool {
        self.is_up() && self.can_probe && self.asked == Asked::Not
    }

    pub(super) fn is_asked(&self) -> bool {
        matches!(self.asked, Asked::For { .. })
    }

    /// Whether its answer is still to come.
    pub(super) fn may_still_say_yes(&self) -> bool {
        self.is_asked() || self.can_be_asked() && self.outcome.is_none()
    }

    /// It may be asked again; what came of the last probe stands meanwhile.
    pub(super) fn forget_answer(&mut self) {
        if self.asked == Asked::Answered {
            self.asked = Asked::Not;
        }
    }

    /// What came of its probe is of another port, or another time, and so is what it was asked. It is asked again only
    /// when it has answered that: its connections do not say which question they belong to.
    pub(super) fn forget_outcome(&mut self) {
        self.outcome = None;
        match self.asked {
            Asked::For { .. } => self.outdated = true,
            _ => self.asked = Asked::Not,
        }
    }

    /// It was reached from an address that is no more.
    pub(super) fn forget(&mut self) {
        self.seen = None;
        self.local = None;
        self.up_since = None;
        self.observers = None;
        self.outcome = None;
        self.asked = Asked::Not;
    }

    /// It is up, or was and ended as it should, and can tell nothing of the port.
    pub(super) fn is_old(&self) -> bool {
        self.is_up() && !self.can_probe
    }
}
