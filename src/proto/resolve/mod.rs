//! When the names of the configuration are looked up: those of peers until an address is known, those of relays again when
//! what is known has grown old.

mod named_peers;
mod own_relays;

pub(crate) use named_peers::NamedPeers;
pub(crate) use own_relays::OwnRelays;
