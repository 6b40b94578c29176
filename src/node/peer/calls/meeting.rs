//! Candidates: we punch to a node of pyp2p's, which our servers know by its address alone.
//!
//! A UNL of version 2 names no servers, so that each of ours is told: the one that knows the node tells it of us. The node
//! accepts, and names the moment. What the server says of its address is believed, as it is a server of our own choice, and
//! has to be what the UNL says.

use std::net::{IpAddr, SocketAddr};

use log::Level;

use super::{Call, Part};
use crate::connect::Rung;
use crate::id::{CallId, ServerId, StreamId};
use crate::node::peer::{Ends, Node};
use crate::proto::meeting::{attend, foretold};
use crate::proto::punch::Side;
use crate::reach::NodeType;
use crate::time::Instant;
use crate::unl::{Oddity, Place, Unl};
use crate::wire::rendezvous::{Ntp, Ports};

/// What the node was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    /// Where it is to be, and nowhere else.
    to: IpAddr,
    round: u8,
}

impl Node {
    /// Whether this is a node that can be punched to as pyp2p does.
    pub(super) fn can_meet(&self, unl: &Unl) -> bool {
        let has_server = self.servers.own_places().next().is_some();
        has_server
            && unl.version() == 2
            && unl.node_type() == NodeType::Simultaneous
            && outside(unl).is_some()
    }

    /// Our port was seen: says to all of our servers where we will come from.
    pub(super) fn announce(&mut self, id: CallId, ours: Side, now: Instant) {
        let Some(call) = self.calls.open.get(&id) else { return };
        let Some(to) = call.unl.as_ref().and_then(outside) else { return };
        let Some(round) = call.seen.map(|seen| seen.round) else { return };
        // Without either, the ladder sees that nobody answers.
        let Some(ports) = foretold(&ours).and_then(|port| Ports::new([port])) else { return };
        // A server keeps one candidate of ours for each address: what the node will hear of is this port alone.
        for other in self.calls.open.values_mut() {
            other.announced.take_if(|announced| announced.to == to);
        }
        if let Some(call) = self.calls.open.get_mut(&id) {
            call.announced = Some(Announced { to, round });
        }
        for place in self.servers.own_places() {
            let sent = self.send_candidate(place, to, ports.clone(), now);
            self.core.notes.push(Level::Debug, || format!("call {id}: candidate of {to}: {sent}"));
        }
    }

    /// A server has told one of those that we want to punch to; it does not say which.
    pub(in super::super) fn handle_announced(&mut self, place: ServerId, now: Instant) {
        if !self.servers.is_own(place) {
            return;
        }
        for id in self.calls.ids() {
            let waits = self.calls.open.get(&id).is_some_and(|call| call.announced.is_some());
            if let Some(ladder) = self.calls.ladder(id).filter(|_| waits) {
                ladder.handle_announced();
                self.climb(id, now);
            }
        }
    }

    /// The node accepts, and names the moment.
    pub(in super::super) fn handle_fight(
        &mut self,
        place: ServerId,
        ip: IpAddr,
        ports: &Ports,
        ntp: Ntp,
        now: Instant,
    ) {
        if !self.servers.is_own(place) {
            return;
        }
        let is_it = |call: &Call| call.announced.is_some_and(|announced| announced.to == ip.to_canonical());
        let Some((&id, call)) = self.calls.open.iter_mut().find(|(_, call)| is_it(call)) else { return };
        let Some(Announced { round, .. }) = call.announced.take() else { return };
        let wall = self.calls.wall_at_origin.saturating_add(now.since_origin());
        let trip = self.servers.rtt_of(place).unwrap_or_default();
        let window = attend(ntp, wall, trip, self.core.config.links.punch_time, now);
        self.core.notes.push(Level::Debug, || {
            let dials_in = window.start.saturating_since(now);
            format!("call {id}: {ip} is at {ports} in {dials_in:?}")
        });
        call.server = Some(place);
        call.window = Some(window);
        let port = ports.first();
        let theirs = Side { seen: SocketAddr::new(ip, port), local_port: port, kind: None };
        if let Some(ladder) = self.calls.ladder(id) {
            ladder.handle_meet(round, theirs, now);
            self.climb(id, now);
        }
    }

    /// A server is there: what waits for one goes on.
    pub(in super::super) fn handle_server_met(&mut self, now: Instant) {
        for id in self.calls.ids() {
            if self.calls.peer_of(id).is_none() {
                self.begin_awaited_observation(id, now);
            }
        }
    }

    /// Both dials have met. Who has come as a candidate begins with the nonce; there is one pair of ports, and so nobody
    /// else whom it could have met.
    pub(super) fn meet_pyp2p(&mut self, id: CallId, stream: StreamId, ends: Ends, now: Instant) {
        self.end_punch(id, Some(stream));
        match self.calls.open.get(&id).map(|call| &call.part) {
            Some(Part::Caller(_)) => self.greet_pyp2p(id, stream, Rung::Punch, ends, now),
            Some(Part::Host(_)) => self.welcome_candidate(id, stream, ends, now),
            // A callee knows who calls.
            Some(Part::Callee(_)) | None => drop(self.core.streams.abandon(stream)),
        }
    }
}

/// Where a node is outside. pyp2p's meetings know no ports but those of the meeting.
fn outside(unl: &Unl) -> Option<IpAddr> {
    let mut wan = unl.addresses().filter(|address| address.place == Place::Wan);
    let fine = wan.find(|address| matches!(address.oddity(), None | Some(Oddity::NoPort)));
    fine.map(|address| address.addr.ip().to_canonical())
}
