//! What a server says of nodes, and of its own places.

use std::io::Write as _;
use std::net::SocketAddr;

use super::{END, Ip, Listed, Observer, put};

/// The printed form of one node of a `NODES` answer, kept so that a server prints each node once, not once an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    len: u8,
    /// `:IP:PORT `; at most `:[` + 39 + `]:` + 5 + a space, which is 49.
    bytes: [u8; 55],
}

impl Entry {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        let mut entry = Self { len: 0, bytes: [0; 55] };
        let mut room = &mut entry.bytes[..];
        // The room is enough for every address, see `bytes`.
        let _ = write!(room, ":{}:{} ", Ip(addr.ip()), addr.port());
        entry.len = (55 - room.len()) as u8;
        entry
    }

    pub(crate) fn write(&self, newer: bool, out: &mut Vec<u8>) {
        let kind: &[u8] = if newer { b"p+" } else { b"p" };
        out.extend_from_slice(kind);
        out.extend_from_slice(&self.bytes[..usize::from(self.len)]);
    }
}

/// Writes a `NODES` line whose entries `list` appends; `EMPTY` when it appends none.
pub(crate) fn write_nodes(out: &mut Vec<u8>, list: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"NODES ");
    let before = out.len();
    list(out);
    if out.len() == before {
        out.extend_from_slice(b"EMPTY");
    }
    out.extend_from_slice(END);
}

/// Like [`write_nodes`], without the end of the line.
pub(super) fn put_nodes(out: &mut Vec<u8>, nodes: &[Listed]) {
    write_nodes(out, |out| {
        for node in nodes {
            Entry::new(node.addr).write(node.newer, out);
        }
    });
    out.truncate(out.len() - END.len());
}

pub(super) fn put_observers(out: &mut Vec<u8>, observers: &[Observer]) {
    put(out, format_args!("OBSERVERS"));
    if observers.is_empty() {
        put(out, format_args!(" NONE"));
    }
    for Observer { ip, port } in observers {
        match ip {
            Some(ip) => put(out, format_args!(" {}:{port}", Ip(*ip))),
            None => put(out, format_args!(" :{port}")),
        }
    }
}
