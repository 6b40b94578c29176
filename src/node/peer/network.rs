//! The p2p network: peers that the node connects to by itself, and the file in which it remembers them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use log::Level;

use super::attempts::{LookUp, Purpose};
use super::core::Core;
use super::effect::Effect;
use crate::address::HostPort;
use crate::config::Config;
use crate::error::{FailReason, StartError};
use crate::node::Job;
use crate::proto::peers::{ClosedBy, Peers, PeersConfig, Source};
use crate::proto::resolve::NamedPeers;
use crate::proto::saving::Saving;
use crate::random::Random;
use crate::time::{Instant, soonest};
use crate::wire::rendezvous::Listed;

/// The file of known peers is written no more often than this, but for the last time.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);

/// What the node knows of the p2p network.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) peers: Peers,
    named: NamedPeers,
    /// The file of known peers, where there is one.
    saving: Option<Saving>,
}

impl Network {
    pub(super) fn new(config: &Config, random: &mut Random, now: Instant) -> Result<Self, StartError> {
        let peers_config = PeersConfig {
            max_outbound: config.max_outbound,
            per_household: config.max_outbound_per_address,
            book_limit: config.max_known,
            known_limit: config.max_known,
            ..PeersConfig::default()
        };
        let mut peers = Peers::new(peers_config, random.fork());
        let mut named = NamedPeers::new(random.fork());
        for text in &config.peers {
            match parse(text)? {
                HostPort::Address(addr) => peers.handle_learned(addr, Source::Static, now),
                target @ HostPort::Name { .. } => named.add(target, now),
            }
        }
        let saving = config.known_peers.as_ref().map(|_| Saving::new(SAVE_INTERVAL, now));
        Ok(Self { peers, named, saving })
    }

    /// Asks for the file of known peers.
    pub(super) fn begin(core: &mut Core) {
        if let Some(path) = core.config.known_peers.clone() {
            core.jobs.push_back(Job::Load { path });
        }
    }

    pub(super) fn is_saving(&self) -> bool {
        self.saving.as_ref().is_some_and(Saving::is_under_way)
    }

    /// `has_place`: whether it may dial; else it has to wait for an attempt to end, not for a moment.
    pub(super) fn poll_timeout(&self, has_place: bool) -> Option<Instant> {
        let peers = self.peers.poll_timeout().filter(|_| has_place);
        let save = self.saving.as_ref().and_then(Saving::poll_timeout);
        soonest(soonest(peers, self.named.poll_timeout()), save)
    }

    /// `places`: how many more attempts may begin by themselves.
    pub(super) fn handle_timeout(&mut self, core: &mut Core, places: usize, now: Instant) {
        if core.is_leaving() {
            return;
        }
        self.peers.handle_timeout(now);
        while let Some((place, target)) = self.named.poll_look_up(now) {
            let purpose = Purpose::LookUp(LookUp::StaticPeer(place));
            core.effects.push(Effect::Attempt { purpose, target });
        }
        for _ in 0..places {
            let Some(addr) = self.peers.poll_dial() else { break };
            let (purpose, target) = (Purpose::Network(addr), HostPort::Address(addr));
            core.effects.push(Effect::Attempt { purpose, target });
        }
        self.note_changes();
        if self.saving.as_mut().is_some_and(|saving| saving.poll_save(now)) {
            self.write(core);
        }
    }

    /// The addresses that are ours: those that we know, and those at which others say that they see us.
    pub(super) fn set_own(&mut self, core: &Core, claimed: &[SocketAddr]) {
        self.peers.set_own(&core.own, claimed);
    }

    /// Nodes of which a server tells.
    pub(super) fn handle_listed(&mut self, server: IpAddr, nodes: &[Listed], now: Instant) {
        for node in nodes {
            let source = Source::Rendezvous { newer: node.newer, server };
            self.peers.handle_learned(node.addr, source, now);
        }
    }

    /// An outbound connection is there. `counted`: it is known that this address was dialled.
    pub(super) fn handle_dialled(&mut self, peer: SocketAddr, counted: bool, now: Instant) {
        if !counted {
            self.peers.handle_dialling(peer, now);
        }
        self.peers.handle_opened(peer, now);
    }

    /// `why`: unless the application was told.
    pub(super) fn handle_unreached(
        &mut self,
        core: &mut Core,
        peer: SocketAddr,
        why: Option<&FailReason>,
        now: Instant,
    ) {
        if let Some(why) = why {
            // What the user asked for and does not get, the user should hear of; the rest is daily business.
            let asked = self.peers.is_static(peer);
            let level = if asked { Level::Warn } else { Level::Debug };
            core.notes.push(level, || format!("peer {peer}: {why}"));
        }
        self.peers.handle_dial_failed(peer, now);
    }

    /// An outbound connection is gone.
    pub(super) fn handle_lost(&mut self, peer: SocketAddr, closed_by_us: bool, now: Instant) {
        let by = if closed_by_us { ClosedBy::Us } else { ClosedBy::Them };
        self.peers.handle_closed(peer, by, now);
    }

    pub(super) fn handle_name_resolved(
        &mut self,
        core: &mut Core,
        place: usize,
        addresses: &[SocketAddr],
        now: Instant,
    ) {
        // One address is enough: all of a name are one peer, and each would get a connection of its own.
        match addresses.first() {
            Some(&addr) => self.peers.handle_learned(addr, Source::Static, now),
            None => {
                let why = FailReason::NoAddress("the name has none".into());
                self.handle_name_unresolved(core, place, &why, now);
            }
        }
    }

    pub(super) fn handle_name_unresolved(
        &mut self,
        core: &mut Core,
        place: usize,
        why: &FailReason,
        now: Instant,
    ) {
        if let Some((target, wait)) = self.named.handle_failed(place, now) {
            core.notes.push(Level::Warn, || {
                format!("peer {target}: {why}; trying again in {:.0} s", wait.as_secs_f64().ceil())
            });
        }
    }
}

/// The file of known peers.
impl Network {
    pub(super) fn handle_loaded(&mut self, core: &mut Core, outcome: io::Result<String>, now: Instant) {
        match outcome {
            Ok(text) => {
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                let known: Vec<_> = lines.clone().filter_map(|line| line.parse().ok()).collect();
                if known.is_empty() && lines.count() > 0 {
                    self.leave_file_alone(core);
                    return;
                }
                for addr in known.into_iter().take(core.config.max_known) {
                    self.peers.handle_learned(addr, Source::File, now);
                }
                self.peers.take_changed();
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn_of_file(core, "read", &error),
        }
    }

    pub(super) fn handle_saved(&mut self, core: &mut Core, outcome: io::Result<()>) {
        if let Some(saving) = &mut self.saving {
            saving.handle_saved();
        }
        if let Err(error) = outcome {
            warn_of_file(core, "saved", &error);
        }
    }

    /// Writes the file for the last time, if it would be another one.
    pub(super) fn save_last(&mut self, core: &mut Core) {
        self.note_changes();
        if self.saving.as_mut().is_some_and(Saving::save_now) {
            self.write(core);
        }
    }

    fn note_changes(&mut self) {
        if let Some(saving) = &mut self.saving
            && self.peers.take_changed()
        {
            saving.handle_changed();
        }
    }

    fn write(&self, core: &mut Core) {
        let Some(path) = core.config.known_peers.clone() else { return };
        let text = self.peers.known().map(|addr| format!("{addr}\n")).collect();
        core.jobs.push_back(Job::Save { path, text });
    }

    /// It is somebody else's file.
    fn leave_file_alone(&mut self, core: &mut Core) {
        let file = core.config.known_peers.take().unwrap_or_default();
        self.saving = None;
        core.notes.push(Level::Warn, || {
            format!(
                "{} holds text and no known peer: it is left alone, and none will be saved",
                file.display()
            )
        });
    }
}

pub(super) fn parse(text: &str) -> Result<HostPort, StartError> {
    HostPort::parse(text).map_err(|why| StartError::BadAddress { text: text.to_owned(), why })
}

fn warn_of_file(core: &mut Core, done: &str, error: &io::Error) {
    let file = core.config.known_peers.as_deref().unwrap_or("".as_ref()).display();
    core.notes.push(Level::Warn, || format!("the known peers in {file} could not be {done}: {error}"));
}
