//! Programs that are no nodes: a closure that gets lines and answers, or a test that types by hand.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::network::{EndId, Network, ProgramId};
use crate::socket::{Read, Write};

/// What a script is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Opened,
    Line(String),
    Ended,
}

/// What a script does with it; the connection can be written to and closed.
pub(super) type Behaviour = Box<dyn FnMut(&mut Wire<'_>, EndId, Input)>;

pub(super) struct Script {
    behaviour: Behaviour,
    program: ProgramId,
    cons: BTreeMap<EndId, Con>,
    /// Everything that it was told, in order.
    pub(super) heard: Vec<(EndId, Input)>,
    /// Why dials failed.
    pub(super) failures: BTreeMap<EndId, io::ErrorKind>,
}

#[derive(Debug, Default)]
struct Con {
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

/// A script's hands.
pub(super) struct Wire<'a> {
    network: &'a mut Network,
    cons: &'a mut BTreeMap<EndId, Con>,
    program: ProgramId,
}

impl Wire<'_> {
    pub(super) fn dial(&mut self, to: SocketAddr) -> EndId {
        let end = self.network.dial(self.program, to, None).expect("there is a way");
        self.cons.insert(end, Con::default());
        end
    }

    /// From a port that may be shared.
    pub(super) fn dial_from(&mut self, port: u16, to: SocketAddr) -> Result<EndId, io::ErrorKind> {
        let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        let end = self.network.dial(self.program, to, Some(from))?;
        self.cons.insert(end, Con::default());
        Ok(end)
    }

    pub(super) fn send(&mut self, end: EndId, text: impl AsRef<[u8]>) {
        if let Some(con) = self.cons.get_mut(&end) {
            con.unsent.extend_from_slice(text.as_ref());
            flush(self.network, end, con);
        }
    }

    /// Finishes sending, and goes on reading.
    pub(super) fn finish(&mut self, end: EndId) {
        self.network.shutdown_write(end);
    }

    pub(super) fn close(&mut self, end: EndId) {
        self.cons.remove(&end);
        self.network.close(end);
    }

    /// The port at the other side.
    pub(super) fn peer(&self, end: EndId) -> SocketAddr {
        self.network.peer(end)
    }
}

impl Script {
    pub(super) fn new(program: ProgramId, behaviour: Behaviour) -> Self {
        Self { behaviour, program, cons: BTreeMap::new(), heard: Vec::new(), failures: BTreeMap::new() }
    }

    pub(super) fn wire<'a>(&'a mut self, network: &'a mut Network) -> Wire<'a> {
        Wire { network, cons: &mut self.cons, program: self.program }
    }

    pub(super) fn run(&mut self, network: &mut Network) {
        while let Some(end) = network.mailbox(self.program).backlog.pop_front() {
            self.cons.insert(end, Con::default());
            self.tell(network, end, Input::Opened);
        }
        while let Some((end, outcome)) = network.mailbox(self.program).connected.pop_front() {
            if let Err(kind) = outcome {
                self.cons.remove(&end);
                self.failures.insert(end, kind);
                self.tell(network, end, Input::Ended);
            } else if self.cons.contains_key(&end) {
                self.tell(network, end, Input::Opened);
            }
        }
        network.mailbox(self.program).hangups.clear();
        network.mailbox(self.program).readable.clear();
        network.mailbox(self.program).writable.clear();
        let ends: Vec<EndId> = self.cons.keys().copied().collect();
        for end in ends {
            if let Some(con) = self.cons.get_mut(&end) {
                flush(network, end, con);
            }
            self.read(network, end);
        }
    }

    fn read(&mut self, network: &mut Network, end: EndId) {
        let mut space = [0; 4096];
        while self.cons.contains_key(&end) {
            match network.read(end, &mut space) {
                Read::Data(len) => {
                    for line in self.lines(end, &space[..len]) {
                        self.tell(network, end, Input::Line(line));
                    }
                }
                Read::Blocked => return,
                Read::Finished | Read::Broken(_) => return self.tell(network, end, Input::Ended),
            }
        }
    }

    fn lines(&mut self, end: EndId, bytes: &[u8]) -> Vec<String> {
        let Some(con) = self.cons.get_mut(&end) else { return Vec::new() };
        con.partial.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(at) = con.partial.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = con.partial.drain(..=at).collect();
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        lines
    }

    fn tell(&mut self, network: &mut Network, end: EndId, input: Input) {
        self.heard.push((end, input.clone()));
        let mut wire = Wire { network, cons: &mut self.cons, program: self.program };
        (self.behaviour)(&mut wire, end, input);
    }
}

fn flush(network: &mut Network, end: EndId, con: &mut Con) {
    while !con.unsent.is_empty() {
        match network.write(end, &con.unsent) {
            Write::Sent(len) => drop(con.unsent.drain(..len)),
            Write::Blocked | Write::Broken => return,
        }
    }
}
