//! What a server says of a relay: how much it carries, why there is none, and, among the relayed bytes, why it ends.

use crate::config::RelayOffer;

/// What one relay carries at most; 0: as much as one likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RelayLimits {
    /// Bytes in all, both directions together.
    pub(crate) bytes: u64,
    pub(crate) seconds: u64,
    /// Bytes a second, in each direction.
    pub(crate) rate: u64,
}

impl From<&RelayOffer> for RelayLimits {
    fn from(offer: &RelayOffer) -> Self {
        Self { bytes: offer.bytes, seconds: offer.time.as_secs(), rate: offer.rate }
    }
}

/// Why a server does not relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RelayRefusal {
    /// The ticket is for another server, or not signed by both of its ends.
    Ticket,
    /// The connection is not proven for `relay` as one of the ticket's ends.
    Proof,
    /// This end of the session came before.
    Used,
    /// The server relays as much as it can.
    Full,
    /// One of the two nodes has as many relays as one may have.
    Node,
    /// The asker's address has as many relays as one may have.
    Address,
    /// The other end did not come in time, or left.
    Absent,
    /// The server does not relay.
    Off,
    /// For a reason of a later version.
    Other,
}

/// Why a server ended a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RelayEnd {
    /// [`RelayLimits::bytes`] went through.
    Bytes,
    /// [`RelayLimits::seconds`] are over.
    Time,
    /// Nothing went through for too long.
    Idle,
}

/// What stands before the reason. No text begins with the NUL: who knows what it relays (lines that are text) finds it
/// behind a line that was cut in the middle, too, and drops both.
const CLOSED: &[u8] = b"\0~relay closed ";

/// What a server appends to what it relayed, with the line end.
pub(crate) fn closing_line(end: RelayEnd) -> Vec<u8> {
    [CLOSED, end.name().as_bytes(), b"\r\n"].concat()
}

/// Whether this line, without its end, is the one by which a server ends a relay, perhaps behind the beginning of one
/// of the peer's.
pub(crate) fn relay_closed(line: &[u8]) -> Option<RelayEnd> {
    let place = memchr::memrchr(0, line)?;
    let name = line.get(place..)?.strip_prefix(CLOSED)?;
    RelayEnd::ALL.into_iter().find(|end| end.name().as_bytes() == name)
}

impl RelayEnd {
    pub(crate) const ALL: [Self; 3] = [Self::Bytes, Self::Time, Self::Idle];

    const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Time => "time",
            Self::Idle => "idle",
        }
    }
}

impl RelayRefusal {
    pub(crate) const ALL: [Self; 9] = [
        Self::Ticket,
        Self::Proof,
        Self::Used,
        Self::Full,
        Self::Node,
        Self::Address,
        Self::Absent,
        Self::Off,
        Self::Other,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Proof => "proof",
            Self::Used => "used",
            Self::Full => "full",
            Self::Node => "node",
            Self::Address => "address",
            Self::Absent => "absent",
            Self::Off => "off",
            Self::Other => "other",
        }
    }

    pub(crate) fn named(word: &[u8]) -> Self {
        Self::ALL.into_iter().find(|why| why.name().as_bytes() == word).unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(end: RelayEnd) -> Vec<u8> {
        closing_line(end).strip_suffix(b"\r\n").unwrap().to_vec()
    }

    #[test]
    fn the_end_is_recognised_behind_a_cut_line() {
        assert_eq!(closing_line(RelayEnd::Bytes), b"\0~relay closed bytes\r\n");
        for end in RelayEnd::ALL {
            assert_eq!(relay_closed(&line(end)), Some(end));
            assert_eq!(relay_closed(&[b"half a l", &line(end)[..]].concat()), Some(end));
            assert_eq!(relay_closed(&[b"\0\0", &line(end)[..]].concat()), Some(end));
            assert_eq!(relay_closed(&[&line(end)[..], b" "].concat()), None);
        }
        for other in ["", "~relay closed time", "\0~relay closed", "\0~relay closed never", "\0"] {
            assert_eq!(relay_closed(other.as_bytes()), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn text_without_nul_is_no_end(text in "[^\0]*") {
            prop_assert_eq!(relay_closed(text.as_bytes()), None);
        }
    }
}
