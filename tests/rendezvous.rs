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

/// Who asks for much, reads nothing and goes away is gone for the server as well, at once: what is still queued for it
/// has nobody to read it.
#[test]
fn clients_that_leave_without_reading_are_let_go() {
    let config = RendezvousConfig::new().listen("127.0.0.1:0").max_nodes_per_address(100);
    let mut server = config.start().expect("port 0 is free");
    // Many nodes make long answers.
    for port in 60_000..60_100 {
        let mut node = stranger(&server);
        node.write_all(format!("PASSIVE READY {port} 10\r\n").as_bytes()).expect("there is room");
        drop(node);
        serve(&mut server, |server| server.stats().clients == 0 && server.stats().nodes > port - 60_000);
    }
    let questions = b"BOOTSTRAP 100\r\n".repeat(13_000);
    for by_reset in [true, false] {
        for _ in 0..5 {
            let mut stranger = stranger(&server);
            let (mut asked, mut stuck) = (0, 0);
            serve(&mut server, |_| {
                match stranger.write(&questions[asked..]) {
                    Ok(len) => (asked, stuck) = (asked + len, stuck + usize::from(len == 0)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => stuck += 1,
                    Err(error) => panic!("{error}"),
                }
                stuck > 5
            });
            assert_eq!(server.stats().clients, 1);
            if by_reset {
                socket2::SockRef::from(&stranger).set_linger(Some(Duration::ZERO)).expect("every socket can");
            }
            drop(stranger);
            serve(&mut server, |server| server.stats().clients == 0);
        }
    }
}

/// One more than there is room for is turned away at once, and takes no place.
#[test]
fn a_client_too_many_is_turned_away() {
    const ROOM: usize = 3;
    let config = RendezvousConfig::new().listen("127.0.0.1:0").max_clients(ROOM);
    let mut server = config.start().expect("port 0 is free");
    let mut inside: Vec<TcpStream> = (0..ROOM).map(|_| stranger(&server)).collect();
    serve(&mut server, |server| server.stats().clients == ROOM);
    for _ in 0..5 {
        let mut outside = stranger(&server);
        serve(&mut server, |server| {
            assert_eq!(server.stats().clients, ROOM);
            match outside.read(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
                Ok(0) => true,
                other => panic!("{other:?}"),
            }
        });
    }
    for stranger in &mut inside {
        let mut answer = Vec::new();
        stranger.write_all(b"BOOTSTRAP 1\r\n").expect("there is room");
        serve(&mut server, |_| {
            read_into(stranger, &mut answer);
            answer.len() >= 13
        });
        assert_eq!(answer, b"NODES EMPTY\r\n");
    }
    // A place that becomes free is one for the next.
    inside.pop();
    serve(&mut server, |server| server.stats().clients == ROOM - 1);
    inside.push(stranger(&server));
    serve(&mut server, |server| server.stats().clients == ROOM);
}
