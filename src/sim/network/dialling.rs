//! How connections begin: SYNs on their way, who answers them, and two that cross.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use super::end::Packet;
use super::routers::Passage;
use super::topology::{Departure, Entry, Place};
use super::{ComputerId, End, EndId, Happening, Network, RouterId, State};
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
        self.syns.count(to, within)
    }

    /// Sends a SYN, for the first time or again: after 1, 3, 7 s and so on (RFC 6298 section 2).
    pub(super) fn send_syn(&mut self, id: EndId, tries: u32) {
        let Some(end) = self.ends.get(id).filter(|end| end.state == State::Connecting) else { return };
        let (computer, source, to) = (end.computer, end.local, end.peer);
        if tries > SYN_RETRIES {
            return self.fail_dial(id, io::ErrorKind::TimedOut);
        }
        let now = self.queue.now();
        let again = now + Duration::from_secs(1 << tries);
        self.queue.plan(again, Happening::Repeat { end: id, tries: tries + 1 });
        self.trace.add(now, id.0, "syn", (source, to));
        self.syns.add(to.ip(), now);
        let Departure { arrival, passages, sessions } = self.topology.leave(computer, source, to, now);
        for (router, flow) in sessions {
            self.plan_expiry(router, flow);
            self.review_session(router, flow);
        }
        // Nobody has this address: nobody answers.
        let Some((at, source)) = arrival else { return };
        let delay = self.topology.way(Place::Computer(computer), at);
        self.queue.plan(now + delay, Happening::Syn(Syn { end: id, at, source, to, passages }));
    }

    pub(super) fn handle_syn(&mut self, syn: Syn) {
        // Who has given up does not answer the answer, either.
        let is_wanted = self.ends.get(syn.end).is_some_and(|end| end.state == State::Connecting);
        if !is_wanted || self.is_stranded(syn.end) {
            return;
        }
        match syn.at {
            Place::Router(router) => self.enter_house(router, syn),
            Place::Computer(computer) => self.knock(computer, syn),
        }
    }

    fn enter_house(&mut self, router: RouterId, mut syn: Syn) {
        let now = self.queue.now();
        let Some(entry) = self.topology.enter(router, syn.source, syn.to.port(), now) else {
            if !self.topology.router(router).nat.filter.is_silent() {
                self.refuse(&syn);
            }
            return;
        };
        let Entry { at: Some(at), to, passage } = entry else { return };
        syn.passages.extend(passage);
        let delay = self.topology.way(syn.at, at);
        self.queue.plan(now + delay, Happening::Syn(Syn { at, to, ..syn }));
    }

    /// It has arrived at a computer: for a dial in the other direction, for a listener, or for nobody.
    fn knock(&mut self, to: ComputerId, syn: Syn) {
        let from = self.ends[syn.end].computer;
        if !self.topology.is_reachable(from, to) {
            return;
        }
        if let Some(here) = self.ends.at((to, syn.to, syn.source)) {
            return self.meet(here, &syn);
        }
        if self.topology.computer(to).is_closed && from != to {
            return;
        }
        let Some(program) = self.listeners.at(to, syn.to) else { return self.refuse(&syn) };
        let window = self.topology.computer(to).window;
        let answering = End::new(program, (to, syn.to, syn.source), State::Open, window);
        let answering = self.ends.insert(answering);
        self.ends.join(answering, syn.end, &syn.passages);
        self.review(answering);
        self.send(answering, Packet::Accepted);
        self.programs.mailbox(program).backlog.push_back(answering);
        self.wake(program, self.queue.now());
    }

    /// The computer has a socket of these two addresses already.
    fn meet(&mut self, here: EndId, syn: &Syn) {
        let end = &self.ends[here];
        match (end.state, end.other) {
            // Simultaneous open (RFC 9293 section 3.5): two that dial each other from where they are dialled are
            // connected. Each of the two SYNs is answered; the first answer opens.
            (State::Connecting, None) if self.ends[syn.end].other.is_none() => {
                self.ends.join(here, syn.end, &syn.passages);
                self.send(here, Packet::Accepted);
            }
            (State::Connecting, Some(other)) if other == syn.end => self.send(here, Packet::Accepted),
            // The answer was held up, and is given again.
            (State::Open, Some(other)) if other == syn.end => {
                let delay = self.topology.delay(end.computer, self.ends[other].computer);
                self.queue.plan(self.queue.now() + delay, Happening::Release { to: syn.end });
            }
            // A remainder of a connection that the other side knows nothing of any more: it is asked, and resets it
            // (RFC 5961 section 4). The repeated SYN finds the place free.
            (State::Open, _) => self.break_end(here, io::ErrorKind::ConnectionReset),
            (State::Connecting | State::Gone, _) => {}
        }
    }

    /// A RST comes back.
    fn refuse(&mut self, syn: &Syn) {
        let back = Place::Computer(self.ends[syn.end].computer);
        let at = self.queue.now() + self.topology.way(syn.at, back);
        self.queue.plan(at, Happening::Packet { to: syn.end, packet: Packet::Refused });
    }
}
