//! How others can reach this node: the machines that find out, the streams that they need, and what follows from it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use log::Level;

use super::{Node, Role};
use crate::config::Config;
use crate::event::Event;
use crate::gateway;
use crate::id::{ServerId, StreamId};
use crate::node::Job;
use crate::proto::mapping::{Mapper, MapperConfig};
use crate::proto::nat::survey::{self, Survey, SurveyAction};
use crate::proto::reach::{Finder, FinderAction};
use crate::random::Random;
use crate::reach::{LanAddress, Reach};
use crate::time::{Instant, soonest};

/// The machines that find out how this node can be reached.
#[derive(Debug)]
pub(super) struct Reaching {
    finder: Finder,
    mapper: Mapper,
    survey: Option<SurveyRun>,
    /// Surveys so far: streams of an earlier one are nobody's.
    runs: u32,
    pub(super) random: Random,
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

    /// To tell it something.
    pub(super) fn finder_mut(&mut self) -> &mut Finder {
        self.touched = true;
        &mut self.finder
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

impl Node {
    pub(crate) fn reach(&self) -> Arc<Reach> {
        Arc::clone(self.reaching.finder.picture())
    }

    pub(crate) fn refresh_reach(&mut self, now: Instant) {
        self.reaching.finder.refresh(now);
        self.advance_reach(now);
    }

    /// Finds out nothing more, and has the router forget us.
    pub(super) fn leave_reach(&mut self, now: Instant) {
        self.reaching.finder_mut().stop();
        self.end_survey();
        self.reaching.mapper.leave(now);
        self.order_mappings();
    }

    pub(super) fn handle_listed_interfaces(&mut self, outcome: io::Result<Vec<LanAddress>>, now: Instant) {
        let addresses = outcome.unwrap_or_else(|error| {
            self.core.notes.push(Level::Warn, || format!("the interfaces could not be listed: {error}"));
            self.reach().lan.clone()
        });
        self.reaching.finder.handle_interfaces(addresses, now);
        self.advance_reach(now);
    }

    pub(super) fn handle_gateway_report(&mut self, request: u64, report: gateway::Report, now: Instant) {
        self.core.notes.push(Level::Debug, || format!("router: {report:?}"));
        self.reaching.mapper.handle_report(request, report, now);
        self.advance_reach(now);
    }

    /// Once in each tick.
    pub(super) fn work_on_reach(&mut self, now: Instant) {
        if self.reaching.touched || self.reaching.due.is_some_and(|at| at <= now) {
            self.advance_reach(now);
        }
    }

    fn advance_reach(&mut self, now: Instant) {
        self.reaching.touched = false;
        self.reaching.mapper.handle_timeout(now);
        if self.reaching.mapper.take_changed() {
            let status = self.reaching.mapper.status().clone();
            self.reaching.finder.handle_mapping(status, now);
            self.tell_own();
        }
        self.advance_survey(now);
        self.reaching.finder.handle_timeout(now);
        while let Some(action) = self.reaching.finder.poll_action() {
            self.reaching.touched = true;
            self.act_for_finder(action, now);
        }
        self.order_mappings();
        if self.reaching.finder.is_dirty() {
            // Also when the picture is the same: what a server lists depends on its own probe.
            self.set_adverts(now);
        }
        if let Some(picture) = self.reaching.finder.poll_change() {
            self.core.notes.push(Level::Info, || format!("reach: {picture}"));
            self.events.push(Event::Reach(picture));
            self.refresh_unl();
        }
        self.reaching.due = self.reaching.next_timeout();
    }

    fn act_for_finder(&mut self, action: FinderAction, now: Instant) {
        match action {
            FinderAction::Interfaces => self.core.jobs.push_back(Job::Interfaces),
            FinderAction::Survey { observers } => self.begin_survey(&observers, now),
            FinderAction::Probe { server, port } => self.ask_for_probe(ServerId(server as u64), port, now),
            FinderAction::Map(target) => self.reaching.mapper.set_target(target, now),
            FinderAction::Renew => self.reaching.mapper.renew(now),
            FinderAction::Refresh => self.reaching.mapper.refresh(now),
            FinderAction::Reconnect { server } => self.reconnect_server(ServerId(server as u64), now),
        }
    }

    fn order_mappings(&mut self) {
        while let Some((request, order)) = self.reaching.mapper.poll_order() {
            self.core.notes.push(Level::Debug, || format!("to the router: {order:?}"));
            self.core.jobs.push_back(Job::Gateway { request, order });
        }
    }
}

/// The survey of the NAT: a handful of short connections to servers.
impl Node {
    fn begin_survey(&mut self, observers: &[SocketAddr], now: Instant) {
        self.end_survey();
        self.reaching.runs = self.reaching.runs.wrapping_add(1);
        let Some((&first, others)) = observers.split_first() else { return };
        let random = self.reaching.random.fork();
        let survey = Survey::new(first, others.first().copied(), survey::ROUND, random, now);
        self.reaching.survey = Some(SurveyRun { survey, streams: Vec::new() });
        self.advance_survey(now);
    }

    fn end_survey(&mut self) {
        let run = self.reaching.survey.take();
        for id in run.into_iter().flat_map(|run| run.streams).flatten() {
            self.core.streams.abandon(id);
        }
    }

    fn advance_survey(&mut self, now: Instant) {
        let Some(run) = &mut self.reaching.survey else { return };
        self.reaching.touched = true;
        run.survey.handle_timeout(now);
        while let Some(action) = self.reaching.survey.as_mut().and_then(|run| run.survey.poll_action()) {
            self.act_for_survey(action, now);
        }
        let outcome = self.reaching.survey.as_ref().and_then(|run| run.survey.outcome());
        if let Some(outcome) = outcome {
            self.end_survey();
            self.reaching.finder.handle_surveyed(outcome, now);
        }
    }

    fn act_for_survey(&mut self, action: SurveyAction, now: Instant) {
        let Some(run) = &mut self.reaching.survey else { return };
        match action {
            SurveyAction::Dial { sample, to, local_port } => {
                let role = Role::Survey(Sample { run: self.reaching.runs, place: sample });
                let from = self.core.end_at_port(local_port, to);
                let id = self.core.streams.dial(to, Some(from), role, now);
                if run.streams.len() <= sample {
                    run.streams.resize(sample + 1, None);
                }
                run.streams[sample] = Some(id);
            }
            SurveyAction::Send { sample, bytes } => {
                if let Some(id) = run.streams.get(sample).copied().flatten() {
                    // A fresh stream takes a line; one that broke meanwhile says so by itself.
                    let _ = self.core.streams.queue_raw(id, &bytes);
                }
            }
            SurveyAction::Hangup { sample } => {
                if let Some(id) = run.streams.get_mut(sample).and_then(Option::take) {
                    self.core.streams.close(id, now);
                }
            }
        }
    }

    pub(super) fn handle_sample_connected(&mut self, sample: Sample, now: Instant) {
        self.with_survey(sample, |survey| survey.handle_connected(sample.place, now));
        self.advance_survey(now);
    }

    pub(super) fn handle_sample_lines(&mut self, sample: Sample, id: StreamId, now: Instant) {
        while let Some(line) = self.core.streams.next_line(id) {
            let run = self.reaching.survey.as_mut().filter(|_| sample.run == self.reaching.runs);
            if let Some(run) = run {
                run.survey.handle_line(sample.place, line.as_bytes(), now);
            }
        }
        self.advance_survey(now);
    }

    /// It could not be dialled, or has ended.
    pub(super) fn handle_sample_gone(&mut self, sample: Sample, now: Instant) {
        if let Some(run) = self.reaching.survey.as_mut().filter(|_| sample.run == self.reaching.runs)
            && let Some(stream) = run.streams.get_mut(sample.place)
        {
            *stream = None;
        }
        self.with_survey(sample, |survey| survey.handle_failed(sample.place, now));
        self.advance_survey(now);
    }

    fn with_survey(&mut self, sample: Sample, act: impl FnOnce(&mut Survey)) {
        let run = self.reaching.survey.as_mut().filter(|_| sample.run == self.reaching.runs);
        if let Some(run) = run {
            act(&mut run.survey);
        }
    }
}
