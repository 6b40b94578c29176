//! What is known of those one talks to: how long they take to answer, and which of them do not.

use std::sync::Arc;
use std::time::Duration;

use super::remembered::Remembered;
use super::round_trips::RoundTrips;
use super::settings::Settings;
use super::suspects::Suspects;
use crate::random::Random;
use crate::time::Instant;
use crate::wire::ring::{Life, Member, Place};

#[derive(Clone, Debug)]
pub(super) struct Contacts {
    round_trips: RoundTrips,
    pub(super) suspects: Suspects,
    pub(super) remembered: Remembered,
    settings: Arc<Settings>,
}

impl Contacts {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self {
            round_trips: RoundTrips::default(),
            suspects: Suspects::default(),
            remembered: Remembered::default(),
            settings,
        }
    }

    /// How long to wait for an answer.
    pub(super) fn wait_for(&self, place: Place) -> Duration {
        let Settings { shortest_wait, longest_wait, first_wait, .. } = *self.settings;
        let wait = self.round_trips.wait_for(place).unwrap_or(first_wait);
        wait.clamp(shortest_wait, longest_wait.max(shortest_wait))
    }

    /// How long to wait for one whose silence would change a list.
    pub(super) fn wait_for_neighbour(&self, place: Place) -> Duration {
        self.wait_for(place).max(self.settings.shortest_wait_for_neighbours)
    }

    /// It has answered, after that time if that says something. Whether it had been thought dead.
    pub(super) fn answered(&mut self, place: Place, took: Option<Duration>) -> bool {
        if let Some(took) = took {
            self.round_trips.measured(place, took, self.settings.max_round_trips);
        }
        self.suspects.clear(place)
    }

    /// It did not answer in time, twice.
    pub(super) fn silent(&mut self, member: Member, now: Instant, random: &mut Random) {
        // Of whom only the id is known there is nothing to remember.
        if member.life == Life::ANY {
            return;
        }
        let Settings { probe_dead_after, probe_dead_until, max_suspects, max_remembered, .. } =
            *self.settings;
        self.suspects.add(member, probe_dead_after, probe_dead_until, max_suspects, now);
        self.remembered.add(member, max_remembered, random);
    }

    pub(super) fn weight(&self) -> usize {
        self.suspects.len() + self.round_trips.len() + self.remembered.members().len()
    }

    /// It says itself that it goes.
    pub(super) fn left(&mut self, member: Member, now: Instant) {
        let Settings { probe_dead_after, probe_dead_until, max_suspects, .. } = *self.settings;
        self.suspects.add(member, probe_dead_after, probe_dead_until, max_suspects, now);
    }

    /// It did not acknowledge a look-up in time, which may be chance: it is avoided, and probed at once.
    pub(super) fn doubt(&mut self, member: Member, now: Instant) {
        if member.life == Life::ANY {
            return;
        }
        let Settings { probe_dead_until, max_suspects, .. } = *self.settings;
        self.suspects.doubt(member, probe_dead_until, max_suspects, now);
    }

    pub(super) fn still_silent(&mut self, member: Member, now: Instant, random: &mut Random) {
        let Settings { probe_dead_after, probe_dead_until, max_remembered, .. } = *self.settings;
        self.remembered.add(member, max_remembered, random);
        self.suspects.still_silent(member, probe_dead_after, probe_dead_until, now);
    }
}
