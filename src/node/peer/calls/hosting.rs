//! Hosts: nodes of pyp2p's punch to us, by way of a server at which we are registered for that.
//!
//! **Nobody is aimed.** Only a server of our own choice can have us dial, and only an address that it sees the candidate at;
//! a candidate chooses but the port. One at a time has its turn, each two seconds later, so that a crowd gets no more SYNs
//! from us than one does.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use log::Level;

use super::{Call, Part};
use crate::id::{CallId, ServerId, StreamId};
use crate::node::peer::{Ends, Node};
use crate::proto::dial::is_dialable;
use crate::proto::meeting::{Challenge, foretold, propose};
use crate::proto::punch::Side;
use crate::reach::{NatKind, NodeType};
use crate::time::Instant;
use crate::wire::rendezvous::Ports;

/// So many meetings are under way at most. One takes 7 s at the longest, and they begin 2 s apart.
const MEETINGS: usize = 4;

/// How long it may take to see our port.
const PREPARATION: Duration = Duration::from_secs(5);

/// A meeting with a candidate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    /// Who said so.
    place: ServerId,
    /// The candidate, where it will come from.
    candidate: SocketAddr,
    pub(super) until: Instant,
}

impl Node {
    /// Whether others may punch to us as pyp2p does: that is worth it for who can not be connected to, and has ports that
    /// can be foretold. pyp2p has only direct nets do this.
    pub(in super::super) fn waits_for_candidates(&self) -> bool {
        let reach = self.reach();
        let predictable = reach.nat.kind().is_some_and(|kind| kind != NatKind::Random);
        let told = self.told_type(&reach) == NodeType::Simultaneous;
        self.greets_all()
            && self.core.config.links.simultaneous
            && told
            && predictable
            && !self.core.is_leaving()
    }

    /// A server says that somebody wants to punch to us.
    pub(in super::super) fn handle_challenge(
        &mut self,
        place: ServerId,
        ip: IpAddr,
        ports: &Ports,
        now: Instant,
    ) {
        let port = ports.first();
        let dialable = is_dialable(SocketAddr::new(ip, port));
        // Who is at our own address is in our network: hardly any router leads from there to there.
        let near = self.is_same_network(place, SocketAddr::new(ip, 0));
        if self.servers.is_own(place) && self.waits_for_candidates() && dialable && !near {
            self.calls.hosting.handle_challenge(Challenge { place, ip, port }, now);
        }
    }

    /// A server finds our registration too old to announce a candidate to us.
    pub(in super::super) fn handle_reconnect(&mut self, place: ServerId, now: Instant) {
        if self.servers.is_own(place) && self.calls.hosting.handle_reconnect(now) {
            self.register_again(place, now);
        }
    }

    /// Takes those whose turn it is.
    pub(super) fn host_candidates(&mut self, now: Instant) {
        while let Some(challenge) = self.calls.hosting.poll_challenge(now) {
            self.host(challenge, now);
        }
    }

    fn host(&mut self, challenge: Challenge, now: Instant) {
        let Challenge { place, ip, port } = challenge;
        let hosted = |call: &Call| matches!(&call.part, Part::Host(host) if host.candidate.ip() == ip);
        let hosts = self.calls.open.values().filter(|call| matches!(call.part, Part::Host(_))).count();
        let busy = hosts >= MEETINGS || self.calls.count(false) >= self.core.config.links.max_calls;
        if busy || self.calls.open.values().any(hosted) || !self.may_enter(SocketAddr::new(ip, port), now) {
            self.core.notes.push(Level::Info, || format!("no time for candidate {ip}"));
            return;
        }
        let id = CallId::fresh(&mut self.calls.random);
        let candidate = SocketAddr::new(ip, port);
        let host = Host { place, candidate, until: now + PREPARATION };
        let mut call = Call::new(Part::Host(host), None, None, now);
        call.server = Some(place);
        self.calls.open.insert(id, call);
        self.begin_observation(id, 1, place, now);
    }

    /// Our port was seen: accepts the candidate, and dials when it does.
    pub(super) fn accept_candidate(&mut self, id: CallId, ours: Side, now: Instant) {
        let wall = self.calls.wall_at_origin.saturating_add(now.since_origin());
        let (ntp, window) = propose(wall, now);
        let Some(call) = self.calls.open.get_mut(&id) else { return };
        let Part::Host(host) = &mut call.part else { return };
        host.until = window.until + Duration::from_secs(1);
        let (place, candidate) = (host.place, host.candidate);
        call.window = Some(window);
        let ports = foretold(&ours).and_then(|port| Ports::new([port]));
        if !ports.is_some_and(|ports| self.send_accept(place, candidate.ip(), ports, ntp, now)) {
            return self.forget_call(id, now);
        }
        self.core.notes.push(Level::Debug, || format!("candidate {candidate} is met at {ours:?}"));
        let theirs = Side { seen: candidate, local_port: candidate.port(), kind: None };
        self.begin_punch(id, 1, ours, theirs, window.start, now);
    }

    /// It has come.
    pub(super) fn welcome_candidate(&mut self, id: CallId, stream: StreamId, ends: Ends, now: Instant) {
        self.forget_call(id, now);
        // It is the one who has come to us.
        let ends = Ends { dialler: ends.dialled, dialled: ends.dialler };
        if self.may_enter(ends.dialler, now) {
            self.greet_candidate(stream, ends, now);
        } else {
            self.core.streams.abandon(stream);
        }
    }
}
