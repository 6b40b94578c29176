//! What a search through all orders needs of a machine: its timers as moves that can be made at any time, and its state without
//! what makes no difference.

use super::keeper::Kept;
use super::neighbours::Neighbours;
use super::{Joiner, LinkState, Ring, Standing};
use crate::time::Instant;
use crate::wire::ring::{Life, Member, Number, Place};

impl Ring {
    /// A period has ended.
    pub(crate) fn fire_period(&mut self) {
        let (parts, mut hands) = self.split(Instant::ZERO);
        let kept: Kept = parts.keeper.stabilise(&mut hands);
        self.handle_kept(kept, Instant::ZERO);
        self.run(Instant::ZERO);
    }

    /// It is time to ask again whom was busy.
    pub(crate) fn fire_later(&mut self) -> bool {
        let (parts, mut hands) = self.split(Instant::ZERO);
        let Some(kept) = parts.keeper.ask_now(&mut hands) else { return false };
        self.handle_kept(kept, Instant::ZERO);
        self.run(Instant::ZERO);
        true
    }

    pub(crate) fn has_later(&self) -> bool {
        self.state.keeper.has_later()
    }

    /// A question has had no answer for a while: it is asked again.
    pub(crate) fn repeat_question(&mut self) {
        let (parts, mut hands) = self.split(Instant::ZERO);
        parts.keeper.repeat(&mut hands);
    }

    /// It has had none for too long.
    pub(crate) fn give_up_on(&mut self, who: Place) {
        self.handle_link(who.node(), LinkState::Down, Instant::ZERO);
    }

    /// Comes up with a life of its own, and asks that one to let it in.
    pub(crate) fn join_at(&mut self, host: Member, life: Life) {
        self.state.me.life = life;
        self.state.standing = Standing::Joining;
        let neighbours = Neighbours::alone(self.state.me.place, self.state.settings.longest_list());
        self.state.keeper.place(neighbours, Instant::ZERO);
        let mut joiner = Joiner::new(vec![host.place], 9, Instant::ZERO);
        let (_, mut hands) = self.split(Instant::ZERO);
        joiner.ask_at(host, &mut hands);
        self.state.joiner = Some(Box::new(joiner));
    }

    /// Asks again, or somebody else.
    pub(crate) fn join_again_at(&mut self, host: Member) {
        let (parts, mut hands) = self.split(Instant::ZERO);
        if let Some(joiner) = parts.joiner {
            joiner.ask_at(host, &mut hands);
        }
    }

    /// Whom it waits for as a member, and under which number.
    pub(crate) fn waits_for(&self) -> Option<(Member, Number)> {
        self.state.keeper.waits_for()
    }

    /// Whom it waits for to be let in.
    pub(crate) fn is_let_in_by(&self) -> Option<(Member, Number)> {
        self.state.joiner.as_ref().and_then(|joiner| joiner.waits_for())
    }

    /// Is off and wants in, and waits for nobody.
    pub(crate) fn stands_outside(&self) -> bool {
        self.state.standing == Standing::Joining && self.is_let_in_by().is_none()
    }

    /// All that makes a difference to what comes, in words.
    pub(crate) fn essence(&self) -> String {
        let state = &self.state;
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?}",
            state.me,
            state.standing,
            state.keeper.essence(),
            state.arrival,
            self.is_let_in_by().map(|(host, _)| host),
            state.host
        )
    }
}
