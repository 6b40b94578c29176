//! All sockets of one node: readiness, reading and writing without ever waiting.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::listener::{Accept, Entrance, Listener};
use crate::address::canonical;
use crate::socket::{Accepted, Read, Write};

/// Events taken from the operating system at once; what does not fit comes the next time.
const EVENTS: usize = 1024;

/// Connections accepted in one tick, so that a flood of them leaves time for the others.
const ACCEPTS_PER_TICK: usize = 64;

/// How long a node without file descriptors waits before it tries to accept again.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Listeners have the tokens from here on, one less for each; the waker has the last one.
const WAKER: Token = Token(usize::MAX);

/// What became of a stream that was dialled.
#[derive(Debug)]
pub(crate) enum Progress {
    Connected(usize, SocketAddr),
    /// It was connected, and the peer has reset it since; what arrived before is still to be read.
    Torn(usize, SocketAddr),
    Failed(usize, io::ErrorKind),
}

/// A connection that was accepted.
pub(crate) type Stream = Accepted<TcpStream>;

#[derive(Debug)]
struct Slot {
    socket: TcpStream,
    connecting: bool,
    /// There may be something to read.
    readable: bool,
    /// Stands in `Sockets::readable`.
    listed: bool,
    /// The operating system told that the peer finished: a short read does not mean that all was read.
    closing: bool,
    /// The end was read.
    finished: bool,
    writable: bool,
    /// Writing failed; the reason, should reading not tell one.
    broken: Option<io::ErrorKind>,
}

pub(crate) struct Sockets {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    listeners: Vec<Listener>,
    /// Listeners that may have a connection waiting.
    acceptable: Vec<usize>,
    /// There was no file descriptor for a connection that waits, not even to refuse it.
    exhausted: bool,
    slots: Vec<Option<Slot>>,
    readable: VecDeque<usize>,
    writable: Vec<usize>,
    /// Streams whose peer is done, though what came before may not have been read.
    hangups: VecDeque<usize>,
    progress: VecDeque<Progress>,
    /// The operating system had as many events as fit: there may be more.
    more: bool,
    dead_after: Duration,
}

impl Sockets {
    pub(crate) fn new(dead_after: Duration) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            waker,
            listeners: Vec::new(),
            acceptable: Vec::new(),
            exhausted: false,
            slots: Vec::new(),
            readable: VecDeque::new(),
            writable: Vec::new(),
            hangups: VecDeque::new(),
            progress: VecDeque::new(),
            more: false,
            dead_after,
        })
    }

    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// A handle on the poller that needs no borrow of this.
    pub(crate) fn registry(&self) -> io::Result<Registry> {
        self.poll.registry().try_clone()
    }

    pub(crate) fn listen(&mut self, entrance: Entrance) -> io::Result<SocketAddr> {
        let mut listener = Listener::open(entrance)?;
        let token = Token(WAKER.0 - 1 - self.listeners.len());
        self.poll.registry().register(&mut listener.socket, token, Interest::READABLE)?;
        let local = listener.local;
        self.listeners.push(listener);
        Ok(local)
    }

    /// Stops listening; connections that wait are refused by the operating system.
    pub(crate) fn stop_listening(&mut self) {
        for listener in &mut self.listeners {
            // It is dropped next, which deregisters it too.
            let _ = self.poll.registry().deregister(&mut listener.socket);
        }
        self.listeners.clear();
        self.acceptable.clear();
    }

    /// Waits until something happens, for this long at most. An interruption by a signal is an error of that kind.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.poll.poll(&mut self.events, timeout)?;
        self.more = false;
        let mut taken = 0;
        for event in &self.events {
            taken += 1;
            let Token(token) = event.token();
            if let Some(slot) = self.slots.get_mut(token).and_then(Option::as_mut) {
                // Also while connecting: a peer may have said all and left before its answer was looked at, and the
                // end is announced only once.
                if (event.is_read_closed() || event.is_error()) && !std::mem::replace(&mut slot.closing, true)
                {
                    self.hangups.push_back(token);
                }
                if slot.connecting {
                    if let Some(progress) = connect_progress(&slot.socket, token) {
                        self.progress.push_back(progress);
                    }
                    continue;
                }
                if (event.is_readable() || slot.closing) && !slot.finished {
                    slot.readable = true;
                    if !std::mem::replace(&mut slot.listed, true) {
                        self.readable.push_back(token);
                    }
                }
                if event.is_writable() && !std::mem::replace(&mut slot.writable, true) {
                    self.writable.push(token);
                }
            } else if let Some(listener) = (WAKER.0 - 1).checked_sub(token)
                && listener < self.listeners.len()
                && !self.acceptable.contains(&listener)
            {
                self.acceptable.push(listener);
            }
        }
        self.more = taken >= EVENTS;
        Ok(())
    }

    /// Whether the operating system may have more events, for which no file descriptor becomes readable again.
    pub(crate) fn has_more(&self) -> bool {
        self.more
    }

    /// Accepts what waits, up to a limit; tells `refused` of those for whom there was no file descriptor.
    pub(crate) fn accept(&mut self, mut refused: impl FnMut(Option<SocketAddr>)) -> Vec<Stream> {
        let mut streams = Vec::new();
        let Self { listeners, acceptable, exhausted, .. } = self;
        *exhausted = false;
        acceptable.retain(|&index| {
            for _ in 0..ACCEPTS_PER_TICK {
                match listeners[index].accept() {
                    Accept::Stream(socket, peer) => {
                        if let Ok(local) = socket.local_addr() {
                            streams.push(Stream { socket, peer: canonical(peer), local: canonical(local) });
                        }
                    }
                    Accept::Again => {}
                    Accept::Refused(peer) => refused(peer.map(canonical)),
                    Accept::Empty => return false,
                    Accept::Exhausted => {
                        *exhausted = true;
                        return true;
                    }
                }
            }
            true
        });
        streams
    }

    /// Whether a connection waits to be accepted, beyond the limit of one tick.
    pub(crate) fn has_acceptable(&self) -> bool {
        !self.acceptable.is_empty() && !self.exhausted
    }

    /// How long to wait at most before accepting again, where there were no file descriptors at all.
    pub(crate) fn accept_pause(&self) -> Option<Duration> {
        self.exhausted.then_some(ACCEPT_PAUSE)
    }

    /// Gives an accepted connection its slot.
    pub(crate) fn adopt(&mut self, slot: usize, stream: Stream) -> io::Result<()> {
        let Stream { mut socket, .. } = stream;
        self.prepare(&socket);
        self.poll.registry().register(&mut socket, Token(slot), Interest::READABLE | Interest::WRITABLE)?;
        self.put(slot, socket, false);
        Ok(())
    }

    /// Begins to connect, `from` an address of this machine or from any; the outcome comes as [`Progress`]. A port other
    /// than 0 is shared with whoever else dials from it.
    pub(crate) fn dial(&mut self, slot: usize, to: SocketAddr, from: Option<SocketAddr>) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if let Some(from) = from.filter(|from| !from.ip().is_unspecified() || from.port() != 0) {
            if from.port() != 0 {
                share_port(&socket)?;
            }
            // Of the other family it is refused: a node that was bound to one address must not show another.
            socket.bind(&from.into()).map_err(|error| match error.kind() {
                // What is in use is none in particular: there is none left, as `connect` says it by itself.
                io::ErrorKind::AddrInUse if from.port() == 0 => io::ErrorKind::AddrNotAvailable.into(),
                _ => error,
            })?;
        }
        match socket.connect(&to.into()) {
            Ok(()) => {}
            Err(error) if is_in_progress(&error) => {}
            Err(error) => return Err(error),
        }
        let mut socket = TcpStream::from_std(socket.into());
        self.prepare(&socket);
        self.poll.registry().register(&mut socket, Token(slot), Interest::READABLE | Interest::WRITABLE)?;
        self.put(slot, socket, true);
        Ok(())
    }

    /// The next outcome of a dial.
    pub(crate) fn poll_progress(&mut self) -> Option<Progress> {
        let progress = self.progress.pop_front()?;
        if let Progress::Connected(index, _) | Progress::Torn(index, _) = progress
            && let Some(slot) = self.slot(index)
        {
            slot.connecting = false;
            slot.writable = true;
            if let Progress::Torn(..) = progress {
                // Asking for the error has taken it from the socket, which now shows an orderly end.
                slot.broken = Some(io::ErrorKind::ConnectionReset);
            }
            self.offer(index);
        }
        if let Progress::Connected(index, _) = progress
            && let Some(slot) = self.slots.get(index).and_then(Option::as_ref)
        {
            // Once more: Linux does not start the timer of the probes when both ends have dialled (RFC 9293 section 3.5,
            // figure 7), and does when they are set on a connection that is there. Seen with `ss -o`.
            self.prepare(&slot.socket);
        }
        Some(progress)
    }

    /// How many streams stand in line to be read.
    pub(crate) fn readable(&self) -> usize {
        self.readable.len()
    }

    /// The next stream in line to be read.
    pub(crate) fn poll_readable(&mut self) -> Option<usize> {
        let index = self.readable.pop_front()?;
        if let Some(slot) = self.slot(index) {
            slot.listed = false;
        }
        Some(index)
    }

    /// The next stream that can be written again.
    pub(crate) fn poll_writable(&mut self) -> Option<usize> {
        self.writable.pop()
    }

    /// The next stream whose peer is done.
    pub(crate) fn poll_hangup(&mut self) -> Option<usize> {
        self.hangups.pop_front()
    }

    /// Puts a stream back in line to be read, if there may be something.
    pub(crate) fn offer(&mut self, index: usize) {
        if let Some(slot) = self.slot(index)
            && slot.readable
            && !slot.finished
            && !std::mem::replace(&mut slot.listed, true)
        {
            self.readable.push_back(index);
        }
    }

    pub(crate) fn read(&mut self, index: usize, space: &mut [u8]) -> Read {
        let Some(slot) = self.slot(index).filter(|slot| slot.readable && !slot.connecting && !slot.finished)
        else {
            return Read::Blocked;
        };
        loop {
            return match slot.socket.read(space) {
                Ok(0) => {
                    slot.finished = true;
                    slot.broken.map_or(Read::Finished, Read::Broken)
                }
                Ok(len) => {
                    // On unix a short read emptied the socket, and what comes next is a new edge (epoll(7), question
                    // 9), unless the end has been announced already. Elsewhere only "would block" says so.
                    if cfg!(unix) && len < space.len() && !slot.closing {
                        slot.readable = false;
                    }
                    Read::Data(len)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    slot.readable = false;
                    Read::Blocked
                }
                Err(error) => {
                    slot.finished = true;
                    Read::Broken(error.kind())
                }
            };
        }
    }

    pub(crate) fn write(&mut self, index: usize, bytes: &[u8]) -> Write {
        let Some(slot) = self.slot(index).filter(|slot| slot.writable && !slot.connecting) else {
            return Write::Blocked;
        };
        if slot.broken.is_some() {
            return Write::Broken;
        }
        loop {
            return match slot.socket.write(bytes) {
                Ok(len) => Write::Sent(len),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    slot.writable = false;
                    Write::Blocked
                }
                Err(error) => {
                    slot.broken = Some(error.kind());
                    slot.closing = true;
                    slot.readable = true;
                    self.offer(index);
                    Write::Broken
                }
            };
        }
    }

    /// Tells the peer that nothing more will be sent.
    pub(crate) fn shutdown_write(&mut self, index: usize) {
        if let Some(slot) = self.slot(index) {
            // It fails only where the connection has ended meanwhile, which reading tells.
            let _ = slot.socket.shutdown(std::net::Shutdown::Write);
        }
    }

    pub(crate) fn close(&mut self, index: usize) {
        if let Some(mut slot) = self.slots.get_mut(index).and_then(Option::take) {
            // Closing deregisters too; this frees Windows' bookkeeping earlier.
            let _ = self.poll.registry().deregister(&mut slot.socket);
        }
    }

    fn put(&mut self, index: usize, socket: TcpStream, connecting: bool) {
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(Slot {
            socket,
            connecting,
            // What arrived before it was registered is announced then; to look at once saves a tick.
            readable: true,
            listed: false,
            closing: false,
            finished: false,
            writable: !connecting,
            broken: None,
        });
        if !connecting {
            self.offer(index);
        }
    }

    /// No delay, as lines are short and answers wait for them; and probes for peers that vanish. Where the system does
    /// not know an option it is left out: the connection works without.
    fn prepare(&self, socket: &TcpStream) {
        let _ = socket.set_nodelay(true);
        let socket = SockRef::from(socket);
        let keepalive = TcpKeepalive::new().with_time(self.dead_after / 2);
        #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
        let keepalive = keepalive.with_interval((self.dead_after / 8).max(Duration::from_secs(1)));
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd"))]
        let keepalive = keepalive.with_retries(4);
        let _ = socket.set_tcp_keepalive(&keepalive);
        // Without it, data under way to a peer that vanished keeps the connection for about a quarter of an hour, as
        // probes are sent on idle connections only (RFC 5482; tcp(7), TCP_USER_TIMEOUT).
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = socket.set_tcp_user_timeout(Some(self.dead_after));
    }

    fn slot(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index)?.as_mut()
    }
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

/// Asks a socket that connects how far it is, as mio's documentation of `TcpStream::connect` has it.
fn connect_progress(socket: &TcpStream, slot: usize) -> Option<Progress> {
    match socket.take_error() {
        // A refusal has another name: this one was open, may have been told something, and was torn down since.
        Ok(Some(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
            if let Ok(local) = socket.local_addr() {
                return Some(Progress::Torn(slot, canonical(local)));
            }
        }
        Ok(Some(error)) | Err(error) => return Some(Progress::Failed(slot, kind_of(&error))),
        Ok(None) => {}
    }
    match socket.peer_addr() {
        Ok(peer) => Some(match socket.local_addr() {
            // A port that dials itself meets itself (RFC 9293 section 3.5, simultaneous open): nobody listens there.
            Ok(local) if local == peer => Progress::Failed(slot, io::ErrorKind::ConnectionRefused),
            Ok(local) => Progress::Connected(slot, canonical(local)),
            Err(error) => Progress::Failed(slot, error.kind()),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotConnected || is_in_progress(&error) => None,
        Err(error) => Some(Progress::Failed(slot, kind_of(&error))),
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    // EINPROGRESS has no stable kind of its own; Windows says "would block".
    #[cfg(unix)]
    const IN_PROGRESS: i32 = libc::EINPROGRESS;
    #[cfg(not(unix))]
    const IN_PROGRESS: i32 = 10036; // WSAEINPROGRESS
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(IN_PROGRESS)
}

/// Several connections from one local port take this on each of their sockets (socket(7), `SO_REUSEPORT`); Windows has
/// one option for it. Nobody listens at such a port, so nobody's connections can be taken.
fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    socket.set_reuse_port(true)?;
    Ok(())
}

/// What kind of error it is. Out of file descriptors has no kind of its own; "quota exceeded" says it best.
pub(crate) fn kind_of(error: &io::Error) -> io::ErrorKind {
    if super::listener::is_exhaustion(error) { io::ErrorKind::QuotaExceeded } else { error.kind() }
}
