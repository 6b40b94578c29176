//! A `Net` of ours in the loop of a test, with everything that it told so far.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use p2poll::{Config, Event, Net, Place, RendezvousNews, Unl};

use crate::driver::PATIENCE;

const STEP: Duration = Duration::from_millis(5);

/// A node that lives at an address of its own.
#[derive(Debug)]
pub(crate) struct Node {
    net: Net,
    events: Vec<Event>,
    lines: Vec<String>,
}

impl Node {
    /// Starts a node at `home`; it is listed if it is passive.
    pub(crate) fn new(home: Ipv4Addr, server: SocketAddr, configure: impl FnOnce(Config) -> Config) -> Node {
        let config = Config::new().bind(home.into()).rendezvous(server.to_string());
        let net = configure(config).start().expect("a node");
        Node { net, events: Vec::new(), lines: Vec::new() }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.net.local_addr().expect("it listens")
    }

    /// Its UNL of version 2, once a server has told it where it is.
    pub(crate) fn unl_version2(&mut self) -> Unl {
        let is_outside = |unl: &Unl| unl.addresses().any(|address| address.place == Place::Wan);
        self.runs_until("its own address", |node| node.net.unl_version2().filter(is_outside))
    }

    /// Begins to connect to a node.
    pub(crate) fn connects(&self, unl: &Unl) {
        self.net.connect(unl).expect("it can be tried");
    }

    /// Whether it is known who is on its only connection.
    pub(crate) fn knows_its_peer(&self) -> bool {
        let cons: Vec<_> = self.net.connections().collect();
        assert_eq!(cons.len(), 1);
        cons[0].node_id().is_some() || cons[0].unl().is_some()
    }

    /// How many connections it shows, after a turn of its loop.
    pub(crate) fn shows(&mut self) -> usize {
        self.turn(STEP);
        self.net.connections().count()
    }

    /// Runs its loop until there is news of the server that `matches`.
    pub(crate) fn hears_news(&mut self, matches: impl Fn(&RendezvousNews) -> bool) -> RendezvousNews {
        self.runs_until("news of the server", |node| node.news().find(|news| matches(news)).cloned())
    }

    /// All news of the server so far.
    pub(crate) fn news(&self) -> impl Iterator<Item = &RendezvousNews> {
        self.events.iter().filter_map(|event| match event {
            Event::Rendezvous { news, .. } => Some(news),
            _ => None,
        })
    }

    /// Runs its loop until there is an event that `matches`.
    pub(crate) fn sees(&mut self, called: &str, matches: impl Fn(&Event) -> bool) -> Event {
        self.runs_until(called, |node| node.events.iter().find(|event| matches(event)).cloned())
    }

    /// Runs its loop until these are the lines that came since the last call.
    pub(crate) fn hears(&mut self, expected: &[&str]) {
        self.runs_until(&format!("{expected:?}"), |node| (node.lines.len() >= expected.len()).then_some(()));
        assert_eq!(std::mem::take(&mut self.lines), expected);
    }

    /// Says a line to its only peer.
    pub(crate) fn says(&mut self, line: &str) {
        assert_eq!(self.net.broadcast(line, None), 1, "peers that were told {line:?}");
        // The network takes a long line in pieces, and `poll` does not return for that.
        self.runs_in_steps(STEP, "the network to take it", |node| {
            node.net.connections().all(|con| con.queued() == 0).then_some(())
        });
    }

    /// Closes its only connection.
    pub(crate) fn hangs_up(&mut self) {
        let cons: Vec<_> = self.net.connections().collect();
        assert_eq!(cons.len(), 1);
        cons[0].close();
        self.sees("the end of the connection", |event| matches!(event, Event::Closed { .. }));
    }

    /// Leaves in good order; returns on all its events.
    pub(crate) fn leaves(mut self) -> Vec<Event> {
        self.net.stop();
        self.sees("the end", |event| *event == Event::Stopped);
        self.events
    }

    fn runs_until<T>(&mut self, called: &str, done: impl Fn(&Node) -> Option<T>) -> T {
        self.runs_in_steps(PATIENCE, called, done)
    }

    fn runs_in_steps<T>(&mut self, step: Duration, called: &str, done: impl Fn(&Node) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.turn(Duration::ZERO);
            if let Some(result) = done(self) {
                return result;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited for {called} in vain: {:#?}, {:?}", self.events, self.lines);
            self.turn(left.min(step));
        }
    }

    /// One turn of the program's loop.
    fn turn(&mut self, wait: Duration) {
        self.net.poll(Some(wait)).expect("a poller");
        for con in self.net.connections() {
            self.lines.extend(con.replies().map(|line| line.to_string()));
        }
        self.events.extend(self.net.events());
    }
}
