//! The p2p network: peers that the node connects to by itself, and the file in which it remembers them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use super::Node;
use super::attempts::{LookUp, Purpose};
use super::effect::Effect;
use crate::config::Config;
use crate::error::{FailReason, StartError};
use crate::node::Job;
use crate::proto::backoff::Backoff;
use crate::proto::peers::{ClosedBy, Peers, PeersConfig, Source};
use crate::random::Random;
use crate::reach::Mapping;
use crate::time::{Instant, soonest};
use crate::wire::address::HostPort;

/// The file of known peers is written no more often than this, but for the last time.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);

/// A name among the static peers that could not be looked up is tried again after this, doubling.
const RESOLVE_FIRST: Duration = Duration::from_secs(5);
const RESOLVE_MOST: Duration = Duration::from_secs(10 * 60);

/// A static peer that was given by name.
#[derive(Debug)]
struct NamedPeer {
    target: HostPort,
    /// When it is to be looked up; `None` while that is under way, or done.
    due: Option<Instant>,
    backoff: Backoff,
}

/// What the node knows of the p2p network.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) peers: Peers,
    named: Vec<NamedPeer>,
    random: Random,
    /// When the file of known peers may be written again.
    save_at: Instant,
    saving: bool,
    changed: bool,
    has_file: bool,
}

impl Network {
    pub(super) fn new(config: &Config, random: &mut Random, now: Instant) -> Result<Self, StartError> {
        let peers_config = PeersConfig {
            max_outbound: config.max_outbound,
            book_limit: config.max_known,
            known_limit: config.max_known,
            ..PeersConfig::default()
        };
        let mut network = Self {
            peers: Peers::new(peers_config, random.fork()),
            named: Vec::new(),
            random: random.fork(),
            save_at: now + SAVE_INTERVAL,
            saving: false,
            changed: false,
            has_file: config.known_peers.is_some(),
        };
        for text in &config.peers {
            match parse(text)? {
                HostPort::Address(addr) => network.peers.handle_learned(addr, Source::Static, now),
                target @ HostPort::Name { .. } => network.named.push(NamedPeer {
                    target,
                    due: Some(now),
                    backoff: Backoff::new(RESOLVE_FIRST, RESOLVE_MOST),
                }),
            }
        }
        Ok(network)
    }

    pub(super) fn is_saving(&self) -> bool {
        self.saving
    }

    /// `has_place`: whether it may dial; else it has to wait for an attempt to end, not for a moment.
    pub(super) fn poll_timeout(&self, has_place: bool) -> Option<Instant> {
        let names = self.named.iter().filter_map(|peer| peer.due).min();
        let save = (self.changed && !self.saving).then_some(self.save_at);
        let peers = self.peers.poll_timeout().filter(|_| has_place);
        soonest(soonest(peers, names), save)
    }

    /// An outbound connection is there. `counted`: it is known that this address was dialled.
    pub(super) fn handle_dialled(&mut self, peer: SocketAddr, counted: bool, now: Instant) {
        if !counted {
            self.peers.handle_dialling(peer, now);
        }
        self.peers.handle_opened(peer, now);
    }

    /// An outbound connection is gone.
    pub(super) fn handle_lost(&mut self, peer: SocketAddr, closed_by_us: bool, now: Instant) {
        let by = if closed_by_us { ClosedBy::Us } else { ClosedBy::Them };
        self.peers.handle_closed(peer, by, now);
    }
}

pub(super) fn parse(text: &str) -> Result<HostPort, StartError> {
    HostPort::parse(text).map_err(|why| StartError::BadAddress { text: text.to_owned(), why })
}

impl Node {
    /// Asks for the file of known peers.
    pub(super) fn begin_network(&mut self) {
        if let Some(path) = self.core.config.known_peers.clone() {
            self.core.jobs.push_back(Job::Load { path });
        }
    }

    /// Tells the p2p network which addresses are ours: those that we know, and those at which servers see us.
    pub(super) fn tell_own(&mut self) {
        let mut claimed = self.servers.seen();
        if let Mapping::Mapped { external, .. } = self.reach().mapping {
            claimed.push(external);
        }
        self.network.peers.set_own(&self.core.own, &claimed);
    }

    pub(super) fn handle_known_loaded(&mut self, outcome: io::Result<String>, now: Instant) {
        match outcome {
            Ok(text) => {
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                let known: Vec<_> = lines.clone().filter_map(|line| line.parse().ok()).collect();
                if known.is_empty() && lines.count() > 0 {
                    self.leave_file_alone();
                    return;
                }
                for addr in known.into_iter().take(self.core.config.max_known) {
                    self.network.peers.handle_learned(addr, Source::File, now);
                }
                self.network.peers.take_changed();
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.warn_of_file("read", &error);
            }
        }
    }

    pub(super) fn handle_known_saved(&mut self, outcome: io::Result<()>) {
        self.network.saving = false;
        if let Err(error) = outcome {
            self.warn_of_file("saved", &error);
        }
    }

    /// It is somebody else's file.
    fn leave_file_alone(&mut self) {
        let file = self.core.config.known_peers.take().unwrap_or_default();
        self.network.has_file = false;
        self.core.notes.push(Level::Warn, || {
            format!(
                "{} holds text and no known peer: it is left alone, and none will be saved",
                file.display()
            )
        });
    }

    fn warn_of_file(&mut self, done: &str, error: &io::Error) {
        let file = self.core.config.known_peers.as_deref().unwrap_or("".as_ref()).display();
        self.core
            .notes
            .push(Level::Warn, || format!("the known peers in {file} could not be {done}: {error}"));
    }

    /// Writes the file of known peers, if it would be another one.
    pub(super) fn save_known(&mut self) {
        self.network.changed |= self.network.peers.take_changed();
        let Some(path) = self.core.config.known_peers.clone() else { return };
        if self.network.changed && !self.network.saving {
            self.network.changed = false;
            self.network.saving = true;
            let text = self.network.peers.known().map(|addr| format!("{addr}\n")).collect();
            self.core.jobs.push_back(Job::Save { path, text });
        }
    }

    pub(super) fn advance_network(&mut self, now: Instant) {
        if self.core.is_leaving() {
            return;
        }
        self.network.peers.handle_timeout(now);
        let mut names = VecDeque::new();
        for (place, peer) in self.network.named.iter_mut().enumerate() {
            if peer.due.is_some_and(|due| due <= now) {
                peer.due = None;
                names.push_back((place, peer.target.clone()));
            }
        }
        for (place, target) in names {
            let purpose = Purpose::LookUp(LookUp::StaticPeer(place));
            self.core.effects.push(Effect::Attempt { purpose, target });
        }
        self.route(now);
        while self.attempts.has_place(&self.core.config)
            && let Some(addr) = self.network.peers.poll_dial()
        {
            let (purpose, target) = (Purpose::Network(addr), HostPort::Address(addr));
            self.core.effects.push(Effect::Attempt { purpose, target });
            self.route(now);
        }
        if self.network.has_file {
            self.network.changed |= self.network.peers.take_changed();
            if self.network.changed && now >= self.network.save_at {
                self.network.save_at = now + SAVE_INTERVAL;
                self.save_known();
            }
        }
    }

    /// `why`: unless the application was told.
    pub(super) fn handle_peer_unreached(&mut self, addr: SocketAddr, why: Option<&FailReason>, now: Instant) {
        if let Some(why) = why {
            // What the user asked for and does not get, the user should hear of; the rest is daily business.
            let asked = self.network.peers.is_static(addr);
            let level = if asked { Level::Warn } else { Level::Debug };
            self.core.notes.push(level, || format!("peer {addr}: {why}"));
        }
        self.network.peers.handle_dial_failed(addr, now);
    }

    pub(super) fn handle_static_resolved(&mut self, place: usize, addresses: &[SocketAddr], now: Instant) {
        // One address is enough: all of a name are one peer, and each would get a connection of its own.
        match addresses.first() {
            Some(&addr) => self.network.peers.handle_learned(addr, Source::Static, now),
            None => self.handle_static_failed(place, &FailReason::NoAddress("the name has none".into()), now),
        }
    }

    pub(super) fn handle_static_failed(&mut self, place: usize, why: &FailReason, now: Instant) {
        let network = &mut self.network;
        if let Some(peer) = network.named.get_mut(place) {
            let wait = peer.backoff.next(&mut network.random);
            peer.due = Some(now + wait);
            let target = &peer.target;
            self.core.notes.push(Level::Warn, || {
                format!("peer {target}: {why}; trying again in {:.0} s", wait.as_secs_f64().ceil())
            });
        }
    }
}
