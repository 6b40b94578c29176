//! A server by hand: a listener in the test's own loop that says what the test wants.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use p2poll::{Config, Net};

use crate::common::*;
use crate::{Turn, both};

/// What it answers to a line of the client at this address; `None`: what a server of ours would.
pub(crate) type Answers = Box<dyn FnMut(&str, SocketAddr) -> Option<String>>;

pub(crate) struct Fake {
    listener: TcpListener,
    pub(crate) clients: Vec<Client>,
    /// How many ever came.
    pub(crate) came: usize,
    /// The ports that it was asked to try, with the nonces.
    pub(crate) probes: Vec<(u16, String)>,
    answers: Answers,
}

pub(crate) struct Client {
    stream: TcpStream,
    peer: SocketAddr,
    arrived: Vec<u8>,
    is_asker: bool,
}

impl Fake {
    pub(crate) fn new(answers: impl FnMut(&str, SocketAddr) -> Option<String> + 'static) -> Self {
        let listener = listener();
        listener.set_nonblocking(true).unwrap();
        let answers = Box::new(answers);
        Self { listener, clients: Vec::new(), came: 0, probes: Vec::new(), answers }
    }

    /// One that answers like ours, but says nothing of ports.
    pub(crate) fn honest() -> Self {
        Self::new(|_, _| None)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn config(&self) -> Config {
        config().rendezvous(self.addr().to_string())
    }

    /// Says something to whoever asked for a probe.
    pub(crate) fn say(&mut self, text: impl AsRef<[u8]>) {
        for client in self.clients.iter_mut().filter(|client| client.is_asker) {
            let _ = client.stream.write(text.as_ref());
        }
    }

    /// Ends all connections.
    pub(crate) fn hang_up(&mut self) {
        self.clients.clear();
    }

    /// Waits until it is asked to try a port for the `nth` time, from 1; the port and the nonce.
    #[track_caller]
    pub(crate) fn asked(&mut self, net: &mut Net, nth: usize) -> (u16, String) {
        both(net, self, |_, fake| fake.probes.get(nth - 1).cloned())
    }
}

impl Turn for Fake {
    fn turn(&mut self) {
        while let Ok((stream, peer)) = self.listener.accept() {
            stream.set_nonblocking(true).unwrap();
            self.came += 1;
            self.clients.push(Client { stream, peer, arrived: Vec::new(), is_asker: false });
        }
        let Self { clients, probes, answers, .. } = self;
        clients.retain_mut(|client| client.serve(probes, answers));
    }
}

impl Client {
    /// Returns whether it stays.
    fn serve(&mut self, probes: &mut Vec<(u16, String)>, answers: &mut Answers) -> bool {
        let stays = self.read();
        while let Some(at) = self.arrived.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.arrived.drain(..=at).collect();
            let line = String::from_utf8(line).unwrap().trim_end().to_owned();
            if let ["PROBE", port, nonce] = line.split(' ').collect::<Vec<_>>()[..] {
                self.is_asker = true;
                probes.push((port.parse().unwrap(), nonce.to_owned()));
            }
            let answer = answers(&line, self.peer).unwrap_or_else(|| usual(&line, self.peer));
            // Whoever does not read it is not there any more.
            let _ = self.stream.write(answer.as_bytes());
        }
        stays
    }

    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(len) => self.arrived.extend_from_slice(&buffer[..len]),
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }
}

/// What a server of ours answers.
fn usual(line: &str, peer: SocketAddr) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["HELLO", ..] => "HELLO p2poll 1 peers seen ping listed observers probe\r\n".into(),
        ["WHOAMI"] => format!("SEEN {} {}\r\n", peer.ip(), peer.port()),
        ["SOURCE", ..] => format!("REMOTE TCP {}\r\n", peer.port()),
        ["OBSERVERS"] => "OBSERVERS NONE\r\n".into(),
        ["BOOTSTRAP", _] => "NODES EMPTY\r\n".into(),
        ["PASSIVE", "READY", port, _] => format!("LISTED {port}\r\n"),
        ["PING", token] => format!("PONG {token}\r\n"),
        _ => String::new(),
    }
}
