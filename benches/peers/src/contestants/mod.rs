//! Who is measured: one file each, behind one trait, so that the harness is the same for all.

mod hand_written;
mod lines_codec;
mod message_io;
mod p2poll;

use crate::Result;
use crate::meter::{Laps, Meter};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

pub trait Contestant: Sync {
    fn name(&self) -> &'static str;

    /// In which measurements.
    fn takes_part(&self, _measurement: &str) -> bool {
        true
    }

    /// How long one line is on the wire when this contestant sends it: with CRLF.
    fn sent_length(&self, line: &str) -> usize {
        line.len() + 2
    }

    /// One line as this contestant's receiver expects it.
    fn frame(&self, line: &str) -> Vec<u8> {
        [line.as_bytes(), b"\r\n"].concat()
    }

    /// Listens, tells where, takes one connection and counts its lines until the other side closes.
    fn receive(&self, announce: &Sender<SocketAddr>, meter: &mut Meter<'_>) -> Result<()>;

    /// Connects and sends the line again and again, each time as if it were another, until nobody wants more.
    fn send(&self, to: SocketAddr, line: &str, stop: &Stop<'_>) -> Result<()>;

    /// Listens, tells where, takes one connection and sends every line back until the other side closes.
    fn echo(&self, announce: &Sender<SocketAddr>) -> Result<()>;

    /// Connects and plays ping-pong with an `echo` of the same kind.
    fn ask(&self, to: SocketAddr, line: &str, laps: &mut Laps) -> Result<()>;

    /// Listens and holds connections on which nothing happens.
    fn host(&self) -> Result<Box<dyn Host>>;
}

pub trait Host {
    fn address(&self) -> SocketAddr;

    /// Takes connections for about this long; returns how many it holds.
    fn serve(&mut self, wait: Duration) -> Result<usize>;

    /// One turn of the application's loop with nothing to do. `false`: there is no such loop.
    fn tick(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// Takes what comes for about this long; returns how many lines that was. `None`: it is not asked.
    fn hear(&mut self, _wait: Duration) -> Result<Option<usize>> {
        Ok(None)
    }

    /// Looks at every connection; returns how many there were. `None`: it offers no walk.
    fn walk(&mut self) -> Option<usize> {
        None
    }

    /// Likewise, and asks each for its lines.
    fn walk_lines(&mut self) -> Option<usize> {
        None
    }
}

/// Says when a sender has sent enough.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Stop<'_> {
    /// Lines between two questions, so that the questions cost nothing.
    pub const ASK_EVERY: usize = 128;

    pub fn wants_more(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

pub const ALL: &[&dyn Contestant] = &[
    &hand_written::HandWritten,
    &lines_codec::Lines,
    &message_io::MessageIo,
    &p2poll::P2poll,
    &p2poll::InBulk,
];

pub fn by_name(name: &str) -> Result<&'static dyn Contestant> {
    match ALL.iter().find(|contestant| contestant.name() == name) {
        Some(contestant) => Ok(*contestant),
        None => Err(format!("no contestant {name:?}").into()),
    }
}

const LOOPBACK: &str = "127.0.0.1:0";
