//! One end of a connection by which a server sees an address of ours: it asks once, and hears once.

use std::net::{IpAddr, SocketAddr};

use crate::wire::rendezvous::{Reply, Request, Token};

/// A question on a connection of its own.
#[derive(Debug)]
pub(crate) struct Observe {
    question: Question,
}

#[derive(Debug)]
enum Question {
    /// `OBSERVE`. See [`Features::OBSERVE`](crate::wire::rendezvous::Features::OBSERVE).
    Address(Token),
    /// `SOURCE`, which every server answers, pyp2p's, too: with the port alone.
    Port { local: u16, ip: IpAddr },
}

impl Observe {
    /// `token`: 32 hexadecimal digits that nobody can guess, to be named in a signal.
    pub(crate) fn new(token: Token) -> Self {
        Self { question: Question::Address(token) }
    }

    /// For a server that only tells the port; that of the address is `ip`, as far as is known.
    pub(crate) fn port(local: u16, ip: IpAddr) -> Self {
        Self { question: Question::Port { local, ip } }
    }

    /// What to send as soon as it is connected.
    pub(crate) fn request(&self) -> Vec<u8> {
        let mut text = Vec::new();
        match self.question {
            Question::Address(token) => Request::Observe(token),
            Question::Port { local, .. } => Request::Source { port: Some(local) },
        }
        .write(&mut text);
        text
    }

    /// What a line says: where the server sees this connection's end. `None`: it is no answer, and there will be none.
    pub(crate) fn handle_line(&self, line: &[u8]) -> Option<SocketAddr> {
        match (&self.question, Reply::parse(line)?) {
            (Question::Address(_), Reply::Seen(addr)) => Some(addr),
            (Question::Port { ip, .. }, Reply::Remote { port }) => Some(SocketAddr::new(*ip, port)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_once_and_knows_the_answer() {
        let observe = Observe::new(Token::new(&[b'a'; 32]).unwrap());
        assert_eq!(observe.request(), b"OBSERVE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
        assert_eq!(observe.handle_line(b"SEEN 203.0.113.7 9"), "203.0.113.7:9".parse().ok());
        assert_eq!(observe.handle_line(b"REMOTE TCP 9"), None);
    }

    #[test]
    fn a_server_that_knows_less_is_asked_for_the_port() {
        let observe = Observe::port(61_000, [203, 0, 113, 7].into());
        assert_eq!(observe.request(), b"SOURCE TCP 61000\r\n");
        assert_eq!(observe.handle_line(b"REMOTE TCP 9"), "203.0.113.7:9".parse().ok());
        assert_eq!(observe.handle_line(b"SEEN 203.0.113.7 9"), None);
        assert_eq!(observe.handle_line(b"REMOTE TCP 70000"), None);
    }
}
