//! What a member does to keep the ring: stabilise and rectify, one at a time.
//!
//! Zave's operations are atomic: a step reads another's state and changes one's own at the same instant. Here an answer is
//! under way for a while. So a member does one thing at a time, says that it is [busy](crate::wire::ring::Message::Busy) to
//! whom asks it meanwhile, and what an answer says is taken only while it is still about the one who was asked. Whoever
//! has been put off three times insists and is answered: members that wait for each other in a circle get on.

use super::neighbours::{Neighbours, Rectify};
use crate::wire::ring::{List, Member};

/// So often one lets oneself be put off.
const PATIENCE: u8 = 3;

#[derive(Clone, Debug, Default)]
pub(super) struct Repair {
    step: Step,
    /// How often the one who is asked was busy.
    put_off: u8,
    /// Somebody has kicked me while I was at something.
    again: bool,
}

/// What is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Idle,
    /// Stabilise: the first of the list is asked.
    First(Member),
    /// Stabilise, second step: somebody between us is asked.
    Second(Member),
    /// Rectify: is the old predecessor alive?
    Probing { predecessor: Member, candidate: Member },
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Nothing: the step has ended, or waits for what was asked.
    Rest,
    Ask(Member),
    /// The same in a moment.
    AskLater(Member),
    Probe(Member),
    /// Stabilise has ended: tell the first of the list.
    Notify(Member),
    /// Nobody of the list is alive.
    Lost,
}

impl Repair {
    pub(super) fn is_busy(&self) -> bool {
        self.step != Step::Idle
    }

    pub(super) fn insists(&self) -> bool {
        self.put_off >= PATIENCE
    }

    /// The period is over, or somebody kicked. While something is under way it is done right after that.
    pub(super) fn stabilise(&mut self, neighbours: &Neighbours) -> Work {
        if self.is_busy() {
            self.again = true;
            return Work::Rest;
        }
        self.ask_first(neighbours)
    }

    /// What waits, when nothing is under way: a notice first, so that who asks next hears of it; then a kick.
    pub(super) fn next(&mut self, neighbours: &mut Neighbours) -> Work {
        if self.is_busy() {
            return Work::Rest;
        }
        // The second time there is no notice.
        while neighbours.has_notice() {
            if let Rectify::Probe { predecessor, candidate } = neighbours.rectify() {
                self.step = Step::Probing { predecessor, candidate };
                return Work::Probe(predecessor);
            }
        }
        if std::mem::take(&mut self.again) { self.ask_first(neighbours) } else { Work::Rest }
    }

    /// What was asked is answered.
    pub(super) fn answered(
        &mut self,
        neighbours: &mut Neighbours,
        by: Member,
        predecessor: Option<Member>,
        list: &List,
    ) -> Work {
        match self.step {
            Step::First(first) if first == by => {
                self.put_off = 0;
                match neighbours.first_answered(first, predecessor, list) {
                    Some(closer) => self.ask_closer(closer),
                    None => self.notify(neighbours),
                }
            }
            Step::Second(closer) if closer == by => {
                neighbours.closer_answered(closer, list);
                // Somebody closer still may be before it: the next round begins at once, not a period later.
                self.again |= neighbours.successor() == Some(closer);
                self.notify(neighbours)
            }
            _ => Work::Rest,
        }
    }

    /// Who was asked is at something itself.
    pub(super) fn busy(&mut self, by: Member) -> Work {
        match self.step {
            Step::First(asked) | Step::Second(asked) if asked == by => {
                self.put_off = self.put_off.saturating_add(1);
                Work::AskLater(asked)
            }
            _ => Work::Rest,
        }
    }

    /// Who was probed lives.
    pub(super) fn alive(&mut self, by: Member) -> Work {
        if matches!(self.step, Step::Probing { predecessor, .. } if predecessor == by) {
            self.step = Step::Idle;
        }
        Work::Rest
    }

    /// Who was asked or probed is dead, or no member.
    pub(super) fn failed(&mut self, neighbours: &mut Neighbours, who: Member) -> Work {
        match self.step {
            Step::First(first) if first == who => {
                neighbours.first_failed();
                self.ask_first(neighbours)
            }
            Step::Second(closer) if closer == who => {
                if neighbours.is_alone() {
                    neighbours.forget_predecessor();
                    self.step = Step::Idle;
                    return Work::Rest;
                }
                self.notify(neighbours)
            }
            Step::Probing { predecessor, candidate } if predecessor == who => {
                neighbours.predecessor_failed(predecessor, candidate);
                self.step = Step::Idle;
                Work::Rest
            }
            _ => Work::Rest,
        }
    }

    /// Somebody of another ring follows me in both together: as if my successor had told me of it (merging).
    pub(super) fn meet(&mut self, neighbours: &Neighbours, other: Member) -> Work {
        if self.is_busy() || !neighbours.is_closer(other) {
            return Work::Rest;
        }
        self.ask_closer(other)
    }

    fn ask_first(&mut self, neighbours: &Neighbours) -> Work {
        self.put_off = 0;
        match (neighbours.successor(), neighbours.predecessor()) {
            (Some(first), _) => {
                self.step = Step::First(first);
                Work::Ask(first)
            }
            // One that is alone is its own successor, and knows at once what that would answer: its predecessor.
            (None, Some(closer)) if neighbours.is_alone() => self.ask_closer(closer),
            (None, _) => {
                self.step = Step::Idle;
                if neighbours.is_lost() { Work::Lost } else { Work::Rest }
            }
        }
    }

    fn ask_closer(&mut self, closer: Member) -> Work {
        self.put_off = 0;
        self.step = Step::Second(closer);
        Work::Ask(closer)
    }

    /// Zave, stabilise: whether or not something has changed, the first of the list is told at the end. It is the new one:
    /// the one of the second step, if that has answered.
    fn notify(&mut self, neighbours: &Neighbours) -> Work {
        self.step = Step::Idle;
        neighbours.successor().map_or(Work::Rest, Work::Notify)
    }
}
