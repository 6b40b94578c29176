//! How long answers take, and so how long to wait for one (RFC 6298).

use crate::wire::ring::Place;
use std::time::Duration;

/// One that was measured: 16 bytes. Microseconds in 32 bits reach to an hour, and the first 64 bits of a place tell members
/// apart; two that share them would wait for each other's time, no more.
#[derive(Clone, Copy, Debug)]
struct Measured {
    place: u64,
    smoothed_us: u32,
    variation_us: u32,
}

/// The round trips to those that were asked last; a new one takes the place of the oldest.
#[derive(Clone, Debug, Default)]
pub(super) struct RoundTrips {
    measured: Vec<Measured>,
    /// Which is overwritten next.
    oldest: usize,
}

impl RoundTrips {
    /// An answer came after that time. It answers a question that was asked once only (Karn's rule).
    pub(super) fn measured(&mut self, place: Place, took: Duration, most: usize) {
        let us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let place = place.first_bits();
        if let Some(known) = self.measured.iter_mut().find(|known| known.place == place) {
            known.update(us);
            return;
        }
        let fresh = Measured { place, smoothed_us: us, variation_us: us / 2 };
        if self.measured.len() < most {
            self.measured.push(fresh);
        } else if let Some(oldest) = self.measured.get_mut(self.oldest) {
            *oldest = fresh;
            self.oldest = (self.oldest + 1) % most;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.measured.len()
    }

    /// RFC 6298 section 2: SRTT + 4 RTTVAR. `None` if it is not known.
    pub(super) fn wait_for(&self, place: Place) -> Option<Duration> {
        let known = self.measured.iter().find(|known| known.place == place.first_bits())?;
        let us = u64::from(known.smoothed_us) + 4 * u64::from(known.variation_us);
        Some(Duration::from_micros(us))
    }
}

impl Measured {
    /// RFC 6298 section 2.3: alpha = 1/8, beta = 1/4.
    fn update(&mut self, us: u32) {
        let difference = self.smoothed_us.abs_diff(us);
        self.variation_us = self.variation_us - self.variation_us / 4 + difference / 4;
        self.smoothed_us = self.smoothed_us - self.smoothed_us / 8 + us / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn place(number: u8) -> Place {
        Place::from_bytes([number; 20])
    }

    #[test]
    fn the_wait_follows_the_round_trip() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.wait_for(place(1)), None);
        trips.measured(place(1), 100 * MS, 4);
        assert_eq!(trips.wait_for(place(1)), Some(300 * MS));
        (0..50).for_each(|_| trips.measured(place(1), 100 * MS, 4));
        let settled = trips.wait_for(place(1)).expect("measured");
        assert!((100 * MS..101 * MS).contains(&settled), "{settled:?}");
        trips.measured(place(1), 300 * MS, 4);
        assert!(trips.wait_for(place(1)) > Some(300 * MS));
    }

    #[test]
    fn it_keeps_the_latest_and_no_more() {
        let mut trips = RoundTrips::default();
        (0..100).for_each(|number| trips.measured(place(number), MS, 4));
        assert_eq!(trips.measured.len(), 4);
        assert!((96..100).all(|number| trips.wait_for(place(number)).is_some()));
        trips.measured(place(7), Duration::MAX, 4);
        trips.measured(place(7), Duration::MAX, 4);
        assert!(trips.wait_for(place(7)).is_some());
    }
}
