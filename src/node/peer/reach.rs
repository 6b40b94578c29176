//! How others can reach this node: the machines that find out, the streams that they need, and what follows from it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use log::Level;

use super::Role;
use super::core::Core;
use super::effect::{Effect, ServerSays};
use crate::config::Config;
use crate::event::Event;
use crate::gateway;
use crate::id::{ServerId, StreamId};
use crate::node::Job;
use crate::proto::mapping::{Mapper, MapperConfig};
use crate::proto::nat::survey::{self, Survey, SurveyAction};
use crate::proto::reach::{Finder, FinderAction};
use crate::random::Random;
use crate::reach::{LanAddress, Mapping, Reach};
use crate::time::{Instant, soonest};
use crate::wire::rendezvous::Token;

/// The machines that find out how this node can be reached.
#[derive(Debug)]
pub(super) struct Reaching {
    finder: Finder,
    mapper: Mapper,
    survey: Option<SurveyRun>,
    /// Surveys so far: streams of an earlier one are nobody's.
    runs: u32,
    random: Random,
    /// Something was done to them since they were advanced.
    touched: bool,
    /// When one of them has something to do, as of then. Asking all of them cost a third of an idle tick.
    due: Option<Instant>,
}

/// A survey under way, and its streams by sample.
#[derive(Debug)]
struct SurveyRun {
    survey: Survey,
    streams: Vec<Option<StreamId>>,
}

/// Which stream of which survey it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    run: u32,
    place: usize,
}

impl Reaching {
    pub(super) fn new(config: &Config, random: &mut Random, now: Instant) -> Self {
        let mapper =
            MapperConfig { lease: config.mapping_lease, router: config.router, ..MapperConfig::default() };
        Self {
            finder: Finder::new(config, random.fork(), now),
            mapper: Mapper::new(mapper, random.fork()),
            survey: None,
            runs: 0,
            random: random.fork(),
            touched: true,
            due: None,
        }
    }

    pub(super) fn finder(&self) -> &Finder {
        &self.finder
    }

    /// How this node can be reached, as far as it is known.
    pub(super) fn picture(&self) -> Arc<Reach> {
        Arc::clone(self.finder.picture())
    }

    /// To tell it something.
    pub(super) fn finder_mut(&mut self) -> &mut Finder {
        self.touched = true;
        &mut self.finder
    }

    /// The address at which the router says that it forwards to us.
    pub(super) fn mapped(&self) -> Option<SocketAddr> {
        match self.finder.picture().mapping {
            Mapping::Mapped { external, .. } => Some(external),
            _ => None,
        }
    }

    pub(super) fn mapper(&self) -> &Mapper {
        &self.mapper
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.touched { self.next_timeout() } else { self.due }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let survey = self.survey.as_ref().and_then(|run| run.survey.poll_timeout());
        [self.finder.poll_timeout(), self.mapper.poll_timeout(), survey].into_iter().fold(None, soonest)
    }
}

impl Reaching {
    pub(super) fn refresh(&mut self, core: &mut Core, now: Instant) {
        self.finder.refresh(now);
        self.advance(core, now);
    }

    /// Finds out nothing more, and has the router forget us.
    pub(super) fn leave(&mut self, core: &mut Core, now: Instant) {
        self.finder_mut().stop();
        self.end_survey(core);
        self.mapper.leave(now);
        self.order_mappings(core);
    }

    /// A server of our own choice, by its place in the configuration, says something of how we can be reached.
    pub(super) fn handle_server(&mut self, server: usize, says: ServerSays, now: Instant) {
        let finder = self.finder_mut();
        match says {
            ServerSays::Up(up) => finder.handle_server_up(server, up, now),
            ServerSays::Rtt(rtt) => finder.handle_rtt(server, rtt),
            ServerSays::Observers(observers) => finder.handle_observers(server, observers, now),
            ServerSays::Probed { port, outcome } => finder.handle_probed(server, port, outcome, now),
            ServerSays::LateProbe => finder.handle_late_probe(server, now),
            ServerSays::Down => finder.handle_server_down(server, now),
        }
    }

    pub(super) fn handle_listed_interfaces(
        &mut self,
        core: &mut Core,
        outcome: io::Result<Vec<LanAddress>>,
        now: Instant,
    ) {
        let addresses = outcome.unwrap_or_else(|error| {
            core.notes.push(Level::Warn, || format!("the interfaces could not be listed: {error}"));
            self.finder.picture().lan.clone()
        });
        self.finder.handle_interfaces(addresses, now);
        self.advance(core, now);
    }

    pub(super) fn handle_gateway_report(
        &mut self,
        core: &mut Core,
        request: u64,
        report: gateway::Report,
        now: Instant,
    ) {
        core.notes.push(Level::Debug, || format!("router: {report:?}"));
        self.mapper.handle_report(request, report, now);
        self.advance(core, now);
    }

    pub(super) fn handle_timeout(&mut self, core: &mut Core, now: Instant) {
        if self.touched || self.due.is_some_and(|at| at <= now) {
            self.advance(core, now);
        }
    }

    fn advance(&mut self, core: &mut Core, now: Instant) {
        self.touched = false;
        self.mapper.handle_timeout(now);
        if self.mapper.take_changed() {
            let status = self.mapper.status().clone();
            self.finder.handle_mapping(status, now);
            core.effects.push(Effect::OwnAddresses);
        }
        self.advance_survey(core, now);
        self.finder.handle_timeout(now);
        while let Some(action) = self.finder.poll_action() {
            self.touched = true;
            self.act_for_finder(core, action, now);
        }
        self.order_mappings(core);
        if self.finder.is_dirty() {
            // Also when the picture is the same: what is advertised at a server depends on what that very server found out.
            core.effects.push(Effect::Adverts);
        }
        if let Some(picture) = self.finder.poll_change() {
            core.notes.push(Level::Info, || format!("reach: {picture}"));
            core.effects.push(Effect::Tell(Event::Reach(picture)));
            core.effects.push(Effect::OwnUnl);
        }
        self.due = self.next_timeout();
    }

    fn act_for_finder(&mut self, core: &mut Core, action: FinderAction, now: Instant) {
        match action {
            FinderAction::Interfaces => core.jobs.push_back(Job::Interfaces),
            FinderAction::Survey { observers } => self.begin_survey(core, &observers, now),
            FinderAction::Probe { server, port } => {
                let nonce = Token::nonce(&mut self.random);
                core.effects.push(Effect::AskForProbe { server: ServerId(server as u64), port, nonce });
            }
            FinderAction::Map(target) => self.mapper.set_target(target, now),
            FinderAction::Renew => self.mapper.renew(now),
            FinderAction::Refresh => self.mapper.refresh(now),
            FinderAction::Reconnect { server } => {
                core.effects.push(Effect::ReconnectServer(ServerId(server as u64)));
            }
        }
    }

    fn order_mappings(&mut self, core: &mut Core) {
        while let Some((request, order)) = self.mapper.poll_order() {
            core.notes.push(Level::Debug, || format!("to the router: {order:?}"));
            core.jobs.push_back(Job::Gateway { request, order });
        }
    }
}

/// The survey of the NAT: a handful of short connections to servers.
impl Reaching {
    pub(super) fn handle_sample_connected(&mut self, core: &mut Core, sample: Sample, now: Instant) {
        if let Some(run) = self.run_of(sample) {
            run.survey.handle_connected(sample.place, now);
        }
        self.advance_survey(core, now);
    }

    pub(super) fn handle_sample_lines(
        &mut self,
        core: &mut Core,
        sample: Sample,
        stream: StreamId,
        now: Instant,
    ) {
        while let Some(line) = core.streams.next_line(stream) {
            if let Some(run) = self.run_of(sample) {
                run.survey.handle_line(sample.place, line.as_bytes(), now);
            }
        }
        self.advance_survey(core, now);
    }

    /// It could not be dialled, or has ended.
    pub(super) fn handle_sample_gone(&mut self, core: &mut Core, sample: Sample, now: Instant) {
        if let Some(run) = self.run_of(sample) {
            if let Some(stream) = run.streams.get_mut(sample.place) {
                *stream = None;
            }
            run.survey.handle_failed(sample.place, now);
        }
        self.advance_survey(core, now);
    }

    fn begin_survey(&mut self, core: &mut Core, observers: &[SocketAddr], now: Instant) {
        self.end_survey(core);
        self.runs = self.runs.wrapping_add(1);
        let Some((&first, others)) = observers.split_first() else { return };
        let random = self.random.fork();
        let survey = Survey::new(first, others.first().copied(), survey::ROUND, random, now);
        self.survey = Some(SurveyRun { survey, streams: Vec::new() });
        self.advance_survey(core, now);
    }

    fn end_survey(&mut self, core: &mut Core) {
        let run = self.survey.take();
        for id in run.into_iter().flat_map(|run| run.streams).flatten() {
            core.streams.abandon(id);
        }
    }

    fn advance_survey(&mut self, core: &mut Core, now: Instant) {
        let runs = self.runs;
        let Some(run) = &mut self.survey else { return };
        self.touched = true;
        run.survey.handle_timeout(now);
        while let Some(action) = run.survey.poll_action() {
            run.act(core, action, runs, now);
        }
        if let Some(outcome) = run.survey.outcome() {
            self.end_survey(core);
            self.finder.handle_surveyed(outcome, now);
        }
    }

    /// The survey that a sample belongs to, unless that is over.
    fn run_of(&mut self, sample: Sample) -> Option<&mut SurveyRun> {
        self.survey.as_mut().filter(|_| sample.run == self.runs)
    }
}

impl SurveyRun {
    /// `number`: of this survey.
    fn act(&mut self, core: &mut Core, action: SurveyAction, number: u32, now: Instant) {
        match action {
            SurveyAction::Dial { sample, to, local_port } => {
                let role = Role::Survey(Sample { run: number, place: sample });
                let from = core.end_at_port(local_port, to);
                let id = core.streams.dial(to, Some(from), role, now);
                if self.streams.len() <= sample {
                    self.streams.resize(sample + 1, None);
                }
                self.streams[sample] = Some(id);
            }
            SurveyAction::Send { sample, bytes } => {
                if let Some(id) = self.streams.get(sample).copied().flatten() {
                    // A fresh stream takes a line; one that broke meanwhile says so by itself.
                    let _ = core.streams.queue_raw(id, &bytes);
                }
            }
            SurveyAction::Hangup { sample } => {
                if let Some(id) = self.streams.get_mut(sample).and_then(Option::take) {
                    core.streams.close(id, now);
                }
            }
        }
    }
}
