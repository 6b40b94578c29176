//! The rendezvous server as a stranger meets it: over sockets, by hand.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use p2poll::{Rendezvous, RendezvousConfig};

/// Turns of the server's loop before a test gives up.
const TURNS: usize = 5000;

fn server() -> Rendezvous {
    RendezvousConfig::new().listen("127.0.0.1:0").start().expect("port 0 is free")
}

fn stranger(server: &Rendezvous) -> TcpStream {
    let stream = TcpStream::connect(server.local_addrs()[0]).expect("the server listens");
    stream.set_nonblocking(true).expect("every socket can");
    stream
}

/// Serves until `done` says so.
fn serve(server: &mut Rendezvous, mut done: impl FnMut(&Rendezvous) -> bool) {
    for _ in 0..TURNS {
        server.poll(Some(Duration::from_millis(1))).expect("polling works");
        if done(server) {
            return;
        }
    }
    panic!("it did not happen in {TURNS} turns");
}

fn read_into(stream: &mut TcpStream, text: &mut Vec<u8>) {
    let mut buffer = [0; 1 << 16];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(len) => text.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A client that asks and asks and never reads fills its own queue; then its questions wait, unread, and the server
/// neither spins nor grows. When it reads at last, it gets every answer.
#[test]
fn a_client_that_does_not_read_answers_waits_and_loses_none() {
    let mut server = server();
    let mut stranger = stranger(&server);
    let question = b"BOOTSTRAP 10\r\n".repeat(1000);
    let (mut asked, mut stuck) = (0, 0);
    serve(&mut server, |_| {
        match stranger.write(&question[asked % 14..]) {
            Ok(len) => (asked, stuck) = (asked + len, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => stuck += 1,
            Err(error) => panic!("{error}"),
        }
        stuck > 20
    });
    // Nothing moves any more: the server may sleep.
    assert_ne!(server.next_wakeup(), Some(Duration::ZERO));
    let questions = asked / 14;
    let mut answers = Vec::new();
    serve(&mut server, |_| {
        read_into(&mut stranger, &mut answers);
        answers.len() >= questions * 13
    });
    assert_eq!(answers, b"NODES EMPTY\r\n".repeat(questions));
}

/// What comes together with the end of the stream is served all the same: pyp2p's client hangs up right after its line.
#[test]
fn a_line_that_comes_with_the_end_is_served() {
    let mut server = server();
    let mut stranger = stranger(&server);
    stranger.write_all(b"PASSIVE READY 5003 10\r\n").expect("there is room");
    drop(stranger);
    serve(&mut server, |server| server.stats().nodes == 1 && server.stats().clients == 0);
}

/// A line without an end is no reason to grow: the client is disconnected.
#[test]
fn a_line_without_an_end_ends_the_connection() {
    let mut server = server();
    let mut stranger = stranger(&server);
    stranger.write_all(&[b'x'; 20_000]).expect("there is room");
    let mut answers = Vec::new();
    serve(&mut server, |server| server.stats().clients == 0);
    read_into(&mut stranger, &mut answers);
    assert_eq!(answers, b"");
}
