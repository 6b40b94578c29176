//! How many members there are, by how dense they lie.

use crate::wire::ring::{List, Place};

/// An estimate of the number of members.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Size {
    pub(crate) members: f64,
    /// The standard deviation of the estimate, as a part of it. 0 where all are known.
    pub(crate) error: f64,
}

/// The arc over which k members follow is the sum of k gaps: Gamma distributed, with mean k/N. So (k - 1)/arc has the mean N,
/// with a relative standard deviation of 1/sqrt(k - 2) (the inverse gamma distribution). k/arc, which is often taken, is too
/// large by 1/(k - 1).
pub(super) fn estimate(me: Place, list: &List) -> Size {
    let known = list.members();
    if list.wraps() {
        return Size { members: known.len() as f64 + 1.0, error: 0.0 };
    }
    let k = known.len() as f64;
    let arc = known.last().map_or(1.0, |last| me.distance(last.place).part_of_circle());
    let members = ((k - 1.0).max(1.0) / arc.max(f64::MIN_POSITIVE)).max(k + 1.0);
    let error = if k > 2.0 { 1.0 / (k - 2.0).sqrt() } else { 1.0 };
    Size { members, error }
}
