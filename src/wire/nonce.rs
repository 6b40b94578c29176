//! pyp2p's nonce: the 64 hexadecimal digits, with no line end, that its dialling side sends first on a direct
//! connection. The accepting side has agreed on them before, in a signal, or expects zeros.

#[cfg(test)]
use crate::random::Random;

/// How many digits there are.
pub(crate) const NONCE_LENGTH: usize = 64;

/// The digits, as they are on the wire.
pub(crate) type Nonce = [u8; NONCE_LENGTH];

/// What is sent when none was agreed.
pub(crate) const NO_NONCE: Nonce = [b'0'; NONCE_LENGTH];

/// One that nobody can guess.
#[cfg(test)]
pub(crate) fn fresh(random: &mut Random) -> Nonce {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|_| DIGITS[random.below(DIGITS.len())])
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// A nonce, whatever follows it.
    Whole(Nonce),
    /// They may become one.
    Begun,
    /// Something else.
    None,
}

pub(crate) fn read(arrived: &[u8]) -> Begin {
    let first = arrived.get(..NONCE_LENGTH).unwrap_or(arrived);
    if !first.iter().all(u8::is_ascii_hexdigit) {
        return Begin::None;
    }
    first.try_into().map_or(Begin::Begun, Begin::Whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_nonce_is_there_with_its_last_digit_and_not_earlier() {
        let nonce = fresh(&mut Random::from_number(1));
        assert!((0..NONCE_LENGTH).all(|length| read(&nonce[..length]) == Begin::Begun));
        assert_eq!(read(&nonce), Begin::Whole(nonce));
        assert_eq!(read(&[&nonce[..], b"hello\r\n"].concat()), Begin::Whole(nonce));
        assert_eq!(
            read(&nonce.to_ascii_uppercase()),
            Begin::Whole(nonce.to_ascii_uppercase().try_into().unwrap())
        );
        assert_eq!(read(&NO_NONCE), Begin::Whole(NO_NONCE));
    }

    #[test]
    fn fresh_ones_differ() {
        let mut random = Random::from_number(1);
        assert_ne!(fresh(&mut random), fresh(&mut random));
    }

    proptest! {
        #[test]
        fn a_line_end_or_another_byte_among_the_digits_is_something_else(
            place in 0..NONCE_LENGTH,
            byte: u8,
        ) {
            prop_assume!(!byte.is_ascii_hexdigit());
            let mut arrived = NO_NONCE;
            arrived[place] = byte;
            prop_assert_eq!(read(&arrived), Begin::None);
            prop_assert_eq!(read(&arrived[..=place]), Begin::None);
        }
    }
}
