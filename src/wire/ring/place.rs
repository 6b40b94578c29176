//! Places: the circle of 2^160 identifiers (Stoica et al., SIGCOMM 2001, section 4.2).
//!
//! A key's place is the SHA-1 of its bytes, as in the paper; a member's is its proven node id.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest, Sha1};

use crate::identity::{NodeId, NodeIdError};

/// A point on the circle. Its order is that of the numbers, from the place 0 on, where nothing else begins.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    // The most significant first, so that the derived order is the right one. 24 bytes, and no loop in the arithmetic.
    high: u64,
    middle: u64,
    low: u32,
}

/// How many bits a place has: m in the papers.
pub(crate) const BITS: u8 = 160;

/// Whether `x` lies in the open arc from `a` clockwise to `b`: neither end belongs to it. The arc from a place to itself
/// is the whole circle but that place.
pub(crate) fn between(a: Place, x: Place, b: Place) -> bool {
    let (to_x, to_b) = (a.distance(x), a.distance(b));
    to_x != Place::ZERO && (to_x < to_b || to_b == Place::ZERO)
}

/// Whether `x` lies in the half-open arc (a, b], which is what a member at `b` with the predecessor `a` owns. The arc
/// from a place to itself is the whole circle.
pub(crate) fn within(a: Place, x: Place, b: Place) -> bool {
    x == b || between(a, x, b)
}

impl Place {
    pub(crate) const ZERO: Self = Self { high: 0, middle: 0, low: 0 };

    /// Where a key lies.
    pub(crate) fn of_key(key: &[u8]) -> Self {
        Self::from_bytes(Sha1::digest(key).into())
    }

    /// Where a member is.
    pub(crate) const fn of_node(node: NodeId) -> Self {
        Self::from_bytes(*node.as_bytes())
    }

    pub(crate) const fn node(self) -> NodeId {
        NodeId::from_bytes(self.to_bytes())
    }

    /// The most significant byte first.
    pub(crate) const fn from_bytes(bytes: [u8; 20]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, low @ ..] = bytes;
        Self {
            high: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            middle: u64::from_be_bytes([i, j, k, l, m, n, o, p]),
            low: u32::from_be_bytes(low),
        }
    }

    pub(crate) const fn to_bytes(self) -> [u8; 20] {
        let [a, b, c, d, e, f, g, h] = self.high.to_be_bytes();
        let [i, j, k, l, m, n, o, p] = self.middle.to_be_bytes();
        let [q, r, s, t] = self.low.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t]
    }

    /// The first 64 of its bits.
    pub(crate) const fn first_bits(self) -> u64 {
        self.high
    }

    /// How far it is clockwise to `to`: less than a turn.
    pub(crate) const fn distance(self, to: Self) -> Self {
        let (low, borrow) = to.low.overflowing_sub(self.low);
        let (middle, first) = to.middle.overflowing_sub(self.middle);
        let (middle, second) = middle.overflowing_sub(borrow as u64);
        let high = to.high.wrapping_sub(self.high).wrapping_sub((first || second) as u64);
        Self { high, middle, low }
    }

    /// The place 2^`exponent` further on: where the finger of that number begins.
    pub(crate) fn plus_power(self, exponent: u8) -> Self {
        self.plus(Self::power(exponent))
    }

    /// The place so far further on.
    pub(crate) const fn plus(self, distance: Self) -> Self {
        let (low, carry) = self.low.overflowing_add(distance.low);
        let (middle, first) = self.middle.overflowing_add(distance.middle);
        let (middle, second) = middle.overflowing_add(carry as u64);
        let high = self.high.wrapping_add(distance.high).wrapping_add((first || second) as u64);
        Self { high, middle, low }
    }

    /// The number of its highest bit, and `None` of zero: of a distance, the last finger that begins within it.
    pub(crate) const fn highest_bit(self) -> Option<u8> {
        // The largest is 159.
        match self {
            Self { high: 1.., .. } => Some((self.high.ilog2() + 96) as u8),
            Self { middle: 1.., .. } => Some((self.middle.ilog2() + 32) as u8),
            Self { low: 1.., .. } => Some(self.low.ilog2() as u8),
            _ => None,
        }
    }

    /// Which part of the circle a distance is.
    pub(crate) fn part_of_circle(self) -> f64 {
        (self.high as f64 + self.middle as f64 / 2_f64.powi(64)) / 2_f64.powi(64)
    }

    const fn power(exponent: u8) -> Self {
        match exponent {
            0..32 => Self { high: 0, middle: 0, low: 1 << exponent },
            32..96 => Self { high: 0, middle: 1 << (exponent - 32), low: 0 },
            96..BITS => Self { high: 1 << (exponent - 96), middle: 0, low: 0 },
            _ => Self::ZERO, // a whole turn
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node().fmt(f)
    }
}

/// The first digits, which are what one can tell apart in a trace.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.high >> 32)
    }
}

/// Reads 40 hexadecimal digits.
impl FromStr for Place {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        text.parse().map(Self::of_node)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A whole number of any length, the least significant byte first: what the arithmetic is compared with.
    fn add(a: [u8; 20], b: [u8; 20]) -> [u8; 20] {
        let (mut sum, mut carry) = ([0; 20], 0);
        for n in (0..20).rev() {
            carry += u16::from(a[n]) + u16::from(b[n]);
            sum[n] = carry as u8;
            carry >>= 8;
        }
        sum
    }

    /// Walks the arc, on a circle that is small enough: `None` when it does not pass `x`.
    fn steps(a: u8, x: u8, b: u8) -> Option<u8> {
        (1..=u8::MAX).take_while(|&n| a.wrapping_add(n) != b).find(|&n| a.wrapping_add(n) == x)
    }

    /// A place of which only the first byte counts.
    fn coarse(number: u8) -> Place {
        let mut bytes = [0; 20];
        bytes[0] = number;
        Place::from_bytes(bytes)
    }

    fn place() -> impl Strategy<Value = Place> {
        // Bytes at the ends make carries and borrows that run through the limbs.
        any::<[[u8; 20]; 2]>().prop_map(|[bytes, choice]| {
            Place::from_bytes(std::array::from_fn(|n| match choice[n] % 4 {
                0 => 0,
                1 => 255,
                _ => bytes[n],
            }))
        })
    }

    #[test]
    fn a_key_lies_at_its_sha1() {
        // FIPS 180-4's example.
        assert_eq!(Place::of_key(b"abc").to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test]
    fn powers_are_the_bits() {
        for exponent in 0..BITS {
            let place = Place::ZERO.plus_power(exponent);
            let mut bytes = [0; 20];
            bytes[19 - usize::from(exponent / 8)] = 1 << (exponent % 8);
            assert_eq!(place.to_bytes(), bytes);
            assert_eq!(place.highest_bit(), Some(exponent));
        }
        assert_eq!(Place::ZERO.highest_bit(), None);
        assert_eq!(Place::ZERO.plus_power(159).part_of_circle(), 0.5);
    }

    proptest! {
        #[test]
        fn texts_and_bytes_are_places(place in place()) {
            prop_assert_eq!(place.to_string().parse(), Ok(place));
            prop_assert_eq!(Place::from_bytes(place.to_bytes()), place);
            prop_assert_eq!(Place::of_node(place.node()), place);
        }

        #[test]
        fn distances_add_up(a in place(), b in place(), c in place()) {
            prop_assert_eq!(a.plus(b).to_bytes(), add(a.to_bytes(), b.to_bytes()));
            prop_assert_eq!(a.plus(a.distance(b)), b);
            prop_assert_eq!(a.distance(b).plus(b.distance(c)), a.distance(c));
        }

        #[test]
        fn order_is_that_of_the_bytes(a in place(), b in place()) {
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        }

        #[test]
        fn arcs_are_what_one_passes_on_the_way(a: u8, x: u8, b: u8) {
            let passed = if a == b { x != a } else { steps(a, x, b).is_some() };
            prop_assert_eq!(between(coarse(a), coarse(x), coarse(b)), passed);
            prop_assert_eq!(within(coarse(a), coarse(x), coarse(b)), passed || x == b);
        }

        // The laws of `between` that Zave's proof rests on ("Reasoning about identifier spaces", TSE 43(12), 2017).
        #[test]
        fn laws_of_the_circle(a in place(), b in place(), c in place(), d in place()) {
            // Whatever is not the only place lies between it and itself.
            prop_assert_eq!(between(a, b, a), a != b);
            // Of three places each lies between the others in one of the two orders.
            if a != b && b != c && a != c {
                prop_assert!(between(a, b, c) != between(c, b, a));
            }
            // An arc turns with its names.
            if a != c {
                prop_assert_eq!(between(a, b, c), between(b, c, a) && b != c && a != b);
            }
            // Arcs join and are cut.
            if a != d && between(a, b, d) && between(b, c, d) {
                prop_assert!(between(a, c, d) && between(a, b, c));
            }
            if a != c && a != b && b != c && within(a, d, c) && !within(a, d, b) && between(a, b, c) {
                prop_assert!(within(b, d, c));
            }
            // Exactly one of two neighbouring arcs has a place.
            if a != b {
                prop_assert!(within(a, c, b) != within(b, c, a));
            }
        }
    }
}
