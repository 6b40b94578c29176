//! A relay on real sockets. What a test outside of the crate could not do: nodes sign for it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use super::*;
use crate::identity::Key;
use crate::proto::rendezvous::relay_dial::RelayDial;
use crate::time::Instant;
use crate::wire::proof::Ticket;
use crate::wire::rendezvous::Token;

/// Turns of the server's loop before a test gives up.
const TURNS: usize = 20_000;

fn serve(server: &mut Rendezvous, mut done: impl FnMut() -> bool) {
    for _ in 0..TURNS {
        server.poll(Some(Duration::from_millis(1))).expect("polling works");
        if done() {
            return;
        }
    }
    panic!("it did not happen in {TURNS} turns");
}

/// What there is to read; `None`: nothing now. The end is an empty piece.
fn read(stream: &mut TcpStream, most: usize) -> Option<Vec<u8>> {
    let mut piece = vec![0; most];
    match stream.read(&mut piece) {
        Ok(len) => {
            piece.truncate(len);
            Some(piece)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

/// A connection with one end's part in a relay.
struct Half {
    stream: TcpStream,
    dial: RelayDial,
    line: Vec<u8>,
}

impl Half {
    fn begin(server: SocketAddr, number: u8) -> Self {
        let key = |number| Arc::new(Key::from_seed(&[number; 32]));
        let (caller, callee) = (key(1).public(), key(2).public());
        let ticket = Ticket { server, session: [7; 16], caller, callee };
        let signatures = (ticket.sign(&key(1)), ticket.sign(&key(2)));
        let nonce = Token::new(&[b'e'; 32]).expect("it is short enough");
        let deadline = Instant::ZERO + Duration::from_secs(1);
        let mut dial = RelayDial::new(key(number), &ticket, signatures, server, nonce, deadline);
        let mut stream = TcpStream::connect(server).expect("the server listens");
        stream.set_nonblocking(true).expect("every socket can");
        stream.write_all(&dial.handle_connected()).expect("there is room");
        Self { stream, dial, line: Vec::new() }
    }

    /// Reads no further than the line that ends the machine's part.
    fn advance(&mut self) -> bool {
        while self.dial.outcome().is_none()
            && let Some(byte) = read(&mut self.stream, 1)
        {
            self.line.extend_from_slice(&byte);
            if byte == b"\n" {
                self.dial.handle_line(self.line.trim_ascii_end(), Instant::ZERO);
                self.line.clear();
            }
            while let Some(text) = self.dial.poll_send() {
                self.stream.write_all(&text).expect("there is room");
            }
        }
        matches!(self.dial.outcome(), Some(Ok(_)))
    }
}

#[test]
fn a_megabyte_goes_through_a_relay_and_the_end_behind_it() {
    let config = RendezvousConfig::new().listen("127.0.0.1:0").relay_rate(0);
    let mut server = config.start().expect("port 0 is free");
    let addr = server.local_addrs()[0];
    let (mut a, mut b) = (Half::begin(addr, 1), Half::begin(addr, 2));
    serve(&mut server, || a.advance() & b.advance());
    assert_eq!((server.stats().relays, server.stats().clients), (1, 2));
    let sent: Vec<u8> = (0..3 << 20).map(|n: u32| (n % 251) as u8).collect();
    let (mut rest, mut got, mut over) = (&sent[..], Vec::new(), false);
    serve(&mut server, || {
        if !rest.is_empty() {
            match a.stream.write(rest) {
                Ok(len) => rest = &rest[len..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            if rest.is_empty() {
                a.stream.shutdown(Shutdown::Write).expect("it is open");
            }
        }
        // Slower than it is sent.
        if let Some(piece) = read(&mut b.stream, 50_000) {
            over = piece.is_empty();
            got.extend(piece);
        }
        over
    });
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    b.stream.write_all(b"thanks").expect("that way is open");
    b.stream.shutdown(Shutdown::Write).expect("it is open");
    let mut answer: Vec<u8> = Vec::new();
    serve(&mut server, || {
        let piece = read(&mut a.stream, 100);
        answer.extend(piece.iter().flatten());
        piece.is_some_and(|piece| piece.is_empty())
    });
    assert_eq!(answer, b"thanks");
    serve(&mut server, || true);
    assert_eq!((server.stats().relays, server.stats().clients), (0, 0));
}
