//! A rendezvous server's node on a network that does what the input says: strangers come, speak, read or do not, end and
//! break off, two of them are relayed, ports are tried, time passes.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::{MANY, address, one_line};
use crate::config::RendezvousConfig;
use crate::id::StreamId;
use crate::identity::Key;
use crate::node::server::{ServerNode, ServerRole};
use crate::node::streams::SocketAction;
use crate::node::{Action, Host as _};
use crate::proto::stream::End;
use crate::random::Random;
use crate::time::Instant;
use crate::wire::proof::{self, ProofRole, Ticket};
use crate::wire::relay::closing_line;
use crate::wire::rendezvous::{Features, Incarnation, Reply, Request, Token};

/// Clients that may be connected, and what may wait for them.
const CLIENTS: usize = 6;
const BACKLOG: usize = 4 << 10;

/// What one client can have beyond it: a batch of answers with mail, and requests that wait.
const BEYOND: usize = 32 << 10;

/// Streams keep their limits, a relay passes on what it is given and nothing else, and all is forgotten when all have gone.
///
/// The input is a list of steps: a byte that says what happens, one that says to which stream, and what belongs to it.
pub fn server_node(data: &[u8]) {
    let mut network = Network::new();
    let mut rest = data;
    while let [what, whom, more @ ..] = rest {
        rest = network.step(*what, *whom, more);
        network.settle();
    }
    network.end();
}

/// One stream, as its peer sees it.
#[derive(Default)]
struct Peer {
    /// The node was refused room, or has not been told of what there is to read.
    parked: bool,
    /// It was dialled, and nothing has come of that yet.
    dialled: bool,
    ended: bool,
    /// What it was sent.
    got: Vec<u8>,
    /// Since it is relayed: with whom, and what it said.
    relayed: Option<usize>,
    said: Vec<u8>,
}

struct Network {
    node: ServerNode,
    now: Instant,
    peers: BTreeMap<usize, Peer>,
    came: u16,
    /// Relays until now: a session is good for one.
    relays: u8,
}

impl Network {
    fn new() -> Self {
        let config = RendezvousConfig::new()
            .max_clients(CLIENTS)
            .max_nodes(3)
            .max_backlog(BACKLOG)
            .max_mail(4)
            .max_relays(2)
            .relay_bytes(100_000)
            .relay_rate(20_000)
            .relay_time(Duration::from_secs(60));
        let node = ServerNode::new(&config, Random::from_seed([1; 32]), Duration::from_secs(1_000_000));
        Self { node, now: Instant::ZERO, peers: BTreeMap::new(), came: 0, relays: 0 }
    }

    /// Does one step; what is left of the input.
    fn step<'a>(&mut self, what: u8, whom: u8, more: &'a [u8]) -> &'a [u8] {
        let place = usize::from(whom) % self.peers.len().max(1);
        let slot = self.peers.keys().nth(place).copied();
        match (what % 12, slot) {
            (0, _) | (_, None) => self.come(whom),
            (1..=3, Some(slot)) => {
                let (len, more) =
                    more.split_first().map_or((0, more), |(len, more)| (usize::from(*len), more));
                let (text, more) = more.split_at(len.min(more.len()));
                self.say(slot, text);
                return more;
            }
            // Much more than is read at once.
            (4, Some(slot)) => self.say(slot, &b"BOOTSTRAP 100\r\n".repeat(40 * usize::from(whom))),
            (5, Some(slot)) => self.read(slot, 100 * usize::from(whom)),
            (6, Some(slot)) => self.prove(slot, what, whom),
            (7, Some(slot)) => self.finish(slot, End::Finished),
            (8, Some(slot)) => self.finish(slot, End::Broken(io::ErrorKind::ConnectionReset)),
            (9, Some(slot)) => self.node.handle_deaf(slot, self.now),
            (10, Some(slot)) => self.conclude_dial(slot, whom),
            (_, Some(_)) => self.now = self.now + Duration::from_millis(u64::from(whom) * u64::from(what)),
        }
        more
    }

    fn come(&mut self, whom: u8) {
        self.came += 1;
        let peer = SocketAddr::new([203, 0, 113, whom % 4].into(), self.came);
        if let Some(id) = self.node.handle_accepted(peer, address(99), self.now) {
            assert!(self.peers.insert(id.slot(), Peer::default()).is_none(), "a slot of somebody else's");
        }
    }

    /// As far as the node reads it.
    fn say(&mut self, slot: usize, mut text: &[u8]) {
        while !text.is_empty() {
            let Some(peer) = self.peers.get_mut(&slot).filter(|peer| !peer.ended && !peer.dialled) else {
                return;
            };
            let Some(space) = self.node.space(slot) else {
                peer.parked = true;
                return;
            };
            let len = text.len().min(space.len());
            assert!(len > 0, "room for nothing");
            space[..len].copy_from_slice(&text[..len]);
            if peer.relayed.is_some() {
                peer.said.extend_from_slice(&text[..len]);
            }
            self.pass_through(slot, len);
            self.node.handle_received(slot, len, self.now);
            self.settle();
            text = &text[len..];
        }
    }

    /// The network takes some of it at once.
    fn pass_through(&mut self, slot: usize, len: usize) {
        let most = if self.came.is_multiple_of(2) { len / 2 } else { 0 };
        let Some((other, bytes)) = self.node.streams().passing(slot, len) else { return };
        let sent = bytes_of(bytes, most);
        if let Some(peer) = self.peers.get_mut(&other) {
            peer.got.extend_from_slice(&sent);
            self.node.streams().handle_passed_through(sent.len());
        }
    }

    /// The network takes so much of what is queued for a stream, its peer reads it.
    fn read(&mut self, slot: usize, most: usize) {
        let mut left = most;
        while left > 0 {
            let unsent = self.node.streams().unsent(slot);
            let piece = bytes_of(unsent, left);
            if piece.is_empty() {
                return;
            }
            left -= piece.len();
            let Some(peer) = self.peers.get_mut(&slot) else { panic!("bytes for nobody") };
            peer.got.extend_from_slice(&piece);
            self.node.handle_sent(slot, piece.len());
        }
    }

    /// What no bytes would come upon: a proof of one of two keys, and with it their ticket.
    fn prove(&mut self, slot: usize, what: u8, whom: u8) {
        let keys = [Key::from_seed(&[1; 32]), Key::from_seed(&[2; 32])];
        let role = ProofRole::ALL[usize::from(whom) % 2];
        self.read(slot, usize::MAX);
        let before = self.peers.get(&slot).map_or(0, |peer| peer.got.len());
        self.say_request(slot, &Request::Hello(Features::ALL));
        self.read(slot, usize::MAX);
        let told = self.peers.get(&slot).and_then(|peer| peer.got.get(before..)).unwrap_or_default();
        let nonce = told.split(|&byte| byte == b'\n').find_map(|line| match Reply::parse(line) {
            Some(Reply::Hello { nonce, .. }) => nonce,
            _ => None,
        });
        let Some(nonce) = nonce else { return };
        let (key, own) = (&keys[usize::from(what / 12) % 2], Token::from_number(7));
        let own = Token::new([own.as_bytes(), own.as_bytes()].concat().as_slice()).unwrap_or(own);
        let incarnation = (whom / 4).is_multiple_of(2).then(|| Incarnation::from_number(u64::from(whom)));
        self.say_request(slot, &proof::prove_as(key, role, incarnation, address(99), &nonce, &own));
        if role == ProofRole::Relay {
            let (caller, callee) = (keys[0].public(), keys[1].public());
            let ticket = Ticket {
                server: address(99),
                session: [self.relays.wrapping_add(whom / 128); 16],
                caller,
                callee,
            };
            self.say_request(slot, &ticket.request(ticket.sign(&keys[0]), ticket.sign(&keys[1])));
        }
    }

    fn say_request(&mut self, slot: usize, request: &Request) {
        let mut text = Vec::new();
        request.write(&mut text);
        one_line(&text);
        self.say(slot, &text);
    }

    fn finish(&mut self, slot: usize, end: End) {
        if let Some(peer) = self.peers.get_mut(&slot).filter(|peer| !peer.ended && !peer.dialled) {
            peer.ended = true;
            self.node.handle_end(slot, end, self.now);
        }
    }

    fn conclude_dial(&mut self, slot: usize, whom: u8) {
        let Some(peer) = self.peers.get_mut(&slot).filter(|peer| peer.dialled) else { return };
        peer.dialled = false;
        if whom.is_multiple_of(2) {
            self.node.handle_connected(slot, address(99), self.now);
        } else {
            let kinds = [io::ErrorKind::ConnectionRefused, io::ErrorKind::QuotaExceeded];
            self.node.handle_connect_failed(slot, kinds[usize::from(whom) / 2 % 2], self.now);
        }
    }

    /// What a driver does after each event.
    fn settle(&mut self) {
        for _ in 0..MANY {
            self.node.handle_timeout(self.now);
            while let Some(action) = self.node.poll_action() {
                self.act(action);
            }
            while let Some(slot) = self.node.poll_resumed() {
                self.peers.entry(slot).and_modify(|peer| peer.parked = false);
            }
            while self.node.streams().poll_unsent().is_some() {}
            self.find_relays();
            if !self.node.has_work() && self.node.poll_timeout().is_none_or(|at| at > self.now) {
                return self.check();
            }
        }
        panic!("an endless loop of timeouts");
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Socket(SocketAction::Dial { slot, to, .. }) => {
                assert_eq!(to.ip().to_string().get(..10), Some("203.0.113."), "nobody there asked");
                let peer = Peer { dialled: true, ..Peer::default() };
                assert!(self.peers.insert(slot, peer).is_none(), "a slot of somebody else's");
            }
            Action::Socket(SocketAction::ShutdownWrite { .. }) => {}
            Action::Socket(SocketAction::Close { slot }) => {
                assert!(self.peers.remove(&slot).is_some(), "it was closed before");
                self.peers
                    .values_mut()
                    .filter(|peer| peer.relayed == Some(slot))
                    .for_each(|peer| peer.relayed = None);
            }
            Action::Job(job) => panic!("a server has no use for {job:?}"),
        }
    }

    /// Two streams that are relayed from now on have what was queued for them, and then what the other says.
    fn find_relays(&mut self) {
        let slots: Vec<usize> = self.peers.keys().copied().collect();
        for slot in slots {
            let Some(id) = self.node.streams().id_at(slot) else { continue };
            let is_relay = matches!(self.node.streams().tag(id), Some(ServerRole::Relay(_)));
            let is_new = self.peers.get(&slot).is_some_and(|peer| peer.relayed.is_none());
            let Some((other, _)) = self.node.streams().passing(slot, 0).filter(|_| is_relay && is_new) else {
                continue;
            };
            let queued = self.node.streams().unsent(slot).to_vec();
            let mut lines = queued.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
            assert!(lines.all(|line| Reply::parse(line).is_some()), "{}", queued.escape_ascii());
            self.read(slot, queued.len());
            if let Some(peer) = self.peers.get_mut(&slot) {
                // From here on it gets what the other one says.
                (peer.relayed, peer.said, peer.got) = (Some(other), Vec::new(), Vec::new());
                self.relays = self.relays.wrapping_add(1);
            }
        }
    }

    fn check(&mut self) {
        let figures = self.node.figures();
        assert!(figures.clients <= CLIENTS && figures.nodes <= 3 && figures.relays <= 2 && figures.mail <= 4);
        assert!(figures.backlog <= BACKLOG + CLIENTS * BEYOND, "{} bytes", figures.backlog);
        for (slot, peer) in &self.peers {
            let Some(other) = peer.relayed.and_then(|other| self.peers.get(&other)) else { continue };
            if other.relayed == Some(*slot) {
                let same = peer.got.iter().zip(&other.said).take_while(|(got, said)| got == said).count();
                assert!(is_end_of_relay(&peer.got[same..]), "{}", peer.got[same..].escape_ascii());
            }
        }
    }

    /// All leave: nothing is left of them.
    fn end(&mut self) {
        let slots: Vec<usize> = self.peers.keys().copied().collect();
        for slot in slots {
            self.conclude_dial(slot, 1);
            self.finish(slot, End::Broken(io::ErrorKind::ConnectionReset));
            self.settle();
        }
        // Registrations last a day, and what was used up is remembered for a while.
        for _ in 0..MANY {
            let Some(at) = self.node.poll_timeout() else { break };
            self.now = self.now.max(at);
            self.settle();
        }
        let figures = self.node.figures();
        assert_eq!((figures.clients, figures.nodes, figures.identities, figures.relays), (0, 0, 0, 0));
        assert_eq!((figures.mail, figures.backlog, self.peers.len()), (0, 0, 0));
        let left: Vec<StreamId> = self.node.streams().iter().map(|(id, _)| id).collect();
        assert_eq!(left, []);
    }
}

/// Nothing, or as much as has come of the line that ends a relay.
fn is_end_of_relay(rest: &[u8]) -> bool {
    use crate::wire::relay::RelayEnd;
    RelayEnd::ALL.into_iter().any(|end| closing_line(end).starts_with(rest))
}

fn bytes_of(bytes: &[u8], most: usize) -> Vec<u8> {
    bytes[..bytes.len().min(most)].to_vec()
}

/// Steps, as the fuzzer finds them after a while.
#[cfg(test)]
pub(super) fn input(seed: u64) -> Vec<u8> {
    const LINES: [&str; 8] = [
        "PASSIVE READY 7 10\r\n",
        "BOOTSTRAP 100\r\n",
        "PROBE 5000 0123456789abcdef\r\n",
        "WHOAMI\r\nOBSERVERS\r\n",
        "GET / HTTP/1.1\r\n",
        "SIMULTANEOUS READY 0 0\r\n",
        "what goes through a relay\r\n",
        "QUIT\r\n",
    ];
    let mut random = Random::from_number(seed);
    let mut data = Vec::new();
    for _ in 0..60 {
        // More comes and proves itself than goes, and little time passes.
        const STEPS: [u8; 24] = [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 5, 6, 6, 6, 6, 6, 10, 11, 11, 7, 8, 9];
        let step = STEPS[random.below(STEPS.len())];
        let what = step + 12 * random.below(20) as u8;
        let whom = random.below(if step == 11 { 8 } else { 256 }) as u8;
        data.extend_from_slice(&[what, whom]);
        if (1..=3).contains(&step) {
            let line = LINES[random.below(LINES.len())];
            data.push(line.len() as u8);
            data.extend_from_slice(line.as_bytes());
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inputs of the test come to relays, probes, and clients that wait.
    #[test]
    fn inputs_reach_what_they_are_for() {
        let (mut relayed, mut waited, mut dialled) = (0, 0, 0);
        for seed in 0..300 {
            let (mut network, data) = (Network::new(), input(seed));
            let mut rest = &data[..];
            while let [what, whom, more @ ..] = rest {
                rest = network.step(*what, *whom, more);
                network.settle();
                dialled += usize::from(network.peers.values().any(|peer| peer.dialled));
                waited += usize::from(network.peers.values().any(|peer| peer.parked));
            }
            relayed += network.node.figures().relayed_bytes;
        }
        assert!(relayed > 1000 && waited > 20 && dialled > 20, "{relayed} {waited} {dialled}");
    }
}
