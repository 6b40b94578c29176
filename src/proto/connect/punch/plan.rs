//! Which ports of the peer's NAT are dialled, and in which order.
//!
//! **A NAT that counts** (delta) gives each new pair of local port and destination its next external port. The
//! observation took one, and port `i` after it (`i` from 1) is `seen + i * step`. But other traffic behind the same NAT
//! takes some, too, between the observation and the dials; nobody knows how many. Let it be `T`.
//!
//! **One end counts:** it dials the one mapping that the other has for everybody, which takes its port `T + 1`. The
//! other dials many of the ports `1, 2, 3, ..` from that one mapping, and one of them is right.
//!
//! **Both ends count:** each dial takes a port of its own end, too, so that guesses at both ends have to fit together.
//! Dial `n` of an end leaves from its port `T + n`, if the end dials nothing else. Let the first end's dial `n` go to
//! the second's port `n`, and the second's dial `m` to the first's port `2m - 1`. They meet where each goes to where
//! the other comes from:
//!
//! ```text
//! n      = T_second + m        the first end's dial n goes where the second's dial m leaves
//! 2m - 1 = T_first + n         and the other way round
//!
//! m = T_first + T_second + 1,  n = T_first + 2 T_second + 1
//! ```
//!
//! Two lines of different slopes meet in one point, and slopes of 1 and 2 make it a pair of whole numbers whatever the
//! traffic was. (With equal slopes they would meet in the one case that both guesses are exactly right, or never.) It
//! holds for every step, because only the numbers of the ports count. It needs the dials in this order, with no other
//! traffic between them: they leave all at once.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::{Part, Side};
use crate::address::canonical;
use crate::proto::dial::is_dialable;
use crate::reach::NatKind;

/// How many ports other traffic may take at each end, where both count, until the lines do not meet any more.
const TRAFFIC: i64 = 8;

/// So many dials of the first end's reach where the lines meet: `n` above.
const FIRST_DIALS: i64 = TRAFFIC + 2 * TRAFFIC + 1;

/// So many of the second's: `m` above.
const SECOND_DIALS: i64 = TRAFFIC + TRAFFIC + 1;

/// How many ports of a NAT that counts are dialled from one mapping. All but one of them are knocks at a closed door.
const WINDOW: i64 = 16;

/// Never more than this, whatever the numbers above become.
pub(super) const CANDIDATE_LIMIT: usize = 64;

/// NATs give out no others (RFC 4787 section 4.2.2 keeps the well-known ports apart). Where the range of one really
/// ends nobody knows, so that what comes after its end is not foretold.
const PREDICTED: RangeInclusive<i64> = 1024..=65535;

/// Where the peer is to be dialled, in this order. Only ports are foretold: the address is the one that was seen.
pub(super) fn candidates(ours: &Side, theirs: &Side, part: Part) -> Vec<SocketAddr> {
    let seen = canonical(theirs.seen);
    let at = |port| SocketAddr::new(seen.ip(), port);
    let all = match (step(ours.kind), step(theirs.kind)) {
        // A preserving NAT is no exception: if it could not keep the port, what was seen is what it gave instead.
        (_, None) => vec![seen],
        (None, Some(step)) => predicted(seen.port(), step, 1..=WINDOW).map(at).collect(),
        (Some(_), Some(step)) => match part {
            Part::First => predicted(seen.port(), step, 1..=FIRST_DIALS).map(at).collect(),
            Part::Second => {
                predicted(seen.port(), step, (1..=SECOND_DIALS).map(|m| 2 * m - 1)).map(at).collect()
            }
        },
    };
    // What falls away at the end of the range are the last ones, so that the others keep their numbers.
    let own = own_addresses(ours);
    all.into_iter().filter(|to| is_dialable(*to) && !own.contains(to)).take(CANDIDATE_LIMIT).collect()
}

/// The step of a NAT that counts. 0 can come from a peer only, and foretells nothing.
fn step(kind: Option<NatKind>) -> Option<i32> {
    match kind {
        Some(NatKind::Delta { step }) if step != 0 => Some(step),
        _ => None,
    }
}

fn predicted(seen: u16, step: i32, numbers: impl Iterator<Item = i64>) -> impl Iterator<Item = u16> {
    let ports = numbers.map(move |number| i64::from(seen) + number * i64::from(step));
    ports.filter(|port| PREDICTED.contains(port)).filter_map(|port| u16::try_from(port).ok())
}

/// Ourselves: as we were seen, and as we would be without a NAT.
fn own_addresses(ours: &Side) -> [SocketAddr; 2] {
    let seen = canonical(ours.seen);
    [seen, SocketAddr::new(seen.ip(), ours.local_port)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    const DELTA: Option<NatKind> = Some(NatKind::Delta { step: 3 });

    fn side(seen: &str, kind: Option<NatKind>) -> Side {
        Side { seen: seen.parse().unwrap(), local_port: 30_000, kind }
    }

    fn ports(ours: Option<NatKind>, theirs: Option<NatKind>, part: Part) -> Vec<u16> {
        let (ours, theirs) = (side("192.0.2.1:30000", ours), side("198.51.100.2:40000", theirs));
        candidates(&ours, &theirs, part).iter().map(SocketAddr::port).collect()
    }

    #[test]
    fn a_nat_that_does_not_count_is_dialled_where_it_was_seen() {
        for kind in [None, Some(NatKind::Preserving), Some(NatKind::Reuse), Some(NatKind::Delta { step: 0 })]
        {
            assert_eq!(ports(DELTA, kind, Part::First), [40_000], "{kind:?}");
            assert_eq!(ports(None, kind, Part::Second), [40_000], "{kind:?}");
        }
    }

    #[test]
    fn one_that_counts_is_dialled_at_its_next_ports() {
        let next: Vec<u16> = (1..=16).map(|number| 40_000 + 3 * number).collect();
        assert_eq!(ports(Some(NatKind::Reuse), DELTA, Part::First), next);
        assert_eq!(ports(None, DELTA, Part::Second), next);
    }

    #[test]
    fn two_that_count_are_dialled_along_lines_of_different_slopes() {
        assert_eq!(ports(DELTA, DELTA, Part::First)[..4], [40_003, 40_006, 40_009, 40_012]);
        assert_eq!(ports(DELTA, DELTA, Part::Second)[..4], [40_003, 40_009, 40_015, 40_021]);
        assert_eq!(ports(DELTA, DELTA, Part::First).len(), 25);
        assert_eq!(ports(DELTA, DELTA, Part::Second).len(), 17);
    }

    #[test]
    fn what_comes_after_the_end_of_the_range_is_not_foretold() {
        let at_the_end = |seen, step| {
            let theirs = side(seen, Some(NatKind::Delta { step }));
            let all = candidates(&side("192.0.2.1:30000", None), &theirs, Part::First);
            all.iter().map(SocketAddr::port).collect::<Vec<_>>()
        };
        assert_eq!(at_the_end("198.51.100.2:65533", 1), [65_534, 65_535]);
        assert_eq!(at_the_end("198.51.100.2:1026", -1), [1025, 1024]);
        assert!(at_the_end("198.51.100.2:40000", i32::MIN).is_empty());
        assert!(at_the_end("198.51.100.2:40000", i32::MAX).is_empty());
    }

    #[test]
    fn we_are_not_our_own_candidate_and_nobodys_address_is_none() {
        let ours = Side { local_port: 30_001, ..side("192.0.2.1:40003", None) };
        for own in ["192.0.2.1:40003", "192.0.2.1:30001", "[::ffff:192.0.2.1]:40003"] {
            assert!(candidates(&ours, &side(own, None), Part::First).is_empty(), "{own}");
        }
        let neighbours = candidates(&ours, &side("192.0.2.1:40000", DELTA), Part::First);
        assert_eq!(neighbours.first(), Some(&"192.0.2.1:40006".parse().unwrap()));
        for nobody in ["198.51.100.2:0", "0.0.0.0:1", "224.0.0.1:5000", "[ff02::1]:5000"] {
            assert!(candidates(&ours, &side(nobody, None), Part::First).is_empty(), "{nobody}");
        }
    }

    /// Which port each dial of an end leaves from, and to which it goes: one new port for each dial.
    fn burst(ours: &Side, theirs: &Side, part: Part, traffic: i64) -> BTreeSet<(i64, i64)> {
        let Some(NatKind::Delta { step }) = ours.kind else { panic!("it counts") };
        let dials = (1..).zip(candidates(ours, theirs, part));
        let leaves = |n: i64| i64::from(ours.seen.port()) + (traffic + n) * i64::from(step);
        dials.map(|(n, to)| (leaves(n), i64::from(to.port()))).collect()
    }

    proptest! {
        #[test]
        fn two_that_count_meet_whatever_the_traffic(
            steps in (prop::sample::select(vec![-7, -2, -1, 1, 2, 5, 64]), -40i32..=40),
            seen in (20_000u16..45_000, 20_000u16..45_000),
            traffic in (0..=TRAFFIC, 0..=TRAFFIC),
        ) {
            prop_assume!(steps.1 != 0);
            let end = |host: u8, port, step| Side {
                seen: SocketAddr::from(([192, 0, 2, host], port)),
                local_port: 1,
                kind: Some(NatKind::Delta { step }),
            };
            let (first, second) = (end(1, seen.0, steps.0), end(2, seen.1, steps.1));
            let there = burst(&first, &second, Part::First, traffic.0);
            let back = burst(&second, &first, Part::Second, traffic.1);
            prop_assert!(there.iter().any(|&(from, to)| back.contains(&(to, from))));
        }

        #[test]
        fn no_plan_leaves_its_bounds(
            kinds in (prop::option::of(any::<i32>()), prop::option::of(any::<i32>())),
            ports: (u16, u16, u16),
            same_address: bool,
            first: bool,
        ) {
            let delta = |step: Option<i32>| step.map(|step| NatKind::Delta { step });
            let (ip, other) = ([192, 0, 2, 1], [192, 0, 2, if same_address { 1 } else { 2 }]);
            let ours = Side { seen: (ip, ports.0).into(), local_port: ports.1, kind: delta(kinds.0) };
            let theirs = Side { seen: (other, ports.2).into(), local_port: 1, kind: delta(kinds.1) };
            let part = if first { Part::First } else { Part::Second };
            let plan = candidates(&ours, &theirs, part);
            prop_assert!(plan.len() <= CANDIDATE_LIMIT);
            prop_assert_eq!(plan.iter().collect::<BTreeSet<_>>().len(), plan.len());
            for to in plan {
                prop_assert_eq!(to.ip(), theirs.seen.ip());
                prop_assert!(to.port() != 0 && to != ours.seen);
                prop_assert!(!same_address || to.port() != ours.local_port);
                prop_assert!(to == theirs.seen || to.port() >= 1024);
            }
        }
    }
}
