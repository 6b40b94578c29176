//! The relays of this node's own configuration: which of them can be used from here, and who looks their names up.

use std::net::SocketAddr;

use log::Level;

use super::attempts::{LookUp, Purpose};
use super::core::Core;
use super::effect::Effect;
use super::network::parse;
use crate::address::canonical;
use crate::config::Config;
use crate::error::{FailReason, StartError};
use crate::proto::dial::is_dialable;
use crate::proto::resolve::OwnRelays as Machine;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct OwnRelays(Machine);

impl OwnRelays {
    pub(super) fn new(config: &Config) -> Result<Self, StartError> {
        let targets: Vec<_> =
            config.links.relay_through.iter().map(|text| parse(text)).collect::<Result<_, _>>()?;
        Ok(Self(Machine::new(targets)))
    }

    /// Whether one of them is there.
    pub(super) fn has(&self, addr: SocketAddr) -> bool {
        self.0.has(addr)
    }

    /// Of those that fit, the one at this address, if there is one, or else the first.
    pub(super) fn choose(
        &self,
        wished: Option<SocketAddr>,
        fits: impl Fn(SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        self.0.choose(wished, fits)
    }

    /// Has the names looked up of which too little is known.
    pub(super) fn look_up(&mut self, core: &mut Core, now: Instant) {
        while let Some((place, target)) = self.0.poll_look_up(now) {
            let purpose = Purpose::LookUp(LookUp::OwnRelay(place));
            core.effects.push(Effect::Attempt { purpose, target });
        }
    }

    pub(super) fn handle_resolved(&mut self, core: &Core, place: usize, addresses: &[SocketAddr]) {
        let usable = addresses.iter().copied().map(canonical);
        self.0
            .handle_resolved(place, usable.filter(|&addr| is_dialable(addr) && core.is_of_our_family(addr)));
    }

    pub(super) fn handle_unresolved(&self, core: &mut Core, place: usize, why: &FailReason) {
        if let Some(target) = self.0.target(place) {
            core.notes.push(Level::Warn, || format!("relay {target}: {why}"));
        }
    }
}
