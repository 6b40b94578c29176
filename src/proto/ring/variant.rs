//! Rules that are known to be wrong, as switches for the tests, which have to notice each of them.

/// Which rule is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Variant {
    /// None: Zave's operations as they are.
    #[default]
    Correct,
    /// The notify slot keeps whoever came last, not the closest.
    LastNotifyWins,
    /// A joiner takes one successor and no list (the original paper's join).
    JoinsWithOnePointer,
    /// The successor's predecessor becomes one's own first without having been contacted (the original stabilise).
    AdoptsUnchecked,
    /// What a successor answers is merged into the old list instead of replacing it.
    MergesLists,
    /// A dead predecessor is kept.
    KeepsDeadPredecessor,
    /// Only the head of the list changes when a closer successor is found; the tail stays for a round.
    ChangesHeadOnly,
    /// Rings of few members let everybody in at once, too (a base that is too small).
    LetsAllInAtOnce,
}
