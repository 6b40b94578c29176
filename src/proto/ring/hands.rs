//! What every part of the machine needs to act.

use std::time::Duration;

use super::contacts::Contacts;
use super::outbox::Outbox;
use super::settings::Settings;
use crate::random::Random;
use crate::time::Instant;
use crate::wire::ring::Member;

pub(super) struct Hands<'a> {
    pub(super) settings: &'a Settings,
    pub(super) contacts: &'a mut Contacts,
    pub(super) random: &'a mut Random,
    pub(super) out: &'a mut Outbox,
    pub(super) now: Instant,
}

impl Hands<'_> {
    /// It did not answer in time, twice.
    pub(super) fn silent(&mut self, member: Member) {
        self.contacts.silent(member, self.now, self.random);
    }

    /// When a period ends that is `every` long, give or take half of it (the paper's experiments draw from 15 to 45 s for 30), so
    /// that members do not act in step.
    pub(super) fn period(&mut self, every: Duration) -> Instant {
        let nanos = usize::try_from(every.as_nanos()).unwrap_or(usize::MAX);
        self.now + every / 2 + Duration::from_nanos(self.random.below(nanos) as u64)
    }
}
