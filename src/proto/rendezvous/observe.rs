//! One end of a connection by which a server sees an address of ours: it asks once, and hears once.

// The node takes it up next.
#![allow(dead_code)]

use std::net::SocketAddr;

use crate::wire::rendezvous::{Reply, Request, Token};

/// An `OBSERVE` on a connection of its own. See [`Features::OBSERVE`](crate::wire::rendezvous::Features::OBSERVE).
#[derive(Debug)]
pub(crate) struct Observe {
    token: Token,
}

impl Observe {
    /// `token`: 32 hexadecimal digits that nobody can guess, to be named in a signal.
    pub(crate) fn new(token: Token) -> Self {
        Self { token }
    }

    /// What to send as soon as it is connected.
    pub(crate) fn request(&self) -> Vec<u8> {
        let mut text = Vec::new();
        Request::Observe(self.token).write(&mut text);
        text
    }

    /// What a line says: where the server sees this connection's end. `None`: it is no answer, and there will be none.
    pub(crate) fn handle_line(&self, line: &[u8]) -> Option<SocketAddr> {
        match Reply::parse(line)? {
            Reply::Seen(addr) => Some(addr),
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
}
