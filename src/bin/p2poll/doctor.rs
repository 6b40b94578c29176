//! `p2poll doctor`

mod advice;
mod findings;
#[cfg(test)]
mod pictures;
mod report;

use std::time::{Duration, Instant};

use p2poll::{Config, Event, Mapping, Net, PortMapping, Reach};

use crate::Failure;
use crate::arguments::DoctorOptions;
use crate::output::{Output, Plain, complain, is_logged};
use crate::waiting::Waiting;
use advice::advice;
use findings::{Findings, without_times};

/// How long leaving may take: the router is to remove the mapping, and some answer slowly. A little less than the node
/// gives it before it calls itself stopped, because the difference would be lost.
const LEAVE: Duration = Duration::from_millis(2900);
/// After so long the interfaces have been listed, even if that has shown nothing that would be told.
const LISTING: Duration = Duration::from_secs(2);

pub(crate) fn run(options: &DoctorOptions) -> Result<(), Failure> {
    let mut waiting = Waiting::new()?;
    let mut net = config(options).start()?;
    waiting.add(&mut net)?;
    let output = if options.json { Output::json() } else { Output::plain(Plain::default()) };
    let mut doctor = Doctor { net, options, output, findings: Findings::default(), reported: None };
    doctor.introduce();
    let outcome = doctor.examine(&mut waiting);
    // Whatever happened, the router is not left with a mapping.
    doctor.leave(&mut waiting)?;
    outcome
}

/// A node that wants no peers, and shows itself to nobody.
fn config(options: &DoctorOptions) -> Config {
    // Without a server nobody can tell whether a mapping is needed, and the router's answer is all that can be had.
    let port_mapping =
        if options.rendezvous.is_empty() { PortMapping::Always } else { PortMapping::WhenNeeded };
    let mut config = Config::new()
        .port(options.port)
        .advertise(false)
        .bootstrap(false)
        .max_inbound(0)
        .port_mapping(port_mapping);
    if let Some(ip) = options.bind {
        config = config.bind(ip);
    }
    if let Some(seconds) = options.lease {
        config = config.mapping_lease(Duration::from_secs(seconds.into()));
    }
    options.rendezvous.iter().fold(options.reach.apply(config), Config::rendezvous)
}

struct Doctor<'a> {
    net: Net,
    options: &'a DoctorOptions,
    output: Output,
    findings: Findings,
    /// The picture of the last report.
    reported: Option<Reach>,
}

impl Doctor<'_> {
    fn introduce(&self) {
        let DoctorOptions { rendezvous, wait, .. } = self.options;
        let whom = match rendezvous.len() {
            0 if self.options.reach.no_mapping => "this machine alone".into(),
            0 => "the router".into(),
            1 => rendezvous[0].clone(),
            count => format!("{count} rendezvous servers"),
        };
        self.output.tell(|| format!("asking {whom}, for {wait} s at most"));
    }

    /// Watches until there is nothing more to find out, time is over or the user has enough.
    fn examine(&mut self, waiting: &mut Waiting) -> Result<(), Failure> {
        let begin = now();
        let patience = Duration::from_secs(self.options.wait.into());
        loop {
            self.look()?;
            let left = patience.saturating_sub(now() - begin);
            let unlisted = LISTING.saturating_sub(now() - begin);
            self.findings.is_listed |= unlisted.is_zero();
            let enough = waiting.wants_to_leave();
            // This machine's own addresses are there in a moment, however little time there is for the rest.
            let late = left.is_zero() && self.findings.has_listed();
            if self.is_time_to_report(late || enough) {
                self.report()?;
            }
            if enough || (self.reported.is_some() && !self.options.stay) {
                return self.verdict();
            }
            let unlisted = (!self.findings.is_listed).then_some(unlisted);
            let left = self.reported.is_none().then_some(left).filter(|left| !left.is_zero());
            waiting.wait(self.net.next_wakeup().into_iter().chain(left).chain(unlisted).min())?;
        }
    }

    fn look(&mut self) -> Result<(), Failure> {
        self.net.poll(Some(Duration::ZERO))?;
        let mut news = Vec::new();
        for event in self.net.events() {
            news.extend(self.findings.handle_event(&event));
            if let Event::Reach(reach) = event {
                self.findings.is_listed = true;
                news.extend(self.findings.handle_reach(reach));
            }
        }
        // The first picture is no change, and events can be missed.
        news.extend(self.findings.handle_reach(self.net.reach()));
        // Once is enough: the log has the same in its own words.
        for line in news.into_iter().filter(|_| !is_logged()) {
            self.output.tell(|| line);
        }
        Ok(())
    }

    /// The first report waits until all is certain, or for `latest`. After it, a program is told each change, and a
    /// person, who has read of it already, what it came to.
    fn is_time_to_report(&self, latest: bool) -> bool {
        match &self.reported {
            None => latest || self.findings.is_certain(),
            Some(reported) => {
                (self.options.json || self.findings.is_certain())
                    && without_times(&self.findings.reach) != *reported
            }
        }
    }

    fn report(&mut self) -> Result<(), Failure> {
        let advice = advice(&self.findings, self.options);
        let Self { output, findings, options, .. } = self;
        let fixed = options.reach.node_type.is_some();
        output.report(|| report::json(findings, &advice), || report::text(findings, fixed, &advice))?;
        self.reported = Some(without_times(&self.findings.reach));
        Ok(())
    }

    fn verdict(&self) -> Result<(), Failure> {
        let answered = self.findings.reach.servers.iter().any(|server| server.kind.is_some());
        match self.options.rendezvous.is_empty() || answered {
            true => Ok(()),
            false if self.findings.are_servers_down() => {
                Err(Failure::Run("no rendezvous server answers".into()))
            }
            false => Err(Failure::Run("no rendezvous server has answered in time".into())),
        }
    }

    /// Takes back what the router was asked.
    fn leave(mut self, waiting: &mut Waiting) -> Result<(), Failure> {
        let reach = self.net.reach();
        if matches!(reach.mapping, Mapping::Mapped { .. } | Mapping::Unconfirmed { .. }) {
            self.output.tell(|| "asking the router to remove the mapping; Ctrl-C ends at once".into());
        }
        if !self.stop(waiting)?
            && let Some(rest) = left_behind(&reach.mapping)
        {
            complain(rest);
        }
        Ok(())
    }

    /// Whether all was done in time, and before the user had enough.
    fn stop(&mut self, waiting: &mut Waiting) -> Result<bool, Failure> {
        let begin = now();
        // Who has asked to leave by now waits for the rest of it; a second wish ends the program by itself.
        let asked = waiting.wants_to_leave();
        self.net.stop();
        loop {
            self.net.poll(Some(Duration::ZERO))?;
            if self.net.events().any(|event| event == Event::Stopped) {
                return Ok(true);
            }
            let left = LEAVE.saturating_sub(now() - begin);
            if left.is_zero() || (!asked && waiting.wants_to_leave()) {
                return Ok(false);
            }
            waiting.wait(self.net.next_wakeup().into_iter().chain([left]).min())?;
        }
    }
}

/// What may stay on the router that has not said in time that it removed everything.
fn left_behind(mapping: &Mapping) -> Option<String> {
    match mapping {
        Mapping::Mapped { lease, .. } | Mapping::Unconfirmed { lease, .. } => {
            let then = match lease {
                Some(lease) => format!("it ends by itself in {} s at most", lease.as_secs()),
                None => "it may stay until somebody removes it there".into(),
            };
            Some(format!("the router has not said that it removed the mapping; {then}"))
        }
        // It was being asked, or what it was asked once has never been answered.
        Mapping::Searching | Mapping::Failed { .. } => Some(
            "the router has not said whether it added a mapping; one may stay there until its lease ends"
                .into(),
        ),
        _ => None,
    }
}

#[expect(clippy::disallowed_methods, reason = "a program may read the clock: no machine decides here")]
fn now() -> Instant {
    Instant::now()
}
