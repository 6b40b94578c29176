//! The extensions of the protocol, by name.

/// A set of extensions, by name on the wire.
///
/// A later one is a constant and a row in `NAMES`; who does not know its word passes over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features(pub(super) u32);

impl Features {
    pub(crate) const NONE: Self = Self(0);
    /// Answers to `BOOTSTRAP` may hold IPv6, nodes at the asker's own address, and `p+:` entries.
    pub(crate) const PEERS: Self = Self(1);
    /// `WHOAMI` and `SEEN`.
    pub(crate) const SEEN: Self = Self(1 << 1);
    /// `PING` and `PONG`.
    pub(crate) const PING: Self = Self(1 << 2);
    /// A registration is answered, and lasts as long as its connection.
    pub(crate) const LISTED: Self = Self(1 << 3);
    /// `OBSERVERS`, both ways.
    pub(crate) const OBSERVERS: Self = Self(1 << 4);
    /// `PROBE` and `PROBED`.
    pub(crate) const PROBE: Self = Self(1 << 5);
    /// A nonce with the answer to `HELLO`, and `PROVE`.
    pub(crate) const ID: Self = Self(1 << 6);
    /// `OBSERVE`.
    pub(crate) const OBSERVE: Self = Self(1 << 7);
    /// `SIGNAL`, both ways, for who has proven its id.
    pub(crate) const SIGNAL: Self = Self(1 << 8);
    /// `RELAY`, for who has proven its id.
    pub(crate) const RELAY: Self = Self(1 << 9);
    /// A process says which one it is when it proves its id; `PENDING`, `INUSE`, and `PING` from the server.
    pub(crate) const INCARNATION: Self = Self(1 << 10);
    /// What is of use only to who has an id to prove.
    pub(crate) const PROVEN: Self =
        Self::ID.or(Self::OBSERVE).or(Self::SIGNAL).or(Self::RELAY).or(Self::INCARNATION);
    /// All that this version knows.
    pub(crate) const ALL: Self = Self((1 << 11) - 1);

    pub(super) const NAMES: [(Self, &str); 11] = [
        (Self::PEERS, "peers"),
        (Self::SEEN, "seen"),
        (Self::PING, "ping"),
        (Self::LISTED, "listed"),
        (Self::OBSERVERS, "observers"),
        (Self::PROBE, "probe"),
        (Self::ID, "id"),
        (Self::OBSERVE, "observe"),
        (Self::SIGNAL, "signal"),
        (Self::RELAY, "relay"),
        (Self::INCARNATION, "incarnation"),
    ];

    pub(crate) const fn has(self, feature: Self) -> bool {
        self.0 & feature.0 == feature.0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn named(word: &[u8]) -> Self {
        let found = Self::NAMES.iter().find(|(_, name)| name.as_bytes() == word);
        found.map_or(Self::NONE, |(feature, _)| *feature)
    }
}
