//! What the test programs share: nodes and netcats on loopback, and waiting for them by `poll`.
#![allow(dead_code)] // each program uses a part of it
#![allow(clippy::unwrap_used)] // a test that can not go on fails

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use p2poll::{CloseReason, Con, ConId, Config, Event, Net};

/// What takes longer than this will never come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// One turn of a test's loop.
pub(crate) const TURN: Duration = Duration::from_millis(10);

/// Tests are outside the layers: they may look at a clock, here.
#[expect(clippy::disallowed_methods, reason = "deadlines of tests")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A node on loopback, on a port that the operating system chooses.
pub(crate) fn config() -> Config {
    Config::new().bind(Ipv4Addr::LOCALHOST.into())
}

pub(crate) fn start() -> Net {
    config().start().unwrap()
}

/// Polls until `done` finds what it waits for.
#[track_caller]
pub(crate) fn until<T>(net: &mut Net, mut done: impl FnMut(&Net) -> Option<T>) -> T {
    let begin = now();
    loop {
        if let Some(found) = done(net) {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain");
        net.poll(Some(TURN)).unwrap();
    }
}

/// A netcat that is connected to the node, and what the node calls it.
#[track_caller]
pub(crate) fn netcat(net: &mut Net) -> (TcpStream, ConId) {
    let raw = dial(net);
    let id = shown(net, raw.local_addr().unwrap());
    (raw, id)
}

/// A netcat that has dialled the node, which has not looked at it yet.
#[track_caller]
pub(crate) fn dial(net: &Net) -> TcpStream {
    patient(TcpStream::connect(net.local_addr().unwrap()).unwrap())
}

#[track_caller]
pub(crate) fn shown(net: &mut Net, peer: SocketAddr) -> ConId {
    until(net, |net| net.connections().find(|con| con.peer_addr() == Some(peer)).map(Con::id))
}

/// A netcat that the node dials.
#[track_caller]
pub(crate) fn netcat_listening(net: &mut Net) -> (TcpStream, ConId) {
    let listener = listener();
    let addr = listener.local_addr().unwrap();
    net.connect_addr(addr).unwrap();
    let id = shown(net, addr);
    (patient(listener.accept().unwrap().0), id)
}

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// A port at which nobody listens.
pub(crate) fn closed_port() -> SocketAddr {
    listener().local_addr().unwrap()
}

pub(crate) fn patient(raw: TcpStream) -> TcpStream {
    raw.set_read_timeout(Some(PATIENCE)).unwrap();
    raw.set_write_timeout(Some(PATIENCE)).unwrap();
    raw
}

/// Closes a netcat so that the peer sees a reset.
pub(crate) fn reset(raw: TcpStream) {
    socket2::SockRef::from(&raw).set_linger(Some(Duration::ZERO)).unwrap();
}

/// The next connection that somebody makes while the node is polled.
#[track_caller]
pub(crate) fn accept_from(net: &mut Net, listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let raw = until(net, |_| match listener.accept() {
        Ok((raw, _)) => Some(raw),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            None
        }
    });
    raw.set_nonblocking(false).unwrap();
    patient(raw)
}

/// Exactly these bytes arrive next.
#[track_caller]
pub(crate) fn expect(raw: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    raw.read_exact(&mut got).unwrap();
    assert_eq!(got.escape_ascii().to_string(), bytes.escape_ascii().to_string());
}

/// The other side has ended the stream, in order or not, without another byte.
#[track_caller]
pub(crate) fn expect_end(raw: &mut TcpStream) {
    match raw.read(&mut [0; 16]) {
        Ok(len) => assert_eq!(len, 0, "bytes instead of the end"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

/// The same, while the node is polled.
#[track_caller]
pub(crate) fn expect_end_of(net: &mut Net, raw: &mut TcpStream) {
    raw.set_nonblocking(true).unwrap();
    let got = until(net, |_| match raw.read(&mut [0; 16]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Some(0),
        other => Some(other.unwrap()),
    });
    assert_eq!(got, 0, "bytes instead of the end");
}

/// Writes more than the socket's buffers may hold, while the node is polled and walked by `turn`.
#[track_caller]
pub(crate) fn write_while(raw: &mut TcpStream, net: &mut Net, mut bytes: &[u8], mut turn: impl FnMut(&Net)) {
    raw.set_nonblocking(true).unwrap();
    until(net, |net| {
        turn(net);
        bytes = &bytes[write_some(raw, bytes)..];
        bytes.is_empty().then_some(())
    });
    raw.set_nonblocking(false).unwrap();
}

/// As many of these bytes as the socket takes without waiting.
pub(crate) fn write_some(raw: &mut TcpStream, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match raw.write(&bytes[written..]) {
            Ok(len) => written += len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    written
}

/// The lines that a connection has now.
pub(crate) fn lines(net: &Net, id: ConId) -> Vec<Vec<u8>> {
    let walk = net.connections().filter(|con| con.id() == id);
    walk.flat_map(Con::replies).map(|line| line.as_bytes().to_vec()).collect()
}

/// Waits for this many lines of a connection.
#[track_caller]
pub(crate) fn next_lines(net: &mut Net, id: ConId, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    until(net, |net| {
        all.extend(lines(net, id));
        (all.len() >= count).then_some(())
    });
    all.into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
}

/// All lines of a connection up to its end, and why it ended. Events are looked at before lines, so that a line after
/// the end would be missed.
#[track_caller]
pub(crate) fn to_the_end(net: &mut Net, id: ConId) -> (Vec<Vec<u8>>, CloseReason) {
    let mut all = Vec::new();
    let why = until(net, |net| {
        let closed = net.events().find_map(|event| match event {
            Event::Closed { con, why } if con == id => Some(why),
            _ => None,
        });
        if closed.is_none() {
            all.extend(lines(net, id));
        }
        closed
    });
    assert!(net.con(id).is_none(), "closed, but there");
    (all, why)
}

/// Waits for an event; those before it are dropped.
#[track_caller]
pub(crate) fn event<T>(net: &mut Net, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    until(net, |net| net.events().find_map(&mut wanted))
}

/// Numbered lines, as bytes.
pub(crate) fn numbered(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("line {n}").into_bytes()).collect()
}

pub(crate) fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect()
}
