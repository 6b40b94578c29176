use proptest::prelude::*;

use super::*;

const WALL: Duration = Duration::from_secs(1_750_000_000);
const PUNCH: Duration = Duration::from_millis(1500);

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What a host of pyp2p's names whose clock is so many milliseconds before ours, in a line that takes 50 ms.
fn attended(before: i64) -> Window {
    let theirs = (WALL.as_millis() as i64 + before) as u64 - 50;
    attend(Ntp::from_unix(millis(theirs)), WALL, millis(50), PUNCH, at(1000))
}

#[test]
fn where_the_clocks_agree_a_candidate_dials_six_seconds_after_the_line_was_sent() {
    assert_eq!(attended(0), Window { start: at(6950), until: at(6950 + 1500) });
}

#[test]
fn where_the_clocks_differ_a_candidate_dials_at_both_moments_and_between() {
    assert_eq!(attended(2000), Window { start: at(6950), until: at(8950 + 1500) });
    assert_eq!(attended(-2000), Window { start: at(4950), until: at(6950 + 1500) });
    // A little behind, and far behind: now.
    assert_eq!(attended(-6500), Window { start: at(1000), until: at(6950 + 1500) });
    assert_eq!(attended(-3_600_000), Window { start: at(1000), until: at(6950 + 1500) });
}

#[test]
fn a_clock_that_is_far_before_ours_says_nothing() {
    assert_eq!(attended(3_600_000), attended(0));
}

#[test]
fn a_host_names_a_moment_that_a_candidate_comes_to_whose_clock_is_a_second_off() {
    let (ntp, hosted) = propose(WALL, at(0));
    for (off, trip) in [(0, 25), (1000, 25), (-1000, 25), (900, 500)] {
        // pyp2p's rule: the named moment and 6 s, by its own clock, and never when that is past.
        let theirs = WALL.as_millis() as i64 + off + trip;
        let sleeps = ntp.since_unix().as_millis() as i64 + 6000 - theirs;
        assert!(sleeps >= 0, "{off} {trip}");
        let dials = at((trip + sleeps) as u64);
        assert!(hosted.start <= dials && dials + Duration::from_secs(1) <= hosted.until, "{off} {trip}");
    }
}

#[test]
fn two_of_ours_meet_whatever_their_clocks_say() {
    for off in [-3_600_000, -5000, -1000, 0, 1000, 5000, 3_600_000] {
        let (ntp, hosted) = propose(WALL, at(0));
        let theirs = millis((WALL.as_millis() as i64 + off + 40) as u64);
        let attended = attend(ntp, theirs, millis(40), PUNCH, at(40));
        let both = hosted.until.min(attended.until).saturating_since(hosted.start.max(attended.start));
        assert!(both >= millis(1000), "{off}: {both:?}");
    }
}

#[test]
fn the_next_port_is_the_one_seen_unless_the_nat_counts() {
    let side = |port, kind| Side { seen: ([203, 0, 113, 1], port).into(), local_port: 61_000, kind };
    for kind in [None, Some(NatKind::Preserving), Some(NatKind::Reuse)] {
        assert_eq!(foretold(&side(4000, kind)), Some(4000));
    }
    let counting = |port, step| foretold(&side(port, Some(NatKind::Delta { step })));
    assert_eq!(counting(4000, 7), Some(4007));
    assert_eq!(counting(4000, -1), Some(3999));
    assert_eq!((counting(65_535, 1), counting(1024, -1), counting(1, i32::MIN)), (None, None, None));
    assert_eq!(foretold(&side(0, None)), None);
}

proptest! {
    #[test]
    fn no_window_is_longer_or_later_than_its_bounds(ntp: u64, wall: u64, trip: u32, now in 0u64..1 << 40) {
        let ntp = Ntp::from_unix(Duration::from_micros(ntp));
        let (wall, trip) = (Duration::from_micros(wall), Duration::from_millis(trip.into()));
        let window = attend(ntp, wall, trip, PUNCH, at(now));
        prop_assert!(at(now) <= window.start && window.start < window.until);
        prop_assert!(window.until <= at(now) + FAR + PUNCH);
        let (_, hosted) = propose(wall, at(now));
        prop_assert_eq!(hosted.length(), BEFORE + AFTER);
    }
}
