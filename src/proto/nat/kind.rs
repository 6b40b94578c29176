//! Which of pyp2p's four kinds a NAT is, from the external ports that observers saw.
//!
//! Every rule lets one of the five samples pass that does not fit: another program has that port, other traffic of the
//! household came between, a packet was lost. What is left must fit exactly. So a NAT that chooses freely among N
//! ports passes for another kind with a chance of at most
//!
//! - preserving: 4 of 5 ports right, 5/N⁴;
//! - reuse: 3 pairs of 4 equal (one answer missing), 4/N³;
//! - delta, one observer: the first two of 4 ports set the step and the other two must keep it, 1/N² for each of the
//!   10 ways in which [`step`] can let a sample pass: 10/N². With two observers the second must show that very step
//!   as well: 10/N² · 10/N³.
//!
//! That is 2 · 10⁻⁹ at the worst for N = 64512 (ports 1024 to 65535), and 4 · 10⁻⁵ where a provider gives each customer
//! a block of 512 ports and only one observer answers; with two, 3 · 10⁻¹².

use crate::reach::{Doubt, NatKind};

/// How many local ports, one after the other, are sampled (pyp2p's number).
pub(crate) const SAMPLES: usize = 5;

/// So many of them must be answered before an observer's silence about the others is no matter.
const ENOUGH: usize = SAMPLES - 1;

/// The external ports that one observer saw, in the order in which the connections were begun; `None` where it did not
/// answer.
pub(crate) type Sight = [Option<u16>; SAMPLES];

/// What NAT shows itself like this, to each observer that was asked, when it is used from the local ports
/// `first_port`, `first_port + 1`, ...? All connections to the first observer were begun before those to the second.
pub(crate) fn infer(first_port: u16, sights: &[Sight]) -> Result<NatKind, Doubt> {
    let pairs = pairs(sights);
    let equal = pairs.iter().filter(|(first, second)| first == second).count();
    if is_preserving(first_port, sights) {
        return Ok(NatKind::Preserving);
    }
    if pairs.len() >= ENOUGH && equal + 1 >= pairs.len() {
        return Ok(NatKind::Reuse);
    }
    // A NAT that reuses ports may hand them out in sequence. With two observers that is the rule above; where one of
    // them gave too few answers for that, equal pairs are the sign that it is no delta.
    if equal == 0
        && let Some(step) = common_step(sights)
    {
        return Ok(NatKind::Delta { step });
    }
    match sights {
        [only] if answers(only) >= ENOUGH => Err(Doubt::OneObserver),
        _ if pairs.len() < ENOUGH => Err(Doubt::Unanswered),
        _ => Ok(NatKind::Random),
    }
}

/// The constant and non-zero difference of ports in the order of sending, with one that may not fit: missing, elsewhere
/// or late, or one jump, where a household's other connection or the end of the NAT's range came between.
pub(crate) fn step(ports: &[Option<u16>]) -> Option<i32> {
    // Of three, any two would make a step.
    if ports.len() < ENOUGH {
        return None;
    }
    let points: Vec<Point> =
        ports.iter().zip(0..).filter_map(|(&port, index)| Some((index, port?))).collect();
    match ports.len() - points.len() {
        0 => step_but_one_jump(&points).or_else(|| step_but_one_point(&points)),
        1 => regular_step(&points),
        _ => None,
    }
}

/// Where in the order of sending, and the external port.
type Point = (i32, u16);

/// The pairs of answers about the same local port; none where only one observer was asked.
fn pairs(sights: &[Sight]) -> Vec<(u16, u16)> {
    let [first, second] = sights else { return Vec::new() };
    first.iter().zip(second).filter_map(|(&first, &second)| Some((first?, second?))).collect()
}

fn answers(sight: &Sight) -> usize {
    sight.iter().flatten().count()
}

/// One observer has seen enough local ports unchanged, and none has seen more than one changed.
fn is_preserving(first_port: u16, sights: &[Sight]) -> bool {
    let kept = |sight: &Sight| {
        let local = u32::from(first_port)..;
        local.zip(sight).filter(|&(local, seen)| seen.is_some_and(|seen| u32::from(seen) == local)).count()
    };
    sights.iter().any(|sight| kept(sight) >= ENOUGH)
        && sights.iter().all(|sight| answers(sight) - kept(sight) <= 1)
}

/// The step that all observers with enough answers saw.
fn common_step(sights: &[Sight]) -> Option<i32> {
    let mut steps = sights.iter().filter(|sight| answers(sight) >= ENOUGH).map(|sight| step(sight));
    let first = steps.next()??;
    steps.all(|step| step == Some(first)).then_some(first)
}

/// All differences but one are the step: `1 2 5 6 7`, and `65534 65535 1024 1025 1026`.
fn step_but_one_jump(points: &[Point]) -> Option<i32> {
    let steps: Vec<i32> = points.windows(2).map(|two| rise(two[0], two[1])).collect();
    let is_common = |step: i32| step != 0 && steps.iter().filter(|&&other| other != step).count() <= 1;
    steps.iter().copied().find(|&step| is_common(step))
}

/// Without one of the points the rest is regular.
fn step_but_one_point(points: &[Point]) -> Option<i32> {
    (0..points.len()).find_map(|odd| {
        let mut rest = points.to_vec();
        rest.remove(odd);
        regular_step(&rest)
    })
}

/// The points lie on a line; or they would, had those that are missing never been sent: when a SYN is lost before the
/// NAT has seen it, the next one gets its port, and its repetition (RFC 6298 section 2: after 1 s) a later one.
fn regular_step(points: &[Point]) -> Option<i32> {
    let taken_part: Vec<Point> = (0..).zip(points.iter().map(|&(_, port)| port)).collect();
    line(points).or_else(|| line(&taken_part))
}

/// The slope of the line through all points, unless it is 0. Two of them are neighbours, so that it is a whole number.
fn line(points: &[Point]) -> Option<i32> {
    let (first, last) = (*points.first()?, *points.last()?);
    let (rise_of_all, run_of_all) = (rise(first, last), last.0 - first.0);
    let straight = points.iter().all(|&point| {
        // Ports are below 2^16 and there are few of them: the products fit.
        rise(first, point) * run_of_all == rise_of_all * (point.0 - first.0)
    });
    let step = rise_of_all.checked_div(run_of_all)?;
    (straight && step != 0).then_some(step)
}

fn rise(from: Point, to: Point) -> i32 {
    i32::from(to.1) - i32::from(from.1)
}

#[cfg(test)]
mod tests;
