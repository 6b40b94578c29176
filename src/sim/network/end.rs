//! One end of a connection as its operating system has it: what calls of its program and packets make of it.
//!
//! It answers with what is to be sent and whom to tell; it knows nothing of ways and times.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use super::computers::ComputerId;
use super::programs::ProgramId;
use super::routers::Passage;
use crate::socket::{Read, Write};
use crate::time::Instant;

/// One end of a connection: what a program has as a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sim) struct EndId(pub(super) usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Open,
    /// The program has closed it, or is no more.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Packet {
    Accepted,
    Refused,
    Data(Vec<u8>),
    /// So much was read: as much more may be sent.
    Read(usize),
    Finished,
    Reset,
}

/// What follows from a packet that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    /// The dial has succeeded.
    Opened,
    /// The dial has failed.
    Refused,
    Readable,
    Writable,
    /// The other side finished sending.
    Finished,
    /// The connection was reset.
    Broken,
    /// This is sent back.
    Answer(Packet),
}

/// Where an end is: its computer, its local and its remote address. No two that an operating system has are at one place.
pub(super) type Tuple = (ComputerId, SocketAddr, SocketAddr);

#[derive(Debug)]
pub(super) struct End {
    pub(super) program: ProgramId,
    pub(super) computer: ComputerId,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    /// It is there as long as this one is.
    pub(super) other: Option<EndId>,
    /// The routers that translate between the two.
    pub(super) passages: Vec<Passage>,
    /// By its program, and not accepted.
    pub(super) is_dialled: bool,
    pub(super) state: State,
    /// What arrived and was not read.
    pub(super) inbox: VecDeque<u8>,
    /// The other side finished sending.
    finished: bool,
    pub(super) broken: Option<io::ErrorKind>,
    /// The end was read.
    told: bool,
    /// Read, and not yet announced to the sender.
    unannounced: usize,
    pub(super) window: usize,
    /// What may still be sent.
    pub(super) credit: usize,
    /// Tried to send without credit.
    blocked: bool,
    /// The other side was told that nothing more comes.
    pub(super) goodbye: bool,
    /// The line is busy until then, and what is sent next arrives no earlier than this.
    pub(super) line_free: Instant,
    pub(super) last_arrival: Instant,
    /// On their way here, held up by a partition.
    pub(super) held: Vec<Packet>,
    /// The other side is out of reach.
    pub(super) silent_since: Option<Instant>,
}

impl End {
    pub(super) fn new(program: ProgramId, at: Tuple, state: State, window: usize) -> Self {
        let (computer, local, peer) = at;
        Self {
            program,
            computer,
            local,
            peer,
            other: None,
            passages: Vec::new(),
            is_dialled: state == State::Connecting,
            state,
            inbox: VecDeque::new(),
            finished: false,
            broken: None,
            told: false,
            unannounced: 0,
            window,
            credit: 0,
            blocked: false,
            goodbye: false,
            line_free: Instant::ZERO,
            last_arrival: Instant::ZERO,
            held: Vec::new(),
            silent_since: None,
        }
    }

    pub(super) fn tuple(&self) -> Tuple {
        (self.computer, self.local, self.peer)
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open && self.broken.is_none()
    }
}

/// The calls of its program; a packet is sent if there is one.
impl End {
    pub(super) fn read(&mut self, space: &mut [u8]) -> (Read, Option<Packet>) {
        if self.state != State::Open || self.told {
            return (Read::Blocked, None);
        }
        let len = space.len().min(self.inbox.len());
        if len > 0 {
            self.take_out(&mut space[..len]);
            return (Read::Data(len), self.announce(len));
        }
        self.told = self.finished || self.broken.is_some();
        let read = match self.broken {
            Some(kind) => Read::Broken(kind),
            None if self.finished => Read::Finished,
            None => Read::Blocked,
        };
        (read, None)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> (Write, Option<Packet>) {
        if self.state != State::Open {
            return (Write::Blocked, None);
        }
        if self.broken.is_some() || self.goodbye {
            return (Write::Broken, None);
        }
        let len = bytes.len().min(self.credit);
        if len == 0 {
            self.blocked = true;
            return (Write::Blocked, None);
        }
        self.credit -= len;
        (Write::Sent(len), Some(Packet::Data(bytes[..len].to_vec())))
    }

    /// Nothing more is written.
    pub(super) fn finish(&mut self) -> Option<Packet> {
        (self.is_open() && !std::mem::replace(&mut self.goodbye, true)).then_some(Packet::Finished)
    }

    /// Finishes in order, or resets what is closed unread (RFC 2525 section 2.17).
    pub(super) fn close(&mut self) -> Option<Packet> {
        if self.is_open() && !self.inbox.is_empty() { self.abort() } else { self.finish() }
    }

    /// Its program crashed: its operating system resets it.
    pub(super) fn abort(&mut self) -> Option<Packet> {
        self.is_open().then(|| {
            self.goodbye = true;
            Packet::Reset
        })
    }

    fn take_out(&mut self, space: &mut [u8]) {
        let (first, second) = self.inbox.as_slices();
        let split = space.len().min(first.len());
        let (front, back) = space.split_at_mut(split);
        front.copy_from_slice(&first[..split]);
        back.copy_from_slice(&second[..back.len()]);
        self.inbox.drain(..space.len());
    }

    /// The window opens in steps of a quarter.
    fn announce(&mut self, read: usize) -> Option<Packet> {
        self.unannounced += read;
        let is_due = self.unannounced >= self.window / 4;
        is_due.then(|| Packet::Read(std::mem::take(&mut self.unannounced)))
    }
}

/// What arrives.
impl End {
    /// With `resets_destroy` a reset takes along what has arrived and was not read.
    pub(super) fn take(&mut self, packet: Packet, resets_destroy: bool) -> Effect {
        match self.state {
            State::Connecting => self.take_connecting(&packet),
            State::Open if self.broken.is_some() => Effect::Nothing,
            State::Open => self.take_open(packet, resets_destroy),
            State::Gone => self.take_gone(&packet),
        }
    }

    /// Whether one who waits to write is to be told: pollers tell it to him, too, and the write fails then.
    pub(super) fn break_off(&mut self, kind: io::ErrorKind) -> bool {
        self.broken = Some(kind);
        std::mem::take(&mut self.blocked)
    }

    fn take_connecting(&mut self, packet: &Packet) -> Effect {
        match packet {
            Packet::Accepted => {
                self.state = State::Open;
                Effect::Opened
            }
            // Not for this SYN-RECEIVED: the RST to our SYN is outside of the window by now.
            Packet::Refused if self.other.is_some() => Effect::Nothing,
            Packet::Refused | Packet::Reset => Effect::Refused,
            Packet::Data(_) | Packet::Read(_) | Packet::Finished => Effect::Nothing,
        }
    }

    fn take_open(&mut self, packet: Packet, resets_destroy: bool) -> Effect {
        match packet {
            Packet::Data(bytes) => {
                self.inbox.extend(&bytes);
                Effect::Readable
            }
            Packet::Finished => {
                self.finished = true;
                Effect::Finished
            }
            Packet::Reset => {
                if resets_destroy {
                    self.inbox.clear();
                }
                Effect::Broken
            }
            Packet::Read(len) => {
                self.credit += len;
                if std::mem::take(&mut self.blocked) { Effect::Writable } else { Effect::Nothing }
            }
            Packet::Accepted | Packet::Refused => Effect::Nothing,
        }
    }

    /// Nobody has this socket any more.
    fn take_gone(&self, packet: &Packet) -> Effect {
        match packet {
            Packet::Data(_) | Packet::Accepted => Effect::Answer(Packet::Reset),
            Packet::Finished if !self.goodbye => Effect::Answer(Packet::Reset),
            _ => Effect::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(state: State) -> End {
        let addr = |n| SocketAddr::from(([192, 0, 2, n], 7));
        End::new(ProgramId(0), (ComputerId(0), addr(1), addr(2)), state, 8)
    }

    fn data() -> Packet {
        Packet::Data(b"hello".to_vec())
    }

    #[test]
    fn what_a_packet_does_depends_on_the_state() {
        let takes = |state, packet| end(state).take(packet, false);
        let reset = || Effect::Answer(Packet::Reset);
        for (packet, connecting, open, gone) in [
            (Packet::Accepted, Effect::Opened, Effect::Nothing, reset()),
            (Packet::Refused, Effect::Refused, Effect::Nothing, Effect::Nothing),
            (Packet::Reset, Effect::Refused, Effect::Broken, Effect::Nothing),
            (Packet::Finished, Effect::Nothing, Effect::Finished, reset()),
            (Packet::Read(1), Effect::Nothing, Effect::Nothing, Effect::Nothing),
            (data(), Effect::Nothing, Effect::Readable, reset()),
        ] {
            assert_eq!(takes(State::Connecting, packet.clone()), connecting, "{packet:?}");
            assert_eq!(takes(State::Open, packet.clone()), open, "{packet:?}");
            assert_eq!(takes(State::Gone, packet.clone()), gone, "{packet:?}");
        }
        let mut answered = end(State::Connecting);
        answered.other = Some(EndId(1));
        assert_eq!(answered.take(Packet::Refused, false), Effect::Nothing);
        let mut closed = end(State::Gone);
        closed.goodbye = true;
        assert_eq!(closed.take(Packet::Finished, false), Effect::Nothing);
    }

    #[test]
    fn a_reader_gets_what_arrived_and_then_the_end_once() {
        let mut end = end(State::Open);
        let mut space = [0; 4];
        end.take(data(), false);
        end.take(Packet::Finished, false);
        assert_eq!(end.read(&mut space), (Read::Data(4), Some(Packet::Read(4))));
        assert_eq!(&space, b"hell");
        assert_eq!(end.read(&mut space), (Read::Data(1), None), "too little to be announced");
        assert_eq!(end.read(&mut space), (Read::Finished, None));
        assert_eq!(end.read(&mut space), (Read::Blocked, None));
    }

    #[test]
    fn a_reset_leaves_or_destroys_what_was_not_read() {
        for destroys in [false, true] {
            let mut end = end(State::Open);
            end.take(data(), destroys);
            assert_eq!(end.take(Packet::Reset, destroys), Effect::Broken);
            assert!(!end.break_off(io::ErrorKind::ConnectionReset));
            assert_eq!(end.take(data(), destroys), Effect::Nothing);
            let mut space = [0; 8];
            if !destroys {
                assert_eq!(end.read(&mut space).0, Read::Data(5));
            }
            assert_eq!(end.read(&mut space).0, Read::Broken(io::ErrorKind::ConnectionReset));
            assert_eq!(end.read(&mut space).0, Read::Blocked);
            assert_eq!(end.write(b"x").0, Write::Broken);
        }
    }

    #[test]
    fn a_writer_has_credit_waits_for_more_and_is_told() {
        let mut end = end(State::Open);
        end.credit = 3;
        assert_eq!(end.write(b"hello"), (Write::Sent(3), Some(Packet::Data(b"hel".to_vec()))));
        assert_eq!(end.write(b"lo"), (Write::Blocked, None));
        assert_eq!(end.take(Packet::Read(2), false), Effect::Writable);
        assert_eq!(end.take(Packet::Read(2), false), Effect::Nothing, "nobody waits");
        assert_eq!(end.write(b"lo").0, Write::Sent(2));
        end.credit = 0;
        end.write(b"more");
        assert!(end.break_off(io::ErrorKind::TimedOut));
    }

    #[test]
    fn a_close_says_goodbye_once_and_resets_what_is_unread() {
        let mut ended = end(State::Open);
        assert_eq!(ended.finish(), Some(Packet::Finished));
        assert_eq!((ended.finish(), ended.close(), ended.write(b"x").0), (None, None, Write::Broken));
        let mut unread = end(State::Open);
        unread.take(data(), false);
        assert_eq!((unread.close(), unread.finish()), (Some(Packet::Reset), None));
        assert_eq!(end(State::Connecting).close(), None);
        assert_eq!(end(State::Open).abort(), Some(Packet::Reset));
    }
}
