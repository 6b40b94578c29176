//! The relays of this node's own configuration, where it goes because its user trusts them.
//!
//! A name among them is looked up when the node starts, and again when a call is under way and what is known has grown old:
//! such a call makes do with what is known, the next one profits.

use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::Node;
use super::attempts::{LookUp, Purpose};
use super::effect::Effect;
use super::network::parse;
use crate::address::canonical;
use crate::config::Config;
use crate::error::{FailReason, StartError};
use crate::proto::dial::{is_dialable, is_own};
use crate::time::Instant;
use crate::wire::address::HostPort;

/// An address is looked up again after this, for those that move.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// Where none is known, after this.
const AGAIN: Duration = Duration::from_secs(10);

/// As many as the configuration may name.
#[derive(Debug)]
pub(super) struct OwnRelays(Vec<OwnRelay>);

#[derive(Debug)]
struct OwnRelay {
    target: HostPort,
    addr: Option<SocketAddr>,
    /// When its name was looked up last.
    asked: Option<Instant>,
}

impl OwnRelays {
    pub(super) fn new(config: &Config) -> Result<Self, StartError> {
        let relay = |text: &String| {
            let target = parse(text)?;
            let addr = match target {
                HostPort::Address(addr) => Some(canonical(addr)),
                HostPort::Name { .. } => None,
            };
            Ok(OwnRelay { target, addr, asked: None })
        };
        config.links.relay_through.iter().map(relay).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of them is there.
    pub(super) fn has(&self, addr: SocketAddr) -> bool {
        self.0.iter().any(|relay| relay.addr == Some(addr))
    }
}

impl OwnRelay {
    fn is_stale(&self, now: Instant) -> bool {
        let lasts = if self.addr.is_some() { FRESH } else { AGAIN };
        let is_name = matches!(self.target, HostPort::Name { .. });
        is_name && self.asked.is_none_or(|asked| asked + lasts <= now)
    }
}

impl Node {
    /// A relay of ours: the one at this address, if there is one, or else the first.
    pub(super) fn own_relay(&mut self, wished: Option<SocketAddr>, now: Instant) -> Option<SocketAddr> {
        self.look_up_relays(now);
        let fits = |addr: &SocketAddr| self.core.is_of_our_family(*addr) && !is_own(&self.core.own, *addr);
        let known = || self.own_relays.0.iter().filter_map(|relay| relay.addr).filter(fits);
        known().find(|addr| Some(*addr) == wished).or_else(|| known().next())
    }

    /// Looks up the names of which too little is known.
    pub(super) fn look_up_relays(&mut self, now: Instant) {
        for place in 0..self.own_relays.0.len() {
            let Some(relay) = self.own_relays.0.get_mut(place).filter(|relay| relay.is_stale(now)) else {
                continue;
            };
            relay.asked = Some(now);
            let target = relay.target.clone();
            let purpose = Purpose::LookUp(LookUp::OwnRelay(place));
            self.core.effects.push(Effect::Attempt { purpose, target });
        }
    }

    /// Both ends have to be able to dial it, and more nodes have IPv4.
    pub(super) fn handle_relay_resolved(&mut self, place: usize, addresses: &[SocketAddr]) {
        let usable = addresses.iter().copied().map(canonical);
        let usable = usable.filter(|&addr| is_dialable(addr) && self.core.is_of_our_family(addr));
        let addr = usable.min_by_key(SocketAddr::is_ipv6);
        if let Some(relay) = self.own_relays.0.get_mut(place) {
            relay.addr = addr.or(relay.addr);
        }
    }

    pub(super) fn handle_relay_unresolved(&mut self, place: usize, why: &FailReason) {
        if let Some(relay) = self.own_relays.0.get(place) {
            self.core.notes.push(Level::Warn, || format!("relay {}: {why}", relay.target));
        }
    }
}
