//! Bodies of the fuzz targets in `fuzz/`: what must hold whatever bytes come. They are compiled and run on a few
//! hundred inputs by every `cargo test`, so that they can not rot.
//!
//! `.ci/run fuzz` runs them all, `FUZZ_SECONDS=3600 .ci/run fuzz` each for an hour.
#![cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "public for the fuzz targets only"))]

mod nat;
mod peers;
mod server_node;
#[cfg(test)]
mod tests;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::StreamLimits;
use crate::id::LinkNonce;
use crate::identity::Key;
use crate::proto::handshake::{
    Accepting, Dialling, HandshakeFault, Opening, Step as HandshakeStep, classify,
};
use crate::proto::rendezvous::client::{Advert, AdvertKind, Client, ClientAction, ClientConfig};
use crate::proto::rendezvous::server::{ClientId, Limits, Server};
use crate::proto::stream::chunks::Chunks;
use crate::proto::stream::{LineStream, Step};
use crate::random::Random;
use crate::time::Instant;
use crate::unl::{self, Place, Unl, UnlBuilder};
use crate::wire::hello::{Answer, Hello, Proof, Refused};
use crate::wire::proof::{self, ProofRole, Ticket};
use crate::wire::rendezvous::{Features, Reply, Request, Token};
use crate::wire::{escape, signal};
pub use server_node::server_node;

pub use nat::{nat_kind, survey};
pub use peers::address_book;
pub use words::{probe_prompt, relay_lines};

/// No machine asks for more than this in one go.
const MANY: usize = 1000;

/// However a stream is cut, and whoever reads when, the lines are those of the stream, up to the first over the limit.
/// The first bytes of the input choose the limit, the cuts and the application's patience.
pub fn lines(data: &[u8]) {
    let [limit, cut, unread, stream @ ..] = data else { return };
    let limits = StreamLimits {
        max_line: 1 + usize::from(*limit),
        max_unread: 1 + usize::from(*unread),
        ..StreamLimits::default()
    };
    let (mut link, mut chunks) = (LineStream::new(Instant::ZERO), Chunks::default());
    let mut got: Vec<Vec<u8>> = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let Some(space) = link.space(&limits, &mut chunks) else {
            let before = got.len();
            got.extend(drain(&mut link, &limits));
            if got.len() == before {
                break; // a line over the limit
            }
            continue;
        };
        let len = rest.len().min(1 + usize::from(*cut)).min(space.len());
        space[..len].copy_from_slice(&rest[..len]);
        link.handle_received(&mut chunks, len, &limits);
        rest = &rest[len..];
    }
    got.extend(drain(&mut link, &limits));
    let (expected, overflows) = model(stream, limits.max_line);
    assert_eq!(got, expected);
    assert_eq!(link.unread(), 0);
    let step = link.poll_step(&limits, 0, Instant::ZERO);
    assert_eq!(step, overflows.then_some(Step::ShutdownWrite));
}

fn drain(link: &mut LineStream, limits: &StreamLimits) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| {
        let span = link.next_line(limits)?;
        link.found(span).map(|found| found.as_bytes().to_vec())
    })
    .collect()
}

/// The same, said in another way.
fn model(stream: &[u8], max_line: usize) -> (Vec<Vec<u8>>, bool) {
    let mut lines: Vec<&[u8]> = stream.split(|&byte| byte == b'\n').collect();
    let tail = lines.pop().unwrap_or_default();
    let lines = lines.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let count = lines.len();
    let whole: Vec<_> = lines.take_while(|line| line.len() <= max_line).map(<[u8]>::to_vec).collect();
    // A last CR may turn out to belong to the end.
    let overflows = whole.len() < count || tail.len() > max_line + 1;
    (whole, overflows)
}

/// What is understood is written as it is read.
pub fn rendezvous_codec(data: &[u8]) {
    for line in data.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(request) = Request::parse(line) {
            let mut text = Vec::new();
            request.write(&mut text);
            assert_eq!(Request::parse(one_line(&text)), Some(request));
        }
        if let Some(reply) = Reply::parse(line) {
            assert!(Reply::knows_verb(line));
            let mut text = Vec::new();
            reply.write(&mut text);
            assert_eq!(Reply::parse(one_line(&text)), Some(reply));
        }
    }
}

fn one_line(text: &[u8]) -> &[u8] {
    let Some(line) = text.strip_suffix(b"\r\n") else { panic!("no end: {}", text.escape_ascii()) };
    assert!(!line.contains(&b'\n'));
    line
}

/// What is understood is written as it is read, in the one way that there is. The first byte chooses whether the rest
/// is a text, or what is inside of either version, with the checksum and the signature made for it.
pub fn unl(data: &[u8]) {
    let key = Key::from_seed(&[1; 32]);
    let text = unl_text(data, &key);
    let Ok(unl) = text.parse::<Unl>() else { return };
    assert_eq!(unl.to_string().parse(), Ok(unl.clone()));
    // What was pasted with it is left out.
    let kept: String = text.chars().filter(|&c| unl.as_str().contains(c)).collect();
    assert!(kept.contains(unl.as_str()) && unl.as_str().len() <= Unl::MAX_TEXT);
    assert!(unl.addresses().len() <= Unl::MAX_ADDRESSES && unl.servers().len() <= Unl::MAX_SERVERS);
    assert!(unl.describe().chars().all(|c| c == '\n' || (' '..='~').contains(&c)));
    let again = match unl.node_id() {
        None => draft(&unl).version2(unl.claimed_id()),
        // What was skipped can not be said again, nor can what another key has signed.
        Some(id) if id != key.id() || unl.skipped() > 0 => return,
        Some(_) => draft(&unl).sign(&key),
    };
    assert_eq!(again, Ok(unl));
}

fn unl_text(data: &[u8], key: &Key) -> String {
    let [choice, data @ ..] = data else { return String::new() };
    let text = match choice % 3 {
        0 => Some(String::from_utf8_lossy(data).into_owned()),
        1 => data.first_chunk().map(|contents| unl::print_version2(&unl::seal_version2(contents))),
        _ => unl::seal_version3(key, data).map(|bytes| unl::print_version3(&bytes)),
    };
    text.unwrap_or_default()
}

/// The same once more.
fn draft(unl: &Unl) -> UnlBuilder {
    let mut builder = Unl::builder(unl.node_type()).forwarding(unl.forwarding());
    if let Some(kind) = unl.nat() {
        builder = builder.nat(kind);
    }
    builder = unl.servers().fold(builder, UnlBuilder::server);
    unl.addresses().fold(builder, |builder, address| match address.place {
        Place::Wan => builder.wan(address.addr),
        Place::Lan => builder.lan(address.addr),
    })
}

/// Clients may come, say, leave out and go what they like: the server keeps its limits and makes no long speeches. The
/// first byte of a line chooses who speaks and what happens before.
pub fn rendezvous_server(data: &[u8]) {
    let limits = Limits {
        clients: 4,
        nodes: 3,
        candidates_in_all: 3,
        probes: 2,
        identities: 2,
        mail: 4,
        observations: 3,
        relays: 1,
        used_sessions: 2,
        ..Limits::default()
    };
    let mut server = Server::new(limits, Random::from_seed([1; 32]), Duration::from_secs(1_000_000));
    let mut places: [Option<u64>; 6] = [None; 6];
    let (mut now, mut ids) = (Instant::ZERO, 0);
    for line in data.split(|&byte| byte == b'\n') {
        let Some((&choice, line)) = line.split_first() else { continue };
        let place = usize::from(choice) % places.len();
        match (choice / 8 % 8, places[place]) {
            (0, Some(id)) => {
                server.handle_closed(ClientId(id), now);
                places[place] = None;
            }
            (1, _) => now = now + Duration::from_secs(u64::from(choice)),
            (_, Some(_)) => {}
            (_, None) => {
                ids += 1;
                places[place] = Some(ids);
                server.handle_connected(ClientId(ids), address(place), address(99), now);
            }
        }
        server.handle_timeout(now);
        take_server_actions(&mut server, &mut places);
        let mut reply = Vec::new();
        if let Some(id) = places[place] {
            server.handle_line(ClientId(id), line, now, &mut reply);
        }
        if let (6 | 7, Some(id)) = (choice / 8 % 8, places[place]) {
            prove_to_server(&mut server, ClientId(id), choice, now, &mut reply);
        }
        // A full box of the longest mail.
        assert!(reply.len() < 64 << 10, "{} bytes", reply.len());
        take_server_actions(&mut server, &mut places);
        assert!(server.clients() <= 4 && server.nodes() <= 6);
        assert!(server.identities() <= 2 && server.relays() <= 1);
        assert!(server.poll_timeout().is_none_or(|at| at > now), "an endless loop of timeouts");
    }
}

/// What no bytes would come upon: a proof of one of two keys, and their ticket.
fn prove_to_server(server: &mut Server, id: ClientId, choice: u8, now: Instant, reply: &mut Vec<u8>) {
    let keys = [Key::from_seed(&[1; 32]), Key::from_seed(&[2; 32])];
    let mut say = |request: &Request| {
        let (mut text, mut answer) = (Vec::new(), Vec::new());
        request.write(&mut text);
        server.handle_line(id, one_line(&text), now, &mut answer);
        reply.extend_from_slice(&answer);
        Reply::parse(answer.trim_ascii_end())
    };
    let hello = say(&Request::Hello(Features::ALL));
    if let Some(Reply::Hello { nonce: Some(nonce), .. }) = hello {
        let role = ProofRole::ALL[usize::from(choice / 64 % 2)];
        let key = &keys[usize::from(choice / 128)];
        say(&proof::prove(key, role, address(99), &nonce, &nonce));
    }
    let (caller, callee) = (keys[0].public(), keys[1].public());
    let ticket = Ticket { server: address(99), session: [choice % 3; 16], caller, callee };
    say(&ticket.request(ticket.sign(&keys[0]), ticket.sign(&keys[1])));
}

fn take_server_actions(server: &mut Server, places: &mut [Option<u64>]) {
    use crate::proto::rendezvous::server::ServerAction;
    for _ in 0..MANY {
        match server.poll_action() {
            None => return,
            Some(ServerAction::Send { text, .. }) => {
                one_line(&text);
            }
            Some(ServerAction::Dial { to, .. }) => {
                assert!((0..6).any(|place| address(place).ip() == to.ip()), "nobody there asked");
            }
            Some(ServerAction::Abandon { .. } | ServerAction::Splice { .. } | ServerAction::Tell(_)) => {}
            Some(ServerAction::Close { client, .. }) => {
                for place in places.iter_mut().filter(|place| **place == Some(client.0)) {
                    *place = None;
                }
            }
        }
    }
    panic!("an endless queue of actions");
}

/// A server may say what it likes: the client stays within its limits, and comes back.
pub fn rendezvous_client(data: &[u8]) {
    let key = data.first().filter(|&&choice| choice % 2 == 1).map(|_| Arc::new(Key::from_seed(&[1; 32])));
    let config = ClientConfig { key, ..ClientConfig::default() };
    let mut client = Client::new(config, Random::from_seed([1; 32]));
    let mut now = Instant::ZERO;
    client.set_advert(Some(Advert { kind: AdvertKind::Passive, port: 5, max_inbound: 10 }), now);
    client.set_wanted(10, now);
    for line in data.split(|&byte| byte == b'\n') {
        let Some((&choice, line)) = line.split_first() else { continue };
        match choice % 16 {
            0 => client.handle_disconnected(now),
            1 => now = now + Duration::from_secs(u64::from(choice)),
            2 => client.bootstrap(now),
            3 => client.advertise(now),
            4 => client.set_wanted(usize::from(choice), now),
            5 => drop(client.probe(5000, Token::from_number(7), now)),
            6 => drop(client.signal(Key::from_seed(&[2; 32]).id(), None, [0; 64], "{}", now)),
            _ => {}
        }
        client.handle_timeout(now);
        take_client_actions(&mut client, now);
        client.handle_line(line, now);
        take_client_actions(&mut client, now);
        assert!(std::iter::from_fn(|| client.poll_event()).take(MANY).count() < MANY);
        assert!(client.poll_timeout().is_some(), "it would never come back");
    }
    client.leave(now);
    for _ in 0..MANY {
        take_client_actions(&mut client, now);
        let Some(at) = client.poll_timeout() else { return };
        now = now.max(at);
        client.handle_timeout(now);
    }
    panic!("it never leaves");
}

fn take_client_actions(client: &mut Client, now: Instant) {
    for _ in 0..MANY {
        match client.poll_action() {
            None => return,
            Some(ClientAction::Dial) => client.handle_connected(address(9), address(10), now),
            Some(ClientAction::Send(text)) => {
                assert!(text.ends_with(b"\r\n") && text.len() < 8 << 10);
            }
            Some(ClientAction::Hangup) => {}
        }
    }
    panic!("an endless queue of actions");
}

/// Whatever is said in a handshake, nobody is proven who has no key, and what is understood of a hello or a signal is
/// written as it is read.
pub fn hello(data: &[u8]) {
    let (key, other) = (Key::from_seed(&[1; 32]), Key::from_seed(&[2; 32]));
    let dialling = Dialling::new(Some(other.id()), None, false, LinkNonce::from_bytes([3; 16]), 1000);
    let hello = Hello {
        key: other.public(),
        nonce: LinkNonce::from_bytes([4; 16]),
        credit: 1000,
        call: None,
        upgrade: false,
    };
    let (accepting, _) = Accepting::answer(&hello, &key, LinkNonce::from_bytes([5; 16]), 2000);
    for line in data.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(!matches!(dialling.handle_line(line, &key), HandshakeStep::Proven { .. }));
        assert_eq!(accepting.handle_line(line, &key), HandshakeStep::Failed(HandshakeFault::BadProof));
        hello_codec(line);
        signal_codec(line);
        let sent = escape::escape(line);
        assert!(!escape::is_protocol(&sent) && escape::unescape(&sent) == line);
    }
    opening(data);
}

fn hello_codec(line: &[u8]) {
    let readings = [
        Hello::parse(line).map(|hello| Hello::parse(one_line(&hello.print())) == Some(hello)),
        Answer::parse(line).map(|answer| Answer::parse(one_line(&answer.print())) == Some(answer)),
        Proof::parse(line).map(|proof| Proof::parse(one_line(&proof.print())) == Some(proof)),
        Refused::parse(line).map(|refused| Refused::parse(one_line(&refused.print())) == Some(refused)),
    ];
    assert!(readings.iter().flatten().count() <= 1, "it is two things");
    assert!(readings.iter().flatten().all(|&again| again));
    assert!(readings == [None; 4] || escape::is_protocol(line));
}

fn signal_codec(line: &[u8]) {
    let Some(signal) = std::str::from_utf8(line).ok().and_then(signal::parse) else { return };
    let text = signal::print(&signal);
    assert!(text.len() <= signal::MAX_SIGNAL && text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(signal::parse(&text), Some(signal));
}

/// What is once decided about a connection stays so, whatever arrives later.
fn opening(data: &[u8]) {
    let mut decided = Opening::Undecided;
    for length in 0..=data.len() {
        let now = classify(&data[..length]);
        assert!(decided == Opening::Undecided || decided == now);
        decided = now;
    }
}

/// However a router's answer over HTTP is cut.
#[cfg(feature = "gateway")]
pub fn http_answer(data: &[u8]) {
    crate::io::gateway::hostile::http_answer(data);
}

/// Whatever a router describes and answers.
#[cfg(feature = "gateway")]
pub fn upnp_answer(data: &[u8]) {
    crate::io::gateway::hostile::upnp_answer(data);
}

/// What somebody in the ring says, whatever it is, breaks neither a machine nor the ring of the others.
pub fn ring(data: &[u8]) {
    crate::proto::ring::hostile::run(data);
}

/// What is understood of a ring's letters is written as it is read.
pub fn ring_codec(data: &[u8]) {
    if let Some(letter) = crate::wire::ring::parse(data) {
        let text = crate::wire::ring::print(&letter);
        assert_eq!(crate::wire::ring::parse(text.as_bytes()), Some(letter));
    }
}

fn address(place: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, place as u8], 5000))
}
