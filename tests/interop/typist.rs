//! Somebody who types the rendezvous protocol by hand, from an address of their own.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use socket2::{Domain, Socket, Type};

use crate::driver::PATIENCE;

/// A connection to a rendezvous server on which lines are typed and read.
#[derive(Debug)]
pub(crate) struct Typist {
    stream: BufReader<TcpStream>,
    line_end: &'static str,
}

impl Typist {
    /// Connects from `home`, because servers tell nodes apart by address.
    pub(crate) fn new(home: Ipv4Addr, server: SocketAddr) -> Typist {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((home, 0)).into()).expect("a port at home");
        socket.connect_timeout(&server.into(), PATIENCE).expect("the server accepts");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Typist { stream: BufReader::new(stream), line_end: "\r\n" }
    }

    /// Ends lines as netcat does (LF), or as telnet does (CRLF, which is what it begins with).
    pub(crate) fn ending_lines_in(self, line_end: &'static str) -> Typist {
        Typist { line_end, ..self }
    }

    /// The port that this connection comes from.
    pub(crate) fn port(&self) -> u16 {
        self.stream.get_ref().local_addr().expect("bound").port()
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        let text = format!("{line}{}", self.line_end);
        self.stream.get_mut().write_all(text.as_bytes()).expect("the server reads");
    }

    /// Types a few bytes, without a line end.
    pub(crate) fn types_bytes(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the peer reads");
    }

    /// Ends the input; answers can still be read.
    pub(crate) fn has_typed_all(&mut self) {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("still connected");
    }

    /// Reads a line; panics when the server hangs up or stays silent.
    pub(crate) fn reads(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("an answer in time");
        assert!(line.ends_with("\r\n"), "not a whole line: {line:?}");
        line.truncate(line.len() - 2);
        line
    }

    /// Types a line and reads the answer.
    pub(crate) fn asks(&mut self, line: &str) -> String {
        self.types(line);
        self.reads()
    }

    /// Types a line that has no answer, and returns when the server has acted on it.
    pub(crate) fn states(&mut self, line: &str) {
        self.types(line);
        // A server takes a connection's lines in order.
        assert_eq!(self.asks("SOURCE TCP"), format!("REMOTE TCP {}", self.port()), "after {line}");
    }

    /// Reads that the server hangs up, and nothing else.
    pub(crate) fn reads_the_end(&mut self) {
        let mut rest = String::new();
        self.stream.read_line(&mut rest).expect("the end in time");
        assert_eq!(rest, "");
    }

    /// Asks for nodes until the list of them satisfies.
    pub(crate) fn sees_nodes(&mut self, satisfied: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.asks("BOOTSTRAP 100");
            let nodes = answer.strip_prefix("NODES ").expect("nodes");
            let nodes: Vec<String> =
                nodes.split_whitespace().filter(|&node| node != "EMPTY").map(str::to_owned).collect();
            if satisfied(&nodes) {
                return nodes;
            }
            assert!(Instant::now() < deadline, "still {nodes:?}");
        }
    }
}
