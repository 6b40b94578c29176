//! How connections begin: SYNs on their way, who answers them, and two that cross.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use super::places::Place;
use super::routers::Passage;
use super::{ComputerId, EndId, Happening, LOOPBACK_DELAY, Network, Packet, State};
use crate::time::Instant;

/// A dial that is not answered is given up after so many repetitions, as by Linux' `tcp_syn_retries`.
const SYN_RETRIES: u32 = 6;

/// A SYN under way in one network.
#[derive(Debug)]
pub(super) struct Syn {
    end: EndId,
    /// Where it will be.
    at: Place,
    /// As this network sees them.
    source: SocketAddr,
    to: SocketAddr,
    /// The routers that it went through.
    passages: Vec<Passage>,
}

impl Network {
    /// SYNs that were sent to an address within a time, repetitions included, whether or not they arrived.
    pub(in crate::sim) fn syns(&self, to: IpAddr, within: Range<Instant>) -> usize {
        self.syns.get(&to).into_iter().flatten().filter(|&at| within.contains(at)).count()
    }

    /// Sends a SYN, for the first time or again: after 1, 3, 7 s and so on (RFC 6298 section 2).
    pub(super) fn send_syn(&mut self, id: EndId, tries: u32) {
        let Some(end) = self.ends.get(id).filter(|end| end.state == State::Connecting) else { return };
        let (computer, source, to) = (end.computer, end.local, end.peer);
        if tries > SYN_RETRIES {
            return self.fail_dial(id, io::ErrorKind::TimedOut);
        }
        let again = self.now + Duration::from_secs(1 << tries);
        self.plan(again, Happening::Repeat { end: id, tries: tries + 1 });
        self.trace(id.0, "syn", (source, to));
        self.syns.entry(to.ip()).or_default().push(self.now);
        let mut passages = Vec::new();
        let here = Place::Computer(computer);
        let way = if to.ip().is_loopback() {
            Some((here, source))
        } else {
            self.leave(computer, source, to, &mut passages)
        };
        // Nobody has this address: nobody answers.
        let Some((at, source)) = way else { return };
        let delay = if at == here { self.delay(computer, computer) } else { self.way(here, at) };
        self.plan(self.now + delay, Happening::Syn(Syn { end: id, at, source, to, passages }));
    }

    pub(super) fn handle_syn(&mut self, syn: Syn) {
        // Who has given up does not answer the answer, either.
        let is_wanted = self.ends.get(syn.end).is_some_and(|end| end.state == State::Connecting);
        if !is_wanted || self.is_stranded(syn.end) {
            return;
        }
        match syn.at {
            Place::Router(_) => self.enter_house(syn),
            Place::Computer(computer) => self.knock(computer, syn),
        }
    }

    fn enter_house(&mut self, mut syn: Syn) {
        let Place::Router(router) = syn.at else { return };
        let Some(inner) = self.enter(router, syn.source, syn.to.port(), &mut syn.passages) else {
            if !self.router_mut(router).nat.filter.is_silent() {
                self.refuse(&syn);
            }
            return;
        };
        let Some(at) = self.inside(router, inner.ip()) else { return };
        let delay = self.way(syn.at, at);
        self.plan(self.now + delay, Happening::Syn(Syn { at, to: inner, ..syn }));
    }

    /// It has arrived at a computer: for a dial in the other direction, for a listener, or for nobody.
    fn knock(&mut self, to: ComputerId, syn: Syn) {
        let from = self.ends[syn.end].computer;
        if !self.is_reachable(from, to) {
            return;
        }
        if let Some(here) = self.ends.at((to, syn.to, syn.source)) {
            return self.meet(here, &syn);
        }
        if self.computers[to.0].is_closed && from != to {
            return;
        }
        let Some(program) = self.listeners.at(to, syn.to) else { return self.refuse(&syn) };
        let answering = self.end(program, syn.to, syn.source, State::Open);
        self.join(answering, syn.end, syn.passages);
        self.send(answering, Packet::Accepted);
        self.mailbox(program).backlog.push_back(answering);
        self.wake(program, self.now);
    }

    /// The computer has a socket of these two addresses already.
    fn meet(&mut self, here: EndId, syn: &Syn) {
        let end = &self.ends[here];
        match (end.state, end.other) {
            // Simultaneous open (RFC 9293 section 3.5): two that dial each other from where they are dialled are
            // connected. Each of the two SYNs is answered; the first answer opens.
            (State::Connecting, None) if self.ends[syn.end].other.is_none() => {
                self.join(here, syn.end, syn.passages.clone());
                self.send(here, Packet::Accepted);
            }
            (State::Connecting, Some(other)) if other == syn.end => self.send(here, Packet::Accepted),
            // The answer was held up, and is given again.
            (State::Open, Some(other)) if other == syn.end => {
                let at = self.now + self.delay(end.computer, self.ends[other].computer);
                self.plan(at, Happening::Release { to: syn.end });
            }
            // A remainder of a connection that the other side knows nothing of any more: it is asked, and resets it
            // (RFC 5961 section 4). The repeated SYN finds the place free.
            (State::Open, _) => self.break_end(here, io::ErrorKind::ConnectionReset),
            (State::Connecting | State::Gone, _) => {}
        }
    }

    /// The two are a connection from now on.
    fn join(&mut self, here: EndId, there: EndId, passages: Vec<Passage>) {
        self.ends.join(here, there);
        self.ends[here].passages = passages.clone();
        self.ends[there].passages = passages;
    }

    /// A RST comes back.
    fn refuse(&mut self, syn: &Syn) {
        let back = Place::Computer(self.ends[syn.end].computer);
        let delay = if syn.at == back { LOOPBACK_DELAY } else { self.way(syn.at, back) };
        self.plan(self.now + delay, Happening::Packet { to: syn.end, packet: Packet::Refused });
    }

    pub(super) fn fail_dial(&mut self, id: EndId, kind: io::ErrorKind) {
        let program = self.ends[id].program;
        self.ends.retire(id);
        self.mailbox(program).connected.push_back((id, Err(kind)));
        self.wake(program, self.now);
    }
}
