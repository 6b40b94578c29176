//! Paths through an ideal ring by arithmetic alone: a sorted list and nothing of the machine's. What the machine does is
//! compared with it, look-up by look-up.

use crate::wire::ring::{BITS, Place};

pub struct Oracle {
    places: Vec<Place>,
    list: usize,
}

impl Oracle {
    /// With lists of so many entries. The places come in order.
    pub fn new(places: Vec<Place>, list: usize) -> Self {
        let list = list.min(places.len() - 1);
        Self { places, list }
    }

    /// The first member at or after the key.
    pub fn owner(&self, key: Place) -> usize {
        self.places.partition_point(|&place| place < key) % self.places.len()
    }

    /// How many members a look-up contacts, its owner included. The origin does not know what it owns itself, as in the
    /// paper's pseudocode: such a key goes all around.
    pub fn path(&self, origin: usize, key: Place) -> usize {
        let count = self.places.len();
        let owner = self.owner(key);
        let mut at = origin;
        for hops in 1..=count {
            // From 1 to N: one's own key is N members away.
            let ahead = (owner + count - at - 1) % count + 1;
            if ahead <= self.list {
                return hops;
            }
            at = (at + self.stride(at, key).max(self.list)) % count;
        }
        count
    }

    /// How many members the closest preceding finger is away.
    fn stride(&self, at: usize, key: Place) -> usize {
        let (count, me) = (self.places.len(), self.places[at]);
        let to_key = match me.distance(key) {
            Place::ZERO => Place::from_bytes([255; 20]),
            distance => distance,
        };
        (0..BITS)
            .rev()
            .map(|bit| (self.owner(me.plus_power(bit)) + count - at) % count)
            .find(|&ahead| ahead > 0 && me.distance(self.places[(at + ahead) % count]) < to_key)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evenly(count: u8, list: usize) -> Oracle {
        let place = |number: u8| {
            let mut bytes = [0; 20];
            bytes[0] = number * (256 / usize::from(count)) as u8;
            Place::from_bytes(bytes)
        };
        Oracle::new((0..count).map(place).collect(), list)
    }

    /// On an even ring of 2^k with fingers only, the forwards are the ones among the bits of the distance to the owner's
    /// predecessor.
    #[test]
    fn it_takes_the_binary_digits() {
        let oracle = evenly(16, 1);
        for origin in 0..16 {
            for owner in 0..16 {
                let expected = ((owner + 16 - origin - 1) % 16_usize).count_ones() as usize + 1;
                assert_eq!(oracle.path(origin, oracle.places[owner]), expected, "{origin} to {owner}");
            }
        }
    }

    #[test]
    fn a_list_that_knows_all_takes_one_hop() {
        let oracle = evenly(16, 20);
        assert!((1..16).all(|owner| oracle.path(0, oracle.places[owner]) == 1));
        assert_eq!(oracle.path(0, oracle.places[0]), 2, "its own");
    }
}
